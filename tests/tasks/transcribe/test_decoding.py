"""Decoding against a sum over all ways of saying a transcript, and n-grams counted by hand."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from gatewise.data.preparation import from_plain, to_plain
from gatewise.tasks.transcribe import decoding
from gatewise.tasks.transcribe.decoding import END, Characters, beam_search, fit_characters, greedy


def collapsed(path):
    """Runs become one, blanks nothing."""
    runs = [symbol for symbol, _ in itertools.groupby(path)]
    return tuple(symbol for symbol in runs if symbol != 0)


def chances(scores):
    """The probability of every transcript, summed over all ways of saying it."""
    found = {}
    for path in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        chance = math.exp(sum(scores[step, symbol] for step, symbol in enumerate(path)))
        found[collapsed(path)] = found.get(collapsed(path), 0.0) + chance
    return found


def random_scores(seed, frames=5, symbols=3, sharpness=1.0):
    random = np.random.default_rng(seed)
    return log_softmax(sharpness * random.normal(size=(frames, symbols)), axis=1)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_greedy_says_the_runs_without_the_blanks(path):
    assert tuple(greedy(np.eye(4)[path])) == collapsed(path)


@pytest.mark.parametrize("seed", range(30))
def test_a_wide_beam_finds_the_most_probable_transcript(seed):
    scores = random_scores(seed)
    every = chances(scores)
    assert sum(every.values()) == pytest.approx(1)
    found = tuple(beam_search(scores, 1000))
    assert every[found] == pytest.approx(max(every.values()))


def test_the_best_transcript_need_not_be_the_best_way():
    # Graves et al. 2006, figure 2: blanks are likeliest in each frame, and yet "1" is as a sum.
    scores = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert greedy(scores) == []
    assert beam_search(scores, 10) == [1]


def test_a_beam_of_one_answers_at_all():
    for seed in range(10):
        assert isinstance(beam_search(random_scores(seed, frames=9), 1), list)


@pytest.mark.parametrize("seed", range(20))
def test_a_wide_beam_with_a_bonus_finds_the_best_sum_of_both(seed):
    scores = random_scores(seed, symbols=3)
    model = fit_characters(["ab", "ba", "aab"], 3)
    bonus = decoding.bonus_of(model, 0.8, ("a", "b"))

    def worth(symbols):
        parts = [bonus(symbols[:k], symbols[k]) for k in range(len(symbols))]
        return sum(parts) + bonus(symbols, None)

    every = {said: math.log(p) + worth(said) for said, p in chances(scores).items()}
    found = tuple(beam_search(scores, 1000, bonus))
    assert every[found] == pytest.approx(max(every.values()))


def test_n_grams_are_the_counts_of_hand():
    model = fit_characters(["ab", "aa"], 2)
    # Without context: a three times, b once, the end twice; 3 kinds; 4 characters are thinkable.
    single = {"a": (3 + 3 / 4) / 9, "b": (1 + 3 / 4) / 9, END: (2 + 3 / 4) / 9}
    for character, chance in single.items():
        assert model.chance("", character) == pytest.approx(chance)
    # Behind a: b once, a once, the end once.
    assert model.chance("a", "b") == pytest.approx((1 + 3 * single["b"]) / 6)
    assert model.chance("b", END) == pytest.approx((1 + 1 * single[END]) / 2)


@given(st.lists(st.text("abc", max_size=5), min_size=1, max_size=6), st.text("abcd", max_size=3))
def test_chances_of_all_characters_never_exceed_one(texts, context):
    model = fit_characters(texts, 4)
    known = model.counts[""]
    total = sum(model.chance(context, one) for one in known)
    # What is left is for a character that was never met.
    assert total + model.chance(context, "?") == pytest.approx(1)


def test_surprise_is_the_mean_over_training():
    model = fit_characters(["ab"], 2)
    nats = [-math.log(model.chance(*pair)) for pair in [("", "a"), ("a", "b"), ("b", END)]]
    assert model.surprise == pytest.approx(np.mean(nats))


def test_n_grams_come_back_from_json():
    model = fit_characters(["ab", "cab"], 3)
    assert from_plain(Characters, json.loads(json.dumps(to_plain(model)))) == model


def test_a_model_mends_what_was_heard_badly():
    classes = ("a", "b")
    chance = np.array([[0.05, 0.9, 0.05], [0.9, 0.05, 0.05], [0.05, 0.55, 0.4]])
    scores = np.log(chance)
    assert beam_search(scores, 10) == [1, 1]
    bonus = decoding.bonus_of(fit_characters(["ab"] * 20, 2), 1.0, classes)
    assert beam_search(scores, 10, bonus) == [1, 2]
