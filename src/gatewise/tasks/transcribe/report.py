"""Report sections of the transcribe task: confusions, errors by duration, hard recordings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gatewise.reporting import charts, formats
from gatewise.reporting.sections import Picture, Record, Section, Table, steps_of


def sections(run: Record, details: Mapping[str, Any]) -> list[Section]:
    """The sections of this task, from `details` in metrics.json; empty sections are left out."""
    lead = "Pairs of reference and transcription; – marks an insertion or a deletion."
    tables = [_edits(word, details.get(word) or []) for word in ("words", "characters")]
    return [
        Section("Confusions", lead, tables=[one for one in tables if one.rows]),
        _by_duration(details.get("by_duration") or []),
        _hardest(details.get("examples") or [], run.settings.report.examples),
    ]


def _edits(word: str, pairs: Sequence[Mapping[str, Any]]) -> Table:
    """A table of words or characters that were confused."""
    shown = {"": "–", " ": "(space)"}
    rows = [
        [
            *(shown.get(one[key], one[key]) for key in ("truth", "answer")),
            formats.number(one["times"], 0),
        ]
        for one in pairs
    ]
    return Table(f"Confused {word}", ["reference", "transcription", "count"], rows, texts=2)


def _by_duration(bins: Sequence[Mapping[str, Any]]) -> Section:
    """The word error rate by duration."""
    if len(bins) < 2:
        return Section("")
    seconds, wer = (formats.floats(one[key] for one in bins) for key in ("seconds", "wer"))
    figure, axes = charts.axes()
    axes.plot(seconds, wer, "o-", color=charts.COLOURS["accent"], linewidth=1.6, markersize=5)
    axes.set(xlabel="seconds", ylabel="word error rate")
    axes.set_ylim(0, max(1.08 * float(wer.max()), 0.01))
    description = "Word error rate by duration: " + ", ".join(
        f"{formats.number(one, 1)} s {formats.percent(rate, 1)}"
        for one, rate in zip(seconds, wer, strict=True)
    )
    lead = "Each point is the mean of equally many recordings of similar duration."
    return Section("Error by duration", lead, pictures=[Picture(charts.svg(figure, description))])


def _hardest(worst: Sequence[Mapping[str, Any]], most: int) -> Section:
    """Spectra and sound of the recordings with the highest word error rate."""
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
        caption = "correct" if answer == title else f"transcribed: {answer}"
        words = [caption, str(one.get("id", "")), f"{formats.number(one.get('seconds'), 1)} s"]
        svg = charts.svg(figure, f"Mel spectrum of {words[1]}: {title}, {caption}")
        pictures.append(Picture(svg, title, " · ".join(words), sound=str(one.get("sound", ""))))
    lead = "Highest word error rate first. Time runs right, frequency up; dark is loud."
    return Section("Hardest recordings", lead, pictures=pictures)
