"""The values that `tag` fits on the training part, besides the weights."""

from dataclasses import dataclass
from typing import Annotated

from gatewise.data.bounds import POSITIVE, SOME_STEPS


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    classes: tuple[str, ...]  # the tags
    tokens: tuple[str, ...]  # in their original spelling, the most frequent first
    words: tuple[str, ...]  # with an embedding of their own
    characters: tuple[str, ...]  # empty without a character LSTM
    max_length: Annotated[int, SOME_STEPS]  # tokens that the network reads at once, at most
    temperature: Annotated[float, POSITIVE] = 1.0  # logits are divided by it
