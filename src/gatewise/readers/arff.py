"""Read .arff files, in which Weka and the UEA and UCR archives keep tables and sequences.

A file whose attributes are steps or dimensions of a sequence, with its class last, holds sequences;
any other is a table.
"""

import csv
import io
import re
import warnings
from typing import Any

import numpy as np
import polars as pl

from gatewise.errors import DataError
from gatewise.readers import arrays, roles, tables
from gatewise.readers.arrays import Arrays
from gatewise.readers.files import File, other_encoding, reading
from gatewise.readers.tables import Table

# scipy makes a regular expression of the name of a relational attribute, which may take forever.
PATTERN = re.compile(rb"(?im)^\s*@attribute\s*(.*[()\[\]{}*+?|\\^$].*?)\s+relational")


def read(file: File) -> Table | Arrays:
    """The sequences of an archive, or the table of other data; "?" is an empty cell.

    Raises:
        DataError: the file is not an .arff file, or its attributes are texts.
    """
    from scipy.io import arff  # a sixth of a second that other files need not wait for

    # What its parser raises, besides its own error, for lines that it does not expect.
    faults = (
        *(arff.ArffError, NotImplementedError, StopIteration, csv.Error),
        *(ValueError, LookupError, TypeError, AttributeError),
    )
    name = str(file.path)
    with reading(name), file.opened() as stream:
        content = stream.read()
    if strange := PATTERN.search(content):
        raise DataError(
            f"{name}: the attribute {strange[1].decode(errors='replace')[:80]} has signs such as "
            "( or * in its name, which the parser would take as a pattern. Rename it."
        )
    longest = csv.field_size_limit()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that a damaged cell holds
            rows, attributes = arff.loadarff(io.StringIO(content.decode("utf-8-sig")))
    except UnicodeDecodeError:
        raise other_encoding(name, content=content) from None
    except faults as error:
        reason = str(error).strip().rstrip(".").partition("\n")[0] or "it ends above @data"
        raise DataError(
            f"{name} cannot be read: {reason}. An .arff file has lines @attribute of numbers, "
            "classes or dates, and below @data a row with a value for each of them."
        ) from None
    finally:
        csv.field_size_limit(longest)  # scipy lifts it for the whole process
    names, kinds = attributes.names(), attributes.types()
    if not (names and len(rows)):
        raise DataError(f"{name} holds no rows below @data.")
    last = kinds[-1] if len(names) > 1 else ""
    if kinds[0] == "relational" and last in ("nominal", "numeric"):
        return _sequences([_dimensions(bag) for bag in rows[names[0]]], rows[names[-1]], name)
    if last == "nominal" and set(kinds[:-1]) == {"numeric"} and roles.numbered(names[:-1]):
        steps = np.stack([rows[one] for one in names[:-1]], axis=1)
        return _sequences([_without_padding(one[:, None]) for one in steps], rows[names[-1]], name)
    if "relational" in kinds:
        raise DataError(
            f"{name}: an attribute of sequences (relational) must be the first one, and the class "
            "or the number to predict the last."
        )
    return tables.of_frame(pl.DataFrame({one: _cells(rows[one]) for one in names}), name)


def _sequences(listed: list[Any], truth: Any, name: str) -> Arrays:
    labels = [_label(one) for one in truth.tolist()]
    sequences = arrays.labelled(arrays.joined(listed, name), labels, name)
    return Arrays(name, "the file is .arff", sequences, truth=labels)


def _label(cell: bytes | float) -> str:
    text = cell.decode() if isinstance(cell, bytes) else str(cell)
    return "" if text in ("?", "nan") else text


def _dimensions(bag: Any) -> Any:
    """A sequence [steps, columns] from its dimensions, whose fields are the steps."""
    steps = np.array([list(dimension) for dimension in bag.tolist()], dtype=np.float64).T
    return _without_padding(steps)


def _without_padding(steps: Any) -> Any:
    """The steps without empty ones at the end, with which archives fill up short sequences."""
    known = np.flatnonzero(~np.isnan(steps).all(axis=1))
    return steps[: known[-1] + 1] if len(known) else steps


def _cells(column: Any) -> Any:
    """A column as numbers, times or texts; "?" is null."""
    if column.dtype.kind != "S":
        return column
    return [None if cell == b"?" else cell.decode() for cell in column.tolist()]
