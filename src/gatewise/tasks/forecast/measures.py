"""The scores of `forecast`, and its errors for each origin, with the clusters of a verdict."""

from collections.abc import Callable

import numpy as np

from gatewise import metrics
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.windows import Windows
from gatewise.settings import Experiment
from gatewise.tasks import quantiles
from gatewise.tasks.forecast.fitted import Fitted
from gatewise.tasks.forecast.values import point, scale_of, truth
from gatewise.tasks.task import Measure, Promise, ratio


def score(
    predictions: Array,
    examples: Examples[Windows],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> dict[str, float]:
    """MAE, RMSE, MSE, MASE, sMAPE and, with quantiles, WQL, SQL and the widest band's coverage."""
    actual = truth(examples, preparation)
    scale = _mase_scale(examples, preparation)
    if experiment.evaluation.scaled:
        centre, spread = scale_of(examples.source, preparation)
        actual = (actual - centre) / spread
        predictions = (predictions - centre[..., None]) / spread[..., None]
        scale = scale / spread
    known = ~np.isnan(actual)
    scale = np.broadcast_to(scale, actual.shape)[known]
    actual, predictions = actual[known], predictions[known]  # [cells], [cells, quantiles]
    middle = point(predictions, preparation)
    scores = {
        "mae": metrics.mae(actual, middle),
        "rmse": metrics.rmse(actual, middle),
        "mse": metrics.mse(actual, middle),
        "mase": metrics.mase(actual, middle, scale),
        "smape": metrics.smape(actual, middle),
    }
    if preparation.own.quantiles:
        scores["wql"] = metrics.wql(actual, predictions, preparation.own.quantiles)
        scores["sql"] = metrics.sql(actual, predictions, preparation.own.quantiles, scale)
    if len(preparation.own.quantiles) > 1:
        scores["coverage"] = metrics.coverage(actual, predictions[..., 0], predictions[..., -1])
    return scores


def measures(
    examples: Examples[Windows], preparation: Preparation[Fitted], experiment: Experiment
) -> list[Measure[Array]]:
    """Errors of each origin; the origins of one horizon form a cluster.

    Errors of several series or targets are scaled, so that the largest series does not dominate.
    """
    source = examples.source
    actual = truth(examples, preparation)
    _, spread = scale_of(source, preparation)
    scaled = (
        experiment.evaluation.scaled
        or len(source.sequences) > 1
        or len(preparation.own.targets) > 1
    )
    size = spread if scaled else np.ones_like(spread)
    prefix = metrics.SCALED if scaled and not experiment.evaluation.scaled else ""

    def absolute(predictions: Array) -> Array:
        return np.asarray(np.abs((actual - point(predictions, preparation)) / size))

    def squared(predictions: Array) -> Array:
        return np.asarray(np.square((actual - point(predictions, preparation)) / size))

    def quantile(predictions: Array) -> Array:
        scaled_truth, scaled_predictions = actual / size, predictions / size[..., None]
        return metrics.quantile_loss(scaled_truth, scaled_predictions, preparation.own.quantiles)

    cells = {"mae": absolute, "mse": squared}
    if preparation.own.quantiles:
        cells["quantile loss"] = quantile
    return [_measure(f"{prefix}{name}", each, examples, actual) for name, each in cells.items()]


def _measure(
    name: str, each: Callable[[Array], Array], examples: Examples[Windows], actual: Array
) -> Measure[Array]:
    """The mean of `each(predictions)` [windows, horizon, targets] over cells with known truth.

    Windows without such cells are left out, so that no cluster is empty.
    """
    source = examples.source
    known = ~np.isnan(actual)
    counts = known.sum(axis=(1, 2))
    scored = np.flatnonzero(counts)

    def statistics(predictions: Array) -> Array:
        sums = np.where(known, each(predictions), 0.0).sum(axis=(1, 2))
        return np.stack([sums, counts], axis=1)[scored]

    clusters = stretches(source, scored)
    return Measure(name, statistics, ratio, clusters)


def stretches(source: Windows, indices: Array) -> Array:
    """The number of the stretch of one horizon in which each window begins, [windows]."""
    sequence, origins = source.places(indices)
    stretch = (origins - source.origins[sequence]) // source.horizon
    _, numbers = np.unique(np.stack([sequence, stretch]), axis=1, return_inverse=True)
    return np.asarray(numbers)


def promises(examples: Examples[Windows], preparation: Preparation[Fitted]) -> list[Promise[Array]]:
    """The nominal and the measured coverage of the outermost band of quantiles."""
    levels = preparation.own.quantiles
    actual = truth(examples, preparation)

    def inside(predictions: Array) -> Array:
        return np.asarray((predictions[..., 0] <= actual) & (actual <= predictions[..., -1]))

    return [
        Promise(
            f"band from {levels[low]:.3g} to {levels[high]:.3g}",
            levels[high] - levels[low],
            _measure("coverage", inside, examples, actual),
        )
        for low, high in quantiles.bands(levels)[:1]
    ]


def _mase_scale(examples: Examples[Windows], preparation: Preparation[Fitted]) -> Array:
    """In-sample error of the seasonal naive forecast up to the first origin, [windows, 1, targets].

    MASE divides by it.
    """
    source = examples.source
    sequences, targets = source.sequences, preparation.positions(preparation.own.targets)
    scales = np.array(
        [
            [
                metrics.seasonal_scale(
                    sequences.measured(np.arange(first, start), column), preparation.own.season
                )
                for column in targets
            ]
            for first, start in zip(sequences.first, source.origins, strict=True)
        ]
    )
    sequence, _ = source.places(np.arange(len(source)))
    return scales[sequence][:, None]
