"""Networks of several seeds are one model, and each is what it would be alone."""

import json
from dataclasses import replace
from unittest.mock import ANY

import keras
import numpy as np
import polars as pl
import pytest

import gatewise
from gatewise.arguments import experiment_for
from gatewise.data.sequences import from_arrays
from gatewise.data.windows import windows
from gatewise.errors import ConfigError
from gatewise.judging import folding, seeds
from gatewise.settings import Experiment
from gatewise.tasks.forecast.budget import seconds, too_slow, usual_networks
from gatewise.tasks.forecast.task import resolve
from gatewise.training.ready import make_ready


@pytest.fixture(scope="module")
def averaged(series_file, forecast_settings, tmp_path_factory):
    """A saved run of two networks, trained again on everything after they were judged."""
    training = forecast_settings["training"] | {"networks": 2, "refit": "yes", "patience": 0}
    folder = tmp_path_factory.mktemp("seeds") / "run"
    names = []
    gatewise.train(
        series_file,
        settings=forecast_settings | {"training": training},
        output=folder,
        watch=lambda progress, over: names.append(progress.network) if over else None,
    )
    # In their last trainings as well, so that a screen shows a line for each network, not epoch.
    assert set(names) == {"network 1 of 2", "network 2 of 2"}
    return folder


def test_the_saved_model_is_the_mean_of_its_networks(averaged, series_file):
    model = keras.saving.load_model(averaged / "model.keras")
    networks = [model.get_layer(f"network_{number}") for number in (1, 2)]
    shapes = {one.name: (3, *one.shape[1:]) for one in networks[0].inputs}
    inputs = {
        name: np.random.default_rng(0).normal(size=shape).astype("f")
        for name, shape in shapes.items()
    }
    apart = [np.asarray(one([inputs[tensor.name] for tensor in one.inputs])) for one in networks]
    np.testing.assert_allclose(
        np.squeeze(model(inputs)), np.mean(np.squeeze(apart), axis=0), atol=1e-6
    )
    assert np.abs(apart[0] - apart[1]).max() > 1e-3, "else the mean would show nothing"
    # The same without Keras, from the run folder.
    alone, with_keras = (
        gatewise.predict(run, series_file) for run in (averaged, gatewise.load(averaged))
    )
    np.testing.assert_allclose(alone["q0.5"], with_keras["q0.5"], rtol=1e-5)


def test_scores_are_those_of_both_and_the_last_training_is_told(averaged):
    found = gatewise.load(averaged)
    assert found.metrics["networks"] == found.experiment.training.networks == 2
    (caveat,) = [one for one in found.metrics["caveats"] if "training.refit" in one]
    assert "those of 2 networks trained on 7" in caveat


def test_data_that_continue_those_of_the_last_training_are_recognised(averaged, series_file):
    table = pl.read_csv(series_file, try_parse_dates=True)
    more = table.with_columns(pl.col("day") + pl.duration(days=len(table))).head(20)
    said = gatewise.evaluate(averaged, pl.concat([table, more]))["notes"]
    assert any("the run was trained on steps of these data" in note for note in said)


def test_a_network_of_ones_own_has_one_seed(series_file, forecast_settings):
    def own(shapes, _settings):
        inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.inputs.items()}
        flat = keras.layers.Flatten()(inputs["past"])
        made = keras.layers.Dense(int(np.prod(shapes.output)))(flat)
        return keras.Model(inputs, keras.layers.Reshape(shapes.output)(made))

    training = forecast_settings["training"] | {"networks": 2}
    with pytest.raises(ConfigError, match=r"training\.networks cannot be used.*your own"):
        gatewise.train(
            series_file, settings=forecast_settings | {"training": training}, network=own
        )


def test_as_many_networks_are_averaged_as_the_quality_has_time_for():
    chosen = Experiment().having("data", target=("y",)).having("network", kind="segments")
    chosen = chosen.having("network", units=(128,), segment_length=12)
    chosen = chosen.having("task", lookback=24, horizon=12)
    chosen = chosen.having("training", epochs=60, batch_size=32, quality="good")
    few, more, many = (usual_networks(chosen, windows) for windows in (100, 5_000, 500_000))
    assert few == 5 > more > many == 1
    assert more * seconds(chosen, 5_000) <= 180 < (more + 1) * seconds(chosen, 5_000)
    assert usual_networks(chosen.having("training", quality="fast"), 100) == 1


def test_labelled_sequences_are_folded_if_they_are_few_and_otherwise_averaged(sequences_file):
    given = {"task": {"name": "classify"}, "training": {"quality": "good"}}
    ready = make_ready(*experiment_for(str(sequences_file), [given]))
    assert folding.plan(ready)[0] is not None
    # Parts in files, and many sequences, leave nothing to cross-validate.
    held = replace(ready, experiment=ready.experiment.having("data", validation="held.csv"))
    assert folding.plan(held) == (None, ANY) and seeds.networks_of(held) == 5
    many = ready.sequences.chosen(np.resize(np.arange(len(ready.sequences)), 2000))
    many = replace(ready, parts=replace(ready.parts, sequences=many))
    assert folding.plan(many) == (None, "") and seeds.networks_of(many) == 5
    one, again = folding.seconds(many), many.experiment.training.epochs * 30
    longer = replace(many, experiment=many.experiment.having("training", epochs=again))
    assert seeds.networks_of(longer) == max(1, int(180 / (2 * folding.seconds(longer)))) < 5
    assert one < folding.seconds(longer)
    for changed in ({"quality": "fast"}, {"pretrain": "texts"}):
        other = replace(many, experiment=many.experiment.having("training", **changed))
        assert seeds.networks_of(other) == 1
    # Without folds, networks with other validation parts would be trained on the test part.
    two = ready.experiment.having("training", quality="fast", networks=2)
    asked = replace(ready, experiment=two)
    assert folding.plan(asked) == (None, "") and seeds.networks_of(asked) == 2


def test_the_mean_of_taggers_has_the_mean_of_their_transitions(tmp_path):
    sentences = [f"the O\n{name} B-CITY\nHall I-CITY\nis O\nold O\n" for name in ("Bonn", "Ulm")]
    path = tmp_path / "places.conll"
    path.write_text("\n".join(sentences * 30))
    network, training = {"units": [3], "character_units": 2}, {"networks": 2, "epochs": 1}
    given = {"network": network, "training": training | {"quality": "fast"}}
    done = gatewise.train(path, task="tag", settings=given, output=tmp_path / "run")
    found = done.model.get_layer("network_1"), done.model.get_layer("network_2")
    starts = [one.get_layer("transitions").get_weights()[0] for one in found]
    logits = [one.get_layer("logits").get_weights()[0] for one in found]
    assert (logits[0] != logits[1]).any()
    # The export is compared with the run, and refused where they differ.
    gatewise.export(tmp_path / "run", to="numpy", output=tmp_path / "alone")
    told = json.loads((tmp_path / "alone" / "export.json").read_text())
    np.testing.assert_allclose(told["transitions"], np.mean(starts, axis=0), rtol=1e-6)
    tags = gatewise.predict(tmp_path / "run", path)["tag"]  # without Keras
    assert (tags == gatewise.predict(done, path)["tag"]).all()


@pytest.fixture
def collection():
    """400 series of 700 steps: far more windows than three minutes allow."""
    return from_arrays([np.arange(700.0)] * 400, columns=("y",))


def test_windows_are_thinned_until_training_fits_into_the_time_of_the_quality(collection):
    asked = Experiment().having("data", target=("y",)).having("training", quality="good")
    asked = asked.having("task", horizon=48, lookback=96)
    for season, allowed in ((1, range(1, 49)), (12, (1, 5, 7, 11, 13))):
        given = asked.having("task", season=season)
        thinned, notes = resolve(given, collection, collection)
        stride = thinned.task.stride
        smaller = max(one for one in allowed if one < stride)
        seen, more = (len(windows(collection, 96, 48, one)) for one in (stride, smaller))
        assert stride in allowed and not too_slow(thinned, seen)
        assert too_slow(thinned, more), "a smaller stride would have been enough"
        assert any(f"One window in {stride} is used" in one for one in notes)
    # What is given, and the quality of the experiments, stay as they are.
    for quality, stride in (("fast", 0), ("good", 2)):
        kept = asked.having("training", quality=quality).having("task", stride=stride)
        found, notes = resolve(kept, collection, collection)
        assert found.task.stride == (stride or 1)
        assert not any("One window in" in one for one in notes)


def test_several_networks_need_no_validation_part(series_file, forecast_settings):
    training = forecast_settings["training"] | {"networks": 2, "epochs": 1}
    parts = {"split": {"validation": 0, "test": 16}}
    done = gatewise.train(series_file, settings=forecast_settings | parts | {"training": training})
    assert done.history.networks == 2


def test_a_stream_reads_the_mean_of_taggers(tmp_path):
    words = ["the", "Bonn", "Hall", "is", "old"]
    path = tmp_path / "places.conll"
    path.write_text("\n".join(["the O\nBonn B-CITY\nHall I-CITY\nis O\nold O\n"] * 30))
    training = {"networks": 2, "epochs": 1, "quality": "fast"}
    given = {"network": {"units": [3]}, "task": {"streaming": True}, "training": training}
    gatewise.train(path, task="tag", settings=given, output=tmp_path / "run")
    whole = gatewise.predict(tmp_path / "run", [words])
    stream = gatewise.Stream(tmp_path / "run")
    stream.push(words)
    answers = [*stream.read(), *stream.finish()]
    assert [one["tag"] for one in answers] == whole["tag"].to_list()
    np.testing.assert_allclose(
        [one["probability"] for one in answers], whole["probability"], atol=1e-6
    )
