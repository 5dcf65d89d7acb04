"""Every metric: its function, and one entry in `METRICS` that says what it is.

Most functions are (truth, answer) -> number. Forecasts are arrays [windows, horizon, targets],
quantile forecasts have one axis more, [..., Q]. Labels are class positions [n], or, where a
sequence may have several, [n, classes] bool; probabilities are [n, classes].
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as judge

from gatewise.extras import require

Array = NDArray[Any]
SCALED = "scaled "  # stands before the name of an error that is divided by the spread of its series


@dataclass(frozen=True)
class Metric:
    """What is known of a metric. The report, the verdict and docs/tasks.md read it here."""

    name: str
    function: Callable[..., Any]
    better: Literal["higher", "lower", "neither"]
    meaning: str  # one line, for the report
    source: str  # its definition, and where that comes from
    full: float = 1.0  # the best value, where higher is better: 100 for one counted in points

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is, 0 where neither is."""
        return {"higher": 1, "lower": -1, "neither": 0}[self.better]


def find(name: str) -> Metric | None:
    """The entry of a metric, under its own name or that of its scaled form; None: not known.

    >>> find("scaled mae").better, find("elegance")
    ('lower', None)
    """
    return METRICS.get(name.removeprefix(SCALED))


def sign_of(name: str) -> int:
    """The sign of a metric; 0 also for one that is not known."""
    found = find(name)
    return found.sign if found else 0


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


def quantile_loss(truth: Array, quantile_forecasts: Array, quantiles: Sequence[float]) -> Array:
    """Twice the pinball loss of every element, averaged over the quantiles, [...]."""
    losses = pinball(truth, quantile_forecasts, quantiles)
    mean: Array = 2 * losses.mean(axis=-1)
    return mean


def coverage(truth: Array, low: Array, high: Array) -> float:
    """Share of the truth that lies within [low, high], both ends included (FPP3, 5.5)."""
    return float(((_same_shape(truth, low) >= low) & (_same_shape(truth, high) <= high)).mean())


def accuracy(truth: Array, answer: Array) -> float:
    """Share of the labels that are right; of several labels, of each yes and no by itself.

    >>> accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]))
    0.75
    """
    return float((_same_shape(truth, answer) == answer).mean())


def exact(truth: Array, answer: Array) -> float:
    """Share of the answers that are right as a whole: every label, or the whole text.

    >>> exact(np.array([[True, False], [True, True]]), np.array([[True, False], [False, True]]))
    0.5
    """
    same = _same_shape(truth, answer) == answer
    return float(same.reshape(len(same), -1).all(axis=1).mean())


def f1(hits: Array, answered: Array, occurring: Array) -> Array:
    """2 hits / (answered + occurring), the harmonic mean of precision and recall; 0 for 0 / 0.

    van Rijsbergen, "Information Retrieval", 1979.

    >>> float(f1(np.array(1), np.array(2), np.array(2)))
    0.5
    """
    both = answered + occurring
    value: Array = 2 * hits / np.where(both == 0, 1, both)
    return value


def f1_micro(truth: Array, answer: Array) -> float:
    """F1 of all labels together, [n, classes] bool each."""
    return float(f1((truth & answer).sum(), answer.sum(), truth.sum()))


def f1_macro(truth: Array, answer: Array) -> float:
    """F1 of each class, averaged; of class positions or of several labels.

    As scikit-learn: over the classes that occur in truth or answer; one never answered rightly
    counts 0.
    """
    return float(judge.f1_score(truth, answer, average="macro", zero_division=0.0))


def span_f1(counts: Array) -> float:
    """F1 of all spans together, from those found, answered and there: [sentences, 3]."""
    return float(f1(*counts.sum(axis=0)))


def whole_sentences(right: Sequence[Sequence[bool]]) -> float:
    """Share of the sentences whose every token is right."""
    return float(np.mean([all(one) for one in right]))


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


def counts_by_class(confusion: Array) -> tuple[Array, Array, Array]:
    """Hits, answers and occurrences of each class in a confusion matrix."""
    return np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)


def by_class(
    names: Sequence[str], hits: Array, answered: Array, occurring: Array
) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support of each class; 0 for 0 / 0.

    >>> by_class(["a"], np.array([1]), np.array([2]), np.array([4]))["a"]
    {'precision': 0.5, 'recall': 0.25, 'f1': 0.3333333333333333, 'support': 4}
    """
    precision, recall = (hits / np.maximum(count, 1) for count in (answered, occurring))
    scores = zip(names, precision, recall, f1(hits, answered, occurring), occurring, strict=True)
    return {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for name, p, r, f, n in scores
    }


def perplexity(nats: Array) -> float:
    """E to the mean surprise at each token, in nats."""
    return float(np.exp(nats.mean()))


def nats_per_token(nats: Array) -> float:
    """The mean surprise at each token."""
    return float(nats.mean())


def bits_per_character(nats: Array, characters: int) -> float:
    """All the surprise in bits, divided by the characters of the text."""
    return float(nats.sum() / math.log(2) / characters)


def sacrebleu() -> Any:
    """The metrics of sacrebleu."""
    return require("sacrebleu.metrics", "translation", "Scoring translations")


def bleu(truth: Sequence[str], answer: Sequence[str]) -> float:
    """Corpus BLEU from 0 to 100, as sacrebleu defines it (Papineni et al. 2002, Post 2018)."""
    return float(sacrebleu().BLEU().corpus_score(answer, [truth]).score)


def chrf(truth: Sequence[str], answer: Sequence[str]) -> float:
    """Corpus chrF2 from 0 to 100, as sacrebleu defines it (Popović 2015)."""
    return float(sacrebleu().CHRF().corpus_score(answer, [truth]).score)


def wer(truth: Array, answer: Array) -> float:
    """Word error rate of all texts together."""
    wrong, count = word_errors(truth, answer).sum(axis=0)
    return float(wrong / count)


def cer(truth: Array, answer: Array) -> float:
    """Character error rate of all texts together."""
    wrong, count = character_errors(truth, answer).sum(axis=0)
    return float(wrong / count)


def word_errors(truth: Array, answer: Array) -> Array:
    """Wrong, missing and added words of each text, and the words of its truth: [texts, 2] int."""
    return _errors(aligned(truth, answer, "process_words"))


def character_errors(truth: Array, answer: Array) -> Array:
    """As `word_errors`, of characters, spaces among them."""
    return _errors(aligned(truth, answer, "process_characters"))


def aligned(truth: Array, answer: Array, how: str) -> Any:
    """The alignment of jiwer with the fewest edits (Levenshtein), and where they are."""
    package = require("jiwer", "sound", "Judging transcripts")
    return getattr(package, how)([str(one) for one in truth], [str(one) for one in answer])


def _errors(found: Any) -> Array:
    rows = [
        (sum(map(_edits, chunks)), len(reference))
        for chunks, reference in zip(found.alignments, found.references, strict=True)
    ]
    return np.array(rows, dtype=np.int64).reshape(len(rows), 2)


def _edits(chunk: Any) -> int:
    """Words or characters that are wrong, missing or too many in a stretch of an alignment."""
    if chunk.type == "equal":
        return 0
    said, written = chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx
    return int(max(said, written))


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


# A new metric is one entry here, beside its function above.
METRICS = {
    one.name: one
    for one in (
        Metric(
            "mae",
            mae,
            "lower",
            "mean absolute error: how far the forecast is off, on average",
            "mean of |y - f| over all windows, steps and targets; f is the median (Hyndman & "
            "Athanasopoulos, FPP3, 5.8)",
        ),
        Metric(
            "mse",
            mse,
            "lower",
            "mean squared error: large misses weigh most",
            "mean of (y - f)² (FPP3, 5.8)",
        ),
        Metric(
            "rmse",
            rmse,
            "lower",
            "root mean squared error: as mse, in the units of the target",
            "root of mse (FPP3, 5.8)",
        ),
        Metric(
            "mase",
            mase,
            "lower",
            "mae, divided by that of the seasonal naive forecast on the steps before the "
            "first origin",
            "|y - f| divided by the mean error of the seasonal naive forecast on the steps "
            "before the first origin (Hyndman & Koehler 2006)",
        ),
        Metric(
            "smape",
            smape,
            "lower",
            "error as a share of the mean of truth and forecast, on average",
            "mean of 200 |y - f| / (|y| + |f|); 0/0 counts 0 (M4, Makridakis et al. 2020)",
        ),
        Metric(
            "wql",
            wql,
            "lower",
            "weighted quantile loss: how well all the quantiles fit together",
            "2 × quantile loss summed, divided by the sum of |y|, averaged over the quantiles "
            "(GluonTS, Alexandrov et al. 2020)",
        ),
        Metric(
            "quantile loss",
            quantile_loss,
            "lower",
            "how well all the quantiles fit together, in the units of the target",
            "2 × max(q (y - f), (q - 1) (y - f)), averaged over the quantiles q and all cells "
            "(Koenker & Bassett 1978)",
        ),
        Metric(
            "coverage",
            coverage,
            "neither",
            "share of the truth inside the outer band of quantiles; closest to nominal is best",
            "share of the truth between the outermost quantiles, both ends included (FPP3, 5.5)",
        ),
        Metric(
            "accuracy",
            accuracy,
            "higher",
            "share of the answers that are right, each taken by itself",
            "right answers, divided by all; where there are several labels, every single yes or no "
            "is an answer",
        ),
        Metric(
            "accuracy_new",
            accuracy,
            "higher",
            "accuracy on words that training never held in this spelling",
            "accuracy of the tokens whose spelling does not occur in training",
        ),
        Metric(
            "exact",
            exact,
            "higher",
            "share of the answers without any mistake: every label, or the whole transcript, "
            "is right",
            "answers that equal the truth, divided by all; scikit-learn's subset accuracy",
        ),
        Metric(
            "f1_micro",
            f1_micro,
            "higher",
            "f1 of all labels together: every label given or missed counts the same",
            "2PR / (P + R) with P and R over all labels together (van Rijsbergen 1979)",
        ),
        Metric(
            "f1_macro",
            f1_macro,
            "higher",
            "f1 of each class, averaged: every class counts the same",
            "mean over classes of 2PR / (P + R) (van Rijsbergen 1979)",
        ),
        Metric(
            "span_f1",
            span_f1,
            "higher",
            "f1 of spans: both ends and the type must be right, as seqeval counts",
            "where tags mark spans (B, I, E, S and a type; O): 2 × spans right / (spans "
            "answered + spans there). A span is right when its first token, last token and "
            "type are; as seqeval reads them by default (CoNLL-2000)",
        ),
        Metric(
            "sentences",
            whole_sentences,
            "higher",
            "share of the sentences without any mistake",
            "sentences whose every tag is right, divided by all",
        ),
        Metric(
            "roc_auc",
            roc_auc,
            "higher",
            "chance that a random member of a class scores above a random other",
            "area under the ROC curve; with more than two classes, or with several labels, "
            "the mean of each against the rest (Fawcett 2006)",
        ),
        Metric(
            "log_loss",
            log_loss,
            "lower",
            "surprise at the true label; certain mistakes cost most",
            "mean of -ln p(true label); where there are several labels, of every single yes "
            "or no (scikit-learn)",
        ),
        Metric(
            "ece",
            expected_calibration_error,
            "neither",
            "expected calibration error: how far confidence is from accuracy, best 0; none is "
            "bold, because an answer that always gives the shares of the classes has next to "
            "none of it",
            "distance of confidence from accuracy over 15 bins of equal width, weighted by "
            "their counts (Guo et al. 2017)",
        ),
        Metric(
            "bleu",
            bleu,
            "higher",
            "runs of one to four words that the reference holds as well, 0 to 100",
            "BLEU of the whole part, by sacrebleu, whose signature is printed and stands in "
            "the report (Papineni et al. 2002, Post 2018)",
            full=100.0,
        ),
        Metric(
            "chrf",
            chrf,
            "higher",
            "runs of one to six letters shared with the reference, 0 to 100",
            "chrF2 of the whole part, by sacrebleu (Popović 2015)",
            full=100.0,
        ),
        Metric(
            "wer",
            wer,
            "lower",
            "words that are wrong, missing or too many, by the words that were said",
            "edits (Levenshtein) summed over recordings, divided by the words that were said, "
            "by jiwer",
        ),
        Metric(
            "cer",
            cer,
            "lower",
            "characters that are wrong, missing or too many, by those of the truth",
            "edits (Levenshtein) of characters, spaces among them, summed over recordings, "
            "divided by the characters of the truth, by jiwer",
        ),
        Metric(
            "perplexity",
            perplexity,
            "lower",
            "how many equally likely tokens the choice of each token is like",
            "e to the mean of -ln P of all tokens, each after all those before it in its text "
            "(Jelinek et al. 1977)",
        ),
        Metric(
            "nats_per_token",
            nats_per_token,
            "lower",
            "surprise at each token; e to it is the perplexity",
            "mean of -ln P of all tokens; of characters, the cross entropy in nats (Shannon 1948)",
        ),
        Metric(
            "bits_per_character",
            bits_per_character,
            "lower",
            "surprise in bits, divided by the characters of the text",
            "sum of -log2 P of all tokens, divided by the characters of the text, line ends among "
            "them; it compares tokens of any kind, where no word is unknown (Shannon 1948)",
        ),
    )
}
