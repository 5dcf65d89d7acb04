"""Running text -> one stream of tokens, which knows its lines so that each can be scored."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from gatewise.data.sequences import Array, Sequences, text_of
from gatewise.data.vocabulary import BEGIN, END, PAD, UNKNOWN, Vocabulary

OPENING, CLOSING = "([{“‘«", ".,;:!?)]}%…”’»"  # marks with no space after or before them
MAX_BYTES = 4  # bytes of a character in UTF-8, at most
MAX_LINE = 4096  # characters of a line; a longer one is cut into pieces
MARK = "<unk>"  # how prepared texts write an unknown word


@dataclass(frozen=True)
class TokenStream:
    """Texts as one stream of tokens: text k is `tokens[texts[k]:texts[k + 1]]`; so are lines."""

    tokens: Array  # [tokens] int32
    texts: Array  # [texts + 1] int64
    lines: Array  # [lines + 1] int64
    characters: Array  # [lines] int64, characters of each line, including its end
    start: int  # the token to read before the first one of a text: the end of a line
    unknown: int  # number of tokens that do not occur in the training part

    def __len__(self) -> int:
        return len(self.tokens)

    def before(self) -> Array:
        """The token before each token, from which it is predicted, [tokens] int32."""
        before = np.roll(self.tokens, 1)
        begins = self.texts[:-1]
        before[begins[begins < len(before)]] = self.start
        return before


def lines_of(text: str) -> list[str]:
    r"""The lines of a text with their ends; very long lines are cut into pieces.

    >>> lines_of("a rose\n\nis")
    ['a rose\n', '\n', 'is']
    """
    lines = text.split("\n")
    ended = [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    return list(chain.from_iterable(map(_pieces, ended)))


def _pieces(line: str) -> Iterator[str]:
    """Cut a line that is too long at a space, or anywhere if there is no space."""
    while len(line) > MAX_LINE:
        cut = line.rfind(" ", MAX_LINE // 2, MAX_LINE) + 1 or MAX_LINE
        yield line[:cut]
        line = line[cut:]
    yield line


def all_lines(sequences: Sequences) -> Iterator[str]:
    """The lines of all texts, in order."""
    for k in range(len(sequences)):
        yield from lines_of(text_of(sequences, k))


def start_token(vocabulary: Vocabulary) -> int:
    """The token at the end of a line, which also stands before the first one of a text."""
    if vocabulary.kind in ("words", "whitespace"):
        return END
    tokens = vocabulary.encode(["\n"])[0]
    return int(tokens[0]) if len(tokens) == 1 and tokens[0] != UNKNOWN else BEGIN


def encode_lines(lines: list[str], vocabulary: Vocabulary) -> list[Array]:
    """The tokens of each line; a vocabulary of words has a special token for the end of a line."""
    encoded = vocabulary.encode(lines)
    if vocabulary.kind in ("words", "whitespace"):
        end = np.array([END], dtype=np.int32)
        encoded = [
            np.concatenate([tokens, end]) if line.endswith("\n") else tokens
            for tokens, line in zip(encoded, lines, strict=True)
        ]
    return encoded


def unknown_token(vocabulary: Vocabulary) -> int:
    """The token for unknown words: the mark that the texts themselves use, if they have one."""
    tokens = vocabulary.tokens
    return tokens.index(MARK) if vocabulary.kind == "whitespace" and MARK in tokens else UNKNOWN


def stream_of(sequences: Sequences, vocabulary: Vocabulary) -> TokenStream:
    """All texts of a part as one stream of tokens; each text ends with the end of a line."""
    tokens: list[Array] = []
    characters: list[int] = []
    texts = [0]
    for k in range(len(sequences)):
        lines = lines_of(text_of(sequences, k))
        if lines and not lines[-1].endswith("\n") and vocabulary.kind in ("words", "whitespace"):
            lines[-1] += "\n"
        tokens += encode_lines(lines, vocabulary)
        characters += map(len, lines)
        texts.append(len(tokens))
    bounds = np.concatenate([[0], np.cumsum([len(line) for line in tokens], dtype=np.int64)])
    joined = np.concatenate(tokens) if tokens else np.empty(0, dtype=np.int32)
    unknown = joined == UNKNOWN
    joined = np.where(unknown, np.int32(unknown_token(vocabulary)), joined)
    return TokenStream(
        tokens=joined,
        texts=bounds[texts],
        lines=bounds,
        characters=np.array(characters, dtype=np.int64),
        start=start_token(vocabulary),
        unknown=int(unknown.sum()),
    )


def encode_prompt(prompt: str, vocabulary: Vocabulary) -> tuple[Array, list[str]]:
    """The tokens of a prompt after the end of a line, and its unknown words or characters.

    Unknown words are read as the unknown token. Unknown characters are left out, because their
    embedding was never trained.
    """
    encoded = encode_lines(lines_of(prompt), vocabulary)
    tokens = np.concatenate([np.array([start_token(vocabulary)]), *encoded]).astype(np.int32)
    is_unknown = tokens == UNKNOWN
    if vocabulary.kind == "characters":
        known = set(vocabulary.tokens)
        return tokens[~is_unknown], sorted({letter for letter in prompt if letter not in known})
    words = prompt.split() if is_unknown.any() else []
    unknown = [word for word in dict.fromkeys(words) if UNKNOWN in vocabulary.encode([word])[0]]
    return np.where(is_unknown, np.int32(unknown_token(vocabulary)), tokens), unknown


def special_tokens(vocabulary: Vocabulary) -> Array:
    """The tokens that are not text, [tokens] int64."""
    ends = [] if vocabulary.kind in ("words", "whitespace") else [END]
    return np.array([PAD, UNKNOWN, BEGIN, *ends])


def decode_pieces(
    tokens: Iterable[int], vocabulary: Vocabulary, *, begun: bool = False
) -> Iterator[str]:
    """Yield the text of tokens, piece by piece as they come.

    `begun` means that a word of the same line precedes the first token.
    """
    if vocabulary.kind in ("words", "whitespace"):
        return _words(tokens, vocabulary, begun)
    return _letters(tokens, vocabulary)


def _words(tokens: Iterable[int], vocabulary: Vocabulary, begun: bool) -> Iterator[str]:
    tidy = vocabulary.kind == "words"
    close = not begun  # True if the next word follows without a space
    for token in tokens:
        word = "\n" if token == END else vocabulary.tokens[token]
        yield word if close or word == "\n" or (tidy and word in CLOSING) else f" {word}"
        close = word == "\n" or (tidy and word in OPENING)


def _letters(tokens: Iterable[int], vocabulary: Vocabulary) -> Iterator[str]:
    waiting: list[int] = []
    for token in tokens:
        waiting.append(token)
        text = vocabulary.decode(waiting)
        if not text.endswith("\ufffd") or len(waiting) >= MAX_BYTES:  # the character is complete
            yield text
            waiting = []
    if waiting:
        yield vocabulary.decode(waiting)
