"""Texts -> Sequences and back: a step is a byte of UTF-8, so that any text fits one array."""

import codecs
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from gatewise.data.sequences import Sequences, from_texts
from gatewise.errors import DataError
from gatewise.readers import columns, tables
from gatewise.readers.tables import File, Table
from gatewise.settings import DataSettings

WORDY = 3  # words that the texts of a column hold on average, at least, to be taken as texts


def lines(file: File, encoding: str = "utf-8") -> list[str]:
    """The lines of a text file, without their ends.

    Raises:
        DataError: the file is empty, or a line is not in this encoding.
    """
    name = str(file.path)
    with tables.reading(name), file.opened() as held:
        content = held.read()
    if not content.strip():
        raise DataError(f"{name} is empty. It needs a line of text.")
    return decoded(content, name, encoding).removesuffix("\n").split("\n")


def decoded(content: bytes, name: str, encoding: str) -> str:
    """These bytes as text, every line end as a line feed.

    Raises:
        DataError: a line is not in this encoding; or there is no such encoding.
    """
    try:
        plain = codecs.lookup(encoding).name == "utf-8"
        text = content.decode("utf-8-sig" if plain else encoding)
    except LookupError:
        raise DataError(f"There is no encoding {encoding!r} (data.encoding).") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name}: line {line} is not {encoding} text (byte {content[error.start]:#04x}). Save "
            "the file as UTF-8, or name its encoding: --set data.encoding=cp1252."
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def text_columns(table: Table, settings: DataSettings) -> tuple[str, ...]:
    """The columns that hold running text: those named, else the one of the longest texts, or none.

    A column of single words is a name or a label, no text.
    """
    if settings.text:
        return settings.text
    if settings.features or settings.layout == "long" or settings.time:
        return ()
    found = _worded(table, settings, least=WORDY)
    found.pop(settings.label, None)
    best = max(found, key=lambda name: found[name], default="")
    return (best,) if best else ()


def written(table: Table, settings: DataSettings) -> tuple[str, ...]:
    """The columns whose cells hold more than a word."""
    return tuple(_worded(table, settings, least=1.5))


def _worded(table: Table, settings: DataSettings, *, least: float) -> dict[str, float]:
    """Words in a cell of each column of texts that is free, where they are so many on average."""
    kinds, taken = table.kinds(settings.missing_values), set(columns.named(settings))
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
    chosen = text_columns(table, settings)
    notes: list[str] = []
    if not settings.text:
        notes.append(f"the column {chosen[0]!r} is read as text")
    settings = replace(settings, text=chosen)
    if purpose == "train" and not settings.label:
        settings = columns.guessed_label(table, settings, notes, task="classify")
    settings = columns.guessed_id(table, settings, notes) if purpose == "train" else settings
    notes += _told_of_unread(table, settings)
    sequences = _of_rows(table, settings)
    if purpose == "train":
        sequences = _without_empty(sequences, table.at, notes)
    if purpose != "predict":
        columns.require_each_label(sequences, "classify", settings)
    return sequences, settings, [*table.notes, *notes]


def _told_of_unread(table: Table, settings: DataSettings) -> list[str]:
    """The columns that are not read, as a note; of texts, how they would be."""
    kinds = table.kinds(settings.missing_values)
    told = columns.unread(table, settings)
    taken = columns.named(settings)
    more = [name for name in table.columns if kinds[name] == "text" and name not in taken]
    if not more:
        return told
    wanted = json.dumps([more[0], *settings.text], ensure_ascii=False)
    return [f"{told[0]}; several columns of texts are read with --set 'data.text={wanted}'"]


def _of_rows(table: Table, settings: DataSettings) -> Sequences:
    """The texts of a table whose columns are known."""
    wanted = [one for one in columns.named(settings) if one in table.columns]
    frame = _without_lists(pl.concat(list(table.batches(wanted))), table.name, settings)
    # Where a text may have no label at all, none is what is left empty, and nothing else is.
    schema, missing = frame.schema, ("",) if settings.separator else settings.missing_values

    def cells(name: str) -> pl.Series:
        read = tables.as_label if name == settings.label else tables.as_text
        return frame.select(read(name, schema[name], missing)).to_series()

    written = [frame[name].cast(pl.String).fill_null("").to_list() for name in settings.text]
    known: dict[str, Any] = {"source": table.name}
    for role in ("label", "group"):
        name = getattr(settings, role)
        if name in frame.columns:
            known[f"{role}s"] = np.array(cells(name).fill_null("").to_list(), dtype=object)
    ids = None
    if settings.id:
        rows = zip(*map(cells, settings.id), strict=True)
        ids = np.array(["/".join(map(str, row)) for row in rows])
    for name, texts_of_column in zip(settings.text, written, strict=True):
        tables.refuse_merged(table, name, texts_of_column)
    texts = ["\n".join(parts).strip() for parts in zip(*written, strict=True)]
    if not any(texts):
        column = settings.text[0]
        raise DataError(f"{table.name}: the column {column!r} holds no text in any row.")
    return from_texts(texts, ids=ids, **known)


def begins_table(line: str, settings: DataSettings) -> bool:
    """Whether a plain file begins as a table such as the one that training read."""
    cells = [cell.strip() for cell in line.split("\t")]
    if settings.column_names:
        return len(cells) >= len(settings.column_names)
    return len(cells) > 1 and set(settings.text) <= set(cells)


def _without_lists(frame: pl.DataFrame, name: str, settings: DataSettings) -> pl.DataFrame:
    """Labels that stand in lists joined as they would be in a cell of text."""
    for column, dtype in frame.schema.items():
        if not isinstance(dtype, pl.List | pl.Array):
            continue
        if column != settings.label:
            raise DataError(f"{name}: the column {column!r} holds lists, and should hold texts.")
        if not settings.separator:
            raise DataError(
                f"{name}: the column {column!r} holds lists of labels. Where a text has several, "
                "name what parts them: --set 'data.separator=;'."
            )
        joined = pl.col(column).cast(pl.List(pl.String)).list.join(settings.separator)
        frame = frame.with_columns(joined)
    return frame


def _without_empty(
    sequences: Sequences, where: Callable[[int], str], notes: list[str]
) -> Sequences:
    """There is nothing to learn from a row without text; one that is to be answered stays."""
    empty = np.flatnonzero(sequences.lengths == 0)
    if not len(empty):
        return sequences
    told = "1 row without text is" if len(empty) == 1 else f"{len(empty)} rows without text are"
    notes.append(f"{told} left out, the first of them {where(int(empty[0]))}")
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
    known = None if labels is None else np.array([_label(one) for one in labels], dtype=object)
    if known is not None and len(known) != len(texts):
        raise DataError(f"{name}: there are {len(texts)} texts, but {len(known)} labels.")
    return from_texts(texts, labels=known, source=name)


def _label(given: Any) -> str:
    """A label in memory as text; None and NaN are none."""
    return "" if given is None or given != given else str(given)


def of_lists(
    source: Iterable[Any], labels: Any, settings: DataSettings, *, purpose: columns.Purpose
) -> tuple[Sequences, list[str]]:
    """Texts in memory with their labels, as a table of them would be read.

    Raises:
        DataError: something in it is no text, or a label is missing.
    """
    made = of_list(source, labels, "the list of texts")
    if made.labels is not None:
        whole = [tables.whole_label(one) for one in made.labels.tolist()]
        made = replace(made, labels=np.array(whole, dtype=object))
    notes: list[str] = []
    if purpose == "train":
        made = _without_empty(made, lambda place: f"place {place}", notes)
    if purpose != "predict":
        columns.require_each_label(made, "classify", settings)
    return made, notes
