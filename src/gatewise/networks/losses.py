"""The losses that settings can name, shared by the networks of several tasks."""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from gatewise.errors import ConfigError

Loss = Callable[[Any, Any], Any]
Objective = tuple[Any, list[Any]]  # loss and metrics, for keras.Model.compile
PLAIN = "plain_loss"  # the metric that is the loss without the penalties of the network


def pinball(truth: Any, predictions: Any, quantiles: tuple[float, ...]) -> Any:
    """The quantile loss of each element, [..., Q]; `truth` is [..., 1].

    Koenker & Bassett 1978, doubled, so the median's loss is the absolute error.
    """
    levels = ops.convert_to_tensor(quantiles, dtype="float32")
    under = truth - predictions
    return 2 * ops.maximum(levels * under, (levels - 1) * under)


def refuse_unfit(loss: Loss, truth: Any, outputs: Any) -> None:
    """Check before training that the loss accepts outputs of this shape.

    Raises:
        ConfigError: it does not; the message holds the error of Keras.
    """
    try:
        loss(ops.convert_to_tensor(truth), ops.convert_to_tensor(outputs))
    except Exception as error:  # a loss may raise anything
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"training.loss cannot compare outputs of shape {outputs.shape} with a truth of shape "
            f"{truth.shape}: {type(error).__name__}: {reason} Choose another, or leave it at auto."
        ) from error


def named(name: str) -> Any:
    """The Keras loss of this name ("mae", "CategoricalHinge"), unreduced, on logits if it can."""
    try:
        loss = keras.losses.get(name)
    except ValueError:
        raise ConfigError(f"Keras has no loss '{name}' (see keras.losses).") from None
    if isinstance(loss, keras.losses.Loss):
        options = {"reduction": "none"} | _logits(type(loss).__init__)
        return type(loss)(**options)
    return functools.partial(loss, **_logits(loss))


# Losses that compare classes: their outputs are logits or probabilities, never measured numbers.
CLASSES = re.compile(r"crossentropy|hinge|kl_?div|kld|dice|tversky|ctc|circle", re.IGNORECASE)


def of_numbers(name: str) -> Any:
    """The Keras loss of this name for numbers to predict.

    Raises:
        ConfigError: Keras has no such loss, or it compares classes.
    """
    loss = named(name)
    if CLASSES.search(name):
        raise ConfigError(
            f"training.loss = {name!r} compares classes, but this task predicts numbers. Set it to "
            "mse, mae, huber or another loss of numbers, or leave it at auto."
        )
    return loss


def _logits(function: Any) -> dict[str, bool]:
    return {"from_logits": True} if "from_logits" in inspect.signature(function).parameters else {}
