"""Kneser-Ney, against hand-computed numbers, a second implementation, and sums of one."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from gatewise.baselines import ngrams
from gatewise.data.sequences import from_texts


def probabilities(model, tokens):
    return np.exp(-model.token_nll(np.array(tokens)))


def test_bigrams_of_four_tokens_worked_out_by_hand():
    # 0 1 0 1 after a start of 0: the bigrams 00 once, 01 twice, 10 once; no four kinds of counts,
    # so the usual discounts apply: 1/2 from one, 1 from two.
    # 0 follows two different tokens and 1 one: P(0) = (2 - 1)/3 + 1/2 * 1/2 = 7/12, P(1) = 5/12.
    # P(1 | 0) = (2 - 1)/3 + (1/2 + 1)/3 * 5/12 = 13/24; P(1 | 1) = 0 + (1/2)/1 * 5/12 = 5/24.
    model = ngrams.fit(np.array([0, 1, 0, 1]), 2, start=0, order=2)
    np.testing.assert_allclose(model.base, [7 / 12, 5 / 12])
    np.testing.assert_allclose(probabilities(model, [1, 1]), [13 / 24, 5 / 24])


def test_discounts_are_those_of_the_formula():
    # n1 = 4, n2 = 2, n3 = 1, n4 = 1: Y = 4/8; 1 - 2Y 2/4, 2 - 3Y 1/2, 3 - 4Y 1/1.
    counts = np.array([1, 1, 1, 1, 2, 2, 3, 4, 9])
    assert ngrams.discounts_of(counts) == (0.5, 1.25, 1.0)


def test_discounts_without_counts_are_the_usual_ones():
    assert ngrams.discounts_of(np.array([1, 1, 2, 3])) == ngrams.DEFAULT_DISCOUNTS
    # Far more twos than ones would take less than nothing from a count of one.
    odd = np.repeat([1, 2, 3, 4], [3, 2, 30, 1])
    assert ngrams.discounts_of(odd) == ngrams.DEFAULT_DISCOUNTS


class Slow:
    """Chen & Goodman's formula with dictionaries and exact fractions."""

    def __init__(self, tokens, vocabulary, start, order):
        text = [start] * (order - 1) + list(tokens)
        self.vocabulary, self.start, self.order = vocabulary, start, order
        grams = [
            Counter(tuple(text[k - n + 1 : k + 1]) for k in range(order - 1, len(text)))
            if n == order
            else set()
            for n in range(order + 1)
        ]
        self.counts = {order: dict(grams[order])}
        for n in range(order - 1, 0, -1):
            # The n-grams with one more token that occur anywhere in the text.
            longer = {tuple(text[k - n : k + 1]) for k in range(n, len(text))}
            self.counts[n] = dict(Counter(gram[1:] for gram in longer))
        self.discounts = {
            n: ngrams.discounts_of(np.array(list(counts.values())))
            for n, counts in self.counts.items()
        }

    def probability(self, context, token):
        none = Fraction(1, self.vocabulary)
        lower = self.probability(context[1:], token) if context else none
        n = len(context) + 1
        followers = {
            gram[-1]: count for gram, count in self.counts[n].items() if gram[:-1] == context
        }
        total = sum(followers.values())
        if not total:
            return lower
        taken = [Fraction(self.discounts[n][min(c, 3) - 1]) for c in followers.values()]
        own = Fraction(0)
        if token in followers:
            count = followers[token]
            own = (count - Fraction(self.discounts[n][min(count, 3) - 1])) / total
        return own + sum(taken) / total * lower

    def probabilities(self, tokens):
        text = [self.start] * (self.order - 1) + list(tokens)
        return [
            float(self.probability(tuple(text[k - self.order + 1 : k]), text[k]))
            for k in range(self.order - 1, len(text))
        ]


@pytest.mark.parametrize("order", [2, 3, 4])
def test_sorted_tables_agree_with_the_formula(order):
    random = np.random.default_rng(order)
    text = random.choice(5, size=160, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    asked = random.integers(0, 7, size=40)  # tokens 5 and 6 never occurred
    model = ngrams.fit(text, 7, start=0, order=order)
    np.testing.assert_allclose(
        probabilities(model, asked),
        Slow(text, 7, 0, order).probabilities(asked.tolist()),
        rtol=1e-12,
    )


@pytest.mark.parametrize("context", [[], [1], [1, 2, 3], [5, 5, 5], [0, 0, 1, 2, 1, 0]])
def test_the_probabilities_of_all_tokens_sum_to_one(context):
    random = np.random.default_rng(0)
    model = ngrams.fit(random.choice(5, size=300), 6, start=0, order=4)
    together = sum(probabilities(model, [*context, token])[-1] for token in range(6))
    assert together == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("order", [2, 4])
def test_what_follows_has_the_probabilities_of_the_tokens(order):
    random = np.random.default_rng(5)
    model = ngrams.fit(random.integers(0, 6, 300), 8, start=0, order=order)
    text = random.integers(0, 8, 40)  # two of the tokens were never seen
    for k in range(len(text)):
        after = model.following(text[:k])
        assert after.sum() == pytest.approx(1)
        assert after[text[k]] == pytest.approx(probabilities(model, text[: k + 1])[-1])


def test_unigram_counts_every_token_once_more():
    np.testing.assert_allclose(ngrams.unigram(np.array([0, 0, 2]), 3), [3 / 6, 1 / 6, 2 / 6])


@pytest.mark.parametrize("vocabulary", [10, 70_000])
def test_packing_tokens_round_trips(vocabulary):
    tokens = np.random.default_rng(0).integers(0, vocabulary, size=1000)
    np.testing.assert_array_equal(ngrams.unpacked(ngrams.packed(tokens, vocabulary)), tokens)


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(ngrams, "MAX_TOKENS", 5)
    kept = ngrams.unpacked(ngrams.packed(np.arange(20), 20))
    assert kept.tolist() == [15, 16, 17, 18, 19]


def test_penn_treebank_has_the_published_perplexity(data_folder):
    # SRILM's modified Kneser-Ney of order 5 has 141.2 (Mikolov 2012), where a context
    # ends with its sentence; ours continues over it.
    from gatewise.data import tokenstream
    from gatewise.data.vocabulary import fit_vocabulary
    from gatewise.readers.files import File

    def read(name):
        with File(data_folder / "ptb" / name).opened() as file:
            return from_texts([file.read().decode()])

    train, test = read("ptb.train.txt.gz"), read("ptb.test.txt")
    vocabulary = fit_vocabulary(tokenstream.all_lines(train), "whitespace")
    learnt, asked = (tokenstream.stream_of(one, vocabulary) for one in (train, test))
    assert (len(learnt), len(asked), asked.unknown) == (929_589, 82_430, 0)
    model = ngrams.fit(learnt.tokens, len(vocabulary), start=learnt.start, order=5)
    assert np.exp(model.token_nll(asked.tokens).mean()) == pytest.approx(141.1, abs=0.1)
