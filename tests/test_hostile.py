"""Run folders that lie: sealed again after a change, they are refused in a sentence."""

import dataclasses
import json
import math
import os
import shutil
import typing
import zipfile

import numpy as np
import polars as pl
import pytest
from test_without_keras import saved_again

import gatewise
from gatewise.baselines import regression, tfidf
from gatewise.runs import artefact as artefacts
from gatewise.runtime import graph
from gatewise.tasks import TASKS


@pytest.fixture
def folder(forecast_run, tmp_path):
    return shutil.copytree(forecast_run, tmp_path / "run")


def rewritten(path, change):
    """Change the content of a JSON file, and update the manifest."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    artefacts.seal_again(path)


def nodes_of(content):
    return content["graphs"][graph.ALONE]["nodes"]


def lstm_of(content):
    return next(one for one in nodes_of(content) if one["operation"] == "lstm")


GRAPHS = {
    "an unknown operation": lambda c: lstm_of(c).update(operation="system"),
    "a cycle": lambda c: nodes_of(c).reverse(),
    "a node twice": lambda c: nodes_of(c).append(nodes_of(c)[-1]),
    "an output that nothing writes": lambda c: c["graphs"][graph.ALONE].update(outputs="nothing"),
    "weights that are not there": lambda c: lstm_of(c)["weights"].update(kernel="nothing"),
    "weights of another layer": lambda c: lstm_of(c)["weights"].update(
        kernel=lstm_of(c)["weights"]["bias"]
    ),
    "an activation that is a size": lambda c: lstm_of(c)["config"].update(activation=10**30),
    "no nodes": lambda c: c["graphs"][graph.ALONE].update(nodes={}),
    "another dtype": lambda c: c["graphs"][graph.ALONE].update(dtype="object"),
    "a newer format": lambda c: c.update(format=99),
}


@pytest.mark.parametrize("lie", GRAPHS)
def test_a_graph_that_lies_is_refused(folder, series_file, lie):
    rewritten(folder / graph.DESCRIPTION, GRAPHS[lie])
    with pytest.raises(gatewise.ArtefactError, match=r"damaged|newer"):
        gatewise.predict(folder, series_file)


def resized(arrays):
    """The kernels would read behind the end of a smaller array."""
    return {name: np.atleast_1d(one)[..., :4] for name, one in arrays.items()}


# Values of the right type that contradict the network or each other: changes of "own", or of the
# whole preparation.
OWN = {
    "classify-numbers": {"a class more": lambda c: c["classes"].append("other")},
    "classify-sound": {"no hop": lambda c: c["spectrum"].update(hop_length=0)},
    "classify-texts": {"a class less": lambda c: c["classes"].pop()},
    "forecast": {
        "another target": lambda c: c["targets"].append("rain"),
        "an unknown target": lambda c: c.update(targets=["nothing"]),
        "a quantile less": lambda c: c["quantiles"].pop(),
        "another lookback": lambda c: c.update(lookback=11),
        "nothing known in advance": lambda c: c.update(known=[], calendar=[]),
    },
    "forecast-one": {
        "an unknown calendar": lambda c: c.update(calendar=["moon"]),
        "an unknown column": lambda c: c.update(known=["x"]),
        "an unknown static column": lambda c: c.update(static=["x"]),
    },
    "language": {"a token less": lambda c: shorten(c["vocabulary"])},
    "tag": {
        "a tag more": lambda c: c["classes"].append("B-thing"),
        "a word less": lambda c: c["words"].pop(),
    },
    "transcribe": {
        "a character less": lambda c: c["classes"].pop(),
        "a count of -1": lambda c: c["lm"]["counts"][""].update(a=-1),
    },
    "translate": {
        "a token less": lambda c: shorten(c["vocabularies"]["target"]),
        "one vocabulary": lambda c: c["vocabularies"].pop("target"),
    },
}
WHOLE = {
    "classify-numbers": {
        "a column more": lambda c: c["used"].append("still"),
        "a scale of fewer columns": lambda c: c["scale"].update(centre=[[0.0]], spread=[[1.0]]),
    },
    "forecast": {"a category more": lambda c: c["categories"]["region"].append("east")},
    "forecast-one": {"an unknown unit": lambda c: c.update(step="1dx")},
}


def shorten(vocabulary):
    tokens = vocabulary["content"]["model"]["vocab"]
    tokens.pop(max(tokens, key=tokens.get))


@pytest.mark.parametrize("name", OWN)
def test_a_preparation_that_contradicts_the_network_is_refused(name, tmp_path):
    saved_again(name, tmp_path / "run")
    artefacts.open_run(tmp_path / "run")
    true = (tmp_path / "run" / artefacts.PREPARATION).read_text()
    lies = [lambda c, one=one: one(c["own"]) for one in OWN[name].values()]
    for lie in (*lies, *WHOLE.get(name, {}).values()):
        (tmp_path / "run" / artefacts.PREPARATION).write_text(true)
        rewritten(tmp_path / "run" / artefacts.PREPARATION, lie)
        with pytest.raises(gatewise.ArtefactError, match=r"damaged.* Restore the folder"):
            artefacts.open_run(tmp_path / "run")
    with pytest.raises(gatewise.ArtefactError, match=r"damaged.* Restore the folder"):
        artefacts.load(tmp_path / "run")  # with Keras


WEIGHTS = {
    "smaller": (resized, np.savez),
    "packed": (lambda arrays: arrays | {"zeros": np.zeros(1 << 22)}, np.savez_compressed),
    "of texts": (lambda arrays: {name: one.astype("U") for name, one in arrays.items()}, np.savez),
}


@pytest.mark.parametrize("lie", WEIGHTS)
def test_weights_that_lie_are_refused(folder, series_file, lie):
    path = folder / graph.WEIGHTS
    change, write = WEIGHTS[lie]
    with np.load(path) as arrays:
        changed = change(dict(arrays))
    write(path, **changed)
    artefacts.seal_again(path)
    with pytest.raises(gatewise.ArtefactError, match="damaged"):
        gatewise.predict(folder, series_file)


def test_a_header_that_announces_more_than_fits_into_memory_is_refused(folder, series_file):
    path = folder / graph.WEIGHTS
    with zipfile.ZipFile(path, "w") as archive:
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({1 << 60},), }}\n"
        start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
        archive.writestr("huge.npy", start + header.encode())
    artefacts.seal_again(path)
    with pytest.raises(gatewise.ArtefactError, match="damaged"):
        gatewise.predict(folder, series_file)


@pytest.mark.parametrize("name", [artefacts.SETTINGS, artefacts.PREPARATION, artefacts.SPLITS])
@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"\xff\xfe\x00"])
def test_files_of_another_content_are_refused(folder, series_file, name, content):
    (folder / name).write_bytes(content)
    artefacts.seal_again(folder / name)
    with pytest.raises(gatewise.GatewiseError):
        gatewise.predict(folder, series_file)


def test_files_of_two_tasks_are_refused(folder, classify_run, series_file):
    shutil.copy(classify_run / artefacts.SETTINGS, folder)
    artefacts.seal_again(folder / artefacts.SETTINGS)
    with pytest.raises(gatewise.ArtefactError, match=r"damaged|of two runs"):
        gatewise.predict(folder, series_file)


def test_settings_of_another_run_of_the_task_are_refused(folder, series_file):
    path = folder / artefacts.SETTINGS
    text = path.read_text()
    assert text.count('"load"') == 1
    path.write_text(text.replace('"load"', '"other"'))
    artefacts.seal_again(path)
    other = pl.read_csv(series_file, try_parse_dates=True).rename({"load": "other"})
    for verb in (gatewise.predict, gatewise.evaluate):
        with pytest.raises(gatewise.ArtefactError, match="its settings read the columns 'other'"):
            verb(folder, other)


def test_the_metrics_of_a_run_are_an_object(folder, series_file):
    (folder / artefacts.METRICS).write_text("[]")
    artefacts.seal_again(folder / artefacts.METRICS)
    with pytest.raises(gatewise.ArtefactError, match=r"metrics\.json is damaged"):
        gatewise.evaluate(folder, series_file)


def test_a_pipe_in_place_of_a_file_of_a_run_does_not_block(folder, series_file):
    os.mkfifo(folder / "pipe")
    (folder / "pipe").replace(folder / artefacts.ENVIRONMENT)
    assert artefacts.load(folder).backend is None


def test_a_script_named_in_the_settings_of_a_run_is_not_executed(folder, series_file, tmp_path):
    script, mark = tmp_path / "own.py", tmp_path / "executed"
    script.write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nbuild = None\n")
    path = folder / artefacts.SETTINGS
    text = path.read_text()
    assert text.count('build = ""') == 1
    path.write_text(text.replace('build = ""', f'build = "{script}:build"'))
    artefacts.seal_again(path)
    gatewise.predict(folder, series_file)
    gatewise.report(folder, overwrite=True)
    assert not mark.exists()


def lies(name):
    """A change of baselines.json of the forecast run."""
    return {
        "texts among coefficients": lambda c: c["ridge"].update(coefficients=[["x"]]),
        "no coefficients": lambda c: c.pop("ridge"),
        "a huge offset": lambda c: c["offsets"].update({"drift": [[[1e308]]]}),
    }[name]


@pytest.mark.parametrize("name", ["texts among coefficients", "no coefficients", "a huge offset"])
def test_baselines_that_cannot_predict_are_refused(folder, series_file, name):
    rewritten(folder / artefacts.BASELINES, lies(name))
    with pytest.raises(gatewise.ArtefactError, match=r"baselines\.json is damaged"):
        gatewise.evaluate(folder, series_file)


def test_spans_that_are_none_are_refused(folder, series_file):
    rewritten(folder / artefacts.SPLITS, lambda content: content.update(train=[27]))
    with pytest.raises(gatewise.ArtefactError, match=r"splits\.json is damaged"):
        gatewise.evaluate(folder, series_file)


def test_a_tree_that_leads_back_ends():
    tree = {"feature": [0, -1], "threshold": [0.0, 0.0], "left": [0, 0], "right": [0, 0]}
    model = {"start": 0.0, "rate": 0.1, "trees": [tree | {"value": [0.0, 0.0]}]}
    with pytest.raises(ValueError, match="leads back"):
        regression.boosting([model], np.ones((3, 1)))


def test_a_pattern_of_words_that_is_none_of_gatewises_is_refused():
    state = {"words": ["a"], "idf": [1.0], "pattern": "(a+)+$"}
    with pytest.raises(ValueError, match="pattern"):
        tfidf.weighted_words(state, ["a" * 40 + "b"])


def numbers_of(kind, path=""):
    """The types of the numbers in a dataclass of a preparation, by path."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Annotated or kind in (int, float):
        yield path, kind
    elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
        for name, one in typing.get_type_hints(kind, include_extras=True).items():
            yield from numbers_of(one, f"{path}.{name}")
    else:
        for one in inner:
            yield from numbers_of(one, path)


# The language model carries its own file along in exports; `fitted_shapes` checks its counts.
UNBOUNDED = {".lm.order", ".lm.counts"}


@pytest.mark.parametrize("task", TASKS)
def test_every_whole_number_of_a_preparation_has_bounds(task):
    kinds = dict(numbers_of(TASKS[task].fitted))
    assert {path for path, kind in kinds.items() if kind is int} <= UNBOUNDED
    for path, kind in kinds.items():
        whole = typing.get_args(kind)[:1] == (int,)
        assert not whole or 10**9 not in kind.__metadata__[0], path


def test_a_number_outside_its_bounds_is_refused_with_the_name_of_its_field(tmp_path):
    saved_again("forecast-one", tmp_path / "run")
    path = tmp_path / "run" / artefacts.PREPARATION
    true = path.read_text()
    for name in ("season", "horizon", "lookback"):
        for number in (0, -1, 10**9, 10**18, math.nan, "text", None, [], True):
            path.write_text(true)
            rewritten(path, lambda c, name=name, number=number: c["own"].update({name: number}))
            with pytest.raises(gatewise.ArtefactError, match=rf"damaged \(.*own\.{name}: "):
                artefacts.open_run(tmp_path / "run")
