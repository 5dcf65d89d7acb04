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
from gatewise.data.spectra import Spectrum, spectrum_of
from gatewise.data.splits import Parts, split_by_sequence
from gatewise.errors import ConfigError, DataError
from gatewise.settings import Experiment, NetworkSettings, names
from gatewise.tasks.task import Baseline, Measure, Task, answer_name
from gatewise.tasks.transcribe import decoding
from gatewise.tasks.transcribe.decoding import Characters

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


def _normalised(sequences: Sequences, preparation: Preparation) -> Sequences:
    """The same recordings with comparable transcripts.

    Raises:
        DataError: nothing is left of one.
    """
    assert sequences.labels is not None
    kind = {"lowercase": preparation.lowercase, "punctuation": preparation.punctuation}
    texts = [normalised(str(one), **kind) for one in sequences.labels]
    empty = [k for k, text in enumerate(texts) if not text]
    if empty:
        raise DataError(
            f"{sequences.source}: nothing is left of the transcript {sequences.labels[empty[0]]!r} "
            f"of '{sequences.ids[empty[0]]}' without its signs. Mend it or take the recording out; "
            "preparation.punctuation = true keeps signs."
        )
    return replace(sequences, labels=np.array(texts, dtype=object))


def prepare(train: Sequences, experiment: Experiment) -> tuple[Preparation, list[str]]:
    """Characters, frames and their scale, and a language model if asked for, from training."""
    settings, network, task = experiment.preparation, experiment.network, experiment.task
    spectrum, frames, scale = sound.fit_frames(train, experiment)
    preparation = Preparation(
        task="transcribe",
        kind="sound",
        columns=frames.columns,
        used=frames.columns,
        scale=scale,
        padded=True,
        lowercase=settings.lowercase,
        punctuation=settings.punctuation,
        strides=(network.strides,) * len(network.filters),
        beam_size=task.beam_size,
        sound=spectrum.to_json(),
    )
    said = _normalised(train, preparation).labels
    assert said is not None
    classes = tuple(sorted({character for text in said for character in text}))
    preparation = replace(preparation, classes=classes)
    notes = [f"{len(classes)} characters are known from the training part: {''.join(classes)!r}"]
    short = np.flatnonzero(frames.lengths < frames_needed(list(said), preparation))
    if len(short):
        notes.append(_told_of_short(frames, list(said), preparation, short))
    if task.lm_order:
        model = decoding.fit_characters(said, task.lm_order)
        weight = task.lm_weight
        if not weight and not (experiment.split.validation or experiment.data.validation):
            weight = WEIGHTS[1]
            notes.append(
                f"there is no validation part to choose task.lm_weight by; it is {weight:g}"
            )
        preparation = replace(preparation, lm=model.to_json(), lm_weight=weight)
    return preparation, notes


def frames_needed(texts: Sequence[str], preparation: Preparation) -> Array:
    """Frames without which a transcript cannot be said, [texts].

    Each character takes a step of the network, and a character said twice a blank between the two.
    """
    twice = [sum(map(str.__eq__, text, text[1:])) for text in texts]
    steps: Array = np.array([len(text) for text in texts]) + np.array(twice)
    for stride in reversed(preparation.strides):
        steps = (steps - 1) * stride + 1
    least: Array = np.maximum(steps, 1)
    return least


def _told_of_short(
    frames: Sequences, texts: Sequence[str], preparation: Preparation, short: Array
) -> str:
    """A note on what CTC cannot learn, or a DataError where that is everything."""
    k = int(short[0])
    wanted = int(frames_needed([texts[k]], preparation)[0])
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
    sequences: Sequences, preparation: Preparation, experiment: Experiment, role: str
) -> Examples:
    """Recordings as frames, with the symbols of their transcripts as targets.

    What is too short to be said is not learnt from; it is judged and answered all the same.
    """
    known = sequences.labels is not None and (sequences.labels != "").any()
    if role == "predict" or not known:
        return sound.examples(sequences, preparation, experiment, role)
    sequences = _normalised(sequences, preparation)
    assert sequences.labels is not None
    if role != "test":
        least = frames_needed(sequences.labels.tolist(), preparation)
        sequences = replace(sequences, static={"frames": least})
        enough = Spectrum(**preparation.sound).count(sequences.lengths) >= least
        sequences = sequences.chosen(np.flatnonzero(enough))
    if not len(sequences):
        return sound.examples(sequences, preparation, experiment, role)
    assert sequences.labels is not None
    given = sound.examples(sequences, preparation, experiment, role)
    places = {character: k + 1 for k, character in enumerate(preparation.classes)}
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


def shapes(_some: Examples, preparation: Preparation) -> Shapes:
    """Frames in; at each step a logit for the blank and one for each character out."""
    return Shapes(
        inputs={"steps": (None, len(preparation.used))},
        output=(len(preparation.classes) + 1,),
        padding=PADDING,
    )


def calibrate(preparation: Preparation, outputs: Array, some: Examples) -> Preparation:
    """The weight of the language model that makes the fewest word errors on the validation part."""
    if not preparation.lm or preparation.lm_weight:
        return preparation
    truths = _truths(some)[:CHOSEN_ON]

    def wrong(weight: float) -> int:
        tried = replace(preparation, lm_weight=weight)
        return int(metrics.word_errors(truths, _decoded(outputs[:CHOSEN_ON], tried))[:, 0].sum())

    return replace(preparation, lm_weight=min(WEIGHTS, key=wrong))


def answer(
    outputs: Array, _some: Examples, preparation: Preparation, _state: Mapping[str, Any]
) -> Array:
    """The transcript of each recording, [recordings] str."""
    return _decoded(outputs, preparation)


def _decoded(outputs: Array, preparation: Preparation) -> Array:
    """Log probabilities of each recording -> its transcript, [recordings] str."""
    bonus = None
    if preparation.lm:
        model = Characters.from_json(preparation.lm)
        weight = preparation.lm_weight or WEIGHTS[1]  # chosen, where there was a part for that
        bonus = decoding.bonus_of(model, weight, preparation.classes)
    said = []
    for scores in outputs:
        if preparation.beam_size > 1:
            symbols = decoding.beam_search(scores, preparation.beam_size, bonus)
        else:
            symbols = decoding.greedy(scores)
        text = "".join(preparation.classes[one - 1] for one in symbols)
        said.append(" ".join(text.split()))
    return np.array(said, dtype=str)


def fit_baselines(
    train: Examples, _valid: Examples | None, _preparation: Preparation
) -> dict[str, Any]:
    """The transcript that occurs most often in training, of several the first by the alphabet."""
    counts = Counter(_truths(train).tolist())
    return {"transcript": min(counts, key=lambda text: (-counts[text], text))}


def make_baselines(
    state: Mapping[str, Any], _preparation: Preparation, _train: Examples | None
) -> list[Baseline]:
    """The most frequent transcript, whatever is heard."""
    said = np.array([state["transcript"]], dtype=str)
    return [Baseline("most frequent transcript", lambda some: np.repeat(said, len(some)))]


def _truths(some: Examples) -> Array:
    assert isinstance(some.of, Sequences) and some.of.labels is not None
    return some.of.labels


def score(
    given: Array, some: Examples, _preparation: Preparation, _experiment: Experiment
) -> dict[str, float]:
    """Word and character error rate over all recordings, and the share without an error."""
    truths = _truths(some)
    return {
        "wer": metrics.wer(truths, given),
        "cer": metrics.cer(truths, given),
        "exact": metrics.exact(truths.astype(str), given),
    }


def measures(some: Examples, _preparation: Preparation, _experiment: Experiment) -> list[Measure]:
    """Word and character error rate; recordings of one group are a cluster."""
    pieces, truths = some.of, _truths(some)
    assert isinstance(pieces, Sequences)
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
    answers: dict[str, Array], some: Examples, preparation: Preparation, experiment: Experiment
) -> dict[str, Any]:
    """What was taken for what, errors by duration, and the worst recordings to look at and hear."""
    truths, given = _truths(some), answers[answer_name(preparation)]
    wrong = metrics.word_errors(truths, given)
    letters = metrics.character_errors(truths, given)[:, 0]
    order = np.lexsort((-letters, -wrong[:, 0] / wrong[:, 1]))
    worst = [int(k) for k in order[: experiment.report.examples]]
    shown = [
        sound.shown(some, k)
        | {"truth": str(truths[k]), "answer": str(given[k]), "wrong": int(wrong[k, 0])}
        for k in worst
    ]
    return {
        "words": _confusions(truths, given, "process_words"),
        "characters": _confusions(truths, given, "process_characters"),
        "by_duration": _by_duration(some, wrong),
        "ngram_weight": preparation.lm_weight if preparation.lm else None,
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


def _by_duration(some: Examples, wrong: Array) -> list[dict[str, Any]]:
    """The word error rate of recordings of like duration."""
    played = some.sound
    assert played is not None
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


def table(given: Array, some: Examples, _preparation: Preparation, which: Array) -> pl.DataFrame:
    """One row a recording: id, transcript, and the truth where known."""
    assert isinstance(some.of, Sequences)
    pieces = some.of.chosen(which)
    columns: dict[str, Any] = {"id": pieces.ids.astype(str), "transcript": given[which]}
    if pieces.labels is not None and (pieces.labels != "").any():
        columns["truth"] = pieces.labels.astype(str)
    return pl.DataFrame(columns)


def ahead(sequences: Sequences, _preparation: Preparation) -> Sequences:
    """New recordings are answered as they are; their transcripts, if any, are carried along."""
    return sequences


TASK = Task(
    name="transcribe",
    settings={"sound": SETTINGS},
    split=split,
    resolve=resolve,
    prepare=prepare,
    examples=examples,
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
    labelled=True,
)
