"""The baselines of regress: median, ridge, gradient boosting and the nearest neighbour."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gatewise.baselines import naive, regression, tfidf
from gatewise.baselines.flat import common_length, flat
from gatewise.baselines.neighbours import nearest_neighbour
from gatewise.baselines.summaries import summaries
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import FINEST, fit_scale
from gatewise.data.sequences import Array, texts_of
from gatewise.data.windows import Stretches
from gatewise.tasks import quantiles
from gatewise.tasks.regress import blend
from gatewise.tasks.regress.fitted import Fitted
from gatewise.tasks.regress.rows import (
    Source,
    pieces,
    positions,
    scaled,
    scored,
    truth,
    unscaled,
)
from gatewise.tasks.task import (
    Baseline,
)

log = logging.getLogger("gatewise")

RIDGE_STEPS = 16  # the window of a linear map has at most this many
RIDGE_FEATURES = 200
NEIGHBOUR = "nearest neighbour"


def _features(
    source: Source, preparation: Preparation[Fitted], state: Mapping[str, Any], rows: Array
) -> Any:
    """What ridge regression and gradient boosting read of these rows, [rows, features]."""
    if isinstance(source, Stretches):
        return _last_steps(source, preparation, rows)
    part = scored(source).chosen(rows)
    if part.kind == "text":
        return tfidf.weighted_words(state["words"], texts_of(part))
    return summaries(part, np.array(state["floor"]))


def _read(
    model: str,
    source: Source,
    preparation: Preparation[Fitted],
    state: Mapping[str, Any],
    rows: Array,
) -> Any:
    """What a model of `_models` reads of these rows, [rows, features]."""
    if model == "steps":
        return flat(scored(source).chosen(rows), state["length"])
    return _features(source, preparation, state, rows)


def _last_steps(source: Stretches, preparation: Preparation[Fitted], rows: Array) -> Array:
    """The scaled last steps up to each row, [rows, steps * columns].

    The first step of a sequence replaces the steps before it.
    """
    columns = preparation.positions(preparation.used)
    back = int(np.clip(RIDGE_FEATURES // len(columns), 1, RIDGE_STEPS))
    part, at = source.scored, pieces(source)[rows]
    steps_back = positions(source)[rows][:, None] - np.arange(back)  # [rows, steps]
    steps_back = np.maximum(steps_back, part.first[at][:, None])
    centre, spread = preparation.scale.rows(part)
    values = part.values[steps_back[..., None], columns].astype(np.float64)
    values = (values - centre[at][:, None, columns]) / spread[at][:, None, columns]
    flat: Array = values.reshape(len(rows), -1)
    return flat


def _sample(examples: Examples[Source], preparation: Preparation[Fitted]) -> tuple[Array, Array]:
    """At most `regression.ROWS` rows with known targets, and their scaled targets."""
    actual = scaled(truth(examples, preparation), preparation)
    known = np.flatnonzero(np.isfinite(actual).all(axis=1))
    count = min(regression.ROWS, len(known))
    thin = known[np.unique(np.linspace(0, len(known) - 1, count).astype(np.int64))]
    return thin, actual[thin]


def fit_baselines(
    train: Examples[Source], valid: Examples[Source] | None, preparation: Preparation[Fitted]
) -> dict[str, Any]:
    """The median, ridge regression and gradient boosting, with the quantiles of their errors.

    The errors are those on the validation part (on the training part if it is small), so the
    baselines' quantiles are calibrated on the same data as the network's.
    """
    rows, actual = _sample(train, preparation)
    levels = preparation.own.quantiles or (0.5,)
    median = np.median(actual, axis=0)
    state: dict[str, Any] = {
        "median": median.tolist(),
        "offsets": {"median": (np.quantile(actual, levels, axis=0).T - median[:, None]).tolist()},
    }
    part = scored(train.source)
    if part.kind == "text":
        vectors, _ = tfidf.fit_words(texts_of(part))
        state["words"] = tfidf.words_state(vectors)
    elif not isinstance(train.source, Stretches):
        state["floor"] = (FINEST * fit_scale(part, "standard", "column").spread[0]).tolist()
    held = valid if valid is not None else train
    checks, wanted = _sample(held, preparation)
    if len(checks) < quantiles.MIN_CALIBRATION:
        held, checks, wanted = train, rows, actual
    features = _features(train.source, preparation, state, rows)
    seen = _features(held.source, preparation, state, checks)
    state["linear"] = regression.fit_linear(
        features, actual, None if held is train else (seen, wanted)
    )
    if part.kind != "text":
        state["boosting"] = regression.fit_boosting(features, actual)
    if part.kind == "numbers" and preparation.own.per == "sequence":
        state["length"] = common_length(part)
    if state.get("length"):
        on_steps = _read("steps", held.source, preparation, state, checks)
        state["steps"] = regression.fit_linear(
            _read("steps", train.source, preparation, state, rows),
            actual,
            None if held is train else (on_steps, wanted),
        )
    for name, predict in _models(state).items():
        predicted = predict(_read(name, held.source, preparation, state, checks))
        offsets = naive.residual_quantiles(wanted, predicted, levels)  # [targets, quantiles]
        if 0.5 in levels:  # the median stays the point prediction
            offsets = offsets - offsets[:, [levels.index(0.5)]]
        state["offsets"][name] = offsets.tolist()
    return state


def ridge_on(
    features: Any, model: str, preparation: Preparation[Fitted], state: Mapping[str, Any]
) -> Array:
    """The quantiles of a fitted model in the targets' own units, [rows, targets, quantiles]."""
    points = _models(state)[model](features)
    return unscaled(points[..., None] + np.array(state["offsets"][model]), preparation)


def of_model(
    model: str,
    state: Mapping[str, Any],
    examples: Examples[Source],
    preparation: Preparation[Fitted],
) -> Array:
    """The same for examples, block by block."""
    every = np.arange(len(pieces(examples.source)))
    blocks = np.array_split(every, -(-len(every) // regression.ROWS))
    return np.concatenate(
        [
            ridge_on(
                _read(model, examples.source, preparation, state, rows), model, preparation, state
            )
            for rows in blocks
        ]
    )


def _models(state: Mapping[str, Any]) -> dict[str, Callable[[Any], Array]]:
    """The fitted models: features -> scaled predictions, [rows, targets]."""
    models = {"linear": lambda features: regression.linear(state["linear"], features)}
    if "steps" in state:
        models["steps"] = lambda features: regression.linear(state["steps"], features)
    if "boosting" in state:
        models["boosting"] = lambda features: regression.boosting(state["boosting"], features)
    return models


def make_baselines(
    state: Mapping[str, Any], preparation: Preparation[Fitted], train: Examples[Source] | None
) -> list[Baseline[Source, Array]]:
    """Median, ridge, gradient boosting and, if `train` is given, nearest neighbour."""

    def median(examples: Examples[Source]) -> Array:
        points = np.tile(np.array(state["median"]), (len(pieces(examples.source)), 1))
        return unscaled(points[..., None] + np.array(state["offsets"]["median"]), preparation)

    def fitted(model: str) -> Baseline[Source, Array]:
        name = blend.baseline_names(preparation)[model]
        return Baseline(name, lambda given: of_model(model, state, given, preparation))

    known = [Baseline("median", median), *map(fitted, _models(state))]
    if train is None or preparation.kind != "numbers" or preparation.own.per == "step":
        return known
    sequences, targets = scored(train.source), truth(train, preparation)
    spread = fit_scale(sequences, "standard", "column").spread[0]

    def neighbour(examples: Examples[Source]) -> Array:
        every = np.arange(len(sequences))
        nearest, method = nearest_neighbour(
            sequences, every, scored(examples.source), spread=spread
        )
        log.info("Nearest neighbour: %s", method)
        count = max(1, len(preparation.own.quantiles))
        return np.repeat(targets[nearest][..., None], count, axis=-1)

    return [*known, Baseline(NEIGHBOUR, neighbour, slow=True)]
