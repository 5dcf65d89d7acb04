"""Copies of series with planted anomalies, to judge a detector where none is labelled.

Sizes are in spreads of a column in training. The places depend on nothing but the data, so
they are the same for each method.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences
from gatewise.errors import DataError
from gatewise.tasks.detect.fitted import Fitted

SPIKE, SHIFT, NOISE = 3.0, 1.0, 1.0  # spreads
LENGTH = 12  # steps of an anomaly other than a spike
MOST_STEPS = 20_000  # of the series that are copied
MOST_EVENTS = 40  # of each kind in a series
SEED = 0

# (steps of a column, where the anomaly begins and ends, spread, random) -> its steps
Plant = Callable[[Array, int, int, float, np.random.Generator], Array]


@dataclass(frozen=True)
class Planted:
    """Sequences, and after them copies with anomalies."""

    sequences: Sequences
    names: Array  # [sequences] str: the kind of anomaly in a copy; "": an original


def _spike(steps: Array, begin: int, end: int, spread: float, random: np.random.Generator) -> Array:
    sign = random.choice([-1.0, 1.0])
    return np.asarray(steps[begin:end] + sign * SPIKE * spread)


def _shift(steps: Array, begin: int, end: int, spread: float, random: np.random.Generator) -> Array:
    sign = random.choice([-1.0, 1.0])
    return np.asarray(steps[begin:end] + sign * SHIFT * spread)


def _frozen(
    steps: Array, begin: int, end: int, _spread: float, _random: np.random.Generator
) -> Array:
    return np.full(end - begin, steps[begin - 1])


def _noise(steps: Array, begin: int, end: int, spread: float, random: np.random.Generator) -> Array:
    return np.asarray(steps[begin:end] + random.normal(0, NOISE * spread, end - begin))


def _moved(season: int) -> Plant:
    """The steps of half a season before."""

    def plant(
        steps: Array, begin: int, end: int, _spread: float, _random: np.random.Generator
    ) -> Array:
        back = season // 2
        return np.asarray(steps[begin - back : end - back])

    return plant


def plants(season: int) -> dict[str, tuple[Plant, int, int]]:
    """What is planted, its length in steps, and the steps that it reads before it."""
    found: dict[str, tuple[Plant, int, int]] = {
        "spikes": (_spike, 1, 0),
        "level shifts": (_shift, LENGTH, 0),
        "frozen values": (_frozen, LENGTH, 1),
        "noise": (_noise, LENGTH, 0),
    }
    if season > 1:
        length = min(LENGTH, season // 2)
        found["moved season"] = (_moved(season), length, season // 2 + length)
    return found


def planted(sequences: Sequences, preparation: Preparation[Fitted]) -> Planted:
    """The sequences, and copies with planted anomalies if none is marked.

    The steps after an anomaly, whose lookback holds a part of it, are neither normal nor anomalous.

    Raises:
        DataError: no anomaly fits into a series.
    """
    alone = Planted(sequences, np.full(len(sequences), "", dtype="<U20"))
    if _has_marked(sequences):
        return alone
    copied = np.flatnonzero(np.cumsum(sequences.lengths) - sequences.lengths < MOST_STEPS)
    columns = preparation.positions(preparation.used)
    _, spread = preparation.scale.rows(sequences)
    made = [
        one
        for name, plant in plants(preparation.own.season).items()
        for k in copied
        if (one := _copy(sequences, int(k), (name, *plant), columns, spread[k], preparation.own))
    ]
    if not made:
        raise DataError(
            f"{sequences.source}: the test part has no marked anomaly, and with "
            f"{int(sequences.lengths.max())} steps it is too short to plant one before a lookback "
            f"of {preparation.own.lookback} (task.lookback). Give labels (data.label), more data "
            "or a smaller --lookback; or set split.test = 0, which judges nothing."
        )
    return _joined(alone, made)


def _has_marked(sequences: Sequences) -> bool:
    if sequences.marks is None:
        return False
    pairs = zip(sequences.starts, sequences.stops, strict=True)
    return any((sequences.marks[a:b] == 1).any() for a, b in pairs)


@dataclass(frozen=True)
class _Copy:
    """A copy of the last steps of a sequence; positions count from their first."""

    of: int  # the sequence
    name: str
    values: Array  # [steps, columns]
    marks: Array  # [steps]
    begin: int  # the position of the first step in the data
    start: int  # where the part begins in the copy


def _copy(
    sequences: Sequences,
    k: int,
    plant: tuple[str, Plant, int, int],
    columns: Array,
    spread: Array,
    own: Fitted,
) -> _Copy | None:
    """A copy of sequence `k` with anomalies of a kind; None if none fits."""
    name, change, length, before = plant
    stop = int(sequences.stops[k])
    begin = max(int(sequences.first[k]), int(sequences.starts[k]) - max(own.lookback, own.season))
    stop = min(stop, int(sequences.starts[k]) + MOST_STEPS)
    values = sequences.values[begin:stop].astype(np.float64)
    start = max(int(sequences.starts[k]) - begin, own.lookback)
    slot = 2 * length + own.lookback  # so that normal steps lie between two anomalies
    first = max(start, before)
    count = min(MOST_EVENTS, (len(values) - first) // slot)
    if count < 1:
        return None
    random = np.random.default_rng([SEED, k])
    marks = np.zeros(len(values))
    if sequences.marks is not None:
        marks = sequences.marks[begin:stop].copy()
    width = (len(values) - first) // count
    clean = values.copy()
    for number in range(count):
        at = first + number * width + int(random.integers(0, width - length - own.lookback + 1))
        column = int(random.choice(columns))
        changed = change(clean[:, column], at, at + length, float(spread[column]), random)
        values[at : at + length, column] = changed
        marks[at : at + length] = 1
        after = slice(at + length, at + length + own.lookback)
        marks[after] = np.nan
    return _Copy(k, name, values, marks, begin, start)


def _joined(alone: Planted, copies: list[_Copy]) -> Planted:
    """The originals with unknown marks, and the copies after them."""
    sequences = alone.sequences
    sizes = np.array([len(one.values) for one in copies])
    first = len(sequences.values) + np.cumsum(sizes) - sizes
    rows = np.concatenate([np.arange(one.begin, one.begin + len(one.values)) for one in copies])
    of = np.concatenate([np.arange(len(sequences)), [one.of for one in copies]]).astype(np.int64)
    unknown = np.full(len(sequences.values), np.nan)
    every = sequences.chosen(of)
    starts = first + np.array([one.start for one in copies])

    def extended(array: Array | None) -> Array | None:
        return None if array is None else np.concatenate([array, array[rows]])

    return Planted(
        replace(
            every,
            values=np.concatenate([sequences.values, *(one.values for one in copies)]),
            times=extended(sequences.times),
            filled=extended(sequences.filled),
            marks=np.concatenate([unknown, *(one.marks for one in copies)]),
            starts=np.concatenate([sequences.starts, starts]),
            stops=np.concatenate([sequences.stops, first + sizes]),
            first=np.concatenate([sequences.first, first]),
        ),
        np.concatenate([alone.names, np.array([one.name for one in copies], dtype="<U20")]),
    )
