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
from gatewise.data.files import read
from gatewise.data.sequences import Sequences
from gatewise.errors import DataError
from gatewise.tasks import TASKS

log = logging.getLogger("gatewise")

BATCH = 256


def predict(run: Artefact | str | Path, data: Any) -> pl.DataFrame:
    """A row for each answer: forecasts continue each series behind its last row; classes come with probabilities.

    `run` is a loaded artefact or a run folder, `data` whatever training could read.

    Raises:
        DataError: the data is not as the training data was; the message says which column.
    """
    made = run if isinstance(run, Artefact) else load(run)
    task, preparation = TASKS[made.preparation.task], made.preparation
    sequences, _, notes = read(made.experiment.data, data, task=task.name, purpose="predict")
    for note in notes:
        log.info("%s", note)
    some = task.examples(
        task.ahead(sequences, preparation), preparation, made.experiment, "predict"
    )
    _refuse_other_lengths(some, made)
    given = training.outputs(made.network, some, BATCH, padded=preparation.padded)
    return task.table(
        task.answer(given, some, preparation), some, preparation, np.arange(len(some))
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
    sequences, _, notes = read(made.experiment.data, data, task=task.name)
    for note in notes:
        log.info("%s", note)
    some = task.examples(sequences, preparation, made.experiment, "test")
    if not len(some):
        raise DataError(
            f"{sequences.source}: the longest sequence has {sequences.lengths.max()} steps, and one "
            f"forecast with its truth needs {preparation.lookback} + {preparation.horizon} (the "
            "lookback and the horizon). Give more of its steps."
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
