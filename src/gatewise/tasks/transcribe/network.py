"""The network of `transcribe`: at each step of a recording a symbol or a blank (CTC).

Graves et al. 2006, with LSTMs in both directions over frames, or over what convolutions make of
them.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from gatewise.data.batches import Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.sound import Recordings
from gatewise.errors import ConfigError
from gatewise.networks import NEEDS, Network
from gatewise.networks.layers import CONVOLUTION, DENSE, LSTM, convolve, dense, lstm, only
from gatewise.networks.losses import Objective
from gatewise.networks.predicting import predict
from gatewise.settings import Experiment, NetworkSettings, names
from gatewise.tasks.transcribe.decoding import BLANK
from gatewise.tasks.transcribe.fitted import Fitted

BATCH, STEPS = 64, 32_768  # recordings and frames that are asked about at once, at most
NEG_INF = -1e9  # the logit of what is not said


def ctc(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """Frames [batch, frames, mels] to logits [batch, steps, symbols], the blank first.

    Where a recording is over, the blank is certain. The chance of a transcript is then that of the
    recording's own steps, and neither loss nor decoding needs to be told how long it was.
    """
    if settings.normalization == "batch":
        raise ConfigError(
            "network.normalization = batch would mix padding in; transcribe takes layer or none."
        )
    steps = keras.Input(shapes.inputs["steps"], name="steps")
    mask = ops.any(ops.not_equal(steps, shapes.padding), axis=-1)
    x = only(steps, mask, 0.0)
    if settings.gaussian_noise:
        x = layers.GaussianNoise(settings.gaussian_noise)(x)
    x, mask = convolve(x, settings, mask)
    for number, size in enumerate(settings.units, 1):
        x = lstm(size, settings, sequences=True, name=f"lstm_{number}")(x, mask=mask)
        if settings.normalization == "layer":
            x = layers.LayerNormalization(name=f"normalization_{number}")(x)
    x = dense(x, settings.dense, settings)
    symbols = shapes.output[0]
    logits = layers.Dense(symbols, name="logits")(x)
    silence = np.full((1, 1, symbols), NEG_INF, dtype=np.float32)
    silence[..., BLANK] = 0.0
    logits = ops.where(ops.expand_dims(mask, -1), logits, silence)
    return keras.Model(steps, logits, name="ctc")


class CharacterErrorRate(keras.metrics.Mean):  # type: ignore[misc]  # Keras is untyped
    """Edits that greedy answers need, by the characters of the truth."""

    def __init__(self) -> None:
        super().__init__(name="cer")

    def update_state(self, truth: Any, logits: Any, sample_weight: Any = None) -> Any:
        """Count a batch: symbols [batch, longest], 0 for padding, and logits."""
        truth = ops.cast(truth, "int32")
        lengths = ops.cast(ops.sum(ops.cast(truth != BLANK, "int32"), axis=1), "float32")
        wrong = edits(truth, logits)
        return super().update_state(wrong / ops.maximum(lengths, 1.0), sample_weight=lengths)


def edits(truth: Any, logits: Any) -> Any:
    """The edit distance of each greedy answer from its truth, [batch] float32.

    Wagner & Fischer 1974, a row of the table for each step; steps that say nothing new leave the
    row as it is. What follows from the left within a row is a running minimum.
    """
    said = ops.cast(ops.argmax(logits, axis=-1), "int32")  # [batch, steps]
    before = ops.concatenate([ops.zeros_like(said[:, :1]), said[:, :-1]], axis=1)
    fresh = ops.logical_and(said != BLANK, said != before)
    places = ops.arange(ops.shape(truth)[1] + 1, dtype="float32")
    row = ops.zeros_like(ops.concatenate([truth[:, :1], truth], axis=1), dtype="float32") + places

    def advance(row: Any, step: Any) -> Any:
        symbol, new = step, step >= 0
        differs = ops.cast(truth != ops.expand_dims(symbol, -1), "float32")
        best = ops.minimum(row[:, 1:] + 1, row[:, :-1] + differs)
        best = ops.concatenate([row[:, :1] + 1, best], axis=1) - places
        best = ops.associative_scan(ops.minimum, best, axis=1) + places
        after = ops.where(ops.expand_dims(new, -1), best, row)
        return after, after  # on TensorFlow, what a scan collects has to look like what it carries

    # One array: of two, Keras on TensorFlow wants the number of steps while it traces.
    row, _ = ops.scan(advance, row, ops.transpose(ops.where(fresh, said, -1)))
    ends = ops.sum(ops.cast(truth != BLANK, "int32"), axis=1)
    return ops.squeeze(ops.take_along_axis(row, ops.expand_dims(ends, -1), axis=1), axis=-1)


def of_transcripts(_experiment: Experiment, _preparation: Preparation[Fitted]) -> Objective:
    """The surprise at the transcript, in nats a recording; and the character error rate."""
    return keras.losses.CTC(), [CharacterErrorRate()]


def log_probs(
    network: keras.Model,
    some: Examples[Recordings],
    preparation: Preparation[Fitted],
    _experiment: Experiment,
) -> list[Array]:
    """The log probabilities of the symbols at each of its steps: [steps, symbols] each.

    Without the steps behind a recording's end.
    """
    found: list[Any] = [None] * len(some)
    for which, logits in predict(network, some, BATCH, padded=preparation.padded, steps=STEPS):
        for row, k in enumerate(which.tolist()):
            steps = some.lengths[k]
            for stride in preparation.own.strides:
                steps = -(-steps // stride)
            own = logits[row, :steps]
            least = own.max(axis=1, keepdims=True)
            found[k] = own - least - np.log(np.exp(own - least).sum(axis=1, keepdims=True))
    return found


# Without convolutions, strides = 1 says that there are to be none.
ALONE = {name: needed for name, needed in NEEDS.items() if name != "network.strides"}


def settings_of(_network: str, _data: str) -> frozenset[str]:
    """The settings that the network reads."""
    return LSTM | DENSE | CONVOLUTION | names(network="bidirectional normalization gaussian_noise")


NETWORK = Network({"": ctc}, of_transcripts, settings_of, log_probs, per_step=True, needs=ALONE)
