"""Read plain text: one text per file."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.data.sequences import Sequences, from_texts
from gatewise.errors import ConfigError, DataError
from gatewise.readers import tables, texts
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.dialect import SEPARATORS
from gatewise.readers.sources import Opened
from gatewise.readers.tables import File
from gatewise.settings import DataSettings

BEGIN = 4096  # bytes that determine the kind of a file


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
        raise ConfigError(
            "The data must be plain text: a text file, a folder of text files, or a list of texts. "
            f"Received: {'nothing' if empty else type(source).__name__}."
        )
    if opened.is_standard_input:
        content = texts.decoded(sys.stdin.buffer.read(), "standard input", settings.encoding)
        return _of_list([content]), settings, []
    path = Path(source)
    if not path.is_dir():
        name = str(opened.file.path)
        return from_texts([_text(opened.file, settings)], source=name), settings, []
    files = sorted(
        file for file in path.iterdir() if file.name.removesuffix(".gz").endswith(".txt")
    )
    if not files:
        raise DataError(f"{path} holds no .txt file. Name a text file, or a folder of text files.")
    ids = np.array([file.name for file in files])
    read = [_text(File(file), settings) for file in files]
    notes = [f"{len(files)} texts are read, in the order of their names"]
    return from_texts(read, ids=ids, source=str(path)), settings, notes


def lines(opened: Opened, settings: DataSettings, purpose: Purpose) -> Read | None:
    """Read each line of plain text as a text to predict from, for runs trained on texts.

    Returns:
        The texts; None if the source is not plain text, or the purpose is not prediction.

    Raises:
        DataError: there is no line.
    """
    if purpose != "predict" or not settings.text or opened.named is None:
        return None
    if opened.is_standard_input:
        content = texts.decoded(sys.stdin.buffer.read(), "standard input", settings.encoding)
        if not content.strip():
            raise DataError("standard input is empty. It needs a line of text.")
        rows, name = content.removesuffix("\n").split("\n"), "standard input"
    elif opened.named.name.removesuffix(".gz").endswith(".txt"):
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
    with tables.reading(str(file.path)), file.opened() as content:
        begin = content.read(BEGIN).decode("utf-8", "replace").splitlines()
    lines = [line for line in begin[:-1] or begin if line.strip()]
    if len(lines) == 1 and len(begin) == 1:
        return True  # a table has rows below its header
    counts = [{line.count(sign) for line in lines} for sign in SEPARATORS]
    return bool(lines) and all(len(numbers) > 1 or numbers == {0} for numbers in counts)


def _of_list(source: Any) -> Sequences:
    sequences = texts.of_list(source, None, "the list of texts")
    if not sequences.lengths.sum():
        raise DataError("The list of texts holds only empty texts.")
    return sequences


def _text(file: File, settings: DataSettings) -> str:
    """The text of a file, with line feeds as line ends and without empty lines at its end."""
    path = str(file.path)
    with tables.reading(path), file.opened() as stream:
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
