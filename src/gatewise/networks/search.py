"""Beam search: the likeliest answer of a network that says one token after another."""

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.vocabulary import BEGIN, END, PAD
from gatewise.experiment import Experiment
from gatewise.networks.predicting import batches_of
from gatewise.networks.translate import NEVER, Asked, asked
from gatewise.tasks.translate import Hypothesis

BATCH = 64  # texts that are searched for side by side
STEPS = 4_096  # of source in such a batch at most
BEAMS = 5  # where the settings do not say

# (tokens, scores, parents) [batch, beams] -> the outputs of `translate._step`, without the states.
Step = Callable[[Array, Array, Array], tuple[Array, Array, Array, Array]]


@dataclass(frozen=True)
class Rules:
    """How wide and how far is searched, and how lengths are compared."""

    beams: int
    longest: Array | int  # of each text, tokens at most, the end not counted
    penalty: float  # 0: scores are log probabilities; 1: about the mean of a token
    vocabulary: int

    def score(self, chance: float, length: int) -> float:
        """A log probability over the length penalty of Wu et al. 2016; the end is counted."""
        return float(chance / ((5 + length) / 6) ** self.penalty)


@dataclass
class _Trail:
    """What was put into each beam at each step, so that a hypothesis can be read backwards."""

    tokens: list[Array] = field(default_factory=list)  # [batch, beams] each
    parents: list[Array] = field(default_factory=list)
    looked: list[Array] = field(default_factory=list)  # [batch, beams, source]
    width: int = 0  # steps of the source

    def read(self, text: int, beam: int, score: float) -> Hypothesis:
        """The hypothesis in this beam, after as many steps as have put tokens there."""
        tokens, looked = [], []
        for tokens_then, parents_then, looked_then in zip(
            reversed(self.tokens), reversed(self.parents), reversed(self.looked), strict=True
        ):
            tokens.append(tokens_then[text, beam])
            beam = parents_then[text, beam]
            looked.append(looked_then[text, beam])
        attention = np.array(looked[::-1], dtype=np.float32).reshape(len(tokens), self.width)
        return Hypothesis(np.array(tokens[::-1], dtype=np.int32), score, attention)


def search(
    network: keras.Model, some: Examples, preparation: Preparation, experiment: Experiment
) -> list[Hypothesis]:
    """The best translation of every example that the search finds, in their order.

    Texts of like length are searched for together; the last batch of a length is filled up with
    copies, so that each length is compiled once.
    """
    beams = experiment.task.beams or BEAMS
    parts = _asked(network, preparation, experiment, beams)
    found: list[Any] = [None] * len(some)
    for which, inputs in batches_of(some, BATCH, padded=True, steps=STEPS):
        source = inputs["source"]
        tokens = (source != PAD).sum(axis=1)
        longest = np.maximum(1, np.ceil(preparation.stretch * (tokens + 5)))
        rules = Rules(beams, longest, experiment.task.length_penalty, parts.vocabulary)
        best = beam_search(_stepper(parts, source, beams), len(source), rules)
        for k, one, real in zip(which, best, tokens, strict=False):
            found[k] = Hypothesis(one.tokens, one.score, one.attention[:, :real])
    return found


_KNOWN: weakref.WeakKeyDictionary[keras.Model, dict[int, Asked]] = weakref.WeakKeyDictionary()


def _asked(
    network: keras.Model, preparation: Preparation, experiment: Experiment, beams: int
) -> Asked:
    """The models that the search asks, compiled once for one network."""
    known = _KNOWN.setdefault(network, {})
    if beams not in known:
        known[beams] = asked(network, preparation, experiment.network, beams=beams)
    return known[beams]


def _stepper(parts: Asked, source: Array, beams: int) -> Step:
    """Encode the source [batch, steps]; what is given back keeps the states from step to step."""
    keys, mask, states = parts.encoder.predict_on_batch(source)
    flat = [np.repeat(one[:, None], beams, axis=1) for state in states for one in state]
    kept = [keys, mask, flat]

    def step(tokens: Array, scores: Array, parents: Array) -> tuple[Array, Array, Array, Array]:
        given = [tokens, scores, parents, kept[0], kept[1], *kept[2]]
        best, places, ends, looked, *after = parts.step.predict_on_batch(given)
        kept[2] = after
        return best, places, ends, looked

    return step


def beam_search(step: Step, batch: int, rules: Rules) -> list[Hypothesis]:
    """The best hypothesis of each text.

    A text is done when as many hypotheses have ended as there are beams; what has not ended after
    `rules.longest` tokens ends there. With one beam the likeliest token is taken each time.
    """
    beams = rules.beams
    tokens = np.full((batch, beams), BEGIN, dtype=np.int32)
    scores = np.full((batch, beams), NEVER, dtype=np.float32)
    scores[:, 0] = 0.0  # all beams are the same at first: one of them is enough
    parents = np.tile(np.arange(beams, dtype=np.int32), (batch, 1))
    trail, best = (
        _Trail(),
        [Hypothesis(np.array([], np.int32), -math.inf, np.zeros((0, 0)))] * batch,
    )
    ended = np.zeros(batch, dtype=np.int64)
    longest = np.broadcast_to(rules.longest, batch)

    def end(text: int, beam: int, chance: float, length: int) -> None:
        ended[text] += 1
        score = rules.score(chance, length)
        if score > best[text].score:
            best[text] = trail.read(text, beam, score)

    for length in range(1, int(longest.max()) + 2):
        top, places, ends, looked = step(tokens, scores, parents)
        live, trail.width = ended < beams, looked.shape[-1]
        late = live & (length > longest)
        for text, beam in np.argwhere(late[:, None] & (ends > NEVER / 2)):
            end(text, beam, float(ends[text, beam]), length)
        ended[late] = beams
        live = live & ~late
        if not live.any():
            break
        beam_of, token_of = places // rules.vocabulary, places % rules.vocabulary
        over = token_of == END
        # An end that is not among the best is no end yet.
        for text, rank in np.argwhere(
            over[:, :beams] & live[:, None] & (top[:, :beams] > NEVER / 2)
        ):
            end(text, beam_of[text, rank], float(top[text, rank]), length)
        order = np.argsort(over, axis=1, kind="stable")[:, :beams]
        taken = [np.take_along_axis(one, order, axis=1) for one in (token_of, beam_of, top, over)]
        tokens, parents = taken[0].astype(np.int32), taken[1].astype(np.int32)
        scores = np.where(taken[3], NEVER, taken[2]).astype(np.float32)
        trail.tokens.append(tokens)
        trail.parents.append(parents)
        trail.looked.append(looked)
    return best
