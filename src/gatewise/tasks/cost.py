"""How long training takes, by a rough count of operations that does not depend on the machine."""

from gatewise.settings import NetworkSettings, TrainingSettings

# The seconds that the trainings of a quality take at most on two idle cores, if its default numbers
# of windows, folds and networks allow it.
SECONDS = {"good": 180.0, "best": 900.0}
NETWORKS = {"good": 5, "best": 10}  # of an ensemble that differ in their seeds, at most
# Measured on small networks (docs/log.md): compiling, a batch, and a step of 128 units.
COMPILING, BATCH, STEP = 2.5, 4e-3, 35e-6
SHARE = 1 / 3  # of the epochs, after which training usually ends


def seconds(
    training: TrainingSettings, network: NetworkSettings, examples: int, steps: float
) -> float:
    """Rough seconds of one training on `examples` examples, with the mean steps that LSTMs read."""
    size = (1 + network.bidirectional) * sum((units / 128) ** 2 for units in network.units)
    epoch = examples * (BATCH / training.batch_size + STEP * steps * size)
    return COMPILING + SHARE * training.epochs * epoch


def networks(quality: str, one: float) -> int:
    """How many networks of `one` rough seconds each the quality has time for, at least 1."""
    if quality not in NETWORKS:
        return 1
    return max(1, min(NETWORKS[quality], int(SECONDS[quality] / one)))
