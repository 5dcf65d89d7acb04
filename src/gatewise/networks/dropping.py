"""Dropout on recurrent weights, in training only: a layer that becomes Keras's LSTM when saved."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import layers

from gatewise.networks.imports import without_tensorflow

REGISTERED = "gatewise>WeightDropLSTM"  # as Keras names the class in a configuration


@keras.saving.register_keras_serializable("gatewise")
class WeightDropLSTM(layers.LSTM):  # type: ignore[misc]  # Keras is untyped
    """An LSTM whose recurrent weights are dropped with probability `weight_dropout` in training.

    All steps of a batch have the same mask, and the kept weights are divided by 1 - weight_dropout
    (DropConnect, Merity et al. 2018). The mask is applied before the loop over the steps, so the
    native kernels run. Without training it is exactly a keras.layers.LSTM.
    """

    def __init__(self, units: int, weight_dropout: float = 0.0, **options: Any) -> None:
        super().__init__(units, **options)
        self.weight_dropout = weight_dropout
        self.weight_seed = keras.random.SeedGenerator()

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        """Map [batch, steps, features] like keras.layers.LSTM."""
        rate = self.weight_dropout if training else 0.0
        with weights_dropped(self, rate, self.weight_seed):
            return super().call(sequences, initial_state, mask, training)

    def get_config(self) -> dict[str, Any]:
        """The options of the layer."""
        return {**super().get_config(), "weight_dropout": self.weight_dropout}


@contextmanager
def weights_dropped(layer: Any, rate: float, seed: Any) -> Iterator[None]:
    """Within this context, the recurrent weights of a layer are dropped with this `rate`."""
    if not rate:
        yield
        return
    kernel = layer.cell.recurrent_kernel
    dropped = keras.random.dropout(kernel.value, rate, seed=seed)
    # Inside a scope, variables that it does not list would lose the values of the outer scope.
    values = [(one, dropped if one is kernel else one.value) for one in layer.variables]
    with keras.StatelessScope(values) as scope:
        yield
    for one in layer.non_trainable_variables:  # the state of the draws
        after = scope.get_current_value(one)
        if after is not None:
            one.assign(after)


def without_weight_dropout(network: keras.Model) -> keras.Model:
    """A copy of a network with Keras's own LSTM layers; the network itself, if it has no others."""
    if not any(type(layer) is WeightDropLSTM for layer in network._flatten_layers()):
        return network
    with without_tensorflow(keras.saving.serialize_keras_object):
        config = _as_lstm(network.get_config())
    copy = type(network).from_config(config)
    copy.set_weights(network.get_weights())
    return copy


def _as_lstm(config: Any) -> Any:
    """A configuration of Keras in which each WeightDropLSTM is a keras.layers.LSTM."""
    if isinstance(config, list | tuple):
        return type(config)(_as_lstm(one) for one in config)
    if not isinstance(config, dict):
        return config
    if config.get("registered_name") == REGISTERED:
        options = {key: one for key, one in config["config"].items() if key != "weight_dropout"}
        own = {"module": "keras.layers", "class_name": "LSTM", "registered_name": None}
        return {**config, **own, "config": options}
    return {key: _as_lstm(one) for key, one in config.items()}
