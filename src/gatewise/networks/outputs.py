"""What a network says of examples, batch by batch."""

from typing import Any

import keras
import numpy as np

from gatewise.data.batches import Examples, plan
from gatewise.data.sequences import Array
from gatewise.interrupts import checkpoint


def as_keras(inputs: Any) -> Any:
    """One input as a plain array, several as a dict of arrays: as our networks take them."""
    return inputs if len(inputs) > 1 else next(iter(inputs.values()))


def outputs(
    network: keras.Model, examples: Examples, batch_size: int, *, padded: bool, steps: int = 0
) -> Array:
    """The network's outputs for all examples, in their order, one of the same shape for each.

    The last batch of each length is filled up with copies, so that each length is compiled once.
    """
    batches = plan(examples.lengths, batch_size, padded=padded, steps=steps)
    full = {length: 0 for length in batches.lengths.tolist()}
    for which, length in (batches[b] for b in range(len(batches))):
        full[length] = max(full[length], len(which))
    found: Array | None = None
    for b in range(len(batches)):
        checkpoint()
        which, length = batches[b]
        filled = np.resize(which, batch_size if not steps else full[length])
        given = np.asarray(network.predict_on_batch(as_keras(examples.inputs(filled, length))))
        if found is None:
            found = np.empty((len(examples), *given.shape[1:]), given.dtype)
        found[which] = given[: len(which)]
    if found is None:
        raise ValueError("There are no examples to answer.")
    return found
