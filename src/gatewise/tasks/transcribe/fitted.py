"""The fitted preparation of speech recognition: characters, spectra and decoding."""

from dataclasses import dataclass
from typing import Annotated

from gatewise.data.bounds import BEAMS, SOME_STEPS
from gatewise.data.spectra import Spectrum
from gatewise.tasks.transcribe.decoding import Characters


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    classes: tuple[str, ...]  # the characters of transcripts
    spectrum: Spectrum  # how frames are computed
    lowercase: bool = True  # transcripts are lowercased
    punctuation: bool = False  # transcripts keep punctuation
    strides: tuple[Annotated[int, SOME_STEPS], ...] = ()  # of each convolution
    beam_size: Annotated[int, BEAMS] = 1
    lm: Characters | None = None  # the language model of the beam search
    lm_weight: float = 0.0
