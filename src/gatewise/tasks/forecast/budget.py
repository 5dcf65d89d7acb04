"""How many networks a forecast averages, and whether one takes too long on every window."""

from gatewise.settings import Experiment
from gatewise.tasks import cost


def usual_networks(experiment: Experiment, windows: int) -> int:
    """The number of networks for this many training windows, from settings that are resolved."""
    quality = experiment.training.quality
    return cost.networks(quality, seconds(experiment, windows))


def too_slow(experiment: Experiment, windows: int) -> bool:
    """Whether the trainings of a single network take more than the time of the quality."""
    quality = experiment.training.quality
    return quality in cost.SECONDS and seconds(experiment, windows) > cost.SECONDS[quality]


def seconds(experiment: Experiment, windows: int) -> float:
    """Rough seconds of the two trainings of one network on two idle cores."""
    task, network = experiment.task, experiment.network
    steps = task.lookback  # of the LSTM layers, in each window
    if network.kind == "segments":
        width = network.segment_length
        steps = (-(-task.lookback // width) - (-task.horizon // width)) * len(
            experiment.data.target
        )
    return 2 * cost.seconds(experiment.training, network, windows, steps)
