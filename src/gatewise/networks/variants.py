"""LSTMs with zone-out and with layer normalization inside the cell, which Keras does not have.

Both change what the cell computes in prediction, so a saved model holds these classes. Keras opens
it once this module is imported, and runs it with its own loop over the steps.
"""

from typing import Any

import keras
from keras import layers, ops

from gatewise.networks.dropping import weights_dropped

EPSILON = 1e-3  # added to variances, as in keras.layers.LayerNormalization


@keras.saving.register_keras_serializable("gatewise")
class VariantLSTMCell(layers.LSTMCell):  # type: ignore[misc]  # Keras is untyped
    """A keras.layers.LSTMCell with zone-out, with layer normalization, or with both.

    Zone-out (Krueger et al. 2017): in training, each unit of h and of c keeps its previous value
    with probability `zoneout`; in prediction it takes the expectation of that.

    `normalized` (Ba et al. 2016): the products of the inputs and of the state are normalized over
    all gates, each with a gain, and the cell is normalized before the activation of the output,
    with a gain and an offset. The bias of the gates is their offset.

    Args:
        units: the size of h and of c.
        zoneout: 0 to 1.
        normalized: whether the sums and the cell are normalized.
        options: those of keras.layers.LSTMCell.
    """

    def __init__(
        self, units: int, zoneout: float = 0.0, normalized: bool = False, **options: Any
    ) -> None:
        super().__init__(units, **options)
        self.zoneout, self.normalized = zoneout, normalized

    def build(self, input_shape: Any) -> None:
        """Create the weights of the LSTM, and the gains and the offset of the normalizations."""
        super().build(input_shape)
        self.features = input_shape[-1]
        if self.normalized:
            sizes = {"kernel_gain": 4, "recurrent_gain": 4, "cell_gain": 1}
            self.gains = [
                self.add_weight(shape=(size * self.units,), initializer="ones", name=name)
                for name, size in sizes.items()
            ]
            self.cell_offset = self.add_weight(
                shape=(self.units,), initializer="zeros", name="cell_offset"
            )

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        """One step: inputs [batch, features] and states [h, c] -> h, [h, c].

        In training with zone-out, 2 * units further columns of the inputs are 1 where h and c keep
        their values: the loop over the steps may not draw random numbers.
        """
        h_before, c_before = states
        kept = inputs[:, self.features :]
        x, h = inputs[:, : self.features], h_before
        dropped = recurrent_dropped = None
        if training and 0 < self.dropout < 1:
            dropped = self.get_dropout_mask(x)
        if training and 0 < self.recurrent_dropout < 1:
            recurrent_dropped = self.get_recurrent_dropout_mask(h)
        x = _product(x, self.kernel, dropped)
        h = _product(h, self.recurrent_kernel, recurrent_dropped)
        if self.normalized:
            kernel_gain, recurrent_gain, cell_gain = self.gains
            x, h = _normalized(x) * kernel_gain, _normalized(h) * recurrent_gain
        z = x + h if self.bias is None else x + h + self.bias
        i, f, g, o = ops.split(z, 4, axis=-1)
        c = self.recurrent_activation(f) * c_before
        c += self.recurrent_activation(i) * self.activation(g)
        seen = _normalized(c) * cell_gain + self.cell_offset if self.normalized else c
        h = self.recurrent_activation(o) * self.activation(seen)
        if self.zoneout:
            h_kept, c_kept = ops.split(kept, 2, axis=-1) if training else (self.zoneout,) * 2
            h, c = h_kept * h_before + (1 - h_kept) * h, c_kept * c_before + (1 - c_kept) * c
        return h, [h, c]

    def get_config(self) -> dict[str, Any]:
        """The options of the cell."""
        own = {"zoneout": self.zoneout, "normalized": self.normalized}
        return {**super().get_config(), **own}


def _product(x: Any, kernel: Any, masks: Any) -> Any:
    """The product x @ kernel, [batch, 4 units], with one dropout mask, or one for each gate."""
    if not isinstance(masks, list):
        return ops.matmul(x if masks is None else x * masks, kernel)
    parts = zip(masks, ops.split(kernel, 4, axis=-1), strict=True)
    return ops.concatenate([ops.matmul(x * mask, part) for mask, part in parts], axis=-1)


def _normalized(x: Any) -> Any:
    """Mean 0 and variance 1 along the last axis."""
    apart = x - ops.mean(x, axis=-1, keepdims=True)
    return apart * ops.rsqrt(ops.mean(ops.square(apart), axis=-1, keepdims=True) + EPSILON)


@keras.saving.register_keras_serializable("gatewise")
class VariantLSTM(layers.RNN):  # type: ignore[misc]  # Keras is untyped
    """A recurrent layer of a VariantLSTMCell.

    Args:
        cell: the cell.
        weight_dropout: as in WeightDropLSTM.
        options: those of keras.layers.RNN.
    """

    def __init__(self, cell: VariantLSTMCell, weight_dropout: float = 0.0, **options: Any) -> None:
        super().__init__(cell, **options)
        self.weight_dropout = weight_dropout
        self.seed = keras.random.SeedGenerator()

    @property
    def units(self) -> int:
        """The size of h and of c."""
        return int(self.cell.units)

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        """Map [batch, steps, features] like keras.layers.RNN."""
        rate = self.weight_dropout if training else 0.0
        with weights_dropped(self, rate, self.seed):
            return super().call(sequences, initial_state, mask, training)

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> Any:
        """Run all steps; what zone-out keeps in training is drawn before the first one."""
        if training and self.cell.zoneout:
            shape = (*ops.shape(sequences)[:2], 2 * self.units)
            kept = keras.random.uniform(shape, seed=self.seed) < self.cell.zoneout
            kept = ops.cast(kept, sequences.dtype)
            sequences = ops.concatenate([sequences, kept], axis=-1)
        return super().inner_loop(sequences, initial_state, mask, training)

    def get_config(self) -> dict[str, Any]:
        """The options of the layer."""
        return {**super().get_config(), "weight_dropout": self.weight_dropout}


def has_variants(network: keras.Model) -> bool:
    """Whether a network holds a VariantLSTM."""
    return any(type(layer) is VariantLSTM for layer in network._flatten_layers())
