"""A budget of time: what is chosen to fit, and what a training that it ends leaves behind."""

import math
from unittest.mock import ANY

import pytest

import gatewise
from gatewise.errors import ConfigError
from gatewise.judging.budget import Budget, fit_into
from gatewise.settings import from_mapping
from gatewise.training import checkpoints
from gatewise.training.ready import make_ready

HOUR = 3600.0


def planned(ready, seconds):
    experiment = fit_into(Budget(seconds), ready).experiment
    return experiment.split.folds, experiment.training.networks, experiment.training.refit


def test_more_time_buys_more_networks_up_to_the_quality_asked_for(
    sequences_file, classify_settings, monkeypatch
):
    monkeypatch.delenv("GATEWISE_QUALITY")  # that of all other tests
    given = {**classify_settings, "data": {"path": str(sequences_file)}}
    chosen = {"auto": (10, 5, "auto"), "good": (5, 3, "auto"), "fast": (0, 0, "no")}
    for quality, expected in chosen.items():
        settings = given | {"training": {**given["training"], "quality": quality}}
        ready = make_ready(from_mapping(settings))
        assert planned(ready, HOUR) == expected
    assert planned(ready, 1e-3) == (0, 0, "no")


def test_folds_and_networks_that_are_given_stay(sequences_file, classify_settings):
    settings = classify_settings | {"split": {"folds": 3}}
    ready = make_ready(from_mapping({**settings, "data": {"path": str(sequences_file)}}))
    assert planned(ready, 1e-3) == (3, 0, "auto")


def test_a_forecast_averages_as_many_networks_as_fit(series_file, forecast_settings, monkeypatch):
    monkeypatch.delenv("GATEWISE_QUALITY")  # that of all other tests
    ready = make_ready(from_mapping({**forecast_settings, "data": {"path": str(series_file)}}))
    most = ready.experiment.training.networks
    assert most > 1
    assert planned(ready, HOUR) == (0, most, "yes")
    assert planned(ready, 1e-3) == (0, 1, "no")


def test_a_budget_counts_the_trainings_of_a_backtest(series_file, forecast_settings, caplog):
    caplog.set_level("INFO")
    given = {**forecast_settings, "data": {"path": str(series_file)}, "split": {"folds": 3}}
    training = {"training": forecast_settings["training"] | {"refit": "no"}}
    assert planned(make_ready(from_mapping(given | training)), HOUR) == (3, ANY, "no")
    assert "What fits: a backtest in 3 folds, about" in caplog.text


def test_a_budget_ends_an_endless_training_with_a_judged_run(
    sequences_file, classify_settings, tmp_path
):
    endless = {"epochs": 10**6, "patience": 0, "batch_size": 16}
    run = gatewise.train(
        sequences_file,
        settings=classify_settings | {"training": endless},
        budget="6s",
        output=tmp_path / "run",
    )
    assert run.history.stopped.startswith("stopped by the budget")
    assert run.metrics["verdict"]["sentence"]
    assert gatewise.load(tmp_path / "run").metrics["metrics"] == run.metrics["metrics"]


@pytest.mark.parametrize("budget", ["soon", "-3m", 0, float("inf")])
def test_a_budget_that_is_no_time_is_refused(sequences_file, budget):
    with pytest.raises(ConfigError, match="such as 90s, 30m or 2h"):
        gatewise.train(sequences_file, budget=budget)


def test_a_run_that_was_cut_off_keeps_what_it_chose_to_fit(
    sequences_file, classify_settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoints, "SHARE", math.inf)  # a checkpoint after every epoch
    training = {**classify_settings["training"], "epochs": 2}
    known = {"settings": classify_settings | {"training": training}, "output": tmp_path / "run"}

    def leave(progress, epoch_over):
        if progress.epoch == 2:
            raise OSError("as if the process ended here")

    with pytest.raises(OSError, match="as if"):
        gatewise.train(sequences_file, **known, budget=HOUR, watch=leave)
    run = gatewise.train(sequences_file, **known, resume=True)
    assert run.artefact.experiment.training.refit == "no"  # "auto", if not chosen
    assert len(run.history.columns["epoch"]) == 2
