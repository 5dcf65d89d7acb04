"""Texts that arrive in parts, and tokens that arrive one after another."""

import logging
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gatewise.data.sequences import Array, Sequences, from_texts
from gatewise.errors import DataError
from gatewise.readers import conll
from gatewise.settings import DataSettings
from gatewise.streaming.memory import Memory, identity, is_table, records
from gatewise.streaming.plan import Plan, Row

log = logging.getLogger("gatewise")

NOTHING = np.empty(0)
# No tokenizer reads together what is before and after these places.
BEFORE_SPACE = r"(?<=\S)(?=\s)"
AFTER_LINE = r"(?<=\n)"


class TextReader:
    """Reads a text in parts as the run reads whole texts: its steps are tokens.

    A token is a step when what follows cannot change it any more: a word when white space follows.
    """

    def __init__(self, plan: Plan, settings: DataSettings) -> None:
        assert plan.text is not None
        self.plan, self.settings, self.text = plan, settings, plan.text
        self.columns = (settings.text or ("text",))[:1]
        places = f"{BEFORE_SPACE}|{AFTER_LINE}" if plan.text.lines else BEFORE_SPACE
        self._places = re.compile(places)

    def rows_of(self, steps: Any) -> Iterator[Any]:
        """The parts of what a user pushes: a text, a list of texts, or rows with a text."""
        yield from _each(steps)

    def read(self, given: Any, memory: Memory) -> list[Row]:
        """The tokens that a further part completes; `memory` is updated.

        Raises:
            DataError: it is not text, or begins with a mark that belongs to the character before.
        """
        name = identity(given, memory, self.settings)
        part = _written(given, self.columns[0], "text")
        if self.text.characters and part and memory.last:
            _refuse_mark(memory.last, part[0])
        text = memory.rest + part
        cut = len(text)
        if not self.text.characters:
            cut = max((found.end() for found in self._places.finditer(text)), default=0)
        memory.id = name
        return self._rows(text[:cut], text[cut:], memory)

    def rest(self, memory: Memory) -> list[Row]:
        """The tokens that only the end of the text completes; `memory` is updated."""
        text, end = memory.rest, self.text.end
        if end and (text or memory.last) and not (memory.last + text).endswith(end):
            text += end
        return self._rows(text, "", memory)

    def _rows(self, text: str, rest: str, memory: Memory) -> list[Row]:
        memory.rest, memory.last = rest, text[-1:] or memory.last
        if not text:
            return []
        tokens, written = self.text.encode(text)
        most = self.text.most
        if most and memory.count <= most < memory.count + len(tokens):
            log.warning(
                "The run reads the first %d tokens of a text; later ones are left out.", most
            )
        room = max(0, most - memory.count) if most else len(tokens)
        memory.count += len(tokens)
        pairs = zip(tokens.tolist(), written, strict=True)
        return [Row(np.array([token]), text=text) for token, text in pairs][:room]

    def sequences(self, several: Sequence[tuple[Memory, Sequence[Row]]]) -> Sequences:
        """Rows of several streams as texts."""
        texts = ["".join(row.text for row in rows) for _, rows in several]
        return from_texts(texts, ids=_ids(several), source="The stream")

    def inputs(self, rows: Sequence[Row]) -> dict[str, Array]:
        """What the network reads of each step, [steps]."""
        return {"tokens": np.array([row.values[0] for row in rows], dtype=np.int32)}


class TokenReader:
    """Reads tokens one after another; a text is split at white space."""

    def __init__(self, plan: Plan, settings: DataSettings) -> None:
        self.plan, self.settings = plan, settings
        self.columns = (settings.text or (conll.TOKEN,))[:1]

    def rows_of(self, steps: Any) -> Iterator[Any]:
        """The tokens of what a user pushes: a text of tokens, a list of them, or rows."""
        for one in _each(steps):
            if isinstance(one, str):
                yield from one.split()
            else:
                yield one

    def read(self, given: Any, memory: Memory) -> list[Row]:
        """The step of a token; `memory` is updated.

        Raises:
            DataError: it is not a token.
        """
        name = identity(given, memory, self.settings)
        token = _written(given, self.columns[0], "token")
        if not token.strip():
            raise DataError("The token is empty. Leave it out.")
        memory.id = name
        return [Row(NOTHING, text=token)]

    def rest(self, _memory: Memory) -> list[Row]:
        """Nothing, because each token is complete."""
        return []

    def sequences(self, several: Sequence[tuple[Memory, Sequence[Row]]]) -> Sequences:
        """Rows of several streams as sentences."""
        sentences = [[row.text for row in rows] for _, rows in several]
        return conll.from_sentences(sentences, ids=_ids(several), source="The stream")

    def inputs(self, _rows: Sequence[Row]) -> dict[str, Array] | None:
        """None: the task makes the inputs from the sentences."""
        return None


def _ids(several: Sequence[tuple[Memory, Sequence[Row]]]) -> Array:
    return np.array([memory.id for memory, _ in several])


def _each(steps: Any) -> Iterator[Any]:
    if isinstance(steps, str | Mapping):
        yield steps
    elif is_table(steps):
        yield from records(steps)
    elif isinstance(steps, Sequence | np.ndarray):
        yield from steps
    else:
        yield steps


def _written(given: Any, column: str, what: str) -> str:
    """The text of a row, or of a text alone."""
    if isinstance(given, Mapping):
        if column not in given:
            held = ", ".join(map(repr, list(given)[:12])) or "nothing"
            raise DataError(
                f"The row has no column '{column}'. It has {held}. Give the {what} in it."
            )
        given = given[column]
    if not isinstance(given, str):
        raise DataError(f"A {what} is a str. Received: {str(given)[:80]!r}.")
    return given.encode("utf-8", "replace").decode()


def _refuse_mark(last: str, first: str) -> None:
    """Refuse a combining mark, whose character was read already."""

    def composed(text: str) -> str:
        return unicodedata.normalize("NFC", text)

    if unicodedata.combining(first) or composed(last + first) != composed(last) + composed(first):
        raise DataError(
            f"This part of the text begins with {unicodedata.name(first, repr(first))}, which "
            "belongs to the character before. Send a character and its marks together, or "
            'normalise the text first: unicodedata.normalize("NFC", text).'
        )
