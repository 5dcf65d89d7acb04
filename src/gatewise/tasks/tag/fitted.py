"""What training learns about the tokens that are tagged, besides the weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    classes: tuple[str, ...]  # the tags
    tokens: tuple[str, ...]  # as they are spelled, the most frequent first
    words: tuple[str, ...]  # that have a vector of their own
    characters: tuple[str, ...]  # empty: words are not spelled
    max_length: int  # tokens of a sentence that are read in one go
    temperature: float = 1.0  # logits are divided by it
