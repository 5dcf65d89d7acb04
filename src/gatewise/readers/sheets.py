"""Read Excel workbooks: a sheet becomes separated text, whose dialect is found like a file's."""

import io
import re
import zipfile
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

BOOK = "xl/workbook.xml"


def xlsx(file: File, settings: DataSettings) -> Table:
    """The table of the first sheet that holds rows, or of `book.xlsx#SHEET`.

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
    first = next(iter(filled))
    text = io.BytesIO()
    filled[first].write_csv(text, include_header=False)
    table = delimited(File(Path(name), text.getvalue()), ",", settings)
    if table.dialect is not None and _since_1904(content):
        table = replace(table, dialect=replace(table.dialect, since_1904=True))
    others = [one for one in filled if one != first]
    if not others:
        return table
    note = f"the sheet {first!r} is read; name another as in {name}{MARK}{others[0]}"
    return replace(table, notes=(note, *table.notes))


def _since_1904(content: bytes) -> bool:
    """True if the workbook counts days from 1904-01-01, which Excel for Macintosh wrote."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        book = archive.read(BOOK) if BOOK in archive.namelist() else b""
    return re.search(rb"date1904=[\"'](?:1|true)", book) is not None


def _cells(book: Any, sheet: str) -> pl.DataFrame:
    """All cells of a sheet as texts; dates become ISO."""
    frame: pl.DataFrame = book.load_sheet(sheet, header_row=None, dtypes="string").to_polars()
    return frame
