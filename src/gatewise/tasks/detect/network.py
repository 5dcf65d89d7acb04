"""The network of `detect`: stacked LSTMs over the lookback, up to the values of the next step."""

from typing import Any

import keras
from keras import layers, ops

from gatewise.data.batches import Shapes
from gatewise.data.preparation import Preparation
from gatewise.networks import Network, losses
from gatewise.networks import stack as stacked
from gatewise.networks.layers import dense, read
from gatewise.networks.losses import Objective
from gatewise.settings import Experiment, NetworkSettings, names
from gatewise.tasks.detect.fitted import Fitted


def stack(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """Map a window [batch, lookback, columns + calendar] to the next values, [batch, columns].

    The window is read relative to its last values, to which the network adds what it expects to
    change, so that a level that training did not have is no anomaly for ever.
    """
    lookback, width = shapes.inputs["steps"]
    (columns,) = shapes.output
    steps = keras.Input((lookback, width), name="steps")
    last = steps[:, -1:, :columns]
    x = steps[:, :, :columns] - last
    if width != columns:
        x = ops.concatenate([x, steps[:, :, columns:]], axis=-1)
    change = dense(read(x, settings), settings.dense, settings)
    change = layers.Dense(columns, name="change")(change)
    if settings.linear:
        flat = layers.Flatten()(x)
        change = change + layers.Dense(columns, use_bias=False, name="linear")(flat)
    return keras.Model(steps, change + last[:, 0], name="next_step")


def objective(experiment: Experiment, _preparation: Preparation[Fitted]) -> Objective:
    """The Huber loss or the named Keras loss, and the absolute error, on scaled values.

    The Huber loss is quadratic for small errors, but an anomaly that nobody marked in the training
    part counts no more than its distance.
    """
    if experiment.training.loss == "auto":
        return losses.of_numbers("huber"), [scaled_mae]
    return losses.of_numbers(experiment.training.loss), [scaled_mae]


def scaled_mae(truth: Any, outputs: Any) -> Any:
    """The mean absolute error of each example."""
    return ops.mean(ops.abs(truth - outputs), axis=-1)


SETTINGS = stacked.SETTINGS | names(network="linear")


def settings_of(_network: str, _data: str) -> frozenset[str]:
    """The settings that the network reads."""
    return SETTINGS


NETWORK = Network({"stack": stack}, objective, settings_of)
