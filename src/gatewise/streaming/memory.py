"""What a stream remembers of what was pushed, and what all readers of streams do alike."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from gatewise.data.sequences import Array
from gatewise.errors import DataError
from gatewise.settings import DataSettings


@dataclass
class Memory:
    """What a stream must remember of its steps to read the next one."""

    values: Array | None = None  # of the last row of numbers
    times: tuple[Any, ...] = ()  # the last two
    ahead: tuple[Any, ...] = ()  # those of the rows ahead
    id: str = ""
    static: dict[str, Any] = field(default_factory=dict)
    rest: str = ""  # of a text: what is not a whole token yet
    last: str = ""  # of a text: the last character before `rest`
    count: int = 0  # tokens or frames that were read
    samples: Array | None = None  # of a recording: those of later frames, int16
    frames: Array | None = None  # of a recording: those of later steps, [frames, mels]
    begin: int = 0  # the position of the first of `frames` in the recording
    steps: int = 0  # that convolutions made of the frames


def id_of(given: Any, settings: DataSettings) -> str:
    """The id of the sequence of a row, as files of rows have it; "" without columns of ids.

    Raises:
        DataError: a cell of the id is empty.
    """
    names = settings.id
    if not names or not isinstance(given, Mapping) or not all(name in given for name in names):
        return ""
    cells = ["" if given[name] is None else str(given[name]).strip() for name in names]
    for name, cell in zip(names, cells, strict=True):
        if not cell or cell in settings.missing_values:
            raise DataError(f"The row has no sequence id: column '{name}' is empty. Fill it in.")
    return "/".join(cells)


def identity(given: Any, memory: Memory, settings: DataSettings) -> str:
    """The id of the sequence of a row, which is that of the stream.

    Raises:
        DataError: the stream is that of another sequence, or a cell of the id is empty.
    """
    found = id_of(given, settings) or memory.id
    if memory.id and found != memory.id:
        raise DataError(
            f"The row is of sequence '{found}', but the stream is that of '{memory.id}'. Begin "
            "another stream for each sequence."
        )
    return found


def records(table: Any) -> Iterator[Mapping[str, Any]]:
    """The rows of a table as dicts."""
    if isinstance(table, pl.DataFrame):
        yield from table.iter_rows(named=True)
    elif hasattr(table, "to_pylist"):  # of PyArrow
        yield from table.to_pylist()
    else:
        yield from table.to_dict(orient="records")


def is_table(steps: Any) -> bool:
    """Whether steps are a table of some library."""
    return hasattr(steps, "columns") and hasattr(steps, "shape")
