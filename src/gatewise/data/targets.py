"""The scale of targets: a transform of skewed ones, mean 0 and deviation 1, inverted exactly.

Quantiles keep their order under a rising transform, so the quantiles of the transformed target are
the transformed quantiles of the target.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from gatewise.data.bounds import POSITIVE
from gatewise.data.sequences import Array
from gatewise.errors import ConfigError, DataError

SKEWED = 1.0  # the skewness from which `auto` transforms a target
WORTHWHILE = 0.5  # the share of the skewness that a transform may leave


@dataclass(frozen=True)
class Target:
    """One target and its scale, fitted on the training part."""

    name: str
    transform: str  # none, log or power
    centre: float  # of the transformed target
    spread: Annotated[float, POSITIVE]
    low: float  # the range of the scaled target in training
    high: float
    deviation: float  # of the target itself
    # Power only: Yeo-Johnson with exponent `power`, of (target - shift) / unit.
    power: float = 1.0
    shift: float = 0.0
    unit: Annotated[float, POSITIVE] = 1.0


def fit_target(name: str, values: Array, transform: str, source: str) -> Target:
    """Fit the scale of a target on its training values [n], which are finite.

    `transform` is "auto" to choose by skewness, or the transform to use.

    Raises:
        DataError: the target never changes.
        ConfigError: the logarithm of a target that is not positive is asked for.
    """
    from scipy.stats import yeojohnson_normmax

    if values.min() == values.max():
        raise DataError(
            f"{source}: the target '{name}' is always {values[0]:g} in the training part, so there "
            "is nothing to learn. Choose another --target, or give more data."
        )
    if transform == "log" and values.min() <= 0:
        raise ConfigError(
            f"task.transform = log needs positive numbers, but the target '{name}' is "
            f"{values.min():g} in the training part. Set task.transform = power."
        )
    kind = _chosen(values) if transform == "auto" else transform
    target = Target(name, kind, 0.0, 1.0, 0.0, 0.0, float(values.std()))
    if kind == "power":
        shift, unit = float(values.mean()), float(values.std())
        power = float(yeojohnson_normmax((values - shift) / unit))
        target = replace(target, power=power, shift=shift, unit=unit)
    moved = _transformed(target, values)
    centre, spread = float(moved.mean()), float(moved.std())
    low, high = float((moved.min() - centre) / spread), float((moved.max() - centre) / spread)
    return replace(target, centre=centre, spread=spread, low=low, high=high)


def _chosen(values: Array) -> str:
    """The transform that halves the skewness of a skewed target, or "none"."""
    from scipy.stats import yeojohnson

    usual = _skewness(values)
    if usual <= SKEWED:
        return "none"
    if values.min() > 0:  # the logarithms of values far from zero may all be equal
        return "log" if 0 < _skewness(np.log(values)) <= WORTHWHILE * usual else "none"
    moved, _ = yeojohnson(_standard(values))
    return "power" if _skewness(moved) <= WORTHWHILE * usual else "none"


def _skewness(values: Array) -> float:
    """The size of the skewness; 0 if all values are equal."""
    return abs(float((_standard(values) ** 3).mean()))


def _standard(values: Array) -> Array:
    """Values with mean 0 and deviation 1, because cubes of large numbers overflow."""
    away = (values - values.mean()) / (np.abs(values).max() or 1.0)
    standard: Array = away / (away.std() or 1.0)
    return standard


def _transformed(target: Target, values: Array) -> Array:
    from scipy.stats import yeojohnson

    if target.transform == "log":
        logarithms: Array = np.log(values)
        return logarithms
    if target.transform == "power":
        moved: Array = yeojohnson((values - target.shift) / target.unit, target.power)
        return moved
    return values


def scaled(target: Target, values: Array) -> Array:
    """The scaled values of a target; NaN if its logarithm does not exist."""
    if target.transform == "log":
        values = np.where(values > 0, values, np.nan)
    result: Array = (_transformed(target, values) - target.centre) / target.spread
    return result


def unscaled(target: Target, values: Array) -> Array:
    """The target in its own units.

    Beyond the range of the training part, a transformed target is followed only as far as that
    range is wide, because the inverse transform grows without bound.
    """
    if target.transform == "none":
        plain: Array = values * target.spread + target.centre
        return plain
    width = target.high - target.low
    near = np.clip(values, target.low - width, target.high + width)
    moved = near * target.spread + target.centre
    if target.transform == "log":
        result: Array = np.exp(moved)
        return result
    return _inverse_power(moved, target.power) * target.unit + target.shift


def _inverse_power(moved: Array, power: float) -> Array:
    """The inverse of Yeo-Johnson (Yeo & Johnson 2000), as far as it exists."""
    up, down = np.maximum(moved, 0.0), np.maximum(-moved, 0.0)
    tiny = np.finfo(np.float64).tiny
    rising = np.maximum(power * up + 1, tiny) ** (1 / power) if power else np.exp(up)
    rest = 2 - power
    falling = np.maximum(rest * down + 1, tiny) ** (1 / rest) if rest else np.exp(down)
    return np.where(moved >= 0, rising - 1, 1 - falling)
