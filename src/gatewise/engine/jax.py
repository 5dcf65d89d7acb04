"""The kernels inside JAX: `lstm`, a function like any other to jit, grad, vmap, scan and sharding.

    custom_jvp              the tangents of the outputs; their transpose gives the gradients
      custom_vmap           the mapped axis joins the batch if possible, else one call after another
        custom_partitioning over devices: rows of the batch apart, gradients of weights summed
          primitive         native/xla.cpp through ffi_call, or plain JAX

`_plain` computes the same in plain JAX, where the kernels cannot: in exported code, which must run
without gatewise, on other processors, and for second derivatives.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero
from jax.experimental.custom_partitioning import custom_partitioning
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec

from gatewise.engine import library
from gatewise.engine.contract import (
    APART,
    DIFFERENTIABLE,
    JOINED,
    NONE,
    PRODUCTS,
    Arrays,
    Direction,
    Few,
    check,
)
from gatewise.errors import EngineError

Array = Any

ACTIVATIONS = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "softsign": jax.nn.soft_sign,
    "elu": jax.nn.elu,
    "linear": lambda x: x,
}
ALIASES = {
    "tanh": (jnp.tanh, jax.nn.tanh, jax.lax.tanh),
    "sigmoid": (jax.nn.sigmoid, jax.lax.logistic),
    **{name: (ACTIVATIONS[name],) for name in ("relu", "hard_sigmoid", "softsign", "elu")},
}
FEW = Few(steps=8, rows=64, units=4)

# The letters of the axes of `Arrays`; the digit after a letter is the number of the layer.
LETTERS = Arrays("b t i0", "b t", "b u0", "b u0", "i0 g0", "u0 g0", "g0", "four b i0", "four b u0")
SUMMED = DIFFERENTIABLE[3:]  # over the batch


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that is known of a call before its values."""

    directions: tuple[Direction, ...]
    outputs: int


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Wanted:
    """The names of the gradients that are wanted of each layer."""

    names: tuple[tuple[str, ...], ...]


def lstm(
    layers: Sequence[Arrays],
    directions: Sequence[Direction],
    *,
    sequences: bool = True,
    joined: bool = False,
) -> tuple[tuple[Array, ...], list[tuple[Array, Array]]]:
    """See contract.py."""
    if reason := missing():
        raise EngineError(reason)
    check(layers, lambda one: str(one.dtype))
    outputs = (JOINED if joined else APART) if sequences else NONE
    masks = ("input_masks", "recurrent_masks")
    constant = [
        one._replace(**{name: jax.lax.stop_gradient(getattr(one, name)) for name in masks})
        for one in layers
    ]
    return _lstm(Plan(tuple(directions), outputs), _alike(constant))


def _alike(layers: Sequence[Arrays]) -> tuple[Arrays, ...]:
    """Let each array vary over all devices of a `shard_map` over which any of them varies.

    JAX does so for its own functions. Otherwise gradients would not be summed over devices.
    """
    leaves, tree = jax.tree.flatten(tuple(layers))
    axes = [_varying(one) for one in leaves]
    every = frozenset().union(*axes)
    missing = [tuple(sorted(every - some)) for some in axes]
    return jax.tree.unflatten(tree, [_vary(*pair) for pair in zip(leaves, missing, strict=True)])


def _varying(one: Array) -> frozenset[str]:
    """The axes of a mesh over which an array varies; before 0.10, JAX used other names."""
    known = jax.typeof(one)
    mat = getattr(known, "mat", None)
    found: frozenset[str] = mat.varying if mat is not None else getattr(known, "vma", frozenset())
    return found


def _vary(one: Array, axes: tuple[str, ...]) -> Array:
    if not axes:
        return one
    if hasattr(jax.lax, "pcast"):
        return jax.lax.pcast(one, axes, to="varying")
    return getattr(jax.lax, "pvary")(one, axes)  # noqa: B009  # gone from newer types


def why_not(_x: Array | None = None, /) -> str | None:
    """See contract.py; all arrays are on one platform."""
    if reason := missing():
        return reason
    platform = jax.default_backend()
    return None if platform == "cpu" else f"JAX computes on {platform}, and the kernels on the CPU."


def is_traced(x: Array) -> bool:
    """Whether an export with open sizes is traced; other exports get plain JAX (`_plain`)."""
    return not all(isinstance(size, int) for size in getattr(x, "shape", (None,)))


def is_hooked(_layer: Any, /) -> bool:
    """See contract.py."""
    return False


def settled(function: Callable[..., Any], *arguments: Any) -> Any:
    """See contract.py; JAX runs Python code as it is."""
    return function(*arguments)


# The newest version of XLA's interface that is known to take the handlers: 0.5, in jaxlib 0.12.
NEWEST_KNOWN = 5


@functools.cache
def missing() -> str | None:
    """Register the kernels with JAX; return why that is impossible, or None."""
    try:
        native = library.load()
    except EngineError as error:
        return str(error)
    if not hasattr(native, "gatewise_xla_version"):
        return (
            "The C++ core of gatewise was built without the headers of JAX, so it cannot run "
            "there. Install gatewise again with jaxlib at hand."
        )
    built, known = native.gatewise_xla_version(), _runtime_version()
    # JAX refuses a handler built for a newer interface or for one that is too old. If it has no CPU
    # backend yet, it does so when it creates one, which then fails.
    if known is None or built > known or built // 1000 != known // 1000:
        return (
            f"The C++ core of gatewise speaks version {_dotted(built)} of XLA's interface, and "
            f"jaxlib {version('jaxlib')} {_dotted(known)}. Install a newer jax."
        )
    if known > NEWEST_KNOWN:
        jax.devices()  # then a refusal is an error of the registration
    try:
        for name in ("gatewise_xla_forward", "gatewise_xla_backward"):
            capsule = jax.ffi.pycapsule(getattr(native, name))
            jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    except jax.errors.JaxRuntimeError as error:
        return (
            f"jaxlib {version('jaxlib')} refuses the C++ core of gatewise, which speaks version "
            f"{_dotted(built)} of XLA's interface. Install an older jax or a newer gatewise. "
            f"{error}"
        )
    return None


def _runtime_version() -> int | None:
    """The version of XLA's FFI in this jaxlib, read from its header."""
    header = Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h"
    try:
        found = re.findall(
            r"#define XLA_FFI_API_(MAJOR|MINOR) (\d+)", header.read_text(encoding="utf-8")
        )
    except OSError:
        return None
    numbers = {name: int(number) for name, number in found}
    return numbers["MAJOR"] * 1000 + numbers["MINOR"] if len(numbers) == 2 else None


def _dotted(version: int | None) -> str:
    return "an unknown one" if version is None else f"{version // 1000}.{version % 1000}"


# The derivative. Its rule gives the tangents of the outputs, a linear function of the tangents of
# the arrays. Reverse mode transposes that function and gets the gradients from the kernels. Forward
# mode computes it in plain JAX.


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _lstm(plan: Plan, layers: tuple[Arrays, ...]) -> Any:
    outputs, states, _ = _forward(plan, layers, training=False)
    return outputs, states


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _trained(plan: Plan, layers: tuple[Arrays, ...]) -> Any:
    """Return the results of `_lstm`, and the reserves that a gradient needs."""
    return _forward(plan, layers, training=True)


def _lstm_jvp(plan: Plan, primals: Any, tangents: Any) -> Any:
    (outputs, states, _), moved = _moved(plan, *primals, *tangents)
    return (outputs, states), moved


def _trained_jvp(plan: Plan, primals: Any, tangents: Any) -> Any:
    found, moved = _moved(plan, *primals, *tangents)
    return found, (*moved, jax.tree.map(jnp.zeros_like, found[2]))  # the last one: reserves


def _moved(plan: Plan, layers: tuple[Arrays, ...], tangents: tuple[Arrays, ...]) -> Any:
    """Return the results of `_trained`, and the tangents of its outputs and states."""
    found = _trained(plan, layers)
    given = [
        {
            name: getattr(one, name)
            for name in DIFFERENTIABLE
            if not isinstance(getattr(one, name), SymbolicZero | None)
        }
        for one in tangents
    ]
    wanted = _Wanted(tuple(tuple(one) for one in given))
    dots = [list(one.values()) for one in given]
    leaves, tree = jax.tree.flatten((layers, found[2], dots))
    moved = tangent_p.bind(*leaves, plan=plan, tree=tree, wanted=wanted)
    return found, _outputs_and_states(plan, moved)


_lstm.defjvp(_lstm_jvp, symbolic_zeros=True)
_trained.defjvp(_trained_jvp, symbolic_zeros=True)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _gradient(plan: Plan, wanted: _Wanted, layers: Any, reserves: Any, given: Any) -> Any:
    """Return the wanted gradients of each layer, which plain JAX can differentiate again."""
    leaves, tree = jax.tree.flatten((layers, reserves, given))
    found = list(_native_backward(plan, tree, wanted)(*leaves))
    return [[found.pop(0) for _ in names] for names in wanted.names]


@_gradient.defjvp
def _gradient_jvp(plan: Plan, wanted: _Wanted, primals: Any, tangents: Any) -> Any:
    found = _gradient(plan, wanted, *primals)
    (layers, _, given), (dlayers, _, dgiven) = primals, tangents
    _, moved = jax.jvp(
        functools.partial(_plain_gradient, plan, wanted), (layers, given), (dlayers, dgiven)
    )
    return found, moved


# The call of XLA.


def _forward(plan: Plan, layers: tuple[Arrays, ...], *, training: bool) -> Any:
    leaves, tree = jax.tree.flatten(layers)
    found = _native_forward(plan, tree, training)(*leaves)
    count = _count_outputs(plan) + 2 * len(layers)
    return *_outputs_and_states(plan, found[:count]), tuple(found[count:])


def _outputs_and_states(plan: Plan, found: Sequence[Array]) -> Any:
    count = _count_outputs(plan)
    outputs, states = tuple(found[:count]), found[count:]
    return outputs, list(zip(states[::2], states[1::2], strict=True))


def _count_outputs(plan: Plan) -> int:
    return {NONE: 0, APART: len(plan.directions), JOINED: 1}[plan.outputs]


def _shapes_forward(leaves: Sequence[Any], plan: Plan, tree: Any, training: bool) -> list[Any]:
    """Return the shapes of outputs, states and reserves."""
    layers = jax.tree.unflatten(tree, leaves)
    batch, steps, _ = layers[0].x.shape
    dtype = layers[0].x.dtype
    units = [one.recurrent_kernel.shape[0] for one in layers]
    widths: list[int] = {NONE: [], APART: units, JOINED: [sum(units)]}[plan.outputs]
    shapes: list[tuple[int, ...]] = [(batch, steps, width) for width in widths]
    shapes += [(batch, size) for size in units for _ in "hc"]
    if training:
        shapes += [(batch, library.reserve_size(steps, size)) for size in units]
    return [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]


def _shapes_tangent(leaves: Sequence[Any], *, plan: Plan, tree: Any, **_: Any) -> list[Any]:
    """Return the shapes of outputs and states."""
    layers, _, _ = jax.tree.unflatten(tree, leaves)
    some, inner = jax.tree.flatten(layers)
    return _shapes_forward(some, plan, inner, False)


def _shapes_backward(leaves: Sequence[Any], *, tree: Any, wanted: _Wanted, **_: Any) -> list[Any]:
    """Return the shapes of the wanted gradients."""
    layers, _, _ = jax.tree.unflatten(tree, leaves)
    arrays = [
        getattr(one, name)
        for one, names in zip(layers, wanted.names, strict=True)
        for name in names
    ]
    return [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in arrays]


def _letters_forward(plan: Plan, tree: Any, training: bool) -> tuple[list[str], list[str]]:
    """Return the letters of the axes of operands and results."""
    count = len(plan.directions)
    layers = [
        jax.tree.map(lambda text, n=n: text.replace("0", str(n)), LETTERS) for n in range(count)
    ]
    present = _present(tree, count)
    operands = [
        getattr(one, name)
        for one, names in zip(layers, present, strict=True)
        for name in Arrays._fields
        if name in names
    ]
    results = {NONE: [], APART: [f"b t u{n}" for n in range(count)], JOINED: ["b t w"]}
    states = [f"b u{n}" for n in range(count) for _ in "hc"]
    reserves = [f"b r{n}" for n in range(count)] if training else []
    return operands, results[plan.outputs] + states + reserves


def _letters_backward(plan: Plan, tree: Any, wanted: _Wanted) -> tuple[list[str], list[str]]:
    count = len(plan.directions)
    dummy = jax.tree.unflatten(tree, range(tree.num_leaves))
    operands, results = _letters_forward(plan, jax.tree.structure(dummy[0]), True)
    outputs, states = results[: _count_outputs(plan)], results[_count_outputs(plan) : -count]
    operands += results[-count:]
    operands += [one for one, here in zip(outputs, dummy[2][0], strict=True) if here is not None]
    flat = [one for pair in dummy[2][1] for one in pair]
    operands += [one for one, here in zip(states, flat, strict=True) if here is not None]
    return operands, [
        getattr(LETTERS, name).replace("0", str(n))
        for n, names in enumerate(wanted.names)
        for name in names
    ]


def _present(tree: Any, count: int) -> list[list[str]]:
    """Return the names of the arrays of each layer."""
    layers = jax.tree.unflatten(tree, [True] * tree.num_leaves)
    assert len(layers) == count
    return [[name for name in Arrays._fields if getattr(one, name)] for one in layers]


def _numbers(plan: Plan, tree: Any, wanted: _Wanted | None = None) -> np.ndarray:
    """Return the attribute `layers` of native/xla.cpp."""
    known = list(ACTIVATIONS)
    rows = []
    for n, (one, present) in enumerate(
        zip(plan.directions, _present(tree, len(plan.directions)), strict=True)
    ):
        names = wanted.names[n] if wanted else ()
        rows += [
            known.index(one.activation),
            known.index(one.recurrent_activation),
            one.go_backwards,
            one.zero_output,
            one.start_output,
            one.flip,
            PRODUCTS.index(one.products),
            sum(1 << bit for bit, name in enumerate(Arrays._fields) if name in present),
            sum(1 << bit for bit, name in enumerate(DIFFERENTIABLE) if name in names),
        ]
    return np.array(rows, np.int64)


def _call_forward(*leaves: Array, plan: Plan, tree: Any, training: bool) -> list[Array]:
    call = jax.ffi.ffi_call("gatewise_xla_forward", _shapes_forward(leaves, plan, tree, training))
    found = call(
        *leaves,
        layers=_numbers(plan, tree),
        outputs=np.int64(plan.outputs),
        training=np.bool_(training),
    )
    return list(found)


def _call_backward(*leaves: Array, plan: Plan, tree: Any, wanted: _Wanted) -> list[Array]:
    layers, reserves, given = jax.tree.unflatten(tree, leaves)
    first = len(jax.tree.leaves(layers))
    shapes = [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in reserves]
    call = jax.ffi.ffi_call(
        "gatewise_xla_backward",
        shapes + _shapes_backward(leaves, tree=tree, wanted=wanted),
        input_output_aliases={first + n: n for n in range(len(reserves))},
    )
    flat = [*given[0], *[one for pair in given[1] for one in pair]]
    bits = sum(1 << bit for bit, one in enumerate(flat) if one is not None)
    found = call(
        *leaves,
        layers=_numbers(plan, jax.tree.structure(layers), wanted),
        outputs=np.int64(plan.outputs),
        given=np.int64(bits),
    )
    return list(found[len(reserves) :])


# Over devices.


def _partitioned(call: Any, letters: tuple[list[str], list[str]], summed: Sequence[bool]) -> Any:
    """`call` with the rows of the batch spread over devices, and `summed` results added up."""
    operands, results = letters

    def axes_of(infos: Sequence[Any]) -> Any:
        for info, axes in zip(infos, operands, strict=True):
            place = axes.split().index("b") if "b" in axes.split() else None
            spec = getattr(info.sharding, "spec", None)
            if place is not None and spec is not None and len(spec) > place and spec[place]:
                return spec[place]
        return None

    def shardings(mesh: Any, infos: Sequence[Any], wanted: Sequence[str]) -> list[Any]:
        axis = axes_of(infos)
        return [
            NamedSharding(
                mesh, PartitionSpec(*[axis if one == "b" else None for one in axes.split()])
            )
            for axes in wanted
        ]

    def partition(mesh: Any, infos: Any, _: Any) -> Any:
        axis = axes_of(infos)

        def each(*leaves: Array) -> list[Array]:
            found = call(*leaves)
            if axis is None:
                return found
            return [
                jax.lax.psum(one, axis) if add else one
                for one, add in zip(found, summed, strict=True)
            ]

        return (
            mesh,
            each,
            shardings(mesh, infos, results),
            tuple(shardings(mesh, infos, operands)),
        )

    def infer(mesh: Any, infos: Any, _: Any) -> Any:
        return shardings(mesh, infos, results)

    made = custom_partitioning(lambda *leaves: call(*leaves))
    made.def_partition(
        partition=partition,
        infer_sharding_from_operands=infer,
        sharding_rule=f"{', '.join(operands)} -> {', '.join(results)}",
    )
    return made


@functools.cache
def _native_forward(plan: Plan, tree: Any, training: bool) -> Any:
    """Return the forward pass as a function of its leaves."""
    call = functools.partial(forward_p.bind, plan=plan, tree=tree, training=training)
    letters = _letters_forward(plan, tree, training)
    shared = jax.jit(_partitioned(call, letters, [False] * len(letters[1])))
    # A folded call would return one reserve of all rows, which the gradient could not split.
    return _mapped(shared, None if training else letters[0])


@functools.cache
def _native_backward(plan: Plan, tree: Any, wanted: _Wanted) -> Any:
    """Return the backward pass as a function of its leaves."""
    call = functools.partial(backward_p.bind, plan=plan, tree=tree, wanted=wanted)
    summed = [name in SUMMED for names in wanted.names for name in names]
    letters = _letters_backward(plan, tree, wanted)
    return _mapped(jax.jit(_partitioned(call, letters, summed)), None)


# Under vmap.


def _mapped(call: Any, letters: Sequence[str] | None) -> Any:
    """`call` with a rule for vmap: the mapped axis joins the batch, which `letters` marks."""
    made = custom_vmap(call)
    axes = [one.split() for one in letters or ()]
    places = [one.index("b") if "b" in one else None for one in axes]

    @made.def_vmap
    def rule(size: int, mapped: Sequence[bool], *leaves: Array) -> Any:
        if letters is None or any(
            moves and place is None for moves, place in zip(mapped, places, strict=True)
        ):
            return _one_by_one(made, mapped, leaves)
        folded = [
            one if place is None else _fold(one, size, moves, place)
            for one, moves, place in zip(leaves, mapped, places, strict=True)
        ]
        found = [one.reshape(size, -1, *one.shape[1:]) for one in made(*folded)]
        return found, [True] * len(found)

    return made


def _one_by_one(call: Any, mapped: Sequence[bool], leaves: Sequence[Array]) -> Any:
    def run(moving: list[Array]) -> Any:
        rest = iter(moving)
        return call(
            *[next(rest) if moves else one for one, moves in zip(leaves, mapped, strict=True)]
        )

    moving = [one for one, moves in zip(leaves, mapped, strict=True) if moves]
    found = jax.lax.map(run, moving)
    return found, [True] * len(found)


def _fold(one: Array, size: int, moves: bool, place: int) -> Array:
    """Fold the first axis, which is mapped, into the axis of the batch at `place`."""
    wide = one if moves else jnp.broadcast_to(one, (size, *one.shape))
    wide = jnp.moveaxis(wide, 0, place)
    shape = wide.shape
    return wide.reshape(*shape[:place], size * shape[place + 1], *shape[place + 2 :])


# In plain JAX.


def _plain(plan: Plan, layers: tuple[Arrays, ...]) -> Any:
    """Return what `_lstm` returns, computed by a scan."""
    found = [_scan(one, arrays) for one, arrays in zip(plan.directions, layers, strict=True)]
    ys, states = [y for y, _ in found], [state for _, state in found]
    joined = {NONE: (), APART: tuple(ys)}
    outputs = joined[plan.outputs] if plan.outputs in joined else (jnp.concatenate(ys, -1),)
    return outputs, states


def _scan(way: Direction, arrays: Arrays) -> tuple[Array, tuple[Array, Array]]:
    activation, gate = ACTIVATIONS[way.activation], ACTIVATIONS[way.recurrent_activation]
    x = arrays.x.swapaxes(0, 1)
    units = arrays.recurrent_kernel.shape[0]
    zeros = jnp.zeros((x.shape[1], units), x.dtype)
    mask = jnp.ones(x.shape[:2], bool) if arrays.mask is None else arrays.mask.swapaxes(0, 1)
    weights = [jnp.split(one, 4, -1) for one in (arrays.kernel, arrays.recurrent_kernel)]
    biases = [0] * 4 if arrays.bias is None else jnp.split(arrays.bias, 4)
    input_masks = [1] * 4 if arrays.input_masks is None else arrays.input_masks
    recurrent_masks = [1] * 4 if arrays.recurrent_masks is None else arrays.recurrent_masks

    def step(before: Any, now: Any) -> Any:
        h, c, started = before
        x_t, used = now[0], now[1][:, None]
        i, f, g, o = (
            (x_t * of_x) @ kernel + (h * of_h) @ recurrent + bias
            for of_x, of_h, kernel, recurrent, bias in zip(
                input_masks, recurrent_masks, *weights, biases, strict=True
            )
        )
        after_c = gate(f) * c + gate(i) * activation(g)
        after_h = gate(o) * activation(after_c)
        h, c = jnp.where(used, after_h, h), jnp.where(used, after_c, c)
        started = started | used
        put_out = used if way.zero_output else started | way.start_output
        return (h, c, started), jnp.where(put_out, h, 0)

    first = [zeros if one is None else one for one in (arrays.h0, arrays.c0)]
    started = jnp.zeros((x.shape[1], 1), bool)
    (h, c, _), y = jax.lax.scan(step, (*first, started), (x, mask), reverse=way.go_backwards)
    # A reverse scan returns its outputs in the order of time.
    y = y[::-1] if way.flip != way.go_backwards else y
    return y.swapaxes(0, 1), (h, c)


def _plain_of(plan: Plan, layers: Any, chosen: Any) -> Any:
    """Return `_plain` as a function of some of its arrays."""
    some = zip(layers, chosen, strict=True)
    return _plain(plan, tuple(one._replace(**values) for one, values in some))


def _chosen(layers: Any, wanted: _Wanted) -> list[dict[str, Array]]:
    return [
        {name: getattr(one, name) for name in names}
        for one, names in zip(layers, wanted.names, strict=True)
    ]


def _plain_gradient(plan: Plan, wanted: _Wanted, layers: Any, given: Any) -> Any:
    """Return what `_gradient` returns, computed by plain JAX."""
    run = functools.partial(_plain_of, plan, layers)
    found, pull = jax.vjp(run, _chosen(layers, wanted))
    whole = jax.tree.map(
        lambda like, one: jnp.zeros_like(like) if one is None else one,
        found,
        given,
        is_leaf=lambda one: one is None,
    )
    (gradients,) = pull(whole)
    return [
        [one[name] for name in names] for one, names in zip(gradients, wanted.names, strict=True)
    ]


def _plain_forward(*leaves: Array, plan: Plan, tree: Any, training: bool) -> list[Array]:
    outputs, states = _plain(plan, jax.tree.unflatten(tree, leaves))
    found = [*outputs, *[one for pair in states for one in pair]]
    rest = _shapes_forward(leaves, plan, tree, training)[len(found) :]
    return found + [
        jnp.zeros(one.shape, one.dtype) for one in rest
    ]  # the reserve, which is not read


def _plain_backward(*leaves: Array, plan: Plan, tree: Any, wanted: _Wanted) -> list[Array]:
    layers, _, given = jax.tree.unflatten(tree, leaves)
    return [one for some in _plain_gradient(plan, wanted, layers, given) for one in some]


def _plain_tangent(*leaves: Array, plan: Plan, tree: Any, wanted: _Wanted) -> list[Array]:
    """Return the tangents of outputs and states, given those of the `wanted` arrays."""
    layers, _, dots = jax.tree.unflatten(tree, leaves)
    chosen = _chosen(layers, wanted)
    moving = [
        dict(zip(names, values, strict=True))
        for names, values in zip(wanted.names, dots, strict=True)
    ]
    _, moved = jax.jvp(functools.partial(_plain_of, plan, layers), (chosen,), (moving,))
    return jax.tree.leaves(moved)


# The rules of a primitive.


def _primitive(name: str, shapes: Any, native: Any, plain: Any) -> Any:
    made = Primitive(name)
    made.multiple_results = True

    def abstract(*leaves: Any, **static: Any) -> Any:
        return [_like(leaves[0], one) for one in shapes(leaves, **static)]

    def lower(ctx: Any, *values: Any, **static: Any) -> Any:
        exported = getattr(ctx.module_context.lowering_parameters, "for_export", False)
        run = mlir.lower_fun(plain if exported else native, multiple_results=True)
        return run(ctx, *values, **static)

    @functools.cache
    def compiled(**static: Any) -> Any:
        return jax.jit(functools.partial(made.bind, **static))

    def alone(*leaves: Any, **static: Any) -> Any:
        """Run on concrete values under jax.disable_jit, compiled as one operation."""
        with jax.disable_jit(False):
            return compiled(**static)(*leaves)

    made.def_impl(alone)
    made.def_abstract_eval(abstract)
    mlir.register_lowering(made, mlir.lower_fun(plain, multiple_results=True))
    mlir.register_lowering(made, lower, platform="cpu")
    return made


def _like(known: Any, one: Any) -> Any:
    """Properties of an array besides its shape, such as the devices over which it varies."""
    nowhere = PartitionSpec(*[None] * len(one.shape))
    sharding = known.sharding.update(spec=nowhere)
    return known.update(shape=one.shape, dtype=one.dtype, weak_type=False, sharding=sharding)


forward_p = _primitive("gatewise_forward", _shapes_forward, _call_forward, _plain_forward)
backward_p = _primitive("gatewise_backward", _shapes_backward, _call_backward, _plain_backward)
tangent_p = _primitive("gatewise_tangent", _shapes_tangent, _plain_tangent, _plain_tangent)


def _transpose_tangent(
    gradients: Any, *leaves: Any, plan: Plan, tree: Any, wanted: _Wanted
) -> list[Array | None]:
    """Transpose the linear function of tangents: the gradients come from the kernels."""
    layers, reserves, _ = jax.tree.unflatten(tree, leaves)
    given = [None if isinstance(one, ad.Zero) else one for one in gradients]
    found = _gradient(plan, wanted, layers, reserves, _outputs_and_states(plan, given))
    gradients = [one for some in found for one in some]
    return [None] * (len(leaves) - len(gradients)) + gradients


def _tangent_jvp(primals: Any, tangents: Any, **static: Any) -> Any:
    """The tangent of a tangent, in forward mode."""
    moving = [place for place, one in enumerate(tangents) if not isinstance(one, ad.Zero)]

    def run(*some: Array) -> list[Array]:
        leaves = list(primals)
        for place, one in zip(moving, some, strict=True):
            leaves[place] = one
        return _plain_tangent(*leaves, **static)

    return jax.jvp(run, [primals[n] for n in moving], [tangents[n] for n in moving])


def _tangent_batched(leaves: Any, places: Any, *, tree: Any, **static: Any) -> Any:
    call = functools.partial(tangent_p.bind, tree=tree, **static)
    mapped = [place is not None for place in places]
    leaves = [
        jnp.moveaxis(one, place, 0) if place is not None else one
        for one, place in zip(leaves, places, strict=True)
    ]
    many = any(jax.tree.leaves(jax.tree.unflatten(tree, mapped)[:2]))
    if many and jax.__version_info__ >= (0, 10):  # an older JAX cannot transpose the loop
        found, _ = _one_by_one(call, mapped, leaves)
    else:  # one point, many directions
        plain = functools.partial(_plain_tangent, tree=tree, **static)
        found = jax.vmap(plain, [0 if one else None for one in mapped])(*leaves)
    return found, [0] * len(found)


ad.primitive_transposes[tangent_p] = _transpose_tangent
ad.primitive_jvps[tangent_p] = _tangent_jvp
batching.primitive_batchers[tangent_p] = _tangent_batched
