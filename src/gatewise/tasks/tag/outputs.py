"""The outputs of the network of `tag`: the scores of every token."""

import numpy as np

from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences
from gatewise.runtime.predicting import Predicts
from gatewise.runtime.predicting import predict as in_batches
from gatewise.settings import Experiment
from gatewise.tasks.tag import crf
from gatewise.tasks.tag.crf import CRF
from gatewise.tasks.tag.fitted import Fitted

BATCH, STEPS = 256, 8_192  # sentences and tokens in one prediction batch, at most


def predict(
    network: Predicts,
    examples: Examples[Sequences],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> crf.Scores:
    """The logits of every token, sentence after sentence, and the transitions of a CRF."""
    ends, tags = np.cumsum(examples.lengths), len(preparation.own.classes)
    first = tags + crf.BORDERS if experiment.network.kind == CRF else 0  # row of the logits
    stacked = np.empty((int(ends[-1]), tags), np.float32)
    transitions: Array | None = None
    # The transitions are there for each sentence, so many tags leave room for few sentences.
    sentences = min(BATCH, max(1, crf.CELLS // (first * tags))) if first else BATCH
    batches = in_batches(network, examples, sentences, padded=preparation.padded, steps=STEPS)
    for indices, batch in batches:
        if first:
            transitions = batch[0, :first]
        for k, rows in zip(indices.tolist(), batch, strict=True):
            size = int(examples.lengths[k])
            stacked[ends[k] - size : ends[k]] = rows[first : first + size]
    return crf.Scores(stacked, transitions)
