"""The network of `detect`: stacked LSTMs over the lookback, up to the values of the next step.

As in LSTM-AD (Malhotra et al. 2015), a step is predicted several times: from all steps before it,
and from those up to some steps before it, which an anomaly that lasts cannot have changed.
"""

from typing import Any

import keras
from keras import layers, ops

from gatewise.data.batches import Shapes
from gatewise.data.preparation import Preparation
from gatewise.networks import Network, losses
from gatewise.networks.layers import DENSE, LSTM, dense, recurrent
from gatewise.networks.losses import Objective
from gatewise.settings import Experiment, NetworkSettings, names
from gatewise.tasks.detect.examples import distances
from gatewise.tasks.detect.fitted import Fitted


def stack(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """Map a window [batch, lookback, columns + calendar] to [batch, distances, columns].

    The state after the step `d` before the next one predicts it, relative to the values there, so
    that a level that training did not have does not stay an anomaly for ever.
    """
    lookback, width = shapes.inputs["steps"]
    assert lookback is not None
    count, columns = shapes.output
    ahead = distances(count)
    steps = keras.Input((lookback, width), name="steps")
    values = steps[:, :, :columns]
    # No state that predicts is before this step, so that none knows later values by it.
    x = values - values[:, lookback - ahead[-1], None]
    if width != columns:
        x = ops.concatenate([x, steps[:, :, columns:]], axis=-1)
    states = dense(recurrent(x, settings, mask=None, sequences=True), settings.dense, settings)
    predicted = []
    for d in ahead:
        change = layers.Dense(columns, name=f"ahead_{d}")(states[:, lookback - d])
        if settings.linear:
            flat = layers.Flatten()(x[:, : lookback - d + 1])
            change = change + layers.Dense(columns, use_bias=False, name=f"linear_{d}")(flat)
        predicted.append(change + values[:, lookback - d])
    return keras.Model(steps, ops.stack(predicted, axis=1), name="next_step")


def objective(experiment: Experiment, _preparation: Preparation[Fitted]) -> Objective:
    """The Huber loss or the named Keras loss, and the absolute error, on scaled values.

    The Huber loss is quadratic for small errors, but an anomaly that nobody marked in the training
    part counts no more than its distance.
    """
    loss = experiment.training.loss
    return losses.of_numbers("huber" if loss == "auto" else loss), [scaled_mae]


def scaled_mae(truth: Any, outputs: Any) -> Any:
    """The mean absolute error of the prediction from all steps before."""
    return ops.mean(ops.abs(truth - outputs)[:, 0], axis=-1)


SETTINGS = LSTM | DENSE | names(network="normalization linear")


def settings_of(_network: str, _data: str) -> frozenset[str]:
    """The settings that the network reads."""
    return SETTINGS


NETWORK = Network({"stack": stack}, objective, settings_of)
