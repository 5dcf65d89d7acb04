"""Summary features of sequences, which linear models and trees can read."""

import numpy as np

from gatewise.data.sequences import Array, Sequences

CELLS_AT_ONCE = 4_000_000  # bounds the memory of summaries: about 32 MB per array


def summaries(sequences: Sequences, floor: Array | None = None) -> Array:
    """Summary features of each sequence, most of which ignore the order of steps, [n, features].

    For each column: the mean, standard deviation, minimum, maximum, first and last value, and the
    mean absolute change from one step to the next; then the length. With a `floor` [columns], also
    the logarithms of the deviation and of the mean change, each plus its floor. They let a linear
    model tell slight trembling from stillness, which both look like 0 next to a jump.
    """
    before = np.cumsum(sequences.lengths) - sequences.lengths
    block = before * sequences.values.shape[1] // CELLS_AT_ONCE  # [n], ascending
    blocks = np.split(np.arange(len(sequences)), np.flatnonzero(np.diff(block)) + 1)
    return np.concatenate([_summaries(sequences.chosen(indices), floor) for indices in blocks])


def _summaries(sequences: Sequences, floor: Array | None) -> Array:
    lengths = sequences.lengths  # [n]
    ends = np.cumsum(lengths)
    begins = ends - lengths
    # The sequences of a part may lie anywhere in the values: lay their steps end to end.
    rows = np.arange(ends[-1]) + np.repeat(sequences.starts - begins, lengths)
    values = sequences.values[rows].astype(np.float64)  # [steps, columns]

    def mean(steps: Array, counts: Array) -> Array:
        total: Array = np.add.reduceat(steps, begins, axis=0)
        return total / counts[:, None]

    average = mean(values, lengths)
    spread = np.sqrt(mean(np.square(values - np.repeat(average, lengths, axis=0)), lengths))
    changes = np.abs(np.diff(values, axis=0, prepend=values[:1]))
    changes[begins] = 0  # the change from the last step of one sequence to the first of the next
    change = mean(changes, np.maximum(lengths - 1, 1))
    logarithms = [] if floor is None else [np.log(spread + floor), np.log(change + floor)]
    return np.concatenate(
        [
            average,
            spread,
            np.minimum.reduceat(values, begins, axis=0),
            np.maximum.reduceat(values, begins, axis=0),
            values[begins],
            values[ends - 1],
            change,
            lengths[:, None].astype(np.float64),
            *logarithms,
        ],
        axis=1,
    )


KINDS = ("mean", "squares", "least", "most", "first", "last", "changes")


def start(count: int, columns: int, name: str = "summary") -> dict[str, Array]:
    """What `advance` knows of `count` streams before their first step."""
    states = {f"{name} {kind}": np.zeros((count, columns)) for kind in KINDS}
    return states | {f"{name} steps": np.zeros(count)}


def advance(values: Array, state: dict[str, Array], name: str = "summary") -> dict[str, Array]:
    """What is known of all steps after one more, [streams, columns] in float64; moves `state`.

    `squares` is the sum of the squared distances from the mean, `changes` that of the absolute
    changes, and `steps` [streams, 1] the number of steps.
    """
    values = values.astype(np.float64)
    before = {kind: state[f"{name} {kind}"] for kind in KINDS}
    count = state[f"{name} steps"][:, None] + 1
    begins = count == 1
    apart = values - before["mean"]
    mean = before["mean"] + apart / count
    found = {
        "mean": mean,
        # Welford 1962, because the difference of two large sums would lose digits.
        "squares": before["squares"] + apart * (values - mean),
        "least": np.where(begins, values, np.minimum(before["least"], values)),
        "most": np.where(begins, values, np.maximum(before["most"], values)),
        "first": np.where(begins, values, before["first"]),
        "last": values,
        "changes": before["changes"] + np.where(begins, 0, np.abs(values - before["last"])),
    }
    state.update({f"{name} {kind}": one for kind, one in found.items()})
    state[f"{name} steps"] = count[:, 0]
    return found | {"steps": count}


class Running:
    """The summaries of steps that arrive one after another, for many streams at a time."""

    def __init__(self, columns: int, floor: Array | None = None) -> None:
        self.columns, self.floor = columns, floor

    def start(self, count: int) -> dict[str, Array]:
        """The states of `count` streams before their first step."""
        return start(count, self.columns)

    def __call__(self, values: Array, state: dict[str, Array]) -> Array:
        """`summaries` [streams, features] after one more step [streams, columns]; moves `state`."""
        found = advance(values, state)
        count, floor = found["steps"], self.floor
        spread = np.sqrt(found["squares"] / count)
        change = found["changes"] / np.maximum(count - 1, 1)
        logarithms = [] if floor is None else [np.log(spread + floor), np.log(change + floor)]
        ends = [found[name] for name in ("least", "most", "first", "last")]
        return np.concatenate([found["mean"], spread, *ends, change, count, *logarithms], axis=1)
