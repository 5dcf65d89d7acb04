"""Read numeric targets: one number for each sequence, or one for each step.

A target of a sequence becomes a static value of that name. A target of each step becomes a column,
in front of the others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gatewise.data.sequences import Array, Sequences
from gatewise.errors import DataError
from gatewise.readers.arrays import Arrays
from gatewise.readers.long import NOT_NUMBERS, Origin, load
from gatewise.readers.roles import Kinds
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

MOST_RATINGS = 10  # more different numbers than these are measurements, if some have decimals


def are_real(values: Iterable[Any]) -> bool:
    """True if labels are numbers that were measured: many different ones, some with decimals.

    >>> are_real(["1", "2", "2.5"]), are_real(np.arange(20) / 3), are_real(["a", None])
    (False, True, False)
    """
    try:
        numbers = np.array([float(one) for one in values if one is not None and str(one) != ""])
    except (TypeError, ValueError):
        return False
    known = np.unique(numbers[np.isfinite(numbers)])
    return len(known) > MOST_RATINGS and bool((known % 1 != 0).any())


def of_rows(table: Table, settings: DataSettings, kinds: Kinds) -> dict[str, Array]:
    """The targets of a table with one row per sequence, by name: [rows] float64, NaN if empty.

    Raises:
        DataError: a cell is not a number.
    """
    names = list(settings.target)
    for name in names:
        if kinds[name] in NOT_NUMBERS:
            raise DataError(
                f"{table.name}: the target {name!r} must hold numbers. It holds "
                f"{NOT_NUMBERS[kinds[name]]}."
            )
    as_features = DataSettings(features=settings.target, missing_values=settings.missing_values)
    loaded, _ = load(table, as_features, kinds, names, levels=[])
    targets = dict(zip(names, loaded.values.T, strict=True))
    for name, cells in targets.items():
        if np.isinf(cells).any():
            row = table.at(int(np.isinf(cells).argmax()))
            raise DataError(
                f"{table.name}: the target {name!r} is infinite in {row}. Replace it with a number."
            )
    return targets


def of_steps(
    sequences: Sequences, settings: DataSettings, origin: Origin
) -> tuple[Sequences, DataSettings, list[str]]:
    """The sequences with targets for each sequence, or for each step if a target changes.

    The first columns of `sequences` are the targets. `data.target_per` says which of the two; if it
    is "auto", the data decide, and a note says what they decided.

    Raises:
        DataError: a target changes within a sequence, although it is one number for each.
    """
    count = len(settings.target)
    if not count or settings.target_per == "step":
        return sequences, settings, []
    cells = sequences.values[:, :count]
    low = np.fmin.reduceat(cells, sequences.starts)  # [sequences, targets]
    changing = np.argwhere(low != np.fmax.reduceat(cells, sequences.starts))
    changing = changing[~np.isnan(low[changing[:, 0], changing[:, 1]])]
    if not len(changing) and (len(sequences) > 1 or settings.target_per == "sequence"):
        kept = replace(
            sequences,
            values=np.ascontiguousarray(sequences.values[:, count:]),
            columns=sequences.columns[count:],
            static={**sequences.static, **dict(zip(settings.target, low.T, strict=True))},
        )
        notes = [] if settings.target_per == "sequence" else [_one_each(settings.target)]
        return kept, replace(settings, target_per="sequence"), notes
    if not len(changing):
        return sequences, replace(settings, target_per="step"), []
    k, column = changing[0]
    name, steps = settings.target[column], sequences[k][:, column]
    known = np.flatnonzero(~np.isnan(steps))
    step = int(known[(steps[known] != steps[known[0]]).argmax()])
    where = (
        f"in sequence {str(sequences.ids[k])!r}, {origin.place(int(sequences.starts[k]) + step)}"
    )
    if settings.target_per == "sequence":
        raise DataError(
            f"{origin.name}: the target {name!r} must be one number for each sequence, but it "
            f"changes from {steps[known[0]]:g} to {steps[step]:g} {where}. Name more columns in "
            "data.id, or set data.target_per = step to predict a number at each step."
        )
    note = (
        f"the target {name!r} changes within a sequence (first {where}), so a number is predicted "
        "at each step (data.target_per)"
    )
    return sequences, replace(settings, target_per="step"), [note]


def _one_each(targets: Sequence[str]) -> str:
    names = ", ".join(map(repr, targets))
    verb = "does" if len(targets) == 1 else "do"
    return (
        f"{names} {verb} not change within a sequence, so a number is predicted for each sequence"
    )


def of_arrays(content: Arrays, settings: DataSettings) -> tuple[Sequences, DataSettings, list[str]]:
    """The sequences of arrays with the targets `y` of a pair (X, y), if there are any.

    y is [sequences], [sequences, targets], or for each step a list of arrays [steps] or [steps,
    targets].

    Raises:
        DataError: y does not hold numbers, or does not fit X.
    """
    sequences = replace(content.sequences, labels=None)
    if content.truth is None:
        return sequences, settings, []
    if content.truth_per_step or settings.target_per == "step":
        return _of_each_step(sequences, content, settings)
    targets = _numbers(content.truth, content.name)
    targets = targets[:, None] if targets.ndim == 1 else targets
    if targets.ndim != 2 or len(targets) != len(sequences):
        raise DataError(
            f"{content.name}: there are {len(sequences)} sequences, but y has the shape "
            f"{targets.shape}. Give [sequences] or [sequences, targets]; for a number at each "
            "step, a list of arrays."
        )
    names = _names(settings.target, targets.shape[1], content.name)
    settings = replace(settings, target=names, target_per="sequence")
    return replace(sequences, static=dict(zip(names, targets.T, strict=True))), settings, []


def _of_each_step(
    sequences: Sequences, content: Arrays, settings: DataSettings
) -> tuple[Sequences, DataSettings, list[str]]:
    parts = [_numbers(one, content.name) for one in content.truth]
    lengths = [len(one) if one.ndim else 0 for one in parts]
    if lengths != sequences.lengths.tolist():
        raise DataError(
            f"{content.name}: y must hold a number for each step of each sequence. Received "
            f"{len(parts)} arrays of {lengths[:3]} ... steps for {len(sequences)} sequences of "
            f"{sequences.lengths[:3].tolist()} ... steps."
        )
    targets = np.concatenate([one.reshape(len(one), -1) for one in parts])
    names = _names(settings.target, targets.shape[1], content.name)
    values = sequences.values.astype(np.float64)
    whole = replace(
        sequences,
        values=np.concatenate([targets, values], axis=1),
        columns=(*names, *sequences.columns),
    )
    return whole, replace(settings, target=names, target_per="step"), []


def _numbers(values: Any, name: str) -> Array:
    try:
        numbers = np.array(
            [np.nan if one is None or one == "" else one for one in values]
            if isinstance(values, list)
            else values,
            dtype=np.float64,
        )
    except (TypeError, ValueError):
        raise DataError(
            f"{name}: y must hold numbers, [sequences] or [sequences, targets]. Received: "
            f"{str(values)[:60]}."
        ) from None
    if np.isinf(numbers).any():
        raise DataError(f"{name}: y holds an infinite number. Replace or remove it.")
    return numbers


def _names(given: tuple[str, ...], count: int, name: str) -> tuple[str, ...]:
    """The names of the targets of arrays: those of the settings, or y; or y0, y1 ..."""
    if given and len(given) != count:
        raise DataError(
            f"{name}: data.target names {len(given)} targets, but y has {count} columns. Name one "
            "for each column, or none."
        )
    return given or (("y",) if count == 1 else tuple(f"y{k}" for k in range(count)))
