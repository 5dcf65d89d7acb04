"""translate: a text in another language, by an encoder, attention and a decoder."""

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

log = logging.getLogger("gatewise")

COPY, DICTIONARY = "copy of the source", "word for word"
BEAMS = 5  # where the settings do not say
DROPOUT = 0.3  # before the answer, where the settings do not say
ORDERS = 4  # BLEU counts runs of one to four words
SIDES = ("source", "target")
SHOWN_TOKENS = 40  # of a text whose attention is drawn


@dataclass(frozen=True)
class Hypothesis:
    """What the search found for one text."""

    tokens: Array  # [tokens] positions in the target vocabulary, without the end
    score: float  # log probability over the length penalty
    attention: Array  # [tokens, source tokens] where it looked when it wrote each


@dataclass(frozen=True)
class Translation:
    """An answer; a baseline's has its text alone."""

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
    """Fill in beams, tokens, and sizes of network and batches and epochs by the number of pairs."""
    count, network, training = len(sequences), experiment.network, experiment.training
    size = 64 if count < 2_000 else 128 if count < 10_000 else 256 if count < 50_000 else 512
    units = network.units or (size, size)
    network = replace(
        network,
        units=units,
        embedding_dim=network.embedding_dim or min(256, units[-1]),
        bidirectional=True,  # the encoder always reads in both directions
        dense_dropout=network.dense_dropout if network.dense_dropout >= 0 else DROPOUT,
    )
    if not training.epochs:
        training = replace(training, epochs=int(np.clip(600_000 // (count + 1), 8, 60)))
    if not training.batch_size:
        training = replace(
            training, batch_size=int(np.clip(2 ** round(np.log2(count / 60)), 8, 64))
        )
    if not training.max_tokens:
        training = replace(training, max_tokens=2_048)
    settings, task = experiment.preparation, experiment.task
    kind = "bpe" if settings.tokenizer == "auto" else settings.tokenizer
    settings = resolved(settings, kind)
    task = replace(task, beam_size=task.beam_size or BEAMS)
    return replace(
        experiment, preparation=settings, task=task, network=network, training=training
    ), []


def resolve_fitted(experiment: Experiment, preparation: Preparation[Fitted]) -> Experiment:
    """Fill in how many tokens of a text are read."""
    return experiment.having("preparation", max_length=preparation.own.max_length)


def split(sequences: Sequences, experiment: Experiment, test: bool) -> Splits:
    """At random; pairs with the same source text, or of one group, stay in one part."""
    settings, groups = experiment.split, sequences.groups
    if sequences.labels is None:
        raise ConfigError(
            f"{sequences.source}: no translations are known. Give pairs of texts: a table of two "
            "columns, or two files (--target names the second by its ending)."
        )
    if settings.by in ("label", "time"):
        raise ConfigError(
            f"split.by = {settings.by} has no place in translate; pairs of texts are split by = "
            "random, or by = group."
        )
    if groups is None and (settings.by == "group" or experiment.data.group):
        raise ConfigError(
            f"{sequences.source} has no groups. Give a table with a column of them (data.group), "
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
    """The vocabularies, and how long a text and its answer may be; fitted on train only."""
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
    longest = settings.max_length
    if not longest:
        # Outliers would cost padding and memory, and teach little.
        usual = 2 * int(np.quantile(np.concatenate(lengths), 0.995)) + 10
        longest = int(min(max(one.max() for one in lengths), usual))
    ratio = float(np.quantile(lengths[1] / (lengths[0] + 5), 0.999)) * 1.5
    sizes = " and ".join(f"{len(one):,}" for one in vocabularies.values())
    shared = "shared by both languages" if settings.shared_vocabulary else "source and target"
    notes = [f"{sizes} {_kind_in_words(kind)}, {shared}, known from the training part"]
    notes += _told_of_long(train, np.maximum(*lengths), longest, settings.truncation)
    return Preparation(
        task="translate",
        kind="text",
        columns=train.columns,
        used=train.columns,
        scale=fit_scale(train, "none", "all"),
        own=Fitted(
            vocabularies=vocabularies,
            max_length=longest,
            max_length_ratio=ratio,
            truncation=settings.truncation,
        ),
        padded=True,
    ), notes


def _kind_in_words(kind: str) -> str:
    return {"bpe": "pieces of words (byte pairs)", "whitespace": "words"}.get(kind, kind)


def _told_of_long(train: Sequences, lengths: Array, longest: int, truncation: str) -> list[str]:
    """Pairs that are left out for their length, as a note; an error where the settings say so."""
    over = np.flatnonzero(lengths > longest)
    if not len(over):
        return []
    if len(over) == len(lengths):
        raise DataError(
            f"{train.source}: every training pair has more than {longest} tokens on one side, the "
            f"shortest {lengths.min()}. Raise preparation.max_length, or leave it out."
        )
    if truncation == "error":
        raise DataError(
            f"{train.source}: pair '{train.ids[over[0]]}' has {lengths[over[0]]} tokens on one "
            f"side, and preparation.max_length is {longest}. Raise it, or set "
            "preparation.truncation = end, which leaves such pairs out of training."
        )
    return [
        f"{len(over):,} of {len(lengths):,} training pairs have more than {longest} tokens on one "
        "side and are left out (preparation.max_length)"
    ]


def examples(
    sequences: Sequences, preparation: Preparation[Fitted], _experiment: Experiment, role: str
) -> Examples[Sequences]:
    """Tokens of both sides; the target begins with [begin] where it is read, ends with [end].

    Inputs are `source` and, where the network is taught or checked, `target`, [batch, length]
    int32, 0 behind the end; targets are [batch, length] int32.
    """
    source = preparation.own.vocabulary("source").encode(texts_of(sequences))
    taught = role in ("train", "validation") and sequences.labels is not None
    target = [np.array([], np.int32)] * len(source)
    if taught:
        assert sequences.labels is not None
        target = preparation.own.vocabulary("target").encode([str(one) for one in sequences.labels])
    if role == "train":
        lengths = np.maximum([len(one) for one in source], [len(one) for one in target])
        kept = np.flatnonzero((lengths <= preparation.own.max_length) & (lengths > 0))
        sequences = sequences.chosen(kept)
        source, target = ([side[k] for k in kept] for side in (source, target))
    source = _cut(source, preparation, sequences)
    most = preparation.own.max_length
    read = [np.concatenate([[BEGIN], one[:most]]).astype(np.int32) for one in target]
    wanted = [np.concatenate([one[:most], [END]]).astype(np.int32) for one in target]
    # Attention to one place alone is none, and Keras warns of it.
    lengths = np.array([max(2, len(one)) for one in source], dtype=np.int64)
    if taught:
        lengths = np.maximum(lengths, [len(one) for one in wanted])

    def inputs(which: Array, length: int) -> dict[str, Array]:
        given = {"source": padded(source, which, length)}
        return given | ({"target": padded(read, which, length)} if taught else {})

    def targets(which: Array, length: int) -> Array:
        return padded(wanted, which, length)

    return Examples(sequences, lengths, inputs, targets)


def _cut(tokens: list[Array], preparation: Preparation[Fitted], of: Sequences) -> list[Array]:
    """No text longer than the longest that is read, and none without any token."""
    most = preparation.own.max_length
    over = [k for k, one in enumerate(tokens) if len(one) > most]
    if over:
        if preparation.own.truncation == "error":
            raise DataError(
                f"{of.source}: text '{of.ids[over[0]]}' has {len(tokens[over[0]])} tokens, and at "
                f"most {most} are read (preparation.max_length). Cut it into sentences."
            )
        which = f"{len(over):,} of {len(tokens):,} texts have"
        log.info(
            "%s: %s more than %d tokens and are cut off at the %s. Give a sentence a line.",
            *(of.source, which, most, preparation.own.truncation),
        )
    nothing = np.array([UNKNOWN], dtype=np.int32)
    begin = preparation.own.truncation != "start"
    kept = [one[:most] if begin else one[-most:] for one in tokens]
    return [one if len(one) else nothing for one in kept]


def padded(rows: list[Array], which: Array, length: int) -> Array:
    """The chosen rows as [chosen, length] int32, with zeros behind the end of each."""
    made = np.full((len(which), length), PAD, dtype=np.int32)
    for place, k in enumerate(which):
        made[place, : len(rows[k])] = rows[k]
    return made


def sizes(some: Examples[Sequences]) -> dict[str, int]:
    """Texts and the bytes of the source."""
    return sizes_of(some.source)


def shapes(_examples: Examples[Sequences], preparation: Preparation[Fitted]) -> Shapes:
    """Positions of source and target tokens in, a logit for each target token at each step out."""
    return shapes_of(preparation.own)


def shapes_of(fitted: Fitted) -> Shapes:
    """As `shapes` says; a shared vocabulary is listed for the source alone."""
    return Shapes(
        inputs={side: (None,) for side in SIDES},
        output=(len(fitted.vocabulary("target")),),
        vocabulary={side: len(one) for side, one in fitted.vocabularies.items()},
    )


def calibrate(
    preparation: Preparation[Fitted], outputs: list[Hypothesis], some: Examples[Sequences]
) -> Preparation[Fitted]:
    """Nothing is to be calibrated; how well the search does on the validation part is told."""
    said = metrics.bleu(references(some), _texts(postprocess(outputs, some, preparation, {})))
    log.info("Validation: BLEU %.1f.", said)
    return preparation


def postprocess(
    outputs: list[Hypothesis],
    some: Examples[Sequences],
    preparation: Preparation[Fitted],
    _state: Mapping[str, Any],
) -> list[Translation]:
    """The translation of each text; of an empty text, an empty one."""
    vocabularies = [preparation.own.vocabulary(side) for side in SIDES]
    from_end = preparation.own.truncation == "start"
    return [
        _translation(found, text, vocabularies, from_end=from_end) if text else Translation("")
        for found, text in zip(outputs, texts_of(some.source), strict=True)
    ]


def _translation(
    found: Hypothesis, text: str, vocabularies: list[Vocabulary], *, from_end: bool
) -> Translation:
    """Tokens as text; an unknown one is what it was translated from (Luong et al. 2015b).

    `from_end` says that only the end of a long text was read.
    """
    source, target = vocabularies
    read = source.encode([text])[0]
    count = found.attention.shape[1]
    begin = max(0, len(read) - count) if from_end else 0
    read = read[begin : begin + count]
    names = [source.display(one) for one in read] or [""]
    written = [target.display(one) for one in found.tokens]
    looked = found.attention[:, : len(names)].argmax(axis=1)
    if target.kind == "bpe":
        made = target.decode(found.tokens)
    else:
        copied = source.pieces(text)[begin : begin + count] or [text]
        written = [
            copied[at] if one == UNKNOWN else name
            for one, name, at in zip(found.tokens, written, looked, strict=True)
        ]
        made = ("" if target.kind == "characters" else " ").join(written)
    return Translation(
        " ".join(made.split()),
        tuple(written),
        tuple(names),
        found.attention[:, : len(names)],
    )


def references(some: Examples[Sequences]) -> list[str]:
    """The translations as they were given."""
    assert some.source.labels is not None
    return [str(one) for one in some.source.labels]


def _texts(given: Iterable[Translation]) -> list[str]:
    return [one.text for one in given]


def fit_baselines(
    train: Examples[Sequences],
    _valid: Examples[Sequences] | None,
    _preparation: Preparation[Fitted],
) -> dict[str, Any]:
    """A dictionary of words, by IBM model 1."""
    return {"dictionary": fit_dictionary(texts_of(train.source), references(train))}


def make_baselines(
    state: Mapping[str, Any], _preparation: Preparation[Fitted], _train: Examples[Sequences] | None
) -> list[Baseline[Sequences, list[Translation]]]:
    """The source as it stands, and the most likely translation of each of its words."""

    def by_source(
        change: Callable[[str], str],
    ) -> Callable[[Examples[Sequences]], list[Translation]]:
        def made(some: Examples[Sequences]) -> list[Translation]:
            return [Translation(change(text)) for text in texts_of(some.source)]

        return made

    return [
        Baseline(COPY, by_source(lambda text: text)),
        Baseline(DICTIONARY, by_source(lambda text: by_words(text, state["dictionary"]))),
    ]


def score(
    given: list[Translation],
    some: Examples[Sequences],
    _preparation: Preparation[Fitted],
    _experiment: Experiment,
) -> dict[str, float]:
    """BLEU and chrF of the whole part, from 0 to 100."""
    texts, wanted = _texts(given), references(some)
    return {"bleu": metrics.bleu(wanted, texts), "chrf": metrics.chrf(wanted, texts)}


def counts_of(texts: list[str], wanted: list[str]) -> Array:
    """What BLEU is made of, a row a text: [texts, 2 + 2 * ORDERS].

    Lengths of answer and reference, then for runs of one to four words how many are right and how
    many there are.
    """
    judge = metrics.sacrebleu().BLEU(effective_order=True)
    found = [judge.sentence_score(*pair[:1], [pair[1]]) for pair in zip(texts, wanted, strict=True)]
    rows = [[one.sys_len, one.ref_len, *one.counts, *one.totals] for one in found]
    return np.array(rows, dtype=np.float64)


def bleu_of(sums: Array) -> Array:
    """BLEU of sums of `counts_of`, [..., 2 + 2 * ORDERS] -> [...], as sacrebleu's corpus BLEU.

    An order of which nothing is right counts as half a hit, the next as a quarter ("exp").
    """
    sums = np.asarray(sums, dtype=np.float64)
    length, reference = sums[..., 0], sums[..., 1]
    right, total = sums[..., 2 : 2 + ORDERS], sums[..., 2 + ORDERS :]
    none = (right == 0) & (total > 0)
    right = np.where(none, 0.5 ** np.cumsum(none, axis=-1), right)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.log(right / total).mean(axis=-1)
        brevity = np.where(length < reference, 1 - reference / length, 0.0)
        value = 100 * np.exp(precision + brevity)
    ended = (total > 0).all(axis=-1) & (sums[..., 2] > 0)
    result: Array = np.where(ended, value, 0.0)
    return result


def measures(
    some: Examples[Sequences], _preparation: Preparation[Fitted], _experiment: Experiment
) -> list[Measure[list[Translation]]]:
    """BLEU; texts of one group are a cluster (paired bootstrap, Koehn 2004)."""
    of = some.source
    whole = of.groups if of.groups is not None else np.arange(len(of))
    _, clusters = np.unique(whole, return_inverse=True)
    wanted = references(some)

    def statistics(given: list[Translation]) -> Array:
        return counts_of(_texts(given), wanted)

    return [Measure("bleu", statistics, bleu_of, clusters)]


def details(
    answers: dict[str, list[Translation]],
    some: Examples[Sequences],
    _preparation: Preparation[Fitted],
    experiment: Experiment,
) -> dict[str, Any]:
    """BLEU by length, and examples with where the network looked: typical ones and the worst."""
    given, wanted, sources = answers[NETWORK], references(some), texts_of(some.source)
    judge = metrics.sacrebleu()
    signatures = {}
    for name, metric in (("bleu", judge.BLEU()), ("chrf", judge.CHRF())):
        metric.corpus_score(_texts(given), [wanted])
        signatures[name] = str(metric.get_signature())
    log.info("sacrebleu: BLEU %(bleu)s, chrF %(chrf)s", signatures)
    chrf = judge.CHRF()
    each = [
        chrf.sentence_score(one.text, [other]).score
        for one, other in zip(given, wanted, strict=True)
    ]
    order = np.argsort(each, kind="stable")
    count = min(experiment.report.examples, len(order))
    middle = order[len(order) // 4 : max(len(order) // 4 + 1, len(order) - len(order) // 4)]
    typical = np.random.default_rng(0).permutation(middle)[:count]
    chosen = [*((k, "typical") for k in typical), *((k, "worst") for k in order[:count])]
    return {
        "signatures": signatures,
        "by_length": _by_length(answers, sources, wanted),
        "examples": [
            {
                "kind": kind,
                "id": str(some.source.ids[k]),
                "source": sources[k],
                "reference": wanted[k],
                "answer": given[k].text,
                "word_for_word": answers[DICTIONARY][k].text if DICTIONARY in answers else "",
                "chrf": float(each[k]),
                **_looks(given[k]),
            }
            for k, kind in chosen
        ],
    }


def _looks(one: Translation) -> dict[str, Any]:
    """The attention of one answer, as lists."""
    if one.attention is None:
        return {}
    most = SHOWN_TOKENS
    return {
        "tokens": list(one.tokens[:most]),
        "source_tokens": list(one.source[:most]),
        "attention": np.round(one.attention[:most, :most], 3).tolist(),
    }


def _by_length(
    answers: dict[str, list[Translation]], sources: list[str], wanted: list[str]
) -> list[dict[str, Any]]:
    """BLEU of every answer in stretches of like length of the source, in words."""
    lengths = np.array([len(text.split()) for text in sources])
    edges = np.unique(np.quantile(lengths, [0, 0.2, 0.4, 0.6, 0.8, 1.0], method="nearest"))
    place = np.searchsorted(edges[1:-1], lengths, side="left")
    rows = []
    for one in np.unique(place):
        which = np.flatnonzero(place == one)
        found = {
            name: metrics.bleu([wanted[k] for k in which], [given[k].text for k in which])
            for name, given in answers.items()
        }
        least, most = int(lengths[which].min()), int(lengths[which].max())
        rows.append({"from": least, "to": most, "count": len(which), "bleu": found})
    return rows


def table(
    given: list[Translation],
    some: Examples[Sequences],
    _preparation: Preparation[Fitted],
    which: Array,
) -> pl.DataFrame:
    """One row a text: id, source, translation, and the reference where it is known."""
    of = some.source.chosen(which)
    columns: dict[str, Any] = {
        "id": of.ids.astype(str),
        "source": texts_of(of),
        "translation": _texts(given[k] for k in which),
    }
    if of.labels is not None:
        columns["reference"] = [str(one) for one in of.labels]
    return pl.DataFrame(columns)


def quick(
    preparation: Preparation[Fitted], experiment: Experiment
) -> tuple[Preparation[Fitted], Experiment]:
    """Without a beam search."""
    return preparation, experiment.having("task", beam_size=1)


def prediction_inputs(sequences: Sequences, _preparation: Preparation[Fitted]) -> Sequences:
    """New texts are translated as they are."""
    return sequences


TASK = Task(
    name="translate",
    settings={"text": SETTINGS},
    fitted=Fitted,
    recognise=reading.RECOGNISE,
    read=reading.read,
    split=split,
    resolve=resolve,
    resolve_fitted=resolve_fitted,
    prepare=prepare,
    examples=examples,
    sizes=sizes,
    shapes=shapes,
    calibrate=calibrate,
    postprocess=postprocess,
    fit_baselines=fit_baselines,
    baselines=make_baselines,
    metrics=score,
    measures=measures,
    details=details,
    table=table,
    prediction_inputs=prediction_inputs,
    quick=quick,
    labelled=True,
    lines="translation",
    hint="For two files of lines, a text and its translation, give --task translate.",
)
