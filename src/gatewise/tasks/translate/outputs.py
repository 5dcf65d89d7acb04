"""The outputs of the network of `translate`: the beam search, with its models as arguments."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences
from gatewise.data.vocabulary import BEGIN, END, PAD
from gatewise.runtime.predicting import Predicts, batches_of
from gatewise.settings import Experiment
from gatewise.tasks.translate.fitted import Fitted
from gatewise.tasks.translate.search import Hypothesis, Rules, Step, beam_search, longest
from gatewise.tasks.translate.task import BEAMS, shapes_of

ENCODER, STEP = "encoder", "step"  # the names of the models
BATCH = 64  # texts of a batch in the search, at most
STEPS = 4_096  # source steps of such a batch, at most


def predict(
    models: Mapping[str, Predicts],
    examples: Examples[Sequences],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> list[Hypothesis]:
    """The best hypothesis of each example, in order.

    `models` are the encoder and the decoder step, from `search_models` in network.py.

    Texts of similar length share a batch. Copies fill the last batch of a length, so that each
    length is compiled once.
    """
    beams = beams_of(experiment)
    hypotheses: list[Any] = [None] * len(examples)
    for indices, inputs in batches_of(examples, BATCH, padded=True, steps=STEPS):
        source = inputs["source"]
        tokens = (source != PAD).sum(axis=1)
        rules = rules_of(source, preparation.own, experiment)
        best = beam_search(_stepper(models, source, beams), len(source), rules)
        for k, one, length in zip(indices, best, tokens, strict=False):
            hypotheses[k] = Hypothesis(one.tokens, one.score, one.attention[:, :length])
    return hypotheses


def rules_of(source: Array, fitted: Fitted, experiment: Experiment) -> Rules:
    """The rules of the search for source texts [batch, steps]."""
    return Rules(
        beams=beams_of(experiment),
        max_length=longest(source, fitted.max_length_ratio),
        penalty=experiment.task.length_penalty,
        vocabulary=shapes_of(fitted).output[0],
        begin=BEGIN,
        end=END,
    )


def beams_of(experiment: Experiment) -> int:
    """The beam size; the settings of older runs lack the resolved one."""
    return experiment.task.beam_size or BEAMS


def _stepper(models: Mapping[str, Predicts], source: Array, beams: int) -> Step:
    """Encode the source [batch, steps]; return a step function that keeps the states."""
    keys, mask, states = models[ENCODER].predict_on_batch(source)
    flat = [np.repeat(one[:, None], beams, axis=1) for state in states for one in state]

    def step(tokens: Array, scores: Array, parents: Array) -> tuple[Array, Array, Array, Array]:
        nonlocal flat
        inputs = [tokens, scores, parents, keys, mask, *flat]
        best, places, ends, weights, *flat = models[STEP].predict_on_batch(inputs)
        return best, places, ends, weights

    return step
