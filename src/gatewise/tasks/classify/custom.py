"""A classifier of the user's own as a baseline: it sees the training part, and answers."""

from typing import Any

import numpy as np

from gatewise.baselines.custom import Custom, Part, called, counted, numbers, refuse
from gatewise.baselines.parts import sequences_for
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.sound import Recordings
from gatewise.tasks.classify.examples import Pieces, labels_of, sequences_of
from gatewise.tasks.classify.fitted import Fitted
from gatewise.tasks.task import Baseline

SUM = 0.01  # the probabilities of a sequence add up to 1 within this


def custom_baseline(
    custom: Custom,
    train: Examples[Pieces],
    valid: Examples[Pieces] | None,
    preparation: Preparation[Fitted],
) -> Baseline[Pieces, Array]:
    """The baseline that calls `classify(train, asked)`.

    It returns probabilities [sequences, classes], or a label for each sequence.
    """

    def predict(examples: Examples[Pieces]) -> Array:
        known = _part(train, preparation, _truth(train, preparation))
        asked = _part(examples, preparation, None)
        return _checked(custom, called(custom, known, asked), len(asked), preparation)

    if valid is not None:
        predict(valid)  # a function that fails does so before the training
    return Baseline(custom.name, predict, slow=True)


def _part(examples: Examples[Pieces], preparation: Preparation[Fitted], truth: Any) -> Part:
    source = examples.source
    recorded = isinstance(source, Recordings)
    sequences = source.played if isinstance(source, Recordings) else source
    return Part(
        sequences_for(sequences, preparation.used),
        tuple(map(str, sequences_of(examples).ids)),
        truth,
        columns=() if recorded else preparation.used,
        classes=preparation.own.classes,
        rate=sequences.rate,
    )


def _truth(train: Examples[Pieces], preparation: Preparation[Fitted]) -> Array:
    """The labels, [sequences] str; of several labels each, [sequences, classes] bool."""
    truth = labels_of(train, preparation)
    return truth if preparation.own.separator else np.array(preparation.own.classes)[truth]


def _checked(custom: Custom, answers: Any, count: int, preparation: Preparation[Fitted]) -> Array:
    """The answers as probabilities, [sequences, classes]."""
    classes, several = preparation.own.classes, bool(preparation.own.separator)
    shape = (count, len(classes))
    wanted = f"probabilities of shape {shape}, in the order of train.classes"
    if not several:
        wanted += f", or {count:,} labels"
    listed = counted(custom, answers, count, wanted)
    if not several and count and np.ndim(listed[0]) == 0:
        return _of_labels(custom, listed, classes)
    values = numbers(custom, answers, wanted)
    if values.shape != shape:
        raise refuse(custom, f"an array of shape {values.shape}", wanted)
    if (values < 0).any() or (values > 1 + SUM).any():
        raise refuse(custom, "numbers below 0 or above 1", wanted)
    if several:
        return values
    sums = values.sum(axis=1, keepdims=True)
    if (np.abs(sums - 1) > SUM).any():
        k = int(np.abs(sums - 1).argmax())
        raise refuse(custom, f"probabilities that add up to {sums[k, 0]:.3g} (row {k})", wanted)
    return np.asarray(values / sums)


def _of_labels(custom: Custom, labels: list[Any], classes: tuple[str, ...]) -> Array:
    """Probabilities of 1 for these labels."""
    places = {name: k for k, name in enumerate(classes)}
    for k, label in enumerate(labels):
        if str(label) not in places:
            few = ", ".join(classes[:10])
            raise refuse(custom, f"the label {str(label)!r} for sequence {k}", f"one of {few}")
    return np.eye(len(classes))[[places[str(label)] for label in labels]]
