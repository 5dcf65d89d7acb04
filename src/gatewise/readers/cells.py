"""The cells of a column as texts or numbers, and the kind of a column that they show."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from gatewise.errors import DataError
from gatewise.readers import times

SAMPLE = 1000  # rows that determine the kind of a column
TRUE, FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")


def as_text(column: str, dtype: pl.DataType, missing: Sequence[str]) -> pl.Expr:
    """A column as texts; empty cells are null, and whole numbers have no decimal point.

    Raises:
        DataError: the cells are lists.
    """
    if isinstance(dtype, pl.List | pl.Array):
        raise DataError(
            f"The column {column!r} holds lists, but must hold texts or numbers. Write one of them "
            "in each cell, or leave the column out."
        )
    cell = pl.col(column)
    if dtype.is_float():
        whole = (cell == cell.round()) & cell.is_finite() & (cell.abs() < 2**53)
        number = pl.when(whole).then(cell.cast(pl.Int64, strict=False).cast(pl.String))
        return number.otherwise(cell.fill_nan(None).cast(pl.String)).alias(column)
    text = cell.cast(pl.String).str.strip_chars()
    return pl.when(~text.is_in(list(missing))).then(text).alias(column)


def as_number(
    column: str, dtype: pl.DataType, missing: Sequence[str], *, boolean: bool = False
) -> pl.Expr:
    """A column as float64; empty cells and cells that are not numbers are null."""
    empty = list(missing_numbers(missing))
    if dtype.is_numeric() or dtype == pl.Boolean or dtype == pl.Null:
        number = pl.col(column).cast(pl.Float64)
    elif boolean:
        text = as_text(column, dtype, missing)
        known = pl.when(text.is_in(list(TRUE))).then(1.0).when(text.is_in(list(FALSE))).then(0.0)
        return known.alias(column)
    else:  # most texts that mean "empty" are not numbers, so the cast makes them null
        number = pl.col(column).cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    return pl.when(~number.is_in(empty)).then(number).alias(column) if empty else number


def missing_numbers(missing: Sequence[str]) -> list[float]:
    """The numbers among the texts that mean a missing value; -9999 and -9999.0 are equal.

    >>> missing_numbers(["", "NA", "-9999"])
    [-9999.0]
    """
    return [float(text) for text in missing if _is_number(text)]


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


KINDS_OF_TYPE: dict[str, Callable[[Any], bool]] = {
    "number": lambda dtype: dtype.is_numeric(),
    "boolean": lambda dtype: dtype == pl.Boolean,
    "time": lambda dtype: dtype == pl.Date or isinstance(dtype, pl.Datetime),
    "list": lambda dtype: dtype.is_nested() and dtype != pl.Struct,
    "empty": lambda dtype: dtype == pl.Null,
    "text": lambda dtype: dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum),
}


def kinds_in(frame: pl.DataFrame, missing: Sequence[str]) -> dict[str, str]:
    """The kind of each column; one query reads all columns of texts.

    A query takes longer than counting in Python in a table of a few rows, as a server reads them.
    """
    schema = frame.schema
    kinds = {
        name: next((kind for kind, fits in KINDS_OF_TYPE.items() if fits(dtype)), "other")
        for name, dtype in schema.items()
    }
    written = [name for name, kind in kinds.items() if kind == "text"]
    cells = frame.select(as_text(name, schema[name], missing) for name in written)
    return kinds | {name: _kind(cells[name]) for name in written}


DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


def _kind(cells: pl.Series) -> str:
    """The kind of a column of texts, in which empty cells are null."""
    texts = [text for text in cells.to_list() if text is not None][:SAMPLE]
    if not texts:
        return "empty"
    if set(texts) <= {*TRUE, *FALSE}:
        return "boolean"
    # Half is enough, because a few bad cells in a column of numbers must become an error.
    known = pl.Series(texts, dtype=pl.String)
    if known.cast(pl.Float64, strict=False).null_count() * 2 <= len(texts):
        return "number"
    if sum(map(bool, map(DECIMAL_COMMA.fullmatch, texts))) * 2 >= len(texts):
        return "number"
    return "time" if times.are_times(known) else "text"
