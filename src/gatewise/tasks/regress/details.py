"""The details of `regress` for its report: scatter, coverage, errors by target and length."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewise import metrics
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.windows import Stretches
from gatewise.settings import Experiment
from gatewise.tasks.quantiles import coverage_of_bands
from gatewise.tasks.regress.blend import model_name
from gatewise.tasks.regress.fitted import Fitted
from gatewise.tasks.regress.rows import Source, deviations, pieces, point, scored, truth
from gatewise.tasks.shown import by_length, shown

MOST_POINTS = 1000  # of a scatter plot
MOST_DRAWN = 4  # targets with a scatter plot


def details(
    by_model: Mapping[str, Array],
    examples: Examples[Source],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> dict[str, Any]:
    """Predicted and true numbers, coverage of the bands, errors by target and length, worst ones.

    `by_model` holds the predictions of the network, of a blend and of the baselines.
    """
    actual, levels = truth(examples, preparation), preparation.own.quantiles
    known = np.flatnonzero(np.isfinite(actual).all(axis=1))
    name = model_name(preparation)
    predictions, names = by_model[name], preparation.own.names
    errors = {
        model: np.abs(actual[known] - point(one, preparation)[known]) / deviations(preparation)
        for model, one in by_model.items()
    }
    content: dict[str, Any] = {
        "targets": list(names),
        "quantiles": list(levels),
        "per": preparation.own.per,
        "transforms": {one.name: one.transform for one in preparation.own.targets},
        "scatter": _scatter(predictions[known], actual[known], preparation),
        "coverage": coverage_of_bands(
            actual[known].ravel(), predictions[known].reshape(-1, predictions.shape[2]), levels
        ),
        "by_target": _by_target(by_model, actual, known, preparation),
    }
    if preparation.own.per == "step":
        content["examples"] = _worst_stretches(
            predictions, errors[name], known, examples, preparation, experiment.report.examples
        )
        return content
    units = 1.0 if len(names) > 1 else deviations(preparation)[0]
    content["lengths"] = by_length(
        examples.lengths[known],
        "error",
        {model: one.mean(axis=1) * units for model, one in errors.items()},
    )
    content["examples"] = _worst(
        predictions, errors[name], known, examples, preparation, experiment.report.examples
    )
    return content


def _scatter(
    predictions: Array, actual: Array, preparation: Preparation[Fitted]
) -> list[dict[str, Any]]:
    """Evenly spread pairs of a true and a predicted number of each target."""
    some = np.unique(np.linspace(0, len(actual) - 1, min(MOST_POINTS, len(actual))).astype(int))
    middle = point(predictions, preparation)
    return [
        {
            "target": name,
            "actual": actual[some, k].tolist(),
            "predicted": middle[some, k].tolist(),
        }
        for k, name in enumerate(preparation.own.names[:MOST_DRAWN])
    ]


def _by_target(
    by_model: Mapping[str, Array], actual: Array, known: Array, preparation: Preparation[Fitted]
) -> dict[str, dict[str, float]]:
    """The mean absolute error of each target by model, in its own units; {} for one target."""
    if len(preparation.own.names) < 2:
        return {}
    return {
        name: {
            model: metrics.mae(actual[known, k], point(one, preparation)[known, k])
            for model, one in by_model.items()
        }
        for k, name in enumerate(preparation.own.names)
    }


def _worst(
    predictions: Array,
    errors: Array,
    known: Array,
    examples: Examples[Source],
    preparation: Preparation[Fitted],
    count: int,
) -> list[dict[str, Any]]:
    """The sequences with the largest error of any target."""
    actual, source, found = truth(examples, preparation), examples.source, []
    assert not isinstance(source, Stretches)
    for place in np.argsort(-errors.max(axis=1), kind="stable")[:count]:
        k, target = int(known[place]), int(errors[place].argmax())
        found.append(
            shown(source, k)
            | {
                "target": preparation.own.names[target],
                "truth": float(actual[k, target]),
                "answer": float(point(predictions, preparation)[k, target]),
                "low": float(predictions[k, target, 0]),
                "high": float(predictions[k, target, -1]),
            }
        )
    return found


def _worst_stretches(
    predictions: Array,
    errors: Array,
    known: Array,
    examples: Examples[Source],
    preparation: Preparation[Fitted],
    count: int,
) -> list[dict[str, Any]]:
    """The stretches with the largest mean error of any target, with all of their steps."""
    source, actual = examples.source, truth(examples, preparation)
    assert isinstance(source, Stretches)
    of_row = pieces(source)
    sums = np.zeros((len(scored(source)), errors.shape[1]))
    np.add.at(sums, of_row[known], errors)
    means = sums / np.maximum(np.bincount(of_row[known], minlength=len(sums)), 1)[:, None]
    part, found = source.scored, []
    for k in np.argsort(-means.max(axis=1), kind="stable")[:count]:
        target, rows = int(means[k].argmax()), np.flatnonzero(of_row == k)
        found.append(
            {
                "id": str(part.ids[k]),
                "first": int(part.starts[k] - part.first[k]),
                "target": preparation.own.names[target],
                "error": float(means[k, target] * deviations(preparation)[target]),
                "truth": [float(one) if np.isfinite(one) else None for one in actual[rows, target]],
                "quantiles": {
                    str(level): predictions[rows, target, q].tolist()
                    for q, level in enumerate(preparation.own.quantiles or (0.5,))
                },
            }
        )
    return found
