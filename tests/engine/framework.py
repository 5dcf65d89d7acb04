"""The functions of the engine's tests that depend on the framework on which Keras runs.

`run(layer, x, given, **options)` calls a layer as in training, and returns its outputs, its
variables after the call, and the gradients of one number by weights, inputs and the initial state
`given`. `kernel_calls(layer, x)` is the number of calls of the kernels in one call of the layer.
"""

import importlib

import keras
import numpy as np
from keras import ops

import gatewise
from gatewise.engine.contract import Arrays

BACKEND = keras.backend.backend()


SIZES = {"batch": 3, "steps": 6, "features": 4, "units": 5}


def random_layer(array, seed, *, dropout=False, masked=True, scale=0.5, **sizes):
    """Return random arrays of one layer; `array` converts NumPy's to those of a framework."""
    batch, steps, features, units = (SIZES | sizes).values()
    random = np.random.default_rng(seed)

    def normal(*shape):
        return array(random.normal(size=shape) * scale)

    def dropped(*shape):
        return array(2.0 * (random.random(shape) < 0.5)) if dropout else None

    return Arrays(
        normal(batch, steps, features),
        array(random.random((batch, steps)) < 0.7) if masked else None,
        normal(batch, units),
        normal(batch, units),
        normal(features, 4 * units),
        normal(units, 4 * units),
        normal(4 * units),
        dropped(4, batch, features),
        dropped(4, batch, units),
    )


def misfits(arrays):
    """Return arrays that do not fit the other arrays of a layer, by name."""
    return {
        "mask": arrays.mask[:, :3],
        "h0": arrays.h0[:1],
        "kernel": arrays.kernel[:2],
        "bias": ops.cast(arrays.bias, "float16"),
        "recurrent_masks": ops.ones((4, 3, 2), "float32"),
    }


def values(tree):
    """Return all arrays of a tree as NumPy arrays."""
    return [ops.convert_to_numpy(one) for one in keras.tree.flatten(tree) if one is not None]


def assert_close(found, expected, *, rtol=1e-5, atol=1e-6):
    for one, two in zip(values(found), values(expected), strict=True):
        np.testing.assert_allclose(one, two, rtol=rtol, atol=atol)


def weights_of(one):
    """Return a different weight for each element of an array."""
    return np.linspace(1, 2, int(np.prod(one.shape))).reshape(one.shape)


def total(found, sin):
    """One number, to which each element of the outputs contributes with another weight."""
    flat = keras.tree.flatten(found)
    return sum((sin(one) * ops.convert_to_tensor(weights_of(one), one.dtype)).sum() for one in flat)


def _run_jax(layer, x, given, **options):
    import jax
    from jax import numpy as jnp

    def loss(trained, x, given, others):
        called = options if given is None else options | {"initial_state": given}
        found, others = layer.stateless_call(trained, others, x, **called)
        return total(found, jnp.sin), (found, others)

    compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))
    trained = [one.value for one in layer.trainable_variables]
    others = [one.value for one in layer.non_trainable_variables]
    (_, (found, others)), gradients = compiled(trained, x, given, others)
    return {"outputs": found, "variables": others, "gradients": gradients}


def _calls_jax(layer, x):
    import jax

    return jax.jit(lambda x: layer(x)).lower(x).as_text().count("@gatewise_xla_forward")


def _run_torch(layer, x, given, **options):
    import torch

    x = x.detach().requires_grad_()
    given = given and [one.detach().requires_grad_() for one in given]
    called = options if given is None else options | {"initial_state": given}
    found = layer(x, **called)
    wanted = [one.value for one in layer.trainable_variables] + [x, *(given or [])]
    gradients = torch.autograd.grad(total(found, torch.sin), wanted)
    return {
        "outputs": keras.tree.map_structure(torch.detach, found),
        "variables": [one.value for one in layer.non_trainable_variables],
        "gradients": gradients,
    }


def _calls_torch(layer, x):
    from torch.utils._python_dispatch import TorchDispatchMode

    class Calls(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            self.count += function._schema.name == "gatewise::lstm_forward"
            return function(*arguments, **(options or {}))

    with Calls() as calls:
        layer(x)
    return calls.count


def _run_tensorflow(layer, x, given, **options):
    import tensorflow as tf

    trained = [one.value for one in layer.trainable_variables]

    def run(x, given):
        called = options if given is None else options | {"initial_state": given}
        sources = [*trained, x, *(given or [])]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            found = layer(x, **called)
            flat = keras.tree.flatten(found)
            weighed = [tf.sin(tf.cast(one, "float64")) * weights_of(one) for one in flat]
            loss = tf.add_n([tf.reduce_sum(one) for one in weighed])
        return found, tape.gradient(loss, sources)

    # The engine runs in a graph. A graph of Keras's own loop takes a second to build and gives the
    # same numbers.
    if gatewise.info()["chosen"] != "stock":
        run = tf.function(run)
    found, gradients = run(x, given)
    others = [one.value for one in layer.non_trainable_variables]
    return {"outputs": found, "variables": others, "gradients": gradients}


def _calls_tensorflow(layer, x):
    import tensorflow as tf

    graph = tf.function(lambda x: layer(x)).get_concrete_function(x).graph
    return sum(one.type.startswith("Gatewise>") for one in graph.get_operations())


run = globals()[f"_run_{BACKEND}"]
kernel_calls = globals()[f"_calls_{BACKEND}"]
_MODULES = {"jax": "jax.numpy", "tensorflow": "tensorflow", "torch": "torch"}
TANH = importlib.import_module(_MODULES[BACKEND]).tanh
