"""Exports that are decoded outside the network write what the run writes, as their READMEs say."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from test_export import answers_of_tract, session
from tokenizers import Tokenizer

import gatewise
from gatewise.data.spectra import frames
from gatewise.data.vocabulary import UNKNOWN
from gatewise.exporting.c import FLAGS, found_compiler
from gatewise.tasks.translate.network import NETWORK
from gatewise.tasks.translate.task import shapes_of

RUNS = Path(__file__).parents[1] / "folders" / "format-1"
TO = pytest.mark.parametrize("to", ["onnx", "numpy"])


@pytest.fixture(scope="module")
def translator():
    return gatewise.load(RUNS / "translate" / "run")


@pytest.fixture(scope="module")
def transcriber():
    return gatewise.load(RUNS / "transcribe" / "run")


@pytest.fixture
def followed(monkeypatch):
    """Run the code in the README of an export; return its variables."""

    def run(folder, **given):
        code = (folder / "README.txt").read_text(encoding="utf-8").split("\n\n")[1]
        for name in given:  # in place of made-up data
            code = re.sub(rf"^{name} = .*$", "", code, flags=re.MULTILINE)
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(folder)
        for name in ("network", "search", "decoding"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        exec(code, given)
        return given

    return run


def test_tract_reads_the_encoder_of_a_padded_batch(translator, tmp_path):
    folder = gatewise.export(translator, to="onnx", output=tmp_path / "out").folder
    source = np.array([[5, 6, 7, 5], [6, 4, 0, 0]])
    (found,) = answers_of_tract(folder / "encoder.onnx", ["int64"], [[source]])
    wanted = session(folder / "encoder.onnx").run(None, {"source": source})
    for answer, other in zip(found, wanted, strict=True):
        assert answer == pytest.approx(other, abs=1e-5)


@TO
def test_encoder_step_and_search_translate_like_predict(to, translator, followed, tmp_path):
    folder = gatewise.export(translator, to=to, output=tmp_path / "out").folder
    facts = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    source, target = (
        Tokenizer.from_str(json.dumps(facts["tokenizers"][side])) for side in ("source", "target")
    )
    texts = pl.read_csv(RUNS / "translate" / "new.tsv", separator="\t").to_series(0).to_list()
    source.enable_padding(pad_id=0)
    tokens = [one.ids for one in source.encode_batch(texts, add_special_tokens=False)]
    found = followed(folder, source=np.array(tokens))["tokens"]
    wanted = gatewise.predict(translator, texts)["translation"].to_list()
    known = [k for k, one in enumerate(found) if UNKNOWN not in one]
    assert len(known) > 5
    assert [" ".join(map(target.id_to_token, found[k])) for k in known] == [
        wanted[k] for k in known
    ]


def test_the_program_in_the_readme_translates_greedily_in_c(translator, tmp_path):
    folder = gatewise.export(translator, to="c", output=tmp_path / "c").folder
    text = (folder / "README.txt").read_text(encoding="utf-8")
    (main,) = re.findall(r"    #include.*?\n    }\n", text, re.DOTALL)
    (folder / "main.c").write_text(main, encoding="utf-8")
    command = [found_compiler(), *FLAGS, "-O0", "-o"]  # -O3 takes longer
    files = ["main", "main.c", "encoder.c", "step.c", "-lm"]
    subprocess.run([*command, *files], cwd=folder, check=True)
    for name in ("encoder", "step"):
        tested = ["test", f"{name}.c", "-DGW_SELF_TEST", "-lm"]
        subprocess.run([*command, *tested], cwd=folder, check=True)
        assert subprocess.run([folder / "test"], capture_output=True).stdout.startswith(b"passed")
    facts = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    source, target = (
        Tokenizer.from_str(json.dumps(facts["tokenizers"][side])) for side in ("source", "target")
    )
    texts = pl.read_csv(RUNS / "translate" / "new.tsv", separator="\t").to_series(0).to_list()
    greedy = replace(translator, experiment=translator.experiment.having("task", beam_size=1))
    compared = 0
    for text, wanted in zip(texts, gatewise.predict(greedy, texts)["translation"], strict=True):
        tokens = " ".join(map(str, source.encode(text, add_special_tokens=False).ids))
        done = subprocess.run([folder / "main"], input=tokens, capture_output=True, text=True)
        found = [int(one) for one in done.stdout.split()]
        if UNKNOWN not in found:
            assert " ".join(map(target.id_to_token, found)) == wanted
            compared += 1
    assert compared > 5


@TO
def test_the_log_probabilities_of_frames_decode_to_the_transcripts_of_predict(
    to, transcriber, followed, tmp_path
):
    folder = gatewise.export(transcriber, to=to, output=tmp_path / "out").folder
    spectrum = transcriber.preparation.own.spectrum
    new = RUNS / "transcribe" / "new"
    heard = [
        frames(soundfile.read(file, dtype="int16")[0], spectrum) for file in sorted(new.iterdir())
    ]
    lengths = np.array([len(one) for one in heard])
    steps = np.full((len(heard), lengths.max(), spectrum.n_mels), 77.0, np.float32)
    for row, one in zip(steps, heard, strict=True):
        row[: len(one)] = one
    assert followed(folder, steps=steps, lengths=lengths)["texts"] == (
        gatewise.predict(transcriber, new)["transcript"].to_list()
    )


def test_a_network_with_input_feeding_and_shared_embeddings_is_exported(translator, tmp_path):
    experiment = translator.experiment.having("network", input_feeding=True, tied_embeddings=True)
    network = NETWORK.builders[""](shapes_of(translator.preparation.own), experiment.network)
    fed = replace(translator, network=NETWORK.inference_model(network), experiment=experiment)
    written = gatewise.export(fed, to="onnx", output=tmp_path / "out")
    assert written.difference < 1e-5
    assert sum("for 5 of 5 texts" in note for note in written.notes) == 2
    assert gatewise.export(fed, to="c", output=tmp_path / "c").difference < 1e-5
    rounded = gatewise.export(fed, to="c", weights="int8", output=tmp_path / "int8")
    assert rounded.difference < 1e-5
    [told] = [note for note in rounded.notes if "int8 weights change the answers" in note]
    assert float(re.search(r"by up to (\S+) ", told)[1]) > 100 * rounded.difference
