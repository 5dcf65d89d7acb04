"""The report's sections of `tag`: confusions, spans, new words, lengths, the worst sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from gatewise.reporting import formats
from gatewise.reporting.sections import (
    Record,
    Section,
    Table,
    by_class,
    by_length,
    confusion,
    suspects,
)


def sections(run: Record, details: Mapping[str, Any]) -> list[Section]:
    """The sections of this task, from `details` of metrics.json; an empty one is left out."""
    classes = [str(name) for name in details.get("classes") or []]
    return [
        confusion(classes, details.get("confusion") or []),
        by_class(details.get("by_span") or {}, "span", "Scores by span"),
        by_class(details.get("by_class") or {}, "tag", "Scores by tag"),
        _by_seen(details.get("seen") or []),
        by_length(details.get("lengths") or []),
        _sentences(details.get("sentences") or [], run.settings.report.examples),
        suspects(details.get("suspects") or {}),
    ]


def _by_seen(rows: Sequence[Mapping[str, Any]]) -> Section:
    """Accuracy of each model on words that occur in training, and on others."""
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
    lead = "A new word does not occur in the training part in this spelling."
    table = Table("Accuracy on seen and new words", ["words", "tokens", *names], cells)
    return Section("Words seen and new", lead, tables=[table])


def _sentences(worst: Sequence[Mapping[str, Any]], most: int) -> Section:
    """The worst sentences, each with its wrongly tagged tokens."""
    rows = []
    for one in worst[:most]:
        tokens = zip(one["tokens"], one["truth"], one["answer"], one["probability"], strict=True)
        wrong = [
            f"{token}: {truth}, taken for {predicted} ({formats.percent(confidence)} sure)"
            for token, truth, predicted, confidence in tokens
            if truth != predicted
        ]
        rows.append([" ".join(one["tokens"]), "; ".join(wrong), str(one.get("id", ""))])
    if not rows:
        return Section("")
    table = Table("Worst sentences", ["sentence", "mistakes", "id"], rows, texts=3)
    lead = (
        "The true tags of these sentences were the least probable. The sentences are hard, or their"
    )
    lead += " tags are wrong."
    return Section("Worst sentences", lead, tables=[table])
