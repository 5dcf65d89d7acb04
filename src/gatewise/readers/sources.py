"""Sources of data: a file, a data frame, arrays or lists, each opened once for all who look at it.

The kind of a file is told by its name.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from gatewise.errors import ConfigError, DataError
from gatewise.readers import arrays, recordings, tables
from gatewise.readers.arrays import Arrays
from gatewise.readers.tables import File, Table
from gatewise.settings import DataSettings

FOLDER = "GATEWISE_DATA"  # the environment variable that names a folder of data sets
STANDARD_INPUT = "-"

READERS: dict[str, Callable[[File, DataSettings], Table | Arrays]] = {
    ".csv": lambda file, settings: _delimited(file, settings, ","),
    ".tsv": lambda file, settings: _delimited(file, settings, "\t"),
    ".txt": lambda file, settings: _delimited(file, settings),
    ".parquet": lambda file, _: tables.parquet(file.path),
    ".jsonl": lambda file, settings: tables.json_lines(file, settings.encoding),
    ".ndjson": lambda file, settings: tables.json_lines(file, settings.encoding),
    ".ts": lambda file, _: arrays.ts(file.path),
    ".npz": lambda file, _: arrays.npz(file.path),
    ".idx": lambda file, settings: arrays.idx(file.path, _labels_of(file.path, settings)),
}


@dataclass(frozen=True, eq=False)
class Opened:
    """A source that is opened when it is first looked at, and held until it has been read."""

    given: Any  # a path, - for standard input, a data frame, an array or lists; None: nothing
    settings: DataSettings  # what it is opened by: encoding, names, quotes, labels

    @cached_property
    def named(self) -> Path | None:
        """The path as it was given; None for what is in memory."""
        return Path(self.given) if isinstance(self.given, str | Path) else None

    @property
    def is_standard_input(self) -> bool:
        """Whether the bytes come in at the standard input."""
        return self.named is not None and str(self.given) == STANDARD_INPUT

    @cached_property
    def file(self) -> File:
        """The file at the path as given, or in the folder of data sets.

        Raises:
            ConfigError: no path was given.
            DataError: there is no such file.
        """
        if self.named is None:
            raise nothing()
        return tables.file_of(_found(self.named))

    @cached_property
    def recordings(self) -> recordings.Place | None:
        """The folder, archive or file of recordings that is named; None for anything else."""
        return recordings.place_of(self.given, os.environ.get(FOLDER, ""))

    @cached_property
    def texts(self) -> tuple[list[Any], Any] | None:
        """A list of texts in memory, with its labels or None; None for anything else."""
        given, labels = _pair(self.given)
        if hasattr(given, "dtype") and given.dtype.kind in "UO" and given.ndim == 1:
            given = given.tolist()
        texts_given = isinstance(given, list) and given and isinstance(given[0], str)
        return (given, labels) if texts_given and _paths_in_memory(self.given) is None else None

    def content(self, task: str) -> Table | Arrays:
        """The table or the arrays that it holds; to forecast, one array is one series.

        Raises:
            ConfigError: nothing was given.
            DataError: it is of no known kind, or cannot be read.
        """
        if self.given is None:
            raise nothing()
        if (paths := _paths_in_memory(self.given)) is not None:
            return tables.from_native(paths)
        if isinstance(self.given, tuple | list) or hasattr(self.given, "__array_interface__"):
            return arrays.of(self.given, task)
        return self._content

    def table(self) -> Table:
        """The table of a file or a data frame, and of nothing else.

        Raises:
            DataError: it holds no table.
        """
        assert isinstance(self._content, Table)
        return self._content

    @cached_property
    def _content(self) -> Table | Arrays:
        if self.named is None:
            return tables.from_native(self.given)
        # A file without an ending is a table where its columns are named.
        bare = self.settings.column_names and not self.file.path.suffix
        return READERS[".txt" if bare else _kind(self.file)](self.file, self.settings)

    def let_go(self) -> None:
        """Forget what was opened; to look again is to open again."""
        for held in ("file", "_content"):
            self.__dict__.pop(held, None)


def opened(settings: DataSettings, source: Any = None) -> Opened:
    """What is read, opened by `settings`: `source`, else the path of the settings.

    A source that is opened already stays as it is.
    """
    if isinstance(source, Opened):
        return source
    return Opened((settings.path or None) if source is None else source, settings)


def nothing() -> ConfigError:
    """The error where neither the settings nor the caller name data."""
    return ConfigError("There are no data to read. Give a path, or set data.path.")


def _pair(given: Any) -> tuple[Any, Any]:
    """(X, y) as it is; anything else with None beside it."""
    return given if isinstance(given, tuple) and len(given) == 2 else (given, None)


def _paths_in_memory(source: Any) -> pl.DataFrame | None:
    """A list of paths of recordings, or a pair of such a list and what they are, as a table."""
    given, labels = _pair(source)
    if not isinstance(given, list) or not given:
        return None
    if not all(isinstance(one, str | Path) and recordings.is_recording(one) for one in given):
        return None
    paths = pl.Series("path", [str(one) for one in given])
    if labels is None:
        return paths.to_frame()
    said = pl.Series("label", ["" if one is None else str(one) for one in labels])
    if len(said) != len(paths):
        raise DataError(f"There are {len(paths)} recordings, but {len(said)} labels.")
    return pl.DataFrame([paths, said])


def _delimited(file: File, settings: DataSettings, separator: str = "") -> Table:
    return tables.delimited(
        file,
        separator,
        names=settings.column_names,
        quotes=settings.quotes,
        encoding=settings.encoding,
    )


def _found(path: Path) -> Path:
    """The path as given, or in the folder of data sets."""
    folder = os.environ.get(FOLDER, "")
    places = [path, *([Path(folder) / path] if folder else [])]
    for place in places:
        if place.is_dir():
            raise DataError(f"{place} is a folder. Name one of the files in it.")
        if place.exists():
            return place
    hint = f" nor in {folder} ({FOLDER})" if folder else ""
    raise DataError(f"There is no file {path}{hint}. Check the path.")


def _kind(file: File) -> str:
    """The suffix by which a reader is chosen."""
    path, name = file.path, file.name
    if name.endswith("ubyte") or arrays.is_idx(name):
        return ".idx"
    suffix = Path(name).suffix
    packable = suffix not in (".parquet", ".npz")
    if suffix in READERS and (packable or path.suffix != ".gz"):
        return suffix
    known = ", ".join(one for one in READERS if one != ".idx")
    raise DataError(
        f"{path}: files of this kind ({path.suffix or 'no ending'}) are not known. "
        f"Known: {known} and IDX (...-ubyte); the text ones also with .gz. For two files of lines, "
        "a text and its translation, give --task translate; for running text --task language."
    )


def _labels_of(path: Path, settings: DataSettings) -> Path | None:
    """The file of labels that goes with IDX images."""
    if settings.labels:
        return _found(Path(settings.labels))
    near = path.with_name(
        path.name.replace("images", "labels").replace("idx3", "idx1").replace("idx2", "idx1")
    )
    return near if near != path and near.exists() else None
