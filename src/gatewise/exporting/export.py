"""export(): write a trained network in another format, with a proof and a README."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np

from gatewise.errors import ConfigError
from gatewise.exporting import c as as_c
from gatewise.exporting import keras as as_keras
from gatewise.exporting import numpy as as_numpy
from gatewise.exporting import onnx as as_onnx
from gatewise.exporting import parts
from gatewise.exporting.onestep import STATES, one_step
from gatewise.exporting.program import BATCH, Port, Program, Sample
from gatewise.exporting.proof import LIMIT, Proof
from gatewise.exporting.readme import FACTS
from gatewise.exporting.readme import describe as write_readme
from gatewise.exporting.rounding import as_int8, score_with_int8
from gatewise.exporting.samples import of_model, of_run
from gatewise.networks.loading import load_model
from gatewise.runs.artefact import Artefact, load
from gatewise.runtime.describe import describe
from gatewise.runtime.graph import Graph, names_in
from gatewise.settings import OWN, shown
from gatewise.streaming.obstacles import obstacles
from gatewise.tasks import TASKS

WEIGHTS = ("float32", "int8")


@dataclass(frozen=True)
class Export:
    """What was written, and how far its answers are from those of the run."""

    folder: Path
    to: str
    files: tuple[str, ...]
    difference: float  # the largest of all answers, in their own units
    share: float  # the largest share of the spread of the targets or of the answers
    notes: tuple[str, ...]  # sentences: the proof, and what else to know

    def summary(self) -> list[str]:
        """The lines that the command line prints."""
        return [*self.notes, f"Export: {self.folder} ({', '.join(self.files)})"]

    def __repr__(self) -> str:
        """One line, because notebooks display it."""
        return f"<Export {self.folder}: {self.to}, largest difference {self.difference:.2g}>"


def export(
    run: Any,
    *,
    to: str,
    output: str | Path | None = None,
    overwrite: bool = False,
    weights: str = "float32",
) -> Export:
    """Write a trained network in another format into the folder `output`.

    ONNX, C and NumPy files are run on made-up data and compared with the run. If the answers
    differ, or something else fails, nothing is left behind.

    Args:
        run: what training returned, a loaded artefact, a run folder or a Keras model.
        to: onnx, c, numpy, keras or savedmodel.
        output: the folder to write; default: RUN-FORMAT beside the run folder.
        overwrite: replace a folder that an export wrote before.
        weights: float32, or int8 for C alone; README.txt states what the rounding costs.

    Raises:
        ConfigError: the format is unknown, a package is missing, the network has a part that the
            format cannot hold, the folder exists, or the answers differ.
    """
    if not isinstance(to, str) or to not in FORMATS:
        raise ConfigError(f"--to must be one of {', '.join(FORMATS)}. Received: {shown(to)}.")
    if weights not in WEIGHTS or (to != "c" and weights != "float32"):
        raise ConfigError(
            f"--weights must be float32, or int8 with --to c. Received: '{weights}' with --to {to}."
        )
    trained = _trained(run)
    folder = Path(output) if output else _beside(trained, to)
    with _writing(folder, overwrite=overwrite) as draft:
        difference, share, notes = FORMATS[to](draft, trained, weights)
        _check(difference, share)
        files = tuple(sorted(path.name for path in draft.iterdir()))
    return Export(folder, to, files, difference, share, tuple(notes))


def _check(difference: float, share: float) -> None:
    """Refuse an export whose answers differ from those of the run."""
    if not np.isfinite(difference):
        raise ConfigError(
            "The export answers with arrays of another shape than the run, or with NaN, so nothing "
            "was written. This is a fault of gatewise: please report it. Another --to may work."
        )
    if not share <= LIMIT:
        raise ConfigError(
            f"The answers of the export differ from those of the run by {difference:.3g} "
            f"({share:.1%} of their spread), so nothing was written. Numbers far from 0 lose "
            "digits in float32. If a column holds such numbers, subtract a constant from it and "
            "train again."
        )


Exportable: TypeAlias = "Artefact | keras.Model"
Written: TypeAlias = tuple[float, float, list[str]]  # difference, share and notes


def _trained(run: Any) -> Exportable:
    run = getattr(run, "artefact", run)
    if isinstance(run, Artefact | keras.Model):
        return run
    if isinstance(run, str | os.PathLike):
        path = Path(run)
        if path.suffix == ".keras" and path.is_file():
            return load_model(path)
        return load(path)
    raise ConfigError(
        "export takes a run folder, what gatewise.load or gatewise.train returned, or a Keras "
        f"model. Received: {type(run).__name__}."
    )


def _beside(trained: Exportable, to: str) -> Path:
    folder = trained.folder if isinstance(trained, Artefact) else None
    if folder is None:
        raise ConfigError("Name a folder for the export: -o FOLDER, or output=... in Python.")
    return folder.with_name(f"{folder.name}-{to}")


@contextmanager
def _writing(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary folder that is moved to `folder` when complete, and removed otherwise."""
    if folder.exists() or folder.is_symlink():
        if not overwrite:
            raise ConfigError(f"{folder} exists. Choose another -o, or give --overwrite.")
        if folder.is_symlink() or not (folder / FACTS).is_file():
            raise ConfigError(f"{folder} is not an export, so it is not replaced.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}.") from None
    old = draft.with_name(f"{draft.name}-old")
    try:
        yield draft
        draft.chmod(0o755)  # mkdtemp lets only the owner in
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}.") from error
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)  # interrupted between the two renames: keep the old export
        for rest in (old, draft):
            if rest.exists():
                shutil.rmtree(rest)


@dataclass(frozen=True)
class Programs:
    """The forms of a network that an export may hold."""

    padded: Program  # for sequences of different lengths, with their lengths
    whole: Program  # for sequences of one length; the same where there is no padding
    step: Program | str  # for one step, or the reason why there is no such form
    samples: list[Sample]  # for the proof, of `padded`


def programs_of(trained: Exportable) -> Programs:
    """The programs of a run or a model, and samples for the proof.

    Raises:
        ConfigError: the network has a part that a graph cannot hold, or the task has no export.
    """
    if isinstance(trained, Artefact):
        name, preparation = trained.preparation.task, trained.preparation
        module = TASKS[name].part("export")
        graph, experiment = describe(trained.network, trained.backend), trained.experiment
        saved = (graph, preparation, experiment, trained.baselines)
        program = module.program(*saved, padded=preparation.padded)
        samples = of_run(trained, program, module)
        unpadded = program
        if preparation.padded:
            unpadded = module.program(*saved, padded=False)
    else:
        program = unpadded = _of_model(trained)
        samples = of_model(trained, program)
    try:
        step: Program | str = one_step(unpadded)
    except ConfigError as error:
        why = _needs_all(trained) or str(error)
        step = f"There is no form for one step, because {why}."
    return Programs(program, unpadded, step, samples)


def _needs_all(trained: Exportable) -> str:
    """The settings of a run whose network cannot read one step at a time; "": none is known."""
    if not isinstance(trained, Artefact) or trained.experiment.network.kind == OWN:
        return ""
    return obstacles(trained.experiment)


def _of_model(model: keras.Model) -> Program:
    """A Keras model as it is, without scaling."""
    graph = describe(model)
    inputs = []
    for name in names_in(graph.inputs):
        config = graph.node(name).config
        shape = config.get("shape", config.get("batch_shape", [])[1:])
        axes = tuple(
            size if size is not None else "steps" if k == 0 else f"{name}_axis_{k + 1}"
            for k, size in enumerate(shape)
        )
        kind = np.dtype(config["dtype"]).kind
        inputs.append(Port(name, (BATCH, *axes), "float32" if kind == "f" else "int64"))
    flat = keras.tree.flatten(model.outputs)
    outputs = []
    for k, tensor in enumerate(flat):
        axes = tuple(size or f"axis_{j + 1}" for j, size in enumerate(tensor.shape[1:]))
        outputs.append(Port("output" if len(flat) == 1 else f"output_{k + 1}", (BATCH, *axes)))
    return Program(f"The Keras model '{model.name}'.", graph, tuple(inputs), tuple(outputs))


def _onnx(draft: Path, trained: Exportable, _weights: str) -> Written:
    if parts.module_of(trained) is not None:
        return _told(parts.onnx(draft, trained))
    found = programs_of(trained)
    program, step = found.padded, found.step
    proof = as_onnx.write(draft, program, step, found.samples)
    usage = _usage(as_onnx.USAGE, as_onnx.ARGUMENT, program, answer="answers[0]")
    if isinstance(step, str):
        write_readme(draft, program, proof, usage, absent=step)
        return _told(proof, *program.apart, step)
    states = [port.name for port in step.inputs if port.name in STATES]
    last = f"{', '.join(states[:-1])} and {states[-1]}"
    heading = f"One step (step.*): feed {last} back, beginning with zeros."
    write_readme(draft, program, proof, usage, more=[("step", heading, step)])
    return _told(proof, *program.apart)


def _numpy(draft: Path, trained: Exportable, _weights: str) -> Written:
    if parts.module_of(trained) is not None:
        return _told(parts.numpy(draft, trained))
    found = programs_of(trained)
    proof = as_numpy.write(draft, found.padded, found.samples)
    usage = _usage(as_numpy.USAGE, as_numpy.ARGUMENT, found.padded, answer="answer")
    write_readme(draft, found.padded, proof, usage)
    return _told(proof, *found.padded.apart)


def _c(draft: Path, trained: Exportable, weights: str) -> Written:
    if parts.module_of(trained) is not None:
        return _told(parts.c(draft, trained, rounded=weights == "int8"))
    found, notes = programs_of(trained), list[str]()
    samples, step = found.samples, found.step
    if not found.whole.right_padded and _has_mask(found.whole.graph):
        step = "There is no form for one step, because masks may skip steps."
    if weights == "int8":
        samples, cost = as_int8(found.padded, samples)
        notes = [cost, *score_with_int8(trained)]
    samples = [replace(one, inputs=_one_by_one(trained, one.inputs)) for one in samples]
    proof, usage = as_c.write(draft, found.whole, step, samples, rounded=weights == "int8")
    proof = replace(proof, notes=(*proof.notes, *notes))
    program = replace(found.whole, files=())
    write_readme(draft, program, proof, usage, absent=step if isinstance(step, str) else "")
    return _told(proof, *program.apart)


def _one_by_one(trained: Exportable, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The inputs of a batch as the program for whole sequences reads them."""
    if not isinstance(trained, Artefact):
        return inputs
    module, (first, *_) = TASKS[trained.preparation.task].part("export"), inputs
    given: Mapping[str, Any] = inputs
    if hasattr(module, "one_by_one"):
        given = module.one_by_one(inputs)
    elif trained.preparation.padded and list(inputs) == [first] and inputs[first].ndim == 2:
        # Tokens: behind those of a text are zeros, which a sequence of its own does not have.
        given = {**inputs, "lengths": np.maximum(1, (inputs[first] != 0).sum(axis=1))}
    return given


def _told(proof: Proof, *more: str) -> Written:
    return proof.difference, proof.share, [proof.sentence(), *more, *proof.notes]


def _has_mask(graph: Graph) -> bool:
    return any(node.operation == "lstm" and node.inputs[1:2] > ("",) for node in graph.nodes)


def _plain(saved: bool) -> Callable[[Path, Exportable, str], Written]:
    def write(draft: Path, trained: Exportable, _weights: str) -> Written:
        model = trained.network if isinstance(trained, Artefact) else trained
        return as_keras.write(draft, model, trained, saved=saved)

    return write


FORMATS: Mapping[str, Callable[[Path, Exportable, str], Written]] = {
    "onnx": _onnx,
    "c": _c,
    "keras": _plain(saved=False),
    "savedmodel": _plain(saved=True),
    "numpy": _numpy,
}


def _usage(lines: str, argument: str, program: Program, *, answer: str) -> str:
    """The lines of code that call an export, and decode its answer."""
    given = ", ".join(argument.format(name=port.name) for port in program.inputs)
    return lines.replace("ARGUMENTS", given) + program.after.strip().replace("{answer}", answer)
