"""Plain text: files, folders and lists."""

import gzip
import io
import sys
from types import SimpleNamespace

import pytest

from gatewise.data.sequences import texts_of
from gatewise.errors import ConfigError, DataError
from gatewise.readers import corpora
from gatewise.readers.files import File
from gatewise.settings import DataSettings
from gatewise.tasks import read


def reading(source, **settings):
    return read(DataSettings(**settings), source, task="language")[0]


def test_compressed_and_plain_files_with_any_line_ends_give_the_same_text(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffça va\r\nbien\r".encode())
    (tmp_path / "b.md.gz").write_bytes(gzip.compress("ça va\nbien".encode()))
    for name in ("a.txt", "b.md.gz"):
        assert texts_of(reading(tmp_path / name)) == ["ça va\nbien\n"]


def test_a_folder_is_one_text_a_file(tmp_path):
    for name in ("2.txt", "1.txt", "notes.md"):
        (tmp_path / name).write_text(name)
    found, _, notes = read(DataSettings(), tmp_path, task="language")
    assert found.ids.tolist() == ["1.txt", "2.txt"]
    assert texts_of(found) == ["1.txt\n", "2.txt\n"]
    assert "2 texts" in notes[0]


def test_texts_in_memory_and_on_standard_input(monkeypatch):
    assert texts_of(reading(["one", "two\n"])) == ["one", "two\n"]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"three\n")))
    assert texts_of(reading("-")) == ["three\n"]


def test_other_data_than_text_is_refused_with_file_and_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\nna\xefve\n")
    with pytest.raises(DataError, match=r"a\.txt: line 2 is not utf-8 text.*data\.encoding"):
        reading(path)
    assert texts_of(reading(path, encoding="latin-1")) == ["fine\nnaïve\n"]
    path.write_bytes(b"\n \n")
    with pytest.raises(DataError, match="is empty"):
        reading(path)
    path.write_bytes(b"PK\x03\x04\x00\x00")
    with pytest.raises(DataError, match="null bytes"):
        reading(path)
    with pytest.raises(DataError, match="holds only empty texts"):
        reading([""])
    with pytest.raises(DataError, match="holds no file"):
        (tmp_path / "empty").mkdir()
        reading(tmp_path / "empty")
    with pytest.raises(ConfigError, match="Received: a table"):
        reading({"text": "a"})


def test_a_text_in_utf_16_is_read_when_named_and_a_byte_order_mark_is_not_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("ça va\n".encode("utf-16"))
    assert texts_of(reading(path, encoding="utf-16")) == ["ça va\n"]
    path.write_bytes("\ufeffa b\n".encode())
    assert texts_of(reading(path, encoding="UTF-8")) == ["a b\n"]


def test_lines_are_counted_from_the_beginning_of_the_file(tmp_path):
    (tmp_path / "a.txt").write_text("\n\nthird\n\n\n")
    assert texts_of(reading(tmp_path / "a.txt")) == ["\n\nthird\n"]


def test_one_long_line_is_running_text(tmp_path):
    (tmp_path / "a.txt").write_text("one two three " * 1000)
    assert corpora.is_plain(File(tmp_path / "a.txt"))
