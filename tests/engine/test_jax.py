"""`engine.jax.lstm` against the reference, and under all of JAX's transformations."""

import os
from functools import partial

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from conftest import one_after_another
from framework import misfits, random_layer
from hypothesis import given, settings
from jax import export as jax_export
from jax import numpy as jnp

import gatewise
from gatewise.engine import jax as engine
from gatewise.engine import library, reference
from gatewise.engine.contract import (
    ACTIVATIONS,
    APART,
    DIFFERENTIABLE,
    JOINED,
    NONE,
    Direction,
)
from gatewise.engine.jax import Plan, lstm


def layer(seed=0, *, dtype="float32", **how):
    """Return random arrays of one layer."""
    return random_layer(
        lambda one: jnp.asarray(one, one.dtype if one.dtype == bool else dtype), seed, **how
    )


def total(found):
    """Reduce the outputs to one number in which each element has its own weight."""
    return sum(
        jnp.sum(jnp.sin(one) * np.linspace(1, 2, one.size, dtype=one.dtype).reshape(one.shape))
        for one in jax.tree.leaves(found)
    )


def gradients(function, layers):
    """Return the gradients of `total` by every array that has one."""
    chosen = [{name: getattr(one, name) for name in DIFFERENTIABLE} for one in layers]

    def loss(chosen):
        some = [one._replace(**values) for one, values in zip(layers, chosen, strict=True)]
        return total(function(tuple(some)))

    return jax.value_and_grad(loss)(chosen)


def plain(directions, outputs=APART):
    return partial(engine._plain, Plan(tuple(directions), outputs))


def assert_close(ours, theirs, *, rtol=1e-4, atol=1e-5):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=rtol, atol=atol), ours, theirs)


@settings(max_examples=25)
@given(
    sizes=st.fixed_dictionaries(
        {
            "batch": st.integers(1, 9),
            "steps": st.integers(1, 7),
            "features": st.integers(1, 37),
            "units": st.integers(1, 35),
        }
    ),
    activations=st.tuples(*[st.sampled_from(list(ACTIVATIONS))] * 2),
    masked=st.booleans(),
    seed=st.integers(0, 999),
)
def test_outputs_are_those_of_the_reference(sizes, activations, masked, seed):
    arrays = layer(seed, masked=masked, scale=0.2, **sizes)
    (y,), [(h, c)] = lstm([arrays], [Direction(*activations)])
    x, mask, *rest = [None if one is None else np.asarray(one, np.float64) for one in arrays[:7]]
    mask = None if mask is None else mask.astype(bool)
    expected = reference.lstm(x, *rest, mask=mask, activations=activations)
    assert_close((y, h, c), expected, rtol=2e-5, atol=2e-6)


WAYS = {
    "forward": ([Direction()], APART),
    "backward": ([Direction(go_backwards=True)], APART),
    "zero output": ([Direction(zero_output=True)], APART),
    "zeros first": ([Direction(start_output=False)], APART),
    "states only": ([Direction(go_backwards=True)], NONE),
    "flipped": ([Direction(flip=True)], APART),
    "both directions": ([Direction(), Direction(go_backwards=True, flip=True)], APART),
    "joined": ([Direction(), Direction(go_backwards=True, flip=True)], JOINED),
}


@pytest.mark.parametrize("dropout", [False, True], ids=["", "dropout"])
@pytest.mark.parametrize("name", WAYS)
def test_every_direction_gives_what_plain_jax_gives(name, dropout, x64):
    directions, outputs = WAYS[name]
    sizes = [{}, {"units": 3}]
    layers = [
        layer(seed, dropout=dropout, dtype="float64", **size)
        for seed, size, _ in zip(range(2), sizes, directions, strict=False)
    ]

    def ours(layers):
        return lstm(layers, directions, sequences=outputs != NONE, joined=outputs == JOINED)

    found = jax.jit(partial(gradients, ours))(layers)
    expected = jax.jit(partial(gradients, plain(directions, outputs)))(layers)
    assert_close(found, expected, rtol=1e-9, atol=1e-10)
    assert_close(ours(layers), plain(directions, outputs)(tuple(layers)), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_are_central_differences(activation, x64):
    names = list(ACTIVATIONS)
    other = names[(names.index(activation) + 1) % len(names)]
    arrays = layer(3, dtype="float64")
    ours = partial(lstm, directions=[Direction(activation, other)])
    _, [found] = gradients(ours, [arrays])
    random = np.random.default_rng(0)
    for name, gradient in found.items():
        value = getattr(arrays, name)
        along = jnp.asarray(random.normal(size=value.shape))

        def moved(by, name=name, value=value, along=along):
            return total(ours([arrays._replace(**{name: value + by * along})]))

        slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
        assert float(jnp.vdot(gradient, along)) == pytest.approx(float(slope), rel=1e-5, abs=1e-7)


def test_only_wanted_gradients_are_computed():
    arrays = layer()

    def loss(kernel):
        return total(lstm([arrays._replace(kernel=kernel)], [Direction()]))

    text = jax.jit(jax.grad(loss)).lower(arrays.kernel).as_text()
    assert "dense<[0, 1, 0, 0, 1, 0, 0, 127, 8]>" in text  # 8: only of the kernel
    text = jax.jit(loss).lower(arrays.kernel).as_text()
    assert "training = false" in text and "@gatewise_xla_backward" not in text


TRANSFORMS = {
    "jit": lambda f: jax.jit(jax.grad(f)),
    "checkpoint": lambda f: jax.jit(jax.grad(jax.checkpoint(f))),
    "scan": lambda f: jax.jit(
        jax.grad(lambda x: jax.lax.scan(lambda c, _: (c + 0.01 * f(c), None), x, None, 3)[0].sum())
    ),
    "cond": lambda f: jax.jit(
        jax.grad(lambda x: jax.lax.cond(x[0, 0, 0] > 9, jnp.sum, lambda x: f(x), x))
    ),
    "second derivative": lambda f: jax.jit(jax.grad(lambda x: jnp.sum(jax.grad(f)(x) ** 2))),
    "vmap of grad": lambda f: jax.jit(lambda x: jax.vmap(jax.grad(f))(jnp.stack([x, x + 1]))),
    "grad of vmap": lambda f: jax.jit(
        jax.grad(lambda x: jnp.sum(jax.vmap(f)(jnp.stack([x, 2 * x]))))
    ),
    "jacobian": lambda f: jax.jit(jax.jacrev(lambda x: jnp.stack([f(x), 2 * f(x)]))),
    "forward mode": lambda f: lambda x: jax.jvp(f, (x,), (jnp.cos(x),)),
    "forward mode of jit": lambda f: jax.jacfwd(jax.jit(f)),
    "linear map": lambda f: lambda x: jax.linearize(jax.jit(f), x)[1](jnp.cos(x)),
    "forward over reverse": lambda f: jax.jit(jax.hessian(f)),
    "forward over forward": lambda f: jax.jit(
        lambda x: jax.jvp(lambda y: jax.jvp(f, (y,), (jnp.cos(x),))[1], (x,), (jnp.sin(x),))
    ),
    "forward mode of vmap": lambda f: jax.jit(
        lambda x: jax.jvp(jax.vmap(f), (jnp.stack([x, 2 * x]),), (jnp.stack([x, jnp.cos(x)]),))
    ),
    "not compiled": lambda f: without_jit(jax.grad(f)),
    "not compiled, of jit": lambda f: without_jit(jax.jit(jax.grad(jax.checkpoint(f)))),
}


def without_jit(function):
    def run(x):
        with jax.disable_jit():
            return function(x)

    return run


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transformed_function_gives_what_plain_jax_gives(name, x64):
    arrays = layer(dtype="float64")

    def loss(function, x):
        return total(function((arrays._replace(x=x),)))

    transform = TRANSFORMS[name]
    ours = transform(partial(loss, partial(lstm, directions=[Direction()])))(arrays.x)
    theirs = transform(partial(loss, plain([Direction()])))(arrays.x)
    assert_close(ours, theirs, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", ["x", "mask", "h0", "kernel", "recurrent_masks"])
def test_vmap_over_any_array_gives_what_plain_jax_gives(name):
    arrays = layer(dropout=True)
    value = getattr(arrays, name)
    stacked = jnp.stack([value, jnp.flip(value, 0), value])

    def run(function, value):
        return function((arrays._replace(**{name: value}),))

    ours = jax.vmap(partial(run, partial(lstm, directions=[Direction()])))(stacked)
    assert_close(ours, jax.vmap(partial(run, plain([Direction()])))(stacked))


def test_vmap_goes_into_the_batch_where_weights_are_shared():
    arrays = layer()
    run = jax.vmap(lambda x: lstm([arrays._replace(x=x)], [Direction()])[0][0])
    text = jax.jit(run).lower(jnp.stack([arrays.x] * 4)).as_text()
    assert "tensor<12x6x4xf32>" in text and "while" not in text


@pytest.mark.parametrize("which", ["outputs", "gradients"])
def test_what_is_exported_needs_no_gatewise(which):
    arrays = layer()

    def run(x):
        return lstm([arrays._replace(x=x)], [Direction()])[0][0]

    function = jax.jit(run if which == "outputs" else jax.grad(lambda x: total(run(x))))
    expected = function(arrays.x)  # compiled before it is exported
    exported = jax_export.export(function)(arrays.x)
    assert "@gatewise" not in exported.mlir_module()
    assert_close(exported.call(arrays.x), expected)


TWO_DEVICES = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"

SHARES = """
import sys
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
sys.path.insert(0, sys.argv[1])
from gatewise.engine import contract, jax as engine
from framework import SIZES
from test_jax import gradients, layer

layers = [layer(0, batch=4, dropout=True), layer(1, batch=4, units=3)]
directions = [contract.Direction(), contract.Direction(go_backwards=True, flip=True)]
mesh = Mesh(np.array(jax.devices()), ("batch",))

def spread(name, array):
    letters = getattr(engine.LETTERS, name).split()
    spec = PartitionSpec(*["batch" if one == "b" else None for one in letters])
    return None if array is None else jax.device_put(array, NamedSharding(mesh, spec))

shared = [contract.Arrays(**{n: spread(n, a) for n, a in one._asdict().items()}) for one in layers]
run = jax.jit(lambda some: gradients(lambda l: engine.lstm(l, directions, joined=True), some))
text = run.lower(shared).compile().as_text()
assert "all-gather" not in text and "all-reduce" in text
for one, two in zip(jax.tree.leaves(run(shared)), jax.tree.leaves(run(layers)), strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
print("shared by", len(jax.devices()))

specs = contract.Arrays(*[
    PartitionSpec(*["batch" if one == "b" else None for one in letters.split()])
    for letters in engine.LETTERS
])
def loss(arrays):
    (y,), [(h, c)] = engine.lstm([arrays], [directions[0]])
    return jax.lax.psum((y**2).sum() + (h * c).sum(), "batch")
apart = jax.shard_map(loss, mesh=mesh, in_specs=(specs,), out_specs=PartitionSpec())
alone = lambda arrays: jax.vmap(loss, axis_name="batch")(jax.tree.map(lambda x: x[None], arrays))[0]
floats = lambda f, arrays: jax.jit(jax.grad(f, allow_int=True))(arrays)
for one, two in zip(*[jax.tree.leaves(floats(f, layers[0])) for f in (apart, alone)], strict=True):
    if one.dtype == np.float32:
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
"""

DATA_PARALLEL = """
import jax, keras, numpy as np, gatewise
gatewise.accelerate(engine="native")
from keras.src.utils import module_utils
module_utils.tensorflow._available = False  # Keras imports it for seconds, whatever it runs on
x = np.random.default_rng(0).normal(size=(8, 5, 3)).astype("float32")

def trained(shared):
    devices = keras.distribution.list_devices()
    way = keras.distribution.DataParallel(devices=devices) if shared else None
    keras.distribution.set_distribution(way)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.layers.Input((None, 3)), keras.layers.Masking(),
        keras.layers.Bidirectional(keras.layers.LSTM(4)), keras.layers.Dense(1),
    ])
    model.compile("sgd", "mse")
    model.fit(x, x[:, 0, :1], epochs=2, batch_size=4, shuffle=False, verbose=0)
    return [np.asarray(one) for one in model.get_weights()]

assert len(jax.devices()) == 2
for one, two in zip(trained(True), trained(False), strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
print(gatewise.info()["calls"]["native"])
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What each of the scripts prints."""
    scripts = {"shares": SHARES, "data parallel": DATA_PARALLEL}
    return one_after_another(tmp_path_factory.mktemp("scripts"), scripts, XLA_FLAGS=TWO_DEVICES)


def test_devices_share_the_batch_without_gathering_it(said):
    """By sharding, and in a `shard_map`, which sums the gradients of the weights."""
    assert said["shares"] == "shared by 2\n"


@pytest.mark.parametrize("batch, units", [(1, 7), (5, 16), (13, 70)])
def test_the_number_of_threads_changes_no_bit(batch, units):
    layers = [layer(one, batch=batch, units=units, steps=20) for one in range(2)]
    directions = [Direction(), Direction(go_backwards=True)]
    run = jax.jit(lambda some: gradients(lambda layers: lstm(layers, directions), some))
    before, found = library.threads(), []
    try:
        for count in (1, 2, 3):
            gatewise.set_threads(count)
            found.append(jax.tree.leaves(run(layers)))
    finally:
        gatewise.set_threads(before)
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def both(arrays, **kinds):
    """Return the outputs and gradients of ours and of plain JAX, in the dtype of the arrays."""
    way = [Direction(**kinds)]
    run = jax.jit(partial(gradients, partial(lstm, directions=way)))
    other = jax.jit(partial(gradients, plain(way)))
    return (
        (lstm([arrays], way), run([arrays])),
        (plain(way)((arrays,)), other([arrays])),
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_spreads_as_in_plain_jax(value):
    arrays = layer(masked=False)
    arrays = arrays._replace(x=arrays.x.at[1, 3, 2].set(value))
    ours, theirs = both(arrays)
    assert_close(ours[0], theirs[0])
    assert np.isfinite(np.asarray(ours[0][0][0][0])).all()  # the other rows are as they were
    # Infinity times a number near zero is infinity or NaN, as it is rounded; neither is finite.
    for one, two in zip(*[jax.tree.leaves(found[1]) for found in (ours, theirs)], strict=True):
        np.testing.assert_array_equal(np.isfinite(one), np.isfinite(two))
        one, two = np.nan_to_num(one, posinf=0, neginf=0), np.nan_to_num(two, posinf=0, neginf=0)
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e4, 1e-30, 1e-42], ids=["saturated", "tiny", "denormal"])
def test_extreme_numbers_give_what_plain_jax_gives(scale):
    arrays = layer(masked=False)
    ours, theirs = both(arrays._replace(x=arrays.x * scale, h0=arrays.h0 * min(scale, 1)))
    assert_close(ours, theirs, rtol=1e-3)


@pytest.mark.parametrize("kinds", [{}, {"activation": "softsign"}], ids=["tanh", "softsign"])
def test_errors_are_not_above_those_of_plain_jax(kinds, x64, optimised):
    """The float32 error of each array is at most 1.5 times that of a float32 scan."""
    wide = layer(7, dtype="float64", batch=16, steps=60, features=20, units=48, scale=0.3)
    narrow = jax.tree.map(
        lambda one: one.astype("float32") if one.dtype == np.float64 else one, wide
    )
    wide = jax.tree.map(
        lambda one, other: one.astype(other.dtype), narrow, wide
    )  # the same numbers
    _, truth = both(wide, **kinds)
    ours, theirs = both(narrow, **kinds)

    def errors(found):
        return np.array(
            [
                np.linalg.norm(np.asarray(one, np.float64) - true) / np.linalg.norm(true)
                for one, true in zip(jax.tree.leaves(found), jax.tree.leaves(truth), strict=True)
                if true.ndim  # not the loss: the error of one number is luck
            ]
        )

    assert (errors(ours) <= 1.5 * errors(theirs) + 1e-8).all()


def test_arrays_that_do_not_fit_are_refused():
    arrays = layer()
    for name, wrong in misfits(arrays).items():
        with pytest.raises(ValueError, match=f"{name} is .* the kernels need"):
            lstm([arrays._replace(**{name: wrong})], [Direction()])
    with pytest.raises(ValueError, match="float32 and float64"):
        lstm(
            [jax.tree.map(lambda one: one.astype("bfloat16"), arrays._replace(mask=None))],
            [Direction()],
        )


def test_data_parallel_training_ends_with_the_weights_of_one_device(said):
    assert int(said["data parallel"]) >= 2


def test_an_interface_newer_than_the_runtime_is_refused(monkeypatch):
    monkeypatch.setattr(engine, "_runtime_version", lambda: 0)
    assert "Install a newer jax" in engine.missing.__wrapped__()


# Handlers that are those of the core, but for the version that they report to XLA.
REFUSED = """
import ctypes
import jax, keras, numpy as np
import gatewise
from gatewise.engine import jax as engine, library

def structure(*types):
    fields = [(f"_{place}", one) for place, one in enumerate(types)]
    return type("Structure", (ctypes.Structure,), {"_fields_": fields})

size, pointer = ctypes.c_size_t, ctypes.c_void_p
version = structure(size, pointer, ctypes.c_int, ctypes.c_int)
metadata = structure(size, version)  # struct XLA_FFI_Metadata of XLA's c_api.h, up to the version
extension = structure(structure(size, ctypes.c_uint32, pointer), ctypes.POINTER(metadata))
frame = structure(size, ctypes.POINTER(extension))
native, minor = library.load(), 0
core = native.gatewise_xla_forward
core.restype, core.argtypes = pointer, [ctypes.POINTER(frame)]

@ctypes.CFUNCTYPE(pointer, ctypes.POINTER(frame))
def forward(call):
    error = core(call)
    call.contents._1.contents._1.contents._1._3 = minor
    return error

native.gatewise_xla_forward = forward
engine.NEWEST_KNOWN = -1  # so that this XLA is newer than those known
for minor in (0, 99):
    engine.missing.cache_clear()
    print(engine.missing())
x = np.random.default_rng(0).normal(size=(2, 9, 3)).astype("float32")
layer = keras.layers.LSTM(4)
wanted = layer(x)
gatewise.accelerate()
np.testing.assert_array_equal(layer(x), wanted)
print(jax.devices()[0].platform, gatewise.why_not(layer))
"""


def test_a_refusal_by_xla_is_a_sentence_and_the_cpu_still_works(python):
    refusals = python(code=REFUSED).splitlines()
    assert [one[:7] for one in refusals] == ["jaxlib ", "jaxlib ", "cpu jax"]
    for one in refusals:
        assert "refuses the C++ core of gatewise" in one
        assert "Install an older jax or a newer gatewise." in one
