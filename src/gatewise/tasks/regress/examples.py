"""The examples of regress: sequences, windows of them, texts or recordings, with scaled targets."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gatewise.data import sound, steps, tokens
from gatewise.data.batches import PADDING, Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import refuse_far
from gatewise.data.sequences import Array, Sequences
from gatewise.data.windows import Stretches, cut, stretches
from gatewise.errors import DataError
from gatewise.settings import Experiment
from gatewise.tasks.regress.fitted import Fitted
from gatewise.tasks.regress.rows import (
    Source,
    scaled,
    scored,
    truth,
    truth_rows,
)
from gatewise.tasks.task import (
    sizes_of,
)


def examples(
    sequences: Sequences, preparation: Preparation[Fitted], experiment: Experiment, role: str
) -> Examples[Source]:
    """The sequences, or their windows, with scaled targets [n, targets, 1].

    With a number at each step, the targets are [n, steps, targets, 1], with NaN where a step is
    only read, is padding, or has no target.
    """
    own = preparation.own
    if own.spectrum is not None:
        recordings = sound.examples(
            sequences,
            own.spectrum,
            scale=preparation.scale,
            training=experiment.training,
            role=role,
            window=own.window,
            stride=own.stride,
        )
        return replace(recordings, targets=_targets(recordings.source, preparation))
    if own.vocabulary is not None:
        encoded = tokens.tokens_of(
            sequences, own.vocabulary, most=own.max_length, truncation=own.truncation
        )
        inputs = tokens.padded_tokens(encoded)
        return Examples(sequences, encoded.lengths, inputs, _targets(sequences, preparation))
    columns = preparation.positions(preparation.used)
    refuse_far(sequences, *preparation.scale.rows(sequences), columns)
    source: Source
    if own.per == "step":
        source = stretches(sequences, own.window, own.stride)
        read = source.read
    else:
        source = read = cut(sequences, own.window, own.stride) if own.window else sequences
    inputs = steps.scaled_steps(read, preparation.scale, columns)
    made: Examples[Source] = Examples(source, read.lengths, inputs, _targets(source, preparation))
    if role == "test" and not np.isfinite(truth(made, preparation)).all(axis=1).any():
        raise DataError(
            f"{sequences.source}: no step of the scored part has a value of "
            f"{', '.join(map(repr, own.names))}. Give rows with targets."
        )
    return made


def _targets(source: Source, preparation: Preparation[Fitted]) -> Callable[..., Array]:
    """The function that gives the scaled targets of a batch."""
    actual = scaled(truth_rows(source, preparation), preparation).astype(np.float32)
    if not isinstance(source, Stretches):
        return lambda indices, _length=0: actual[indices][..., None]
    sizes, before = source.scored.lengths, source.before
    ends = np.cumsum(sizes)

    def targets_of(indices: Array, length: int = 0) -> Array:
        longest = length or int(source.read.lengths[indices].max())
        batch = np.full((len(indices), longest, actual.shape[1]), np.nan, np.float32)
        for row, k in enumerate(indices.tolist()):
            batch[row, before[k] : before[k] + sizes[k]] = actual[ends[k] - sizes[k] : ends[k]]
        return batch[..., None]

    return targets_of


def sizes(examples: Examples[Source]) -> dict[str, int]:
    """The number of sequences (or of their windows) and of steps to predict."""
    return sizes_of(scored(examples.source))


def shapes(examples: Examples[Source], preparation: Preparation[Fitted]) -> Shapes:
    """The shapes of the input and of the output, [targets, quantiles]."""
    return steps.fixed_length(fitted_shapes(preparation), examples, preparation)


def fitted_shapes(preparation: Preparation[Fitted]) -> Shapes:
    """The same shapes, with any number of steps."""
    own = preparation.own
    output = (len(own.targets), max(1, len(own.quantiles)))
    if own.vocabulary is not None:
        return Shapes({"tokens": (None,)}, output, vocabulary={"tokens": len(own.vocabulary)})
    return Shapes(
        inputs={"steps": (None, len(preparation.used))},
        output=output,
        padding=PADDING if preparation.padded else None,
        per_step=own.per == "step",
    )
