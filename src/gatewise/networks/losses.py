"""Losses that the settings name, for the networks of several tasks."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from gatewise.errors import ConfigError

Loss = Callable[[Any, Any], Any]
Objective = tuple[Any, list[Any]]  # loss and metrics, as keras.Model.compile takes them


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


def named(name: str) -> Any:
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
