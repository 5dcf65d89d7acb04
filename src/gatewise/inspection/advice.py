"""Advice drawn from an inspection; docs/log.md holds the experiment behind each piece."""

from collections.abc import Mapping, Sequence
from typing import Any


def advice(layers: Sequence[Mapping[str, Any]], *, season: int, lookback: int) -> list[str]:
    """Sentences that say what to change; [] if nothing stands out.

    `season` and `lookback` are those of a forecast, in steps; 0: there is none.
    """
    if not 0 < lookback < season:
        return []
    longest = max(one["memory"]["longest"] * one["data_steps_per_step"] for one in layers)
    return [
        f"The network reads {lookback} steps, and its longest half-life is {longest:.1f} steps, but "
        f"the season has {season}. Set task.lookback to {2 * season}, or leave it out."
    ]
