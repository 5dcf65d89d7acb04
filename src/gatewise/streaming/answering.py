"""The answers to new steps: of windows that are read anew, or by states that are carried on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewise import prediction
from gatewise.data import sound
from gatewise.data.batches import Examples
from gatewise.data.sequences import Array, Sequences
from gatewise.runtime.stepping import State, apart, together
from gatewise.streaming.memory import Memory
from gatewise.streaming.model import SOUND, Model
from gatewise.streaming.place import Place
from gatewise.streaming.plan import Answer, Plan, Row
from gatewise.tasks import TASKS

BATCH = 256  # answers, and rows of a stream, that share arrays


@dataclass(frozen=True)
class Point:
    """An answer to give: the number of steps so far, and the rows that it reads."""

    step: int
    rows: tuple[Row, ...]


# Windows that are answered anew.


def windows(model: Model, places: list[Place], several: list[list[Row]]) -> list[list[Answer]]:
    """The answers to new rows; `places` are advanced."""
    points: list[tuple[int, Point]] = []
    for k, (place, rows) in enumerate(zip(places, several, strict=True)):
        points += [(k, point) for point in _points(model.plan, place, rows)]
    answers: list[list[Answer]] = [[] for _ in places]
    for begin in range(0, len(points), BATCH):
        some = points[begin : begin + BATCH]
        sequences = model.reader.sequences([(places[k].memory, point.rows) for k, point in some])
        found = _answered_anew(model, sequences)
        for (k, point), records in zip(some, found, strict=True):
            answers[k] += [{"step": point.step, **record} for record in records]
            places[k].answered = max(places[k].answered, point.step)
    return answers


def _points(plan: Plan, place: Place, rows: list[Row]) -> list[Point]:
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
        enough = plan.partial or size >= plan.window
        due = (place.step - (0 if plan.partial else plan.window)) % plan.every == 0
        waited = known == plan.ahead if row.ahead else known >= plan.ahead
        if row.filled and plan.measured:
            place.answered = place.step
        elif enough and due and waited:
            points.append(Point(place.step, tuple(held[: size + plan.ahead])))
    return points


def _answered_anew(model: Model, sequences: Sequences) -> list[list[Answer]]:
    """The rows of the answer to each sequence."""
    if model.artefact.preparation.kind == SOUND:
        examples = _examples(model, sequences)
    else:
        examples = prediction.asked(model.artefact, sequences, strict=True)
    ((table, _),) = prediction.answers(model.artefact, [examples])
    records = _records(table, model.plan)
    if not model.plan.per_step:
        each = len(records) // len(sequences)
        return [records[k * each : (k + 1) * each] for k in range(len(sequences))]
    each = len(records) // int(sequences.lengths.sum())  # rows of the table for each step
    ends = np.cumsum(sequences.lengths) * each
    return [records[end - each : end] for end in ends.tolist()]


def _examples(model: Model, sequences: Sequences) -> Examples[Any]:
    """What the task makes of sequences, or of the frames of recordings."""
    artefact = model.artefact
    if artefact.preparation.kind == SOUND:
        return sound.of_frames(sequences, artefact.preparation.scale)
    task = TASKS[artefact.preparation.task]
    return task.examples(sequences, artefact.preparation, artefact.experiment, "predict")


def _records(table: Any, plan: Plan) -> list[Answer]:
    """The rows of a table of predictions, without what a stream knows better."""
    # Not by DataFrame.drop, which waits for the threads of Polars: 11 ms on a busy machine.
    left_out = ("id", "step", "truth", *plan.hidden)
    columns = {one.name: one.to_list() for one in table if one.name not in left_out}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def final(model: Model, place: Place) -> list[Answer]:
    """The answer to the last step of a stream."""
    if model.stepper is not None:
        assert place.output is not None
        return _answers_to(model, place, place.rows, place.output[None])
    size = sum(not row.ahead for row in place.rows)
    ahead = len(place.rows) - size
    if ahead < model.plan.ahead:
        return []
    rows = place.rows[: size + model.plan.ahead]
    (found,) = _answered_anew(model, model.reader.sequences([(place.memory, rows)]))
    return [{"step": place.step, **row} for row in found]


# States that are carried on.


def carried(model: Model, places: list[Place], several: list[list[Row]]) -> list[list[Answer]]:
    """The answers to new rows; `places` are advanced."""
    plan = model.plan
    order = sorted(range(len(places)), key=lambda k: -len(several[k]) - _starts(plan, places[k]))
    inputs = [_inputs(model, places[k], several[k]) for k in order]
    outputs: list[list[Array]] = [[] for _ in places]
    fresh = _first(model)
    states = together([places[k].states or fresh for k in order])
    counts = [len(next(iter(one.values()))) for one in inputs]
    for t in range(counts[0]):
        active = sum(count > t for count in counts)
        states_now = {name: one[:active] for name, one in states.items()}
        for row, k in enumerate(order[:active]):
            if plan.restart and (places[k].step + t) % plan.restart == 0:
                for name, one in fresh.items():
                    states_now[name][row] = one[0]
        x = {name: np.stack([one[name][t] for one in inputs[:active]]) for name in inputs[0]}
        answer = _stepped(model, x, [several[k][t:] for k in order[:active]], states_now)
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


def _stepped(
    model: Model, x: dict[str, Array], rows: Sequence[Sequence[Row]], states: State
) -> Array:
    """The outputs of one more step of each stream, [streams, ...]; `states` are moved on.

    The first of the `rows` of each stream is that step.
    """
    plan, stepper = model.plan, model.stepper
    assert stepper is not None
    if plan.places:
        x = x | {plan.places: np.arange(len(rows))}
    answer: Array = stepper(x if len(x) > 1 else next(iter(x.values())), states)
    if plan.beside is not None:
        features = plan.beside(np.stack([one[0].values for one in rows]), states)
        answer = np.concatenate([answer.reshape(len(answer), -1), features], axis=1)
    return answer


def _starts(plan: Plan, place: Place) -> bool:
    """Whether the network reads something before the next step, which is the first one."""
    return bool(plan.start) and place.output is None


def _first(model: Model) -> State:
    """The states of one stream before its first step."""
    assert model.stepper is not None
    beside = model.plan.beside
    return model.stepper.start() | (beside.start(1) if beside is not None else {})


def _inputs(model: Model, place: Place, rows: list[Row]) -> dict[str, Array]:
    """What the network reads of each step, and before the first one, [steps, ...]."""
    plan, found = model.plan, model.reader.inputs(rows)
    if found is None:
        examples = _examples(model, model.reader.sequences([(place.memory, rows)]))
        longest = int(examples.lengths.max())  # of its pieces, if it is long
        given = examples.inputs(np.arange(len(examples)), longest)
        real = np.arange(longest) < examples.lengths[:, None]
        if plan.inputs is not None:
            found = plan.inputs(given, real)
        else:
            found = {name: one[real] for name, one in given.items()}
    if _starts(plan, place):
        found = {name: np.concatenate([plan.start[name][None], one]) for name, one in found.items()}
    return found


def incomplete(model: Model, memory: Memory) -> list[Row]:
    """The steps of a text that is not complete, as if nothing came after it."""
    text = model.plan.text
    if text is None or not memory.rest:
        return []
    pairs = zip(*text.encode(memory.rest), strict=True)
    return [Row(np.array([token]), text=one) for token, one in pairs]


def _due(model: Model, place: Place, rows: list[Row], outputs: list[Array]) -> list[Answer]:
    """Advance a place; return the answers that are due, given the outputs for each of its rows.

    Before the first step of some networks, `outputs` holds one more.
    """
    plan, every, begin = model.plan, model.plan.every, place.step
    if plan.sayings is not None:
        return _said(model, place, rows, outputs)
    due = [k for k in range(len(rows)) if (begin + k + 1) % every == 0]
    answers: list[Answer] = []
    for first in range(0, len(due), BATCH):
        some = due[first : first + BATCH]
        steps = [begin + k + 1 for k in some]
        answers += _answers_to(
            model, place, [rows[k] for k in some], np.stack([outputs[k] for k in some]), steps
        )
    place.step += len(rows)
    place.answered = place.step // every * every
    place.rows, place.output = rows[-1:], outputs[-1]
    return answers


def _said(model: Model, place: Place, rows: list[Row], outputs: list[Array]) -> list[Answer]:
    """The same where a task words its answers itself."""
    plan, begin = model.plan, place.step
    assert plan.sayings is not None
    if not place.notes:
        place.notes = plan.sayings.begin()
        place.said = dict.fromkeys(plan.sayings.changing, "")
    before = outputs[:-1] if len(outputs) > len(rows) else [place.output, *outputs[:-1]]
    place.step += len(rows)
    place.output = outputs[-1] if outputs else place.output
    if not rows:
        return []
    first = np.zeros_like(outputs[0])
    earlier = np.stack([first if one is None else one for one in before])
    found = plan.sayings.answers(place.notes, earlier, np.stack(outputs[-len(rows) :]), rows)
    answers = []
    for step, answer in enumerate(found, begin + 1):
        new = {name: answer[name] for name in plan.sayings.changing}
        if step % plan.every == 0 and (not new or new != place.said):
            place.said = new
            answers.append({"step": step, **answer})
    return answers


def _answers_to(
    model: Model,
    place: Place,
    rows: list[Row],
    outputs: Array,
    steps: list[int] | None = None,
) -> list[Answer]:
    """The answers for outputs of the network after some steps, [steps, ...]."""
    task, preparation = TASKS[model.plan.preparation.task], model.plan.preparation
    if model.plan.per_step:
        sequences = model.reader.sequences([(place.memory, rows)])
    else:
        # Each answer is to a sequence of its own, of which only the last step is at hand.
        sequences = model.reader.sequences([(place.memory, [row]) for row in rows])
    examples = _examples(model, sequences)
    postprocess = model.plan.postprocess or task.postprocess
    found = postprocess(outputs, examples, preparation, model.artefact.baselines)
    table = task.table(found, examples, preparation, np.arange(len(examples)))
    records = _records(table, model.plan)
    each = len(records) // len(rows)
    steps = steps or [place.step]
    return [{"step": steps[k // each], **record} for k, record in enumerate(records)]
