"""Exports of runs whose answers take several networks, such as an encoder and a decoder step."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.exporting import c as as_c
from gatewise.exporting import numpy as as_numpy
from gatewise.exporting import onnx as as_onnx
from gatewise.exporting.program import Program
from gatewise.exporting.proof import Proof, Run
from gatewise.exporting.readme import describe as write_readme
from gatewise.exporting.rounding import change_by_int8, score_with_int8, with_int8
from gatewise.exporting.samples import LENGTHS, SEED
from gatewise.runs.artefact import Artefact
from gatewise.runtime.describe import describe
from gatewise.tasks import TASKS

# Lines of Python that make a function of each network.
ONNX = """
import onnxruntime
def network(file, inputs):
    session = onnxruntime.InferenceSession(file)
    return lambda *arrays: session.run(None, dict(zip(inputs, arrays)))
"""
ONNX_EACH = '{name} = network("{name}.onnx", {inputs})'
NUMPY = """
from network import {names}
"""
Writer = Callable[[Path, Mapping[str, Program], Callable[[str, Mapping[str, Run]], Proof]], Proof]


def module_of(trained: Any) -> Any:
    """The module of a task that exports several networks; None for any other run or model."""
    if not isinstance(trained, Artefact):
        return None
    module = TASKS[trained.preparation.task].part("export")
    return module if hasattr(module, "programs") else None


def onnx(draft: Path, trained: Artefact) -> Proof:
    """Write each network as an ONNX model."""

    def usage(programs: Mapping[str, Program]) -> str:
        each = [
            ONNX_EACH.format(name=name, inputs=json.dumps([port.name for port in program.inputs]))
            for name, program in programs.items()
        ]
        return "\n".join([ONNX.strip(), *each])

    return _written(draft, trained, as_onnx.write_all, usage)


def numpy(draft: Path, trained: Artefact) -> Proof:
    """Write each network as a function of a Python file."""
    return _written(
        draft, trained, as_numpy.write_all, lambda programs: NUMPY.format(names=", ".join(programs))
    )


def c(draft: Path, trained: Artefact, *, rounded: bool) -> Proof:
    """Write each network as a file of C and its header, with int8 weights if `rounded`."""
    write = partial(as_c.write_all, rounded=rounded)
    usage = module_of(trained).usage_in_c
    return _written(draft, trained, write, usage, python=False, rounded=rounded)


def _written(
    draft: Path,
    trained: Artefact,
    write: Writer,
    usage: Callable[[Mapping[str, Program]], str],
    *,
    python: bool = True,
    rounded: bool = False,
) -> Proof:
    task, preparation = TASKS[trained.preparation.task], trained.preparation
    module = module_of(trained)
    same = replace(trained, network=with_int8(trained.network)) if rounded else trained
    models = task.network.runtime_models(same.network, *task.quick(preparation, trained.experiment))
    graphs = {name: describe(model, trained.backend) for name, model in models.items()}
    programs: Mapping[str, Program] = module.programs(graphs, preparation, trained.experiment)

    def proved(by: str, runs: Mapping[str, Run]) -> Proof:
        random = np.random.default_rng(SEED)
        differences, unit, notes = module.compared(same, runs, LENGTHS, random)
        if rounded:  # the notes tell whether the answers are those of the run
            changes, _, notes = module.compared(trained, runs, LENGTHS, random)
            notes = [change_by_int8(next(iter(changes.values()))), *notes]
        return Proof(by, differences, max(differences.values()) / unit, tuple(notes))

    proof = write(draft, programs, proved)
    if rounded:
        proof = replace(proof, notes=(*proof.notes, *score_with_int8(trained)))
    first, *others = programs
    main, lines = programs[first], usage(programs).strip()
    if python:
        lines += f"\n{main.after.strip()}"
    else:
        main = replace(main, files=())
    more = [(name, f"{name}: {programs[name].title}", programs[name]) for name in others]
    write_readme(draft, main, proof, lines, name=first, more=more)
    return proof
