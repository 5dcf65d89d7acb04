"""The outputs of the network of `transcribe`: log probabilities of symbols."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.sound import Recordings
from gatewise.runtime.predicting import Predicts
from gatewise.runtime.predicting import predict as batches
from gatewise.settings import Experiment
from gatewise.tasks.transcribe.fitted import Fitted

BATCH, STEPS = 64, 32_768  # recordings and frames of a batch in prediction, at most


def predict(
    network: Predicts,
    examples: Examples[Recordings],
    preparation: Preparation[Fitted],
    _experiment: Experiment,
) -> list[Array]:
    """The log probabilities of each recording, [steps, symbols], without padding."""
    results: list[Any] = [None] * len(examples)
    for indices, logits in batches(
        network, examples, BATCH, padded=preparation.padded, steps=STEPS
    ):
        for row, k in enumerate(indices.tolist()):
            own = logits[row, : steps_left(examples.lengths[k], preparation.own.strides)]
            most = own.max(axis=1, keepdims=True)
            results[k] = own - most - np.log(np.exp(own - most).sum(axis=1, keepdims=True))
    return results


def steps_left(frames: int, strides: Sequence[int]) -> int:
    """The steps of the network for this many frames, after convolutions with these strides."""
    for stride in strides:
        frames = -(-frames // stride)
    return frames
