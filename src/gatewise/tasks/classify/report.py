"""The report's sections of `classify`: confusions, classes, reliability and mistakes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gatewise.reporting import charts, formats
from gatewise.reporting.formats import Numbers
from gatewise.reporting.sections import (
    Key,
    Picture,
    Record,
    Section,
    Table,
    by_class,
    by_length,
    confusion,
    steps_of,
    suspects,
)


def sections(run: Record, details: Mapping[str, Any]) -> list[Section]:
    """The sections of this task, from `details` of metrics.json; an empty one is left out."""
    classes = [str(name) for name in details.get("classes") or []]
    return [
        confusion(classes, details.get("confusion") or []),
        by_class(details.get("by_class") or {}),
        _reliability(details, run.metrics),
        by_length(
            details.get("lengths") or [],
            length="length",
            examples="sequences",
            counted="predictions",
        ),
        _mistakes(details.get("examples") or [], run.settings.report.examples),
        suspects(details.get("suspects") or {}),
    ]


def _reliability(details: Mapping[str, Any], metrics: Mapping[str, Any]) -> Section:
    bins = [one for one in details.get("reliability") or [] if one.get("count")]
    if not bins:
        return Section("")
    confidence, accuracy, count = (
        formats.floats([one.get(key) for one in bins])
        for key in ("confidence", "accuracy", "count")
    )
    figure = Figure(figsize=(420 / 72, 320 / 72), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    charts.dress(upper)
    charts.dress(lower)
    upper.plot([0, 1], [0, 1], color=charts.COLOURS["muted"], linewidth=1, linestyle=(0, (1, 2)))
    upper.plot(
        confidence, accuracy, "o-", color=charts.COLOURS["accent"], linewidth=1.6, markersize=5
    )
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), ylabel="accuracy")
    lower.bar(confidence, count, width=0.035, color=charts.COLOURS["accent"], alpha=0.5)
    lower.set(xlabel="confidence", ylabel="predictions")
    lower.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    keys = [Key("accent", "measured"), Key("muted", "perfect calibration", "dash")]
    alt = "Accuracy by confidence: " + ", ".join(
        f"confidence {formats.percent(c)}, accuracy {formats.percent(a)} ({formats.number(n, 0)})"
        for c, a, n in zip(confidence, accuracy, count, strict=True)
    )
    lead = "80 % of the predictions with 80 % confidence should be right."
    temperature = details.get("temperature")
    after = (metrics.get("metrics") or {}).get("ece")
    before = details.get("ece_before")
    if temperature is not None:
        lead += " The confidence was calibrated on the validation part"
        lead += f" (temperature {formats.number(temperature, 2)})"
        known = before is not None and after is not None
        lead += (
            f": ece from {formats.number(before, 3)} to {formats.number(after, 3)}."
            if known
            else "."
        )
    return Section(
        "Calibration",
        lead,
        pictures=[Picture(charts.svg(figure, alt), keys=keys)],
    )


def _mistakes(examples: Sequence[Mapping[str, Any]], most: int) -> Section:
    """The most confident wrong predictions, each with a chart of its values."""
    wrong = [one for one in examples if one.get("truth") != one.get("answer")]
    wrong.sort(key=lambda one: -(one.get("probability") or 0.0))
    if any("text" in one for one in wrong):
        return _written_mistakes(wrong[:most])
    drawn = [steps_of(one) for one in wrong[:most]]
    spans = charts.ranges(drawn)
    pictures = [_mistake(*pair, spans) for pair in zip(wrong[:most], drawn, strict=True)]
    columns = [str(name) for name in (wrong[0].get("columns") or [])] if wrong else []
    lines = 1 < len(columns) <= charts.MOST_LINES
    keys = [Key(c, name) for c, name in zip(charts.SERIES, columns, strict=False)] if lines else []
    lead = "The wrong predictions with the highest confidence: odd sequences, or wrong labels."
    if spans is not None and columns:
        lead += (
            f" Time runs to the right. Each row is a column of the data, from {columns[0]} at the "
            f"bottom to {columns[-1]} at the top. Dark cells are the highest values of the column "
            "in these pictures."
        )
    return Section("Most confident mistakes", lead if pictures else "", keys, pictures, small=True)


def _written_mistakes(wrong: Sequence[Mapping[str, Any]]) -> Section:
    """A table of misclassified texts with their true and predicted labels."""
    rows = [
        [
            str(one.get("text")),
            str(one.get("truth")),
            str(one.get("answer")),
            formats.percent(one.get("probability"), 1)
            if one.get("probability") is not None
            else "",
        ]
        for one in wrong
    ]
    columns = ["text", "truth", "prediction", "confidence"]
    lead = "The wrong predictions with the highest confidence: odd texts, or wrong labels."
    table = Table("Mistakes", columns, rows, texts=3)
    return Section("Most confident mistakes", lead, tables=[table])


def _mistake(
    one: Mapping[str, Any], values: Numbers, spans: tuple[Numbers, Numbers] | None
) -> Picture:
    truth, prediction = str(one.get("truth", "")), str(one.get("answer", ""))
    confidence = one.get("probability")
    title = f"{truth}, taken for {prediction}"
    words = formats.known(
        [one.get("id"), "" if confidence is None else f"{formats.percent(confidence, 1)} sure"]
    )
    alt = f"A sequence of {formats.count(len(values), 'step')}: {title}"
    steps, columns = values.shape
    square = charts.is_picture(values) and spans is None
    figure, axes = charts.axes(width=200, height=150 if square else 130)
    if columns > charts.MOST_LINES:
        if spans is not None:
            low, high = spans
            values = (values - low) / np.where(high > low, high - low, 1.0)
        charts.image(axes, values, square=square)
    else:
        for k in range(columns):
            charts.line(axes, np.arange(1.0, steps + 1), values[:, k], charts.SERIES[k], width=1.2)
    sound = str(one.get("sound", ""))
    return Picture(charts.svg(figure, alt), title, " · ".join(words), sound=sound)
