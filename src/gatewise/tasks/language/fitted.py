"""The fitted preparation of a language model: its vocabulary."""

from dataclasses import dataclass
from typing import Annotated

from gatewise.data.bounds import SOME_STEPS
from gatewise.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    vocabulary: Vocabulary
    lookback: Annotated[int, SOME_STEPS]  # steps of truncated backpropagation
