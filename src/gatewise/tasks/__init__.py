"""What is asked: one folder a task, and one entry here."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

from gatewise.errors import ConfigError, DataError, UnknownSourceError
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.sources import opened
from gatewise.settings import DataSettings
from gatewise.tasks.classify.task import TASK as CLASSIFY
from gatewise.tasks.forecast.task import TASK as FORECAST
from gatewise.tasks.language.task import TASK as LANGUAGE
from gatewise.tasks.tag.task import TASK as TAG
from gatewise.tasks.task import AnyTask, Sign
from gatewise.tasks.transcribe.task import TASK as TRANSCRIBE
from gatewise.tasks.translate.task import TASK as TRANSLATE

TASKS: dict[str, AnyTask] = {
    task.name: task for task in (FORECAST, CLASSIFY, TAG, LANGUAGE, TRANSLATE, TRANSCRIBE)
}
SIGNS: tuple[Sign, ...] = get_args(Sign)  # the surest first


def task_of(name: str) -> AnyTask:
    """The task of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in TASKS:
        raise ConfigError(f"There is no task '{name}'. Known: {', '.join(TASKS)}.")
    return TASKS[name]


def read(
    settings: DataSettings, source: Any = None, *, task: str, purpose: Purpose = "train"
) -> Read:
    """The sequences, the settings with every guess filled in, and notes on guesses and repairs.

    Args:
        settings: `[data]`; what is not given is guessed.
        source: a path, a data frame, an array, a list of arrays or texts, a pair (X, y), or any of
            these opened already; None: settings.path.
        task: the name of a task.
        purpose: to predict, labels may be absent; but to train, nothing is guessed any more.

    Raises:
        DataError: the data are not what the task needs, or cannot be read.
        ConfigError: the settings do not fit the data, or too little is known to guess the rest.
    """
    given = opened(settings, source)
    with hinting():
        found = TASKS[task].read(given, settings, purpose)
    given.let_go()
    return found


def guess_task(settings: DataSettings, source: Any = None) -> tuple[str, str]:
    """The task that the data ask for, and the reason: the first one that recognises them.

    Raises:
        ConfigError: no task recognises the data.
        DataError: the data cannot be read.
    """
    given = opened(settings, source)
    with hinting():
        for sign in SIGNS:
            for name, task in TASKS.items():
                if sign in task.recognise and (why := task.recognise[sign](given, settings)):
                    return name, why
        known = list(TASKS)
        raise ConfigError(
            f"The task cannot be told from {given.content(one_series=True).name}. Give --task: "
            f"{', '.join(known[:-1])} or {known[-1]}."
        )


@contextmanager
def hinting() -> Iterator[None]:
    """Add to the refusal of a source, which another task may read, what these tasks read."""
    try:
        yield
    except UnknownSourceError as error:
        hints = [task.hint for task in TASKS.values() if task.hint]
        raise DataError(" ".join([str(error), *hints])) from None
