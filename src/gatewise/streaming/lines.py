"""Lines in, lines out: what `gatewise stream` does between standard input and standard output."""

import csv
import io
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatewise.artefact import finite
from gatewise.errors import ConfigError, DataError
from gatewise.streaming.plan import Answer
from gatewise.streaming.stream import Stream, advance

log = logging.getLogger("gatewise")

CHUNK = 1 << 16  # bytes of a read
PAUSE = 0.2  # seconds between two looks at a file that grows
SEPARATORS = ",;\t|"


def answer(
    first: Stream,
    file: int,
    *,
    write: Callable[[str], Any],
    complain: Callable[[str], Any] | None,
    follow: bool = False,
    columns: tuple[str, ...] = (),
    as_json: bool = False,
) -> None:
    """Answer the lines of an open file until it ends.

    Args:
        first: a stream of the run, at its beginning; each id gets one like it.
        file: a file descriptor.
        write: is called with the lines of answers.
        complain: is called with a sentence about a line that cannot be used; None: such a line
            ends the work with an error.
        follow: wait for more lines at the end of the file.
        columns: the names of the columns, if lines of CSV have no header.
        as_json: answer CSV in lines of JSON.

    Raises:
        DataError: a line cannot be used, and `complain` is None.
        ConfigError: there is no header.
    """
    reader = _Lines(first, columns)
    printer = _Printer(write, as_json)
    used = _Used(complain)
    streams: dict[str, Stream] = {}
    for lines in pieces(file, follow):
        pushed: list[_Pushed] = []
        for line in lines:
            used.number += 1
            with used.line(used.number):
                row = reader.row(line)
                if row is not None:
                    name = first.id_of(row)
                    stream = streams.get(name) or first.new(name)
                    stream.push(row)
                    streams[name] = stream
                    pushed.append(_Pushed(used.number, name, row))
        advance([streams[name] for name in {one.name for one in pushed}])
        for name in dict.fromkeys(one.name for one in pushed):
            of_stream = [one for one in pushed if one.name == name]
            printer.show(name, _answers(streams[name], of_stream, used), reader.is_json)
    for name, stream in streams.items():
        printer.show(name, stream.finish(), reader.is_json)
    if used.bad:
        verb = "was" if used.bad == 1 else "were"
        log.warning("%d of %d lines %s left out.", used.bad, used.number, verb)


@dataclass(frozen=True)
class _Pushed:
    """A row that was pushed, with the number of its line and the name of its stream."""

    number: int
    name: str
    row: Any


@dataclass
class _Used:
    """Counts lines, and those that could not be used."""

    complain: Callable[[str], Any] | None
    number: int = 0
    bad: int = 0

    @contextmanager
    def line(self, number: int) -> Iterator[None]:
        """Name the line in an error; with `complain`, go on after it."""
        try:
            yield
        except DataError as error:
            if self.complain is None:
                raise DataError(f"Line {number}: {error}") from None
            self.bad += 1
            self.complain(f"Line {number}: {error}")


def _answers(stream: Stream, pushed: list[_Pushed], used: _Used) -> list[Answer]:
    """The answers of a stream to rows that were pushed."""
    try:
        return stream.read()
    except DataError:  # all these rows are forgotten, so each is tried alone
        answers: list[Answer] = []
        for one in pushed:
            with used.line(one.number):
                stream.push(one.row)
                answers += stream.read()
        return answers


@dataclass
class _Lines:
    """Turns lines into rows."""

    stream: Stream
    columns: tuple[str, ...]
    is_json: bool = False
    _separator: str = ""  # of CSV; "": lines are JSON, or none was read yet

    def row(self, line: str) -> Any:
        """The row of a line; None for a header or an empty line.

        Raises:
            DataError: the line is not what the lines before it were.
            ConfigError: the first line of CSV is no header.
        """
        if not line.strip():
            return None
        if not self._separator and (self.is_json or line.lstrip()[0] in "{["):
            self.is_json = True
            try:
                return json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"It is not JSON: {error}.") from None
        begins = not self._separator
        if begins:
            self._separator = max(SEPARATORS, key=line.count)
        cells = next(csv.reader([line.rstrip("\r\n")], delimiter=self._separator))
        if begins and not self.columns:
            self.columns = self._header(cells)
            return None
        if len(cells) != len(self.columns):
            raise DataError(
                f"It has {len(cells)} cells, but there are {len(self.columns)} columns. Correct it."
            )
        return dict(zip(self.columns, cells, strict=True))

    def _header(self, cells: list[str]) -> tuple[str, ...]:
        names = tuple(cell.strip().removeprefix("\ufeff") for cell in cells)
        wanted = self.stream.columns
        if missing := [name for name in wanted if name not in names]:
            raise ConfigError(
                f"The first line must name the columns, but it has no {', '.join(missing)}. It "
                f"holds: {', '.join(names)}. Begin with a header, or name the columns of lines "
                f"without one: --columns {','.join(wanted)}."
            )
        return names


@dataclass
class _Printer:
    """Turns answers into lines."""

    write: Callable[[str], Any]
    as_json: bool
    _header: tuple[str, ...] = ()

    def show(self, name: str, answers: list[Answer], is_json: bool) -> None:
        """Write the answers of a stream, in JSON if its lines are."""
        if not answers:
            return
        named = [_plain({"id": name, **answer} if name else answer) for answer in answers]
        if self.as_json or is_json:
            self.write("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in named))
            return
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        if not self._header:
            self._header = tuple(named[0])
            writer.writerow(self._header)
        writer.writerows([one[key] for key in self._header] for one in named)
        self.write(buffer.getvalue())


def _plain(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer with texts for times, and None for numbers that are not finite."""
    texts = {
        key: value.isoformat(" ") if hasattr(value, "isoformat") else value
        for key, value in answer.items()
    }
    plain: dict[str, Any] = finite(texts)
    return plain


def pieces(file: int, follow: bool = False) -> Iterator[list[str]]:
    """Yield the lines of an open file as they arrive, all that are there at a time.

    With `follow`, the end of the file is not the end: later lines are awaited.
    """
    rest = b""
    while True:
        content = os.read(file, CHUNK)
        if not content:
            if not follow:
                break
            time.sleep(PAUSE)
            continue
        *lines, rest = (rest + content).split(b"\n")
        if lines:
            yield [line.decode("utf-8", "replace") for line in lines]
    if rest:
        yield [rest.decode("utf-8", "replace")]


def opened(path: Path | None) -> int:
    """The file descriptor of a file, or of standard input.

    Raises:
        ConfigError: the file cannot be read.
    """
    if path is None:
        return 0
    try:
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
