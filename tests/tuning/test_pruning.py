"""The signed-rank rule: an exact p, and what it ends."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import rankdata, wilcoxon

from gatewise.tuning.pruning import LEAST, P, hopeless, signed_rank


def by_definition(differences):
    """The share of all signs of the ranks whose positive sum is as large as the observed one."""
    differences = differences[differences != 0]
    ranks = rankdata(np.abs(differences))
    observed = ranks[differences > 0].sum()
    sums = [ranks @ signs for signs in product((0, 1), repeat=len(ranks))]
    return np.mean(np.array(sums) >= observed)


@pytest.mark.parametrize("count", [1, 4, 5, 10, 30])
def test_p_is_that_of_scipy_where_no_sizes_are_equal(random, count):
    differences = random.normal(0.3, 1.0, count)
    wanted = wilcoxon(differences, alternative="greater", method="exact").pvalue
    assert signed_rank(differences) == pytest.approx(wanted, rel=1e-12)


def test_p_is_exact_with_equal_sizes_and_with_zeros(random):
    for _ in range(50):
        differences = random.integers(-2, 4, 8).astype(float)
        assert signed_rank(differences) == pytest.approx(by_definition(differences), rel=1e-12)
    assert signed_rank(np.zeros(3)) == 1.0


def test_the_fewest_seeds_that_can_end_a_trial_are_those_that_are_named():
    assert signed_rank(np.ones(LEAST)) == 1 / 2**LEAST < P
    assert signed_rank(np.ones(LEAST - 1)) >= P


@pytest.mark.parametrize("higher", [True, False])
def test_a_trial_is_hopeless_where_it_is_worse_by_ranks_and_by_its_mean(higher):
    best = np.array([0.9, 0.8, 0.85, 0.7, 0.75, 0.8])
    small, large = 0.01 * np.arange(1, 6), np.array([0.01, 0.02, 0.03, 0.04, -0.9])

    def judged(worse_by):
        ours = best[: len(worse_by)] - worse_by
        scores = (ours, best) if higher else (-ours, -best)
        return hopeless(*scores, higher=higher)

    assert judged(small) and judged(small[:4])  # p = 1 / 32 and 1 / 16
    assert not judged(small[:3])  # 1 / 8
    assert not judged(-small)
    assert judged(small * [-1, 1, 1, 1, 1])  # 2 / 32: the smallest difference is for the trial
    assert not judged(small * [1, 1, -1, 1, 1])  # 5 / 32
    assert not judged(large)  # the mean is better
    assert not judged(np.zeros(6))
    assert not judged(np.array([0.1, 0.1, np.nan, 0.1, 0.1]))
