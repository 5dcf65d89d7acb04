"""The examples of `detect`: each step with the lookback before it."""

import logging
from dataclasses import dataclass, replace

import numpy as np

from gatewise.data.batches import Examples, Shapes
from gatewise.data.calendar import calendar_features
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import refuse_far
from gatewise.data.sequences import Array, Sequences
from gatewise.errors import DataError
from gatewise.settings import Experiment
from gatewise.tasks.detect.fitted import Fitted
from gatewise.tasks.detect.planting import Planted, planted
from gatewise.tasks.detect.scoring import MIN_CALIBRATION

log = logging.getLogger("gatewise")

MOST_WINDOWS = 50_000  # training steps that are predicted in each epoch; more are thinned evenly


@dataclass(frozen=True)
class Scored:
    """The steps of sequences that are scored, each from the `lookback` steps before it.

    The past of a step may reach back to the beginning of its whole sequence.
    """

    sequences: Sequences
    lookback: int
    steps: Array  # [steps] positions in `sequences.values`
    places: Array  # [steps] the sequence of each
    planted: Array  # [sequences] str: what was planted into a copy of a sequence; "": the original

    @property
    def truth(self) -> Array:
        """Whether each step is an anomaly: 1, 0, or NaN if it is unknown, [steps]."""
        marks = self.sequences.marks
        return np.full(len(self.steps), np.nan) if marks is None else marks[self.steps]

    @property
    def original(self) -> Array:
        """The indices of the steps of the data themselves, without copies."""
        return np.flatnonzero(self.planted[self.places] == "")


def examples(
    sequences: Sequences, preparation: Preparation[Fitted], experiment: Experiment, role: str
) -> Examples[Scored]:
    """Inputs `steps` [n, lookback, columns + calendar], and targets [n, distances, columns].

    The calendar of each row is that of the step after it, so the last row holds the calendar
    of the step to predict. Marked anomalies are not examples of training and calibration.

    Raises:
        DataError: no step can be scored.
    """
    _refuse_unknown(sequences, preparation)
    copies = Planted(sequences, np.full(len(sequences), ""))
    if role == "test":
        _refuse_one_class(sequences, preparation.own.lookback)
        copies = planted(sequences, preparation)
    source = _scored(copies, preparation, normal=role in ("train", "validation"))
    if role == "train":
        source = _trained(source, experiment)
    if role == "validation" and (count := len(source.steps)) < MIN_CALIBRATION:
        raise DataError(
            f"{sequences.source}: the validation part has {count} normal step{'s'[: count != 1]} "
            f"after a lookback of {source.lookback}, but the threshold needs {MIN_CALIBRATION}. "
            "Give more data, or a larger split.validation."
        )
    if role == "validation":
        _warn_of_few(len(source.steps), preparation.own.false_alarms)
    return of_steps(source, preparation)


def of_steps(source: Scored, preparation: Preparation[Fitted]) -> Examples[Scored]:
    """The examples for these steps."""
    sequences, calendar = source.sequences, preparation.own.calendar
    if calendar and sequences.times is None:
        raise DataError(
            f"{sequences.source} has no times, but the network reads {', '.join(calendar)} from "
            "them. Give a table with a column of times."
        )
    columns = preparation.positions(preparation.used)
    centre, spread = preparation.scale.rows(sequences)
    refuse_far(sequences, centre, spread, columns)
    back = np.arange(-source.lookback, 0)

    def inputs(indices: Array, _length: int) -> dict[str, Array]:
        steps = source.steps[indices][:, None] + back  # [n, lookback]
        parts = [scaled(source, preparation, indices, steps)]
        if calendar and sequences.times is not None:
            parts.append(calendar_features(sequences.times[steps + 1], calendar))
        return {"steps": np.concatenate(parts, axis=-1).astype(np.float32)}

    def targets(indices: Array, _length: int = 0) -> Array:
        truth = values(source, preparation, indices).astype(np.float32)
        return np.repeat(truth[:, None], preparation.own.distances, axis=1)

    lengths = np.broadcast_to(source.lookback, len(source.steps))
    return Examples(source, lengths, inputs, targets)


def distances(count: int) -> tuple[int, ...]:
    """How many steps ahead each of `count` predictions of a step is made.

    >>> distances(4)
    (1, 2, 4, 8)
    """
    return tuple(2**k for k in range(count))


def values(source: Scored, preparation: Preparation[Fitted], indices: Array | None = None) -> Array:
    """The scaled values of the scored steps, [n, columns]."""
    indices = np.arange(len(source.steps)) if indices is None else indices
    return scaled(source, preparation, indices, source.steps[indices][:, None])[:, 0]


def scaled(source: Scored, preparation: Preparation[Fitted], indices: Array, steps: Array) -> Array:
    """The scaled values of steps [n, k] of the sequences of these examples, [n, k, columns]."""
    centre, spread = scale_of(source, preparation, indices)
    columns = preparation.positions(preparation.used)
    cells = source.sequences.values[steps[..., None], columns]
    found: Array = (cells - centre[:, None]) / spread[:, None]
    return found


def scale_of(
    source: Scored, preparation: Preparation[Fitted], indices: Array
) -> tuple[Array, Array]:
    """Centre and spread of the columns of these examples, [n, columns] each."""
    columns = preparation.positions(preparation.used)
    centre, spread = preparation.scale.rows(source.sequences)
    places = source.places[indices]
    return centre[places][:, columns], spread[places][:, columns]


def _scored(copies: Planted, preparation: Preparation[Fitted], *, normal: bool) -> Scored:
    """The steps of sequences that have a whole lookback; values that were filled in are left out.

    `normal` leaves out marked anomalies as well.
    """
    sequences, lookback = copies.sequences, preparation.own.lookback
    first = np.maximum(sequences.starts, sequences.first + lookback)
    counts = np.maximum(0, sequences.stops - first)
    places = np.repeat(np.arange(len(sequences)), counts)
    within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    steps = first[places] + within
    kept = np.ones(len(steps), dtype=bool)
    if sequences.filled is not None:
        columns = preparation.positions(preparation.used)
        kept &= ~sequences.filled[steps][:, columns].any(axis=1)
    if normal and sequences.marks is not None:
        kept &= sequences.marks[steps] != 1
    return Scored(sequences, lookback, steps[kept], places[kept], copies.names)


def _trained(source: Scored, experiment: Experiment) -> Scored:
    """The steps that training predicts."""
    count, sequences = len(source.steps), source.sequences
    if not count:
        marked = sequences.marks is not None and bool((sequences.marks == 1).any())
        reason = " that is not a marked anomaly" if marked else ""
        raise DataError(
            f"{sequences.source}: the training part has no step{reason} with "
            f"{experiment.task.lookback} steps (task.lookback) before it. Give more data, or a "
            "smaller --lookback."
        )
    if count <= MOST_WINDOWS:
        return source
    kept = np.unique(np.linspace(0, count - 1, MOST_WINDOWS).astype(np.int64))
    return replace(source, steps=source.steps[kept], places=source.places[kept])


def _warn_of_few(count: int, rate: float) -> None:
    """A sentence if the validation part is too small for the rate of false alarms."""
    if rate * (count + 1) < 1:
        log.info(
            "The validation part has %d normal steps, too few for task.false_alarms = %g: the "
            "threshold is their highest score, which about 1 normal step in %d exceeds. Give %d "
            "steps or more, or a higher rate.",
            *(count, rate, count + 1, int(np.ceil(1 / rate)) - 1),
        )


def _refuse_unknown(sequences: Sequences, preparation: Preparation[Fitted]) -> None:
    """Refuse a series that training did not have, if each series has a scale of its own."""
    if preparation.scale.by != "series":
        return
    unknown = [str(name) for name in sequences.ids.tolist() if name not in preparation.scale.ids]
    if unknown:
        raise DataError(
            f"{sequences.source}: the series {unknown[0]!r} is not in the training part, so "
            "its values have no scale. Train with it, or with preparation.scale_by = column, "
            "which gives all series one scale."
        )


def _refuse_one_class(sequences: Sequences, lookback: int) -> None:
    """Refuse a test part of which each step is a marked anomaly."""
    if sequences.marks is None:
        return
    starts = np.maximum(sequences.starts, sequences.first + lookback)
    parts = [sequences.marks[a:b] for a, b in zip(starts, sequences.stops, strict=True)]
    known = np.concatenate(parts)
    known = known[np.isfinite(known)]
    if len(known) and known.all():
        raise DataError(
            f"{sequences.source}: each labelled step of the test part is an anomaly, so "
            "false alarms cannot be counted. Label normal steps with 0 or no, or change "
            "split.test."
        )


def sizes(examples: Examples[Scored]) -> dict[str, int]:
    """The number of series, of their scored steps, and of the marked ones; copies are left out."""
    source = examples.source
    original = source.original
    found = {
        "sequences": int((source.planted == "").sum()),
        "steps": len(original),
    }
    if marked := int((source.truth[original] == 1).sum()):
        found["marked steps"] = marked
    return found


def shapes(_examples: Examples[Scored], preparation: Preparation[Fitted]) -> Shapes:
    """The shapes of input and output."""
    return fitted_shapes(preparation)


def fitted_shapes(preparation: Preparation[Fitted]) -> Shapes:
    """The shapes that the preparation implies."""
    own, columns = preparation.own, len(preparation.positions(preparation.used))
    yardstick, errors = own.yardstick, own.distances * columns
    if yardstick.centre and (
        len(yardstick.centre) != errors
        or len(yardstick.whitening) != errors
        or any(len(row) != errors for row in yardstick.whitening)
    ):
        raise ValueError("own.yardstick has other columns than the preparation")
    if list(yardstick.scores) != sorted(yardstick.scores):
        raise ValueError("own.yardstick.scores are not in order")
    moment = np.zeros(1, dtype="datetime64[us]")
    calendar = calendar_features(moment, own.calendar).shape[-1] if own.calendar else 0
    return Shapes(
        inputs={"steps": (own.lookback, columns + calendar)}, output=(own.distances, columns)
    )
