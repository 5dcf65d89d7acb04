"""The values that `regress` fits on the training part, besides the weights."""

from dataclasses import dataclass
from typing import Annotated

from gatewise.data.bounds import SHARE, STEPS
from gatewise.data.spectra import Spectrum
from gatewise.data.targets import Target
from gatewise.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Fitted:
    """The part of a `Preparation` that only this task has."""

    targets: tuple[Target, ...]
    per: str = "sequence"  # or "step": a number at each step
    quantiles: tuple[Annotated[float, SHARE], ...] = ()
    margins: tuple[tuple[float, ...], ...] = ()  # added to the quantiles, [targets][quantiles]
    blend: str = "none"  # the baseline whose numbers are averaged in
    blend_on_steps: bool = False  # it reads all steps side by side
    share: Annotated[float, SHARE] = 0.5  # of that baseline in the mean
    blend_margins: tuple[tuple[float, ...], ...] = ()  # added to the quantiles of the mean
    window: Annotated[int, STEPS] = 0  # steps of the windows that sequences are cut into; 0: whole
    stride: Annotated[int, STEPS] = 0
    vocabulary: Vocabulary | None = None  # texts only
    max_length: Annotated[int, STEPS] = 0  # tokens that the network reads of a text, at most
    truncation: str = "end"  # the end at which longer texts are truncated
    spectrum: Spectrum | None = None  # recordings only: the parameters of the frames

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the targets."""
        return tuple(target.name for target in self.targets)
