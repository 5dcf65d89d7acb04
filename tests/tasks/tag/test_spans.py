"""Spans agree with seqeval, for any tags in any order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import classification_report, f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities

from gatewise import metrics
from gatewise.tasks.tag import spans

MARKS = st.sampled_from(["O", *(f"{mark}-{kind}" for mark in "BIES" for kind in ("a", "b-c"))])
PARTS = st.lists(st.lists(st.tuples(MARKS, MARKS), min_size=1, max_size=8), min_size=1, max_size=5)


@given(st.lists(MARKS, max_size=12))
def test_spans_are_those_that_seqeval_reads(tags):
    assert spans.spans(tags) == set(get_entities(tags))


@given(PARTS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_scores_are_those_of_seqeval(parts):
    truth = [[one for one, _ in part] for part in parts]
    answer = [[other for _, other in part] for part in parts]
    counts = spans.counts(truth, answer)
    assert metrics.span_f1(counts) == pytest.approx(f1_score(truth, answer, zero_division=0))
    right, told, there = counts.sum(axis=0)
    if told:
        assert right / told == pytest.approx(precision_score(truth, answer, zero_division=0))
    if there:
        assert right / there == pytest.approx(recall_score(truth, answer, zero_division=0))
    found = spans.by_type(truth, answer)
    if found:
        known = classification_report(truth, answer, output_dict=True, zero_division=0)
        for name, scores in found.items():
            assert scores["f1"] == pytest.approx(known[name]["f1-score"])
            assert scores["precision"] == pytest.approx(known[name]["precision"])
            assert scores["recall"] == pytest.approx(known[name]["recall"])
            assert scores["support"] == known[name]["support"]


def test_a_sentence_worked_out_by_hand():
    truth = [["B-city", "I-city", "O", "B-time"]]
    answer = [["B-city", "O", "O", "B-time"]]
    assert spans.counts(truth, answer).tolist() == [[1, 2, 2]]
    assert metrics.span_f1(spans.counts(truth, answer)) == 0.5
    assert metrics.span_f1(np.zeros((1, 3))) == 0.0


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        (["O", "B-x", "I-x"], True),
        (["O", "I-x"], True),
        (["B", "I", "O"], True),
        (["O", "S-x", "B-x", "E-x", "I-x"], True),
        (["O"], False),
        (["NOUN", "O"], False),
        (["X", "SYM", "INTJ"], False),
        (["Bx", "O"], False),
    ],
)
def test_tags_that_mark_spans_are_known(tags, wanted):
    assert spans.mark_spans(tags) is wanted
