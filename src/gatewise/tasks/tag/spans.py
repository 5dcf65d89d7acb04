"""Spans marked by tags such as B-city, I-city and O, and the counts behind their scores."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from gatewise import metrics
from gatewise.data.sequences import Array

Span = tuple[str, int, int]  # type, first token, last token

OUTSIDE = "O"
MARK = re.compile(r"[BIES](-.+)?$")
BEGINS, ENDS, CONTINUES = ("B", "S"), ("E", "S"), ("I", "E")


def mark_spans(tags: Iterable[str]) -> bool:
    """Whether these tags mark spans: O, and B, I, E or S followed by a type.

    >>> mark_spans(["O", "B-city", "I-city"]), mark_spans(["NOUN", "VERB"])
    (True, False)
    """
    known = set(tags) - {OUTSIDE}
    return all(map(MARK.match, known)) and any(one[0] in "BI" for one in known)


def spans(tags: Sequence[str]) -> set[Span]:
    """The spans of one sentence, read leniently, as CoNLL-2000's conlleval and seqeval do.

    A span begins at B or S, after O, E or S, or where the type changes, whatever the prefix.

    >>> sorted(spans(["B-city", "I-city", "O", "I-time"]))
    [('city', 0, 1), ('time', 3, 3)]
    """
    complete: set[Span] = set()
    begin = -1  # first token of the current span; -1: none
    previous = OUTSIDE
    for place, tag in enumerate([*tags, OUTSIDE]):
        continues = (
            begin >= 0
            and tag != OUTSIDE
            and tag[0] not in BEGINS
            and previous[0] not in ENDS
            and _type(tag) == _type(previous)
        )
        if not continues:
            if begin >= 0:
                complete.add((_type(previous), begin, place - 1))
            begin = -1 if tag == OUTSIDE else place
        previous = tag
    return complete


def may_follow(before: str, tag: str, *, ending: bool) -> bool:
    """Whether `tag` may follow `before` in a sentence; "" is the beginning or the end of it.

    I and E continue a span of their type. `ending`: the tags mark the end of every span (E, S), so
    that B and I must be continued.

    >>> may_follow("B-city", "I-city", ending=False), may_follow("O", "I-city", ending=False)
    (True, False)
    """
    opened = before[:1] in ("B", "I")
    if tag[:1] in CONTINUES:
        return opened and _type(before) == _type(tag)
    return not (opened and ending)


def _type(tag: str) -> str:
    return tag[2:] or "_"


def counts(truth: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> Array:
    """The number of correct, predicted and true spans of each sentence, [sentences, 3]."""
    pairs = [(spans(one), spans(other)) for one, other in zip(truth, predictions, strict=True)]
    return np.array(
        [[len(support & predicted), len(predicted), len(support)] for support, predicted in pairs],
        dtype=np.float64,
    ).reshape(-1, 3)


def by_type(
    truth: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support of each type of span, sorted by type."""
    correct: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    support: Counter[str] = Counter()
    for one, other in zip(truth, predictions, strict=True):
        true_spans, predicted_spans = spans(one), spans(other)
        correct.update(span[0] for span in true_spans & predicted_spans)
        predicted.update(span[0] for span in predicted_spans)
        support.update(span[0] for span in true_spans)
    names = sorted(predicted | support)
    correct_counts, predicted_counts, support_counts = (
        np.array([count[name] for name in names]) for count in (correct, predicted, support)
    )
    return metrics.by_class(names, correct_counts, predicted_counts, support_counts)
