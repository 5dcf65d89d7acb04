"""Numbers with a sign of percent or of a currency: found, and read without the sign."""

import re
from collections.abc import Sequence

import polars as pl

CODES = "EUR|USD|GBP|CHF|JPY|CNY|SEK|NOK|DKK|PLN|CZK|HUF|CAD|AUD|NZD|INR|BRL|MXN|ZAR"
SIGN = rf"(?:US\$|R\$|[%‰$€£¥₹]|{CODES})"
MINUS = r"[+\-−]?"
DIGITS = r"[\d.,][\d.,'’ \xa0\u202f]*(?:[eE][+-]?\d+)?"
# Groups: bracket, sign before, minus, digits, sign behind.
CELL = rf"^(\()?({MINUS})\s*({SIGN})?\s*({MINUS})({DIGITS}?)\s*({SIGN})?\)?$"
PATTERN = re.compile(CELL)
ZERO = rf"^\s*(?:{SIGN}\s*[-–—]|[-–—]\s*{SIGN})\s*$"  # how accountants write nothing: $ -

SIGNED = "()"  # the signs of numbers besides -5: accountants write (5), SAP 5-, loggers + 5
NEGATED = r"^\s*(?:\(\s*[\d.,]+\s*\)|−\s*[\d.,]+|-\s+[\d.,]*\d|[\d.,]*\d-)\s*$"
SPACED = r"^\s*\+\s+([\d.,]*\d)\s*$"
# One letter needs a space, because 12B may be a code.
UNIT = (
    r"^\s*([+\-−]?[\d.,]*\d)"
    r"(\s+\p{L}[^\s\d]*|\p{L}[^\s\d]+|\s*[°µ]\s?\p{L}[^\s\d]*)\s*$"
)
# What a spreadsheet writes around a cell that must stay text: '5 and ="5".
LACKING = "(without the sign"  # behind a number that others of its column have signs beside
TEXT_MARK = "'"
MARKED_TEXT = r"^\s*(?:'([+\-−.]?\d[\d\s.,:/+\-−TZ]*)|=\"(.*)\")\s*$"
FOOTNOTE = "*"
# A sign behind a number, or one of the flags of statistical offices: 5.1 p (provisional).
MARK = r"(?:\s*(?:[*†‡§]+|\[\w{1,3}\]|\([a-z]{1,2}\))| [bcefinpru]{1,2})"
NOTED = rf"^\s*([+\-−]?\d(?:[\d.,'’ ]*\d)?){MARK}\s*$"
NONE = r"^\s*:(?: ?[a-z]{1,2})?\s*$"  # an empty cell, as statistical offices write it
NUMBER = r"^\s*[+\-−]?\d(?:[\d.,'’ ]*\d)?\s*$"
ZEROS = "٠۰०০０"  # of other digits than 0-9; the others follow each in Unicode
OTHER = {chr(ord(zero) + k): str(k) for zero in ZEROS for k in range(10)}
OTHER |= {"٫": ".", "٬": "", "．": "."}
OTHER_CELL = rf"^[\d\s.,:/+\-−{''.join(OTHER)}]+$"  # a number, or a time in digits
SUFFIXES = "KMB"  # thousands, millions and billions
SUFFIXED = r"^\s*([+\-−]?\d+[.,]\d+) ?([KMB])\s*$"  # 12B without a decimal mark may be a code
POWERS = {"K": "3", "M": "6", "B": "9"}
# What stands around the number of a cell, except signs of money and the like.
AROUND = [re.compile(one) for one in (SPACED, MARKED_TEXT, NOTED)]
NEGATIVE_CELL = re.compile(NEGATED)
UNIT_CELL = re.compile(UNIT.replace(r"\p{L}", r"[^\W\d_]"))


def bare(cell: str) -> str:
    """A cell without its sign; other cells are returned unchanged.

    >>> bare("$1,234.50"), bare("1.234,50 EUR"), bare("(€ 5)"), bare("12 %"), bare("A5")
    ('1,234.50', '1.234,50', '-5', '12', 'A5')
    >>> bare("(1.234,50)"), bare("1.234,50-"), bare("1,5 kWh"), bare("21 °C"), bare("2 rooms")
    ('-1.234,50', '-1.234,50', '1,5', '21', '2')
    """
    if NEGATIVE_CELL.match(cell):
        return "-" + cell.strip("()−- ")
    if around := next(filter(None, (one.match(cell) for one in AROUND)), None):
        return around[around.lastindex or 0]
    if unit := UNIT_CELL.match(cell):
        return unit[1].replace("−", "-")
    found = PATTERN.match(cell.strip())
    if not found or not (found[3] or found[6]):
        return cell
    minus = "-" if found[1] else (found[2] or found[4]).replace("−", "-")
    return minus + found[5].strip()


def columns(sample: pl.DataFrame, *, ascii: bool = True) -> dict[str, str]:
    """The columns of numbers in which most cells have a sign, and all signs are the same.

    `ascii` tells that there are no other digits than 0-9, which count as a sign.
    """
    found = {}
    for name in () if ascii else sample.columns:
        cells = sample[name].drop_nulls()
        fits = cells.str.contains(f"[{''.join(OTHER)}]") & cells.str.contains(OTHER_CELL)
        if int(fits.sum()) * 2 > len(cells):
            found[name] = ZEROS
    whole = {SUFFIXES: SUFFIXED, TEXT_MARK: MARKED_TEXT}
    for sign, pattern in (whole | {SIGNED: rf"{NEGATED}|{SPACED}"}).items():
        here = sample.select(pl.all().str.contains(pattern).any()).row(0, named=True)
        read = pattern if sign in whole else rf"{pattern}|^\s*[+\-]?[\d.,]+\s*$"
        for name in filter(here.get, sample.columns):
            cells = sample[name].drop_nulls()
            if int(cells.str.contains(read).sum()) * 2 > len(cells):
                found[name] = sign
    here = sample.select(pl.all().str.contains(UNIT).any()).row(0, named=True)
    for name in filter(here.get, sample.columns):
        cells = sample[name].drop_nulls()
        signs = cells.str.extract(UNIT, 2).drop_nulls().str.strip_chars()
        signs = signs.filter(~signs.str.contains(r"(?i)^[ap]\.?m"))  # times of day
        if len(signs) * 2 > len(cells) and signs.n_unique() == 1 and cells.n_unique() > 2:
            found[name] = f" {signs[0]}"
    # Few tables have a sign, and one query finds that.
    signed = sample.select(pl.all().str.contains(SIGN).any()).row(0, named=True)
    for name in filter(signed.get, sample.columns):
        cells = sample[name].drop_nulls().str.strip_chars()
        parts = cells.str.extract_groups(CELL).struct
        signs = parts.field("3").fill_null(parts.field("6")).drop_nulls()
        if len(signs) * 2 > len(cells) and signs.n_unique() == 1:
            found[name] = str(signs[0])
    return found


def footnoted(rows: pl.DataFrame, codes: Sequence[str]) -> dict[str, str]:
    """The columns of numbers in which some cells have a footnote mark behind them.

    If most have one, there are several marks; otherwise it is a unit.

    Colons stand for empty cells. The columns `codes` may hold 9* beside 9 as two codes.
    """
    here = rows.select(pl.all().str.contains(f"{NOTED}|{NONE}").any()).row(0, named=True)
    found = {}
    for name in filter(here.get, [name for name in rows.columns if name not in codes]):
        cells = rows[name].drop_nulls()
        cells = cells.filter(~cells.str.contains(NONE))
        noted, numbers = (int(cells.str.contains(one).sum()) for one in (NOTED, NUMBER))
        several = cells.filter(cells.str.contains(NOTED)).str.extract(r"(\D+)$").n_unique() > 1
        if (noted < numbers or several) and (noted + numbers) * 2 > len(cells):
            found[name] = FOOTNOTE
    return found


def plain(cells: pl.Expr, sign: str) -> pl.Expr:
    """Numbers without this sign; a number that lacks the sign becomes a text that says so."""
    if sign == ZEROS:
        number = cells.str.replace_many(OTHER)
        return pl.when(cells.str.contains(OTHER_CELL)).then(number).otherwise(cells)
    if sign == FOOTNOTE:
        return cells.str.replace(NOTED, "${1}").str.replace(NONE, "")
    if sign == TEXT_MARK:
        return cells.str.replace(MARKED_TEXT, "${1}${2}")
    if sign == SIGNED:
        text = cells.str.strip_chars()
        number = pl.lit("-") + text.str.strip_chars("()−- ")
        return (
            pl.when(text.str.contains(NEGATED))
            .then(number)
            .otherwise(cells.str.replace(SPACED, "${1}"))
        )
    if sign.startswith(" "):
        number = cells.str.extract(UNIT, 1).str.replace("−", "-", literal=True)
        unit = cells.str.extract(UNIT, 2).str.strip_chars()
        return pl.when(unit == sign[1:]).then(number).otherwise(cells)
    if sign == SUFFIXES:
        parts = cells.str.extract_groups(SUFFIXED).struct
        power = parts.field("2").replace_strict(POWERS, default=None)
        return (parts.field("1") + "e" + power).fill_null(cells)
    parts = cells.str.strip_chars().str.extract_groups(CELL).struct
    here = parts.field("3").fill_null(parts.field("6"))
    minus = parts.field("2").fill_null("") + parts.field("4").fill_null("")
    minus = pl.when(parts.field("1").is_not_null()).then(pl.lit("-")).otherwise(minus)
    number = minus.str.replace("−", "-", literal=True) + parts.field("5").str.strip_chars()
    # 0.12 among percents may be a fraction, and 5 among dollars another currency.
    lacking = here.is_null() & parts.field("5").is_not_null() & (parts.field("5") != "")
    remark = pl.format(f"{{}} {LACKING} {{}})", cells, pl.lit(sign))
    zero = cells.str.contains(ZERO) & cells.str.contains(sign, literal=True)
    read = pl.when(here == sign).then(number).when(zero).then(pl.lit("0"))
    return read.when(lacking).then(remark).otherwise(cells)


def note(column: str, sign: str) -> str:
    """The note about a column whose signs are left out."""
    if sign == ZEROS:
        return f"the column {column!r} holds other digits than 0-9, which are read as these"
    if sign == FOOTNOTE:
        return f"the column {column!r} holds numbers with a mark (5*, 5 p) or a colon, left out"
    if sign == TEXT_MARK:
        forms = '\'5 and ="5" are read as 5'
        return f"the column {column!r} holds cells that a spreadsheet marks as text: {forms}"
    if sign == SIGNED:
        forms = "(5), 5-, - 5 and −5 are read as -5, + 5 as 5"
        return f"the column {column!r} holds signed numbers: {forms}"
    if sign.startswith(" "):
        return f"the column {column!r} holds numbers with the unit{sign}, which is left out"
    if sign == SUFFIXES:
        return f"the column {column!r} holds numbers with K, M or B: 1.5K is read as 1500"
    shown = f"5 {sign}" if sign in "%‰" or sign.isalpha() else f"{sign}5"
    zero = "" if sign in "%‰" else f", and {sign} - as 0"
    return f"the column {column!r} holds numbers with the sign {sign}: {shown} is read as 5{zero}"
