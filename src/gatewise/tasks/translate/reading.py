"""What a translation is read from, and what it is recognised by: pairs of texts."""

from collections.abc import Mapping

from gatewise.readers import columns, pairs, recordings, texts
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.sources import Opened
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings
from gatewise.tasks.task import Recognise, Sign


def read(source: Opened, settings: DataSettings, purpose: Purpose) -> Read:
    """Two files of as many lines, two columns of a table, or two lists; to predict, one."""
    if source.texts is None:
        return pairs.read(source, settings, purpose=purpose)
    written, translated = source.texts
    if translated is None:
        return texts.of_lists(written, None, settings, task="translate", purpose=purpose)
    return pairs.of_lists(written, translated, settings)


def are_pairs(source: Opened, settings: DataSettings) -> str | None:
    """A table of two columns, both of texts, neither of them labels or names of recordings."""
    content = source.content(one_series=True)
    if not isinstance(content, Table) or len(content.columns) != 2:
        return None
    if recordings.column_of(content, settings) or columns.label_of(content, settings):
        return None
    written = texts.written(content, settings)
    return "the columns {!r} and {!r} hold texts".format(*written) if len(written) == 2 else None


RECOGNISE: Mapping[Sign, Recognise] = {"columns": are_pairs}
