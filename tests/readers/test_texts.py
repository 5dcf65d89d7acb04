"""Texts in tables, files and memory."""

import gzip
import io
import sys
import types

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.arguments import holds_texts
from gatewise.data.sequences import from_texts, text_of, texts_of
from gatewise.errors import ConfigError, DataError
from gatewise.readers.files import File
from gatewise.readers.texts import lines
from gatewise.settings import DataSettings
from gatewise.tasks import guess_task, read

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
def test_texts_survive_the_container(texts):
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


def test_prediction_answers_every_row_and_needs_no_labels(tmp_path):
    path = write(tmp_path, "new.csv", "text\nwell\n\n")
    path.write_text('text,note\nwell,a\n"",b\n')
    sequences, _, _ = of(path, purpose="predict", text=("text",), label="mood")
    assert texts_of(sequences) == ["well", ""] and sequences.labels is None


def test_lines_of_a_plain_file_are_predicted(tmp_path):
    path = write(tmp_path, "new.txt", "first one\r\nsecond, with a comma\n\n")
    sequences, _, _ = of(path, purpose="predict", text=("text",), label="mood")
    assert texts_of(sequences) == ["first one", "second, with a comma", ""]


def test_several_columns_are_joined_by_line_breaks(tmp_path):
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
    sequences, _, _ = of(path, column_names=("label", "text"), quotes=False, text=("text",))
    assert texts_of(sequences) == ['so "he said', 'win, win; "now']
    assert sequences.labels.tolist() == ["ham", "spam"]


def test_a_first_row_of_known_names_is_a_header(tmp_path):
    path = write(tmp_path, "b.tsv", "label\ttext\nham\tone two three\n")
    assert len(of(path, column_names=("label", "text"), text=("text",))[0]) == 1


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
        (
            "a.csv",
            "one,two,three\na b c d,e,f\n",
            {},
            "recognised as the labels that classify",
        ),
    ],
)
def test_unreadable_data_is_a_sentence(tmp_path, name, content, settings, sentence):
    with pytest.raises((DataError, ConfigError), match=sentence):
        of(write(tmp_path, name, content), **settings)


def test_a_list_that_holds_something_else_is_refused():
    with pytest.raises(DataError, match="Item 1 is of type int"):
        of((["a text", 3], ["x", "y"]))
    with pytest.raises(DataError, match="there are 2 texts, but 1 labels"):
        of((["a", "b"], ["x"]))


def test_lines_and_their_encodings(tmp_path):
    assert lines(File(write(tmp_path, "a.txt", "a\r\nb\n\nc"))) == ["a", "b", "", "c"]
    packed = write(tmp_path, "a.txt.gz", gzip.compress("ü\n".encode()))
    assert lines(File(packed)) == ["ü"]
    latin = write(tmp_path, "latin.txt", "eins\nfünf\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin.txt: line 2 is not utf-8 text \(byte 0xfc\)"):
        lines(File(latin))
    assert lines(File(latin), "latin-1") == ["eins", "fünf"]
    with pytest.raises(DataError, match="no encoding 'klingon'"):
        lines(File(latin), "klingon")
    with pytest.raises(DataError, match="is empty"):
        lines(File(write(tmp_path, "none.txt", " \n")))


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


def test_quotation_marks_of_the_texts_never_make_several_rows_one(tmp_path):
    speech = 'text\tmood\n"I love it so much.\tgood\nThat is bad.\tbad\nAnd so he left."\tgood\n'
    path = write(tmp_path, "a.tsv", speech)
    with pytest.raises(
        DataError, match=r"cell \d+ of the column .* holds several rows.*data\.quotes=false"
    ):
        of(path)
    found, _, _ = of(path, quotes=False)
    assert len(found) == 3 and found.labels.tolist() == ["good", "bad", "good"]
    path = write(tmp_path, "b.tsv", 'text\tmood\n"A mark that is alone here\tgood\nno more\tbad\n')
    with pytest.raises(DataError, match=r"b\.tsv cannot be parsed.*data\.quotes=false"):
        of(path)


def test_a_column_of_texts_alone_is_not_cut_at_its_commas(tmp_path):
    path = write(tmp_path, "new.tsv", "Hello there, my friend\nI said, it works\n")
    found, _, _ = of(
        path, purpose="predict", column_names=("text", "label"), text=("text",), label="label"
    )
    assert texts_of(found) == ["Hello there, my friend", "I said, it works"]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "UTF-8", "utf-8"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_tables_are_read_in_the_encoding_that_is_named(tmp_path, encoding, kind):
    rows = "text,mood\nc'était très bien,gut\nça ne va pas du tout,schlecht\n"
    if kind == "jsonl":
        rows = "".join(
            f'{{"text": "{text}", "mood": "{mood}"}}\n'
            for text, mood in (line.split(",") for line in rows.splitlines()[1:])
        )
    path = write(tmp_path, f"a.{kind}", rows.encode(encoding))
    found, _, _ = of(path, encoding=encoding, label="mood", text=("text",))
    assert texts_of(found) == ["c'était très bien", "ça ne va pas du tout"]


def test_another_encoding_than_the_one_named_is_an_error(tmp_path):
    path = write(tmp_path, "a.csv", "text,mood\nэто было,gut\n".encode("cp1251"))
    with pytest.raises(DataError, match=r"is not UTF-8 text.*data\.encoding=cp1251 as 'это было"):
        of(path)
    with pytest.raises(DataError, match="There is no encoding 'cp0'"):
        of(path, encoding="cp0")


def test_lists_of_labels_are_several_labels(tmp_path):
    rows = '{"text": "wet and windy", "label": ["rain", "wind"]}\n{"text": "dry", "label": []}\n'
    path = write(tmp_path, "a.jsonl", rows)
    found, _, _ = of(path, label="label", text=("text",), separator=";")
    assert found.labels.tolist() == ["rain;wind", ""]
    with pytest.raises(DataError, match="holds lists of labels"):
        of(path, label="label", text=("text",))
    with pytest.raises(DataError, match="'label' holds lists, but must hold texts"):
        of(path, label="text", text=("label",))


def test_none_is_not_a_label_but_na_is_one_of_several(tmp_path):
    with pytest.raises(DataError, match="2 of 3 sequences have no label"):
        of((["one text", "another", "more"], ["x", None, float("nan")]))
    path = write(tmp_path, "a.csv", "text,label\nfrom Namibia of old,NA;a\nfrom nowhere at all,\n")
    found, _, _ = of(path, label="label", separator=";")
    assert found.labels.tolist() == ["NA;a", ""]


def test_a_table_that_ends_in_txt_is_also_a_table_in_prediction(tmp_path):
    path = write(tmp_path, "a.txt", "label\ttext\ngood\tthis is one text\nbad\tthis is two\n")
    found, _, _ = of(path, purpose="predict", label="label", text=("text",))
    assert texts_of(found) == ["this is one text", "this is two"]


def test_standard_input_is_answered_line_by_line(monkeypatch):
    given = types.SimpleNamespace(buffer=io.BytesIO(b"a good film\n\nanother\n"))
    monkeypatch.setattr(sys, "stdin", given)
    found, _, _ = of("-", purpose="predict", text=("text",))
    assert texts_of(found) == ["a good film", "", "another"]


def test_ratings_next_to_reviews_are_labels_and_next_to_times_values(tmp_path):
    rows = "".join(f"a review of some length,{1 + k % 5}\n" for k in range(6))
    path = write(tmp_path, "a.csv", f"text,rating\n{rows}")
    assert holds_texts(DataSettings(), path, "rating")
    rows = "".join(f"2024-01-0{k + 1},a note of some length,{k}\n" for k in range(6))
    path = write(tmp_path, "b.csv", f"date,note,sold\n{rows}")
    assert not holds_texts(DataSettings(), path, "sold")


def test_a_second_column_of_texts_is_not_dropped_silently(tmp_path):
    rows = "".join(f"Title {k},a text of five words {k},{'ab'[k % 2]},{k}\n" for k in range(6))
    path = write(tmp_path, "reviews.csv", "title,text,label,stars\n" + rows)
    _, settings, notes = read(DataSettings(), path, task="classify")
    assert settings.text == ("text",)
    assert any(
        note.startswith("not read: 'title', 'stars'; ")
        and """'data.text=["title", "text"]'""" in note
        for note in notes
    )
    found, _, notes = read(DataSettings(text=("title", "text")), path, task="classify")
    assert texts_of(found)[0] == "Title 0\na text of five words 0"
    assert "not read: 'stars'" in notes


@pytest.mark.parametrize("written", [("0.0", "1.0"), ("0", "1"), (0.0, 1.0), (0, 1)])
def test_equal_numbers_are_one_label(tmp_path, written):
    texts = [f"a text of five words {k}" for k in range(6)]
    labels = list(written) * 3
    pl.DataFrame({"text": texts, "label": labels}).write_csv(tmp_path / "a.csv")
    for source in (tmp_path / "a.csv", (texts, labels), (texts, np.array(labels))):
        found, _, _ = read(DataSettings(), source, task="classify")
        assert found.labels.tolist() == ["0", "1"] * 3
    arrays = [np.zeros(3)] * 6
    found, _, _ = read(DataSettings(), (arrays, labels), task="classify")
    assert found.labels.tolist() == ["0", "1"] * 3


def test_a_label_that_only_looks_like_a_number_stays_separate(tmp_path):
    labels = ["1.10", "1.1", "v1.0", "1.0.0", "007", "1e0x"]
    texts = [f"a text of five words {k}" for k in range(6)]
    found, _, _ = read(DataSettings(), (texts, labels), task="classify")
    assert found.labels.tolist() == labels


def test_equal_whole_numbers_are_one_label_whatever_their_spelling(tmp_path):
    rows = [f"a text of five words,{label}" for label in ("1", "1.0", "+1", "1e0", "1.000000e+00")]
    found, _, _ = of(write(tmp_path, "a.csv", "\n".join(["text,label", *rows]).encode()))
    assert found.labels.tolist() == ["1"] * 5
