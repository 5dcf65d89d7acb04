"""What `gatewise tune` may change in this task."""

from gatewise.settings import Experiment
from gatewise.tasks.ranges import Between, Space, embedded, recurrent


def space(experiment: Experiment, count: int) -> Space:
    """The ranges around the resolved defaults, for `count` training pairs.

    The size of the embedding stays, because both languages may share its weights.
    """
    own: Space = {"training.label_smoothing": Between(0.0, 0.2)}
    shared = recurrent(experiment, count) | embedded(experiment) | own
    return {name: one for name, one in shared.items() if name != "network.embedding_dim"}
