"""What training learns about a text, besides the weights."""

from dataclasses import dataclass

from gatewise.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    vocabulary: Vocabulary
    lookback: int  # tokens that are read between two updates of the weights
