"""Run a model once, and record what each of its LSTM layers reads and returns."""

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from gatewise.data.sequences import Array
from gatewise.errors import ConfigError


@dataclass(frozen=True)
class Call:
    """One call of an LSTM layer; its steps are in the order in which the layer reads them."""

    name: str  # of the layer; a second call of the same layer has " (2)" behind it
    inputs: Array  # [batch, steps, features]
    mask: Array  # [batch, steps] bool, false where the state stays as it is
    h: Array  # [batch, units] state before the first step
    c: Array  # [batch, units]
    kernel: Array  # [features, 4 units], gates in Keras's order i, f, c, o
    recurrent_kernel: Array  # [units, 4 units]
    bias: Array  # [4 units]
    activation: Callable[..., Any]  # of the cell and its output
    recurrent_activation: Callable[..., Any]  # of the gates
    backwards: bool  # the first step is the last one of the sequence
    continues: bool  # the layer starts from the state of another layer
    outputs: list[Array]  # what the layer returned: its output, and with return_state h and c
    sequences: bool  # the output has every step


def lstm_layers(model: keras.Model) -> list[Any]:
    """The LSTM layers of a model, also those inside wrappers and models.

    Raises:
        ConfigError: there is none.
    """
    found = [one for one in model._flatten_layers() if isinstance(one, keras.layers.LSTM)]
    if not found:
        kinds = sorted({type(one).__name__ for one in model._flatten_layers(include_self=False)})
        raise ConfigError(
            "Only models with keras.layers.LSTM layers can be inspected. Received: a model of "
            f"{', '.join(kinds) or 'no layers'}."
        )
    return found


@contextmanager
def around(layers: Sequence[Any], replacement: Callable[..., Any]) -> Iterator[None]:
    """Call `replacement(layer, call, *arguments)` for each call of these layers."""
    for layer in layers:
        # Keras and PyTorch track attributes that are set the usual way.
        layer.__dict__["call"] = functools.partial(replacement, layer, layer.call)
    try:
        yield
    finally:
        for layer in layers:
            del layer.__dict__["call"]


def recorder(model: keras.Model) -> Callable[[Any], tuple[list[Call], Array]]:
    """A function of inputs: the calls of the LSTM layers, in order, and the output of the model.

    If the model returns several arrays, the first one counts. The function raises ConfigError if no
    LSTM layer is called.

    Raises:
        ConfigError: the model has no LSTM layer.
    """
    found, called = lstm_layers(model), list[Any]()

    def run(inputs: Any) -> tuple[Any, list[dict[str, Any]]]:
        called.clear()
        tensors: list[dict[str, Any]] = []

        def recorded(layer: Any, call: Any, sequences: Any, *arguments: Any, **options: Any) -> Any:
            state = arguments[0] if arguments else options.get("initial_state")
            mask = arguments[1] if len(arguments) > 1 else options.get("mask")
            if state is None and layer.stateful:
                state = [ops.copy(one) for one in layer.states]  # the call assigns to them
            outputs = call(sequences, *arguments, **options)
            returned = list(outputs) if layer.return_state else [outputs]
            called.append(layer)
            tensors.append({"inputs": sequences, "mask": mask, "state": state, "outputs": returned})
            return outputs

        with around(found, recorded):
            return first(model(inputs, training=False)), tensors

    program = compiled(run)

    def record(inputs: Any) -> tuple[list[Call], Array]:
        output, tensors = program(inputs)
        if not tensors:
            raise ConfigError(f"{model.name} calls none of its LSTM layers for these inputs.")
        seen: Counter[str] = Counter()
        calls = []
        for layer, one in zip(called, tensors, strict=True):
            seen[layer.name] += 1
            again = f" ({seen[layer.name]})" if seen[layer.name] > 1 else ""
            calls.append(_call_of(layer, layer.name + again, **one))
        return calls, array_of(output)

    return record


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays that returns tensors; JAX compiles it once for each shape of them.

    Each program takes longer to compile than to run, so it is made once and called often.
    """
    if keras.backend.backend() != "jax":
        return function
    import jax

    def stateless(*arguments: Any) -> Any:
        with keras.StatelessScope():  # a variable must not keep a tracer
            return function(*arguments)

    compiling: Callable[..., Any] = jax.jit(stateless)
    return compiling


def first(outputs: Any) -> Any:
    """The first array of what a model returns."""
    while isinstance(outputs, dict | list | tuple):
        outputs = next(iter(outputs.values())) if isinstance(outputs, dict) else outputs[0]
    return outputs


def array_of(tensor: Any) -> Array:
    """A tensor as a NumPy array of float64."""
    return np.asarray(ops.convert_to_numpy(tensor), dtype=np.float64)


def _call_of(
    layer: Any, name: str, *, inputs: Any, mask: Any, state: Any, outputs: list[Any]
) -> Call:
    inputs = array_of(inputs)
    rows, steps = inputs.shape[:2]
    real = np.ones((rows, steps), bool) if mask is None else array_of(mask) > 0
    h, c = (np.zeros((rows, layer.units)),) * 2 if state is None else map(array_of, state)
    if layer.go_backwards:
        inputs, real = inputs[:, ::-1], real[:, ::-1]
    cell = layer.cell
    bias = array_of(cell.bias) if layer.use_bias else np.zeros(4 * layer.units)
    return Call(
        name=name,
        inputs=inputs,
        mask=real,
        h=h,
        c=c,
        kernel=array_of(cell.kernel),
        recurrent_kernel=array_of(cell.recurrent_kernel),
        bias=bias,
        activation=layer.activation,
        recurrent_activation=layer.recurrent_activation,
        backwards=bool(layer.go_backwards),
        continues=state is not None and bool(np.any(h) or np.any(c)),
        outputs=[array_of(one) for one in outputs],
        sequences=bool(layer.return_sequences),
    )
