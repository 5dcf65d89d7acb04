"""The report's sections of transcribe: confusions, errors by duration and hard recordings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gatewise.reporting import charts, formats
from gatewise.reporting.sections import Picture, Record, Section, Table, steps_of


def sections(run: Record, details: Mapping[str, Any]) -> list[Section]:
    """The sections of this task, from `details` of metrics.json; an empty one is left out."""
    lead = "What was said and what was written in its place; – is nothing."
    tables = [_edits(word, details.get(word) or []) for word in ("words", "characters")]
    return [
        Section("Confusions", lead, tables=[one for one in tables if one.rows]),
        _by_duration(details.get("by_duration") or []),
        _heard(details.get("examples") or [], run.settings.report.examples),
    ]


def _edits(word: str, pairs: Sequence[Mapping[str, Any]]) -> Table:
    """Words or characters that were said, and what was written."""
    shown = {"": "–", " ": "(space)"}
    rows = [
        [
            *(shown.get(one[key], one[key]) for key in ("truth", "answer")),
            formats.number(one["times"], 0),
        ]
        for one in pairs
    ]
    return Table(f"Confused {word}", [f"{word} said", "written", "times"], rows, texts=2)


def _by_duration(bins: Sequence[Mapping[str, Any]]) -> Section:
    """The word error rate of short and of long recordings."""
    if len(bins) < 2:
        return Section("")
    seconds, wer = (formats.floats(one[key] for one in bins) for key in ("seconds", "wer"))
    figure, axes = charts.axes()
    axes.plot(seconds, wer, "o-", color=charts.COLOURS["accent"], linewidth=1.6, markersize=5)
    axes.set(xlabel="seconds", ylabel="word error rate")
    axes.set_ylim(0, max(1.08 * float(wer.max()), 0.01))
    said = "Word error rate by duration: " + ", ".join(
        f"{formats.number(one, 1)} s {formats.percent(rate, 1)}"
        for one, rate in zip(seconds, wer, strict=True)
    )
    lead = "Recordings of like duration, as many in each point."
    return Section("Error by length", lead, pictures=[Picture(charts.svg(figure, said))])


def _heard(worst: Sequence[Mapping[str, Any]], most: int) -> Section:
    """Recordings to look at and to hear, those with the most wrong words first."""
    shown = list(worst[:most])
    if not shown:
        return Section("")
    drawn = [steps_of(one) for one in shown]
    spans = charts.ranges(drawn)
    pictures = []
    for one, values in zip(shown, drawn, strict=True):
        figure, axes = charts.axes(width=300, height=120)
        if spans is not None:
            low, high = spans
            values = (values - low) / np.where(high > low, high - low, 1.0)
        charts.image(axes, values, square=False)
        title = str(one.get("truth", ""))
        answer = str(one.get("answer", "")) or "nothing"
        caption = "heard right" if answer == title else f"written: {answer}"
        words = [caption, str(one.get("id", "")), f"{formats.number(one.get('seconds'), 1)} s"]
        svg = charts.svg(figure, f"The bands of pitch of {words[1]}: {title}, {caption}")
        pictures.append(Picture(svg, title, " · ".join(words), sound=str(one.get("sound", ""))))
    lead = "The most wrong words first. Time runs to the right, pitch upwards; dark is loud."
    return Section("The hardest recordings", lead, pictures=pictures)
