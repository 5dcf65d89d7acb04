"""Which column is what: the settings as given, checked against a table, and the rest guessed.

Every guess becomes a note and a setting, so that new data are later asked for the same columns.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Literal

import numpy as np
import polars as pl

from gatewise.data import grids
from gatewise.data.sequences import Sequences
from gatewise.errors import ConfigError, DataError
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

Kinds = Mapping[str, str]
Purpose = Literal["train", "evaluate", "predict"]

IDS = ("id", "unique_id", "series_id", "item_id", "sequence_id", "case_id", "segment_id", "ts_id")
LABELS = ("label", "class", "target_class", "class_label", "activity", "labels")
TIMES = ("time", "timestamp", "datetime", "date", "ds", "time_idx", "timestep", "date_time")
# Names that mean the time only where the column does nothing but count the steps.
COUNTERS = (
    *("t", "step", "steps", "step_id", "step_index", "step_number", "time_step", "tick", "cycle"),
    *("frame", "frame_id", "frame_number", "seconds", "secs", "sec", "time_s", "time_sec"),
    *("milliseconds", "time_ms", "elapsed", "elapsed_time", "elapsed_seconds"),
)
ROLES = (
    *("id", "time", "target", "past", "known", "static", "features", "label", "group"),
    *("text", "sound"),
)
NUMBERS = ("number", "truth")
VALUE = "value"  # the one column of a wide table


def resolve(
    table: Table, settings: DataSettings, *, task: str, purpose: Purpose
) -> tuple[DataSettings, Kinds, list[str]]:
    """The settings with every column named, what the columns hold, and a note for each guess.

    Raises:
        ConfigError: two settings claim one column, or the columns cannot be guessed.
        DataError: a named column is not there, or holds something else than it must.
    """
    demand(table, settings, purpose)
    _refuse_two_roles(settings)
    kinds = table.kinds(settings.missing_values)
    notes: list[str] = []
    if purpose == "train" or settings.layout == "auto":
        settings = _guess_names(table, settings, kinds, notes, task=task)
    if task == "classify" and purpose == "train" and not settings.label:
        raise ConfigError(
            f"{table.name}: no column is known to hold the labels. Name it with "
            f"--set data.label=COLUMN; the columns are {_listed(table.columns)}."
        )
    if settings.layout == "wide":
        settings = _resolve_wide(table, settings, kinds, notes, task=task)
        read = [] if in_lists(settings, kinds) else wide_steps(settings, kinds)
        return settings, kinds, [*notes, *unread(table, settings, read)]
    fill = _with_features if task == "classify" else _with_target
    settings = fill(table, settings, kinds, notes)
    if task == "forecast" and purpose == "train":
        _refuse_joined(table, settings, kinds)
    return settings, kinds, [*notes, *unread(table, settings)]


def unread(table: Table, settings: DataSettings, read: Sequence[str] = ()) -> list[str]:
    """A note that names the columns which the settings do not name and nobody reads, or none."""
    left = [one for one in _free(table, settings) if one not in read]
    return [f"not read: {_listed(left)}"] if left else []


def _refuse_joined(table: Table, settings: DataSettings, kinds: Kinds) -> None:
    """Several series, whose times cannot be read and whose names nobody gave, are not one series.

    Raises:
        DataError: a column that is not read tells series apart.
    """
    if settings.id or settings.time:
        return
    column, times_of = _parting(table, _free(table, settings), kinds)
    if not column:
        return
    names = table.sample[column].cast(pl.String).unique(maintain_order=True)
    untold = "no column is known to hold their times"
    if times_of:
        first = table.sample[times_of][0]
        untold = f"{times_of!r} ({str(first)!r} ...) is not known to hold their times"
    raise DataError(
        f"{table.name}: {column!r} tells {names.len()} series apart ({_listed(names[:3].to_list())}"
        f" ...), and {untold}, so they would be read as one. Name the series with --set "
        f"data.id={column}, and write times as 2024-01-31 or set data.time and data.time_format "
        "(without times the rows of each series keep their order). If all rows are one series, "
        f"name {column!r} in data.past, or take it out of the file."
    )


def _parting(table: Table, free: Sequence[str], kinds: Kinds) -> tuple[str, str]:
    """The column that tells series apart, and one whose texts order the steps of each; "" for none.

    Either the rows of each series stand together, or each pair of series and time occurs once.
    """
    sample, height = table.sample, table.sample.height
    counts = {one: sample[one].n_unique() for one in free if kinds[one] in ("text", "number")}
    repeated = sorted(
        (one for one, count in counts.items() if 2 <= count <= height / 2), key=counts.__getitem__
    )
    for column in repeated:
        for other in repeated:
            crossed = counts[column] * counts[other] == height  # each series at each time
            likely = kinds[other] == "text" and (kinds[column] == "text" or crossed)
            fewer = other != column and counts[column] <= counts[other]
            if likely and fewer and _distinct(table, [column, other]):
                return column, other
    for column in repeated:
        if kinds[column] == "text" and sample[column].rle_id().n_unique() == counts[column]:
            return column, next((one for one in free if counts.get(one) == height), "")
    return "", ""


def named(settings: DataSettings) -> list[str]:
    """Every column that the settings name."""
    found: list[str] = []
    for role in ROLES:
        value = getattr(settings, role)
        found += [value] if isinstance(value, str) and value else list(value)
    return found


def absent(name: str, column: str, columns: Sequence[str]) -> DataError:
    """The error of a column that is not there."""
    folded = {one.lower(): one for one in columns}
    near = [folded[one] for one in get_close_matches(column.lower(), list(folded), n=2)]
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return DataError(f"{name} has no column {column!r}.{hint} Its columns are {_listed(columns)}.")


def demand(table: Table, settings: DataSettings, purpose: Purpose) -> None:
    """Every column that the settings name is there; labels and groups need not be to predict.

    Raises:
        DataError: one is not.
    """
    for role in ROLES:
        value = getattr(settings, role)
        for column in [value] if isinstance(value, str) else value:
            optional = purpose == "predict" and role in ("label", "group")
            virtual = role == "target" and settings.layout != "long" and column == VALUE
            if column and column not in table.columns and not optional and not virtual:
                raise absent(table.name, column, table.columns)


def _refuse_two_roles(settings: DataSettings) -> None:
    """A column is one thing; only an id may also be the group or a static value."""
    taken: dict[str, str] = {}
    for role in ("time", "target", "past", "known", "features", "label", "id"):
        value = getattr(settings, role)
        for column in [value] if isinstance(value, str) and value else list(value):
            if taken.setdefault(column, role) != role:
                raise ConfigError(
                    f"The column {column!r} is named twice: as data.{taken[column]} and as "
                    f"data.{role}. Keep one."
                )


def guessed_label(
    table: Table, settings: DataSettings, notes: list[str], *, task: str
) -> DataSettings:
    """With the column of labels: by its name, or because it is the only one that is left.

    Raises:
        ConfigError: it cannot be told.
    """
    free = _free(table, settings)
    column = _label(table, settings) or (free[0] if len(free) == 1 else "")
    if not column:
        raise ConfigError(
            f"{table.name}: no column is known to hold what {task} learns. Name it with "
            f"--target COLUMN; the columns are {_listed(table.columns)}."
        )
    return _taken(settings, notes, role="label", column=column)


def guessed_id(table: Table, settings: DataSettings, notes: list[str]) -> DataSettings:
    """With the column of ids, where one is called so and no two rows share one."""
    if settings.id:
        return settings
    column = _id(table, settings)
    distinct = column and _distinct(table, [column])
    return _taken(settings, notes, role="id", column=column if distinct else "")


def _guess_names(
    table: Table, settings: DataSettings, kinds: Kinds, notes: list[str], *, task: str
) -> DataSettings:
    """Label, time, id and layout, in this order: each rules out columns for the next."""
    if task == "classify" and not settings.label:
        settings = _taken(settings, notes, role="label", column=_label(table, settings))
    if settings.layout == "wide":
        return settings
    if not settings.time:
        column = _time(table, settings, kinds)
        settings = _taken(settings, notes, role="time", column=column)
    if not settings.id:
        column = _id(table, settings)
        settings = _taken(settings, notes, role="id", column=column)
    if settings.layout == "auto":
        settings = replace(settings, layout=_layout(table, settings, kinds, task=task))
        if settings.layout == "wide":
            hint = "set data.id or data.layout=long where a row is one step"
            notes.append(f"each row is taken as one sequence; {hint}")
    if settings.layout == "long" and not settings.time:
        settings = _with_counter(table, settings, kinds, notes, task=task)
    return settings


def _with_counter(
    table: Table, settings: DataSettings, kinds: Kinds, notes: list[str], *, task: str
) -> DataSettings:
    """A column that only counts the steps orders them; as a value it would say how long one is."""
    numbers = [one for one in _free(table, settings) if kinds[one] == "number"]
    called = [one for one in numbers if _known_as([one], (*TIMES, *COUNTERS))]
    rising = [one for one in called if _rises(table, settings, one, evenly=False)]
    column = _known_as(rising, TIMES) or _known_as(
        [one for one in rising if _rises(table, settings, one, evenly=True)], COUNTERS
    )
    if not column:
        return settings
    settings = _taken(settings, notes, role="time", column=column)
    place = "data.features" if task == "classify" else "data.past or data.known"
    notes[-1] += f", for it only counts up, and is not read as a value; {place} can name it"
    return settings


def _rises(table: Table, settings: DataSettings, column: str, *, evenly: bool) -> bool:
    """Whether the numbers of a column rise within each sequence, by one and the same amount."""
    cells = pl.col(column).cast(pl.Float64, strict=False)
    moves = cells.diff().over(settings.id) if settings.id else cells.diff()
    cell, move = table.sample.select(cells.alias("cell"), moves.alias("move"))
    ahead = move.drop_nulls()
    if cell.null_count() or ahead.len() == 0 or not bool((ahead > 0).all()):
        return False
    usual = float(np.median(ahead.to_numpy()))
    return not evenly or bool(((ahead - usual).abs() <= grids.SLACK * usual).all())


def _taken(settings: DataSettings, notes: list[str], *, role: str, column: str) -> DataSettings:
    if not column:
        return settings
    words = {"label": "the label", "time": "the time", "id": "the name of the sequence"}
    notes.append(f"the column {column!r} is taken as {words[role]}")
    if role == "id":
        return replace(settings, id=(column,))
    return replace(settings, label=column) if role == "label" else replace(settings, time=column)


def _free(table: Table, settings: DataSettings) -> list[str]:
    taken = set(named(settings))
    return [one for one in table.columns if one not in taken]


def _known_as(columns: Iterable[str], names: Sequence[str]) -> str:
    """The column with the best known of these names, or ""."""
    folded = {column.lower().replace(" ", "_"): column for column in reversed(list(columns))}
    return next((folded[one] for one in names if one in folded), "")


def _label(table: Table, settings: DataSettings) -> str:
    return _known_as(_free(table, settings), LABELS)


def _time(table: Table, settings: DataSettings, kinds: Kinds) -> str:
    """The one column of times; of several, the one with a well-known name."""
    free = _free(table, settings)
    found = [one for one in free if kinds[one] == "time"]
    if not found:
        listed = [one for one in free if kinds[one] in ("number", "list")]
        name = _known_as(listed, TIMES)
        return name if name and (kinds[name] == "list" or _whole(table, name)) else ""
    if len(found) == 1:
        return found[0]
    if name := _known_as(found, TIMES):
        return name
    raise ConfigError(
        f"{table.name}: the columns {_listed(found)} all hold times. "
        "Name the one that orders the steps with --set data.time=COLUMN."
    )


def _whole(table: Table, column: str) -> bool:
    cells = table.sample[column].cast(pl.Float64, strict=False)
    return cells.null_count() == 0 and bool((cells == cells.round()).all())


def _id(table: Table, settings: DataSettings) -> str:
    return _known_as(_free(table, settings), IDS)


def _layout(
    table: Table, settings: DataSettings, kinds: Kinds, *, task: str
) -> Literal["long", "wide"]:
    free = _free(table, settings)
    if any(kinds[one] == "list" for one in [*free, *named(settings)] if one in kinds):
        return "wide"
    if settings.time:
        return "long"
    if task == "classify":
        one_row_each = not settings.id or _distinct(table, settings.id)
        return "wide" if settings.label and one_row_each else "long"
    texts = list(settings.id) or [one for one in free if kinds[one] == "text"][:1]
    steps = [one for one in free if kinds[one] in ("number", "empty") and one not in texts]
    others = [one for one in free if one not in (*steps, *texts)]
    given = settings.target or settings.past or settings.known
    wide = texts and _distinct(table, texts) and _numbered(steps) and not others and not given
    return "wide" if wide else "long"


def _distinct(table: Table, columns: Sequence[str]) -> bool:
    return not table.sample.select(columns).is_duplicated().any()


def _numbered(columns: Sequence[str]) -> bool:
    """Whether the columns are called V2, V3, V4 ...: one prefix, and numbers that count up."""
    parts = [re.fullmatch(r"(\D*)(\d+)", one) for one in columns]
    if len(parts) < 8 or not all(parts):
        return False
    numbers = [int(part[2]) for part in parts if part]
    return len({part[1] for part in parts if part}) == 1 and numbers == list(
        range(numbers[0], numbers[0] + len(numbers))
    )


def _resolve_wide(
    table: Table, settings: DataSettings, kinds: Kinds, notes: list[str], *, task: str
) -> DataSettings:
    settings = replace(settings, layout="wide")
    if not settings.id:
        free = [one for one in _free(table, settings) if kinds[one] == "text"]
        column = _known_as(_free(table, settings), IDS) or (free[0] if free else "")
        settings = _taken(settings, notes, role="id", column=column)
    lists = any(kind == "list" for kind in kinds.values())
    if lists:
        return _with_lists(table, settings, kinds, notes, task=task)
    if settings.past or settings.known or settings.target not in ((), (VALUE,)):
        raise ConfigError(
            f"{table.name}: in a wide table the cells of a row are the steps, so data.target, "
            "data.past and data.known cannot name columns. Leave them out, or set data.layout=long."
        )
    if not wide_steps(settings, kinds):
        raise DataError(f"{table.name} has no column of numbers; it needs one for each step.")
    return replace(settings, target=(VALUE,)) if task == "forecast" else settings


def wide_steps(settings: DataSettings, kinds: Kinds) -> list[str]:
    """The columns of a wide table that are the steps, in the order of the file."""
    if settings.features:
        return list(settings.features)
    taken = set(named(settings)) - {VALUE}
    return [one for one in kinds if kinds[one] in (*NUMBERS, "empty") and one not in taken]


def _with_lists(
    table: Table, settings: DataSettings, kinds: Kinds, notes: list[str], *, task: str
) -> DataSettings:
    lists = [one for one in _free(table, settings) if kinds[one] == "list"]
    if task == "classify":
        return settings if settings.features else replace(settings, features=tuple(lists))
    if settings.target:
        return settings
    return replace(settings, target=(_only(table.name, lists, notes),))


def _leftover(table: Table, settings: DataSettings, kinds: Kinds) -> list[str]:
    """The columns of numbers that nothing claims; a count of the rows is no data."""
    free = [one for one in _free(table, settings) if kinds[one] in NUMBERS]
    names = {*IDS, *TIMES}
    return [
        one
        for one in free
        if one.lower().replace(" ", "_") not in names and not _counts_rows(table, one)
    ]


def _counts_rows(table: Table, column: str) -> bool:
    """Whether this is the nameless index that pandas writes as a first column."""
    if not re.fullmatch(r"column 1|Unnamed: 0|index|level_0", column):
        return False
    cells = table.sample[column].cast(pl.Float64, strict=False)
    return bool((cells.diff().drop_nulls() == 1).all()) and cells.null_count() == 0


def _with_features(
    table: Table, settings: DataSettings, kinds: Kinds, notes: list[str]
) -> DataSettings:
    settings = replace(settings, layout="long")
    if settings.features:
        return settings
    found = _leftover(table, settings, kinds)
    if not found:
        raise DataError(
            f"{table.name} has no column of numbers besides those named: "
            f"{_listed(named(settings) or table.columns)}."
        )
    notes.append(f"the columns {_listed(found)} are read as features")
    return replace(settings, features=tuple(found))


def _with_target(
    table: Table, settings: DataSettings, kinds: Kinds, notes: list[str]
) -> DataSettings:
    settings = replace(settings, layout="long")
    if settings.target:
        return settings
    return replace(settings, target=(_only(table.name, _leftover(table, settings, kinds), notes),))


def _only(name: str, found: Sequence[str], notes: list[str]) -> str:
    """The one column that can be the target.

    Raises:
        ConfigError: there are several.
        DataError: there is none.
    """
    if not found:
        raise DataError(f"{name} has no column of numbers that could be forecast.")
    if len(found) > 1:
        raise ConfigError(
            f"{name} has {len(found)} columns of numbers: {_listed(found)}. "
            "Say which to forecast with --target COLUMN (it may be given more than once)."
        )
    notes.append(f"the column {found[0]!r} is taken as the target")
    return found[0]


def of_array(
    columns: tuple[str, ...],
    settings: DataSettings,
    notes: list[str],
    *,
    name: str,
    task: str,
    purpose: Purpose,
) -> tuple[DataSettings, list[int]]:
    """The settings, and which columns of an array they ask for, in the order of Sequences.

    Raises:
        ConfigError: there is no target, and the array has several columns.
        DataError: a named column is not there.
    """
    if task == "classify":
        wanted = settings.features or columns
        settings = replace(settings, features=tuple(wanted))
    else:
        target = settings.target or (_only(name, columns, notes),)
        settings = replace(settings, target=tuple(target))
        wanted = (*settings.target, *settings.past, *settings.known)
    for column in wanted:
        if column not in columns and purpose == "train":
            raise absent(name, column, columns)
        if column not in columns:
            # Columns of arrays have no names of their own, so that counts say more.
            raise DataError(
                f"{name} has {_counted(columns)} a step, and the run was trained on "
                f"{_counted(tuple(wanted))}. Give arrays with the columns of training, in the "
                "same order."
            )
    if unread := [one for one in columns if one not in wanted]:
        counts = f"of the {_counted(columns)} a step, the run reads {_counted(tuple(wanted))}"
        notes.append(f"not read: {_listed(unread)}" if purpose == "train" else counts)
    return settings, [columns.index(one) for one in wanted]


def _counted(columns: Sequence[str]) -> str:
    return f"{len(columns)} column{'s' if len(columns) > 1 else ''} ({_listed(columns)})"


def require_each_label(sequences: Sequences, task: str, settings: DataSettings) -> None:
    """Training to classify needs a label for every sequence, or none or more where it has several.

    Raises:
        DataError: one has none.
    """
    if task != "classify":
        return
    if sequences.labels is None:
        raise DataError(
            f"{sequences.source} has no labels, which classify needs to train. Give a file that "
            "has them; for IDX images set data.labels to the file of labels."
        )
    empty = sequences.labels == ""
    if empty.any() and not settings.separator:
        sequence = str(sequences.ids[int(empty.argmax())])
        raise DataError(
            f"{sequences.source}: {empty.sum()} of {len(sequences)} sequences "
            f"{'has' if empty.sum() == 1 else 'have'} no label, the first is "
            f"{sequence!r}. Label them or take them out."
        )


def label_of(table: Table, settings: DataSettings) -> str:
    """The column that surely holds labels, or ""."""
    return _label(table, settings)


def time_of(table: Table, settings: DataSettings) -> str:
    """The column that surely holds times, or ""."""
    return settings.time or _time(table, settings, table.kinds(settings.missing_values))


def in_lists(settings: DataSettings, kinds: Kinds) -> bool:
    """Whether each row holds its sequence in lists."""
    named_lists = [*settings.target, *settings.features]
    return any(kinds.get(one) == "list" for one in named_lists)


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(map(repr, columns[:12]))
    return f"{shown} and {len(columns) - 12} more" if len(columns) > 12 else shown
