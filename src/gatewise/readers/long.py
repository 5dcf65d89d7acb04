"""Read tables with one row per step: steps end to end, ordered by sequence and time.

Batches of numbers are copied into one array that grows in place. If the rows are already in order,
that array is the result.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from gatewise.data.calendar import shift
from gatewise.data.sequences import Array, Sequences
from gatewise.errors import DataError, FlawError, Way
from gatewise.readers import columns, marks, roles, time_columns, times, units
from gatewise.readers.cells import as_number, as_text, missing_numbers
from gatewise.readers.dialect import MOST_BELOW
from gatewise.readers.labels import as_label, flags, missing_labels
from gatewise.readers.roles import Kinds
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings, shown

BLOCK = 1 << 20
MOST_TEXTS = 3  # more different texts in a column of numbers are hardly words for a missing value
MOST_READ = 5  # times that can be read for one that cannot: then the format is right
NOT_NUMBERS = {"time": "times", "list": "lists", "other": "values of another kind"}


def _no_ids(_given: object) -> list[tuple[str, ...]]:
    return []


@dataclass(frozen=True)
class Origin:
    """The rows that steps come from, for messages."""

    name: str
    at: Callable[[int], str]  # a row, counted from 0 -> "row 7 (counting the header as row 1)"
    rows: Array | None = None  # [steps] the row of each step, or -1; None: rows are in order
    # Values of data.id, found only when asked for: those with which no time repeats in a sequence
    # (given the share of rows that repeat one now), and with which a column does not change in one.
    apart: Callable[[float], list[tuple[str, ...]]] = field(default_factory=lambda: _no_ids)
    within: Callable[[str], list[tuple[str, ...]]] = field(default_factory=lambda: _no_ids)

    def place(self, step: int) -> str:
        """The name of a step's row in messages."""
        return self.at(int(step if self.rows is None else self.rows[step]))


@dataclass
class Loaded:
    """The arrays that collect the batches; their capacity may exceed `height` rows."""

    values: Array  # [rows, columns] float64
    times: Array | None  # [rows] int64 or float64
    codes: dict[str, Array]  # role -> [rows] int32 position in texts[role], -1 if empty
    texts: dict[str, dict[str, int]] = field(default_factory=dict)
    dated: bool = False
    zone: str = ""  # of the times in the table, which are UTC here; "": they had none
    height: int = 0


def long(table: Table, settings: DataSettings, kinds: Kinds) -> tuple[Sequences, Origin, list[str]]:
    """The sequences of a table with one row per step, their origin, and notes.

    Raises:
        DataError: a cell does not hold what its column needs.
    """
    names = value_columns(settings)
    for name in names:
        if kinds[name] in NOT_NUMBERS:
            raise DataError(
                f"{table.name}: column {name!r} must hold numbers. "
                f"It holds {NOT_NUMBERS[kinds[name]]}."
            )
    numeric = {*settings.target, *settings.features}
    levels = [name for name in names if kinds[name] == "text" and name not in numeric]
    loaded, notes = load(table, settings, kinds, names, levels=levels)
    zone = _localised(loaded, settings, table, notes)
    order = _order(loaded, settings, notes)
    starts = _starts(loaded)
    stops = np.append(starts[1:], loaded.height).astype(np.int64)
    apart = partial(columns.ids_apart, table, settings)
    within = partial(columns.ids_within, table, settings)
    origin = Origin(table.name, table.at, order, apart, within)
    texts = {role: list(known) for role, known in loaded.texts.items()}
    sequences = Sequences(
        values=loaded.values,
        starts=starts,
        stops=stops,
        first=starts,
        ids=picked(texts["id"], loaded.codes["id"][starts]) if "id" in texts else np.array(["0"]),
        columns=tuple(names),
        times=_as_times(loaded),
        zone=zone,
        levels={name: tuple(texts[f"level {name}"]) for name in levels},
        source=table.name,
    )
    return with_sides(sequences, loaded, settings, kinds, origin=origin), origin, notes


def value_columns(settings: DataSettings) -> list[str]:
    """The columns of `Sequences.values`: target, past and known, or features."""
    return [*settings.target, *settings.past, *settings.known, *settings.features]


def load(
    table: Table, settings: DataSettings, kinds: Kinds, names: list[str], *, levels: list[str]
) -> tuple[Loaded, list[str]]:
    """Load the columns `names`, and those with ids, times, labels, groups and static values.

    Raises:
        DataError: a cell does not hold what its column needs.
    """
    queries = _queries(table, settings, kinds, names, levels=levels)
    notes: list[str] = []
    clock, kind, zone = None, "int64", ""
    if settings.time:
        sample = table.sample.select(queries["time"]).to_series()
        label = f"{table.name}: column {' and '.join(map(repr, settings.time))}"
        clock, notes = times.clock(sample, label, settings.time_format)
        kind = "float64" if clock(sample).dtype.is_float() else "int64"
        zone = times.zone_of(sample, settings.time_format)
        zone = zone or ("UTC" if "%z" in settings.time_format else "")

    def every() -> pl.Series:
        batches = table.batches(list(settings.time))
        return pl.concat([batch.select(queries["time"]) for batch in batches]).to_series()

    loaded = Loaded(
        values=np.empty((table.likely, len(names))),
        times=np.empty(table.likely, dtype=kind) if clock else None,
        codes={role: np.empty(table.likely, np.int32) for role in _coded(queries)},
        texts={role: {} for role in _coded(queries)},
        zone=zone,
    )
    needed = list(dict.fromkeys(name for name in roles.named(settings) if name in kinds))
    for batch in table.batches(needed) if needed else ():
        cells = batch.select(**queries)
        for name in names:
            if f"value {name}" in queries and cells[f"value {name}"].null_count():
                here = cells[f"value {name}"]
                _refuse_wrong(batch[name], here, loaded.height, table, settings)
        _append(cells, loaded, table, names, clock=clock, every=every)
    _resize(loaded, loaded.height)
    for place, name in enumerate(names):
        if name in levels:
            codes = loaded.codes.pop(f"level {name}").astype(np.float64)
            codes[codes < 0] = np.nan
            loaded.values[:, place] = codes
    return loaded, notes


def _coded(queries: Mapping[str, pl.Expr]) -> list[str]:
    roles = ("id", "label", "group", "static", "level")
    return [query for query in queries if query.split()[0] in roles]


def _queries(
    table: Table, settings: DataSettings, kinds: Kinds, names: list[str], *, levels: list[str]
) -> dict[str, pl.Expr]:
    """The expressions to evaluate on each batch, by role."""
    schema, missing = table.sample.schema, settings.missing_values
    queries: dict[str, pl.Expr] = {}
    if settings.id:
        absent = missing_labels(table, settings.id, missing)
        texts = [as_label(name, schema[name], absent) for name in settings.id]
        # One of several columns may be empty: a country without provinces.
        named = pl.any_horizontal(text.is_not_null() for text in texts)
        joined = pl.concat_str([text.fill_null("") for text in texts], separator="/")
        queries["id"] = pl.when(named).then(joined)
    if settings.time:
        queries["time"] = time_columns.time_cells(table, settings)
    for role in ("label", "group"):
        name = getattr(settings, role)
        if name in schema:
            read = as_label if role == "label" else as_text
            absent = missing_labels(table, [name], missing) if role == "label" else missing
            queries[role] = read(name, schema[name], absent)
    if settings.label_columns and set(settings.label_columns) <= set(schema):
        queries["label"] = flags(settings.label_columns, schema, settings.separator)
    for name in settings.static:
        queries[f"static {name}"] = as_text(name, schema[name], missing)
    for name in names:
        if name in levels:
            queries[f"level {name}"] = as_text(name, schema[name], missing)
        else:
            boolean = kinds[name] == "boolean"
            number = as_number(name, schema[name], missing, boolean=boolean)
            queries[f"value {name}"] = number
    return queries


def _append(
    batch: pl.DataFrame,
    loaded: Loaded,
    table: Table,
    names: list[str],
    *,
    clock: times.Clock | None,
    every: Callable[[], pl.Series],
) -> None:
    begin, end = loaded.height, loaded.height + batch.height
    if end > len(loaded.values):
        _resize(loaded, max(end, len(loaded.values) * 9 // 8))
    present = set(batch.columns)  # a list of 100,000 names is slow to make
    for place, name in enumerate(names):
        if f"value {name}" in present:
            loaded.values[begin:end, place] = batch[f"value {name}"].to_numpy()
    if clock and loaded.times is not None:
        moments = moments_of(batch["time"], clock, table, begin, every)
        loaded.dated = moments.dtype == pl.Datetime
        loaded.times[begin:end] = moments.to_physical().to_numpy()
    for role, known in loaded.texts.items():
        loaded.codes[role][begin:end] = _codes(batch[role], known)
    if "id" in present and batch["id"].null_count():
        where = table.at(begin + int(batch["id"].is_null().arg_max() or 0))
        raise DataError(f"{table.name}: {where} has no sequence id. Fill it in.")
    loaded.height = end


def _refuse_wrong(
    cells: pl.Series, numbers: pl.Series, begin: int, table: Table, settings: DataSettings
) -> None:
    """Refuse cells that are neither empty nor numbers."""
    missing = settings.missing_values
    texts = cells.to_frame().select(as_text(cells.name, cells.dtype, missing)).to_series()
    wrong = texts.is_not_null() & numbers.is_null()
    if empty := missing_numbers(missing):
        wrong &= ~texts.cast(pl.Float64, strict=False).is_in(empty).fill_null(False)
    if not wrong.any():
        return
    name, row = cells.name, int(wrong.arg_max() or 0)
    expression = as_text(name, cells.dtype, settings.missing_values)
    column = pl.concat([batch.select(expression) for batch in table.batches([name])]).to_series()
    bad = column.is_not_null() & column.cast(pl.Float64, strict=False).is_null()
    others = int(bad.sum()) - 1
    rows = "1 more row holds" if others == 1 else f"{others} more rows hold"
    more = f", and {rows} no number" if others else ""
    advice, ways = _remedy(table, name, column, bad, settings)
    raise FlawError(
        f"{table.name}: column {name!r} must hold numbers, but {table.at(begin + row)} has "
        f"{texts[row]!r}{more}.",
        advice=advice,
        ways=ways,
    )


def _remedy(
    table: Table, name: str, column: pl.Series, bad: pl.Series, settings: DataSettings
) -> tuple[str, list[Way]]:
    """What to do with cells of a column that are not numbers, and the settings that may help."""
    known = column.drop_nulls()
    if ways := marks.readings(known):
        shown = known.filter(~known.str.contains(marks.PLAIN_CELL))[0]
        return "Write them with decimal points", [
            Way(marks.changes(*way), f"{shown} is then {marks.value(shown, *way):g}")
            for way in ways
        ]
    texts = column.filter(bad)
    if (texts == name).all():
        return "These rows repeat the names of the columns. Remove them from the file", []
    if _names_columns(table, int(bad.arg_max() or 0)):
        return "This row names columns again. Save each table as a file of its own", []
    lines = table.dialect is not None and table.place is None  # each row is a line of the file
    if lines and (below := _at_the_end(bad)):
        return "Remove the last rows", [_without_footer(table, below)]
    distinct = texts.unique(maintain_order=True).to_list()
    if any(units.LACKING in one for one in distinct):
        return "Write the same sign in every cell, or in none", []
    if len(texts) == len(known):
        return "It holds texts, and no number. Name a column of numbers", []
    if len(distinct) > MOST_TEXTS:
        return f"Such cells are {', '.join(map(repr, distinct[:MOST_TEXTS]))} ... Correct them", []
    if all(re.match(r"[<≤]\s*\d", one) for one in distinct):
        advice = f"If {distinct[0]!r} means less than a limit, write a number such as half of it"
    else:
        advice = "Correct it"
    verb = "means" if len(distinct) == 1 else "mean"
    remark = f"{', '.join(map(repr, distinct))} then {verb} a missing value"
    return advice, as_missing(distinct, settings, remark)


def _names_columns(table: Table, row: int) -> bool:
    """True if a cell of a row is the name of its column, as where another table begins."""
    return any(cell == name for name, cell in _cells_of(table, row).items())


def _cells_of(table: Table, row: int) -> dict[str, Any]:
    """The cells of a row."""
    for batch in table.batches(table.columns):
        if row < batch.height:
            return batch.row(row, named=True)
        row -= batch.height
    return {}


def as_missing(texts: Sequence[str], settings: DataSettings, remark: str = "") -> list[Way]:
    """The ways to read these texts as missing values."""
    values = (*settings.missing_values, *texts)
    policies = ("previous", "drop-leading") if settings.missing == "error" else (settings.missing,)
    return [
        Way({"missing_values": values, "missing": policy}, remark, last=policy == "drop-leading")
        for policy in policies
    ]


def _without_footer(table: Table, below: int) -> Way:
    """The way to leave out the last rows of a text file."""
    assert table.dialect is not None
    lines = -(-below // table.each)
    rows = lines + table.dialect.footer_rows
    return Way({"footer_rows": rows}, f"leaves out the last {_rows(lines)}")


def _rows(count: int) -> str:
    return "row" if count == 1 else f"{count} rows"


def _at_the_end(bad: pl.Series) -> int:
    """The number of bad rows, if they are all at the end and few; else 0."""
    count = int(bad.sum())
    few = count <= MOST_BELOW and count * 10 <= bad.len()
    return count if few and bool(bad.tail(count).all()) else 0


def moments_of(
    cells: pl.Series,
    clock: times.Clock,
    table: Table,
    begin: int,
    every: Callable[[], pl.Series] | None = None,
) -> pl.Series:
    """Parse the cells of a time column; `begin` is the row of the first cell in the table.

    `every` returns all cells of the column, from which an error message counts.

    Raises:
        FlawError: a cell is empty or is not a time.
    """
    moments = clock(cells)
    if not moments.null_count():
        return moments
    row = int(moments.is_null().arg_max() or 0)
    where = f"{table.name}: {table.at(begin + row)}"
    column = cells if every is None else every()
    bad = clock(column).is_null()
    empty = column.is_null()
    kinds = {"no time": int(empty.sum()), "a time that cannot be read": int((bad & ~empty).sum())}
    counted = " and ".join(
        f"{count} {'row has' if count == 1 else 'rows have'} {kind}"
        for kind, count in kinds.items()
        if count
    )
    more = f" ({counted})" if int(bad.sum()) > 1 else ""
    below = _at_the_end(bad)
    tail = [_without_footer(table, below)] if below and table.dialect is not None else []
    if cells[row] is None:
        held = [shown(cell) for cell in _cells_of(table, begin + row).values() if cell is not None]
        holds = f" It holds {', '.join(held[:4])}." if held else ""
        raise FlawError(
            f"{where} has no time{more}.{holds}",
            advice="Fill in times, or remove rows such as totals",
            ways=tail,
        )
    formats = times.proposals(column) if column.dtype == pl.String else []
    good = column.filter(~bad)
    if column.dtype == pl.String and good.len() and times.are_times(column.filter(bad & ~empty)):
        raise FlawError(
            f"{where} has the time {str(cells[row])!r}, but other rows have another format, such "
            f"as {good[0]!r}{more}.",
            advice="Write all times in one format. A spreadsheet that reads some dates and leaves "
            "others as texts may have exchanged the day and the month of those that it reads",
            ways=tail,
        )
    advice = (
        "Times must be dates, datetimes, whole numbers or fractional numbers, all in the same "
        "format; set data.time_format for another format"
    )
    if good.len() >= MOST_READ * int(bad.sum()):
        advice = (
            f"Those of the other {good.len()} rows can be read, such as {str(good[0])!r}. Correct "
            "it, or remove rows such as totals"
        )
    raise FlawError(
        f"{where} has the time {str(cells[row])!r}, which cannot be read{more}.",
        advice=advice,
        ways=[*(Way({"time_format": one}) for one in formats), *tail],
    )


def _codes(cells: pl.Series, known: dict[str, int]) -> Array:
    """Positions of these texts in `known`, to which new texts are added."""
    distinct = cells.drop_nulls().unique(maintain_order=True).to_list()
    for text in distinct:
        known.setdefault(text, len(known))
    positions = [known[text] for text in distinct]
    codes = cells.replace_strict(distinct, positions, default=-1, return_dtype=pl.Int32)
    return codes.to_numpy()


def _resize(loaded: Loaded, rows: int) -> None:
    """Resize the arrays in place, because a copy would double the memory."""
    moments = [] if loaded.times is None else [loaded.times]
    for array in (loaded.values, *loaded.codes.values(), *moments):
        array.resize((rows, *array.shape[1:]), refcheck=False)


def _order(loaded: Loaded, settings: DataSettings, notes: list[str]) -> Array | None:
    """Group by sequence and sort by time, in place.

    Returns:
        The original row of each step; None if the rows were in order.
    """
    ids, moments = loaded.codes.get("id"), loaded.times
    grouped = ids is None or not _any_backward(ids, None)
    ascending = moments is None or not _any_backward(moments, ids)
    if grouped and ascending:
        return None
    keys = [key for key in (moments, ids) if key is not None]
    order = np.lexsort(keys)  # stable
    # Sort one column at a time, because a second array of all values would double the memory.
    for place in range(loaded.values.shape[1]):
        loaded.values[:, place] = loaded.values[order, place]
    loaded.codes = {role: codes[order] for role, codes in loaded.codes.items()}
    if moments is not None:
        loaded.times = moments[order]
        if _any_backward(order, loaded.codes.get("id")):
            named = " and ".join(map(repr, settings.time))
            notes.append(f"times are not in order; rows are sorted by {named}")
    return order


DAY = 86_400_000_000  # microseconds


def _localised(loaded: Loaded, settings: DataSettings, table: Table, notes: list[str]) -> str:
    """Put the times into local time if they are days; else into UTC, and return their zone.

    Days have 23 or 25 hours where clocks change, so they are regular in local time only.
    """
    zone, moments = settings.timezone, loaded.times
    if moments is None or not loaded.dated:
        return ""
    if not zone:  # training, which names the zone of such times, has read times without one
        if loaded.zone not in ("", "UTC"):
            raise DataError(
                f"{table.name}: the times are in the zone {loaded.zone}, but the run was trained "
                "on times without a zone. Give local times without a zone, as in training, or UTC "
                "if those were."
            )
        notes += ["the times have offsets and are read as UTC"] * bool(loaded.zone)
        return ""
    if not loaded.zone:
        if _are_days(moments):
            return ""
        moments, none = times.to_utc(moments, zone, loaded.codes.get("id"))
        if none.any():
            raise DataError(
                f"{table.name}: {table.at(int(none.argmax()))} has a time that does not exist in "
                f"{zone}, because the clock was set forward. Correct it, or set data.timezone."
            )
    else:
        local = moments + shift(moments, zone) * 60_000_000
        if _are_days(local):
            notes.append(f"times are days in {zone} (data.timezone)")
            loaded.times = local
            return ""
    notes.append(
        f"times are converted to UTC; answers are in {zone} (data.timezone)"
        if zone != "UTC"
        else "times are converted to UTC"
    )
    loaded.times = moments
    return "" if zone == "UTC" else zone


def _are_days(moments: Array) -> bool:
    """True if all times are midnight."""
    return bool((moments % DAY == 0).all())


def _any_backward(keys: Array, ids: Array | None) -> bool:
    """True if a step is earlier than the previous one; works in blocks to save memory."""
    for k in range(0, len(keys) - 1, BLOCK):
        here, after = slice(k, min(k + BLOCK, len(keys) - 1)), slice(k + 1, k + 1 + BLOCK)
        back = keys[after] < keys[here]
        if (back if ids is None else back & (ids[after] == ids[here])).any():
            return True
    return False


def _starts(loaded: Loaded) -> Array:
    if "id" not in loaded.codes:
        return np.zeros(1, dtype=np.int64)
    return np.flatnonzero(np.diff(loaded.codes["id"], prepend=-1)).astype(np.int64)


def _as_times(loaded: Loaded) -> Array | None:
    if loaded.times is None or not loaded.dated:
        return loaded.times
    return loaded.times.view("M8[us]")


def picked(texts: list[str], codes: Array) -> Array:
    """The texts at these positions; "" for -1."""
    return np.array([*texts, ""])[codes]


def with_sides(
    sequences: Sequences,
    loaded: Loaded,
    settings: DataSettings,
    kinds: Kinds,
    *,
    origin: Origin,
) -> Sequences:
    """Add label, group and static values, which must not change within a sequence."""
    sides: dict[str, Array] = {}
    for role, codes in loaded.codes.items():
        if role != "id":
            column = role.partition(" ")[2] or getattr(settings, role)
            texts = list(loaded.texts[role])
            constant = _constant(sequences, codes, column, texts, origin=origin, role=role)
            sides[role] = picked(list(loaded.texts[role]), constant)
    static = {
        name: _numbers(sides[f"static {name}"], name, sequences)
        if kinds[name] == "number"
        else sides[f"static {name}"]
        for name in settings.static
    }
    labels, groups = sides.get("label"), sides.get("group")
    return replace(sequences, labels=labels, groups=groups, static=static)


def _constant(
    sequences: Sequences,
    codes: Array,
    column: str,
    texts: list[str],
    *,
    origin: Origin,
    role: str,
) -> Array:
    """The code of each sequence; -1 if all its cells are empty."""
    constants = np.maximum.reduceat(codes, sequences.starts)
    wrong = (codes >= 0) & (codes != np.repeat(constants, sequences.lengths))
    if wrong.any():
        sequence = int(np.searchsorted(sequences.starts, int(wrong.argmax()), side="right")) - 1
        start, stop = sequences.starts[sequence], sequences.stops[sequence]
        filled = start + np.flatnonzero(codes[start:stop] >= 0)
        step = int(filled[(codes[filled] != codes[filled[0]]).argmax()])
        raise FlawError(
            f"{origin.name}: column {column!r} must not change within a sequence, but in "
            f"{_named(sequences, sequence)} it changes from {texts[codes[filled[0]]]!r} to "
            f"{texts[codes[step]]!r} in {origin.place(step)}.",
            advice=_ends_where(column, role),
            ways=[Way({"id": names}) for names in origin.within(column)],
        )
    return constants


def _ends_where(column: str, role: str) -> str:
    """What to do about a value that changes within a sequence."""
    advice = "Name more columns in data.id, so that a sequence ends where the value changes"
    if role == "label":
        return (
            f"{advice}. If there is no such column, add one that numbers the stretches, in pandas "
            f"(df[{column!r}] != df[{column!r}].shift()).cumsum(), and name it in data.id"
        )
    return f"{advice}. Covariates that change belong in data.past or data.known"


def _named(sequences: Sequences, sequence: int) -> str:
    return f"sequence {str(sequences.ids[sequence])!r}"


def _numbers(texts: Array, name: str, sequences: Sequences) -> Array:
    numbers = np.empty(len(texts))
    for sequence, text in enumerate(texts):
        try:
            numbers[sequence] = float(text)
        except ValueError:
            raise DataError(
                f"{sequences.source}: the static column {name!r} must hold a number for "
                f"{_named(sequences, sequence)}. Received: {str(text)!r}."
            ) from None
    return numbers
