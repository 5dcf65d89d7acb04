"""Stepper: run a graph one step at a time, with states instead of the steps before.

A value of the graph is one of five kinds: it is the same at all times; it is given anew with each
step, without an axis of steps (the spelling of a word); it has a row for each step, so the row
of the new step is enough; it tells something of all steps so far (the state of an LSTM, a mean, a
maximum, a summary), so that a state and the new step are enough; or it is the mask of real steps,
which is true everywhere in a stream. Whatever needs more is refused by name.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gatewise.engine import cells
from gatewise.engine.cells import Layer
from gatewise.engine.contract import Arrays, Direction
from gatewise.errors import ConfigError
from gatewise.runtime.graph import Graph, Node, names_in
from gatewise.runtime.network import Network
from gatewise.runtime.operations import FUNCTIONS, Array, lstm
from gatewise.runtime.summarising import SUMMARY, after_step, summarised

FIXED, FREE, STEP, SO_FAR, REAL = "fixed", "free", "step", "so far", "real"  # kinds of values
State = dict[str, Array]  # arrays [streams, ...]; "steps" counts the steps of each stream

# Operations that treat each step alone.
ALONE = frozenset(
    (
        *("dense", "embedding", "activation", "cast", "where", "ones_like", "zeros_like"),
        *("batch_normalization", "layer_normalization", "one_hot", "top_k"),
        *("add", "subtract", "multiply", "divide", "mod", "power", "maximum", "minimum"),
        *("equal", "not_equal", "greater", "greater_equal", "less", "less_equal"),
        *("logical_and", "logical_or", "logical_not", "negative", "absolute", "square", "sqrt"),
        *("exp", "log", "log1p", "sin", "cos", "arcsinh"),
    )
)
# These do, too, if their axis comes after that of the steps.
ALONG = frozenset(
    (
        *("concatenate", "stack", "split", "softmax", "log_softmax", "logsumexp", "take"),
        *("sum", "mean", "max", "min", "any", "all", "expand_dims", "squeeze", "flip"),
    )
)
# Operations on a mask whose result is a mask again, or what a mask selects.
OF_MASKS = frozenset(("any", "all", "cast", "expand_dims", "logical_and", "squeeze"))


@dataclass(frozen=True)
class _Action:
    """A node that runs at each step: new inputs and states in, outputs out."""

    node: Node
    run: Callable[[list[Any], State], Sequence[Array]]


class Stepper:
    """A graph that reads one step of many streams at a time.

    Args:
        graph: a network whose inputs are steps [batch, steps, ...], except those of `free`.
        padding: the value that marks padded steps in the data of training, if any.
        weights: how the weights of LSTM layers are stored: float32 or int8 (`engine.cells`).
        free: the inputs without an axis of steps, [rows, ...], which are given with each step.
        real: values of the graph that are the mask of real steps, given by no node.

    Raises:
        ConfigError: an answer needs later steps, or all steps; the message names the layer.
    """

    def __init__(
        self,
        graph: Graph,
        padding: float | None = None,
        weights: str = "float32",
        *,
        free: Collection[str] = (),
        real: Collection[str] = (),
    ) -> None:
        self.inputs, outputs = list(names_in(graph.inputs)), list(names_in(graph.outputs))
        if len(outputs) > 1:
            raise ConfigError("The network has several outputs.")
        graph = summarised(graph)
        self.graph, self.output, self._free = graph, outputs[0], frozenset(free)
        self._padding, self.weights = padding, weights
        self._network = Network(graph)
        self._kinds: dict[str, str] = dict.fromkeys(real, REAL)
        self._kinds |= {name: FREE if name in free else STEP for name in self.inputs}
        self._padded = set(self.inputs) - set(free)  # values whose padded steps hold `padding`
        self._fixed: dict[str, Array] = {}
        self._initial: State = {}  # the states of one stream before its first step
        self._actions: list[_Action] = []
        for node in graph.nodes:
            if node.operation != "input":
                self._add(node)
        if self._kinds[self.output] not in (STEP, SO_FAR):
            raise ConfigError("The network has no answer that depends on its steps.")
        self.per_step = self._kinds[self.output] == STEP
        configs = {name: graph.node(name).config for name in self.inputs}
        self._dtypes = {name: config["dtype"] for name, config in configs.items()}
        # The first step shows the shapes of the states.
        state: State = {"steps": np.zeros(1, np.int64)}
        shapes = {name: _shape_of_a_step(configs[name], name in free) for name in self.inputs}
        self({name: np.zeros((1, *shape)) for name, shape in shapes.items()}, state)
        self._initial = {name: np.zeros_like(one) for name, one in state.items()}

    def start(self, count: int = 1) -> State:
        """The states of `count` streams before their first step."""
        return {name: np.repeat(one, count, axis=0) for name, one in self._initial.items()}

    def __call__(self, x: Array | Mapping[str, Array], state: State) -> Array:
        """The answer after one more step of each stream; `state` is replaced in place.

        `x` is the step [streams, ...], or several inputs by name. The answer has no axis of steps:
        it is that to the new step, or to all steps so far (`per_step`).
        """
        state["steps"] = state["steps"] + 1
        given = x if isinstance(x, Mapping) else {self.inputs[0]: x}
        values: dict[str, Any] = dict(self._fixed)
        for name in self.inputs:
            array = np.asarray(given[name], self._dtypes[name])
            values[name] = array if name in self._free else array[:, None]
        for action in self._actions:
            written = action.run([values.get(name) for name in action.node.inputs], state)
            values.update(zip(action.node.outputs, written, strict=False))
        answer: Array = values[self.output]
        return answer[:, 0] if self.per_step else answer

    def _add(self, node: Node) -> None:
        """Find how a node runs step by step, and the kinds of what it writes."""
        kinds = [self._kinds.get(name, FIXED) for name in node.inputs if name]
        kind, run = self._way(node, kinds)
        self._kinds.update(dict.fromkeys(node.outputs, kind))
        if node.operation == "lstm" and kind != FREE:
            self._kinds.update(dict.fromkeys(node.outputs[1:], SO_FAR))
        if kind == FIXED:
            values = run([self._fixed.get(name) for name in node.inputs], {})
            self._fixed.update(zip(node.outputs, values, strict=True))
        elif kind != REAL:
            self._actions.append(_Action(node, run))

    def _way(self, node: Node, kinds: list[str]) -> tuple[str, Callable[..., Sequence[Array]]]:
        """The kind of what a node writes, and the function that writes it."""
        name = node.operation
        if FREE in kinds and set(kinds) <= {FREE, FIXED}:
            return FREE, lambda values, _state: self._network.run(node, values)
        if self._is_mask(node, kinds):
            return REAL, _nothing
        if REAL in kinds and name == "where":
            if self._holds_padding(node.inputs[2]):
                self._padded.update(node.outputs)
            return self._kinds[node.inputs[1]], lambda values, _state: [values[1]]
        if name == "lstm":
            return self._lstm(node)
        reduction = self._reduction(node, kinds)
        if reduction is not None:
            return SO_FAR, reduction
        return self._along(node, kinds), self._plain(node)

    def _along(self, node: Node, kinds: list[str]) -> str:
        """The kind of what a node writes that changes what it reads, and nothing else.

        Raises:
            ConfigError: it needs other steps.
        """
        name = node.operation
        if name == "take" and kinds == [FREE, STEP] and node.config.get("axis") == 0:
            return STEP
        if REAL in kinds:
            raise ConfigError(f"'{node.name}' ({name}) needs the mask of all steps.")
        if STEP not in kinds:
            return SO_FAR if SO_FAR in kinds else FIXED
        if SO_FAR in kinds:
            raise ConfigError(f"'{node.name}' ({name}) changes the steps before.")
        if FREE in kinds or not _steps_stay_apart(node):
            raise ConfigError(f"'{node.name}' ({name}) needs all steps.")
        return STEP

    def _is_mask(self, node: Node, kinds: list[str]) -> bool:
        """Whether a node writes the mask of real steps, in any form."""
        if node.operation == "not_equal" and kinds == [STEP, FIXED]:
            return node.inputs[0] in self._padded and self._holds_padding(node.inputs[1])
        return node.operation in OF_MASKS and bool(kinds) and set(kinds) == {REAL}

    def _holds_padding(self, value: str) -> bool:
        """Whether a fixed value is the one that marks padded steps: 0 for tokens."""
        fixed = self._fixed.get(value)
        tokens = self.graph.node(self.inputs[0]).config["dtype"].startswith("int")
        return fixed is not None and fixed.ndim == 0 and fixed == (0 if tokens else self._padding)

    def _plain(self, node: Node) -> Callable[..., Sequence[Array]]:
        """The function of the operation itself."""
        function, weights, config = FUNCTIONS[node.operation], node.weights, node.config
        narrow = {"float64": self.graph.dtype, "int64": "int32"}

        def run(values: list[Any], _state: State) -> Sequence[Array]:
            written = function(*values, **weights, **config)
            outputs = written if isinstance(written, tuple) else (written,)
            return [
                one.astype(narrow.get(str(one.dtype), one.dtype), copy=False) for one in outputs
            ]

        return run

    def _lstm(self, node: Node) -> tuple[str, Callable[..., Sequence[Array]]]:
        config, name = node.config, node.name
        if config["go_backwards"]:
            raise ConfigError(f"'{name}' reads the last step first.")
        if any(node.inputs[2:]) or self._kinds.get(node.inputs[0]) != STEP:
            raise ConfigError(f"'{name}' starts from states that the network computes.")
        keys = (f"{name} h", f"{name} c")
        layer = Layer(
            kernel=node.weights["kernel"],
            recurrent_kernel=node.weights["recurrent_kernel"],
            bias=node.weights.get("bias"),
            activation=config["activation"],
            recurrent_activation=config["recurrent_activation"],
        )
        sequences = config["return_sequences"]
        step: Callable[[Array, Array, Array], tuple[Array, Array]]
        if cells.why_not(layer) is None:
            step = cells.Cells([layer], self.weights)
        elif self.weights != "float32":
            raise ConfigError(f"'{name}' does not run on {self.weights}: {cells.why_not(layer)}.")
        else:
            step = partial(_step_of, layer)

        def run(values: list[Any], state: State) -> Sequence[Array]:
            x = values[0][:, 0]
            h, c = (
                state.get(key, np.zeros((len(x), int(config["units"])), x.dtype)) for key in keys
            )
            h, c = step(np.ascontiguousarray(x), h, c)
            state[keys[0]], state[keys[1]] = h, c
            return [h[:, None] if sequences else h, h, c]

        return (STEP if sequences else SO_FAR), run

    def _reduction(self, node: Node, kinds: list[str]) -> Callable[..., Sequence[Array]] | None:
        """The function of a node that takes all steps together; None: it does not."""
        name, config = node.operation, node.config
        first = kinds[0] if kinds else FIXED
        if name == SUMMARY and first == STEP:
            return lambda values, state: [after_step(values[0][:, 0], state, node)]
        if name == "global_average_pooling1d" and first == STEP:
            return self._mean(node)
        if name in ("max", "min", "sum", "mean") and config.get("axis") in (1, [1]):
            if first == REAL and name == "sum":
                return lambda _values, state: [_counts(state["steps"], node)]
            if first == STEP:
                return self._mean(node) if name == "mean" else self._folded(node)
        if name == "getitem" and first == STEP and config["key"][1:2] in ([-1], [[-1, None, None]]):
            return self._plain(node)
        if name == "take_along_axis" and kinds == [STEP, SO_FAR] and config.get("axis") == 1:
            return _last
        return None

    def _mean(self, node: Node) -> Callable[..., Sequence[Array]]:
        """The running mean, in float64 because it adds up over all steps."""
        key, keep = f"{node.name} mean", bool(node.config.get("keepdims"))

        def run(values: list[Any], state: State) -> Sequence[Array]:
            x = values[0][:, 0].astype(np.float64)
            before = state.get(key, 0.0)
            count = state["steps"].reshape(-1, *[1] * (x.ndim - 1))
            state[key] = mean = before + (x - before) / count
            mean = mean.astype(values[0].dtype)
            return [mean[:, None] if keep else mean]

        return run

    def _folded(self, node: Node) -> Callable[..., Sequence[Array]]:
        """The running maximum, minimum or sum."""
        key, keep = f"{node.name} {node.operation}", bool(node.config.get("keepdims"))
        fold = {"max": np.maximum, "min": np.minimum, "sum": np.add}[node.operation]

        def run(values: list[Any], state: State) -> Sequence[Array]:
            x = values[0][:, 0]
            begins = (state["steps"] == 1).reshape(-1, *[1] * (x.ndim - 1))
            state[key] = after = np.where(begins, x, fold(state.get(key, x), x))
            return [after[:, None] if keep else after]

        return run


def _shape_of_a_step(config: Mapping[str, Any], free: bool) -> tuple[int, ...]:
    """The shape of an input without the batch and, unless it is free, without its steps."""
    shape = config["batch_shape"][1:] if "batch_shape" in config else config["shape"]
    return tuple(shape if free else shape[1:])


def _steps_stay_apart(node: Node) -> bool:
    """Whether the rows of a node's output come from the same rows of its inputs."""
    name, config = node.operation, node.config
    if name == "getitem":
        key = list(config["key"])
        return key[0] == "..." or key[:2] == [[None] * 3] * 2
    if name == "reshape":
        return list(config["newshape"])[:2] in ([0, 0], [0, -1], [-1, 0])
    if name in ALONG:
        axis = config.get("axis", -1)
        return all(one < 0 or one > 1 for one in ([axis] if isinstance(axis, int) else axis))
    return name in ALONE


def _step_of(layer: Layer, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """One step of a layer that has no packed weights."""
    direction = Direction(
        activation=layer.activation, recurrent_activation=layer.recurrent_activation
    )
    weights = (layer.kernel, layer.recurrent_kernel, layer.bias)
    _, h, c = lstm(Arrays(x[:, None], None, h, c, *weights), direction, sequences=False)
    return h, c


def _nothing(_values: list[Any], _state: State) -> Sequence[Array]:
    return []


def _counts(steps: Array, node: Node) -> Array:
    counts = steps[:, None] if node.config.get("keepdims") else steps
    return counts.astype(np.int32)


def _last(values: list[Any], state: State) -> Sequence[Array]:
    """The new step, which is what the network takes: the last of all real ones."""
    x, places = values
    assert (places.reshape(len(x), -1) == state["steps"][:, None] - 1).all()
    return [np.broadcast_to(x, (*places.shape[:2], *x.shape[2:]))]


def together(states: Sequence[Mapping[str, Array]]) -> State:
    """The states of several streams as one."""
    return {name: np.concatenate([one[name] for one in states]) for name in states[0]}


def apart(state: State, rows: Sequence[int] | Array) -> list[State]:
    """The state of each of these streams."""
    return [{name: one[row : row + 1].copy() for name, one in state.items()} for row in rows]
