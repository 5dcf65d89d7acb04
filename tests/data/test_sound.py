"""Recordings are classified as sequences of frames; the report plays what was recorded."""

import base64
import io
import wave

import numpy as np
import pytest
import soundfile

import gatewise
from gatewise.data import sound, spectra
from gatewise.data.batches import PADDING
from gatewise.data.sequences import from_arrays
from gatewise.errors import ConfigError
from gatewise.settings import from_mapping
from gatewise.tasks.classify.task import TASK

RATE = 8000
QUICK = {
    "task": {"name": "classify"},
    "network": {"units": [8]},
    "preparation": {"n_mels": 16},
    "training": {"epochs": 2, "batch_size": 16},
    "evaluation": {"n_resamples": 50},
}


def recordings(*lengths):
    random = np.random.default_rng(0)
    return from_arrays(
        [random.integers(-5000, 5000, length).astype(np.int16) for length in lengths],
        columns=("sound",),
        kind="sound",
        rate=RATE,
        labels=np.array([["no", "yes"][k % 2] for k in range(len(lengths))], dtype=object),
        ids=np.array([f"{k}.wav" for k in range(len(lengths))]),
    )


def prepared(given, **sections):
    experiment = from_mapping({"task": {"name": "classify"}, **sections})
    experiment, _ = TASK.resolve(experiment, given, given)
    preparation, _ = TASK.prepare(given, experiment)
    return experiment, preparation


def test_steps_are_scaled_frames_and_padding_is_marked():
    given = recordings(900, 2000)
    experiment, preparation = prepared(given)
    some = TASK.examples(given, preparation, experiment, "test")
    steps = some.inputs(np.array([0, 1]), int(some.lengths.max()))["steps"]
    frames = np.concatenate([spectra.frames(one[:, 0], preparation.own.spectrum) for one in given])
    real = steps[steps[..., 0] != PADDING]
    np.testing.assert_allclose(real, (frames - frames.mean(0)) / frames.std(0), atol=1e-4)
    assert (steps[0, int(some.lengths[0]) :] == PADDING).all()


def test_a_scale_by_recording_gives_each_its_own_mean_and_deviation():
    given = recordings(3000, 2000)
    quiet = np.r_[given.values[:3000] // 20, given.values[3000:]]
    given = spectra.replace(given, values=quiet)
    settings = {"preparation": {"scale_by": "series"}, "training": {"freq_mask": 0}}
    experiment, preparation = prepared(given, **settings)
    for role in ("train", "test"):
        some = TASK.examples(given, preparation, experiment, role)
        for k in (0, 1):
            steps = some.inputs(np.array([k]), int(some.lengths[k]))["steps"][0]
            np.testing.assert_allclose(steps.mean(axis=0), 0, atol=1e-4)
            np.testing.assert_allclose(steps.std(axis=0), 1, atol=1e-3)


def test_changed_and_unchanged_recordings_are_scaled_alike():
    given = recordings(3000, 2000)
    for by in ("series", "column"):
        settings = {"preparation": {"scale_by": by}, "training": {"noise": 1e-9}}
        experiment, preparation = prepared(given, **settings)
        changed, still = (
            TASK.examples(given, preparation, experiment, role) for role in ("train", "test")
        )
        which, length = np.array([1, 0]), int(still.lengths.max())
        assert (changed.lengths >= still.lengths).all()
        found = [one.inputs(which, length)["steps"] for one in (changed, still)]
        np.testing.assert_allclose(*found, atol=1e-3)


def test_changes_are_new_each_time_and_only_in_training():
    given = recordings(3000, 2000)
    experiment, preparation = prepared(given, training={"speed_perturbation": 0.2, "freq_mask": 5})
    which = np.array([0, 1])
    for role, alike in (("train", False), ("validation", True), ("test", True)):
        some = TASK.examples(given, preparation, experiment, role)
        twice = [some.inputs(which, int(some.lengths.max()))["steps"] for _ in range(2)]
        assert np.array_equal(*twice) == alike


def test_long_recordings_are_cut_into_windows_of_frames():
    given = recordings(8000, 900)
    experiment, preparation = prepared(given, task={"window": 20, "stride": 10})
    some = TASK.examples(given, preparation, experiment, "test")
    assert some.lengths.tolist() == [20] * 8 + [9]
    assert some.source.frames.ids[1] == "0.wav@10"
    assert len(TASK.measures(some, preparation, experiment)[0].clusters) == 9
    assert TASK.measures(some, preparation, experiment)[0].clusters.max() == 1


def test_what_the_report_plays_is_what_was_recorded():
    given = recordings(900, 2000)
    experiment, preparation = prepared(given)
    some = TASK.examples(given, preparation, experiment, "test")
    shown = sound.shown(some.source, 0)
    head, _, content = shown["sound"].partition(",")
    assert head == "data:audio/wav;base64"
    with wave.open(io.BytesIO(base64.b64decode(content))) as file:
        played = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert file.getframerate() == RATE
    np.testing.assert_array_equal(played, some.source.played[0][:, 0])
    assert np.array_equal(played, given[0][: len(played), 0])


def test_a_long_recording_is_drawn_and_not_played():
    given = recordings(900, 100_000)
    experiment, preparation = prepared(given)
    shown = sound.shown(TASK.examples(given, preparation, experiment, "test").source, 1)
    assert "sound" not in shown
    assert len(shown["values"]) <= sound.MAX_FRAMES


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("training", "speed_perturbation", 0.1),
        ("preparation", "n_mels", 20),
        ("data", "pattern", "{label}"),
    ],
)
def test_settings_of_recordings_are_refused_for_other_data(section, key, value):
    numbers = ([np.arange(3.0 + k) for k in range(40)], np.array(["a", "b"] * 20))
    with pytest.raises(
        ConfigError, match=rf"{section}\.{key} does not apply .* classify of recordings"
    ):
        gatewise.train(numbers, task="classify", settings={section: {key: value}})


def test_a_users_folder_of_words_becomes_a_classifier(tmp_path):
    """A folder of recordings named by word -> classifier -> a new recording."""
    random = np.random.default_rng(0)
    folder = tmp_path / "words"
    folder.mkdir()
    time = np.arange(RATE // 4) / RATE
    for number in range(12):
        for word, hertz in (("low", 300), ("high", 2000)):
            pitch = hertz * random.uniform(0.9, 1.1)
            tone = 0.2 * np.sin(2 * np.pi * pitch * time) + 0.01 * random.normal(size=len(time))
            soundfile.write(folder / f"{word}_{number}.wav", tone, RATE)
    settings = QUICK | {"training": {"epochs": 8, "batch_size": 4, "learning_rate": 0.01}}
    run = gatewise.train(str(folder), settings=settings, output=tmp_path / "run")
    assert run.metrics["metrics"]["accuracy"] == 1
    assert "logistic regression on frame statistics" in run.metrics["baselines"]
    time = np.arange(44_100) / 44_100
    tone = 0.3 * np.sin(2 * np.pi * 2050 * time[:15_000])
    new = np.stack([tone, tone], axis=1) + 0.01 * random.normal(size=(15_000, 2))
    soundfile.write(tmp_path / "new.flac", new, 44_100)
    found = gatewise.predict(tmp_path / "run", str(tmp_path / "new.flac"))
    assert found["id"].to_list() == ["new.flac"]
    assert found["label"].to_list() == ["high"]


def test_the_shipped_digits_train(tmp_path):
    settings = QUICK | {
        "training": {"epochs": 3},
        "task": {"name": "classify", "blend": "logistic"},
    }
    run = gatewise.train("spoken-digits", settings=settings, output=tmp_path / "run")
    assert run.metrics["parts"]["test"]["sequences"] == 18
    assert run.metrics["answer"] == "LSTM with logistic regression on frame statistics"
    assert len(gatewise.predict(tmp_path / "run", "spoken-digits")) == 54
