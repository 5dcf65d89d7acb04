"""Calendar features of times, and the times that follow a series."""

import re
from collections.abc import Callable
from typing import Literal

import numpy as np
import polars as pl

from gatewise.data.grids import last_weekdays
from gatewise.data.sequences import Array, Sequences
from gatewise.errors import ConfigError

MONTHS = {"mo": 1, "q": 3, "y": 12}
# What `calendar_features` computes, in words for those who compute it without gatewise.
SHARES = {
    "minute": "the minutes since the hour / 60",
    "hour": "the minutes since midnight / 1440",
    "weekday": "the whole days since Monday / 7",
    "monthday": "the whole days since the first of the month / 31",
    "yearday": "the whole days since 1 January / 365.25",
    "month": "the whole months since January / 12",
}
# NumPy 2.5 warns when a number without a unit is added to a date, and later versions refuse it.
DAY, MONTH = np.timedelta64(1, "D"), np.timedelta64(1, "M")
# The units of fractions of a second, in microseconds.
FRACTIONS: dict[Literal["s", "ms", "us"], int] = {"s": 1_000_000, "ms": 1000, "us": 1}


def chosen_calendar(train: Sequences, setting: tuple[str, ...]) -> tuple[str, ...]:
    """The calendar features of the settings; auto selects those that the spacing and span support.

    Raises:
        ConfigError: features are requested but there are no dates, or auto or none is combined with
            names.
    """
    timed = train.times is not None and train.times.dtype.kind == "M"
    if setting != ("auto",):
        if "auto" in setting or ("none" in setting and len(setting) > 1):
            raise ConfigError(
                f"preparation.calendar must be auto, none, or names of features. "
                f"Received: {list(setting)}."
            )
        names = tuple(name for name in setting if name != "none")
        if names and not timed:
            raise ConfigError(
                "preparation.calendar needs a column of dates. Name it with data.time."
            )
        return names
    if not timed or train.times is None:
        return ()
    span = max(
        (train.times[stop - 1] - train.times[start]) / DAY
        for start, stop in zip(train.starts, train.stops, strict=True)
    )
    unit = train.step.lstrip("0123456789")
    by_unit: dict[str, tuple[str, ...]] = {
        "s": ("hour",),
        "m": ("hour", "weekday"),
        "h": ("hour", "weekday"),
        "d": ("weekday",),
        "b": ("weekday",),
    }
    # A yearly pattern can be learned only from more than two years of data.
    return by_unit.get(unit, ()) + (("yearday",) if span > 730 and unit != "y" else ())


def calendar_features(times: Array, names: tuple[str, ...]) -> Array:
    """The features `names` as points on a circle, sine and cosine: [..., 2 * names] float32."""
    day = times.astype("datetime64[D]")
    month = times.astype("datetime64[M]")
    year = times.astype("datetime64[Y]")
    minutes = (times - day) / np.timedelta64(1, "m")
    turns: dict[str, Callable[[], Array]] = {
        "minute": lambda: (minutes % 60) / 60,
        "hour": lambda: minutes / 1440,
        "weekday": lambda: ((day.astype(np.int64) + 3) % 7) / 7,  # 1970-01-01 was a Thursday
        "monthday": lambda: (day - month).astype(np.int64) / 31,
        "yearday": lambda: (day - year).astype(np.int64) / 365.25,
        "month": lambda: (month - year).astype(np.int64) / 12,
    }
    angles = [2 * np.pi * turns[name]() for name in names]
    waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    return np.stack(waves, axis=-1).astype(np.float32)


def between_dates(step: str) -> bool:
    """Whether a step, as in `Sequences.step`, lies between dates, and not between numbers.

    >>> [between_dates(step) for step in ("1d", "15mo", "300i", "0.02", "1e-05")]
    [True, True, False, False, False]
    """
    return step[-1] not in "i0123456789"


def kind_of_times(step: str) -> type[pl.DataType]:
    """The type of times that are a step apart, as in `Sequences.step`; an unknown one: dates.

    >>> [kind_of_times(step) for step in ("1d", "", "2i", "0.5")]
    [Datetime, Datetime, Int64, Float64]
    """
    if not step or between_dates(step):
        return pl.Datetime
    return pl.Int64 if step.endswith("i") else pl.Float64


def following(times: Array, step: str, count: int) -> Array:
    """The `count` times after the last one, one step apart; month ends stay month ends.

    Irregular times, of which there must be two, are continued at their median interval.

    >>> following(np.array(["2020-02-29", "2020-03-31"], dtype="datetime64[us]"), "1mo", 1)
    array(['2020-04-30T00:00:00.000000'], dtype='datetime64[us]')
    """
    offsets = np.arange(1, count + 1)
    if times.dtype.kind != "M":
        return _numbers_on(times, step, offsets)
    unit = step.lstrip("0123456789")
    number = int(step.removesuffix(unit) or 1)
    if unit in MONTHS:
        return _months_on(times, number * MONTHS[unit] * offsets)
    if unit == "b":
        last = times[-1].astype("M8[D]")
        weekdays = np.busday_offset(last, number * offsets, roll="backward")
        return np.asarray(weekdays + (times[-1] - last), dtype="datetime64[us]")
    if unit:
        gap = np.array(number, dtype=f"m8[{unit.upper() if unit in ('d', 'w') else unit}]")
    else:
        gap = np.median(np.diff(times).astype(np.int64)).astype("m8[us]")
    return np.asarray(times[-1] + gap * offsets, dtype="datetime64[us]")


def in_zone(times: Array, zone: str) -> Array:
    """UTC times as texts in local time with its offset; unchanged without a zone.

    They have fractions of a second if one of the times has.

    >>> in_zone(np.array(["2022-10-30T01:00"], dtype="datetime64[us]"), "Europe/Berlin").tolist()
    ['2022-10-30 02:00:00+01:00']
    """
    if not zone:
        return times
    utc = times.astype("datetime64[us]").astype(np.int64).ravel()
    minutes = shift(utc, zone)
    unit = next(unit for unit, size in FRACTIONS.items() if not (utc % size).any())
    local = np.datetime_as_string((utc + minutes * 60_000_000).view("M8[us]"), unit=unit)
    texts = [
        f"{text.replace('T', ' ')}{offset(move)}"
        for text, move in zip(local.tolist(), minutes.tolist(), strict=True)
    ]
    return np.array(texts).reshape(times.shape)


def offset(minutes: int) -> str:
    """An offset from UTC as text.

    >>> offset(-210)
    '-03:30'
    """
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def shift(utc: Array, zone: str) -> Array:
    """The offset of local time from UTC in minutes, for times in microseconds.

    Raises:
        ConfigError: there is no such zone.

    >>> shift(np.array([0]), "+02:00"), shift(np.array([0]), "Europe/Berlin")
    (array([120]), array([60]))
    """
    if re.fullmatch(r"[+-]\d\d:\d\d", zone):
        minutes = int(zone[1:3]) * 60 + int(zone[4:])
        return np.full(len(utc), -minutes if zone[0] == "-" else minutes)
    times = pl.Series(utc).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    try:
        local = times.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    except pl.exceptions.PolarsError:
        raise unknown_zone(zone) from None
    moved: Array = (local.to_physical().to_numpy() - utc) // 60_000_000
    return moved


def unknown_zone(zone: str) -> ConfigError:
    """The error for a zone that the time zone database does not have."""
    return ConfigError(
        f"There is no time zone {zone!r} (data.timezone). Give a name such as Europe/Berlin, or "
        "an offset such as +02:00."
    )


def _numbers_on(times: Array, step: str, offsets: Array) -> Array:
    """The numbers `offsets` steps after the last one; an integer step keeps them integers."""
    size = step.rstrip("i") or float(np.median(np.diff(times)))
    if times.dtype.kind == "i" and (step.endswith("i") or not step):
        return np.asarray(times[-1] + round(float(size)) * offsets)
    gap = float(size)
    # Round to the digits of the step: 0.3, not 0.30000000000000004.
    return np.asarray(np.round(times[-1] + gap * offsets, 9 - int(np.floor(np.log10(gap)))))


def _months_on(times: Array, offsets: Array) -> Array:
    """The times `offsets` months after the last one, on the same day of the month.

    If that is the last day or the last weekday of each month, it stays so.
    """
    days = times.astype("M8[D]")
    is_end = (days + DAY).astype("M8[M]") > days.astype("M8[M]")
    months = days[-1].astype("M8[M]") + offsets * MONTH
    ends = (months + MONTH).astype("M8[D]") - DAY
    day = (days - days.astype("M8[M]")).max()
    dates = ends if is_end[-2:].all() else np.minimum(months.astype("M8[D]") + day, ends)
    if not is_end.all() and (days == last_weekdays(days.astype("M8[M]"))).all():
        dates = last_weekdays(months)
    return np.asarray(dates + (times[-1] - days[-1]), dtype="datetime64[us]")
