"""tag: a label for each token of a sentence.

An answer is one array for all tokens of all sentences, end to end: [tokens, tags] probabilities.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from scipy.special import softmax

from gatewise import metrics
from gatewise.data.batches import Examples, Shapes, gather
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import Scale
from gatewise.data.sequences import Array, Sequences
from gatewise.data.splits import Parts, split_by_sequence
from gatewise.data.vocabulary import PAD, UNKNOWN, usual_embedding
from gatewise.errors import DataError
from gatewise.readers.conll import TAG, TOKEN, tokens_of
from gatewise.settings import Experiment, names
from gatewise.tasks.calibration import fit_temperature
from gatewise.tasks.tag import details, spans
from gatewise.tasks.task import Baseline, Measure, Task, mean_measure

log = logging.getLogger("gatewise")

SYMBOLS = 2  # positions before the first word or character: PAD and UNKNOWN
MOST_WORDS = 50_000
UNITS = (128,)  # of the LSTM layers, where the settings do not say
DROPOUT = 0.3  # before the answer, where the settings do not say
LETTERS = 16  # of a word; of a longer one the first half and the last of them
SHORTEST_CUT = 64  # tokens; no sentence shorter than this is cut, whatever training held
NO_TAG = -1  # the target of padding
SETTINGS = names(
    data="label labels text",
    split="seed test_ids",
    preparation="vocabulary_size min_frequency lowercase max_length",
    training="max_tokens label_smoothing",
)
DISTINCT = 64  # words that are spelled in a batch at least; more come in steps of half as many more


def resolve(
    experiment: Experiment, sequences: Sequences, train: Sequences
) -> tuple[Experiment, list[str]]:
    """Fill in network, batch size, epochs, and the longest sentence that is read in one go."""
    notes = []
    training = experiment.training
    count = len(sequences)
    if not training.batch_size:
        size = int(np.clip(2 ** round(np.log2(count / 40 + 1)), 8, 32))
        training = replace(training, batch_size=size)
    if not training.epochs:
        training = replace(training, epochs=int(np.clip(200_000 // (count + 1), 10, 60)))
    cut_here = not (experiment.data.validation and experiment.data.test)
    if sequences.groups is not None and experiment.split.by in ("auto", "group") and cut_here:
        documents = len(np.unique(sequences.groups))
        notes.append(f"the sentences of each of {documents} documents stay in one part (split.by)")
    preparation, lengths = experiment.preparation, train.lengths
    longest = preparation.max_length
    if not longest:
        longest = max(SHORTEST_CUT, int(np.quantile(lengths, 0.99, method="higher")))
    over = int((lengths > longest).sum())
    if over:
        notes.append(
            f"{over} of {len(train)} training sentences have more than {longest} tokens; such ones "
            "are read in pieces (preparation.max_length)"
        )
    preparation = replace(
        preparation,
        max_length=longest,
        vocabulary_size=preparation.vocabulary_size or MOST_WORDS,
        min_frequency=preparation.min_frequency or 1,
    )
    network = experiment.network
    network = replace(
        network,
        bidirectional=True,
        units=network.units or UNITS,
        dense_dropout=network.dense_dropout if network.dense_dropout >= 0 else DROPOUT,
    )
    experiment = replace(experiment, preparation=preparation, network=network, training=training)
    return experiment, notes


def resolve_fitted(experiment: Experiment, preparation: Preparation) -> Experiment:
    """Fill in the size of the vectors of the words."""
    size = usual_embedding(len(preparation.symbols["word"]) + SYMBOLS)
    return experiment.having("network", embedding_dim=experiment.network.embedding_dim or size)


def split(sequences: Sequences, experiment: Experiment, test: bool) -> Parts:
    """Whole sentences at random; whole documents where the file tells them apart."""
    return split_by_sequence(sequences, experiment.split, test=test)


def prepare(train: Sequences, experiment: Experiment) -> tuple[Preparation, list[str]]:
    """Tags, words and characters of the training part, the most frequent first."""
    settings = experiment.preparation
    counts = Counter(word for k in range(len(train)) for word in tokens_of(train, TOKEN, k))
    classes = sorted({tag for k in range(len(train)) for tag in tokens_of(train, TAG, k)})
    if len(classes) < 2:
        raise DataError(
            f"{train.source}: every token of the training part has the tag '{classes[0]}'. "
            "Tagging needs at least two tags."
        )
    words: Counter[str] = Counter()
    for word, count in counts.items():
        words[word.lower() if settings.lowercase else word] += count
    most = words.most_common(settings.vocabulary_size)
    known = [word for word, count in most if count >= settings.min_frequency]
    letters = Counter(letter for word in counts for letter in word)
    spelled = experiment.network.character_units > 0
    symbols = {
        TOKEN: tuple(word for word, _ in counts.most_common()),
        "word": tuple(known),
        "character": tuple(letter for letter, _ in letters.most_common()) if spelled else (),
    }
    nothing = np.zeros((1, 0))
    return Preparation(
        task="tag",
        columns=(TOKEN,),
        used=(),
        scale=Scale("none", "all", (), nothing, nothing),
        classes=tuple(classes),
        padded=True,
        kind="tokens",
        symbols=symbols,
        max_length=settings.max_length,
    ), []


def examples(
    sequences: Sequences, preparation: Preparation, experiment: Experiment, role: str
) -> Examples:
    """Sentences as positions of words, and the letters of the distinct words of a batch.

    Inputs are `words` [batch, length], and where words are spelled `characters` [distinct, LETTERS]
    and `places` [batch, length], where each word stands among those.
    """
    _refuse_other_kinds(sequences)
    pieces = in_pieces(sequences, preparation.max_length)
    word_of = _words(pieces, preparation)
    letters_of = _letters(pieces.levels[TOKEN], preparation.symbols["character"])
    chance = np.zeros(len(word_of))
    if role == "train":
        chance = _chances(pieces, word_of, experiment.network.word_dropout)
    # Not the numbers that deal the batches, which come from the same seed.
    random = np.random.default_rng((experiment.training.seed, 1))
    wanted = None if TAG not in pieces.columns else details.tags_of(pieces, preparation)
    if role in ("validation", "test") and wanted is not None:
        _tell_of_unknown_tags(pieces, preparation, role)

    def inputs(which: Array, length: int) -> dict[str, Array]:
        values, real = gather(pieces, which, length)
        codes = values[..., 0]  # [chosen, length]
        words = word_of[codes]
        if role == "train":
            words[random.random(codes.shape) < chance[codes]] = UNKNOWN
        if real is not None:
            words[~real] = PAD
        if letters_of is None:
            return {"words": words}
        distinct, places = np.unique(codes, return_inverse=True)
        spelled = np.full((_rung(len(distinct)), LETTERS), PAD, dtype=np.int32)
        spelled[:, 0] = UNKNOWN  # a row without any letter would be nothing but padding
        spelled[: len(distinct)] = letters_of[distinct]
        places = places.reshape(codes.shape).astype(np.int32)
        return {"words": words, "places": places, "characters": spelled}

    def targets(which: Array, length: int) -> Array:
        assert wanted is not None
        positions = pieces.starts[which][:, None] + np.arange(length)
        real = positions < pieces.stops[which][:, None]
        return np.where(real, wanted[np.where(real, positions, 0)], NO_TAG).astype(np.int32)

    return Examples(pieces, pieces.lengths, inputs, targets)


def _refuse_other_kinds(sequences: Sequences) -> None:
    if sequences.kind != "tokens":
        raise DataError(
            f"{sequences.source} holds {sequences.kind}; tag reads tokens: CoNLL columns, CoNLL-U, "
            "seq.in with seq.out, or lists of tokens."
        )


def in_pieces(sequences: Sequences, longest: int) -> Sequences:
    """Sentences of more than `longest` tokens as pieces of at most so many, in their order."""
    counts = np.maximum(1, -(-sequences.lengths // longest))
    which = np.repeat(np.arange(len(sequences)), counts)
    number = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    pieces = sequences.chosen(which)
    starts = pieces.starts + number * longest
    return pieces.between(starts, np.minimum(starts + longest, pieces.stops))


def _rung(count: int) -> int:
    """Words that are spelled in a batch of `count`: few different sizes, for each is compiled."""
    size = DISTINCT
    while size < count:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


def _words(sequences: Sequences, preparation: Preparation) -> Array:
    """The position of each distinct token's word, [levels] int32."""
    known = {word: place for place, word in enumerate(preparation.symbols["word"], SYMBOLS)}
    return np.array(
        [
            known.get(token) or known.get(token.lower(), UNKNOWN)
            for token in sequences.levels[TOKEN]
        ],
        dtype=np.int32,
    )


def _letters(tokens: tuple[str, ...], characters: tuple[str, ...]) -> Array | None:
    """The positions of each distinct token's letters, [levels, LETTERS]; None: not spelled."""
    if not characters:
        return None
    known = {letter: place for place, letter in enumerate(characters, SYMBOLS)}
    found = np.full((len(tokens), LETTERS), PAD, dtype=np.int32)
    for row, token in zip(found, tokens, strict=True):
        half = LETTERS // 2
        kept = token if len(token) <= LETTERS else token[:half] + token[-half:]
        row[: len(kept)] = [known.get(letter, UNKNOWN) for letter in kept]
    return found


def _chances(sequences: Sequences, word_of: Array, dropout: float) -> Array:
    """How often each distinct token is read as unknown while training, [levels].

    Kiperwasser & Goldberg 2016: a word that occurs n times with the chance a / (a + n). So the
    network learns what to make of words that it does not know, from those that it hardly knows.
    """
    counts = np.zeros(word_of.max() + 1)
    for sentence in sequences:
        np.add.at(counts, word_of[sentence[:, 0]], 1)
    chances: Array = dropout / (dropout + np.maximum(counts, 1))
    return chances[word_of]


def _tell_of_unknown_tags(sequences: Sequences, preparation: Preparation, role: str) -> None:
    """A tag that training did not know cannot be answered: it is judged as a mistake, and said."""
    tags = details.truth_of(sequences)
    strange = Counter(tag for part in tags for tag in part if tag not in preparation.classes)
    if strange:
        names = ", ".join(f"'{name}'" for name in list(strange)[:5])
        log.info(
            "%d tokens of the %s part have tags that training does not know (%s): they count as "
            "mistakes.",
            *(strange.total(), role, names),
        )


def shapes(_some: Examples, preparation: Preparation) -> Shapes:
    """Words, and where words are spelled their letters, in; logits of the tags of each word out."""
    characters = len(preparation.symbols["character"])
    spelled = {"places": (None,), "characters": (LETTERS,)} if characters else {}
    return Shapes(
        inputs={"words": (None,), **spelled},
        output=(len(preparation.classes),),
        vocabulary=len(preparation.symbols["word"]) + SYMBOLS,
        characters=characters + SYMBOLS if characters else 0,
    )


def calibrate(preparation: Preparation, outputs: Array, some: Examples) -> Preparation:
    """The temperature that makes the tags of the validation part most likely (Guo et al. 2017)."""
    labels = details.actual_of(some, preparation)
    known = labels < len(preparation.classes)
    return replace(preparation, temperature=fit_temperature(outputs[known], labels[known]))


def answer(
    outputs: Array, _some: Examples, preparation: Preparation, _state: Mapping[str, Any]
) -> Array:
    """Calibrated probabilities, [tokens, tags]."""
    found: Array = softmax(outputs.astype(np.float64) / preparation.temperature, axis=1)
    return found


def fit_baselines(
    train: Examples, _valid: Examples | None, preparation: Preparation
) -> dict[str, Any]:
    """The most frequent tag of each token as training spells it, and of all tokens together."""
    sentences, labels = details.sentences_of(train), details.actual_of(train, preparation)
    codes = details.flat(sentences, sentences.values[:, 0])
    place = {token: k for k, token in enumerate(preparation.symbols[TOKEN])}
    of_level = np.array([place.get(token, 0) for token in sentences.levels[TOKEN]])
    table = np.zeros((len(place), len(preparation.classes)), dtype=np.int64)
    np.add.at(table, (of_level[codes], labels), 1)
    return {
        "overall": int(table.sum(axis=0).argmax()),
        "tokens": table.argmax(axis=1).tolist(),  # in the order of preparation.symbols
    }


def make_baselines(
    state: Mapping[str, Any], preparation: Preparation, _train: Examples | None
) -> list[Baseline]:
    """The most frequent tag of each token; of one that training did not know, that of all."""
    tag_of = dict(zip(preparation.symbols[TOKEN], state["tokens"], strict=True))

    def most_frequent(some: Examples) -> Array:
        sentences = details.sentences_of(some)
        of_level = np.array(
            [tag_of.get(token, state["overall"]) for token in sentences.levels[TOKEN]]
        )
        chosen = of_level[details.flat(sentences, sentences.values[:, 0])]
        certain: Array = np.eye(len(preparation.classes), dtype=np.float32)[chosen]
        return certain

    return [Baseline(BASELINE, most_frequent)]


BASELINE = "most frequent tag of the word"


def score(
    given: Array, some: Examples, preparation: Preparation, _experiment: Experiment
) -> dict[str, float]:
    """Span F1 where tags mark spans, accuracy, that of new words, macro F1 and whole sentences."""
    actual, chosen = details.actual_of(some, preparation), given.argmax(axis=1)
    new = details.new_words(some, preparation)
    found = {}
    if spans.mark_spans(preparation.classes):
        counts = spans.counts(
            details.truth_of(details.sentences_of(some)), details.told_of(given, some, preparation)
        )
        found["span_f1"] = metrics.span_f1(counts)
    return found | {
        "accuracy": metrics.accuracy(actual, chosen),
        "accuracy_new": metrics.accuracy(actual[new], chosen[new]) if new.any() else float("nan"),
        "f1_macro": metrics.f1_macro(actual, chosen),
        "sentences": metrics.whole_sentences(
            details.by_sentence(details.sentences_of(some), chosen == actual)
        ),
    }


def measures(some: Examples, preparation: Preparation, _experiment: Experiment) -> list[Measure]:
    """Span F1 where tags mark spans, and accuracy; a document, else a sentence, is a cluster."""
    sentences, actual = details.sentences_of(some), details.actual_of(some, preparation)
    whole = sentences.groups if sentences.groups is not None else sentences.first
    _, clusters = np.unique(whole, return_inverse=True)

    def right(given: Array) -> Array:
        hits: Array = (given.argmax(axis=1) == actual).astype(np.float64)
        return hits

    accuracy = mean_measure("accuracy", right, np.repeat(clusters, sentences.lengths))
    if not spans.mark_spans(preparation.classes):
        return [accuracy]
    truth = details.truth_of(sentences)
    span_f1 = Measure(
        "span_f1",
        lambda given: spans.counts(truth, details.told_of(given, some, preparation)),
        lambda sums: metrics.f1(*np.moveaxis(sums, -1, 0)),
        clusters,
    )
    return [span_f1, accuracy]


def table(given: Array, some: Examples, preparation: Preparation, which: Array) -> pl.DataFrame:
    """A row a token: id of its sentence, position from 1, token, tag, probability and truth."""
    pieces = some.of
    assert isinstance(pieces, Sequences)
    tags = np.array(preparation.classes)[given.argmax(axis=1)]
    told, sure = details.by_sentence(pieces, tags), details.by_sentence(pieces, given.max(axis=1))
    chosen = pieces.chosen(which)
    offsets = chosen.starts - chosen.first
    columns: dict[str, Any] = {
        "id": np.repeat(chosen.ids.astype(str), chosen.lengths),
        "position": np.concatenate(
            [np.arange(n) + 1 + offset for n, offset in zip(chosen.lengths, offsets, strict=True)]
        ),
        "token": [one for k in range(len(chosen)) for one in tokens_of(chosen, TOKEN, k)],
        "tag": [one for k in which for one in told[k]],
        "probability": [one for k in which for one in sure[k]],
    }
    if TAG in chosen.columns:
        columns["truth"] = [one for part in details.truth_of(chosen) for one in part]
    return pl.DataFrame(columns)


def ahead(sequences: Sequences, _preparation: Preparation) -> Sequences:
    """New sentences are answered as they are; their tags, if any, are carried along."""
    return sequences


TASK = Task(
    name="tag",
    settings={"tokens": SETTINGS},
    split=split,
    resolve=resolve,
    resolve_fitted=resolve_fitted,
    prepare=prepare,
    examples=examples,
    shapes=shapes,
    calibrate=calibrate,
    answer=answer,
    fit_baselines=fit_baselines,
    baselines=make_baselines,
    metrics=score,
    measures=measures,
    details=details.details,
    table=table,
    ahead=ahead,
)
