"""Arrays of C code: their types, sizes, entries and loops.

Arrays are flat, with the last axis as the fastest one. Only the axis of the steps may be open: its
size is computed from `n`, the number of steps of the call.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

# The types of values; BOOL is 0 or 1.
DOUBLE, FLOAT, INT, BOOL = "double", "float", "int", "signed char"
ORDER = (BOOL, INT, FLOAT, DOUBLE)  # an operation computes in the later type of two
WIDTH = 100  # columns of a line of numbers
MOST = "GW_MAX_STEPS"  # the macro that limits an open axis


@dataclass(frozen=True)
class Open:
    """The size of an axis that depends on the number of steps: (n + plus) / over, rounded down."""

    plus: int = 0
    over: int = 1

    def of(self, steps: int) -> int:
        """The size for a number of steps."""
        return (steps + self.plus) // self.over

    def __str__(self) -> str:
        """The size as C."""
        if (self.plus, self.over) == (0, 1):
            return "n"
        return f"((n + {self.plus}) / {self.over})".replace("+ -", "- ")

    def padded(self, more: int) -> "Open":
        """The size with `more` entries."""
        return Open(self.plus + self.over * more, self.over)

    def reduced(self, less: int, stride: int = 1) -> "Open":
        """The size after windows that reach `less` steps further, `stride` steps apart."""
        return Open(self.plus + self.over * (stride - 1 - less), self.over * stride)


Size: TypeAlias = int | Open
Shape: TypeAlias = tuple[Size, ...]
Body: TypeAlias = Callable[[list[str]], list[str]]


@dataclass(frozen=True)
class Value:
    """An array of the C code; the first axis is that of the batch, of size 1."""

    code: str
    shape: Shape
    kind: str = FLOAT

    def at(self, places: Sequence[str]) -> str:
        """An entry of the array; axes of size 1 are broadcast, and so are missing first ones."""
        places = list(places)[len(places) - len(self.shape) :]
        return f"{self.code}[{flat(self.shape, places)}]"


def flat(shape: Shape, places: Sequence[str]) -> str:
    """The place in the flat array, as C."""
    terms = []
    for k, place in enumerate(places):
        if shape[k] == 1 or place == "0":
            continue
        step = times(shape[k + 1 :])
        terms.append(place if step == "1" else f"{_wrapped(place)} * {step}")
    return " + ".join(terms) or "0"


def _wrapped(place: str) -> str:
    return place if re.fullmatch(r"\w+|\(.*\)", place) else f"({place})"


def times(shape: Shape) -> str:
    """The number of entries, as C."""
    known, open_ = fixed(shape), [str(size) for size in shape if isinstance(size, Open)]
    return " * ".join([*open_, str(known)] if known != 1 or not open_ else open_)


def fixed(shape: Sequence[Any]) -> int:
    """The product of the sizes that are not open."""
    return int(np.prod([size for size in shape if isinstance(size, int)], dtype=np.int64))


def capacity(shape: Shape) -> str:
    """The largest number of entries, as a constant of C."""
    return re.sub(r"\bn\b", MOST, times(shape))


def broadcast(values: Sequence[Value]) -> Shape:
    """The shape of an operation on arrays that are broadcast."""
    rank = max(len(value.shape) for value in values)
    shapes = [(1,) * (rank - len(value.shape)) + value.shape for value in values]
    return tuple(next((one for one in sizes if one != 1), 1) for sizes in zip(*shapes, strict=True))


def widest(kinds: Sequence[str]) -> str:
    """The type in which an operation on these types computes."""
    return ORDER[max(ORDER.index(kind) for kind in kinds)]


def number(value: float) -> str:
    """A number as a float of C."""
    digits = f"{np.float32(value):.9g}"
    return f"{digits}f" if re.search(r"[.e]", digits) else f"{digits}.0f"


def array_of(name: str, array: Any) -> str:
    """A constant array with its values."""
    array = np.asarray(array)
    whole = array.dtype.kind in "iub"
    kind = FLOAT if not whole else BOOL if array.dtype.itemsize == 1 else INT
    digits = [str(int(one)) if whole else number(one) for one in np.ravel(array).tolist()]
    lines, line = [f"static const {kind} {name}[{max(1, array.size)}] = {{"], " "
    for one in digits or ["0"]:
        if len(line) + len(one) + 2 > WIDTH:
            lines.append(line)
            line = " "
        line += f" {one},"
    return "\n".join([*lines, line, "};\n"])


def loops(shape: Shape, body: Body, letter: str = "i") -> list[str]:
    """Nested loops over the axes of a shape; `body` gets the place along each axis."""
    places = ["0" if size == 1 else f"{letter}{k}" for k, size in enumerate(shape)]
    lines = body(places)
    for place, size in reversed(list(zip(places, shape, strict=True))):
        if place != "0":
            lines = [
                f"for (int {place} = 0; {place} < {size}; {place}++) {{",
                *(f"  {line}" for line in lines),
                "}",
            ]
    return lines


def scope(lines: list[str]) -> list[str]:
    """Lines in a block of their own, because they declare variables."""
    return lines if lines[0].startswith("for") else ["{", *(f"  {one}" for one in lines), "}"]


def within(lines: Sequence[str]) -> list[str]:
    """Lines of a block."""
    return [f"  {line}" for line in lines]
