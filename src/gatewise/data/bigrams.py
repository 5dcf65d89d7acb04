"""Bigrams: pairs of neighbouring tokens, and how much more often a label has them than the others.

Tokens and bigrams share a table whose rows a hash chooses, so nothing is looked up by name.
The ratios are those of naive Bayes (Wang & Manning 2012).
"""

from typing import Any

import numpy as np

from gatewise.data.sequences import Array
from gatewise.settings import Experiment, names

BIGRAMS = "bigrams"  # the name of the table in `Shapes`
SETTINGS = names(preparation="bigrams")
MOST = 2**20  # rows of the default table
MOST_NUMBERS = 2**23  # in the default table: rows times labels
LEAST = 50_000  # tokens for each label, below which the default is no table
FACTOR = 31_337  # a prime, so that few pairs share a row
BATCH = 2_000  # texts that are counted at once


def resolved(experiment: Experiment, tokens: int, labels: int) -> Experiment:
    """The default number of rows: about one for each token of the training part.

    There is no table for few tokens, whose counts are chance (docs/log.md, 2026-11-28), or for
    characters, of which there are few different pairs.
    """
    given, training = experiment.preparation, experiment.training
    if given.bigrams >= 0:
        return experiment
    plain = training.quality == "fast" or given.tokenizer == "characters"
    most = min(MOST, MOST_NUMBERS // labels, tokens)
    rows = 0 if plain or tokens < LEAST * labels else 2 ** int(np.log2(most))
    return experiment.having("preparation", bigrams=rows)


def rows_of(before: Any, tokens: Any, *, rows: int, vocabulary: int) -> Any:
    """The row of each pair of tokens, for arrays and tensors alike; 0 before a token: alone."""
    # Even the largest product is a 32-bit number.
    factor = min(FACTOR, (2**31 - 1) // vocabulary - 1)
    return (before * factor + tokens) % rows


def log_ratios(
    texts: list[Array], wanted: Array, *, rows: int, vocabulary: int, labels: int
) -> Array:
    """The logarithm of how many times as often texts of a label have a row, [rows, labels].

    `wanted` are the positions of the labels [texts], or the true ones of each text [texts, labels].
    A text counts once for each of its rows.
    """
    hot = wanted if wanted.ndim == 2 else np.eye(labels)[wanted]
    counts, total = np.zeros((rows, labels)), np.zeros((rows, 1))
    for begin in range(0, len(texts), BATCH):
        some = texts[begin : begin + BATCH]
        number = np.repeat(np.arange(len(some)), [len(one) for one in some])
        tokens = np.concatenate(some)
        before = np.concatenate([[0], tokens[:-1]])
        before[np.flatnonzero(np.diff(number)) + 1] = 0  # the first token of a text
        pairs = [rows_of(one, tokens, rows=rows, vocabulary=vocabulary) for one in (0, before)]
        met = np.unique(np.concatenate([number * rows + one for one in pairs]))
        np.add.at(total, met % rows, 1.0)
        np.add.at(counts, met % rows, hot[begin + met // rows])
    own, other = counts + 1, total - counts + 1
    ratios: Array = np.log(own / own.sum(axis=0)) - np.log(other / other.sum(axis=0))
    return ratios.astype(np.float32)
