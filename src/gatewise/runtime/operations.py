"""The operations of a graph in NumPy, and the LSTM on the kernels of native/.

Each function takes the inputs of a node in order, and its weights and configuration by name; absent
inputs are None. `graph.OPERATIONS` describes them. Sources are the functions of keras.ops and the
layers of Keras with the same names.
"""

import math
from collections.abc import Callable
from ctypes import byref
from typing import Any

import numpy as np

from gatewise.engine import library
from gatewise.engine.contract import ACTIVATIONS as NATIVE
from gatewise.engine.contract import Arrays, Direction, check
from gatewise.engine.reference import ACTIVATIONS as OF_LSTM

Array = Any


def softmax(x: Array, axis: int = -1) -> Array:
    """The exponentials of x, divided by their sum over an axis."""
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def logsumexp(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """The logarithm of the sum of the exponentials of x."""
    axis = tuple(axis) if isinstance(axis, list) else axis
    most = x.max(axis=axis, keepdims=True)
    most = np.where(np.isfinite(most), most, 0)
    total = np.log(np.exp(x - most).sum(axis=axis, keepdims=True)) + most
    return total if keepdims else np.squeeze(total, axis=axis)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """The logarithm of the softmax of x."""
    return x - logsumexp(x, axis, keepdims=True)


def _relu(
    x: Array, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Array:
    if (negative_slope, threshold) == (0, 0):
        y = np.maximum(x, 0)
    else:
        y = np.where(x >= threshold, x, negative_slope * (x - threshold))
    return y if max_value is None else np.minimum(y, max_value)


def _elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _gelu(x: Array, approximate: bool = False) -> Array:
    if approximate:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    erf = np.vectorize(math.erf, otypes=[x.dtype])
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def _softplus(x: Array) -> Array:
    return np.logaddexp(x, np.zeros((), x.dtype))


_sigmoid = OF_LSTM["sigmoid"]
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017

ACTIVATIONS: dict[str, Callable[..., Array]] = OF_LSTM | {
    "relu": _relu,
    "elu": _elu,
    "selu": lambda x: SELU_SCALE * _elu(x, SELU_ALPHA),
    "gelu": _gelu,
    "silu": lambda x: x * _sigmoid(x),
    "softplus": _softplus,
    "exponential": np.exp,
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x, negative_slope=0.2: np.where(x > 0, x, negative_slope * x),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "log_sigmoid": lambda x: -_softplus(-x),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "softmax": softmax,
    "log_softmax": log_softmax,
}


def _activation(x: Array, activation: str, **arguments: Any) -> Array:
    return ACTIVATIONS[activation](x, **arguments)


def _dense(x: Array, kernel: Array, activation: str, bias: Array | None = None) -> Array:
    # One product of two matrices, because NumPy multiplies a stack of small ones one by one.
    y = (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], kernel.shape[-1])
    if bias is not None:
        y += bias
    return ACTIVATIONS[activation](y)


def _conv1d(
    x: Array,
    kernel: Array,
    strides: int,
    padding: str,
    dilation_rate: int,
    groups: int,
    activation: str,
    bias: Array | None = None,
) -> Array:
    size, _, filters = kernel.shape
    reach = (size - 1) * dilation_rate
    x = np.pad(x, ((0, 0), _margins(x.shape[1], reach + 1, strides, padding, reach), (0, 0)))
    steps = (x.shape[1] - reach - 1) // strides + 1
    parts = []
    for part, weights in zip(
        np.split(x, groups, axis=-1), np.split(kernel, groups, axis=-1), strict=True
    ):
        y = np.zeros((len(x), steps, filters // groups), x.dtype)
        for k in range(size):
            begin = k * dilation_rate
            y += part[:, begin : begin + (steps - 1) * strides + 1 : strides] @ weights[k]
        parts.append(y)
    y = np.concatenate(parts, axis=-1)
    return ACTIVATIONS[activation](y if bias is None else y + bias)


def _margins(
    steps: int, window: int, strides: int, padding: str, reach: int = 0
) -> tuple[int, int]:
    """The steps to add before and after the first and last one."""
    if padding == "causal":
        return reach, 0
    if padding == "valid":
        return 0, 0
    missing = max((-(-steps // strides) - 1) * strides + window - steps, 0)
    return missing // 2, missing - missing // 2


def _windows(x: Array, fill: float, pool_size: int, strides: int, padding: str) -> Array:
    """The windows of a pooling layer, [batch, steps, features, pool_size]."""
    margins = _margins(x.shape[1], pool_size, strides, padding)
    x = np.pad(x, ((0, 0), margins, (0, 0)), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(x, pool_size, axis=1)[:, ::strides]


def _max_pooling(x: Array, **options: Any) -> Array:
    return _windows(x, -np.inf, **options).max(axis=-1)


def _average_pooling(x: Array, **options: Any) -> Array:
    return np.nanmean(_windows(x, np.nan, **options), axis=-1)


def _global_average(x: Array, mask: Array | None, keepdims: bool) -> Array:
    if mask is None:
        return x.mean(axis=1, keepdims=keepdims)
    real = mask[..., None]
    total = np.where(real, x, 0).sum(axis=1, keepdims=keepdims)
    with np.errstate(invalid="ignore"):  # NaN for a row without a real step, as in Keras
        return total / real.sum(axis=1, keepdims=keepdims).astype(x.dtype)


def _batch_normalization(
    x: Array,
    moving_mean: Array,
    moving_variance: Array,
    axis: int,
    epsilon: float,
    gamma: Array | None = None,
    beta: Array | None = None,
) -> Array:
    shape = [1] * x.ndim
    shape[axis] = -1
    scale = 1 / np.sqrt(moving_variance + np.asarray(epsilon, x.dtype))
    scale = scale if gamma is None else scale * gamma
    shift = -moving_mean * scale if beta is None else beta - moving_mean * scale
    return x * scale.reshape(shape) + shift.reshape(shape)


def _layer_normalization(
    x: Array, axis: int, epsilon: float, gamma: Array | None = None, beta: Array | None = None
) -> Array:
    apart = x - x.mean(axis=axis, keepdims=True)
    variance = np.square(apart).mean(axis=axis, keepdims=True)
    y = apart / np.sqrt(variance + np.asarray(epsilon, x.dtype))
    y = y if gamma is None else y * gamma
    return y if beta is None else y + beta


def lstm(arrays: Arrays, direction: Direction, *, sequences: bool) -> tuple[Array, Array, Array]:
    """The outputs, [batch, steps, units] or the last [batch, units], and h and c [batch, units].

    The kernels of native/ run what they can; NumPy runs other activations, or everything where the
    library is missing.
    """
    zero = direction.zero_output and arrays.mask is not None
    every = sequences or zero
    activations = {direction.activation, direction.recurrent_activation}
    native = activations <= set(NATIVE) and library.why_not() is None and arrays.x.size
    y, h, c = (_native_lstm if native else _numpy_lstm)(arrays, direction, every)
    if sequences:
        return y, h, c
    if every:
        return y[:, -1], h, c
    if arrays.mask is not None and not direction.start_output:
        return np.where(arrays.mask.any(axis=1)[:, None], h, 0), h, c
    return h, h, c


def _native_lstm(arrays: Arrays, direction: Direction, every: bool) -> tuple[Array, Array, Array]:
    """The kernels of native/, without the data that a backward pass would need."""
    dtype = arrays.x.dtype
    held = {
        name: np.ascontiguousarray(one, np.uint8 if name == "mask" else dtype)
        for name, one in arrays._asdict().items()
        if one is not None
    }
    # The kernels do not check sizes, and would read memory that is not theirs.
    check([arrays], lambda one: "bool" if one is arrays.mask else str(dtype))
    batch, steps, features = arrays.x.shape
    units = len(arrays.recurrent_kernel)
    held["h"], held["c"] = np.empty((batch, units), dtype), np.empty((batch, units), dtype)
    if every:
        held["y"] = np.empty((batch, steps, units), dtype)
    layer = library.Layer(
        batch=batch,
        steps=steps,
        features=features,
        units=units,
        double_precision=dtype == np.float64,
        activation=NATIVE.index(direction.activation),
        recurrent_activation=NATIVE.index(direction.recurrent_activation),
        go_backwards=direction.go_backwards,
        zero_output=direction.zero_output,
        start_output=direction.start_output,
        y_batch_stride=steps * units,
        y_step_stride=units,
        **{name: one.ctypes.data for name, one in held.items()},
    )
    library.check(library.load().gatewise_lstm_forward(byref(layer), 1))
    return held.get("y"), held["h"], held["c"]


def _numpy_lstm(arrays: Arrays, direction: Direction, every: bool) -> tuple[Array, Array, Array]:
    """`engine.reference.lstm` with one product for the inputs of all steps, and any activation."""
    x, mask, h, c, kernel, recurrent_kernel, bias, *_ = arrays
    activation = ACTIVATIONS[direction.activation]
    gate = ACTIVATIONS[direction.recurrent_activation]
    units = len(recurrent_kernel)
    h, c = (np.zeros((len(x), units), x.dtype) if one is None else one for one in (h, c))
    if direction.go_backwards:
        x, mask = x[:, ::-1], None if mask is None else mask[:, ::-1]
    inputs = x @ kernel if bias is None else x @ kernel + bias  # [batch, steps, 4 units]
    y = np.empty((*x.shape[:2], units), x.dtype) if every else None
    last = h if direction.start_output else np.zeros_like(h)
    for t in range(x.shape[1]):
        i, f, g, o = np.split(inputs[:, t] + h @ recurrent_kernel, 4, axis=-1)
        after_c = gate(f) * c + gate(i) * activation(g)
        after_h = gate(o) * activation(after_c)
        real = True if mask is None else mask[:, t, None]
        h, c = np.where(real, after_h, h), np.where(real, after_c, c)
        last = np.where(real, h, 0 if direction.zero_output else last)
        if y is not None:
            y[:, t] = last
    return y, h, c


def _reduced(function: Callable[..., Array]) -> Callable[..., Array]:
    def reduce(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
        return function(x, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)

    return reduce


def _reshape(x: Array, newshape: list[int]) -> Array:
    return x.reshape([x.shape[k] if size == 0 else size for k, size in enumerate(newshape)])


def _getitem(x: Array, key: list[Any]) -> Array:
    entries = {"...": Ellipsis}
    return x[
        tuple(slice(*one) if isinstance(one, list) else entries.get(str(one), one) for one in key)
    ]


def _one_hot(x: Array, num_classes: int, axis: int = -1, dtype: str | None = None) -> Array:
    hot = (x[..., None] == np.arange(num_classes)).astype(dtype or "float32")
    return hot if axis == -1 else np.moveaxis(hot, -1, axis)


def _top_k(x: Array, k: int) -> tuple[Array, Array]:
    """The k largest numbers of the last axis, in descending order, and their indices."""
    size = x.shape[-1]
    found = np.argpartition(x, size - k, axis=-1)[..., size - k :] if k < size else None
    values = x if found is None else np.take_along_axis(x, found, axis=-1)
    order = np.argsort(-values, axis=-1, kind="stable")
    best = order if found is None else np.take_along_axis(found, order, axis=-1)
    return np.take_along_axis(values, order, axis=-1), best.astype(np.int32)


def _split(x: Array, indices_or_sections: Any, axis: int = 0) -> tuple[Array, ...]:
    return tuple(np.split(x, indices_or_sections, axis=axis))


# `input` and `lstm` with its states are in network.py.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "constant": lambda value: value,
    "embedding": lambda tokens, embeddings: embeddings[tokens.astype(np.int64, copy=False)],
    "dense": _dense,
    "conv1d": _conv1d,
    "max_pooling1d": _max_pooling,
    "average_pooling1d": _average_pooling,
    "global_average_pooling1d": _global_average,
    "batch_normalization": _batch_normalization,
    "layer_normalization": _layer_normalization,
    "activation": _activation,
    "reshape": _reshape,
    "getitem": _getitem,
    "transpose": lambda x, axes=None: np.transpose(x, axes),
    "flip": lambda x, axis: np.flip(x, axis),
    "pad": lambda x, pad_width: np.pad(x, pad_width),
    "repeat": lambda x, repeats, axis=None: np.repeat(x, repeats, axis),
    "expand_dims": lambda x, axis: np.expand_dims(x, axis),
    "squeeze": lambda x, axis=None: np.squeeze(x, axis),
    "concatenate": lambda *xs, axis: np.concatenate(xs, axis),
    "stack": lambda *xs, axis: np.stack(xs, axis),
    "split": _split,
    "take": lambda x, indices, axis=None: np.take(x, indices, axis),
    "take_along_axis": lambda x, indices, axis=None: np.take_along_axis(x, indices, axis),
    "matmul": np.matmul,
    "where": np.where,
    "cast": lambda x, dtype: x.astype(dtype),
    "cumsum": lambda x, axis=None: np.cumsum(x, axis, dtype=x.dtype),
    "one_hot": _one_hot,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "logsumexp": logsumexp,
    "top_k": _top_k,
    "ones_like": lambda x, dtype: np.ones(x.shape, dtype),
    "zeros_like": lambda x, dtype: np.zeros(x.shape, dtype),
    **{name: _reduced(getattr(np, name)) for name in ("sum", "mean", "max", "min", "any", "all")},
    **{
        name: getattr(np, name)
        for name in (
            *("add", "subtract", "multiply", "divide", "mod", "power", "maximum", "minimum"),
            *("equal", "not_equal", "greater", "greater_equal", "less", "less_equal"),
            *("logical_and", "logical_or", "logical_not"),
            *("negative", "absolute", "square", "sqrt", "exp", "log", "log1p", "sin", "cos"),
            "arcsinh",
        )
    },
}
