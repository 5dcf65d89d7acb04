"""How many networks a forecast averages: as many as fit into the time of its quality."""

from gatewise.settings import Experiment

# The most networks, and the seconds that all their trainings take at most on two idle cores.
MOST = {"good": 5, "best": 10}
SECONDS = {"good": 180.0, "best": 900.0}
# Measured on small networks (docs/log.md): compiling, a batch, and a step of 128 units.
COMPILING, BATCH, STEP = 2.5, 4e-3, 35e-6
SHARE = 1 / 3  # of the epochs, after which training usually ends


def usual_networks(experiment: Experiment, windows: int) -> int:
    """The number of networks for so many training windows, from settings that are resolved."""
    quality = experiment.training.quality
    if quality not in MOST:
        return 1
    return max(1, min(MOST[quality], int(SECONDS[quality] / seconds(experiment, windows))))


def seconds(experiment: Experiment, windows: int) -> float:
    """Rough seconds of the two trainings of one network on two idle cores."""
    task, network, training = experiment.task, experiment.network, experiment.training
    steps = task.lookback  # of the LSTM layers, in each window
    if network.kind == "segments":
        width = network.segment_length
        steps = (-(-task.lookback // width) - (-task.horizon // width)) * len(
            experiment.data.target
        )
    size = sum((units / 128) ** 2 for units in network.units)
    epoch = windows * (BATCH / training.batch_size + STEP * steps * size)
    return 2 * (COMPILING + SHARE * training.epochs * epoch)
