"""predict(): raw data in; answers with the same ids, in the same order."""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gatewise import evaluation, training
from gatewise.artefact import Artefact, load
from gatewise.data.batches import Examples
from gatewise.data.datasets import located
from gatewise.data.files import read, sentence
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Sequences
from gatewise.errors import DataError
from gatewise.tasks import TASKS

log = logging.getLogger("gatewise")

BATCH = 256


def predict(run: Artefact | str | Path, data: Any) -> pl.DataFrame:
    """A row for each answer: forecasts behind the last row of each series, or labels.

    `run` is a loaded artefact or a run folder, `data` whatever training could read.

    Raises:
        DataError: the data is not as the training data was; the message says which column.
    """
    made = run if isinstance(run, Artefact) else load(run)
    task, preparation = TASKS[made.preparation.task], made.preparation
    sequences, _, notes = read(
        made.experiment.data, located(data), task=task.name, purpose="predict"
    )
    for note in notes:
        log.info("%s", sentence(note))
    _refuse_other_kinds(sequences, preparation)
    some = task.examples(
        task.ahead(sequences, preparation), preparation, made.experiment, "predict"
    )
    _refuse_other_lengths(some, made)
    given = training.outputs(made.network, some, BATCH, padded=preparation.padded)
    return task.table(
        task.answer(given, some, preparation), some, preparation, np.arange(len(some))
    )


def _refuse_other_kinds(sequences: Sequences, preparation: Preparation) -> None:
    """A column of numbers stays one, and so does a column of texts."""
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


def evaluate(run: Artefact | str | Path, data: Any) -> dict[str, Any]:
    """Score a trained model on new data that holds the truth, beside the baselines saved with it.

    Returns the same keys as `metrics.json`. The nearest neighbour, which would need the training
    data, is not asked again.
    """
    began = time.perf_counter()
    made = run if isinstance(run, Artefact) else load(run)
    task, preparation = TASKS[made.preparation.task], made.preparation
    sequences, _, notes = read(made.experiment.data, located(data), task=task.name)
    for note in notes:
        log.info("%s", sentence(note))
    _refuse_other_kinds(sequences, preparation)
    some = task.examples(sequences, preparation, made.experiment, "test")
    if not len(some):
        raise DataError(
            f"{sequences.source}: the longest sequence has {sequences.lengths.max()} steps, and "
            f"one forecast with its truth needs {preparation.lookback} + {preparation.horizon} "
            "(the lookback and the horizon). Give more of its steps."
        )
    _refuse_other_lengths(some, made)
    given = training.outputs(made.network, some, BATCH, padded=preparation.padded)
    answer = task.answer(given, some, preparation)
    rules = task.baselines(made.baselines, preparation, None)
    judged = evaluation.evaluate(answer, some, task, preparation, made.experiment, baselines=rules)
    return {
        "task": task.name,
        "run": str(made.folder or ""),
        "metrics": judged.metrics,
        "baselines": judged.baselines,
        "verdict": judged.verdict,
        "comparisons": judged.comparisons,
        "seconds": {"evaluate": time.perf_counter() - began},
        "engine": made.metrics["engine"],
        "details": judged.details,
    }
