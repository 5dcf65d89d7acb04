"""Baselines without a fit, each against its definition."""

import numpy as np
import pytest

from gatewise import metrics
from gatewise.baselines import naive
from gatewise.errors import ConfigError


def test_repeat_last_holds_the_last_value(random):
    past = random.normal(size=(3, 5, 2))
    answer = naive.repeat_last(past, horizon=4)
    assert answer.shape == (3, 4, 2)
    assert (answer == past[:, -1:]).all()


def test_seasonal_naive_is_exact_on_a_seasonal_series():
    season = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    series = np.tile(season, 6)[None, :, None]
    answer = naive.seasonal_naive(series[:, :13], horizon=12, season=5)
    np.testing.assert_array_equal(answer, series[:, 13:25])


def test_seasonal_naive_of_season_one_repeats_the_last_value(random):
    past = random.normal(size=(3, 5, 2))
    answer = naive.seasonal_naive(past, horizon=4, season=1)
    np.testing.assert_array_equal(answer, naive.repeat_last(past, horizon=4))


@pytest.mark.parametrize("season", [0, 6])
def test_seasonal_naive_refuses_a_season_that_does_not_fit(season):
    with pytest.raises(ConfigError, match="does not fit into a window of 5"):
        naive.seasonal_naive(np.zeros((1, 5, 1)), horizon=2, season=season)


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
