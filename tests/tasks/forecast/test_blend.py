"""The blend of a forecast with ridge: the same numbers wherever a run answers."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from test_forecast import experiment, prepared, series, waves

import gatewise
from gatewise.errors import ConfigError
from gatewise.tasks.forecast import blend
from gatewise.tasks.forecast import task as forecast
from gatewise.tasks.forecast.baselines import naive_names

QUANTILES = ["q0.1", "q0.5", "q0.9"]


@pytest.fixture(scope="module")
def blended(series_file, forecast_settings, tmp_path_factory):
    """A saved run whose answer is a mean, with the floor and the margins that follow it."""
    task = forecast_settings["task"] | {"blend": "ridge", "floor": "zero"}
    folder = tmp_path_factory.mktemp("blend") / "run"
    settings = forecast_settings | {"task": task, "split": {"validation": 0.3}}
    gatewise.train(series_file, settings=settings, output=folder)
    return folder


def alone(folder, name):
    """The run with another answer: the network's, or almost that of ridge."""
    found = gatewise.load(folder)
    own = replace(found.preparation.own, blend_margins=())
    own = replace(own, blend="none") if name == "LSTM" else replace(own, share=1.0)
    return replace(found, preparation=replace(found.preparation, own=own))


def test_a_blend_predicts_the_weighted_mean_with_and_without_keras(blended, series_file):
    found = gatewise.load(blended)
    own = found.preparation.own
    ours, ridge = (
        gatewise.predict(alone(blended, name), series_file).select(QUANTILES).to_numpy()
        for name in ("LSTM", "ridge")
    )
    spread = found.preparation.scale.spread[0, 0]
    wanted = (1 - own.share) * ours + own.share * ridge + spread * np.array(own.blend_margins)
    for run in (found, blended):  # a run folder is opened without Keras
        answer = gatewise.predict(run, series_file).select(QUANTILES).to_numpy()
        np.testing.assert_allclose(answer, wanted, rtol=1e-5)
    assert np.abs(ours - ridge)[:, 1].max() > 0.1, "else the mean would show nothing"


def test_ridge_in_a_blend_is_the_fitted_baseline(blended, series_file):
    found = gatewise.load(blended)
    fitted, scale = found.baselines["ridge"], found.preparation.scale
    load = pl.read_csv(series_file)["load"].to_numpy()
    past = (load[-8:] - scale.centre[0, 0]) / scale.spread[0, 0]
    table = gatewise.predict(alone(blended, "ridge"), series_file)
    inputs = past - past[-1]
    known = np.array(fitted["coefficients"])[8:]  # of the calendar, which is known ahead
    ahead = inputs @ np.array(fitted["coefficients"])[:8] + np.array(fitted["intercept"]) + past[-1]
    assert len(known)
    examples = forecast.examples(
        forecast.prediction_inputs(
            gatewise.prediction.raw_steps(found, series_file), found.preparation
        ),
        found.preparation,
        found.experiment,
        "predict",
    )
    future = examples.inputs(np.array([0]), 0)["future"].reshape(-1)
    wanted = (ahead + future @ known) * scale.spread[0, 0] + scale.centre[0, 0]
    np.testing.assert_allclose(table["q0.5"].to_numpy(), wanted, rtol=1e-5)


def test_a_blend_is_scored_and_named_as_one(blended, series_file):
    found = gatewise.evaluate(blended, series_file)
    name = "LSTM with ridge on the window"
    assert found["answer"] == name and "LSTM" not in found["baselines"]
    assert (
        found["alone"]["mae"]
        == gatewise.evaluate(alone(blended, "LSTM"), series_file)["metrics"]["mae"]
        != found["metrics"]["mae"]
    )
    assert all(f"The {name} is " in one["sentence"] for one in found["comparisons"])
    assert list(found["details"]["by_horizon"])[:3] == ["step", name, "LSTM"]
    report = (blended / "report.html").read_text(encoding="utf-8")
    share = found["details"]["share"]
    assert f">{name}</" in report and ">LSTM alone</" in report
    assert f"{100 * share:.0f} % ridge" in report


def test_a_blend_streams_and_exports_its_own_numbers(blended, series_file, tmp_path):
    table = gatewise.predict(blended, series_file)
    stream = gatewise.Stream(blended)
    stream.push(pl.read_csv(series_file).to_dicts())
    latest = [[one[name] for name in QUANTILES] for one in stream.read()[-4:]]
    np.testing.assert_allclose(latest, table.select(QUANTILES).to_numpy(), rtol=1e-5)
    for to in ("onnx", "numpy"):  # an export is compared with the run before it is kept
        written = gatewise.export(blended, to=to, output=tmp_path / to)
        assert written.difference < 1e-5
    assert json.loads((tmp_path / "onnx" / "export.json").read_text())["quantiles"]


def test_the_share_is_the_one_with_the_smallest_error_on_the_validation_part():
    preparation, some = prepared(series(waves(noise=0.5)), experiment(task={"blend": "auto"}))
    truth = forecast.truth(some, preparation)[..., None]
    centre, spread = preparation.scale.centre[0, 0], preparation.scale.spread[0, 0]
    bands = np.array([-1.0, 0.0, 1.0])
    # The network is too high by one number and ridge too low by another, so that they cancel.
    for high, low, share in ((0.0, 1.0, 0.0), (3.0, 1.0, 0.75), (2.0, 2.0, 0.5), (1.0, 3.0, 0.25)):
        outputs = (truth - centre) / spread + high + bands
        said = dict.fromkeys(naive_names(preparation), truth)
        said[blend.RIDGE] = truth + spread * (bands - low)
        own = forecast.choose_blend(preparation, outputs, said, some).own
        assert (own.blend, own.share if share else 0.0) == ("ridge" if share else "none", share)


def test_few_stretches_give_equal_shares_unless_ridge_is_far_worse_or_loses_to_a_naive_one():
    preparation, _ = prepared(series(waves()), experiment(task={"blend": "auto"}))
    actual = np.zeros((3, 4, 1))
    for off, wanted in ((2.9, "ridge"), (3.1, "none")):  # the mean is off by (1 + off) / 2
        network, ridge = (actual[..., None] + one + np.array([-1, 0, 1]) for one in (1.0, off))
        given = (preparation, network, ridge, actual)
        own = blend.chosen(*given, naive=[ridge], stretches=4).own
        assert (own.blend, own.share) == (wanted, 0.5)
        assert blend.chosen(*given, naive=[ridge], stretches=5).own.blend == "none"
        # The mean is worse than the network, and so is ridge than a naive forecast.
        assert blend.chosen(*given, naive=[network], stretches=4).own.blend == "none"
        # The mean of errors that cancel is better than the network, whatever beats ridge.
        given = (preparation, network, -network, actual)
        assert blend.chosen(*given, naive=[0 * network], stretches=4).own.blend == "ridge"


def test_a_blend_of_labels_is_refused_for_forecasts():
    with pytest.raises(ConfigError, match=r"logistic is a blend of labels.*ridge"):
        forecast.resolve(experiment(task={"blend": "logistic"}), series(), series())
