"""tag: a label for each token of a sentence.

Predictions (`details.Tagged`) are the tags of all sentences, one after another, with their
probabilities.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from gatewise import metrics
from gatewise.data.batches import Examples, Shapes, gather
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import Scale
from gatewise.data.sequences import Array, Sequences
from gatewise.data.splits import Splits, split_by_sequence
from gatewise.data.vocabulary import PAD, UNKNOWN, usual_embedding
from gatewise.data.windows import in_pieces
from gatewise.errors import ConfigError, DataError
from gatewise.readers.conll import TAG, TOKEN, tokens_of
from gatewise.settings import Experiment, NetworkSettings, names
from gatewise.tasks.calibration import best_temperature, fit_temperature
from gatewise.tasks.tag import crf, details, reading, spans
from gatewise.tasks.tag.details import Tagged
from gatewise.tasks.tag.fitted import Fitted
from gatewise.tasks.tag.space import space
from gatewise.tasks.task import Baseline, Measure, Sanity, Task, mean_measure, sizes_of

log = logging.getLogger("gatewise")

SYMBOLS = 2  # positions before the first word or character: PAD and UNKNOWN
VOCABULARY_SIZE = 50_000  # default of preparation.vocabulary_size
UNITS = (128,)  # default of network.units
DROPOUT = 0.3  # default of network.dense_dropout
WORD_LENGTH = 16  # characters read of a word; of a longer word, the first and the last 8
MIN_MAX_LENGTH = 64  # tokens; the default of preparation.max_length is at least this
NO_TAG = -1  # the target of padding
SETTINGS = names(
    data="label labels text",
    split="seed test_ids",
    preparation="vocabulary_size min_frequency lowercase max_length",
    task="streaming",
    training="max_tokens networks",
)
FEW = 2_000  # sentences, with which rare tags are first found after many epochs (docs/log.md)
MANY_TAGS = 256  # above, the default is no CRF, whose transitions are the square of it
MIN_DISTINCT = 64  # the smallest number of rows for the distinct words of a batch


def resolve(
    experiment: Experiment, sequences: Sequences, train: Sequences
) -> tuple[Experiment, list[str]]:
    """Fill in the network, the batch size, the epochs and the maximum length of a sentence."""
    notes = []
    training = experiment.training
    count = len(sequences)
    if not training.batch_size:
        size = int(np.clip(2 ** round(np.log2(count / 40 + 1)), 8, 32))
        training = replace(training, batch_size=size)
    if not training.epochs:
        training = replace(training, epochs=int(np.clip(200_000 // (count + 1), 10, 60)))
    if count < FEW and training.patience < 0 and training.quality != "fast":
        training = replace(training, patience=max(3, training.epochs // 3))
    splits_itself = not (experiment.data.validation and experiment.data.test)
    if sequences.groups is not None and experiment.split.by in ("auto", "group") and splits_itself:
        documents = len(np.unique(sequences.groups))
        notes.append(f"the sentences of each of {documents} documents stay in one part (split.by)")
    preparation, lengths = experiment.preparation, train.lengths
    max_length = preparation.max_length
    if not max_length:
        max_length = max(MIN_MAX_LENGTH, int(np.quantile(lengths, 0.99, method="higher")))
    over = int((lengths > max_length).sum())
    if over:
        notes.append(
            f"{over} of {len(train)} training sentences have more than {max_length} tokens and are "
            "read in pieces (preparation.max_length)"
        )
    preparation = replace(
        preparation,
        max_length=max_length,
        vocabulary_size=preparation.vocabulary_size or VOCABULARY_SIZE,
        min_frequency=preparation.min_frequency or 1,
    )
    network = _network(experiment, train)
    experiment = replace(experiment, preparation=preparation, network=network, training=training)
    return experiment, notes


def _network(experiment: Experiment, train: Sequences) -> NetworkSettings:
    """The settings of the network, without those that follow from the vocabulary."""
    network = experiment.network
    kind = network.kind
    if kind == "auto":
        many = len(train.levels[TAG]) > MANY_TAGS
        alone = many or experiment.training.label_smoothing or experiment.task.streaming
        kind = crf.SOFTMAX if alone else crf.CRF
    if network.bidirectional and experiment.task.streaming:
        raise ConfigError(
            "task.streaming reads forwards only, but network.bidirectional reads in both "
            "directions. Leave one of them out."
        )
    if kind == crf.CRF and experiment.task.streaming:
        raise ConfigError(
            "task.streaming tags each token when it comes, but a CRF chooses all tags of a "
            "sentence together. Leave it out, or set network.kind = softmax."
        )
    if kind == crf.CRF and experiment.training.label_smoothing:
        raise ConfigError(
            "training.label_smoothing does not apply to a CRF. Leave it out, or set "
            "network.kind = softmax."
        )
    return replace(
        network,
        kind=kind,
        bidirectional=not experiment.task.streaming,
        units=network.units or UNITS,
        dense_dropout=network.dense_dropout if network.dense_dropout >= 0 else DROPOUT,
    )


def resolve_fitted(experiment: Experiment, preparation: Preparation[Fitted]) -> Experiment:
    """Fill in the size of the word embedding."""
    size = usual_embedding(len(preparation.own.words) + SYMBOLS)
    return experiment.having("network", embedding_dim=experiment.network.embedding_dim or size)


def words(preparation: Preparation[Fitted]) -> tuple[str, ...]:
    """The word at each position of the embedding, "" for the others."""
    return ("",) * SYMBOLS + preparation.own.words


def split(sequences: Sequences, experiment: Experiment, test: bool) -> Splits:
    """Split by sentence at random, or by document if the file marks documents."""
    return split_by_sequence(sequences, experiment.split, test=test)


def prepare(train: Sequences, experiment: Experiment) -> tuple[Preparation[Fitted], list[str]]:
    """Fit tags, words and characters on the training part."""
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
    nothing = np.zeros((1, 0))
    return Preparation(
        task="tag",
        columns=(TOKEN,),
        used=(),
        scale=Scale("none", "all", (), nothing, nothing),
        padded=True,
        kind="tokens",
        own=Fitted(
            classes=tuple(classes),
            tokens=tuple(word for word, _ in counts.most_common()),
            words=tuple(known),
            characters=tuple(letter for letter, _ in letters.most_common()) if spelled else (),
            max_length=settings.max_length,
        ),
    ), []


def examples(
    sequences: Sequences, preparation: Preparation[Fitted], experiment: Experiment, role: str
) -> Examples[Sequences]:
    """Sentences as word indices, with the characters of the distinct words of a batch.

    Inputs are `words` [batch, length] and, with a character LSTM, `characters`
    [distinct, WORD_LENGTH] and `places` [batch, length], the row of each word in `characters`.
    """
    _refuse_other_kinds(sequences)
    pieces = in_pieces(sequences, preparation.own.max_length)
    word_of = _words(pieces, preparation)
    characters_of = _characters(pieces.levels[TOKEN], preparation.own.characters)
    probability = np.zeros(len(word_of))
    if role == "train":
        probability = _dropout_probabilities(pieces, word_of, experiment.network.word_dropout)
    # A separate random stream, because the order of the batches comes from the same seed.
    random = np.random.default_rng((experiment.training.seed, 1))
    classes = None if TAG not in pieces.columns else details.tags_of(pieces, preparation)
    if role in ("validation", "test") and classes is not None:
        _log_unknown_tags(pieces, preparation, role)

    def inputs(indices: Array, length: int) -> dict[str, Array]:
        values, real = gather(pieces, indices, length)
        codes = values[..., 0]  # [chosen, length]
        words = word_of[codes]
        if role == "train":
            words[random.random(codes.shape) < probability[codes]] = UNKNOWN
        if real is not None:
            words[~real] = PAD
        if characters_of is None:
            return {"words": words}
        distinct, places = np.unique(codes, return_inverse=True)
        spelled = np.full((_padded_count(len(distinct)), WORD_LENGTH), PAD, dtype=np.int32)
        spelled[:, 0] = UNKNOWN  # a row must not be padding only
        spelled[: len(distinct)] = characters_of[distinct]
        places = places.reshape(codes.shape).astype(np.int32)
        return {"words": words, "places": places, "characters": spelled}

    def targets(indices: Array, length: int) -> Array:
        assert classes is not None
        positions = pieces.starts[indices][:, None] + np.arange(length)
        real = positions < pieces.stops[indices][:, None]
        return np.where(real, classes[np.where(real, positions, 0)], NO_TAG).astype(np.int32)

    return Examples(pieces, pieces.lengths, inputs, targets, random=random)


def _refuse_other_kinds(sequences: Sequences) -> None:
    if sequences.kind != "tokens":
        raise DataError(
            f"{sequences.source} holds {sequences.kind}; tag reads tokens. Give CoNLL columns, "
            "CoNLL-U, seq.in with seq.out, or lists of tokens."
        )


def _padded_count(count: int) -> int:
    """The padded number of distinct words; there are few sizes, because each is compiled."""
    size = MIN_DISTINCT
    while size < count:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


def _words(sequences: Sequences, preparation: Preparation[Fitted]) -> Array:
    """The word index of each distinct token, [levels] int32."""
    known = {word: place for place, word in enumerate(preparation.own.words, SYMBOLS)}
    return np.array(
        [
            known.get(token) or known.get(token.lower(), UNKNOWN)
            for token in sequences.levels[TOKEN]
        ],
        dtype=np.int32,
    )


def _characters(tokens: tuple[str, ...], characters: tuple[str, ...]) -> Array | None:
    """Character indices of each distinct token, [levels, WORD_LENGTH]; None without characters."""
    if not characters:
        return None
    known = {letter: place for place, letter in enumerate(characters, SYMBOLS)}
    indices = np.full((len(tokens), WORD_LENGTH), PAD, dtype=np.int32)
    for row, token in zip(indices, tokens, strict=True):
        half = WORD_LENGTH // 2
        kept = token if len(token) <= WORD_LENGTH else token[:half] + token[-half:]
        row[: len(kept)] = [known.get(letter, UNKNOWN) for letter in kept]
    return indices


def _dropout_probabilities(sequences: Sequences, word_of: Array, dropout: float) -> Array:
    """The probability that training reads each distinct token as unknown, [levels].

    It is a / (a + n) for a word that occurs n times (Kiperwasser & Goldberg 2016). The network
    learns from rare words how to tag unknown ones.
    """
    counts = np.zeros(word_of.max() + 1)
    for sentence in sequences:
        np.add.at(counts, word_of[sentence[:, 0]], 1)
    probabilities: Array = dropout / (dropout + np.maximum(counts, 1))
    return probabilities[word_of]


def _log_unknown_tags(sequences: Sequences, preparation: Preparation[Fitted], role: str) -> None:
    """Log the tags that training does not know; no model can predict them."""
    tags = details.truth_of(sequences)
    unknown = Counter(tag for part in tags for tag in part if tag not in preparation.own.classes)
    if unknown:
        names = ", ".join(f"'{name}'" for name in list(unknown)[:5])
        log.info(
            "%d tokens of the %s part have tags that training does not know (%s). They count as "
            "mistakes.",
            *(unknown.total(), role, names),
        )


def sizes(examples: Examples[Sequences]) -> dict[str, int]:
    """The number of sentences (pieces of long ones count separately) and of tokens."""
    return sizes_of(examples.source)


def shapes(train: Examples[Sequences], preparation: Preparation[Fitted]) -> Shapes:
    """The shapes, and the transitions between tags that a CRF starts with."""
    lengths = details.sentences_of(train).lengths
    codes = details.actual_of(train, preparation)
    start = crf.initial_transitions(preparation.own.classes, codes, lengths)
    return replace(fitted_shapes(preparation), initial={"transitions": start})


def fitted_shapes(preparation: Preparation[Fitted]) -> Shapes:
    """The shapes of the inputs, words and their characters, and of the logits of each word."""
    characters = len(preparation.own.characters)
    spelled = {"places": (None,), "characters": (WORD_LENGTH,)} if characters else {}
    return Shapes(
        inputs={"words": (None,), **spelled},
        output=(len(preparation.own.classes),),
        vocabulary={"words": len(preparation.own.words) + SYMBOLS}
        | ({"characters": characters + SYMBOLS} if characters else {}),
    )


def calibrate(
    preparation: Preparation[Fitted], outputs: crf.Scores, examples: Examples[Sequences]
) -> Preparation[Fitted]:
    """Fit the temperature that makes the validation tags most likely (Guo et al. 2017)."""
    labels = details.actual_of(examples, preparation)
    known = np.flatnonzero(labels < len(preparation.own.classes))
    if outputs.transitions is None:
        temperature = fit_temperature(outputs.logits[known], labels[known])
    else:

        def nll(temperature: float) -> float:
            own = replace(preparation.own, temperature=temperature)
            probabilities = _probabilities(outputs, examples, replace(preparation, own=own))
            true = np.maximum(probabilities[known, labels[known]], details.MIN_PROBABILITY)
            return float(-np.log(true).mean())

        chosen = _chosen(outputs, examples)
        temperature = 1.0 if (chosen == labels)[known].all() else best_temperature(nll)
    return replace(preparation, own=replace(preparation.own, temperature=temperature))


def postprocess(
    outputs: crf.Scores,
    examples: Examples[Sequences],
    preparation: Preparation[Fitted],
    _state: Mapping[str, Any],
) -> Tagged:
    """Calibrated probabilities, and the tags: with a CRF marginals and best paths."""
    probabilities = _probabilities(outputs, examples, preparation)
    return Tagged(probabilities, _chosen(outputs, examples))


def _probabilities(
    outputs: crf.Scores, examples: Examples[Sequences], preparation: Preparation[Fitted]
) -> Array:
    """The probabilities of the tags at the temperature of the preparation, [tokens, tags]."""
    from scipy.special import softmax

    temperature, transitions = preparation.own.temperature, outputs.transitions
    logits = outputs.logits.astype(np.float64) / temperature
    if transitions is None:
        probabilities: Array = softmax(logits, axis=1)
        return probabilities
    # The pieces of a long sentence are one path.
    lengths = details.sentences_of(examples).lengths
    return crf.by_sentence(crf.marginals, crf.Scores(logits, transitions / temperature), lengths)


def _chosen(outputs: crf.Scores, examples: Examples[Sequences]) -> Array:
    """The class of each token, [tokens]; the temperature does not change it."""
    if outputs.transitions is None:
        chosen: Array = outputs.logits.argmax(axis=1)
        return chosen
    return crf.by_sentence(crf.best_paths, outputs, details.sentences_of(examples).lengths)


def fit_baselines(
    train: Examples[Sequences], _valid: Examples[Sequences] | None, preparation: Preparation[Fitted]
) -> dict[str, Any]:
    """The most frequent tag of each token in its original spelling, and of all tokens."""
    sentences, labels = details.sentences_of(train), details.actual_of(train, preparation)
    codes = details.flat(sentences, sentences.values[:, 0])
    place = {token: k for k, token in enumerate(preparation.own.tokens)}
    of_level = np.array([place.get(token, 0) for token in sentences.levels[TOKEN]])
    table = np.zeros((len(place), len(preparation.own.classes)), dtype=np.int64)
    np.add.at(table, (of_level[codes], labels), 1)
    return {
        "overall": int(table.sum(axis=0).argmax()),
        "tokens": table.argmax(axis=1).tolist(),  # in the order of `Fitted.tokens`
    }


def make_baselines(
    state: Mapping[str, Any], preparation: Preparation[Fitted], _train: Examples[Sequences] | None
) -> list[Baseline[Sequences, Tagged]]:
    """The most frequent tag of each token; an unknown token gets the most frequent tag of all."""
    tag_of = dict(zip(preparation.own.tokens, state["tokens"], strict=True))

    def most_frequent(examples: Examples[Sequences]) -> Tagged:
        sentences = details.sentences_of(examples)
        of_level = np.array(
            [tag_of.get(token, state["overall"]) for token in sentences.levels[TOKEN]]
        )
        chosen = of_level[details.flat(sentences, sentences.values[:, 0])]
        return Tagged(np.eye(len(preparation.own.classes), dtype=np.float32)[chosen], chosen)

    return [Baseline(BASELINE, most_frequent)]


BASELINE = "most frequent tag of the word"


def score(
    predictions: Tagged,
    examples: Examples[Sequences],
    preparation: Preparation[Fitted],
    _experiment: Experiment,
) -> dict[str, float]:
    """Span F1 if tags mark spans, accuracy (also of new words), macro F1, right sentences."""
    actual, chosen = details.actual_of(examples, preparation), predictions.chosen
    new = details.new_words(examples, preparation)
    scores = {}
    if spans.mark_spans(preparation.own.classes):
        counts = spans.counts(
            details.truth_of(details.sentences_of(examples)),
            details.predicted_tags(predictions, examples, preparation),
        )
        scores["span_f1"] = metrics.span_f1(counts)
    return scores | {
        "accuracy": metrics.accuracy(actual, chosen),
        "accuracy_new": metrics.accuracy(actual[new], chosen[new]) if new.any() else float("nan"),
        "f1_macro": metrics.f1_macro(actual, chosen),
        "sentences": metrics.whole_sentences(
            details.by_sentence(details.sentences_of(examples), chosen == actual)
        ),
    }


def measures(
    examples: Examples[Sequences], preparation: Preparation[Fitted], _experiment: Experiment
) -> list[Measure[Tagged]]:
    """Span F1 if tags mark spans, and accuracy; clusters are documents, or else sentences."""
    sentences, actual = details.sentences_of(examples), details.actual_of(examples, preparation)
    whole = sentences.groups if sentences.groups is not None else sentences.first
    _, clusters = np.unique(whole, return_inverse=True)

    def right(predictions: Tagged) -> Array:
        hits: Array = (predictions.chosen == actual).astype(np.float64)
        return hits

    accuracy = mean_measure("accuracy", right, np.repeat(clusters, sentences.lengths))
    if not spans.mark_spans(preparation.own.classes):
        return [accuracy]
    truth = details.truth_of(sentences)
    span_f1: Measure[Tagged] = Measure(
        "span_f1",
        lambda predictions: spans.counts(
            truth, details.predicted_tags(predictions, examples, preparation)
        ),
        lambda sums: metrics.f1(*np.moveaxis(sums, -1, 0)),
        clusters,
    )
    return [span_f1, accuracy]


def table(
    predictions: Tagged,
    examples: Examples[Sequences],
    preparation: Preparation[Fitted],
    indices: Array,
) -> pl.DataFrame:
    """One row per token: id of the sentence, position from 1, token, tag, probability and truth."""
    pieces = examples.source
    tags = np.array(preparation.own.classes)[predictions.chosen]
    predicted, confidence = (
        details.by_sentence(pieces, tags),
        details.by_sentence(pieces, predictions.confidence),
    )
    chosen = pieces.chosen(indices)
    offsets = chosen.starts - chosen.first
    columns: dict[str, Any] = {
        "id": np.repeat(chosen.ids.astype(str), chosen.lengths),
        "position": np.concatenate(
            [np.arange(n) + 1 + offset for n, offset in zip(chosen.lengths, offsets, strict=True)]
        ),
        "token": [one for k in range(len(chosen)) for one in tokens_of(chosen, TOKEN, k)],
        "tag": [one for k in indices for one in predicted[k]],
        "probability": [one for k in indices for one in confidence[k]],
    }
    if TAG in chosen.columns:
        columns["truth"] = [one for part in details.truth_of(chosen) for one in part]
    return pl.DataFrame(columns)


def schema(_preparation: Preparation[Fitted], _experiment: Experiment) -> dict[str, Any]:
    """The columns of `table` for new data."""
    texts = {"token": pl.String, "tag": pl.String}
    return {"id": pl.String, "position": pl.Int64} | texts | {"probability": pl.Float64}


def prediction_inputs(sequences: Sequences, _preparation: Preparation[Fitted]) -> Sequences:
    """Return new sentences unchanged, with their tags if they have any."""
    return sequences


TASK = Task(
    name="tag",
    sanity=Sanity("", ""),
    settings={"tokens": SETTINGS},
    fitted=Fitted,
    recognise=reading.RECOGNISE,
    read=reading.read,
    split=split,
    resolve=resolve,
    space=space,
    resolve_fitted=resolve_fitted,
    words=words,
    prepare=prepare,
    examples=examples,
    sizes=sizes,
    shapes=shapes,
    fitted_shapes=fitted_shapes,
    calibrate=calibrate,
    postprocess=postprocess,
    fit_baselines=fit_baselines,
    baselines=make_baselines,
    metrics=score,
    measures=measures,
    details=details.details,
    table=table,
    schema=schema,
    prediction_inputs=prediction_inputs,
    seeds=True,
)
