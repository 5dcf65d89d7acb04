"""The spacing of steps: what a run records, and what new data must match."""

import numpy as np

from gatewise.data import grids
from gatewise.data.sequences import Array, Sequences
from gatewise.errors import DataError

CLEAR = 0.5  # share of the differences that must equal a step to make it the spacing
REGULAR = 0.9  # the same share in training, where days without sales are gaps, not a spacing
MONTHS = {"mo": 1, "y": 12}


def refuse_other_spacing(sequences: Sequences, step: str) -> None:
    """Check that new data have the spacing of training, if both are known.

    A sequence passes if no other step is more common in it than that of training. A missing
    weekend, a day of 23 hours or a month of 28 days do not count as another spacing.

    Raises:
        DataError: a sequence clearly has another spacing.
    """
    if sequences.times is None or not step or sequences.step == step:
        return
    for k in range(len(sequences)):
        own = own_grid(sequences, k)
        if own is None or same(own.step, step):
            continue
        moments = sequences.times[sequences.starts[k] : sequences.stops[k]]
        if own.share >= CLEAR and _share(moments, step, jitters=own.jitter > 0) < own.share:
            where = f" in sequence '{sequences.ids[k]}'" if len(sequences) > 1 else ""
            raise DataError(
                f"{sequences.source}: the steps{where} are {step_text(own.step)} apart, but the "
                f"run was trained on steps of {step_text(step)}. Resample the data to steps of "
                f"{step_text(step)}, or train a run on steps of {step_text(own.step)}."
            )


def others(sequences: Sequences, grid: grids.Grid) -> dict[int, str]:
    """The spacing of each regular sequence whose spacing differs from the grid."""
    counts = sequences.lengths - 1
    hits = np.zeros(len(sequences), dtype=np.int64)
    for at, gaps in grids.differences(grid.positions, sequences.starts):
        indices = np.searchsorted(sequences.starts, at, side="right") - 1
        np.add.at(hits, indices, gaps == grid.unit)
    spacings = {}
    for k in np.flatnonzero((counts > 2) & (hits < CLEAR * counts)).tolist():
        own = own_grid(sequences, k)
        if own is not None and own.share >= REGULAR and not same(own.step, grid.step):
            spacings[k] = own.step
    return spacings


def clear_step(moments: Array) -> str:
    """The interval between most times of one sequence; "" if there is none."""
    grid = grids.grid(moments, np.zeros(1, dtype=np.int64))
    return grid.step if grid is not None and grid.share >= CLEAR else ""


def own_grid(sequences: Sequences, k: int) -> grids.Grid | None:
    """The grid of one sequence by itself; None if it has a single step."""
    assert sequences.times is not None
    moments = sequences.times[sequences.starts[k] : sequences.stops[k]]
    return grids.grid(moments, np.zeros(1, dtype=np.int64))


def same(step: str, other: str) -> bool:
    """True if two steps have the same size; steps of fractional times are approximate.

    >>> same("0.0167", "0.0166667"), same("1i", "1"), same("1d", "7d"), same("1d", "1i")
    (True, True, False, False)
    """
    if step == other or (step.endswith("i") and other.endswith("i")):
        return step == other
    try:
        sizes = sorted(float(text.removesuffix("i")) for text in (step, other))
    except ValueError:
        return False
    return sizes[1] - sizes[0] <= grids.SLACK * sizes[0]


def known_step(step: str) -> bool:
    """True if a step is "", a number, or a number with a unit of time.

    >>> known_step("7d"), known_step("1mo"), known_step("0.5"), known_step("1dx")
    (True, True, True, False)
    """
    unit = step.lstrip("0123456789.")
    if unit != step and unit in {*grids.UNITS, *MONTHS, "us", "b"}:
        return True
    try:
        float(step.removesuffix("i") or 0)
    except ValueError:
        return False
    return True


def _share(moments: Array, step: str, *, jitters: bool) -> float:
    """The share of the differences between these times that are equal to the step.

    Those of times that jitter may be a little off.
    """
    unit = step.lstrip("0123456789.")
    if moments.dtype.kind != "M" or unit in ("", "i"):
        return 0.0  # steps of numbers have no unit: they differ only in size
    count = int(step.removesuffix(unit))
    if unit in MONTHS:
        months = np.diff(moments.astype("M8[M]").astype(np.int64))
        return float((months == count * MONTHS[unit]).mean())
    if unit == "b":
        weekdays = np.busday_count(np.datetime64(0, "D"), moments.astype("M8[D]"))
        return float((np.diff(weekdays) == count).mean())
    gaps = np.diff(moments.astype("M8[us]").astype(np.int64))
    size = grids.microseconds(step)
    return float((np.abs(gaps - size) <= (grids.slack(size) if jitters else 0)).mean())


def step_text(step: str) -> str:
    """A step for messages: "1h", "1 business day", or "5" for whole numbers."""
    if step == "1b":
        return "1 business day"
    return step.removesuffix("i")
