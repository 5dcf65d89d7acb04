"""Recordings -> Sequences: int16 samples of one channel, all at one rate.

Recordings come as a folder or a zip archive of them, as a table with a column of paths, or as a
single file. What is said in them, or what they are, stands in the names of folders or files, in a
column, or in transcripts beside them.
"""

import io
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl

from gatewise.data.sequences import Array, Sequences
from gatewise.data.spectra import FULL
from gatewise.errors import ConfigError, DataError
from gatewise.extras import needed
from gatewise.readers import columns, tables, texts
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

ENDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")
COLUMNS = ("path", "file", "filename", "file_name", "wav", "audio", "sound", "recording")
TRANSCRIPTS = ("text", "transcript", "transcription", "sentence", "label")
TASKS = ("classify", "transcribe")
BLOCK = 1 << 20  # samples that are read at once, so that a long recording needs little memory
CLASS_FOLDERS = "{label}/{file}"
# Names from which the label can be told, by what stands behind it.
GUESSES = ("{label}_{rest}", "{label}-{rest}", "{label}{number}")

Read = tuple[Sequences, DataSettings, list[str]]


@dataclass(frozen=True)
class Place:
    """A folder, or an archive in its stead, and the names of the recordings in it."""

    path: Path
    packed: bool
    names: tuple[str, ...]  # of the recordings, relative, with /
    others: tuple[str, ...]  # of texts that may be transcripts

    def opened(self, name: str) -> Any:
        """What soundfile and others read the file of this name from."""
        if not self.packed:
            return self.path / name if self.path.is_dir() else self.path
        try:
            with zipfile.ZipFile(self.path) as archive:
                return io.BytesIO(archive.read(name))
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
            # RuntimeError is what an archive with a password raises.
            raise DataError(
                f"{self.path}: {name!r} in it cannot be unpacked: {error}. Fetch or pack the "
                "archive again, without a password, or name a folder."
            ) from error

    def lines(self, name: str, encoding: str) -> list[str]:
        """The lines of a text file."""
        given = self.opened(name)
        content = given.read_bytes() if isinstance(given, Path) else given.read()
        return texts.decoded(content, f"{self.path}/{name}", encoding).splitlines()


def is_recording(path: str | Path) -> bool:
    """Whether a name is that of a recording."""
    return str(path).lower().endswith(ENDINGS)


def wanted(name: str) -> str:
    """The sentence for those who ask for a transcription of something else."""
    return (
        f"{name} holds no recordings. transcribe reads a folder or a zip archive of recordings "
        f"({', '.join(ENDINGS)}) with transcripts, or a table with a column of their paths "
        "(--set data.sound=COLUMN)."
    )


def place_of(source: Any, folder: str = "") -> Place | None:
    """The recordings that a path holds; None where it is no folder, archive or recording.

    A path that is not there is looked for in `folder`, that of the data sets.

    Raises:
        DataError: a folder or an archive holds no recordings.
    """
    if not isinstance(source, str | os.PathLike) or not os.fspath(source):
        return None
    path = Path(source)
    if not path.exists() and folder:
        path = Path(folder) / path
    if path.is_dir():
        found = sorted(one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file())
        packed = False
    elif path.suffix.lower() == ".zip" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            found = sorted(one.filename for one in archive.infolist() if not one.is_dir())
        packed = True
    elif path.suffix.lower() in ENDINGS and path.exists():
        return Place(path, False, (path.name,), ())
    else:
        return None
    seen = [one for one in found if not PurePosixPath(one).name.startswith(".")]
    names = tuple(filter(is_recording, seen))
    if not names:
        kind = "an archive" if packed else "a folder"
        texts_there = any(one.removesuffix(".gz").endswith(".txt") for one in seen)
        hint = " A folder of texts is for --task language." if texts_there else ""
        raise DataError(
            f"{path} is {kind} without recordings ({', '.join(ENDINGS)}). Name a file in it, or "
            f"{kind} of recordings.{hint}"
        )
    others = tuple(one for one in seen if one.lower().endswith(".txt"))
    return Place(path, packed, names, others)


def task_of(place: Place) -> tuple[str, str]:
    """What is most likely asked of recordings, and why."""
    if _transcripts(place, DataSettings()):
        return "transcribe", f"{place.path} holds recordings with transcripts beside them"
    return "classify", f"{place.path} holds recordings"


def task_of_column(table: Table, column: str) -> tuple[str, str]:
    """What is most likely asked of a table with paths of recordings, and why."""
    names = {name.lower() for name in table.columns}
    said = next((name for name in TRANSCRIPTS[:-1] if name in names), "")
    if said:
        return "transcribe", f"the column {column!r} names recordings, {said!r} what they say"
    return "classify", f"the column {column!r} names recordings"


def from_files(place: Place, settings: DataSettings, *, task: str, purpose: str) -> Read:
    """The recordings of a folder, with what their names or the texts beside them say.

    Raises:
        DataError: a recording cannot be read, or has no label or transcript.
        ConfigError: it cannot be told what the labels are, or the pattern does not fit.
    """
    notes: list[str] = []
    files = [(name, name) for name in place.names]
    if purpose == "predict":  # what new recordings are called need not be what they are
        return _recordings(place, files, settings, notes, known={}, purpose=purpose)
    known: dict[str, Any] = {}
    said = _transcripts(place, settings) if task == "transcribe" and not settings.pattern else {}
    if said:
        known["labels"] = _objects(_with_transcripts(place, said))
    else:
        settings = _with_pattern(place, settings, notes, task=task)
        fields = _fields(place, settings, task=task)
        known["labels"] = _objects([one["label"] for one in fields])
        if settings.group:
            known["groups"] = _objects([one[settings.group] for one in fields])
    return _recordings(place, files, settings, notes, known=known, purpose=purpose)


def column_of(table: Table, settings: DataSettings) -> str:
    """The column of a table that holds paths of recordings, or ""."""
    if settings.sound:
        return settings.sound
    usual = sorted(table.columns, key=lambda name: name.lower() not in COLUMNS)
    for name in usual:
        cells = table.sample[name]
        if cells.dtype != pl.String:
            continue
        filled = [cell for cell in cells.drop_nulls().to_list() if cell]
        if filled and all(map(is_recording, filled)):
            return str(name)
    return ""


def from_table(
    table: Table, settings: DataSettings, *, folder: str, task: str, purpose: columns.Purpose
) -> Read:
    """A row for each recording; label or transcript, group and id from columns of their own.

    Paths are relative to the table, or to `folder`, that of the data sets.

    Raises:
        DataError: a column or a recording is not there, or cannot be read.
        ConfigError: no column is known to hold the labels.
    """
    notes: list[str] = []
    if not settings.sound:
        settings = replace(settings, sound=column_of(table, settings))
        notes.append(f"the column {settings.sound!r} is read as paths of recordings")
    if purpose != "predict" and not settings.label:
        settings = _with_label(table, settings, notes, task=task)
    columns.demand(table, settings, purpose)
    notes += columns.unread(table, settings)
    wanted = [one for one in columns.named(settings) if one in table.columns]
    frame = pl.concat(list(table.batches(wanted)))
    schema = frame.schema

    def cells(name: str) -> list[str]:
        # What is said may well be null, or NA.
        said = task == "transcribe" and name == settings.label
        missing = ("",) if said else settings.missing_values
        label = task == "classify" and name == settings.label
        read = tables.as_label if label else tables.as_text
        return list(
            frame.select(read(name, schema[name], missing)).to_series().fill_null("").to_list()
        )

    known: dict[str, Any] = {}
    for role in ("label", "group"):
        name = getattr(settings, role)
        if name in frame.columns:
            known[f"{role}s"] = _objects(cells(name))
    paths = cells(settings.sound)
    ids = paths
    if settings.id:
        ids = ["/".join(row) for row in zip(*map(cells, settings.id), strict=True)]
    beside = Path(table.name).parent
    found = [
        _beside(path, beside, folder, f"{table.name}: {table.at(row)}")
        for row, path in enumerate(paths)
    ]
    place = Place(beside, False, (), ())
    return _recordings(
        place,
        list(zip(ids, found, strict=True)),
        settings,
        notes,
        known=known,
        purpose=purpose,
        name=table.name,
    )


def _with_label(
    table: Table, settings: DataSettings, notes: list[str], *, task: str
) -> DataSettings:
    """With the column of labels or transcripts, guessed by its name or for want of others."""
    if task == "transcribe":
        folded = {one.lower(): one for one in table.columns}
        column = next((folded[one] for one in TRANSCRIPTS if one in folded), "")
        if column:
            notes.append(f"the column {column!r} is taken as the transcript")
            return replace(settings, label=column)
    return columns.guessed_label(table, settings, notes, task=task)


def _beside(path: str, beside: Path, folder: str, where: str) -> str:
    """Where a path of a table leads."""
    places = [beside / path, *([Path(folder) / path] if folder else [])]
    for one in places:
        if path and one.is_file():
            return str(one.resolve())
    tried = " nor ".join(str(one) for one in places)
    raise DataError(
        f"{where}: there is no recording {path!r} (not at {tried}). Paths are relative to the "
        "table. Mend the path, or take the row out."
    )


# What names and texts say


def _objects(values: Sequence[str]) -> Array:
    return np.array(list(values), dtype=object)


def _with_pattern(
    place: Place, settings: DataSettings, notes: list[str], *, task: str
) -> DataSettings:
    """With the pattern of the names, guessed for a classification where there is but one way."""
    if settings.pattern:
        return settings
    if task == "classify":
        folders = {name.rpartition("/")[0] for name in place.names}
        # One folder around everything, as archives often have it, tells no labels apart.
        if len(folders) > 1 and "" not in folders:
            notes.append("the folder that a recording lies in is taken as its label")
            return replace(settings, pattern=CLASS_FOLDERS)
        for pattern in GUESSES:
            found = [_matched(pattern, name) for name in place.names]
            labels = Counter(one["label"] for one in found if one)
            told = all(found) and all(re.fullmatch(r"[^\W_]+", label) for label in labels)
            if told and 2 <= len(labels) <= len(found) / 2:
                notes.append(
                    f"names of files are read as {pattern}: {len(labels)} labels, such as "
                    f"{', '.join(sorted(labels)[:3])} (data.pattern says otherwise)"
                )
                return replace(settings, pattern=pattern)
    example = place.names[0]
    if task == "classify":
        raise ConfigError(
            f"{place.path}: it cannot be told what the labels are. Put the recordings of each "
            f"label into a folder of its own, or say how a name such as {example!r} is read: "
            "--set 'data.pattern={label}_{speaker}_{take}'."
        )
    raise ConfigError(
        f"{place.path}: there are no transcripts. Put a .txt beside each recording, or *.trans.txt "
        f"with a line for each; or give a table of paths and texts; or, where a name such as "
        f"{example!r} says it all, --set 'data.pattern={{label}}'."
    )


def _matched(pattern: str, name: str) -> dict[str, str] | None:
    """What the last parts of a relative name say, or None where they do not fit."""
    parts = name.split("/")
    depth = pattern.count("/") + 1
    if len(parts) < depth:
        return None
    end = "/".join(parts[-depth:])
    if not pattern.lower().endswith(ENDINGS):
        end = end.rpartition(".")[0]
    found = re.fullmatch(_expression(pattern), end)
    return None if found is None else found.groupdict()


def _expression(pattern: str) -> str:
    r"""The pattern as a regular expression; {number} is digits, any other field any text.

    >>> _expression("{label}_{take}.wav")
    '(?P<label>[^/]+?)_(?P<take>[^/]+?)\\.wav'
    """
    said = []
    for piece in re.split(r"(\{\w+\})", pattern):
        if re.fullmatch(r"\{\w+\}", piece):
            name = piece[1:-1]
            said.append(f"(?P<{name}>{r'[0-9]+' if name == 'number' else '[^/]+?'})")
        else:
            said.append(re.escape(piece))
    return "".join(said)


def _fields(place: Place, settings: DataSettings, *, task: str) -> list[Mapping[str, str]]:
    """What each name says."""
    pattern = settings.pattern
    named = re.findall(r"\{(\w+)\}", pattern)
    if "label" not in named:
        raise ConfigError(
            f"data.pattern must say where the label stands, as in {{label}}_{{speaker}}. "
            f"Received: {pattern!r}."
        )
    if len(set(named)) != len(named):
        raise ConfigError(f"data.pattern names a field twice. Received: {pattern!r}.")
    if settings.group and settings.group not in named:
        raise ConfigError(
            f"data.group names {settings.group!r}, and data.pattern has no such field: "
            f"{pattern!r}. Fields: {', '.join(named)}."
        )
    found: list[Mapping[str, str]] = []
    for name in place.names:
        said = _matched(pattern, name)
        if said is None:
            raise DataError(
                f"{place.path}: the name {name!r} does not fit data.pattern = {pattern!r}. Rename "
                "or move it, or mend the pattern."
            )
        if task == "transcribe":
            said["label"] = said["label"].replace("_", " ")
        found.append(said)
    return found


def _transcripts(place: Place, settings: DataSettings) -> dict[str, str]:
    """What is said in each recording, by its name without ending; empty: there are no texts."""
    stems = {name.rpartition(".")[0] for name in place.names}
    said: dict[str, str] = {}
    for other in place.others:
        if other.lower().endswith(".trans.txt"):
            folder = other.rpartition("/")[0]
            for line in place.lines(other, settings.encoding):
                name, _, text = line.strip().partition(" ")
                if name:
                    said[f"{folder}/{name}" if folder else name] = text.strip()
        elif (stem := other[: -len(".txt")]) in stems:
            said[stem] = " ".join(" ".join(place.lines(other, settings.encoding)).split())
    return {name: text for name, text in said.items() if name in stems}


def _with_transcripts(place: Place, said: Mapping[str, str]) -> list[str]:
    kept = [said.get(name.rpartition(".")[0]) for name in place.names]
    without = [name for name, text in zip(place.names, kept, strict=True) if text is None]
    if without:
        more = f", nor have {len(without) - 1} more" if len(without) > 1 else ""
        raise DataError(
            f"{place.path}: the recording {without[0]!r} has no transcript{more}. Write one beside "
            "it, or take the recording out."
        )
    return [text or "" for text in kept]


# Samples


def _recordings(
    place: Place,
    files: Sequence[tuple[str, str]],
    settings: DataSettings,
    notes: list[str],
    *,
    known: dict[str, Any],
    purpose: str,
    name: str = "",
) -> Read:
    """All files (id, name or path), read at one rate; those without sound left out and noted."""
    source = name or str(place.path)
    rates = [_rate(place.opened(file), file) for _, file in files]
    settings = _with_rate(settings, rates, notes)
    read = [_samples(place.opened(file), file, settings.sample_rate) for _, file in files]
    stops = np.cumsum([len(one) for one in read], dtype=np.int64)
    starts = np.concatenate([[0], stops[:-1]]).astype(np.int64)
    sequences = Sequences(
        values=np.concatenate(read)[:, None],
        starts=starts,
        stops=stops,
        first=starts,
        ids=np.array([one for one, _ in files]),
        columns=("sound",),
        kind="sound",
        rate=settings.sample_rate,
        source=source,
        **known,
    )
    if purpose != "predict":
        _require_said(sequences)
    heard = np.array([len(one) > 0 and bool((one != one[0]).any()) for one in read])
    return _without_silence(sequences, heard, notes, purpose), settings, notes


def _require_said(sequences: Sequences) -> None:
    """A label or a transcript for every recording."""
    said = np.zeros(len(sequences)) if sequences.labels is None else sequences.labels != ""
    without = np.flatnonzero(said == 0)
    if len(without):
        raise DataError(
            f"{sequences.source}: {len(without)} of {len(sequences)} recordings "
            f"{'has' if len(without) == 1 else 'have'} no label or transcript, the first is "
            f"'{sequences.ids[without[0]]}'. Add what is missing, or take them out. (Which words "
            "in a column of labels count as empty: data.missing_values.)"
        )


def _with_rate(settings: DataSettings, rates: Sequence[int], notes: list[str]) -> DataSettings:
    counts = Counter(rates)
    rate = settings.sample_rate or min(counts, key=lambda one: (-counts[one], one))
    other = {one: count for one, count in sorted(counts.items()) if one != rate}
    if other:
        told = ", ".join(f"{count} of {one:,} Hz" for one, count in other.items())
        notes.append(f"resampled to {rate:,} Hz (data.sample_rate): {told}")
    return replace(settings, sample_rate=rate)


def _without_silence(
    sequences: Sequences, heard: Array, notes: list[str], purpose: str
) -> Sequences:
    """Silence teaches nothing; but who asks for an answer gets one, with a note."""
    silent = sequences.ids[~heard].tolist()
    if not silent:
        return sequences
    first = f"the first of them {silent[0]!r}" if len(silent) > 1 else repr(silent[0])
    count = f"{len(silent)} recordings hold" if len(silent) > 1 else "1 recording holds"
    if purpose == "predict":
        notes.append(f"{count} no sound ({first}); what is answered to that means nothing")
        return sequences
    if not heard.any():
        raise DataError(f"{sequences.source}: no recording holds any sound ({first}).")
    notes.append(f"{count} no sound and {'are' if len(silent) > 1 else 'is'} left out: {first}")
    return sequences.chosen(np.flatnonzero(heard))


def _rate(file: Any, name: str) -> int:
    with _reading(name) as package:
        return int(package.info(file).samplerate)


def _samples(file: Any, name: str, rate: int) -> Array:
    """The samples of a file at this rate, its channels averaged, [samples] int16."""
    with _reading(name) as package, package.SoundFile(file) as sound:
        stream = None
        if sound.samplerate != rate:
            soxr = needed("soxr", "sound", "Resampling recordings")
            stream = soxr.ResampleStream(sound.samplerate, rate, 1, dtype="float32")
        found = [np.empty(0, dtype=np.int16)]
        last = False
        while not last:
            block = sound.read(BLOCK, dtype="float32", always_2d=True).mean(axis=1)
            last = len(block) < BLOCK
            if stream is not None:
                block = stream.resample_chunk(block, last=last)
            # Files of floats would come as zeros where int16 is asked for.
            found.append(np.clip(np.rint(block * FULL), -FULL, FULL - 1).astype(np.int16))
    return np.concatenate(found)


@contextmanager
def _reading(name: str) -> Iterator[Any]:
    """The package that reads; what it raises becomes a sentence that names the file."""
    package = needed("soundfile", "sound", "Reading recordings")
    try:
        yield package
    except (package.SoundFileError, OSError) as error:
        reason = str(error).strip().rstrip(".").split(": ")[-1]
        raise DataError(
            f"{name} cannot be read as a recording: {reason}. Mend it or take it out."
        ) from error
