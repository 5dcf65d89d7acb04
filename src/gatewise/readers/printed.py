"""Lists of numbers that a cell holds as text: [1, 2.5], or [1.  2.5] as NumPy prints an array."""

from collections.abc import Sequence

import polars as pl

from gatewise.errors import DataError

NUMBERS = r"(?i)^\[(?:[-+\d.e,\s]|nan|inf)*\d[^\[\]]*\]$"  # and no list within
SHORTENED = r"^\[+[-+\d.eE,\s]+\.\.\.[-+\d.eE,\s\[\]]*\]$"
NESTED = r"^\[\s*\[[-+\d.eE,\s\[\]]+\]\s*\]$"


def columns(sample: pl.DataFrame, name: str) -> list[str]:
    """The columns of which every cell is a list of numbers; `name` is that of the table.

    Raises:
        DataError: NumPy has left numbers out, or the lists hold lists.
    """
    begins = sample.select(pl.all().str.contains(r"^\s*\[").any().fill_null(False)).row(0)
    found = []
    for column, begun in zip(sample.columns, begins, strict=True):
        if not begun:
            continue
        cells = sample[column].str.strip_chars().drop_nulls()
        cells = cells.filter(cells != "")
        if cells.str.contains(SHORTENED).any():
            raise DataError(
                f"{name}: the column {column!r} holds arrays that NumPy has printed with '...' in "
                "place of most numbers. Write them whole: array.tolist()."
            )
        if cells.str.contains(NESTED).all():
            raise DataError(
                f"{name}: the column {column!r} holds lists of lists as text. Write the table as "
                "JSON Lines (frame.to_json(path, orient='records', lines=True)), which keeps them."
            )
        if cells.str.contains(NUMBERS).all():
            found.append(column)
    return found


def plain(batch: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The batch with lists in these columns; what is no number in a list is null."""
    return batch.with_columns(_lists(name) for name in names if name in batch.columns)


def _lists(name: str) -> pl.Expr:
    inner = pl.col(name).str.strip_chars().str.strip_chars("[]").str.strip_chars(", \t\r\n")
    numbers = inner.str.replace_all(r"\s*,\s*|\s+", " ").str.split(" ")
    return (
        pl.when(inner != "")
        .then(numbers.cast(pl.List(pl.Float64), strict=False))
        .otherwise(pl.lit([], pl.List(pl.Float64)))
        .alias(name)
    )


def note(names: Sequence[str]) -> str:
    """A note that names the columns."""
    listed = ", ".join(map(repr, names))
    return (
        f"the column {listed} holds lists of numbers as text"
        if len(names) == 1
        else f"the columns {listed} hold lists of numbers as text"
    )
