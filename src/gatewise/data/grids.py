"""The regular grid on which the times of a series lie."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gatewise.data.sequences import Array

DAY = 86_400_000_000  # microseconds
ONE_DAY = np.timedelta64(1, "D")
MONDAY = 4  # 1970-01-05; the weeks of NumPy begin on Thursday, as that year did
UNITS = {"w": 7 * DAY, "d": DAY, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1000}
BLOCK = 1 << 20  # differences per block, so that no second array of times is needed

# Fractional times are rounded (60 Hz is written 0.017, 0.033, 0.050) and clocks jitter. So a
# difference counts as a whole number of steps if it is off by at most this share of a step.
SLACK = 0.1
CLOCK_CHANGE = 1_800_000_000  # the smallest in microseconds; it is not jitter, however long a step
ROUND = 0.001  # a mean of dates counts as the round step that is off by at most this share
FINE = 1000  # positions of fractional times are thousandths of a step, to show times off the grid


@dataclass(frozen=True)
class Grid:
    """A regular grid, and the positions of times on it.

    Positions that are one step apart differ by `unit`.
    """

    positions: Array  # [steps] int64
    unit: int
    step: str  # in the form of Sequences.step
    share: float  # share of the differences that are one step
    jittering: int = 0  # differences of dates that are a little off whole steps
    jitter: int = 0  # the microseconds by which they are off, at most


def as_numbers(times: Array) -> Array:
    """Times as numbers to subtract: dates as microseconds, numbers as they are."""
    return times if times.dtype.kind == "f" else times.view(np.int64)


def differences(positions: Array, starts: Array) -> Iterator[tuple[Array, Array]]:
    """Yield, block by block, the steps with a successor in their sequence, and the differences."""
    for begin in range(0, len(positions) - 1, BLOCK):
        gaps = np.diff(positions[begin : begin + BLOCK + 1])
        inner = np.ones(len(gaps), dtype=bool)
        edges = starts[(starts > begin) & (starts <= begin + len(gaps))] - 1 - begin
        inner[edges] = False
        at = np.flatnonzero(inner)
        yield at + begin, gaps[at]


def grid(times: Array, starts: Array, *, weekends: int = 2) -> Grid | None:
    """The grid on which most times lie; None if no sequence has two steps.

    Days are those of a week without weekends if all times leave out at least this many weekends.
    """
    if times.dtype.kind == "f":
        return _fine_grid(times, starts)
    positions = times.view(np.int64)
    unit, share = _commonest(positions, starts)
    if not unit:
        return None
    if times.dtype.kind == "i":
        return Grid(positions, unit, f"{unit}i", share)
    if unit == DAY and _are_weekdays(times, weekends):
        weekdays = np.busday_count(np.datetime64(0, "D"), times.astype("M8[D]"))
        _, share = _commonest(weekdays, starts)
        return Grid(weekdays, 1, "1b", share)
    if unit >= 28 * DAY and unit % DAY == 0 and _on_calendar(times, starts):
        months = times.astype("M8[M]").astype(np.int64)
        unit, share = _commonest(months, starts)
        step = f"{unit // 12}y" if unit % 12 == 0 else f"{unit}mo"
        return Grid(months, unit, step, share)
    exact = all((gaps % unit == 0).all() for _, gaps in differences(positions, starts))
    jittering = None if exact else _jittering_grid(times, starts, weekends)
    return jittering or Grid(positions, unit, duration(unit), share)


def slack(unit: int) -> float:
    """The microseconds by which a difference of dates may be off a whole number of steps."""
    return min(SLACK * unit, CLOCK_CHANGE - 1)


def _jittering_grid(times: Array, starts: Array, weekends: int) -> Grid | None:
    """The grid of dates that are all a little off it; None if one is further off."""
    inner = np.ones(len(times), dtype=bool)
    inner[starts] = False
    gaps = np.diff(times.view(np.int64), prepend=times[:1].view(np.int64))[inner]
    usual = int(np.quantile(gaps, 0.5, method="lower"))
    near = gaps[np.abs(gaps - usual) <= slack(usual)]
    unit = _round(float(near.mean()), uncertainty(near))
    whole = np.maximum(np.rint(gaps / unit).astype(np.int64), 1)
    off = np.abs(gaps - whole * unit)
    if off.max() > slack(unit):
        return None
    if unit == DAY and _are_weekdays(times, weekends):
        positions, step = np.busday_count(np.datetime64(0, "D"), times.astype("M8[D]")), "1b"
        _, share = _commonest(positions, starts)
    else:
        steps = np.zeros(len(times), dtype=np.int64)
        steps[inner] = whole
        positions, step, share = np.cumsum(steps), duration(unit), float((whole == 1).mean())
    return Grid(positions, 1, step, share, int((off > 0).sum()), int(off.max()))


def uncertainty(gaps: Array) -> float:
    """By how much the mean of the differences between times that jitter may be off.

    Their sum is off by the jitter of the first time and that of the last.
    """
    return float(np.ptp(gaps)) / len(gaps)


def _round(mean: float, off: float) -> int:
    """The roundest duration near a mean that may be off by so much, in microseconds.

    >>> _round(600_166_000.0, 0.0), _round(16_666.7, 0.0), _round(59_870_000.0, 200_000.0)
    (600000000, 16667, 60000000)
    """
    for size in UNITS.values():
        whole = round(mean / size) * size
        if abs(whole - mean) <= max(ROUND * mean, off):
            return whole
    return max(round(mean), 1)


def _fine_grid(times: Array, starts: Array) -> Grid | None:
    """The grid of fractional times; its step is estimated as a mean."""
    inner = np.ones(len(times), dtype=bool)
    inner[starts] = False
    gaps = np.diff(times, prepend=times[:1])[inner]
    if not len(gaps):
        return None
    usual = np.quantile(gaps, 0.5, method="lower")  # a gap that occurs
    # The mean of the gaps near the usual one, because rounded times drift away from a rounded step.
    near = gaps[np.abs(gaps - usual) <= SLACK * usual]
    unit = _shortest(float(near.mean()), uncertainty(near))
    counts = gaps / unit
    whole = np.maximum(np.rint(counts), 1)
    on_grid = np.abs(counts - whole) <= SLACK
    fine = np.where(on_grid, FINE * whole, np.maximum(np.rint(FINE * counts), 1))
    steps = np.zeros(len(times), dtype=np.int64)
    steps[inner] = fine
    return Grid(np.cumsum(steps), FINE, f"{unit:.9g}", float((on_grid & (whole == 1)).mean()))


def _shortest(mean: float, off: float) -> float:
    """The number of the fewest digits near a mean that may be off by so much.

    >>> _shortest(1.0000003, 0.00001), _shortest(1 / 60, 0.00001), _shortest(0.12345, 0.0)
    (1.0, 0.01667, 0.12345)
    """
    for digits in range(1, 9):
        short = float(f"{mean:.{digits}g}")
        if abs(short - mean) <= off:
            return short
    return float(f"{mean:.9g}")


def _are_weekdays(times: Array, weekends: int) -> bool:
    """True if the times are of weekdays only, over more than this many weeks."""
    days = times.astype("M8[D]")
    weeks = np.unique((days.astype(np.int64) - MONDAY) // 7)
    return len(weeks) > weekends and bool(np.is_busday(days).all())


def last_weekdays(months: Array) -> Array:
    """The last weekday of each month.

    >>> last_weekdays(np.array(["2020-05"], "M8[M]"))
    array(['2020-05-29'], dtype='datetime64[D]')
    """
    after = (months + np.timedelta64(1, "M")).astype("M8[D]")
    last: Array = np.busday_offset(after, -1, roll="forward")
    return last


def spread(grid: Grid, times: Array, starts: Array, stops: Array) -> tuple[Array, Array]:
    """Insert all missing steps; return the times, and the positions of the old times in them.

    Every difference must be a whole number of steps.
    """
    spans = grid.positions[stops - 1] - grid.positions[starts]
    lengths = spans // grid.unit + 1
    begins = np.cumsum(lengths) - lengths
    shift = np.repeat(begins, stops - starts)
    from_start = grid.positions - np.repeat(grid.positions[starts], stops - starts)
    where = shift + from_start // grid.unit
    counted = np.arange(lengths.sum()) - np.repeat(begins, lengths)
    if times.dtype.kind == "f" or (grid.jitter and not grid.step.endswith("b")):
        return between(times, where), where
    every = np.repeat(grid.positions[starts], lengths) + counted * grid.unit
    if grid.step.endswith("b"):
        weekdays = np.busday_offset(np.datetime64(0, "D"), every)
        clock = times - times.astype("M8[D]")
        before = np.repeat(clock, np.diff(np.append(where, len(every))))
        return (weekdays + before).astype(times.dtype), where
    if not grid.step.endswith(("mo", "y")):
        return every.view(times.dtype), where
    anchors = np.repeat(np.maximum.reduceat(_monthday(times), starts), lengths)
    months = every.astype("M8[M]")
    days = months.astype("M8[D]") + (np.minimum(anchors, _days_in(months)) - 1) * ONE_DAY
    hours = times[starts] - times[starts].astype("M8[D]")
    return (days + np.repeat(hours, lengths)).astype(times.dtype), where


def between(times: Array, where: Array) -> Array:
    """Times at every position up to the last one, evenly spaced between those that are known.

    `where` has the positions of the known ones, from 0.

    >>> between(np.array(["2024-01-01T00:00", "2024-01-01T00:09"], "M8[us]"), np.array([0, 3]))[1]
    np.datetime64('2024-01-01T00:03:00.000000')
    """
    every = np.interp(np.arange(where[-1] + 1), where, as_numbers(times))
    return every if times.dtype.kind == "f" else np.rint(every).astype(np.int64).view(times.dtype)


def _commonest(positions: Array, starts: Array) -> tuple[int, float]:
    counts: Counter[int] = Counter()
    for _, gaps in differences(positions, starts):
        values, occurrences = np.unique(gaps, return_counts=True)
        counts.update(dict(zip(values.tolist(), occurrences.tolist(), strict=True)))
    if not counts:
        return 0, 0.0
    # Among equally common differences, take the smallest: the others may be multiples of it.
    unit = min(counts, key=lambda gap: (-counts[gap], gap))
    return unit, counts[unit] / counts.total()


def _on_calendar(times: Array, starts: Array) -> bool:
    """True if each sequence keeps its day of the month and its time of day.

    The last day of each month and its last weekday are also the same day.
    """
    lengths = np.diff(np.append(starts, len(times)))
    days = _monthday(times)
    anchors = np.repeat(np.maximum.reduceat(days, starts), lengths)
    hours = times - times.astype("M8[D]")
    months = times.astype("M8[M]")
    steady = bool((days == np.minimum(anchors, _days_in(months))).all())
    steady = steady or bool((times.astype("M8[D]") == last_weekdays(months)).all())
    return bool(steady and (hours == np.repeat(hours[starts], lengths)).all())


def _monthday(times: Array) -> Array:
    day: Array = (times.astype("M8[D]") - times.astype("M8[M]").astype("M8[D]")).astype(np.int64)
    return day + 1


def _days_in(months: Array) -> Array:
    after = months + np.timedelta64(1, "M")
    days: Array = (after.astype("M8[D]") - months.astype("M8[D]")).astype(np.int64)
    return days


def duration(unit: int) -> str:
    """Microseconds as a text with a unit, in the form of Sequences.step.

    >>> duration(600_000_000), duration(16_667)
    ('10m', '16667us')
    """
    for letter, size in UNITS.items():
        if unit % size == 0:
            return f"{unit // size}{letter}"
    return f"{unit}us"


def at_most(size: int) -> str:
    """Microseconds rounded up to two digits, with a unit.

    >>> at_most(5_658_087), at_most(80_062), at_most(2)
    ('5700ms', '81ms', '2us')
    """
    place = 10 ** max(len(str(size)) - 2, 0)
    return duration(-(-size // place) * place)


def microseconds(step: str) -> int:
    """The size of a step of dates that always has the same.

    >>> microseconds("10m")
    600000000
    """
    unit = step.lstrip("0123456789")
    return int(step.removesuffix(unit)) * (UNITS | {"us": 1})[unit]
