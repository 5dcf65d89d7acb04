"""Read a data folder of Kaldi: wav.scp names recordings, text their transcripts, utt2spk people."""

from pathlib import Path

import polars as pl

from gatewise.errors import DataError
from gatewise.readers import tables, texts
from gatewise.readers.files import File
from gatewise.readers.tables import Table

LIST, TRANSCRIPTS, SPEAKERS, SEGMENTS = "wav.scp", "text", "utt2spk", "segments"


def folder_of(path: Path) -> Path | None:
    """The data folder that a path or its wav.scp names; None for other paths."""
    folder = path.parent if path.name == LIST else path
    return folder if (folder / LIST).is_file() else None


def read(folder: Path, encoding: str) -> Table:
    """The table of the recordings, with a transcript and a speaker where the folder has them.

    Raises:
        DataError: a recording is not a file, or a list does not name the same recordings.
    """
    source = folder / LIST
    if (folder / SEGMENTS).exists():
        raise DataError(
            f"{folder / SEGMENTS} cuts the recordings into parts, which is not read. Write each "
            f"part as a recording, and name these in {LIST}."
        )
    paths = _entries(source, encoding)
    for name, path in paths.items():
        if path.endswith("|") or ".ark" in path:
            kind = "a command, which is not run" if path.endswith("|") else "a part of an archive"
            raise DataError(
                f"{source}: {name!r} is {kind} ({path[:60]!r}). Write the recording as a file, "
                f"such as .wav, and name that in {LIST}."
            )
    found = {"path": list(paths.values())}
    for column, other in (("text", folder / TRANSCRIPTS), ("speaker", folder / SPEAKERS)):
        if other.exists():
            entries = _entries(other, encoding)
            if unknown := next((name for name in {**entries, **paths} if name not in paths), ""):
                raise DataError(f"{other} names {unknown!r}, which {LIST} lacks. Remove the line.")
            found[column] = [entries.get(name, "") for name in paths]
    return tables.of_frame(pl.DataFrame(found), str(source))


def _entries(path: Path, encoding: str) -> dict[str, str]:
    """What stands behind the first word of each line, by this word.

    Raises:
        DataError: two lines begin with the same word.
    """
    rows = [line.split(maxsplit=1) for line in texts.lines(File(path), encoding) if line.strip()]
    entries = {row[0]: row[1].strip() if len(row) > 1 else "" for row in rows}
    if len(entries) < len(rows):
        names = [row[0] for row in rows]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path} has two lines for {twice!r}. Remove one of them.")
    return entries
