"""Serving: over HTTP, each client gets what `predict` prints for its own data, or a sentence."""

import http.client
import io
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import gatewise
from gatewise.errors import ConfigError
from gatewise.runs.artefact import as_csv
from gatewise.serving import Limits
from gatewise.serving.app import written
from gatewise.serving.models import Answer, loaded
from gatewise.serving.server import Server

JSON, CSV = {"Content-Type": "application/json"}, {"Content-Type": "text/csv"}


@contextmanager
def serving(*runs, **options):
    """The port of a server that answers in a thread."""
    with Server([str(run) for run in runs], port=0, **options) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server.port
        finally:
            server.stop()
            thread.join()


@pytest.fixture(scope="module")
def port(forecast_run, classify_run):
    with serving(classify_run, f"load={forecast_run}", limits=Limits(max_wait=20)) as port:
        yield port


def call(port, path, body=None, headers=None, method=None):
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method or ("POST" if body is not None else "GET"), path, body, headers or {})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.headers, content


def error_of(answer):
    return answer[0], json.loads(answer[2])["error"]


def walks(count, seed=0):
    """Rows of a few sequences, with ids of their own."""
    draw = np.random.default_rng(seed)
    return [
        {"id": f"{seed}/{k}", "x": draw.normal(), "y": draw.normal()}
        for k in range(count)
        for _ in range(draw.integers(4, 10))
    ]


def test_the_answer_is_the_table_of_predict_in_json_and_in_csv(port, classify_run):
    table = pl.DataFrame(walks(3))
    expected = gatewise.predict(classify_run, table)
    as_records = call(port, "/models/classify/predict", table.write_json(), JSON)[2]
    assert_frame_equal(pl.DataFrame(json.loads(as_records)), expected, rel_tol=1e-5)
    accepted = CSV | {"Accept": "text/csv"}
    status, headers, written = call(port, "/models/classify/predict", table.write_csv(), accepted)
    assert (status, headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert_frame_equal(pl.read_csv(io.BytesIO(written)), expected, rel_tol=1e-5)


def test_forecasts_come_with_their_times(port, forecast_run, series_file):
    accepted = CSV | {"Accept": "text/csv"}
    written = call(port, "/models/load/predict", series_file.read_bytes(), accepted)[2]
    assert (
        written.decode().splitlines()[0]
        == as_csv(gatewise.predict(forecast_run, series_file)).splitlines()[0]
    )
    assert b"2023-06-01" in written


def test_clients_get_their_own_answers_when_they_share_a_batch(classify_run):
    requests = {seed: walks(1 + seed % 4, seed) for seed in range(60)}
    every = [row for rows in requests.values() for row in rows]
    table = gatewise.predict(classify_run, pl.DataFrame(every))
    alone = {seed: table.filter(pl.col("id").str.starts_with(f"{seed}/")) for seed in requests}
    broken = json.dumps([{"x": "a", "y": 1.0}, {"x": 2, "y": 3}])

    def ask(port, seed):
        if seed is None:
            return call(port, "/predict", broken, JSON)[0]
        content = call(port, "/predict", json.dumps(requests[seed]), JSON)[2]
        assert_frame_equal(pl.DataFrame(json.loads(content)), alone[seed], rel_tol=1e-4)
        return 200

    order = [*requests, *[None] * 10]
    random.Random(0).shuffle(order)
    # The wait is long, because a busy machine may read one request in 20 ms.
    with serving(classify_run, limits=Limits(max_wait=500)) as port, ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda seed: ask(port, seed), order))
        shared = call(port, "/metrics")[2].decode()
    assert statuses.count(422) == 10
    runs = 'gatewise_batch_requests_bucket{model="classify",le="1"}'
    whole = 'gatewise_batch_requests_count{model="classify"}'
    numbers = dict(line.rsplit(" ", 1) for line in shared.splitlines() if line[0] != "#")
    assert int(numbers[runs]) < int(numbers[whole]), "no two requests shared a batch"


def test_arrays_of_many_clients_are_read_together_and_answered_as_if_alone(
    classify_settings, tmp_path
):
    draw = np.random.default_rng(0)
    known = [draw.normal(size=(one, 2)) + one % 2 for one in draw.integers(4, 10, size=40)]
    labels = [f"{len(one) % 2}" for one in known]
    run = tmp_path / "run"
    gatewise.train((known, labels), settings=classify_settings, output=run)
    asked = [
        [draw.normal(size=(one, 2)).round(3).tolist() for one in draw.integers(1, 9, 1 + k % 3)]
        for k in range(20)
    ]
    asked += [[[[1.0, 2.0]], [[1.0]]], [[[1.0, 2.0, 3.0]]], [[[1.0, None]]]]  # not read together
    draw.shuffle(asked)
    with serving(run, limits=Limits(max_wait=50)) as port, ThreadPoolExecutor(12) as pool:
        bodies = map(json.dumps, asked)
        answers = list(pool.map(lambda body: call(port, "/predict", body, JSON), bodies))
        batches = call(port, "/metrics")[2].decode()
    for given, answer in zip(asked, answers, strict=True):
        arrays = [np.array(one, float) for one in given]
        if answer[0] == 200:
            expected = gatewise.predict(run, arrays)
            found = pl.DataFrame(json.loads(answer[2]), schema=expected.schema)
            assert_frame_equal(found, expected, rel_tol=1e-4)
    assert [answer[0] for answer in answers].count(422) == 2
    assert int(re.search(r'batch_requests_bucket{model="run",le="1"} (\d+)', batches)[1]) < 20


@pytest.mark.parametrize(
    ("body", "headers", "status", "sentence"),
    [
        ("[{]", JSON, 422, "request.json is not JSON"),
        ("[" * 100_000, JSON, 422, "request.json is not JSON"),
        ("", JSON, 400, "no body"),
        ('[{"id": 1, "x": 1}]', JSON, 422, "request.json has no column 'y'"),
        ("id,x,y\n1,1,b\n1,2,3\n", CSV, 422, "column 'y' must hold numbers, but row 2"),
        ("id,x,y\n1,1,NaN\n1,2,3\n", CSV, 422, "column 'y' has 1 empty cell"),
        ("x,y\n", CSV, 422, "request.csv holds column names but no rows"),
        ("x,y\n1,2", {"Content-Type": "text/html"}, 415, "content type must be one of"),
        ("x,y\n1,2", CSV | {"Accept": "image/png"}, 406, "application/json, text/csv"),
        ("x" * 2_000_001, CSV, 413, "--max-body"),
        ("id,x,y\n" + "1,1,2\n" * 1001, CSV, 413, "--max-steps"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_bad_request_gets_the_sentence_of_the_shell(
    port_of_limits, body, headers, status, sentence
):
    answer = error_of(call(port_of_limits, "/predict", body, headers))
    assert answer[0] == status
    assert sentence in answer[1]


def test_notes_too_long_for_a_header_are_left_out_whole():
    notes = [f"{k} cells “n/a” were read as missing values." for k in range(100)]
    answer = Answer(pl.DataFrame({"load": [1.0]}), tuple(notes))
    header = written(answer, "text/csv", "").headers["gatewise-notes"]
    *kept, last = json.loads(header)
    assert len(header) <= 2000
    assert kept == notes[: len(kept)]
    assert len(kept) > 10
    assert last == "The other notes are too long for a header."
    few = written(Answer(answer.table, tuple(notes[:3])), "text/csv", "")
    assert json.loads(few.headers["gatewise-notes"]) == notes[:3]


@pytest.fixture(scope="module")
def port_of_limits(classify_run):
    with serving(classify_run, limits=Limits(max_body=2, max_steps=1000)) as port:
        yield port


def test_an_unknown_model_is_404_and_names_the_known_ones(port):
    status, sentence = error_of(call(port, "/models/x/predict", "[]", JSON))
    assert status == 404
    assert "There are: classify, load" in sentence
    assert error_of(call(port, "/predict", "[]", JSON))[0] == 404
    assert error_of(call(port, "/models/x/predict"))[0] == 405


def test_only_the_token_opens_the_server(classify_run):
    with serving(classify_run, token="key") as port:
        body = json.dumps(walks(1))
        for given in ({}, {"Authorization": "Bearer kez"}, {"Authorization": "key"}):
            assert call(port, "/predict", body, JSON | given)[0] == 401
        assert call(port, "/predict", body, JSON | {"Authorization": "Bearer key"})[0] == 200
        assert call(port, "/metrics")[0] == 401
        assert call(port, "/models/classify/report")[0] == 401
        assert call(port, "/v2/health/ready")[0] == call(port, "/")[0] == 200


def test_a_page_with_a_form_and_the_report_are_served(port, classify_run):
    status, headers, page = call(port, "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"width=device-width" in page
    assert b"src=" not in page  # it loads nothing
    report = call(port, "/models/classify/report")[2]
    assert report == (classify_run / "report.html").read_bytes()
    assert error_of(call(port, "/models/x/report"))[0] == 404


def test_tensors_of_the_inference_protocol_are_columns(port, classify_run):
    path = "/v2/models/classify/infer"
    rows = pl.DataFrame(walks(2))
    columns = [
        {"name": name, "shape": [len(rows)], "datatype": kind, "data": rows[name].to_list()}
        for name, kind in (("id", "BYTES"), ("x", "FP64"), ("y", "FP64"))
    ]
    request = {"id": "7", "inputs": columns}
    answer = json.loads(call(port, path, json.dumps(request), JSON)[2])
    assert answer["id"] == "7"
    outputs = {one["name"]: one["data"] for one in answer["outputs"]}
    assert_frame_equal(pl.DataFrame(outputs), gatewise.predict(classify_run, rows), rel_tol=1e-5)
    inputs = json.loads(call(port, "/v2/models/classify")[2])["inputs"]
    assert {one["name"] for one in inputs} == {"id", "x", "y"}


@pytest.mark.parametrize(
    "request_body",
    [
        {},
        {"inputs": []},
        {"inputs": [1]},
        {"inputs": [{"name": "x", "shape": [-1], "datatype": "FP64", "data": []}]},
        {"inputs": [{"name": "x", "shape": [2], "datatype": "FP99", "data": [1, 2]}]},
        {"inputs": [{"name": "x", "shape": [2], "datatype": [[]], "data": [1, 2]}]},
        {"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, [2]]}]},
        {"inputs": [{"name": "x", "shape": [3], "datatype": "INT8", "data": [1, 2]}]},
        {"inputs": [{"name": "x", "shape": [2], "datatype": "INT8", "data": [1, 400]}]},
        {"inputs": [{"name": "x", "shape": [2], "datatype": "INT64", "data": [1, 0.5]}]},
        {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": [None]}]},
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": [1],
                    "datatype": "FP64",
                    "parameters": {"binary_data_size": 8},
                }
            ]
        },
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_a_bad_tensor_is_refused(port, request_body):
    answer = call(port, "/v2/models/classify/infer", json.dumps(request_body), JSON)
    assert error_of(answer)[0] == 400


def test_a_folder_whose_name_holds_an_equals_sign_is_a_run(classify_run, tmp_path):
    (tmp_path / "lr=0.01").symlink_to(classify_run)
    assert set(loaded([tmp_path / "lr=0.01"])) == {classify_run.resolve().name}
    assert set(loaded([f"a={tmp_path}/lr=0.01"])) == {"a"}


def test_limits_and_names_that_make_no_sense_are_refused(classify_run):
    with pytest.raises(ConfigError, match="max_batch must be a number from 1"):
        Limits(max_batch=0)
    with pytest.raises(ConfigError, match="every machine of the network could"):
        Server([classify_run], port=0, host="0.0.0.0")
    with pytest.raises(ConfigError, match="Two runs are named 'classify'"):
        Server([classify_run, classify_run], port=0)
    with (
        Server([classify_run], port=0) as first,
        pytest.raises(ConfigError, match="Address already in use. Choose another"),
    ):
        Server([classify_run], port=first.port)


def test_sigterm_answers_what_was_accepted_and_exits_0(classify_run):
    command = [sys.executable, "-m", "gatewise", "serve", str(classify_run), "--port", "0"]
    command += ["--max-wait", "600000"]  # the requests still wait when the signal comes
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        welcome = server.stdout.readline()
        port = int(welcome.split("127.0.0.1:")[1].split(".")[0])
        assert "Only this machine can reach it" in welcome
        body = json.dumps(walks(2))
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(call, port, "/predict", body, JSON) for _ in range(8)]
            pending = b""
            while b"gatewise_pending_requests 8" not in pending:
                pending = call(port, "/metrics")[2]
                time.sleep(0.01)
            server.send_signal(signal.SIGTERM)
            answers = [one.result() for one in asked]
            assert [one[0] for one in answers] == [200] * 8
            assert {one[1]["connection"] for one in answers} == {"close"}
        assert server.wait(60) == 0
    with pytest.raises(ConnectionRefusedError):
        call(port, "/v2/health/live")
