"""Ridge regression and gradient boosting as plain numbers predict what scikit-learn's do."""

import json

import numpy as np
import scipy.sparse
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gatewise.baselines import regression


def test_ridge_is_scikit_learns_on_standardised_features(random):
    features = random.normal(5, [1, 100], size=(50, 2))
    targets = random.normal(size=(50, 3))
    state = json.loads(json.dumps(regression.fit_linear(features, targets, None)))
    theirs = make_pipeline(StandardScaler(), Ridge(alpha=1.0)).fit(features, targets)
    np.testing.assert_allclose(regression.linear(state, features), theirs.predict(features))


def test_sparse_features_are_used_as_they_are(random):
    features = scipy.sparse.random(40, 9, density=0.3, format="csr", rng=random)
    targets = random.normal(size=(40, 1))
    state = regression.fit_linear(features, targets, None)
    theirs = Ridge(alpha=1.0).fit(features, targets[:, 0]).predict(features)
    np.testing.assert_allclose(regression.linear(state, features)[:, 0], theirs, atol=1e-5)


def test_the_validation_part_chooses_the_penalty(random):
    features, targets = random.normal(size=(30, 20)), random.normal(size=(30, 1))
    noise = random.normal(size=(200, 20)), random.normal(size=(200, 1))
    assert regression.fit_linear(features, targets, noise)["penalty"] > 100


def test_boosting_is_scikit_learns(random):
    features = random.normal(size=(80, 3))
    targets = np.stack([features[:, 0] ** 2, features[:, 1]], axis=1)
    state = json.loads(json.dumps(regression.fit_boosting(features, targets)))
    new = random.normal(size=(50, 3))
    for k in range(2):
        theirs = GradientBoostingRegressor(random_state=0).fit(features, targets[:, k])
        np.testing.assert_allclose(
            regression.boosting(state, new)[:, k], theirs.predict(new), atol=1e-9
        )
