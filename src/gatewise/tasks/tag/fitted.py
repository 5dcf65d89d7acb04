"""The values that `tag` fits on the training part, besides the weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    classes: tuple[str, ...]  # the tags
    tokens: tuple[str, ...]  # in their original spelling, the most frequent first
    words: tuple[str, ...]  # with an embedding of their own
    characters: tuple[str, ...]  # empty without a character LSTM
    max_length: int  # tokens that the network reads at once, at most
    temperature: float = 1.0  # logits are divided by it
