"""One trial of a search: train it, end it early where it is hopeless, and tell the study."""

import gc
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gatewise.errors import ConfigError, DataError, TrainingError
from gatewise.judging.budget import NAME as BUDGET
from gatewise.judging.repeats import Trained, Watch, best_value, learn, monitor_for
from gatewise.training.checkpoints import Checkpoints
from gatewise.training.fit import Around, History, Monitor, Progress
from gatewise.training.interrupts import STOP, Interrupts
from gatewise.training.ready import Ready, prepared
from gatewise.tuning import networks
from gatewise.tuning.space import suggested, with_values
from gatewise.tuning.state import Search
from gatewise.tuning.study import (
    BEGUN,
    DEFAULT,
    ENDED,
    LOSS,
    SECONDS,
    VALUE,
    begun_as,
    candidates,
    default_trial,
    ended_by_budget,
    optuna,
    queue_again,
    report_again,
)
from gatewise.tuning.winner import reserve

log = logging.getLogger("gatewise")

TIE = 1e-4  # the most that the loss adds to a score, so that the sampler sees it between equal ones
PRUNED, OUT_OF_TIME = "pruned", "the budget has ended"  # why a trial ended early


def attempt(search: Search, trial: Any, interrupts: Interrupts, watch: Watch | None) -> None:
    """Train one trial, and tell the study."""
    state = optuna().trial.TrialState
    study, began = search.study, time.time()
    values = suggested(trial, search.space)
    default = bool(trial.user_attrs.get(DEFAULT))
    ended, history = "", None
    seen: list[Progress] = []
    kept: Checkpoints | None = None
    try:
        ready = search.ready if default else _ready_for(search, values)
        monitor = search.monitor if default else monitor_for(ready, search.monitor)
        watcher = _watcher(search, trial, seen, watch, interrupts if default else None)
        resume = BEGUN in trial.user_attrs
        kept = networks.checkpoints(search.folder, begun_as(trial), ready, resume=resume)
        epochs, seconds = networks.spent(kept)
        report_again(study, trial, epochs)
        began -= seconds
        history = learn(ready, monitor, Around(interrupts, watcher, kept))
    except _Cut as cut:
        ended = str(cut)
    except (TrainingError, DataError, ConfigError) as error:
        if default:
            study.tell(trial, state=state.FAIL)
            raise
        log.info("Trial %d failed: %s", begun_as(trial), error)
        trial.set_user_attr(ENDED, str(error))
        study.tell(trial, state=state.FAIL)
        if kept is not None:
            kept.remove()
        return
    # The default that the budget has ended is judged, because there is nothing else.
    stopped = interrupts.level >= STOP and not (default and interrupts.by == BUDGET)
    if (stopped and ended != PRUNED and _unfinished(history)) or ended == OUT_OF_TIME:
        queue_again(study, trial)
        if ended:
            log.info("Trial %d is cut off, because %s.", begun_as(trial), ended)
        return
    trial.set_user_attr(SECONDS, time.time() - began)
    trial.set_user_attr(ENDED, ended or (history.stopped if history else ""))
    if history is None:
        study.tell(trial, state=state.PRUNED)
    else:
        value = best_value(history, monitor)
        loss = history.columns["val_loss"][history.best_epoch - 1]
        trial.set_user_attr(VALUE, value)
        trial.set_user_attr(LOSS, loss)
        study.tell(trial, _objective(value, loss, search.monitor))
        _keep(search, trial.number, Trained(ready, history, value))
    late = history is not None and ended_by_budget(history.stopped)
    if kept is not None and not late:
        kept.remove()
    _report(search, trial, values, seen)
    gc.collect()


def _keep(search: Search, number: int, trained: Trained) -> None:
    """Keep the networks of the default and of the best trial, which need no training at the end.

    They are kept in files, too, because a search may be killed, or consist of several processes.
    """
    search.kept[number] = trained
    written = networks.kept(search.folder)  # before the study is read, which knows these trials
    best = candidates(search.study, higher=search.monitor.higher_is_better)[:1]
    needed = {one.number for one in (*best, default_trial(search.study)) if one is not None}
    if number in needed:
        networks.keep(search.folder, number, trained.ready.network, trained.history)
    networks.discard(search.folder, set(written) - needed)
    for other in search.kept.keys() - needed:
        del search.kept[other]


def _ready_for(search: Search, values: Mapping[str, Any]) -> Ready:
    """The data and the network of a trial.

    Its windows are as far apart as those of the default. Their usual distance depends on how slow
    a network is, and validation has the same windows.

    Raises:
        ConfigError: the settings change what is validated, so that scores cannot be compared.
    """
    parts, stride = search.ready.parts, search.ready.experiment.task.stride
    experiment = with_values(parts.experiment.having("task", stride=stride), values)
    ready = prepared(replace(parts, experiment=experiment), search.ready)
    ours, theirs = (len(one.validation or ()) for one in (ready, search.ready))
    if ours != theirs:
        raise ConfigError(f"it would be validated on {ours:,} examples, the default on {theirs:,}.")
    return ready


class _Cut(Exception):  # noqa: N818 - a decision, not an error
    """Ends the training of a trial; the text is the reason."""


def _watcher(
    search: Search,
    trial: Any,
    seen: list[Progress],
    watch: Watch | None,
    default: Interrupts | None,
) -> Callable[[Progress, bool], None]:
    """Report each epoch to the study, and end the trial where it is hopeless or too late.

    `default` are the requests to the training of the default, which keeps what it has learned.
    """
    latest = search.limits.deadline - max(reserve(search), search.evaluating)

    def each(progress: Progress, epoch_over: bool) -> None:
        if watch is not None:
            watch(progress, epoch_over)
        # An epoch may take longer than what is left, so every step looks at the clock.
        if time.time() > latest:
            if default is None:
                raise _Cut(OUT_OF_TIME)
            default.stop(BUDGET)
        if not epoch_over or not progress.best_epoch:
            return
        seen[:] = [progress]
        trial.report(progress.best, progress.epoch)
        if default is None and trial.should_prune():
            raise _Cut(PRUNED)

    return each


def _unfinished(history: History | None) -> bool:
    return history is None or history.stopped.startswith("stopped by")


def _objective(value: float, loss: float, monitor: Monitor) -> float:
    """The score for the sampler; between equal scores the lower loss is better."""
    if math.isnan(value):
        return value
    small = TIE * loss / (1 + abs(loss))
    return value - small if monitor.higher_is_better else value + small


def _report(search: Search, trial: Any, values: Mapping[str, Any], seen: list[Progress]) -> None:
    """Log one line on a trial."""
    best = candidates(search.study, higher=search.monitor.higher_is_better)
    attributes = search.study.get_trials(deepcopy=False)[trial.number].user_attrs
    value = attributes.get(VALUE, seen[-1].best if seen else math.nan)
    score = "none" if math.isnan(value) else f"{value:.4f}"
    default = default_trial(search.study)
    text = [f"trial {begun_as(trial)}  val {search.monitor.name} {score}"]
    if LOSS in attributes:
        text.append(f"val loss {attributes[LOSS]:.4g}")
    if best:
        text.append(f"best {best[0].user_attrs[VALUE]:.4f} (trial {begun_as(best[0])})")
    if default is not None:
        text.append(f"default {default.user_attrs[VALUE]:.4f}")
    epochs = seen[-1].epoch if seen else 0
    text.append(f"{epochs} epoch{'s'[: epochs != 1]}, {attributes[SECONDS]:.0f} s")
    if attributes.get(ENDED) == PRUNED:
        text.append(PRUNED)
    told = "the untuned default" if attributes.get(DEFAULT) else _short(values)
    log.info("%s  %s", "  ".join(text), told)


def _short(values: Mapping[str, Any]) -> str:
    """Values without their sections: `units=64 layers=1`."""

    def text(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value).lower()

    return " ".join(f"{name.partition('.')[2]}={text(value)}" for name, value in values.items())
