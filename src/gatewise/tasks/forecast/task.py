"""forecast: the next values of one or many series.

The network reads a window of the past and predicts all steps of the horizon at once, one value for
each quantile. The evaluation uses a rolling origin over the test part; `split.folds` trains again
on the way.
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
from gatewise.data.calendar import calendar_features, chosen_calendar, following, in_zone
from gatewise.data.preparation import Preparation, level_texts, one_hot, seen_categories
from gatewise.data.scaling import FARTHEST, fit_scale, refuse_far
from gatewise.data.seasons import calendar_season, season_of, usual_horizon
from gatewise.data.sequences import Array, Sequences
from gatewise.data.spacing import clear_step
from gatewise.data.splits import Splits, split_by_time
from gatewise.data.windows import Windows, windows
from gatewise.errors import ConfigError, DataError
from gatewise.settings import Experiment, NetworkSettings, TrainingSettings, names
from gatewise.tasks import quantiles
from gatewise.tasks.forecast import blend, reading
from gatewise.tasks.forecast.backtest import stretch
from gatewise.tasks.forecast.budget import usual_networks
from gatewise.tasks.forecast.fitted import Fitted
from gatewise.tasks.forecast.intervals import margins
from gatewise.tasks.forecast.smoothing import smoothing_baselines
from gatewise.tasks.forecast.space import space
from gatewise.tasks.task import Baseline, Measure, Promise, Sanity, Task, Truth, sizes_of

MAX_ORIGINS = 10_000  # most forecasts in an evaluation, unless evaluation.stride is set
RIDGE_WINDOWS = 20_000  # maximum number of training windows of the ridge baseline
STACK_UNITS, SEGMENTS_UNITS = (64,), (128,)
SEGMENTS_DROPOUT = 0.3  # default of network.dense_dropout for `segments`
MAX_SEGMENT_LENGTH = 48

SETTINGS = names(
    data="time time_format timezone target past known static features group missing duplicates"
    " gaps",
    preparation="scale scale_by constant_columns handle_unknown calendar",
    task="horizon lookback season quantiles floor stride blend",
    training="loss max_tokens networks",
    evaluation="scaled stride",
    split="folds",
)

Rule = Callable[[Examples[Windows], Array], Array]  # examples, positions -> forecasts


def resolve(
    experiment: Experiment, sequences: Sequences, train: Sequences
) -> tuple[Experiment, list[str]]:
    """Fill in horizon, season, lookback, network and training, with a note for each guess."""
    notes = []
    task = replace(experiment.task, horizon=_horizon(experiment, sequences))
    if task != experiment.task:
        notes.append(
            f"The horizon was not given. The default is {task.horizon} steps (usual for this "
            "spacing, at most a tenth of the median series)."
        )
    levels, quantile_notes = quantiles.resolved(experiment)
    notes += quantile_notes
    _refuse_blend_of_labels(experiment)
    if task.blend == "auto" and experiment.training.quality == "fast":
        task = replace(task, blend="none")
    task = replace(task, quantiles=levels, stride=task.stride or 1)
    shortest = int(np.median(train.lengths))
    if not task.season:
        season, note = _season(experiment, train, shortest)
        task = replace(task, season=season)
        notes.append(note)
    if not task.lookback:
        preferred = max(2 * task.season if task.season <= 200 else 0, 2 * task.horizon, 16)
        possible = max(1, (shortest - task.horizon) // 2)
        task = replace(task, lookback=min(preferred, possible))
        notes.append(
            f"The lookback was not given. The default is {task.lookback} steps (two seasons or two "
            "horizons, at least 16, if the series are long enough)."
        )
    experiment = replace(experiment, task=task)
    experiment = replace(experiment, network=_network(experiment))
    return replace(experiment, training=_training(experiment, train)), notes


def _refuse_blend_of_labels(experiment: Experiment) -> None:
    if experiment.task.blend == "logistic":
        raise ConfigError(
            "task.blend = logistic is a blend of labels. A forecast is blended with ridge "
            "(task.blend = ridge), or by the validation part (auto)."
        )


def _season(experiment: Experiment, train: Sequences, shortest: int) -> tuple[int, str]:
    """The season that the training part shows, or that of the calendar, with a note."""
    found = season_of(train, experiment.data.target[0], shortest)
    if found > 1:
        return found, f"Season (autocorrelation of the training part): {found} steps."
    usual = calendar_season(train.step, shortest)
    said = f"; that of the calendar is {usual} steps" if usual > 1 else ""
    return usual, f"Season (autocorrelation of the training part): none found{said}."


def _horizon(experiment: Experiment, sequences: Sequences) -> int:
    """The number of steps to forecast; each part of the split has at least as many."""
    return experiment.task.horizon or usual_horizon(sequences)


def default_segment_length(lookback: int, horizon: int) -> int:
    """The default segment length of `segments`: half the lookback or horizon, at most 48."""
    return max(1, min(lookback, horizon, 2 * MAX_SEGMENT_LENGTH) // 2)


def _network(experiment: Experiment) -> NetworkSettings:
    """Fill in the kind of network, its size, and its dropout before the output layer."""
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
        or (default_segment_length(task.lookback, task.horizon) if segmented else 0),
        dense_dropout=dropout if dropout >= 0 else SEGMENTS_DROPOUT if segmented else 0.0,
    )


def _training(experiment: Experiment, train: Sequences) -> TrainingSettings:
    """Fill in batch size, epochs and networks from the number of training windows."""
    count = len(windows(train, experiment.task.lookback, experiment.task.horizon))
    training = experiment.training
    if not training.batch_size:
        training = replace(
            training, batch_size=int(np.clip(2 ** round(np.log2(count / 60 + 1)), 8, 128))
        )
    if not training.epochs:
        training = replace(training, epochs=int(np.clip(400_000 // (count + 1), 20, 100)))
    if not training.networks:
        usual = usual_networks(replace(experiment, training=training), count)
        training = replace(training, networks=usual)
    return training


def split(sequences: Sequences, experiment: Experiment, test: bool) -> Splits:
    """Split by time; `test=False` makes no test part."""
    if experiment.split.by not in ("auto", "time"):
        raise ConfigError("A forecast is split by time; leave split.by at auto.")
    settings = experiment.split if test else replace(experiment.split, test=0.0)
    return split_by_time(sequences, settings, horizon=_horizon(experiment, sequences))


def examined(
    train: Sequences, preparation: Preparation[Fitted], _experiment: Experiment
) -> list[Truth]:
    """Each target at every step: no covariate may tell its future."""
    own = preparation.own
    features = tuple(
        name
        for name in (*own.past, *own.known)
        if name not in own.targets and name not in train.levels
    )
    steps = np.concatenate([np.arange(*one) for one in zip(train.starts, train.stops, strict=True)])
    return [
        Truth(
            f"the target '{name}'",
            train.measured(steps, train.columns.index(name)),
            features,
            per_step=True,
            ahead=own.horizon,
            early=own.known,
        )
        for name in own.targets
        if features
    ]


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
    # The scale has an entry for every column, so it needs no names; text codes stay unscaled.
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
            "Remove it, or set preparation.constant_columns = drop."
        )
    if constant and settings.constant_columns == "drop":
        numbers = tuple(name for name in numbers if name not in constant)
        notes.append(f"Dropped columns that never change in training: {', '.join(constant)}.")
    notes += _unused_note(train, task.lookback, task.horizon)
    notes += _steady_note(train, data.target)
    never_negative = tuple(name for name in data.target if _least(train, name) >= 0)
    if task.floor == "zero":
        notes.append(_floor_note(data.target, never_negative, train.source))
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
            blend=task.blend,
            lookback=task.lookback,
            horizon=task.horizon,
            season=task.season,
        ),
    ), notes


def _unused_note(train: Sequences, lookback: int, horizon: int) -> list[str]:
    """A note about the series from which no window can be cut for training."""
    cut = windows(train, lookback, horizon)
    unused = np.flatnonzero(np.diff(cut.ends, prepend=0) == 0)
    if not len(unused) or len(unused) == len(train):  # without any window, training is refused
        return []
    shown = ", ".join(f"'{train.ids[k]}' ({train.lengths[k]} steps)" for k in unused[:3])
    more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
    return [
        f"{len(unused)} of {len(train)} series {'is' if len(unused) == 1 else 'are'} too short for "
        f"a training window of {lookback} + {horizon} steps and cannot be used: {shown}{more}"
    ]


def _steady_note(train: Sequences, targets: tuple[str, ...]) -> list[str]:
    """A note about the series whose target never changes, from which nothing is learnt."""
    columns = [train.columns.index(name) for name in targets]
    steady = [
        k
        for k, steps in enumerate(train)
        if len(steps) > 1 and (steps[:, columns] == steps[0, columns]).all(axis=0).any()
    ]
    if not steady:
        return []
    shown = ", ".join(repr(str(train.ids[k])) for k in steady[:3])
    more = f" and {len(steady) - 3} more" if len(steady) > 3 else ""
    verb = "never changes" if len(steady) == 1 else "never change"
    return [
        f"{len(steady)} of {len(train)} series {verb} in the training part: {shown}{more}. "
        "Scores on them say little"
    ]


def _least(train: Sequences, name: str) -> float:
    column = train.columns.index(name)
    return float(np.fmin.reduce([np.fmin.reduce(steps[:, column]) for steps in train]))


def _floor_note(targets: tuple[str, ...], never: tuple[str, ...], source: str) -> str:
    others = ", ".join(repr(name) for name in targets if name not in never)
    if not never:
        raise ConfigError(
            f"task.floor=zero clips forecasts at 0, but in {source} {others} is below 0 in the "
            "training part. Leave task.floor at none."
        )
    left = f"; {others} was below 0 in training and is not clipped" if others else ""
    return f"Forecasts of {', '.join(map(repr, never))} are clipped at 0{left}."


def _constant(train: Sequences, names: tuple[str, ...]) -> tuple[str, ...]:
    constant = []
    for name in names:
        column = train.columns.index(name)
        low = np.fmin.reduce([np.fmin.reduce(steps[:, column]) for steps in train])
        high = np.fmax.reduce([np.fmax.reduce(steps[:, column]) for steps in train])
        if low == high:
            constant.append(name)
    return tuple(constant)


def examples(
    sequences: Sequences, preparation: Preparation[Fitted], experiment: Experiment, role: str
) -> Examples[Windows]:
    """Windows of the sequences, at the stride of the role."""
    stride = max(1, experiment.task.stride)
    if role == "test" and experiment.evaluation.stride:
        stride = experiment.evaluation.stride
    cut = windows(sequences, preparation.own.lookback, preparation.own.horizon, stride)
    if role == "train" and not len(cut):
        raise ConfigError(
            f"The longest training sequence has {sequences.lengths.max()} steps, too few for one "
            f"example with a lookback of {cut.lookback} and a horizon of {cut.horizon}. Give more "
            "data, a smaller --lookback or --horizon, or smaller split.validation and split.test."
        )
    if role != "train" and not experiment.evaluation.stride and len(cut) > MAX_ORIGINS:
        cut = windows(
            sequences,
            preparation.own.lookback,
            preparation.own.horizon,
            -(-len(cut) * stride // MAX_ORIGINS),
        )
    examples = window_examples(cut, preparation)
    if role == "test" and sequences.filled is not None and len(cut):
        actual = truth(examples, preparation)
        if np.isnan(actual).all():
            raise DataError(
                f"{sequences.source}: no target of the scored part was measured, all were filled "
                "in (data.missing). Give rows with measured targets."
            )
    return examples


def window_examples(cut: Windows, preparation: Preparation[Fitted]) -> Examples[Windows]:
    """Inputs by name, and targets [n, horizon, targets, 1].

    Inputs are `past` [n, lookback, targets] and, if any, `covariates` [n, lookback, features],
    `future` [n, horizon, features] and `static` [n, features].
    """
    sequences = cut.sequences
    if preparation.own.calendar and sequences.times is None:
        raise DataError(
            f"{sequences.source} has no times, but the network reads "
            f"{', '.join(preparation.own.calendar)} from them. Give a table with a column of times."
        )
    centre, spread = preparation.scale.rows(sequences, cut.origins)  # [sequences, columns]
    targets = preparation.positions(preparation.own.targets)
    refuse_far(sequences, centre, spread, preparation.positions(preparation.used))
    static = _static(sequences, preparation)

    def scaled(indices: Array, start: int, stop: int, columns: Array) -> Array:
        sequence, _ = cut.places(indices)
        values = sequences.values[cut.steps(indices, start, stop)[..., None], columns]
        shifted = values - centre[sequence[:, None], columns][:, None]
        return (shifted / spread[sequence[:, None], columns][:, None]).astype(np.float32)

    def features(indices: Array, start: int, stop: int, names: tuple[str, ...]) -> Array | None:
        """Covariates and calendar features of these steps, [n, steps, features]."""
        numbers = preparation.positions(tuple(name for name in names if name in preparation.used))
        parts = [scaled(indices, start, stop, numbers)] if len(numbers) else []
        positions = cut.steps(indices, start, stop)
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

    def inputs(indices: Array, _length: int) -> dict[str, Array]:
        arrays = {
            "past": scaled(indices, -cut.lookback, 0, targets),
            "covariates": features(
                indices, -cut.lookback, 0, (*preparation.own.past, *preparation.own.known)
            ),
            "future": features(indices, 0, cut.horizon, preparation.own.known),
            "static": None if static is None else static[cut.places(indices)[0]],
        }
        return {name: array for name, array in arrays.items() if array is not None}

    def targets_of(indices: Array, _length: int = 0) -> Array:
        return scaled(indices, 0, cut.horizon, targets)[..., None]

    return Examples(cut, np.broadcast_to(cut.lookback, len(cut)), inputs, targets_of)


def _static(sequences: Sequences, preparation: Preparation[Fitted]) -> Array | None:
    """Static features [sequences, features], numbers scaled and texts one-hot; None without any."""
    parts = []
    for name in preparation.own.static:
        column = sequences.static[name]
        if name in preparation.static_scale:
            centre, spread = preparation.static_scale[name]
            scaled = (column[:, None] - centre) / spread
            if (np.abs(scaled) > FARTHEST).any():
                most = column[np.abs(scaled).argmax()]
                raise DataError(
                    f"{sequences.source}: column '{name}' holds {most:g}, but its training values "
                    f"are around {centre:.3g}. Give values of the size seen in training, in the "
                    "same unit."
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


def sizes(examples: Examples[Windows]) -> dict[str, int]:
    """The number of series, of their steps and of the windows cut from them."""
    return sizes_of(examples.source.sequences) | {"windows": len(examples)}


def shapes(_examples: Examples[Windows], preparation: Preparation[Fitted]) -> Shapes:
    """The shapes of inputs and output."""
    return fitted_shapes(preparation)


def fitted_shapes(preparation: Preparation[Fitted]) -> Shapes:
    """The shapes of the inputs of `window_examples` and of the output."""
    own = preparation.own
    targets = len(preparation.positions(own.targets))

    def width(names: tuple[str, ...], more: int = 0) -> int:
        numbers = (*preparation.used, *preparation.static_scale)
        # A column that does not change is in neither, and is not read.
        return more + sum(
            1 if name in numbers else len(preparation.categories.get(name, ())) for name in names
        )

    moment = np.zeros(1, dtype="datetime64[us]")
    calendar = calendar_features(moment, own.calendar).shape[-1] if own.calendar else 0
    widths = {
        "past": (own.lookback, targets),
        "covariates": (own.lookback, width((*own.past, *own.known), calendar)),
        "future": (own.horizon, width(own.known, calendar)),
        "static": (width(own.static),),
    }
    return Shapes(
        inputs={name: size for name, size in widths.items() if size[-1]},
        output=(own.horizon, len(own.targets), max(1, len(own.quantiles))),
    )


def calibrate(
    preparation: Preparation[Fitted], outputs: Array, examples: Examples[Windows]
) -> Preparation[Fitted]:
    """Widen or narrow each interval of the network to its coverage of the validation part."""
    own = preparation.own
    predictions = np.sort(outputs.astype(np.float64), axis=-1)
    actual = _measured(examples, np.arange(len(examples)), preparation)
    moved = margins(actual, predictions, own.quantiles)
    return replace(preparation, own=replace(own, margins=moved))


def postprocess(
    outputs: Array,
    examples: Examples[Windows],
    preparation: Preparation[Fitted],
    state: Mapping[str, Any],
) -> Array:
    """Sorted quantiles in the data's own units, [windows, horizon, targets, quantiles].

    A blend averages them with those of ridge, which `state` holds.
    """
    scaled = _of_network(outputs, preparation)
    if preparation.own.blend == "ridge":
        ridge = _of_baseline(blend.RIDGE, state, examples, preparation)
        scaled = blend.mixed(scaled, ridge, preparation.own)
    return _unscaled(scaled, examples.source, preparation)


def _of_network(outputs: Array, preparation: Preparation[Fitted]) -> Array:
    """Its calibrated quantiles on the scale of the network, sorted."""
    scaled: Array = np.sort(outputs.astype(np.float64), axis=-1)
    if preparation.own.margins:
        scaled = np.sort(scaled + np.array(preparation.own.margins)[:, None], axis=-1)
    return scaled


def choose_blend(
    preparation: Preparation[Fitted],
    outputs: Array,
    said: Mapping[str, Array],
    examples: Examples[Windows],
) -> Preparation[Fitted]:
    """Decide a blend that is "auto", and the share of ridge, by the errors on these examples.

    `said` holds the baselines' forecasts of the same examples, in the data's own units.
    """
    centre, spread = _rows(examples.source, preparation)
    ridge = (said[blend.RIDGE] - centre[..., None]) / spread[..., None]
    actual = _measured(examples, np.arange(len(examples)), preparation)
    clusters = _stretches(examples.source, np.arange(len(examples)))
    return blend.chosen(
        preparation,
        _of_network(outputs, preparation),
        ridge,
        actual,
        stretches=int(clusters.max()) + 1,
    )


def _rows(source: Windows, preparation: Preparation[Fitted]) -> tuple[Array, Array]:
    """Centre and spread of each window's targets, [windows, 1, targets]."""
    targets = preparation.positions(preparation.own.targets)
    centre, spread = preparation.scale.rows(source.sequences, source.origins)
    sequence, _ = source.places(np.arange(len(source)))
    return centre[sequence][:, None, targets], spread[sequence][:, None, targets]


def _unscaled(scaled: Array, source: Windows, preparation: Preparation[Fitted]) -> Array:
    """Predictions in the data's own units. Network and baselines share the floor, for fairness."""
    centre, spread = _rows(source, preparation)
    predictions: Array = scaled * spread[..., None] + centre[..., None]
    if preparation.own.floor == "zero":
        floored = [name in preparation.own.never_negative for name in preparation.own.targets]
        predictions[:, :, floored] = np.maximum(predictions[:, :, floored], 0.0)
    return predictions


def point(predictions: Array, preparation: Preparation[Fitted]) -> Array:
    """The median, or the only forecast, [windows, horizon, targets]."""
    return predictions[..., quantiles.middle(preparation.own.quantiles)]


def truth(examples: Examples[Windows], preparation: Preparation[Fitted]) -> Array:
    """The true values in the data's own units, [windows, horizon, targets]; NaN: not measured."""
    source = examples.source
    steps = source.steps(np.arange(len(source)), 0, source.horizon)
    targets = preparation.positions(preparation.own.targets)
    return source.sequences.measured(steps[..., None], targets)


def _measured(
    examples: Examples[Windows], indices: Array, preparation: Preparation[Fitted]
) -> Array:
    """Scaled truth of these windows, [windows, horizon, targets]; NaN where it was filled in.

    A step of the horizon that was measured in no window keeps its filled-in values.
    """
    source, actual = examples.source, np.asarray(examples.targets(indices)[..., 0])
    if source.sequences.filled is None:
        return actual
    steps, targets = (
        source.steps(indices, 0, source.horizon),
        preparation.positions(preparation.own.targets),
    )
    filled = source.sequences.filled[steps[..., None], targets]
    return np.where(filled & ~filled.all(axis=0), np.nan, actual)


def _filled(source: Windows, preparation: Preparation[Fitted]) -> int:
    """The number of true values that data.missing or data.gaps filled in."""
    if source.sequences.filled is None:
        return 0
    steps = np.unique(source.steps(np.arange(len(source)), 0, source.horizon))
    targets = preparation.positions(preparation.own.targets)
    return int(source.sequences.filled[steps[:, None], targets].sum())


def _mean(cells: Array, axis: tuple[int, ...] | None = None) -> Array:
    """The mean over the known cells; NaN if no cell is known."""
    known = ~np.isnan(cells)
    counts = known.sum(axis=axis)
    sums = np.where(known, cells, 0.0).sum(axis=axis)
    return np.where(counts == 0, np.nan, sums / np.maximum(counts, 1))


def _history(
    examples: Examples[Windows],
    preparation: Preparation[Fitted],
    indices: Array,
    back: Array | None = None,
) -> Array:
    """The scaled values `back` steps before each origin, [windows, back, targets].

    By default, the steps of the lookback in order. The first value of a series replaces the steps
    before its start.
    """
    source = examples.source
    sequence, origins = source.places(indices)
    back = np.arange(preparation.own.lookback, 0, -1) if back is None else back
    steps = np.maximum(origins[:, None] - back, source.sequences.first[sequence][:, None])
    targets = preparation.positions(preparation.own.targets)
    centre, spread = preparation.scale.rows(source.sequences, source.origins)
    values = source.sequences.values[steps[..., None], targets]
    past: Array = (values - centre[sequence][:, None, targets]) / spread[sequence][:, None, targets]
    return past


def _sample(examples: Examples[Windows], most: int) -> Array:
    """At most `most` evenly spaced indices of examples."""
    return np.unique(np.linspace(0, len(examples) - 1, min(most, len(examples))).astype(np.int64))


def fit_baselines(
    train: Examples[Windows], valid: Examples[Windows] | None, preparation: Preparation[Fitted]
) -> dict[str, Any]:
    """The ridge coefficients, and each baseline's error quantiles for every step.

    The errors are those on the validation part (on the training part if there is none), so the
    baselines' quantiles are calibrated on the same data as the network's.
    """
    held = valid if valid is not None and len(valid) >= 20 else train
    rows, checks = _sample(train, RIDGE_WINDOWS), _sample(held, 2000)
    fitted = fit_ridge(
        _history(train, preparation, rows),
        train.targets(rows)[..., 0],
        train.inputs(rows, 0).get("future"),
        valid=(
            _history(held, preparation, checks),
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
        if 0.5 in levels:  # the median stays the point forecast
            offsets = offsets - offsets[..., [levels.index(0.5)]]
        state["offsets"][name] = offsets.tolist()
    return state


def _rules(state: Mapping[str, Any], preparation: Preparation[Fitted]) -> dict[str, Rule]:
    """Point forecasts of the baselines on the scale of the network, [windows, horizon, targets]."""
    horizon, season = preparation.own.horizon, preparation.own.season
    fitted = Ridge(
        np.array(state["ridge"]["coefficients"]),
        np.array(state["ridge"]["intercept"]),
        state["penalty"],
    )

    def past(examples: Examples[Windows], indices: Array) -> Array:
        return _history(examples, preparation, indices)

    rules: dict[str, Rule] = {
        "repeat last": lambda examples, indices: naive.repeat_last(
            past(examples, indices), horizon
        ),
        "drift": lambda examples, indices: naive.drift(past(examples, indices), horizon),
        blend.RIDGE: lambda examples, indices: ridge(
            fitted, past(examples, indices), examples.inputs(indices, 0).get("future")
        ),
    }
    if season > 1:
        # Only the steps that are repeated are read, because a season may be long.
        rules[f"seasonal naive ({season})"] = lambda examples, indices: _history(
            examples, preparation, indices, naive.seasonal_steps(horizon, season)
        )
    return rules


def make_baselines(
    state: Mapping[str, Any], preparation: Preparation[Fitted], _train: Examples[Windows] | None
) -> list[Baseline[Windows, Array]]:
    """The baselines: repeat last, drift, ridge on the window, seasonal naive."""

    def baseline(name: str) -> Baseline[Windows, Array]:
        def predict(examples: Examples[Windows]) -> Array:
            scaled = _of_baseline(name, state, examples, preparation)
            return _unscaled(scaled, examples.source, preparation)

        return Baseline(name, predict)

    return [baseline(name) for name in _rules(state, preparation)]


def _of_baseline(
    name: str,
    state: Mapping[str, Any],
    examples: Examples[Windows],
    preparation: Preparation[Fitted],
) -> Array:
    """Its quantiles on the scale of the network, [windows, horizon, targets, quantiles]."""
    rule, offsets = _rules(state, preparation)[name], np.array(state["offsets"][name])
    pieces = [
        rule(examples, indices)[..., None] + offsets
        for indices in np.array_split(np.arange(len(examples)), -(-len(examples) // 4096))
    ]
    return np.concatenate(pieces)


def _mase_scale(examples: Examples[Windows], preparation: Preparation[Fitted]) -> Array:
    """In-sample error of the seasonal naive forecast up to the first origin, [windows, 1, targets].

    MASE divides by it.
    """
    source = examples.source
    sequences, targets = source.sequences, preparation.positions(preparation.own.targets)
    scales = np.array(
        [
            [
                metrics.seasonal_scale(
                    sequences.measured(np.arange(first, start), column), preparation.own.season
                )
                for column in targets
            ]
            for first, start in zip(sequences.first, source.origins, strict=True)
        ]
    )
    sequence, _ = source.places(np.arange(len(source)))
    return scales[sequence][:, None]


def score(
    predictions: Array,
    examples: Examples[Windows],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> dict[str, float]:
    """MAE, RMSE, MSE, MASE, sMAPE and, with quantiles, WQL and the widest interval's coverage."""
    actual = truth(examples, preparation)
    scale = _mase_scale(examples, preparation)
    if experiment.evaluation.scaled:
        centre, spread = _rows(examples.source, preparation)
        actual = (actual - centre) / spread
        predictions = (predictions - centre[..., None]) / spread[..., None]
        scale = scale / spread
    known = ~np.isnan(actual)
    scale = np.broadcast_to(scale, actual.shape)[known]
    actual, predictions = actual[known], predictions[known]  # [cells], [cells, quantiles]
    middle = point(predictions, preparation)
    scores = {
        "mae": metrics.mae(actual, middle),
        "rmse": metrics.rmse(actual, middle),
        "mse": metrics.mse(actual, middle),
        "mase": metrics.mase(actual, middle, scale),
        "smape": metrics.smape(actual, middle),
    }
    if preparation.own.quantiles:
        scores["wql"] = metrics.wql(actual, predictions, preparation.own.quantiles)
    if len(preparation.own.quantiles) > 1:
        scores["coverage"] = metrics.coverage(actual, predictions[..., 0], predictions[..., -1])
    return scores


def measures(
    examples: Examples[Windows], preparation: Preparation[Fitted], experiment: Experiment
) -> list[Measure[Array]]:
    """Errors of each origin; the origins of one horizon form a cluster.

    Errors of several series or targets are scaled, so that the largest series does not dominate.
    """
    source = examples.source
    actual = truth(examples, preparation)
    _, spread = _rows(source, preparation)
    scaled = (
        experiment.evaluation.scaled
        or len(source.sequences) > 1
        or len(preparation.own.targets) > 1
    )
    size = spread if scaled else np.ones_like(spread)
    prefix = metrics.SCALED if scaled and not experiment.evaluation.scaled else ""

    def absolute(predictions: Array) -> Array:
        return np.asarray(np.abs((actual - point(predictions, preparation)) / size))

    def squared(predictions: Array) -> Array:
        return np.asarray(np.square((actual - point(predictions, preparation)) / size))

    def quantile(predictions: Array) -> Array:
        scaled_truth, scaled_predictions = actual / size, predictions / size[..., None]
        return metrics.quantile_loss(scaled_truth, scaled_predictions, preparation.own.quantiles)

    cells = {"mae": absolute, "mse": squared}
    if preparation.own.quantiles:
        cells["quantile loss"] = quantile
    return [_measure(f"{prefix}{name}", each, examples, actual) for name, each in cells.items()]


def _measure(
    name: str, each: Callable[[Array], Array], examples: Examples[Windows], actual: Array
) -> Measure[Array]:
    """The mean of `each(predictions)` [windows, horizon, targets] over cells with known truth.

    Windows without such cells are left out, so that no cluster is empty.
    """
    source = examples.source
    known = ~np.isnan(actual)
    counts = known.sum(axis=(1, 2))
    scored = np.flatnonzero(counts)

    def statistics(predictions: Array) -> Array:
        sums = np.where(known, each(predictions), 0.0).sum(axis=(1, 2))
        return np.stack([sums, counts], axis=1)[scored]

    clusters = _stretches(source, scored)
    return Measure(name, statistics, lambda sums: sums[..., 0] / sums[..., 1], clusters)


def _stretches(source: Windows, indices: Array) -> Array:
    """The number of the stretch of one horizon in which each window begins, [windows]."""
    sequence, origins = source.places(indices)
    stretch = (origins - source.origins[sequence]) // source.horizon
    _, numbers = np.unique(np.stack([sequence, stretch]), axis=1, return_inverse=True)
    return np.asarray(numbers)


def promises(examples: Examples[Windows], preparation: Preparation[Fitted]) -> list[Promise[Array]]:
    """The nominal and the measured coverage of the outermost band of quantiles."""
    levels = preparation.own.quantiles
    actual = truth(examples, preparation)

    def inside(predictions: Array) -> Array:
        return np.asarray((predictions[..., 0] <= actual) & (actual <= predictions[..., -1]))

    return [
        Promise(
            f"band from {levels[low]:.3g} to {levels[high]:.3g}",
            levels[high] - levels[low],
            _measure("coverage", inside, examples, actual),
        )
        for low, high in quantiles.bands(levels)[:1]
    ]


def details(
    by_model: dict[str, Array],
    examples: Examples[Windows],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> dict[str, Any]:
    """Errors by step and by series, coverage by interval, and example forecasts.

    `by_model` holds the predictions of the network, of a blend and of the baselines.
    """
    actual = truth(examples, preparation)
    errors = {
        model: np.abs(actual - point(predicted, preparation))
        for model, predicted in by_model.items()
    }
    name = blend.model_name(preparation)
    predictions = by_model[name]
    levels = preparation.own.quantiles
    known = ~np.isnan(actual)
    source = examples.source
    return {
        "season": preparation.own.season,
        "horizon": preparation.own.horizon,
        "lookback": preparation.own.lookback,
        "quantiles": list(levels),
        "targets": list(preparation.own.targets),
        "origins": len(examples),
        "filled": _filled(source, preparation),
        "by_horizon": {"step": list(range(1, preparation.own.horizon + 1))}
        | {model: _mean(error, axis=(0, 2)).tolist() for model, error in errors.items()},
        "share": preparation.own.share if preparation.own.blend == "ridge" else 0.0,
        "by_series": _by_series(errors, examples, preparation),
        "coverage": quantiles.coverage_of_bands(actual[known], predictions[known], levels),
        "examples": _shown(
            predictions, errors[name], examples, preparation, experiment.report.examples
        ),
    }


def _by_series(
    errors: dict[str, Array], examples: Examples[Windows], preparation: Preparation[Fitted]
) -> dict[str, Any]:
    """Mean absolute error of each series and target, or of the 30 worst ones."""
    source = examples.source
    sequence, _ = source.places(np.arange(len(source)))
    errors_by_label = {}
    for k in np.unique(sequence):
        for column, target in enumerate(preparation.own.targets):
            sequence_id, several = str(source.sequences.ids[k]), len(preparation.own.targets) > 1
            label = (
                target
                if len(source.sequences) == 1
                else f"{sequence_id} {target}"
                if several
                else sequence_id
            )
            errors_by_label[label] = {
                name: float(_mean(error[sequence == k][..., column]))
                for name, error in errors.items()
            }
    worst_first = sorted(errors_by_label.items(), key=lambda item: -next(iter(item[1].values())))
    return dict(worst_first[:30]) if len(errors_by_label) > 1 else {}


def _shown(
    predictions: Array,
    error: Array,
    examples: Examples[Windows],
    preparation: Preparation[Fitted],
    count: int,
) -> list[dict[str, Any]]:
    """Example forecasts from the best to the worst, each with its past."""
    source = examples.source
    _, spread = _rows(source, preparation)
    flat = _mean(error / spread, axis=(1,))  # [windows, targets]
    order = np.argsort(flat, axis=None)[: np.isfinite(flat).sum()]  # NaN come last
    ranks = np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)
    sequences, shown = source.sequences, []
    for rank in ranks:
        window, target = np.unravel_index(order[rank], flat.shape)
        sequence, origins = source.places(np.array([window]))
        start = max(int(origins[0]) - 2 * source.horizon, int(origins[0]) - source.lookback)
        column = preparation.columns.index(preparation.own.targets[target])
        stop = int(origins[0]) + source.horizon
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
                    str(level): predictions[window, :, target, q].tolist()
                    for q, level in enumerate(preparation.own.quantiles or (0.5,))
                },
                "error": float(_mean(error[window, :, target])),
                "kind": "best" if rank == 0 else "worst" if rank == len(order) - 1 else "typical",
            }
        )
    return shown


def table(
    predictions: Array,
    examples: Examples[Windows],
    preparation: Preparation[Fitted],
    indices: Array,
) -> pl.DataFrame:
    """One row per forecast step: id, origin, time or step, target, quantiles, truth if known."""
    source = examples.source
    sequences = source.sequences
    sequence, origins = source.places(indices)
    steps = source.steps(indices, 0, source.horizon)  # [windows, horizon]
    targets = preparation.positions(preparation.own.targets)
    actual = sequences.measured(steps[..., None], targets)  # [windows, horizon, targets]
    first = sequences.first[sequence]
    columns: dict[str, Array] = {"id": sequences.ids[sequence][:, None, None]}
    if sequences.times is not None:
        columns["origin"] = in_zone(sequences.times[origins - 1], sequences.zone)[:, None, None]
        columns["time"] = in_zone(sequences.times[steps], sequences.zone)[..., None]
    else:
        columns["origin"] = (origins - first)[:, None, None]
        columns["step"] = (steps - first[:, None] + 1)[..., None]
    columns["target"] = np.array(preparation.own.targets)[None, None]
    for q, level in enumerate(preparation.own.quantiles or (None,)):
        columns["forecast" if level is None else f"q{level:g}"] = predictions[indices][..., q]
    if np.isfinite(actual).any():
        columns["truth"] = actual
    flat = {name: np.broadcast_to(column, actual.shape).ravel() for name, column in columns.items()}
    frame = pl.DataFrame(flat)
    return frame.with_columns(pl.col("truth").fill_nan(None)) if "truth" in flat else frame


def schema(preparation: Preparation[Fitted], experiment: Experiment) -> dict[str, Any]:
    """The columns of `table` for new data."""
    times = {"origin": pl.Datetime, "time": pl.Datetime}
    steps = {"origin": pl.Int64, "step": pl.Int64}
    levels = [f"q{level:g}" for level in preparation.own.quantiles] or ["forecast"]
    named = experiment.data.layout == "wide" and preparation.step  # times name the columns
    where = times if experiment.data.time or named else steps
    return {"id": pl.String} | where | {"target": pl.String} | dict.fromkeys(levels, pl.Float64)


def prediction_inputs(sequences: Sequences, preparation: Preparation[Fitted]) -> Sequences:
    """Append the steps to forecast to each series; the part covers those steps.

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
                f"but the lookback is {preparation.own.lookback}. Give more of its past."
            )
        future = np.full((horizon, steps.shape[1]), np.nan)
        available = min(horizon, len(steps) - now)
        future[:available] = steps[now : now + available]
        known = preparation.positions(preparation.own.known)
        if len(known) and not np.isfinite(future[:, known]).all():
            raise DataError(
                f"{sequences.source}: sequence '{sequences.ids[k]}' needs {horizon} rows after its "
                f"last target with {', '.join(preparation.own.known)} filled in (they are known "
                f"ahead), but has {available}."
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


def remarks(predictions: Array, preparation: Preparation[Fitted]) -> list[str]:
    """A note on forecasts below 0 of targets that were never negative in training."""
    notes = []
    for column, name in enumerate(preparation.own.targets):
        below = (predictions[:, :, column] < 0).any(axis=-1)
        if name in preparation.own.never_negative and below.any():
            notes.append(
                f"{below.sum()} of {below.size} forecasts of '{name}' reach below 0, but it never "
                "did in training. If it cannot be negative, train with task.floor=zero."
            )
    return notes


def with_truth(
    sequences: Sequences, preparation: Preparation[Fitted]
) -> tuple[Sequences, list[str]]:
    """Cut each series after its last known target; a note counts the windows left out.

    Raises:
        DataError: every window reaches past the last known target, or no series is long enough
            for a window.
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
            f"{sequences.source}: no forecast can be scored, because each of {whole} windows "
            f"reaches past the last known '{preparation.own.targets[0]}'. Give at least "
            f"{sum(size)} steps with known values (the lookback and the horizon), or use "
            "predict."
        )
    if not whole:
        raise DataError(
            f"{sequences.source}: the longest sequence has {sequences.lengths.max()} steps, but "
            f"one forecast with its truth needs {size[0]} + {size[1]} (the lookback and the "
            "horizon). Give longer sequences."
        )
    if whole == left:
        return known, []
    return known, [
        f"{whole - left} of {whole} windows reach past the last known "
        f"'{preparation.own.targets[0]}' and are not scored"
    ]


def units(experiment: Experiment) -> str:
    """The units of the errors: scaled, or those of the target."""
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
    space=space,
    prepare=prepare,
    examined=examined,
    examples=examples,
    sizes=sizes,
    shapes=shapes,
    fitted_shapes=fitted_shapes,
    calibrate=calibrate,
    choose=choose_blend,
    model_name=blend.model_name,
    quick=blend.quick,
    postprocess=postprocess,
    fit_baselines=fit_baselines,
    baselines=make_baselines,
    more_baselines=smoothing_baselines,
    metrics=score,
    measures=measures,
    details=details,
    table=table,
    schema=schema,
    prediction_inputs=prediction_inputs,
    promises=promises,
    with_truth=with_truth,
    target="target",
    units=units,
    remarks=remarks,
    estimator="Forecaster",
    backtest=stretch,
    sanity=Sanity("", "mae"),
    seeds=True,
)
