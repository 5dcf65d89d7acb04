"""The choices made on the validation part: the best baseline, the best epoch, the calibration."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gatewise.baselines.custom import Custom
from gatewise.data.preparation import Preparation
from gatewise.errors import ConfigError
from gatewise.tasks.task import NETWORK, Baseline, monitored_measure
from gatewise.training.phases import Phase
from gatewise.training.progress import Monitor
from gatewise.training.ready import Ready


@dataclass(frozen=True)
class FittedBaselines:
    """The fitted baselines of the task, and the best of them on the validation part."""

    state: Mapping[str, Any]  # the content of baselines.json
    baselines: list[Baseline[Any, Any]]
    monitor: Monitor  # holds the name and the value of the best baseline
    seconds: float


def score_baselines(ready: Ready, custom: Sequence[Custom] = ()) -> FittedBaselines:
    """Fit the baselines, and score them on the validation part to find the best.

    Raises:
        ConfigError: one of the user's own fails, or the task has none.
    """
    began = time.perf_counter()
    with Phase("Fitting the baselines"):
        state = ready.task.fit_baselines(ready.train, ready.validation, ready.preparation)
        baselines = ready.task.baselines(state, ready.preparation, ready.train)
        baselines += ready.task.more_baselines(
            ready.train, ready.validation, ready.test, ready.preparation
        )
        known = [one.name for one in baselines]
        baselines += [_custom_baseline(one, ready, known) for one in custom]
        monitor = monitor_of(ready, baselines)
    return FittedBaselines(state, baselines, monitor, time.perf_counter() - began)


def _custom_baseline(custom: Custom, ready: Ready, known: list[str]) -> Baseline[Any, Any]:
    """The baseline that the user's own function is."""
    task = ready.task
    if task.custom_baseline is None:
        raise ConfigError(f"{task.name} has no baselines of your own. Leave out --baseline.")
    if custom.name in (*known, NETWORK):
        raise ConfigError(f"{task.name} has a baseline '{custom.name}'. Rename your function.")
    made: Baseline[Any, Any] = task.custom_baseline(
        custom, ready.train, ready.validation, ready.preparation
    )
    return made


def monitor_of(ready: Ready, baselines: list[Baseline[Any, Any]]) -> Monitor:
    """The monitor that chooses the best epoch, by default by the metric of the verdict.

    The network predicts the validation part in the quick way: without a beam search, a language
    model or a blend.
    """
    examples, experiment = ready.validation, ready.experiment
    if examples is None or experiment.training.monitor == "loss":
        return Monitor("loss")
    measure = monitored_measure(
        ready.task.measures(examples, ready.preparation, experiment), experiment
    )
    quick, greedy = ready.task.quick(ready.preparation, experiment)

    def score(predictions: Any) -> float:
        return float(measure.value(measure.statistics(predictions).sum(axis=0)))

    def score_network() -> float:
        outputs = ready.task.network.predict(ready.network, examples, quick, greedy)
        return score(ready.task.postprocess(outputs, examples, quick, {}))

    values = {one.name: score(one.predict(examples)) for one in baselines if not one.slow}
    values = {name: value for name, value in values.items() if not math.isnan(value)}
    sign = -1 if measure.higher_is_better else 1
    best = min(values, key=lambda name: sign * values[name], default="")
    return Monitor(
        measure.name,
        measure.higher_is_better,
        None if measure.from_loss else score_network,
        measure.from_loss or float,
        best,
        values.get(best, math.nan),
    )


def calibrate(ready: Ready, baselines: FittedBaselines) -> Preparation[Any]:
    """The preparation with what follows from the validation part: a temperature, and a blend."""
    task, preparation = ready.task, ready.preparation
    if ready.validation is None or (task.calibrate is None and task.choose is None):
        return preparation
    outputs = task.network.predict(ready.network, ready.validation, preparation, ready.experiment)
    if task.calibrate is not None:
        preparation = task.calibrate(preparation, outputs, ready.validation)
    if task.choose is None:
        return preparation
    known = {one.name: one.predict(ready.validation) for one in baselines.baselines if not one.slow}
    return task.choose(preparation, outputs, known, ready.validation)
