"""The proof of an export: its answers beside those of the run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gatewise.data.sequences import Array
from gatewise.exporting.onestep import STATES
from gatewise.exporting.program import STEPS, Program, Sample

LIMIT = 1e-3  # the largest share of the spread of the answers by which an export may differ
OWN = 1e-2  # of an answer, by which a difference in it is measured at least

Run = Callable[[Mapping[str, Array]], Sequence[Array]]  # inputs by name -> outputs in order


@dataclass(frozen=True)
class Proof:
    """The largest difference between an export and the run, for each kind of sample."""

    by: str  # what ran the export: "ONNX Runtime 1.22"
    differences: Mapping[str, float]  # kind of sample -> in the units of the answers
    share: float  # the largest, as a share of the spread of the targets or of the answers
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> float:
        """The largest of all."""
        return max(self.differences.values())

    def sentence(self) -> str:
        """The proof in one line."""
        each = ", ".join(f"{kind} {value:.2g}" for kind, value in self.differences.items())
        return f"Largest difference from the run, run by {self.by}: {each}."

    def facts(self) -> dict[str, Any]:
        """The proof as plain values."""
        return {"by": self.by, "differences": dict(self.differences), "share": self.share}


def prove(
    by: str,
    run: Run,
    samples: Sequence[Sample],
    *,
    step: Run | None = None,
    states: Sequence[str] = (),
) -> Proof:
    """Run an export on all samples, and step by step if there is a form for one step.

    `states` are the inputs of that form behind the step, whose values it returns for the next one.
    """
    differences, share = {}, 0.0
    for sample in samples:
        differences[sample.kind], one = _compared(run(sample.inputs), sample)
        share = max(share, one)
    if step is not None:
        answer, compared = _step_by_step(step, states, samples[0])
        differences["step by step"], one = _compared([answer], compared)
        share = max(share, one)
    return Proof(by, differences, share)


def spread(answers: Array) -> float:
    """The median distance of the distinct answers from their median.

    A few answers of -1e9, with which a network excludes a choice, do not change it.
    """
    distinct = np.unique(answers)
    if not distinct.size:
        return 0.0
    return float(np.median(np.abs(distinct - np.median(distinct))))


def _compared(answers: Sequence[Array], sample: Sample) -> tuple[float, float]:
    """The largest difference between the answers and those of the run, and the largest share.

    The share is that of the unit or of the spread of the answers, whichever is larger. A large
    answer has few digits behind the point in float32, so it counts as at least OWN of itself.
    """
    difference, share = 0.0, 0.0
    for answer, wanted in zip(answers, sample.answers, strict=True):
        if np.shape(answer) != wanted.shape:
            return float("inf"), float("inf")
        away = np.abs(np.asarray(answer, np.float64) - wanted)
        if sample.valid is not None:
            away, wanted = away[sample.valid], wanted[sample.valid]
        away = np.where(np.isnan(away), np.inf, away)
        scale = np.maximum(max(sample.unit, spread(wanted)), OWN * np.abs(wanted))
        difference = max(difference, float(away.max(initial=0.0)))
        share = max(share, float((away / scale).max(initial=0.0)))
    return difference, share


def _step_by_step(step: Run, states: Sequence[str], sample: Sample) -> tuple[Array, Sample]:
    """The answers to the steps of a batch, each fed alone, and what they are compared with."""
    (name,) = [name for name in sample.inputs if name != "lengths"]
    x, (wanted,) = sample.inputs[name], sample.answers
    inputs: dict[str, Array] = {}
    found = []
    for k in range(x.shape[1]):
        inputs = {**inputs, name: x[:, k]}
        y, *after = step(inputs)
        inputs = dict(zip(states, after, strict=True))
        found.append(y)
    if wanted.ndim > 2 and sample.valid is not None:
        return np.stack(found, axis=1), replace(sample, valid=None)
    last = wanted[:, -1] if wanted.ndim > found[-1].ndim else wanted
    return found[-1], replace(sample, answers=(last,), valid=None)


def zero_states(program: Program, batch: int) -> dict[str, Array]:
    """The states before the first step."""
    return {
        port.name: np.zeros((batch, *(int(size) for size in port.shape[1:])), port.dtype)
        for port in program.inputs
        if port.name in STATES and STEPS not in port.shape
    }
