"""The usual horizon of a spacing, and the season that the past of a series shows."""

import numpy as np

from gatewise.data.sequences import Array, Sequences

# Horizons of the M4 competition by frequency (Makridakis et al. 2020); two weeks of weekdays.
HORIZONS = {"m": 60, "h": 48, "d": 14, "b": 10, "w": 13, "mo": 18, "q": 8, "y": 6}
# The cycle of the calendar for each unit of spacing, in this unit; the first that fits is taken.
CALENDAR = {
    "s": (86_400, 3_600),
    "m": (1_440, 60),
    "h": (24,),
    "d": (7,),
    "b": (5,),
    "w": (52,),
    "mo": (12,),
}
# The cycles that a series may show, in the unit of its spacing.
SHOWN = {
    "s": (3_600, 86_400, 604_800),
    "m": (60, 1_440, 10_080),
    "h": (24, 168),
    "d": (7, 365),
    "b": (5, 260),
    "w": (52,),
    "mo": (12,),
    "y": (),
}
HOUR = {"s": 3_600, "m": 60}
USUAL = (4, 7, 12, 24, 52)  # steps


def usual_horizon(sequences: Sequences) -> int:
    """The usual horizon at this spacing, in steps; at most a tenth of a series."""
    unit = sequences.step.lstrip("0123456789")
    usual = 8 if sequences.step == "3mo" else HORIZONS.get(unit, 12)
    return max(1, min(usual, int(np.median(sequences.lengths)) // 10))


def season_of(train: Sequences, target: str, shortest: int) -> int:
    """The usual cycle at this spacing that the training part shows most clearly, or 1.

    A cycle counts if the autocorrelation of the differenced series at its lag is above 0.2, and
    above that of the lags around it. Differencing removes the trend, which would otherwise
    correlate with everything.
    """
    longest = int(np.argmax(train.lengths))
    column = train.columns.index(target)
    steps = train[longest][-20_000:, column].astype(np.float64)
    differences = np.diff(steps[np.isfinite(steps)])
    best, season = 0.2, 1
    for lag in _cycles(train.step):
        if 2 * lag + 2 > min(len(differences), shortest):
            continue
        here = _autocorrelation(differences, lag)
        around = max(abs(_autocorrelation(differences, lag + off)) for off in _offsets(lag))
        if here > best and here > around:
            best, season = here, lag
    return season


def calendar_season(step: str, shortest: int) -> int:
    """The steps of the calendar's cycle at this spacing, or 1 if none fits twice into a series.

    The day for spacings below a day (or else the hour), the week for days, the year for weeks and
    months.

    >>> calendar_season("15m", 1_000)
    96
    """
    number, unit = _number_and_unit(step)
    cycles = [cycle // number for cycle in CALENDAR.get(unit, ()) if cycle % number == 0]
    return next((one for one in cycles if one > 1 and 2 * one + 2 <= shortest), 1)


def chosen_season(train: Sequences, target: str, shortest: int) -> tuple[int, str]:
    """The season that the training part shows, or that of the calendar, with a note."""
    found = season_of(train, target, shortest)
    if found > 1:
        return found, f"Season (autocorrelation of the training part): {found} steps."
    usual = calendar_season(train.step, shortest)
    said = f"; that of the calendar is {usual} steps" if usual > 1 else ""
    return usual, f"Season (autocorrelation of the training part): none found{said}."


def _number_and_unit(step: str) -> tuple[int, str]:
    """The parts of a spacing: ("15m") -> (15, "m")."""
    unit = step.lstrip("0123456789")
    return int(step[: len(step) - len(unit)] or 1), unit


def _offsets(lag: int) -> tuple[int, ...]:
    return (-1, 1) if lag <= 2 else (-2, -1, 1, 2)


def _autocorrelation(differences: Array, lag: int) -> float:
    centred = differences - differences.mean()
    power = float(centred @ centred)
    return float(centred[lag:] @ centred[:-lag]) / power if lag and power else 0.0


def _cycles(step: str) -> list[int]:
    """The steps in an hour, a day, a week and a year, if these are whole numbers of steps.

    For steps of unknown size, the usual numbers. An hour of two or three steps is left out, because
    noise on a smooth series correlates in the same way.

    >>> _cycles("15m"), _cycles("30m"), _cycles("12h"), _cycles("2w"), _cycles("7m")
    ([4, 96, 672], [48, 336], [2, 14], [26], [1440])
    """
    number, unit = _number_and_unit(step)
    if unit not in SHOWN:
        return list(USUAL)
    whole = [(one, one // number) for one in SHOWN[unit] if one % number == 0]
    return [steps for one, steps in whole if steps > (3 if one == HOUR.get(unit) else 1)]
