"""Augmentation of sequences of numbers: jitter, scaling and time warping (Um et al. 2017).

Two takes of one movement differ in tempo, strength and noise. A network that has seen few of them
learns the differences by heart, unless training makes new ones in every epoch.
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass

import numpy as np

from gatewise.data.sequences import Array
from gatewise.settings import TrainingSettings, names

SETTINGS = names(training="jitter scaling time_warping")
WAVES = 2  # half waves of a time warp


@dataclass(frozen=True)
class Augmentation:
    """How much training changes sequences, in deviations of a column or shares of the length."""

    jitter: float  # deviation of the noise at each step
    scaling: float  # deviation of the factor and of the offset of each column
    time_warping: float  # deviation of the shift of a step, as a share of the length

    def __bool__(self) -> bool:
        return any(astuple(self))


def augmentation_of(settings: TrainingSettings) -> Augmentation:
    """The augmentation of the settings, in which -1 is no augmentation."""
    return Augmentation(
        *(max(0.0, one) for one in (settings.jitter, settings.scaling, settings.time_warping))
    )


def augmented(
    augmentation: Augmentation, random: np.random.Generator
) -> Callable[[Array, Array], Array] | None:
    """The function that changes scaled steps [chosen, length, columns] of these lengths [chosen].

    None if there is nothing to change. What it writes into steps beyond a length has no meaning.
    """
    if not augmentation:
        return None

    def change(steps: Array, lengths: Array) -> Array:
        if augmentation.time_warping:
            steps = _warped(steps, lengths, augmentation.time_warping, random)
        if augmentation.scaling:
            shape, deviation = (len(steps), 1, steps.shape[2]), augmentation.scaling
            factor, offset = random.normal([1.0, 0.0], deviation, (*shape, 2)).transpose(3, 0, 1, 2)
            steps = steps * factor + offset
        if augmentation.jitter:
            steps = steps + random.normal(scale=augmentation.jitter, size=steps.shape)
        return steps.astype(np.float32)

    return change


def _warped(steps: Array, lengths: Array, deviation: float, random: np.random.Generator) -> Array:
    """Read each sequence at a tempo that changes; its first and last step stay where they are.

    Steps between two steps are interpolated.
    """
    last = np.maximum(lengths - 1, 1)[:, None]
    even = np.minimum(np.arange(steps.shape[1]) / last, 1.0)  # [chosen, length], 0 to 1
    waves = np.arange(1, WAVES + 1)
    sizes = random.normal(scale=deviation / waves, size=(len(steps), WAVES))
    time = even + np.einsum("cw,clw->cl", sizes, np.sin(np.pi * waves * even[..., None]))
    place = np.clip(time, 0.0, 1.0) * (lengths - 1)[:, None]
    before = np.floor(place).astype(np.int64)
    after = np.minimum(before + 1, (lengths - 1)[:, None])
    rows, share = np.arange(len(steps))[:, None], (place - before)[..., None]
    warped: Array = steps[rows, before] * (1 - share) + steps[rows, after] * share
    return warped
