"""What `gatewise tune` may change in this task."""

from gatewise.settings import Experiment
from gatewise.tasks.ranges import Between, Choice, Space, recurrent


def space(experiment: Experiment, count: int) -> Space:
    """The ranges around the resolved defaults, for `count` training recordings."""
    own: Space = {
        "network.gaussian_noise": Between(0.0, 0.2),
        "training.freq_mask": Choice((0, 4, 8)),
        "training.time_mask": Choice((0, 10, 20)),
    }
    return recurrent(experiment, count) | own
