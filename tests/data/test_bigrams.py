"""Bigrams against their definitions: counts of sets, and naive Bayes."""

import itertools
import math

import numpy as np
import pytest

from gatewise.data import bigrams
from gatewise.settings import Experiment


def test_ratios_are_those_of_naive_bayes_for_tokens_and_pairs():
    random = np.random.default_rng(0)
    texts = [random.integers(1, 9, size=n).astype(np.int32) for n in (1, 4, 7, 3, 12)]
    labels, rows, vocabulary = np.array([0, 2, 1, 2, 0]), 64, 9
    ratios = bigrams.log_ratios(texts, labels, rows=rows, vocabulary=vocabulary, labels=3)
    several = bigrams.log_ratios(texts, np.eye(3)[labels], rows=rows, vocabulary=9, labels=3)
    np.testing.assert_array_equal(ratios, several)
    met = []
    for text in texts:
        tokens = text.tolist()
        pairs = [(0, one) for one in tokens] + list(itertools.pairwise(tokens))
        met.append({(a * bigrams.FACTOR + b) % rows for a, b in pairs})
    for label in range(3):
        parts = [
            [m for m, y in zip(met, labels, strict=True) if (y == label) == own]
            for own in (True, False)
        ]
        counts = [[1 + sum(row in one for one in part) for row in range(rows)] for part in parts]
        own, other = ([n / sum(part) for n in part] for part in counts)
        wanted = [math.log(a / b) for a, b in zip(own, other, strict=True)]
        np.testing.assert_allclose(ratios[:, label], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("vocabulary", [2, 50, 20_000, 70_000, 2_000_000])
def test_rows_do_not_overflow(vocabulary):
    last = np.array([vocabulary - 1], dtype=np.int32)
    exact = bigrams.rows_of(vocabulary - 1, vocabulary - 1, rows=2**18, vocabulary=vocabulary)
    assert bigrams.rows_of(last, last, rows=2**18, vocabulary=vocabulary).tolist() == [exact]


@pytest.mark.parametrize(
    ("given", "tokens", "labels", "rows"),
    [
        ({}, 100_000, 2, 2**16),
        ({}, 99_999, 2, 0),
        ({}, 10**7, 2, 2**20),
        ({}, 10**8, 1000, 2**13),
        ({"bigrams": 0}, 10**7, 2, 0),
        ({"bigrams": 7}, 10**7, 2, 7),
        ({"tokenizer": "characters"}, 10**7, 2, 0),
    ],
)
def test_the_default_table_needs_many_tokens_for_each_label(given, tokens, labels, rows):
    experiment = Experiment().having("preparation", **given)
    assert bigrams.resolved(experiment, tokens, labels).preparation.bigrams == rows
    fast = experiment.having("training", quality="fast")
    wanted = given.get("bigrams", 0)
    assert bigrams.resolved(fast, tokens, labels).preparation.bigrams == wanted
