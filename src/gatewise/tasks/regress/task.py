"""regress: a number, or several, for a sequence or for each of its steps, with quantiles.

Sequences are numbers, texts or recordings. A number at each step needs sequences of numbers.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from gatewise import metrics
from gatewise.data import sound, steps, tokens
from gatewise.data import targets as scales
from gatewise.data.batches import Examples
from gatewise.data.calendar import in_zone, kind_of_times
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import fit_scale
from gatewise.data.sequences import Array, Sequences
from gatewise.data.splits import Splits, split_by_sequence, split_by_time, split_without_copies
from gatewise.data.windows import Stretches, cut, stretches
from gatewise.errors import ConfigError, DataError
from gatewise.settings import Experiment, names
from gatewise.tasks import defaults, quantiles
from gatewise.tasks.regress import blend, reading
from gatewise.tasks.regress.baselines import fit_baselines, make_baselines, of_model
from gatewise.tasks.regress.details import details
from gatewise.tasks.regress.examples import examples, fitted_shapes, shapes, sizes
from gatewise.tasks.regress.fitted import Fitted
from gatewise.tasks.regress.rows import (
    Source,
    clusters_of,
    deviations,
    pieces,
    point,
    positions,
    quantiles_scaled,
    scaled,
    scored,
    truth,
    unscaled,
)
from gatewise.tasks.regress.space import space
from gatewise.tasks.task import (
    Folding,
    Measure,
    Promise,
    Sanity,
    Task,
    Truth,
    mean_measure,
    ratio,
)

log = logging.getLogger("gatewise")

SETTINGS = names(
    data="target target_per label group",
    split="seed test_ids folds",
    task="quantiles transform blend",
    training="networks loss max_tokens",
)
OF_NUMBERS = steps.SETTINGS | names(data="labels", task="window stride")
OF_TEXTS = tokens.SETTINGS
OF_SOUND = sound.SETTINGS | names(task="window stride")
KINDS = {"sequence": "stack", "step": "per-step"}  # the networks
STRATA = 5  # parts of the split get the same share of each fifth of the target
MIN_STRATIFIED = 50  # sequences; fewer are split at random
FEW_SEQUENCES = 10  # fewer sequences with a number at each step are split by time
MAX_WHOLE = 400  # steps; longer sequences with a number at each step are read in windows
WINDOW = 200  # steps of such a window
NEAR_ZERO = 0.01  # of the mean absolute target; nearer to zero, an error in percent explodes


def resolve(
    experiment: Experiment, sequences: Sequences, train: Sequences
) -> tuple[Experiment, list[str]]:
    """Fill in quantiles, windows, the size of the network, the batch size and the epochs."""
    experiment = blend.resolved(experiment)
    levels, notes = quantiles.resolved(experiment)
    per, network = experiment.data.target_per, experiment.network
    if network.kind not in ("auto", KINDS[per]) and network.kind in KINDS.values():
        raise ConfigError(
            f"network.kind = {network.kind} does not fit, because a number is predicted for each "
            f"{per}. Leave network.kind at auto, or set data.target_per."
        )
    kind = KINDS[per] if network.kind == "auto" else network.kind
    network = replace(defaults.network(network, sequences.kind), kind=kind)
    if per == "step":  # its network has nothing to pool or to summarise
        given = experiment.network
        network = replace(network, pooling=given.pooling, summary_features=given.summary_features)
    experiment = replace(experiment, network=network)
    experiment = experiment.having("task", quantiles=levels)
    experiment, more = _windowed(experiment, sequences)
    notes += more
    if per == "step" and experiment.split.by == "auto" and _by_time(sequences):
        notes.append(
            f"each sequence is split by time, because there are fewer than {FEW_SEQUENCES} "
            "(split.by = random keeps whole sequences apart)"
        )
    if sequences.kind == "sound":
        return sound.resolved(experiment, sequences), notes
    if sequences.kind == "text":
        experiment, more = tokens.resolved(experiment, train)
        notes += more
    count = len(_pieces(sequences, experiment))
    characters = experiment.preparation.tokenizer == "characters"
    kind = "characters" if characters else sequences.kind
    training = defaults.training(experiment.training, count, kind)
    return replace(experiment, training=training), notes


def _windowed(experiment: Experiment, sequences: Sequences) -> tuple[Experiment, list[str]]:
    """Fill in window and stride; long sequences with a number at each step get a window."""
    task, notes = experiment.task, []
    if experiment.data.target_per == "step":
        if not task.window and sequences.lengths.max() > MAX_WHOLE:
            task = replace(task, window=WINDOW)
            notes.append(
                f"sequences have up to {sequences.lengths.max():,} steps, so they are read in "
                f"windows of {WINDOW} (task.window)"
            )
        if task.window:
            # Half of a window is context, so that no number depends on a few steps only.
            task = replace(task, stride=task.stride or max(1, task.window // 2))
        if task.stride > task.window > 0:
            raise ConfigError(
                f"task.stride = {task.stride} is longer than task.window = {task.window}, so "
                "some steps would have no prediction. Set a smaller stride."
            )
    elif task.window:
        task = replace(task, stride=task.stride or task.window)
    return replace(experiment, task=task), notes


def _by_time(sequences: Sequences) -> bool:
    return sequences.groups is None and len(sequences) < FEW_SEQUENCES


def _pieces(sequences: Sequences, experiment: Experiment) -> Sequences:
    """The sequences, or the windows of them, that the network reads."""
    task = experiment.task
    if experiment.data.target_per == "step":
        return stretches(sequences, task.window, task.stride).read
    return cut(sequences, task.window, task.stride or task.window) if task.window else sequences


def split(sequences: Sequences, experiment: Experiment, test: bool) -> Splits:
    """Split by group, by time if few sequences have a number at each step, or by sequence.

    By sequence, each part gets the same share of low and high targets.
    """
    settings, per = experiment.split, experiment.data.target_per
    if settings.by == "label":
        raise ConfigError(
            "split.by = label needs labels, but these are numbers. Leave split.by at auto, which "
            "gives each part low and high ones."
        )
    if per == "step":
        if settings.by == "time" or (settings.by == "auto" and _by_time(sequences)):
            sizes = settings if test else replace(settings, test=0.0)
            return split_by_time(sequences, sizes, horizon=1)
        return split_by_sequence(sequences, settings, test=test)
    strata = _strata(sequences, experiment)
    splits = split_without_copies(replace(sequences, labels=strata), settings, test=test)
    return Splits(
        replace(splits.train, labels=None),
        splits.validation and replace(splits.validation, labels=None),
        splits.test and replace(splits.test, labels=None),
    )


def _strata(sequences: Sequences, experiment: Experiment) -> Array | None:
    """The fifth of the first target that each sequence is in; None if there are too few."""
    if len(sequences) < MIN_STRATIFIED or sequences.groups is not None:
        return None
    numbers = reading.truth_of(sequences, experiment.data.target)[:, 0]
    ranks = np.argsort(np.argsort(numbers, kind="stable"))
    return (ranks * STRATA // len(ranks)).astype(str)


def prepare(train: Sequences, experiment: Experiment) -> tuple[Preparation[Fitted], list[str]]:
    """Fit the scale of the targets and the preparation of the inputs on the training part."""
    own, notes = _fitted(train, experiment)
    if train.kind == "text":
        known, longest, more = tokens.fit_tokens(train, experiment.preparation)
        truncation = experiment.preparation.truncation
        return Preparation(
            task="regress",
            kind="text",
            columns=train.columns,
            used=train.columns,
            scale=fit_scale(train, "none", "all"),
            own=replace(own, vocabulary=known, max_length=longest, truncation=truncation),
            padded=True,
        ), [*notes, *more]
    if train.kind == "sound":
        spectrum, frames, scale = sound.fit_frames(train, experiment)
        return Preparation(
            task="regress",
            kind="sound",
            columns=frames.columns,
            used=frames.columns,
            scale=scale,
            own=replace(own, spectrum=spectrum),
            padded=True,
        ), notes
    features = tuple(name for name in train.columns if name not in own.names)
    used, scale, more = steps.fit_steps(train, experiment.preparation, features)
    lengths = np.unique(_pieces(train, experiment).lengths)
    return Preparation(
        task="regress",
        columns=train.columns,
        used=used,
        scale=scale,
        own=own,
        padded=len(lengths) > 1 or own.per == "step",
        step=train.step,
    ), [*notes, *more]


def _fitted(train: Sequences, experiment: Experiment) -> tuple[Fitted, list[str]]:
    """The fitted values that all kinds of data have, and notes on transforms."""
    task, data = experiment.task, experiment.data
    transform = task.transform
    if transform == "auto" and experiment.training.loss != "auto":
        transform = "none"  # the mean of a transformed target is not its transformed mean
    values = _training_targets(train, experiment)
    fitted = tuple(
        scales.fit_target(name, values[np.isfinite(values[:, k]), k], transform, train.source)
        for k, name in enumerate(data.target)
    )
    own = Fitted(
        targets=fitted,
        per=data.target_per,
        quantiles=task.quantiles,
        blend=task.blend,
        window=task.window,
        stride=task.stride,
    )
    words = {"log": "its logarithm is learned", "power": "its Yeo-Johnson transform is learned"}
    notes = [
        f"the target '{target.name}' is skewed, so {words[target.transform]} (task.transform)"
        for target in fitted
        if target.transform != "none" and transform == "auto"
    ]
    return own, notes


def examined(
    train: Sequences, preparation: Preparation[Fitted], experiment: Experiment
) -> list[Truth]:
    """Each target, which no column may reveal."""
    if train.kind != "numbers":
        return []
    features, per_step = preparation.used, experiment.data.target_per == "step"
    early = features if per_step else ()
    columns = zip(preparation.own.targets, _training_targets(train, experiment).T, strict=True)
    return [
        Truth(f"the target '{one.name}'", values, features, per_step=per_step, early=early)
        for one, values in columns
    ]


def _training_targets(train: Sequences, experiment: Experiment) -> Array:
    """The targets of the training part, [sequences or steps, targets]."""
    targets = experiment.data.target
    if experiment.data.target_per == "sequence":
        return reading.truth_of(train, targets)
    places = [train.columns.index(name) for name in targets]
    values = np.concatenate([one[:, places] for one in train]).astype(np.float64)
    if not np.isfinite(values).any(axis=0).all():
        raise DataError(
            f"{train.source}: the training part holds no value of "
            f"'{targets[int((~np.isfinite(values).any(axis=0)).argmax())]}'. Fill some in."
        )
    return values


def calibrate(
    preparation: Preparation[Fitted], outputs: Array, examples: Examples[Source]
) -> Preparation[Fitted]:
    """Widen or narrow each interval of a target to its nominal coverage of the validation part.

    With fewer than 20 predictions, the network's intervals stay unchanged.
    """
    levels, actual = preparation.own.quantiles, scaled(truth(examples, preparation), preparation)
    if len(levels) < 2 or np.isfinite(actual).all(axis=1).sum() < quantiles.MIN_CALIBRATION:
        return preparation
    predictions = np.sort(outputs.astype(np.float64), axis=-1)
    moved = quantiles.margins(actual, predictions, levels, (0,))  # [targets, quantiles]
    margins = tuple(map(tuple, moved.tolist()))
    return replace(preparation, own=replace(preparation.own, margins=margins))


def postprocess(
    outputs: Array,
    examples: Examples[Source],
    preparation: Preparation[Fitted],
    state: Mapping[str, Any],
) -> Array:
    """Sorted quantiles in the targets' own units, [rows, targets, quantiles].

    A blend averages them with those of ridge, which `state` holds.
    """
    partner = blend.partner(preparation.own)
    if not partner:
        return unscaled(of_network(outputs, preparation), preparation)
    ridge = of_model(partner, state, examples, preparation)
    return with_ridge(outputs, ridge, scored(examples.source).lengths, preparation, state)


def of_network(outputs: Array, preparation: Preparation[Fitted]) -> Array:
    """Sorted and calibrated quantiles of the network, scaled, [rows, targets, quantiles]."""
    predictions = np.sort(outputs.astype(np.float64), axis=-1)
    if preparation.own.margins:
        predictions = np.sort(predictions + np.array(preparation.own.margins), axis=-1)
    return predictions


def with_ridge(
    outputs: Array,
    ridge: Array,
    lengths: Array,
    preparation: Preparation[Fitted],
    state: Mapping[str, Any],
) -> Array:
    """The quantiles of a blend in the targets' own units; `ridge` has its own in the same units.

    Where ridge reads all steps, a sequence of another length has the network's answer: nothing is
    known about the blend there.
    """
    network = of_network(outputs, preparation)
    mean = blend.mixed(network, quantiles_scaled(ridge, preparation), preparation.own)
    if preparation.own.blend_on_steps:
        mean = np.where((lengths == state["length"])[:, None, None], mean, network)
    return unscaled(mean, preparation)


def choose_blend(
    preparation: Preparation[Fitted],
    outputs: Array,
    said: Mapping[str, Array],
    examples: Examples[Source],
) -> Preparation[Fitted]:
    """Decide a blend that is "auto", its ridge and its share, by the errors on these examples.

    `said` holds the baselines' predictions for the same examples, in the targets' own units.
    """
    names = blend.baseline_names(preparation)
    ridges = {
        model: quantiles_scaled(said[names[model]], preparation)
        for model in (blend.LINEAR, blend.STEPS)
        if names[model] in said
    }
    actual = scaled(truth(examples, preparation), preparation)
    return blend.chosen(preparation, of_network(outputs, preparation), ridges, actual)


def score(
    predictions: Array,
    examples: Examples[Source],
    preparation: Preparation[Fitted],
    _experiment: Experiment,
) -> dict[str, float]:
    """MAE, RMSE, R2, MAPE away from zero and, with quantiles, quantile loss and coverage.

    The errors of several targets are divided by their deviations in training.
    """
    actual = truth(examples, preparation)
    known = np.isfinite(actual).all(axis=1)
    actual, predictions, levels = actual[known], predictions[known], preparation.own.quantiles
    size, prefix = _units(preparation)
    middle = point(predictions, preparation)
    scores = {
        f"{prefix}mae": metrics.mae(actual / size, middle / size),
        f"{prefix}rmse": metrics.rmse(actual / size, middle / size),
        "r2": metrics.r2(actual, middle),
    }
    near = NEAR_ZERO * np.abs(actual).mean(axis=0)
    if ((actual > near).all(axis=0) | (actual < -near).all(axis=0)).all():
        scores["mape"] = metrics.mape(actual, middle)
    if len(levels) > 1:
        # A baseline may give one number, without quantiles.
        spread = bool((predictions[..., 0] < predictions[..., -1]).any())
        loss = metrics.quantile_loss(actual / size, predictions / size[:, None], levels)
        inside = metrics.coverage(actual, predictions[..., 0], predictions[..., -1])
        scores[f"{prefix}quantile loss"] = float(loss.mean()) if spread else float("nan")
        scores["coverage"] = inside if spread else float("nan")
    return scores


def _units(preparation: Preparation[Fitted]) -> tuple[Array, str]:
    """What errors are divided by, [targets], and the prefix of the names of metrics."""
    if len(preparation.own.targets) == 1:
        return np.ones(1), ""
    return deviations(preparation), metrics.SCALED


def measures(
    examples: Examples[Source], preparation: Preparation[Fitted], _experiment: Experiment
) -> list[Measure[Array]]:
    """MAE, RMSE and quantile loss; sequences of a group or steps of a sequence are a cluster."""
    actual = truth(examples, preparation)
    known = np.flatnonzero(np.isfinite(actual).all(axis=1))
    size, prefix = _units(preparation)
    actual, levels = actual[known] / size, preparation.own.quantiles
    _, clusters = np.unique(clusters_of(examples.source)[known], return_inverse=True)

    def absolute(predictions: Array) -> Array:
        middle = point(predictions, preparation)[known] / size
        return np.asarray(np.abs(actual - middle).mean(axis=1))

    def squared(predictions: Array) -> Array:
        middle = point(predictions, preparation)[known] / size
        values = np.square(actual - middle).mean(axis=1)
        return np.stack([values, np.ones_like(values)], axis=1)

    def quantile(predictions: Array) -> Array:
        some = predictions[known] / size[:, None]
        return np.asarray(metrics.quantile_loss(actual, some, levels).mean(axis=1))

    made = [
        mean_measure(f"{prefix}mae", absolute, clusters),
        Measure(f"{prefix}rmse", squared, lambda sums: np.sqrt(ratio(sums)), clusters),
    ]
    return made + [mean_measure(f"{prefix}quantile loss", quantile, clusters)] * (len(levels) > 1)


def promises(examples: Examples[Source], preparation: Preparation[Fitted]) -> list[Promise[Array]]:
    """The nominal and the measured coverage of the outermost band of quantiles."""
    levels, actual = preparation.own.quantiles, truth(examples, preparation)
    known = np.flatnonzero(np.isfinite(actual).all(axis=1))
    _, clusters = np.unique(clusters_of(examples.source)[known], return_inverse=True)

    def inside(predictions: Array) -> Array:
        some = predictions[known]
        within = (some[..., 0] <= actual[known]) & (actual[known] <= some[..., -1])
        return np.asarray(within.mean(axis=1))

    return [
        Promise(
            f"band from {levels[low]:.3g} to {levels[high]:.3g}",
            levels[high] - levels[low],
            mean_measure("coverage", inside, clusters),
        )
        for low, high in quantiles.bands(levels)[:1]
    ]


def table(
    predictions: Array,
    examples: Examples[Source],
    preparation: Preparation[Fitted],
    indices: Array,
) -> pl.DataFrame:
    """One row for each number: id, time or step, target, quantiles, and the truth if known."""
    source, targets = examples.source, preparation.own.names
    part, at = scored(source), pieces(source)
    rows = np.flatnonzero(np.isin(at, indices))
    actual = truth(examples, preparation)[rows]
    columns: dict[str, Array] = {"id": part.ids.astype(str)[at[rows]][:, None]}
    if isinstance(source, Stretches):
        where = positions(source)[rows]
        if part.times is not None:
            columns["time"] = in_zone(part.times[where], part.zone)[:, None]
        else:
            columns["step"] = (where - part.first[at[rows]] + 1)[:, None]
    columns["target"] = np.array(targets)[None]
    named = [f"q{level:g}" for level in preparation.own.quantiles] or ["prediction"]
    return quantiles.frame(
        columns, dict(zip(named, np.moveaxis(predictions[rows], -1, 0), strict=True)), actual
    )


def schema(preparation: Preparation[Fitted], experiment: Experiment) -> dict[str, Any]:
    """The columns of `table` for new data."""
    where: dict[str, Any] = {}
    if experiment.data.target_per == "step":
        where = (
            {"time": kind_of_times(preparation.step)}
            if experiment.data.time
            else {"step": pl.Int64}
        )
    levels = [f"q{level:g}" for level in preparation.own.quantiles] or ["prediction"]
    return {"id": pl.String} | where | {"target": pl.String} | dict.fromkeys(levels, pl.Float64)


def prediction_inputs(sequences: Sequences, _preparation: Preparation[Fitted]) -> Sequences:
    """Return new sequences unchanged, with their targets if they have any."""
    return sequences


def with_truth(
    sequences: Sequences, preparation: Preparation[Fitted]
) -> tuple[Sequences, list[str]]:
    """Leave out sequences without a target; a note counts them.

    Raises:
        DataError: no sequence has all targets.
    """
    names = ", ".join(map(repr, preparation.own.names))
    if preparation.own.per == "step":
        return sequences, []  # steps without a target are read, but not scored
    known = np.isfinite(reading.truth_of(sequences, preparation.own.names)).all(axis=1)
    if not known.any():
        raise DataError(
            f"{sequences.source}: no sequence has a value of {names}, so there is no truth to "
            "score against. Give the targets too, or use predict."
        )
    if known.all():
        return sequences, []
    count = int((~known).sum())
    verb = "sequence has" if count == 1 else "sequences have"
    note = f"{count} of {len(sequences)} {verb} no value of {names} and cannot be scored"
    return sequences.chosen(np.flatnonzero(known)), [note]


def units(experiment: Experiment) -> str:
    """The units of the errors: those of the target, or the deviations of several targets."""
    if len(experiment.data.target) > 1:
        return "errors of several targets are divided by the targets' deviations in training"
    return "errors in the target's own units"


def fixed(experiment: Experiment, preparation: Preparation[Fitted]) -> Experiment:
    """The settings with the transform that was chosen for all targets."""
    return experiment.having("task", transform=preparation.own.targets[0].transform)


def rescaled_outputs(one: Preparation[Fitted], other: Preparation[Fitted]) -> tuple[Array, Array]:
    """Factor and offset, [targets, 1], from numbers in the scale of `one` to that of `other`."""
    pairs = list(zip(one.own.targets, other.own.targets, strict=True))
    factor = [a.spread / b.spread for a, b in pairs]
    offset = [(a.centre - b.centre) / b.spread for a, b in pairs]
    return np.array(factor)[:, None], np.array(offset)[:, None]


def why_not_folded(experiment: Experiment, preparation: Preparation[Fitted]) -> str:
    """The reason to train one network only, or ""."""
    transforms = {target.transform for target in preparation.own.targets}
    if preparation.own.per == "step":
        return "there is a number at each step"
    if len(transforms) > 1 or "power" in transforms:
        return "folds would transform the target differently"
    return "task.window is set" if experiment.task.window else ""


TASK = Task(
    name="regress",
    sanity=Sanity("median", "mae"),
    settings={
        "numbers": SETTINGS | OF_NUMBERS,
        "text": SETTINGS | OF_TEXTS,
        "sound": SETTINGS | OF_SOUND,
    },
    fitted=Fitted,
    recognise=reading.RECOGNISE,
    read=reading.read,
    split=split,
    resolve=resolve,
    space=space,
    resolve_fitted=defaults.of_vocabulary,
    words=tokens.words_of,
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
    needs={"task.stride": "task.window"},
    folding=Folding(_strata, fixed, rescaled_outputs, why_not_folded),
    estimator="Regressor",
    seeds=True,
)
