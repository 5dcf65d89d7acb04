"""detect: the anomalies of one or many series of numbers.

An LSTM predicts the values of each step from the steps before it. The score of a step is how far
its values are from the prediction, in units of the network's own errors on normal steps that it was
not trained on (`scoring.py`). A score uses the past alone, so a stream and a whole series
agree.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gatewise.data import steps
from gatewise.data.batches import Examples
from gatewise.data.calendar import chosen_calendar
from gatewise.data.preparation import Preparation
from gatewise.data.seasons import chosen_season
from gatewise.data.sequences import Array, Sequences
from gatewise.data.splits import Splits, split_by_time
from gatewise.errors import ConfigError, DataError
from gatewise.settings import Experiment, TrainingSettings, names
from gatewise.tasks import defaults
from gatewise.tasks.detect import reading
from gatewise.tasks.detect.baselines import (
    fit_baselines,
    in_own_units,
    make_baselines,
    more_baselines,
)
from gatewise.tasks.detect.details import details
from gatewise.tasks.detect.examples import (
    MOST_WINDOWS,
    Scored,
    examples,
    fitted_shapes,
    shapes,
    sizes,
    values,
)
from gatewise.tasks.detect.fitted import Fitted
from gatewise.tasks.detect.measures import measures, score
from gatewise.tasks.detect.scoring import judged, refuse_uncalibrated, scores_of, yardstick_of
from gatewise.tasks.detect.space import space
from gatewise.tasks.detect.table import schema, table
from gatewise.tasks.task import Task

SETTINGS = steps.SETTINGS - names(data="group") | names(
    data="label target past known",
    preparation="calendar",
    task="horizon lookback season false_alarms",
    training="loss max_tokens",
)
HORIZON = 8  # steps; the default of task.horizon
LEAST_LOOKBACK, LONGEST_SEASON = 24, 200  # steps


def resolve(
    experiment: Experiment, sequences: Sequences, train: Sequences
) -> tuple[Experiment, list[str]]:
    """Fill in season, lookback, network and training, with a note for each guess."""
    notes = []
    task, shortest = experiment.task, int(np.median(train.lengths))
    if not 0 < task.false_alarms < 1:
        raise ConfigError(
            "task.false_alarms is a share of normal steps, between 0 and 1, such as 0.001. "
            f"Received: {task.false_alarms:g}."
        )
    if not task.season:
        season, note = chosen_season(train, sequences.columns[0], shortest)
        task = replace(task, season=season)
        notes.append(note)
    if not task.lookback:
        season = task.season if task.season <= LONGEST_SEASON else 0
        task = replace(task, lookback=min(max(season, LEAST_LOOKBACK), max(1, (shortest - 1) // 4)))
        notes.append(
            f"The lookback was not given. The default is {task.lookback} steps (a season of at "
            f"most {LONGEST_SEASON} steps, at least {LEAST_LOOKBACK}, at most a quarter of the "
            "median series)."
        )
    task = replace(task, horizon=task.horizon or min(HORIZON, max(1, task.lookback // 2)))
    if task.horizon > task.lookback:
        raise ConfigError(
            "task.horizon is how many steps ahead each step is predicted at most, so it is "
            f"no more than the lookback of {task.lookback}. Received: {task.horizon}."
        )
    experiment = replace(experiment, task=task)
    given = experiment.network
    network = replace(
        given,
        kind="stack" if given.kind == "auto" else given.kind,
        units=given.units or defaults.UNITS,
        dense_dropout=max(0.0, given.dense_dropout),
    )
    steps_in = int(np.maximum(0, train.lengths - task.lookback).sum())
    count = min(steps_in, MOST_WINDOWS)
    if count < steps_in:
        notes.append(
            f"{MOST_WINDOWS:,} of {steps_in:,} training steps are predicted in each epoch, spread "
            "evenly."
        )
    training = _training(experiment.training, count)
    return replace(experiment, network=network, training=training), notes


def _training(settings: TrainingSettings, count: int) -> TrainingSettings:
    """Fill in batch size and epochs, and train on the training part alone, judged by the loss.

    Raises:
        ConfigError: another monitor is asked for, or a training on everything.
    """
    if settings.monitor not in ("auto", "loss"):
        raise ConfigError(
            "training.monitor can only be loss, because the validation part has no anomalies. "
            f"Leave it out. Received: {settings.monitor!r}."
        )
    if settings.refit == "yes":
        raise ConfigError(
            "training.refit = yes would train on the validation part, but the threshold of alarms "
            "follows from errors on steps that the network was not trained on. Leave it out."
        )
    return replace(defaults.of_windows(settings, count), monitor="loss", refit="no")


def split(sequences: Sequences, experiment: Experiment, test: bool) -> Splits:
    """Split each series by time.

    Raises:
        ConfigError: another split is asked for, or there is no validation part.
    """
    if experiment.split.by not in ("auto", "time"):
        raise ConfigError("A series is split by time; leave split.by at auto.")
    if not experiment.split.validation and not experiment.data.validation:
        raise ConfigError(
            "detect needs a validation part, because the threshold of alarms follows from it. Set "
            "split.validation or data.validation."
        )
    settings = experiment.split if test else replace(experiment.split, test=0.0)
    return split_by_time(sequences, settings, horizon=1)


def prepare(train: Sequences, experiment: Experiment) -> tuple[Preparation[Fitted], list[str]]:
    """Fit columns, scale and calendar on the normal steps of the training part."""
    task, settings = experiment.task, experiment.preparation
    if settings.scale_by == "auto" and len(train) > 1:
        settings = replace(settings, scale_by="series")
    used, scale, notes = steps.fit_steps(_normal(train), settings)
    return Preparation(
        task=reading.NAME,
        columns=train.columns,
        used=used,
        scale=scale,
        step=train.step,
        own=Fitted(
            lookback=task.lookback,
            distances=task.horizon.bit_length(),
            season=task.season,
            calendar=chosen_calendar(train, settings.calendar),
            false_alarms=task.false_alarms,
        ),
    ), notes


def _normal(train: Sequences) -> Sequences:
    """The same with marked anomalies as empty cells.

    Raises:
        DataError: each step is marked.
    """
    if train.marks is None:
        return train
    pairs = zip(train.starts, train.stops, strict=True)
    marked = np.concatenate([train.marks[a:b] == 1 for a, b in pairs])
    if marked.all():
        raise DataError(
            f"{train.source}: each step of the training part is a marked anomaly, so nothing "
            "normal can be learned. Label normal steps with 0 or no, or give more data."
        )
    cells = np.where((train.marks == 1)[:, None], np.nan, train.values)
    return replace(train, values=cells)


def calibrate(
    preparation: Preparation[Fitted], outputs: Array, examples: Examples[Scored]
) -> Preparation[Fitted]:
    """The yardstick of the network's errors on the normal steps of the validation part."""
    own = preparation.own
    errors = _errors(outputs, examples, preparation)
    return replace(preparation, own=replace(own, yardstick=yardstick_of(errors, own.false_alarms)))


def postprocess(
    outputs: Array,
    examples: Examples[Scored],
    preparation: Preparation[Fitted],
    _state: Mapping[str, Any],
) -> Array:
    """Score, p-value, alarm and expected values of each step, [steps, 3 + columns]."""
    yardstick, count = preparation.own.yardstick, len(preparation.used)
    scores = scores_of(_errors(outputs, examples, preparation), yardstick)
    expected = outputs[:, 0].astype(np.float64)
    if yardstick.centre:
        expected = expected + np.array(yardstick.centre)[:count]
    return judged(scores, yardstick, in_own_units(expected, examples.source, preparation))


def _errors(outputs: Array, examples: Examples[Scored], preparation: Preparation[Fitted]) -> Array:
    """The scaled errors of outputs [steps, distances, columns], [steps, distances * columns]."""
    truth = values(examples.source, preparation)
    errors = truth[:, None] - outputs.astype(np.float64)
    return errors.reshape(len(errors), -1)


def prediction_inputs(sequences: Sequences, preparation: Preparation[Fitted]) -> Sequences:
    """The new sequences, which must be longer than the lookback.

    Raises:
        DataError: a sequence is too short to be scored.
        ArtefactError: the run has no threshold.
    """
    refuse_uncalibrated(preparation.own.yardstick)
    short = np.flatnonzero(sequences.lengths <= preparation.own.lookback)
    if len(short):
        k = int(short[0])
        raise DataError(
            f"{sequences.source}: sequence '{sequences.ids[k]}' has {sequences.lengths[k]} steps, "
            f"but a score needs {preparation.own.lookback} steps (the lookback) and the one to "
            "score. Give more of its past."
        )
    return sequences


def with_truth(
    sequences: Sequences, preparation: Preparation[Fitted]
) -> tuple[Sequences, list[str]]:
    """Return the sequences unchanged, because steps without a label are not scored.

    Raises:
        ArtefactError: the run has no threshold.
    """
    refuse_uncalibrated(preparation.own.yardstick)
    return sequences, []


TASK = Task(
    name=reading.NAME,
    settings={"numbers": SETTINGS},
    fitted=Fitted,
    recognise=reading.RECOGNISE,
    proposed=reading.proposed,
    read=reading.read,
    split=split,
    resolve=resolve,
    space=space,
    prepare=prepare,
    examples=examples,
    sizes=sizes,
    shapes=shapes,
    fitted_shapes=fitted_shapes,
    calibrate=calibrate,
    postprocess=postprocess,
    fit_baselines=fit_baselines,
    baselines=make_baselines,
    more_baselines=more_baselines,
    metrics=score,
    measures=measures,
    details=details,
    table=table,
    schema=schema,
    prediction_inputs=prediction_inputs,
    with_truth=with_truth,
    estimator="Detector",
)
