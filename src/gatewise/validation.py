"""What the validation part decides: the best baseline, the best epoch, and the calibration."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gatewise.data.preparation import Preparation
from gatewise.phases import Phase
from gatewise.ready import Ready
from gatewise.tasks.task import Baseline, monitored_measure
from gatewise.training import Monitor


@dataclass(frozen=True)
class FittedBaselines:
    """The baselines of the task, and the best of them on the validation part."""

    state: Mapping[str, Any]  # as baselines.json holds it
    rules: list[Baseline]
    monitor: Monitor  # with the best baseline's name and value
    seconds: float


def score_baselines(ready: Ready) -> FittedBaselines:
    """Fit the baselines, and find which does best on the validation part, and how well."""
    began = time.perf_counter()
    with Phase("Fitting the baselines"):
        state = ready.task.fit_baselines(ready.train, ready.validation, ready.preparation)
        rules = ready.task.baselines(state, ready.preparation, ready.train)
        monitor = monitor_of(ready, rules)
    return FittedBaselines(state, rules, monitor, time.perf_counter() - began)


def monitor_of(ready: Ready, rules: list[Baseline]) -> Monitor:
    """What chooses the best epoch: by default the metric of the verdict, on the validation part.

    The network is asked in the quick way: without a beam search, a language model or a blend.
    """
    some, experiment = ready.validation, ready.experiment
    if some is None or experiment.training.monitor == "loss":
        return Monitor("loss")
    measure = monitored_measure(
        ready.task.measures(some, ready.preparation, experiment), experiment
    )
    quick = replace(ready.preparation, blend="none", beam_size=1, lm={})
    greedy = experiment.having("task", beam_size=1)

    def value(answer: Any) -> float:
        return float(measure.value(measure.statistics(answer).sum(axis=0)))

    def ask() -> float:
        given = ready.task.network.predict(ready.network, some, quick, greedy)
        return value(ready.task.answer(given, some, quick, {}))

    scores = {rule.name: value(rule.answer(some)) for rule in rules if not rule.costly}
    scores = {name: score for name, score in scores.items() if not math.isnan(score)}
    sign = -1 if measure.higher_is_better else 1
    best = min(scores, key=lambda name: sign * scores[name], default="")
    return Monitor(
        measure.name,
        measure.higher_is_better,
        None if measure.from_loss else ask,
        measure.from_loss or float,
        best,
        scores.get(best, math.nan),
    )


def calibrate(ready: Ready) -> Preparation:
    """What the validation part has still to say, such as a temperature for probabilities."""
    if ready.validation is None or ready.task.calibrate is None:
        return ready.preparation
    given = ready.task.network.predict(
        ready.network, ready.validation, ready.preparation, ready.experiment
    )
    return ready.task.calibrate(ready.preparation, given, ready.validation)
