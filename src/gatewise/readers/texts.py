"""Read texts: a step is a byte of UTF-8, so that one array can hold any text."""

import codecs
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from gatewise.data.sequences import Sequences, from_texts
from gatewise.errors import DataError
from gatewise.readers import columns, dialect, roles, targets, time_columns, times
from gatewise.readers.cells import as_text
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.delimited import refuse_merged
from gatewise.readers.files import File, reading
from gatewise.readers.labels import as_label, flags, label_notes, missing_labels, whole_label
from gatewise.readers.tables import Table
from gatewise.readers.times import ELAPSED_CELL
from gatewise.settings import DataSettings

DATED = (
    r"^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? [^.!?]*\d:\d\d[^.!?]*\d{4}$"  # with a zone within
)
DATE_NAME = re.compile(r"(?i)(?:^|[^a-z])(?:date|time|day|datum)(?:[^a-z]|$)")
MIN_WORDS = 3  # average number of words from which a column counts as running text
# Names of labels beside a text or a recording, besides those of any table.
LABELS = (
    *("sentiment", "rating", "ratings", "stars", "star_rating", "score", "overall", "polarity"),
    *("category", "topic", "intent", "emotion", "target", "spam", "airline_sentiment"),
)


def lines(file: File, encoding: str = "utf-8") -> list[str]:
    """The lines of a text file, without line ends.

    Raises:
        DataError: the file is empty, or a line has another encoding.
    """
    name = str(file.path)
    with reading(name), file.opened() as stream:
        content = stream.read()
    if not content.strip():
        raise DataError(f"{name} is empty. It needs a line of text.")
    return decoded(content, name, encoding).removesuffix("\n").split("\n")


def decoded(content: bytes, name: str, encoding: str) -> str:
    """Decode bytes to text, with line feeds as line ends.

    Raises:
        DataError: a line has another encoding, or the encoding is unknown.
    """
    encoding = dialect.marked(content, encoding)
    try:
        plain = codecs.lookup(encoding).name == "utf-8"
        text = content.decode("utf-8-sig" if plain else encoding)
    except LookupError:
        raise DataError(f"There is no encoding {encoding!r} (data.encoding).") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        tried = dialect.readings(content)
        raise DataError(
            f"{name}: line {line} is not {encoding} text (byte {content[error.start]:#04x}). "
            f"{tried or 'Save the file as UTF-8.'}"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def text_columns(table: Table, settings: DataSettings) -> tuple[str, ...]:
    """The named columns of texts; without names, the column with the longest texts, if any.

    A column of single words is a name or a label, not a text.
    """
    if settings.text:
        return settings.text
    if settings.features or settings.layout == "long" or settings.time:
        return ()
    candidates = _worded(table, settings, least=MIN_WORDS)
    candidates.pop(settings.label, None)
    best = max(candidates, key=lambda name: candidates[name], default="")
    return (best,) if best else _only_text(table, settings)


def _only_text(table: Table, settings: DataSettings) -> tuple[str, ...]:
    """The only column beside the label or target, even if it holds single words; () for others."""
    free = columns.answering(table, settings) if settings.label or settings.target else []
    kinds = table.kinds(settings.missing_values)
    return tuple(free) if len(free) == 1 and kinds[free[0]] == "text" else ()


def labels_beside(table: Table, settings: DataSettings) -> tuple[str, ...]:
    """The columns of labels beside the only column of texts; () for none.

    It is the only other column or one with a usual name, with few values or real numbers; or all
    others hold 0 and 1.
    """
    chosen = text_columns(table, settings)
    if len(chosen) != 1 or len(_worded(table, replace(settings, text=()), least=MIN_WORDS)) > 1:
        return ()
    free = columns.answering(table, replace(settings, text=chosen))
    if len(free) > 1 and columns.flag_columns(table, free) == free:
        return tuple(free)
    column = roles.known_as(free, LABELS) or (free[0] if len(free) == 1 else "")
    if DATE_NAME.search(column):
        return ()  # 20030219 is a day, although few of them occur
    if not column or table.kinds(settings.missing_values)[column] not in ("text", *roles.NUMBERS):
        return ()
    cells = table.sample[column].drop_nulls()
    few = 2 <= cells.n_unique() <= cells.len() / 2
    return (column,) if few or targets.are_real(cells.to_list()) else ()


def with_label(
    table: Table, settings: DataSettings, notes: list[str], *, task: str
) -> DataSettings:
    """The settings with the column of labels that `labels_beside` finds, or the only one.

    Raises:
        ConfigError: the column cannot be guessed.
    """
    found = () if columns.label_of(table, settings) else labels_beside(table, settings)
    if len(found) == 1:
        return roles.with_role(settings, notes, role="label", column=found[0])
    return columns.guessed_label(table, settings, notes, task=task)


def written(table: Table, settings: DataSettings) -> tuple[str, ...]:
    """The columns whose cells hold more than one word on average."""
    return tuple(_worded(table, settings, least=1.5))


def _worded(table: Table, settings: DataSettings, *, least: float) -> dict[str, float]:
    """The average number of words per cell, for unused columns of texts with at least `least`."""
    kinds, taken = table.kinds(settings.missing_values), set(roles.named(settings))
    sizes = {
        name: _words(table.sample[name])
        for name in table.columns
        if kinds[name] == "text"
        and name not in taken
        and name.lower() not in columns.LABELS
        and not _holds_times(name, table.sample[name])
    }
    return {name: size for name, size in sizes.items() if size >= least}


# A date, a clock and a zone; a word of a sentence has more letters, or small ones.
CLOCKED = r"^\d{1,4}[-/.]\w{1,3}[-/.]\d{1,4}\b[^A-SU-Za-z]{0,12}\d{1,2}[:.]\d{2}"
CLOCKED += r"[^A-Za-z]{0,16}(?:[AaPp][Mm])? ?[A-Z]{0,4}$"
FEWEST_DIGITS, LONGEST_TIME = 4, 80  # of a cell with a time


def _holds_times(name: str, cells: pl.Series) -> bool:
    """True for times in a format that is not known: a date and a clock, or what is called a time.

    Such texts are short and have many digits.
    """
    known = cells.cast(pl.String).drop_nulls()
    if known.str.contains(CLOCKED).all():
        return True
    if not roles.known_as([name], (*time_columns.TIMES, *times.DATES)):
        return False
    few = (known.str.count_matches(r"\d") < FEWEST_DIGITS) | (known.str.len_chars() > LONGEST_TIME)
    return 2 * int(few.sum()) < len(known)


def _words(cells: pl.Series) -> float:
    known = cells.cast(pl.String).drop_nulls()
    are_words = ~known.str.contains(rf"{ELAPSED_CELL}|{DATED}")  # "1 days 02:30:00" is not text
    mean = (
        known.str.count_matches(r"\S+")
        .zip_with(are_words, pl.repeat(1, len(known), eager=True))
        .mean()
    )
    return float(mean) if isinstance(mean, int | float) else 0.0


def from_table(table: Table, settings: DataSettings, *, task: str, purpose: Purpose) -> Read:
    """Read a table with one row per text, and columns of labels, groups and ids.

    `task` is the name of the task, for messages.

    Raises:
        DataError: a column is missing, no row holds a text, or the only texts are the answers.
        ConfigError: the column of labels cannot be guessed.
    """
    columns.demand(table, settings, purpose)
    chosen = text_columns(table, settings)
    if not chosen:
        answers = ", ".join(map(repr, settings.target or (settings.label,)))
        raise DataError(
            f"{table.name} has no column of texts besides {answers}, which {task} learns. Name the "
            "column of texts with --set data.text=COLUMN; the columns are "
            f"{roles.listing(table.columns)}."
        )
    notes: list[str] = []
    if not settings.text:
        notes.append(f"the column {chosen[0]!r} is read as text")
    settings = replace(settings, text=chosen)
    if purpose == "train" and not (settings.label or settings.target):
        settings = with_label(table, settings, notes, task=task)
    settings = columns.guessed_id(table, settings, notes) if purpose == "train" else settings
    notes += _unread_note(table, settings)
    notes += label_notes(table, settings.label, settings.missing_values)
    sequences = _of_rows(table, settings)
    if purpose == "train":
        sequences = _without_empty(sequences, table.at, notes)
    if purpose != "predict" and not settings.target:
        sequences = columns.labelled(sequences, settings, notes, task=task, strict=False)
    return sequences, settings, [*table.notes, *notes]


def _unread_note(table: Table, settings: DataSettings) -> list[str]:
    """A note that lists the columns that are not read, and how to read further texts."""
    notes = columns.unread(table, settings)
    more = list(_worded(table, settings, least=1.5))
    if not more:
        return notes
    names = json.dumps([more[0], *settings.text], ensure_ascii=False)
    return [f"{notes[0]}; to read several columns of texts, --set 'data.text={names}'", *notes[1:]]


def _of_rows(table: Table, settings: DataSettings) -> Sequences:
    """The texts of a table in which the settings name all columns."""
    needed = [name for name in roles.named(settings) if name in table.columns]
    frame = _without_lists(pl.concat(list(table.batches(needed))), table.name, settings)
    # If texts can have any number of labels, only an empty cell means that there is none.
    schema, missing = frame.schema, ("",) if settings.separator else settings.missing_values

    def cells(name: str) -> pl.Series:
        named = name == settings.label or name in settings.id
        read = as_label if named else as_text
        absent = missing_labels(table, [name], missing) if named else missing
        return frame.select(read(name, schema[name], absent)).to_series()

    written = [frame[name].cast(pl.String).fill_null("").to_list() for name in settings.text]
    known: dict[str, Any] = {"source": table.name}
    if settings.target:
        known["static"] = targets.of_rows(table, settings, table.kinds(settings.missing_values))
    for role in ("label", "group"):
        name = getattr(settings, role)
        if name in frame.columns:
            known[f"{role}s"] = np.array(cells(name).fill_null("").to_list(), dtype=object)
    if settings.label_columns and set(settings.label_columns) <= set(frame.columns):
        joined = flags(settings.label_columns, schema, settings.separator)
        known["labels"] = np.array(frame.select(joined).to_series().to_list(), dtype=object)
    ids = None
    if settings.id:
        rows = zip(*map(cells, settings.id), strict=True)
        ids = np.array(["/".join(map(str, row)) for row in rows])
    for name, texts_of_column in zip(settings.text, written, strict=True):
        refuse_merged(table, name, texts_of_column)
    texts = ["\n".join(parts).strip() for parts in zip(*written, strict=True)]
    if not any(texts):
        column = settings.text[0]
        raise DataError(f"{table.name}: the column {column!r} holds no text in any row.")
    return from_texts(texts, ids=ids, **known)


def begins_table(line: str, settings: DataSettings) -> bool:
    """True if a text file begins like the table that training read."""
    cells = [cell.strip() for cell in line.split("\t")]
    if settings.column_names:
        return len(cells) >= len(settings.column_names)
    return len(cells) > 1 and set(settings.text) <= set(cells)


def _without_lists(frame: pl.DataFrame, name: str, settings: DataSettings) -> pl.DataFrame:
    """Join lists of labels to texts with the separator of the settings."""
    for column, dtype in frame.schema.items():
        if not isinstance(dtype, pl.List | pl.Array):
            continue
        if column != settings.label:
            raise DataError(f"{name}: the column {column!r} holds lists, but must hold texts.")
        if dtype.inner.is_nested():
            raise DataError(
                f"{name}: the column {column!r} holds lists within lists, as spans of a text have "
                "them, but must hold labels. Write a label for each text."
            )
        if not settings.separator:
            raise DataError(
                f"{name}: the column {column!r} holds lists of labels. If texts have several "
                "labels, name a separator for them: --set 'data.separator=;'."
            )
        joined = pl.col(column).cast(pl.List(pl.String)).list.join(settings.separator)
        frame = frame.with_columns(joined)
    return frame


def _without_empty(
    sequences: Sequences, where: Callable[[int], str], notes: list[str]
) -> Sequences:
    """Leave out rows without text, because they teach nothing."""
    empty = np.flatnonzero(sequences.lengths == 0)
    if not len(empty):
        return sequences
    rows = "1 row without text is" if len(empty) == 1 else f"{len(empty)} rows without text are"
    notes.append(f"{rows} left out; the first is {where(int(empty[0]))}")
    return sequences.chosen(np.flatnonzero(sequences.lengths > 0))


def of_list(source: Iterable[Any], labels: Any, name: str) -> Sequences:
    """Read a list of texts in memory, with their labels or None.

    Raises:
        DataError: an item is not a text, or the numbers of texts and labels differ.
    """
    try:
        texts = list(source)
    except TypeError:
        raise DataError(
            f"{name} must hold texts. Received: {type(source).__name__} without a length."
        ) from None
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(
                f"{name} must hold only texts. Item {place} is of type {type(text).__name__}."
            )
    known = None if labels is None else np.array([_label(item) for item in labels], dtype=object)
    if known is not None and len(known) != len(texts):
        raise DataError(f"{name}: there are {len(texts)} texts, but {len(known)} labels.")
    return from_texts(texts, labels=known, source=name)


def _label(label: Any) -> str:
    """A label in memory as text; "" for None and NaN."""
    return "" if label is None or label != label else str(label)


def of_lists(
    source: Iterable[Any], labels: Any, settings: DataSettings, *, task: str, purpose: Purpose
) -> Read:
    """Read texts in memory with their labels, with the same rules as for tables.

    `task` is the name of the task, for messages.

    Raises:
        DataError: an item is not a text, or a label is missing.
    """
    made = of_list(source, labels, "the list of texts")
    if made.labels is not None:
        whole = [whole_label(label) for label in made.labels.tolist()]
        made = replace(made, labels=np.array(whole, dtype=object))
    notes: list[str] = []
    if purpose == "train":
        made = _without_empty(made, lambda place: f"item {place}", notes)
    if purpose != "predict":
        made = columns.labelled(made, settings, notes, task=task, strict=True)
    return made, replace(settings, text=settings.text or ("text",)), notes
