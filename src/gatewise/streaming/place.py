"""Where a stream is, and the same as bytes, to continue it elsewhere."""

import io
import json
from dataclasses import dataclass, field, replace
from zipfile import BadZipFile

import numpy as np

from gatewise.data.sequences import Array
from gatewise.errors import ConfigError
from gatewise.runtime.stepping import State
from gatewise.streaming.memory import Memory
from gatewise.streaming.model import Model
from gatewise.streaming.plan import Answer, Notes, Row

FORMAT = 2  # of the bytes
REMEMBERED = ("id", "static", "rest", "last", "count", "begin", "steps")  # of `Memory`, as JSON


@dataclass
class Place:
    """Where a stream is."""

    step: int = 0  # steps that were read
    answered: int = 0  # the step of the last answer
    memory: Memory = field(default_factory=Memory)
    rows: list[Row] = field(default_factory=list)  # the last window, then rows ahead
    states: State | None = None  # of the network, and of what is computed beside it
    output: Array | None = None  # of the network after the last step
    notes: Notes = field(default_factory=dict)  # of the task
    said: Answer = field(default_factory=dict)  # of the last answer, what a new one must change

    def copied(self) -> "Place":
        """A copy that can change by itself."""
        return replace(self, rows=list(self.rows), notes=dict(self.notes))


def packed(model: Model, place: Place) -> bytes:
    """The place as bytes that `unpacked` reads."""
    memory = place.memory
    arrays = {f"state {name}": one for name, one in (place.states or {}).items()}
    if place.output is not None:
        arrays["output"] = place.output
    if place.rows:
        arrays["rows"] = np.array([row.values for row in place.rows])
        arrays["ahead"] = np.array([row.ahead for row in place.rows])
        if all(row.time is not None for row in place.rows):
            arrays["times"] = np.array([row.time for row in place.rows])
    if memory.times:
        arrays["last times"] = np.array(memory.times)
    if memory.ahead and memory.ahead[0] is not None:
        arrays["times ahead"] = np.array(memory.ahead)
    held = {"last row": memory.values, "samples": memory.samples, "frames": memory.frames}
    arrays |= {name: one for name, one in held.items() if one is not None}
    told = {
        "format": FORMAT,
        "run": model.digest,
        "step": place.step,
        "answered": place.answered,
        "texts": [row.text for row in place.rows],
        "notes": place.notes,
        "said": place.said,
        **{name: getattr(memory, name) for name in REMEMBERED},
    }
    buffer = io.BytesIO()
    np.savez(buffer, told=np.array(json.dumps(told)), **arrays)
    return buffer.getvalue()


def unpacked(model: Model, state: bytes) -> Place:
    """The place that `packed` wrote.

    Raises:
        ConfigError: another version, run or window wrote it, or it is damaged.
    """
    try:
        with np.load(io.BytesIO(state), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        told = json.loads(str(arrays.pop("told")))
        if told["format"] != FORMAT:
            raise ConfigError(
                "Another version of gatewise wrote this state. Install that version, or begin the "
                "stream again."
            )
        if told["run"] != model.digest:
            raise ConfigError(
                "This is the state of a stream of another run, or with another window or every. "
                "Open that run with the same arguments."
            )
        times = arrays.get("times")
        rows = [
            Row(values, None if times is None else times[k], bool(arrays["ahead"][k]), text)
            for k, (values, text) in enumerate(
                zip(arrays.get("rows", ()), told["texts"], strict=True)
            )
        ]
        states = {
            name.removeprefix("state "): one
            for name, one in arrays.items()
            if name.startswith("state ")
        }
        ahead = arrays.get("times ahead", [None] * sum(row.ahead for row in rows))
        memory = Memory(
            values=arrays.get("last row"),
            times=tuple(arrays.get("last times", ())),
            ahead=tuple(ahead),
            samples=arrays.get("samples"),
            frames=arrays.get("frames"),
            **{name: told[name] for name in REMEMBERED},
        )
        return Place(
            step=told["step"],
            answered=told["answered"],
            memory=memory,
            rows=rows,
            states=states or None,
            output=arrays.get("output"),
            notes=told["notes"],
            said=told["said"],
        )
    except (ValueError, KeyError, TypeError, OSError, EOFError, BadZipFile) as error:
        raise ConfigError(
            f"This is not the state of a stream ({type(error).__name__}). Give the bytes that "
            "Stream.state returned."
        ) from None
