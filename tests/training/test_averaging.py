"""Averaged weights and gradient noise, against their definitions."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from test_fit import lines

from gatewise.errors import ConfigError
from gatewise.settings import TrainingSettings, from_mapping
from gatewise.training.defaults import resolved
from gatewise.training.fit import fit
from gatewise.training.optimizers import optimizer
from gatewise.training.progress import Monitor
from gatewise.training.ready import make_ready

RATE = 0.05


def trained(*, epochs, valid=None, **given):
    """One weight and a bias after `epochs` steps, because the batch holds all examples."""
    settings = TrainingSettings(epochs=epochs, batch_size=64, optimizer="sgd", **given)
    settings = resolved(TrainingSettings(**vars(settings) | {"learning_rate": RATE}))
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.compile(optimizer=optimizer(settings, epochs), loss="mse")
    history = fit(network, lines(64, 0), valid, settings, padded=False, monitor=Monitor("loss"))
    return np.concatenate([one.ravel() for one in network.get_weights()]), history


def path(epochs):
    """The weights after each epoch of gradient descent, by the formula of least squares."""
    start, _ = trained(epochs=1)
    examples = lines(64, 0)
    x = np.column_stack([examples.inputs(np.arange(64), 1)["steps"].ravel(), np.ones(64)])
    y = examples.targets(np.arange(64), 1).ravel()
    weights = [start]
    for _ in range(epochs - 1):
        gradient = 2 / 64 * x.T @ (x @ weights[-1] - y)
        norms = np.maximum(1, np.abs(gradient))  # clipnorm is 1, and each weight is alone
        weights.append(weights[-1] - RATE * gradient / norms)
    return np.stack(weights)


def test_swa_is_the_mean_of_the_weights_after_the_last_quarter_of_the_epochs():
    weights, _ = trained(epochs=8, averaging="swa")
    np.testing.assert_allclose(weights, path(8)[6:].mean(axis=0), rtol=1e-5)


def test_ema_is_the_recursion_from_the_first_weights():
    given = {"averaging": "ema", "optimizer_options": {"ema_momentum": 0.8}}
    weights, _ = trained(epochs=5, **given)
    average, *later = path(5)
    for one in later:
        average = 0.8 * average + 0.2 * one
    np.testing.assert_allclose(weights, average, rtol=1e-5)


@pytest.mark.parametrize("averaging", ["ema", "swa"])
def test_the_average_is_validated_and_does_not_change_what_is_trained(averaging):
    valid = lines(32, 1)
    weights, history = trained(epochs=4, averaging=averaging, valid=valid)
    _, plain = trained(epochs=4, valid=valid)
    assert history.columns["loss"] == pytest.approx(plain.columns["loss"])
    x, y = valid.inputs(np.arange(32), 1)["steps"], valid.targets(np.arange(32), 1)
    of_best = np.mean((x * weights[0] + weights[1] - y) ** 2)
    assert history.columns["val_loss"][history.best_epoch - 1] == pytest.approx(of_best, rel=1e-5)


def test_patience_does_not_run_out_before_swa_begins():
    given = {"averaging": "swa", "patience": 1, "valid": lines(32, 1, slope=-2.0)}
    _, history = trained(epochs=8, **given)
    assert len(history.columns["loss"]) == 7  # the first epoch of the average is worse, too


def drawn(steps, **options):
    """The noise of each step, which plain gradient descent takes from weights of 0."""
    settings = TrainingSettings(
        epochs=steps, optimizer="sgd", learning_rate=1.0, gradient_noise=0.3
    )
    settings = replace(settings, **options)
    weights = keras.Variable(np.zeros(20_000, np.float32))
    noisy = optimizer(settings, steps)
    values = [np.zeros(20_000)]
    for _ in range(steps):
        noisy.apply([keras.ops.zeros(20_000)], [weights])
        values.append(keras.ops.convert_to_numpy(weights))
    return np.diff(values, axis=0)


def test_gradient_noise_is_normal_and_its_variance_decays():
    noise = drawn(3)
    variances = 0.3 / (1 + np.arange(3)) ** 0.55
    np.testing.assert_allclose(noise.var(axis=1), variances, rtol=0.05)
    np.testing.assert_allclose(noise.mean(axis=1), 0, atol=0.02)
    assert np.abs(np.corrcoef(noise) - np.eye(3)).max() < 0.03
    shares = [np.mean(np.abs(one) < one.std()) for one in noise]
    np.testing.assert_allclose(shares, 0.683, atol=0.015)


def test_the_seed_of_training_draws_the_gradient_noise():
    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert (drawn(1) != drawn(1, seed=1)).any()


def test_averages_that_cannot_be_are_refused(sequences_file):
    def network(shapes, settings):
        steps = keras.Input(shapes.inputs["steps"])
        x = keras.layers.BatchNormalization(name="mine")(keras.layers.LSTM(2)(steps))
        model = keras.Model(steps, keras.layers.Dense(shapes.output[0])(x))
        if settings.dense:
            model.compile("sgd", "mse")
        return model

    task = {"task": {"name": "classify"}, "data": {"path": str(sequences_file)}}
    swa = from_mapping(task | {"training": {"averaging": "swa"}})
    with pytest.raises(ConfigError, match=r"batch normalization \(mine\)"):
        make_ready(swa, own=network)
    with pytest.raises(ConfigError, match="the optimizer has use_ema"):
        trained(epochs=1, averaging="swa", optimizer_options={"use_ema": True})
