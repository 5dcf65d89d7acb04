"""Stretches of the test part, before each of which a backtest trains again."""

import numpy as np

from gatewise.data.batches import Examples
from gatewise.data.sequences import Array, Sequences
from gatewise.data.windows import Windows


def stretch(
    whole: Examples[Windows], begin: int, end: int, *, count: int
) -> tuple[Sequences, Array]:
    """Stretches `begin` to `end` of `count` equal ones of the test part, and their examples.

    A window belongs to the stretch of its origin. The part is such that its windows, at the stride
    of the whole, are the windows at the returned positions in the whole.
    """
    cut = whole.source
    each = np.diff(cut.ends, prepend=0)  # [sequences] windows
    first, last = each * begin // count, each * end // count
    starts = cut.origins + cut.stride * first
    stops = np.where(last > first, cut.origins + cut.stride * (last - 1) + cut.horizon, starts)
    before = cut.ends - each
    bounds = zip(before + first, before + last, strict=True)
    return (
        cut.sequences.between(starts, stops),
        np.concatenate([np.arange(low, high) for low, high in bounds]),
    )
