"""What `gatewise tune` may change in this task."""

from gatewise.settings import Experiment
from gatewise.tasks.ranges import Between, Choice, Space, embedded, recurrent


def space(experiment: Experiment, count: int) -> Space:
    """The ranges around the resolved defaults, for `count` training sentences."""
    own: Space = {
        "network.character_units": Choice((16, 32, 64)),
        "network.word_dropout": Between(0.0, 1.0),
    }
    return recurrent(experiment, count) | embedded(experiment) | own
