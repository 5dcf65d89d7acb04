"""Stream: the answers of a run to a sequence that is still going on."""

import hashlib
import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from zipfile import BadZipFile

import numpy as np

from gatewise import prediction
from gatewise.artefact import Artefact, open_run
from gatewise.data.batches import PADDING
from gatewise.data.sequences import Array, Sequences, from_arrays
from gatewise.engine.cells import WEIGHTS
from gatewise.errors import ConfigError, DataError
from gatewise.prediction import Trained
from gatewise.runtime.network import Network
from gatewise.runtime.stepping import State, Stepper, apart, together
from gatewise.streaming.plan import Plan
from gatewise.streaming.rows import Memory, Reader, Row
from gatewise.tasks import TASKS

log = logging.getLogger("gatewise")

BATCH = 256  # answers, and rows of a stream, that share arrays
FORMAT = 1  # of what `Stream.state` returns

Answer = dict[str, Any]  # "step", and the columns that `gatewise.predict` gives


@dataclass(frozen=True)
class _Model:
    """What the streams of one run share."""

    artefact: Artefact
    plan: Plan
    reader: Reader
    stepper: Stepper | None  # None: each answer reads a window anew

    @cached_property
    def digest(self) -> str:
        """Identifies the run and the plan, for saved states."""
        plan = self.plan
        told = {**plan.preparation.to_json(), "window": plan.window, "every": plan.every}
        found = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
        for array in _weights(self.artefact.network):
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


@dataclass(frozen=True)
class _Point:
    """An answer to give: the number of steps so far, and the rows that it reads."""

    step: int
    rows: tuple[Row, ...]


@dataclass
class _Place:
    """Where a stream is."""

    step: int = 0  # steps that were read
    answered: int = 0  # the step of the last answer
    memory: Memory = field(default_factory=Memory)
    rows: list[Row] = field(default_factory=list)  # the last window, then rows ahead
    states: State | None = None  # of the network
    output: Array | None = None  # of the network after the last step, if it was not answered

    def copied(self) -> "_Place":
        """A copy that can change by itself."""
        memory = replace(self.memory, static=dict(self.memory.static))
        return replace(self, memory=memory, rows=list(self.rows))


class Stream:
    """The answers of a run to a sequence while it arrives.

    Values are those of the data, as in a file for `gatewise.predict`: the stream scales them and
    looks up texts and calendar as the run does. An answer after so many steps is the answer that
    `gatewise.predict` gives to these steps. If the network allows, the states of its LSTM layers
    are carried on, so that a step costs the same however long the stream is. A network that reads
    backwards, or pools in a way that needs all steps, answers the last `window` steps anew.

    Args:
        run: a run folder, or what gatewise.train or gatewise.load returned.
        window: the steps that an answer reads; default: what the run was trained on. 0: all steps.
        every: the steps between two answers; default: 1, or the stride of the run's windows.
        id: the name of the sequence, if the run scales each one by its own steps.
        weights: float32, or int8: weights of LSTM layers are rounded to 255 levels, which changes
            the answers a little and makes steps of wide layers faster. States must be carried on.

    Raises:
        ConfigError: the run cannot be streamed in this way; the message names the way out.
    """

    def __init__(
        self,
        run: Trained,
        *,
        window: int | None = None,
        every: int | None = None,
        id: str = "",
        weights: str = "float32",
    ) -> None:
        artefact = prediction.artefact_of(run, open_run)
        self._begin(_model(artefact, window, every, weights), id)

    def _begin(self, model: _Model, name: str) -> None:
        self._model, self._id = model, name
        self._place = _Place(memory=Memory(id=name))
        self._next: list[tuple[Row, Memory]] = []  # rows that were pushed and not read yet
        self._answers: list[Answer] = []
        self._error: DataError | None = None  # of the last `advance`, for `read`

    def __repr__(self) -> str:
        """One line, because notebooks display it."""
        name = f" '{self._id}'" if self._id else ""
        return f"<Stream{name} of {self._model.artefact.preparation.task}: {self.step} steps>"

    @property
    def step(self) -> int:
        """The number of steps that were pushed since the beginning."""
        return self._place.step + sum(not row.ahead for row, _ in self._next)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a row without names, in their order."""
        return self._model.plan.columns

    @property
    def window(self) -> int:
        """The steps that an answer reads; 0: all of them."""
        return self._model.plan.window

    def new(self, id: str = "") -> "Stream":
        """Another stream of the same run, from its beginning; both share the weights."""
        other = object.__new__(Stream)
        other._begin(self._model, id)
        return other

    def id_of(self, row: Any) -> str:
        """The id of the sequence of a row, in the columns that name sequences; "": it has none."""
        return self._model.reader.id_of(row)

    def push(self, steps: Any) -> None:
        """Add steps: a row, a list of rows, an array [columns] or [steps, columns], or a table.

        A row is a dict with the columns of the file that the run was trained on, or the numbers of
        `columns`. A row without a target is a step ahead, with what is known of it.

        Raises:
            DataError: a row has not what the run needs. None of these steps is added then.
        """
        memory = self._next[-1][1] if self._next else self._place.memory
        added: list[tuple[Row, Memory]] = []
        for given in self._model.reader.rows_of(steps):
            memory = replace(memory, static=dict(memory.static))
            rows = self._model.reader.read(given, memory)
            added += [(row, memory) for row in rows]
        self._next += added

    def read(self) -> list[Answer]:
        """The answers that no call returned yet, oldest first.

        Each is a dict of `step`, the number of steps that were read, and of the columns that
        `gatewise.predict` gives.

        Raises:
            DataError: a value is too far from those of training. The steps that were pushed since
                the last call are forgotten.
        """
        self._advance()
        answers, self._answers = self._answers, []
        return answers

    def finish(self) -> list[Answer]:
        """The last answers: `read`, and the answer to the last step if it has none yet.

        The stream is then at its beginning again.
        """
        self._advance()
        model, place = self._model, self._place
        if 0 < place.step != place.answered:
            if not model.plan.full or place.step >= model.plan.window:
                self._answers += _final(model, place)
            if not place.answered and not self._answers:
                needed = max(model.plan.window, 1)
                ahead = f" and {model.plan.ahead} rows ahead" if model.plan.ahead else ""
                log.warning(
                    "The stream ended after %s, but an answer needs %d%s.",
                    *("1 step" if place.step == 1 else f"{place.step} steps", needed, ahead),
                )
        answers = self._answers
        self._begin(model, self._id)
        return answers

    def state(self) -> bytes:
        """Where the stream is, to continue it in another process with `restore`.

        Answers that were not read yet are not part of it.
        """
        self._advance()
        return _packed(self._model, self._place)

    def _advance(self) -> None:
        advance([self])
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def restore(self, state: bytes) -> None:
        """Continue where the stream was whose `state` this is; what was pushed here is forgotten.

        Raises:
            ConfigError: it is not a state of a stream of this run, with the same window.
        """
        place = _unpacked(self._model, state)
        self._begin(self._model, place.memory.id or self._id)
        self._place = place


def advance(streams: Sequence[Stream]) -> None:
    """Compute the answers of several streams to all that was pushed; `read` returns them.

    Streams of the same run (`Stream.new`) share the batches of the network. If the steps of one
    cannot be answered, its `read` raises the error, and the others are answered.
    """
    by_model: dict[int, list[Stream]] = {}
    for stream in dict.fromkeys(streams):
        if stream._next:
            by_model.setdefault(id(stream._model), []).append(stream)
    for several in by_model.values():
        try:
            _advance_together(several)
        except DataError as error:
            if len(several) == 1:
                several[0]._next, several[0]._error = [], error
            else:
                for one in several:
                    advance([one])


def _advance_together(streams: Sequence[Stream]) -> None:
    """The same for streams of one run; nothing changes if one raises an error."""
    model = streams[0]._model
    rows = [[row for row, _ in one._next] for one in streams]
    places = [one._place.copied() for one in streams]
    for place, one in zip(places, streams, strict=True):
        place.memory = one._next[-1][1]
    run = _windows if model.stepper is None else _steps
    for one, place, found in zip(streams, places, run(model, places, rows), strict=True):
        one._place, one._next = place, []
        one._answers += found


def _model(
    artefact: Artefact, window: int | None, every: int | None, weights: str = "float32"
) -> _Model:
    """What the streams of a run share.

    Raises:
        ConfigError: as `Stream`.
    """
    name, preparation = artefact.preparation.task, artefact.preparation
    module = TASKS[name].part("stream")
    if module is None:
        raise ConfigError(
            f"A run of the task {name} cannot be streamed, because its answers take a whole "
            "sequence. Use predict."
        )
    if preparation.kind != "numbers":
        raise ConfigError(f"A run on {preparation.kind} cannot be streamed. Use predict.")
    plan: Plan = module.plan(preparation, artefact.experiment)
    for key, value, least in (("window", window, 0), ("every", every, 1)):
        if value is not None and (not isinstance(value, int) or value < least):
            raise ConfigError(f"{key} must be a whole number from {least}. Received: {value!r}.")
    if window is not None and plan.full and window != plan.window:
        raise ConfigError(f"The network reads windows of {plan.window} steps. Leave window out.")
    if window is not None:
        plan = replace(plan, window=window, every=1)
    plan = replace(plan, every=every or plan.every)
    stepper = None
    if not plan.window:
        stepper = _stepper(artefact, plan, weights)
    elif weights != "float32":
        raise ConfigError(
            f"weights={weights} needs states that are carried on, but this stream answers windows "
            "anew. Leave weights out."
        )
    artefact = replace(artefact, preparation=plan.preparation)
    return _Model(artefact, plan, Reader(plan, artefact.experiment.data), stepper)


def _stepper(artefact: Artefact, plan: Plan, weights: str) -> Stepper:
    if weights not in WEIGHTS:
        raise ConfigError(f"weights must be {' or '.join(WEIGHTS)}. Received: {weights!r}.")
    reason, network = plan.whole, artefact.network
    try:
        if plan.preparation.scale.by == "series":
            reason = "it scales each sequence by its own steps (preparation.scale_by = series)"
        if reason:
            raise ConfigError(reason)
        if isinstance(network, dict):
            raise ConfigError("it has several networks")
        if not isinstance(network, Network):
            from gatewise.runtime.describe import describe

            network = Network(describe(network))
        return Stepper(network.graph, PADDING, weights)
    except ConfigError as error:
        raise ConfigError(
            "The states of this run cannot be carried on from step to step: "
            f"{str(error).rstrip('.')}. Give a window: its last steps are then answered anew "
            "(window=100, or --window 100)."
        ) from None


def _weights(network: Any) -> list[Array]:
    """The weights of a network of any kind."""
    if isinstance(network, Mapping):
        return [array for one in network.values() for array in _weights(one)]
    if isinstance(network, Network):
        return [array for node in network.graph.nodes for array in node.weights.values()]
    return list(network.get_weights())


# Windows that are answered anew.


def _windows(model: _Model, places: list[_Place], several: list[list[Row]]) -> list[list[Answer]]:
    """The answers to new rows; `places` are advanced."""
    points: list[tuple[int, _Point]] = []
    for k, (place, rows) in enumerate(zip(places, several, strict=True)):
        points += [(k, point) for point in _points(model.plan, place, rows)]
    answers: list[list[Answer]] = [[] for _ in places]
    for begin in range(0, len(points), BATCH):
        some = points[begin : begin + BATCH]
        sequences = _sequences(model, [(places[k].memory, point.rows) for k, point in some])
        found = _answered_anew(model, sequences)
        for (k, point), records in zip(some, found, strict=True):
            answers[k] += [{"step": point.step, **record} for record in records]
            places[k].answered = point.step
    return answers


def _points(plan: Plan, place: _Place, rows: list[Row]) -> list[_Point]:
    """Advance a place by rows; return the answers that are due on the way."""
    points, held = [], place.rows
    known = sum(row.ahead for row in held)  # rows ahead, at the end of `held`
    for row in rows:
        if row.ahead:
            held.append(row)
            known += 1
        else:
            place.step += 1
            at = len(held) - known
            held[at : at + bool(known)] = [row]  # the first row ahead has come true
            known -= bool(known)
            if at == plan.window:
                del held[0]
        size = len(held) - known
        enough = size >= (plan.window if not plan.per_step else 1)
        due = (
            (place.step - plan.window) % plan.every == 0
            if not plan.per_step
            else (place.step % plan.every == 0)
        )
        waited = known == plan.ahead if row.ahead else known >= plan.ahead
        if enough and due and waited:
            points.append(_Point(place.step, tuple(held[: size + plan.ahead])))
    return points


def _sequences(model: _Model, several: Sequence[tuple[Memory, Sequence[Row]]]) -> Sequences:
    """Rows of several streams as sequences."""
    plan, reader = model.plan, model.reader
    rows = [row for _, some in several for row in some]
    times = None
    if all(row.time is not None for row in rows):
        times = np.array([row.time for row in rows])
    memories = [memory for memory, _ in several]
    static = {
        name: np.array([memory.static.get(name, np.nan) for memory in memories])
        for name in plan.static
    }
    return from_arrays(
        [np.array([row.values for row in some]) for _, some in several],
        columns=plan.preparation.columns,
        ids=np.array([memory.id for memory in memories]),
        times=times,
        zone=_zone(model, times),
        step=plan.preparation.step,
        levels=reader.levels,
        static=static,
        source="The stream",
    )


def _zone(model: _Model, times: Array | None) -> str:
    """The time zone in which times in UTC are shown."""
    zone = model.artefact.experiment.data.timezone
    dated = times is not None and times.dtype.kind == "M"
    return zone if dated and zone != "UTC" and not model.reader.local else ""


def _answered_anew(model: _Model, sequences: Sequences) -> list[list[Answer]]:
    """The rows of the answer to each sequence."""
    examples = prediction.asked(model.artefact, sequences, strict=True)
    ((table, _),) = prediction.answers(model.artefact, [examples])
    records = _records(table)
    if not model.plan.per_step:
        each = len(records) // len(sequences)
        return [records[k * each : (k + 1) * each] for k in range(len(sequences))]
    each = len(records) // int(sequences.lengths.sum())  # rows of the table for each step
    ends = np.cumsum(sequences.lengths) * each
    return [records[end - each : end] for end in ends.tolist()]


def _records(table: Any) -> list[Answer]:
    """The rows of a table of predictions, without what a stream knows better."""
    # Not by DataFrame.drop, which waits for the threads of Polars: 11 ms on a busy machine.
    columns = {one.name: one.to_list() for one in table if one.name not in ("id", "step", "truth")}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _final(model: _Model, place: _Place) -> list[Answer]:
    """The answer to the last step of a stream."""
    if model.stepper is not None:
        assert place.output is not None
        return _answers_to(model, place, place.rows, place.output)
    size = sum(not row.ahead for row in place.rows)
    ahead = len(place.rows) - size
    if ahead < model.plan.ahead:
        return []
    rows = place.rows[: size + model.plan.ahead]
    (found,) = _answered_anew(model, _sequences(model, [(place.memory, rows)]))
    return [{"step": place.step, **row} for row in found]


# States that are carried on.


def _steps(model: _Model, places: list[_Place], several: list[list[Row]]) -> list[list[Answer]]:
    """The answers to new rows; `places` are advanced."""
    assert model.stepper is not None
    stepper, preparation = model.stepper, model.plan.preparation
    order = sorted(range(len(places)), key=lambda k: -len(several[k]))
    inputs: list[Array] = []
    outputs: list[list[Array]] = [[] for _ in places]
    for k in order:
        sequences = _sequences(model, [(places[k].memory, several[k])])
        task = TASKS[preparation.task]
        examples = task.examples(sequences, preparation, model.artefact.experiment, "predict")
        (array,) = examples.inputs(np.array([0]), len(several[k])).values()
        inputs.append(array[0])  # [steps, columns]
    states = together([places[k].states or stepper.start() for k in order])
    counts = [len(one) for one in inputs]
    for t in range(counts[0]):
        active = sum(count > t for count in counts)
        states_now = {name: one[:active] for name, one in states.items()}
        answer = stepper(np.stack([one[t] for one in inputs[:active]]), states_now)
        for name, one in states_now.items():
            if active == len(order):
                states[name] = one
            else:
                states[name][:active] = one
        for row, k in enumerate(order[:active]):
            outputs[k].append(answer[row])
    for k, one in zip(order, apart(states, range(len(order))), strict=True):
        places[k].states = one
    return [_due(model, *one) for one in zip(places, several, outputs, strict=True)]


def _due(model: _Model, place: _Place, rows: list[Row], outputs: list[Array]) -> list[Answer]:
    """Advance a place; return the answers that are due, given the outputs for each of its rows."""
    every = model.plan.every
    due = [k for k in range(len(rows)) if (place.step + k + 1) % every == 0]
    answers: list[Answer] = []
    for begin in range(0, len(due), BATCH):
        some = due[begin : begin + BATCH]
        steps = [place.step + k + 1 for k in some]
        answers += _answers_to(
            model, place, [rows[k] for k in some], np.stack([outputs[k] for k in some]), steps
        )
    place.step += len(rows)
    place.answered = place.step // every * every
    place.rows = rows[-1:]
    place.output = None if place.answered == place.step else outputs[-1][None]
    return answers


def _answers_to(
    model: _Model,
    place: _Place,
    rows: list[Row],
    outputs: Array,
    steps: list[int] | None = None,
) -> list[Answer]:
    """The answers for outputs of the network after some steps, [steps, ...]."""
    task, preparation = TASKS[model.plan.preparation.task], model.plan.preparation
    if model.plan.per_step:
        sequences = _sequences(model, [(place.memory, rows)])
    else:
        # Each answer is to a sequence of its own, of which only the last step is at hand.
        sequences = _sequences(model, [(place.memory, [row]) for row in rows])
    experiment = model.artefact.experiment
    examples = task.examples(sequences, preparation, experiment, "predict")
    found = task.postprocess(outputs, examples, preparation, model.artefact.baselines)
    table = task.table(found, examples, preparation, np.arange(len(examples)))
    records = _records(table)
    each = len(records) // len(rows)
    steps = steps or [place.step]
    return [{"step": steps[k // each], **record} for k, record in enumerate(records)]


# States as bytes.


def _packed(model: _Model, place: _Place) -> bytes:
    arrays = {f"state {name}": one for name, one in (place.states or {}).items()}
    if place.output is not None:
        arrays["output"] = place.output
    if place.rows:
        arrays["rows"] = np.array([row.values for row in place.rows])
        arrays["ahead"] = np.array([row.ahead for row in place.rows])
        if all(row.time is not None for row in place.rows):
            arrays["times"] = np.array([row.time for row in place.rows])
    if place.memory.values is not None:
        arrays["last row"] = place.memory.values
    if place.memory.times:
        arrays["last times"] = np.array(place.memory.times)
    if place.memory.ahead and place.memory.ahead[0] is not None:
        arrays["times ahead"] = np.array(place.memory.ahead)
    told = {
        "format": FORMAT,
        "run": model.digest,
        "step": place.step,
        "answered": place.answered,
        "id": place.memory.id,
        "static": place.memory.static,
    }
    buffer = io.BytesIO()
    np.savez(buffer, told=np.array(json.dumps(told)), **arrays)
    return buffer.getvalue()


def _unpacked(model: _Model, state: bytes) -> _Place:
    try:
        with np.load(io.BytesIO(state), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        told = json.loads(str(arrays.pop("told")))
        if told["format"] > FORMAT:
            raise ConfigError("A newer version of gatewise wrote this state. Install that version.")
        if told["run"] != model.digest:
            raise ConfigError(
                "This is the state of a stream of another run, or with another window or every. "
                "Open that run with the same arguments."
            )
        times = arrays.get("times")
        rows = [
            Row(values, None if times is None else times[k], bool(arrays["ahead"][k]))
            for k, values in enumerate(arrays.get("rows", ()))
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
            id=told["id"],
            static=told["static"],
        )
        return _Place(
            told["step"], told["answered"], memory, rows, states or None, arrays.get("output")
        )
    except (ValueError, KeyError, TypeError, OSError, EOFError, BadZipFile) as error:
        raise ConfigError(
            f"This is not the state of a stream ({type(error).__name__}). Give the bytes that "
            "Stream.state returned."
        ) from None
