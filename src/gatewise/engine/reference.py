"""The LSTM in NumPy, written to be read: the truth that the kernels are held to."""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any


def relu(x: Array) -> Array:
    """Zero below zero."""
    return np.where(x < 0, 0, x)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x))),
    "relu": relu,
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "elu": lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    "linear": lambda x: x,
}


def lstm(
    x: Array,  # [batch, steps, features]
    h: Array,  # [batch, units] the state before the first step
    c: Array,  # [batch, units]
    kernel: Array,  # [features, 4 units], gates in Keras's order i, f, c, o
    recurrent_kernel: Array,  # [units, 4 units]
    bias: Array,  # [4 units]
    *,
    mask: Array | None = None,  # [batch, steps], false where nothing happens
    activations: tuple[str, str] = ("tanh", "sigmoid"),  # of cell and output; of the gates
) -> tuple[Array, Array, Array]:
    """The output of every step [batch, steps, units], and h and c after the last one."""
    activation, gate = (ACTIVATIONS[name] for name in activations)
    outputs = []
    for t in range(x.shape[1]):
        z = x[:, t] @ kernel + h @ recurrent_kernel + bias  # [batch, 4 units]
        i, f, g, o = np.split(z, 4, axis=-1)
        after_c = gate(f) * c + gate(i) * activation(g)
        after_h = gate(o) * activation(after_c)
        used = np.ones((len(x), 1), bool) if mask is None else mask[:, t, None]
        h, c = np.where(used, after_h, h), np.where(used, after_c, c)
        outputs.append(h)
    return np.stack(outputs, axis=1), h, c
