"""Write predictions to a file: .csv, .parquet, .jsonl, or a line of text for each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from gatewise.errors import ConfigError
from gatewise.output import as_parquet, writing_file
from gatewise.runs.artefact import as_csv
from gatewise.tasks import task_of

ENDINGS = (".csv", ".parquet", ".jsonl", ".txt")


def check_ending(path: Path) -> None:
    """Refuse a file of another kind.

    Raises:
        ConfigError: its name has none of `ENDINGS`.
    """
    if path.suffix not in ENDINGS:
        raise ConfigError(f"-o must end in one of {', '.join(ENDINGS)}. Received: {path}.")


def check_lines(path: Path, task: str) -> None:
    """Refuse lines of text for a task that predicts a table.

    Raises:
        ConfigError: the path ends in .txt, and the task predicts no texts.
    """
    if path.suffix == ".txt" and not task_of(task).lines:
        raise ConfigError(f"{task} predicts a table. Name a .csv file.")


def printed(table: pl.DataFrame, task: str) -> str:
    """The predictions as `gatewise predict` prints them: a line for each text, otherwise CSV."""
    return _lines(table, task) or as_csv(table)


def write(table: pl.DataFrame, task: str, path: Path, *, overwrite: bool) -> None:
    """Write the predictions of a task into a file, whose ending decides its kind.

    Raises:
        ConfigError: the file cannot be written.
    """
    writers: dict[str, Callable[[Path], Any]] = {
        ".txt": lambda draft: draft.write_text(_lines(table, task), encoding="utf-8"),
        ".csv": lambda draft: draft.write_text(as_csv(table), encoding="utf-8"),
        ".parquet": lambda draft: draft.write_bytes(as_parquet(table)),
        ".jsonl": lambda draft: draft.write_text(table.write_ndjson(), encoding="utf-8"),
    }
    try:
        with writing_file(path, overwrite=overwrite) as draft:
            writers[path.suffix](draft)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}.") from None


def _lines(table: pl.DataFrame, task: str) -> str:
    """The text of each prediction on a line of its own; "" if the task predicts a table."""
    column = task_of(task).lines
    return "".join(" ".join(text.split()) + "\n" for text in table[column]) if column else ""
