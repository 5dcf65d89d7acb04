"""Times that were mistyped: they do not fit between those of the rows above and below."""

import numpy as np

from gatewise.data.sequences import Array

MOST = 5  # rows; more are a file in another order
LEAST = 10  # rows of a file that show an order


def misplaced(times: Array, ids: Array, rows: Array) -> tuple[Array, Array, Array]:
    """The steps with such times, and the steps of the rows above and below each, [k] each.

    Such a time is not between those of the rows above and below, which are two steps apart, and
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
    at = np.flatnonzero(is_gap & ((own < above) | (own > below))) + 1
    rest = np.delete(here, at), np.delete(who, at)
    in_order = (np.diff(rest[0]) > 0) | (rest[1][1:] != rest[1][:-1])
    if len(at) > MOST or not in_order.all():
        return none, none, none
    return order[at], order[at - 1], order[at + 1]
