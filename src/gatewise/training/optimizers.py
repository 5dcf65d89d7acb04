"""The optimizer of the settings: schedule, clipping, frozen vectors, noise."""

import functools
from typing import Any

import keras
from keras import ops

from gatewise.errors import ConfigError
from gatewise.networks.layers import VECTORS
from gatewise.settings import TrainingSettings
from gatewise.training.gradient_noise import noisy


def optimizer(
    settings: TrainingSettings, steps: int, *, frozen: int = 0
) -> keras.optimizers.Optimizer:
    """The Keras optimizer of the settings, with its schedule over all `steps` of training.

    It leaves pretrained vectors as they are in the first `frozen` epochs.

    Raises:
        ConfigError: Keras has no such optimizer, or the optimizer has no such option.
    """
    options: dict[str, Any] = dict(settings.optimizer_options)
    clips = {"clipnorm", "clipvalue", "global_clipnorm"}  # Keras allows only one of them
    if not clips & options.keys():
        if settings.clipvalue:
            options["clipvalue"] = settings.clipvalue
        elif settings.clipnorm:
            options["clipnorm"] = settings.clipnorm
    options["learning_rate"] = _schedule(settings, settings.learning_rate, steps)
    if settings.averaging == "ema":
        options["use_ema"] = True
    return optimizer_of(settings, options, steps * frozen // settings.epochs)


def optimizer_of(
    settings: TrainingSettings, options: dict[str, Any], frozen_steps: int = 0
) -> keras.optimizers.Optimizer:
    """The optimizer with these options of Keras.

    Raises:
        ConfigError: Keras has no such optimizer, or the optimizer has no such option.
    """
    name = settings.optimizer
    try:
        plain = {key: value for key, value in options.items() if key != "learning_rate"}
        kind = type(keras.optimizers.deserialize({"class_name": name, "config": plain}))
        if not issubclass(kind, keras.optimizers.Optimizer):
            raise ValueError("keras.optimizers has no class of that name.")
        kind = _freezing(kind, frozen_steps) if frozen_steps else kind
        if settings.gradient_noise:
            moving = functools.partial(_moving, frozen_steps)
            kind = noisy(kind, settings.gradient_noise, settings.seed, moving)
        return kind(**options)
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"Keras cannot make the optimizer '{name}' with {options}: {str(error).splitlines()[0]}"
        ) from error


def _freezing(kind: Any, steps: int) -> Any:
    """This class of optimizer, but pretrained vectors have no gradient in the first `steps`.

    A layer that becomes trainable during training would need a new optimizer, without the moments
    and the schedule of the first one.
    """

    class Freezing(kind):  # type: ignore[misc]  # Keras is untyped
        def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
            """Apply the gradients, those of the vectors only after `steps`."""
            variables = trainable_variables or self._trainable_variables
            grads = [
                grad * _moving(steps, self, variable) if _frozen_first(variable) else grad
                for grad, variable in zip(grads, variables, strict=True)
            ]
            return super().apply(grads, trainable_variables)

    return Freezing


def _frozen_first(variable: Any) -> bool:
    return VECTORS in variable.path.split("/")


def _moving(steps: int, optimizer: Any, variable: Any) -> Any:
    """1, but 0 for pretrained vectors in the first `steps`."""
    if not _frozen_first(variable):
        return 1.0
    return ops.cast(optimizer.iterations >= steps, "float32")


def rate_of(optimizer: keras.optimizers.Optimizer) -> float:
    """The current learning rate."""
    return float(ops.convert_to_numpy(ops.convert_to_tensor(optimizer.learning_rate)))


def _schedule(settings: TrainingSettings, rate: float, steps: int) -> Any:
    warmup = int(settings.warmup * steps)
    if settings.schedule == "cosine" or (settings.schedule == "constant" and warmup):
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else rate,
            decay_steps=max(1, steps - warmup),
            # alpha is the share of the rate that remains at the end: 1 means no decay
            alpha=0.0 if settings.schedule == "cosine" else 1.0,
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    if warmup:
        raise ConfigError("training.warmup needs training.schedule = constant or cosine.")
    if settings.schedule == "exponential":
        return keras.optimizers.schedules.ExponentialDecay(rate, decay_steps=steps, decay_rate=0.01)
    return rate
