"""Train the same network from several seeds, and judge it by all of them."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gatewise.data.preparation import Preparation
from gatewise.errors import ConfigError
from gatewise.judging.evaluation import (
    Evaluation,
    Resampled,
    compared,
    evaluate,
    over_seeds,
    predict_network_only,
    resample,
)
from gatewise.judging.validation import FittedBaselines, calibrate, monitor_of
from gatewise.training import pretraining
from gatewise.training.checkpoints import as_finished, from_finished
from gatewise.training.fit import Around, fit
from gatewise.training.interrupts import STOP
from gatewise.training.progress import History, Monitor, Progress, column_of
from gatewise.training.ready import Ready, compile_network, prepared

log = logging.getLogger("gatewise")

Watch = Callable[[Progress, bool], None]


@dataclass(frozen=True)
class Trained:
    """One network after its training."""

    ready: Ready
    history: History
    validation: float  # the monitored metric of the best epoch; NaN without a validation part

    @property
    def seed(self) -> int:
        """The seed of the weights and of the order of the examples."""
        return self.ready.experiment.training.seed


def learn(ready: Ready, monitor: Monitor, around: Around) -> History:
    """Pretrain, compile and fit the network; a compiled one keeps its own loss and optimizer.

    A network that an earlier part of this run finished is taken from the checkpoint.
    """
    pretraining.pretrain(ready, around)
    checkpoints = around.checkpoints
    if checkpoints is not None and (finished := checkpoints.next_finished()) is not None:
        return from_finished(ready.network, finished)
    if not ready.network.compiled:
        compile_network(ready.network, ready)
    history = fit(
        ready.network,
        ready.train,
        ready.validation,
        ready.experiment.training,
        padded=ready.preparation.padded,
        monitor=monitor,
        around=around,
    )
    if checkpoints is not None and around.interrupts.level < STOP:
        checkpoints.finish(as_finished(ready.network, history))
    return history


def check_repeats(repeats: int) -> None:
    """Refuse a number of seeds that is not a whole number from 1 on.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(repeats, int) or isinstance(repeats, bool) or repeats < 1:
        raise ConfigError(f"--repeats must be a whole number, at least 1. Received: {repeats!r}.")


def with_seed(ready: Ready, seed: int) -> Ready:
    """The same with the network of another seed."""
    given = ready.parts.experiment.having("training", seed=seed)
    return prepared(replace(ready.parts, experiment=given), ready)


def learn_each(
    ready: Ready,
    repeats: int,
    monitor: Monitor,
    around: Around,
    *,
    after: Callable[[Sequence[Trained]], None] | None = None,
) -> list[Trained]:
    """Train from `repeats` seeds, beginning with training.seed; the best on validation comes first.

    A request to stop ends the training of the seed, and no other one follows. A seed that was cut
    short counts only if no seed was finished. `after` gets the networks of the finished seeds after
    each of them.
    """
    trained: list[Trained] = []
    interrupts = around.interrupts
    first = ready.experiment.training.seed
    for seed in range(first, first + repeats):
        if seed > first:
            ready = with_seed(ready, seed)
            monitor = monitor_for(ready, monitor)
        if repeats > 1:
            log.info("Seed %d (%d of %d).", seed, seed - first + 1, repeats)
        history = learn(ready, monitor, around)
        if interrupts.level >= STOP and trained:
            log.info("Seed %d was not finished and is left out.", seed)
            break
        trained.append(Trained(ready, history, best_value(history, monitor)))
        if interrupts.level >= STOP:
            break
        if after is not None:
            after(trained)
    return best_first(trained, monitor)


def best_first(trained: Sequence[Trained], monitor: Monitor) -> list[Trained]:
    """The networks, the one with the best validation score first."""
    return sorted(trained, key=lambda one: rank(one, monitor), reverse=True)


def monitor_for(ready: Ready, earlier: Monitor) -> Monitor:
    """The monitor of another network, with the best baseline of an earlier one."""
    return replace(
        monitor_of(ready, []), baseline=earlier.baseline, baseline_value=earlier.baseline_value
    )


def best_value(history: History, monitor: Monitor) -> float:
    """The monitored validation metric of the best epoch; NaN without a validation part."""
    values = history.columns.get(f"val_{column_of(monitor.name)}", [])
    return values[history.best_epoch - 1] if values and history.best_epoch else math.nan


def rank(one: Trained, monitor: Monitor) -> tuple[float, float]:
    """Greater is better: by the monitored metric, then by the validation loss, as for epochs."""
    if math.isnan(one.validation):
        return (-math.inf, 0.0)
    losses = one.history.columns.get("val_loss", [])
    loss = losses[one.history.best_epoch - 1] if losses else 0.0
    return (one.validation if monitor.higher_is_better else -one.validation, -loss)


def evaluate_on_test(
    ready: Ready, preparation: Preparation[Any], baselines: FittedBaselines
) -> Evaluation | None:
    """Evaluate once on the test part; None if there is no test part."""
    if ready.test is None:
        log.info("There is no test part, so the model is not evaluated.")
        return None
    task, examples = ready.task, ready.test
    outputs = task.network.predict(ready.network, examples, preparation, ready.experiment)
    predictions = task.postprocess(outputs, examples, preparation, baselines.state)
    network_only = predict_network_only(outputs, examples, task, preparation, ready.experiment)
    evaluation = evaluate(
        predictions,
        examples,
        task,
        preparation,
        ready.experiment,
        baselines=baselines.baselines,
        network_only=network_only,
    )
    extras = task.network.report_extras(ready.network, preparation, ready.experiment)
    return replace(evaluation, details=evaluation.details | extras)


def over_all_seeds(
    evaluation: Evaluation, trained: list[Trained], baselines: FittedBaselines
) -> Evaluation:
    """The evaluation of the first seed, with a verdict on all of them.

    The verdict is about the mean score of a network over seeds, against the same baseline as
    before. Its interval holds both sources of chance: seeds and clusters are resampled together.
    """
    scored = [(evaluation.metrics, evaluation.resampled)]
    scored += [_of_another(one, baselines) for one in trained[1:]]
    name = f"{evaluation.model} (mean of {len(trained)} seeds)"
    settings = trained[0].ready.experiment.evaluation
    drawn = [
        over_seeds([measured[k] for _, measured in scored], name)
        for k in range(len(evaluation.resampled))
    ]
    by_metric = {one.metric: one for one in drawn}
    comparisons = [compared(by_metric[one.metric], one, settings) for one in evaluation.rivals]
    verdict = evaluation.verdict
    return replace(
        evaluation,
        comparisons=comparisons,
        verdict=next(
            one
            for one in comparisons
            if (one["metric"], one["against"]) == (verdict["metric"], verdict["against"])
        ),
        seeds=[
            {
                "seed": one.seed,
                "validation": one.validation,
                "metrics": metrics,
                "epochs": len(one.history.columns["epoch"]),
                "best_epoch": one.history.best_epoch,
                "seconds": one.history.seconds,
            }
            for one, (metrics, _) in zip(trained, scored, strict=True)
        ],
        resampled=[one for _, measured in scored for one in measured],
    )


def _of_another(
    one: Trained, baselines: FittedBaselines
) -> tuple[dict[str, float], list[Resampled]]:
    """The metrics and the measures of another seed on the test part."""
    ready, preparation = one.ready, calibrate(one.ready, baselines)
    task, examples = ready.task, ready.test
    assert examples is not None
    outputs = task.network.predict(ready.network, examples, preparation, ready.experiment)
    predictions = task.postprocess(outputs, examples, preparation, baselines.state)
    name = task.model_name(preparation)
    measures = task.measures(examples, preparation, ready.experiment)
    settings = ready.experiment.evaluation
    return (
        task.metrics(predictions, examples, preparation, ready.experiment),
        [resample(measure, {name: predictions}, settings)[0] for measure in measures],
    )


def summary_of(evaluation: Evaluation) -> dict[str, Any]:
    """The part of metrics.json on seeds: mean, standard deviation and every one of them."""
    each = sorted(evaluation.seeds, key=lambda one: int(one["seed"]))
    return {"saved": evaluation.seeds[0]["seed"]} | spread_of(each)


def spread_of(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation of the metrics of several networks, and every one of them."""
    values = {name: [one["metrics"][name] for one in each] for name in each[0]["metrics"]}
    return {
        "mean": {name: float(np.mean(one)) for name, one in values.items()},
        "deviation": {
            name: float(np.std(one, ddof=1)) if len(each) > 1 else math.nan
            for name, one in values.items()
        },
        "each": list(each),
    }
