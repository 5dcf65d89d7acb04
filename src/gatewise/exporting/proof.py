"""The proof of an export: its answers beside those of the run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewise.data.sequences import Array
from gatewise.exporting.program import STEPS, Program, Sample

Run = Callable[[Mapping[str, Array]], Sequence[Array]]  # inputs by name -> outputs in order


@dataclass(frozen=True)
class Proof:
    """The largest difference between an export and the run, for each kind of sample."""

    by: str  # what ran the export: "ONNX Runtime 1.22"
    differences: Mapping[str, float]  # kind of sample -> in the units of the answers
    share: float  # the largest, as a share of the targets' spread or of the largest answer
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


def prove(by: str, run: Run, samples: Sequence[Sample], *, step: Run | None = None) -> Proof:
    """Run an export on all samples, and step by step if there is a form for one step."""
    differences, share = {}, 0.0
    for sample in samples:
        found = [
            _apart(answer, wanted, sample)
            for answer, wanted in zip(run(sample.inputs), sample.answers, strict=True)
        ]
        differences[sample.kind] = max(found)
        share = max(share, max(found) / _unit(sample))
    if step is not None:
        differences["step by step"] = _step_by_step(step, samples[0])
        share = max(share, differences["step by step"] / _unit(samples[0]))
    return Proof(by, differences, share)


def _unit(sample: Sample) -> float:
    counted = [one if sample.valid is None else one[sample.valid] for one in sample.answers]
    return max(sample.unit, *(float(np.abs(one).max(initial=0.0)) for one in counted))


def _apart(answer: Array, wanted: Array, sample: Sample) -> float:
    if np.shape(answer) != wanted.shape:
        return float("inf")
    away = np.abs(np.asarray(answer, np.float64) - wanted)
    if sample.valid is not None:
        away = away[sample.valid]
    return float(np.where(np.isnan(away), np.inf, away).max(initial=0.0))


def _step_by_step(step: Run, sample: Sample) -> float:
    """The difference after the steps of a batch, each fed alone."""
    (name,) = [name for name in sample.inputs if name != "lengths"]
    x, (wanted,) = sample.inputs[name], sample.answers
    each = wanted.ndim > 2 and sample.valid is not None
    inputs: dict[str, Array] = {}
    worst = 0.0
    for k in range(x.shape[1]):
        inputs = {**inputs, name: x[:, k]}
        y, *states = step(inputs)
        inputs = dict(zip(("h", "c"), states, strict=True))
        if each:
            worst = max(worst, float(np.abs(y - wanted[:, k]).max()))
    if not each:
        last = wanted[:, -1] if wanted.ndim > np.ndim(y) else wanted
        worst = float(np.abs(y - last).max())
    return worst


def zero_states(program: Program, batch: int) -> dict[str, Array]:
    """The states before the first step."""
    return {
        port.name: np.zeros((batch, *(int(size) for size in port.shape[1:])), np.float32)
        for port in program.inputs
        if port.name in ("h", "c") and STEPS not in port.shape
    }
