"""The report's sections of `regress`: predicted over true numbers, residuals, coverage, errors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import NullFormatter

from gatewise.reporting import charts, formats
from gatewise.reporting.formats import Numbers
from gatewise.reporting.sections import (
    Cell,
    Key,
    Picture,
    Record,
    Section,
    Table,
    coverage,
    steps_of,
)

BINS = 30  # of a histogram
TAIL = 0.01  # of the errors on either side are not drawn
MOST_ROWS = 100  # in a table of targets


def sections(run: Record, details: Mapping[str, Any]) -> list[Section]:
    """The sections of this task, from `details` of metrics.json; an empty one is left out."""
    scatter = details.get("scatter") or []
    return [
        _scatter(scatter),
        _residuals(scatter),
        coverage(details.get("coverage") or []),
        _by_target(details.get("by_target") or {}),
        _by_length(details.get("lengths") or [], str(run.metrics.get("units_note") or "")),
        _worst(details, run.settings.report.examples),
    ]


def _scatter(scatter: Sequence[Mapping[str, Any]]) -> Section:
    pictures = []
    for one in scatter:
        actual, predicted = formats.floats(one["actual"]), formats.floats(one["predicted"])
        figure, axes = charts.axes(height=320, grid="both")
        both = np.concatenate([actual, predicted])
        low, high = float(both.min()), float(both.max())
        axes.plot([low, high], [low, high], color=charts.COLOURS["muted"], linewidth=1)
        axes.plot(
            actual,
            predicted,
            "o",
            color=charts.COLOURS["accent"],
            markersize=4,
            alpha=_opacity(len(actual)),
            markeredgewidth=0,
        )
        axes.set(xlabel="true", ylabel="predicted")
        _logarithmic(axes, actual, predicted)
        alt = f"Predicted over true {one['target']}, {formats.count(len(actual), 'point')}"
        pictures.append(Picture(charts.svg(figure, alt), str(one["target"])))
    lead = "Each point is a prediction of the test part; on the line, it equals the truth."
    keys = [Key("accent", "prediction (median)", "dot"), Key("muted", "exact")]
    return Section("Predicted and true", lead if pictures else "", keys, pictures)


def _opacity(count: int) -> float:
    return float(np.clip(100 / max(count, 1), 0.25, 0.8))


def _logarithmic(axes: Any, *values: Numbers) -> None:
    """Use logarithmic axes for positive numbers that span powers of ten."""
    both = np.concatenate(values)
    if both.min() > 0 and both.max() > 100 * both.min():
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())


def _residuals(scatter: Sequence[Mapping[str, Any]]) -> Section:
    pictures = []
    for one in scatter:
        actual, predicted = formats.floats(one["actual"]), formats.floats(one["predicted"])
        errors = predicted - actual
        figure, axes = charts.axes(height=200)
        # A single error far off would make all others one bar.
        ends = np.quantile(errors, [TAIL, 1 - TAIL])
        inside = errors[(errors >= ends[0]) & (errors <= ends[1])]
        axes.hist(inside, bins=BINS, color=charts.COLOURS["accent"], alpha=0.6)
        axes.axvline(0, color=charts.COLOURS["ink"], linewidth=1)
        axes.set(xlabel="predicted minus true", ylabel="predictions")
        middle = float(np.median(errors))
        alt = f"Histogram of the errors of {one['target']}, median {formats.number(middle)}"
        caption = f"median error {formats.number(middle)}"
        pictures.append(Picture(charts.svg(figure, alt), str(one["target"]), caption))
    lead = (
        "The errors of the test part, without the largest and the smallest hundredth. Centred on "
    )
    lead += "zero, they have no bias."
    return Section("Residuals", lead if pictures else "", pictures=pictures)


def _by_target(errors: Mapping[str, Mapping[str, Any]]) -> Section:
    """The mean absolute error of each target in its own units; the best of each is marked."""
    if not errors:
        return Section("")
    models = formats.union(errors.values())
    rows: list[list[str | Cell]] = []
    for name, one in list(errors.items())[:MOST_ROWS]:
        values = formats.floats([one.get(model) for model in models])
        digits, best = formats.decimals(values), np.nanmin(values)
        cells = [Cell(formats.number(value, digits), best=bool(value == best)) for value in values]
        rows.append([name, *cells])
    left = len(errors) - len(rows)
    table = Table(
        "Error by target",
        ["target", *models],
        rows,
        note=f"{left:,} more are not shown." if left else "",
    )
    lead = "Mean absolute error of each target in its own units."
    return Section("Error by target", lead, tables=[table])


def _by_length(parts: Sequence[Mapping[str, Any]], units: str) -> Section:
    models = formats.union(one.get("error") or {} for one in parts)
    if not models:
        return Section("")
    every = [[(one.get("error") or {}).get(name) for name in models] for one in parts]
    digits = formats.decimals([value for row in every for value in row])
    rows = [
        [
            f"{one['from']} to {one['to']}",
            formats.number(one.get("sequences"), 0),
            *(formats.number(value, digits) for value in values),
        ]
        for one, values in zip(parts, every, strict=True)
    ]
    table = Table("Error by length", ["length", "sequences", *models], rows)
    lead = f"Mean absolute error of short and long sequences. {formats.sentence(units)}".strip()
    return Section("Error by length", lead, tables=[table])


def _worst(details: Mapping[str, Any], most: int) -> Section:
    """The predictions that are farthest off."""
    examples = (details.get("examples") or [])[:most]
    title = "Largest errors"
    if not examples:
        return Section("")
    if details.get("per") == "step":
        keys = [Key("ink", "true"), Key("accent", "predicted")]
        quantiles = sorted(examples[0].get("quantiles") or {}, key=float)
        if len(quantiles) > 1:
            shares = [formats.percent(float(quantiles[place])) for place in (0, -1)]
            keys.append(Key("band", " to ".join(shares), "band"))
        lead = "The stretches of steps with the largest mean error."
        return Section(title, lead, keys, [_stretch(one) for one in examples])
    lead = "The sequences that are farthest off: odd ones, or wrong targets."
    if any("text" in one for one in examples):
        columns = ["text", "true", "predicted", "band"]
        rows = [[str(one.get("text")), *_numbers(one)] for one in examples]
        return Section(title, lead, tables=[Table("Largest errors", columns, rows)])
    drawn = [steps_of(one) for one in examples]
    spans = charts.ranges(drawn)
    pictures = [_sequence(*pair, spans) for pair in zip(examples, drawn, strict=True)]
    names = [str(name) for name in (examples[0].get("columns") or [])]
    lines = 1 < len(names) <= charts.MOST_LINES
    keys = [Key(c, name) for c, name in zip(charts.SERIES, names, strict=False)] if lines else []
    return Section(title, lead, keys, pictures, small=True)


def _numbers(one: Mapping[str, Any]) -> tuple[str, str, str]:
    """The true number, the predicted one and its band, as texts."""
    values = [one.get(key) for key in ("truth", "answer", "low", "high")]
    digits = formats.decimals(values[:2])
    truth, answer, low, high = (formats.number(value, digits) for value in values)
    return truth, answer, f"{low} to {high}" if low != high else ""


def _sequence(
    one: Mapping[str, Any], values: Numbers, spans: tuple[Numbers, Numbers] | None
) -> Picture:
    truth, answer, band = _numbers(one)
    title = f"{one.get('target')}: {truth}, predicted {answer}"
    words = formats.known([one.get("id"), f"band {band}" if band else ""])
    alt = f"A sequence of {formats.count(len(values), 'step')}: {title}"
    square = charts.is_picture(values) and spans is None
    figure, axes = charts.axes(width=200, height=150 if square else 130)
    if values.shape[1] > charts.MOST_LINES:
        if spans is not None:
            low, high = spans
            values = (values - low) / np.where(high > low, high - low, 1.0)
        charts.image(axes, values, square=square)
    else:
        for k in range(values.shape[1]):
            steps = np.arange(1.0, len(values) + 1)
            charts.line(axes, steps, values[:, k], charts.SERIES[k], width=1.2)
    sound = str(one.get("sound", ""))
    return Picture(charts.svg(figure, alt), title, " · ".join(words), sound=sound)


def _stretch(one: Mapping[str, Any]) -> Picture:
    """The true and the predicted numbers of a stretch of steps, with the outermost band."""
    truth, quantiles = formats.floats(one["truth"]), one["quantiles"]
    steps = np.arange(1.0, len(truth) + 1) + one["first"]
    ordered = sorted(quantiles, key=float)
    middle = min(ordered, key=lambda level: abs(float(level) - 0.5))
    figure, axes = charts.axes(height=180)
    if len(ordered) > 1:
        keep = charts.spread(len(steps))
        low, high = (formats.floats(quantiles[ordered[place]])[keep] for place in (0, -1))
        axes.fill_between(
            steps[keep], low, high, color=charts.COLOURS["accent"], alpha=0.2, linewidth=0
        )
    charts.line(axes, steps, truth, "ink", width=1.3)
    charts.line(axes, steps, formats.floats(quantiles[middle]), "accent", width=1.8)
    axes.set_xlabel("step")
    title = f"{one['target']} from step {one['first'] + 1:,}"
    caption = f"{one['id']} · mean error {formats.number(one['error'])}"
    alt = f"{title}: true and predicted, {formats.count(len(truth), 'step')}; {caption}"
    return Picture(charts.svg(figure, alt), title, caption)
