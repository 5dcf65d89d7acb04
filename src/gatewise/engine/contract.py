"""The contract between Keras's layers and the frameworks: what each back end of the engine offers.

`hook.py` meets Keras and knows no framework. It hands arrays to the back end, a module that
`BACKENDS` there names and that offers what `Backend` says. Another framework is another module.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

Array = Any  # of the framework

ACTIVATIONS = (  # in the order of native/gatewise.h, by Keras's names
    *("tanh", "sigmoid", "relu", "hard_sigmoid", "softsign", "elu", "linear"),
)
PRODUCTS = (
    "float32",
    "bfloat16",
    "bfloat16x3",
)  # the operands of matrix products, in that order, too
DTYPES = ("float32", "float64")
NONE, APART, JOINED = range(3)  # outputs are not wanted; an array a layer; side by side in one


@dataclass(frozen=True)
class Direction:
    """How one layer goes over its sequences."""

    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    go_backwards: bool = False  # steps are processed last to first
    zero_output: bool = False  # the output of a masked step is 0, not that of the step before
    start_output: bool = True  # what is put out before the first step that is not masked: h0, or 0
    flip: bool = False  # outputs lie in the reverse of the order of processing
    # What the operands of the matrix products are rounded to; float64 layers know "float32" only,
    # which stands for their own type. Plain operations of the framework do not round.
    products: str = "float32"


class Arrays(NamedTuple):
    """What one layer reads; None: absent. In the order of native/gatewise.h."""

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

Outputs = tuple[Array, ...]
States = list[tuple[Array, Array]]


class Backend(Protocol):
    """The kernels inside one framework, as a module.

    A back end keeps whatever its framework does with a function: compiling, gradients of any
    order, vectorising, distribution. Where the kernels cannot follow, it computes the same in plain
    operations of the framework, or `why_not` says so.
    """

    # For the name of an activation, the framework's own functions that compute it. A layer may hold
    # any of them; they are known by identity. `hook.py` adds those of keras.activations and
    # keras.ops.
    ALIASES: Mapping[str, Sequence[Callable[..., Any]]]

    # What Keras's loop in this framework puts out before the first step that is not masked, in a
    # layer that is not unrolled: h0 (True) or zeros (False). Unrolled, it is zeros everywhere.
    STARTS_WITH_STATE: bool

    # A back end may also name REPLACEMENTS: methods of Keras, by class and name, and what is put in
    # their place while the engine is on, because a short loop waits for them.

    def missing(self) -> str | None:
        """Bring the kernels into the framework; why that cannot be done, or None when it is."""

    def why_not(self, x: Array | None = None, /) -> str | None:
        """Why the kernels cannot compute here and now, or cannot read `x`; None: they can."""

    def is_traced(self, x: Array) -> bool:
        """Whether `x` has no numbers and never will have them here, so that Keras's loop runs.

        That is so where only shapes are asked for, and where code is traced for a file that has to
        run without gatewise. An array that is compiled for this process is not meant.
        """

    def settled(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(*arguments)`, which no number of an array changes.

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
        """One layer, or several of the same batch at once: outputs, and h and c of each.

        Outputs are [batch, steps, units] in the order of processing, one for each layer; with
        `joined` there is one [batch, steps, sum of units]; without `sequences` there is none. The
        dropout masks are taken as constants.

        Raises:
            EngineError: the kernels cannot be had; `missing` says so before.
            ValueError: an array does not have the shape or the dtype that the others ask for.
        """


def check(layers: Sequence[Arrays], dtype_of: Callable[[Array], str]) -> None:
    """Refuse arrays that do not fit each other: the kernels trust the sizes that they are given.

    A size that the framework does not know yet is None, and is taken for the right one.
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
    """The shape that each array must have."""
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
    """Whether a shape is the wanted one and not empty, as far as both are known."""
    return len(found) == len(wanted) and all(
        one != 0 and (one is None or other is None or one == other)
        for one, other in zip(found, wanted, strict=True)
    )
