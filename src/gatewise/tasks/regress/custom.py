"""A regressor of the user's own as a baseline: it sees the training part, and answers."""

from typing import Any

import numpy as np

from gatewise.baselines.custom import Custom, Part, called, counted, numbers, refuse
from gatewise.baselines.naive import residual_quantiles
from gatewise.baselines.parts import sequences_for
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.sound import Recordings
from gatewise.errors import ConfigError
from gatewise.tasks import quantiles
from gatewise.tasks.regress.fitted import Fitted
from gatewise.tasks.regress.rows import Source, scaled, scored, truth, unscaled
from gatewise.tasks.task import Baseline


def custom_baseline(
    custom: Custom,
    train: Examples[Source],
    valid: Examples[Source] | None,
    preparation: Preparation[Fitted],
) -> Baseline[Source, Array]:
    """The baseline that calls `regress(train, asked)`.

    It returns [sequences], [sequences, targets] or [sequences, targets, quantiles]. Points become
    quantiles by their errors on the validation part, as those of the other baselines.

    Raises:
        ConfigError: the target is a number at each step.
    """
    if preparation.own.per == "step":
        raise ConfigError(
            f"The baseline '{custom.name}' cannot be used here: a baseline of your own answers "
            "with numbers for a sequence, and this target has one at each step. Leave it out."
        )
    levels = preparation.own.quantiles or (0.5,)

    def answers(examples: Examples[Source]) -> Array:
        known = _part(train, preparation, truth(train, preparation))
        asked = _part(examples, preparation, None)
        return _checked(custom, called(custom, known, asked), len(asked), preparation)

    held = valid if valid is not None and len(valid) >= quantiles.MIN_CALIBRATION else train
    tried = answers(held)
    if tried.shape[-1] == len(levels):
        return Baseline(custom.name, lambda examples: np.sort(answers(examples)), slow=True)
    errors = scaled(truth(held, preparation), preparation) - scaled(tried[..., 0], preparation)
    offsets = residual_quantiles(errors, np.zeros_like(errors), levels)  # [targets, quantiles]
    if 0.5 in levels:  # the median stays the point prediction
        offsets = offsets - offsets[:, [levels.index(0.5)]]

    def predict(examples: Examples[Source]) -> Array:
        points = scaled(answers(examples)[..., 0], preparation)
        return unscaled(points[..., None] + offsets, preparation)

    return Baseline(custom.name, predict, slow=True)


def _part(examples: Examples[Source], preparation: Preparation[Fitted], known: Any) -> Part:
    source = examples.source
    recorded = isinstance(source, Recordings)
    sequences = source.played if isinstance(source, Recordings) else scored(source)
    return Part(
        sequences_for(sequences, preparation.used),
        tuple(map(str, scored(source).ids)),
        known,
        columns=() if recorded else preparation.used,
        rate=sequences.rate,
    )


def _checked(custom: Custom, answers: Any, count: int, preparation: Preparation[Fitted]) -> Array:
    """The answers, [sequences, targets, 1 or quantiles]."""
    points = (count, len(preparation.own.targets))
    levels = len(preparation.own.quantiles)
    shapes = [points, (*points, levels)] if levels > 1 else [points]
    if points[1] == 1:
        shapes = [points[:1], *shapes]
    wanted = f"numbers of shape {' or '.join(map(str, shapes))}"
    values = numbers(custom, counted(custom, answers, count, wanted), wanted)
    if values.shape not in shapes:
        raise refuse(custom, f"an array of shape {values.shape}", wanted)
    return values if values.ndim == 3 else values.reshape(*points, 1)
