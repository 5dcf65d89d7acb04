"""Which layers and calls the kernels support and, in a sentence, why they do not support others.

A method of Keras that somebody has replaced is a reason: the kernels compute what Keras's own
methods compute. `hook.py` asks this module before each call.
"""

import importlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
from keras import ops
from keras.layers import LSTM, RNN, Bidirectional, LSTMCell, StackedRNNCells

from gatewise.engine import library
from gatewise.engine.contract import ACTIVATIONS, DTYPES, OLDEST, Array, Backend, fits

KNOWN_KERAS = ("3.12", "3.13", "3.14", "3.15", "3.16")
# Keras's name of each backend, and our module for it, which is a contract.Backend.
BACKENDS = {name: f"gatewise.engine.{name}" for name in ("jax", "tensorflow", "torch")}


def _too_old() -> str | None:
    """Return why the kernels cannot run in the installed version of the framework, or None."""
    name = keras.backend.backend()
    if name not in OLDEST:
        return None
    oldest, found = OLDEST[name], importlib.import_module(name).__version__
    numbers = [[int(one) for one in re.findall(r"\d+", text)[:2]] for text in (found, oldest)]
    if numbers[0] >= numbers[1]:
        return None
    return (
        f"{name} {found} is older than {oldest}, the oldest version in which the kernels run. "
        f'Install a newer one: pip install "{name}>={oldest}".'
    )


_name = BACKENDS.get(keras.backend.backend())
# None only where `why_not_here` gives the reason, so that nobody uses it.
backend = cast(Backend, importlib.import_module(_name) if _name and not _too_old() else None)

# The methods whose work the kernels do; each must be Keras's own.
_CELL = (
    *("__call__", "call", "_compute_carry_and_output", "_compute_carry_and_output_fused"),
    *("get_dropout_mask", "get_recurrent_dropout_mask", "_create_dropout_mask"),
    *("reset_dropout_mask", "reset_recurrent_dropout_mask"),
)
_STACK = ("__call__", "call")
_LOOP = ("inner_loop",)
_HALF = (  # of a bidirectional layer
    *("__call__", "call", "inner_loop", "get_initial_state"),
    *("_maybe_config_dropout_masks", "_maybe_reset_dropout_masks"),
)
# Code in these folders is Keras's own, or replaces Keras's own at our request.
_TRUSTED = (str(Path(keras.__file__).parent) + os.sep, str(Path(__file__).parent) + os.sep)


def why_not_here() -> str | None:
    """Return why no layer of this process can run natively; None: layers can."""
    version = ".".join(keras.__version__.split(".")[:2])
    if version not in KNOWN_KERAS:
        return (
            f"Keras {keras.__version__} is not known to this version of gatewise, which knows "
            f"{KNOWN_KERAS[0]} to {KNOWN_KERAS[-1]}."
        )
    if not _name:
        return (
            f"Keras runs on {keras.backend.backend()}, and the kernels run on "
            f"{' and '.join(BACKENDS)}. "
            "KERAS_BACKEND, set before Keras is imported, chooses one of them."
        )
    return _too_old() or backend.missing()


def why_not(layer: Any) -> str | None:
    """Return in a sentence why this layer or model cannot run natively; None: it can."""
    reason = why_not_here()
    if reason:
        return reason
    if isinstance(layer, RNN) and is_lstm(layer):
        return why_not_layer(layer)
    if isinstance(layer, Bidirectional):
        return why_not(layer.forward_layer) or why_not(layer.backward_layer)
    inner = recurrent_layers(layer) if isinstance(layer, keras.Layer) else []
    if not inner and not isinstance(layer, keras.Model):
        return f"{type(layer).__name__} is not an LSTM layer, and only LSTM layers have kernels."
    reasons = [(one.name, why_not(one)) for one in inner]
    return " ".join(f"Layer '{name}': {why}" for name, why in reasons if why) or None


def recurrent_layers(model: Any) -> list[Any]:
    """Return the LSTM layers within a model or layer; a bidirectional layer gives its halves."""
    return [one for one in model._flatten_layers() if isinstance(one, RNN) and is_lstm(one)]


def is_lstm(layer: Any) -> bool:
    """Whether a recurrent layer is an LSTM of any kind, even one that the kernels cannot run."""
    cell = layer.cell
    cells = cell.cells if isinstance(cell, StackedRNNCells) else [cell]
    return any(isinstance(one, LSTMCell) for one in cells)


def why_not_layer(layer: Any) -> str | None:
    """Return why this LSTM layer cannot run natively, whatever its input; None: it can."""
    if _replaced(layer, _LOOP):
        return f"{type(layer).__name__} has an inner_loop of its own."
    if getattr(layer, "use_cudnn", None) is True:
        return "The layer has use_cudnn=True, which asks for cuDNN."
    stacked = isinstance(layer.cell, StackedRNNCells)
    if stacked and (type(layer.cell) is not StackedRNNCells or len(layer.cell.cells) < 2):
        return "Its stack of cells has a class of its own, or only one cell."
    if stacked and (name := _replaced(layer.cell, _STACK)):
        return f"The method {name} of its stack of cells was replaced."
    for cell in layer.cell.cells if stacked else [layer.cell]:
        reason = _why_not_cell(cell) or _why_not_dtype(layer, cell)
        if reason:
            return reason
    return backend.why_not()


def supports_both(layer: Any) -> bool:
    """Whether the kernels can run both halves of a bidirectional layer in one call."""
    return not any(
        type(half) is not LSTM
        or half.activity_regularizer is not None
        or not half.built
        or half.compute_dtype != layer.compute_dtype
        or backend.is_hooked(half)
        or _replaced(half, _HALF)
        or why_not_layer(half)
        for half in (layer.forward_layer, layer.backward_layer)
    )


def _why_not_cell(cell: Any) -> str | None:
    if type(cell) is not LSTMCell:
        return f"Its cell is a {type(cell).__name__}, and the kernels compute an LSTMCell."
    if name := _replaced(cell, _CELL):
        return f"The method {name} of its LSTMCell was replaced."
    for function in (cell.activation, cell.recurrent_activation):
        if activation_name(function) is None:
            name = getattr(function, "__name__", type(function).__name__)
            known = ", ".join(ACTIVATIONS)
            return f"Activation '{name}' has no kernel; known: {known}."
    return None


def _replaced(thing: Any, names: Sequence[str]) -> str | None:
    """Return the first of these methods that somebody has replaced on the instance or its class."""
    for name in names:
        if name in vars(thing) or not is_of_keras(getattr(type(thing), name)):
            return name
    return None


def is_of_keras(method: Any) -> bool:
    """Whether the file of a method's code is of Keras, or of this package's engine."""
    code = getattr(method, "__code__", None)
    return code is not None and code.co_filename.startswith(_TRUSTED)


def _why_not_dtype(layer: Any, cell: Any) -> str | None:
    if cell.compute_dtype != layer.compute_dtype:
        return f"It computes in {layer.compute_dtype} and its cell in {cell.compute_dtype}."
    known = (*DTYPES, "bfloat16")  # the last one in float32 arrays: see `products`
    if cell.compute_dtype not in known:
        return f"It computes in {cell.compute_dtype}; the kernels know {', '.join(known)}."
    return None


# With fewer units rounding the operands takes longer than their products save (docs/log.md).
LEAST_UNITS = {"float32": 1, "bfloat16": 16, "bfloat16x3": 64}


def products(cell: Any, chosen: str) -> str:
    """Return what the products of a cell round their operands to: what is chosen, or "float32".

    The operands of a bfloat16 cell are bfloat16 numbers, whatever is chosen. Products that would
    be slower here than those of float32 are not used.
    """
    wanted = "bfloat16" if cell.compute_dtype == "bfloat16" else chosen
    pays = cell.units >= LEAST_UNITS[wanted] and library.has_products(wanted)
    return wanted if pays and cell.compute_dtype != "float64" else "float32"


def why_not_call(cells: Sequence[Any], x: Array, states: Any, mask: Array | None) -> str | None:
    """Return why these arrays cannot run natively; None: they can. An unknown size is None."""
    if not (ops.is_tensor(x) or isinstance(x, np.ndarray)) or len(x.shape) != 3:
        return "Its input is not one dense array of [batch, steps, features]."
    if 0 in tuple(x.shape):
        return f"Its input of shape {tuple(x.shape)} is empty."
    batch, steps, _ = x.shape
    if mask is not None and not fits(mask.shape[:2], (batch, steps)):
        return f"Its mask has the shape {tuple(mask.shape)}; {(batch, steps)} is needed."
    for cell, state in zip(cells, states, strict=True):
        if len(state) != 2:
            return f"Its initial state is {len(state)} arrays; 2 are needed."
        for one in state:
            if not fits(one.shape, wanted := (batch, cell.units)):
                return f"An initial state has the shape {tuple(one.shape)}; {wanted} is needed."
    return backend.why_not(x)


def better_stock(cells: Sequence[Any], x: Array) -> str | None:
    """Return why stock Keras is faster for an input of this shape; None: the kernels are."""
    if len(x.shape) != 3 or 0 in tuple(x.shape):
        return None
    few = backend.FEW
    batch, steps, _ = x.shape
    if batch is None or steps is None:
        return None
    wide = steps <= 2 and any(cell.units >= few.wide for cell in cells)
    if batch * steps < few.steps or (steps == 1 and batch < few.rows) or wide:
        return "For so few steps Keras's own loop is faster."
    if batch >= few.many_rows and any(cell.units <= few.units for cell in cells):
        return "For so few units and so many rows Keras's own loop is faster."
    return None


def activation_name(function: Any) -> str | None:
    """Return the kernels' name of an activation function, which is compared by identity."""
    aliases = backend.ALIASES
    for name in ACTIVATIONS:
        plain = [getattr(place, name, None) for place in (keras.activations, ops)]
        if any(function is one for one in (*plain, *aliases.get(name, ()))):
            return name
    return None
