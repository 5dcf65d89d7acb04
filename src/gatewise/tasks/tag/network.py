"""The network of `tag`: words and their spelling, read in both directions, a logit for each tag.

After Ling et al. 2015 and Plank et al. 2016: an LSTM in both directions spells each word out; what
it says stands beside the word's own vector; LSTMs in both directions read the sentence.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from gatewise.data.batches import Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.errors import ConfigError
from gatewise.networks import Network
from gatewise.networks.layers import DENSE, EMBEDDING, LSTM, both_ways, dense, embed, lstm, masking
from gatewise.networks.losses import Objective
from gatewise.networks.predicting import predict
from gatewise.settings import Experiment, NetworkSettings, names

LETTER = 32  # numbers for each letter
BATCH, STEPS = 256, 8_192  # sentences and tokens that are asked about at once, at most


def tagger(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """Words [batch, length] (with their spelling, see `tasks.tag`) to logits [batch, length, tags].

    Each word that a batch holds is spelled once, wherever and how often it stands.
    """
    if settings.normalization == "batch":
        raise ConfigError(
            "network.normalization = batch would mix padding in; tag takes layer or none."
        )
    inputs = {
        name: keras.Input(shape, name=name, dtype="int32") for name, shape in shapes.inputs.items()
    }
    x, mask = embed(inputs["words"], shapes.vocabulary, settings)
    if "characters" in inputs:
        letters = inputs["characters"]  # [distinct, letters]
        spelled = layers.Embedding(shapes.characters, LETTER, name="letters")(letters)
        reader = masking(layers.LSTM(settings.character_units, name="speller"))
        reader = both_ways(reader, "both_speller")
        spelled = reader(spelled, mask=ops.not_equal(letters, 0))  # [distinct, 2 * characters]
        beside = ops.take(spelled, inputs["places"], axis=0)  # [batch, length, 2 * characters]
        x = ops.concatenate([x, beside], axis=-1)
    for number, size in enumerate(settings.units, 1):
        x = lstm(size, settings, sequences=True, name=f"lstm_{number}")(x, mask=mask)
        if settings.normalization == "layer":
            x = layers.LayerNormalization(name=f"normalization_{number}")(x)
    x = dense(x, settings.dense, settings)
    logits = layers.Dense(shapes.output[0], name="logits")(x)
    given = inputs if len(inputs) > 1 else inputs["words"]
    return keras.Model(given, logits, name="tagger")


class TokenAccuracy(keras.metrics.Mean):  # type: ignore[misc]  # Keras is untyped
    """Share of the tokens that get their tag; padding does not count."""

    def __init__(self) -> None:
        super().__init__(name="accuracy")

    def update_state(self, truth: Any, logits: Any, sample_weight: Any = None) -> Any:
        """Count a batch: positions of tags [batch, length], below 0 for padding, and logits."""
        truth = ops.cast(ops.reshape(truth, ops.shape(logits)[:2]), "int32")
        chosen = ops.cast(ops.argmax(logits, axis=-1), "int32")
        hits = ops.reshape(ops.cast(ops.equal(truth, chosen), "float32"), (-1,))
        real = ops.reshape(ops.cast(truth >= 0, "float32"), (-1,))
        # As one row: of several, Keras would take means, and tokens of long batches weigh less.
        return super().update_state(hits, sample_weight=real)


class TokenEntropy(keras.losses.Loss):  # type: ignore[misc]  # Keras is untyped
    """Cross entropy in nats a token; neither padding nor a tag unknown in training adds to it."""

    def __init__(self, classes: int, smoothing: float) -> None:
        super().__init__(name="cross_entropy")
        self.classes, self.smoothing = classes, smoothing

    # Keras's own way to a mean would divide by what the network masks, and one may mask nothing.
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Of positions of tags [batch, length], below 0 for padding, and logits: one number."""
        truth = ops.cast(ops.reshape(y_true, ops.shape(y_pred)[:2]), "int32")
        real = ops.cast(truth >= 0, "float32")
        known = real * ops.cast(truth < self.classes, "float32")
        hot = ops.one_hot(ops.where(known > 0, truth, 0), self.classes)
        hot = (1 - self.smoothing) * hot + self.smoothing / self.classes
        nats = -ops.sum(hot * ops.log_softmax(y_pred, axis=-1), axis=-1)
        return ops.sum(nats * known) / ops.maximum(ops.sum(real), 1.0)


def of_tags(experiment: Experiment, preparation: Preparation) -> Objective:
    """Cross entropy and accuracy over the tokens, without padding."""
    loss = TokenEntropy(len(preparation.classes), experiment.training.label_smoothing)
    return loss, [TokenAccuracy()]


def token_logits(
    network: keras.Model, some: Examples, preparation: Preparation, _experiment: Experiment
) -> Array:
    """The logits of every token of all sentences, end to end: [tokens, tags]."""
    ends = np.cumsum(some.lengths)
    found = np.empty((int(ends[-1]), len(preparation.classes)), np.float32)
    for which, given in predict(network, some, BATCH, padded=preparation.padded, steps=STEPS):
        for k, logits in zip(which.tolist(), given, strict=True):
            size = int(some.lengths[k])
            found[ends[k] - size : ends[k]] = logits[:size]
    return found


SETTINGS = (
    LSTM
    | DENSE
    | EMBEDDING
    | names(network="bidirectional normalization character_units word_dropout")
)


def settings_of(_network: str, _data: str) -> frozenset[str]:
    """The settings that the network reads."""
    return SETTINGS


NETWORK = Network({"": tagger}, of_tags, settings_of, token_logits, per_step=True)
