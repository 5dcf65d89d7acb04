"""Tables that are read in batches, with one interface to text, Parquet, JSON and frames."""

import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from gatewise.errors import DataError
from gatewise.readers.cells import SAMPLE, kinds_in
from gatewise.readers.dialect import Dialect
from gatewise.readers.files import reading

# Reads a Parquet file in a process of its own: file, then the places where modules are found.
TRY = """
import sys
sys.path[:] = sys.argv[2:]
import polars
try:
    for batch in polars.scan_parquet(sys.argv[1], glob=False).collect_batches():
        pass
except BaseException:
    pass  # it is raised again where the file is read
"""


@dataclass(frozen=True)
class Table:
    """A table that is read in batches; only its first rows are kept."""

    name: str  # for messages: the file, or "the data frame"
    sample: pl.DataFrame  # the first rows, with the columns and types of every batch
    likely: int  # approximate number of rows, estimated from the first rows of a long file
    batches: Callable[[Sequence[str]], Iterator[pl.DataFrame]]  # columns -> frames, in order
    first: int = 1  # the number of the first row in messages
    counting: str = "counting from 1"
    notes: tuple[str, ...] = ()
    dialect: Dialect | None = None  # how a text file writes it; None for other tables
    place: Callable[[int], str] | None = None  # names a row of several files; None for one file
    each: int = 1  # rows that are made of each line of the file
    left_out: Collection[int] = ()  # rows that batches leave out, counted from 0
    _kinds: dict[tuple[str, ...], Mapping[str, str]] = field(default_factory=dict, init=False)

    @property
    def columns(self) -> list[str]:
        """The names of its columns, in order."""
        return self.sample.columns

    def at(self, row: int) -> str:
        """The name of a row (counted from 0) in messages."""
        if self.place is not None:
            return self.place(row)
        for left in sorted(self.left_out):
            row += left <= row
        return f"row {row + self.first} ({self.counting})"

    def kinds(self, missing: tuple[str, ...]) -> Mapping[str, str]:
        """The kind of each column: number, boolean, time, text, list, other, or empty.

        The first rows determine it. If a column is empty there, the rest of the table is searched.
        Results are cached.
        """
        if missing not in self._kinds:
            self._kinds[missing] = _kinds_of(self, missing)
        return self._kinds[missing]


def _kinds_of(table: Table, missing: Sequence[str]) -> dict[str, str]:
    kinds = kinds_in(table.sample, missing)
    unknown = [name for name in kinds if kinds[name] == "empty"]
    if unknown:
        for batch in table.batches(unknown):
            kinds.update(kinds_in(batch.select(unknown), missing))
            unknown = [name for name in unknown if kinds[name] == "empty"]
            if not unknown:
                break
    return kinds


def parquet(path: Path) -> Table:
    """Open a Parquet file; only the requested columns are read, in batches.

    Raises:
        DataError: the file is not a Parquet file, is damaged, or holds no rows.
    """
    name = str(path)
    with reading(name):
        _try_parquet(path)
        frame = _flat(pl.scan_parquet(path, glob=False))
        sample = frame.head(SAMPLE).collect()
        height = frame.select(pl.len()).collect().item()
    if height == 0:
        raise DataError(f"{name} holds no rows.")

    def batches(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        with reading(name):
            yield from frame.select(columns).collect_batches(maintain_order=True)

    return Table(name, sample, height, batches)


def _flat(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with a column for each field of a record, `translation.en`, as in JSON Lines."""
    kinds = frame.collect_schema()
    held = {name: kind.fields for name, kind in kinds.items() if isinstance(kind, pl.Struct)}
    if not any(held.values()):
        return frame
    columns = []
    for name in kinds:
        fields = held.get(name, [])
        columns += [
            pl.col(name).struct.field(one.name).alias(f"{name}.{one.name}") for one in fields
        ]
        columns += [] if fields else [pl.col(name)]
    return _flat(frame.select(columns))


def _try_parquet(path: Path) -> None:
    """Read a file once in a process of its own, because a damaged one may end the process.

    Polars aborts if a page asks for more memory than there is, and when one of its threads panics,
    that thread prints its stack to standard error.
    """
    command = [sys.executable, "-I", "-S", "-c", TRY, str(path), *sys.path]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode == -signal.SIGKILL:
        raise DataError(
            f"{path} cannot be read: a process that tried was killed, as the system does when the "
            "memory is used up. Give a smaller file, or a machine with more memory."
        )
    ended = done.returncode in (-signal.SIGABRT, -signal.SIGBUS, -signal.SIGSEGV)
    if ended or b" panicked at " in done.stderr:
        raise DataError(f"{path} cannot be read, because it is damaged. Fetch it again.")


def of_frame(frame: pl.DataFrame, name: str) -> Table:
    """Wrap a frame in memory as a table."""
    if frame.height == 0 or frame.width == 0:
        raise DataError(f"{name} holds no rows.")
    frame = _flat(frame.lazy()).collect()

    def batches(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        yield from frame.select(columns).iter_slices(1 << 16)

    return Table(name, frame.head(SAMPLE), frame.height, batches)
