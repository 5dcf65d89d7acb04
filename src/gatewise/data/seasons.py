"""What a series' spacing and its past say of its cycles."""

import numpy as np

from gatewise.data.sequences import Array, Sequences

# Horizons of the M4 competition by frequency (Makridakis et al. 2020).
HORIZONS = {"m": 60, "h": 48, "d": 14, "w": 13, "mo": 18, "q": 8, "y": 6}


def usual_horizon(sequences: Sequences) -> int:
    """The steps that are customarily forecast at this spacing; at most a tenth of a series."""
    unit = sequences.step.lstrip("0123456789")
    usual = 8 if sequences.step == "3mo" else HORIZONS.get(unit, 12)
    return max(1, min(usual, int(np.median(sequences.lengths)) // 10))


def season_of(train: Sequences, target: str, shortest: int) -> int:
    """The usual cycle of this spacing that the training part shows most clearly, or 1.

    A cycle counts when the autocorrelation of the differenced series at its lag is over 0.2 and
    stands out from the lags around it: differencing takes the trend out, which would else correlate
    with anything.
    """
    longest = int(np.argmax(train.lengths))
    column = train.columns.index(target)
    steps = train[longest][-20_000:, column].astype(np.float64)
    moves = np.diff(steps[np.isfinite(steps)])
    best, found = 0.2, 1
    for lag in _cycles(train.step):
        if 2 * lag + 2 > min(len(moves), shortest):
            continue
        here = _autocorrelation(moves, lag)
        around = max(abs(_autocorrelation(moves, lag + off)) for off in _beside(lag))
        if here > best and here > around:
            best, found = here, lag
    return found


def _beside(lag: int) -> tuple[int, ...]:
    return (-1, 1) if lag <= 2 else (-2, -1, 1, 2)


def _autocorrelation(moves: Array, lag: int) -> float:
    centred = moves - moves.mean()
    power = float(centred @ centred)
    return float(centred[lag:] @ centred[:-lag]) / power if lag and power else 0.0


def _cycles(step: str) -> tuple[int, ...]:
    """Steps of an hour, a day, a week, a year, as far as they are whole numbers of steps."""
    number, unit = int(step[: -len(step.lstrip("0123456789"))] or 1), step.lstrip("0123456789")
    if unit in ("s", "m", "h"):
        seconds = number * {"s": 1, "m": 60, "h": 3600}[unit]
        return tuple(cycle // seconds for cycle in (3600, 86_400, 604_800) if cycle // seconds > 1)
    if unit in ("d", "w", "mo", "y"):
        return {"d": (7, 365), "w": (52,), "mo": (12 // number,), "y": ()}[unit]
    return (4, 7, 12, 24, 52)
