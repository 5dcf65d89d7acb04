"""Find the columns that are the time of each step, their format and their zone."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from gatewise.data import grids
from gatewise.errors import ConfigError, GatewiseError
from gatewise.readers import times
from gatewise.readers.cells import as_text
from gatewise.readers.remedies import option
from gatewise.readers.roles import (
    Aim,
    Kinds,
    are_distinct,
    known_as,
    listing,
    with_role,
    without_role,
)
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

TIMES = (
    *("time", "timestamp", "datetime", "date", "ds", "time_idx", "timestep", "date_time"),
    *("year", "quarter", "month", "week", "period", "serial", "jahr", "datum", "zeit"),
    *("ts", "epoch", "epoch_time", "unix_time", "unixtime", "unix_timestamp", "yyyymmdd"),
)
DATED = ("date", "datum", "day", "time", "stamp", "zeit", "fecha", "data", "epoch")
# Names of times that are trusted only if the column counts the steps.
COUNTERS = (
    "time_in_cycles",
    *("t", "step", "steps", "step_id", "step_index", "step_number", "time_step", "tick", "cycle"),
    *("frame", "frame_id", "frame_number", "seconds", "secs", "sec", "time_s", "time_sec"),
    *("milliseconds", "time_ms", "elapsed", "elapsed_time", "elapsed_seconds"),
    *("sample", "sample_#", "sample_no", "sample_number", "sample_index"),
)


def with_time(table: Table, settings: DataSettings, kinds: Kinds, notes: list[str]) -> DataSettings:
    """The settings with the column of times, or the columns that together are a time."""
    if len(parts := _time_parts(table, settings, kinds)) > 1:
        notes.append(f"the columns {listing(parts)} are taken together as the time")
        return replace(settings, time=parts)
    return with_role(settings, notes, role="time", column=_time(table, settings, kinds))


def _time_parts(table: Table, settings: DataSettings, kinds: Kinds) -> tuple[str, ...]:
    """Columns that together are a time: year, month, day ..., or a date and a time of day."""
    free = without_role(table, settings)
    dated = [name for name in free if kinds[name] == "time"]
    if not dated:
        parts = times.joined(
            [
                name
                for name in free
                if (kinds[name] == "number" and name.lower() != "period")  # of any length
                or (kinds[name] == "text" and times.are_named(name, table.sample[name]))
            ]
        )
        dated = [name for name in free if kinds[name] == "number" and _are_digits(table, name)]
        parts = parts or _unnamed_parts(table, free)
        if parts or len(dated) != 1:
            return parts
    clocks = [
        name
        for name in free
        if name not in dated
        and (kinds[name] == "text" and _is_clock(table.sample[name]))
        or (known_as([name], HOURS) and _is_hour(table.sample[name]))
        or (known_as([name], HOURS) and _is_padded(table.sample[name]))
        or _is_unnamed_hour(table, name, dated)
        or (known_as([name], times.HALF_HOURS) and _are_within(table.sample[name], 1, 50))
        or (known_as([name], times.WITHOUT_COLON) and _are_within(table.sample[name], 0, 2400))
    ]
    if workbook := [name for name in dated if _is_time_of_day(table.sample[name])]:
        dated = [name for name in dated if name not in workbook]
        clocks += workbook
    clocks = _starts_of_day(table, clocks)
    dates = [name for name in dated if _is_date(table.sample[name])]
    both = len(dated) == len(dates) == len(clocks) == 1
    moments = (dates[0], clocks[0]) if both else tuple(dated)
    if (both or len(dated) == 1) and (fraction := _fraction(table, moments, free)):
        return (*moments, fraction)
    if (both or len(dated) == 1) and (zone := _zone(table, moments, free, kinds)):
        return (*moments, zone)
    return moments if both else ()


def _zone(table: Table, moments: Sequence[str], free: Sequence[str], kinds: Kinds) -> str:
    """The column of abbreviations of zones without which times repeat: EDT, EST; "" for none."""
    for name in free:
        if kinds[name] != "text" or name in moments or table.sample[name].dtype != pl.String:
            continue
        cells = table.sample[name].drop_nulls().str.strip_chars()
        zones = cells.n_unique() > 1 and cells.is_in([*times.ABBREVIATIONS, "UTC", "Z"]).all()
        if zones and not are_distinct(table, moments) and are_distinct(table, [*moments, name]):
            return name
    return ""


def _fraction(table: Table, moments: Sequence[str], free: Sequence[str]) -> str:
    """The column of milliseconds or microseconds without which the times repeat; "" for none."""
    for name in free:
        digits = times.FRACTIONS.get(name.lower(), 0)
        if digits and not are_distinct(table, moments) and are_distinct(table, [*moments, name]):
            numbers = table.sample[name].cast(pl.Float64, strict=False)
            if _whole(table, name) and numbers.is_between(0, 10**digits - 1).all():
                return name
    return ""


def _unnamed_parts(table: Table, free: Sequence[str]) -> tuple[str, ...]:
    """The first columns of a table without names that are year, month, day and maybe hour."""
    found: list[str] = []
    for name, (least, most) in zip(free, UNNAMED, strict=False):
        if not re.fullmatch(r"column \d+", name) or not _are_within(
            table.sample[name], least, most
        ):
            break
        found.append(name)
    # One number more tells the hour, or is the first value.
    for count in (3, 4):
        if len(found) >= count and are_distinct(table, found[:count]):
            return tuple(found[:count])
    return tuple(found[:2]) if len(found) > 1 and _are_months(table, *found[:2]) else ()


def _are_months(table: Table, year: str, month: str) -> bool:
    """True for years and months of which each row has the next."""
    cells = [pl.col(name).cast(pl.String).str.strip_chars() for name in (year, month)]
    years, months = table.sample.select(one.cast(pl.Int64, strict=False) for one in cells)
    return len(years) > 2 and bool(((years * 12 + months).diff().drop_nulls() == 1).all())


def _is_unnamed_hour(table: Table, name: str, dated: Sequence[str]) -> bool:
    """True for the hours of each day, in a column without a name behind that of the dates."""
    place = table.columns.index(name)
    behind = len(dated) == 1 and place and table.columns[place - 1] == dated[0]
    if not behind or not re.fullmatch(r"column \d+", name) or not _is_hour(table.sample[name]):
        return False
    whole = table.sample[name].n_unique() == DAY // 60
    return whole and are_distinct(table, [dated[0], name]) and not are_distinct(table, dated)


def _is_padded(cells: pl.Series) -> bool:
    """True for times of day without colons: 0930 or 093000."""
    if cells.dtype.is_nested() or cells.dtype == pl.Binary:
        return False
    known = cells.cast(pl.String).drop_nulls()
    clock = r"^(?:[01]\d|2[0-4])[0-5]\d(?:[0-5]\d)?$"
    return bool(known.len()) and bool(known.str.contains(clock).all())


def _is_clock(cells: pl.Series) -> bool:
    """True for times of day such as 12:30 and 3:05 PM."""
    known = cells.cast(pl.String).drop_nulls().str.strip_chars()
    clock = r"^\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[AaPp][Mm])?$|^\d{1,2}\.\d{2}\.\d{2}$"
    clock += r"|^\d{1,2}[hH]\d{2}$"
    return bool(known.len()) and bool(known.str.contains(clock).all())


def _is_time_of_day(cells: pl.Series) -> bool:
    """True for times of day in a workbook, which have a day before the first one of workbooks."""
    known = cells.drop_nulls()
    return bool(known.len()) and bool(known.cast(pl.String).str.contains(times.EMPTY_DAY).all())


def _are_digits(table: Table, column: str) -> bool:
    """True for dates that are numbers, such as 20230131, in a column that is called a date."""
    return known_as([column], times.DATES) == column and times.are_days(table.sample[column])


def _starts_of_day(table: Table, clocks: list[str]) -> list[str]:
    """Of two times of day that are always as far apart, the one that begins; else all."""
    if len(clocks) != 2:
        return clocks
    minutes = [_minutes(table.sample[name]) for name in clocks]
    apart = ((minutes[1] - minutes[0]) % DAY).unique().to_list()
    if len(apart) != 1 or not apart[0]:
        return clocks
    return [clocks[int(apart[0] > DAY // 2)]]


def _minutes(cells: pl.Series) -> pl.Series:
    """The minutes since midnight of times such as 12:30; null for others."""
    known = cells.cast(pl.String).str.strip_chars()
    parts = [known.str.extract(r"^(\d{1,2}):(\d{2})(?::00)?$", k).cast(pl.Int64) for k in (1, 2)]
    return 60 * parts[0] + parts[1]


DAY = 1440  # minutes
UNNAMED = ((1900, 2100), (1, 12), (1, 31), (0, 24))  # year, month, day, hour
HOURS = ("time", "zeit", "hh", *times.PARTS["hour"])  # names of columns of whole hours


def _is_hour(cells: pl.Series) -> bool:
    """True for whole numbers from 0 to 24."""
    return _are_within(cells, 0, 24)


def _are_within(cells: pl.Series, least: int, most: int) -> bool:
    """True for whole numbers between two numbers."""
    if cells.dtype.is_nested() or cells.dtype == pl.Binary:
        return False
    cells = cells.str.strip_chars() if cells.dtype == pl.String else cells
    numbers = cells.cast(pl.Float64, strict=False).drop_nulls()
    whole = numbers.len() > 0 and bool((numbers == numbers.round()).all())
    return whole and bool(numbers.is_between(least, most).all())


def _is_date(cells: pl.Series) -> bool:
    known = cells.cast(pl.String).drop_nulls().str.replace(times.MIDNIGHT, "${1}")
    return bool(known.len()) and not known.str.contains(r"\d:\d").any()


def with_format(table: Table, settings: DataSettings, notes: list[str]) -> DataSettings:
    """The settings with the format of the times and their zone, if the times show them."""
    missing = settings.missing_values
    if _stand_once(table, settings):
        notes.append(f"empty cells of {settings.time[0]!r} are read as the year above them")
    cell = time_cells(table, settings)
    sample = table.sample.select(cell).to_series()
    named = len(settings.time) == 1
    label = f"{table.name}: column {' and '.join(map(repr, settings.time))}"

    def every() -> pl.Series:
        batches = table.batches(list(settings.time))
        return pl.concat([batch.select(cell.cast(pl.String)).to_series() for batch in batches])

    if sample.dtype.is_nested() or sample.dtype == pl.Null:
        return settings
    if not settings.time_format:
        column = settings.time[0] if named else ""
        known = sample.filter(~sample.cast(pl.String).is_in(list(missing)))
        form, more = times.form_of(known, column, label, every)
        if form == "excel" and table.dialect is not None and table.dialect.since_1904:
            form = "excel 1904"
            more = [f"times are read as {form!r}, because the workbook says so (data.time_format)"]
        notes += more
        settings = replace(settings, time_format=form)
    if not settings.timezone:
        notes += times.abbreviated(sample)
        zone = times.zone_of(sample, settings.time_format)
        if zone and _zone_is_fixed(sample, zone):
            zone = times.zone_of(every(), settings.time_format)
        settings = replace(settings, timezone=zone)
    return settings


def _zone_is_fixed(sample: pl.Series, zone: str) -> bool:
    """True if the offset of the first rows is fixed, so later rows may have another."""
    return sample.dtype == pl.String and zone.startswith(("+", "-"))


def time_cells(table: Table, settings: DataSettings) -> pl.Expr:
    """The cells of the time, one text from several columns; empty cells are null."""
    schema, missing = table.sample.schema, settings.missing_values
    texts = [as_text(name, schema[name], missing) for name in settings.time]
    if len(texts) > 1:
        if _stand_once(table, settings):
            texts[0] = texts[0].forward_fill()
        return times.as_one(texts, settings.time, settings.time_format).alias("time")
    plain = schema[settings.time[0]] != pl.String
    return pl.col(settings.time[0]) if plain else texts[0]


def _stand_once(table: Table, settings: DataSettings) -> bool:
    """True for years that stand in the first row of each year alone, with the months below it."""
    if len(settings.time) != 2 or settings.time[0].lower() not in times.YEARS:
        return False
    schema, missing = table.sample.schema, settings.missing_values
    year, month = (as_text(name, schema[name], missing) for name in settings.time)
    cells = table.sample.select(year.alias("year"), month.alias("month"))
    empty = cells["year"].is_null()
    if not empty.any() or empty[0] or cells["month"].null_count():
        return False
    if cells["year"].drop_nulls().is_duplicated().any():  # then the others lack theirs
        return False
    whole = times.as_one([pl.col("year").forward_fill(), pl.col("month")], settings.time)
    moments = times.parse(cells.select(whole).to_series())
    return not moments.null_count() and bool((moments.to_physical().diff().drop_nulls() > 0).all())


def with_counter(
    table: Table, settings: DataSettings, kinds: Kinds, notes: list[str], *, aim: Aim
) -> DataSettings:
    """Take a column that counts the steps as the time; as a value it would reveal the length."""
    free = without_role(table, settings)
    clocks = [name for name in free if kinds[name] == "text" and _is_elapsed(table, settings, name)]
    if len(clocks) == 1:
        settings = with_role(settings, notes, role="time", column=clocks[0])
        notes[-1] += f", in seconds since a start (data.time_format={times.ELAPSED!r})"
        return replace(settings, time_format=times.ELAPSED)
    numbers = [name for name in free if kinds[name] == "number"]
    called = [name for name in numbers if known_as([name], (*TIMES, *COUNTERS))]
    sample = table.sample
    rising = [name for name in called if _rises(sample, settings, name, evenly=False)]
    column = known_as(rising, TIMES) or known_as(
        [name for name in rising if _rises(sample, settings, name, evenly=True)], COUNTERS
    )
    if not column:
        return settings
    settings = with_role(settings, notes, role="time", column=column)
    place = "data.past or data.known" if aim == "target" else "data.features"
    notes[-1] += f" and not read as a value, because it counts the steps; {place} can name it"
    return settings


def _is_elapsed(table: Table, settings: DataSettings, column: str) -> bool:
    """True for times since a start that rise within each sequence."""
    seconds = times.elapsed(table.sample[column].cast(pl.String).str.strip_chars())
    if seconds.null_count():
        return False
    return _rises(table.sample.with_columns(seconds.alias(column)), settings, column, evenly=False)


def _rises(sample: pl.DataFrame, settings: DataSettings, column: str, *, evenly: bool) -> bool:
    """True if the numbers of a column rise within each sequence; `evenly`: by equal amounts."""
    cells = pl.col(column).cast(pl.Float64, strict=False)
    moves = cells.diff().over(settings.id) if settings.id else cells.diff()
    cell, move = sample.select(cells.alias("cell"), moves.alias("move"))
    ahead = move.drop_nulls()
    if cell.null_count() or ahead.len() == 0 or not bool((ahead > 0).all()):
        return False
    usual = float(np.median(ahead.to_numpy()))
    return not evenly or bool(((ahead - usual).abs() <= grids.SLACK * usual).all())


def _time(table: Table, settings: DataSettings, kinds: Kinds) -> str:
    """The only column of times; of several, the one with a usual name, or that of the starts."""
    free = without_role(table, settings)
    candidates = [name for name in free if kinds[name] == "time"]
    if not candidates:
        listed = [name for name in free if kinds[name] in ("number", "list")]
        plain = len(listed) == len(free)  # a text in the row would make the number an id
        name = known_as(listed, TIMES) or (_unnamed_epoch(table, listed) if plain else "")
        name = name or next((one for one in listed if _is_dated(table, one)), "")
        known = name and (
            kinds[name] == "list"
            or _whole(table, name)
            or _is_epoch(table, name)
            or times.are_quarters(table.sample[name], name)
        )
        return name if known else ""
    # The start and the end of a whole query stand beside each row of some databases.
    changing = [name for name in candidates if table.sample[name].n_unique() > 1]
    candidates = changing or candidates
    if len(candidates) == 1:
        return candidates[0]
    if name := known_as(candidates, TIMES) or _start(table, candidates):
        return name
    named = " or ".join(option("time", name) for name in candidates[:3])
    raise ConfigError(
        f"{table.name}: the columns {listing(candidates)} all hold times. "
        f"Name the one that orders the steps: {named}."
    )


def _unnamed_epoch(table: Table, listed: Sequence[str]) -> str:
    """In a table without names, the first column of rising times since 1970; "" for none."""
    if table.dialect is not None and table.dialect.header_rows:
        return ""
    for name in listed:
        if not re.fullmatch(r"column \d+", name):
            continue
        cells = table.sample[name].cast(pl.Float64, strict=False)
        ascending = len(cells) > 1 and bool((cells.diff().drop_nulls() > 0).all())
        if ascending and _is_epoch(table, name):
            return name
    return ""


def _is_dated(table: Table, column: str) -> bool:
    """True for rising numbers that are dates or times since 1970, if the column's name says so."""
    if not any(word in column.lower() for word in DATED) or table.sample[column].dtype.is_nested():
        return False
    moves = table.sample[column].cast(pl.Float64, strict=False).diff().drop_nulls()
    if not moves.len() or not bool((moves > 0).all()):
        return False
    return times.are_days(table.sample[column]) or _is_epoch(table, column)


def _is_epoch(table: Table, column: str) -> bool:
    """True for numbers that are all times since 1970."""
    cells = table.sample[column].cast(pl.Float64, strict=False)
    if cells.null_count() or not len(cells):
        return False
    return bool(times.epoch(float(cells.to_numpy().min()), float(cells.to_numpy().max())))


def _start(table: Table, candidates: Sequence[str]) -> str:
    """The column with the starts, if the times of two columns are always as far apart; else ""."""
    if len(candidates) != 2:
        return ""
    moments = []
    for name in candidates:
        cells = table.sample[name]
        try:
            form, _ = times.form_of(cells, name, name, cells.clone)
            read, _ = times.clock(cells, name, form)
            moments.append(read(cells))
        except GatewiseError:
            return ""
    if moments[0].dtype != moments[1].dtype or any(one.null_count() for one in moments):
        return ""
    apart = moments[1].to_physical() - moments[0].to_physical()
    return candidates[int(apart[0] < 0)] if apart.n_unique() == 1 else ""


def _whole(table: Table, column: str) -> bool:
    cells = table.sample[column].cast(pl.Float64, strict=False)
    return cells.null_count() == 0 and bool((cells == cells.round()).all())


def time_of(table: Table, settings: DataSettings) -> tuple[str, ...]:
    """The columns of times, named or recognised; () for none."""
    kinds = table.kinds(settings.missing_values)
    found = settings.time or _time_parts(table, settings, kinds)
    return found or tuple(filter(None, [_time(table, settings, kinds)]))
