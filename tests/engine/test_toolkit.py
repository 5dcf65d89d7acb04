"""The toolkit trains and predicts on the engine, and says so."""

from importlib.util import find_spec

import polars as pl
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


ELSEWHERE = """
import sys, gatewise
run, data, path = sys.argv[1:]
gatewise.predict(gatewise.load(run), data).write_csv(path)
"""


@pytest.mark.skipif(BACKEND != "jax", reason="test_torch.py compares PyTorch with JAX")
@pytest.mark.skipif(not find_spec("tensorflow"), reason="TensorFlow is not installed")
def test_a_run_answers_the_same_on_tensorflow(series_file, forecast_run, python, tmp_path):
    """The Keras model answers, because a folder alone is answered without Keras."""
    path = tmp_path / "predictions.csv"
    python(forecast_run, series_file, path, code=ELSEWHERE, KERAS_BACKEND="tensorflow")
    found, expected = (
        answers.select(pl.col(pl.Float64)).to_numpy()
        for answers in (pl.read_csv(path), gatewise.predict(forecast_run, series_file))
    )
    assert found.size
    assert found == pytest.approx(expected, rel=1e-4)
