"""CTC decoding: from the probabilities of each frame to a transcript.

In connectionist temporal classification (Graves et al. 2006) every frame emits a symbol or a blank.
Repeated symbols are merged, then blanks are removed. The probability of a transcript is the sum
over all its alignments.

Exports carry this file, so it needs NumPy alone.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BLANK = 0  # index of the blank; character k of the classes is symbol k + 1
UNLIKELY = math.log(1e-4)  # less probable symbols do not extend a prefix
END = ""  # the end of a transcript in the language model
NEG_INF = -math.inf

# The score that a symbol adds to a prefix, in nats; the symbol None is the end.
Bonus = Callable[[tuple[int, ...], int | None], float]


def greedy(scores: Array) -> list[int]:
    """The symbols of the most probable alignment, [frames, symbols] -> symbols without blanks.

    >>> greedy(np.eye(3)[[1, 1, 0, 1, 2, 2]])
    [1, 1, 2]
    """
    best = scores.argmax(axis=1)
    fresh = np.ones(len(best), dtype=bool)
    fresh[1:] = best[1:] != best[:-1]
    return [int(one) for one in best[fresh & (best != BLANK)]]


def beam_search(log_probs: Array, width: int, bonus: Bonus | None = None) -> list[int]:
    """The transcript with the highest probability that the search finds.

    CTC prefix search (Graves et al. 2006, section 3.2; Hannun et al. 2014, algorithm 1). Each frame
    keeps the `width` best prefixes. Each prefix has two probabilities: of its alignments that end
    in a blank, and of those that end in a symbol.

    Args:
        log_probs: log probabilities of each frame, [frames, symbols].
        width: the number of prefixes to keep.
        bonus: the language model score of a further symbol or of the end.
    """
    beams: Beams = {(): Beam()}
    for frame in log_probs:
        beams = extended(beams, frame, width, bonus)
    return list(likeliest(beams, bonus))


class Beam(NamedTuple):
    """What is known of a prefix, in nats."""

    blank: float = 0.0  # of its alignments that end in a blank
    symbol: float = NEG_INF  # of those that end in its last symbol
    worth: float = 0.0  # by the language model

    @property
    def score(self) -> float:
        """The score by which prefixes are compared."""
        return _sum(self.blank, self.symbol) + self.worth


Prefix = tuple[int, ...]
Beams = dict[Prefix, Beam]


def extended(beams: Beams, frame: Array, width: int, bonus: Bonus | None = None) -> Beams:
    """The best prefixes after one more frame, log probabilities [symbols]."""
    following: dict[Prefix, tuple[float, float]] = defaultdict(lambda: (NEG_INF, NEG_INF))
    worth = {prefix: beam.worth for prefix, beam in beams.items()}
    likely = [s for s in np.flatnonzero(frame > UNLIKELY).tolist() if s != BLANK]
    for prefix, (blank, symbol, _) in beams.items():
        both = _sum(blank, symbol)
        _add(following, prefix, both + float(frame[BLANK]), NEG_INF)
        if prefix:  # the last symbol is repeated
            _add(following, prefix, NEG_INF, symbol + float(frame[prefix[-1]]))
        for one in likely:
            # A double symbol needs a blank between its two emissions.
            before = blank if prefix and prefix[-1] == one else both
            if before == NEG_INF:
                continue
            longer = (*prefix, one)
            if longer not in worth:
                worth[longer] = worth[prefix] + (bonus(prefix, one) if bonus else 0.0)
            _add(following, longer, NEG_INF, before + float(frame[one]))
    found = {prefix: Beam(*both, worth[prefix]) for prefix, both in following.items()}
    ranked = sorted(found, key=lambda prefix: found[prefix].score, reverse=True)
    return {prefix: found[prefix] for prefix in ranked[:width]}


def likeliest(beams: Beams, bonus: Bonus | None = None) -> Prefix:
    """The best prefix as a whole transcript."""

    def final(prefix: Prefix) -> float:
        return beams[prefix].score + (bonus(prefix, None) if bonus else 0.0)

    return max(beams, key=final)


def _add(
    beams: dict[tuple[int, ...], tuple[float, float]],
    prefix: tuple[int, ...],
    blank: float,
    symbol: float,
) -> None:
    old_blank, old_symbol = beams[prefix]
    beams[prefix] = (_sum(old_blank, blank), _sum(old_symbol, symbol))


def _sum(one: float, other: float) -> float:
    """log(exp(one) + exp(other))."""
    low, high = (one, other) if one < other else (other, one)
    return high if low == NEG_INF else high + math.log1p(math.exp(low - high))


# The character language model


@dataclass(frozen=True)
class Characters:
    """A character n-gram model of transcripts, with Witten-Bell smoothing.

    The counts of a context are interpolated with the model of the next shorter context. The weight
    of the latter grows with the number of distinct characters seen after the context (Chen &
    Goodman 1998, section 2.5).
    """

    order: int  # n, which includes the predicted character
    counts: Mapping[str, Mapping[str, int]]  # context -> character -> count
    surprise: float  # mean -log P of a character of the training transcripts, in nats

    def probability(self, context: str, character: str) -> float:
        """P(character | context); the character END is the end of the transcript."""
        seen = self.counts.get(context)
        uniform = 1 / (len(self.counts[""]) + 1)  # over all seen characters and one unseen
        shorter = self.probability(context[1:], character) if context else uniform
        if not seen:
            return shorter
        total, kinds = sum(seen.values()), len(seen)
        return (seen.get(character, 0) + kinds * shorter) / (total + kinds)


def fit_characters(transcripts: Iterable[str], order: int) -> Characters:
    """Fit a model of this order to transcripts.

    >>> model = fit_characters(["ab", "ab"], 2)
    >>> round(model.probability("a", "b"), 3)  # (2 + 1 * 11 / 36) / (2 + 1)
    0.769
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    texts = list(transcripts)
    for text in texts:
        for place, character in enumerate([*text, END]):
            for back in range(min(order - 1, place) + 1):
                counts[text[place - back : place]][character] += 1
    model = Characters(order, {context: dict(seen) for context, seen in counts.items()}, 0.0)
    nats = [
        -math.log(model.probability(_context(text[:place], order), character))
        for text in texts
        for place, character in enumerate([*text, END])
    ]
    return Characters(order, model.counts, sum(nats) / len(nats))


def _context(before: str, order: int) -> str:
    return before[-(order - 1) :] if order > 1 else ""


def bonus_of(model: Characters, weight: float, classes: Sequence[str]) -> Bonus:
    """The language model score of a symbol after a prefix, multiplied by `weight`.

    A character of average probability scores 0. Without this offset every character would lower the
    score, and the search would prefer short transcripts.
    """
    cache: dict[tuple[str, str], float] = {}

    def bonus(prefix: tuple[int, ...], symbol: int | None) -> float:
        before = "".join(classes[one - 1] for one in prefix[max(0, len(prefix) - model.order) :])
        context = _context(before, model.order)
        character = END if symbol is None else classes[symbol - 1]
        if (context, character) not in cache:
            nats = math.log(model.probability(context, character)) + model.surprise
            cache[context, character] = weight * nats
        return cache[context, character]

    return bonus


# Transcripts


def decoded(
    outputs: Iterable[Array],
    classes: Sequence[str],
    *,
    beam_size: int = 1,
    lm: Characters | None = None,
    lm_weight: float = 0.0,
) -> list[str]:
    """The transcript of each recording.

    Args:
        outputs: the log probabilities of each recording, [frames, symbols].
        classes: the characters of the symbols after the blank.
        beam_size: 1: greedy decoding; else the prefixes of the search.
        lm: the language model of the search; None: none.
        lm_weight: its weight.
    """
    bonus = None if lm is None else bonus_of(lm, lm_weight, classes)
    texts = []
    for scores in outputs:
        symbols = beam_search(scores, beam_size, bonus) if beam_size > 1 else greedy(scores)
        text = "".join(classes[one - 1] for one in symbols)
        texts.append(" ".join(text.split()))
    return texts
