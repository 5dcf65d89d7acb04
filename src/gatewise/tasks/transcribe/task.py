"""transcribe: what is said in a recording, character by character (CTC, Graves et al. 2006)."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from gatewise import metrics
from gatewise.data import sound
from gatewise.data.batches import PADDING, Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences
from gatewise.data.sound import Recordings
from gatewise.data.spectra import spectrum_of
from gatewise.data.splits import Parts, split_by_sequence
from gatewise.errors import ConfigError, DataError
from gatewise.settings import Experiment, NetworkSettings, names
from gatewise.tasks.task import NETWORK, Baseline, Measure, Task, sizes_of
from gatewise.tasks.transcribe import decoding
from gatewise.tasks.transcribe.fitted import Fitted

SETTINGS = sound.SETTINGS | names(
    data="label",
    split="seed test_ids",
    preparation="lowercase punctuation",
    task="beam_size lm_order lm_weight streaming",
)
STEPS = 4  # of the network for a character, about
LEAST = 1.5  # frames a step from which convolutions are worth it
MOST_AT_ONCE = 4  # frames to a step of one convolution
FILTERS = 64  # of each convolution, where the settings do not say
UNITS = (128, 128)  # of the LSTM layers, where the settings do not say
BEAMS = 16  # with a language model
WEIGHTS = (0.25, 0.5, 0.75, 1.0)  # of a language model, one of which is chosen
CHOSEN_ON = 200  # recordings of the validation part
BINS = 6  # of durations, in the report
APOSTROPHES = str.maketrans({"’": "'", "ʼ": "'", "‘": "'"})


def resolve(
    experiment: Experiment, sequences: Sequences, train: Sequences
) -> tuple[Experiment, list[str]]:
    """Fill in beams, network, and batch size and epochs by the number of recordings."""
    experiment = sound.resolved(experiment, sequences)
    task, network = experiment.task, experiment.network
    network = replace(
        network,
        units=network.units or UNITS,
        bidirectional=not task.streaming,
        dense_dropout=max(0.0, network.dense_dropout),
    )
    if task.streaming and experiment.network.bidirectional:
        raise ConfigError(
            "task.streaming reads forwards only, and network.bidirectional in both directions. "
            "Leave one of them out."
        )
    if task.lm_weight and not task.lm_order:
        raise ConfigError("task.lm_weight is of task.lm_order, which is 0. Give both, or neither.")
    if task.lm_order and task.beam_size == 1:
        raise ConfigError(
            "task.lm_order needs task.beam_size above 1: a greedy answer asks no model."
        )
    beams = task.beam_size or (BEAMS if task.lm_order else 1)
    task = replace(task, beam_size=beams)
    settings = experiment.preparation
    compared = "lowercased, " if settings.lowercase else ""
    compared += "with their signs" if settings.punctuation else "without signs but apostrophes"
    notes = [f"transcripts are compared {compared}, white space as one space (NFC)"]
    experiment, said = _with_convolutions(replace(experiment, network=network, task=task), train)
    return experiment, notes + said


def _with_convolutions(
    experiment: Experiment, recordings: Sequences
) -> tuple[Experiment, list[str]]:
    """As many frames to a step as leave about STEPS for a character.

    With many more, a network in both directions learns to say everything at the beginning, by
    heart, before it learns to hear (docs/log.md).
    """
    network = experiment.network
    usual = network.strides == NetworkSettings().strides
    if network.filters or not usual or recordings.labels is None:
        return experiment, []
    frames = spectrum_of(experiment.preparation, recordings.rate).count(recordings.lengths)
    letters = [max(1, len(str(text))) for text in recordings.labels]
    each = float(np.median(frames / np.array(letters)))
    together = each / STEPS
    if together < LEAST:
        return experiment, []
    layers = 1 if together <= MOST_AT_ONCE else 2
    stride = int(np.clip(round(together ** (1 / layers)), 2, MOST_AT_ONCE))
    network = replace(network, filters=(FILTERS,) * layers, strides=stride, kernel_size=2 * stride)
    return replace(experiment, network=network), [
        f"a character takes {each:.0f} frames: convolutions make {stride**layers} of them a step "
        f"(network.filters = {list(network.filters)}, network.strides = {stride}; with "
        "network.strides = 1 and no convolution each frame is one)"
    ]


def split(sequences: Sequences, experiment: Experiment, test: bool) -> Parts:
    """By group where the data names one, else at random: transcripts are too many to be evened."""
    settings = experiment.split
    if settings.by in ("label", "time"):
        raise ConfigError("split.by: recordings are split by group or at random.")
    if settings.by == "auto":
        settings = replace(settings, by="random" if sequences.groups is None else "group")
    bare = replace(sequences, labels=None)
    parts = split_by_sequence(bare, settings, test=test)
    assert sequences.labels is not None
    said = dict(zip(sequences.starts.tolist(), sequences.labels.tolist(), strict=True))

    def with_labels(part: Sequences | None) -> Sequences | None:
        if part is None:
            return None
        return replace(part, labels=np.array([said[one] for one in part.starts.tolist()], object))

    train = with_labels(parts.train)
    assert train is not None
    return Parts(train, with_labels(parts.validation), with_labels(parts.test))


def normalised(text: str, *, lowercase: bool, punctuation: bool) -> str:
    """A transcript as it is learnt and compared.

    >>> normalised("Don’t  stop, HAL!", lowercase=True, punctuation=False)
    "don't stop hal"
    """
    text = unicodedata.normalize("NFC", text).translate(APOSTROPHES)
    text = text.lower() if lowercase else text
    if not punctuation:
        # Letters, their marks, numbers and apostrophes within words are what can be heard.
        heard = (c if unicodedata.category(c)[0] in "LMN" or c == "'" else " " for c in text)
        text = re.sub(r"(?<!\w)'|'(?!\w)", " ", "".join(heard))
    return " ".join(text.split())


def _normalised(sequences: Sequences, fitted: Fitted) -> Sequences:
    """The same recordings with comparable transcripts.

    Raises:
        DataError: nothing is left of one.
    """
    assert sequences.labels is not None
    kind = {"lowercase": fitted.lowercase, "punctuation": fitted.punctuation}
    texts = [normalised(str(one), **kind) for one in sequences.labels]
    empty = [k for k, text in enumerate(texts) if not text]
    if empty:
        raise DataError(
            f"{sequences.source}: nothing is left of the transcript {sequences.labels[empty[0]]!r} "
            f"of '{sequences.ids[empty[0]]}' without its signs. Mend it or take the recording out; "
            "preparation.punctuation = true keeps signs."
        )
    return replace(sequences, labels=np.array(texts, dtype=object))


def prepare(train: Sequences, experiment: Experiment) -> tuple[Preparation[Fitted], list[str]]:
    """Characters, frames and their scale, and a language model if asked for, from training."""
    settings, network, task = experiment.preparation, experiment.network, experiment.task
    spectrum, frames, scale = sound.fit_frames(train, experiment)
    fitted = Fitted(
        classes=(),
        spectrum=spectrum,
        lowercase=settings.lowercase,
        punctuation=settings.punctuation,
        strides=(network.strides,) * len(network.filters),
        beam_size=task.beam_size,
    )
    said = _normalised(train, fitted).labels
    assert said is not None
    classes = tuple(sorted({character for text in said for character in text}))
    fitted = replace(fitted, classes=classes)
    notes = [f"{len(classes)} characters are known from the training part: {''.join(classes)!r}"]
    short = np.flatnonzero(frames.lengths < frames_needed(list(said), fitted))
    if len(short):
        notes.append(_told_of_short(frames, list(said), fitted, short))
    if task.lm_order:
        model = decoding.fit_characters(said, task.lm_order)
        weight = task.lm_weight
        if not weight and not (experiment.split.validation or experiment.data.validation):
            weight = WEIGHTS[1]
            notes.append(
                f"there is no validation part to choose task.lm_weight by; it is {weight:g}"
            )
        fitted = replace(fitted, lm=model, lm_weight=weight)
    return Preparation(
        task="transcribe",
        kind="sound",
        columns=frames.columns,
        used=frames.columns,
        scale=scale,
        padded=True,
        own=fitted,
    ), notes


def frames_needed(texts: Sequence[str], fitted: Fitted) -> Array:
    """Frames without which a transcript cannot be said, [texts].

    Each character takes a step of the network, and a character said twice a blank between the two.
    """
    twice = [sum(map(str.__eq__, text, text[1:])) for text in texts]
    steps: Array = np.array([len(text) for text in texts]) + np.array(twice)
    for stride in reversed(fitted.strides):
        steps = (steps - 1) * stride + 1
    least: Array = np.maximum(steps, 1)
    return least


def _told_of_short(frames: Sequences, texts: Sequence[str], fitted: Fitted, short: Array) -> str:
    """A note on what CTC cannot learn, or a DataError where that is everything."""
    k = int(short[0])
    wanted = int(frames_needed([texts[k]], fitted)[0])
    first = (
        f"'{frames.ids[k]}' with {frames.lengths[k]} frames where '{texts[k]}' needs {wanted}; a "
        "smaller preparation.hop_length or network.strides gives more"
    )
    if len(short) == len(frames):
        raise DataError(
            f"{frames.source}: every recording is too short for its transcript: {first}."
        )
    count = "1 recording is" if len(short) == 1 else f"{len(short)} recordings are"
    return f"{count} too short for the transcript and not learnt from: {first}"


def examples(
    sequences: Sequences, preparation: Preparation[Fitted], experiment: Experiment, role: str
) -> Examples[Recordings]:
    """Recordings as frames, with the symbols of their transcripts as targets.

    What is too short to be said is not learnt from; it is judged and answered all the same.
    """
    fitted = preparation.own

    def heard(recordings: Sequences) -> Examples[Recordings]:
        return sound.examples(
            recordings,
            fitted.spectrum,
            scale=preparation.scale,
            training=experiment.training,
            role=role,
        )

    known = sequences.labels is not None and (sequences.labels != "").any()
    if role == "predict" or not known:
        return heard(sequences)
    sequences = _normalised(sequences, fitted)
    assert sequences.labels is not None
    if role != "test":
        least = frames_needed(sequences.labels.tolist(), fitted)
        sequences = replace(sequences, static={"frames": least})
        enough = fitted.spectrum.count(sequences.lengths) >= least
        sequences = sequences.chosen(np.flatnonzero(enough))
    if not len(sequences):
        return heard(sequences)
    assert sequences.labels is not None
    given = heard(sequences)
    places = {character: k + 1 for k, character in enumerate(preparation.own.classes)}
    symbols = [
        [places[character] for character in text if character in places]
        for text in sequences.labels.tolist()
    ]
    return replace(given, targets=_Targets(symbols, given.lengths))


class _Targets:
    """Symbols padded with blanks, as wide for each length of a batch as any of that length needs.

    So that every padded length is compiled once.
    """

    def __init__(self, symbols: list[list[int]], lengths: Array) -> None:
        self.symbols = symbols
        order = np.argsort(lengths, kind="stable")
        self.lengths = lengths[order]
        self.widest = np.maximum.accumulate([max(1, len(symbols[k])) for k in order])

    def __call__(self, which: Array, length: int) -> Array:
        """[chosen, symbols] int32."""
        place = int(np.searchsorted(self.lengths, length, side="right")) - 1
        found = np.full((len(which), self.widest[place]), decoding.BLANK, dtype=np.int32)
        for row, k in enumerate(which.tolist()):
            found[row, : len(self.symbols[k])] = self.symbols[k]
        return found


def sizes(some: Examples[Recordings]) -> dict[str, int]:
    """Recordings and their frames."""
    return sizes_of(some.source.frames)


def shapes(_some: Examples[Recordings], preparation: Preparation[Fitted]) -> Shapes:
    """Frames in; at each step a logit for the blank and one for each character out."""
    return Shapes(
        inputs={"steps": (None, len(preparation.used))},
        output=(len(preparation.own.classes) + 1,),
        padding=PADDING,
    )


def calibrate(
    preparation: Preparation[Fitted], outputs: list[Array], some: Examples[Recordings]
) -> Preparation[Fitted]:
    """The weight of the language model that makes the fewest word errors on the validation part."""
    fitted = preparation.own
    if fitted.lm is None or fitted.lm_weight:
        return preparation
    truths = _truths(some)[:CHOSEN_ON]

    def wrong(weight: float) -> int:
        tried = replace(fitted, lm_weight=weight)
        return int(metrics.word_errors(truths, _decoded(outputs[:CHOSEN_ON], tried))[:, 0].sum())

    return replace(preparation, own=replace(fitted, lm_weight=min(WEIGHTS, key=wrong)))


def answer(
    outputs: list[Array],
    _some: Examples[Recordings],
    preparation: Preparation[Fitted],
    _state: Mapping[str, Any],
) -> Array:
    """The transcript of each recording, [recordings] str."""
    return _decoded(outputs, preparation.own)


def _decoded(outputs: list[Array], fitted: Fitted) -> Array:
    """Log probabilities of each recording -> its transcript, [recordings] str."""
    bonus = None
    if fitted.lm is not None:
        weight = fitted.lm_weight or WEIGHTS[1]  # chosen, where there was a part for that
        bonus = decoding.bonus_of(fitted.lm, weight, fitted.classes)
    said = []
    for scores in outputs:
        if fitted.beam_size > 1:
            symbols = decoding.beam_search(scores, fitted.beam_size, bonus)
        else:
            symbols = decoding.greedy(scores)
        text = "".join(fitted.classes[one - 1] for one in symbols)
        said.append(" ".join(text.split()))
    return np.array(said, dtype=str)


def fit_baselines(
    train: Examples[Recordings],
    _valid: Examples[Recordings] | None,
    _preparation: Preparation[Fitted],
) -> dict[str, Any]:
    """The transcript that occurs most often in training, of several the first by the alphabet."""
    counts = Counter(_truths(train).tolist())
    return {"transcript": min(counts, key=lambda text: (-counts[text], text))}


def make_baselines(
    state: Mapping[str, Any], _preparation: Preparation[Fitted], _train: Examples[Recordings] | None
) -> list[Baseline[Recordings, Array]]:
    """The most frequent transcript, whatever is heard."""
    said = np.array([state["transcript"]], dtype=str)
    return [Baseline("most frequent transcript", lambda some: np.repeat(said, len(some)))]


def _truths(some: Examples[Recordings]) -> Array:
    labels = some.source.frames.labels
    assert labels is not None
    return labels


def score(
    given: Array,
    some: Examples[Recordings],
    _preparation: Preparation[Fitted],
    _experiment: Experiment,
) -> dict[str, float]:
    """Word and character error rate over all recordings, and the share without an error."""
    truths = _truths(some)
    return {
        "wer": metrics.wer(truths, given),
        "cer": metrics.cer(truths, given),
        "exact": metrics.exact(truths.astype(str), given),
    }


def measures(
    some: Examples[Recordings], _preparation: Preparation[Fitted], _experiment: Experiment
) -> list[Measure[Array]]:
    """Word and character error rate; recordings of one group are a cluster."""
    pieces, truths = some.source.frames, _truths(some)
    whole = pieces.groups if pieces.groups is not None else pieces.first
    _, clusters = np.unique(whole, return_inverse=True)

    def rate(sums: Array) -> Array:
        found: Array = sums[..., 0] / sums[..., 1]
        return found

    return [
        Measure(
            "wer", lambda given: metrics.word_errors(truths, given).astype(float), rate, clusters
        ),
        Measure(
            "cer",
            lambda given: metrics.character_errors(truths, given).astype(float),
            rate,
            clusters,
        ),
    ]


# The report


def details(
    answers: dict[str, Array],
    some: Examples[Recordings],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> dict[str, Any]:
    """What was taken for what, errors by duration, and the worst recordings to look at and hear."""
    truths, given = _truths(some), answers[NETWORK]
    wrong = metrics.word_errors(truths, given)
    letters = metrics.character_errors(truths, given)[:, 0]
    order = np.lexsort((-letters, -wrong[:, 0] / wrong[:, 1]))
    worst = [int(k) for k in order[: experiment.report.examples]]
    shown = [
        sound.shown(some.source, k)
        | {"truth": str(truths[k]), "answer": str(given[k]), "wrong": int(wrong[k, 0])}
        for k in worst
    ]
    return {
        "words": _confusions(truths, given, "process_words"),
        "characters": _confusions(truths, given, "process_characters"),
        "by_duration": _by_duration(some, wrong),
        "ngram_weight": preparation.own.lm_weight if preparation.own.lm is not None else None,
        "examples": shown,
    }


def _confusions(truths: Array, given: Array, how: str) -> list[dict[str, Any]]:
    """Pairs of what was said and what was written, "" for nothing, the most frequent first."""
    found = metrics.aligned(truths, given, how)
    pairs: Counter[tuple[str, str]] = Counter()
    each = zip(found.alignments, found.references, found.hypotheses, strict=True)
    for chunks, reference, answered in each:
        for chunk in chunks:
            if chunk.type == "equal":
                continue
            said = list(reference[chunk.ref_start_idx : chunk.ref_end_idx])
            written = list(answered[chunk.hyp_start_idx : chunk.hyp_end_idx])
            longest = max(len(said), len(written))
            said += [""] * (longest - len(said))
            written += [""] * (longest - len(written))
            pairs.update(zip(said, written, strict=True))
    ordered = sorted(pairs.items(), key=lambda one: (-one[1], one[0]))[:20]
    return [{"truth": pair[0], "answer": pair[1], "times": times} for pair, times in ordered]


def _by_duration(some: Examples[Recordings], wrong: Array) -> list[dict[str, Any]]:
    """The word error rate of recordings of like duration."""
    played = some.source.played
    seconds = played.lengths / played.rate
    parts = np.array_split(np.argsort(seconds, kind="stable"), min(BINS, len(seconds)))
    return [
        {
            "seconds": float(seconds[which].mean()),
            "wer": float(wrong[which, 0].sum() / wrong[which, 1].sum()),
            "recordings": len(which),
        }
        for which in parts
    ]


def table(
    given: Array, some: Examples[Recordings], _preparation: Preparation[Fitted], which: Array
) -> pl.DataFrame:
    """One row a recording: id, transcript, and the truth where known."""
    pieces = some.source.frames.chosen(which)
    columns: dict[str, Any] = {"id": pieces.ids.astype(str), "transcript": given[which]}
    if pieces.labels is not None and (pieces.labels != "").any():
        columns["truth"] = pieces.labels.astype(str)
    return pl.DataFrame(columns)


def quick(
    preparation: Preparation[Fitted], experiment: Experiment
) -> tuple[Preparation[Fitted], Experiment]:
    """Without a beam search and its language model."""
    return replace(preparation, own=replace(preparation.own, beam_size=1, lm=None)), experiment


def ahead(sequences: Sequences, _preparation: Preparation[Fitted]) -> Sequences:
    """New recordings are answered as they are; their transcripts, if any, are carried along."""
    return sequences


TASK = Task(
    name="transcribe",
    settings={"sound": SETTINGS},
    fitted=Fitted,
    split=split,
    resolve=resolve,
    prepare=prepare,
    examples=examples,
    sizes=sizes,
    shapes=shapes,
    calibrate=calibrate,
    answer=answer,
    fit_baselines=fit_baselines,
    baselines=make_baselines,
    metrics=score,
    measures=measures,
    details=details,
    table=table,
    ahead=ahead,
    quick=quick,
    labelled=True,
)
