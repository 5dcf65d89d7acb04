"""The defaults that tasks share: network, batch size, epochs."""

from dataclasses import replace
from typing import Any

import numpy as np

from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.vocabulary import usual_embedding
from gatewise.errors import ConfigError
from gatewise.settings import Experiment, NetworkSettings, TrainingSettings

UNITS = (64,)  # default of network.units
LONG = 100  # steps; longer sequences of numbers are shortened by a convolution
FILTERS = (64,)  # of that convolution
LEARNING_RATE = 0.003
FEW = 2000  # sequences of numbers, below which training makes new ones of them
# What is predicted, by the `task.blend` that averages the network with a baseline.
BLENDS = {"logistic": "labels", "ridge": "forecasts and numbers", "ngrams": "running text"}
AUGMENTATION = {"jitter": 0.1, "scaling": 0.1, "time_warping": 0.04}


def network(settings: NetworkSettings, data: str) -> NetworkSettings:
    """Fill in units, pooling and dropout for this kind of data."""
    if settings.summary_features == "auto" and data != "text":
        settings = replace(settings, summary_features="no")
    if settings.pooling == "auto":
        # The informative part of a text or a recording may be anywhere in it.
        settings = replace(settings, pooling="last" if data == "numbers" else "mean-max")
    return replace(
        settings,
        units=settings.units or UNITS,
        dense_dropout=max(0.0, settings.dense_dropout),
    )


def of_steps(experiment: Experiment, lengths: Array, *, plain: bool) -> Experiment:
    """Fill in summaries, convolutions and augmentation for sequences of numbers of these lengths.

    `plain`: none of them, as in the tutorials. The choices are those of docs/log.md, 2026-11-27.
    """
    network, training = experiment.network, experiment.training
    if network.summary_features == "auto" and not plain:
        network = replace(network, summary_features="yes")
    if not plain and np.median(lengths) >= LONG:
        pooling = "all" if network.pooling == "auto" else network.pooling
        network = replace(network, pooling=pooling, filters=network.filters or FILTERS)
    if not plain and training.optimizer == "adam":
        training = replace(training, learning_rate=training.learning_rate or LEARNING_RATE)
    none = plain or len(lengths) >= FEW
    usual = {name: 0.0 if none else value for name, value in AUGMENTATION.items()}
    augmentation = {name: value for name, value in usual.items() if getattr(training, name) < 0}
    experiment = replace(experiment, network=network, training=training)
    return experiment.having("training", **augmentation)


def training(settings: TrainingSettings, count: int, data: str) -> TrainingSettings:
    """Fill in batch size and epochs for this number of sequences.

    `data` is the kind of the sequences; texts of "characters" take as many epochs as numbers do.
    """
    if data == "text" and not settings.epochs:
        settings = replace(settings, epochs=int(np.clip(150_000 // (count + 1), 6, 40)))
    if not settings.batch_size:
        size = int(np.clip(2 ** round(np.log2(count / 40 + 1)), 8, 64))
        settings = replace(settings, batch_size=size)
    if not settings.epochs:
        settings = replace(settings, epochs=int(np.clip(300_000 // (count + 1), 15, 150)))
    return settings


def of_windows(settings: TrainingSettings, count: int) -> TrainingSettings:
    """Fill in batch size and epochs for this number of windows of series."""
    if not settings.batch_size:
        size = int(np.clip(2 ** round(np.log2(count / 60 + 1)), 8, 128))
        settings = replace(settings, batch_size=size)
    if not settings.epochs:
        settings = replace(settings, epochs=int(np.clip(400_000 // (count + 1), 20, 100)))
    return settings


def of_vocabulary(experiment: Experiment, preparation: Preparation[Any]) -> Experiment:
    """Fill in the maximum length of a text and the size of the embedding of a fitted vocabulary."""
    own = preparation.own
    if own.vocabulary is None:
        return experiment
    size = experiment.network.embedding_dim or usual_embedding(len(own.vocabulary))
    experiment = experiment.having("preparation", max_length=own.max_length)
    return experiment.having("network", embedding_dim=size)


def blended(experiment: Experiment, own: str) -> Experiment:
    """The settings with "none" for a `task.blend` of "auto" where a single network is enough.

    Raises:
        ConfigError: the blend is not `own`, that of the task.
    """
    given = experiment.task.blend
    if given not in ("auto", "none", own):
        raise ConfigError(
            f"task.blend = {given} is a blend of {BLENDS[given]}. The task {experiment.task.name} "
            f"has task.blend = {own}, and auto, by the validation part."
        )
    if given == "auto" and experiment.training.quality == "fast":
        return experiment.having("task", blend="none")
    return experiment


def without_blend(
    preparation: Preparation[Any], experiment: Experiment
) -> tuple[Preparation[Any], Experiment]:
    """The preparation and the settings that predict by the network alone."""
    return replace(preparation, own=replace(preparation.own, blend="none")), experiment
