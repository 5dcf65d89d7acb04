"""Beam search: the likeliest answer of a network that says one token after another."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from gatewise.data.sequences import Array
from gatewise.data.vocabulary import BEGIN, END
from gatewise.tasks.translate.task import Hypothesis

NEG_INF = -1.0e9  # the log of no chance at all, which arithmetic survives

# (tokens, scores, parents) [batch, beams] -> the outputs of `translate._step`, without the states.
Step = Callable[[Array, Array, Array], tuple[Array, Array, Array, Array]]


@dataclass(frozen=True)
class Rules:
    """How wide and how far is searched, and how lengths are compared."""

    beams: int
    longest: Array | int  # of each text, tokens at most, the end not counted
    penalty: float  # 0: scores are log probabilities; 1: about the mean of a token
    vocabulary: int

    def score(self, log_prob: float, length: int) -> float:
        """A log probability over the length penalty of Wu et al. 2016; the end is counted."""
        return float(log_prob / ((5 + length) / 6) ** self.penalty)


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


def beam_search(step: Step, batch: int, rules: Rules) -> list[Hypothesis]:
    """The best hypothesis of each text.

    A text is done when as many hypotheses have ended as there are beams; what has not ended after
    `rules.longest` tokens ends there. With one beam the likeliest token is taken each time.
    """
    beams = rules.beams
    tokens = np.full((batch, beams), BEGIN, dtype=np.int32)
    scores = np.full((batch, beams), NEG_INF, dtype=np.float32)
    scores[:, 0] = 0.0  # all beams are the same at first: one of them is enough
    parents = np.tile(np.arange(beams, dtype=np.int32), (batch, 1))
    trail, best = (
        _Trail(),
        [Hypothesis(np.array([], np.int32), -math.inf, np.zeros((0, 0)))] * batch,
    )
    ended = np.zeros(batch, dtype=np.int64)
    longest = np.broadcast_to(rules.longest, batch)

    def end(text: int, beam: int, log_prob: float, length: int) -> None:
        ended[text] += 1
        score = rules.score(log_prob, length)
        if score > best[text].score:
            best[text] = trail.read(text, beam, score)

    for length in range(1, int(longest.max()) + 2):
        top, places, ends, looked = step(tokens, scores, parents)
        live, trail.width = ended < beams, looked.shape[-1]
        late = live & (length > longest)
        for text, beam in np.argwhere(late[:, None] & (ends > NEG_INF / 2)):
            end(text, beam, float(ends[text, beam]), length)
        ended[late] = beams
        live = live & ~late
        if not live.any():
            break
        beam_of, token_of = places // rules.vocabulary, places % rules.vocabulary
        over = token_of == END
        # An end that is not among the best is no end yet.
        for text, rank in np.argwhere(
            over[:, :beams] & live[:, None] & (top[:, :beams] > NEG_INF / 2)
        ):
            end(text, beam_of[text, rank], float(top[text, rank]), length)
        order = np.argsort(over, axis=1, kind="stable")[:, :beams]
        taken = [np.take_along_axis(one, order, axis=1) for one in (token_of, beam_of, top, over)]
        tokens, parents = taken[0].astype(np.int32), taken[1].astype(np.int32)
        scores = np.where(taken[3], NEG_INF, taken[2]).astype(np.float32)
        trail.tokens.append(tokens)
        trail.parents.append(parents)
        trail.looked.append(looked)
    return best
