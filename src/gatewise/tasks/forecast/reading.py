"""Read and recognise the data of `forecast`: columns over time."""

from collections.abc import Mapping

from gatewise.readers import columns, series, time_columns
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.sources import Opened
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings
from gatewise.tasks.task import Recognise, Sign


def read(source: Opened, settings: DataSettings, purpose: Purpose) -> Read:
    """Read a table of numbers or arrays; one array is one series."""
    content = source.content(one_series=True)
    return series.read(content, settings, aim="target", task="forecast", purpose=purpose)


def names_columns(_source: Opened, settings: DataSettings) -> str | None:
    """The settings name columns that only `forecast` has."""
    if settings.target or settings.past or settings.known:
        return "the settings name columns to forecast or to forecast from"
    return None


def has_times(source: Opened, settings: DataSettings) -> str | None:
    """A column of a table holds times, and no earlier sign shows labels."""
    content = source.content(one_series=True)
    if isinstance(content, Table) and (first := columns.first_dated(content, settings)):
        return f"the column {first!r} and others have times as names"
    if isinstance(content, Table) and (first := columns.first_numbered(content, settings)):
        return f"each row has a name, and the column {first!r} and others are numbered like steps"
    if isinstance(content, Table) and (times := time_columns.time_of(content, settings)):
        named = " and ".join(map(repr, times))
        verb = "the column {} holds" if len(times) == 1 else "the columns {} hold"
        return f"{verb.format(named)} times, and no column holds labels"
    return None


RECOGNISE: Mapping[Sign, Recognise] = {"settings": names_columns, "times": has_times}
