"""Errors by length: every sequence counts once, in the quarter of its length."""

import numpy as np

from gatewise.tasks.shown import by_length


def test_errors_are_counted_by_length():
    lengths = np.random.default_rng(0).integers(4, 12, size=40)
    rows = by_length(lengths, "error", {"right": np.zeros(40), "length": lengths})
    assert sum(row["sequences"] for row in rows) == 40 and len(rows) <= 4
    assert rows[0]["from"] == lengths.min() and rows[-1]["to"] == lengths.max()
    for row, after in zip(rows, rows[1:], strict=False):
        assert row["to"] + 1 == after["from"]
    for row in rows:
        within = (lengths >= row["from"]) & (lengths <= row["to"])
        assert row["sequences"] == within.sum()
        assert row["error"] == {"right": 0.0, "length": lengths[within].mean()}


def test_one_length_has_no_rows():
    assert by_length(np.full(5, 3), "error", {"right": np.zeros(5)}) == []
