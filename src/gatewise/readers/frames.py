"""Read tables in memory: pandas, Polars, Arrow or another library that Narwhals supports."""

import re
from collections.abc import Mapping
from typing import Any

import narwhals as nw
import polars as pl

from gatewise.errors import DataError
from gatewise.readers.files import reading
from gatewise.readers.roles import SERIES
from gatewise.readers.tables import Table, of_frame


def from_native(source: Any) -> Table:
    """Wrap a table in memory: pandas, Polars, Arrow or another library that Narwhals supports.

    Raises:
        DataError: the source is not a table, or holds no rows.
    """
    with reading("the data frame"):
        return of_frame(as_polars(source), "the data frame")


def as_polars(source: Any) -> pl.DataFrame:
    """A table or a series in memory as a frame of Polars; an index of pandas becomes a column.

    Raises:
        DataError: the source is not a table.
    """
    try:
        if nw.dependencies.is_pandas_dataframe(source) and _has_index(source):
            source = source.reset_index()  # the index often holds the times
        if nw.dependencies.is_pandas_series(source):
            source = _dense(source)
        if nw.dependencies.is_pandas_series(source) and _has_times(source):
            source = source.rename(source.name or "value").reset_index()
        frame = nw.from_native(_with_plain_columns(source), allow_series=True)
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
    return _to_polars(frame)


def joined(source: list[Any] | Mapping[Any, Any]) -> pl.DataFrame | None:
    """The tables of a list or a mapping as one, with the name of its table beside each row.

    They are tables with more than numbers, or series of pandas with times. None for other data.

    Raises:
        DataError: a table has other columns than the first one, or other kinds of values in them.
    """
    if not (tables := _several(source)):
        return None
    made = {name: as_polars(table) for name, table in tables.items()}
    first = next(iter(made))
    for name, table in made.items():
        if table.columns != made[first].columns:
            raise _unlike(f"table {name}", table.columns, f"table {first}", made[first].columns)
    if SERIES not in made[first].columns:
        made = {name: one.with_columns(pl.lit(name).alias(SERIES)) for name, one in made.items()}
    for column in made[first].columns:
        kinds = {_kind(table.schema[column]): name for name, table in made.items()}
        kinds.pop("Null", None)
        if len(kinds) > 1:
            listed = ", ".join(f"{kind} in table {name}" for kind, name in kinds.items())
            raise DataError(
                f"The list of tables: the column {column!r} holds {listed}. Convert it in all "
                "tables alike."
            )
    return pl.concat(made.values(), how="vertical_relaxed")


def _kind(dtype: pl.DataType) -> str:
    """The kind of values for messages; all numbers are one kind."""
    return "numbers" if dtype.is_numeric() or dtype == pl.Boolean else str(dtype.base_type())


def _several(source: list[Any] | Mapping[Any, Any]) -> dict[str, Any]:
    """The tables that `joined` joins, by their names; {} for other data."""
    named = source if isinstance(source, Mapping) else dict(enumerate(source))
    some = {str(name): one for name, one in named.items()}
    if not some:
        return {}
    if all(nw.dependencies.is_into_dataframe(one) for one in some.values()):
        numbers = isinstance(source, list) and not any(map(_holds_more, some.values()))
        return {} if numbers else some
    series = all(nw.dependencies.is_pandas_series(one) for one in some.values())
    columns = isinstance(source, Mapping) and share_times(source)
    if not series or columns or not all(map(_is_timed, some.values())):
        return {}
    names = {one.name for one in some.values()}
    name = names.pop() if len(names) == 1 else None
    return {key: one.rename(name or "value") for key, one in some.items()}


def _is_timed(source: Any) -> bool:
    """True for a series or a frame of pandas with an index of times."""
    known = nw.dependencies.is_pandas_series(source) or nw.dependencies.is_pandas_dataframe(source)
    kind = str(source.index.dtype) if known else ""
    return kind.startswith(("datetime64", "period"))


def share_times(source: Mapping[Any, Any]) -> bool:
    """True for series of pandas that all have the same index of times, so that they are columns."""
    series = list(source.values())
    if not series or not all(map(_is_timed, series)):
        return False
    return all(one.ndim == 1 and one.index.equals(series[0].index) for one in series)


def _holds_more(table: Any) -> bool:
    """True for a table with other columns than numbers, or an index of times."""
    kinds = nw.from_native(table).collect_schema().values()
    return _is_timed(table) or not all(kind.is_numeric() or kind == nw.Boolean for kind in kinds)


def _unlike(name: Any, columns: Any, first: Any, expected: Any) -> DataError:
    return DataError(
        f"The list of tables: {name} has the columns {', '.join(map(repr, columns))}, but {first} "
        f"has {', '.join(map(repr, expected))}. Give all tables the same columns, in the same "
        "order."
    )


def refuse_unlike(tables: list[Any]) -> None:
    """Refuse a list of tables that are not sequences with the same columns of numbers.

    Raises:
        DataError: a column does not hold numbers, or two tables have other columns.
    """
    for place, table in enumerate(tables):
        if list(table.columns) != list(tables[0].columns):
            raise _unlike(f"table {place}", table.columns, "table 0", tables[0].columns)
        schema = nw.from_native(table, eager_only=True).schema
        for name, kind in schema.items():
            if not (kind.is_numeric() or kind == nw.Boolean):
                raise DataError(
                    f"The list of tables: the column {name!r} of table {place} does not hold "
                    "numbers. Leave it out, or join the tables to one that has a column with the "
                    "name of the sequence."
                )


def _to_polars(frame: nw.DataFrame[Any]) -> pl.DataFrame:
    try:
        return frame.to_polars()
    except ImportError as error:
        raise DataError(f"This data frame needs another package: {error}.") from None
    except (TypeError, ValueError) as error:
        # The error of Arrow, which converts between pandas and Polars, does not name the column.
        mixed = [name for name, kind in frame.schema.items() if kind in (nw.Object, nw.String)]
        raise DataError(
            f"the data frame has a column of mixed Python objects (among {mixed}): "
            f"{str(error)[:200]}. Convert it to numbers (pandas.to_numeric) or texts (astype(str))."
        ) from None


def _with_plain_columns(source: Any) -> Any:
    """A pandas frame whose columns are of kinds that other tables have."""
    if not nw.dependencies.is_pandas_dataframe(source):
        return source
    changed = {
        name: column
        for name, kind in source.dtypes.items()
        if (column := _plain_column(source[name], kind)) is not None
    }
    if changed:
        source = source.copy(deep=False)
        for name, column in changed.items():  # names may be numbers, which are no keywords
            source[name] = column
    return source


def _plain_column(column: Any, kind: Any) -> Any:
    """Periods as times, durations as seconds, sparse columns with all cells; None: unchanged.

    Raises:
        DataError: a column holds complex numbers, which no other table has.
    """
    if kind.kind == "c":
        raise DataError(
            f"the data frame's column {column.name!r} holds complex numbers. Give the real and "
            "the imaginary part as two columns."
        )
    if str(kind).startswith("Sparse"):
        return _dense(column)
    if kind.kind == "f" and kind.itemsize > 8:  # of which Arrow has none
        return column.astype("float64")
    if str(kind).startswith("period"):
        return column.dt.to_timestamp()
    if str(kind).startswith("timedelta"):
        return column.dt.total_seconds()
    if re.search(r"UTC[+-]\d|pytz.FixedOffset", str(kind)):  # Polars knows only named zones
        return column.map(lambda at: at.isoformat(" "), na_action="ignore")
    return None


def _dense(series: Any) -> Any:
    """A series of pandas with all its cells, of which sparse ones hold few."""
    sparse = str(series.dtype).startswith("Sparse")
    return series.sparse.to_dense() if sparse else series


def _has_times(series: Any) -> bool:
    """True for an index of times, of texts, which may be times, or of several levels."""
    return series.index.dtype.kind in "OMm"


def _has_index(frame: Any) -> bool:
    return type(frame.index).__name__ != "RangeIndex"
