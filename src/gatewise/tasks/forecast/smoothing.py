"""Exponential smoothing and the theta method as baselines, fitted again at each origin.

They read the whole past of a series, and win many comparisons on short ones (Makridakis et al.
2020, the M4 competition). statsmodels fits them; without it, a forecast has the other baselines.
"""

import logging
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from gatewise.baselines.custom import Custom
from gatewise.baselines.naive import repeat_last
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.windows import Windows
from gatewise.tasks.forecast.custom import CHECKED, Past, custom_baseline
from gatewise.tasks.forecast.fitted import Fitted
from gatewise.tasks.task import Baseline

log = logging.getLogger("gatewise")

# The most steps that all fits of a baseline read together: on one core, about 15 seconds each.
MOST = {"exponential smoothing": 2_500, "theta": 20_000}
LEAST = 8  # steps of a past that a model is fitted to


def smoothing_baselines(
    train: Examples[Windows],
    valid: Examples[Windows] | None,
    test: Examples[Windows] | None,
    preparation: Preparation[Fitted],
) -> list[Baseline[Windows, Array]]:
    """Exponential smoothing and theta, if statsmodels is installed and the series are short."""
    if find_spec("statsmodels") is None:
        return []
    held = train if valid is None else valid
    steps = _steps(held, CHECKED) + (_steps(test) if test is not None else 0)
    rules = (Custom("exponential smoothing", smoothed), Custom("theta", theta))
    for name in (rule.name for rule in rules if steps > MOST[rule.name]):
        log.info(
            "The baseline %s is left out: its fits at every origin would read %s steps, and at "
            "most %s are affordable. A greater evaluation.stride makes origins fewer.",
            name,
            f"{steps:,}",
            f"{MOST[name]:,}",
        )
    return [
        custom_baseline(rule, train, valid, preparation)
        for rule in rules
        if steps <= MOST[rule.name]
    ]


def _steps(examples: Examples[Windows], most: int = 0) -> int:
    """The steps before all origins; before at most `most` of them."""
    every = np.arange(len(examples))
    sequence, origins = examples.source.places(every)
    lengths = origins - examples.source.sequences.first[sequence]
    share = min(1.0, most / max(1, len(every))) if most else 1.0
    return int(share * lengths.sum())


def smoothed(past: Past) -> Array:
    """Exponential smoothing with a damped trend, [horizon, targets] (Hyndman et al. 2008).

    A season is added, or multiplied where all values are positive, whichever has the lower AICc.
    """
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    def forecast(series: Array, season: int) -> Array:
        kinds = [None] if season == 1 else ["add", "mul"] if series.min() > 0 else ["add"]
        fits = [
            ExponentialSmoothing(
                series,
                trend="add",
                damped_trend=True,
                seasonal=kind,
                seasonal_periods=season if kind else None,
                initialization_method="estimated",
            ).fit()
            for kind in kinds
        ]
        best: Any = min(fits, key=lambda one: np.nan_to_num(one.aicc, nan=np.inf))
        return np.asarray(best.forecast(past.horizon))

    return _each(past, forecast)


def theta(past: Past) -> Array:
    """The theta method, [horizon, targets] (Assimakopoulos & Nikolopoulos 2000)."""
    from statsmodels.tsa.forecasting.theta import ThetaModel

    def forecast(series: Array, season: int) -> Array:
        model = ThetaModel(series, period=season, deseasonalize=season > 1)
        return np.asarray(model.fit().forecast(past.horizon))

    return _each(past, forecast)


def _each(past: Past, forecast: Callable[[Array, int], Array]) -> Array:
    """The forecast of each target; its last value, where a model cannot be fitted."""
    made: Array = repeat_last(past.targets[None], past.horizon)[0]
    for k, series in enumerate(past.targets.T):
        season = past.season if len(series) >= 2 * past.season else 1
        if len(series) < LEAST or series.min() == series.max():
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fit that has not converged still forecasts
            try:
                found = forecast(series, season)
            except (ValueError, ArithmeticError, np.linalg.LinAlgError):
                continue
        if np.isfinite(found).all():
            made[:, k] = found
    return made
