"""Open sources of data: a file, a data frame, arrays or lists, each opened once and then shared.

The name of a file determines its kind.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from gatewise.errors import ConfigError, DataError, UnknownSourceError
from gatewise.readers import (
    archives,
    arff,
    arrays,
    folders,
    kaldi,
    matrices,
    memory,
    pivoted,
    recordings,
    sheets,
    tables,
    tsf,
)
from gatewise.readers.arrays import Arrays
from gatewise.readers.delimited import delimited
from gatewise.readers.files import File, file_of, unpacked
from gatewise.readers.json import WITHIN, json_lines, json_table
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

FOLDER = "GATEWISE_DATA"  # the environment variable that names a folder of data sets
STANDARD_INPUT = "-"

READERS: dict[str, Callable[[File, DataSettings], Table | Arrays]] = {
    ".csv": lambda file, settings: delimited(file, ",", settings),
    ".tsv": lambda file, settings: delimited(file, "\t", settings),
    ".txt": lambda file, settings: delimited(file, "", settings),
    ".parquet": lambda file, _: tables.parquet(file.path),
    ".jsonl": lambda file, settings: json_lines(file, settings.encoding),
    ".ndjson": lambda file, settings: json_lines(file, settings.encoding),
    ".xlsx": lambda file, settings: sheets.xlsx(file, settings),
    ".json": lambda file, settings: json_table(file, settings.encoding),
    ".tsf": lambda file, _: tsf.read(file),
    ".ts": lambda file, _: arrays.ts(file.path),
    ".arff": lambda file, _: arff.read(file),
    ".npz": lambda file, _: arrays.npz(file.path),
    ".npy": lambda file, _: arrays.npy(file.path),
    ".idx": lambda file, settings: arrays.idx(file.path, _labels_of(file.path, settings)),
}


@dataclass(frozen=True, eq=False)
class Opened:
    """A source that is opened on first access, and kept until `let_go`."""

    given: Any  # a path, - for standard input, a data frame, an array or lists; None: no source
    settings: DataSettings  # used to open it: encoding, names, quotes, labels
    _arrays: dict[bool, Arrays] = field(default_factory=dict, init=False)

    @cached_property
    def named(self) -> Path | None:
        """The path of a file, as given; None for data in memory."""
        return Path(self.given) if isinstance(self.given, str | Path) else None

    @property
    def is_standard_input(self) -> bool:
        """True if the data come from standard input."""
        return self.named is not None and str(self.given) == STANDARD_INPUT

    @cached_property
    def file(self) -> File:
        """The file at the path as given, or in the folder of data sets.

        Raises:
            ConfigError: the source is not a path.
            DataError: there is no such file.
        """
        if self.named is None:
            raise nothing()
        place = placed(self.named)
        if matrices.signals_of(place) or folders.holds_tables(place) or kaldi.folder_of(place):
            return File(place)
        if (packed := archives.chosen(place, MEMBERS)) is not None:
            return unpacked(*packed)
        if any(mark in place.name for mark in PARTS):
            return File(place)
        return file_of(found(self.named))

    @cached_property
    def recordings(self) -> recordings.Place | None:
        """The folder, archive or file of recordings at the path; None for other sources."""
        return recordings.place_of(self.given, data_folder())

    @cached_property
    def texts(self) -> tuple[list[Any], Any] | None:
        """A list of texts in memory, with its labels or None; None for other sources."""
        items, labels = _pair(self.given)
        items = memory.texts(items)
        are_texts = isinstance(items, list) and items and isinstance(items[0], str)
        return (items, labels) if are_texts and self._paths is None else None

    @property
    def _paths(self) -> pl.DataFrame | None:
        """A table of the paths of recordings in a list; None if the list holds texts."""
        texts = self.settings.text or not recordings.may_open()
        return None if texts else _paths_in_memory(self.given)

    def content(self, *, one_series: bool = False) -> Table | Arrays:
        """The table or the arrays of the source.

        With `one_series`, an array [steps] or [steps, columns] in memory is one sequence.

        Raises:
            ConfigError: there is no source.
            DataError: the source is of an unknown kind, or cannot be read.
        """
        if self.given is None:
            raise nothing()
        if (paths := self._paths) is not None:
            return _of_frame(paths)
        if isinstance(self.given, tuple | list) or hasattr(self.given, "__array_interface__"):
            if one_series not in self._arrays:
                self._arrays.clear()
                self._arrays[one_series] = arrays.of(self.given, one_series=one_series)
            return self._arrays[one_series]
        return self._content

    def table(self) -> Table:
        """The table of a file or a data frame.

        Raises:
            DataError: the source cannot be read as a table.
        """
        assert isinstance(self._content, Table)
        return self._content

    @cached_property
    def _content(self) -> Table | Arrays:
        if self.named is None:
            return pivoted.by_part(_of_frame(self.given), self.settings)
        if signals := matrices.signals_of(self.file.path):
            return matrices.read(signals)
        if folder := kaldi.folder_of(self.file.path):
            return kaldi.read(folder, self.settings.encoding)
        if folders.holds_tables(self.file.path):
            return folders.read(self.file.path, self.settings)
        # A file without a suffix is a table if the settings name its columns.
        bare = self.settings.column_names and not self.file.path.suffix
        read = READERS[".txt" if bare else _kind(self.file)](self.file, self.settings)
        return pivoted.by_part(read, self.settings) if isinstance(read, Table) else read

    def reopened(self, settings: DataSettings) -> "Opened":
        """The same source with other settings; the content of a pipe is kept."""
        again = replace(self, settings=settings)
        if isinstance(file := self.__dict__.get("file"), File) and file.content is not None:
            again.__dict__["file"] = file
        return again

    def let_go(self) -> None:
        """Free the content; the next access opens the source again.

        The tables of a folder are kept: they hold a few rows each, and take long to open.
        """
        is_folder = self.named is not None and placed(self.named).is_dir()
        if not (is_folder and isinstance(self.__dict__.get("_content"), Table)):
            for name in ("file", "_content"):
                self.__dict__.pop(name, None)
        self._arrays.clear()


def opened(settings: DataSettings, source: Any = None, *, joins: bool = True) -> Opened:
    """Open `source`, or the path of the settings if it is None.

    An opened source is returned unchanged. `joins`: tables with times in a list are read as one.
    """
    if isinstance(source, Opened):
        return source
    if joins and isinstance(source, list | Mapping):
        from gatewise.readers import frames  # Narwhals takes 40 ms that files do not need

        if (table := frames.joined(source)) is not None:
            return Opened(table, settings)
    return Opened((settings.path or None) if source is None else memory.plain(source), settings)


def data_folder() -> str:
    """The folder in which paths are also searched; "" if the environment names none."""
    return os.environ.get(FOLDER, "")


def sentence(note: str) -> str:
    """Format a note as a sentence, with a capital letter and a full stop.

    >>> sentence("2 missing steps of 1d inserted")
    '2 missing steps of 1d inserted.'
    """
    return note[:1].upper() + note[1:] + ("" if note.endswith((".", "!", "?")) else ".")


def nothing() -> ConfigError:
    """The error if neither the settings nor the caller name data."""
    return ConfigError("There are no data to read. Give a path, or set data.path.")


def _pair(source: Any) -> tuple[Any, Any]:
    """A pair (X, y) unchanged; any other source as (source, None)."""
    return source if isinstance(source, tuple) and len(source) == 2 else (source, None)


def _paths_in_memory(source: Any) -> pl.DataFrame | None:
    """A list of paths of recordings, or a pair of paths and labels, as a table."""
    items, labels = _pair(source)
    if not isinstance(items, list) or not items:
        return None
    if not all(isinstance(path, str | Path) and recordings.is_recording(path) for path in items):
        return None
    paths = pl.Series("path", [str(path) for path in items])
    if labels is None:
        return paths.to_frame()
    texts = pl.Series("label", ["" if label is None else str(label) for label in labels])
    if len(texts) != len(paths):
        raise DataError(f"There are {len(paths)} recordings, but {len(texts)} labels.")
    return pl.DataFrame([paths, texts])


_UNPACK = "Unpack it, or pack it with gzip"
_IN_PANDAS = "Write it as CSV or Parquet, in Python with pandas"
_SENTENCES = (
    "Write a table with a column for each language, or a text file for each, with a sentence on "
    "each line"
)
# Markup around texts and their translations; subtitles of two languages are cut at other places.
EXCHANGE = dict.fromkeys(
    (".tmx", ".po", ".xlf", ".xliff", ".srt", ".vtt", ".sgm", ".sgml"), _SENTENCES
)
REMEDIES = {
    **EXCHANGE,
    **dict.fromkeys((".bz2", ".xz", ".zst", ".lzma", ".z"), _UNPACK),
    **dict.fromkeys((".xls", ".xlsb", ".ods"), "Save it as .xlsx or as CSV"),
    **dict.fromkeys((".h5", ".hdf5", ".pkl", ".feather", ".orc", ".sas7bdat", ".dta"), _IN_PANDAS),
}
PACKED = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
PARTS = (f".xlsx{archives.MARK}", WITHIN, arrays.PART)  # before a sheet, a table or a part
MEMBERS = tuple(ending for ending in READERS if ending not in (".parquet", ".npz", ".npy", ".idx"))


def placed(path: Path) -> Path:
    """The path as given, or in the folder of data sets if only that exists."""
    archive = str(path).partition(archives.MARK)[0]
    folder = data_folder()
    return Path(folder) / path if folder and not Path(archive).exists() else path


def found(path: Path) -> Path:
    """The path as given, or in the folder of data sets."""
    folder = data_folder()
    places = [path, *([Path(folder) / path] if folder else [])]
    for place in places:
        if place.is_dir():
            raise DataError(f"{place} is a folder. Name a file in it.")
        if place.exists():
            return place
    hint = f" nor in {folder} ({FOLDER})" if folder else ""
    raise DataError(f"There is no file {path}{hint}. Check the path.")


def _of_frame(frame: Any) -> Table:
    from gatewise.readers.frames import from_native  # Narwhals takes 40 ms that files do not need

    return from_native(frame)


def _kind(file: File) -> str:
    """The suffix that selects the reader."""
    path, name = file.path, file.name
    if name.endswith("ubyte") or arrays.is_idx(name):
        return ".idx"
    marked = (mark.removesuffix(archives.MARK) for mark in PARTS if mark in name)
    suffix = next(marked, Path(name).suffix)
    packable = suffix not in (".parquet", ".npz", ".npy", ".xlsx")
    if suffix in READERS and (packable or path.suffix != ".gz"):
        return suffix
    if path.name.lower().endswith(PACKED):
        raise DataError(
            f"{path} is an archive that is not read. Unpack it, and give the file or the folder "
            "of recordings or texts in it. (Of archives, only .zip is read.)"
        )
    if remedy := REMEDIES.get(path.suffix.lower()):
        raise DataError(f"{path}: files of this kind ({path.suffix}) are not read. {remedy}.")
    known = ", ".join(ending for ending in READERS if ending != ".idx")
    raise UnknownSourceError(
        f"{path}: files of this kind ({path.suffix or 'no suffix'}) are not supported. "
        f"Supported: {known} and IDX (...-ubyte); text files also with .gz."
    )


def _labels_of(path: Path, settings: DataSettings) -> Path | None:
    """The file of labels that belongs to IDX images."""
    if settings.labels:
        return found(Path(settings.labels))
    near = path.with_name(
        path.name.replace("images", "labels").replace("idx3", "idx1").replace("idx2", "idx1")
    )
    return near if near != path and near.exists() else None
