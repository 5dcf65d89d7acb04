"""Scaling: fitted on the training part, and inverted exactly."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewise.data.sequences import Array, Sequences
from gatewise.errors import DataError

CHUNK = 1 << 21  # cells per chunk, so that fitting needs little memory beside the data
FINEST = 1e-3  # share of a column's deviation; smaller movements count as stillness
FARTHEST = 1e18  # spreads; a network of float32 cannot handle values farther off
ROUNDING = 1e-12  # a column that varies by less than this share of its size is constant


@dataclass(frozen=True)
class Scale:
    """scaled = (value - centre) / spread, with one row for each known sequence, or one for all."""

    kind: str  # standard, minmax, level or none
    by: str  # series, column or all
    ids: tuple[str, ...]  # by series: the id of each row
    centre: Array  # [rows, columns]
    spread: Array  # [rows, columns], never zero

    def rows(self, sequences: Sequences, until: Array | None = None) -> tuple[Array, Array]:
        """Centre and spread of each sequence, [sequences, columns] twice.

        A sequence that is not in the training part is scaled by its own steps: by all of them, or
        by those before `until` [sequences] if the later ones are to be forecast.
        """
        if self.by != "series":
            shape = (len(sequences), self.centre.shape[1])
            return np.broadcast_to(self.centre, shape), np.broadcast_to(self.spread, shape)
        row_of = {name: row for row, name in enumerate(self.ids)}
        rows = np.array([row_of.get(name, -1) for name in sequences.ids.tolist()], dtype=np.int64)
        centre, spread = self.centre[rows], self.spread[rows]  # [sequences, columns]
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            stops = sequences.stops if until is None else until
            own = sequences.between(sequences.first, stops).chosen(unknown)
            centre[unknown], spread[unknown] = _fit(own, np.arange(len(unknown)), self.kind)
        return centre, spread

    def to_json(self) -> dict[str, Any]:
        """The scale as plain numbers; float64 survives the round trip."""
        return {
            "kind": self.kind,
            "by": self.by,
            "ids": list(self.ids),
            "centre": self.centre.tolist(),
            "spread": self.spread.tolist(),
        }

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "Scale":
        """The scale that `to_json` wrote.

        Raises:
            ValueError: centre and spread are not [rows, columns], or a number is not finite or a
                spread not positive.
        """
        centre, spread = (np.array(content[key], dtype=np.float64) for key in ("centre", "spread"))
        if centre.ndim != 2 or centre.shape != spread.shape:
            raise ValueError(f"the scale has shapes {centre.shape} and {spread.shape}")
        if not (np.isfinite(centre).all() and np.isfinite(spread).all() and (spread > 0).all()):
            raise ValueError("the scale has a centre or a spread that no column has")
        ids = content["ids"]
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            raise ValueError("the ids of the scale are not a list of texts")
        return Scale(content["kind"], content["by"], tuple(ids), centre, spread)


def fit_scale(train: Sequences, kind: str, by: str) -> Scale:
    """Fit centre and spread on the training part, ignoring empty cells; a spread of 0 becomes 1."""
    if by == "series":
        centre, spread = _fit(train, np.arange(len(train)), kind)
        return Scale(kind, by, tuple(train.ids.tolist()), centre, spread)
    one_row = np.zeros(len(train), dtype=np.int64)
    return Scale(kind, by, (), *_fit(train, one_row, kind, together=by == "all"))


def refuse_far(sequences: Sequences, centre: Array, spread: Array, columns: Array) -> None:
    """Refuse scaled values that are too large for float32; `centre` and `spread` are from `rows`.

    Raises:
        DataError: a value is too large; the message names its column.
    """
    if sequences.values.dtype.kind != "f":
        return
    for indices, begins, steps in _chunks(sequences.between(sequences.first, sequences.stops)):
        away = np.abs(steps - _of_each_step(centre[indices], begins, len(steps)))
        most = np.fmax.reduceat(away, begins)[:, columns]
        far = np.argwhere(most > FARTHEST * spread[indices][:, columns])
        if len(far):
            piece, place = far[0]
            k, column = indices[piece], columns[place]
            raise DataError(
                f"{sequences.source}: column '{sequences.columns[column]}' holds a value of about "
                f"{most[piece, place]:.1g} in sequence '{sequences.ids[k]}', but training had "
                f"values around {centre[k, column]:.3g}. Give values of the size seen in training, "
                "in the same unit."
            )


def _fit(
    sequences: Sequences, rows: Array, kind: str, *, together: bool = False
) -> tuple[Array, Array]:
    """Centre and spread [rows, columns]; sequence k counts towards row `rows[k]`.

    `together` shares one centre and one spread among all columns.
    """
    shape = (int(rows.max()) + 1, sequences.values.shape[1])
    if kind == "none":
        return np.zeros(shape), np.ones(shape)
    if kind == "level":
        return np.zeros(shape), _level(sequences, rows, shape, together=together)
    low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
    for indices, begins, steps in _chunks(sequences):
        np.fmin.at(low, rows[indices], np.fmin.reduceat(steps, begins))
        np.fmax.at(high, rows[indices], np.fmax.reduceat(steps, begins))
    if together:
        low[:], high[:] = low.min(), high.max()
    empty = low > high
    low[empty] = high[empty] = 0.0
    centre, spread = low, high - low
    if kind == "standard":
        centre, spread = _mean_deviation(sequences, rows, low, together=together)
    steady = (high - low) <= ROUNDING * np.maximum(np.abs(low), np.abs(high))
    return centre, np.where(steady | (spread == 0), 1.0, spread)


def _level(sequences: Sequences, rows: Array, shape: tuple[int, int], *, together: bool) -> Array:
    """The mean absolute value, [rows, columns]; 1 where it is 0."""
    total, count = np.zeros(shape), np.zeros(shape)
    for indices, begins, steps in _chunks(sequences):
        sizes = np.nan_to_num(np.abs(steps))
        np.add.at(total, rows[indices], np.add.reduceat(sizes, begins))
        np.add.at(count, rows[indices], np.add.reduceat(~np.isnan(steps), begins, dtype=np.float64))
    if together:
        total[:], count[:] = total.sum(), count.sum()
    level: Array = total / np.maximum(count, 1)
    return np.where(level == 0, 1.0, level)


def _mean_deviation(
    sequences: Sequences, rows: Array, low: Array, *, together: bool
) -> tuple[Array, Array]:
    """Mean and deviation [rows, columns], summed relative to `low` to keep precision."""
    total, count = np.zeros(low.shape), np.zeros(low.shape)
    for indices, begins, steps in _chunks(sequences):
        above = steps - _of_each_step(low[rows[indices]], begins, len(steps))
        np.add.at(total, rows[indices], np.add.reduceat(np.nan_to_num(above), begins))
        np.add.at(count, rows[indices], np.add.reduceat(~np.isnan(steps), begins, dtype=np.float64))
    if together:
        total[:], count[:] = total.sum(), count.sum()
    count = np.maximum(count, 1)
    mean = low + total / count
    squares = np.zeros(low.shape)
    for indices, begins, steps in _chunks(sequences):
        away = np.nan_to_num(steps - _of_each_step(mean[rows[indices]], begins, len(steps)))
        np.add.at(squares, rows[indices], np.add.reduceat(away * away, begins))
    if together:
        squares[:] = squares.sum()
    return mean, np.sqrt(squares / count)


def _of_each_step(pieces: Array, begins: Array, count: int) -> Array:
    """Repeat the row of each piece [pieces, columns] for each of its steps [steps, columns]."""
    return np.repeat(pieces, np.diff(begins, append=count), axis=0) if len(begins) > 1 else pieces


def _chunks(sequences: Sequences) -> Iterator[tuple[Array, Array, Array]]:
    """Yield all steps in turn, about CHUNK cells at a time: (indices, begins, steps).

    `steps` [steps, columns] are float64, with NaN for anything that is not finite. Piece p begins
    at `begins[p]` and belongs to sequence `indices[p]`.
    """
    most = max(1, CHUNK // sequences.values.shape[1])
    counts = -(-sequences.lengths // most)
    indices = np.repeat(np.arange(len(sequences)), counts)
    number = np.arange(len(indices)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = sequences.starts[indices] + number * most
    sizes = np.minimum(most, sequences.stops[indices] - starts)
    chunk = (np.cumsum(sizes) - 1) // most
    for begin, end in _runs(chunk):
        size = sizes[begin:end]
        begins = np.cumsum(size) - size
        positions = np.arange(size.sum()) + np.repeat(starts[begin:end] - begins, size)
        steps = sequences.values[positions].astype(np.float64)
        steps[~np.isfinite(steps)] = np.nan
        yield indices[begin:end], begins, steps


def _runs(numbers: Array) -> Iterator[tuple[int, int]]:
    """Yield the bounds of each run of equal numbers."""
    edges = np.flatnonzero(np.diff(numbers, prepend=-1, append=-1))
    yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
