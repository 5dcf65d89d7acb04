"""A graph as a C99 function that answers for one sequence, with its weights and buffers."""

from collections.abc import Mapping, Sequence

from gatewise.errors import ConfigError
from gatewise.exporting.carithmetic import ARITHMETIC
from gatewise.exporting.clayers import LAYERS
from gatewise.exporting.cshapes import SHAPES
from gatewise.exporting.cvalues import BOOL, DOUBLE, FLOAT, INT, Open, Size
from gatewise.exporting.cwriter import Operation, Writer
from gatewise.exporting.program import BATCH, STEPS, Program
from gatewise.runtime.graph import Node, pruned

OPERATIONS: Mapping[str, Operation] = {**ARITHMETIC, **LAYERS, **SHAPES}


def written(program: Program, held: Sequence[str] = (), *, rounded: bool) -> Writer:
    """The nodes on which the outputs depend; inputs in `held` are buffers of the state.

    Raises:
        ConfigError: a node has no C code; the message names it.
    """
    writer = Writer(rounded=rounded)
    for port in program.inputs:
        if port.shape[0] != BATCH:
            raise ConfigError(
                f"C: the rows of the input '{port.name}' are not sequences, which is not "
                "written. Choose --to onnx."
            )
        sizes = tuple(1 if k == 0 else _size(one) for k, one in enumerate(port.shape))
        kind = {"float32": FLOAT, "float64": DOUBLE, "bool": BOOL}.get(port.dtype, INT)
        if port.name in held:
            writer.values[port.name] = writer.buffer(f"held_{port.name}", sizes, kind)
        else:
            writer.values[port.name] = writer.argument(port.name, sizes, kind)
    for node in pruned(program.graph).nodes:
        if node.operation != "input":
            _write(writer, node)
    return writer


def _write(writer: Writer, node: Node) -> None:
    if node.operation not in OPERATIONS:
        raise ConfigError(
            f"C: the operation '{node.operation}' of '{node.name}' is not written. Choose --to "
            "onnx."
        )
    inputs = [writer.values[name] if name else None for name in node.inputs]
    made = OPERATIONS[node.operation](writer, node, inputs)
    writer.values.update(zip(node.outputs, made, strict=False))


def _size(size: int | str) -> Size:
    if isinstance(size, str) and size != STEPS:
        raise ConfigError(f"C: an input has the open axis {size}. Only that of the steps may be.")
    return Open() if isinstance(size, str) else size
