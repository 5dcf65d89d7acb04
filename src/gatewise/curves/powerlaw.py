"""A power law through scores by the amount of data, and what it says of more data.

The errors of networks fall as power laws of the training data (Hestness et al. 2017,
arXiv:1712.00409).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gatewise.data.sequences import Array

EXPONENTS = np.geomspace(0.05, 1.0, 25)  # those of Hestness et al. lie between 0.07 and 0.5
RESAMPLES = 1000
# The bootstrap's level for a 90 % interval. It takes the few repeats for all there are: with three
# at each of four amounts, it holds 91 % of the runs on made-up laws (docs/log.md).
LEVEL = 0.95
PARAMETERS = 3


@dataclass(frozen=True)
class PowerLaw:
    """score(n) = limit + factor * n ** -exponent."""

    limit: float
    factor: float
    exponent: float

    def at(self, amount: float | Array) -> Array:
        """The score for an amount of data."""
        return np.asarray(self.limit + self.factor * np.asarray(amount, float) ** -self.exponent)


@dataclass(frozen=True)
class Prediction:
    """The score that training on `amount` would give, with a 90 % interval for one run."""

    amount: float
    score: float
    low: float
    high: float


def fit(amounts: Array, scores: Array, *, higher: bool) -> PowerLaw:
    """The power law of least squares, which gets better with data.

    The limit is not above 1 where higher scores are better and none is above 1, and not below 0
    where lower scores are better and none is below 0.
    """
    limits, factors, exponents = _laws(np.asarray(amounts, float), np.atleast_2d(scores), higher)
    return PowerLaw(float(limits[0]), float(factors[0]), float(exponents[0]))


def _laws(amounts: Array, scores: Array, higher: bool) -> tuple[Array, Array, Array]:
    """The limit, the factor and the exponent for each row of scores [rows, networks]."""
    sign = -1.0 if higher else 1.0  # below, lower is better
    y = sign * scores
    lowest = -1.0 if higher else 0.0
    bounded = _bounded(scores, higher)
    x = amounts[None] ** -EXPONENTS[:, None]  # [exponents, networks]
    means, centred = x.mean(axis=1), x - x.mean(axis=1, keepdims=True)
    average = y.mean(axis=1, keepdims=True)
    factor = (y - average) @ centred.T / np.sum(centred**2, axis=1)  # [rows, exponents]
    limit = average - factor * means
    if bounded:
        below = limit < lowest
        through = (y - lowest) @ x.T / np.sum(x**2, axis=1)
        factor, limit = np.where(below, through, factor), np.where(below, lowest, limit)
    worse = factor < 0
    factor, limit = np.where(worse, 0.0, factor), np.where(worse, average, limit)
    errors = np.sum((limit[..., None] + factor[..., None] * x - y[:, None]) ** 2, axis=-1)
    best = errors.argmin(axis=1)
    rows = np.arange(len(y))
    return sign * limit[rows, best], sign * factor[rows, best], EXPONENTS[best]


def _bounded(scores: Array, higher: bool) -> bool:
    """Whether the best score that can be is 1 where higher ones are better, and else 0."""
    return bool(np.max(scores) <= 1 if higher else np.min(scores) >= 0)


def predict(
    amounts: Sequence[float],
    repeats: Sequence[Sequence[float]],
    amount: float,
    *,
    higher: bool,
    seed: int = 0,
) -> Prediction:
    """The score for `amount`, by a power law through `repeats` of scores at each of `amounts`.

    The interval holds the score of one run: each round draws the repeats of every amount anew, with
    replacement, fits the law again, and adds a draw with the deviation of the residuals. Repeats
    are spread by sqrt(k / (k - 1)), because k draws of k values have too little variance.
    """
    n = np.repeat(np.asarray(amounts, float), [len(one) for one in repeats])
    scores = np.concatenate([np.asarray(one, float) for one in repeats])
    law = fit(n, scores, higher=higher)
    freedom = max(1, len(scores) - PARAMETERS)
    deviation = np.sqrt(np.sum((scores - law.at(n)) ** 2) / freedom)
    random = np.random.default_rng(seed)
    again = np.concatenate([_drawn(np.asarray(one), random) for one in repeats], axis=1)
    limits, factors, exponents = _laws(n, again, higher)
    drawn = limits + factors * amount**-exponents
    drawn = drawn + deviation * random.standard_t(freedom, RESAMPLES)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    score = float(law.at(amount))
    if _bounded(scores, higher):
        low, high = (low, min(high, 1.0)) if higher else (max(low, 0.0), high)
    return Prediction(amount, score, min(float(low), score), max(float(high), score))


def _drawn(scores: Array, random: np.random.Generator) -> Array:
    """Bootstrap samples of the scores for one amount, [rounds, repeats]."""
    count, mean = len(scores), scores.mean()
    spread = np.sqrt(count / (count - 1)) if count > 1 else 1.0
    return np.asarray(mean + spread * (random.choice(scores, (RESAMPLES, count)) - mean))
