"""The command line: output, exit status, and messages for mistakes."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata

import polars as pl
import pytest
from corpus import wave  # of tests/fuzz

from gatewise.arguments import experiment_for
from gatewise.settings import layer_of, to_toml
from gatewise.shell import cli, terminal
from gatewise.training.ready import make_ready

VERBS = ["train", "look", "evaluate", "predict", "generate", "report", "settings"]
VERBS += ["datasets", "info", "run"]
SMALL = ["--epochs", "2", "--set", "network.units=3", "--set", "evaluation.n_resamples=100"]


@pytest.fixture
def gatewise(monkeypatch, capsys):
    """Run a command in this process; returns its status, standard output and standard error."""

    def command(*given):
        monkeypatch.setattr(sys, "argv", ["gatewise", *map(str, given)])
        log = logging.getLogger("gatewise")
        before = list(log.handlers)
        try:
            cli.main()
            status = 0
        except SystemExit as error:
            status = error.code or 0
        finally:
            log.handlers = before
        said = capsys.readouterr()
        return status, said.out, said.err

    return command


def new_process(*given, **options):
    return subprocess.run(
        [sys.executable, "-m", "gatewise", *map(str, given)],
        capture_output=True,
        text=True,
        env=os.environ,
        **options,
    )


def test_names_with_brackets_and_colons_are_printed_as_they_are(capsys):
    names = ["runs/[x]/a[/b]c", "[bold]", "class :x:"]
    terminal.show_lines(names)
    terminal.show_table(["[red]", ":o:"], [[name, name] for name in names])
    printed = capsys.readouterr().out
    assert printed.splitlines()[:3] == names
    assert all(printed.count(name) == 3 for name in names)
    assert printed.splitlines()[3].split() == ["[red]", ":o:"]


def test_what_is_no_run_is_refused_before_keras_is_imported(tmp_path):
    (tmp_path / "file.csv").touch()
    program = (
        "import sys\nfrom gatewise.shell import cli\n"
        "for verb in ('evaluate nope x', 'export file.csv --to c', 'report .', 'inspect nope',"
        " 'compare nope nope'):\n"
        "    sys.argv = ['gatewise', *verb.split()]\n"
        "    try:\n        cli.main()\n"
        "    except SystemExit as error:\n        assert error.code == 1\n"
        "assert 'keras' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    reasons = ["no such folder", "it is a file", "it has no manifest.json", *["no such folder"] * 2]
    for line, reason in zip(done.stderr.splitlines(), reasons, strict=True):
        assert "is not a run folder: " in line and reason in line


def test_a_command_on_another_backend_imports_no_tensorflow(gatewise, sequences_file, tmp_path):
    """Keras asks whether it is there when it loads a Bidirectional layer, and would import it."""
    run = tmp_path / "run"
    small = ["--set", "network.units=[2]", "--set", "network.bidirectional=true", "--epochs", "1"]
    assert gatewise("train", sequences_file, "--task", "classify", *small, "-o", run)[0] == 0
    broken = tmp_path / "tensorflow" / "__init__.py"
    broken.parent.mkdir()
    broken.write_text("raise SystemExit('TensorFlow was imported')")
    done = subprocess.run(
        [sys.executable, "-m", "gatewise", "evaluate", run, sequences_file],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "KERAS_BACKEND": "jax"},
    )
    assert done.returncode == 0, done.stderr


def test_help_names_every_verb_and_imports_no_framework():
    program = (
        "import sys; sys.argv = ['gatewise', '--help']\n"
        "from gatewise.shell import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'keras', 'jax', 'tensorflow', 'torch', 'numpy', 'polars', 'sklearn'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    for verb in VERBS:
        assert f" {verb} " in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(gatewise, verb):
    status, out, _ = gatewise(verb, "--help")
    assert status == 0
    assert "Usage:" in out
    assert "--quiet" in out
    assert "--verbose" in out


def test_quiet_prints_results_only(gatewise, forecast_run, series_file, tmp_path):
    wider = tmp_path / "wider.csv"
    pl.read_csv(series_file).with_columns(more=1).write_csv(wider)
    _, loud, notes = gatewise("predict", forecast_run, wider)
    _, quiet, nothing = gatewise("predict", forecast_run, wider, "--quiet")
    assert quiet == loud
    assert notes == "Not read: 'more'.\n"
    assert nothing == ""


def test_verbose_adds_the_traceback_to_the_sentence(gatewise):
    _, _, brief = gatewise("evaluate", "nowhere", "nothing.csv")
    _, _, long = gatewise("evaluate", "nowhere", "nothing.csv", "--verbose")
    assert long.startswith("Traceback")
    assert long.endswith(brief)


@pytest.mark.parametrize(
    "wrong",
    [
        ["trian"],
        ["train", "--epoch"],
        ["train", "x.csv", "--epochs", "many"],
        ["evaluate"],
        ["predict", "run"],
    ],
)
def test_wrong_usage_is_status_2(gatewise, wrong):
    status, out, err = gatewise(*wrong)
    assert status == 2
    assert out == ""
    assert "Usage:" in err


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["train", "nowhere.csv"], "There is no file nowhere.csv"),
        (["train"], "Name a file, or a data set"),
        (["train", "DATA", "--set", "training.epoch=3"], "Did you mean 'epochs'?"),
        (["train", "DATA", "--set", "trainin.epochs=3"], "Did you mean 'training'?"),
        (["train", "DATA", "--set", "epochs"], "section.key=value"),
        (["train", "DATA", "--config", "nowhere.toml"], "There is no settings file nowhere.toml"),
        (["train", "DATA", "--epochs", "-1"], "training.epochs must be at least 0"),
        (["train", "DATA", "--target", "lod"], "Did you mean 'load'?"),
        (["train", "DATA", "--task", "tagg"], "There is no task 'tagg'"),
        (["predict", "nowhere", "DATA"], "nowhere is not a run folder"),
        (["evaluate", "nowhere", "DATA"], "nowhere is not a run folder"),
        (["report", "nowhere"], "nowhere is not a run folder"),
        (["predict", "RUN", "DATA", "-o", "answers.xlsx"], ".csv, .parquet, .jsonl"),
        (["predict", "RUN", "DATA", "-o", "/proc/nowhere/a.csv"], "cannot be written"),
    ],
)
def test_a_mistake_of_the_user_is_one_sentence_and_status_1(
    gatewise, wrong, said, series_file, forecast_run
):
    places = {"DATA": series_file, "RUN": forecast_run}
    status, out, err = gatewise(*(places.get(one, one) for one in wrong))
    assert status == 1
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert last.startswith("gatewise: ")
    assert said in last
    assert "Traceback" not in err


def test_too_little_address_space_is_a_sentence(series_file):
    """With less, XLA and Polars abort, and no handler can turn that into a message."""
    command = 'ulimit -v 2000000; exec "$0" -m gatewise train "$1"'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, str(series_file)],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("gatewise: The memory of this process is limited to 2.0 GB")
    assert done.stderr.count("\n") == 1


def test_too_little_memory_is_a_sentence(gatewise, sequences_file):
    status, out, err = gatewise(
        *("train", sequences_file, "--task", "classify", "--dry-run"),
        *("--set", f"network.filters={10**13}"),  # filters, of 32 bytes each
    )
    assert status == 1
    last = err.strip().splitlines()[-1]
    assert last.startswith("gatewise: There is not enough memory for this (")
    assert "Traceback" not in err


def broken(**columns):
    return pl.DataFrame({"day": [f"2023-01-{k:02}" for k in range(1, 29)], **columns}).write_csv()


VALUES = [float(k % 7) for k in range(28)]
FLAWS = {
    "an empty file": ("", "is empty"),
    "a header alone": ("day,load\n", "no rows"),
    "one row": ("day,load\n2023-01-01,1.0\n", "too"),
    "an empty cell": (broken(load=[None, *VALUES[1:]]), "empty cell"),
    "a text for a number": (broken(load=["1", "oops", *map(str, VALUES[2:])]), "'oops'"),
    "a constant target": (broken(load=[1.0] * 28), "never changes"),
    "a doubled time": (
        "day,load\n2023-01-01,1\n2023-01-01,2\n2023-01-02,3\n2023-01-03,3\n",
        "1 row repeats a time; the first is",
    ),
    "one label": (
        "id,x,label\n" + "".join(f"{k},{j},a\n" for k in range(9) for j in range(3)),
        "'a'",
    ),
    "a label that occurs once": (
        "id,x,label\n" + "".join(f"{k},{j},{'b' if k else 'a'}\n" for k in range(9) for j in "12"),
        "'a'",
    ),
    "a label that changes": ("id,x,label\n1,2,a\n1,3,b\n2,2,b\n", "must not change"),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_each_flaw_of_a_file_is_reported_with_the_name_of_the_file(gatewise, tmp_path, flaw):
    content, said = FLAWS[flaw]
    path = tmp_path / "flawed.csv"
    path.write_text(content)
    status, _, err = gatewise("train", path, "--dry-run")
    assert status == 1
    assert "flawed.csv" in err
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize("content", [bytes(range(256)) * 4, b"\x1f\x8b\x08\x00\x00\x00"])
def test_a_file_that_is_not_text_is_refused(gatewise, tmp_path, content):
    (tmp_path / "binary.csv").write_bytes(content)
    status, _, err = gatewise("train", tmp_path / "binary.csv", "--dry-run")
    assert status == 1
    assert "binary.csv" in err
    assert "Traceback" not in err


def test_a_folder_is_not_data(gatewise, tmp_path):
    (tmp_path / "x.csv").mkdir()
    status, _, err = gatewise("train", tmp_path / "x.csv")
    assert status == 1
    assert "is a folder" in err


KEYS = {"task", "run", "metrics", "baselines", "verdict", "seconds", "engine"}
VERDICT = {"metric", "against", "difference", "low", "high", "better"}


def assert_contract(printed, task):
    found = json.loads(printed)
    assert printed.count("\n") == 1, "one object on one line, and nothing else"
    assert found.keys() >= KEYS
    assert found["verdict"].keys() >= VERDICT
    assert found["verdict"]["better"] in (True, False, None)
    assert found["task"] == task
    assert all(scores.keys() == found["metrics"].keys() for scores in found["baselines"].values())
    assert {"kind", "reason"} <= found["engine"].keys()
    return found


def test_train_prints_one_json_object_and_nothing_else_on_standard_output(sequences_file, tmp_path):
    """In a separate process, in which notes and warnings go where users see them."""
    done = new_process("train", sequences_file, *SMALL, "--json", "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    found = assert_contract(done.stdout, "classify")
    assert found["run"] == str(tmp_path / "run")
    assert "No task was given" in done.stderr
    assert "epoch 2/2" in done.stderr


def test_evaluate_prints_the_same_keys(gatewise, forecast_run, series_file):
    status, out, _ = gatewise("evaluate", forecast_run, series_file, "--json")
    assert status == 0
    assert_contract(out, "forecast")


def test_evaluate_shows_the_table_and_the_verdict(gatewise, forecast_run, series_file):
    status, out, _ = gatewise("evaluate", forecast_run, series_file)
    assert status == 0
    for word in ("LSTM", "repeat last", "ridge on the window", "mae", "coverage", "The LSTM is"):
        assert word in out
    assert re.search(
        r"The band from 0\.1 to 0\.9 holds \d+\.\d % of the truth and should hold 80 %", out
    )


def plan(gatewise, *given):
    status, out, err = gatewise("train", *given, "--dry-run", "--json")
    assert status == 0, err
    return json.loads(out)


def test_a_dry_run_shows_the_plan_and_makes_nothing(gatewise, series_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = plan(gatewise, series_file, *SMALL)
    assert found["task"] == "forecast"
    assert set(found["parts"]) == {"train", "validation", "test"}
    assert found["parameters"] > 0
    status, out, _ = gatewise("train", series_file, *SMALL, "--dry-run")
    assert status == 0
    assert "Nothing was trained" in out
    assert list(tmp_path.iterdir()) == []


def test_a_look_tells_columns_times_parts_and_network(gatewise, series_file):
    status, out, _ = gatewise("look", series_file)
    assert status == 0
    lines = {line[:11].strip(): line[12:] for line in out.splitlines()}
    assert lines["task"] == "forecast"
    assert "column      day: time, time, such as 2023-01-02" in out.splitlines()
    assert lines["column"].startswith("load: target, number")
    assert lines["times"] == "2023-01-02 to 2023-05-31, every 1d"
    assert "parameters" in lines["network"]
    found = json.loads(gatewise("look", series_file, "--json")[1])
    assert found == plan(gatewise, series_file)
    assert found["sequences"]["count"] == 1


def test_a_look_tells_times_in_the_zone_that_it_names(gatewise, tmp_path):
    hours = [f"2024-06-{1 + k // 24:02}T{k % 24:02}:30+00:00,{k % 7}" for k in range(240)]
    (tmp_path / "load.csv").write_text("\n".join(["time,load", *hours]))
    out = gatewise("look", tmp_path / "load.csv", "--set", "data.timezone=Asia/Tokyo")[1]
    times = next(line[12:] for line in out.splitlines() if line.startswith("times"))
    assert times == "2024-06-01 09:30 to 2024-06-11 08:30, every 1h (Asia/Tokyo)"


def test_later_layers_of_settings_override_earlier_ones(gatewise, tmp_path):
    (tmp_path / "run.toml").write_text(
        "[task]\nhorizon = 5\nlookback = 20\n[training]\nepochs = 3\nseed = 1\nbatch_size = 64\n"
    )
    found = plan(
        gatewise,
        "seattle-weather",  # its own horizon is 7, its lookback 28
        *("--config", tmp_path / "run.toml"),
        *("--set", "training.epochs=4", "--set", "training.seed=2"),
        *("--seed", "3"),
    )
    settings = found["settings"]
    assert settings["data"]["target"] == ["temp_max"], "the data set's own"
    assert settings["task"]["horizon"] == 5, "the file is over the data set"
    assert settings["training"]["batch_size"] == 64
    assert settings["training"]["epochs"] == 4, "--set is over the file"
    assert settings["training"]["seed"] == 3, "a flag is over --set"


def test_a_target_of_labels_is_the_label(gatewise, sequences_file):
    found = plan(gatewise, sequences_file, "--target", "label", *SMALL)
    assert found["task"] == "classify"
    assert found["settings"]["data"]["label"] == "label"


def test_predict_prints_a_table_and_nothing_else_on_standard_output(
    gatewise, classify_run, sequences_file
):
    status, out, _ = gatewise("predict", classify_run, sequences_file)
    assert status == 0
    found = pl.read_csv(out.encode())
    assert found.height == 40
    assert found.columns[:2] == ["id", "label"]


@pytest.mark.parametrize(
    ("ending", "reader"),
    [("csv", pl.read_csv), ("parquet", pl.read_parquet), ("jsonl", pl.read_ndjson)],
)
def test_predict_writes_the_format_of_the_named_file(
    gatewise, classify_run, sequences_file, tmp_path, ending, reader
):
    path = tmp_path / "new folder" / f"answers.{ending}"
    status, out, err = gatewise("predict", classify_run, sequences_file, "-o", path)
    assert status == 0
    assert out == ""
    assert "40 rows" in err
    assert set(reader(path)["label"]) <= {"größer", "日本"}


def test_predict_never_overwrites_its_input(gatewise, forecast_run, series_file, tmp_path):
    data = tmp_path / "copy.csv"
    shutil.copy(series_file, data)
    before = data.read_bytes()
    (tmp_path / "link.csv").symlink_to(data)
    for output in (data, tmp_path / "link.csv", forecast_run / "answers.csv"):
        for more in ([], ["--overwrite"]):
            status, out, err = gatewise("predict", forecast_run, data, "-o", output, *more)
            assert (status, out) == (1, "")
            assert "which is an input. Choose another -o." in err
    assert data.read_bytes() == before
    assert not (forecast_run / "answers.csv").exists()


def test_predict_replaces_a_file_only_on_request(gatewise, classify_run, sequences_file, tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text("years of work")
    status, _, err = gatewise("predict", classify_run, sequences_file, "-o", path)
    assert status == 1
    assert "answers.csv exists. Choose another -o, or give --overwrite" in err
    assert path.read_text() == "years of work"
    status, *_ = gatewise("predict", classify_run, sequences_file, "-o", path, "--overwrite")
    assert status == 0
    assert pl.read_csv(path).height == 40
    assert list(tmp_path.iterdir()) == [path]


def test_train_never_replaces_the_run_that_it_reads_from(gatewise, forecast_run, tmp_path):
    copy = shutil.copytree(forecast_run, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    for given in (["--config", copy / "settings.toml"], [copy / "predictions.csv"]):
        status, _, err = gatewise("train", *given, "-o", copy, "--overwrite")
        assert status == 1
        assert "holds the input" in err and "so it is not replaced" in err
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_an_existing_run_is_not_replaced(gatewise, classify_run, sequences_file):
    status, _, err = gatewise("train", sequences_file, "-o", classify_run)
    assert status == 1
    assert "--overwrite" in err


def test_report_writes_the_file_again_and_keeps_one_that_was_edited(
    gatewise, classify_run, tmp_path
):
    copy = shutil.copytree(classify_run, tmp_path / "run")
    report = copy / "report.html"
    saved = report.read_bytes()
    report.unlink()
    assert gatewise("report", copy)[:2] == (0, f"Report: {report}\n"), "a missing report is written"
    assert report.read_bytes() == saved
    report.write_text("my own words")
    status, out, err = gatewise("report", copy)
    assert (status, out) == (1, "")
    assert "is not the report that was saved with the run" in err
    assert "--overwrite" in err
    assert report.read_text() == "my own words"
    assert gatewise("report", copy, "--overwrite")[0] == 0
    assert report.read_bytes() == saved
    assert gatewise("report", copy)[0] == 0


def test_datasets_and_info_print_json_on_request(gatewise):
    for verb, word in (("datasets", "japanese-vowels"), ("info", "keras")):
        status, out, _ = gatewise(verb)
        assert status == 0
        assert word in out
        status, out, _ = gatewise(verb, "--json")
        assert word in json.loads(out)


def test_the_version_is_printed(gatewise):
    assert gatewise("--version") == (0, f"gatewise {metadata.version('gatewise')}\n", "")


def test_settings_are_explained(gatewise):
    _, said, _ = gatewise("settings", "beam_size")
    assert "task.beam_size" in said and "Only for" in said and "Default: 0." in said
    assert gatewise("settings", "training")[1].count("Default:") > 10
    status, _, error = gatewise("settings", "beam_sise")
    assert status == 1 and "Did you mean beam_size" in error


def test_a_closed_output_pipe_is_not_an_error(forecast_run, series_file):
    command = f"{sys.executable} -m gatewise predict {forecast_run} {series_file}"
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -n 0"], capture_output=True, text=True, env=os.environ
    )
    assert done.stderr == "", done.stderr


def test_the_resolved_settings_of_a_run_are_a_settings_file(classify_run):
    settings = tomllib.loads((classify_run / "settings.toml").read_text(encoding="utf-8"))
    assert settings["data"]["label"] == "label"
    assert settings["training"]["epochs"] == 2


def test_the_shell_and_python_read_a_settings_file_the_same_way(gatewise, tmp_path):
    path = tmp_path / "epochs.toml"
    path.write_bytes(b"\xef\xbb\xbf[training]\nepochs = 0\n[network]\nunits = [2]\n")
    status, out, _ = gatewise("train", "digits", "--config", path, "--dry-run", "--json")
    assert status == 0
    shell = json.loads(out)["settings"]
    experiment, _ = experiment_for("digits", [layer_of(path)])
    python = tomllib.loads(to_toml(make_ready(experiment).experiment))
    assert shell == python


def test_look_shows_an_archive_of_recordings_which_has_no_columns(gatewise, tmp_path):
    path = tmp_path / "sounds.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(24):
            archive.writestr(f"{'ab'[k % 2]}/{k}.wav", wave())
    status, output, _ = gatewise("look", path, "--json")
    found = json.loads(output)
    assert (status, found["task"], found["columns"]) == (0, "classify", [])
    assert found["sequences"]["count"] == 24
