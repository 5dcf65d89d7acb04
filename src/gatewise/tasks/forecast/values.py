"""True and predicted values, scaled and in the data's own units.

The truth is [windows, horizon, targets]; predictions have one more axis, of quantiles.
"""

import numpy as np

from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.windows import Windows
from gatewise.tasks import quantiles
from gatewise.tasks.forecast.fitted import Fitted


def point(predictions: Array, preparation: Preparation[Fitted]) -> Array:
    """The median, or the only forecast, [windows, horizon, targets]."""
    return predictions[..., quantiles.middle(preparation.own.quantiles)]


def truth(examples: Examples[Windows], preparation: Preparation[Fitted]) -> Array:
    """The true values in the data's own units, [windows, horizon, targets]; NaN: not measured."""
    source = examples.source
    steps = source.steps(np.arange(len(source)), 0, source.horizon)
    targets = preparation.positions(preparation.own.targets)
    return source.sequences.measured(steps[..., None], targets)


def measured(
    examples: Examples[Windows], indices: Array, preparation: Preparation[Fitted]
) -> Array:
    """Scaled truth of these windows, [windows, horizon, targets]; NaN where it was filled in.

    A step of the horizon that was measured in no window keeps its filled-in values.
    """
    source, actual = examples.source, np.asarray(examples.targets(indices)[..., 0])
    if source.sequences.filled is None:
        return actual
    steps, targets = (
        source.steps(indices, 0, source.horizon),
        preparation.positions(preparation.own.targets),
    )
    filled = source.sequences.filled[steps[..., None], targets]
    return np.where(filled & ~filled.all(axis=0), np.nan, actual)


def filled_in(source: Windows, preparation: Preparation[Fitted]) -> int:
    """The number of true values that data.missing or data.gaps filled in."""
    if source.sequences.filled is None:
        return 0
    steps = np.unique(source.steps(np.arange(len(source)), 0, source.horizon))
    targets = preparation.positions(preparation.own.targets)
    return int(source.sequences.filled[steps[:, None], targets].sum())


def mean(cells: Array, axis: tuple[int, ...] | None = None) -> Array:
    """The mean over the known cells; NaN if no cell is known."""
    known = ~np.isnan(cells)
    counts = known.sum(axis=axis)
    sums = np.where(known, cells, 0.0).sum(axis=axis)
    return np.where(counts == 0, np.nan, sums / np.maximum(counts, 1))


def scale_of(source: Windows, preparation: Preparation[Fitted]) -> tuple[Array, Array]:
    """Centre and spread of each window's targets, [windows, 1, targets]."""
    targets = preparation.positions(preparation.own.targets)
    centre, spread = preparation.scale.rows(source.sequences, source.origins)
    sequence, _ = source.places(np.arange(len(source)))
    return centre[sequence][:, None, targets], spread[sequence][:, None, targets]


def unscaled(scaled: Array, source: Windows, preparation: Preparation[Fitted]) -> Array:
    """Predictions in the data's own units. Network and baselines share the floor, for fairness."""
    centre, spread = scale_of(source, preparation)
    predictions: Array = scaled * spread[..., None] + centre[..., None]
    if preparation.own.floor == "zero":
        floored = [name in preparation.own.never_negative for name in preparation.own.targets]
        predictions[:, :, floored] = np.maximum(predictions[:, :, floored], 0.0)
    return predictions


def of_network(outputs: Array, preparation: Preparation[Fitted]) -> Array:
    """Its calibrated quantiles on the scale of the network, sorted."""
    scaled: Array = np.sort(outputs.astype(np.float64), axis=-1)
    if preparation.own.margins:
        scaled = np.sort(scaled + np.array(preparation.own.margins)[:, None], axis=-1)
    return scaled
