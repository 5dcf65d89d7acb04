"""Scaling: fitted on the training part, inverted exactly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewise.data.sequences import Array, Sequences

CHUNK = 1 << 20  # steps looked at in one go, so that fitting needs little memory beside the data


@dataclass(frozen=True)
class Scale:
    """scaled = (value - centre) / spread, one row for each known sequence or one row for all."""

    kind: str  # standard, minmax or none
    by: str  # series, column or all
    ids: tuple[str, ...]  # by series: whose rows these are
    centre: Array  # [rows, columns]
    spread: Array  # [rows, columns], never zero

    def rows(self, sequences: Sequences) -> tuple[Array, Array]:
        """Centre and spread of each sequence, [sequences, columns] twice.

        A sequence that training did not know is scaled by its own steps.
        """
        if self.by != "series":
            shape = (len(sequences), self.centre.shape[1])
            return np.broadcast_to(self.centre, shape), np.broadcast_to(self.spread, shape)
        place = {name: row for row, name in enumerate(self.ids)}
        found = np.array([place.get(name, -1) for name in sequences.ids.tolist()])
        centre, spread = self.centre[found], self.spread[found]  # [sequences, columns]
        for k in np.flatnonzero(found < 0):
            whole = sequences.values[sequences.first[k] : sequences.stops[k]]
            centre[k], spread[k] = _fit([whole], self.kind)
        return centre, spread

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; float64 survives the way there and back."""
        return {
            "kind": self.kind,
            "by": self.by,
            "ids": list(self.ids),
            "centre": self.centre.tolist(),
            "spread": self.spread.tolist(),
        }

    @staticmethod
    def from_json(given: Mapping[str, Any]) -> "Scale":
        """What `to_json` wrote."""
        return Scale(
            given["kind"],
            given["by"],
            tuple(given["ids"]),
            np.array(given["centre"], dtype=np.float64),
            np.array(given["spread"], dtype=np.float64),
        )


def fit_scale(train: Sequences, kind: str, by: str) -> Scale:
    """Centre and spread of the training part; empty cells do not count, a spread of 0 becomes 1."""
    if by == "series":
        fitted = [_fit([steps], kind) for steps in train]
        centre, spread = (np.stack(rows) for rows in zip(*fitted, strict=True))
        return Scale(kind, by, tuple(train.ids.tolist()), centre, spread)
    centre, spread = _fit(list(train), kind, together=by == "all")
    return Scale(kind, by, (), centre[None], spread[None])


def _fit(tables: list[Array], kind: str, *, together: bool = False) -> tuple[Array, Array]:
    """Centre and spread over all tables [steps, columns], each [columns]."""
    columns = tables[0].shape[1]
    if kind == "none":
        return np.zeros(columns), np.ones(columns)
    moments = _low_high if kind == "minmax" else _mean_deviation
    centre, spread = moments(_chunks(tables), columns, together)
    unsteady = np.isfinite(spread) & (spread > 0)
    return np.where(np.isfinite(centre), centre, 0.0), np.where(unsteady, spread, 1.0)


def _chunks(tables: list[Array]) -> list[Array]:
    """Pieces of at most CHUNK steps; many short tables are joined, long ones cut (as views)."""
    pieces, gathered, held = [], [], 0
    for table in tables:
        if len(table) >= CHUNK:
            pieces += [table[at : at + CHUNK] for at in range(0, len(table), CHUNK)]
            continue
        gathered.append(table)
        held += len(table)
        if held >= CHUNK:
            pieces.append(np.concatenate(gathered))
            gathered, held = [], 0
    return pieces + ([np.concatenate(gathered)] if gathered else [])


def _mean_deviation(pieces: list[Array], columns: int, together: bool) -> tuple[Array, Array]:
    count, total = np.zeros(columns), np.zeros(columns)
    for piece in pieces:
        count += np.isfinite(piece).sum(axis=0)
        total += np.nansum(piece, axis=0, dtype=np.float64)
    mean = _over(total, count, together)
    squares = np.zeros(columns)
    for piece in pieces:
        squares += np.nansum((piece - mean) ** 2, axis=0, dtype=np.float64)
    deviation = np.sqrt(_over(squares, count, together))
    # A constant column leaves a deviation of rounding size, not of zero.
    return mean, np.where(deviation <= 1e-12 * np.abs(mean), 0.0, deviation)


def _over(total: Array, count: Array, together: bool) -> Array:
    if together:
        total, count = np.full_like(total, total.sum()), np.full_like(count, count.sum())
    return total / np.maximum(count, 1)


def _low_high(pieces: list[Array], columns: int, together: bool) -> tuple[Array, Array]:
    low, high = np.full(columns, np.inf), np.full(columns, -np.inf)
    for piece in pieces:
        low = np.fmin(low, np.fmin.reduce(piece, axis=0))
        high = np.fmax(high, np.fmax.reduce(piece, axis=0))
    if together:
        low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
    with np.errstate(invalid="ignore"):  # inf - inf of a column without a single value
        return low, high - low
