"""The report's sections of language: what it writes, where the surprise is, hard passages."""

from collections.abc import Mapping, Sequence
from typing import Any

from gatewise.reporting import formats
from gatewise.reporting.sections import Cell, Record, Section, Table
from gatewise.tasks.task import NETWORK


def sections(run: Record, details: Mapping[str, Any]) -> list[Section]:
    """The sections of this task, from `details` of metrics.json; an empty one is left out."""
    beside = str(details.get("beside") or "the n-grams")
    return [
        _writings(details.get("samples") or []),
        _where(details),
        _passages(details.get("passages") or [], beside, run.settings.report.examples),
    ]


def _writings(samples: Sequence[Mapping[str, Any]]) -> Section:
    """What it writes by itself."""
    passages = [
        (
            f"Temperature {formats.number(one.get('temperature'), 1)}",
            str(one.get("text")).strip("\n"),
        )
        for one in samples
    ]
    lead = "Written from the beginning of a line. The lower the temperature, the surer each choice."
    return Section("What it writes", lead if passages else "", passages=passages)


def _where(details: Mapping[str, Any]) -> Section:
    """The mean nats of each answer, by rarity and by place in the line."""
    kinds = {
        "by_rank": ("By rarity", "place in the vocabulary", "The most frequent one is the first."),
        "by_place": ("By place in the line", "token of the line", ""),
    }
    tables = []
    for key, (label, word, note) in kinds.items():
        rows = details.get(key) or []
        names = [name for name in formats.union(rows) if name not in ("bin", "share")]
        cells: list[list[str | Cell]] = []
        for one in rows:
            least = min(one[name] for name in names)
            best = [Cell(formats.number(one[name], 2), best=one[name] == least) for name in names]
            cells.append([str(one["bin"]), formats.percent(one.get("share"), 1), *best])
        if cells:
            tables.append(Table(label, [word, "of all tokens", *names], cells, note=note))
    unknown = details.get("unknown") or 0.0
    lead = "Nats a token, in tokens that are rarer and rarer, and further and further in a line."
    lead += f" {formats.percent(unknown, 1)} of the tokens are unknown words." if unknown else ""
    return Section("Where the surprise is", lead if tables else "", tables=tables)


def _passages(passages: Sequence[Mapping[str, Any]], beside: str, most: int) -> Section:
    """The lines that it found hardest."""
    rows = [
        [formats.number(one.get("line"), 0), str(one.get("text"))]
        + [formats.number(one.get(key), 2) for key in ("nats", "beside")]
        for one in passages[:most]
    ]
    lead = "Lines with the most nats a token: names, lists, quotations, or odd text."
    table = Table("Hardest lines", ["line", "text", NETWORK, beside], rows, texts=2)
    return Section("The hardest passages", lead, tables=[table]) if rows else Section("")
