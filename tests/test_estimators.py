"""The estimators behave like those of scikit-learn."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    estimator_checks_generator,
)

import gatewise
from gatewise import Classifier, Detector, Forecaster, Regressor

SMALL = {"units": (3,), "epochs": 2, "batch_size": 16}
FEW = {"task": {"horizon": 3, "lookback": 6, "season": 1}}


@pytest.fixture(scope="module")
def waves():
    """40 sequences of 8 steps; those with the label 10 are higher than those with 9."""
    random = np.random.default_rng(0)
    y = np.array([9, 10] * 20)
    return random.normal(size=(40, 8)) + 3.0 * (y == 10)[:, None], y


@pytest.fixture(scope="module")
def fitted(waves):
    return Classifier(units=(4,), epochs=12, batch_size=8, learning_rate=0.05).fit(*waves)


def test_labels_are_returned_as_they_were_given(fitted, waves):
    x, y = waves
    assert fitted.classes_.tolist() == [9, 10]
    assert fitted.predict(x).dtype == y.dtype
    assert fitted.score(x, y) > 0.9


def test_probabilities_are_in_the_order_of_the_classes(fitted, waves):
    x, _ = waves
    probabilities = fitted.predict_proba(x)
    assert probabilities.shape == (40, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(fitted.classes_[probabilities.argmax(axis=1)], fitted.predict(x))


def test_a_list_of_arrays_of_different_lengths_is_accepted(fitted):
    found = fitted.predict([np.zeros(3), np.full(12, 3.0)])
    assert found.tolist() == [9, 10]


def test_a_list_of_arrays_of_different_lengths_can_be_trained_on():
    random = np.random.default_rng(0)
    x = [random.normal(size=(random.integers(3, 9), 2)) for _ in range(30)]
    made = Classifier(**SMALL).fit(x, ["no", "yes"] * 15)
    assert set(made.predict(x)) <= {"no", "yes"}


def test_parameters_can_be_read_cloned_and_set():
    made = Classifier(units=(5, 4), epochs=3, settings={"network": {"pooling": "mean"}})
    assert made.get_params()["units"] == (5, 4)
    copy = clone(made)
    assert copy is not made
    assert copy.get_params() == made.get_params()
    assert copy.set_params(epochs=9).epochs == 9
    assert clone(Forecaster(**SMALL)).get_params() == Forecaster(**SMALL).get_params()


def test_the_defaults_are_settings_that_can_be_used():
    assert Classifier()._experiment("classify").task.name == "classify"


def test_a_pipeline_scales_first(waves):
    x, y = waves
    made = make_pipeline(StandardScaler(), Classifier(**SMALL)).fit(1000 * x, y)
    assert made.predict(1000 * x).shape == (40,)


def test_a_grid_search_tries_the_settings(waves):
    x, y = waves
    search = GridSearchCV(Classifier(**SMALL), {"units": [(2,), (3,)]}, cv=2, refit=False)
    search.fit(x, y)
    assert [one["units"] for one in search.cv_results_["params"]] == [(2,), (3,)]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_randomized_search_reaches_through_a_pipeline(waves):
    x, y = waves
    pipeline = make_pipeline(StandardScaler(), Regressor(**SMALL))
    space = {"regressor__learning_rate": [1e-6, 0.1]}
    search = RandomizedSearchCV(pipeline, space, n_iter=2, cv=2, random_state=0)
    search.fit(x, x.mean(axis=1))
    assert search.best_params_ == {"regressor__learning_rate": 0.1}
    assert search.best_estimator_[-1].learning_rate == 0.1
    assert search.predict(x).shape == (40,)


def test_cross_validation_scores_each_fold_with_a_clone(waves):
    estimator = Regressor(**SMALL)
    scores = cross_val_score(estimator, waves[0], waves[0].mean(axis=1), cv=2)
    assert scores.shape == (2,) and np.isfinite(scores).all()
    assert not hasattr(estimator, "run_")


def frame(columns="abcde", rows=30, seed=0):
    """Columns that differ, so that their order counts."""
    numbers = np.random.default_rng(seed).normal(size=(rows, len(columns))) + np.arange(
        len(columns)
    )
    return pd.DataFrame(numbers, columns=list(columns))


@pytest.mark.parametrize("estimator", [Classifier(**SMALL), Regressor(**SMALL)])
def test_the_columns_of_a_table_are_those_of_fit(estimator):
    check_dataframe_column_names_consistency(type(estimator).__name__, estimator)


def test_the_columns_of_a_series_are_those_of_fit():
    series = frame("ab", 200)
    detector = Detector(lookback=4, units=2, epochs=1).fit(series)
    assert detector.feature_names_in_.tolist() == ["a", "b"]
    assert detector.predict(series).shape == (200,)
    with pytest.raises(ValueError, match="same order as they were in fit"):
        detector.predict(series[["b", "a"]])


def test_the_columns_of_a_list_of_tables_are_those_of_fit():
    tables = [frame("ab", 5 + k % 3, seed=k) for k in range(20)]
    made = Classifier(**SMALL).fit(tables, [k % 2 for k in range(20)])
    expected = made.predict_proba(tables)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        arrays = made.predict_proba([one.to_numpy() for one in tables])
    np.testing.assert_array_equal(arrays, expected)
    with pytest.raises(ValueError, match="same order as they were in fit"):
        made.predict_proba([one[["b", "a"]] for one in tables])
    with pytest.raises(gatewise.DataError, match="table 1 has the columns 'b', 'a', but table 0"):
        made.predict_proba([tables[0], tables[1][["b", "a"]]])
    dated = [one.assign(day=pd.date_range("2024-01-01", periods=len(one))) for one in tables]
    with pytest.raises(gatewise.DataError, match="column 'day' of table 0 does not hold numbers"):
        made.predict_proba(dated)


def test_an_estimator_trains_its_own_task(waves):
    with pytest.raises(gatewise.ConfigError, match="Regressor trains the task regress, but"):
        Regressor(**SMALL, settings={"task": {"name": "classify"}}).fit(*waves)


def test_messages_say_how_settings_are_given_here():
    with pytest.raises(gatewise.ConfigError, match=r"--target.* is data\.target\.$"):
        Forecaster(horizon=2).fit(frame("ab"))


def test_a_forecaster_reads_an_array_of_series():
    series = np.stack([np.c_[one, one + 1] for one in (np.sin(np.arange(60)), np.arange(60.0))])
    made = Forecaster(**SMALL, settings=FEW).fit(series)
    assert made.predict().shape == (2, 3, 2)
    assert made.score(series) < 0
    assert Forecaster(**SMALL, settings=FEW).fit(series[:, :, :1]).predict().shape == (2, 3)


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (np.arange(8.0), r"lookback and horizon, 6 \+ 3 steps\. Series 0 has 8"),
        (np.where(np.arange(40) == 38, np.nan, 1.0), "last 3 steps. In series 0, one of them is"),
        (["a", "b"], "must hold numbers, but it holds texts"),
    ],
    ids=["short", "empty cell", "texts"],
)
def test_a_forecast_is_scored_against_known_steps(series, message):
    made = Forecaster(**SMALL, settings=FEW).fit(np.sin(np.arange(60)))
    with pytest.raises(gatewise.DataError, match=message):
        made.score(series)


@pytest.mark.parametrize("estimator", [Classifier(), Forecaster()])
def test_an_unfitted_estimator_says_so(estimator):
    with pytest.raises(NotFittedError):
        estimator.predict(np.zeros((3, 4)))


def test_there_must_be_as_many_labels_as_sequences():
    with pytest.raises(gatewise.DataError, match="X has 3 sequences, but y has 2 labels"):
        Classifier().fit(np.zeros((3, 4)), ["a", "b"])


@pytest.mark.parametrize("units", [8, np.int64(8), (8,), np.array([8])])
def test_one_number_of_units_is_one_layer(units):
    assert Classifier(units=units)._experiment("classify").network.units == (8,)


# The checks of scikit-learn that train nothing. The table of docs/api.md names those that fail.
CHEAP = {
    *("check_do_not_raise_errors_in_init_or_set_params", "check_estimator_cloneable"),
    *("check_estimator_repr", "check_estimator_sparse_tag", "check_estimator_sparse_array"),
    *("check_estimator_sparse_matrix", "check_estimator_tags_renamed", "check_estimators_unfitted"),
    *("check_get_params_invariance", "check_mixin_order", "check_no_attributes_set_in_init"),
    *("check_parameters_default_constructible", "check_set_params", "check_valid_tag_types"),
    *("check_classifiers_one_label", "check_classifiers_one_label_sample_weights"),
    *("check_classifiers_regression_target", "check_supervised_y_no_nan", "check_complex_data"),
    *("check_estimators_empty_data_messages", "check_fit2d_1sample", "check_requires_y_none"),
}
API = Path(__file__).parents[1] / "docs" / "api.md"
EXCEPTIONS = re.findall(r"^\| (`check_.*?) \|", API.read_text(), re.MULTILINE)


def exceptions(estimator):
    """The checks that the table of docs/api.md names for an estimator."""
    name = type(estimator).__name__
    rows = [row for row in EXCEPTIONS if " of `" not in row or f" of `{name}`" in row]
    return {one for row in rows for one in re.findall(r"`(check_\w+)`", row)}


@pytest.mark.parametrize("estimator", [Classifier(), Regressor(), Forecaster()])
def test_the_estimators_pass_the_checks_of_scikit_learn_but_for_named_ones(estimator):
    passed, failed = [], []
    for one, check in estimator_checks_generator(estimator):
        name = check.func.__name__
        if name in CHEAP and name not in exceptions(estimator):
            check(one)
            passed.append(name)
        elif name in CHEAP:
            with pytest.raises((AssertionError, ValueError)):
                check(one)
            failed.append(name)
    assert len(passed) >= 14
    assert {"check_complex_data", "check_fit2d_1sample"} <= set(failed)


@pytest.mark.parametrize("estimator", [Classifier(), Regressor(), Forecaster()])
@pytest.mark.parametrize(("cell", "said"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_a_cell_without_a_number_is_named_in_the_words_of_scikit_learn(estimator, cell, said):
    x = np.ones((10, 3))
    x[0, 0] = cell
    with pytest.raises(ValueError, match=f"step 1.*{said}|{said} value in step 1"):
        clone(estimator).fit(x, [0, 1] * 5)


def test_a_horizon_and_a_lookback_are_parameters():
    task = Forecaster(horizon=12, lookback=30)._task_settings().task
    assert (task.horizon, task.lookback) == (12, 30)
    below = {"task": {"horizon": 3}}
    assert Forecaster(horizon=12, settings=below)._task_settings().task.horizon == 3


@pytest.mark.parametrize("estimator", [Classifier(), Regressor()])
def test_a_table_is_read_as_its_array(estimator):
    with pytest.raises(ValueError, match="X has 2 sequences, but y has 1"):
        estimator.fit(pl.DataFrame({"0": [1, 2], "1": [1, 3]}), [1])


def test_complex_targets_are_refused():
    with pytest.raises(gatewise.DataError, match="y must hold numbers"):
        Regressor().fit(np.zeros((2, 3)), [1j, 2])


X = np.zeros((4, 3))


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (None, None, "y must hold a label for each sequence. Received: None"),
        (X, None, "y must hold a label"),
        (None, list("abab"), "X must hold a sequence in each row. Received: None"),
        (3, 3, "y must hold a label"),
        (X, ["a", None, "b", "a"], "y has no label for 1 of 4 sequences; the first is number 1"),
        (X, [1.0, float("nan"), 2.0, float("nan")], "no label for 2 of 4 sequences"),
        (X, np.eye(4), "one label for each sequence .for one-hot labels"),
        (X, [["a"], ["b", "c"], ["a"], ["b"]], "one label for each sequence"),
        (X, ["1", "1.0", "1", "1.0"], "spells the label '1' in several ways"),
    ],
)
def test_unusable_training_data_is_a_sentence(x, y, said):
    with pytest.raises(gatewise.DataError, match=said):
        Classifier(**SMALL).fit(x, y)


def test_a_forecaster_without_data_is_a_sentence():
    with pytest.raises(gatewise.DataError, match="X must hold one series.* Received: None"):
        Forecaster(**SMALL).fit(None)


def test_float_labels_are_returned_as_floats(waves):
    x, y = waves
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        made = Classifier(**SMALL).fit(x, y.astype(float)[:, None])
    assert made.predict(x).dtype == float
    assert set(made.predict(x)) <= {9.0, 10.0}


@pytest.mark.parametrize(("size", "said"), [(1e300, "too large .* Divide"), (1e-300, "too small")])
def test_numbers_that_cannot_be_squared_are_refused(tide, size, said):
    with pytest.raises(gatewise.DataError, match=said):
        Forecaster(**SMALL, settings=FEW).fit(tide * size)


@pytest.mark.parametrize("size", [2**60, -(2**60), 1e17])
def test_large_numbers_that_differ_by_less_than_float64_holds_are_refused(tide, size):
    with pytest.raises(gatewise.DataError, match="float64 rounds away. Subtract a constant"):
        Forecaster(**SMALL, settings=FEW).fit(1000 * tide + size)
    with pytest.raises(gatewise.DataError, match="float64 rounds away. Subtract a constant"):
        Regressor(**SMALL).fit(tide.reshape(10, 8), 1000 * tide[:10] + size)


def test_new_numbers_that_float32_cannot_hold_are_refused(tide, fitted, waves):
    made = Forecaster(**SMALL, settings=FEW).fit(tide)
    with pytest.raises(
        gatewise.DataError, match=r"column '.+' holds .* 6e\+38 .* seen in training"
    ):
        made.predict(tide * 1e38)
    with pytest.raises(gatewise.DataError, match=r"column '.+' holds .* seen in training"):
        fitted.predict(waves[0] * 1e39)


def test_an_unknown_setting_is_refused():
    with pytest.raises(gatewise.ConfigError, match="Did you mean 'epochs'"):
        Classifier(settings={"training": {"epoch": 3}}).fit(np.zeros((3, 4)), list("aba"))


@pytest.fixture(scope="module")
def tide():
    return 5 + np.sin(np.arange(80) / 2)


def test_one_series_gives_a_number_for_each_step_ahead(tide):
    made = Forecaster(**SMALL, settings=FEW).fit(tide)
    found = made.predict()
    assert found.shape == (3,)
    assert made.predict_quantiles().shape == (3, 3)
    np.testing.assert_array_equal(made.predict(tide), found)
    assert made.predict(tide[:30]).shape == (3,)
    assert made.score(tide) < 0


def test_a_series_of_several_columns_gives_a_column_for_each(tide):
    x = np.column_stack([tide, -tide])
    made = Forecaster(**SMALL, settings=FEW).fit(x)
    found = made.predict(x)
    assert found.shape == (3, 2)
    assert found[:, 0].mean() > 0 > found[:, 1].mean()


def test_a_list_of_series_gives_a_row_for_each(tide):
    x = [tide, tide[:50] * 100]
    made = Forecaster(**SMALL, settings=FEW).fit(x)
    found = made.predict(x)
    assert found.shape == (2, 3)
    assert found[1].mean() > 50 * found[0].mean()
    assert np.isfinite(made.score(x))


def test_a_blend_reaches_the_probabilities(waves):
    x, y = waves
    alone = Classifier(**SMALL, seed=3).fit(x, y)
    both = Classifier(**SMALL, seed=3, settings={"task": {"blend": "logistic"}}).fit(x, y)
    prepared = both.run_.artefact.preparation
    ours = np.asarray(both.model((x[..., None] - prepared.scale.centre) / prepared.scale.spread))
    ours = np.exp(ours / prepared.own.temperature)
    ours /= ours.sum(axis=1, keepdims=True)
    in_order = [prepared.own.classes.index(one) for one in ("9", "10")]
    # What is left of the mean is the regression's: probabilities, and these labels are easy for it.
    theirs = 2 * both.predict_proba(x) - ours[:, in_order]
    assert ((theirs > -1e-5) & (theirs < 1 + 1e-5)).all()
    assert roc_auc_score(y == 10, theirs[:, 1]) > 0.99
    assert not np.allclose(both.predict_proba(x), alone.predict_proba(x), atol=0.01)
