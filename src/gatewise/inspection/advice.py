"""Advice on a trained network; docs/log.md holds the experiment behind each piece."""


def advice(*, season: int, lookback: int) -> list[str]:
    """Sentences that say what to change; [] if nothing stands out.

    `season` and `lookback` are those of a forecast, in steps; 0: there is none.
    """
    if not 0 < lookback < season:
        return []
    return [
        f"The network reads {lookback} steps, but the season has {season}. Set task.lookback to "
        f"{2 * season}, or leave it out."
    ]
