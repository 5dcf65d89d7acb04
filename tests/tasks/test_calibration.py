"""The temperature calibrates probabilities, and never sharpens them without limit."""

import numpy as np
import pytest
from scipy.special import softmax

from gatewise.tasks.calibration import fit_temperature


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(true_temperature):
    random = np.random.default_rng(0)
    logits = random.normal(size=(20_000, 4)) * 2
    probabilities = softmax(logits, axis=1)
    labels = (
        (random.random((len(probabilities), 1)) > probabilities.cumsum(axis=1))
        .sum(axis=1)
        .clip(0, 3)
    )
    found = fit_temperature((logits * true_temperature).astype(np.float32), labels)
    assert found == pytest.approx(true_temperature, rel=0.05)


def test_answers_without_a_mistake_are_not_sharpened():
    logits = np.array([[2.0, 1.0], [0.0, 0.1]])
    assert fit_temperature(logits, np.array([0, 1])) == 1.0
    assert fit_temperature(np.empty((0, 2)), np.empty(0, dtype=int)) == 1.0
