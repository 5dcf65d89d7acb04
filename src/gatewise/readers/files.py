"""Files, tables and arrays -> Sequences: the kind of a file is told by its name, and stated."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from gatewise.data.sequences import Sequences, from_texts
from gatewise.errors import ConfigError, DataError
from gatewise.experiment import DataSettings
from gatewise.readers import (
    arrays,
    columns,
    conll,
    corpora,
    long,
    pairs,
    recordings,
    repairs,
    tables,
    texts,
    wide,
)
from gatewise.readers.arrays import Arrays
from gatewise.readers.tables import Table

FOLDER = "GATEWISE_DATA"  # the environment variable that names a folder of data sets

READERS: dict[str, Callable[[Path, DataSettings], Table | Arrays]] = {
    ".csv": lambda path, settings: _delimited(path, settings, ","),
    ".tsv": lambda path, settings: _delimited(path, settings, "\t"),
    ".txt": lambda path, settings: _delimited(path, settings),
    ".parquet": lambda path, _: tables.parquet(path),
    ".jsonl": lambda path, settings: tables.json_lines(path, settings.encoding),
    ".ndjson": lambda path, settings: tables.json_lines(path, settings.encoding),
    ".ts": lambda path, _: arrays.ts(path),
    ".npz": lambda path, _: arrays.npz(path),
    ".idx": lambda path, settings: arrays.idx(path, _labels_of(path, settings)),
}


Read = tuple[Sequences, DataSettings, list[str]]

# Tasks whose data come in forms of their own.
OWN_FORMS: dict[str, Callable[[DataSettings, Any, columns.Purpose], Read]] = {
    "language": lambda settings, source, _: corpora.read(settings, source, found=_found),
    "tag": lambda settings, source, purpose: conll.read(
        _tagged(settings, source, purpose), settings, purpose=purpose
    ),
}


def read(
    settings: DataSettings,
    source: Any = None,
    *,
    task: str,
    purpose: columns.Purpose = "train",
) -> Read:
    """The sequences, the settings with every guess filled in, and notes on guesses and repairs.

    Args:
        settings: `[data]`; what is not given is guessed from names and types of the columns.
        source: a path, a data frame, an array, a list of arrays or a pair (X, y);
            None: settings.path.
        task: "forecast" or "classify".
        purpose: to predict, labels may be absent; but to train, nothing is guessed any more.

    Raises:
        DataError: the data are not what the task needs, or cannot be read.
        ConfigError: the settings do not fit the data, or too little is known to guess the rest.
    """
    if task in OWN_FORMS:
        return OWN_FORMS[task](settings, source, purpose)
    if task in ("classify", "translate") and (given := _texts_in_memory(source)):
        return _of_lists(*given, settings, task=task, purpose=purpose)
    if task == "translate":
        return _pairs(settings, source, purpose)
    place = _recordings(settings, source) if task in recordings.TASKS else None
    if place is not None:
        return recordings.from_files(place, settings, task=task, purpose=purpose)
    if purpose == "predict" and settings.text and (written := _as_lines(settings, source)):
        return written, settings, []
    opened = _open(settings, source, task)
    if (
        isinstance(opened, Table)
        and task in recordings.TASKS
        and recordings.column_of(opened, settings)
    ):
        folder = os.environ.get(FOLDER, "")
        return recordings.from_table(opened, settings, folder=folder, task=task, purpose=purpose)
    if task == "transcribe":
        raise DataError(recordings.wanted(opened.name))
    if isinstance(opened, Table) and task == "classify" and _holds_texts(opened, settings):
        return texts.from_table(opened, settings, purpose=purpose)
    if isinstance(opened, Table):
        return _from_table(opened, settings, task=task, purpose=purpose)
    return _from_arrays(opened, settings, task=task, purpose=purpose)


def guess_task(settings: DataSettings, source: Any = None) -> tuple[str, str]:
    """The task that the data ask for, and the reason.

    Raises:
        ConfigError: the data fit several tasks.
        DataError: the data cannot be read.
    """
    if settings.target or settings.past or settings.known:
        return "forecast", "the settings name columns to forecast or to forecast from"
    if (place := _recordings(settings, source)) is not None:
        return recordings.task_of(place)
    path = _path(settings, source)
    if path and conll.holds_tokens(path):
        return "tag", f"{path.name} holds tokens with tags"
    if settings.label or settings.labels:
        return "classify", "the settings name labels"
    if path and corpora.is_plain(_found(path)):
        return "language", f"{path.name} is plain text"
    opened = _open(settings, source, "forecast")
    if isinstance(opened, Table):
        found = _task_of_table(opened, settings)
    else:
        labelled = opened.sequences.labels is not None
        found = ("classify", f"{opened.kind} with labels") if labelled else None
    if found is None:
        raise ConfigError(
            f"The task cannot be told from {opened.name}. Give --task: forecast, classify, tag, "
            "language, translate or transcribe."
        )
    return found


def _task_of_table(table: Table, settings: DataSettings) -> tuple[str, str] | None:
    if sound := recordings.column_of(table, settings):
        return recordings.task_of_column(table, sound)
    if label := columns.label_of(table, settings):
        return "classify", f"the column {label!r} holds labels"
    written = texts.written(table, settings)
    if len(written) == len(table.columns) == 2:
        return "translate", "the columns {!r} and {!r} hold texts".format(*written)
    if time := columns.time_of(table, settings):
        return "forecast", f"the column {time!r} holds times, and there are no labels"
    return None


def _path(settings: DataSettings, source: Any) -> Path | None:
    """The path that is read; None where the data are in memory, or nothing was given."""
    named = settings.path if source is None else source
    return Path(named) if isinstance(named, str | Path) and str(named) else None


def holds_texts(settings: DataSettings, source: Any, column: str) -> bool:
    """Whether this column holds texts, which cannot be forecast, or is to be told from texts.

    Ratings are numbers; beside reviews, and without a column of times, they are labels.
    """
    if _recordings(settings, source) is not None:
        return True
    path = _path(settings, source)
    if path and conll.holds_tokens(path):
        return True
    opened = _open(settings, source, "classify")
    if isinstance(opened, Arrays):
        return False
    kinds = tables.kinds(opened, settings.missing_values)
    if kinds.get(column) == "text":
        return True
    told = texts.text_columns(opened, replace(settings, label=column), kinds)
    return bool(told) and not columns.time_of(opened, settings)


def _holds_texts(table: Table, settings: DataSettings) -> bool:
    """Whether running text is to be classified, and not numbers."""
    if settings.text:
        return True
    kinds = tables.kinds(table, settings.missing_values)
    return bool(texts.text_columns(table, settings, kinds))


def _pairs(settings: DataSettings, source: Any, purpose: columns.Purpose) -> Read:
    """Texts with their translations."""
    source = (settings.path or None) if source is None else source
    if source is None:
        raise ConfigError("There are no data to read. Give a path, or set data.path.")
    if not isinstance(source, str | Path):
        return pairs.from_table(tables.from_native(source), settings, purpose=purpose)

    def opened(path: Path, settings: DataSettings) -> Table:
        table = READERS[_kind(path)](path, settings)
        assert isinstance(table, Table)
        return table

    return pairs.read(settings, source, purpose=purpose, found=_found, opened=opened)


def _texts_in_memory(source: Any) -> tuple[list[Any], Any] | None:
    """A list of texts, with its labels or None; None for anything else."""
    given, labels = source if isinstance(source, tuple) and len(source) == 2 else (source, None)
    if hasattr(given, "dtype") and given.dtype.kind in "UO" and given.ndim == 1:
        given = given.tolist()
    texts_given = isinstance(given, list) and given and isinstance(given[0], str)
    return (given, labels) if texts_given and _paths_in_memory(source) is None else None


def _of_lists(
    given: list[Any], said: Any, settings: DataSettings, *, task: str, purpose: columns.Purpose
) -> Read:
    """Texts in memory, with their labels or translations where there are any."""
    if task == "translate" and said is not None:
        made, notes = pairs.of_lists(given, said)
        return made, settings, notes
    made, notes = texts.of_lists(given, said, settings, purpose=purpose)
    return made, replace(settings, text=settings.text or ("text",)), notes


def _paths_in_memory(source: Any) -> pl.DataFrame | None:
    """A list of paths of recordings, or a pair of such a list and what they are, as a table."""
    given, labels = source if isinstance(source, tuple) and len(source) == 2 else (source, None)
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


def _recordings(settings: DataSettings, source: Any) -> recordings.Place | None:
    """The folder, archive or file of recordings that is named; None for anything else."""
    return recordings.place_of(
        settings.path if source is None else source, os.environ.get(FOLDER, "")
    )


def _as_lines(settings: DataSettings, source: Any) -> Sequences | None:
    """The lines of plain text, each a text to be answered; None for anything else."""
    if not isinstance(source, str | Path):
        return None
    if str(source) == corpora.STANDARD_INPUT:
        content = texts.decoded(sys.stdin.buffer.read(), "standard input", settings.encoding)
        if not content.strip():
            raise DataError("standard input is empty. It needs a line of text.")
        found, name = content.removesuffix("\n").split("\n"), "standard input"
    elif Path(source).name.removesuffix(".gz").endswith(".txt"):
        path = _found(Path(source))
        found, name = texts.lines(path, settings.encoding), str(path)
        if texts.begins_table(found[0], settings):
            return None
    else:
        return None
    return from_texts(found, source=name)


def _delimited(path: Path, settings: DataSettings, separator: str = "") -> Table:
    return tables.delimited(
        path,
        separator,
        names=settings.names,
        quotes=settings.quotes,
        encoding=settings.encoding,
    )


def _tagged(settings: DataSettings, source: Any, purpose: columns.Purpose) -> Any:
    """The path of a file of tokens, or what is in memory or comes in at the standard input."""
    if source is None and not settings.path:
        raise ConfigError("There are no data to read. Give a path, or set data.path.")
    source = settings.path if source is None else source
    if isinstance(source, str) and source == corpora.STANDARD_INPUT:
        if purpose != "predict":
            raise ConfigError("Standard input (-) is for gatewise predict. Name a file.")
        content = sys.stdin.buffer.read()
        return texts.decoded(content, "standard input", settings.encoding).split("\n")
    return _found(Path(source)) if isinstance(source, str | Path) else source


def _open(settings: DataSettings, source: Any, task: str) -> Table | Arrays:
    if source is None and not settings.path:
        raise ConfigError("There are no data to read. Give a path, or set data.path.")
    source = settings.path if source is None else source
    if isinstance(source, str | Path):
        path = _found(Path(source))
        # A file without an ending is a table where its columns are named.
        kind = ".txt" if settings.names and not path.suffix else _kind(path)
        return READERS[kind](path, settings)
    if (paths := _paths_in_memory(source)) is not None:
        return tables.from_native(paths)
    if isinstance(source, tuple | list) or hasattr(source, "__array_interface__"):
        return arrays.of(source, task)
    return tables.from_native(source)


def sentence(note: str) -> str:
    """A note as it is shown: a capital in front, a full stop behind.

    >>> sentence("2 missing steps of 1d put in")
    '2 missing steps of 1d put in.'
    """
    return note[:1].upper() + note[1:] + ("" if note.endswith((".", "!", "?")) else ".")


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


def _kind(path: Path) -> str:
    """The suffix by which a reader is chosen."""
    name = path.name.removesuffix(".gz").lower()
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


def _from_table(
    table: Table, settings: DataSettings, *, task: str, purpose: columns.Purpose
) -> tuple[Sequences, DataSettings, list[str]]:
    settings, kinds, guesses = columns.resolve(table, settings, task=task, purpose=purpose)
    if settings.layout == "long":
        shape = long.long
    else:
        shape = wide.lists if columns.in_lists(settings, kinds) else wide.wide
    # An absent label or group is no error when predicting; nothing is then known of it.
    label = settings.label if settings.label in kinds else ""
    group = settings.group if settings.group in kinds else ""
    present = replace(settings, label=label, group=group)
    sequences, origin, notes = shape(table, present, kinds)
    if purpose != "predict":
        columns.require_each_label(sequences, task, settings)
    sequences, repaired = repairs.apply(sequences, origin, settings, purpose=purpose)
    return sequences, settings, [*table.notes, *guesses, *notes, *repaired]


def _from_arrays(
    given: Arrays, settings: DataSettings, *, task: str, purpose: columns.Purpose
) -> tuple[Sequences, DataSettings, list[str]]:
    notes: list[str] = []
    sequences = given.sequences
    settings, places = columns.of_array(
        sequences.columns, settings, notes, name=given.name, task=task, purpose=purpose
    )
    if task == "classify":
        if purpose != "predict":
            columns.require_each_label(sequences, task, settings)
    elif sequences.labels is not None:
        notes.append("the labels are left out, as nothing is classified")
        sequences = replace(sequences, labels=None)
    if places != list(range(len(sequences.columns))):
        names = tuple(sequences.columns[one] for one in places)
        sequences = replace(sequences, values=sequences.values[:, places], columns=names)
    sequences, repaired = repairs.apply(sequences, arrays.origin(given), settings, purpose=purpose)
    return sequences, settings, [*notes, *repaired]
