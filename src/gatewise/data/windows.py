"""Cut series into windows of (past, future), and long sequences into shorter pieces.

No window crosses series. Windows are positions, not copies: a batch is cut on access.
"""

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from gatewise.data.sequences import Array, Sequences


@dataclass(frozen=True)
class Windows:
    """All origins from which a forecast can be made and scored.

    The past of a window is the `lookback` steps before its origin. Its future is the `horizon`
    steps from the origin on. The future lies within the part; the past may reach back to the
    beginning of the whole sequence.
    """

    sequences: Sequences
    lookback: int
    horizon: int
    stride: int
    origins: Array  # [sequences] the first origin of each sequence
    ends: Array  # [sequences] cumulative number of windows, this sequence included

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def places(self, indices: Array) -> tuple[Array, Array]:
        """The sequence and the origin (a position in `sequences.values`) of each window."""
        sequence = np.searchsorted(self.ends, indices, side="right")
        before = np.where(sequence > 0, self.ends[sequence - 1], 0)
        return sequence, self.origins[sequence] + self.stride * (indices - before)

    def steps(self, indices: Array, start: int, stop: int) -> Array:
        """Positions of the steps `start` to `stop` after each origin, [windows, stop - start]."""
        _, origins = self.places(indices)
        positions: Array = origins[:, None] + np.arange(start, stop)
        return positions


def windows(sequences: Sequences, lookback: int, horizon: int, stride: int = 1) -> Windows:
    """All windows of a part, ordered by sequence and time.

    >>> from gatewise.data.sequences import from_arrays
    >>> len(windows(from_arrays([np.zeros(10), np.zeros(4)]), lookback=3, horizon=2))
    6
    """
    origins = np.maximum(sequences.starts, sequences.first + lookback)
    counts = np.maximum(0, (sequences.stops - horizon - origins) // stride + 1)
    return Windows(sequences, lookback, horizon, stride, origins, np.cumsum(counts))


def phased(stride: int, season: int) -> int:
    """The smallest stride from this one on with which windows begin in each step of a season.

    It has no factor in common with the season.

    >>> phased(4, season=24), phased(4, season=7), phased(4, season=1)
    (5, 4, 4)
    """
    return next(one for one in itertools.count(stride) if math.gcd(one, max(season, 1)) == 1)


def in_pieces(sequences: Sequences, length: int) -> Sequences:
    """Cut sequences of more than `length` steps into consecutive pieces of at most as many."""
    indices, number = _numbered(np.maximum(1, -(-sequences.lengths // length)))
    pieces = sequences.chosen(indices)
    starts = pieces.starts + number * length
    return pieces.between(starts, np.minimum(starts + length, pieces.stops))


def _numbered(counts: Array) -> tuple[Array, Array]:
    """The sequence of each piece, and the number of the piece within it, for `counts` of pieces.

    >>> [found.tolist() for found in _numbered(np.array([2, 1, 3]))]
    [[0, 0, 1, 2, 2, 2], [0, 1, 0, 0, 1, 2]]
    """
    indices = np.repeat(np.arange(len(counts)), counts)
    return indices, np.arange(len(indices)) - np.repeat(np.cumsum(counts) - counts, counts)


def cut(sequences: Sequences, window: int, stride: int) -> Sequences:
    """Cut each sequence into overlapping pieces of `window` steps; shorter sequences stay whole.

    Steps after the last full piece of a sequence are dropped. The id of a piece is `id@first step`.
    """
    lengths = sequences.lengths
    counts = np.maximum(1, (lengths - window) // stride + 1)
    indices, number = _numbered(counts)
    starts = sequences.starts[indices] + number * stride
    stops = np.minimum(starts + window, sequences.stops[indices])
    pieces = sequences.chosen(indices)
    names = np.char.add(np.char.add(pieces.ids.astype(str), "@"), (number * stride).astype(str))
    return replace(pieces, starts=starts, stops=stops, ids=names)


@dataclass(frozen=True)
class Stretches:
    """Consecutive stretches of sequences, each with the steps before it that are read as well."""

    read: Sequences
    scored: Sequences  # the last steps of each of them

    @property
    def before(self) -> Array:
        """The number of steps that are read before each stretch, [stretches]."""
        ahead: Array = self.scored.starts - self.read.starts
        return ahead


def stretches(sequences: Sequences, window: int, stride: int) -> Stretches:
    """Cut sequences into stretches of `stride` steps; a stretch and its past are `window` steps.

    Every step is in one stretch. The past may reach back to the beginning of the whole sequence.
    With `window=0`, each sequence is one stretch, read from its beginning.
    """
    if not window:
        return Stretches(sequences.between(sequences.first, sequences.stops), sequences)
    counts = -(-sequences.lengths // stride)
    indices, number = _numbered(counts)
    pieces = sequences.chosen(indices)
    starts = pieces.starts + number * stride
    stops = np.minimum(starts + stride, pieces.stops)
    begins = np.maximum(starts - (window - stride), pieces.first)
    return Stretches(pieces.between(begins, stops), pieces.between(starts, stops))
