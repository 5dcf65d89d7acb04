"""Runs are compared on the same examples, or refused with the difference."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

import gatewise
from gatewise.errors import ArtefactError, ConfigError
from gatewise.judging import evaluation
from gatewise.runs import artefact
from gatewise.settings import from_mapping, layer_of
from gatewise.training.ready import make_ready


@pytest.fixture(scope="module")
def other_run(series_file, forecast_settings, tmp_path_factory):
    """The same test part, another lookback and three seeds."""
    folder = tmp_path_factory.mktemp("comparison") / "other"
    settings = forecast_settings | {"task": forecast_settings["task"] | {"lookback": 12}}
    gatewise.train(series_file, settings=settings, output=folder, repeats=3)
    return folder


def test_the_difference_of_two_runs_is_that_of_their_predictions(
    forecast_run, series_file, forecast_settings, tmp_path
):
    settings = forecast_settings | {"training": {"epochs": 1, "batch_size": 16}}
    gatewise.train(series_file, settings=settings, output=tmp_path / "b")
    found = gatewise.compare(forecast_run, tmp_path / "b")["comparisons"][0]
    predictions = []
    for folder in (forecast_run, tmp_path / "b"):
        run = gatewise.load(folder)
        ready = make_ready(from_mapping(layer_of(folder / "settings.toml")))
        task = ready.task
        outputs = task.network.predict(run.network, ready.test, run.preparation, run.experiment)
        predictions.append(task.postprocess(outputs, ready.test, run.preparation, run.baselines))
    measure = task.measures(ready.test, ready.preparation, ready.experiment)[0]
    wanted = evaluation.compare(
        measure, predictions[1], predictions[0], "a", ready.experiment.evaluation
    )
    for key in ("ours", "theirs", "difference", "low", "high", "relative_low"):
        assert found[key] == pytest.approx(wanted[key], rel=1e-5), key


def test_a_run_of_several_seeds_is_compared_by_its_mean(forecast_run, other_run):
    found = gatewise.compare(forecast_run, other_run)
    assert [one["seeds"] for one in found["runs"]] == [1, 3]
    repeats = json.loads((other_run / "metrics.json").read_text())["repeats"]
    assert found["runs"][1]["metrics"] == repeats["mean"]
    assert found["comparisons"][0]["ours"] == pytest.approx(repeats["mean"]["mae"])
    assert found["comparisons"][0]["sentence"].startswith(str(other_run))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"split": {"test": 0.3}}, "they hold the steps"),
        ({"task": {"horizon": 3}}, "horizons of .* are 4 and 3"),
    ],
)
def test_other_test_parts_are_refused_with_the_difference(
    forecast_run, series_file, forecast_settings, tmp_path, change, reason
):
    merged = {
        key: forecast_settings.get(key, {}) | change.get(key, {})
        for key in {*forecast_settings, *change}
    }
    gatewise.train(series_file, settings=merged, output=tmp_path / "b")
    with pytest.raises(ConfigError, match=reason):
        gatewise.compare(forecast_run, tmp_path / "b")


def test_other_values_are_refused(forecast_run, series_file, forecast_settings, tmp_path):
    table = pl.read_csv(series_file)
    changed = table.with_columns(
        load=pl.when(pl.int_range(pl.len()) == 149).then(9).otherwise("load")
    )
    changed.write_csv(tmp_path / "load.csv")
    gatewise.train(tmp_path / "load.csv", settings=forecast_settings, output=tmp_path / "b")
    with pytest.raises(ConfigError, match="values or the labels"):
        gatewise.compare(forecast_run, tmp_path / "b")


def test_another_task_one_run_and_an_unknown_metric_are_refused(
    forecast_run, classify_run, other_run
):
    with pytest.raises(ConfigError, match="tasks are forecast and classify"):
        gatewise.compare(forecast_run, classify_run)
    with pytest.raises(ConfigError, match="at least two run folders"):
        gatewise.compare(forecast_run)
    with pytest.raises(ConfigError, match="elegance cannot be compared.*mae, mse"):
        gatewise.compare(forecast_run, other_run, metric="elegance")


def test_a_folder_of_an_older_version_says_how_to_renew_it(forecast_run, other_run, tmp_path):
    old = shutil.copytree(forecast_run, tmp_path / "old")
    metrics = json.loads((old / "metrics.json").read_text())
    del metrics["resampled"]
    artefact.write_json(old / "metrics.json", metrics)
    artefact.seal(old)
    with pytest.raises(ArtefactError, match="older version.*gatewise train --config"):
        gatewise.compare(other_run, old)


def test_the_saved_scores_are_numbers(forecast_run):
    table = pl.read_parquet(forecast_run / "resamples.parquet")
    assert np.isfinite(table["resampled"].explode().to_numpy()).all()
