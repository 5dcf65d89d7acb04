"""Read separated text in blocks, in the dialect that its first and last lines show.

Text is cut into blocks here, and Polars parses one block at a time. The scan of Polars maps the
whole file into memory, but reading must need no more than twice the memory of the file's numbers.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import IO, Any, Literal

import polars as pl

from gatewise.errors import DataError, FlawError, Way
from gatewise.readers import dialect as dialects
from gatewise.readers import fixed, marks, printed, ragged, units
from gatewise.readers.cells import SAMPLE
from gatewise.readers.dialect import Dialect
from gatewise.readers.files import File, is_utf8, reading
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

BLOCK = 1 << 20  # bytes of text parsed at once
LEAST_LINES, MOST = 20, 64 << 20  # lines at the top that are looked at, and bytes at most
TAIL = 1 << 15  # bytes at the end in which a footer is looked for


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
        ends = _ends_of(file, separator, settings)
    written, notes, old_ends = ends.dialect, list(ends.notes), ends.old_ends
    with reading(name, ends.encoding, file):
        top = written if ends.whole else replace(written, footer_rows=0)
        head = partial(io.BytesIO, ends.head.encode("utf-8", "surrogateescape"))
        blocks = _blocks(head, quotes, top, name=name, old_ends=old_ends)
        first_block = next(blocks, b"")
        if not first_block.strip():
            raise DataError(
                f"{name} holds nothing but comments and lines above the table. It needs a line of "
                "column names, and rows below it."
            )
        names, written = _names_of(name, first_block, written, settings, notes)
        left_out: dict[int, str] = {}
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
        first = 1 + written.header_rows + written.skip_rows
        notes += _notes_of(left_out, first)
        likely = math.ceil(sample.height * max(1.0, file.size / max(len(first_block), 1)))
    signs: dict[str, str] = {}
    listed: dict[str, str] = {}
    odd = marks.not_plain(sample)
    sample = sample.head(SAMPLE)
    if odd.columns:
        noted = units.footnoted(odd, [settings.label, settings.group, *settings.id])
        signs = noted | units.columns(odd.head(SAMPLE), ascii=ends.head.isascii())
        notes += [units.note(*found) for found in signs.items()]
        sample = _without_signs(sample, signs)
        listed = printed.columns(sample.select(odd.columns), name)
    marked = marks.columns(sample, written.decimal, written.thousands)
    notes += [printed.note(listed)] if listed else []

    def batches(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        with reading(name, ends.encoding, file):
            again = partial(file.opened, ends.encoding)
            blocks = _blocks(again, quotes, written, name=name, old_ends=old_ends)
            for batch in parsed(blocks, columns):
                numbers = _plain(_without_signs(batch, signs), marked, written)
                yield printed.plain(numbers, listed)

    return Table(
        name,
        printed.plain(_plain(sample, marked, written), listed),
        likely,
        batches,
        notes=tuple(notes),
        dialect=written,
        left_out=left_out,
        first=first,
        counting=_counting(written),
    )


def _counting(written: Dialect) -> str:
    """How messages count the rows of a file in this dialect."""
    if written.skip_rows:
        return "counting every row from 1"
    return {0: "counting from 1", 1: "counting the header as row 1"}.get(
        written.header_rows, "counting every row from 1"
    )


@dataclass(frozen=True)
class _Ends:
    """What the first and the last lines of a file show."""

    encoding: str
    head: str  # whole lines at the top
    whole: bool  # the head is the file
    old_ends: bool  # CR alone ends some lines
    dialect: Dialect
    notes: tuple[str, ...]


def _ends_of(file: File, separator: str, settings: DataSettings) -> _Ends:
    """Find the encoding and the dialect of a file.

    Raises:
        DataError: the file is empty.
    """
    begin, end, whole = _outer_bytes(file)
    encoding, remark = dialects.encoding(begin, settings.encoding)
    head = _whole_lines(_decoded(begin, encoding), whole=whole)
    if not head.strip():
        raise DataError(
            f"{file.path} is empty. It needs a line of column names, and rows below it."
        )
    quotes = settings.quotes
    old_ends = bool(re.search("\r(?!\n)", re.sub('"[^"]*"', "", head) if quotes else head))
    shown, tail = _lines_of(head), _lines_of(_decoded(end, encoding))
    changes: dict[str, Any] = {}
    for part, (holds, change) in dialects.CHANGES.items():
        if (quotes or part != "quoted_lines") and holds(shown.splitlines()):
            shown, tail = map(change, (shown, tail))
            changes[part] = True
    if borders := _borders(shown, separator, settings):
        shown, tail = (fixed.cut(text, borders) for text in (shown, tail))
    written = ragged.found(shown.splitlines(), settings) or dialects.found(
        shown, tail, separator, settings
    )
    written = replace(written, **changes, borders=borders)
    notes = (*([remark] if remark else []), *written.notes(separator))
    return _Ends(encoding, head, whole, old_ends, written, notes)


def _borders(text: str, separator: str, settings: DataSettings) -> tuple[int, ...]:
    """The borders of columns of fixed width, if nothing separates them alike in each line."""
    shown = dialects.without_comments(text, settings.comment or "#")
    if settings.column_names or settings.skip_rows > 0 or dialects.is_cut(shown, separator):
        return ()
    return fixed.borders(shown.splitlines())


@dialects.long_cells()
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
    if not here:
        return batch
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


def _outer_bytes(file: File) -> tuple[bytes, bytes, bool]:
    """The first and the last bytes of a file, and whether the first are all.

    The file is read to its end only if it is packed. The lines of a wide table are long, so
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
    name = "utf-8-sig" if is_utf8(encoding) else encoding
    return content.decode(name, "surrogateescape" if name == "utf-8-sig" else "replace")


def _whole_lines(text: str, *, whole: bool) -> str:
    """The text, of which each line has an end; if the file goes on, without its last line."""
    if whole:
        return text if text.endswith(("\n", "\r")) else f"{text}\n"
    end = max(text.rfind("\n"), text.rfind("\r") if "\n" not in text else -1)
    return text[: end + 1] or text


def _lines_of(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@dialects.long_cells()
def _names_of(
    name: str, block: bytes, written: Dialect, settings: DataSettings, notes: list[str]
) -> tuple[list[str], Dialect]:
    """The names of the columns: those of the settings, those of the header, or numbers."""
    lines = block.decode("utf-8-sig").lstrip("\r\n")
    reader = csv.reader(io.StringIO(lines), delimiter=written.separator)
    if written.ragged and written.ragged.names:
        return list(written.ragged.names), written
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


def _blocks(
    again: Callable[[], IO[bytes]],
    quotes: bool,
    written: Dialect,
    *,
    name: str,
    old_ends: bool = False,
) -> Generator[bytes]:
    """Yield a table in blocks of whole records, without what stands above and below it.

    `name` is that of the table in messages; `old_ends`: some lines end with CR alone.
    """
    rest, held = b"", TAIL if written.footer_rows else 0
    skip = written.skip_rows
    comment = b"(?m)^" + re.escape(written.comment.encode()) + b".*\n?"
    with again() as file:
        while block := file.read(BLOCK):
            if old_ends:
                while block.endswith(b"\r") and (more := file.read(1)):
                    block += more
                block = re.sub(rb"\r(?!\n)", b"\n", block)
            # Files that were joined keep the byte-order mark of each.
            rest = (rest + block).replace(b"\n\xef\xbb\xbf", b"\n")
            if skip:
                rest, skip = _below(rest, skip), 0
            end = rest.rfind(b"\n", 0, max(0, len(rest) - held)) + 1
            end = _last_record(rest[:end]) if quotes else end
            # Keep the last bytes, because only blank lines may follow.
            if end and rest[end:].strip():
                yield _tidy(rest[:end], written, comment, name)
                rest = rest[end:]
    rest = rest.rstrip()
    for _ in range(written.footer_rows):  # blank lines do not count
        rest = rest[: rest.rfind(b"\n") + 1].rstrip()
    if rest.strip():
        yield _tidy(rest + b"\n", written, comment, name)


def _below(block: bytes, lines: int) -> bytes:
    """The block without its first lines."""
    block = block.removeprefix(b"\xef\xbb\xbf")
    for _ in range(lines):
        block = block.partition(b"\n")[2]
    return block


def _tidy(block: bytes, written: Dialect, comment: bytes, name: str) -> bytes:
    """The block without comments, and with one separator between aligned columns."""
    changes = [change for part, (_, change) in dialects.CHANGES.items() if getattr(written, part)]
    block = _changed(block, changes)
    if written.comment:
        block = re.sub(comment, b"", block.removeprefix(b"\xef\xbb\xbf"))
    later: list[Callable[[str], str]] = []
    if written.borders:
        later.append(lambda text: fixed.cut(text, written.borders, name))
    if rows := written.ragged:
        later.append(lambda text: ragged.listed(text, rows, name))
    block = _changed(block, later)
    if written.aligned:
        lines = [line.strip() for line in block.splitlines()]
        block = b"\n".join(re.sub(written.aligned.encode(), b"\t", line) for line in lines) + b"\n"
    return block


def _changed(block: bytes, changes: Sequence[Callable[[str], str]]) -> bytes:
    """The block after changes of its text."""
    if not changes:
        return block
    text = block.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    for change in changes:
        text = change(text)
    return text.encode("utf-8", "surrogateescape")


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
    left_out: dict[int, str],
) -> Iterator[pl.DataFrame]:
    """Yield every cell as text, so that an error message can show a bad cell.

    Rows that repeat the header and stray blank rows are left out; `left_out` gets their numbers,
    and what they are.
    """
    row = 0
    for number, block in enumerate(blocks):
        body = block[_header_end(block, written.header_rows) :] if number == 0 else block
        parse = partial(_parsed, body, written, names, columns, quotes=quotes, header=header)
        try:
            batch, apart = parse()
        except pl.exceptions.NoDataError:
            continue
        except pl.exceptions.PolarsError:
            first = row + 1 + written.header_rows + written.skip_rows
            if _is_ragged(name, body, first, names, separator=written.separator, quotes=quotes):
                batch, apart = parse(cut=True)
            elif quotes and b'"' in body:
                raise DataError(f"{name} cannot be parsed. {STRAY_QUOTES}") from None
            else:
                raise
        left_out.update({row + at: kind for at, kind in apart.items()})
        if batch.height:
            yield batch
        row += batch.height + len(apart)


def _notes_of(left_out: Mapping[int, str], first: int) -> list[str]:
    """The notes on rows that are left out; `first` is the number of the first row in the file."""
    notes = []
    blank = sorted(row for row, kind in left_out.items() if kind == BLANK)
    if repeats := len(left_out) - len(blank):
        verb = "row repeats the names of the columns and is"
        several = "rows repeat the names of the columns and are"
        notes.append(f"{repeats} {verb if repeats == 1 else several} left out")
    if blank:
        at = blank[0] + first
        one = f"row {at} is blank and left out"
        several = f"{len(blank)} blank rows are left out; the first is row {at}"
        notes.append(one if len(blank) == 1 else several)
    return notes


def _parsed(
    body: bytes,
    written: Dialect,
    names: list[str],
    columns: Sequence[str],
    *,
    quotes: bool,
    header: tuple[bytes, Sequence[Sequence[str]]],
    cut: bool = False,
) -> tuple[pl.DataFrame, dict[int, str]]:
    """These columns of a block, and the rows that are left out, with what they are.

    `cut`: cells behind the last column are left out.
    """
    scan = pl.scan_csv(
        body,
        has_header=False,
        separator=written.separator,
        schema=dict.fromkeys(names, pl.String),
        quote_char='"' if quotes else None,
        missing_columns="insert",  # short rows end with empty cells
        truncate_ragged_lines=cut,
    )
    repeating = bool(header[1]) and header[0] in body
    separator = re.escape(written.separator.encode())
    blanks = len(names) > 1 and re.search(rb"\n[ \t" + separator + rb"]*\r?\n", body)
    if not repeating and not blanks:
        return scan.select(columns).collect(), {}
    every = scan.collect()
    apart = {}
    if repeating:
        apart = dict.fromkeys(_true(every, _rows_like(header[1], names)), HEADER)
    if blanks:
        found = _true(every, _rows_like([[""]], names))
        # More of them may be what separates sequences, unless they are the last ones.
        last = found == list(range(every.height - len(found), every.height))
        if (last and not written.ragged) or len(found) * FEW_BLANK <= every.height:
            apart |= dict.fromkeys(found, BLANK)
    kept = pl.int_range(pl.len()).is_in(list(apart)).not_()
    return every.filter(kept).select(columns), apart


BLANK, HEADER = "blank", "header"
FEW_BLANK = 50  # at most one row in this many is stray


def _true(rows: pl.DataFrame, condition: pl.Expr) -> list[int]:
    return rows.select(condition).to_series().arg_true().to_list()


def _rows_like(cells_of: Sequence[Sequence[str]], names: Sequence[str]) -> pl.Expr:
    """True for the rows of a table that have the cells of one of these rows, such as a header's."""
    cells = [pl.col(name).str.strip_chars().fill_null("") for name in names]
    rows = [[*row, *[""] * (len(names) - len(row))][: len(names)] for row in cells_of]
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


@dialects.long_cells()
def _is_ragged(
    name: str, body: bytes, first: int, names: Sequence[str], *, separator: str, quotes: bool
) -> bool:
    """True if records have more cells than there are columns, and these are empty.

    Raises:
        DataError: one of these cells holds something.
    """
    kind: Literal[0, 3] = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    lines = io.StringIO(body.decode("utf-8"))
    records = list(csv.reader(lines, delimiter=separator, quoting=kind))
    wide = [(row, one) for row, one in enumerate(records, first) if len(one) > len(names)]
    full = [(row, one) for row, one in wide if any(map(str.strip, one[len(names) :]))]
    if not full:
        return bool(wide)
    row, record = full[0]
    advice = "Quote cells that hold a separator"
    ways = [] if quotes else [Way({"quotes": True})]
    who = "has"
    if len(full) > len(records) // 2:
        who = "and most others have"
        advice = (
            "Name all columns; if commas in numbers cut them in two, quote the numbers, or "
            "separate the columns with semicolons"
        )
        if not all(map(dialects.is_name, names)):
            ways.append(Way({"skip_rows": row - 1}, "the table begins there"))
    raise FlawError(
        f"{name}: row {row} (counting every row from 1) {who} {len(record)} cells, but only "
        f"{len(names)} columns have names.",
        advice=advice,
        ways=ways,
    )
