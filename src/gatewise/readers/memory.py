"""Data in memory, in the forms that the readers know: NumPy arrays, lists, tables and texts.

Tensors of any framework become arrays, mappings of columns and lists of records become tables.
"""

import array
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gatewise.data.sequences import Array
from gatewise.errors import DataError

NUMBER = (int, float, np.number, Decimal, Fraction)
# What a NumPy array without numbers holds, by the kind of its type, and what to do.
KINDS = {
    "U": "texts such as {first}. Convert them first, with array.astype(float)",
    "S": "bytes such as {first}. Convert them first, with array.astype(float)",
    "c": "complex numbers. Give the real and the imaginary part as two columns",
    "M": "dates. Give a table with a column of times and columns of numbers",
    "m": "durations. Convert them to numbers, with array / np.timedelta64(1, 's')",
    "V": "records with named fields. Give a table: pandas.DataFrame(array)",
}


def plain(source: Any) -> Any:
    """The data as an array, a list, a table or what else was given; a pair (X, y) stays a pair.

    Masked cells become NaN.

    Raises:
        DataError: the data come in a form that cannot be read, although it is a usual one.
    """
    if isinstance(source, tuple):
        return tuple(None if one is None else _plain(one) for one in source)
    return _plain(source)


def _plain(source: Any) -> Any:
    if source is None or isinstance(source, str | Path):
        return source
    import narwhals as nw  # it takes 40 ms, which files do without

    if isinstance(source, np.ndarray):
        return _of_array(source)
    if isinstance(source, list):
        return _of_list(source)
    refuse_unreadable(source)
    if isinstance(source, Mapping):
        return _of_columns(source)
    if type(source).__name__ == "RecordBatch":  # of Arrow
        return pl.from_arrow(source)
    if isinstance(source, range | memoryview | array.array):
        return np.asarray(source)
    if nw.dependencies.is_pandas_dataframe(source):
        _refuse_names(source)
    if nw.dependencies.is_into_dataframe(source) or nw.dependencies.is_into_series(source):
        return source
    return as_array(source)


def _refuse_names(frame: Any) -> None:
    """Refuse names of columns that no other table can have."""
    if frame.columns.nlevels > 1:
        raise DataError(
            "the data frame has columns of several levels. Join their names first: "
            "frame.columns = ['_'.join(map(str, names)) for names in frame.columns]."
        )
    if twice := list(frame.columns[frame.columns.duplicated()].unique()):
        raise DataError(
            f"the data frame has several columns called {', '.join(map(repr, twice))}. Rename or "
            "remove them."
        )


def texts(source: Any) -> Any:
    """A series or an array [texts] as a list; everything else unchanged."""
    import narwhals as nw

    if isinstance(source, np.ndarray):
        return source.tolist() if source.dtype.kind in "UO" and source.ndim == 1 else source
    if nw.dependencies.is_into_series(source):
        series = nw.from_native(source, series_only=True)
        return series.to_list() if series.dtype in (nw.String, nw.Object) else source
    return source


def as_array(source: Any) -> Any:
    """A tensor as a NumPy array, [...] as its shape; everything else unchanged."""
    if isinstance(source, str):  # NumPy's own texts have an array, too
        return str(source)
    if isinstance(source, np.ndarray):
        return _widened(_without_mask(source))
    if hasattr(source, "detach") and hasattr(source, "cpu"):  # PyTorch
        tensor = source.detach().cpu()
        # NumPy has no bfloat16.
        short = tensor.is_floating_point() and tensor.dtype.itemsize < 4
        return (tensor.float() if short else tensor).numpy()
    if not isinstance(source, type) and hasattr(source, "__array__"):
        return _widened(np.asarray(source))
    return source


def _widened(source: Array) -> Array:
    """The short floats of JAX and TensorFlow, which NumPy takes for records, as float32."""
    short = source.dtype.kind == "V" and source.dtype.name.startswith(("bfloat", "float"))
    return source.astype(np.float32) if short else source


def refuse_unreadable(source: Any) -> None:
    """Refuse usual forms of data that are not arrays yet, with the conversion.

    Raises:
        DataError: the source is one of them.
    """
    kind = type(source).__name__
    if hasattr(source, "toarray") and hasattr(source, "nnz"):
        raise DataError(f"Sparse matrices ({kind}) are not read. Give X.toarray().")
    if hasattr(source, "as_numpy_iterator"):
        raise DataError(
            "A tf.data.Dataset is not read, because its length and batches are not known. Give its "
            "elements: list(dataset.unbatch().as_numpy_iterator())."
        )
    if hasattr(source, "nested_row_splits"):
        raise DataError(
            "A tf.RaggedTensor is not read. Give a list of arrays: [row.numpy() for row in X]."
        )
    if isinstance(source, Iterator) and not hasattr(source, "read"):
        raise DataError(
            f"Data that can be read only once ({kind}) are not read. Give a list: list(...)."
        )


def refuse_surrogates(text: str, name: str) -> None:
    """Refuse halves of characters, which no file holds.

    Raises:
        DataError: the text has one; `name` says what the text is.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{name} has half of a character, {text[error.start]!r}, which cannot be written as "
            "UTF-8. Remove it, or read the text again with its encoding."
        ) from None


def _without_mask(source: Array) -> Array:
    """An array whose masked cells are NaN, or None among texts."""
    if not isinstance(source, np.ma.MaskedArray):
        return source
    masked = np.ma.getmaskarray(source)
    if source.dtype.kind in "biuf":
        return np.where(masked, np.nan, source.data.astype(np.float64))
    if source.dtype.kind not in "USO":
        return source.filled()
    texts = source.data.astype(object)
    texts[masked] = None
    return texts if masked.any() else source.data


def _of_array(source: Array) -> Any:
    source = _widened(_without_mask(source))
    if source.dtype.kind != "O":
        return source
    items = source.ravel().tolist()
    if source.ndim == 1 and any(isinstance(one, np.ndarray | list) for one in items):
        return _of_list(items)
    return _numbers(items).reshape(source.shape) if _are_numbers(items) else source


def _of_list(source: list[Any]) -> Any:
    import narwhals as nw

    if source and all(isinstance(one, Mapping) for one in source):
        return _table(source, "a list of records")
    for one in source:
        tokens = isinstance(one, list | tuple) and all(isinstance(word, str) for word in one)
        if tokens or isinstance(one, str):
            refuse_surrogates("".join(one), "A text of the list")
    if source and all(nw.dependencies.is_into_dataframe(one) for one in source):
        from gatewise.readers import frames  # with Narwhals

        frames.refuse_unlike(source)
        return source
    return _numbers(source) if _are_numbers(source) else [as_array(one) for one in source]


def names_of(source: Any) -> tuple[str, ...]:
    """The names of the columns of a list of tables; () for everything else."""
    if not (isinstance(source, list) and source and hasattr(source[0], "columns")):
        return ()
    return tuple(map(str, source[0].columns))


def _are_numbers(items: list[Any]) -> bool:
    """True for numbers with or without None, which is an empty cell."""
    known = [one for one in items if one is not None]
    return bool(known) and all(isinstance(one, NUMBER) for one in known)


def _numbers(items: list[Any]) -> Array:
    """A list of numbers and None as an array [steps].

    Raises:
        DataError: a number is too large for a float.
    """
    if all(type(one) is int and abs(one) < 2**53 for one in items):
        return np.array(items, dtype=np.int64)
    try:
        return np.array([np.nan if one is None else float(one) for one in items])
    except OverflowError:
        raise DataError("A number of the list is too large. Divide by a power of ten.") from None


def _of_columns(source: Mapping[Any, Any]) -> Any:
    if not source:
        raise DataError("The mapping of columns is empty. Give a list of values for each column.")
    for name, column in source.items():
        if getattr(column, "ndim", 1) == 2 and hasattr(column, "columns"):
            raise DataError(
                f"The mapping: {str(name)!r} is a table, and others are not. Give either tables or "
                "columns."
            )
    from gatewise.readers import frames  # with Narwhals

    if frames.share_times(source):
        frame = next(iter(source.values())).to_frame().iloc[:, :0]
        return frame.assign(**{str(name): column for name, column in source.items()})
    return _table({str(name): _plain(column) for name, column in source.items()}, "a mapping")


def _table(source: Any, form: str) -> pl.DataFrame:
    """A table of records, or of columns by name.

    Raises:
        DataError: the columns differ in length, or one mixes numbers and texts.
    """
    try:
        return pl.DataFrame(source, infer_schema_length=None)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise DataError(
            f"The data come as {form}, but cannot be read as a table: {reason}. Give columns of "
            "equal length, each of numbers, of texts or of dates."
        ) from None


def without_numbers(found: Array, name: str) -> DataError:
    """The error for an array that does not hold numbers in rows of equal length."""
    what = KINDS.get(found.dtype.kind)
    if what is None or not found.size:
        return DataError(
            f"{name} must hold numbers in rows of equal length. Received: {found.dtype}. "
            "For sequences of unequal lengths, give a list of arrays."
        )
    first = found.flat[0]
    shown = what.format(first=repr(first.item() if hasattr(first, "item") else first)[:80])
    return DataError(f"{name} must hold numbers, but it holds {shown}.")
