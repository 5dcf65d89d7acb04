"""Read .tsf files, the format of the Monash forecasting archive, as a table with one row per step.

Godahewa et al. 2021, "Monash Time Series Forecasting Archive".
"""

import re
from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl

from gatewise.errors import DataError
from gatewise.readers.files import File, other_encoding, reading
from gatewise.readers.tables import Table, of_frame
from gatewise.settings import shown

STEPS = {
    "yearly": (1, "y"),
    "quarterly": (3, "mo"),
    "monthly": (1, "mo"),
    "weekly": (1, "w"),
    "daily": (1, "d"),
    "hourly": (1, "h"),
    "half_hourly": (30, "m"),
    "15_minutes": (15, "m"),
    "10_minutes": (10, "m"),
    "minutely": (1, "m"),
    "4_seconds": (4, "s"),
    "seconds": (1, "s"),
}
START = "%Y-%m-%d %H-%M-%S"


def read(file: File) -> Table:
    """The series of a .tsf file: columns id, time if the file has starts, and value.

    Raises:
        DataError: the file is not a .tsf file, or a line lacks an attribute or holds no numbers.
    """
    name = str(file.path)
    with reading(name), file.opened() as stream:
        content = stream.read()
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        try:
            lines = content.decode("cp1252").splitlines()  # the encoding of the archive
        except UnicodeDecodeError:
            raise other_encoding(name, content=content) from None
    attributes, stated, begin = _header(lines, name)
    frequency, horizon = stated.get("@frequency", ""), stated.get("@horizon", "")
    parts = [
        _series(line, attributes, frequency, f"{name}: line {number}")
        for number, line in enumerate(lines[begin:], start=begin + 1)
        if line.strip() and not line.startswith("#")
    ]
    if not parts:
        raise DataError(f"{name} holds no series below @data.")
    table = of_frame(pl.concat(parts, how="vertical_relaxed"), name)
    notes = []
    if any(kind == "date" for _, kind in attributes) and not _step_of(frequency):
        given = f"of {shown(frequency)} is not known" if frequency else "is not given"
        notes.append(f"steps are counted, because the frequency {given} (@frequency)")
    if horizon:
        notes.append(
            f"the file names a horizon of {horizon} steps, which --horizon {horizon} forecasts"
        )
    return replace(table, notes=tuple(notes))


def _step_of(frequency: str) -> tuple[int, str] | None:
    """The step of a frequency, in units of Polars; None for one that is not known."""
    return STEPS.get(re.sub(r"\W", "_", frequency))


def _header(lines: list[str], name: str) -> tuple[list[tuple[str, str]], dict[str, str], int]:
    """The attributes (name, kind), frequency and horizon, and the line of the first series."""
    attributes, stated = [], {}
    for place, line in enumerate(lines):
        words = line.strip().lower().split()
        if words[:1] == ["@attribute"] and len(words) > 2:
            attributes.append((words[1], words[2]))
        elif words[:1] in (["@frequency"], ["@horizon"]) and len(words) > 1:
            stated[words[0]] = words[1]
        elif words[:1] == ["@data"]:
            return attributes, stated, place + 1
    raise DataError(f"{name} has no line @data. In a .tsf file it precedes the series.")


def _series(
    line: str, attributes: list[tuple[str, str]], frequency: str, where: str
) -> pl.DataFrame:
    parts = line.strip().split(":")
    if len(parts) != len(attributes) + 1:
        raise DataError(
            f"{where} has {len(parts) - 1} attributes, but the header names {len(attributes)}."
        )
    try:
        values = [np.nan if cell.strip() == "?" else float(cell) for cell in parts[-1].split(",")]
    except ValueError as error:
        raise DataError(
            f"{where} holds a value that is not a number ({str(error)[:80]})."
        ) from None
    known = dict(zip((one for one, _ in attributes), parts, strict=False))
    columns = {"id": pl.Series([known.get("series_name", where)] * len(values))}
    start = next((known[one] for one, kind in attributes if kind == "date"), "")
    step = _step_of(frequency)
    if start and not step:
        columns["time"] = pl.Series(np.arange(len(values)))
    if start and step:
        try:
            first = datetime.strptime(start.strip(), START)
        except ValueError:
            raise DataError(f"{where} begins at {shown(start)}, which is not {START}.") from None
        columns["time"] = evenly(first, step, len(values))
    columns["value"] = pl.Series(values, dtype=pl.Float64)
    return pl.DataFrame(columns)


def evenly(first: datetime, step: tuple[int, str], count: int) -> pl.Series:
    """`count` times from the first one on, one step apart."""
    number, unit = step
    offsets = pl.DataFrame({"by": [f"{number * k}{unit}" for k in range(count)]})
    times = offsets.select(pl.lit(first).dt.offset_by(pl.col("by")))
    return times.to_series().cast(pl.Datetime("us"))
