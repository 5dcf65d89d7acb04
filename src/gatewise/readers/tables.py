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
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal, cast

import narwhals as nw
import polars as pl

from gatewise.errors import DataError
from gatewise.readers import archives, marks, times, units
from gatewise.readers import dialect as dialects
from gatewise.readers.dialect import Dialect
from gatewise.settings import DataSettings

BLOCK = 1 << 20  # bytes of text parsed at once
LEAST_LINES, MOST = 20, 64 << 20  # lines at the top that are looked at, and bytes at most
PACKED = 4  # approximate compression ratio of text
SAMPLE = 1000  # rows that determine the kind of a column
TAIL = 1 << 15  # bytes at the end in which a footer is looked for
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
    dialect: Dialect | None = None  # how a text file writes it; None for other tables
    place: Callable[[int], str] | None = None  # names a row of several files; None for one file
    left_out: set[int] = field(default_factory=set)  # rows that batches leave out, counted from 0
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
            packed = self.path.suffix == ".gz"
            file = archives.gunzipped(self.path) if packed else self.path.open("rb")
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


def unpacked(archive: Path, name: str) -> File:
    """The file with this name in an archive."""
    return File(Path(f"{archive}{archives.MARK}{name}"), archives.content(archive, name))


@contextmanager
def reading(name: str, encoding: str = "utf-8", file: File | None = None) -> Iterator[None]:
    """Convert errors of Polars, gzip and the file system to a DataError that names the file.

    With `file`, the error about an encoding shows what other encodings make of the file.

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
        raise other_encoding(name, encoding, _content(file)) from None
    except RecursionError:
        raise DataError(
            f"{name} is nested too deeply to be a table. It needs a list of objects."
        ) from None
    except LookupError:
        raise DataError(f"There is no encoding {encoding!r} (data.encoding).") from None
    except csv.Error as error:
        raise DataError(f"{name} is not separated text: {error}.") from None
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}.") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        # A damaged Parquet file may cause a panic, which is not even an Exception.
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        if "utf" in reason.lower():
            raise other_encoding(name, encoding, _content(file)) from None
        raise DataError(f"{name} cannot be read: {reason}. Check its format.") from None


def _content(file: File | None) -> bytes:
    """The bytes of a file, which an error message tries with other encodings."""
    if file is None:
        return b""
    with file.opened() as stream:
        return stream.read()


def other_encoding(name: str, encoding: str = "utf-8", content: bytes = b"") -> DataError:
    """The error for a text file in another encoding; `content` is tried with a few encodings."""
    kind = "UTF-8" if _is_utf8(encoding) else encoding
    tried = dialects.readings(content)
    remedy = "Set the one that is right." if tried else "Save it as UTF-8 (iconv -t UTF-8)."
    return DataError(" ".join(filter(None, [f"{name} is not {kind} text.", tried, remedy])))


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def delimited(file: File, separator: str = "", settings: DataSettings | None = None) -> Table:
    """Open a table of separated text, in the dialect that its first and last lines show.

    `separator` is the one that the name of the file promises. `settings.column_names` are the
    names of a file without a header; without `settings.quotes`, quotation marks are ordinary
    characters.

    Raises:
        DataError: the file is empty, has no header or is not text.
    """
    settings = settings or DataSettings()
    name, quotes = str(file.path), settings.quotes
    with reading(name, settings.encoding):
        begin, end, whole = _ends(file)
        encoding, remark = dialects.encoding(begin, settings.encoding)
        head = _whole_lines(_decoded(begin, encoding), whole=whole)
        if not head.strip():
            raise DataError(f"{name} is empty. It needs a line of column names, and rows below it.")
        notes = [remark] if remark else []
        old_ends = "\r" in head and "\n" not in head
        tail = _decoded(end, encoding)
        written = dialects.found(_lines_of(head), _lines_of(tail), separator, settings)
        notes += written.notes(separator)
    with reading(name, encoding, file):
        top = written if whole else replace(written, footer_rows=0)
        blocks = _blocks(
            partial(io.BytesIO, head.encode("utf-8", "surrogateescape")),
            quotes,
            top,
            old_ends=old_ends,
        )
        first_block = next(blocks, b"")
        names, written = _names_of(name, first_block, written, settings, notes)
        again = partial(file.opened, encoding)
        left_out: set[int] = set()
        parsed = partial(
            _text_batches,
            name,
            names,
            written,
            quotes=quotes,
            header=_header(first_block, written),
            left_out=left_out,
        )
        sample = next(parsed(chain([first_block], blocks), names), None)
        if sample is None:
            raise DataError(f"{name} holds column names but no rows.")
        if repeats := len(left_out):
            verb = "row repeats the names of the columns and is"
            several = "rows repeat the names of the columns and are"
            notes.append(f"{repeats} {verb if repeats == 1 else several} left out")
        likely = math.ceil(sample.height * max(1.0, file.size / max(len(first_block), 1)))
    sample = sample.head(SAMPLE)
    signs = units.columns(sample)
    notes += [units.note(*found) for found in signs.items()]
    sample = _without_signs(sample, signs)
    marked = marks.columns(sample, written.decimal, written.thousands)

    def batches(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        with reading(name, encoding, file):
            for batch in parsed(_blocks(again, quotes, written, old_ends=old_ends), columns):
                yield _plain(_without_signs(batch, signs), marked, written)

    usual = written.header_rows == 1 and not written.skip_rows
    return Table(
        name,
        _plain(sample, marked, written),
        likely,
        batches,
        notes=tuple(notes),
        dialect=written,
        left_out=left_out,
        first=1 + written.header_rows + written.skip_rows,
        counting="counting the header as row 1"
        if usual
        else "counting from 1"
        if not (written.header_rows or written.skip_rows)
        else "counting every row from 1",
    )


def _header(block: bytes, written: Dialect) -> tuple[bytes, list[list[str]]]:
    """The first line of the header, and the rows of the header, which joined files repeat."""
    if written.aligned:
        return b"", []
    top = block.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    lines = io.StringIO(top[: _header_end(top, written.header_rows)].decode())
    rows = csv.reader(lines, delimiter=written.separator)
    cells = [[cell.strip() for cell in row] for row in rows if any(map(str.strip, row))]
    return top.partition(b"\n")[0].rstrip(), cells


def _without_signs(batch: pl.DataFrame, signs: Mapping[str, str]) -> pl.DataFrame:
    """The batch with numbers in place of percents and amounts of money."""
    here = {name: sign for name, sign in signs.items() if name in batch.columns}
    return batch.with_columns(
        units.plain(pl.col(name), sign).alias(name) for name, sign in here.items()
    )


def _plain(batch: pl.DataFrame, marked: Sequence[str], written: Dialect) -> pl.DataFrame:
    """The batch with numbers that Polars reads."""
    here = [name for name in marked if name in batch.columns]
    if not here:
        return batch
    read = [marks.plain(pl.col(name), written.decimal, written.thousands) for name in here]
    return batch.with_columns(cells.alias(name) for cells, name in zip(read, here, strict=True))


def _ends(file: File) -> tuple[bytes, bytes, bool]:
    """The first and the last bytes of a file, and whether the first are all.

    The file is read to its end only if it is packed. The lines of a wide table are long, so that
    more bytes are read until there are some lines.
    """
    with file.opened() as stream:
        begin = part = stream.read(BLOCK)
        while len(part) == BLOCK and _lines(begin) < LEAST_LINES and len(begin) < MOST:
            part = stream.read(BLOCK)
            begin += part
        if len(part) < BLOCK:
            return begin, begin, True
        last = begin
        if file.content is None and file.path.suffix != ".gz":
            # A multiple of four bytes, because characters of UTF-32 are that long.
            stream.seek(max(0, file.path.stat().st_size - TAIL) // 4 * 4)
        while block := stream.read(BLOCK):
            last = (last + block)[-TAIL - len(last + block) % 4 :]
    return begin, last, False


def _lines(content: bytes) -> int:
    return max(content.count(b"\n"), content.count(b"\r"))


def _decoded(content: bytes, encoding: str) -> str:
    """The text of a part of a file; characters that are cut at its ends are replaced."""
    name = "utf-8-sig" if _is_utf8(encoding) else encoding
    return content.decode(name, "surrogateescape" if name == "utf-8-sig" else "replace")


def _whole_lines(text: str, *, whole: bool) -> str:
    """The text without blank lines at its begin and, if the file goes on, without its last line."""
    text = text.lstrip("\r\n")
    if whole:
        return text
    end = max(text.rfind("\n"), text.rfind("\r") if "\n" not in text else -1)
    return text[: end + 1] or text


def _lines_of(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _names_of(
    name: str, block: bytes, written: Dialect, settings: DataSettings, notes: list[str]
) -> tuple[list[str], Dialect]:
    """The names of the columns: those of the settings, those of the header, or numbers."""
    lines = block.decode("utf-8-sig").lstrip("\r\n")
    reader = csv.reader(io.StringIO(lines), delimiter=written.separator)
    if settings.column_names:
        names = list(settings.column_names)
        # A first row that holds only known names is a header, even if training had none.
        header = {cell.strip() for cell in next(reader, [])} <= set(names)
        return names, replace(written, header_rows=int(header))
    if not written.header_rows:
        names = [f"column {place}" for place, _ in enumerate(next(reader, []), start=1)]
        last = f" to {names[-1]!r}" if len(names) > 1 else ""
        notes.append(
            f"no row names the columns, so they are called {names[0]!r}{last} (data.column_names)"
        )
        return names, written
    rows = [row for row, _ in zip(reader, range(written.header_rows), strict=False)]
    before, behind = [""] * (written.unnamed > 0), [""] * (written.unnamed < 0)
    rows = [[*before, *row, *behind] for row in rows]
    return dialects.column_names(name, rows, notes), written


def _header_end(block: bytes, rows: int) -> int:
    """The position behind the first `rows` records that are not blank."""
    end = 0
    for _ in range(rows):
        rest = block[end:]
        begin = end + len(rest) - len(rest.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n"))
        end = block.find(b"\n", begin) + 1
        while end and block.count(b'"', begin, end) % 2:
            end = block.find(b"\n", end) + 1
        end = end or len(block)
    return end


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def _blocks(
    again: Callable[[], IO[bytes]], quotes: bool, written: Dialect, *, old_ends: bool = False
) -> Generator[bytes]:
    """Yield a table in blocks of whole records, without what stands above and below it.

    `old_ends`: lines end with CR alone.
    """
    rest, held = b"", TAIL if written.footer_rows else 0
    skip = written.skip_rows
    comment = b"(?m)^" + re.escape(written.comment.encode()) + b".*\n?"
    with again() as file:
        while block := file.read(BLOCK):
            rest += block.replace(b"\r", b"\n") if old_ends else block
            if skip:
                rest, skip = _below(rest, skip, written.comment), 0
            end = rest.rfind(b"\n", 0, len(rest) - held) + 1
            end = _last_record(rest[:end]) if quotes else end
            # Keep the last bytes, because only blank lines may follow.
            if end and rest[end:].strip():
                yield _tidy(rest[:end], written, comment)
                rest = rest[end:]
    rest = rest.rstrip()
    for _ in range(written.footer_rows):  # blank lines do not count
        rest = rest[: rest.rfind(b"\n") + 1].rstrip()
    if rest.strip():
        yield _tidy(rest + b"\n", written, comment)


def _below(block: bytes, lines: int, comment: str) -> bytes:
    """The block without its first lines; comments and blank lines at the top do not count."""
    block = block.removeprefix(b"\xef\xbb\xbf")
    while lines and block:
        line, _, block = block.partition(b"\n")
        counts = line.strip() and not (comment and line.startswith(comment.encode()))
        lines -= bool(counts)
    return block


def _tidy(block: bytes, written: Dialect, comment: bytes) -> bytes:
    """The block without comments, and with one separator between aligned columns."""
    if written.comment:
        block = re.sub(comment, b"", block.removeprefix(b"\xef\xbb\xbf"))
    if written.aligned:
        lines = [line.strip() for line in block.splitlines()]
        block = b"\n".join(re.sub(written.aligned.encode(), b"\t", line) for line in lines) + b"\n"
    return block


def _last_record(block: bytes) -> int:
    """The position behind the last whole record: a line end that no quotes enclose."""
    end = block.rfind(b"\n") + 1
    while end and block.count(b'"', 0, end) % 2:
        end = block.rfind(b"\n", 0, block.rfind(b'"', 0, end)) + 1
    return end


def _text_batches(
    name: str,
    names: list[str],
    written: Dialect,
    blocks: Iterable[bytes],
    columns: Sequence[str],
    *,
    quotes: bool,
    header: tuple[bytes, Sequence[Sequence[str]]],
    left_out: set[int],
) -> Iterator[pl.DataFrame]:
    """Yield every cell as text, so that an error message can show a bad cell.

    Rows that repeat the header are left out, and their numbers are added to `left_out`.
    """
    row = 0
    schema = dict.fromkeys(names, pl.String)
    for number, block in enumerate(blocks):
        body = block[_header_end(block, written.header_rows) :] if number == 0 else block
        try:
            scan = pl.scan_csv(
                body,
                has_header=False,
                separator=written.separator,
                schema=schema,
                quote_char='"' if quotes else None,
                missing_columns="insert",  # short rows end with empty cells
            )
            height = 0
            if header[1] and header[0] in body:
                every = scan.collect()
                height = every.height
                repeats = every.select(_repeats(header[1], names)).to_series()
                left_out.update(row + int(at) for at in repeats.arg_true())
                scan = every.filter(~repeats).lazy()
            batch = scan.select(columns).collect()
        except pl.exceptions.NoDataError:
            continue
        except pl.exceptions.PolarsError:
            first = row + 1 + written.header_rows + written.skip_rows
            _show_ragged(name, body, first, names, separator=written.separator, quotes=quotes)
            if quotes and b'"' in body:
                raise DataError(f"{name} cannot be parsed. {STRAY_QUOTES}") from None
            raise
        if batch.height:
            yield batch
        row += height or batch.height


def _repeats(header: Sequence[Sequence[str]], names: Sequence[str]) -> pl.Expr:
    """True for the rows of a table that are rows of its header."""
    cells = [pl.col(name).str.strip_chars().fill_null("") for name in names]
    rows = [[*row, *[""] * (len(names) - len(row))] for row in header]
    return pl.any_horizontal(
        pl.all_horizontal(cell == text for cell, text in zip(cells, row, strict=True))
        for row in rows
    )


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
    if table.dialect is None or table.dialect.separator != "\t":
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
            frame = _of_rows(name, _with_nan(content))
    return of_frame(_unnested(frame), name)


def _with_nan(content: bytes) -> list[Any]:
    """The objects of JSON Lines that Python wrote, in which numbers may be NaN."""
    return [json.loads(line) for line in content.decode("utf-8").splitlines() if line.strip()]


def _of_rows(name: str, content: Any) -> pl.DataFrame:
    """The frame of a list of objects, or of a list for each column.

    Raises:
        DataError: a column mixes kinds of values, or holds a number that is too large.
    """
    try:
        return pl.DataFrame(content, infer_schema_length=None)
    except (TypeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0][:200].rstrip(".")
        raise DataError(
            f"{name} has a column that mixes kinds of values, or a number that is too large: "
            f"{reason}."
        ) from None


def json_table(source: File, encoding: str = "utf-8") -> Table:
    """Read a JSON file with a list of objects, or with one list for each column.

    A list of objects may be the only list behind a key, as in {"data": [...]}.

    Raises:
        DataError: the file is empty or damaged, or holds something else.
    """
    name = str(source.path)
    with reading(name, encoding), source.opened(encoding) as file:
        content = parsed(file.read(), name)
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list)]
        if len(lists) == 1 and lists[0] and isinstance(lists[0][0], dict):
            content = lists[0]
        content = _of_pandas(content) if isinstance(content, dict) else content
    rows = isinstance(content, list) and all(isinstance(row, dict) for row in content)
    by_column = isinstance(content, dict) and all(isinstance(v, list) for v in content.values())
    if not content or not (rows or by_column):
        raise DataError(
            f"{name} must hold a list of objects with the same keys, or a list for each column."
        )
    with reading(name):
        return of_frame(_unnested(_of_rows(name, content)), name)


def _of_pandas(content: dict[str, Any]) -> Any:
    """The columns of what `DataFrame.to_json` wrote; other content is returned unchanged."""
    if set(content) == {"columns", "index", "data"} and isinstance(content["columns"], list):
        names, rows = list(map(str, content["columns"])), content["data"]
        whole = isinstance(rows, list) and all(
            isinstance(row, list) and len(row) == len(names) for row in rows
        )
        return [dict(zip(names, row, strict=True)) for row in rows] if whole else content
    inner = list(content.values())
    if not inner or not all(isinstance(one, dict) and one for one in inner):
        return content
    if any(one.keys() != inner[0].keys() for one in inner):
        return content
    counted = list(content) == [str(k) for k in range(len(content))]  # the index of the rows
    by_row = counted or len(inner) > len(inner[0])
    return inner if by_row else {key: list(one.values()) for key, one in content.items()}


def parsed(content: bytes, name: str) -> Any:
    """The content of a JSON text; `name` is its name in messages.

    Raises:
        DataError: it is not JSON, is nested too deeply, or gives a key of an object twice.
    """
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=partial(_object, name))
    except UnicodeDecodeError:
        raise other_encoding(name, content=content) from None
    except json.JSONDecodeError as error:
        raise DataError(f"{name} is not JSON: {error}.") from None
    except RecursionError:
        raise DataError(f"{name} is not JSON that can be read: it is nested too deeply.") from None
    except ValueError:  # Python refuses to convert so many digits
        raise DataError(f"{name} holds a whole number with thousands of digits.") from None


def _object(name: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"{name}: an object has the key {twice[:80]!r} twice. Give each key once.")
    return found


def _unnested(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with a column for each field of an object: translation.en."""
    while nested := [name for name, kind in frame.schema.items() if kind == pl.Struct]:
        for name in nested:
            inner = frame[name].struct.unnest()
            fields = inner.rename({field: f"{name}.{field}" for field in inner.columns})
            place = frame.columns.index(name)
            columns = [*frame.columns[:place], *fields.columns, *frame.columns[place + 1 :]]
            frame = frame.drop(name).hstack(fields).select(columns)
    return frame


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
        frame = nw.from_native(_with_moments(source), allow_series=True)
    except (ValueError, nw.exceptions.DuplicateError) as error:
        raise DataError(f"the data frame cannot be read: {' '.join(str(error).split())}.") from None
    except TypeError:
        raise DataError(
            "The data must be a path, a table (pandas, Polars, ...), an array, a tensor, a list of "
            f"arrays, a mapping of columns or a pair (X, y). Received: {type(source).__name__}."
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


def _with_moments(source: Any) -> Any:
    """A pandas frame with its periods as times and its durations as seconds."""
    if not nw.dependencies.is_pandas_dataframe(source):
        return source
    changed = {}
    for name, kind in source.dtypes.items():
        if str(kind).startswith("period"):
            changed[name] = source[name].dt.to_timestamp()
        elif str(kind).startswith("timedelta"):
            changed[name] = source[name].dt.total_seconds()
        elif re.search(r"UTC[+-]\d|pytz.FixedOffset", str(kind)):  # Polars knows only named zones
            changed[name] = source[name].dt.tz_convert("UTC")
    return source.assign(**changed) if changed else source


def _has_times(series: Any) -> bool:
    return type(series.index).__name__ in ("DatetimeIndex", "PeriodIndex", "TimedeltaIndex")


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


# Equal numbers are one label, because a column of floats may have written them. A fraction such as
# 3.10 is kept as it is, because it may be a version.
WHOLE_LABEL = r"^[+-]?\d+(?:\.0*)?(?:[eE][+-]?\d+)?$|^[+-]?\d+\.\d+[eE][+-]?\d+$"
CODE = r"^-?\d+$"  # kept with its leading zeros, as a code may have them


def as_label(column: str, dtype: pl.DataType, missing: Sequence[str]) -> pl.Expr:
    """As `as_text`, but equal whole numbers are written alike, and so are true and false."""
    text = as_text(column, dtype, missing)
    spelt = text.str.contains(WHOLE_LABEL) & ~text.str.contains(CODE)
    number = text.cast(pl.Float64, strict=False)
    whole = (number == number.round()) & (number.abs() < 2**53)
    digits = number.cast(pl.Int64, strict=False).cast(pl.String)
    plain = pl.when(whole).then(digits).otherwise(number.cast(pl.String))
    flags = pl.when(text.is_in(TRUE)).then(pl.lit("True"))
    text = flags.when(text.is_in(FALSE)).then(pl.lit("False")).otherwise(text)
    return pl.when(spelt).then(plain).otherwise(text).alias(column)


def whole_label(text: str) -> str:
    """The label that `as_label` makes of a text.

    >>> whole_label("3.0"), whole_label("3.10"), whole_label("-1.0000e+00"), whole_label("007")
    ('3', '3.10', '-1', '007')
    >>> whole_label("true")
    'True'
    """
    if text in (*TRUE, *FALSE):
        return text.capitalize()
    if not re.fullmatch(WHOLE_LABEL, text) or re.fullmatch(CODE, text):
        return text
    number = float(text)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else str(number)


WORDS = ("NA", "N/A", "null", "NULL")  # names as well: of a region, a person, a category


def missing_labels(
    table: Table, columns: Sequence[str], missing: tuple[str, ...]
) -> tuple[str, ...]:
    """The texts that mean a missing label or id: where all else is text, NA and null are names."""
    if missing != DataSettings().missing_values:
        return missing
    for name in columns:
        cells = table.sample[name]
        if cells.dtype != pl.String:
            return missing
        texts = table.sample.select(as_text(name, cells.dtype, missing)).to_series().drop_nulls()
        if not texts.len() or texts.cast(pl.Float64, strict=False).is_not_null().any():
            return missing
    return tuple(text for text in missing if text not in WORDS)


def label_notes(table: Table, column: str, missing: tuple[str, ...]) -> list[str]:
    """A note for a label such as NA that is kept although it usually means a missing value."""
    if column not in table.columns or table.sample[column].dtype != pl.String:
        return []
    kept = set(missing) - set(missing_labels(table, [column], missing))
    cells = table.sample[column].cast(pl.String).str.strip_chars()
    names = [text for text in cells.unique(maintain_order=True).to_list() if text in kept]
    if not names:
        return []
    listed = " and ".join(map(repr, names))
    return [
        f"{listed} in the column {column!r} is a name there, because all else is text "
        "(data.missing_values)"
    ]


def flags(names: Sequence[str], schema: Mapping[str, pl.DataType], separator: str) -> pl.Expr:
    """The names of the columns of 0 and 1 that are 1 in a row, joined by the separator."""
    chosen = [
        pl.when(as_number(name, schema[name], (), boolean=schema[name] == pl.Boolean) == 1).then(
            pl.lit(name)
        )
        for name in names
    ]
    return pl.concat_str(chosen, separator=separator, ignore_nulls=True)


def are_flags(cells: pl.Series) -> bool:
    """True for cells of 0 and 1."""
    numbers = cells.cast(pl.Float64, strict=False)
    return cells.len() > 0 and bool(numbers.is_in([0.0, 1.0]).fill_null(False).all())


def as_number(
    column: str, dtype: pl.DataType, missing: Sequence[str], *, boolean: bool = False
) -> pl.Expr:
    """A column as float64; empty cells and cells that are not numbers are null."""
    empty = list(missing_numbers(missing))
    if dtype.is_numeric() or dtype == pl.Boolean or dtype == pl.Null:
        number = pl.col(column).cast(pl.Float64)
    elif boolean:
        text = as_text(column, dtype, missing)
        known = pl.when(text.is_in(list(TRUE))).then(1.0).when(text.is_in(list(FALSE))).then(0.0)
        return known.alias(column)
    else:  # most texts that mean "empty" are not numbers, so the cast makes them null
        number = pl.col(column).cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    return pl.when(~number.is_in(empty)).then(number).alias(column) if empty else number


def missing_numbers(missing: Sequence[str]) -> list[float]:
    """The numbers among the texts that mean a missing value; -9999 and -9999.0 are equal.

    >>> missing_numbers(["", "NA", "-9999"])
    [-9999.0]
    """
    return [float(text) for text in missing if _is_number(text)]


def _kinds_of(table: Table, missing: Sequence[str]) -> dict[str, str]:
    kinds = _kinds_in(table.sample, missing)
    unknown = [name for name in kinds if kinds[name] == "empty"]
    if unknown:
        for batch in table.batches(unknown):
            kinds.update(_kinds_in(batch.select(unknown), missing))
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


def _kinds_in(frame: pl.DataFrame, missing: Sequence[str]) -> dict[str, str]:
    """The kind of each column; one query reads all columns of texts.

    A query takes longer than counting in Python in a table of a few rows, as a server reads them.
    """
    schema = frame.schema
    kinds = {
        name: next((kind for kind, fits in KINDS_OF_TYPE.items() if fits(dtype)), "other")
        for name, dtype in schema.items()
    }
    written = [name for name, kind in kinds.items() if kind == "text"]
    cells = frame.select(as_text(name, schema[name], missing) for name in written)
    return kinds | {name: _kind(cells[name]) for name in written}


DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


def _kind(cells: pl.Series) -> str:
    """The kind of a column of texts, in which empty cells are null."""
    texts = [text for text in cells.to_list() if text is not None][:SAMPLE]
    if not texts:
        return "empty"
    if set(texts) <= {*TRUE, *FALSE}:
        return "boolean"
    # Half is enough, because a few bad cells in a column of numbers must become an error.
    known = pl.Series(texts, dtype=pl.String)
    if known.cast(pl.Float64, strict=False).null_count() * 2 <= len(texts):
        return "number"
    if sum(map(bool, map(DECIMAL_COMMA.fullmatch, texts))) * 2 >= len(texts):
        return "number"
    return "time" if times.are_times(known) else "text"
