"""The values that `classify` fits on the training part, besides the weights."""

from dataclasses import dataclass
from typing import Annotated

from gatewise.data.bounds import POSITIVE, SHARE, STEPS
from gatewise.data.spectra import Spectrum
from gatewise.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    classes: tuple[str, ...]
    separator: str = ""  # between the labels of a sequence; "": one label each
    temperature: Annotated[float, POSITIVE] = 1.0  # logits are divided by it
    blend: str = "none"  # the baseline whose probabilities are averaged in
    blend_on_steps: bool = False  # it reads all steps side by side
    share: Annotated[float, SHARE] = 0.5  # of that baseline in the mean
    window: Annotated[int, STEPS] = 0  # steps of the windows that sequences are cut into; 0: whole
    stride: Annotated[int, STEPS] = 0
    vocabulary: Vocabulary | None = None  # texts only
    max_length: Annotated[int, STEPS] = 0  # tokens that the network reads of a text, at most
    bigrams: Annotated[int, STEPS] = 0  # rows of the table of tokens and pairs; 0: none
    truncation: str = "end"  # the end at which longer texts are truncated
    spectrum: Spectrum | None = None  # recordings only: the parameters of the frames
