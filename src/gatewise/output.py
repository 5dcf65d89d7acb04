"""Output files: checked before the work, written atomically, never over an input."""

import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from gatewise.errors import ConfigError
from gatewise.readers import datasets, sources
from gatewise.settings import TRAINING_PART, Experiment


def places(data: str) -> list[Path]:
    """Where the file that `data` names may lie: standard input, the given path, the data folder."""
    if data == sources.STANDARD_INPUT:
        return [Path("/dev/stdin")]
    folder = sources.data_folder()
    return [Path(datasets.located(data)), *([Path(folder) / data] if folder else [])]


def inputs(experiment: Experiment) -> list[Path]:
    """All files and folders that training with these settings may read."""
    data = experiment.data
    script = experiment.network.build.rpartition(":")[0]
    vectors = experiment.network.vectors
    pretrain = experiment.training.pretrain
    texts = "" if pretrain == TRAINING_PART else pretrain
    names = (data.path, data.validation, data.test, data.labels, script, vectors, texts)
    return [place for name in names if name for place in places(name)]


def check_free_file(path: Path, *, reads: Iterable[Path], overwrite: bool) -> None:
    """Refuse an output file that would destroy another one. Call this before the work.

    `reads` are the files and folders that the work reads. They are recognised behind links and
    under other spellings of their paths.

    Raises:
        ConfigError: the path exists and may not be replaced, or it is an input or lies in one, or
            it cannot be written.
    """
    for read in reads:
        if read.exists() and _changes(path, read):
            preposition = "into" if read.is_dir() else "over"
            raise ConfigError(
                f"-o {path} would write {preposition} {read}, which is an input. Choose another -o."
            )
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path} is not a file, so it is not replaced. Choose another -o.")
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists. Choose another -o, or give --overwrite to replace it.")
    folder = _real(path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{path} cannot be written: no permission in {folder}.")


def check_free_page(path: Path, *, reads: Iterable[Path] = (), overwrite: bool) -> None:
    """`check_free_file` for an HTML page.

    Raises:
        ConfigError: the name does not end in .html, or the page cannot be written.
    """
    if path.suffix != ".html":
        raise ConfigError(f"The page needs a name ending in .html. Received: {path}.")
    check_free_file(path, reads=reads, overwrite=overwrite)


@contextmanager
def writing_file(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary file that is moved to `path` when it is complete, and removed otherwise.

    A link stays, and its target is replaced.

    Raises:
        ConfigError: another process made the file meanwhile, and it may not be replaced.
    """
    path = _real(path)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        yield draft
        check_free_file(path, reads=(), overwrite=overwrite)
        if path.exists():
            shutil.copymode(path, draft)
        draft.replace(path)


def write_text(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a text into a file that is either as it was before or complete.

    Raises:
        ConfigError: the file cannot be written, or it exists and may not be replaced.
    """
    try:
        with writing_file(path, overwrite=overwrite) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}.") from None


def as_parquet(table: pl.DataFrame) -> bytes:
    """A table as Parquet. Polars reports a full disk as an error of its own, Python as OSError."""
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return buffer.getvalue()


def _changes(path: Path, read: Path) -> bool:
    """Whether writing `path` changes the file `read`, or a file in the folder `read`."""
    inside = read.rglob("*") if read.is_dir() else [read]
    return lies_in(path, read) or (
        path.exists() and any(file.exists() and path.samefile(file) for file in inside)
    )


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a path is `folder` or lies in it; links and other spellings are resolved."""
    return _real(path).is_relative_to(_real(folder))


def _real(path: Path) -> Path:
    """The absolute path with all links resolved; unlike `Path.resolve`, it accepts link cycles."""
    return Path(os.path.realpath(path))
