"""The network of `classify`: a stack of LSTMs, trained with cross entropy."""

import functools
from typing import Any

import keras
from keras import ops

from gatewise.data.preparation import Preparation
from gatewise.errors import ConfigError
from gatewise.networks import Network, losses
from gatewise.networks.losses import Objective
from gatewise.networks.stack import OF_STEPS, OF_TEXTS, stack
from gatewise.settings import Experiment, TrainingSettings
from gatewise.tasks.classify.fitted import Fitted


def objective(experiment: Experiment, preparation: Preparation[Fitted]) -> Objective:
    """Cross entropy and accuracy; binary ones for each label if sequences have several."""
    if preparation.own.separator:
        if experiment.training.loss != "auto":
            raise ConfigError(
                "training.loss needs one label per sequence. Leave it at auto with data.separator."
            )
        smoothing = experiment.training.label_smoothing
        loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)
        return loss, [keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)]
    return classify_loss(experiment.training, len(preparation.own.classes)), ["accuracy"]


def classify_loss(settings: TrainingSettings, classes: int) -> Any:
    """Cross entropy of logits, or the named Keras loss; labels are class indices, [batch]."""
    name = settings.loss.lower().replace("_", "")
    usual = name in ("auto", "sparsecategoricalcrossentropy", "categoricalcrossentropy")
    if usual and not settings.label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if usual:
        inner: Any = functools.partial(
            keras.losses.categorical_crossentropy,
            from_logits=True,
            label_smoothing=settings.label_smoothing,
        )
        reads_logits = True
    elif settings.label_smoothing:
        raise ConfigError(
            "training.label_smoothing needs cross entropy, but training.loss is "
            f"{settings.loss}. Leave one of them out."
        )
    else:
        inner = losses.named(settings.loss)
        reads_logits = "crossentropy" in name

    def loss(truth: Any, logits: Any) -> Any:
        hot = ops.one_hot(ops.cast(ops.reshape(truth, (-1,)), "int32"), classes)
        return inner(hot, logits if reads_logits else ops.softmax(logits))

    return loss


def settings(_network: str, data: str) -> frozenset[str]:
    """The settings that the network reads."""
    return OF_TEXTS if data == "text" else OF_STEPS


NETWORK = Network({"stack": stack}, objective, settings)
