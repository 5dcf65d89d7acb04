"""What a language model is read from, and what it is recognised by: running text."""

from collections.abc import Mapping

from gatewise.readers import corpora
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.sources import Opened
from gatewise.settings import DataSettings
from gatewise.tasks.task import Recognise, Sign


def read(source: Opened, settings: DataSettings, _purpose: Purpose) -> Read:
    """A text file, a folder of them, or a list of texts."""
    return corpora.read(source, settings)


def is_running_text(source: Opened, _settings: DataSettings) -> str | None:
    """A .txt file whose lines are no rows of a table."""
    if source.named and corpora.is_plain(source.file):
        return f"{source.named.name} is plain text"
    return None


RECOGNISE: Mapping[Sign, Recognise] = {"lines": is_running_text}
