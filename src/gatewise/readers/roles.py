"""The roles that the settings give to columns, and the columns that have none."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

Kinds = Mapping[str, str]
# What a task learns: targets over time, a label for each sequence, a number for each sequence or
# each step, or none of these.
Aim = Literal["target", "label", "number", "features"]
SERIES = "series_id"  # the column that tells tables of a list apart, once they are joined
IDS = ("id", "unique_id", SERIES, "item_id", "sequence_id", "case_id", "segment_id", "ts_id")
ROLES = (
    *("id", "time", "target", "past", "known", "static", "features", "label", "group"),
    *("label_columns", "text", "sound"),
)
NUMBERS = ("number", "boolean")


def named(settings: DataSettings) -> list[str]:
    """Every column that the settings name."""
    names: list[str] = []
    for role in ROLES:
        value = getattr(settings, role)
        names += [value] if isinstance(value, str) and value else list(value)
    return names


def without_role(table: Table, settings: DataSettings) -> list[str]:
    """The columns of a table that have no role yet, in order."""
    taken = set(named(settings))
    return [name for name in table.columns if name not in taken]


def known_as(columns: Iterable[str], names: Sequence[str]) -> str:
    """The column with the first of these names that occurs, or ""; `device.id` is also an id."""
    # Trading terminals write <DATE>.
    folded = {
        column.lower().replace(" ", "_").strip("<>"): column for column in reversed(list(columns))
    }
    folded = {name.rpartition(".")[2]: column for name, column in folded.items()} | folded
    return next((folded[name] for name in names if name in folded), "")


def with_role(settings: DataSettings, notes: list[str], *, role: str, column: str) -> DataSettings:
    """The settings with a guessed column for a role, and a note; unchanged without a column."""
    if not column:
        return settings
    word = "the name of the sequence" if role == "id" else f"the {role}"
    notes.append(f"the column {column!r} is taken as {word}")
    changed: dict[str, Any] = {role: column if role == "label" else (column,)}
    return replace(settings, **changed)


def are_distinct(table: Table, columns: Sequence[str]) -> bool:
    """True if no two of the first rows are equal in these columns."""
    return not table.sample.select(columns).is_duplicated().any()


def listing(columns: Sequence[str]) -> str:
    """The names of columns for a message, twelve at most."""
    first = ", ".join(map(repr, columns[:12]))
    return f"{first} and {len(columns) - 12} more" if len(columns) > 12 else first


def numbered(columns: Sequence[str]) -> bool:
    """True if the columns are called V2, V3, V4 ...: one prefix and consecutive numbers."""
    parts = [re.fullmatch(r"(\D*)(\d+)", name) for name in columns]
    if len(parts) < 8 or not all(parts):
        return False
    numbers = [int(part[2]) for part in parts if part]
    return len({part[1] for part in parts if part}) == 1 and numbers == list(
        range(numbers[0], numbers[0] + len(numbers))
    )
