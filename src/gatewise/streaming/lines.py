"""Lines in, lines out: what `gatewise stream` does between its input and standard output."""

import csv
import io
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gatewise.errors import ConfigError, DataError, GapError, OrderError
from gatewise.readers.json import parsed
from gatewise.runs.artefact import finite
from gatewise.streaming.memory import id_of
from gatewise.streaming.plan import Answer
from gatewise.streaming.sounds import place_of
from gatewise.streaming.sources import lines
from gatewise.streaming.stream import Stream, advance

log = logging.getLogger("gatewise")

SEPARATORS = ",;\t|"
END = object()  # a row that ends a sentence


def answer(
    first: Stream,
    chunks: Iterable[bytes | None],
    *,
    write: Callable[[str], Any],
    complain: Callable[[str], Any] | None,
    columns: tuple[str, ...] = (),
    as_json: bool = False,
) -> int:
    """Answer the lines of a file, or its samples if the run reads recordings.

    Returns the number of lines that were read.

    Args:
        first: a stream of the run, at its beginning; each id gets one like it.
        chunks: the bytes, as `sources.contents` yields them.
        write: is called with the lines of answers.
        complain: is called with a sentence about a line that cannot be used; None: such a line
            ends the work with an error.
        columns: the names of the columns, if lines of CSV have no header.
        as_json: answer CSV in lines of JSON.

    Raises:
        DataError: a line cannot be used, and `complain` is None.
        ConfigError: there is no header.
    """
    printer = _Printer(write, as_json)
    if first.kind == "sound":
        _answer_samples(first, chunks, printer)
        return 0
    reader = _Lines(first, columns)
    streams: dict[str, Stream] = {}
    used = _Used(complain, streams)
    for some in lines(chunks):
        if some is None:
            reader.began, used.restarted = True, set(streams)
            continue
        pushed: list[_Pushed] = []
        for line in some:
            used.number += 1
            owner: list[str] = []
            with used.line(used.number, owner):
                row = reader.row(line)
                if row is END:
                    _show(streams, pushed, used, printer, is_json=reader.is_json)
                    pushed = []
                    printer.show("", first.finish(), reader.is_json)
                elif row is not None:
                    name = id_of(row, first.data)
                    owner.append(name)
                    stream = streams.get(name) or (first.new(name) if name else first)
                    one = _Pushed(used.number, name, row)
                    used.timed = first.kind != "numbers" or _has_time(row, first.data.time)
                    if used.breaks_off(stream, one):
                        _show(streams, pushed, used, printer, is_json=reader.is_json)
                        pushed = []
                        printer.show(name, stream.finish(), reader.is_json)
                        stream.push(row)
                    streams[name] = stream
                    pushed.append(one)
        _show(streams, pushed, used, printer, is_json=reader.is_json)
    for name, stream in streams.items():
        printer.show(name, stream.finish(), reader.is_json)
    if used.bad:
        verb = "was" if used.bad == 1 else "were"
        log.warning("%d of %d lines %s left out.", used.bad, used.number, verb)
    return used.number


def _answer_samples(stream: Stream, chunks: Iterable[bytes | None], printer: "_Printer") -> None:
    """Answer raw samples of 16 bits, or those of a WAV file, as they come."""
    held, left = b"", -1.0  # the bytes of samples that are still to come; -1: before the header
    for content in chunks:
        if content is None:
            printer.show("", stream.finish(), is_json=False)
            held, left = b"", -1.0
            continue
        held += content
        if left < 0:
            place = place_of(held, stream.rate, ended=not content)
            if place is None:
                continue
            held, left = held[place[0] :], place[1]
        size = int(min(len(held) - len(held) % 2, left))
        stream.push(held[:size])
        left -= size
        held = held[size:] if left else b""
        printer.show("", stream.read(), is_json=False)
    if held:
        log.warning("An unfinished sample at the end is left out.")
    printer.show("", stream.finish(), is_json=False)


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
    streams: Mapping[str, Stream]  # those that began
    timed: bool = True  # times show where a line is missing, or nothing has to
    number: int = 0
    bad: int = 0
    restarted: set[str] = field(default_factory=set)  # streams before the file began again
    broken: set[str] = field(default_factory=set)  # streams without times that lack a line

    @contextmanager
    def line(self, number: int, owner: list[str]) -> Iterator[None]:
        """Name the line in an error; with `complain`, go on after it.

        `owner` gets the name of the stream of the line; without one, the line may be of any.
        """
        try:
            yield
        except DataError as error:
            if self.complain is None:
                raise DataError(f"Line {number}: {error}") from None
            self.bad += 1
            self.complain(f"Line {number}: {error}")
            if not self.timed:
                self.broken.update(owner or self.streams)

    def breaks_off(self, stream: Stream, one: "_Pushed") -> bool:
        """Push a row; True, with a sentence, if it can only begin another sequence.

        Raises:
            DataError: the row cannot be used.
        """
        reason, restarted = "", one.name in self.restarted
        if one.name in self.broken and stream.step:
            reason = "A line before it was left out."
        else:
            try:
                stream.push(one.row)
            except GapError as gap:
                if self.complain is None:
                    raise
                reason = str(gap)
            except OrderError:
                if not restarted or self.complain is None:
                    raise
                reason = "The times of the new file go back."
        self.restarted.discard(one.name)
        self.broken.discard(one.name)
        if reason and self.complain is not None:
            self.complain(f"Line {one.number}: {reason} The sequence begins anew with this line.")
        return bool(reason)


def _show(
    streams: Mapping[str, Stream],
    pushed: list[_Pushed],
    used: _Used,
    printer: "_Printer",
    *,
    is_json: bool,
) -> None:
    """Write the answers to rows that were pushed, stream by stream."""
    names = list(dict.fromkeys(one.name for one in pushed))
    advance([streams[name] for name in names])
    for name in names:
        of_stream = [one for one in pushed if one.name == name]
        printer.show(name, _answers(streams[name], of_stream, used), is_json)


def _answers(stream: Stream, pushed: list[_Pushed], used: _Used) -> list[Answer]:
    """The answers of a stream to rows that were pushed."""
    try:
        return stream.read()
    except DataError:  # all these rows are forgotten, so each is tried alone
        answers: list[Answer] = []
        for one in pushed:
            with used.line(one.number, [one.name]):
                if used.breaks_off(stream, one):
                    answers += stream.finish()
                    stream.push(one.row)
                answers += stream.read()
        return answers


@dataclass
class _Lines:
    """Turns lines into rows.

    Running text and tokens need no columns: a line is a part of the text, or holds tokens, and an
    empty line ends a sentence.
    """

    stream: Stream
    columns: tuple[str, ...]
    is_json: bool = False
    is_plain: bool = False
    began: bool = False  # the file begins again, maybe with its header
    _separator: str = ""  # of CSV; "": lines are of another kind, or none was read yet

    def row(self, line: str) -> Any:
        """The row of a line; None for a header or an empty line; END at the end of a sentence.

        Raises:
            DataError: the line is not what the lines before it were.
            ConfigError: the first line of CSV is not a header.
        """
        begins = not (self.is_json or self.is_plain or self._separator)
        if begins and line.strip():
            free = self.stream.reads_lines and not self.columns
            self.is_json = line.lstrip()[0] in "{[" and (not free or _is_object(line))
            self.is_plain = free and not self.is_json
        if self.is_plain:
            return self._plain(line)
        if not line.strip():
            return None
        if self.is_json:
            return parsed(line.encode(), "It")
        if begins:
            self._separator = max(SEPARATORS, key=line.count)
        try:
            text = line.rstrip("\r\n")
            cells = next(csv.reader([text], delimiter=self._separator, strict=True))
        except csv.Error as error:
            raise DataError(f"It is not separated text: {error}.") from None
        if begins and not self.columns:
            self.columns = self._header(cells)
            return None
        again, self.began = self.began, False
        if again and tuple(cell.strip().removeprefix("\ufeff") for cell in cells) == self.columns:
            return None
        if len(cells) != len(self.columns):
            raise DataError(
                f"It has {len(cells)} cells, but the columns are {', '.join(self.columns)}. Quote "
                "texts that hold the separator, or correct it."
            )
        return dict(zip(self.columns, cells, strict=True))

    def _plain(self, line: str) -> Any:
        if self.stream.kind == "text":
            return line.rstrip("\r") + "\n"
        return line.strip() or END

    def _header(self, cells: list[str]) -> tuple[str, ...]:
        names = tuple(cell.strip().removeprefix("\ufeff") for cell in cells)
        wanted = (*self.stream.times, *self.stream.columns)
        if missing := [name for name in wanted if name not in names]:
            raise ConfigError(
                f"The first line must name the columns, but it has no {', '.join(missing)}. It "
                f"holds: {', '.join(names)}. Begin with a header, or name the columns of lines "
                f"without one: --columns {','.join(wanted)}."
            )
        return names


def _has_time(row: Any, names: Sequence[str]) -> bool:
    """Whether a row holds its time."""
    return bool(names) and isinstance(row, Mapping) and all(name in row for name in names)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


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
