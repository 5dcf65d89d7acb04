"""What a report is made of: sections with their tables and pictures, and those that tasks share."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from gatewise.reporting import formats
from gatewise.reporting.formats import Numbers
from gatewise.settings import Experiment

WIDEST = 50  # characters of a table's row on a phone, with two for the space between columns
WORDS_TAKE = (13, 18)  # characters of a column of words there: it is no narrower, and wraps
MOST_CLASSES = 30  # in a confusion matrix


@dataclass(frozen=True)
class Record:
    """What a run leaves behind, as far as the report shows it."""

    settings: Experiment
    metrics: dict[str, Any]  # metrics.json
    history: dict[str, list[float]]  # the columns of history.csv
    environment: dict[str, Any]  # environment.json


@dataclass(frozen=True)
class Cell:
    """One cell of a table that is more than its text."""

    text: str
    best: bool = False
    heat: float | None = None  # 0 to 1: how deep a cell of a heat map is coloured
    hit: bool = True  # the colour of that heat: a right answer, or a wrong one


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row is its heading."""

    label: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    texts: int = 1  # so many columns from the left hold words, the others numbers
    note: str = ""
    folded: str = ""  # shown only when this line is opened
    heat: bool = False

    @property
    def wide(self) -> bool:
        """Whether a phone is too narrow for it, so that it becomes a list there."""
        columns = zip(self.columns, *self.rows, strict=True)
        longest = [max(len(getattr(one, "text", one)) for one in column) for column in columns]
        longest[: self.texts] = [int(np.clip(one, *WORDS_TAKE)) for one in longest[: self.texts]]
        return not self.heat and sum(length + 2 for length in longest) > WIDEST


@dataclass(frozen=True)
class Key:
    """One line of a legend: a colour of `charts.COLOURS` and what it stands for."""

    colour: str
    text: str
    mark: str = "line"  # line, dash, dot or band


@dataclass(frozen=True)
class Picture:
    """A figure: what is drawn, what it says to those who do not see it, and the words around it."""

    svg: Markup
    title: str = ""
    caption: str = ""
    keys: Sequence[Key] = ()
    sound: str = ""  # a data URI that can be played


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    lead: str = ""
    keys: Sequence[Key] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    passages: Sequence[tuple[str, str]] = ()  # names, and texts of several lines
    small: bool = False  # small pictures: three in a row where there is room


def confusion(classes: Sequence[str], matrix: Sequence[Sequence[Any]]) -> Section:
    """The confusion matrix as a heat map; of many classes, the pairs confused most."""
    counts = np.nan_to_num(np.array(matrix, dtype=np.float64))  # [truth, answer]
    if not classes or counts.shape != (len(classes), len(classes)):
        return Section("")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    title = "What is taken for what"
    if len(classes) > MOST_CLASSES:
        lead = f"{len(classes):,} classes are too many to draw; these are the pairs confused most."
        return Section(title, lead, tables=[_pairs(classes, counts, shares)])
    rows: list[list[str | Cell]] = []
    for k, name in enumerate(classes):
        cells = [
            Cell(formats.number(counts[k, j], 0), heat=math.sqrt(shares[k, j]), hit=j == k)
            for j in range(len(classes))
        ]
        rows.append([name, *cells])
    lead = "A row for each true class, a column for each answer; the deeper, the more of the row."
    columns = ["truth ↓ answer →", *classes]
    return Section(title, lead, tables=[Table("Confusion matrix", columns, rows, heat=True)])


def _pairs(classes: Sequence[str], counts: Numbers, shares: Numbers) -> Table:
    wrong = counts * (1 - np.eye(len(classes)))
    order = np.argsort(-wrong, axis=None, kind="stable")[:15]
    places = [divmod(int(place), len(classes)) for place in order if wrong.flat[place] > 0]
    rows = [
        [classes[k], classes[j], formats.number(counts[k, j], 0), formats.percent(shares[k, j], 1)]
        for k, j in places
    ]
    columns = ["truth", "answer", "times", "of that class"]
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
    note = f"Precision: how often the answer is right. Recall: how many of the {word} are found. "
    note += "F1: their harmonic mean. Support: how many there are in the test part."
    many = {"class": "classes"}.get(word, f"{word}s")
    folded = f"All {len(rows):,} {many}, the weakest first" if len(rows) > 12 else ""
    columns = [word, "precision", "recall", "f1", "support"]
    table = Table(f"Scores by {word}", columns, rows, note=note, folded=folded)
    return Section(title, "" if folded else "The weakest first.", tables=[table])


def by_length(
    rows: Sequence[Mapping[str, Any]],
    *,
    steps: str = "tokens",
    ones: str = "sentences",
    judged: str = "tokens",
) -> Section:
    """Share of wrong answers by length: in `steps`, of so many `ones`, counting what is judged."""
    names = formats.union(one.get("wrong") or {} for one in rows)
    if not names:
        return Section("")
    cells = [
        [
            f"{one['from']} to {one['to']}" if one.get("to") else f"{one['from']} and more",
            formats.number(one.get(ones), 0),
            *(formats.percent((one.get("wrong") or {}).get(name), 1) for name in names),
        ]
        for one in rows
    ]
    table = Table(f"Wrong {judged} by length", [steps, ones, *names], cells)
    lead = f"Share of the {judged} that are wrong."
    return Section("Length against error", lead, tables=[table])


def steps_of(one: Mapping[str, Any]) -> Numbers:
    """The steps of a mistake, [steps, columns]."""
    rows = one.get("values") or []
    return np.array([formats.floats(row) for row in rows], dtype=np.float64).reshape(len(rows), -1)
