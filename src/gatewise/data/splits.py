"""Train, validation and test: by time for series, by group or by label for labelled sequences.

Nothing is copied: a part is the same arrays with other bounds.
"""

import re
from dataclasses import dataclass, replace

import numpy as np

from gatewise.data.sequences import Array, Sequences
from gatewise.errors import ConfigError, DataError
from gatewise.settings import SplitSettings

DEALS = 200  # ways of dealing out groups that are compared
FEWEST_GROUPS = 5  # of fewer, one odd group decides what is said of all
DEALT = 20_000_000  # counts that may be looked at in comparing them
NEAR = 4096  # bytes before a cut that are searched for the end of a line
LINE, SPACE = ord("\n"), ord(" ")


@dataclass(frozen=True)
class Parts:
    """What is learnt from, what choices are made on, and what is looked at once."""

    train: Sequences
    validation: Sequences | None
    test: Sequences | None


def split_by_time(sequences: Sequences, settings: SplitSettings, *, horizon: int) -> Parts:
    """Cut every sequence at two moments: train before validation before test.

    A share below 1 is of the sequence's own steps, from 1 on it counts steps; validation and test
    get at least one horizon. With `train` given, steps left over after test stay unused, as some
    published protocols want it. Sequences too short to leave one horizon for training take part in
    training only.

    Raises:
        ConfigError: a size is negative, or a count not whole.
        DataError: no sequence is long enough to be split.
    """
    lengths = sequences.lengths
    test = _steps(settings.test, lengths, least=horizon)
    validation = _steps(settings.validation, lengths, least=horizon)
    train = lengths - validation - test
    if settings.train:
        train = _steps(settings.train, lengths, least=horizon + 1)
    long_enough = (train >= horizon + 1) & (train + validation + test <= lengths)
    if not long_enough.any():
        longest = lengths.argmax()
        raise DataError(
            f"{sequences.source}: the longest sequence has {lengths[longest]} steps, too few for "
            f"{max(train[longest], horizon + 1)} to train on (more than a horizon), "
            f"{validation[longest]} to validate and {test[longest]} to test (a horizon each, at "
            "least). Give a smaller --horizon or longer series, or set split.validation = 0."
        )
    begin = sequences.starts
    end_train = begin + np.where(long_enough, train, lengths)
    end_validation = end_train + np.where(long_enough, validation, 0)
    end_test = end_validation + np.where(long_enough, test, 0)
    learnt = sequences.between(begin, end_train)
    return Parts(
        train=_with_steps(learnt) or learnt,
        validation=_with_steps(sequences.between(end_train, end_validation)),
        test=_with_steps(sequences.between(end_validation, end_test)),
    )


def split_by_sequence(sequences: Sequences, settings: SplitSettings, *, test: bool) -> Parts:
    """Whole sequences to each part: groups kept together, labels in the same proportions.

    Each label is in every part, if need be in more sequences than were asked for. `test=False`
    leaves the test part out, for data whose test part comes from a file of its own. Where
    `settings.test_ids` is given, the sequences whose ids it is found in are the test part, whatever
    their labels and groups, and the rest is divided as above.

    Raises:
        ConfigError: the split asks for groups or labels that the data does not have, or for more
            sequences than there are.
        DataError: there are too few sequences of a label, or too few groups, for every part.
    """
    if settings.test_ids:
        return _split_by_ids(sequences, settings, test=test)
    labels, groups = _strata(sequences, settings)
    train_size, validation_size, test_size = _sizes(settings, len(sequences), test=test)
    parts = 1 + (test_size > 0) + (validation_size > 0)
    rest, only_train = _without_rare(sequences, labels, groups, settings, parts)
    random = np.random.default_rng(settings.seed)
    held = []
    for size in (test_size, validation_size):
        taken = rest[:0]
        if size:
            parts -= 1  # those that are still to come must find every label too
            if groups is None:
                rest, taken = _cut(rest, size, parts, labels, random)
            else:
                rest, taken = _cut_groups(rest, size, parts, sequences, labels, random)
        held.append(taken)
    if train_size and train_size < len(rest):
        _, rest = _cut(rest, train_size, 0, labels, random)
    train = np.concatenate([rest, only_train])
    _refuse_unlearnt(sequences, labels, train, np.concatenate(held))
    return Parts(
        train=sequences.chosen(np.sort(train)),
        validation=sequences.chosen(np.sort(held[1])) if len(held[1]) else None,
        test=sequences.chosen(np.sort(held[0])) if len(held[0]) else None,
    )


def _split_by_ids(sequences: Sequences, settings: SplitSettings, *, test: bool) -> Parts:
    """The test part by its ids, the others to train and validate."""
    if not test:
        raise ConfigError(
            "split.test_ids and data.test both say what the test part is. Keep one of them."
        )
    try:
        expression = re.compile(settings.test_ids)
    except re.error as error:
        raise ConfigError(
            f"split.test_ids is no regular expression: {error}. Received: {settings.test_ids!r}."
        ) from None
    held = np.array([bool(expression.search(str(name))) for name in sequences.ids], dtype=bool)
    if held.all() or not held.any():
        which = "every" if held.all() else "no"
        raise ConfigError(
            f"split.test_ids = {settings.test_ids!r} is found in {which} id of {sequences.source}, "
            f"such as '{sequences.ids[0]}'. It must be found in those of the test part alone."
        )
    rest = sequences.chosen(np.flatnonzero(~held))
    parts = split_by_sequence(rest, replace(settings, test_ids=""), test=False)
    return replace(parts, test=sequences.chosen(np.flatnonzero(held)))


def split_by_place(sequences: Sequences, settings: SplitSettings, *, test: bool) -> Parts:
    """The beginning to learn from, then validation, then test; a cut goes where a line ends.

    Sizes are shares of all bytes, or counts of bytes. Several texts stand one behind the other.
    `test=False` leaves the test part out, for data whose test part comes from a file of its own.

    Raises:
        ConfigError: nothing is left to learn from.
    """
    total = int(sequences.lengths.sum())
    held = settings.test if test else 0.0
    sizes = [one if one >= 1 else one * total for one in (settings.validation, held)]
    begin = total - sum(map(int, sizes))
    if begin < 1 or settings.train > begin:
        raise ConfigError(
            f"{sequences.source} has {total:,} bytes of text, and split.train, split.validation "
            "and split.test together ask for more. Give smaller ones."
        )
    begin = _cut_of_text(sequences, begin)
    middle = _cut_of_text(sequences, begin + int(sizes[0])) if sizes[0] else begin
    first = max(0, begin - int(settings.train if settings.train >= 1 else settings.train * total))
    first = _cut_of_text(sequences, first) if settings.train else 0
    parts = [
        _between(sequences, *bounds)
        for bounds in ((first, begin), (begin, middle), (middle, total if held else middle))
    ]
    if parts[0] is None:
        raise ConfigError(f"{sequences.source}: the split leaves nothing to learn from.")
    return Parts(train=parts[0], validation=parts[1], test=parts[2])


def _between(sequences: Sequences, begin: int, end: int) -> Sequences | None:
    """What lies between two places, counted over all texts; None where that is nothing."""
    before = np.cumsum(sequences.lengths) - sequences.lengths
    starts = sequences.starts + np.clip(begin - before, 0, sequences.lengths)
    stops = sequences.starts + np.clip(end - before, 0, sequences.lengths)
    some = np.flatnonzero(stops > starts)
    return sequences.between(starts, stops).chosen(some) if len(some) else None


def _cut_of_text(sequences: Sequences, place: int) -> int:
    """The place behind the last line before it, else behind the last space, else a letter."""
    ends = np.cumsum(sequences.lengths)
    if place <= 0 or place >= ends[-1]:
        return max(0, min(place, int(ends[-1])))
    k = int(np.searchsorted(ends, place, side="right"))
    before = int(ends[k] - sequences.lengths[k])
    steps = sequences[k][:, 0]
    inside = place - before
    near = steps[max(0, inside - NEAR) : inside]
    for sign in (LINE, SPACE):
        found = np.flatnonzero(near == sign)
        if len(found):
            return before + inside - len(near) + int(found[-1]) + 1
    return before + _letter(steps, inside)


def _letter(steps: Array, place: int) -> int:
    """The first place from here on at which a character begins: UTF-8 goes on with 10xxxxxx."""
    while place < len(steps) and steps[place] >> 6 == 0b10:
        place += 1
    return place


def told_of_rare(sequences: Sequences, parts: Parts, settings: SplitSettings) -> list[str]:
    """Which labels split.rare_labels has taken out of some part, as a note."""
    held = parts.test or parts.validation
    if settings.rare_labels == "error" or sequences.labels is None or held is None:
        return []
    seen = parts.train.labels if settings.rare_labels == "drop" else held.labels
    assert seen is not None
    found = np.setdiff1d(sequences.labels, seen)
    if not len(found):
        return []
    names = ", ".join(f"'{name}'" for name in found.tolist())
    if settings.rare_labels == "drop":
        count = int(np.isin(sequences.labels, found).sum())
        return [f"Left out, for labels too rare for every part: {names} ({count} in all)."]
    return [f"Learned but not judged, for labels too rare for every part: {names}."]


def told_of_few_groups(parts: Parts) -> list[str]:
    """On how few groups a verdict would rest, as a note; [] where there are enough, or none."""
    held = [part for part in (parts.train, parts.validation, parts.test) if part is not None]
    named = [np.unique(part.groups).tolist() for part in held if part.groups is not None]
    if parts.test is None or len(named) < len(held) or not named:
        return []
    train, test = named[0], named[-1]
    if min(len(train), len(test)) >= FEWEST_GROUPS:
        return []
    shown = ", ".join(f"'{name}'" for name in test[:FEWEST_GROUPS])
    return [
        f"The verdict rests on {_counted(test)} ({shown}), which the network has not seen; it was "
        f"trained on {_counted(train)}. What holds for them need not hold for others: give more "
        "groups, or set split.by = label where groups need not be kept apart."
    ]


def _counted(groups: list[str]) -> str:
    return f"{len(groups)} group{'s' if len(groups) > 1 else ''}"


def _check(size: float) -> None:
    if not size >= 0:
        raise ConfigError(f"A part of the split cannot be negative. Received: {size}.")
    if size >= 1 and size != int(size):
        raise ConfigError(
            f"A part of the split is a share below 1 or a whole number. Received: {size}."
        )


def _steps(size: float, lengths: Array, *, least: int) -> Array:
    """Steps of each sequence that a share or a count asks for; 0 stays 0."""
    _check(size)
    if size == 0:
        return np.zeros_like(lengths)
    # 0.29 * 100 is 28.999999999999996.
    wanted = np.full_like(lengths, size) if size >= 1 else np.floor(size * lengths + 1e-9)
    return np.maximum(wanted.astype(np.int64), least)


def _with_steps(part: Sequences) -> Sequences | None:
    """The sequences that have any step in this part, or None when none has."""
    filled = np.flatnonzero(part.lengths > 0)
    return part.chosen(filled) if len(filled) else None


def _sizes(settings: SplitSettings, count: int, *, test: bool) -> tuple[int, int, int]:
    """Sequences to train on (0: all that are left), to validate and to test."""
    asked = (settings.train, settings.validation, settings.test if test else 0.0)
    for size in asked:
        _check(size)
    train, validation, tested = (
        int(size) if size >= 1 else max(round(size * count), 1 if size else 0) for size in asked
    )
    left = count - validation - tested
    whole = sum(size for size in asked if size < 1) <= 1 + 1e-9
    if left < 1 or (settings.train >= 1 and train > left) or not whole:
        raise ConfigError(
            f"The split asks for {validation} sequences to validate, {tested} to test and "
            f"{train or 'some'} to train on; there are {count}. Give more data, set "
            "split.validation and split.test lower, or keep the test part in a file of its own "
            "(data.test)."
        )
    return min(train, left), validation, tested


def _strata(sequences: Sequences, settings: SplitSettings) -> tuple[Array | None, Array | None]:
    by = settings.by
    if by == "time":
        raise ConfigError(
            "split.by = time is for forecasts; sequences are split by label or group."
        )
    if by == "group" and sequences.groups is None:
        raise ConfigError("split.by = group needs data.group, the column that names the group.")
    if by == "label" and sequences.labels is None:
        raise ConfigError("split.by = label needs data.label, the column of labels.")
    labels = None if by == "random" else sequences.labels
    groups = sequences.groups if by in ("auto", "group") else None
    return labels, groups


def _without_rare(
    sequences: Sequences,
    labels: Array | None,
    groups: Array | None,
    settings: SplitSettings,
    parts: int,
) -> tuple[Array, Array]:
    """Positions to split, and positions that go to train because their label is rare.

    A group is never divided, so it counts once for each label, and goes to train as a whole.
    """
    everything = np.arange(len(sequences))
    nothing = everything[:0]
    if labels is None or parts == 1:
        return everything, nothing
    names, codes = np.unique(labels, return_inverse=True)
    counted = codes
    if groups is not None:
        _, group = np.unique(groups, return_inverse=True)
        counted = np.unique(np.stack([codes, group]), axis=1)[0]
    counts = np.bincount(counted, minlength=len(names))
    few = np.flatnonzero(counts < parts)
    if not len(few):
        return everything, nothing
    if settings.rare_labels == "error":
        unit = "sequence" if groups is None else "group"
        places = ", ".join(
            f"'{names[k]}' ({counts[k]} {unit}{'s' if counts[k] > 1 else ''}, in sequence "
            f"{sequences.ids[codes == k][0]})"
            for k in few[:5]
        )
        raise DataError(
            f"{sequences.source}: {len(few)} label(s) occur too seldom to be in each of {parts} "
            f"parts: {places}. Give more of them, or set split.rare_labels = drop (leave them out) "
            "or train (learn them without testing them)."
        )
    rare = np.isin(codes, few)
    if settings.rare_labels == "drop":
        return everything[~rare], nothing
    if groups is not None:
        rare = np.isin(groups, groups[rare])
    return everything[~rare], everything[rare]


def _cut(
    positions: Array, size: int, leave: int, labels: Array | None, random: np.random.Generator
) -> tuple[Array, Array]:
    """Positions kept, and `size` positions taken out, each label in its proportion.

    Of each label at least one is taken, and at least `leave` are kept.
    """
    codes = np.zeros(len(positions), dtype=np.int64)
    if labels is not None:
        _, codes = np.unique(labels[positions], return_inverse=True)
    counts = np.bincount(codes)
    if len(positions) <= leave:
        raise DataError(
            f"{len(positions)} sequence(s) are too few to be split. Give more data, or a test part "
            "in a file of its own (data.test)."
        )
    mixed = random.permutation(len(positions))
    mixed = mixed[np.argsort(codes[mixed], kind="stable")]  # label by label, mixed within each
    number = np.arange(len(mixed)) - np.repeat(np.cumsum(counts) - counts, counts)
    taken = number < np.repeat(_quotas(counts, size, leave), counts)
    return positions[mixed[~taken]], positions[mixed[taken]]


def _quotas(counts: Array, size: int, leave: int) -> Array:
    """How many to take of each label: `size` together, as near to proportion as can be."""
    ideal = counts * size / counts.sum()
    most = np.maximum(counts - leave, 0)
    quotas: Array = np.clip(np.floor(ideal).astype(np.int64), np.minimum(1, most), most)
    while quotas.sum() != size:
        step = 1 if quotas.sum() < size else -1
        movable = quotas < most if step > 0 else quotas > 1
        if not movable.any():
            break
        quotas[np.where(movable, step * (ideal - quotas), -np.inf).argmax()] += step
    return quotas


def _cut_groups(
    positions: Array,
    size: int,
    leave: int,
    sequences: Sequences,
    labels: Array | None,
    random: np.random.Generator,
) -> tuple[Array, Array]:
    """Positions kept, and whole groups taken out: about `size` sequences, labels in proportion.

    Groups are of any size, so many ways of dealing them out are tried, and the best one kept.
    """
    assert sequences.groups is not None
    names, group = np.unique(sequences.groups[positions], return_inverse=True)
    if len(names) <= leave:
        raise DataError(
            f"{sequences.source}: {len(names)} group(s) are too few for a split "
            f"({', '.join(names[:5])}); a group is never divided. Give more groups, or set "
            "split.by = label."
        )
    label = np.zeros(len(positions), dtype=np.int64)
    if labels is not None:
        _, label = np.unique(labels[positions], return_inverse=True)
    table = np.zeros((len(names), label.max() + 1), dtype=np.int64)  # [groups, labels]
    np.add.at(table, (group, label), 1)
    wanted = table.sum(axis=0) * size / len(positions)
    best, chosen = np.inf, group[:0]
    for _ in range(int(np.clip(DEALT // table.size, 1, DEALS))):
        order = random.permutation(len(names))
        dealt = table[order]
        holders = np.cumsum(dealt > 0, axis=0)  # groups so far that have this label
        lacking = (holders == 0) | (holders[-1] - holders < leave)
        cost = np.abs(np.cumsum(dealt, axis=0) - wanted).sum(axis=1)
        cost += 2 * len(positions) * lacking.sum(axis=1)
        count = int(cost[: len(names) - leave].argmin()) + 1
        if cost[count - 1] < best:
            best, chosen = cost[count - 1], order[:count]
    taken = np.isin(group, chosen)
    return positions[~taken], positions[taken]


def _refuse_unlearnt(sequences: Sequences, labels: Array | None, train: Array, held: Array) -> None:
    """Labels that only validation or test would have."""
    if labels is None:
        return
    strange = np.setdiff1d(labels[held], labels[train])
    if len(strange):
        raise DataError(
            f"{sequences.source}: no way of dealing out the groups was found that leaves label "
            f"'{strange[0]}' to train on. Give more groups, or set split.by = label."
        )
