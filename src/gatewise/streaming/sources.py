"""Where `gatewise stream` reads: standard input or a file, until it ends or a signal comes."""

import logging
import os
import select
import signal
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from gatewise.errors import ConfigError, DataError

log = logging.getLogger("gatewise")

CHUNK = 1 << 16  # bytes of a read
PAUSE = 0.2  # seconds between two looks at a file that grows
LONGEST = 1 << 24  # bytes of a line


class Stop:
    """Remembers a first Ctrl-C or SIGTERM, so that what was read is answered before the end.

    A second one acts as usual. Outside the main thread, which alone receives signals, there are
    none.
    """

    def __init__(self) -> None:
        self.number = 0  # of the signal; 0: none came
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}

    def _request(self, number: int, _frame: FrameType | None) -> None:
        self.number = number
        self.__exit__()


def contents(path: Path | None, stop: Stop, *, follow: bool = False) -> Iterator[bytes | None]:
    """Yield the bytes of a file, or of standard input, as they arrive.

    With `follow`, the end of the file is not the end. None says that the file begins again, because
    it was truncated or another one has its name.

    Raises:
        ConfigError: the file cannot be read.
    """
    if path is None:
        return _once(0, stop)
    file = _opened(path)
    return _followed(path, file, stop) if follow else _closed(file, stop)


def lines(chunks: Iterable[bytes | None]) -> Iterator[list[str] | None]:
    """Yield the lines of such bytes, all that are there at a time; None as above.

    A last line without an end is one at the end of the file, but not where a signal or another file
    cuts it off, because half a number is a number.

    Raises:
        DataError: a line is far too long.
    """
    rest = b""
    for content in chunks:
        if content is None:
            if rest:
                log.warning("An unfinished line of %d bytes is left out.", len(rest))
            rest = b""
            yield None
            continue
        if not content:  # the end
            if rest:
                yield [rest.decode("utf-8", "replace")]
            return
        *whole, rest = (rest + content).split(b"\n")
        if len(rest) > LONGEST:
            raise DataError(f"A line has more than {LONGEST >> 20} MiB. Give lines of CSV or JSON.")
        if whole:
            yield [line.decode("utf-8", "replace") for line in whole]


def _opened(path: Path) -> int:
    try:
        if path.is_dir():
            raise ConfigError(f"{path} is a folder. Name a file.")
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None


def _once(file: int, stop: Stop) -> Iterator[bytes]:
    """Yield the bytes of an open file up to its end, which is an empty part."""
    while not stop.number:
        if select.select([file], [], [], PAUSE)[0]:
            content = os.read(file, CHUNK)
            yield content
            if not content:
                return


def _closed(file: int, stop: Stop) -> Iterator[bytes]:
    """Yield the bytes of an open file, and close it."""
    try:
        yield from _once(file, stop)
    finally:
        os.close(file)


def _followed(path: Path, file: int, stop: Stop) -> Iterator[bytes | None]:
    """Yield the bytes of an open file that grows, and of those that take its name."""
    position = 0
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            yield from _once(file, stop)
            return
        while not stop.number:
            content = os.read(file, CHUNK)
            position += len(content)
            if content:
                yield content
            elif os.fstat(file).st_size < position:
                log.warning("%s was truncated. It is read from its beginning.", path)
                position = os.lseek(file, 0, os.SEEK_SET)
                yield None
            elif _is_another(path, file):
                while content := os.read(file, CHUNK):  # what came since the read above
                    yield content
                log.warning("Another file has the name %s. It is read from its beginning.", path)
                before, file, position = file, _opened(path), 0
                os.close(before)
                yield None
            else:
                time.sleep(PAUSE)
    finally:
        os.close(file)


def _is_another(path: Path, file: int) -> bool:
    """Whether a path leads to another file than the open one; False while it leads nowhere."""
    try:
        return not os.path.samestat(path.stat(), os.fstat(file))
    except OSError:
        return False
