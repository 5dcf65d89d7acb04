"""The toolkit trains and predicts on the engine, and says so."""

import os
from pathlib import Path

import exchange
import pytest
from conftest import BACKEND

import gatewise
from gatewise.engine import hook, library
from gatewise.errors import EngineError


@pytest.fixture(scope="module")
def trained(sequences_file, classify_settings):
    """For each kind of engine, the metrics of a run, and the number of native calls in it."""
    found = {}
    for kind in ("auto", "native", "stock"):
        before = hook.calls["native"]
        settings = classify_settings | {"engine": {"kind": kind}}
        metrics = gatewise.train(sequences_file, settings=settings).metrics
        found[kind] = metrics, hook.calls["native"] - before
        assert gatewise.info()["chosen"] == "stock"  # as it was before
    return found


@pytest.mark.parametrize("kind", ["auto", "native", "stock"])
def test_training_says_what_ran(kind, trained):
    metrics, calls = trained[kind]
    used = metrics["engine"]
    assert used["kind"] == ("stock" if kind == "stock" else "native")
    assert used["reason"].startswith(
        "the native kernels are switched off" if kind == "stock" else f"{library.isa()} kernels"
    )
    assert (calls > 0) == (kind != "stock")


def test_both_engines_train_to_the_same_scores(trained):
    scores = [trained[kind][0]["validation"]["value"] for kind in ("native", "stock")]
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
    used = gatewise.train(series_file, settings=settings).metrics["engine"]
    assert used["kind"] == "stock" and "Activation 'gelu'" in used["reason"]


@pytest.mark.skipif("GATEWISE_EXCHANGE" not in os.environ, reason="test_backends.py gives a run")
def test_a_run_answers_alike_on_another_backend(forecast_run, series_file):
    """That backend answers the run that is left here; see test_backends.py."""
    folder = Path(os.environ["GATEWISE_EXCHANGE"])
    exchange.assert_answers_alike(folder / "jax")
    exchange.leave(folder / BACKEND, forecast_run, series_file)
