"""The rows of a table -> Sequences: steps laid end to end, by sequence and time.

The numbers go batch by batch into one array that is allocated once; where the rows are in order
already, that array is the result.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from gatewise.data import columns, tables, times
from gatewise.data.columns import VALUE, Kinds, wide_steps
from gatewise.data.sequences import Array, Sequences
from gatewise.data.tables import Table
from gatewise.errors import DataError
from gatewise.experiment import DataSettings

BLOCK = 1 << 20


@dataclass(frozen=True)
class Origin:
    """Where steps came from, for messages."""

    name: str
    at: Callable[[int], str]  # a row, counted from 0 -> "row 7 (counting the header as row 1)"
    rows: Array | None = None  # [steps] the row of each step, -1 where none; None: in order

    def place(self, step: int) -> str:
        """How a message names the row of a step."""
        return self.at(int(step if self.rows is None else self.rows[step]))


@dataclass
class Loaded:
    """What the batches are poured into; the arrays have room for `Table.most` rows."""

    values: Array  # [rows, columns] float64
    times: Array | None  # [rows] int64
    codes: dict[str, Array]  # role -> [rows] int32 position in texts[role], -1 where empty
    texts: dict[str, dict[str, int]] = field(default_factory=dict)
    dated: bool = False
    height: int = 0


def long(table: Table, settings: DataSettings, kinds: Kinds) -> tuple[Sequences, Origin, list[str]]:
    """The sequences of a table with one row a step, where they came from, and notes.

    Raises:
        DataError: a cell is not what its column needs.
    """
    wanted = value_columns(settings)
    levels = [one for one in wanted if kinds[one] == "text" and one not in _numeric_only(settings)]
    loaded, notes = _load(table, settings, kinds, wanted, levels=levels)
    order = _order(loaded, settings, notes)
    starts = _starts(loaded)
    stops = np.append(starts[1:], loaded.height).astype(np.int64)
    origin = Origin(table.name, table.at, order)
    given = {role: list(known) for role, known in loaded.texts.items()}
    one = np.array(["0"])
    sequences = Sequences(
        values=loaded.values,
        starts=starts,
        stops=stops,
        first=starts,
        ids=_picked(given["id"], loaded.codes["id"][starts]) if "id" in given else one,
        columns=tuple(wanted),
        times=_as_times(loaded),
        levels={name: tuple(given[f"level {name}"]) for name in levels},
        source=table.name,
    )
    return _with_sides(sequences, loaded, settings, kinds, origin=origin), origin, notes


def value_columns(settings: DataSettings) -> list[str]:
    """The columns of `Sequences.values`: target, past and known; or the features."""
    return [*settings.target, *settings.past, *settings.known] or list(settings.features)


def _numeric_only(settings: DataSettings) -> set[str]:
    return {*settings.target, *settings.features}


def _load(
    table: Table, settings: DataSettings, kinds: Kinds, wanted: list[str], *, levels: list[str]
) -> tuple[Loaded, list[str]]:
    queries = _queries(table, settings, kinds, wanted, levels=levels)
    notes: list[str] = []
    clock = None
    if settings.time:
        sample = table.sample.select(queries["time"]).to_series()
        label = f"{table.name}: column {settings.time!r}"
        clock, notes = times.clock(sample, label, settings.time_format)
    loaded = Loaded(
        values=np.empty((table.most, len(wanted))),
        times=np.empty(table.most, dtype=np.int64) if clock else None,
        codes={one: np.empty(table.most, np.int32) for one in _coded(queries)},
        texts={one: {} for one in _coded(queries)},
    )
    needed = list(dict.fromkeys(one for one in columns.named(settings) if one in kinds))
    for batch in table.batches(needed) if needed else ():
        _pour(batch.select(**queries), loaded, table, wanted, clock=clock)
    _crop(loaded)
    for place, name in enumerate(wanted):
        if name in levels:
            cells = loaded.codes.pop(f"level {name}").astype(np.float64)
            cells[cells < 0] = np.nan
            loaded.values[:, place] = cells
    return loaded, notes


def _coded(queries: Mapping[str, pl.Expr]) -> list[str]:
    return [one for one in queries if one.split()[0] in ("id", "label", "group", "static", "level")]


def _queries(
    table: Table, settings: DataSettings, kinds: Kinds, wanted: list[str], *, levels: list[str]
) -> dict[str, pl.Expr]:
    """What is asked of each batch, by role."""
    schema, missing = table.sample.schema, settings.missing_values
    queries: dict[str, pl.Expr] = {}
    if settings.id:
        texts = [tables.as_text(one, schema[one], missing) for one in settings.id]
        queries["id"] = pl.concat_str(texts, separator="/")
    if settings.time:
        cell = pl.col(settings.time)
        plain = schema[settings.time] != pl.String
        queries["time"] = cell if plain else tables.as_text(settings.time, pl.String(), missing)
    for role in ("label", "group"):
        name = getattr(settings, role)
        if name in schema:
            queries[role] = tables.as_text(name, schema[name], missing)
    for name in settings.static:
        queries[f"static {name}"] = tables.as_text(name, schema[name], missing)
    for name in wanted:
        text = tables.as_text(name, schema[name], missing)
        if name in levels:
            queries[f"level {name}"] = text
            continue
        number = tables.as_number(name, schema[name], missing, truth=kinds[name] == "truth")
        queries[f"value {name}"] = number
        if not schema[name].is_numeric():
            queries[f"wrong {name}"] = text.is_not_null() & number.is_null()
    return queries


def _pour(
    batch: pl.DataFrame,
    loaded: Loaded,
    table: Table,
    wanted: list[str],
    *,
    clock: times.Clock | None,
) -> None:
    begin, end = loaded.height, loaded.height + batch.height
    for place, name in enumerate(wanted):
        if f"value {name}" in batch.columns:
            _refuse_wrong(batch, name, table, begin)
            loaded.values[begin:end, place] = batch[f"value {name}"].to_numpy()
    if clock and loaded.times is not None:
        moments = _moments(batch["time"], clock, table, begin)
        loaded.dated = moments.dtype != pl.Int64
        loaded.times[begin:end] = moments.to_physical().to_numpy()
    for role, known in loaded.texts.items():
        loaded.codes[role][begin:end] = _codes(batch[role], known)
    if "id" in batch.columns and batch["id"].null_count():
        where = table.at(begin + int(batch["id"].is_null().arg_max() or 0))
        raise DataError(f"{table.name}: {where} has no sequence id. Fill it in.")
    loaded.height = end


def _refuse_wrong(batch: pl.DataFrame, name: str, table: Table, begin: int) -> None:
    if f"wrong {name}" not in batch.columns or not batch[f"wrong {name}"].any():
        return
    row = begin + int(batch[f"wrong {name}"].fill_null(False).arg_max() or 0)
    cell = _cell(table, name, row)
    remedy = (
        "Write decimal points instead of decimal commas."
        if cell.replace(",", ".", 1).lstrip("+-").replace(".", "", 1).isdigit()
        else "Mend it, or name it in data.missing_values if it means that nothing was measured."
    )
    raise DataError(
        f"{table.name}: column {name!r} must hold numbers, but {table.at(row)} has {cell!r}. "
        f"{remedy}"
    )


def _cell(table: Table, name: str, row: int) -> str:
    """One cell as it stands in the table."""
    for batch in table.batches([name]):
        if row < batch.height:
            return str(batch[name][row]).strip()
        row -= batch.height
    return ""


def _moments(cells: pl.Series, clock: times.Clock, table: Table, begin: int) -> pl.Series:
    moments = clock(cells)
    if moments.null_count():
        row = int(moments.is_null().arg_max() or 0)
        where = f"{table.name}: {table.at(begin + row)}"
        if cells[row] is None:
            raise DataError(f"{where} has no time. Fill it in or take the row out.")
        raise DataError(
            f"{where} has the time {str(cells[row])!r}, which cannot be read. Times must be dates, "
            "datetimes or whole numbers, all written alike; set data.time_format for another way "
            "of writing them."
        )
    return moments


def _codes(cells: pl.Series, known: dict[str, int]) -> Array:
    """Positions of these texts in `known`, which grows as new ones come."""
    fresh = cells.drop_nulls().unique(maintain_order=True).to_list()
    for text in fresh:
        known.setdefault(text, len(known))
    positions = [known[text] for text in fresh]
    codes = cells.replace_strict(fresh, positions, default=-1, return_dtype=pl.Int32)
    return codes.to_numpy()


def _crop(loaded: Loaded) -> None:
    loaded.values = loaded.values[: loaded.height]
    loaded.codes = {role: codes[: loaded.height] for role, codes in loaded.codes.items()}
    if loaded.times is not None:
        loaded.times = loaded.times[: loaded.height]


def _order(loaded: Loaded, settings: DataSettings, notes: list[str]) -> Array | None:
    """Group by sequence and sort by time, in place; the former row of each step, or None."""
    ids, moments = loaded.codes.get("id"), loaded.times
    grouped = ids is None or not _any_backward(ids, None)
    ascending = moments is None or not _any_backward(moments, ids)
    if grouped and ascending:
        return None
    if not ascending:
        notes.append(f"times were not in order; sorted by {settings.time!r}")
    keys = [one for one in (moments, ids) if one is not None]
    order = np.lexsort(keys)  # stable
    # One column at a time: a second array of all values would double the memory.
    for place in range(loaded.values.shape[1]):
        loaded.values[:, place] = loaded.values[order, place]
    loaded.codes = {role: codes[order] for role, codes in loaded.codes.items()}
    if moments is not None:
        loaded.times = moments[order]
    return order


def _any_backward(keys: Array, ids: Array | None) -> bool:
    """Whether a step lies before the one above it; block by block, to copy little."""
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


def _picked(texts: list[str], codes: Array) -> Array:
    """The texts at these positions, "" at -1."""
    return np.array([*texts, ""])[codes]


def _with_sides(
    sequences: Sequences,
    loaded: Loaded,
    settings: DataSettings,
    kinds: Kinds,
    *,
    origin: Origin,
) -> Sequences:
    """The same sequences with label, group and static values, which must not change within one."""
    found: dict[str, Array] = {}
    for role, codes in loaded.codes.items():
        if role != "id":
            column = role.partition(" ")[2] or getattr(settings, role)
            constant = _constant(sequences, codes, column, list(loaded.texts[role]), origin=origin)
            found[role] = _picked(list(loaded.texts[role]), constant)
    static = {
        name: _numbers(found[f"static {name}"], name, sequences)
        if kinds[name] == "number"
        else found[f"static {name}"]
        for name in settings.static
    }
    labels, groups = found.get("label"), found.get("group")
    return replace(sequences, labels=labels, groups=groups, static=static)


def _constant(
    sequences: Sequences, codes: Array, column: str, texts: list[str], *, origin: Origin
) -> Array:
    """The one code of each sequence, -1 where all its cells are empty."""
    ones = np.maximum.reduceat(codes, sequences.starts)
    wrong = (codes >= 0) & (codes != np.repeat(ones, sequences.lengths))
    if wrong.any():
        sequence = int(np.searchsorted(sequences.starts, int(wrong.argmax()), side="right")) - 1
        start, stop = sequences.starts[sequence], sequences.stops[sequence]
        filled = start + np.flatnonzero(codes[start:stop] >= 0)
        step = int(filled[(codes[filled] != codes[filled[0]]).argmax()])
        raise DataError(
            f"{origin.name}: column {column!r} must not change within a sequence, but in "
            f"{_named(sequences, sequence)} it goes from {texts[codes[filled[0]]]!r} to "
            f"{texts[codes[step]]!r} in {origin.place(step)}. Name more columns in data.id, "
            "so that a sequence ends where it changes."
        )
    return ones


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


def wide(table: Table, settings: DataSettings, kinds: Kinds) -> tuple[Sequences, Origin, list[str]]:
    """The sequences of a table with one row a sequence, empty cells at its end left out.

    Raises:
        DataError: a cell is no number, or a row has none at all.
    """
    steps = wide_steps(settings, kinds)
    # The rows are read as steps of many columns; there each cell becomes a step of one.
    as_rows = DataSettings(features=tuple(steps), missing_values=settings.missing_values)
    loaded, notes = _load(table, as_rows, kinds, steps, levels=[])
    matrix = loaded.values
    filled = ~np.isnan(matrix[:, ::-1])
    lengths = np.where(filled.any(axis=1), len(steps) - filled.argmax(axis=1), 0)
    _refuse_empty(lengths, table)
    if lengths.min() == len(steps):
        values = matrix.reshape(-1, 1)
    else:
        values = matrix[np.arange(len(steps)) < lengths[:, None]][:, None]
    sequences = _laid(values, lengths, (VALUE,), table)
    return *_with_row_sides(sequences, table, settings, kinds, lengths=lengths), notes


def _refuse_empty(lengths: Array, table: Table) -> None:
    if not lengths.all():
        row = int((lengths == 0).argmax())
        raise DataError(f"{table.name}: {table.at(row)} holds no step. Take it out.")


def _laid(values: Array, lengths: Array, names: tuple[str, ...], table: Table) -> Sequences:
    stops = np.cumsum(lengths).astype(np.int64)
    starts = stops - lengths
    ids = np.arange(len(lengths)).astype(str)
    return Sequences(values, starts, stops, starts, ids, names, source=table.name)


def _with_row_sides(
    sequences: Sequences, table: Table, settings: DataSettings, kinds: Kinds, *, lengths: Array
) -> tuple[Sequences, Origin]:
    """Ids, labels, groups and static values, of which each row holds one."""
    sides = replace(settings, target=(), past=(), known=(), features=(), time="")
    loaded, _ = _load(table, sides, kinds, [], levels=[])
    origin = Origin(table.name, table.at, np.repeat(np.arange(len(sequences)), lengths))
    if "id" in loaded.codes:
        ids = _picked(list(loaded.texts["id"]), loaded.codes["id"])
        if len(loaded.texts["id"]) < len(ids):
            _, first = np.unique(loaded.codes["id"], return_index=True)
            row = int(np.setdiff1d(np.arange(len(ids)), first)[0])
            raise DataError(
                f"{table.name}: {table.at(row)} has the id {str(ids[row])!r} once more. In a wide "
                "table each row is a sequence with its own id; set data.layout=long otherwise."
            )
        sequences = replace(sequences, ids=ids)
    by_row = replace(
        sequences, starts=np.arange(len(sequences)), stops=np.arange(len(sequences)) + 1
    )
    rows = Origin(table.name, table.at)
    found = _with_sides(by_row, loaded, settings, kinds, origin=rows)
    return replace(sequences, labels=found.labels, groups=found.groups, static=found.static), origin


def lists(
    table: Table, settings: DataSettings, kinds: Kinds
) -> tuple[Sequences, Origin, list[str]]:
    """The sequences of a table that holds each in one row, as lists.

    Raises:
        DataError: the lists of a row differ in length, or hold something else than numbers.
    """
    named = value_columns(settings)
    needed = [*named, settings.time] if settings.time else named
    frame = pl.concat(list(table.batches(needed)))
    lengths = _list_lengths(frame, needed, table)
    _refuse_empty(lengths, table)
    parts = [_list_values(frame[name], table) for name in named]
    wide_names = [
        (name,) if part.shape[1] == 1 else tuple(f"{name}{k}" for k in range(part.shape[1]))
        for name, part in zip(named, parts, strict=True)
    ]
    values = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    names = tuple(one for several in wide_names for one in several)
    sequences = _laid(values, lengths, names, table)
    sequences, origin = _with_row_sides(sequences, table, settings, kinds, lengths=lengths)
    if not settings.time:
        return sequences, origin, []
    cells = frame[settings.time].explode()
    label = f"{table.name}: column {settings.time!r}"
    clock, notes = times.clock(cells, label, settings.time_format)
    read = _moments(cells, clock, table, 0)
    moments = read.to_physical().to_numpy().copy()
    dated = read.dtype != pl.Int64
    sequences = replace(sequences, times=moments.view("M8[us]") if dated else moments)
    return sequences, origin, notes


def _list_lengths(frame: pl.DataFrame, needed: list[str], table: Table) -> Array:
    """The steps of each row, in which every list must be as long as the first."""

    def length(name: str) -> Array:
        cells = frame[name]
        if not cells.dtype.is_nested():
            raise DataError(
                f"{table.name}: column {name!r} must hold lists, as {needed[0]!r} does."
            )
        counted = cells.arr.to_list() if isinstance(cells.dtype, pl.Array) else cells
        return counted.list.len().fill_null(0).to_numpy().astype(np.int64)

    lengths = length(needed[0])
    for name in needed[1:]:
        wrong = length(name) != lengths
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                f"{table.name}: in {table.at(row)} the list {name!r} has {length(name)[row]} "
                f"steps, but {needed[0]!r} has {lengths[row]}. They must be equally long."
            )
    return lengths


def _list_values(cells: pl.Series, table: Table) -> Array:
    """All steps of a column of lists, [steps, columns]."""
    flat = cells.explode(empty_as_null=False, keep_nulls=False)
    width = 1
    if flat.dtype.is_nested():
        inner = flat.arr.to_list() if isinstance(flat.dtype, pl.Array) else flat
        widths = inner.list.len()
        if widths.null_count() or widths.n_unique() != 1:
            raise DataError(
                f"{table.name}: the lists within {cells.name!r} differ in length; each step needs "
                "the same number of values."
            )
        width = int(widths[0])
        flat = inner.explode()
    if not (flat.dtype.is_numeric() or flat.dtype in (pl.Boolean, pl.Null)):
        raise DataError(f"{table.name}: the lists of {cells.name!r} must hold numbers only.")
    return flat.cast(pl.Float64).to_numpy().reshape(-1, width)
