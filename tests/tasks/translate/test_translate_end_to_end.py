"""Translation, from pairs of texts to an evaluated, saved model, its report and predictions."""

import io
import json
import logging
import re
import sys

import polars as pl
import pytest

import gatewise
from gatewise.readers.datasets import path_of
from gatewise.shell import cli

SMALL = {
    "task": {"name": "translate", "beam_size": 3},
    "network": {"units": [64]},
    "training": {"epochs": 12, "batch_size": 16, "learning_rate": 0.004},
    "preparation": {"vocabulary_size": 320},
    "evaluation": {"n_resamples": 100},
    "split": {"validation": 40, "test": 60},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two parallel files of the shipped numbers below a thousand."""
    folder = tmp_path_factory.mktemp("corpus")
    table = pl.read_csv(path_of("numbers"), separator="\t")
    short = table.filter(~table["english"].str.contains("thousand"))
    for column, ending in (("german", "de"), ("english", "en")):
        text = "\n".join(short[column]) + "\n"
        (folder / f"numbers.{ending}").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "numbers"
    gatewise.train(
        files / "numbers.de", task="translate", target="en", settings=SMALL, output=folder
    )
    return folder


@pytest.fixture(scope="module")
def told(run):
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def test_it_beats_the_dictionary(told):
    ours, theirs = told["metrics"], told["baselines"]
    assert ours["bleu"] > max(one["bleu"] for one in theirs.values())
    assert ours["chrf"] > 1.5 * max(one["chrf"] for one in theirs.values())
    assert told["verdict"]["metric"] == "bleu" and told["verdict"]["better"] is True
    assert told["details"]["signatures"]["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a")


def test_only_a_verdict_that_is_not_better_says_how_many_pairs_it_takes(run, told):
    texts = ["siebzehn", "vierzig", "hundertzwei", "neunundneunzig"] * 2
    copied = gatewise.evaluate(run, (texts, texts))  # which copying the source answers best
    assert copied["verdict"]["better"] is not True
    assert [("many pairs" in " ".join(one["caveats"])) for one in (copied, told)] == [True, False]


def test_the_report_shows_its_sections(run):
    report = (run / "report.html").read_text(encoding="utf-8")
    headings = re.findall(r"<h2>(.*?)</h2>", report)
    wanted = ["BLEU by length", "Translations and references", "Worst translations"]
    assert [one for one in headings if one in wanted] == wanted
    attention = report[report.index("<h2>Attention</h2>") :]
    assert "·hundred" in attention and "tok:13a" in report


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command line in this process with this standard input; returns what it prints."""

    def command(*given, text=""):
        monkeypatch.setattr(sys, "argv", ["gatewise", *map(str, given)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        log = logging.getLogger("gatewise")
        before = list(log.handlers)
        try:
            cli.main()
        except SystemExit as error:
            assert not error.code
        finally:
            log.handlers = before
        return capsys.readouterr().out

    return command


def test_lines_keep_their_order_and_empty_ones_stay(run, command, tmp_path):
    lines = ["zweihundert", "", "dreiundvierzig", "zweihundert"]
    said = command("predict", run, "-", text="\n".join(lines) + "\n").split("\n")
    assert len(said) == 5 and said[1] == "" and said[4] == ""
    assert said[0] == said[3] != said[2] and said[2]
    (tmp_path / "new.de").write_text("\n".join(lines), encoding="utf-8")
    assert command("predict", run, tmp_path / "new.de").split("\n") == said
    command("predict", run, tmp_path / "new.de", "-o", tmp_path / "said.txt")
    assert (tmp_path / "said.txt").read_text(encoding="utf-8").split("\n") == said
    command("predict", run, tmp_path / "new.de", "-o", tmp_path / "said.csv")
    table = pl.read_csv(tmp_path / "said.csv")
    assert table.columns == ["id", "source", "translation"]
    assert table["translation"].fill_null("").to_list() == said[:4]
    assert gatewise.predict(run, lines)["translation"].to_list() == said[:4]


def test_new_pairs_are_evaluated_like_the_test_part(run, files, told):
    found = gatewise.evaluate(run, files / "numbers.de")
    assert found["metrics"].keys() == told["metrics"].keys()
    assert found["metrics"]["chrf"] > 90 and found["verdict"]["better"] is True
    assert any("trained on" in note for note in found["notes"])
