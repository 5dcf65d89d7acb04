"""Split data into train, validation and test: by time, by sequence, or by place in a text.

Nothing is copied: the parts share the arrays and have different bounds.
"""

import re
from dataclasses import dataclass, replace

import numpy as np

from gatewise.data.sequences import Array, Sequences, texts_of
from gatewise.errors import ConfigError, DataError
from gatewise.settings import SplitSettings

MAX_SHUFFLES = 200  # random orders of groups to compare
MAX_COUNTS = 20_000_000  # counts to evaluate over all of these orders
MIN_GROUPS = 5  # with fewer groups, a single unusual one decides the verdict
NEAR = 4096  # bytes before a cut in which to search for the end of a line
LINE, SPACE = ord("\n"), ord(" ")


@dataclass(frozen=True)
class Splits:
    """The part to train on, the part to choose a model on, and the part to evaluate once."""

    train: Sequences
    validation: Sequences | None
    test: Sequences | None


def split_by_time(sequences: Sequences, settings: SplitSettings, *, horizon: int) -> Splits:
    """Cut every sequence at two moments: train before validation before test.

    A size below 1 is a share of the sequence's own steps; from 1 on, it counts steps. Validation
    and test get at least one horizon. If `train` is set, the steps after test stay unused, as some
    published protocols require. Sequences that are too short to split are used for training only.

    Raises:
        ConfigError: a size is negative, or a count is not a whole number.
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
            f"{validation[longest]} to validate and {test[longest]} to test (at least a horizon "
            "each). Set a smaller --horizon, give longer series, or set split.validation = 0."
        )
    begin = sequences.starts
    end_train = begin + np.where(long_enough, train, lengths)
    end_validation = end_train + np.where(long_enough, validation, 0)
    end_test = end_validation + np.where(long_enough, test, 0)
    training = sequences.between(begin, end_train)
    return Splits(
        train=_with_steps(training) or training,
        validation=_with_steps(sequences.between(end_train, end_validation)),
        test=_with_steps(sequences.between(end_validation, end_test)),
    )


def split_by_sequence(sequences: Sequences, settings: SplitSettings, *, test: bool) -> Splits:
    """Assign whole sequences to parts: groups stay together, labels keep their proportions.

    Each label occurs in every part, even if a part then gets more sequences than requested.
    `test=False` makes no test part, because the test data are in a separate file. If
    `settings.test_ids` is set, the sequences whose ids match it are the test part, whatever their
    labels and groups, and the rest is split as above.

    Raises:
        ConfigError: the split needs groups or labels that the data does not have, or more sequences
            than there are.
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
            parts -= 1  # the remaining parts need every label, too
            if groups is None:
                rest, taken = _cut(rest, size, parts, labels, random)
            else:
                rest, taken = _cut_groups(rest, size, parts, sequences, labels, random)
        held.append(taken)
    if train_size and train_size < len(rest):
        _, rest = _cut(rest, train_size, 0, labels, random)
    train = np.concatenate([rest, only_train])
    _refuse_untrained(sequences, labels, train, np.concatenate(held))
    return Splits(
        train=sequences.chosen(np.sort(train)),
        validation=sequences.chosen(np.sort(held[1])) if len(held[1]) else None,
        test=sequences.chosen(np.sort(held[0])) if len(held[0]) else None,
    )


def split_without_copies(sequences: Sequences, settings: SplitSettings, *, test: bool) -> Splits:
    """Like `split_by_sequence`, but identical texts stay in one part.

    Otherwise, a network could memorise a message that was sent a hundred times, and the test part
    would reward it.
    """
    copies = _copies(sequences) if test and settings.by in ("auto", "label") else None
    if copies is None:
        return split_by_sequence(sequences, settings, test=test)
    splits = split_by_sequence(
        replace(sequences, groups=copies), replace(settings, by="auto"), test=test
    )
    return Splits(
        replace(splits.train, groups=None),
        splits.validation and replace(splits.validation, groups=None),
        splits.test and replace(splits.test, groups=None),
    )


def _copies(sequences: Sequences) -> Array | None:
    """Each text as the group of its copies; None without copies or for other data."""
    if sequences.kind != "text" or sequences.groups is not None:
        return None
    texts = np.array(texts_of(sequences), dtype=object)
    return texts if len(np.unique(texts)) < len(texts) else None


def _split_by_ids(sequences: Sequences, settings: SplitSettings, *, test: bool) -> Splits:
    """Select the test part by ids, and split the other sequences into train and validation."""
    if not test:
        raise ConfigError(
            "split.test_ids and data.test both define the test part. Remove one of them."
        )
    try:
        expression = re.compile(settings.test_ids)
    except re.error as error:
        raise ConfigError(
            f"split.test_ids is not a regular expression: {error}. Received: {settings.test_ids!r}."
        ) from None
    held = np.array([bool(expression.search(str(name))) for name in sequences.ids], dtype=bool)
    if held.all() or not held.any():
        extent = "every" if held.all() else "no"
        raise ConfigError(
            f"split.test_ids = {settings.test_ids!r} matches {extent} id of {sequences.source}, "
            f"such as '{sequences.ids[0]}'. It must match only the ids of the test part."
        )
    rest = sequences.chosen(np.flatnonzero(~held))
    splits = split_by_sequence(rest, replace(settings, test_ids=""), test=False)
    return replace(splits, test=sequences.chosen(np.flatnonzero(held)))


def split_by_place(sequences: Sequences, settings: SplitSettings, *, test: bool) -> Splits:
    """Cut running text into train, validation and test, in this order, at the ends of lines.

    Sizes are shares of all bytes, or counts of bytes. Several texts count as one, in their order.
    `test=False` makes no test part, because the test data are in a separate file.

    Raises:
        ConfigError: nothing is left to train on.
    """
    total = int(sequences.lengths.sum())
    held = settings.test if test else 0.0
    sizes = [size if size >= 1 else size * total for size in (settings.validation, held)]
    begin = total - sum(map(int, sizes))
    if begin < 1 or settings.train > begin:
        raise ConfigError(
            f"{sequences.source} has {total:,} bytes of text, but split.train, split.validation "
            "and split.test together need more. Set smaller sizes."
        )
    begin = _cut_of_text(sequences, begin)
    middle = _cut_of_text(sequences, begin + int(sizes[0]), after=begin) if sizes[0] else begin
    first = max(0, begin - int(settings.train if settings.train >= 1 else settings.train * total))
    first = _cut_of_text(sequences, first) if settings.train else 0
    parts = [
        _between(sequences, *bounds)
        for bounds in ((first, begin), (begin, middle), (middle, total if held else middle))
    ]
    if parts[0] is None:
        raise ConfigError(f"{sequences.source}: the split leaves nothing to train on.")
    return Splits(train=parts[0], validation=parts[1], test=parts[2])


def _between(sequences: Sequences, begin: int, end: int) -> Sequences | None:
    """The text between two positions, counted over all texts; None if it is empty."""
    before = np.cumsum(sequences.lengths) - sequences.lengths
    starts = sequences.starts + np.clip(begin - before, 0, sequences.lengths)
    stops = sequences.starts + np.clip(end - before, 0, sequences.lengths)
    filled = np.flatnonzero(stops > starts)
    return sequences.between(starts, stops).chosen(filled) if len(filled) else None


def _cut_of_text(sequences: Sequences, place: int, *, after: int = 0) -> int:
    """Move a cut back to the end of a line or of a word, or else on to the next character.

    It stays behind `after`, the cut before it.
    """
    ends = np.cumsum(sequences.lengths)
    if place <= 0 or place >= ends[-1]:
        return max(0, min(place, int(ends[-1])))
    k = int(np.searchsorted(ends, place, side="right"))
    before = int(ends[k] - sequences.lengths[k])
    steps = sequences[k][:, 0]
    inside = place - before
    near = steps[max(0, inside - NEAR, after - before) : inside]
    for sign in (LINE, SPACE):
        places = np.flatnonzero(near == sign)
        if len(places):
            return before + inside - len(near) + int(places[-1]) + 1
    return before + _letter(steps, inside)


def _letter(steps: Array, place: int) -> int:
    """The next position at which a character begins; UTF-8 continuation bytes are 10xxxxxx."""
    while place < len(steps) and steps[place] >> 6 == 0b10:
        place += 1
    return place


def rare_labels_note(sequences: Sequences, splits: Splits, settings: SplitSettings) -> list[str]:
    """A note that lists the labels that split.rare_labels removed from a part."""
    held = splits.test or splits.validation
    if settings.rare_labels == "error" or sequences.labels is None or held is None:
        return []
    seen = splits.train.labels if settings.rare_labels == "drop" else held.labels
    assert seen is not None
    rare = np.setdiff1d(sequences.labels, seen)
    if not len(rare):
        return []
    names = ", ".join(f"'{name}'" for name in rare.tolist())
    if settings.rare_labels == "drop":
        count = int(np.isin(sequences.labels, rare).sum())
        return [
            f"Left out, because they are too rare to be in every part: {names} ({count} in all)."
        ]
    return [f"Trained but not evaluated, because they are too rare for every part: {names}."]


def few_groups_note(splits: Splits) -> list[str]:
    """A note that the verdict rests on few groups; empty if there are enough or no groups."""
    held = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    named = [np.unique(part.groups).tolist() for part in held if part.groups is not None]
    if splits.test is None or len(named) < len(held) or not named:
        return []
    train, test = named[0], named[-1]
    if min(len(train), len(test)) >= MIN_GROUPS:
        return []
    names = ", ".join(f"'{name}'" for name in test[:MIN_GROUPS])
    return [
        f"The verdict rests on {_counted(test)} ({names}), which the network has not seen; it was "
        f"trained on {_counted(train)}. The result may not hold for other groups: give more "
        "groups, or set split.by = random if groups need not be kept apart."
    ]


def _counted(groups: list[str]) -> str:
    return f"{len(groups)} group{'s' if len(groups) > 1 else ''}"


def _check(size: float) -> None:
    if not size >= 0:
        raise ConfigError(f"The size of a part cannot be negative. Received: {size}.")
    if size >= 1 and size != int(size):
        raise ConfigError(
            f"The size of a part is a share below 1 or a whole number. Received: {size}."
        )


def _steps(size: float, lengths: Array, *, least: int) -> Array:
    """Convert a share or a count to the number of steps in each sequence; 0 stays 0."""
    _check(size)
    if size == 0:
        return np.zeros_like(lengths)
    # 0.29 * 100 is 28.999999999999996.
    counts = np.full_like(lengths, size) if size >= 1 else np.floor(size * lengths + 1e-9)
    return np.maximum(counts.astype(np.int64), least)


def _with_steps(part: Sequences) -> Sequences | None:
    """The sequences with at least one step in this part; None if there are none."""
    filled = np.flatnonzero(part.lengths > 0)
    return part.chosen(filled) if len(filled) else None


def _sizes(settings: SplitSettings, count: int, *, test: bool) -> tuple[int, int, int]:
    """The numbers of sequences to train on (0: all that remain), to validate and to test."""
    requested = (settings.train, settings.validation, settings.test if test else 0.0)
    for size in requested:
        _check(size)
    train, validation, tested = (
        int(size) if size >= 1 else max(round(size * count), 1 if size else 0) for size in requested
    )
    left = count - validation - tested
    whole = sum(size for size in requested if size < 1) <= 1 + 1e-9
    if left < 1 or (settings.train >= 1 and train > left) or not whole:
        raise ConfigError(
            f"The split needs {validation} sequences to validate, {tested} to test and "
            f"{train or 'some'} to train on, but there are {count}. Give more data, lower "
            "split.validation and split.test, or put the test data into a separate file "
            "(data.test)."
        )
    return min(train, left), validation, tested


def _strata(sequences: Sequences, settings: SplitSettings) -> tuple[Array | None, Array | None]:
    by = settings.by
    if by == "time":
        raise ConfigError(
            "split.by = time works only for forecasts. Sequences are split by label or group."
        )
    if by == "group" and sequences.groups is None:
        raise ConfigError("split.by = group needs data.group, the column with the groups.")
    if by == "label" and sequences.labels is None:
        raise ConfigError("split.by = label needs data.label, the column with the labels.")
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

    A group is never divided, so it counts once for each of its labels and goes to train whole.
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
        sign = _joining([str(name) for name in names])
        several = f' If a cell holds several labels, set data.separator = "{sign}".' if sign else ""
        raise DataError(
            f"{sequences.source}: {len(few)} label{' is' if len(few) == 1 else 's are'} too rare "
            f"to be in each of {parts} parts: {places}. Give more of them, or set "
            "split.rare_labels = drop (leave them out) or train (train on them, but do not "
            f"evaluate them).{several}"
        )
    rare = np.isin(codes, few)
    if settings.rare_labels == "drop":
        return everything[~rare], nothing
    if groups is not None:
        rare = np.isin(groups, groups[rare])
    return everything[~rare], everything[rare]


def _joining(names: list[str]) -> str:
    """The sign that joins several labels in a name; "" if no sign makes the labels fewer."""
    for sign in "|;,/":
        parts = {part.strip() for name in names for part in name.split(sign)}
        if any(sign in name for name in names) and 2 * len(parts) <= len(names) and "" not in parts:
            return sign
    return ""


def _cut(
    positions: Array, size: int, leave: int, labels: Array | None, random: np.random.Generator
) -> tuple[Array, Array]:
    """The positions that remain, and `size` positions taken out, with labels in proportion.

    At least one position of each label is taken, and at least `leave` remain.
    """
    codes = np.zeros(len(positions), dtype=np.int64)
    if labels is not None:
        _, codes = np.unique(labels[positions], return_inverse=True)
    counts = np.bincount(codes)
    if len(positions) <= leave:
        raise DataError(
            f"{len(positions)} sequence(s) are too few to split. Give more data, or put the test "
            "data into a separate file (data.test)."
        )
    mixed = random.permutation(len(positions))
    mixed = mixed[np.argsort(codes[mixed], kind="stable")]  # by label, shuffled within each
    number = np.arange(len(mixed)) - np.repeat(np.cumsum(counts) - counts, counts)
    taken = number < np.repeat(_quotas(counts, size, leave), counts)
    return positions[mixed[~taken]], positions[mixed[taken]]


def _quotas(counts: Array, size: int, leave: int) -> Array:
    """The number to take of each label: `size` in total, as close to proportional as possible."""
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
    """The positions that remain, and whole groups taken out: about `size` sequences.

    Labels should keep their proportions although groups differ in size. So many random orders of
    the groups are tried, and the best one is used.
    """
    assert sequences.groups is not None
    names, group = np.unique(sequences.groups[positions], return_inverse=True)
    if len(names) <= leave:
        raise DataError(
            f"{sequences.source}: {len(names)} group(s) are too few to split "
            f"({', '.join(names[:5])}); a group is never divided. Give more groups, or set "
            "split.by = label."
        )
    label = np.zeros(len(positions), dtype=np.int64)
    if labels is not None:
        _, label = np.unique(labels[positions], return_inverse=True)
    table = np.zeros((len(names), label.max() + 1), dtype=np.int64)  # [groups, labels]
    np.add.at(table, (group, label), 1)
    ideal = table.sum(axis=0) * size / len(positions)
    best, chosen = np.inf, group[:0]
    for _ in range(int(np.clip(MAX_COUNTS // table.size, 1, MAX_SHUFFLES))):
        order = random.permutation(len(names))
        shuffled = table[order]
        holders = np.cumsum(shuffled > 0, axis=0)  # number of groups so far with this label
        lacking = (holders == 0) | (holders[-1] - holders < leave)
        cost = np.abs(np.cumsum(shuffled, axis=0) - ideal).sum(axis=1)
        cost += 2 * len(positions) * lacking.sum(axis=1)
        count = int(cost[: len(names) - leave].argmin()) + 1
        if cost[count - 1] < best:
            best, chosen = cost[count - 1], order[:count]
    taken = np.isin(group, chosen)
    return positions[~taken], positions[taken]


def _refuse_untrained(
    sequences: Sequences, labels: Array | None, train: Array, held: Array
) -> None:
    """Refuse a split with a label that occurs in validation or test but not in train."""
    if labels is None:
        return
    missing = np.setdiff1d(labels[held], labels[train])
    if len(missing):
        raise DataError(
            f"{sequences.source}: no assignment of the groups to parts leaves label "
            f"'{missing[0]}' in the training part. Give more groups, or set split.by = label."
        )
