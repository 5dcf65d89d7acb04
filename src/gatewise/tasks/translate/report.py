"""The report's sections of translate: BLEU by length, translations and attention."""

from collections.abc import Mapping, Sequence
from typing import Any

from gatewise.reporting import formats
from gatewise.reporting.sections import Cell, Record, Section, Table


def sections(run: Record, details: Mapping[str, Any]) -> list[Section]:
    """The sections of this task, from `details` of metrics.json; an empty one is left out."""
    examples, most = details.get("examples") or [], run.settings.report.examples
    typical, worst = (
        [one for one in examples if one.get("kind") == kind][:most] for kind in ("typical", "worst")
    )
    signatures = details.get("signatures") or {}
    told = "; ".join(f"{name} {text}" for name, text in signatures.items())
    return [
        _bleu_by_length(details.get("by_length") or [], f"By sacrebleu: {told}." if told else ""),
        _samples("Translations beside the reference", "Drawn from the middle half.", typical),
        _samples("Its worst translations", "Those least like their reference.", worst),
        _attention([one for one in typical if one.get("attention")][:4]),
    ]


def _bleu_by_length(rows: Sequence[Mapping[str, Any]], lead: str) -> Section:
    names = formats.union(one.get("bleu") or {} for one in rows)
    if not names:
        return Section("")
    cells = [
        [
            f"{one['from']} to {one['to']}" if one["from"] < one["to"] else str(one["from"]),
            formats.number(one.get("count"), 0),
            *(formats.number((one.get("bleu") or {}).get(name), 1) for name in names),
        ]
        for one in rows
    ]
    table = Table("BLEU by length", ["words of the source", "texts", *names], cells)
    return Section("BLEU by length", lead, tables=[table])


def _samples(title: str, lead: str, chosen: Sequence[Mapping[str, Any]]) -> Section:
    """Source, reference and answer side by side."""
    if not chosen:
        return Section("")
    rows = [
        [*(str(one.get(key, "")) for key in ("source", "reference", "answer")), _chrf(one)]
        for one in chosen
    ]
    table = Table(title, ["source", "reference", "answer", "chrF"], rows, texts=3)
    return Section(title, lead, tables=[table])


def _chrf(one: Mapping[str, Any]) -> str:
    return formats.number(one.get("chrf"), 1)


def _attention(chosen: Sequence[Mapping[str, Any]]) -> Section:
    """A heat map for each example: a row for each token written, a column for each one read."""
    tables = []
    for one in chosen:
        rows: list[list[str | Cell]] = [
            [
                str(token),
                *(
                    Cell(formats.number(100 * w, 0) if w >= 0.1 else "", heat=float(w))
                    for w in weights
                ),
            ]
            for token, weights in zip(one["tokens"], one["attention"], strict=True)
        ]
        columns = ["written ↓ read →", *map(str, one["source_tokens"])]
        tables.append(Table(f"Attention, {one.get('id', '')}", columns, rows, heat=True))
    lead = "Where it looked in the source (across) when it wrote each token (down), in percent."
    return Section("What it looked at", lead if tables else "", tables=tables)
