"""Which word stands for which: a dictionary learnt from pairs of texts (Brown et al. 1993)."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from gatewise.data.sequences import Array
from gatewise.data.vocabulary import WORD

ROUNDS = 5  # of expectation and maximisation
MOST = 20_000_000  # pairs of words that stand in one pair of texts: bounds time and memory

_WORD = re.compile(WORD)


def fit_dictionary(
    sources: Sequence[str], targets: Sequence[str], *, rounds: int = ROUNDS
) -> dict[str, str]:
    """The most likely target word of each source word, by IBM model 1.

    Brown, Della Pietra, Della Pietra & Mercer 1993: a target word comes from one of the source
    words or from none, whatever their places.

    >>> fit_dictionary(["the house", "the book", "a book"], ["das Haus", "das Buch", "ein Buch"])
    {'a': 'ein', 'book': 'Buch', 'house': 'Haus', 'the': 'das'}
    """
    left = [["", *_WORD.findall(text)] for text in sources]  # "": the word that is none
    right = [_WORD.findall(text) for text in targets]
    words, source = np.unique(np.array([one for text in left for one in text]), return_inverse=True)
    answers, target = np.unique(
        np.array([one for text in right for one in text] or [""]), return_inverse=True
    )
    # Each target word beside each source word of its pair, written one below the other.
    sizes = np.array([[len(one), len(other)] for one, other in zip(left, right, strict=True)])
    sizes = sizes[: max(1, int(np.searchsorted(np.cumsum(sizes.prod(axis=1)), MOST)))]
    begins = np.cumsum(sizes, axis=0) - sizes
    beside = np.repeat(sizes[:, 0], sizes[:, 1])  # source words beside each target word
    place = np.repeat(np.arange(len(beside)), beside)  # [pairs of words] the target word's
    first = np.repeat(np.repeat(begins[:, 0], sizes[:, 1]), beside)
    within = np.arange(len(place)) - np.repeat(np.cumsum(beside) - beside, beside)
    if not len(place):
        return {}
    kinds, kind = np.unique(
        source[first + within] * len(answers) + target[place], return_inverse=True
    )
    probability = _expect(kinds // len(answers), kind, place, rounds)
    # The best answer of a word stands last among its kinds in this order.
    order = np.lexsort((probability, kinds // len(answers)))
    word, answer = kinds[order] // len(answers), kinds[order] % len(answers)
    last = np.append(word[1:] != word[:-1], True)
    return {
        str(words[one]): str(answers[other])
        for one, other in zip(word[last], answer[last], strict=True)
        if words[one]
    }


def _expect(word: Array, kind: Array, place: Array, rounds: int) -> Array:
    """p(target word | source word) of each kind of pair, [kinds].

    Args:
        word: [kinds] the source word of each.
        kind: [pairs] which kind a pair is.
        place: [pairs] at which target word it stands.
        rounds: of expectation and maximisation.
    """
    probability = np.ones(len(word))
    for _ in range(rounds):
        share = probability[kind]
        share /= np.bincount(place, share)[place]
        counts = np.bincount(kind, share)
        probability = counts / np.bincount(word, counts)[word]
    return probability


def by_words(text: str, dictionary: Mapping[str, str]) -> str:
    """The text with each word in its translation; one that is not known stays as it is.

    >>> by_words("A book, Ann.", {"A": "Ein", "book": "Buch", ",": ",", ".": "."})
    'Ein Buch, Ann.'
    """
    return _WORD.sub(lambda found: dictionary.get(found[0], found[0]), text)
