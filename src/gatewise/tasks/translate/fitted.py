"""What training learns about pairs of texts, besides the weights."""

from collections.abc import Mapping
from dataclasses import dataclass

from gatewise.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    vocabularies: Mapping[str, Vocabulary]  # of "source" and "target"; a shared one is the source's
    max_length: int  # tokens of a text that are read at most
    max_length_ratio: float  # target tokens at most, for each source token and five more
    truncation: str = "end"  # where a longer text is cut off

    def vocabulary(self, side: str) -> Vocabulary:
        """The vocabulary of the source or the target."""
        return self.vocabularies.get(side, self.vocabularies["source"])
