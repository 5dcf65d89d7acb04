"""A client of the server never makes it read a file of its own, nor learns whether there is one."""

import itertools
import json
import random
import zipfile
from pathlib import Path
from urllib.parse import quote

import numpy as np
import polars as pl
import pytest
import soundfile
from test_serving import JSON, call, serving

from gatewise.readers.sources import FOLDER

RUNS = Path(__file__).parent / "folders" / "format-1"  # of every task but regress
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


def requests(path):
    """Path, body and headers of the ways in which a request may name a file."""
    once = "/models/m/predict"
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
    infer = "/v2/models/m/infer"
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
    forms = len(list(requests("")))
    for form, (name, k) in zip(range(forms), itertools.cycle(places), strict=False):
        yield list(requests(SPELLINGS[k](folder / name)))[form]


def differing(asked, folder, port):
    """The requests whose answers depend on the files in a folder, with these answers."""
    answers = []
    for seed in (None, 0, 1):  # no file, and then two contents of each
        if seed is not None:
            write_secrets(folder, seed)
        answers.append([call(port, *request)[::2] for request in asked])
    return [one for one in zip(asked, *answers, strict=True) if not one[1] == one[2] == one[3]]


@pytest.mark.parametrize("run", sorted(path.name for path in RUNS.iterdir()))
def test_no_answer_depends_on_a_file_that_a_request_names(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with serving(f"m={RUNS / run / 'run'}") as port:
        assert not differing(list(asked_of(run, tmp_path)), tmp_path, port)
