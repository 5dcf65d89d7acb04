"""The code that tasks on whole texts share: a fitted vocabulary and length, and batches."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gatewise.data import vocabulary
from gatewise.data.batches import gather
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences, from_arrays, texts_of
from gatewise.data.vocabulary import SPECIAL, UNKNOWN, Vocabulary, fit_vocabulary
from gatewise.errors import ConfigError, DataError
from gatewise.settings import Experiment, PreparationSettings, names

MAX_TOKENS = 1_000  # tokens; upper limit of the default of preparation.max_length
# The settings of every task on whole texts.
SETTINGS = vocabulary.SETTINGS | names(
    data="text group", preparation="lowercase max_length truncation"
)


def resolved(experiment: Experiment, train: Sequences) -> tuple[Experiment, list[str]]:
    """The settings with the default tokenizer and size of the vocabulary, and a note on them."""
    settings, notes = experiment.preparation, []
    kind: str = settings.tokenizer
    if kind == "auto":
        kind = "words"
        texts = texts_of(train)
        # Names, codes, and languages without spaces: as words, few would occur twice.
        if 2 * sum(len(one.split()) < 2 for one in texts) > len(texts):
            kind = "characters"
            notes.append(
                "most texts have no space, so characters are the tokens (preparation.tokenizer)"
            )
    fitted = vocabulary.resolved(settings, kind)
    return experiment.having("preparation", **vars(fitted)), notes


def fit_tokens(
    train: Sequences, settings: PreparationSettings
) -> tuple[Vocabulary, int, list[str]]:
    """The vocabulary of the training part, the most tokens to read of a text, and notes.

    Raises:
        DataError: a text is too long, and preparation.truncation is "error".
    """
    texts, kind = texts_of(train), settings.tokenizer
    known = fit_vocabulary(
        texts,
        kind,
        most=settings.vocabulary_size,
        min_frequency=settings.min_frequency,
        lowercase=settings.lowercase,
    )
    lengths = np.array([len(one) for one in known.encode(texts)])
    longest = settings.max_length or int(min(MAX_TOKENS, lengths.max()))
    notes = [f"the vocabulary of the training part has {len(known):,} different tokens ({kind})"]
    if over := int((lengths > longest).sum()):
        if settings.truncation == "error":
            where = str(train.ids[int((lengths > longest).argmax())])
            raise DataError(
                f"{train.source}: text '{where}' has {lengths.max()} tokens, but "
                f"preparation.max_length is {longest}. Raise it, or set preparation.truncation "
                "= end."
            )
        notes.append(
            f"{over} of {len(lengths)} training texts have more than {longest} tokens and are "
            f"truncated at the {settings.truncation} (preparation.max_length, "
            "preparation.truncation)"
        )
    return known, longest, notes


def words_of(preparation: Preparation[Any]) -> tuple[str, ...]:
    """The word at each position of the token embedding, "" for the special tokens.

    Raises:
        ConfigError: the tokens are not words, so they have no pretrained vectors.
    """
    vocabulary: Vocabulary = preparation.own.vocabulary
    if vocabulary.kind not in ("words", "whitespace"):
        raise ConfigError(
            f"network.vectors holds vectors of words, but preparation.tokenizer is "
            f"{vocabulary.kind}. Set it to words, or leave network.vectors out."
        )
    special = len(SPECIAL)
    return ("",) * special + vocabulary.tokens[special:]


def tokens_of(texts: Sequences, vocabulary: Vocabulary, *, most: int, truncation: str) -> Sequences:
    """The token indices of each text, truncated; an empty text gets one unknown token."""
    encoded = vocabulary.encode(texts_of(texts))
    kept = [one[-most:] if truncation == "start" else one[:most] for one in encoded]
    nothing = np.array([UNKNOWN], dtype=np.int32)
    return from_arrays([one if len(one) else nothing for one in kept], columns=("token",))


def padded_tokens(tokens: Sequences) -> Callable[[Array, int], dict[str, Array]]:
    """The tokens of each text, padded with zeros."""

    def inputs(indices: Array, length: int) -> dict[str, Array]:
        values, real = gather(tokens, indices, length)
        codes = values[..., 0] if real is None else np.where(real, values[..., 0], 0)
        return {"tokens": codes}

    return inputs
