"""The pieces that networks share: LSTM layers as the settings ask, pooling over steps, dense layers."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from gatewise.experiment import NetworkSettings

DEFAULT_UNITS = (64,)


def regularizer(settings: NetworkSettings) -> Any:
    """L1 and L2 as the settings ask, or None."""
    if not (settings.l1 or settings.l2):
        return None
    return keras.regularizers.L1L2(l1=settings.l1, l2=settings.l2)


def lstm(
    units: int, settings: NetworkSettings, *, sequences: bool, name: str
) -> keras.layers.Layer:
    """One LSTM layer, in both directions if asked for."""
    layer = layers.LSTM(
        units,
        activation=settings.activation,
        recurrent_activation=settings.recurrent_activation,
        return_sequences=sequences,
        dropout=max(0.0, settings.dropout),
        recurrent_dropout=settings.recurrent_dropout,
        kernel_regularizer=regularizer(settings),
        recurrent_regularizer=regularizer(settings),
        name=name,
    )
    return layers.Bidirectional(layer, name=f"both_{name}") if settings.bidirectional else layer


def read(x: Any, settings: NetworkSettings, *, mask: Any = None) -> Any:
    """Stacked LSTMs over x [batch, steps, features], then one vector a sequence, [batch, features]."""
    units = settings.units or DEFAULT_UNITS
    for number, size in enumerate(units, 1):
        sequences = number < len(units) or settings.pooling != "last"
        x = lstm(size, settings, sequences=sequences, name=f"lstm_{number}")(x)
        if settings.normalization != "none":
            kind = {"batch": layers.BatchNormalization, "layer": layers.LayerNormalization}
            x = kind[settings.normalization](name=f"normalization_{number}")(x)
    return pool(x, settings.pooling, mask)


def pool(x: Any, how: str, mask: Any) -> Any:
    """[batch, steps, features] to [batch, features]; masked steps take no part."""
    if how == "mean":
        return layers.GlobalAveragePooling1D(name="mean")(x, mask=mask)
    if how == "max":
        if mask is not None:
            # A masked step would else bring the zeros that a bidirectional layer puts there.
            x = ops.where(ops.expand_dims(mask, -1), x, -1e9)
        return ops.max(x, axis=1)
    if how == "attention":
        last = x[:, -1:, :]  # the state after the last real step is carried to the end
        found = layers.Attention(name="attention")([last, x], mask=[None, mask])
        return ops.squeeze(found, axis=1)
    return x


def dense(x: Any, sizes: Sequence[int], settings: NetworkSettings) -> Any:
    """Dense layers with dropout before each and behind the last."""
    for number, size in enumerate(sizes, 1):
        x = _drop(x, settings)
        x = layers.Dense(
            size,
            activation=settings.dense_activation,
            kernel_regularizer=regularizer(settings),
            name=f"dense_{number}",
        )(x)
    return _drop(x, settings)


def _drop(x: Any, settings: NetworkSettings) -> Any:
    return layers.Dropout(settings.dropout)(x) if settings.dropout > 0 else x
