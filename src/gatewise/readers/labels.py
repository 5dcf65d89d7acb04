"""Columns of labels and ids: equal ones in one spelling, names such as NA, columns of 0 and 1."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from gatewise.data.sequences import Array, Sequences
from gatewise.errors import DataError
from gatewise.readers.cells import FALSE, TRUE, as_number, as_text
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

# Equal numbers are one label, because a column of floats may have written them. A fraction such as
# 3.10 is kept as it is, because it may be a version.
WHOLE_LABEL = r"^[+-]?\d+(?:\.0*)?(?:[eE][+-]?\d+)?$|^[+-]?\d+\.\d+[eE][+-]?\d+$"
CODE = r"^-?\d+$"  # kept with its leading zeros, as a code may have them


def as_label(column: str, dtype: pl.DataType, missing: Sequence[str]) -> pl.Expr:
    """As `as_text`, but equal whole numbers are written alike, and so are true and false."""
    text = as_text(column, dtype, missing)
    spelt = text.str.contains(WHOLE_LABEL) & ~text.str.contains(CODE)
    number = text.cast(pl.Float64, strict=False)
    whole = (number == number.round()) & (number.abs() < 2**53)
    digits = number.cast(pl.Int64, strict=False).cast(pl.String)
    plain = pl.when(whole).then(digits).otherwise(number.cast(pl.String))
    flags = pl.when(text.is_in(TRUE)).then(pl.lit("True"))
    text = flags.when(text.is_in(FALSE)).then(pl.lit("False")).otherwise(text)
    return pl.when(spelt).then(plain).otherwise(text).alias(column)


def whole_label(text: str) -> str:
    """The label that `as_label` makes of a text.

    >>> whole_label("3.0"), whole_label("3.10"), whole_label("-1.0000e+00"), whole_label("007")
    ('3', '3.10', '-1', '007')
    >>> whole_label("true")
    'True'
    """
    if text in (*TRUE, *FALSE):
        return text.capitalize()
    if not re.fullmatch(WHOLE_LABEL, text) or re.fullmatch(CODE, text):
        return text
    number = float(text)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else str(number)


WORDS = ("NA", "N/A", "null", "NULL")  # names as well: of a region, a person, a category


def missing_labels(
    table: Table, columns: Sequence[str], missing: tuple[str, ...]
) -> tuple[str, ...]:
    """The texts that mean a missing label or id: where all else is text, NA and null are names."""
    if missing != DataSettings().missing_values:
        return missing
    for name in columns:
        cells = table.sample[name]
        if cells.dtype != pl.String:
            return missing
        texts = table.sample.select(as_text(name, cells.dtype, missing)).to_series().drop_nulls()
        if not texts.len() or texts.cast(pl.Float64, strict=False).is_not_null().any():
            return missing
    return tuple(text for text in missing if text not in WORDS)


def label_notes(table: Table, column: str, missing: tuple[str, ...]) -> list[str]:
    """A note for a label such as NA that is kept although it usually means a missing value."""
    if column not in table.columns or table.sample[column].dtype != pl.String:
        return []
    kept = set(missing) - set(missing_labels(table, [column], missing))
    cells = table.sample[column].cast(pl.String).str.strip_chars()
    names = [text for text in cells.unique(maintain_order=True).to_list() if text in kept]
    if not names:
        return []
    listed = " and ".join(map(repr, names))
    return [
        f"{listed} in the column {column!r} is a name there, because all else is text "
        "(data.missing_values)"
    ]


def flags(names: Sequence[str], schema: Mapping[str, pl.DataType], separator: str) -> pl.Expr:
    """The names of the columns of 0 and 1 that are 1 in a row, joined by the separator."""
    chosen = [
        pl.when(as_number(name, schema[name], (), boolean=schema[name] == pl.Boolean) == 1).then(
            pl.lit(name)
        )
        for name in names
    ]
    return pl.concat_str(chosen, separator=separator, ignore_nulls=True)


def are_flags(cells: pl.Series) -> bool:
    """True for cells of 0 and 1."""
    if cells.dtype.is_nested() or cells.dtype == pl.Binary:
        return False
    numbers = cells.cast(pl.Float64, strict=False)
    return cells.len() > 0 and bool(numbers.is_in([0.0, 1.0]).fill_null(False).all())


def with_truth(
    sequences: Sequences,
    known: Array,
    notes: list[str],
    *,
    what: str,
    advice: str,
    noun: str = "sequences",
    strict: bool = False,
) -> Sequences:
    """The sequences whose label or target is known, if they are the greater part.

    Args:
        sequences: all sequences.
        known: [sequences] whether there is a label or target.
        notes: a note on those that are left out is added.
        what: the truth that others lack, for messages.
        advice: what to do about it.
        noun: what the sequences are.
        strict: refuse any without one, as in arrays that the user has just made.

    Raises:
        DataError: half of them or more have none, or with `strict` any.
    """
    unknown = np.flatnonzero(~known)
    if not len(unknown):
        return sequences
    verb, left = ("has", "is") if len(unknown) == 1 else ("have", "are")
    count, first = f"{len(unknown)} of {len(sequences)} {noun}", str(sequences.ids[unknown[0]])
    if strict or 2 * len(unknown) >= len(sequences):
        raise DataError(
            f"{sequences.source}: {count} {verb} no {what}; the first is {first!r}. {advice}"
        )
    notes.append(f"{count} {verb} no {what} and {left} left out; the first is {first!r}")
    return sequences.chosen(np.flatnonzero(known))
