"""Read plain text: one text per file."""

import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gatewise.data.sequences import Sequences, from_texts
from gatewise.errors import ConfigError, DataError
from gatewise.readers import (
    archives,
    fixed,
    folders,
    matrices,
    ragged,
    recordings,
    tables,
    texts,
)
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.dialect import DATA, SEPARATORS, is_drawn
from gatewise.readers.files import ANY, File, reading
from gatewise.readers.sources import Opened, placed
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
BEGIN = 4096  # bytes that determine the kind of a file
FEW_LISTS = 10  # one list beside this many texts in folders, or fewer
UNLABELLED = ("unsup", "unlabeled", "unlabelled")  # folders of texts without a label


def read(opened: Opened, settings: DataSettings) -> Read:
    """Read a text file, a folder of text files, or a list of texts in memory.

    Args:
        opened: a path, a list of texts, or - for standard input.
        settings: `[data]`, with the encoding of the files.

    Raises:
        DataError: a file is empty, cannot be read, or has another encoding.
        ConfigError: the source is not plain text.
    """
    source = opened.given
    if isinstance(source, list | tuple) or hasattr(source, "tolist"):
        return _of_list(source), settings, []
    if not isinstance(source, str | Path) or not str(source):
        empty = source is None or opened.named is not None
        kind = "a table" if isinstance(source, pl.DataFrame) else type(source).__name__
        raise ConfigError(
            "The data must be plain text: a text file, a folder of text files, or a list of texts. "
            f"Received: {'nothing' if empty else kind}."
        )
    if opened.is_standard_input:
        content = texts.decoded(sys.stdin.buffer.read(), "standard input", settings.encoding)
        return _of_list([content]), settings, []
    path = Path(source)
    if not path.is_dir():
        name = str(opened.file.path)
        table = opened.file.name.endswith(TABLES)
        notes = [f"{name} is read as running text, with all columns and separators"] * table
        text = _work(_text(opened.file, settings), notes)
        return from_texts([text], source=name), settings, notes
    files, notes = _corpus(path)
    ids = np.array([file.relative_to(path).as_posix() for file in files])
    read = [_work(_text(File(file), settings), notes) for file in files]
    return from_texts(read, ids=ids, source=str(path)), settings, notes


GUTENBERG = re.compile(
    r"\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG[^\n]*\n(.*?)(?:\*\*\* ?END OF TH|\Z)", re.DOTALL
)
LICENCE = "the header and the licence of Project Gutenberg are left out"


def _work(text: str, notes: list[str]) -> str:
    """The text without what Project Gutenberg writes around a work."""
    if not (found := GUTENBERG.search(text)) or not found[1].strip():
        return text
    if LICENCE not in notes:
        notes.append(LICENCE)
    return f"{found[1].strip()}\n"


def _corpus(path: Path) -> tuple[list[Path], list[str]]:
    """The .txt files of a folder, or those of its most frequent kind, and a note.

    Raises:
        DataError: the folder holds no file.
    """
    seen = _visible(path)
    kinds = Counter(file.suffix for file in seen if file.suffix != ".gz")
    files = _texts_in(path)
    if not seen:
        raise DataError(f"{path} holds no file. Name a text file, or a folder of text files.")
    if not files:
        kind = max(kinds, key=lambda one: (kinds[one], one), default=".gz")
        files = [file for file in seen if file.suffix == kind]
    kind = "" if files[0].name.endswith((".txt", ".txt.gz")) else f" ({files[0].suffix})"
    others = sorted({file.suffix or file.name for file in seen} - {file.suffix for file in files})
    rest = f"; not read: files of other kinds ({', '.join(others[:8])})" if others else ""
    return files, [f"{len(files)} texts{kind} are read, in the order of their names{rest}"]


def _texts_in(path: Path) -> list[Path]:
    """The text files in a folder and its folders, in order, without hidden ones."""
    return [one for one in _visible(path) if one.name.removesuffix(".gz").endswith(".txt")]


def _bare_texts_in(path: Path) -> list[Path]:
    """The text files of a folder; if there are none, those without a suffix."""
    return _texts_in(path) or [file for file in _visible(path) if not file.suffix]


def _visible(path: Path) -> list[Path]:
    """All files in a folder and its folders, in order, without hidden ones."""
    files = (one for one in path.rglob("*") if one.is_file())
    return sorted(one for one in files if not _is_hidden(one.relative_to(path)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


# What precedes a text in its line: the grades of SST, the classes of TREC, the labels of fastText,
# and any word before a tab and several others.
LABEL = re.compile(r"(__label__\S+|\d|[A-Z]+:[a-z]+)[ \t]+(?=\S)|([^\s,;]{1,40})\t(?!.*\t)(?=.*\S)")
WORD = re.compile(r"[^\W\d_]{2}")  # a line without one is a row of numbers, not a text
FEWEST = 20  # lines that must agree before their first words are taken as labels


def holds_labels(file: File) -> bool:
    """True if each line of a text file is a label and a text, as in SST, TREC and fastText.

    A first label that no other line has is the header of a table.
    """
    with reading(str(file.path)), file.opened() as content:
        begin = content.read(BEGIN * 16)
    rows = begin.decode("utf-8", "replace").splitlines()
    rows = [row for row in (rows[:-1] if len(begin) == BEGIN * 16 else rows) if row.strip()]
    matches = [match for row in rows if (match := LABEL.match(row))]
    table = file.name.endswith(".tsv") and any(row.count("\t") != 1 for row in rows)
    if table or len(rows) < FEWEST or len(matches) < len(rows):
        return False
    labels = Counter(match[1] or match[2] for match in matches)
    if labels[matches[0][1] or matches[0][2]] == 1 or not 2 <= len(labels) <= len(rows) / 2:
        return False
    if 2 * sum(bool(WORD.search(match.string, match.end())) for match in matches) <= len(rows):
        return False
    rest = [match.string[match.end() :] for match in matches if match[2]]
    return 2 * sum(len(one.split()) > 1 for one in rest) >= len(rest)


def labelled(opened: Opened, settings: DataSettings) -> tuple[Table, DataSettings, str] | None:
    """A table of texts and labels from lines or from folders, its settings, and a note.

    Returns:
        None if the source is neither a file of labelled lines nor a folder of such folders.
    """
    if opened.named is None or opened.is_standard_input:
        return None
    path = placed(opened.named)
    if path.is_dir():
        if matrices.signals_of(path) or _holds_recordings(path):
            return None
        every = [
            one
            for one in _bare_texts_in(path)
            if one.parent != path or not archives.ABOUT.match(one.name)
        ]
        files = _without_lists(path, every)
        names = [file.parent.relative_to(path).as_posix() for file in files]
        if len(set(names)) < 2 or "." in names:
            return None
        folders.refuse_parts(str(path), names)
        texts_read = [_text(File(file), settings).strip() for file in files]
        ids = [file.relative_to(path).as_posix() for file in files]
        frame = pl.DataFrame({"id": ids, "text": texts_read, "label": names})
        note = "the folder of a text is taken as its label"
        if left := [one.relative_to(path).as_posix() for one in every if one not in {*files}]:
            count = f"{len(left)} texts" if len(left) > 1 else "1 text"
            note += f"; {count} beside these folders or without a label are left out: {left[0]}"
            note += " ..." * (len(left) > 1)
        found = replace(settings, text=("text",), label="label", id=("id",))
        return tables.of_frame(frame, str(path)), found, note
    if not _is_text(opened, ".txt", ".tsv") or not holds_labels(opened.file):
        return None
    rows = [row for row in texts.lines(opened.file, settings.encoding) if row.strip()]
    parts = [LABEL.match(row) for row in rows]
    frame = pl.DataFrame(
        {
            "text": [
                row[match.end() :] if match else row for row, match in zip(rows, parts, strict=True)
            ],
            "label": [
                (match[1] or match[2]).removeprefix("__label__") if match else "" for match in parts
            ],
        }
    )
    note = "the first word of each line is taken as its label"
    found = replace(settings, text=("text",), label="label")
    return tables.of_frame(frame, str(opened.file.path)), found, note


def classes_in_files(
    opened: Opened, settings: DataSettings
) -> tuple[Table, DataSettings, str] | None:
    """A table of the lines of text files in a folder, each of which is a class; None for others."""
    if opened.named is None or not placed(opened.named).is_dir():
        return None
    path = placed(opened.named)
    files = [file for file in _texts_in(path) if file.parent == path]
    # Notes beside tables are not classes.
    if len(files) < 2 or folders.holds_tables(path) or matrices.signals_of(path):
        return None
    if _holds_recordings(path):  # such lists say which of them are for tests
        return None
    rows = [
        {"text": line.strip(), "label": file.name.removesuffix(".gz").removesuffix(".txt")}
        for file in files
        for line in _text(File(file), settings).splitlines()
        if line.strip()
    ]
    found = replace(settings, text=("text",), label="label")
    note = "each line is a text, and the name of its file is taken as its label"
    return tables.of_frame(pl.DataFrame(rows), str(path)), found, note


def _holds_recordings(path: Path) -> bool:
    """True if recordings lie in a folder; texts beside them are transcripts or lists."""
    return any(recordings.is_recording(one) for one in _visible(path))


def _without_lists(path: Path, files: list[Path]) -> list[Path]:
    """The files of the folders, if few others beside these list them, and texts without labels."""
    beside = [one for one in files if one.parent == path]
    if len(beside) * FEW_LISTS > len(files):
        return files
    known = [one for one in files if one.parent.name.lower() not in UNLABELLED]
    return [one for one in known if one.parent != path]


def _is_text(opened: Opened, *endings: str) -> bool:
    """Whether the file has one of these endings, or none that tells and text in it."""
    assert opened.named is not None
    suffix = Path(opened.named.name.lower().removesuffix(".gz")).suffix
    # Other names are not opened: they may be those of archives.
    if placed(opened.named).is_dir():
        return False
    return suffix in (*endings, *ANY) and opened.file.name.endswith(endings)


def lines(opened: Opened, settings: DataSettings, purpose: Purpose) -> Read | None:
    """Read each line of plain text, or each file of a folder, as a text to predict from.

    Returns:
        The texts; None if the source is not plain text, or the purpose is not prediction.

    Raises:
        DataError: there is no line.
    """
    if purpose != "predict" or not settings.text or opened.named is None:
        return None
    if (folder := placed(opened.named)).is_dir() and not folders.holds_tables(folder):
        files = _bare_texts_in(folder)
        ids = np.array([file.relative_to(folder).as_posix() for file in files])
        read = [_text(File(file), settings).strip() for file in files]
        return (from_texts(read, ids=ids, source=str(folder)), settings, []) if files else None
    if opened.is_standard_input:
        content = texts.decoded(sys.stdin.buffer.read(), "standard input", settings.encoding)
        if not content.strip():
            raise DataError("standard input is empty. It needs a line of text.")
        rows, name = content.removesuffix("\n").split("\n"), "standard input"
    elif _is_text(opened, ".txt"):
        rows, name = texts.lines(opened.file, settings.encoding), str(opened.file.path)
        if texts.begins_table(rows[0], settings):
            return None
    else:
        return None
    return from_texts(rows, source=name), settings, []


def is_plain(file: File) -> bool:
    """True if a .txt file holds running text, in which no separator forms columns."""
    if not file.name.endswith(".txt") or file.path.is_dir():
        return False
    with reading(str(file.path)), file.opened() as content:
        more = content.read(BEGIN * 16)  # because many comments may stand above a table
    rows = _lines(more)
    if (
        _are_numbers(rows)
        or is_drawn(rows)
        or fixed.borders(rows)
        or ragged.found(rows, DataSettings())
    ):
        return False
    lines = _lines(more[:BEGIN])
    if lines and lines[0].startswith("#"):
        lines = [line for line in rows if not line.startswith("#")] or lines
    if len(lines) == 1 and len(more[:BEGIN].splitlines()) == 1:
        return True  # a table has rows below its header
    counts = [{line.count(sign) for line in lines} for sign in SEPARATORS]
    return bool(lines) and all(len(numbers) > 1 or numbers == {0} for numbers in counts)


def _lines(begin: bytes) -> list[str]:
    """The lines of the first bytes of a text, without blank ones and the last one, which is cut."""
    every = begin.decode("utf-8", "replace").splitlines()
    return [line for line in every[:-1] or every if line.strip()]


def _are_numbers(lines: Sequence[str]) -> bool:
    """True if most lines are equally many numbers between white space, as in aligned columns.

    Comments do not count.
    """
    rows = [line.split() for line in lines if not line.startswith("#")]
    counts = Counter(len(row) for row in rows if all(map(DATA.fullmatch, row)))
    return any(width > 1 and 5 * count >= 4 * len(rows) for width, count in counts.items())


def _of_list(source: Any) -> Sequences:
    sequences = texts.of_list(source, None, "the list of texts")
    if not sequences.lengths.sum():
        raise DataError("The list of texts holds only empty texts.")
    return sequences


def _text(file: File, settings: DataSettings) -> str:
    """The text of a file, with line feeds as line ends and without empty lines at its end."""
    path = str(file.path)
    with reading(path), file.opened() as stream:
        content = stream.read()
    text = texts.decoded(content, path, settings.encoding).rstrip("\n")
    if "\0" in text[:BEGIN]:
        raise DataError(
            f"{path} is not a text file, because it holds null bytes. Give a plain text file, or "
            "name its encoding: --set data.encoding=utf-16."
        )
    if not text.strip():
        raise DataError(f"{path} is empty. It needs a line of text.")
    return f"{text}\n"
