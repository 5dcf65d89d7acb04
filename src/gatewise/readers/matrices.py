"""Read signals as the UCI HAR data set stores them: a text file with a matrix for each signal.

    train/Inertial Signals/body_acc_x_train.txt   a row for each sequence, a number for each step
    train/y_train.txt                             the label of each row
    train/subject_train.txt                       its group, if there is this file
    activity_labels.txt                           the names of the labels, if there is this file

The same files with `test` in place of `train` are the test part.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from gatewise.data.sequences import Array
from gatewise.errors import DataError
from gatewise.readers import archives, arrays, folders
from gatewise.readers.arrays import TEST, TRAIN, Arrays
from gatewise.readers.files import reading

SIGNAL = re.compile(r"(?:^|/)Inertial Signals/([^/]+)_(train|test)\.txt$")


@dataclass(frozen=True)
class Signals:
    """A folder or an archive with signals."""

    path: Path
    part: str
    names: tuple[str, ...]  # of all files, relative to the path
    parts: frozenset[str]

    def named(self, file: str) -> str:
        """The relative path of the file with this name; "" if there is none."""
        return next((name for name in self.names if PurePosixPath(name).name == file), "")

    def text(self, name: str) -> str:
        """The content of a file."""
        with reading(f"{self.path}/{name}"):
            packed = None if self.path.is_dir() else archives.content(self.path, name)
            raw = (self.path / name).read_bytes() if packed is None else packed
            return raw.decode()


def signals_of(path: Path) -> Signals | None:
    """The signals in a folder or an archive; a part of them is named behind #. None for others."""
    place, _, part = str(path).partition(archives.MARK)
    folder = Path(place)
    if part not in ("", TRAIN, TEST) or not (_holds(folder) or archives.is_archive(folder)):
        return None
    names = tuple(folders.names_in(folder))
    parts = {found[2] for name in names if (found := SIGNAL.search(name))}
    if not parts or (part and part not in parts):
        return None
    return Signals(folder, part or max(parts), names, frozenset(parts))  # train before test


def _holds(folder: Path) -> bool:
    """Whether a folder holds signals, or its parts do, without a look at all of its files."""
    found = (one for depth in ("", "*/", "*/*/") for one in folder.glob(f"{depth}Inertial Signals"))
    return any(found)


def read(signals: Signals) -> Arrays:
    """The sequences of a part, [sequences, steps, signals], with their labels and groups.

    Raises:
        DataError: a file is missing or holds no matrix, or the files differ in their rows.
    """
    part, place = signals.part, str(signals.path)
    matrices = {}
    for name in signals.names:
        found = SIGNAL.search(name)
        if found and found[2] == part:
            matrices[found[1]] = _matrix(signals, name)
    first, shape = next((name, one.shape) for name, one in matrices.items())
    for name, one in matrices.items():
        if one.shape != shape:
            raise DataError(
                f"{place}: the signal {name!r} has {_size(one.shape)}, but {first!r} has "
                f"{_size(shape)}. Every signal needs the same."
            )
    name = f"{place}{archives.MARK}{part}" if signals.part != TRAIN else place
    sequences = arrays.stacked(np.stack(list(matrices.values()), axis=2), name)
    labels = _column(signals, f"y_{part}.txt", len(sequences))
    if labels is None:
        raise DataError(f"{place} has no file y_{part}.txt with the label of each row.")
    known = signals.named("activity_labels.txt")
    rows = [line.split() for line in signals.text(known).splitlines()] if known else []
    words = {row[0]: row[1] for row in rows if len(row) == 2}
    labels = np.array([words.get(label, label) for label in labels.tolist()])
    sequences = replace(
        arrays.labelled(sequences, labels, name),
        columns=tuple(matrices),
        groups=_column(signals, f"subject_{part}.txt", len(sequences)),
    )
    test = f"{place}{archives.MARK}{TEST}" if part == TRAIN and TEST in signals.parts else ""
    reason = "the folder holds a matrix for each signal"
    return Arrays(name, reason, sequences, test=test, truth=labels)


def _matrix(signals: Signals, name: str) -> Array:
    lines = signals.text(name).splitlines()
    try:
        return np.loadtxt(lines, ndmin=2) if "".join(lines).strip() else np.empty((0, 0))
    except ValueError as error:
        raise DataError(
            f"{signals.path}/{name} holds no matrix of numbers: {str(error).split(';')[0]}. "
            "Correct it, or fetch it again."
        ) from None


def _column(signals: Signals, file: str, count: int) -> Array | None:
    """The first word of each line of a file; None if there is no such file."""
    if not (name := signals.named(file)):
        return None
    words = np.array([line.split()[0] for line in signals.text(name).splitlines() if line.strip()])
    if len(words) != count:
        raise DataError(
            f"{signals.path}/{name} has {len(words)} rows, but the signals have {count}. "
            "Fetch the data again."
        )
    return words


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} rows of {shape[1]} steps"
