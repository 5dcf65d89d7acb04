"""Streaming over HTTP over HTTP: each gets the answers of its own stream, and none another's."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from test_serving import JSON, call, error_of, serving
from test_without_keras import saved_again
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import gatewise
from gatewise.serving import Limits

CLOSE = {"rel_tol": 1e-4, "abs_tol": 1e-5}
BIG = {"x": 1.0, "y": 0.0}


@pytest.fixture(scope="module")
def port(classify_run, forecast_run):
    limits = Limits(max_sessions=20)
    with serving(classify_run, f"load={forecast_run}", limits=limits) as port:
        yield port


def steps(seed, count=6):
    draw = np.random.default_rng(seed)
    return [{"x": float(x), "y": float(y)} for x, y in draw.normal(size=(count, 2))]


def alone(run, rows):
    """The answers of a stream of its own."""
    stream = gatewise.Stream(run)
    stream.push(rows)
    return pl.DataFrame(stream.read())


def talk(port, messages, model="classify", **options):
    """The answers to the messages on one WebSocket."""
    address = f"ws://127.0.0.1:{port}/models/{model}/stream"
    with connect(address, **options) as socket:
        answers = []
        for message in messages:
            socket.send(json.dumps(message))
            answers.append(json.loads(socket.recv()))
        return answers


def ask(port, rows, name, *, start=False, end=False):
    """The answer to rows of a sequence in the protocol."""
    tensors = [
        {"name": key, "shape": [len(rows)], "datatype": "FP64", "data": [one[key] for one in rows]}
        for key in rows[0]
    ]
    parameters = {"sequence_id": name, "sequence_start": start, "sequence_end": end}
    body = json.dumps({"inputs": tensors, "parameters": parameters})
    return call(port, "/v2/models/classify/infer", body, JSON)


def table_of(answer):
    outputs = json.loads(answer[2])["outputs"]
    return pl.DataFrame({one["name"]: one["data"] for one in outputs})


def test_sockets_at_the_same_time_get_the_answers_of_their_own_streams(port, classify_run):
    def one(seed):
        rows = steps(seed, 4 + seed % 5)
        found = talk(port, [rows[0], rows[1:3], [list(row.values()) for row in rows[3:]]])
        flat = pl.DataFrame([record for answer in found for record in answer])
        assert_frame_equal(flat, alone(classify_run, rows), **CLOSE)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(16)))


def test_a_sequence_of_the_protocol_goes_on_and_ends(port, classify_run):
    rows, others = steps(1), steps(2)
    first = table_of(ask(port, rows[:2], 7, start=True))
    assert ask(port, others[:3], "7", start=True)[0] == 200  # a text is another id than a number
    second = table_of(ask(port, rows[2:], 7, end=True))
    assert_frame_equal(pl.concat([first, second]), alone(classify_run, rows), **CLOSE)
    other = table_of(ask(port, others[3:], "7", end=True))
    assert_frame_equal(other, alone(classify_run, others)[3:], **CLOSE)
    status, sentence = error_of(ask(port, rows, 7))
    assert (status, sentence[:27]) == (404, "There is no sequence 7. It ")


def test_an_id_that_is_open_cannot_be_started_by_another_client(port):
    assert ask(port, steps(1), "a", start=True)[0] == 200
    status, sentence = error_of(ask(port, steps(2), "a", start=True))
    assert (status, "choose another id" in sentence) == (409, True)
    assert ask(port, steps(1), "a", end=True)[0] == 200
    with ThreadPoolExecutor(8) as pool:
        started = pool.map(lambda k: ask(port, steps(k), "b", start=True)[0], range(8))
        assert sorted(started) == [200] + [409] * 7
    assert ask(port, [{"sequence_id": 1, **one} for one in steps(1)], 1)[0] == 404
    column = {"name": "sequence_id", "shape": [1], "datatype": "FP64", "data": [1]}
    name = {"name": "id", "shape": [1], "datatype": "BYTES", "data": ["a"]}
    tensors = [name, column, {**column, "name": "x"}, {**column, "name": "y"}]
    body = json.dumps({"inputs": tensors})
    assert call(port, "/v2/models/classify/infer", body, JSON)[0] == 200


def test_bad_steps_change_nothing(port, classify_run):
    rows = steps(3)
    bad = [{"x": 1}, "no", 3, None, [], [[1, 2, 3]], {"x": "a", "y": 1}, [BIG] * 1001, True]
    answers = talk(port, [rows[:2], *bad, rows[2:]])
    assert all("error" in answer for answer in answers[1:-1])
    found = pl.DataFrame([*answers[0], *answers[-1]])
    assert_frame_equal(found, alone(classify_run, rows), **CLOSE)
    for wrong in (True, None, "", [1], "x" * 200):
        assert ask(port, rows, wrong, start=True)[0] == 400


def test_sessions_are_limited_expire_and_need_the_token(classify_run):
    limits = Limits(max_sessions=1, session_idle=1)
    with serving(classify_run, limits=limits, token="key") as port:
        address, headers = f"ws://127.0.0.1:{port}/models/classify/stream", {}
        with pytest.raises(InvalidStatus, match="401"):
            connect(address)
        headers = {"Authorization": "Bearer key"}
        with pytest.raises(InvalidStatus, match="403"):
            connect(address, additional_headers=headers, origin="http://elsewhere.org")
        with pytest.raises(InvalidStatus, match="404"):
            connect(address.replace("classify", "x"), additional_headers=headers)
        with connect(address, additional_headers=headers) as socket:
            with pytest.raises(InvalidStatus, match="503"):
                connect(address, additional_headers=headers)
            with pytest.raises(ConnectionClosed, match="No step came for long"):
                socket.recv()
        assert talk(port, [BIG, "finish"], additional_headers=headers)[1] == []


def test_a_forecast_is_streamed_and_a_run_that_cannot_be_says_so(port, series_file):
    rows = pl.read_csv(series_file)[:9].to_dicts()
    *early, answer = talk(port, rows, model="load")
    assert [len(one) for one in early] == [0] * 7 + [4]
    assert [one["step"] for one in answer] == [9] * 4


def test_texts_and_recordings_are_streamed_too(tmp_path):
    names = ("classify-texts", "classify-sound", "tag")
    for name in names:
        saved_again(name, tmp_path / name)
    text, samples = "rain and wind on the road ", np.arange(-1600, 1600, dtype="<i2")
    with serving(*(tmp_path / name for name in names)) as port:
        parts = [{"text": text[:9]}, [text[9:15], {"text": text[15:]}], {"text": 1}, "finish"]
        *found, wrong, last = talk(port, parts, model=names[0])
        wanted = gatewise.Stream(tmp_path / names[0])
        wanted.push(text)
        assert_frame_equal(
            pl.DataFrame([*found[0], *found[1], *last]), pl.DataFrame(wanted.finish()), **CLOSE
        )
        assert "A text is a str" in wrong["error"]
        wanted = gatewise.Stream(tmp_path / names[1])
        wanted.push(samples)
        with connect(f"ws://127.0.0.1:{port}/models/{names[1]}/stream") as socket:
            socket.send(samples[:1500].tobytes())
            found = json.loads(socket.recv())
            socket.send(json.dumps({"samples": samples[1500:].tolist()}))
            found += json.loads(socket.recv())
            assert_frame_equal(pl.DataFrame(found), pl.DataFrame(wanted.read()), **CLOSE)
            for long in (bytes(400_000), json.dumps([0] * 160_001).encode()):
                socket.send(long)
                assert "160,000 samples" in json.loads(socket.recv())["error"]
        with pytest.raises(InvalidStatus):  # it reads backwards
            talk(port, [{"token": "x"}], model=names[2])
        tensor = {"name": "samples", "shape": [3200], "datatype": "INT16", "data": samples.tolist()}
        body = {"inputs": [tensor], "parameters": {"sequence_id": 1, "sequence_start": True}}
        answer = call(port, f"/v2/models/{names[1]}/infer", json.dumps(body), JSON)
        assert_frame_equal(table_of(answer), pl.DataFrame(found), **CLOSE)


def test_a_time_of_one_stream_does_not_decide_how_those_of_others_are_read(port, series_file):
    rows = pl.read_csv(series_file)[:1].to_dicts()
    for wrong in (0, 0.5, None, [], {"a": 1}, 10**400, "2024-01-01T00:00Z", "x"):
        (said,) = talk(port, [rows[0] | {"day": wrong}], model="load")
        assert said == [] or "cannot be read" in said["error"]
        assert talk(port, rows, model="load") == [[]]
