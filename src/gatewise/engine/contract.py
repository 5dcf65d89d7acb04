"""The contract between `hook.py`, which knows Keras, and a backend, which knows one framework.

A backend is a module that provides what `Backend` declares; `support.BACKENDS` names it. Another
framework needs one more module.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

Array = Any  # of the framework

ACTIVATIONS = (  # Keras's names, in the order of native/gatewise.h
    *("tanh", "sigmoid", "relu", "hard_sigmoid", "softsign", "elu", "linear"),
)
# What the operands of matrix products are rounded to, in the order of native/gatewise.h.
PRODUCTS = ("float32", "bfloat16", "bfloat16x3")
DTYPES = ("float32", "float64")
OLDEST = {"torch": "2.7"}  # the first version that has what the module of the backend calls
# The backends of Keras whose loop outputs h0 before the first unmasked step. That of the others
# outputs zeros, as unrolled loops do on every backend.
STARTS_WITH_STATE = frozenset({"jax", "numpy"})
NONE, APART, JOINED = range(3)  # no outputs; an array for each layer; all layers in one array


@dataclass(frozen=True)
class Direction:
    """How one layer processes its sequences."""

    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    go_backwards: bool = False  # steps are processed last to first
    zero_output: bool = False  # the output of a masked step is 0, not the previous output
    start_output: bool = True  # the output before the first unmasked step is h0, not 0
    flip: bool = False  # the outputs are stored in the reverse of the order of processing
    # One of PRODUCTS. For float64 layers it is "float32", which means that nothing is rounded. The
    # framework's plain operations never round.
    products: str = "float32"


class Arrays(NamedTuple):
    """The inputs of one layer, in the order of native/gatewise.h; None: absent."""

    x: Array  # [batch, steps, features]
    mask: Array | None  # [batch, steps] bool
    h0: Array | None  # [batch, units]
    c0: Array | None  # [batch, units]
    kernel: Array  # [features, 4 units], gates in Keras's order i, f, c, o
    recurrent_kernel: Array  # [units, 4 units]
    bias: Array | None  # [4 units]
    input_masks: Array | None = None  # [4, batch, features], one for each gate
    recurrent_masks: Array | None = None  # [4, batch, units]


DIFFERENTIABLE = ("x", "h0", "c0", "kernel", "recurrent_kernel", "bias")  # as in gatewise_gradient


class Few(NamedTuple):
    """Calls for which Keras's own loop is faster in one framework, as measured (docs/log.md).

    The kernels rearrange the weights in each call, which does not pay off over a few steps, and
    compute 16 units at a time, whereas XLA computes many rows at a time.
    """

    steps: int = 0  # fewer steps, of all rows together
    rows: int = 0  # one step for fewer rows
    units: int = 0  # no more units, for `many_rows` or more
    many_rows: int = 64
    wide: float = math.inf  # one or two steps of this many units


Outputs = tuple[Array, ...]
States = list[tuple[Array, Array]]


class Backend(Protocol):
    """The kernels inside one framework, as a module.

    A backend supports all that its framework does with a function: compilation, gradients of any
    order, vectorisation, distribution. Where the kernels cannot, it computes the same by plain
    operations of the framework, or `why_not` gives the reason.
    """

    # The framework's own functions for the name of an activation. A layer may hold any of them, and
    # they are compared by identity. `support.py` adds those of keras.activations and keras.ops.
    ALIASES: Mapping[str, Sequence[Callable[..., Any]]]

    FEW: Few  # the calls that are left to Keras

    # A backend may also have REPLACEMENTS: (class, name) of a method of Keras -> the function that
    # replaces it while the engine is on, because the method takes longer than a short loop.

    def missing(self) -> str | None:
        """Register the kernels with the framework; return why that is impossible, or None."""

    def why_not(self, x: Array | None = None, /) -> str | None:
        """Return why the kernels cannot run now, or cannot read `x`; None: they can."""

    def is_traced(self, x: Array) -> bool:
        """Whether `x` never has values in this process, so Keras's own loop must run.

        This is so if only shapes are inferred, or if the code is traced for a file that must run
        without gatewise. It is not so if the code is compiled for this process.
        """

    def is_hooked(self, layer: Any, /) -> bool:
        """Whether the framework calls functions of the user's around `layer` itself."""

    def settled(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return `function(*arguments)`, which depends on no value of an array.

        A framework that compiles Python code calls the function once and keeps the result.
        """

    def lstm(
        self,
        layers: Sequence[Arrays],
        directions: Sequence[Direction],
        *,
        sequences: bool = True,
        joined: bool = False,
    ) -> tuple[Outputs, States]:
        """Run one layer, or several on the same batch at once; return outputs, and h and c of each.

        Outputs are [batch, steps, units] in the order of processing, one array for each layer; with
        `joined`, one array [batch, steps, sum of units]; without `sequences`, none. Dropout masks
        are constants.

        Raises:
            EngineError: the kernels are missing; `missing` gives the reason.
            ValueError: shape or dtype of an array do not fit the others.
        """


def check(layers: Sequence[Arrays], dtype_of: Callable[[Array], str]) -> None:
    """Refuse arrays that do not fit each other, because the kernels do not check sizes.

    A size that the framework does not know yet is None, and fits.

    Raises:
        ValueError: shape or dtype of an array do not fit the others.
    """
    first = layers[0].x
    for arrays in layers:
        for name, array, shape in zip(Arrays._fields, arrays, _shapes(arrays, first), strict=True):
            if array is None:
                continue
            dtype = "bool" if name == "mask" else dtype_of(first)
            if not fits(array.shape, shape) or dtype_of(array) != dtype:
                raise ValueError(
                    f"{name} is {dtype_of(array)}{list(array.shape)}; "
                    f"the kernels need {dtype}{list(shape)}"
                )
    if dtype_of(first) not in DTYPES:
        raise ValueError(f"x is {dtype_of(first)}; the kernels know {' and '.join(DTYPES)}")


def _shapes(arrays: Arrays, first: Array) -> Arrays:
    """The required shape of each array."""
    batch, steps = first.shape[:2]
    features = arrays.x.shape[-1]
    units = arrays.recurrent_kernel.shape[0]
    return Arrays(
        (batch, steps, features),
        (batch, steps),
        (batch, units),
        (batch, units),
        (features, 4 * units),
        (units, 4 * units),
        (4 * units,),
        (4, batch, features),
        (4, batch, units),
    )


def fits(found: Sequence[int | None], wanted: Sequence[int | None]) -> bool:
    """Whether a shape is the wanted one and not empty, as far as its sizes are known."""
    return len(found) == len(wanted) and all(
        one != 0 and (one is None or other is None or one == other)
        for one, other in zip(found, wanted, strict=True)
    )
