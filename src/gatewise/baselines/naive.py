"""Baselines that need no fit: the last value, the last season, a line, the most frequent class.

Forecasts take `past` [windows, back, targets] and return [windows, horizon, targets].
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def repeat_last(past: Array, horizon: int) -> Array:
    """The last value at every step of the horizon (the naive forecast: FPP3, 5.2)."""
    return np.repeat(past[:, -1:], horizon, axis=1)


def seasonal_steps(horizon: int, season: int) -> Array:
    """How many steps before the origin the seasonal naive forecast reads its values, [horizon].

    It repeats the last full season (FPP3, 5.2).

    >>> seasonal_steps(horizon=3, season=2)
    array([2, 1, 2])
    """
    steps: Array = season - np.arange(horizon) % season
    return steps


def drift(past: Array, horizon: int) -> Array:
    """The line through the first and the last value of the window, continued (FPP3, 5.2)."""
    slope = (past[:, -1:] - past[:, :1]) / max(past.shape[1] - 1, 1)  # [windows, 1, targets]
    line: Array = past[:, -1:] + slope * np.arange(1, horizon + 1)[:, None]
    return line


def residual_quantiles(truth: Array, points: Array, quantiles: Sequence[float]) -> Array:
    """Offsets [horizon, targets, Q] that turn a point forecast into a quantile forecast.

    They are the empirical quantiles of truth - points at each step of the horizon, over windows
    before the test part. Add them to `points[..., None]` of the test part. Windows that the
    model was fitted on have too small residuals, so use the validation part if there is one. NaN
    in truth is left out.
    """
    return np.moveaxis(np.nanquantile(truth - points, quantiles, axis=0), 0, -1)


def majority(labels: Array, classes: int) -> Array:
    """The frequency of each class, [classes], which is predicted for every sequence.

    >>> majority(np.array([0, 0, 0, 2]), classes=3)
    array([0.75, 0.  , 0.25])
    """
    counts = np.bincount(labels, minlength=classes)
    frequencies: Array = counts / counts.sum()
    return frequencies
