"""Interpolated modified Kneser-Ney n-grams, a language model by counting.

Chen & Goodman 1998, "An empirical study of smoothing techniques for language modeling", section
4.1.1. Every n-gram is a row of a sorted table, so that fitting and scoring are a few sorts and
look-ups of whole arrays.
"""

import base64
import functools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewise.data.sequences import Array

MAX_TOKENS = 3_000_000  # tokens to count, from the end of the training part; bounds the memory
DEFAULT_DISCOUNTS = (0.5, 1.0, 1.5)  # if too few n-grams occur one to four times to estimate them


@dataclass(frozen=True)
class Order:
    """The table of the n-grams of one length n.

    An n-gram is a context and a last token. The context is a row among the (n-1)-grams; the row of
    a single token is the token itself.
    """

    keys: Array  # [n-grams] int64, ascending: context * vocabulary + last token
    shares: Array  # [n-grams] discounted relative frequencies
    left: Array  # [contexts] the probability left to shorter contexts


@dataclass(frozen=True)
class KneserNey:
    """P(token | the tokens before it)."""

    vocabulary: int
    start: int  # the token assumed before a text
    base: Array  # [vocabulary] P(token)
    orders: tuple[Order, ...]  # of 2, 3, ... tokens

    def token_nll(self, tokens: Array) -> Array:
        """-log P of each token of a text given those before it, [tokens] float64."""
        text = _with_start(tokens, self.start, len(self.orders))
        probability = self.base[text]
        rows = text.astype(np.int64)  # of the n-gram that ends at each token; -1: unseen
        for order in self.orders:
            contexts = np.concatenate([[-1], rows[:-1]])
            seen = contexts >= 0
            keys = contexts * self.vocabulary + text
            row = np.searchsorted(order.keys, keys).clip(0, len(order.keys) - 1)
            known = seen & (order.keys[row] == keys)
            share = np.where(known, order.shares[row], 0.0)
            left = np.where(seen, order.left[contexts], 1.0)
            probability = share + left * probability
            rows = np.where(known, row, -1)
        nll: Array = -np.log(probability[len(self.orders) :])
        return nll

    def following(self, tokens: Array) -> Array:
        """P of each token after these [tokens], [vocabulary] float64."""
        context = _with_start(tokens[-len(self.orders) :], self.start, len(self.orders))
        probability = self.base
        for length, order in enumerate(self.orders, 1):
            row = self._row(context[-length:])
            if row < 0:  # nor was a longer context seen
                break
            first = row * self.vocabulary
            begin, end = np.searchsorted(order.keys, [first, first + self.vocabulary])
            probability = order.left[row] * probability
            probability[order.keys[begin:end] - first] += order.shares[begin:end]
        return probability

    def _row(self, tokens: Array) -> int:
        """The row of the n-gram of these tokens; -1: unseen."""
        row = int(tokens[0])
        for order, token in zip(self.orders, tokens[1:], strict=False):
            key = row * self.vocabulary + int(token)
            row = int(np.searchsorted(order.keys, key))
            if row == len(order.keys) or order.keys[row] != key:
                return -1
        return row


def fit(tokens: Array, vocabulary: int, *, start: int, order: int) -> KneserNey:
    """Fit the model to a text, [tokens] int.

    >>> model = fit(np.array([0, 1, 0, 1]), 2, start=0, order=2)
    >>> float(np.exp(-model.token_nll(np.array([1, 1]))).sum().round(6))
    0.75
    """
    text = _with_start(tokens, start, order - 1)
    places = text
    tables = []  # for each length: keys, counts, and the rows without the first token
    for _ in range(2, order + 1):
        shorter, places = places[1:], places[:-1] * vocabulary + text[-len(places) + 1 :]
        keys, first, places, counts = np.unique(
            places, return_index=True, return_inverse=True, return_counts=True
        )
        tables.append((keys, counts, shorter[first]))
    orders: list[Order] = []
    counts = tables[-1][1] if tables else np.bincount(text, minlength=vocabulary)
    for number in range(len(tables) - 1, -1, -1):
        keys, _, tails = tables[number]
        seen = len(tables[number - 1][0]) if number else vocabulary
        orders.insert(0, _order(keys, counts, seen, vocabulary))
        # The count of a shorter n-gram is the number of different tokens before it.
        counts = np.bincount(tails, minlength=seen)
    shares, left = _discounted(counts, np.zeros(vocabulary, dtype=np.int64), 1)
    return KneserNey(vocabulary, start, shares + left[0] / vocabulary, tuple(orders))


def _with_start(tokens: Array, start: int, before: int) -> Array:
    return np.concatenate([np.full(before, start), tokens]).astype(np.int64)


def _order(keys: Array, counts: Array, contexts: int, vocabulary: int) -> Order:
    shares, left = _discounted(counts, keys // vocabulary, contexts)
    return Order(keys, shares, left)


def _discounted(counts: Array, contexts: Array, number: int) -> tuple[Array, Array]:
    """The share of each n-gram in its context, and the probability left in each context."""
    discounts = np.array([0.0, *discounts_of(counts)])
    taken = discounts[np.minimum(counts, 3)]
    totals = np.bincount(contexts, counts, minlength=number)
    divisors = np.maximum(totals, 1)
    left = np.bincount(contexts, taken, minlength=number) / divisors
    return (counts - taken) / divisors[contexts], np.where(totals > 0, left, 1.0)


def discounts_of(counts: Array) -> tuple[float, float, float]:
    """The discounts of counts of one, two, and three or more (Chen & Goodman 1998, eq. 26)."""
    n1, n2, n3, n4 = (int((counts == count).sum()) for count in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return DEFAULT_DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    discounts = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    valid = all(0 < discount <= count for count, discount in enumerate(discounts, 1))
    return discounts if valid else DEFAULT_DISCOUNTS


def unigram(tokens: Array, vocabulary: int) -> Array:
    """P(token) by counting, with one added to each count (Laplace), [vocabulary]."""
    counts = np.bincount(tokens, minlength=vocabulary) + 1.0
    probabilities: Array = counts / counts.sum()
    return probabilities


def packed(tokens: Array, vocabulary: int) -> dict[str, Any]:
    """The tokens to count, in a form for JSON.

    The tables are ten times as large, and quickly rebuilt from the tokens.
    """
    kept = tokens[-MAX_TOKENS:].astype("<u2" if vocabulary <= 1 << 16 else "<u4")
    content = base64.b64encode(zlib.compress(kept.tobytes(), 6)).decode("ascii")
    return {"bytes": kept.dtype.itemsize, "tokens": content}


def of_state(state: Mapping[str, Any], vocabulary: int) -> KneserNey:
    """The model that is fitted to what `packed` wrote, "start" and "order" added."""
    return _of_state(state["tokens"], state["bytes"], vocabulary, state["start"], state["order"])


@functools.lru_cache(maxsize=1)  # fitting takes seconds, and the tables of one are large
def _of_state(tokens: str, size: int, vocabulary: int, start: int, order: int) -> KneserNey:
    kept = unpacked({"tokens": tokens, "bytes": size})
    return fit(kept, vocabulary, start=start, order=order)


def unpacked(state: Mapping[str, Any]) -> Array:
    """The tokens that `packed` wrote, [tokens] int64."""
    unpacking = zlib.decompressobj()
    content = unpacking.decompress(base64.b64decode(state["tokens"]), 4 * MAX_TOKENS)
    if unpacking.unconsumed_tail:
        raise ValueError("there are more tokens than a run keeps")
    return np.frombuffer(content, f"<u{state['bytes']}").astype(np.int64)
