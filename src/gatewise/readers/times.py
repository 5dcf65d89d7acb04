"""Parse times from texts and numbers."""

from collections.abc import Callable

import polars as pl

from gatewise.errors import ConfigError, DataError

FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
ZONE = r":\d{2}(?:\.\d+)? ?(?:Z|UTC|[+-]\d{2}:?\d{2})$"
DAY_OR_MONTH = r"^\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(?:\D|$)"
WHOLE = r"^[+-]?\d+$"

Clock = Callable[[pl.Series], pl.Series]


def parse(texts: pl.Series) -> pl.Series:
    """Parse ISO dates and datetimes without a zone, such as "1949-01"; other texts become null."""
    tidy = (
        texts.str.replace_all("/", "-")
        .str.replace(r"^(\d{4}-\d{1,2}-\d{1,2})[T ]+", "${1} ")
        .str.replace(r"^(\d{4}-\d{1,2})$", "${1}-01")
    )
    # The parser reads "1-01" as a month of the year 1, which is rarely what a file means.
    tidy = tidy.set(~tidy.str.contains(r"^\d{4}-").fill_null(True), None)
    return _parse_with(tidy, FORMATS, None)


def parse_zoned(texts: pl.Series) -> pl.Series:
    """Parse ISO datetimes with a zone, as UTC; other texts become null."""
    tidy = (
        texts.str.replace_all("/", "-")
        .str.replace(r"^(\d{4}-\d{1,2}-\d{1,2})[T ]+", "${1} ")
        .str.replace(r" ?(?:Z|UTC)$", "+00:00")
    )
    return _parse_with(tidy, [f"{pattern}%z" for pattern in FORMATS[:2]], "UTC")


def _parse_with(
    texts: pl.Series, formats: list[str] | tuple[str, ...], zone: str | None
) -> pl.Series:
    """Parse each text with the first format that fits."""
    times = texts.str.to_datetime(formats[0], time_unit="us", time_zone=zone, strict=False)
    for pattern in formats[1:]:
        if times.null_count() == texts.null_count():
            break
        again = texts.str.to_datetime(pattern, time_unit="us", time_zone=zone, strict=False)
        times = times.fill_null(again)
    return times.dt.replace_time_zone(None) if zone else times


def are_times(texts: pl.Series) -> bool:
    """True if most of these texts are times, even if day and month are ambiguous."""
    read = parse(texts).is_not_null() | parse_zoned(texts).is_not_null()
    # Half is enough, because a few bad cells in a column of times must become an error.
    return int((read | texts.str.contains(DAY_OR_MONTH)).sum()) * 2 >= texts.len()


def clock(sample: pl.Series, name: str, time_format: str) -> tuple[Clock, list[str]]:
    """The function that parses the cells of a column to Int64, Float64 or Datetime, and notes.

    Args:
        sample: the first cells of the column; empty cells are null.
        name: the file and column, for messages.
        time_format: a format as in strptime, or "".

    Raises:
        DataError: day and month are ambiguous.
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
    _refuse_ambiguous(texts, name)
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


def _refuse_ambiguous(texts: pl.Series, name: str) -> None:
    """Refuse dates in which the first number may be the day or the month."""
    ambiguous = texts.filter(texts.str.contains(DAY_OR_MONTH))
    if ambiguous.len() == 0:
        return
    mark = ambiguous[0].lstrip("0123456789")[0]
    year = "%Y" if ambiguous.str.contains(r"^\d+\D\d+\D\d{4}").all() else "%y"
    rest = " %H:%M:%S" if ambiguous[0].count(":") == 2 else " %H:%M" if ":" in ambiguous[0] else ""
    forms = [mark.join(order) + rest for order in (("%d", "%m", year), ("%m", "%d", year))]
    raise DataError(
        f"{name} holds {ambiguous[0]!r}, in which the order of day and month is ambiguous. "
        f'Set data.time_format to "{forms[0]}" (day first) or "{forms[1]}" (month first).'
    )
