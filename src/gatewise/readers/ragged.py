"""Tables whose rows differ in length: each row is a sequence, and the numbers in it are the steps.

Texts before and behind the numbers are columns of their own, and so is a label that is an integer.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from gatewise.errors import DataError
from gatewise.readers.dialect import FEWEST, LINES, SEPARATORS, Dialect, Ragged
from gatewise.readers.marks import PLAIN
from gatewise.settings import DataSettings

STEPS = "steps"  # the name of the column of steps, if no row names the columns
WIDEST = 4  # columns before the numbers, and behind them
LONG = 3  # the longest row is at least this many times as wide as the header
ALIKE = 0.9  # share of rows of one length above which the others are damaged
FEW, MANY = 3, 5  # different lengths of rows that show sequences, with a label and without one
WHOLE = 0.95  # share of rows whose steps are numbers; `listed` refuses the others
INTEGER = re.compile(r"[+-]?\d+(?:\.0*)?(?:[eE][+]?0+)?")
MISSING = re.compile(r"|nan|na|null|\?", re.IGNORECASE)


def found(lines: Sequence[str], settings: DataSettings) -> Dialect | None:
    """The dialect of lines that are rows of different lengths; None for an ordinary table.

    Rows that have fewer names than cells may be equally long, as new ones may be after training.
    """
    skipped = max(settings.skip_rows, 0)
    every = [line for line in lines[skipped:] if line.strip()]
    comment = "#" if any(line.startswith("#") for line in every[:LINES]) else ""
    rows = [line for line in every if not (comment and line.startswith(comment))][:LINES]
    for sign in SEPARATORS if rows else ():
        if ragged := _rows([_cells(line, sign) for line in rows], sign, settings):
            header = int(not ragged.names)
            return Dialect(
                "\t", skip_rows=skipped, header_rows=header, comment=comment, ragged=ragged
            )
    return None


def _rows(records: Sequence[Sequence[str]], sign: str, settings: DataSettings) -> Ragged | None:
    named = settings.column_names
    names = [] if named or any(map(_is_number, records[0])) else records[0]
    body = [record for record in records[bool(names) :] if record]
    counts = Counter(map(len, body))
    widest = max(counts, default=0)
    # Training has found the layout of such rows; new ones may be short and equally long.
    again = settings.layout == "wide" and (bool(named) or 0 < len(names) < widest)
    if not again and widest < LONG * len(named or names):
        return None
    if not (again or named) and (len(counts) < FEW or max(counts.values()) > ALIKE * len(body)):
        return None
    before = _texts(body)
    behind = _texts([record[before:][::-1] for record in body])
    if not before + behind:
        before, behind = _labels(body, settings)
    numbers = [record[before : len(record) - behind] for record in body]
    damaged = sum(not one or not all(map(_is_number, one)) for one in numbers)
    if damaged > (1 - WHOLE) * len(body):
        return None
    width = before + 1 + behind
    if names:
        return Ragged(sign, before, behind, ()) if len(names) == width else None
    if named:
        unlabelled = tuple(name for name in named if name != settings.label)
        fitting = [one for one in (named, unlabelled) if len(one) == width]
        return Ragged(sign, before, behind, fitting[0]) if fitting else None
    if len(body) < FEWEST or not (before + behind or len(counts) >= MANY):
        return None
    whole = [record for record in body if len(record) >= width]
    return Ragged(sign, before, behind, _names(whole, before, behind))


def _cells(line: str, sign: str) -> list[str]:
    """The cells of a line, without empty ones at its end."""
    if sign == " ":
        cells = line.split()
    else:
        cells = line.split(sign)
        if '"' in line:
            with suppress(csv.Error):  # the reader of ordinary tables tells what is wrong
                cells = next(csv.reader([line], delimiter=sign))
    cells = [cell.strip() for cell in cells]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _is_number(cell: str) -> bool:
    return bool(PLAIN.fullmatch(cell) or MISSING.fullmatch(cell))


def _texts(records: Sequence[Sequence[str]]) -> int:
    """The number of columns up to the last one of texts, among the first ones."""
    for place in reversed(range(WIDEST)):
        cells = [record[place] for record in records if place < len(record)]
        if cells and 2 * sum(not _is_number(cell) for cell in cells) > len(records):
            return place + 1
    return 0


def _labels(records: Sequence[Sequence[str]], settings: DataSettings) -> tuple[int, int]:
    """The number of columns of labels before and behind the other numbers: of integers."""
    named = settings.column_names
    for side, place in (((1, 0), 0), ((0, 1), -1)):
        labels = [record[place] for record in records]
        rest = [cell for record in records for cell in record[1 + place : len(record) + place]]
        apart = all(map(INTEGER.fullmatch, labels)) and not all(map(INTEGER.fullmatch, rest))
        repeated = min(Counter(labels).values()) > 1
        if apart and (named[place] == settings.label if named else repeated):
            return side
    return 0, 0


def _names(records: Sequence[Sequence[str]], before: int, behind: int) -> tuple[str, ...]:
    """The names of the columns: `label` if only one repeats, and `id` if only one never does."""
    made = [f"column {place + 1}" for place in range(before + 1 + behind)]
    made[before] = STEPS
    places = [*range(before), *range(-behind, 0)]
    values = {place: len({record[place] for record in records}) for place in places}
    repeated = [place for place, count in values.items() if 2 * count <= len(records)]
    distinct = [place for place, count in values.items() if count == len(records)]
    for name, fitting in (("label", repeated), ("id", distinct)):
        if len(fitting) == 1:
            made[fitting[0]] = name
    return tuple(made)


def listed(text: str, rows: Ragged, name: str = "") -> str:
    """The text with tabs between the columns, and with one cell for the steps of a row: a list.

    A line that does not fit is left as it is, or refused if there is a `name` for the message.

    Raises:
        DataError: there are no numbers where a row has its steps, or something else among them.
    """
    made, header = [], not rows.names
    for line in text.splitlines():
        cells = _cells(line, rows.separator)
        numbers = cells[rows.before : len(cells) - rows.behind]
        wrong = next((cell for cell in numbers if not _is_number(cell)), None)
        if wrong is None and numbers:
            steps = ", ".join("nan" if MISSING.fullmatch(cell) else cell for cell in numbers)
            cells[rows.before : len(cells) - rows.behind] = [f"[{steps}]"]
        elif name and cells and not header and not line.startswith("#"):
            raise DataError(
                f"{name}: the line {line.strip()[:80]!r} holds "
                f"{'no steps' if wrong is None else repr(wrong[:40]) + ' among its steps'}. The "
                "rows differ in length, so each needs its numbers in one stretch. Correct the "
                "line, or remove it."
            )
        header = header and not cells
        made.append("\t".join(cells))
    return "\n".join([*made, ""])
