"""The rule that ends a trial before its last seed: the signed-rank test beside the best trial."""

from collections.abc import Sequence

import numpy as np

from gatewise.data.sequences import Array

P = 0.1  # a trial ends if its scores would be this bad by chance less often
LEAST = 4  # seeds before p can be that small: if all of n are worse, it is 1 / 2^n


def hopeless(ours: Sequence[float], best: Sequence[float], *, higher: bool) -> bool:
    """Whether a trial is worse than the best one by its seeds so far, each paired with the same.

    Its mean must be worse, too, because the mean is its score.
    """
    count = min(len(ours), len(best))
    sign = 1.0 if higher else -1.0
    worse_by = sign * (np.array(best[:count]) - np.array(ours[:count]))
    return bool(worse_by.sum() > 0 and signed_rank(worse_by) < P)


def signed_rank(differences: Array) -> float:
    """The p of the one-sided Wilcoxon signed-rank test that differences are not above 0.

    It is exact for any number of pairs, with ties, too: each rank counts with either sign equally
    often. Differences of 0 are left out (Wilcoxon 1945, Biometrics Bulletin 1(6), 80-83).
    """
    differences = differences[differences != 0]
    sizes = np.abs(differences)
    below = (sizes[:, None] > sizes).sum(axis=1)
    equal = (sizes[:, None] == sizes).sum(axis=1)
    ranks = 2 * below + equal + 1  # twice the mean rank, which is a whole number
    chances = np.ones(1)  # of each sum of the ranks of positive differences
    for rank in ranks:
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    return float(chances[ranks[differences > 0].sum() :].sum())
