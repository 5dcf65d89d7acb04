"""What `gatewise tune` may change: ranges of settings, and those that tasks share."""

from dataclasses import dataclass
from typing import Any

from gatewise.settings import Experiment

LAYERS = "network.layers"  # no setting, but the number of LSTM layers, each of `network.units`
FEW = 500  # training examples; fewer make no use of a network larger than the default


@dataclass(frozen=True)
class Choice:
    """One of these values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, both included; `log` for factors instead of differences."""

    low: float
    high: float
    log: bool = False


Range = Choice | Between
Space = dict[str, Range]  # by the name of the setting


def recurrent(experiment: Experiment, count: int) -> Space:
    """The ranges of any LSTM, around the resolved defaults, for `count` training examples.

    Rates of dropout are those of Gal & Ghahramani (2016, arXiv:1512.05287) and Merity et al. (2017,
    arXiv:1708.02182); the learning rate is the one setting that must always be searched (Greff et
    al. 2017, arXiv:1503.04069).
    """
    network, training = experiment.network, experiment.training
    units, rate, size = network.units[0], training.learning_rate, training.batch_size
    widths = [units // 4, units // 2, units] + ([2 * units] if count >= FEW else [])
    return {
        "training.learning_rate": Between(rate / 5, rate * 10, log=True),
        "training.batch_size": Choice(tuple(sorted({max(1, size // 2), size, 2 * size}))),
        "training.schedule": Choice(("constant", "cosine")),
        "network.units": Choice(tuple(sorted({max(4, width) for width in widths}))),
        LAYERS: Choice((1, 2)),
        "network.dropout": Between(0.0, 0.5),
        "network.recurrent_dropout": Between(0.0, 0.4),
        "network.dense_dropout": Between(0.0, 0.6),
    }


def labelled(experiment: Experiment, count: int) -> Space:
    """The ranges of a network that gives one answer for a sequence."""
    own: Space = {
        "network.bidirectional": Choice((False, True)),
        "network.pooling": Choice(("last", "mean-max", "attention")),
        "network.gaussian_noise": Between(0.0, 0.2),
    }
    return recurrent(experiment, count) | embedded(experiment) | own


def embedded(experiment: Experiment) -> Space:
    """The ranges of an embedding of tokens."""
    size = experiment.network.embedding_dim
    return {
        "network.embedding_dim": Choice(tuple(sorted({max(4, size // 2), size, 2 * size}))),
        "network.embedding_dropout": Between(0.0, 0.5),
    }
