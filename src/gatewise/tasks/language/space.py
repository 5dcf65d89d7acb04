"""What `gatewise tune` may change in this task."""

from gatewise.settings import Experiment
from gatewise.tasks.ranges import Between, Space, embedded, recurrent


def space(experiment: Experiment, count: int) -> Space:
    """The ranges around the resolved defaults.

    The size of the embedding follows the units, because both share their weights.
    """
    own: Space = {"network.weight_dropout": Between(0.0, 0.5)}
    shared = recurrent(experiment, count) | embedded(experiment) | own
    return {name: one for name, one in shared.items() if name != "network.embedding_dim"}
