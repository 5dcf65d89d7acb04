"""Forecasts as the rows that `predict` writes: one for each step and target."""

from typing import Any

import numpy as np
import polars as pl

from gatewise.data.batches import Examples
from gatewise.data.calendar import in_zone, kind_of_times
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.windows import Windows
from gatewise.settings import Experiment
from gatewise.tasks import quantiles
from gatewise.tasks.forecast.fitted import Fitted


def table(
    predictions: Array,
    examples: Examples[Windows],
    preparation: Preparation[Fitted],
    indices: Array,
) -> pl.DataFrame:
    """One row per forecast step: id, origin, time or step, target, quantiles, truth if known."""
    source = examples.source
    sequences = source.sequences
    sequence, origins = source.places(indices)
    steps = source.steps(indices, 0, source.horizon)  # [windows, horizon]
    targets = preparation.positions(preparation.own.targets)
    actual = sequences.measured(steps[..., None], targets)  # [windows, horizon, targets]
    first = sequences.first[sequence]
    columns: dict[str, Array] = {"id": sequences.ids[sequence][:, None, None]}
    if sequences.times is not None:
        columns["origin"] = in_zone(sequences.times[origins - 1], sequences.zone)[:, None, None]
        columns["time"] = in_zone(sequences.times[steps], sequences.zone)[..., None]
    else:
        columns["origin"] = (origins - first)[:, None, None]
        columns["step"] = (steps - first[:, None] + 1)[..., None]
    columns["target"] = np.array(preparation.own.targets)[None, None]
    named = [f"q{level:g}" for level in preparation.own.quantiles] or ["forecast"]
    return quantiles.frame(
        columns, dict(zip(named, np.moveaxis(predictions[indices], -1, 0), strict=True)), actual
    )


def schema(preparation: Preparation[Fitted], experiment: Experiment) -> dict[str, Any]:
    """The columns of `table` for new data."""
    times = dict.fromkeys(("origin", "time"), kind_of_times(preparation.step))
    steps = {"origin": pl.Int64, "step": pl.Int64}
    levels = [f"q{level:g}" for level in preparation.own.quantiles] or ["forecast"]
    named = experiment.data.layout == "wide" and preparation.step  # times name the columns
    where = times if experiment.data.time or named else steps
    return {"id": pl.String} | where | {"target": pl.String} | dict.fromkeys(levels, pl.Float64)
