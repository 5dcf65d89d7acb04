"""A budget of time for a run: choose the work that fits into it, and end training in time."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gatewise.errors import ConfigError
from gatewise.judging import backtesting, folding, refitting, seeds
from gatewise.settings import QUALITIES, Experiment
from gatewise.training.feed import Feed
from gatewise.training.ready import Ready, compile_network, network_for

log = logging.getLogger("gatewise")

NAME = "the budget"  # in "stopped by the budget"
RESERVE = 0.15  # of the budget: for the evaluation, the report and the files, but at least
EVALUATION = 5.0  # seconds of an otherwise idle core
LIKELY = 0.6  # of the most epochs: patience usually ends training before the last one
BUDGETED = "budgeted"  # in a checkpoint: whether the run chose its work to fit into a budget
CHOSEN = (("split", "folds"), ("training", "networks"), ("training", "refit"))
TIMED_STEPS = 5  # whose median is the time of a step


@dataclass(frozen=True)
class Budget:
    """The time that a run may take, from now on."""

    seconds: float
    began: float = field(default_factory=time.perf_counter)
    processor: float = field(default_factory=time.process_time)  # at that time

    @property
    def for_training(self) -> float:
        """The seconds until training has to end."""
        spent = time.perf_counter() - self.began
        # On a busy machine, everything takes as many times as long as it did so far.
        slower = max(1.0, spent / max(1e-3, time.process_time() - self.processor))
        return self.seconds - max(RESERVE * self.seconds, EVALUATION * slower) - spent


def budget_of(time_given: str | float, **began: float) -> Budget | None:
    """The budget that a length of time such as "5m" stands for; None for ""."""
    seconds = seconds_of(time_given)
    return Budget(seconds, **began) if seconds else None


def seconds_of(budget: str | float) -> float:
    """A budget in seconds: a number with s, m or h, or a bare number of seconds; 0 for "".

    >>> seconds_of("30m"), seconds_of("1.5h"), seconds_of(20)
    (1800.0, 5400.0, 20.0)

    Raises:
        ConfigError: it is not a length of time above 0.
    """
    if budget == "":
        return 0.0
    text = str(budget).strip().lower()
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:], 0.0)
    try:
        seconds = float(text[:-1] if unit else text) * (unit or 1.0)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(
            f"--budget must be a length of time, such as 90s, 30m or 2h. Received: {budget!r}."
        )
    return seconds


def fit_into(budget: Budget, ready: Ready) -> Ready:
    """The experiment with as many folds and networks as fit into the budget; logs the choice.

    The choice is written into `split.folds`, `training.networks` and `training.refit`, so that the
    saved settings repeat the run without a budget.
    """
    compiling, step = _measured(ready)
    held = 0 if ready.validation is None else len(ready.validation) / max(1, len(ready.train))
    # Validation makes two passes without gradients, of about a third of the time each.
    epoch = step * len(_feed(ready)) * (1 + 2 * held / 3)
    one = LIKELY * ready.experiment.training.epochs * epoch
    left = budget.for_training
    for experiment in _variants(ready):
        chosen = replace(ready, experiment=experiment)
        needed = compiling + _trainings(chosen) * one
        if needed <= left:
            break
    fits = f"about {needed:.0f} s" if needed <= left else f"{needed:.0f} s if it were not ended"
    log.info(
        "The budget is %.0f s, and training ends in %.0f s at the latest. An epoch takes about "
        "%.2g s. What fits: %s, %s.",
        budget.seconds,
        max(left, 0.0),
        epoch,
        _in_words(chosen),
        fits,
    )
    return chosen


def chosen(
    budget: Budget | None, ready: Ready, before: Mapping[str, Any] | None
) -> tuple[Ready, dict[str, Any]]:
    """The experiment with the work that fits into a budget, and a note for the checkpoints.

    `before` is what the checkpoints say of the unfinished run that is continued; its choice stays,
    because another one would be another run. What is given now stays too, and is then refused.
    """
    before = before or {}
    note = {BUDGETED: budget is not None or bool(before.get(BUDGETED))}
    if not before:
        return ready if budget is None else fit_into(budget, ready), note
    if before.get(BUDGETED):
        experiment, given = ready.experiment, ready.parts.experiment
        for section, key in CHOSEN:
            default = getattr(getattr(Experiment(), section), key)
            if getattr(getattr(given, section), key) == default:
                experiment = experiment.having(section, **{key: before["settings"][section][key]})
        ready = replace(ready, experiment=experiment)
        log.info("The unfinished run chose to fit into its budget: %s.", _in_words(ready))
    if budget is not None:
        log.info(
            "The budget of %.0f s counts from now, and training ends in %.0f s at the latest.",
            budget.seconds,
            max(budget.for_training, 0.0),
        )
    return ready, note


def _variants(ready: Ready) -> list[Experiment]:
    """The experiments to choose from, from the most to the least work.

    None takes more than the quality that was asked for, and settings that name folds, networks or
    a last training are kept.
    """
    given, asked_for = ready.experiment, ready.parts.experiment
    if asked_for.split.folds or asked_for.training.networks:
        return [given]
    if _networks(ready) > 1:
        fewer = range(_networks(ready), 0, -1)
        several = [given.having("training", networks=count) for count in fewer]
        if given.training.refit != "auto":
            return several
        again = [one.having("training", refit="yes") for one in several]
        return [*again, several[-1].having("training", refit="no")]
    asked = given.training.quality
    if asked == "good" and ready.parts.experiment.training.quality == "auto":
        asked = "best"
    plans = []
    for quality in reversed(QUALITIES[: QUALITIES.index(asked) + 1]):
        experiment = given.having("training", quality=quality)
        plan, _ = folding.plan(replace(ready, experiment=experiment), timed=False)
        if plan is not None:
            plans.append(plan)
    if plans and plans[-1].networks > 1:
        plans.append(replace(plans[-1], networks=1 if plans[-1].folds > 1 else 2))
    several = [
        given.having("split", folds=plan.folds if plan.folds > 1 else 0).having(
            "training", networks=plan.networks
        )
        for plan in plans
    ]
    single = given.having("split", folds=1) if plans else given
    if asked != "fast" and ready.task.seeds:
        single = single.having("training", networks=1)
    if given.training.refit != "auto":
        return [*several, single]
    refits = ("no",) if asked == "fast" else ("yes", "no")
    return [*several, *(single.having("training", refit=refit) for refit in refits)]


def _measured(ready: Ready) -> tuple[float, float]:
    """The seconds to compile, and those of a training step, on a network that is thrown away."""
    shapes = ready.task.shapes(ready.train, ready.preparation)
    network = network_for(shapes, ready.experiment, ready.parts.own)
    if not network.compiled:
        compile_network(network, ready)
    feed = _feed(ready)
    places = np.argsort(feed.plan.lengths, kind="stable")
    batch = feed[int(places[len(places) // 2])]
    seconds = []
    for _ in range(1 + TIMED_STEPS):
        began = time.perf_counter()
        network.train_on_batch(*batch)
        seconds.append(time.perf_counter() - began)
    step = float(np.median(seconds[1:]))
    # Every padded length is compiled.
    return (seconds[0] - step) * len(np.unique(feed.plan.lengths)), step


def _feed(ready: Ready) -> Feed:
    settings = ready.experiment.training
    return Feed(
        ready.train,
        settings.batch_size,
        padded=ready.preparation.padded,
        random=None,
        steps=settings.max_tokens,
    )


def _trainings(ready: Ready) -> float:
    """How many times as long all trainings take as one on the training part."""
    plan, _ = folding.plan(ready)
    if plan is not None:
        return plan.folds * plan.networks
    if backtesting.plan(ready):
        return ready.experiment.split.folds + refitting.longer(ready)
    return _networks(ready) * (1 + refitting.longer(ready))


def _networks(ready: Ready) -> int:
    """The networks of several seeds, whose mean is judged on one test part."""
    return 1 if folding.plan(ready)[0] else seeds.networks_of(ready)


def _in_words(ready: Ready) -> str:
    """What is trained, in a few words."""
    plan, _ = folding.plan(ready)
    if backtesting.plan(ready):
        return f"a backtest in {ready.experiment.split.folds} folds"
    if plan is None:
        count = _networks(ready)
        what = "one network" if count == 1 else f"{count} networks"
        again = (
            ", each trained again on everything" if count > 1 else ", trained again on everything"
        )
        return what + again if refitting.longer(ready) > 0 else what
    if plan.folds == 1:
        return f"{plan.networks} networks"
    return f"{plan.folds} folds of {plan.networks} network{'s'[: plan.networks != 1]}"
