"""Augmentation: what it changes, by how much, and what it leaves alone."""

import numpy as np
import pytest

from gatewise.data.augmentation import Augmentation, augmented


def change(steps, lengths=None, *, jitter=0.0, scaling=0.0, time_warping=0.0, seed=0):
    """The augmented steps [chosen, length, columns]."""
    lengths = np.full(len(steps), steps.shape[1]) if lengths is None else np.array(lengths)
    asked = Augmentation(jitter, scaling, time_warping)
    return augmented(asked, np.random.default_rng(seed))(steps, lengths)


def test_no_augmentation_is_no_function():
    assert augmented(Augmentation(0.0, 0.0, 0.0), np.random.default_rng(0)) is None


def test_jitter_has_its_deviation_at_each_step():
    noise = change(np.zeros((50, 40, 3)), jitter=0.2)
    assert noise.std() == pytest.approx(0.2, rel=0.05)
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 0.05


def test_scaling_is_one_factor_and_one_offset_for_each_column_of_a_sequence(random):
    steps = random.normal(size=(400, 9, 2))
    found = change(steps, scaling=0.1)
    factors = np.empty((400, 2, 2))
    for k, c in np.ndindex(400, 2):
        line, rest, *_ = np.polyfit(steps[k, :, c], found[k, :, c], 1, full=True)
        factors[k, c], unexplained = line, rest
        assert unexplained < 1e-8
    np.testing.assert_allclose(factors.mean(axis=(0, 1)), [1, 0], atol=0.02)
    np.testing.assert_allclose(factors.std(axis=(0, 1)), 0.1, rtol=0.1)


@pytest.mark.parametrize("lengths", [[30] * 200, [7] * 200, [1] * 200])
def test_a_warp_moves_steps_in_time_but_never_the_first_or_the_last(lengths):
    last = lengths[0] - 1
    steps = np.broadcast_to(np.arange(30.0)[None, :, None], (200, 30, 2))  # a value is its time
    found = change(steps, lengths, time_warping=0.05)
    np.testing.assert_allclose(found[:, [0, last], 0], np.tile([0, last], (200, 1)), atol=1e-5)
    real = found[:, : last + 1]
    np.testing.assert_array_equal(real[..., 0], real[..., 1])
    back = (np.diff(real[..., 0], axis=1) < 0).sum()
    assert back <= 0.01 * real.size
    if last > 1:
        # A half wave shifts the middle by a; the second wave does not move it.
        moved = (real[:, last // 2, 0] - last // 2) / last
        assert moved.std() == pytest.approx(0.05, rel=0.2)


def test_the_same_seed_changes_alike(random):
    steps, every = random.normal(size=(3, 8, 2)), {"jitter": 0.1, "scaling": 0.1}
    one, same, other = (change(steps, **every, time_warping=0.1, seed=k) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)
