"""Read a file inside a zip archive: data.zip#name.csv, or the only data file of the archive.

A few kilobytes can unpack to gigabytes, and a header can announce any size. So whatever is unpacked
is counted, and refused if no text or recording could have been packed so tightly.
"""

import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, Any, cast

from gatewise.errors import DataError

MARK = "#"  # between an archive and the name of a file in it
FREE = 64 << 20  # bytes that any file may unpack to
LONGEST = 255  # characters of the name of a file or a folder
TIGHTEST = 200  # a file that unpacks to more may be at most this many times its packed size
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError),
    NotImplementedError,  # a version or a method that zipfile does not know
)
ABOUT = re.compile(r"_about|readme|licen[cs]e|copying", re.IGNORECASE)  # a text beside the data
ENCRYPTED = 1  # the bit of a file's flags


class Counted(io.RawIOBase):
    """An unpacked stream that refuses to give more bytes than its packed size can hold."""

    def __init__(self, stream: IO[bytes], packed: int, name: str) -> None:
        self.stream, self.name = stream, name
        self.left = max(FREE, TIGHTEST * packed)

    def readable(self) -> bool:
        """True, because it can be read."""
        return True

    def readinto(self, target: Any) -> int:
        """Read into a buffer.

        Raises:
            DataError: more bytes come than the packed size can hold.
        """
        block = self.stream.read(len(target))
        self.left -= len(block)
        if self.left < 0:
            raise too_tight(self.name)
        target[: len(block)] = block
        return len(block)

    def close(self) -> None:
        """Close the packed file as well."""
        self.stream.close()
        super().close()


def too_tight(name: str) -> DataError:
    """The error for a file that unpacks to far more than it could hold."""
    return DataError(
        f"{name} unpacks to more than {TIGHTEST} times its size, so it is damaged or made to fill "
        "the memory. Unpack it yourself if you trust it."
    )


def gunzipped(path: Path) -> IO[bytes]:
    """Open a gzip file, whose unpacked bytes are counted."""
    stream = cast("IO[bytes]", gzip.GzipFile(path, "rb"))
    return io.BufferedReader(Counted(stream, path.stat().st_size, str(path)))


@contextmanager
def unpacking(name: str) -> Iterator[None]:
    """Convert the errors of damaged archives to a DataError that names the archive.

    Raises:
        DataError: the archive cannot be read or unpacked.
    """
    try:
        yield
    except DAMAGED as error:
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise DataError(
            f"{name} cannot be unpacked: {reason}. Fetch or pack the archive again, without a "
            "password, or unpack it and name the files."
        ) from None


def is_archive(path: Path) -> bool:
    """True if a path names a zip archive that exists."""
    return path.suffix.lower() == ".zip" and path.is_file() and zipfile.is_zipfile(path)


def names(path: Path) -> list[str]:
    """The names of the files in an archive, in its order.

    Raises:
        DataError: it cannot be read, or has a name that is longer than a file system allows.
    """
    with unpacking(str(path)), zipfile.ZipFile(path) as archive:
        listed = [one.filename for one in archive.infolist()]
    found = [name for name in listed if name and not name.endswith("/")]
    longest = max((part for name in found for part in name.split("/")), key=len, default="")
    if len(longest) > LONGEST:
        raise DataError(
            f"{path} holds a file whose name has {len(longest):,} characters, {longest[:40]!r} "
            "..., so it is damaged. Fetch or pack it again."
        )
    return found


def content(path: Path, name: str) -> bytes:
    """The bytes of a file in an archive.

    Raises:
        DataError: it cannot be unpacked, or unpacks to far more than it could hold.
    """
    with unpacking(f"{path}{MARK}{name}"), zipfile.ZipFile(path) as archive:
        packed = archive.getinfo(name).compress_size
        packed = min(packed, path.stat().st_size)  # a header can lie
        with _opened(archive, name) as stream:
            return Counted(stream, packed, f"{path}{MARK}{name}").readall()


def _opened(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """Open a file of an archive.

    Raises:
        BadZipFile: it has a password.
        NotImplementedError: it is packed by a method that zipfile does not know.
    """
    if archive.getinfo(name).flag_bits & ENCRYPTED:
        raise zipfile.BadZipFile("it has a password")
    return archive.open(name)


def refuse_bomb(packed: bytes, name: str) -> None:
    """Check the announced sizes of a workbook, which another package unpacks.

    Raises:
        DataError: it is damaged, or unpacks to far more than it could hold.
    """
    with unpacking(name), zipfile.ZipFile(io.BytesIO(packed)) as archive:
        size = sum(one.file_size for one in archive.infolist())
    if size > max(FREE, TIGHTEST * len(packed)):
        raise too_tight(name)


def chosen(path: Path, kinds: tuple[str, ...]) -> tuple[Path, str] | None:
    """The archive and the name of the file in it that a path means; None if it names no archive.

    `kinds` are the suffixes of data files.

    Raises:
        DataError: the archive has no such file, or several and none is named.
    """
    before, mark, name = str(path).partition(f".zip{MARK}")
    archive = Path(f"{before}.zip") if mark else path
    if not is_archive(archive):
        return None
    listed = [one for one in names(archive) if not is_hidden(one)]
    fitting = [one for one in listed if one == name]
    fitting = fitting or [one for one in listed if one.endswith(f"/{name}")]
    if not mark:
        fitting = [one for one in listed if one.removesuffix(".gz").lower().endswith(kinds)]
        fitting = [one for one in fitting if not ABOUT.match(PurePath(one).name)] or fitting
    if len(fitting) != 1:
        shown = ", ".join((fitting or listed)[:8])
        if listed and not fitting and not mark:
            raise DataError(
                f"{archive} holds no data file, but {shown}. Unpack it, and give the file in it."
            )
        wanted = f"no file {name!r}" if mark and not fitting else "several files"
        raise DataError(
            f"{archive} holds {wanted if listed else 'no file'}: {shown}. Name one, as in "
            f"{archive}{MARK}{(fitting or listed or ['name.csv'])[0]}."
        )
    return archive, fitting[0]


def is_hidden(name: str) -> bool:
    """True for hidden files and for those that macOS adds to archives."""
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
