"""Spans that tags such as B-city, I-city and O mark, and how many of them are found."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from gatewise import metrics
from gatewise.data.sequences import Array

Span = tuple[str, int, int]  # type, first token, last token

OUTSIDE = "O"
MARK = re.compile(r"[BIES](-.+)?$")
BEGINS, ENDS = ("B", "S"), ("E", "S")


def mark_spans(tags: Iterable[str]) -> bool:
    """Whether these tags mark spans: O, and B, I, E or S with a type behind it.

    >>> mark_spans(["O", "B-city", "I-city"]), mark_spans(["NOUN", "VERB"])
    (True, False)
    """
    known = set(tags) - {OUTSIDE}
    return all(map(MARK.match, known)) and any(one[0] in "BI" for one in known)


def spans(tags: Sequence[str]) -> set[Span]:
    """The spans of one sentence, read leniently, as CoNLL-2000's conlleval and seqeval read them.

    A span begins at B or S, behind O, E or S, or where the type changes, whatever stands there.

    >>> sorted(spans(["B-city", "I-city", "O", "I-time"]))
    [('city', 0, 1), ('time', 3, 3)]
    """
    found: set[Span] = set()
    begin = -1  # of the span at hand; -1: none
    before = OUTSIDE
    for place, tag in enumerate([*tags, OUTSIDE]):
        goes_on = (
            begin >= 0
            and tag != OUTSIDE
            and tag[0] not in BEGINS
            and before[0] not in ENDS
            and _type(tag) == _type(before)
        )
        if not goes_on:
            if begin >= 0:
                found.add((_type(before), begin, place - 1))
            begin = -1 if tag == OUTSIDE else place
        before = tag
    return found


def _type(tag: str) -> str:
    return tag[2:] or "_"


def counts(truth: Sequence[Sequence[str]], answer: Sequence[Sequence[str]]) -> Array:
    """Spans found, answered and there, of each sentence: [sentences, 3]."""
    pairs = [(spans(one), spans(other)) for one, other in zip(truth, answer, strict=True)]
    return np.array(
        [[len(there & told), len(told), len(there)] for there, told in pairs], dtype=np.float64
    ).reshape(-1, 3)


def by_type(
    truth: Sequence[Sequence[str]], answer: Sequence[Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support of each type of span, in order of their names."""
    right: Counter[str] = Counter()
    told: Counter[str] = Counter()
    there: Counter[str] = Counter()
    for one, other in zip(truth, answer, strict=True):
        wanted, given = spans(one), spans(other)
        right.update(span[0] for span in wanted & given)
        told.update(span[0] for span in given)
        there.update(span[0] for span in wanted)
    names = sorted(told | there)
    hits, answered, occurring = (
        np.array([count[name] for name in names]) for count in (right, told, there)
    )
    return metrics.by_class(names, hits, answered, occurring)
