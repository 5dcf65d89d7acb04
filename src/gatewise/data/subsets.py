"""Some of the examples: a share of the training part, and evenly spaced ones."""

from dataclasses import replace

import numpy as np

from gatewise.data.sequences import Array, Sequences
from gatewise.data.splits import Splits, split_by_place, split_by_sequence
from gatewise.settings import SplitSettings


def share_of_training(splits: Splits, share: float, seed: int) -> Splits:
    """The splits with only a share, above 0 and below 1, of the training part.

    If the validation part continues the training sequences, the last share of the steps of each
    sequence remains, next to the validation part. Otherwise sequences are drawn by `seed`, with
    labels in proportion.
    """
    train = splits.train
    if not by_steps(splits):
        count = max(1, round(share * len(train)))
        settings = SplitSettings(train=count, validation=0.0, test=0.0, seed=seed)
        drawn = (
            split_by_sequence(train, settings, test=False).train if count < len(train) else train
        )
        return replace(splits, train=drawn)
    if train.kind == "text":
        settings = SplitSettings(train=share, validation=0.0, test=0.0)
        return replace(splits, train=split_by_place(train, settings, test=False).train)
    starts = train.stops - np.maximum(1, np.round(share * train.lengths)).astype(np.int64)
    return replace(splits, train=replace(train, starts=starts, first=starts))


def by_steps(splits: Splits) -> bool:
    """True if a share of the training part is one of its steps, not of its sequences."""
    held = splits.validation
    return held is not None and bool((held.first < held.starts).any())


def amount(train: Sequences, *, steps: bool) -> int:
    """The size of a training part: its steps, or its sequences."""
    return int(train.lengths.sum()) if steps else len(train)


def evenly_spaced(count: int, most: int) -> Array:
    """At most `most` evenly spaced positions of `count`, the first and the last included.

    >>> evenly_spaced(5, 3).tolist()
    [0, 2, 4]
    """
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))
