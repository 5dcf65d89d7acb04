"""Read tables in batches, with one interface to delimited text, Parquet, JSON Lines and frames.

Text is cut into blocks here, and Polars parses one block at a time. The scan of Polars maps the
whole file into memory, but reading must need no more than twice the memory of the file's numbers.
"""

import codecs
import csv
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal, cast

import narwhals as nw
import polars as pl

from gatewise.errors import DataError
from gatewise.readers import times

BLOCK = 1 << 20  # bytes of text parsed at once
PACKED = 4  # approximate compression ratio of text
SAMPLE = 1000  # rows that determine the kind of a column
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
TRUE, FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")


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
    separator: str = ""  # the separator of a text file; "" for other tables
    _kinds: dict[tuple[str, ...], Mapping[str, str]] = field(default_factory=dict, init=False)

    @property
    def columns(self) -> list[str]:
        """The names of its columns, in order."""
        return self.sample.columns

    def at(self, row: int) -> str:
        """The name of a row (counted from 0) in messages."""
        return f"row {row + self.first} ({self.counting})"

    def kinds(self, missing: tuple[str, ...]) -> Mapping[str, str]:
        """The kind of each column: number, boolean, time, text, list, other, or empty.

        The first rows determine it. If a column is empty there, the rest of the table is searched.
        Results are cached.
        """
        if missing not in self._kinds:
            self._kinds[missing] = _kinds_of(self, missing)
        return self._kinds[missing]


@dataclass(frozen=True)
class File:
    """A file that can be opened again; the content of a pipe is kept, because it is read once."""

    path: Path
    content: bytes | None = None  # the decompressed bytes of a pipe; None for other files

    @property
    def name(self) -> str:
        """The name in lower case, without .gz; a pipe without a suffix counts as text."""
        name = self.path.name.removesuffix(".gz").lower()
        return name if self.content is None or self.path.suffix else f"{name}.txt"

    @property
    def size(self) -> int:
        """The number of bytes; for a compressed file, an estimate of the decompressed size."""
        if self.content is not None:
            return len(self.content)
        return self.path.stat().st_size * (PACKED if self.path.suffix == ".gz" else 1)

    def opened(self, encoding: str = "utf-8") -> IO[bytes]:
        """Open the file, decompressed if its name ends in .gz; text is converted to UTF-8."""
        plain = _is_utf8(encoding)  # fails on an unknown encoding before the file is opened
        if self.content is not None:
            file: IO[bytes] = io.BytesIO(self.content)
        else:
            open_it = gzip.open if self.path.suffix == ".gz" else open
            file = cast("IO[bytes]", open_it(self.path, "rb"))
        if plain:
            return file
        return cast("IO[bytes]", codecs.EncodedFile(cast(Any, file), "utf-8", encoding))


def file_of(path: Path) -> File:
    """The file at this path; a pipe is read at once.

    Raises:
        DataError: the pipe cannot be read.
    """
    if not path.is_fifo():
        return File(path)
    with reading(str(path)), File(path).opened() as file:
        return File(path, file.read())


@contextmanager
def reading(name: str, encoding: str = "utf-8") -> Iterator[None]:
    """Convert errors of Polars, gzip and the file system to a DataError that names the file.

    Raises:
        DataError: the file cannot be opened, unpacked, decoded or parsed.
    """
    try:
        yield
    except gzip.BadGzipFile:
        raise DataError(
            f"{name} is not a gzip file, although its name ends in .gz. "
            "Remove .gz from its name, or fetch it again."
        ) from None
    except (EOFError, zlib.error):
        raise DataError(f"{name} ends too early, so it is damaged. Fetch it again.") from None
    except UnicodeError:
        raise other_encoding(name, encoding) from None
    except LookupError:
        raise DataError(f"There is no encoding {encoding!r} (data.encoding).") from None
    except csv.Error as error:
        raise DataError(f"{name} is not separated text: {error}.") from None
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}.") from None
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        if "utf" in reason.lower():
            raise other_encoding(name, encoding) from None
        raise DataError(f"{name} cannot be read: {reason}. Check its format.") from None


def other_encoding(name: str, encoding: str = "utf-8") -> DataError:
    """The error for a text file in another encoding."""
    kind = "UTF-8" if _is_utf8(encoding) else encoding
    return DataError(
        f"{name} is not {kind} text. Save it as UTF-8 (iconv -t UTF-8), or name its encoding: "
        "--set data.encoding=cp1252."
    )


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def delimited(
    file: File,
    separator: str = "",
    *,
    names: Sequence[str] = (),
    quotes: bool = True,
    encoding: str = "utf-8",
) -> Table:
    """Open a table of separated text; without `separator`, it is guessed from the first line.

    `names` are the column names of a file without a header. Without `quotes`, quotation marks are
    ordinary characters.

    Raises:
        DataError: the file is empty, has no header or is not text.
    """
    name, again = str(file.path), partial(file.opened, encoding)
    with reading(name, encoding), closing(_blocks(again, quotes)) as blocks:
        head = next(blocks, b"")
        lines = head.decode("utf-8-sig").lstrip("\r\n")
        if not lines.strip():
            raise DataError(f"{name} is empty. It needs a line of column names, and rows below it.")
        used = _separator(lines, separator, len(names))
        first = next(csv.reader(io.StringIO(lines), delimiter=used), [])
        # A first row that holds only known names is a header, even if the training data had none.
        header = not names or {cell.strip() for cell in first} <= set(names)
        names = _header(name, lines, used) if header else list(names)
        parsed = partial(_text_batches, name, names, used, header=header, quotes=quotes)
        begin = next(parsed(chain([head], blocks), names), None)
        if begin is None:
            raise DataError(f"{name} holds column names but no rows.")
        likely = math.ceil(begin.height * max(1.0, file.size / len(head)))

    def batches(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        with reading(name, encoding):
            yield from parsed(_blocks(again, quotes), columns)

    notes = []
    if separator and used != separator:
        notes.append(f"the columns are separated by {SEPARATORS[used]}")
    return Table(
        name,
        begin.head(SAMPLE),
        likely,
        batches,
        notes=tuple(notes),
        separator=used,
        first=2 if header else 1,
        counting="counting the header as row 1" if header else "counting from 1",
    )


def _separator(lines: str, expected: str, width: int = 0) -> str:
    """The separator of the first line; it may differ from the expected one (a .csv with ";").

    `width` is the number of columns, or 0 if unknown.
    """
    header = lines.splitlines()[0]
    if expected and (expected in header or (expected == "\t" and width)):
        return expected  # if the columns are known, a row may hold a text and nothing else
    order = ["\t", ";", "|", ","] if expected else ["\t", ";", ",", "|", " "]
    fitting = [sign for sign in order if width > 1 and header.count(sign) >= width - 1]
    if fitting:  # a text in the last column may contain any separator
        return fitting[0]
    counts = {sign: header.count(sign) for sign in order}
    best = max(order, key=lambda sign: counts[sign])
    return best if counts[best] else expected or ","


def _header(name: str, lines: str, separator: str) -> list[str]:
    """The column names, which are the first record."""
    cells = next(csv.reader(io.StringIO(lines), delimiter=separator))
    names = [cell.strip() or f"column {place}" for place, cell in enumerate(cells, start=1)]
    doubled = sorted({cell for cell in names if names.count(cell) > 1})
    counted = [[str(k + first) for k in range(len(names))] for first in (0, 1)]
    if all(map(_is_number, names)) and (len(names) == 1 or names not in counted):
        raise DataError(
            f"{name}: the first row ({', '.join(names[:4])}) holds only numbers, but it must name "
            "the columns. Add a line of names at the top."
        )
    if doubled:
        raise DataError(f"{name} has two columns called {doubled[0]!r}. Rename one of them.")
    return names


def _header_end(block: bytes) -> int:
    """The position behind the first record that is not blank."""
    begin = len(block) - len(block.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n"))
    end = block.find(b"\n", begin) + 1
    while end and block.count(b'"', begin, end) % 2:
        end = block.find(b"\n", end) + 1
    return end or len(block)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _blocks(again: Callable[[], IO[bytes]], quotes: bool) -> Generator[bytes]:
    """Yield a text file in blocks of whole records, without blank lines at the end of the file."""
    rest = b""
    with again() as file:
        while block := file.read(BLOCK):
            rest += block
            end = _last_record(rest) if quotes else rest.rfind(b"\n") + 1
            # Keep the last bytes, because only blank lines may follow.
            if end and rest[end:].strip():
                yield rest[:end]
                rest = rest[end:]
    if rest.strip():
        yield rest.rstrip(b"\r\n") + b"\n"


def _last_record(block: bytes) -> int:
    """The position behind the last whole record: a line end that no quotes enclose."""
    end = block.rfind(b"\n") + 1
    while end and block.count(b'"', 0, end) % 2:
        end = block.rfind(b"\n", 0, block.rfind(b'"', 0, end)) + 1
    return end


def _text_batches(
    name: str,
    names: list[str],
    separator: str,
    blocks: Iterable[bytes],
    columns: Sequence[str],
    *,
    header: bool,
    quotes: bool,
) -> Iterator[pl.DataFrame]:
    """Yield every cell as text, so that an error message can show a bad cell."""
    row = 0
    schema = dict.fromkeys(names, pl.String)
    for number, block in enumerate(blocks):
        body = block[_header_end(block) :] if number == 0 and header else block
        try:
            scan = pl.scan_csv(
                body,
                has_header=False,
                separator=separator,
                schema=schema,
                quote_char='"' if quotes else None,
                missing_columns="insert",  # short rows end with empty cells
            )
            batch = scan.select(columns).collect()
        except pl.exceptions.NoDataError:
            continue
        except pl.exceptions.PolarsError:
            first = row + 1 + header
            _show_ragged(name, body, first, names, separator=separator, quotes=quotes)
            if quotes and b'"' in body:
                raise DataError(f"{name} cannot be parsed. {STRAY_QUOTES}") from None
            raise
        if batch.height:
            yield batch
        row += batch.height


STRAY_QUOTES = (
    "Quotation marks are read as the marks around a cell. If they belong to the texts: --set "
    "data.quotes=false."
)


def refuse_merged(table: Table, name: str, cells: Sequence[str]) -> None:
    """Refuse rows that quotation marks in a text have merged, because they would be lost silently.

    Only files separated by tabs are checked, because quoted texts may hold commas and line ends.

    Raises:
        DataError: a cell holds a line end and a tab, as merged rows do.
    """
    if table.separator != "\t":
        return
    for row, cell in enumerate(cells):
        if "\n" in cell and "\t" in cell:
            raise DataError(
                f"{table.name}: cell {row + 1} of the column {name!r} holds several rows: "
                f"{cell[:60]!r}. {STRAY_QUOTES}"
            )


def _show_ragged(
    name: str, body: bytes, first: int, names: Sequence[str], *, separator: str, quotes: bool
) -> None:
    """Raise an error for the first record with too many cells, if there is one."""
    kind: Literal[0, 3] = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    lines = io.StringIO(body.decode("utf-8"))
    for number, record in enumerate(csv.reader(lines, delimiter=separator, quoting=kind), first):
        if len(record) > len(names):
            remedy = "Quote cells that hold a separator." if quotes else "Set data.quotes = true."
            raise DataError(
                f"{name}: row {number} (counting every row from 1) has {len(record)} cells, but "
                f"only {len(names)} columns have names. {remedy}"
            )


def parquet(path: Path) -> Table:
    """Open a Parquet file; only the requested columns are read, in batches.

    Raises:
        DataError: the file is not a Parquet file, or holds no rows.
    """
    name = str(path)
    with reading(name):
        frame = pl.scan_parquet(path, glob=False)
        sample = frame.head(SAMPLE).collect()
        height = frame.select(pl.len()).collect().item()
    if height == 0:
        raise DataError(f"{name} holds no rows.")

    def batches(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        with reading(name):
            yield from frame.select(columns).collect_batches(maintain_order=True)

    return Table(name, sample, height, batches)


def json_lines(source: File, encoding: str = "utf-8") -> Table:
    """Read a file with one JSON object per line.

    Raises:
        DataError: the file is empty, or a line is not a JSON object.
    """
    name = str(source.path)
    with reading(name, encoding), source.opened(encoding) as file:
        content = file.read()
        if not content.strip():
            raise DataError(f"{name} is empty. It needs one JSON object per line.")
        try:
            frame = pl.read_ndjson(io.BytesIO(content), infer_schema_length=None)
        except pl.exceptions.PolarsError:
            _show_bad_line(name, content)
            raise
    return of_frame(frame, name)


def _show_bad_line(name: str, content: bytes) -> None:
    """Raise an error for the first line that is not a JSON object, if there is one."""
    for number, line in enumerate(content.decode("utf-8").splitlines(), start=1):
        try:
            good = not line.strip() or isinstance(json.loads(line), dict)
        except ValueError:
            good = False
        if not good:
            raise DataError(
                f"{name}: line {number} is not a JSON object: {line[:60]!r}. "
                "Write one object per line, with the same keys in each."
            )


def from_native(source: Any) -> Table:
    """Wrap a table in memory: pandas, Polars, Arrow or another library that Narwhals supports.

    Raises:
        DataError: the source is not a table, or holds no rows.
    """
    try:
        if nw.dependencies.is_pandas_dataframe(source) and _has_index(source):
            source = source.reset_index()  # the index often holds the times
        if nw.dependencies.is_pandas_series(source) and _has_times(source):
            source = source.rename(source.name or "value").reset_index()
        frame = nw.from_native(source, allow_series=True)
    except (ValueError, nw.exceptions.DuplicateError) as error:
        raise DataError(f"the data frame cannot be read: {' '.join(str(error).split())}.") from None
    except TypeError:
        raise DataError(
            "The data must be a path, a table (pandas, Polars, ...), an array, a list of arrays or "
            f"a pair (X, y). Received: {type(source).__name__}."
        ) from None
    if isinstance(frame, nw.Series):
        frame = frame.alias(frame.name or "value").to_frame()
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect("polars")
    with reading("the data frame"):
        return of_frame(_to_polars(frame), "the data frame")


def _to_polars(frame: nw.DataFrame[Any]) -> pl.DataFrame:
    try:
        return frame.to_polars()
    except ImportError as error:
        raise DataError(f"This data frame needs another package: {error}.") from None
    except (TypeError, ValueError) as error:
        # The error of Arrow, which converts between pandas and Polars, does not name the column.
        mixed = [name for name, kind in frame.schema.items() if kind in (nw.Object, nw.String)]
        raise DataError(
            f"the data frame has a column of mixed Python objects (among {mixed}): {error}. "
            "Convert it to numbers (pandas.to_numeric) or texts (astype(str))."
        ) from None


def _has_times(series: Any) -> bool:
    return type(series.index).__name__ == "DatetimeIndex"


def _has_index(frame: Any) -> bool:
    return type(frame.index).__name__ != "RangeIndex"


def of_frame(frame: pl.DataFrame, name: str) -> Table:
    """Wrap a frame in memory as a table."""
    if frame.height == 0 or frame.width == 0:
        raise DataError(f"{name} holds no rows.")

    def batches(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        yield from frame.select(columns).iter_slices(1 << 16)

    return Table(name, frame.head(SAMPLE), frame.height, batches)


def as_text(column: str, dtype: pl.DataType, missing: Sequence[str]) -> pl.Expr:
    """A column as texts; empty cells are null, and whole numbers have no decimal point."""
    cell = pl.col(column)
    if dtype.is_float():
        whole = (cell == cell.round()) & cell.is_finite() & (cell.abs() < 2**53)
        number = pl.when(whole).then(cell.cast(pl.Int64, strict=False).cast(pl.String))
        return number.otherwise(cell.fill_nan(None).cast(pl.String)).alias(column)
    text = cell.cast(pl.String).str.strip_chars()
    return pl.when(~text.is_in(list(missing))).then(text).alias(column)


# "3.0" and "3" are the same label, because a column of floats may have written it.
WHOLE_LABEL = r"^([+-]?\d+)\.0+$"


def as_label(column: str, dtype: pl.DataType, missing: Sequence[str]) -> pl.Expr:
    """As `as_text`, but whole numbers lose their decimal point and zeros."""
    return as_text(column, dtype, missing).str.replace(WHOLE_LABEL, "${1}")


def whole_label(text: str) -> str:
    """The label that `as_label` makes of a text.

    >>> whole_label("3.0"), whole_label("3.10"), whole_label("3.0a")
    ('3', '3.10', '3.0a')
    """
    return re.sub(WHOLE_LABEL, r"\1", text)


def as_number(
    column: str, dtype: pl.DataType, missing: Sequence[str], *, boolean: bool = False
) -> pl.Expr:
    """A column as float64; empty cells and cells that are not numbers are null."""
    if dtype.is_numeric() or dtype == pl.Boolean or dtype == pl.Null:
        return pl.col(column).cast(pl.Float64)
    # Most texts that mean "empty" are not numbers, so the cast makes them null without comparisons.
    plain = not boolean and not any(map(_is_number, missing))
    text = pl.col(column).cast(pl.String).str.strip_chars()
    text = text if plain else as_text(column, dtype, missing)
    if not boolean:
        return text.cast(pl.Float64, strict=False)
    known = pl.when(text.is_in(list(TRUE))).then(1.0).when(text.is_in(list(FALSE))).then(0.0)
    return known.alias(column)


def _kinds_of(table: Table, missing: Sequence[str]) -> dict[str, str]:
    kinds = {name: _kind(table.sample[name], missing) for name in table.columns}
    unknown = [name for name in kinds if kinds[name] == "empty"]
    if unknown:
        for batch in table.batches(unknown):
            kinds.update({name: _kind(batch[name], missing) for name in unknown})
            unknown = [name for name in unknown if kinds[name] == "empty"]
            if not unknown:
                break
    return kinds


KINDS_OF_TYPE: dict[str, Callable[[Any], bool]] = {
    "number": lambda dtype: dtype.is_numeric(),
    "boolean": lambda dtype: dtype == pl.Boolean,
    "time": lambda dtype: dtype == pl.Date or isinstance(dtype, pl.Datetime),
    "list": lambda dtype: dtype.is_nested() and dtype != pl.Struct,
    "empty": lambda dtype: dtype == pl.Null,
    "text": lambda dtype: dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum),
}


def _kind(cells: pl.Series, missing: Sequence[str]) -> str:
    dtype = cells.dtype
    by_type = next((kind for kind, fits in KINDS_OF_TYPE.items() if fits(dtype)), "other")
    if by_type != "text":
        return by_type
    texts = cells.to_frame().select(as_text(cells.name, cells.dtype, missing)).to_series()
    texts = texts.drop_nulls().head(SAMPLE)
    if texts.len() == 0:
        return "empty"
    if texts.is_in([*TRUE, *FALSE]).all():
        return "boolean"
    # Half is enough, because a few bad cells in a column of numbers must become an error.
    if texts.cast(pl.Float64, strict=False).is_not_null().sum() * 2 >= texts.len():
        return "number"
    decimal_commas = texts.str.contains(r"^[+-]?\d+,\d+$").sum() * 2 >= texts.len()
    if decimal_commas:
        return "number"
    return "time" if times.are_times(texts) else "text"
