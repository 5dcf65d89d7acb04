"""TF-IDF and logistic regression, against scikit-learn's own pipeline."""

import json

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from gatewise.baselines import tfidf

TEXTS = ["good film", "bad film", "very good", "very bad", "so good a film", "so bad a day"] * 5
LABELS = np.array([1, 0, 1, 0, 1, 0] * 5)


def saved(state):
    return json.loads(json.dumps(state))


def test_it_equals_the_scikit_learn_pipeline():
    state = saved(tfidf.fit(TEXTS, LABELS, valid=None))
    words = TfidfVectorizer(min_df=2, sublinear_tf=True)
    peer = make_pipeline(words, LogisticRegression()).fit(TEXTS, LABELS)
    new = ["a good day", "bad bad film", "unheard of"]
    found = tfidf.probabilities(state, new)
    np.testing.assert_allclose(found, peer.predict_proba(new), atol=1e-4)


def test_the_penalty_is_chosen_on_the_validation_part():
    state = tfidf.fit(TEXTS, LABELS, valid=(TEXTS, LABELS))
    assert state["penalty"] == max(tfidf.INVERSE_PENALTIES)  # the best choice here


def test_three_classes_and_several_labels_are_separated():
    third = np.where(np.array(["day" in text for text in TEXTS]), 2, LABELS)
    found = tfidf.probabilities(saved(tfidf.fit(TEXTS, third, valid=None)), TEXTS)
    assert found.shape == (30, 3) and (found.argmax(axis=1) == third).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)
    truths = np.stack([LABELS == 1, third == 2, np.zeros(30, bool)], axis=1)
    given = tfidf.probabilities(saved(tfidf.fit(TEXTS, truths, valid=(TEXTS, truths))), TEXTS)
    np.testing.assert_array_equal(given > 0.5, truths)


@pytest.mark.parametrize(
    "texts", [["a", "b", "a b"], ["!!", "??", "!?"], ["one two", "three", "x"]]
)
def test_texts_without_common_words_get_finite_probabilities(texts):
    found = tfidf.probabilities(tfidf.fit(texts, np.array([0, 1, 0]), valid=None), texts)
    assert found.shape == (3, 2) and np.isfinite(found).all()
