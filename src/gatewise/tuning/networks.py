"""The networks of a search that are needed at its end, in files that survive a kill."""

import logging
from collections.abc import Iterable
from pathlib import Path

import keras

from gatewise.checkpoints import read_state, write_state
from gatewise.errors import ArtefactError
from gatewise.training import History, as_finished, from_finished

log = logging.getLogger("gatewise")

FOLDER = "networks"


def keep(folder: Path, number: int, network: keras.Model, history: History) -> None:
    """Write the network of a trial; if that fails, say so: it is then trained again at the end."""
    path = _path(folder, number)
    draft = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(exist_ok=True)
        write_state(as_finished(network, history), draft)
        draft.replace(path)
    except OSError as error:
        log.warning(
            "The network of trial %d cannot be written: %s.", number, error.strerror or error
        )


def kept(folder: Path) -> list[int]:
    """The trials whose networks there are."""
    return [int(one.name) for one in (folder / FOLDER).glob("*") if one.name.isdigit()]


def discard(folder: Path, numbers: Iterable[int]) -> None:
    """Remove the networks of these trials."""
    for number in numbers:
        _path(folder, number).unlink(missing_ok=True)


def restored(folder: Path, number: int, network: keras.Model) -> History | None:
    """Give a network the weights of a trial, and return its history; None if there are none."""
    path = _path(folder, number)
    if not path.is_file():
        return None
    try:
        state = read_state(path)
    except ArtefactError as error:
        log.warning("%s", error)
        return None
    if state is None:
        log.warning("%s is damaged, so trial %d is trained again.", path, number)
        return None
    try:
        return from_finished(network, state)
    except (ValueError, TypeError, LookupError):
        log.warning("%s is of another search, so trial %d is trained again.", path, number)
        return None


def _path(folder: Path, number: int) -> Path:
    return folder / FOLDER / str(number)
