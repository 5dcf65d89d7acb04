"""Pairs of texts: the source of the translations is given, guessed with a note, or refused."""

import gzip
import io
import sys

import numpy as np
import polars as pl
import pytest

from gatewise.data.sequences import texts_of
from gatewise.errors import ConfigError, DataError
from gatewise.settings import DataSettings
from gatewise.tasks import read


def pairs(source, purpose="train", **settings):
    return read(DataSettings(**settings), source, task="translate", purpose=purpose)


@pytest.fixture
def corpus(tmp_path):
    """Write files of lines by name; .gz files are compressed."""

    def write(**files):
        for name, lines in files.items():
            path = tmp_path / name.replace("__", ".")
            content = ("\n".join(lines) + "\n").encode()
            path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        return tmp_path

    return write


def both(sequences):
    return list(zip(texts_of(sequences), sequences.labels.tolist(), strict=True))


@pytest.mark.parametrize("ending", ["", "__gz"])
def test_the_sibling_is_found_by_its_ending(corpus, ending):
    folder = corpus(**{f"c__en{ending}": ["a", "b c"], f"c__de{ending}": ["ä", "ö ü"]})
    found, settings, notes = pairs(folder / f"c.en{ending.replace('__', '.')}", label="de")
    assert both(found) == [("a", "ä"), ("b c", "ö ü")]
    assert found.ids.tolist() == ["1", "2"]
    assert not notes and settings.label == "de"


def test_an_ending_takes_the_place_of_a_part_of_the_name(corpus):
    folder = corpus(train__en__txt=["a"], train__de__txt=["b"], english=["a"])
    assert both(pairs(folder / "train.en.txt", label="de")[0]) == [("a", "b")]


def test_the_target_may_be_a_path(corpus):
    folder = corpus(one__txt=["a"], two__txt=["b"])
    assert both(pairs(folder / "one.txt", label=str(folder / "two.txt"))[0]) == [("a", "b")]
    assert both(pairs(folder / "one.txt", label="two.txt")[0]) == [("a", "b")]


def test_the_only_sibling_with_as_many_lines_is_guessed_and_stated(corpus):
    folder = corpus(c__en=["a", "b"], c__de=["c", "d"], c__log=["x"], other__en=["e", "f"])
    found, settings, notes = pairs(folder / "c.en")
    assert settings.label == "de" and found.labels.tolist() == ["c", "d"]
    assert "c.de" in notes[0] and "2" in notes[0]


def test_a_validation_file_in_the_folder_does_not_hide_the_sibling(corpus):
    # A different part with the same number of lines in the same language differs before the ending.
    folder = corpus(test_2016__en=["a"], test_2016__de=["b"], test_2017__en=["c"])
    assert pairs(folder / "test_2016.en")[1].label == "de"


def test_several_siblings_are_named_and_none_is_chosen(corpus):
    folder = corpus(c__en=["a"], c__de=["b"], c__fr=["c"])
    with pytest.raises(ConfigError, match=r"c\.de.*c\.fr.*--target de"):
        pairs(folder / "c.en")


def test_without_a_sibling_the_error_says_how_to_name_one(corpus):
    folder = corpus(c__en=["a"], c__de=["b", "c"])
    with pytest.raises(ConfigError, match="1 lines.*--target"):
        pairs(folder / "c.en")
    with pytest.raises(DataError, match=r"the file of translations, .*c\.nl, does not exist"):
        pairs(folder / "c.en", label="nl")


@pytest.mark.parametrize("ending", ["tmx", "po"])
def test_texts_within_markup_are_refused_with_what_to_write(corpus, ending):
    folder = corpus(**{f"x__{ending}": ["<tu>", "</tu>"], "x__de": ["a", "b"]})
    with pytest.raises(DataError, match=f"this kind .\\.{ending}. are not read. Write a table"):
        pairs(folder / f"x.{ending}", label="de")


def test_unequal_files_are_refused_with_both_counts(corpus):
    folder = corpus(c__en=["a"] * 1200, c__de=["b"] * 1199)
    with pytest.raises(DataError, match=r"c\.en has 1,200 lines, but .*c\.de has 1,199"):
        pairs(folder / "c.en", label="de")


def test_pairs_with_an_empty_side_are_left_out_with_a_note(corpus):
    folder = corpus(c__en=["a", "b", " ", "d"], c__de=["e", "", "g", "h"])
    found, _, notes = pairs(folder / "c.en", label="de")
    assert both(found) == [("a", "e"), ("d", "h")]
    assert found.ids.tolist() == ["1", "4"]
    assert notes == ["2 pairs with an empty side are left out; the first is line 2"]


def test_another_encoding_is_refused_by_line_and_read_when_named(tmp_path):
    (tmp_path / "c.en").write_bytes(b"a\nb\n")
    (tmp_path / "c.de").write_bytes("a\nschön\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"c\.de: line 2 is not utf-8"):
        pairs(tmp_path / "c.en", label="de")
    found = pairs(tmp_path / "c.en", label="de", encoding="cp1252")[0]
    assert found.labels.tolist() == ["a", "schön"]


TABLE = {"nr": [1, 2], "english": ["a dog", "two"], "german": ["ein Hund", "zwei"]}


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "frame"])
def test_two_columns_of_texts_are_guessed_in_their_order(tmp_path, kind):
    frame, path = pl.DataFrame(TABLE), tmp_path / f"t.{kind}"
    writers = {
        "csv": frame.write_csv,
        "tsv": lambda path: frame.write_csv(path, separator="\t"),
        "jsonl": frame.write_ndjson,
        "parquet": frame.write_parquet,
        "frame": lambda path: None,
    }
    writers[kind](path)
    found, settings, notes = pairs(frame if kind == "frame" else path)
    assert both(found) == [("a dog", "ein Hund"), ("two", "zwei")]
    assert (settings.text, settings.label) == (("english",), "german")
    assert "'english'" in notes[0] and "'german'" in notes[0]


def test_named_columns_are_used(tmp_path):
    pl.DataFrame(TABLE | {"note": ["x", "y"]}).write_csv(tmp_path / "t.csv")
    found, _, notes = pairs(tmp_path / "t.csv", text=("german",), label="english", id=("nr",))
    assert both(found)[0] == ("ein Hund", "a dog") and found.ids.tolist() == ["1", "2"]
    assert notes == ["not read: 'note'"]
    with pytest.raises(ConfigError, match="english, german, note"):
        pairs(tmp_path / "t.csv")
    with pytest.raises(DataError, match="Did you mean 'german'"):
        pairs(tmp_path / "t.csv", label="germen")


def test_a_first_line_that_is_a_pair_is_not_read_as_a_header(tmp_path):
    path = tmp_path / "deu.txt"
    path.write_text("Go.\tGeh.\nHi there!\tHallo!\n", encoding="utf-8")
    with pytest.raises(DataError, match="data.column_names"):
        pairs(path)
    found = pairs(path, column_names=("source", "target"))[0]
    assert both(found) == [("Go.", "Geh."), ("Hi there!", "Hallo!")]


def test_lists_in_memory_are_pairs():
    found = pairs((["a", "b"], ["c", "d"]))[0]
    assert both(found) == [("a", "c"), ("b", "d")]


def test_to_predict_every_line_is_kept(corpus):
    folder = corpus(new__en=["a", "", "b"])
    found = pairs(folder / "new.en", "predict", label="de")[0]
    assert texts_of(found) == ["a", "", "b"] and found.labels is None
    np.testing.assert_array_equal(found.ids, ["1", "2", "3"])


def test_standard_input_is_for_prediction(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\n\ntwo")))
    assert texts_of(pairs("-", "predict")[0]) == ["one", "", "two"]
    with pytest.raises(ConfigError, match="predict"):
        pairs("-")


def test_pairs_in_memory_with_an_empty_side_are_left_out():
    found, _, notes = pairs((["ein Text", "", "drei"], ["a text", "two", None]))
    assert both(found) == [("ein Text", "a text")]
    assert "2 pairs with an empty side" in notes[0]


def test_a_table_of_pairs_in_a_txt_is_also_a_table_in_prediction(tmp_path):
    path = tmp_path / "anki.txt"
    path.write_text("Go on now.\tGeh jetzt.\nStop.\tHalt.\n")
    settings = {"column_names": ("en", "de"), "text": ("en",), "label": "de"}
    assert texts_of(pairs(path, purpose="predict", **settings)[0]) == ["Go on now.", "Stop."]
