"""Batches: bucket by length, shuffle and pad.

Each padded length costs one compilation of the training step, so there are few of them. The rest of
a bucket moves to the next longer one, so that only one batch per epoch is smaller than the others,
as in Keras.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from gatewise.data.sequences import Array, Sequences

BUCKETS = 6
PADDING = -1.0e9  # all values of a padded step; scaled data never comes near it


# The source of examples: Sequences, Windows of series, Recordings, or a class of the task.
Source = TypeVar("Source", covariant=True)


@dataclass(frozen=True)
class Examples(Generic[Source]):
    """Inputs and targets of a network, created when a batch needs them."""

    source: Source  # the data from which the examples are cut, in original units
    lengths: Array  # [examples] steps of each example
    inputs: Callable[[Array, int], Mapping[str, Array]]  # indices, padded length -> arrays
    targets: Callable[..., Any]  # indices, padded length -> targets
    weights: Array | None = None  # [examples] sample weights of the loss
    ordered: bool = False  # each batch continues the previous one, so there is no shuffling
    on_epoch_end: Callable[[], None] | None = None  # called after each epoch of training
    random: np.random.Generator | None = None  # what `inputs` and `on_epoch_end` draw from

    def __len__(self) -> int:
        return len(self.lengths)


@dataclass(frozen=True)
class Shapes:
    """The shapes of inputs and outputs of a network, without the batch dimension."""

    inputs: Mapping[str, tuple[int | None, ...]]
    output: tuple[int, ...]
    padding: float | None = None  # all values of a padded step; None: no padding
    # The vocabulary size of each input of tokens. An input that is not listed shares the vocabulary
    # of another one.
    vocabulary: Mapping[str, int] = field(default_factory=dict)
    batch_size: int | None = None  # fixed if the network keeps a state for each row
    per_step: bool = False  # one output for each step, instead of one for the sequence
    # The weights that layers start with, by the name of the layer.
    initial: Mapping[str, Array] = field(default_factory=dict)


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
    """The lengths to which batches are padded: all distinct ones, or at most BUCKETS."""
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
    """Batches of similar length, shuffled if `random` is given, else from short to long.

    With `padded=False`, for a network without a mask, only equal lengths share a batch. `steps` is
    the most steps of a batch, including padding. Batches of long sequences are then smaller, and
    their size is a power of two.

    >>> batches = plan(np.array([3, 9, 3, 3]), 2, padded=True)
    >>> [(which.tolist(), length) for which, length in batches]
    [([0, 2], 3), ([3, 1], 9)]
    """
    if len(lengths) and lengths.strides == (0,):  # windows of one length, as a broadcast array
        length = int(lengths[0])
        return _equal(len(lengths), length, _size(batch_size, steps, length), random)
    ends = edges(lengths, padded)
    if len(ends) <= 1:
        length = int(ends[0]) if len(ends) else 0
        return _equal(len(lengths), length, _size(batch_size, steps, length), random)
    order, starts, stops, batch_lengths = [], [], [], []
    bucket_of = np.searchsorted(ends, lengths)
    by_bucket = np.split(
        np.argsort(bucket_of, kind="stable"), np.cumsum(np.bincount(bucket_of))[:-1]
    )
    rest = np.empty(0, dtype=np.int64)
    done = 0
    for bucket, (end, members) in enumerate(zip(ends, by_bucket, strict=True)):
        if random is not None:
            random.shuffle(members)
        members = np.concatenate([rest, members])
        last = bucket == len(ends) - 1 or not padded
        size = _size(batch_size, steps, int(end))
        full = len(members) if last else len(members) - len(members) % size
        rest = members[full:]
        order.append(members[:full])
        offsets = np.arange(0, full, size)
        starts.append(done + offsets)
        stops.append(done + np.minimum(offsets + size, full))
        batch_lengths.append(np.full(len(offsets), end))
        done += full
    parts = [np.concatenate(one) for one in (order, starts, stops, batch_lengths)]
    if random is not None:
        shuffled = random.permutation(len(parts[1]))
        parts[1:] = [one[shuffled] for one in parts[1:]]
    return Plan(*parts)


def _size(batch_size: int, steps: int, length: int) -> int:
    """The batch size for sequences of this length."""
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


def joined(parts: Sequence[Examples[Any]], *, padded: bool) -> Examples[None]:
    """The inputs of several sets of examples, one set after the other; there are no targets.

    With `padded`, lengths are rounded up to an eighth of a power of two, so that examples from many
    sources share batches, and few lengths are compiled.
    """
    lengths = np.concatenate([part.lengths for part in parts])
    if padded:
        unit = np.exp2(np.maximum(0, np.ceil(np.log2(np.maximum(lengths, 1))) - 3)).astype(int)
        lengths = -(-lengths // unit) * unit
    stops = np.cumsum([len(part) for part in parts])

    def inputs(indices: Array, length: int) -> dict[str, Array]:
        of_part = np.searchsorted(stops, indices, side="right")
        order = np.argsort(of_part, kind="stable")
        pieces: list[Mapping[str, Array]] = []
        for k in np.unique(of_part):
            here = indices[of_part == k] - (stops[k] - len(parts[k]))
            pieces.append(parts[k].inputs(here, length))
        back = np.argsort(order)
        return {name: np.concatenate([piece[name] for piece in pieces])[back] for name in pieces[0]}

    def no_targets(_indices: Array, _length: int = 0) -> Any:
        raise AssertionError("new data hold no targets")

    return Examples(None, lengths, inputs, no_targets)


def gather(sequences: Sequences, indices: Array, length: int) -> tuple[Array, Array | None]:
    """The chosen sequences as [chosen, length, columns], and the mask of real steps.

    The mask is None if all steps are real. The caller overwrites the values of the other steps.
    """
    starts, stops = sequences.starts[indices], sequences.stops[indices]
    positions = starts[:, None] + np.arange(length)  # [chosen, length]
    if (stops - starts == length).all():
        return sequences.values[positions], None
    real = positions < stops[:, None]
    return sequences.values[np.where(real, positions, starts[:, None])], real
