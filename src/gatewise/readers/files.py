"""Files that are opened again and again, compressed or in another encoding, and their errors."""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

import polars as pl

from gatewise.errors import DataError
from gatewise.readers import archives
from gatewise.readers import dialect as dialects

PACKED = 4  # approximate compression ratio of text
ANY = ("", ".data", ".dat", ".rdb")  # suffixes of files that may hold text
UBYTE = "ubyte"  # IDX files end so, without a suffix
BEGIN = 4096  # bytes that show whether a file is text
# How files begin that are not text, and what to do with one that has the name of a text.
UNPACK, RENAME = "Unpack it, and give the file in it", "Give it a name that ends in"
SAVE = "Save it as CSV"
BEGINS = {
    b"\x1f\x8b": ("gzip", f"{RENAME} .gz"),
    b"PK\x03\x04": ("zip archive or a workbook", f"{RENAME} .zip or .xlsx"),
    b"PAR1": ("Parquet", f"{RENAME} .parquet"),
    b"BZh": ("bzip2", UNPACK),
    b"\xfd7zXZ\0": ("xz", UNPACK),
    b"\x28\xb5\x2f\xfd": ("Zstandard", UNPACK),
    b"\xd0\xcf\x11\xe0": ("workbook of an old Excel", SAVE),
    b"\x89HDF\r\n\x1a\n": ("HDF5", SAVE),
    b"SQLite format 3\0": ("SQLite", SAVE),
    b"%PDF-": ("PDF", SAVE),
}
# How files begin that stand for the data, and suffixes of texts, which may be pages.
POINTER = b"version https://git-lfs"
PAGES = (b"<!doctype html", b"<html")
TEXTS = (".txt", ".md", ".html", ".htm")


@dataclass(frozen=True)
class File:
    """A file that can be opened again; the content of a pipe is kept, because it is read once."""

    path: Path
    content: bytes | None = None  # the decompressed bytes of a pipe; None for other files

    @cached_property
    def name(self) -> str:
        """The name in lower case, without .gz; with .txt if its suffix may be that of a text."""
        name = self.path.name.removesuffix(".gz").lower()
        return f"{name}.txt" if Path(name).suffix in ANY and self._is_text() else name

    @property
    def size(self) -> int:
        """The number of bytes; for a compressed file, an estimate of the decompressed size."""
        if self.content is not None:
            return len(self.content)
        return self.path.stat().st_size * (PACKED if self.path.suffix == ".gz" else 1)

    def _is_text(self) -> bool:
        """Whether the file begins with text in UTF-8; a pipe does, because it could be no other."""
        if self.content is not None:
            return True
        if self.path.name.endswith(UBYTE) or not self.path.is_file():
            return False
        try:
            with self.opened() as file:
                begin = file.read(BEGIN)
            codecs.getincrementaldecoder("utf-8")().decode(begin)
        except (OSError, EOFError, ValueError, zlib.error):
            return False
        return bool(begin) and b"\0" not in begin

    def opened(self, encoding: str = "utf-8") -> IO[bytes]:
        """Open the file, decompressed if its name ends in .gz; text is converted to UTF-8."""
        plain = is_utf8(encoding)  # fails on an unknown encoding before the file is opened
        if self.content is not None:
            file: IO[bytes] = io.BytesIO(self.content)
        else:
            packed = self.path.suffix == ".gz"
            file = archives.gunzipped(self.path) if packed else self.path.open("rb")
        if plain:
            return file
        return cast("IO[bytes]", codecs.EncodedFile(cast(Any, file), "utf-8", encoding))


def file_of(path: Path) -> File:
    """The file at this path; a pipe is read at once.

    Raises:
        DataError: the pipe cannot be read, or the file only stands for the data.
    """
    if not path.is_fifo():
        _refuse_stand_in(path)
        return File(path)
    with reading(str(path)), File(path).opened() as file:
        return File(path, file.read())


def _refuse_stand_in(path: Path) -> None:
    """Refuse what a browser or Git stores in place of the data."""
    try:
        with path.open("rb") as file:
            begin = file.read(BEGIN).lstrip(codecs.BOM_UTF8).lstrip().lower()
    except OSError:
        return  # the reader says why
    if begin.startswith(POINTER):
        raise DataError(f"{path} is a pointer of Git LFS, not the data. Fetch them: git lfs pull.")
    if begin.startswith(PAGES) and path.suffix.lower() not in TEXTS:
        raise DataError(
            f"{path} holds a web page (HTML), not the data. Download the file itself; where a site "
            "shows it on a page, this is its raw form."
        )


def unpacked(archive: Path, name: str) -> File:
    """The file with this name in an archive."""
    return File(Path(f"{archive}{archives.MARK}{name}"), archives.content(archive, name))


@contextmanager
def reading(name: str, encoding: str = "utf-8", file: File | None = None) -> Iterator[None]:
    """Convert errors of Polars, gzip and the file system to a DataError that names the file.

    With `file`, the error about an encoding shows what other encodings make of the file.

    Raises:
        DataError: the file cannot be opened, unpacked, decoded or parsed.
    """
    try:
        yield
    except gzip.BadGzipFile:
        raise DataError(
            f"{name} is not a gzip file, although its name ends in .gz. "
            "Remove .gz from its name, or fetch it again."
        ) from None
    except (EOFError, zlib.error):
        raise DataError(f"{name} ends too early, so it is damaged. Fetch it again.") from None
    except UnicodeError:
        raise other_encoding(name, encoding, _content(file)) from None
    except RecursionError:
        raise DataError(
            f"{name} is nested too deeply to be a table. It needs a list of objects."
        ) from None
    except LookupError:
        raise DataError(f"There is no encoding {encoding!r} (data.encoding).") from None
    except csv.Error as error:
        raise DataError(f"{name} is not separated text: {error}.") from None
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror or error}.") from None
    except pl.exceptions.PanicException:  # which is not even an Exception
        raise DataError(f"{name} cannot be read, because it is damaged. Fetch it again.") from None
    except pl.exceptions.PolarsError as error:
        raise _of_polars(error, name, encoding, file) from None


def _of_polars(
    error: pl.exceptions.PolarsError, name: str, encoding: str, file: File | None
) -> DataError:
    """The error for what Polars cannot read."""
    reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    if "utf" in reason.lower():
        return other_encoding(name, encoding, _content(file))
    return DataError(f"{name} cannot be read: {reason}. Check its format.")


def _content(file: File | None) -> bytes:
    """The bytes of a file, which an error message tries with other encodings."""
    if file is None:
        return b""
    with file.opened() as stream:
        return stream.read()


def other_encoding(name: str, encoding: str = "utf-8", content: bytes = b"") -> DataError:
    """The error for a text file in another encoding; `content` is tried with a few encodings."""
    for begin, (kind, remedy) in BEGINS.items():
        if content.startswith(begin):
            return DataError(
                f"{name} is a file of another kind than its name says ({kind}). {remedy}."
            )
    kind = "UTF-8" if is_utf8(encoding) else encoding
    tried = dialects.readings(content)
    remedy = "Set the one that is right." if tried else "Save it as UTF-8 (iconv -t UTF-8)."
    return DataError(" ".join(filter(None, [f"{name} is not {kind} text.", tried, remedy])))


def is_utf8(encoding: str) -> bool:
    """True for a name of UTF-8.

    Raises:
        LookupError: there is no such encoding.
    """
    return codecs.lookup(encoding).name == "utf-8"
