"""Rows that arrive one after another: numbers in the order of the run, and times.

This is what `readers/` does for whole files, for one row at a time: what it would need later rows
for is an error.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import polars as pl

from gatewise.data import grids
from gatewise.data.calendar import MONTHS, between_dates, following, shift
from gatewise.data.preparation import Preparation, one_hot
from gatewise.data.sequences import Array, Sequences, from_arrays
from gatewise.errors import DataError, GapError, OrderError
from gatewise.readers import marks, times
from gatewise.settings import DataSettings, shown
from gatewise.streaming.memory import Memory, identity, is_table, records
from gatewise.streaming.plan import Plan, Row

MOST_MISSING = 10_000  # steps that data.gaps = fill inserts between two rows
LOCAL = ("d", "b", "w", "mo", "q", "y")  # units of steps


class RowReader:
    """Reads the rows of a stream as the run reads its files."""

    def __init__(self, plan: Plan, settings: DataSettings) -> None:
        self.plan, self.settings = plan, settings
        self.columns = plan.columns
        self._preparation: Preparation[Any] = plan.preparation
        self._missing = frozenset(settings.missing_values)
        self._places = {name: self._preparation.columns.index(name) for name in plan.columns}
        self._texts = {
            name: {text: float(k) for k, text in enumerate(texts)}
            for name, texts in self._preparation.categories.items()
            if name in self._places
        }
        self._targets = [self._places[name] for name in plan.targets]
        self._numbers = [place for name, place in self._places.items() if name not in self._texts]
        # Steps of days and longer are regular in local time only.
        self.local = self._preparation.step.lstrip("0123456789") in LOCAL

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """The texts of each text column; a text that training did not have is after them."""
        return {
            name: (*known, "")
            for name, known in self._preparation.categories.items()
            if name in self._places
        }

    def rows_of(self, steps: Any) -> Iterator[Any]:
        """The rows of what a user pushes: one row, a list of rows, an array or a table."""
        if isinstance(steps, Mapping):
            yield steps
        elif is_table(steps):
            yield from records(steps)
        elif isinstance(steps, Sequence) and not isinstance(steps, str) and _has_rows(steps):
            yield from steps
        else:
            array = np.asarray(steps, dtype=object)
            if array.ndim > 2 or steps is None or isinstance(steps, str):
                raise self._refused(steps, array.shape)
            if array.ndim == 1 and len(array) and len(self.plan.columns) > 1:
                array = array[None]
            yield from array.reshape(-1, 1) if array.ndim < 2 else array

    def read(self, given: Any, memory: Memory) -> list[Row]:
        """The step of a row, after the steps that data.gaps = fill inserts before it.

        `memory` is updated.

        Raises:
            DataError: the row has not what the run needs; `memory` is as before.
        """
        named = isinstance(given, Mapping)
        name = identity(given, memory, self.settings)
        static = self._static(given, memory) if named else memory.static
        values = self._values(given, named=named)
        time = self._time(given, memory) if named else None
        if time is None and self.plan.needs_times:
            names = _listed(self.settings.time)
            raise DataError(
                f"The row has no time, from which the run reads {self.plan.needs_times}. Give rows "
                f"with names, among them {names}."
            )
        ahead = bool(self._targets) and bool(np.isnan(values[self._targets]).all())
        inserted = self._gap(time, memory, ahead=ahead)
        empty = bool(np.isnan(values[self._numbers]).any())
        rows = [
            *(Row(self._empty(), one, filled=True) for one in inserted),
            Row(values, time, ahead, filled=empty),
        ]
        filled, how = memory.values, self.settings.missing
        for row in rows[:-1]:  # data.gaps = fill repeats the previous value, unless told otherwise
            filled = self._fill(row, filled, "previous" if how == "error" else how)
        filled = self._fill(rows[-1], filled, how)
        if ahead:
            memory.ahead = (*memory.ahead, time)
        else:
            memory.values, memory.ahead = filled, memory.ahead[1:]
            if time is not None:
                memory.times = (*memory.times[-1:], *inserted[-1:], time)[-2:]
        memory.id, memory.static = name, static
        return rows

    def rest(self, _memory: Memory) -> list[Row]:
        """Nothing, because each row is complete."""
        return []

    def sequences(self, several: Sequence[tuple[Memory, Sequence[Row]]]) -> Sequences:
        """Rows of several streams as sequences."""
        rows = [row for _, some in several for row in some]
        moments = None
        if all(row.time is not None for row in rows):
            moments = np.array([row.time for row in rows])
        memories = [memory for memory, _ in several]
        static = {
            name: np.array([memory.static.get(name, np.nan) for memory in memories])
            for name in self.plan.static
        }
        return from_arrays(
            [np.array([row.values for row in some]) for _, some in several],
            columns=self._preparation.columns,
            ids=np.array([memory.id for memory in memories]),
            times=moments,
            zone=self._zone(moments),
            step=self._preparation.step,
            levels=self.levels,
            static=static,
            source="The stream",
        )

    def inputs(self, _rows: Sequence[Row]) -> dict[str, Array] | None:
        """None: the task makes the inputs from the sequences."""
        return None

    def _zone(self, moments: Array | None) -> str:
        """The time zone in which times in UTC are shown."""
        zone, dated = self.settings.timezone, moments is not None and moments.dtype.kind == "M"
        return zone if dated and zone != "UTC" and not self._are_days(moments) else ""

    def _are_days(self, moments: Any) -> bool:
        """True for midnights of a run whose steps are days or longer, which stay local."""
        return self.local and bool((moments.astype(np.int64) % grids.DAY == 0).all())

    def _refused(self, given: Any, shape: tuple[int, ...]) -> DataError:
        """The error for what is not the numbers of a step, or of several."""
        count = len(self.plan.columns)
        received = f"an array of the shape {list(shape)}" if shape else repr(given)[:80]
        return DataError(
            f"A step has the columns {_listed(self.plan.columns)}. Received: {received}. "
            f"Give [{count}] for a step or [steps, {count}]."
        )

    def _values(self, given: Any, *, named: bool) -> Array:
        values, count = self._empty(), len(self.plan.columns)
        if not named and (shape := np.asarray(given, dtype=object).shape) != (count,):
            raise self._refused(given, shape)
        for k, (name, place) in enumerate(self._places.items()):
            if named and name not in given:
                if name in self.plan.targets:
                    continue  # a row ahead need not have the column
                raise DataError(
                    f"The row has no column '{name}'. It has {_listed(tuple(given))}; the run "
                    f"reads {_listed(self.plan.columns)}."
                )
            cell = given[name] if named else given[k]
            values[place] = (
                self._text(name, cell) if name in self._texts else self._number(name, cell)
            )
        return values

    def _empty(self) -> Array:
        return np.full(len(self._preparation.columns), np.nan)

    def _number(self, name: str, cell: Any) -> float:
        if cell is None or (isinstance(cell, str) and cell.strip() in self._missing):
            return math.nan
        decimal, thousands = self.settings.decimal, self.settings.thousands
        try:
            if isinstance(cell, str) and "_" in cell:  # a number for Python, not for files
                number = math.inf
            elif isinstance(cell, str) and (decimal or thousands):
                number = marks.value(cell.strip(), decimal, thousands)
            else:
                number = float(cell)
        except (TypeError, ValueError, OverflowError):
            number = math.inf
        if math.isinf(number):
            raise DataError(
                f"Column '{name}' must hold numbers, but holds {shown(cell)}. Correct it."
            )
        return number

    def _text(self, name: str, cell: Any) -> float:
        known = self._texts[name]
        text = "" if cell is None else str(cell)
        if text not in known:
            levels = self._preparation.categories[name]
            one_hot(np.array([text]), levels, self._preparation.handle_unknown, name, "The stream")
        return known.get(text, float(len(known)))

    def _fill(self, row: Row, before: Array | None, how: str) -> Array:
        """Fill the empty cells of a row in place, as data.missing says; returns its values."""
        places = [p for p in self._numbers if not (row.ahead and p in self._targets)]
        empty = [place for place in places if math.isnan(row.values[place])]
        if not empty:
            return row.values
        names = _listed(tuple(self._preparation.columns[place] for place in empty))
        if how == "zero":
            row.values[empty] = 0.0
        elif how in ("previous", "drop-leading") and not row.ahead:
            if before is None or np.isnan(before[empty]).any():
                raise DataError(
                    f"{names}: the first step has no value. Begin with a row that has one."
                )
            row.values[empty] = before[empty]
        else:
            reason = {
                "linear": " The run interpolates (data.missing = linear), for which a stream would "
                "need the next value.",
                "error": " Or train with data.missing=previous.",
            }.get(how, "")
            raise DataError(f"{names}: the row has no value. Fill it in.{reason}")
        return row.values

    def _static(self, given: Mapping[str, Any], memory: Memory) -> dict[str, Any]:
        if not self.plan.static:
            return memory.static
        found = dict(memory.static)
        for name in self.plan.static:
            value = self._static_value(name, given.get(name))
            if value is None and name in found:  # as in files, the other rows tell
                continue
            if name not in given:
                raise DataError(f"The row has no column '{name}', which the run reads. Give it.")
            if value is None:
                raise DataError(f"'{name}': the row has no value, which the run reads. Give it.")
            if found.setdefault(name, value) != value:
                raise DataError(
                    f"Column '{name}' held {shown(found[name])} before and holds {shown(value)} "
                    "now, but it must not change. Begin another stream."
                )
        return found

    def _static_value(self, name: str, cell: Any) -> float | str | None:
        """The value of a static column; None for an empty cell."""
        if name not in self._preparation.static_scale:
            return None if cell is None or cell in ("", *self._missing) else str(cell)
        number = self._number(name, None if cell == "" else cell)
        return None if math.isnan(number) else number

    def _time(self, given: Mapping[str, Any], memory: Memory) -> Any:
        """The time of a row on the clock of the run; None if it has none."""
        names = self.settings.time
        if not names or not all(name in given for name in names):
            return None
        written = [given[name] for name in names]
        # Not one clock for all rows: a number or a zone in one stream would decide for the others.
        try:
            cell = _joined(written, self.settings)
            clock, _ = times.clock(cell, "The stream", self.settings.time_format)
            moments = clock(cell)
        except (pl.exceptions.PolarsError, UnicodeError):  # a list, an object, half a character
            cell = moments = pl.Series([None])
        dated = moments.dtype == pl.Datetime
        if moments.null_count() or self._dated(memory) not in (dated, None):
            given_time = " ".join(map(str, written)) if len(names) > 1 else written[0]
            raise DataError(
                f"The time {shown(given_time)} cannot be read. Give one as in training."
            )
        moment = moments.to_physical().to_numpy()
        return self._localised(moment, cell, memory).view("M8[us]")[0] if dated else moment[0]

    def _dated(self, memory: Memory) -> bool | None:
        """Whether times are dates and not numbers; None if the first one decides."""
        if step := self._preparation.step:
            return between_dates(step)
        before = (None, *memory.times, *memory.ahead)[-1]
        known = None if before is None else isinstance(before, np.datetime64)
        return True if self.plan.needs_times else known

    def _localised(self, moment: Array, cell: pl.Series, memory: Memory) -> Array:
        """UTC, or local time if steps are days, as `readers.long` has it for files."""
        zone = self.settings.timezone
        if not zone:
            if (given := _zone_of(cell)) not in ("", "UTC"):
                raise DataError(
                    f"The time {str(cell[0])!r} is in the zone {given}, but the run was trained on "
                    "times without a zone. Give local times without a zone, as in training."
                )
            return moment
        if times.zone_of(cell) or "%z" in self.settings.time_format:
            there = moment + shift(moment, zone) * 60_000_000
            return there if self._are_days(there) else moment
        if self._are_days(moment):
            return moment
        twice, missing = times.to_utc(np.repeat(moment, 2), zone, None)
        if missing.any():
            raise DataError(
                f"The time {str(cell[0])!r} does not exist in {zone}, because the clock was set "
                "forward. Correct it."
            )
        # Of two equal times, the later one lies after the clock was set back.
        again = memory.times and twice[:1].view("M8[us]")[0] <= memory.times[-1]
        return twice[1:] if again else twice[:1]

    def _gap(self, time: Any, memory: Memory, *, ahead: bool) -> list[Any]:
        """The times of steps that are missing before a row, to be inserted."""
        step, found = self._preparation.step, list[Any]()
        if memory.ahead and not ahead:
            before = (*memory.times[-1:], memory.ahead[0])
            if not _same(memory.ahead[0], time, before[0], step):
                raise DataError(
                    f"The time {_shown(time)} is not that of the first row ahead, "
                    f"{_shown(memory.ahead[0])}. Send the rows in the order of their times."
                )
            return []
        before = (*memory.times, *memory.ahead)[-2:] if ahead else memory.times
        if not before or before[-1] is None:
            return []
        if time is None:
            raise DataError("The row has no time, but the rows before it have one. Give it.")
        last = np.array(before)
        if not time > last[-1]:
            raise OrderError(
                f"The time {_shown(time)} is not after {_shown(last[-1])}, that of the last row. "
                "Send the rows in the order of their times."
            )
        if not step or self.settings.gaps == "ignore":
            return found
        fills = self.settings.gaps == "fill" and not ahead
        while not _same(expected := following(last, step, 1)[0], time, last[-1], step):
            if not fills or expected > time or len(found) == MOST_MISSING:
                _refuse_gap(time, before[-1], step, fills=fills, ahead=ahead)
            found.append(expected)
            last = np.array([*last[-1:], expected])
        if found and _has_size(step):
            ends, where = np.array([before[-1], time]), np.array([0, len(found) + 1])
            return list(grids.between(ends, where)[1:-1])
        return found


def _refuse_gap(time: Any, last: Any, step: str, *, fills: bool, ahead: bool) -> NoReturn:
    """Refuse a row that is not one step after the last, with advice that the run does not follow.

    Raises:
        GapError: always; a row ahead raises another DataError.
    """
    away = f"not one step ({step.removesuffix('i')}) after {_shown(last)}"
    if fills:
        raise GapError(
            f"The time {_shown(time)} is {away}, and data.gaps=fill inserts at most "
            f"{MOST_MISSING:,} whole steps. Send each step, or finish the sequence and begin "
            "another."
        )
    if ahead:
        raise DataError(f"The time {_shown(time)} is {away}. Send each step.")
    raise GapError(
        f"The time {_shown(time)} is {away}. Send each step, or finish the sequence and begin "
        "another; or train with data.gaps=fill, which inserts missing steps."
    )


def _joined(written: Sequence[Any], settings: DataSettings) -> pl.Series:
    """The time of a row as one cell."""
    names = settings.time
    cells = pl.DataFrame(dict(zip(names, ([one] for one in written), strict=True)), strict=False)
    if len(names) == 1:
        return cells[names[0]]
    texts = [pl.col(name).cast(pl.String) for name in names]
    return cells.select(times.as_one(texts, names, settings.time_format).alias("time"))["time"]


def _zone_of(cell: pl.Series) -> str:
    """`times.zone_of` one cell; few texts have a zone, and to parse takes longer than to look."""
    if cell.dtype == pl.String and not re.search(times.ZONE, cell[0]):
        return ""
    return times.zone_of(cell)


def _has_size(step: str) -> bool:
    """Whether steps are fractional numbers or dates that are always as far apart."""
    unit = step.lstrip("0123456789")
    return not step.endswith("i") and unit not in MONTHS and unit != "b"


def _same(expected: Any, time: Any, last: Any, step: str) -> bool:
    """Whether a time is the expected one, which may be as far off as in a file (`grids.grid`)."""
    if isinstance(expected, np.floating):
        return bool(abs(expected - time) <= grids.SLACK * abs(expected - last))
    if None in (expected, time) or not step or not between_dates(step):
        return bool(expected == time)
    if not _has_size(step):
        day = "M8[D]" if step == "1b" else "M8[us]"  # a close at another hour is the same day
        return bool(expected.astype(day) == time.astype(day))
    off = abs((time - expected) / np.timedelta64(1, "us"))
    return bool(off <= grids.slack(grids.microseconds(step)))


def _has_rows(steps: Sequence[Any]) -> bool:
    """Whether a list holds rows; else it is one."""
    return any(isinstance(one, Mapping | list | tuple | np.ndarray) for one in steps)


def _shown(time: Any) -> str:
    text = str(time).removesuffix(".000000").removesuffix("T00:00:00")
    return text.replace("T", " ")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:12]))
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown or "nothing"
