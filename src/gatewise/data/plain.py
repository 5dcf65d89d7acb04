"""Plain text -> Sequences: one text a file, and parts by place, cut where a line or a word ends."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.data import tables, texts
from gatewise.data.sequences import Array, Sequences
from gatewise.data.splits import Parts
from gatewise.errors import ConfigError, DataError
from gatewise.experiment import DataSettings, SplitSettings

STANDARD_INPUT = "-"
NEAR = 4096  # bytes before a cut that are searched for the end of a line
LINE, SPACE = ord("\n"), ord(" ")


def read(
    settings: DataSettings, source: Any, *, found: Callable[[Path], Path]
) -> tuple[Sequences, DataSettings, list[str]]:
    """A text file, a folder of them, or texts in memory (a list).

    Args:
        settings: `[data]`; its encoding is that of the files.
        source: a path, a list of texts, or - for standard input; None: settings.path.
        found: a path -> where it is.

    Raises:
        DataError: a file is empty, cannot be read, or holds a line in another encoding.
        ConfigError: nothing was given.
    """
    source = settings.path if source is None else source
    if isinstance(source, list | tuple) or hasattr(source, "tolist"):
        return _of_list(source), settings, []
    if not isinstance(source, str | Path) or not str(source):
        raise ConfigError(
            "language reads plain text: a text file, a folder of text files, or a list of texts. "
            f"Received: {type(source).__name__ if source else 'nothing'}."
        )
    if str(source) == STANDARD_INPUT:
        content = texts.decoded(sys.stdin.buffer.read(), "standard input", settings.encoding)
        return _of_list([content]), settings, []
    path = Path(source)
    if not path.is_dir():
        path = found(path)
        return texts.from_texts([_text(path, settings)], source=str(path)), settings, []
    files = sorted(one for one in path.iterdir() if one.name.removesuffix(".gz").endswith(".txt"))
    if not files:
        raise DataError(f"{path} holds no .txt file. Name a text file, or a folder of them.")
    ids = np.array([one.name for one in files])
    read = [_text(one, settings) for one in files]
    notes = [f"{len(files)} texts, in the order of their names"]
    return texts.from_texts(read, ids=ids, source=str(path)), settings, notes


def is_plain(path: Path) -> bool:
    """Whether a .txt file holds running text: no separator parts its lines into as many cells."""
    if path.is_dir() or not path.name.removesuffix(".gz").lower().endswith(".txt"):
        return False
    with tables.reading(str(path)), tables.opened(path) as file:
        begin = file.read(NEAR).decode("utf-8", "replace").splitlines()
    lines = [line for line in begin[:-1] or begin if line.strip()]
    if len(lines) == 1 and len(begin) == 1:
        return True  # a table has rows below its header
    counts = [{line.count(sign) for line in lines} for sign in tables.SEPARATORS]
    return bool(lines) and all(len(one) > 1 or one == {0} for one in counts)


def _of_list(source: Any) -> Sequences:
    given = texts.of_list(source, None, "the list of texts")
    if not given.lengths.sum():
        raise DataError("The list of texts holds no text. It needs one that is not empty.")
    return given


def _text(path: Path, settings: DataSettings) -> str:
    """All of a file; its line ends are line feeds, and empty lines at its end are left out."""
    with tables.reading(str(path)), tables.opened(path) as file:
        content = file.read()
    text = texts.decoded(content, str(path), settings.encoding).rstrip("\n")
    if "\0" in text[:NEAR]:
        raise DataError(
            f"{path} is no text: it holds bytes of zero. Give a plain text file, or name its "
            "encoding: --set data.encoding=utf-16."
        )
    if not text.strip():
        raise DataError(f"{path} is empty. It needs a line of text.")
    return f"{text}\n"


def split_by_place(sequences: Sequences, settings: SplitSettings, *, test: bool) -> Parts:
    """The beginning to learn from, then validation, then test; a cut goes where a line ends.

    Sizes are shares of all bytes, or counts of bytes. Several texts stand one behind the other.
    `test=False` leaves the test part out, for data whose test part comes from a file of its own.

    Raises:
        ConfigError: nothing is left to learn from.
    """
    total = int(sequences.lengths.sum())
    held = settings.test if test else 0.0
    sizes = [one if one >= 1 else one * total for one in (settings.validation, held)]
    begin = total - sum(map(int, sizes))
    if begin < 1 or settings.train > begin:
        raise ConfigError(
            f"{sequences.source} has {total:,} bytes of text, and split.train, split.validation "
            "and split.test together ask for more. Give smaller ones."
        )
    begin = _cut(sequences, begin)
    middle = _cut(sequences, begin + int(sizes[0])) if sizes[0] else begin
    first = max(0, begin - int(settings.train if settings.train >= 1 else settings.train * total))
    first = _cut(sequences, first) if settings.train else 0
    parts = [
        _between(sequences, *bounds)
        for bounds in ((first, begin), (begin, middle), (middle, total if held else middle))
    ]
    if parts[0] is None:
        raise ConfigError(f"{sequences.source}: the split leaves nothing to learn from.")
    return Parts(train=parts[0], validation=parts[1], test=parts[2])


def _between(sequences: Sequences, begin: int, end: int) -> Sequences | None:
    """What lies between two places, counted over all texts; None where that is nothing."""
    before = np.cumsum(sequences.lengths) - sequences.lengths
    starts = sequences.starts + np.clip(begin - before, 0, sequences.lengths)
    stops = sequences.starts + np.clip(end - before, 0, sequences.lengths)
    some = np.flatnonzero(stops > starts)
    return sequences.between(starts, stops).chosen(some) if len(some) else None


def _cut(sequences: Sequences, place: int) -> int:
    """The place behind the last line before it, else behind the last space, else a letter."""
    ends = np.cumsum(sequences.lengths)
    if place <= 0 or place >= ends[-1]:
        return max(0, min(place, int(ends[-1])))
    k = int(np.searchsorted(ends, place, side="right"))
    before = int(ends[k] - sequences.lengths[k])
    steps = sequences[k][:, 0]
    inside = place - before
    near = steps[max(0, inside - NEAR) : inside]
    for sign in (LINE, SPACE):
        found = np.flatnonzero(near == sign)
        if len(found):
            return before + inside - len(near) + int(found[-1]) + 1
    return before + _letter(steps, inside)


def _letter(steps: Array, place: int) -> int:
    """The first place from here on at which a character begins: UTF-8 goes on with 10xxxxxx."""
    while place < len(steps) and steps[place] >> 6 == 0b10:
        place += 1
    return place
