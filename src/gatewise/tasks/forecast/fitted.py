"""The values that `forecast` fits on the training part, besides the weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    targets: tuple[str, ...]
    horizon: int
    lookback: int
    season: int = 1
    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()
    margins: tuple[tuple[float, ...], ...] = ()  # added to the quantiles, [horizon][quantiles]
    never_negative: tuple[str, ...] = ()  # targets that were never below 0 in training
    floor: str = "none"  # "zero": forecasts of `never_negative` are clipped at 0
