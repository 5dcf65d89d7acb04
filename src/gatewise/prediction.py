"""predict(), evaluate() and generate(): a trained model on raw data; ids and order are kept."""

import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from gatewise import engine
from gatewise.data.batches import Examples, joined
from gatewise.data.calendar import between_dates
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences, comparable, fingerprint
from gatewise.data.spacing import refuse_other_spacing
from gatewise.errors import ArtefactError, ConfigError, DataError
from gatewise.readers.datasets import located
from gatewise.readers.memory import plain, refuse_surrogates
from gatewise.readers.repairs import LARGEST
from gatewise.readers.sources import sentence
from gatewise.runs.artefact import (
    BASELINES,
    METRICS,
    SPLITS,
    Artefact,
    folder_of,
    intact,
    load,
    open_run,
)
from gatewise.runtime.network import Network
from gatewise.runtime.predicting import plain_outputs
from gatewise.settings import HOLDING
from gatewise.tasks import TASKS, read
from gatewise.tasks.task import Baseline

log = logging.getLogger("gatewise")


class Finished(Protocol):
    """What `gatewise.train` returns."""

    @property
    def artefact(self) -> Artefact:
        """The trained model."""


Run = Artefact | Finished | str | Path  # a loaded artefact, a finished run or a run folder


def predict(run: Run, data: Any, *, strict: bool = False) -> pl.DataFrame:
    """A table with a row for each prediction: forecasts after the end of each series, or labels.

    `run` is what training returned, a loaded artefact or a run folder. `data` is anything that
    training can read. A warning names the sequences that cannot be answered; with `strict` they
    are an error.

    A run folder predicts without Keras where it can (`artefact.open_run`). What training or
    gatewise.load returned predicts with its Keras model, which the caller may have changed.

    Raises:
        DataError: the data differs from the training data; the message names the column.
    """
    artefact = artefact_of(run, open_run)
    examples = asked(artefact, raw_steps(artefact, data), strict=strict)
    ((table, remarks),) = answers(artefact, [examples])
    for remark in remarks:
        log.info("%s", remark)
    return table


def raw_steps(artefact: Artefact, data: Any) -> Sequences:
    """The sequences of new data, in the units of the data.

    Raises:
        DataError: the data differ from the training data; the message names the column.
    """
    task, preparation = TASKS[artefact.preparation.task], artefact.preparation
    sequences, _, notes = read(
        artefact.experiment.data, _given(data, preparation), task=task.name, purpose="predict"
    )
    for note in notes:
        log.info("%s", sentence(note))
    _refuse_other_kinds(sequences, preparation)
    return sequences


def asked(artefact: Artefact, sequences: Sequences, *, strict: bool = False) -> Examples[Any]:
    """What the network reads of new sequences.

    Raises:
        DataError: the task can answer none of them, or with `strict` not all of them.
    """
    task, preparation = TASKS[artefact.preparation.task], artefact.preparation
    inputs = task.prediction_inputs(_answerable(sequences, artefact, strict=strict), preparation)
    examples = task.examples(inputs, preparation, artefact.experiment, "predict")
    _refuse_other_lengths(examples, artefact)
    return examples


def answers(
    artefact: Artefact, several: Sequence[Examples[Any]]
) -> list[tuple[pl.DataFrame, list[str]]]:
    """The table of predictions for each of several requests, and the remarks on them.

    They share the batches of the network if its outputs are a row for each example, computed from
    the inputs of that example alone.
    """
    task, preparation = TASKS[artefact.preparation.task], artefact.preparation
    if len(several) > 1 and task.outputs.predict is plain_outputs:
        together = _outputs(artefact, joined(several, padded=preparation.padded))
        parts = np.split(together, np.cumsum([len(one) for one in several])[:-1])
    else:
        parts = [_outputs(artefact, one) for one in several]
    answered = []
    for examples, outputs in zip(several, parts, strict=True):
        predictions = task.postprocess(outputs, examples, preparation, artefact.baselines)
        table = task.table(predictions, examples, preparation, np.arange(len(examples)))
        answered.append((table, task.remarks(predictions, preparation)))
    return answered


def answers_apart(
    artefact: Artefact, examples: Examples[Any], counts: Sequence[int]
) -> tuple[pl.DataFrame, list[int]] | None:
    """A table of predictions for several requests that were read as one, and the rows of each.

    None if the answers cannot be told apart: if an example is not a sequence, or if there are
    remarks on the predictions.
    """
    task, preparation = TASKS[artefact.preparation.task], artefact.preparation
    if len(examples) != sum(counts):
        return None
    outputs = _outputs(artefact, examples)
    predictions = task.postprocess(outputs, examples, preparation, artefact.baselines)
    if task.remarks(predictions, preparation):
        return None
    indices = np.arange(len(examples))
    table = task.table(predictions, examples, preparation, indices)
    if len(table) == len(examples):
        return table, list(counts)
    parts = np.split(indices, np.cumsum(counts)[:-1])
    tables = [task.table(predictions, examples, preparation, part) for part in parts]
    return pl.concat(tables), list(map(len, tables))


def _answerable(sequences: Sequences, artefact: Artefact, *, strict: bool) -> Sequences:
    """The sequences that the task can answer; a warning names the others.

    Raises:
        DataError: no sequence can be answered, or `strict` is set and one cannot.
    """
    task, preparation = TASKS[artefact.preparation.task], artefact.preparation
    try:
        task.prediction_inputs(sequences, preparation)
    except DataError:
        if strict or len(sequences) == 1:
            raise
    else:
        return sequences
    good, reasons = [], []
    for k in range(len(sequences)):
        try:
            task.prediction_inputs(sequences.chosen(np.array([k])), preparation)
            good.append(k)
        except DataError as error:
            reasons.append(str(error))
    if not good:
        raise DataError(reasons[0])
    count = len(reasons)
    left = [repr(str(name)) for name in np.delete(sequences.ids, good)]
    named = ", ".join(left[:10]) + (f" and {count - 10} more" if count > 10 else "")
    log.warning(
        "%d of %d sequences cannot be answered and %s left out%s. %s",
        count,
        len(sequences),
        "is" if count == 1 else "are",
        "" if count == 1 else f": {named}",
        reasons[0] if count == 1 else f"The first: {reasons[0]}",
    )
    return sequences.chosen(np.array(good))


def artefact_of(run: Any, opener: Callable[[Path], Artefact]) -> Artefact:
    """The artefact of a run in any of the forms of `Run`; `opener` opens a run folder."""
    artefact = getattr(run, "artefact", run)
    if isinstance(artefact, Artefact):
        return artefact
    return opener(folder_of(run))


def _given(data: Any, preparation: Preparation[Any]) -> Any:
    """New data in a form that the readers know; a path is located.

    An array [steps, columns] with the columns of training is one sequence. None is refused,
    because it would mean the training data.
    """
    if data is None:
        raise DataError("There are no data (None). Give a path, a table or arrays.")
    data = plain(located(data))
    width = len(preparation.columns)
    generated = set(preparation.columns) == {f"x{number}" for number in range(width)}
    if isinstance(data, np.ndarray) and data.ndim == 2 and generated and data.shape[1] == width:
        return data[None]
    return data


def _outputs(artefact: Artefact, examples: Examples[Any]) -> Any:
    """The network's raw outputs; stock kernels will do, even if training required native ones."""
    task = TASKS[artefact.preparation.task]
    if _without_keras(artefact):
        return task.outputs.predict(
            artefact.network, examples, artefact.preparation, artefact.experiment
        )
    with engine.accelerated(artefact.experiment.engine.kind != "stock"):
        return task.network.predict(
            artefact.network, examples, artefact.preparation, artefact.experiment
        )


def _without_keras(artefact: Artefact) -> bool:
    """Whether the network is one of `gatewise.runtime`, or several by name."""
    return isinstance(artefact.network, Network | dict)


def generate(
    run: Run,
    prompt: str = "",
    *,
    length: int = 200,
    temperature: float = 1.0,
    top_k: int = 0,
    seed: int | None = None,
) -> str:
    """The prompt and the text that a language model writes after it; see `generating`."""
    pieces = generating(run, prompt, length=length, temperature=temperature, top_k=top_k, seed=seed)
    return prompt + "".join(pieces)


def generating(
    run: Run,
    prompt: str = "",
    *,
    length: int = 200,
    temperature: float = 1.0,
    top_k: int = 0,
    seed: int | None = None,
) -> Iterator[str]:
    """Yield the text that a language model writes after a prompt, piece by piece.

    Words of the prompt that do not occur in the training part are read as the unknown word, and
    unknown characters are left out. A warning reports both.

    Args:
        run: what training returned, a loaded artefact or a run folder, of the task language.
        prompt: the text to continue; empty: the beginning of a line.
        length: number of tokens to write (characters, words or subwords, as the run reads them).
        temperature: below 1, likely tokens become likelier; 0 always takes the most likely one.
        top_k: sample from that many most likely tokens; 0: from all.
        seed: the same seed writes the same text; None: another text each time.

    Raises:
        ConfigError: the run is of another task, or a number is out of range.
        DataError: the prompt has half of a character.
    """
    artefact = artefact_of(run, open_run)
    task = TASKS[artefact.preparation.task]
    if not hasattr(task.outputs, "generate"):
        writing = [name for name, one in TASKS.items() if hasattr(one.outputs, "generate")]
        raise ConfigError(
            f"generate needs a run of the task {' or '.join(writing)}; this one is of {task.name}."
        )
    check_sampling(length=length, temperature=temperature, top_k=top_k, seed=seed)
    refuse_surrogates(prompt, "The prompt")
    text: Iterator[str] = task.outputs.generate(
        artefact.network,
        artefact.preparation,
        prompt,
        length=length,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
        state=artefact.baselines,
    )
    return text


def check_sampling(*, length: int, temperature: float, top_k: int, seed: int | None) -> None:
    """Refuse invalid sampling parameters.

    Raises:
        ConfigError: a number is negative, or not whole where it counts.
    """
    whole = {"length": length, "top_k": top_k, "seed": 0 if seed is None else seed}
    for name, value in {**whole, "temperature": temperature}.items():
        kind, words = (Integral, "whole number") if name in whole else (Real, "number")
        if not (isinstance(value, kind) and math.isfinite(value) and value >= 0):
            raise ConfigError(f"{name} must be a {words} that is not negative. Received: {value}.")


def _refuse_other_kinds(sequences: Sequences, preparation: Preparation[Any]) -> None:
    """Refuse a column that held numbers, texts or dates in training and holds another kind here."""
    if sequences.kind != preparation.kind:
        wanted, held = HOLDING[preparation.kind], HOLDING[sequences.kind]
        raise DataError(
            f"{sequences.source}: the run was trained on {wanted}, but this holds {held}. Give "
            f"{wanted}."
        )
    _refuse_other_columns(sequences, preparation)
    if sequences.times is not None and preparation.step:
        dates, here = between_dates(preparation.step), sequences.times.dtype.kind == "M"
        if dates != here:
            kinds = ("dates", "numbers") if dates else ("numbers", "dates")
            raise DataError(
                f"{sequences.source}: the times were {kinds[0]} in training, but here they are "
                f"{kinds[1]}. Give {kinds[0]}."
            )
        refuse_other_spacing(sequences, preparation.step)
    texts = {name: levels[0] for name, levels in sequences.levels.items() if levels}
    for name, column in sequences.static.items():
        if column.dtype.kind not in "fiu":
            texts[name] = str(column[0])
    for name in (*preparation.used, *preparation.static_scale):
        if name in texts:
            raise DataError(
                f"{sequences.source}: column '{name}' held numbers in training, but here it holds "
                f"'{texts[name]}'. Give numbers."
            )
    for name in preparation.categories:
        if name not in sequences.levels and name not in texts:
            known = ", ".join(preparation.categories[name][:10])
            raise DataError(
                f"{sequences.source}: column '{name}' held texts in training ({known}), but here "
                "it holds numbers. Give texts."
            )


def _refuse_other_columns(sequences: Sequences, preparation: Preparation[Any]) -> None:
    """Refuse settings of another run, which read other columns than the preparation has."""
    # The frames of a sound are columns that are not read.
    framed = getattr(preparation.own, "spectrum", None) is not None
    read, fitted = sequences.columns[: len(preparation.columns)], preparation.columns
    if read != fitted and not framed:
        read_names, fitted_names = (", ".join(map(repr, one[:6])) for one in (read, fitted))
        raise ArtefactError(
            f"The run folder is damaged, because its settings read the columns {read_names}, but "
            f"its preparation has {fitted_names}. Restore the folder from a backup."
        )


def _refuse_other_lengths(examples: Examples[Any], artefact: Artefact) -> None:
    """Refuse a length that the network does not read; a user's own network may read only one."""
    shape = getattr(artefact.network, "input_shape", None)  # a beam search has several networks
    fixed = shape[1] if isinstance(shape, tuple) and len(shape) > 1 else None
    if fixed is None or artefact.preparation.padded:
        return
    other = np.flatnonzero(examples.lengths != fixed)
    source = examples.source
    if len(other) and isinstance(source, Sequences):
        raise DataError(
            f"{source.source}: sequence '{source.ids[other[0]]}' has "
            f"{examples.lengths[other[0]]} steps, but this network reads {fixed}. Cut or pad it, "
            "or train a network that reads any length (keras.Input((None, columns)))."
        )


def evaluate(run: Run, data: Any) -> dict[str, Any]:
    """Score a trained model on new data that holds the truth, beside the baselines saved with it.

    Returns the same keys as `metrics.json`. A note says if the run was trained on these data. The
    nearest-neighbour baseline is left out, because it would need the training data.
    """
    from gatewise.judging import evaluation

    began = time.perf_counter()
    artefact = artefact_of(run, load)
    task, preparation = TASKS[artefact.preparation.task], artefact.preparation
    sequences, examples, notes = _with_truth(artefact, data)
    outputs = _outputs(artefact, examples)
    predictions = task.postprocess(outputs, examples, preparation, artefact.baselines)
    network_only = evaluation.predict_network_only(
        outputs, examples, task, preparation, artefact.experiment
    )
    baselines = _saved_baselines(artefact, predictions)
    result = evaluation.evaluate(
        predictions,
        examples,
        task,
        preparation,
        artefact.experiment,
        baselines=baselines,
        network_only=network_only,
    )
    if not math.isfinite(result.verdict["difference"]):
        raise DataError(f"{sequences.source}: {result.verdict['sentence']}")
    with intact((artefact.folder or Path()) / METRICS):
        kernels = artefact.metrics["engine"]
    return {
        "task": task.name,
        "run": str(artefact.folder or ""),
        "answer": result.model,
        **evaluation.scores_of(result),
        "caveats": result.caveats,
        "seconds": {"evaluate": time.perf_counter() - began},
        "engine": kernels,
        "notes": [sentence(note) for note in notes],
        "details": result.details,
    }


def _with_truth(artefact: Artefact, data: Any) -> tuple[Sequences, Examples[Any], list[str]]:
    """New data that hold the truth, the examples to score, and notes on both, which are logged."""
    task, preparation = TASKS[artefact.preparation.task], artefact.preparation
    sequences, _, notes = read(
        artefact.experiment.data, _given(data, preparation), task=task.name, purpose="evaluate"
    )
    _refuse_other_kinds(sequences, preparation)
    if task.with_truth is not None:
        sequences, more = task.with_truth(sequences, preparation)
        notes += more
    for note in notes:
        log.info("%s", sentence(note))
    with intact((artefact.folder or Path()) / SPLITS):
        note = _seen_note(sequences, artefact.splits)
    if note:
        log.warning("%s", note)
        notes.append(note)
    if task.labelled and sequences.labels is None:
        raise DataError(
            f"{sequences.source}: there is no truth to score against. Give the labels, transcripts "
            "or translations too, or use predict."
        )
    examples = task.examples(sequences, preparation, artefact.experiment, "test")
    if not len(examples):
        raise DataError(f"{sequences.source}: there is nothing to evaluate. Give more data.")
    _refuse_other_lengths(examples, artefact)
    return sequences, examples, notes


def _saved_baselines(artefact: Artefact, like: Any) -> list[Baseline[Any, Any]]:
    """The baselines of a run; it is damaged if they do not predict numbers `like` the network."""
    task, preparation = TASKS[artefact.preparation.task], artefact.preparation
    path = (artefact.folder or Path()) / BASELINES

    def guarded(baseline: Baseline[Any, Any]) -> Baseline[Any, Any]:
        def predict(examples: Examples[Any]) -> Any:
            with intact(path):
                found = baseline.predict(examples)
                if isinstance(like, np.ndarray) and like.dtype.kind == "f":
                    _refuse_unlike(found, like)
                return found

        return replace(baseline, predict=predict)

    with intact(path):
        return [guarded(one) for one in task.baselines(artefact.baselines, preparation, None)]


def _refuse_unlike(found: Any, like: Array) -> None:
    """Refuse predictions of another shape or kind; a point forecast has no axis of quantiles."""
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiub":
        raise TypeError("a baseline predicts no numbers")
    points = [like.shape[:-1], (*like.shape[:-1], 1)] if like.ndim > 2 else []
    if found.shape not in (like.shape, *points):
        raise ValueError(f"a baseline predicts {found.shape} in place of {like.shape}")
    if not (np.abs(found) <= LARGEST).all():
        raise ValueError("a baseline predicts numbers that are not finite, or too large")


def _seen_note(sequences: Sequences, splits: Mapping[str, Any]) -> str:
    """A sentence if the run was trained on some of these steps, else ""."""
    trained = set(splits.get("fingerprints", ()))
    # A network that was trained again has seen the stretch from the first part to the last one.
    begins: dict[str, set[int]] = {}
    ends: dict[str, set[int]] = {}
    for part in ("train", "validation", "test") if trained else ():
        for name, begin, end in splits.get(part, ()):
            begins.setdefault(str(name), set()).add(begin)
            ends.setdefault(str(name), set()).add(end)
    seen = 0
    for name, steps in zip(sequences.ids.tolist(), comparable(sequences), strict=True):
        # Recognise a stretch of a series by its name, and a whole sequence by any name.
        spans = itertools.product(begins.get(str(name), ()), ends.get(str(name), ()))
        places = {(0, len(steps)), *spans} if trained else ()
        seen += any(fingerprint(steps[begin:end]) in trained for begin, end in places)
    if not seen:
        return ""
    subject = (
        f"{seen} of these {len(sequences)} sequences"
        if len(sequences) > 1
        else "steps of these data"
    )
    return (
        f"{sequences.source}: the run was trained on {subject}, so these scores say little about "
        "new data. The report of the run holds the scores on its own test part."
    )
