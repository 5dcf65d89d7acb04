"""Pretrained word vectors: the text files of GloVe and fastText, and word2vec's .bin files.

Only the vectors of a vocabulary are kept, so a file may be larger than the memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from gatewise.data.sequences import Array
from gatewise.errors import DataError
from gatewise.readers.files import file_of, reading
from gatewise.readers.sources import found

FASTTEXT_MODEL = b"\xba\x16\x4f\x2f"  # the first bytes of such a file
FLOAT = np.dtype("<f4")  # a number of a binary file
FORMS = "Give a text file of GloVe or fastText (.txt, .vec), or word2vec's binary file (.bin)."


@dataclass(frozen=True)
class Vectors:
    """The pretrained vectors of the words of a vocabulary."""

    values: Array  # [words, width] float32; zeros for a word without a vector
    known: Array  # [words] bool, whether the word has a vector
    duplicates: int  # further vectors of the same words, which were skipped


def read(path: str | Path, words: Sequence[str]) -> Vectors:
    """Read the vectors of these words; of several vectors of one word, the first counts.

    A word that is not in the file gets the first vector of the same word in other capitals.

    Args:
        path: lines of a word and its numbers, separated by spaces (GloVe), with or without a first
            line `words width` (fastText .vec, word2vec), or word2vec's binary form if the name ends
            in .bin; compressed if it ends in .gz.
        words: the vocabulary; an empty word has no vector.

    Raises:
        DataError: the file cannot be read, has another form, vectors of different widths, or none
            of the words.
    """
    file = file_of(found(Path(path)))
    wanted = {word.encode() for word in words if word}
    small = {word.lower() for word in words if word}
    exact: dict[bytes, Array] = {}
    similar: dict[str, Array] = {}
    duplicates = 0
    with reading(str(file.path)), file.opened() as opened:
        parts = _binary(opened, file.path) if file.name.endswith(".bin") else _text(opened)
        for number, word, content, width in parts:
            lowered = word.decode("utf-8", "replace").lower()
            if lowered not in small:
                continue
            duplicates += word in exact
            if word in exact or (word not in wanted and lowered in similar):
                continue
            if isinstance(content, bytes):
                vector = _numbers(content, width, file.path, number)
                if vector is None:
                    continue
            else:
                vector = content
            similar.setdefault(lowered, vector)
            if word in wanted:
                exact[word] = vector
    if not similar:
        raise DataError(
            f"{file.path}: none of the {len(wanted):,} words of the vocabulary has a vector. "
            f"{FORMS} Its language must be that of the texts."
        )
    values = np.zeros((len(words), len(next(iter(similar.values())))), dtype=np.float32)
    known = np.zeros(len(words), dtype=bool)
    for place, name in enumerate(words):
        vector = exact.get(name.encode(), similar.get(name.lower()))
        if vector is not None:
            values[place], known[place] = vector, True
    return Vectors(values, known, duplicates)


# Line or entry from 1, word, numbers (as text or array), and their expected count.
Part = tuple[int, bytes, bytes | Array, int]


def _text(file: IO[bytes]) -> Iterator[Part]:
    """The words of a text file with their numbers, as written."""
    width = 0
    for number, line in enumerate(file, 1):
        word, _, rest = line.rstrip().partition(b" ")
        if number == 1 and word.isdigit() and rest.isdigit():  # the header `words width`
            width = int(rest)
            continue
        width = width or len(rest.split())
        if word:
            yield number, word, rest, width


def _numbers(text: bytes, width: int, path: Path, line: int) -> Array | None:
    """The numbers of a line; None if they follow further words, because no word has a space."""
    fields = text.split()
    if len(fields) > width and not _is_number(fields[0]):
        return None
    try:
        vector = np.array(fields, dtype=np.float32)
    except ValueError:
        raise DataError(
            f"{path}, line {line}: this line is not a word followed by its vector. {FORMS}"
        ) from None
    if len(vector) != width or not width:
        raise DataError(
            f"{path}, line {line}: the vector has {len(vector)} numbers, but {width} are expected. "
            "The file is damaged: fetch it again."
        )
    if not np.isfinite(vector).all():
        raise DataError(f"{path}, line {line}: the vector holds a number that is not finite.")
    return vector


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _binary(file: IO[bytes], path: Path) -> Iterator[Part]:
    """The words of word2vec's binary file with their numbers."""
    header = file.readline(100)
    fields = header.split()
    if header.startswith(FASTTEXT_MODEL):
        raise DataError(f"{path} is a fastText model. Give the .vec file beside it.")
    if len(fields) != 2 or not all(field.isdigit() for field in fields):
        raise DataError(f"{path} does not begin with a number of words and their width. {FORMS}")
    count, width = map(int, fields)
    for number in range(1, count + 1):
        word = bytearray()
        while (letter := file.read(1)) != b" ":
            if not letter:
                raise DataError(
                    f"{path} ends after {number - 1:,} of {count:,} vectors. Fetch it again."
                )
            word += letter
        numbers = file.read(width * FLOAT.itemsize)
        if len(numbers) < width * FLOAT.itemsize:
            raise DataError(f"{path} ends within vector {number:,} of {count:,}. Fetch it again.")
        vector = np.frombuffer(numbers, FLOAT).astype(np.float32)
        # Some programs end each vector with a line break.
        yield number, bytes(word).lstrip(b"\n"), vector, width
