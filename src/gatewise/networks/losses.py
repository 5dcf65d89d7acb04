"""What is minimised, and the one metric that the epoch line shows."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from gatewise.data.preparation import Preparation
from gatewise.errors import ConfigError
from gatewise.experiment import Experiment, TrainingSettings

Loss = Callable[[Any, Any], Any]
Objective = tuple[Any, list[Any]]  # loss and metrics, as keras.Model.compile takes them


def of_forecasts(experiment: Experiment, preparation: Preparation) -> Objective:
    """The quantile loss, and the absolute error of the median."""
    quantiles = preparation.quantiles
    return forecast_loss(experiment.training, quantiles), [forecast_metric(quantiles)]


def of_labels(experiment: Experiment, preparation: Preparation) -> Objective:
    """Cross entropy, and accuracy; with several labels, of each label by itself."""
    if preparation.separator:
        if experiment.training.loss != "auto":
            raise ConfigError("training.loss is for one label a sequence; leave it at auto.")
        smoothing = experiment.training.label_smoothing
        loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)
        return loss, [keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)]
    return classify_loss(experiment.training, len(preparation.classes)), ["accuracy"]


def forecast_loss(settings: TrainingSettings, quantiles: tuple[float, ...]) -> Any:
    """The pinball loss over the quantiles, or the Keras loss named; truth has a last axis of 1."""
    if settings.loss != "auto":
        return _named(settings.loss)
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


def classify_loss(settings: TrainingSettings, classes: int) -> Any:
    """Cross entropy of logits, or the Keras loss named; labels are positions, [batch]."""
    name = settings.loss.lower().replace("_", "")
    usual = name in ("auto", "sparsecategoricalcrossentropy", "categoricalcrossentropy")
    if usual and not settings.label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if usual:
        inner: Any = functools.partial(
            keras.losses.categorical_crossentropy,
            from_logits=True,
            label_smoothing=settings.label_smoothing,
        )
        reads_logits = True
    else:
        inner = _named(settings.loss)
        reads_logits = "crossentropy" in name

    def loss(truth: Any, logits: Any) -> Any:
        hot = ops.one_hot(ops.cast(ops.reshape(truth, (-1,)), "int32"), classes)
        return inner(hot, logits if reads_logits else ops.softmax(logits))

    return loss


def refuse_unfit(loss: Loss, truth: Any, outputs: Any) -> None:
    """A loss that cannot judge outputs of this shape is known before training.

    Raises:
        ConfigError: what Keras says of it.
    """
    try:
        loss(ops.convert_to_tensor(truth), ops.convert_to_tensor(outputs))
    except Exception as error:  # a loss may raise whatever it likes
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"training.loss cannot judge outputs of shape {outputs.shape} by a truth of shape "
            f"{truth.shape}: {type(error).__name__}: {reason} Choose another, or leave it at auto."
        ) from error


def _named(name: str) -> Any:
    """Keras's loss of this name ("mae", "CategoricalHinge"), unreduced, of logits if it can."""
    try:
        found = keras.losses.get(name)
    except ValueError:
        raise ConfigError(f"Keras has no loss '{name}' (see keras.losses).") from None
    if isinstance(found, keras.losses.Loss):
        options = {"reduction": "none"} | _logits(type(found).__init__)
        return type(found)(**options)
    return functools.partial(found, **_logits(found))


def _logits(function: Any) -> dict[str, bool]:
    return {"from_logits": True} if "from_logits" in inspect.signature(function).parameters else {}
