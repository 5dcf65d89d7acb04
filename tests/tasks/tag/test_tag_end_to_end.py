"""Tags, from a file to an evaluated, saved model, its report and predictions for new text."""

import json
import re

import numpy as np
import pytest

import gatewise
from gatewise.arguments import experiment_for
from gatewise.readers.datasets import path_of
from gatewise.tasks.tag.task import BASELINE
from gatewise.training.ready import make_ready

SMALL = {
    "network": {"units": [16], "character_units": 8, "embedding_dim": 16},
    "training": {"epochs": 8, "batch_size": 32, "learning_rate": 0.02},
    "preparation": {"max_length": 30},
    "evaluation": {"n_resamples": 100},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tagger"
    gatewise.train("ewt-sample", settings=SMALL, output=folder)
    return folder


@pytest.fixture(scope="module")
def told(run):
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def test_it_beats_the_most_frequent_tag(told):
    ours, theirs = told["metrics"]["accuracy"], told["baselines"][BASELINE]["accuracy"]
    assert ours > theirs > 0.6
    assert told["verdict"]["better"] is True
    assert 10 <= told["verdict"]["clusters"] <= 20  # a fifth of 70 documents
    seen, new = told["details"]["seen"]
    assert seen["accuracy"]["LSTM"] > new["accuracy"]["LSTM"] > new["accuracy"][BASELINE]


def test_the_report_shows_its_sections(run):
    report = (run / "report.html").read_text(encoding="utf-8")
    headings = re.findall(r"<h2>(.*?)</h2>", report)
    wanted = ["Confusions", "Scores by tag", "Words seen and new", "Error by length"]
    assert [one for one in headings if one in wanted] == wanted
    worst = report[report.index("Worst sentences") :]
    assert re.search(r": [A-Z]+, taken for [A-Z]+ \(\d+ % sure\)", worst)


def test_new_text_gets_a_row_for_each_token(run, tmp_path):
    (tmp_path / "new.txt").write_text("The dog barks .\n\nI agree !\n", encoding="utf-8")
    table = gatewise.predict(run, tmp_path / "new.txt")
    assert table.columns == ["id", "position", "token", "tag", "probability"]
    assert table["id"].to_list() == ["0"] * 4 + ["2"] * 3
    assert table["token"].to_list() == ["The", "dog", "barks", ".", "I", "agree", "!"]
    assert dict(zip(table["token"], table["tag"], strict=True))["."] == "PUNCT"
    assert gatewise.predict(run, ["The dog barks .", "I agree !"])["tag"].equals(table["tag"])


def test_it_can_be_evaluated_again_and_recognises_its_training_data(run, told):
    again = gatewise.evaluate(run, "ewt-sample")
    assert again["metrics"]["accuracy"] > told["metrics"]["accuracy"]
    learnt = len(gatewise.load(run).splits["fingerprints"])
    said = next(note for note in again["notes"] if "was trained on" in note)
    assert learnt <= int(re.search(r"(\d+) of these 614", said)[1]) < 614


def test_predictions_are_those_of_the_saved_network(run):
    saved = (run / "predictions.csv").read_text(encoding="utf-8").splitlines()
    assert saved[0] == "id,position,token,tag,probability,truth"
    loaded = gatewise.load(run)
    table = gatewise.predict(loaded, path_of("ewt-sample"))
    tags = {(row[0], row[1]): row[3] for row in table.iter_rows()}
    rows = [line.split(",") for line in saved[1:] if '"' not in line]
    assert all(tags[row[0], int(row[1])] == row[3] for row in rows)


def test_target_names_the_column_of_tags():
    experiment, _ = experiment_for("ewt-sample", [], ["xpos"])
    assert "NNP" in make_ready(experiment).preparation.own.classes


def test_the_best_path_through_an_export_has_the_tags_of_predict(run, tmp_path):
    import onnxruntime

    folder = gatewise.export(run, to="onnx", output=tmp_path / "onnx").folder
    facts = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    sentence = ["The", "dog", "barks", "."]
    places = {word: k + 2 for k, word in enumerate(facts["words"])}
    letters = {letter: k + 2 for k, letter in enumerate(facts["characters"])}
    words = [places.get(word) or places.get(word.lower(), 1) for word in sentence]
    characters = np.zeros((4, 16), np.int64)
    for row, word in zip(characters, sentence, strict=True):
        row[: len(word)] = [letters.get(letter, 1) for letter in word]
    inputs = {"words": np.array([words]), "places": np.arange(4)[None], "characters": characters}
    (emissions,) = onnxruntime.InferenceSession(str(folder / "model.onnx")).run(None, inputs)
    between = np.array(facts["transitions"])
    size = len(facts["classes"])
    paths = {k: (between[size, k] + emissions[0, 0, k], [k]) for k in range(size)}
    for row in emissions[0, 1:]:
        paths = {
            k: max(
                (total + between[j, k] + row[k], [*path, k]) for j, (total, path) in paths.items()
            )
            for k in range(size)
        }
    _, best = max((total + between[-1, k], path) for k, (total, path) in paths.items())
    assert [facts["classes"][k] for k in best] == gatewise.predict(run, [" ".join(sentence)])[
        "tag"
    ].to_list()
