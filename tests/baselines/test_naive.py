"""Baselines without a fit, each against its definition."""

import numpy as np
import pytest

from gatewise import metrics
from gatewise.baselines import naive


def test_repeat_last_holds_the_last_value(random):
    past = random.normal(size=(3, 5, 2))
    answer = naive.repeat_last(past, horizon=4)
    assert answer.shape == (3, 4, 2)
    assert (answer == past[:, -1:]).all()


def test_the_seasonal_naive_forecast_is_exact_on_a_seasonal_series():
    season = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    series = np.tile(season, 6)
    np.testing.assert_array_equal(series[13 - naive.seasonal_steps(12, 5)], series[13:25])


def test_the_seasonal_naive_forecast_of_season_one_repeats_the_last_value():
    assert naive.seasonal_steps(horizon=4, season=1).tolist() == [1, 1, 1, 1]


def test_drift_is_exact_on_a_line():
    line = (2 + 0.5 * np.arange(20))[None, :, None]
    np.testing.assert_allclose(naive.drift(line[:, :8], horizon=12), line[:, 8:])


def test_drift_from_one_step_repeats_it():
    assert (naive.drift(np.full((1, 1, 1), 7.0), horizon=3) == 7).all()


def test_residual_quantiles_have_their_nominal_coverage(random):
    truth = random.normal(size=(1000, 3, 2)) * np.array([1.0, 5.0])
    answer = np.zeros_like(truth)
    offsets = naive.residual_quantiles(truth, answer, (0.1, 0.5, 0.9))
    assert offsets.shape == (3, 2, 3)
    forecasts = answer[..., None] + offsets
    assert metrics.coverage(truth, forecasts[..., 0], forecasts[..., 2]) == pytest.approx(0.8)
    assert (np.diff(offsets) > 0).all()


def test_majority_is_the_frequency_of_each_class():
    np.testing.assert_allclose(naive.majority(np.array([2, 2, 0, 2]), 4), [0.25, 0, 0.75, 0])
