"""A source is opened only once; a pipe, which can be read only once, proves it."""

import gzip
import itertools
import os
import threading
import weakref
from contextlib import closing

import numpy as np
import pandas as pd
import polars as pl
import pytest
import soundfile

import gatewise
from gatewise.arguments import experiment_for, holds_texts
from gatewise.data.sequences import texts_of
from gatewise.errors import DataError
from gatewise.prediction import predict
from gatewise.readers import delimited, sources
from gatewise.readers.files import File
from gatewise.readers.sources import opened
from gatewise.settings import DataSettings
from gatewise.tasks import SIGNS, TASKS, guess_task, read
from gatewise.training.ready import make_ready

SERIES = b"date,load,city\n" + b"".join(b"2020-01-%02d,%d,Ulm\n" % (k, k % 7) for k in range(1, 31))
PAIRS = b"".join(b"the cat number %d sleeps\tdie Katze Nummer %d ruht\n" % (k, k) for k in range(9))
RUNNING = b"It was a dark night.\nAnd so, it went on, and on.\nThe end of it came.\n"


@pytest.fixture
def piped():
    """The path of a pipe that delivers these bytes once."""
    ends = []

    def path_of(content):
        reading, writing = os.pipe()
        ends.append(reading)
        with closing(os.fdopen(writing, "wb")) as file:
            file.write(content)
        return f"/dev/fd/{reading}"

    yield path_of
    for end in ends:
        os.close(end)


@pytest.fixture
def given_to_readers(monkeypatch):
    """The files that readers have received so far."""
    seen = []
    for ending, reader in sources.READERS.items():

        def counted(file, settings, reader=reader):
            seen.append(file.path)
            return reader(file, settings)

        monkeypatch.setitem(sources.READERS, ending, counted)
    return seen


def sequences_of(source, task, **settings):
    return read(DataSettings(**settings), source, task=task)[0]


@pytest.mark.parametrize("target", [[], ["load"]])
def test_guessing_the_task_and_target_and_reading_open_a_file_once(
    tmp_path, given_to_readers, target
):
    path = tmp_path / "data.csv"
    path.write_bytes(SERIES)
    experiment, source = experiment_for(path, [{"network": {"units": [2]}}], target)
    ready = make_ready(experiment, source)
    assert (ready.task.name, ready.experiment.data.target) == ("forecast", ("load",))
    assert given_to_readers == [path]


def test_a_reader_opens_a_csv_once_and_its_rows_are_scanned_once(tmp_path, monkeypatch):
    path = tmp_path / "data.csv"
    path.write_bytes(SERIES)
    opened_files, plainly = [], File.opened

    def counted(file, *given):
        opened_files.append(file.path)
        return plainly(file, *given)

    monkeypatch.setattr(File, "opened", counted)
    source = opened(DataSettings(), path)
    assert source.table().columns == ["date", "load", "city"]
    assert opened_files == [path]
    assert guess_task(DataSettings(), source)[0] == "forecast"
    read(DataSettings(target=("load",)), source, task="forecast")
    assert opened_files == [path, path]


def test_rows_that_get_shorter_all_find_room(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK", 4096)
    path = tmp_path / "data.csv"
    loads = np.arange(3000)
    rows = [f"{'x' * (200 if load < 100 else 1)},{load},{load % 7},s{load}" for load in loads]
    path.write_text("\n".join(["note,load,label,id", *rows]) + "\n")
    source = opened(DataSettings(), path)
    assert source.table().likely < 1500
    found = read(DataSettings(target=("load",)), source, task="forecast")[0]
    np.testing.assert_array_equal(found.values[:, 0], loads)
    asked = DataSettings(id=("id",), features=("load",), label="label", layout="long")
    found = read(asked, path, task="classify")[0]
    assert found.labels.tolist() == [str(load % 7) for load in loads]


def test_labels_and_texts_are_distinguished_without_opening_the_file_again(
    tmp_path, given_to_readers
):
    path = tmp_path / "data.csv"
    path.write_text("review,stars\n" + "it was all very good,5\nit broke on day one,1\n" * 9)
    source = opened(DataSettings(), path)
    assert holds_texts(DataSettings(), source, "stars")
    told = DataSettings(label="stars")
    assert guess_task(told, source)[0] == "classify"
    assert len(read(told, source, task="classify")[0]) == 18
    assert given_to_readers == [path]


def test_the_kinds_of_columns_are_found_once_for_the_same_empty_cells(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,b\n?,x\n?,y\n")
    table = opened(DataSettings(), path).table()
    assert table.kinds(("?",)) is table.kinds(("?",))
    assert table.kinds(("?",)) == {"a": "empty", "b": "text"}
    assert table.kinds(("",)) == {"a": "text", "b": "text"}


def test_the_source_is_released_so_that_training_does_not_hold_it_twice(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 3)), y=[0, 1, 0, 1])
    source = opened(DataSettings(), tmp_path / "a.npz")
    held = weakref.ref(source.content())
    assert held() is not None
    read(DataSettings(), source, task="classify")
    assert held() is None


def test_the_content_determines_the_format_of_a_pipe_without_an_ending(piped):
    for content, task, length in (
        (SERIES, "forecast", 30),
        (SERIES.replace(b",", b";"), "forecast", 30),
        (b"en\tde\n" + PAIRS, "translate", None),
        (RUNNING, "language", len(RUNNING)),
    ):
        source = opened(DataSettings(), piped(content))
        assert guess_task(DataSettings(), source)[0] == task
        found = sequences_of(source, task)
        assert length is None or found.lengths.tolist() == [length]
        assert found.source == source.given


def test_a_pipe_reads_like_its_file(piped, tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(SERIES)
    through, direct = (sequences_of(one, "forecast") for one in (piped(SERIES), path))
    np.testing.assert_array_equal(through.values, direct.values)
    np.testing.assert_array_equal(through.times, direct.times)


def test_pairs_from_a_pipe_are_a_table(piped):
    made = sequences_of(piped(b"en\tde\n" + PAIRS), "translate")
    assert texts_of(made)[8] == "the cat number 8 sleeps"
    assert made.labels[8] == "die Katze Nummer 8 ruht"
    asked = DataSettings(text=("en",), label="de")
    new = read(asked, piped(b"id,en\n1,a cat\n2,a dog\n"), task="translate", purpose="predict")[0]
    assert texts_of(new) == ["a cat", "a dog"]


def test_a_named_pipe_is_read_by_its_ending_compressed_or_not(tmp_path):
    for name, content in (("a.csv", SERIES), ("a.csv.gz", gzip.compress(SERIES))):
        path = tmp_path / name
        os.mkfifo(path)
        writer = threading.Thread(target=path.write_bytes, args=(content,))
        writer.start()
        source = opened(DataSettings(), path)
        assert guess_task(DataSettings(), source)[0] == "forecast"
        assert sequences_of(source, "forecast").lengths.tolist() == [30]
        writer.join()


def test_an_empty_pipe_and_one_of_other_bytes_are_refused(piped):
    with pytest.raises(DataError, match="/dev/fd/.* is empty"):
        guess_task(DataSettings(), piped(b""))
    source = opened(DataSettings(), piped(b"PK\x03\x04\xff\xfe\n\x80,\x81\n"))
    with pytest.raises(DataError, match="/dev/fd/.*: line 1 is not utf-8 text"):
        sequences_of(source, guess_task(DataSettings(), source)[0])


def test_training_and_prediction_read_pipes(piped, series_file, forecast_run):
    content = series_file.read_bytes()
    layer = {"task": {"horizon": 2, "lookback": 4}, "network": {"units": [2]}}
    experiment, source = experiment_for(piped(content), [layer], ["load"])
    assert make_ready(experiment, source).task.name == "forecast"
    assert predict(forecast_run, piped(content)).equals(predict(forecast_run, series_file))


@pytest.mark.parametrize("frame", [pl.DataFrame, pd.DataFrame])
def test_a_frame_is_converted_to_a_table_once(frame):
    source = opened(DataSettings(), frame({"a": [1.0, 2.0], "b": [3.0, 4.0]}))
    assert source.content(one_series=True) is source.content() is source.table()


def test_every_sign_marks_some_task_and_every_task_reads():
    assert {sign for task in TASKS.values() for sign in task.recognise} == set(SIGNS)
    assert all(callable(task.read) for task in TASKS.values())


@pytest.mark.parametrize(
    "layout", ["named recordings", "classes of recordings", "classes of texts"]
)
def test_a_folder_is_read_alike_in_the_folder_of_data_sets(layout, tmp_path, monkeypatch):
    place = tmp_path / "sets" / "mine"
    for number, label in itertools.product(range(12), ("low", "high")):
        name = f"{label}_{number}" if layout.startswith("named") else f"{label}/{number}"
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if layout.endswith("texts"):
            path.with_suffix(".txt").write_text(f"a {label} tone, number {number}")
        else:
            wave = np.sin(np.arange(400) * (0.1 if label == "low" else 0.7) + number)
            soundfile.write(path.with_suffix(".wav"), wave / 2, 4000)
    pattern = {"data": {"pattern": "{label}_{number}"}} if layout.startswith("named") else {}
    monkeypatch.chdir(tmp_path)
    whole = gatewise.look(place, settings=pattern)
    monkeypatch.setenv("GATEWISE_DATA", str(tmp_path / "sets"))
    found = gatewise.look("mine", settings=pattern)
    assert found["task"] == whole["task"] == "classify"
    assert found["parts"] == whole["parts"] and found["notes"][1:] == whole["notes"][1:]
