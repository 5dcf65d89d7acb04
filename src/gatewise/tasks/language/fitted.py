"""The fitted preparation of a language model: its vocabulary."""

from dataclasses import dataclass
from typing import Annotated

from gatewise.data.bounds import SHARE, SOME_STEPS
from gatewise.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    vocabulary: Vocabulary
    lookback: Annotated[int, SOME_STEPS]  # steps of truncated backpropagation
    blend: str = "none"  # the baseline whose probabilities are averaged in
    share: Annotated[float, SHARE] = 0.5  # of that baseline in the mean
