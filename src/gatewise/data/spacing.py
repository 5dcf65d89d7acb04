"""How far apart the steps are: what a run knows of it, and what new data must keep to."""

import numpy as np

from gatewise.data import grids
from gatewise.data.sequences import Array, Sequences
from gatewise.errors import DataError

CLEAR = 0.5  # a step that fewer of the differences have is not the spacing of a sequence
REGULAR = 0.9  # in training: days without sales are gaps, and no spacing of their own
MONTHS = {"mo": 1, "y": 12}


def refuse_other_spacing(sequences: Sequences, step: str) -> None:
    """New data lie as far apart as the steps of training, where both are known.

    A sequence passes where no other step is more common in it than that of training: weekends left
    out, a day of 23 hours or a month of 28 days are no other spacing.

    Raises:
        DataError: the steps of a sequence are clearly of another size.
    """
    if sequences.times is None or not step or sequences.step == step:
        return
    for k in range(len(sequences)):
        own = own_grid(sequences, k)
        if own is None or same(own.step, step):
            continue
        moments = sequences.times[sequences.starts[k] : sequences.stops[k]]
        if own.share >= CLEAR and _share(moments, step) < own.share:
            where = f" in sequence '{sequences.ids[k]}'" if len(sequences) > 1 else ""
            raise DataError(
                f"{sequences.source}: the steps{where} are {step_text(own.step)} apart, and the "
                f"run was trained on steps of {step_text(step)}. Resample the data to steps of "
                f"{step_text(step)}, or train a run on steps of {step_text(own.step)}."
            )


def others(sequences: Sequences, grid: grids.Grid) -> dict[int, str]:
    """The sequences that are regular, but at steps of another size than the grid's: that size."""
    counts = sequences.lengths - 1
    hits = np.zeros(len(sequences), dtype=np.int64)
    for at, ahead in grids.differences(grid.positions, sequences.starts):
        which = np.searchsorted(sequences.starts, at, side="right") - 1
        np.add.at(hits, which, ahead == grid.unit)
    found = {}
    for k in np.flatnonzero((counts > 2) & (hits < CLEAR * counts)).tolist():
        own = own_grid(sequences, k)
        if own is not None and own.share >= REGULAR and not same(own.step, grid.step):
            found[k] = own.step
    return found


def clear_step(moments: Array) -> str:
    """The step between most of the times of one sequence; "" where they have none."""
    grid = grids.grid(moments, np.zeros(1, dtype=np.int64))
    return grid.step if grid is not None and grid.share >= CLEAR else ""


def own_grid(sequences: Sequences, k: int) -> grids.Grid | None:
    """The grid of one sequence alone; None where it has a single step."""
    assert sequences.times is not None
    moments = sequences.times[sequences.starts[k] : sequences.stops[k]]
    return grids.grid(moments, np.zeros(1, dtype=np.int64))


def same(one: str, other: str) -> bool:
    """Whether two steps are of one size; those of numbers with a fraction are known roughly.

    >>> same("0.0167", "0.0166667"), same("1i", "1"), same("1d", "7d"), same("1d", "1i")
    (True, True, False, False)
    """
    if one == other or (one.endswith("i") and other.endswith("i")):
        return one == other
    try:
        sizes = sorted(float(step.removesuffix("i")) for step in (one, other))
    except ValueError:
        return False
    return sizes[1] - sizes[0] <= grids.SLACK * sizes[0]


def _share(moments: Array, step: str) -> float:
    """The share of the differences between these times that are one such step."""
    unit = step.lstrip("0123456789.")
    if moments.dtype.kind != "M" or unit in ("", "i"):
        return 0.0  # of numbers, steps are told apart by their size alone
    count = int(step.removesuffix(unit))
    if unit in MONTHS:
        ahead = np.diff(moments.astype("M8[M]").astype(np.int64))
        return float((ahead == count * MONTHS[unit]).mean())
    ahead = np.diff(moments.astype("M8[us]").astype(np.int64))
    return float((ahead == count * (grids.UNITS | {"us": 1})[unit]).mean())


def step_text(step: str) -> str:
    """A step as messages write it: "1h", and of whole numbers "5"."""
    return step.removesuffix("i")
