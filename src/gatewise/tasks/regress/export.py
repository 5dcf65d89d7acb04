"""What an export of `regress` holds: scaling, the network and quantiles in the targets' units."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewise.data.preparation import Preparation
from gatewise.data.targets import Target
from gatewise.exporting import steps
from gatewise.exporting.program import BATCH, STEPS, Extension, Port, Program
from gatewise.runtime.graph import Graph
from gatewise.settings import Experiment
from gatewise.tasks.regress.fitted import Fitted


def program(
    graph: Graph,
    preparation: Preparation[Fitted],
    _experiment: Experiment,
    _state: Mapping[str, Any],
    *,
    padded: bool,
) -> Program:
    """Steps in their own units in, quantiles of each target out."""
    own, extension = preparation.own, Extension(graph)
    ports = steps.inputs_of(extension, preparation, padded=padded)
    levels = own.quantiles or (0.5,)
    (x,) = extension.outputs()  # [batch, targets, quantiles], or [batch, steps, targets, quantiles]
    x = extension.ascending(x, len(levels))
    if own.margins:
        moved = extension.do("add", x, extension.constant(np.array(own.margins)))
        x = extension.ascending(moved, len(levels))
    rows = [
        _unscaled(extension, target, extension.do("getitem", x, key=["...", k, [None, None, None]]))
        for k, target in enumerate(own.targets)
    ]
    each = (STEPS,) if own.per == "step" else ()
    answer = Port(
        "numbers",
        (BATCH, *each, len(own.targets), len(levels)),
        meaning=f"{', '.join(own.names)} in their own units; the last axis: "
        + (f"quantiles {', '.join(f'{q:g}' for q in levels)}" if own.quantiles else "one number"),
    )
    facts: dict[str, Any] = {"targets": own.names, "quantiles": own.quantiles}
    facts |= steps.facts(preparation)
    return Program(
        title=f"Regression: {', '.join(own.names)} of a {own.per}.",
        graph=extension.result((extension.do("stack", *rows, axis=-2),)),
        inputs=tuple(ports),
        outputs=(answer,),
        right_padded=True,
        apart=steps.apart(own.blend, "numbers"),
        outside=tuple(steps.outside(preparation)),
        facts=facts,
    )


def _unscaled(extension: Extension, target: Target, x: str) -> str:
    """A target in its own units, as `gatewise.data.targets.unscaled` computes it."""
    do, constant = extension.do, extension.constant

    def moved(value: str) -> str:
        scaled = do("multiply", value, constant(target.spread))
        return do("add", scaled, constant(target.centre))

    if target.transform == "none":
        return moved(x)
    width = target.high - target.low
    low, high = constant(target.low - width), constant(target.high + width)
    x = moved(do("minimum", do("maximum", x, low), high))
    if target.transform == "log":
        return do("exp", x)
    zero, one = constant(0.0), constant(1.0)
    up = _inverse(extension, do("maximum", x, zero), target.power)
    down = _inverse(extension, do("maximum", do("negative", x), zero), 2 - target.power)
    rising, falling = do("subtract", up, one), do("subtract", one, down)
    x = do("where", do("greater_equal", x, zero), rising, falling)
    return do("add", do("multiply", x, constant(target.unit)), constant(target.shift))


def _inverse(extension: Extension, x: str, power: float) -> str:
    """(power x + 1) ** (1 / power), or exp(x) for the power 0."""
    do, constant = extension.do, extension.constant
    if not power:
        return do("exp", x)
    above = do("add", do("multiply", x, constant(power)), constant(1.0))
    above = do("maximum", above, constant(float(np.finfo(np.float32).tiny)))
    return do("power", above, constant(1 / power))


def unit(preparation: Preparation[Fitted]) -> float:
    """The largest deviation of a target, in which differences are measured."""
    return max(target.deviation for target in preparation.own.targets)
