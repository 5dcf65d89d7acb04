"""The writer of a C function: its lines, and the buffers, weights and functions that they use."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from gatewise.data.sequences import Array
from gatewise.exporting.cfunctions import FUNCTIONS
from gatewise.exporting.cvalues import BOOL, FLOAT, Shape, Value, loops
from gatewise.exporting.quantising import int8_weights
from gatewise.runtime.graph import Node


class Writer:
    """Collects the lines of a function, and the buffers, weights and functions that they use."""

    def __init__(self, *, rounded: bool) -> None:
        self.rounded = rounded  # int8 weights
        self.lines: list[str] = []
        self.values: dict[str, Value] = {}  # of the graph
        self.buffers: dict[str, tuple[str, Shape]] = {}  # name -> type and shape
        self.weights: dict[str, Array] = {}
        self.functions: dict[str, None] = {}  # of cfunctions, in the order of their use
        self._keys: dict[tuple[int, str], str] = {}
        self._names: set[str] = set()

    def argument(self, name: str, shape: Shape, kind: str) -> Value:
        """An array that the function is given."""
        self._names.add(plain(name))
        return Value(plain(name), shape, kind)

    def add(self, lines: Sequence[str]) -> None:
        """Add lines."""
        self.lines += lines

    def buffer(self, name: str, shape: Shape, kind: str = FLOAT) -> Value:
        """A new buffer of the state."""
        name = self._free(name)
        self.buffers[name] = (kind, shape)
        return Value(f"state->{name}", shape, kind)

    def weight(self, name: str, array: Any, kind: str = FLOAT) -> Value:
        """A constant array; the same array is written once."""
        array = np.asarray(array)
        key = (id(array), kind)
        if key not in self._keys:
            self._keys[key] = self._free(name)
            self.weights[self._keys[key]] = array
        return Value(self._keys[key], array.shape, kind)

    def use(self, name: str) -> str:
        """The name of a function of cfunctions."""
        self.functions[name] = None
        return name

    def each(
        self, name: str, shape: Shape, entry: Callable[[list[str]], str], kind: str = FLOAT
    ) -> Value:
        """A buffer whose entries are computed one by one from their place."""
        made = self.buffer(name, shape, kind)
        self.add(loops(shape, lambda places: [f"{made.at(places)} = {entry(places)};"]))
        return made

    def product(self, node: Node, name: str, *, y: str, x: str) -> str:
        """A statement that adds x times a matrix of a node to y."""
        matrix = np.asarray(node.weights[name])
        n, m = matrix.shape
        if not self.rounded:
            held = self.weight(f"{node.name}_{name}", node.weights[name])
            return f"{self.use('gw_product')}({y}, {x}, {held.code}, {n}, {m});"
        numbers, scale, _ = int8_weights(node)[name]
        w = self.weight(f"{node.name}_{name}", numbers, BOOL)
        s = self.weight(f"{node.name}_{name}_scale", scale)
        return f"{self.use('gw_product_int8')}({y}, {x}, {w.code}, {s.code}, {n}, {m});"

    def _free(self, name: str) -> str:
        word = plain(name)
        free, number = word, 1
        while free in self._names:
            number += 1
            free = f"{word}_{number}"
        self._names.add(free)
        return free


def plain(name: str) -> str:
    """A name as a C identifier."""
    word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    word = word if word[:1].isalpha() else f"v{word}"
    return f"{word}_" if word in RESERVED or re.fullmatch(r"[a-z]\d?", word) else word


RESERVED = frozenset(
    (
        *("auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else"),
        *("enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "register"),
        *("restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch"),
        *("typedef", "union", "unsigned", "void", "volatile", "while", "state", "main"),
        # Names of the generated code, beside single letters.
        *("number", "count", "most", "sum", "log_sum", "mean", "variance", "unit", "from"),
        *("exp", "log", "sin", "cos", "sqrt", "pow", "tanh", "gamma"),  # of math.h
        *FUNCTIONS,
    )
)
Inputs: TypeAlias = Sequence[Any]  # Value, or None for an optional input that is absent
Operation: TypeAlias = Callable[[Writer, Node, Inputs], list[Value]]
