"""What a network says of the frames of a recording -> a transcript.

In connectionist temporal classification (Graves et al. 2006) every frame says a symbol or a blank;
a run of one symbol is that symbol once, and blanks are left out. A transcript's chance is the sum
over all the ways of saying it.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gatewise.data.sequences import Array

BLANK = 0  # where the blank stands among the symbols; character k of the classes is symbol k + 1
UNLIKELY = math.log(1e-4)  # a symbol less probable than this in a frame is not followed there
END = ""  # what a language model calls the end of a transcript
NEVER = -math.inf

# The nats that a further symbol earns behind a prefix; None asks for what the end earns.
Bonus = Callable[[tuple[int, ...], int | None], float]


def greedy(scores: Array) -> list[int]:
    """The symbols of the most probable way, [frames, symbols] -> symbols without blanks.

    >>> greedy(np.eye(3)[[1, 1, 0, 1, 2, 2]])
    [1, 1, 2]
    """
    best = scores.argmax(axis=1)
    fresh = np.ones(len(best), dtype=bool)
    fresh[1:] = best[1:] != best[:-1]
    return [int(one) for one in best[fresh & (best != BLANK)]]


def beam_search(log_chances: Array, width: int, bonus: Bonus | None = None) -> list[int]:
    """The most probable transcript among those followed, by its chance summed over all its ways.

    Prefix search (Graves et al. 2006, section 3.2; Hannun et al. 2014, algorithm 1): of all
    beginnings of transcripts the `width` best are kept from frame to frame, with the chances of
    their ways that end in a blank and of those that end in a symbol.

    Args:
        log_chances: [frames, symbols], the logarithms of each frame's probabilities.
        width: prefixes that are kept.
        bonus: what a language model adds to a prefix for each further symbol, and for its end.
    """
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, NEVER)}
    worth: dict[tuple[int, ...], float] = {(): 0.0}
    for frame in log_chances:
        following: dict[tuple[int, ...], tuple[float, float]] = defaultdict(lambda: (NEVER, NEVER))
        likely = [s for s in np.flatnonzero(frame > UNLIKELY).tolist() if s != BLANK]
        for prefix, (blank, symbol) in beams.items():
            both = _sum(blank, symbol)
            _add(following, prefix, both + float(frame[BLANK]), NEVER)
            if prefix:  # the same symbol goes on
                _add(following, prefix, NEVER, symbol + float(frame[prefix[-1]]))
            for one in likely:
                # A symbol is said twice only where a blank parts the two.
                before = blank if prefix and prefix[-1] == one else both
                if before == NEVER:
                    continue
                longer = (*prefix, one)
                if longer not in worth:
                    worth[longer] = worth[prefix] + (bonus(prefix, one) if bonus else 0.0)
                _add(following, longer, NEVER, before + float(frame[one]))
        ranked = sorted(following, key=lambda p: _sum(*following[p]) + worth[p], reverse=True)
        beams = {prefix: following[prefix] for prefix in ranked[:width]}

    def final(prefix: tuple[int, ...]) -> float:
        return _sum(*beams[prefix]) + worth[prefix] + (bonus(prefix, None) if bonus else 0.0)

    best = max(beams, key=final)
    return list(best)


def _add(
    beams: dict[tuple[int, ...], tuple[float, float]],
    prefix: tuple[int, ...],
    blank: float,
    symbol: float,
) -> None:
    known = beams[prefix]
    beams[prefix] = (_sum(known[0], blank), _sum(known[1], symbol))


def _sum(one: float, other: float) -> float:
    """log(exp(one) + exp(other))."""
    low, high = (one, other) if one < other else (other, one)
    return high if low == NEVER else high + math.log1p(math.exp(low - high))


# Characters behind characters


@dataclass(frozen=True)
class Characters:
    """How often which character follows which, in transcripts: an n-gram model of characters.

    Witten-Bell smoothing (Chen & Goodman 1998, section 2.5): what a context has seen counts beside
    what shorter ones say, the less so the more different characters followed it.
    """

    order: int  # characters that are looked at, the next one among them
    counts: Mapping[str, Mapping[str, int]]  # context -> character -> how often
    surprise: float  # nats that a character of the training transcripts costs, on average

    def chance(self, context: str, character: str) -> float:
        """P(character | the characters before it); END is the end of the transcript."""
        seen = self.counts.get(context)
        anything = 1 / (len(self.counts[""]) + 1)  # all that were met, and one that never was
        shorter = self.chance(context[1:], character) if context else anything
        if not seen:
            return shorter
        total, kinds = sum(seen.values()), len(seen)
        return (seen.get(character, 0) + kinds * shorter) / (total + kinds)


def fit_characters(transcripts: Iterable[str], order: int) -> Characters:
    """Count the characters of transcripts, each behind up to `order` - 1 others.

    >>> round(fit_characters(["ab", "ab"], 2).chance("a", "b"), 3)  # (2 + 1 * 11 / 36) / (2 + 1)
    0.769
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    texts = list(transcripts)
    for text in texts:
        for place, character in enumerate([*text, END]):
            for back in range(min(order - 1, place) + 1):
                counts[text[place - back : place]][character] += 1
    found = Characters(order, {context: dict(seen) for context, seen in counts.items()}, 0.0)
    nats = [
        -math.log(found.chance(_context(text[:place], order), character))
        for text in texts
        for place, character in enumerate([*text, END])
    ]
    return Characters(order, found.counts, sum(nats) / len(nats))


def _context(before: str, order: int) -> str:
    return before[-(order - 1) :] if order > 1 else ""


def bonus_of(model: Characters, weight: float, classes: Sequence[str]) -> Bonus:
    """What a model adds to a prefix of symbols, `weight` times.

    A character that is as probable as one usually is earns nothing. Its bare logarithm, which is
    never above 0, would make the shortest transcript the best.
    """
    known: dict[tuple[str, str], float] = {}

    def bonus(prefix: tuple[int, ...], symbol: int | None) -> float:
        before = "".join(classes[one - 1] for one in prefix[max(0, len(prefix) - model.order) :])
        context = _context(before, model.order)
        character = END if symbol is None else classes[symbol - 1]
        if (context, character) not in known:
            nats = math.log(model.chance(context, character)) + model.surprise
            known[context, character] = weight * nats
        return known[context, character]

    return bonus
