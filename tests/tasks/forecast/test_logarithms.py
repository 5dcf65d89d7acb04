"""Forecasts in logarithms (`network.subtract = log`)."""

import keras
import numpy as np
import pytest
from test_forecast import experiment, prepared, series, waves

from gatewise.data.batches import Shapes
from gatewise.errors import ConfigError
from gatewise.settings import NetworkSettings, TrainingSettings
from gatewise.tasks.forecast import logarithms, network
from gatewise.tasks.forecast import task as forecast

LOG = NetworkSettings(units=(4,), segment_length=4, dense_dropout=0, pooling="last", subtract="log")


def growing(count=12, *, proportional=True):
    """Weekly seasons around a changing level, proportional to it or of a size of their own."""
    random, steps, made = np.random.default_rng(0), np.arange(140), []
    for size in 10.0 ** random.uniform(0, 4, count):
        level = np.exp(np.sin(steps / random.uniform(15, 25)))
        wave = np.sin(steps * 2 * np.pi / 7) + 0.05 * random.normal(size=140)
        made.append(size * (level * np.exp(0.8 * wave) if proportional else 3 + level + 0.5 * wave))
    return series(made)


def resolved(sequences, **settings):
    plain = {"task": {"season": 7, "lookback": 14, "horizon": 7, "quantiles": [0.1, 0.5, 0.9]}}
    return forecast.resolve(experiment(**plain | settings), sequences, sequences)


def test_many_series_are_read_in_logarithms_if_ridge_forecasts_them_better_so():
    chosen, notes = resolved(growing())
    assert (chosen.network.subtract, chosen.preparation.scale) == ("log", "level")
    assert any("read in logarithms" in note for note in notes)
    for other in (growing(proportional=False), growing(logarithms.MANY - 1)):
        chosen, notes = resolved(other)
        assert (chosen.network.subtract, chosen.preparation.scale) == ("last", "auto")
        assert not any("logarithms" in note for note in notes)


@pytest.mark.parametrize("build", [network.segments, network.stack])
def test_a_window_of_another_level_gets_the_forecast_of_that_level(build):
    made = build(Shapes({"past": (8, 2)}, (6, 2, 3)), LOG)
    past = np.random.default_rng(0).uniform(0.5, 2, (3, 8, 2)).astype("f")
    answer = made.predict_on_batch(past)
    assert (answer > 0).all()
    np.testing.assert_allclose(made.predict_on_batch(4 * past), 4 * answer, rtol=1e-4)


def test_the_loss_is_that_of_the_logarithms():
    random, levels = np.random.default_rng(0), (0.1, 0.5, 0.9)
    truth, given = random.normal(size=(5, 4, 2, 1)), random.normal(size=(5, 4, 2, 3))
    plain = network.forecast_loss(TrainingSettings(), levels)(truth, given)
    in_logarithms = network.forecast_loss(TrainingSettings(), levels, log=True)
    found = in_logarithms(np.exp(truth), np.exp(given))
    np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (found, plain)), rtol=1e-5)


def test_zeros_ahead_cost_a_finite_loss():
    loss = network.forecast_loss(TrainingSettings(), (0.5,), log=True)
    assert np.isfinite(loss(np.zeros((1, 2, 1, 1)), np.ones((1, 2, 1, 1)))).all()


def test_logarithms_of_targets_that_are_not_positive_are_refused():
    with pytest.raises(ConfigError, match="log needs targets above 0, but .* has -"):
        resolved(series(waves() - 20), network={"subtract": "log"})
    with pytest.raises(ConfigError, match="needs preparation.scale = level. Received: minmax"):
        resolved(growing(), network={"subtract": "log"}, preparation={"scale": "minmax"})


def test_values_that_are_not_positive_are_counted_in_a_warning(caplog):
    preparation, _ = prepared(series(), experiment())
    with caplog.at_level("WARNING", "gatewise"):
        logarithms.warn_of_floor(series(), preparation)
        assert not caplog.text
        logarithms.warn_of_floor(series([waves(), waves() - 20]), preparation)
    assert "400 values of 'y' are not above 0" in caplog.text
