"""What training learns about the sequences that are classified, besides the weights."""

from dataclasses import dataclass

from gatewise.data.spectra import Spectrum
from gatewise.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    classes: tuple[str, ...]
    separator: str = ""  # between the labels of a sequence that may have several
    temperature: float = 1.0  # logits are divided by it
    blend: str = "none"  # the baseline that is averaged with the network
    window: int = 0  # long sequences are cut into windows of so many steps
    stride: int = 0
    vocabulary: Vocabulary | None = None  # texts only
    max_length: int = 0  # tokens of a text that are read at most
    truncation: str = "end"  # where a longer one is cut off
    spectrum: Spectrum | None = None  # recordings only: how frames are made
