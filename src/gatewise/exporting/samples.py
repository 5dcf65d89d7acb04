"""Made-up data for proofs, in the range of the training part, and what a run answers to them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gatewise import engine
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences, from_arrays
from gatewise.data.steps import scaled_steps
from gatewise.data.tokens import padded_tokens
from gatewise.exporting.program import Port, Program, Sample
from gatewise.runs.artefact import Artefact
from gatewise.runtime.network import mapped
from gatewise.tasks import TASKS

SEQUENCES = 5  # of a batch
LENGTHS = (11, 3, 1, 8, 6)  # of the sequences of a masked batch
SEED = 7
TINY = float(np.finfo(np.float32).tiny)


def of_run(artefact: Artefact, program: Program, module: Any) -> list[Sample]:
    """A batch of one length, one of different lengths, and sequences of one step.

    The answers are those of the run itself: its preparation, its Keras model and its
    postprocessing.
    """
    random, own = np.random.default_rng(SEED), artefact.preparation.own
    if hasattr(module, "window"):
        # A window has one length.
        kinds = {"batch": [module.window(own)] * SEQUENCES}
        kinds["one window"] = kinds["batch"][:1]
    elif steps := artefact.model.inputs[0].shape[1]:
        # A user's own network may have a fixed number of steps.
        kinds = {"batch": [steps] * SEQUENCES, "one sequence": [steps]}
    else:
        kinds = {"batch": [LENGTHS[0]] * SEQUENCES, "one step": [1] * SEQUENCES}
        if artefact.preparation.padded:
            kinds["masked"] = list(LENGTHS)
    if hasattr(module, "made_up"):
        return [_answered(kind, one, random, artefact, module) for kind, one in kinds.items()]
    return [
        _sample(kind, lengths, random, artefact, program, module) for kind, lengths in kinds.items()
    ]


def _answered(
    kind: str, lengths: list[int], random: np.random.Generator, artefact: Artefact, module: Any
) -> Sample:
    """A sample of a task that makes its inputs and answers itself, an answer for each step."""
    inputs = module.made_up(artefact.preparation, lengths, random)
    with engine.accelerated(False):
        answers = module.answers(artefact.network, inputs, artefact.preparation)
    if hasattr(module, "answered"):  # an answer for several steps
        lengths = module.answered(artefact.preparation, lengths)
    valid = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return Sample(kind, inputs, answers, _unit(answers), valid)


def _sample(
    kind: str,
    lengths: list[int],
    random: np.random.Generator,
    artefact: Artefact,
    program: Program,
    module: Any,
) -> Sample:
    task, experiment = TASKS[artefact.preparation.task], artefact.experiment
    preparation = artefact.preparation
    if hasattr(module, "whole"):
        preparation = module.whole(preparation)
    if preparation.kind == "numbers":
        sequences = made_up(preparation, lengths, random)
        examples = task.examples(sequences, preparation, experiment, "predict")
        raw = task.examples(sequences, _unscaled(preparation), experiment, "predict")
        series = sequences.ids.tolist()
    else:
        examples, raw = _tokens_or_frames(preparation, lengths, random)
        series = []
    with engine.accelerated(False):
        outputs = task.network.predict(artefact.network, examples, preparation, experiment)
    answers = task.postprocess(outputs, examples, preparation, artefact.baselines)
    length = int(raw.lengths.max())
    inputs: dict[str, Array] = dict(raw.inputs(np.arange(len(raw)), length))
    inputs["lengths"] = np.asarray(raw.lengths, np.int64)
    if hasattr(module, "beside"):  # what the network does not read
        inputs |= module.beside(raw)
    ids = preparation.scale.ids
    if ids:
        inputs["series"] = np.array([ids.index(name) for name in series])
    valid = None
    if answers.ndim < len(program.outputs[0].shape):
        # An answer for each step, end to end.
        valid = np.arange(length) < np.asarray(raw.lengths)[:, None]
        padded = np.zeros((*valid.shape, *answers.shape[1:]))
        padded[valid] = answers
        answers = padded
    taken = {port.name: inputs[port.name].astype(port.dtype) for port in program.inputs}
    unit = module.unit(preparation) if hasattr(module, "unit") else _unit([answers])
    told = module.told(answers) if hasattr(module, "told") else (answers,)
    return Sample(kind, taken, tuple(np.asarray(one, np.float64) for one in told), unit, valid)


def _unit(answers: Sequence[Array]) -> float:
    """What differences are measured by if no target gives a spread: 1, or the largest answer."""
    return min(1.0, max(float(np.abs(one).max(initial=TINY)) for one in answers))


def _tokens_or_frames(
    preparation: Preparation[Any], lengths: list[int], random: np.random.Generator
) -> tuple[Examples[Any], Examples[Any]]:
    """Random tokens twice, or random frames as the network and as an export reads them."""
    if preparation.kind == "text":
        known = len(preparation.own.vocabulary)
        sequences = from_arrays(
            [random.integers(1, known, size=length).astype(np.int32) for length in lengths]
        )
        inputs = [padded_tokens(sequences)] * 2
    else:
        sequences = made_up(preparation, lengths, random)
        columns = preparation.positions(preparation.used)
        inputs = [
            scaled_steps(sequences, one.scale, columns)
            for one in (preparation, _unscaled(preparation))
        ]
    first, second = (Examples(sequences, np.array(lengths), one, lambda *_: None) for one in inputs)
    return first, second


def of_model(model: Any, program: Program) -> list[Sample]:
    """Batches of random inputs, and what the Keras model answers; tokens are padded, too."""
    random = np.random.default_rng(SEED)
    kinds = {"batch": LENGTHS[0]}
    if any(isinstance(size, str) for port in program.inputs for size in port.shape[1:]):
        kinds |= {"masked": LENGTHS[0], "one step": 1}
    samples = []
    for kind, length in kinds.items():
        inputs = {port.name: _random(port, length, program, random) for port in program.inputs}
        if kind == "masked":
            inputs = {name: _with_padding(values) for name, values in inputs.items()}
        with engine.accelerated(False):
            given = mapped(inputs, program.graph.inputs)
            outputs = model.predict_on_batch(given)
        answers = tuple(np.asarray(one, np.float64) for one in _flat(outputs))
        samples.append(Sample(kind, inputs, answers, _unit(answers)))
    return samples


def _random(port: Port, length: int, program: Program, random: np.random.Generator) -> Array:
    shape = [SEQUENCES, *(size if isinstance(size, int) else length for size in port.shape[1:])]
    if port.dtype == "float32":
        return random.normal(size=shape).astype(np.float32)
    most = min(
        (
            len(node.weights["embeddings"])
            for node in program.graph.nodes
            if node.operation == "embedding"
        ),
        default=2,
    )
    return random.integers(1, most, size=shape).astype(np.int64)


def _with_padding(values: Array) -> Array:
    """The same with zeros, which embeddings and Masking layers usually take for padding."""
    values = values.copy()
    if values.shape[1:2] == LENGTHS[:1]:
        values[0, 7:] = 0  # behind
        values[1, :4] = 0  # before
        values[2, 3:5] = 0  # between
    return values


def _flat(outputs: Any) -> list[Any]:
    """The arrays of a structure, in the order in which Keras flattens it."""
    if isinstance(outputs, Mapping):
        return [array for key in sorted(outputs) for array in _flat(outputs[key])]
    if isinstance(outputs, list | tuple):
        return [array for one in outputs for array in _flat(one)]
    return [outputs]


def _unscaled(preparation: Preparation[Any]) -> Preparation[Any]:
    """The same preparation without scaling: its inputs are those of an export."""
    wide = preparation.scale.centre.shape[1]
    scale = replace(
        preparation.scale,
        by="column",
        ids=(),
        centre=np.zeros((1, wide)),
        spread=np.ones((1, wide)),
    )
    static = dict.fromkeys(preparation.static_scale, (0.0, 1.0))
    return replace(preparation, scale=scale, static_scale=static)


def made_up(
    preparation: Preparation[Any], lengths: list[int], random: np.random.Generator
) -> Sequences:
    """Sequences of these lengths, with the columns of the training part."""
    rows = random.integers(len(preparation.scale.centre), size=len(lengths))
    arrays = []
    for row, length in zip(rows, lengths, strict=True):
        noise = random.normal(size=(length, len(preparation.columns)))
        arrays.append(preparation.scale.centre[row] + preparation.scale.spread[row] * noise)
    levels = {
        name: texts for name, texts in preparation.categories.items() if name in preparation.columns
    }
    for array in arrays:
        for name, texts in levels.items():
            array[:, preparation.columns.index(name)] = random.integers(len(texts), size=len(array))
    static: dict[str, Any] = {
        name: centre + spread * random.normal(size=len(lengths))
        for name, (centre, spread) in preparation.static_scale.items()
    }
    for name in preparation.categories.keys() - levels.keys():
        static[name] = random.choice(np.array(preparation.categories[name]), size=len(lengths))
    steps = np.concatenate([np.arange(length) for length in lengths])
    times = np.datetime64("2024-01-01", "us") + steps * np.timedelta64(1, "h")
    ids = preparation.scale.ids
    names = np.array([ids[row] for row in rows]) if ids else None
    return from_arrays(
        arrays, columns=preparation.columns, ids=names, levels=levels, static=static, times=times
    )
