"""Summaries inside a network: one node for each, and only for a true one."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from gatewise.networks.layers import statistics
from gatewise.runtime.describe import describe
from gatewise.runtime.stepping import Stepper
from gatewise.runtime.summarising import SUMMARY, summarised


def test_a_summary_after_each_step_is_that_of_the_steps_so_far(random):
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, statistics(inputs, None))
    # Far from 0, still at first, and negative: what sums of squares and extremes from 0 get wrong.
    x = (random.normal(size=(2, 6, 3)) * [1, 1e-3, 5] + [300, 0, -40]).astype("f")
    x[:, :3, 1] = 0
    step = Stepper(describe(model))
    state = step.start(2)
    found = [step(x[:, t], state) for t in range(6)]
    for length in (1, 6):
        wanted = keras.ops.convert_to_numpy(model(x[:, :length]))
        np.testing.assert_allclose(found[length - 1], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("features", [9, 7])
def test_what_only_looks_like_a_summary_stays(features):
    inputs = keras.Input((None, 3))
    mean = layers.GlobalAveragePooling1D()(inputs)
    x = layers.BatchNormalization()(ops.concatenate([mean] * features, axis=-1))
    graph = describe(keras.Model(inputs, x))
    assert SUMMARY not in {node.operation for node in summarised(graph).nodes}
    (answer,) = Stepper(graph)(np.ones((1, 3)), Stepper(graph).start())
    np.testing.assert_allclose(answer, np.tile(answer[:3], features))
