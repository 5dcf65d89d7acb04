"""Scores beside those of the baselines, with intervals, and a verdict.

The comparison is paired: both models are scored on the same units and on the same resamples of
them. Dependent units (overlapping horizons, recordings of one person) are resampled together.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.interrupts import checkpoint
from gatewise.settings import EvaluationSettings, Experiment
from gatewise.tasks.task import (
    NETWORK,
    Baseline,
    Measure,
    Own,
    Predictions,
    Promise,
    Source,
    Task,
    chosen_measure,
)

MIN_CLUSTERS = 5  # fewer independent stretches are too few for an interval
ROWS = 100_000  # rows of predictions.csv at most, because a long test part would make gigabytes
PROBE = 100  # examples whose rows are counted to estimate the rows of all examples


@dataclass(frozen=True)
class Evaluation:
    """The result on a part that was used neither for training nor for any choice."""

    model: str  # the name of the model, which lists everything it is made of
    metrics: dict[str, float]
    # The scores of the network by itself; empty where the model is nothing but the network.
    network_only: dict[str, float]
    baselines: dict[str, dict[str, float]]
    verdict: dict[str, Any]
    comparisons: list[dict[str, Any]]  # with every baseline, by every measure of the task
    caveats: list[str]  # sentences to show beside the verdict
    details: dict[str, Any]
    table: pl.DataFrame
    listed: int  # number of examples in the table
    count: int  # number of all examples


def evaluate(
    predictions: Predictions,
    examples: Examples[Source],
    task: Task[Own, Source, Predictions],
    preparation: Preparation[Own],
    experiment: Experiment,
    *,
    baselines: list[Baseline[Source, Predictions]],
    network_only: Predictions | None = None,
) -> Evaluation:
    """Score the predictions for these examples beside those of the baselines.

    `network_only` comes from `predict_network_only`. Its scores are reported, but the verdict is
    not about them.
    """
    name = task.model_name(preparation)
    by_model = {name: predictions} | ({} if network_only is None else {NETWORK: network_only})
    for baseline in baselines:
        checkpoint()
        by_model[baseline.name] = baseline.predict(examples)
    scores = {
        model: task.metrics(predicted, examples, preparation, experiment)
        for model, predicted in by_model.items()
    }
    measures = task.measures(examples, preparation, experiment)
    main = chosen_measure(measures, experiment.evaluation.metric)
    comparisons = [
        compare(
            measure,
            predictions,
            by_model[baseline.name],
            baseline.name,
            experiment.evaluation,
            model=name,
        )
        for measure in measures
        for baseline in baselines
    ]
    details = task.details(by_model, examples, preparation, experiment)
    probe = np.arange(min(PROBE, len(examples)))
    listed = thinned(len(examples), task.table(predictions, examples, preparation, probe))
    return Evaluation(
        model=name,
        metrics=scores[name],
        network_only={} if network_only is None else scores[NETWORK],
        baselines={baseline.name: scores[baseline.name] for baseline in baselines},
        verdict=_hardest([one for one in comparisons if one["metric"] == main.name], main),
        comparisons=comparisons,
        caveats=_caveats(
            details,
            [] if task.promises is None else task.promises(examples, preparation),
            predictions,
            experiment.evaluation,
        ),
        details=details,
        table=task.table(predictions, examples, preparation, listed),
        listed=len(listed),
        count=len(examples),
    )


def predict_network_only(
    outputs: Any,
    examples: Examples[Source],
    task: Task[Own, Source, Predictions],
    preparation: Preparation[Own],
    experiment: Experiment,
) -> Predictions | None:
    """The predictions of the network by itself; None where the model is nothing but the network."""
    if task.model_name(preparation) == NETWORK:
        return None
    quick, _ = task.quick(preparation, experiment)
    return task.postprocess(outputs, examples, quick, {})


def thinned(count: int, first: pl.DataFrame) -> Array:
    """Evenly spread positions, as many as fit into `ROWS` rows of predictions.csv.

    `first` holds the rows of the first `PROBE` examples, from which the rows of all are estimated.
    """
    most = max(1, ROWS * min(PROBE, count) // max(1, first.height))
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def _hardest(comparisons: list[dict[str, Any]], measure: Measure[Any]) -> dict[str, Any]:
    """The comparison with the baseline that scored best on the same part, the hardest to beat."""
    sign = -1 if measure.higher_is_better else 1
    known = [one for one in comparisons if math.isfinite(one["theirs"])]
    return min(known or comparisons, key=lambda one: sign * one["theirs"])


def compare(
    measure: Measure[Predictions],
    ours: Predictions,
    theirs: Predictions,
    name: str,
    settings: EvaluationSettings,
    *,
    model: str = NETWORK,
) -> dict[str, Any]:
    """Ours minus theirs, with a bootstrap interval over clusters.

    `model` and `name` are the names of the two models.

    Efron & Tibshirani 1993, ch. 8 and 13: the percentile interval of the paired difference, with
    whole clusters drawn with replacement. If either score is not a number, there is no verdict, and
    the sentence says why.
    """
    checkpoint()
    left, right = (_by_cluster(measure, predictions) for predictions in (ours, theirs))
    clusters = len(left)
    sides = {model: (ours, left), name: (theirs, right)}
    invalid = {name: _count_nan(predictions) for name, (predictions, _) in sides.items()}
    our_score, their_score = (
        math.nan if invalid[name] else float(measure.value(sums.sum(axis=0)))
        for name, (_, sums) in sides.items()
    )
    comparison: dict[str, Any] = {
        "metric": measure.name,
        "answer": model,
        "against": name,
        "ours": our_score,
        "theirs": their_score,
        "difference": our_score - their_score,
        "low": math.nan,
        "high": math.nan,
        "confidence": settings.confidence_level,
        "better": None,
        "clusters": clusters,
        "relative": our_score / their_score - 1 if their_score > 0 else math.nan,
        "relative_low": math.nan,
        "relative_high": math.nan,
    }
    if not math.isfinite(our_score - their_score):
        reason = _why_no_verdict(comparison, invalid, len(ours))
        return comparison | {"sentence": f"No verdict against {name}: {reason}."}
    if clusters >= MIN_CLUSTERS:
        our_scores, their_scores = _resampled(measure, [left, right], settings.n_resamples)
        comparison["low"], comparison["high"] = _interval(our_scores - their_scores, settings)
        if their_score > 0 and (their_scores > 0).all():
            # The ratio of each round, so that a lower-is-better metric cannot fall by over 100 %.
            ratios = our_scores / their_scores - 1
            comparison["relative_low"], comparison["relative_high"] = _interval(ratios, settings)
        if comparison["low"] > 0 or comparison["high"] < 0:
            comparison["better"] = (our_score > their_score) == measure.higher_is_better
    return comparison | {"sentence": _sentence(comparison, measure)}


def _count_nan(predictions: Any) -> int:
    """The number of predictions that contain NaN; 0 for predictions in words."""
    array = np.asarray(predictions)
    if array.dtype.kind != "f":
        return 0
    return int(np.isnan(array.reshape(len(array), -1)).any(axis=1).sum())


def _why_no_verdict(comparison: Mapping[str, Any], invalid: Mapping[str, int], count: int) -> str:
    for name, number in invalid.items():
        if number:
            return f"{number} of {count} predictions of {name} are not numbers"
    sides = (
        (comparison["answer"], comparison["ours"]),
        (comparison["against"], comparison["theirs"]),
    )
    name = next((name for name, score in sides if not math.isfinite(score)), comparison["answer"])
    return (
        f"the {comparison['metric']} of {name} is not a number, which happens where the truth is "
        "unknown. Look for empty cells in the test part"
    )


def _resampled(measure: Measure[Any], sums: list[Array], resamples: int) -> list[Array]:
    """The measure of each model on the same clusters, drawn with replacement, [resamples]."""
    clusters = len(sums[0])
    random = np.random.default_rng(0)  # the same data give the same interval
    drawn = []
    rounds = max(1, 4_000_000 // clusters)  # bounds the memory of the counts
    for begin in range(0, resamples, rounds):
        checkpoint()
        size = min(rounds, resamples - begin)
        counts = random.multinomial(clusters, np.full(clusters, 1 / clusters), size=size)
        drawn.append([measure.value(counts @ one) for one in sums])
    return [np.concatenate(one) for one in zip(*drawn, strict=True)]


def _interval(values: Array, settings: EvaluationSettings) -> tuple[float, float]:
    """The percentile interval of resampled values."""
    known = values[np.isfinite(values)]  # a round may hold no unit that the measure counts
    if not len(known):
        return math.nan, math.nan
    tail = (1 - settings.confidence_level) / 2
    low, high = np.quantile(known, [tail, 1 - tail]).tolist()
    return low, high


def _by_cluster(measure: Measure[Predictions], predictions: Predictions) -> Array:
    """Sums of the measure's statistics, [clusters, statistics]."""
    statistics = measure.statistics(predictions)
    sums = np.zeros((int(measure.clusters.max(initial=-1)) + 1, statistics.shape[1]))
    np.add.at(sums, measure.clusters, statistics)
    return sums


def _sentence(comparison: Mapping[str, Any], measure: Measure[Any]) -> str:
    model, against = comparison["answer"], comparison["against"]
    amount = _amount(comparison, measure)
    if comparison["clusters"] < MIN_CLUSTERS:
        return (
            f"Too little to tell the {model} from {against}: {amount}, from only "
            f"{_stretches(comparison['clusters'])}."
        )
    if comparison["better"] is None:
        return f"The {model} is not distinguishable from {against}: {amount}."
    word = "better" if comparison["better"] else "worse"
    return f"The {model} is {word} than {against}: {amount}."


def _amount(comparison: Mapping[str, Any], measure: Measure[Any]) -> str:
    """Both scores and their difference, in points, in percent or in the units of the metric."""
    keys, scale, unit, digits = ("difference", "low", "high"), 1.0, "", "+.4g"
    sides = f"{comparison['ours']:.4g} against {comparison['theirs']:.4g}"
    if measure.higher_is_better:
        places = 3 if measure.metric.full == 1 else 1
        sides = f"{comparison['ours']:.{places}f} against {comparison['theirs']:.{places}f}"
        scale, digits = 100 / measure.metric.full, "+.1f"
    elif math.isfinite(comparison["relative"]) and (
        comparison["clusters"] < MIN_CLUSTERS or math.isfinite(comparison["relative_low"])
    ):
        keys, scale, unit = ("relative", "relative_low", "relative_high"), 100.0, " %"
        digits = "+.1f"
    size, low, high = (f"{scale * comparison[key]:{digits}}{unit}" for key in keys)
    if measure.higher_is_better:
        size += " points"
    if comparison["low"] == comparison["high"]:
        size += ", the same in every resample"  # an interval of width 0 would claim certainty
    elif comparison["clusters"] >= MIN_CLUSTERS:
        size += f" ({comparison['confidence']:.0%} interval {low} to {high})"
    return f"{comparison['metric']} {sides}, {size}"


def _stretches(count: int) -> str:
    return f"{count} independent {'stretch' if count == 1 else 'stretches'} of test data"


def _caveats(
    details: Mapping[str, Any],
    promises: list[Promise[Predictions]],
    predictions: Predictions,
    settings: EvaluationSettings,
) -> list[str]:
    """The sentences to show beside the verdict: broken promises, and truth that was left out."""
    notes = [promise_note(promise, predictions, settings) for promise in promises]
    if count := details.get("filled"):
        cells = "1 cell of the target was" if count == 1 else f"{count:,} cells of the target were"
        notes.append(f"{cells} empty and filled in (data.missing), and not scored as truth.")
    return [note for note in notes if note]


def promise_note(
    promise: Promise[Predictions], predictions: Predictions, settings: EvaluationSettings
) -> str:
    """A sentence if the measured share differs from the promised one, else ""."""
    sums = _by_cluster(promise.measure, predictions)
    measured = float(promise.measure.value(sums.sum(axis=0)))
    holds = (
        f"The {promise.name} holds {100 * measured:.1f} % of the truth and should hold "
        f"{100 * promise.share:.3g} %"
    )
    if len(sums) < MIN_CLUSTERS:
        few = _stretches(len(sums))
        return f"{holds}, measured on only {few}: too little to tell whether that is chance."
    drawn = _resampled(promise.measure, [sums], settings.n_resamples)[0]
    low, high = _interval(drawn, settings)
    if low <= promise.share <= high:
        return ""
    interval = f"{settings.confidence_level:.0%} interval {100 * low:.1f} % to {100 * high:.1f} %"
    extent = "more" if measured < promise.share else "less"
    return f"{holds} ({interval}): the predictions are {extent} confident than they should be."
