"""Texts in tables, files and memory."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data.files import guess_task, read
from gatewise.data.texts import from_texts, lines, text_of, texts_of
from gatewise.errors import ConfigError, DataError
from gatewise.experiment import DataSettings

ROWS = (
    'text,mood\n"I liked it, a lot",good\nnever again with them,bad\n'
    ',bad\n"two\nlines of text here",good\n'
)


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def of(path, *, purpose="train", task="classify", **settings):
    return read(DataSettings(**settings), path, task=task, purpose=purpose)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_texts_come_back(texts):
    sequences = from_texts(texts)
    assert texts_of(sequences) == texts and text_of(sequences, len(texts) - 1) == texts[-1]
    assert sequences.kind == "text" and sequences.values.dtype == np.uint8


def test_a_table_of_texts(tmp_path):
    sequences, settings, notes = of(write(tmp_path, "a.csv", ROWS))
    assert texts_of(sequences) == [
        "I liked it, a lot",
        "never again with them",
        "two\nlines of text here",
    ]
    assert sequences.labels.tolist() == ["good", "bad", "good"]
    assert settings.text == ("text",) and settings.label == "mood"
    assert any("read as text" in note for note in notes)
    (left_out,) = [note for note in notes if "without text" in note]
    assert "1 row without text is left out" in left_out and "row 4" in left_out


def test_to_predict_every_row_is_answered_and_labels_may_be_absent(tmp_path):
    path = write(tmp_path, "new.csv", "text\nwell\n\n")
    path.write_text('text,note\nwell,a\n"",b\n')
    sequences, _, _ = of(path, purpose="predict", text=("text",), label="mood")
    assert texts_of(sequences) == ["well", ""] and sequences.labels is None


def test_lines_of_a_plain_file_are_predicted(tmp_path):
    path = write(tmp_path, "new.txt", "first one\r\nsecond, with a comma\n\n")
    sequences, _, _ = of(path, purpose="predict", text=("text",), label="mood")
    assert texts_of(sequences) == ["first one", "second, with a comma", ""]


def test_several_columns_are_read_one_below_the_other(tmp_path):
    path = write(tmp_path, "a.csv", "title,body,label\nbig news,it rained today,x\na,b,y\n")
    sequences, _, _ = of(path, text=("title", "body"))
    assert texts_of(sequences) == ["big news\nit rained today", "a\nb"]


def test_ids_and_groups_have_columns_of_their_own(tmp_path):
    path = write(
        tmp_path, "a.csv", "id,text,label,author\nk1,one two three,x,A\nk2,four five six,y,B\n"
    )
    sequences, settings, _ = of(path, group="author")
    assert sequences.ids.tolist() == ["k1", "k2"] and settings.id == ("id",)
    assert sequences.groups.tolist() == ["A", "B"]


def test_a_file_without_header_and_without_quotes(tmp_path):
    path = write(tmp_path, "messages", 'ham\tso "he said\nspam\twin, win; "now\n')
    sequences, _, _ = of(path, names=("label", "text"), quotes=False, text=("text",))
    assert texts_of(sequences) == ['so "he said', 'win, win; "now']
    assert sequences.labels.tolist() == ["ham", "spam"]


def test_a_first_row_of_known_names_is_a_header(tmp_path):
    path = write(tmp_path, "b.tsv", "label\ttext\nham\tone two three\n")
    assert len(of(path, names=("label", "text"), text=("text",))[0]) == 1


def test_lists_and_arrays_in_memory():
    given = ["one fine day", "two fine days"]
    for texts in (given, np.array(given), np.array(given, dtype=object)):
        sequences, _, _ = of((texts, ["a", "b"]))
        assert texts_of(sequences) == given and sequences.labels.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content", "settings", "sentence"),
    [
        ("a.csv", "text,mood\n,x\n,y\n", {"text": ("text",)}, "holds no text in any row"),
        ("a.csv", ROWS, {"text": ("texts",)}, "Did you mean 'text'"),
        ("a.tsv", "a\tb\nx y z w\tb\tc\n", {"quotes": False, "text": ("a",)}, "row 2 .* 3 cells"),
        ("a.csv", "one,two,three\na b c d,e,f\n", {}, "no column is known to hold what classify"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(tmp_path, name, content, settings, sentence):
    with pytest.raises((DataError, ConfigError), match=sentence):
        of(write(tmp_path, name, content), **settings)


def test_a_list_that_holds_something_else_is_refused():
    with pytest.raises(DataError, match="place 1 holds int"):
        of((["a text", 3], ["x", "y"]))
    with pytest.raises(DataError, match="there are 2 texts, but 1 labels"):
        of((["a", "b"], ["x"]))


def test_lines_and_their_encodings(tmp_path):
    assert lines(write(tmp_path, "a.txt", "a\r\nb\n\nc")) == ["a", "b", "", "c"]
    packed = write(tmp_path, "a.txt.gz", gzip.compress("ü\n".encode()))
    assert lines(packed) == ["ü"]
    latin = write(tmp_path, "latin.txt", "eins\nfünf\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin.txt: line 2 is not utf-8 text \(byte 0xfc\)"):
        lines(latin)
    assert lines(latin, "latin-1") == ["eins", "fünf"]
    with pytest.raises(DataError, match="no encoding 'klingon'"):
        lines(latin, "klingon")
    with pytest.raises(DataError, match="is empty"):
        lines(write(tmp_path, "none.txt", " \n"))


@pytest.mark.parametrize(
    ("name", "content", "task"),
    [
        ("a.csv", ROWS.replace("mood", "label"), "classify"),
        ("pairs.tsv", "en\tde\na dog\tein Hund\nthe old man\tder alte Mann\n", "translate"),
        ("novel.txt", "It was, they say, late.\nNobody\ncame; and so on.\n", "language"),
        ("series.txt", "time y\n1 2\n2 3\n3 4\n", "forecast"),
    ],
)
def test_the_task_is_guessed(tmp_path, name, content, task):
    path = write(tmp_path, name, content)
    assert guess_task(DataSettings(), path)[0] == task
