"""Bucket by length, shuffle, pad: which examples make up which batch.

Every padded length that a batch can have costs one compilation of the training step, so there are
few of them; and what is left over in a bucket moves up to the next longer one, so that only one
batch of an epoch is smaller than the others, as in plain Keras.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from gatewise.data.sequences import Array, Sequences

BUCKETS = 6
PADDING = -1.0e9  # a step whose every value is this is padding; scaled data never comes near it


# What examples are cut from: Sequences, Windows of series, Recordings, or a task's own.
Source = TypeVar("Source", covariant=True)


@dataclass(frozen=True)
class Examples(Generic[Source]):
    """What a network is trained on and asked about, cut only when a batch needs it."""

    source: Source  # where they are cut from, in their own units
    lengths: Array  # [examples] steps of each
    inputs: Callable[[Array, int], Mapping[str, Array]]  # positions, padded length -> arrays
    targets: Callable[..., Any]  # positions, padded length -> what the network should say
    weights: Array | None = None  # [examples] how much each counts in the loss
    ordered: bool = False  # each batch goes on where the one before it ended: never shuffled
    on_epoch_end: Callable[[], None] | None = None  # called after each epoch of training

    def __len__(self) -> int:
        return len(self.lengths)


@dataclass(frozen=True)
class Shapes:
    """What goes into a network and what must come out, without the batch dimension."""

    inputs: Mapping[str, tuple[int | None, ...]]
    output: tuple[int, ...]
    padding: float | None = None  # steps whose every value is this are padding; None: there is none
    # Different tokens of each input that holds tokens; an input that is not listed shares those of
    # another one.
    vocabulary: Mapping[str, int] = field(default_factory=dict)
    batch_size: int | None = None  # of every batch, where the network keeps a state for each row


@dataclass(frozen=True)
class Plan:
    """One epoch: batch b holds `order[starts[b]:stops[b]]`, padded to `lengths[b]` steps."""

    order: Array
    starts: Array
    stops: Array
    lengths: Array

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, b: int) -> tuple[Array, int]:
        return self.order[self.starts[b] : self.stops[b]], int(self.lengths[b])


def edges(lengths: Array, padded: bool) -> Array:
    """The lengths that batches are padded to: all that occur, or at most BUCKETS of them."""
    distinct = np.unique(lengths)
    if not padded or len(distinct) <= BUCKETS:
        return distinct
    shares = np.linspace(0, 1, BUCKETS + 1)[1:]
    return np.unique(np.quantile(lengths, shares, method="higher"))


def plan(
    lengths: Array,
    batch_size: int,
    *,
    padded: bool,
    random: np.random.Generator | None = None,
    steps: int = 0,
) -> Plan:
    """Batches of like length, shuffled when `random` is given, else from short to long.

    `padded=False` says that the network has no mask: then only equal lengths share a batch. With
    `steps` a batch has no more steps than that, padding included, so that long sequences share it
    with few; its size is a power of two then.

    >>> batches = plan(np.array([3, 9, 3, 3]), 2, padded=True)
    >>> [(which.tolist(), length) for which, length in batches]
    [([0, 2], 3), ([3, 1], 9)]
    """
    if len(lengths) and lengths.strides == (0,):  # windows: all of one length, never written out
        return _equal(len(lengths), int(lengths[0]), batch_size, random)
    ends = edges(lengths, padded)
    if len(ends) <= 1:
        length = int(ends[0]) if len(ends) else 0
        return _equal(len(lengths), length, _size(batch_size, steps, length), random)
    order, starts, stops, batch_lengths = [], [], [], []
    bucket_of = np.searchsorted(ends, lengths)
    by_bucket = np.split(
        np.argsort(bucket_of, kind="stable"), np.cumsum(np.bincount(bucket_of))[:-1]
    )
    waiting = np.empty(0, dtype=np.int64)
    done = 0
    for bucket, (end, members) in enumerate(zip(ends, by_bucket, strict=True)):
        if random is not None:
            random.shuffle(members)
        members = np.concatenate([waiting, members])
        last = bucket == len(ends) - 1 or not padded
        size = _size(batch_size, steps, int(end))
        full = len(members) if last else len(members) - len(members) % size
        waiting = members[full:]
        order.append(members[:full])
        begins = np.arange(0, full, size)
        starts.append(done + begins)
        stops.append(done + np.minimum(begins + size, full))
        batch_lengths.append(np.full(len(begins), end))
        done += full
    parts = [np.concatenate(one) for one in (order, starts, stops, batch_lengths)]
    if random is not None:
        mixed = random.permutation(len(parts[1]))
        parts[1:] = [one[mixed] for one in parts[1:]]
    return Plan(*parts)


def _size(batch_size: int, steps: int, length: int) -> int:
    """Sequences of this length in a batch."""
    if not steps or length * batch_size <= steps:
        return batch_size
    return 1 << max(0, int(np.log2(max(1, steps // length))))


def _equal(count: int, length: int, batch_size: int, random: np.random.Generator | None) -> Plan:
    order = np.arange(count, dtype=np.int32 if count < 2**31 else np.int64)
    if random is not None:
        random.shuffle(order)
    starts = np.arange(0, count, batch_size)
    stops = np.minimum(starts + batch_size, count)
    return Plan(order, starts, stops, np.full(len(starts), length))


def gather(sequences: Sequences, which: Array, length: int) -> tuple[Array, Array | None]:
    """The chosen sequences as [chosen, length, columns], and which of its steps are real.

    The second is None when every step is. What stands at the others is left to the caller.
    """
    starts, stops = sequences.starts[which], sequences.stops[which]
    positions = starts[:, None] + np.arange(length)  # [chosen, length]
    if (stops - starts == length).all():
        return sequences.values[positions], None
    real = positions < stops[:, None]
    return sequences.values[np.where(real, positions, starts[:, None])], real
