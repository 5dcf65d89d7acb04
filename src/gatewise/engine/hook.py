"""Replace Keras's own LSTM loops by the kernels.

Methods are replaced on their classes, so that every layer of every model takes part and no layer is
changed. LSTM.inner_loop, RNN.inner_loop (for cells that are LSTMCells) and Bidirectional.call (both
directions at once) run on the kernels; the original method runs what they do not support
(`support.py` gives the reason), and everything that Keras traces in order to export it, which the
methods that export announce. CallbackList._async_dispatch is skipped where no callback needs its
thread, which takes longer than a short loop. A backend may add its own replacements.

This module names no framework. `contract.py` says what hook and backend expect of each other.
"""

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops
from keras.callbacks import CallbackList
from keras.layers import LSTM, RNN, Bidirectional, StackedRNNCells

from gatewise.engine import library, support
from gatewise.engine.contract import (
    STARTS_WITH_STATE,
    Array,
    Arrays,
    Direction,
    Outputs,
    States,
)
from gatewise.engine.support import backend
from gatewise.errors import EngineError

log = logging.getLogger("gatewise")

# These methods write files that run elsewhere, without the kernels.
_EXPORTS = (
    (keras.Model, "export"),
    *((keras.export.ExportArchive, name) for name in ("track", "add_endpoint", "write_out")),
)
_local = threading.local()  # exporting: True within such a method

_LOOPS = ((LSTM, "inner_loop"), (RNN, "inner_loop"), (Bidirectional, "call"))
_DISPATCH = (CallbackList, "_async_dispatch")
_BESIDE: dict[tuple[Any, str], Any] = getattr(backend, "REPLACEMENTS", {})
_ORIGINAL: dict[tuple[Any, str], Any] = {
    (owner, name): getattr(owner, name, None)
    for owner, name in (*_LOOPS, _DISPATCH, *_EXPORTS, *_BESIDE)
}
_strict = False  # raise an error where `auto` would step aside
_products = "float32"  # what the matrix products of float32 layers round their operands to
_said: set[str] = set()
# Calls of LSTM layers since the process began; a compiled call counts once.
calls = {"native": 0, "stock": 0}


def install(*, strict: bool, products: str) -> None:
    """Replace the loops; `strict` raises an error where stock Keras would run instead."""
    global _strict, _products
    _strict, _products = strict, products
    # Each training step allocates the same large arrays; fresh pages for them took a third of the
    # step of a text classifier (docs/log.md).
    if library.why_not() is None:
        library.keep_memory()
    for (owner, name), replacement in _REPLACEMENTS.items():
        # Another library's replacement stays, whether it came before ours or after.
        method = getattr(owner, name, None)
        if method is _ORIGINAL[owner, name] and support.is_of_keras(method):
            setattr(owner, name, replacement)


def remove() -> None:
    """Restore Keras's methods, except those that another library has replaced since."""
    for (owner, name), replacement in _REPLACEMENTS.items():
        if getattr(owner, name, None) is replacement:
            setattr(owner, name, _ORIGINAL[owner, name])


def _is_symbolic(x: Any) -> bool:
    """Whether this call only infers shapes, or is traced for an export."""
    # Private to Keras, so it is imported only when the version is known to have it.
    from keras.src.backend.common.symbolic_scope import in_symbolic_scope

    return in_symbolic_scope() or getattr(_local, "exporting", False) or backend.is_traced(x)


def _steps_aside(
    layer: Any, cells: Sequence[Any], x: Array, states: Any, mask: Array | None
) -> bool:
    """Whether stock Keras runs this call; logs each reason once.

    What depends on no array is `settled`: a compiler evaluates it once and does not trace it. The
    reasons come last, because they take longer than a short loop.
    """
    if not _strict and (better := support.better_stock(cells, x)):
        return bool(backend.settled(_decide, layer, None, better))
    reason = backend.settled(support.why_not_layer, layer) or support.why_not_call(
        cells, x, states, mask
    )
    return bool(backend.settled(_decide, layer, reason, None))


def _decide(layer: Any, reason: str | None, better: str | None) -> bool:
    """Count what runs a call and log why it is not native, unless stock is merely faster."""
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
    """Log a reason the first time that it occurs."""
    if reason not in _said:
        _said.add(reason)
        log.warning("%s %s", before, reason)


def _lstm_inner_loop(
    self: Any, sequences: Array, initial_state: Any, mask: Any, training: Any = False
) -> Any:
    """Replace LSTM.inner_loop."""
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
    """Replace RNN.inner_loop."""
    original = _ORIGINAL[RNN, "inner_loop"]
    # An LSTM layer that has already stepped aside arrives here, too.
    if not isinstance(self, LSTM) and support.is_lstm(self) and not _is_symbolic(sequences):
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
    """Return the results of an inner_loop, with the state of each cell in a list.

    Stacked cells run one after another, each over all steps. They share the mask, so no cell reads
    the output of the cell below at a masked step.
    """
    mask = _as_mask(mask)
    after = []
    for cell, state in zip(cells, states, strict=True):
        first, final = cell is cells[0], cell is cells[-1]
        # The outputs of a cell are in the order of processing, and the cell above reads them so.
        used = mask if first or mask is None or not layer.go_backwards else ops.flip(mask, axis=1)
        outputs, ((h, c),) = _lstm(
            cell.compute_dtype,
            [_arrays(cell, x, state, used, training)],
            [_direction(layer, cell, zero=final, backwards=first)],
            sequences=layer.return_sequences or not final,
        )
        after.append([h, c])
        x = outputs[0] if outputs else x
    last = _last(layer, h, mask)
    return last, outputs[0] if layer.return_sequences else last[:, None], after


def _lstm(dtype: str, *arguments: Any, **options: Any) -> tuple[Outputs, States]:
    """Call the kernels; outputs and states have the dtype in which Keras computes."""
    outputs, states = backend.lstm(*arguments, **options)
    if dtype != "bfloat16":
        return outputs, states
    return (
        tuple(ops.cast(one, dtype) for one in outputs),
        [(ops.cast(h, dtype), ops.cast(c, dtype)) for h, c in states],
    )


def _bidirectional_call(
    self: Any,
    sequences: Array,
    initial_state: Any = None,
    mask: Any = None,
    training: Any = None,
) -> Any:
    """Replace Bidirectional.call: both directions in one call if the kernels support both."""
    plain_mask = mask[0] if keras.tree.is_nested(mask) else mask
    if not _go_together(self, sequences, initial_state, plain_mask):
        original = _ORIGINAL[Bidirectional, "call"]
        return original(self, sequences, initial_state=initial_state, mask=mask, training=training)
    for one in (self.forward_layer, self.backward_layer):
        backend.settled(_decide, one, None, None)
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
    outputs, states = _lstm(
        self.compute_dtype,
        arrays,
        # Keras reverses the outputs of the second layer in time, whatever its own direction is.
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
    """Whether both directions run in one call; otherwise each of them decides alone."""
    halves = (self.forward_layer, self.backward_layer)
    cells = [one.cell for one in halves]
    if _is_symbolic(x) or (not _strict and support.better_stock(cells, x)):
        return False
    if not backend.settled(support.supports_both, self):
        return False
    if initial_state is not None and len(initial_state) != 4:
        return False
    for layer in halves:
        expected = layer._expected_batch_size if layer.stateful else None
        if expected not in (None, x.shape[0]):
            return False
    states = [] if initial_state is None else [initial_state[:2], initial_state[2:]]
    return support.why_not_call(cells if states else [], x, states, mask) is None


def _initial_state(layer: Any, x: Array, given: Any) -> list[Array]:
    """Return the initial state as RNN.call would make it."""
    if given is None:
        size = ops.shape(x)[0]
        given = layer.states if layer.stateful else layer.get_initial_state(batch_size=size)
    return [ops.convert_to_tensor(one, dtype=layer.cell.compute_dtype) for one in given]


def _direction(
    layer: Any, cell: Any, *, zero: bool = True, backwards: bool = True, flip: bool = False
) -> Direction:
    return Direction(
        activation=backend.settled(support.activation_name, cell.activation),
        recurrent_activation=backend.settled(support.activation_name, cell.recurrent_activation),
        go_backwards=layer.go_backwards and backwards,
        zero_output=layer.zero_output_for_mask and zero,
        start_output=_starts_with_state(layer),
        flip=flip,
        products=backend.settled(support.products, cell, _products),
    )


def _starts_with_state(layer: Any) -> bool:
    """Whether Keras outputs h0, not zeros, before the first step that is not masked."""
    return keras.backend.backend() in STARTS_WITH_STATE and not layer.unroll


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
    arrays = [x, h0, c0, kernel, recurrent_kernel, bias, input_masks, recurrent_masks]
    if dtype == "bfloat16":  # what the kernels keep, such as the state of the cell, is float32
        arrays = [None if one is None else ops.cast(one, "float32") for one in arrays]
    return Arrays(arrays[0], mask, *arrays[1:])


def _as_mask(mask: Any) -> Array | None:
    """Return a mask [batch, steps] of booleans: any true value of a wider mask uses the step."""
    if mask is None:
        return None
    mask = ops.cast(mask, "bool")
    return mask if len(mask.shape) == 2 else ops.any(mask, axis=tuple(range(2, len(mask.shape))))


def _last(layer: Any, h: Array, mask: Array | None) -> Array:
    """Return the output of the step that was processed last, given the state after it."""
    if mask is not None and layer.zero_output_for_mask:
        used = mask[:, 0] if layer.go_backwards else mask[:, -1]
        return ops.where(used[:, None], h, ops.zeros_like(h))
    if mask is not None and not _starts_with_state(layer):
        return ops.where(ops.any(mask, axis=1)[:, None], h, ops.zeros_like(h))
    return h


def _stepping_aside(owner: Any, name: str) -> Any:
    """Return a replacement of this method in which Keras's own loops run."""
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


def _dispatch(self: CallbackList, function: Callable[..., Any], *arguments: Any) -> None:
    """Replace CallbackList._async_dispatch: no thread for callbacks that ignore the batch.

    Without a progress bar, few callbacks do anything after a batch. The thread that calls them
    can take almost half of `predict` for one sequence (docs/log.md).
    """
    methods = (function.__name__.removeprefix("_"), "on_batch_end")
    ignored = all(
        getattr(getattr(callback, method, None), "_is_default", False)  # Keras's own mark
        for callback in self.callbacks
        for method in methods
    )
    if not ignored:
        _ORIGINAL[_DISPATCH](self, function, *arguments)


_REPLACEMENTS = {
    (LSTM, "inner_loop"): _lstm_inner_loop,
    (RNN, "inner_loop"): _rnn_inner_loop,
    (Bidirectional, "call"): _bidirectional_call,
    _DISPATCH: _dispatch,
    **{place: _stepping_aside(*place) for place in _EXPORTS},
    **_BESIDE,
}
