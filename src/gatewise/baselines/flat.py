"""The steps of sequences of one length, side by side as features, which linear models can read."""

import numpy as np

from gatewise.data.sequences import Array, Sequences

MOST_CELLS = 1_000_000  # sequences times features; a regression on more takes minutes


def common_length(sequences: Sequences) -> int:
    """The length of all sequences; 0 if they differ, or if there are more than `MOST_CELLS`."""
    lengths = np.unique(sequences.lengths)
    cells = sequences.lengths.sum() * sequences.values.shape[1]
    return int(lengths[0]) if len(lengths) == 1 and cells <= MOST_CELLS else 0


def flat(sequences: Sequences, length: int) -> Array:
    """All steps of each sequence, [n, length * columns].

    Of a longer sequence, the first steps are taken; the last step of a shorter one is repeated.
    """
    steps = np.minimum(np.arange(length), sequences.lengths[:, None] - 1)  # [n, length]
    values = sequences.values[sequences.starts[:, None] + steps]  # [n, length, columns]
    features: Array = values.reshape(len(sequences), -1).astype(np.float64)
    return features


class Growing:
    """The steps that have arrived so far, as `flat` has them, for many streams at a time."""

    def __init__(self, length: int, columns: int) -> None:
        self.length, self.columns = length, columns

    def start(self, count: int) -> dict[str, Array]:
        """The states of `count` streams before their first step."""
        return {
            "flat values": np.zeros((count, self.length, self.columns)),
            "flat steps": np.zeros(count),
        }

    def __call__(self, values: Array, state: dict[str, Array]) -> Array:
        """`flat`, and the number of steps, after one more step [streams, columns]; moves `state`.

        They are [streams, length * columns + 1].
        """
        count = state["flat steps"][:, None]
        ahead = np.arange(self.length) >= count  # [streams, length]
        steps = np.where(ahead[..., None], values[:, None], state["flat values"])
        state["flat values"], state["flat steps"] = steps, count[:, 0] + 1
        return np.concatenate([steps.reshape(len(values), -1), count + 1], axis=1)
