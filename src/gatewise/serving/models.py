"""The models of a server: a body in, examples for the network, and the table of answers.

This is the only module of the server that knows how predictions are made.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic_core import from_json

from gatewise import prediction
from gatewise.data.batches import Examples
from gatewise.data.sequences import Array, Sequences
from gatewise.errors import ConfigError, DataError
from gatewise.extras import require
from gatewise.readers import recordings
from gatewise.readers.json import parsed
from gatewise.readers.sources import opened
from gatewise.runs.artefact import REPORT, Artefact, open_run
from gatewise.serving.limits import Limits, Refusal
from gatewise.tasks import task_of

# The content types of bodies, with the ending of a file that holds the same.
TABLES = {
    "application/json": ".json",
    "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
}
TEXTS = {"text/plain": ".txt", "text/x-conllu": ".conllu"}
SOUNDS = {
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "audio/wave": ".wav",
    "audio/vnd.wave": ".wav",
    "audio/flac": ".flac",
    "audio/x-flac": ".flac",
    "audio/ogg": ".ogg",
    "audio/mpeg": ".mp3",
    "audio/aiff": ".aiff",
    "audio/x-aiff": ".aiff",
}
ENDINGS = TABLES | TEXTS | SOUNDS
TOGETHER = 4096  # steps of a request of arrays that is read together with others
REQUEST = "request.json"  # the name of a body in JSON, for messages


@dataclass(frozen=True)
class Question:
    """A request: what the network reads of it, or arrays that are read together with others."""

    size: int  # sequences
    examples: Examples[Any] | None
    arrays: tuple[Array, ...] = ()  # [steps, columns] each
    notes: tuple[str, ...] = ()  # on the data


@dataclass(frozen=True)
class Answer:
    """The table of predictions, and the notes on the data and on the predictions."""

    table: pl.DataFrame
    notes: tuple[str, ...] = ()
    records: str = ""  # the table as JSON, if it was written together with others


@dataclass(frozen=True)
class Model:
    """A trained model under the name by which clients call it."""

    name: str
    artefact: Artefact

    @property
    def task(self) -> str:
        """The name of its task."""
        return self.artefact.preparation.task

    @property
    def kind(self) -> str:
        """What a step is: numbers, text, tokens or sound."""
        return self.artefact.preparation.kind

    @property
    def lines(self) -> str:
        """The column that `gatewise predict` prints, one value per line; "" for a table."""
        return task_of(self.task).lines

    def report(self) -> str | None:
        """The page of the report in its run folder; None if there is none."""
        assert self.artefact.folder is not None
        path = self.artefact.folder / REPORT
        return path.read_text(encoding="utf-8") if path.is_file() else None

    @property
    def schema(self) -> dict[str, Any]:
        """The columns of its answers, with their types of Polars."""
        return task_of(self.task).schema(self.artefact.preparation, self.artefact.experiment)

    def asked(self, source: Any, limits: Limits) -> Question:
        """What the network reads of a path or of data in memory.

        Raises:
            DataError: the data are not what the model reads; the sentence is that of the shell.
            Refusal: the data are too long.
        """
        with noted() as notes, recordings.refusing_paths():
            data = opened(self.artefact.experiment.data, source)
            if self.kind == "sound":
                self._check_sound(data.named, limits)
            sequences = prediction.raw_steps(self.artefact, data)
            _refuse_long(len(sequences.values), limits)
            return self._question(sequences, notes)

    def _question(self, sequences: Sequences, notes: list[str]) -> Question:
        examples = prediction.asked(self.artefact, sequences, strict=True)
        return Question(len(examples), examples, notes=tuple(notes))

    def asked_later(self, source: Any, limits: Limits) -> Question | None:
        """A question of arrays that surely can be read; None for other data.

        Raises:
            Refusal: the arrays are too long.
        """
        if self.kind != "numbers" or not isinstance(source, list | np.ndarray) or not len(source):
            return None
        wide = len(self.artefact.preparation.columns)
        for one in source:
            if not (isinstance(one, np.ndarray) and one.ndim == 2 and one.shape[1] == wide):
                return None
            if one.dtype.kind != "f" or not one.size or not np.isfinite(one).all():
                return None
        steps = sum(map(len, source))
        _refuse_long(steps, limits)
        # A long sequence would lengthen those that share its batch.
        return Question(len(source), None, tuple(source)) if steps <= TOGETHER else None

    def answered(self, questions: Sequence[Question]) -> list[Answer]:
        """The answer to each question; they share the batches of the network where it can."""
        if len(questions) > 1 and all(one.arrays for one in questions):
            found = self._answered_as_one([one.arrays for one in questions])
            if found:
                return found
        read = [one if one.examples is not None else self._read(one.arrays) for one in questions]
        examples = [one.examples for one in read if one.examples is not None]
        answers = prediction.answers(self.artefact, examples)
        return [
            Answer(table, (*one.notes, *remarks))
            for one, (table, remarks) in zip(read, answers, strict=True)
        ]

    def _read(self, arrays: Sequence[Array]) -> Question:
        with noted() as notes:
            data = opened(self.artefact.experiment.data, list(arrays))
            return self._question(prediction.raw_steps(self.artefact, data), notes)

    def _answered_as_one(self, several: Sequence[tuple[Array, ...]]) -> list[Answer]:
        """The answers to the arrays of several requests, read as one; empty: read each alone.

        What is said of all of them may not be true of each, so it is said of none.
        """
        counts = [len(arrays) for arrays in several]
        with noted() as notes:
            data = opened(self.artefact.experiment.data, [one for part in several for one in part])
            sequences = prediction.raw_steps(self.artefact, data)
            if notes or len(sequences) != sum(counts):
                return []
            # Each request numbers its own sequences.
            ids = np.concatenate([sequences.ids[:count] for count in counts])
            sequences = replace(sequences, ids=ids)
            examples = prediction.asked(self.artefact, sequences, strict=True)
            found = prediction.answers_apart(self.artefact, examples, counts)
        if notes or found is None:
            return []
        table, rows = found
        lines = table.write_ndjson().split("\n")  # once for all, because each call costs
        answers, start = [], 0
        for count in rows:
            records = ",".join(lines[start : start + count])
            answers.append(Answer(table.slice(start, count), records=f"[{records}]"))
            start += count
        return answers

    def _check_sound(self, path: Path | None, limits: Limits) -> None:
        """Refuse a table, and a recording that is too long when it is decoded and resampled."""
        if path is not None and path.is_dir():  # of a tensor
            for file in path.iterdir():
                self._check_sound(file, limits)
            return
        if path is None or not recordings.is_recording(path):
            raise DataError(
                f"The run '{self.name}' was trained on recordings, and this is not one. Send a "
                "recording to predict, with its content type, such as audio/wav."
            )
        package = require("soundfile", "sound", "Reading recordings")
        try:
            info = package.info(path)
        except (package.SoundFileError, OSError):
            return  # the reader says why
        rate = max(self.artefact.experiment.data.sample_rate, info.samplerate)
        if info.frames / max(info.samplerate, 1) * rate > limits.max_steps:
            raise Refusal(
                413,
                f"The recording has more than {limits.max_steps:,} samples at {rate:,} Hz, the "
                "most that the server reads (--max-steps). Send a shorter one.",
            )


def _refuse_long(steps: int, limits: Limits) -> None:
    """Refuse a request with too many steps."""
    if steps > limits.max_steps:
        raise Refusal(
            413,
            f"The request has {steps:,} steps, but the server reads at most {limits.max_steps:,} "
            "(--max-steps). Send fewer.",
        )


def loaded(runs: Sequence[str | Path]) -> dict[str, Model]:
    """The models of run folders, by the names of the folders, or by those given as NAME=RUN.

    Raises:
        ConfigError: there is no run, or two have the same name.
        ArtefactError: a folder is not a run folder.
    """
    if not runs:
        raise ConfigError("There is no run to serve. Give a run folder.")
    models: dict[str, Model] = {}
    for run in runs:
        given, equals, place = str(run).partition("=")
        named = equals and given and not Path(run).is_dir()  # a folder may be called lr=0.01
        name, folder = (given, Path(place)) if named else ("", Path(run))
        name = name or folder.resolve().name
        if name in models or "/" in name:
            raise ConfigError(
                f"Two runs are named '{name}'. Give one of them another name: {name}-2={folder}."
                if name in models
                else f"The name of a run holds no '/'. Received: '{name}'."
            )
        artefact = open_run(folder)
        # Bodies are UTF-8, whatever the files of the training were.
        experiment = artefact.experiment.having("data", encoding="utf-8")
        models[name] = Model(name, replace(artefact, experiment=experiment))
    return models


def data_in(content: bytes) -> Any:
    """The texts, tokens or numbers in a JSON body; None for a table.

    Raises:
        DataError: the body is not JSON.
    """
    if content[:64].lstrip()[:1] != b"[" or content[:64].lstrip()[1:].lstrip()[:1] == b"{":
        return None
    try:
        found = from_json(content)  # several times as fast as Python's parser
    except ValueError:
        found = parsed(content, REQUEST)  # which says why
    if not found or isinstance(found[0], dict):
        return None
    if not isinstance(found[0], list):
        return found if isinstance(found[0], str) else _array(found)
    tokens = any(isinstance(one, str) for one in found[0])
    return found if tokens else [_array(one) for one in found]


def _array(content: Any) -> Any:
    try:
        return np.asarray(content, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"{REQUEST} must hold texts, lists of tokens, records, or numbers: a list for each "
            "sequence with a list for each step. Rows must be equally long, and numbers at most "
            "1e308."
        ) from None


class _Notes(logging.Filter):
    """Takes the notes of a thread that listens out of the log, because they are for a client."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        """True if the record belongs into the log."""
        notes = getattr(self.thread, "notes", None)
        if notes is not None:
            notes.append(record.getMessage())
        return notes is None


_NOTES = _Notes()
logging.getLogger("gatewise").addFilter(_NOTES)


@contextmanager
def noted() -> Iterator[list[str]]:
    """The notes that this thread logs meanwhile."""
    notes: list[str] = []
    _NOTES.thread.notes = notes
    try:
        yield notes
    finally:
        _NOTES.thread.notes = None
