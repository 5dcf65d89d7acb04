"""A dictionary of words, estimated from pairs of texts (Brown et al. 1993)."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from gatewise.data.sequences import Array
from gatewise.data.vocabulary import WORD

ROUNDS = 5  # iterations of expectation maximisation
MAX_PAIRS = 20_000_000  # pairs of words in the same pair of texts; bounds time and memory

_WORD = re.compile(WORD)


def fit_dictionary(
    sources: Sequence[str], targets: Sequence[str], *, rounds: int = ROUNDS
) -> dict[str, str]:
    """The most likely target word of each source word, by IBM model 1.

    Brown, Della Pietra, Della Pietra & Mercer 1993: a target word comes from one of the source
    words or from none, whatever their positions.

    >>> fit_dictionary(["the house", "the book", "a book"], ["das Haus", "das Buch", "ein Buch"])
    {'a': 'ein', 'book': 'Buch', 'house': 'Haus', 'the': 'das'}
    """
    left = [["", *_WORD.findall(text)] for text in sources]  # "": no source word
    right = [_WORD.findall(text) for text in targets]
    words, source = np.unique(
        np.array([word for text in left for word in text]), return_inverse=True
    )
    translations, target = np.unique(
        np.array([word for text in right for word in text] or [""]), return_inverse=True
    )
    # All pairs of a target word and a source word of the same pair of texts, end to end.
    sizes = np.array([[len(a), len(b)] for a, b in zip(left, right, strict=True)])
    sizes = sizes[: max(1, int(np.searchsorted(np.cumsum(sizes.prod(axis=1)), MAX_PAIRS)))]
    begins = np.cumsum(sizes, axis=0) - sizes
    beside = np.repeat(sizes[:, 0], sizes[:, 1])  # source words beside each target word
    place = np.repeat(np.arange(len(beside)), beside)  # [pairs of words] position of the target
    first = np.repeat(np.repeat(begins[:, 0], sizes[:, 1]), beside)
    within = np.arange(len(place)) - np.repeat(np.cumsum(beside) - beside, beside)
    if not len(place):
        return {}
    kinds, kind = np.unique(
        source[first + within] * len(translations) + target[place], return_inverse=True
    )
    probability = _expect(kinds // len(translations), kind, place, rounds)
    # In this order, the best translation of a word is the last among its kinds.
    order = np.lexsort((probability, kinds // len(translations)))
    word, translation = kinds[order] // len(translations), kinds[order] % len(translations)
    last = np.append(word[1:] != word[:-1], True)
    return {
        str(words[a]): str(translations[b])
        for a, b in zip(word[last], translation[last], strict=True)
        if words[a]
    }


def _expect(word: Array, kind: Array, place: Array, rounds: int) -> Array:
    """p(target word | source word) of each kind of pair, [kinds].

    Args:
        word: [kinds] the source word of each kind.
        kind: [pairs] the kind of each pair.
        place: [pairs] the position of its target word.
        rounds: iterations of expectation maximisation.
    """
    probability = np.ones(len(word))
    for _ in range(rounds):
        share = probability[kind]
        share /= np.bincount(place, share)[place]
        counts = np.bincount(kind, share)
        probability = counts / np.bincount(word, counts)[word]
    return probability


def by_words(text: str, dictionary: Mapping[str, str]) -> str:
    """The text with each word translated; an unknown word stays as it is.

    >>> by_words("A book, Ann.", {"A": "Ein", "book": "Buch", ",": ",", ".": "."})
    'Ein Buch, Ann.'
    """
    return _WORD.sub(lambda match: dictionary.get(match[0], match[0]), text)
