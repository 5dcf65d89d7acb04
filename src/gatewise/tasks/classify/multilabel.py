"""Answers to sequences that have any number of labels: a chance for each label by itself.

Truths are [sequences, classes] bool, answers [sequences, classes] probabilities; a label is given
where its probability is at least one half.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import log_loss, roc_auc_score

from gatewise import metrics
from gatewise.baselines.logistic import Logistic, fit_logistic, logistic
from gatewise.data.sequences import Array
from gatewise.tasks.task import Measure, mean_measure

HALF = 0.5


def chosen(given: Array) -> Array:
    """Which labels an answer gives."""
    labels: Array = given >= HALF
    return labels


def accuracy(truths: Array, given: Array) -> float:
    """The share of all single yes-or-no answers that are right."""
    return metrics.accuracy(truths, chosen(given))


def score(truths: Array, given: Array) -> dict[str, float]:
    """Accuracy, share of sequences with every label right, F1 micro and macro, ROC AUC, log loss.

    As scikit-learn defines them; a class that is never or always true has no part in the AUC.
    """
    answers = chosen(given)
    mixed = truths.any(axis=0) & ~truths.all(axis=0)
    auc = roc_auc_score(truths[:, mixed], given[:, mixed]) if mixed.any() else float("nan")
    return {
        "accuracy": accuracy(truths, given),
        "exact": metrics.exact(truths, answers),
        "f1_micro": metrics.f1_micro(truths, answers),
        "f1_macro": metrics.f1_macro(truths, answers),
        "roc_auc": float(auc),
        "log_loss": _surprise(truths, given),
    }


def _surprise(truths: Array, given: Array) -> float:
    if bool(((given == 0) | (given == 1)).all()):
        return float("nan")  # a bare label has no probability to judge
    return float(log_loss(truths.ravel(), given.ravel(), labels=[False, True]))


def measures(truths: Array, clusters: Array) -> list[Measure[Array]]:
    """F1 over all labels first, then macro F1, and the share with every label right."""

    def counts(given: Array) -> Array:
        """Hits, answers and occurrences of each class, [sequences, 3 * classes]."""
        answers = chosen(given)
        parts = [truths & answers, answers, truths]
        return np.concatenate([part.astype(np.float64) for part in parts], axis=1)

    def micro(sums: Array) -> Array:
        return metrics.f1(*(part.sum(axis=-1) for part in np.split(sums, 3, axis=-1)))

    def macro(sums: Array) -> Array:
        mean: Array = metrics.f1(*np.split(sums, 3, axis=-1)).mean(axis=-1)
        return mean

    def exact(given: Array) -> Array:
        whole: Array = (chosen(given) == truths).all(axis=1).astype(np.float64)
        return whole

    return [
        Measure("f1_micro", counts, micro, clusters),
        Measure("f1_macro", counts, macro, clusters),
        mean_measure("exact", exact, clusters),
    ]


def fit_regressions(features: Array, truths: Array, valid: tuple[Array, Array] | None) -> Any:
    """A logistic regression on features for each class, as JSON holds them."""
    found: list[dict[str, Any]] = []
    for k in range(truths.shape[1]):
        held = None if valid is None else (valid[0], valid[1][:, k].astype(int))
        labels = truths[:, k].astype(int)
        if len(np.unique(labels)) < 2:
            found.append({"always": bool(labels[0])})
            continue
        fitted = fit_logistic(features, labels, 2, valid=held)
        found.append(
            {
                "coefficients": fitted.coefficients.tolist(),
                "intercept": fitted.intercept.tolist(),
                "penalty": fitted.inverse_penalty,
            }
        )
    return found


def regressions(state: Sequence[Mapping[str, Any]], features: Array) -> Array:
    """What `fit_regressions` gave says, [sequences, classes]."""
    columns = []
    for one in state:
        if "always" in one:
            columns.append(np.full(len(features), float(one["always"])))
            continue
        fitted = Logistic(np.array(one["coefficients"]), np.array(one["intercept"]), one["penalty"])
        columns.append(logistic(fitted, features)[:, 1])
    return np.stack(columns, axis=1)


def by_class(truths: Array, given: Array, classes: Sequence[str]) -> dict[str, Any]:
    """Precision, recall, F1 and support of each class."""
    answers = chosen(given)
    hits, answered, occurring = (part.sum(axis=0) for part in (truths & answers, answers, truths))
    return metrics.by_class(classes, hits, answered, occurring)


def names(labels: Array, classes: Sequence[str], separator: str) -> list[str]:
    """The labels of each sequence in one text, [sequences] of [sequences, classes] bool."""
    between = separator if separator.isspace() else f"{separator} "
    return [between.join(np.array(classes)[row].tolist()) for row in labels]


def table(given: Array, ids: Array, classes: Sequence[str], separator: str) -> pl.DataFrame:
    """One row a sequence: id, its labels, a probability for each class."""
    columns: dict[str, Any] = {
        "id": ids.astype(str),
        "label": names(chosen(given), classes, separator),
    }
    return pl.DataFrame(columns | {f"p({name})": given[:, k] for k, name in enumerate(classes)})
