"""Read series as GluonTS and DeepAR write them: in each row a start, a frequency and a target.

Alexandrov et al. 2020, "GluonTS: Probabilistic and Neural Time Series Modeling in Python".
"""

import re
from typing import Any

import numpy as np
import polars as pl

from gatewise.data.sequences import Array
from gatewise.errors import DataError
from gatewise.readers import times
from gatewise.readers.tsf import evenly
from gatewise.settings import shown

ID, START, FREQUENCY, TARGET = "item_id", "start", "freq", "target"
DYNAMIC = ("feat_dynamic_real", "feat_dynamic_cat", "dynamic_feat")  # [features, steps]
STATIC = ("feat_static_real", "feat_static_cat", "cat")  # [features]
# What pandas calls a frequency, in old and new versions: a number of units of Polars.
UNITS = {
    **dict.fromkeys(("S", "s"), (1, "s")),
    **dict.fromkeys(("T", "min"), (1, "m")),
    **dict.fromkeys(("H", "h"), (1, "h")),
    **dict.fromkeys(("D", "d"), (1, "d")),
    "W": (1, "w"),
    **dict.fromkeys(("M", "ME", "MS"), (1, "mo")),
    **dict.fromkeys(("Q", "QE", "QS"), (3, "mo")),
    **dict.fromkeys(("A", "AS", "Y", "YE", "YS"), (1, "y")),
}


def are_series(frame: pl.DataFrame) -> bool:
    """True for rows that hold a start and a list of numbers, which is the target."""
    kinds = frame.schema
    return kinds.get(START) == pl.String and isinstance(kinds.get(TARGET), pl.List)


def steps(frame: pl.DataFrame, name: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """One row for each step: item_id, time, target and features; and notes on what was read.

    Without a frequency the time is the number of the step.

    Raises:
        DataError: a start is not a time, a frequency is unknown, a list is shorter than the target,
            or a value is not a number.
    """
    timed = FREQUENCY in frame.columns
    starts = times.parse(frame[START])
    parts, later = [], set[str]()
    for place, row in enumerate(frame.iter_rows(named=True)):
        where = f"{name}: series {place + 1}"
        target = _numbers(row[TARGET], TARGET, where)
        length = target.shape[1]
        columns: dict[str, Any] = {ID: [str(row.get(ID, place))] * length}
        columns["time"] = np.arange(length)
        if timed:
            if starts[place] is None:
                raise DataError(
                    f"{where} begins at {shown(row[START])}, which is no ISO 8601 time."
                )
            columns["time"] = evenly(starts[place], _step(row[FREQUENCY], where), length)
        columns |= _named(target, TARGET)
        for key in (one for one in DYNAMIC if row.get(one)):
            features = _numbers(row[key], key, where)
            if features.shape[1] < length:
                raise DataError(
                    f"{where} has {features.shape[1]} steps of {key!r}, but {length} of "
                    f"{TARGET!r}. Give each feature a value for each step."
                )
            if features.shape[1] > length:
                later.add(key)
            columns |= _named(features[:, :length], f"{key} 1")
        for key in (one for one in STATIC if row.get(one)):
            each = np.repeat(_numbers(row[key], key, where).T, length, axis=1)
            columns |= _named(each, f"{key} 1")
        parts.append(pl.DataFrame(columns).with_columns(pl.selectors.float().fill_nan(None)))
    if timed:
        notes = [f"each row is a series of {TARGET!r} from {START!r} on, {FREQUENCY!r} apart"]
    else:
        notes = [
            f"each row is a series of {TARGET!r}, whose steps are counted and whose {START!r} is "
            f"not read, because no {FREQUENCY!r} says how far steps are apart"
        ]
    for key in sorted(later):
        notes.append(f"{key!r} reaches past the end of {TARGET!r}, where it is not read")
    return pl.concat(parts, how="diagonal_relaxed"), tuple(notes)


def _numbers(values: Any, key: str, where: str) -> Array:
    """Numbers as [features, steps] float64; one list is one feature."""
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.empty((0, 0, 0))
    if numbers.ndim not in (1, 2):
        raise DataError(f"{where}: {key!r} must hold numbers, or lists of numbers equally long.")
    return np.atleast_2d(numbers)


def _named(rows: Array, name: str) -> dict[str, Array]:
    """One column for each row; the first has this name, the others its numbered successors."""
    stem = name.removesuffix(" 1")
    names = [name, *(f"{stem} {k}" for k in range(2, len(rows) + 1))]
    return dict(zip(names, rows, strict=False))


def _step(frequency: Any, where: str) -> tuple[int, str]:
    """A frequency of pandas, such as 15min and W-SUN, as a number of units of Polars."""
    found = re.fullmatch(r"(\d*) ?([A-Za-z]+)(?:-[A-Z]{3})?", str(frequency))
    if found is None or found[2] not in UNITS:
        raise DataError(
            f"{where}: the {FREQUENCY!r} {shown(frequency)} is not known. Give a number of one of "
            f"{', '.join(UNITS)}, such as 15min, or leave {FREQUENCY!r} out."
        )
    number, unit = UNITS[found[2]]
    return number * int(found[1] or 1), unit
