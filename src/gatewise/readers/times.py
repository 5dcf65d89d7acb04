"""Texts and numbers -> times."""

from collections.abc import Callable

import polars as pl

from gatewise.errors import ConfigError, DataError

FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
ZONE = r":\d{2}(?:\.\d+)? ?(?:Z|UTC|[+-]\d{2}:?\d{2})$"
DAY_OR_MONTH = r"^\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(?:\D|$)"
WHOLE = r"^[+-]?\d+$"

Clock = Callable[[pl.Series], pl.Series]


def parse(texts: pl.Series) -> pl.Series:
    """ISO dates and datetimes without a zone, down to "1949-01"; null where a text is neither."""
    tidy = (
        texts.str.replace_all("/", "-")
        .str.replace(r"^(\d{4}-\d{1,2}-\d{1,2})[T ]+", "${1} ")
        .str.replace(r"^(\d{4}-\d{1,2})$", "${1}-01")
    )
    # chrono's %Y takes "1-01" for a month of the year 1; that is seldom what the file means.
    tidy = tidy.set(~tidy.str.contains(r"^\d{4}-").fill_null(True), None)
    return _first_that_reads(tidy, FORMATS, None)


def parse_zoned(texts: pl.Series) -> pl.Series:
    """ISO datetimes with a zone, as UTC; null where a text is none or names no zone."""
    tidy = (
        texts.str.replace_all("/", "-")
        .str.replace(r"^(\d{4}-\d{1,2}-\d{1,2})[T ]+", "${1} ")
        .str.replace(r" ?(?:Z|UTC)$", "+00:00")
    )
    return _first_that_reads(tidy, [f"{one}%z" for one in FORMATS[:2]], "UTC")


def _first_that_reads(
    texts: pl.Series, formats: list[str] | tuple[str, ...], zone: str | None
) -> pl.Series:
    times = texts.str.to_datetime(formats[0], time_unit="us", time_zone=zone, strict=False)
    for one in formats[1:]:
        if times.null_count() == texts.null_count():
            break
        again = texts.str.to_datetime(one, time_unit="us", time_zone=zone, strict=False)
        times = times.fill_null(again)
    return times.dt.replace_time_zone(None) if zone else times


def are_times(texts: pl.Series) -> bool:
    """Whether most of these texts (none empty) are times, perhaps with day and month unsettled."""
    read = parse(texts).is_not_null() | parse_zoned(texts).is_not_null()
    # Half is enough: one bad cell in a column of times is an error to show, not another kind.
    return int((read | texts.str.contains(DAY_OR_MONTH)).sum()) * 2 >= texts.len()


def clock(sample: pl.Series, name: str, time_format: str) -> tuple[Clock, list[str]]:
    """How the cells of this column become Int64, Float64 or Datetime, and what to say of it.

    Args:
        sample: the first cells of the column, empty ones null.
        name: the file and column, for messages.
        time_format: as in strptime, or "".

    Raises:
        DataError: day and month cannot be told apart.
    """
    kind = sample.dtype
    if kind == pl.Date or isinstance(kind, pl.Datetime):
        zone = isinstance(kind, pl.Datetime) and kind.time_zone is not None
        return _native, ["times are converted to UTC"] if zone else []
    if kind.is_numeric() and not time_format:
        return (_whole if _are_whole(sample) else _fraction), []
    texts = sample.cast(pl.String).drop_nulls()
    if time_format:
        return _formatted(name, time_format), []
    if texts.str.contains(WHOLE).all():
        return _whole, []
    if texts.cast(pl.Float64, strict=False).null_count() == 0:
        return (_whole_float if _are_whole(texts.cast(pl.Float64)) else _fraction), []
    _settle_day_and_month(texts, name)
    if texts.str.contains(ZONE).any():
        return parse_zoned, ["times are converted to UTC"]
    return parse, []


def _native(series: pl.Series) -> pl.Series:
    if isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return series.cast(pl.Datetime("us"))


def _whole(series: pl.Series) -> pl.Series:
    whole = series.cast(pl.Int64, strict=False)
    if series.dtype.is_float():
        whole = whole.set((whole.cast(pl.Float64) != series).fill_null(False), None)
    return whole


def _whole_float(series: pl.Series) -> pl.Series:
    return _whole(series.cast(pl.Float64, strict=False))


def _are_whole(numbers: pl.Series) -> bool:
    known = numbers.drop_nulls()
    return not known.dtype.is_float() or bool((known == known.round()).all())


def _fraction(series: pl.Series) -> pl.Series:
    numbers = series.cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_finite().fill_null(True), None)


def _formatted(name: str, time_format: str) -> Clock:
    zone = "UTC" if "%z" in time_format else None

    def read(series: pl.Series) -> pl.Series:
        try:
            times = series.cast(pl.String).str.to_datetime(
                time_format, time_unit="us", time_zone=zone, strict=False
            )
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"{name}: data.time_format={time_format!r} cannot be used: {reason}."
            ) from None
        return times.dt.replace_time_zone(None)

    return read


def _settle_day_and_month(texts: pl.Series, name: str) -> None:
    doubtful = texts.filter(texts.str.contains(DAY_OR_MONTH))
    if doubtful.len() == 0:
        return
    mark = doubtful[0].lstrip("0123456789")[0]
    year = "%Y" if doubtful.str.contains(r"^\d+\D\d+\D\d{4}").all() else "%y"
    rest = " %H:%M:%S" if doubtful[0].count(":") == 2 else " %H:%M" if ":" in doubtful[0] else ""
    forms = [mark.join(order) + rest for order in (("%d", "%m", year), ("%m", "%d", year))]
    raise DataError(
        f"{name} holds {doubtful[0]!r}, where day and month cannot be told apart safely. "
        f'Set data.time_format to "{forms[0]}" (day first) or "{forms[1]}" (month first).'
    )
