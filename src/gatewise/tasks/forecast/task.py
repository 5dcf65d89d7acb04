"""forecast: the next values of one or many series.

The network reads a window of the past and predicts all steps of the horizon at once, one value for
each quantile. The evaluation uses a rolling origin over the test part; `split.folds` trains again
on the way.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gatewise.data.batches import Examples, Shapes
from gatewise.data.calendar import chosen_calendar
from gatewise.data.preparation import Preparation, seen_categories
from gatewise.data.scaling import fit_scale
from gatewise.data.seasons import chosen_season, usual_horizon
from gatewise.data.sequences import Array, Sequences
from gatewise.data.splits import Splits, split_by_time
from gatewise.data.windows import Windows, phased, windows
from gatewise.errors import ConfigError, DataError
from gatewise.settings import Experiment, NetworkSettings, TrainingSettings, names
from gatewise.tasks import defaults, quantiles
from gatewise.tasks.forecast import blend, logarithms, reading
from gatewise.tasks.forecast.backtest import stretch
from gatewise.tasks.forecast.baselines import (
    fit_baselines,
    make_baselines,
    naive_names,
    of_baseline,
)
from gatewise.tasks.forecast.budget import seconds, too_slow, usual_networks
from gatewise.tasks.forecast.details import details
from gatewise.tasks.forecast.fitted import Fitted
from gatewise.tasks.forecast.future import prediction_inputs, with_truth
from gatewise.tasks.forecast.inputs import fitted_shapes, window_examples
from gatewise.tasks.forecast.intervals import margins
from gatewise.tasks.forecast.measures import measures, promises, score, stretches
from gatewise.tasks.forecast.notes import floor_note, least, remarks, steady_note, unused_note
from gatewise.tasks.forecast.smoothing import smoothing_baselines
from gatewise.tasks.forecast.space import space
from gatewise.tasks.forecast.table import schema, table
from gatewise.tasks.forecast.values import measured, of_network, scale_of, truth, unscaled
from gatewise.tasks.task import Sanity, Task, Truth, sizes_of

MAX_ORIGINS = 10_000  # most forecasts in an evaluation, unless evaluation.stride is set
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
    task = replace(task, quantiles=levels, blend=defaults.blended(experiment, "ridge").task.blend)
    shortest = int(np.median(train.lengths))
    if not task.season:
        season, note = chosen_season(train, experiment.data.target[0], shortest)
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
    experiment, more = logarithms.chosen(replace(experiment, network=_network(experiment)), train)
    notes += more
    experiment, more = _thinned(experiment, train)
    return experiment, notes + more


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
        units=network.units or (SEGMENTS_UNITS if segmented else STACK_UNITS),
        segment_length=network.segment_length
        or (default_segment_length(task.lookback, task.horizon) if segmented else 0),
        dense_dropout=dropout if dropout >= 0 else SEGMENTS_DROPOUT if segmented else 0.0,
    )


def _thinned(experiment: Experiment, train: Sequences) -> tuple[Experiment, list[str]]:
    """Fill in stride and training, with a note if not every window is trained on.

    The stride is the smallest with which one network fits into the time of the quality. It is at
    most the horizon, so that every step is forecast, and has no factor in common with the season,
    so that windows begin in each of its steps.
    """
    task = experiment.task
    every = range(1, task.horizon + 1)
    usual = [stride for stride in every if stride == phased(stride, task.season)]
    for stride in [task.stride] if task.stride else usual:
        filled = experiment.having("task", stride=stride)
        count = len(windows(train, task.lookback, task.horizon, stride))
        filled = replace(filled, training=_training(filled, count))
        if not too_slow(filled, count):
            break
    if task.stride or stride == 1:
        return filled, []
    count = len(windows(train, task.lookback, task.horizon))
    minutes = seconds(filled, count) / 60
    return filled, [
        f"One window in {stride} is used, because training on all {count:,} takes about "
        f"{minutes:.0f} minutes on two idle cores (task.stride = 1)."
    ]


def _training(experiment: Experiment, count: int) -> TrainingSettings:
    """Fill in batch size, epochs and networks from the number of training windows."""
    training = defaults.of_windows(experiment.training, count)
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
    notes += unused_note(train, task.lookback, task.horizon)
    notes += steady_note(train, data.target)
    never_negative = tuple(name for name in data.target if least(train, name) >= 0)
    if task.floor == "zero":
        notes.append(floor_note(data.target, never_negative, train.source))
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
        fewer = phased(-(-len(cut) * stride // MAX_ORIGINS), preparation.own.season)
        cut = windows(sequences, preparation.own.lookback, preparation.own.horizon, fewer)
    if role in ("test", "predict") and experiment.network.subtract == "log":
        logarithms.warn_of_floor(sequences, preparation)
    examples = window_examples(cut, preparation)
    if role == "test" and sequences.filled is not None and len(cut):
        actual = truth(examples, preparation)
        if np.isnan(actual).all():
            raise DataError(
                f"{sequences.source}: no target of the scored part was measured, all were filled "
                "in (data.missing). Give rows with measured targets."
            )
    return examples


def sizes(examples: Examples[Windows]) -> dict[str, int]:
    """The number of series, of their steps and of the windows cut from them."""
    return sizes_of(examples.source.sequences) | {"windows": len(examples)}


def shapes(_examples: Examples[Windows], preparation: Preparation[Fitted]) -> Shapes:
    """The shapes of inputs and output."""
    return fitted_shapes(preparation)


def calibrate(
    preparation: Preparation[Fitted], outputs: Array, examples: Examples[Windows]
) -> Preparation[Fitted]:
    """Widen or narrow each interval of the network to its coverage of the validation part."""
    own = preparation.own
    predictions = np.sort(outputs.astype(np.float64), axis=-1)
    actual = measured(examples, np.arange(len(examples)), preparation)
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
    scaled = of_network(outputs, preparation)
    if preparation.own.blend == "ridge":
        ridge = of_baseline(blend.RIDGE, state, examples, preparation)
        scaled = blend.mixed(scaled, ridge, preparation.own)
    return unscaled(scaled, examples.source, preparation)


def choose_blend(
    preparation: Preparation[Fitted],
    outputs: Array,
    said: Mapping[str, Array],
    examples: Examples[Windows],
) -> Preparation[Fitted]:
    """Decide a blend that is "auto", and the share of ridge, by the errors on these examples.

    `said` holds the baselines' forecasts of the same examples, in the data's own units.
    """
    centre, spread = scale_of(examples.source, preparation)
    scaled = {
        name: (said[name] - centre[..., None]) / spread[..., None]
        for name in (blend.RIDGE, *naive_names(preparation))
    }
    actual = measured(examples, np.arange(len(examples)), preparation)
    clusters = stretches(examples.source, np.arange(len(examples)))
    return blend.chosen(
        preparation,
        of_network(outputs, preparation),
        scaled.pop(blend.RIDGE),
        actual,
        naive=list(scaled.values()),
        stretches=int(clusters.max()) + 1,
    )


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
    quick=defaults.without_blend,
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
