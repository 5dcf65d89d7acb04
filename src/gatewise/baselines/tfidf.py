"""TF-IDF over single words with a logistic regression, as scikit-learn defines both."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewise import metrics
from gatewise.data.sequences import Array

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

MAX_WORDS = 30_000  # the most frequent ones
WORDS = r"(?u)\b\w\w+\b"  # the default of scikit-learn
CHARACTERS = r"(?u)\w"  # if no text has a word of two letters
SIGNS = r"(?s)."
INVERSE_PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
DIGITS = 5  # digits of a saved weight; more would only make the file longer


def fit(
    texts: Sequence[str], wanted: Array, *, valid: tuple[Sequence[str], Array] | None
) -> dict[str, Any]:
    """Fit words, their weights and the regression, and return them in a form for JSON.

    `wanted` are class positions [n], or the true classes of each sequence with several labels,
    [n, classes]. Log loss on `valid` chooses the penalty; without it, scikit-learn's default.
    """
    vectors, table = fit_words(texts)
    if valid is None or not len(valid[1]):
        return {**words_state(vectors), **_regression(table, wanted, 1.0)}
    held, truth = vectors.transform(valid[0]), valid[1]
    fitted = (_regression(table, wanted, choice) for choice in INVERSE_PENALTIES)
    best = min(fitted, key=lambda state: _nll(truth, _probabilities(state, held)))
    return {**words_state(vectors), **best}


def probabilities(state: Mapping[str, Any], texts: Sequence[str]) -> Array:
    """The probabilities of the fitted regression, [n, classes]."""
    return _probabilities(state, weighted_words(state, texts))


def weighted_words(state: Mapping[str, Any], texts: Sequence[str]) -> Any:
    """The weighted words of the texts, [texts, words] sparse, from the state of `words_state`."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = state["words"]
    if state["pattern"] not in (WORDS, CHARACTERS, SIGNS):  # others can take exponential time
        raise ValueError("the pattern of words is none of gatewise's")
    vectors = TfidfVectorizer(vocabulary=words, token_pattern=state["pattern"], sublinear_tf=True)
    vectors.idf_ = np.array(state["idf"])
    return vectors.transform(texts)


def fit_words(texts: Sequence[str]) -> "tuple[TfidfVectorizer, Any]":
    """The fitted weights of words, and the weighted words of the texts, [texts, words] sparse."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    options: dict[str, Any] = {"max_features": MAX_WORDS, "sublinear_tf": True}
    for least, chosen in ((2, WORDS), (1, WORDS), (1, CHARACTERS), (1, SIGNS)):
        vectors = TfidfVectorizer(min_df=least, token_pattern=chosen, **options)
        try:
            return vectors, vectors.fit_transform(texts)
        except ValueError:  # no word is left, because a few short texts may have none in common
            continue
    raise AssertionError("a text of the training part holds a character")


def words_state(vectors: "TfidfVectorizer") -> dict[str, Any]:
    """The fitted weights of words in a form for JSON."""
    return {
        "words": vectors.get_feature_names_out().tolist(),
        "idf": vectors.idf_.round(DIGITS).tolist(),
        "pattern": vectors.token_pattern,
    }


def _regression(table: Any, wanted: Array, inverse_penalty: float) -> dict[str, Any]:
    several = wanted.ndim == 2
    columns = list(wanted.T.astype(int)) if several else [wanted]
    fitted = [_line(table, column, inverse_penalty) for column in columns]
    if several:
        coefficients = np.stack([weights[:, 1] - weights[:, 0] for weights, _ in fitted], axis=1)
        intercept = np.array([offsets[1] - offsets[0] for _, offsets in fitted])
    else:
        ((coefficients, intercept),) = fitted
    return {
        "several": several,
        "coefficients": coefficients.round(DIGITS).tolist(),
        "intercept": intercept.round(DIGITS).tolist(),
        "penalty": inverse_penalty,
    }


def _line(table: Any, labels: Array, inverse_penalty: float) -> tuple[Array, Array]:
    """Weights [words, classes] and offsets [classes] of the softmax over classes 0, 1, 2 ..."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    count = int(labels.max()) + 1 if labels.max() > 1 else 2
    if len(np.unique(labels)) < 2:  # a label that every text has, or none
        offsets = np.where(np.arange(2) == labels[0], 10.0, -10.0)
        return np.zeros((table.shape[1], 2)), offsets
    regression = LogisticRegression(C=inverse_penalty, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(table, labels)
    weights, offsets = regression.coef_.T, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn keeps one logit for two classes
        weights, offsets = weights * [-0.5, 0.5], offsets * [-0.5, 0.5]
    coefficients = np.zeros((table.shape[1], count))
    intercept = np.full(count, -1000.0)
    coefficients[:, regression.classes_] = weights
    intercept[regression.classes_] = offsets
    return coefficients, intercept


def _probabilities(state: Mapping[str, Any], table: Any) -> Array:
    from scipy.special import expit, softmax

    logits = table @ np.array(state["coefficients"]) + np.array(state["intercept"])
    probabilities: Array = expit(logits) if state["several"] else softmax(logits, axis=1)
    return probabilities


def _nll(truth: Array, predicted: Array) -> float:
    if truth.ndim == 1:
        return metrics.log_loss(truth, predicted)
    right = np.where(truth, predicted, 1 - predicted)
    return float(-np.log(np.maximum(right, 1e-15)).mean())
