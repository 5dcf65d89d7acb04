"""The kernels inside PyTorch: `lstm`, a function like any other to autograd and torch.compile.

Two functions call the C interface through ctypes: the forward pass and its derivative. Both take
all layers of a call at once: the arrays that are present, one after another, and the integers that
describe them (`_Row`). Compilers, tensor subclasses and modes see the custom operators
`gatewise::lstm_forward` and `gatewise::lstm_backward`. Eager code calls the functions directly
(`_Eager`), because calling an operator takes longer than a short layer.

`_plain` computes the same in plain PyTorch, for second derivatives and forward mode, which the
kernels do not have.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import torch
from keras.src.backend.torch.optimizers.torch_adam import Adam
from torch import Tensor
from torch.nn import functional

from gatewise.engine import library
from gatewise.engine.contract import (
    ACTIVATIONS,
    APART,
    DIFFERENTIABLE,
    JOINED,
    NONE,
    PRODUCTS,
    Array,
    Arrays,
    Direction,
    Few,
    check,
)
from gatewise.errors import EngineError

try:
    from keras.src.backend.torch.core import get_device
except ImportError:  # Keras 3.16
    from keras.src.backend.torch.ops.core import get_device

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "hard_sigmoid": functional.hardsigmoid,
    "softsign": functional.softsign,
    "elu": functional.elu,
    "linear": lambda x: x,
}
ALIASES = {
    "tanh": (torch.tanh, functional.tanh),
    "sigmoid": (torch.sigmoid, functional.sigmoid, torch.special.expit),
    "relu": (torch.relu, functional.relu),
    **{name: (FUNCTIONS[name],) for name in ("hard_sigmoid", "softsign", "elu")},
}
FEW = Few(steps=3, rows=16)

_DTYPES = {torch.float32: "float32", torch.float64: "float64", torch.bool: "bool"}


def why_not(x: Array | None = None, /) -> str | None:
    """See contract.py."""
    if reason := missing():
        return reason
    device = x.device.type if isinstance(x, Tensor) else torch.device(get_device()).type
    if device != "cpu":
        return f"PyTorch computes on {device}, and the kernels on the CPU."
    if torch.is_autocast_enabled("cpu"):
        return "torch.autocast chooses the precision of each operation; the kernels compute in one."
    if isinstance(x, Tensor) and x.layout is not torch.strided:
        return f"Its input is a tensor of layout {x.layout}; the kernels read dense ones."
    return None


@torch.compiler.assume_constant_result
def missing() -> str | None:
    """See contract.py."""
    reason = library.why_not()
    if reason is None:
        _let_threads_sleep()
    return reason


@cache
def _let_threads_sleep() -> None:
    """Let the OpenMP threads of PyTorch sleep soon after each operator.

    In GNU's OpenMP they poll for milliseconds, on the cores that the kernels need. With more
    threads than cores, they poll only for microseconds. Therefore a thread without work holds
    enough of them. If the user has set OMP_WAIT_POLICY or GOMP_SPINCOUNT, nothing changes.
    """
    if {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
        return
    try:
        openmp = ctypes.CDLL(str(Path(torch.__file__).with_name("lib") / "libtorch_cpu.so"))
        run, nothing = openmp.GOMP_parallel, openmp.omp_in_parallel
        cores, threads = openmp.omp_get_num_procs(), openmp.omp_get_max_threads()
    except (OSError, AttributeError):
        return  # another OpenMP, or none
    held, end = threading.Event(), threading.Event()

    def hold() -> None:
        run(nothing, None, cores - threads + 2, 0)
        held.set()
        end.wait()  # OpenMP ends its threads together with the thread that started them

    if 1 < threads <= cores:
        threading.Thread(target=hold, name="gatewise: idle OpenMP", daemon=True).start()
        held.wait()


def is_hooked(layer: Any, /) -> bool:
    """Whether `layer`, which is a module, or all modules have hooks."""
    names = ("forward_pre_hooks", "forward_hooks", "backward_pre_hooks", "backward_hooks")
    return any(
        getattr(layer, f"_{name}", None)
        or getattr(torch.nn.modules.module, f"_global_{name}", None)
        for name in names
    )


@torch.compiler.assume_constant_result
def settled(function: Callable[..., Any], *arguments: Any) -> Any:
    """See contract.py."""
    return function(*arguments)


def is_traced(x: Array) -> bool:
    """Whether `x` has only a shape, or torch.export, torch.onnx or torch.jit.trace is tracing."""
    return (
        (isinstance(x, Tensor) and x.device.type == "meta")
        or torch.compiler.is_exporting()
        or torch.jit.is_tracing()
        or torch.onnx.is_in_onnx_export()
    )


def lstm(
    layers: Sequence[Arrays],
    directions: Sequence[Direction],
    *,
    sequences: bool = True,
    joined: bool = False,
) -> tuple[tuple[Tensor, ...], list[tuple[Tensor, Tensor]]]:
    """See contract.py."""
    if reason := missing():
        raise EngineError(reason)
    check(layers, lambda one: _DTYPES.get(one.dtype, str(one.dtype)))
    outputs = (JOINED if joined else APART) if sequences else NONE
    arrays, numbers = [], []
    for one, way in zip(layers, directions, strict=True):
        arrays += [array for array in one if array is not None]
        numbers += _numbers(one, way)
    if _transformed():
        found = _plain(arrays, numbers, outputs)
    else:
        training = torch.is_grad_enabled() and any(one.requires_grad for one in arrays)
        if not _is_eager(arrays):
            found = _forward(arrays, numbers, outputs, training)
        elif training:
            found = list(_Eager.apply(numbers, outputs, *arrays))
        else:
            found = _run_forward(arrays, numbers, outputs, training)
    count = {NONE: 0, APART: len(layers), JOINED: 1}[outputs]
    states = found[count : count + 2 * len(layers)]
    return tuple(found[:count]), list(zip(states[::2], states[1::2], strict=True))


def _transformed() -> bool:
    """Whether a transform of torch.func or forward mode is active.

    Neither accepts an operator whose gradient is written in Python.
    """
    return (
        torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0
    )


def _is_eager(arrays: Sequence[Tensor]) -> bool:
    """Whether no operator is needed: there is no compiler, no mode and no tensor subclass."""
    return (
        not torch.compiler.is_compiling()
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._len_torch_function_stack() == 0
        and all(type(one) in (Tensor, torch.nn.Parameter) for one in arrays)
    )


# A call is described by a row of integers for each layer.


@dataclass(frozen=True)
class _Row:
    activation: int
    recurrent_activation: int
    go_backwards: int
    zero_output: int
    start_output: int
    flip: int
    products: int
    present: int  # a bit for each array of `Arrays` that is present


def _numbers(arrays: Arrays, way: Direction) -> list[int]:
    return [
        ACTIVATIONS.index(way.activation),
        ACTIVATIONS.index(way.recurrent_activation),
        int(way.go_backwards),
        int(way.zero_output),
        int(way.start_output),
        int(way.flip),
        PRODUCTS.index(way.products),
        sum(1 << bit for bit, one in enumerate(arrays) if one is not None),
    ]


def _rows(numbers: Sequence[int]) -> tuple[_Row, ...]:
    return _parsed(tuple(numbers))


@cache
def _parsed(numbers: tuple[int, ...]) -> tuple[_Row, ...]:
    width = len(fields(_Row))
    starts = range(0, len(numbers), width)
    return tuple(_Row(*numbers[start : start + width]) for start in starts)


def _names(row: _Row) -> list[str]:
    """The names of the arrays that a layer has, in order."""
    return [name for bit, name in enumerate(Arrays._fields) if row.present >> bit & 1]


def _layers(arrays: Sequence[Any], rows: Sequence[_Row]) -> list[Arrays]:
    """The arrays of each layer; None: absent."""
    rest = iter(arrays)
    return [
        Arrays(*[next(rest) if row.present >> bit & 1 else None for bit in range(9)])
        for row in rows
    ]


# The two passes.


def _run_forward(
    arrays: Sequence[Tensor], numbers: list[int], outputs: int, training: bool
) -> list[Tensor]:
    """Return the outputs, h and c of each layer and, with `training`, the reserve of each."""
    arrays = [one.contiguous() for one in arrays]
    found = _made(arrays, numbers, outputs, training)
    layers = _described(arrays, numbers)
    _place_outputs(layers, numbers, outputs, found)
    if training:
        found[-len(layers) :] = [_reserve(layer) for layer in layers]
    library.check(library.load().gatewise_lstm_forward(layers, len(layers)))
    return found


def _run_backward(
    arrays: Sequence[Tensor],
    reserves: Sequence[Tensor],
    given: Sequence[Tensor],
    numbers: list[int],
    outputs: int,
    gifts: int,
    wanted: list[int],
) -> list[Tensor]:
    """Return the gradients of the arrays at the positions `wanted`.

    `given` holds the gradients of those outputs and states whose bit is set in `gifts`.
    """
    arrays = [one.contiguous() for one in arrays]
    # The kernels accept any strides of batch and steps in a gradient, but not of units.
    given = [one if one.dim() == 3 and one.stride(-1) == 1 else one.contiguous() for one in given]
    found = _gradients_made(arrays, wanted)
    layers = _described(arrays, numbers)
    if not _claim(layers, reserves):
        reserves = [_reserve(layer) for layer in layers]
        library.check(library.load().gatewise_lstm_forward(layers, len(layers)))
    gradients = (library.Gradient * len(layers))()
    _place_gradients(gradients, layers, numbers, outputs, _spread(given, gifts))
    place, rest = 0, dict(zip(wanted, found, strict=True))
    for gradient, row in zip(gradients, _rows(numbers), strict=True):
        for name in _names(row):
            if place in rest:
                setattr(gradient, f"d{name}", rest[place].data_ptr())
            place += 1
    library.check(library.load().gatewise_lstm_backward(layers, gradients, len(layers)))
    return found


# The backward kernels read a reserve and destroy it. It has no meaning for other code, so it is a
# tensor without elements; its storage holds the reserve and, at the end, a flag. PyTorch may need
# the same gradient again (`retain_graph`), or pass a copy that has lost the storage. Then the
# forward kernels run again and fill another reserve.
_FRESH, _CONSUMED = 1, 2


def _reserve(layer: library.Layer) -> Tensor:
    """Allocate the reserve of one layer, and set its address in the layer."""
    kept = torch.empty(_reserve_bytes(layer) + 1, dtype=torch.uint8).resize_(0)
    layer.reserve = kept.untyped_storage().data_ptr()
    _flag(layer).value = _FRESH
    return kept


def _reserve_bytes(layer: library.Layer) -> int:
    width = 8 if layer.double_precision else 4
    return int(layer.batch) * library.reserve_size(layer.steps, layer.units) * width


def _flag(layer: library.Layer) -> ctypes.c_uint8:
    return ctypes.c_uint8.from_address(layer.reserve + _reserve_bytes(layer))


def _claim(layers: Any, reserves: Sequence[Tensor]) -> bool:
    """Set the reserve of each layer, if all are as the forward pass left them.

    Because of the interpreter's global lock, only one call can find them so.
    """
    for layer, one in zip(layers, reserves, strict=False):
        storage = one.untyped_storage()
        if storage.nbytes() <= _reserve_bytes(layer):
            return False
        layer.reserve = storage.data_ptr()
    if not reserves or any(_flag(layer).value != _FRESH for layer in layers):
        return False
    for layer in layers:
        _flag(layer).value = _CONSUMED
    return True


def _described(arrays: Sequence[Tensor], numbers: Sequence[int]) -> Any:
    """Describe the inputs of each layer to the kernels."""
    rows = _rows(numbers)
    layers = (library.Layer * len(rows))()
    for layer, row, one in zip(layers, rows, _layers(arrays, rows), strict=True):
        layer.batch, layer.steps, layer.features = one.x.shape
        layer.units = one.recurrent_kernel.shape[0]
        layer.double_precision = one.x.dtype == torch.float64
        layer.activation, layer.recurrent_activation = row.activation, row.recurrent_activation
        layer.go_backwards, layer.zero_output = row.go_backwards, row.zero_output
        layer.start_output, layer.products = row.start_output, row.products
        for name, array in zip(Arrays._fields, one, strict=True):
            if array is not None:
                setattr(layer, name, array.data_ptr())
    return layers


def _place_outputs(layers: Any, numbers: Sequence[int], outputs: int, found: list[Tensor]) -> None:
    """Set the addresses of outputs and states."""
    count = {NONE: 0, APART: len(layers), JOINED: 1}[outputs]
    states = iter(found[count:])
    for layer, place in zip(layers, _strides(layers, numbers, outputs, found[:count]), strict=True):
        layer.y, layer.y_batch_stride, layer.y_step_stride = place
        layer.h, layer.c = next(states).data_ptr(), next(states).data_ptr()


def _place_gradients(
    gradients: Any, layers: Any, numbers: Sequence[int], outputs: int, given: list[Tensor | None]
) -> None:
    """Set the addresses of the gradients of outputs and states."""
    count = {NONE: 0, APART: len(layers), JOINED: 1}[outputs]
    states = iter(given[count:])
    for one, place in zip(
        gradients, _strides(layers, numbers, outputs, given[:count]), strict=True
    ):
        one.dy, one.dy_batch_stride, one.dy_step_stride = place
        one.dh, one.dc = (None if state is None else state.data_ptr() for state in _two(states))


def _two(states: Any) -> tuple[Any, Any]:
    return next(states), next(states)


def _strides(
    layers: Any, numbers: Sequence[int], outputs: int, arrays: Sequence[Tensor | None]
) -> list[tuple[int | None, int, int]]:
    """The address of the outputs of each layer, and their strides of batch and steps."""
    places: list[tuple[int | None, int, int]] = []
    before = 0
    for n, (layer, row) in enumerate(zip(layers, _rows(numbers), strict=True)):
        array = None if outputs == NONE else arrays[0 if outputs == JOINED else n]
        if array is None:
            places.append((None, 0, 0))
        else:
            over_batch, over_steps, _ = array.stride()
            first = before if outputs == JOINED else 0
            first += (layer.steps - 1) * over_steps if row.flip else 0
            start = array.data_ptr() + first * array.element_size()
            places.append((start, over_batch, -over_steps if row.flip else over_steps))
        before += layer.units
    return places


def _spread(given: Sequence[Tensor], gifts: int) -> list[Tensor | None]:
    """The gradients of all outputs and states; None: zeros."""
    rest = iter(given)
    return [next(rest) if gifts >> bit & 1 else None for bit in range(GIFTS)]


GIFTS = 64  # bits of an integer; two directions have six outputs and states


def _made(arrays: Any, numbers: Sequence[int], outputs: int, training: bool) -> list[Tensor]:
    """Allocate the results of a forward pass, in the memory order of Keras's loop.

    Keras stacks the outputs step by step and, with both directions in one array, batch by batch. An
    unseeded `torch.nn.functional.dropout` after the layer draws its numbers in that order.
    """
    layers = _layers(arrays, _rows(numbers))
    x = layers[0].x
    batch, steps, _ = x.shape
    units = [one.recurrent_kernel.shape[0] for one in layers]
    if outputs == JOINED:
        found = [x.new_empty((batch, steps, sum(units)))]
    else:
        found = [
            x.new_empty_strided((batch, steps, size), (size, batch * size, 1))
            for size in (units if outputs == APART else [])
        ]
    found += [x.new_empty((batch, size)) for size in units for _ in "hc"]
    if training:
        found += [x.new_empty(0, dtype=torch.uint8) for _ in layers]
    return found


def _gradients_made(arrays: Any, *rest: Any) -> list[Tensor]:
    """Allocate the results of a backward pass."""
    return [arrays[place].new_empty(arrays[place].shape) for place in rest[-1]]


# The operators, and their derivatives.


@torch.library.custom_op("gatewise::lstm_forward", mutates_args=(), device_types="cpu")
def _forward(
    arrays: list[Tensor], numbers: list[int], outputs: int, training: bool
) -> list[Tensor]:
    return _run_forward(arrays, numbers, outputs, training)


@torch.library.custom_op("gatewise::lstm_backward", mutates_args=(), device_types="cpu")
def _backward(
    arrays: list[Tensor],
    reserves: list[Tensor],
    given: list[Tensor],
    numbers: list[int],
    outputs: int,
    gifts: int,
    wanted: list[int],
) -> list[Tensor]:
    return _run_backward(arrays, reserves, given, numbers, outputs, gifts, wanted)


_forward.register_fake(_made)
_backward.register_fake(_gradients_made)


def _keep(ctx: Any, inputs: Any, output: list[Tensor]) -> None:
    arrays, numbers, outputs, training = inputs
    reserves = output[-len(_rows(numbers)) :] if training else []
    ctx.save_for_backward(*arrays, *reserves)
    ctx.set_materialize_grads(False)
    ctx.numbers, ctx.outputs, ctx.count = numbers, outputs, len(arrays)


def _gradients(
    ctx: Any, given: Sequence[Tensor | None], needed: Sequence[bool], run: Callable[..., Any]
) -> list[Tensor | None]:
    """Return the gradients of the arrays, None for those not needed; `run` is a backward pass."""
    saved = list(ctx.saved_tensors)
    arrays, reserves = saved[: ctx.count], saved[ctx.count :]
    names = [name for row in _rows(ctx.numbers) for name in _names(row)]
    wanted = [
        place
        for place, (name, need) in enumerate(zip(names, needed, strict=True))
        if need and name in DIFFERENTIABLE
    ]
    moved = [(bit, one) for bit, one in enumerate(given) if one is not None]
    gifts = sum(1 << bit for bit, _ in moved)
    some = [one for _, one in moved]
    found = run(arrays, reserves, some, ctx.numbers, ctx.outputs, gifts, wanted)
    gradients: list[Tensor | None] = [None] * ctx.count
    for place, one in zip(wanted, found, strict=True):
        gradients[place] = one
    return gradients


def _differentiate(ctx: Any, given: list[Tensor | None]) -> Any:
    return _gradients(ctx, given, ctx.needs_input_grad[0], _backward), None, None, None


_forward.register_autograd(_differentiate, setup_context=_keep)


class _Eager(torch.autograd.Function):
    """`_run_forward` and its derivative without the custom operators."""

    @staticmethod
    def forward(ctx: Any, numbers: list[int], outputs: int, *arrays: Tensor) -> Any:
        found = _run_forward(arrays, numbers, outputs, True)
        _keep(ctx, (arrays, numbers, outputs, True), found)
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> Any:
        moved = [one for one in given if one is not None]
        # A second derivative needs the operator, because that has a derivative of its own.
        plain = not torch.is_grad_enabled() and not _transformed() and _is_eager(moved)
        run = _run_backward if plain else _backward
        return None, None, *_gradients(ctx, given, ctx.needs_input_grad[2:], run)


def _keep_again(ctx: Any, inputs: Any, output: list[Tensor]) -> None:
    del output  # PyTorch passes it by name; the derivative of the gradient does not read it
    arrays, reserves, given, *ctx.rest = inputs
    ctx.save_for_backward(*arrays, *given)
    ctx.counts = len(arrays), len(reserves)


def _differentiate_again(ctx: Any, moved: list[Tensor]) -> Any:
    """The derivative of the gradient, computed by plain PyTorch."""
    saved = list(ctx.saved_tensors)
    count, reserves = ctx.counts
    numbers, outputs, gifts, wanted = ctx.rest

    def gradient(arrays: Sequence[Tensor], given: Sequence[Tensor]) -> list[Tensor]:
        def run(chosen: Sequence[Tensor]) -> list[Tensor]:
            every = list(arrays)
            for place, one in zip(wanted, chosen, strict=True):
                every[place] = one
            found = _plain(every, numbers, outputs)
            return [one for bit, one in enumerate(found) if gifts >> bit & 1]

        _, pull = torch.func.vjp(run, [arrays[place] for place in wanted])
        (found,) = pull(list(given))
        return list(found)

    floats = [place for place, one in enumerate(saved[:count]) if one.is_floating_point()]

    def of_floats(some: Sequence[Tensor], given: Sequence[Tensor]) -> list[Tensor]:
        every = list(saved[:count])
        for place, one in zip(floats, some, strict=True):
            every[place] = one
        return gradient(every, given)

    _, pull = torch.func.vjp(of_floats, [saved[place] for place in floats], saved[count:])
    found, given = pull(list(moved))
    gradients: list[Tensor | None] = [None] * count
    for place, one in zip(floats, found, strict=True):
        gradients[place] = one
    return gradients, [None] * reserves, list(given), None, None, None, None


_backward.register_autograd(_differentiate_again, setup_context=_keep_again)


# The work of Keras around a short loop.

_parallel_update_step = Adam._parallel_update_step


def _fused_adam(self: Adam, grads: Any, variables: Any, learning_rate: Any) -> None:
    """Replace Adam._parallel_update_step by PyTorch's operator for all of it.

    Keras's operators each read and write every weight. With an Embedding(20000, 128), that took
    longer than the LSTM (docs/log.md).
    """
    weights = [one.value for one in variables]
    index = [self._get_variable_index(one) for one in variables]
    m, v = ([some[place].value for place in index] for some in (self._momentums, self._velocities))
    dtype = weights[0].dtype
    arrays = [*weights, *m, *v, *grads]
    if (
        self.amsgrad
        or not _is_eager(arrays)
        or why_not(weights[0])
        or dtype not in (torch.float32, torch.float64)
        or any(one.dtype != dtype for one in arrays)
        or not all(one.is_contiguous() for one in (*weights, *m, *v))
        or max(self.beta_1, self.beta_2) > 1 - 1e-6  # divisions by zero, which are Keras's
    ):
        _parallel_update_step(self, grads, variables, learning_rate)
        return
    step = torch.as_tensor(self.iterations + 1, dtype=dtype)
    left_1, left_2 = (
        float(1 - torch.tensor(one, dtype=dtype) ** step) for one in (self.beta_1, self.beta_2)
    )
    # The operator adds epsilon after it has corrected the bias; Keras adds it before.
    exact_1, exact_2 = 1 - self.beta_1 ** int(step), 1 - self.beta_2 ** int(step)
    torch._fused_adam_(
        *(weights, [one.contiguous() for one in grads], m, v, [], [step.float()] * len(weights)),
        lr=float(learning_rate) * (left_2 / exact_2) ** 0.5 * exact_1 / left_1,
        beta1=self.beta_1,
        beta2=self.beta_2,
        weight_decay=0.0,
        eps=self.epsilon / exact_2**0.5,
        amsgrad=False,
        maximize=False,
    )


REPLACEMENTS = {(Adam, "_parallel_update_step"): _fused_adam}


# In plain PyTorch.


def _plain(arrays: Sequence[Tensor], numbers: Sequence[int], outputs: int) -> list[Tensor]:
    """Return what `_run_forward` returns without `training`."""
    rows = _rows(numbers)
    found = [_loop(row, one) for row, one in zip(rows, _layers(arrays, rows), strict=True)]
    ys, states = [y for y, _, _ in found], [state for _, *pair in found for state in pair]
    joined = {NONE: [], APART: ys, JOINED: [torch.cat(ys, -1)] if outputs == JOINED else []}
    return joined[outputs] + states


def _loop(row: _Row, arrays: Arrays) -> tuple[Tensor, Tensor, Tensor]:
    activation, gate = (
        FUNCTIONS[ACTIVATIONS[one]] for one in (row.activation, row.recurrent_activation)
    )
    x = arrays.x
    units = arrays.recurrent_kernel.shape[0]
    zeros = x.new_zeros((x.shape[0], units))
    weights = [one.chunk(4, -1) for one in (arrays.kernel, arrays.recurrent_kernel)]
    biases = [0] * 4 if arrays.bias is None else arrays.bias.chunk(4)
    masks = [
        [1] * 4 if one is None else one.unbind(0)
        for one in (arrays.input_masks, arrays.recurrent_masks)
    ]
    h, c = (zeros if one is None else one for one in (arrays.h0, arrays.c0))
    started = torch.zeros_like(zeros[:, :1], dtype=torch.bool)
    steps = range(x.shape[1])
    outputs = []
    for t in reversed(steps) if row.go_backwards else steps:
        i, f, g, o = (
            (x[:, t] * of_x) @ kernel + (h * of_h) @ recurrent + bias
            for of_x, of_h, kernel, recurrent, bias in zip(*masks, *weights, biases, strict=True)
        )
        used = torch.ones_like(started) if arrays.mask is None else arrays.mask[:, t, None]
        after_c = gate(f) * c + gate(i) * activation(g)
        after_h = gate(o) * activation(after_c)
        h, c = torch.where(used, after_h, h), torch.where(used, after_c, c)
        started = started | used
        put_out = used if row.zero_output else (started | bool(row.start_output))
        outputs.append(torch.where(put_out, h, zeros))
    return torch.stack(outputs[::-1] if row.flip else outputs, 1), h, c
