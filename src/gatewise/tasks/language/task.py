"""language: a model of running text that predicts the next token."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from gatewise import metrics
from gatewise.baselines import ngrams
from gatewise.data import vocabulary as vocabularies
from gatewise.data.batches import Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import Scale
from gatewise.data.sequences import Array, Sequences, text_of
from gatewise.data.splits import Splits, split_by_place, split_by_sequence
from gatewise.data.tokenstream import MARK, TokenStream, all_lines, stream_of
from gatewise.data.vocabulary import UNKNOWN, fit_vocabulary, resolved
from gatewise.errors import ConfigError, DataError
from gatewise.settings import Experiment, names
from gatewise.tasks import defaults
from gatewise.tasks.language import blend, reading
from gatewise.tasks.language.fitted import Fitted
from gatewise.tasks.language.space import space
from gatewise.tasks.task import NETWORK, Baseline, Measure, Task, ratio

SETTINGS = vocabularies.SETTINGS | names(split="seed test_ids", task="lookback blend")
UNITS = (200, 200)  # default units of the LSTM layers
FULL = 20_000  # the largest vocabulary that the full softmax is trained on
NEGATIVE_SAMPLES = 8192  # default of a sampled softmax
MAX_VOCABULARY = 200_000  # tokens
SMALL = 5_000_000  # bytes: a smaller text is split into characters by default
STEPS = {"characters": 100, "bpe": 70, "words": 35, "whitespace": 35}  # default lookback
MAX_NATS = 700.0  # the exponential of more overflows
CLUSTER = 200  # tokens resampled as one, because adjacent tokens are correlated
MIN_PASSAGE = 5  # tokens of a hard passage, at least
SHOWN = 160  # characters of a line in tables and in the report
RANKS = (10, 100, 1000, 10_000)  # bin edges in the vocabulary, which is sorted by frequency
POSITIONS = (1, 2, 3, 5, 9, 17, 33, 65)  # bin edges in a line


@dataclass(frozen=True)
class Corpus:
    """Texts, and their tokens in one array."""

    texts: Sequences
    stream: TokenStream
    streams: int = 0  # parallel streams of training; 0: each text is read from its beginning


def resolve(
    experiment: Experiment, sequences: Sequences, train: Sequences
) -> tuple[Experiment, list[str]]:
    """Fill in tokenizer, lookback, network, batch size and epochs by the size of the text."""
    experiment = defaults.blended(experiment, "ngrams")
    size, notes = int(sequences.lengths.sum()), []
    preparation, task = experiment.preparation, experiment.task
    if preparation.tokenizer == "auto":
        kind, why = _tokenizer(sequences, size)
        preparation = replace(preparation, tokenizer=kind)
        notes.append(f"the tokenizer is {kind}, because {why} (preparation.tokenizer)")
    kind = preparation.tokenizer
    vocabulary = preparation.vocabulary_size
    if vocabulary > MAX_VOCABULARY:
        raise ConfigError(
            f"preparation.vocabulary_size is {vocabulary:,}, but at most {MAX_VOCABULARY:,} tokens "
            "are possible. Choose fewer, or preparation.tokenizer = bpe."
        )
    if not preparation.min_frequency and kind == "whitespace":
        # Without a mark for rare words, words that occur once teach the network the unknown token.
        min_frequency = 1 if any(MARK in line for line in all_lines(train)) else 2
        preparation = replace(preparation, min_frequency=min_frequency)
    preparation = resolved(preparation, kind)
    if not task.lookback:
        task = replace(task, lookback=STEPS[kind])
    network, training = experiment.network, experiment.training
    units = network.units or UNITS
    network = replace(
        network,
        units=units,
        embedding_dim=network.embedding_dim or units[-1],
        dense_dropout=network.dense_dropout if network.dense_dropout >= 0 else network.dropout,
    )
    tokens = size / (1 if kind == "characters" else 5)
    if not training.batch_size:
        # About 200 updates per epoch: the number of chunks in each stream.
        streams = tokens / (200 * task.lookback)
        size = int(np.clip(2 ** round(np.log2(streams + 1)), 1, 32))
        training = replace(training, batch_size=size)
    if not training.epochs:
        training = replace(training, epochs=int(np.clip(2e7 / tokens, 10, 40)))
    if not training.learning_rate and training.optimizer == "adam":
        training = replace(training, learning_rate=0.002)
    return replace(
        experiment, preparation=preparation, task=task, network=network, training=training
    ), notes


def _tokenizer(sequences: Sequences, size: int) -> tuple[Any, str]:
    first = text_of(sequences.between(sequences.starts, sequences.stops), 0)[: 1 << 20]
    if f" {MARK} " in first:
        return "whitespace", f"the text contains {MARK}, as tokenized texts do"
    if size < SMALL:
        return "characters", f"the text has fewer than {SMALL:,} bytes"
    return "bpe", f"the text has {SMALL:,} bytes or more"


def split(sequences: Sequences, experiment: Experiment, test: bool) -> Splits:
    """Split by position, the beginning for training; with split.by = random, by whole text."""
    by = experiment.split.by
    if by == "random":
        return split_by_sequence(sequences, experiment.split, test=test)
    if by in ("label", "group"):
        raise ConfigError(
            f"split.by = {by} is not available in language. Split by position (auto or time), or "
            "by whole text (random)."
        )
    settings = experiment.split
    if settings.test_ids or settings.seed:
        raise ConfigError(
            "split.test_ids and split.seed assign whole texts. Set split.by = random with them."
        )
    return split_by_place(sequences, experiment.split, test=test)


def prepare(train: Sequences, experiment: Experiment) -> tuple[Preparation[Fitted], list[str]]:
    """Fit the vocabulary on the training part."""
    settings = experiment.preparation
    kind = settings.tokenizer
    vocabulary = fit_vocabulary(
        all_lines(train), kind, most=settings.vocabulary_size, min_frequency=settings.min_frequency
    )
    none = np.empty((1, 0))
    preparation = Preparation(
        task="language",
        columns=train.columns,
        used=(),
        scale=Scale("none", "all", (), none, none),
        kind="text",
        own=Fitted(
            vocabulary=vocabulary,
            lookback=experiment.task.lookback,
            blend=experiment.task.blend,
        ),
    )
    softmax = _softmax(experiment, len(vocabulary))
    return preparation, [
        f"the vocabulary has {len(vocabulary):,} {_kind_in_words(kind)}; the softmax is {softmax}"
    ]


def _kind_in_words(kind: str) -> str:
    return {"characters": "characters", "bpe": "byte pairs"}.get(kind, "words")


def resolve_fitted(experiment: Experiment, preparation: Preparation[Fitted]) -> Experiment:
    """Fill in the number of negative samples of the softmax; 0 for the full softmax."""
    size = len(preparation.own.vocabulary)
    count = sampled_softmax(experiment.network.sampled_softmax, size)
    return experiment.having("network", sampled_softmax=count)


def sampled_softmax(setting: int, vocabulary: int) -> int:
    """The number of negative samples of the sampled softmax; 0 for the full softmax.

    >>> [sampled_softmax(*one) for one in [(0, 10_000), (0, 33_000), (1000, 10_000), (99, 65)]]
    [0, 8192, 1000, 0]
    """
    if not setting:
        return NEGATIVE_SAMPLES if vocabulary > FULL else 0
    return setting if setting < vocabulary else 0


def _softmax(experiment: Experiment, vocabulary: int) -> str:
    count = sampled_softmax(experiment.network.sampled_softmax, vocabulary)
    return f"sampled, {count:,} tokens per batch (network.sampled_softmax)" if count else "full"


def examples(
    sequences: Sequences, preparation: Preparation[Fitted], experiment: Experiment, role: str
) -> Examples[Corpus]:
    """Ordered chunks of parallel streams for training; one example per line otherwise."""
    stream = stream_of(sequences, preparation.own.vocabulary)
    if not len(stream):
        raise DataError(f"{sequences.source} has no tokens. Give a longer text.")
    if role in ("train", "validation"):
        return _streams(sequences, stream, preparation, experiment, role)

    def no_batches(_indices: Array, _length: int = 0) -> Any:
        raise AssertionError("a text is evaluated as a stream, from its beginning")

    return Examples(Corpus(sequences, stream), np.diff(stream.lines), no_batches, no_batches)


def _streams(
    sequences: Sequences,
    stream: TokenStream,
    preparation: Preparation[Fitted],
    experiment: Experiment,
    role: str,
) -> Examples[Corpus]:
    """The text as parallel streams: batch b holds chunk b of every stream.

    Tokens that do not fill a chunk of every stream are left out. In training the streams start at a
    new random offset in each epoch, so that different tokens are left out.
    """
    streams = experiment.training.batch_size
    size = len(preparation.own.vocabulary)
    sampled = sampled_softmax(experiment.network.sampled_softmax, size)
    length = len(stream) // streams  # tokens per stream
    if length < 1:
        raise DataError(
            f"{sequences.source}: the {role} part has {len(stream)} tokens, fewer than the "
            f"{streams} parallel streams. Give a longer text, or a smaller training.batch_size."
        )
    steps = preparation.own.lookback
    chunks = max(1, length // steps) if role == "train" else math.ceil(length / steps)
    steps = min(steps, length) if role == "train" else length // chunks
    before, tokens = stream.before(), stream.tokens
    random = np.random.default_rng((experiment.training.seed, 2))
    offset = 0

    def move() -> None:
        nonlocal offset
        offset = int(random.integers(len(tokens)))

    def positions(indices: Array) -> Array:
        chunk, row = np.divmod(indices, streams)
        starts = offset + row * length + chunk * steps
        result: Array = (starts[:, None] + np.arange(steps)) % len(tokens)  # [streams, steps]
        return result

    def inputs(indices: Array, _length: int) -> dict[str, Array]:
        at = positions(indices)
        truth = {"truth": tokens[at]} if sampled else {}  # the network computes the loss
        return {"tokens": before[at]} | truth

    return Examples(
        source=Corpus(sequences, stream, streams),
        lengths=np.full(chunks * streams, steps),
        inputs=inputs,
        targets=lambda indices, _length=0: tokens[positions(indices)],
        ordered=True,
        on_epoch_end=move if role == "train" else None,
        random=random,
    )


def sizes(examples: Examples[Corpus]) -> dict[str, int]:
    """The numbers of texts and tokens."""
    return {"texts": len(examples.source.texts), "tokens": len(examples.source.stream)}


def shapes(examples: Examples[Corpus], preparation: Preparation[Fitted]) -> Shapes:
    """Inputs: the tokens of a chunk; outputs: a logit for each token of the vocabulary."""
    return replace(
        fitted_shapes(preparation),
        inputs={"tokens": (int(examples.lengths[0]),)},
        batch_size=examples.source.streams,
    )


def fitted_shapes(preparation: Preparation[Fitted]) -> Shapes:
    """The same shapes, for chunks of any number of tokens and any batch size."""
    size = len(preparation.own.vocabulary)
    return Shapes({"tokens": (None,)}, (size,), vocabulary={"tokens": size})


def postprocess(
    outputs: Array,
    examples: Examples[Corpus],
    preparation: Preparation[Fitted],
    state: Mapping[str, Any],
) -> Array:
    """-log P of each token given all tokens before it in its text, [tokens] nats."""
    mixture = blend.mixture_of(state, preparation)
    return outputs if mixture is None else mixture.nll(outputs, tokens_of(examples))


def tokens_of(examples: Examples[Corpus]) -> TokenStream:
    """The stream of tokens of these examples."""
    return examples.source.stream


def fit_baselines(
    train: Examples[Corpus], _valid: Examples[Corpus] | None, preparation: Preparation[Fitted]
) -> dict[str, Any]:
    """The tokens of the training part, from which n-grams are counted on first use."""
    vocabulary, stream = preparation.own.vocabulary, tokens_of(train)
    return ngrams.packed(stream.tokens, len(vocabulary)) | {
        "start": stream.start,
        "order": blend.ORDER[vocabulary.kind],
    }


def make_baselines(
    state: Mapping[str, Any], preparation: Preparation[Fitted], _train: Examples[Corpus] | None
) -> list[Baseline[Corpus, Array]]:
    """A unigram model, and an n-gram model with Kneser-Ney smoothing."""
    size = len(preparation.own.vocabulary)
    counted = functools.cache(functools.partial(ngrams.unpacked, state))

    def unigram(examples: Examples[Corpus]) -> Array:
        nats: Array = -np.log(ngrams.unigram(counted(), size))[tokens_of(examples).tokens]
        return nats

    def kneser_ney(examples: Examples[Corpus]) -> Array:
        return ngrams.of_state(state, size).token_nll(tokens_of(examples).tokens)

    return [Baseline("unigram", unigram), Baseline(blend.name_of(preparation), kneser_ney)]


def score(
    predictions: Array,
    examples: Examples[Corpus],
    _preparation: Preparation[Fitted],
    _experiment: Experiment,
) -> dict[str, float]:
    """Perplexity, nats per token and bits per character, over all tokens."""
    return {
        "perplexity": metrics.perplexity(predictions),
        "nats_per_token": metrics.nats_per_token(predictions),
        "bits_per_character": metrics.bits_per_character(
            predictions, int(tokens_of(examples).characters.sum())
        ),
    }


def perplexity(nats: float) -> float:
    """The exponential of the mean nats per token, without overflow."""
    return math.exp(min(nats, MAX_NATS))


def measures(
    examples: Examples[Corpus], _preparation: Preparation[Fitted], _experiment: Experiment
) -> list[Measure[Array]]:
    """Perplexity, nats and bits; runs of CLUSTER tokens are resampled as one."""
    stream = tokens_of(examples)
    clusters = np.arange(len(stream)) // CLUSTER
    lines = np.repeat(np.arange(len(stream.lines) - 1), np.diff(stream.lines))
    # The characters of a line, distributed evenly over its tokens.
    characters = stream.characters[lines] / np.diff(stream.lines)[lines]

    def statistics(nll: Array) -> Array:
        return np.stack([nll, np.ones_like(nll), characters], axis=1)

    tokens_per_character = len(stream) / max(1.0, float(characters.sum()))

    def bits(nats: float) -> float:
        return nats * tokens_per_character / math.log(2)

    # The training loss is the nats per token, so it gives the metrics without another prediction.
    values: dict[str, tuple[Callable[[Array], Array], Callable[[float], float]]] = {
        "perplexity": (lambda sums: np.exp(ratio(sums)), perplexity),
        "nats_per_token": (ratio, float),
        "bits_per_character": (lambda sums: ratio(sums[..., ::2]) / math.log(2), bits),
    }
    return [
        Measure(name, statistics, value, clusters, from_loss=from_loss)
        for name, (value, from_loss) in values.items()
    ]


def details(
    answers: dict[str, Array],
    examples: Examples[Corpus],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> dict[str, Any]:
    """Mean loss by rarity and by position in the line, and the hardest passages."""
    stream, vocabulary = tokens_of(examples), preparation.own.vocabulary
    network = answers[NETWORK]
    ranks = np.searchsorted(RANKS, stream.tokens - UNKNOWN)
    ends = [0, *RANKS, len(vocabulary)]
    by_rank = {
        f"{low + 1:,} to {high:,}": ranks == k
        for k, (low, high) in enumerate(zip(ends[:-1], ends[1:], strict=True))
        if low < len(vocabulary)
    }
    lengths = np.diff(stream.lines)
    position = np.arange(len(stream)) - np.repeat(stream.lines[:-1], lengths) + 1
    bins = np.searchsorted(POSITIONS, position, side="right")
    edges = [*POSITIONS, int(position.max()) + 1]
    by_place = {
        (f"{low}" if high == low + 1 else f"{low} to {high - 1}"): bins == k
        for k, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True), 1)
        if low < high
    }
    best = list(answers)[-1]
    return {
        "tokens": vocabulary.kind,
        "vocabulary": len(vocabulary),
        "softmax": _softmax(experiment, len(vocabulary)),
        "unknown": stream.unknown / len(stream),
        "by_rank": _means(by_rank, answers),
        "by_place": _means(by_place, answers),
        "passages": _hardest(network, answers[best], examples, experiment.report.examples),
        "beside": best,
    }


def _means(bins: Mapping[str, Array], answers: Mapping[str, Array]) -> list[dict[str, Any]]:
    """The mean nats of each model in each bin that has tokens."""
    return [
        {"bin": name, "share": float(inside.mean())}
        | {model: float(nll[inside].mean()) for model, nll in answers.items()}
        for name, inside in bins.items()
        if inside.any()
    ]


def _hardest(
    network: Array, other: Array, examples: Examples[Corpus], count: int
) -> list[dict[str, Any]]:
    """The lines with the highest mean loss of the network."""
    stream = tokens_of(examples)
    lengths = np.diff(stream.lines)
    own, beside = (_by_line(nll, stream) / np.maximum(lengths, 1) for nll in (network, other))
    order = np.argsort(-np.where(lengths >= MIN_PASSAGE, own, -1.0), kind="stable")[:count]
    return [
        {"line": int(k) + 1, "text": text, "nats": float(own[k]), "beside": float(beside[k])}
        for k, text in zip(order, _lines(examples, order), strict=True)
        if lengths[k] >= MIN_PASSAGE
    ]


def _by_line(nll: Array, stream: TokenStream) -> Array:
    """The nats of each line, [lines]."""
    sums = np.concatenate([[0.0], np.cumsum(nll)])
    totals: Array = sums[stream.lines[1:]] - sums[stream.lines[:-1]]
    return totals


def _lines(examples: Examples[Corpus], indices: Array) -> list[str]:
    """The original text of these lines, shortened to SHOWN characters."""
    wanted = set(indices.tolist())
    lines = {k: line for k, line in enumerate(all_lines(examples.source.texts)) if k in wanted}
    texts = [lines[k].rstrip("\n") for k in indices.tolist()]
    return [text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…" for text in texts]


def table(
    predictions: Array,
    examples: Examples[Corpus],
    _preparation: Preparation[Fitted],
    indices: Array,
) -> pl.DataFrame:
    """One row per line: id, text, number of tokens, and loss."""
    stream, texts = tokens_of(examples), examples.source.texts
    nats, tokens = _by_line(predictions, stream)[indices], np.diff(stream.lines)[indices]
    # The text of each line, and the number of the line in it.
    text = np.searchsorted(stream.texts[1:], stream.lines[indices], side="right")
    first = np.searchsorted(stream.lines, stream.texts[text])
    ids = [str(number) for number in (indices - first + 1).tolist()]
    if len(texts) > 1:
        ids = [f"{texts.ids[k]}:{number}" for k, number in zip(text.tolist(), ids, strict=True)]
    per_token = nats / np.maximum(tokens, 1)
    return pl.DataFrame(
        {
            "id": ids,
            "text": _lines(examples, indices),
            "tokens": tokens,
            "nats_per_token": per_token,
            "perplexity": np.exp(per_token),
            "bits_per_character": nats / math.log(2) / stream.characters[indices],
        }
    )


def schema(_preparation: Preparation[Fitted], _experiment: Experiment) -> dict[str, Any]:
    """The columns of `table` for new data."""
    numbers = ("nats_per_token", "perplexity", "bits_per_character")
    first = {"id": pl.String, "text": pl.String, "tokens": pl.Int64}
    return first | dict.fromkeys(numbers, pl.Float64)


def prediction_inputs(sequences: Sequences, _preparation: Preparation[Fitted]) -> Sequences:
    """The texts unchanged."""
    return sequences


TASK = Task(
    name="language",
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
    calibrate=None,
    postprocess=postprocess,
    fit_baselines=fit_baselines,
    baselines=make_baselines,
    metrics=score,
    measures=measures,
    details=details,
    table=table,
    schema=schema,
    prediction_inputs=prediction_inputs,
    choose=blend.choose,
    model_name=blend.model_name,
    quick=defaults.without_blend,
    hint="For running text, in a file or a folder of files, give --task language.",
)
