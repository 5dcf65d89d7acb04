"""translate: machine translation with an encoder, attention and a decoder."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from gatewise import metrics
from gatewise.baselines.dictionary import by_words, fit_dictionary
from gatewise.data import vocabulary
from gatewise.data.batches import Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import fit_scale
from gatewise.data.sequences import Array, Sequences, texts_of
from gatewise.data.splits import Splits, split_by_sequence
from gatewise.data.vocabulary import (
    BEGIN,
    END,
    PAD,
    UNKNOWN,
    Vocabulary,
    fit_vocabulary,
    resolved,
)
from gatewise.errors import ConfigError, DataError
from gatewise.settings import Experiment, names
from gatewise.tasks.task import NETWORK, Baseline, Measure, Task, sizes_of
from gatewise.tasks.translate import reading
from gatewise.tasks.translate.fitted import Fitted
from gatewise.tasks.translate.search import Hypothesis
from gatewise.tasks.translate.space import space

log = logging.getLogger("gatewise")

COPY, DICTIONARY = "copy of the source", "word for word"
BEAMS = 5  # default beam size
DROPOUT = 0.3  # default dropout before the logits
MAX_TOKENS = 2_048  # default of training.max_tokens
# Of few pairs, 8,000 subwords occur too seldom to be learned, and an epoch has few large batches.
FEW = 10_000  # pairs
# docs/log.md and experiments/multi30k.toml
PAIRS_IT_TAKES = (
    "A network that learns to translate from nothing needs many pairs: on the captions of Multi30k "
    "it took 5,000 to be level with word for word, and 29,000 to reach twice its BLEU."
)
VOCABULARY_OF_FEW, MAX_TOKENS_OF_FEW, LEARNING_RATE_OF_FEW, DROPOUT_OF_FEW = 2_000, 1_024, 2e-3, 0.4
ORDERS = 4  # n-gram orders of BLEU
SIDES = ("source", "target")
SHOWN_TOKENS = 40  # of a text in a plot of attention, at most


@dataclass(frozen=True)
class Translation:
    """A translation; a baseline gives the text only."""

    text: str
    tokens: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    attention: Array | None = None  # [tokens, source]


SETTINGS = vocabulary.SETTINGS | names(
    data="label text group",
    split="seed test_ids",
    preparation="max_length truncation shared_vocabulary",
    task="beam_size length_penalty",
    training="max_tokens label_smoothing",
)


def resolve(
    experiment: Experiment, sequences: Sequences, _train: Sequences
) -> tuple[Experiment, list[str]]:
    """Fill in tokenizer, beam size, network, batch size and epochs by the number of pairs."""
    count, network, training = len(sequences), experiment.network, experiment.training
    size = 64 if count < 2_000 else 128 if count < 10_000 else 256 if count < 50_000 else 512
    units = network.units or (size, size)
    few = count < FEW and training.quality != "fast"
    dropout = DROPOUT_OF_FEW if few else DROPOUT
    network = replace(
        network,
        units=units,
        embedding_dim=network.embedding_dim or min(256, units[-1]),
        bidirectional=True,  # the encoder always reads in both directions
        dense_dropout=network.dense_dropout if network.dense_dropout >= 0 else dropout,
    )
    if not training.epochs:
        training = replace(training, epochs=int(np.clip(600_000 // (count + 1), 8, 60)))
    if not training.batch_size:
        training = replace(
            training, batch_size=int(np.clip(2 ** round(np.log2(count / 60)), 8, 64))
        )
    if not training.max_tokens:
        training = replace(training, max_tokens=MAX_TOKENS_OF_FEW if few else MAX_TOKENS)
    if few and not training.learning_rate and training.optimizer == "adam":
        training = replace(training, learning_rate=LEARNING_RATE_OF_FEW)
    settings, task = experiment.preparation, experiment.task
    kind = "bpe" if settings.tokenizer == "auto" else settings.tokenizer
    if few and kind == "bpe" and not settings.vocabulary_size:
        settings = replace(settings, vocabulary_size=VOCABULARY_OF_FEW)
    settings = resolved(settings, kind)
    task = replace(task, beam_size=task.beam_size or BEAMS)
    return replace(
        experiment, preparation=settings, task=task, network=network, training=training
    ), []


def resolve_fitted(experiment: Experiment, preparation: Preparation[Fitted]) -> Experiment:
    """Fill in the maximum length of a text."""
    return experiment.having("preparation", max_length=preparation.own.max_length)


def split(sequences: Sequences, experiment: Experiment, test: bool) -> Splits:
    """Split at random; pairs with the same source text or group stay together."""
    settings, groups = experiment.split, sequences.groups
    if sequences.labels is None:
        raise ConfigError(
            f"{sequences.source} has no translations. Give pairs of texts: a table of two columns, "
            "or two files (--target gives the ending of the second)."
        )
    if settings.by in ("label", "time"):
        raise ConfigError(
            f"split.by = {settings.by} is not available in translate. Choose random or group."
        )
    if groups is None and (settings.by == "group" or experiment.data.group):
        raise ConfigError(
            f"{sequences.source} has no groups. Give a table with a column of groups (data.group), "
            "or leave data.group and split.by out."
        )
    sources = np.array(texts_of(sequences), dtype=object)
    if groups is None and len(np.unique(sources)) < len(sources):
        groups = sources
    bare = replace(sequences, labels=None, groups=groups)
    splits = split_by_sequence(bare, replace(settings, by="auto"), test=test)

    def whole(part: Sequences | None) -> Sequences | None:
        if part is None:
            return None
        return sequences.chosen(np.searchsorted(sequences.starts, part.starts))

    train = whole(splits.train)
    assert train is not None
    return Splits(train, whole(splits.validation), whole(splits.test))


def prepare(train: Sequences, experiment: Experiment) -> tuple[Preparation[Fitted], list[str]]:
    """Fit the vocabularies and the maximum lengths on the training part."""
    assert train.labels is not None
    settings = experiment.preparation
    kind = settings.tokenizer
    sides = {"source": texts_of(train), "target": [str(one) for one in train.labels]}

    def fitted(texts: list[str]) -> Vocabulary:
        return fit_vocabulary(
            texts, kind, most=settings.vocabulary_size, min_frequency=settings.min_frequency
        )

    if settings.shared_vocabulary:
        vocabularies = {"source": fitted([*sides["source"], *sides["target"]])}
    else:
        vocabularies = {name: fitted(texts) for name, texts in sides.items()}
    target = vocabularies.get("target", vocabularies["source"])
    lengths = [
        np.array([len(one) for one in vocabulary.encode(sides[name])])
        for name, vocabulary in zip(SIDES, (vocabularies["source"], target), strict=True)
    ]
    max_length = settings.max_length
    if not max_length:
        # Outliers cost padding and memory, and add little training signal.
        limit = 2 * int(np.quantile(np.concatenate(lengths), 0.995)) + 10
        max_length = int(min(max(one.max() for one in lengths), limit))
    ratio = float(np.quantile(lengths[1] / (lengths[0] + 5), 0.999)) * 1.5
    sizes = " and ".join(f"{len(one):,}" for one in vocabularies.values())
    shared = "shared by both languages" if settings.shared_vocabulary else "source and target"
    notes = [f"the vocabulary has {sizes} {_kind_in_words(kind)}, {shared}"]
    notes += _long_pairs_note(train, np.maximum(*lengths), max_length, settings.truncation)
    return Preparation(
        task="translate",
        kind="text",
        columns=train.columns,
        used=train.columns,
        scale=fit_scale(train, "none", "all"),
        own=Fitted(
            vocabularies=vocabularies,
            max_length=max_length,
            max_length_ratio=ratio,
            truncation=settings.truncation,
        ),
        padded=True,
    ), notes


def _kind_in_words(kind: str) -> str:
    return {"bpe": "byte pairs", "whitespace": "words"}.get(kind, kind)


def _long_pairs_note(
    train: Sequences, lengths: Array, max_length: int, truncation: str
) -> list[str]:
    """A note on the pairs that are too long for training.

    Raises:
        DataError: every pair is too long, or one is and `truncation` is "error".
    """
    over = np.flatnonzero(lengths > max_length)
    if not len(over):
        return []
    if len(over) == len(lengths):
        raise DataError(
            f"{train.source}: every training pair has more than {max_length} tokens on one side, "
            f"the shortest {lengths.min()}. Raise preparation.max_length, or leave it out."
        )
    if truncation == "error":
        raise DataError(
            f"{train.source}: pair '{train.ids[over[0]]}' has {lengths[over[0]]} tokens on one "
            f"side, but preparation.max_length is {max_length}. Raise it, or set "
            "preparation.truncation = end, which leaves such pairs out of training."
        )
    return [
        f"{len(over):,} of {len(lengths):,} training pairs have more than {max_length} tokens on "
        "one side and are left out (preparation.max_length)"
    ]


def examples(
    sequences: Sequences, preparation: Preparation[Fitted], _experiment: Experiment, role: str
) -> Examples[Sequences]:
    """The tokens of both sides.

    Inputs are `source` and, for training and validation, `target`, which starts with [begin].
    Targets end with [end]. All are [batch, length] int32, padded with 0.
    """
    source = preparation.own.vocabulary("source").encode(texts_of(sequences))
    with_target = role in ("train", "validation") and sequences.labels is not None
    target = [np.array([], np.int32)] * len(source)
    if with_target:
        assert sequences.labels is not None
        target = preparation.own.vocabulary("target").encode([str(one) for one in sequences.labels])
    if role == "train":
        lengths = np.maximum([len(one) for one in source], [len(one) for one in target])
        indices = np.flatnonzero((lengths <= preparation.own.max_length) & (lengths > 0))
        sequences = sequences.chosen(indices)
        source, target = ([side[k] for k in indices] for side in (source, target))
    source = _truncated(source, preparation, sequences)
    most = preparation.own.max_length
    shifted = [np.concatenate([[BEGIN], one[:most]]).astype(np.int32) for one in target]
    outputs = [np.concatenate([one[:most], [END]]).astype(np.int32) for one in target]
    # Keras warns of a softmax over a single position.
    lengths = np.array([max(2, len(one)) for one in source], dtype=np.int64)
    if with_target:
        lengths = np.maximum(lengths, [len(one) for one in outputs])

    def inputs(indices: Array, length: int) -> dict[str, Array]:
        arrays = {"source": padded(source, indices, length)}
        return arrays | ({"target": padded(shifted, indices, length)} if with_target else {})

    def targets(indices: Array, length: int) -> Array:
        return padded(outputs, indices, length)

    return Examples(sequences, lengths, inputs, targets)


def _truncated(
    tokens: list[Array], preparation: Preparation[Fitted], sequences: Sequences
) -> list[Array]:
    """The texts truncated to the maximum length; empty ones become one unknown token."""
    most = preparation.own.max_length
    over = [k for k, one in enumerate(tokens) if len(one) > most]
    if over:
        if preparation.own.truncation == "error":
            raise DataError(
                f"{sequences.source}: text '{sequences.ids[over[0]]}' has "
                f"{len(tokens[over[0]])} tokens, but preparation.max_length is {most}. Split the "
                "text into sentences."
            )
        log.info(
            "%s: %s of %s texts have more than %d tokens and are truncated at the %s. Put each "
            "sentence on its own line.",
            sequences.source,
            f"{len(over):,}",
            f"{len(tokens):,}",
            most,
            preparation.own.truncation,
        )
    unknown = np.array([UNKNOWN], dtype=np.int32)
    at_end = preparation.own.truncation != "start"
    truncated = [one[:most] if at_end else one[-most:] for one in tokens]
    return [one if len(one) else unknown for one in truncated]


def padded(rows: list[Array], indices: Array, length: int) -> Array:
    """The chosen rows as [chosen, length] int32, padded with zeros at the end."""
    batch = np.full((len(indices), length), PAD, dtype=np.int32)
    for row, k in enumerate(indices):
        batch[row, : len(rows[k])] = rows[k]
    return batch


def sizes(examples: Examples[Sequences]) -> dict[str, int]:
    """The number of texts and the bytes of the source."""
    return sizes_of(examples.source)


def shapes(_examples: Examples[Sequences], preparation: Preparation[Fitted]) -> Shapes:
    """Inputs: source and target tokens; outputs: logits of the target vocabulary at each step."""
    return fitted_shapes(preparation)


def fitted_shapes(preparation: Preparation[Fitted]) -> Shapes:
    """The same shapes."""
    return shapes_of(preparation.own)


def shapes_of(fitted: Fitted) -> Shapes:
    """The shapes of the network; a shared vocabulary is listed under the source only."""
    return Shapes(
        inputs={side: (None,) for side in SIDES},
        output=(len(fitted.vocabulary("target")),),
        vocabulary={side: len(one) for side, one in fitted.vocabularies.items()},
    )


def calibrate(
    preparation: Preparation[Fitted], outputs: list[Hypothesis], examples: Examples[Sequences]
) -> Preparation[Fitted]:
    """The preparation unchanged; logs the BLEU of the search on the validation part."""
    bleu = metrics.bleu(
        references(examples), _texts(postprocess(outputs, examples, preparation, {}))
    )
    log.info("Validation: BLEU %.1f.", bleu)
    return preparation


def postprocess(
    outputs: list[Hypothesis],
    examples: Examples[Sequences],
    preparation: Preparation[Fitted],
    _state: Mapping[str, Any],
) -> list[Translation]:
    """The translation of each text; an empty text has an empty translation."""
    vocabularies = [preparation.own.vocabulary(side) for side in SIDES]
    from_end = preparation.own.truncation == "start"
    return [
        _translation(best, text, vocabularies, from_end=from_end) if text else Translation("")
        for best, text in zip(outputs, texts_of(examples.source), strict=True)
    ]


def _translation(
    hypothesis: Hypothesis, text: str, vocabularies: list[Vocabulary], *, from_end: bool
) -> Translation:
    """The text of a hypothesis.

    An unknown token is replaced by the source token with the highest attention weight (Luong et al.
    2015b). `from_end`: long texts were truncated at the start.
    """
    source, target = vocabularies
    encoded = source.encode([text])[0]
    count = hypothesis.attention.shape[1]
    start = max(0, len(encoded) - count) if from_end else 0
    encoded = encoded[start : start + count]
    source_tokens = [source.display(one) for one in encoded] or [""]
    target_tokens = [target.display(one) for one in hypothesis.tokens]
    attention = hypothesis.attention[:, : len(source_tokens)]
    if target.kind == "bpe":
        translated = target.decode(hypothesis.tokens)
    else:
        pieces = source.pieces(text)[start : start + count] or [text]
        target_tokens = [
            pieces[at] if one == UNKNOWN else name
            for one, name, at in zip(
                hypothesis.tokens, target_tokens, attention.argmax(axis=1), strict=True
            )
        ]
        translated = ("" if target.kind == "characters" else " ").join(target_tokens)
    return Translation(
        " ".join(translated.split()), tuple(target_tokens), tuple(source_tokens), attention
    )


def references(examples: Examples[Sequences]) -> list[str]:
    """The reference translations."""
    assert examples.source.labels is not None
    return [str(one) for one in examples.source.labels]


def _texts(translations: Iterable[Translation]) -> list[str]:
    return [one.text for one in translations]


def fit_baselines(
    train: Examples[Sequences],
    _valid: Examples[Sequences] | None,
    _preparation: Preparation[Fitted],
) -> dict[str, Any]:
    """Fit a dictionary of words by IBM model 1."""
    return {"dictionary": fit_dictionary(texts_of(train.source), references(train))}


def make_baselines(
    state: Mapping[str, Any], _preparation: Preparation[Fitted], _train: Examples[Sequences] | None
) -> list[Baseline[Sequences, list[Translation]]]:
    """A copy of the source, and a word-for-word translation."""

    def by_source(
        change: Callable[[str], str],
    ) -> Callable[[Examples[Sequences]], list[Translation]]:
        def predict(examples: Examples[Sequences]) -> list[Translation]:
            return [Translation(change(text)) for text in texts_of(examples.source)]

        return predict

    return [
        Baseline(COPY, by_source(lambda text: text)),
        Baseline(DICTIONARY, by_source(lambda text: by_words(text, state["dictionary"]))),
    ]


def score(
    translations: list[Translation],
    examples: Examples[Sequences],
    _preparation: Preparation[Fitted],
    _experiment: Experiment,
) -> dict[str, float]:
    """BLEU and chrF of all texts, from 0 to 100."""
    texts, expected = _texts(translations), references(examples)
    return {"bleu": metrics.bleu(expected, texts), "chrf": metrics.chrf(expected, texts)}


def counts_of(texts: list[str], expected: list[str]) -> Array:
    """The statistics of BLEU, one row per text: [texts, 2 + 2 * ORDERS].

    They are the lengths of translation and reference, then the numbers of matching n-grams and of
    all n-grams for each order.
    """
    bleu = metrics.sacrebleu().BLEU(effective_order=True)
    scores = [bleu.sentence_score(text, [one]) for text, one in zip(texts, expected, strict=True)]
    rows = [[one.sys_len, one.ref_len, *one.counts, *one.totals] for one in scores]
    return np.array(rows, dtype=np.float64)


def bleu_of(sums: Array) -> Array:
    """The corpus BLEU of sacrebleu from sums of `counts_of`, [..., 2 + 2 * ORDERS] -> [...].

    Smoothing is "exp": the first order without a match counts as half a match, the next one as a
    quarter.
    """
    sums = np.asarray(sums, dtype=np.float64)
    length, reference = sums[..., 0], sums[..., 1]
    matches, total = sums[..., 2 : 2 + ORDERS], sums[..., 2 + ORDERS :]
    none = (matches == 0) & (total > 0)
    matches = np.where(none, 0.5 ** np.cumsum(none, axis=-1), matches)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.log(matches / total).mean(axis=-1)
        brevity = np.where(length < reference, 1 - reference / length, 0.0)
        value = 100 * np.exp(precision + brevity)
    defined = (total > 0).all(axis=-1) & (sums[..., 2] > 0)
    result: Array = np.where(defined, value, 0.0)
    return result


def measures(
    examples: Examples[Sequences], _preparation: Preparation[Fitted], _experiment: Experiment
) -> list[Measure[list[Translation]]]:
    """BLEU; texts of one group are a cluster (paired bootstrap, Koehn 2004)."""
    groups = examples.source.groups
    groups = groups if groups is not None else np.arange(len(examples.source))
    _, clusters = np.unique(groups, return_inverse=True)
    expected = references(examples)

    def statistics(translations: list[Translation]) -> Array:
        return counts_of(_texts(translations), expected)

    return [Measure("bleu", statistics, bleu_of, clusters)]


def details(
    answers: dict[str, list[Translation]],
    examples: Examples[Sequences],
    _preparation: Preparation[Fitted],
    experiment: Experiment,
) -> dict[str, Any]:
    """BLEU by length, and typical and worst examples with their attention."""
    translations, expected, sources = (
        answers[NETWORK],
        references(examples),
        texts_of(examples.source),
    )
    sacrebleu = metrics.sacrebleu()
    signatures = {}
    for name, metric in (("bleu", sacrebleu.BLEU()), ("chrf", sacrebleu.CHRF())):
        metric.corpus_score(_texts(translations), [expected])
        signatures[name] = str(metric.get_signature())
    log.info("sacrebleu: BLEU %(bleu)s, chrF %(chrf)s", signatures)
    chrf = sacrebleu.CHRF()
    scores = [
        chrf.sentence_score(one.text, [other]).score
        for one, other in zip(translations, expected, strict=True)
    ]
    order = np.argsort(scores, kind="stable")
    count = min(experiment.report.examples, len(order))
    middle = order[len(order) // 4 : max(len(order) // 4 + 1, len(order) - len(order) // 4)]
    typical = np.random.default_rng(0).permutation(middle)[:count]
    chosen = [*((k, "typical") for k in typical), *((k, "worst") for k in order[:count])]
    return {
        "signatures": signatures,
        "by_length": _by_length(answers, sources, expected),
        "examples": [
            {
                "kind": kind,
                "id": str(examples.source.ids[k]),
                "source": sources[k],
                "reference": expected[k],
                "answer": translations[k].text,
                "word_for_word": answers[DICTIONARY][k].text if DICTIONARY in answers else "",
                "chrf": float(scores[k]),
                **_attention(translations[k]),
            }
            for k, kind in chosen
        ],
    }


def _attention(one: Translation) -> dict[str, Any]:
    """The attention of one translation, as lists."""
    if one.attention is None:
        return {}
    most = SHOWN_TOKENS
    return {
        "tokens": list(one.tokens[:most]),
        "source_tokens": list(one.source[:most]),
        "attention": np.round(one.attention[:most, :most], 3).tolist(),
    }


def _by_length(
    answers: dict[str, list[Translation]], sources: list[str], expected: list[str]
) -> list[dict[str, Any]]:
    """BLEU of each model in bins by the number of source words."""
    lengths = np.array([len(text.split()) for text in sources])
    edges = np.unique(np.quantile(lengths, [0, 0.2, 0.4, 0.6, 0.8, 1.0], method="nearest"))
    bins = np.searchsorted(edges[1:-1], lengths, side="left")
    rows = []
    for one in np.unique(bins):
        indices = np.flatnonzero(bins == one)
        bleu = {
            name: metrics.bleu(
                [expected[k] for k in indices], [translations[k].text for k in indices]
            )
            for name, translations in answers.items()
        }
        least, most = int(lengths[indices].min()), int(lengths[indices].max())
        rows.append({"from": least, "to": most, "count": len(indices), "bleu": bleu})
    return rows


def table(
    translations: list[Translation],
    examples: Examples[Sequences],
    _preparation: Preparation[Fitted],
    indices: Array,
) -> pl.DataFrame:
    """One row per text: id, source, translation, and the reference if known."""
    texts = examples.source.chosen(indices)
    columns: dict[str, Any] = {
        "id": texts.ids.astype(str),
        "source": texts_of(texts),
        "translation": _texts(translations[k] for k in indices),
    }
    if texts.labels is not None:
        columns["reference"] = [str(one) for one in texts.labels]
    return pl.DataFrame(columns)


def quick(
    preparation: Preparation[Fitted], experiment: Experiment
) -> tuple[Preparation[Fitted], Experiment]:
    """The same settings with greedy search."""
    return preparation, experiment.having("task", beam_size=1)


def schema(_preparation: Preparation[Fitted], _experiment: Experiment) -> dict[str, Any]:
    """The columns of `table` for new data."""
    return dict.fromkeys(("id", "source", "translation"), pl.String)


def prediction_inputs(sequences: Sequences, _preparation: Preparation[Fitted]) -> Sequences:
    """The texts unchanged."""
    return sequences


TASK = Task(
    name="translate",
    settings={"text": SETTINGS},
    fitted=Fitted,
    recognise=reading.RECOGNISE,
    read=reading.read,
    split=split,
    resolve=resolve,
    space=space,
    resolve_fitted=resolve_fitted,
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
    details=details,
    table=table,
    schema=schema,
    prediction_inputs=prediction_inputs,
    quick=quick,
    labelled=True,
    lines="translation",
    unless_better=PAIRS_IT_TAKES,
    hint="For two parallel files, a text and its translation, give --task translate.",
)
