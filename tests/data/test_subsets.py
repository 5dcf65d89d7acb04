"""Shares of the training part."""

import numpy as np
import pytest

from gatewise.data.sequences import from_arrays, from_texts
from gatewise.data.splits import Splits, split_by_place, split_by_sequence, split_by_time
from gatewise.data.subsets import amount, by_steps, share_of_training
from gatewise.settings import SplitSettings


def test_the_last_steps_of_each_series_remain_and_windows_do_not_look_behind_them():
    series = from_arrays([np.arange(100.0), np.arange(40.0)])
    splits = split_by_time(series, SplitSettings(), horizon=2)
    part = share_of_training(splits, 0.25, seed=0)
    assert by_steps(splits)
    assert part.train.stops.tolist() == splits.train.stops.tolist()
    assert part.train.lengths.tolist() == [18, 7]  # of 70 and 28
    assert part.train.first.tolist() == part.train.starts.tolist()
    assert part.validation is splits.validation
    assert amount(part.train, steps=True) == 25


def test_sequences_are_drawn_by_seed_with_labels_in_proportion():
    labels = np.array(["a"] * 60 + ["b"] * 30)
    every = from_arrays([np.zeros(3)] * 90, labels=labels)
    splits = split_by_sequence(every, SplitSettings(), test=True)
    half = [share_of_training(splits, 0.5, seed=k).train for k in (0, 0, 1)]
    assert half[0].ids.tolist() == half[1].ids.tolist() != half[2].ids.tolist()
    assert set(half[0].ids) < set(splits.train.ids)
    counts = np.unique(half[0].labels, return_counts=True)[1]
    assert counts[0] == pytest.approx(2 * counts[1], abs=1)
    assert amount(half[0], steps=False) == round(len(splits.train) / 2)


def test_the_last_part_of_a_text_remains_and_begins_with_a_line():
    text = from_texts(["".join(f"line {k}\n" for k in range(100))])
    splits = split_by_place(text, SplitSettings(), test=True)
    part = share_of_training(splits, 0.5, seed=0).train
    kept = part[0].tobytes().decode()
    assert kept.startswith("line ")
    assert splits.train[0].tobytes().decode().endswith(kept)
    assert len(kept) == pytest.approx(splits.train.lengths.sum() / 2, abs=10)


def test_a_validation_part_of_its_own_leaves_whole_sequences():
    own = from_arrays([np.zeros(5)] * 8)
    splits = Splits(from_arrays([np.ones(5)] * 16), own, None)
    assert share_of_training(splits, 0.25, seed=0).train.lengths.tolist() == [5] * 4
