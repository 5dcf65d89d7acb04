"""Every window lies within one series and one part, and none is missing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data.sequences import from_arrays
from gatewise.data.splits import split_by_time
from gatewise.data.windows import cut, phased, stretches, windows
from gatewise.settings import SplitSettings

lengths = st.lists(st.integers(1, 30), min_size=1, max_size=8)
small = st.integers(1, 7)


def numbered(lengths):
    """Sequences whose value at each step is its own position in the whole array."""
    positions = np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1])
    return from_arrays(positions)


def by_definition(sequences, lookback, horizon, stride):
    """Sequence and origin of every window, by a loop."""
    return [
        (k, origin)
        for k in range(len(sequences))
        for origin in range(
            max(sequences.starts[k], sequences.first[k] + lookback),
            sequences.stops[k] - horizon + 1,
            stride,
        )
    ]


@given(st.integers(1, 60), st.integers(1, 30))
def test_a_phased_stride_begins_windows_in_each_step_of_a_season(least, season):
    stride = phased(least, season)
    assert stride >= least
    whole = windows(numbered([stride * season + 1]), lookback=1, horizon=1, stride=stride)
    _, origins = whole.places(np.arange(len(whole)))
    assert len(set(origins % season)) == season


@given(lengths, small, small, small)
def test_windows_are_those_of_the_definition(lengths, lookback, horizon, stride):
    sequences = numbered(lengths)
    made = windows(sequences, lookback, horizon, stride)
    sequence, origins = made.places(np.arange(len(made)))
    assert list(zip(sequence, origins, strict=True)) == by_definition(
        sequences, lookback, horizon, stride
    )


@given(lengths, small, small, small)
def test_every_window_lies_within_one_series(lengths, lookback, horizon, stride):
    sequences = numbered(lengths)
    made = windows(sequences, lookback, horizon, stride)
    everything = np.arange(len(made))
    sequence, _ = made.places(everything)
    steps = made.steps(everything, -lookback, horizon)
    assert steps.shape == (len(made), lookback + horizon)
    assert (steps >= sequences.starts[sequence, None]).all()
    assert (steps < sequences.stops[sequence, None]).all()


@given(lengths, small, small)
def test_futures_of_the_parts_never_meet(lengths, lookback, horizon):
    sequences = numbered([length + 3 * horizon + 1 for length in lengths])
    parts = split_by_time(sequences, SplitSettings(), horizon=horizon)
    futures = []
    for part in (parts.train, parts.validation, parts.test):
        made = windows(part, lookback, horizon)
        which = np.arange(len(made))
        futures.append(set(made.steps(which, 0, horizon).ravel().tolist()))
        sequence, _ = made.places(which)
        past = made.steps(which, -lookback, 0)
        assert (past >= part.first[sequence, None]).all()
    train, validation, test = futures
    assert not train & validation
    assert not train & test
    assert not validation & test


@given(lengths, small, small)
def test_training_windows_end_within_the_training_part(lengths, lookback, horizon):
    sequences = numbered([length + 3 * horizon + 1 for length in lengths])
    train = split_by_time(sequences, SplitSettings(), horizon=horizon).train
    made = windows(train, lookback, horizon)
    which = np.arange(len(made))
    sequence, _ = made.places(which)
    assert (made.steps(which, -lookback, horizon) < train.stops[sequence, None]).all()


def test_the_ett_protocol_gives_2785_windows_to_test():
    # Zhou et al. 2021 (Informer): 12, 4 and 4 months of 30 days, the rest of the file unused.
    series = from_arrays([np.zeros((17_420, 7))])
    settings = SplitSettings(train=8640, validation=2880, test=2880)
    parts = split_by_time(series, settings, horizon=96)
    counts = [len(windows(part, 96, 96)) for part in (parts.train, parts.validation, parts.test)]
    assert counts == [8640 - 96 - 96 + 1, 2785, 2785]


def test_a_series_no_longer_than_the_lookback_gives_no_window():
    assert len(windows(from_arrays([np.zeros(5)]), lookback=5, horizon=1)) == 0
    assert len(windows(from_arrays([np.zeros(6)]), lookback=5, horizon=1)) == 1
    assert len(windows(from_arrays([np.zeros(1)]), lookback=50, horizon=10)) == 0


def test_series_too_short_for_a_window_are_skipped():
    made = windows(numbered([2, 9, 1, 1, 8]), lookback=4, horizon=3)
    sequence, origins = made.places(np.arange(len(made)))
    assert sequence.tolist() == [1, 1, 1, 4, 4]
    assert origins.tolist() == [6, 7, 8, 17, 18]


@given(lengths, small, small)
def test_pieces_are_full_and_lie_within_their_sequence(lengths, window, stride):
    sequences = numbered(lengths)
    pieces = cut(sequences, window, stride)
    for k, length in enumerate(lengths):
        mine = np.flatnonzero(pieces.first == sequences.first[k])
        expected = [
            list(range(begin, begin + window)) for begin in range(0, length - window + 1, stride)
        ]
        expected = expected or [list(range(length))]  # shorter sequences stay whole
        got = [(pieces[p].ravel() - sequences.starts[k]).tolist() for p in mine]
        assert got == expected


def test_pieces_keep_label_group_and_position():
    whole = from_arrays(
        [np.zeros(5), np.zeros(2)],
        ids=np.array(["ann", "bob"]),
        labels=np.array(["walk", "run"]),
        groups=np.array(["f", "m"]),
    )
    pieces = cut(whole, 2, 2)
    assert pieces.ids.tolist() == ["ann@0", "ann@2", "bob@0"]
    assert pieces.labels.tolist() == ["walk", "walk", "run"]
    assert pieces.groups.tolist() == ["f", "f", "m"]


@pytest.mark.parametrize("count", [1, 50_000])
def test_windows_of_a_panel_take_no_extra_memory(count):
    panel = from_arrays([np.zeros(200)] * count)
    made = windows(panel, 24, 12)
    assert len(made) == count * (200 - 36 + 1)
    assert made.origins.nbytes + made.ends.nbytes <= 16 * count


@pytest.mark.parametrize(("window", "stride"), [(0, 0), (5, 5), (6, 2), (40, 7)])
def test_every_step_is_in_one_stretch_and_the_past_never_leaves_its_sequence(window, stride):
    whole = from_arrays([np.zeros(13), np.zeros(4), np.zeros(30)])
    part = whole.between(whole.starts + 2, whole.stops)  # the first two steps are only read
    made = stretches(part, window, stride)
    steps = [np.arange(*pair) for pair in zip(made.scored.starts, made.scored.stops, strict=True)]
    wanted = [np.arange(*pair) for pair in zip(part.starts, part.stops, strict=True)]
    np.testing.assert_array_equal(np.concatenate(steps), np.concatenate(wanted))
    assert (made.read.starts >= made.read.first).all()
    assert (made.read.stops == made.scored.stops).all()
    if window:
        assert made.read.lengths.max() <= window and made.scored.lengths.max() <= stride
