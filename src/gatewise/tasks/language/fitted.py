"""The fitted preparation of a language model: its vocabulary."""

from dataclasses import dataclass

from gatewise.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    vocabulary: Vocabulary
    lookback: int  # steps of truncated backpropagation
