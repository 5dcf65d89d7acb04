"""Read running text, and recognise it."""

from collections.abc import Mapping

from gatewise.readers import corpora
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.sources import Opened
from gatewise.settings import DataSettings
from gatewise.tasks.task import Recognise, Sign


def read(source: Opened, settings: DataSettings, _purpose: Purpose) -> Read:
    """Read a text file, a folder of text files, or a list of texts."""
    return corpora.read(source, settings)


def is_running_text(source: Opened, _settings: DataSettings) -> str | None:
    """The reason why the source is running text, or None: a .txt file without a table, a list."""
    if source.texts is not None and source.texts[1] is None:
        return "a list of texts without labels"
    if source.named and corpora.is_plain(source.file):
        return f"{source.named.name} is plain text"
    return None


RECOGNISE: Mapping[Sign, Recognise] = {"lines": is_running_text}
