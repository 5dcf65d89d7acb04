"""(truth, answer) -> number, each defined as in the literature.

Forecasts are arrays [windows, horizon, targets], quantile forecasts have one axis more, [..., Q].
Labels are class positions [n]; probabilities are [n, classes].
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as judge

Array = NDArray[Any]


def mae(truth: Array, answer: Array) -> float:
    """Mean absolute error (Hyndman & Athanasopoulos, FPP3, 5.8).

    >>> mae(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    1.0
    """
    return float(np.abs(_residuals(truth, answer)).mean())


def mse(truth: Array, answer: Array) -> float:
    """Mean squared error (FPP3, 5.8)."""
    return float(np.square(_residuals(truth, answer)).mean())


def rmse(truth: Array, answer: Array) -> float:
    """Root of the mean squared error over all elements (FPP3, 5.8)."""
    return float(np.sqrt(mse(truth, answer)))


def smape(truth: Array, answer: Array) -> float:
    """Symmetric percentage error: the mean of 200 |y - f| / (|y| + |f|), from 0 to 200.

    Makridakis, Spiliotis & Assimakopoulos, "The M4 Competition", 2020. Where both are zero (0/0)
    the forecast is exact, so the element counts 0.
    """
    residuals = np.abs(_residuals(truth, answer))
    size = np.abs(truth) + np.abs(answer)
    return float(200 * (residuals / np.where(size == 0, 1, size)).mean())


def mase(truth: Array, answer: Array, scale: Array) -> float:
    """Mean absolute scaled error.

    Hyndman & Koehler, "Another look at measures of forecast accuracy", 2006. `scale` is the
    in-sample error of the seasonal naive forecast (see `seasonal_scale`), broadcastable to truth:
    [windows, 1, targets]. Where it is zero (a constant history) or unknown (NaN) the error has no
    scale: those windows and targets are left out, and when none remain the result is NaN.
    """
    residuals = _residuals(truth, answer)
    scale = np.broadcast_to(scale, residuals.shape)
    usable = np.isfinite(scale) & (scale > 0)
    if not usable.any():
        return float("nan")
    return float((np.abs(residuals[usable]) / scale[usable]).mean())


def seasonal_scale(history: Array, season: int) -> float:
    """MASE's denominator: the mean error of the seasonal naive forecast on `history` [steps].

    Hyndman & Koehler 2006, with season 1 for the plain naive forecast. NaN when the history is no
    longer than one season; pairs with an empty cell are left out.

    >>> seasonal_scale(np.array([1.0, 2.0, 2.0, 4.0]), season=2)
    1.5
    """
    if season < 1:
        raise ValueError(f"A season has at least one step. Received: {season}.")
    changes = np.abs(history[season:] - history[:-season])
    changes = changes[np.isfinite(changes)]
    return float(changes.mean()) if changes.size else float("nan")


def pinball(truth: Array, quantile_forecasts: Array, quantiles: Sequence[float]) -> Array:
    """Quantile loss of every element: max(q d, (q - 1) d) with d = y - f, [..., Q].

    Koenker & Bassett, "Regression Quantiles", 1978. `truth` is [...], the forecasts [..., Q].
    """
    levels = np.asarray(quantiles, dtype=float)
    if quantile_forecasts.shape != (*truth.shape, len(levels)):
        raise ValueError(
            f"Quantile forecasts of shape {quantile_forecasts.shape} do not fit a truth of shape "
            f"{truth.shape} and {len(levels)} quantiles."
        )
    residuals = truth[..., None] - quantile_forecasts
    loss: Array = np.maximum(levels * residuals, (levels - 1) * residuals)
    return loss


def wql(truth: Array, quantile_forecasts: Array, quantiles: Sequence[float]) -> float:
    """Weighted quantile loss: 2 sum(pinball) / sum |y|, averaged over the quantiles.

    As `mean_weighted_sum_quantile_loss` in GluonTS (Alexandrov et al., JMLR 2020) and WQL in
    Chronos (Ansari et al. 2024). NaN when the truth is zero everywhere.
    """
    size = np.abs(truth).sum()
    if size == 0:
        return float("nan")
    loss = pinball(truth, quantile_forecasts, quantiles).reshape(-1, len(quantiles))
    return float((2 * loss.sum(axis=0) / size).mean())


def coverage(truth: Array, low: Array, high: Array) -> float:
    """Share of the truth that lies within [low, high], both ends included (FPP3, 5.5)."""
    return float(((_same_shape(truth, low) >= low) & (_same_shape(truth, high) <= high)).mean())


def accuracy(truth: Array, answer: Array) -> float:
    """Share of the labels that are right.

    >>> accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]))
    0.75
    """
    return float((_same_shape(truth, answer) == answer).mean())


def f1_macro(truth: Array, answer: Array) -> float:
    """Mean over classes of 2 precision recall / (precision + recall) (van Rijsbergen 1979).

    As scikit-learn: over the classes that occur in truth or answer; one never answered rightly
    counts 0.
    """
    return float(judge.f1_score(truth, answer, average="macro", zero_division=0.0))


def roc_auc(truth: Array, probabilities: Array) -> float:
    """Area under the ROC curve (Fawcett, "An introduction to ROC analysis", 2006).

    With two classes that of the second; with more the plain mean of each class against the rest,
    over the classes present in truth. NaN when truth holds only one class.
    """
    present = np.unique(truth)
    if len(present) < 2:
        return float("nan")
    if probabilities.shape[1] == 2:
        present = np.array([1])
    areas = [judge.roc_auc_score(truth == k, probabilities[:, k]) for k in present]
    return float(np.mean(areas))


def log_loss(truth: Array, probabilities: Array) -> float:
    """Mean of -ln p(true class); p is kept within [eps, 1 - eps] of float64, as scikit-learn does.

    Not scikit-learn's own: it warns of float32 probabilities that sum to 1 only in float32.
    """
    chosen = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    eps = np.finfo(np.float64).eps
    return float(-np.log(np.clip(chosen, eps, 1 - eps)).mean())


def reliability(
    truth: Array, probabilities: Array, bins: int = 15
) -> list[tuple[float, float, int]]:
    """(mean confidence, accuracy, count) of each filled bin of confidence, from low to high.

    The confidence is the probability of the chosen class. Bins are of equal width, open below and
    closed above: ((m - 1) / bins, m / bins].
    Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    confidence = probabilities.max(axis=1)  # [n]
    right = probabilities.argmax(axis=1) == truth
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        (float(confidence[here].mean()), float(right[here].mean()), int(here.sum()))
        for here in (place == number for number in np.unique(place))
    ]


def expected_calibration_error(truth: Array, probabilities: Array, bins: int = 15) -> float:
    """Mean distance of confidence from accuracy over equal-width bins, weighted by their counts.

    Guo et al., "On Calibration of Modern Neural Networks", 2017; its bins: see `reliability`.
    """
    curve = reliability(truth, probabilities, bins)
    gaps = sum(count * abs(right - confidence) for confidence, right, count in curve)
    return gaps / len(truth) if len(truth) else float("nan")


def confusion(truth: Array, answer: Array, classes: int) -> Array:
    """How often each class was answered for each, [truth, answer] of int."""
    counts: Array = np.bincount(truth * classes + answer, minlength=classes * classes)
    return counts.reshape(classes, classes)


def _residuals(truth: Array, answer: Array) -> Array:
    difference: Array = _same_shape(truth, answer) - answer
    return difference


def _same_shape(truth: Array, answer: Array) -> Array:
    """`truth`: [n, h] against [n, h, 1] would broadcast to a score of something else."""
    if np.shape(truth) != np.shape(answer):
        raise ValueError(
            f"Truth and answer differ in shape: {np.shape(truth)} and {np.shape(answer)}."
        )
    return truth


# Which way a metric is better (-1 lower, 1 higher, 0 neither), and what it is.
METRICS = {
    "mae": (-1, "mean absolute error: how far the forecast is off, on average"),
    "mse": (-1, "mean squared error: large misses weigh most"),
    "rmse": (-1, "root mean squared error: as mse, in the units of the target"),
    "mase": (-1, "mae, divided by that of the seasonal naive forecast on the training part"),
    "smape": (-1, "error as a share of the mean of truth and forecast, on average"),
    "wql": (-1, "weighted quantile loss: how well all the quantiles fit together"),
    "log_loss": (-1, "surprise at the true label; certain mistakes cost most"),
    "ece": (
        0,
        "expected calibration error: how far confidence is from accuracy, best 0; none is bold, "
        "because an answer that always gives the shares of the classes has next to none of it",
    ),
    "accuracy": (1, "share of the answers that are right"),
    "accuracy_new": (1, "accuracy on words that training never held in this spelling"),
    "span_f1": (1, "f1 of spans: both ends and the type must be right, as seqeval counts"),
    "sentences": (1, "share of the sentences without any mistake"),
    "f1_macro": (1, "f1 of each class, averaged: every class counts the same"),
    "roc_auc": (1, "chance that a random member of a class scores above a random other"),
    "bleu": (1, "runs of one to four words that the reference holds as well, 0 to 100"),
    "chrf": (1, "runs of one to six letters shared with the reference, 0 to 100"),
    "perplexity": (-1, "how many equally likely tokens the choice of each token is like"),
    "nats_per_token": (-1, "surprise at each token; e to it is the perplexity"),
    "bits_per_character": (-1, "the same surprise in bits, a character of the text"),
    "wer": (-1, "words that are wrong, missing or too many, by the words that were said"),
    "cer": (-1, "characters that are wrong, missing or too many, by those of the truth"),
    "exact": (1, "share of the recordings without any mistake"),
    "coverage": (
        0,
        "share of the truth inside the outer band of quantiles; closest to nominal is best",
    ),
}
WORDS = {-1: "; lower is better", 1: "; higher is better", 0: ""}


def meaning(metric: str) -> tuple[int, str]:
    """The direction of a metric and its one line; 0 and nothing for one that is not known."""
    bare = metric.removeprefix("val_")
    return METRICS.get("coverage" if bare.startswith("coverage") else bare, (0, ""))
