"""Mistakes in a table: mistyped times, ids in two spellings, clocks of 12 hours."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from gatewise.data.sequences import Array

MOST = 5  # rows; more are a file in another order
LEAST = 10  # rows of a file that show an order
FAR = 3  # steps outside those of the rows above and below; a nearer one may be out of order


def misplaced(times: Array, ids: Array, rows: Array) -> tuple[Array, Array, Array]:
    """The steps with such times, and the steps of the rows above and below each, [k] each.

    Such a time lies far outside those of the rows above and below, which are two steps apart, and
    without such rows, the times of each sequence rise in the order of the file. `times` are
    numbers; `ids` are those of the sequences.

    >>> times = np.array([0, 1, 2, 40, 4, 5, 6, 7, 8, 9])
    >>> [found.tolist() for found in misplaced(times, np.zeros(10), np.arange(10))]
    [[3], [2], [4]]
    """
    order = np.lexsort((rows, ids))
    here, who = times[order], ids[order]
    ahead, alike = np.diff(here), who[1:] == who[:-1]
    rising = ahead[alike & (ahead > 0)]
    none = np.empty(0, dtype=np.int64)
    if len(times) < LEAST or not len(rising):
        return none, none, none
    unit = np.median(rising)
    above, own, below = here[:-2], here[1:-1], here[2:]
    around = below - above
    is_gap = alike[1:] & alike[:-1] & (around > 1.5 * unit) & (around < 2.5 * unit)
    is_far = (own < above - FAR * unit) | (own > below + FAR * unit)
    at = np.flatnonzero(is_gap & is_far) + 1
    rest = np.delete(here, at), np.delete(who, at)
    in_order = (np.diff(rest[0]) > 0) | (rest[1][1:] != rest[1][:-1])
    if len(at) > MOST or not in_order.all():
        return none, none, none
    return order[at], order[at - 1], order[at + 1]


def spellings(ids: Array, times: Sequence[Array]) -> list[str]:
    """Ids that differ in case or spaces alone, if no time repeats among the rows of such ids.

    `times` holds the times of each sequence.

    >>> days = [np.array([1, 3]), np.array([2]), np.array([1])]
    >>> spellings(np.array(["Rome", "ROME ", "Oslo"]), days)
    ['Rome', 'ROME ']
    """
    alike = defaultdict(list)
    for place, name in enumerate(ids):
        alike["".join(str(name).split()).casefold()].append(place)
    several = [places for places in alike.values() if len(places) > 1]
    for places in several:
        joined = np.concatenate([times[place] for place in places])
        if len(np.unique(joined)) < len(joined):
            return []
    return [str(ids[place]) for places in several for place in places]


def is_half_day(times: Array) -> bool:
    """True if the clock of these times has the hours 1 to 12 alone, as without AM and PM.

    >>> is_half_day(np.datetime64("2024-01-01T01:00") + np.arange(12) * np.timedelta64(60, "m"))
    True
    """
    hours = (times - times.astype("M8[D]")) // np.timedelta64(1, "h")
    return np.array_equal(np.unique(hours), np.arange(1, 13))
