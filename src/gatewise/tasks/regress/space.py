"""What `gatewise tune` may change in this task."""

from gatewise.settings import Experiment
from gatewise.tasks.ranges import Between, Choice, Space, embedded, recurrent


def space(experiment: Experiment, count: int) -> Space:
    """The ranges around the resolved defaults, for `count` training examples."""
    own: Space = {
        "network.bidirectional": Choice((False, True)),
        "network.pooling": Choice(("last", "mean-max", "attention")),
        "network.gaussian_noise": Between(0.0, 0.2),
    }
    return recurrent(experiment, count) | embedded(experiment) | own
