"""predict(): raw data in; answers with the same ids, in the same order."""

import itertools
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from gatewise import engine, evaluation
from gatewise.artefact import Artefact, load
from gatewise.data import streams
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences, comparable, fingerprint
from gatewise.data.spacing import refuse_other_spacing
from gatewise.errors import ConfigError, DataError
from gatewise.readers.datasets import located
from gatewise.readers.files import read, sentence
from gatewise.settings import HOLDING
from gatewise.tasks import TASKS
from gatewise.tasks.language.network import continued

log = logging.getLogger("gatewise")


class Finished(Protocol):
    """What `gatewise.train` returns."""

    @property
    def artefact(self) -> Artefact:
        """What has been learnt."""


Trained = Artefact | Finished | str | Path  # a loaded artefact, a finished run or a run folder


def predict(run: Trained, data: Any) -> pl.DataFrame:
    """A row for each answer: forecasts behind the last row of each series, or labels.

    `run` is what training returned, a loaded artefact or a run folder; `data` is whatever training
    could read.

    Raises:
        DataError: the data is not as the training data was; the message says which column.
    """
    made = _made(run)
    task, preparation = TASKS[made.preparation.task], made.preparation
    sequences, _, notes = read(
        made.experiment.data, _given(data), task=task.name, purpose="predict"
    )
    for note in notes:
        log.info("%s", sentence(note))
    _refuse_other_kinds(sequences, preparation)
    some = task.examples(
        task.ahead(sequences, preparation), preparation, made.experiment, "predict"
    )
    _refuse_other_lengths(some, made)
    answer = task.answer(_outputs(made, some), some, preparation, made.baselines)
    _tell_of_negatives(answer, preparation)
    return task.table(answer, some, preparation, np.arange(len(some)))


def _made(run: Any) -> Artefact:
    """The artefact of a run, however it is given."""
    found = getattr(run, "artefact", run)
    if isinstance(found, Artefact):
        return found
    if isinstance(found, str | os.PathLike):
        return load(Path(found))
    raise ConfigError(
        "A run is a run folder, what gatewise.load gives, or what gatewise.train returned. "
        f"Received: {type(run).__name__}."
    )


def _given(data: Any) -> Any:
    """The data as they can be read; None would else mean those of the training."""
    if data is None:
        raise DataError("There are no data (None). Give a path, a table or arrays.")
    return located(data)


def _outputs(made: Artefact, some: Examples) -> Any:
    """The network's raw outputs; where training demanded the native kernels, stock ones will do."""
    with engine.accelerated(made.experiment.engine.kind != "stock"):
        ask = TASKS[made.preparation.task].network.predict
        return ask(made.network, some, made.preparation, made.experiment)


def generate(
    run: Trained,
    prompt: str = "",
    *,
    length: int = 200,
    temperature: float = 1.0,
    top_k: int = 0,
    seed: int | None = None,
) -> str:
    """The prompt and what a language model writes behind it; arguments as of `generating`."""
    said = generating(run, prompt, length=length, temperature=temperature, top_k=top_k, seed=seed)
    return prompt + "".join(said)


def generating(
    run: Trained,
    prompt: str = "",
    *,
    length: int = 200,
    temperature: float = 1.0,
    top_k: int = 0,
    seed: int | None = None,
) -> Iterator[str]:
    """What a language model writes behind a prompt, piece by piece.

    Words of the prompt that training did not know are read as the unknown word, unknown characters
    are left out; both are said.

    Args:
        run: what training returned, a loaded artefact or a run folder, of the task language.
        prompt: what stands before; empty: the beginning of a line.
        length: tokens to write (characters, words or pieces of words, as the run reads them).
        temperature: below 1 the likely gets likelier; 0 always takes the likeliest.
        top_k: choose among so many of the likeliest; 0: among all.
        seed: the same seed writes the same text; None: another one each time.

    Raises:
        ConfigError: the run is of another task, or a number is out of its range.
    """
    made = _made(run)
    if made.preparation.task != "language":
        raise ConfigError(
            f"generate needs a run of the task language; this one is of {made.preparation.task}."
        )
    given = {"length": length, "temperature": temperature, "top_k": top_k, "seed": seed or 0}
    for name, value in given.items():
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{name} wants a number that is not negative. Received: {value}.")
    vocabulary = made.preparation.vocabularies["text"]
    tokens, strange = streams.prompted(prompt, vocabulary)
    if strange:
        what = "left out" if vocabulary.kind == "characters" else "read as the unknown word"
        named = ", ".join(map(repr, strange[:10]))
        log.warning("The prompt holds what training did not know, which is %s: %s.", what, named)
    drawn = continued(
        made.network,
        tokens,
        forbidden=streams.never_written(vocabulary),
        temperature=temperature,
        top_k=top_k,
        seed=seed,
    )
    begun = bool(prompt) and not prompt[-1].isspace()
    return streams.written(itertools.islice(drawn, length), vocabulary, begun=begun)


def _tell_of_negatives(answer: Array, preparation: Preparation) -> None:
    """Say when a forecast goes where its target never went; whether it can, users know."""
    for place, name in enumerate(preparation.targets):
        below = (answer[:, :, place] < 0).any(axis=-1)
        if name in preparation.never_negative and below.any():
            log.info(
                "%d of %d forecasts of '%s' reach below 0, which it never did in training; where "
                "it cannot, train with task.floor=zero.",
                *(below.sum(), below.size, name),
            )


def _refuse_other_kinds(sequences: Sequences, preparation: Preparation) -> None:
    """A column of numbers stays one, and so does a column of texts or of dates."""
    if sequences.kind != preparation.kind:
        wanted, held = HOLDING[preparation.kind], HOLDING[sequences.kind]
        raise DataError(
            f"{sequences.source}: the run was trained on {wanted}, and this holds {held}. Give "
            f"{wanted}."
        )
    if sequences.times is not None and preparation.step:
        dates, here = preparation.step[-1] not in "i0123456789", sequences.times.dtype.kind == "M"
        if dates != here:
            kinds = ("dates", "numbers") if dates else ("numbers", "dates")
            raise DataError(
                f"{sequences.source}: the times were {kinds[0]} in training, and here are "
                f"{kinds[1]}. Give {kinds[0]}."
            )
        refuse_other_spacing(sequences, preparation.step)
    texts = {name: levels[0] for name, levels in sequences.levels.items() if levels}
    for name, column in sequences.static.items():
        if column.dtype.kind not in "fiu":
            texts[name] = str(column[0])
    for name in (*preparation.used, *preparation.static_centre):
        if name in texts:
            raise DataError(
                f"{sequences.source}: column '{name}' held numbers in training, and here holds "
                f"'{texts[name]}'. Give numbers."
            )
    for name in preparation.categories:
        if name not in sequences.levels and name not in texts:
            known = ", ".join(preparation.categories[name][:10])
            raise DataError(
                f"{sequences.source}: column '{name}' held texts in training ({known}), and here "
                "holds numbers. Give texts."
            )


def _refuse_other_lengths(some: Examples, made: Artefact) -> None:
    """A network of the user's own may read one length only."""
    shape = made.network.input_shape
    fixed = shape[1] if isinstance(shape, tuple) and len(shape) > 1 else None
    if fixed is None or made.preparation.padded or made.preparation.task == "forecast":
        return
    other = np.flatnonzero(some.lengths != fixed)
    if len(other) and isinstance(some.of, Sequences):
        raise DataError(
            f"{some.of.source}: sequence '{some.of.ids[other[0]]}' has {some.lengths[other[0]]} "
            f"steps, and this network reads {fixed}. Cut or fill it up, or train a network that "
            "reads any length (keras.Input((None, columns)))."
        )


def evaluate(run: Trained, data: Any) -> dict[str, Any]:
    """Score a trained model on new data that holds the truth, beside the baselines saved with it.

    Returns the same keys as `metrics.json`; among its notes, whether the run was trained on these
    data. The nearest neighbour, which would need the training data, is not asked again.
    """
    began = time.perf_counter()
    made = _made(run)
    task, preparation = TASKS[made.preparation.task], made.preparation
    sequences, _, notes = read(
        made.experiment.data, _given(data), task=task.name, purpose="evaluate"
    )
    _refuse_other_kinds(sequences, preparation)
    if task.with_truth is not None:
        sequences, told = task.with_truth(sequences, preparation)
        notes += told
    for note in notes:
        log.info("%s", sentence(note))
    if said := _told_of_seen(sequences, made.splits):
        log.warning("%s", said)
        notes.append(said)
    if task.labelled and sequences.labels is None:
        raise DataError(
            f"{sequences.source}: there is no truth to score against. Give the labels, transcripts "
            "or translations as well, or use predict."
        )
    some = task.examples(sequences, preparation, made.experiment, "test")
    if not len(some):
        raise DataError(
            f"{sequences.source}: the longest sequence has {sequences.lengths.max()} steps, and "
            f"one forecast with its truth needs {preparation.lookback} + {preparation.horizon} "
            "(the lookback and the horizon). Give more of its steps."
        )
    _refuse_other_lengths(some, made)
    given = _outputs(made, some)
    answer = task.answer(given, some, preparation, made.baselines)
    alone = evaluation.answer_alone(given, some, task, preparation)
    rules = task.baselines(made.baselines, preparation, None)
    judged = evaluation.evaluate(
        answer, some, task, preparation, made.experiment, baselines=rules, alone=alone
    )
    if not math.isfinite(judged.verdict["difference"]):
        raise DataError(f"{sequences.source}: {judged.verdict['sentence']}")
    return {
        "task": task.name,
        "run": str(made.folder or ""),
        "answer": judged.answer,
        "metrics": judged.metrics,
        "alone": judged.alone,
        "baselines": judged.baselines,
        "verdict": judged.verdict,
        "comparisons": judged.comparisons,
        "caveats": judged.caveats,
        "seconds": {"evaluate": time.perf_counter() - began},
        "engine": made.metrics["engine"],
        "notes": [sentence(note) for note in notes],
        "details": judged.details,
    }


def _told_of_seen(sequences: Sequences, splits: Mapping[str, Any]) -> str:
    """A sentence where the run was trained on some of these steps, else ""."""
    learnt = set(splits.get("fingerprints", ()))
    spans: dict[str, set[tuple[int, int]]] = {}
    for name, begin, end in splits.get("train", ()) if learnt else ():
        spans.setdefault(str(name), set()).add((begin, end))
    seen = 0
    for name, steps in zip(sequences.ids.tolist(), comparable(sequences), strict=True):
        # The training part of a series by its name; a whole sequence under any name.
        places = {(0, len(steps)), *spans.get(str(name), ())} if learnt else ()
        seen += any(fingerprint(steps[begin:end]) in learnt for begin, end in places)
    if not seen:
        return ""
    which = (
        f"{seen} of these {len(sequences)} sequences"
        if len(sequences) > 1
        else "steps of these data"
    )
    return (
        f"{sequences.source}: the run was trained on {which}, so these scores say little of new "
        "data. How it does on its own test part stands in its report."
    )
