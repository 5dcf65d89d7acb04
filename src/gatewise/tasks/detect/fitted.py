"""The values that `detect` fits besides the weights."""

from dataclasses import dataclass
from typing import Annotated

from gatewise.data.bounds import SHARE, SOME_STEPS, Between

DISTANCES = Between(1, 12)


@dataclass(frozen=True)
class Yardstick:
    """What errors are measured in: those on normal steps of the validation part."""

    # The mean of each error, and the map [errors][errors] of the errors around it to uncorrelated
    # ones of deviation 1; (): the errors are scores already.
    centre: tuple[float, ...] = ()
    whitening: tuple[tuple[float, ...], ...] = ()
    scores: tuple[float, ...] = ()  # of these steps, or of some of them, ascending
    threshold: float = 0.0  # higher scores give an alarm


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    lookback: Annotated[int, SOME_STEPS]
    # A step is predicted this many times: 1, 2, 4 ... steps ahead.
    distances: Annotated[int, DISTANCES] = 1
    season: Annotated[int, SOME_STEPS] = 1
    calendar: tuple[str, ...] = ()
    false_alarms: Annotated[float, SHARE] = 0.001
    yardstick: Yardstick = Yardstick()
