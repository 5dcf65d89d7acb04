"""Several seeds: what is saved, and an interval that holds both sources of chance."""

import math

import numpy as np
import polars as pl
import pytest

import gatewise
from gatewise.errors import ConfigError
from gatewise.judging.evaluation import over_seeds, resample
from gatewise.settings import EvaluationSettings
from gatewise.tasks.task import mean_measure
from gatewise.training import checkpoints


@pytest.fixture(scope="module")
def repeated(series_file, forecast_settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("repeats") / "run"
    return gatewise.train(series_file, settings=forecast_settings, output=folder, repeats=3)


def test_the_saved_seed_is_the_best_on_validation(repeated):
    found = repeated.metrics["repeats"]
    assert [one["seed"] for one in found["each"]] == [0, 1, 2]
    best = min(found["each"], key=lambda one: one["validation"])
    assert found["saved"] == best["seed"] == repeated.artefact.experiment.training.seed
    assert repeated.metrics["metrics"] == best["metrics"]


def test_a_seed_of_several_is_the_run_with_that_seed(repeated, series_file, forecast_settings):
    alone = gatewise.train(series_file, settings=forecast_settings, seed=2)
    assert repeated.metrics["repeats"]["each"][2]["metrics"] == alone.metrics["metrics"]


def test_seeds_that_were_finished_before_a_kill_are_not_trained_again(
    repeated, series_file, forecast_settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoints, "SHARE", math.inf)  # a checkpoint after every epoch
    begun = []

    def watch(progress, epoch_over):
        if epoch_over and progress.epoch == 1:
            begun.append(progress.epoch)
            if len(begun) == 2:
                raise OSError("as if the process ended here")

    given = {"settings": forecast_settings, "output": tmp_path / "run", "repeats": 2}
    with pytest.raises(OSError, match="as if"):
        gatewise.train(series_file, **given, watch=watch)
    run = gatewise.train(series_file, **given, watch=watch, resume=True)
    assert len(begun) == 3
    scores = [one["metrics"] for one in run.metrics["repeats"]["each"]]
    assert scores == [one["metrics"] for one in repeated.metrics["repeats"]["each"][:2]]


def test_the_verdict_is_about_the_mean_over_seeds(repeated):
    found, verdict = repeated.metrics["repeats"], repeated.metrics["verdict"]
    scores = [one["metrics"][verdict["metric"]] for one in found["each"]]
    assert found["mean"][verdict["metric"]] == pytest.approx(np.mean(scores))
    assert found["deviation"][verdict["metric"]] == pytest.approx(np.std(scores, ddof=1))
    assert verdict["ours"] == pytest.approx(np.mean(scores))
    assert "mean of 3 seeds" in verdict["sentence"]


def test_the_folder_keeps_the_scores_of_every_seed(repeated):
    table = pl.read_parquet(repeated.artefact.folder / "resamples.parquet")
    main = table.filter(pl.col("metric") == repeated.metrics["verdict"]["metric"])
    assert main["score"].mean() == pytest.approx(repeated.metrics["verdict"]["ours"])


def test_the_interval_over_seeds_and_clusters_has_the_variance_of_both():
    """Owen 2007: the variance over both factors is about the sum of their own ones."""
    random = np.random.default_rng(0)
    clusters, seeds = random.normal(0, 1, 400), random.normal(0, 0.1, 20)
    measure = mean_measure("mae", lambda errors: errors, np.arange(400))
    settings = EvaluationSettings(n_resamples=4000)
    one = [resample(measure, {"LSTM": clusters + seed}, settings)[0] for seed in seeds]
    both = over_seeds(one, "LSTM")
    assert both.score == pytest.approx(clusters.mean() + seeds.mean())
    wanted = clusters.var() / 400 + seeds.var() / 20
    assert both.drawn.var() == pytest.approx(wanted, rel=0.1)


def test_one_seed_is_judged_as_before():
    measure = mean_measure("mae", lambda errors: errors, np.arange(50))
    errors = np.random.default_rng(0).normal(size=50)
    one = resample(measure, {"LSTM": errors}, EvaluationSettings())[0]
    np.testing.assert_array_equal(over_seeds([one], "LSTM").drawn, one.drawn)


@pytest.mark.parametrize("repeats", [0, -1, 1.5, True])
def test_a_wrong_number_of_seeds_is_refused(series_file, repeats):
    with pytest.raises(ConfigError, match="at least 1"):
        gatewise.train(series_file, repeats=repeats)
