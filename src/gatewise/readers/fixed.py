"""Tables of fixed width: spaces align the columns; a cell may be empty or hold several words."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from gatewise.errors import DataError
from gatewise.readers.dialect import DATA, LINES, SEPARATORS

FEWEST = 10  # lines that must show the columns
TYPED = 0.5  # share of the filled cells that must be numbers or times


def borders(lines: Sequence[str]) -> tuple[int, ...]:
    """The positions at which each column but the first begins; () if the lines show no columns.

    The first line names them. Between two columns, each line has a space at the same place.
    """
    rows = [line.rstrip() for line in lines if line.strip()][:LINES]
    if len(rows) < FEWEST or any(sign in rows[0] for sign in SEPARATORS if sign != " "):
        return ()
    width = max(map(len, rows))
    filled = np.array([[sign != " " for sign in row.ljust(width)] for row in rows]).any(axis=0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], filled.view(np.int8), [0]])))
    runs: list[list[int]] = []
    for first, last in edges.reshape(-1, 2).tolist():
        if runs and not rows[0][first:last].strip():
            runs[-1][1] = last  # the second word of a text, below no name
        else:
            runs.append([first, last])
    if len(runs) < 2 or len(runs) != len(rows[0].split()):
        return ()
    columns = [[row[first:last].strip() for row in rows[1:]] for first, last in runs]
    known = [[cell for cell in cells if cell] for cells in columns]
    typed = [sum(map(bool, map(DATA.fullmatch, cells))) for cells in known]
    if sum(typed) < TYPED * sum(map(len, known)) or max(typed) < len(rows) // 2:
        return ()
    # Numbers grow to the left, texts to the right.
    return tuple(
        left[1] if 2 * typed[place] > len(known[place]) else right[0]
        for place, (left, right) in enumerate(pairwise(runs), start=1)
    )


def cut(text: str, places: Sequence[int], name: str = "") -> str:
    """The text with tabs between the columns of each line.

    A line that does not fit is left as it is, or refused if there is a `name` for the message.

    Raises:
        DataError: a word of a line crosses a border.
    """
    made = []
    for line in text.splitlines():
        across = any(len(line[at - 1 : at + 1].strip()) == 2 for at in places)
        if across and name:
            raise DataError(
                f"{name}: in the line {line.strip()[:80]!r} a word crosses the border between two "
                "columns, which the first lines show. Separate the columns with tabs or commas."
            )
        cells = [line] if across else [line[a:b] for a, b in pairwise([0, *places, len(line)])]
        made.append("\t".join(cell.strip() for cell in cells))
    return "\n".join([*made, ""])
