"""The outputs of the network of `regress`, for sequences or for each of their steps."""

from typing import Any

import numpy as np

from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.windows import Stretches
from gatewise.runtime.predicting import BATCH, STEPS, Predicts, plain_outputs
from gatewise.runtime.predicting import predict as batches
from gatewise.settings import Experiment
from gatewise.tasks.regress.fitted import Fitted


def predict(
    network: Predicts,
    examples: Examples[Any],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> Array:
    """The outputs for each sequence, or for each step in turn: [rows, targets, quantiles]."""
    source = examples.source
    if not isinstance(source, Stretches):
        return np.asarray(plain_outputs(network, examples, preparation, experiment))
    sizes, before = source.scored.lengths, source.before
    ends = np.cumsum(sizes)
    result: Array | None = None
    for indices, batch in batches(network, examples, BATCH, padded=preparation.padded, steps=STEPS):
        if result is None:
            result = np.empty((int(ends[-1]), *batch.shape[2:]), np.float32)
        for k, outputs in zip(indices.tolist(), batch, strict=True):
            result[ends[k] - sizes[k] : ends[k]] = outputs[before[k] : before[k] + sizes[k]]
    assert result is not None
    return result
