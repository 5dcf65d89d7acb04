"""Ridge regression on the window, against its definition and scikit-learn."""

import numpy as np
from sklearn.linear_model import Ridge as SklearnRidge

from gatewise import metrics
from gatewise.baselines import ridge


def windows(series, back, horizon):
    starts = np.arange(len(series) - back - horizon + 1)[:, None]
    return series[starts + np.arange(back)], series[starts + back + np.arange(horizon)]


def test_ridge_learns_a_sum_of_sines_at_any_level(random):
    steps = np.arange(600)
    series = np.stack([np.sin(steps / 5), 3 * np.sin(steps / 9)], axis=1)
    past, future = windows(series, back=30, horizon=6)
    model = ridge.fit_ridge(
        past[:400], future[:400], None, valid=(past[400:450], future[400:450], None)
    )
    level = np.array([100.0, -50.0])
    answer = ridge.ridge(model, past[450:] + level, None)
    assert metrics.mae(future[450:] + level, answer) < 0.01
    assert model.penalty == min(ridge.PENALTIES)


def test_ridge_on_noise_takes_a_large_penalty(random):
    past, future = random.normal(size=(200, 20, 1)), random.normal(size=(200, 3, 1))
    past[:, -1] = 0  # otherwise the subtracted last value would reveal the future
    half = slice(100), slice(100, 200)
    model = ridge.fit_ridge(
        past[half[0]], future[half[0]], None, valid=(past[half[1]], future[half[1]], None)
    )
    assert model.penalty >= 100


def test_ridge_uses_known_covariates(random):
    past, known = random.normal(size=(300, 4, 2)), random.normal(size=(300, 3, 2))
    future = past[:, -1:] + known @ np.array([[2.0], [-1.0]])
    model = ridge.fit_ridge(
        past[:200], future[:200], known[:200], valid=(past[200:], future[200:], known[200:])
    )
    answer = ridge.ridge(model, past[200:], known[200:])
    assert answer.shape == (100, 3, 2)
    assert metrics.mae(future[200:], answer) < 0.01


def test_ridge_is_scikit_learns_on_standardised_rows(random):
    past, future = random.normal(size=(50, 6, 3)), random.normal(size=(50, 2, 3))
    model = ridge.fit_ridge(past, future, None, valid=None)
    assert model.penalty == 1
    rows = np.concatenate([past[:, :, k] for k in range(3)])
    last, outputs = rows[:, -1:], np.concatenate([future[:, :, k] for k in range(3)])
    inputs = rows - last
    inputs = inputs / np.where(inputs.std(axis=0) == 0, 1, inputs.std(axis=0))
    theirs = SklearnRidge(alpha=1.0, solver="svd").fit(inputs, outputs - last).predict(inputs)
    ours = ridge.ridge(model, past, None)
    np.testing.assert_allclose(ours[:, :, 1], (theirs + last)[50:100], atol=1e-8)


def test_ridge_thins_a_large_training_part(random, monkeypatch):
    monkeypatch.setattr(ridge, "RIDGE_ROWS", 60)
    past, future = windows(np.sin(np.arange(500) / 5)[:, None] * [1.0, 2.0], back=8, horizon=2)
    model = ridge.fit_ridge(past, future, None, valid=None)
    kept = np.linspace(0, len(past) - 1, 30).astype(int)
    alone = ridge.fit_ridge(past[kept], future[kept], None, valid=None)
    np.testing.assert_array_equal(model.coefficients, alone.coefficients)
