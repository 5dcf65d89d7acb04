"""Symbols <-> integers: words, characters or subwords, fitted on the training part only."""

import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gatewise.data.sequences import Array
from gatewise.errors import ArtefactError
from gatewise.extras import require
from gatewise.settings import PreparationSettings, names

PAD, UNKNOWN, BEGIN, END = 0, 1, 2, 3  # the first positions of every vocabulary
# They contain spaces, which no token of a text does.
SPECIAL = ("[ pad ]", "[ unknown ]", "[ begin ]", "[ end ]")
# A less frequent token is unknown.
MIN_FREQUENCY = {"words": 2, "whitespace": 1, "bpe": 1, "characters": 1}
MOST = {"words": 20_000, "whitespace": 50_000, "bpe": 8_000, "characters": 5_000}
SETTINGS = names(
    preparation="tokenizer vocabulary_size min_frequency"
)  # of every task that fits a vocabulary
BATCH = 10_000  # texts per call, because a tokenizer's result is far larger than the text
WORD = r"\w+(?:['’]\w+)*|[^\w\s]"  # "don't" is one word, and so is each punctuation mark


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of texts and their positions; positions 0 to 3 are `SPECIAL`.

    `content` is the JSON of a tokenizer of Hugging Face's `tokenizers`, which can open it alone.
    """

    kind: str  # words, whitespace, characters or bpe
    content: Mapping[str, Any]

    def __len__(self) -> int:
        return int(_opened(self.text).get_vocab_size())

    @functools.cached_property
    def text(self) -> str:
        """The tokenizer as JSON text."""
        return json.dumps(self.content, ensure_ascii=False)

    @functools.cached_property
    def tokens(self) -> tuple[str, ...]:
        """All tokens, each at its position."""
        places = _opened(self.text).get_vocab()
        return tuple(sorted(places, key=places.__getitem__))

    def encode(self, texts: Sequence[str]) -> list[Array]:
        """The positions of each text's tokens, [tokens] int32; empty for a text without tokens."""
        tokenizer, positions = _opened(self.text), []
        for begin in range(0, len(texts), BATCH):
            batch = list(texts[begin : begin + BATCH])
            encodings = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            positions += [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
        return positions

    def pieces(self, text: str) -> list[str]:
        """The stretch of the text behind each of its tokens, as it was written."""
        encoding = _opened(self.text).encode(text, add_special_tokens=False)
        return [text[begin:end] for begin, end in encoding.offsets]

    def written(self, text: str) -> tuple[Array, list[str]]:
        """The positions of the tokens [tokens], and each with the white space before it.

        The texts of all tokens together are the text; the last one holds what is after it.
        """
        encoding = _opened(self.text).encode(text, add_special_tokens=False)
        ends = [0, *(end for _, end in encoding.offsets[:-1]), len(text)]
        parts = [text[a:b] for a, b in zip(ends[:-1], ends[1:], strict=True)]
        return np.array(encoding.ids, dtype=np.int32), parts[: len(encoding.ids)]

    def display(self, position: int) -> str:
        """A token for people to read: · is the space before a word, � is part of a character."""
        if self.kind != "bpe" or position < len(SPECIAL):
            return self.tokens[position]
        return self.decode([position]).replace(" ", "·")

    def decode(self, positions: Iterable[int]) -> str:
        """The text of these tokens, without the special ones except the unknown token."""
        kept = [int(one) for one in positions if one == UNKNOWN or one >= len(SPECIAL)]
        if self.kind == "bpe":
            return str(_opened(self.text).decode(kept))
        return ("" if self.kind == "characters" else " ").join(self.tokens[one] for one in kept)


def resolved(settings: PreparationSettings, kind: Any) -> PreparationSettings:
    """The settings with the kind of token, and with the usual defaults for that kind."""
    most, min_frequency = (
        settings.vocabulary_size or MOST[kind],
        settings.min_frequency or MIN_FREQUENCY[kind],
    )
    return replace(settings, tokenizer=kind, vocabulary_size=most, min_frequency=min_frequency)


def usual_embedding(tokens: int) -> int:
    """The usual embedding size: 12 times the fourth root of the number of tokens, in sixteens.

    >>> usual_embedding(20_000)
    144
    """
    return max(16, 16 * round(12 * math.sqrt(math.sqrt(tokens)) / 16))


@functools.lru_cache(maxsize=8)
def _opened(text: str) -> Any:
    try:
        return _tokenizers().Tokenizer.from_str(text)
    except Exception as error:  # the library raises no narrower class
        reason = str(error).splitlines()[0][:100]
        raise ArtefactError(
            f"The vocabulary of the run is damaged ({reason}). Restore the folder from a backup."
        ) from None


def _tokenizers() -> Any:
    return require("tokenizers", "text", "Reading texts")


def fit_vocabulary(
    texts: Iterable[str],
    kind: str,
    *,
    most: int = 0,
    min_frequency: int = 0,
    lowercase: bool = False,
) -> Vocabulary:
    """Fit the vocabulary of these texts, the most frequent tokens first.

    Args:
        texts: the texts of the training part.
        kind: words (punctuation marks are tokens of their own), whitespace (split at white space),
            characters, or bpe (byte pairs, Sennrich et al. 2016, over bytes: no token is unknown).
        most: the largest number of tokens, including special ones; 0: `MOST`.
        min_frequency: the occurrences that a token needs; 0: two for words, else one.
        lowercase: True to read capital letters as small ones.

    >>> fit_vocabulary(["a rose is a rose"], "words", min_frequency=1).tokens[4:]
    ('a', 'rose', 'is')
    """
    package = _tokenizers()
    normalizers, splitters, trainers = (
        package.normalizers,
        package.pre_tokenizers,
        package.trainers,
    )
    most = most or MOST[kind]
    min_frequency = min_frequency or MIN_FREQUENCY[kind]
    special = list(SPECIAL)
    if kind == "bpe":
        made = package.Tokenizer(package.models.BPE())
        made.pre_tokenizer = splitters.ByteLevel(add_prefix_space=False)
        made.decoder = package.decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=most,
            min_frequency=min_frequency,
            special_tokens=special,
            initial_alphabet=splitters.ByteLevel.alphabet(),
            show_progress=False,
        )
    else:
        made = package.Tokenizer(package.models.WordLevel(unk_token=SPECIAL[UNKNOWN]))
        made.pre_tokenizer = {
            "words": splitters.Split(package.Regex(WORD), "removed", invert=True),
            "whitespace": splitters.WhitespaceSplit(),
            "characters": splitters.Split(package.Regex(r"[\s\S]"), "isolated"),
        }[kind]
        trainer = trainers.WordLevelTrainer(
            vocab_size=most,
            min_frequency=min_frequency,
            special_tokens=special,
            show_progress=False,
        )
    steps = [normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])]
    made.normalizer = normalizers.Sequence(steps)
    made.train_from_iterator(texts, trainer)
    content = json.loads(made.to_str())
    content["added_tokens"] = []  # the tokenizer would search texts for them
    return Vocabulary(kind, content)
