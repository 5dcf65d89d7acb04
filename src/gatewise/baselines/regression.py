"""Ridge regression and gradient boosting of numbers, [n, targets], on features, [n, features].

Both are fitted by scikit-learn, and are kept as plain numbers, so that a run folder holds no code.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewise import metrics
from gatewise.data.sequences import Array

if TYPE_CHECKING:
    from sklearn.ensemble import GradientBoostingRegressor

PENALTIES = tuple(10.0**power for power in range(-2, 5))
MANY_FEATURES = 50  # with more features, each split of a tree considers the square root of them
EXTREME = 1e30  # columns of larger numbers are scaled for the trees, which read float32
ROWS = 20_000  # rows that the trees are fitted on; more take minutes


def fit_linear(features: Any, targets: Array, valid: tuple[Any, Array] | None) -> dict[str, Any]:
    """A ridge regression in a form for JSON; MAE on `valid` chooses the penalty, else it is 1.

    Dense features are standardised, so that a penalty has the same effect on each of them. Sparse
    ones are used as they are.
    """
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_mean=isinstance(features, np.ndarray))
    if not isinstance(features, np.ndarray):
        scaler.set_params(with_std=False)
    rows = scaler.fit_transform(features)

    def fitted(penalty: float) -> dict[str, Any]:
        model = Ridge(alpha=penalty).fit(rows, targets)
        coefficients = model.coef_.reshape(targets.shape[1], -1).T  # [features, targets]
        intercept = np.broadcast_to(model.intercept_, targets.shape[1])
        if scaler.with_mean:
            coefficients = coefficients / scaler.scale_[:, None]
            intercept = intercept - scaler.mean_ @ coefficients
        return {
            "coefficients": coefficients.tolist(),
            "intercept": intercept.tolist(),
            "penalty": penalty,
        }

    if valid is None or not len(valid[1]):
        return fitted(1.0)
    held, truth = valid
    models = (fitted(penalty) for penalty in PENALTIES)
    return min(models, key=lambda model: metrics.mae(truth, linear(model, held)))


def linear(state: Mapping[str, Any], features: Any) -> Array:
    """The predictions of a fitted ridge regression, [n, targets]."""
    predictions = features @ np.array(state["coefficients"]) + np.array(state["intercept"])
    return np.asarray(predictions)


def fit_boosting(features: Array, targets: Array) -> list[dict[str, Any]]:
    """Gradient boosting with scikit-learn's defaults, one model for each target, for JSON."""
    from sklearn.ensemble import GradientBoostingRegressor

    if len(features) > ROWS:
        thin = np.linspace(0, len(features) - 1, ROWS).astype(np.int64)
        features, targets = features[thin], targets[thin]
    most = None if features.shape[1] <= MANY_FEATURES else "sqrt"
    sizes = _sizes(features)
    scaled = features / sizes
    return [
        _plain(GradientBoostingRegressor(max_features=most, random_state=0).fit(scaled, one), sizes)
        for one in targets.T
    ]


def _sizes(features: Array) -> Array:
    """Powers of two that bring extreme columns into the range of float32, else 1, [features]."""
    largest = np.abs(features).max(axis=0)
    extreme = (largest > EXTREME) | ((largest < 1 / EXTREME) & (largest > 0))
    return np.where(extreme, np.ldexp(1.0, np.frexp(largest)[1]), 1.0)


def _plain(model: "GradientBoostingRegressor", sizes: Array) -> dict[str, Any]:
    trees = [one.tree_ for one in model.estimators_[:, 0]]
    return {
        "start": float(model.init_.constant_.item()),
        "rate": model.learning_rate,
        "trees": [
            {
                "feature": tree.feature.tolist(),  # below 0: a leaf
                "threshold": (tree.threshold * sizes[np.maximum(tree.feature, 0)]).tolist(),
                "left": tree.children_left.tolist(),
                "right": tree.children_right.tolist(),
                "value": tree.value[:, 0, 0].tolist(),
            }
            for tree in trees
        ],
    }


def boosting(state: list[dict[str, Any]], features: Array) -> Array:
    """The predictions of fitted gradient boosting, [n, targets]."""
    # scikit-learn's trees read float32, here in the range of float64.
    digits, exponents = np.frexp(features)
    rows = np.ldexp(digits.astype(np.float32).astype(np.float64), exponents)
    return np.stack([_boosted(one, rows) for one in state], axis=1)


def _boosted(model: Mapping[str, Any], features: Array) -> Array:
    total = np.full(len(features), model["start"])
    everything = np.arange(len(features))
    for tree in model["trees"]:
        feature, threshold, left, right, value = (
            np.array(tree[key]) for key in ("feature", "threshold", "left", "right", "value")
        )
        places = np.arange(len(feature))
        if not ((feature < 0) | ((left > places) & (right > places))).all():
            raise ValueError("a branch of a tree leads back")  # and would be followed for ever
        node = np.zeros(len(features), dtype=np.int64)
        while (inner := feature[node] >= 0).any():
            below = features[everything, np.maximum(feature[node], 0)] <= threshold[node]
            node = np.where(inner, np.where(below, left[node], right[node]), node)
        total += model["rate"] * value[node]
    return total
