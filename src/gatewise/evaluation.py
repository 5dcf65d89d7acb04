"""Scores with intervals, beside the baselines, and a verdict.

The comparison is paired: both answers are judged on the same units, and the same resampled units.
Units that depend on each other (overlapping horizons, one person's recordings) are resampled as
one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    Promise,
    Task,
    answer_name,
    chosen_measure,
)

FEWEST = 5  # an interval from fewer independent stretches would say more than it knows
ROWS = 100_000  # of predictions.csv at most; a long test part would else be gigabytes
SOME = 100  # answers, whose rows are counted to know how many rows all would have


@dataclass(frozen=True)
class Evaluation:
    """What came out on a part that nothing was learnt from or chosen on."""

    answer: str  # what it is called, by what it is made of
    metrics: dict[str, float]
    # The network's by itself, where the answer is more than that; else empty.
    alone: dict[str, float]
    baselines: dict[str, dict[str, float]]
    verdict: dict[str, Any]
    comparisons: list[dict[str, Any]]  # against every baseline, by every measure of the task
    caveats: list[str]  # sentences that belong beside the verdict
    details: dict[str, Any]
    table: pl.DataFrame
    shown: int  # answers in the table
    answers: int  # answers in all


def evaluate(
    answer: Array,
    some: Examples,
    task: Task,
    preparation: Preparation,
    experiment: Experiment,
    *,
    baselines: list[Baseline],
    alone: Array | None = None,
) -> Evaluation:
    """Judge the answer to these examples beside the baselines' answers.

    `alone` is what `answer_alone` gives: it is shown, and the verdict is not about it.
    """
    name = answer_name(preparation)
    answers = {name: answer} | ({} if alone is None else {NETWORK: alone})
    for one in baselines:
        checkpoint()
        answers[one.name] = one.answer(some)
    scores = {
        who: task.metrics(given, some, preparation, experiment) for who, given in answers.items()
    }
    measures = task.measures(some, preparation, experiment)
    main = chosen_measure(measures, experiment.evaluation.metric)
    comparisons = [
        compare(measure, answer, answers[one.name], one.name, experiment.evaluation, answer=name)
        for measure in measures
        for one in baselines
    ]
    details = task.details(answers, some, preparation, experiment)
    shown = thinned(
        len(some), task.table(answer, some, preparation, np.arange(min(SOME, len(some))))
    )
    return Evaluation(
        answer=name,
        metrics=scores[name],
        alone={} if alone is None else scores[NETWORK],
        baselines={one.name: scores[one.name] for one in baselines},
        verdict=_hardest([one for one in comparisons if one["metric"] == main.name], main),
        comparisons=comparisons,
        caveats=_caveats(
            details,
            [] if task.promises is None else task.promises(some, preparation),
            answer,
            experiment.evaluation,
        ),
        details=details,
        table=task.table(answer, some, preparation, shown),
        shown=len(shown),
        answers=len(some),
    )


def answer_alone(
    outputs: Array, some: Examples, task: Task, preparation: Preparation
) -> Array | None:
    """What the network says by itself, where the answer is more than that; else None."""
    if preparation.blend == "none":
        return None
    return task.answer(outputs, some, replace(preparation, blend="none"), {})


def thinned(count: int, first: pl.DataFrame) -> Array:
    """Evenly spread positions, so many that their rows stay readable, by the rows of the first."""
    most = max(1, ROWS * min(SOME, count) // max(1, first.height))
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def _hardest(comparisons: list[dict[str, Any]], measure: Measure) -> dict[str, Any]:
    """The verdict is against the baseline that did best on the same part: the hardest to beat."""
    sign = -1 if measure.higher_is_better else 1
    known = [one for one in comparisons if math.isfinite(one["theirs"])]
    return min(known or comparisons, key=lambda one: sign * one["theirs"])


def compare(
    measure: Measure,
    ours: Array,
    theirs: Array,
    name: str,
    settings: EvaluationSettings,
    *,
    answer: str = NETWORK,
) -> dict[str, Any]:
    """Ours minus theirs, with a bootstrap interval over clusters.

    `answer` and `name` are what the two are called.

    Efron & Tibshirani 1993, ch. 8 and 13: the percentile interval of the paired difference,
    with whole clusters drawn with replacement. Where either number cannot be told, there is no
    verdict, and the sentence says why.
    """
    checkpoint()
    left, right = (_by_cluster(measure, given) for given in (ours, theirs))
    clusters = len(left)
    sides = {answer: (ours, left), name: (theirs, right)}
    wrong = {who: _not_numbers(given) for who, (given, _) in sides.items()}
    one, other = (
        math.nan if wrong[who] else float(measure.value(sums.sum(axis=0)))
        for who, (_, sums) in sides.items()
    )
    found: dict[str, Any] = {
        "metric": measure.name,
        "answer": answer,
        "against": name,
        "ours": one,
        "theirs": other,
        "difference": one - other,
        "low": math.nan,
        "high": math.nan,
        "confidence": settings.confidence_level,
        "better": None,
        "clusters": clusters,
        "relative": one / other - 1 if other > 0 else math.nan,
        "relative_low": math.nan,
        "relative_high": math.nan,
    }
    if not math.isfinite(one - other):
        reason = _why_none(found, wrong, len(ours))
        return found | {"sentence": f"No verdict against {name}: {reason}."}
    if clusters >= FEWEST:
        mine, yours = _resampled(measure, [left, right], settings.n_resamples)
        found["low"], found["high"] = _interval(mine - yours, settings)
        if other > 0 and (yours > 0).all():
            # The ratio of each round: a lower-is-better metric then cannot fall by over 100 %.
            shares = mine / yours - 1
            found["relative_low"], found["relative_high"] = _interval(shares, settings)
        if found["low"] > 0 or found["high"] < 0:
            found["better"] = (one > other) == measure.higher_is_better
    return found | {"sentence": _sentence(found, measure)}


def _not_numbers(answer: Array) -> int:
    """How many of the answers hold something that is not a number; 0 for answers in words."""
    given = np.asarray(answer)
    if given.dtype.kind != "f":
        return 0
    return int(np.isnan(given.reshape(len(given), -1)).any(axis=1).sum())


def _why_none(found: Mapping[str, Any], wrong: Mapping[str, int], count: int) -> str:
    for who, answers in wrong.items():
        if answers:
            return f"{answers} of {count} answers of {who} are not numbers"
    sides = ((found["answer"], found["ours"]), (found["against"], found["theirs"]))
    who = next((who for who, value in sides if not math.isfinite(value)), found["answer"])
    return (
        f"the {found['metric']} of {who} is not a number, as where the truth is not known. Look "
        "for empty cells in the test part"
    )


def _resampled(measure: Measure, sums: list[Array], resamples: int) -> list[Array]:
    """The measure of each answer on the same clusters, drawn with replacement, [resamples]."""
    clusters = len(sums[0])
    random = np.random.default_rng(0)  # the same data, the same interval
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


def _by_cluster(measure: Measure, answer: Array) -> Array:
    """Sums of the measure's statistics, [clusters, statistics]."""
    statistics = measure.statistics(answer)
    sums = np.zeros((int(measure.clusters.max(initial=-1)) + 1, statistics.shape[1]))
    np.add.at(sums, measure.clusters, statistics)
    return sums


def _sentence(found: Mapping[str, Any], measure: Measure) -> str:
    ours, against, amount = f"The {found['answer']}", found["against"], _amount(found, measure)
    if found["clusters"] < FEWEST:
        return (
            f"Too little to tell the {found['answer']} from {against}: {amount}, from only "
            f"{_stretches(found['clusters'])}."
        )
    if found["better"] is None:
        return f"{ours} is not distinguishable from {against}: {amount}."
    word = "better" if found["better"] else "worse"
    return f"{ours} is {word} than {against}: {amount}."


def _amount(found: Mapping[str, Any], measure: Measure) -> str:
    """Both scores and their difference: in points, in percent or in the metric's own units."""
    keys, scale, unit, digits = ("difference", "low", "high"), 1.0, "", "+.4g"
    sides = f"{found['ours']:.4g} against {found['theirs']:.4g}"
    if measure.higher_is_better:
        places = 3 if measure.metric.full == 1 else 1
        sides = f"{found['ours']:.{places}f} against {found['theirs']:.{places}f}"
        scale, digits = 100 / measure.metric.full, "+.1f"
    elif math.isfinite(found["relative"]) and (
        found["clusters"] < FEWEST or math.isfinite(found["relative_low"])
    ):
        keys, scale, unit = ("relative", "relative_low", "relative_high"), 100.0, " %"
        digits = "+.1f"
    size, low, high = (f"{scale * found[key]:{digits}}{unit}" for key in keys)
    if measure.higher_is_better:
        size += " points"
    if found["low"] == found["high"]:
        size += ", the same in every resample"  # an interval of no width would claim certainty
    elif found["clusters"] >= FEWEST:
        size += f" ({found['confidence']:.0%} interval {low} to {high})"
    return f"{found['metric']} {sides}, {size}"


def _stretches(count: int) -> str:
    return f"{count} independent {'stretch' if count == 1 else 'stretches'} of test data"


def _caveats(
    details: Mapping[str, Any],
    promises: list[Promise],
    answer: Array,
    settings: EvaluationSettings,
) -> list[str]:
    """What must be known beside the verdict: broken promises, and truth that was left out."""
    said = [told_of_promise(one, answer, settings) for one in promises]
    if count := details.get("filled"):
        cells = "1 cell of the target was" if count == 1 else f"{count:,} cells of the target were"
        said.append(f"{cells} empty and filled in (data.missing), and not scored as truth.")
    return [one for one in said if one]


def told_of_promise(promise: Promise, answer: Array, settings: EvaluationSettings) -> str:
    """A sentence where the share that came true is not the one that was stated, else ""."""
    sums = _by_cluster(promise.measure, answer)
    measured = float(promise.measure.value(sums.sum(axis=0)))
    holds = (
        f"The {promise.name} holds {100 * measured:.1f} % of the truth and should hold "
        f"{100 * promise.share:.3g} %"
    )
    if len(sums) < FEWEST:
        few = _stretches(len(sums))
        return f"{holds}; from only {few}, too little to tell whether that is chance."
    drawn = _resampled(promise.measure, [sums], settings.n_resamples)[0]
    low, high = _interval(drawn, settings)
    if low <= promise.share <= high:
        return ""
    interval = f"{settings.confidence_level:.0%} interval {100 * low:.1f} % to {100 * high:.1f} %"
    sure = "surer of themselves than they" if measured < promise.share else "less sure than they"
    return f"{holds} ({interval}): the forecasts are {sure} should be."
