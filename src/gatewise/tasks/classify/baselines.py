"""The baselines of classify: majority, logistic regressions and the nearest neighbour."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewise.baselines import tfidf
from gatewise.baselines.flat import common_length, flat
from gatewise.baselines.logistic import Logistic, fit_logistic, logistic
from gatewise.baselines.naive import majority
from gatewise.baselines.neighbours import nearest_neighbour
from gatewise.baselines.summaries import summaries
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import FINEST, fit_scale
from gatewise.data.sequences import Array, texts_of
from gatewise.tasks.classify import multilabel
from gatewise.tasks.classify.examples import Pieces, labels_of, sequences_of
from gatewise.tasks.classify.fitted import Fitted
from gatewise.tasks.task import (
    Baseline,
)

log = logging.getLogger("gatewise")

# The names of the logistic regression and of its features, by kind of data.
LOGISTIC = {
    "numbers": "logistic regression on summaries",
    "text": "logistic regression on TF-IDF",
    "sound": "logistic regression on frame statistics",
}
LOGISTIC_STEPS = "logistic regression on the steps"  # of sequences of one length


def regression(state: Mapping[str, Any], examples: Examples[Pieces]) -> Array:
    """The probabilities of the fitted logistic regression, [sequences, classes]."""
    sequences = sequences_of(examples)
    if sequences.kind == "text":
        return tfidf.probabilities(state["tfidf"], texts_of(sequences))
    return regression_on(state, summaries(sequences, floor_of(state)))


def regression_on_steps(state: Mapping[str, Any], examples: Examples[Pieces]) -> Array:
    """The probabilities of the regression on the steps, [sequences, classes]."""
    return on_steps(state, flat(sequences_of(examples), state["steps"]["length"]))


def on_steps(state: Mapping[str, Any], features: Array) -> Array:
    """The same for steps that are side by side already, [sequences, length * columns]."""
    return logistic(_logistic(state["steps"]), features)


def floor_of(state: Mapping[str, Any]) -> Array | None:
    """The floor of `summaries`; None in older runs."""
    return np.array(state["floor"]) if "floor" in state else None


def regression_on(state: Mapping[str, Any], features: Array) -> Array:
    """The probabilities of the fitted logistic regression for summaries, [sequences, classes]."""
    if isinstance(state["logistic"], list):
        return multilabel.regressions(state["logistic"], features)
    return logistic(_logistic({**state["logistic"], "penalty": state["penalty"]}), features)


def _logistic(state: Mapping[str, Any]) -> Logistic:
    """A fitted logistic regression from its plain form."""
    return Logistic(np.array(state["coefficients"]), np.array(state["intercept"]), state["penalty"])


def _plain(fitted: Logistic) -> dict[str, Any]:
    """A fitted logistic regression in a form for JSON."""
    return {
        "coefficients": fitted.coefficients.tolist(),
        "intercept": fitted.intercept.tolist(),
    }


def fit_baselines(
    train: Examples[Pieces], valid: Examples[Pieces] | None, preparation: Preparation[Fitted]
) -> dict[str, Any]:
    """Class frequencies, and a logistic regression on simple features of each sequence.

    The features are summary statistics, or TF-IDF for texts.
    """
    sequences = sequences_of(train)
    labels, count = labels_of(train, preparation), len(preparation.own.classes)
    validation = None
    if valid is not None:
        validation = (sequences_of(valid), labels_of(valid, preparation))
    frequencies = labels.mean(axis=0) if preparation.own.separator else majority(labels, count)
    state: dict[str, Any] = {"majority": frequencies.tolist()}
    if preparation.kind == "text":
        checks = None if validation is None else (texts_of(validation[0]), validation[1])
        return state | {"tfidf": tfidf.fit(texts_of(sequences), labels, valid=checks)}
    floor = FINEST * fit_scale(sequences, "standard", "column").spread[0]
    state["floor"] = floor.tolist()
    features = summaries(sequences, floor)
    seen = None if validation is None else (summaries(validation[0], floor), validation[1])
    if preparation.own.separator:
        return state | {"logistic": multilabel.fit_regressions(features, labels, seen)}
    fitted = fit_logistic(features, labels, count, valid=seen)
    state |= {"logistic": _plain(fitted), "penalty": fitted.inverse_penalty}
    length = common_length(sequences) if preparation.kind == "numbers" else 0
    if not length:
        return state
    held = None if validation is None else (flat(validation[0], length), validation[1])
    on_steps = fit_logistic(flat(sequences, length), labels, count, valid=held)
    steps = {**_plain(on_steps), "penalty": on_steps.inverse_penalty, "length": length}
    return state | {"steps": steps}


def make_baselines(
    state: Mapping[str, Any], preparation: Preparation[Fitted], train: Examples[Pieces] | None
) -> list[Baseline[Pieces, Array]]:
    """Most frequent class, logistic regression and, if `train` is given, nearest neighbour."""
    frequencies = np.array(state["majority"])

    def most_frequent(examples: Examples[Pieces]) -> Array:
        return np.tile(frequencies, (len(examples), 1))

    known = [
        Baseline("majority", most_frequent),
        Baseline(LOGISTIC[preparation.kind], lambda examples: regression(state, examples)),
    ]
    if "steps" in state:
        known.append(
            Baseline(LOGISTIC_STEPS, lambda examples: regression_on_steps(state, examples))
        )
    if train is None or preparation.kind != "numbers":
        return known
    sequences, labels = sequences_of(train), labels_of(train, preparation)
    spread = fit_scale(sequences, "standard", "column").spread[0]

    def neighbour(examples: Examples[Pieces]) -> Array:
        indices = np.arange(len(sequences))
        train_labels = indices if preparation.own.separator else labels
        nearest, method = nearest_neighbour(
            sequences, train_labels, sequences_of(examples), spread=spread
        )
        log.info("Nearest neighbour: %s", method)
        if preparation.own.separator:
            return labels[nearest].astype(np.float64)
        return np.eye(len(preparation.own.classes))[nearest]

    return [*known, Baseline("nearest neighbour", neighbour, slow=True)]
