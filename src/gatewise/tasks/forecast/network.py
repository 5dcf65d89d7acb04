"""The networks of `forecast`: an LSTM over segments (the default) and a stack of LSTMs.

The default follows SegRNN (Lin et al. 2023, arXiv:2308.11200), with an LSTM instead of a GRU. It
reads every window relative to its last value. One LSTM step reads a whole segment, and all targets
share the weights. The decoder predicts all segments of the horizon in parallel, each from the final
state and a learned position embedding, so errors do not accumulate over the horizon.
"""

from typing import Any

import keras
from keras import layers, ops

from gatewise.data.batches import Shapes
from gatewise.data.preparation import Preparation
from gatewise.networks import Network, losses
from gatewise.networks import stack as stacked
from gatewise.networks.layers import LSTM, dense, lstm, one_way, read
from gatewise.networks.losses import Loss, Objective
from gatewise.settings import OWN, Experiment, NetworkSettings, TrainingSettings, names
from gatewise.tasks.forecast.fitted import Fitted
from gatewise.tasks.forecast.logarithms import FLOOR, MOST
from gatewise.tasks.quantiles import middle


def segments(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """Map a window [batch, lookback, targets] to [batch, horizon, targets, quantiles]."""
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.inputs.items()}
    lookback, targets = shapes.inputs["past"]
    horizon, _, quantiles = shapes.output
    assert lookback is not None and targets is not None
    width, units = settings.segment_length, settings.units
    past, last = _relative(inputs["past"], settings)
    # From here on, each target is a separate sequence: [batch * targets, ...].
    x = _cut(_separate(ops.transpose(past, (0, 2, 1))), width)
    if "covariates" in inputs:
        covariates = ops.transpose(inputs["covariates"], (0, 2, 1))
        covariates = _by_segment(_cut(covariates, width), lookback, width)
        x = ops.concatenate([x, _repeat_for_targets(covariates, targets)], axis=-1)
    x = layers.Dense(units[0], activation="relu", name="segment")(x)  # [batch * targets, n, units]
    for number, size in enumerate(units[:-1], 1):
        x = lstm(size, settings, sequences=True, name=f"lstm_{number}")(x)
    recurrent = one_way(units[-1], settings, name=f"lstm_{len(units)}", state=True)
    _, hidden, cell = recurrent(x)
    count = -(-horizon // width)
    positions = _decoder_inputs(
        inputs, past, (count, targets, units[-1]), width
    )  # [batch * targets, count, units]
    # The decoder takes one step from the final state for each segment ahead:
    # [batch * targets * count, 1, units].
    start = [
        ops.reshape(ops.repeat(state[:, None], count, axis=1), (-1, units[-1]))
        for state in (hidden, cell)
    ]
    decoder = recurrent
    if len(units) > 1:
        decoder = one_way(units[-1], settings, name="decoder", state=True)
    decoded, _, _ = decoder(ops.reshape(positions, (-1, 1, units[-1])), initial_state=start)
    decoded = layers.Dropout(settings.dense_dropout)(decoded)
    ahead = layers.Dense(width * quantiles, name="steps_ahead")(decoded)
    ahead = ops.reshape(ahead, (-1, targets, count * width, quantiles))[:, :, :horizon]
    if settings.linear:
        # Zeros, so that training starts from the LSTM's forecast and adds the linear part where it
        # helps (docs/log.md).
        linear = layers.Dense(horizon * quantiles, kernel_initializer="zeros", name="linear")
        window = ops.transpose(past, (0, 2, 1))  # [batch, targets, lookback]
        ahead = ahead + ops.reshape(linear(window), (-1, targets, horizon, quantiles))
    outputs = _absolute(ops.transpose(ahead, (0, 2, 1, 3)), last, settings)
    return keras.Model(inputs if len(inputs) > 1 else inputs["past"], outputs, name="segments")


def _relative(past: Any, settings: NetworkSettings) -> tuple[Any, Any]:
    """The window as the network reads it, and its last step, [batch, 1, targets]."""
    if settings.subtract == "log":
        past = ops.log(ops.maximum(past, FLOOR))
    last = past[:, -1:, :]
    return (past if settings.subtract == "none" else past - last), last


def _absolute(ahead: Any, last: Any, settings: NetworkSettings) -> Any:
    """The forecast on the scale of the window, [batch, horizon, targets, quantiles]."""
    if settings.subtract == "none":
        return ahead
    ahead = ahead + ops.expand_dims(last, -1)
    return ops.exp(ops.minimum(ahead, MOST)) if settings.subtract == "log" else ahead


def _separate(x: Any) -> Any:
    """Reshape [batch, targets, steps] to [batch * targets, 1, steps]."""
    return ops.reshape(x, (-1, 1, x.shape[-1]))


def _cut(x: Any, width: int) -> Any:
    """Cut [rows, k, steps] into segments [rows, k * n, width], with zeros in front."""
    steps = x.shape[-1]
    short = -steps % width
    if short:
        x = ops.pad(x, ((0, 0), (0, 0), (short, 0)))
    return ops.reshape(x, (-1, x.shape[1] * ((steps + short) // width), width))


def _by_segment(x: Any, steps: int, width: int) -> Any:
    """Reshape [batch, features * n, width] to [batch, n, features * width]."""
    n = -(-steps // width)
    features = x.shape[1] // n
    x = ops.transpose(ops.reshape(x, (-1, features, n, width)), (0, 2, 1, 3))
    return ops.reshape(x, (-1, n, features * width))


def _repeat_for_targets(x: Any, targets: int) -> Any:
    """Repeat [batch, n, features] for each target: [batch * targets, n, features]."""
    return ops.reshape(ops.repeat(x[:, None], targets, axis=1), (-1, *x.shape[1:]))


def _decoder_inputs(
    inputs: dict[str, Any], past: Any, shape: tuple[int, int, int], width: int
) -> Any:
    """The decoder's input for each segment ahead: position, target and known covariates."""
    count, targets, units = shape
    size = units if targets == 1 else units - units // 2
    # Keras has no layer for 0, 1, 2, ... in every row of the batch; a cumulative sum of ones works.
    flat = ops.reshape(ops.transpose(past, (0, 2, 1))[:, :, :1], (-1, 1))  # [batch * targets, 1]
    ahead = ops.cumsum(ops.ones_like(ops.repeat(flat, count, axis=1)), axis=1) - 1
    # Unit variance, as in the paper's code: with Keras's small default, the embeddings of the
    # positions are too similar to learn from.
    wide = keras.initializers.RandomNormal(stddev=1.0)
    decoder_inputs = layers.Embedding(count, size, embeddings_initializer=wide, name="place")(ahead)
    if targets > 1:
        target_index = ops.cumsum(ops.ones_like(past[:, 0, :]), axis=1) - 1  # [batch, targets]
        wide = keras.initializers.RandomNormal(stddev=1.0)
        target_embedding = layers.Embedding(
            targets, units // 2, embeddings_initializer=wide, name="target"
        )(target_index)
        target_embedding = ops.reshape(target_embedding, (-1, 1, units // 2))
        decoder_inputs = ops.concatenate(
            [decoder_inputs, ops.repeat(target_embedding, count, axis=1)], axis=-1
        )
    if "future" in inputs:
        steps = inputs["future"].shape[1]
        # Padding at the end, because the first segment ahead begins with the first step ahead.
        padded = ops.pad(inputs["future"], ((0, 0), (0, -steps % width), (0, 0)))
        known = _by_segment(_cut(ops.transpose(padded, (0, 2, 1)), width), padded.shape[1], width)
        decoder_inputs = decoder_inputs + _repeat_for_targets(
            layers.Dense(units, name="known_ahead")(known), targets
        )
    if "static" in inputs:
        fixed = layers.Dense(units, name="static_features")(inputs["static"])
        decoder_inputs = decoder_inputs + _repeat_for_targets(fixed[:, None], targets)
    return decoder_inputs


def stack(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """The usual network of tutorials: stacked LSTMs over the window, dense layers to all steps."""
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.inputs.items()}
    horizon, targets, quantiles = shapes.output
    past = inputs["past"]  # [batch, lookback, targets]
    x, last = _relative(past, settings)
    if "covariates" in inputs:
        x = ops.concatenate([x, inputs["covariates"]], axis=-1)
    x = read(x, settings)
    # Static and known future covariates, if there are any.
    covariates = [layers.Flatten()(inputs[name]) for name in ("future", "static") if name in inputs]
    x = ops.concatenate([x, *covariates], axis=-1) if covariates else x
    x = dense(x, settings.dense, settings)
    x = layers.Dense(horizon * targets * quantiles, name="steps_ahead")(x)
    x = layers.Reshape((horizon, targets, quantiles))(x)
    outputs = _absolute(x, last, settings)
    # A single input is a plain array, as in tutorials; several inputs have names.
    return keras.Model(inputs if len(inputs) > 1 else past, outputs, name="stack")


def objective(experiment: Experiment, preparation: Preparation[Fitted]) -> Objective:
    """The quantile loss, and the absolute error of the median."""
    quantiles, network = preparation.own.quantiles, experiment.network
    log = network.subtract == "log" and network.kind != OWN
    return forecast_loss(experiment.training, quantiles, log=log), [forecast_metric(quantiles)]


def forecast_loss(
    settings: TrainingSettings, quantiles: tuple[float, ...], *, log: bool = False
) -> Any:
    """The pinball loss over the quantiles, or the named Keras loss; truth has a last axis of 1.

    `log` takes it of the logarithms, whose quantiles are the logarithms of the quantiles.
    """
    if settings.loss != "auto":
        return losses.of_numbers(settings.loss)

    def pinball(truth: Any, forecasts: Any) -> Any:
        if log:
            truth, forecasts = ops.log(ops.maximum(truth, FLOOR)), ops.log(forecasts)
        return ops.mean(losses.pinball(truth, forecasts, quantiles), axis=(1, 2, 3))

    return pinball


def forecast_metric(quantiles: tuple[float, ...]) -> Loss:
    """Mean absolute error of the median (or the only forecast) on scaled values."""
    median = middle(quantiles)

    def scaled_mae(truth: Any, forecasts: Any) -> Any:
        return ops.mean(ops.abs(truth[..., 0] - forecasts[..., median]), axis=(1, 2))

    return scaled_mae


SETTINGS = {
    "segments": LSTM | names(network="dense_dropout segment_length linear subtract"),
    "stack": stacked.SETTINGS | names(network="subtract"),
}


def settings_of(network: str, _data: str) -> frozenset[str]:
    """The settings that the network reads."""
    return SETTINGS[network]


NETWORK = Network({"segments": segments, "stack": stack}, objective, settings_of)
