"""Read recordings with transcripts, and recognise them."""

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
    """Read a folder, an archive or a file of recordings, or a table with a column of paths.

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
        f"({', '.join(recordings.ENDINGS)}) with transcripts, or a table with a column of paths "
        "(--set data.sound=COLUMN)."
    )


def have_transcripts(source: Opened, _settings: DataSettings) -> str | None:
    """The reason why the source holds transcribed recordings, or None."""
    place = source.recordings
    if place is not None and place.transcribed:
        return f"{place.path} holds recordings with transcripts"
    return None


def names_transcripts(source: Opened, settings: DataSettings) -> str | None:
    """The reason why the table holds transcribed recordings, or None."""
    content = source.content(one_series=True)
    if not isinstance(content, Table) or not (sound := recordings.column_of(content, settings)):
        return None
    transcripts = recordings.transcripts_of(content)
    if not transcripts:
        return None
    return f"the column {sound!r} holds recordings, {transcripts!r} their transcripts"


RECOGNISE: Mapping[Sign, Recognise] = {"form": have_transcripts, "columns": names_transcripts}
