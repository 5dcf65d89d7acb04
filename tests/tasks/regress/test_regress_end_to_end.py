"""Whole runs of regress on data with a known answer, in Python and as scikit-learn estimators."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.base import clone

import gatewise
from gatewise import DataError, Regressor

SMALL = {"units": (3,), "epochs": 2, "batch_size": 16}


@pytest.fixture(scope="module")
def levels():
    """300 sequences of 6 or 12 steps of two columns, and the mean of the first column."""
    random = np.random.default_rng(0)
    x = [random.normal(size=(random.choice([6, 12]), 2)) + random.normal() for _ in range(300)]
    return x, np.array([one[:, 0].mean() for one in x])


@pytest.fixture(scope="module")
def fitted(levels):
    made = Regressor(units=(16,), epochs=25, batch_size=16, learning_rate=0.01, validation=0.3)
    return made.fit(*[one[:250] for one in levels])


def test_the_lstm_finds_the_mean_of_a_column(fitted, levels):
    x, y = (one[250:] for one in levels)
    assert fitted.score(x, y) > 0.95


def test_quantiles_rise_and_hold_about_their_share(fitted, levels):
    x, y = (one[250:] for one in levels)
    low, middle, high = fitted.predict_quantiles(x).T
    assert (low <= middle).all() and (middle <= high).all()
    np.testing.assert_array_equal(middle, fitted.predict(x))
    assert 0.6 < ((low <= y) & (y <= high)).mean() < 0.98


def test_a_run_folder_answers_like_the_run(levels, tmp_path):
    x, y = levels
    table = pl.DataFrame(
        [
            {"run": f"r{k}", "a": a, "b": b, "wear": np.exp(2 * y[k])}
            for k in range(80)
            for a, b in x[k]
        ]
    )
    table.write_csv(tmp_path / "runs.csv")
    settings = {
        "data": {"id": ["run"]},
        "network": {"units": [3]},
        "training": {"epochs": 1},
        "evaluation": {"n_resamples": 50},
    }
    run = gatewise.train(
        tmp_path / "runs.csv", target="wear", settings=settings, output=tmp_path / "run"
    )
    assert run.metrics["task"] == "regress"
    notes = " ".join(run.metrics["notes"])
    assert "regress was chosen" in notes and "its logarithm is learned" in notes
    new = table.drop("wear")
    assert_frame_equal(gatewise.predict(run, new), gatewise.predict(tmp_path / "run", new))
    again = gatewise.evaluate(tmp_path / "run", table)
    assert set(again["baselines"]) == {
        *("median", "ridge on summaries", "gradient boosting on summaries")
    }
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    for heading in ("Predicted and true", "Residuals", "Error by length", "Largest errors"):
        assert f">{heading}</h2>" in page


def test_a_state_at_each_step_is_learned_from_the_whole_past():
    random = np.random.default_rng(0)
    x = [random.uniform(-1, 1, size=(20, 1)) for _ in range(150)]
    y = [np.cumsum(one[:, 0]) / 4 for one in x]
    made = Regressor(units=(16,), epochs=30, batch_size=16, learning_rate=0.01)
    made.fit(x[:130], y[:130])
    found = made.predict(x[130:])
    assert [one.shape for one in found] == [(20,)] * 20
    errors = np.abs(np.concatenate(found) - np.concatenate(y[130:]))
    assert errors.mean() < 0.25 * np.abs(np.concatenate(y[130:])).mean()


def test_several_targets_keep_their_shape_and_texts_are_read():
    x = np.random.default_rng(0).normal(size=(60, 6))
    made = Regressor(**SMALL).fit(x, x[:, :2])
    assert made.predict(x[:7]).shape == (7, 2)
    assert made.predict_quantiles(x[:7]).shape == (7, 2, 3)
    listed = Regressor(**SMALL).fit(x, x[:, :2].tolist())
    np.testing.assert_array_equal(listed.predict(x[:7]), made.predict(x[:7]))
    texts = [f"{'good' if k % 2 else 'bad'} film number {k}" for k in range(60)]
    assert Regressor(**SMALL).fit(texts, np.arange(60) / 7).predict(texts[:5]).shape == (5,)


def test_the_estimator_can_be_cloned():
    made = Regressor(**SMALL)
    assert clone(made).get_params() == made.get_params()


@pytest.mark.parametrize(
    ("y", "said"),
    [
        ([1.0, 2.0, 3.0], "X has 4 sequences, but y has 3 numbers"),
        (list("abcd"), "y must hold numbers.*For labels, use Classifier"),
        (None, "y must hold a number for each sequence"),
        ([1.0, np.nan, 2.0, 3.0], "1 of 4 sequences has no 'y'; the first is '1'"),
    ],
)
def test_unusable_numbers_are_a_sentence(y, said):
    with pytest.raises(DataError, match=said):
        Regressor(**SMALL).fit(np.arange(12.0).reshape(4, 3), y)
