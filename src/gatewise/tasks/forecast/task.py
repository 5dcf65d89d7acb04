"""forecast: the next values of one or many series.

The network reads a window of the past and answers all steps of the horizon at once, a value for
each quantile. Evaluation moves the origin through the test part (rolling origin) without training
again.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from gatewise import metrics
from gatewise.baselines import naive
from gatewise.baselines.ridge import Ridge, fit_ridge, ridge
from gatewise.data.batches import Examples, Shapes
from gatewise.data.calendar import calendar_features, chosen_calendar, following
from gatewise.data.preparation import Preparation, level_texts, one_hot, seen_categories
from gatewise.data.scaling import FARTHEST, fit_scale, refuse_far
from gatewise.data.seasons import season_of, usual_horizon
from gatewise.data.sequences import Array, Sequences
from gatewise.data.spacing import clear_step
from gatewise.data.splits import Splits, split_by_time
from gatewise.data.windows import Windows, windows
from gatewise.errors import ConfigError, DataError
from gatewise.settings import Experiment, NetworkSettings, TaskSettings, TrainingSettings, names
from gatewise.tasks.forecast import reading
from gatewise.tasks.forecast.fitted import Fitted
from gatewise.tasks.task import Baseline, Measure, Promise, Task, sizes_of

ORIGINS = 10_000  # forecasts at most in an evaluation, unless evaluation.stride is given
ROWS = 20_000  # windows that the ridge baseline is fitted on
STACK_UNITS, SEGMENTS_UNITS = (64,), (128,)
SEGMENTS_DROPOUT = 0.3  # before the answer of `segments`
LONGEST_SEGMENT = 48
FEWEST_TO_CALIBRATE = 20  # windows; a share of fewer is no share

SETTINGS = names(
    data="time time_format target past known static features group missing duplicates gaps",
    preparation="scale scale_by constant_columns handle_unknown calendar",
    task="horizon lookback season quantiles floor stride",
    training="loss max_tokens",
    evaluation="scaled stride",
)

Rule = Callable[[Examples[Windows], Array], Array]  # examples, positions -> forecasts


def resolve(
    experiment: Experiment, sequences: Sequences, train: Sequences
) -> tuple[Experiment, list[str]]:
    """Fill in horizon, season, lookback, network and training, and say each guess."""
    notes = []
    task = replace(experiment.task, horizon=_horizon(experiment, sequences))
    if task != experiment.task:
        notes.append(
            f"The horizon was not given: {task.horizon} steps (the custom for this spacing, at "
            "most a tenth of the median series)."
        )
    quantiles, said = _quantiles(experiment)
    notes += said
    task = replace(task, quantiles=quantiles, stride=task.stride or 1)
    shortest = int(np.median(train.lengths))
    if not task.season:
        task = replace(task, season=season_of(train, experiment.data.target[0], shortest))
        found = f"{task.season} steps" if task.season > 1 else "none found"
        notes.append(f"Season (autocorrelation of the training part): {found}.")
    if not task.lookback:
        wanted = max(2 * task.season if task.season <= 200 else 0, 2 * task.horizon, 16)
        room = max(1, (shortest - task.horizon) // 2)
        task = replace(task, lookback=min(wanted, room))
        notes.append(
            f"The lookback was not given: {task.lookback} steps (two seasons or two "
            "horizons, at least 16, as far as the series allow)."
        )
    experiment = replace(experiment, task=task)
    network = _network(experiment)
    return replace(experiment, network=network, training=_training(experiment, train)), notes


def _horizon(experiment: Experiment, sequences: Sequences) -> int:
    """Steps to forecast; the split leaves as many for each part."""
    return experiment.task.horizon or usual_horizon(sequences)


def _quantiles(experiment: Experiment) -> tuple[tuple[float, ...], list[str]]:
    """The quantiles to forecast, and what is to be said of them; none where the loss has none."""
    levels = experiment.task.quantiles or TaskSettings().quantiles
    if list(levels) != sorted(set(levels)) or any(not 0 < q < 1 for q in levels):
        raise ConfigError(
            f"task.quantiles wants rising numbers between 0 and 1. Received: {list(levels)}."
        )
    loss = experiment.training.loss
    if loss != "auto":
        return (), [f"With training.loss = {loss} one value is forecast, no quantiles."]
    if 0.5 in levels:
        return levels, []
    nearest = min(levels, key=lambda q: abs(q - 0.5))
    return levels, [
        f"The quantile 0.5 is not asked for, so mae and its like judge the {nearest:g} one."
    ]


def usual_segment(lookback: int, horizon: int) -> int:
    """Steps that one LSTM step of `segments` reads: half of what is looked back or ahead."""
    return max(1, min(lookback, horizon, 2 * LONGEST_SEGMENT) // 2)


def _network(experiment: Experiment) -> NetworkSettings:
    """The kind of network, its size, and its dropout before the answer."""
    task, network = experiment.task, experiment.network
    kind = "segments" if network.kind == "auto" else network.kind
    segmented = kind == "segments"
    if network.pooling == "auto" and not segmented:
        network = replace(network, pooling="last")
    dropout = network.dense_dropout
    return replace(
        network,
        kind=kind,
        subtract="last" if network.subtract == "auto" else network.subtract,
        units=network.units or (SEGMENTS_UNITS if segmented else STACK_UNITS),
        segment_length=network.segment_length
        or (usual_segment(task.lookback, task.horizon) if segmented else 0),
        dense_dropout=dropout if dropout >= 0 else SEGMENTS_DROPOUT if segmented else 0.0,
    )


def _training(experiment: Experiment, train: Sequences) -> TrainingSettings:
    """Batch size and epochs by the number of windows to learn from."""
    count = len(windows(train, experiment.task.lookback, experiment.task.horizon))
    training = experiment.training
    if not training.batch_size:
        training = replace(
            training, batch_size=int(np.clip(2 ** round(np.log2(count / 60 + 1)), 8, 128))
        )
    if not training.epochs:
        training = replace(training, epochs=int(np.clip(400_000 // (count + 1), 20, 100)))
    return training


def split(sequences: Sequences, experiment: Experiment, test: bool) -> Splits:
    """By time; `test=False` leaves the test part out."""
    if experiment.split.by not in ("auto", "time"):
        raise ConfigError("A forecast is split by time; leave split.by at auto.")
    settings = experiment.split if test else replace(experiment.split, test=0.0)
    return split_by_time(sequences, settings, horizon=_horizon(experiment, sequences))


def prepare(train: Sequences, experiment: Experiment) -> tuple[Preparation[Fitted], list[str]]:
    """Scale, categories and calendar features, fitted on the training part."""
    data, task, settings = experiment.data, experiment.task, experiment.preparation
    numbers = tuple(name for name in train.columns if name not in train.levels)
    by = "column" if settings.scale_by == "auto" and len(train) == 1 else settings.scale_by
    scale = fit_scale(
        train,
        "standard" if settings.scale == "auto" else settings.scale,
        "series" if by == "auto" else by,
    )
    # The scale knows every column so that it needs no names; codes of texts it leaves alone.
    constant = _constant(train, tuple(name for name in numbers if name not in data.target))
    never = _constant(train, data.target)
    if never:
        raise DataError(
            f"{train.source}: the target '{never[0]}' never changes in the training part, so "
            "there is nothing to learn. Choose another --target, or give more data."
        )
    notes = []
    if constant and settings.constant_columns == "error":
        raise DataError(
            f"{train.source}: column '{constant[0]}' never changes in the training part. "
            "Take it out, or set preparation.constant_columns = drop."
        )
    if constant and settings.constant_columns == "drop":
        numbers = tuple(name for name in numbers if name not in constant)
        notes.append(f"Dropped, for they never change in training: {', '.join(constant)}.")
    never_negative = tuple(name for name in data.target if _least(train, name) >= 0)
    if task.floor == "zero":
        notes.append(_told_of_floor(data.target, never_negative, train.source))
    statics = {
        name: (float(np.mean(column)), float(np.std(column)) or 1.0)
        for name, column in train.static.items()
        if column.dtype.kind in "fiu"
    }
    return Preparation(
        task="forecast",
        columns=train.columns,
        used=numbers,
        scale=scale,
        categories=seen_categories(train, (*data.past, *data.known, *data.static)),
        handle_unknown=settings.handle_unknown,
        static_scale=statics,
        step=train.step,
        own=Fitted(
            targets=data.target,
            past=data.past,
            known=data.known,
            static=tuple(train.static),
            calendar=chosen_calendar(train, settings.calendar),
            quantiles=task.quantiles,
            never_negative=never_negative,
            floor=task.floor,
            lookback=task.lookback,
            horizon=task.horizon,
            season=task.season,
        ),
    ), notes


def _least(train: Sequences, name: str) -> float:
    column = train.columns.index(name)
    return float(np.fmin.reduce([np.fmin.reduce(steps[:, column]) for steps in train]))


def _told_of_floor(targets: tuple[str, ...], never: tuple[str, ...], source: str) -> str:
    others = ", ".join(repr(name) for name in targets if name not in never)
    if not never:
        raise ConfigError(
            f"task.floor=zero cuts forecasts off at 0, but in {source} {others} is below 0 in the "
            "training part. Leave task.floor at none."
        )
    left = f"; {others} was below 0 in training, and is not cut off" if others else ""
    return f"Forecasts of {', '.join(map(repr, never))} are cut off at 0{left}."


def _constant(train: Sequences, names: tuple[str, ...]) -> tuple[str, ...]:
    found = []
    for name in names:
        column = train.columns.index(name)
        low = np.fmin.reduce([np.fmin.reduce(steps[:, column]) for steps in train])
        high = np.fmax.reduce([np.fmax.reduce(steps[:, column]) for steps in train])
        if low == high:
            found.append(name)
    return tuple(found)


def examples(
    sequences: Sequences, preparation: Preparation[Fitted], experiment: Experiment, role: str
) -> Examples[Windows]:
    """Windows of the sequences; the stride is the role's own."""
    stride = max(1, experiment.task.stride)
    if role == "test" and experiment.evaluation.stride:
        stride = experiment.evaluation.stride
    cut = windows(sequences, preparation.own.lookback, preparation.own.horizon, stride)
    if role == "train" and not len(cut):
        raise ConfigError(
            f"The longest training sequence has {sequences.lengths.max()} steps, too few for one "
            f"example with a lookback of {cut.lookback} and a horizon of {cut.horizon} steps. Give "
            "more data, a smaller --lookback or --horizon, or a smaller split.validation and "
            "split.test."
        )
    if role != "train" and not experiment.evaluation.stride and len(cut) > ORIGINS:
        cut = windows(
            sequences,
            preparation.own.lookback,
            preparation.own.horizon,
            -(-len(cut) * stride // ORIGINS),
        )
    some = window_examples(cut, preparation)
    if role == "test" and sequences.filled is not None and len(cut):
        actual = truth(some, preparation)
        if np.isnan(actual).all():
            raise DataError(
                f"{sequences.source}: no target of the part to be scored was measured, all were "
                "filled in (data.missing). Give rows that hold the truth."
            )
    return some


def window_examples(cut: Windows, preparation: Preparation[Fitted]) -> Examples[Windows]:
    """Inputs by name, and targets [n, horizon, targets, 1].

    `past` [n, lookback, targets] and, where there are any, `covariates` [n, lookback, features],
    `future` [n, horizon, features] and `static` [n, features].
    """
    sequences = cut.sequences
    centre, spread = preparation.scale.rows(sequences, cut.origins)  # [sequences, columns]
    targets = preparation.positions(preparation.own.targets)
    refuse_far(sequences, centre, spread, preparation.positions(preparation.used))
    static = _static(sequences, preparation)

    def scaled(which: Array, start: int, stop: int, columns: Array) -> Array:
        sequence, _ = cut.places(which)
        values = sequences.values[cut.steps(which, start, stop)[..., None], columns]
        shifted = values - centre[sequence[:, None], columns][:, None]
        return (shifted / spread[sequence[:, None], columns][:, None]).astype(np.float32)

    def features(which: Array, start: int, stop: int, names: tuple[str, ...]) -> Array | None:
        """Covariates and calendar of some steps, [n, steps, features]."""
        numbers = preparation.positions(tuple(name for name in names if name in preparation.used))
        parts = [scaled(which, start, stop, numbers)] if len(numbers) else []
        positions = cut.steps(which, start, stop)
        for name in names:
            if name in preparation.categories:
                codes = sequences.values[positions, preparation.columns.index(name)]
                texts = level_texts(sequences, name, codes)
                known = preparation.categories[name]
                parts.append(
                    one_hot(texts, known, preparation.handle_unknown, name, sequences.source)
                )
        if preparation.own.calendar and sequences.times is not None:
            parts.append(calendar_features(sequences.times[positions], preparation.own.calendar))
        return np.concatenate(parts, axis=-1) if parts else None

    def inputs(which: Array, _length: int) -> dict[str, Array]:
        given = {
            "past": scaled(which, -cut.lookback, 0, targets),
            "covariates": features(
                which, -cut.lookback, 0, (*preparation.own.past, *preparation.own.known)
            ),
            "future": features(which, 0, cut.horizon, preparation.own.known),
            "static": None if static is None else static[cut.places(which)[0]],
        }
        return {name: array for name, array in given.items() if array is not None}

    def wanted(which: Array, _length: int = 0) -> Array:
        return scaled(which, 0, cut.horizon, targets)[..., None]

    return Examples(cut, np.broadcast_to(cut.lookback, len(cut)), inputs, wanted)


def _static(sequences: Sequences, preparation: Preparation[Fitted]) -> Array | None:
    """[sequences, features], numbers scaled and texts one-hot; None where there are none."""
    parts = []
    for name in preparation.own.static:
        column = sequences.static[name]
        if name in preparation.static_scale:
            centre, spread = preparation.static_scale[name]
            scaled = (column[:, None] - centre) / spread
            if (np.abs(scaled) > FARTHEST).any():
                most = column[np.abs(scaled).argmax()]
                raise DataError(
                    f"{sequences.source}: column '{name}' holds {most:g}, and the training "
                    f"had values around {centre:.3g}. Give values of the size seen in training, in "
                    "the same unit."
                )
            parts.append(scaled.astype(np.float32))
        else:
            known = preparation.categories[name]
            parts.append(
                one_hot(
                    column.astype(str), known, preparation.handle_unknown, name, sequences.source
                )
            )
    return np.concatenate(parts, axis=-1) if parts else None


def sizes(some: Examples[Windows]) -> dict[str, int]:
    """Series, their steps, and the windows that are cut from them."""
    return sizes_of(some.source.sequences) | {"windows": len(some)}


def shapes(some: Examples[Windows], preparation: Preparation[Fitted]) -> Shapes:
    """Read off one example."""
    inputs = some.inputs(np.array([0]), 0)
    quantiles = max(1, len(preparation.own.quantiles))
    return Shapes(
        inputs={name: array.shape[1:] for name, array in inputs.items()},
        output=(preparation.own.horizon, len(preparation.own.targets), quantiles),
    )


def calibrate(
    preparation: Preparation[Fitted], outputs: Array, some: Examples[Windows]
) -> Preparation[Fitted]:
    """Widen (or narrow) each interval until it covers the validation part as it should.

    Conformalised quantile regression (Romano et al. 2019, arXiv:1905.03222), pooled over windows
    and targets. With fewer than 20 windows the intervals stay as the network says them.
    """
    levels = preparation.own.quantiles
    if len(levels) < 2 or len(some) < FEWEST_TO_CALIBRATE:
        return preparation
    given = np.sort(outputs.astype(np.float64), axis=-1)
    actual = _measured(some, np.arange(len(some)), preparation)
    moved = np.zeros((preparation.own.horizon, len(levels)))
    for low in range(len(levels) // 2):
        high = len(levels) - 1 - low
        outside = np.maximum(given[..., low] - actual, actual - given[..., high])
        share = levels[high] - levels[low]
        margin = np.nanquantile(outside, share, axis=(0, 2))  # [horizon]
        moved[:, low], moved[:, high] = -margin, margin
    margins = tuple(map(tuple, moved.tolist()))
    return replace(preparation, own=replace(preparation.own, margins=margins))


def postprocess(
    outputs: Array,
    some: Examples[Windows],
    preparation: Preparation[Fitted],
    _state: Mapping[str, Any],
) -> Array:
    """Scaled outputs to the data's own units, [windows, horizon, targets, quantiles], in order."""
    scaled = np.sort(outputs.astype(np.float64), axis=-1)
    if preparation.own.margins:
        scaled = np.sort(scaled + np.array(preparation.own.margins)[:, None], axis=-1)
    return _unscaled(scaled, some.source, preparation)


def _rows(of: Windows, preparation: Preparation[Fitted]) -> tuple[Array, Array]:
    """Centre and spread of each window's targets, [windows, 1, targets]."""
    targets = preparation.positions(preparation.own.targets)
    centre, spread = preparation.scale.rows(of.sequences, of.origins)
    sequence, _ = of.places(np.arange(len(of)))
    return centre[sequence][:, None, targets], spread[sequence][:, None, targets]


def _unscaled(scaled: Array, of: Windows, preparation: Preparation[Fitted]) -> Array:
    """The network's answers and the baselines' alike: so the floor favours none of them."""
    centre, spread = _rows(of, preparation)
    given: Array = scaled * spread[..., None] + centre[..., None]
    if preparation.own.floor == "zero":
        floored = [name in preparation.own.never_negative for name in preparation.own.targets]
        given[:, :, floored] = np.maximum(given[:, :, floored], 0.0)
    return given


def point(given: Array, preparation: Preparation[Fitted]) -> Array:
    """The median, or the only forecast, [windows, horizon, targets]."""
    middle = 0
    if preparation.own.quantiles:
        middle = int(np.argmin(np.abs(np.array(preparation.own.quantiles) - 0.5)))
    return given[..., middle]


def truth(some: Examples[Windows], preparation: Preparation[Fitted]) -> Array:
    """What happened, in the data's own units, [windows, horizon, targets]; NaN: not measured."""
    of = some.source
    steps = of.steps(np.arange(len(of)), 0, of.horizon)
    targets = preparation.positions(preparation.own.targets)
    return of.sequences.measured(steps[..., None], targets)


def _measured(some: Examples[Windows], which: Array, preparation: Preparation[Fitted]) -> Array:
    """Scaled truth of some windows, [windows, horizon, targets], NaN where it was filled in.

    A step of the horizon that was measured in no window keeps what was filled in.
    """
    of, actual = some.source, np.asarray(some.targets(which)[..., 0])
    if of.sequences.filled is None:
        return actual
    steps, targets = of.steps(which, 0, of.horizon), preparation.positions(preparation.own.targets)
    filled = of.sequences.filled[steps[..., None], targets]
    return np.where(filled & ~filled.all(axis=0), np.nan, actual)


def _filled(of: Windows, preparation: Preparation[Fitted]) -> int:
    """How many cells of the truth a policy filled in."""
    if of.sequences.filled is None:
        return 0
    steps = np.unique(of.steps(np.arange(len(of)), 0, of.horizon))
    targets = preparation.positions(preparation.own.targets)
    return int(of.sequences.filled[steps[:, None], targets].sum())


def _mean(cells: Array, axis: tuple[int, ...] | None = None) -> Array:
    """The mean over the cells that are known; NaN where none is."""
    known = ~np.isnan(cells)
    counts = known.sum(axis=axis)
    sums = np.where(known, cells, 0.0).sum(axis=axis)
    return np.where(counts == 0, np.nan, sums / np.maximum(counts, 1))


def _history(some: Examples[Windows], preparation: Preparation[Fitted], which: Array) -> Array:
    """Scaled past of max(lookback, season) steps, [windows, back, targets].

    Where a series has fewer steps, its first value stands in for those before it.
    """
    of = some.source
    sequence, _ = of.places(which)
    back = max(preparation.own.lookback, preparation.own.season)
    steps = np.maximum(of.steps(which, -back, 0), of.sequences.first[sequence][:, None])
    targets = preparation.positions(preparation.own.targets)
    centre, spread = preparation.scale.rows(of.sequences, of.origins)
    values = of.sequences.values[steps[..., None], targets]
    return (values - centre[sequence][:, None, targets]) / spread[sequence][:, None, targets]


def _sample(some: Examples[Windows], most: int) -> Array:
    """Evenly spread positions, at most so many."""
    return np.unique(np.linspace(0, len(some) - 1, min(most, len(some))).astype(np.int64))


def fit_baselines(
    train: Examples[Windows], valid: Examples[Windows] | None, preparation: Preparation[Fitted]
) -> dict[str, Any]:
    """The ridge's coefficients, and for each baseline the quantiles of its errors, step by step.

    Errors are those on the validation part (on train, where there is none), so that a baseline's
    quantile forecasts are as honest as the network's.
    """
    held = valid if valid is not None and len(valid) >= 20 else train
    rows, checks = _sample(train, ROWS), _sample(held, 2000)
    fitted = fit_ridge(
        _history(train, preparation, rows)[:, -preparation.own.lookback :],
        train.targets(rows)[..., 0],
        train.inputs(rows, 0).get("future"),
        valid=(
            _history(held, preparation, checks)[:, -preparation.own.lookback :],
            held.targets(checks)[..., 0],
            held.inputs(checks, 0).get("future"),
        ),
    )
    state: dict[str, Any] = {
        "ridge": {
            "coefficients": fitted.coefficients.tolist(),
            "intercept": fitted.intercept.tolist(),
        },
        "penalty": fitted.penalty,
        "offsets": {},
    }
    levels = preparation.own.quantiles or (0.5,)
    actual = _measured(held, checks, preparation)
    for name, rule in _rules(state, preparation).items():
        offsets = naive.residual_quantiles(actual, rule(held, checks), levels)
        if 0.5 in levels:  # the median stays the rule's own
            offsets = offsets - offsets[..., [levels.index(0.5)]]
        state["offsets"][name] = offsets.tolist()
    return state


def _rules(state: Mapping[str, Any], preparation: Preparation[Fitted]) -> dict[str, Rule]:
    """Point forecasts on the network's own scale, [windows, horizon, targets]."""
    horizon, season, lookback = (
        preparation.own.horizon,
        preparation.own.season,
        preparation.own.lookback,
    )
    fitted = Ridge(
        np.array(state["ridge"]["coefficients"]),
        np.array(state["ridge"]["intercept"]),
        state["penalty"],
    )

    def past(some: Examples[Windows], which: Array) -> Array:
        return _history(some, preparation, which)

    rules: dict[str, Rule] = {
        "repeat last": lambda some, which: naive.repeat_last(past(some, which), horizon),
        "drift": lambda some, which: naive.drift(past(some, which)[:, -lookback:], horizon),
        "ridge on the window": lambda some, which: ridge(
            fitted, past(some, which)[:, -lookback:], some.inputs(which, 0).get("future")
        ),
    }
    if season > 1:
        rules[f"seasonal naive ({season})"] = lambda some, which: naive.seasonal_naive(
            past(some, which), horizon, season
        )
    return rules


def make_baselines(
    state: Mapping[str, Any], preparation: Preparation[Fitted], _train: Examples[Windows] | None
) -> list[Baseline[Windows, Array]]:
    """Repeat last, drift, ridge on the window, seasonal naive."""

    def baseline(name: str, rule: Rule) -> Baseline[Windows, Array]:
        offsets = np.array(state["offsets"][name])

        def answer_of(some: Examples[Windows]) -> Array:
            pieces = [
                rule(some, which)[..., None] + offsets
                for which in np.array_split(np.arange(len(some)), -(-len(some) // 4096))
            ]
            return _unscaled(np.concatenate(pieces), some.source, preparation)

        return Baseline(name, answer_of)

    return [baseline(name, rule) for name, rule in _rules(state, preparation).items()]


def _mase_scale(some: Examples[Windows], preparation: Preparation[Fitted]) -> Array:
    """In-sample error of the seasonal naive before the first origin, [windows, 1, targets]."""
    of = some.source
    sequences, targets = of.sequences, preparation.positions(preparation.own.targets)
    scales = np.array(
        [
            [
                metrics.seasonal_scale(
                    sequences.measured(np.arange(first, start), column), preparation.own.season
                )
                for column in targets
            ]
            for first, start in zip(sequences.first, of.origins, strict=True)
        ]
    )
    sequence, _ = of.places(np.arange(len(of)))
    return scales[sequence][:, None]


def score(
    given: Array, some: Examples[Windows], preparation: Preparation[Fitted], experiment: Experiment
) -> dict[str, float]:
    """MAE, RMSE, MSE, MASE, sMAPE and, with quantiles, WQL and the widest interval's coverage."""
    actual = truth(some, preparation)
    scale = _mase_scale(some, preparation)
    if experiment.evaluation.scaled:
        centre, spread = _rows(some.source, preparation)
        actual = (actual - centre) / spread
        given = (given - centre[..., None]) / spread[..., None]
        scale = scale / spread
    known = ~np.isnan(actual)
    scale = np.broadcast_to(scale, actual.shape)[known]
    actual, given = actual[known], given[known]  # [cells], [cells, quantiles]
    middle = point(given, preparation)
    found = {
        "mae": metrics.mae(actual, middle),
        "rmse": metrics.rmse(actual, middle),
        "mse": metrics.mse(actual, middle),
        "mase": metrics.mase(actual, middle, scale),
        "smape": metrics.smape(actual, middle),
    }
    if preparation.own.quantiles:
        found["wql"] = metrics.wql(actual, given, preparation.own.quantiles)
    if len(preparation.own.quantiles) > 1:
        found["coverage"] = metrics.coverage(actual, given[..., 0], given[..., -1])
    return found


def measures(
    some: Examples[Windows], preparation: Preparation[Fitted], experiment: Experiment
) -> list[Measure[Array]]:
    """Errors of each origin; origins less than a horizon apart share a cluster.

    Many series or targets are compared by their scaled errors, that the largest does not decide
    alone.
    """
    of = some.source
    actual = truth(some, preparation)
    _, spread = _rows(of, preparation)
    scaled = (
        experiment.evaluation.scaled or len(of.sequences) > 1 or len(preparation.own.targets) > 1
    )
    size = spread if scaled else np.ones_like(spread)
    prefix = metrics.SCALED if scaled and not experiment.evaluation.scaled else ""

    def absolute(given: Array) -> Array:
        return np.asarray(np.abs((actual - point(given, preparation)) / size))

    def squared(given: Array) -> Array:
        return np.asarray(np.square((actual - point(given, preparation)) / size))

    def quantile(given: Array) -> Array:
        scaled_truth, scaled_answer = actual / size, given / size[..., None]
        return metrics.quantile_loss(scaled_truth, scaled_answer, preparation.own.quantiles)

    cells = {"mae": absolute, "mse": squared}
    if preparation.own.quantiles:
        cells["quantile loss"] = quantile
    return [_measure(f"{prefix}{name}", each, some, actual) for name, each in cells.items()]


def _measure(
    name: str, each: Callable[[Array], Array], some: Examples[Windows], actual: Array
) -> Measure[Array]:
    """The mean of `each(answer)` [windows, horizon, targets] over the cells whose truth is known.

    Windows without any are left out, so that no stretch of the test part is empty.
    """
    of = some.source
    known = ~np.isnan(actual)
    counts = known.sum(axis=(1, 2))
    scored = np.flatnonzero(counts)

    def statistics(given: Array) -> Array:
        sums = np.where(known, each(given), 0.0).sum(axis=(1, 2))
        return np.stack([sums, counts], axis=1)[scored]

    sequence, origins = of.places(scored)
    stretch = (origins - of.origins[sequence]) // of.horizon
    _, clusters = np.unique(np.stack([sequence, stretch]), axis=1, return_inverse=True)
    return Measure(name, statistics, lambda sums: sums[..., 0] / sums[..., 1], clusters)


def _bands(levels: tuple[float, ...]) -> list[tuple[int, int]]:
    """Positions of the quantiles in pairs, from the outermost inwards."""
    return [(low, len(levels) - 1 - low) for low in range(len(levels) // 2)]


def promises(some: Examples[Windows], preparation: Preparation[Fitted]) -> list[Promise[Array]]:
    """How much of the truth the outermost band of quantiles should hold, and holds."""
    levels = preparation.own.quantiles
    actual = truth(some, preparation)

    def inside(given: Array) -> Array:
        return np.asarray((given[..., 0] <= actual) & (actual <= given[..., -1]))

    return [
        Promise(
            f"band from {levels[low]:.3g} to {levels[high]:.3g}",
            levels[high] - levels[low],
            _measure("coverage", inside, some, actual),
        )
        for low, high in _bands(levels)[:1]
    ]


def details(
    answers: dict[str, Array],
    some: Examples[Windows],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> dict[str, Any]:
    """Errors by step and by series, coverage by interval, and some forecasts to look at.

    `answers` holds the network's under "LSTM", then the baselines'.
    """
    actual = truth(some, preparation)
    errors = {name: np.abs(actual - point(given, preparation)) for name, given in answers.items()}
    given = answers["LSTM"]
    levels = preparation.own.quantiles
    known = ~np.isnan(actual)
    of = some.source
    return {
        "season": preparation.own.season,
        "horizon": preparation.own.horizon,
        "lookback": preparation.own.lookback,
        "quantiles": list(levels),
        "targets": list(preparation.own.targets),
        "origins": len(some),
        "filled": _filled(of, preparation),
        "by_horizon": {"step": list(range(1, preparation.own.horizon + 1))}
        | {name: _mean(error, axis=(0, 2)).tolist() for name, error in errors.items()},
        "by_series": _by_series(errors, some, preparation),
        "coverage": [
            {
                "low": levels[low],
                "high": levels[high],
                "nominal": levels[high] - levels[low],
                "measured": metrics.coverage(
                    actual[known], given[..., low][known], given[..., high][known]
                ),
            }
            for low, high in _bands(levels)
        ],
        "examples": _shown(given, errors["LSTM"], some, preparation, experiment.report.examples),
    }


def _by_series(
    errors: dict[str, Array], some: Examples[Windows], preparation: Preparation[Fitted]
) -> dict[str, Any]:
    """Mean absolute error of each series and target; of the 30 worst where there are more."""
    of = some.source
    sequence, _ = of.places(np.arange(len(of)))
    found = {}
    for k in np.unique(sequence):
        for column, target in enumerate(preparation.own.targets):
            one, several = str(of.sequences.ids[k]), len(preparation.own.targets) > 1
            label = target if len(of.sequences) == 1 else f"{one} {target}" if several else one
            found[label] = {
                name: float(_mean(error[sequence == k][..., column]))
                for name, error in errors.items()
            }
    worst_first = sorted(found.items(), key=lambda item: -item[1]["LSTM"])
    return dict(worst_first[:30]) if len(found) > 1 else {}


def _shown(
    given: Array,
    error: Array,
    some: Examples[Windows],
    preparation: Preparation[Fitted],
    count: int,
) -> list[dict[str, Any]]:
    """Forecasts spread from the best to the worst, with the past they were made from."""
    of = some.source
    _, spread = _rows(of, preparation)
    flat = _mean(error / spread, axis=(1,))  # [windows, targets]
    order = np.argsort(flat, axis=None)[: np.isfinite(flat).sum()]  # NaN come last
    ranks = np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)
    sequences, shown = of.sequences, []
    for rank in ranks:
        window, target = np.unravel_index(order[rank], flat.shape)
        sequence, origins = of.places(np.array([window]))
        start = max(int(origins[0]) - 2 * of.horizon, int(origins[0]) - of.lookback)
        column = preparation.columns.index(preparation.own.targets[target])
        stop = int(origins[0]) + of.horizon
        times = None
        if sequences.times is not None:
            times = sequences.times[start:stop]
            dated = times.dtype.kind == "M"
            texts: Any = np.datetime_as_string(times, unit="auto") if dated else times
            times = texts.tolist()
        values = sequences.measured(np.arange(start, stop), column).tolist()
        back = int(origins[0]) - start
        shown.append(
            {
                "id": str(sequences.ids[sequence[0]]),
                "target": preparation.own.targets[target],
                "past_times": times and times[:back],
                "past": values[:back],
                "times": times and times[back:],
                "truth": values[back:],
                "quantiles": {
                    str(level): given[window, :, target, q].tolist()
                    for q, level in enumerate(preparation.own.quantiles or (0.5,))
                },
                "error": float(_mean(error[window, :, target])),
                "kind": "best" if rank == 0 else "worst" if rank == len(order) - 1 else "typical",
            }
        )
    return shown


def table(
    given: Array, some: Examples[Windows], preparation: Preparation[Fitted], which: Array
) -> pl.DataFrame:
    """A row for each step forecast: id, origin, time or step, target, quantiles, known truth."""
    of = some.source
    sequences = of.sequences
    sequence, origins = of.places(which)
    steps = of.steps(which, 0, of.horizon)  # [windows, horizon]
    targets = preparation.positions(preparation.own.targets)
    actual = sequences.measured(steps[..., None], targets)  # [windows, horizon, targets]
    first = sequences.first[sequence]
    columns: dict[str, Array] = {"id": sequences.ids[sequence][:, None, None]}
    if sequences.times is not None:
        columns["origin"] = sequences.times[origins - 1][:, None, None]
        columns["time"] = sequences.times[steps][..., None]
    else:
        columns["origin"] = (origins - first)[:, None, None]
        columns["step"] = (steps - first[:, None] + 1)[..., None]
    columns["target"] = np.array(preparation.own.targets)[None, None]
    for q, level in enumerate(preparation.own.quantiles or (None,)):
        columns["forecast" if level is None else f"q{level:g}"] = given[which][..., q]
    if np.isfinite(actual).any():
        columns["truth"] = actual
    flat = {name: np.broadcast_to(column, actual.shape).ravel() for name, column in columns.items()}
    found = pl.DataFrame(flat)
    return found.with_columns(pl.col("truth").fill_nan(None)) if "truth" in flat else found


def prediction_inputs(sequences: Sequences, preparation: Preparation[Fitted]) -> Sequences:
    """Each series with the steps to be forecast behind its last row; the part is those steps.

    Raises:
        DataError: a series is shorter than the lookback, or lacks the covariates known ahead.
    """
    targets = preparation.positions(preparation.own.targets)
    horizon, tables, times = preparation.own.horizon, [], []
    for k in range(len(sequences)):
        steps = sequences[k]
        filled = np.flatnonzero(np.isfinite(steps[:, targets]).all(axis=1))
        now = int(filled[-1]) + 1 if len(filled) else 0
        if now < preparation.own.lookback:
            raise DataError(
                f"{sequences.source}: sequence '{sequences.ids[k]}' has {now} steps with a target, "
                f"and the network looks back {preparation.own.lookback}. Give it more of its past."
            )
        future = np.full((horizon, steps.shape[1]), np.nan)
        given = min(horizon, len(steps) - now)
        future[:given] = steps[now : now + given]
        known = preparation.positions(preparation.own.known)
        if len(known) and not np.isfinite(future[:, known]).all():
            raise DataError(
                f"{sequences.source}: sequence '{sequences.ids[k]}' needs {horizon} rows after its "
                f"last target with {', '.join(preparation.own.known)} filled in (they are known "
                f"ahead), and has {given}."
            )
        future[:, targets] = np.nan
        tables.append(np.concatenate([steps[:now].astype(np.float64), future]))
        if sequences.times is not None:
            past = sequences.times[sequences.starts[k] : sequences.starts[k] + now]
            step = preparation.step or clear_step(past)
            times.append(np.concatenate([past, following(past, step, horizon)]))
    stops = np.cumsum([len(steps) for steps in tables])
    return replace(
        sequences,
        values=np.concatenate(tables),
        filled=None,
        times=np.concatenate(times) if times else None,
        first=np.concatenate([[0], stops[:-1]]),
        starts=stops - horizon,
        stops=stops,
    )


def remarks(given: Array, preparation: Preparation[Fitted]) -> list[str]:
    """Which forecasts go below 0 although their target never did; whether it can, users know."""
    found = []
    for place, name in enumerate(preparation.own.targets):
        below = (given[:, :, place] < 0).any(axis=-1)
        if name in preparation.own.never_negative and below.any():
            found.append(
                f"{below.sum()} of {below.size} forecasts of '{name}' reach below 0, which it "
                "never did in training; where it cannot, train with task.floor=zero."
            )
    return found


def with_truth(
    sequences: Sequences, preparation: Preparation[Fitted]
) -> tuple[Sequences, list[str]]:
    """Each series up to its last known target, and how many windows are not judged for it.

    Raises:
        DataError: every window reaches behind the last known target, or no series is long enough
            for one.
    """
    targets = preparation.positions(preparation.own.targets)
    ends = [
        start + int(np.flatnonzero(np.isfinite(steps[:, targets]).all(axis=1)).max(initial=-1)) + 1
        for start, steps in zip(sequences.starts, sequences, strict=True)
    ]
    known = sequences.between(sequences.starts, np.array(ends, dtype=np.int64))
    size = (preparation.own.lookback, preparation.own.horizon)
    whole, left = len(windows(sequences, *size)), len(windows(known, *size))
    if whole and not left:
        raise DataError(
            f"{sequences.source}: no forecast can be judged, because each of {whole} windows "
            f"reaches behind the last known '{preparation.own.targets[0]}'. Give at least "
            f"{sum(size)} steps of which it is known (the lookback and the horizon), or use "
            "predict."
        )
    if not whole:
        raise DataError(
            f"{sequences.source}: the longest sequence has {sequences.lengths.max()} steps, and "
            f"one forecast with its truth needs {size[0]} + {size[1]} (the lookback and the "
            "horizon). Give more of its steps."
        )
    if whole == left:
        return known, []
    return known, [
        f"{whole - left} of {whole} windows reach behind the last known "
        f"'{preparation.own.targets[0]}' and are not judged"
    ]


def units(experiment: Experiment) -> str:
    """Whether errors are in the target's own units."""
    scaled = experiment.evaluation.scaled
    return "errors of scaled values" if scaled else "errors in the target's own units"


TASK = Task(
    name="forecast",
    settings={"numbers": SETTINGS},
    fitted=Fitted,
    recognise=reading.RECOGNISE,
    read=reading.read,
    split=split,
    resolve=resolve,
    prepare=prepare,
    examples=examples,
    sizes=sizes,
    shapes=shapes,
    calibrate=calibrate,
    postprocess=postprocess,
    fit_baselines=fit_baselines,
    baselines=make_baselines,
    metrics=score,
    measures=measures,
    details=details,
    table=table,
    prediction_inputs=prediction_inputs,
    promises=promises,
    with_truth=with_truth,
    target="target",
    units=units,
    remarks=remarks,
    estimator="Forecaster",
)
