"""Train, validation and test: by time for series, by group or by label for labelled sequences.

Nothing is copied: a part is the same arrays with other bounds.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from gatewise.data.sequences import Array, Sequences
from gatewise.errors import ConfigError, DataError
from gatewise.experiment import SplitSettings


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
    published protocols want it. Sequences too short to leave one horizon for training are left out
    of every part but train.

    Raises:
        DataError: no sequence is long enough to be split.
    """
    lengths = sequences.lengths
    test = _steps(settings.test, lengths, horizon)
    validation = _steps(settings.validation, lengths, horizon)
    train = _steps(settings.train, lengths, 0) if settings.train else lengths - validation - test
    long_enough = (train >= horizon + 1) & (train + validation + test <= lengths)
    if not long_enough.any():
        raise DataError(
            f"{sequences.source}: the longest sequence has {lengths.max()} steps; train, validation "
            f"and test of at least {horizon} steps each (the horizon) do not fit into it. Give a "
            "smaller --horizon, or set split.validation and split.test lower."
        )
    begin = sequences.starts
    end_train = begin + np.where(long_enough, train, lengths)
    end_validation = end_train + np.where(long_enough, validation, 0)
    end_test = end_validation + np.where(long_enough, test, 0)
    return Parts(
        train=sequences.between(begin, end_train),
        validation=_kept(sequences.between(end_train, end_validation)),
        test=_kept(sequences.between(end_validation, end_test)),
    )


def split_by_sequence(sequences: Sequences, settings: SplitSettings, *, test: bool) -> Parts:
    """Whole sequences to each part: groups kept together, labels in the same proportions.

    `test=False` leaves the test part out, for data whose test part comes from a file of its own.

    Raises:
        ConfigError: the split asks for groups or labels that the data does not have.
        DataError: a label occurs too seldom to be in every part.
    """
    labels, groups = _strata(sequences, settings)
    everything = np.arange(len(sequences))
    test_size = _share(settings.test, len(everything)) if test else 0.0
    validation_size = _share(settings.validation, len(everything))
    if test_size + validation_size >= 1:
        raise ConfigError(
            f"split.validation and split.test leave nothing to train on: together they take "
            f"{test_size + validation_size:.0%} of {len(everything)} sequences."
        )
    parts_wanted = 1 + (test_size > 0) + (validation_size > 0)
    everything, rare = _without_rare(sequences, labels, settings, parts_wanted)
    rest, held_out = _cut(everything, test_size, labels, groups, settings.seed)
    share_of_rest = validation_size / (1 - test_size)
    train, validation = _cut(rest, share_of_rest, labels, groups, settings.seed + 1)
    if settings.train:
        train = train[: max(1, round(_share(settings.train, len(sequences)) * len(sequences)))]
    return Parts(
        train=sequences.chosen(np.sort(np.concatenate([train, rare]))),
        validation=sequences.chosen(np.sort(validation)) if len(validation) else None,
        test=sequences.chosen(np.sort(held_out)) if len(held_out) else None,
    )


def _steps(size: float, lengths: Array, least: int) -> Array:
    """Steps of each sequence that a share or a count asks for; 0 stays 0."""
    if size < 0:
        raise ConfigError(f"A part of the split cannot be negative. Received: {size}.")
    if size == 0:
        return np.zeros_like(lengths)
    wanted = np.full_like(lengths, int(size)) if size >= 1 else (size * lengths).astype(np.int64)
    return np.maximum(wanted, least)


def _share(size: float, count: int) -> float:
    if size < 0:
        raise ConfigError(f"A part of the split cannot be negative. Received: {size}.")
    return size / count if size >= 1 else size


def _kept(part: Sequences) -> Sequences | None:
    """The sequences that have any step in this part, or None when none has."""
    filled = np.flatnonzero(part.lengths > 0)
    return part.chosen(filled) if len(filled) else None


def _strata(sequences: Sequences, settings: SplitSettings) -> tuple[Array | None, Array | None]:
    by = settings.by
    if by == "time":
        raise ConfigError(
            "split.by = time is for forecasts; sequences are split by label or group."
        )
    if by == "group" and sequences.groups is None:
        raise ConfigError("split.by = group needs data.group, the column that names the group.")
    labels = None if by == "random" else sequences.labels
    groups = sequences.groups if by in ("auto", "group") else None
    return labels, groups


def _without_rare(
    sequences: Sequences, labels: Array | None, settings: SplitSettings, parts: int
) -> tuple[Array, Array]:
    """Positions to split, and positions that go to train because their label is rare."""
    everything = np.arange(len(sequences))
    nothing = everything[:0]
    if labels is None or parts == 1:
        return everything, nothing
    names, counts = np.unique(labels, return_counts=True)
    few = names[counts < parts]
    if not len(few):
        return everything, nothing
    if settings.rare_labels == "error":
        places = ", ".join(
            f"'{name}' ({count}, in sequence {sequences.ids[labels == name][0]})"
            for name, count in zip(names, counts, strict=True)
            if name in few[:5]
        )
        raise DataError(
            f"{sequences.source}: {len(few)} label(s) occur too seldom to be in each of {parts} "
            f"parts: {places}. Give more of them, or set split.rare_labels = drop (leave them out) or "
            "train (learn them without testing them)."
        )
    rare = np.isin(labels, few)
    to_train = everything[rare] if settings.rare_labels == "train" else nothing
    return everything[~rare], to_train


def _cut(
    positions: Array, share: float, labels: Array | None, groups: Array | None, seed: int
) -> tuple[Array, Array]:
    """Positions kept, and positions taken out (about `share` of them)."""
    if share <= 0:
        return positions, positions[:0]
    if groups is not None:
        return _cut_groups(positions, share, labels, groups, seed)
    strata = None if labels is None else labels[positions]
    size = max(round(share * len(positions)), 1 if strata is None else len(np.unique(strata)))
    if size >= len(positions):
        raise DataError(
            f"{len(positions)} sequence(s) are too few to be split. Give more data, or a test part "
            "in a file of its own (data.test)."
        )
    kept, taken = train_test_split(positions, test_size=size, stratify=strata, random_state=seed)
    return kept, taken


def _cut_groups(
    positions: Array, share: float, labels: Array | None, groups: Array, seed: int
) -> tuple[Array, Array]:
    here = groups[positions]
    folds = min(max(2, round(1 / share)), len(np.unique(here)))
    if folds < 2:
        raise DataError(
            f"All sequences belong to one group ('{here[0]}'); a group is never divided. "
            "Give more groups, or set split.by = label."
        )
    strata = np.zeros(len(positions)) if labels is None else labels[positions]
    folding = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    kept, taken = next(folding.split(positions, strata, here))
    return positions[kept], positions[taken]
