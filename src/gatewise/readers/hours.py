"""A table with a day in each row and a column for each of its hours -> a row for each hour."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from gatewise.readers.cells import SAMPLE
from gatewise.readers.tables import Table, of_frame
from gatewise.settings import DataSettings

DAY = 24
NAMED = re.compile(r"(?:h|hr|hour|he|stunde)?[ _.-]?(\d{1,2})(?::00|h)?", re.IGNORECASE)
HOUR, VALUE = "time", "value"  # the columns that are made


def by_hour(table: Table, settings: DataSettings) -> Table:
    """The table with a row for each hour, if a day has a column for each; others unchanged.

    The columns must be numbered from 0 to 23 or from 1 to 24, beside one column of dates, and the
    settings must name none of them.
    """
    others, hours = _columns(table)
    named = {*settings.target, *settings.past, *settings.known, *settings.features}
    kinds = table.kinds(settings.missing_values) if len(hours) == DAY and len(others) == 1 else {}
    if not kinds or named & set(hours) or kinds[others[0]] != "time" or others[0] == HOUR:
        return table
    if any(kinds[name] not in ("number", "empty") for name in hours):
        return table

    def stacked(batch: pl.DataFrame) -> pl.DataFrame:
        clock = [f"{hour:02d}:00" for hour in range(DAY)]
        rows = batch.with_row_index("row").rename(dict(zip(hours, clock, strict=True)))
        made = rows.unpivot(clock, index=["row", *others], variable_name=HOUR, value_name=VALUE)
        return made.sort("row", HOUR).drop("row")

    def batches(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        for batch in table.batches([*others, *hours]):
            yield stacked(batch).select(columns)

    note = (
        f"{DAY} columns, {hours[0]!r} to {hours[-1]!r}, are the hours of a day: each becomes a row "
        f"of {VALUE!r}"
    )
    made = of_frame(stacked(table.sample), table.name)
    return replace(
        made,
        sample=made.sample.head(SAMPLE),
        likely=table.likely * DAY,
        batches=batches,
        notes=(*table.notes, note),
        dialect=table.dialect,
        place=lambda row: f"column {hours[row % DAY]!r} of {table.at(row // DAY)}",
    )


def _columns(table: Table) -> tuple[list[str], list[str]]:
    """The other columns, and those of the hours in order; none if their numbers are not a day's."""
    found = {name: NAMED.fullmatch(name.strip()) for name in table.columns}
    numbers = {name: int(match[1]) for name, match in found.items() if match}
    hours = sorted(numbers, key=numbers.__getitem__)
    counted = [numbers[name] for name in hours]
    if counted not in (list(range(DAY)), list(range(1, DAY + 1))):
        return table.columns, []
    return [name for name in table.columns if name not in numbers], hours
