"""What a transcription is read from, and what it is recognised by: recordings and transcripts."""

from collections.abc import Mapping

from gatewise.errors import DataError
from gatewise.readers import recordings
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.sources import Opened, data_folder
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings
from gatewise.tasks.task import Recognise, Sign

NAME = "transcribe"


def read(source: Opened, settings: DataSettings, purpose: Purpose) -> Read:
    """A folder, an archive or a file of recordings, or a table with a column of their paths.

    Raises:
        DataError: the source holds no recordings.
    """
    if source.recordings is not None:
        return recordings.from_files(
            source.recordings, settings, truth="transcript", purpose=purpose
        )
    content = source.content()
    if isinstance(content, Table) and recordings.column_of(content, settings):
        return recordings.from_table(
            content, settings, folder=data_folder(), truth="transcript", task=NAME, purpose=purpose
        )
    raise DataError(
        f"{content.name} holds no recordings. {NAME} reads a folder or a zip archive of recordings "
        f"({', '.join(recordings.ENDINGS)}) with transcripts, or a table with a column of their "
        "paths (--set data.sound=COLUMN)."
    )


def have_transcripts(source: Opened, _settings: DataSettings) -> str | None:
    """Recordings with transcripts beside them."""
    place = source.recordings
    if place is not None and place.transcribed:
        return f"{place.path} holds recordings with transcripts beside them"
    return None


def names_transcripts(source: Opened, settings: DataSettings) -> str | None:
    """A table with a column of recordings, and one of what they say."""
    content = source.content(one_series=True)
    if not isinstance(content, Table) or not (sound := recordings.column_of(content, settings)):
        return None
    said = recordings.transcripts_of(content)
    return f"the column {sound!r} names recordings, {said!r} what they say" if said else None


RECOGNISE: Mapping[Sign, Recognise] = {"form": have_transcripts, "columns": names_transcripts}
