"""Tokens beside their true and their answered tags: what scores and the report are made of.

What is known of every token of a part is one array, end to end over its sentences.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewise import metrics
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences
from gatewise.readers.conll import TAG, TOKEN, tokens_of
from gatewise.settings import Experiment
from gatewise.tasks.tag import spans
from gatewise.tasks.task import NETWORK

LENGTHS = (1, 6, 11, 21, 41)  # tokens from which a class of the report's lengths begins
LEAST = 1e-6  # a chance of less surprises no more


def tags_of(sequences: Sequences, preparation: Preparation) -> Array:
    """The position of every token's tag in all the values, [all steps]; `classes` if not known."""
    known = {tag: place for place, tag in enumerate(preparation.classes)}
    of_level = np.array([known.get(tag, len(known)) for tag in sequences.levels[TAG]])
    found: Array = of_level[sequences.values[:, sequences.columns.index(TAG)]]
    return found


def sentences_of(some: Examples) -> Sequences:
    """The sentences as the file has them: pieces of one are put together again."""
    pieces = some.of
    assert isinstance(pieces, Sequences)
    first = np.flatnonzero(np.diff(pieces.first, prepend=-1))
    last = np.append(first[1:], len(pieces)) - 1
    return pieces.chosen(first).between(pieces.starts[first], pieces.stops[last])


def truth_of(sequences: Sequences) -> list[list[str]]:
    """The tags of each sentence, as the file has them."""
    return [tokens_of(sequences, TAG, k) for k in range(len(sequences))]


def flat(sequences: Sequences, known: Array) -> Array:
    """Of something about all steps of the values, what belongs to these sentences, end to end."""
    return np.concatenate(
        [known[a:b] for a, b in zip(sequences.starts, sequences.stops, strict=True)]
    )


def actual_of(some: Examples, preparation: Preparation) -> Array:
    """The position of the true tag of each token, [tokens]; `classes` if training knew none."""
    sentences = sentences_of(some)
    return flat(sentences, tags_of(sentences, preparation))


def by_sentence(sequences: Sequences, known: Any) -> list[list[Any]]:
    """What is known of all tokens, sentence by sentence."""
    ends = np.cumsum(sequences.lengths)
    listed = known.tolist()
    return [listed[b - n : b] for b, n in zip(ends, sequences.lengths, strict=True)]


def told_of(given: Array, some: Examples, preparation: Preparation) -> list[list[str]]:
    """The tags answered, sentence by sentence."""
    return by_sentence(sentences_of(some), np.array(preparation.classes)[given.argmax(axis=1)])


def new_words(some: Examples, preparation: Preparation) -> Array:
    """Which tokens training never met in this spelling, [tokens] bool."""
    sentences, known = sentences_of(some), set(preparation.symbols[TOKEN])
    of_level = np.array([token not in known for token in sentences.levels[TOKEN]])
    return flat(sentences, of_level[sentences.values[:, 0]])


def details(
    answers: dict[str, Array], some: Examples, preparation: Preparation, experiment: Experiment
) -> dict[str, Any]:
    """Confusions, scores by tag and by span, new words, lengths and the worst sentences."""
    given, classes = answers[NETWORK], list(preparation.classes)
    actual, chosen = actual_of(some, preparation), given.argmax(axis=1)
    known = actual < len(classes)
    matrix = metrics.confusion(actual[known], chosen[known], len(classes))
    counts = metrics.counts_by_class(matrix)
    met = np.flatnonzero(counts[1] + counts[2])  # tags that occur, or were answered
    found: dict[str, Any] = {
        "classes": classes,
        "confusion": matrix.tolist(),
        "by_class": metrics.by_class([classes[k] for k in met], *(one[met] for one in counts)),
        "seen": _by_seen(answers, some, preparation),
        "lengths": _by_length(answers, some, preparation),
        "temperature": preparation.temperature,
        "sentences": _worst(given, some, preparation, experiment.report.examples),
    }
    if spans.mark_spans(classes):
        truth = truth_of(sentences_of(some))
        found["by_span"] = spans.by_type(truth, told_of(given, some, preparation))
    return found


def _by_seen(
    answers: Mapping[str, Array], some: Examples, preparation: Preparation
) -> list[dict[str, Any]]:
    """Accuracy of every answer on words that training met in this spelling, and on others."""
    actual, new = actual_of(some, preparation), new_words(some, preparation)
    rows = []
    for words, which in (("seen", ~new), ("new", new)):
        accuracy = {
            name: float((given[which].argmax(axis=1) == actual[which]).mean())
            for name, given in answers.items()
            if which.any()
        }
        rows.append({"words": words, "tokens": int(which.sum()), "accuracy": accuracy})
    return rows


def _by_length(
    answers: Mapping[str, Array], some: Examples, preparation: Preparation
) -> list[dict[str, Any]]:
    """Share of wrong tokens in sentences of like length."""
    actual, lengths = actual_of(some, preparation), sentences_of(some).lengths
    bins = np.searchsorted(LENGTHS, lengths, side="right") - 1
    rows = []
    for k, least in enumerate(LENGTHS):
        tokens = np.repeat(bins == k, lengths)
        if tokens.any():
            wrong = {
                name: float((given[tokens].argmax(axis=1) != actual[tokens]).mean())
                for name, given in answers.items()
            }
            most = LENGTHS[k + 1] - 1 if k + 1 < len(LENGTHS) else None
            count = int((bins == k).sum())
            rows.append({"from": least, "to": most, "sentences": count, "wrong": wrong})
    return rows


def _worst(
    given: Array, some: Examples, preparation: Preparation, count: int
) -> list[dict[str, Any]]:
    """The sentences whose true tags surprise the network most, of those with mistakes."""
    sentences, actual = sentences_of(some), actual_of(some, preparation)
    chance = np.where(
        actual < given.shape[1],
        given[np.arange(len(given)), np.minimum(actual, given.shape[1] - 1)],
        0.0,
    )
    wrong = given.argmax(axis=1) != actual
    surprise = np.where(wrong, -np.log(np.maximum(chance, LEAST)), 0.0)
    whole = np.add.reduceat(surprise, np.cumsum(sentences.lengths) - sentences.lengths)
    worst = [k for k in np.argsort(-whole, kind="stable")[:count] if whole[k] > 0]
    told = told_of(given, some, preparation)
    sure = by_sentence(sentences, given.max(axis=1))
    return [
        {
            "id": str(sentences.ids[k]),
            "tokens": tokens_of(sentences, TOKEN, k),
            "truth": tokens_of(sentences, TAG, k),
            "answer": told[k],
            "probability": sure[k],
        }
        for k in worst
    ]
