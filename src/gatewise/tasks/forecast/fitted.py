"""The values that `forecast` fits on the training part, besides the weights."""

from dataclasses import dataclass
from typing import Annotated

from gatewise.data.bounds import SHARE, SOME_STEPS
from gatewise.tasks.forecast.intervals import Margins


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    targets: tuple[str, ...]
    horizon: Annotated[int, SOME_STEPS]
    lookback: Annotated[int, SOME_STEPS]
    season: Annotated[int, SOME_STEPS] = 1
    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    quantiles: tuple[Annotated[float, SHARE], ...] = ()
    margins: Margins = ()  # added to the network's quantiles
    never_negative: tuple[str, ...] = ()  # targets that were never below 0 in training
    floor: str = "none"  # "zero": forecasts of `never_negative` are clipped at 0
    blend: str = "none"  # the baseline whose forecast is averaged in
    share: Annotated[float, SHARE] = 0.5  # of that baseline in the mean
    blend_margins: Margins = ()  # added to the quantiles of the mean
