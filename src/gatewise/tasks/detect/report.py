"""The report's sections of `detect`: series with alarms and scores, planted ones, worst steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gatewise.reporting import charts, formats
from gatewise.reporting.sections import Key, Picture, Record, Section, Table
from gatewise.tasks.detect.scoring import MOST_CALIBRATION

LABELS = {"1": "anomaly", "0": "normal"}
MOST_COLUMNS = 3  # that are drawn of a series


def sections(_run: Record, details: Mapping[str, Any]) -> list[Section]:
    """The sections of this task, from `details` of metrics.json; an empty one is left out."""
    return [
        _series(details),
        _planted(details.get("planted") or {}),
        _worst(details.get("worst") or []),
    ]


def _series(details: Mapping[str, Any]) -> Section:
    shown = details.get("series") or []
    if not shown:
        return Section("")
    pictures = [picture for one in shown for picture in _drawn(one, details)]
    keys = [Key("accent", "values and scores"), Key("worse", "alarm", "dot")]
    if any(one.get("labelled") for one in shown):
        keys.append(Key("band", "labelled", "band"))
    keys.append(Key("muted", "threshold", "dash"))
    lead = f"The test part. A score above the threshold gives an alarm. {_threshold(details)}"
    return Section("Scores and alarms", lead, keys, pictures)


def _threshold(details: Mapping[str, Any]) -> str:
    """The sentence on how the threshold follows from the validation part."""
    share, count = float(details.get("false_alarms") or 0), int(details.get("calibration") or 0)
    rate = f"{formats.number(100 * share)} %"
    if share * (count + 1) < 1 and count < MOST_CALIBRATION:
        return (
            f"It is the highest of the scores of {count:,} normal steps of the validation part, "
            f"because these are too few for {rate} false alarms: about 1 normal step in "
            f"{count + 1:,} exceeds it."
        )
    return f"It is set so that at most {rate} of normal steps give one, by the validation part."


def _drawn(one: Mapping[str, Any], details: Mapping[str, Any]) -> list[Picture]:
    """A picture of each column with its alarms, and one of the scores with the threshold."""
    scores = formats.floats(one["scores"])
    steps = np.arange(1.0, len(scores) + 1)
    times = one.get("times") or []
    span = f"{times[0]} to {times[-1]}".replace("T", " ") if times else ""
    alarms = [int(place) for place in one.get("alarms") or []]
    pictures = []
    panels = [*list(one["values"].items())[:MOST_COLUMNS], ("score", one["scores"])]
    for name, cells in panels:
        numbers = formats.floats(cells)
        figure, axes = charts.axes(height=150)
        for begin, end in one.get("labelled") or []:
            axes.axvspan(
                steps[begin] - 0.5,
                steps[end] + 0.5,
                color=charts.COLOURS["accent"],
                alpha=0.15,
                linewidth=0,
            )
        charts.line(axes, steps, numbers, "accent", width=1.1)
        axes.plot(
            steps[alarms], numbers[alarms], "o", color=charts.COLOURS["worse"], markersize=3.5
        )
        if name == "score":
            axes.axhline(
                float(details.get("threshold") or 0), color=charts.COLOURS["muted"], linestyle="--"
            )
        axes.set_xlabel("scored steps")
        title = f"{one['id']} · {name}"
        alt = f"{title}: {formats.count(len(numbers), 'step')}, {len(alarms)} with an alarm"
        pictures.append(Picture(charts.svg(figure, alt), title, span))
    return pictures


def _planted(found: Mapping[str, Mapping[str, Any]]) -> Section:
    """The share that each model found of what was planted."""
    if not found:
        return Section("")
    models = [name for name in formats.union(found.values()) if name != "count"]
    rows = [
        [
            kind,
            formats.number(one.get("count"), 0),
            *(formats.percent(one.get(model)) for model in models),
        ]
        for kind, one in found.items()
    ]
    lead = (
        "The data have no labelled anomalies in the test part, so these are planted into "
        "copies of it. Real anomalies may be easier or harder to find."
    )
    table = Table("Planted anomalies found", ["planted", "count", *models], rows)
    return Section("Planted anomalies found", lead, tables=[table])


def _worst(steps: Sequence[Mapping[str, Any]]) -> Section:
    if not steps:
        return Section("")
    labelled = any(one.get("label") is not None for one in steps)
    rows = []
    for one in steps:
        cells = [formats.number(one.get(key)) for key in ("value", "expected", "score", "p_value")]
        label = LABELS.get(str(one.get("label")), "")
        words = [str(one["id"]), str(one["time"]).replace("T", " "), str(one["column"])]
        rows.append([*words, *([label] if labelled else []), *cells])
    columns = ["series", "time", "column", *(["label"] if labelled else [])]
    columns += ["value", "expected", "score", "p-value"]
    lead = "The column is the one that is farthest from its expected value."
    table = Table("Highest scores", columns, rows, texts=4 if labelled else 3)
    return Section("Highest scores", lead, tables=[table])
