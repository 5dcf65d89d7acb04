"""Checkpoints: a training that was killed continues, with the numbers of one that was not.

A checkpoint is one file beside the run folder. It is written under a temporary name and moved into
place, and the one before it is kept, so a kill at any moment leaves a good one. Its first line
names the format, its second line is the SHA-256 of the first line and of the rest: two lines of
JSON, the plain values and the names of the arrays, and then the arrays as NumPy writes each of
them. An archive of NumPy would sum them up once more (CRC-32), at twice the cost. Nothing is
pickled.
"""

import contextlib
import hashlib
import io
import json
import logging
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import keras
import numpy as np
from numpy.lib.format import read_array, write_array

from gatewise.data.sequences import Array, Sequences
from gatewise.data.splits import Splits
from gatewise.errors import ArtefactError, ConfigError, TrainingError
from gatewise.settings import Experiment

log = logging.getLogger("gatewise")

NAME = b"gatewise checkpoint "
FORMAT = NAME + b"3\n"
SHARE = 0.02  # the largest share of the time that checkpoints take
FIRST_COST = 0.01  # the least seconds that are assumed for the first checkpoint
SPEED = 200e6  # the bytes per second that are assumed for the first checkpoint
WITHIN = 120.0  # the least seconds between two checkpoints within an epoch


@dataclass(frozen=True)
class State:
    """The state of training: plain values, and arrays."""

    plain: dict[str, Any]
    arrays: dict[str, Array]

    def place(self) -> str:
        """The point that training had reached."""
        done = len(self.plain.get("finished", []))
        networks = f"{done} finished network{'s'[: done != 1]}"
        if "kept" not in self.plain:
            return f"after {networks}"
        epoch, step, epochs = (self.plain[key] for key in ("epoch", "step", "epochs"))
        before = f"{networks} and " if done else ""
        if self.plain["over"]:
            return f"after {before}the last epoch"
        within = f"step {step:,} of " if step else ""
        return f"after {before}{within}epoch {epoch + bool(step)} of {epochs}"


class Stateful(Protocol):
    """What a checkpoint keeps besides variables: plain values and arrays."""

    def state(self) -> State:
        """The present state."""

    def restore(self, state: State) -> None:
        """Continue from an earlier state."""


def has_checkpoint(folder: Path) -> bool:
    """Whether an unfinished run with this folder left a checkpoint."""
    path, previous, _ = _paths(folder)
    return path.exists() or previous.exists()


def _paths(folder: Path) -> tuple[Path, Path, Path]:
    """The checkpoint of a run folder, the one before it, and the one that is being written."""
    ends = ("", ".previous", ".partial")
    path, previous, draft = (folder.with_name(f"{folder.name}.checkpoint{end}") for end in ends)
    return path, previous, draft


class Checkpoints:
    """The checkpoints of one run, and the one that it continues from.

    A run trains one network or several, always in the same order. A checkpoint holds those that are
    finished, and the state of the one in training. Checkpoints are removed when the context of the
    run ends well, or when training cannot continue.

    Raises:
        ConfigError: there is a checkpoint, and neither `resume` nor `overwrite` is given.
        ArtefactError: every checkpoint is damaged, or another version of gatewise wrote it.
    """

    def __init__(self, folder: Path, *, resume: bool = False, overwrite: bool = False) -> None:
        self.path, self.previous, self.draft = _paths(folder)
        self.resumed = self._found(resume=resume, overwrite=overwrite)
        self.identity: Mapping[str, Any] = {}
        self.finished = [] if self.resumed is None else finished_of(self.resumed)
        self._taken = 0  # the number of those that this process has used so far
        self._written = len(self.finished)  # the number of those that the latest checkpoint holds
        self._begun = False  # whether this process trains what the checkpoint holds
        self._cost, self._last, self._failed = FIRST_COST, time.perf_counter(), False

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        saved = kind is None or (issubclass(kind, KeyboardInterrupt) and str(error))
        if saved or issubclass(kind or object, TrainingError):
            self.remove()
        elif issubclass(kind or object, KeyboardInterrupt) and self.exists():
            raise KeyboardInterrupt(f"--resume continues {self._existing()}.") from None
        elif self._begun and self.exists():
            log.warning("The checkpoint %s is kept; --resume continues it.", self._existing())

    def exists(self) -> bool:
        """Whether an unfinished run left a checkpoint."""
        return self.path.exists() or self.previous.exists()

    def _found(self, *, resume: bool, overwrite: bool) -> State | None:
        """The state to continue from; without `resume` a checkpoint is not touched silently."""
        if not self.exists():
            if resume:
                log.info("There is no checkpoint %s, so training starts from scratch.", self.path)
            return None
        if resume:
            return self._read()
        if not overwrite:
            raise ConfigError(
                f"{self._existing()} is the checkpoint of an unfinished run. Give --resume "
                "(resume=True) to continue it, --overwrite to discard it, or choose another -o."
            )
        log.info("%s, the checkpoint of an unfinished run, is discarded.", self._existing())
        self.remove()
        return None

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Note what is trained, and refuse to continue with anything else.

        Raises:
            ConfigError: the checkpoint is one of other data, settings, network or backend.
        """
        self.identity, self._last = identity, time.perf_counter()
        self._begun = self.resumed is None
        if self.resumed is None:
            return
        before = self.resumed.plain["identity"]
        if changes := _changes(before, json.loads(json.dumps(identity))):
            raise ConfigError(
                f"{self._existing()} cannot be continued: {'; '.join(changes)}. Give the data and "
                "the settings of the unfinished run, or --overwrite without --resume to train "
                "from the start."
            )
        for package, old in before["versions"].items():
            if old != (new := identity["versions"][package]):
                log.warning(
                    "%s %s wrote the checkpoint and %s continues it, so the numbers may differ "
                    "from those of a training that was not interrupted.",
                    package,
                    old,
                    new,
                )
        self._begun = True
        log.info("Training continues %s (%s).", self.resumed.place(), self._existing())

    @property
    def before(self) -> Mapping[str, Any] | None:
        """The identity of the unfinished run that is continued; None if there is none."""
        return None if self.resumed is None else self.resumed.plain["identity"]

    @property
    def in_training(self) -> State | None:
        """The state of the network that was in training; None for the networks before and after."""
        state = self.resumed
        if state is None or "kept" not in state.plain:
            return None
        before = len(state.plain.get("finished", []))
        return state if self._taken == before == len(self.finished) else None

    def next_finished(self) -> State | None:
        """The next network that was finished before; None if it has to be trained."""
        if self._taken == len(self.finished):
            return None
        self._taken += 1
        return self.finished[self._taken - 1]

    def finish(self, state: State) -> None:
        """Keep a finished network in every checkpoint from now on."""
        self.finished.append(state)
        self._taken += 1
        if self.due(within=False):
            self.write(State({}, {}))

    def keep_finished(self) -> None:
        """Write the finished networks now, unless the latest checkpoint holds all of them."""
        if self._written < len(self.finished):
            self.write(State({}, {}))

    def expect(self, size: int) -> None:
        """Note that the first checkpoint has about `size` bytes, so that it comes late enough."""
        self._cost = max(FIRST_COST, size / SPEED)

    def due(self, *, within: bool) -> bool:
        """Whether it is time for a checkpoint, at the end of an epoch or `within` one."""
        least = max(self._cost / SHARE, WITHIN if within else 0.0)
        return time.perf_counter() - self._last >= least

    def write(self, state: State) -> None:
        """Write a checkpoint; if that fails, say so once, and keep the one before."""
        began = time.perf_counter()
        try:
            self._write(state)
            self._failed, self._written = False, len(self.finished)
        except OSError as error:
            with contextlib.suppress(OSError):  # the folder itself may be read-only
                self.draft.unlink(missing_ok=True)
            if not self._failed:
                kept = f"{self._existing()} is kept" if self.exists() else "there is none yet"
                log.warning(
                    "The checkpoint %s cannot be written: %s. Training goes on; %s.",
                    self.path,
                    error.strerror or error,
                    kept,
                )
            self._failed = True
        self._last = time.perf_counter()
        self._cost = self._last - began

    def remove(self) -> None:
        """Remove all checkpoints, because the run is finished."""
        for path in (self.path, self.previous, self.draft):
            path.unlink(missing_ok=True)

    def _existing(self) -> Path:
        return self.path if self.path.exists() else self.previous

    def _write(self, state: State) -> None:
        networks = as_one(self.finished)
        plain = {**state.plain, "identity": self.identity, **networks.plain}
        write_state(State(plain, state.arrays | networks.arrays), self.draft)
        if self.path.exists():
            self.path.replace(self.previous)
        self.draft.replace(self.path)

    def _read(self) -> State:
        """The newest checkpoint that is whole."""
        for path in (self.path, self.previous):
            if not path.exists():
                continue
            state = read_state(path)
            if state is not None:
                if path == self.previous and self.path.exists():
                    # The damaged one must not become the previous one of the next.
                    path.replace(self.path)
                return state
            log.warning("%s is damaged (its SHA-256 differs), so it is not used.", path)
        raise ArtefactError(
            f"{self._existing()} is damaged, and there is no other checkpoint. Give --overwrite "
            "without --resume to train from the start."
        )


def _sha256(*contents: bytes | memoryview) -> bytes:
    """The SHA-256 of these contents, one after the other, as a line."""
    hashed = hashlib.sha256()
    for content in contents:
        hashed.update(content)
    return hashed.hexdigest().encode() + b"\n"


def write_state(state: State, path: Path) -> None:
    """Write a state in the form of a checkpoint."""
    body = io.BytesIO()
    for line in (state.plain, list(state.arrays)):
        body.write(json.dumps(line).encode() + b"\n")
    for array in state.arrays.values():
        write_array(body, np.asarray(array), allow_pickle=False)
    content = body.getbuffer()
    with path.open("wb") as file:
        file.write(FORMAT + _sha256(FORMAT, content))
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_state(path: Path) -> State | None:
    """The content of a checkpoint; None if it is damaged.

    Raises:
        ArtefactError: it cannot be read, or another version of gatewise wrote it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror or error}.") from None
    begin = len(FORMAT) + 65  # 64 hexadecimal digits and the end of the line
    header, digest, body = content[: len(FORMAT)], content[len(FORMAT) : begin], content[begin:]
    # Format 1 took the digest of the body alone.
    known = {_sha256(header, body), _sha256(body)} if header != FORMAT else {_sha256(header, body)}
    if not header.startswith(NAME) or digest not in known:
        return None
    if header != FORMAT:
        raise ArtefactError(
            f"{path} was written by another version of gatewise, in another format. Continue it "
            "with that version, or give --overwrite without --resume to train from the start."
        )
    stream = io.BytesIO(body)
    plain, names = (json.loads(stream.readline()) for _ in range(2))
    return State(plain, {name: read_array(stream, allow_pickle=False) for name in names})


def as_one(finished: Sequence[State]) -> State:
    """Finished networks as one state; `finished_of` takes them apart."""
    arrays = {
        f"finished/{number}/{key}": array
        for number, one in enumerate(finished)
        for key, array in one.arrays.items()
    }
    return State({"finished": [one.plain for one in finished]}, arrays)


def finished_of(state: State) -> list[State]:
    """The finished networks that a checkpoint holds."""
    found = []
    for number, plain in enumerate(state.plain.get("finished", [])):
        begin = f"finished/{number}/"
        names = [key for key in state.arrays if key.startswith(begin)]
        found.append(State(plain, {key.removeprefix(begin): state.arrays[key] for key in names}))
    return found


def identity_of(experiment: Experiment, splits: Splits, network: keras.Model) -> dict[str, Any]:
    """What must not change between the parts of a training.

    The data are compared by content, so they may be moved.
    """
    settings = asdict(experiment)
    settings["data"].pop("path")
    parts = {name: getattr(splits, name) for name in ("train", "validation", "test")}
    return {
        "data": {name: None if part is None else _digest(part) for name, part in parts.items()},
        "settings": settings,
        "network": [[one.path, list(one.shape), str(one.dtype)] for one in network.weights],
        "backend": keras.backend.backend(),
        "versions": {package: version(package) for package in ("gatewise", "keras", "numpy")},
    }


def _digest(part: Sequences) -> str:
    """A hash of the steps, their times, and what is known of each sequence."""
    hashed = hashlib.blake2b(digest_size=16)
    joined = bool((part.starts[1:] == part.stops[:-1]).all())
    bounds = [(part.starts[0], part.stops[-1])] if joined and len(part) else []
    if not joined:
        bounds = list(zip(part.starts, part.stops, strict=True))
    for array in (part.values, part.times, part.filled):
        if array is not None:
            for start, stop in bounds:
                hashed.update(_bytes(array[start:stop]))
    static = [part.static[name] for name in sorted(part.static)]
    for column in (part.lengths, part.ids, part.labels, part.groups, *static):
        if column is not None:
            hashed.update(_bytes(column))
    hashed.update(repr((part.columns, sorted(part.levels.items()))).encode())
    return hashed.hexdigest()


def _bytes(array: Array) -> bytes:
    if array.dtype.kind in "OU":
        return "\0".join(map(str, array.tolist())).encode("utf-8", "replace")
    return np.ascontiguousarray(array).tobytes()


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Every difference between two identities, as a phrase."""
    changes = [
        f"the {name} part holds other data"
        for name, digest in now["data"].items()
        if digest != before["data"].get(name)
    ]
    for section, values in now["settings"].items():
        old = before["settings"].get(section, {})
        changes += [
            f"{section}.{key} was {old.get(key)!r} and is {value!r}"
            for key, value in values.items()
            if value != old.get(key)
        ]
    if now["backend"] != before["backend"]:
        changes.append(f"the backend was {before['backend']} and is {now['backend']}")
    if not changes and now["network"] != before["network"]:
        changes.append("the network has other weights")
    return changes


@dataclass
class Checkpointer(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is untyped
    """Writes checkpoints during `fit`, and puts the state of one back before it continues.

    It must be the last callback, so that the others have changed the state before it is written.
    """

    network: keras.Model
    checkpoints: Checkpoints
    keepers: Mapping[str, Stateful]  # what else has a state
    epochs: int
    interrupted: Callable[[], bool]  # whether a signal has cut this epoch short
    epoch: int = 0
    drawn: dict[str, Any] = field(default_factory=dict)  # every generator, before this epoch

    def __post_init__(self) -> None:
        super().__init__()

    @property
    def resumed(self) -> State | None:
        """The checkpoint to continue from."""
        return self.checkpoints.in_training

    def on_train_begin(self, logs: Any = None) -> None:
        """Put back a state between two epochs, and estimate the first checkpoint."""
        # float32 weights, two moments of Adam, and the best weights
        self.checkpoints.expect(4 * 4 * int(self.network.count_params()))
        # The other callbacks begin the epoch with this state: some reset the states of layers.
        if self.resumed is not None and not self.resumed.plain["step"]:
            self._restore(self.resumed)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Put back a state within this epoch, and note the generators."""
        self.epoch = epoch
        # Within an epoch, the state of its step replaces what Keras and the callbacks reset.
        state = self.resumed
        if state is not None and state.plain["step"] and state.plain["epoch"] == epoch:
            self._restore(state)
        self.drawn = generators()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Write a checkpoint within an epoch, if one is due."""
        if not self._skips(batch) and batch and self.checkpoints.due(within=True):
            # On JAX, reading `self.model` writes the weights back to it. No step is running now.
            self._write(self.model, self.epoch, batch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write a checkpoint after this epoch, if one is due."""
        if not self.interrupted() and self.checkpoints.due(within=False):
            self.drawn = generators()
            self._write(self.model, epoch + 1, 0)

    def _skips(self, batch: int) -> bool:
        """Whether the step was taken before the checkpoint."""
        state = self.resumed
        return (
            state is not None
            and self.epoch == state.plain["epoch"]
            and batch <= state.plain["step"]
        )

    def _write(self, model: keras.Model, epoch: int, step: int) -> None:
        kept = {name: keeper.state() for name, keeper in self.keepers.items()}
        arrays = {
            f"{group}/{k}": keras.ops.convert_to_numpy(variable.value)
            for group, variables in variables_of(model).items()
            for k, variable in enumerate(variables)
        }
        for name, state in kept.items():
            arrays |= {f"{name}/{key}": array for key, array in state.arrays.items()}
        plain = {
            "epoch": epoch,
            "step": step,
            "epochs": self.epochs,
            "over": not step and (epoch == self.epochs or bool(model.stop_training)),
            "generators": self.drawn,
            "generators_now": generators() if step else {},
            "kept": {name: state.plain for name, state in kept.items()},
        }
        self.checkpoints.write(State(plain, arrays))

    def _restore(self, state: State) -> None:
        restore_variables(self.network, state, ("network", "optimizer", "metrics"))
        for name, keeper in self.keepers.items():
            keeper.restore(of_keeper(state, name))
        restore_generators(state.plain["generators"])
        if state.plain["step"]:
            self.network.train_function = _without_steps(
                self.network, state.plain["step"], state.plain["generators_now"]
            )


def _without_steps(
    network: keras.Model, steps: int, generators_after: Mapping[str, Any]
) -> Callable[..., Any]:
    """The training function of the network, whose first `steps` calls only draw their batch.

    The batches of the skipped steps are made, so that every generator draws the same numbers again.
    The steps themselves may draw, too: on PyTorch, Keras's dropout draws from the generator of
    PyTorch. Therefore the generators continue from their states after the skipped steps.
    """
    train, backend, left = network.train_function, keras.backend.backend(), steps

    def step(*given: Any) -> Any:
        nonlocal left
        if not left:
            network.train_function = train
            restore_generators(generators_after)
            return train(*given)
        left -= 1
        if backend != "torch":  # the others get an iterator as the last argument, not the batch
            next(given[-1])
        return ({}, given[0]) if backend == "jax" else {}

    return step


def of_keeper(state: State, name: str) -> State:
    """The part of a state that one keeper wrote."""
    begin = f"{name}/"
    arrays = {key.removeprefix(begin): array for key, array in state.arrays.items()}
    own = {key: array for key, array in arrays.items() if f"{begin}{key}" in state.arrays}
    return State(state.plain["kept"][name], own)


def variables_of(network: keras.Model) -> dict[str, list[Any]]:
    """All variables that a training step changes, random seeds of the layers included."""
    return {
        "network": [*network.trainable_variables, *network.non_trainable_variables],
        "optimizer": list(network.optimizer.variables),
        "metrics": list(network.metrics_variables),
    }


def restore_variables(network: keras.Model, state: State, groups: tuple[str, ...]) -> None:
    """Give the variables of these groups the values of the checkpoint."""
    if "optimizer" in groups and not network.optimizer.built:
        network.optimizer.build(network.trainable_variables)
    known = variables_of(network)
    for group in groups:
        for k, variable in enumerate(known[group]):
            value = state.arrays[f"{group}/{k}"]
            if value.dtype.kind == "V":  # NumPy does not know bfloat16
                value = value.view(keras.ops.convert_to_numpy(variable.value).dtype)
            variable.assign(value.copy())  # JAX may overwrite what it was given


def generators() -> dict[str, Any]:
    """The state of every global random generator: Python's, NumPy's, PyTorch's."""
    # Code of users and of other packages draws from this generator.
    numbers = np.random.get_state(legacy=False)  # noqa: NPY002
    numbers["state"]["key"] = numbers["state"]["key"].tolist()
    states: dict[str, Any] = {"python": random.getstate(), "numpy": numbers}
    if keras.backend.backend() == "torch":
        import torch

        states["torch"] = torch.get_rng_state().tolist()
        states["cuda"] = [state.tolist() for state in torch.cuda.get_rng_state_all()]
    return states


def restore_generators(states: Mapping[str, Any]) -> None:
    """Continue every generator from an earlier state."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    numbers = states["numpy"]
    key = np.array(numbers["state"]["key"], dtype=np.uint32)
    # As in `generators`: code of others draws from this one.
    np.random.set_state({**numbers, "state": {**numbers["state"], "key": key}})  # noqa: NPY002
    if "torch" in states:
        import torch

        torch.set_rng_state(torch.tensor(states["torch"], dtype=torch.uint8))
        cuda = [torch.tensor(state, dtype=torch.uint8) for state in states["cuda"]]
        torch.cuda.set_rng_state_all(cuda)
