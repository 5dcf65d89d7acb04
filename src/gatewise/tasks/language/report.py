"""Report sections of the language task: samples, loss by token, hardest passages."""

from collections.abc import Mapping, Sequence
from typing import Any

from gatewise.reporting import formats
from gatewise.reporting.sections import Cell, Record, Section, Table
from gatewise.tasks.task import NETWORK


def sections(run: Record, details: Mapping[str, Any]) -> list[Section]:
    """The sections of this task, from `details` in metrics.json; empty sections are left out."""
    beside = str(details.get("beside") or "the n-grams")
    return [
        _samples(details.get("samples") or []),
        _loss_by_token(details),
        _passages(details.get("passages") or [], beside, run.settings.report.examples),
    ]


def _samples(samples: Sequence[Mapping[str, Any]]) -> Section:
    """Text sampled from the network."""
    passages = [
        (
            f"Temperature {formats.number(row.get('temperature'), 1)}",
            str(row.get("text")).strip("\n"),
        )
        for row in samples
    ]
    lead = (
        "Samples of the network alone start at the beginning of a line. A lower temperature "
        "prefers likely tokens."
    )
    return Section("Generated text", lead if passages else "", passages=passages)


def _loss_by_token(details: Mapping[str, Any]) -> Section:
    """The mean nats per token of each model, by rarity and by position in the line."""
    kinds = {
        "by_rank": (
            "By rarity",
            "rank in the vocabulary",
            "Rank 1 is the most frequent token.",
        ),
        "by_place": ("By position in the line", "position", ""),
    }
    tables = []
    for key, (label, word, note) in kinds.items():
        rows = details.get(key) or []
        names = [name for name in formats.union(rows) if name not in ("bin", "share")]
        cells: list[list[str | Cell]] = []
        for row in rows:
            least = min(row[name] for name in names)
            best = [Cell(formats.number(row[name], 2), best=row[name] == least) for name in names]
            cells.append([str(row["bin"]), formats.percent(row.get("share"), 1), *best])
        if cells:
            tables.append(Table(label, [word, "share of tokens", *names], cells, note=note))
    unknown = details.get("unknown") or 0.0
    lead = (
        "Mean nats per token, from frequent to rare tokens and from the start to the end of a line."
    )
    lead += f" {formats.percent(unknown, 1)} of the tokens are unknown words." if unknown else ""
    return Section("Loss by token", lead if tables else "", tables=tables)


def _passages(passages: Sequence[Mapping[str, Any]], beside: str, most: int) -> Section:
    """The lines with the highest mean loss."""
    rows = [
        [formats.number(row.get("line"), 0), str(row.get("text"))]
        + [formats.number(row.get(key), 2) for key in ("nats", "beside")]
        for row in passages[:most]
    ]
    lead = "Lines with the most nats per token: often names, lists, quotations or unusual text."
    table = Table("Hardest lines", ["line", "text", NETWORK, beside], rows, texts=2)
    return Section("Hardest passages", lead, tables=[table]) if rows else Section("")
