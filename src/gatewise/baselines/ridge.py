"""Ridge regression of the horizon on the window.

Forecasts take `past` [windows, back, targets] and return [windows, horizon, targets].
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gatewise import metrics

if TYPE_CHECKING:
    from sklearn.preprocessing import StandardScaler

Array = NDArray[Any]


@dataclass(frozen=True)
class Ridge:
    """A linear map from the window to the horizon, the same for all series and targets."""

    coefficients: Array  # [inputs, horizon]; inputs: the window's steps, then the known covariates
    intercept: Array  # [horizon]
    penalty: float


PENALTIES = tuple(10.0**power for power in range(-2, 5))
RIDGE_ROWS = 20_000  # more rows hardly change a few hundred coefficients, and cost memory


def fit_ridge(
    past: Array,
    future: Array,
    known: Array | None,
    *,
    valid: tuple[Array, Array, Array | None] | None,
) -> Ridge:
    """Ridge regression of the horizon on the window; MAE on `valid` chooses the penalty.

    The regression forecasts the difference from the last value, so it can handle unseen levels.
    Each target channel is a row of its own with the same weights (as in DLinear: Zeng et al. 2023).
    `known` are covariates of the horizon [windows, horizon, K], or None. `valid` is the same triple
    for the validation part. Without validation windows, the penalty is 1.
    """
    from sklearn.preprocessing import StandardScaler

    count = max(RIDGE_ROWS // past.shape[2], 1)
    if count < len(past):  # spread evenly, at a stride that is not a multiple of a season
        thin = np.linspace(0, len(past) - 1, count).astype(np.int64)
        past, future, known = past[thin], future[thin], None if known is None else known[thin]
    inputs, last = _ridge_inputs(past, known)
    scaler = StandardScaler().fit(inputs)  # so that a penalty has the same effect on every series
    inputs, outputs = scaler.transform(inputs), _channels(future) - last
    if valid is None or not len(valid[0]):
        return _ridge_of(inputs, outputs, scaler, 1.0)
    valid_past, valid_future, valid_known = valid
    models = (_ridge_of(inputs, outputs, scaler, penalty) for penalty in PENALTIES)
    return min(
        models, key=lambda model: metrics.mae(valid_future, ridge(model, valid_past, valid_known))
    )


def ridge(model: Ridge, past: Array, known: Array | None) -> Array:
    """The forecast of a fitted ridge, [windows, horizon, targets]."""
    inputs, last = _ridge_inputs(past, known)
    rows = inputs @ model.coefficients + model.intercept + last  # [windows * targets, horizon]
    return rows.reshape(len(past), past.shape[2], -1).swapaxes(1, 2)


def _ridge_inputs(past: Array, known: Array | None) -> tuple[Array, Array]:
    """Rows [windows * targets, inputs] and the last value of each [windows * targets, 1]."""
    window = _channels(past)  # [windows * targets, back]
    last = window[:, -1:]
    inputs = window - last
    if known is not None:
        flat = known.reshape(len(known), -1)  # [windows, horizon * K]
        inputs = np.concatenate([inputs, np.repeat(flat, past.shape[2], axis=0)], axis=1)
    return inputs, last


def _channels(windows: Array) -> Array:
    """[windows, steps, targets] -> [windows * targets, steps]."""
    return windows.swapaxes(1, 2).reshape(-1, windows.shape[1])


def _ridge_of(inputs: Array, outputs: Array, scaler: "StandardScaler", penalty: float) -> Ridge:
    """A ridge fitted on standardised inputs, with its coefficients for the original inputs."""
    from sklearn.linear_model import Ridge as SklearnRidge

    fitted = SklearnRidge(alpha=penalty, solver="cholesky").fit(inputs, outputs)
    coefficients = fitted.coef_.reshape(outputs.shape[1], -1).T / scaler.scale_[:, None]
    return Ridge(coefficients, fitted.intercept_ - scaler.mean_ @ coefficients, penalty)
