"""Tokens and tags: every form gives the same sentences, and errors name the line."""

import gzip
import io
import shutil
from pathlib import Path

import numpy as np
import pytest

from gatewise import tasks
from gatewise.data.sequences import comparable, fingerprint
from gatewise.errors import ConfigError, DataError
from gatewise.readers import conll
from gatewise.readers.datasets import path_of
from gatewise.readers.files import File
from gatewise.settings import DataSettings

WORDS = [["Der", "Hund", "bellt", "."], ["Oh", "!"]]
TAGS = [["DET", "NOUN", "VERB", "PUNCT"], ["INTJ", "PUNCT"]]

CONLLU = """\
# newdoc id = one
# sent_id = first
# text = Der Hund bellt.
1\tDer\tder\tDET\tART\t_\t2\tdet\t_\t_
2-3\tHundbellt\t_\t_\t_\t_\t_\t_\t_\t_
2\tHund\tHund\tNOUN\tNN\t_\t3\tnsubj\t_\t_
3\tbellt\tbellen\tVERB\tVVFIN\t_\t0\troot\t_\tSpaceAfter=No
3.1\tlaut\tlaut\tADV\t_\t_\t_\t_\t_\t_
4\t.\t.\tPUNCT\t$.\t_\t3\tpunct\t_\t_

# sent_id = second
1\tOh\toh\tINTJ\tITJ\t_\t0\troot\t_\t_
2\t!\t!\tPUNCT\t$.\t_\t1\tpunct\t_\t_
"""


COMMENTED = """\
#doc1
# one
Der DET
Hund NOUN
bellt VERB
. PUNCT

# two
Oh INTJ
! PUNCT
"""


def two_columns(gap=" "):
    parts = [
        "\n".join(f"{word}{gap}{tag}" for word, tag in zip(words, tags, strict=True))
        for words, tags in zip(WORDS, TAGS, strict=True)
    ]
    return "\n\n".join(parts) + "\n"


def written(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def read(path, purpose="train", **settings):
    given = DataSettings(path=str(path), **settings)
    return tasks.read(given, task="tag", purpose=purpose)


def lists_of(sequences, name=conll.TOKEN):
    return [conll.tokens_of(sequences, name, k) for k in range(len(sequences))]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.conllu", CONLLU),
        ("a.conllu.gz", CONLLU),
        ("a.conll", two_columns()),
        ("a.txt", two_columns("\t")),
        ("a.bio", two_columns().replace("\n", "\r\n")),
        ("a.tsv", "-DOCSTART-\tO\n\n" + two_columns("\t").replace("\n\n", "\n\n\n \n")),
        ("train", "# made by hand in an afternoon\n" + two_columns()),
    ],
)
def test_every_form_gives_the_same_sentences(tmp_path, name, text):
    sequences, _, _ = read(written(tmp_path, name, text))
    assert lists_of(sequences) == WORDS
    assert lists_of(sequences, conll.TAG) == TAGS
    assert sequences.kind == "tokens"
    assert sequences.lengths.tolist() == [4, 2]


def test_lines_of_tokens_find_the_matching_file_of_tags(tmp_path):
    path = written(tmp_path, "seq.in", "\n".join(map(" ".join, WORDS)) + "\n\n")
    written(tmp_path, "seq.out", "\n".join(map(" ".join, TAGS)) + "\n\n")
    sequences, _, notes = read(path)
    assert (lists_of(sequences), lists_of(sequences, conll.TAG)) == (WORDS, TAGS)
    assert any("seq.out" in note for note in notes)


def test_lists_in_memory_are_sentences():
    sequences, _, _ = tasks.read(DataSettings(), (WORDS, TAGS), task="tag")
    assert (lists_of(sequences), lists_of(sequences, conll.TAG)) == (WORDS, TAGS)
    new, _, _ = tasks.read(DataSettings(), ["Der  Hund", "!"], task="tag", purpose="predict")
    assert lists_of(new) == [["Der", "Hund"], ["!"]]
    assert new.columns == (conll.TOKEN,)
    gap, _, _ = tasks.read(DataSettings(), ["a", "", "b"], task="tag", purpose="predict")
    assert gap.ids.tolist() == ["0", "2"]


def test_standard_input_holds_lines_to_tag(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("Der Hund\n\nÄh !\n".encode())))
    sequences, _, _ = tasks.read(DataSettings(), "-", task="tag", purpose="predict")
    assert lists_of(sequences) == [["Der", "Hund"], ["Äh", "!"]]
    assert sequences.ids.tolist() == ["0", "2"]
    with pytest.raises(ConfigError, match="Only gatewise predict reads"):
        tasks.read(DataSettings(), "-", task="tag")


@pytest.mark.parametrize(
    ("label", "wanted"), [("", "DET"), ("XPOS", "ART"), ("deprel", "det"), ("5", "ART")]
)
def test_conllu_reads_the_requested_column_and_states_it(tmp_path, label, wanted):
    sequences, _, notes = read(written(tmp_path, "a.conllu", CONLLU), label=label)
    assert lists_of(sequences, conll.TAG)[0][0] == wanted
    assert any((label or "upos").lower() in note for note in notes)


def test_conll_tags_are_in_the_last_column_unless_another_is_named(tmp_path):
    path = written(tmp_path, "a.conll", "EU NNP I-NP B-ORG\nrejects VBZ I-VP O\n")
    assert lists_of(read(path)[0], conll.TAG) == [["B-ORG", "O"]]
    assert lists_of(read(path, label="2")[0], conll.TAG) == [["NNP", "VBZ"]]
    names = ("word", "pos", "chunk", "entity")
    assert lists_of(read(path, label="chunk", column_names=names)[0], conll.TAG) == [
        ["I-NP", "I-VP"]
    ]
    assert lists_of(read(path, text=("2",))[0]) == [["NNP", "VBZ"]]
    with pytest.raises(ConfigError, match="no column 'ner'.*word, pos, chunk, entity"):
        read(path, label="ner", column_names=names)
    with pytest.raises(ConfigError, match="no column '7'.*4 columns, numbered from 1"):
        read(path, label="7")


def test_ids_are_those_of_the_file_or_count_the_sentences(tmp_path):
    assert read(written(tmp_path, "a.conllu", CONLLU))[0].ids.tolist() == ["first", "second"]
    assert read(written(tmp_path, "a.conll", two_columns()))[0].ids.tolist() == ["0", "1"]
    path = written(tmp_path, "new.txt", "Oh !\n\nDer Hund\n")
    assert read(path, "predict")[0].ids.tolist() == ["0", "2"]  # the empty line is numbered as well


def test_documents_are_groups_if_there_are_enough(tmp_path):
    document = (
        "# newdoc id = {}\n1\tOh\t_\tX\t_\t_\t_\t_\t_\t_\n\n1\tAh\t_\tY\t_\t_\t_\t_\t_\t_\n\n"
    )
    path = written(tmp_path, "a.conllu", "".join(document.format(k) for k in range(12)))
    groups = read(path)[0].groups
    assert len(groups) == 24
    assert (groups[::2] == groups[1::2]).all()
    assert len(set(groups)) == 12
    few = written(tmp_path, "b.conllu", "".join(document.format(k) for k in range(3)))
    assert read(few)[0].groups is None


@pytest.mark.parametrize(
    ("name", "text", "settings", "wanted"),
    [
        ("new.txt", "Der Hund bellt .\nOh !\n", {}, WORDS),
        ("seq.in", "Der Hund bellt .\nOh !\n", {}, WORDS),
        ("new.conll", "Der\nHund\nbellt\n.\n\nOh\n!\n", {"label": "2"}, WORDS),
        ("new.conllu", CONLLU.replace("DET", "_").replace("INTJ", "_"), {"label": "upos"}, WORDS),
        ("test.txt", two_columns(), {"label": "2", "path": "train.txt"}, WORDS),
        ("test.txt", "Oh !\nOh ja !\n", {"label": "2", "path": "train.txt"}, [["Oh", "!"]]),
    ],
)
def test_new_text_needs_no_tags(tmp_path, name, text, settings, wanted):
    given = DataSettings(**settings)
    path = written(tmp_path, name, text)
    sequences, _, _ = tasks.read(given, path, task="tag", purpose="predict")
    assert lists_of(sequences)[: len(wanted)] == wanted


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.conll", "a X\nb\n", r"line 2 has 1 cells.*'b'.*the first line has 2"),
        ("a.conll", "a\tX\n\tY\n", "line 2 has no token in column 1"),
        ("a.conll", "a\tX\nb\t\n", r"line 2: 'b' has no tag"),
        ("a.conll", "a\nb\n", r"one cell \('a'\), a token without a tag"),
        ("a.conllu", "1\ta\t_\tX\n", "line 1 has 4 cells separated by tabs.*CoNLL-U has 10"),
        ("a.conllu", "1\ta\t_\t_\t_\t_\t_\t_\t_\t_\n", r"line 1: 'a' has no tag \(upos\)"),
        ("a.conllu", "# only = comments\n\n", "holds no token"),
        ("a.conll", "\n \n", "is empty"),
    ],
)
def test_an_error_names_its_line(tmp_path, name, text, message):
    with pytest.raises(DataError, match=message):
        read(written(tmp_path, name, text))


def test_text_in_another_encoding_is_refused_by_line_and_read_when_named(tmp_path):
    path = tmp_path / "a.conll"
    path.write_bytes("ja X\nschön Y\n".encode("latin-1"))
    with pytest.raises(DataError, match="line 2 is not utf-8 text"):
        read(path)
    assert lists_of(read(path, encoding="latin-1")[0]) == [["ja", "schön"]]


def test_mismatched_pairs_of_files_are_refused(tmp_path):
    path = written(tmp_path, "seq.in", "a b\nc d\n")
    with pytest.raises(DataError, match=r"the file of tags, .*seq\.out, does not exist"):
        read(path)
    written(tmp_path, "seq.out", "X Y\nX\n")
    with pytest.raises(DataError, match=r"line 2 has 2 tokens, but seq\.out has 1 tags"):
        read(path)
    written(tmp_path, "seq.out", "X Y\n")
    with pytest.raises(DataError, match=r"has 2 lines, but .*seq\.out has 1"):
        read(path)
    other = written(tmp_path, "tags.txt", "X Y\nX Z\n")
    assert lists_of(read(path, labels=str(other))[0], conll.TAG)[1] == ["X", "Z"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a b"], "have no tags"),
        (([["a", "b"]], [["X"]]), "item 0 has 2 tokens, but 1 tags"),
        (([["a"], ["b"]], [["X"]]), "2 sentences, but 1 lists of tags"),
        (([["a", 3]], [["X", "Y"]]), "item 0 holds 3"),
        (([["a", ""]], [["X", "Y"]]), "item 0 holds ''"),
        (([[]], [[]]), "hold no token"),
    ],
)
def test_lists_that_do_not_fit_are_refused(given, message):
    with pytest.raises(DataError, match=message):
        tasks.read(DataSettings(), given, task="tag")


@pytest.mark.parametrize("name", ["a.conllu", "b.conllu.gz", "train.conll", "x/seq.in", "ner.bio"])
def test_the_name_of_the_file_determines_the_task(name):
    assert tasks.guess_task(DataSettings(path=name))[0] == "tag"
    assert tasks.guess_task(DataSettings(path=name, label="xpos"))[0] == "tag"


SPANS = "-DOCSTART- -X- O\n\nAda NNP B-PER\nlives VBZ O\n\nin IN O\nRome NNP S-LOC\n"


@pytest.mark.parametrize("name", ["train.txt", "train.tsv", "train.txt.gz"])
def test_tags_of_spans_in_the_lines_determine_the_task(tmp_path, name):
    path = tmp_path / name
    pack = gzip.compress if name.endswith(".gz") else bytes
    path.write_bytes(pack(SPANS.replace(" ", "\t" if ".tsv" in name else " ").encode()))
    assert tasks.guess_task(DataSettings(path=str(path)))[0] == "tag"
    found, _, _ = tasks.read(DataSettings(path=str(path)), task="tag")
    assert conll.tokens_of(found, conll.TAG, 0) == ["B-PER", "O"]


@pytest.mark.parametrize(
    "content",
    [
        SPANS.replace("lives VBZ O", "lives VBZ verb"),
        SPANS.replace("\n\n", "\n"),
        SPANS.replace("B-PER", "O").replace("S-LOC", "O"),
        SPANS.replace("lives VBZ O", "O"),
        "To be, or\nnot to be\n\nthat is O\n",
    ],
    ids=["another tag", "no sentences", "no span", "no token", "prose"],
)
def test_other_lines_are_not_taken_for_tags(tmp_path, content):
    path = tmp_path / "train.txt"
    path.write_text(content)
    assert not conll.holds_spans(File(path))


def test_the_same_sentence_is_recognised_in_another_file():
    first = conll.from_sentences([["a", "b"], ["c"]], [["X", "Y"], ["X"]])
    later = conll.from_sentences([["c"], ["a", "b"]])
    marks = [[fingerprint(steps) for steps in comparable(one)] for one in (first, later)]
    assert marks[0] == marks[1][::-1]
    assert len(set(marks[0])) == 2


def test_the_shipped_sample_has_its_documented_content():
    sequences, _, _ = tasks.read(DataSettings(path=str(path_of("ewt-sample"))), task="tag")
    assert len(sequences) == 614
    assert len(np.unique(sequences.groups)) == 70
    assert sequences.lengths.sum() == 9_894
    assert len(sequences.levels[conll.TAG]) == 17


def test_a_compressed_file_finds_compressed_tags(tmp_path):
    path = written(tmp_path, "seq.in.gz", "a b\n")
    written(tmp_path, "seq.out.gz", "X Y\n")
    assert lists_of(read(path)[0], conll.TAG) == [["X", "Y"]]
    copied = Path(shutil.copy(path, tmp_path / "alone.in.gz"))
    assert lists_of(read(copied, "predict")[0]) == [["a", "b"]]


def test_a_header_is_not_a_token(tmp_path):
    (tmp_path / "a.tsv").write_text("word\ttag\nThe\tDET\ncat\tNOUN\n")
    found, _, notes = conll.read(tmp_path / "a.tsv", DataSettings(), purpose="train")
    assert conll.tokens_of(found, conll.TOKEN, 0) == ["The", "cat"]
    assert any("names the columns and is skipped" in note for note in notes)


def read_conll(tmp_path, content):
    path = tmp_path / "a.conll"
    path.write_text(content)
    found, _, _ = tasks.read(DataSettings(), path, task="tag")
    return [
        [conll.tokens_of(found, name, k) for k in range(len(found))]
        for name in (conll.TOKEN, conll.TAG)
    ]


def test_a_comment_as_wide_as_a_token_is_still_a_comment(tmp_path):
    assert read_conll(tmp_path, COMMENTED) == [WORDS, TAGS]
    wide = COMMENTED.replace("# two", "# id 2\tdomain=train").replace(" ", "\t_\t_\t")
    four = wide.replace("#\t_\t_\t", "# ").replace("#doc1\n# one", "# id 1\tdomain=train")
    assert read_conll(tmp_path, four.replace("id\t_\t_\t", "id ")) == [WORDS, TAGS]


@pytest.mark.parametrize(
    ("line", "tag"),
    [("# PUNCT", "PUNCT"), ("# #", "#")],  # a tag that other tokens have, from the Penn Treebank
)
def test_a_number_sign_at_the_beginning_of_a_sentence_is_a_token(tmp_path, line, tag):
    words, tags = read_conll(tmp_path, f"{two_columns()}\n{line}\n5 NUM\n")
    assert words == [*WORDS, ["#", "5"]]
    assert tags == [*TAGS, [tag, "NUM"]]


def test_a_number_sign_within_a_sentence_is_a_token_whatever_its_tag(tmp_path):
    words, tags = read_conll(tmp_path, f"{two_columns()}# SYM\n\n# SYM\n5 NUM\n")
    assert words == [WORDS[0], [*WORDS[1], "#"], ["#", "5"]]
    assert tags[2] == ["SYM", "NUM"]


def test_a_hashtag_is_a_token(tmp_path):
    words, _ = read_conll(tmp_path, f"{two_columns()}\n#love HT\nis VERB\n")
    assert words == [*WORDS, ["#love", "is"]]
