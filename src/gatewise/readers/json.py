"""Read JSON: a list of objects, a list for each column, or one object per line."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import polars as pl

from gatewise.errors import DataError
from gatewise.readers.files import File, other_encoding, reading
from gatewise.readers.tables import Table, of_frame


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

    Either may stand within objects, as in {"data": [...]} or {"hourly": {"time": [...], ...}}.

    Raises:
        DataError: the file is empty or damaged, or holds something else or several tables.
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
    notes: tuple[str, ...] = ()
    if not content or not (rows or by_column):
        where, content = _inner(content, name)
        notes = (f"the table is read from {where!r}",)
    with reading(name):
        return replace(of_frame(_unnested(_of_rows(name, content)), name), notes=notes)


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
    raise DataError(f"{name} holds {len(found)} tables: {listed}. Save one as a file of its own.")


def _tables(content: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """The tables within objects, with the keys that lead to them."""
    if isinstance(content, list) and content and all(isinstance(one, dict) for one in content):
        yield where, content
    if not isinstance(content, dict):
        return
    lists = [value for value in content.values() if isinstance(value, list)]
    if lists and len(lists) == len(content) and len({*map(len, lists)}) == 1 and lists[0]:
        yield where, content
        return
    for key, value in content.items():
        yield from _tables(value, f"{where}.{key}" if where else key)


def _of_pandas(content: dict[str, Any]) -> Any:
    """The columns of what `DataFrame.to_json` wrote; other content is returned unchanged."""
    split = set(content) - {"index"} == {"columns", "data"}
    if split and isinstance(content["columns"], list):
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
