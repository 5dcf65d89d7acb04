"""Operations of C exports that compute: entry by entry, over an axis, and products."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gatewise.errors import ConfigError
from gatewise.exporting.cvalues import (
    BOOL,
    DOUBLE,
    FLOAT,
    INT,
    Value,
    broadcast,
    loops,
    scope,
    times,
    widest,
)
from gatewise.exporting.cwriter import Inputs, Operation, Writer
from gatewise.runtime.graph import Node


def _constant(writer: Writer, node: Node, _inputs: Inputs) -> list[Value]:
    array = np.asarray(node.weights["value"])
    kind = {"f": FLOAT, "b": BOOL}.get(array.dtype.kind, INT)
    return [writer.weight(node.name, node.weights["value"], kind)]


def elementwise(
    writer: Writer, node: Node, values: Sequence[Value], code: str, kind: str
) -> list[Value]:
    """`code` of the entries {0}, {1} ... of arrays that are broadcast."""
    shape = broadcast(values)
    return [
        writer.each(
            node.name, shape, lambda places: code.format(*(v.at(places) for v in values)), kind
        )
    ]


UNARY = {
    "negative": "-{0}",
    "absolute": "fabsf({0})",
    "square": "{0} * {0}",
    "sqrt": "sqrtf({0})",
    "exp": "expf({0})",
    "log": "logf({0})",
    "log1p": "log1pf({0})",
    "sin": "sinf({0})",
    "cos": "cosf({0})",
    "arcsinh": "asinhf({0})",
}
BINARY = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "({kind}){0} / ({kind}){1}",
    "mod": "{0} % {1}",
    "power": "powf({0}, {1})",
    "maximum": "{0} > {1} ? {0} : {1}",
    "minimum": "{0} < {1} ? {0} : {1}",
}
LOGICAL = {
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "logical_and": "{0} && {1}",
    "logical_or": "{0} || {1}",
    "logical_not": "!{0}",
}


def _unary(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    whole = node.operation in ("negative", "square") and inputs[0].kind == INT
    kind = INT if whole else widest([FLOAT, inputs[0].kind])
    code = UNARY[node.operation]
    if kind == DOUBLE:
        code = code.replace("f(", "(")  # the functions of math.h without f
    return elementwise(writer, node, inputs, code, kind)


def _binary(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    least = FLOAT if node.operation in ("divide", "power") else INT
    kind = widest([*(value.kind for value in inputs), least])
    code = BINARY[node.operation].replace("{kind}", kind)
    return elementwise(writer, node, inputs, code, kind)


def _logical(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    return elementwise(writer, node, inputs, LOGICAL[node.operation], BOOL)


def _where(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    kind = widest([value.kind for value in inputs[1:]])
    return elementwise(writer, node, inputs, "{0} ? {1} : {2}", kind)


def _cast(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    kind = _kind(node.config["dtype"])
    code = "{0} != 0" if kind == BOOL else f"({kind}){{0}}"
    return elementwise(writer, node, inputs, code, kind)


def _kind(dtype: Any) -> str:
    return {"f": FLOAT, "b": BOOL}.get(np.dtype(str(dtype)).kind, INT)


def _like(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    kind = _kind(node.config["dtype"]) if node.config.get("dtype") else inputs[0].kind
    number = "1" if node.operation == "ones_like" else "0"
    return [writer.each(node.name, inputs[0].shape, lambda _: number, kind)]


def _matmul(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    a, b = inputs
    first = broadcast([Value("", one.shape[:-2] or (1,)) for one in (a, b)])
    batch = first if max(len(a.shape), len(b.shape)) > 2 else ()
    shape = (*batch, a.shape[-2], b.shape[-1])
    y = writer.buffer(node.name, shape)

    def body(p: list[str]) -> list[str]:
        left, right = a.at([*p[:-1], "k"]), b.at([*p[:-2], "k", p[-1]])
        return [
            "float a = 0.0f;",
            f"for (int k = 0; k < {a.shape[-1]}; k++) a += {left} * {right};",
            f"{y.at(p)} = a;",
        ]

    writer.add(scope(loops(shape, body)))
    return [y]


REDUCTIONS = {  # the start, and what joins it with an entry
    "sum": ("0.0f", "a + {0}"),
    "mean": ("0.0f", "a + {0}"),
    "max": ("-HUGE_VALF", "{0} > a ? {0} : a"),
    "min": ("HUGE_VALF", "{0} < a ? {0} : a"),
    "any": ("0", "a || {0}"),
    "all": ("1", "a && {0}"),
}


def _reduction(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), axis = inputs, node.config.get("axis")
    rank = len(x.shape)
    given = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
    axes = {one % rank for one in given}
    kind = BOOL if node.operation in ("any", "all") else FLOAT
    wide = tuple(1 if k in axes else size for k, size in enumerate(x.shape))
    y = writer.buffer(node.name, wide, kind)
    start, join = REDUCTIONS[node.operation]
    gone = tuple(size if k in axes else 1 for k, size in enumerate(x.shape))

    def body(places: list[str]) -> list[str]:
        def inner(own: list[str]) -> list[str]:
            entry = x.at([own[k] if k in axes else one for k, one in enumerate(places)])
            return [f"a = {join.format(entry)};"]

        count = f" / (float)({times(gone)})" if node.operation == "mean" else ""
        return [
            f"{kind} a = {start};",
            *loops(gone, inner, "r"),
            f"{y.at(places)} = a{count};",
        ]

    writer.add(scope(loops(wide, body)))
    kept = (
        wide
        if node.config.get("keepdims")
        else tuple(size for k, size in enumerate(wide) if k not in axes)
    )
    return [Value(y.code, kept, kind)]


def _cumsum(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,) = inputs
    axis = int(node.config["axis"]) % len(x.shape)
    kind = widest([x.kind, INT])
    y = writer.buffer(node.name, x.shape, kind)
    others = tuple(1 if k == axis else size for k, size in enumerate(x.shape))

    def body(places: list[str]) -> list[str]:
        at = [*places[:axis], "k", *places[axis + 1 :]]
        return [
            f"{kind} a = 0;",
            f"for (int k = 0; k < {x.shape[axis]}; k++) {{",
            f"  a += {x.at(at)};",
            f"  {y.at(at)} = a;",
            "}",
        ]

    writer.add(scope(loops(others, body)))
    return [y]


def _top_k(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    """All entries of the last axis in descending order; places are not kept."""
    (x,), count = inputs, int(node.config["k"])
    if count != x.shape[-1]:
        raise ConfigError(f"C: '{node.name}' keeps the best {count}, which is not written.")
    y = writer.buffer(node.name, x.shape)

    def body(p: list[str]) -> list[str]:
        def at(place: str) -> str:
            return y.at([*p[:-1], place])

        return [
            f"for (int k = 0; k < {count}; k++) {{",
            f"  const float a = {x.at([*p[:-1], 'k'])};",
            "  int r = k;",
            f"  for (; r > 0 && {at('(r - 1)')} < a; r--) {at('r')} = {at('(r - 1)')};",
            f"  {at('r')} = a;",
            "}",
        ]

    writer.add(loops((*x.shape[:-1], 1), body))
    return [y]


ARITHMETIC: Mapping[str, Operation] = {
    "constant": _constant,
    "matmul": _matmul,
    "where": _where,
    "cast": _cast,
    "cumsum": _cumsum,
    "top_k": _top_k,
    "ones_like": _like,
    "zeros_like": _like,
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(LOGICAL, _logical),
    **dict.fromkeys(REDUCTIONS, _reduction),
}
