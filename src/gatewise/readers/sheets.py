"""Read Excel workbooks: a sheet becomes separated text, whose dialect is found like a file's."""

import functools
import html
import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from gatewise.errors import DataError
from gatewise.extras import require
from gatewise.readers import archives
from gatewise.readers.archives import MARK
from gatewise.readers.delimited import delimited
from gatewise.readers.files import File, reading
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

BOOK, LINKS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
COVER = 0.1  # of the cells of the largest sheet; smaller ones before it are a cover
AREA = re.compile(r"([A-Z]{1,3})([1-9]\d{0,6}):[A-Z]+(\d{1,7})")
ATTRIBUTE = re.compile(r"([\w:]+)=[\"']([^\"']*)[\"']")


def xlsx(file: File, settings: DataSettings) -> Table:
    """The table of the first sheet that is not a mere cover, or of `book.xlsx#SHEET`.

    Raises:
        ConfigError: the package fastexcel is not installed.
        DataError: the file is not a workbook, or has no such sheet or no rows.
    """
    package = require("fastexcel", "excel", "Reading Excel files")
    before, mark, wanted = str(file.path).partition(f".xlsx{MARK}")
    name = f"{before}.xlsx" if mark else str(file.path)
    with reading(name):
        content = file.content if file.content is not None else Path(name).read_bytes()
    archives.refuse_bomb(content, name)
    try:
        book = package.read_excel(content)
        if mark and wanted not in book.sheet_names:
            raise DataError(
                f"{name} has no sheet {wanted!r}. Its sheets are {', '.join(book.sheet_names)}."
            )
        names = [wanted] if mark else book.sheet_names
        sheets = {one: _cells(book, one) for one in names}
    except package.FastExcelError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{name} cannot be read as an Excel workbook: {reason}.") from None
    filled = {one: cells for one, cells in sheets.items() if cells.height}
    if not filled:
        raise DataError(f"{name} holds no rows.")
    sizes = {one: cells.height * cells.width for one, cells in filled.items()}
    first = next(one for one, size in sizes.items() if size >= COVER * max(sizes.values()))
    cells, merged = _repeated(filled[first], _merged(content, first, name))
    text = io.BytesIO()
    cells.write_csv(text, include_header=False)
    table = delimited(File(Path(name), text.getvalue()), ",", settings)
    if merged:
        note = "each row of a merged cell is read with its content"
        table = replace(table, notes=(note, *table.notes))
    if table.dialect is not None and _since_1904(content, name):
        table = replace(table, dialect=replace(table.dialect, since_1904=True))
    others = [one for one in filled if one != first]
    if not others:
        return table
    listed = ", ".join(map(repr, others[:8])) + (" ..." if len(others) > 8 else "")
    note = f"the sheet {first!r} is read, not {listed}; name another as in {name}{MARK}{others[0]}"
    return replace(table, notes=(note, *table.notes))


def _since_1904(content: bytes, name: str) -> bool:
    """True if the workbook counts days from 1904-01-01, which Excel for Macintosh wrote."""
    with archives.unpacking(name), zipfile.ZipFile(io.BytesIO(content)) as archive:
        book = archive.read(BOOK) if BOOK in archive.namelist() else b""
    return re.search(rb"date1904=[\"'](?:1|true)", book) is not None


def _merged(content: bytes, sheet: str, name: str) -> list[tuple[int, int, int]]:
    """The columns, first rows and last rows of merged cells, counted from the first filled cell."""
    with archives.unpacking(name), zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()

        def text_of(name: str) -> str:
            return archive.read(name).decode("utf-8", "replace") if name in names else ""

        numbers = {one.get("name"): one.get("r:id") for one in _elements(text_of(BOOK), "sheet")}
        targets = {
            one.get("Id"): one.get("Target", "")
            for one in _elements(text_of(LINKS), "Relationship")
        }
        target = targets.get(numbers.get(sheet), "")
        text = text_of(target[1:] if target.startswith("/") else f"xl/{target}")
    areas = [AREA.fullmatch(one.get("ref", "")) for one in _elements(text, "mergeCell")]
    high = [area for area in areas if area and area[2] != area[3]]
    filled = re.findall(r'<c r="([A-Z]+)(\d+)"[^>/]*>', text) if high else []
    left = min((_number(letters) for letters, _ in filled), default=1)
    top = min((int(row) for _, row in filled), default=1)
    return [(_number(one[1]) - left, int(one[2]) - top, int(one[3]) - top) for one in high]


def _elements(text: str, tag: str) -> list[dict[str, str]]:
    """The attributes of each element of this name."""
    found = re.findall(rf"<(?:\w+:)?{tag}\s([^>]*)>", text)
    return [{key: html.unescape(value) for key, value in ATTRIBUTE.findall(one)} for one in found]


def _number(letters: str) -> int:
    """The number of a column, from 1: A, B ... Z, AA ..."""
    return functools.reduce(lambda number, sign: 26 * number + ord(sign) - 64, letters, 0)


def _repeated(
    cells: pl.DataFrame, areas: Sequence[tuple[int, int, int]]
) -> tuple[pl.DataFrame, int]:
    """The sheet with the content of merged cells in each of their rows, and the number of these."""
    count = 0
    for column, first, last in areas:
        if not (0 <= column < cells.width and 0 <= first < last < cells.height):
            continue
        texts = cells[cells.columns[column]]
        if texts[first] is None or texts[first + 1 : last + 1].null_count() < last - first:
            continue
        rows = pl.int_range(cells.height, eager=True).is_between(first, last)
        cells = cells.with_columns(texts.set(rows, texts[first]))
        count += 1
    return cells, count


def _cells(book: Any, sheet: str) -> pl.DataFrame:
    """All cells of a sheet as texts; dates become ISO."""
    frame: pl.DataFrame = book.load_sheet(sheet, header_row=None, dtypes="string").to_polars()
    return frame
