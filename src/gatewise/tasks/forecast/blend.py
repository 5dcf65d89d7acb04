"""The mean of the network's forecast and that of ridge regression (`task.blend`).

Means of forecasts whose errors differ are often better than each of them (Bates & Granger 1969).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.tasks import quantiles
from gatewise.tasks.forecast.fitted import Fitted
from gatewise.tasks.forecast.intervals import margins
from gatewise.tasks.task import NETWORK

RIDGE = "ridge on the window"
SHARES = (0.25, 0.5, 0.75)  # of ridge in the mean; 0 is the network alone
# With fewer stretches of the validation part, which share is best there is chance, and favours the
# network, whose epoch was chosen on it: equal shares, unless their error is this many times that of
# the network, or is greater while ridge is worse than a naive forecast (docs/log.md).
FEW, WORSE = 5, 2.0


def model_name(preparation: Preparation[Fitted]) -> str:
    """The name of the network and, with a blend, of its baseline."""
    return f"{NETWORK} with {RIDGE}" if preparation.own.blend == "ridge" else NETWORK


def mixed(network: Array, ridge: Array, own: Fitted) -> Array:
    """The mean of both forecasts, quantile by quantile, [windows, horizon, targets, quantiles]."""
    mean = np.sort(network + own.share * (ridge - network), axis=-1)
    return np.sort(mean + np.array(own.blend_margins)[:, None], -1) if own.blend_margins else mean


def chosen(
    preparation: Preparation[Fitted],
    network: Array,
    ridge: Array,
    actual: Array,
    *,
    naive: Sequence[Array],
    stretches: int,
) -> Preparation[Fitted]:
    """Choose the share of ridge by the mean absolute error of the median on the validation part.

    All arrays are scaled: the forecasts, of the naive baselines as well, are [windows, horizon,
    targets, quantiles], and `actual` [windows, horizon, targets] is NaN where nothing was measured.
    Between equal errors, the smaller share is chosen. With few independent `stretches` of steps, it
    is a half or nothing. The intervals of the mean are then calibrated like the network's.
    """
    own = preparation.own
    if own.blend not in ("auto", "ridge"):
        return preparation
    middle = quantiles.middle(own.quantiles)
    shares = SHARES if own.blend == "ridge" else (0.0, *SHARES)

    def miss(forecast: Array) -> float:
        return float(np.nanmean(np.abs(actual - forecast[..., middle])))

    def error(share: float) -> float:
        return miss(mixed(network, ridge, replace(own, share=share, blend_margins=())))

    if stretches >= FEW:
        share = min(shares, key=error)
    else:
        beaten = any(miss(one) < miss(ridge) for one in naive)
        most = (1.0 if beaten else WORSE) * error(0.0)
        share = 0.5 if own.blend == "ridge" or error(0.5) <= most else 0.0
    if not share:
        return replace(preparation, own=replace(own, blend="none"))
    own = replace(own, blend="ridge", share=share, blend_margins=())
    own = replace(own, blend_margins=margins(actual, mixed(network, ridge, own), own.quantiles))
    return replace(preparation, own=own)
