"""A run folder answers without Keras what its Keras model answers."""

import math
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import polars as pl
import pytest

import gatewise
from gatewise import runtime
from gatewise.engine import library
from gatewise.errors import ArtefactError
from gatewise.runs import artefact

PLACE = Path(__file__).parents[1] / "folders" / "format-1"  # a trained run of almost every task
CLOSE = {"rel_tol": 1e-4, "abs_tol": 1e-5}  # float32 sums in another order


def same(found, wanted):
    """Whether two contents are the same but for the rounding of numbers."""
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[key], wanted[key]) for key in found)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(wanted, float) and isinstance(found, float):
        return math.isclose(found, wanted, **CLOSE) or (math.isnan(found) and math.isnan(wanted))
    return found == wanted


def saved_again(name, folder):
    """The run of a folder of format 1, saved by this version; returns its Keras artefact."""
    made = artefact.load(PLACE / name / "run")
    folder.mkdir()
    artefact.save_parts(folder, made.experiment, made.preparation, made.network)
    for file in (artefact.BASELINES, artefact.METRICS):
        shutil.copy(PLACE / name / "run" / file, folder)
    artefact.seal(folder)
    return made


def new_data(name):
    return next(path for path in (PLACE / name).iterdir() if path.stem == "new")


@pytest.mark.parametrize("name", sorted(path.name for path in PLACE.iterdir()))
def test_a_run_answers_without_keras_what_it_answers_with_keras(name, tmp_path, monkeypatch):
    made = saved_again(name, tmp_path / "run")
    monkeypatch.chdir(PLACE / name)
    assert not isinstance(artefact.open_run(tmp_path / "run").network, keras.Model)
    found = gatewise.predict(tmp_path / "run", new_data(name))
    wanted = gatewise.predict(made, new_data(name))
    assert same(found.to_dict(as_series=False), wanted.to_dict(as_series=False))
    if name == "language":
        options = {"length": 30, "temperature": 0.5, "seed": 3}
        found = gatewise.generate(tmp_path / "run", "line", **options)
        assert found == gatewise.generate(made, "line", **options)


def regress_settings(**network):
    return {
        "task": {"name": "regress"},
        "network": {"units": [3], **network},
        "training": {"epochs": 1, "batch_size": 16},
        "evaluation": {"n_resamples": 100},
    }


def rows(random):
    steps = random.normal(size=(40, 6))
    return pl.DataFrame(
        {"id": np.repeat(np.arange(40), 6), "x": steps.ravel(), "y": steps.mean(axis=1).repeat(6)}
    )


class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def own_network(shapes, _settings):
    x = keras.Input((None, shapes.inputs["steps"][-1]))
    y = Twice(name="twice")(keras.layers.LSTM(3)(x))
    y = keras.layers.Dense(math.prod(shapes.output))(y)
    return keras.Model(x, keras.layers.Reshape(shapes.output)(y))


def test_numbers_of_sequences_and_a_network_that_a_graph_cannot_hold(tmp_path, random, caplog):
    data, folder = rows(random), tmp_path / "run"
    run = gatewise.train(data, target="y", settings=regress_settings(), output=folder)
    found, wanted = gatewise.predict(folder, data), gatewise.predict(run, data)
    assert same(found.to_dict(as_series=False), wanted.to_dict(as_series=False))
    run = gatewise.train(
        data,
        target="y",
        settings=regress_settings(),
        network=own_network,
        output=tmp_path / "own",
    )
    with caplog.at_level("INFO", "gatewise"), keras.saving.custom_object_scope({"Twice": Twice}):
        found = gatewise.predict(tmp_path / "own", data)
    assert "Layer twice is a Twice, which a graph cannot hold" in caplog.text
    assert found.equals(gatewise.predict(run, data))


def test_an_older_folder_predicts_with_keras_and_says_so(caplog):
    with caplog.at_level("INFO", "gatewise"):
        opened = artefact.open_run(PLACE / "tag" / "run")
    assert isinstance(opened.network, keras.Model)
    assert "an earlier version of gatewise saved this run" in caplog.text


def test_a_damaged_graph_is_an_error_in_one_sentence(tmp_path):
    saved_again("tag", tmp_path / "run")
    (tmp_path / "run" / "graph.npz").write_bytes(b"half")
    with pytest.raises(ArtefactError, match=r"graph\.npz is not the file that was saved"):
        artefact.open_run(tmp_path / "run")


def test_a_missing_folder_and_a_damaged_manifest_are_an_error_in_one_sentence(tmp_path):
    with pytest.raises(ArtefactError, match="there is no such folder"):
        runtime.load(tmp_path / "nowhere")
    (tmp_path / "manifest.json").write_text('{"format": 2, "files": 5}')
    with pytest.raises(ArtefactError, match=r"manifest\.json is damaged"):
        runtime.load(tmp_path)


def test_nothing_heavy_is_imported_to_predict(tmp_path):
    saved_again("forecast", tmp_path / "run")
    code = (
        "import sys, gatewise\n"
        f"gatewise.predict({str(tmp_path / 'run')!r}, {str(new_data('forecast'))!r})\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"keras", "jax", "tensorflow", "torch", "scipy", "sklearn", "narwhals", "rich"}
    assert not heavy & set(done.stdout.split())


def test_numpy_alone_answers_alike(tmp_path, monkeypatch):
    saved_again("classify-numbers", tmp_path / "run")
    native = gatewise.predict(tmp_path / "run", new_data("classify-numbers"))
    monkeypatch.setattr(library, "why_not", lambda: "it was not built")
    plain = gatewise.predict(tmp_path / "run", new_data("classify-numbers"))
    assert same(plain.to_dict(as_series=False), native.to_dict(as_series=False))
