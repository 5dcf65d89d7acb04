"""The parts of a report: sections with tables and pictures, and the sections that tasks share."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from gatewise.reporting import formats
from gatewise.reporting.formats import Numbers
from gatewise.settings import Experiment

WIDEST = 50  # characters of a row on a phone, including two between columns
WORD_COLUMN = (13, 18)  # least and most characters of a column of words there; longer words wrap
MOST_CLASSES = 30  # in a confusion matrix
MOST_SUSPECTS = 15  # suspect labels that a report shows


@dataclass(frozen=True)
class Record:
    """The files of a run that the report shows."""

    settings: Experiment
    metrics: dict[str, Any]  # metrics.json
    history: dict[str, list[float]]  # the columns of history.csv
    environment: dict[str, Any]  # environment.json


@dataclass(frozen=True)
class Cell:
    """A table cell with formatting."""

    text: str
    best: bool = False
    heat: float | None = None  # 0 to 1: the intensity of a cell of a heat map
    hit: bool = True  # the colour of that cell: a right prediction, or a wrong one


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row is its heading."""

    label: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    texts: int = 1  # number of columns from the left that hold words; the others hold numbers
    note: str = ""
    folded: str = ""  # the line that opens a folded table; "": not folded
    heat: bool = False

    @property
    def wide(self) -> bool:
        """True if the table is too wide for a phone, where it then becomes a list."""
        columns = zip(self.columns, *self.rows, strict=True)
        longest = [max(len(getattr(one, "text", one)) for one in column) for column in columns]
        longest[: self.texts] = [
            int(np.clip(length, *WORD_COLUMN)) for length in longest[: self.texts]
        ]
        return not self.heat and sum(length + 2 for length in longest) > WIDEST


@dataclass(frozen=True)
class Key:
    """One line of a legend: a colour of `charts.COLOURS` and its meaning."""

    colour: str
    text: str
    mark: str = "line"  # line, dash, dot or band


@dataclass(frozen=True)
class Picture:
    """A figure with its title, caption and legend."""

    svg: Markup
    title: str = ""
    caption: str = ""
    keys: Sequence[Key] = ()
    sound: str = ""  # a data URI that can be played


@dataclass(frozen=True)
class Section:
    """A heading and its content."""

    title: str
    lead: str = ""
    keys: Sequence[Key] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    passages: Sequence[tuple[str, str]] = ()  # pairs of a name and a text of several lines
    small: bool = False  # small pictures, three in a row if there is room


def confusion(classes: Sequence[str], matrix: Sequence[Sequence[Any]]) -> Section:
    """The confusion matrix as a heat map, or the most confused pairs if there are many classes."""
    counts = np.nan_to_num(np.array(matrix, dtype=np.float64))  # [truth, prediction]
    if not classes or counts.shape != (len(classes), len(classes)):
        return Section("")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    title = "Confusions"
    if len(classes) > MOST_CLASSES:
        lead = f"{len(classes):,} classes are too many to draw. These are the most confused pairs."
        return Section(title, lead, tables=[_pairs(classes, counts, shares)])
    rows: list[list[str | Cell]] = []
    for k, name in enumerate(classes):
        cells = [
            Cell(formats.number(counts[k, j], 0), heat=math.sqrt(shares[k, j]), hit=j == k)
            for j in range(len(classes))
        ]
        rows.append([name, *cells])
    lead = "Rows are true classes, columns are predictions. The colour shows the share of the row."
    columns = ["truth ↓ prediction →", *classes]
    return Section(title, lead, tables=[Table("Confusion matrix", columns, rows, heat=True)])


def _pairs(classes: Sequence[str], counts: Numbers, shares: Numbers) -> Table:
    wrong = counts * (1 - np.eye(len(classes)))
    order = np.argsort(-wrong, axis=None, kind="stable")[:15]
    places = [divmod(int(place), len(classes)) for place in order if wrong.flat[place] > 0]
    rows = [
        [classes[k], classes[j], formats.number(counts[k, j], 0), formats.percent(shares[k, j], 1)]
        for k, j in places
    ]
    columns = ["truth", "prediction", "times", "of that class"]
    return Table("Most confused pairs", columns, rows, texts=2)


def by_class(
    scores: Mapping[str, Mapping[str, Any]], word: str = "class", title: str = "Class by class"
) -> Section:
    """Precision, recall, F1 and support of each class, the weakest first."""
    if not scores:
        return Section("")
    f1 = {name: formats.floats([one.get("f1")])[0] for name, one in scores.items()}
    ordered = sorted(scores, key=lambda name: f1[name] if np.isfinite(f1[name]) else -1.0)
    rows = []
    for name in ordered:
        shares = [formats.number(scores[name].get(key), 3) for key in ("precision", "recall", "f1")]
        rows.append([name, *shares, formats.number(scores[name].get("support"), 0)])
    plural = {"class": "classes"}.get(word, f"{word}s")
    note = (
        f"Precision: the share of predictions of the {word} that are right. Recall: the share of "
    )
    note += "its occurrences that are predicted. F1: their harmonic mean. Support: the number of "
    note += "occurrences in the test part."
    folded = f"All {len(rows):,} {plural}, the weakest first" if len(rows) > 12 else ""
    columns = [word, "precision", "recall", "f1", "support"]
    table = Table(f"Scores by {word}", columns, rows, note=note, folded=folded)
    return Section(title, "" if folded else "The weakest first.", tables=[table])


def by_length(
    rows: Sequence[Mapping[str, Any]],
    *,
    length: str = "tokens",
    examples: str = "sentences",
    counted: str = "tokens",
) -> Section:
    """The share of wrong predictions by length.

    `length` is the unit of length, `examples` names the column with the number of examples, and
    `counted` names the predictions that are right or wrong.
    """
    names = formats.union(one.get("wrong") or {} for one in rows)
    if not names:
        return Section("")
    cells = [
        [
            f"{one['from']} to {one['to']}" if one.get("to") else f"{one['from']} and more",
            formats.number(one.get(examples), 0),
            *(formats.percent((one.get("wrong") or {}).get(name), 1) for name in names),
        ]
        for one in rows
    ]
    table = Table(f"Wrong {counted} by length", [length, examples, *names], cells)
    lead = f"Share of the {counted} that are wrong."
    return Section("Error by length", lead, tables=[table])


def coverage(bands: Sequence[Mapping[str, Any]]) -> Section:
    """The nominal and the measured coverage of each band of quantiles."""
    rows = []
    for band in bands:
        nominal, measured = formats.floats([band.get("nominal"), band.get("measured")])
        gap = 100 * (measured - nominal)
        name = f"{formats.percent(band.get('low'))} to {formats.percent(band.get('high'))}"
        gap_text = f"{formats.number(gap, 1)} points" if np.isfinite(gap) else "–"
        rows.append([name, formats.percent(nominal, 1), formats.percent(measured, 1), gap_text])
    if not rows:
        return Section("")
    lead = "A calibrated band contains the truth as often as its nominal coverage says."
    columns = ["band", "nominal", "measured", "difference"]
    return Section(
        "Coverage of the bands", lead, tables=[Table("Coverage of the bands", columns, rows)]
    )


def steps_of(one: Mapping[str, Any]) -> Numbers:
    """The steps of a misclassified sequence, [steps, columns]."""
    rows = one.get("values") or []
    return np.array([formats.floats(row) for row in rows], dtype=np.float64).reshape(len(rows), -1)


def suspects(found: Mapping[str, Any]) -> Section:
    """The labels that are probably wrong, the most suspect first; empty if there are none."""
    columns = ["where", "label", "likely", "probability"]
    rows = [
        [*(str(one[key]) for key in columns[:3]), formats.percent(one["probability"])]
        for one in (found.get("each") or [])[:MOST_SUSPECTS]
    ]
    if not rows:
        return Section("")
    lead = (
        f"{found['found']:,} of {found['examined']:,} labels are less probable than another one, "
        "which is as probable here as for the examples that carry it (confident learning, "
        "Northcutt et al. 2021). Such a label is wrong, or its example is unusual."
    )
    return Section("Suspect labels", lead, tables=[Table("Suspect labels", columns, rows, texts=3)])
