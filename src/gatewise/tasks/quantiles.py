"""The code that tasks with quantiles share: their settings, conformal margins and bands."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from gatewise import metrics
from gatewise.data.sequences import Array
from gatewise.errors import ConfigError
from gatewise.settings import Experiment, TaskSettings

MIN_CALIBRATION = 20  # predictions; coverage of fewer is too uncertain


def resolved(experiment: Experiment) -> tuple[tuple[float, ...], list[str]]:
    """The quantiles to predict, and notes on them; no quantiles if a Keras loss is set.

    Raises:
        ConfigError: the quantiles are not increasing numbers between 0 and 1.
    """
    levels = experiment.task.quantiles or TaskSettings().quantiles
    if list(levels) != sorted(set(levels)) or any(not 0 < q < 1 for q in levels):
        raise ConfigError(
            f"task.quantiles must be increasing numbers between 0 and 1. Received: {list(levels)}."
        )
    loss = experiment.training.loss
    if loss != "auto":
        return (), [
            f"With training.loss = {loss}, the prediction is one value and has no quantiles."
        ]
    if 0.5 in levels:
        return levels, []
    nearest = levels[middle(levels)]
    return levels, [
        f"task.quantiles has no 0.5, so mae and the other point metrics use {nearest:g}."
    ]


def middle(levels: Sequence[float]) -> int:
    """The position of the median, or of the quantile nearest to it; 0 without quantiles."""
    return int(np.argmin(np.abs(np.array(levels) - 0.5))) if len(levels) else 0


def bands(levels: Sequence[float]) -> list[tuple[int, int]]:
    """Pairs of quantile indices, from the outermost to the innermost."""
    return [(low, len(levels) - 1 - low) for low in range(len(levels) // 2)]


def margins(
    actual: Array, predictions: Array, levels: Sequence[float], axis: tuple[int, ...]
) -> Array:
    """What to add to each quantile for the nominal coverage of these data, [..., Q].

    Conformalised quantile regression (Romano et al. 2019, arXiv:1905.03222), pooled over the axes
    `axis` of `actual`. NaN in `actual` is left out. `predictions` [..., Q] ascend along Q.
    """
    kept = [size for k, size in enumerate(actual.shape) if k not in axis]
    moved = np.zeros((*kept, len(levels)))
    for low, high in bands(levels):
        outside = np.maximum(predictions[..., low] - actual, actual - predictions[..., high])
        # The truth to come is one more draw (their equation 8), which matters for few numbers.
        count = np.isfinite(outside).sum(axis=axis).min()
        share = min(1.0, (levels[high] - levels[low]) * (count + 1) / max(count, 1))
        margin = np.nanquantile(outside, share, axis=axis, method="inverted_cdf")
        moved[..., low], moved[..., high] = -margin, margin
    return moved


def coverage_of_bands(
    actual: Array, predictions: Array, levels: Sequence[float]
) -> list[dict[str, Any]]:
    """Nominal and measured coverage of each band; `actual` is [n], `predictions` [n, Q]."""
    return [
        {
            "low": levels[low],
            "high": levels[high],
            "nominal": levels[high] - levels[low],
            "measured": metrics.coverage(actual, predictions[:, low], predictions[:, high]),
        }
        for low, high in bands(levels)
    ]


def frame(
    columns: Mapping[str, Array], predicted: Mapping[str, Array], actual: Array
) -> pl.DataFrame:
    """The rows that `predict` writes: what names a row, its predictions, and the truth if any.

    `actual` and each of the predictions have one number for a row; NaN is an unknown truth. The
    columns may have axes of size 1 in place of those of `actual`.
    """
    truth = {"truth": actual} if np.isfinite(actual).any() else {}
    whole = {**columns, **predicted, **truth}
    flat = {name: np.broadcast_to(one, actual.shape).ravel() for name, one in whole.items()}
    rows = pl.DataFrame(flat)
    return rows.with_columns(pl.col("truth").fill_nan(None)) if truth else rows
