"""Every task over HTTP: it answers what `predict` answers, and no file of the server is read."""

import io
import itertools
import json
import logging
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import quote

import numpy as np
import polars as pl
import pytest
import soundfile
from application import asked, talked
from asking import AS_JSON, LENGTH, answer, good, messages, mutated
from polars.testing import assert_frame_equal
from test_serving import JSON, call, error_of, serving
from test_without_keras import saved_again

import gatewise
from gatewise.readers.sources import FOLDER
from gatewise.serving import Limits
from gatewise.serving.app import Service, application
from gatewise.serving.models import loaded

# A trained run of every task but regress.
PLACE = Path(__file__).parents[1] / "folders" / "format-1"
RUNS = sorted(path.name for path in PLACE.iterdir())
KINDS = {".csv": "text/csv", ".tsv": "text/tab-separated-values", ".txt": "text/plain"}
KINDS |= {".flac": "audio/flac", ".conll": "text/x-conllu"}
AUDIO, TEXT, CSV = ({"Content-Type": f"{kind}"} for kind in ("audio/wav", "text/plain", "text/csv"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The working folder of the server, and its folder of data sets."""
    folder = tmp_path_factory.mktemp("private")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv(FOLDER, str(folder))
        yield folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The runs, saved by this version, so that no length is compiled."""
    saved = tmp_path_factory.mktemp("saved")
    for run in RUNS:
        saved_again(run, saved / run)
    return [saved / run for run in RUNS]


SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


@pytest.fixture(scope="module")
def port(folder, saved):
    with serving(*saved) as port:
        yield port


@pytest.fixture(scope="module")
def app(saved, tmp_path_factory):
    """The application of such a server, without a socket."""
    place = tmp_path_factory.mktemp("bodies")
    service = Service(loaded(saved), Limits(max_wait=0), token="", folder=place)
    yield application(service)
    service.batcher.close()
    service.sessions.close()


def new_data(run):
    """A file of new data."""
    (found,) = (path for path in (PLACE / run).iterdir() if path.stem == "new")
    return min(found.iterdir()) if found.is_dir() else found


@pytest.mark.parametrize("run", RUNS)
def test_a_file_gets_the_answer_of_predict_and_the_columns_that_the_metadata_name(run, port):
    data = new_data(run)
    headers = {"Content-Type": KINDS[data.suffix], "Accept": "text/csv"}
    headers["Content-Disposition"] = f'attachment; filename="{data.name}"'
    if data.suffix == ".conll":  # CoNLL-U has ten columns
        body = " ".join(line.split()[0] for line in data.read_text().splitlines()[:4])
        data, headers["Content-Type"] = [body], JSON["Content-Type"]
        content = json.dumps([body.split()])
    else:
        content = data.read_bytes()
    status, _, answer = call(port, f"/models/{run}/predict", content, headers)
    assert status == 200, answer
    expected = gatewise.predict(PLACE / run / "run", data)
    found = pl.read_csv(io.BytesIO(answer), schema=expected.schema, try_parse_dates=True)
    assert_frame_equal(found, expected, rel_tol=1e-3, abs_tol=1e-4)
    outputs = json.loads(call(port, f"/v2/models/{run}")[2])["outputs"]
    kinds = {pl.Int64: "INT64", pl.Float64: "FP64"}
    new = [name for name in expected.columns if name not in ("truth", "reference")]
    assert {one["name"]: one["datatype"] for one in outputs} == {
        name: kinds.get(expected.schema[name], "BYTES") for name in new
    }


def as_tensor(elements):
    """The body and headers of a request with one binary tensor of BYTES."""
    binary = b"".join(len(one).to_bytes(4, "little") + one for one in elements)
    parameters = {"binary_data_size": len(binary)}
    tensor = {"name": "recording", "datatype": "BYTES", "shape": [len(elements)]}
    head = json.dumps({"inputs": [tensor | {"parameters": parameters}]}).encode()
    return head + binary, {"Inference-Header-Content-Length": str(len(head))}


@pytest.mark.parametrize("run", [run for run in RUNS if (PLACE / run / "new").is_dir()])
def test_recordings_in_a_tensor_are_answered_as_files_in_their_order(run, port):
    files = sorted((PLACE / run / "new").iterdir(), reverse=True) * 3  # more than ten
    contents = [file.read_bytes() for file in files]
    place = f"/v2/models/{run}/infer"
    status, _, answer = call(port, place, *as_tensor(contents))
    assert status == 200, answer
    found = pl.DataFrame({one["name"]: one["data"] for one in json.loads(answer)["outputs"]})
    expected = gatewise.predict(PLACE / run / "run", PLACE / run / "new")[::-1]
    expected = pl.concat([expected] * 3).select(found.columns).drop("id")
    assert_frame_equal(found.drop("id"), expected, rel_tol=1e-3, abs_tol=1e-4)
    for bad in ([b"no sound"], [contents[0][:50]], []):
        status, sentence = error_of(call(port, place, *as_tensor(bad)))
        assert status in (400, 422) and str(PLACE) not in sentence
    text = {"name": "recording", "datatype": "BYTES", "shape": [1], "data": ["/etc/passwd"]}
    assert error_of(call(port, place, json.dumps({"inputs": [text]}), JSON))[0] == 400


@pytest.mark.parametrize(
    ("body", "headers", "status", "sentence"),
    [
        ('[{"x": 1, "x": 2}]', {}, 422, "the key 'x' twice"),
        ('[{"x": 1' + "0" * 400 + "}]", {}, 422, "too large"),
        ("[[[1" + "0" * 400 + "]]]", {}, 422, "at most 1e308"),
        ("[[[1" + "0" * 5000 + "]]]", {}, 422, "thousands of digits"),
        ('[{"id": 1, "x": NaN, "y": 1, "still": 1}]', {}, 422, "1 empty cell"),
        ('[{"id": 1, "x": 1, "y": 1e400, "still": 1}]', {}, 422, "an infinite value"),
        ('[["a"], [1]]', {}, 422, "must hold numbers"),
        ("[" * 100_000, {}, 422, "nested too deeply"),
        ('[{"x": ' + "[" * 50_000, {}, 422, "nested too deeply"),
        ('["a"]', {"Content-Type": "application/json; charset=klingon"}, 415, "'klingon'"),
        ("[]", {"Content-Encoding": "gzip"}, 415, "without a Content-Encoding"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_json_that_is_no_data_is_refused_in_a_sentence(port, body, headers, status, sentence):
    answer = error_of(call(port, "/models/classify-numbers/predict", body, JSON | headers))
    assert answer[0] == status
    assert sentence in answer[1]


def test_a_body_is_read_in_the_charset_that_it_names(port):
    path, texts = "/models/translate/predict", '["größer"]'
    for charset in ("utf-8", "latin-1", "utf-16"):
        headers = {"Content-Type": f"application/json; charset={charset}"}
        assert "größer".encode() in call(port, path, texts.encode(charset), headers)[2]


def test_a_place_answers_head_as_get_without_a_body_and_names_its_methods(port):
    for path in ("/v2/health/live", "/metrics", "/models"):
        assert call(port, path, method="HEAD")[::2] == (200, b"")
    for method in ("GET", "OPTIONS", "PUT"):
        answer = call(port, "/models/tag/predict", method=method)
        assert (answer[0], answer[1]["Allow"]) == (405, "POST")
        assert "Use POST." in error_of(answer)[1]


# A client never makes the server read a file of its own, nor learns whether there is one.

NAMES = ("secret.wav", "secret.csv", "secret.txt", "secret.npy", "secret.npz", "secret.json")
NAMES += ("secret.zip", "secret.conllu", "seq.in", "secret.de", "nyc-taxi")
AUDIO, TEXT, CSV = ({"Content-Type": f"{kind}"} for kind in ("audio/wav", "text/plain", "text/csv"))


def write_secrets(folder, seed):
    """Files that every reader can read; their content depends on the seed."""
    draw = np.random.default_rng(seed)
    numbers = draw.normal(size=(30, 3))
    words = ["alpha beta gamma", "delta epsilon zeta"][seed]
    table = pl.DataFrame({"text": [words] * 30, "x": numbers[:, 0], "y": numbers[:, 1]})
    soundfile.write(folder / "secret.wav", draw.uniform(-1, 1, 4000), 8000)
    table.write_csv(folder / "secret.csv")
    np.save(folder / "secret.npy", numbers)
    np.savez(folder / "secret.npz", x=numbers[None])
    (folder / "secret.json").write_text(table.write_json())
    for name in ("secret.txt", "seq.in", "secret.de", "nyc-taxi"):
        (folder / name).write_text(f"{words}\n" * (seed + 1))
    row = f"1\t{words.split()[0]}\t_\tNOUN\t_\t_\t_\t_\t_\t_\n\n"
    (folder / "secret.conllu").write_text(row * (seed + 1))
    with zipfile.ZipFile(folder / "secret.zip", "w") as archive:
        archive.write(folder / "secret.wav", "secret.wav")
        archive.write(folder / "secret.csv", "secret.csv")


SPELLINGS = (  # the ways in which a client may write a path
    str,
    lambda path: f"file://{path}",
    lambda path: path.name,
    lambda path: f"./../{path.parent.name}/{path.name}",
    lambda path: f"../../../../../../..{path}",
    lambda path: f"~/../../../..{path}",
    lambda path: f"{path}\0",
    lambda path: f"{path}!secret.wav",
    lambda path: f"{path.parent}/*",
)


def requests(model, path):
    """Path, body and headers of the ways in which a request may name a file."""
    once = f"/models/{model}/predict"
    columns = ("path", "file", "sound", "audio", "text", "labels", "x", "id", "data.path")
    tables = [{column: [path] * 2 for column in columns}]
    tables += [{column: [path] * 2, "id": ["a", "b"]} for column in columns]
    tables += [[{"audio": {"path": path}}] * 2, {"tokens": [[path]]}, {"data": [{"file": path}]}]
    lists = [path, [path], [path] * 2, [[path]], [[[path]]], [path, 1], {"path": path}]
    lists += [[{"path": path, "labels": path}], {"data": {"path": path}}, [None, path]]
    for body in (*tables, *lists):
        yield once, json.dumps(body), JSON
    yield once, f"path,file,text,id\n{path},{path},{path},1\n", CSV
    yield once, f"{path}\n", TEXT
    yield once, f"{path}\n", {"Content-Type": "text/x-conllu"}
    disposition = {"Content-Disposition": f'attachment; filename="{quote(path, safe="/:.~!*")}"'}
    yield once, b"RIFF", AUDIO | disposition
    yield once, "x\n1\n", CSV | disposition | {"Content-Location": quote(path)}
    yield f"{once}?path={quote(path)}&data.path={quote(path)}", "[]", JSON
    yield f"/models/{quote(path, safe='')}/predict", "[]", JSON
    yield f"/models/../{quote(path)}/predict", "[]", JSON
    infer = f"/v2/models/{model}/infer"
    for tensor in ("path", "text", "file", "x"):
        given = {"name": tensor, "shape": [1], "datatype": "BYTES", "data": [path]}
        yield infer, json.dumps({"inputs": [given]}), JSON
        yield infer, json.dumps({"inputs": [given], "parameters": {"path": path}}), JSON
    shared = {"shared_memory_region": path, "shared_memory_byte_size": 4}
    given = {"name": "x", "shape": [1], "datatype": "FP32", "parameters": shared}
    yield infer, json.dumps({"inputs": [given]}), JSON
    yield f"/v2/models/{quote(path, safe='')}", None, {}
    yield f"/{quote(path)}", None, {}


def asked_of(run, folder):
    """Every form of a request once, with names and spellings that take turns."""
    places = [(name, k) for name in NAMES for k in range(len(SPELLINGS))]
    random.Random(run).shuffle(places)
    forms = len(list(requests(run, "")))
    for form, (name, k) in zip(range(forms), itertools.cycle(places), strict=False):
        yield list(requests(run, SPELLINGS[k](folder / name)))[form]


def differing(asked, folder, port):
    """The requests whose answers depend on the files in a folder, with these answers."""
    answers = []
    for seed in (None, 0, 1):  # no file, and then two contents of each
        for path in folder.iterdir():
            path.unlink()
        if seed is not None:
            write_secrets(folder, seed)
        answers.append([call(port, *request)[::2] for request in asked])
    return [one for one in zip(asked, *answers, strict=True) if not one[1] == one[2] == one[3]]


@pytest.mark.parametrize("run", RUNS)
def test_no_answer_depends_on_a_file_that_a_request_names(run, folder, port):
    assert not differing(list(asked_of(run, folder)), folder, port)


@pytest.mark.skipif(not SCHEMATHESIS.exists(), reason="schemathesis is installed by make check")
def test_schemathesis_finds_no_answer_that_the_schema_does_not_describe(port, tmp_path):
    options = ("--max-examples", "15", "--seed", "1")
    command = [SCHEMATHESIS, "run", f"http://127.0.0.1:{port}/openapi.json", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_mutated_requests_are_answered_and_never_disturb_another_client(port, caplog):
    requests = [one for run in RUNS for one in good(run, PLACE / run)]
    draw = random.Random(0)
    other = ("/models/classify-texts/predict", json.dumps(["news of rain"]), JSON)
    alone = call(port, *other)[2]
    for number in range(100):
        request = mutated(requests, draw)
        assert answer(port, request)[0] < 500, request
        if number % 10 == 0:
            assert call(port, *other)[2] == alone
    assert not caplog.records


def tensor(**changes):
    return {"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0], **changes}


HALF, NINES = "\ud800", int("9" * 4000)
HOSTILE = {
    "a length of 5,000 digits": ({"inputs": []}, {LENGTH: "0" * 5000 + "1"}),
    "a charset with a null character": ([], {"Content-Type": "application/json; charset=a\0b"}),
    "a shape whose product has 8,000 digits": (
        {"inputs": [tensor(shape=[NINES, NINES], parameters={"binary_data_size": 0})]},
        {},
    ),
    "an empty shape that NumPy cannot hold": (
        {"inputs": [tensor(shape=[0, 2**63], data=[])]},
        {},
    ),
    "half of a character as a name": ({"inputs": [tensor(name=HALF, shape=[2])]}, {}),
    "half of a character as an id": ({"id": HALF, "inputs": [tensor()]}, {}),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_no_library_below_can_hold_is_refused_in_a_sentence(kind, app):
    content, headers = HOSTILE[kind]
    body = json.dumps(content).encode()
    place = "/v2/models/classify-numbers/infer" if content else "/models/classify-numbers/predict"
    status, said = asked(app, "POST", place, body, AS_JSON | headers)
    assert status in (400, 415), said
    assert json.loads(said)["error"]


def test_truth_values_in_json_are_numbers(app):
    columns = [tensor(name=name, datatype="BOOL", data=[True]) for name in ("x", "y", "still")]
    columns.append(tensor(name="id", datatype="BYTES", data=["a"]))
    body = json.dumps({"inputs": columns}).encode()
    status, said = asked(app, "POST", "/v2/models/classify-numbers/infer", body, AS_JSON)
    assert status == 200, said


@pytest.mark.parametrize("ending", ["json", "x-ndjson"])
def test_objects_within_hundreds_of_others_are_refused(ending, app):
    deep = b'{"x":' + b'{"a":' * 300 + b"1" + b"}" * 301
    body = b"[" + deep + b"]" if ending == "json" else deep
    headers = {"Content-Type": f"application/{ending}"}
    status, said = asked(app, "POST", "/models/classify-numbers/predict", body, headers)
    assert (status, b"within more than 30 others" in said) == (422, True)


def test_the_application_answers_mutated_requests_and_messages_with_sentences(app, caplog):
    caplog.set_level(logging.WARNING, "gatewise")  # whatever level another test has set
    requests = [one for run in RUNS for one in good(run, PLACE / run)]
    draw = random.Random(1)
    for _ in range(300):
        request = mutated(requests, draw)
        assert asked(app, *request)[0] < 500, request
    for _ in range(60):
        run, said = draw.choice(RUNS), messages(draw)
        codes = [event.get("code") for event in talked(app, f"/models/{run}/stream", said)]
        assert 1011 not in codes, (run, said)
    assert not caplog.records
