"""Predictions as the rows that `predict` writes: one for each step."""

from typing import Any

import numpy as np
import polars as pl

from gatewise.data.batches import Examples
from gatewise.data.calendar import in_zone, kind_of_times
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.settings import Experiment
from gatewise.tasks.detect.examples import Scored
from gatewise.tasks.detect.fitted import Fitted
from gatewise.tasks.detect.scoring import ALARM, EXPECTED, P_VALUE, SCORE


def table(
    predictions: Array,
    examples: Examples[Scored],
    preparation: Preparation[Fitted],
    indices: Array,
) -> pl.DataFrame:
    """One row for each step: id, time or step, score, p-value, alarm, expected values, label.

    Copies with planted anomalies are left out.
    """
    source = examples.source
    sequences = source.sequences
    rows = indices[source.planted[source.places[indices]] == ""]
    steps, places = source.steps[rows], source.places[rows]
    columns: dict[str, Any] = {"id": sequences.ids.astype(str)[places]}
    if sequences.times is not None:
        columns["time"] = in_zone(sequences.times[steps], sequences.zone)
    else:
        columns["step"] = steps - sequences.first[places] + 1
    columns |= {
        "score": predictions[rows, SCORE],
        "p_value": predictions[rows, P_VALUE],
        "alarm": predictions[rows, ALARM].astype(np.int64),
    }
    for k, name in enumerate(preparation.used):
        columns[f"expected {name}"] = predictions[rows, EXPECTED + k]
    truth = source.truth[rows]
    if np.isfinite(truth).any():
        columns["truth"] = truth
    found = pl.DataFrame(columns)
    if "truth" in columns:
        found = found.with_columns(pl.col("truth").fill_nan(None).cast(pl.Int64))
    return found


def schema(preparation: Preparation[Fitted], experiment: Experiment) -> dict[str, Any]:
    """The columns of `table` for new data."""
    where = (
        {"time": kind_of_times(preparation.step)} if experiment.data.time else {"step": pl.Int64}
    )
    numbers = {"score": pl.Float64, "p_value": pl.Float64, "alarm": pl.Int64}
    expected = {f"expected {name}": pl.Float64 for name in preparation.used}
    return {"id": pl.String} | where | numbers | expected
