"""The nearest neighbour, by dynamic time warping or by Euclidean distance."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewise.data.sequences import Sequences

Array = NDArray[Any]

# Two cores at 2.5 GHz do 4e9 and 5e10 per second, so either takes less than a minute.
DTW_BUDGET = 1e11  # cells * (columns + 15): a cell costs as much as 15 columns of its distance
EUCLIDEAN_BUDGET = 2e12  # pairs * steps * columns


def nearest_neighbour(
    train: Sequences, labels: Array, queries: Sequences, *, spread: Array
) -> tuple[Array, str]:
    """The label of the nearest training sequence for each query [m], and a text on the method.

    The method is dynamic time warping if that takes about a minute on two cores: dependent (all
    columns are warped together), squared Euclidean cost, no window (Shokoohi-Yekta et al. 2017:
    DTW_D). Otherwise it is the Euclidean distance, after resampling if lengths differ, and to a
    share of the training part if even that is too much. Each column is divided by its `spread`
    [columns], so that all columns have the same weight. The mean is not subtracted, because it
    cancels in every distance.
    """
    from sklearn.neighbors import KNeighborsClassifier

    columns = train.values.shape[1]
    cells = float(len(train)) * float(train.lengths.max()) * float(queries.lengths.sum())
    if cells * (columns + 15) <= DTW_BUDGET:
        nearest = _nearest_by_warping(train, queries, spread)
        return labels[nearest], (
            "1-nearest neighbour under dynamic time warping (all columns together, no window)."
        )
    lengths = np.concatenate([train.lengths, queries.lengths])
    steps = int(np.median(train.lengths))
    method = "Euclidean distance"
    if np.ptp(lengths):
        method += f" after resampling every sequence to {steps} steps"
    most = max(int(EUCLIDEAN_BUDGET / (len(queries) * steps * columns)), 1)
    if most < len(train):
        subset = _stratified(labels, most)
        method += (
            f", to {len(subset):,} of the {len(train):,} training sequences (a share of each label)"
        )
        train, labels = train.chosen(subset), labels[subset]
    # float32 halves the memory, and its distances are good to six digits.
    scale = np.where(spread == 0, 1, spread).astype(np.float32)
    fitted = KNeighborsClassifier(n_neighbors=1, algorithm="brute").fit(
        _resampled(train, steps, scale), labels
    )
    return fitted.predict(_resampled(queries, steps, scale)), f"1-nearest neighbour: {method}."


def _stratified(labels: Array, count: int) -> Array:
    """Positions of `count` sequences, with every label in proportion; deterministic."""
    by_label = np.argsort(labels, kind="stable")
    return np.sort(by_label[np.linspace(0, len(labels) - 1, count).astype(np.int64)])


def _resampled(sequences: Sequences, steps: int, spread: Array) -> Array:
    """Every sequence interpolated linearly at `steps` points, [n, steps * columns] float32."""
    gaps = max(steps - 1, 1)
    whole = np.arange(steps) * (sequences.lengths[:, None] - 1)  # [n, steps], in units of 1 / gaps
    floor = whole // gaps  # in integers, because 27 * (3 / 27) may be just below 3
    rows = sequences.starts[:, None] + floor
    values = sequences.values[rows].astype(np.float32)  # [n, steps, columns]
    if (sequences.lengths != steps).any():
        above = sequences.values[np.minimum(rows + 1, sequences.stops[:, None] - 1)]
        values += (above - values) * (whole % gaps / gaps).astype(np.float32)[:, :, None]
    values /= spread
    flat: Array = values.reshape(len(values), -1)
    return flat


WARPING_CELLS = 2**20  # cells of one diagonal of all pairs in a block: 4 MB, to stay in cache


def _nearest_by_warping(train: Sequences, queries: Sequences, spread: Array) -> Array:
    """The position of the nearest training sequence for each query, [m]."""
    scale = np.where(spread == 0, 1, spread)
    centre = train.values.astype(np.float64).mean(axis=0)
    near = _padded(train, centre, scale)
    nearest = np.empty(len(queries), dtype=np.int64)
    for block in _blocks_of_like_length(queries, near.shape[0] * near.shape[1]):
        chosen = queries.chosen(block)
        far = _padded(chosen, centre, scale)
        distances = _warped(near, train.lengths, far, chosen.lengths)
        nearest[block] = distances.argmin(axis=1)
    return nearest


def _blocks_of_like_length(queries: Sequences, cells: int) -> Iterator[Array]:
    order = np.argsort(queries.lengths, kind="stable")
    size = max(WARPING_CELLS // cells, 1)
    return (order[begin : begin + size] for begin in range(0, len(order), size))


def _padded(sequences: Sequences, centre: Array, spread: Array) -> Array:
    """Scaled sequences padded with zeros, [longest, n, columns] float32.

    The centre is subtracted, because the expanded square in `_warped` then loses fewest digits.
    """
    padded = np.zeros(
        (sequences.lengths.max(), len(sequences), sequences.values.shape[1]), dtype=np.float32
    )
    for k, sequence in enumerate(sequences):
        padded[: len(sequence), k] = (sequence - centre) / spread
    return padded


def _warped(near: Array, near_lengths: Array, far: Array, far_lengths: Array) -> Array:
    """Squared DTW distances [m, n] between near [T, n, columns] and far [S, m, columns].

    The dynamic programme runs over the T + S - 1 diagonals, and handles all pairs and all cells of
    a diagonal at once, because a cell depends only on the two diagonals before.
    """
    steps, shape = len(near), (len(near) + 1, far.shape[1], near.shape[1])
    near_squares = np.square(near).sum(axis=-1)[:, None, :]  # [T, 1, n]
    far_squares = np.square(far).sum(axis=-1)[:, :, None]  # [S, m, 1]
    columns_first = np.ascontiguousarray(near.swapaxes(1, 2))  # [T, columns, n]
    ends = far_lengths[:, None] + near_lengths - 2  # [m, n], the diagonal of the last cell
    distances = np.empty(shape[1:], dtype=np.float32)
    # Index i + 1 of a diagonal is step i of near; index 0 is the border, which is 0 at the start.
    before, last = np.full(shape, np.inf, np.float32), np.full(shape, np.inf, np.float32)
    before[0] = 0
    for diagonal in range(steps + len(far) - 1):
        low, high = max(0, diagonal - len(far) + 1), min(steps, diagonal + 1)
        opposite = far[diagonal - high + 1 : diagonal - low + 1][::-1]  # [cells, m, columns]
        squares = far_squares[diagonal - high + 1 : diagonal - low + 1][::-1]
        # einsum instead of matmul, whose threads wait for each other on such small products: it
        # took up to 200 times as long when the cores had other work.
        products = np.einsum("kmc,kcn->kmn", opposite, columns_first[low:high])
        cost = squares + near_squares[low:high] - 2 * products  # [cells, m, n]
        now = np.full(shape, np.inf, np.float32)
        best = np.minimum(np.minimum(last[low:high], last[low + 1 : high + 1]), before[low:high])
        now[low + 1 : high + 1] = np.maximum(cost, 0) + best
        query, train = np.nonzero(ends == diagonal)
        distances[query, train] = now[near_lengths[train], query, train]
        before, last = last, now
    return distances
