"""The run folder: complete or absent, checked byte by byte, and never executed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import gatewise
from gatewise.errors import ArtefactError, ConfigError
from gatewise.runs import artefact

FILES = [
    "baselines.json",
    "environment.json",
    "graph.json",
    "graph.npz",
    "history.csv",
    "metrics.json",
    "model.keras",
    "predictions.csv",
    "preparation.json",
    "report.html",
    "resamples.parquet",
    "settings.toml",
    "splits.json",
]
FOR_PEOPLE = ["environment.json", "history.csv", "predictions.csv", "report.html"]
COMPARED = ["resamples.parquet"]  # test_comparison.py
OF_RUNTIME = ["graph.json", "graph.npz"]  # tests/runtime
LOADED = [name for name in FILES if name not in (*FOR_PEOPLE, *OF_RUNTIME, *COMPARED)]


@pytest.fixture
def copy(classify_run, tmp_path):
    return Path(shutil.copytree(classify_run, tmp_path / "run"))


def test_the_folder_holds_these_files_and_no_others(classify_run, forecast_run):
    for run in (classify_run, forecast_run):
        assert sorted(path.name for path in run.iterdir()) == sorted([*FILES, "manifest.json"])
        listed = json.loads((run / "manifest.json").read_text())["files"]
        assert sorted(listed) == FILES


@pytest.mark.parametrize("name", LOADED)
def test_one_changed_byte_is_refused(copy, name):
    path = copy / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=f"{name} is not the file that was saved"):
        gatewise.load(copy)


@pytest.mark.parametrize("name", LOADED)
def test_a_missing_file_is_refused(copy, name):
    (copy / name).unlink()
    with pytest.raises(ArtefactError, match=f"{name} is missing"):
        gatewise.load(copy)


def test_loading_does_not_depend_on_files_that_people_may_edit_or_delete(copy):
    for name in FOR_PEOPLE:
        (copy / name).write_text("edited")
    gatewise.load(copy)
    for name in FOR_PEOPLE:
        (copy / name).unlink()
    gatewise.load(copy)


def changed_manifest(folder, **values):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_newer_format_is_refused_with_the_version_to_install(copy):
    changed_manifest(copy, format=artefact.FORMAT + 1, gatewise="9.9")
    with pytest.raises(ArtefactError, match=r"reads up to 2\. Install gatewise 9\.9 or newer"):
        gatewise.load(copy)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": "x", "files": {}}'])
def test_a_damaged_manifest_is_refused(copy, content):
    (copy / "manifest.json").write_text(content)
    with pytest.raises(ArtefactError, match=r"manifest\.json is damaged"):
        gatewise.load(copy)


def test_a_manifest_that_leaves_a_file_out_is_refused(copy):
    listed = json.loads((copy / "manifest.json").read_text())["files"]
    changed_manifest(copy, files={k: v for k, v in listed.items() if k != "model.keras"})
    with pytest.raises(ArtefactError, match=r"does not list model\.keras"):
        gatewise.load(copy)


def test_a_manifest_cannot_point_out_of_the_folder(copy, tmp_path):
    (tmp_path / "secret").write_text("")
    listed = json.loads((copy / "manifest.json").read_text())["files"]
    changed_manifest(copy, files=listed | {"../secret": "0" * 64})
    with pytest.raises(ArtefactError):
        gatewise.load(copy)


def test_another_folder_than_a_run_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file", tmp_path / "nowhere"):
        with pytest.raises(ArtefactError, match="is not a run folder"):
            gatewise.load(place)


def test_an_existing_folder_is_never_replaced_silently(copy, series_file):
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    with pytest.raises(ConfigError, match="exists. Choose another -o, or give --overwrite"):
        gatewise.train(series_file, output=copy)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_overwriting_replaces_run_folders_only(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="is not a run folder, so it is not replaced"):
        artefact.check_free(tmp_path / "thesis", overwrite=True)


def test_overwriting_never_removes_inputs_or_foreign_files(copy, tmp_path):
    data = tmp_path / "way" / "predictions.csv"
    data.parent.symlink_to(copy)
    for read in (copy / "settings.toml", data):
        with pytest.raises(ConfigError, match="holds the input .*, so it is not replaced"):
            artefact.check_replaceable(copy, [read])
    with pytest.raises(ConfigError, match="is a link. Give the folder itself"):
        artefact.check_replaceable(data.parent, [])
    (copy / ".DS_Store").write_text("what a file manager leaves")
    artefact.check_replaceable(copy, [tmp_path / "nowhere.csv", tmp_path])
    (copy / ".git").mkdir()
    (copy / "thoughts.txt").write_text("years of work")
    foreign = r"holds \.git, thoughts\.txt, which does not belong to the run"
    with pytest.raises(ConfigError, match=foreign):
        artefact.check_replaceable(copy, [])


def test_overwriting_leaves_the_new_run_and_nothing_else(copy, tmp_path):
    with artefact.writing(copy, overwrite=True) as draft:
        (draft / "new").write_text("new")
    assert sorted(path.name for path in copy.iterdir()) == ["manifest.json", "new"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_write_that_fails_leaves_the_old_run_as_it_was(copy, tmp_path):
    with pytest.raises(OSError, match="no space"), artefact.writing(copy, overwrite=True) as draft:
        (draft / "new").write_text("new")
        raise OSError("no space")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    artefact.verify(copy)


def test_a_write_that_is_killed_leaves_a_draft_that_the_next_one_removes(tmp_path):
    program = """
import os, signal, sys
from pathlib import Path
from gatewise.runs import artefact
with artefact.writing(Path(sys.argv[1]), overwrite=False) as draft:
    (draft / "settings.toml").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "run"], env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "run").exists()
    [left] = tmp_path.iterdir()
    assert left.name.startswith(".run-")
    with artefact.writing(tmp_path / "run", overwrite=False) as draft:
        (draft / "settings.toml").write_text("whole")
        with artefact.writing(tmp_path / "run", overwrite=False):
            assert draft.exists()  # a draft that is being written is not removed
        (tmp_path / "run").rename(tmp_path / "other")
    assert {path.name for path in tmp_path.iterdir()} == {"run", "other"}


def test_an_overwriting_that_is_killed_leaves_the_new_run_under_its_name(copy, tmp_path):
    """The old one has the name of a draft then, and goes with the next writing."""
    program = """
import os, shutil, signal, sys
from pathlib import Path
from gatewise.runs import artefact
kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
Path.rename = shutil.rmtree = kill  # a name that no run has for a moment would be seen
with artefact.writing(Path(sys.argv[1]), overwrite=True) as draft:
    (draft / "settings.toml").write_text("new")
"""
    done = subprocess.run([sys.executable, "-c", program, copy], env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert (copy / "settings.toml").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 2
    with artefact.writing(copy, overwrite=True) as draft:
        (draft / "settings.toml").write_text("newer")
    assert list(tmp_path.iterdir()) == [copy]


def test_a_parent_that_cannot_be_made_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        artefact.check_free(tmp_path / "file" / "run", overwrite=False)


def test_nothing_is_pickled_and_no_layer_is_a_lambda(classify_run, forecast_run):
    for run in (classify_run, forecast_run):
        contents = {path.name: path.read_bytes() for path in run.iterdir()}
        with zipfile.ZipFile(run / "model.keras") as archive:
            contents |= {name: archive.read(name) for name in archive.namelist()}
        for name, content in contents.items():
            assert content[:1] != b"\x80", f"{name} begins as a pickle does"
            assert not name.endswith((".pkl", ".pickle", ".npy", ".joblib"))
        assert b"Lambda" not in contents["config.json"]
        assert b"gatewise" not in contents["config.json"]


def test_a_model_with_a_lambda_is_refused(copy):
    steps = keras.Input((None, 3))
    network = keras.Model(steps, keras.layers.Lambda(lambda x: x[:, -1])(steps))
    network.save(copy / "model.keras")
    artefact.seal(copy)
    with pytest.raises(ArtefactError, match="Keras cannot open"):
        gatewise.load(copy)


def test_the_saved_model_opens_in_keras_with_its_default_options(forecast_run, classify_run):
    for run in (forecast_run, classify_run):
        network = keras.saving.load_model(run / "model.keras")
        ours = gatewise.load(run).model
        for left, right in zip(network.get_weights(), ours.get_weights(), strict=True):
            np.testing.assert_array_equal(left, right)


def test_all_saved_settings_are_resolved(forecast_run):
    settings = gatewise.load(forecast_run).experiment
    assert settings.data.target == ("load",)
    assert settings.data.time == ("day",)
    assert settings.task.lookback == 8


def test_numbers_that_are_not_finite_are_null(tmp_path):
    artefact.write_json(tmp_path / "x.json", {"a": [float("nan"), np.float32("inf"), np.int64(3)]})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [None, None, 3]}


def test_a_run_that_appears_while_another_is_written_is_kept(tmp_path):
    folder = tmp_path / "run"
    with (
        pytest.raises(ConfigError, match="exists"),
        artefact.writing(folder, overwrite=False) as draft,
    ):
        (draft / "one").touch()
        with artefact.writing(folder, overwrite=False) as other:
            (other / "two").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (folder / "two").is_file()
