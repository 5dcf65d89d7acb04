"""Read recordings: int16 samples of one channel, all at one rate.

The source is a folder, a zip archive, a table with a column of paths, or a single file. Labels and
transcripts come from the names of folders or files, from a column, or from text files next to the
recordings.
"""

import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import polars as pl

from gatewise.data.sequences import Array, Sequences
from gatewise.data.spectra import FULL
from gatewise.errors import ConfigError, DataError, UnknownSourceError
from gatewise.extras import require
from gatewise.readers import (
    archives,
    columns,
    folders,
    kaldi,
    matrices,
    roles,
    targets,
    texts,
)
from gatewise.readers.cells import as_text
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.labels import as_label, with_truth
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

ENDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")
COLUMNS = ("path", "file", "filename", "file_name", "wav", "audio", "sound", "recording")
TRANSCRIPTS = ("text", "transcript", "transcription", "sentence", "label")
CLIPS = "clips"  # the folder of the recordings of Common Voice, beside its tables
SPEAKERS = ("client_id", "speaker")  # columns of the speakers, of Common Voice and of Kaldi
SPANNED = re.compile(r"\d+ \d+ (?=\D)")  # the first and the last sample, as TIMIT writes them
METADATA = "metadata.csv"  # the transcripts of LJSpeech: name|text|normalised text
MOST_SEARCHED = 200_000  # files below a table that are looked at, because it may lie anywhere
BLOCK = 1 << 20  # samples to read at once, so that long recordings need little memory
CLASS_FOLDERS = "{label}/{file}"
# Patterns of names that begin with the label.
GUESSES = ("{label}_{rest}", "{label}-{rest}", "{label}{number}")

Truth = Literal["label", "transcript", "number"]  # the target of each recording


@dataclass(frozen=True)
class Place:
    """A folder or an archive, and the names of the recordings in it."""

    path: Path
    packed: bool
    names: tuple[str, ...]  # relative paths of the recordings, with /
    others: tuple[str, ...]  # relative paths of text files that may be transcripts
    left_out: tuple[str, ...] = ()  # recordings in folders whose names begin with _

    @cached_property
    def transcribed(self) -> bool:
        """True if text files next to the recordings hold transcripts."""
        return bool(_transcripts(self, DataSettings()))

    def opened(self, name: str) -> Any:
        """The path or the bytes of the file with this name."""
        if not self.packed:
            return self.path / name if self.path.is_dir() else self.path
        return io.BytesIO(archives.content(self.path, name))

    def lines(self, name: str, encoding: str) -> list[str]:
        """The lines of a text file."""
        given = self.opened(name)
        content = given.read_bytes() if isinstance(given, Path) else given.read()
        return texts.decoded(content, f"{self.path}/{name}", encoding).splitlines()


def is_recording(path: str | Path) -> bool:
    """True if a path has the suffix of a recording."""
    return str(path).lower().endswith(ENDINGS)


def place_of(source: Any, folder: str = "") -> Place | None:
    """The recordings at a path; None if it is not a folder, an archive or a recording.

    If the path does not exist, it is searched in `folder`, the folder of data sets.

    Raises:
        DataError: a folder or an archive holds no recordings.
    """
    if not isinstance(source, str | os.PathLike) or not os.fspath(source):
        return None
    path = Path(source)
    if not path.exists() and folder:
        path = Path(folder) / path
    if kaldi.folder_of(path) or matrices.signals_of(path):
        return None  # a table, or arrays
    if path.is_dir():
        found = sorted(one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file())
        packed = False
    elif archives.is_archive(path):
        found, packed = sorted(archives.names(path)), True
    elif path.suffix.lower() in ENDINGS and path.exists():
        return Place(path, False, (path.name,), ())
    else:
        return None
    seen = [one for one in found if not PurePosixPath(one).name.startswith(".")]
    every = tuple(filter(is_recording, seen))
    # Noise to mix in, as in Google's speech commands, is not a class.
    names = tuple(one for one in every if not _is_apart(one)) or every
    if not names and (packed or folders.holds_tables(path)):
        return None  # tables
    if not names:
        held = f"{', '.join(seen[:4])}{' ...' * (len(seen) > 4)}" if seen else "no file"
        raise UnknownSourceError(
            f"{path} is a folder without recordings ({', '.join(ENDINGS)}); it holds {held}. Give "
            "a file, or a folder with recordings."
        )
    listed = [one for one in seen if "/" not in one and one.endswith(".tsv")]
    if listed and all(name.startswith(f"{CLIPS}/") for name in names):
        raise DataError(
            f"{path} holds recordings in {CLIPS} and tables beside it, as Common Voice does. Name "
            f"one of the tables: {', '.join(listed[:8])}."
        )
    others = tuple(one for one in seen if one.lower().endswith((".txt", METADATA)))
    return Place(path, packed, names, others, tuple(sorted({*every} - {*names})))


def _is_apart(name: str) -> bool:
    return any(part.startswith("_") for part in name.split("/")[:-1])


def transcripts_of(table: Table) -> str:
    """The column of a table of recordings whose name marks it as transcripts, or ""."""
    names = {name.lower() for name in table.columns}
    return next((name for name in TRANSCRIPTS[:-1] if name in names), "")


def from_files(place: Place, settings: DataSettings, *, truth: Truth, purpose: Purpose) -> Read:
    """Read a folder of recordings, with labels or transcripts from names or text files.

    Raises:
        DataError: a recording cannot be read, or has no label or transcript.
        ConfigError: the labels cannot be determined, or the pattern is wrong.
    """
    notes: list[str] = []
    if place.left_out:
        apart = sorted({name.rpartition("/")[0] for name in place.left_out})
        notes.append(
            f"the recordings in {', '.join(apart)} are left out, because the name of a folder that "
            "begins with _ is not a label"
        )
    files = [(name, name) for name in place.names]
    if purpose == "predict":  # the names of new recordings need not hold labels
        return _recordings(place, files, settings, notes, known={}, purpose=purpose)
    known: dict[str, Any] = {}
    transcripts: Mapping[str, str] = {}
    if truth == "transcript" and not settings.pattern:
        transcripts = _transcripts(place, settings)
    if transcripts:
        known["labels"] = _objects(_with_transcripts(place, transcripts))
    else:
        settings = _with_pattern(place, settings, notes, truth=truth)
        fields = _fields(place, settings, truth=truth)
        known["labels"] = _objects([values["label"] for values in fields])
        if settings.group:
            known["groups"] = _objects([values[settings.group] for values in fields])
    return _recordings(place, files, settings, notes, known=known, purpose=purpose)


def column_of(table: Table, settings: DataSettings) -> str:
    """The column of a table that holds paths of recordings, or "".

    A column of texts may end like one. It is not guessed where the settings name texts, nor while
    paths are refused.
    """
    if settings.sound or settings.text or not may_open():
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
    table: Table,
    settings: DataSettings,
    *,
    folder: str,
    truth: Truth,
    task: str,
    purpose: Purpose,
) -> Read:
    """Read a table with one row per recording; other columns hold labels or transcripts.

    Paths are relative to the table, or to `folder`, the folder of data sets. `task` is the name of
    the task, for messages.

    Raises:
        DataError: a column or a recording is missing, or cannot be read.
        ConfigError: the column of labels cannot be guessed.
    """
    notes: list[str] = []
    if not settings.sound:
        settings = replace(settings, sound=column_of(table, settings))
        notes.append(f"the column {settings.sound!r} is read as paths of recordings")
    if purpose != "predict" and not (settings.label or settings.target):
        settings = _with_label(table, settings, notes, truth=truth, task=task)
    settings = _with_speakers(table, settings, notes) if purpose == "train" else settings
    columns.demand(table, settings, purpose)
    if settings.sound in (settings.label, settings.group, *settings.target):
        raise ConfigError(
            f"{table.name}: the column {settings.sound!r} holds the recordings, so it cannot "
            f"also be the target, the label or the group. Name another column."
        )
    notes += columns.unread(table, settings)
    wanted = [one for one in roles.named(settings) if one in table.columns]
    frame = pl.concat(list(table.batches(wanted)))
    schema = frame.schema

    def cells(name: str) -> list[str]:
        # A transcript may be the word null, or NA.
        transcript = truth == "transcript" and name == settings.label
        missing = ("",) if transcript else settings.missing_values
        label = truth == "label" and name == settings.label
        read = as_label if label else as_text
        return list(
            frame.select(read(name, schema[name], missing)).to_series().fill_null("").to_list()
        )

    known: dict[str, Any] = {}
    if truth == "number":
        known["static"] = targets.of_rows(table, settings, table.kinds(settings.missing_values))
    for role in ("label", "group"):
        name = getattr(settings, role)
        if name in frame.columns:
            known[f"{role}s"] = _objects(cells(name))
    paths = cells(settings.sound)
    ids = paths
    if settings.id:
        ids = ["/".join(row) for row in zip(*map(cells, settings.id), strict=True)]
    beside = Path(table.name).parent
    by_name: dict[str, str] = {}
    files = [
        _located(path, beside, folder, f"{table.name}: {table.at(row)}", by_name)
        for row, path in enumerate(paths)
    ]
    if by_name:
        notes.append(f"recordings are searched by name in the folders around {beside}")
    place = Place(beside, False, (), ())
    return _recordings(
        place,
        list(zip(ids, files, strict=True)),
        settings,
        notes,
        known=known,
        purpose=purpose,
        name=table.name,
    )


def _with_speakers(table: Table, settings: DataSettings, notes: list[str]) -> DataSettings:
    """The settings with the column of speakers as the group, unless it has another role."""
    speaker = next((one for one in SPEAKERS if one in table.columns), "")
    if not speaker or settings.group or speaker in roles.named(settings):
        return settings
    notes.append(f"the recordings of each {speaker!r} stay in one part (data.group)")
    return replace(settings, group=speaker)


def _with_label(
    table: Table, settings: DataSettings, notes: list[str], *, truth: Truth, task: str
) -> DataSettings:
    """Guess the column of labels or transcripts, by its name or as the only unused column."""
    if truth == "transcript":
        folded = {one.lower(): one for one in table.columns}
        column = next((folded[one] for one in TRANSCRIPTS if one in folded), "")
        if column:
            notes.append(f"the column {column!r} is taken as the transcript")
            return replace(settings, label=column)
    free = columns.answering(table, settings)
    if not columns.label_of(table, settings) and (named := roles.known_as(free, texts.LABELS)):
        return roles.with_role(settings, notes, role="label", column=named)
    return columns.guessed_label(table, settings, notes, task=task)


_may_open: ContextVar[bool] = ContextVar("may_open", default=True)


def may_open() -> bool:
    """Whether data may name files to read; False within `refusing_paths`."""
    return _may_open.get()


@contextmanager
def refusing_paths() -> Iterator[None]:
    """Open no file that data name, because their sender may not open files here.

    Texts that look like paths are read as texts.
    """
    token = _may_open.set(False)
    try:
        yield
    finally:
        _may_open.reset(token)


def _located(path: str, beside: Path, folder: str, where: str, by_name: dict[str, str]) -> str:
    """Resolve a path of a table; `by_name` is filled with what is in folders, if it is needed."""
    if not may_open():
        raise DataError(
            f"{where} names a recording by its path, and no file is opened for the sender of a "
            "table. Send the recording itself."
        )
    places = (
        [beside / path, beside / CLIPS / path] if (beside / CLIPS).is_dir() else [beside / path]
    )
    places += [*([Path(folder) / path] if folder else [])]
    for one in places:
        if path and one.is_file():
            return str(one.resolve())
    if path and not by_name:
        by_name |= _by_name(beside)
    if found := by_name.get(path):
        return found
    tried = " nor ".join(str(one) for one in places)
    raise DataError(
        f"{where}: there is no recording {path!r} (not at {tried}). Paths are relative to the "
        "table. Correct the path, or remove the row."
    )


# Labels and transcripts


def _by_name(beside: Path) -> dict[str, str]:
    """The recordings below a table or beside its folder, by names that only one of them has."""
    near = chain(islice(beside.rglob("*"), MOST_SEARCHED), beside.parent.glob("*/*"))
    found = [one for one in near if is_recording(one)]
    paths: dict[str, set[str]] = {}
    for one in found:
        paths.setdefault(one.name, set()).add(str(one.resolve()))
    return {name: next(iter(places)) for name, places in paths.items() if len(places) == 1}


def _objects(values: Sequence[str]) -> Array:
    return np.array(list(values), dtype=object)


def _with_pattern(
    place: Place, settings: DataSettings, notes: list[str], *, truth: Truth
) -> DataSettings:
    """Guess the pattern of the names, if the names allow it."""
    if settings.pattern:
        return settings
    if truth == "label":
        if table := _table_of_labels(place):
            raise ConfigError(
                f"{place.path}: the table {table} names the recordings and their labels, so "
                "their folders and names may mean something else. Give that table instead of the "
                "folder; if the names do hold the labels, set data.pattern."
            )
        above = {name.rpartition("/")[0] for name in place.names}
        # Archives often hold a single folder, which is not a label.
        if len(above) > 1 and "" not in above:
            notes.append("the folder of a recording is taken as its label")
            return replace(settings, pattern=CLASS_FOLDERS)
        for pattern in GUESSES:
            matches = [_matched(pattern, name) for name in place.names]
            labels = Counter(fields["label"] for fields in matches if fields)
            fits = all(matches) and all(re.fullmatch(r"[^\W_]+", label) for label in labels)
            if fits and 2 <= len(labels) <= len(matches) / 2:
                notes.append(
                    f"names of files are read as {pattern}: {len(labels)} labels, such as "
                    f"{', '.join(sorted(labels)[:3])} (set data.pattern to change this)"
                )
                return replace(settings, pattern=pattern)
    example = place.names[0]
    if truth == "label":
        raise ConfigError(
            f"{place.path}: cannot determine the labels. Put the recordings of each label into a "
            f"separate folder, or set the pattern of names such as {example!r}: "
            "--set 'data.pattern={label}_{speaker}_{take}'."
        )
    raise ConfigError(
        f"{place.path}: there are no transcripts. Put a .txt file next to each recording, or a "
        f"*.trans.txt file with a line for each; or give a table of paths and texts; or, if names "
        f"such as {example!r} hold the transcripts, --set 'data.pattern={{label}}'."
    )


def _table_of_labels(place: Place) -> str:
    """The path of a table in the folder that names most recordings and labels; "" for none."""
    if place.packed or not place.path.is_dir():
        return ""
    known = {PurePosixPath(name).name for name in place.names}
    for name in folders.names_in(place.path):
        if PurePosixPath(name).suffix.lower() not in (".csv", ".tsv"):
            continue
        try:
            table = folders.table_in(place.path, name, DataSettings())
        except DataError:
            continue
        if not (column := column_of(table, DataSettings())):
            continue
        rest = [one for one in table.columns if one != column]
        cells = table.sample[column].drop_nulls().to_list()
        named = sum(PurePosixPath(cell).name in known for cell in cells)
        if named > len(cells) / 2 and roles.known_as(rest, (*texts.LABELS, *columns.LABELS)):
            return str(place.path / name)
    return ""


def _matched(pattern: str, name: str) -> dict[str, str] | None:
    """The fields of a pattern in the last parts of a path; None if they do not match."""
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
    r"""The pattern as a regular expression; {number} matches digits, other fields any text.

    >>> _expression("{label}_{take}.wav")
    '(?P<label>[^/]+?)_(?P<take>[^/]+?)\\.wav'
    """
    parts = []
    for piece in re.split(r"(\{\w+\})", pattern):
        if re.fullmatch(r"\{\w+\}", piece):
            name = piece[1:-1]
            parts.append(f"(?P<{name}>{r'[0-9]+' if name == 'number' else '[^/]+?'})")
        else:
            parts.append(re.escape(piece))
    return "".join(parts)


def _fields(place: Place, settings: DataSettings, *, truth: Truth) -> list[Mapping[str, str]]:
    """The fields of the pattern in each name."""
    pattern = settings.pattern
    named = re.findall(r"\{(\w+)\}", pattern)
    if "label" not in named:
        raise ConfigError(
            f"data.pattern must contain the label, as in {{label}}_{{speaker}}. "
            f"Received: {pattern!r}."
        )
    if len(set(named)) != len(named):
        raise ConfigError(f"data.pattern names a field twice. Received: {pattern!r}.")
    if strange := next((field for field in named if not field.isidentifier()), ""):
        raise ConfigError(
            f"A field of data.pattern must begin with a letter, unlike {{{strange}}}. "
            f"Received: {pattern!r}."
        )
    if settings.group and settings.group not in named:
        raise ConfigError(
            f"data.group names {settings.group!r}, but data.pattern has no such field: "
            f"{pattern!r}. Fields: {', '.join(named)}."
        )
    matches: list[Mapping[str, str]] = []
    for name in place.names:
        fields = _matched(pattern, name)
        if fields is None:
            raise DataError(
                f"{place.path}: the name {name!r} does not match data.pattern = {pattern!r}. "
                "Rename or move the file, or correct the pattern."
            )
        if truth == "transcript":
            fields["label"] = fields["label"].replace("_", " ")
        matches.append(fields)
    return matches


def _transcripts(place: Place, settings: DataSettings) -> dict[str, str]:
    """The transcripts by the paths of recordings without suffix; empty if there are none."""
    stems = {name.rpartition(".")[0] for name in place.names}
    by_name = {PurePosixPath(stem).name: stem for stem in stems}
    transcripts: dict[str, str] = {}
    for other in place.others:
        if other.lower().endswith(".trans.txt"):
            folder = other.rpartition("/")[0]
            for line in place.lines(other, settings.encoding):
                name, _, text = line.strip().partition(" ")
                if name:
                    transcripts[f"{folder}/{name}" if folder else name] = text.strip()
        elif other.lower().endswith(METADATA):
            for line in place.lines(other, settings.encoding):
                name, bar, texts_of_line = line.partition("|")
                if bar and name in by_name:
                    transcripts[by_name[name]] = texts_of_line.rpartition("|")[2].strip()
        elif (stem := other[: -len(".txt")]) in stems:
            transcripts[stem] = _spaced(place.lines(other, settings.encoding))
        elif len(by_name) == len(stems) and (stem := by_name.get(PurePosixPath(other).stem, "")):
            # In a folder of its own, as VCTK keeps them.
            transcripts.setdefault(stem, _spaced(place.lines(other, settings.encoding)))
    return _without_spans({name: text for name, text in transcripts.items() if name in stems})


def _without_spans(transcripts: dict[str, str]) -> dict[str, str]:
    """The transcripts without the first and the last sample, if all of them begin with these."""
    if not all(map(SPANNED.match, transcripts.values())):
        return transcripts
    return {name: SPANNED.sub("", text) for name, text in transcripts.items()}


def _spaced(lines: Sequence[str]) -> str:
    return " ".join(" ".join(lines).split())


def _with_transcripts(place: Place, transcripts: Mapping[str, str]) -> list[str]:
    kept = [transcripts.get(name.rpartition(".")[0]) for name in place.names]
    without = [name for name, text in zip(place.names, kept, strict=True) if text is None]
    if without:
        more = f", nor has any of {len(without) - 1} more" if len(without) > 1 else ""
        raise DataError(
            f"{place.path}: the recording {without[0]!r} has no transcript{more}. Write a "
            "transcript, or remove the recording."
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
    """Read all files (id, name or path) at one rate; silent recordings are left out."""
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
    heard = np.array([len(one) > 0 and bool((one != one[0]).any()) for one in read])
    sequences = _without_silence(sequences, heard, notes, purpose)
    if purpose != "predict" and "static" not in known:
        sequences = _labelled(sequences, notes)
    return sequences, settings, notes


def _labelled(sequences: Sequences, notes: list[str]) -> Sequences:
    """The recordings with a label or a transcript, if most have one."""
    labels = sequences.labels
    return with_truth(
        sequences,
        np.zeros(len(sequences), bool) if labels is None else labels != "",
        notes,
        what="label or transcript",
        advice="Add what is missing, or remove the recordings. (data.missing_values lists the "
        "labels that count as empty.)",
        noun="recordings",
    )


def _with_rate(settings: DataSettings, rates: Sequence[int], notes: list[str]) -> DataSettings:
    counts = Counter(rates)
    rate = settings.sample_rate or min(counts, key=lambda one: (-counts[one], one))
    other = {one: count for one, count in sorted(counts.items()) if one != rate}
    if other:
        counted = ", ".join(f"{count} of {hertz:,} Hz" for hertz, count in other.items())
        notes.append(f"resampled to {rate:,} Hz (data.sample_rate): {counted}")
    return replace(settings, sample_rate=rate)


def _without_silence(
    sequences: Sequences, heard: Array, notes: list[str], purpose: str
) -> Sequences:
    """Leave out silent recordings; for predictions, keep them and add a note."""
    silent = sequences.ids[~heard].tolist()
    if not silent:
        return sequences
    first = f"the first is {silent[0]!r}" if len(silent) > 1 else repr(silent[0])
    count = f"{len(silent)} recordings hold" if len(silent) > 1 else "1 recording holds"
    if purpose == "predict":
        notes.append(f"{count} no sound ({first}); predictions for silence are meaningless")
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
            soxr = require("soxr", "sound", "Resampling recordings")
            stream = soxr.ResampleStream(sound.samplerate, rate, 1, dtype="float32")
        found = [np.empty(0, dtype=np.int16)]
        last = False
        while not last:
            block = sound.read(BLOCK, dtype="float32", always_2d=True).mean(axis=1)
            last = len(block) < BLOCK
            if stream is not None:
                block = stream.resample_chunk(block, last=last)
            # soundfile would read files of floats as zeros if asked for int16.
            found.append(np.clip(np.rint(block * FULL), -FULL, FULL - 1).astype(np.int16))
    return np.concatenate(found)


@contextmanager
def _reading(name: str) -> Iterator[Any]:
    """Yield the package soundfile; its errors become a DataError that names the file."""
    package = require("soundfile", "sound", "Reading recordings")
    try:
        yield package
    except (package.SoundFileError, OSError) as error:
        reason = str(error).strip().rstrip(".").split(": ")[-1]
        raise DataError(
            f"{name} cannot be read as a recording: {reason}. Repair or remove the file."
        ) from error
