"""The sections on the inside of a network: its layers, and what its answers rest on."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gatewise.reporting import charts, formats
from gatewise.reporting.sections import Key, Picture, Section, Table

GATES = ("input", "forget", "output", "candidate")
MEANINGS = (
    "Half-life: the steps after which a unit has forgotten half of its cell, ln 2 / mean(-ln f) "
    "for its forget gate f. Dead: the output has a standard deviation below 0.01. Redundant: the "
    "output has a correlation above 0.99 with that of an earlier unit. Reach: the number of last "
    "steps that hold 90 % of the gradient by the hidden state."
)
ADDED = "What each step adds to the output, beside inputs of zeros (integrated gradients)."
SATURATED = (
    "A gate is saturated below 0.1 and above 0.9 (Karpathy et al. 2015), a candidate below -0.9 "
    "and above 0.9."
)


def steps(value: Any) -> str:
    """A number of steps with two or three digits; infinity, which JSON lacks, is "∞"."""
    if value is None or math.isinf(value):
        return "∞"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def rows_of(layers: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The table of the layers, without its heading: `COLUMNS`."""
    return [
        [
            str(one["layer"]),
            str(one["units"]),
            str(one["steps"]),
            steps(one["memory"]["median"]),
            steps(one["memory"]["longest"]),
            str(len(one["dead"])),
            str(len(one["redundant"])),
            str(one["gradient"]["reach"]),
        ]
        for one in layers
    ]


COLUMNS = ("", "units", "steps", "half-life", "longest", "dead", "redundant", "reach")


def gate_rows(layers: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The mean and the saturation of each gate of each layer: `GATE_COLUMNS`."""
    return [
        [
            f"{one['layer']}: {gate}",
            f"{one['gates'][gate]['mean']:.2f}",
            formats.percent(one["gates"][gate]["low"]),
            formats.percent(one["gates"][gate]["high"]),
        ]
        for one in layers
        for gate in GATES
    ]


GATE_COLUMNS = ("gate", "mean", "low", "high")


def overview(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was inspected, as pairs of a name and its text."""
    pairs = [
        ("Model", str(content["model"])),
        ("Data", str(content["data"])),
        ("Examples", formats.count(content["examples"], "example")),
    ]
    return [(name, text) for name, text in pairs if text]


def lines(content: Mapping[str, Any]) -> list[str]:
    """What follows the tables in a shell: each explained example, and the advice."""
    found = []
    for one in content["shown"]:
        source = next((one for one in one["sources"] if "steps" in one), None)
        most = ""
        if source:
            values = np.abs(formats.floats(source["steps"]))
            most = f" Step {int(values.argmax())} of {len(values)} weighs most."
        found.append(f"Example {one['example']}: {_sum(one)}{most}")
    unexplained = [str(content["unexplained"])] if content.get("unexplained") else []
    return [*found, *unexplained, *content["advice"]]


def _sum(one: Mapping[str, Any]) -> str:
    return (
        f"The output of the network, as it leaves the last layer, is {one['value']:.4g}, and "
        f"{one['at_baseline']:.4g} where all inputs are zero. The integrated gradients add up to "
        f"the difference with an error of {100 * one['completeness_error']:.2g} %."
    )


def sections(content: Mapping[str, Any]) -> list[Section]:
    """The section on the layers, with the advice; [] without an inspection."""
    if content.get("failed"):
        return [Section("Inside the network", str(content["failed"]))]
    layers = content.get("layers") or []
    if not layers:
        return []
    count, data = formats.count(content["examples"], "example"), content.get("data")
    # The report of a run names no data: it reads the validation part. Arrays have no name.
    where = " outside the training part" if data is None else f" of {data}" * bool(data)
    lead = " ".join([f"Measured on {count}{where}.", *content["advice"]])
    wide = [one for one in layers if one["data_steps_per_step"] > 1]
    note = MEANINGS + "".join(
        f" One step of {one['layer']} covers about {one['data_steps_per_step']} steps of the data."
        for one in wide
    )
    tables = [
        Table("Layers", COLUMNS, rows_of(layers), note=note),
        Table(
            "Gates",
            GATE_COLUMNS,
            gate_rows(layers),
            note=SATURATED,
            folded="Mean and saturation of each gate",
        ),
    ]
    return [Section("Inside the network", lead, pictures=[_norms(layers)], tables=tables)]


def _norms(layers: Sequence[Mapping[str, Any]]) -> Picture:
    """The gradient norm of each layer by the distance from the last step."""
    figure, axes = charts.axes()
    keys = []
    for one, colour in zip(layers, charts.SERIES, strict=False):
        norms = formats.floats(one["gradient"]["norms"])
        norms[norms <= 0] = np.nan
        charts.line(axes, np.arange(len(norms), dtype=float), norms, colour)
        keys.append(Key(colour, str(one["layer"])))
    if any(max(one["gradient"]["norms"], default=0) > 0 for one in layers):
        axes.set_yscale("log")
        charts.plain_powers(axes.yaxis)
    axes.invert_xaxis()
    axes.set_xlabel("steps before the last")
    label = "gradient norm by distance from the last step"
    caption = "The norm of the gradient of the answer by the hidden state, mean over the examples."
    return Picture(charts.svg(figure, label), "Gradient through time", caption, keys)


def examples(content: Mapping[str, Any]) -> list[Section]:
    """A section for each explained example."""
    return [_example(one) for one in content["shown"]]


def _example(one: Mapping[str, Any]) -> Section:
    pictures, tables = [], []
    for source in one["sources"]:
        name = source["name"] or "input"
        if "steps" in source:
            values = formats.floats(source["steps"])
            figure, axes = charts.axes()
            axes.bar(np.arange(len(values)), values, color=charts.COLOURS["accent"])
            axes.set_xlabel("step")
            label = f"attribution by step of {name}"
            pictures.append(Picture(charts.svg(figure, label), f"{name} by step", ADDED))
        if len(source.get("columns") or {}) > 1:
            rows = [[key, formats.number(value)] for key, value in source["columns"].items()]
            tables.append(Table(f"{name} by column", [f"column of {name}", "attribution"], rows))
    if one["occlusion"]:
        figure, axes = charts.axes()
        begins, ends, changes = (
            np.array(x, dtype=float) for x in zip(*one["occlusion"], strict=True)
        )
        axes.bar(begins, changes, width=ends - begins, align="edge", color=charts.COLOURS["s1"])
        axes.set_xlabel("step")
        caption = "The change of the answer when a stretch of steps is replaced by zeros."
        label = "change of the answer by occluded stretch"
        pictures.append(Picture(charts.svg(figure, label), "Occlusion", caption))
    if len(one["path"]["places"]) > 1:  # a layer may read a single step
        pictures.append(_path(one["path"]))
    return Section(f"Example {one['example']}", _sum(one), pictures=pictures, tables=tables)


def _path(path: Mapping[str, Any]) -> Picture:
    """The hidden state in the plane of its two principal components."""
    places = np.array(path["places"], dtype=np.float64).reshape(-1, 2)
    figure, axes = charts.axes(grid="both")
    axes.plot(places[:, 0], places[:, 1], color=charts.COLOURS["muted"], linewidth=1)
    for place, colour in ((places[:1], "s2"), (places[-1:], "accent")):
        axes.plot(place[:, 0], place[:, 1], "o", color=charts.COLOURS[colour], markersize=6)
    keys = [Key("s2", "first step", "dot"), Key("accent", "last step", "dot")]
    held = formats.percent(sum(path["shares"]))
    caption = f"Two principal components of the output of {path['layer']}: {held} of its variance."
    return Picture(charts.svg(figure, "path of the hidden state"), "Hidden state", caption, keys)
