"""Read a file inside a zip archive: data.zip#name.csv, or the only data file of the archive."""

import zipfile
from pathlib import Path

from gatewise.errors import DataError
from gatewise.readers.tables import File

MARK = "#"  # between an archive and the name of a file in it


def member_of(path: Path, kinds: tuple[str, ...]) -> File | None:
    """The file that a path names inside an archive; None if it names no archive.

    `kinds` are the suffixes of data files.

    Raises:
        DataError: the archive has no such file, or several and none is named.
    """
    before, mark, name = str(path).partition(f".zip{MARK}")
    archive = Path(f"{before}.zip") if mark else path
    if archive.suffix.lower() != ".zip" or not zipfile.is_zipfile(archive):
        return None
    with zipfile.ZipFile(archive) as opened:
        names = [one.filename for one in opened.infolist() if not one.is_dir()]
        names = [one for one in names if not is_hidden(one)]
        fitting = [one for one in names if one == name or one.endswith(f"/{name}")]
        if not mark:
            fitting = [one for one in names if one.removesuffix(".gz").lower().endswith(kinds)]
        if len(fitting) != 1:
            listed = ", ".join((fitting or names)[:8])
            wanted = f"no file {name!r}" if mark and not fitting else "several files"
            raise DataError(
                f"{archive} holds {wanted if names else 'no file'}: {listed}. Name one, as in "
                f"{archive}{MARK}{(fitting or names or ['name.csv'])[0]}."
            )
        with opened.open(fitting[0]) as content:
            return File(Path(f"{archive}{MARK}{fitting[0]}"), content.read())


def is_hidden(name: str) -> bool:
    """True for hidden files and for those that macOS adds to archives."""
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
