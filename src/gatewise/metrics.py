"""All metrics: a function, and one entry in `METRICS` with its description.

Most functions are (truth, predictions) -> number. Forecasts are arrays [windows, horizon, targets];
quantile forecasts have one more axis, [..., Q]. Labels are class positions [n], or [n, classes]
bool where a sequence may have several labels. Probabilities are [n, classes].
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gatewise.extras import require

Array = NDArray[Any]
SCALED = "scaled "  # prefix of the name of an error that is divided by the spread of its series


@dataclass(frozen=True)
class Metric:
    """The description of a metric, which the report, the verdict and docs/tasks.md read."""

    name: str
    function: Callable[..., Any]
    better: Literal["higher", "lower", "neither"]
    meaning: str  # one line, for the report
    source: str  # the definition, and its reference
    full: float = 1.0  # the best value where higher is better: 100 for a metric in points

    @property
    def sign(self) -> int:
        """1 if higher is better, -1 if lower is better, 0 if neither is."""
        return {"higher": 1, "lower": -1, "neither": 0}[self.better]


def find(name: str) -> Metric | None:
    """The entry of a metric, by its own name or by that of its scaled form; None if unknown.

    >>> find("scaled mae").better, find("elegance")
    ('lower', None)
    """
    return METRICS.get(name.removeprefix(SCALED))


def sign_of(name: str) -> int:
    """The sign of a metric; 0 for an unknown one."""
    metric = find(name)
    return metric.sign if metric else 0


def mae(truth: Array, predictions: Array) -> float:
    """Mean absolute error (Hyndman & Athanasopoulos, FPP3, 5.8).

    >>> mae(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    1.0
    """
    return float(np.abs(_residuals(truth, predictions)).mean())


def mse(truth: Array, predictions: Array) -> float:
    """Mean squared error (FPP3, 5.8)."""
    return float(np.square(_residuals(truth, predictions)).mean())


def rmse(truth: Array, predictions: Array) -> float:
    """Root of the mean squared error over all elements (FPP3, 5.8)."""
    return float(np.sqrt(mse(truth, predictions)))


def r2(truth: Array, predictions: Array) -> float:
    """Coefficient of determination, [n, targets]: the mean over targets, as in scikit-learn.

    NaN where a target never changes, because nothing is there to explain.
    """
    residuals = _residuals(truth, predictions)
    total = np.square(truth - truth.mean(axis=0)).sum(axis=0)
    if not total.all():
        return float("nan")
    return float((1 - np.square(residuals).sum(axis=0) / total).mean())


def mape(truth: Array, predictions: Array) -> float:
    """Mean absolute percentage error (FPP3, 5.8): the mean of 100 |y - f| / |y|."""
    return float(100 * (np.abs(_residuals(truth, predictions)) / np.abs(truth)).mean())


def smape(truth: Array, predictions: Array) -> float:
    """Symmetric percentage error: the mean of 200 |y - f| / (|y| + |f|), from 0 to 200.

    Makridakis, Spiliotis & Assimakopoulos, "The M4 Competition", 2020. Where both are zero (0/0)
    the forecast is exact, so the element counts 0.
    """
    residuals = np.abs(_residuals(truth, predictions))
    size = np.abs(truth) + np.abs(predictions)
    return float(200 * (residuals / np.where(size == 0, 1, size)).mean())


def mase(truth: Array, predictions: Array, scale: Array) -> float:
    """Mean absolute scaled error.

    Hyndman & Koehler, "Another look at measures of forecast accuracy", 2006. `scale` is the
    in-sample error of the seasonal naive forecast (see `seasonal_scale`), broadcastable to truth:
    [windows, 1, targets]. Where it is zero (a constant history) or unknown (NaN), the error has no
    scale. Those windows and targets are left out; if none remain, the result is NaN.
    """
    return _scaled_mean(np.abs(_residuals(truth, predictions)), scale)


def _scaled_mean(losses: Array, scale: Array) -> float:
    """The mean of the losses, each divided by its scale, where there is one."""
    scale = np.broadcast_to(scale, losses.shape)
    usable = np.isfinite(scale) & (scale > 0)
    return float((losses[usable] / scale[usable]).mean()) if usable.any() else float("nan")


def seasonal_scale(history: Array, season: int) -> float:
    """The denominator of MASE: the mean error of the seasonal naive forecast on `history` [steps].

    Hyndman & Koehler 2006; season 1 is the plain naive forecast. NaN if the history is no longer
    than one season. Pairs with an empty cell are left out.

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
            f"Quantile forecasts of shape {quantile_forecasts.shape} do not match a truth of shape "
            f"{truth.shape} and {len(levels)} quantiles."
        )
    residuals = truth[..., None] - quantile_forecasts
    loss: Array = np.maximum(levels * residuals, (levels - 1) * residuals)
    return loss


def wql(truth: Array, quantile_forecasts: Array, quantiles: Sequence[float]) -> float:
    """Weighted quantile loss: 2 sum(pinball) / sum |y|, averaged over the quantiles.

    As `mean_weighted_sum_quantile_loss` in GluonTS (Alexandrov et al., JMLR 2020) and WQL in
    Chronos (Ansari et al. 2024). NaN if the truth is zero everywhere.
    """
    size = np.abs(truth).sum()
    if size == 0:
        return float("nan")
    loss = pinball(truth, quantile_forecasts, quantiles).reshape(-1, len(quantiles))
    return float((2 * loss.sum(axis=0) / size).mean())


def sql(truth: Array, quantile_forecasts: Array, quantiles: Sequence[float], scale: Array) -> float:
    """Scaled quantile loss: `quantile_loss` with the scale of `mase`, which it is at the median.

    Shchur et al., "fev-bench", 2025 (arXiv:2509.26468).
    """
    return _scaled_mean(quantile_loss(truth, quantile_forecasts, quantiles), scale)


def quantile_loss(truth: Array, quantile_forecasts: Array, quantiles: Sequence[float]) -> Array:
    """Twice the pinball loss of every element, averaged over the quantiles, [...]."""
    losses = pinball(truth, quantile_forecasts, quantiles)
    mean: Array = 2 * losses.mean(axis=-1)
    return mean


def coverage(truth: Array, low: Array, high: Array) -> float:
    """Share of the truth that lies within [low, high], both ends included (FPP3, 5.5)."""
    return float(((_same_shape(truth, low) >= low) & (_same_shape(truth, high) <= high)).mean())


def accuracy(truth: Array, predictions: Array) -> float:
    """Share of correct labels; with several labels, each yes or no counts by itself.

    >>> accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]))
    0.75
    """
    return float((_same_shape(truth, predictions) == predictions).mean())


def exact(truth: Array, predictions: Array) -> float:
    """Share of predictions that are entirely right: every label, or the whole text.

    >>> exact(np.array([[True, False], [True, True]]), np.array([[True, False], [False, True]]))
    0.5
    """
    same = _same_shape(truth, predictions) == predictions
    return float(same.reshape(len(same), -1).all(axis=1).mean())


def f1(hits: Array, predicted: Array, support: Array) -> Array:
    """2 hits / (predicted + support), the harmonic mean of precision and recall; 0 / 0 is 0.

    van Rijsbergen, "Information Retrieval", 1979.

    >>> float(f1(np.array(1), np.array(2), np.array(2)))
    0.5
    """
    both = predicted + support
    value: Array = 2 * hits / np.where(both == 0, 1, both)
    return value


def f1_micro(truth: Array, predictions: Array) -> float:
    """F1 of all labels together, [n, classes] bool each."""
    return float(f1((truth & predictions).sum(), predictions.sum(), truth.sum()))


def f1_macro(truth: Array, predictions: Array) -> float:
    """The mean F1 over classes, of class positions or of several labels.

    As in scikit-learn, the mean is over the classes that occur in truth or predictions; of several
    labels, over all. A class that is never predicted rightly counts 0.
    """
    from sklearn import metrics as sk_metrics

    return float(sk_metrics.f1_score(truth, predictions, average="macro", zero_division=0.0))


def span_f1(counts: Array) -> float:
    """F1 of all spans together, from counts of hits, predicted and true spans: [sentences, 3]."""
    return float(f1(*counts.sum(axis=0)))


def whole_sentences(right: Sequence[Sequence[bool]]) -> float:
    """Share of sentences with every token right."""
    return float(np.mean([all(sentence) for sentence in right]))


def roc_auc(truth: Array, probabilities: Array) -> float:
    """Area under the ROC curve (Fawcett, "An introduction to ROC analysis", 2006).

    With two classes, the area of the second class. With more, the unweighted mean of each class
    against the rest, over the classes present in truth. NaN if truth holds only one class.
    """
    from sklearn import metrics as sk_metrics

    present = np.unique(truth)
    if len(present) < 2:
        return float("nan")
    if probabilities.shape[1] == 2:
        present = np.array([1])
    areas = [sk_metrics.roc_auc_score(truth == k, probabilities[:, k]) for k in present]
    return float(np.mean(areas))


def average_precision(truth: Array, scores: Array) -> float:
    """Area under the steps of precision over recall, as in scikit-learn; NaN for one class.

    Sum over thresholds of precision times the gain in recall (Davis & Goadrich 2006 say why not to
    interpolate). `truth` [n] is true for what should score high.
    """
    from sklearn import metrics as sk_metrics

    if truth.all() or not truth.any():
        return float("nan")
    return float(sk_metrics.average_precision_score(truth, scores))


def alarm_precision(truth: Array, alarms: Array) -> float:
    """Share of the alarms that are right, [n] bool each; NaN without alarms."""
    return share(truth[alarms])


def alarm_recall(truth: Array, alarms: Array) -> float:
    """Share of what is true that has an alarm, [n] bool each; NaN if nothing is true."""
    return share(alarms[truth])


def share(flags: Sequence[bool] | Array) -> float:
    """The share of flags that are true; NaN without any."""
    return float(np.mean(flags)) if len(flags) else float("nan")


def per_thousand(alarms: Array) -> float:
    """Alarms in a thousand of these steps; NaN without steps."""
    return 1000 * share(alarms)


def log_loss(truth: Array, probabilities: Array) -> float:
    """Mean of -ln p(true class); p is kept within [eps, 1 - eps] of float64, as scikit-learn does.

    scikit-learn's own function warns of float32 probabilities that sum to 1 only in float32.
    """
    chosen = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    eps = np.finfo(np.float64).eps
    return float(-np.log(np.clip(chosen, eps, 1 - eps)).mean())


def reliability(
    truth: Array, probabilities: Array, bins: int = 15
) -> list[tuple[float, float, int]]:
    """(mean confidence, accuracy, count) of each non-empty bin of confidence, from low to high.

    The confidence is the probability of the predicted class. Bins have equal width, open below and
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
    """Mean gap between confidence and accuracy over bins of equal width, weighted by their counts.

    Guo et al., "On Calibration of Modern Neural Networks", 2017; for the bins see `reliability`.
    """
    curve = reliability(truth, probabilities, bins)
    gaps = sum(count * abs(right - confidence) for confidence, right, count in curve)
    return gaps / len(truth) if len(truth) else float("nan")


def confusion(truth: Array, predictions: Array, classes: int) -> Array:
    """How often each class is predicted for each true class, [truth, prediction] int."""
    counts: Array = np.bincount(truth * classes + predictions, minlength=classes * classes)
    return counts.reshape(classes, classes)


def counts_by_class(confusion: Array) -> tuple[Array, Array, Array]:
    """Hits, predictions and support of each class in a confusion matrix."""
    return np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)


def by_class(
    names: Sequence[str], hits: Array, predicted: Array, support: Array
) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support of each class; 0 / 0 is 0.

    >>> by_class(["a"], np.array([1]), np.array([2]), np.array([4]))["a"]
    {'precision': 0.5, 'recall': 0.25, 'f1': 0.3333333333333333, 'support': 4}
    """
    precision, recall = (hits / np.maximum(count, 1) for count in (predicted, support))
    scores = zip(names, precision, recall, f1(hits, predicted, support), support, strict=True)
    return {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for name, p, r, f, n in scores
    }


def perplexity(nll: Array) -> float:
    """The exponential of the mean negative log-likelihood of a token, from nats."""
    return float(np.exp(nll.mean()))


def nats_per_token(nll: Array) -> float:
    """The mean negative log-likelihood of a token, in nats."""
    return float(nll.mean())


def bits_per_character(nll: Array, characters: int) -> float:
    """The total negative log-likelihood in bits, divided by the characters of the text."""
    return float(nll.sum() / math.log(2) / characters)


def sacrebleu() -> Any:
    """The metrics module of sacrebleu."""
    return require("sacrebleu.metrics", "translation", "Scoring translations")


def bleu(truth: Sequence[str], predictions: Sequence[str]) -> float:
    """Corpus BLEU from 0 to 100, as sacrebleu defines it (Papineni et al. 2002, Post 2018)."""
    return float(sacrebleu().BLEU().corpus_score(predictions, [truth]).score)


def chrf(truth: Sequence[str], predictions: Sequence[str]) -> float:
    """Corpus chrF2 from 0 to 100, as sacrebleu defines it (Popović 2015)."""
    return float(sacrebleu().CHRF().corpus_score(predictions, [truth]).score)


def wer(truth: Array, predictions: Array) -> float:
    """Word error rate of all texts together."""
    wrong, count = word_errors(truth, predictions).sum(axis=0)
    return float(wrong / count)


def cer(truth: Array, predictions: Array) -> float:
    """Character error rate of all texts together."""
    wrong, count = character_errors(truth, predictions).sum(axis=0)
    return float(wrong / count)


def word_errors(truth: Array, predictions: Array) -> Array:
    """Word edits (wrong, missing or added) and true words of each text, [texts, 2] int."""
    return _errors(aligned(truth, predictions, "process_words"))


def character_errors(truth: Array, predictions: Array) -> Array:
    """Like `word_errors`, for characters, including spaces."""
    return _errors(aligned(truth, predictions, "process_characters"))


def aligned(truth: Array, predictions: Array, how: str) -> Any:
    """The alignment by jiwer with the fewest edits (Levenshtein)."""
    package = require("jiwer", "sound", "Scoring transcripts")
    return getattr(package, how)([str(text) for text in truth], [str(text) for text in predictions])


def _errors(alignment: Any) -> Array:
    rows = [
        (sum(map(_edits, chunks)), len(reference))
        for chunks, reference in zip(alignment.alignments, alignment.references, strict=True)
    ]
    return np.array(rows, dtype=np.int64).reshape(len(rows), 2)


def _edits(chunk: Any) -> int:
    """Wrong, missing or added words (or characters) in a chunk of an alignment."""
    if chunk.type == "equal":
        return 0
    reference = chunk.ref_end_idx - chunk.ref_start_idx
    hypothesis = chunk.hyp_end_idx - chunk.hyp_start_idx
    return int(max(reference, hypothesis))


def _residuals(truth: Array, predictions: Array) -> Array:
    difference: Array = _same_shape(truth, predictions) - predictions
    return difference


def _same_shape(truth: Array, predictions: Array) -> Array:
    """Return `truth` if the shapes agree; [n, h] and [n, h, 1] would broadcast to a wrong score."""
    if np.shape(truth) != np.shape(predictions):
        raise ValueError(
            f"Truth and predictions differ in shape: {np.shape(truth)} and {np.shape(predictions)}."
        )
    return truth


# To add a metric, write a function above and one entry here.
METRICS = {
    one.name: one
    for one in (
        Metric(
            "mae",
            mae,
            "lower",
            "mean absolute error: how far the prediction is off, on average",
            "mean of |y - f| over all predictions; f is the median (Hyndman & Athanasopoulos, "
            "FPP3, 5.8)",
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
            "root mean squared error: like mse, but in the units of the target",
            "root of mse (FPP3, 5.8)",
        ),
        Metric(
            "r2",
            r2,
            "higher",
            "share of the variance that is explained: 1 is exact, 0 is no better than the mean",
            "1 - sum of (y - f)² / sum of (y - mean of y)²; the mean over several targets "
            "(scikit-learn)",
        ),
        Metric(
            "mape",
            mape,
            "lower",
            "error in percent of the truth, on average; left out if a target is near zero",
            "mean of 100 |y - f| / |y| (FPP3, 5.8); left out if an |y| is below a hundredth of "
            "the mean |y|, or if signs differ",
        ),
        Metric(
            "mase",
            mase,
            "lower",
            "mae, divided by the mae of the seasonal naive forecast on the steps before the first "
            "origin",
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
            "weighted quantile loss: the error of all quantiles together",
            "2 × quantile loss summed, divided by the sum of |y|, averaged over the quantiles "
            "(GluonTS, Alexandrov et al. 2020)",
        ),
        Metric(
            "sql",
            sql,
            "lower",
            "scaled quantile loss: the error of all quantiles together, in that of the seasonal "
            "naive forecast on the steps before the first origin",
            "quantile loss, divided like mase (fev-bench, Shchur et al. 2025)",
        ),
        Metric(
            "quantile loss",
            quantile_loss,
            "lower",
            "the error of all quantiles together, in the units of the target",
            "2 × max(q (y - f), (q - 1) (y - f)), averaged over the quantiles q and all cells "
            "(Koenker & Bassett 1978)",
        ),
        Metric(
            "coverage",
            coverage,
            "neither",
            "share of the truth between the outermost quantiles; closest to nominal is best",
            "share of the truth between the outermost quantiles, both ends included (FPP3, 5.5)",
        ),
        Metric(
            "accuracy",
            accuracy,
            "higher",
            "share of the predictions that are right, each taken by itself",
            "right predictions, divided by all; where there are several labels, every single yes "
            "or no is a prediction",
        ),
        Metric(
            "accuracy_new",
            accuracy,
            "higher",
            "accuracy on words whose spelling does not occur in training",
            "accuracy of the tokens whose spelling does not occur in training",
        ),
        Metric(
            "exact",
            exact,
            "higher",
            "share of the predictions without any mistake: every label, or the whole transcript, "
            "is right",
            "predictions that equal the truth, divided by all; scikit-learn's subset accuracy",
        ),
        Metric(
            "f1_micro",
            f1_micro,
            "higher",
            "f1 of all labels together: every label, predicted or missed, counts the same",
            "2PR / (P + R) with P and R over all labels together (van Rijsbergen 1979)",
        ),
        Metric(
            "f1_macro",
            f1_macro,
            "higher",
            "mean f1 over classes: every class counts the same",
            "mean over classes of 2PR / (P + R) (van Rijsbergen 1979)",
        ),
        Metric(
            "span_f1",
            span_f1,
            "higher",
            "f1 of spans: both ends and the type must be right, as seqeval counts",
            "where tags mark spans (B, I, E, S and a type; O): 2 × right spans / (predicted spans "
            "+ true spans). A span is right when its first token, last token and type are right; "
            "as seqeval reads spans by default (CoNLL-2000)",
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
            "probability that a random member of a class scores above a random other sequence",
            "area under the ROC curve; with more than two classes, or with several labels, the "
            "mean of each class against the rest (Fawcett 2006)",
        ),
        Metric(
            "average_precision",
            average_precision,
            "higher",
            "precision over all thresholds, weighted by the gain in recall: 1 if each anomaly "
            "scores above each normal step, the share of anomalies for random scores",
            "sum over thresholds of precision × gain in recall, of single steps, without point "
            "adjustment (scikit-learn; Kim et al. 2022)",
        ),
        Metric(
            "alarm_precision",
            alarm_precision,
            "higher",
            "share of the alarms that are at anomalous steps",
            "alarms at anomalous steps / all alarms (van Rijsbergen 1979)",
        ),
        Metric(
            "alarm_recall",
            alarm_recall,
            "higher",
            "share of the anomalous steps that have an alarm of their own",
            "alarms at anomalous steps / anomalous steps (van Rijsbergen 1979)",
        ),
        Metric(
            "alarm_f1",
            f1_micro,
            "higher",
            "harmonic mean of the precision and the recall of alarms",
            "2PR / (P + R) of single steps, without point adjustment (van Rijsbergen 1979)",
        ),
        Metric(
            "events_found",
            share,
            "higher",
            "share of the unbroken runs of anomalous steps with at least one alarm",
            "runs with an alarm / all runs (Tatbul et al. 2018, existence)",
        ),
        Metric(
            "planted_average_precision",
            average_precision,
            "higher",
            "average precision on copies of the test part with planted anomalies, where none is "
            "labelled",
            "as average_precision, on planted anomalies",
        ),
        Metric(
            "planted_found",
            share,
            "higher",
            "share of the planted anomalies with at least one alarm",
            "planted runs with an alarm / all of them",
        ),
        Metric(
            "false_alarms_per_1000",
            per_thousand,
            "lower",
            "alarms in a thousand normal steps; task.false_alarms sets the rate",
            "1000 × alarms at normal steps / normal steps",
        ),
        Metric(
            "alarms_per_1000",
            per_thousand,
            "lower",
            "alarms in a thousand steps of the test part as it is, whose real anomalies nobody has "
            "labelled",
            "1000 × alarms / steps, without the copies that hold planted anomalies",
        ),
        Metric(
            "log_loss",
            log_loss,
            "lower",
            "negative log-likelihood of the true label; confident mistakes cost most",
            "mean of -ln p(true label); where there are several labels, of every single yes "
            "or no (scikit-learn)",
        ),
        Metric(
            "ece",
            expected_calibration_error,
            "neither",
            "expected calibration error: how far confidence is from accuracy, best 0; none is "
            "bold, because a model that always predicts the shares of the classes has almost no "
            "such error",
            "gap between confidence and accuracy over 15 bins of equal width, weighted by their "
            "counts (Guo et al. 2017)",
        ),
        Metric(
            "bleu",
            bleu,
            "higher",
            "runs of one to four words shared with the reference, 0 to 100",
            "BLEU of the whole part, by sacrebleu, whose signature is printed and given in the "
            "report (Papineni et al. 2002, Post 2018)",
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
            "wrong, missing and added words, divided by the words of the truth",
            "edits (Levenshtein) summed over recordings, divided by the words of the truth, by "
            "jiwer",
        ),
        Metric(
            "cer",
            cer,
            "lower",
            "wrong, missing and added characters, divided by the characters of the truth",
            "edits (Levenshtein) of characters, including spaces, summed over recordings, divided "
            "by the characters of the truth, by jiwer",
        ),
        Metric(
            "perplexity",
            perplexity,
            "lower",
            "number of equally likely tokens among which each choice would be as uncertain",
            "e to the mean of -ln P of all tokens, each given all those before it in its text "
            "(Jelinek et al. 1977)",
        ),
        Metric(
            "nats_per_token",
            nats_per_token,
            "lower",
            "negative log-likelihood of each token; its exponential is the perplexity",
            "mean of -ln P of all tokens; of characters, the cross entropy in nats (Shannon 1948)",
        ),
        Metric(
            "bits_per_character",
            bits_per_character,
            "lower",
            "negative log-likelihood in bits, divided by the characters of the text",
            "sum of -log2 P of all tokens, divided by the characters of the text, including line "
            "ends; it compares tokens of any kind, provided that no word is unknown (Shannon 1948)",
        ),
    )
}
