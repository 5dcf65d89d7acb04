"""Disjoint parts of the requested sizes, with labels in proportion and groups whole."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gatewise.data.sequences import from_arrays, from_texts, texts_of
from gatewise.data.splits import (
    Splits,
    few_groups_note,
    split_by_place,
    split_by_sequence,
    split_by_time,
)
from gatewise.errors import ConfigError, DataError
from gatewise.settings import SplitSettings

shares = st.floats(0, 0.6)
horizons = st.integers(1, 10)


def series(*lengths):
    return from_arrays([np.arange(length) for length in lengths], source="load.csv")


def labelled(labels, groups=None):
    """One sequence per label."""
    return from_arrays(
        [np.array([k]) for k in range(len(labels))],
        labels=np.array(labels),
        groups=None if groups is None else np.array(groups),
        source="walks.csv",
    )


def numbers(part):
    """The sequences of `labelled` in a part."""
    return [] if part is None else part.ids.astype(int).tolist()


def by_sequence(sequences, *, with_test=True, **settings):
    parts = split_by_sequence(sequences, SplitSettings(**settings), test=with_test)
    return [numbers(part) for part in (parts.train, parts.validation, parts.test)]


# By time


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), shares, shares, horizons)
def test_parts_of_a_series_follow_each_other_without_overlap(lengths, validation, test, horizon):
    settings = SplitSettings(validation=validation, test=test)
    whole = series(*lengths)
    try:
        parts = split_by_time(whole, settings, horizon=horizon)
    except DataError:
        return
    assert parts.train.ids.tolist() == whole.ids.tolist()
    for k, name in enumerate(whole.ids):
        steps = []
        for part in (parts.train, parts.validation, parts.test):
            mine = [] if part is None else np.flatnonzero(part.ids == name)
            steps += [part[place].ravel().tolist() for place in mine]
        # Together they are the whole series: in order, each step once.
        assert sum(steps, []) == list(range(lengths[k]))
        # A horizon fits into each part, and into training with a step before it.
        if len(steps) > 1:
            assert min(map(len, steps[1:])) >= horizon
            assert len(steps[0]) > horizon


@given(st.integers(10, 500), st.sampled_from([0.1, 0.2, 0.25, 0.29]))
def test_a_share_is_of_each_series_own_steps(length, share):
    parts = split_by_time(
        series(length, 2 * length), SplitSettings(validation=share, test=share), horizon=1
    )
    wanted = [int(share * size + 1e-9) for size in (length, 2 * length)]
    assert parts.test.lengths.tolist() == parts.validation.lengths.tolist() == wanted


def test_a_share_is_not_lost_to_rounding():
    assert 0.29 * 100 < 29
    parts = split_by_time(series(100), SplitSettings(test=0.29), horizon=1)
    assert parts.test.lengths.tolist() == [29]


def test_counts_are_steps_and_the_rest_stays_unused():
    parts = split_by_time(series(100), SplitSettings(train=50, validation=20, test=10), horizon=5)
    assert parts.train[0].ravel().tolist() == list(range(50))
    assert parts.validation[0].ravel().tolist() == list(range(50, 70))
    assert parts.test[0].ravel().tolist() == list(range(70, 80))


def test_a_part_is_never_smaller_than_a_horizon():
    parts = split_by_time(series(100), SplitSettings(validation=0.01, test=3), horizon=24)
    assert parts.validation.lengths.tolist() == [24]
    assert parts.test.lengths.tolist() == [24]
    assert parts.train.lengths.tolist() == [52]


def test_a_part_of_size_zero_is_none():
    parts = split_by_time(series(30), SplitSettings(validation=0, test=0), horizon=3)
    assert parts.validation is None
    assert parts.test is None
    assert parts.train.lengths.tolist() == [30]


def test_series_too_short_to_split_are_used_for_training_only():
    parts = split_by_time(series(100, 6, 1), SplitSettings(), horizon=5)
    assert parts.train.lengths.tolist() == [70, 6, 1]
    assert parts.validation.ids.tolist() == parts.test.ids.tolist() == ["0"]


def test_one_series_too_short_says_what_was_needed():
    with pytest.raises(DataError, match=r"load\.csv: the longest sequence has 12 steps.*--horizon"):
        split_by_time(series(12, 7), SplitSettings(), horizon=6)


@pytest.mark.parametrize("split", [split_by_time, split_by_sequence])
def test_a_negative_or_broken_size_is_refused(split):
    more = {"horizon": 2} if split is split_by_time else {"test": True}
    with pytest.raises(ConfigError, match=r"cannot be negative\. Received: -0\.1"):
        split(series(*[50] * 9), SplitSettings(test=-0.1), **more)
    with pytest.raises(ConfigError, match=r"a whole number\. Received: 2\.5"):
        split(series(*[50] * 9), SplitSettings(validation=2.5), **more)


# By label


@given(
    st.lists(st.integers(3, 40), min_size=1, max_size=5),
    st.floats(0, 0.45),
    st.floats(0, 0.45),
    st.integers(0, 3),
)
def test_parts_are_disjoint_and_stratified(counts, validation, test, seed):
    labels = np.repeat(np.arange(len(counts)), counts).astype(str)
    total = len(labels)
    try:
        parts = by_sequence(labelled(labels), validation=validation, test=test, seed=seed)
    except ConfigError:
        assume(False)
    assert sorted(sum(parts, [])) == list(range(total))
    for part, share in zip(parts[1:], (validation, test), strict=True):
        if share:
            size = max(1, round(share * total))
            found = np.array([np.sum(labels[part] == str(k)) for k in range(len(counts))])
            assert (found >= 1).all()
            if size >= 3 * len(counts) and min(counts) * share >= 1 and validation + test < 0.8:
                assert len(part) == size
                assert (np.abs(found - np.array(counts) * size / total) <= 1.5).all()
    assert set(labels[parts[0]]) == set(labels)


def test_parts_have_the_requested_counts():
    labels = ["a"] * 60 + ["b"] * 40
    train, validation, test = by_sequence(labelled(labels), validation=10, test=20)
    assert (len(train), len(validation), len(test)) == (70, 10, 20)
    assert sum(k >= 60 for k in test) == 8
    assert sum(k >= 60 for k in validation) == 4


def test_parts_have_the_requested_counts_when_rare_labels_are_left_out():
    labels = ["a"] * 50 + ["b"] * 48 + ["c", "d"]
    for policy in ("drop", "train"):
        _, validation, test = by_sequence(
            labelled(labels), validation=10, test=20, rare_labels=policy
        )
        assert (len(validation), len(test)) == (10, 20)


def test_a_smaller_training_part_keeps_the_proportions():
    labels = ["a"] * 80 + ["b"] * 20
    train, _, _ = by_sequence(labelled(labels), train=10, validation=10, test=20)
    assert len(train) == 10
    assert sum(k >= 80 for k in train) == 2


def test_three_of_a_label_are_enough_for_three_parts_whatever_the_sizes():
    labels = [name for name in "abc" for _ in range(3)]
    for seed in range(20):
        for part in by_sequence(labelled(labels), validation=0.3, test=0.5, seed=seed):
            assert {labels[k] for k in part} == {"a", "b", "c"}


def test_the_seed_alone_decides():
    whole = labelled(["a", "b"] * 30)
    assert by_sequence(whole, seed=1) == by_sequence(whole, seed=1) != by_sequence(whole, seed=2)


def test_without_a_test_part_the_rest_is_trained_on():
    train, validation, test = by_sequence(labelled(["a", "b"] * 20), with_test=False)
    assert (len(train), len(validation), test) == (36, 4, [])


def test_parts_keep_the_order_of_the_file():
    for part in by_sequence(labelled(["a", "b"] * 30)):
        assert part == sorted(part)


RARE = ["a"] * 10 + ["b"] * 10 + ["c"] * 2


def test_a_rare_label_stops_the_run_and_is_named():
    with pytest.raises(
        DataError,
        match=r"walks\.csv: 1 label is too rare.*each of 3 parts: 'c' \(2 sequences.*sequence 20",
    ):
        by_sequence(labelled(RARE))


def test_rare_labels_that_are_several_are_told_how_to_be_parted():
    genres = ["Drama", "Comedy", "Horror"]
    joined = [f"{one}|{other}" for one in genres for other in genres] * 2
    with pytest.raises(DataError, match=r'several labels, set data\.separator = "\|"'):
        by_sequence(labelled(joined))
    with pytest.raises(DataError) as caught:
        by_sequence(labelled(RARE))
    assert "separator" not in str(caught.value)


def test_a_rare_label_can_be_left_out():
    assert sorted(sum(by_sequence(labelled(RARE), rare_labels="drop"), [])) == list(range(20))


def test_a_rare_label_can_be_learnt_without_being_tested():
    train, validation, test = by_sequence(labelled(RARE), rare_labels="train")
    assert {20, 21} <= set(train)
    assert sorted(train + validation + test) == list(range(22))


def test_dropping_is_refused_when_every_label_is_rare():
    with pytest.raises(DataError, match=r"0 sequence\(s\) are too few to split"):
        by_sequence(labelled(["a", "b", "c", "d"]), rare_labels="drop")


def test_labels_may_be_rare_when_nothing_is_held_out():
    assert by_sequence(labelled(["a", "b"]), validation=0, test=0) == [[0, 1], [], []]


def test_at_random_labels_do_not_matter():
    train, validation, test = by_sequence(labelled(["a"] * 19 + ["b"]), by="random")
    assert (len(train), len(validation), len(test)) == (14, 2, 4)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_sequences_are_refused(count):
    with pytest.raises(
        ConfigError, match=rf"1 sequences to validate, 1 to test.*there are {count}"
    ):
        by_sequence(labelled(["a"] * count))


@pytest.mark.parametrize(
    "sizes",
    [
        {"validation": 0.5, "test": 0.5},
        {"validation": 5, "test": 5},
        {"train": 6, "validation": 2, "test": 3},
        {"train": 0.7, "validation": 0.3, "test": 0.3},
    ],
)
def test_parts_larger_than_the_data_are_refused(sizes):
    with pytest.raises(ConfigError, match=r"there are 10\. Give more data"):
        by_sequence(labelled(["a"] * 10), **sizes)


# By group


@st.composite
def grouped(draw):
    """Labels and groups, each label in at least three groups."""
    groups = draw(st.integers(4, 12))
    names = draw(st.integers(1, 3))
    labels, of = [], []
    for group in range(groups):
        for _ in range(draw(st.integers(1, 6))):
            labels.append(str(draw(st.integers(0, names - 1))))
            of.append(f"person {group}")
    for name in range(names):
        labels += [str(name)] * 3
        of += ["person 0", "person 1", "person 2"]
    return labels, of


@given(grouped(), st.floats(0, 0.4), st.floats(0.05, 0.4), st.integers(0, 3))
def test_a_group_is_never_divided(made, validation, test, seed):
    labels, groups = made
    settings = {"validation": validation, "test": test, "seed": seed}
    parts = by_sequence(labelled(labels, groups), **settings)
    assert sorted(sum(parts, [])) == list(range(len(labels)))
    people = [{groups[k] for k in part} for part in parts]
    assert not people[0] & people[1]
    assert not people[0] & people[2]
    assert not people[1] & people[2]
    assert {labels[k] for k in parts[0]} == set(labels)  # every tested label occurs in training


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4, 0.6])
def test_parts_of_many_groups_are_near_the_requested_share(share):
    random = np.random.default_rng(0)
    groups = random.integers(0, 80, 1000).astype(str)
    labels = random.choice(["a", "b", "c"], 1000, p=[0.6, 0.3, 0.1])
    _, _, test = by_sequence(labelled(labels, groups), validation=0, test=share)
    assert len(test) == pytest.approx(share * 1000, abs=20)
    assert np.mean(labels[test] == "a") == pytest.approx(0.6, abs=0.05)


def test_a_label_in_too_few_groups_is_rare_however_often_it_occurs():
    labels = ["a"] * 20 + ["b"] * 40
    groups = [f"g{k % 5}" for k in range(20)] + ["g0"] * 40
    with pytest.raises(DataError, match=r"'b' \(1 group, in sequence 20\)"):
        by_sequence(labelled(labels, groups))


def test_a_rare_label_takes_its_whole_group_to_training():
    labels = ["a", "b"] * 15 + ["c"]
    groups = [f"g{k // 3}" for k in range(31)]
    train, validation, test = by_sequence(labelled(labels, groups), rare_labels="train")
    assert 30 in train
    groups[30] = "g0"
    train, validation, test = by_sequence(labelled(labels, groups), rare_labels="train")
    assert {0, 1, 2, 30} <= set(train)


def test_one_group_cannot_be_divided():
    mine = from_arrays([np.zeros(1)] * 9, groups=np.array(["me"] * 9))
    with pytest.raises(DataError, match=r"1 group\(s\) are too few.*\(me\).*never divided"):
        by_sequence(mine)


def test_groups_do_not_matter_in_a_split_by_label():
    labels, groups = ["a", "b"] * 10, ["me"] * 20
    assert len(by_sequence(labelled(labels, groups), by="label")[2]) == 4


@pytest.mark.parametrize(
    ("by", "wanted"),
    [
        ("group", "needs data.group"),
        ("label", "needs data.label"),
        ("time", "works only for forecasts"),
    ],
)
def test_a_split_by_missing_labels_or_groups_is_refused(by, wanted):
    with pytest.raises(ConfigError, match=wanted):
        by_sequence(from_arrays([np.zeros(1)] * 10), by=by)


def test_5000_groups_give_a_test_part_of_the_requested_size():
    random = np.random.default_rng(0)
    labels = random.integers(0, 20, 50_000).astype(str)
    groups = random.integers(0, 5000, 50_000).astype(str)
    _, _, test = by_sequence(labelled(labels, groups), rare_labels="train")
    assert len(test) == pytest.approx(10_000, abs=100)


def named(*ids, **known):
    return from_arrays(
        [np.array([k]) for k in range(len(ids))], ids=np.array(ids), source="walks.csv", **known
    )


def test_sequences_whose_ids_match_are_the_test_part():
    ids = [f"{word}_{take}.wav" for word in ("no", "yes") for take in range(10)]
    labels = np.array([name.split("_")[0] for name in ids])
    settings = SplitSettings(test_ids=r"_[0-4]\.wav$", validation=2)
    parts = split_by_sequence(named(*ids, labels=labels), settings, test=True)
    assert set(parts.test.ids) == {name for name in ids if name[-5] in "01234"}
    assert sorted(parts.validation.labels) == ["no", "yes"]
    everything = [*parts.train.ids, *parts.validation.ids, *parts.test.ids]
    assert sorted(everything) == sorted(ids)


def test_an_expression_keeps_groups_together_in_the_other_parts():
    ids = [f"{who}{take}" for who in "abcd" for take in range(5)]
    groups = np.array([name[0] for name in ids])
    settings = SplitSettings(test_ids="^a", validation=5)
    parts = split_by_sequence(named(*ids, groups=groups), settings, test=True)
    assert set(parts.test.groups) == {"a"}
    assert not set(parts.validation.groups) & set(parts.train.groups)


@pytest.mark.parametrize(
    ("expression", "said"),
    [("(", "not a regular expression"), ("xyz", "matches no id"), (".", "matches every id")],
)
def test_an_expression_that_matches_none_or_all_is_refused(expression, said):
    with pytest.raises(ConfigError, match=said):
        split_by_sequence(named("a", "b"), SplitSettings(test_ids=expression), test=True)


def test_an_expression_and_a_file_cannot_both_be_the_test_part():
    with pytest.raises(ConfigError, match="both define the test part"):
        split_by_sequence(named("a", "b"), SplitSettings(test_ids="a"), test=False)


def test_a_note_says_that_there_are_few_groups():
    sequences = labelled(["a", "b"] * 15, np.repeat(["x", "y", "z"], 10))
    told = few_groups_note(split_by_sequence(sequences, SplitSettings(), test=True))
    assert len(told) == 1
    assert "The verdict rests on 1 group ('" in told[0]
    assert "trained on 1 group." in told[0]
    many = labelled(["a", "b"] * 60, np.arange(120) // 2 % 40)
    parts = split_by_sequence(many, SplitSettings(), test=True)
    assert few_groups_note(parts) == []
    assert few_groups_note(Splits(parts.train, None, None)) == []
    ungrouped = split_by_sequence(labelled(["a", "b"] * 15), SplitSettings(), test=True)
    assert few_groups_note(ungrouped) == []


def parts_of(given, **settings):
    parts = split_by_place(from_texts(given), SplitSettings(**settings), test=True)
    return [
        None if one is None else texts_of(one)
        for one in (parts.train, parts.validation, parts.test)
    ]


def test_parts_follow_each_other_and_hold_all_of_the_text():
    text = "".join(f"line number {k}\n" for k in range(100))
    train, validation, test = parts_of([text])
    assert train + validation + test == [
        text[: len(train[0])],
        validation[0],
        text[-len(test[0]) :],
    ]
    assert "".join(train + validation + test) == text
    assert len(train[0]) == pytest.approx(0.7 * len(text), abs=20)
    for part in (train, validation):
        assert part[0].endswith("\n")


def test_without_line_ends_a_cut_goes_between_words_and_without_words_between_characters():
    train, _, _ = parts_of(["word " * 100])
    assert train[0].endswith("word ")
    train, validation, test = parts_of(["日本語" * 50])
    assert "".join(train + validation + test) == "日本語" * 50


def test_a_validation_part_within_a_line_is_not_lost():
    # Both cuts lie in the last line, whose begin is the nearest end of a line for both.
    text = f"{'a b ' * 350}\n{'word ' * 125}"
    train, validation, test = parts_of([text])
    assert "".join(train + validation + test) == text
    assert train == [f"{'a b ' * 350}\n"]
    assert len(validation[0]) > 10 and test[0].startswith("word ")


def test_a_cut_may_go_through_one_of_several_texts():
    texts_ = [f"{'a' * 30}\n" * 4, f"{'b' * 30}\n" * 4]
    train, validation, test = parts_of(texts_, validation=0.0, test=0.25)
    assert train == [texts_[0], f"{'b' * 30}\n" * 2]
    assert validation is None
    assert test == [f"{'b' * 30}\n" * 2]


def test_a_test_part_in_a_file_of_its_own_leaves_none_to_cut():
    parts = split_by_place(from_texts(["ab\n" * 50]), SplitSettings(), test=False)
    assert parts.test is None
    assert parts.train.lengths.sum() + parts.validation.lengths.sum() == 150


def test_train_sets_how_much_before_the_validation_part_is_used():
    text = "".join(f"{k:04}\n" for k in range(200))
    train, validation, _ = parts_of([text], train=100, validation=100, test=100)
    assert validation[0].startswith("0160")
    assert train[0] == "".join(f"{k:04}\n" for k in range(140, 160))


def test_more_than_the_whole_text_cannot_be_held_out():
    with pytest.raises(ConfigError, match="30 bytes"):
        parts_of(["ab\n" * 10], test=40)
    assert np.isfinite(len(parts_of(["ab\n" * 10])[0]))
