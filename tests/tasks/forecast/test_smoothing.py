"""Exponential smoothing and theta: what they forecast, and when they stand beside a network."""

import numpy as np
import polars as pl
import pytest

from gatewise.arguments import experiment_for
from gatewise.tasks.forecast import smoothing
from gatewise.tasks.forecast.custom import Past
from gatewise.training.ready import make_ready

pytest.importorskip("statsmodels", reason="pip install 'gatewise[statistics]'")


def past(series, *, horizon=6, season=4):
    values = np.asarray(series, dtype=float)[:, None]
    return Past(values, ("y",), None, {}, {}, None, {}, "a", horizon, season, (0.5,))


@pytest.mark.parametrize("rule", [smoothing.smoothed, smoothing.theta])
def test_a_season_without_noise_is_continued(rule, random):
    season = 10 + np.array([0.0, 3.0, 1.0, 5.0])
    series = np.tile(season, 8) + random.normal(0, 1e-3, size=32)
    np.testing.assert_allclose(rule(past(series))[:, 0], np.resize(season, 6), atol=0.05)


@pytest.mark.parametrize("rule", [smoothing.smoothed, smoothing.theta])
@pytest.mark.parametrize("series", [[1, 2, 3], [7] * 20])
def test_a_series_without_anything_to_fit_keeps_its_last_value(rule, series):
    np.testing.assert_array_equal(rule(past(series)), np.full((6, 1), series[-1]))


def test_theta_is_smoothing_with_half_of_the_slope(random):
    """Hyndman & Billah (2003): the forecasts rise by half of the slope of a straight line."""
    series = 2.0 * np.arange(60) + random.normal(0, 0.1, size=60)
    steps = np.diff(smoothing.theta(past(series, season=1))[:, 0])
    np.testing.assert_allclose(steps, 1.0, rtol=0.01)


def test_they_join_where_series_are_short_and_say_so_where_they_are_not(caplog):
    caplog.set_level("INFO")
    for count, names in ((40, ["exponential smoothing", "theta"]), (400, [])):
        days = np.datetime64("2024-01-01") + np.arange(count) * np.timedelta64(1, "D")
        frame = pl.DataFrame({"day": days, "y": np.sin(np.arange(count)).round(3)})
        settings = {"task": {"name": "forecast", "horizon": 3, "season": 1, "lookback": 5}}
        ready = make_ready(*experiment_for(frame, [settings], ()))
        parts = (ready.train, ready.validation, ready.test)
        made = smoothing.smoothing_baselines(*parts, ready.preparation)
        assert [one.name for one in made] == names
    assert "The baseline theta is left out: its fits at every origin" in caplog.text
