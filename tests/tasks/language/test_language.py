"""Language: continuing streams, sums over tokens, and a text from file to generated text."""

import json

import numpy as np
import polars as pl
import pytest

import gatewise
from gatewise.data.batches import plan
from gatewise.data.sequences import from_texts, texts_of
from gatewise.data.vocabulary import MOST
from gatewise.errors import ConfigError, DataError
from gatewise.settings import from_mapping
from gatewise.tasks.language import task as language

TEXT = "".join(f"line {k % 7} of a text that is {k} lines long\n" for k in range(60))
PLAIN = {"task": {"name": "language"}, "training": {"batch_size": 3}}


def settled(text=TEXT, **sections):
    given = {**PLAIN, **sections}
    sequences = from_texts([text] if isinstance(text, str) else text)
    experiment, notes = language.resolve(from_mapping(given), sequences, sequences)
    return sequences, experiment, notes


def ready(role="train", text=TEXT, **sections):
    sequences, experiment, _ = settled(text, **sections)
    preparation, _ = language.prepare(sequences, experiment)
    return language.examples(sequences, preparation, experiment, role), preparation, experiment


def batches(some):
    dealt = plan(some.lengths, some.source.streams, padded=False)
    for which, length in (dealt[b] for b in range(len(dealt))):
        yield some.inputs(which, length)["tokens"], some.targets(which, length)


def test_each_batch_continues_where_the_previous_one_ended():
    some, _, experiment = ready(task={"name": "language", "lookback": 10})
    assert some.ordered
    before = None
    for read, said in batches(some):
        assert read.shape == said.shape == (3, 10)
        np.testing.assert_array_equal(read[:, 1:], said[:, :-1])
        if before is not None:
            np.testing.assert_array_equal(read[:, 0], before[:, -1])
        before = said


def test_streams_hold_the_text_and_start_elsewhere_in_the_next_epoch():
    some, _, _ = ready(task={"name": "language", "lookback": 10})
    tokens = some.source.stream.tokens
    streams = np.concatenate([said for _, said in batches(some)], axis=1)
    length = len(tokens) // 3
    for stream in range(3):
        begin = stream * length
        np.testing.assert_array_equal(streams[stream], tokens[begin : begin + streams.shape[1]])
    some.on_epoch_end()
    assert not np.array_equal(streams, np.concatenate([said for _, said in batches(some)], axis=1))


def test_the_validation_part_is_read_as_completely_as_streams_allow_and_stays_the_same():
    some, _, _ = ready("validation", task={"name": "language", "lookback": 10})
    held = sum(said.size for _, said in batches(some))
    chunks = len(some) // 3
    assert len(some.source.stream) - held < 3 * chunks + 3
    assert some.on_epoch_end is None


def test_scores_are_those_of_the_definition():
    some, preparation, experiment = ready("test")
    nats = np.random.default_rng(0).exponential(size=len(some.source.stream))
    found = language.score(nats, some, preparation, experiment)
    assert found["perplexity"] == pytest.approx(np.exp(nats.sum() / len(TEXT)))
    assert found["nats_per_token"] == pytest.approx(nats.sum() / len(TEXT))
    assert found["bits_per_character"] == pytest.approx(nats.sum() / np.log(2) / len(TEXT))
    for measure in language.measures(some, preparation, experiment):
        value = measure.value(measure.statistics(nats).sum(axis=0))
        assert value == pytest.approx(found[measure.name])


def test_bits_are_of_characters_however_the_text_is_cut_into_tokens():
    for kind in ("words", "whitespace", "bpe"):
        some, preparation, experiment = ready("test", preparation={"tokenizer": kind})
        nats = np.ones(len(some.source.stream))
        found = language.score(nats, some, preparation, experiment)
        assert found["bits_per_character"] == pytest.approx(len(nats) / np.log(2) / len(TEXT))


def test_each_line_gets_a_row_with_the_cost_of_its_tokens():
    some, preparation, _ = ready("predict", text=["ab\nc\n", "\nabc"])
    nats = np.arange(9.0)
    found = language.table(nats, some, preparation, np.arange(len(some)))
    assert found["id"].to_list() == ["0:1", "0:2", "1:1", "1:2"]
    assert found["text"].to_list() == ["ab", "c", "", "abc"]
    assert found["tokens"].to_list() == [3, 2, 1, 3]
    assert found["nats_per_token"].to_list() == [1.0, 3.5, 5.0, 7.0]
    np.testing.assert_allclose(found["perplexity"], np.exp(found["nats_per_token"]))
    np.testing.assert_allclose(
        found["bits_per_character"], np.array([3, 7, 5, 21]) / np.log(2) / [3, 2, 1, 3]
    )


def test_the_breakdown_of_nats_adds_up_to_the_total():
    some, preparation, experiment = ready("test", preparation={"tokenizer": "words"})
    nats = np.random.default_rng(0).exponential(size=len(some.source.stream))
    answers = {"LSTM": nats, "unigram": 2 * nats}
    found = language.details(answers, some, preparation, experiment)
    for key in ("by_rank", "by_place"):
        rows = found[key]
        assert sum(row["share"] for row in rows) == pytest.approx(1)
        assert sum(row["share"] * row["LSTM"] for row in rows) == pytest.approx(nats.mean())
    hardest = found["passages"][0]
    assert hardest["beside"] == pytest.approx(2 * hardest["nats"])
    assert hardest["text"] == TEXT.split("\n")[hardest["line"] - 1]


def test_the_tokenizer_is_guessed_with_a_note():
    assert settled()[1].preparation.tokenizer == "characters"
    assert settled("a <unk> rose\n" * 9)[1].preparation.tokenizer == "whitespace"
    _, experiment, notes = settled("a rose " * 1_000_000)
    assert experiment.preparation.tokenizer == "bpe"
    assert "bpe" in notes[0]


def test_words_that_occur_once_become_unknown_unless_the_text_has_its_own_mark():
    text = "a rose is a rose is a daisy\n"
    _, preparation, _ = ready(text=text * 1, preparation={"tokenizer": "whitespace"})
    assert "daisy" not in preparation.own.vocabulary.tokens
    _, preparation, _ = ready(text=f"<unk> {text}", preparation={"tokenizer": "whitespace"})
    assert "daisy" in preparation.own.vocabulary.tokens


def test_too_large_a_vocabulary_and_too_many_streams_are_refused():
    assert max(MOST.values()) <= language.MAX_VOCABULARY
    with pytest.raises(ConfigError, match="300,000, but at most 200,000"):
        settled(preparation={"vocabulary_size": 300_000})
    with pytest.raises(
        DataError, match="the train part has 6 tokens, fewer than the 64 parallel streams"
    ):
        ready(text="a rose", training={"batch_size": 64})
    with pytest.raises(ConfigError, match="split.by = label"):
        language.split(*settled(split={"by": "label"})[:2], True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A minimal run on the shipped text, which takes seconds."""
    folder = tmp_path_factory.mktemp("runs") / "shakespeare"
    settings = {
        "network": {"units": [24], "weight_dropout": 0.1, "dropout": 0.1},
        "training": {"epochs": 3, "learning_rate": 0.02, "batch_size": 16},
        "evaluation": {"n_resamples": 100},
        "report": {"examples": 2},
    }
    return gatewise.train("shakespeare", settings=settings, output=folder)


def test_the_shipped_text_is_trained_evaluated_and_reported(run):
    found = run.metrics
    assert found["metrics"]["perplexity"] < found["baselines"]["unigram"]["perplexity"]
    grams = found["baselines"]["7-gram (Kneser-Ney)"]
    assert grams["perplexity"] < found["baselines"]["unigram"]["perplexity"]
    assert found["verdict"]["metric"] == "perplexity"
    assert found["parts"]["test"]["tokens"] == pytest.approx(40_000, abs=200)
    assert run.history.columns["val_perplexity"] == pytest.approx(
        np.exp(run.history.columns["val_loss"])
    )
    report = (run.artefact.folder / "report.html").read_text(encoding="utf-8")
    for said in ("Generated text", "Temperature 0.8", "By rarity", "Hardest passages"):
        assert said in report


def test_a_sampled_softmax_learns_and_is_evaluated_over_all_tokens(run, tmp_path):
    settings = {
        "network": {"units": [24], "sampled_softmax": 12},
        "training": {"epochs": 6, "learning_rate": 0.02, "batch_size": 16},
        "evaluation": {"n_resamples": 100},
    }
    sampled = gatewise.train("shakespeare", settings=settings, output=tmp_path / "run")
    full, own = (one.metrics["metrics"]["nats_per_token"] for one in (run, sampled))
    assert own == pytest.approx(full, abs=0.4)
    assert (
        sampled.metrics["details"]["softmax"]
        == "sampled, 12 tokens per batch (network.sampled_softmax)"
    )


def test_evaluating_the_test_part_again_gives_the_same(run):
    held = gatewise.load(run.artefact.folder)
    splits = json.loads((held.folder / "splits.json").read_text())
    _, begin, end = splits["test"][0]
    whole = texts_of(language_source())[0].encode()
    again = gatewise.evaluate(held, [whole[begin:end].decode()])
    assert again["metrics"] == pytest.approx(run.metrics["metrics"], rel=1e-4)
    assert again["baselines"]["unigram"] == pytest.approx(run.metrics["baselines"]["unigram"])
    grams = "7-gram (Kneser-Ney)"
    assert again["baselines"][grams] == pytest.approx(run.metrics["baselines"][grams])


def language_source():
    from gatewise.readers.datasets import path_of
    from gatewise.settings import DataSettings
    from gatewise.tasks import read

    return read(DataSettings(), path_of("shakespeare"), task="language")[0]


def test_a_text_is_answered_line_by_line(run, tmp_path):
    path = tmp_path / "new.txt"
    path.write_text("MENENIUS:\nWhat say you?\n\nœ\n", encoding="utf-8")
    found = gatewise.predict(run.artefact, path)
    assert found["id"].to_list() == ["1", "2", "3", "4"]
    assert found["tokens"].to_list() == [10, 14, 1, 2]
    assert found["nats_per_token"].is_finite().all()
    assert isinstance(found, pl.DataFrame)


def test_text_continues_a_prompt(run):
    written = gatewise.generate(run.artefact, "MENENIUS:\n", length=40, seed=1)
    assert written.startswith("MENENIUS:\n")
    assert len(written) == 50
    assert written == gatewise.generate(run.artefact, "MENENIUS:\n", length=40, seed=1)
    likely = gatewise.generate(run.artefact, "the ", length=20, temperature=0)
    assert likely == gatewise.generate(run.artefact, "the ", length=20, top_k=1, seed=5)


def test_the_step_of_an_export_writes_the_text_of_generate(run, tmp_path):
    import onnxruntime

    folder = gatewise.export(run, to="onnx", output=tmp_path / "onnx").folder
    step = onnxruntime.InferenceSession(str(folder / "step.onnx"))
    vocabulary = run.artefact.preparation.own.vocabulary
    tokens, read = list(vocabulary.encode(["the "])[0]), 0
    h = c = np.zeros((1, 24), np.float32)
    while len(tokens) < 24:
        for token in tokens[read:]:
            y, h, c = step.run(None, {"tokens": np.array([token], np.int64), "h": h, "c": c})
        read = len(tokens)
        tokens.append(int(y[0, 4:].argmax()) + 4)
    assert np.exp(y).sum() == pytest.approx(1)
    written = gatewise.generate(run.artefact, "the ", length=20, temperature=0)
    assert vocabulary.decode(tokens) == written


def test_unknown_tokens_of_a_prompt_are_noted(run, caplog):
    assert gatewise.generate(run.artefact, "Aœ", length=3, temperature=0).startswith("Aœ")
    assert "left out: 'œ'" in caplog.text


def test_generating_requires_a_language_model_and_non_negative_numbers(run, classify_run):
    with pytest.raises(ConfigError, match="this one is of classify"):
        gatewise.generate(classify_run, "a")
    with pytest.raises(ConfigError, match="temperature must be a number that is not negative"):
        gatewise.generate(run.artefact, "a", temperature=float("nan"))
    for name, value in (("seed", -1), ("length", -1), ("length", 2.5), ("top_k", "all")):
        with pytest.raises(ConfigError, match=f"{name} must be a whole number that is not neg"):
            gatewise.generate(run.artefact, "a", **{name: value})


def test_the_command_writes_the_prompt_and_what_follows(run, capsys, monkeypatch):
    from gatewise.shell import cli

    folder = str(run.artefact.folder)
    given = ["--prompt", "MENENIUS:", "--length", "12", "--seed", "3", "--top-k", "5"]
    monkeypatch.setattr("sys.argv", ["gatewise", "generate", folder, *given])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    said = capsys.readouterr()
    written = gatewise.generate(folder, "MENENIUS:", length=12, seed=3, top_k=5)
    assert said.out == written + "\n"
    assert not said.err
