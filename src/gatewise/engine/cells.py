"""Cells: a stack of LSTM layers that runs one step at a time on packed weights."""

import ctypes
from collections.abc import Sequence
from ctypes import byref
from typing import Any, NamedTuple

import numpy as np

from gatewise.engine import library
from gatewise.engine.contract import ACTIVATIONS
from gatewise.errors import EngineError

Array = Any
WEIGHTS = ("float32", "int8")  # enum gatewise_weights, in its order


class Layer(NamedTuple):
    """One layer: float32 weights in Keras's layout, and activations of `contract.ACTIVATIONS`."""

    kernel: Array  # [features, 4 units]
    recurrent_kernel: Array  # [units, 4 units]
    bias: Array | None  # [4 units]
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"


class Cells:
    """A stack of layers, of which each reads the output of the one before.

    Args:
        layers: from the first to the last.
        weights: float32, or int8: rounded to 255 levels with a scale for each column, which take a
            quarter of the memory.

    Raises:
        EngineError: the library is missing, or a layer does not fit; `why_not` says so before.
    """

    def __init__(self, layers: Sequence[Layer], weights: str = "float32") -> None:
        if weights not in WEIGHTS:
            raise EngineError(
                f"Packed weights are of {' or '.join(WEIGHTS)}. Received: {weights!r}."
            )
        self.features = len(layers[0].kernel)
        self.units = sum(len(layer.recurrent_kernel) for layer in layers)
        self.last = len(layers[-1].recurrent_kernel)  # units of the last layer
        self._library = library.load()
        held, given = [], (library.Cell * len(layers))()
        for cell, layer in zip(given, layers, strict=True):
            _check_shapes(layer)
            arrays = [
                None if one is None else np.ascontiguousarray(one, np.float32)
                for one in (layer.kernel, layer.recurrent_kernel, layer.bias)
            ]
            held.append(arrays)  # until they are packed
            cell.features, cell.units = len(layer.kernel), len(layer.recurrent_kernel)
            cell.activation = ACTIVATIONS.index(layer.activation)
            cell.recurrent_activation = ACTIVATIONS.index(layer.recurrent_activation)
            cell.kernel, cell.recurrent_kernel, cell.bias = (
                None if one is None else one.ctypes.data for one in arrays
            )
        self._handle = ctypes.c_void_p()
        kind = WEIGHTS.index(weights)
        library.check(
            self._library.gatewise_cells_pack(given, len(layers), kind, byref(self._handle))
        )

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.gatewise_cells_free(self._handle)

    def __call__(self, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        """The states h and c [batch, units of all layers] after a step x [batch, features].

        The output of the stack is the last `last` columns of h.

        Raises:
            EngineError: an array has another shape.
        """
        x, h, c = (np.ascontiguousarray(one, np.float32) for one in (x, h, c))
        states = (len(x), self.units)
        if (x.shape, h.shape, c.shape) != ((len(x), self.features), states, states):
            raise EngineError(
                f"The step is {x.shape}, the states are {h.shape} and {c.shape}; the layers need "
                f"{(len(x), self.features)} and twice {states}."
            )
        h_next, c_next = np.empty_like(h), np.empty_like(c)
        pointers = library.States(
            *(one.__array_interface__["data"][0] for one in (x, h, c, h_next, c_next))
        )
        library.check(self._library.gatewise_cells_step(self._handle, len(x), byref(pointers)))
        return h_next, c_next


class Stepping:
    """Cells with states of their own, for the shortest way from Python to the kernels.

    >>> import numpy as np
    >>> layer = Layer(np.ones((2, 12)), np.ones((3, 12)), None)
    >>> stepping = Stepping(Cells([layer]))
    >>> stepping.step([0.5, -0.5]).shape
    (1, 3)

    Args:
        cells: the packed layers.
        batch: the rows of each step.
    """

    def __init__(self, cells: Cells, batch: int = 1) -> None:
        self.x = np.zeros((batch, cells.features), np.float32)
        self._states = np.zeros((2, 2, batch, cells.units), np.float32)  # [turn, h or c, ...]
        self._cells, self._turn = cells, 0
        # Views and arguments are made once, because they cost more than a step.
        self._outputs = [self._states[turn, 0, :, cells.units - cells.last :] for turn in (0, 1)]
        pointers = []
        for turn in (0, 1):
            before, after = self._states[turn], self._states[1 - turn]
            arrays = (self.x, before[0], before[1], after[0], after[1])
            pointers.append(library.States(*(one.ctypes.data for one in arrays)))
        self._pointers = [byref(one) for one in pointers]
        self._batch = ctypes.c_int64(batch)
        self._step = cells._library.gatewise_cells_step
        self._handle = cells._handle

    def step(self, x: Array) -> Array:
        """The output [batch, units] after one more step x [batch, features].

        It is a view, which the step after the next one overwrites.
        """
        self.x[...] = x
        turn = self._turn
        self._step(self._handle, self._batch, self._pointers[turn])
        self._turn = 1 - turn
        return self._outputs[1 - turn]

    @property
    def states(self) -> Array:
        """The states h and c of all layers, [2, batch, units of all layers]; assign to restore."""
        return self._states[self._turn].copy()

    @states.setter
    def states(self, states: Array) -> None:
        self._states[self._turn] = states


def _check_shapes(layer: Layer) -> None:
    """Check that the weights fit each other; the library knows their sizes only from two of them.

    Raises:
        EngineError: a weight has another shape.
    """
    units = len(layer.recurrent_kernel)
    wanted = {
        "kernel": (len(layer.kernel), 4 * units),
        "recurrent_kernel": (units, 4 * units),
        "bias": (4 * units,),
    }
    for name, shape in wanted.items():
        array = getattr(layer, name)
        if array is not None and np.shape(array) != shape:
            raise EngineError(f"{name} has the shape {np.shape(array)}; {shape} is needed.")


def why_not(layer: Layer) -> str | None:
    """Why a layer cannot run here step by step on packed weights; None: it can."""
    for name in (layer.activation, layer.recurrent_activation):
        if name not in ACTIVATIONS:
            return f"activation {name!r} has no kernel; known: {', '.join(ACTIVATIONS)}"
    if layer.kernel.dtype != np.float32:
        return f"the weights are {layer.kernel.dtype}, not float32"
    return library.why_not()
