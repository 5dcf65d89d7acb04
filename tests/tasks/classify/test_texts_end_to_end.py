"""classify on texts, end to end: from lists in memory to an evaluated, saved run."""

import json
import runpy

import numpy as np
import pytest
from polars.testing import assert_frame_equal
from tokenizers import Tokenizer

from gatewise import Stream, evaluate, export, load, predict, train
from gatewise.errors import ConfigError, DataError

# Texts.

GOOD, BAD = ("fine", "lovely", "great", "superb"), ("poor", "awful", "dull", "weak")


def reviews(count, seed=0):
    """Texts whose label depends on their last judgement: a word of praise or of blame."""
    random = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(count):
        good, bad = random.choice(GOOD), random.choice(BAD)
        last = random.integers(2)
        order = (bad, good) if last else (good, bad)
        filling = [["the film was"], ["a story of"], ["and yet it"]][random.integers(3)][0]
        texts.append(f"First {order[0]} , {filling} was {order[1]} in the end")
        labels.append("up" if last else "down")
    return texts, labels


def test_a_network_separates_texts_that_a_bag_of_words_cannot():
    settings = {
        "training": {"epochs": 12, "batch_size": 16, "learning_rate": 0.01},
        "network": {"units": [16], "bidirectional": True, "embedding_dim": 8},
    }
    run = train(reviews(400), task="classify", settings=settings)
    assert run.metrics["metrics"]["accuracy"] > 0.95
    assert run.metrics["baselines"]["logistic regression on TF-IDF"]["accuracy"] < 0.7
    assert run.metrics["verdict"]["better"] is True


def test_texts_to_a_folder_and_back(tmp_path):
    texts, labels = reviews(120)
    settings = {"training": {"epochs": 2}, "network": {"units": [4]}}
    settings["preparation"] = {"max_length": 6, "truncation": "start"}
    run = train((texts, labels), task="classify", settings=settings, output=tmp_path / "run")
    assert any("more than 6 tokens" in note for note in run.metrics["notes"])
    new = ["so fine in the end", "", "zzz"]
    there, here = predict(tmp_path / "run", new), predict(run.artefact, new)
    assert predict(load(tmp_path / "run"), new).equals(here)
    # Without Keras and with it: sums of float32 in another order, 1e-8 apart where it was measured.
    assert_frame_equal(there, here, rel_tol=1e-6, abs_tol=0)
    assert there["id"].to_list() == ["0", "1", "2"]
    export(run, to="numpy", output=tmp_path / "numpy")
    facts = json.loads((tmp_path / "numpy" / "export.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_str(json.dumps(facts["tokenizer"]))
    tokens = tokenizer.encode(new[0], add_special_tokens=False).ids[-6:]
    answer = runpy.run_path(str(tmp_path / "numpy" / "network.py"))["predict"]([tokens])
    assert answer[0] == pytest.approx(there.select("p(down)", "p(up)").row(0), abs=1e-6)
    report = (tmp_path / "run" / "report.html").read_text()
    assert "in the end" in report  # mistakes are shown as texts
    rows = run.metrics["details"]["lengths"]
    assert sum(row["sequences"] for row in rows) == 24 or not rows
    again = evaluate(tmp_path / "run", (texts, labels))
    assert set(again["baselines"]) == {"majority", "logistic regression on TF-IDF"}


def test_several_labels_of_texts_and_of_numbers(tmp_path):
    random = np.random.default_rng(0)
    words = {"rain": "wet", "wind": "blowing", "snow": "white"}
    texts, labels = [], []
    for _ in range(150):
        chosen = [name for name in words if random.random() < 0.5]
        texts.append("today it is " + " ".join(words[name] for name in chosen) + " outside")
        labels.append("; ".join(chosen))
    settings = {
        "data": {"separator": ";"},
        "training": {"epochs": 15, "learning_rate": 0.02},
        "network": {"units": [8], "embedding_dim": 8},
    }
    run = train((texts, labels), task="classify", settings=settings, output=tmp_path / "run")
    assert run.metrics["metrics"]["f1_micro"] > 0.9
    (answer,) = predict(run.artefact, ["it is wet and white"])["label"].to_list()
    assert set(answer.split("; ")) == {"rain", "snow"}
    x = [
        random.normal(size=(random.integers(4, 8), 2)) + (2 * (k % 2), 2 * (k % 3 == 0))
        for k in range(120)
    ]
    y = ["/".join(n for n, on in (("a", k % 2), ("b", k % 3 == 0)) if on) for k in range(120)]
    settings = {"data": {"separator": "/"}, "training": {"epochs": 3}}
    run = train((x, y), task="classify", settings=settings)
    assert run.metrics["baselines"]["logistic regression on summaries"]["f1_micro"] > 0.8


def test_settings_for_numbers_are_refused_for_texts():
    for section, key, value in (("task", "window", 5), ("network", "gaussian_noise", 0.1)):
        with pytest.raises(ConfigError, match=f"{section}.{key} .* only to .*classify of numbers"):
            train(reviews(40), task="classify", settings={section: {key: value}})
    with pytest.raises(DataError, match="preparation.max_length is 3"):
        settings = {"preparation": {"max_length": 3, "truncation": "error"}}
        train(reviews(40), task="classify", settings=settings)


def test_data_of_another_kind_and_missing_truth_are_sentences():
    settings = {"training": {"epochs": 1}, "network": {"units": [4]}}
    run = train(reviews(60), task="classify", settings=settings)
    with pytest.raises(DataError, match="trained on texts, but this holds numbers"):
        predict(run.artefact, [np.zeros((3, 2)), np.ones((4, 2))])
    with pytest.raises(DataError, match=r"labels|truth"):
        evaluate(run.artefact, reviews(60)[0])


def test_a_network_with_bigrams_answers_the_same_in_every_form(tmp_path):
    settings = {
        "preparation": {"bigrams": 64, "min_frequency": 1},
        "training": {"epochs": 3, "batch_size": 16, "learning_rate": 0.01},
        "network": {"units": [3], "embedding_dim": 4},
    }
    run = train(reviews(120), task="classify", settings=settings, output=tmp_path / "run")
    # The order of the judgements, which bigrams tell, decides.
    assert run.metrics["metrics"]["accuracy"] > 0.9
    assert run.metrics["answer"] == "LSTM with bigrams"
    assert run.metrics["alone"] == {}  # they are inside the network
    assert "parameters; with bigrams" in (tmp_path / "run" / "report.html").read_text("utf-8")
    for form in ("c", "onnx", "numpy"):  # each proves that its answers are those of the run
        export(run, to=form, output=tmp_path / form)
    new = ["First dull , the film was great in the end", "fine"]
    wanted = predict(tmp_path / "run", new)
    streamed = Stream(tmp_path / "run")
    for text, row in zip(new, wanted.iter_rows(named=True), strict=True):
        streamed.push(text)
        assert streamed.finish()[-1]["p(up)"] == pytest.approx(row["p(up)"], abs=1e-6)
