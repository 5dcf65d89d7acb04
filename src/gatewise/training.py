"""fit(): one network, one History; interrupted or not, what was learned is kept."""

import contextlib
import functools
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from gatewise.data.batches import Examples, plan
from gatewise.errors import ConfigError, TrainingError
from gatewise.experiment import TrainingSettings
from gatewise.networks.outputs import as_keras

log = logging.getLogger("gatewise")

# Times the first epoch's loss. Scaled values keep a loss near 1, and clipping keeps a spike short:
# this is no spike, and more epochs would be lost on it.
DIVERGED = 1e6

PERPLEXITY = "perplexity"  # e to the loss, where a task watches it
MOST_NATS = 700.0  # of more, e to it is no number


@dataclass
class Progress:
    """Where training stands; given to `watch` after each step and each epoch."""

    epochs: int
    steps: int
    metric: str
    higher_is_better: bool
    baseline: str = ""
    baseline_value: float = math.nan
    epoch: int = 0
    step: int = 0
    loss: float = math.nan
    value: float = math.nan
    best: float = math.nan
    seconds_left: float = math.nan

    def line(self) -> str:
        """Loss, validation metric, best so far, distance to the baseline, time left."""
        said = [f"epoch {self.epoch}/{self.epochs}", f"loss {self.loss:.4f}"]
        if not math.isnan(self.value):
            said += [f"val {self.metric} {self.value:.4f}", f"best {self.best:.4f}"]
        if self.baseline and not math.isnan(self.value):
            ahead = self.value - self.baseline_value
            said.append(f"{ahead:+.4f} to {self.baseline}")
        return "  ".join([*said, f"{_clock(self.seconds_left)} left"])


@dataclass
class History:
    """What each epoch brought, and how training ended."""

    columns: dict[str, list[float]] = field(default_factory=dict)  # epoch, loss, val_loss, ...
    best_epoch: int = 0
    stopped: str = ""  # why before the last epoch, or ""
    seconds: float = 0.0


class Feed(keras.utils.PyDataset):  # type: ignore[misc]  # Keras is untyped
    """Examples as Keras wants them: batch b of an epoch, cut and padded when it is asked for."""

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        *,
        padded: bool,
        random: np.random.Generator | None,
        steps: int = 0,
    ) -> None:
        super().__init__()
        self.examples = examples
        self.random = None if examples.ordered else random
        self.deal = functools.partial(
            plan, examples.lengths, batch_size, padded=padded, random=self.random, steps=steps
        )
        self.plan = self.deal()

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, b: int) -> tuple[Any, ...]:
        which, length = self.plan[b]
        wanted = self.examples.targets(which, length)
        inputs = as_keras(self.examples.inputs(which, length))
        if self.examples.weights is None:
            return inputs, wanted
        return inputs, wanted, self.examples.weights[which].astype(np.float32)

    def on_epoch_end(self) -> None:
        """Deal the next epoch's batches."""
        if self.examples.renew is not None:
            self.examples.renew()
        if self.random is not None:
            self.plan = self.deal()


def steps_of(train: Examples, settings: TrainingSettings, *, padded: bool) -> int:
    """Steps of the optimizer in an epoch."""
    size, most = settings.batch_size, settings.tokens
    return len(plan(train.lengths, size, padded=padded, steps=most))


def fit(
    network: keras.Model,
    train: Examples,
    valid: Examples | None,
    settings: TrainingSettings,
    *,
    padded: bool,
    progress: Progress,
    watch: Callable[[Progress, bool], None] | None = None,
) -> History:
    """Train a compiled network; the best weights by validation loss are the ones it ends with.

    `watch(progress, epoch_over)` is called after every step and every epoch. The first Ctrl-C ends
    training after the step at hand, as if it had run out of patience.

    Raises:
        TrainingError: the loss is not a number, or a million times that of the first epoch.
    """
    random = np.random.default_rng(settings.seed)
    size, most = settings.batch_size, settings.tokens
    feed = Feed(train, size, padded=padded, random=random, steps=most)
    checks = None
    if valid is not None:
        checks = Feed(valid, size, padded=padded, random=None, steps=most)
    progress.steps, progress.epochs = len(feed), settings.epochs
    follower = _Follower(progress, watch)
    watcher = keras.callbacks.LambdaCallback(on_epoch_end=_until_diverged())
    callbacks: list[Any] = [follower, watcher]
    patience = settings.patience if settings.patience >= 0 else max(3, settings.epochs // 6)
    if train.ordered:
        callbacks.append(_Afresh())
    keeper = None
    if checks is not None:
        keeper = keras.callbacks.EarlyStopping(
            monitor="val_loss", patience=patience or settings.epochs, restore_best_weights=True
        )
        callbacks.append(keeper)
        if settings.schedule == "plateau":
            callbacks.append(
                keras.callbacks.ReduceLROnPlateau(factor=0.3, patience=max(1, patience // 3))
            )
    began = time.perf_counter()
    with one_interrupt(lambda: _stop(follower)):
        network.fit(
            feed,
            validation_data=checks,
            epochs=settings.epochs,
            callbacks=callbacks,
            verbose=0,
            shuffle=not train.ordered,  # else Keras asks for the batches in an order of its own
        )
    # The last step of all may break what no later loss could tell.
    if not all(np.isfinite(weight).all() for weight in network.get_weights()):
        raise TrainingError(_not_a_number(settings.epochs))
    return _history(follower, keeper, patience, time.perf_counter() - began)


def _history(follower: "_Follower", keeper: Any, patience: int, seconds: float) -> History:
    done = len(follower.columns.get("epoch", []))
    history = History(dict(follower.columns), best_epoch=done, seconds=seconds)
    values = follower.columns.get("val_loss", [])
    if values:
        history.best_epoch = int(np.argmin(values)) + 1
    if follower.interrupted:
        history.stopped = f"stopped by Ctrl-C in epoch {done}"
    elif keeper is not None and keeper.stopped_epoch:
        history.stopped = f"no better validation loss for {patience} epochs"
    return history


class _Follower(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is untyped
    """Keeps the history, reports progress, and stops at a loss that is not a number."""

    # Keras would else wait for the loss of every batch before it deals the next one, which costs
    # small networks a tenth of their time (docs/log.md). What happens at a batch's end needs no
    # loss, and may come late, in any order and from several threads: so steps are counted.
    async_safe = True

    def __init__(self, progress: Progress, watch: Callable[[Progress, bool], None] | None) -> None:
        super().__init__()
        self.progress, self.watch = progress, watch
        self.columns: dict[str, list[float]] = {}
        self.interrupted = False
        self.counting = threading.Lock()
        self.began = self.epoch_began = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.progress.epoch, self.progress.step = epoch + 1, 0
        self.epoch_began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.interrupted:
            self.model.stop_training = True
        with self.counting:
            self.progress.step += 1
            if self.watch is not None:
                self.watch(self.progress, False)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.interrupted:
            self.model.stop_training = True
        logs = {name: float(value) for name, value in (logs or {}).items()}
        if self.progress.metric == PERPLEXITY:
            # What the loss says already is not computed a second time, over a whole vocabulary.
            losses = {name: logs[name] for name in ("loss", "val_loss") if name in logs}
            logs |= {
                name.replace("loss", PERPLEXITY): math.exp(min(value, MOST_NATS))
                for name, value in losses.items()
            }
        if not (math.isfinite(logs["loss"]) and math.isfinite(logs.get("val_loss", 0.0))):
            raise TrainingError(_not_a_number(epoch + 1))
        now = time.perf_counter()
        row = {"epoch": epoch + 1.0} | logs
        row["learning_rate"] = _rate(self.model.optimizer)
        row["seconds"] = now - self.epoch_began
        for name, value in row.items():
            self.columns.setdefault(name, []).append(value)
        self._advance(logs, (now - self.began) / (epoch + 1))

    def _advance(self, logs: dict[str, float], seconds_an_epoch: float) -> None:
        progress = self.progress
        progress.loss = logs["loss"]
        progress.value = logs.get(f"val_{progress.metric}", math.nan)
        better = max if progress.higher_is_better else min
        known = [one for one in (progress.best, progress.value) if not math.isnan(one)]
        progress.best = better(known) if known else math.nan
        progress.seconds_left = seconds_an_epoch * (progress.epochs - progress.epoch)
        if self.watch is not None:
            self.watch(progress, True)


class _Afresh(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is untyped
    """Every pass over a text begins without knowledge of what the layers read before it."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._forget()

    def on_test_begin(self, logs: Any = None) -> None:
        self._forget()

    def _forget(self) -> None:
        for layer in self.model._flatten_layers():
            if hasattr(layer, "reset_state"):
                layer.reset_state()


def _not_a_number(epoch: int) -> str:
    return f"The loss is not a number in epoch {epoch}. {LIKELY_CAUSES}"


LIKELY_CAUSES = (
    "Likely causes: a learning rate that is too high (set training.learning_rate lower), no "
    "gradient clipping (set training.clip_norm = 1), an activation without bound "
    "(network.activation = tanh), or values of very different size (preparation.scale = standard). "
    "Nothing was saved."
)


def _until_diverged() -> Callable[[int, dict[str, float]], None]:
    """What an epoch's end is asked: whether the loss is still of the size that it began with."""
    first: list[float] = []

    def look(epoch: int, logs: dict[str, float]) -> None:
        loss = float(logs["loss"])
        first.append(abs(loss))
        # A first loss of almost nothing says nothing about the size of those that follow.
        most = DIVERGED * max(first[0], 1 / DIVERGED)
        if loss > most:
            raise TrainingError(
                f"The loss diverges: {loss:.3g} in epoch {epoch + 1}, after {first[0]:.3g} in the "
                f"first; training ends where it is {DIVERGED:,.0f} times that. {LIKELY_CAUSES}"
            )

    return look


def _stop(follower: _Follower) -> None:
    follower.interrupted = True
    if follower.model is not None:
        follower.model.stop_training = True
    log.info("Stopping after this step; what was learned is judged and kept.")


@contextlib.contextmanager
def one_interrupt(act: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C calls `act`; the next one does what it would have done without this."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def note(*_: Any) -> None:
        signal.signal(signal.SIGINT, before)
        act()

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def optimizer(settings: TrainingSettings, steps: int) -> keras.optimizers.Optimizer:
    """The Keras optimizer that the settings name, with its schedule over all `steps` of training.

    Raises:
        ConfigError: Keras has no such optimizer, or it takes no such option.
    """
    options: dict[str, Any] = dict(settings.optimizer_options)
    clips = {"clipnorm", "clipvalue", "global_clipnorm"}  # Keras takes one of them
    if not clips & options.keys():
        if settings.clip_value:
            options["clipvalue"] = settings.clip_value
        elif settings.clip_norm:
            options["clipnorm"] = settings.clip_norm
    config = {"class_name": settings.optimizer, "config": options}
    try:
        plain = keras.optimizers.deserialize(config)
        if not isinstance(plain, keras.optimizers.Optimizer):
            raise ValueError("there is none of that name in keras.optimizers.")
        rate = settings.learning_rate or _rate(plain)
        options["learning_rate"] = _schedule(settings, rate, steps)
        return type(plain)(**options)
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"Keras cannot make the optimizer '{settings.optimizer}' with {options}: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _rate(made: keras.optimizers.Optimizer) -> float:
    """The learning rate as it stands."""
    return float(ops.convert_to_numpy(ops.convert_to_tensor(made.learning_rate)))


def _schedule(settings: TrainingSettings, rate: float, steps: int) -> Any:
    warmup = int(settings.warmup * steps)
    if settings.schedule == "cosine" or (settings.schedule == "constant" and warmup):
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else rate,
            decay_steps=max(1, steps - warmup),
            # alpha is the share that is left at the end: 1 is no decay at all
            alpha=0.0 if settings.schedule == "cosine" else 1.0,
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    if warmup:
        raise ConfigError("training.warmup goes with the schedules constant and cosine.")
    if settings.schedule == "exponential":
        return keras.optimizers.schedules.ExponentialDecay(rate, decay_steps=steps, decay_rate=0.01)
    return rate


def _clock(seconds: float) -> str:
    if math.isnan(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
