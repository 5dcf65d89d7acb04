"""The power law through scores, on scores whose law is known."""

import numpy as np
import pytest

from gatewise.curves.powerlaw import EXPONENTS, fit, predict

AMOUNTS = np.array([125.0, 250.0, 500.0, 1000.0])


@pytest.mark.parametrize(("sign", "limit"), [(1, 0.2), (-1, 0.9)])
def test_a_known_law_is_found(sign, limit):
    exponent = EXPONENTS[12]
    scores = limit + sign * 3 * AMOUNTS**-exponent
    law = fit(AMOUNTS, scores, higher=sign < 0)
    assert (law.limit, law.factor) == pytest.approx((limit, sign * 3))
    assert law.at(2000) == pytest.approx(limit + sign * 3 * 2000**-exponent)


def test_the_limit_keeps_within_the_scale_of_the_metric():
    falling = fit(AMOUNTS, 10 / AMOUNTS**0.9 - 0.01, higher=False)
    assert falling.limit >= 0
    rising = fit(AMOUNTS, 1.002 - 3 / AMOUNTS**0.9, higher=True)
    assert rising.limit <= 1
    assert rising.at(1e9) <= 1


def test_scores_that_get_worse_with_data_are_a_constant():
    law = fit(AMOUNTS, np.array([1.0, 1.1, 1.2, 1.3]), higher=False)
    assert law.at(1e6) == pytest.approx(1.15)


def test_the_interval_holds_a_run_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    truth = 0.3 + 2 * np.append(AMOUNTS, 2000.0) ** -0.4
    held = 0
    for k in range(100):
        repeats = [list(one + 0.01 * random.normal(size=3)) for one in truth[:-1]]
        found = predict(AMOUNTS, repeats, 2000.0, higher=False, seed=k)
        held += found.low <= truth[-1] + 0.01 * random.normal() <= found.high
    assert held >= 87
