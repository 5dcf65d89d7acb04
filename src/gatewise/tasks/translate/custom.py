"""A translator of the user's own as a baseline: it sees the training pairs, and answers."""

from gatewise.baselines.custom import Custom, Part, called, texts
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Sequences, texts_of
from gatewise.tasks.task import Baseline
from gatewise.tasks.translate.fitted import Fitted
from gatewise.tasks.translate.task import Translation, references


def custom_baseline(
    custom: Custom,
    train: Examples[Sequences],
    valid: Examples[Sequences] | None,
    _preparation: Preparation[Fitted],
) -> Baseline[Sequences, list[Translation]]:
    """The baseline that calls `translate(train, asked)`, which returns a text for each text."""

    def predict(examples: Examples[Sequences]) -> list[Translation]:
        known = Part(texts_of(train.source), _ids(train), references(train))
        answers = called(custom, known, Part(texts_of(examples.source), _ids(examples)))
        return [Translation(text) for text in texts(custom, answers, len(examples))]

    if valid is not None:
        predict(valid)  # a function that fails does so before the training
    return Baseline(custom.name, predict, slow=True)


def _ids(examples: Examples[Sequences]) -> tuple[str, ...]:
    return tuple(map(str, examples.source.ids))
