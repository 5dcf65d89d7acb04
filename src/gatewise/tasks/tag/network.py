"""The network of `tag`: a bidirectional LSTM over words and their characters.

After Ling et al. 2015 and Plank et al. 2016: a bidirectional LSTM reads the characters of each
word; its output is concatenated with the word embedding; bidirectional LSTMs read the sentence.
With a CRF (`crf.py`), the model also returns the scores of its transitions, so that a file of plain
Keras layers holds all of it.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from gatewise.data.batches import Shapes
from gatewise.data.preparation import Preparation
from gatewise.errors import ConfigError
from gatewise.networks import Network
from gatewise.networks.layers import (
    DENSE,
    EMBEDDING,
    LSTM,
    PRETRAINED,
    both_ways,
    dense,
    embed,
    lstm,
    masking,
)
from gatewise.networks.losses import Objective
from gatewise.settings import Experiment, NetworkSettings, names
from gatewise.tasks.tag import crf
from gatewise.tasks.tag.crf import CRF, SOFTMAX
from gatewise.tasks.tag.fitted import Fitted
from gatewise.tasks.tag.outputs import predict

CHARACTER_DIM = 32  # size of the character embedding


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
    x, mask = embed(inputs["words"], "words", shapes, settings)
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


def crf_tagger(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """The tagger with a CRF: its outputs are [batch, tags + 2 + length, tags].

    The first tags + 2 rows are the transitions, the same for each sentence; the logits follow.
    """
    network = tagger(shapes, settings)
    words = network.get_layer("words").output
    initial = shapes.initial["transitions"]
    transitions = layers.Embedding(*initial.shape, weights=initial, name="transitions")
    rows = ops.zeros_like(words[:, :1]) + ops.arange(len(initial), dtype="int32")
    outputs = ops.concatenate([transitions(rows), network.output], axis=1)
    return keras.Model(network.input, outputs, name="tagger")


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


class PathEntropy(keras.losses.Loss):  # type: ignore[misc]  # Keras is untyped
    """The negative log probability of the true paths of a CRF, in nats per token without padding.

    Tags unknown in training add nothing to it: the logits of their tokens count as zeros.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(name="path_entropy")
        self.classes = classes

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss for true classes [batch, length], below 0 for padding, and CRF outputs."""
        size, logits = self.classes, y_pred[:, self.classes + crf.BORDERS :]
        transitions = y_pred[0, : size + crf.BORDERS]
        truth = ops.cast(ops.reshape(y_true, ops.shape(logits)[:2]), "int32")
        real, known = truth >= 0, ops.logical_and(truth >= 0, truth < size)
        weights = ops.expand_dims(ops.cast(known, logits.dtype), -1)
        hot = weights * ops.one_hot(ops.where(known, truth, 0), size, dtype=logits.dtype)
        logits = weights * logits
        # A transition that is forbidden but true (a long sentence may be cut within a span) costs
        # nothing, because its score would hide the rest of the loss.
        passable = ops.where(transitions > crf.FORBIDDEN / 2, transitions, 0.0)
        begin, end = passable[size], passable[size + 1]
        after = ops.concatenate([real[:, 1:], ops.zeros_like(real[:, :1])], axis=1)
        last = ops.cast(ops.logical_and(real, ops.logical_not(after)), logits.dtype)
        score = (
            ops.sum(hot * logits)
            + ops.sum(ops.matmul(hot[:, :-1], passable[:size]) * hot[:, 1:])
            + ops.sum(hot[:, 0] * begin)
            + ops.sum(hot * end * ops.expand_dims(last, -1))
        )
        nats = ops.sum(log_partition(logits, transitions, real)) - score
        return nats / ops.maximum(ops.sum(ops.cast(real, logits.dtype)), 1.0)


def log_partition(logits: Any, transitions: Any, real: Any) -> Any:
    """The logarithm of the summed exponentials of the scores of all paths, [batch].

    Args:
        logits: [batch, length, tags].
        transitions: [tags + 2, tags].
        real: [batch, length] bool, false for padding, which is at the end.
    """
    size = logits.shape[-1]
    smallest = np.finfo(keras.backend.standardize_dtype(logits.dtype)).tiny
    between = ops.exp(transitions[:size])

    def step(scores: Any, inputs: Any) -> tuple[Any, Any]:
        given, counts = inputs[:, :size], inputs[:, size:] > 0
        top = ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True))
        # A product of matrices needs far fewer exponentials than one sum for each pair of tags.
        summed = ops.matmul(ops.exp(scores - top), between)
        moved = ops.log(ops.maximum(summed, smallest)) + top + given
        scores = ops.where(counts, moved, scores)
        return scores, scores

    first = transitions[size] + logits[:, 0]
    later = ops.concatenate([ops.zeros_like(real[:, :1]), real[:, 1:]], axis=1)
    counts = ops.expand_dims(ops.cast(later, logits.dtype), -1)
    # One tensor, because Keras's scan on TensorFlow refuses several of a length that is not known.
    steps = ops.transpose(ops.concatenate([logits, counts], axis=-1), (1, 0, 2))
    scores, _ = ops.scan(step, first, steps)
    return ops.logsumexp(scores + transitions[size + 1], axis=-1)


def objective(experiment: Experiment, preparation: Preparation[Fitted]) -> Objective:
    """The loss and the accuracy per token, without padding.

    With a CRF there is no accuracy: its tags are the best paths, which are searched outside Keras.
    """
    if experiment.network.kind == CRF:
        return PathEntropy(len(preparation.own.classes)), []
    loss = TokenEntropy(len(preparation.own.classes), experiment.training.label_smoothing)
    return loss, [TokenAccuracy()]


SETTINGS = (
    LSTM
    | DENSE
    | EMBEDDING
    | PRETRAINED
    | names(network="bidirectional normalization character_units word_dropout")
)


def settings_of(network: str, _data: str) -> frozenset[str]:
    """The settings that the network reads; a CRF has no label smoothing."""
    return SETTINGS if network == CRF else SETTINGS | names(training="label_smoothing")


NETWORK = Network(
    {SOFTMAX: tagger, CRF: crf_tagger}, objective, settings_of, predict, per_step=True
)
