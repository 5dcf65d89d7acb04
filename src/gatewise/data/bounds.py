"""The bounds of the numbers of a preparation, because they size arrays and loops.

`Annotated[int, STEPS]` declares them; a saved preparation with another number is damaged.
"""

import math
from dataclasses import dataclass

from gatewise.settings import MOST_BEAMS, MOST_RATE, MOST_STEPS


@dataclass(frozen=True)
class Between:
    """The least and the largest value of a number; NaN lies between none."""

    least: float
    most: float = math.inf

    def __contains__(self, number: float) -> bool:
        return self.least <= number <= self.most

    def __str__(self) -> str:
        """The end of the sentence "The number must be ..."."""
        if self.most == math.inf:
            return f"at least {self.least:g}"
        return f"between {self.least:,} and {self.most:,}"


STEPS, SOME_STEPS = Between(0, MOST_STEPS), Between(1, MOST_STEPS)
RATE = Between(1, MOST_RATE)  # samples per second
BEAMS = Between(1, MOST_BEAMS)
SHARE = Between(0, 1)
POSITIVE = Between(5e-324)  # the least float above 0
