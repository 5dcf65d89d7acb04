"""Scores of the network and of the baselines, with intervals, and a verdict.

The comparison is paired: both models are scored on the same units and on the same resamples of
them. Dependent units (overlapping horizons, recordings of one person) are resampled together.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, fingerprint
from gatewise.data.subsets import evenly_spaced
from gatewise.metrics import METRICS, SCALED, Metric
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
from gatewise.training.interrupts import checkpoint

MOST_RELATIVE = 100.0  # greater ratios are shown as differences
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
    resampled: "list[Resampled]"  # the model by every measure of the task, seed after seed
    rivals: "list[Resampled]"  # the baselines by every measure
    caveats: list[str]  # sentences to show beside the verdict
    details: dict[str, Any]
    table: pl.DataFrame
    listed: int  # number of examples in the table
    count: int  # number of all examples
    # Seed, validation score, metrics and epochs of each network; empty for a single one.
    seeds: list[dict[str, Any]] = field(default_factory=list)
    # The same of each fold of a backtest, with its baselines.
    folds: list[dict[str, Any]] = field(default_factory=list)


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
    # The network by itself is reported, but not compared.
    judged = {one: by_model[one] for one in by_model if one != NETWORK or one == name}
    comparisons: list[dict[str, Any]] = []
    drawn: list[Resampled] = []
    rivals: list[Resampled] = []
    for measure in measures:
        ours, *theirs = resample(measure, judged, experiment.evaluation)
        drawn.append(ours)
        rivals += theirs
        comparisons += [compared(ours, one, experiment.evaluation) for one in theirs]
    verdict = _hardest([one for one in comparisons if one["metric"] == main.name], main)
    advice = [] if verdict["better"] or not task.unless_better else [task.unless_better]
    details = task.details(by_model, examples, preparation, experiment)
    probe = np.arange(min(PROBE, len(examples)))
    listed = thinned(len(examples), task.table(predictions, examples, preparation, probe))
    return Evaluation(
        model=name,
        metrics=scores[name],
        network_only={} if network_only is None else scores[NETWORK],
        baselines={baseline.name: scores[baseline.name] for baseline in baselines},
        verdict=verdict,
        comparisons=comparisons,
        resampled=drawn,
        rivals=rivals,
        caveats=_caveats(
            details,
            [] if task.promises is None else task.promises(examples, preparation),
            predictions,
            experiment.evaluation,
        )
        + advice,
        details=details,
        table=task.table(predictions, examples, preparation, listed),
        listed=len(listed),
        count=len(examples),
    )


def scores_of(evaluation: Evaluation | None) -> dict[str, Any]:
    """The scores and the verdict, under their names in metrics.json and in `--json`."""
    return {
        "metrics": evaluation.metrics if evaluation else {},
        "alone": evaluation.network_only if evaluation else {},
        "baselines": evaluation.baselines if evaluation else {},
        "verdict": evaluation.verdict if evaluation else None,
        "comparisons": evaluation.comparisons if evaluation else [],
    }


def predict_network_only(
    outputs: Any,
    examples: Examples[Source],
    task: Task[Own, Source, Predictions],
    preparation: Preparation[Own],
    experiment: Experiment,
) -> Predictions | None:
    """The predictions of the network by itself; None where the model is nothing but the network."""
    quick, _ = task.quick(preparation, experiment)
    if task.model_name(preparation) == task.model_name(quick):
        return None
    return task.postprocess(outputs, examples, quick, {})


def thinned(count: int, first: pl.DataFrame) -> Array:
    """Evenly spread positions, as many as fit into `ROWS` rows of predictions.csv.

    `first` holds the rows of the first `PROBE` examples, from which the rows of all are estimated.
    """
    most = max(1, ROWS * min(PROBE, count) // max(1, first.height))
    return evenly_spaced(count, most)


def _hardest(comparisons: list[dict[str, Any]], measure: Measure[Any]) -> dict[str, Any]:
    """The comparison with the baseline that scored best on the same part, the hardest to beat."""
    sign = -1 if measure.higher_is_better else 1
    known = [one for one in comparisons if math.isfinite(one["theirs"])]
    return min(known or comparisons, key=lambda one: sign * one["theirs"])


@dataclass(frozen=True)
class Resampled:
    """The score of a model by one measure, on the test part and on resamples of its clusters."""

    metric: str
    model: str
    score: float
    drawn: Array  # [resamples]; empty if there are too few clusters
    clusters: int
    grouping: str  # a fingerprint of the cluster of each unit
    invalid: int = 0  # predictions that are not numbers
    count: int = 0  # all predictions


def resample(
    measure: Measure[Predictions],
    by_model: Mapping[str, Predictions],
    settings: EvaluationSettings,
) -> list[Resampled]:
    """Score each model on the test part and on the same resamples of it.

    Whole clusters are drawn with replacement. The draws depend only on the number of clusters, so
    that models of different runs can be compared on them, too.
    """
    sums = [_by_cluster(measure, predictions) for predictions in by_model.values()]
    clusters = len(sums[0])
    enough = clusters >= MIN_CLUSTERS
    drawn = (
        _resampled(measure, sums, settings.n_resamples) if enough else [np.empty(0) for _ in sums]
    )
    made = []
    for (model, predictions), one, scores in zip(by_model.items(), sums, drawn, strict=True):
        invalid = _count_nan(predictions)
        score = math.nan if invalid else float(measure.value(one.sum(axis=0)))
        made.append(
            Resampled(
                measure.name,
                model,
                score,
                scores,
                clusters,
                fingerprint(measure.clusters.astype(np.int64)),
                invalid,
                len(predictions),
            )
        )
    return made


def compare(
    measure: Measure[Predictions],
    ours: Predictions,
    theirs: Predictions,
    name: str,
    settings: EvaluationSettings,
    *,
    model: str = NETWORK,
) -> dict[str, Any]:
    """Compare two sets of predictions by one measure, as `compared` does.

    `model` and `name` are the names of the two models.
    """
    left, right = (
        resample(measure, {one: predictions}, settings)[0]
        for one, predictions in ((model, ours), (name, theirs))
    )
    return compared(left, right, settings)


def compared(ours: Resampled, theirs: Resampled, settings: EvaluationSettings) -> dict[str, Any]:
    """Ours minus theirs, with a bootstrap interval over clusters.

    Efron & Tibshirani 1993, ch. 8 and 13: the percentile interval of the paired difference, with
    whole clusters drawn with replacement. If either score is not a number, there is no verdict, and
    the sentence says why.
    """
    checkpoint()
    metric = METRICS[ours.metric.removeprefix(SCALED)]
    our_score, their_score = ours.score, theirs.score
    comparison: dict[str, Any] = {
        "metric": ours.metric,
        "answer": ours.model,
        "against": theirs.model,
        "ours": our_score,
        "theirs": their_score,
        "difference": our_score - their_score,
        "low": math.nan,
        "high": math.nan,
        "confidence": settings.confidence_level,
        "better": None,
        "clusters": ours.clusters,
        "relative": our_score / their_score - 1 if their_score > 0 else math.nan,
        "relative_low": math.nan,
        "relative_high": math.nan,
    }
    if not math.isfinite(our_score - their_score):
        reason = _why_no_verdict(ours, theirs)
        return comparison | {"sentence": f"No verdict against {theirs.model}: {reason}."}
    if ours.clusters >= MIN_CLUSTERS:
        rounds = min(len(ours.drawn), len(theirs.drawn))
        our_scores, their_scores = ours.drawn[:rounds], theirs.drawn[:rounds]
        comparison["low"], comparison["high"] = _interval(our_scores - their_scores, settings)
        if their_score > 0 and (their_scores > 0).all():
            # The ratio of each round, so that a lower-is-better metric cannot fall by over 100 %.
            ratios = our_scores / their_scores - 1
            comparison["relative_low"], comparison["relative_high"] = _interval(ratios, settings)
        if comparison["low"] > 0 or comparison["high"] < 0:
            comparison["better"] = (our_score > their_score) == (metric.better == "higher")
    return comparison | {"sentence": _sentence(comparison, metric)}


def over_seeds(seeds: list[Resampled], model: str, *, draws: int = 0) -> Resampled:
    """The mean of networks that differ only in their seed, on resamples of clusters and of seeds.

    Each round draws seeds with replacement, independently of the clusters of the same round: the
    pigeonhole bootstrap of Owen (2007, Annals of Applied Statistics 1(2), 386-411) for two crossed
    sources of chance. Runs that are compared take different `draws`, because seed 0 of one network
    has nothing to do with seed 0 of another.
    """
    drawn = np.stack([one.drawn for one in seeds])  # [seeds, resamples]
    count, rounds = drawn.shape
    random = np.random.default_rng((1, draws))
    shares = random.multinomial(count, np.full(count, 1 / count), size=rounds) / count
    return replace(
        seeds[0],
        model=model,
        score=float(np.mean([one.score for one in seeds])),
        drawn=(shares.T * drawn).sum(axis=0),
        invalid=sum(one.invalid for one in seeds),
        count=sum(one.count for one in seeds),
    )


def _count_nan(predictions: Any) -> int:
    """The number of predictions that contain NaN; 0 for predictions in words."""
    array = np.asarray(predictions)
    if array.dtype.kind != "f":
        return 0
    return int(np.isnan(array.reshape(len(array), -1)).any(axis=1).sum())


def _why_no_verdict(ours: Resampled, theirs: Resampled) -> str:
    for one in (ours, theirs):
        if one.invalid:
            return f"{one.invalid} of {one.count} predictions of {one.model} are not numbers"
    name = next((one.model for one in (ours, theirs) if not math.isfinite(one.score)), ours.model)
    return (
        f"the {ours.metric} of {name} is not a number, which happens where the truth is unknown. "
        "Look for empty cells in the test part"
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


def _sentence(comparison: Mapping[str, Any], metric: Metric) -> str:
    model, against = comparison["answer"], comparison["against"]
    amount = _amount(comparison, metric)
    if comparison["clusters"] < MIN_CLUSTERS:
        return (
            f"Too little to tell the {model} from {against}: {amount}, from only "
            f"{_stretches(comparison['clusters'])}."
        )
    if comparison["better"] is None:
        return f"The {model} is not distinguishable from {against}: {amount}."
    word = "better" if comparison["better"] else "worse"
    return f"The {model} is {word} than {against}: {amount}."


def _amount(comparison: Mapping[str, Any], metric: Metric) -> str:
    """Both scores and their difference, in points, in percent or in the units of the metric."""
    keys, scale, unit, digits = ("difference", "low", "high"), 1.0, "", "+.4g"
    sides = f"{comparison['ours']:.4g} against {comparison['theirs']:.4g}"
    if metric.better == "higher":
        places = 3 if metric.full == 1 else 1
        sides = f"{comparison['ours']:.{places}f} against {comparison['theirs']:.{places}f}"
        scale, digits = 100 / metric.full, "+.1f"
    elif _in_percent(comparison):
        keys, scale, unit = ("relative", "relative_low", "relative_high"), 100.0, " %"
        digits = "+.1f"
    size, low, high = (f"{scale * comparison[key]:{digits}}{unit}" for key in keys)
    if metric.better == "higher":
        size += " points"
    if comparison["low"] == comparison["high"]:
        size += ", the same in every resample"  # an interval of width 0 would claim certainty
    elif comparison["clusters"] >= MIN_CLUSTERS:
        size += f" ({comparison['confidence']:.0%} interval {low} to {high})"
    return f"{comparison['metric']} {sides}, {size}"


def _in_percent(comparison: Mapping[str, Any]) -> bool:
    """Whether a ratio says more than a difference; none to an error of almost 0 does."""
    known = [comparison["relative"]]
    if comparison["clusters"] >= MIN_CLUSTERS:
        known += [comparison["relative_low"], comparison["relative_high"]]
    return all(math.isfinite(one) and abs(one) < MOST_RELATIVE for one in known)


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
