"""Notes on the series of a training part, and on forecasts below all that it holds."""

import numpy as np

from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences
from gatewise.data.windows import windows
from gatewise.errors import ConfigError
from gatewise.tasks.forecast.fitted import Fitted


def unused_note(train: Sequences, lookback: int, horizon: int) -> list[str]:
    """A note about the series from which no window can be cut for training."""
    cut = windows(train, lookback, horizon)
    unused = np.flatnonzero(np.diff(cut.ends, prepend=0) == 0)
    if not len(unused) or len(unused) == len(train):  # without any window, training is refused
        return []
    shown = ", ".join(f"'{train.ids[k]}' ({train.lengths[k]} steps)" for k in unused[:3])
    more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
    return [
        f"{len(unused)} of {len(train)} series {'is' if len(unused) == 1 else 'are'} too short for "
        f"a training window of {lookback} + {horizon} steps and cannot be used: {shown}{more}"
    ]


def steady_note(train: Sequences, targets: tuple[str, ...]) -> list[str]:
    """A note about the series whose target never changes, from which nothing is learnt."""
    columns = [train.columns.index(name) for name in targets]
    steady = [
        k
        for k, steps in enumerate(train)
        if len(steps) > 1 and (steps[:, columns] == steps[0, columns]).all(axis=0).any()
    ]
    if not steady:
        return []
    shown = ", ".join(repr(str(train.ids[k])) for k in steady[:3])
    more = f" and {len(steady) - 3} more" if len(steady) > 3 else ""
    verb = "never changes" if len(steady) == 1 else "never change"
    return [
        f"{len(steady)} of {len(train)} series {verb} in the training part: {shown}{more}. "
        "Scores on them say little"
    ]


def floor_note(targets: tuple[str, ...], never: tuple[str, ...], source: str) -> str:
    """A sentence on the forecasts that are clipped at 0, those of the targets in `never`.

    Raises:
        ConfigError: all targets were below 0 in the training part.
    """
    others = ", ".join(repr(name) for name in targets if name not in never)
    if not never:
        raise ConfigError(
            f"task.floor=zero clips forecasts at 0, but in {source} {others} is below 0 in the "
            "training part. Leave task.floor at none."
        )
    left = f"; {others} was below 0 in training and is not clipped" if others else ""
    return f"Forecasts of {', '.join(map(repr, never))} are clipped at 0{left}."


def least(train: Sequences, name: str) -> float:
    """The least value of a column in all series; NaN if none is known."""
    column = train.columns.index(name)
    return float(np.fmin.reduce([np.fmin.reduce(steps[:, column]) for steps in train]))


def remarks(predictions: Array, preparation: Preparation[Fitted]) -> list[str]:
    """A note on forecasts below 0 of targets that were never negative in training."""
    notes = []
    for column, name in enumerate(preparation.own.targets):
        below = (predictions[:, :, column] < 0).any(axis=-1)
        if name in preparation.own.never_negative and below.any():
            notes.append(
                f"{below.sum()} of {below.size} forecasts of '{name}' reach below 0, but it never "
                "did in training. If it cannot be negative, train with task.floor=zero."
            )
    return notes
