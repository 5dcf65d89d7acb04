"""Multi-label classification: a probability for each label on its own.

Truths are [sequences, classes] bool, predictions [sequences, classes] probabilities. A label is
predicted if its probability is at least one half.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from gatewise import metrics
from gatewise.baselines.logistic import Logistic, fit_logistic, logistic
from gatewise.data.sequences import Array, Sequences
from gatewise.data.splits import Splits, split_without_copies
from gatewise.errors import DataError
from gatewise.settings import SplitSettings
from gatewise.tasks.classify.examples import label_names
from gatewise.tasks.task import Measure, mean_measure

HALF = 0.5


def chosen(probabilities: Array) -> Array:
    """Whether each label is predicted, [sequences, classes] bool."""
    labels: Array = probabilities >= HALF
    return labels


def accuracy(truths: Array, probabilities: Array) -> float:
    """The share of right binary predictions, over all sequences and labels."""
    return metrics.accuracy(truths, chosen(probabilities))


def score(truths: Array, probabilities: Array) -> dict[str, float]:
    """Accuracy, share of sequences with every label right, F1 micro and macro, ROC AUC, log loss.

    The definitions are scikit-learn's. The AUC leaves out classes that are never or always true.
    """
    from sklearn.metrics import roc_auc_score

    labels = chosen(probabilities)
    mixed = truths.any(axis=0) & ~truths.all(axis=0)
    auc = roc_auc_score(truths[:, mixed], probabilities[:, mixed]) if mixed.any() else float("nan")
    return {
        "accuracy": accuracy(truths, probabilities),
        "exact": metrics.exact(truths, labels),
        "f1_micro": metrics.f1_micro(truths, labels),
        "f1_macro": metrics.f1_macro(truths, labels),
        "roc_auc": float(auc),
        "log_loss": _nll(truths, probabilities),
    }


def _nll(truths: Array, probabilities: Array) -> float:
    from sklearn.metrics import log_loss

    if bool(((probabilities == 0) | (probabilities == 1)).all()):
        return float("nan")  # the predictions are labels without probabilities
    return float(log_loss(truths.ravel(), probabilities.ravel(), labels=[False, True]))


def measures(truths: Array, clusters: Array) -> list[Measure[Array]]:
    """F1 over all labels first, then macro F1, and the share with every label right."""

    def counts(probabilities: Array) -> Array:
        """Correct, predicted and true labels of each class, [sequences, 3 * classes]."""
        labels = chosen(probabilities)
        parts = [truths & labels, labels, truths]
        return np.concatenate([part.astype(np.float64) for part in parts], axis=1)

    def micro(sums: Array) -> Array:
        return metrics.f1(*(part.sum(axis=-1) for part in np.split(sums, 3, axis=-1)))

    def macro(sums: Array) -> Array:
        mean: Array = metrics.f1(*np.split(sums, 3, axis=-1)).mean(axis=-1)
        return mean

    def exact(probabilities: Array) -> Array:
        whole: Array = (chosen(probabilities) == truths).all(axis=1).astype(np.float64)
        return whole

    return [
        Measure("f1_micro", counts, micro, clusters),
        Measure("f1_macro", counts, macro, clusters),
        mean_measure("exact", exact, clusters),
    ]


def fit_regressions(features: Array, truths: Array, valid: tuple[Array, Array] | None) -> Any:
    """Fit one logistic regression for each class; the result can be written as JSON."""
    states: list[dict[str, Any]] = []
    for k in range(truths.shape[1]):
        held = None if valid is None else (valid[0], valid[1][:, k].astype(int))
        labels = truths[:, k].astype(int)
        if len(np.unique(labels)) < 2:
            states.append({"always": bool(labels[0])})
            continue
        fitted = fit_logistic(features, labels, 2, valid=held)
        states.append(
            {
                "coefficients": fitted.coefficients.tolist(),
                "intercept": fitted.intercept.tolist(),
                "penalty": fitted.inverse_penalty,
            }
        )
    return states


def regressions(state: Sequence[Mapping[str, Any]], features: Array) -> Array:
    """The probabilities of the regressions of `fit_regressions`, [sequences, classes]."""
    columns = []
    for one in state:
        if "always" in one:
            columns.append(np.full(len(features), float(one["always"])))
            continue
        fitted = Logistic(np.array(one["coefficients"]), np.array(one["intercept"]), one["penalty"])
        columns.append(logistic(fitted, features)[:, 1])
    return np.stack(columns, axis=1)


def by_class(truths: Array, probabilities: Array, classes: Sequence[str]) -> dict[str, Any]:
    """Precision, recall, F1 and support of each class."""
    labels = chosen(probabilities)
    correct, predicted, support = (part.sum(axis=0) for part in (truths & labels, labels, truths))
    return metrics.by_class(classes, correct, predicted, support)


def names(labels: Array, classes: Sequence[str], separator: str) -> list[str]:
    """Join the labels [sequences, classes] bool of each sequence into one text, [sequences]."""
    between = separator if separator.isspace() else f"{separator} "
    return [between.join(np.array(classes)[row].tolist()) for row in labels]


def table(probabilities: Array, ids: Array, classes: Sequence[str], separator: str) -> pl.DataFrame:
    """One row per sequence: id, labels, a probability for each class."""
    columns: dict[str, Any] = {
        "id": ids.astype(str),
        "label": names(chosen(probabilities), classes, separator),
    }
    return pl.DataFrame(
        columns | {f"p({name})": probabilities[:, k] for k, name in enumerate(classes)}
    )


def split(sequences: Sequences, settings: SplitSettings, separator: str, *, test: bool) -> Splits:
    """Split at random, but train on the sequences whose labels no other training sequence has.

    Raises:
        DataError: there are such sequences, and split.rare_labels does not say what to do.
    """
    assert sequences.labels is not None
    numbered = replace(sequences, ids=np.arange(len(sequences)).astype(str))
    splits = split_without_copies(numbered, settings, test=test)
    places = [
        part.ids.astype(int) if part else np.empty(0, int)
        for part in (splits.train, splits.validation, splits.test)
    ]
    names = [set(label_names(str(label), separator)) for label in sequences.labels.tolist()]
    trained = {name for place in places[0].tolist() for name in names[place]}
    unseen = np.array([not one <= trained for one in names])
    if not unseen[np.concatenate(places)].any():
        return _parts(sequences, places)
    if settings.rare_labels == "error":
        first = int(np.flatnonzero(unseen)[0])
        rare = sorted(names[first] - trained)[0]
        raise DataError(
            f"{sequences.source}: the label {rare!r} is so rare that no training sequence has it "
            f"(the first that has it is {str(sequences.ids[first])!r}). Give more of them, or set "
            "split.rare_labels = drop (leave them out) or train (train on them, but do not "
            "evaluate them)."
        )
    moved = np.concatenate(places)[unseen[np.concatenate(places)]]
    places = [part[~unseen[part]] for part in places]
    if settings.rare_labels == "train":
        places[0] = np.sort(np.concatenate([places[0], moved]))
    return _parts(sequences, places)


def _parts(sequences: Sequences, places: Sequence[Array]) -> Splits:
    train, *held = places
    validation, test = (sequences.chosen(part) if len(part) else None for part in held)
    return Splits(sequences.chosen(train), validation, test)
