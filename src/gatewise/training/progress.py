"""What is watched and kept of a training: the metric, the epoch line, the history."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Monitor:
    """The validation metric that the epoch line shows and that chooses the best epoch."""

    name: str
    higher_is_better: bool = False
    # Scores the current network on the validation part; None: the metric follows from the loss.
    score: Callable[[], float] | None = None
    from_loss: Callable[[float], float] = float
    baseline: str = ""  # the best baseline by this metric
    baseline_value: float = math.nan


@dataclass
class Progress:
    """The state of training, passed to `watch` after each step and each epoch."""

    epochs: int
    steps: int
    monitor: Monitor
    epoch: int = 0
    step: int = 0
    loss: float = math.nan
    value: float = math.nan
    best: float = math.nan
    best_epoch: int = 0
    seconds_left: float = math.nan  # at most, because training may end before the last epoch
    network: str = ""  # which of several networks, such as "network 3 of 15"; "": there is one
    stopping: bool = False  # a signal asked to stop after this epoch

    def line(self) -> str:
        """One line: loss, validation metric, its best, its distance to the baseline, time left."""
        monitor = self.monitor
        fields = [f"epoch {self.epoch}/{self.epochs}", f"loss {self.loss:.4f}"]
        if not math.isnan(self.value):
            fields.append(f"val {monitor.name} {_digits(self.value)}")
            if self.best_epoch:
                fields.append(f"best {_digits(self.best)} (epoch {self.best_epoch})")
            if monitor.baseline:
                difference = self.value - monitor.baseline_value
                side = "below" if difference < 0 else "above"
                fields.append(f"{_digits(abs(difference), self.value)} {side} {monitor.baseline}")
        if not math.isnan(self.seconds_left) and not self.stopping:
            fields.append(f"at most {_clock(self.seconds_left)} left")
        return "  ".join(fields)


def _digits(value: float, beside: float = 0.0) -> str:
    """A number with four decimals, or two if it or the one `beside` it is at least 1000."""
    return f"{value:.4f}" if max(abs(value), abs(beside)) < 1000 else f"{value:.2f}"


@dataclass
class History:
    """The metrics of each epoch, and how training ended."""

    columns: dict[str, list[float]] = field(default_factory=dict)  # epoch, loss, val_loss, ...
    best_epoch: int = 0
    stopped: str = ""  # why training ended before the last epoch, or ""
    seconds: float = 0.0
    networks: int = 1  # the networks that are averaged; the columns are those of the first
    refit_epochs: int = 0  # of the last training, on everything; 0: there was none


def column_of(metric: str) -> str:
    """The column of a metric in history.csv; the prefix `val_` means the validation part."""
    return metric.replace(" ", "_")


def _clock(seconds: float) -> str:
    if math.isnan(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
