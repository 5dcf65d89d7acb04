"""What an export of `classify` holds: scaling, the network and calibrated probabilities."""

from collections.abc import Mapping
from typing import Any

from gatewise.data.preparation import Preparation
from gatewise.exporting import steps
from gatewise.exporting.program import BATCH, Extension, Port, Program
from gatewise.runtime.graph import Graph
from gatewise.settings import Experiment
from gatewise.tasks.classify.fitted import Fitted


def program(
    graph: Graph,
    preparation: Preparation[Fitted],
    _experiment: Experiment,
    _state: Mapping[str, Any],
    *,
    padded: bool,
) -> Program:
    """Steps in their own units in, a probability for each class out."""
    own, extension = preparation.own, Extension(graph)
    ports = steps.inputs_of(extension, preparation, padded=padded)
    (logits,) = extension.outputs()
    cooled = extension.do("divide", logits, extension.constant(own.temperature))
    activation = "sigmoid" if own.separator else "softmax"
    answer = Port(
        "probabilities",
        (BATCH, len(own.classes)),
        meaning="the probability of each label" + (", each alone" if own.separator else ""),
        columns=own.classes,
    )
    facts: dict[str, Any] = {"classes": own.classes, **steps.facts(preparation)}
    return Program(
        title=f"Classification into {len(own.classes)} labels.",
        graph=extension.result((extension.do("activation", cooled, activation=activation),)),
        inputs=tuple(ports),
        outputs=(answer,),
        right_padded=True,
        apart=steps.apart(own.blend, "probabilities"),
        outside=tuple(steps.outside(preparation)),
        facts=facts,
    )
