"""transcribe: speech recognition by character, with CTC (Graves et al. 2006)."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
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
from gatewise.data.splits import Splits, split_by_sequence
from gatewise.errors import ConfigError, DataError
from gatewise.settings import Experiment, NetworkSettings, names
from gatewise.tasks.task import NETWORK, Baseline, Measure, Task, ratio, sizes_of
from gatewise.tasks.transcribe import decoding, reading
from gatewise.tasks.transcribe.fitted import Fitted
from gatewise.tasks.transcribe.space import space

SETTINGS = sound.SETTINGS | names(
    data="label",
    split="seed test_ids",
    preparation="lowercase punctuation",
    task="beam_size lm_order lm_weight streaming",
)
STEPS = 4  # target number of network steps per character
MIN_REDUCTION = 1.5  # frames per step below which the default is no convolution
MAX_STRIDE = 4  # of one convolution
FILTERS = 64  # default filters of each convolution
UNITS = (128, 128)  # default units of the LSTM layers
BEAMS = 16  # default beam size with a language model
WEIGHTS = (0.25, 0.5, 0.75, 1.0)  # candidates for the weight of the language model
CALIBRATED_ON = 200  # recordings of the validation part, at most
BINS = 6  # of durations, in the report
APOSTROPHES = str.maketrans({"’": "'", "ʼ": "'", "‘": "'"})


def resolve(
    experiment: Experiment, sequences: Sequences, train: Sequences
) -> tuple[Experiment, list[str]]:
    """Fill in beam size, network, batch size and epochs by the number of recordings."""
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
            "task.streaming reads forwards only, but network.bidirectional reads in both "
            "directions. Leave one of them out."
        )
    if task.lm_weight and not task.lm_order:
        raise ConfigError("task.lm_weight needs task.lm_order, which is 0. Give both, or neither.")
    if task.lm_order and task.beam_size == 1:
        raise ConfigError(
            "task.lm_order needs task.beam_size above 1, because greedy decoding uses no model."
        )
    beams = task.beam_size or (BEAMS if task.lm_order else 1)
    task = replace(task, beam_size=beams)
    settings = experiment.preparation
    form = "lowercased, " if settings.lowercase else ""
    form += "with punctuation" if settings.punctuation else "without punctuation but apostrophes"
    notes = [f"transcripts are compared {form}, with single spaces, in NFC"]
    experiment, more = _with_convolutions(replace(experiment, network=network, task=task), train)
    return experiment, notes + more


def _with_convolutions(
    experiment: Experiment, recordings: Sequences
) -> tuple[Experiment, list[str]]:
    """Add convolutions that leave about STEPS network steps per character.

    With many more steps, a bidirectional network memorizes transcripts and emits them at the start
    before it learns from the sound (docs/log.md).
    """
    network = experiment.network
    default = network.strides == NetworkSettings().strides
    if network.filters or not default or recordings.labels is None:
        return experiment, []
    frames = spectrum_of(experiment.preparation, recordings.rate).count(recordings.lengths)
    letters = [max(1, len(str(text))) for text in recordings.labels]
    per_character = float(np.median(frames / np.array(letters)))
    reduction = per_character / STEPS
    if reduction < MIN_REDUCTION:
        return experiment, []
    layers = 1 if reduction <= MAX_STRIDE else 2
    stride = int(np.clip(round(reduction ** (1 / layers)), 2, MAX_STRIDE))
    network = replace(network, filters=(FILTERS,) * layers, strides=stride, kernel_size=2 * stride)
    return replace(experiment, network=network), [
        f"a character takes {per_character:.0f} frames, so convolutions reduce "
        f"{stride**layers} frames to one step (network.filters = {list(network.filters)}, "
        f"network.strides = {stride}; network.strides = 1 turns them off)"
    ]


def split(sequences: Sequences, experiment: Experiment, test: bool) -> Splits:
    """Split by group if the data has groups, else at random, without stratification."""
    settings = experiment.split
    if settings.by in ("label", "time"):
        raise ConfigError(
            f"split.by = {settings.by} is not available in transcribe. Choose group or random."
        )
    if settings.by == "auto":
        settings = replace(settings, by="random" if sequences.groups is None else "group")
    bare = replace(sequences, labels=None)
    splits = split_by_sequence(bare, settings, test=test)
    assert sequences.labels is not None
    labels = dict(zip(sequences.starts.tolist(), sequences.labels.tolist(), strict=True))

    def with_labels(part: Sequences | None) -> Sequences | None:
        if part is None:
            return None
        return replace(part, labels=np.array([labels[one] for one in part.starts.tolist()], object))

    train = with_labels(splits.train)
    assert train is not None
    return Splits(train, with_labels(splits.validation), with_labels(splits.test))


def normalised(text: str, *, lowercase: bool, punctuation: bool) -> str:
    """The normalized form of a transcript, used in training and evaluation.

    >>> normalised("Don’t  stop, HAL!", lowercase=True, punctuation=False)
    "don't stop hal"
    """
    text = unicodedata.normalize("NFC", text).translate(APOSTROPHES)
    text = text.lower() if lowercase else text
    if not punctuation:
        # Letters, combining marks, numbers and apostrophes within words are spoken.
        spoken = (c if unicodedata.category(c)[0] in "LMN" or c == "'" else " " for c in text)
        text = re.sub(r"(?<!\w)'|'(?!\w)", " ", "".join(spoken))
    return " ".join(text.split())


def _normalised(sequences: Sequences, fitted: Fitted) -> Sequences:
    """The same recordings with normalized transcripts.

    Raises:
        DataError: a transcript is empty afterwards.
    """
    assert sequences.labels is not None
    kind = {"lowercase": fitted.lowercase, "punctuation": fitted.punctuation}
    texts = [normalised(str(one), **kind) for one in sequences.labels]
    empty = [k for k, text in enumerate(texts) if not text]
    if empty:
        raise DataError(
            f"{sequences.source}: the transcript {sequences.labels[empty[0]]!r} of "
            f"'{sequences.ids[empty[0]]}' is empty without punctuation. Correct it, remove the "
            "recording, or set preparation.punctuation = true."
        )
    return replace(sequences, labels=np.array(texts, dtype=object))


def prepare(train: Sequences, experiment: Experiment) -> tuple[Preparation[Fitted], list[str]]:
    """Fit characters, frames, scale and any language model on the training part."""
    settings, network, task = experiment.preparation, experiment.network, experiment.task
    spectrum, frames, scale = sound.fit_frames(train, experiment)
    fitted = Fitted(
        classes=(),
        spectrum=spectrum,
        lowercase=settings.lowercase,
        punctuation=settings.punctuation,
        strides=(network.strides,) * sum(map(bool, network.filters)),
        beam_size=task.beam_size,
    )
    texts = _normalised(train, fitted).labels
    assert texts is not None
    classes = tuple(sorted({character for text in texts for character in text}))
    fitted = replace(fitted, classes=classes)
    notes = [f"the training part has {len(classes)} characters: {''.join(classes)!r}"]
    short = np.flatnonzero(frames.lengths < frames_needed(list(texts), fitted))
    if len(short):
        notes.append(_short_recordings_note(frames, list(texts), fitted, short))
    if task.lm_order:
        model = decoding.fit_characters(texts, task.lm_order)
        weight = task.lm_weight
        if not weight and not (experiment.split.validation or experiment.data.validation):
            weight = WEIGHTS[1]
            notes.append(
                f"task.lm_weight is {weight:g}, because there is no validation part to choose it on"
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
    """The fewest frames from which CTC can emit each transcript, [texts].

    Each character takes a step of the network, and a double character also takes a blank.
    """
    doubles = [sum(map(str.__eq__, text, text[1:])) for text in texts]
    steps: Array = np.array([len(text) for text in texts]) + np.array(doubles)
    for stride in reversed(fitted.strides):
        steps = (steps - 1) * stride + 1
    least: Array = np.maximum(steps, 1)
    return least


def _short_recordings_note(
    frames: Sequences, texts: Sequence[str], fitted: Fitted, short: Array
) -> str:
    """A note on recordings that are too short for CTC.

    Raises:
        DataError: every recording is too short.
    """
    k = int(short[0])
    wanted = int(frames_needed([texts[k]], fitted)[0])
    first = (
        f"'{frames.ids[k]}' has {frames.lengths[k]} frames, but '{texts[k]}' needs {wanted}. "
        "Reduce preparation.hop_length or network.strides"
    )
    if len(short) == len(frames):
        raise DataError(
            f"{frames.source}: every recording is too short for its transcript: {first}."
        )
    count = "1 recording is" if len(short) == 1 else f"{len(short)} recordings are"
    return f"{count} too short for the transcript and left out of training: {first}"


def examples(
    sequences: Sequences, preparation: Preparation[Fitted], experiment: Experiment, role: str
) -> Examples[Recordings]:
    """Recordings as frames, with the symbols of their transcripts as targets.

    Training and validation leave out recordings that are too short for their transcripts.
    """
    fitted = preparation.own

    def frames_of(recordings: Sequences) -> Examples[Recordings]:
        return sound.examples(
            recordings,
            fitted.spectrum,
            scale=preparation.scale,
            training=experiment.training,
            role=role,
        )

    labelled = sequences.labels is not None and (sequences.labels != "").any()
    if role == "predict" or not labelled:
        return frames_of(sequences)
    sequences = _normalised(sequences, fitted)
    assert sequences.labels is not None
    if role != "test":
        least = frames_needed(sequences.labels.tolist(), fitted)
        sequences = replace(sequences, static={"frames": least})
        enough = fitted.spectrum.count(sequences.lengths) >= least
        sequences = sequences.chosen(np.flatnonzero(enough))
    if not len(sequences):
        return frames_of(sequences)
    assert sequences.labels is not None
    result = frames_of(sequences)
    symbol_of = {character: k + 1 for k, character in enumerate(preparation.own.classes)}
    symbols = [
        [symbol_of[character] for character in text if character in symbol_of]
        for text in sequences.labels.tolist()
    ]
    return replace(result, targets=_Targets(symbols, result.lengths))


class _Targets:
    """Symbols padded with blanks to a width that depends only on the padded length of the batch.

    Each padded length is therefore compiled once.
    """

    def __init__(self, symbols: list[list[int]], lengths: Array) -> None:
        self.symbols = symbols
        order = np.argsort(lengths, kind="stable")
        self.lengths = lengths[order]
        self.widest = np.maximum.accumulate([max(1, len(symbols[k])) for k in order])

    def __call__(self, indices: Array, length: int) -> Array:
        """[chosen, symbols] int32."""
        last = int(np.searchsorted(self.lengths, length, side="right")) - 1
        batch = np.full((len(indices), self.widest[last]), decoding.BLANK, dtype=np.int32)
        for row, k in enumerate(indices.tolist()):
            batch[row, : len(self.symbols[k])] = self.symbols[k]
        return batch


def sizes(examples: Examples[Recordings]) -> dict[str, int]:
    """The numbers of recordings and frames."""
    return sizes_of(examples.source.frames)


def shapes(_examples: Examples[Recordings], preparation: Preparation[Fitted]) -> Shapes:
    """The shapes of the network."""
    return fitted_shapes(preparation)


def fitted_shapes(preparation: Preparation[Fitted]) -> Shapes:
    """Inputs: frames; outputs: logits of the blank and each character at each step."""
    lm = preparation.own.lm
    if lm is not None:
        counts = [count for one in lm.counts.values() for count in one.values()]
        if lm.order < 1 or not lm.counts.get("") or min(counts) < 1:
            raise ValueError("the language model counts less than one character")
    return Shapes(
        inputs={"steps": (None, len(preparation.used))},
        output=(len(preparation.own.classes) + 1,),
        padding=PADDING,
    )


def calibrate(
    preparation: Preparation[Fitted], outputs: list[Array], examples: Examples[Recordings]
) -> Preparation[Fitted]:
    """Choose the language model weight with the fewest word errors on the validation part."""
    fitted = preparation.own
    if fitted.lm is None or fitted.lm_weight:
        return preparation
    truths = _truths(examples)[:CALIBRATED_ON]

    def errors(weight: float) -> int:
        candidate = replace(fitted, lm_weight=weight)
        return int(
            metrics.word_errors(truths, _decoded(outputs[:CALIBRATED_ON], candidate))[:, 0].sum()
        )

    return replace(preparation, own=replace(fitted, lm_weight=min(WEIGHTS, key=errors)))


def postprocess(
    outputs: list[Array],
    _examples: Examples[Recordings],
    preparation: Preparation[Fitted],
    _state: Mapping[str, Any],
) -> Array:
    """The transcript of each recording, [recordings] str."""
    return _decoded(outputs, preparation.own)


def bonus_of(fitted: Fitted) -> decoding.Bonus | None:
    """The score of the language model; None without one."""
    if fitted.lm is None:
        return None
    weight = fitted.lm_weight or WEIGHTS[1]  # 0 before calibration
    return decoding.bonus_of(fitted.lm, weight, fitted.classes)


def _decoded(outputs: list[Array], fitted: Fitted) -> Array:
    """Decode the log probabilities of each recording, [recordings] str."""
    texts = decoding.decoded(
        outputs,
        fitted.classes,
        beam_size=fitted.beam_size,
        lm=fitted.lm,
        lm_weight=fitted.lm_weight or WEIGHTS[1],  # 0 before calibration
    )
    return np.array(texts, dtype=str)


def fit_baselines(
    train: Examples[Recordings],
    _valid: Examples[Recordings] | None,
    _preparation: Preparation[Fitted],
) -> dict[str, Any]:
    """The most frequent transcript in training; ties go to the first in alphabetical order."""
    counts = Counter(_truths(train).tolist())
    return {"transcript": min(counts, key=lambda text: (-counts[text], text))}


def make_baselines(
    state: Mapping[str, Any], _preparation: Preparation[Fitted], _train: Examples[Recordings] | None
) -> list[Baseline[Recordings, Array]]:
    """The most frequent transcript for every recording."""
    text = np.array([state["transcript"]], dtype=str)
    return [Baseline("most frequent transcript", lambda examples: np.repeat(text, len(examples)))]


def _truths(examples: Examples[Recordings]) -> Array:
    labels = examples.source.frames.labels
    assert labels is not None
    return labels


def score(
    predictions: Array,
    examples: Examples[Recordings],
    _preparation: Preparation[Fitted],
    _experiment: Experiment,
) -> dict[str, float]:
    """Word and character error rate, and the share of recordings without an error."""
    truths = _truths(examples)
    return {
        "wer": metrics.wer(truths, predictions),
        "cer": metrics.cer(truths, predictions),
        "exact": metrics.exact(truths.astype(str), predictions),
    }


def measures(
    examples: Examples[Recordings], _preparation: Preparation[Fitted], _experiment: Experiment
) -> list[Measure[Array]]:
    """Word and character error rate; recordings of one group are a cluster."""
    frames, truths = examples.source.frames, _truths(examples)
    groups = frames.groups if frames.groups is not None else frames.first
    _, clusters = np.unique(groups, return_inverse=True)

    return [
        Measure(
            "wer",
            lambda predictions: metrics.word_errors(truths, predictions).astype(float),
            ratio,
            clusters,
        ),
        Measure(
            "cer",
            lambda predictions: metrics.character_errors(truths, predictions).astype(float),
            ratio,
            clusters,
        ),
    ]


# The report


def details(
    answers: dict[str, Array],
    examples: Examples[Recordings],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> dict[str, Any]:
    """Confusions, errors by duration, and the recordings with the most errors."""
    truths, predictions = _truths(examples), answers[NETWORK]
    errors = metrics.word_errors(truths, predictions)
    letters = metrics.character_errors(truths, predictions)[:, 0]
    order = np.lexsort((-letters, -errors[:, 0] / errors[:, 1]))
    worst = [int(k) for k in order[: experiment.report.examples]]
    shown = [
        sound.shown(examples.source, k)
        | {"truth": str(truths[k]), "answer": str(predictions[k]), "wrong": int(errors[k, 0])}
        for k in worst
    ]
    return {
        "words": _confusions(truths, predictions, "process_words"),
        "characters": _confusions(truths, predictions, "process_characters"),
        "by_duration": _by_duration(examples, errors),
        "ngram_weight": preparation.own.lm_weight if preparation.own.lm is not None else None,
        "examples": shown,
    }


def _confusions(truths: Array, predictions: Array, how: str) -> list[dict[str, Any]]:
    """Confused pairs of reference and transcription, most frequent first; "" is a gap."""
    alignment = metrics.aligned(truths, predictions, how)
    pairs: Counter[tuple[str, str]] = Counter()
    each = zip(alignment.alignments, alignment.references, alignment.hypotheses, strict=True)
    for chunks, reference, hypothesis in each:
        for chunk in chunks:
            if chunk.type == "equal":
                continue
            spoken = list(reference[chunk.ref_start_idx : chunk.ref_end_idx])
            written = list(hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx])
            pairs.update(zip_longest(spoken, written, fillvalue=""))
    ordered = sorted(pairs.items(), key=lambda one: (-one[1], one[0]))[:20]
    return [{"truth": pair[0], "answer": pair[1], "times": times} for pair, times in ordered]


def _by_duration(examples: Examples[Recordings], errors: Array) -> list[dict[str, Any]]:
    """The word error rate in bins of similar duration."""
    played = examples.source.played
    seconds = played.lengths / played.rate
    parts = np.array_split(np.argsort(seconds, kind="stable"), min(BINS, len(seconds)))
    return [
        {
            "seconds": float(seconds[indices].mean()),
            "wer": float(errors[indices, 0].sum() / errors[indices, 1].sum()),
            "recordings": len(indices),
        }
        for indices in parts
    ]


def table(
    predictions: Array,
    examples: Examples[Recordings],
    _preparation: Preparation[Fitted],
    indices: Array,
) -> pl.DataFrame:
    """One row per recording: id, transcript, and the truth if known."""
    frames = examples.source.frames.chosen(indices)
    columns: dict[str, Any] = {"id": frames.ids.astype(str), "transcript": predictions[indices]}
    if frames.labels is not None and (frames.labels != "").any():
        columns["truth"] = frames.labels.astype(str)
    return pl.DataFrame(columns)


def quick(
    preparation: Preparation[Fitted], experiment: Experiment
) -> tuple[Preparation[Fitted], Experiment]:
    """The same preparation with greedy decoding, without a language model."""
    return replace(preparation, own=replace(preparation.own, beam_size=1, lm=None)), experiment


def schema(_preparation: Preparation[Fitted], _experiment: Experiment) -> dict[str, Any]:
    """The columns of `table` for new data."""
    return dict.fromkeys(("id", "transcript"), pl.String)


def prediction_inputs(sequences: Sequences, _preparation: Preparation[Fitted]) -> Sequences:
    """The recordings unchanged, with any transcripts."""
    return sequences


TASK = Task(
    name="transcribe",
    settings={"sound": SETTINGS},
    fitted=Fitted,
    recognise=reading.RECOGNISE,
    read=reading.read,
    split=split,
    resolve=resolve,
    space=space,
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
)
