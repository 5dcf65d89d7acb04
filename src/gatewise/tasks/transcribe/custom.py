"""A speech recogniser of the user's own as a baseline: it hears the training part, and answers."""

import numpy as np

from gatewise.baselines.custom import Custom, Part, called, texts
from gatewise.baselines.parts import sequences_for
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.sound import Recordings
from gatewise.tasks.task import Baseline
from gatewise.tasks.transcribe.fitted import Fitted


def custom_baseline(
    custom: Custom,
    train: Examples[Recordings],
    valid: Examples[Recordings] | None,
    _preparation: Preparation[Fitted],
) -> Baseline[Recordings, Array]:
    """The baseline that calls `transcribe(train, asked)`, which returns a text per recording."""
    labels = train.source.frames.labels
    assert labels is not None

    def predict(examples: Examples[Recordings]) -> Array:
        known = _part(train, labels.astype(str).tolist())
        answers = called(custom, known, _part(examples, None))
        return np.array(texts(custom, answers, len(examples)), dtype=str)

    if valid is not None:
        predict(valid)  # a function that fails does so before the training
    return Baseline(custom.name, predict, slow=True)


def _part(examples: Examples[Recordings], known: list[str] | None) -> Part:
    played = examples.source.played
    ids = tuple(map(str, examples.source.frames.ids))
    return Part(sequences_for(played, ()), ids, known, rate=played.rate)
