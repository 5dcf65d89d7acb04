"""Pivoted tables: from a column for each hour of a day, or month of a year, to a row for each."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from gatewise.readers.cells import SAMPLE, as_text
from gatewise.readers.columns import LABELS
from gatewise.readers.tables import Table, of_frame
from gatewise.readers.times import MONTHS, YEARS
from gatewise.settings import DataSettings

DAY, YEAR = 24, 12  # hours, months
NAMED = re.compile(r"(?:h|hr|hour|he|stunde)?[ _.-]?(\d{1,2})(?::00|h)?", re.IGNORECASE)
# What stands beside the months of a year and follows from them: means, sums and seasons.
DERIVED = re.compile(
    r"ann(?:ual|ée|ee)?|mean|average|avg|total|sum|jahr(?:esmittel)?|mittel|summe|[djfmasond]{3}"
    r"|j-d|d-n",
    re.IGNORECASE,
)
TIME, VALUE = "time", "value"  # the columns that are made


def by_part(table: Table, settings: DataSettings) -> Table:
    """The table with a row for each hour or month, if columns stand for them; others unchanged.

    Hours must be numbered from 0 to 23 or from 1 to 24, beside one column of dates. Months have
    names or the numbers 1 to 12, beside a column of years, of which R prints no name. The settings
    must name none of them, and no column may hold labels.
    """
    labelled = any(name.lower() in LABELS for name in table.columns)
    if labelled or settings.label or settings.label_columns:
        return table
    named = {*settings.target, *settings.past, *settings.known, *settings.features}
    for find in (_hours, _months):
        others, parts = find(table)
        if not parts or named & {*others, *parts} or TIME in others:
            continue
        kinds = table.kinds(settings.missing_values)
        if all(kinds[name] in ("number", "empty") for name in parts) and (
            find is _months or kinds[others[0]] == "time"
        ):
            return _stacked(table, others, parts, settings.missing_values)
    return table


def _stacked(table: Table, others: list[str], parts: list[str], missing: Sequence[str]) -> Table:
    """The table with a row for each of the parts of the time in the first of the other columns.

    Empty parts at the end of the last row are still to come, so they are left out.
    """
    monthly = len(parts) == YEAR
    numbered = range(1, YEAR + 1) if monthly else range(DAY)
    begins = [f"{number:02d}" if monthly else f"{number:02d}:00" for number in numbered]

    def stacked(batch: pl.DataFrame) -> pl.DataFrame:
        rows = batch.select(*others, *parts).with_row_index("row")
        rows = rows.rename(dict(zip(parts, begins, strict=True)))
        made = rows.unpivot(begins, index=["row", *others], variable_name=TIME, value_name=VALUE)
        made = made.sort("row", TIME).drop("row")
        cells = made.select(as_text(VALUE, made.schema[VALUE], missing))[VALUE]
        filled = cells.is_not_null().reverse().arg_max() or 0
        made = made.head(made.height - min(filled, len(parts) - 1))
        if not monthly:
            return made
        year = pl.col(others[0]).cast(pl.String).str.strip_chars().str.replace(r"\.0$", "")
        return made.with_columns(pl.concat_str(year, pl.lit("-"), TIME).alias(TIME)).drop(others[0])

    def batches(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        for batch in table.batches([*others, *parts]):
            yield stacked(batch).select(columns)

    what = "months of a year" if monthly else "hours of a day"
    left_out = [name for name in table.columns if name not in (*others, *parts)]
    note = (
        f"{len(parts)} columns, {parts[0]!r} to {parts[-1]!r}, are the {what}: each becomes a row "
        f"of {VALUE!r}" + (f"; not read: {', '.join(map(repr, left_out))}" if left_out else "")
    )
    made = of_frame(stacked(table.sample), table.name)
    return replace(
        made,
        sample=made.sample.head(SAMPLE),
        likely=table.likely * len(parts),
        batches=batches,
        notes=(*table.notes, note),
        dialect=table.dialect,
        each=len(parts),
        place=lambda row: f"column {parts[row % len(parts)]!r} of {table.at(row // len(parts))}",
    )


def _hours(table: Table) -> tuple[list[str], list[str]]:
    """The column of days, and those of the hours in order; none if they are not those of a day."""
    found = {name: NAMED.fullmatch(name.strip()) for name in table.columns}
    numbers = {name: int(match[1]) for name, match in found.items() if match}
    hours = sorted(numbers, key=numbers.__getitem__)
    counted = [numbers[name] for name in hours]
    others = [name for name in table.columns if name not in numbers]
    if counted not in (list(range(DAY)), list(range(1, DAY + 1))) or len(others) != 1:
        return [], []
    return others, hours


def _months(table: Table) -> tuple[list[str], list[str]]:
    """The column of years and others, and those of the months in order; none if not all are there.

    What follows from the months is left out of the others.
    """
    years = [name for name in table.columns if name.strip().lower() in YEARS]
    first = table.columns[0]
    if not years and first == "column 1" and table.sample[first].dtype in (pl.String, pl.Int64):
        cells = table.sample[first].cast(pl.String).str.strip_chars()
        years = [first] if cells.str.contains(r"^(?:1[89]|2[01])\d\d$").all() else []
    numbers = {name: _month(name) for name in table.columns if name not in years}
    months = sorted((name for name, number in numbers.items() if number), key=numbers.__getitem__)
    if len(years) != 1 or [numbers[name] for name in months] != list(range(1, YEAR + 1)):
        return [], []
    rest = [name for name, number in numbers.items() if not number]
    return [*years, *(name for name in rest if not DERIVED.fullmatch(name.strip()))], months


def _month(name: str) -> int:
    """The number of the month that a column is called by; 0 if it is none."""
    plain = unicodedata.normalize("NFKD", name.strip().lower())
    letters = "".join(sign for sign in plain if sign.isalnum())
    if letters.isdigit():
        return int(letters) if len(letters) < 3 and int(letters) <= YEAR else 0
    begins = (k for k, words in enumerate(MONTHS.values(), 1) if letters.startswith(words))
    return next(begins, 0) if len(letters) < 12 else 0
