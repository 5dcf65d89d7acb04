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
from gatewise.errors import ConfigError
from gatewise.experiment import EvaluationSettings, Experiment
from gatewise.tasks.task import NETWORK, Baseline, Measure, Task, answer_name

FEWEST = 5  # an interval from fewer independent stretches would say more than it knows
ROWS = 100_000  # of predictions.csv at most; a long test part would else be gigabytes


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
    details: dict[str, Any]
    table: pl.DataFrame


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
    answers |= {one.name: one.answer(some) for one in baselines}
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
    return Evaluation(
        answer=name,
        metrics=scores[name],
        alone={} if alone is None else scores[NETWORK],
        baselines={one.name: scores[one.name] for one in baselines},
        verdict=_hardest([one for one in comparisons if one["metric"] == main.name], main),
        comparisons=comparisons,
        details=task.details(answers, some, preparation, experiment),
        table=task.table(answer, some, preparation, _thinned(len(some), np.size(answer[0]))),
    )


def answer_alone(
    outputs: Array, some: Examples, task: Task, preparation: Preparation
) -> Array | None:
    """What the network says by itself, where the answer is more than that; else None."""
    if preparation.blend == "none":
        return None
    return task.answer(outputs, some, replace(preparation, blend="none"), {})


def _thinned(count: int, size: int) -> Array:
    """Evenly spread positions, so many that their rows stay readable."""
    most = max(1, ROWS // max(1, size))
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def chosen_measure(measures: list[Measure], metric: str) -> Measure:
    """The measure that the settings name, or the task's first."""
    named = {measure.name: measure for measure in measures}
    if metric == "auto":
        return measures[0]
    if metric not in named:
        raise ConfigError(
            f"evaluation.metric wants one of {', '.join(named)}. Received: {metric!r}."
        )
    return named[metric]


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
    left, right = (_by_cluster(measure, given) for given in (ours, theirs))
    clusters = len(left)
    sides = {answer: (ours, left), name: (theirs, right)}
    wrong = {who: _not_numbers(given) for who, (given, _) in sides.items()}
    mine, other = (
        math.nan if wrong[who] else float(measure.value(sums.sum(axis=0)))
        for who, (_, sums) in sides.items()
    )
    random = np.random.default_rng(0)  # the same data, the same interval
    drawn = []
    rounds = max(1, 4_000_000 // clusters)  # bounds the memory of the counts
    for begin in range(0, settings.resamples, rounds):
        size = min(rounds, settings.resamples - begin)
        counts = random.multinomial(clusters, np.full(clusters, 1 / clusters), size=size)
        drawn.append(measure.value(counts @ left) - measure.value(counts @ right))
    difference = mine - other
    low, high = _interval(np.concatenate(drawn), difference, settings.confidence)
    better: bool | None = None
    if clusters >= FEWEST and (low > 0 or high < 0):
        better = (difference > 0) == measure.higher_is_better
    found: dict[str, Any] = {
        "metric": measure.name,
        "answer": answer,
        "against": name,
        "ours": mine,
        "theirs": other,
        "difference": difference,
        "low": low,
        "high": high,
        "confidence": settings.confidence,
        "better": better,
        "clusters": clusters,
    }
    found["relative"] = difference / found["theirs"] if found["theirs"] else math.nan
    if math.isfinite(low):
        return found | {"sentence": _sentence(found, measure)}
    return found | {"sentence": f"No verdict against {name}: {_why_none(found, wrong, len(ours))}."}


def _not_numbers(answer: Array) -> int:
    """How many of the answers hold something that is not a number; 0 for answers in words."""
    given = np.asarray(answer)
    if given.dtype.kind != "f":
        return 0
    return int(np.isnan(given.reshape(len(given), -1)).any(axis=1).sum())


def _interval(drawn: Array, difference: float, confidence: float) -> tuple[float, float]:
    """The percentile interval; NaN where the difference itself is no number."""
    known = drawn[np.isfinite(drawn)]  # a draw may hold no unit that the measure counts
    if not math.isfinite(difference) or not len(known):
        return math.nan, math.nan
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail]).tolist()
    return low, high


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


def _by_cluster(measure: Measure, answer: Array) -> Array:
    """Sums of the measure's statistics, [clusters, statistics]."""
    statistics = measure.statistics(answer)
    sums = np.zeros((int(measure.clusters.max()) + 1, statistics.shape[1]))
    np.add.at(sums, measure.clusters, statistics)
    return sums


def _sentence(found: Mapping[str, Any], measure: Measure) -> str:
    interval = f"{found['confidence']:.0%} interval"
    if measure.higher_is_better:
        points = (100 / measure.full * found[key] for key in ("difference", "low", "high"))
        size = "{:+.1f} points ({} {:+.1f} to {:+.1f})".format(*_insert(points, interval))
        digits = 3 if measure.full == 1 else 1
        sides = f"{found['ours']:.{digits}f} against {found['theirs']:.{digits}f}"
        amount = f"{found['metric']} {sides}, {size}"
    elif not found["theirs"]:  # nothing to take a share of
        sizes = [found[key] for key in ("difference", "low", "high")]
        size = "{:+.4g} ({} {:+.4g} to {:+.4g})".format(*_insert(sizes, interval))
        amount = f"{found['metric']} {found['ours']:.4g} against 0, {size}"
    else:
        shares = [100 * found[key] / found["theirs"] for key in ("difference", "low", "high")]
        size = "{:+.1f} % ({} {:+.1f} % to {:+.1f} %)".format(*_insert(shares, interval))
        amount = f"{found['metric']} {found['ours']:.4g} against {found['theirs']:.4g}, {size}"
    ours, against = f"The {found['answer']}", found["against"]
    if found["clusters"] < FEWEST:
        return (
            f"Too little to tell the {found['answer']} from {against}: {amount}, from only "
            f"{found['clusters']} "
            "independent stretches of test data."
        )
    if found["better"] is None:
        return f"{ours} is not distinguishable from {against}: {amount}."
    word = "better" if found["better"] else "worse"
    return f"{ours} is {word} than {against}: {amount}."


def _insert(numbers: Any, interval: str) -> list[Any]:
    first, low, high = numbers
    return [first, interval, low, high]
