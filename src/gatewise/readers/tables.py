"""Tables, batch by batch: delimited text, Parquet, JSON Lines and data frames look the same.

Text is cut into blocks by hand and each block given to Polars: its own scan maps the whole file
into memory, which would break the promise to read a file in twice the room of its numbers.
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
PACKED = 4  # times that text grows when it is unpacked, about
SAMPLE = 1000  # rows from which the kind of a column is told
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
TRUE, FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")


@dataclass(frozen=True)
class Table:
    """A table of which nothing but the first rows is held."""

    name: str  # for messages: the file, or "the data frame"
    sample: pl.DataFrame  # its first rows; the same columns and types as every batch
    likely: int  # about how many rows it has: of a long file, the first rows tell
    batches: Callable[[Sequence[str]], Iterator[pl.DataFrame]]  # columns -> frames, in order
    first: int = 1  # the number of its first row in messages
    counting: str = "counting from 1"
    notes: tuple[str, ...] = ()
    separator: str = ""  # of the cells of a text file; "": there is none
    _kinds: dict[tuple[str, ...], Mapping[str, str]] = field(default_factory=dict, init=False)

    @property
    def columns(self) -> list[str]:
        """The names of its columns, in order."""
        return self.sample.columns

    def at(self, row: int) -> str:
        """How a message names a row that is counted from 0."""
        return f"row {row + self.first} ({self.counting})"

    def kinds(self, missing: tuple[str, ...]) -> Mapping[str, str]:
        """What each column holds: number, truth, time, text, list, other, or empty.

        The first rows tell; a column that is empty there is looked up in the rest of the table.
        What was found is kept, because many ask.
        """
        if missing not in self._kinds:
            self._kinds[missing] = _kinds_of(self, missing)
        return self._kinds[missing]


@dataclass(frozen=True)
class File:
    """A file that can be opened again; a pipe gives its bytes only once, so they are kept."""

    path: Path
    content: bytes | None = None  # of a pipe, unpacked

    @property
    def name(self) -> str:
        """Its name in small letters, without .gz; a pipe without an ending holds text."""
        name = self.path.name.removesuffix(".gz").lower()
        return name if self.content is None or self.path.suffix else f"{name}.txt"

    @property
    def size(self) -> int:
        """Its bytes; of a packed file, about as many as they are unpacked."""
        if self.content is not None:
            return len(self.content)
        return self.path.stat().st_size * (PACKED if self.path.suffix == ".gz" else 1)

    def opened(self, encoding: str = "utf-8") -> IO[bytes]:
        """Its bytes, unpacked when its name ends in .gz; text of any encoding as UTF-8."""
        plain = _is_utf8(encoding)  # an encoding that there is not is told before all is open
        if self.content is not None:
            file: IO[bytes] = io.BytesIO(self.content)
        else:
            open_it = gzip.open if self.path.suffix == ".gz" else open
            file = cast("IO[bytes]", open_it(self.path, "rb"))
        if plain:
            return file
        return cast("IO[bytes]", codecs.EncodedFile(cast(Any, file), "utf-8", encoding))


def file_of(path: Path) -> File:
    """The file of this path.

    Raises:
        DataError: it is a pipe, and cannot be read.
    """
    if not path.is_fifo():
        return File(path)
    with reading(str(path)), File(path).opened() as file:
        return File(path, file.read())


@contextmanager
def reading(name: str, encoding: str = "utf-8") -> Iterator[None]:
    """Turn what Polars, gzip and the file system raise into a DataError that names the file.

    Raises:
        DataError: the file cannot be opened, unpacked, decoded or parsed.
    """
    try:
        yield
    except gzip.BadGzipFile:
        raise DataError(
            f"{name} is not a gzip file, although its name ends in .gz. "
            "Take the .gz off its name, or fetch it again."
        ) from None
    except (EOFError, zlib.error):
        raise DataError(f"{name} ends too early; it is damaged. Fetch it again.") from None
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
        raise DataError(f"{name} cannot be read: {reason}. Is it what its name says?") from None


def other_encoding(name: str, encoding: str = "utf-8") -> DataError:
    """The error of a text file in another encoding."""
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
    """A table of separated text; without `separator`, the first lines tell it.

    `names` are those of the columns of a file without a header; without `quotes`, a quotation mark
    in a cell is a character as any other; `encoding` is the file's.

    Raises:
        DataError: the file is empty, has no header or is not text.
    """
    name, again = str(file.path), partial(file.opened, encoding)
    with reading(name, encoding), closing(_blocks(again, quotes)) as blocks:
        head = next(blocks, b"")
        lines = head.decode("utf-8-sig").lstrip("\r\n")
        if not lines.strip():
            raise DataError(
                f"{name} is empty. It needs a line of column names and the rows below it."
            )
        told = _separator(lines, separator, len(names))
        first = next(csv.reader(io.StringIO(lines), delimiter=told), [])
        # A first row of nothing but known names is a header, though the training data had none.
        header = not names or {one.strip() for one in first} <= set(names)
        names = _header(name, lines, told) if header else list(names)
        parsed = partial(_text_batches, name, names, told, header=header, quotes=quotes)
        begin = next(parsed(chain([head], blocks), names), None)
        if begin is None:
            raise DataError(f"{name} holds column names but no rows.")
        likely = math.ceil(begin.height * max(1.0, file.size / len(head)))

    def batches(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        with reading(name, encoding):
            yield from parsed(_blocks(again, quotes), columns)

    notes = []
    if separator and told != separator:
        notes.append(f"the columns are separated by {SEPARATORS[told]}")
    return Table(
        name,
        begin.head(SAMPLE),
        likely,
        batches,
        notes=tuple(notes),
        separator=told,
        first=2 if header else 1,
        counting="counting the header as row 1" if header else "counting from 1",
    )


def _separator(lines: str, expected: str, width: int = 0) -> str:
    """The separator of the first line, unless it is the expected one (a .csv with semicolons).

    `width` is the number of columns, where it is known: 0 where it is not.
    """
    header = lines.splitlines()[0]
    if expected and (expected in header or (expected == "\t" and width)):
        return expected  # of texts whose columns are known, the first may stand alone
    order = ["\t", ";", "|", ","] if expected else ["\t", ";", ",", "|", " "]
    fitting = [one for one in order if width > 1 and header.count(one) >= width - 1]
    if fitting:  # a text in the last column may hold any of them
        return fitting[0]
    counts = {one: header.count(one) for one in order}
    best = max(order, key=lambda one: counts[one])
    return best if counts[best] else expected or ","


def _header(name: str, lines: str, separator: str) -> list[str]:
    """The column names: the first record."""
    given = next(csv.reader(io.StringIO(lines), delimiter=separator))
    names = [one.strip() or f"column {place}" for place, one in enumerate(given, start=1)]
    doubled = sorted({one for one in names if names.count(one) > 1})
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
    """Where the first record ends that is not blank."""
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
    """A text file in blocks that end with a record, blank lines at its end left out."""
    rest = b""
    with again() as file:
        while block := file.read(BLOCK):
            rest += block
            end = _last_record(rest) if quotes else rest.rfind(b"\n") + 1
            # The last bytes wait: only then is it known whether nothing but blank lines follows.
            if end and rest[end:].strip():
                yield rest[:end]
                rest = rest[end:]
    if rest.strip():
        yield rest.rstrip(b"\r\n") + b"\n"


def _last_record(block: bytes) -> int:
    """Where the last whole record ends: at a line end before which the quotes are paired."""
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
    """Every cell as text, so that one bad cell can be shown rather than break the parser."""
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
    "Quotation marks are read as the marks around a cell; where they belong to the texts: --set "
    "data.quotes=false."
)


def refuse_merged(table: Table, name: str, cells: Sequence[str]) -> None:
    """Rows that a text's own quotation marks have made one would else be lost without a word.

    Only tabs tell: a quoted text may well hold commas and line ends.

    Raises:
        DataError: a cell holds a line end and, as rows do, a tab.
    """
    if table.separator != "\t":
        return
    for row, cell in enumerate(cells):
        if "\n" in cell and "\t" in cell:
            raise DataError(
                f"{table.name}: the column {name!r} holds several rows in one cell, the "
                f"{row + 1}. of those read: {cell[:60]!r}. {STRAY_QUOTES}"
            )


def _show_ragged(
    name: str, body: bytes, first: int, names: Sequence[str], *, separator: str, quotes: bool
) -> None:
    """Raise for the first record with too many cells, if that is what is wrong."""
    kind: Literal[0, 3] = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    lines = io.StringIO(body.decode("utf-8"))
    for number, record in enumerate(csv.reader(lines, delimiter=separator, quoting=kind), first):
        if len(record) > len(names):
            remedy = "Quote cells that hold a separator." if quotes else "Set data.quotes = true."
            raise DataError(
                f"{name}: row {number} (counting every row from 1) has {len(record)} cells, but "
                f"there are names for {len(names)} columns. {remedy}"
            )


def parquet(path: Path) -> Table:
    """A Parquet file, read column by column and in batches.

    Raises:
        DataError: it is no Parquet file, or holds no rows.
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
    """A file with one JSON object a line.

    Raises:
        DataError: the file is empty, or a line is no JSON object.
    """
    name = str(source.path)
    with reading(name, encoding), source.opened(encoding) as file:
        content = file.read()
        if not content.strip():
            raise DataError(f"{name} is empty. It needs one JSON object a line.")
        try:
            frame = pl.read_ndjson(io.BytesIO(content), infer_schema_length=None)
        except pl.exceptions.PolarsError:
            _show_bad_line(name, content)
            raise
    return of_frame(frame, name)


def _show_bad_line(name: str, content: bytes) -> None:
    """Raise for the first line that is no JSON object, if that is what is wrong."""
    for number, line in enumerate(content.decode("utf-8").splitlines(), start=1):
        try:
            good = not line.strip() or isinstance(json.loads(line), dict)
        except ValueError:
            good = False
        if not good:
            raise DataError(
                f"{name}: line {number} is not a JSON object: {line[:60]!r}. "
                "Write one object a line, with the same keys in each."
            )


def from_native(source: Any) -> Table:
    """A table in memory: pandas, Polars, Arrow and whatever else Narwhals knows.

    Raises:
        DataError: it is no table, or it holds no rows.
    """
    try:
        if nw.dependencies.is_pandas_dataframe(source) and _has_index(source):
            source = source.reset_index()  # times are often kept there
        if nw.dependencies.is_pandas_series(source) and _has_times(source):
            source = source.rename(source.name or "value").reset_index()
        given = nw.from_native(source, allow_series=True)
    except (ValueError, nw.exceptions.DuplicateError) as error:
        raise DataError(f"the data frame cannot be read: {' '.join(str(error).split())}.") from None
    except TypeError:
        raise DataError(
            "The data must be a path, a table (pandas, Polars, ...), an array, a list of arrays or "
            f"a pair (X, y). Received: {type(source).__name__}."
        ) from None
    if isinstance(given, nw.Series):
        given = given.alias(given.name or "value").to_frame()
    if isinstance(given, nw.LazyFrame):
        given = given.collect("polars")
    with reading("the data frame"):
        return of_frame(_to_polars(given), "the data frame")


def _to_polars(given: nw.DataFrame[Any]) -> pl.DataFrame:
    try:
        return given.to_polars()
    except ImportError as error:
        raise DataError(f"This data frame needs a further package: {error}.") from None
    except (TypeError, ValueError) as error:
        # Arrow, between pandas and Polars, does not say which column it was.
        mixed = [one for one, kind in given.schema.items() if kind in (nw.Object, nw.String)]
        raise DataError(
            f"the data frame has a column of mixed Python objects (among {mixed}): {error}. "
            "Make it numbers (pandas.to_numeric) or texts (astype(str))."
        ) from None


def _has_times(series: Any) -> bool:
    return type(series.index).__name__ == "DatetimeIndex"


def _has_index(frame: Any) -> bool:
    return type(frame.index).__name__ != "RangeIndex"


def of_frame(frame: pl.DataFrame, name: str) -> Table:
    """A table over a frame that is held in memory."""
    if frame.height == 0 or frame.width == 0:
        raise DataError(f"{name} holds no rows.")

    def batches(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        yield from frame.select(columns).iter_slices(1 << 16)

    return Table(name, frame.head(SAMPLE), frame.height, batches)


def as_text(column: str, dtype: pl.DataType, missing: Sequence[str]) -> pl.Expr:
    """A column as texts, the empty ones null; whole numbers are written without a point."""
    cell = pl.col(column)
    if dtype.is_float():
        whole = (cell == cell.round()) & cell.is_finite() & (cell.abs() < 2**53)
        number = pl.when(whole).then(cell.cast(pl.Int64, strict=False).cast(pl.String))
        return number.otherwise(cell.fill_nan(None).cast(pl.String)).alias(column)
    text = cell.cast(pl.String).str.strip_chars()
    return pl.when(~text.is_in(list(missing))).then(text).alias(column)


# Equal numbers are one label, whether or not a column of floats has written them.
WHOLE_LABEL = r"^([+-]?\d+)\.0+$"


def as_label(column: str, dtype: pl.DataType, missing: Sequence[str]) -> pl.Expr:
    """As `as_text`; of whole numbers, what stands behind the point is left out."""
    return as_text(column, dtype, missing).str.replace(WHOLE_LABEL, "${1}")


def whole_label(text: str) -> str:
    """The label that `as_label` makes of a text.

    >>> whole_label("3.0"), whole_label("3.10"), whole_label("3.0a")
    ('3', '3.10', '3.0a')
    """
    return re.sub(WHOLE_LABEL, r"\1", text)


def as_number(
    column: str, dtype: pl.DataType, missing: Sequence[str], *, truth: bool = False
) -> pl.Expr:
    """A column as float64: empty cells, and cells that are no numbers, are null."""
    if dtype.is_numeric() or dtype == pl.Boolean or dtype == pl.Null:
        return pl.col(column).cast(pl.Float64)
    # Most texts that mean "empty" are no numbers: the cast makes them null without a comparison.
    plain = not truth and not any(map(_is_number, missing))
    text = pl.col(column).cast(pl.String).str.strip_chars()
    text = text if plain else as_text(column, dtype, missing)
    if not truth:
        return text.cast(pl.Float64, strict=False)
    known = pl.when(text.is_in(list(TRUE))).then(1.0).when(text.is_in(list(FALSE))).then(0.0)
    return known.alias(column)


def _kinds_of(table: Table, missing: Sequence[str]) -> dict[str, str]:
    found = {name: _kind(table.sample[name], missing) for name in table.columns}
    unknown = [name for name in found if found[name] == "empty"]
    if unknown:
        for batch in table.batches(unknown):
            found.update({name: _kind(batch[name], missing) for name in unknown})
            unknown = [name for name in unknown if found[name] == "empty"]
            if not unknown:
                break
    return found


KINDS_OF_TYPE: dict[str, Callable[[Any], bool]] = {
    "number": lambda dtype: dtype.is_numeric(),
    "truth": lambda dtype: dtype == pl.Boolean,
    "time": lambda dtype: dtype == pl.Date or isinstance(dtype, pl.Datetime),
    "list": lambda dtype: dtype.is_nested() and dtype != pl.Struct,
    "empty": lambda dtype: dtype == pl.Null,
    "text": lambda dtype: dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum),
}


def _kind(cells: pl.Series, missing: Sequence[str]) -> str:
    dtype = cells.dtype
    told = next((kind for kind, fits in KINDS_OF_TYPE.items() if fits(dtype)), "other")
    if told != "text":
        return told
    texts = cells.to_frame().select(as_text(cells.name, cells.dtype, missing)).to_series()
    texts = texts.drop_nulls().head(SAMPLE)
    if texts.len() == 0:
        return "empty"
    if texts.is_in([*TRUE, *FALSE]).all():
        return "truth"
    # Half is enough: one bad cell in a column of numbers is an error to show, not another kind.
    if texts.cast(pl.Float64, strict=False).is_not_null().sum() * 2 >= texts.len():
        return "number"
    decimal_commas = texts.str.contains(r"^[+-]?\d+,\d+$").sum() * 2 >= texts.len()
    if decimal_commas:
        return "number"
    return "time" if times.are_times(texts) else "text"
