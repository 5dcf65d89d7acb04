"""Sequences with any number of labels."""

import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from gatewise.data.sequences import from_texts
from gatewise.errors import DataError
from gatewise.settings import SplitSettings
from gatewise.tasks.classify import multilabel

CLASSES = ("rain", "snow", "wind")
TRUTHS = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)
GIVEN = np.array([[0.9, 0.2, 0.4], [0.1, 0.1, 0.6], [0.8, 0.5, 0.1], [0.4, 0.3, 0.9]])


def test_scores_are_those_of_scikit_learn_and_by_hand():
    found = multilabel.score(TRUTHS, GIVEN)
    answers = GIVEN >= 0.5
    assert found["accuracy"] == pytest.approx(10 / 12) and found["exact"] == 0.5
    assert found["f1_micro"] == pytest.approx(f1_score(TRUTHS, answers, average="micro"))
    assert found["f1_macro"] == pytest.approx(f1_score(TRUTHS, answers, average="macro"))
    right = np.where(TRUTHS, GIVEN, 1 - GIVEN)
    assert found["log_loss"] == pytest.approx(-np.log(right).mean())
    assert np.isnan(multilabel.score(TRUTHS, answers.astype(float))["log_loss"])


def test_measures_are_the_scores():
    score = multilabel.score(TRUTHS, GIVEN)
    for measure in multilabel.measures(TRUTHS, np.arange(4)):
        sums = measure.statistics(GIVEN).sum(axis=0)
        assert float(measure.value(sums)) == pytest.approx(score[measure.name])


def test_scores_by_class_count_each_label_alone():
    found = multilabel.by_class(TRUTHS, GIVEN, CLASSES)
    assert found["wind"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert found["rain"]["f1"] == 1.0


def test_the_names_of_the_likely_labels_are_joined():
    assert multilabel.names(TRUTHS, CLASSES, ";") == ["rain; wind", "", "rain; snow", "wind"]
    found = multilabel.table(GIVEN, np.array(list("abcd")), CLASSES, ",")
    assert found.columns == ["id", "label", "p(rain)", "p(snow)", "p(wind)"]
    assert found["label"].to_list() == ["rain", "wind", "rain, snow", "wind"]


def test_each_class_has_a_regression_even_one_that_is_always_true():
    random = np.random.default_rng(0)
    features = random.normal(size=(200, 3))
    truths = np.stack([features[:, 0] > 0, features[:, 1] > 0, np.ones(200, bool)], axis=1)
    state = multilabel.fit_regressions(features, truths, (features, truths))
    given = multilabel.regressions(state, features)
    assert multilabel.accuracy(truths, given) > 0.97
    np.testing.assert_array_equal(given[:, 2], 1.0)


def test_a_label_of_one_sequence_is_trained_or_left_out_but_never_only_tested():
    asked = 0
    for seed in range(12):
        labels = np.array([*["a;b", "b"] * 10, "a;rare"], dtype=object)
        made = from_texts([f"text {k}" for k in range(21)], labels=labels)
        settings = SplitSettings(seed=seed, by="random")
        try:
            splits = multilabel.split(made, settings, ";", test=True)
        except DataError as error:
            asked += 1
            ways = re.findall(r"(drop|train) \(", str(error))
            settings = [replace(settings, rare_labels=way) for way in ways]
            drop, splits = (multilabel.split(made, one, ";", test=True) for one in settings)
            parts = [part.labels for part in (drop.train, drop.validation, drop.test)]
            assert sorted(np.concatenate(parts)) == sorted(labels[:-1])
        assert "a;rare" in splits.train.labels
    assert 0 < asked < 12
