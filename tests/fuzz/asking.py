"""Requests to the server that are almost right: a seed draws a mutation of a good request.

    python tests/fuzz/asking.py PORT SECONDS SEED FOLDER ...

sends them to a server of the runs in these folders, and prints each answer that blames the server.
"""

import copy
import http.client
import json
import random
import sys
import time
from functools import reduce
from pathlib import Path

import numpy as np

from gatewise.serving.inference import TYPES

JSON = "application/json"
AS_JSON = {"Content-Type": JSON}
KINDS = {".csv": "text/csv", ".tsv": "text/tab-separated-values", ".txt": "text/plain"}
KINDS |= {".flac": "audio/flac", ".conll": "text/x-conllu"}
ODD = (None, True, 0, -1, 0.5, 1e308, -1e-320, 2**63, -(2**64), 10**400, float("nan"))
ODD += (float("inf"), "", " ", "\0", "\ud800", "é" * 500, "NA", "nan", "1e400", "2024-02-30")
ODD += ("1", "x" * 5000, [], {}, [[]], [None], {"a": {"b": []}}, "../../etc/passwd", "x.wav")
ODD += (10**4000, 2**31, [0, 2**63], [2**40, 2**40, 2**40], [1, 0, 3], "a\udfffb", *TYPES)
ODD += (reduce(lambda inner, _: [inner], range(200), 1),)
ODD += (reduce(lambda inner, _: {"a": inner}, range(300), 1),)
LENGTH = "Inference-Header-Content-Length"
HEADERS = {
    "Content-Type": (
        *KINDS.values(),
        JSON,
        "audio/wav",
        "text/html",
        "x",
        "",
        ";",
        "a/b;charset=",
        f"{JSON};charset=\0",
    ),
    "Accept": ("text/csv", "text/plain", "*/*", "image/png", "", ",,;", "text/*;q=0"),
    "Content-Disposition": ("attachment; filename=a.wav", 'x; filename="../a"', "é", "filename="),
    LENGTH: ("0", "-1", "1e3", "9" * 20, "0" * 5000 + "1", "10", ""),
    "Content-Encoding": ("gzip", "identity", ""),
    "Expect": ("100-continue",),
}
METHODS = ("GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "PROPFIND")


def good(name, folder):
    """Path, body and headers of good requests to the run of a folder of format 1."""
    (data,) = (path for path in folder.iterdir() if path.stem == "new")
    data = min(data.iterdir()) if data.is_dir() else data
    once, infer = f"/models/{name}/predict", f"/v2/models/{name}/infer"
    yield once, data.read_bytes()[:4000], {"Content-Type": KINDS[data.suffix]}
    if data.suffix in (".csv", ".tsv"):
        separator = "," if data.suffix == ".csv" else "\t"
        head, *rows = (line.split(separator) for line in data.read_text().splitlines()[:12])
        records = [dict(zip(head, map(plain, row), strict=True)) for row in rows]
        columns = {key: [one[key] for one in records] for key in head}
        yield once, records, AS_JSON
        yield once, columns, AS_JSON
        tensors = [
            {
                "name": key,
                "shape": [len(cells)],
                "datatype": "BYTES" if isinstance(cells[0], str) else "FP64",
                "data": cells,
            }
            for key, cells in columns.items()
        ]
        yield infer, {"id": "1", "inputs": tensors, "outputs": [{"name": "id"}]}, AS_JSON
    yield once, ["one text", "and two"], AS_JSON
    yield once, [["two", "tokens"], ["three"]], AS_JSON
    yield once, [[[0.5, 1.0, 1.0], [1.0, 0.0, 1.0]]], AS_JSON
    yield infer, {"inputs": [tensor_of([0.5, 1, 1, 2, 3, 4], [1, 2, 3])]}, AS_JSON
    for datatype, kind in TYPES.items():
        values = np.array([[[0, 1, 1], [1, 0, 1]]]).astype(kind)
        tensor = {"name": "x", "shape": [1, 2, 3], "datatype": datatype}
        yield infer, {"inputs": [tensor | {"data": values.tolist()}]}, AS_JSON
        packed = {"parameters": {"binary_data_size": values.nbytes}}
        head = json.dumps({"inputs": [tensor | packed]}).encode()
        yield infer, head + values.tobytes(), AS_JSON | {LENGTH: str(len(head))}
    parameters = {"sequence_id": 1, "sequence_start": True, "sequence_end": True}
    yield infer, {"inputs": [tensor_of([0.5, 1], [1, 1, 2])], "parameters": parameters}, AS_JSON
    text = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a b", "c"]}
    yield infer, {"inputs": [text], "parameters": {"binary_data_output": True}}, AS_JSON


def tensor_of(numbers, shape):
    """A tensor of numbers."""
    return {"name": "x", "shape": shape, "datatype": "FP32", "data": numbers}


def plain(cell):
    """A cell of a file as a number, if it is one."""
    try:
        return float(cell)
    except ValueError:
        return cell


def mutated(requests, draw):
    """Method, path, body and headers of one of these requests after a few random changes."""
    path, body, headers = copy.deepcopy(draw.choice(requests))
    method = "POST"
    if not isinstance(body, bytes):
        for _ in range(draw.randrange(3)):
            body = _changed(body, draw)
        body = json.dumps(body).encode()
        if draw.random() < 0.1:
            body = body.replace(b'", "', b'", "x": 1, "', 1)
    if draw.random() < 0.4:
        body = _cut(body, draw)
    if draw.random() < 0.3:
        name = draw.choice(tuple(HEADERS))
        headers[name] = draw.choice(HEADERS[name]).encode()
    if draw.random() < 0.05:
        path = draw.choice(("/", "/predict", f"{path}/", "/v2", f"{path}?x=%00", "/%ff", "/models"))
    if draw.random() < 0.05:
        method = draw.choice(METHODS)
    return method, path, body, headers


def messages(draw):
    """Messages on a WebSocket that are almost right: rows, texts, tokens or samples."""
    rows = [
        {"x": 0.5, "y": 1},
        [{"x": 0.5, "y": 1}] * 2,
        [[0.5, 1, 2]],
        {"text": "a b"},
        ["a", "b"],
    ]
    rows += [{"samples": [0, 1]}, {"day": "2024-01-01", "load": 1.5}, "finish", bytes(64)]
    said = []
    for _ in range(draw.randrange(1, 5)):
        message = copy.deepcopy(draw.choice(rows))
        if not isinstance(message, bytes):
            message = json.dumps(_changed(message, draw) if draw.random() < 0.7 else message)
            if draw.random() < 0.2:
                message = _cut(message.encode(), draw).decode("utf-8", "replace")
        said.append(message)
    return said


def _changed(tree, draw):
    """A JSON tree with one change at a random place."""
    if isinstance(tree, dict | list) and tree and draw.random() < 0.85:
        keys = list(tree) if isinstance(tree, dict) else range(len(tree))
        key = draw.choice(keys)
        change = draw.random()
        if change < 0.1:
            del tree[key]
        elif change < 0.15 and isinstance(tree, dict):
            tree[draw.choice(("", "x", "\0", "id", "path", key * 2))] = tree.pop(key)
        elif change < 0.2 and isinstance(tree, list):
            tree.extend(copy.deepcopy(tree))
        else:
            tree[key] = _changed(tree[key], draw)
        return tree
    return copy.deepcopy(draw.choice(ODD))


def _cut(body, draw):
    """Bytes with a part removed, repeated, replaced or inserted."""
    if not body:
        return b"\0"
    begin = draw.randrange(len(body))
    end = min(len(body), begin + draw.choice((1, 2, 8, 200)))
    new = draw.choice((b"", body[begin:end] * 2, draw.randbytes(end - begin), b",", b'"', b"\n"))
    return body[:begin] + new + body[end:]


def answer(port, request):
    """Status and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(*request[:3], request[3])
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def main():
    port, seconds, seed, *folders = sys.argv[1:]
    requests = [one for name in folders for one in good(Path(name).name, Path(name))]
    draw, until = random.Random(int(seed)), time.time() + float(seconds)
    counts, slow = {}, 0.0
    while time.time() < until:
        request = mutated(requests, draw)
        began = time.time()
        try:
            status, content = answer(int(port), request)
        except (OSError, http.client.HTTPException) as error:
            status, content = repr(error), b""
        slow = max(slow, time.time() - began)
        counts[status] = counts.get(status, 0) + 1
        if status not in range(100, 500) or b"Traceback" in content:
            sent = [str(part)[:500] for part in request]
            sys.stdout.write(f"{status} {sent} {content[:300]!r}\n")
    total = sum(counts.values())
    sys.stdout.write(f"{total} requests {counts}, the slowest {slow:.1f} s\n")


if __name__ == "__main__":
    main()
