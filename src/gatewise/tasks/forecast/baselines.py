"""The baselines of `forecast`: repeat last, drift, seasonal naive, ridge on the window."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gatewise.baselines import naive
from gatewise.baselines.ridge import Ridge, fit_ridge, ridge
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.subsets import evenly_spaced
from gatewise.data.windows import Windows
from gatewise.tasks.forecast import blend
from gatewise.tasks.forecast.fitted import Fitted
from gatewise.tasks.forecast.values import measured, unscaled
from gatewise.tasks.task import Baseline

RIDGE_WINDOWS = 20_000  # maximum number of training windows of the ridge baseline

Rule = Callable[[Examples[Windows], Array], Array]  # examples, positions -> forecasts


def fit_baselines(
    train: Examples[Windows], valid: Examples[Windows] | None, preparation: Preparation[Fitted]
) -> dict[str, Any]:
    """The ridge coefficients, and each baseline's error quantiles for every step.

    The errors are those on the validation part (on the training part if there is none), so the
    baselines' quantiles are calibrated on the same data as the network's.
    """
    held = valid if valid is not None and len(valid) >= 20 else train
    rows, checks = evenly_spaced(len(train), RIDGE_WINDOWS), evenly_spaced(len(held), 2000)
    fitted = fit_ridge(
        _history(train, preparation, rows),
        train.targets(rows)[..., 0],
        train.inputs(rows, 0).get("future"),
        valid=(
            _history(held, preparation, checks),
            held.targets(checks)[..., 0],
            held.inputs(checks, 0).get("future"),
        ),
    )
    state: dict[str, Any] = {
        "ridge": {
            "coefficients": fitted.coefficients.tolist(),
            "intercept": fitted.intercept.tolist(),
        },
        "penalty": fitted.penalty,
        "offsets": {},
    }
    levels = preparation.own.quantiles or (0.5,)
    actual = measured(held, checks, preparation)
    for name, rule in _rules(state, preparation).items():
        offsets = naive.residual_quantiles(actual, rule(held, checks), levels)
        if 0.5 in levels:  # the median stays the point forecast
            offsets = offsets - offsets[..., [levels.index(0.5)]]
        state["offsets"][name] = offsets.tolist()
    return state


def make_baselines(
    state: Mapping[str, Any], preparation: Preparation[Fitted], _train: Examples[Windows] | None
) -> list[Baseline[Windows, Array]]:
    """The baselines: repeat last, drift, ridge on the window, seasonal naive."""

    def baseline(name: str) -> Baseline[Windows, Array]:
        def predict(examples: Examples[Windows]) -> Array:
            scaled = of_baseline(name, state, examples, preparation)
            return unscaled(scaled, examples.source, preparation)

        return Baseline(name, predict)

    return [baseline(name) for name in _rules(state, preparation)]


def of_baseline(
    name: str,
    state: Mapping[str, Any],
    examples: Examples[Windows],
    preparation: Preparation[Fitted],
) -> Array:
    """Its quantiles on the scale of the network, [windows, horizon, targets, quantiles]."""
    rule, offsets = _rules(state, preparation)[name], np.array(state["offsets"][name])
    pieces = [
        rule(examples, indices)[..., None] + offsets
        for indices in np.array_split(np.arange(len(examples)), -(-len(examples) // 4096))
    ]
    return np.concatenate(pieces)


def _rules(state: Mapping[str, Any], preparation: Preparation[Fitted]) -> dict[str, Rule]:
    """Point forecasts of the baselines on the scale of the network, [windows, horizon, targets]."""
    horizon, season = preparation.own.horizon, preparation.own.season
    fitted = Ridge(
        np.array(state["ridge"]["coefficients"]),
        np.array(state["ridge"]["intercept"]),
        state["penalty"],
    )

    def past(examples: Examples[Windows], indices: Array) -> Array:
        return _history(examples, preparation, indices)

    rules: dict[str, Rule] = {
        "repeat last": lambda examples, indices: naive.repeat_last(
            past(examples, indices), horizon
        ),
        "drift": lambda examples, indices: naive.drift(past(examples, indices), horizon),
        blend.RIDGE: lambda examples, indices: ridge(
            fitted,
            past(examples, indices),
            examples.inputs(indices, 0).get("future"),
        ),
    }
    if season > 1:
        # Only the steps that are repeated are read, because a season may be long.
        rules[f"seasonal naive ({season})"] = lambda examples, indices: _history(
            examples, preparation, indices, naive.seasonal_steps(horizon, season)
        )
    return rules


def naive_names(preparation: Preparation[Fitted]) -> list[str]:
    """The names of the baselines that are fitted to nothing."""
    season = preparation.own.season
    return ["repeat last", "drift", *([f"seasonal naive ({season})"] if season > 1 else [])]


def _history(
    examples: Examples[Windows],
    preparation: Preparation[Fitted],
    indices: Array,
    back: Array | None = None,
) -> Array:
    """The scaled values `back` steps before each origin, [windows, back, targets].

    By default, the steps of the lookback in order. The first value of a series replaces the steps
    before its start.
    """
    source = examples.source
    sequence, origins = source.places(indices)
    back = np.arange(preparation.own.lookback, 0, -1) if back is None else back
    steps = np.maximum(origins[:, None] - back, source.sequences.first[sequence][:, None])
    targets = preparation.positions(preparation.own.targets)
    centre, spread = preparation.scale.rows(source.sequences, source.origins)
    values = source.sequences.values[steps[..., None], targets]
    past: Array = (values - centre[sequence][:, None, targets]) / spread[sequence][:, None, targets]
    return past
