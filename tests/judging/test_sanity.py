"""The full audit: what must fail fails, unless a leak is planted in real data."""

import keras
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import gatewise
from gatewise.arguments import experiment_for
from gatewise.data.batches import Examples
from gatewise.data.sequences import from_arrays
from gatewise.errors import ConfigError
from gatewise.judging.audit import of_labels
from gatewise.judging.sanity import audited, backwards, shuffled
from gatewise.judging.validation import score_baselines
from gatewise.readers.datasets import path_of
from gatewise.tasks.suspects import listed, suspects
from gatewise.training.fit import Around
from gatewise.training.ready import make_ready

FULL = {"evaluation": {"audit": "full", "n_resamples": 100}}


def kinds(data, settings, network=None):
    """The kinds of the findings of the sanity runs."""
    ready = make_ready(*experiment_for(data, [FULL, settings]), network)
    return [one["kind"] for one in audited(ready, score_baselines(ready), Around()).audit]


IMAGES = {"task": {"name": "classify"}, "training": {"epochs": 2, "batch_size": 64}}
IMAGES |= {"network": {"units": [8]}}


def test_a_network_that_knows_the_test_part_is_found(digits):
    """Its frozen weights were fitted on all images; what it trains is a bias."""
    x, y = digits
    flat = np.c_[x.reshape(len(x), -1) / 16, np.ones(len(x))]
    weights = np.linalg.lstsq(flat, 10 * np.eye(10)[y], rcond=None)[0].astype(np.float32)

    def knowing(shapes, settings):
        [[name, shape]] = shapes.inputs.items()
        given = keras.Input(shape, name=name)
        known = keras.layers.Dense(10, trainable=False)
        answer = known(keras.layers.Flatten()(given))
        known.set_weights([weights[:-1], weights[-1]])
        nothing = keras.layers.Rescaling(0.0)(answer)
        return keras.Model(given, keras.layers.Add()([answer, keras.layers.Dense(10)(nothing)]))

    data = (x[::3], y[::3].astype(str))
    assert kinds(data, IMAGES | {"network": {}}, knowing) == ["shuffled"]
    assert kinds(data, IMAGES) == []


def test_a_noisy_covariate_that_knows_the_future_is_found():
    """The ordinary audit finds copies of the target only."""
    weather = pl.read_csv(path_of("seattle-weather"), try_parse_dates=True)[:800]
    future = weather["temp_max"].shift(-3, fill_value=10.0).to_numpy()
    noise = np.random.default_rng(0).normal(0, 0.5, len(future))
    settings = {
        "task": {"name": "forecast", "horizon": 3, "lookback": 6, "season": 1, "quantiles": [0.5]},
        "data": {"target": ["temp_max"], "time": "date", "past": ["wind"]},
        "network": {"kind": "stack", "units": [16]},
        "training": {"epochs": 15, "learning_rate": 0.01, "batch_size": 64},
    }
    frame = weather.select("date", "temp_max").with_columns(wind=future + noise)
    assert kinds(frame, settings) == ["reversed"]


def test_shuffled_targets_are_independent_of_the_truth_in_every_class(digits):
    _, y = digits
    truth = np.asarray(y)
    examples = Examples(None, np.full(len(truth), 8), None, lambda indices, *_: truth[indices])
    mixed = np.asarray(shuffled(examples, 0).targets(np.arange(len(truth))))
    np.testing.assert_array_equal(np.sort(mixed), np.sort(truth))
    for name in range(10):
        shares = np.bincount(mixed[truth == name], minlength=10) / (truth == name).sum()
        np.testing.assert_allclose(shares, np.bincount(truth) / len(truth), atol=0.02)


def test_planted_wrong_labels_are_found_and_clean_ones_are_not(digits):
    x, y = (one[:900] for one in digits)
    random = np.random.default_rng(0)
    wrong = random.choice(len(y), len(y) // 10, replace=False)
    planted = y.copy()
    planted[wrong] = (y[wrong] + random.integers(1, 10, len(wrong))) % 10
    names = [str(k) for k in range(len(y))]
    for labels, kind in ((y, []), (planted, ["labels"])):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
        flat = x.reshape(len(x), -1)
        probabilities = cross_val_predict(model, flat, labels, method="predict_proba")
        found = suspects(labels, probabilities)
        told = listed(found, labels, probabilities, names, list("0123456789"))
        assert [one.kind for one in of_labels(told)] == kind
    assert len(np.intersect1d(found.places, wrong)) > 0.6 * len(wrong)
    assert np.isin(found.places[: len(wrong) // 2], wrong).mean() > 0.9  # the most suspect first


def test_a_reversed_series_has_its_own_bounds():
    series = from_arrays([np.arange(3.0), np.arange(10.0, 14.0)])
    turned = backwards(series)
    assert [one[:, 0].tolist() for one in turned] == [[2, 1, 0], [13, 12, 11, 10]]
    assert series[0][0, 0] == 0


@pytest.mark.parametrize("stopped", [True, False])
def test_an_audit_that_cannot_tell_says_so_and_the_run_goes_on(stopped, caplog):
    """After a budget has ended, and where the simplest baseline makes no error."""
    steps = np.arange(60)
    given = {
        "task": {"name": "forecast", "horizon": 2, "lookback": 4, "season": 1},
        "data": {"target": ["y"], "time": "t", "past": ["z"]},
        "network": {"units": [2]},
        "training": {"epochs": 1},
    }
    frame = pl.DataFrame({"t": steps, "y": np.minimum(steps, 40.0), "z": np.cos(steps)})
    ready = make_ready(*experiment_for(frame, [FULL, given]))
    around = Around()
    if stopped:
        around.interrupts.stop("the budget")
    assert audited(ready, score_baselines(ready), around).audit == ready.audit
    assert ("not finished, because the budget ended it" in caplog.text) == stopped


def test_a_full_audit_is_refused_where_targets_cannot_be_shuffled(series_file, forecast_settings):
    with pytest.raises(ConfigError, match="needs a test part"):
        settings = forecast_settings | {"split": {"test": 0.0}} | FULL
        gatewise.train(series_file, settings=settings)
    with pytest.raises(ConfigError, match="does not apply to language"):
        gatewise.train("shakespeare", audit="full", settings={"network": {"units": [3]}})
