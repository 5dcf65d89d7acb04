"""Recordings of any format, rate or number of channels, and their labels."""

import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import soxr

from gatewise.errors import ConfigError, DataError
from gatewise.readers import recordings
from gatewise.settings import DataSettings
from gatewise.tasks import guess_task, read

RATE = 8000


def tone(seconds=0.1, rate=RATE, hertz=440):
    wave = 8000 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
    return np.rint(wave).astype(np.int16)


def write(path, samples=None, rate=RATE, **known):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone() if samples is None else samples, rate, **known)


def read_all(source, task="classify", purpose="train", **settings):
    return read(DataSettings(**settings), str(source), task=task, purpose=purpose)


def folder_of(tmp_path, names):
    for name in names:
        write(tmp_path / "data" / name)
    return tmp_path / "data"


# Samples


@pytest.mark.parametrize(
    ("ending", "subtype"), [("wav", "PCM_16"), ("wav", "FLOAT"), ("wav", "PCM_24"), ("flac", None)]
)
def test_samples_are_read_as_they_were_written(tmp_path, ending, subtype):
    samples = tone()
    given = samples if subtype != "FLOAT" else samples / 32768
    write(tmp_path / f"one.{ending}", given, subtype=subtype)
    found, _, _ = read_all(tmp_path / f"one.{ending}", purpose="predict")
    assert (found.kind, found.rate, found.values.dtype) == ("sound", RATE, np.int16)
    np.testing.assert_array_equal(found[0][:, 0], samples)
    assert found.ids.tolist() == [f"one.{ending}"]


def test_ogg_is_close_to_the_original(tmp_path):
    samples = tone(seconds=0.5)
    write(tmp_path / "one.ogg", samples)
    found, _, _ = read_all(tmp_path / "one.ogg", purpose="predict")
    assert np.corrcoef(found[0][:, 0], samples)[0, 1] > 0.99


def test_channels_are_averaged(tmp_path):
    write(tmp_path / "one.wav", np.stack([tone(hertz=300), tone(hertz=700)], axis=1))
    found, _, _ = read_all(tmp_path / "one.wav", purpose="predict")
    mean = (tone(hertz=300).astype(float) + tone(hertz=700)) / 2
    assert np.abs(found[0][:, 0] - mean).max() <= 1


def test_other_rates_become_the_most_frequent_one_with_a_note(tmp_path):
    for name in ("a/1.wav", "a/2.wav", "b/1.wav"):
        write(tmp_path / name)
    other = tone(seconds=1, rate=22_050)
    write(tmp_path / "b/2.wav", other, 22_050)
    found, settings, notes = read_all(tmp_path)
    assert found.rate == settings.sample_rate == RATE
    assert any("resampled to 8,000 Hz (data.sample_rate): 1 of 22,050 Hz" in note for note in notes)
    wanted = soxr.resample(other.astype(np.float32), 22_050, RATE)
    assert abs(len(found[3]) - len(wanted)) <= 1
    size = min(len(found[3]), len(wanted))
    assert np.abs(found[3][:size, 0] - wanted[:size]).max() < 50


def test_the_rate_can_be_set(tmp_path):
    write(tmp_path / "a" / "1.wav", tone(seconds=1))
    found, _, _ = read_all(tmp_path / "a" / "1.wav", purpose="predict", sample_rate=4000)
    assert found.rate == 4000
    assert abs(len(found[0]) - 4000) <= 1


def test_long_recordings_are_read_block_by_block(tmp_path, monkeypatch):
    samples = tone(seconds=1)
    write(tmp_path / "one.wav", samples)
    monkeypatch.setattr(recordings, "BLOCK", 1000)  # 8,000 is a whole number of them
    found, _, _ = read_all(tmp_path / "one.wav", purpose="predict")
    np.testing.assert_array_equal(found[0][:, 0], samples)


# Labels in names


def test_folders_are_labels(tmp_path):
    folder = folder_of(tmp_path, ["yes/1.wav", "yes/2.wav", "no/1.wav", "no/2.wav"])
    found, settings, notes = read_all(folder)
    assert found.ids.tolist() == ["no/1.wav", "no/2.wav", "yes/1.wav", "yes/2.wav"]
    assert found.labels.tolist() == ["no", "no", "yes", "yes"]
    assert settings.pattern == "{label}/{file}"
    assert any("folder of a recording is taken" in note for note in notes)


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["yes_ann_1", "yes_bob_1", "no_ann_1", "no_bob_1"], "{label}_{rest}"),
        (["yes-1", "yes-2", "no-1", "no-2"], "{label}-{rest}"),
        (["yes1", "yes12", "no1", "no02"], "{label}{number}"),
    ],
)
def test_labels_are_read_from_the_names_of_files_with_a_note(tmp_path, names, pattern):
    folder = folder_of(tmp_path, [f"{name}.wav" for name in names])
    found, settings, notes = read_all(folder)
    wanted = {name: name[: 3 if name.startswith("yes") else 2] for name in names}
    assert found.labels.tolist() == [wanted[name[:-4]] for name in found.ids.tolist()]
    assert settings.pattern == pattern
    assert any(pattern in note for note in notes)


def test_a_table_that_names_recordings_and_labels_is_asked_for(tmp_path):
    """The folders of ESC-50 and UrbanSound8K, whose names begin with or hold a fold."""
    folder = folder_of(tmp_path, [f"audio/{k % 2 + 1}-{k}.wav" for k in range(6)])
    (folder / "meta").mkdir()
    rows = [
        {"filename": f"{k % 2 + 1}-{k}.wav", "category": "dog" if k < 3 else "rain"}
        for k in range(6)
    ]
    path = folder / "meta" / "esc50.csv"
    pl.DataFrame(rows).write_csv(path)
    with pytest.raises(
        ConfigError, match=rf"{re.escape(str(path))} names the recordings and their"
    ):
        read_all(folder)
    found, _, _ = read_all(path)
    assert found.labels.tolist() == ["dog"] * 3 + ["rain"] * 3
    found, _, _ = read_all(folder, pattern="{label}-{take}")
    assert sorted(set(found.labels.tolist())) == ["1", "2"]


def test_a_pattern_names_label_and_group(tmp_path):
    folder = folder_of(tmp_path, ["7_ann_1.wav", "8_bob_13.wav"])
    pattern = "{label}_{speaker}_{take}.wav"
    found, _, _ = read_all(folder, pattern=pattern, group="speaker")
    assert found.labels.tolist() == ["7", "8"]
    assert found.groups.tolist() == ["ann", "bob"]


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"pattern": "{word}_{take}"}, ConfigError, "must contain the label"),
        ({"pattern": "{label}_{label}"}, ConfigError, "names a field twice"),
        ({"pattern": "{label}_{1}"}, ConfigError, r"must begin with a letter, unlike \{1\}"),
        ({"pattern": "{label}_{a}", "group": "speaker"}, ConfigError, "has no such field"),
        ({"pattern": "{label}-{take}"}, DataError, "'7_ann.wav' does not match data.pattern"),
        ({}, ConfigError, "cannot determine the labels"),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused(tmp_path, settings, error, said):
    folder = folder_of(tmp_path, ["7_ann.wav", "8_bob.wav"])
    with pytest.raises(error, match=said):
        read_all(folder, **settings)


def test_new_recordings_need_no_label(tmp_path):
    folder = folder_of(tmp_path, ["new.wav", "newer.wav"])
    found, _, _ = read_all(folder, purpose="predict", pattern="{label}_{take}", group="speaker")
    assert found.labels is None
    assert len(found) == 2


def test_archives_are_read_like_folders(tmp_path):
    folder = folder_of(tmp_path, ["yes/1.wav", "no/1.wav"])
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for path in sorted(folder.rglob("*.wav")):
            archive.write(path, path.relative_to(folder))
    packed, _, _ = read_all(tmp_path / "data.zip")
    plain, _, _ = read_all(folder)
    np.testing.assert_array_equal(packed.values, plain.values)
    assert packed.ids.tolist() == plain.ids.tolist()
    assert packed.labels.tolist() == plain.labels.tolist()


# Transcripts


@pytest.mark.parametrize("packed", [True, False])
def test_a_single_top_folder_is_not_a_label(tmp_path, packed):
    """As in most archives on the web: digits/yes_1.wav, digits/no_1.wav ..."""
    place = folder_of(
        tmp_path, [f"digits/{label}_{k}.wav" for label in ("no", "yes") for k in "12"]
    )
    if packed:
        place = Path(shutil.make_archive(tmp_path / "packed", "zip", place))
    found, _, notes = read_all(place)
    assert found.labels.tolist() == ["no", "no", "yes", "yes"]
    assert any("names of files are read as {label}_{rest}" in note for note in notes)


def test_a_folder_whose_names_hold_no_labels_is_refused(tmp_path):
    place = folder_of(tmp_path, ["all/a.wav", "all/b.wav"])
    with pytest.raises(ConfigError, match="cannot determine the labels"):
        read_all(place)


def test_a_name_can_be_the_transcript(tmp_path):
    folder = folder_of(tmp_path, ["0_1_1.wav", "1_0.wav"])
    found, _, _ = read_all(folder, "transcribe", pattern="{label}")
    assert found.labels.tolist() == ["0 1 1", "1 0"]


def test_texts_next_to_recordings_are_transcripts(tmp_path):
    folder = folder_of(tmp_path, ["a/1.wav", "a/2.wav"])
    (folder / "a" / "1.txt").write_text("good\nmorning\n")
    (folder / "a" / "2.txt").write_text("evening")
    (folder / "readme.txt").write_text("not a transcript")
    found, _, _ = read_all(folder, "transcribe")
    assert found.labels.tolist() == ["good morning", "evening"]


def test_transcripts_of_a_folder_can_be_in_one_file(tmp_path):
    folder = folder_of(tmp_path, ["84/12/84-12-0.flac", "84/12/84-12-1.flac"])
    lines = "84-12-0 GO ON\n84-12-1 STOP\n"
    (folder / "84" / "12" / "84-12.trans.txt").write_text(lines)
    found, _, _ = read_all(folder, "transcribe")
    assert found.labels.tolist() == ["GO ON", "STOP"]


def test_transcripts_of_ljspeech_are_read(tmp_path):
    folder = folder_of(tmp_path, ["wavs/LJ-1.wav", "wavs/LJ-2.wav"])
    (folder / "metadata.csv").write_text("LJ-1|No. 1|number one\nLJ-2|stop\n")
    found, _, _ = read_all(folder, "transcribe")
    assert found.labels.tolist() == ["number one", "stop"]
    assert guess_task(DataSettings(), folder)[0] == "transcribe"


def test_a_recording_without_a_transcript_is_named(tmp_path):
    folder = folder_of(tmp_path, ["1.wav", "2.wav", "3.wav"])
    (folder / "1.txt").write_text("one")
    with pytest.raises(DataError, match=r"'2.wav' has no transcript, nor has any of 1 more"):
        read_all(folder, "transcribe")


def test_a_folder_without_transcripts_says_how_to_give_them(tmp_path):
    with pytest.raises(ConfigError, match=r"there are no transcripts.*data.pattern=\{label\}"):
        read_all(folder_of(tmp_path, ["1.wav"]), "transcribe")


# Tables


def table(tmp_path, rows, name="data.csv"):
    for row in rows:
        write(tmp_path / row["path"])
    pl.DataFrame(rows).write_csv(tmp_path / name)
    return tmp_path / name


def test_paths_of_a_table_are_relative_to_it(tmp_path):
    rows = [
        {"path": "wav/1.wav", "label": "yes", "who": "ann"},
        {"path": "wav/2.wav", "label": "no", "who": "bob"},
    ]
    found, settings, notes = read_all(table(tmp_path, rows), group="who")
    assert found.ids.tolist() == ["wav/1.wav", "wav/2.wav"]
    assert found.labels.tolist() == ["yes", "no"]
    assert found.groups.tolist() == ["ann", "bob"]
    assert (settings.sound, settings.label) == ("path", "label")
    assert any("read as paths of recordings" in note for note in notes)


def test_paths_of_a_table_may_lead_into_the_folder_of_data_sets(tmp_path, monkeypatch):
    write(tmp_path / "elsewhere" / "1.wav")
    (tmp_path / "data.csv").write_text("path,text\n1.wav,hello\n")
    monkeypatch.setenv("GATEWISE_DATA", str(tmp_path / "elsewhere"))
    found, settings, _ = read_all(tmp_path / "data.csv", "transcribe")
    assert found.labels.tolist() == ["hello"]
    assert settings.label == "text"


def test_a_missing_recording_is_named_with_its_row(tmp_path):
    path = table(tmp_path, [{"path": "1.wav", "label": "a"}, {"path": "2.wav", "label": "b"}])
    (tmp_path / "2.wav").unlink()
    with pytest.raises(DataError, match=r"row 3 .*there is no recording '2.wav'"):
        read_all(path)


def test_an_empty_label_is_named(tmp_path):
    rows = [{"path": "1.wav", "label": "a"}, {"path": "2.wav", "label": ""}]
    with pytest.raises(DataError, match=r"1 of 2 recordings has no label.*'2.wav'"):
        read_all(table(tmp_path, rows))


def test_a_few_recordings_without_a_label_are_left_out_and_named(tmp_path):
    for name in ("3.wav", "4.wav"):
        write(tmp_path / name)
    rows = [{"path": f"{k}.wav", "label": label} for k, label in enumerate("a ba", start=1)]
    found, _, notes = read_all(
        table(tmp_path, [{**row, "label": row["label"].strip()} for row in rows])
    )
    assert (found.ids.tolist(), found.labels.tolist()) == (
        ["1.wav", "3.wav", "4.wav"],
        ["a", "b", "a"],
    )
    assert (
        "1 of 4 recordings has no label or transcript and is left out; the first is '2.wav'"
        in notes
    )


def test_a_table_without_recordings_cannot_be_transcribed(tmp_path):
    (tmp_path / "data.csv").write_text("x,label\n1,a\n2,b\n")
    with pytest.raises(DataError, match="transcribe reads a folder or a zip archive"):
        read_all(tmp_path / "data.csv", "transcribe")


# Invalid recordings


def test_an_unreadable_recording_is_named(tmp_path):
    folder = folder_of(tmp_path, ["yes/1.wav", "no/1.wav"])
    (folder / "no" / "2.wav").write_bytes(b"no sound at all")
    with pytest.raises(DataError, match=r"no/2.wav cannot be read as a recording"):
        read_all(folder)


def test_silent_and_empty_recordings_are_left_out_of_training_with_a_note(tmp_path):
    folder = folder_of(tmp_path, ["yes/1.wav", "no/1.wav"])
    write(folder / "no" / "2.wav", np.zeros(100, np.int16))
    write(folder / "no" / "3.wav", np.zeros(0, np.int16))
    found, _, notes = read_all(folder)
    assert found.ids.tolist() == ["no/1.wav", "yes/1.wav"]
    assert "2 recordings hold no sound and are left out: the first is 'no/2.wav'" in notes


def test_silence_is_answered_with_a_note(tmp_path):
    write(tmp_path / "1.wav", np.zeros(0, np.int16))
    found, _, notes = read_all(tmp_path, purpose="predict")
    assert len(found) == 1
    assert any("predictions for silence are meaningless" in note for note in notes)


def test_nothing_but_silence_is_an_error(tmp_path):
    for label in "ab":
        write(tmp_path / label / "1.wav", np.zeros(10, np.int16))
    with pytest.raises(DataError, match="no recording holds any sound"):
        read_all(tmp_path)


def test_a_folder_without_recordings_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match=r"is a folder without recordings.*; it holds notes\.txt\."):
        read_all(tmp_path)


# The task


def test_files_next_to_the_recordings_determine_the_task(tmp_path):
    folder = folder_of(tmp_path, ["yes/1.wav", "no/1.wav"])
    assert guess_task(DataSettings(), str(folder))[0] == "classify"
    (folder / "yes" / "1.txt").write_text("yes, please")
    assert guess_task(DataSettings(), str(folder))[0] == "transcribe"


@pytest.mark.parametrize(("column", "task"), [("label", "classify"), ("text", "transcribe")])
def test_the_column_next_to_the_paths_determines_the_task(tmp_path, column, task):
    rows = [{"path": "1.wav", column: "a"}, {"path": "2.wav", column: "b"}]
    assert guess_task(DataSettings(), str(table(tmp_path, rows)))[0] == task


def test_paths_in_memory_are_recordings(tmp_path):
    folder = folder_of(tmp_path, ["a.wav", "b.wav"])
    paths = [str(folder / "a.wav"), folder / "b.wav"]
    for task in ("classify", "transcribe"):
        found, _, _ = read(DataSettings(), paths, task=task, purpose="predict")
        assert found.kind == "sound" and len(found) == 2
    found, _, _ = read(DataSettings(), (paths, ["yes", "no"]), task="classify")
    assert found.labels.tolist() == ["yes", "no"]


def test_a_transcript_may_be_null_but_a_label_may_not(tmp_path):
    folder = folder_of(tmp_path, ["a.wav", "b.wav"])
    (folder / "t.csv").write_text("path,text\na.wav,null\nb.wav,eins\n")
    found, _, _ = read_all(folder / "t.csv", task="transcribe")
    assert found.labels.tolist() == ["null", "eins"]
    (folder / "t.csv").write_text("path,label\na.wav,null\nb.wav,eins\n")
    with pytest.raises(DataError, match=r"1 of 2 recordings has no label.*data\.missing_values"):
        read_all(folder / "t.csv", label="label")


def test_a_table_can_be_evaluated_after_training_on_a_folder(tmp_path):
    folder = folder_of(tmp_path, ["a.wav", "b.wav"])
    (folder / "t.csv").write_text("path,text\na.wav,one\nb.wav,two\n")
    found, _, _ = read_all(folder / "t.csv", task="transcribe", purpose="evaluate")
    assert found.labels.tolist() == ["one", "two"]


def test_a_damaged_archive_is_a_sentence(tmp_path):
    folder = folder_of(tmp_path, ["yes/a.wav", "no/b.wav"])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("yes/a.wav", "no/b.wav"):
            archive.write(folder / name, name)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[200] ^= 255
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip#yes/a\.wav cannot be unpacked"):
        read_all(tmp_path / "a.zip")


def test_an_error_names_the_task_for_a_folder_of_texts(tmp_path):
    (tmp_path / "novel.txt").write_text("It was")
    with pytest.raises(DataError, match="--task language"):
        read_all(tmp_path)
