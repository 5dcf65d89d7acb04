"""Exports answer as the run does, in ONNX Runtime and in NumPy alone."""

import json
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
from keras import layers

import gatewise
from gatewise.data.calendar import calendar_features, following
from gatewise.errors import ConfigError
from gatewise.exporting.export import programs_of
from gatewise.exporting.program import Sample
from gatewise.exporting.proof import prove
from gatewise.runs import artefact
from gatewise.settings import from_mapping
from gatewise.training.ready import make_ready


@pytest.fixture(scope="module")
def classifier(classify_run, tmp_path_factory):
    return gatewise.export(classify_run, to="onnx", output=tmp_path_factory.mktemp("out") / "walks")


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def walks(sequences_file):
    """Raw steps padded with numbers that must not matter, lengths, and ids."""
    groups = pl.read_csv(sequences_file).group_by("id", maintain_order=True)
    tables = [(name[0], group.select("x", "y").to_numpy()) for name, group in groups]
    lengths = np.array([len(table) for _, table in tables])
    steps = np.full((len(tables), lengths.max(), 2), 77.0, np.float32)
    for k, (_, table) in enumerate(tables):
        steps[k, : len(table)] = table
    return steps, lengths, [name for name, _ in tables]


def test_raw_steps_give_the_probabilities_of_predict(classifier, classify_run, sequences_file):
    steps, lengths, ids = walks(sequences_file)
    answer = session(classifier.folder / "model.onnx").run(
        None, {"steps": steps, "lengths": lengths}
    )[0]
    table = gatewise.predict(classify_run, sequences_file)
    classes = json.loads((classifier.folder / "export.json").read_text())["classes"]
    assert table["id"].to_list() == ids
    for k, name in enumerate(classes):
        assert answer[:, k] == pytest.approx(table[f"p({name})"].to_numpy(), abs=1e-5)


def test_one_step_at_a_time_gives_the_same_as_the_whole_sequence(classifier, sequences_file):
    steps, lengths, _ = walks(sequences_file)
    step = session(classifier.folder / "step.onnx")
    whole = session(classifier.folder / "model.onnx").run(
        None, {"steps": steps, "lengths": lengths}
    )[0]
    h = c = np.zeros((1, 3), np.float32)
    for x in steps[0, : lengths[0]]:
        y, h, c = step.run(None, {"steps": x[None], "h": h, "c": c})
    assert y[0] == pytest.approx(whole[0], abs=1e-6)


def test_the_model_holds_an_lstm_that_needs_no_lengths_and_the_proof(classifier):
    model = onnx.load(classifier.folder / "model.onnx")
    (node,) = [node for node in model.graph.node if node.op_type == "LSTM"]
    assert not node.input[4]  # sequence_lens, which some runtimes ignore
    assert "Largest difference" in {one.key: one.value for one in model.metadata_props}["proof"]
    assert classifier.difference < 1e-5


def test_a_raw_window_gives_the_forecast_of_predict(forecast_run, series_file, tmp_path):
    written = gatewise.export(forecast_run, to="onnx", output=tmp_path / "load")
    facts = json.loads((written.folder / "export.json").read_text())
    series = pl.read_csv(series_file, try_parse_dates=True)
    days = series["day"].to_numpy().astype("M8[us]")
    waves = [
        calendar_features(times, gatewise.load(forecast_run).preparation.own.calendar)[None]
        for times in (days[-8:], following(days, "1d", 4))
    ]
    past = series["load"].to_numpy()[-8:].reshape(1, 8, 1).astype(np.float32)
    inputs = {"past": past, "covariates": waves[0], "future": waves[1]}
    answer = session(written.folder / "model.onnx").run(None, inputs)[0]
    table = gatewise.predict(forecast_run, series_file)
    column = next(name for name in table.columns if "0.5" in name or name == "forecast")
    assert answer[0, :, 0, facts["median"]] == pytest.approx(table[column].to_numpy(), abs=1e-4)
    assert "Steps are 1d apart" in (written.folder / "README.txt").read_text()


def test_the_input_of_a_users_own_network_may_have_any_name(
    sequences_file, classify_settings, tmp_path
):
    def network(shapes, _settings):
        steps = keras.Input(shapes.inputs["steps"])
        x = keras.layers.Masking(shapes.padding)(steps)
        return keras.Model(steps, keras.layers.Dense(2)(keras.layers.LSTM(3)(x)))

    run = gatewise.train(sequences_file, settings=classify_settings, network=network)
    assert "steps" not in {one.name for one in run.model.inputs}
    written = gatewise.export(run, to="numpy", output=tmp_path / "own")
    assert written.difference < 1e-5


def test_the_numpy_file_needs_nothing_but_numpy(classify_run, sequences_file, tmp_path):
    gatewise.export(classify_run, to="numpy", output=tmp_path / "walks")
    steps, lengths, _ = walks(sequences_file)
    np.savez(tmp_path / "x.npz", steps=steps, lengths=lengths)
    code = (
        "import sys, numpy as np; sys.path.insert(0, 'walks'); from network import predict;"
        "x = np.load('x.npz'); y = predict(x['steps'], x['lengths']);"
        "assert not {'keras', 'gatewise', 'jax', 'onnx'} & set(sys.modules);"
        "print(abs(y.sum(axis=1) - 1).max() < 1e-5, y.shape)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.split() == ["True", "(40,", "2)"], done.stderr


TOKENS = keras.Input((None,), dtype="int32", name="tokens")
EMBEDDED = layers.Embedding(6, 3, mask_zero=True)(TOKENS)
NUMBERS = keras.Input((None, 3), name="numbers")


def from_a_state(x, mask):
    """What layers that start from a state give for steps, and at their ends."""
    options = {"initial_state": [layers.Dense(4)(x[:, 0])] * 2, "mask": mask}
    return [
        layers.LSTM(4, return_sequences=True)(x, **options),
        layers.LSTM(4, return_sequences=True, go_backwards=True)(x, **options),
        *layers.LSTM(4, return_state=True)(x, **options),
        layers.LSTM(4, zero_output_for_mask=True)(x, **options),
        layers.LSTM(4, zero_output_for_mask=True, go_backwards=True)(x, **options),
    ]


MODELS = {
    "masked": (TOKENS, layers.LSTM(4)(EMBEDDED)),
    "masked, every step": (TOKENS, layers.LSTM(4, return_sequences=True)(EMBEDDED)),
    "masked, backwards": (
        TOKENS,
        layers.LSTM(4, return_sequences=True, go_backwards=True)(EMBEDDED),
    ),
    "both ways": (TOKENS, layers.Bidirectional(layers.LSTM(4, return_sequences=True))(EMBEDDED)),
    "other activations": (
        NUMBERS,
        layers.LSTM(4, activation="linear", recurrent_activation="hard_sigmoid")(NUMBERS),
    ),
    "stacked": (NUMBERS, layers.LSTM(2)(layers.LSTM(4, return_sequences=True)(NUMBERS))),
    "masked, from a state": (TOKENS, from_a_state(EMBEDDED, keras.ops.not_equal(TOKENS, 0))),
    "dilated": (
        NUMBERS,
        layers.LSTM(2)(layers.Conv1D(3, 3, padding="same", dilation_rate=2)(NUMBERS)),
    ),
    "states": (NUMBERS, layers.LSTM(4, return_state=True, use_bias=False)(NUMBERS)),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("to", ["onnx", "numpy", "c"])
def test_any_keras_model_answers_the_same_with_holes_in_its_masks(name, to, tmp_path):
    model = keras.Model(*MODELS[name])
    written = gatewise.export(model, to=to, output=tmp_path / "model")
    assert written.difference < 1e-5
    warned = "tract 0.23.9 answers wrongly" in (written.folder / "README.txt").read_text()
    assert warned == (to == "onnx" and name == "other activations")


# In a process of its own, because OpenVINO forks, of which JAX warns.
IN_OPENVINO = """
import json, sys, numpy, openvino
exact = {"INFERENCE_PRECISION_HINT": "f32"}
model = openvino.Core().compile_model("model.onnx", "CPU", exact)
found = [list(model({"tokens": numpy.array(one)}).values()) for one in json.load(sys.stdin)]
json.dump([[answer.tolist() for answer in answers] for answers in found], sys.stdout)
"""


def in_openvino(folder, batches):
    code = [sys.executable, "-c", IN_OPENVINO]
    given = json.dumps(batches)
    done = subprocess.run(code, cwd=folder, input=given, capture_output=True, text=True, check=True)
    return [[np.array(one) for one in answers] for answers in json.loads(done.stdout)]


# In a process of its own, because tract ends the process where it meets what it cannot do.
IN_TRACT = """
import json, sys, numpy, tract
model = tract.onnx().load(sys.argv[1]).into_model().into_runnable()  # batch and steps stay open
kinds = json.loads(sys.argv[2])
found = [
    model.run([numpy.array(one, kind) for one, kind in zip(given, kinds)])
    for given in json.load(sys.stdin)
]
json.dump([[answer.to_numpy().tolist() for answer in answers] for answers in found], sys.stdout)
"""


def answers_of_tract(file, kinds, calls):
    code = [sys.executable, "-c", IN_TRACT, str(file), json.dumps(kinds)]
    given = json.dumps([[np.asarray(one).tolist() for one in call] for call in calls])
    done = subprocess.run(code, input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [[np.array(one) for one in answers] for answers in json.loads(done.stdout)]


def in_tract(folder, batches):
    return answers_of_tract(folder / "model.onnx", ["int64"], [[one] for one in batches])


def test_tract_reads_backwards_what_has_no_mask(tmp_path):
    both = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(NUMBERS)
    model = keras.Model(NUMBERS, layers.LSTM(3, go_backwards=True)(both))
    folder = gatewise.export(model, to="onnx", output=tmp_path / "out").folder
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    ((answer,),) = answers_of_tract(folder / "model.onnx", ["float32"], [[x]])
    assert answer == pytest.approx(np.asarray(model(x)), abs=1e-6)


def test_tract_reads_raw_steps_of_any_length_whole_and_one_by_one(classifier, sequences_file):
    steps, lengths, _ = walks(sequences_file)
    kinds, calls = ["float32", "int64"], [[steps, lengths], [steps[:1, :4], lengths[:1] * 0 + 4]]
    found = answers_of_tract(classifier.folder / "model.onnx", kinds, calls)
    one = session(classifier.folder / "model.onnx")
    for (answer,), call in zip(found, calls, strict=True):
        wanted = one.run(None, dict(zip(("steps", "lengths"), call, strict=True)))[0]
        assert answer == pytest.approx(wanted, abs=1e-6)
    states = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    given = [steps[:5, 0], *states]
    step = classifier.folder / "step.onnx"
    wanted = session(step).run(None, dict(zip(("steps", "h", "c"), given, strict=True)))
    (found,) = answers_of_tract(step, ["float32"] * 3, [given])
    for answer, other in zip(found, wanted, strict=True):
        assert answer == pytest.approx(other, abs=1e-6)


def in_onnx_runtime(folder, batches):
    one = session(folder / "model.onnx")
    return [one.run(None, {"tokens": np.array(batch)}) for batch in batches]


@pytest.fixture(scope="module")
def three_ways(tmp_path_factory):
    """A model that returns last outputs and cell states of layers that read masked tokens."""
    both = layers.Bidirectional(layers.LSTM(4, return_sequences=True, return_state=True))(EMBEDDED)
    mask = keras.ops.not_equal(TOKENS, 0)
    back = layers.LSTM(3, return_state=True, go_backwards=True)(both[0], mask=mask)
    model = keras.Model(TOKENS, [layers.LSTM(4)(EMBEDDED), *both[1:], *back])
    return gatewise.export(model, to="onnx", output=tmp_path_factory.mktemp("out") / "out").folder


@pytest.mark.parametrize("run", [in_onnx_runtime, in_openvino, in_tract])
def test_each_row_of_a_padded_batch_is_answered_as_if_it_were_alone(run, three_ways):
    rows = [[1, 2, 3, 4, 5], [5, 4, 3], [2]]
    padded = [row + [0] * (5 - len(row)) for row in rows]
    together, *alone = run(three_ways, [padded, *([row] for row in rows)])
    assert len(together) == 8
    for k, answers in enumerate(alone):
        for answer, one in zip(together, answers, strict=True):
            assert answer[k] == pytest.approx(one[0], abs=1e-6)


def test_a_wrong_answer_is_refused_and_leaves_nothing(classify_run, tmp_path):
    artefact = gatewise.load(classify_run)
    scale = artefact.preparation.scale
    # Numbers of float32 near the centre are as far apart as the spread; the run uses float64 here.
    far = replace(scale, centre=scale.centre * 0 + 1e-12, spread=scale.spread * 0 + 1e-19)
    artefact = replace(artefact, preparation=replace(artefact.preparation, scale=far))
    with pytest.raises(ConfigError, match=r"differ from those of the run by 0\."):
        gatewise.export(artefact, to="numpy", output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_numpy_file_knows_no_type_that_numpy_1_lacks(tmp_path):
    some = keras.ops.where(keras.ops.cast(NUMBERS, "bool"), NUMBERS, 1.0)
    written = gatewise.export(keras.Model(NUMBERS, some), to="numpy", output=tmp_path / "out")
    assert ".astype(np.bool_)" in (written.folder / "network.py").read_text(encoding="utf-8")


def test_an_answer_that_is_not_a_number_is_an_infinite_difference():
    sample = Sample("batch", {}, (np.zeros((2, 3)),))
    assert prove("", lambda _: [np.full((2, 3), np.nan)], [sample]).difference == np.inf
    assert prove("", lambda _: [np.zeros((2, 4))], [sample]).difference == np.inf


def test_a_difference_is_a_share_of_the_spread_and_of_a_hundredth_of_a_far_answer():
    wanted = np.array(
        [[-1e9, 1.0, 2.0, 3.0, 9.0]]
    )  # the distinct answers are 1 from 2 at the median
    for off, share in (([0, 0, 0.5, 0, 0], 0.5), ([1e4, 0, 0, 0, 0], 1e-3)):
        sample = Sample("batch", {}, (wanted,), unit=0.1)
        assert prove("", lambda _, off=off: [wanted + off], [sample]).share == pytest.approx(share)


def test_folders_are_replaced_on_request_and_only_exports(classify_run, tmp_path):
    folder = tmp_path / "out"
    gatewise.export(classify_run, to="keras", output=folder)
    with pytest.raises(ConfigError, match="exists"):
        gatewise.export(classify_run, to="keras", output=folder)
    gatewise.export(classify_run, to="keras", output=folder, overwrite=True)
    assert keras.saving.load_model(folder / "model.keras").count_params()
    (tmp_path / "mine").mkdir()
    with pytest.raises(ConfigError, match="is not an export"):
        gatewise.export(classify_run, to="keras", output=tmp_path / "mine", overwrite=True)


def test_what_cannot_be_exported_is_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match="--to must be one of onnx"):
        gatewise.export(keras.Model(*MODELS["masked"]), to="tflite", output=tmp_path / "out")
    with pytest.raises(ConfigError, match="Received: int"):
        gatewise.export(3, to="onnx", output=tmp_path / "out")
    gru = keras.Sequential([keras.Input((None, 3)), layers.GRU(2)])
    with pytest.raises(ConfigError, match="GRU"):
        gatewise.export(gru, to="onnx", output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def untrained(**network):
    """A run of a classifier of two columns that has not been trained."""
    random = np.random.default_rng(0)
    steps = [random.normal(size=(length, 2)) for length in (5, 3, 7) * 4]
    given = {"units": [3], **network}
    settings = from_mapping({"task": {"name": "classify"}, "network": given})
    ready = make_ready(settings, (steps, ["a", "b"] * 6))
    return artefact.Artefact(
        None, ready.experiment, ready.preparation, ready.network, {}, {"engine": {}}, {}
    )


def test_a_setting_that_needs_all_steps_is_named():
    words = "because network.asinh_features = 1 measures each step from the mean of all"
    assert words in str(programs_of(untrained(asinh_features=1.0)).step)


STEPWISE = {
    "summaries": {"units": [3, 2], "summary_features": "yes"},
    "pooling": {"pooling": "all", "summary_features": "no"},
    "convolutions": {
        "pooling": "all",
        "summary_features": "yes",
        "filters": [4, 3],
        "kernel_size": 4,
        "strides": 2,
    },
    "far apart": {"pooling": "last", "filters": [4], "kernel_size": 2, "strides": 4},
}


@pytest.mark.parametrize("name", STEPWISE)
def test_one_step_carries_on_what_a_network_tells_of_all_steps(name, tmp_path):
    run = untrained(**STEPWISE[name])
    for layer in run.network.layers:  # moments of a fresh layer hide what is normalized
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([weight + 0.3 for weight in layer.get_weights()])
    folder = gatewise.export(run, to="onnx", output=tmp_path / "onnx").folder
    whole, step = session(folder / "model.onnx"), session(folder / "step.onnx")
    x = 100 + np.random.default_rng(1).normal(size=(2, 23, 2)).astype(np.float32)
    x[1] = x[1, :1]  # steps that do not change
    given = step.get_inputs()[1:]
    types = {"tensor(float)": np.float32, "tensor(double)": np.float64}
    states = {one.name: np.zeros((2, one.shape[1]), types[one.type]) for one in given}
    for k in range(x.shape[1]):
        y, *after = step.run(None, {"steps": x[:, k], **states})
        states = dict(zip(states, after, strict=True))
        lengths = np.full(2, k + 1)
        assert y == pytest.approx(whole.run(None, {"steps": x, "lengths": lengths})[0], abs=2e-5)
    names = list(states)
    assert f"feed {', '.join(names[:-1])} and {names[-1]} back" in readme_of(folder)
    folder = gatewise.export(run, to="c", output=tmp_path / "c").folder  # proves gw_step
    header = folder / ("step.h" if "last" in states else "network.h")
    assert "void gw_step(" in header.read_text()
    assert ("double held_moments[" in header.read_text()) == ("moments" in states)


def readme_of(folder):
    return (folder / "README.txt").read_text(encoding="utf-8")


def test_steps_are_counted_beyond_what_a_float_can_count(tmp_path):
    run = untrained(summary_features="yes", filters=[2], kernel_size=3)
    folder = gatewise.export(run, to="onnx", output=tmp_path / "onnx").folder
    step, many = session(folder / "step.onnx"), 2**30
    mean, squares = np.array([3.0, -2.0]), np.array([5.0, 7.0]) * many
    summary = [mean, squares, mean - 9, mean + 9, mean, mean, squares, [many]]
    states = {"h": np.zeros((1, 3), np.float32), "c": np.zeros((1, 3), np.float32)}
    states |= {"moments": np.concatenate(summary)[None]}
    states |= {one.name: np.zeros((1, one.shape[1]), np.float32) for one in step.get_inputs()[4:]}
    names = [one.name for one in step.get_outputs()]
    after = dict(
        zip(names, step.run(None, {"steps": np.ones((1, 2), np.float32), **states}), strict=True)
    )
    found = after["moments_next"][0]
    scale = run.preparation.scale
    x = ((1 - scale.centre) / scale.spread).astype(np.float32).ravel()
    assert found[-1] == many + 1
    assert found[:2] - mean == pytest.approx((x - mean) / (many + 1), rel=1e-4)
