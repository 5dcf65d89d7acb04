"""Baselines that need no fit: the last value, the last season, a line, the most frequent class.

Forecasts take `past` [windows, back, targets] and return [windows, horizon, targets].
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewise.errors import ConfigError

Array = NDArray[Any]


def repeat_last(past: Array, horizon: int) -> Array:
    """The last value at every step of the horizon (the naive forecast: FPP3, 5.2)."""
    return np.repeat(past[:, -1:], horizon, axis=1)


def seasonal_naive(past: Array, horizon: int, season: int) -> Array:
    """The last full season, repeated (FPP3, 5.2).

    Raises:
        ConfigError: the window is shorter than one season.

    >>> seasonal_naive(np.array([[[9.0], [1.0], [2.0]]]), horizon=3, season=2)[0, :, 0]
    array([1., 2., 1.])
    """
    back = past.shape[1]
    if not 1 <= season <= back:
        raise ConfigError(
            f"A season of {season} steps does not fit into a window of {back}. "
            "Raise task.lookback, or set task.season."
        )
    return past[:, back - season + np.arange(horizon) % season]


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
