"""What an export of `forecast` holds: scaling, the network, and quantiles in the data's units."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewise.data.calendar import SHARES
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.exporting.program import (
    BATCH,
    SERIES,
    SERIES_INSIDE,
    Extension,
    Port,
    Program,
    series_port,
)
from gatewise.runtime.graph import Graph, names_in
from gatewise.settings import Experiment
from gatewise.tasks import quantiles
from gatewise.tasks.forecast.blend import RIDGE
from gatewise.tasks.forecast.fitted import Fitted
from gatewise.tasks.forecast.intervals import Margins


def program(
    graph: Graph,
    preparation: Preparation[Fitted],
    _experiment: Experiment,
    state: Mapping[str, Any],
    *,
    padded: bool,
) -> Program:
    """Raw windows in, quantiles in the units of the targets out."""
    assert not padded, "A window has no padding."
    own, network = preparation.own, list(names_in(graph.inputs))
    extension = Extension(graph)
    by_ridge = ("past", "future") if own.blend == "ridge" else ()
    ports = [
        one
        for one in _ports(preparation)
        if one.name in network or (one.name in by_ridge and one.columns)
    ]
    by_series = preparation.scale.by == "series"
    if by_series:
        ports.append(series_port(preparation.scale))
    for port in ports:
        extension.input(port)
    scaled: dict[str, str] = {}
    for port in ports:
        if port.name != SERIES:
            centre, spread = _scale(preparation, port.columns)
            axes = len(port.shape)
            shifted = extension.do("subtract", port.name, extension.of_series(centre, axes))
            row = extension.of_series(spread, axes)
            scaled[port.name] = extension.do("divide", shifted, row)
            if port.name in network:
                extension.feed(port.name, scaled[port.name])
    (x,) = extension.outputs()  # [batch, horizon, targets, quantiles]
    levels = own.quantiles or (0.5,)
    x = _widened(extension, extension.ascending(x, len(levels)), own.margins)
    if own.blend == "ridge":
        ridge = _ridge(extension, scaled, state, own)
        ridge = extension.do("multiply", ridge, extension.constant(own.share))
        x = extension.do("multiply", x, extension.constant(1 - own.share))
        x = extension.ascending(extension.do("add", x, ridge), len(levels))
        x = _widened(extension, x, own.blend_margins)
    past = ports[0]
    centre, spread = _scale(preparation, own.targets)
    unit, zero = (
        extension.do("expand_dims", extension.of_series(one, len(past.shape)), axis=-1)
        for one in (spread, centre)
    )
    x = extension.do("add", extension.do("multiply", x, unit), zero)
    floored = [own.floor == "zero" and name in own.never_negative for name in own.targets]
    if any(floored):
        least = np.where(floored, 0.0, np.finfo(np.float32).min)[:, None]
        x = extension.do("maximum", x, extension.constant(least))
    answer = Port(
        "forecast",
        (BATCH, own.horizon, len(own.targets), len(levels)),
        meaning=f"the next {own.horizon} steps of {', '.join(own.targets)}, in their own units; "
        "the last axis: "
        + (f"quantiles {', '.join(f'{q:g}' for q in levels)}" if own.quantiles else "one forecast"),
    )
    step = f" Steps are {preparation.step} apart." if preparation.step else ""
    return Program(
        title=f"Forecast of {own.horizon} steps from the last {own.lookback}.{step}",
        graph=extension.result((x,)),
        inputs=tuple(ports),
        outputs=(answer,),
        outside=_outside(preparation, by_series, network),
        facts={
            "targets": own.targets,
            "quantiles": own.quantiles,
            "series": preparation.scale.ids if by_series else (),
            "median": quantiles.middle(levels),
        },
    )


def _widened(extension: Extension, x: str, margins: Margins) -> str:
    """The quantiles with the margins of their calibration, sorted again."""
    if not margins:
        return x
    moved = extension.do("add", x, extension.constant(np.array(margins)[:, None]))
    return extension.ascending(moved, len(margins[0]))


def _ridge(
    extension: Extension, scaled: Mapping[str, str], state: Mapping[str, Any], own: Fitted
) -> str:
    """The quantiles of ridge, [batch, horizon, targets, quantiles], as `baselines.ridge` does."""
    window = extension.do("transpose", scaled["past"], axes=[0, 2, 1])  # [batch, targets, lookback]
    last = extension.do("getitem", window, key=["...", [-1, None, None]])
    inputs = extension.do("subtract", window, last)
    if "future" in scaled:
        known = extension.do("reshape", scaled["future"], newshape=[0, 1, -1])
        each = extension.do("repeat", known, repeats=len(own.targets), axis=1)
        inputs = extension.do("concatenate", inputs, each, axis=-1)
    coefficients = extension.constant(np.array(state["ridge"]["coefficients"]))
    intercept = extension.constant(np.array(state["ridge"]["intercept"]))
    away = extension.do("add", extension.do("matmul", inputs, coefficients), intercept)
    ahead = extension.do("transpose", extension.do("add", away, last), axes=[0, 2, 1])
    offsets = extension.constant(np.array(state["offsets"][RIDGE]))  # [horizon, targets, quantiles]
    return extension.do("add", extension.do("expand_dims", ahead, axis=-1), offsets)


def window(own: Fitted) -> int:
    """The steps of an example: those that are read, and those that are forecast."""
    return own.lookback + own.horizon


def unit(preparation: Preparation[Fitted]) -> float:
    """The largest spread of a target, in which differences are measured."""
    targets = preparation.positions(preparation.own.targets)
    return float(preparation.scale.spread[:, targets].max())


def _ports(preparation: Preparation[Fitted]) -> list[Port]:
    own = preparation.own
    earlier, known = _names(preparation, (*own.past, *own.known)), _names(preparation, own.known)
    static = tuple(
        one
        for name in own.static
        for one in (
            [name]
            if name in preparation.static_scale
            else [f"{name} = {text}" for text in preparation.categories[name]]
        )
    )
    targets = (BATCH, own.lookback, len(own.targets))
    ahead = (BATCH, own.horizon, len(known))
    return [
        Port("past", targets, meaning="the targets, in their own units", columns=own.targets),
        Port(
            "covariates",
            (BATCH, own.lookback, len(earlier)),
            meaning="the other columns of the same steps, in their own units",
            columns=earlier,
        ),
        Port("future", ahead, meaning="the columns that are known ahead", columns=known),
        Port("static", (BATCH, len(static)), meaning="what never changes", columns=static),
    ]


def _names(preparation: Preparation[Fitted], names: tuple[str, ...]) -> tuple[str, ...]:
    """The columns in the order of `window_examples`: numbers, categories, calendar."""
    numbers = [name for name in names if name in preparation.used]
    hot = [
        f"{name} = {text}"
        for name in names
        if name in preparation.categories
        for text in preparation.categories[name]
    ]
    waves = [f"{wave} of {one}" for one in preparation.own.calendar for wave in ("sine", "cosine")]
    return (*numbers, *hot, *waves)


def _scale(preparation: Preparation[Fitted], names: tuple[str, ...]) -> tuple[Array, Array]:
    """Centre and spread of these columns, [series or 1, columns]; 0 and 1 for all but numbers."""
    rows = len(preparation.scale.centre)
    centre, spread = np.zeros((rows, len(names))), np.ones((rows, len(names)))
    for k, name in enumerate(names):
        if name in preparation.static_scale:
            centre[:, k], spread[:, k] = preparation.static_scale[name]
        elif name in preparation.columns:
            column = preparation.columns.index(name)
            centre[:, k] = preparation.scale.centre[:, column]
            spread[:, k] = preparation.scale.spread[:, column]
    return centre, spread


def _outside(
    preparation: Preparation[Fitted], by_series: bool, network: list[str]
) -> tuple[str, ...]:
    own = preparation.own
    found = [
        f"Cut a window of exactly {own.lookback} steps without gaps, the oldest first; missing "
        "values must be filled in before."
    ]
    if own.calendar and "covariates" in network:
        found.append(
            "Calendar columns are the sine and the cosine of 2 pi times a share: "
            + ", ".join(f"{name} is {SHARES[name]}" for name in own.calendar)
            + ". Times are in UTC if those of the data have a zone."
        )
    if preparation.categories:
        found.append("A column `name = text` is 1 where the text column holds this text, else 0.")
    if by_series:
        found.append(SERIES_INSIDE)
    return tuple(found)
