"""Tokens and their positions."""

import json

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data.preparation import from_plain, to_plain
from gatewise.data.vocabulary import BEGIN, END, PAD, SPECIAL, UNKNOWN, Vocabulary, fit_vocabulary
from gatewise.errors import ConfigError

TEXTS = ["The cat sat.", "The dog, the cat!", "don't"]
KINDS = ("words", "whitespace", "characters", "bpe")


def tokens(kind, text, **options):
    found = fit_vocabulary(TEXTS, kind, min_frequency=1, **options)
    return [found.tokens[one] for one in found.encode([text])[0]]


def test_words_punctuation_and_contractions():
    assert tokens("words", "The cat, don't!") == ["The", "cat", ",", "don't", "!"]
    assert tokens("words", "THE cat", lowercase=True) == ["the", "cat"]
    assert tokens("whitespace", "dog, the cat!") == ["dog,", "the", "cat!"]
    assert tokens("characters", "a\nd") == ["a", SPECIAL[UNKNOWN], "d"]


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_come_first_and_then_the_most_frequent(kind):
    found = fit_vocabulary(TEXTS, kind, min_frequency=1, lowercase=True)
    assert found.tokens[: len(SPECIAL)] == SPECIAL and (PAD, UNKNOWN, BEGIN, END) == (0, 1, 2, 3)
    assert len(found) == len(found.tokens) == len(set(found.tokens))
    if kind == "words":
        assert found.tokens[4] == "the"


def test_rare_and_many_tokens_are_unknown():
    assert fit_vocabulary(TEXTS, "words", min_frequency=2).tokens[4:] == ("The", "cat")
    assert len(fit_vocabulary(TEXTS, "words", min_frequency=1, most=6)) == 6
    assert fit_vocabulary(TEXTS, "words").encode(["zebra"])[0].tolist() == [UNKNOWN]


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_survives_json(kind):
    found = fit_vocabulary(TEXTS, kind, min_frequency=1)
    again = from_plain(Vocabulary, json.loads(json.dumps(to_plain(found))))
    assert again.tokens == found.tokens
    for left, right in zip(again.encode(TEXTS), found.encode(TEXTS), strict=True):
        np.testing.assert_array_equal(left, right)
    tokenizers.Tokenizer.from_str(found.text)  # readable by the package itself


@given(st.text(max_size=40))
def test_byte_pairs_lose_nothing(text):
    found = BYTES
    normal = tokenizers.normalizers.NFC().normalize_str(text)
    if not any(special in normal for special in SPECIAL):
        assert found.decode(found.encode([text])[0]) == normal


BYTES = fit_vocabulary(TEXTS, "bpe", most=300)


def test_decoding_leaves_special_tokens_out():
    words = fit_vocabulary(TEXTS, "words", min_frequency=1)
    cat = words.tokens.index("cat")
    assert words.decode([BEGIN, cat, UNKNOWN, cat, END, PAD]) == f"cat {SPECIAL[UNKNOWN]} cat"
    letters = fit_vocabulary(["abc"], "characters")
    assert letters.decode(letters.encode(["cab"])[0]) == "cab"


def test_an_empty_text_has_no_tokens():
    assert [len(one) for one in BYTES.encode(["", "a"])] == [0, 1]


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(ConfigError, match=r"pip install 'gatewise\[text\]'"):
        fit_vocabulary(TEXTS, "words")


def test_subwords_are_shown_as_plain_text():
    made = fit_vocabulary(["eine Hütte", "die Hütte"], "bpe", most=300)
    (positions,) = made.encode(["die Hütte €"])
    shown = [made.display(int(one)) for one in positions]
    assert shown[:3] == ["die", "·Hütte", "·"]  # and the sign, whose bytes are not letters
    assert made.display(END) == SPECIAL[END]


@pytest.mark.parametrize("kind", KINDS)
def test_the_names_of_special_tokens_in_a_text_are_ordinary_text(kind):
    text = "a rose is [unknown] here [end] [ end ] [pad]"
    made = fit_vocabulary([text, text], kind, min_frequency=1)
    (positions,) = made.encode([text])
    assert positions.min() >= len(SPECIAL) and positions.max() < len(made)
    assert made.decode(positions).replace(" ", "") == text.replace(" ", "")


def test_many_texts_are_encoded_like_few(monkeypatch):
    made = fit_vocabulary(TEXTS, "words", min_frequency=1)
    wanted = made.encode(TEXTS)
    monkeypatch.setattr("gatewise.data.vocabulary.BATCH", 2)
    for one, other in zip(made.encode(TEXTS), wanted, strict=True):
        np.testing.assert_array_equal(one, other)
