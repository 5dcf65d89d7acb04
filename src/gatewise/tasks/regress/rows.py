"""The numbers to predict as rows: one for each sequence (or window), or one for each step.

Predictions are [rows, targets, quantiles], the truth is [rows, targets].
"""

import numpy as np

from gatewise.data import targets as scales
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences
from gatewise.data.sound import Recordings
from gatewise.data.windows import Stretches
from gatewise.tasks.quantiles import middle
from gatewise.tasks.regress.fitted import Fitted
from gatewise.tasks.regress.reading import truth_of

# Whole sequences or windows of them, recordings as frames, or stretches with their past.
Source = Sequences | Recordings | Stretches
MIN_CLUSTERS = 5  # fewer sequences than the verdict needs are divided into their stretches


def scored(source: Source) -> Sequences:
    """The sequences or stretches with the numbers to predict; for recordings, their frames."""
    if isinstance(source, Recordings):
        return source.frames
    return source.scored if isinstance(source, Stretches) else source


def positions(source: Stretches) -> Array:
    """The positions of the scored steps in the values of their sequences, [rows]."""
    part = source.scored
    ends = np.cumsum(part.lengths)
    before = np.repeat(part.starts - (ends - part.lengths), part.lengths)
    places: Array = np.arange(ends[-1]) + before
    return places


def pieces(source: Source) -> Array:
    """The sequence or stretch of each row, [rows]."""
    every = np.arange(len(scored(source)))
    return np.repeat(every, scored(source).lengths) if isinstance(source, Stretches) else every


def truth_rows(source: Source, preparation: Preparation[Fitted]) -> Array:
    """The targets in their own units, [rows, targets]; NaN if unknown."""
    if not isinstance(source, Stretches):
        return truth_of(scored(source), preparation.own.names)
    columns = preparation.positions(preparation.own.names)
    return source.scored.values[positions(source)[:, None], columns].astype(np.float64)


def truth(examples: Examples[Source], preparation: Preparation[Fitted]) -> Array:
    """The targets of examples in their own units, [rows, targets]; NaN if unknown."""
    return truth_rows(examples.source, preparation)


def scaled(values: Array, preparation: Preparation[Fitted]) -> Array:
    """Targets [rows, targets] on the scale of the network."""
    columns = zip(preparation.own.targets, values.T, strict=True)
    return np.stack([scales.scaled(target, column) for target, column in columns], axis=1)


def quantiles_scaled(predictions: Array, preparation: Preparation[Fitted]) -> Array:
    """Predictions [rows, targets, quantiles] in their own units, on the scale of the network."""
    return np.stack(
        [
            scales.scaled(target, predictions[:, k])
            for k, target in enumerate(preparation.own.targets)
        ],
        axis=1,
    )


def unscaled(predictions: Array, preparation: Preparation[Fitted]) -> Array:
    """Predictions [rows, targets, quantiles] of the network or a baseline, in their own units."""
    return np.stack(
        [
            scales.unscaled(target, predictions[:, k])
            for k, target in enumerate(preparation.own.targets)
        ],
        axis=1,
    )


def point(predictions: Array, preparation: Preparation[Fitted]) -> Array:
    """The median, or the only prediction, [rows, targets]."""
    return predictions[..., middle(preparation.own.quantiles)]


def deviations(preparation: Preparation[Fitted]) -> Array:
    """The standard deviation of each target in training, [targets]."""
    return np.array([target.deviation for target in preparation.own.targets])


def clusters_of(source: Source) -> Array:
    """The cluster of each row, [rows]: its group, else its whole sequence.

    A few long sequences count as many stretches, because the verdict needs at least five clusters.
    """
    part = scored(source)
    whole = part.groups if part.groups is not None else part.first
    _, clusters = np.unique(whole, return_inverse=True)
    if isinstance(source, Stretches) and part.groups is None and clusters.max() + 1 < MIN_CLUSTERS:
        clusters = np.arange(len(part))
    return clusters[pieces(source)]
