"""The network of `tag`: a bidirectional LSTM over words and their characters.

After Ling et al. 2015 and Plank et al. 2016: a bidirectional LSTM reads the characters of each
word; its output is concatenated with the word embedding; bidirectional LSTMs read the sentence.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from gatewise.data.batches import Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences
from gatewise.errors import ConfigError
from gatewise.networks import Network
from gatewise.networks.layers import DENSE, EMBEDDING, LSTM, both_ways, dense, embed, lstm, masking
from gatewise.networks.losses import Objective
from gatewise.networks.predicting import predict
from gatewise.settings import Experiment, NetworkSettings, names
from gatewise.tasks.tag.fitted import Fitted

CHARACTER_DIM = 32  # size of the character embedding
BATCH, STEPS = 256, 8_192  # sentences and tokens in one prediction batch, at most


def tagger(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """Map words [batch, length] and their characters to logits [batch, length, tags].

    `examples` in `tasks.tag.task` describes the inputs. The character LSTM reads each distinct word
    of a batch once, however often the word occurs.
    """
    if settings.normalization == "batch":
        raise ConfigError(
            "network.normalization = batch would average over padding. Set it to layer or none."
        )
    inputs = {
        name: keras.Input(shape, name=name, dtype="int32") for name, shape in shapes.inputs.items()
    }
    x, mask = embed(inputs["words"], shapes.vocabulary["words"], settings)
    if "characters" in inputs:
        characters = inputs["characters"]  # [distinct, letters]
        count = shapes.vocabulary["characters"]
        spelled = layers.Embedding(count, CHARACTER_DIM, name="letters")(characters)
        reader = masking(layers.LSTM(settings.character_units, name="speller"))
        reader = both_ways(reader, "both_speller")
        spelled = reader(spelled, mask=ops.not_equal(characters, 0))  # [distinct, 2 * characters]
        spelling = ops.take(spelled, inputs["places"], axis=0)  # [batch, length, 2 * characters]
        x = ops.concatenate([x, spelling], axis=-1)
    for number, size in enumerate(settings.units, 1):
        x = lstm(size, settings, sequences=True, name=f"lstm_{number}")(x, mask=mask)
        if settings.normalization == "layer":
            x = layers.LayerNormalization(name=f"normalization_{number}")(x)
    x = dense(x, settings.dense, settings)
    logits = layers.Dense(shapes.output[0], name="logits")(x)
    network_inputs = inputs if len(inputs) > 1 else inputs["words"]
    return keras.Model(network_inputs, logits, name="tagger")


class TokenAccuracy(keras.metrics.Mean):  # type: ignore[misc]  # Keras is untyped
    """The share of tokens with the right tag; padding does not count."""

    def __init__(self) -> None:
        super().__init__(name="accuracy")

    def update_state(self, truth: Any, logits: Any, sample_weight: Any = None) -> Any:
        """Add a batch: true classes [batch, length], below 0 for padding, and logits."""
        truth = ops.cast(ops.reshape(truth, ops.shape(logits)[:2]), "int32")
        chosen = ops.cast(ops.argmax(logits, axis=-1), "int32")
        hits = ops.reshape(ops.cast(ops.equal(truth, chosen), "float32"), (-1,))
        real = ops.reshape(ops.cast(truth >= 0, "float32"), (-1,))
        # One row, because Keras averages several rows, and tokens of long batches would weigh less.
        return super().update_state(hits, sample_weight=real)


class TokenEntropy(keras.losses.Loss):  # type: ignore[misc]  # Keras is untyped
    """Cross entropy in nats per token; padding and tags unknown in training add nothing to it."""

    def __init__(self, classes: int, smoothing: float) -> None:
        super().__init__(name="cross_entropy")
        self.classes, self.smoothing = classes, smoothing

    # Keras's own mean would divide by the unmasked steps, but a network may have no mask.
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss for true classes [batch, length], below 0 for padding, and logits."""
        truth = ops.cast(ops.reshape(y_true, ops.shape(y_pred)[:2]), "int32")
        real = ops.cast(truth >= 0, "float32")
        known = real * ops.cast(truth < self.classes, "float32")
        hot = ops.one_hot(ops.where(known > 0, truth, 0), self.classes)
        hot = (1 - self.smoothing) * hot + self.smoothing / self.classes
        nats = -ops.sum(hot * ops.log_softmax(y_pred, axis=-1), axis=-1)
        return ops.sum(nats * known) / ops.maximum(ops.sum(real), 1.0)


def objective(experiment: Experiment, preparation: Preparation[Fitted]) -> Objective:
    """Cross entropy and accuracy per token, without padding."""
    loss = TokenEntropy(len(preparation.own.classes), experiment.training.label_smoothing)
    return loss, [TokenAccuracy()]


def token_logits(
    network: keras.Model,
    examples: Examples[Sequences],
    preparation: Preparation[Fitted],
    _experiment: Experiment,
) -> Array:
    """The logits of every token, sentence after sentence: [tokens, tags]."""
    ends = np.cumsum(examples.lengths)
    stacked = np.empty((int(ends[-1]), len(preparation.own.classes)), np.float32)
    for indices, batch in predict(network, examples, BATCH, padded=preparation.padded, steps=STEPS):
        for k, logits in zip(indices.tolist(), batch, strict=True):
            size = int(examples.lengths[k])
            stacked[ends[k] - size : ends[k]] = logits[:size]
    return stacked


SETTINGS = (
    LSTM
    | DENSE
    | EMBEDDING
    | names(network="bidirectional normalization character_units word_dropout")
)


def settings_of(_network: str, _data: str) -> frozenset[str]:
    """The settings that the network reads."""
    return SETTINGS


NETWORK = Network({"": tagger}, objective, settings_of, token_logits, per_step=True)
