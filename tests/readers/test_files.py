import bz2
import gzip
import json
import re
import struct
import zipfile
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from gatewise.errors import ConfigError, DataError
from gatewise.settings import DataSettings
from gatewise.tasks import guess_task, read


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def csv(folder: Path, *rows: str) -> Path:
    return written(folder / "data.csv", "\n".join(rows) + "\n")


def forecast(source, **settings):
    return read(DataSettings(**settings), source, task="forecast")


def classify(source, purpose="train", **settings):
    return read(DataSettings(**settings), source, task="classify", purpose=purpose)


def column(sequences, name):
    return sequences.values[:, sequences.columns.index(name)].tolist()


DAYS = ("date,load", "2020-01-01,1", "2020-01-02,2", "2020-01-03,3", "2020-01-04,4")

# --- kinds of files


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "tsv", "tsv.gz", "txt", "txt.gz"])
def test_delimited_text_reads_the_same_plain_and_compressed(tmp_path, ending):
    text = "\n".join(DAYS).replace(",", "," if ending.startswith("csv") else "\t")
    path = tmp_path / f"data.{ending}"
    path.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else text.encode())
    sequences, settings, notes = forecast(path)
    assert sequences.values.tolist() == [[1], [2], [3], [4]]
    assert sequences.columns == ("load",)
    assert sequences.step == "1d"
    assert (settings.layout, settings.time, settings.target) == ("long", ("date",), ("load",))
    assert "the column 'date' is taken as the time" in notes
    assert "the column 'load' is taken as the target" in notes


@pytest.mark.parametrize("separator", ["\t", ";", ",", "|", " "])
def test_the_header_determines_the_separator_of_a_text_file(tmp_path, separator):
    path = written(tmp_path / "data.txt", f"a{separator}b\n1{separator}2\n3{separator}4\n")
    assert forecast(path, target=("b",))[0].values.tolist() == [[2], [4]]


def test_a_csv_with_semicolons_is_read_with_a_note(tmp_path):
    sequences, _, notes = forecast(csv(tmp_path, "a;b", "1;2", "3;4"), target=("a",))
    assert sequences.values.tolist() == [[1], [3]]
    assert "the columns are separated by semicolons" in notes


def test_quoted_line_ends_and_blank_lines_at_the_end_are_not_rows(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b'\xef\xbb\xbf"text","y"\r\n"one\r\nrow",1\r\n"say ""hi"", all",2\r\n\r\n\r\n')
    assert forecast(path)[0].values.tolist() == [[1], [2]]


def test_parquet_jsonl_and_frames_read_like_csv(tmp_path):
    frame = pl.DataFrame({"date": [date(2020, 1, day) for day in (1, 2, 3)], "load": [1, 2, 3]})
    frame.write_parquet(tmp_path / "data.parquet")
    frame.write_ndjson(tmp_path / "data.jsonl")
    lines = (tmp_path / "data.jsonl").read_bytes()
    (tmp_path / "data.ndjson.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "data.json").write_bytes(b"\n" + lines)  # many sets call it so
    endings = ("parquet", "jsonl", "ndjson.gz", "json")
    files = [tmp_path / f"data.{ending}" for ending in endings]
    frames = [frame, frame.lazy(), frame.to_pandas(), frame.to_arrow()]
    indexed = frame.to_pandas().set_index("date")
    for source in [*files, *frames, indexed]:
        sequences, settings, _ = forecast(source)
        assert sequences.values.tolist() == [[1], [2], [3]]
        assert sequences.times[0] == np.datetime64("2020-01-01")
        assert (sequences.step, settings.time) == ("1d", ("date",))


def test_a_pandas_frame_keeps_its_categories_as_levels():
    frame = pd.DataFrame({"y": [1.0, 2.0, 3.0], "day": pd.Categorical(["mo", "tu", "mo"])})
    sequences, _, _ = forecast(frame, target=("y",), known=("day",))
    assert sequences.levels == {"day": ("mo", "tu")}
    assert column(sequences, "day") == [0, 1, 0]


def test_an_arrow_table_classifies(tmp_path):
    table = pa.table({"id": ["a", "a", "b"], "x": [1, 2, 3], "label": ["u", "u", "v"]})
    sequences, _, _ = classify(table)
    assert sequences.labels.tolist() == ["u", "v"]


def test_lists_in_jsonl_and_parquet_are_sequences(tmp_path):
    rows = [
        {"id": "a", "x": [1, 2, 3], "z": [4, 5, 6], "label": "up", "age": 3.5},
        {"id": "b", "x": [7.5], "z": [8], "label": "down", "age": 4.0},
    ]
    path = written(tmp_path / "data.jsonl", "\n".join(map(json.dumps, rows)))
    pl.DataFrame(rows).write_parquet(tmp_path / "data.parquet")
    for source in (path, tmp_path / "data.parquet"):
        sequences, settings, _ = classify(source, static=("age",))
        assert sequences.ids.tolist() == ["a", "b"]
        assert sequences.labels.tolist() == ["up", "down"]
        assert sequences[0].tolist() == [[1, 4], [2, 5], [3, 6]]
        assert sequences[1].tolist() == [[7.5, 8]]
        assert sequences.static["age"].tolist() == [3.5, 4.0]
        assert settings.features == ("x", "z")


def test_lists_of_lists_are_steps_of_several_columns(tmp_path):
    text = '{"x": [[1, 2], [3, 4]], "label": 1}\n{"x": [[5, 6]], "label": 0}\n'
    sequences, _, _ = classify(written(tmp_path / "data.jsonl", text))
    assert sequences.columns == ("x0", "x1")
    assert [one.tolist() for one in sequences] == [[[1, 2], [3, 4]], [[5, 6]]]
    assert sequences.labels.tolist() == ["1", "0"]


def test_lists_with_times_are_put_on_their_grid(tmp_path):
    text = '{"y": [1, 2, 4], "date": ["2020-01-01", "2020-01-02", "2020-01-04"]}\n'
    path = written(tmp_path / "data.jsonl", text)
    sequences, settings, _ = forecast(path, gaps="fill")
    assert settings.time == ("date",)
    assert sequences.values.tolist() == [[1], [2], [2], [4]]


def test_lists_of_unequal_length_in_a_row_are_refused(tmp_path):
    text = '{"x": [1, 2], "z": [1], "label": 1}\n'
    with pytest.raises(DataError, match=r"row 1 .*'z' has 1 steps, but 'x' has 2"):
        classify(written(tmp_path / "data.jsonl", text))
    text = '{"x": [[1, 2], [3]], "label": 1}\n'
    with pytest.raises(DataError, match="the lists within 'x' differ in length"):
        classify(written(tmp_path / "data.jsonl", text))


TS = (
    "# a comment",
    "@problemName Toy",
    "@timeStamps false",
    "@dimensions 2",
    "@classLabel true up down",
    "@data",
    "1,2,3:4,5,6:up",
    "7,8:9,10:down",
)


def test_ts_reads_dimensions_unequal_lengths_and_labels(tmp_path):
    path = written(tmp_path / "toy.ts", "\n".join(TS))
    sequences, settings, _ = classify(path)
    assert [one.tolist() for one in sequences] == [[[1, 4], [2, 5], [3, 6]], [[7, 9], [8, 10]]]
    assert sequences.labels.tolist() == ["up", "down"]
    assert settings.features == ("x0", "x1")
    assert guess_task(DataSettings(path=str(path)))[0] == "classify"


def test_ts_errors_name_the_line(tmp_path):
    path = tmp_path / "toy.ts"
    cases = {
        "7,8:9:down": r"line 8 is ragged: its dimension 2 has 1 values",
        "7,8:down": "line 8 has 1 dimensions, but @dimensions says 2",
        "7,x:1,2:down": "line 8 holds a value that is not a number .'x'.",
        "7,?:1,2:down": r"column 'x0' has 1 empty cell, in line 8, step 2",
        "7,8:1,2:?": "1 of 2 sequences has no label",
    }
    for line, sentence in cases.items():
        with pytest.raises(DataError, match=sentence):
            classify(written(path, "\n".join([*TS[:-1], line])))
    stamped = "\n".join(TS).replace("@timeStamps false", "@timeStamps true")
    with pytest.raises(DataError, match="has time stamps"):
        classify(written(path, stamped))
    with pytest.raises(DataError, match="no line @data"):
        classify(written(path, "1,2:up"))


def test_npz_reads_x_y_and_lengths(tmp_path):
    path = tmp_path / "data.npz"
    x = np.arange(12).reshape(2, 3, 2)
    np.savez(path, x=x, y=[1, 0], lengths=[3, 1])
    sequences, _, _ = classify(path)
    assert sequences[0].tolist() == x[0].tolist()
    assert sequences[1].tolist() == x[1, :1].tolist()
    assert sequences.labels.tolist() == ["1", "0"]
    np.savez(path, x=x)
    assert classify(path, purpose="predict")[0].labels is None
    with pytest.raises(DataError, match="has no labels, but classify needs labels"):
        classify(path)


def test_arrays_of_another_width_than_in_training_are_reported_with_both_counts(tmp_path):
    path, x = tmp_path / "data.npz", np.arange(24.0).reshape(2, 4, 3)
    np.savez(path, x=x, y=[0, 1])
    _, settings, _ = classify(path)
    np.savez(path, x=x[..., :2])
    wanted = (
        r"data\.npz has 2 columns \('x0', 'x1'\) per step, but the run was trained on 3 columns "
        r"\('x0', 'x1', 'x2'\)"
    )
    with pytest.raises(DataError, match=wanted):
        read(settings, path, task="classify", purpose="predict")
    np.savez(path, x=x[..., 0])
    with pytest.raises(DataError, match=r"has 1 column \('value'\) per step, .* trained on 3"):
        read(settings, path, task="classify", purpose="predict")
    wider = np.concatenate([x, x], axis=2)
    sequences, _, notes = read(settings, wider, task="classify", purpose="predict")
    assert sequences[0].tolist() == x[0].tolist()
    assert any("has 6 columns" in note and "reads 3 columns" in note for note in notes)


def test_npz_with_objects_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "data.npz"
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.zeros(2), np.zeros(3)]
    np.savez(path, x=ragged)
    with pytest.raises(DataError, match=r"Pad the sequences .* 'lengths'"):
        classify(path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(DataError, match="must hold an array 'x'.*It holds: a"):
        classify(path)
    np.savez(path, x=np.zeros((2, 3)), y=[1, 0], lengths=[3, 9])
    with pytest.raises(DataError, match="'lengths' must hold a whole number from 1 to 3"):
        classify(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(DataError, match="is not an .npz archive"):
        classify(path)


def idx(kind: int, array: np.ndarray) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, kind, array.ndim]) + sizes + array.tobytes()


def test_idx_images_are_sequences_of_rows_and_stay_bytes(tmp_path):
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / "toy-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(8, images)))
    assert classify(path, purpose="predict")[0].labels is None
    labels = tmp_path / "toy-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(idx(8, np.array([7, 3], np.uint8))))
    sequences, _, _ = classify(path)
    assert sequences.values.dtype == np.uint8
    assert np.array_equal(sequences[1], images[1])
    assert sequences.labels.tolist() == ["7", "3"]
    assert guess_task(DataSettings(), path) == ("classify", "the file is IDX images with labels")
    moved = labels.rename(tmp_path / "other-idx1-ubyte.gz")
    assert classify(path, labels=str(moved))[0].labels.tolist() == ["7", "3"]


def test_an_archive_that_declares_more_than_any_memory_is_a_sentence(tmp_path):
    path = tmp_path / "huge.npz"
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (%d, 2), }" % 2**61
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
        archive.writestr("x.npy", head)
    with pytest.raises(DataError, match="announces more values than fit into memory"):
        classify(path)


@pytest.mark.parametrize("purpose", ["train", "predict"])
def test_numbers_of_extreme_size_are_refused(tmp_path, purpose):
    path = csv(tmp_path, "y,z", "1,0", "2,0", "-1e200,1e-200")

    def forecasts(target):
        return read(DataSettings(target=(target,)), path, task="forecast", purpose=purpose)

    with pytest.raises(
        DataError, match=r"'y' holds numbers as large as 1e.200, which are too large to square"
    ):
        forecasts("y")
    if purpose == "train":
        with pytest.raises(
            DataError, match=r"'z' holds numbers as large as 1e-200, which are too small to square"
        ):
            forecasts("z")
    else:
        assert len(forecasts("z")[0].values) == 3  # the scale is known by then


@pytest.mark.parametrize("number", ["inf", "1e300"])
def test_static_numbers_of_extreme_size_are_refused(tmp_path, number):
    path = csv(tmp_path, "id,y,size", "a,1,3", "a,2,3", f"b,1,{number}", f"b,2,{number}")
    settings = DataSettings(target=("y",), id=("id",), static=("size",))
    with pytest.raises(DataError, match=r"static column 'size' holds .* for sequence 'b'"):
        read(settings, path, task="forecast")


def test_damaged_idx_files_are_refused(tmp_path):
    path = tmp_path / "toy-images-idx3-ubyte"
    whole = idx(8, np.zeros((2, 3, 4), np.uint8))
    for content, sentence in {
        b"\1\2\3\4": "is not an IDX file",
        b"": "is not an IDX file",
        whole[:-1]: "is cut off: it announces 2x3x4 values but holds 23 of 24 bytes",
        whole[:7]: r"is cut off in its header\. Fetch",
        # 2 ** 61 cells, and 2 ** 66: more than any memory, and more than a size in bytes can be
        whole[:4] + struct.pack(">III", 2**31, 2**15, 2**15) + b"abc": "is cut off.* 3 of 2305",
        whole[:4] + struct.pack(">III", 2**31, 2**31, 16) + b"abc": "is cut off.* holds 3 of",
        b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"a": "is not an IDX file",
        idx(8, np.zeros(3, np.uint8)): "Name the file of images instead",
    }.items():
        path.write_bytes(content)
        with pytest.raises(DataError, match=sentence):
            classify(path, purpose="predict")


def test_arrays_are_series_to_forecast_and_sequences_to_classify():
    series = np.arange(5.0)
    assert forecast(series)[0].values[:, 0].tolist() == series.tolist()
    table = np.arange(6).reshape(3, 2)
    sequences, settings, _ = forecast(table, target=("x1",))
    assert sequences.values.tolist() == [[1], [3], [5]]
    assert settings.target == ("x1",)
    with pytest.raises(ConfigError, match="--target"):
        forecast(table)
    sequences, _, _ = classify((np.zeros((4, 3, 2)), ["a", "b", "a", "b"]))
    assert (len(sequences), sequences.values.shape) == (4, (12, 2))
    sequences, _, _ = classify(([np.zeros(3), np.ones(5)], np.array([1.0, 0.0])))
    assert sequences.lengths.tolist() == [3, 5]
    assert sequences.labels.tolist() == ["1", "0"]


def test_an_array_already_in_order_is_not_copied():
    series = np.arange(5.0)
    given = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
    assert np.shares_memory(classify((given, [0, 1]))[0].values, given)
    assert forecast([series, series])[0].lengths.tolist() == [5, 5]


def test_arrays_without_names_have_the_columns_of_training():
    """In the order of the run, which a note states; tables in memory are read by name."""
    trained = DataSettings(features=("b", "a"))
    numbers = np.arange(12.0).reshape(6, 2)
    ask = {"task": "classify", "purpose": "predict"}
    sequences, _, notes = read(trained, [numbers], **ask)
    assert sequences.columns == ("b", "a")
    np.testing.assert_array_equal(sequences.values, numbers)
    assert "the columns of the list of arrays are read as 'b', 'a', in this order" in notes
    tables = [pd.DataFrame(numbers, columns=["a", "b"])]
    sequences, _, notes = read(trained, tables, **ask)
    assert sequences.columns == ("b", "a")
    np.testing.assert_array_equal(sequences.values, numbers[:, ::-1])
    with pytest.raises(DataError, match="the list of tables has no column 'b'"):
        read(trained, [tables[0].rename(columns={"b": "c"})], **ask)
    with pytest.raises(
        DataError, match=r"has 3 columns \('x0', 'x1', 'x2'\) per step, but the run"
    ):
        read(trained, [np.ones((4, 3))], **ask)


def test_infinite_numbers_of_arrays_are_empty_cells_if_the_settings_name_them():
    series = np.array([1.0, np.inf, 3.0, -np.inf])
    with pytest.raises(DataError, match="2 infinite values") as caught:
        forecast(series)
    assert str(caught.value).count("infinite") == 1
    found, _, notes = forecast(series, missing="previous", missing_values=("inf", "-inf"))
    assert found.values.ravel().tolist() == [1, 1, 3, 3]
    assert any("2 empty cells" in note for note in notes)


def test_arrays_of_wrong_shape_are_refused():
    cases = {
        "Received shapes: ": [np.zeros((3, 2)), np.zeros((3, 1))],
        "sequence 1 is empty": [np.zeros(3), np.zeros(0)],
        "It needs one array for each sequence": [],
        "must hold numbers": np.array(["a", "b"]),
        "must be a pair": (1, 2, 3),
        "must be a path, a table": 3.5,
        "infinite value in step 2": np.array([1.0, np.inf]),
        "1 empty cell, in step 2": np.array([1.0, np.nan, 2.0]),
    }
    for sentence, source in cases.items():
        with pytest.raises(DataError, match=sentence):
            forecast(source)
    with pytest.raises(DataError, match="there are 2 sequences, but labels of shape"):
        classify((np.zeros((2, 3)), [1, 2, 3]))


# --- columns: named and guessed


def test_reading_again_with_the_resolved_settings_gives_the_same(tmp_path):
    path = csv(
        tmp_path, "id,date,y,label", *[f"{k},2020-01-0{d},{d},x" for k in "ab" for d in "12"]
    )
    for task in ("forecast", "classify"):
        first, settings, _ = read(DataSettings(), path, task=task)
        again, same, _ = read(settings, path, task=task, purpose="predict")
        assert settings == same
        assert np.array_equal(first.values, again.values)
        assert first.ids.tolist() == again.ids.tolist() == ["a", "b"]


def test_predicting_requires_the_columns_of_training_but_not_the_label(tmp_path):
    rows = ["id,x,z,label", "a,1,2,u", "a,3,4,u", "b,5,6,v"]
    _, settings, _ = classify(csv(tmp_path, *rows))
    assert settings.features == ("x", "z")
    new = csv(tmp_path, "id,z,x", "a,2,1", "b,4,3")
    sequences, same, _ = read(settings, new, task="classify", purpose="predict")
    assert sequences.values.tolist() == [[1, 2], [3, 4]]
    assert sequences.labels is None
    assert same == settings
    with pytest.raises(DataError, match=r"data.csv has no column 'z'.* Its columns are 'id', 'x'"):
        read(settings, csv(tmp_path, "id,x", "a,1"), task="classify", purpose="predict")


def test_a_missing_column_is_named_with_similar_ones(tmp_path):
    with pytest.raises(DataError, match=r"data.csv has no column 'Laod'. Did you mean 'load'\?"):
        forecast(csv(tmp_path, *DAYS), target=("Laod",))


def test_several_numeric_columns_ask_for_the_target(tmp_path):
    path = csv(tmp_path, "date,a,b", "2020-01-01,1,2", "2020-01-02,1,2")
    with pytest.raises(ConfigError, match=r"2 columns of numbers: 'a', 'b'.*--target"):
        forecast(path)
    with pytest.raises(ConfigError, match="'a' is named twice: as data.target and as data.past"):
        forecast(path, target=("a",), past=("a",))


def test_values_are_target_past_known_in_that_order(tmp_path):
    path = csv(tmp_path, "k,p,t,k2", "1,2,3,4", "5,6,7,8")
    sequences, _, _ = forecast(path, target=("t",), past=("p",), known=("k2", "k"))
    assert sequences.columns == ("t", "p", "k2", "k")
    assert sequences.values.tolist() == [[3, 2, 4, 1], [7, 6, 8, 5]]


def test_ids_of_several_columns_are_joined_and_keep_their_first_order(tmp_path):
    path = csv(tmp_path, "shop,item,y", "b,1,1", "a,1,2", "b,1,3", "a,2,4", "a,1,5")
    sequences, _, _ = forecast(path, id=("shop", "item"))
    assert sequences.ids.tolist() == ["b/1", "a/1", "a/2"]
    assert [one.ravel().tolist() for one in sequences] == [[1, 3], [2, 5], [4]]


def test_texts_become_levels_booleans_numbers_and_statics_one_value(tmp_path):
    path = csv(
        tmp_path,
        "id,y,open,weather,size,town",
        "a,1,true,sun,2.5,Bonn",
        "a,2,false,,2.5,Bonn",
        "b,3,true,rain,3,Köln",
    )
    sequences, _, _ = forecast(
        path, target=("y",), known=("open", "weather"), static=("size", "town")
    )
    assert column(sequences, "open") == [1, 0, 1]
    assert sequences.levels == {"weather": ("sun", "rain")}
    weather = column(sequences, "weather")
    assert (weather[0], weather[2]) == (0, 1)
    assert np.isnan(weather[1])
    assert sequences.static["size"].tolist() == [2.5, 3.0]
    assert sequences.static["town"].tolist() == ["Bonn", "Köln"]


@pytest.mark.parametrize("role", ["static", "label"])
def test_a_changing_label_or_static_value_names_sequence_and_row(tmp_path, role):
    path = csv(tmp_path, "id,x,c", "a,1,u", "b,1,v", "a,2,w")
    settings = {"static": ("c",), "label": "c"}
    given = {role: settings[role], "id": ("id",)}
    sentence = r"data.csv: column 'c' must not change .* sequence 'a' .* 'u' to 'w' in row 4 "
    with pytest.raises(DataError, match=sentence):
        if role == "label":
            classify(path, **given)
        else:
            forecast(path, **given)


def test_labels_are_needed_to_train_only(tmp_path):
    path = csv(tmp_path, "id,x", "a,1", "b,2")
    with pytest.raises(ConfigError, match="no column is recognised as the labels.*data.label"):
        classify(path)
    path = csv(tmp_path, "id,x,label", "a,1,u", "a,2,u", "b,2,")
    with pytest.raises(DataError, match="1 of 2 sequences has no label; the first is 'b'"):
        classify(path)
    assert classify(path, purpose="predict")[0].labels.tolist() == ["u", ""]


def test_groups_stay_with_their_sequences(tmp_path):
    path = csv(tmp_path, "id,x,person,label", "a,1,p,0", "a,2,p,0", "b,3,q,1")
    sequences, settings, _ = classify(path, group="person")
    assert sequences.groups.tolist() == ["p", "q"]
    assert settings.features == ("x",)


def test_an_unnamed_row_number_is_not_a_target(tmp_path):
    sequences, settings, _ = forecast(csv(tmp_path, ",y", "0,5", "1,6", "2,9"))
    assert settings.target == ("y",)
    assert sequences.values.tolist() == [[5], [6], [9]]


# --- wide tables


def test_a_wide_table_is_one_sequence_a_row(tmp_path):
    names = ",".join(f"V{k}" for k in range(1, 12))
    rows = [f"H{k}," + ",".join("9876543210"[: 10 - k]) + "," * k for k in (1, 2)]
    sequences, settings, notes = forecast(csv(tmp_path, names, *rows))
    assert sequences.ids.tolist() == ["H1", "H2"]
    assert sequences.lengths.tolist() == [9, 8]
    assert sequences.columns == ("value",)
    assert sequences[1].ravel().tolist() == [9, 8, 7, 6, 5, 4, 3, 2]
    assert (settings.layout, settings.id, settings.target) == ("wide", ("V1",), ("value",))
    assert any("each row is taken as one sequence" in note for note in notes)
    again, same, _ = read(settings, tmp_path / "data.csv", task="forecast", purpose="predict")
    assert same == settings
    assert np.array_equal(again.values, sequences.values)


def test_a_wide_table_with_labels(tmp_path):
    sequences, settings, _ = classify(csv(tmp_path, "a,b,c,class", "1,2,3,u", "4,5,,v"))
    assert [one.ravel().tolist() for one in sequences] == [[1, 2, 3], [4, 5]]
    assert sequences.labels.tolist() == ["u", "v"]
    assert (settings.layout, settings.label) == ("wide", "class")
    new, _, _ = read(settings, csv(tmp_path, "a,b,c", "1,2,3"), task="classify", purpose="predict")
    assert new.values.ravel().tolist() == [1, 2, 3]


def test_wide_errors_name_the_row(tmp_path):
    path = csv(tmp_path, "a,b,c,label", "1,2,3,u", "4,,6,v")
    with pytest.raises(DataError, match=r"1 empty cell, in row 3 .*sequence '1'"):
        classify(path)
    assert classify(path, missing="linear")[0][1].ravel().tolist() == [4, 5, 6]
    with pytest.raises(DataError, match=r"row 3 .* holds no step"):
        classify(csv(tmp_path, "a,b,label", "1,2,u", ",,v"))
    with pytest.raises(DataError, match=r"row 3 .* repeats the id 'p'"):
        classify(csv(tmp_path, "n,a,label", "p,2,u", "p,3,v"), layout="wide")
    with pytest.raises(DataError, match=r"column 'b' must hold numbers, but row 3 .* has 'x'"):
        classify(csv(tmp_path, "a,b,label", "1,2,u", "1,x,v"))


# --- several series with unreadable times

QUARTERS = [f"{q}-{year}" for year in (2010, 2011, 2012) for q in (1, 2, 3, 4)]


@pytest.mark.parametrize("together", [True, False], ids=["one below the other", "interleaved"])
@pytest.mark.parametrize("names", [("E0", "E1", "E2"), ("7", "8", "9")], ids=["texts", "numbers"])
def test_series_whose_times_repeat_are_not_joined(tmp_path, names, together):
    pairs = [(name, quarter) for name in names for quarter in QUARTERS]
    pairs = pairs if together else sorted(pairs, key=lambda pair: QUARTERS.index(pair[1]))
    rows = [f"{name},{quarter},{k}" for k, (name, quarter) in enumerate(pairs)]
    found, settings, notes = forecast(
        csv(tmp_path, "employee,quarter,sales", *rows), target=("sales",)
    )
    assert (settings.id, settings.time_format, found.step) == (("employee",), "quarter", "3mo")
    assert found.lengths.tolist() == [12, 12, 12]
    assert any("'employee' is taken as the name of the sequence" in note for note in notes)


@pytest.mark.parametrize("together", [True, False], ids=["one below the other", "interleaved"])
def test_series_with_unreadable_times_are_not_joined(tmp_path, together):
    pairs = [(name, lap) for name in ("E0", "E1", "E2") for lap in range(12)]
    pairs = pairs if together else sorted(pairs, key=lambda pair: pair[1])
    rows = [f"{name},lap-{lap}x,{k}" for k, (name, lap) in enumerate(pairs)]
    path = csv(tmp_path, "employee,lap,sales", *rows)
    said = (
        r"'employee' distinguishes 3 series .* but 'lap' \('lap-0x' ...\) is not recognised as "
        r"their times, so they would be read as one.*--set data.id=employee"
    )
    with pytest.raises(DataError, match=said):
        forecast(path, target=("sales",))
    found, _, _ = forecast(path, target=("sales",), id=("employee",))
    assert found.lengths.tolist() == [12, 12, 12]
    if together:
        assert len(forecast(path, target=("sales",), past=("employee",))[0]) == 1


def test_blocks_of_rows_without_any_time_are_not_joined(tmp_path):
    path = csv(tmp_path, "shop,sales", *[f"{shop},{k}" for shop in "ab" for k in range(9)])
    with pytest.raises(
        DataError, match=r"'shop' distinguishes 2 series \('a', 'b' ...\), but no col"
    ):
        forecast(path)


@pytest.mark.parametrize(
    "column",
    [["sun", "rain", "sun"] * 6, ["same"] * 18, [f"day {k}" for k in range(18)]],
    ids=["comes back", "constant", "each its own"],
)
def test_one_series_with_a_text_column_is_one_series(tmp_path, column):
    path = csv(tmp_path, "note,y", *[f"{text},{k}" for k, text in enumerate(column)])
    found, _, notes = forecast(path)
    assert len(found) == 1
    assert "not read: 'note'" in notes


# --- cells


def test_missing_cells_are_counted_and_placed(tmp_path):
    path = csv(tmp_path, "date,load", "2020-01-01,1", "2020-01-02,", "2020-01-03, NA ")
    sentence = (
        rf"{re.escape(str(path))}: column 'load' has 2 empty cells, the first in row 3 "
        r"\(counting the header as row 1\)\. .*data\.missing=previous"
    )
    with pytest.raises(DataError, match=sentence):
        forecast(path)


def test_missing_policies_stay_within_a_sequence(tmp_path):
    path = csv(tmp_path, "id,y", "a,1", "a,", "a,3", "b,5", "b,", "b,?", "b,8")
    assert column(forecast(path, missing="previous")[0], "y") == [1, 1, 3, 5, 5, 5, 8]
    linear, _, notes = forecast(path, missing="linear")
    assert column(linear, "y") == [1, 2, 3, 5, 6, 7, 8]
    assert "3 empty cells filled (linear)" in notes
    assert linear.filled.ravel().tolist() == [False, True, False, False, True, True, False]
    assert column(forecast(path, missing="zero")[0], "y") == [1, 0, 3, 5, 0, 0, 8]
    leading = csv(tmp_path, "id,y", "a,1", "a,2", "b,", "b,3")
    for policy in ("previous", "linear"):
        sentence = r"'y' begins with an empty cell in row 4 .*sequence 'b', .*a value before it"
        with pytest.raises(DataError, match=sentence):
            forecast(leading, missing=policy)
    trailing = csv(tmp_path, "y,z", "1,1", "2,1", ",1")
    with pytest.raises(DataError, match=r"'y' ends with an empty cell in row 4"):
        forecast(trailing, target=("y",), missing="linear")


def test_the_texts_of_missing_cells_can_be_chosen(tmp_path):
    path = csv(tmp_path, "y", "1", "-999", "3")
    sequences, _, _ = forecast(path, missing="linear", missing_values=("-999",))
    assert column(sequences, "y") == [1, 2, 3]


def test_unused_columns_may_be_empty_or_wrong(tmp_path):
    path = csv(tmp_path, "date,load,note", "2020-01-01,1,", "2020-01-02,2,x", "2020-01-03,3,7")
    assert column(forecast(path, target=("load",))[0], "load") == [1, 2, 3]


def test_a_text_among_numbers_is_shown_with_its_row(tmp_path):
    rows = [str(k) for k in range(3000)]
    rows[2500] = "broken"
    sentence = (
        r"column 'y' must hold numbers, but row 2502 \(counting .*\) has 'broken'. Correct it"
    )
    with pytest.raises(DataError, match=sentence):
        forecast(csv(tmp_path, "y,z", *[f"{one},1" for one in rows]), target=("y",))


def test_decimal_commas_are_recognised(tmp_path):
    path = csv(tmp_path, "day;y", "1;12,5", "2;13,5")
    sequences, settings, notes = forecast(path, target=("y",))
    assert sequences.values.ravel().tolist() == [12.5, 13.5]
    assert settings.decimal == ","
    assert any("data.decimal=','" in note for note in notes)


def test_infinite_values_are_refused(tmp_path):
    with pytest.raises(DataError, match="column 'y' has an infinite value in row 3 "):
        forecast(csv(tmp_path, "y,z", "1,1", "inf,1"), target=("y",))


# --- times


def test_unsorted_times_are_sorted_with_a_note(tmp_path):
    path = csv(tmp_path, "id,date,y", "a,2020-01-02,2", "b,2020-01-01,3", "a,2020-01-01,1")
    sequences, _, notes = forecast(path)
    assert column(sequences, "y") == [1, 2, 3]
    assert "times are not in order; rows are sorted by 'date'" in notes
    assert np.all(np.diff(sequences.times[:2]) > np.timedelta64(0, "us"))


def test_rows_are_named_as_in_the_file_after_sorting(tmp_path):
    path = csv(tmp_path, "date,y", "2020-01-03,", "2020-01-02,2", "2020-01-01,1")
    with pytest.raises(DataError, match="1 empty cell, in row 2 "):
        forecast(path, target=("y",))


@pytest.mark.parametrize(
    ("texts", "first", "step"),
    [
        (["2020-01-01", "2020-01-02", "2020-01-03"], "2020-01-01", "1d"),
        (["2020/01/31", "2020/02/07", "2020/02/14"], "2020-01-31", "1w"),
        (["1949-01", "1949-02", "1949-03"], "1949-01-01", "1mo"),
        (["2020-03-31", "2020-06-30", "2020-09-30"], "2020-03-31", "3mo"),
        (["2020-01-31", "2020-02-29", "2020-03-31"], "2020-01-31", "1mo"),
        (["2019-02-28", "2020-02-28", "2021-02-28"], "2019-02-28", "1y"),
        (["2020-02-29", "2021-02-28", "2022-02-28"], "2020-02-29", "1y"),
        (["2020-01-01 00:00", "2020-01-01 00:30", "2020-01-01 01:00"], "2020-01-01", "30m"),
        (["2020-01-01T00:00:00", "2020-01-01T01:00:00", "2020-01-01T02:00:00"], "2020-01-01", "1h"),
        (["2020-01-01 00:00:00.5", "2020-01-01 00:00:01", "2020-01-01 00:00:01.5"], None, "500ms"),
        (["2020-01-01", "2020-01-01 12:00", "2020-01-02"], "2020-01-01", "12h"),
        (["2020-01-01T02:00:00+02:00", "2020-01-01T01:00:00Z"], "2020-01-01", "1h"),
    ],
)
def test_iso_times_and_their_step(tmp_path, texts, first, step):
    rows = [f"{text},{k}" for k, text in enumerate(texts)]
    sequences, _, notes = forecast(csv(tmp_path, "date,y", *rows), target=("y",))
    assert sequences.step == step
    assert first is None or sequences.times[0] == np.datetime64(first)
    assert ("times are converted to UTC" in notes) == texts[0].endswith("+02:00")


def test_whole_numbers_stay_whole_times(tmp_path):
    rows = [f"{1_600 + 300 * k},{k}" for k in range(4)]
    sequences, settings, _ = forecast(csv(tmp_path, "timestamp,y", *rows))
    assert sequences.times.dtype == np.int64
    assert (sequences.step, settings.time) == ("300i", ("timestamp",))


def test_fractional_seconds_order_the_steps_and_give_their_spacing(tmp_path):
    rows = [f"{second},{value}" for value, second in enumerate(("0.04", "0.00", "0.02", "0.06"))]
    sequences, settings, notes = forecast(csv(tmp_path, "s,y", *rows), time=("s",), target=("y",))
    assert sequences.times.tolist() == [0.0, 0.02, 0.04, 0.06]
    assert column(sequences, "y") == [1, 2, 0, 3]
    assert sequences.step == "0.02"
    frame = pl.read_csv(tmp_path / "data.csv")
    np.testing.assert_array_equal(
        forecast(frame, time=("s",), target=("y",))[0].times, sequences.times
    )


@pytest.mark.parametrize("digits", [3, 4, 9])
def test_rounded_times_of_60_hz_lie_on_one_grid(tmp_path, digits):
    rows = [f"{1000 + k / 60:.{digits}f},{k}" for k in range(600)]
    sequences, _, _ = forecast(csv(tmp_path, "time,y", *rows))
    assert float(sequences.step) == pytest.approx(1 / 60, rel=0.001)


def test_gaps_between_seconds_follow_their_policy(tmp_path):
    seconds = ("0.00", "0.02", "0.04", "0.10", "0.12")
    path = csv(tmp_path, "id,time,y", *[f"{name},{s},{s}" for name in "ab" for s in seconds])
    between = r"steps are 0.02 apart, with 2 gaps, the first between 0.04 and 0.1, row 5 .*2 steps"
    with pytest.raises(DataError, match=between):
        forecast(path)
    filled, _, notes = forecast(path, gaps="fill", missing="linear")
    whole = np.tile(np.arange(7) * 0.02, 2)
    np.testing.assert_allclose(filled.times, whole, atol=1e-12)
    np.testing.assert_allclose(column(filled, "y"), whole, atol=1e-12)
    assert np.flatnonzero(filled.filled).tolist() == [3, 4, 10, 11]
    assert filled.lengths.tolist() == [7, 7]
    path = csv(tmp_path, "time,y", "0.00,1", "0.02,2", "0.04,3", "0.0401,4", "0.0601,5")
    with pytest.raises(DataError, match=r"irregular.*0.02 apart; .* between 0.04 and 0.0401"):
        forecast(path)
    assert forecast(path, gaps="ignore")[0].lengths.tolist() == [5]


def test_a_repeated_second_in_a_sequence_is_a_duplicate(tmp_path):
    with pytest.raises(DataError, match="1 row repeats a time; the first is 0.5 in row 4"):
        forecast(csv(tmp_path, "time,y", "0.0,1", "0.5,2", "0.5,3", "1.0,4"), time=("time",))


@pytest.mark.parametrize("name", ["t", "Time Step", "frame", "seconds"])
def test_a_column_that_only_counts_the_steps_is_their_time_not_a_feature(tmp_path, name):
    rate = 0.02 if name == "seconds" else 1
    rows = [f"{one},{k * rate},{k * k},{one}" for one in "ab" for k in (0, 1, 2, 3)]
    path = csv(tmp_path, f"id,{name},x,label", *rows)
    sequences, settings, notes = classify(path)
    assert (settings.time, settings.features) == ((name,), ("x",))
    assert any(f"'{name}' is taken as the time and not read as a value" in note for note in notes)
    assert any("data.features can name it" in note for note in notes)
    kept, settings, _ = classify(path, features=(name, "x"))
    assert (kept.columns, kept.times, settings.time) == ((name, "x"), None, ())


@pytest.mark.parametrize(
    "values",
    [(0, 1, 2, 2), (3, 2, 1, 0), (20.5, 21, 22, 24), (0, "", 2, 3)],
    ids=["stands still", "falls", "unevenly", "empty"],
)
def test_a_column_that_does_more_than_count_is_a_feature_whatever_its_name(tmp_path, values):
    rows = [f"{one},{value},{value},{one}" for one in "ab" for value in values]
    path = csv(tmp_path, "id,t,x,label", *rows)
    _, settings, _ = classify(path, missing="zero")
    assert (settings.time, settings.features) == ((), ("t", "x"))


def test_rows_of_interleaved_sequences_are_put_in_the_order_of_their_counter(tmp_path):
    rows = ["b,0,1", "a,0,2", "b,1,3", "a,1,4", "b,2,5", "a,2,6"]
    sequences, settings, _ = forecast(csv(tmp_path, "id,t,y", *rows))
    assert (sequences.ids.tolist(), column(sequences, "y")) == (["b", "a"], [1, 3, 5, 2, 4, 6])
    assert settings.time == ("t",)


def test_another_format_of_times_is_read_when_given(tmp_path):
    path = csv(tmp_path, "when,y", "01/02/2020 00:00,1", "02/02/2020 00:00,2")
    sentence = r"'when' holds '01/02/2020 00:00'.*%d/%m/%Y %H:%M.*%m/%d/%Y %H:%M"
    with pytest.raises(DataError, match=sentence):
        forecast(path)
    sequences, _, _ = forecast(path, time=("when",), time_format="%d/%m/%Y %H:%M")
    assert sequences.times[0] == np.datetime64("2020-02-01")
    assert sequences.step == "1d"


def test_a_time_that_cannot_be_read_is_shown_with_its_row(tmp_path):
    path = csv(tmp_path, "date,y", "2020-01-01,1", "2020-01-32,2")
    with pytest.raises(DataError, match=r"row 3 .* has the time '2020-01-32'.*data.time_format"):
        forecast(path, time=("date",))
    path = csv(tmp_path, "date,y", "2020-01-01,1", ",2")
    with pytest.raises(DataError, match=r"row 3 .* has no time"):
        forecast(path)
    path = csv(tmp_path, "s,y", "0.5,1", "inf,2")
    with pytest.raises(DataError, match=r"row 3 .* has the time 'inf'.*fractional numbers"):
        forecast(path, time=("s",), target=("y",))


def test_time_zones_of_frames_become_utc():
    times = pd.date_range("2020-01-01", periods=3, freq="h", tz="Europe/Berlin")
    sequences, _, notes = forecast(pd.DataFrame({"t": times, "y": [1, 2, 3]}))
    assert sequences.times[0] == np.datetime64("2019-12-31T23:00")
    assert sequences.zone == "Europe/Berlin"
    assert any("answers are in Europe/Berlin" in note for note in notes)


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("first", [1, 2, 7]), ("last", [1, 4, 7]), ("mean", [1, 3, 7]), ("sum", [1, 6, 7])],
)
def test_duplicate_times_follow_their_policy(tmp_path, policy, kept):
    rows = ("2020-01-01,1", "2020-01-02,2", "2020-01-02,4", "2020-01-03,7")
    path = csv(tmp_path, "date,y", *rows)
    with pytest.raises(DataError, match=r"first is 2020-01-02 in row 4 .*data.duplicates"):
        forecast(path)
    sequences, _, notes = forecast(path, duplicates=policy)
    assert column(sequences, "y") == kept
    assert sequences.stops.tolist() == [3]
    assert any("1 rows repeat a time" in note for note in notes)


def test_the_same_time_in_two_sequences_is_not_a_duplicate(tmp_path):
    path = csv(tmp_path, "id,date,y", *[f"{k},2020-01-0{d},{d}" for k in "ab" for d in "12"])
    assert len(forecast(path)[0]) == 2


def test_gaps_follow_their_policy(tmp_path):
    days = ("01-06", "01-07", "01-08", "01-11", "01-12")
    path = csv(tmp_path, "date,y", *[f"2020-{day},{k}" for k, day in enumerate(days)])
    sentence = (
        r"data.csv: steps are 1d apart, with 1 gap, the first between 2020-01-08 and 2020-01-11, "
        r"row 5 .*where 2 steps are missing.*data.gaps=fill.*data.gaps=ignore"
    )
    with pytest.raises(DataError, match=sentence):
        forecast(path)
    sequences, _, notes = forecast(path, gaps="fill")
    assert column(sequences, "y") == [0, 1, 2, 2, 2, 3, 4]
    assert "2 missing steps of 1d inserted" in notes
    assert np.all(np.diff(sequences.times) == np.timedelta64(1, "D"))
    assert column(forecast(path, gaps="fill", missing="linear")[0], "y")[3] == pytest.approx(7 / 3)
    sequences, _, notes = forecast(path, gaps="ignore")
    assert (column(sequences, "y"), sequences.step) == ([0, 1, 2, 3, 4], "1d")
    assert any("ignored" in note for note in notes)


def test_gaps_in_months_are_filled_on_the_calendar(tmp_path):
    days = ("2019-12-31", "2020-01-31", "2020-03-31", "2020-04-30")
    path = csv(tmp_path, "date,y", *[f"{day},{k}" for k, day in enumerate(days)])
    sequences, _, _ = forecast(path, gaps="fill")
    assert sequences.times[2] == np.datetime64("2020-02-29")
    assert sequences.step == "1mo"


def test_gaps_are_filled_in_each_sequence_separately(tmp_path):
    rows = ["a,1,1", "a,2,2", "a,4,4", "b,7,7", "b,8,8", "b,9,9"]
    path = csv(tmp_path, "id,time,y", *rows)
    with pytest.raises(DataError, match=r"between 2 and 4, row 4 .*, sequence 'a'"):
        forecast(path)
    sequences, _, _ = forecast(path, gaps="fill")
    assert [one.ravel().tolist() for one in sequences] == [[1, 2, 2, 4], [7, 8, 9]]
    assert sequences.times.tolist() == [1, 2, 3, 4, 7, 8, 9]
    assert sequences.step == "1i"


def test_times_off_the_grid_are_refused_even_with_fill(tmp_path):
    hours = ("00:00", "01:00", "02:00", "02:30", "03:30")
    path = csv(tmp_path, "date,y", *[f"2020-01-01 {hour},1" for hour in hours])
    for policy in ("error", "fill"):
        sentence = (
            "75% of the steps are 1h apart; .* between 2020-01-01 02:00:00 and 2020-01-01 02:30:00"
        )
        with pytest.raises(DataError, match=sentence):
            forecast(path, gaps=policy)
    assert len(forecast(path, gaps="ignore")[0].values) == 5


def test_a_mistaken_far_time_is_not_filled(tmp_path):
    path = csv(tmp_path, "time,y", "1,1", "2,2", "3,3", "9999999,4")
    with pytest.raises(DataError, match="Look for a wrong time"):
        forecast(path, gaps="fill")


def test_the_known_future_is_kept_empty(tmp_path):
    rows = ["1,10,5,0", "2,20,6,1", "3,,,0", "4,,,1"]
    path = csv(tmp_path, "time,y,p,k", *rows)
    sequences, _, _ = forecast(path, target=("y",), past=("p",), known=("k",), missing="previous")
    assert column(sequences, "k") == [0, 1, 0, 1]
    assert np.isnan(column(sequences, "y")).tolist() == [False, False, True, True]
    assert np.isnan(column(sequences, "p")).tolist() == [False, False, True, True]
    with pytest.raises(DataError, match="column 'y' has 2 empty cells, the first in row 4 "):
        forecast(path, target=("y",))
    with pytest.raises(DataError, match="column 'k' has 1 empty cell, in row 5 "):
        gap = csv(tmp_path, "time,y,k", "1,10,0", "2,20,1", "3,,0", "4,,")
        forecast(gap, target=("y",), known=("k",))


def test_classify_without_a_time_keeps_the_order_of_the_file(tmp_path):
    path = csv(tmp_path, "id,x,label", "b,2,u", "a,1,v", "b,1,u")
    sequences, _, _ = classify(path)
    assert sequences.ids.tolist() == ["b", "a"]
    assert column(sequences, "x") == [2, 1, 1]
    assert (sequences.times, sequences.step) == (None, "")


# --- invalid files


def test_files_that_cannot_be_read_are_sentences(tmp_path):
    def raw(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    (tmp_path / "folder").mkdir()
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 5000)
    cases = [
        (tmp_path / "folder", "is a folder"),
        (tmp_path / "none.csv", "There is no file .*none.csv"),
        (raw("data.xyz", b"1"), "kind ..xyz. are not supported"),
        (raw("noending", b"\x001"), "no suffix"),
        (raw("empty.csv", b""), "is empty"),
        (raw("blank.csv", b"\n\n"), "is empty"),
        (raw("head.csv", b"a,b\n"), "holds column names but no rows"),
        (raw("plain.csv.gz", b"a,b\n1,2\n"), "is not a gzip file"),
        (raw("cut.csv.gz", packed[:-20]), "ends too early|damaged"),
        (raw("wide.csv", b"a,b\n1,2\n1,2,3\n"), "row 3 .* has 3 cells, but only 2 columns have"),
        (raw("data.parquet", b"hello world hello"), "cannot be read"),
        (raw("empty.parquet", b""), "cannot be read"),
        (raw("bad.jsonl", b'{"a": 1}\n{"a": \n'), "line 2 is not a JSON object"),
        (raw("empty.jsonl", b""), "is empty"),
    ]
    for path, sentence in cases:
        with pytest.raises(DataError, match=sentence):
            forecast(path)


def test_bad_bytes_far_down_are_a_sentence(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b"t,y\n" + b"abc,1\n" * 200_000 + b"\xff\xfe,1\n")
    with pytest.raises(DataError, match="is not UTF-8"):
        forecast(path, target=("y",), known=("t",))


def test_a_single_row_is_a_sequence_of_one_step(tmp_path):
    assert forecast(csv(tmp_path, "date,y", "2020-01-01,1"))[0].lengths.tolist() == [1]


def test_a_path_is_also_looked_up_in_the_folder_of_data_sets(tmp_path, monkeypatch):
    csv(tmp_path, *DAYS)
    monkeypatch.setenv("GATEWISE_DATA", str(tmp_path))
    assert len(forecast(None, path="data.csv")[0].values) == 4
    with pytest.raises(DataError, match="There is no file nowhere.csv nor in .*GATEWISE_DATA"):
        forecast(None, path="nowhere.csv")
    with pytest.raises(ConfigError, match="There are no data to read"):
        forecast(None)


def test_blocks_never_cut_a_record(tmp_path, monkeypatch):
    monkeypatch.setattr("gatewise.readers.delimited.BLOCK", 64)
    rows = [f'"name, {k}\nline ""two""",{k}' for k in range(50)]
    sequences, _, _ = forecast(csv(tmp_path, "text,y", *rows), known=("text",), target=("y",))
    assert column(sequences, "y") == list(range(50))
    assert len(sequences.levels["text"]) == 50


# --- the task


def test_the_task_is_guessed_only_when_that_is_safe(tmp_path):
    assert guess_task(DataSettings(), csv(tmp_path, *DAYS))[0] == "forecast"
    assert guess_task(DataSettings(), csv(tmp_path, "x,label", "1,a"))[0] == "classify"
    assert guess_task(DataSettings(target=("a",)), csv(tmp_path, "a,b", "1,2"))[0] == "forecast"
    assert guess_task(DataSettings(), (np.zeros((2, 3)), [0, 1]))[0] == "classify"
    for source in (csv(tmp_path, "a,b", "1,2"), np.zeros(4)):
        with pytest.raises(ConfigError, match="Give --task"):
            guess_task(DataSettings(), source)


# --- real data


def test_the_daily_temperatures_lack_two_leap_days(data_folder):
    path = data_folder / "classic-series" / "daily-min-temperatures.csv"
    with pytest.raises(DataError, match="2 gaps, the first between 1984-12-30 and 1985-01-01"):
        forecast(path)
    sequences, _, notes = forecast(path, gaps="fill")
    assert len(sequences.values) == 3652
    assert "2 missing steps of 1d inserted" in notes


def test_m4_hourly_reads_as_414_series(data_folder):
    train, settings, _ = forecast(data_folder / "m4-hourly" / "Hourly-train.csv")
    assert len(train) == 414
    assert set(train.lengths.tolist()) == {700, 960}
    test, _, _ = read(
        settings, data_folder / "m4-hourly" / "Hourly-test.csv", task="forecast", purpose="predict"
    )
    assert set(test.lengths.tolist()) == {48}
    assert test.ids.tolist() == train.ids.tolist()


def test_archive_files_have_the_sizes_their_readme_says(data_folder):
    for name, count, width in [("JapaneseVowels", 270, 12), ("GunPoint", 50, 1)]:
        sequences, _, _ = classify(data_folder / "uea" / name / f"{name}_TRAIN.ts")
        assert (len(sequences), sequences.values.shape[1]) == (count, width)
    digits, _, _ = classify(data_folder / "mnist" / "t10k-images-idx3-ubyte.gz")
    assert (len(digits), digits.values.dtype, digits[0].shape) == (10_000, np.uint8, (28, 28))
    labels, counts = np.unique(digits.labels, return_counts=True)
    assert labels.tolist() == list("0123456789")
    assert counts[1] == 1135


def test_recordings_are_told_apart_by_several_columns(data_folder):
    sequences, settings, _ = classify(
        data_folder / "hapt" / "hapt_test.csv.gz",
        id=("user", "experiment", "segment"),
        group="user",
    )
    assert len(sequences.values) == 237_469
    assert len(set(sequences.groups.tolist())) == 9
    assert settings.features == ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")


def test_times_of_a_year_of_minutes_are_found_regular(tmp_path):
    start = datetime(2020, 1, 1)
    rows = [f"{start + timedelta(minutes=k)},{k}" for k in range(5000)]
    assert forecast(csv(tmp_path, "date,y", *rows))[0].step == "1m"


def test_missing_labels_are_empty_and_refused_in_training():
    for labels in (["a", None], [1.0, float("nan")], np.array([1.0, np.nan])):
        sequences, _, _ = classify((np.zeros((2, 3)), labels), purpose="predict")
        assert sequences.labels[1] == ""
        with pytest.raises(DataError, match="1 of 2 sequences has no label; the first is '1'"):
            classify((np.zeros((2, 3)), labels))


def test_frames_of_mixed_objects_and_duplicate_names_are_sentences():
    with pytest.raises(DataError, match=r"column of mixed Python objects \(among \['y'\]\)"):
        forecast(pd.DataFrame({"y": [1, None, "x"]}))
    with pytest.raises(DataError, match="several columns called 'a'. Rename or remove them"):
        forecast(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(DataError, match="column 'y' holds complex numbers"):
        forecast(pd.DataFrame({"y": [1 + 1j, 2.0]}))


def test_one_bad_time_does_not_change_the_kind_of_a_time_column(tmp_path):
    with pytest.raises(DataError, match=r"row 3 .* has the time 'soon'"):
        forecast(csv(tmp_path, "date,y", "2020-01-01,1", "soon,2", "2020-01-03,3"))
    with pytest.raises(DataError, match=r"row 3 .* has the time '2020-01-02 00:00:00'"):
        forecast(csv(tmp_path, "date,y", "2020-01-01T00:00:00Z,1", "2020-01-02 00:00:00,2"))


def test_a_note_names_what_is_left_out(tmp_path):
    path = csv(tmp_path, "month,time,y", "1-01,1.0,1", "1-02,0.5,3")
    sequences, _, notes = forecast(path)
    assert sequences.times is None
    assert "not read: 'month', 'time'" in notes


def test_short_rows_end_with_empty_cells(tmp_path):
    path = csv(tmp_path, "a,b", "1", "2,3")
    assert column(forecast(path, target=("a",))[0], "a") == [1, 2]
    with pytest.raises(DataError, match="column 'b' has 1 empty cell, in row 2 "):
        forecast(path, target=("b",))


def test_whole_times_may_be_written_with_a_point(tmp_path):
    sequences, _, _ = forecast(csv(tmp_path, "time,y", "1.0,2", "2.0,4"))
    assert sequences.times.tolist() == [1, 2]


def test_columns_of_dates_are_not_values():
    frame = pl.DataFrame({"d": [date(2020, 1, 1), date(2020, 1, 2)], "y": [1, 2]})
    with pytest.raises(DataError, match="column 'd' must hold numbers. It holds times"):
        forecast(frame, target=("d",))


def test_a_number_can_mean_that_a_cell_is_empty(tmp_path):
    path = csv(tmp_path, "y,z", "1,1", "-999,1", "3,1")
    with pytest.raises(DataError, match="column 'y' has 1 empty cell, in row 3 "):
        forecast(path, target=("y",), missing_values=("", "-999"))


def test_a_pandas_series_keeps_its_times():
    series = pd.Series(np.arange(30.0), pd.date_range("2024-01-01", periods=30), name="sales")
    sequences, data, _ = read(DataSettings(), series, task="forecast")
    assert (sequences.step, data.target) == ("1d", ("sales",))


@pytest.mark.parametrize(
    ("name", "pack", "said"),
    [
        ("a.csv", gzip.compress, "another kind than its name says .gzip.* ends in .gz"),
        ("a.jsonl", gzip.compress, "another kind than its name says .gzip.* ends in .gz"),
        ("a.csv", bz2.compress, "another kind than its name says .bzip2.* Unpack it"),
        ("a.csv.bz2", bz2.compress, r"kind .\.bz2. are not read. Unpack it"),
        ("a.xls", bytes, r"kind .\.xls. are not read. Save it as .xlsx"),
    ],
)
def test_a_file_of_another_kind_is_told_with_what_to_do(name, pack, said, tmp_path):
    path = tmp_path / name
    path.write_bytes(pack(b"day,load\n" + b"2024-01-01,1\n" * 9))
    with pytest.raises(DataError, match=said):
        read(DataSettings(), path, task="forecast")


def test_an_archive_in_an_archive_is_to_be_unpacked(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inner.zip", b"PK")
    with pytest.raises(DataError, match=r"no data file, but inner\.zip\. Unpack it"):
        read(DataSettings(), path, task="forecast")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "\ufeff\n\n<!DOCTYPE html>\n<html lang='en'><p>a, b, c</p>", "holds a web page"),
        ("a.zip", "<html><body>Sign in</body></html>", "holds a web page"),
        (
            "a.parquet",
            "version https://git-lfs.github.com/spec/v1\noid sha256:4d\n",
            "git lfs pull",
        ),
    ],
)
def test_what_stands_for_the_data_is_named(tmp_path, name, content, said):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read(DataSettings(), tmp_path / name, task="forecast")
