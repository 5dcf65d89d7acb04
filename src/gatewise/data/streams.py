"""Running text -> one run of tokens, line by line, so that what a line costs can be told."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from gatewise.data.sequences import Array, Sequences, text_of
from gatewise.data.vocabulary import BEGIN, END, PAD, UNKNOWN, Vocabulary

OPENING, CLOSING = "([{“‘«", ".,;:!?)]}%…”’»"  # signs that stand before or behind no space
HELD = 4  # pieces of one character at most: UTF-8 has no longer one
LONGEST = 4096  # characters of a line; a longer one is told in pieces
MARK = "<unk>"  # how prepared texts write a word that they do not know


@dataclass(frozen=True)
class Stream:
    """Texts as one run of tokens; text k is `tokens[texts[k]:texts[k + 1]]`, lines alike."""

    tokens: Array  # [tokens] int32
    texts: Array  # [texts + 1] int64
    lines: Array  # [lines + 1] int64
    characters: Array  # [lines] in each line, its end among them
    start: int  # the token that is read before the first one of a text: a line's end
    unknown: int  # how many of the tokens stand for something that training did not know

    def __len__(self) -> int:
        return len(self.tokens)

    def before(self) -> Array:
        """The token that is read where each one is to be said, [tokens] int32."""
        moved = np.roll(self.tokens, 1)
        begins = self.texts[:-1]
        moved[begins[begins < len(moved)]] = self.start
        return moved


def lines_of(text: str) -> list[str]:
    r"""The lines of a text with their ends, those of many characters in pieces.

    >>> lines_of("a rose\n\nis")
    ['a rose\n', '\n', 'is']
    """
    lines = text.split("\n")
    ended = [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    return list(chain.from_iterable(map(_pieces, ended)))


def _pieces(line: str) -> Iterator[str]:
    """A line cut at spaces where it is too long, or where there are none, anywhere."""
    while len(line) > LONGEST:
        cut = line.rfind(" ", LONGEST // 2, LONGEST) + 1 or LONGEST
        yield line[:cut]
        line = line[cut:]
    yield line


def all_lines(sequences: Sequences) -> Iterator[str]:
    """The lines of all texts, in order."""
    for k in range(len(sequences)):
        yield from lines_of(text_of(sequences, k))


def start_of(vocabulary: Vocabulary) -> int:
    """The token of a line's end."""
    if vocabulary.kind in ("words", "whitespace"):
        return END
    found = vocabulary.encode(["\n"])[0]
    return int(found[0]) if len(found) == 1 and found[0] != UNKNOWN else BEGIN


def encoded(lines: list[str], vocabulary: Vocabulary) -> list[Array]:
    """The tokens of each line; of words, a line's end is a token of its own."""
    found = vocabulary.encode(lines)
    if vocabulary.kind in ("words", "whitespace"):
        end = np.array([END], dtype=np.int32)
        found = [
            np.concatenate([one, end]) if line.endswith("\n") else one
            for one, line in zip(found, lines, strict=True)
        ]
    return found


def unknown_of(vocabulary: Vocabulary) -> int:
    """The token that stands for what is not known: the texts' own mark where they have one."""
    tokens = vocabulary.tokens
    return tokens.index(MARK) if vocabulary.kind == "whitespace" and MARK in tokens else UNKNOWN


def stream_of(sequences: Sequences, vocabulary: Vocabulary) -> Stream:
    """All texts of a part as one run of tokens; each ends with the end of a line."""
    tokens: list[Array] = []
    characters: list[int] = []
    texts = [0]
    for k in range(len(sequences)):
        lines = lines_of(text_of(sequences, k))
        if lines and not lines[-1].endswith("\n") and vocabulary.kind in ("words", "whitespace"):
            lines[-1] += "\n"
        tokens += encoded(lines, vocabulary)
        characters += map(len, lines)
        texts.append(len(tokens))
    bounds = np.concatenate([[0], np.cumsum([len(one) for one in tokens], dtype=np.int64)])
    joined = np.concatenate(tokens) if tokens else np.empty(0, dtype=np.int32)
    strange = joined == UNKNOWN
    joined = np.where(strange, np.int32(unknown_of(vocabulary)), joined)
    return Stream(
        tokens=joined,
        texts=bounds[texts],
        lines=bounds,
        characters=np.array(characters, dtype=np.int64),
        start=start_of(vocabulary),
        unknown=int(strange.sum()),
    )


def prompted(prompt: str, vocabulary: Vocabulary) -> tuple[Array, list[str]]:
    """A prompt as it is read, a line's end before it, and what of it training did not know.

    Unknown words are read as the unknown one; unknown characters, whose vector nothing was learnt
    about, are left out.
    """
    found = encoded(lines_of(prompt), vocabulary)
    tokens = np.concatenate([np.array([start_of(vocabulary)]), *found]).astype(np.int32)
    strange = tokens == UNKNOWN
    if vocabulary.kind == "characters":
        known = set(vocabulary.tokens)
        return tokens[~strange], sorted({one for one in prompt if one not in known})
    words = prompt.split() if strange.any() else []
    unknown = [word for word in dict.fromkeys(words) if UNKNOWN in vocabulary.encode([word])[0]]
    return np.where(strange, np.int32(unknown_of(vocabulary)), tokens), unknown


def never_written(vocabulary: Vocabulary) -> Array:
    """Tokens that are no text, [tokens] int64."""
    ends = [] if vocabulary.kind in ("words", "whitespace") else [END]
    return np.array([PAD, UNKNOWN, BEGIN, *ends])


def written(tokens: Iterable[int], vocabulary: Vocabulary, *, begun: bool = False) -> Iterator[str]:
    """The text of tokens, piece by piece as they come.

    `begun` says that a word stands before the first one, in the same line.
    """
    if vocabulary.kind in ("words", "whitespace"):
        return _words(tokens, vocabulary, begun)
    return _letters(tokens, vocabulary)


def _words(tokens: Iterable[int], vocabulary: Vocabulary, begun: bool) -> Iterator[str]:
    tidy = vocabulary.kind == "words"
    close = not begun  # whether the next word follows without a space
    for token in tokens:
        word = "\n" if token == END else vocabulary.tokens[token]
        yield word if close or word == "\n" or (tidy and word in CLOSING) else f" {word}"
        close = word == "\n" or (tidy and word in OPENING)


def _letters(tokens: Iterable[int], vocabulary: Vocabulary) -> Iterator[str]:
    waiting: list[int] = []
    for token in tokens:
        waiting.append(token)
        text = vocabulary.decode(waiting)
        if not text.endswith("\ufffd") or len(waiting) >= HELD:  # the bytes are whole
            yield text
            waiting = []
    if waiting:
        yield vocabulary.decode(waiting)
