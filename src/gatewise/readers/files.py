"""Sources -> Sequences: each task reads data in the forms that stand here, the first that fits."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gatewise.data.sequences import Sequences, from_texts
from gatewise.errors import ConfigError, DataError
from gatewise.readers import (
    arrays,
    columns,
    conll,
    corpora,
    long,
    pairs,
    recordings,
    repairs,
    texts,
    wide,
)
from gatewise.readers.arrays import Arrays
from gatewise.readers.columns import Purpose
from gatewise.readers.sources import FOLDER, Opened, nothing, opened
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

Read = tuple[Sequences, DataSettings, list[str]]
# What was opened, `[data]`, the task and what for -> what was read, or None: it has another form.
Form = Callable[[Opened, DataSettings, str, Purpose], Read | None]


def read(
    settings: DataSettings, source: Any = None, *, task: str, purpose: Purpose = "train"
) -> Read:
    """The sequences, the settings with every guess filled in, and notes on guesses and repairs.

    Args:
        settings: `[data]`; what is not given is guessed from names and types of the columns.
        source: a path, a data frame, an array, a list of arrays or texts, a pair (X, y), or any of
            these opened already; None: settings.path.
        task: the name of a task: a key of FORMS.
        purpose: to predict, labels may be absent; but to train, nothing is guessed any more.

    Raises:
        DataError: the data are not what the task needs, or cannot be read.
        ConfigError: the settings do not fit the data, or too little is known to guess the rest.
    """
    given = opened(settings, source)
    answers = (form(given, settings, task, purpose) for form in FORMS[task])
    found = next(one for one in answers if one is not None)
    given.let_go()
    return found


def guess_task(settings: DataSettings, source: Any = None) -> tuple[str, str]:
    """The task that the data ask for, and the reason.

    Raises:
        ConfigError: the data fit several tasks.
        DataError: the data cannot be read.
    """
    if settings.target or settings.past or settings.known:
        return "forecast", "the settings name columns to forecast or to forecast from"
    given = opened(settings, source)
    if given.recordings is not None:
        return recordings.task_of(given.recordings)
    if given.named and conll.holds_tokens(given.named):
        return "tag", f"{given.named.name} holds tokens with tags"
    if settings.label or settings.labels:
        return "classify", "the settings name labels"
    if given.named and corpora.is_plain(given.file):
        return "language", f"{given.named.name} is plain text"
    content = given.content("forecast")
    if isinstance(content, Table):
        found = _task_of_table(content, settings)
    else:
        labelled = content.sequences.labels is not None
        found = ("classify", f"{content.kind} with labels") if labelled else None
    if found is None:
        raise ConfigError(
            f"The task cannot be told from {content.name}. Give --task: forecast, classify, tag, "
            "language, translate or transcribe."
        )
    return found


def _task_of_table(table: Table, settings: DataSettings) -> tuple[str, str] | None:
    if sound := recordings.column_of(table, settings):
        return recordings.task_of_column(table, sound)
    if label := columns.label_of(table, settings):
        return "classify", f"the column {label!r} holds labels"
    written = texts.written(table, settings)
    if len(written) == len(table.columns) == 2:
        return "translate", "the columns {!r} and {!r} hold texts".format(*written)
    if time := columns.time_of(table, settings):
        return "forecast", f"the column {time!r} holds times, and there are no labels"
    return None


def holds_texts(settings: DataSettings, source: Any, column: str) -> bool:
    """Whether this column holds texts, which cannot be forecast, or is to be told from texts.

    Ratings are numbers; beside reviews, and without a column of times, they are labels.
    """
    given = opened(settings, source)
    if given.recordings is not None or (given.named and conll.holds_tokens(given.named)):
        return True
    content = given.content("classify")
    if isinstance(content, Arrays):
        return False
    if content.kinds(settings.missing_values).get(column) == "text":
        return True
    told = texts.text_columns(content, replace(settings, label=column))
    return bool(told) and not columns.time_of(content, settings)


def sentence(note: str) -> str:
    """A note as it is shown: a capital in front, a full stop behind.

    >>> sentence("2 missing steps of 1d put in")
    '2 missing steps of 1d put in.'
    """
    return note[:1].upper() + note[1:] + ("" if note.endswith((".", "!", "?")) else ".")


# Forms. Each reads a source of its own form, and gives None for any other.


def _corpus(given: Opened, settings: DataSettings, _task: str, _purpose: Purpose) -> Read:
    """Running text: a file, a folder of files, or a list."""
    return corpora.read(given, settings)


def _tokens(given: Opened, settings: DataSettings, _task: str, purpose: Purpose) -> Read:
    """Tokens with their tags: a file, lists, or lines that come in at the standard input."""
    if given.given is None:
        raise nothing()
    if given.is_standard_input:
        if purpose != "predict":
            raise ConfigError("Standard input (-) is for gatewise predict. Name a file.")
        content = sys.stdin.buffer.read()
        lines = texts.decoded(content, "standard input", settings.encoding).split("\n")
        return conll.read(lines, settings, purpose=purpose)
    source = given.given if given.named is None else given.file.path
    return conll.read(source, settings, purpose=purpose)


def _labelled_texts(
    given: Opened, settings: DataSettings, _task: str, purpose: Purpose
) -> Read | None:
    """A list of texts in memory, with their labels where there are any."""
    if given.texts is None:
        return None
    made, notes = texts.of_lists(*given.texts, settings, purpose=purpose)
    return made, replace(settings, text=settings.text or ("text",)), notes


def _translated_texts(
    given: Opened, settings: DataSettings, task: str, purpose: Purpose
) -> Read | None:
    """Two lists of texts in memory; to predict, one."""
    if given.texts is None:
        return None
    written, translated = given.texts
    if translated is None:
        return _labelled_texts(given, settings, task, purpose)
    made, notes = pairs.of_lists(written, translated)
    return made, settings, notes


def _pairs(given: Opened, settings: DataSettings, _task: str, purpose: Purpose) -> Read:
    """Texts with their translations: two files, or two columns of a table."""
    return pairs.read(given, settings, purpose=purpose)


def _recordings(given: Opened, settings: DataSettings, task: str, purpose: Purpose) -> Read | None:
    """A folder or an archive of recordings, or one recording."""
    if given.recordings is None:
        return None
    return recordings.from_files(given.recordings, settings, task=task, purpose=purpose)


def _named_recordings(
    given: Opened, settings: DataSettings, task: str, purpose: Purpose
) -> Read | None:
    """A table with a column of paths of recordings."""
    table = given.content(task)
    if not isinstance(table, Table) or not recordings.column_of(table, settings):
        return None
    folder = os.environ.get(FOLDER, "")
    return recordings.from_table(table, settings, folder=folder, task=task, purpose=purpose)


def _lines(given: Opened, settings: DataSettings, _task: str, purpose: Purpose) -> Read | None:
    """The lines of plain text, each a text to be answered by a run that was trained on texts."""
    if purpose != "predict" or not settings.text or given.named is None:
        return None
    if given.is_standard_input:
        content = texts.decoded(sys.stdin.buffer.read(), "standard input", settings.encoding)
        if not content.strip():
            raise DataError("standard input is empty. It needs a line of text.")
        found, name = content.removesuffix("\n").split("\n"), "standard input"
    elif given.named.name.removesuffix(".gz").endswith(".txt"):
        found, name = texts.lines(given.file, settings.encoding), str(given.file.path)
        if texts.begins_table(found[0], settings):
            return None
    else:
        return None
    return from_texts(found, source=name), settings, []


def _table_of_texts(
    given: Opened, settings: DataSettings, task: str, purpose: Purpose
) -> Read | None:
    """A table in which running text is to be classified, and not numbers."""
    table = given.content(task)
    if not isinstance(table, Table):
        return None
    if not texts.text_columns(table, settings):
        return None
    return texts.from_table(table, settings, purpose=purpose)


def _table_of_numbers(
    given: Opened, settings: DataSettings, task: str, purpose: Purpose
) -> Read | None:
    """A table of numbers, a step or a sequence in each row."""
    table = given.content(task)
    if not isinstance(table, Table):
        return None
    settings, kinds, guesses = columns.resolve(table, settings, task=task, purpose=purpose)
    if settings.layout == "long":
        shape = long.long
    else:
        shape = wide.lists if columns.in_lists(settings, kinds) else wide.wide
    # An absent label or group is no error when predicting; nothing is then known of it.
    label = settings.label if settings.label in kinds else ""
    group = settings.group if settings.group in kinds else ""
    present = replace(settings, label=label, group=group)
    sequences, origin, notes = shape(table, present, kinds)
    if purpose != "predict":
        columns.require_each_label(sequences, task, settings)
    sequences, repaired = repairs.apply(sequences, origin, settings, purpose=purpose)
    return sequences, settings, [*table.notes, *guesses, *notes, *repaired]


def _arrays(given: Opened, settings: DataSettings, task: str, purpose: Purpose) -> Read | None:
    """Arrays, in memory or in a file."""
    content = given.content(task)
    if not isinstance(content, Arrays):
        return None
    notes: list[str] = []
    sequences = content.sequences
    settings, places = columns.of_array(
        sequences.columns, settings, notes, name=content.name, task=task, purpose=purpose
    )
    if task == "classify":
        if purpose != "predict":
            columns.require_each_label(sequences, task, settings)
    elif sequences.labels is not None:
        notes.append("the labels are left out, as nothing is classified")
        sequences = replace(sequences, labels=None)
    if places != list(range(len(sequences.columns))):
        names = tuple(sequences.columns[one] for one in places)
        sequences = replace(sequences, values=sequences.values[:, places], columns=names)
    sequences, repaired = repairs.apply(
        sequences, arrays.origin(content), settings, purpose=purpose
    )
    return sequences, settings, [*notes, *repaired]


def _no_recordings(given: Opened, _: DataSettings, task: str, _purpose: Purpose) -> Read:
    """Anything else, which is refused.

    Raises:
        DataError: always.
    """
    raise DataError(recordings.wanted(given.content(task).name))


# What each task reads: the first form that the source has. The last one takes or refuses all else.
FORMS: dict[str, tuple[Form, ...]] = {
    "forecast": (_lines, _table_of_numbers, _arrays),
    "classify": (
        *(_labelled_texts, _recordings, _lines, _named_recordings),
        *(_table_of_texts, _table_of_numbers, _arrays),
    ),
    "tag": (_tokens,),
    "language": (_corpus,),
    "translate": (_translated_texts, _pairs),
    "transcribe": (_recordings, _lines, _named_recordings, _no_recordings),
}
