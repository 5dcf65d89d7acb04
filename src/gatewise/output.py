"""Output files: checked before the work, written whole, and never over what is read."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gatewise.errors import ConfigError
from gatewise.readers import datasets, sources
from gatewise.settings import Experiment


def places(data: str) -> list[Path]:
    """Where the file that `data` names may be: standard input, as given, or among the data sets."""
    if data == sources.STANDARD_INPUT:
        return [Path("/dev/stdin")]
    folder = os.environ.get(sources.FOLDER, "")
    return [Path(datasets.located(data)), *([Path(folder) / data] if folder else [])]


def inputs(experiment: Experiment) -> list[Path]:
    """Every file and folder that training with these settings may read."""
    data = experiment.data
    named = (data.path, data.validation, data.test, data.labels)
    own = experiment.network.build.rpartition(":")[0]
    return [place for one in (*named, own) if one for place in places(one)]


def check_free_file(path: Path, *, reads: Iterable[Path], overwrite: bool) -> None:
    """Refuse an output file that would destroy another one; call it before the work.

    `reads` are the files and folders that the work reads. Links and other spellings of their paths
    are recognised.

    Raises:
        ConfigError: the path exists and may not be replaced, or is or lies in what is read, or
            cannot be written.
    """
    for read in reads:
        if read.exists() and _changes(path, read):
            what = "into" if read.is_dir() else "over"
            raise ConfigError(
                f"-o {path} would write {what} {read}, which is read. Choose another -o."
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


@contextmanager
def writing_file(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary file to write: whole, it is moved to `path`, else removed.

    A link stays, and what it points to is replaced.

    Raises:
        ConfigError: somebody else has made the file meanwhile, and it may not be replaced.
    """
    path = _real(path)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        yield draft
        check_free_file(path, reads=(), overwrite=overwrite)
        if path.exists():
            shutil.copymode(path, draft)
        draft.replace(path)


def _changes(path: Path, read: Path) -> bool:
    """Whether writing `path` changes the file `read`, or what the folder `read` holds."""
    inside = read.rglob("*") if read.is_dir() else [read]
    return lies_in(path, read) or (
        path.exists() and any(one.exists() and path.samefile(one) for one in inside)
    )


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a path is another one, or lies in it; links and other spellings do not hide it."""
    return _real(path).is_relative_to(_real(folder))


def _real(path: Path) -> Path:
    """The absolute path behind all links; unlike `Path.resolve`, also of links in a circle."""
    return Path(os.path.realpath(path))
