"""Report sections of the translate task: BLEU by length, translations and attention."""

from collections.abc import Mapping, Sequence
from typing import Any

from gatewise.reporting import formats
from gatewise.reporting.sections import Cell, Record, Section, Table


def sections(run: Record, details: Mapping[str, Any]) -> list[Section]:
    """The sections of this task, from `details` in metrics.json; empty sections are left out."""
    examples, most = details.get("examples") or [], run.settings.report.examples
    typical, worst = (
        [one for one in examples if one.get("kind") == kind][:most] for kind in ("typical", "worst")
    )
    signatures = details.get("signatures") or {}
    versions = "; ".join(f"{name} {text}" for name, text in signatures.items())
    lead = f"Computed with sacrebleu: {versions}." if versions else ""
    return [
        _bleu_by_length(details.get("by_length") or [], lead),
        _samples("Translations and references", "Sampled from the middle half by chrF.", typical),
        _samples("Worst translations", "The translations with the lowest chrF.", worst),
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
    table = Table("BLEU by length", ["source words", "texts", *names], cells)
    return Section("BLEU by length", lead, tables=[table])


def _samples(title: str, lead: str, chosen: Sequence[Mapping[str, Any]]) -> Section:
    """A table of source, reference and translation."""
    if not chosen:
        return Section("")
    rows = [
        [*(str(one.get(key, "")) for key in ("source", "reference", "answer")), _chrf(one)]
        for one in chosen
    ]
    table = Table(title, ["source", "reference", "translation", "chrF"], rows, texts=3)
    return Section(title, lead, tables=[table])


def _chrf(one: Mapping[str, Any]) -> str:
    return formats.number(one.get("chrf"), 1)


def _attention(chosen: Sequence[Mapping[str, Any]]) -> Section:
    """A heat map for each example: target tokens are rows, source tokens are columns."""
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
        columns = ["target ↓ source →", *map(str, one["source_tokens"])]
        tables.append(Table(f"Attention, {one.get('id', '')}", columns, rows, heat=True))
    lead = "Attention weights in percent: target tokens down, source tokens across."
    return Section("Attention", lead if tables else "", tables=tables)
