"""The fitted steps, kept with the model: what training learnt about the data besides the weights.

Training, evaluation and prediction turn values into network inputs through one and the same
Preparation.
"""

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from gatewise.data.scaling import Scale
from gatewise.data.sequences import Array, Kind, Sequences
from gatewise.errors import DataError

Own = TypeVar("Own")  # the dataclass of what only one task fits: `Fitted` in tasks/<name>/fitted.py


@dataclass(frozen=True)
class Preparation(Generic[Own]):
    """Everything between the values of a file and the numbers that the network sees."""

    task: str
    columns: tuple[str, ...]  # the columns of Sequences.values that it expects, in order
    used: tuple[str, ...]  # those of them that the network reads as numbers
    scale: Scale  # of `used`
    own: Own  # what only this task fits
    kind: Kind = "numbers"  # what a step of the sequences is
    step: str = ""  # the usual time between two steps, as `Sequences.step`; "" unknown
    padded: bool = False  # the network masks padding
    # The categories that training had, of each column of texts and each static text.
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    handle_unknown: str = "ignore"  # categories that training did not have
    # Mean and spread of each static number.
    static_scale: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def positions(self, names: tuple[str, ...]) -> Array:
        """Where these columns stand in Sequences.values."""
        return np.array([self.columns.index(name) for name in names], dtype=np.int64)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, texts and numbers."""
        return {one.name: to_plain(getattr(self, one.name)) for one in fields(self)}

    @staticmethod
    def from_json(given: Mapping[str, Any], own: type[Own]) -> "Preparation[Own]":
        """What `to_json` wrote; `own` is the class of the task's own part."""
        return Preparation(**_values(typing.get_type_hints(Preparation) | {"own": own}, given))


def to_plain(value: Any) -> Any:
    """The value in plain mappings, lists, texts and numbers, as JSON holds them.

    A class with arrays or content of its own has a `to_json` that says how.
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


def from_plain(kind: Any, value: Any) -> Any:
    """What `to_plain` wrote, as the type `kind` that the field is declared with.

    >>> from_plain(dict[str, tuple[float, float]], {"size": [1.0, 2.0]})
    {'size': (1.0, 2.0)}
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:  # X | None
        return None if value is None else from_plain(inner[0], value)
    if hasattr(kind, "from_json"):
        return kind.from_json(value)
    if isinstance(kind, type) and is_dataclass(kind):
        return kind(**_values(typing.get_type_hints(kind), value))
    if origin is tuple:
        return tuple(from_plain(inner[0], one) for one in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: from_plain(inner[1], one) for key, one in value.items()}
    return value


def _values(kinds: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    # A field that a later version added is missing in older folders: its default is what they did.
    return {name: from_plain(kind, given[name]) for name, kind in kinds.items() if name in given}


def seen_categories(train: Sequences, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The texts of each column of texts and each static text that occur in training."""
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
    """[..., known] with a 1 at the text; all zero where the text was not seen in training.

    Raises:
        DataError: an unseen text, when `handle_unknown` is "error".
    """
    hot: Array = (texts[..., None] == np.array(known, dtype=str)).astype(np.float32)
    if handle_unknown == "error" and not hot.any(axis=-1).all():
        stranger = texts[~hot.any(axis=-1)].flat[0]
        raise DataError(
            f"{source}: column '{column}' holds '{stranger}', which did not occur in training "
            f"(known: {', '.join(known[:10])}). Train with it, or set preparation.handle_unknown = "
            "ignore."
        )
    return hot


def level_texts(sequences: Sequences, name: str, codes: Array) -> Array:
    """The texts behind the positions of a column of texts; "" where the cell is empty."""
    levels = np.array([*sequences.levels[name], ""])
    texts: Array = levels[np.where(np.isfinite(codes), codes, -1).astype(int)]
    return texts
