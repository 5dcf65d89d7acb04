"""Texts -> Sequences and back: a step is a byte of UTF-8, so that any text fits one array."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gatewise.data import columns, tables
from gatewise.data.sequences import Array, Sequences
from gatewise.data.tables import Table
from gatewise.errors import DataError
from gatewise.experiment import DataSettings

WORDY = 3  # words that the texts of a column hold on average, at least, to be taken as texts


def from_texts(texts: Sequence[str], *, ids: Array | None = None, **known: Any) -> Sequences:
    """Sequences of these texts.

    >>> texts_of(from_texts(["ça va", ""]))
    ['ça va', '']
    """
    encoded = [text.encode("utf-8", "replace") for text in texts]
    stops = np.cumsum([len(one) for one in encoded], dtype=np.int64)
    starts = np.concatenate([[0], stops[:-1]]).astype(np.int64)
    return Sequences(
        values=np.frombuffer(b"".join(encoded), np.uint8)[:, None],
        starts=starts,
        stops=stops,
        first=starts,
        ids=np.arange(len(texts)).astype(str) if ids is None else ids,
        columns=("text",),
        kind="text",
        **known,
    )


def text_of(sequences: Sequences, k: int) -> str:
    """The text of sequence `k`."""
    return sequences[k].tobytes().decode("utf-8", "replace")


def texts_of(sequences: Sequences) -> list[str]:
    """The text of every sequence."""
    return [text_of(sequences, k) for k in range(len(sequences))]


def lines(path: Path, encoding: str = "utf-8") -> list[str]:
    """The lines of a text file, without their ends.

    Raises:
        DataError: the file is empty, or a line is not in this encoding.
    """
    name = str(path)
    with tables.reading(name), tables.opened(path) as file:
        content = file.read()
    if not content.strip():
        raise DataError(f"{name} is empty. It needs a line of text.")
    return decoded(content, name, encoding).removesuffix("\n").split("\n")


def decoded(content: bytes, name: str, encoding: str) -> str:
    """These bytes as text, every line end as a line feed.

    Raises:
        DataError: a line is not in this encoding; or there is no such encoding.
    """
    try:
        text = content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except LookupError:
        raise DataError(f"There is no encoding {encoding!r} (data.encoding).") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name}: line {line} is not {encoding} text (byte {content[error.start]:#04x}). Save "
            "the file as UTF-8, or name its encoding: --set data.encoding=cp1252."
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def text_columns(table: Table, settings: DataSettings, kinds: columns.Kinds) -> tuple[str, ...]:
    """The columns that hold running text: those named, else the one of the longest texts, or none.

    A column of single words is a name or a label, no text.
    """
    if settings.text:
        return settings.text
    if settings.features or settings.layout == "long" or settings.time:
        return ()
    found = _worded(table, settings, kinds, least=WORDY)
    found.pop(settings.label, None)
    best = max(found, key=lambda name: found[name], default="")
    return (best,) if best else ()


def written(table: Table, settings: DataSettings) -> tuple[str, ...]:
    """The columns whose cells hold more than a word."""
    return tuple(_worded(table, settings, tables.kinds(table, settings.missing_values), least=1.5))


def _worded(
    table: Table, settings: DataSettings, kinds: columns.Kinds, *, least: float
) -> dict[str, float]:
    """Words in a cell of each column of texts that is free, where they are so many on average."""
    taken = set(columns.named(settings))
    sizes = {
        name: _words(table.sample[name])
        for name in table.columns
        if kinds[name] == "text" and name not in taken and name.lower() not in columns.LABELS
    }
    return {name: size for name, size in sizes.items() if size >= least}


def _words(cells: pl.Series) -> float:
    counts = cells.cast(pl.String).drop_nulls().str.count_matches(r"\S+")
    mean = counts.mean()
    return float(mean) if isinstance(mean, int | float) else 0.0


def from_table(
    table: Table, settings: DataSettings, *, purpose: columns.Purpose
) -> tuple[Sequences, DataSettings, list[str]]:
    """A row for each text; label, group and id from columns of their own.

    Raises:
        DataError: a column is not there, or no row holds a text.
        ConfigError: no column is known to hold the labels.
    """
    columns.demand(table, settings, purpose)
    kinds = tables.kinds(table, settings.missing_values)
    chosen = text_columns(table, settings, kinds)
    notes: list[str] = []
    if not settings.text:
        notes.append(f"the column {chosen[0]!r} is read as text")
    settings = replace(settings, text=chosen)
    if purpose == "train" and not settings.label:
        settings = columns.guessed_label(table, settings, notes, task="classify")
    settings = columns.guessed_id(table, settings, notes) if purpose == "train" else settings
    wanted = [one for one in columns.named(settings) if one in table.columns]
    frame = pl.concat(list(table.batches(wanted)))
    schema, missing = frame.schema, settings.missing_values

    def cells(name: str) -> pl.Series:
        return frame.select(tables.as_text(name, schema[name], missing)).to_series()

    written = [frame[name].cast(pl.String).fill_null("").to_list() for name in chosen]
    known: dict[str, Any] = {"source": table.name}
    for role in ("label", "group"):
        name = getattr(settings, role)
        if name in frame.columns:
            known[f"{role}s"] = np.array(cells(name).fill_null("").to_list(), dtype=object)
    ids = None
    if settings.id:
        rows = zip(*map(cells, settings.id), strict=True)
        ids = np.array(["/".join(map(str, row)) for row in rows])
    texts = ["\n".join(parts).strip() for parts in zip(*written, strict=True)]
    if not any(texts):
        raise DataError(f"{table.name}: the column {chosen[0]!r} holds no text in any row.")
    sequences = from_texts(texts, ids=ids, **known)
    if purpose == "train":
        sequences = _without_empty(sequences, table, notes)
    if purpose != "predict":
        columns.require_each_label(sequences, "classify", settings)
    return sequences, settings, notes


def _without_empty(sequences: Sequences, table: Table, notes: list[str]) -> Sequences:
    """There is nothing to learn from a row without text; one that is to be answered stays."""
    empty = np.flatnonzero(sequences.lengths == 0)
    if not len(empty):
        return sequences
    told = "1 row without text is" if len(empty) == 1 else f"{len(empty)} rows without text are"
    notes.append(f"{told} left out, the first of them {table.at(int(empty[0]))}")
    return sequences.chosen(np.flatnonzero(sequences.lengths > 0))


def of_list(source: Iterable[Any], labels: Any, name: str) -> Sequences:
    """A list of texts in memory, with their labels or None.

    Raises:
        DataError: something in it is no text, or there is not one label for each.
    """
    texts = list(source)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(
                f"{name}: place {place} holds {type(text).__name__}, and the others hold texts."
            )
    known = None if labels is None else np.array([str(one) for one in labels], dtype=object)
    if known is not None and len(known) != len(texts):
        raise DataError(f"{name}: there are {len(texts)} texts, but {len(known)} labels.")
    return from_texts(texts, labels=known, source=name)
