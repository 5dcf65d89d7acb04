"""Series to (past, future), never across series; long sequences to shorter ones.

Windows are positions, not copies: a batch cuts its own when it is asked for.
"""

from dataclasses import dataclass, replace

import numpy as np

from gatewise.data.sequences import Array, Sequences


@dataclass(frozen=True)
class Windows:
    """Every origin from which a forecast can be asked and checked.

    The past of window `w` is the `lookback` steps before its origin, its future the `horizon` steps
    from it. The future lies within the part; the past may reach back to where the whole sequence
    begins.
    """

    sequences: Sequences
    lookback: int
    horizon: int
    stride: int
    origins: Array  # [sequences] the first origin of each
    ends: Array  # [sequences] windows up to and with this sequence

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def places(self, which: Array) -> tuple[Array, Array]:
        """The sequence and the origin (a position in `sequences.values`) of each window."""
        sequence = np.searchsorted(self.ends, which, side="right")
        before = np.where(sequence > 0, self.ends[sequence - 1], 0)
        return sequence, self.origins[sequence] + self.stride * (which - before)

    def steps(self, which: Array, start: int, stop: int) -> Array:
        """Positions of the steps `start..stop` from each origin, [windows, stop - start]."""
        _, origins = self.places(which)
        positions: Array = origins[:, None] + np.arange(start, stop)
        return positions


def windows(sequences: Sequences, lookback: int, horizon: int, stride: int = 1) -> Windows:
    """All windows of a part, in order of sequence and time.

    >>> from gatewise.data.sequences import from_arrays
    >>> len(windows(from_arrays([np.zeros(10), np.zeros(4)]), lookback=3, horizon=2))
    6
    """
    origins = np.maximum(sequences.starts, sequences.first + lookback)
    counts = np.maximum(0, (sequences.stops - horizon - origins) // stride + 1)
    return Windows(sequences, lookback, horizon, stride, origins, np.cumsum(counts))


def cut(sequences: Sequences, window: int, stride: int) -> Sequences:
    """Each sequence as overlapping pieces of `window` steps; shorter sequences stay whole.

    What is left behind the last full piece of a sequence is dropped. Pieces are named `id@first
    step`.
    """
    lengths = sequences.lengths
    counts = np.maximum(1, (lengths - window) // stride + 1)
    which = np.repeat(np.arange(len(sequences)), counts)
    number = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = sequences.starts[which] + number * stride
    stops = np.minimum(starts + window, sequences.stops[which])
    pieces = sequences.chosen(which)
    names = np.char.add(np.char.add(pieces.ids.astype(str), "@"), (number * stride).astype(str))
    return replace(pieces, starts=starts, stops=stops, ids=names)
