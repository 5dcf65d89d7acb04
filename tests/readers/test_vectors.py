"""Pretrained vectors: the forms of files, words in other capitals, and files that are refused."""

import gzip

import numpy as np
import pytest

from gatewise.errors import DataError
from gatewise.readers import vectors

WORDS = ("", "the", "dog", "Paris", "missing")
LINES = [b"the 1 2 3", b". . . 4 5 6", b"paris 7 8 9", b"dog -1 0.5 1e-3", b"cat 0 0 0"]
WANTED = [[0, 0, 0], [1, 2, 3], [-1, 0.5, 1e-3], [7, 8, 9], [0, 0, 0]]


def saved(tmp_path, lines, name="some.txt"):
    path = tmp_path / name
    content = b"\n".join(lines) + b"\n"
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def binary(words, width=3, count=None, end=b"\n"):
    random = np.random.default_rng(0)
    rows = random.normal(size=(len(words), width)).astype("<f4")
    parts = [w + b" " + row.tobytes() + end for w, row in zip(words, rows, strict=True)]
    return b"%d %d\n" % (count or len(words), width) + b"".join(parts), rows


@pytest.mark.parametrize("name", ["glove.txt", "glove.txt.gz", "fast.vec"])
def test_texts_are_read_with_and_without_a_header(tmp_path, name):
    header = [b"5 3"] if name.endswith(".vec") else []
    path = saved(tmp_path, [*header, *LINES], name)
    found = vectors.read(path, WORDS)
    np.testing.assert_allclose(found.values, WANTED)
    assert found.known.tolist() == [False, True, True, True, False]
    assert found.duplicates == 0


@pytest.mark.parametrize("end", [b"\n", b""])
def test_the_binary_form_is_read_with_and_without_line_breaks(tmp_path, end):
    content, rows = binary([b"the", b"Dog", b"dog", "Zürich".encode()], end=end)
    (tmp_path / "some.bin").write_bytes(content)
    found = vectors.read(tmp_path / "some.bin", ("dog", "Zürich", "the", "zürich"))
    np.testing.assert_array_equal(found.values, rows[[2, 3, 0, 3]])


def test_a_words_own_capitals_are_preferred_and_its_first_vector_counts(tmp_path):
    lines = [b"DOG 1 1", b"Dog 2 2", b"dog 3 3", b"dog 4 4", b"CAT 5 5", b"Cat 6 6"]
    found = vectors.read(saved(tmp_path, lines), ("dog", "Dog", "cat"))
    assert found.values[:, 0].tolist() == [3, 2, 5]
    assert found.duplicates == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "none of the 4 words of the vocabulary has a vector"),
        ([b"chien 1 2", b"chat 3 4"], "Its language must be that of the texts"),
        ([b"cat 1 2", b"the 1 2 3"], "line 2: the vector has 3 numbers, but 2 are expected"),
        ([b"2 3", b"the 1 2"], "line 2: the vector has 2 numbers, but 3 are expected"),
        ([b"the 1 nan"], "line 1: the vector holds a number that is not finite"),
        ([b"the dog barks"], "line 1: this line is not a word followed by its vector"),
        ([b"the"], "line 1: the vector has 0 numbers"),
    ],
)
def test_files_of_another_form_are_refused_with_the_line(tmp_path, lines, said):
    with pytest.raises(DataError, match=said):
        vectors.read(saved(tmp_path, lines), WORDS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (binary([b"cat", b"the"], count=3)[0], "ends after 2 of 3 vectors"),
        (binary([b"cat", b"the"])[0][:-4], "ends within vector 2 of 2"),
        (vectors.FASTTEXT_MODEL + b"\x0c\0\0\0", "fastText model. Give the .vec file"),
        (b"\x80\x04pickle", "does not begin with a number of words and their width"),
        (b"", "does not begin with a number of words"),
    ],
)
def test_damaged_and_other_binary_files_are_refused(tmp_path, content, said):
    (tmp_path / "some.bin").write_bytes(content)
    with pytest.raises(DataError, match=said):
        vectors.read(tmp_path / "some.bin", WORDS)
    with pytest.raises(DataError, match="There is no file"):
        vectors.read(tmp_path / "absent.bin", WORDS)
