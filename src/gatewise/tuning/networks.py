"""The networks of a search that are needed later, in files that survive a kill."""

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import keras

from gatewise.errors import ArtefactError, ConfigError
from gatewise.training.checkpoints import (
    Checkpoints,
    as_finished,
    from_finished,
    has_checkpoint,
    identity_of,
    read_states,
    write_states,
)
from gatewise.training.progress import History
from gatewise.training.ready import Ready

log = logging.getLogger("gatewise")

FOLDER = "networks"


def checkpoints(folder: Path, number: int, ready: Ready, *, resume: bool) -> Checkpoints:
    """The checkpoints of the trial that was begun under this number.

    Those that cannot be continued, for example on another backend, are discarded with a sentence.
    """
    path = _path(folder, number)
    with suppress(OSError):  # a checkpoint that cannot be written says so
        path.parent.mkdir(exist_ok=True)
    identity = identity_of(ready.experiment, ready.splits, ready.network)
    if resume and not has_checkpoint(path):
        log.info("Trial %d left no checkpoint, so it begins again.", number)
        resume = False
    try:
        found = Checkpoints(path, resume=resume)
        found.begin(identity)
    except (ArtefactError, ConfigError) as error:
        log.info("%s The trial begins again.", error)
        found = Checkpoints(path, overwrite=True)
        found.begin(identity)
    return found


def spent(found: Checkpoints) -> tuple[int, float]:
    """The epochs that the first seed of a trial has behind it, and the seconds of all seeds."""
    if found.resumed is None:
        return 0, 0.0
    plain, finished = found.resumed.plain, [one.plain for one in found.finished]
    seconds = sum(one["seconds"] for one in finished)
    if "kept" in plain:
        seconds += plain["kept"]["tracker"]["seconds"]
    epochs = len(finished[0]["columns"]["epoch"]) if finished else plain["epoch"]
    return epochs, seconds


def keep(folder: Path, number: int, finished: Sequence[tuple[keras.Model, History]]) -> None:
    """Write the networks of a trial; if that fails, say so: it is then trained again at the end."""
    path = _path(folder, number)
    draft = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(exist_ok=True)
        write_states([as_finished(*one) for one in finished], draft)
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


def restored(folder: Path, number: int, models: Sequence[keras.Model]) -> list[History]:
    """Give networks the weights of a trial, and return their histories; none if there are none.

    There may be fewer networks than `models`, because a budget may end the default.
    """
    path = _path(folder, number)
    if not path.is_file():
        return []
    try:
        states = read_states(path)
    except ArtefactError as error:
        log.warning("%s", error)
        return []
    if states is None:
        log.warning("%s is damaged, so trial %d is trained again.", path, number)
        return []
    try:
        return [from_finished(*pair) for pair in zip(models, states, strict=False)]
    except (ValueError, TypeError, LookupError):
        log.warning("%s is of another search, so trial %d is trained again.", path, number)
        return []


def _path(folder: Path, number: int) -> Path:
    return folder / FOLDER / str(number)
