"""The pipeline: training never sees the test part, and the same seed gives the same numbers."""

import html
import json
import resource
import shutil
import signal
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import gatewise
from gatewise.arguments import experiment_for
from gatewise.errors import ConfigError
from gatewise.judging.repeats import learn
from gatewise.judging.validation import calibrate, score_baselines
from gatewise.networks import build
from gatewise.runs import artefact
from gatewise.runs.record import interruption
from gatewise.settings import from_mapping, layer_of
from gatewise.training.fit import Around
from gatewise.training.ready import make_ready


def weights_of(run):
    return run.model.get_weights()


def assert_same(one, other):
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.fixture(scope="module")
def again(series_file, forecast_settings):
    """The forecast run of the session again, in memory."""
    return gatewise.train(series_file, settings=forecast_settings)


def test_the_same_seed_gives_the_same_metrics_and_weights(again, forecast_run):
    saved = gatewise.load(forecast_run)
    assert again.evaluation.metrics == saved.metrics["metrics"]
    assert again.evaluation.baselines == saved.metrics["baselines"]
    assert_same(weights_of(again), saved.model.get_weights())


def test_training_from_the_saved_settings_gives_the_same_numbers(forecast_run, again):
    run = gatewise.train(settings=forecast_run / "settings.toml")
    assert run.evaluation.metrics == again.evaluation.metrics


def test_training_a_classifier_from_the_saved_settings_gives_the_same_numbers(classify_run):
    run = gatewise.train(settings=classify_run / "settings.toml")
    saved = gatewise.load(classify_run)
    assert run.evaluation.metrics == saved.metrics["metrics"]
    assert_same(weights_of(run), saved.model.get_weights())


def test_values_of_the_test_part_do_not_affect_training(again, series_file, forecast_settings):
    table = pl.read_csv(series_file)
    count = again.metrics["parts"]["test"]["steps"]
    keep = pl.int_range(pl.len()) < table.height - count
    other = table.with_columns(load=pl.when(keep).then("load").otherwise(pl.col("load") * 50 - 9))
    run = gatewise.train(other, settings=forecast_settings)
    assert run.artefact.preparation.to_json() == again.artefact.preparation.to_json()
    assert run.artefact.baselines == again.artefact.baselines
    assert_same(weights_of(run), weights_of(again))
    assert run.evaluation.metrics != again.evaluation.metrics


def test_the_test_part_is_not_touched_before_the_end(again, series_file, forecast_settings):
    experiment, _ = experiment_for(series_file, [forecast_settings])
    ready = make_ready(experiment)
    test = ready.splits.test
    test.values[test.starts[0] : test.stops[0]] = np.nan  # whatever reads this shows it
    simple = score_baselines(ready)
    with gatewise.accelerated():
        history = learn(ready, simple.monitor, Around())
        calibrate(ready, simple)
    assert np.isfinite(history.columns["loss"]).all()
    assert_same(ready.network.get_weights(), weights_of(again))


def test_labelled_sequences_of_the_test_part_do_not_affect_training(classify_settings):
    random = np.random.default_rng(0)
    arrays = [random.normal(size=(5, 2)) + k % 2 for k in range(40)]
    labels = np.array(["a", "b"] * 20)
    experiment = from_mapping(classify_settings)
    held_out = make_ready(experiment, (arrays, labels)).splits.test.ids.astype(int)
    other = [100 * array if k in held_out else array for k, array in enumerate(arrays)]
    first, second = (
        gatewise.train((given, labels), settings=classify_settings) for given in (arrays, other)
    )
    assert first.artefact.preparation.to_json() == second.artefact.preparation.to_json()
    assert_same(weights_of(first), weights_of(second))


def test_the_parts_follow_each_other_and_leave_nothing_out(forecast_run):
    splits = json.loads((forecast_run / "splits.json").read_text())
    bounds = [splits[part][0][1:] for part in ("train", "validation", "test")]
    assert bounds[0][0] == 0
    assert bounds[0][1] == bounds[1][0]
    assert bounds[1][1] == bounds[2][0]
    assert bounds[2][1] == 150


def test_making_ready_trains_nothing(series_file, forecast_settings):
    experiment, _ = experiment_for(series_file, [forecast_settings])
    ready = make_ready(experiment)
    keras.utils.set_random_seed(experiment.training.seed)
    fresh = build(
        ready.task.shapes(ready.train, ready.preparation),
        ready.experiment.network,
        network=ready.task.network,
        task=ready.task.name,
    )
    assert_same(ready.network.get_weights(), fresh.get_weights())
    assert not ready.network.compiled


def test_every_guess_is_stated(series_file):
    experiment, _ = experiment_for(series_file, [])
    said = " ".join(make_ready(experiment).notes)
    for word in ("task", "horizon", "lookback", "Season", "'load'", "'day'"):
        assert word in said


def own_network(shapes, settings):
    steps = keras.Input(shapes.inputs["steps"])
    x = keras.layers.LSTM(settings.units[0], name="mine")(steps)
    return keras.Model(steps, keras.layers.Dense(shapes.output[0])(x))


def test_a_users_network_is_trained_evaluated_saved_and_used(classify_settings, tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 5, 2)) + (np.arange(40) % 2)[:, None, None]
    y = np.array(["a", "b"] * 20)
    run = gatewise.train(
        (x, y), settings=classify_settings, network=own_network, output=tmp_path / "run"
    )
    assert run.model.get_layer("mine").units == 3
    found = gatewise.predict(tmp_path / "run", x)
    assert found.height == 40
    longer = [np.zeros((9, 2))]
    with pytest.raises(gatewise.DataError, match="has 9 steps, but this network reads 5"):
        gatewise.predict(tmp_path / "run", longer)


def test_a_network_may_come_from_a_file(classify_settings, tmp_path, sequences_file):
    (tmp_path / "mine.py").write_text(
        "import keras\n\n\n"
        "def network(shapes, settings):\n"
        "    steps = keras.Input(shapes.inputs['steps'])\n"
        "    return keras.Sequential([steps, keras.layers.LSTM(5),"
        " keras.layers.Dense(shapes.output[0])])\n"
    )
    place = {"build": f"{tmp_path / 'mine.py'}:network"}
    experiment, _ = experiment_for(sequences_file, [classify_settings, {"network": place}])
    ready = make_ready(experiment)
    assert ready.network.layers[0].units == 5


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere.py:network", "the file must exist"),
        ("network", "the file must exist"),
        (f"{__file__}:nothing", "has no function nothing"),
    ],
)
def test_a_network_that_cannot_be_found_is_refused(classify_settings, sequences_file, place, said):
    experiment, _ = experiment_for(
        sequences_file, [classify_settings, {"network": {"build": place}}]
    )
    with pytest.raises(ConfigError, match=said):
        make_ready(experiment)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def network(:", "cannot be imported: SyntaxError: invalid syntax"),
        ("import no_such_package", "cannot be imported: ModuleNotFoundError: .* line 1: import no"),
    ],
)
def test_a_file_of_a_network_that_cannot_be_imported_is_refused(
    classify_settings, sequences_file, tmp_path, code, said
):
    (tmp_path / "faulty.py").write_text(code)
    place = {"build": f"{tmp_path / 'faulty.py'}:network"}
    experiment, _ = experiment_for(sequences_file, [classify_settings, {"network": place}])
    with pytest.raises(ConfigError, match=said):
        make_ready(experiment)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"task": {"name": "tagg"}}, "no task 'tagg'"),
        ({"evaluation": {"metric": "rmsle"}}, "evaluation.metric must be one of auto, mae"),
        ({"training": {"monitor": "rmsle"}}, "training.monitor must be one of auto, loss, mae"),
        ({"task": {"lookback": 500}}, "too few for one example with a lookback of 500"),
        ({"task": {"horizon": 200}}, "horizon"),
        ({"training": {"loss": "foo"}}, "Keras has no loss 'foo'"),
        ({"training": {"loss": "ctc"}}, "compares classes, but this task predicts numbers"),
        ({"training": {"optimizer": "foo"}}, "cannot make the optimizer 'foo'"),
        ({"training": {"optimizer_options": {"momentum": 3}}}, "cannot make .*'adam'"),
        (
            {"training": {"warmup": 0.5, "schedule": "plateau"}},
            "training.warmup needs training.schedule",
        ),
        ({"network": {"units": [10**6]}}, "take 32,000 GB, but this machine has"),
    ],
)
def test_refusals_come_before_training(series_file, forecast_settings, settings, said):
    experiment, _ = experiment_for(series_file, [forecast_settings, settings])
    with pytest.raises(gatewise.GatewiseError, match=said):
        make_ready(experiment)


def test_a_test_part_with_steps_of_another_size_is_refused(
    series_file, forecast_settings, tmp_path
):
    pl.read_csv(series_file)[::7].write_csv(tmp_path / "weekly.csv")
    experiment, _ = experiment_for(
        series_file, [forecast_settings, {"data": {"test": str(tmp_path / "weekly.csv")}}]
    )
    with pytest.raises(gatewise.DataError, match="are 1w apart, but the run was trained on .* 1d"):
        make_ready(experiment)


def test_a_network_that_no_memory_holds_is_refused_before_training(
    sequences_file, classify_settings
):
    large = {"network": {"filters": [4], "kernel_size": 10**15}}
    experiment, _ = experiment_for(sequences_file, [classify_settings, large])
    with pytest.raises(ConfigError, match="The network has at least 8,000,000,0.* weights"):
        make_ready(experiment)


def test_a_run_in_memory_predicts_like_its_folder(again, forecast_run, series_file):
    loaded = gatewise.load(forecast_run)
    assert gatewise.predict(again, series_file).equals(gatewise.predict(loaded, series_file))
    # One answers with Keras and the other without. Both compute in float32 (a rounding of 6e-8) and
    # add the same few hundred products in another order: the differences seen are below 1e-8.
    here, there = (gatewise.predict(run, series_file) for run in (again, forecast_run))
    assert_frame_equal(here, there, rel_tol=1e-6, abs_tol=0)
    table = pl.read_csv(series_file).tail(40)
    one, other = (gatewise.evaluate(run, table) for run in (again, forecast_run))
    assert one["metrics"] == other["metrics"]
    with pytest.raises(ConfigError, match="generate needs a run of the task language"):
        gatewise.generate(again)


def test_the_flags_of_the_shell_are_keywords(series_file, forecast_settings):
    run = gatewise.train(
        series_file, settings=forecast_settings, horizon=2, lookback=5, epochs=1, seed=3
    )
    task, training = run.artefact.experiment.task, run.artefact.experiment.training
    assert (task.horizon, task.lookback, training.epochs, training.seed) == (2, 5, 1, 3)
    shown = run._repr_html_()
    assert run.metrics["verdict"]["sentence"] in html.unescape(shown)
    assert all(name in html.unescape(shown) for name in run.metrics["baselines"])
    ElementTree.fromstring(shown)
    with pytest.raises(ConfigError, match="was not saved"):
        gatewise.report(run)


def test_anything_but_a_run_and_data_is_refused(again, series_file):
    for wrong in (None, 7, again.model):
        with pytest.raises(ConfigError, match="A run is a run folder, or what gatewise.load"):
            gatewise.predict(wrong, series_file)
    for verb in (gatewise.predict, gatewise.evaluate):
        with pytest.raises(gatewise.DataError, match=r"There are no data \(None\)"):
            verb(again, None)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "with a byte-order mark"])
def test_a_settings_file_overrides_only_its_own_keys_of_a_shipped_data_set(tmp_path, mark):
    path = tmp_path / "epochs.toml"
    path.write_bytes(mark + b"[training]\nepochs = 3\n")
    layer = layer_of(path)  # the layer that the shell and gatewise.train put over the data set's
    assert layer == layer_of(str(path)) == {"training": {"epochs": 3}}
    experiment, _ = experiment_for("seattle-weather", [layer])
    own, _ = experiment_for("seattle-weather", [])
    assert experiment == own.having("training", epochs=3)
    assert (experiment.data.target, experiment.task.horizon) == (("temp_max",), 7)


def test_invalid_settings_are_refused(series_file, tmp_path):
    (tmp_path / "utf16.toml").write_bytes("[training]".encode("utf-16"))
    for wrong, said in (
        (3, "Settings must be a mapping"),
        ([{}], "Settings must be a mapping"),
        (tmp_path / "none.toml", "no settings file"),
        (tmp_path / "utf16.toml", "Save it as UTF-8"),
        (tmp_path, "cannot be read"),
    ):
        with pytest.raises(ConfigError, match=said):
            gatewise.train(series_file, settings=wrong)


def test_a_later_path_overrides_an_earlier_one(series_file):
    earlier = {"data": {"path": "earlier.csv"}}
    later = {"data": {"path": str(series_file)}}
    experiment, source = experiment_for(None, [earlier, later, {"training": {"epochs": 1}}])
    assert (experiment.data.path, source.file.path) == (str(series_file), series_file)
    experiment, _ = experiment_for(series_file, [earlier])  # the given data override both
    assert experiment.data.path == str(series_file)
    experiment, _ = experiment_for(None, [earlier, {"data": {"path": "nyc-taxi"}}])
    assert experiment.task.name == "forecast"


def test_the_default_settings_can_be_saved_and_read_again():
    assert from_mapping(json.loads(json.dumps(asdict(from_mapping({}))))) == from_mapping({})


def train_until_nothing_can_be_written(data, settings, folder, cause):
    """Train while the output folder disappears after the first epoch."""

    def watch(now, epoch_over):
        if epoch_over and now.epoch == 1:
            cause()

    with pytest.raises(gatewise.ArtefactError) as raised:
        gatewise.train(data, settings=settings, output=folder, watch=watch)
    return str(raised.value)


def test_a_run_whose_folder_is_gone_is_saved_elsewhere_with_a_message(
    series_file, forecast_settings, tmp_path, monkeypatch
):
    (tmp_path / "other").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "other"))
    folder = tmp_path / "place" / "run"

    def replace_by_a_file():
        shutil.rmtree(folder.parent)
        folder.parent.touch()

    said = train_until_nothing_can_be_written(
        series_file, forecast_settings, folder, replace_by_a_file
    )
    (refuge,) = (tmp_path / "other").glob("*/run")
    assert said.startswith(f"{folder} cannot be written: ")
    assert str(refuge) in said
    assert gatewise.load(refuge).metrics["run"] == str(refuge)


def test_a_run_that_cannot_be_saved_anywhere_is_reported_as_lost(
    series_file, forecast_settings, tmp_path, monkeypatch
):
    for name in ("place", "other", "home", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "other"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        said = train_until_nothing_can_be_written(
            series_file,
            forecast_settings,
            tmp_path / "place" / "run",
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1])),
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "File too large" in said
    assert "the trained network is lost" in said
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_place_that_cannot_be_written_is_refused_before_training(
    series_file, forecast_settings, tmp_path, monkeypatch
):
    def never(*_):
        raise AssertionError("training began")

    with pytest.raises(ConfigError, match="cannot be"):
        gatewise.train(
            series_file, settings=forecast_settings, output="/proc/nowhere/run", watch=never
        )
    with pytest.raises(ConfigError, match="cannot be written to"):
        gatewise.train(series_file, settings=forecast_settings, output="/proc/run", watch=never)
    with pytest.raises(ConfigError, match=r"has room for .* MB, but the run takes about 10"):
        artefact.check_room(Path("/proc/run"), 10**17)


def test_a_report_that_an_older_version_drew_is_replaced_without_asking(forecast_run, tmp_path):
    copy = shutil.copytree(forecast_run, tmp_path / "run")
    report = copy / "report.html"
    saved = report.read_bytes()
    report.write_text("as another version drew it")
    artefact.seal(copy)
    assert gatewise.report(copy).read_bytes() == saved
    artefact.verify(copy, ["report.html"])


def test_a_report_is_not_drawn_from_what_was_edited(forecast_run, tmp_path):
    copy = shutil.copytree(forecast_run, tmp_path / "run")
    (copy / "history.csv").write_text("epoch,loss\n1,0.0\n")
    with pytest.raises(gatewise.ArtefactError, match=r"history\.csv is not the file that was"):
        gatewise.report(copy)
    (copy / "history.csv").unlink()
    with pytest.raises(gatewise.ArtefactError, match=r"history\.csv is missing"):
        gatewise.report(copy, overwrite=True)


def test_rewriting_the_report_does_not_reseal_other_files(forecast_run, tmp_path):
    copy = shutil.copytree(forecast_run, tmp_path / "run")
    (copy / "predictions.csv").write_text("edited")
    (copy / "report.html").unlink()
    gatewise.report(copy)
    with pytest.raises(gatewise.ArtefactError, match=r"predictions\.csv is not the file"):
        artefact.verify(copy, ["predictions.csv"])


def test_limits_of_the_verdict_are_shown_next_to_it(series_file, forecast_settings, tmp_path):
    table = pl.read_csv(series_file).with_columns(
        load=pl.when(pl.int_range(pl.len()).is_in([20, 135, 136])).then(None).otherwise("load")
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    settings = forecast_settings | {"data": {"missing": "linear"}}
    try:
        run = gatewise.train(
            table,
            settings=settings,
            output=tmp_path / "run",
            watch=lambda now, over: over and now.epoch == 1 and signal.raise_signal(signal.SIGINT),
        )
    finally:
        signal.signal(signal.SIGINT, before)
    interrupted, *others = run.metrics["caveats"]
    assert interrupted.startswith("Training was interrupted: stopped by Ctrl-C in epoch 1")
    assert "2 cells of the target were empty and filled in" in others[-1]
    header = (tmp_path / "run" / "report.html").read_text().split("</header>")[0]
    for sentence in run.metrics["caveats"]:
        assert sentence in header
    truth = pl.read_csv(tmp_path / "run" / "predictions.csv")["truth"]
    assert truth.null_count() > 0
    assert run.metrics["predictions"] == {"rows": 108, "answers": 27, "of": 27}
    assert interruption("no better validation loss for 5 epochs", 3) == []


def sequential(shapes, settings):
    return keras.Sequential(
        [
            keras.Input(shapes.inputs["steps"]),
            keras.layers.LSTM(3),
            keras.layers.Dense(shapes.output[0]),
        ]
    )


def test_a_users_sequential_network_is_saved(classify_settings, tmp_path):
    x, y = [np.full((4, 2), float(k % 2)) for k in range(40)], np.arange(40) % 2
    run = gatewise.train(
        (x, y), settings=classify_settings, network=sequential, output=tmp_path / "run"
    )
    loaded = gatewise.load(tmp_path / "run")
    assert_same(run.model.get_weights(), loaded.model.get_weights())
    assert len(repr(run)) < 400
    assert "classify" in repr(loaded)


def test_a_network_that_ends_in_a_softmax_is_refused(classify_settings):
    def softmax(shapes, settings):
        network = sequential(shapes, settings)
        network.layers[-1].activation = keras.activations.softmax
        return network

    x, y = np.random.default_rng(0).normal(size=(40, 4, 2)), np.arange(40) % 2
    with pytest.raises(ConfigError, match="must return logits"):
        gatewise.train((x, y), settings=classify_settings, network=softmax)


def test_a_network_with_a_lambda_layer_is_refused(classify_settings):
    def lambda_layer(shapes, settings):
        return keras.Sequential([keras.layers.Lambda(abs), sequential(shapes, settings)])

    x, y = np.random.default_rng(0).normal(size=(40, 4, 2)), np.arange(40) % 2

    def network(shapes, settings):
        made = lambda_layer(shapes, settings)
        made.build((None, *shapes.inputs["steps"]))
        return made

    with pytest.raises(ConfigError, match="Lambda layer"):
        gatewise.train((x, y), settings=classify_settings, network=network)


@pytest.mark.parametrize(("policy", "said"), [("drop", "Left out"), ("train", "not evaluated")])
def test_a_label_missing_from_a_part_is_noted(classify_settings, policy, said):
    x = np.random.default_rng(0).normal(size=(60, 4, 2))
    y = np.arange(60) % 2
    y[7] = 9
    settings = dict(classify_settings) | {"split": {"rare_labels": policy}}
    run = gatewise.train((x, y), settings=settings)
    assert any(said in note and "'9'" in note for note in run.metrics["notes"])


def test_an_error_in_the_users_own_network_says_where_it_is(sequences_file, tmp_path):
    own = tmp_path / "own.py"
    own.write_text("def build(shapes, settings):\n    return 1 / 0\n")
    settings = {"network": {"build": f"{own}:build"}, "data": {"label": "label"}}
    with pytest.raises(gatewise.ConfigError, match=r"ZeroDivisionError: .*own\.py, line 2: return"):
        gatewise.train(sequences_file, task="classify", settings=settings)
