"""The baselines of `detect`, each with a yardstick of its own from the same steps as the network's.

Distance from the mean, change from the last value and from the season before, ridge on the window,
and an isolation forest.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gatewise.baselines.ridge import Ridge, fit_ridge, ridge
from gatewise.data.batches import Examples
from gatewise.data.calendar import calendar_features
from gatewise.data.preparation import Preparation, from_plain, to_plain
from gatewise.data.sequences import Array
from gatewise.data.subsets import evenly_spaced
from gatewise.tasks.detect.examples import Scored, scale_of, scaled, values
from gatewise.tasks.detect.fitted import Fitted, Yardstick
from gatewise.tasks.detect.scoring import calibrated, judged, scores_of, yardstick_of
from gatewise.tasks.task import Baseline

MEAN, LAST, RIDGE, FOREST = "z-score", "last value", "ridge on the window", "isolation forest"
RIDGE_WINDOWS = 20_000  # training windows of ridge and of the forest
CHECKED = 2_000  # validation steps that choose the penalty of ridge
FOREST_STEPS = 12  # steps that the isolation forest reads, the judged one included
BATCH = 4096

# examples, indices -> the expected values, scaled, [steps, columns]
Rule = Callable[[Examples[Scored], Array], Array]


def season_name(season: int) -> str:
    """The name of the change from a season before."""
    return f"season before ({season})"


def fit_baselines(
    train: Examples[Scored], valid: Examples[Scored] | None, preparation: Preparation[Fitted]
) -> dict[str, Any]:
    """The coefficients of ridge, and the yardstick of each baseline."""
    assert valid is not None, "split refuses data without a validation part"
    rows, checks = evenly_spaced(len(train), RIDGE_WINDOWS), evenly_spaced(len(valid), CHECKED)
    fitted = fit_ridge(
        _window(train, preparation, rows),
        values(train.source, preparation, rows)[:, None],
        _calendar(train, preparation, rows),
        valid=(
            _window(valid, preparation, checks),
            values(valid.source, preparation, checks)[:, None],
            _calendar(valid, preparation, checks),
        ),
    )
    state: dict[str, Any] = {
        "ridge": {
            "coefficients": fitted.coefficients.tolist(),
            "intercept": fitted.intercept.tolist(),
        },
        "yardsticks": {},
    }
    for name, rule in _rules(state, preparation).items():
        errors = values(valid.source, preparation) - _expected(rule, valid)
        yardstick = yardstick_of(errors, preparation.own.false_alarms)
        state["yardsticks"][name] = to_plain(yardstick)
    return state


def make_baselines(
    state: Mapping[str, Any], preparation: Preparation[Fitted], _train: Examples[Scored] | None
) -> list[Baseline[Scored, Array]]:
    """The baselines that a run saves."""

    def baseline(name: str, rule: Rule) -> Baseline[Scored, Array]:
        yardstick: Yardstick = from_plain(Yardstick, state["yardsticks"][name])

        def predict(examples: Examples[Scored]) -> Array:
            expected = _expected(rule, examples)
            errors = values(examples.source, preparation) - expected
            return judged(
                scores_of(errors, yardstick),
                yardstick,
                in_own_units(expected, examples.source, preparation),
            )

        return Baseline(name, predict)

    return [baseline(name, rule) for name, rule in _rules(state, preparation).items()]


def more_baselines(
    train: Examples[Scored],
    valid: Examples[Scored] | None,
    _test: Examples[Scored] | None,
    preparation: Preparation[Fitted],
) -> list[Baseline[Scored, Array]]:
    """An isolation forest (Liu, Ting & Zhou 2008) on the last steps, which no run saves."""
    assert valid is not None, "split refuses data without a validation part"
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(random_state=0)
    forest.fit(_last_steps(train, preparation, evenly_spaced(len(train), RIDGE_WINDOWS)))

    def scores(examples: Examples[Scored]) -> Array:
        parts = [
            -forest.score_samples(_last_steps(examples, preparation, some))
            for some in _batches(examples)
        ]
        return np.concatenate(parts)

    yardstick = calibrated(Yardstick(), scores(valid), preparation.own.false_alarms)

    def predict(examples: Examples[Scored]) -> Array:
        # It expects no value: that of the mean takes its place.
        mean = np.zeros((len(examples), len(preparation.used)))
        expected = in_own_units(mean, examples.source, preparation)
        return judged(scores(examples), yardstick, expected)

    return [Baseline(FOREST, predict)]


def in_own_units(found: Array, source: Scored, preparation: Preparation[Fitted]) -> Array:
    """Scaled values [steps, columns] in the units of the data."""
    centre, spread = scale_of(source, preparation, np.arange(len(found)))
    own: Array = found * spread + centre
    return own


def _rules(state: Mapping[str, Any], preparation: Preparation[Fitted]) -> dict[str, Rule]:
    """What each baseline expects of a step, from the steps before it."""
    season = preparation.own.season
    fitted = Ridge(
        np.array(state["ridge"]["coefficients"]), np.array(state["ridge"]["intercept"]), 0.0
    )

    def mean(_examples: Examples[Scored], indices: Array) -> Array:
        return np.zeros((len(indices), len(preparation.used)))

    def back(steps: int) -> Rule:
        return lambda examples, indices: _before(examples, preparation, indices, np.array([steps]))[
            :, 0
        ]

    def by_ridge(examples: Examples[Scored], indices: Array) -> Array:
        past = _window(examples, preparation, indices)
        return ridge(fitted, past, _calendar(examples, preparation, indices))[:, 0]

    rules: dict[str, Rule] = {MEAN: mean, LAST: back(1), RIDGE: by_ridge}
    if season > 1:
        rules[season_name(season)] = back(season)
    return rules


def _expected(rule: Rule, examples: Examples[Scored]) -> Array:
    return np.concatenate([rule(examples, some) for some in _batches(examples)])


def _batches(examples: Examples[Scored]) -> list[Array]:
    return np.array_split(np.arange(len(examples)), max(1, -(-len(examples) // BATCH)))


def _before(
    examples: Examples[Scored], preparation: Preparation[Fitted], indices: Array, back: Array
) -> Array:
    """The scaled values `back` steps before each step, [n, back, columns].

    The first value of a series replaces the steps before its start.
    """
    source = examples.source
    first = source.sequences.first[source.places[indices]]
    steps = np.maximum(source.steps[indices][:, None] - back, first[:, None])
    return scaled(source, preparation, indices, steps)


def _window(examples: Examples[Scored], preparation: Preparation[Fitted], indices: Array) -> Array:
    return _before(examples, preparation, indices, np.arange(preparation.own.lookback, 0, -1))


def _last_steps(
    examples: Examples[Scored], preparation: Preparation[Fitted], indices: Array
) -> Array:
    """The last steps of each window and the step itself, side by side, [n, steps * columns]."""
    count = min(FOREST_STEPS, preparation.own.lookback + 1)
    window = _before(examples, preparation, indices, np.arange(count - 1, -1, -1))
    return window.reshape(len(indices), -1)


def _calendar(
    examples: Examples[Scored], preparation: Preparation[Fitted], indices: Array
) -> Array | None:
    """The calendar of each step as a known covariate, [n, 1, features]; None without any."""
    times, names = examples.source.sequences.times, preparation.own.calendar
    if not names or times is None:
        return None
    return calendar_features(times[examples.source.steps[indices]], names)[:, None]
