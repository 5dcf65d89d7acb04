"""A tagger of the user's own as a baseline: it sees the training sentences, and answers."""

import numpy as np

from gatewise.baselines.custom import Custom, Part, called, counted, refuse
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Sequences
from gatewise.readers.conll import TOKEN, tokens_of
from gatewise.tasks.tag.details import Tagged, sentences_of, truth_of
from gatewise.tasks.tag.fitted import Fitted
from gatewise.tasks.task import Baseline

WANTED = "a list of tags for each sentence, one for each token"


def custom_baseline(
    custom: Custom,
    train: Examples[Sequences],
    valid: Examples[Sequences] | None,
    preparation: Preparation[Fitted],
) -> Baseline[Sequences, Tagged]:
    """The baseline that calls `tag(train, asked)`, which returns a list of tags per sentence."""
    known = sentences_of(train)

    def predict(examples: Examples[Sequences]) -> Tagged:
        asked = _part(sentences_of(examples), preparation, known=False)
        answers = called(custom, _part(known, preparation, known=True), asked)
        chosen = []
        for k, tags in enumerate(counted(custom, answers, len(asked), WANTED)):
            chosen += _places(custom, tags, k, len(asked.sequences[k]), preparation)
        classes = np.array(chosen, dtype=np.int64)
        return Tagged(np.eye(len(preparation.own.classes), dtype=np.float32)[classes], classes)

    if valid is not None:
        predict(valid)  # a function that fails does so before the training
    return Baseline(custom.name, predict, slow=True)


def _part(sentences: Sequences, preparation: Preparation[Fitted], *, known: bool) -> Part:
    return Part(
        [tokens_of(sentences, TOKEN, k) for k in range(len(sentences))],
        tuple(map(str, sentences.ids)),
        truth_of(sentences) if known else None,
        classes=preparation.own.classes,
    )


def _places(
    custom: Custom, tags: object, k: int, length: int, preparation: Preparation[Fitted]
) -> list[int]:
    """The classes of the tags of sentence `k`."""
    listed = list(tags) if isinstance(tags, list | tuple | np.ndarray) else []
    if len(listed) != length:
        raise refuse(custom, f"{len(listed)} tags for sentence {k} of {length} tokens", WANTED)
    places = {name: place for place, name in enumerate(preparation.own.classes)}
    for one in listed:
        if str(one) not in places:
            few = ", ".join(preparation.own.classes[:10])
            raise refuse(custom, f"the tag {str(one)!r} in sentence {k}", f"one of {few}")
    return [places[str(one)] for one in listed]
