"""Plain text: files, folders and lists; parts by place, cut where something ends."""

import gzip
import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from gatewise.data import plain, texts
from gatewise.data.files import read
from gatewise.errors import ConfigError, DataError
from gatewise.experiment import DataSettings, SplitSettings


def reading(source, **settings):
    return read(DataSettings(**settings), source, task="language")[0]


def test_files_packed_or_not_with_any_line_ends_are_one_text(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffça va\r\nbien\r".encode())
    (tmp_path / "b.md.gz").write_bytes(gzip.compress("ça va\nbien".encode()))
    for name in ("a.txt", "b.md.gz"):
        assert texts.texts_of(reading(tmp_path / name)) == ["ça va\nbien\n"]


def test_a_folder_is_one_text_a_file(tmp_path):
    for name in ("2.txt", "1.txt", "notes.md"):
        (tmp_path / name).write_text(name)
    found, _, notes = read(DataSettings(), tmp_path, task="language")
    assert found.ids.tolist() == ["1.txt", "2.txt"]
    assert texts.texts_of(found) == ["1.txt\n", "2.txt\n"]
    assert "2 texts" in notes[0]


def test_texts_in_memory_and_on_standard_input(monkeypatch):
    assert texts.texts_of(reading(["one", "two\n"])) == ["one", "two\n"]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"three\n")))
    assert texts.texts_of(reading("-")) == ["three\n"]


def test_what_is_no_text_is_refused_with_file_and_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\nna\xefve\n")
    with pytest.raises(DataError, match=r"a\.txt: line 2 is not utf-8 text.*data\.encoding"):
        reading(path)
    assert texts.texts_of(reading(path, encoding="latin-1")) == ["fine\nnaïve\n"]
    path.write_bytes(b"\n \n")
    with pytest.raises(DataError, match="is empty"):
        reading(path)
    path.write_bytes(b"PK\x03\x04\x00\x00")
    with pytest.raises(DataError, match="bytes of zero"):
        reading(path)
    with pytest.raises(DataError, match="holds no text"):
        reading([""])
    with pytest.raises(DataError, match=r"holds no \.txt file"):
        (tmp_path / "empty").mkdir()
        reading(tmp_path / "empty")
    with pytest.raises(ConfigError, match="Received: dict"):
        reading({"text": "a"})


def parts_of(given, **settings):
    parts = plain.split_by_place(texts.from_texts(given), SplitSettings(**settings), test=True)
    return [
        None if one is None else texts.texts_of(one)
        for one in (parts.train, parts.validation, parts.test)
    ]


def test_parts_follow_each_other_and_hold_all_of_the_text():
    text = "".join(f"line number {k}\n" for k in range(100))
    train, validation, test = parts_of([text])
    assert train + validation + test == [
        text[: len(train[0])],
        validation[0],
        text[-len(test[0]) :],
    ]
    assert "".join(train + validation + test) == text
    assert len(train[0]) == pytest.approx(0.7 * len(text), abs=20)
    for part in (train, validation):
        assert part[0].endswith("\n")


def test_without_line_ends_a_cut_goes_between_words_and_without_words_between_characters():
    train, _, _ = parts_of(["word " * 100])
    assert train[0].endswith("word ")
    train, validation, test = parts_of(["日本語" * 50])
    assert "".join(train + validation + test) == "日本語" * 50


def test_a_cut_may_go_through_one_of_several_texts():
    texts_ = [f"{'a' * 30}\n" * 4, f"{'b' * 30}\n" * 4]
    train, validation, test = parts_of(texts_, validation=0.0, test=0.25)
    assert train == [texts_[0], f"{'b' * 30}\n" * 2]
    assert validation is None
    assert test == [f"{'b' * 30}\n" * 2]


def test_a_test_part_of_its_own_leaves_none_to_cut():
    parts = plain.split_by_place(texts.from_texts(["ab\n" * 50]), SplitSettings(), test=False)
    assert parts.test is None
    assert parts.train.lengths.sum() + parts.validation.lengths.sum() == 150


def test_train_says_how_much_before_the_validation_part_is_learnt_from():
    text = "".join(f"{k:04}\n" for k in range(200))
    train, validation, _ = parts_of([text], train=100, validation=100, test=100)
    assert validation[0].startswith("0160")
    assert train[0] == "".join(f"{k:04}\n" for k in range(140, 160))


def test_more_than_there_is_cannot_be_held_out():
    with pytest.raises(ConfigError, match="30 bytes"):
        parts_of(["ab\n" * 10], test=40)
    assert np.isfinite(len(parts_of(["ab\n" * 10])[0]))


def test_a_text_in_utf_16_is_read_by_its_name_and_a_mark_of_order_is_no_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("ça va\n".encode("utf-16"))
    assert texts.texts_of(reading(path, encoding="utf-16")) == ["ça va\n"]
    path.write_bytes("\ufeffa b\n".encode())
    assert texts.texts_of(reading(path, encoding="UTF-8")) == ["a b\n"]


def test_lines_are_counted_from_the_beginning_of_the_file(tmp_path):
    (tmp_path / "a.txt").write_text("\n\nthird\n\n\n")
    assert texts.texts_of(reading(tmp_path / "a.txt")) == ["\n\nthird\n"]


def test_one_long_line_is_running_text(tmp_path):
    (tmp_path / "a.txt").write_text("one two three " * 1000)
    assert plain.is_plain(tmp_path / "a.txt")
