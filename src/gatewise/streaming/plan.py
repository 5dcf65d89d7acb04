"""What a stream of a run reads and answers: the part that differs between tasks."""

from dataclasses import dataclass
from typing import Any

from gatewise.data.preparation import Preparation


@dataclass(frozen=True)
class Plan:
    """How the answers of a run follow its steps."""

    preparation: Preparation[Any]  # for sequences that are not cut into windows
    columns: tuple[str, ...]  # that a row of numbers holds, in this order
    window: int = 0  # an answer reads so many last steps; 0: all, whose states are carried on
    every: int = 1  # steps between answers
    per_step: bool = False  # the answer is the row of the last step, among rows of all steps
    # An answer needs a full window, even at the end of a stream that is shorter.
    full: bool = False
    targets: tuple[str, ...] = ()  # a row in which all of them are empty is a step ahead
    ahead: int = 0  # an answer needs so many rows ahead
    needs_times: str = ""  # what reads the times, for messages; "": nothing
    static: tuple[str, ...] = ()  # columns with one value for the whole stream
    # Why states cannot be carried on, whatever the network is; "": they can.
    whole: str = ""
