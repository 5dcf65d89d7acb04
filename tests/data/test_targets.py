"""The scale of targets is inverted exactly, and skewed targets become less skewed."""

import numpy as np
import pytest
from scipy.stats import skew
from sklearn.preprocessing import PowerTransformer

from gatewise.data.targets import fit_target, scaled, unscaled
from gatewise.errors import ConfigError, DataError

NORMAL = np.random.default_rng(0).normal(size=500)


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("transform", ["none", "log", "power"])
def test_scaled_targets_have_mean_0_and_deviation_1_and_come_back(transform, size):
    values = size * np.exp(NORMAL)
    target = fit_target("y", values, transform, "the data")
    found = scaled(target, values)
    np.testing.assert_allclose([found.mean(), found.std()], [0, 1], atol=1e-9)
    np.testing.assert_allclose(unscaled(target, found), values, rtol=1e-9)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        *[(NORMAL, "none"), (np.exp(NORMAL), "log"), (np.exp(NORMAL) - 1, "power")],
        *[(-NORMAL, "none"), (2.0**60 + 256 * (NORMAL > 2), "none")],  # equal logarithms
    ],
)
def test_only_skewed_targets_are_transformed(values, kind):
    target = fit_target("y", values, "auto", "the data")
    assert target.transform == kind
    if kind != "none":
        assert abs(skew(scaled(target, values))) < 0.5 * abs(skew(values))


@pytest.mark.parametrize("values", [np.exp(NORMAL) - 3, -np.exp(NORMAL), NORMAL**3])
def test_the_power_is_scikit_learns_yeo_johnson(values):
    standard = (values - values.mean()) / values.std()
    theirs = PowerTransformer().fit(standard[:, None])
    target = fit_target("y", values, "power", "the data")
    assert target.power == pytest.approx(theirs.lambdas_[0], rel=1e-4)
    some = np.linspace(-1, 1, 9)
    known = theirs.inverse_transform(some[:, None])[:, 0] * values.std() + values.mean()
    np.testing.assert_allclose(unscaled(target, some), known, rtol=1e-3)


def test_predictions_far_outside_stay_finite_and_in_order():
    target = fit_target("y", np.exp(5 * NORMAL), "log", "the data")
    found = unscaled(target, np.array([-1e9, -3.0, 0.0, 3.0, 1e9]))
    assert np.isfinite(found).all() and (np.diff(found) > 0).all()


def test_what_cannot_be_learned_is_refused():
    with pytest.raises(DataError, match="always 2 in the training part"):
        fit_target("y", np.full(5, 2.0), "auto", "the data")
    with pytest.raises(ConfigError, match="transform = log needs positive numbers"):
        fit_target("y", NORMAL, "log", "the data")
