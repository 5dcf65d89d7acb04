"""A network with convolutions answers each step of a stream as it answers the steps so far."""

import itertools

import numpy as np
import pytest

from gatewise.errors import ConfigError
from gatewise.runtime.convolving import front_of
from gatewise.runtime.graph import Graph, Node
from gatewise.runtime.network import Network
from gatewise.runtime.provisional import ConvolvedStepper

STEPS = 23
LSTM = {
    "units": 3,
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "stateful": False,
    "go_backwards": False,
    "return_sequences": False,
    "zero_output_for_mask": False,
}


def graph(*layers):
    """Steps of two columns through layers (size, options of conv1d) to an LSTM layer."""
    random, x = np.random.default_rng(1), "x"
    nodes = [Node("x", "input", (), ("x",), {"shape": [None, 2], "dtype": "float32"})]

    def weights(*shape):
        return random.normal(size=shape).astype("f4")

    for k, (size, options) in enumerate(layers):
        if "pool_size" in options:
            nodes.append(Node(f"{k}", "max_pooling1d", (x,), (f"{k}",), options))
        else:
            if options.get("padding", "valid") == "valid":
                pads = [[0, 0], [size // 2, size - 1 - size // 2], [0, 0]]
                nodes.append(Node(f"pad {k}", "pad", (x,), (f"pad {k}",), {"pad_width": pads}))
                x = f"pad {k}"
            usual = {"strides": 1, "padding": "valid", "dilation_rate": 1, "groups": 1}
            config = {**usual, "activation": "relu", **options}
            parts = {"kernel": weights(size, 2, 2), "bias": weights(2)}
            nodes.append(Node(f"{k}", "conv1d", (x,), (f"{k}",), config, parts))
        x = f"{k}"
    parts = {"kernel": weights(2, 12), "recurrent_kernel": weights(3, 12), "bias": weights(12)}
    nodes.append(Node("lstm", "lstm", (x, "", "", ""), ("y",), LSTM, parts))
    return Graph("network", "float32", tuple(nodes), "x", "y")


@pytest.mark.parametrize(
    "layers",
    [
        *([(size, {"strides": by})] for size, by in itertools.product((1, 2, 3, 8), (1, 2, 4))),
        [(5, {"strides": 2}), (4, {"strides": 3})],
        [(3, {"padding": "same"}), (2, {"padding": "causal", "dilation_rate": 3})],
        [(4, {"padding": "causal", "strides": 2}), (4, {"padding": "same", "dilation_rate": 2})],
    ],
)
def test_each_step_is_answered_as_the_steps_so_far(layers):
    whole = graph(*layers)
    network, stepper = Network(whole), ConvolvedStepper(front_of(whole))
    random = np.random.default_rng(0)
    steps = random.normal(size=(3, STEPS, 2)).astype("f4")
    delays = np.array([0, 1, 5])  # so streams at different steps share a call
    state = stepper.start(3)
    fresh = stepper.start(1)
    for t in range(STEPS + 5):
        for row in np.flatnonzero(delays == t):
            for name, one in fresh.items():
                state[name][row] = one[0]
        at = np.clip(t - delays, 0, STEPS - 1)
        answers = stepper(steps[np.arange(3), at], state)
        for row, place in enumerate(t - delays):
            if 0 <= place < STEPS:
                (wanted,) = network(steps[row : row + 1, : place + 1])
                np.testing.assert_allclose(answers[row], wanted, rtol=1e-4, atol=1e-6)


def test_layers_that_need_all_steps_are_refused():
    pool = {"pool_size": 2, "strides": 2, "padding": "valid"}
    for layers in ([(3, {"padding": "same", "strides": 2})], [(3, {}), (0, pool), (3, {})]):
        with pytest.raises(ConfigError, match="need(s)? all steps"):
            front_of(graph(*layers))
