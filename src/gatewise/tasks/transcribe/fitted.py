"""What training learns about recordings and their transcripts, besides the weights."""

from dataclasses import dataclass

from gatewise.data.spectra import Spectrum
from gatewise.tasks.transcribe.decoding import Characters


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    classes: tuple[str, ...]  # the characters of transcripts
    spectrum: Spectrum  # how frames are made
    lowercase: bool = True  # transcripts are compared in lower case
    punctuation: bool = False  # signs are part of a transcript
    strides: tuple[int, ...] = ()  # frames to a step of the network, layer by layer
    beam_size: int = 1
    lm: Characters | None = None  # the language model of the beam search
    lm_weight: float = 0.0
