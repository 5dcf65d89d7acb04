"""fit(): train one network and return its History; an interrupt keeps the trained weights."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from gatewise.data.batches import Examples
from gatewise.errors import TrainingError
from gatewise.networks.losses import PLAIN
from gatewise.settings import TrainingSettings
from gatewise.training.averaging import Averaging, first_epoch
from gatewise.training.checkpoints import (
    Checkpointer,
    Checkpoints,
    State,
    Stateful,
    of_keeper,
    restore_variables,
)
from gatewise.training.feed import Feed, as_data
from gatewise.training.interrupts import SKIP, STOP, Interrupts, Skipped
from gatewise.training.optimizers import rate_of
from gatewise.training.phases import Phase
from gatewise.training.progress import History, Monitor, Progress, column_of

# A loss of this many times the loss of the first epoch ends training. Scaled values keep the loss
# near 1 and clipping keeps spikes short, so this is not a spike, and more epochs would be wasted.
DIVERGENCE = 1e6


@dataclass(frozen=True)
class Around:
    """What surrounds a training: what may stop it, what watches it, and what keeps its state."""

    interrupts: Interrupts = field(default_factory=Interrupts)
    watch: Callable[[Progress, bool], None] | None = None  # after every step and every epoch
    checkpoints: Checkpoints | None = None


def fit(
    network: keras.Model,
    train: Examples[Any],
    valid: Examples[Any] | None,
    settings: TrainingSettings,
    *,
    padded: bool,
    monitor: Monitor,
    around: Around | None = None,
) -> History:
    """Train a compiled network, and leave it with the weights of its best epoch by `monitor`.

    Between epochs with the same metric, the lower validation loss decides.
    A request to stop ends training after the next step, as if patience had run out. Training
    continues from the state that the checkpoints hold, if any.

    Raises:
        TrainingError: the loss is not a number, or a million times the loss of the first epoch.
    """
    around = around or Around()
    random = np.random.default_rng(settings.seed)
    size, most = settings.batch_size, settings.max_tokens
    train_feed = Feed(train, size, padded=padded, random=random, steps=most)
    valid_feed = None
    if valid is not None:
        valid_feed = Feed(valid, size, padded=padded, random=None, steps=most)
    averaging = Averaging(network, settings.averaging, settings.epochs)
    # Patience must not run out before the vectors are trained, too, and before SWA begins.
    begun = max(settings.frozen_epochs, first_epoch(settings.averaging, settings.epochs) - 1)
    tracker = _Tracker(
        network,
        Progress(settings.epochs, len(train_feed), monitor),
        None if valid_feed is None else _Best(monitor, settings.patience, begun),
        around.interrupts,
        around.watch,
    )
    checkpoints = around.checkpoints
    resumed = None if checkpoints is None else checkpoints.in_training
    if resumed is not None:
        tracker.restore(of_keeper(resumed, "tracker"))
        averaging.restore(of_keeper(resumed, "averaging"))
    losses = [abs(loss) for loss in tracker.columns.get("loss", [])]
    diverged = keras.callbacks.LambdaCallback(on_epoch_end=_divergence_check(losses))
    callbacks: list[Any] = [averaging, tracker, averaging.back, diverged]
    keepers: dict[str, Stateful] = {"tracker": tracker, "feed": train_feed, "averaging": averaging}
    if train.ordered:
        callbacks.append(ResetStates())
    if valid_feed is not None and settings.schedule == "plateau":
        plateau = _Plateau(factor=0.3, patience=max(1, settings.patience // 3))
        callbacks.append(plateau)
        keepers["plateau"] = plateau
    if checkpoints is not None:
        stopped = tracker.is_stopped
        callbacks.append(Checkpointer(network, checkpoints, keepers, settings.epochs, stopped))
    try:
        if resumed is not None and resumed.plain["over"]:
            restore_variables(network, resumed, ("network", "optimizer"))
            averaging.on_train_end()
            tracker.on_train_end()
            return tracker.history()
        if resumed is not None and keras.backend.backend() == "tensorflow":
            # On TensorFlow, Keras makes the variables of the metrics in the first step.
            network._symbolic_build(data_batch=train_feed[0])
        network.fit(
            as_data(train_feed, shuffle=not train.ordered),
            validation_data=None if valid_feed is None else as_data(valid_feed, shuffle=False),
            initial_epoch=0 if resumed is None else resumed.plain["epoch"],
            epochs=settings.epochs,
            callbacks=callbacks,
            verbose=0,
            shuffle=not train.ordered,  # otherwise Keras shuffles the order of the batches
        )
    finally:
        tracker.compiling.end()
    # The very last step may break the weights, and no later loss would show it.
    if not all(np.isfinite(weight).all() for weight in network.get_weights()):
        raise TrainingError(_not_a_number(settings.epochs))
    return tracker.history()


@dataclass
class _Best:
    """The best epoch so far, its weights, and the number of epochs since."""

    monitor: Monitor
    patience: int  # 0: unlimited
    begun: int  # epochs in which patience does not run out
    epoch: int = 0
    rank: tuple[float, float] = (-math.inf, -math.inf)
    weights: list[Any] = field(default_factory=list)  # NumPy's, because JAX's would be donated
    waited: int = 0

    def offer(self, epoch: int, value: float, loss: float, network: keras.Model) -> None:
        """Keep the weights of this epoch if it is the best one."""
        if math.isnan(value):
            signed = -math.inf  # so that the loss decides
        else:
            signed = value if self.monitor.higher_is_better else -value
        self.waited += 1
        if epoch <= self.begun:
            self.waited = 0
        if not self.epoch or (signed, -loss) > self.rank:
            self.epoch, self.rank, self.waited = epoch, (signed, -loss), 0
            self.weights = network.get_weights()

    @property
    def exhausted(self) -> bool:
        """True once patience has run out."""
        return 0 < self.patience <= self.waited


class _Tracker(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is untyped
    """Records the history and the best weights, reports progress, and ends training early.

    On JAX, Keras writes the weights back to the model whenever a callback reads `self.model`. That
    breaks a step that is running in another thread or below a signal handler. Therefore the
    callback holds the network itself, and reads its weights only at the end of an epoch.
    """

    # Otherwise Keras waits for the loss of every batch before it starts the next one, which costs
    # small networks a tenth of their time (docs/log.md). `on_train_batch_end` needs no loss. Its
    # calls may come late, in any order and from several threads, so it only counts steps.
    async_safe = True

    def __init__(
        self,
        network: keras.Model,
        progress: Progress,
        best: _Best | None,
        interrupts: Interrupts,
        watch: Callable[[Progress, bool], None] | None,
    ) -> None:
        super().__init__()
        self.network, self.progress, self.best = network, progress, best
        self.interrupts, self.watch = interrupts, watch
        self.columns: dict[str, list[float]] = {}
        self.validated = True  # False if a signal cut the validation of this epoch short
        self.counting = threading.Lock()
        self.compiling = Phase("Compiling")
        self.began = self.first_epoch_over = self.epoch_began = time.perf_counter()
        self.epoch_seconds = 0.0  # of this epoch, before the checkpoint
        self.steps_over: list[float] = []  # when each step of the first epoch ended
        self.valid_batches = 0  # batches of the validation part

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.progress.epoch, self.progress.step = epoch + 1, 0
        self.epoch_began, self.validated = time.perf_counter() - self.epoch_seconds, True
        self.epoch_seconds = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.interrupts.check()
        if self.interrupts.level >= STOP:
            self.interrupts.announce()
            self.network.stop_training = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.compiling.end()
        with self.counting:
            self.progress.step += 1
            if self.progress.epoch == 1:
                self.steps_over.append(time.perf_counter())
            if self.watch is not None:
                self.watch(self.progress, False)

    def on_test_begin(self, logs: Any = None) -> None:
        self.valid_batches = 0

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.valid_batches += 1
        if self.interrupts.level >= SKIP:
            self.interrupts.announce()
            self.network.stop_evaluating = True
            self.validated = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = {name: float(value) for name, value in (logs or {}).items()}
        if not (math.isfinite(logs["loss"]) and math.isfinite(logs.get("val_loss", 0.0))):
            raise TrainingError(_not_a_number(epoch + 1))
        value = self._value(logs)
        now = time.perf_counter()
        row = {"epoch": epoch + 1.0} | logs
        row["learning_rate"] = rate_of(self.network.optimizer)
        row["seconds"] = now - self.epoch_began
        for name, number in row.items():
            self.columns.setdefault(name, []).append(number)
        if self.best is not None and self.validated:
            self.best.offer(epoch + 1, value, logs["val_loss"], self.network)
        self._advance(logs["loss"], value, now)
        if self.interrupts.level >= STOP or (self.best is not None and self.best.exhausted):
            self.interrupts.announce()
            self.network.stop_training = True

    def _value(self, logs: dict[str, float]) -> float:
        """The monitored metric, which is also added to the logs; NaN without validation."""
        monitor, column = self.progress.monitor, column_of(self.progress.monitor.name)
        if monitor.score is None:
            logs[column] = monitor.from_loss(logs.get(PLAIN, logs["loss"]))
        if "val_loss" not in logs:
            return math.nan
        loss = logs.get(f"val_{PLAIN}", logs["val_loss"])
        try:
            value = monitor.score() if monitor.score else monitor.from_loss(loss)
        except Skipped:
            self.validated, value = False, math.nan
        logs[f"val_{column}"] = value
        if not self.validated:
            # Scores of an incomplete validation cannot be compared with those of a complete one.
            logs |= {name: math.nan for name in logs if name.startswith("val_")}
        return logs[f"val_{column}"]

    def _advance(self, loss: float, value: float, now: float) -> None:
        progress = self.progress
        progress.loss, progress.value = loss, value
        progress.stopping = self.interrupts.level >= STOP
        if self.best is not None and self.best.epoch == progress.epoch:
            progress.best, progress.best_epoch = value, progress.epoch
        if progress.epoch > 1:
            seconds = (now - self.first_epoch_over) / (progress.epoch - 1)
        else:
            # The first epoch compiles a step for each shape of a batch, so the median step counts.
            # Validation makes two passes, for the loss and for the metric, and a validation step
            # takes no longer than a training step.
            self.first_epoch_over = now
            between = np.diff(np.sort(self.steps_over))
            step = float(np.median(between)) if len(between) else math.nan
            seconds = step * (progress.steps + 2 * self.valid_batches)
        progress.seconds_left = seconds * (progress.epochs - progress.epoch)
        if self.watch is not None:
            self.watch(progress, True)

    def on_train_end(self, logs: Any = None) -> None:
        if self.best is not None and self.best.weights:
            self.network.set_weights(self.best.weights)

    def is_stopped(self) -> bool:
        """Whether a signal cut this epoch short."""
        return self.interrupts.level >= STOP

    def state(self) -> State:
        """The history, the best epoch and its weights, and the time spent."""
        now, plain = time.perf_counter(), {"columns": self.columns}
        done = len(self.columns.get("epoch", [])) == self.progress.epoch  # else within the epoch
        times = {"seconds": now - self.began, "epoch": 0.0 if done else now - self.epoch_began}
        if self.best is None:
            return State(plain | times, {})
        best = {"epoch": self.best.epoch, "rank": self.best.rank, "waited": self.best.waited}
        arrays = {str(k): weights for k, weights in enumerate(self.best.weights)}
        return State(plain | times | {"best": best, "value": self.progress.best}, arrays)

    def restore(self, state: State) -> None:
        """Continue the history, and go on looking for a better epoch."""
        plain, now = state.plain, time.perf_counter()
        self.columns = {name: list(numbers) for name, numbers in plain["columns"].items()}
        self.began, self.epoch_seconds = now - plain["seconds"], plain["epoch"]
        spent = self.columns.get("seconds", [])
        self.first_epoch_over = now - sum(spent[1:]) - (plain["epoch"] if spent else 0.0)
        if self.best is not None:
            best = plain["best"]
            self.best.epoch, self.best.rank = best["epoch"], tuple(best["rank"])
            self.best.waited = best["waited"]
            self.best.weights = [state.arrays[str(k)] for k in range(len(state.arrays))]
            self.progress.best, self.progress.best_epoch = plain["value"], best["epoch"]

    def history(self) -> History:
        """The metrics of each epoch, and why training ended."""
        done = len(self.columns.get("epoch", []))
        seconds = time.perf_counter() - self.began
        history = History(dict(self.columns), best_epoch=done, seconds=seconds)
        if self.best is not None and self.best.epoch:
            history.best_epoch = self.best.epoch
        if self.interrupts.level:
            history.stopped = f"stopped by {self.interrupts.by} in epoch {done}"
        elif self.best is not None and self.best.exhausted and done < self.progress.epochs:
            metric, waited = self.best.monitor.name, self.best.patience
            history.stopped = f"no better validation {metric} for {waited} epochs"
        return history


class _Plateau(keras.callbacks.ReduceLROnPlateau):  # type: ignore[misc]  # Keras is untyped
    """Keras's callback, whose state a checkpoint keeps; the rate itself is the optimizer's."""

    def state(self) -> State:
        """The best loss so far, and the epochs since."""
        return State({"best": self.best, "wait": self.wait, "cooldown": self.cooldown_counter}, {})

    def restore(self, state: State) -> None:
        """Continue to wait for a better loss."""
        self.best, self.wait = state.plain["best"], state.plain["wait"]
        self.cooldown_counter = state.plain["cooldown"]


class ResetStates(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is untyped
    """Resets the states of the layers before every pass over a text."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._reset()

    def on_test_begin(self, logs: Any = None) -> None:
        self._reset()

    def _reset(self) -> None:
        reset_states(self.model)


def reset_states(network: keras.Model) -> None:
    """Begin the states that layers keep from batch to batch at zero."""
    for layer in network._flatten_layers():
        if hasattr(layer, "reset_state"):
            layer.reset_state()


def _not_a_number(epoch: int) -> str:
    return f"The loss is not a number in epoch {epoch}. {LIKELY_CAUSES}"


LIKELY_CAUSES = (
    "Likely causes: a learning rate that is too high (lower training.learning_rate), no gradient "
    "clipping (set training.clipnorm = 1), an unbounded activation "
    "(network.activation = tanh), or values of very different size (preparation.scale = standard). "
    "Nothing was saved."
)


def _divergence_check(
    earlier: Sequence[float] = (),
) -> Callable[[int, dict[str, float]], None]:
    """A callback for the end of an epoch that raises once the loss diverges.

    `earlier` are the absolute losses of the epochs before.
    """
    first = list(earlier)

    def check(epoch: int, logs: dict[str, float]) -> None:
        loss = float(logs["loss"])
        first.append(abs(loss))
        # A first loss near 0 says nothing about the size of the losses that follow.
        most = DIVERGENCE * max(first[0], 1 / DIVERGENCE)
        if loss > most:
            raise TrainingError(
                f"The loss diverges: {loss:.3g} in epoch {epoch + 1}, after {first[0]:.3g} in the "
                f"first. Training ends above {DIVERGENCE:,.0f} times the first. {LIKELY_CAUSES}"
            )

    return check
