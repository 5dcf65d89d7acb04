"""The details of the scores of classify: each class, the confusions and the mistakes."""

from dataclasses import replace
from typing import Any

import numpy as np

from gatewise import metrics
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.settings import Experiment
from gatewise.tasks import suspects
from gatewise.tasks.classify import multilabel
from gatewise.tasks.classify.blend import (
    MIN_PROBABILITY,
    model_name,
    partner_name,
    probabilities_of,
)
from gatewise.tasks.classify.examples import Pieces, labels_of, sequences_of
from gatewise.tasks.classify.fitted import Fitted
from gatewise.tasks.shown import by_length, shown
from gatewise.tasks.task import (
    NETWORK,
)


def details(
    by_model: dict[str, Array],
    examples: Examples[Pieces],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> dict[str, Any]:
    """Confusion matrix, scores by class, reliability and the most confident mistakes."""
    probabilities, classes = by_model[model_name(preparation)], list(preparation.own.classes)
    if preparation.own.separator:
        return _details_of_several(probabilities, examples, preparation, experiment.report.examples)
    actual, chosen = labels_of(examples, preparation), probabilities.argmax(axis=1)
    matrix = metrics.confusion(actual, chosen, len(classes))
    curve = metrics.reliability(actual, probabilities)
    # Undo the temperature to get the uncalibrated probabilities.
    own = np.log(np.maximum(by_model.get(NETWORK, probabilities), MIN_PROBABILITY))
    partner = partner_name(preparation)
    baseline = by_model[partner] if partner else None
    uncalibrated = replace(preparation, own=replace(preparation.own, temperature=1.0))
    before = probabilities_of(own * preparation.own.temperature, uncalibrated, baseline)
    found = suspects.suspects(actual, probabilities)
    names = sequences_of(examples).ids.astype(str).tolist()
    return {
        "classes": classes,
        "confusion": matrix.tolist(),
        "by_class": metrics.by_class(classes, *metrics.counts_by_class(matrix)),
        "suspects": suspects.listed(found, actual, probabilities, names, classes),
        "reliability": [
            {"confidence": confidence, "accuracy": accurate, "count": count}
            for confidence, accurate, count in curve
        ],
        "temperature": preparation.own.temperature,
        "ece_before": metrics.expected_calibration_error(actual, before),
        "lengths": by_length(
            examples.lengths,
            "wrong",
            {name: one.argmax(axis=1) != actual for name, one in by_model.items()},
        ),
        "examples": _mistakes(
            probabilities, actual, examples, preparation, experiment.report.examples
        ),
    }


def _details_of_several(
    probabilities: Array, examples: Examples[Pieces], preparation: Preparation[Fitted], count: int
) -> dict[str, Any]:
    """Scores by class, and the sequences with the most wrong labels."""
    actual, labels = labels_of(examples, preparation), multilabel.chosen(probabilities)
    wrong = (actual != labels).sum(axis=1)
    worst = [k for k in np.argsort(-wrong, kind="stable")[:count] if wrong[k]]
    names = (preparation.own.classes, preparation.own.separator)
    truths, predictions = multilabel.names(actual, *names), multilabel.names(labels, *names)
    mistakes = [
        shown(examples.source, k) | {"truth": truths[k], "answer": predictions[k]} for k in worst
    ]
    return {
        "classes": list(preparation.own.classes),
        "by_class": multilabel.by_class(actual, probabilities, preparation.own.classes),
        "examples": mistakes,
    }


def _mistakes(
    probabilities: Array,
    actual: Array,
    examples: Examples[Pieces],
    preparation: Preparation[Fitted],
    count: int,
) -> list[dict[str, Any]]:
    chosen = probabilities.argmax(axis=1)
    confidence = np.where(chosen != actual, probabilities.max(axis=1), -1.0)
    worst = [k for k in np.argsort(-confidence)[:count] if confidence[k] >= 0]
    return [
        shown(examples.source, k)
        | {
            "truth": preparation.own.classes[actual[k]],
            "answer": preparation.own.classes[chosen[k]],
            "probability": float(probabilities[k].max()),
        }
        for k in worst
    ]
