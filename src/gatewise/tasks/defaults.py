"""The defaults of tasks on whole sequences of numbers or texts: network, batch size, epochs."""

from dataclasses import replace

import numpy as np

from gatewise.settings import NetworkSettings, TrainingSettings

UNITS = (64,)  # default of network.units


def network(settings: NetworkSettings, data: str) -> NetworkSettings:
    """Fill in units, pooling and dropout for this kind of data."""
    if settings.pooling == "auto":
        # The informative part of a text or a recording may be anywhere in it.
        settings = replace(settings, pooling="last" if data == "numbers" else "mean-max")
    return replace(
        settings,
        units=settings.units or UNITS,
        dense_dropout=max(0.0, settings.dense_dropout),
    )


def training(settings: TrainingSettings, count: int, data: str) -> TrainingSettings:
    """Fill in batch size and epochs for this number of sequences of numbers or texts."""
    if data == "text" and not settings.epochs:
        settings = replace(settings, epochs=int(np.clip(150_000 // (count + 1), 6, 40)))
    if not settings.batch_size:
        size = int(np.clip(2 ** round(np.log2(count / 40 + 1)), 8, 64))
        settings = replace(settings, batch_size=size)
    if not settings.epochs:
        settings = replace(settings, epochs=int(np.clip(300_000 // (count + 1), 15, 150)))
    return settings
