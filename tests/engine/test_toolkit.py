"""The toolkit trains and predicts on the engine, and says so."""

from importlib.util import find_spec

import polars as pl
import pytest
from conftest import BACKEND

import gatewise
from gatewise.engine import hook, support
from gatewise.errors import EngineError


@pytest.mark.parametrize("kind", ["auto", "native", "stock"])
def test_training_says_what_ran(kind, series_file, forecast_settings):
    before = hook.calls["native"]
    settings = forecast_settings | {"engine": {"kind": kind}}
    run = gatewise.train(series_file, settings=settings)
    said = run.metrics["engine"]
    assert said["kind"] == ("stock" if kind == "stock" else "native")
    assert said["reason"] == (
        "the native kernels are switched off" if kind == "stock" else said["reason"]
    )
    assert (hook.calls["native"] > before) == (kind != "stock")
    assert gatewise.info()["chosen"] == "stock"  # as it was before


def test_both_engines_train_to_the_same_scores(sequences_file, classify_settings):
    scores = [
        gatewise.train(
            sequences_file, settings=classify_settings | {"engine": {"kind": kind}}
        ).metrics["validation"]["value"]
        for kind in ("native", "stock")
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def test_what_cannot_run_natively_is_refused_before_training(series_file, forecast_settings):
    settings = forecast_settings | {"engine": {"kind": "native"}}
    settings["network"] = settings["network"] | {"activation": "gelu"}
    with pytest.raises(EngineError, match="Activation 'gelu' has no kernel"):
        gatewise.train(series_file, settings=settings)


def test_auto_names_the_reason(series_file, forecast_settings):
    settings = forecast_settings | {
        "network": forecast_settings["network"] | {"activation": "gelu"}
    }
    said = gatewise.train(series_file, settings=settings).metrics["engine"]
    assert said["kind"] == "stock" and "Activation 'gelu'" in said["reason"]


@pytest.mark.parametrize("other", [name for name in support.BACKENDS if name != BACKEND])
def test_a_run_answers_the_same_on_another_backend(
    other, series_file, forecast_run, python, tmp_path
):
    if not find_spec(other):
        pytest.skip(f"{other} is not installed")
    path = tmp_path / "predictions.csv"
    command = ("-m", "gatewise", "predict", forecast_run, series_file, "-o", path)
    python(*command, KERAS_BACKEND=other)
    found, expected = (
        answers.select(pl.col(pl.Float64)).to_numpy()
        for answers in (pl.read_csv(path), gatewise.predict(forecast_run, series_file))
    )
    assert found.size
    assert found == pytest.approx(expected, rel=1e-4)
