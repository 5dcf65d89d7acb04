"""gatewise.inspect on runs and on models, and its page."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from typer.testing import CliRunner

import gatewise
from gatewise.errors import ConfigError, DataError
from gatewise.inspection.advice import advice
from gatewise.shell.cli import app


def test_a_run_is_inspected_on_its_validation_part_and_on_new_data(
    classify_run, sequences_file, tmp_path
):
    page = tmp_path / "inside.html"
    own = gatewise.inspect(classify_run, examples=1, page=page)
    new = gatewise.inspect(classify_run, sequences_file, examples=0)
    assert own["examples"] < new["examples"] == 40
    assert own["shown"][0]["completeness_error"] < 0.01
    text = page.read_text(encoding="utf-8")
    assert "Half-life" in text and "Occlusion" in text and "<script" not in text
    assert "examples of the validation part of" in text  # it says what was measured
    with pytest.raises(ConfigError, match="exists"):
        gatewise.inspect(classify_run, page=page)


def test_the_shell_prints_the_numbers_as_json(classify_run):
    done = CliRunner().invoke(app, ["inspect", str(classify_run), "--examples", "0", "--json"])
    layer = json.loads(done.stdout)["layers"][0]
    assert layer["units"] == len(layer["memory"]["half_lives"]) == 3


def test_the_report_has_the_layers_and_only_the_validation_part_is_read(classify_run):
    metrics = json.loads((classify_run / "metrics.json").read_text())
    assert "Inside the network" in (classify_run / "report.html").read_text(encoding="utf-8")
    assert metrics["inspection"]["examples"] == metrics["parts"]["validation"]["sequences"]


def test_a_plain_model_is_inspected_and_bad_data_are_refused(random):
    model = keras.Sequential([keras.Input((6, 2)), layers.LSTM(3), layers.Dense(1)])
    x = random.normal(size=(4, 6, 2)).astype(np.float32)
    found = gatewise.inspect(model, x, examples=2)
    assert [one["example"] for one in found["shown"]] == [0, 3]
    for bad, message in (
        (None, "no data"),
        (x[:0], "no examples"),
        (x * np.nan, "NaN"),
        (x[..., :1], "cannot read these data"),
        ([], "no examples"),
        (1.0, "an axis of examples"),
        (np.array(["a"]), "arrays of numbers"),
        ([[[1, 2]], [[1, 2], [3, 4]]], "arrays of numbers|hold 1, 2 examples"),
        ([x, x[:2]], "hold 4, 2 examples"),
    ):
        with pytest.raises(DataError, match=message):
            gatewise.inspect(model, bad)


def test_a_stateful_model_is_inspected_from_zero_and_keeps_its_states(random):
    x = random.normal(size=(4, 5, 2)).astype(np.float32)
    lstm, given = layers.LSTM(2, stateful=True), keras.Input(batch_shape=(4, 5, 2))
    stateful = keras.Sequential([given, lstm, layers.Dense(1)])
    plain = keras.Sequential([keras.Input((5, 2)), layers.LSTM(2)])
    plain.layers[0].cell.set_weights(lstm.cell.get_weights())
    stateful(x)
    before = [keras.ops.convert_to_numpy(one) for one in lstm.states]
    assert np.abs(before).max() > 0
    found, expected = (gatewise.inspect(one, x, examples=1) for one in (stateful, plain))
    np.testing.assert_array_equal(before, [keras.ops.convert_to_numpy(one) for one in lstm.states])
    for key in ("gates", "memory"):
        assert found["layers"][0][key] == expected["layers"][0][key]
    assert len(found["shown"]) == 1


def test_several_inputs_of_tokens_are_not_explained():
    a, b = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    embedding = layers.Embedding(5, 2)
    model = keras.Model([a, b], layers.LSTM(2)(layers.Add()([embedding(a), embedding(b)])))
    tokens = np.ones((1, 3), np.int32)
    found = gatewise.inspect(model, [tokens, tokens])
    assert "several inputs of tokens" in found["unexplained"]
    assert len(found["layers"]) == 1
    assert found["shown"] == []


class OfItsOwn(keras.Model):
    """A model without a build method, which may leave out its LSTM layer."""

    def __init__(self, *, skips: bool) -> None:
        super().__init__()
        self.lstm, self.dense, self.skips = layers.LSTM(2), layers.Dense(1), skips

    def call(self, x):
        return self.dense(x if self.skips else self.lstm(x))


def test_a_subclassed_model_is_inspected_without_warnings_if_it_calls_its_layers(random):
    x = random.normal(size=(2, 3, 2))
    assert len(gatewise.inspect(OfItsOwn(skips=False), x, examples=0)["layers"]) == 1
    skipping = OfItsOwn(skips=True)
    skipping.lstm.build(x.shape)
    with pytest.raises(ConfigError, match="calls none of its LSTM layers"):
        gatewise.inspect(skipping, x)


def test_a_lookback_below_the_season_is_advised_against():
    assert "Set task.lookback to 48" in advice(season=24, lookback=8)[0]
    assert advice(season=24, lookback=24) == advice(season=1, lookback=0) == []
    assert advice(season=336, lookback=96) == []  # was tried, and did not help


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX compiles")
def test_more_examples_of_one_length_compile_nothing_more(random):
    traced = []

    class Counted(layers.Dense):
        def call(self, inputs):
            traced.append(self.name)
            return super().call(inputs)

    model = keras.Sequential([keras.Input((4, 2)), layers.LSTM(3), Counted(2)])
    x = random.normal(size=(6, 4, 2)).astype(np.float32)
    counts = []
    for examples in (1, 4):
        traced.clear()
        assert len(gatewise.inspect(model, x, examples=examples)["shown"]) == examples
        counts.append(len(traced))
    assert counts[0] == counts[1]
