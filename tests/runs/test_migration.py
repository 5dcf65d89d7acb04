"""Run folders of format 1 are read, and answer as the version that wrote them answered."""

import json
import math
import re
import shutil
import tomllib
from pathlib import Path

import polars as pl
import pytest

import gatewise
from gatewise.data.preparation import Preparation
from gatewise.errors import ArtefactError
from gatewise.runs import artefact
from gatewise.runs.migration import FORMAT, SETTINGS, VALUES, present_settings
from gatewise.settings import Experiment, from_mapping
from gatewise.tasks import TASKS

PLACE = Path(__file__).parents[1] / "folders" / "format-1"
FOLDERS = sorted(path.name for path in PLACE.iterdir())
# Answers are float32 sums, which other processors and backends add up in another order.
NEW = {"sql"}  # metrics that came later
CLOSE = {"rel_tol": 1e-3, "abs_tol": 1e-4}


@pytest.fixture
def saved(request, tmp_path, monkeypatch):
    """A copy of a folder, where the names of its data mean what they meant."""
    copy = Path(shutil.copytree(PLACE / request.param, tmp_path / request.param))
    monkeypatch.chdir(copy)
    return copy


def data_of(folder, purpose):
    """The data to predict, or those to evaluate on."""
    found = {path.stem: path for path in folder.iterdir()}
    return found.get(purpose, found["new"])


def same(found, wanted):
    """Whether two contents of JSON are the same but for the rounding of numbers and new metrics."""
    if isinstance(wanted, dict):
        known = found.keys() - NEW == wanted.keys() - NEW
        return known and all(same(found[key], one) for key, one in wanted.items())
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(wanted, float) and isinstance(found, float):
        return math.isclose(found, wanted, **CLOSE)
    return found == wanted


def test_there_is_a_folder_of_every_task_of_format_1():
    tasks = {artefact.load(PLACE / name / "run").experiment.task.name for name in FOLDERS}
    assert tasks == {"forecast", "classify", "tag", "language", "translate", "transcribe"}
    for name in FOLDERS:
        assert json.loads((PLACE / name / "run" / "manifest.json").read_text())["format"] == 1


@pytest.mark.parametrize("saved", FOLDERS, indirect=True)
def test_a_folder_of_format_1_predicts_as_it_did(saved):
    found = gatewise.predict("run", data_of(saved, "new"))
    wanted = pl.read_csv(saved / "predictions.csv", schema=found.schema, try_parse_dates=True)
    assert found.columns == wanted.columns
    assert same(found.to_dict(as_series=False), wanted.to_dict(as_series=False))


@pytest.mark.parametrize("saved", FOLDERS, indirect=True)
def test_a_folder_of_format_1_is_evaluated_as_it_was(saved):
    found = artefact.finite(gatewise.evaluate("run", data_of(saved, "score")))
    wanted = json.loads((saved / "evaluation.json").read_text(encoding="utf-8"))
    written = wanted.pop("written", None)
    del wanted["verdict"]["sentence"]  # words about the numbers of the verdict
    for content in (found, wanted):  # the words of a caveat may change, its numbers may not
        content["caveats"] = [re.findall(r"\d+\.?\d*", one) for one in content["caveats"]]
    # Advice was added: how many pairs a translation takes.
    found["caveats"] = [one for one in found["caveats"] if one in wanted["caveats"]]
    assert same(
        {key: found[key] for key in wanted if key != "verdict"},
        {key: value for key, value in wanted.items() if key != "verdict"},
    )
    assert same({key: found["verdict"][key] for key in wanted["verdict"]}, wanted["verdict"])
    if written is not None:
        assert gatewise.generate("run", "line 3", length=40, temperature=0, seed=1) == written


@pytest.mark.parametrize("saved", FOLDERS, indirect=True)
def test_the_report_of_a_folder_of_format_1_is_drawn(saved):
    page = gatewise.report("run").read_text(encoding="utf-8")
    metrics = json.loads((saved / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["verdict"]["against"] in page
    gatewise.load("run")  # still whole


@pytest.mark.parametrize("name", FOLDERS)
def test_what_a_folder_of_format_1_holds_is_the_same_in_format_2(name, tmp_path):
    made = artefact.load(PLACE / name / "run")
    artefact.save_parts(tmp_path, made.experiment, made.preparation, made.network)
    shutil.copy(PLACE / name / "run" / artefact.BASELINES, tmp_path)
    shutil.copy(PLACE / name / "run" / artefact.METRICS, tmp_path)
    artefact.seal(tmp_path)
    again = artefact.load(tmp_path)
    assert artefact.format_of(tmp_path) == FORMAT
    assert again.experiment == made.experiment
    assert again.preparation.to_json() == made.preparation.to_json()
    assert type(again.preparation.own) is TASKS[made.experiment.task.name].fitted


def test_every_setting_of_format_1_is_read():
    """Each name that no longer exists is given one that does."""
    for name in FOLDERS:
        given = tomllib.loads((PLACE / name / "run" / "settings.toml").read_text(encoding="utf-8"))
        from_mapping(present_settings(given, 1))
        for section, renamed in SETTINGS.items():
            assert renamed.keys() <= given[section].keys()
            now = vars(getattr(Experiment(), section))
            assert set(renamed.values()) <= now.keys()
            assert not renamed.keys() & now.keys()


def test_values_of_settings_of_format_1_have_the_words_of_today():
    given = {
        "preparation": {"unseen": "unknown", "tokens": "spaces", "overlong": "begin"},
        "network": {"feeding": "input"},
    }
    assert present_settings(given, 1) == {
        "preparation": {
            "handle_unknown": "ignore",
            "tokenizer": "whitespace",
            "truncation": "end",
        },
        "network": {"input_feeding": True},
    }
    assert present_settings({"preparation": {"unseen": "error"}}, 1) == {
        "preparation": {"handle_unknown": "error"}
    }
    assert set(VALUES) <= {new for renamed in SETTINGS.values() for new in renamed.values()}


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (FORMAT + 1, r"has format 3, .* reads up to 2\. Install gatewise 9\.9 or newer"),
        (0, r"manifest\.json is damaged\. Restore the folder from a backup"),
        (-1, r"manifest\.json is damaged\. Restore the folder from a backup"),
    ],
)
def test_a_folder_of_any_other_format_is_refused_with_what_to_do(number, wanted, tmp_path):
    copy = Path(shutil.copytree(PLACE / "tag" / "run", tmp_path / "run"))
    path = copy / "manifest.json"
    changed = json.loads(path.read_text()) | {"format": number, "gatewise": "9.9"}
    path.write_text(json.dumps(changed))
    with pytest.raises(ArtefactError, match=wanted):
        gatewise.load(copy)


def test_a_preparation_without_a_later_field_has_its_default():
    own = TASKS["classify"].fitted
    plain = artefact.load(PLACE / "classify-numbers" / "run").preparation.to_json()
    del plain["static_scale"], plain["own"]["temperature"]
    found = Preparation.from_json(plain, own)
    assert found.static_scale == {} and found.own.temperature == 1.0
