"""The calibration of a forecast's intervals on the validation part."""

from gatewise.data.sequences import Array
from gatewise.tasks import quantiles

Margins = tuple[tuple[float, ...], ...]  # added to the quantiles, [horizon][quantiles]


def margins(actual: Array, predictions: Array, levels: tuple[float, ...]) -> Margins:
    """What to add to each quantile, step by step, for the nominal coverage of these windows.

    Conformalised quantile regression (Romano et al. 2019, arXiv:1905.03222), pooled over windows
    and targets. With fewer than 20 windows or a single quantile, nothing is added: (). `actual` is
    [windows, horizon, targets], with NaN where nothing was measured; `predictions` have one more
    axis, along which the quantiles ascend.
    """
    if len(levels) < 2 or len(actual) < quantiles.MIN_CALIBRATION:
        return ()
    moved = quantiles.margins(actual, predictions, levels, (0, 2))  # [horizon, quantiles]
    return tuple(map(tuple, moved.tolist()))
