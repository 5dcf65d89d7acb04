"""ConvolvedStepper: a network with convolutions one step at a time.

Its answer to some steps reads zeros after them, which later steps replace. So the last results of
the convolutions are provisional: the layers behind them read these on a copy of their states.
"""

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from gatewise.runtime.convolving import Front
from gatewise.runtime.graph import names_in
from gatewise.runtime.operations import Array
from gatewise.runtime.stepping import State, Stepper

STEPS, BUFFER = "steps", "last steps"  # states: the number of steps, and the last ones of them
REST, BESIDE = "rest ", "beside "  # the beginnings of the names of other states


class ConvolvedStepper:
    """As `Stepper`, for a network that begins with convolutions.

    Args:
        front: the convolutions, and what follows them.
        padding: as for `Stepper`.
        weights: as for `Stepper`.

    Raises:
        ConfigError: as `Stepper`.
    """

    def __init__(
        self, front: Front, padding: float | None = None, weights: str = "float32"
    ) -> None:
        self._front = front
        self._beside = None if front.beside is None else Stepper(front.beside, padding)
        self._rest = Stepper(
            front.rest,
            padding,
            weights,
            free=list(names_in(front.rest.inputs))[1:],
            real=front.masks,
        )
        (name,) = names_in(front.network.graph.inputs)
        config = front.network.graph.node(name).config
        self._shape = tuple((config.get("batch_shape") or [None, *config["shape"]])[2:])
        self._dtype = config["dtype"]

    def start(self, count: int = 1) -> State:
        """The states of `count` streams before their first step."""
        state: State = {
            STEPS: np.zeros(count, np.int64),
            BUFFER: np.zeros((count, self._longest, *self._shape), self._dtype),
        }
        state |= _named(REST, self._rest.start(count))
        return state | (_named(BESIDE, self._beside.start(count)) if self._beside else {})

    def __call__(self, x: Array | Mapping[str, Array], state: State) -> Array:
        """The answer after one more step of each stream; `state` is replaced in place."""
        x = np.asarray(next(iter(x.values())) if isinstance(x, Mapping) else x, self._dtype)
        state[STEPS] = state[STEPS] + 1
        state[BUFFER] = np.concatenate([state[BUFFER][:, 1:], x[:, None]], axis=1)
        given = {}
        if self._beside is not None:
            states = _part(BESIDE, state)
            given[self._rest.inputs[1]] = self._beside(x, states)
            state.update(_named(BESIDE, states))
        turns = [self._turn(count) for count in state[STEPS].tolist()]
        answers: list[Array] = [None] * len(turns)
        kept = {name: one.copy() for name, one in _part(REST, state).items()}
        for turn in sorted(set(turns)):
            rows = [row for row, one in enumerate(turns) if one == turn]
            stretch, first, final, last = turn
            results = self._front.network(state[BUFFER][rows, -stretch:])[:, first:last]
            states = {name: one[rows] for name, one in kept.items()}
            for k in range(last - first):
                if k == final - first:
                    for name, one in states.items():
                        kept[name][rows] = one
                read = {self._rest.inputs[0]: results[:, k]}
                answer = self._rest(read | {name: one[rows] for name, one in given.items()}, states)
            for row, one in zip(rows, answer, strict=True):
                answers[row] = one
        state.update(_named(REST, kept))
        return np.stack(answers)

    def _turn(self, count: int) -> tuple[int, int, int, int]:
        """What the step after which there are `count` steps makes.

        The number of last steps that are read, and of what they make the first new result, the
        first provisional one, and the end.
        """
        front = self._front
        before, final = self._final(count - 1), self._final(count)
        first = max(0, before - front.reach)
        end = front.ready(count, ended=True) - first
        return count - first * front.stride, before - first, final - first, end

    def _final(self, count: int) -> int:
        """The results that later steps do not change, but the last of all.

        So at least one is made anew for each answer, which may read summaries of later steps.
        """
        front = self._front
        return max(0, min(front.ready(count, ended=False), front.ready(count, ended=True) - 1))

    @cached_property
    def _longest(self) -> int:
        """The most steps that `_turn` reads; they recur after `stride` steps."""
        front = self._front
        most = 2 * front.field + (front.reach + 2) * front.stride
        return max(self._turn(count)[0] for count in range(1, most + 1))


def _named(kind: str, states: State) -> State:
    return {kind + name: one for name, one in states.items()}


def _part(kind: str, state: State) -> State:
    return {name.removeprefix(kind): one for name, one in state.items() if name.startswith(kind)}
