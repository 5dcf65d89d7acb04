"""classify: a label for each sequence, with calibrated probabilities.

Sequences are numbers, texts or recordings. With `data.separator`, a sequence has any number of
labels, and each label has a probability of its own.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from gatewise import metrics
from gatewise.data import augmentation, bigrams, sound, steps, tokens
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import fit_scale
from gatewise.data.sequences import Array, Sequences, texts_of
from gatewise.data.splits import Splits, split_without_copies
from gatewise.errors import ConfigError, DataError
from gatewise.settings import Experiment, names
from gatewise.tasks import defaults
from gatewise.tasks.calibration import fit_temperature
from gatewise.tasks.classify import multilabel, reading
from gatewise.tasks.classify.baselines import (
    fit_baselines,
    make_baselines,
    regression,
    regression_on_steps,
)
from gatewise.tasks.classify.blend import choose_blend, model_name, probabilities_of, with_steps
from gatewise.tasks.classify.details import details
from gatewise.tasks.classify.examples import (
    Pieces,
    examples,
    fitted_shapes,
    label_names,
    labels_of,
    pieces_of,
    sequences_of,
    shapes,
    sizes,
)
from gatewise.tasks.classify.fitted import Fitted
from gatewise.tasks.classify.space import space
from gatewise.tasks.task import (
    Folding,
    Measure,
    Sanity,
    Task,
    Truth,
    mean_measure,
)

log = logging.getLogger("gatewise")

SETTINGS = names(
    data="label label_columns separator group",
    split="rare_labels seed test_ids folds",
    task="blend",
    training="networks loss label_smoothing class_weight max_tokens",
)
OF_NUMBERS = (
    steps.SETTINGS
    | augmentation.SETTINGS
    | names(data="labels triads", task="window stride", training="rotation")
)
OF_TEXTS = tokens.SETTINGS | bigrams.SETTINGS
OF_SOUND = sound.SETTINGS | names(task="window stride")
TEXT_DROPOUT = 0.5  # default of network.dense_dropout beside bigrams
MIN_RATINGS = 3  # classes; two numbers are a yes and a no


def resolve(
    experiment: Experiment, sequences: Sequences, train: Sequences
) -> tuple[Experiment, list[str]]:
    """Fill in the size of the network, the batch size and the epochs."""
    experiment = defaults.blended(experiment, "logistic")
    _refuse_triads(experiment, sequences)
    if experiment.task.window and not experiment.task.stride:
        experiment = experiment.having("task", stride=experiment.task.window)
    pieces = sequences
    if sequences.kind == "numbers":
        pieces = pieces_of(sequences, experiment.task.window, experiment.task.stride)
        images = sequences.values.dtype == np.uint8
        plain = images or experiment.training.quality == "fast"
        experiment = defaults.of_steps(experiment, pieces.lengths, plain=plain)
    notes: list[str] = []
    if sequences.kind == "text":
        experiment, notes = _of_texts(experiment, train)
    network = defaults.network(experiment.network, sequences.kind)
    kind = "stack" if network.kind == "auto" else network.kind
    experiment = replace(experiment, network=replace(network, kind=kind))
    if experiment.task.blend == "auto" and experiment.data.separator:
        experiment = experiment.having("task", blend="none")
    if sequences.kind == "sound":
        return sound.resolved(experiment, sequences), []
    characters = experiment.preparation.tokenizer == "characters"
    kind = "characters" if characters else sequences.kind
    training = defaults.training(experiment.training, len(pieces), kind)
    return replace(experiment, training=training), notes


def _of_texts(experiment: Experiment, train: Sequences) -> tuple[Experiment, list[str]]:
    """Fill in tokens, bigrams and the dropout of the network beside them, with notes."""
    assert train.labels is not None
    experiment, notes = tokens.resolved(experiment, train)
    count = sum(text.count(" ") + 1 for text in texts_of(train))
    experiment = bigrams.resolved(experiment, count, len(np.unique(train.labels)))
    if experiment.preparation.bigrams and experiment.network.dense_dropout < 0:
        experiment = experiment.having("network", dense_dropout=TEXT_DROPOUT)
    return experiment, notes


def _refuse_triads(experiment: Experiment, sequences: Sequences) -> None:
    """Refuse triads that are not three different columns, and a rotation without triads.

    Raises:
        ConfigError: data.triads or training.rotation cannot be used.
    """
    triads, example = experiment.data.triads, 'data.triads = [["x", "y", "z"]]'
    if experiment.training.rotation and not triads:
        raise ConfigError(
            f"training.rotation is {experiment.training.rotation:g}, but data.triads names no "
            f"columns to rotate. Name them ({example}), or set training.rotation = 0."
        )
    for triad in triads:
        if len(set(triad)) != 3 or len(triad) != 3:
            raise ConfigError(
                f"A triad is a list of three different columns: {example}. Received: {list(triad)}."
            )
        for name in triad:
            if name not in sequences.columns:
                raise ConfigError(
                    f"data.triads names the column '{name}', which is not a feature. The features "
                    f"are {', '.join(sequences.columns[:10])}. Name one of them, or add it to "
                    "data.features."
                )
    named = [name for triad in triads for name in triad]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise ConfigError(
            f"data.triads names the column '{twice[0]}' in two triads. Name each column once, "
            "because it can be part of only one vector."
        )


def split(sequences: Sequences, experiment: Experiment, test: bool) -> Splits:
    """Split by group if the data have groups, otherwise stratified by label.

    Identical texts stay in one part. Otherwise, the network could memorise a message that was sent
    a hundred times, and the test part would reward it.
    """
    settings = experiment.split
    if experiment.data.separator and settings.by == "auto" and sequences.groups is None:
        # There are too many sets of labels to stratify by.
        settings = replace(settings, by="random")
        if not settings.test_ids:
            return multilabel.split(sequences, settings, experiment.data.separator, test=test)
    return split_without_copies(sequences, settings, test=test)


def prepare(train: Sequences, experiment: Experiment) -> tuple[Preparation[Fitted], list[str]]:
    """Fit the classes, the columns that are not constant, and their scale on the training part."""
    assert train.labels is not None
    classes = _classes(train, experiment.data.separator)
    rating = _rating_note(train, classes)
    if train.kind == "text":
        preparation, notes = _prepare_texts(train, classes, experiment)
        return preparation, [*rating, *notes]
    if train.kind == "sound":
        return _prepare_sound(train, classes, experiment), rating
    used, scale, notes = steps.fit_steps(train, experiment.preparation)
    task = experiment.task
    pieces = pieces_of(train, task.window, task.stride)
    return Preparation(
        task="classify",
        columns=train.columns,
        used=used,
        scale=scale,
        own=_fitted(classes, experiment),
        padded=len(np.unique(pieces.lengths)) > 1,
        step=train.step,
    ), [*rating, *notes]


def _rating_note(train: Sequences, classes: tuple[str, ...]) -> list[str]:
    """A note if the classes are numbers, which may have an order; none for images of digits."""
    numbers = all(re.fullmatch(r"[+-]?\d+(\.\d+)?", name) for name in classes)
    images = train.kind == "numbers" and train.values.dtype == np.uint8
    if images or not numbers or len(classes) < MIN_RATINGS:
        return []
    low, high = (sorted(classes, key=float)[place] for place in (0, -1))
    return [
        f"the {len(classes)} labels are numbers from {low} to {high}; if they are ratings or "
        "another order, --task regress predicts them as numbers"
    ]


def _fitted(classes: tuple[str, ...], experiment: Experiment) -> Fitted:
    """The fitted values that all kinds of data have."""
    task = experiment.task
    return Fitted(
        classes=classes,
        separator=experiment.data.separator,
        blend=task.blend,
        window=task.window,
        stride=task.stride or task.window,
    )


def _classes(train: Sequences, separator: str) -> tuple[str, ...]:
    """The labels of the training part, in alphabetical order."""
    assert train.labels is not None
    known = sorted({name for label in train.labels for name in label_names(str(label), separator)})
    if len(known) < 2:
        raise DataError(
            f"{train.source}: every training sequence has the label '{''.join(known)}'. "
            "A classifier needs at least two labels."
        )
    return tuple(known)


def _prepare_sound(
    train: Sequences, classes: tuple[str, ...], experiment: Experiment
) -> Preparation[Fitted]:
    """Fit the frames of recordings and their scale."""
    spectrum, frames, scale = sound.fit_frames(train, experiment)
    return Preparation(
        task="classify",
        kind="sound",
        columns=frames.columns,
        used=frames.columns,
        scale=scale,
        own=replace(_fitted(classes, experiment), spectrum=spectrum),
        padded=True,
    )


def _prepare_texts(
    train: Sequences, classes: tuple[str, ...], experiment: Experiment
) -> tuple[Preparation[Fitted], list[str]]:
    """Fit the vocabulary and the maximum length of a text on the training part."""
    settings = experiment.preparation
    known, longest, notes = tokens.fit_tokens(train, settings)
    return Preparation(
        task="classify",
        kind="text",
        columns=train.columns,
        used=train.columns,
        scale=fit_scale(train, "none", "all"),
        own=replace(
            _fitted(classes, experiment),
            vocabulary=known,
            max_length=longest,
            bigrams=settings.bigrams,
            truncation=settings.truncation,
        ),
        padded=True,
    ), notes


def calibrate(
    preparation: Preparation[Fitted], outputs: Array, examples: Examples[Pieces]
) -> Preparation[Fitted]:
    """Fit the temperature that makes the validation labels most likely (Guo et al. 2017).

    With a blend, the temperature still fits the network alone. The mean of two predictions is
    bounded, so a temperature fitted for the mean becomes far too sharp on a validation part with
    few mistakes (docs/log.md).
    """
    if preparation.own.separator:
        return preparation  # one temperature does not calibrate independent probabilities
    labels = labels_of(examples, preparation)
    temperature = fit_temperature(outputs, labels)
    return replace(preparation, own=replace(preparation.own, temperature=temperature))


def postprocess(
    outputs: Array,
    examples: Examples[Pieces],
    preparation: Preparation[Fitted],
    state: Mapping[str, Any],
) -> Array:
    """Calibrated probabilities, [sequences, classes]; a blend averages them with the baseline's."""
    own = preparation.own
    if own.blend != "logistic":
        return probabilities_of(outputs, preparation, None)
    if not own.blend_on_steps:
        return probabilities_of(outputs, preparation, regression(state, examples))
    lengths = sequences_of(examples).lengths
    return with_steps(outputs, regression_on_steps(state, examples), lengths, preparation, state)


def score(
    probabilities: Array,
    examples: Examples[Pieces],
    preparation: Preparation[Fitted],
    _experiment: Experiment,
) -> dict[str, float]:
    """Accuracy, macro F1, ROC AUC, log loss (nats) and expected calibration error."""
    actual = labels_of(examples, preparation)
    if preparation.own.separator:
        return multilabel.score(actual, probabilities)
    hard = bool(((probabilities == 0) | (probabilities == 1)).all())  # labels without probabilities
    return {
        "accuracy": metrics.accuracy(actual, probabilities.argmax(axis=1)),
        "f1_macro": metrics.f1_macro(actual, probabilities.argmax(axis=1)),
        "roc_auc": float("nan") if hard else metrics.roc_auc(actual, probabilities),
        "log_loss": float("nan") if hard else metrics.log_loss(actual, probabilities),
        "ece": float("nan") if hard else metrics.expected_calibration_error(actual, probabilities),
    }


def measures(
    examples: Examples[Pieces], preparation: Preparation[Fitted], _experiment: Experiment
) -> list[Measure[Array]]:
    """Accuracy and macro F1; the sequences of a group or the pieces of a sequence are a cluster."""
    pieces = sequences_of(examples)
    actual, count = labels_of(examples, preparation), len(preparation.own.classes)
    whole = pieces.groups if pieces.groups is not None else pieces.first
    _, clusters = np.unique(whole, return_inverse=True)
    if preparation.own.separator:
        return multilabel.measures(actual, clusters)

    def right(probabilities: Array) -> Array:
        correct: Array = (probabilities.argmax(axis=1) == actual).astype(np.float64)
        return correct

    def by_class(probabilities: Array) -> Array:
        """Correct, predicted and true labels of each class, [sequences, 3 * classes]."""
        truth, chosen = np.eye(count)[actual], np.eye(count)[probabilities.argmax(axis=1)]
        return np.concatenate([truth * chosen, chosen, truth], axis=1)

    def f1_macro(sums: Array) -> Array:
        correct, predicted, support = np.split(sums, 3, axis=-1)
        met = predicted + support > 0
        mean: Array = metrics.f1(correct, predicted, support).sum(axis=-1) / met.sum(axis=-1)
        return mean

    return [
        mean_measure("accuracy", right, clusters),
        Measure("f1_macro", by_class, f1_macro, clusters),
    ]


def table(
    probabilities: Array,
    examples: Examples[Pieces],
    preparation: Preparation[Fitted],
    indices: Array,
) -> pl.DataFrame:
    """One row per sequence: id, label, a probability for each class, and the truth if known."""
    pieces, probabilities = sequences_of(examples).chosen(indices), probabilities[indices]
    known = pieces.labels is not None and (pieces.labels != "").any()
    if preparation.own.separator:
        frame = multilabel.table(
            probabilities, pieces.ids, preparation.own.classes, preparation.own.separator
        )
        return frame.with_columns(truth=pl.Series(pieces.labels)) if known else frame
    classes = np.array(preparation.own.classes)
    columns: dict[str, Any] = {
        "id": pieces.ids.astype(str),
        "label": classes[probabilities.argmax(axis=1)],
    }
    if known:
        columns["truth"] = pieces.labels
    columns |= {f"p({name})": probabilities[:, k] for k, name in enumerate(preparation.own.classes)}
    return pl.DataFrame(columns)


def schema(preparation: Preparation[Fitted], _experiment: Experiment) -> dict[str, Any]:
    """The columns of `table` for new data."""
    scores = {f"p({name})": pl.Float64 for name in preparation.own.classes}
    return {"id": pl.String, "label": pl.String} | scores


def prediction_inputs(sequences: Sequences, _preparation: Preparation[Fitted]) -> Sequences:
    """Return new sequences unchanged, with their labels if they have any."""
    return sequences


def strata(sequences: Sequences, experiment: Experiment) -> Array | None:
    """The labels, unless sequences have several."""
    return None if experiment.data.separator else sequences.labels


def fixed(experiment: Experiment, _preparation: Preparation[Fitted]) -> Experiment:
    """The same settings."""
    return experiment


def same_outputs(_one: Preparation[Fitted], _other: Preparation[Fitted]) -> tuple[Array, Array]:
    """Factor 1 and offset 0, because logits have no scale."""
    return np.ones(1), np.zeros(1)


def why_not_folded(experiment: Experiment, _preparation: Preparation[Fitted]) -> str:
    """The reason to train one network only, or ""."""
    if experiment.data.separator:
        return "sequences have several labels"
    return "task.window is set" if experiment.task.window else ""


def examined(
    train: Sequences, preparation: Preparation[Fitted], _experiment: Experiment
) -> list[Truth]:
    """The label of each sequence, which no column may reveal; not with several labels."""
    if train.kind != "numbers" or train.labels is None or preparation.own.separator:
        return []
    features = tuple(name for name in preparation.used if name not in train.levels)
    return [Truth("the label", train.labels, features)]


TASK = Task(
    name="classify",
    sanity=Sanity("majority", "log_loss"),
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
    postprocess=postprocess,
    model_name=model_name,
    quick=defaults.without_blend,
    fit_baselines=fit_baselines,
    baselines=make_baselines,
    metrics=score,
    measures=measures,
    details=details,
    table=table,
    schema=schema,
    prediction_inputs=prediction_inputs,
    choose=choose_blend,
    folding=Folding(strata, fixed, same_outputs, why_not_folded),
    labelled=True,
    needs={"task.stride": "task.window"},
    estimator="Classifier",
    seeds=True,
)
