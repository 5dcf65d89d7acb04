"""The networks of `regress`: stacked LSTMs up to a number, or to a number at each step."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from gatewise.data.batches import Shapes
from gatewise.data.preparation import Preparation
from gatewise.networks import Network, losses
from gatewise.networks.layers import DENSE, LSTM, dense, recurrent
from gatewise.networks.losses import Objective
from gatewise.networks.stack import OF_STEPS, OF_TEXTS, features, inputs_of, masked
from gatewise.settings import Experiment, NetworkSettings, names
from gatewise.tasks.quantiles import middle
from gatewise.tasks.regress.fitted import Fitted
from gatewise.tasks.regress.outputs import predict


def sequence(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """Map a sequence to [batch, targets, quantiles]."""
    inputs, x = features(shapes, settings)
    targets, quantiles = shapes.output
    x = layers.Dense(targets * quantiles, name="numbers")(x)
    return keras.Model(inputs, layers.Reshape((targets, quantiles))(x), name="sequence")


def steps(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """Map each step to [batch, steps, targets, quantiles], from this step and those before it."""
    steps_in = inputs_of(shapes)["steps"]
    x, mask = masked(steps_in, shapes)
    x = recurrent(x, settings, mask=mask, sequences=True)
    x = dense(x, settings.dense, settings)
    targets, quantiles = shapes.output
    x = layers.Dense(targets * quantiles, name="numbers")(x)
    # Keras warns of a Reshape that destroys a mask.
    return keras.Model(steps_in, ops.stack(ops.split(x, targets, axis=-1), axis=2), name="steps")


# (truth [..., 1], outputs [..., quantiles]) -> the loss of each number, [...].
Each = Callable[[Any, Any], Any]


class MeanOfKnown(keras.losses.Loss):  # type: ignore[misc]  # Keras is untyped
    """The mean of a loss over the numbers that are known; the others are NaN."""

    def __init__(self, each: Each) -> None:
        super().__init__(name="loss_of_known")
        self.each = each

    # Keras's own mean would count padded steps and those that are only read.
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss for truth [..., 1] and outputs [..., quantiles]."""
        known, values = _of_known(self.each, y_true, y_pred)
        return ops.sum(values) / ops.maximum(ops.sum(known), 1.0)


class ScaledError(keras.metrics.Mean):  # type: ignore[misc]  # Keras is untyped
    """The mean absolute error of the median on scaled targets; unknown ones do not count."""

    def __init__(self, place: int) -> None:
        super().__init__(name="output_mae")
        self.place = place

    def update_state(self, truth: Any, outputs: Any, sample_weight: Any = None) -> Any:
        """Add a batch: truth [..., 1] and outputs [..., quantiles]."""
        known, errors = _of_known(self._error, truth, outputs)
        # One row, because Keras averages several rows, and numbers of long batches would weigh
        # less.
        return super().update_state(ops.reshape(errors, (-1,)), ops.reshape(known, (-1,)))

    def _error(self, truth: Any, outputs: Any) -> Any:
        return ops.abs(truth[..., 0] - outputs[..., self.place])


def _of_known(each: Each, truth: Any, outputs: Any) -> tuple[Any, Any]:
    """1 for each known number, else 0; and the loss of each, 0 where it is unknown."""
    truth = ops.cast(truth, outputs.dtype)
    finite = ops.isfinite(truth)
    known = ops.cast(finite[..., 0], outputs.dtype)
    # Both are replaced, because the gradient of NaN times 0 is NaN.
    values = each(ops.where(finite, truth, 0.0), ops.where(finite, outputs, 0.0))
    return known, values * known


def objective(experiment: Experiment, preparation: Preparation[Fitted]) -> Objective:
    """The quantile loss or the named Keras loss, and the absolute error of the median."""
    quantiles = preparation.own.quantiles
    if experiment.training.loss == "auto":

        def each(truth: Any, outputs: Any) -> Any:
            return ops.mean(losses.pinball(truth, outputs, quantiles), axis=-1)

    else:
        each = losses.of_numbers(experiment.training.loss)
    return MeanOfKnown(each), [ScaledError(middle(quantiles))]


SETTINGS_OF_STEPS = LSTM | DENSE | names(network="bidirectional normalization")


def settings_of(network: str, data: str) -> frozenset[str]:
    """The settings that the network reads."""
    if network == "per-step":
        return SETTINGS_OF_STEPS
    return OF_TEXTS if data == "text" else OF_STEPS


NETWORK = Network({"stack": sequence, "per-step": steps}, objective, settings_of, predict)
