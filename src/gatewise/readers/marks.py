"""The decimal and the thousands mark of numbers: found, and read."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import polars as pl

from gatewise.readers import units
from gatewise.settings import DataSettings

PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
PLAIN_CELL = rf"^{PLAIN.pattern}$"
NUMBER = re.compile(r"[+-]?\d[\d.,'’ \xa0\u202f]*\d")
EXPONENT = re.compile(r"(?<=[\d.,])[eE][+-]?\d+$")
ALIKE = {"\xa0": " ", "\u202f": " ", "’": "'"}  # other forms of a mark
GROUPS = {" ": "[ \xa0\u202f]", "'": "['’]"}  # all forms of a mark, as a pattern
POINT = " (a decimal point, but the file has decimal commas)"
# The marks that are tried where a column cannot be read: decimal, thousands.
TRIED = (("", ","), (",", "."), (",", " "), ("", " "), ("", "'"), (",", "'"), ("", "."))


def example(decimal: str, thousands: str) -> str:
    """The number 1234.5 with these marks.

    >>> example(",", ".")
    '1.234,5'
    """
    return f"1{thousands}234{decimal or '.'}5"


def changes(decimal: str, thousands: str) -> dict[str, str]:
    """The settings of these marks.

    >>> changes(",", "")
    {'decimal': ','}
    """
    given = {"decimal": decimal, "thousands": thousands}
    return {key: sign for key, sign in given.items() if sign}


def pattern(decimal: str, thousands: str) -> str:
    """The regular expression of numbers with these marks."""
    mark = re.escape(decimal or ".")
    whole = r"\d+"
    if thousands:
        group = _group(thousands)
        whole = rf"(?:\d{{1,3}}(?:{group}\d{{3}})+|\d+)"
        if thousands == ",":  # India writes 12,34,567
            whole = r"(?:\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3}|\d+)"
    if thousands == (decimal or "."):  # then there is no decimal mark
        return rf"^[+-]?{whole}$"
    return rf"^[+-]?(?:{whole}(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?$"


def _group(thousands: str) -> str:
    return GROUPS.get(thousands, re.escape(thousands))


def found(rows: Iterable[Sequence[str]], settings: DataSettings) -> tuple[str, str]:
    """The decimal and the thousands mark of the first rows; "" for plain numbers.

    A sign is the decimal mark if a number has it once and not before three digits. It is the
    thousands mark if a number has it twice, or before another mark. Otherwise both stay open.
    """
    decimals, groups = Counter[str](), Counter[str]()
    open_signs: dict[int, set[str]] = {}  # column -> signs before three digits
    whole: set[int] = set()  # columns with whole numbers without marks
    for row in rows:
        for column, text in enumerate(map(units.bare, row)):
            cell = EXPONENT.sub("", text)
            if re.fullmatch(r"[1-9]\d{1,2}", cell):
                whole.add(column)
            if NUMBER.fullmatch(cell) and not PLAIN.fullmatch(cell):
                decimal, group = _evidence(cell)
                decimals.update([decimal] if decimal else [])
                groups.update([group] if group else [])
                if not decimal and not group and len(set(re.findall(r"\D", cell))) == 1:
                    open_signs.setdefault(column, set()).add(re.findall(r"\D", cell)[0])
    if not decimals and not groups:  # 980 and 1,020 in one column: decimals would vary in length
        groups.update(sign for column in whole for sign in open_signs.get(column, ()))
    decimal = settings.decimal or next((sign for sign, _ in decimals.most_common(1)), "")
    group = settings.thousands or next((sign for sign, _ in groups.most_common(1)), "")
    if decimal == ",":
        group = group or "."
    return "" if decimal == "." else decimal, "" if group == (decimal or ".") else group


def _evidence(cell: str) -> tuple[str, str]:
    """The decimal and the thousands mark that a cell proves; "" for none."""
    signs = [ALIKE.get(sign, sign) for sign in re.findall(r"[^\d+-]", cell)]
    last, first, kinds = signs[-1], signs[0], len(set(signs))
    if kinds == 2 and last in ",." and re.match(pattern(last, first), cell):
        return last, first
    if kinds > 1:
        return "", ""
    digits = re.split(r"\D", cell)[-1]
    if len(signs) == 1 and last in ",.":
        ungrouped = len(digits) != 3 or re.match(r"[+-]?(?:0|\d{4})", cell)
        return (last, "") if ungrouped else ("", "")
    return ("", last) if re.match(pattern("\0", last), cell) else ("", "")


def plain(cells: pl.Expr, decimal: str, thousands: str) -> pl.Expr:
    """Numbers with these marks as plain numbers; other cells are kept."""
    text = cells.str.strip_chars()
    number = text.str.replace_all(_group(thousands), "") if thousands else text
    if decimal:
        number = number.str.replace(decimal, ".", literal=True)
    fits = text.str.contains(pattern(decimal, thousands))
    # A point where the file has commas would become another number without a word.
    pointed = text.str.contains(r"^[+-]?\d*\.\d*$") if decimal else pl.lit(False)
    return pl.when(fits).then(number).when(pointed).then(text + POINT).otherwise(cells)


def not_plain(rows: pl.DataFrame) -> pl.DataFrame:
    """The columns with other cells than plain numbers, in which signs and marks are looked for."""
    # Digits of other scripts are not plain.
    cell = PLAIN_CELL.replace(r"\d", "[0-9]")
    plain = rows.select(pl.all().str.contains(cell).fill_null(True).all()).row(0, named=True)
    return rows.select(name for name in rows.columns if not plain[name])


def columns(sample: pl.DataFrame, decimal: str, thousands: str) -> list[str]:
    """The columns of numbers with these marks."""
    if not (decimal or thousands):
        return []
    names = []
    for name in sample.columns:
        cells = sample[name].drop_nulls().str.strip_chars()
        known = cells.filter(cells != "")
        fits = known.str.contains(pattern(decimal, thousands))
        # A column with decimal points in a file with decimal commas is read as it is.
        pointed = known.str.contains(r"^[+-]?\d*\.\d*$") & ~fits
        own = int(pointed.sum()) * 2 >= known.len()
        if known.len() and not own and int(fits.sum()) * 2 >= known.len():
            names.append(name)
    return names


def readings(cells: pl.Series) -> list[tuple[str, str]]:
    """The marks with which every one of these cells is a number, one for each meaning."""
    meanings: dict[tuple[float, ...], tuple[str, str]] = {}
    for marks in TRIED:
        if cells.str.contains(pattern(*marks)).all():
            meant = tuple(value(cell, *marks) for cell in cells.head(100))
            meanings.setdefault(meant, marks)
    return list(meanings.values())


def value(text: str, decimal: str, thousands: str) -> float:
    """The number that a text means with these marks.

    >>> value("1.234,5", ",", ".")
    1234.5
    """
    whole = re.sub(_group(thousands), "", text) if thousands else text
    return float(whole.replace(decimal, ".") if decimal else whole)
