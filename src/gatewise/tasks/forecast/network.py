"""The forecasting default: an LSTM over segments that decodes the whole horizon at once.

After SegRNN (Lin et al. 2023, arXiv:2308.11200), with an LSTM in place of its GRU: every window is
measured from its last value; one LSTM step reads a whole segment; each target goes through the same
weights; and the segments of the horizon are decoded side by side, each from the final state and a
learned place, so that no error is fed back.
"""

from typing import Any

import keras
from keras import layers, ops

from gatewise.data.batches import Shapes
from gatewise.data.preparation import Preparation
from gatewise.networks import Network, losses
from gatewise.networks import stack as stacked
from gatewise.networks.layers import LSTM, lstm, one_way
from gatewise.networks.losses import Loss, Objective
from gatewise.settings import Experiment, NetworkSettings, TrainingSettings, names


def segments(shapes: Shapes, settings: NetworkSettings) -> keras.Model:
    """Window [batch, lookback, targets] in, [batch, horizon, targets, quantiles] out."""
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.inputs.items()}
    lookback, targets = shapes.inputs["past"]
    horizon, _, quantiles = shapes.output
    assert lookback is not None and targets is not None
    width, units = settings.segment_length, settings.units
    last = inputs["past"][:, -1:, :]
    past = inputs["past"] - last if settings.subtract != "none" else inputs["past"]
    # From here on each target is a sequence of its own: [batch * targets, ...].
    x = _cut(_apart(ops.transpose(past, (0, 2, 1))), width)
    if "covariates" in inputs:
        beside = _cut(
            ops.transpose(inputs["covariates"], (0, 2, 1)), width
        )  # [batch, features * n, width]
        x = ops.concatenate([x, _shared(_by_segment(beside, lookback, width), targets)], axis=-1)
    x = layers.Dense(units[0], activation="relu", name="segment")(x)  # [batch * targets, n, units]
    for number, size in enumerate(units[:-1], 1):
        x = lstm(size, settings, sequences=True, name=f"lstm_{number}")(x)
    recurrent = one_way(units[-1], settings, name=f"lstm_{len(units)}", state=True)
    _, hidden, cell = recurrent(x)
    count = -(-horizon // width)
    places = _places(
        inputs, past, (count, targets, units[-1]), width
    )  # [batch * targets, count, units]
    # The final state meets each place on its own, in one step: [batch * targets * count, 1, units].
    start = [
        ops.reshape(ops.repeat(state[:, None], count, axis=1), (-1, units[-1]))
        for state in (hidden, cell)
    ]
    decoder = recurrent
    if len(units) > 1:
        decoder = one_way(units[-1], settings, name="decoder", state=True)
    decoded, _, _ = decoder(ops.reshape(places, (-1, 1, units[-1])), initial_state=start)
    decoded = layers.Dropout(settings.dense_dropout)(decoded)
    ahead = layers.Dense(width * quantiles, name="steps_ahead")(decoded)
    ahead = ops.reshape(ahead, (-1, targets, count * width, quantiles))[:, :, :horizon]
    if settings.linear:
        # Zeros: training begins at the LSTM's answer, takes from the line what helps (docs/log.md).
        straight = layers.Dense(horizon * quantiles, kernel_initializer="zeros", name="linear")
        window = ops.transpose(past, (0, 2, 1))  # [batch, targets, lookback]
        ahead = ahead + ops.reshape(straight(window), (-1, targets, horizon, quantiles))
    outputs = ops.transpose(ahead, (0, 2, 1, 3))
    if settings.subtract != "none":
        outputs = outputs + ops.expand_dims(last, -1)
    return keras.Model(inputs if len(inputs) > 1 else inputs["past"], outputs, name="segments")


def _apart(x: Any) -> Any:
    """[batch, targets, steps] to [batch * targets, 1, steps]."""
    return ops.reshape(x, (-1, 1, x.shape[-1]))


def _cut(x: Any, width: int) -> Any:
    """[rows, k, steps] to [rows, k * n, width]: segments, filled up in front with zeros."""
    steps = x.shape[-1]
    short = -steps % width
    if short:
        x = ops.pad(x, ((0, 0), (0, 0), (short, 0)))
    return ops.reshape(x, (-1, x.shape[1] * ((steps + short) // width), width))


def _by_segment(x: Any, steps: int, width: int) -> Any:
    """[batch, features * n, width] to [batch, n, features * width]."""
    n = -(-steps // width)
    features = x.shape[1] // n
    x = ops.transpose(ops.reshape(x, (-1, features, n, width)), (0, 2, 1, 3))
    return ops.reshape(x, (-1, n, features * width))


def _shared(x: Any, targets: int) -> Any:
    """The same for each target: [batch, n, features] to [batch * targets, n, features]."""
    return ops.reshape(ops.repeat(x[:, None], targets, axis=1), (-1, *x.shape[1:]))


def _places(inputs: dict[str, Any], past: Any, shape: tuple[int, int, int], width: int) -> Any:
    """What the decoder reads for each segment ahead: its place, target, and what is known of it."""
    count, targets, units = shape
    size = units if targets == 1 else units - units // 2
    # Keras has no layer for "0, 1, 2, ... in every row of the batch"; a running sum of ones is one.
    flat = ops.reshape(ops.transpose(past, (0, 2, 1))[:, :, :1], (-1, 1))  # [batch * targets, 1]
    ahead = ops.cumsum(ops.ones_like(ops.repeat(flat, count, axis=1)), axis=1) - 1
    # Unit variance, as in the paper's code: Keras's own small numbers leave the places too
    # alike to learn from.
    wide = keras.initializers.RandomNormal(stddev=1.0)
    found = layers.Embedding(count, size, embeddings_initializer=wide, name="place")(ahead)
    if targets > 1:
        which = ops.cumsum(ops.ones_like(past[:, 0, :]), axis=1) - 1  # [batch, targets]
        wide = keras.initializers.RandomNormal(stddev=1.0)
        named = layers.Embedding(targets, units // 2, embeddings_initializer=wide, name="target")(
            which
        )
        named = ops.reshape(named, (-1, 1, units // 2))
        found = ops.concatenate([found, ops.repeat(named, count, axis=1)], axis=-1)
    if "future" in inputs:
        steps = inputs["future"].shape[1]
        # Filled up behind: the first segment ahead begins with the first step ahead.
        behind = ops.pad(inputs["future"], ((0, 0), (0, -steps % width), (0, 0)))
        known = _by_segment(_cut(ops.transpose(behind, (0, 2, 1)), width), behind.shape[1], width)
        found = found + _shared(layers.Dense(units, name="known_ahead")(known), targets)
    if "static" in inputs:
        fixed = layers.Dense(units, name="static_features")(inputs["static"])
        found = found + _shared(fixed[:, None], targets)
    return found


def of_forecasts(experiment: Experiment, preparation: Preparation) -> Objective:
    """The quantile loss, and the absolute error of the median."""
    quantiles = preparation.quantiles
    return forecast_loss(experiment.training, quantiles), [forecast_metric(quantiles)]


def forecast_loss(settings: TrainingSettings, quantiles: tuple[float, ...]) -> Any:
    """The pinball loss over the quantiles, or the Keras loss named; truth has a last axis of 1."""
    if settings.loss != "auto":
        return losses.named(settings.loss)
    levels = ops.convert_to_tensor(quantiles, dtype="float32")

    def pinball(truth: Any, forecasts: Any) -> Any:
        """Koenker & Bassett 1978, doubled, so that the median alone gives the absolute error."""
        under = truth - forecasts  # [batch, horizon, targets, quantiles]
        return ops.mean(2 * ops.maximum(levels * under, (levels - 1) * under), axis=(1, 2, 3))

    return pinball


def forecast_metric(quantiles: tuple[float, ...]) -> Loss:
    """Mean absolute error of the median (or the only forecast), of scaled values."""
    middle = min(range(len(quantiles)), key=lambda q: abs(quantiles[q] - 0.5)) if quantiles else 0

    def scaled_mae(truth: Any, forecasts: Any) -> Any:
        return ops.mean(ops.abs(truth[..., 0] - forecasts[..., middle]), axis=(1, 2))

    return scaled_mae


SETTINGS = {
    "segments": LSTM | names(network="dense_dropout segment_length linear subtract"),
    "stack": stacked.SETTINGS | names(network="subtract"),
}


def settings_of(network: str, _data: str) -> frozenset[str]:
    """The settings that the network reads."""
    return SETTINGS[network]


NETWORK = Network({"segments": segments, "stack": stacked.stack}, of_forecasts, settings_of)
