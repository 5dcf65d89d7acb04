"""Read JSON: a list of objects, a list for each column, or one object per line.

One object per line is read whatever the name ends with, because many data sets call it .json.
"""

import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gatewise.errors import DataError
from gatewise.readers import gluonts, times
from gatewise.readers.archives import MARK
from gatewise.readers.files import File, other_encoding, reading
from gatewise.readers.tables import Table, of_frame

DEEPEST = 30  # objects within each other, because Polars takes cubic time: minutes for 900
WITHIN = f".json{MARK}"  # before the keys that lead to a table
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # half of an escaped character, or a whole pair


def json_lines(source: File, encoding: str = "utf-8") -> Table:
    """Read a file with one JSON object per line.

    Raises:
        DataError: the file is empty, or a line is not a JSON object.
    """
    name = str(source.path)
    with reading(name, encoding, source), source.opened(encoding) as file:
        content = file.read()
        if not content.strip():
            raise DataError(f"{name} is empty. It needs one JSON object per line.")
        _refuse_deep(name, content)
        try:
            frame = pl.read_ndjson(io.BytesIO(content), infer_schema_length=None)
        except pl.exceptions.PolarsError:
            _show_bad_line(name, content)
            frame = _of_rows(name, _with_nan(name, content))
    return _table(frame, name)


def _table(frame: pl.DataFrame, name: str, notes: tuple[str, ...] = ()) -> Table:
    """The table of a frame; rows of series become steps, and fields of objects columns."""
    if gluonts.are_series(frame):
        frame, more = gluonts.steps(frame, name)
        notes += more
    return replace(of_frame(_unnested(name, frame), name), notes=notes)


def _with_nan(name: str, content: bytes) -> list[Any]:
    """The objects of JSON Lines that Python wrote, in which numbers may be NaN."""
    return [parsed(line, name) for line in content.splitlines() if line.strip()]


def _of_rows(name: str, content: Any) -> pl.DataFrame:
    """The frame of a list of objects, or of a list for each column.

    Raises:
        DataError: a column mixes kinds of values, or holds a number that is too large; or the
            lists differ in length.
    """
    sizes = {key: len(cells) for key, cells in content.items()} if isinstance(content, dict) else {}
    if len({*sizes.values()}) > 1:
        few, many = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
        raise DataError(
            f"{name}: the lists of {few!r} and {many!r} have {sizes[few]} and {sizes[many]} "
            "values. Give lists of the same length, one for each column."
        )
    try:
        return pl.DataFrame(_with_spans(content), infer_schema_length=None)
    except (TypeError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0][:200].rstrip(".")
        raise DataError(
            f"{name} has a column that mixes kinds of values, or a number that is too large: "
            f"{reason}."
        ) from None


def json_table(source: File, encoding: str = "utf-8") -> Table:
    """Read a JSON file with a list of objects, or with one list for each column.

    Either may stand within objects, as in {"data": [...]} or {"hourly": {"time": [...], ...}}; of
    several, `file.json#hourly` names one.

    A file with one object per line is read as that, as many data sets are published.

    Raises:
        DataError: the file is empty or damaged, or holds something else or several tables.
    """
    before, mark, wanted = str(source.path).partition(WITHIN)
    name = f"{before}.json" if mark else str(source.path)
    source = replace(source, path=Path(name))
    with reading(name, encoding), source.opened(encoding) as file:
        text = file.read()
        if not mark and _are_lines(text):
            return json_lines(source, encoding)
        content = parsed(text, name)
        _refuse_deep(name, text)
    notes: tuple[str, ...] = ()
    if mark:
        content = _named(content, wanted, name)
    if (answers := _of_prometheus(content, name)) is not None:
        content, notes = answers, (PROMETHEUS,)
    content = _of_viewer(content)
    if (points := _of_points(content)) is not None:
        content, notes = points[0], (POINTS.format(name=points[1]),)
    content = _of_spans(_of_lists(content))
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list)]
        if len(lists) == 1 and lists[0] and isinstance(lists[0][0], dict):
            content = lists[0]
        content = _of_pandas(content) if isinstance(content, dict) else content
    rows = isinstance(content, list) and all(isinstance(row, dict) for row in content)
    by_column = isinstance(content, dict) and all(isinstance(v, list) for v in content.values())
    by_column = by_column and not _are_apart(content)
    if not content or not (rows or by_column):
        where, content = _inner(content, name)
        place = repr(where) if where else f"lists of {len(next(iter(content.values())))} values"
        notes = (f"the table is read from {place}",)
    with reading(name):
        return _table(_of_rows(name, content), name, notes)


def _are_lines(text: bytes) -> bool:
    """True if the first line is a whole object, and another one follows."""
    first, _, rest = text.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")
    if not (first.startswith(b"{") and rest.lstrip().startswith(b"{")):
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _named(content: Any, wanted: str, name: str) -> Any:
    """The table within objects to which these keys lead."""
    found = dict(_tables(content))
    if wanted not in found:
        listed = ", ".join(map(repr, list(found)[:8])) or "none"
        raise DataError(f"{name} has no table {wanted!r}. Its tables: {listed}.")
    return found[wanted]


def _inner(content: Any, name: str) -> tuple[str, Any]:
    """The keys that lead to the only table within objects, and the table.

    Raises:
        DataError: there is none, or there are several.
    """
    found = list(_tables(content))
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError(
            f"{name} must hold a list of objects with the same keys, or a list for each column."
        )
    listed = ", ".join(repr(where) for where, _ in found[:8])
    one = f"{name}{MARK}{found[0][0]}"
    raise DataError(f"{name} holds {len(found)} tables: {listed}. Name one of them: {one}.")


def _tables(content: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """The tables within objects and lists, with the keys and places that lead to them."""
    if (table := _whole_table(content, within=bool(where))) is not None:
        yield where, table
    elif isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from _tables(value, f"{where}.{key}" if where else str(key))


def _whole_table(content: Any, *, within: bool) -> Any:
    """The rows or columns of what is one table as a whole; None for other content."""
    if isinstance(content, list):
        if len(content) == 1 and isinstance(content[0], dict):
            return _of_named_rows(content[0]) or _of_parallel(content[0]) or content
        texts = within and _width(content) and any(isinstance(cell, str) for cell in content[0])
        rows = _of_spans(_of_lists(content) if texts else content)  # lists of numbers may be points
        return rows if rows and all(isinstance(one, dict) for one in rows) else None
    if not isinstance(content, dict):
        return None
    lists = [value for value in content.values() if isinstance(value, list)]
    if lists and len(lists) == len(content) and len({*map(len, lists)}) == 1 and lists[0]:
        return content
    if (rows := _of_named_rows(content) or _of_parallel(content)) is not None:
        return rows
    rows = _of_pandas(content) if within else content
    return rows if rows is not content and len(rows) > 1 else None


def _are_apart(content: dict[str, Any]) -> bool:
    """True for lists of different lengths that are tables, or one of which holds spans of texts."""
    lists = [value for value in content.values() if value]
    rows = all(isinstance(row, list | dict) for value in lists for row in value)
    spans = any(_of_spans(value) is not value for value in lists)
    return (rows or spans) and len({*map(len, content.values())}) > 1


COLUMNS = ("columns", "column_names", "columnnames", "fields", "header", "headers", "names")


def _of_named_rows(content: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The rows that are lists, beside a list of the names of their columns, as Quandl writes them.

    None for other content.
    """
    for key, names in content.items():
        if key.lower() not in COLUMNS or not isinstance(names, list) or not names:
            continue
        if not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
            continue
        for rows in content.values():
            listed = rows is not names and isinstance(rows, list) and rows
            if listed and all(isinstance(row, list) and len(row) == len(names) for row in rows):
                return [dict(zip(names, row, strict=True)) for row in rows]
    return None


CLOCKS = ("time", "times", "timestamp", "timestamps", "date", "dates", "datetime", "datetimes")


def _of_parallel(content: dict[str, Any]) -> dict[str, list[Any]] | None:
    """The columns of a list of times and of all lists of its length, here and within objects.

    Yahoo writes prices so. None for other content.
    """
    clock = next((key for key in content if key.lower() in CLOCKS), None)
    if clock is None or not isinstance(content[clock], list) or len(content[clock]) < 2:
        return None
    lists = [(path, one) for path, one in _plain_lists(content) if len(one) == len(content[clock])]
    ends = Counter(path[-1] for path, _ in lists)
    named = {path[-1] if ends[path[-1]] == 1 else ".".join(path): one for path, one in lists}
    return named if len(named) > 1 and clock in named else None


def _plain_lists(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The lists of plain values within objects, with the keys that lead to them."""
    for key, value in content.items():
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, dict):
            yield from _plain_lists(value, (*path, key))
        elif isinstance(value, list) and not any(isinstance(one, list | dict) for one in value):
            yield (*path, key), value


def _of_spans(content: Any) -> Any:
    """The rows of texts and the objects beside them, as spaCy writes training data.

    Other content is unchanged.
    """
    rows = [row for row in content if row is not None] if isinstance(content, list) else []
    whole = rows and all(
        isinstance(row, list)
        and len(row) == 2
        and isinstance(row[0], str)
        and isinstance(row[1], dict)
        for row in rows
    )
    return [{"text": text, **values} for text, values in rows] if whole else content


def _with_spans(content: Any) -> Any:
    """The rows with [0, 3, "PER"] as an object, because a list of Polars has one kind of values."""
    if not isinstance(content, list):
        return content

    def changed(cell: Any) -> Any:
        spans: list[Any] = cell if isinstance(cell, list) else []
        if not all(isinstance(one, list) and [*map(type, one)] == [int, int, str] for one in spans):
            return cell
        return [dict(zip(("start", "end", "label"), one, strict=True)) for one in spans] or cell

    return [{key: changed(cell) for key, cell in row.items()} for row in content]


PROMETHEUS = "the values of each series of Prometheus are read as rows of 'time' and 'value'"


def _of_prometheus(content: Any, name: str) -> list[dict[str, Any]] | None:
    """The rows of an answer to a range query of Prometheus; None for other content.

    Raises:
        DataError: a value is not a pair of a time and a number.
    """
    data = content.get("data") if isinstance(content, dict) else None
    series = data.get("result") if isinstance(data, dict) else None
    if not isinstance(series, list) or not series:
        return None
    if not all(isinstance(one, dict) and isinstance(one.get("values"), list) for one in series):
        return None
    rows = []
    for one in series:
        named = {"metric": one["metric"]} if one.get("metric") else {}
        for pair in one["values"]:
            try:
                seconds, value = pair
                moment = datetime.fromtimestamp(float(seconds), UTC).replace(tzinfo=None)
                rows.append({**named, "time": moment, "value": float(value)})
            except (TypeError, ValueError, OverflowError, OSError):
                raise DataError(
                    f"{name}: a value of Prometheus must be a pair of seconds since 1970 and a "
                    f"number, unlike {str(pair)[:60]}."
                ) from None
    return rows


def _of_viewer(content: Any) -> Any:
    """The rows of an answer of Hugging Face's viewer of data sets; other content is unchanged."""
    rows = content.get("rows") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        return content
    whole = all(isinstance(one, dict) and isinstance(one.get("row"), dict) for one in rows)
    return [one["row"] for one in rows] if whole else content


POINTS = "the pairs of times and numbers in {name!r} are read as rows"


def _of_points(content: Any) -> tuple[list[dict[str, Any]], str] | None:
    """The rows of a list of series with pairs of a time since 1970 and a number, as of Graphite.

    The name of their column is the second value; None for other content.
    """
    if not isinstance(content, list) or not content:
        return None
    if not all(isinstance(one, dict) and one.keys() == content[0].keys() for one in content):
        return None
    for name in content[0]:
        if not all(_width(one[name]) == 2 for one in content):
            continue
        pairs = [pair for one in content for pair in one[name]]
        for place in (0, 1):
            moments = [pair[place] for pair in pairs]
            if not all(type(one) in (int, float) for one in moments):
                continue
            if times.epoch(min(moments), max(moments)):
                rows = [
                    {
                        **{key: value for key, value in one.items() if key != name},
                        "time": pair[place],
                        name: pair[1 - place],
                    }
                    for one in content
                    for pair in one[name]
                ]
                return rows, name
    return None


def _of_pandas(content: dict[str, Any]) -> Any:
    """The rows of what `DataFrame.to_json` wrote; other content is returned unchanged."""
    split = set(content) - {"index"} == {"columns", "data"}
    if split and isinstance(content["columns"], list):
        names, rows = list(map(str, content["columns"])), content["data"]
        whole = isinstance(rows, list) and all(
            isinstance(row, list) and len(row) == len(names) for row in rows
        )
        made = [dict(zip(names, row, strict=True)) for row in rows] if whole else []
        keys = content.get("index")
        return _with_keys(made, keys if isinstance(keys, list) else []) if whole else content
    inner = list(content.values())
    if not inner or not all(isinstance(one, dict) and one for one in inner):
        return content
    if any(one.keys() != inner[0].keys() for one in inner):
        return content
    lists = [isinstance(cell, list) for cell in inner[0].values()]
    if len(inner) == 1 and any(lists) and not all(lists):  # an object around the table
        return content
    if _counted(list(content)) or len(inner) > len(inner[0]):
        return _with_keys(inner, list(content))
    keys = list(inner[0])
    rows = [{column: cells[key] for column, cells in content.items()} for key in keys]
    return _with_keys(rows, keys)


KEYS = "index"  # the name of the column of the keys of rows, as pandas calls them


def _with_keys(rows: list[dict[str, Any]], keys: list[Any]) -> list[dict[str, Any]]:
    """The rows with the keys that name or date them, unless these count the rows.

    pandas writes times as milliseconds since 1970.
    """
    if len(keys) != len(rows) or _counted(keys) or any(KEYS in row for row in rows):
        return rows
    values = list(map(str, keys))
    if not all(re.fullmatch(r"-?\d{1,18}", value) for value in values):
        return [{KEYS: key, **row} for key, row in zip(keys, rows, strict=True)]
    numbers = list(map(int, values))
    dated = times.epoch(min(numbers), max(numbers)) == "epoch ms"
    name = KEYS if not dated or any("time" in row for row in rows) else "time"
    return [{name: key, **row} for key, row in zip(numbers, rows, strict=True)]


def _counted(keys: list[Any]) -> bool:
    """True for keys that count the rows."""
    return list(map(str, keys)) == [str(k) for k in range(len(keys))]


def _of_lists(content: Any) -> Any:
    """The rows of a list of lists, or of series of pairs that share their times.

    The first list names the columns if it holds nothing but texts, and the others do not. Other
    content is returned unchanged.
    """
    if isinstance(content, list) and (width := _width(content)):
        names = [f"column {place}" for place in range(1, width + 1)]
        first, *others = content
        texts = [all(isinstance(cell, str) for cell in row) for row in (first, *others[:1])]
        if texts == [True, False] and len(set(first)) == width:
            names, content = first, others
        return [dict(zip(names, row, strict=True)) for row in content]
    if isinstance(content, dict) and content and all(_width(one) == 2 for one in content.values()):
        series = list(content.values())
        moments = [[pair[0] for pair in one] for one in series]
        if all(one == moments[0] for one in moments):
            cells = {key: [pair[1] for pair in one] for key, one in content.items()}
            return {"time": moments[0], **cells}
    return content


def _width(content: Any) -> int:
    """The length of all lists of plain values in a list; 0 if it holds anything else."""
    if not isinstance(content, list) or len(content) < 2 or not isinstance(content[0], list):
        return 0
    width = len(content[0])
    alike = all(
        isinstance(row, list)
        and len(row) == width
        and not any(isinstance(cell, list | dict) for cell in row)
        for row in content
    )
    return width if alike else 0


def parsed(content: bytes, name: str) -> Any:
    """The content of a JSON text; `name` is its name in messages.

    Raises:
        DataError: it is not JSON, is nested too deeply, gives a key of an object twice, or has half
            of a character.
    """
    try:
        found = json.loads(content.decode("utf-8-sig"), object_pairs_hook=partial(_object, name))
        if SURROGATE.search(content):
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except UnicodeEncodeError:
        raise DataError(
            f"{name} has half of a character that is escaped in two parts, such as \\ud83d\\ude00. "
            "Write both parts, or the character itself."
        ) from None
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


def _refuse_deep(name: str, content: bytes) -> None:
    """Raise an error for objects within more than `DEEPEST` others."""
    signs = np.frombuffer(content.replace(rb"\\", b"").replace(rb"\"", b""), np.uint8)
    in_text = np.bitwise_xor.accumulate(signs == ord('"'))
    change = (signs == ord("{")).astype(np.int8) - (signs == ord("}"))
    if np.cumsum(np.where(in_text, 0, change)).max(initial=0) > DEEPEST:
        raise DataError(
            f"{name} is nested too deeply for a table: it has objects within more than {DEEPEST} "
            "others. Write flat objects with the columns that matter."
        )


def _unnested(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with a column for each field of an object: translation.en.

    Raises:
        DataError: another column has the name of such a field.
    """
    columns = frame.get_columns()
    while any(one.dtype == pl.Struct for one in columns):
        columns = [field for one in columns for field in _fields(one)]
    names = [one.name for one in columns]
    if twice := [one for one, count in Counter(names).items() if count > 1]:
        raise DataError(
            f"{name} has the column {twice[0]!r} and an object with a field of that name. "
            "Rename one of them."
        )
    return pl.DataFrame(columns)


def _fields(column: pl.Series) -> list[pl.Series]:
    """The fields of a column of objects; another column unchanged."""
    if column.dtype != pl.Struct:
        return [column]
    fields = column.struct.unnest().get_columns()
    return [field.rename(f"{column.name}.{field.name}") for field in fields]


def _show_bad_line(name: str, content: bytes) -> None:
    """Raise an error for the first line that is not a JSON object, if there is one."""
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            good = not line.strip() or isinstance(json.loads(line), dict)
        except ValueError:
            good = False
        if not good:
            raise DataError(
                f"{name}: line {number} is not a JSON object: {line.decode()[:60]!r}. "
                "Write one object per line, with the same keys in each."
            )
