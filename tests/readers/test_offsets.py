"""Texts whose spans are given as offsets, as four tools write them."""

import json

import pytest

from gatewise.errors import DataError
from gatewise.readers import conll
from gatewise.settings import DataSettings
from gatewise.tasks import guess_task, read

TEXT, PLACE = "Ann Lee flew to \N{AIRPLANE}\N{ROCKET} Rome, slept.", 19
SPANS = [(0, 7, "PER"), (PLACE, PLACE + 4, "LOC")]
BEYOND = PLACE + 1  # JavaScript counts the rocket twice


def studio(first, last, label):
    shift = first > 7
    inside = {"start": first + shift, "end": last + shift, "labels": [label]}
    return inside | {"text": TEXT[first:last]}


FORMS = {
    "spacy": [{"text": TEXT, "entities": SPANS}],
    "doccano": [{"id": 1, "text": TEXT, "label": SPANS}],
    "prodigy": [
        {"text": TEXT, "spans": [{"start": a, "end": b, "label": c} for a, b, c in SPANS]},
    ],
    "label studio": [
        {
            "data": {"text": TEXT},
            "annotations": [{"result": [{"value": studio(*span)} for span in SPANS]}],
        }
    ],
    "label studio, short": [{"text": TEXT, "label": [studio(*span) for span in SPANS]}],
}


def written(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize("form", FORMS)
def test_spans_become_the_tags_of_words_and_signs(form, tmp_path):
    path = written(tmp_path / "a.jsonl", FORMS[form] * 20)
    assert guess_task(DataSettings(), path)[0] == "tag"
    found, settings, _ = read(DataSettings(), path, task="tag")
    tokens = ["Ann", "Lee", "flew", "to", "\N{AIRPLANE}", "\N{ROCKET}"]
    assert conll.tokens_of(found, conll.TOKEN, 19) == [*tokens, "Rome", ",", "slept", "."]
    tags = ["B-PER", "I-PER", *"OOOO", "B-LOC", *"OOO"]
    assert conll.tokens_of(found, conll.TAG, 19) == tags
    bare = written(tmp_path / "b.jsonl", [{settings.text[0]: TEXT}])
    new, _, _ = read(settings, bare, task="tag", purpose="predict")
    assert conll.tokens_of(new, conll.TOKEN, 0) == conll.tokens_of(found, conll.TOKEN, 0)


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ([(0, 99, "PER")], "not in its text"),
        ([(0, 7, "PER"), (4, 12, "X")], "overlaps"),
        ([(3, 4, "PER")], "holds no word"),
        ([(0, 7)], "is not a span"),
        ([{"start": 0, "end": 3, "label": "X", "text": "Bob"}], "is 'Ann', not 'Bob'"),
    ],
)
def test_a_span_that_does_not_fit_its_text_is_refused(spans, said, tmp_path):
    form = FORMS["prodigy" if isinstance(spans[0], dict) else "spacy"]
    key = list(form[0])[1]
    path = written(tmp_path / "a.jsonl", [*form * 20, {"text": TEXT, key: spans}])
    with pytest.raises(DataError, match=f"row 21.*{said}"):
        read(DataSettings(), path, task="tag")
