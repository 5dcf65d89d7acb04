"""What `gatewise tune` may change in this task."""

from gatewise.settings import Experiment
from gatewise.tasks.ranges import Space, labelled


def space(experiment: Experiment, count: int) -> Space:
    """The ranges around the resolved defaults, for `count` training examples."""
    return labelled(experiment, count)
