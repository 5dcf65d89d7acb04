"""Assign roles to columns: check the settings against a table, and guess what they do not name.

Every guess becomes a note and a setting, so new data must have the same columns.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import combinations
from typing import Literal

import polars as pl

from gatewise.data.sequences import Sequences
from gatewise.errors import ConfigError, DataError, FlawError, Way
from gatewise.readers import time_columns, times
from gatewise.readers.cells import SAMPLE
from gatewise.readers.labels import are_flags, with_truth
from gatewise.readers.remedies import option
from gatewise.readers.roles import (
    IDS,
    NUMBERS,
    ROLES,
    SERIES,
    Aim,
    Kinds,
    are_distinct,
    known_as,
    listing,
    named,
    numbered,
    with_role,
    without_role,
)
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings, shown

Purpose = Literal["train", "evaluate", "predict"]
# The sequences, the settings with every guess filled in, and notes on guesses and repairs.
Read = tuple[Sequences, DataSettings, list[str]]

LABELS = ("label", "class", "target_class", "class_label", "activity", "labels")
TARGETS = ("y", "target")  # as scikit-learn, Prophet and GluonTS call what is learned
VALUE = "value"  # the only column of the sequences of a wide table
FEW_REPEATED = 0.05  # times that repeat in less than this share of the rows may be slips
LEFT = 0.1  # the share of the repeated times that an id may leave, because they are slips
SHORT = 8  # a row of at most this many numbers is hardly a sequence
LONG_RUN = 10  # rows with one label, one after the other, which may be the steps of one sequence
MOST_PAIRED = 8  # columns of which two may tell series apart
MANY_STEPS = 24  # numbered columns of a table without times and labels that are taken for steps
MOST_CLOCKS = 16  # of tables with more columns of numbers, a row may be a sequence


def resolve(
    table: Table, settings: DataSettings, *, aim: Aim, purpose: Purpose
) -> tuple[DataSettings, Kinds, list[str]]:
    """The settings with every column named, the kinds of the columns, and a note for each guess.

    Raises:
        ConfigError: two settings name the same column, or the columns cannot be guessed.
        DataError: a named column is missing, or holds values of the wrong kind.
    """
    demand(table, settings, purpose)
    _refuse_two_roles(settings)
    kinds = table.kinds(settings.missing_values)
    notes: list[str] = []
    if purpose == "train" or settings.layout == "auto":
        settings = _guess_names(table, settings, kinds, notes, aim=aim)
    settings = _with_separator(table, settings)
    if aim == "label" and purpose == "train" and not (settings.label or settings.label_columns):
        raise ConfigError(
            f"{table.name}: no column is recognised as the labels. Name it with "
            f"--set data.label=COLUMN; the columns are {listing(table.columns)}."
        )
    if aim == "number" and purpose == "train" and not settings.target:
        raise ConfigError(
            f"{table.name}: no column is recognised as the target. Name it with --target COLUMN; "
            f"the columns are {listing(table.columns)}."
        )
    if settings.layout == "wide":
        settings = _resolve_wide(table, settings, kinds, notes, aim=aim)
        read = [] if in_lists(settings, kinds) else dated_steps(settings, kinds, notes)
        return settings, kinds, [*notes, *unread(table, settings, read)]
    fill = _with_target if aim == "target" else _with_features
    settings = fill(table, settings, kinds, notes)
    demand(table, settings, purpose)  # again, because only a wide table has no column of targets
    if aim != "label" and purpose == "train":
        _refuse_joined(table, settings, kinds)
        notes += unrecognised_times(table, settings, kinds)
    return settings, kinds, [*notes, *unread(table, settings)]


def unread(table: Table, settings: DataSettings, read: Sequence[str] = ()) -> list[str]:
    """A note that lists the columns that are not read; empty if all are read."""
    known = set(read)
    rest = [name for name in without_role(table, settings) if name not in known]
    notes = [f"not read: {listing(rest)}"] if rest else []
    if parts := next((name for name in rest if _names_parts(table.sample[name])), ""):
        notes.append(
            f"the column {parts!r} names parts such as train and test, but rows are split anew; to "
            "keep them, write each part to a file, and name that of the test with data.test"
        )
    return notes


PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"}


def _names_parts(cells: pl.Series) -> bool:
    """True if a column holds nothing but the names of parts, and one is the training part."""
    found = set() if cells.dtype != pl.String else set(cells.drop_nulls().str.to_lowercase())
    return len(found) > 1 and found <= PARTS and bool(found & {"train", "training"})


def unrecognised_times(table: Table, settings: DataSettings, kinds: Kinds) -> list[str]:
    """A note on a column of texts that is called a time, but whose cells are not read as times."""
    texts = [name for name in without_role(table, settings) if kinds[name] == "text"]
    name = "" if settings.time else known_as(texts, (*time_columns.TIMES, *times.DATES))
    if not name:
        return []
    first = next(iter(table.sample[name].drop_nulls()))
    return [
        f"the column {name!r} ({first!r} ...) is not read as times, so the rows keep their order; "
        "--set data.time and data.time_format name another format"
    ]


def _refuse_joined(table: Table, settings: DataSettings, kinds: Kinds) -> None:
    """Refuse to read several series as one if the settings name neither ids nor times.

    Raises:
        DataError: a column that is not read distinguishes several series.
    """
    if settings.id or settings.time:
        return
    column, clock = _series_columns(table, without_role(table, settings), kinds)
    if not column:
        return
    names = table.sample[column].cast(pl.String).unique(maintain_order=True)
    reason = "no column is recognised as their times"
    if clock:
        first = table.sample[clock][0]
        reason = f"{clock!r} ({str(first)!r} ...) is not recognised as their times"
    raise DataError(
        f"{table.name}: {column!r} distinguishes {names.len()} series "
        f"({listing(names[:3].to_list())} ...), but {reason}, so they would be read as one. Name "
        f"the series with {option('id', [column])}, and write times as 2024-01-31 or set data.time "
        "and data.time_format (without times the rows of each series keep their order). If all "
        f"rows are one series, name {column!r} in data.past, or remove it from the file."
    )


def _series_columns(table: Table, free: Sequence[str], kinds: Kinds) -> tuple[str, str]:
    """The column that distinguishes series, and the column that orders their steps; "" for none.

    Either the rows of each series are adjacent, or each pair of series and time occurs once.
    """
    sample, height = table.sample, table.sample.height
    counts = {name: sample[name].n_unique() for name in free if kinds[name] in ("text", "number")}
    repeated = sorted(
        (name for name, count in counts.items() if 2 <= count <= height / 2),
        key=counts.__getitem__,
    )
    for column in repeated:
        for other in repeated:
            crossed = counts[column] * counts[other] == height  # each series at each time
            either = "text" in (kinds[column], kinds[other])
            likely = either and (crossed or kinds[column] == kinds[other])
            fewer = other != column and counts[column] <= counts[other]
            if likely and fewer and are_distinct(table, [column, other]):
                return column, other
    for column in repeated:
        if kinds[column] == "text" and sample[column].rle_id().n_unique() == counts[column]:
            return column, next((name for name in free if counts.get(name) == height), "")
    return "", ""


def absent(name: str, column: str, columns: Sequence[str]) -> DataError:
    """The error for a missing column."""
    folded = {existing.lower(): existing for existing in columns}
    near = [folded[match] for match in get_close_matches(column.lower(), list(folded), n=2)]
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    hint = " Give tables in a list, or by their names." if column == SERIES else hint
    return DataError(f"{name} has no column {column!r}.{hint} Its columns are {listing(columns)}.")


def demand(table: Table, settings: DataSettings, purpose: Purpose) -> None:
    """Check that the table has every named column; for predictions, label and group are optional.

    Raises:
        DataError: a column is missing.
    """
    for role in ROLES:
        value = getattr(settings, role)
        for column in [value] if isinstance(value, str) else value:
            optional = purpose == "predict" and role in ("label", "label_columns", "group")
            virtual = role == "target" and settings.layout != "long" and column == VALUE
            if column and column not in table.columns and not optional and not virtual:
                raise absent(table.name, column, table.columns)


def _refuse_two_roles(settings: DataSettings) -> None:
    """Refuse columns with two roles; only an id may also be the group or a static value."""
    taken: dict[str, str] = {}
    for role in ("time", "target", "past", "known", "features", "label", "label_columns", "id"):
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
    """The settings with the column of labels, guessed by its name or as the only unused column.

    Raises:
        ConfigError: the column cannot be guessed.
    """
    if settings.label_columns:
        return _with_separator(table, settings)
    free = answering(table, settings)
    column = _label(table, settings) or (free[0] if len(free) == 1 else "")
    flagged = flag_columns(table, free)
    if not column and len(flagged) > 1:
        notes.append(f"the columns {listing(flagged)} hold 0 and 1 and are read as labels")
        return _with_separator(table, replace(settings, label_columns=tuple(flagged)))
    if not column:
        raise ConfigError(
            f"{table.name}: no column is recognised as the labels that {task} learns. Name it "
            f"with --target COLUMN; the columns are {listing(table.columns)}."
        )
    return with_role(settings, notes, role="label", column=column)


def answering(table: Table, settings: DataSettings) -> list[str]:
    """The columns without a role that may hold labels: no ids, no row numbers, not empty."""
    kinds = table.kinds(settings.missing_values)
    several = list(kinds.values()).count("text") > 1
    return [
        name
        for name in without_role(table, settings)
        if kinds[name] != "empty"
        and not known_as([name], IDS)
        and not _counts_rows(table, name)
        and not (several and kinds[name] == "number" and _numbers_texts(table, name))
    ]


def _numbers_texts(table: Table, column: str) -> bool:
    """True for whole numbers in a column without a name that differ in each row."""
    if not re.fullmatch(r"column \d+", column):
        return False
    numbers = table.sample[column].cast(pl.Float64, strict=False)
    return not numbers.is_duplicated().any() and bool((numbers == numbers.round()).all())


def flag_columns(table: Table, names: Sequence[str]) -> list[str]:
    """Those of the columns that hold 0 and 1."""
    return [name for name in names if are_flags(table.sample[name])]


def _with_separator(table: Table, settings: DataSettings) -> DataSettings:
    """The settings with a separator of labels that have a column each.

    Raises:
        DataError: such a column holds something else than 0 and 1.
    """
    if not settings.label_columns:
        return settings
    for name in settings.label_columns:
        if name in table.columns and not are_flags(table.sample[name]):
            raise DataError(
                f"{table.name}: the column {name!r} of data.label_columns must hold 0 and 1. "
                "For a column of other labels, use data.label."
            )
    signs = [one for one in ";|,/" if not any(one in name for name in settings.label_columns)]
    return replace(settings, separator=settings.separator or signs[0])


def guessed_id(table: Table, settings: DataSettings, notes: list[str]) -> DataSettings:
    """The settings with the column of ids, if a column has such a name and unique values."""
    if settings.id:
        return settings
    column = _id(table, settings)
    distinct = column and are_distinct(table, [column])
    return with_role(settings, notes, role="id", column=column if distinct else "")


def _guess_names(
    table: Table, settings: DataSettings, kinds: Kinds, notes: list[str], *, aim: Aim
) -> DataSettings:
    """Guess label, time, id and layout in this order, because each guess excludes columns."""
    settings = _with_truth(table, settings, notes, aim=aim)
    if settings.layout == "wide":
        return settings
    if not settings.time:
        settings = time_columns.with_time(table, settings, kinds, notes)
    if not settings.id:
        column = _id(table, settings)
        # Where steps have times, an id that differs in each row numbers the rows.
        rows = aim == "target" and bool(settings.time) and column and are_distinct(table, [column])
        settings = with_role(settings, notes, role="id", column="" if rows else column)
    if settings.time and not settings.id and settings.layout != "wide":
        settings = _with_series(table, settings, kinds, notes)
    if not settings.id and settings.layout != "wide":
        settings = _with_runs(table, settings, kinds, notes, aim=aim)
    if settings.layout == "auto":
        settings = replace(settings, layout=_layout(table, settings, kinds, aim=aim))
        if settings.layout == "wide":
            _ask_what_rows_are(table, settings, kinds, aim=aim)
            hint = "; if a row is one step, set data.id or data.layout=long"
            steps = "" if "list" in kinds.values() else hint
            notes.append(f"each row is taken as one sequence{steps}")
    if settings.layout == "long" and not settings.time:
        settings = time_columns.with_counter(table, settings, kinds, notes, aim=aim)
    if settings.time and settings.layout != "wide":
        settings = time_columns.with_format(table, settings, notes)
    return settings


def _with_truth(
    table: Table, settings: DataSettings, notes: list[str], *, aim: Aim
) -> DataSettings:
    """The settings with the column of labels, or of numbers to predict."""
    role = {"label": "label", "number": "target"}.get(aim)
    named = settings.target if aim == "number" else settings.label or settings.label_columns
    if role is None or named:
        return settings
    return with_role(settings, notes, role=role, column=_label(table, settings))


def _with_series(
    table: Table, settings: DataSettings, kinds: Kinds, notes: list[str]
) -> DataSettings:
    """The settings with the column that distinguishes series, if times repeat without it.

    Raises:
        ConfigError: several columns distinguish series.
    """
    moments = list(settings.time)
    rows = table.sample.group_by(moments).len()["len"].to_list()  # of each time
    height, steps = table.sample.height, len(rows)
    if steps == height:
        return settings
    # If each series has each time; the first rows of a long table may end within one.
    series = max(rows) if height == SAMPLE else height / steps
    counts = {name: table.sample[name].n_unique() for name in without_role(table, settings)}
    numbers = [name for name in counts if kinds[name] in NUMBERS]
    # A number may tell series apart if each has each time, and if another number can be forecast.
    crossing = numbers if settings.target or settings.features or len(numbers) > 1 else []
    able = [name for name in counts if kinds[name] == "text" or name in crossing]
    # Where few times repeat, series follow each other, or these rows are slips.
    few = height - steps < FEW_REPEATED * height
    candidates = [
        name
        for name in able
        if are_distinct(table, [*moments, name])
        and (kinds[name] == "text" and counts[name] < height or counts[name] == series)
        and not (few and table.sample[name].rle_id().n_unique() > counts[name])
    ]
    if not candidates and (pair := _crossing_pair(able, counts, series)):
        notes.append(
            f"the columns {listing(pair)} are taken together as the name of the sequence, because "
            "times repeat without them"
        )
        return replace(settings, id=pair)
    if len(candidates) > 1:
        raise ConfigError(
            f"{table.name}: times repeat, and each of {listing(candidates)} distinguishes series. "
            f"Name the one that does with {option('id', [candidates[0]])}, for example."
        )
    if candidates:
        settings = with_role(settings, notes, role="id", column=candidates[0])
        notes[-1] += ", because times repeat without it"
    return settings


def _ask_what_rows_are(table: Table, settings: DataSettings, kinds: Kinds, *, aim: Aim) -> None:
    """Refuse to guess if rows of a few numbers follow each other with one label for long.

    Raises:
        FlawError: each row may be a short sequence, or a step.
    """
    if aim != "label" or not settings.label or settings.id:
        return
    numbers = [name for name in without_role(table, settings) if kinds[name] in NUMBERS]
    runs = table.sample[settings.label].rle_id().n_unique()
    if not numbers or len(numbers) > SHORT or runs * LONG_RUN > table.sample.height:
        return
    raise FlawError(
        f"{table.name}: the label {settings.label!r} stays the same for "
        f"{table.sample.height // runs} rows on average, and a row has {len(numbers)} "
        f"number{'s' if len(numbers) > 1 else ''}, so rows may be steps.",
        advice="If they are, name the columns that tell sequences apart in data.id; a label must "
        "not change within one",
        ways=[Way({"layout": "wide"}, "reads each row as a sequence")],
    )


def _with_runs(
    table: Table, settings: DataSettings, kinds: Kinds, notes: list[str], *, aim: Aim
) -> DataSettings:
    """The settings with the column that names the sequence of each row, if rows are labelled steps.

    The rows of a sequence are adjacent and have one label, and a number rises within each sequence
    and begins anew in the next.
    """
    whole = aim == "number" and settings.target_per != "step"
    truth = [settings.label] if settings.label else list(settings.target if whole else ())
    free = without_role(table, settings)
    clocks = [*settings.time, *(name for name in free if kinds[name] == "number")]
    if not truth and not settings.time:
        return _with_counts(table, settings, kinds, notes)
    if not truth or len(clocks) > MOST_CLOCKS:
        return settings
    sample, found = table.sample, dict[str, int]()
    for name in free:
        count = sample[name].n_unique() if kinds[name] in ("text", "number") else 0
        if not 1 < count <= len(sample) // 3 or sample[name].rle_id().n_unique() != count:
            continue
        alike = sample.select(name, *truth).n_unique() == count
        if alike and any(_restarts(sample, name, clock) for clock in clocks if clock != name):
            found[name] = count
    column = max(found, key=found.__getitem__, default="")
    if not column and aim == "number":  # the number may change at each step, or by mistake
        return _with_counts(table, settings, kinds, notes)
    settings = with_role(settings, notes, role="id", column=column)
    if column:
        notes[-1] += ", because each of them has adjacent rows with one label, which are its steps"
    return settings


def _with_counts(
    table: Table, settings: DataSettings, kinds: Kinds, notes: list[str]
) -> DataSettings:
    """The settings with the column of which each value has adjacent rows that are counted anew."""
    sample, free = table.sample, without_role(table, settings)
    numbers = [name for name in free if kinds[name] == "number"]
    if len(numbers) < 2:
        return settings  # what counts the rows may be what is learnt
    known = (*time_columns.TIMES, *time_columns.COUNTERS)
    clocks = [
        one
        for one in numbers
        if known_as([one], known) or (re.fullmatch(r"column \d+", one) and _begins(sample[one]))
    ]
    calendar = {name for names in times.PARTS.values() for name in names}
    for name in [one for one in free if kinds[one] in ("text", "number")]:
        count = sample[name].n_unique()
        if not 1 < count <= len(sample) // 3 or sample[name].rle_id().n_unique() != count:
            continue
        folded = name.lower().replace(" ", "_")
        if folded in calendar or folded in time_columns.TIMES:
            continue
        if clock := next((one for one in clocks if _counts(sample, name, one)), ""):
            settings = with_role(settings, notes, role="id", column=name)
            notes[-1] += f", because {clock!r} counts its rows and begins anew with the next"
            return settings
    return settings


def _begins(cells: pl.Series) -> bool:
    """True for numbers that begin with 0, 1 or with 1, 2."""
    first = cells.head(2).cast(pl.Float64, strict=False).to_list()
    return first in ([0.0, 1.0], [1.0, 2.0])


def _counts(sample: pl.DataFrame, name: str, clock: str) -> bool:
    """True if the numbers of a column go up by 1 from the same begin within each sequence."""
    cells = sample.select(name, pl.col(clock).cast(pl.Float64, strict=False).alias("clock"))
    if name == clock or cells["clock"].null_count():
        return False
    moves = cells.select(pl.col("clock").diff().over(name)).to_series().drop_nulls()
    begins = cells.group_by(name).first()["clock"]
    return bool((moves == 1).all()) and begins.n_unique() == 1


def _restarts(sample: pl.DataFrame, name: str, clock: str) -> bool:
    """True if the numbers of a column rise within each sequence, and most begin with the same."""
    cells = sample.select(name, pl.col(clock).cast(pl.Float64, strict=False).alias("clock"))
    moves = cells.select(pl.col("clock").diff().over(name)).to_series().drop_nulls()
    begins = cells.group_by(name, maintain_order=True).first()["clock"]
    rising = 0 < moves.len() * (1 - FEW_REPEATED) < int((moves > 0).sum())
    return rising and 2 * int((begins == begins[0]).sum()) > begins.len()


def repeating(table: Table, settings: DataSettings) -> list[str]:
    """The columns without a role that have few values, which may name sequences or be labels."""
    kinds = table.kinds(settings.missing_values)
    found = []
    for name in without_role(table, settings):
        cells = table.sample[name]
        few = cells.n_unique() * 2 <= len(cells)
        remarks = cells.null_count() * 2 > len(cells)  # on single rows, such as "corrected"
        if kinds[name] in ("text", "number") and few and not remarks:
            found.append(name)
    return found


def ids_apart(table: Table, settings: DataSettings, repeated: float) -> list[tuple[str, ...]]:
    """The values of data.id, one more column each, with which no time of the table repeats.

    If there are none, two columns that do so together; else the one with which fewest repeat, if
    these are few of those that repeat now.

    Args:
        table: the table.
        settings: its settings.
        repeated: the share of the rows that repeat a time now.
    """
    kinds = table.kinds(settings.missing_values)
    shares: dict[tuple[str, ...], float] = {}
    for name in repeating(table, settings):
        if kinds[name] == "number" and repeated < FEW_REPEATED:
            continue  # a measurement, which differs in the few rows that repeat a time
        cells = pl.concat(table.batches([*settings.id, *settings.time, name]))
        shares[*settings.id, name] = int(cells.is_duplicated().sum()) / max(len(cells), 1)
    apart = [ids for ids, share in shares.items() if share == 0]
    apart = apart or ([] if settings.id else _pairs_apart(table, settings, list(shares)))
    near = sorted(shares, key=shares.__getitem__)[:1]
    return apart[:3] or [ids for ids in near if shares[ids] < LEFT * repeated]


def _pairs_apart(
    table: Table, settings: DataSettings, names: Sequence[tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """Two columns with which no time repeats, and which have few values together."""
    found: list[tuple[str, ...]] = []
    single = [ids[-1] for ids in names][:MOST_PAIRED]
    for pair in combinations(single, 2):
        cells = pl.concat(table.batches([*settings.time, *pair]))
        series = cells.select(pair).n_unique()
        most = cells.group_by(list(settings.time)).len()["len"].max()  # rows of one time
        if series <= 2 * int(str(most)) and not cells.is_duplicated().any():
            found.append(pair)
    return found


def ids_within(table: Table, settings: DataSettings, column: str) -> list[tuple[str, ...]]:
    """The values of data.id, one more column each, with which a column is constant in a sequence.

    The rows of each such sequence are adjacent.
    """
    found = []
    for name in repeating(table, settings):
        ids = [*settings.id, name]
        cells = pl.concat(table.batches([*ids, column]))
        count = cells.select(ids).n_unique()
        adjacent = cells.select(pl.struct(ids).rle_id()).to_series().n_unique() == count
        if adjacent and cells.n_unique() == count:
            found.append(tuple(ids))
    return found[:3]


def _crossing_pair(
    names: Sequence[str], counts: Mapping[str, int], series: float
) -> tuple[str, ...]:
    """The only two columns whose combinations are as many as the series; () for none."""
    pairs = [
        (one, two)
        for place, one in enumerate(names)
        for two in names[place + 1 :]
        if counts[one] > 1 and counts[two] > 1 and counts[one] * counts[two] == series
    ]
    return pairs[0] if len(pairs) == 1 else ()


def _label(table: Table, settings: DataSettings) -> str:
    named_so = known_as(without_role(table, settings), LABELS)
    return named_so or (FIRST if _is_archived(table, settings) else "")


FIRST, SECOND = "column 1", "column 2"


def _is_archived(table: Table, settings: DataSettings) -> bool:
    """True for a file of the UCR archive: no header, a whole number, then 8 numbers or more.

    Where the second number counts the rows of each first one, the rows are steps (C-MAPSS).
    """
    if table.dialect is None or table.dialect.header_rows or settings.column_names:
        return False
    if len(table.columns) < 9 or FIRST in named(settings):
        return False
    labels = table.sample[FIRST].cast(pl.Float64, strict=False)
    whole = labels.null_count() == 0 and bool((labels == labels.round()).all())
    few = 1 < labels.n_unique() <= max(2, labels.len() // 2)
    second = table.sample[SECOND].cast(pl.Float64, strict=False)
    risen = (second.diff() == 1).filter(labels.diff() == 0)
    return whole and few and not (risen.len() and risen.all())


def _id(table: Table, settings: DataSettings) -> str:
    return known_as(without_role(table, settings), IDS)


def _layout(
    table: Table, settings: DataSettings, kinds: Kinds, *, aim: Aim
) -> Literal["long", "wide"]:
    free = without_role(table, settings)
    if any(kinds[name] == "list" for name in [*free, *named(settings)] if name in kinds):
        return "wide"
    if settings.time:
        return "long"
    if aim != "target":
        unique = not settings.id or are_distinct(table, settings.id)
        labelled = settings.label or settings.label_columns
        each_row = labelled or (aim == "number" and settings.target_per != "step")
        return "wide" if each_row and unique else "long"
    values = settings.target or settings.past or settings.known
    if not values and times.dated(wide_steps(settings, kinds))[0]:
        return "wide"
    texts = list(settings.id) or [name for name in free if kinds[name] == "text"][:1]
    steps = [name for name in free if kinds[name] in ("number", "empty") and name not in texts]
    others = [name for name in free if name not in {*steps, *texts} and kinds[name] != "text"]
    wide = texts and are_distinct(table, texts) and numbered(steps) and not others and not values
    return "wide" if wide else "long"


def _with_row_id(
    table: Table, settings: DataSettings, kinds: Kinds, notes: list[str], *, needed: bool
) -> DataSettings:
    """The settings with the column that names each row, or with two that do so together.

    `needed`: the first text is a name even if it repeats, which is then an error.
    """
    free = [name for name in without_role(table, settings) if kinds[name] == "text"]
    alone = [name for name in free if are_distinct(table, [name])]
    if column := known_as(without_role(table, settings), IDS) or (alone[0] if alone else ""):
        return with_role(settings, notes, role="id", column=column)
    pairs = [pair for pair in combinations(free, 2) if are_distinct(table, pair)]
    if not pairs:
        column = free[0] if free and needed else ""
        return with_role(settings, notes, role="id", column=column)
    notes.append(
        f"the columns {listing(pairs[0])} are taken together as the name of the sequence, because "
        "no column alone names each row"
    )
    return replace(settings, id=pairs[0])


def _resolve_wide(
    table: Table, settings: DataSettings, kinds: Kinds, notes: list[str], *, aim: Aim
) -> DataSettings:
    settings = replace(settings, layout="wide")
    lists = any(kind == "list" for kind in kinds.values())
    if not settings.id:
        # A row of numbers with a name that repeats may be a step; a row of lists is not a step.
        needed = aim == "target" or not lists
        settings = _with_row_id(table, settings, kinds, notes, needed=needed)
    if lists:
        return _with_lists(table, settings, kinds, notes, aim=aim)
    targets = aim != "number" and settings.target not in ((), (VALUE,))
    if settings.past or settings.known or targets:
        raise ConfigError(
            f"{table.name}: in a wide table the cells of a row are the steps, so data.target, "
            "data.past and data.known cannot name columns. Leave them out, or set data.layout=long."
        )
    if not wide_steps(settings, kinds):
        raise DataError(f"{table.name} has no column of numbers. It needs one for each step.")
    return replace(settings, target=(VALUE,)) if aim == "target" else settings


def wide_steps(settings: DataSettings, kinds: Kinds) -> list[str]:
    """The columns of a wide table that hold the steps, in the order of the file."""
    if settings.features:
        return list(settings.features)
    taken = set(named(settings)) - {VALUE}
    return [name for name in kinds if kinds[name] in (*NUMBERS, "empty") and name not in taken]


def dated_steps(settings: DataSettings, kinds: Kinds, notes: list[str]) -> list[str]:
    """The columns of a wide table that hold the steps; of a forecast, those that times name."""
    steps = wide_steps(settings, kinds)
    if settings.target != (VALUE,) or settings.features:
        return steps
    named, _ = times.dated(steps)
    if named:
        first, last = named[0], named[-1]
        notes.append(f"the columns {first!r} to {last!r} are the steps, because times name them")
    return named or steps


def _with_lists(
    table: Table, settings: DataSettings, kinds: Kinds, notes: list[str], *, aim: Aim
) -> DataSettings:
    lists = [name for name in without_role(table, settings) if kinds[name] == "list"]
    if aim != "target":
        return settings if settings.features else replace(settings, features=tuple(lists))
    if settings.target:
        return settings
    return replace(settings, target=(_only(table.name, lists, notes),))


def _leftover(table: Table, settings: DataSettings, kinds: Kinds) -> list[str]:
    """The columns of numbers that have no role, without ids, times and row numbers."""
    free = [name for name in without_role(table, settings) if kinds[name] in NUMBERS]
    excluded = {*IDS, *time_columns.TIMES}
    return [
        name
        for name in free
        if name.lower().replace(" ", "_") not in excluded and not _counts_rows(table, name)
    ]


# Names of columns that count the rows.
ROW_NUMBERS = (
    *("column 1", "unnamed: 0", "index", "level_0", "#", "row", "number", "no", "no.", "nr", "nr."),
    *("s.no", "s.no.", "sno", "record", "record no", "recnbr", "sample", "scan"),
)


def _counts_rows(table: Table, column: str) -> bool:
    """True for the number of each row, as pandas and loggers write it beside the data."""
    if column.lower() not in ROW_NUMBERS or table.sample[column].dtype.is_nested():
        return False
    cells = table.sample[column].cast(pl.Float64, strict=False)
    return bool((cells.diff().drop_nulls() == 1).all()) and cells.null_count() == 0


def _with_features(
    table: Table, settings: DataSettings, kinds: Kinds, notes: list[str]
) -> DataSettings:
    settings = replace(settings, layout="long")
    if settings.features:
        return settings
    features = _leftover(table, settings, kinds)
    if not features:
        raise DataError(
            f"{table.name} has no column of numbers besides the named ones: "
            f"{listing(named(settings) or table.columns)}."
        )
    read = "columns {} are" if len(features) > 1 else "column {} is"
    notes.append(f"the {read.format(listing(features))} read as features")
    return replace(settings, features=tuple(features))


def _with_target(
    table: Table, settings: DataSettings, kinds: Kinds, notes: list[str]
) -> DataSettings:
    settings = replace(settings, layout="long")
    if settings.target:
        return settings
    row = table.sample.row(0, named=True)
    cells = [f"{column!r}: {shown(cell)}" for column, cell in row.items()]
    first = f" The first row holds {', '.join(cells[:8])}."
    numbers = _leftover(table, settings, kinds)
    changing = [name for name in numbers if table.sample[name].n_unique() > 1]
    return replace(settings, target=(_only(table.name, changing or numbers, notes, first),))


def _only(name: str, candidates: Sequence[str], notes: list[str], first: str = "") -> str:
    """The column that alone can be the target, or is called so; `first`: on the first row.

    Raises:
        ConfigError: several columns can be the target.
        DataError: no column can be the target.
    """
    if not candidates:
        raise DataError(
            f"{name} has no column of numbers that could be the target. A cell may hold a number, "
            f"and one sign such as % or $ that is the same in the whole column.{first}"
        )
    place = known_as(candidates, ("x", "z"))  # beside which y is not a target
    if len(candidates) > 1 and not place and (called := known_as(candidates, TARGETS)):
        notes.append(f"the column {called!r} is taken as the target, because of its name")
        return called
    if len(candidates) > 1:
        raise ConfigError(
            f"{name} has {len(candidates)} columns of numbers: {listing(candidates)}. "
            "Name the target with --target COLUMN (repeat the option for several targets)."
        )
    notes.append(f"the column {candidates[0]!r} is taken as the target")
    return candidates[0]


def of_array(
    columns: tuple[str, ...],
    settings: DataSettings,
    notes: list[str],
    *,
    name: str,
    aim: Aim,
    purpose: Purpose,
) -> tuple[DataSettings, tuple[str, ...], list[int]]:
    """The settings, the columns that they name, and the positions of these in the array.

    A run that was trained on columns with names reads as many columns without names in its order.

    Raises:
        ConfigError: no target is set, and the array has several columns.
        DataError: a named column is missing.
    """
    if aim == "target":
        target = settings.target or (_only(name, columns, notes),)
        settings = replace(settings, target=tuple(target))
        names = (*settings.target, *settings.past, *settings.known)
    else:
        names = settings.features or columns
        settings = replace(settings, features=tuple(names))
    nameless = columns == (VALUE,) or all(re.fullmatch(r"x\d+", column) for column in columns)
    if nameless and purpose != "train" and len(columns) == len(names) and set(columns) != {*names}:
        if len(names) > 1:
            notes.append(f"the columns of {name} are read as {listing(names)}, in this order")
        return settings, tuple(names), list(range(len(names)))
    for column in names:
        if column not in columns and (purpose == "train" or not nameless):
            raise absent(name, column, columns)
        if column not in columns:
            # Columns of arrays have generated names, so the message gives their number.
            raise DataError(
                f"{name} has {_counted(columns)} per step, but the run was trained on "
                f"{_counted(tuple(names))}. Give arrays with the columns of training, in the "
                "same order; for several sequences, a list of arrays [steps, columns]."
            )
    if unread := [column for column in columns if column not in names]:
        counts = f"each step has {_counted(columns)}, but the run reads {_counted(tuple(names))}"
        notes.append(f"not read: {listing(unread)}" if purpose == "train" else counts)
    places = {column: place for place, column in enumerate(columns)}
    return settings, tuple(names), [places[column] for column in names]


def _counted(columns: Sequence[str]) -> str:
    return f"{len(columns)} column{'s' if len(columns) > 1 else ''} ({listing(columns)})"


def labelled(
    sequences: Sequences, settings: DataSettings, notes: list[str], *, task: str, strict: bool
) -> Sequences:
    """The sequences with a label; with `data.separator`, the label may be empty.

    Raises:
        DataError: there are no labels, or too many are missing (`labels.with_truth`).
    """
    if sequences.labels is None:
        raise DataError(
            f"{sequences.source} has no labels, but {task} needs labels for training. Give a file "
            "with labels; for IDX images, set data.labels to the file of labels."
        )
    known = (sequences.labels != "") | bool(settings.separator)
    advice = "Label them or remove them."
    return with_truth(sequences, known, notes, what="label", advice=advice, strict=strict)


def label_of(table: Table, settings: DataSettings) -> str:
    """The column whose name marks it as labels, or ""."""
    return _label(table, settings)


def id_of(table: Table, settings: DataSettings) -> str:
    """The column whose name marks it as the id of the sequences, or ""."""
    return _id(table, settings)


def first_dated(table: Table, settings: DataSettings) -> str:
    """The first of the columns whose names are times; "" for none."""
    named, _ = times.dated(wide_steps(settings, table.kinds(settings.missing_values)))
    return named[0] if named else ""


def first_numbered(table: Table, settings: DataSettings) -> str:
    """The first of the columns that are numbered steps, if each row has a name; "" for none."""
    settings, kinds = guessed_id(table, settings, []), table.kinds(settings.missing_values)
    if settings.layout != "auto" or _layout(table, settings, kinds, aim="target") != "wide":
        return ""
    steps = wide_steps(settings, kinds)
    return steps[0] if len(steps) >= MANY_STEPS and numbered(steps) else ""


def in_lists(settings: DataSettings, kinds: Kinds) -> bool:
    """True if each row holds its sequence in lists."""
    return any(kinds.get(name) == "list" for name in [*settings.target, *settings.features])
