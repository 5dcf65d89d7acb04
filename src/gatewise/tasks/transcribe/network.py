"""The network of `transcribe`: an LSTM with CTC outputs (Graves et al. 2006).

At each step it gives the logits of the blank and of each symbol. Convolutions may reduce the number
of steps before the LSTM layers.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from gatewise.data.batches import Shapes
from gatewise.data.preparation import Preparation
from gatewise.errors import ConfigError
from gatewise.networks import NEEDS, Network
from gatewise.networks.layers import CONVOLUTION, DENSE, LSTM, convolve, dense, lstm, only
from gatewise.networks.losses import Objective
from gatewise.settings import Experiment, NetworkSettings, names
from gatewise.tasks.transcribe.decoding import BLANK
from gatewise.tasks.transcribe.fitted import Fitted
from gatewise.tasks.transcribe.outputs import predict

NEG_INF = -1e9  # the logit of an impossible symbol


def ctc(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """Frames [batch, frames, mels] to logits [batch, steps, symbols], the blank first.

    On padded steps the blank has probability 1. Padding therefore does not change the probability
    of a transcript, and neither the loss nor the decoder needs the lengths.
    """
    if settings.normalization == "batch":
        raise ConfigError(
            "network.normalization = batch would include padding. Choose layer or none."
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
    blank = np.full((1, 1, symbols), NEG_INF, dtype=np.float32)
    blank[..., BLANK] = 0.0
    logits = ops.where(ops.expand_dims(mask, -1), logits, blank)
    return keras.Model(steps, logits, name="ctc")


class CharacterErrorRate(keras.metrics.Mean):  # type: ignore[misc]  # Keras is untyped
    """The character error rate of greedy decoding."""

    def __init__(self) -> None:
        super().__init__(name="cer")

    def update_state(self, truth: Any, logits: Any, sample_weight: Any = None) -> Any:
        """Add a batch: symbols [batch, length], padded with 0, and logits."""
        truth = ops.cast(truth, "int32")
        lengths = ops.cast(ops.sum(ops.cast(truth != BLANK, "int32"), axis=1), "float32")
        wrong = edits(truth, logits)
        return super().update_state(wrong / ops.maximum(lengths, 1.0), sample_weight=lengths)


def edits(truth: Any, logits: Any) -> Any:
    """The edit distance between greedy transcripts and truth, [batch] float32.

    The algorithm is Wagner & Fischer 1974, one row of the table per step. Blanks and repeated
    symbols leave the row unchanged. The dependence within a row is a running minimum.
    """
    truth = ops.convert_to_tensor(truth)  # NumPy compares an array with no tensor of PyTorch
    symbols = ops.cast(ops.argmax(logits, axis=-1), "int32")  # [batch, steps]
    before = ops.concatenate([ops.zeros_like(symbols[:, :1]), symbols[:, :-1]], axis=1)
    emitted = ops.logical_and(symbols != BLANK, symbols != before)
    positions = ops.arange(ops.shape(truth)[1] + 1, dtype="float32")
    row = (
        ops.zeros_like(ops.concatenate([truth[:, :1], truth], axis=1), dtype="float32") + positions
    )

    def advance(row: Any, step: Any) -> Any:
        symbol, new = step, step >= 0
        differs = ops.cast(truth != ops.expand_dims(symbol, -1), "float32")
        best = ops.minimum(row[:, 1:] + 1, row[:, :-1] + differs)
        best = ops.concatenate([row[:, :1] + 1, best], axis=1) - positions
        best = ops.associative_scan(ops.minimum, best, axis=1) + positions
        after = ops.where(ops.expand_dims(new, -1), best, row)
        # TensorFlow needs outputs of the same structure as the state.
        return after, after

    # One array: with two, Keras on TensorFlow needs the number of steps while it traces.
    row, _ = ops.scan(advance, row, ops.transpose(ops.where(emitted, symbols, -1)))
    ends = ops.sum(ops.cast(truth != BLANK, "int32"), axis=1)
    return ops.squeeze(ops.take_along_axis(row, ops.expand_dims(ends, -1), axis=1), axis=-1)


def objective(_experiment: Experiment, _preparation: Preparation[Fitted]) -> Objective:
    """The CTC loss in nats per recording, and the character error rate."""
    return keras.losses.CTC(), [CharacterErrorRate()]


# network.strides = 1 without filters turns the default convolutions off.
ALONE = {name: needed for name, needed in NEEDS.items() if name != "network.strides"}


def settings_of(_network: str, _data: str) -> frozenset[str]:
    """The settings that the network reads."""
    return LSTM | DENSE | CONVOLUTION | names(network="bidirectional normalization gaussian_noise")


NETWORK = Network({"": ctc}, objective, settings_of, predict, per_step=True, needs=ALONE)
