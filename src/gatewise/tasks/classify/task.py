"""classify: a label for each sequence, with probabilities that mean what they say.

Sequences of numbers, texts and recordings go the same way; where `data.separator` is given, a
sequence has any number of labels, and each label an answer of its own.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from scipy.spatial.transform import Rotation
from scipy.special import expit, softmax

from gatewise import metrics
from gatewise.baselines import tfidf
from gatewise.baselines.logistic import Logistic, fit_logistic, logistic, summaries
from gatewise.baselines.naive import majority
from gatewise.baselines.neighbours import nearest_neighbour
from gatewise.data import sound, vocabulary
from gatewise.data.batches import PADDING, Examples, Shapes, gather
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import FARTHEST, FINEST, fit_scale, refuse_far
from gatewise.data.sequences import Array, Sequences, from_arrays, text_of, texts_of
from gatewise.data.splits import Parts, split_by_sequence
from gatewise.data.vocabulary import UNKNOWN, fit_vocabulary, usual_embedding
from gatewise.data.windows import cut
from gatewise.errors import ConfigError, DataError
from gatewise.readers.tables import whole_label
from gatewise.settings import Experiment, NetworkSettings, names
from gatewise.tasks.calibration import fit_temperature
from gatewise.tasks.classify import multilabel
from gatewise.tasks.task import (
    LOGISTIC,
    NETWORK,
    Baseline,
    Measure,
    Task,
    answer_name,
    mean_measure,
)

log = logging.getLogger("gatewise")

SETTINGS = names(
    data="label separator group",
    split="rare_labels seed test_ids",
    task="blend",
    training="loss label_smoothing class_weight max_tokens",
)
OF_NUMBERS = names(
    data="labels time time_format features triads missing duplicates gaps",
    preparation="scale scale_by constant_columns",
    task="window stride",
    training="rotation",
)
OF_TEXTS = vocabulary.SETTINGS | names(data="text", preparation="lowercase max_length truncation")
OF_SOUND = sound.SETTINGS | names(task="window stride")
UNITS = (64,)  # of the LSTM layers, where the settings do not say
LONGEST_TEXT = 400  # tokens that are read of a text, where the settings do not say
SHOWN_LETTERS = 600  # of a text
SHOWN_STEPS = 200  # a worst example is drawn with at most so many steps
LEAST = 1e-300  # a chance of less has no logarithm


def resolve(
    experiment: Experiment, sequences: Sequences, _train: Sequences
) -> tuple[Experiment, list[str]]:
    """Fill in the network's size, and batch size and epochs by the number of sequences."""
    _refuse_triads(experiment, sequences)
    experiment = replace(experiment, network=_network(experiment.network, sequences.kind))
    if experiment.task.window and not experiment.task.stride:
        experiment = experiment.having("task", stride=experiment.task.window)
    if sequences.kind == "sound":
        return sound.resolved(experiment, sequences), []
    if sequences.kind == "text":
        settings = experiment.preparation
        kind = "words" if settings.tokenizer == "auto" else settings.tokenizer
        experiment = replace(experiment, preparation=vocabulary.resolved(settings, kind))
    training = experiment.training
    count = len(_pieces(sequences, experiment.task.window, experiment.task.stride))
    if sequences.kind == "text" and not training.epochs:
        training = replace(training, epochs=int(np.clip(150_000 // (count + 1), 6, 40)))
    if not training.batch_size:
        size = int(np.clip(2 ** round(np.log2(count / 40 + 1)), 8, 64))
        training = replace(training, batch_size=size)
    if not training.epochs:
        training = replace(training, epochs=int(np.clip(300_000 // (count + 1), 15, 150)))
    return replace(experiment, training=training), []


def _network(settings: NetworkSettings, kind: str) -> NetworkSettings:
    if settings.pooling == "auto":
        # What a text or a recording says may stand anywhere in it.
        settings = replace(settings, pooling="last" if kind == "numbers" else "mean-max")
    return replace(
        settings,
        kind="stack" if settings.kind == "auto" else settings.kind,
        units=settings.units or UNITS,
        dense_dropout=max(0.0, settings.dense_dropout),
    )


def resolve_fitted(experiment: Experiment, preparation: Preparation) -> Experiment:
    """Fill in how much is read of a text, and the size of the vectors of its tokens."""
    if preparation.kind != "text":
        return experiment
    size = usual_embedding(len(preparation.vocabularies["tokens"]))
    experiment = experiment.having("preparation", max_length=preparation.max_length)
    return experiment.having("network", embedding_dim=experiment.network.embedding_dim or size)


def _refuse_triads(experiment: Experiment, sequences: Sequences) -> None:
    """Triads that name no three columns, and a rotation that has none to turn."""
    triads, wanted = experiment.data.triads, 'data.triads = [["x", "y", "z"]]'
    if experiment.training.rotation and not triads:
        raise ConfigError(
            f"training.rotation is {experiment.training.rotation:g}, and no columns are named that "
            f"it turns. Name them three by three ({wanted}), or set training.rotation = 0."
        )
    for triad in triads:
        if len(set(triad)) != 3 or len(triad) != 3:
            raise ConfigError(
                f"A triad is three different columns, in a list of its own: {wanted}. "
                f"Received: {list(triad)}."
            )
        for name in triad:
            if name not in sequences.columns:
                raise ConfigError(
                    f"data.triads names the column '{name}', which is not read. Read are: "
                    f"{', '.join(sequences.columns[:10])}. Name one of them, or add it to "
                    "data.features."
                )
    named = [name for triad in triads for name in triad]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise ConfigError(
            f"data.triads names the column '{twice[0]}' in two triads, and it can be part of one "
            "vector only. Name it once."
        )


def split(sequences: Sequences, experiment: Experiment, test: bool) -> Parts:
    """By group where the data names one, else with the labels in the same proportions.

    Texts that are the same, word for word, stay in one part: a message sent a hundred times would
    else be learnt by heart, and asked.
    """
    settings = experiment.split
    if experiment.data.separator and settings.by == "auto" and sequences.groups is None:
        settings = replace(settings, by="random")  # sets of labels are too many for proportions
    alike = _alike(sequences) if test and settings.by in ("auto", "label") else None
    if alike is None:
        return split_by_sequence(sequences, settings, test=test)
    parts = split_by_sequence(
        replace(sequences, groups=alike), replace(settings, by="auto"), test=test
    )
    return Parts(
        replace(parts.train, groups=None),
        parts.validation and replace(parts.validation, groups=None),
        parts.test and replace(parts.test, groups=None),
    )


def _alike(sequences: Sequences) -> Array | None:
    """Each text as the group of those that are the same; None where none are, or not to be told."""
    if sequences.kind != "text" or sequences.groups is not None:
        return None
    texts = np.array(texts_of(sequences), dtype=object)
    return texts if len(np.unique(texts)) < len(texts) else None


def prepare(train: Sequences, experiment: Experiment) -> tuple[Preparation, list[str]]:
    """Classes, the columns that say anything, and their scale, fitted on the training part."""
    assert train.labels is not None
    settings = experiment.preparation
    classes = _classes(train, experiment.data.separator)
    if train.kind == "text":
        return _prepare_texts(train, classes, experiment)
    if train.kind == "sound":
        return _prepare_sound(train, classes, experiment), []
    texts = [name for name in train.columns if name in train.levels]
    if texts:
        raise DataError(
            f"{train.source}: column '{texts[0]}' holds texts; classify reads numbers. Leave "
            "it out of data.features."
        )
    image = train.values.dtype == np.uint8
    kind = ("minmax" if image else "standard") if settings.scale == "auto" else settings.scale
    by = ("all" if image else "column") if settings.scale_by == "auto" else settings.scale_by
    scale = fit_scale(train, kind, by)
    used, notes = train.columns, []
    if not image and settings.constant_columns != "keep":
        spans = fit_scale(train, "minmax", "column")
        moving = fit_scale(train, "standard", "column")
        constant = [
            name
            for name, span, deviation in zip(
                train.columns, spans.spread[0], moving.spread[0], strict=True
            )
            if span == 1.0 and deviation == 1.0 and _constant(train, name)
        ]
        if constant and settings.constant_columns == "error":
            raise DataError(
                f"{train.source}: column '{constant[0]}' never changes in the training part. "
                "Take it out, or set preparation.constant_columns = drop."
            )
        used = tuple(name for name in train.columns if name not in constant)
        if constant:
            notes.append(f"Dropped, for they never change in training: {', '.join(constant)}.")
        if not used:
            raise DataError(f"{train.source}: no column ever changes in the training part.")
    task = experiment.task
    pieces = _pieces(train, task.window, task.stride)
    return Preparation(
        task="classify",
        columns=train.columns,
        used=used,
        scale=scale,
        classes=classes,
        separator=experiment.data.separator,
        blend=task.blend,
        window=task.window,
        stride=task.stride or task.window,
        padded=len(np.unique(pieces.lengths)) > 1,
        step=train.step,
    ), notes


def _classes(train: Sequences, separator: str) -> tuple[str, ...]:
    """The labels of the training part, in alphabetical order."""
    assert train.labels is not None
    known = sorted({name for label in train.labels for name in _names(str(label), separator)})
    if len(known) < 2:
        raise DataError(
            f"{train.source}: every training sequence has the label '{''.join(known)}'. "
            "Classification needs at least two labels."
        )
    return tuple(known)


def _names(label: str, separator: str) -> list[str]:
    """The single labels of a cell.

    >>> _names("rain; wind", ";")
    ['rain', 'wind']
    """
    if not separator:
        return [whole_label(label)]
    return [whole_label(name.strip()) for name in label.split(separator) if name.strip()]


def _prepare_sound(
    train: Sequences, classes: tuple[str, ...], experiment: Experiment
) -> Preparation:
    """How frames are made of recordings, and their scale."""
    spectrum, frames, scale = sound.fit_frames(train, experiment)
    task = experiment.task
    return Preparation(
        task="classify",
        kind="sound",
        columns=frames.columns,
        used=frames.columns,
        scale=scale,
        classes=classes,
        separator=experiment.data.separator,
        blend=task.blend,
        window=task.window,
        stride=task.stride or task.window,
        padded=True,
        sound=spectrum.to_json(),
    )


def _prepare_texts(
    train: Sequences, classes: tuple[str, ...], experiment: Experiment
) -> tuple[Preparation, list[str]]:
    """The vocabulary of the training part, and how much of a long text is read."""
    settings, written = experiment.preparation, texts_of(train)
    kind = "words" if settings.tokenizer == "auto" else settings.tokenizer
    known = fit_vocabulary(
        written,
        kind,
        most=settings.vocabulary_size,
        min_frequency=settings.min_frequency,
        lowercase=settings.lowercase,
    )
    lengths = np.array([len(one) for one in known.encode(written)])
    longest = settings.max_length or int(min(LONGEST_TEXT, lengths.max()))
    notes = [f"{len(known):,} different tokens ({kind}) are known from the training part"]
    if over := int((lengths > longest).sum()):
        if settings.truncation == "error":
            where = str(train.ids[int((lengths > longest).argmax())])
            raise DataError(
                f"{train.source}: text '{where}' has {lengths.max()} tokens, and "
                f"preparation.max_length is {longest}. Raise it, or set preparation.truncation "
                "= end."
            )
        notes.append(
            f"{over} of {len(lengths)} training texts have more than {longest} tokens and are cut "
            f"off at the {settings.truncation} (preparation.max_length, preparation.truncation)"
        )
    return Preparation(
        task="classify",
        kind="text",
        columns=train.columns,
        used=train.columns,
        scale=fit_scale(train, "none", "all"),
        classes=classes,
        separator=experiment.data.separator,
        blend=experiment.task.blend,
        vocabularies={"tokens": known},
        max_length=longest,
        truncation=settings.truncation,
        padded=True,
    ), notes


def _constant(train: Sequences, name: str) -> bool:
    column = train.columns.index(name)
    first = train[0][0, column]
    return all((steps[:, column] == first).all() for steps in train)


def _pieces(sequences: Sequences, window: int, stride: int) -> Sequences:
    return cut(sequences, window, stride or window) if window else sequences


def examples(
    sequences: Sequences, preparation: Preparation, experiment: Experiment, role: str
) -> Examples:
    """The sequences (or their windows), with the positions of their labels as targets."""
    heard = None
    if sequences.kind == "sound":
        heard = sound.examples(sequences, preparation, experiment, role)
    pieces = heard.of if heard else _pieces(sequences, preparation.window, preparation.stride)
    assert isinstance(pieces, Sequences)
    labels = None if role == "predict" else _positions(pieces, preparation)
    weights = None
    if role == "train" and labels is not None and experiment.training.class_weight == "balanced":
        weights = _balanced(labels, preparation)
    if heard is not None:
        return replace(heard, targets=_wanted(labels), weights=weights)
    if pieces.kind == "text":
        tokens = tokens_of(pieces, preparation)
        return Examples(pieces, tokens.lengths, _padded_tokens(tokens), _wanted(labels), weights)
    columns = preparation.positions(preparation.used)
    refuse_far(sequences, *preparation.scale.rows(sequences), columns)
    centre, spread = preparation.scale.rows(pieces)
    exact = _exact(centre, spread)
    centre, spread = centre.astype(exact), spread.astype(exact)
    everything = len(columns) == len(preparation.columns)
    turn = _turning(preparation, experiment) if role == "train" else None

    def inputs(which: Array, length: int) -> dict[str, Array]:
        values, real = gather(pieces, which, length)
        if turn is not None:
            values = turn(values)  # before the scaling: what is stretched has no angles
        if not everything:
            values = values[..., columns]
        scaled = values.astype(exact)
        scaled -= centre[which][:, None, columns]
        scaled /= spread[which][:, None, columns]
        if real is not None:
            scaled[~real] = PADDING
        return {"steps": scaled.astype(np.float32, copy=False)}

    return Examples(pieces, pieces.lengths, inputs, _wanted(labels), weights)


def _exact(centre: Array, spread: Array) -> type[np.floating[Any]]:
    """The type that values are scaled in: float32 where it surely holds them before that."""
    usual = np.abs(centre).max(initial=0.0) <= FARTHEST and spread.max(initial=1.0) <= FARTHEST
    fine = spread.min(initial=1.0) >= 1 / FARTHEST
    return np.float32 if usual and fine else np.float64


def _balanced(labels: Array, preparation: Preparation) -> Array:
    """What makes every class weigh the same, [sequences]."""
    if preparation.separator:
        raise ConfigError(
            "training.class_weight is for one label a sequence, and data.separator allows several."
        )
    counts = np.bincount(labels, minlength=len(preparation.classes))
    weights: Array = (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[labels]
    return weights


def _wanted(labels: Array | None) -> Callable[..., Array]:
    def wanted(which: Array, _length: int = 0) -> Array:
        assert labels is not None
        return labels[which]

    return wanted


def tokens_of(texts: Sequences, preparation: Preparation) -> Sequences:
    """The positions of the tokens of each text, as many as are read; never none."""
    most, begin = preparation.max_length, preparation.truncation != "start"
    encoded = preparation.vocabularies["tokens"].encode(texts_of(texts))
    kept = [one[:most] if begin else one[-most:] for one in encoded]
    nothing = np.array([UNKNOWN], dtype=np.int32)
    return from_arrays([one if len(one) else nothing for one in kept], columns=("token",))


def _padded_tokens(tokens: Sequences) -> Callable[[Array, int], dict[str, Array]]:
    def inputs(which: Array, length: int) -> dict[str, Array]:
        values, real = gather(tokens, which, length)
        given = values[..., 0] if real is None else np.where(real, values[..., 0], 0)
        return {"tokens": given}

    return inputs


def _turning(preparation: Preparation, experiment: Experiment) -> Callable[[Array], Array] | None:
    """Turns the triads of [chosen, length, columns] at random; None where there is no rotation.

    A sensor sits a little differently on every person. Each sequence is turned as a whole, all of
    its triads alike, about an axis and by an angle that are new in every epoch.
    """
    deviation = experiment.training.rotation
    if not deviation:
        return None
    triads = [preparation.positions(triad) for triad in experiment.data.triads]
    # Not the numbers that deal the batches, which come from the same seed.
    random = np.random.default_rng((experiment.training.seed, 1))

    def turn(values: Array) -> Array:
        angles = random.normal(scale=deviation, size=(len(values), 3))
        matrices = Rotation.from_rotvec(angles).as_matrix()  # [chosen, 3, 3]
        turned = values.astype(np.float32)
        for triad in triads:
            turned[..., triad] = values[..., triad] @ matrices.swapaxes(1, 2)
        return turned

    return turn


def _positions(sequences: Sequences, preparation: Preparation) -> Array:
    """The position of each label among the classes, [sequences] int32.

    Where sequences have several labels, which of the classes are true, [sequences, classes] bool.
    """
    assert sequences.labels is not None
    if preparation.separator:
        return _truths(sequences, preparation)
    # Runs of before may know a whole number as "1.0".
    places = {whole_label(name): k for k, name in enumerate(preparation.classes)}
    names, codes = np.unique(sequences.labels, return_inverse=True)
    found = np.array([places.get(whole_label(str(name)), -1) for name in names])[codes]
    strange = np.flatnonzero(found < 0)
    if len(strange):
        name = sequences.labels[strange[0]]
        raise DataError(
            f"{sequences.source}: sequence '{sequences.ids[strange[0]]}' has the label "
            f"'{name}', which does not occur in training (known: "
            f"{', '.join(preparation.classes[:10])}). Leave its sequences out, or train "
            "with some of them."
        )
    return found.astype(np.int32)


def _truths(sequences: Sequences, preparation: Preparation) -> Array:
    assert sequences.labels is not None
    places = {whole_label(name): k for k, name in enumerate(preparation.classes)}
    truths = np.zeros((len(sequences), len(places)), dtype=bool)
    for k, label in enumerate(sequences.labels.tolist()):
        for name in _names(str(label), preparation.separator):
            if name not in places:
                raise DataError(
                    f"{sequences.source}: sequence '{sequences.ids[k]}' has the label '{name}', "
                    "which does not occur in training. Leave it out, or train with some of it."
                )
            truths[k, places[name]] = True
    return truths


def labels_of(some: Examples, preparation: Preparation) -> Array:
    """The true class of each sequence, [sequences] int; of several, [sequences, classes] bool."""
    assert isinstance(some.of, Sequences)
    return _positions(some.of, preparation)


def shapes(some: Examples, preparation: Preparation) -> Shapes:
    """Steps of `used` columns in, a logit for each class out."""
    if preparation.kind == "text":
        size = len(preparation.vocabularies["tokens"])
        return Shapes({"tokens": (None,)}, (len(preparation.classes),), vocabulary=size)
    fixed = int(some.lengths[0]) if not preparation.padded else None
    return Shapes(
        inputs={"steps": (fixed, len(preparation.used))},
        output=(len(preparation.classes),),
        padding=PADDING if preparation.padded else None,
    )


def calibrate(preparation: Preparation, outputs: Array, some: Examples) -> Preparation:
    """The temperature that makes the validation part most likely (Guo et al. 2017).

    It is the network's own, also in a blend: the mean of two answers is bounded, so that one fitted
    for the mean runs away to sharpness on a validation part without many mistakes (docs/log.md).
    """
    if preparation.separator:
        return preparation  # single chances; one temperature for all of them says little
    labels = labels_of(some, preparation)
    return replace(preparation, temperature=fit_temperature(outputs, labels))


def answer(
    outputs: Array, some: Examples, preparation: Preparation, state: Mapping[str, Any]
) -> Array:
    """Calibrated probabilities, [sequences, classes]; in a blend, averaged with the baseline's."""
    beside = None if preparation.blend == "none" else _regression(state, some)
    return _probabilities(outputs, preparation, beside)


def _probabilities(outputs: Array, preparation: Preparation, beside: Array | None) -> Array:
    """The network's at its temperature; their mean with those `beside` it, where there are any."""
    logits = outputs.astype(np.float64) / preparation.temperature
    own: Array = expit(logits) if preparation.separator else softmax(logits, axis=1)
    return own if beside is None else (own + beside) / 2


def _regression(state: Mapping[str, Any], some: Examples) -> Array:
    """What the fitted logistic regression says, [sequences, classes]."""
    assert isinstance(some.of, Sequences)
    if some.of.kind == "text":
        return tfidf.probabilities(state["tfidf"], texts_of(some.of))
    floor = np.array(state["floor"]) if "floor" in state else None  # older folders have none
    features = summaries(some.of, floor)
    if isinstance(state["logistic"], list):
        return multilabel.regressions(state["logistic"], features)
    fitted = Logistic(
        np.array(state["logistic"]["coefficients"]),
        np.array(state["logistic"]["intercept"]),
        state["penalty"],
    )
    return logistic(fitted, features)


def fit_baselines(
    train: Examples, valid: Examples | None, preparation: Preparation
) -> dict[str, Any]:
    """How frequent each class is, and a logistic regression on what is simply seen of a sequence.

    Of numbers that are summaries, of texts the words (TF-IDF).
    """
    assert isinstance(train.of, Sequences)
    labels, count = labels_of(train, preparation), len(preparation.classes)
    held = None
    if valid is not None and isinstance(valid.of, Sequences):
        held = (valid.of, labels_of(valid, preparation))
    often = labels.mean(axis=0) if preparation.separator else majority(labels, count)
    found: dict[str, Any] = {"majority": often.tolist()}
    if preparation.kind == "text":
        checks = None if held is None else (texts_of(held[0]), held[1])
        return found | {"tfidf": tfidf.fit(texts_of(train.of), labels, valid=checks)}
    floor = FINEST * fit_scale(train.of, "standard", "column").spread[0]
    found["floor"] = floor.tolist()
    features = summaries(train.of, floor)
    seen = None if held is None else (summaries(held[0], floor), held[1])
    if preparation.separator:
        return found | {"logistic": multilabel.fit_regressions(features, labels, seen)}
    fitted = fit_logistic(features, labels, count, valid=seen)
    return found | {
        "logistic": {
            "coefficients": fitted.coefficients.tolist(),
            "intercept": fitted.intercept.tolist(),
        },
        "penalty": fitted.inverse_penalty,
    }


def make_baselines(
    state: Mapping[str, Any], preparation: Preparation, train: Examples | None
) -> list[Baseline]:
    """The most frequent class, logistic regression, and, with train at hand, nearest neighbour."""
    frequencies = np.array(state["majority"])

    def most_frequent(some: Examples) -> Array:
        return np.tile(frequencies, (len(some), 1))

    known = [
        Baseline("majority", most_frequent),
        Baseline(LOGISTIC[preparation.kind], lambda some: _regression(state, some)),
    ]
    if train is None or preparation.kind != "numbers":
        return known
    assert isinstance(train.of, Sequences)
    sequences, labels = train.of, labels_of(train, preparation)
    spread = fit_scale(sequences, "standard", "column").spread[0]

    def neighbour(some: Examples) -> Array:
        assert isinstance(some.of, Sequences)
        places = np.arange(len(sequences))
        given = places if preparation.separator else labels
        nearest, method = nearest_neighbour(sequences, given, some.of, spread=spread)
        log.info("Nearest neighbour: %s", method)
        if preparation.separator:
            return labels[nearest].astype(np.float64)
        return np.eye(len(preparation.classes))[nearest]

    return [*known, Baseline("nearest neighbour", neighbour, costly=True)]


def score(
    given: Array, some: Examples, preparation: Preparation, _experiment: Experiment
) -> dict[str, float]:
    """Accuracy, macro F1, ROC AUC, log loss (nats) and expected calibration error."""
    actual = labels_of(some, preparation)
    if preparation.separator:
        return multilabel.score(actual, given)
    hard = bool(((given == 0) | (given == 1)).all())  # a bare label has no probability to judge
    return {
        "accuracy": metrics.accuracy(actual, given.argmax(axis=1)),
        "f1_macro": metrics.f1_macro(actual, given.argmax(axis=1)),
        "roc_auc": float("nan") if hard else metrics.roc_auc(actual, given),
        "log_loss": float("nan") if hard else metrics.log_loss(actual, given),
        "ece": float("nan") if hard else metrics.expected_calibration_error(actual, given),
    }


def measures(some: Examples, preparation: Preparation, _experiment: Experiment) -> list[Measure]:
    """Accuracy and macro F1; sequences of one group, or pieces of one sequence, are a cluster."""
    pieces = some.of
    assert isinstance(pieces, Sequences)
    actual, count = labels_of(some, preparation), len(preparation.classes)
    whole = pieces.groups if pieces.groups is not None else pieces.first
    _, clusters = np.unique(whole, return_inverse=True)
    if preparation.separator:
        return multilabel.measures(actual, clusters)

    def right(given: Array) -> Array:
        hits: Array = (given.argmax(axis=1) == actual).astype(np.float64)
        return hits

    def by_class(given: Array) -> Array:
        """Hits, answers and occurrences of each class, [sequences, 3 * classes]."""
        truth, chosen = np.eye(count)[actual], np.eye(count)[given.argmax(axis=1)]
        return np.concatenate([truth * chosen, chosen, truth], axis=1)

    def f1_macro(sums: Array) -> Array:
        hits, answered, occurring = np.split(sums, 3, axis=-1)
        met = answered + occurring > 0
        mean: Array = metrics.f1(hits, answered, occurring).sum(axis=-1) / met.sum(axis=-1)
        return mean

    return [
        mean_measure("accuracy", right, clusters),
        Measure("f1_macro", by_class, f1_macro, clusters),
    ]


def details(
    answers: dict[str, Array], some: Examples, preparation: Preparation, experiment: Experiment
) -> dict[str, Any]:
    """Confusions, scores by class, reliability and the most confident mistakes."""
    given, classes = answers[answer_name(preparation)], list(preparation.classes)
    if preparation.separator:
        return _details_of_several(given, some, preparation, experiment.report.examples)
    actual, chosen = labels_of(some, preparation), given.argmax(axis=1)
    matrix = metrics.confusion(actual, chosen, len(classes))
    curve = metrics.reliability(actual, given)
    # Undoing the temperature gives the probabilities as the network first said them.
    own = np.log(np.maximum(answers[NETWORK], LEAST))
    beside = None if preparation.blend == "none" else answers[LOGISTIC[preparation.kind]]
    at_first = replace(preparation, temperature=1.0)
    before = _probabilities(own * preparation.temperature, at_first, beside)
    return {
        "classes": classes,
        "confusion": matrix.tolist(),
        "by_class": metrics.by_class(classes, *metrics.counts_by_class(matrix)),
        "reliability": [
            {"confidence": confidence, "accuracy": accurate, "count": count}
            for confidence, accurate, count in curve
        ],
        "temperature": preparation.temperature,
        "ece_before": metrics.expected_calibration_error(actual, before),
        "lengths": _by_length(answers, actual, some),
        "examples": _mistakes(given, actual, some, preparation, experiment.report.examples),
    }


def _by_length(answers: Mapping[str, Array], actual: Array, some: Examples) -> list[dict[str, Any]]:
    """Share of wrong answers in each quarter of the sequences, from short to long.

    The length is what the network reads: steps, tokens or frames. Empty where all are equally long.
    """
    least, most = some.lengths.min(), some.lengths.max()
    if least == most:
        return []
    inner = np.unique(np.quantile(some.lengths, [0.25, 0.5, 0.75], method="higher"))
    begins = [int(least), *(int(one) for one in inner if one > least)]
    part = np.searchsorted(begins, some.lengths, side="right") - 1
    rows = []
    for k, begin in enumerate(begins):
        which = part == k
        wrong = {
            name: float((given[which].argmax(axis=1) != actual[which]).mean())
            for name, given in answers.items()
        }
        end = int(begins[k + 1] - 1 if k + 1 < len(begins) else most)
        rows.append({"from": begin, "to": end, "sequences": int(which.sum()), "wrong": wrong})
    return rows


def _details_of_several(
    given: Array, some: Examples, preparation: Preparation, count: int
) -> dict[str, Any]:
    """Scores by class, and the sequences with the most labels wrong."""
    actual, answers = labels_of(some, preparation), multilabel.chosen(given)
    wrong = (actual != answers).sum(axis=1)
    worst = [k for k in np.argsort(-wrong, kind="stable")[:count] if wrong[k]]
    names = (preparation.classes, preparation.separator)
    truths, said = multilabel.names(actual, *names), multilabel.names(answers, *names)
    shown = [_shown(some, k) | {"truth": truths[k], "answer": said[k]} for k in worst]
    return {
        "classes": list(preparation.classes),
        "by_class": multilabel.by_class(actual, given, preparation.classes),
        "examples": shown,
    }


def _mistakes(
    given: Array, actual: Array, some: Examples, preparation: Preparation, count: int
) -> list[dict[str, Any]]:
    chosen = given.argmax(axis=1)
    confidence = np.where(chosen != actual, given.max(axis=1), -1.0)
    worst = [k for k in np.argsort(-confidence)[:count] if confidence[k] >= 0]
    return [
        _shown(some, k)
        | {
            "truth": preparation.classes[actual[k]],
            "answer": preparation.classes[chosen[k]],
            "probability": float(given[k].max()),
        }
        for k in worst
    ]


def _shown(some: Examples, k: int) -> dict[str, Any]:
    """A sequence as the report shows it."""
    pieces = some.of
    assert isinstance(pieces, Sequences)
    if some.sound is not None:
        return sound.shown(some, k)
    if pieces.kind == "text":
        whole = text_of(pieces, k)
        cut = whole[:SHOWN_LETTERS] + ("..." if len(whole) > SHOWN_LETTERS else "")
        return {"id": str(pieces.ids[k]), "text": cut}
    return {
        "id": str(pieces.ids[k]),
        "columns": list(pieces.columns),
        "values": pieces[k][:SHOWN_STEPS].tolist(),
    }


def table(given: Array, some: Examples, preparation: Preparation, which: Array) -> pl.DataFrame:
    """One row a sequence: id, label, a probability for each class, and the truth where known."""
    assert isinstance(some.of, Sequences)
    pieces, given = some.of.chosen(which), given[which]
    known = pieces.labels is not None and (pieces.labels != "").any()
    if preparation.separator:
        found = multilabel.table(given, pieces.ids, preparation.classes, preparation.separator)
        return found.with_columns(truth=pl.Series(pieces.labels)) if known else found
    classes = np.array(preparation.classes)
    columns: dict[str, Any] = {
        "id": pieces.ids.astype(str),
        "label": classes[given.argmax(axis=1)],
    }
    if known:
        columns["truth"] = pieces.labels
    columns |= {f"p({name})": given[:, k] for k, name in enumerate(preparation.classes)}
    return pl.DataFrame(columns)


def ahead(sequences: Sequences, _preparation: Preparation) -> Sequences:
    """New sequences are answered as they are; their labels, if any, are carried along."""
    return sequences


TASK = Task(
    name="classify",
    settings={
        "numbers": SETTINGS | OF_NUMBERS,
        "text": SETTINGS | OF_TEXTS,
        "sound": SETTINGS | OF_SOUND,
    },
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
    details=details,
    table=table,
    ahead=ahead,
    labelled=True,
    needs={"task.stride": "task.window"},
)
