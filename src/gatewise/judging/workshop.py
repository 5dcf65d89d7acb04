"""Train networks of one shape again and again, and compile each shape only once."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import keras
import numpy as np

from gatewise.baselines.custom import Custom
from gatewise.data.batches import Shapes
from gatewise.data.sequences import Array
from gatewise.judging.repeats import learn
from gatewise.training.feed import build_metrics
from gatewise.training.fit import Around
from gatewise.training.interrupts import STOP
from gatewise.training.progress import History, Monitor, Progress, column_of
from gatewise.training.ready import Ready, compile_network, network_for, restart

log = logging.getLogger("gatewise")


def naming(around: Around, name: str) -> Around:
    """`around` a training whose progress tells which of several networks it is."""

    def watch(progress: Progress, epoch_over: bool) -> None:
        progress.network = name
        if around.watch is not None:
            around.watch(progress, epoch_over)

    return replace(around, watch=watch)


class Workshop:
    """The networks of a run in several, the time that they take, and what signals do to them."""

    def __init__(
        self,
        first: Ready,
        around: Around,
        *,
        folds: int,
        networks: int,
        custom: Sequence[Custom] = (),
        later: Callable[[History], float] = lambda _history: 0.0,
    ) -> None:
        self.first, self.around, self.interrupts = first, around, around.interrupts
        self.custom, self.later = custom, later
        self.folds, self.networks, self.count = folds, networks, folds * networks
        self.baseline_seconds = 0.0
        self.histories: list[History] = []
        self.compiled: dict[str, tuple[keras.Model, list[Array]]] = {}

    @property
    def number(self) -> int:
        """The number of the network in training, from 1 on."""
        return len(self.histories) + 1

    @property
    def cut_short(self) -> bool:
        """Whether a signal ended the training of the latest network."""
        return self.histories[-1].stopped.startswith("stopped by")

    @property
    def history(self) -> History:
        """The training of the first network, with the seconds of all, and what ended them."""
        history, interrupts = self.histories[0], self.interrupts
        stopped = history.stopped
        if interrupts.level >= STOP:
            number = len(self.histories)
            stopped = f"stopped by {interrupts.by} in network {number} of {self.count}"
        seconds = sum(one.seconds for one in self.histories)
        return replace(history, stopped=stopped, seconds=seconds)

    def trained(self, ready: Ready, monitor: Monitor) -> None:
        """Fit the network of `ready`, and log its best epoch and the time that is left."""
        name = f"network {self.number} of {self.count}"
        history = learn(ready, monitor, naming(self.around, name))
        self.histories.append(history)
        parts = [name]
        if history.best_epoch:
            # Without a validation part, the monitor is the loss of the training part.
            on = "" if ready.validation is None else "val "
            value = history.columns[column_of(on + monitor.name)][history.best_epoch - 1]
            parts.append(f"{on}{monitor.name} {value:.4f} (epoch {history.best_epoch})")
        if self.interrupts.level < STOP and self.number <= self.count:
            parts.append(f"about {_duration(self._left())} left")
        log.info("%s", "  ".join(parts))

    def _left(self) -> float:
        """Seconds for what is left, by the time of the networks that are trained.

        `later` gives those of the last training of a network on everything.
        """
        spent = 0.0
        for history in self.histories:
            # The first epoch of a network also compiles, which the next networks need not.
            first, *others = history.columns["seconds"]
            spent += sum(others) + (float(np.median(others)) if others else first)
        each = (spent + self.baseline_seconds) / len(self.histories)
        again = self.count * float(np.mean([self.later(history) for history in self.histories]))
        return each * (self.count - len(self.histories)) + again

    def network(self, ready: Ready, shapes: Shapes, *, steps: int = 0) -> keras.Model:
        """A compiled network with new weights and an optimizer at its first step.

        Networks whose schedules end after different `steps` are compiled for themselves.
        """
        # First weights are not a reason to compile again: each network has its own.
        key = repr((replace(shapes, initial={}), steps))
        if key not in self.compiled:
            network = network_for(shapes, ready.experiment)
            compile_network(network, ready)
            network.optimizer.build(network.trainable_variables)
            build_metrics(network, ready.train, padded=ready.preparation.padded)
            start = [np.array(one) for one in network.optimizer.variables]
            self.compiled[key] = network, start
        network, start = self.compiled[key]
        restart(network, network_for(shapes, ready.experiment))
        for variable, value in zip(network.optimizer.variables, start, strict=True):
            variable.assign(value)
        return network

    def copy(self, network: keras.Model, shapes: Shapes) -> keras.Model:
        """A second network with the same weights."""
        copied = network_for(shapes, self.first.experiment)
        copied.set_weights(network.get_weights())
        return copied


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
