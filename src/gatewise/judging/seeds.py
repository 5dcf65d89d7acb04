"""Networks of several seeds, whose mean forecasts better than one of them.

Such an ensemble (Lakshminarayanan et al. 2017) needs no other split: all networks have the same
training and validation part, so it suits series, whose latest steps are validated and tested, and
sets that are large enough for one test part, or whose parts are files.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras

from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Sequences
from gatewise.errors import ConfigError
from gatewise.judging.evaluation import Evaluation
from gatewise.judging.folding import FASTER, seconds, why_alone
from gatewise.judging.refitting import caveat, expected, longer, refit
from gatewise.judging.repeats import evaluate_on_test, monitor_for
from gatewise.judging.validation import FittedBaselines, calibrate
from gatewise.judging.workshop import Workshop, naming
from gatewise.networks.ensemble import mean_of
from gatewise.tasks import cost
from gatewise.training.fit import Around
from gatewise.training.interrupts import STOP
from gatewise.training.progress import History
from gatewise.training.ready import Ready


@dataclass(frozen=True)
class Seeds:
    """The finished networks, each with its history, and their mean as one model."""

    members: list[Ready]
    histories: list[History]
    ready: Ready  # with the mean as its network
    history: History  # of the first network; the seconds are those of all
    baselines: FittedBaselines
    compiled: Callable[[Ready], keras.Model] | None  # as `refit` takes it

    def calibrated(self) -> Preparation[Any]:
        """As of `protocol.Judged`."""
        return calibrate(self.ready, self.baselines)

    def evaluate(self, preparation: Preparation[Any]) -> Evaluation | None:
        """As of `protocol.Judged`."""
        return evaluate_on_test(self.ready, preparation, self.baselines)

    def refit(self, around: Around) -> tuple[Sequences | None, list[str]]:
        """As of `protocol.Judged`; all stay as judged if one of them was not trained again."""
        judged = [one.network.get_weights() for one in self.members]
        seen = None
        pairs = zip(self.members, self.histories, strict=True)
        for number, (ready, history) in enumerate(pairs, start=1):
            before = history.seconds
            named = naming(around, f"network {number} of {len(self.members)}")
            seen = refit(ready, history, named, self.compiled)
            self.history.seconds += history.seconds - before
            if seen is None:
                for one, weights in zip(self.members, judged, strict=True):
                    one.network.set_weights(weights)
                return None, []
        self.history.refit_epochs = self.histories[0].refit_epochs
        assert seen is not None
        return seen, [caveat(self.ready, seen, [one.refit_epochs for one in self.histories])]


def plan(ready: Ready) -> str:
    """What will be trained, for the user to read before it starts; "" if it is one network.

    Raises:
        ConfigError: training.networks is set, but one network is all that can be trained.
    """
    count = networks_of(ready)
    if count < 2:
        return ""
    again = " Each is then trained again on everything." if longer(ready) else ""
    faster = "" if ready.parts.experiment.training.networks else FASTER
    return (
        f"{count} networks are trained from different seeds, and their mean is judged.{again}"
        f"{faster}"
    )


def networks_of(ready: Ready) -> int:
    """The number of networks, by the settings or else by the time of the quality.

    Raises:
        ConfigError: as of `plan`.
    """
    task, experiment = ready.task, ready.experiment
    training = experiment.training
    if not task.seeds:
        return 1
    if reason := why_alone(experiment):
        if ready.parts.experiment.training.networks > 1:
            raise ConfigError(f"training.networks cannot be used, because {reason}. Leave it out.")
        return 1
    if training.networks:
        return training.networks
    return cost.networks(training.quality, seconds(ready) * (2 if longer(ready) else 1))


def train(first: Ready, baselines: FittedBaselines, around: Around) -> Seeds:
    """Train `networks_of` networks, whose seeds begin with training.seed.

    A network that a signal cut short counts only if it is the first.
    """
    count = networks_of(first)
    first = replace(first, experiment=first.experiment.having("training", networks=count))
    task, experiment = first.task, first.experiment
    shapes = task.shapes(first.train, first.preparation)
    # A network that was compiled for one number of steps serves another one only then.
    steady = experiment.training.schedule == "constant" and not experiment.training.warmup

    def later(history: History) -> float:
        return expected(first, history, compiling=not steady)

    workshop = Workshop(first, around, folds=1, networks=count, later=later)
    members: list[Ready] = []
    for number in range(count):
        seed = experiment.training.seed + number
        ready = replace(first, experiment=experiment.having("training", seed=seed))
        ready = replace(ready, network=workshop.network(ready, shapes))
        workshop.trained(ready, monitor_for(ready, baselines.monitor))
        if workshop.cut_short and members:
            break
        members.append(replace(ready, network=workshop.copy(ready.network, shapes)))
        if workshop.interrupts.level >= STOP:
            break
    histories = workshop.histories[: len(members)]
    mean = mean_of([one.network for one in members], shapes)
    history = replace(workshop.history, networks=len(members))
    compiled = (lambda ready: workshop.network(ready, shapes)) if steady else None
    return Seeds(members, histories, replace(first, network=mean), history, baselines, compiled)
