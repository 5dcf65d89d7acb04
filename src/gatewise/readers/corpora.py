"""Plain text -> Sequences: one text a file."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.data.sequences import Sequences, from_texts
from gatewise.errors import ConfigError, DataError
from gatewise.readers import tables, texts
from gatewise.readers.sources import Opened
from gatewise.readers.tables import File
from gatewise.settings import DataSettings

BEGIN = 4096  # bytes of a file that tell what it is


def read(given: Opened, settings: DataSettings) -> tuple[Sequences, DataSettings, list[str]]:
    """A text file, a folder of them, or texts in memory (a list).

    Args:
        given: a path, a list of texts, or - for standard input.
        settings: `[data]`; its encoding is that of the files.

    Raises:
        DataError: a file is empty, cannot be read, or holds a line in another encoding.
        ConfigError: nothing was given.
    """
    source = given.given
    if isinstance(source, list | tuple) or hasattr(source, "tolist"):
        return _of_list(source), settings, []
    if not isinstance(source, str | Path) or not str(source):
        raise ConfigError(
            "language reads plain text: a text file, a folder of text files, or a list of texts. "
            f"Received: {type(source).__name__ if source else 'nothing'}."
        )
    if given.is_standard_input:
        content = texts.decoded(sys.stdin.buffer.read(), "standard input", settings.encoding)
        return _of_list([content]), settings, []
    path = Path(source)
    if not path.is_dir():
        name = str(given.file.path)
        return from_texts([_text(given.file, settings)], source=name), settings, []
    files = sorted(one for one in path.iterdir() if one.name.removesuffix(".gz").endswith(".txt"))
    if not files:
        raise DataError(f"{path} holds no .txt file. Name a text file, or a folder of them.")
    ids = np.array([one.name for one in files])
    read = [_text(File(one), settings) for one in files]
    notes = [f"{len(files)} texts, in the order of their names"]
    return from_texts(read, ids=ids, source=str(path)), settings, notes


def is_plain(file: File) -> bool:
    """Whether a .txt file holds running text: no separator parts its lines into as many cells."""
    if not file.name.endswith(".txt") or file.path.is_dir():
        return False
    with tables.reading(str(file.path)), file.opened() as content:
        begin = content.read(BEGIN).decode("utf-8", "replace").splitlines()
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


def _text(file: File, settings: DataSettings) -> str:
    """All of a file; its line ends are line feeds, and empty lines at its end are left out."""
    path = str(file.path)
    with tables.reading(path), file.opened() as held:
        content = held.read()
    text = texts.decoded(content, path, settings.encoding).rstrip("\n")
    if "\0" in text[:BEGIN]:
        raise DataError(
            f"{path} is no text: it holds bytes of zero. Give a plain text file, or name its "
            "encoding: --set data.encoding=utf-16."
        )
    if not text.strip():
        raise DataError(f"{path} is empty. It needs a line of text.")
    return f"{text}\n"
