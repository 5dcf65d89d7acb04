"""The defaults of a training that do not depend on the task: quality, patience, learning rate."""

import os
from dataclasses import replace
from typing import Any

import numpy as np

from gatewise.errors import ConfigError
from gatewise.settings import QUALITIES, TrainingSettings
from gatewise.training.optimizers import optimizer_of, rate_of

# Validation parts of fewer examples stop training by chance (docs/log.md), so it waits for longer.
FEW_CHECKS = 100
QUALITY = "GATEWISE_QUALITY"  # the environment variable with the default of training.quality


def with_quality(settings: TrainingSettings) -> TrainingSettings:
    """The settings with the quality that they or the environment ask for.

    Raises:
        ConfigError: the environment asks for an unknown quality.
    """
    if settings.quality != "auto":
        return settings
    quality: Any = os.environ.get(QUALITY) or "good"
    if quality not in QUALITIES:
        raise ConfigError(
            f"{QUALITY} must be one of {', '.join(QUALITIES)}. Received: {quality!r}."
        )
    return replace(settings, quality=quality)


def with_patience(settings: TrainingSettings, checks: int) -> TrainingSettings:
    """The settings with the default patience for `checks` examples in the validation part."""
    if settings.patience >= 0:
        return settings
    noisy = 0 < checks < FEW_CHECKS and settings.quality != "fast"
    return replace(settings, patience=max(3, settings.epochs // (3 if noisy else 6)))


def resolved(settings: TrainingSettings) -> TrainingSettings:
    """The settings with the default learning rate filled in.

    Raises:
        ConfigError: Keras has no such optimizer, or the optimizer has no such option.
    """
    if not settings.learning_rate:
        default = optimizer_of(settings, dict(settings.optimizer_options))
        # Keras holds float32, so print the shortest number that is the same float32: 0.001.
        rate = float(str(np.float32(rate_of(default))))
        settings = replace(settings, learning_rate=rate)
    return settings
