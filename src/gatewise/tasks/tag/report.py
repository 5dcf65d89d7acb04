"""The report's sections of tag: confusions, spans, new words, lengths and the worst sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from gatewise.reporting import formats
from gatewise.reporting.sections import Record, Section, Table, by_class, by_length, confusion


def sections(run: Record, details: Mapping[str, Any]) -> list[Section]:
    """The sections of this task, from `details` of metrics.json; an empty one is left out."""
    classes = [str(name) for name in details.get("classes") or []]
    return [
        confusion(classes, details.get("confusion") or []),
        by_class(details.get("by_span") or {}, "span", "Span by span"),
        by_class(details.get("by_class") or {}, "tag", "Tag by tag"),
        _by_seen(details.get("seen") or []),
        by_length(details.get("lengths") or []),
        _sentences(details.get("sentences") or [], run.settings.report.examples),
    ]


def _by_seen(rows: Sequence[Mapping[str, Any]]) -> Section:
    """Accuracy of each answer on words that training held, and on others."""
    names = formats.union(one.get("accuracy") or {} for one in rows)
    if not names:
        return Section("")
    cells = [
        [
            str(one.get("words")),
            formats.number(one.get("tokens"), 0),
            *(formats.number((one.get("accuracy") or {}).get(name), 3) for name in names),
        ]
        for one in rows
    ]
    lead = "A new word is one that training never held in this spelling."
    table = Table("Accuracy on seen and new words", ["words", "tokens", *names], cells)
    return Section("Words seen and new", lead, tables=[table])


def _sentences(worst: Sequence[Mapping[str, Any]], most: int) -> Section:
    """Sentences, each with its tokens that got another tag than the true one."""
    rows = []
    for one in worst[:most]:
        told = zip(one["tokens"], one["truth"], one["answer"], one["probability"], strict=True)
        wrong = [
            f"{token}: {truth}, taken for {answer} ({formats.percent(sure)} sure)"
            for token, truth, answer, sure in told
            if truth != answer
        ]
        rows.append([" ".join(one["tokens"]), "; ".join(wrong), str(one.get("id", ""))])
    if not rows:
        return Section("")
    table = Table("Worst sentences", ["sentence", "mistakes", "id"], rows, texts=3)
    lead = "Sentences whose true tags were the least expected: hard ones, or wrong tags."
    return Section("Its worst sentences", lead, tables=[table])
