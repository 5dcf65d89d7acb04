"""The kernels inside JAX: `lstm`, which jit, grad, vmap, scan and sharding treat as any function.

    custom_vjp              which gradients are wanted, and which come
      custom_vmap           into the batch where that is the same, else one after the other
        custom_partitioning over devices: rows of the batch apart, gradients of weights summed
          primitive         native/xla.cpp by ffi_call, or plain JAX

The same function is written once more in plain JAX, `_plain`, for what the kernels are not for:
code that is exported (it must run where gatewise is not), other processors, second derivatives.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec

from gatewise.engine import library
from gatewise.errors import EngineError

Array = Any

# In the order of native/gatewise.h.
ACTIVATIONS = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "softsign": jax.nn.soft_sign,
    "elu": jax.nn.elu,
    "linear": lambda x: x,
}
# The same functions under other names, known by identity.
SAME = {
    "tanh": (jnp.tanh, jax.nn.tanh, jax.lax.tanh),
    "sigmoid": (jax.nn.sigmoid, jax.lax.logistic),
    **{name: (ACTIVATIONS[name],) for name in ("relu", "hard_sigmoid", "softsign", "elu")},
}


@dataclasses.dataclass(frozen=True)
class Direction:
    """How one layer goes over its sequences."""

    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    go_backwards: bool = False  # steps are processed last to first
    zero_output: bool = False  # the output of a masked step is 0, not that of the step before
    start_output: bool = True  # what is put out before the first step that is not masked: h0, or 0
    flip: bool = False  # outputs lie in the reverse of the order of processing


class Arrays(NamedTuple):
    """What one layer reads; None: absent. In the order of native/xla.cpp."""

    x: Array  # [batch, steps, features]
    mask: Array | None  # [batch, steps] bool
    h0: Array | None  # [batch, units]
    c0: Array | None  # [batch, units]
    kernel: Array  # [features, 4 units]
    recurrent_kernel: Array  # [units, 4 units]
    bias: Array | None  # [4 units]
    input_masks: Array | None = None  # [4, batch, features], one for each gate
    recurrent_masks: Array | None = None  # [4, batch, units]


# The letters of their axes; a number behind a letter is that of the layer.
LETTERS = Arrays("b t i0", "b t", "b u0", "b u0", "i0 g0", "u0 g0", "g0", "four b i0", "four b u0")
DIFFERENTIABLE = ("x", "h0", "c0", "kernel", "recurrent_kernel", "bias")
SUMMED = DIFFERENTIABLE[3:]  # over the batch

NONE, APART, JOINED = range(3)  # outputs are not wanted; an array a layer; side by side in one


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Plan:
    """All that is known of a call before its numbers."""

    directions: tuple[Direction, ...]
    outputs: int


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Wanted:
    """The names of the gradients that each layer has to give."""

    names: tuple[tuple[str, ...], ...]


def lstm(
    layers: Sequence[Arrays],
    directions: Sequence[Direction],
    *,
    sequences: bool = True,
    joined: bool = False,
) -> tuple[tuple[Array, ...], list[tuple[Array, Array]]]:
    """One layer, or several of the same batch at once: outputs, and h and c of each.

    Outputs are [batch, steps, units] in the order of processing, one for each layer; with `joined`
    there is one [batch, steps, sum of units]; without `sequences` there is none. The dropout masks
    are taken as constants.

    Raises:
        EngineError: the kernels cannot be had; `missing` says so before.
        ValueError: an array does not have the shape or the dtype that the others ask for.
    """
    if reason := missing():
        raise EngineError(reason)
    for one in layers:
        _check(one, layers[0])
    outputs = (JOINED if joined else APART) if sequences else NONE
    masks = ("input_masks", "recurrent_masks")
    constant = [
        one._replace(**{name: jax.lax.stop_gradient(getattr(one, name)) for name in masks})
        for one in layers
    ]
    return _lstm(Plan(tuple(directions), outputs), tuple(_backward_only(one) for one in constant))


def _check(arrays: Arrays, first: Arrays) -> None:
    """The kernels trust the sizes that they are given."""
    batch, steps = first.x.shape[:2]
    features = arrays.x.shape[-1]
    units = arrays.recurrent_kernel.shape[0]
    wanted = Arrays(
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
    for name, array, shape in zip(Arrays._fields, arrays, wanted, strict=True):
        if array is None:
            continue
        dtype = np.dtype(bool) if name == "mask" else first.x.dtype
        if array.shape != shape or array.dtype != dtype or 0 in shape:
            raise ValueError(
                f"{name} is {array.dtype}{list(array.shape)}; the kernels need {dtype}{list(shape)}"
            )
    if first.x.dtype not in (np.float32, np.float64):
        raise ValueError(f"x is {first.x.dtype}; the kernels know float32 and float64")


def why_not() -> str | None:
    """Why what is computed now cannot be computed by the kernels; None: it can."""
    if reason := missing():
        return reason
    platform = jax.default_backend()
    return None if platform == "cpu" else f"JAX computes on {platform}, and the kernels on the CPU."


@functools.cache
def missing() -> str | None:
    """Register the kernels with JAX; the reason why that cannot be done, or None when it is."""
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
    # JAX refuses what was built for a newer interface, and its whole CPU backend with it.
    if known is None or built > known or built // 1000 != known // 1000:
        return (
            f"The C++ core of gatewise speaks version {_dotted(built)} of XLA's interface, and "
            f"jaxlib {version('jaxlib')} {_dotted(known)}. Install a newer jax."
        )
    for name in ("gatewise_xla_forward", "gatewise_xla_backward"):
        capsule = jax.ffi.pycapsule(getattr(native, name))
        jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    return None


def _runtime_version() -> int | None:
    """The version of XLA's interface that this jaxlib speaks, as its header has it."""
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


# The derivative.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _lstm(plan: Plan, layers: tuple[Arrays, ...]) -> Any:
    outputs, states, _ = _forward(plan, layers, training=False)
    return outputs, states


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _trained(plan: Plan, layers: tuple[Arrays, ...]) -> Any:
    """As `_lstm`, and the reserves that a gradient needs."""
    return _forward(plan, layers, training=True)


def _trained_forward(plan: Plan, layers: Any) -> Any:
    wanted = tuple(
        tuple(
            name
            for name in DIFFERENTIABLE
            if getattr(one, name) is not None and getattr(one, name).perturbed
        )
        for one in layers
    )
    layers = jax.tree.map(lambda one: one.value, layers, is_leaf=lambda one: hasattr(one, "value"))
    found = _trained(plan, layers)
    return found, (layers, found[2], _Wanted(wanted))


def _trained_backward(plan: Plan, kept: Any, gradients: Any) -> Any:
    layers, reserves, wanted = kept

    def is_zero(one: Any) -> bool:
        return isinstance(one, jax.custom_derivatives.SymbolicZero)

    given = jax.tree.map(lambda one: None if is_zero(one) else one, gradients[:2], is_leaf=is_zero)
    found = _gradient(plan, wanted, layers, reserves, given)
    absent = Arrays(*[None] * len(Arrays._fields))
    return (
        tuple(
            absent._replace(**dict(zip(names, values, strict=True)))
            for names, values in zip(wanted.names, found, strict=True)
        ),
    )


def _lstm_forward(plan: Plan, layers: Any) -> Any:
    found, kept = _trained_forward(plan, layers)
    return found[:2], kept


_lstm.defvjp(_lstm_forward, _trained_backward, symbolic_zeros=True)
_trained.defvjp(_trained_forward, _trained_backward, symbolic_zeros=True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _gradient(plan: Plan, wanted: _Wanted, layers: Any, reserves: Any, given: Any) -> Any:
    """The wanted gradients of each layer; differentiable in its turn, by plain JAX."""
    leaves, tree = jax.tree.flatten((layers, reserves, given))
    found = list(_native_backward(plan, tree, wanted)(*leaves))
    return [[found.pop(0) for _ in names] for names in wanted.names]


def _gradient_forward(plan: Plan, wanted: _Wanted, layers: Any, reserves: Any, given: Any) -> Any:
    return _gradient(plan, wanted, layers, reserves, given), (layers, reserves, given)


def _gradient_backward(plan: Plan, wanted: _Wanted, kept: Any, gradients: Any) -> Any:
    layers, reserves, given = kept
    _, pull = jax.vjp(lambda *some: _plain_gradient(plan, wanted, *some), layers, given)
    dlayers, dgiven = pull(gradients)
    return dlayers, jax.tree.map(jnp.zeros_like, reserves), dgiven


_gradient.defvjp(_gradient_forward, _gradient_backward)


# Forward mode. JAX says of itself only that some custom_vjp function stands in the way.

FORWARD_MODE = (
    "The LSTM kernels have gradients and no forward-mode derivatives (jax.jvp, jax.jacfwd, "
    "jax.linearize, jax.hessian). Take those with stock Keras, in a function that was not compiled "
    "before: with gatewise.accelerated(False): ... Or use jax.grad, jax.vjp or jax.jacrev."
)


def _backward_only(layer: Arrays) -> Arrays:
    """The same arrays, whose tangents can be transposed and not computed."""
    return layer._replace(
        **{
            name: _marked(getattr(layer, name))
            for name in DIFFERENTIABLE
            if getattr(layer, name) is not None
        }
    )


@jax.custom_jvp
def _marked(x: Array) -> Array:
    return x


@_marked.defjvp
def _marked_jvp(primals: Any, tangents: Any) -> Any:
    return _marked(*primals), tangent_p.bind(*tangents)


def _refuse_forward_mode(*_: Any, **__: Any) -> Any:
    raise EngineError(FORWARD_MODE)


tangent_p = Primitive("gatewise_tangent")
tangent_p.def_abstract_eval(lambda x: x)
tangent_p.def_impl(_refuse_forward_mode)
mlir.register_lowering(tangent_p, _refuse_forward_mode)
ad.deflinear2(tangent_p, lambda gradient, _: [gradient])
batching.defvectorized(tangent_p)


# What XLA is given.


def _forward(plan: Plan, layers: tuple[Arrays, ...], *, training: bool) -> Any:
    leaves, tree = jax.tree.flatten(layers)
    found = list(_native_forward(plan, tree, training)(*leaves))
    outputs = tuple(found.pop(0) for _ in range(_count_outputs(plan)))
    states = [(found.pop(0), found.pop(0)) for _ in layers]
    return outputs, states, tuple(found)


def _count_outputs(plan: Plan) -> int:
    return {NONE: 0, APART: len(plan.directions), JOINED: 1}[plan.outputs]


def _shapes_forward(leaves: Sequence[Any], plan: Plan, tree: Any, training: bool) -> list[Any]:
    """The shapes of outputs, of states, and of the reserves."""
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


def _shapes_backward(leaves: Sequence[Any], *, tree: Any, wanted: _Wanted, **_: Any) -> list[Any]:
    """The shapes of the wanted gradients."""
    layers, _, _ = jax.tree.unflatten(tree, leaves)
    arrays = [
        getattr(one, name)
        for one, names in zip(layers, wanted.names, strict=True)
        for name in names
    ]
    return [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in arrays]


def _letters_forward(plan: Plan, tree: Any, training: bool) -> tuple[list[str], list[str]]:
    """The letters of the axes of operands and results, for rules that go by axis."""
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
    """The names of the arrays that each layer has."""
    layers = jax.tree.unflatten(tree, [True] * tree.num_leaves)
    assert len(layers) == count
    return [[name for name in Arrays._fields if getattr(one, name)] for one in layers]


def _numbers(plan: Plan, tree: Any, wanted: _Wanted | None = None) -> np.ndarray:
    """The attribute `layers` of native/xla.cpp."""
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
    """`call`, which devices share by rows of the batch; `summed` results are added up over them."""
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
    """The forward pass as a function of its leaves."""
    call = functools.partial(forward_p.bind, plan=plan, tree=tree, training=training)
    letters = _letters_forward(plan, tree, training)
    shared = jax.jit(_partitioned(call, letters, [False] * len(letters[1])))
    # Folded, a reserve would be that of all rows, and could not be taken apart for the gradient.
    return _mapped(shared, None if training else letters[0])


@functools.cache
def _native_backward(plan: Plan, tree: Any, wanted: _Wanted) -> Any:
    """The backward pass as a function of its leaves."""
    call = functools.partial(backward_p.bind, plan=plan, tree=tree, wanted=wanted)
    summed = [name in SUMMED for names in wanted.names for name in names]
    letters = _letters_backward(plan, tree, wanted)
    return _mapped(jax.jit(_partitioned(call, letters, summed)), None)


# Under vmap.


def _mapped(call: Any, letters: Sequence[str] | None) -> Any:
    """`call`, with a rule for vmap: into the batch where `letters` says what that is."""
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
    """The mapped axis, which is the first, into the batch's own, which is then at `place`."""
    wide = one if moves else jnp.broadcast_to(one, (size, *one.shape))
    wide = jnp.moveaxis(wide, 0, place)
    shape = wide.shape
    return wide.reshape(*shape[:place], size * shape[place + 1], *shape[place + 2 :])


# In plain JAX.


def _plain(plan: Plan, layers: tuple[Arrays, ...]) -> Any:
    """What `_lstm` returns, by a scan."""
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
    # A scan in reverse leaves its outputs in the order of time.
    y = y[::-1] if way.flip != way.go_backwards else y
    return y.swapaxes(0, 1), (h, c)


def _plain_gradient(plan: Plan, wanted: _Wanted, layers: Any, given: Any) -> Any:
    """What `_gradient` returns."""
    chosen = [
        {name: getattr(one, name) for name in names}
        for one, names in zip(layers, wanted.names, strict=True)
    ]

    def run(chosen: Any) -> Any:
        some = zip(layers, chosen, strict=True)
        return _plain(plan, tuple(one._replace(**values) for one, values in some))

    found, pull = jax.vjp(run, chosen)
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
    return found + [jnp.zeros(one.shape, one.dtype) for one in rest]  # the reserve: not read


def _plain_backward(*leaves: Array, plan: Plan, tree: Any, wanted: _Wanted) -> list[Array]:
    layers, _, given = jax.tree.unflatten(tree, leaves)
    return [one for some in _plain_gradient(plan, wanted, layers, given) for one in some]


# What JAX has to know of a primitive.


def _primitive(name: str, shapes: Any, native: Any, plain: Any) -> Any:
    made = Primitive(name)
    made.multiple_results = True

    def abstract(*leaves: Any, **static: Any) -> Any:
        kind = type(leaves[0])
        return [kind(one.shape, one.dtype) for one in shapes(leaves, **static)]

    def lower(ctx: Any, *values: Any, **static: Any) -> Any:
        exported = getattr(ctx.module_context.lowering_parameters, "for_export", False)
        run = mlir.lower_fun(plain if exported else native, multiple_results=True)
        return run(ctx, *values, **static)

    @functools.cache
    def compiled(**static: Any) -> Any:
        return jax.jit(functools.partial(made.bind, **static))

    def alone(*leaves: Any, **static: Any) -> Any:
        """Met with numbers, which is under jax.disable_jit: one operation, compiled like others."""
        with jax.disable_jit(False):
            return compiled(**static)(*leaves)

    made.def_impl(alone)
    made.def_abstract_eval(abstract)
    mlir.register_lowering(made, mlir.lower_fun(plain, multiple_results=True))
    mlir.register_lowering(made, lower, platform="cpu")
    return made


forward_p = _primitive("gatewise_forward", _shapes_forward, _call_forward, _plain_forward)
backward_p = _primitive("gatewise_backward", _shapes_backward, _call_backward, _plain_backward)
