"""The simplest answers: what a network must beat to have learned something.

Forecasts take `past` [windows, back, targets] and return [windows, horizon, targets]. Classifiers
take sequences, or summaries of them, with labels as class positions [n].
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils.extmath import softmax

from gatewise.data.sequences import Sequences
from gatewise.errors import ConfigError, DataError
from gatewise.tasks import metrics

Array = NDArray[Any]

# Forecasting


def repeat_last(past: Array, horizon: int) -> Array:
    """The last value, at every step of the horizon (the naive forecast: FPP3, 5.2)."""
    return np.repeat(past[:, -1:], horizon, axis=1)


def seasonal_naive(past: Array, horizon: int, season: int) -> Array:
    """The last full season, over and over (FPP3, 5.2).

    Raises:
        ConfigError: the window is shorter than one season.

    >>> seasonal_naive(np.array([[[9.0], [1.0], [2.0]]]), horizon=3, season=2)[0, :, 0]
    array([1., 2., 1.])
    """
    back = past.shape[1]
    if not 1 <= season <= back:
        raise ConfigError(
            f"A season of {season} steps does not fit into a window of {back}. "
            "Raise task.lookback, or set task.season."
        )
    return past[:, back - season + np.arange(horizon) % season]


def drift(past: Array, horizon: int) -> Array:
    """The line through the first and the last value of the window, carried on (FPP3, 5.2)."""
    slope = (past[:, -1:] - past[:, :1]) / max(past.shape[1] - 1, 1)  # [windows, 1, targets]
    line: Array = past[:, -1:] + slope * np.arange(1, horizon + 1)[:, None]
    return line


@dataclass(frozen=True)
class Ridge:
    """A linear map of the window to the horizon, one for all series and targets."""

    coefficients: Array  # [inputs, horizon]; inputs: the window's steps, then the known covariates
    intercept: Array  # [horizon]
    penalty: float


PENALTIES = tuple(10.0**power for power in range(-2, 5))
RIDGE_ROWS = 20_000  # more do not move a few hundred coefficients, and cost memory


def fit_ridge(
    past: Array,
    future: Array,
    known: Array | None,
    *,
    valid: tuple[Array, Array, Array | None] | None,
) -> Ridge:
    """Ridge regression of the horizon on the window, its penalty chosen by MAE on `valid`.

    What is forecast is the distance from the last value, so a level never seen is no trouble. Each
    target channel is a row of its own with the same weights (as in DLinear: Zeng et al. 2023).
    `known` are covariates of the horizon [windows, horizon, K], or None; `valid` is the same triple
    of the validation part. Without validation windows the penalty is 1.
    """
    count = max(RIDGE_ROWS // past.shape[2], 1)
    if count < len(past):  # evenly over the training part, at a step that meets no season each time
        thin = np.linspace(0, len(past) - 1, count).astype(np.int64)
        past, future, known = past[thin], future[thin], None if known is None else known[thin]
    inputs, last = _ridge_inputs(past, known)
    scaler = StandardScaler().fit(inputs)  # so that a penalty means the same for every series
    inputs, outputs = scaler.transform(inputs), _channels(future) - last
    if valid is None or not len(valid[0]):
        return _ridge_of(inputs, outputs, scaler, 1.0)
    before, after, ahead = valid
    models = (_ridge_of(inputs, outputs, scaler, penalty) for penalty in PENALTIES)
    return min(models, key=lambda model: metrics.mae(after, ridge(model, before, ahead)))


def ridge(model: Ridge, past: Array, known: Array | None) -> Array:
    """The forecast of a fitted ridge, [windows, horizon, targets]."""
    inputs, last = _ridge_inputs(past, known)
    rows = inputs @ model.coefficients + model.intercept + last  # [windows * targets, horizon]
    return rows.reshape(len(past), past.shape[2], -1).swapaxes(1, 2)


def residual_quantiles(truth: Array, answer: Array, quantiles: Sequence[float]) -> Array:
    """Offsets [horizon, targets, Q] that make a point forecast a quantile forecast.

    The empirical quantiles of truth - answer at each step of the horizon, over windows before the
    test part; add the result to `answer[..., None]` of the test part. Windows that the forecast was
    fitted on give too narrow a spread: take the validation part where there is one. NaN in truth
    is left out.
    """
    return np.moveaxis(np.nanquantile(truth - answer, quantiles, axis=0), 0, -1)


def _ridge_inputs(past: Array, known: Array | None) -> tuple[Array, Array]:
    """Rows [windows * targets, inputs] and the last value of each [windows * targets, 1]."""
    window = _channels(past)  # [windows * targets, back]
    last = window[:, -1:]
    inputs = window - last
    if known is not None:
        ahead = known.reshape(len(known), -1)  # [windows, horizon * K]
        inputs = np.concatenate([inputs, np.repeat(ahead, past.shape[2], axis=0)], axis=1)
    return inputs, last


def _channels(windows: Array) -> Array:
    """[windows, steps, targets] -> [windows * targets, steps]."""
    return windows.swapaxes(1, 2).reshape(-1, windows.shape[1])


def _ridge_of(inputs: Array, outputs: Array, scaler: StandardScaler, penalty: float) -> Ridge:
    """Fitted on standardised inputs, its coefficients those of the inputs as they came."""
    fitted = SklearnRidge(alpha=penalty, solver="cholesky").fit(inputs, outputs)
    coefficients = fitted.coef_.reshape(outputs.shape[1], -1).T / scaler.scale_[:, None]
    return Ridge(coefficients, fitted.intercept_ - scaler.mean_ @ coefficients, penalty)


# Classification


def majority(labels: Array, classes: int) -> Array:
    """How frequent each class is, [classes]: the answer to every sequence.

    >>> majority(np.array([0, 0, 0, 2]), classes=3)
    array([0.75, 0.  , 0.25])
    """
    counts = np.bincount(labels, minlength=classes)
    frequencies: Array = counts / counts.sum()
    return frequencies


CELLS_AT_ONCE = 4_000_000  # bounds the memory of summaries: some 32 MB an array


def summaries(sequences: Sequences, floor: Array | None = None) -> Array:
    """What can be said of a sequence without its order, and a little with it, [n, features].

    Of each column the mean, standard deviation, least, greatest, first and last value and the mean
    absolute step from one value to the next; then the length. With a `floor` [columns] also the
    logarithms of the deviation and of the mean step, each plus its floor: a linear answer can then
    tell a trembling from stillness, both of which are nothing beside a jump.
    """
    before = np.cumsum(sequences.lengths) - sequences.lengths
    block = before * sequences.values.shape[1] // CELLS_AT_ONCE  # [n], ascending
    blocks = np.split(np.arange(len(sequences)), np.flatnonzero(np.diff(block)) + 1)
    return np.concatenate([_summaries(sequences.chosen(which), floor) for which in blocks])


def _summaries(sequences: Sequences, floor: Array | None) -> Array:
    lengths = sequences.lengths  # [n]
    ends = np.cumsum(lengths)
    begins = ends - lengths
    # A part may begin anywhere in the values and in any order: lay its own steps end to end.
    rows = np.arange(ends[-1]) + np.repeat(sequences.starts - begins, lengths)
    values = sequences.values[rows].astype(np.float64)  # [steps, columns]

    def mean(of: Array, counts: Array) -> Array:
        total: Array = np.add.reduceat(of, begins, axis=0)
        return total / counts[:, None]

    average = mean(values, lengths)
    spread = np.sqrt(mean(np.square(values - np.repeat(average, lengths, axis=0)), lengths))
    changes = np.abs(np.diff(values, axis=0, prepend=values[:1]))
    changes[begins] = 0  # from the last step of one sequence to the first of the next
    change = mean(changes, np.maximum(lengths - 1, 1))
    logarithms = [] if floor is None else [np.log(spread + floor), np.log(change + floor)]
    return np.concatenate(
        [
            average,
            spread,
            np.minimum.reduceat(values, begins, axis=0),
            np.maximum.reduceat(values, begins, axis=0),
            values[begins],
            values[ends - 1],
            change,
            lengths[:, None].astype(np.float64),
            *logarithms,
        ],
        axis=1,
    )


@dataclass(frozen=True)
class Logistic:
    """A multinomial logistic regression on features as they come."""

    coefficients: Array  # [features, classes]
    intercept: Array  # [classes]
    inverse_penalty: float  # scikit-learn's C


INVERSE_PENALTIES = (0.01, 0.1, 1.0, 10.0)
NEVER = -1000.0  # the logit of a class without a sequence in training: its probability is zero


def fit_logistic(
    features: Array, labels: Array, classes: int, *, valid: tuple[Array, Array] | None
) -> Logistic:
    """Logistic regression on standardised features, its penalty chosen by log loss on `valid`.

    `valid` holds features and labels of the validation part; without one C is 1.

    Raises:
        DataError: the training part holds one label only.
    """
    if len(np.unique(labels)) < 2:
        raise DataError("The training part holds one label only: there is nothing to tell apart.")
    if valid is None or not len(valid[1]):
        return _logistic_of(features, labels, classes, 1.0)
    held, truth = valid
    models = (_logistic_of(features, labels, classes, choice) for choice in INVERSE_PENALTIES)
    return min(models, key=lambda model: metrics.log_loss(truth, logistic(model, held)))


def logistic(model: Logistic, features: Array) -> Array:
    """Probabilities [n, classes]; zero for a class that the training part does not hold."""
    answer: Array = softmax(features @ model.coefficients + model.intercept)
    return answer


def _logistic_of(features: Array, labels: Array, classes: int, inverse_penalty: float) -> Logistic:
    scaler = StandardScaler().fit(features)
    regression = LogisticRegression(C=inverse_penalty, max_iter=300, tol=1e-3)
    with warnings.catch_warnings():
        # Stopped early it is a slightly more regular answer, judged on the validation part like
        # any other; the user could do nothing about the warning.
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(scaler.transform(features), labels)
    weights, offsets = regression.coef_.T, regression.intercept_  # [features, present], [present]
    if len(regression.classes_) == 2:  # scikit-learn keeps one logit for two classes
        weights, offsets = weights * [-0.5, 0.5], offsets * [-0.5, 0.5]
    coefficients = np.zeros((features.shape[1], classes))
    intercept = np.full(classes, NEVER)
    coefficients[:, regression.classes_] = weights / scaler.scale_[:, None]
    intercept[regression.classes_] = offsets
    intercept -= scaler.mean_ @ coefficients
    return Logistic(coefficients, intercept, inverse_penalty)


# Nearest neighbour

# Two cores at 2.5 GHz do 4e9 and 5e10 a second, so that either is done within a minute.
DTW_BUDGET = 1e11  # cells * (columns + 15): a cell costs as much as 15 columns of its distance
EUCLIDEAN_BUDGET = 2e12  # pairs * steps * columns


def nearest_neighbour(
    train: Sequences, labels: Array, queries: Sequences, *, spread: Array
) -> tuple[Array, str]:
    """The label of the nearest training sequence for each query [m], and how it was found.

    Dynamic time warping where it can be had in about a minute on two cores: dependent (all columns
    are warped together), squared Euclidean cost, no window (Shokoohi-Yekta et al. 2017: DTW_D).
    Otherwise the Euclidean distance, after resampling where lengths differ, and to a share of the
    training part where even that is too much. `spread` [columns] is what each column is divided by,
    so that all weigh alike; a mean needs no subtracting, for it cancels in every distance.
    """
    columns = train.values.shape[1]
    cells = float(len(train)) * float(train.lengths.max()) * float(queries.lengths.sum())
    if cells * (columns + 15) <= DTW_BUDGET:
        nearest = _nearest_by_warping(train, queries, spread)
        return labels[nearest], (
            "1-nearest neighbour under dynamic time warping (all columns together, no window)."
        )
    lengths = np.concatenate([train.lengths, queries.lengths])
    steps = int(np.median(train.lengths))
    how = "Euclidean distance"
    if np.ptp(lengths):
        how += f" after resampling every sequence to {steps} steps"
    most = max(int(EUCLIDEAN_BUDGET / (len(queries) * steps * columns)), 1)
    if most < len(train):
        kept = _stratified(labels, most)
        how += (
            f", to {len(kept):,} of the {len(train):,} training sequences (a share of each label)"
        )
        train, labels = train.chosen(kept), labels[kept]
    # Half the memory of float64, and distances good to six digits.
    scale = np.where(spread == 0, 1, spread).astype(np.float32)
    fitted = KNeighborsClassifier(n_neighbors=1, algorithm="brute").fit(
        _resampled(train, steps, scale), labels
    )
    return fitted.predict(_resampled(queries, steps, scale)), f"1-nearest neighbour: {how}."


def _stratified(labels: Array, count: int) -> Array:
    """Positions of `count` sequences, every label in proportion, always the same ones."""
    by_label = np.argsort(labels, kind="stable")
    return np.sort(by_label[np.linspace(0, len(labels) - 1, count).astype(np.int64)])


def _resampled(sequences: Sequences, steps: int, spread: Array) -> Array:
    """Every sequence drawn as a line and read at `steps` places, [n, steps * columns] float32."""
    gaps = max(steps - 1, 1)
    whole = np.arange(steps) * (sequences.lengths[:, None] - 1)  # [n, steps], in units of 1 / gaps
    floor = whole // gaps  # in whole numbers: 27 * (3 / 27) may fall just short of 3
    rows = sequences.starts[:, None] + floor
    answer = sequences.values[rows].astype(np.float32)  # [n, steps, columns]
    if (sequences.lengths != steps).any():
        above = sequences.values[np.minimum(rows + 1, sequences.stops[:, None] - 1)]
        answer += (above - answer) * (whole % gaps / gaps).astype(np.float32)[:, :, None]
    answer /= spread
    flat: Array = answer.reshape(len(answer), -1)
    return flat


WARPING_CELLS = 2**20  # of one diagonal of all pairs in a block: 4 MB, so that it stays in cache


def _nearest_by_warping(train: Sequences, queries: Sequences, spread: Array) -> Array:
    """The position of the nearest training sequence for each query, [m]."""
    scale = np.where(spread == 0, 1, spread)
    centre = train.values.astype(np.float64).mean(axis=0)
    near = _padded(train, centre, scale)
    nearest = np.empty(len(queries), dtype=np.int64)
    for block in _blocks_of_like_length(queries, near.shape[0] * near.shape[1]):
        some = queries.chosen(block)
        far = _padded(some, centre, scale)
        distances = _warped(near, train.lengths, far, some.lengths)
        nearest[block] = distances.argmin(axis=1)
    return nearest


def _blocks_of_like_length(queries: Sequences, cells: int) -> Iterator[Array]:
    order = np.argsort(queries.lengths, kind="stable")
    size = max(WARPING_CELLS // cells, 1)
    return (order[begin : begin + size] for begin in range(0, len(order), size))


def _padded(sequences: Sequences, centre: Array, spread: Array) -> Array:
    """[longest, n, columns] float32, zeros after the end of each.

    Measured from the centre, where the expanded square in `_warped` loses fewest digits.
    """
    padded = np.zeros(
        (sequences.lengths.max(), len(sequences), sequences.values.shape[1]), dtype=np.float32
    )
    for k, sequence in enumerate(sequences):
        padded[: len(sequence), k] = (sequence - centre) / spread
    return padded


def _warped(near: Array, near_lengths: Array, far: Array, far_lengths: Array) -> Array:
    """Squared DTW distances [m, n] between near [T, n, columns] and far [S, m, columns].

    The dynamic programme runs over the T + S - 1 diagonals, on all pairs and all cells of a
    diagonal at once: a cell needs only its neighbours on the two diagonals before.
    """
    steps, shape = len(near), (len(near) + 1, far.shape[1], near.shape[1])
    near_squares = np.square(near).sum(axis=-1)[:, None, :]  # [T, 1, n]
    far_squares = np.square(far).sum(axis=-1)[:, :, None]  # [S, m, 1]
    columns_first = np.ascontiguousarray(near.swapaxes(1, 2))  # [T, columns, n]
    ends = far_lengths[:, None] + near_lengths - 2  # [m, n], the diagonal of the last cell
    answer = np.empty(shape[1:], dtype=np.float32)
    # Index i + 1 of a diagonal is step i of near; index 0 is the border, free only at the start.
    before, last = np.full(shape, np.inf, np.float32), np.full(shape, np.inf, np.float32)
    before[0] = 0
    for diagonal in range(steps + len(far) - 1):
        low, high = max(0, diagonal - len(far) + 1), min(steps, diagonal + 1)
        opposite = far[diagonal - high + 1 : diagonal - low + 1][::-1]  # [cells, m, columns]
        squares = far_squares[diagonal - high + 1 : diagonal - low + 1][::-1]
        # Not matmul: its threads wait for each other over so small a product, which took up to 200
        # times as long when the cores had other work.
        products = np.einsum("kmc,kcn->kmn", opposite, columns_first[low:high])
        cost = squares + near_squares[low:high] - 2 * products  # [cells, m, n]
        now = np.full(shape, np.inf, np.float32)
        best = np.minimum(np.minimum(last[low:high], last[low + 1 : high + 1]), before[low:high])
        now[low + 1 : high + 1] = np.maximum(cost, 0) + best
        query, one = np.nonzero(ends == diagonal)
        answer[query, one] = now[near_lengths[one], query, one]
        before, last = last, now
    return answer
