"""The one prediction loop, batch by batch."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from gatewise.data.batches import Examples, plan
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.runtime.network import Network
from gatewise.settings import Experiment
from gatewise.training.interrupts import checkpoint

BATCH = 256  # sequences per batch of prediction
STEPS = 65_536  # steps of such a batch at most, so that long texts need no more memory


class Predicts(Protocol):
    """A keras.Model, or a `runtime.network.Network`."""

    def predict_on_batch(self, inputs: Any) -> Any:
        """The outputs for a batch."""


def as_keras(inputs: Any) -> Any:
    """The inputs as our networks take them: one as a plain array, several as a dict of arrays."""
    return inputs if len(inputs) > 1 else next(iter(inputs.values()))


def batches_of(
    examples: Examples[Any], batch_size: int, *, padded: bool, steps: int = 0, fill: bool = True
) -> Iterator[tuple[Array, dict[str, Array]]]:
    """Yield the indices of each batch, [batch], and its inputs, [batch or more, ...].

    With `fill`, the last batch of each length is filled up with copies, so that each length
    compiles only once. With `steps`, a batch holds at most that many steps.
    """
    batches = plan(examples.lengths, batch_size, padded=padded, steps=steps)
    sizes: dict[int, int] = {}
    for indices, length in (batches[b] for b in range(len(batches))):
        sizes[length] = max(sizes.get(length, 0), len(indices)) if steps else batch_size
    for indices, length in (batches[b] for b in range(len(batches))):
        checkpoint()
        filled = np.resize(indices, sizes[length]) if fill else indices
        yield indices, dict(examples.inputs(filled, length))


def predict(
    network: Predicts, examples: Examples[Any], batch_size: int, *, padded: bool, steps: int = 0
) -> Iterator[tuple[Array, Array]]:
    """Yield the indices of each batch, [batch], and the network's outputs, [batch, ...]."""
    fill = not isinstance(network, Network)  # which compiles nothing
    for indices, inputs in batches_of(examples, batch_size, padded=padded, steps=steps, fill=fill):
        yield indices, np.asarray(network.predict_on_batch(as_keras(inputs)))[: len(indices)]


def outputs(
    network: Predicts, examples: Examples[Any], batch_size: int, *, padded: bool, steps: int = 0
) -> Array:
    """The network's outputs for all examples, in their order and all of the same shape."""
    result: Array | None = None
    for indices, batch in predict(network, examples, batch_size, padded=padded, steps=steps):
        if result is None:
            result = np.empty((len(examples), *batch.shape[1:]), batch.dtype)
        result[indices] = batch
    if result is None:
        raise ValueError("There are no examples to predict.")
    return result


def plain_outputs(
    network: Predicts,
    examples: Examples[Any],
    preparation: Preparation[Any],
    _experiment: Experiment,
) -> Any:
    """The network's raw outputs for all examples, in their order and all of the same shape."""
    steps = STEPS if preparation.kind != "numbers" else 0
    return outputs(network, examples, BATCH, padded=preparation.padded, steps=steps)
