"""Symbols <-> integers: words, characters or pieces of words, known from the training part only."""

import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gatewise.data.sequences import Array
from gatewise.extras import needed
from gatewise.settings import PreparationSettings, names

PAD, UNKNOWN, BEGIN, END = 0, 1, 2, 3  # the first positions of every vocabulary
# With spaces inside, as no token of a text can be.
SPECIAL = ("[ pad ]", "[ unknown ]", "[ begin ]", "[ end ]")
# A token that occurs less often is unknown.
MIN_FREQUENCY = {"words": 2, "whitespace": 1, "bpe": 1, "characters": 1}
MOST = {"words": 20_000, "whitespace": 50_000, "bpe": 8_000, "characters": 5_000}
SETTINGS = names(
    preparation="tokenizer vocabulary_size min_frequency"
)  # of whatever fits a vocabulary
BATCH = 10_000  # texts in one go: what a tokenizer returns is far larger than its text
WORD = r"\w+(?:['’]\w+)*|[^\w\s]"  # don't is one word; each other sign is one of its own


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a text and their positions; 0 to 3 are `SPECIAL`.

    `content` is the JSON of Hugging Face's `tokenizers`, which opens it by itself.
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
        """Every token, at its position."""
        places = _opened(self.text).get_vocab()
        return tuple(sorted(places, key=places.__getitem__))

    def encode(self, texts: Sequence[str]) -> list[Array]:
        """The positions of each text's tokens, [tokens] int32; a text without any is empty."""
        opened, found = _opened(self.text), []
        for begin in range(0, len(texts), BATCH):
            some = list(texts[begin : begin + BATCH])
            answers = opened.encode_batch_fast(some, add_special_tokens=False)
            found += [np.array(one.ids, dtype=np.int32) for one in answers]
        return found

    def pieces(self, text: str) -> list[str]:
        """What stands in the text at each of its tokens, as it was written."""
        found = _opened(self.text).encode(text, add_special_tokens=False)
        return [text[begin:end] for begin, end in found.offsets]

    def shown(self, position: int) -> str:
        """One token as people read it: · is the space before a word, a part of a letter is �."""
        if self.kind != "bpe" or position < len(SPECIAL):
            return self.tokens[position]
        return self.decode([position]).replace(" ", "·")

    def decode(self, positions: Iterable[int]) -> str:
        """The text of these tokens; special ones are left out, but for the unknown."""
        kept = [int(one) for one in positions if one == UNKNOWN or one >= len(SPECIAL)]
        if self.kind == "bpe":
            return str(_opened(self.text).decode(kept))
        return ("" if self.kind == "characters" else " ").join(self.tokens[one] for one in kept)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, texts and numbers."""
        return {"kind": self.kind, "content": dict(self.content)}

    @staticmethod
    def from_json(given: Mapping[str, Any]) -> "Vocabulary":
        """What `to_json` wrote."""
        return Vocabulary(given["kind"], given["content"])


def resolved(settings: PreparationSettings, kind: Any) -> PreparationSettings:
    """The settings with the kind of token, and what is usual for it where nothing is given."""
    most, min_frequency = (
        settings.vocabulary_size or MOST[kind],
        settings.min_frequency or MIN_FREQUENCY[kind],
    )
    return replace(settings, tokenizer=kind, vocabulary_size=most, min_frequency=min_frequency)


def usual_embedding(tokens: int) -> int:
    """Numbers for each of so many tokens: the fourth root of their number times 12, in sixteens.

    >>> usual_embedding(20_000)
    144
    """
    return max(16, 16 * round(12 * math.sqrt(math.sqrt(tokens)) / 16))


@functools.lru_cache(maxsize=8)
def _opened(text: str) -> Any:
    return _tokenizers().Tokenizer.from_str(text)


def _tokenizers() -> Any:
    return needed("tokenizers", "text", "Reading texts")


def fit_vocabulary(
    texts: Iterable[str],
    kind: str,
    *,
    most: int = 0,
    min_frequency: int = 0,
    lowercase: bool = False,
) -> Vocabulary:
    """The tokens of these texts, the most frequent first.

    Args:
        texts: the training part's.
        kind: words (signs are tokens of their own), whitespace (what stands between white space),
            characters, or bpe (byte pairs, Sennrich et al. 2016, over bytes: nothing is unknown).
        most: how many tokens at most, special ones among them; 0: `MOST`.
        min_frequency: how often a token must occur; 0: twice for words, else once.
        lowercase: whether capital letters are read as small ones.

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
    content["added_tokens"] = []  # they would be looked for in texts, and found
    return Vocabulary(kind, content)
