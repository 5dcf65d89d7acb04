"""The tasks: one folder and one entry in `TASKS` for each."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, get_args

from gatewise.errors import (
    ConfigError,
    DataError,
    FlawError,
    GatewiseError,
    UnknownSourceError,
)
from gatewise.readers import columns, folders, remedies
from gatewise.readers.arrays import Arrays
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.roles import SERIES, listing
from gatewise.readers.sources import Opened, opened, placed
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings
from gatewise.tasks.classify.task import TASK as CLASSIFY
from gatewise.tasks.detect.task import TASK as DETECT
from gatewise.tasks.forecast.task import TASK as FORECAST
from gatewise.tasks.language.task import TASK as LANGUAGE
from gatewise.tasks.regress.task import TASK as REGRESS
from gatewise.tasks.tag.task import TASK as TAG
from gatewise.tasks.task import AnyTask, Sign
from gatewise.tasks.transcribe.task import TASK as TRANSCRIBE
from gatewise.tasks.translate.task import TASK as TRANSLATE

# Where two tasks recognise data by the same sign, the first one is chosen: real numbers may also be
# labels or columns over time, but not the other way round.
TASKS: dict[str, AnyTask] = {
    task.name: task
    for task in (DETECT, REGRESS, FORECAST, CLASSIFY, TAG, LANGUAGE, TRANSLATE, TRANSCRIBE)
}
SHOWN, MOST_SHOWN = 40, 6  # letters of a name, and columns, that a message shows
MOST_LABELS = 50  # values of a column that a message proposes as labels
SIGNS: tuple[Sign, ...] = get_args(Sign)  # the most certain first


def task_of(name: str) -> AnyTask:
    """The task with this name.

    Raises:
        ConfigError: there is no such task.
    """
    if name not in TASKS:
        raise ConfigError(f"There is no task '{name}'. Known: {', '.join(TASKS)}.")
    return TASKS[name]


def read(
    settings: DataSettings, source: Any = None, *, task: str, purpose: Purpose = "train"
) -> Read:
    """Read the sequences, fill in the settings, and note every guess and repair.

    Args:
        settings: `[data]`; missing settings are guessed.
        source: a path, a data frame, an array, a list of arrays or texts, a pair (X, y), or an
            `Opened` source of these; None: settings.path.
        task: the name of a task.
        purpose: "train" allows guesses; "predict" allows missing labels.

    Raises:
        DataError: the data do not fit the task, or cannot be read.
        ConfigError: the settings do not fit the data, or leave too much to guess.
    """
    # A run that was trained on arrays without times reads tables in the same way.
    joins = purpose == "train" or SERIES in settings.id
    data = opened(settings, source, joins=joins)

    def attempt(changes: Mapping[str, Any]) -> Read:
        again = data.reopened(replace(data.settings, **changes))
        return TASKS[task].read(again, replace(settings, **changes), purpose)

    with hinting(data):
        try:
            content = TASKS[task].read(data, settings, purpose)
        except FlawError as flaw:
            training = purpose == "train"
            # What follows a setting that the run does not have is not a flaw of new data.
            deepest = remedies.DEEPEST if training else 1
            raise remedies.tried(flaw, attempt, flags=training, deepest=deepest) from None
    data.let_go()
    return content


def guess_task(settings: DataSettings, source: Any = None) -> tuple[str, str]:
    """The first task that recognises the data, and the reason.

    Raises:
        ConfigError: no task recognises the data.
        DataError: the data cannot be read.
    """
    data = opened(settings, source)

    def attempt(changes: Mapping[str, Any]) -> object:
        again = replace(data.settings, **changes)
        return _recognised(data.reopened(again), again)

    with hinting(data):
        try:
            found = _recognised(data, settings)
        except FlawError as flaw:
            raise remedies.tried(flaw, attempt, flags=True) from None
        if found:
            return found
        known = list(TASKS)
        content = data.content(one_series=True)
        seen = _columns_of(content, data.settings)
        raise ConfigError(
            f"No task recognises {content.name}. Give --task: "
            f"{', '.join(known[:-1])} or {known[-1]}.{_labels_of(data, content)}"
            f"{_times_of(content, data.settings)}{_files_of(data, content)}{seen}"
        )


def _recognised(data: Opened, settings: DataSettings) -> tuple[str, str] | None:
    """The first task that recognises the data, and the reason; None if none does."""
    for sign in SIGNS:
        for name, task in TASKS.items():
            if sign in task.recognise and (reason := task.recognise[sign](data, settings)):
                return name, reason
    return None


def _labels_of(data: Opened, content: Table | Arrays) -> str:
    """A sentence on the settings with which a column that repeats few values is read as labels."""
    if not isinstance(content, Table) or data.settings.label or data.settings.target:
        return ""
    ways = []
    named = columns.repeating(content, data.settings)
    few = [name for name in named if 1 < content.sample[name].n_unique() <= MOST_LABELS]
    for name in few[:MOST_SHOWN]:
        settings = replace(data.settings, label=name)
        again = data.reopened(settings)
        with suppress(GatewiseError):
            if found := _recognised(again, settings):
                read(settings, again, task=found[0])
                ways.append(remedies.option("label", name))
    return f" If a column holds labels: {' or '.join(ways)}." if ways else ""


def _times_of(content: Table | Arrays, settings: DataSettings) -> str:
    """A sentence on a column that is called a time but is not read as one; "" for none."""
    if not isinstance(content, Table):
        return ""
    kinds = content.kinds(settings.missing_values)
    notes = columns.unrecognised_times(content, settings, kinds)
    return "".join(f" {note[0].upper()}{note[1:]}." for note in notes)


def _files_of(data: Opened, content: Table | Arrays) -> str:
    """A sentence on the words with which the names of the files in a folder begin; "" for none."""
    column = folders.ID
    if not isinstance(content, Table) or column not in content.columns:
        return ""
    if data.named is None or not placed(data.named).is_dir():
        return ""
    names = content.sample[column].unique().to_list()
    words = sorted({re.sub(r"[-_ .]*\d+$", "", name) for name in names} - {""})
    if not 1 < len(words) <= min(MOST_LABELS, len(names) // 2):
        return ""
    return (
        f" The names of the files begin with {listing(words)}. If these are labels, move the files "
        "of each into a folder of that name."
    )


def proposed(settings: DataSettings, source: Any = None) -> str:
    """The sentences that propose tasks which are never guessed; "" for none."""
    data = opened(settings, source)
    found = []
    with suppress(GatewiseError):  # no table, or one that cannot be read
        found = [task.proposed(data, settings) for task in TASKS.values() if task.proposed]
    return " ".join(filter(None, found))


def _columns_of(content: Table | Arrays, settings: DataSettings) -> str:
    """Sentences on the columns that were read, because a header may have been guessed wrong."""
    if not isinstance(content, Table):
        return ""
    kinds = content.kinds(settings.missing_values)
    shown = [f"{name[:SHOWN]!r} ({kinds[name]})" for name in content.columns[:MOST_SHOWN]]
    more = len(content.columns) - len(shown)
    listed = ", ".join(shown) + (f" and {more} more" if more else "")
    names = ", ".join(f'"{name}"' for name in ("first", "second", "third")[: len(shown)])
    last = ", ..." if more or len(shown) > 3 else ""
    how = f"name the columns: --set 'data.column_names=[{names}{last}]'."
    if settings.column_names or content.dialect is None:
        hint = ""
    elif content.dialect.header_rows:
        hint = f" If the first line holds data instead of names, {how}"
    else:
        hint = f" No line names them; you may {how}"
    return f" Its columns are {listed}.{hint}"


@contextmanager
def hinting(data: Opened) -> Iterator[None]:
    """Name the tasks that read an unknown source, and make errors of files sentences."""
    try:
        yield
    except OSError as error:
        name = error.filename or "A file"
        raise DataError(f"{name} cannot be read: {error.strerror or error}.") from None
    except UnknownSourceError as error:
        hints = [task.hint for task in TASKS.values() if task.hint and _reads(task, data)]
        raise DataError(" ".join([str(error), *hints])) from None


def _reads(task: AnyTask, data: Opened) -> bool:
    try:
        task.read(data, data.settings, "train")
    except GatewiseError:
        return False
    return True
