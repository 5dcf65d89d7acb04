"""How a text file writes a table: its encoding, separator, header, footer and marks of numbers.

`found` looks at the first and the last lines. What it finds is stated in notes, and each part can
be set.
"""

import codecs
import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice, pairwise

from gatewise.errors import DataError
from gatewise.readers import marks, units
from gatewise.readers.times import DATES
from gatewise.settings import DataSettings

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
LINES = 200  # lines at the top that determine the dialect
MOST_ABOVE = 40  # lines that may stand above the header
MOST_HEADERS = 5  # rows that may name the columns
MOST_BELOW = 60  # lines that may stand below the table
FEWEST = 10  # records that tell a row of texts and labels from one of names
MIN_SPACES = 3  # between the words of a sentence
COMMENTS = ("#", "%", "//")  # before the lines above a table
HALF = 0.5  # share of cells that must be numbers or times where only white space cuts the lines
MARKS: dict[str, bytes] = {
    # UTF-32 first, because its mark begins like that of UTF-16.
    "utf-32": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
    "utf-16": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-8": codecs.BOM_UTF8,
}
WESTERN = "cp1252"  # what Excel writes in the west
PLAUSIBLE = re.compile(r"[\x00-\x7fÀ-ÿŠšŽžŒœŸ°²³µ§€£½¼¾±·–—‘’“”…•«»®©\xa0º]*")
# What occurs in numbers and times: a cell that holds nothing else is data, not a name.
DATA = re.compile(
    r"(?:[+\-−] *)?\d[\d.,'’\s:/T+\-]*(?:[eE][+-]?\d+)?(?: ?[AaPp]\.?[Mm]\.?)?(?: ?(?:Z|UTC))?"
    r"|\([\d.,]+\)"
    rf"|\(?[+\-−]?{units.SIGN} ?[+\-−]?[\d.,][\d.,'’\s]*\)?|[+\-−]?[\d.,][\d.,'’\s]*{units.SIGN}"
)
MOMENT = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}\b.*|\d{1,2}:\d{2}.*")
NOTHING = re.compile(r"n\.? ?[ad]\.?|n/a|nan|none|null|nil|missing|-*|\.*|\?*|#N/A", re.IGNORECASE)


@dataclass(frozen=True)
class Ragged:
    """How rows of different lengths are written: the numbers in a row are its steps."""

    separator: str
    before: int  # columns before the numbers
    behind: int
    names: tuple[str, ...]  # of the columns; (): the first row names them


@dataclass(frozen=True)
class Dialect:
    """How a file writes a table; `header_rows` 0: no row names the columns."""

    separator: str
    aligned: str = ""  # the pattern of the white space between aligned columns; "": not aligned
    skip_rows: int = 0
    header_rows: int = 1
    footer_rows: int = 0
    comment: str = ""
    decimal: str = ""  # "": points, without thousands marks
    thousands: str = ""
    since_1904: bool = False  # days of Excel count from 1904-01-01
    quoted_lines: bool = False  # quotation marks enclose each line as a whole
    ended: bool = False  # each line ends with a semicolon, although another sign separates cells
    drawn: bool = False  # lines and bars are drawn around the cells, as databases print a table
    keyed: bool = False  # the first cell of each line holds several, as Eurostat writes them
    described: bool = False  # lines describe the series, as Britain's office for statistics does
    borders: tuple[int, ...] = ()  # positions between columns of fixed width
    ragged: Ragged | None = None
    unnamed: int = 0  # 1: a column before the first name, as R writes it; -1: behind the last name

    def notes(self, expected: str) -> list[str]:
        """A note for each part that differs from a plain file with the separator `expected`."""
        listed = []
        if self.aligned:
            listed.append("the columns are separated by white space")
        elif expected and self.separator != expected and not (self.borders or self.ragged):
            listed.append(f"the columns are separated by {SEPARATORS[self.separator]}")
        whole_lines = {
            "each line is quoted as a whole, and is read without these quotes": self.quoted_lines,
            "the semicolon at the end of each line is left out": self.ended,
            "the lines and bars that are drawn around the cells are left out": self.drawn,
            "the first column holds several, and flags such as p in '12.3 p' are left out, as "
            "Eurostat writes tables": self.keyed,
            "lines that describe the series are left out, and of its years, quarters and months "
            "all but the shortest, in the column 'date'": self.described,
            "the columns have a fixed width": bool(self.borders),
            "the rows differ in length, so the numbers in a row are the steps of a sequence": bool(
                self.ragged
            ),
        }
        listed += [note for note, applies in whole_lines.items() if applies]
        if self.comment:
            listed.append(f"lines that begin with {self.comment!r} are comments (data.comment)")
        if self.skip_rows:
            what = "header" if self.header_rows else "table"
            listed.append(
                f"{_lines(self.skip_rows)} above the {what} {_are(self.skip_rows)} skipped "
                "(data.skip_rows)"
            )
        if self.header_rows > 1:
            listed.append(f"{self.header_rows} rows name the columns (data.header_rows)")
        if self.footer_rows:
            listed.append(
                f"{_lines(self.footer_rows)} below the table {_are(self.footer_rows)} left out "
                "(data.footer_rows)"
            )
        if self.decimal or self.thousands:
            listed.append(
                f"numbers are written as {marks.example(self.decimal, self.thousands)} "
                f"({_setting(self.decimal, self.thousands)})"
            )
        return listed


def _lines(count: int) -> str:
    return f"{count} line" if count == 1 else f"{count} lines"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _setting(decimal: str, thousands: str) -> str:
    given = {"decimal": decimal, "thousands": thousands}
    return " and ".join(f"data.{key}={sign!r}" for key, sign in given.items() if sign)


# Encodings


def encoding(begin: bytes, given: str) -> tuple[str, str]:
    """The encoding of a text file and a note; a byte-order mark decides.

    Without a mark, text that is not UTF-8 is read as cp1252 if every character is then plausible.
    `given` is kept if it is not the default.
    """
    marked = next((name for name, mark in MARKS.items() if begin.startswith(mark)), "")
    plain = given.lower().replace("_", "-") in ("utf-8", "utf8")
    if marked and (plain or marked.startswith("utf-32")):
        # The codecs without byte order read the mark; those with one would keep it as a character.
        name = marked.removesuffix("-be")
        note = f"the file is {name.upper()} by its byte-order mark" if name != "utf-8" else ""
        return name, note
    if not plain or _decodes(begin, "utf-8"):
        return given, ""
    if begin[1::2].count(0) * 2 > len(begin) // 2:
        return "utf-16-le", "the file has no byte-order mark and is read as utf-16-le"
    shown = _foreign(begin, WESTERN)
    # Western languages have few such letters in a row; Cyrillic read as cp1252 has many.
    if shown is None or not PLAUSIBLE.fullmatch(shown) or re.search("[À-ÿ]{3}", shown):
        return given, ""
    line = shown[:60].strip()
    return WESTERN, f"the file is not UTF-8 and is read as cp1252 ({line!r}; data.encoding)"


def marked(content: bytes, given: str) -> str:
    """The encoding that a byte-order mark names, else the given one."""
    found = next((name for name, mark in MARKS.items() if content.startswith(mark)), "")
    is_default = given.lower().replace("_", "-") in ("utf-8", "utf8")
    return found.removesuffix("-be") if found and is_default else given


def _decodes(begin: bytes, name: str) -> bool:
    try:
        codecs.getincrementaldecoder(name)().decode(begin)
    except UnicodeError:
        return False
    return True


def _foreign(content: bytes, name: str) -> str | None:
    """The lines with characters outside ASCII in this encoding; None if it cannot be read."""
    try:
        lines = content.decode(name).splitlines()
    except UnicodeError:
        return None
    return "\n".join(line for line in lines if not line.isascii())


def readings(content: bytes) -> str:
    """A sentence that shows what some encodings make of the first foreign line."""
    shown: dict[str, str] = {}
    for name in (WESTERN, "cp1251", "shift_jis", "gb18030"):
        lines = _foreign(content, name)
        if lines and lines.split("\n")[0] not in shown.values():
            shown[name] = lines.split("\n")[0]
    listed = "; ".join(f"data.encoding={name} as {line[:40]!r}" for name, line in shown.items())
    return f"The first line with other characters is read by {listed}." if listed else ""


# Separator, header and footer


def found(head: str, tail: str, expected: str, settings: DataSettings) -> Dialect:
    """The dialect of a file, from its first and last lines and the settings.

    `expected` is the separator that the name of the file promises, or "".
    """
    lines = head.splitlines()
    skipped = 0
    separator = expected
    if lines and re.fullmatch(r"sep=.", lines[0]):  # for Excel
        separator, skipped = lines[0][-1], 1
    lines = lines[skipped + max(settings.skip_rows, 0) :]
    comment, commented = (settings.comment, 0) if settings.comment else _comment(lines)
    lines = lines[commented:]
    rest = without_comments("\n".join(lines), comment)
    if skipped:
        made = Dialect(separator, comment=comment)
    elif settings.column_names:
        width = len(settings.column_names)
        made = Dialect(_of_width(rest, expected, width), comment=comment, header_rows=0)
    else:
        sign, aligned = _cuts(rest, expected)
        made = Dialect(sign, aligned, comment=comment)
    records, top = _records(rest, made), 0
    if not settings.column_names:
        made, top = _headed(made, records, settings)
    if not (settings.column_names or settings.skip_rows or made.header_rows or top):
        top = 2 * _begin_and_rate(records)
    above = skipped + max(settings.skip_rows, 0) + commented + _height(lines, top, comment)
    made = replace(made, skip_rows=above)
    made = replace(made, footer_rows=_footer(made, records, tail, settings))
    if settings.footer_rows:
        made = replace(made, footer_rows=max(settings.footer_rows, 0))
    if settings.header_rows > 0:
        made = replace(made, header_rows=settings.header_rows)
    decimal, thousands = marks.found(records[made.header_rows + top :], settings)
    return replace(made, decimal=decimal, thousands=thousands)


QUOTED = r'"((?:[^"\n]|"")*)"'  # a line, or a cell, in quotation marks; inner ones are doubled


def are_quoted_lines(lines: Sequence[str]) -> bool:
    """True if quotation marks enclose each line, and a separator inside cuts all lines alike."""
    rows = [line.rstrip() for line in lines if line.strip()]
    if len(rows) < 2 or not all(re.fullmatch(QUOTED, row) for row in rows):
        return False
    counts = [{row.count(sign) for row in rows} for sign in SEPARATORS if sign != " "]
    return any(len(found) == 1 and found != {0} for found in counts)


def unquoted_lines(text: str) -> str:
    """The text with each line as it was before it was quoted as a whole."""
    return re.sub(
        rf"(?m)^{QUOTED}[ \t]*(\r?)$",
        lambda line: line[1].replace('""', '"') + line[2],
        text,
    )


def are_ended(lines: Sequence[str]) -> bool:
    """True if nearly all lines end with their only semicolon, and commas or tabs cut them."""
    rows = [line.rstrip() for line in lines if line.strip()]
    ended = sum(row.endswith(";") and row.count(";") == 1 for row in rows)
    cut = sum("," in row or "\t" in row for row in rows)
    return len(rows) > 1 and ended >= 0.9 * len(rows) and cut >= 0.9 * len(rows)


def unended(text: str) -> str:
    """The text without semicolons at the ends of its lines."""
    return re.sub(r"(?m);+[ \t]*(\r?)$", r"\1", text)


RULE = r"[ \t]*(?=[|+:= -]*--)(?=[^|+\n]*[|+])[|+:= -]+"  # a line that is drawn below a header


def is_drawn(lines: Sequence[str]) -> bool:
    """True if a line is drawn among the first rows, and bars stand between the cells of most."""
    rows = [line for line in lines if line.strip()]
    ruled = any(re.fullmatch(RULE, line) for line in rows[:MOST_ABOVE])
    return ruled and 2 * sum("|" in line for line in rows) > len(rows)


def undrawn(text: str) -> str:
    """The text without drawn lines, and without the bars at both ends of the others."""
    return re.sub(
        r"(?m)^[ \t]*\|(.*)\|[ \t]*\r?$",
        lambda line: line[1],
        re.sub(rf"(?m)^{RULE}\r?(?:\n|\Z)", "", text),
    )


KEYS = re.compile(r"\w+(?:,\w+)*\\\w+ *\t")  # of Eurostat, before what the columns are
FLAGGED = r"\t *(?::|(-?[\d.]+)) ?[a-z]{0,3} *(?=\t|\r?$)"


def is_keyed(lines: Sequence[str]) -> bool:
    r"""True if the first line begins as those of Eurostat do: unit,geo\time."""
    return bool(lines) and KEYS.match(lines[0]) is not None


def unkeyed(text: str) -> str:
    """The text with a cell for each key, without flags, and with empty cells for colons."""

    def changed(line: str) -> str:
        keys, tab, rest = line.partition("\t")
        if KEYS.match(line):
            return keys.partition("\\")[0].replace(",", "\t") + tab + rest
        return keys.replace(",", "\t") + re.sub(FLAGGED, r"\t\1", tab + rest)

    return "\n".join(changed(line) for line in text.split("\n"))


# Rows of months, quarters and years of one series: 1988 JAN, 1988 Q1, 1988.
PERIODS = (r'"?\d{4} [A-Z]{3}"?,', r'"?\d{4} Q[1-4]"?,', r'"?\d{4}"?,')


def is_described(lines: Sequence[str]) -> bool:
    """True for a title and a code above lines that describe a series, as the ONS writes them."""
    return len(lines) > 2 and all(
        line.startswith((f'"{word}",', f"{word},"))
        for word, line in zip(("Title", "CDID"), lines, strict=False)
    )


def undescribed(text: str) -> str:
    """The text without lines that describe a series, and with the shortest of its periods alone."""
    lines = text.splitlines(keepends=True)
    titles = [re.sub('^"?Title"?', "date", line) for line in lines[:1] if is_described(lines)]
    rows = ([line for line in lines if re.match(period, line)] for period in PERIODS)
    return "".join([*titles, *next(filter(None, rows), [])])


# The parts of a dialect that change every line: how each is recognised, and what reads it.
CHANGES: dict[str, tuple[Callable[[Sequence[str]], bool], Callable[[str], str]]] = {
    "quoted_lines": (are_quoted_lines, unquoted_lines),
    "ended": (are_ended, unended),
    "drawn": (is_drawn, undrawn),
    "keyed": (is_keyed, unkeyed),
    "described": (is_described, undescribed),
}


def is_cut(text: str, expected: str) -> bool:
    """True if a sign or white space cuts the first lines alike."""
    sign, aligned = _cuts(text, expected)
    header = text.lstrip("\n").split("\n", 1)[0]
    return bool(aligned) or (sign in header and not (sign == " " and not _even(text, " ")))


def _comment(lines: Sequence[str]) -> tuple[str, int]:
    """The sign before the comments with which a file begins, and the lines above a header.

    A header may stand behind such a sign; then the lines above it are skipped, and the sign is "".
    """
    top = next((line for line in lines if line.strip()), "")
    mark = next((mark for mark in COMMENTS if top.startswith(mark)), "")
    header = _header_behind(lines, mark) if mark else None
    return (mark, 0) if header is None else ("", header)


def _header_behind(lines: Sequence[str], mark: str) -> int | None:
    """The place of the comments right above the rows that name their columns; None without any.

    The last comments that are as wide as a row, blank ones aside, are the header.
    """
    height = next((k for k, one in enumerate(lines) if one.strip() and not one.startswith(mark)), 0)
    row = lines[height]
    signs = [sign for sign in SEPARATORS if sign != " " and sign in row]
    cells = row.split()
    aligned = len(cells) > 3 and all(map(DATA.fullmatch, cells))
    if not aligned and not (signs and all(map(DATA.fullmatch, _split(row)[:1]))):
        return None
    found = None
    for place in reversed(range(height)):
        header = lines[place][len(mark) :]
        alike = any(header.count(sign) == row.count(sign) for sign in signs)
        if alike or (aligned and len(header.split()) == len(cells)):
            found = place
        elif header.strip():
            break
    return found


def _split(line: str) -> list[str]:
    return [cell.strip(' "') for cell in re.split(r"[,;\t|]", line)]


def without_comments(text: str, comment: str) -> str:
    """The text without the lines that begin like comments."""
    if not comment:
        return text
    return "\n".join(line for line in text.splitlines() if not line.startswith(comment))


def _of_width(text: str, expected: str, width: int) -> str:
    """The separator of the first line, if there are `width` columns."""
    first = text.lstrip("\n").partition("\n")[0]
    if expected and (expected in first or expected == "\t"):
        return expected  # a row may hold a text and nothing else
    order = ["\t", ";", "|", ","] if expected else ["\t", ";", ",", "|", " "]
    # A text in the last column may contain any separator.
    fitting = [sign for sign in order if width > 1 and first.count(sign) >= width - 1]
    counts = {sign: first.count(sign) for sign in order}
    best = max(order, key=lambda sign: counts[sign])
    return fitting[0] if fitting else best if counts[best] else expected or ","


def _cuts(text: str, expected: str) -> tuple[str, str]:
    """The sign that cuts the first lines alike, and the pattern of aligned columns or "".

    Among equal signs, the one that leaves more numbers and times is taken, then the expected one.
    """
    order = ["\t", ";", "|", ","] if expected else ["\t", ";", ",", "|", " "]
    header = text.lstrip("\n").split("\n", 1)[0]
    best, signs = (0.0, 0.0, False, 0), ""
    # White space cuts any text, so it is the last resort where another sign is expected.
    for sign in dict.fromkeys([expected, *order, " "] if expected else order):
        records = _records(text, Dialect(sign))
        width = _width(records)
        alike = sum(len(record) == width for record in records)
        if width < 2 or alike < 2:
            continue
        cells = [cell for record in records[1:] for cell in record]
        typed = sum(not cell or bool(DATA.fullmatch(cell)) for cell in cells) / max(len(cells), 1)
        in_header = sign in header
        share = alike / len(records)
        if expected and sign == " " and (signs or len(records[0]) < 2 or typed < HALF):
            continue
        place = order.index(sign) if sign in order else len(order)
        score = (round(share, 1) + in_header, round(typed, 2), sign == expected, -place)
        if signs == "" or score > best:
            best, signs = score, sign
    if signs and not (signs == " " and not _even(text, " ")):
        return signs, ""
    for pattern in (r"[ \t]{2,}", r"[ \t]+"):
        made = Dialect("\t", pattern)
        records = _records(text, made)
        width = _width(records)
        # R prints no name above the names of rows.
        if width > 1 and len(records[0]) in (width, width - 1) and _alike(records[1:], width):
            typed = sum(bool(DATA.fullmatch(record[-1])) for record in records[1:])
            if len(records) > 1 and typed >= 0.9 * (len(records) - 1):
                return "\t", pattern
    counts = {sign: header.count(sign) for sign in order}
    most = max(order, key=lambda sign: counts[sign])
    return (expected if expected and expected in header else "") or (
        most if counts[most] else expected or ","
    ), ""


def _alike(records: Sequence[Sequence[str]], width: int) -> bool:
    return all(len(one) == width for one in records)


def _even(text: str, sign: str) -> bool:
    """True if no two of these signs are adjacent or at an end, as they are in aligned columns."""
    return all(
        sign * 2 not in line and line == line.strip(sign) for line in text.splitlines()[:LINES]
    )


@contextmanager
def long_cells() -> Iterator[None]:
    """Let the parser of Python read cells of any length; usually it refuses those above 128 KiB."""
    longest = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(longest)


@long_cells()
def _records(text: str, dialect: Dialect) -> list[list[str]]:
    """The first records, without blank lines."""
    if dialect.aligned:
        lines = [line.strip() for line in text.splitlines()[:LINES]]
        return [re.split(dialect.aligned, line) for line in lines if line]
    reader = csv.reader(io.StringIO(text), delimiter=dialect.separator)
    records = []
    try:
        for record in reader:
            if record:
                records.append([cell.strip() for cell in record])
            if len(records) == LINES:
                break
    except csv.Error:
        pass  # the reader of the table shows the place
    return records


def _width(records: Sequence[Sequence[str]]) -> int:
    """The most frequent number of cells below the first third of the records."""
    body = records[min(len(records) // 3, MOST_ABOVE) :]
    counts = Counter(map(len, body))
    return max(counts, key=lambda width: (counts[width], width), default=0)


def _typed(records: Sequence[Sequence[str]], width: int) -> list[int]:
    """The columns of numbers and times, judged by the second half of the records."""
    body = [record for record in records[len(records) // 2 :] if len(record) <= width]
    typed = []
    for column in range(width):
        cells = [record[column] for record in body if column < len(record)]
        known = [cell for cell in cells if not NOTHING.fullmatch(cell)]
        if known and sum(bool(DATA.fullmatch(cell)) for cell in known) >= 0.8 * len(known):
            typed.append(column)
    return typed


def _names(record: Sequence[str], typed: Sequence[int]) -> bool:
    """True if a record names columns or units: no column of data holds data in it."""
    cells = [record[column] for column in typed if column < len(record)]
    known = [cell for cell in cells if not NOTHING.fullmatch(cell)]
    return bool(known) and not any(DATA.fullmatch(cell) for cell in known)


def _height(lines: Sequence[str], records: int, comment: str) -> int:
    """The number of lines above the record behind this many others, blank ones included."""
    held = (
        height
        for height, line in enumerate(lines)
        if line.strip() and not (comment and line.startswith(comment))
    )
    return next(islice(held, records, None), len(lines)) if records else 0


def _headed(
    dialect: Dialect, records: list[list[str]], settings: DataSettings
) -> tuple[Dialect, int]:
    """The dialect with the rows of the header, and the number of records above it."""
    width = _width(records)
    typed = _typed(records, width)
    if _is_row(records, typed, width):
        return replace(dialect, header_rows=0), 0
    if len(records) < 2 or not typed:
        return dialect, 0
    top, unnamed = 0, 0
    if settings.skip_rows == 0 and width > 1:
        top = _top(records, width, typed)
    first = records[top]
    if len(first) == width - 1 and len(records[top + 1]) == width and all(map(is_name, first)):
        # A separator at the end of each row makes an empty column.
        ends = any(record[-1] for record in records[top + 1 :] if len(record) == width)
        unnamed = 1 if ends else -1
        dated = first[0].lower() in DATES and MOMENT.fullmatch(records[top + 1][0])
        if ends and (dated or _are_cut(records[top + 1 :], width)):
            unnamed = 0  # the first column has its name, so a later cell was cut in two
        typed = [column - 1 for column in typed] if unnamed == 1 else typed
    if top == 0 and _is_data(first, typed, width, records):
        return replace(dialect, header_rows=0), 0
    rows = 1
    while rows < min(MOST_HEADERS, len(records) - top - 1):
        if not (_names(records[top + rows], typed) and len(typed) and not unnamed):
            break
        rows += 1
    rows = rows if top + rows < len(records) and rows < MOST_HEADERS else 1
    return replace(dialect, header_rows=rows, unnamed=unnamed), top


def _are_cut(records: Sequence[Sequence[str]], width: int) -> bool:
    """True if the last two cells of each row are one number, cut at the comma of its thousands."""
    pairs = [record[-2:] for record in records if len(record) == width]
    thousands = all(
        re.fullmatch(rf"[+-]?(?:{units.SIGN})?\d{{1,3}}", before)
        and re.fullmatch(r"\d{3}(?:\.\d+)?", behind)
        for before, behind in pairs
    )
    signs = any(
        behind[0] == "0" or not before[0].isdigit() for before, behind in pairs if thousands
    )
    return thousands and signs


def _top(records: list[list[str]], width: int, typed: list[int]) -> int:
    """The number of records above the header."""
    for place, record in enumerate(records[: MOST_ABOVE + 1]):
        few = width > 2 and sum(map(bool, record)) <= 1
        below = records[place + 1 :]
        alike = sum(len(other) == width for other in below) >= 0.9 * len(below)
        if len(record) == width and alike and not few:
            named = _names(record, typed) or (place > 0 and _names_steps(record, typed))
            return place if named else 0
    return 0


def _names_steps(record: Sequence[str], typed: Sequence[int]) -> bool:
    """True if a record names the steps of a wide table: numbers that count on, or times."""
    cells = [record[column] for column in typed if record[column]]
    if len(cells) < 3 or len(cells) == len(record):
        return False
    return _counted(cells) or all(map(MOMENT.fullmatch, cells))


def _counted(cells: Sequence[str]) -> bool:
    """True for numbers that rise or fall by equal steps."""
    if not all(marks.PLAIN.fullmatch(cell) for cell in cells):
        return False
    numbers = list(map(float, cells))
    steps = {round(after - before, 9) for before, after in pairwise(numbers)}
    return len(steps) == 1 and steps != {0.0}


def is_name(cell: str) -> bool:
    """True for a text that may name a column."""
    return bool(cell) and not DATA.fullmatch(cell)


def _is_data(
    record: list[str], typed: list[int], width: int, records: Sequence[Sequence[str]]
) -> bool:
    """True if the first record is a row of data, so no row names the columns."""
    if len(record) != width or not all(cell for cell in record):
        return False
    below = records[len(records) // 2]
    if any(MOMENT.fullmatch(record[k]) for k in typed):
        return any(
            MOMENT.fullmatch(record[k]) and k < len(below) and MOMENT.fullmatch(below[k])
            for k in typed
        )
    numbers = [cell for cell in record if cell.lower() != "nan"]
    if len(typed) < width or not all(map(marks.PLAIN.fullmatch, numbers)):
        return False
    return 2 * len(numbers) > width and not _counted(record)


def _is_row(records: Sequence[Sequence[str]], typed: Sequence[int], width: int) -> bool:
    """True if the first record is a row of texts, numbers and labels, not of names.

    Each cell is a sentence, a number in a column of data, or a label that later rows have, too. If
    there are all three, the others may be any texts, such as names of users. Without a label, the
    sentences must stand above sentences.
    """
    if len(records) < FEWEST or len(records[0]) != width:
        return False
    first, kinds, others, below_too = records[0], set(), False, True
    for column, cell in enumerate(first):
        below = {record[column] for record in records[1:] if column < len(record)}
        if cell in below and 2 * len(below) <= len(records):
            kinds.add("label")
        elif column in typed and DATA.fullmatch(cell):
            kinds.add("number")
        elif cell.count(" ") >= MIN_SPACES and len(below) > len(records) / 2:
            kinds.add("sentence")
            below_too &= 2 * sum(one.count(" ") >= MIN_SPACES for one in below) > len(below)
        else:
            others = True
    alike = "label" in kinds or below_too
    enough = len(kinds) == 3 if others else alike and len(kinds) > 1
    return enough and not _counted(first)


def _begin_and_rate(records: Sequence[Sequence[str]]) -> bool:
    """True if a start in seconds since 1970 and a rate stand above the data, as Empatica writes."""
    if len(records) < FEWEST:
        return False
    try:
        begin, rate, *rest = ([float(cell) for cell in record] for record in records)
    except ValueError:
        return False
    later = max(abs(cell) for record in rest for cell in record)
    alike = len(set(begin)) == 1 and len(set(rate)) == 1
    return alike and 1e9 < begin[0] < 4e9 and 0 < rate[0] <= 1e4 and later < 1e8


def _footer(dialect: Dialect, records: list[list[str]], tail: str, settings: DataSettings) -> int:
    """The number of lines below the table: blank rows, and lines without data."""
    width = _width(records)
    if settings.footer_rows or width < 2:
        return 0
    typed = [column for column in _typed(records, width) if column < width]
    lines = [line for line in tail.splitlines() if line.strip()]
    for count, line in enumerate(reversed(lines[-MOST_BELOW:])):
        if line.count('"') % 2:
            return 0
        cells = (_records(line, dialect) or [[""]])[0]
        short = len(cells) < width or (bool(cells[0]) and not any(cells[1:]))
        known = [cells[k] for k in typed if k < len(cells) and cells[k]]
        # A text with a separator in it may be as wide as a row, but then no column holds data.
        whole = len(typed) > 1 and len(known) == len(typed)
        is_note = (short or whole) and bool(typed) and not any(map(DATA.fullmatch, known))
        if any(cells) and not is_note:
            return count
    return 0  # nothing but such lines: not a footer


def settled(settings: DataSettings, dialect: Dialect | None) -> DataSettings:
    """The settings with the marks of numbers and made-up names, so that new data are read alike."""
    if dialect and dialect.ragged:
        return replace(settings, column_names=dialect.ragged.names)
    if dialect is None or not (dialect.decimal or dialect.thousands):
        return settings
    return replace(
        settings, decimal=dialect.decimal or settings.decimal, thousands=dialect.thousands
    )


def column_names(name: str, records: Sequence[Sequence[str]], notes: list[str]) -> list[str]:
    """The names of the columns from the rows of a header.

    A name that several columns still have gets a number.
    """
    width = max(map(len, records))
    rows = [[*map(str.strip, record), *[""] * (width - len(record))] for record in records]
    if all(len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in filter(None, rows[0])):
        rows = [[cell.strip("'") for cell in row] for row in rows]  # as PhysioNet writes them
    names = list(rows[0])
    names[0] = names[0].removeprefix("#").strip()  # a header that some programs write as a comment
    if len(rows) > 1:
        names = _merged(rows, names)
    made: list[str] = []
    before = Counter[str]()
    for place, cell in enumerate(names, start=1):
        called = cell or f"column {place}"
        made.append(f"{called} {before[called] + 1}" if before[called] and cell else called)
        before[cell] += 1
    repeated = sorted(cell for cell, count in before.items() if cell and count > 1)
    if len(set(made)) < len(made):
        raise DataError(f"{name} has two columns called {repeated[0]!r}. Rename one of them.")
    if repeated:
        renamed = [one for one, was in zip(made, names, strict=True) if was and one != was]
        listed = ", ".join(map(repr, renamed[:6]))
        notes.append(f"several columns are called {repeated[0]!r}; the further ones are {listed}")
    return made


def _merged(rows: Sequence[Sequence[str]], names: list[str]) -> list[str]:
    """Names from several rows: of the row that names all columns apart, or joined down a column.

    Only names that are empty, repeated, or above several columns are joined with the cells below.
    """
    for row in rows if "" in names else ():  # units or groups may stand above the names
        if all(row) and len(set(row)) == len(row):
            return list(row)
    carried, wide = "", []
    for cell in names:  # a merged cell stands at its first column
        carried = cell or carried
        wide.append(carried)
    below = [[row[place] for row in rows[1:] if row[place]] for place in range(len(names))]
    merged = []
    for place, cell in enumerate(names):
        above_next = names[place + 1 : place + 2] == [""] and bool(below[place + 1])
        unclear = not cell or names.count(cell) > 1 or above_next
        parts = dict.fromkeys([wide[place], *below[place]] if unclear and below[place] else [cell])
        merged.append(" ".join(filter(None, parts)))
    return merged
