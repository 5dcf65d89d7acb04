"""Checkpoints: a training that was killed continues, with the numbers of one that was not.

A checkpoint is one file beside the run folder. It is written under a temporary name and moved into
place, so a kill at any moment leaves a good one. A loss of power may damage those of the last
seconds; therefore the latest one that the disk is known to hold is kept beside the newest.

The first line of such a file names the format, the second one is the SHA-256 of the first line and
of the rest: states, one after the other. A state is two lines of JSON, its plain values and the
name, type and shape of each array, and then the bytes of its arrays. Nothing is pickled. The states
of a checkpoint are what is trained, each network that is finished, and the one in training.
"""

import contextlib
import hashlib
import json
import logging
import math
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import keras
import numpy as np

from gatewise.data.sequences import Array, Sequences
from gatewise.data.splits import Splits
from gatewise.errors import ArtefactError, ConfigError, TrainingError
from gatewise.settings import Experiment
from gatewise.training.progress import History

log = logging.getLogger("gatewise")

Raw = bytes | memoryview

NAME = b"gatewise checkpoint "
FORMAT = NAME + b"4\n"
SHARE = 0.02  # the largest share of the time of the training that checkpoints take
FIRST_COST = 0.01  # the least seconds that are assumed for the first checkpoint
SPEED = 200e6  # the bytes per second that are assumed for the first checkpoint
WITHIN = 120.0  # the least seconds between two checkpoints within an epoch
SYNC = 10.0  # the least seconds between two that are forced to the disk, which takes longest


@dataclass(frozen=True)
class State:
    """The state of training: plain values, and arrays."""

    plain: dict[str, Any]
    arrays: dict[str, Array]


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
        self.folder = folder
        self.path, self.previous, self.draft = _paths(folder)
        found = self._found(resume=resume, overwrite=overwrite)
        # What an earlier process trained, and what it left: networks, the last one in training.
        self.before: Mapping[str, Any] | None = found[0].plain if found else None
        self.finished = found[1:-1]
        self._resumed_after = len(self.finished)
        self.resumed = found[-1] if found else None
        self._taken = 0  # the number of finished networks that this process has used so far
        self._written = len(self.finished)  # the number of those that the latest checkpoint holds
        self._begun = False  # whether this process trains what the checkpoint holds
        self._packed: list[Raw] = []  # what every checkpoint begins with
        self._hashed = hashlib.sha256(FORMAT)  # with all that is packed
        self._began = self._last = time.perf_counter()
        self._cost, self._spent, self._failed = FIRST_COST, 0.0, False
        self._forced = -math.inf  # when the latest checkpoint was forced to the disk
        self._durable = self.resumed is not None  # whether the newest one was

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
        return has_checkpoint(self.folder)

    def _found(self, *, resume: bool, overwrite: bool) -> list[State]:
        """The states to continue from; without `resume` a checkpoint is not touched silently."""
        if not self.exists():
            if resume:
                log.info("There is no checkpoint %s, so training starts from scratch.", self.path)
            return []
        if resume:
            return self._read()
        if not overwrite:
            raise ConfigError(
                f"{self._existing()} is the checkpoint of an unfinished run. Give --resume "
                "(resume=True) to continue it, --overwrite to discard it, or choose another -o."
            )
        log.info("%s, the checkpoint of an unfinished run, is discarded.", self._existing())
        self.remove()
        return []

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Note what is trained, and refuse to continue with anything else.

        Raises:
            ConfigError: the checkpoint is one of other data, settings, network or backend.
        """
        self._began = self._last = time.perf_counter()
        self._begun = self.before is None
        if self.before is not None:
            self._compare(self.before, identity)
        for state in (State(dict(identity), {}), *self.finished):
            self._pack(state)

    def _compare(self, before: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
        """Refuse to continue what an earlier process trained, or say where it goes on."""
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
        log.info("Training continues %s (%s).", self._place(), self._existing())

    def _place(self) -> str:
        """The point that the earlier process had reached."""
        done = len(self.finished)
        networks = f"{done} finished network{'s'[: done != 1]}"
        if self.resumed is None or not self.resumed.plain:
            return f"after {networks}"
        plain = self.resumed.plain
        epoch, step, epochs = (plain[key] for key in ("epoch", "step", "epochs"))
        before = f"{networks} and " if done else ""
        if plain["over"]:
            return f"after {before}the last epoch"
        within = f"step {step:,} of " if step else ""
        return f"after {before}{within}epoch {epoch + bool(step)} of {epochs}"

    @property
    def in_training(self) -> State | None:
        """The state of the network that was in training; None for the networks before and after."""
        state, done = self.resumed, self._resumed_after
        if state is None or not state.plain:
            return None
        return state if self._taken == done == len(self.finished) else None

    def next_finished(self) -> State | None:
        """The next network that was finished before; None if it has to be trained."""
        if self._taken == len(self.finished):
            return None
        self._taken += 1
        return self.finished[self._taken - 1]

    def finish(self, state: State) -> None:
        """Keep a finished network in every checkpoint from now on."""
        self.finished.append(state)
        self._pack(state)
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
        now = time.perf_counter()
        if within and now - self._last < WITHIN:
            return False
        return self._spent + self._cost <= SHARE * (now - self._began)

    def _pack(self, state: State) -> None:
        """Begin every checkpoint from now on with this state, too."""
        self._packed += (contents := packed(state))
        _hash(self._hashed, contents)

    def write(self, state: State, began: float | None = None) -> None:
        """Write a checkpoint; if that fails, say so once, and keep the one before.

        `began` is the time when the state was begun to be made, which counts as its cost.
        """
        began = time.perf_counter() if began is None else began
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
        self._spent += self._cost

    def remove(self) -> None:
        """Remove all checkpoints, because the run is finished."""
        for path in (self.path, self.previous, self.draft):
            path.unlink(missing_ok=True)

    def _existing(self) -> Path:
        return self.path if self.path.exists() else self.previous

    def _write(self, state: State) -> None:
        durable = time.perf_counter() - self._forced >= SYNC
        contents = packed(state)
        hashed = _hash(self._hashed.copy(), contents)
        _write(self.draft, hashed, [*self._packed, *contents], durable=durable)
        if self._durable and self.path.exists():
            self.path.replace(self.previous)
        # To replace a file that is not on the disk yet, ext4 would first allocate its blocks, which
        # takes longer than all else here. After a kill between these lines, the draft is read.
        self.path.unlink(missing_ok=True)
        self.draft.rename(self.path)
        self._durable = durable
        if durable:
            self._forced = time.perf_counter()

    def _read(self) -> list[State]:
        """The states of the newest checkpoint that is whole."""
        for path in (self.path, self.draft, self.previous):
            if not path.is_file():
                continue
            states = read_states(path)
            if states is not None:
                if path == self.draft or self.path.exists():
                    # A damaged one must not become the previous one of the next.
                    path.replace(self.path)
                return states
            if path != self.draft:  # a draft may end anywhere
                log.warning("%s is damaged (its SHA-256 differs), so it is not used.", path)
        raise ArtefactError(
            f"{self._existing()} is damaged, and there is no other checkpoint. Give --overwrite "
            "without --resume to train from the start."
        )


def packed(state: State) -> list[Raw]:
    """A state as it stands in a file; arrays are not copied."""
    arrays = {name: np.asarray(array) for name, array in state.arrays.items()}
    table = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    lines = [json.dumps(line).encode() + b"\n" for line in (state.plain, table)]
    raw = [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data for array in arrays.values()]
    return [*lines, *raw]


def _unpacked(content: bytes, begin: int) -> Iterator[State]:
    """The states in a file, from this byte on."""
    while begin < len(content):
        lines = []
        for _ in range(2):
            end = content.index(b"\n", begin)
            lines.append(json.loads(content[begin:end]))
            begin = end + 1
        plain, table = lines
        arrays = {}
        for name, kind, shape in table:
            array = np.frombuffer(content, kind, math.prod(shape), begin)
            arrays[name] = array.reshape(shape).copy()
            begin += array.nbytes
        yield State(plain, arrays)


def _hash(hashed: Any, contents: Iterable[Raw]) -> Any:
    for content in contents:
        hashed.update(content)
    return hashed


def _write(path: Path, hashed: Any, contents: Sequence[Raw], *, durable: bool) -> None:
    """Write a file, and wait until the disk holds it if it must survive a loss of power."""
    with path.open("wb") as file:
        file.write(FORMAT + hashed.hexdigest().encode() + b"\n")
        file.writelines(contents)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def write_states(states: Iterable[State], path: Path) -> None:
    """Write states in the form of a checkpoint."""
    contents = [content for state in states for content in packed(state)]
    _write(path, _hash(hashlib.sha256(FORMAT), contents), contents, durable=True)


def read_states(path: Path) -> list[State] | None:
    """The states in a file; None if it is damaged.

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
    known = [[header, body]] if header == FORMAT else [[header, body], [body]]
    digests = {_hash(hashlib.sha256(), one).hexdigest().encode() + b"\n" for one in known}
    if not header.startswith(NAME) or digest not in digests:
        return None
    if header != FORMAT:
        raise ArtefactError(
            f"{path} was written by another version of gatewise, in another format. Continue it "
            "with that version, or give --overwrite without --resume to train from the start."
        )
    return list(_unpacked(content, begin))


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
    drawn: State = State({}, {})  # every generator, before this epoch

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
        began = time.perf_counter()
        kept = {name: keeper.state() for name, keeper in self.keepers.items()}
        kept["generators"] = self.drawn
        if step:
            kept["generators now"] = generators()
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
            "kept": {name: state.plain for name, state in kept.items()},
        }
        self.checkpoints.write(State(plain, arrays), began)

    def _restore(self, state: State) -> None:
        restore_variables(self.network, state, ("network", "optimizer", "metrics"))
        for name, keeper in self.keepers.items():
            keeper.restore(of_keeper(state, name))
        restore_generators(of_keeper(state, "generators"))
        if state.plain["step"]:
            self.network.train_function = _without_steps(
                self.network, state.plain["step"], of_keeper(state, "generators now")
            )


def _without_steps(network: keras.Model, steps: int, generators_after: State) -> Callable[..., Any]:
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
    arrays = {
        key.removeprefix(begin): array
        for key, array in state.arrays.items()
        if key.startswith(begin)
    }
    return State(state.plain["kept"][name], arrays)


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


def generators() -> State:
    """The state of every global random generator: Python's, NumPy's, PyTorch's."""
    version, internal, gauss = random.getstate()
    # Code of users and of other packages draws from this generator.
    numbers = np.random.get_state(legacy=False)  # noqa: NPY002
    arrays = {"python": np.array(internal, np.uint32), "numpy": numbers["state"].pop("key")}
    if keras.backend.backend() == "torch":
        import torch

        arrays["torch"] = torch.get_rng_state().numpy()
        for k, state in enumerate(torch.cuda.get_rng_state_all()):
            arrays[f"cuda/{k}"] = state.numpy()
    return State({"python": [version, gauss], "numpy": numbers}, arrays)


def restore_generators(states: State) -> None:
    """Continue every generator from an earlier state."""
    version, gauss = states.plain["python"]
    random.setstate((version, tuple(states.arrays["python"].tolist()), gauss))
    numbers = states.plain["numpy"]
    inner = {**numbers["state"], "key": states.arrays["numpy"]}
    # As in `generators`: code of others draws from this one.
    np.random.set_state({**numbers, "state": inner})  # noqa: NPY002
    if "torch" in states.arrays:
        import torch

        torch.set_rng_state(torch.from_numpy(states.arrays["torch"]))
        cuda = [key for key in states.arrays if key.startswith("cuda/")]
        torch.cuda.set_rng_state_all([torch.from_numpy(states.arrays[key]) for key in cuda])


def as_finished(network: keras.Model, history: History) -> State:
    """What a checkpoint keeps of a network whose training is over."""
    weights = {str(k): weight for k, weight in enumerate(network.get_weights())}
    return State(asdict(history), weights)


def from_finished(network: keras.Model, state: State) -> History:
    """Give a network the weights that it had when its training was over."""
    network.set_weights([state.arrays[str(k)] for k in range(len(state.arrays))])
    return History(**state.plain)
