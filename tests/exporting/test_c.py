"""C exports answer as the run does, compile without warnings, and stay within their memory."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import keras
import numpy as np
import polars as pl
import pytest

import gatewise
from gatewise.data.batches import PADDING, Shapes
from gatewise.errors import ConfigError
from gatewise.exporting.c import FLAGS, found_compiler
from gatewise.exporting.quantising import int8
from gatewise.networks.stack import stack
from gatewise.settings import NetworkSettings


@pytest.fixture(scope="module")
def folder(classify_run, tmp_path_factory):
    output = tmp_path_factory.mktemp("c") / "walks"
    return gatewise.export(classify_run, to="c", output=output).folder


SANITIZED = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compiled(folder, *options, sources=("network.c",)):
    command = [found_compiler(), *FLAGS, *options, *sources, "-lm", "-o", "program"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "program"


def program_of(folder, *options):
    """The program in the README of an export."""
    readme = (folder / "README.txt").read_text()
    block = re.search(r"^    #include.*?^    }$", readme, re.DOTALL | re.MULTILINE)[0]
    (folder / "main.c").write_text(re.sub("^    ", "", block, flags=re.MULTILINE) + "\n")
    return compiled(folder, *options, sources=("main.c", "network.c"))


def test_the_program_in_the_readme_answers_like_predict(folder, classify_run, sequences_file):
    program = program_of(folder)
    table = gatewise.predict(classify_run, sequences_file)
    groups = pl.read_csv(sequences_file).group_by("id", maintain_order=True)
    for (name,), steps in list(groups)[:3]:
        given = " ".join(map(str, steps.select("x", "y").to_numpy().ravel()))
        answer = subprocess.run([program], input=given, capture_output=True, text=True, check=True)
        wanted = table.filter(pl.col("id") == name).select(pl.selectors.starts_with("p("))
        assert list(map(float, answer.stdout.split())) == pytest.approx(wanted.row(0), abs=1e-5)


@pytest.mark.parametrize("task", ["classify", "forecast"])
def test_the_self_test_passes_under_sanitizers(task, folder, forecast_run, tmp_path):
    if task == "forecast":
        folder = gatewise.export(forecast_run, to="c", output=tmp_path / "c").folder
    done = subprocess.run([compiled(folder, "-DGW_SELF_TEST", *SANITIZED)], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"passed")


def test_words_with_their_characters_are_tagged_as_by_predict(tmp_path):
    run = Path(__file__).parents[1] / "folders" / "format-1" / "tag" / "run"
    folder = gatewise.export(run, to="c", output=tmp_path / "c").folder
    facts = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    words, letters = (
        {text: place + 2 for place, text in enumerate(facts[name])}
        for name in ("words", "characters")
    )
    sentence = [*facts["words"][:3], "xyz"]  # the last one is unknown
    wide = next(one["shape"][2] for one in facts["inputs"] if one["name"] == "characters")
    spelled = [[letters.get(letter, 1) for letter in word] for word in sentence]
    rows = [places + [0] * (wide - len(places)) for places in spelled]
    given = [len(sentence), *(words.get(word, 1) for word in sentence), *sum(rows, [])]
    answer = subprocess.run(
        [program_of(folder, *SANITIZED)],
        input=" ".join(map(str, given)),
        capture_output=True,
        text=True,
        check=True,
    )
    found = np.reshape([float(one) for one in answer.stdout.split()], (len(sentence), -1))
    table = gatewise.predict(run, [" ".join(sentence)])
    assert [facts["classes"][k] for k in found.argmax(axis=1)] == table["tag"].to_list()
    assert found.max(axis=1) == pytest.approx(table["probability"].to_numpy(), abs=1e-5)


# A compiler, and what runs its programs. CONTRIBUTING.md names the packages.
ELSEWHERE = {
    "clang": (("clang", *SANITIZED), ()),
    "aarch64": (("aarch64-linux-gnu-gcc",), ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")),
    "armhf": (("arm-linux-gnueabihf-gcc",), ("qemu-arm", "-L", "/usr/arm-linux-gnueabihf")),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_self_test_passes_on_other_compilers_and_processors(name, folder, tmp_path):
    compiler, runner = ELSEWHERE[name]
    for program in (compiler[0], *runner[:1]):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    command = [*compiler, *FLAGS, "-DGW_SELF_TEST", "network.c", "-lm", "-o", tmp_path / "test"]
    subprocess.run(command, cwd=folder, check=True)
    done = subprocess.run([*runner, tmp_path / "test"], capture_output=True)
    assert done.returncode == 0 and done.stdout.startswith(b"passed"), done.stderr


@pytest.mark.parametrize("task", ["forecast", "transcribe"])
def test_groups_of_a_forecast_and_frames_of_a_recording_pass_the_self_test(task, tmp_path):
    run = Path(__file__).parents[1] / "folders" / "format-1" / task / "run"
    folder = gatewise.export(run, to="c", output=tmp_path / "c").folder
    done = subprocess.run([compiled(folder, "-DGW_SELF_TEST")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert float(done.stdout.split()[-1]) < 1e3  # padding holds -1e9, so any answer would pass


def test_the_self_test_finds_a_wrong_weight(folder, tmp_path):
    (tmp_path / "network.h").write_text((folder / "network.h").read_text())
    code = (folder / "network.c").read_text()
    wrong = re.sub(r"(lstm_1_bias\[\d+\] = \{\s+)[^,]*", r"\g<1>9.0f", code)
    assert wrong != code
    (tmp_path / "network.c").write_text(wrong)
    done = subprocess.run([compiled(tmp_path, "-DGW_SELF_TEST")], capture_output=True)
    assert done.returncode == 1 and done.stdout.startswith(b"FAILED")


def test_an_answer_of_a_billion_hides_no_wrong_weight(tmp_path):
    steps = keras.Input((None, 2))
    scores = keras.layers.Dense(4)(keras.layers.LSTM(3)(steps))
    model = keras.Model(steps, scores + np.float32([0, -1e9, 0, 0]))
    folder = gatewise.export(model, to="c", output=tmp_path / "c").folder
    done = subprocess.run([compiled(folder, "-DGW_SELF_TEST")], capture_output=True)
    assert done.returncode == 0 and done.stdout.startswith(b"passed")
    code = (folder / "network.c").read_text()
    wrong = re.sub(r"(dense\w*_bias\[\d+\] = \{\s+)[^,]*", r"\g<1>0.1f", code)
    assert wrong != code
    (folder / "network.c").write_text(wrong)
    assert subprocess.run([compiled(folder, "-DGW_SELF_TEST")]).returncode == 1


def test_int8_numbers_are_half_a_step_from_the_weights_at_most(random):
    matrix = random.normal(size=(5, 7)) * 10.0 ** np.arange(-3, 4)
    for axis in (0, 1):
        held = int8(matrix, axis)
        scale = held.scale if axis else held.scale[:, None]
        assert (np.abs(held.floats() - matrix) <= scale / 2 * (1 + 1e-5)).all()
    assert not int8(np.zeros((2, 3)), 1).floats().any()


def test_the_readme_of_int8_weights_states_what_they_cost(classify_run, tmp_path):
    written = gatewise.export(classify_run, to="c", weights="int8", output=tmp_path / "c")
    readme = (written.folder / "README.txt").read_text()
    assert re.search(r"int8 weights change the answers of the run by up to \d", readme)
    assert re.search(r"on the validation part \(walks.csv, \d+ examples\): [\d.]+ with", readme)
    with pytest.raises(ConfigError, match="int8 with --to c. Received: 'int8' with --to onnx"):
        gatewise.export(classify_run, to="onnx", weights="int8", output=tmp_path / "onnx")


def test_strided_convolutions_summaries_and_every_pooling_are_written(tmp_path):
    shapes = Shapes({"steps": (9, 2)}, output=(2,), padding=PADDING)
    given = {"filters": (3,), "strides": 4, "kernel_size": 5, "units": (3,)}
    network = NetworkSettings(**given, pooling="all", summary_features="yes", dense_dropout=0.0)
    written = gatewise.export(stack(shapes, network), to="c", output=tmp_path / "c")
    assert written.difference < 1e-5
    done = subprocess.run([compiled(written.folder, "-DGW_SELF_TEST", *SANITIZED)])
    assert done.returncode == 0


def test_a_forecast_of_several_series_takes_the_number_of_the_series(tmp_path):
    run = Path(__file__).parents[1] / "folders" / "format-1" / "forecast" / "run"
    folder = gatewise.export(run, to="c", output=tmp_path / "c").folder
    assert "int series[" in (folder / "README.txt").read_text()
