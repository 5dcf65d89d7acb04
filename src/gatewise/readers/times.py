"""Read times from texts and numbers: every format that a column of times may have.

`form_of` finds the format of a column, which becomes `data.time_format`; `clock` reads with it. A
format is a format of strptime, or one of the names in `FORMS`.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from gatewise.data.calendar import offset, shift, unknown_zone
from gatewise.data.sequences import Array
from gatewise.errors import ConfigError, DataError

FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
DOTTED = r"^(\d{4})\.(\d{1,2})\.(\d{1,2})\b"  # a date, as trading terminals write it
# Abbreviations of zones that mean one offset; CST, IST, BST and others mean several.
ABBREVIATIONS = {
    abbreviation: offset
    for offset, named in {
        "+00:00": "GMT WET",
        "+01:00": "CET MEZ WEST",
        "+02:00": "CEST MESZ EET",
        "+03:00": "EEST",
        "+08:00": "AWST",
        "+09:00": "JST KST",
        "+10:00": "AEST",
        "+11:00": "AEDT",
        "+12:00": "NZST",
        "+13:00": "NZDT",
        "-04:00": "EDT",
        "-05:00": "EST",
        "-06:00": "MDT",
        "-07:00": "MST PDT",
        "-08:00": "PST",
    }.items()
    for abbreviation in named.split()
}
ABBREVIATED = rf" ?\(?({'|'.join(ABBREVIATIONS)})\)?$"
CHINESE = r"^(\d{4}) ?[年년] ?(\d{1,2}) ?[月월]"  # a year and a month, also Japanese and Korean
COMMA = r"(:\d{2}),(\d)"  # before a fraction of a second, as in ISO 8601 and Python's logs
CLOCK_END = r":\d{2}(?:[.,]\d+)?(?: ?[AaPp][Mm])?"
ZONE_NAME = r"\[[A-Za-z_/]+\]$"  # behind the offset, as Java writes it
ZONE = rf"{CLOCK_END}(?: ?(?:Z|UTC|[+-]\d{{2}}(?::?\d{{2}})?)(?:{ZONE_NAME[:-1]})?$|{ABBREVIATED})"
OFFSET = rf"(?:([+-]\d{{2}}):?(\d{{2}})?|Z|UTC)(?:{ZONE_NAME[:-1]})?$"
DAY_OR_MONTH = r"^\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(?:\D|$)"
WHOLE = r"^[+-]?\d+$"
RANGE = r"(?:\s+(?:-|–|to|bis)\s+\S|/\d{4}-\d{2}).*$"  # from the end of the first time of a range
NAMED_TIME = r"^(?:1[89]|20|21)\d\d(?:\d{4})?$|\d[-./ ]\d|[A-Za-z]{3}[-./ ]*\d|\d[QqHh]\d|[QqHh]\d"
ISO = re.compile(r"[0-9]{4}(?:-[0-9]{2}){2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)?")
LATE = r"([ T])24:([03]0)"  # midnight at the end of a day, or half an hour later
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S%.f", " %I:%M %p", " %I:%M:%S %p", " %I %p")
NAMED = (  # with the names of months
    *("%d %b %Y", "%d-%b-%Y", "%d/%b/%Y", "%d-%b-%y", "%d %B %Y", "%d. %B %Y", "%b %d, %Y"),
    *("%B %d, %Y", "%b %d %Y", "%Y-%b-%d", "%a %b %d %Y", "%A, %B %d, %Y"),
)
WRITTEN = (  # as servers write them
    *(
        "%d/%b/%Y:%H:%M:%S %z",
        "[%d/%b/%Y:%H:%M:%S %z]",
        "%a, %d %b %Y %H:%M:%S GMT",
        "%a, %d %b %Y %H:%M:%S %z",
    ),
    "%a %b %d %H:%M:%S %Y",
)
BASIC = (  # ISO 8601 without signs between the parts
    *("%Y%m%dT%H%M%SZ", "%Y%m%dT%H%MZ", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M", "%Y%m%d %H%M%S"),
    "%Y%m%d %H%M",
)
# Numbers of digits that may be dates, such as 202301312359.
DIGITS = {6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
# The first letters of months in Dutch, English, French, German, Italian, Portuguese and Spanish,
# without accents.
MONTHS = {
    "Jan": ("jan", "ene", "gen"),
    "Feb": ("feb", "fev"),
    "Mar": ("mar", "mrt", "maer", "mrz"),
    "Apr": ("apr", "avr", "abr"),
    "May": ("mai", "may", "mag", "mei"),
    "Jun": ("jun", "juin", "giu"),
    "Jul": ("jul", "juil", "lug"),
    "Aug": ("aug", "aou", "ago"),
    "Sep": ("sep", "set"),
    "Oct": ("okt", "oct", "ott", "out"),
    "Nov": ("nov",),
    "Dec": ("dez", "dec", "dic"),
}
MONTH = re.compile(
    rf"(?<![^\W\d_])(?:{'|'.join(one for begins in MONTHS.values() for one in begins)})"
)
MONTH_NUMBER = r"^M(?:0?[1-9]|1[0-2])$"
MOST_MONTHS = 0.9  # of the cells of a column of months, at least
MONTHLY = (
    "%b %Y",
    "%B %Y",
    "%b-%Y",
    "%b-%y",
    "%b %y",
    "%Y-%b",
    "%Y %b",
    "%m/%Y",
    "%m-%Y",
    "%m.%Y",
    "%YM%m",
)
FISCAL = r"^(?P<first>\d{4})[-/–](?P<last>\d{2}|\d{4})$"  # a year of accounts, or a season
LATEST_SHORT = 2040  # years of two digits are 1941 to 2040: 49 is 1949
DATES = ("date", "datum", "fecha", "data", "day", "ds", "datetime", "serial", "period", "yyyymmdd")
YEARS = ("year", "jahr", "yr", "yyyy", "annee", "année", "ano", "año", "anno")
EPOCHS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
EARLIEST, LATEST = 315_532_800, 4_102_444_800  # 1980 and 2100, in seconds since 1970
# The parts of a time that may stand in columns of their own, and their usual names.
PARTS: dict[str, tuple[str, ...]] = {
    "year": YEARS,
    "quarter": ("quarter", "qtr", "quartal"),
    "month": ("month", "months", "monat", "mon", "mo", "mes", "mois", "period"),
    "week": ("week", "isoweek", "iso_week", "kw"),
    "day of year": ("doy", "day_of_year", "dayofyear", "yday"),
    "day": ("day", "dy", "dom", "day_of_month", "dia", "jour"),
    "hour": (
        "hour",
        "stunde",
        "hr",
        "hora",
        "heure",
        "hour_ending",
        "hourending",
        "he",
        "hour_end",
    ),
    "minute": ("minute", "min"),
    "second": ("second", "sec"),
}
MIDNIGHT = r"^(\d{4}-\d{2}-\d{2}) 00:00:00(?:\.0+)?$"  # a date of a workbook
EMPTY_DAY = r"^1899-12-3[01][T ]"  # the day of a time of day in a workbook
# Columns of parts of a second, with the number of digits; they stand beside a time of day.
FRACTIONS = {
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 3),
    **dict.fromkeys(("us", "µs", "μs", "usec", "microsecond", "microseconds"), 6),
}
# Columns that count the half-hours of a day from 1 on, and such that hold times as 30, 130, 2330.
HALF_HOURS = ("settlement_period", "settlementperiod", "half_hour", "half_hourly_period")
WITHOUT_COLON = ("hhmm", "time_hhmm", "hrmn", "hourminute", "time_(hhmm)", "hrmin")
# As buoys and weather stations write them, where the case tells months from minutes.
SHORT = {"YY": "year", "MM": "month", "DD": "day", "hh": "hour", "mm": "minute"}
# Each pair of zones that change their clocks on other days or hours needs one here.
ZONES = (
    *("Europe/Berlin", "Europe/London", "Europe/Helsinki", "America/New_York", "America/Chicago"),
    *("America/Denver", "America/Los_Angeles", "America/Halifax", "Australia/Sydney"),
    *("Australia/Adelaide", "Pacific/Auckland", "America/Sao_Paulo", "America/Santiago"),
    *("Asia/Tehran", "Asia/Jerusalem", "America/St_Johns", "America/Havana", "UTC"),
)

Clock = Callable[[pl.Series], pl.Series]


# Formats of texts


def parse(texts: pl.Series) -> pl.Series:
    """Parse ISO dates and datetimes without a zone, such as "1949-01"; other texts become null."""
    tidy = (
        texts.str.replace_all("/", "-")
        .str.replace(DOTTED, "${1}-${2}-${3}")
        .str.replace(r"^(\d{4}-\d{1,2}-\d{1,2})[T ,]+", "${1} ")
        .str.replace(r"^(\d{4}-\d{1,2})$", "${1}-01")
        .str.replace(COMMA, "${1}.${2}")
    )
    # The parser reads "1-01" as a month of the year 1, which is rarely what a file means.
    tidy = tidy.set(~tidy.str.contains(r"^\d{4}-").fill_null(True), None)
    return _parse_with(tidy, FORMATS, None)


def parse_zoned(texts: pl.Series) -> pl.Series:
    """Parse ISO datetimes with a zone, as UTC; other texts become null."""
    tidy = (
        _with_offsets(texts)
        .str.replace(ZONE_NAME, "")
        .str.replace_all("/", "-")
        .str.replace(DOTTED, "${1}-${2}-${3}")
        .str.replace(r"^(\d{4}-\d{1,2}-\d{1,2})[T ,]+", "${1} ")
        .str.replace(r" ?(?:Z|UTC)$", "+00:00")
        .str.replace(r"(:\d{2}(?:[.,]\d+)?) ?([+-]\d{2})$", "${1}${2}:00")
        .str.replace(r" ([+-]\d{2}:?\d{2})$", "${1}")
        .str.replace(COMMA, "${1}.${2}")
    )
    return _parse_with(tidy, [f"{pattern}%z" for pattern in FORMATS[:2]], "UTC")


def _with_offsets(texts: pl.Series) -> pl.Series:
    """The texts with an offset in place of the abbreviation of a zone."""
    found = texts.str.extract(ABBREVIATED, 1)
    if found.null_count() == len(found):
        return texts
    offsets = found.replace_strict(ABBREVIATIONS, default=None)
    return (texts.str.replace(ABBREVIATED, "") + offsets).fill_null(texts)


def abbreviated(cells: pl.Series) -> list[str]:
    """A note on the abbreviations of zones in a column of times; empty without any."""
    if cells.dtype != pl.String:
        return []
    names = cells.str.extract(ABBREVIATED, 1).drop_nulls().unique().sort().to_list()
    read = " and ".join(f"{name} is read as {ABBREVIATIONS[name]}" for name in names)
    return [f"the times have abbreviations of zones: {read}"] if names else []


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


YEAR_OF_QUARTER = r"(?:FY ?)?(?P<year>\d{4}|['’]?\d{2})"
QUARTER_NAMED = (  # also as in French, Spanish and German
    r"(?:[QqTt](?:tr|uarter|rim)?\.? ?(?P<quarter>[1-4])"
    r"|(?P<first>[1-4])(?:[QqTt]|\.? ?(?i:quartal|trim(?:estre)?)))"
)
QUARTERS = (
    rf"^{YEAR_OF_QUARTER}[-_ /.:]?{QUARTER_NAMED}$",
    rf"^{QUARTER_NAMED}[-_ /,.]*{YEAR_OF_QUARTER}$",
    r"^(?P<quarter>[1-4])[-_ /,.]+[Qq]?(?P<year>\d{4})$",
    r"^(?P<year>(?:19|20)\d\d)\.(?P<quarter>[1-4])$",
)


def _quarter(texts: pl.Series) -> pl.Series:
    """Parse quarters such as 2015Q1, Q1 2015, 1-2015, FY2015 Q1, 1Q15, Q1'15 and 2015.1."""
    found = pl.Series([None] * len(texts), dtype=pl.String)
    for form in QUARTERS:
        parts = texts.str.extract_groups(form).struct.unnest()
        quarter = parts["quarter"]
        quarter = quarter.fill_null(parts["first"]) if "first" in parts.columns else quarter
        month = (quarter.cast(pl.Int64) * 3 - 2).cast(pl.String).str.zfill(2)
        found = found.fill_null(_whole_year(parts["year"]) + "-" + month)
    return parse(found)


def _whole_year(years: pl.Series) -> pl.Series:
    """Years of four digits; of two, those from 41 on are of the last century."""
    last = years.str.replace(r"^['’]?([5-9]\d|4[1-9])$", "19${1}")
    return last.str.replace(r"^['’]?(\d{2})$", "20${1}")


def _half_year(texts: pl.Series) -> pl.Series:
    """Parse half-years such as 2024H1, H1 2024 and 2024S2."""
    forms = (
        r"^(?P<year>\d{4})[-_ /.]?[HhSs](?P<half>[12])$",
        r"^[HhSs](?P<half>[12])[-_ /,.]*(?P<year>\d{4})$",
        r"^(?P<half>[12])[HhSs][-_ /]?(?P<year>\d{4})$",
    )
    found = pl.Series([None] * len(texts), dtype=pl.String)
    for form in forms:
        parts = texts.str.extract_groups(form).struct
        month = parts.field("half").replace_strict({"1": "01", "2": "07"}, default=None)
        found = found.fill_null(parts.field("year") + "-" + month)
    return parse(found)


WEEK = r"(?i:w|kw|cw|wk|week|woche)[ ._-]*(?P<week>\d{1,2})"
WEEKS = (
    rf"^(?P<year>\d{{4}})[-_ /,.]*{WEEK}(?:-?(?P<day>[1-7]))?$",
    rf"^{WEEK}[-_ /,.]+(?P<year>\d{{4}})(?P<day>-[1-7])?$",
    r"^(?P<year>(?:19|20)\d{2})(?P<week>\d{2})(?P<day>-[1-7])?$",
    r"^(?P<year>\d{4})[-_ /.](?P<week>\d{1,2})(?P<day>-[1-7])?$",  # a month, where none is above 12
)


def _week(texts: pl.Series) -> pl.Series:
    """Parse ISO weeks such as 2018-W01, 2018 week 1 and 2018-1; a week begins on its Monday."""
    found = pl.Series([None] * len(texts), dtype=pl.String)
    for form in WEEKS:
        parts = texts.str.extract_groups(form).struct
        day = parts.field("day").fill_null("1")
        tidy = parts.field("year") + "-W" + parts.field("week").str.zfill(2) + "-" + day
        found = found.fill_null(tidy)
    return found.str.to_date("%G-W%V-%u", strict=False).cast(pl.Datetime("us"))


def _year(texts: pl.Series) -> pl.Series:
    whole = _first_years(texts).fill_null(texts.str.replace(r"\.0+$", ""))
    whole = whole.set(~whole.str.contains(r"^\d{4}$").fill_null(True), None)
    return parse(whole + "-01")


def _excel(texts: pl.Series, *, begin: str = "1899-12-30") -> pl.Series:
    """Parse days since the start, to the second."""
    seconds = (texts.cast(pl.Float64, strict=False) * 86_400).round()
    origin = np.datetime64(begin, "us").astype(np.int64)
    return (seconds.cast(pl.Int64) * 1_000_000 + origin).cast(pl.Datetime("us"))


def _epoch(texts: pl.Series, *, parts: int) -> pl.Series:
    numbers = texts.str.replace(r"\.0+$", "").cast(pl.Int64, strict=False)
    if parts <= 1_000 and numbers.null_count() > texts.null_count():
        # With a fraction, as Python's `time.time` gives; float64 holds microseconds.
        parsed = (texts.cast(pl.Float64, strict=False) * (1_000_000 / parts)).round()
        return parsed.cast(pl.Int64, strict=False).cast(pl.Datetime("us"))
    if texts.str.contains("[eE]").any():
        floats = texts.cast(pl.Float64, strict=False)
        whole = floats.set((floats != floats.round()).fill_null(False), None)
        numbers = numbers.fill_null(whole.cast(pl.Int64, strict=False))
    if parts <= 1_000_000:
        return (numbers * (1_000_000 // parts)).cast(pl.Datetime("us"))
    return (numbers // (parts // 1_000_000)).cast(pl.Datetime("us"))


# The time since a start, as stop watches, recorders and pandas write it: 0:00.005, 1 days 12:30:00.
ELAPSED_CELL = r"^'?(?:(?P<days>\d+) days? )?(?:(?P<hours>\d+):)?(?P<minutes>\d{1,2}):"
ELAPSED_CELL += r"(?P<seconds>\d{2}(?:\.\d+)?)'?$"


def elapsed(texts: pl.Series) -> pl.Series:
    """Parse the time since a start to seconds, Float64; two parts are minutes and seconds."""
    parts = texts.str.extract_groups(ELAPSED_CELL).struct
    seconds = parts.field("seconds").cast(pl.Float64)
    for name, each in (("minutes", 60), ("hours", 3_600), ("days", 86_400)):
        seconds = seconds + parts.field(name).cast(pl.Float64).fill_null(0.0) * each
    return seconds


ELAPSED = "elapsed"
FORMS: dict[str, Clock] = {
    ELAPSED: elapsed,
    "half-year": _half_year,
    "quarter": _quarter,
    "week": _week,
    "year": _year,
    "excel": _excel,
    "excel 1904": partial(_excel, begin="1904-01-01"),  # workbooks made on old Macintoshes
    **{f"epoch {unit}": partial(_epoch, parts=parts) for unit, parts in EPOCHS.items()},
}


def _formatted(time_format: str) -> Clock:
    """The function that reads one format; months without a day begin on their first day."""
    if time_format in FORMS:
        return FORMS[time_format]
    # chrono's %f counts nanoseconds; its %.f is a point and any number of digits.
    time_format = re.sub(r"[.,]%f", "%.f", time_format)
    zone = "UTC" if "%z" in time_format else None
    clock = re.fullmatch(r"%\S+ (%H:%M(?::%S)?)", time_format)
    monthly = not re.search(r"%[djeuwUWVFcDs]", time_format)
    hourly = "%H" in time_format and not re.search(r"%[MRTX]", time_format)
    named = re.search(r"%[bB]", time_format)
    apart = re.search(r", %[HI]", time_format)

    def read(texts: pl.Series) -> pl.Series:
        given = _in_english(texts) if named else texts
        if not apart:  # as JavaScript joins a date and a clock
            given = given.str.replace(r"(\d),\s*(\d{1,2}:\d{2})", "${1} ${2}")
        if zone:
            given = _with_offsets(given).str.replace(r" ?(?:Z|UTC)$", "+00:00")
        if "%.f" in time_format:
            given = given.str.replace(COMMA, "${1}.${2}")
        if clock:  # spreadsheets leave out the clock at midnight
            given = given.str.replace(r"^(\S+)$", "${1} " + re.sub("%.", "00", clock[1]))
        given = "01 " + given if monthly else given + " 00" if hourly else given
        wanted = f"%d {time_format}" if monthly else time_format + " %M" * hourly
        times = given.str.to_datetime(wanted, time_unit="us", time_zone=zone, strict=False)
        times = times.dt.replace_time_zone(None)
        if "%y" in time_format:
            late = (times.dt.year() > LATEST_SHORT).fill_null(False)
            if late.any():
                times = times.set(late, None).fill_null(times.dt.offset_by("-100y"))
        # "1-01" is rarely a month of the year 1.
        return times.set((times.dt.year() < 1000).fill_null(False), None)

    return read


def _name_months(texts: pl.Series) -> bool:
    """True if some text has a word that begins like a month."""
    plain = unicodedata.normalize("NFKD", " ".join(texts.to_list()).lower())
    letters = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return MONTH.search(letters) is not None


def _in_english(texts: pl.Series) -> pl.Series:
    """The texts with the English abbreviation of a month that another language names."""
    words = texts.str.extract(r"(\p{L}{3,}\.?)")
    for word in words.drop_nulls().unique().to_list():
        plain = unicodedata.normalize("NFKD", word.lower())
        letters = "".join(sign for sign in plain if sign.isalpha())
        for month, begins in MONTHS.items():
            if letters.startswith(begins):
                texts = texts.str.replace(word, month, literal=True)
    return texts


def _begins(texts: pl.Series) -> pl.Series:
    """The begins of ranges, with the signs of ISO 8601 in place of some that programs write."""
    texts = texts.str.replace(RANGE, "").str.replace(" @ ", " ", literal=True)  # as Kibana does
    texts = texts.str.replace(r"([AaPp])\.[ \xa0]?([Mm])\.$", "${1}${2}")
    texts = texts.str.replace(r"^(\d{4}) (\d{1,2}) (\d{1,2})\b", "${1}-${2}-${3}")
    if not texts.str.contains(CHINESE).any():
        return texts
    return (
        texts.str.replace(rf"{CHINESE} ?(\d{{1,2}}) ?[日号일]\s*", "${1}-${2}-${3} ")
        .str.replace(CHINESE, "${1}-${2}")
        .str.replace(r"(\d{1,2}) ?[时時点시] ?(\d{1,2}) ?[分분].*$", "${1}:${2}")
        .str.strip_chars()
    )


def _tolerant(read: Clock) -> Clock:
    """Read also ranges, by their start, and 24:00 and 24:30, which belong to the next day."""

    def reading(texts: pl.Series) -> pl.Series:
        begins = _begins(texts)
        late = begins.str.contains(LATE)
        if not late.any():
            return read(begins)
        times = read(begins.str.replace(LATE, "${1}00:${2}"))
        days = late.cast(pl.Int64).fill_null(0) * 86_400_000_000
        return (times.cast(pl.Int64) + days).cast(pl.Datetime("us"))

    return reading


# Finding the format


def are_times(texts: pl.Series) -> bool:
    """True if most of these texts are times, even if day and month are ambiguous."""
    # Half is enough, because a few bad cells in a column of times must become an error.
    least = (texts.len() + 1) // 2
    if sum(map(_is_iso, texts.to_list())) >= least:
        return True
    if int(texts.str.contains(r"\d").sum()) < least:
        return False
    return _plainly(texts) >= least or any(count >= least for _, count in _fitting(texts))


def _is_iso(text: str) -> bool:
    """Whether a text is a date, or a date and a clock: most times are, and no query shows it."""
    if not ISO.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _plainly(texts: pl.Series) -> int:
    """The number of texts that are ISO times."""
    begins = _begins(texts).str.replace(LATE, "${1}00:00")
    return int((parse(begins).is_not_null() | parse_zoned(begins).is_not_null()).sum())


def _fitting(texts: pl.Series) -> list[tuple[str, int]]:
    """The formats that read some of these texts, with the number of texts that each reads."""
    counts = []
    for time_format in _candidates(texts):
        try:
            count = len(texts) - _tolerant(_formatted(time_format))(texts).null_count()
        except pl.exceptions.PolarsError:
            continue
        if count:
            counts.append((time_format, count))
    return counts


def _candidates(texts: pl.Series) -> list[str]:
    """The formats that the first texts could have."""
    begins = texts.head(100).str.replace(RANGE, "")
    made = ["quarter", "half-year", "week"]
    numbered = begins.filter(begins.str.contains(DAY_OR_MONTH))
    clocks = [one + " %z" for one in CLOCKS[1:]] if begins.str.contains(ZONE).any() else CLOCKS
    if numbered.len():
        mark = numbered[0].lstrip("0123456789")[0]
        year = "%Y" if numbered.str.contains(r"^\d+\D\d+\D\d{4}").all() else "%y"
        made += [
            mark.join(order) + rest
            for rest in clocks
            for order in (("%d", "%m", year), ("%m", "%d", year))
        ]
    if begins.str.contains(r"\d{8}[T ]\d{4}").any():
        made += BASIC
    if begins.str.contains(r"^\d{8} \d{1,2}:\d{2}").any():
        made += [f"%Y%m%d{rest}" for rest in CLOCKS[1:3]]
    if _name_months(begins):
        made += [form + rest for form in NAMED for rest in clocks]
        made += WRITTEN
    # Quarters first: "1-2010" is a month only if some year has a fifth.
    return [*made, *MONTHLY, "%m %d, %Y"]


def form_of(
    cells: pl.Series, column: str, name: str, every: Callable[[], pl.Series]
) -> tuple[str, list[str]]:
    """The format of a column of times for `data.time_format`, and a note; "" for ISO and numbers.

    Args:
        cells: the first cells of the column; empty cells are null.
        column: the name of the column, which tells years from counted steps.
        name: the file and column, for messages.
        every: returns all cells as texts.

    Raises:
        DataError: day and month are ambiguous.
    """
    if cells.dtype == pl.Date or isinstance(cells.dtype, pl.Datetime):
        return "", []
    texts = cells.cast(pl.String).str.strip_chars().drop_nulls()
    if texts.is_empty():
        return "", []
    numbers = texts.cast(pl.Float64, strict=False)
    if numbers.null_count() == 0:
        form = _of_numbers(numbers, column) or _of_points(texts)
        form = form or ("quarter" if are_quarters(texts, column) else "")
    elif _are_fiscal(texts):
        form = "year"
    elif _plainly(texts) == texts.len():
        # 2018-1 is a month, unless the column says that it is a week.
        form = "week" if _are_weeks(texts, column) else ""
    else:
        form = _of_texts(texts, name, every)
    return form, [f"times are read as {form!r} (data.time_format)"] if form else []


def _are_fiscal(texts: pl.Series) -> bool:
    """True for years that end in the next one, such as 2001-02, of which none is a month."""
    return texts.n_unique() > 2 and not _first_years(texts).null_count()


def _first_years(texts: pl.Series) -> pl.Series:
    """The first of two years such as 2001-02 or 1999/2000, if the second follows; else null."""
    years = texts.str.extract_groups(FISCAL).struct
    first, last = (years.field(name) for name in ("first", "last"))
    after = (first.cast(pl.Int64, strict=False) + 1).cast(pl.String)
    follows = (last == after) | (last == after.str.slice(2))
    return first.set(~follows.fill_null(False), None)


def _of_points(texts: pl.Series) -> str:
    """The format of months such as 2010.01, which end with two digits throughout; "" for others."""
    months = texts.str.contains(r"^(?:19|20)\d\d\.(?:0[1-9]|1[0-2])$").all()
    return "%Y.%m" if months and texts.str.slice(5).n_unique() == 12 else ""


def are_quarters(cells: pl.Series, column: str) -> bool:
    """True for numbers such as 2000.1 to 2000.4, in a column that is called so."""
    if cells.dtype.is_nested() or not any(one in column.lower() for one in PARTS["quarter"]):
        return False
    texts = cells.drop_nulls().cast(pl.String).str.strip_chars()
    dotted = texts.str.contains(QUARTERS[-1]).all()
    return bool(dotted) and texts.str.slice(5).n_unique() == 4


def _are_weeks(texts: pl.Series, column: str) -> bool:
    words = re.split(r"[^a-z]+", column.lower())
    bare = bool(texts.str.contains(WEEKS[-1]).all())
    return bare and any(word in PARTS["week"] for word in words)


def _of_numbers(numbers: pl.Series, column: str) -> str:
    """The format of numbers that are times; "" if they count steps."""
    folded = column.lower().replace(" ", "_")
    least, most = (float(numbers.to_numpy().min()), float(numbers.to_numpy().max()))
    whole = bool((numbers == numbers.round()).all())
    if whole and _number_weeks(numbers, column):
        return "week"
    if whole and (form := _of_digits(numbers)):
        return form
    if (form := epoch(least, most)) and (whole or form in ("epoch s", "epoch ms")):
        return form
    if whole and least >= 1000 and most <= 2999 and folded in (*YEARS, "date"):
        return "year"
    dated = any(word in folded for word in ("date", "datum", "time", "serial", "zeit", "fecha"))
    if least >= 20_000 and most <= 80_000 and (folded in DATES if whole else dated):
        return "excel"
    return ""


def _number_weeks(numbers: pl.Series, column: str) -> bool:
    """True for years and weeks such as 201852, in a column that is called so."""
    words = re.split(r"[^a-z]+", column.lower())
    named = any(word in (*PARTS["week"], "yearweek", "yw", "kalenderwoche") for word in words)
    weeks, years = numbers % 100, numbers // 100
    return named and bool((weeks.is_between(1, 53) & years.is_between(1900, 2100)).all())


def epoch(least: float, most: float) -> str:
    """The format of whole numbers from `least` to `most` that are times since 1970; "" for none.

    >>> epoch(1_600_000_000, 1_600_003_600), epoch(1, 400)
    ('epoch s', '')
    """
    for unit, parts in EPOCHS.items():
        if EARLIEST * parts <= least and most <= LATEST * parts:
            return f"epoch {unit}"
    return ""


def are_days(cells: pl.Series) -> bool:
    """True for numbers of eight digits or more that are all dates, such as 20230131."""
    numbers = cells.cast(pl.Float64, strict=False)
    return not numbers.null_count() and len(_of_digits(numbers)) >= len(DIGITS[8])


def _of_digits(numbers: pl.Series) -> str:
    """The format of numbers whose digits are dates, such as 2023013123; "" if any is none."""
    digits = numbers.cast(pl.Int64, strict=False).cast(pl.String)
    if digits.null_count():
        return ""  # above all integers
    lengths = digits.str.len_chars().unique().to_list()
    if len(lengths) > 1 or lengths[0] not in DIGITS:
        return ""
    moments = _formatted(DIGITS[lengths[0]])(digits)
    sound = moments.dt.year().is_between(1900, 2100).fill_null(False).all()
    return DIGITS[lengths[0]] if sound else ""


def _of_texts(texts: pl.Series, name: str, every: Callable[[], pl.Series]) -> str:
    """The format that reads most of these texts; the whole column tells day from month."""
    counts = dict(_fitting(texts))
    plain = _plainly(texts)
    most = max(counts.values(), default=0)
    if most <= plain:
        return ""
    best = [form for form, count in counts.items() if count == most]
    if not best[0].startswith(("%d", "%m")) or len(best) == 1 or "%b" in best[0].lower():
        return best[0]
    orders = {form[:2]: form for form in reversed(best) if form.startswith(("%d", "%m"))}
    pair = list(orders.values())
    if len(pair) == 2 and most == texts.len():
        column = every()
        pair = [form for form in pair if not _formatted_fully(form, column)] or pair
    if len(pair) == 1:
        return pair[0]
    if "." in pair[0]:
        return orders["%d"]  # dates with dots begin with the day
    raise DataError(
        f"{name} holds {texts[0]!r}, in which the order of day and month is ambiguous. "
        f'Set data.time_format to "{orders["%d"]}" (day first) or "{orders["%m"]}" (month first); '
        "both read every row."
    )


def _formatted_fully(time_format: str, cells: pl.Series) -> int:
    """The number of cells that a format cannot read."""
    read = _tolerant(_formatted(time_format))(cells)
    return read.null_count() - cells.null_count()


LEAST_DATED = 6  # names of columns that are times make the columns steps


def dated(names: Sequence[str]) -> tuple[list[str], Array]:
    """The names of columns that are times, in their order, and the times [names]; none if few are.

    >>> dated(["Lat", *(f"1/{day}/23" for day in range(1, 14))])[0][:2]
    ['1/1/23', '1/2/23']
    """
    texts = pl.Series(names, dtype=pl.String)
    texts = texts.filter(texts.str.contains(NAMED_TIME))
    if len(texts) < LEAST_DATED:
        return [], np.empty(0, "M8[us]")
    best, steadiest = pl.Series(dtype=pl.Datetime("us")), (0, False)
    for form in ("", "%Y%m%d", "year", *(form for form, _ in _fitting(texts))):
        read = parse if not form else _formatted(form)
        moments = _tolerant(read)(texts)
        known = moments.drop_nulls()
        # Where both day and month could come first, one of them gives steady steps.
        score = (known.n_unique(), known.sort().diff().drop_nulls().n_unique() == 1)
        if score > steadiest:
            best, steadiest = moments, score
    unique = steadiest[0] == best.len() - best.null_count()
    # Columns numbered 1100 to 2498 are not years, although some of them could be.
    if steadiest[0] < LEAST_DATED or 2 * steadiest[0] < len(names) or not unique:
        return [], np.empty(0, "M8[us]")
    table = pl.DataFrame({"name": texts, "time": best}).drop_nulls().sort("time")
    return table["name"].to_list(), table["time"].to_numpy().astype("M8[us]")


def proposals(cells: pl.Series) -> list[str]:
    """The formats that read every one of these texts; without a clock if no text has one."""
    known = cells.drop_nulls().str.strip_chars()
    formats = [form for form, count in _fitting(known) if count == known.len()]
    clocks = known.str.contains(r"\d:\d").any()
    return [form for form in formats if clocks or ":%M" not in form]


# Reading


def clock(sample: pl.Series, name: str, time_format: str) -> tuple[Clock, list[str]]:
    """The function that parses the cells of a column to Int64, Float64 or Datetime, and notes.

    Times with a zone become UTC.

    Args:
        sample: the first cells of the column; empty cells are null.
        name: the file and column, for messages.
        time_format: a format as in strptime, a name in `FORMS`, or "".

    Raises:
        ConfigError: the format cannot be used.
    """
    kind = sample.dtype
    if kind == pl.Date or isinstance(kind, pl.Datetime):
        return _native, []
    if time_format:
        return _checked(name, time_format), []
    if kind.is_numeric():
        return (_whole if _are_whole(sample) else _fraction), []
    texts = sample.cast(pl.String).drop_nulls()
    if texts.str.contains(WHOLE).all():
        return _whole, []
    if texts.cast(pl.Float64, strict=False).null_count() == 0:
        return (_whole_float if _are_whole(texts.cast(pl.Float64)) else _fraction), []
    zoned = texts.str.contains(ZONE).any()
    return _tolerant(parse_zoned if zoned else parse), []


def _checked(name: str, time_format: str) -> Clock:
    def read(series: pl.Series) -> pl.Series:
        texts = series.cast(pl.String).str.strip_chars()
        try:
            if time_format == ELAPSED:
                return elapsed(texts)
            return _tolerant(_formatted(time_format))(texts)
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"{name}: data.time_format={time_format!r} cannot be used: {reason}."
            ) from None

    return read


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


# Times in several columns


def joined(columns: Sequence[str]) -> tuple[str, ...]:
    """The columns that together are a time by their names, the largest part first; () for none.

    >>> joined(["No", "year", "month", "day", "hour", "load"])
    ('year', 'month', 'day', 'hour')
    """
    if set(columns) >= {"YY", "MM", "DD"}:
        return tuple(name for name in SHORT if name in columns)
    folded = {column.lower().replace(" ", "_"): column for column in reversed(list(columns))}
    found = {
        part: folded[name] for part, names in PARTS.items() for name in names if name in folded
    }
    for order in (
        ("year", "month", "day", "hour", "minute", "second"),
        ("year", "day of year", "hour", "minute", "second"),
        ("year", "quarter"),
        ("year", "week"),
    ):
        parts = [part for k, part in enumerate(order) if set(order[: k + 1]) <= set(found)]
        if len(parts) > 1:
            return tuple(found[part] for part in parts)
    return ()


def are_named(column: str, cells: pl.Series) -> bool:
    """True for a column of months by their names, and for quarters such as Q1.

    >>> are_named("Month", pl.Series(["Jan", "Feb"])), are_named("Month", pl.Series(["a", "b"]))
    (True, False)
    """
    folded = column.lower().replace(" ", "_")
    known = cells.drop_nulls().cast(pl.String).str.strip_chars()
    if not len(known):
        return False
    if folded in PARTS["quarter"]:
        return bool(known.str.contains(r"^(?:[Qq](?:tr|uarter)?\.? ?[1-4]|[1-4][Qq])$").all())
    months = [bool(MONTH.match(one)) for one in _plain(known.str.replace(MONTH_NUMBER, "jan"))]
    # Others are totals of a year, which the reader names.
    return folded in PARTS["month"] and sum(months) >= MOST_MONTHS * len(months)


def _plain(cells: Any) -> Any:
    """The texts of a series or an expression in small letters without accents."""
    return cells.str.to_lowercase().str.normalize("NFKD").str.replace_all(r"\p{M}", "")


def _number_of_month(cell: pl.Expr) -> pl.Expr:
    """The number of a month as a text of two digits, also of one that is named."""
    plain = _plain(cell)
    number = cell.str.replace(r"\.0+$", "").str.replace("^M", "").str.zfill(2)
    for place, begins in enumerate(MONTHS.values(), start=1):
        named = plain.str.contains(f"^(?:{'|'.join(begins)})")
        number = pl.when(named).then(pl.lit(f"{place:02d}")).otherwise(number)
    return number


def _clock_of_half_hours(cell: pl.Expr) -> pl.Expr:
    """The begin of a half-hour that is counted from 1 on, such as 00:30 for 2; else null."""
    since = cell.cast(pl.Int64, strict=False) - 1
    hours = pl.concat_str([(since // 2).cast(pl.String).str.zfill(2), pl.lit(":")])
    half = pl.when(since % 2 == 1).then(pl.lit("30")).otherwise(pl.lit("00"))
    return pl.concat_str([hours, half])


def _date_and_clock(cells: Sequence[pl.Expr], folded: Sequence[str], *, hourly: bool) -> pl.Expr:
    """One text from a date, a time of day and maybe a fraction or a zone, in columns so called."""
    joined = cells[0]
    for cell, name in zip(cells[1:], folded[1:], strict=True):
        whole = cell.str.replace(r"^(\d+)\.0+$", "${1}")
        if name in FRACTIONS:
            joined = pl.concat_str([joined, whole.str.zfill(FRACTIONS[name])], separator=".")
            continue
        if name in HALF_HOURS:
            whole = _clock_of_half_hours(whole)
        if name in WITHOUT_COLON:
            whole = whole.str.zfill(4)
        clock = whole
        if hourly:  # 15, 1530 and 153000
            clock = clock.str.replace(r"^(\d{1,2})$", "${1}:00")
            clock = clock.str.replace(r"^(\d{2})(\d{2})(\d{2})?$", "${1}:${2}:${3}")
            clock = clock.str.strip_suffix(":")
        clock = clock.str.replace(r"^(\d{1,2})\.(\d{2})\.(\d{2})$", "${1}:${2}:${3}")
        clock = clock.str.replace(r"^(\d{1,2})[hH](\d{2})$", "${1}:${2}")
        clock = clock.str.replace(EMPTY_DAY, "")
        date = joined.str.replace(MIDNIGHT, "${1}")
        joined = pl.when(clock.str.contains(r"^\d{1,2}:")).then(date).otherwise(joined)
        joined = pl.concat_str([joined, clock], separator=" ")
    return joined


def as_one(cells: Sequence[pl.Expr], names: Sequence[str], time_format: str = "") -> pl.Expr:
    """One text from the columns of a time: ISO if their names are parts of it, else joined.

    Three columns or more without names are year, month, day and hour; of two, the first may be a
    date or a year. An hour without minutes gets them, unless the format has none.
    """
    folded = [name.lower().replace(" ", "_").strip("<>") for name in names]
    parts = [next((part for part in PARTS if one in PARTS[part]), "") for one in folded]
    if set(names) <= set(SHORT):
        parts = [SHORT[name] for name in names]
    if len(names) > 2 and all(re.fullmatch(r"column \d+", name) for name in names):
        parts = ["year", "month", "day", "hour"][: len(names)]
    if parts[0] != "year" or "" in parts:
        hourly = not time_format or ":%M" in time_format or time_format in FORMS
        dated = _date_and_clock(cells, folded, hourly=hourly)
        if len(names) == 2 and all(re.fullmatch(r"column \d+", name) for name in names):
            year, month = (cell.str.strip_chars().str.zfill(2) for cell in cells)
            monthly = year.str.contains(r"^\d{4}$")
            return pl.when(monthly).then(year + "-" + month + "-01").otherwise(dated)
        return dated
    known = {
        part: _number_of_month(cell)
        if part == "month"
        else cell.str.replace(r"\.0+$", "").str.zfill(4 if part == "year" else 2)
        for part, cell in zip(parts, cells, strict=True)
    }
    if "quarter" in known:
        quarter = known["quarter"].str.extract("([1-4])", 1)
        return pl.concat_str([known["year"], pl.lit("Q"), quarter])
    if "week" in known:
        return pl.concat_str([known["year"], pl.lit("-W"), known["week"]])
    day = [known["year"], pl.lit("-"), known.get("month", pl.lit("01"))]
    day += [pl.lit("-"), known.get("day", pl.lit("01"))]
    if "day of year" in known:
        first = pl.concat_str(day).str.to_date("%Y-%m-%d", strict=False)
        later = known["day of year"].cast(pl.Int64, strict=False) - 1
        day = [(first + pl.duration(days=later)).dt.to_string("%Y-%m-%d")]
    hour = [known.get("hour", pl.lit("00")), pl.lit(":"), known.get("minute", pl.lit("00"))]
    hour += [pl.lit(":"), known.get("second", pl.lit("00"))]
    return pl.concat_str([*day, pl.lit(" "), *hour])


# Time zones


def zone_of(cells: pl.Series, time_format: str = "") -> str:
    """The zone of times with offsets: the first of `ZONES` with all of them, or a fixed offset.

    Returns "" for texts without offsets, and "UTC" if no zone has them all.
    """
    if isinstance(cells.dtype, pl.Datetime):
        return cells.dtype.time_zone or ""
    if cells.dtype != pl.String:
        return ""
    texts = cells.drop_nulls().str.strip_chars()
    texts = _with_offsets(texts.filter(texts.str.contains(ZONE)))
    if not texts.len():
        return ""
    parts = texts.str.extract_groups(OFFSET).struct
    hours, minutes = (parts.field(name).fill_null("00").cast(pl.Int64) for name in parts.fields)
    signs = texts.str.contains(r"-\d{2}:?\d{2}$").cast(pl.Int64) * -2 + 1
    given = ((hours.abs() * 60 + minutes) * signs).to_numpy()
    if (given == given[0]).all():
        return offset(int(given[0])) if given[0] else "UTC"
    read = _formatted(time_format)(texts) if time_format else parse_zoned(texts)
    if read.null_count():
        return ""  # which the reader of the times refuses
    utc = read.to_physical().to_numpy()
    return next((zone for zone in ZONES if (shift(utc, zone) == given).all()), "UTC")


def to_utc(local: Array, zone: str, ids: Array | None) -> tuple[Array, Array]:
    """Local times as UTC, and where there is no such time, both [steps] in microseconds.

    Of two rows of a sequence with the same time, the later one lies after the clock was set back.
    """
    if re.fullmatch(r"[+-]\d\d:\d\d", zone):
        return local - shift(local, zone) * 60_000_000, np.zeros(len(local), dtype=bool)
    frame = pl.DataFrame({"time": pl.Series(local).cast(pl.Datetime("us"))})
    frame = frame.with_columns(pl.lit(0) if ids is None else pl.Series("id", ids))
    again = frame.select((pl.int_range(pl.len()).over(frame.columns) > 0).alias("again"))
    choice = again["again"].replace_strict([False, True], ["earliest", "latest"])
    try:
        times = frame.with_columns(choice.alias("choice")).select(
            pl.col("time").dt.replace_time_zone(
                zone, ambiguous=pl.col("choice"), non_existent="null"
            )
        )["time"]
    except pl.exceptions.PolarsError:
        raise unknown_zone(zone) from None
    utc = times.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    missing = utc.is_null().to_numpy()
    return utc.fill_null(frame["time"]).to_physical().to_numpy(), missing


def zone_of_changes(local: Array, ids: Array | None) -> str:
    """The first of `ZONES` in which local times never repeat and never fail; "" for none."""
    for zone in ZONES[:-1]:
        utc, missing = to_utc(local, zone, ids)
        order = np.lexsort((utc, ids)) if ids is not None else np.argsort(utc, kind="stable")
        same = np.diff(utc[order]) == 0
        if ids is not None:
            same &= np.diff(ids[order]) == 0
        if not missing.any() and not same.any():
            return zone
    return ""


def zone_without_gaps(local: Array, ids: Array) -> str:
    """The first of `ZONES` in which local times are all one step apart; "" for none."""
    for zone in ZONES[:-1]:
        utc, missing = to_utc(local, zone, ids)
        ahead = np.diff(utc)[np.diff(ids) == 0]
        if not missing.any() and len(ahead) and (ahead == ahead[0]).all():
            return zone
    return ""
