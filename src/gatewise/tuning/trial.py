"""One trial of a search: train it, end it early where it is hopeless, and tell the study."""

import gc
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gatewise.errors import ConfigError, DataError, TrainingError
from gatewise.judging.budget import NAME as BUDGET
from gatewise.judging.repeats import Trained, Watch, learn_each, monitor_for
from gatewise.training.checkpoints import Checkpoints
from gatewise.training.fit import Around
from gatewise.training.interrupts import STOP, Interrupts
from gatewise.training.progress import Monitor, Progress
from gatewise.training.ready import Ready, prepared
from gatewise.tuning import networks
from gatewise.tuning.pruning import hopeless
from gatewise.tuning.space import suggested, values_of, with_values
from gatewise.tuning.state import Search
from gatewise.tuning.study import (
    BEGUN,
    BY_EPOCHS,
    BY_SEEDS,
    DEFAULT,
    EACH,
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
OUT_OF_TIME = "the budget has ended"  # why a trial was cut off


def attempt(search: Search, trial: Any, interrupts: Interrupts, watch: Watch | None) -> None:
    """Train one trial, from one seed or from several, and tell the study."""
    state = optuna().trial.TrialState
    study, began = search.study, time.time()
    values = suggested(trial, search.space)
    default = bool(trial.user_attrs.get(DEFAULT))
    ended = ""
    trained: list[Trained] = []
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
        around = Around(interrupts, watcher, kept)
        after = _between_seeds(search, trial, kept)
        trained = learn_each(ready, search.repeats, monitor, around, after=after)
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
    ended = ended or _why_ended(trained, search.repeats, interrupts)
    if (stopped and ended.startswith("stopped by")) or ended == OUT_OF_TIME:
        queue_again(study, trial)
        if ended == OUT_OF_TIME:
            log.info("Trial %d is cut off, because %s.", begun_as(trial), ended)
        return
    trial.set_user_attr(SECONDS, time.time() - began)
    trial.set_user_attr(ENDED, ended)
    if not trained:
        study.tell(trial, state=state.PRUNED)
    else:
        each = _scores(trained)
        value, loss = (float(np.mean(one)) for one in zip(*each, strict=True))
        trial.set_user_attr(EACH, each)
        trial.set_user_attr(VALUE, value)
        trial.set_user_attr(LOSS, loss)
        study.tell(trial, _objective(value, loss, search.monitor))
        _keep(search, trial.number, trained)
    if kept is not None and not ended_by_budget(ended):
        kept.remove()
    _report(search, trial, values, seen, kept)
    gc.collect()


def _scores(trained: Sequence[Trained]) -> list[tuple[float, float]]:
    """The score and the validation loss of each seed, the first seed first."""
    return [
        (one.validation, one.history.columns["val_loss"][one.history.best_epoch - 1])
        for one in sorted(trained, key=lambda one: one.seed)
    ]


def _why_ended(trained: Sequence[Trained], repeats: int, interrupts: Interrupts) -> str:
    """Why a trial ended before its last seed, or its best seed before its last epoch; or ""."""
    best = trained[0].history.stopped
    if len(trained) == repeats or best.startswith("stopped by"):
        return best
    return f"stopped by {interrupts.by} in seed {len(trained) + 1} of {repeats}"


def _keep(search: Search, number: int, trained: list[Trained]) -> None:
    """Keep the networks of the default and of the best trial, which need no training at the end.

    They are kept in files, too, because a search may be killed, or consist of several processes.
    """
    search.kept[number] = trained
    written = networks.kept(search.folder)  # before the study is read, which knows these trials
    best = candidates(search.study, higher=search.monitor.higher_is_better)[:1]
    needed = {one.number for one in (*best, default_trial(search.study)) if one is not None}
    if number in needed:
        by_seed = sorted(trained, key=lambda one: one.seed)
        networks.keep(search.folder, number, [(one.ready.network, one.history) for one in by_seed])
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
        if EACH in trial.user_attrs:  # epochs are compared in the first seed of each trial
            return
        trial.report(progress.best, progress.epoch)
        if default is None and trial.should_prune():
            raise _Cut(BY_EPOCHS)

    return each


def _between_seeds(
    search: Search, trial: Any, kept: Checkpoints
) -> Callable[[Sequence[Trained]], None]:
    """Keep what each seed gave, and end the trial where it is hopeless beside the best one."""

    def judge(trained: Sequence[Trained]) -> None:
        if len(trained) == search.repeats:
            return
        kept.keep_finished()
        each = _scores(trained)
        trial.set_user_attr(EACH, each)
        higher = search.monitor.higher_is_better
        best = candidates(search.study, higher=higher)
        if not best or trial.user_attrs.get(DEFAULT):
            return
        ours, theirs = (
            [_objective(value, loss, search.monitor) for value, loss in scores]
            for scores in (each, best[0].user_attrs.get(EACH, []))
        )
        if hopeless(ours, theirs, higher=higher):
            raise _Cut(BY_SEEDS)

    return judge


def _objective(value: float, loss: float, monitor: Monitor) -> float:
    """The score for the sampler; between equal scores the lower loss is better."""
    if math.isnan(value):
        return value
    small = TIE * loss / (1 + abs(loss))
    return value - small if monitor.higher_is_better else value + small


def _report(
    search: Search,
    trial: Any,
    values: Mapping[str, Any],
    seen: list[Progress],
    kept: Checkpoints | None,
) -> None:
    """Log one line on a trial; epochs and seconds are those of all of its seeds."""
    best = candidates(search.study, higher=search.monitor.higher_is_better)
    attributes = search.study.get_trials(deepcopy=False)[trial.number].user_attrs
    each = attributes.get(EACH, [])
    scores = [value for value, _ in each] or [one.best for one in seen]
    value = float(np.mean(scores)) if scores else math.nan
    score = "none" if math.isnan(value) else f"{value:.4f}"
    if search.repeats > 1:
        count = max(1, len(each))
        score += f" ({count} seed{'s'[: count != 1]})"
    default = default_trial(search.study)
    text = [f"trial {begun_as(trial)}  val {search.monitor.name} {score}"]
    if LOSS in attributes:
        text.append(f"val loss {attributes[LOSS]:.4g}")
    if best:
        text.append(f"best {best[0].user_attrs[VALUE]:.4f} (trial {begun_as(best[0])})")
    if default is not None:
        text.append(f"default {default.user_attrs[VALUE]:.4f}")
    seeds = [] if kept is None else kept.finished
    epochs = sum(len(one.plain["columns"]["epoch"]) for one in seeds)
    epochs = epochs or (seen[-1].epoch if seen else 0)  # no seed was finished
    text.append(f"{epochs} epoch{'s'[: epochs != 1]}, {attributes[SECONDS]:.0f} s")
    if attributes[ENDED] in (BY_EPOCHS, BY_SEEDS):
        text.append(attributes[ENDED])
    varied = {name: one for name, one in values.items() if len(values_of(search.space[name])) != 1}
    told = "the untuned default" if attributes.get(DEFAULT) else _short(varied)
    log.info("%s  %s", "  ".join(text), told)


def _short(values: Mapping[str, Any]) -> str:
    """Values without their sections: `units=64 layers=1`."""

    def text(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value).lower()

    return " ".join(f"{name.partition('.')[2]}={text(value)}" for name, value in values.items())
