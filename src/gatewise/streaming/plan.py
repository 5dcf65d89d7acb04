"""What a stream of a run reads and answers: the part that differs between tasks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.runtime.graph import Graph

Answer = dict[str, Any]  # "step", and the columns that `gatewise.predict` gives
Notes = dict[str, Any]  # what a task remembers of a stream, as JSON


@dataclass(frozen=True)
class Row:
    """A step, in the units of the data."""

    # [columns]: numbers, with texts as positions in their categories; a token; the energies of a
    # frame. Empty where `text` is all there is.
    values: Array
    time: Array | None = None  # datetime64[us], int64 or float64
    ahead: bool = False  # a step whose targets are not known yet
    text: str = ""  # of a text or of tokens: what was written
    filled: bool = False  # a value was not measured but filled in


@dataclass(frozen=True)
class Text:
    """How a text becomes steps while it arrives."""

    # A text -> its tokens [tokens], and what was written of each, with white space before it.
    encode: Callable[[str], tuple[Array, list[str]]]
    characters: bool  # a character is a token; else a token is complete at the next white space
    lines: bool = False  # a line ends what is read together
    end: str = ""  # what a text must end with
    most: int = 0  # tokens that are read of a text; 0: all


class Beside(Protocol):
    """What is computed from the steps so far beside the network, with states of its own."""

    def start(self, count: int) -> dict[str, Array]:
        """The states of `count` streams before their first step."""

    def __call__(self, values: Array, state: dict[str, Array]) -> Array:
        """Features [streams, features] after one more step [streams, columns]; moves `state`."""


class Sayings(Protocol):
    """How the outputs of the network become answers, if not by postprocessing and table."""

    @property
    def changing(self) -> tuple[str, ...]:
        """An answer is left out if none of these changes; (): none is left out."""

    def begin(self) -> Notes:
        """What is remembered before the first step."""

    def answers(
        self, notes: Notes, before: Array, after: Array, rows: Sequence[Row]
    ) -> list[Answer]:
        """An answer for each step. `notes` are moved on.

        `before` and `after` are the outputs before and after each step, [steps, ...].
        """

    def last(self, notes: Notes) -> Answer:
        """What only the end of a stream tells; empty: nothing."""


@dataclass(frozen=True)
class Plan:
    """How the answers of a run follow its steps."""

    preparation: Preparation[Any]  # for sequences that are not cut into windows
    columns: tuple[str, ...]  # that a row of numbers holds, in this order
    window: int = 0  # an answer reads this many last steps; 0: all, whose states are carried on
    every: int = 1  # steps between answers
    per_step: bool = False  # the answer is the row of the last step, among rows of all steps
    partial: bool = False  # answers do not wait for a full window
    measured: bool = False  # a step with values that were filled in gets no answer

    # An answer needs a full window, even at the end of a stream that is shorter.
    full: bool = False
    targets: tuple[str, ...] = ()  # a row in which all of them are empty is a step ahead
    ahead: int = 0  # an answer needs this many rows ahead
    needs_times: str = ""  # what reads the times, for messages; "": nothing
    static: tuple[str, ...] = ()  # columns with one value for the whole stream
    # Why states cannot be carried on, whatever the network is; "": they can.
    whole: str = ""
    # The window that answers anew read, where the run itself bounds it; 0: the user must choose.
    bound: int = 0
    windows: bool = True  # whether the last steps of a window can be answered anew
    cure: str = ""  # what else to do if states cannot be carried on; "": nothing
    text: Text | None = None  # texts only
    hidden: tuple[str, ...] = ()  # columns of the table that would count from the window's begin
    # Where states are carried on:
    graph: Callable[[Graph], Graph] | None = None  # the network without states as inputs
    start: Mapping[str, Array] = field(default_factory=dict)  # inputs before the first step
    restart: int = 0  # steps after which the network starts anew; 0: never
    free: tuple[str, ...] = ()  # inputs without an axis of steps, given with each
    places: str = ""  # the input that holds the row of each stream in the `free` ones
    # Inputs of the pieces of one sequence, and which of their steps are real, [pieces, steps] ->
    # those of its steps, [steps, ...]; None: the real ones.
    inputs: Callable[[Mapping[str, Array], Array], dict[str, Array]] | None = None
    beside: Beside | None = None
    # As `Task.postprocess`, which it replaces; the outputs end with the features of `beside`.
    postprocess: Callable[..., Any] | None = None
    sayings: Sayings | None = None
