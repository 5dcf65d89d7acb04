"""Conformal margins: how much of the truth the band of a small calibration part holds."""

import numpy as np

from gatewise.tasks.quantiles import margins

LEVELS = (0.1, 0.5, 0.9)


def test_a_band_fitted_on_20_numbers_holds_its_share_of_others(random):
    held = []
    for _ in range(1000):
        actual, others = random.normal(size=20), random.normal(size=200)
        predictions = np.tile([-0.5, 0.0, 0.5], (20, 1))
        low, _, high = predictions[0] + margins(actual, predictions, LEVELS, (0,))
        held.append(((low <= others) & (others <= high)).mean())
    assert 0.8 <= np.mean(held) < 0.83


def test_margins_of_many_numbers_are_plain_quantiles(random):
    actual = random.normal(size=100_000)
    predictions = np.zeros((100_000, 3))
    _, _, high = margins(actual, predictions, LEVELS, (0,))
    assert abs(high - np.quantile(np.abs(actual), 0.8)) < 1e-3
