"""Beam search: the most likely output of an autoregressive network.

Exports carry this file, so it needs NumPy alone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
NEG_INF = -1.0e9  # a finite stand-in for log 0

# (tokens, scores, parents) [batch, beams] -> the best scores [batch, 2 beams] and their places,
# beam * vocabulary + token; the scores [batch, beams] if each beam ends now; the attention weights
# [batch, beams, source].
Step = Callable[[Array, Array, Array], tuple[Array, Array, Array, Array]]


@dataclass(frozen=True)
class Hypothesis:
    """The result of the beam search for one text."""

    tokens: Array  # [tokens] indices in the target vocabulary, without the end
    score: float  # log probability divided by the length penalty
    attention: Array  # [tokens, source tokens] attention weights


@dataclass(frozen=True)
class Rules:
    """The settings of a beam search."""

    beams: int
    max_length: Array | int  # the most tokens of each text, without the end
    penalty: float  # 0: scores are log probabilities; 1: roughly their mean per token
    vocabulary: int
    begin: int  # the token before the first one
    end: int  # the token after the last one

    def score(self, log_prob: float, length: int) -> float:
        """The log probability divided by the length penalty of Wu et al. 2016.

        `length` includes the end.
        """
        return float(log_prob / ((5 + length) / 6) ** self.penalty)


def longest(source: Array, ratio: float) -> Array:
    """The most tokens of the output for each row of source [batch, steps], which is padded with 0.

    `ratio` is relative to the tokens of the row + 5.
    """
    limit: Array = np.maximum(1, np.ceil(ratio * ((source != 0).sum(axis=1) + 5)))
    return limit


@dataclass
class _Trail:
    """Back pointers: the token, parent and attention of each beam at each step."""

    tokens: list[Array] = field(default_factory=list)  # [batch, beams] each
    parents: list[Array] = field(default_factory=list)
    attention: list[Array] = field(default_factory=list)  # [batch, beams, source]
    width: int = 0  # source steps

    def read(self, text: int, beam: int, score: float) -> Hypothesis:
        """The hypothesis in this beam, traced back from the last step."""
        tokens, weights = [], []
        for step_tokens, step_parents, step_attention in zip(
            reversed(self.tokens), reversed(self.parents), reversed(self.attention), strict=True
        ):
            tokens.append(step_tokens[text, beam])
            beam = step_parents[text, beam]
            weights.append(step_attention[text, beam])
        attention = np.array(weights[::-1], dtype=np.float32).reshape(len(tokens), self.width)
        return Hypothesis(np.array(tokens[::-1], dtype=np.int32), score, attention)


def beam_search(step: Step, batch: int, rules: Rules) -> list[Hypothesis]:
    """The best hypothesis of each text.

    The search of a text ends when it has as many complete hypotheses as beams, or after
    `rules.max_length` tokens. With one beam it is greedy.
    """
    beams = rules.beams
    tokens = np.full((batch, beams), rules.begin, dtype=np.int32)
    scores = np.full((batch, beams), NEG_INF, dtype=np.float32)
    scores[:, 0] = 0.0  # all beams are equal at first, so only one is live
    parents = np.tile(np.arange(beams, dtype=np.int32), (batch, 1))
    trail, best = (
        _Trail(),
        [Hypothesis(np.array([], np.int32), -math.inf, np.zeros((0, 0)))] * batch,
    )
    ended = np.zeros(batch, dtype=np.int64)
    max_length = np.broadcast_to(rules.max_length, batch)

    def end(text: int, beam: int, log_prob: float, length: int) -> None:
        ended[text] += 1
        score = rules.score(log_prob, length)
        if score > best[text].score:
            best[text] = trail.read(text, beam, score)

    for length in range(1, int(max_length.max()) + 2):
        top, places, ends, attention = step(tokens, scores, parents)
        live, trail.width = ended < beams, attention.shape[-1]
        late = live & (length > max_length)
        for text, beam in np.argwhere(late[:, None] & (ends > NEG_INF / 2)):
            end(text, beam, float(ends[text, beam]), length)
        ended[late] = beams
        live = live & ~late
        if not live.any():
            break
        beam_of, token_of = places // rules.vocabulary, places % rules.vocabulary
        complete = token_of == rules.end
        # A hypothesis is complete only if its end is among the best continuations.
        for text, rank in np.argwhere(
            complete[:, :beams] & live[:, None] & (top[:, :beams] > NEG_INF / 2)
        ):
            end(text, beam_of[text, rank], float(top[text, rank]), length)
        order = np.argsort(complete, axis=1, kind="stable")[:, :beams]
        candidates = (token_of, beam_of, top, complete)
        best_tokens, best_beams, best_scores, done = (
            np.take_along_axis(one, order, axis=1) for one in candidates
        )
        tokens, parents = best_tokens.astype(np.int32), best_beams.astype(np.int32)
        scores = np.where(done, NEG_INF, best_scores).astype(np.float32)
        trail.tokens.append(tokens)
        trail.parents.append(parents)
        trail.attention.append(attention)
    return best


def step_of(
    encode: Callable[[Array], Sequence[Array]],
    advance: Callable[..., Sequence[Array]],
    source: Array,
    rules: Rules,
) -> Step:
    """The step of a search with networks that know nothing of beams.

    Args:
        encode: source [rows, steps] -> the keys of the attention, and the states, [rows, ...] each.
        advance: tokens [rows], source, keys and states -> the log probabilities of the next token
            [rows, vocabulary], the attention weights [rows, steps], and the states after the token.
        source: the tokens of the texts, [texts, steps], padded with 0.
        rules: the settings of the search.
    """
    beams, texts = rules.beams, len(source)
    sources, keys, *states = (np.repeat(one, beams, axis=0) for one in (source, *encode(source)))
    first = np.arange(texts)[:, None] * beams  # the row of the first beam of each text

    def step(tokens: Array, scores: Array, parents: Array) -> tuple[Array, Array, Array, Array]:
        nonlocal states
        rows = (first + parents).ravel()
        log_probs, weights, *states = advance(
            tokens.ravel().astype(np.int64), sources, keys, *(one[rows] for one in states)
        )
        totals = scores[..., None] + np.reshape(log_probs, (texts, beams, -1))
        every = totals.reshape(texts, -1)
        places = np.argsort(-every, axis=1, kind="stable")[:, : 2 * beams]
        top = np.take_along_axis(every, places, axis=1)
        return top, places, totals[..., rules.end], np.reshape(weights, (texts, beams, -1))

    return step
