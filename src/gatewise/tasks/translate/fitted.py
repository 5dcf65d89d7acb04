"""The fitted preparation of a translator: vocabularies and lengths."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from gatewise.data.bounds import POSITIVE, SOME_STEPS
from gatewise.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    vocabularies: Mapping[str, Vocabulary]  # "source" and "target"; a shared one is under "source"
    max_length: Annotated[int, SOME_STEPS]  # the most tokens of a text
    max_length_ratio: Annotated[float, POSITIVE]  # target tokens to source tokens + 5, at most
    truncation: str = "end"  # the side at which longer texts are truncated

    def vocabulary(self, side: str) -> Vocabulary:
        """The vocabulary of the source or the target."""
        return self.vocabularies.get(side, self.vocabularies["source"])
