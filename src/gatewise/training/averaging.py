"""Averages of the weights over training: exponential (Keras's own) and stochastic (SWA)."""

from typing import Any

import keras
import numpy as np

from gatewise.data.sequences import Array
from gatewise.errors import ConfigError
from gatewise.training.checkpoints import State

BEGIN = 0.75  # the share of all epochs before SWA begins (Izmailov et al. 2018, section 4.1)


def first_epoch(kind: str, epochs: int) -> int:
    """The first epoch, from 1, whose weights are averaged."""
    return int(BEGIN * epochs) + 1 if kind == "swa" else 1


class Averaging(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is untyped
    """Puts averaged weights into the network for its validation, and at the end of training.

    `ema` is the exponential moving average that the optimizer keeps (`use_ema` of
    `keras.optimizers`). `swa` is the mean of the weights at the ends of the last quarter of the
    epochs (stochastic weight averaging, Izmailov et al. 2018, arXiv:1803.05407). `back` must follow
    the callbacks that read the averaged weights at the end of an epoch.
    """

    def __init__(self, network: keras.Model, kind: str, epochs: int) -> None:
        super().__init__()
        self.network, self.first = network, first_epoch(kind, epochs)
        optimizer = network.optimizer
        self.optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        self.ema = bool(getattr(self.optimizer, "use_ema", False))
        self.swa = kind == "swa"
        self.epoch = 0
        self.means: list[Array] = []  # of SWA
        self.count = 0  # epochs in these means
        # The weights to train on, while the average is in the network.
        self.trained: list[Array] = []
        self.back = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: self._leave())
        _check(kind, self.ema)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch + 1

    def on_test_begin(self, logs: Any = None) -> None:
        """Validate the average."""
        self._enter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Take the weights of this epoch into the mean, if no validation has."""
        if not self.trained:
            self._include()

    def on_train_end(self, logs: Any = None) -> None:
        """Leave the average in the network."""
        for variable, value in zip(self._variables(), self._average(), strict=False):
            variable.assign(value.copy())

    def state(self) -> State:
        """The mean of SWA; the optimizer has the one of EMA."""
        return State({"count": self.count}, {str(k): one for k, one in enumerate(self.means)})

    def restore(self, state: State) -> None:
        """Continue the mean of SWA."""
        self.count = state.plain["count"]
        self.means = [state.arrays[str(k)] for k in range(len(state.arrays))]

    def _variables(self) -> list[Any]:
        return list(self.network.trainable_variables)

    def _average(self) -> list[Array]:
        """The averaged weights; [] if there are none yet."""
        if not self.ema:
            return self.means
        averages = self.optimizer._model_variables_moving_average
        return [keras.ops.convert_to_numpy(one) for one in averages]

    def _include(self) -> None:
        if not self.swa or self.epoch < self.first:
            return
        weights = [keras.ops.convert_to_numpy(one) for one in self._variables()]
        self.count += 1
        before = self.means or [np.zeros_like(one) for one in weights]
        self.means = [
            mean + (one - mean) / self.count for mean, one in zip(before, weights, strict=True)
        ]

    def _enter(self) -> None:
        """Put the average into the network."""
        self._include()
        average = self._average()
        if not average:
            return
        # Copies, because JAX overwrites the memory of weights.
        self.trained = [keras.ops.convert_to_numpy(one).copy() for one in self._variables()]
        for variable, value in zip(self._variables(), average, strict=True):
            variable.assign(value.copy())

    def _leave(self) -> None:
        """Put the weights back on which training goes on."""
        for variable, value in zip(self._variables(), self.trained, strict=False):
            variable.assign(value)
        self.trained = []


def _check(kind: str, ema: bool) -> None:
    """Refuse a kind of average that the optimizer contradicts.

    Raises:
        ConfigError: both averages are asked for, or a compiled network keeps no average.
    """
    if kind == "swa" and ema:
        raise ConfigError(
            "training.averaging is swa, but the optimizer has use_ema. Leave out one of the two."
        )
    if kind == "ema" and not ema:
        raise ConfigError(
            "training.averaging is ema, but your network was compiled with an optimizer without "
            "use_ema. Compile it with use_ema=True, or do not compile it."
        )


def refuse_batch_statistics(network: keras.Model, kind: str, known: str) -> None:
    """Refuse SWA where batch normalization follows weights.

    Its statistics are those of the last weights, not of their mean. The layer of the name `known`
    normalises inputs, which no weights change.

    Raises:
        ConfigError: the network has another layer of batch normalization.
    """
    found = [
        layer.name
        for layer in network._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.name != known
    ]
    if kind == "swa" and found:
        raise ConfigError(
            f"training.averaging = swa does not go with batch normalization ({', '.join(found)}), "
            "whose statistics do not belong to averaged weights. Set training.averaging = ema or "
            "network.normalization = layer."
        )
