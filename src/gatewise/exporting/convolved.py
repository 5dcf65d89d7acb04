"""One step of a network that begins with convolutions: the last steps are a state, too.

Its answer to some steps reads zeros after them, which later steps replace (`runtime.provisional`).
So the layers behind the convolutions move their states with each final result, and read the others,
which are provisional, on a copy. A window of the last steps moves on when a result becomes final,
so that final and provisional results have fixed places in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gatewise.errors import ConfigError
from gatewise.exporting.advancing import LAST, MOMENTS, WHOLE, Carried, advance, join, split
from gatewise.exporting.moments import Nodes
from gatewise.runtime.convolving import Front
from gatewise.runtime.graph import Graph, Node, names_in, pruned


@dataclass(frozen=True)
class Convolved:
    """The convolutions, and what reads their results."""

    front: Front
    rest: Carried
    beside: Carried | None  # summaries of the steps before the convolutions
    columns: Mapping[str, int]  # the sizes of the steps of the values before the convolutions

    @property
    def offset(self) -> int:
        """The places before the first step of a sequence when it begins."""
        return self.front.reach * self.front.stride

    @cached_property
    def length(self) -> int:
        """The steps of the window: with this many, the first result behind `reach` is final.

        As in `runtime.provisional`, at least one result behind it is made anew for each answer.
        """
        length = 1
        while min(self.ready(length), self.ready(length, ended=True) - 1) <= self.front.reach:
            length += 1
        return length

    @property
    def slots(self) -> range:
        """The places of the results that are read."""
        return range(self.front.reach, self.ready(self.length, ended=True))

    def ready(self, steps: int, *, ended: bool = False, layers: int | None = None) -> int:
        """The results of the first convolutions for this many steps of the window."""
        for one in self.front.convolutions[:layers]:
            steps = (steps - one.size + (one.size - 1 if ended else one.left)) // one.stride + 1
        return steps

    def least(self, result: int, *, layers: int | None = None) -> int:
        """The steps from which on there is this result."""
        steps = 1
        while self.ready(steps, ended=True, layers=layers) <= result:
            steps += 1
        return steps

    @cached_property
    def graph(self) -> Graph:
        """The convolutions without the masks of real steps, which are all real."""
        graph = self.front.network.graph
        convolutions = {n.outputs[0] for n in graph.nodes if n.operation == "conv1d"}
        same = {
            node.outputs[0]: node.inputs[1]
            for node in graph.nodes
            if node.operation == "where" and node.inputs[1] in convolutions
        }
        nodes = tuple(
            replace(node, inputs=tuple(same.get(one, one) for one in node.inputs))
            for node in graph.nodes
        )
        output = next(names_in(graph.outputs))
        return pruned(replace(graph, nodes=nodes, outputs=same.get(output, output)))

    @cached_property
    def depths(self) -> dict[str, int]:
        """The number of convolutions before each value of the graph."""
        depths = {"": 0}
        for node in self.graph.nodes:
            most = max((depths[one] for one in node.inputs), default=0)
            depths |= dict.fromkeys(node.outputs, most + (node.operation == "conv1d"))
        return depths

    @cached_property
    def sources(self) -> list[str]:
        """The values that the first convolutions read, before their padding."""
        return sorted({x for x in self.read if not self.depths[x]})

    @property
    def size(self) -> int:
        """The numbers of LAST: two counts, and the window."""
        return 2 + self.length * sum(self.columns[one] for one in self.sources)

    @cached_property
    def read(self) -> list[str]:
        """What the convolutions read, before their padding."""
        found = []
        for node in self.graph.nodes:
            if node.operation == "conv1d":
                before = self.graph.node(node.inputs[0])
                found.append(before.inputs[0] if before.operation == "pad" else node.inputs[0])
        return found


def advance_convolved(
    form: Convolved, x: str, states: Mapping[str, str], rank: int
) -> tuple[list[Node], str, dict[str, str]]:
    """As `advance`, for a step `x` [batch, 1, ...]; `rank` is the number of axes of the answer."""
    nodes = Nodes("window")
    steps, gone, held = split(nodes, states[LAST], [1, 1, form.size - 2], "last")
    steps = nodes.do("add", steps, nodes.constant(1))
    filled = nodes.do("add", steps, nodes.constant(form.offset))  # places of the window [batch, 1]
    begin = nodes.do("subtract", nodes.constant(form.offset), gone)  # the place of the first step
    final = nodes.do("greater_equal", filled, nodes.constant(form.length))
    window = _window(form, nodes, x, held=held, filled=filled)
    results = _results(form, nodes, window, begin=begin, filled=filled)
    states, given = dict(states), dict[str, str]()
    told = form.beside.sizes[MOMENTS] if form.beside else []
    rest = form.rest.sizes.get(MOMENTS, [])
    beside = ""
    if form.beside:
        cut = split(nodes, states[MOMENTS], [sum(told), sum(rest)][: 1 + bool(rest)], "told")
        names = {next(names_in(form.beside.graph.inputs)): x}
        made, features, after = advance(form.beside, names, {MOMENTS: cut[0]}, " beside")
        nodes += made
        given[list(names_in(form.rest.graph.inputs))[1]] = features
        states[MOMENTS], beside = cut[-1], after[MOMENTS]
    answer, kept = _read(form, nodes, results, given, states, final=final, filled=filled, rank=rank)
    if beside:
        kept[MOMENTS] = join(nodes, [beside, *([kept[MOMENTS]] if rest else [])], "moments kept")
    kept[LAST] = _moved(form, nodes, window, steps=steps, gone=gone, final=final)
    return nodes, answer, kept


def _window(form: Convolved, nodes: Nodes, x: str, *, held: str, filled: str) -> str:
    """The last steps with the new one [batch, length, columns]."""
    name = next(names_in(form.graph.inputs))
    before = pruned(replace(form.graph, outputs=form.sources)).nodes
    for node in before:
        if node.operation != "input":
            inputs = tuple(x if one == name else one for one in node.inputs)
            nodes.append(replace(node, inputs=inputs))
    step = join(nodes, [x if one == name else one for one in form.sources], "window step")
    columns = sum(form.columns[one] for one in form.sources)
    held = nodes.do("reshape", held, newshape=[0, form.length, columns])
    here = nodes.do("equal", nodes.constant(np.arange(1, form.length + 1)), filled)
    return nodes.do("where", nodes.do("expand_dims", here, axis=-1), step, held)


def _results(form: Convolved, nodes: Nodes, window: str, *, begin: str, filled: str) -> str:
    """The results of the convolutions [batch, results, filters].

    What they make of places outside the sequence is 0 for the next convolution.
    """
    names = dict(zip(form.sources, split(nodes, window, *_parts(form)), strict=True))
    read, written = set(form.read), {node.name for node in nodes}
    for node in form.graph.nodes:
        if node.operation == "input" or node.name in written:
            names |= {one: one for one in node.outputs if node.operation == "constant"}
            continue
        if missing := [one for one in node.inputs if one not in names]:
            raise ConfigError(f"'{node.name}' reads '{missing[0]}' beside its convolutions")
        nodes.append(replace(node, inputs=tuple(names[one] for one in node.inputs)))
        names |= {one: one for one in node.outputs}
        for one in read.intersection(node.outputs):
            depth = form.depths[one]
            count = form.ready(form.length, ended=True, layers=depth)
            stride = int(np.prod([c.stride for c in form.front.convolutions[:depth]]))
            places = nodes.constant(np.arange(count) * stride)
            ends = nodes.constant([form.least(k, layers=depth) for k in range(count)])
            inside = nodes.do(
                "logical_and",
                nodes.do("greater_equal", places, begin),
                nodes.do("less_equal", ends, filled),
            )
            inside = nodes.do("expand_dims", inside, axis=-1)
            names[one] = nodes.do("where", inside, one, nodes.constant(0))
    return names[next(names_in(form.graph.outputs))]


def _parts(form: Convolved) -> tuple[Sequence[int], str]:
    return [form.columns[one] for one in form.sources], "window part"


def _read(
    form: Convolved,
    nodes: Nodes,
    results: str,
    given: Mapping[str, str],
    states: Mapping[str, str],
    *,
    final: str,
    filled: str,
    rank: int,
) -> tuple[str, dict[str, str]]:
    """The answer, and the states of the layers behind the convolutions, moved if one is final."""

    def chosen(condition: str, one: str, other: str, axes: int = 2) -> str:
        for _ in range(axes - 2):
            condition = nodes.do("expand_dims", condition, axis=-1)
        return nodes.do("where", condition, one, other)

    reader = next(names_in(form.rest.graph.inputs))
    now = {state: states[state] for state in form.rest.sizes}
    kept, answer = dict[str, str](), ""
    for k in form.slots:
        one = nodes.do("getitem", results, key=[WHOLE, [k, k + 1, None]])
        made, y, after = advance(form.rest, {**given, reader: one}, now, f" of result {k}")
        nodes += made
        if not answer:
            kept = {state: chosen(final, after[state], now[state]) for state in now}
            answer, now = y, after
            continue
        there = nodes.do("greater_equal", filled, nodes.constant(form.least(k)))
        answer = chosen(there, y, answer, rank)
        now = {state: chosen(there, after[state], now[state]) for state in now}
    return answer, kept


def _moved(form: Convolved, nodes: Nodes, window: str, *, steps: str, gone: str, final: str) -> str:
    """LAST after the step: the window moves on by the stride if a result has become final."""
    stride = form.front.stride
    moved = nodes.do("getitem", window, key=[WHOLE, [stride, None, None]])
    moved = nodes.do("pad", moved, pad_width=[[0, 0], [0, stride], [0, 0]])
    window = nodes.do("where", nodes.do("expand_dims", final, axis=-1), moved, window)
    size = nodes.constant(stride)
    steps = nodes.do("where", final, nodes.do("subtract", steps, size), steps)
    gone = nodes.do("where", final, nodes.do("add", gone, size), gone)
    gone = nodes.do("minimum", gone, nodes.constant(form.offset))
    flat = nodes.do("reshape", window, newshape=[0, form.size - 2])
    return join(nodes, [steps, gone, flat], "last kept")
