"""Transcription: normalisation, scores, and recordings to a saved model and back."""

import json

import jiwer
import numpy as np
import polars as pl
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import gatewise
from gatewise.data.sequences import from_arrays
from gatewise.errors import ConfigError, DataError
from gatewise.metrics import character_errors, word_errors
from gatewise.readers.datasets import path_of
from gatewise.settings import Experiment, from_mapping
from gatewise.tasks.transcribe import task as transcribe
from gatewise.tasks.transcribe.task import TASK, frames_needed, normalised

RATE = 8000
HERTZ = {"a": 500, "b": 1500, "c": 2800}  # a language of three tones
QUICK = {
    "task": {"name": "transcribe"},
    "network": {"units": [12]},
    "preparation": {"n_mels": 16, "hop_length": 20.0, "frame_length": 32.0},
    "training": {"epochs": 2, "batch_size": 8},
    "evaluation": {"n_resamples": 50},
}


def spoken(text, random):
    """A tone of a tenth of a second per letter, and a pause per space."""
    time = np.arange(RATE // 10) / RATE
    tones = [
        6000 * np.sin(2 * np.pi * HERTZ[one] * time) if one in HERTZ else 0 * time for one in text
    ]
    wave = np.concatenate(tones)
    return np.rint(wave + 60 * random.normal(size=len(wave))).astype(np.int16)


def recordings(texts, **known):
    random = np.random.default_rng(0)
    return from_arrays(
        [spoken(text, random) for text in texts],
        columns=("sound",),
        kind="sound",
        rate=RATE,
        labels=np.array(texts, dtype=object),
        ids=np.array([f"{k}.wav" for k in range(len(texts))]),
        source="tones",
        **known,
    )


def settled(**sections):
    plain = {"task": {"name": "transcribe"}, "network": {"strides": 1}}
    experiment = from_mapping(plain | sections)
    return TASK.resolve(experiment, recordings(["ab"]), recordings(["ab"]))[0]


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """40 recordings of words of a few tones, with their transcripts as names."""
    folder, random = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    texts = set()
    while len(texts) < 40:
        words = ["".join(random.choice(list(HERTZ), random.integers(1, 3))) for _ in range(2)]
        texts.add("_".join(words))
    for text in sorted(texts):
        soundfile.write(folder / f"{text}.wav", spoken(text.replace("_", " "), random), RATE)
    return folder


# Normalisation


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello,  World!", "hello world"),
        ("Don’t — stop", "don't stop"),
        ("'tis the dogs' bowl", "tis the dogs bowl"),
        ("ÉTÉ 24", "été 24"),
        ("e\u0301t", "ét"),
        ("re-read", "re read"),
    ],
)
def test_transcripts_are_normalised(text, wanted):
    assert normalised(text, lowercase=True, punctuation=False) == wanted


def test_capitals_and_punctuation_can_be_kept():
    assert normalised("Stop,  HAL!", lowercase=False, punctuation=True) == "Stop, HAL!"


@given(st.text(max_size=20))
def test_a_normalised_transcript_does_not_change(text):
    once = normalised(text, lowercase=True, punctuation=False)
    assert normalised(once, lowercase=True, punctuation=False) == once


def test_a_transcript_of_punctuation_only_is_named():
    given_ = recordings(["ab", "c"])
    given_.labels[1] = "?!"
    with pytest.raises(DataError, match=r"the transcript '\?!' of '1.wav' is empty"):
        TASK.prepare(given_, settled())


# Scores

words = st.lists(st.sampled_from(["a", "b", "cc"]), min_size=1, max_size=5).map(" ".join)
pairs = st.lists(st.tuples(words, st.one_of(words, st.just(""))), min_size=1, max_size=6)


@given(pairs)
def test_errors_add_up_to_the_rates_of_jiwer(pairs):
    truths, answers = (np.array(column) for column in zip(*pairs, strict=True))
    for errors, rate in ((word_errors, jiwer.wer), (character_errors, jiwer.cer)):
        wrong, count = errors(truths, answers).sum(axis=0)
        assert wrong / count == pytest.approx(rate(truths.tolist(), answers.tolist()))


def test_errors_are_those_counted_by_hand():
    truths = np.array(["one two three", "four"])
    answers = np.array(["one too three three", ""])
    assert word_errors(truths, answers).tolist() == [[2, 3], [1, 1]]
    assert character_errors(truths, answers)[1].tolist() == [4, 4]


def test_confusions_list_what_replaced_what():
    found = transcribe._confusions(
        np.array(["a b", "a c", "a"]), np.array(["a c", "a", "a d"]), "process_words"
    )
    assert {(one["truth"], one["answer"]): one["times"] for one in found} == {
        ("b", "c"): 1,
        ("c", ""): 1,
        ("", "d"): 1,
    }


# What CTC can learn


@pytest.mark.parametrize(
    ("text", "strides", "frames"),
    [("abc", (), 3), ("aab", (), 4), ("aaa", (), 5), ("ab", (4,), 5), ("ab", (2, 3), 7)],
)
def test_frames_needed_are_the_fewest_that_suffice(text, strides, frames):
    preparation = TASK.prepare(recordings(["ab", "ca"]), settled())[0]
    fitted = transcribe.replace(preparation.own, strides=strides)
    assert frames_needed([text], fitted).tolist() == [frames]
    # As the network counts: each layer leaves one step for every `stride` frames, rounded up.
    steps = [frames, frames - 1]
    for stride in strides:
        steps = [-(-one // stride) for one in steps]
    least = len(text) + sum(map(str.__eq__, text, text[1:]))
    assert steps[0] >= least > steps[1]


def test_a_recording_too_short_for_its_transcript_is_named_and_left_out():
    given_ = recordings(["abc", "ab", "c"])
    given_.labels[1] = "abcabcabcabcabcabcabc"
    experiment = settled(preparation={"hop_length": 20.0, "frame_length": 25.0})
    preparation, notes = TASK.prepare(given_, experiment)
    assert any("'1.wav' has 9 frames, but" in note and "needs 21" in note for note in notes)
    assert TASK.examples(given_, preparation, experiment, "train").source.frames.ids.tolist() == [
        "0.wav",
        "2.wav",
    ]
    assert len(TASK.examples(given_, preparation, experiment, "test")) == 3


def test_recordings_that_are_all_too_short_are_an_error():
    given_ = recordings(["a"])
    given_.labels[0] = "abcabcabcabcabc"
    with pytest.raises(DataError, match="every recording is too short for its transcript"):
        TASK.prepare(given_, settled())


@pytest.mark.parametrize(
    ("seconds", "convolution", "strides"),
    [(0.04, (), 4), (0.1, (64,), 2), (0.12, (64,), 3), (0.4, (64, 64), 3), (2.0, (64, 64), 4)],
)
def test_convolutions_leave_about_four_steps_for_a_character(seconds, convolution, strides):
    given_ = recordings(["ab" * 20])
    long = np.resize(given_.values, (int(40 * seconds * RATE), 1))
    given_ = transcribe.replace(given_, values=long, stops=np.array([len(long)]))
    experiment = from_mapping({"task": {"name": "transcribe"}})
    experiment, notes = TASK.resolve(experiment, given_, given_)
    assert experiment.network.filters == convolution
    assert experiment.network.strides == strides
    assert any("convolutions reduce" in note for note in notes) == bool(convolution)


def test_targets_of_a_length_have_the_same_width_in_every_batch():
    given_ = recordings(["a", "abc", "ab", "abcabc"])
    experiment = settled()
    preparation, _ = TASK.prepare(given_, experiment)
    some = TASK.examples(given_, preparation, experiment, "train")
    assert some.targets(np.array([0]), int(some.lengths[1])).shape == (1, 3)
    found = some.targets(np.array([0, 3]), int(some.lengths.max()))
    assert found.tolist() == [[1, 0, 0, 0, 0, 0], [1, 2, 3, 1, 2, 3]]


def test_augmentation_never_leaves_too_few_frames():
    given_ = recordings(["abc"])
    given_.labels[0] = "abcabc" * 4 + "ab"  # 26 symbols, of 28 frames
    experiment = settled(training={"speed_perturbation": 0.5, "noise": 0.1, "freq_mask": 4})
    preparation, _ = TASK.prepare(given_, experiment)
    some = TASK.examples(given_, preparation, experiment, "train")
    for _ in range(30):
        steps = some.inputs(np.array([0]), int(some.lengths[0]))["steps"]
        assert (steps[0, :, 0] > -1e8).sum() >= 26


def test_recordings_are_split_whatever_their_transcripts_and_groups_stay_whole():
    texts = ["abc"[k % 3] for k in range(12)]
    parts = TASK.split(recordings(texts), Experiment(), True)
    assert [len(one) for one in (parts.train, parts.validation, parts.test)] == [9, 1, 2]
    groups = np.array([str(k % 4) for k in range(12)])
    given_ = recordings(texts, groups=groups)
    parts = TASK.split(given_, Experiment(), True)
    assert not set(parts.train.groups) & set(parts.test.groups)
    where = {name: label for name, label in zip(given_.ids, given_.labels, strict=True)}
    assert parts.test.labels.tolist() == [where[name] for name in parts.test.ids]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"task": {"streaming": True}, "network": {"bidirectional": True}},
            "task.streaming reads forwards only",
        ),
        ({"task": {"lm_order": 3, "beam_size": 1}}, "greedy decoding uses no model"),
    ],
)
def test_settings_of_other_tasks_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        settled(**settings)


def test_recordings_are_not_split_by_label():
    by_label = Experiment().having("split", by="label")
    with pytest.raises(ConfigError, match="split.by = label is not available"):
        TASK.split(recordings(["ab", "ca"]), by_label, True)


# From recordings to a model and back


def test_a_network_learns_the_language_of_tones(tones, tmp_path):
    settings = QUICK | {
        "data": {"pattern": "{label}"},
        "split": {"test": 8, "validation": 4},
        "task": {"name": "transcribe", "lm_order": 3},
        "network": {"units": [24]},
        "training": {
            "epochs": 40,
            "batch_size": 4,
            "learning_rate": 0.01,
            "speed_perturbation": 0.05,
        },
    }
    run = gatewise.train(str(tones), settings=settings, output=tmp_path / "run")
    scores = run.metrics["metrics"]
    assert scores["wer"] < 0.3
    assert scores["cer"] < run.metrics["baselines"]["most frequent transcript"]["cer"]
    assert run.metrics["verdict"]["metric"] == "wer"
    assert run.artefact.preparation.own.lm_weight in transcribe.WEIGHTS
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Hardest recordings" in report
    assert "<audio controls" in report
    # The saved model predicts like the trained one, also for a single new recording.
    kept = pl.read_csv(tmp_path / "run" / "predictions.csv")
    again = gatewise.predict(tmp_path / "run", str(tones))
    both = kept.join(again, on="id", suffix="_again")
    assert (both["transcript"] == both["transcript_again"]).all()
    name = kept["id"][0]
    alone = gatewise.predict(tmp_path / "run", str(tones / name))
    assert alone["transcript"].to_list() == kept["transcript"].to_list()[:1]
    judged = gatewise.evaluate(tmp_path / "run", str(tones))
    assert judged["metrics"]["wer"] < 0.3
    assert any("was trained on" in note for note in judged["notes"])


def test_a_table_of_new_recordings_is_predicted_in_its_order(tones, tmp_path):
    run = gatewise.train(str(tones), settings=QUICK | {"data": {"pattern": "{label}"}})
    names = sorted(path.name for path in tones.iterdir())[:3][::-1]
    table = tmp_path / "new.csv"
    pl.DataFrame({"path": [str(tones / name) for name in names]}).write_csv(table)
    found = gatewise.predict(run.artefact, str(table))
    assert [name.rpartition("/")[2] for name in found["id"]] == names
    assert found.columns == ["id", "transcript"]


def test_the_shipped_words_train(tmp_path):
    run = gatewise.train("spoken-words", settings=QUICK, output=tmp_path / "run")
    assert run.metrics["parts"]["test"]["sequences"] == 18
    assert set(run.metrics["metrics"]) == {"wer", "cer", "exact"}
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["details"]["examples"]
    assert path_of("spoken-words") == path_of("spoken-digits")


def test_strides_are_guessed_from_the_training_part_only():
    texts = ["abc", "cab", "bca", "acb"] * 5
    experiment = from_mapping({"task": {"name": "transcribe"}, "preparation": {"hop_length": 2.0}})
    train = recordings(["aaaaaaaaaaaa"] * 4)
    long, short = (
        TASK.resolve(experiment, recordings(whole), train)[0].network for whole in (texts, ["a"])
    )
    assert long == short
    chosen, notes = TASK.resolve(experiment, recordings(texts), recordings(texts[:4]))
    assert chosen.network.filters and "convolutions reduce" in notes[1]


def test_a_weight_without_a_model_is_refused_and_a_default_weight_is_noted():
    with pytest.raises(ConfigError, match=r"task\.lm_weight needs task\.lm_order"):
        settled(task={"name": "transcribe", "lm_weight": 0.3})
    given_ = settled(task={"name": "transcribe", "lm_order": 2}, split={"validation": 0.0})
    preparation, notes = TASK.prepare(recordings(["ab", "ba c"]), given_)
    assert preparation.own.lm_weight == 0.5
    assert any("no validation part to choose it on" in note for note in notes)
