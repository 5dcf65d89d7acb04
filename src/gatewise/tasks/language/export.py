"""What an export of `language` holds: the log-probabilities of the next token."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.vocabulary import BEGIN, SPECIAL
from gatewise.exporting import steps
from gatewise.exporting.program import BATCH, STEPS, Extension, Port, Program
from gatewise.runtime.graph import Graph, Node, pruned
from gatewise.runtime.operations import log_softmax
from gatewise.settings import Experiment
from gatewise.tasks.language.fitted import Fitted


def program(
    graph: Graph,
    preparation: Preparation[Fitted],
    _experiment: Experiment,
    _state: Mapping[str, Any],
    *,
    padded: bool,
) -> Program:
    """Tokens in, the log-probabilities of each next token out; the first state is zero."""
    assert not padded, "Texts are read one at a time."
    vocabulary = preparation.own.vocabulary
    extension = Extension(from_zero(graph))
    port = steps.tokens_of(extension, padded=padded)
    (logits,) = extension.outputs()
    answer = Port(
        "log_probabilities",
        (BATCH, STEPS, len(vocabulary)),
        meaning="the natural logarithm of the probability of each token after each step",
    )
    return Program(
        title=f"Language model of {len(vocabulary)} tokens.",
        graph=extension.result((extension.do("log_softmax", logits, axis=-1),)),
        inputs=(port,),
        outputs=(answer,),
        outside=(
            *steps.text_outside(vocabulary),
            f"A text begins with the token {BEGIN}. Never write the tokens 0 to "
            f"{len(SPECIAL) - 1}, which are not text.",
        ),
        apart=steps.apart(preparation.own.blend, "probabilities"),
        facts=steps.facts(preparation),
    )


def from_zero(graph: Graph) -> Graph:
    """The graph without its states as inputs and outputs, in operations that read a step alone.

    The output bias is the first row of an embedding, and the tied output weights are the product
    with a transposed constant; both become what they are: a constant and a dense layer.
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.operation == "input" and node.name != "tokens":
            continue
        if node.operation == "lstm":
            node = replace(node, inputs=(*node.inputs[:2], "", ""))
        elif node.operation == "embedding" and _is_zero(graph, node.inputs[0]):
            row = np.asarray(node.weights["embeddings"])[0]
            node = replace(node, operation="constant", inputs=(), weights={"value": row})
        elif node.operation == "matmul":
            node = _dense(graph, node)
        nodes.append(node)
    logits = graph.outputs["logits"]
    return pruned(Graph(graph.name, graph.dtype, tuple(nodes), ["tokens"], [logits]))


def _is_zero(graph: Graph, value: str) -> bool:
    return graph.node(value).operation == "zeros_like"


def _dense(graph: Graph, node: Node) -> Node:
    """A product with constant weights as a dense layer."""
    x, right = node.inputs
    turned = graph.node(right)
    held = graph.node(turned.inputs[0]) if turned.operation == "transpose" else turned
    if held.operation != "constant":
        return node
    kernel = np.asarray(held.weights["value"])
    kernel = kernel.T if turned.operation == "transpose" else kernel
    return Node(
        node.name,
        "dense",
        (x,),
        node.outputs,
        {"activation": "linear"},
        {"kernel": np.ascontiguousarray(kernel)},
    )


def made_up(
    preparation: Preparation[Fitted], lengths: list[int], random: np.random.Generator
) -> dict[str, Array]:
    """Random tokens."""
    shape = (len(lengths), max(lengths))
    return {"tokens": random.integers(1, len(preparation.own.vocabulary), size=shape)}


def answers(
    network: Any, inputs: Mapping[str, Array], _preparation: Preparation[Fitted]
) -> tuple[Array, ...]:
    """What the run answers, [batch, steps, vocabulary]."""
    rows = len(inputs["tokens"])
    states = {
        name: np.zeros((rows, tensor.shape[-1]), np.float32)
        for name, tensor in network.input.items()
        if name != "tokens"
    }
    outputs = network.predict_on_batch({"tokens": inputs["tokens"].astype(np.int32), **states})
    return (log_softmax(np.asarray(outputs["logits"], np.float64)),)
