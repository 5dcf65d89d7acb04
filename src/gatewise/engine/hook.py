"""What is put in the place of Keras's own loops, and when it steps aside.

Three methods are replaced on their classes, so that every layer of every model is met and none is
changed: LSTM.inner_loop, RNN.inner_loop (for cells that are LSTMCells) and Bidirectional.call (both
directions at once). What the kernels cannot run goes to the method that was there before, and so
does all that is traced by the methods of Keras that export.

No framework is named here but in `BACKENDS`; contract.py says what hook and back end expect of each
other.
"""

import functools
import importlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
from keras import ops
from keras.layers import LSTM, RNN, Bidirectional, LSTMCell, StackedRNNCells

from gatewise.engine import library
from gatewise.engine.contract import ACTIVATIONS, DTYPES, Array, Arrays, Backend, Direction, fits
from gatewise.errors import EngineError

log = logging.getLogger("gatewise")

KNOWN_KERAS = ("3.12", "3.13", "3.14", "3.15", "3.16")
BACKENDS = {  # by Keras's names; each module is a contract.Backend
    "jax": "gatewise.engine.jax",
    "torch": "gatewise.engine.torch",
}

_name = BACKENDS.get(keras.backend.backend())
_backend = cast(Backend, importlib.import_module(_name) if _name else None)  # `why_not_here`

# What the kernels do in the place of Keras, method by method; each must be Keras's own.
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
_KERAS = str(Path(keras.__file__).parent) + os.sep

# What writes files that run elsewhere.
_EXPORTS = (
    (keras.Model, "export"),
    *((keras.export.ExportArchive, name) for name in ("track", "add_endpoint", "write_out")),
)
_local = threading.local()  # exporting: True within such a method

_LOOPS = ((LSTM, "inner_loop"), (RNN, "inner_loop"), (Bidirectional, "call"))
_ORIGINAL: dict[tuple[Any, str], Any] = {
    (owner, name): getattr(owner, name, None) for owner, name in (*_LOOPS, *_EXPORTS)
}
_strict = False  # raise where `auto` would step aside
_said: set[str] = set()
calls = {"native": 0, "stock": 0}  # of LSTM layers, since the process began; a compiled one is one


def install(*, strict: bool) -> None:
    """Put the kernels in."""
    global _strict
    _strict = strict
    # A training step asks for the same large arrays each time; a third of the step of a text
    # classifier went into fresh pages for them (docs/log.md).
    if library.why_not() is None:
        library.keep_memory()
    for (owner, name), replacement in _REPLACEMENTS.items():
        # What somebody else has put there stays, before us or over ours.
        if getattr(owner, name) is _ORIGINAL[owner, name] and _is_of_keras(getattr(owner, name)):
            setattr(owner, name, replacement)


def remove() -> None:
    """Leave Keras as it was, unless somebody else has put something over ours since."""
    for (owner, name), replacement in _REPLACEMENTS.items():
        if getattr(owner, name) is replacement:
            setattr(owner, name, _ORIGINAL[owner, name])


# Why not.


def why_not_here() -> str | None:
    """Why no layer of this process can run natively; None: one can."""
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
    return _backend.missing()


def why_not(layer: Any) -> str | None:
    """Why this layer cannot run natively, in a sentence; None: it can."""
    reason = why_not_here()
    if reason:
        return reason
    if isinstance(layer, RNN) and _is_lstm(layer):
        return _why_not_layer(layer)
    if isinstance(layer, Bidirectional):
        return why_not(layer.forward_layer) or why_not(layer.backward_layer)
    inner = recurrent_layers(layer) if isinstance(layer, keras.Layer) else []
    if not inner and not isinstance(layer, keras.Model):
        return f"{type(layer).__name__} is not an LSTM layer, and there are no kernels for others."
    reasons = [(one.name, why_not(one)) for one in inner]
    return " ".join(f"Layer '{name}': {why}" for name, why in reasons if why) or None


def recurrent_layers(model: Any) -> list[Any]:
    """The LSTM layers within a model or layer; of a bidirectional one, its halves."""
    return [one for one in model._flatten_layers() if isinstance(one, RNN) and _is_lstm(one)]


def _is_lstm(layer: Any) -> bool:
    """Whether a layer is an LSTM of any kind, be it one that the kernels cannot run."""
    cell = layer.cell
    cells = cell.cells if isinstance(cell, StackedRNNCells) else [cell]
    return any(isinstance(one, LSTMCell) for one in cells)


def _why_not_layer(layer: Any) -> str | None:
    if _replaced(layer, _LOOP):
        return f"{type(layer).__name__} has an inner_loop of its own."
    if getattr(layer, "use_cudnn", None) is True:
        return "The layer was told use_cudnn=True, and cuDNN is what that asks for."
    stacked = isinstance(layer.cell, StackedRNNCells)
    if stacked and (type(layer.cell) is not StackedRNNCells or len(layer.cell.cells) < 2):
        return "The stack of cells is of a class of its own, or has one cell alone."
    if stacked and (name := _replaced(layer.cell, _STACK)):
        return f"The method {name} of its stack of cells was replaced."
    for cell in layer.cell.cells if stacked else [layer.cell]:
        reason = _why_not_cell(cell) or _why_not_dtype(layer, cell)
        if reason:
            return reason
    return _backend.why_not()


def _why_not_cell(cell: Any) -> str | None:
    if type(cell) is not LSTMCell:
        return f"Its cell is a {type(cell).__name__}, and the kernels compute an LSTMCell."
    if name := _replaced(cell, _CELL):
        return f"The method {name} of its LSTMCell was replaced."
    for function in (cell.activation, cell.recurrent_activation):
        if _activation(function) is None:
            name = getattr(function, "__name__", type(function).__name__)
            known = ", ".join(ACTIVATIONS)
            return f"Activation '{name}' has no kernel; known: {known}."
    return None


def _replaced(thing: Any, names: Sequence[str]) -> str | None:
    """The first of these methods that is not Keras's own, on the instance or on its class."""
    for name in names:
        if name in vars(thing) or not _is_of_keras(getattr(type(thing), name)):
            return name
    return None


def _is_of_keras(method: Any) -> bool:
    """Whether a method is Keras's own, by the file of its code, or ours that replaces one."""
    code = getattr(method, "__code__", None)
    return method in _REPLACEMENTS.values() or (
        code is not None and code.co_filename.startswith(_KERAS)
    )


def _why_not_dtype(layer: Any, cell: Any) -> str | None:
    if cell.compute_dtype != layer.compute_dtype:
        return f"It computes in {layer.compute_dtype} and its cell in {cell.compute_dtype}."
    if cell.compute_dtype not in DTYPES:
        return f"It computes in {cell.compute_dtype}; the kernels know {' and '.join(DTYPES)}."
    return None


def _why_not_call(cells: Sequence[Any], x: Array, states: Any, mask: Array | None) -> str | None:
    """What only the arrays of a call can tell. A size that is not known yet is None."""
    if not (ops.is_tensor(x) or isinstance(x, np.ndarray)) or len(x.shape) != 3:
        return "Its input is not one dense array of [batch, steps, features]."
    if 0 in tuple(x.shape):
        return f"Its input of shape {tuple(x.shape)} is empty."
    batch, steps, _ = x.shape
    if mask is not None and not fits(mask.shape[:2], (batch, steps)):
        return f"Its mask has the shape {tuple(mask.shape)}; {(batch, steps)} is needed."
    for cell, state in zip(cells, states, strict=True):
        for one in state:
            if not fits(one.shape, wanted := (batch, cell.units)):
                return f"An initial state has the shape {tuple(one.shape)}; {wanted} is needed."
    return _backend.why_not(x)


# Where Keras's own loop was measured to be faster (docs/log.md): the kernels lay the weights out
# anew in each call, which a few steps do not pay back; and they compute 16 units at a time, where
# Keras computes many rows.
FEW_STEPS = 8  # of all rows together
FEW_ROWS = 64
FEW_UNITS = 4


def _better_stock(cells: Sequence[Any], x: Array) -> str | None:
    """Why stock Keras is the faster one for arrays of this shape, where the choice is ours."""
    if _strict:
        return None
    batch, steps, _ = x.shape
    if batch is None or steps is None:
        return None
    if batch * steps < FEW_STEPS or (steps == 1 and batch < FEW_ROWS):
        return "For so few steps Keras's own loop is faster."
    if batch >= FEW_ROWS and any(cell.units <= FEW_UNITS for cell in cells):
        return "For so few units and so many rows Keras's own loop is faster."
    return None


def _activation(function: Any) -> str | None:
    """The name by which the kernels know an activation; it is known by identity, not by name."""
    aliases = _backend.ALIASES
    for name in ACTIVATIONS:
        plain = [getattr(place, name, None) for place in (keras.activations, ops)]
        if any(function is one for one in (*plain, *aliases.get(name, ()))):
            return name
    return None


def _is_symbolic(x: Any) -> bool:
    """Whether this call only asks for shapes, or is traced for a file."""
    # Private to Keras, so not before its version is known.
    from keras.src.backend.common.symbolic_scope import in_symbolic_scope

    return in_symbolic_scope() or getattr(_local, "exporting", False) or _backend.is_traced(x)


def _steps_aside(
    layer: Any, cells: Sequence[Any], x: Array, states: Any, mask: Array | None
) -> bool:
    """Whether stock Keras runs this call; says once for each reason why it must.

    What depends on no array is `settled`: a compiler finds it once, and does not look inside.
    """
    reason = _backend.settled(_why_not_layer, layer) or _why_not_call(cells, x, states, mask)
    better = None if reason else _better_stock(cells, x)
    return bool(_backend.settled(_decide, layer, reason, better))


def _decide(layer: Any, reason: str | None, better: str | None) -> bool:
    """Count and log what runs a call; nobody has to be told where stock is only `better`."""
    if reason is None and better:
        calls["stock"] += 1
        log.debug("Stock Keras runs '%s'. %s", layer.name, better)
        return True
    if reason is None:
        calls["native"] += 1
        return False
    if _strict:
        raise EngineError(f"'{layer.name}' cannot run on the native kernels. {reason}")
    calls["stock"] += 1
    say(reason, f"Stock Keras runs '{layer.name}'.")
    return True


def say(reason: str, before: str = "Stock Keras runs every LSTM layer.") -> None:
    """Log a reason the first time that it is met."""
    if reason not in _said:
        _said.add(reason)
        log.warning("%s %s", before, reason)


# What runs.


def _lstm_inner_loop(
    self: Any, sequences: Array, initial_state: Any, mask: Any, training: Any = False
) -> Any:
    """In the place of LSTM.inner_loop."""
    original = _ORIGINAL[LSTM, "inner_loop"]
    if keras.tree.is_nested(mask):
        mask = mask[0]
    states = [list(initial_state)]
    if _is_symbolic(sequences):
        return original(self, sequences, initial_state, mask, training=training)
    if _steps_aside(self, [self.cell], sequences, states, mask):
        return original(self, sequences, initial_state, mask, training=training)
    last, outputs, states = _run(self, [self.cell], sequences, states, mask, training)
    return last, outputs, states[0]


def _rnn_inner_loop(
    self: Any, sequences: Array, initial_state: Any, mask: Any, training: Any = False
) -> Any:
    """In the place of RNN.inner_loop."""
    original = _ORIGINAL[RNN, "inner_loop"]
    # An LSTM layer comes here when it has stepped aside already.
    if not isinstance(self, LSTM) and _is_lstm(self) and not _is_symbolic(sequences):
        stacked = isinstance(self.cell, StackedRNNCells)
        cells = self.cell.cells if stacked else [self.cell]
        states = list(initial_state) if stacked else [list(initial_state)]
        if not _steps_aside(self, cells, sequences, states, mask):
            last, outputs, states = _run(self, cells, sequences, states, mask, training)
            return last, outputs, states if stacked else states[0]
    return original(self, sequences, initial_state, mask, training=training)


def _run(
    layer: Any, cells: Sequence[Any], x: Array, states: Any, mask: Any, training: Any
) -> tuple[Array, Array, list[Any]]:
    """What an inner_loop returns, with the state of each cell in a list.

    Cells above one another run one after the other, each over all steps: they have the same mask,
    so that no cell reads what the one below it puts out at a masked step.
    """
    mask = _as_mask(mask)
    after = []
    for cell, state in zip(cells, states, strict=True):
        first, final = cell is cells[0], cell is cells[-1]
        # What a cell puts out lies in the order of processing, and is read so by the one above it.
        used = mask if first or mask is None or not layer.go_backwards else ops.flip(mask, axis=1)
        outputs, ((h, c),) = _backend.lstm(
            [_arrays(cell, x, state, used, training)],
            [_direction(layer, cell, zero=final, backwards=first)],
            sequences=layer.return_sequences or not final,
        )
        after.append([h, c])
        x = outputs[0] if outputs else x
    last = _last(layer, h, mask)
    return last, outputs[0] if layer.return_sequences else last[:, None], after


def _bidirectional_call(
    self: Any,
    sequences: Array,
    initial_state: Any = None,
    mask: Any = None,
    training: Any = None,
) -> Any:
    """In the place of Bidirectional.call: both directions in one call, if both can run natively."""
    plain_mask = mask[0] if keras.tree.is_nested(mask) else mask
    if not _go_together(self, sequences, initial_state, plain_mask):
        original = _ORIGINAL[Bidirectional, "call"]
        return original(self, sequences, initial_state=initial_state, mask=mask, training=training)
    for one in (self.forward_layer, self.backward_layer):
        _backend.settled(_decide, one, None, None)
    given = [None, None] if initial_state is None else [initial_state[:2], initial_state[2:]]
    layers = [self.forward_layer, self.backward_layer]
    used = _as_mask(plain_mask)
    arrays = []
    for layer, state in zip(layers, given, strict=True):
        state = _initial_state(layer, sequences, state)
        layer._maybe_config_dropout_masks(layer.cell, sequences[:, 0, :], state)
        arrays.append(_arrays(layer.cell, sequences, state, used, training))
        layer._maybe_reset_dropout_masks(layer.cell)
    joined = self.return_sequences and self.merge_mode == "concat"
    outputs, states = _backend.lstm(
        arrays,
        # Keras turns the outputs of the second layer round in time, whichever way that one goes.
        [_direction(layer, layer.cell, flip=layer is layers[1]) for layer in layers],
        sequences=self.return_sequences,
        joined=joined,
    )
    for layer, state in zip(layers, states, strict=True):
        if layer.stateful:
            for kept, new in zip(layer.states, state, strict=True):
                kept.assign(new)
    if not self.return_sequences:
        ends = zip(layers, states, strict=True)
        outputs = tuple(_last(layer, h, used) for layer, (h, _) in ends)
    merged = outputs[0] if joined else _merged(self.merge_mode, *outputs)
    if not self.return_state:
        return merged
    flat = tuple(one for state in states for one in state)
    return (merged if self.merge_mode is None else (merged,)) + flat


def _merged(mode: str | None, y: Array, y_back: Array) -> Any:
    ways: dict[str | None, Callable[[], Any]] = {
        "concat": lambda: ops.concatenate([y, y_back], axis=-1),
        "sum": lambda: y + y_back,
        "ave": lambda: (y + y_back) / 2,
        "mul": lambda: y * y_back,
        None: lambda: (y, y_back),
    }
    return ways[mode]()


def _go_together(self: Any, x: Array, initial_state: Any, mask: Any) -> bool:
    """Whether two directions run as one; if not, each of them asks for itself."""
    halves = (self.forward_layer, self.backward_layer)
    if _is_symbolic(x) or not _backend.settled(_are_alike, self):
        return False
    if initial_state is not None and len(initial_state) != 4:
        return False
    for layer in halves:
        expected = layer._expected_batch_size if layer.stateful else None
        if expected not in (None, x.shape[0]):
            return False
    states = [] if initial_state is None else [initial_state[:2], initial_state[2:]]
    cells = [one.cell for one in halves]
    if _why_not_call(cells if states else [], x, states, mask):
        return False
    return _better_stock(cells, x) is None


def _are_alike(self: Any) -> bool:
    """Whether both halves of a bidirectional layer can run natively, and as one."""
    return not any(
        type(layer) is not LSTM
        or layer.activity_regularizer is not None
        or not layer.built
        or layer.compute_dtype != self.compute_dtype
        or _replaced(layer, _HALF)
        or _why_not_layer(layer)
        for layer in (self.forward_layer, self.backward_layer)
    )


def _initial_state(layer: Any, x: Array, given: Any) -> list[Array]:
    """As RNN.call makes it."""
    if given is None:
        size = ops.shape(x)[0]
        given = layer.states if layer.stateful else layer.get_initial_state(batch_size=size)
    return [ops.convert_to_tensor(one, dtype=layer.cell.compute_dtype) for one in given]


def _direction(
    layer: Any, cell: Any, *, zero: bool = True, backwards: bool = True, flip: bool = False
) -> Direction:
    return Direction(
        activation=_backend.settled(_activation, cell.activation),
        recurrent_activation=_backend.settled(_activation, cell.recurrent_activation),
        go_backwards=layer.go_backwards and backwards,
        zero_output=layer.zero_output_for_mask and zero,
        start_output=_starts_with_state(layer),
        flip=flip,
    )


def _starts_with_state(layer: Any) -> bool:
    """Whether Keras puts out h0 before the first step that is used, and not zeros."""
    return _backend.STARTS_WITH_STATE and not layer.unroll


def _arrays(cell: Any, x: Array, state: Any, mask: Array | None, training: Any) -> Arrays:
    dtype = cell.compute_dtype
    x = ops.cast(x, dtype)
    input_masks = recurrent_masks = None
    if training and 0.0 < cell.dropout < 1.0:
        drawn = cell.get_dropout_mask(x[:, 0, :])
        if isinstance(drawn, list):  # implementation 1: one for each gate
            input_masks = ops.cast(ops.stack(drawn), dtype)
        else:
            x = x * ops.cast(drawn, dtype)[:, None]
    if training and cell.implementation == 1 and 0.0 < cell.recurrent_dropout < 1.0:
        recurrent_masks = ops.cast(ops.stack(cell.get_recurrent_dropout_mask(state[0])), dtype)
    h0, c0, kernel, recurrent_kernel, bias = (
        None if one is None else ops.convert_to_tensor(one, dtype=dtype)
        for one in (*state, cell.kernel, cell.recurrent_kernel, cell.bias)
    )
    return Arrays(x, mask, h0, c0, kernel, recurrent_kernel, bias, input_masks, recurrent_masks)


def _as_mask(mask: Any) -> Array | None:
    """[batch, steps] of truth values; a step is used if any value of a wider mask is true."""
    if mask is None:
        return None
    mask = ops.cast(mask, "bool")
    return mask if len(mask.shape) == 2 else ops.any(mask, axis=tuple(range(2, len(mask.shape))))


def _last(layer: Any, h: Array, mask: Array | None) -> Array:
    """The output of the step that was processed last, from the state after it."""
    if mask is not None and layer.zero_output_for_mask:
        used = mask[:, 0] if layer.go_backwards else mask[:, -1]
        return ops.where(used[:, None], h, ops.zeros_like(h))
    if mask is not None and not _starts_with_state(layer):
        return ops.where(ops.any(mask, axis=1)[:, None], h, ops.zeros_like(h))
    return h


def _stepping_aside(owner: Any, name: str) -> Any:
    """The method of this name, with Keras's own loops within it."""
    original = _ORIGINAL[owner, name]

    @functools.wraps(original)
    def run(*arguments: Any, **options: Any) -> Any:
        before = getattr(_local, "exporting", False)
        _local.exporting = True
        try:
            return original(*arguments, **options)
        finally:
            _local.exporting = before

    return run


_REPLACEMENTS = {
    (LSTM, "inner_loop"): _lstm_inner_loop,
    (RNN, "inner_loop"): _rnn_inner_loop,
    (Bidirectional, "call"): _bidirectional_call,
    **{place: _stepping_aside(*place) for place in _EXPORTS},
}
