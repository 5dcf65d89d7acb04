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

from gatewise import prediction
from gatewise.artefact import REPORT, Artefact, open_run
from gatewise.data.batches import Examples
from gatewise.errors import ConfigError, DataError
from gatewise.extras import require
from gatewise.readers import recordings, tables
from gatewise.readers.sources import opened
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
REQUEST = "request.json"  # the name of a body in JSON, for messages


@dataclass(frozen=True)
class Question:
    """A request that was read: what the network reads of it, and the notes on its data."""

    examples: Examples[Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The table of predictions, and the notes on the data and on the predictions."""

    table: pl.DataFrame
    notes: tuple[str, ...] = ()


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
            if len(sequences.values) > limits.max_steps:
                raise Refusal(
                    413,
                    f"The request has {len(sequences.values):,} steps, but the server reads at "
                    f"most {limits.max_steps:,} (--max-steps). Send fewer.",
                )
            examples = prediction.asked(self.artefact, sequences, strict=True)
            return Question(examples, tuple(notes))

    def answered(self, questions: Sequence[Question]) -> list[Answer]:
        """The answer to each question; they share the batches of the network where it can."""
        answers = prediction.answers(self.artefact, [one.examples for one in questions])
        return [
            Answer(table, (*one.notes, *remarks))
            for one, (table, remarks) in zip(questions, answers, strict=True)
        ]

    def _check_sound(self, path: Path | None, limits: Limits) -> None:
        """Refuse a table, and a recording that is too long when it is decoded and resampled."""
        if path is None or not recordings.is_recording(path):
            raise DataError(
                f"The run '{self.name}' was trained on recordings, and this is none. Send a "
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
        name, folder = (given, Path(place)) if equals and given else ("", Path(run))
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
    found = tables.parsed(content, REQUEST)
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
