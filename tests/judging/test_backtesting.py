"""Backtests: what each network has seen, what it is asked, and what survives a kill."""

import math

import numpy as np
import polars as pl
import pytest

import gatewise
from gatewise.data.batches import Examples
from gatewise.data.sequences import from_arrays
from gatewise.data.windows import windows
from gatewise.errors import ConfigError
from gatewise.tasks.forecast.backtest import stretch
from gatewise.training import checkpoints


@pytest.mark.parametrize("stride", [1, 3])
def test_stretches_divide_the_windows_of_the_test_part(stride):
    series = from_arrays([np.arange(float(n)) for n in (60, 25, 13)])
    held = series.between(series.starts + 10, series.stops)
    whole = windows(held, 12, 4, stride)
    examples = Examples(whole, np.full(len(whole), 12), None, None)
    parts = [stretch(examples, k, k + 1, count=4) for k in range(4)]
    assert sorted(np.concatenate([places for _, places in parts])) == list(range(len(whole)))
    for part, places in (*parts, stretch(examples, 0, 3, count=4)):
        again = windows(part, 12, 4, stride)
        assert len(again) == len(places)
        found, wanted = again.places(np.arange(len(again))), whole.places(places)
        np.testing.assert_array_equal(found, wanted)


@pytest.fixture(scope="module")
def backtest(series_file, forecast_settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("backtest") / "run"
    return gatewise.train(series_file, settings=forecast_settings, output=folder, folds=2)


def test_the_origins_and_the_truth_are_those_of_an_ordinary_run(backtest, forecast_run):
    columns = ["id", "origin", "time", "truth"]
    ours, theirs = (
        pl.read_csv(one / "predictions.csv").select(columns)
        for one in (backtest.artefact.folder, forecast_run)
    )
    assert ours.equals(theirs)
    gatewise.compare(backtest, forecast_run)  # the same test part


def test_the_folds_add_up_to_the_verdict(backtest):
    folds, metrics = backtest.metrics["folds"], backtest.metrics["metrics"]
    scores = [one["metrics"]["mae"] for one in folds["each"]]
    counts = [one["tested"] for one in folds["each"]]
    assert np.average(scores, weights=counts) == pytest.approx(metrics["mae"])
    assert folds["mean"]["mae"] == pytest.approx(np.mean(scores))
    assert folds["deviation"]["mae"] == pytest.approx(np.std(scores, ddof=1))
    assert folds["each"][0]["trained"] < folds["each"][1]["trained"]
    page = (backtest.artefact.folder / "report.html").read_text(encoding="utf-8")
    assert "Scores by fold" in page and folds["each"][1]["begins"] in page


def test_no_network_sees_what_follows_its_stretch(backtest, series_file, forecast_settings):
    """Other values from the last stretch on change no forecast that was made before it."""
    frame = pl.read_csv(series_file, try_parse_dates=True)
    table = pl.read_csv(backtest.artefact.folder / "predictions.csv", try_parse_dates=True)
    changed = pl.col("day") >= pl.date(*map(int, _second(backtest).split("-")))
    other = frame.with_columns(pl.when(changed).then(50.0).otherwise("load").alias("load"))
    again = gatewise.train(other, settings=forecast_settings, folds=2, target="load")
    quantiles = ["q0.1", "q0.5", "q0.9"]
    first = table["origin"].cast(pl.String).str.head(10) < _second(backtest)
    first = first & (table["time"].cast(pl.String).str.head(10) > "")
    before, after = table.filter(first), again.evaluation.table.filter(first)
    assert 0 < len(before) < len(table)
    np.testing.assert_array_equal(before.select(quantiles), after.select(quantiles))


def _second(backtest):
    """The day on which the second stretch begins."""
    return backtest.metrics["folds"]["each"][1]["begins"]


class Killed(BaseException):
    """Ends a training in the middle, as SIGKILL would."""


def test_a_backtest_that_was_killed_ends_with_the_same_numbers(
    monkeypatch, backtest, series_file, forecast_settings, tmp_path, caplog
):
    monkeypatch.setattr(checkpoints, "SHARE", math.inf)  # a checkpoint after each epoch
    caplog.set_level("INFO")

    def watch(progress, epoch_over):
        if epoch_over and progress.network == "network 2 of 2":
            raise Killed

    given = {"settings": forecast_settings, "output": tmp_path / "run", "folds": 2}
    with pytest.raises(Killed):
        gatewise.train(series_file, **given, watch=watch)
    again = gatewise.train(series_file, **given, resume=True)
    assert "Training continues after 1 finished network" in caplog.text
    assert again.metrics["metrics"] == backtest.metrics["metrics"]
    pairs = zip(again.model.get_weights(), backtest.model.get_weights(), strict=True)
    assert all((one == other).all() for one, other in pairs)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"folds": 50}, "the test part has 27 origins, too few for 50 stretches"),
        ({"folds": -1}, r"split\.folds"),
        ({"folds": 2, "repeats": 2}, "With --repeats, each seed trains a single network"),
    ],
)
def test_what_cannot_be_tested_again_is_refused(series_file, forecast_settings, change, reason):
    with pytest.raises(ConfigError, match=reason):
        gatewise.train(series_file, settings=forecast_settings, **change)
