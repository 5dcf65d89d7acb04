"""Lists that a cell holds as text: [1, 2.5], [1.  2.5] as NumPy prints an array, and ['a', 'b'].

Many numbers may also stand without brackets, as the pixels of an image do: 70 80 82 72.
"""

import re
from collections.abc import Mapping

import polars as pl

from gatewise.errors import DataError

APACHE = r"^\[\d{1,2}/\w{3}/\d{4}:"  # a time in the log of a web server
NUMBERS = r"(?i)^\[(?:[-+\d.e,\s]|nan|inf)*\d[^\[\]]*\]$"  # and no list within
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
BARE = rf"(?i)^\s*{NUMBER}(?:(?:\s+|\s*,\s*){NUMBER}){{7,}}\s*$"
WORD = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""  # in quotation marks, as Python prints it
WORDS = rf"^\[\s*(?:(?:{WORD})[,\s]*)+\]$"
SHORTENED = r"^\[+[-+\d.eE,\s]+\.\.\.[-+\d.eE,\s\[\]]*\]$"
NESTED = r"^\[\s*\[[-+\d.eE,\s\[\]]+\]\s*\]$"


def columns(sample: pl.DataFrame, name: str) -> dict[str, str]:
    """What the lists hold in the columns of which every cell is one: numbers or texts.

    `name` is that of the table.

    Raises:
        DataError: NumPy has left numbers out, or the lists hold lists.
    """
    begins = sample.select(pl.all().str.contains(r"^\s*\[").any().fill_null(False)).row(0)
    found = {}
    for column, begun in zip(sample.columns, begins, strict=True):
        if not begun:
            if _are_bare(sample[column].drop_nulls()):
                found[column] = "numbers"
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
        if cells.str.contains(NUMBERS).all() and not cells.str.contains(APACHE).any():
            found[column] = "numbers"
        elif cells.filter(cells != "[]").str.contains(WORDS).all() and (cells != "[]").any():
            found[column] = "texts"
    return found


def _are_bare(cells: pl.Series) -> bool:
    """True for rows of numbers; whole ones must be equally many, because words may have numbers."""
    if (
        not len(cells)
        or not cells.head(1).str.contains(BARE).all()
        or not cells.str.contains(BARE).all()
    ):
        return False
    counts = cells.str.count_matches(NUMBER)
    return counts.n_unique() == 1 or bool(cells.str.contains(r"\d\.\d").any())


def plain(batch: pl.DataFrame, held: Mapping[str, str]) -> pl.DataFrame:
    """The batch with lists in these columns; what is not a number in a list of numbers is null."""
    here = {name: kind for name, kind in held.items() if name in batch.columns}
    if not here:
        return batch
    return batch.with_columns(
        _lists(name) if kind == "numbers" else _texts(batch[name]) for name, kind in here.items()
    )


def _texts(cells: pl.Series) -> pl.Series:
    """Lists of texts; a cell that holds another thing becomes a list of this cell."""
    lists = [
        None
        if cell is None
        else [one[1:-1] for one in re.findall(WORD, cell)]
        if re.fullmatch(WORDS, cell.strip()) or cell.strip() == "[]"
        else [cell]
        for cell in cells.to_list()
    ]
    return pl.Series(cells.name, lists, pl.List(pl.String))


def _lists(name: str) -> pl.Expr:
    inner = pl.col(name).str.strip_chars().str.strip_chars("[]").str.strip_chars(", \t\r\n")
    numbers = inner.str.replace_all(r"\s*,\s*|\s+", " ").str.split(" ")
    return (
        pl.when(inner != "")
        .then(numbers.cast(pl.List(pl.Float64), strict=False))
        .otherwise(pl.lit([], pl.List(pl.Float64)))
        .alias(name)
    )


def note(held: Mapping[str, str]) -> str:
    """A note that names the columns."""
    listed, kinds = ", ".join(map(repr, held)), " and ".join(dict.fromkeys(held.values()))
    return (
        f"the column {listed} holds lists of {kinds} as text"
        if len(held) == 1
        else f"the columns {listed} hold lists of {kinds} as text"
    )
