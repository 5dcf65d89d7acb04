"""The fitted preprocessing, saved with the model.

Training, evaluation and prediction share one Preparation to turn values into network inputs.
"""

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Generic, TypeVar

import numpy as np

from gatewise.data.bounds import POSITIVE
from gatewise.data.scaling import Scale
from gatewise.data.sequences import Array, Kind, Sequences
from gatewise.errors import DataError

Own = TypeVar("Own")  # the dataclass `Fitted` of a task, in tasks/<name>/fitted.py


@dataclass(frozen=True)
class Preparation(Generic[Own]):
    """All fitted state between the values of a file and the inputs of the network."""

    task: str
    columns: tuple[str, ...]  # the expected columns of Sequences.values, in order
    used: tuple[str, ...]  # the columns that the network reads as numbers
    scale: Scale  # of `used`
    own: Own  # the part that only this task has
    kind: Kind = "numbers"  # of the steps
    step: str = ""  # time between two steps, as in `Sequences.step`; "" if unknown
    padded: bool = False  # the network masks padding
    # The categories of each text column and each static text in training.
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    handle_unknown: str = "ignore"  # how to treat categories not seen in training
    # Mean and standard deviation of each static number.
    static_scale: Mapping[str, tuple[float, Annotated[float, POSITIVE]]] = field(
        default_factory=dict
    )

    def positions(self, names: tuple[str, ...]) -> Array:
        """The indices of these columns in Sequences.values."""
        return np.array([self.columns.index(name) for name in names], dtype=np.int64)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain lists, strings and numbers."""
        return {one.name: to_plain(getattr(self, one.name)) for one in fields(self)}

    @staticmethod
    def from_json(values: Mapping[str, Any], own: type[Own]) -> "Preparation[Own]":
        """Read the output of `to_json`; `own` is the class of the task's part."""
        return Preparation(**_values(_hints(Preparation) | {"own": own}, values))


def to_plain(value: Any) -> Any:
    """The value as plain mappings, lists, strings and numbers, for JSON.

    A class with arrays or other special content converts itself in `to_json`.
    """
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value):
        return {one.name: to_plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [to_plain(one) for one in value]
    return value


PLAIN: dict[Any, tuple[type, ...]] = {
    float: (int, float),
    int: (int,),
    str: (str,),
    bool: (bool,),
}


def from_plain(kind: Any, value: Any) -> Any:
    """Convert the output of `to_plain` to the declared type `kind`.

    Raises:
        FieldError: a field of a dataclass holds something else, because a file was changed.
        TypeError: the value is of another type.
        ValueError: a number lies outside its bounds.

    >>> from_plain(dict[str, tuple[float, float]], {"size": [1.0, 2.0]})
    {'size': (1.0, 2.0)}
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        number = from_plain(inner[0], value)
        if number not in inner[1]:
            raise ValueError(f"{number} is not {inner[1]}")
        return number
    if kind in PLAIN:
        return _scalar(kind, value)
    if origin is typing.Literal and value not in inner:
        raise TypeError(f"{str(value)[:60]!r} is none of {', '.join(map(str, inner))}")
    if origin is types.UnionType:  # X | None
        return None if value is None else from_plain(inner[0], value)
    if hasattr(kind, "from_json"):
        return kind.from_json(value)
    if isinstance(kind, type) and is_dataclass(kind):
        return kind(**_values(_hints(kind), value))
    return _container(origin, inner, value)


def _scalar(kind: Any, value: Any) -> Any:
    if not isinstance(value, PLAIN[kind]) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{str(value)[:60]!r} is no {kind.__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return value


def _container(origin: Any, inner: tuple[Any, ...], value: Any) -> Any:
    if origin is tuple:
        size = len(value) if isinstance(value, list) else -1
        kinds = inner[:1] * size if Ellipsis in inner else inner
        if size != len(kinds):
            raise TypeError(f"{str(value)[:60]!r} is not a list of the right length")
        return tuple(map(from_plain, kinds, value))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise TypeError(f"{str(value)[:60]!r} is not a mapping")
        return {key: from_plain(inner[1], one) for key, one in value.items()}
    return value


class FieldError(ValueError):
    """A field of a saved dataclass holds what it cannot hold; the message names the field."""


def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _values(kinds: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    # Older folders lack later fields. The defaults are the behavior before each field existed.
    return {
        name: _field(name, kind, values[name]) for name, kind in kinds.items() if name in values
    }


def _field(name: str, kind: Any, value: Any) -> Any:
    try:
        return from_plain(kind, value)
    except FieldError as error:
        raise FieldError(f"{name}.{error}") from None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise FieldError(f"{name}: {error}") from None


def seen_categories(train: Sequences, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The categories of each text column and each static text in training."""
    seen = {}
    for name in names:
        if name in train.levels:
            column = train.columns.index(name)
            codes = np.concatenate([np.unique(steps[:, column]) for steps in train])
            levels = np.array(train.levels[name])
            seen[name] = tuple(levels[np.unique(codes[np.isfinite(codes)]).astype(int)].tolist())
        elif name in train.static and train.static[name].dtype.kind not in "fiu":
            seen[name] = tuple(np.unique(train.static[name].astype(str)).tolist())
    return seen


def one_hot(
    texts: Array, known: tuple[str, ...], handle_unknown: str, column: str, source: str
) -> Array:
    """One-hot vectors [..., known]; all zero for a text not seen in training.

    Raises:
        DataError: a text is unknown and `handle_unknown` is "error".
    """
    hot: Array = (texts[..., None] == np.array(known, dtype=str)).astype(np.float32)
    if handle_unknown == "error" and not hot.any(axis=-1).all():
        unknown = texts[~hot.any(axis=-1)].flat[0]
        raise DataError(
            f"{source}: column '{column}' holds '{unknown}', which does not occur in training "
            f"(known: {', '.join(known[:10])}). Add it to the training data, or set "
            "preparation.handle_unknown = ignore."
        )
    return hot


def level_texts(sequences: Sequences, name: str, codes: Array) -> Array:
    """The texts of the codes of a text column; "" for empty cells."""
    levels = np.array([*sequences.levels[name], ""])
    texts: Array = levels[np.where(np.isfinite(codes), codes, -1).astype(int)]
    return texts
