"""Read tables with one row per sequence: the cells of the row are the steps, or hold lists."""

from dataclasses import replace

import numpy as np
import polars as pl

from gatewise.data.sequences import Array, Sequences
from gatewise.errors import DataError, FlawError, Way
from gatewise.readers import times
from gatewise.readers.columns import VALUE, dated_steps
from gatewise.readers.long import Origin, load, moments_of, picked, value_columns, with_sides
from gatewise.readers.roles import Kinds, listing
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings


def wide(table: Table, settings: DataSettings, kinds: Kinds) -> tuple[Sequences, Origin, list[str]]:
    """The sequences of a table with one row per sequence, without empty cells at the ends of rows.

    Raises:
        DataError: a cell is not a number, or a row is empty.
    """
    steps = dated_steps(settings, kinds, [])
    if not steps:
        raise DataError(
            f"{table.name}: no column holds numbers that are steps. Its columns are "
            f"{listing(table.columns)}."
        )
    _, moments = times.dated(steps) if settings.target == (VALUE,) else ([], None)
    # Load rows as steps with many columns; then each cell becomes a step with one column.
    as_rows = DataSettings(features=tuple(steps), missing_values=settings.missing_values)
    loaded, notes = load(table, as_rows, kinds, steps, levels=[])
    matrix = loaded.values
    filled = ~np.isnan(matrix[:, ::-1])
    lengths = np.where(filled.any(axis=1), len(steps) - filled.argmax(axis=1), 0)
    _refuse_empty(lengths, table)
    if lengths.min() == len(steps):
        values = matrix.reshape(-1, 1)
    else:
        values = matrix[np.arange(len(steps)) < lengths[:, None]][:, None]
    sequences = _laid(values, lengths, (VALUE,), table)
    if moments is not None and len(moments):
        sequences = replace(sequences, times=np.concatenate([moments[:n] for n in lengths]))
    return *_with_row_sides(sequences, table, settings, kinds, lengths=lengths), notes


def _refuse_empty(lengths: Array, table: Table) -> None:
    if not lengths.all():
        row = int((lengths == 0).argmax())
        raise DataError(f"{table.name}: {table.at(row)} holds no step. Remove it.")


def _laid(values: Array, lengths: Array, names: tuple[str, ...], table: Table) -> Sequences:
    stops = np.cumsum(lengths).astype(np.int64)
    starts = stops - lengths
    ids = np.arange(len(lengths)).astype(str)
    return Sequences(values, starts, stops, starts, ids, names, source=table.name)


def _with_row_sides(
    sequences: Sequences, table: Table, settings: DataSettings, kinds: Kinds, *, lengths: Array
) -> tuple[Sequences, Origin]:
    """Add ids, labels, groups and static values, one per row."""
    sides = replace(settings, target=(), past=(), known=(), features=(), time=())
    loaded, _ = load(table, sides, kinds, [], levels=[])
    origin = Origin(table.name, table.at, np.repeat(np.arange(len(sequences)), lengths))
    if "id" in loaded.codes:
        ids = picked(list(loaded.texts["id"]), loaded.codes["id"])
        if len(loaded.texts["id"]) < len(ids):
            _, first = np.unique(loaded.codes["id"], return_index=True)
            row = int(np.setdiff1d(np.arange(len(ids)), first)[0])
            raise FlawError(
                f"{table.name}: {table.at(row)} repeats the id {str(ids[row])!r} "
                f"({listing(settings.id)}), but each row is read as a sequence with its own id.",
                advice="If the rows are sequences, give each an id of its own",
                ways=[Way({"layout": "long", "id": settings.id}, "reads each row as a step")],
            )
        sequences = replace(sequences, ids=ids)
    by_row = replace(
        sequences, starts=np.arange(len(sequences)), stops=np.arange(len(sequences)) + 1
    )
    rows = Origin(table.name, table.at)
    found = with_sides(by_row, loaded, settings, kinds, origin=rows)
    return replace(sequences, labels=found.labels, groups=found.groups, static=found.static), origin


def lists(
    table: Table, settings: DataSettings, kinds: Kinds
) -> tuple[Sequences, Origin, list[str]]:
    """The sequences of a table with one row per sequence, as lists.

    Raises:
        DataError: the lists of a row differ in length, or do not hold numbers.
    """
    named = value_columns(settings)
    needed = [*named, *settings.time]
    frame = pl.concat(list(table.batches(needed)))
    lengths = _list_lengths(frame, needed, table)
    _refuse_empty(lengths, table)
    parts = [_list_values(frame[name], table) for name in named]
    for name, part in zip(named, parts, strict=True):
        if name in settings.target and part.shape[1] > 1:
            raise DataError(
                f"{table.name}: the target {name!r} holds a list of {part.shape[1]} numbers at "
                "each step. Write each of them as a column of lists of its own, or name another "
                "--target."
            )
    wide_names = [
        (name,) if part.shape[1] == 1 else tuple(f"{name}{k}" for k in range(part.shape[1]))
        for name, part in zip(named, parts, strict=True)
    ]
    values = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    names = tuple(name for group in wide_names for name in group)
    sequences = _laid(values, lengths, names, table)
    sequences, origin = _with_row_sides(sequences, table, settings, kinds, lengths=lengths)
    if not settings.time:
        return sequences, origin, []
    cells = frame[settings.time[0]].explode()
    label = f"{table.name}: column {settings.time[0]!r}"
    clock, notes = times.clock(cells, label, settings.time_format)
    read = moments_of(cells, clock, table, 0)
    moments = read.to_physical().to_numpy().copy()
    dated = read.dtype == pl.Datetime
    sequences = replace(sequences, times=moments.view("M8[us]") if dated else moments)
    return sequences, origin, notes


def _list_lengths(frame: pl.DataFrame, needed: list[str], table: Table) -> Array:
    """The number of steps of each row; all lists of a row must be equally long."""

    def length(name: str) -> Array:
        cells = frame[name]
        if not cells.dtype.is_nested():
            raise DataError(f"{table.name}: column {name!r} must hold lists like {needed[0]!r}.")
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
    if isinstance(flat.dtype, pl.List | pl.Array):
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
    # Repairs fill empty cells in place, and what Polars lends is read-only.
    return flat.cast(pl.Float64).to_numpy(writable=True).reshape(-1, width)
