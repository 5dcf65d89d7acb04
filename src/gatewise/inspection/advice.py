"""Advice on a trained network; docs/log.md holds the experiment behind each piece."""

# A longer lookback was better with seasons of 7, 12 and 24 steps, and worse with one of 336 (a week
# of half hours), whose calendar tells the network where in the week it is.
LONGEST = 24


def advice(*, season: int, lookback: int) -> list[str]:
    """Sentences that say what to change; [] if nothing stands out.

    `season` and `lookback` are those of a forecast, in steps; 0: there is none.
    """
    if not 0 < lookback < season <= LONGEST:
        return []
    return [
        f"The network reads {lookback} steps, but the season has {season}. Set task.lookback to "
        f"{2 * season}, or leave it out."
    ]
