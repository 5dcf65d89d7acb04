"""Calendar features of times, and the times that follow a series."""

from collections.abc import Callable

import numpy as np

from gatewise.data.sequences import Array, Sequences
from gatewise.errors import ConfigError

MONTHS = {"mo": 1, "q": 3, "y": 12}
# NumPy 2.5 warns when a number without a unit is added to a date, and later versions refuse it.
DAY, MONTH = np.timedelta64(1, "D"), np.timedelta64(1, "M")


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


def following(times: Array, step: str, count: int) -> Array:
    """The `count` times after the last one, one step apart; month ends stay month ends.

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
    if unit:
        gap = np.array(number, dtype=f"m8[{unit.upper() if unit in ('d', 'w') else unit}]")
    else:  # irregular times: use the median interval
        gap = np.median(np.diff(times).astype(np.int64)).astype("m8[us]")
    return np.asarray(times[-1] + gap * offsets, dtype="datetime64[us]")


def _numbers_on(times: Array, step: str, offsets: Array) -> Array:
    """The numbers `offsets` steps after the last one; an integer step keeps them integers."""
    if times.dtype.kind == "i" and (step.endswith("i") or not step):
        return np.asarray(times[-1] + int(step.rstrip("i") or 1) * offsets)
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    gap = float(step.rstrip("i") or usual)
    # Round to the digits of the step: 0.3, not 0.30000000000000004.
    return np.asarray(np.round(times[-1] + gap * offsets, 9 - int(np.floor(np.log10(gap)))))


def _months_on(times: Array, offsets: Array) -> Array:
    """The times `offsets` months after the last one, on the usual or the last day of the month."""
    days = times.astype("M8[D]")
    is_end = (days + DAY).astype("M8[M]") > days.astype("M8[M]")
    months = days[-1].astype("M8[M]") + offsets * MONTH
    ends = (months + MONTH).astype("M8[D]") - DAY
    day = (days - days.astype("M8[M]")).max()
    dates = ends if is_end[-2:].all() else np.minimum(months.astype("M8[D]") + day, ends)
    return np.asarray(dates + (times[-1] - days[-1]), dtype="datetime64[us]")
