"""Read tables in memory: pandas, Polars, Arrow or another library that Narwhals supports."""

import re
from typing import Any

import narwhals as nw
import polars as pl

from gatewise.errors import DataError
from gatewise.readers.files import reading
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
    return _to_polars(frame)


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


def _with_moments(source: Any) -> Any:
    """A pandas frame whose columns are of kinds that other tables have."""
    if not nw.dependencies.is_pandas_dataframe(source):
        return source
    changed = {
        name: column
        for name, kind in source.dtypes.items()
        if (column := _plain(source[name], kind)) is not None
    }
    if changed:
        source = source.copy(deep=False)
        for name, column in changed.items():  # names may be numbers, which are no keywords
            source[name] = column
    return source


def _plain(column: Any, kind: Any) -> Any:
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
