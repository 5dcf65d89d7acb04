"""language: plain text -> the next symbol, and what a text costs in nats, token by token."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
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
from gatewise.data.splits import Parts, split_by_place, split_by_sequence
from gatewise.data.streams import MARK, Stream, all_lines, stream_of
from gatewise.data.vocabulary import UNKNOWN, Vocabulary, fit_vocabulary, resolved
from gatewise.errors import ConfigError, DataError
from gatewise.settings import Experiment, names
from gatewise.tasks.task import Baseline, Measure, Task, answer_name

SETTINGS = vocabularies.SETTINGS | names(split="seed test_ids", task="lookback")
UNITS = (200, 200)  # of the LSTM layers, where the settings do not say
FULL = 20_000  # tokens that a full softmax weighs; of more, a sampled one learns from a part
CANDIDATES = 8192  # that are drawn for each batch then
WIDEST = 200_000  # tokens of a vocabulary
SMALL = 5_000_000  # bytes: a text of less is read by characters, where nothing says otherwise
STEPS = {"characters": 100, "bpe": 70, "words": 35, "whitespace": 35}  # read between two updates
ORDER = {"characters": 7, "bpe": 5, "words": 5, "whitespace": 5}  # of the n-grams
MOST_NATS = 700.0  # e to more than this overflows
STRETCH = 200  # tokens that count as one in the verdict: what stands together is alike
SHORTEST = 5  # tokens that a hard passage has at least
SHOWN = 160  # characters of a line that tables and the report show
RANKS = (10, 100, 1000, 10_000)  # places in the vocabulary, the most frequent token first
PLACES = (1, 2, 3, 5, 9, 17, 33, 65)  # places in a line


def resolve(
    experiment: Experiment, sequences: Sequences, train: Sequences
) -> tuple[Experiment, list[str]]:
    """Fill in the kind of token, lanes, steps, network and epochs, by the size of the text."""
    size, notes = int(sequences.lengths.sum()), []
    preparation, task = experiment.preparation, experiment.task
    if preparation.tokenizer == "auto":
        kind, why = _kind(sequences, size)
        preparation = replace(preparation, tokenizer=kind)
        notes.append(f"the text is read by {kind}, for {why} (preparation.tokenizer)")
    kind = preparation.tokenizer
    vocabulary = preparation.vocabulary_size
    if vocabulary > WIDEST:
        raise ConfigError(
            f"preparation.vocabulary_size is {vocabulary:,}; it holds {WIDEST:,} tokens at most. "
            "Choose fewer, or preparation.tokenizer = bpe."
        )
    if not preparation.min_frequency and kind == "whitespace":
        # Where rare words are not marked, the network learns from words met once what unknown is.
        rarest = 1 if any(MARK in line for line in all_lines(train)) else 2
        preparation = replace(preparation, min_frequency=rarest)
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
        # An epoch should be some 200 updates; so each lane is that many chunks long.
        lanes = tokens / (200 * task.lookback)
        training = replace(training, batch_size=int(np.clip(2 ** round(np.log2(lanes + 1)), 1, 32)))
    if not training.epochs:
        training = replace(training, epochs=int(np.clip(2e7 / tokens, 10, 40)))
    if not training.learning_rate and training.optimizer == "adam":
        training = replace(training, learning_rate=0.002)
    return replace(
        experiment, preparation=preparation, task=task, network=network, training=training
    ), notes


def _kind(sequences: Sequences, size: int) -> tuple[Any, str]:
    first = text_of(sequences.between(sequences.starts, sequences.stops), 0)[: 1 << 20]
    if f" {MARK} " in first:
        return "whitespace", f"it holds {MARK}, so that its words were parted before"
    if size < SMALL:
        return "characters", f"it has less than {SMALL:,} bytes"
    return "bpe", f"it has {SMALL:,} bytes or more"


def split(sequences: Sequences, experiment: Experiment, test: bool) -> Parts:
    """By place: the beginning is learnt from. With split.by = random, whole texts are dealt out."""
    by = experiment.split.by
    if by == "random":
        return split_by_sequence(sequences, experiment.split, test=test)
    if by in ("label", "group"):
        raise ConfigError(
            f"split.by = {by} has no place in language. Texts are cut by place (auto or time), or "
            "whole ones dealt out (random)."
        )
    settings = experiment.split
    if settings.test_ids or settings.seed:
        raise ConfigError(
            "split.test_ids and split.seed deal out whole texts; give split.by = random with them."
        )
    return split_by_place(sequences, experiment.split, test=test)


def prepare(train: Sequences, experiment: Experiment) -> tuple[Preparation, list[str]]:
    """The vocabulary of the training part."""
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
        vocabularies={"text": vocabulary},
        lookback=experiment.task.lookback,
    )
    names = {"characters": "characters", "bpe": "pieces of words"}.get(kind, "words")
    softmax = _softmax(experiment, len(vocabulary))
    return preparation, [
        f"the vocabulary holds {len(vocabulary):,} {names}; the softmax is {softmax}"
    ]


def resolve_fitted(experiment: Experiment, preparation: Preparation) -> Experiment:
    """Fill in how many tokens the softmax is sampled from; 0 are all of the vocabulary."""
    size = len(vocabulary_of(preparation))
    count = candidates(experiment.network.sampled_softmax, size)
    return experiment.having("network", sampled_softmax=count)


def candidates(asked: int, vocabulary: int) -> int:
    """Tokens that the right one is told from while the network learns; 0: all there are.

    >>> candidates(0, 10_000), candidates(0, 33_000), candidates(1000, 10_000), candidates(99, 65)
    (0, 8192, 1000, 0)
    """
    if not asked:
        return CANDIDATES if vocabulary > FULL else 0
    return asked if asked < vocabulary else 0


def _softmax(experiment: Experiment, vocabulary: int) -> str:
    count = candidates(experiment.network.sampled_softmax, vocabulary)
    return f"sampled, {count:,} tokens a batch (network.sampled_softmax)" if count else "full"


def vocabulary_of(preparation: Preparation) -> Vocabulary:
    """The only one there is."""
    return preparation.vocabularies["text"]


def examples(
    sequences: Sequences, preparation: Preparation, experiment: Experiment, role: str
) -> Examples:
    """To learn, chunks of lanes in their order; to be judged, the lines."""
    stream = stream_of(sequences, vocabulary_of(preparation))
    if not len(stream):
        raise DataError(f"{sequences.source}: there is no token in it. Give a longer text.")
    if role in ("train", "validation"):
        return _lanes(sequences, stream, preparation, experiment, role)

    def nothing(_which: Array, _length: int = 0) -> Any:
        raise AssertionError("a text is judged from its beginning, through its stream")

    return Examples(sequences, np.diff(stream.lines), nothing, nothing, stream=stream)


def _lanes(
    sequences: Sequences,
    stream: Stream,
    preparation: Preparation,
    experiment: Experiment,
    role: str,
) -> Examples:
    """The text in lanes side by side: batch b holds chunk b of every lane.

    What does not fill a chunk of every lane is left out; in training the lanes begin elsewhere in
    every epoch, so that it is something else each time.
    """
    lanes = experiment.training.batch_size
    size = len(vocabulary_of(preparation))
    drawn = candidates(experiment.network.sampled_softmax, size)
    length = len(stream) // lanes  # tokens of a lane
    if length < 1:
        raise DataError(
            f"{sequences.source}: the {role} part has {len(stream)} tokens, fewer than the "
            f"{lanes} lanes that are read side by side. Give a longer text, or a smaller "
            "training.batch_size."
        )
    steps = preparation.lookback
    chunks = max(1, length // steps) if role == "train" else math.ceil(length / steps)
    steps = min(steps, length) if role == "train" else length // chunks
    before, tokens = stream.before(), stream.tokens
    random = np.random.default_rng((experiment.training.seed, 2))
    offset = 0

    def renew() -> None:
        nonlocal offset
        offset = int(random.integers(len(tokens)))

    def places(which: Array) -> Array:
        chunk, lane = np.divmod(which, lanes)
        begins = offset + lane * length + chunk * steps
        found: Array = (begins[:, None] + np.arange(steps)) % len(tokens)  # [lanes, steps]
        return found

    def inputs(which: Array, _length: int) -> dict[str, Array]:
        at = places(which)
        truth = {"truth": tokens[at]} if drawn else {}  # it is told from others in the network
        return {"tokens": before[at]} | truth

    return Examples(
        of=sequences,
        lengths=np.full(chunks * lanes, steps),
        inputs=inputs,
        targets=lambda which, _length=0: tokens[places(which)],
        ordered=True,
        renew=renew if role == "train" else None,
        lanes=lanes,
        stream=stream,
        candidates=drawn,
    )


def shapes(some: Examples, preparation: Preparation) -> Shapes:
    """Tokens of a chunk in, a logit for each token of the vocabulary out."""
    size = len(vocabulary_of(preparation))
    inputs = {"tokens": (int(some.lengths[0]),)}
    return Shapes(inputs, (size,), vocabulary=size, lanes=some.lanes, candidates=some.candidates)


def answer(
    outputs: Array, _some: Examples, _preparation: Preparation, _state: Mapping[str, Any]
) -> Array:
    """-log P of each token after all those before it in its text, [tokens] nats."""
    return outputs


def tokens_of(some: Examples) -> Stream:
    """The text of these examples as one run of tokens."""
    assert some.stream is not None
    return some.stream


def fit_baselines(
    train: Examples, _valid: Examples | None, preparation: Preparation
) -> dict[str, Any]:
    """The tokens of the training part: n-grams are counted from them when they are asked."""
    vocabulary, stream = vocabulary_of(preparation), tokens_of(train)
    return ngrams.packed(stream.tokens, len(vocabulary)) | {
        "start": stream.start,
        "order": ORDER[vocabulary.kind],
    }


def make_baselines(
    state: Mapping[str, Any], preparation: Preparation, _train: Examples | None
) -> list[Baseline]:
    """How frequent each token is by itself; and after the few tokens before it."""
    size, order = len(vocabulary_of(preparation)), int(state["order"])
    counted = functools.cache(functools.partial(ngrams.unpacked, state))

    @functools.cache
    def model() -> ngrams.KneserNey:
        return ngrams.fit(counted(), size, start=state["start"], order=order)

    def unigram(some: Examples) -> Array:
        nats: Array = -np.log(ngrams.unigram(counted(), size))[tokens_of(some).tokens]
        return nats

    return [
        Baseline("unigram", unigram),
        Baseline(f"{order}-gram (Kneser-Ney)", lambda some: model().nats(tokens_of(some).tokens)),
    ]


def score(
    given: Array, some: Examples, _preparation: Preparation, _experiment: Experiment
) -> dict[str, float]:
    """Perplexity and nats a token, and bits a character, over all tokens."""
    return {
        "perplexity": metrics.perplexity(given),
        "nats_per_token": metrics.nats_per_token(given),
        "bits_per_character": metrics.bits_per_character(
            given, int(tokens_of(some).characters.sum())
        ),
    }


def perplexity(nats: float) -> float:
    """The exponential of the mean nats a token, without an overflow."""
    return math.exp(min(nats, MOST_NATS))


def measures(some: Examples, _preparation: Preparation, _experiment: Experiment) -> list[Measure]:
    """Perplexity, nats and bits; stretches of text are drawn as one in the interval."""
    stream = tokens_of(some)
    clusters = np.arange(len(stream)) // STRETCH
    lines = np.repeat(np.arange(len(stream.lines) - 1), np.diff(stream.lines))
    # A line's characters, spread over its tokens.
    each = stream.characters[lines] / np.diff(stream.lines)[lines]

    def counted(given: Array) -> Array:
        return np.stack([given, np.ones_like(given), each], axis=1)

    tokens_a_character = len(stream) / max(1.0, float(each.sum()))

    def bits(nats: float) -> float:
        return nats * tokens_a_character / math.log(2)

    # The loss in training is the nats a token, so that the network need not be asked again.
    values: dict[str, tuple[Callable[[Array], Array], Callable[[float], float]]] = {
        "perplexity": (lambda sums: np.exp(sums[..., 0] / sums[..., 1]), perplexity),
        "nats_per_token": (lambda sums: sums[..., 0] / sums[..., 1], float),
        "bits_per_character": (lambda sums: sums[..., 0] / math.log(2) / sums[..., 2], bits),
    }
    return [
        Measure(name, counted, value, clusters, from_loss=from_loss)
        for name, (value, from_loss) in values.items()
    ]


def details(
    answers: dict[str, Array], some: Examples, preparation: Preparation, experiment: Experiment
) -> dict[str, Any]:
    """Where the nats go: by rarity, by place in the line, and the hardest passages."""
    stream, vocabulary = tokens_of(some), vocabulary_of(preparation)
    own = answers[answer_name(preparation)]
    ranks = np.searchsorted(RANKS, stream.tokens - UNKNOWN)
    ends = [0, *RANKS, len(vocabulary)]
    by_rank = {
        f"{low + 1:,} to {high:,}": ranks == k
        for k, (low, high) in enumerate(zip(ends[:-1], ends[1:], strict=True))
        if low < len(vocabulary)
    }
    lengths = np.diff(stream.lines)
    place = np.arange(len(stream)) - np.repeat(stream.lines[:-1], lengths) + 1
    bins = np.searchsorted(PLACES, place, side="right")
    edges = [*PLACES, int(place.max()) + 1]
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
        "passages": _hardest(own, answers[best], some, experiment.report.examples),
        "beside": best,
    }


def _means(bins: Mapping[str, Array], answers: Mapping[str, Array]) -> list[dict[str, Any]]:
    """The mean nats of each answer in each bin that holds tokens."""
    return [
        {"bin": name, "share": float(inside.mean())}
        | {who: float(given[inside].mean()) for who, given in answers.items()}
        for name, inside in bins.items()
        if inside.any()
    ]


def _hardest(own: Array, other: Array, some: Examples, count: int) -> list[dict[str, Any]]:
    """The lines that surprise most, token by token on average."""
    stream = tokens_of(some)
    lengths = np.diff(stream.lines)
    ours, theirs = (_by_line(given, stream) / np.maximum(lengths, 1) for given in (own, other))
    order = np.argsort(-np.where(lengths >= SHORTEST, ours, -1.0), kind="stable")[:count]
    written = _lines(some, order)
    return [
        {"line": int(k) + 1, "text": text, "nats": float(ours[k]), "beside": float(theirs[k])}
        for k, text in zip(order, written, strict=True)
        if lengths[k] >= SHORTEST
    ]


def _by_line(given: Array, stream: Stream) -> Array:
    """The nats of each line, [lines]."""
    sums = np.concatenate([[0.0], np.cumsum(given)])
    found: Array = sums[stream.lines[1:]] - sums[stream.lines[:-1]]
    return found


def _lines(some: Examples, which: Array) -> list[str]:
    """The beginnings of these lines as they were written."""
    assert isinstance(some.of, Sequences)
    wanted = set(which.tolist())
    found = {k: line for k, line in enumerate(all_lines(some.of)) if k in wanted}
    texts = [found[k].rstrip("\n") for k in which.tolist()]
    return [text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…" for text in texts]


def table(given: Array, some: Examples, _preparation: Preparation, which: Array) -> pl.DataFrame:
    """One row a line: id, its text, its tokens, and what they cost."""
    stream, of = tokens_of(some), some.of
    assert isinstance(of, Sequences)
    nats, tokens = _by_line(given, stream)[which], np.diff(stream.lines)[which]
    # The text that each line is in, and its number there.
    text = np.searchsorted(stream.texts[1:], stream.lines[which], side="right")
    first = np.searchsorted(stream.lines, stream.texts[text])
    ids = [str(number) for number in (which - first + 1).tolist()]
    if len(of) > 1:
        ids = [f"{of.ids[k]}:{number}" for k, number in zip(text.tolist(), ids, strict=True)]
    each = nats / np.maximum(tokens, 1)
    return pl.DataFrame(
        {
            "id": ids,
            "text": _lines(some, which),
            "tokens": tokens,
            "nats_per_token": each,
            "perplexity": np.exp(each),
            "bits_per_character": nats / math.log(2) / stream.characters[which],
        }
    )


def ahead(sequences: Sequences, _preparation: Preparation) -> Sequences:
    """A text is judged as it is."""
    return sequences


TASK = Task(
    name="language",
    settings={"text": SETTINGS},
    split=split,
    resolve=resolve,
    resolve_fitted=resolve_fitted,
    prepare=prepare,
    examples=examples,
    shapes=shapes,
    calibrate=None,
    answer=answer,
    fit_baselines=fit_baselines,
    baselines=make_baselines,
    metrics=score,
    measures=measures,
    details=details,
    table=table,
    ahead=ahead,
)
