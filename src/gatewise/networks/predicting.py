"""The one loop in which a network is asked about examples, batch by batch."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from gatewise.data.batches import Examples, plan
from gatewise.data.sequences import Array
from gatewise.interrupts import checkpoint


def as_keras(inputs: Any) -> Any:
    """One input as a plain array, several as a dict of arrays: as our networks take them."""
    return inputs if len(inputs) > 1 else next(iter(inputs.values()))


def batches_of(
    examples: Examples[Any], batch_size: int, *, padded: bool, steps: int = 0
) -> Iterator[tuple[Array, dict[str, Array]]]:
    """The positions of each batch, [batch], and its inputs, [batch or more, ...].

    The last batch of each length is filled up with copies, so that each length is compiled once.
    With `steps`, a batch holds that many steps at most.
    """
    batches = plan(examples.lengths, batch_size, padded=padded, steps=steps)
    sizes: dict[int, int] = {}
    for which, length in (batches[b] for b in range(len(batches))):
        sizes[length] = max(sizes.get(length, 0), len(which)) if steps else batch_size
    for which, length in (batches[b] for b in range(len(batches))):
        checkpoint()
        filled = np.resize(which, sizes[length])
        yield which, dict(examples.inputs(filled, length))


def predict(
    network: keras.Model, examples: Examples[Any], batch_size: int, *, padded: bool, steps: int = 0
) -> Iterator[tuple[Array, Array]]:
    """The positions of each batch, [batch], and what the network says of them, [batch, ...]."""
    for which, inputs in batches_of(examples, batch_size, padded=padded, steps=steps):
        yield which, np.asarray(network.predict_on_batch(as_keras(inputs)))[: len(which)]


def outputs(
    network: keras.Model, examples: Examples[Any], batch_size: int, *, padded: bool, steps: int = 0
) -> Array:
    """The network's outputs for all examples, in their order, one of the same shape for each."""
    found: Array | None = None
    for which, given in predict(network, examples, batch_size, padded=padded, steps=steps):
        if found is None:
            found = np.empty((len(examples), *given.shape[1:]), given.dtype)
        found[which] = given
    if found is None:
        raise ValueError("There are no examples to answer.")
    return found
