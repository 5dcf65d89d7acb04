"""The HTML page that shows a curve."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewise.curves.powerlaw import fit
from gatewise.reporting import charts, formats
from gatewise.reporting.report import simple_page
from gatewise.reporting.sections import Key, Picture, Section, Table


def draw(content: Mapping[str, Any]) -> str:
    """Draw what `gatewise.curve` returns as a complete HTML document."""
    with charts.style():
        section = _by_size(content) if content["by"] == "size" else _by_rate(content)
    return simple_page(
        section.title,
        kicker=content["data"],
        sentence=content["sentence"],
        caveats=content["remarks"],
        heading="What was trained",
        overview=[(key, str(value)) for key, value in content["overview"].items()],
        sections=[section],
    )


def _by_size(content: Mapping[str, Any]) -> Section:
    points, unit, metric = content["points"], content["unit"], content["metric"]
    columns = [unit, metric, "lowest", "highest"]
    rows = [[formats.number(one["amount"], 0), *_cells(one["scores"])] for one in points]
    table = Table(f"Validation {metric} by {unit}", columns, rows)
    pictures = [_curve(content)] if points else []
    lead = "The same validation part scores every network; the test part is not touched."
    return Section("Learning curve", lead, pictures=pictures, tables=[table] if rows else [])


def _cells(scores: list[float]) -> list[str]:
    return [formats.number(one, 4) for one in (float(np.mean(scores)), min(scores), max(scores))]


def _curve(content: Mapping[str, Any]) -> Picture:
    """The scores of all networks, the power law, and its prediction for twice the data."""
    points, twice = content["points"], content["twice"]
    amounts = np.concatenate([[one["amount"]] * len(one["scores"]) for one in points])
    scores = np.concatenate([one["scores"] for one in points])
    figure, axes = charts.axes()
    axes.set_xscale("log")
    axes.plot(amounts, scores, "o", color=charts.COLOURS["accent"], markersize=4, alpha=0.7)
    keys = [Key("accent", "a network", "dot")]
    if twice:
        law = fit(amounts, scores, higher=content["higher_is_better"])
        x = np.geomspace(amounts.min(), twice["amount"], 100)
        charts.line(axes, x, law.at(x), "s1")
        axes.plot([twice["amount"]] * 2, [twice["low"], twice["high"]], color=charts.COLOURS["s1"])
        keys += [Key("s1", "power law, with the interval of a run on twice the data")]
    axes.set_xlabel(f"{content['unit']} of the training part")
    ticks = [one["amount"] for one in points] + ([twice["amount"]] if twice else [])
    axes.set_xticks(ticks, [f"{one:,.0f}" for one in ticks])
    axes.minorticks_off()
    label = f"validation {content['metric']} by {content['unit']}"
    return Picture(charts.svg(figure, label), f"Validation {content['metric']}", "", keys)


def _by_rate(content: Mapping[str, Any]) -> Section:
    points = content["points"]
    lead = (
        "One network is trained while the learning rate rises (Smith 2017), with "
        f"{content['steps']} steps at each rate, and validated after each."
    )
    if not points:
        return Section("Learning rates", lead)
    figure, axes = charts.axes()
    rates = np.array([one["rate"] for one in points])
    axes.set_xscale("log")
    for key, colour in (("val_loss", "accent"), ("loss", "muted")):
        charts.line(axes, rates, np.array([one[key] for one in points]), colour)
    axes.axvline(content["default"], color=charts.COLOURS["s1"], linestyle=charts.DASHES[1])
    # A loss that diverges would flatten the rest of the curve.
    top = 1.2 * max(content["start"], points[0]["loss"])
    axes.set_ylim(top=min(top, axes.get_ylim()[1]))
    axes.set_xlabel("learning rate")
    charts.plain_powers(axes.xaxis)
    keys = [Key("accent", "validation"), Key("muted", "training"), Key("s1", "default", "dash")]
    picture = Picture(charts.svg(figure, "loss by learning rate"), "Loss", "", keys)
    rows = [
        [f"{one['rate']:.2g}", *(formats.number(one[key], 4) for key in ("loss", "val_loss"))]
        for one in points
    ]
    table = Table("Losses", ["rate", "training", "validation"], rows, folded="All rates")
    return Section("Learning rates", lead, pictures=[picture], tables=[table])
