"""Baselines of the user's own: load a function, call it, and check its answers.

`custom.py` in the folder of each task defines the arguments and the answer of a function.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gatewise.data.sequences import Array
from gatewise.errors import ConfigError
from gatewise.usercode import failure, module_of

SHOWN = 60  # characters of an answer or of a line that a message shows


@dataclass(frozen=True)
class Custom:
    """A function of the user's own, and its name in tables and verdicts."""

    name: str
    function: Callable[..., Any]


@dataclass(frozen=True)
class Part:
    """What a baseline reads: the training part with its truth, or sequences without theirs."""

    sequences: Sequence[Any]  # arrays [steps, columns], texts, lists of tokens or arrays of samples
    ids: tuple[str, ...]
    truth: Any = None  # of the training part only
    columns: tuple[str, ...] = ()  # of arrays [steps, columns]
    classes: tuple[str, ...] = ()  # the labels or tags of the training part
    rate: int = 0  # samples per second of recordings

    def __len__(self) -> int:
        return len(self.sequences)


def customs(given: Any) -> list[Custom]:
    """The baselines that `given` names: a function, "module:function", or several of these.

    Raises:
        ConfigError: there is no such function, or two have the same name.
    """
    several = given if isinstance(given, list | tuple) else [given] * (given is not None)
    found = [_custom(one) for one in several]
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"Two baselines are called '{name}'. Rename one of the functions.")
    return found


def _custom(given: Any) -> Custom:
    function = _loaded(given) if isinstance(given, str) else given
    if not callable(function):
        raise ConfigError(
            'A baseline is a function, or its name as "module:function" or "file.py:function". '
            f"Received: {given!r}."
        )
    return Custom(str(getattr(function, "__name__", type(function).__name__)), function)


def _loaded(reference: str) -> Any:
    """The function that "module:function" or "file.py:function" names."""
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise ConfigError(
            f'--baseline must be "module:function" or "file.py:function". Received: {reference!r}.'
        )
    if place.endswith(".py") and not Path(place).is_file():
        raise ConfigError(f"--baseline {reference}: there is no file {place}.")
    try:
        module = module_of(place) if place.endswith(".py") else _from_name(place)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ConfigError(
            f"--baseline {reference} cannot be imported: {failure(error)}."
        ) from error
    function = getattr(module, name, None)
    if function is None:
        raise ConfigError(f"--baseline {reference}: {place} has no function '{name}'.")
    return function


def _from_name(name: str) -> ModuleType:
    """The module of that name, which may lie in the working folder."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def called(custom: Custom, *given: Any) -> Any:
    """What the function returns.

    Raises:
        ConfigError: it raises an error; the message names the line.
    """
    try:
        return custom.function(*given)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise ConfigError(f"The baseline '{custom.name}' failed: {failure(error)}.") from error


def refuse(custom: Custom, received: str, wanted: str) -> ConfigError:
    """The error about an answer of a wrong form."""
    return ConfigError(
        f"The baseline '{custom.name}' returned {received}. It must return {wanted}."
    )


def counted(custom: Custom, answers: Any, count: int, wanted: str) -> list[Any]:
    """The answers as a list, one for each sequence.

    Raises:
        ConfigError: they are too few or too many, or no list.
    """
    if isinstance(answers, str | bytes) or not hasattr(answers, "__len__"):
        raise refuse(custom, repr(answers)[:SHOWN], wanted)
    if len(answers) != count:
        raise refuse(custom, f"{len(answers):,} answers for {count:,} sequences", wanted)
    return list(answers)


def numbers(custom: Custom, answers: Any, wanted: str) -> Array:
    """The answers as an array of finite numbers of float64.

    Raises:
        ConfigError: they are not numbers, or some are NaN or infinite.
    """
    try:
        if answers is None or np.iscomplexobj(answers):
            raise TypeError
        values = np.asarray(answers, dtype=np.float64)
    except (TypeError, ValueError):
        raise refuse(custom, repr(answers)[:SHOWN], wanted) from None
    if not np.isfinite(values).all():
        place = np.argwhere(~np.isfinite(values))[0].tolist()
        count = int((~np.isfinite(values)).sum())
        raise refuse(custom, f"{count:,} values that are NaN or infinite, first at {place}", wanted)
    return values


def texts(custom: Custom, answers: Any, count: int) -> list[str]:
    """The answers as texts, one for each sequence.

    Raises:
        ConfigError: they are too few or too many, or some are not texts.
    """
    listed = counted(custom, answers, count, "a text for each sequence")
    for k, one in enumerate(listed):
        if not isinstance(one, str):
            raise refuse(custom, f"{one!r} for sequence {k}", "a text for each sequence")
    return [str(one) for one in listed]
