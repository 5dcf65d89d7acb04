"""Operations of C exports that move entries or only change the shape."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

from gatewise.errors import ConfigError
from gatewise.exporting.cvalues import (
    FLOAT,
    Open,
    Shape,
    Size,
    Value,
    fixed,
    loops,
    widest,
)
from gatewise.exporting.cwriter import Inputs, Operation, Writer
from gatewise.runtime.graph import Node


def _reshape(_writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), new = inputs, list(node.config["newshape"])
    shape: list[Size] = [x.shape[k] if size == 0 else size for k, size in enumerate(new)]
    if -1 in shape:
        if [s for s in shape if isinstance(s, Open)] != [s for s in x.shape if isinstance(s, Open)]:
            raise ConfigError(f"C: '{node.name}' joins the open axis of the steps with another.")
        shape[shape.index(-1)] = -fixed(x.shape) // fixed(shape)
    return [Value(x.code, tuple(shape), x.kind)]


def _expand_dims(_writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), axes = inputs, node.config["axis"]
    axes = [axes] if isinstance(axes, int) else list(axes)
    rank = len(x.shape) + len(axes)
    added, rest = {axis % rank for axis in axes}, iter(x.shape)
    return [Value(x.code, tuple(1 if k in added else next(rest) for k in range(rank)), x.kind)]


def _squeeze(_writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), axis = inputs, node.config["axis"]
    gone = {one % len(x.shape) for one in ([axis] if isinstance(axis, int) else axis)}
    return [Value(x.code, tuple(s for k, s in enumerate(x.shape) if k not in gone), x.kind)]


def _moved(
    writer: Writer, node: Node, x: Value, shape: Shape, place: Callable[[list[str]], Any]
) -> list[Value]:
    """A copy of x whose entries come from other places."""
    return [writer.each(node.name, shape, lambda places: x.at(place(places)), x.kind)]


def _getitem(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), key = inputs, list(node.config["key"])
    named = sum(one is not None and one != "..." for one in key)
    if "..." not in key:
        key.append("...")
    at = key.index("...")
    key[at : at + 1] = [[None, None, None]] * (len(x.shape) - named)
    shape: list[Size] = []
    # Of each axis of x: the first place, the axis of the result that moves it, and its step.
    moves: list[tuple[str, int | None, int]] = []
    axis = 0
    for one in key:
        if one is None:
            shape.append(1)
            continue
        size = x.shape[axis]
        axis += 1
        if isinstance(one, int):
            moves.append((str(one) if one >= 0 else f"{size} - {-one}", None, 0))
            continue
        begin, step, count = _cut(node, one, size)
        moves.append((begin, len(shape), step))
        shape.append(count)

    def place(places: list[str]) -> list[str]:
        return [_sum(a, "0" if k is None else places[k], step) for a, k, step in moves]

    return _moved(writer, node, x, tuple(shape), place)


def _sum(begin: str, place: str, step: int) -> str:
    """The place `begin + place * step`, as C."""
    moved = place if step == 1 or place == "0" else f"{place} * {step}"
    return moved if begin == "0" else begin if moved == "0" else f"{begin} + {moved}"


def _cut(node: Node, bounds: Sequence[int | None], size: Size) -> tuple[str, int, Size]:
    """The first place, the step and the number of entries of a slice."""
    begin, stop, step = bounds
    if isinstance(size, int):
        places = range(size)[slice(begin, stop, step)]
        return str(places.start), places.step, len(places)
    if step in (None, 1) and (begin or 0) >= 0 and (stop is None or stop < 0):
        count = Open(size.plus + size.over * ((stop or 0) - (begin or 0)), size.over)
        return str(begin or 0), 1, count
    if step in (None, 1) and begin is not None and begin < 0 and stop is None:
        return f"{size} - {-begin}", 1, -begin
    if (begin, stop, step) == (None, None, -1):
        return f"{size} - 1", -1, size
    raise ConfigError(f"C: '{node.name}' cuts the open axis of the steps, which is not written.")


def _transpose(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), axes = inputs, node.config.get("axes")
    axes = list(reversed(range(len(x.shape)))) if axes is None else list(axes)
    shape = tuple(x.shape[axis] for axis in axes)
    return _moved(writer, node, x, shape, lambda p: [p[axes.index(k)] for k in range(len(axes))])


def _flip(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,) = inputs
    axis = node.config["axis"] % len(x.shape)
    turned = f"{x.shape[axis]} - 1 - "
    return _moved(
        writer,
        node,
        x,
        x.shape,
        lambda p: [turned + one if k == axis else one for k, one in enumerate(p)],
    )


def _pad(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), widths = inputs, node.config["pad_width"]
    padded = [k for k, pair in enumerate(widths) if any(pair)]
    shape = tuple(
        size.padded(sum(pair)) if isinstance(size, Open) else size + sum(pair)
        for size, pair in zip(x.shape, widths, strict=True)
    )

    def entry(places: list[str]) -> str:
        inside, moved = [], list(places)
        for k in padded:
            before, size = widths[k][0], x.shape[k]
            end = f"{before} + {size}" if isinstance(size, Open) else before + size
            inside.append(f"{places[k]} >= {before} && {places[k]} < {end}")
            moved[k] = f"{places[k]} - {before}"
        return f"{' && '.join(inside) or '1'} ? {x.at(moved)} : 0"

    return [writer.each(node.name, shape, entry, x.kind)]


def _repeat(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), repeats = inputs, int(node.config["repeats"])
    axis = int(node.config["axis"]) % len(x.shape)
    size = x.shape[axis]
    if isinstance(size, Open):
        raise ConfigError(f"C: '{node.name}' repeats open steps, which is not written. Use onnx.")
    shape = (*x.shape[:axis], size * repeats, *x.shape[axis + 1 :])
    return _moved(
        writer,
        node,
        x,
        shape,
        lambda p: [f"({one} / {repeats})" if k == axis else one for k, one in enumerate(p)],
    )


def _concatenate(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    axis = int(node.config.get("axis", -1)) % len(inputs[0].shape)
    kind = widest([value.kind for value in inputs])
    sizes = [value.shape[axis] for value in inputs]
    if any(isinstance(size, Open) for size in sizes):
        if len(sizes) == 1:
            return [inputs[0]]
        raise ConfigError(f"C: '{node.name}' joins open axes, which is not written. Use onnx.")
    shape = (*inputs[0].shape[:axis], sum(sizes), *inputs[0].shape[axis + 1 :])
    y = writer.buffer(node.name, shape, kind)
    for value, start in zip(inputs, accumulate([0, *sizes[:-1]]), strict=True):

        def body(places: list[str], value: Value = value, start: int = start) -> list[str]:
            return [f"{y.at(_shifted(axis, start, places))} = {value.at(places)};"]

        writer.add(loops(value.shape, body))
    return [y]


def _stack(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    rank = len(inputs[0].shape) + 1
    axis = int(node.config.get("axis", 0)) % rank
    apart = [Value(one.code, (*one.shape[:axis], 1, *one.shape[axis:]), one.kind) for one in inputs]
    joined = Node(node.name, "concatenate", node.inputs, node.outputs, {"axis": axis})
    return _concatenate(writer, joined, apart)


def _split(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    (x,), axis = inputs, int(node.config.get("axis", 0)) % len(inputs[0].shape)
    cuts, size = node.config["indices_or_sections"], x.shape[axis]
    if isinstance(size, Open):
        raise ConfigError(f"C: '{node.name}' splits open steps, which is not written. Use onnx.")
    starts = list(range(0, size, size // cuts)) if isinstance(cuts, int) else [0, *cuts]
    parts = []
    for begin, stop in zip(starts, [*starts[1:], size], strict=True):
        shape = (*x.shape[:axis], stop - begin, *x.shape[axis + 1 :])
        parts += _moved(writer, node, x, shape, partial(_shifted, axis, begin))
    return parts


def _shifted(axis: int, start: int, places: list[str]) -> list[str]:
    """The places `start` further along an axis."""
    return [_sum(str(start), one, 1) if k == axis else one for k, one in enumerate(places)]


def _take(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    x, places = inputs
    axis, rank = int(node.config["axis"]) % len(x.shape), len(places.shape)
    shape = (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])

    def place(p: list[str]) -> list[str]:
        return [*p[:axis], places.at(p[axis : axis + rank]), *p[axis + rank :]]

    return _moved(writer, node, x, shape, place)


def _take_along_axis(writer: Writer, node: Node, inputs: Inputs) -> list[Value]:
    x, indices = inputs
    axis = int(node.config["axis"]) % len(x.shape)
    shape = tuple(
        own if k != axis and own != 1 else other
        for k, (own, other) in enumerate(zip(x.shape, indices.shape, strict=True))
    )
    whole = "(int)" * (indices.kind == FLOAT)

    def place(places: list[str]) -> list[str]:
        return [
            f"{whole}{indices.at(places)}" if k == axis else one for k, one in enumerate(places)
        ]

    return _moved(writer, node, x, shape, place)


SHAPES: Mapping[str, Operation] = {
    "reshape": _reshape,
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "getitem": _getitem,
    "transpose": _transpose,
    "flip": _flip,
    "repeat": _repeat,
    "pad": _pad,
    "concatenate": _concatenate,
    "stack": _stack,
    "split": _split,
    "take": _take,
    "take_along_axis": _take_along_axis,
}
