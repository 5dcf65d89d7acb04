"""The LSTM in NumPy, written for readability: the reference that the kernels must match."""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any


def relu(x: Array) -> Array:
    """Return x, or 0 where x is negative."""
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
    h: Array,  # [batch, units] state before the first step
    c: Array,  # [batch, units]
    kernel: Array,  # [features, 4 units], gates in Keras's order i, f, c, o
    recurrent_kernel: Array,  # [units, 4 units]
    bias: Array,  # [4 units]
    *,
    mask: Array | None = None,  # [batch, steps], false where the state stays as it is
    activations: tuple[str, str] = ("tanh", "sigmoid"),  # of the cell and its output; of the gates
) -> tuple[Array, Array, Array]:
    """Return the outputs [batch, steps, units], and h and c [batch, units] after the last step.

    Source: the equations of keras.layers.LSTMCell (Hochreiter and Schmidhuber 1997, with the forget
    gate of Gers et al. 2000).
    """
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
