"""The building blocks that networks share: LSTM layers, pooling, convolutions, dense layers."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from gatewise.data.batches import Shapes
from gatewise.data.bigrams import BIGRAMS, rows_of
from gatewise.data.scaling import FINEST
from gatewise.networks.dropping import WeightDropLSTM
from gatewise.networks.imports import without_tensorflow
from gatewise.networks.variants import VariantLSTM, VariantLSTMCell
from gatewise.settings import NetworkSettings, names

VECTORS = "embedding"  # the name of the layer that may start with pretrained vectors
STATISTICS = "statistics"  # the name of the layer that normalises the summaries of the inputs
EVIDENCE = 20.0  # a factor on the sum of log-count ratios, so that its weights are learned in time

# The settings that `lstm`, `read`, `dense`, `embed` and `convolve` read.
LSTM = names(
    network="units activation recurrent_activation dropout recurrent_dropout weight_dropout"
) | names(network="zoneout cell_normalization l1 l2 activity_l1 activity_l2")
READ = LSTM | names(network="bidirectional normalization pooling")
DENSE = names(network="dense dense_activation dense_dropout")
EMBEDDING = names(network="embedding_dim embedding_dropout")
PRETRAINED = names(network="vectors", training="frozen_epochs pretrain pretrain_epochs")
CONVOLUTION = names(network="filters kernel_size strides")


def regularizer(settings: NetworkSettings) -> Any:
    """The L1 and L2 penalties of the settings on weights, or None."""
    return _penalty(settings.l1, settings.l2)


def _penalty(l1: float, l2: float) -> Any:
    return keras.regularizers.L1L2(l1=l1, l2=l2) if l1 or l2 else None


def lstm(
    units: int,
    settings: NetworkSettings,
    *,
    name: str,
    sequences: bool = False,
    state: bool = False,
) -> keras.layers.Layer:
    """One LSTM layer, bidirectional if the settings ask for it."""
    layer = one_way(units, settings, name=name, sequences=sequences, state=state)
    return both_ways(layer, f"both_{name}") if settings.bidirectional else layer


def one_way(
    units: int,
    settings: NetworkSettings,
    *,
    name: str,
    sequences: bool = False,
    state: bool = False,
) -> keras.layers.Layer:
    """One LSTM layer; `sequences` returns every step, `state` also returns the final state."""
    of_cell: dict[str, Any] = {
        "units": units,
        "activation": settings.activation,
        "recurrent_activation": settings.recurrent_activation,
        "dropout": settings.dropout,
        "recurrent_dropout": settings.recurrent_dropout,
        "kernel_regularizer": regularizer(settings),
        "recurrent_regularizer": regularizer(settings),
    }
    of_layer: dict[str, Any] = {
        "return_sequences": sequences,
        "return_state": state,
        "activity_regularizer": _penalty(settings.activity_l1, settings.activity_l2),
        "name": name,
    }
    if settings.weight_dropout:
        of_layer["weight_dropout"] = settings.weight_dropout
    if settings.zoneout or settings.cell_normalization:
        cell = VariantLSTMCell(
            zoneout=settings.zoneout, normalized=settings.cell_normalization, **of_cell
        )
        return masking(VariantLSTM(cell, **of_layer))
    kind = WeightDropLSTM if settings.weight_dropout else layers.LSTM
    return masking(kind(**of_cell, **of_layer))


def both_ways(layer: keras.layers.Layer, name: str) -> keras.layers.Layer:
    """A bidirectional layer, whose outputs are concatenated."""
    with without_tensorflow(keras.saving.serialize_keras_object):
        return masking(layers.Bidirectional(layer, name=name))


def masking(layer: Any) -> Any:
    """Silence the warning that the recurrent layers of a layer or model do not pass masks on.

    It is new in Keras 3.16. Our networks pass each layer its mask explicitly.
    """
    for inner in layer._flatten_layers():
        if isinstance(inner, layers.RNN | layers.Bidirectional):
            inner.supports_masking = True
    return layer


def embed(tokens: Any, name: str, shapes: Shapes, settings: NetworkSettings) -> tuple[Any, Any]:
    """Embed the input `name`, [batch, steps], as [batch, steps, embedding]; also return the mask.

    The embedding starts with `shapes.initial` if that holds pretrained vectors.
    """
    vocabulary, vectors = shapes.vocabulary[name], shapes.initial.get(VECTORS)
    x = layers.Embedding(vocabulary, settings.embedding_dim, weights=vectors, name=VECTORS)(tokens)
    if settings.embedding_dropout:
        # Drops the same features at every step (Gal & Ghahramani 2016).
        x = layers.SpatialDropout1D(settings.embedding_dropout, name="embedding_dropout")(x)
    return x, ops.not_equal(tokens, 0)


def evidence(tokens: Any, name: str, shapes: Shapes) -> Any:
    """The sum of the weighted log-count ratios of tokens and bigrams, [batch, labels].

    The ratios stay as they are, and their weights start at zero, so that a bigram counts only as
    far as training confirms it. The sum grows with the root of the length.
    """
    rows, vocabulary = shapes.vocabulary[BIGRAMS], shapes.vocabulary[name]
    ratios = layers.Embedding(
        rows,
        shapes.output[0],
        weights=shapes.initial.get(BIGRAMS),
        trainable=False,
        name="bigram_ratios",
    )
    weights = layers.Embedding(rows, 1, embeddings_initializer="zeros", name="bigram_weights")
    mask = ops.not_equal(tokens, 0)
    before = ops.pad(tokens[:, :-1], [[0, 0], [1, 0]])
    alone = ops.zeros_like(tokens)
    places = [rows_of(one, tokens, rows=rows, vocabulary=vocabulary) for one in (alone, before)]
    each = ops.add(*(ratios(place) * weights(place) for place in places))
    mean = pool(each, "mean", mask)
    return mean * ops.sqrt(_count(mask, mean)) * EVIDENCE


def one_or_other(x: Any, y: Any) -> Any:
    """Both [batch, features] side by side; in training, one of them at random, and zeros.

    So each learns to answer alone, and the dense layer behind answers with their mean, in which x
    has a share of a quarter.
    """
    drawn = layers.Dropout(0.5, name="one_or_other")(ops.ones_like(x[:, :1]))  # 0 or 2; else 1
    share = ops.square(drawn) / 4.0
    return ops.concatenate([x * share, y * (1.0 - share)], axis=-1)


def read(x: Any, settings: NetworkSettings, *, mask: Any = None) -> Any:
    """Stacked LSTMs over x [batch, steps, features], pooled to [batch, features]."""
    x = recurrent(x, settings, mask=mask, sequences=settings.pooling != "last")
    return pool(x, settings.pooling, mask)


def recurrent(x: Any, settings: NetworkSettings, *, mask: Any, sequences: bool) -> Any:
    """Stacked LSTMs over x [batch, steps, features]; `sequences` returns every step."""
    for number, size in enumerate(settings.units, 1):
        every = number < len(settings.units) or sequences
        x = lstm(size, settings, sequences=every, name=f"lstm_{number}")(x, mask=mask)
        if settings.normalization != "none":
            kind = {"batch": layers.BatchNormalization, "layer": layers.LayerNormalization}
            x = kind[settings.normalization](name=f"normalization_{number}")(x)
    return x


def pool(x: Any, how: str, mask: Any) -> Any:
    """Pool [batch, steps, features] to [batch, features]; masked steps do not count."""
    if how == "mean":
        return layers.GlobalAveragePooling1D()(x, mask=mask)
    if how == "max":
        return ops.max(only(x, mask, -1e9), axis=1)
    if how == "mean-max":
        return ops.concatenate([pool(x, "mean", mask), pool(x, "max", mask)], axis=-1)
    if how == "all":
        return ops.concatenate([_last(x, mask)[:, 0], pool(x, "mean-max", mask)], axis=-1)
    if how == "attention":
        attended = layers.Attention(name="attention")([_last(x, mask), x], mask=[None, mask])
        return ops.squeeze(attended, axis=1)
    return x


def _last(x: Any, mask: Any) -> Any:
    """The features of the last unmasked step, [batch, 1, features]."""
    if mask is None:
        return ops.expand_dims(x[:, -1], axis=1)
    # A backward layer also has its output for the last unmasked step there, not at the end.
    place = ops.maximum(ops.sum(ops.cast(mask, "int32"), axis=1) - 1, 0)
    return ops.take_along_axis(x, ops.reshape(place, (-1, 1, 1)), axis=1)


def only(x: Any, mask: Any, otherwise: float) -> Any:
    """Select x where the mask is true, and `otherwise` elsewhere."""
    return x if mask is None else ops.where(ops.expand_dims(mask, -1), x, otherwise)


def convolve(x: Any, settings: NetworkSettings, mask: Any) -> tuple[Any, Any]:
    """Convolutions over x [batch, steps, features] and their mask, each `strides` times shorter.

    The padding does not depend on the length, so masked steps never shift the others.
    """
    size = settings.kernel_size
    for number, filters in enumerate(filter(None, settings.filters), 1):
        x = layers.ZeroPadding1D((size // 2, size - 1 - size // 2))(x)
        x = layers.Conv1D(
            filters,
            size,
            strides=settings.strides,
            activation="relu",
            kernel_regularizer=regularizer(settings),
            name=f"convolution_{number}",
        )(x)
        if mask is not None:
            step = settings.strides
            real = ops.expand_dims(ops.cast(mask, x.dtype), -1)
            real = layers.MaxPooling1D(step, strides=step, padding="same")(real)
            mask = ops.squeeze(real, axis=-1) > 0.5
            x = only(x, mask, 0.0)
    return x, mask


def fine(x: Any, mask: Any, size: float) -> Any:
    """The columns, and asinh of their distances from their means over `size`.

    asinh is linear up to about 1, and a logarithm beyond: [batch, steps, 2 * columns].
    """
    mean = ops.expand_dims(pool(x, "mean", mask), 1)
    return ops.concatenate([x, only(ops.arcsinh((x - mean) / size), mask, 0.0)], axis=-1)


def statistics(x: Any, mask: Any) -> Any:
    """The summary that the logistic regression baseline reads, normalised: [batch, features].

    For each column the mean, deviation, minimum, maximum, first value, last value and mean absolute
    change, and the logarithms of the deviation and of the change; then the length, if lengths
    differ.
    """
    mean = pool(x, "mean", mask)
    apart = only(ops.square(x - ops.expand_dims(mean, 1)), mask, 0.0)
    change = ops.abs(x[:, 1:] - x[:, :-1])
    both = None if mask is None else ops.logical_and(mask[:, 1:], mask[:, :-1])
    # The number of steps is unknown where the network is built, so it is counted.
    steps = _count(ops.ones_like(x[..., 0]) if mask is None else mask, x)
    deviation = ops.sqrt(ops.sum(apart, axis=1) / steps + FINEST**2)
    changed = ops.sum(only(change, both, 0.0), axis=1) / steps
    features = [
        mean,
        deviation,
        -ops.max(only(-x, mask, -1e9), axis=1),
        ops.max(only(x, mask, -1e9), axis=1),
        x[:, 0],
        _last(x, mask)[:, 0],
        changed,
        ops.log(deviation),
        ops.log(changed + FINEST),
    ]
    if mask is not None:
        features.append(steps)
    return layers.BatchNormalization(name=STATISTICS)(ops.concatenate(features, axis=-1))


def _count(mask: Any, x: Any) -> Any:
    return ops.maximum(ops.sum(ops.cast(mask, x.dtype), axis=1, keepdims=True), 1.0)


def dense(x: Any, sizes: Sequence[int], settings: NetworkSettings) -> Any:
    """Dense layers with dropout before each layer and after the last."""
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
    rate = settings.dense_dropout
    return layers.Dropout(rate)(x) if rate > 0 else x
