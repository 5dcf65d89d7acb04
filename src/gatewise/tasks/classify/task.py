"""classify: a label for each sequence, with calibrated probabilities.

Sequences are numbers, texts or recordings. With `data.separator`, a sequence has any number of
labels, and each label has a probability of its own.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit, softmax

from gatewise import metrics
from gatewise.baselines import tfidf
from gatewise.baselines.flat import common_length, flat
from gatewise.baselines.logistic import Logistic, fit_logistic, logistic
from gatewise.baselines.naive import majority
from gatewise.baselines.neighbours import nearest_neighbour
from gatewise.baselines.summaries import summaries
from gatewise.data import augmentation, sound, steps, tokens
from gatewise.data.batches import PADDING, Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import FINEST, fit_scale, refuse_far
from gatewise.data.sequences import Array, Sequences, texts_of
from gatewise.data.sound import Recordings
from gatewise.data.splits import Splits, split_without_copies
from gatewise.data.vocabulary import usual_embedding
from gatewise.data.windows import cut
from gatewise.errors import ConfigError, DataError
from gatewise.readers.labels import whole_label
from gatewise.settings import Experiment, names
from gatewise.tasks import defaults, suspects
from gatewise.tasks.calibration import fit_temperature
from gatewise.tasks.classify import multilabel, reading
from gatewise.tasks.classify.fitted import Fitted
from gatewise.tasks.classify.space import space
from gatewise.tasks.shown import by_length, shown
from gatewise.tasks.task import (
    NETWORK,
    Baseline,
    Folding,
    Measure,
    Sanity,
    Task,
    Truth,
    mean_measure,
    sizes_of,
)

log = logging.getLogger("gatewise")

SETTINGS = names(
    data="label label_columns separator group",
    split="rare_labels seed test_ids folds",
    task="blend",
    training="networks loss label_smoothing class_weight max_tokens",
)
OF_NUMBERS = (
    steps.SETTINGS
    | augmentation.SETTINGS
    | names(data="labels triads", task="window stride", training="rotation")
)
OF_TEXTS = tokens.SETTINGS
OF_SOUND = sound.SETTINGS | names(task="window stride")
# The names of the logistic regression and of its features, by kind of data.
LOGISTIC = {
    "numbers": "logistic regression on summaries",
    "text": "logistic regression on TF-IDF",
    "sound": "logistic regression on frame statistics",
}
LOGISTIC_STEPS = "logistic regression on the steps"  # of sequences of one length
MIN_RATINGS = 3  # classes; two numbers are a yes and a no
MIN_PROBABILITY = 1e-300  # avoids the logarithm of 0

Pieces = Sequences | Recordings  # whole sequences, windows of them, or recordings as frames


def resolve(
    experiment: Experiment, sequences: Sequences, train: Sequences
) -> tuple[Experiment, list[str]]:
    """Fill in the size of the network, the batch size and the epochs."""
    if experiment.task.blend == "ridge":
        raise ConfigError(
            "task.blend = ridge is a blend of forecasts. Labels are blended with logistic "
            "regression (task.blend = logistic), or by the validation part (auto)."
        )
    _refuse_triads(experiment, sequences)
    if experiment.task.window and not experiment.task.stride:
        experiment = experiment.having("task", stride=experiment.task.window)
    pieces = sequences
    if sequences.kind == "numbers":
        pieces = _pieces(sequences, experiment.task.window, experiment.task.stride)
        images = sequences.values.dtype == np.uint8
        plain = images or experiment.training.quality == "fast"
        experiment = defaults.of_steps(experiment, pieces.lengths, plain=plain)
    network = defaults.network(experiment.network, sequences.kind)
    kind = "stack" if network.kind == "auto" else network.kind
    experiment = replace(experiment, network=replace(network, kind=kind))
    if experiment.task.blend == "auto" and (
        experiment.training.quality == "fast" or experiment.data.separator
    ):
        experiment = experiment.having("task", blend="none")
    if sequences.kind == "sound":
        return sound.resolved(experiment, sequences), []
    notes: list[str] = []
    if sequences.kind == "text":
        experiment, notes = tokens.resolved(experiment, train)
    characters = experiment.preparation.tokenizer == "characters"
    kind = "characters" if characters else sequences.kind
    training = defaults.training(experiment.training, len(pieces), kind)
    return replace(experiment, training=training), notes


def resolve_fitted(experiment: Experiment, preparation: Preparation[Fitted]) -> Experiment:
    """Fill in the maximum length of a text and the size of the token embedding."""
    vocabulary = preparation.own.vocabulary
    if vocabulary is None:
        return experiment
    size = usual_embedding(len(vocabulary))
    experiment = experiment.having("preparation", max_length=preparation.own.max_length)
    return experiment.having("network", embedding_dim=experiment.network.embedding_dim or size)


def words(preparation: Preparation[Fitted]) -> tuple[str, ...]:
    """The word at each position of the token embedding, "" for the others."""
    assert preparation.own.vocabulary is not None
    return tokens.words_of(preparation.own.vocabulary)


def _refuse_triads(experiment: Experiment, sequences: Sequences) -> None:
    """Refuse triads that are not three different columns, and a rotation without triads.

    Raises:
        ConfigError: data.triads or training.rotation cannot be used.
    """
    triads, example = experiment.data.triads, 'data.triads = [["x", "y", "z"]]'
    if experiment.training.rotation and not triads:
        raise ConfigError(
            f"training.rotation is {experiment.training.rotation:g}, but data.triads names no "
            f"columns to rotate. Name them ({example}), or set training.rotation = 0."
        )
    for triad in triads:
        if len(set(triad)) != 3 or len(triad) != 3:
            raise ConfigError(
                f"A triad is a list of three different columns: {example}. Received: {list(triad)}."
            )
        for name in triad:
            if name not in sequences.columns:
                raise ConfigError(
                    f"data.triads names the column '{name}', which is not a feature. The features "
                    f"are {', '.join(sequences.columns[:10])}. Name one of them, or add it to "
                    "data.features."
                )
    named = [name for triad in triads for name in triad]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise ConfigError(
            f"data.triads names the column '{twice[0]}' in two triads. Name each column once, "
            "because it can be part of only one vector."
        )


def split(sequences: Sequences, experiment: Experiment, test: bool) -> Splits:
    """Split by group if the data have groups, otherwise stratified by label.

    Identical texts stay in one part. Otherwise, the network could memorise a message that was sent
    a hundred times, and the test part would reward it.
    """
    settings = experiment.split
    if experiment.data.separator and settings.by == "auto" and sequences.groups is None:
        # There are too many sets of labels to stratify by.
        settings = replace(settings, by="random")
    return split_without_copies(sequences, settings, test=test)


def prepare(train: Sequences, experiment: Experiment) -> tuple[Preparation[Fitted], list[str]]:
    """Fit the classes, the columns that are not constant, and their scale on the training part."""
    assert train.labels is not None
    classes = _classes(train, experiment.data.separator)
    rating = _rating_note(train, classes)
    if train.kind == "text":
        preparation, notes = _prepare_texts(train, classes, experiment)
        return preparation, [*rating, *notes]
    if train.kind == "sound":
        return _prepare_sound(train, classes, experiment), rating
    used, scale, notes = steps.fit_steps(train, experiment.preparation)
    task = experiment.task
    pieces = _pieces(train, task.window, task.stride)
    return Preparation(
        task="classify",
        columns=train.columns,
        used=used,
        scale=scale,
        own=_fitted(classes, experiment),
        padded=len(np.unique(pieces.lengths)) > 1,
        step=train.step,
    ), [*rating, *notes]


def _rating_note(train: Sequences, classes: tuple[str, ...]) -> list[str]:
    """A note if the classes are numbers, which may have an order; none for images of digits."""
    numbers = all(re.fullmatch(r"[+-]?\d+(\.\d+)?", name) for name in classes)
    images = train.kind == "numbers" and train.values.dtype == np.uint8
    if images or not numbers or len(classes) < MIN_RATINGS:
        return []
    low, high = (sorted(classes, key=float)[place] for place in (0, -1))
    return [
        f"the {len(classes)} labels are numbers from {low} to {high}; if they are ratings or "
        "another order, --task regress predicts them as numbers"
    ]


def _fitted(classes: tuple[str, ...], experiment: Experiment) -> Fitted:
    """The fitted values that all kinds of data have."""
    task = experiment.task
    return Fitted(
        classes=classes,
        separator=experiment.data.separator,
        blend=task.blend,
        window=task.window,
        stride=task.stride or task.window,
    )


def _classes(train: Sequences, separator: str) -> tuple[str, ...]:
    """The labels of the training part, in alphabetical order."""
    assert train.labels is not None
    known = sorted({name for label in train.labels for name in _names(str(label), separator)})
    if len(known) < 2:
        raise DataError(
            f"{train.source}: every training sequence has the label '{''.join(known)}'. "
            "A classifier needs at least two labels."
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
) -> Preparation[Fitted]:
    """Fit the frames of recordings and their scale."""
    spectrum, frames, scale = sound.fit_frames(train, experiment)
    return Preparation(
        task="classify",
        kind="sound",
        columns=frames.columns,
        used=frames.columns,
        scale=scale,
        own=replace(_fitted(classes, experiment), spectrum=spectrum),
        padded=True,
    )


def _prepare_texts(
    train: Sequences, classes: tuple[str, ...], experiment: Experiment
) -> tuple[Preparation[Fitted], list[str]]:
    """Fit the vocabulary and the maximum length of a text on the training part."""
    settings = experiment.preparation
    known, longest, notes = tokens.fit_tokens(train, settings)
    return Preparation(
        task="classify",
        kind="text",
        columns=train.columns,
        used=train.columns,
        scale=fit_scale(train, "none", "all"),
        own=replace(
            _fitted(classes, experiment),
            vocabulary=known,
            max_length=longest,
            truncation=settings.truncation,
        ),
        padded=True,
    ), notes


def _pieces(sequences: Sequences, window: int, stride: int) -> Sequences:
    return cut(sequences, window, stride or window) if window else sequences


def examples(
    sequences: Sequences, preparation: Preparation[Fitted], experiment: Experiment, role: str
) -> Examples[Pieces]:
    """The sequences (or their windows), with class indices as targets."""
    own = preparation.own

    def targets_of(pieces: Sequences) -> tuple[Callable[..., Array], Array | None]:
        """The function that gives the targets, and the weight of each piece."""
        labels = None if role == "predict" else _positions(pieces, preparation)
        balanced = role == "train" and experiment.training.class_weight == "balanced"
        return _targets(labels), (
            _balanced(labels, preparation) if balanced and labels is not None else None
        )

    if own.spectrum is not None:
        recordings = sound.examples(
            sequences,
            own.spectrum,
            scale=preparation.scale,
            training=experiment.training,
            role=role,
            window=own.window,
            stride=own.stride,
        )
        targets, weights = targets_of(recordings.source.frames)
        return replace(recordings, targets=targets, weights=weights)
    pieces = _pieces(sequences, own.window, own.stride)
    targets, weights = targets_of(pieces)
    if own.vocabulary is not None:
        encoded = tokens.tokens_of(
            pieces, own.vocabulary, most=own.max_length, truncation=own.truncation
        )
        inputs = tokens.padded_tokens(encoded)
        return Examples(pieces, encoded.lengths, inputs, targets, weights)
    columns = preparation.positions(preparation.used)
    refuse_far(sequences, *preparation.scale.rows(sequences), columns)
    # Rotated before scaling, which distorts angles.
    # A separate random stream, because the order of the batches comes from the same seed.
    random = np.random.default_rng((experiment.training.seed, 1))
    rotate = _rotation(preparation, experiment, random) if role == "train" else None
    change = augmentation.augmentation_of(experiment.training)
    augment = augmentation.augmented(change, random) if role == "train" else None
    inputs = steps.scaled_steps(pieces, preparation.scale, columns, change=rotate, augment=augment)
    return Examples(pieces, pieces.lengths, inputs, targets, weights, random=random)


def _balanced(labels: Array, preparation: Preparation[Fitted]) -> Array:
    """Weights that give every class the same total, [sequences]."""
    if preparation.own.separator:
        raise ConfigError(
            "training.class_weight needs one label per sequence, but data.separator allows several."
            " Leave one of them out."
        )
    counts = np.bincount(labels, minlength=len(preparation.own.classes))
    weights: Array = (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[labels]
    return weights


def _targets(labels: Array | None) -> Callable[..., Array]:
    def targets_of(indices: Array, _length: int = 0) -> Array:
        assert labels is not None
        return labels[indices]

    return targets_of


def _rotation(
    preparation: Preparation[Fitted], experiment: Experiment, random: np.random.Generator
) -> Callable[[Array], Array] | None:
    """A random rotation of the triads of [chosen, length, columns]; None without training.rotation.

    A sensor is worn a little differently by every person. One rotation applies to all steps and
    triads of a sequence. Its axis and angle change in every epoch.
    """
    from scipy.spatial.transform import Rotation

    deviation = experiment.training.rotation
    if not deviation:
        return None
    triads = [preparation.positions(triad) for triad in experiment.data.triads]

    def rotate(values: Array) -> Array:
        angles = random.normal(scale=deviation, size=(len(values), 3))
        matrices = Rotation.from_rotvec(angles).as_matrix()  # [chosen, 3, 3]
        rotated = values.astype(np.float32)
        for triad in triads:
            rotated[..., triad] = values[..., triad] @ matrices.swapaxes(1, 2)
        return rotated

    return rotate


def _positions(sequences: Sequences, preparation: Preparation[Fitted]) -> Array:
    """The class index of each sequence, [sequences] int32.

    If sequences have several labels: whether each class is true, [sequences, classes] bool.
    """
    assert sequences.labels is not None
    if preparation.own.separator:
        return _truths(sequences, preparation)
    # Older runs may store a whole number as "1.0".
    places = {whole_label(name): k for k, name in enumerate(preparation.own.classes)}
    names, codes = np.unique(sequences.labels, return_inverse=True)
    classes = np.array([places.get(whole_label(str(name)), -1) for name in names])[codes]
    unknown = np.flatnonzero(classes < 0)
    if len(unknown):
        name = sequences.labels[unknown[0]]
        raise DataError(
            f"{sequences.source}: sequence '{sequences.ids[unknown[0]]}' has the label "
            f"'{name}', which does not occur in training (known: "
            f"{', '.join(preparation.own.classes[:10])}). Leave out the sequences with this label, "
            "or train with some of them."
        )
    return classes.astype(np.int32)


def _truths(sequences: Sequences, preparation: Preparation[Fitted]) -> Array:
    assert sequences.labels is not None
    places = {whole_label(name): k for k, name in enumerate(preparation.own.classes)}
    truths = np.zeros((len(sequences), len(places)), dtype=bool)
    for k, label in enumerate(sequences.labels.tolist()):
        for name in _names(str(label), preparation.own.separator):
            if name not in places:
                raise DataError(
                    f"{sequences.source}: sequence '{sequences.ids[k]}' has the label '{name}', "
                    "which does not occur in training. Leave out this label, or train with some "
                    "sequences that have it."
                )
            truths[k, places[name]] = True
    return truths


def labels_of(examples: Examples[Pieces], preparation: Preparation[Fitted]) -> Array:
    """The true classes, [sequences] int; with several labels, [sequences, classes] bool."""
    return _positions(sequences_of(examples), preparation)


def sequences_of(examples: Examples[Pieces]) -> Sequences:
    """The sequences to classify; for recordings, their frames."""
    return examples.source.frames if isinstance(examples.source, Recordings) else examples.source


def sizes(examples: Examples[Pieces]) -> dict[str, int]:
    """The number of sequences (or of their windows) and of steps."""
    return sizes_of(sequences_of(examples))


def shapes(examples: Examples[Pieces], preparation: Preparation[Fitted]) -> Shapes:
    """The shapes of the input, steps of the `used` columns, and of the logits."""
    return steps.fixed_length(fitted_shapes(preparation), examples, preparation)


def fitted_shapes(preparation: Preparation[Fitted]) -> Shapes:
    """The same shapes, with any number of steps."""
    output = (len(preparation.own.classes),)
    if preparation.own.vocabulary is not None:
        known = {"tokens": len(preparation.own.vocabulary)}
        return Shapes({"tokens": (None,)}, output, vocabulary=known)
    return Shapes(
        inputs={"steps": (None, len(preparation.used))},
        output=output,
        padding=PADDING if preparation.padded else None,
    )


def calibrate(
    preparation: Preparation[Fitted], outputs: Array, examples: Examples[Pieces]
) -> Preparation[Fitted]:
    """Fit the temperature that makes the validation labels most likely (Guo et al. 2017).

    With a blend, the temperature still fits the network alone. The mean of two predictions is
    bounded, so a temperature fitted for the mean becomes far too sharp on a validation part with
    few mistakes (docs/log.md).
    """
    if preparation.own.separator:
        return preparation  # one temperature does not calibrate independent probabilities
    labels = labels_of(examples, preparation)
    temperature = fit_temperature(outputs, labels)
    return replace(preparation, own=replace(preparation.own, temperature=temperature))


def choose_blend(
    preparation: Preparation[Fitted],
    outputs: Array,
    said: Mapping[str, Array],
    examples: Examples[Pieces],
) -> Preparation[Fitted]:
    """Decide a blend that is "auto", and its regression, by the log loss on these examples.

    `said` holds the baselines' probabilities for the same examples. The log loss of a mean of two
    predictions is at most the mean of both log losses, so even a worse baseline often helps.
    """
    own = preparation.own
    if own.blend not in ("auto", "logistic") or own.separator:
        return preparation
    labels = labels_of(examples, preparation)
    network = probabilities_of(outputs, preparation, None)
    # Between equal losses, the first choice is taken.
    choices = [(replace(own, blend="none"), network)] if own.blend == "auto" else []
    for name in (LOGISTIC[preparation.kind], LOGISTIC_STEPS):
        if name in said:
            blend = replace(own, blend="logistic", blend_on_steps=name == LOGISTIC_STEPS)
            choices.append((blend, (network + said[name]) / 2))
    best, _ = min(choices, key=lambda choice: metrics.log_loss(labels, choice[1]))
    return replace(preparation, own=best)


def partner_name(preparation: Preparation[Fitted]) -> str:
    """The name of the regression that is blended in; "" without a blend."""
    if preparation.own.blend != "logistic":
        return ""
    return LOGISTIC_STEPS if preparation.own.blend_on_steps else LOGISTIC[preparation.kind]


def model_name(preparation: Preparation[Fitted]) -> str:
    """The name of the network and, with a blend, of its baseline."""
    partner = partner_name(preparation)
    return f"{NETWORK} with {partner}" if partner else NETWORK


def quick(
    preparation: Preparation[Fitted], experiment: Experiment
) -> tuple[Preparation[Fitted], Experiment]:
    """Turn the blend off."""
    return replace(preparation, own=replace(preparation.own, blend="none")), experiment


def postprocess(
    outputs: Array,
    examples: Examples[Pieces],
    preparation: Preparation[Fitted],
    state: Mapping[str, Any],
) -> Array:
    """Calibrated probabilities, [sequences, classes]; a blend averages them with the baseline's."""
    own = preparation.own
    if own.blend != "logistic":
        return probabilities_of(outputs, preparation, None)
    if not own.blend_on_steps:
        return probabilities_of(outputs, preparation, _regression(state, examples))
    lengths = sequences_of(examples).lengths
    return with_steps(outputs, _regression_on_steps(state, examples), lengths, preparation, state)


def with_steps(
    outputs: Array,
    baseline: Array,
    lengths: Array,
    preparation: Preparation[Fitted],
    state: Mapping[str, Any],
) -> Array:
    """The probabilities of a blend with the regression on the steps, [sequences, classes].

    A sequence of another length than in training has the network's answer: nothing is known about
    the blend there.
    """
    same = (lengths == state["steps"]["length"])[:, None]
    both = probabilities_of(outputs, preparation, baseline)
    return np.where(same, both, probabilities_of(outputs, preparation, None))


def probabilities_of(
    outputs: Array, preparation: Preparation[Fitted], baseline: Array | None
) -> Array:
    """The network's calibrated probabilities; their mean with the baseline's if there is one."""
    logits = outputs.astype(np.float64) / preparation.own.temperature
    network: Array = expit(logits) if preparation.own.separator else softmax(logits, axis=1)
    return network if baseline is None else (network + baseline) / 2


def _regression(state: Mapping[str, Any], examples: Examples[Pieces]) -> Array:
    """The probabilities of the fitted logistic regression, [sequences, classes]."""
    sequences = sequences_of(examples)
    if sequences.kind == "text":
        return tfidf.probabilities(state["tfidf"], texts_of(sequences))
    return regression_on(state, summaries(sequences, floor_of(state)))


def _regression_on_steps(state: Mapping[str, Any], examples: Examples[Pieces]) -> Array:
    """The probabilities of the regression on the steps, [sequences, classes]."""
    return on_steps(state, flat(sequences_of(examples), state["steps"]["length"]))


def on_steps(state: Mapping[str, Any], features: Array) -> Array:
    """The same for steps that are side by side already, [sequences, length * columns]."""
    return logistic(_logistic(state["steps"]), features)


def floor_of(state: Mapping[str, Any]) -> Array | None:
    """The floor of `summaries`; None in older runs."""
    return np.array(state["floor"]) if "floor" in state else None


def regression_on(state: Mapping[str, Any], features: Array) -> Array:
    """The probabilities of the fitted logistic regression for summaries, [sequences, classes]."""
    if isinstance(state["logistic"], list):
        return multilabel.regressions(state["logistic"], features)
    return logistic(_logistic({**state["logistic"], "penalty": state["penalty"]}), features)


def _logistic(state: Mapping[str, Any]) -> Logistic:
    """A fitted logistic regression from its plain form."""
    return Logistic(np.array(state["coefficients"]), np.array(state["intercept"]), state["penalty"])


def _plain(fitted: Logistic) -> dict[str, Any]:
    """A fitted logistic regression in a form for JSON."""
    return {
        "coefficients": fitted.coefficients.tolist(),
        "intercept": fitted.intercept.tolist(),
    }


def fit_baselines(
    train: Examples[Pieces], valid: Examples[Pieces] | None, preparation: Preparation[Fitted]
) -> dict[str, Any]:
    """Class frequencies, and a logistic regression on simple features of each sequence.

    The features are summary statistics, or TF-IDF for texts.
    """
    sequences = sequences_of(train)
    labels, count = labels_of(train, preparation), len(preparation.own.classes)
    validation = None
    if valid is not None:
        validation = (sequences_of(valid), labels_of(valid, preparation))
    frequencies = labels.mean(axis=0) if preparation.own.separator else majority(labels, count)
    state: dict[str, Any] = {"majority": frequencies.tolist()}
    if preparation.kind == "text":
        checks = None if validation is None else (texts_of(validation[0]), validation[1])
        return state | {"tfidf": tfidf.fit(texts_of(sequences), labels, valid=checks)}
    floor = FINEST * fit_scale(sequences, "standard", "column").spread[0]
    state["floor"] = floor.tolist()
    features = summaries(sequences, floor)
    seen = None if validation is None else (summaries(validation[0], floor), validation[1])
    if preparation.own.separator:
        return state | {"logistic": multilabel.fit_regressions(features, labels, seen)}
    fitted = fit_logistic(features, labels, count, valid=seen)
    state |= {"logistic": _plain(fitted), "penalty": fitted.inverse_penalty}
    length = common_length(sequences) if preparation.kind == "numbers" else 0
    if not length:
        return state
    held = None if validation is None else (flat(validation[0], length), validation[1])
    on_steps = fit_logistic(flat(sequences, length), labels, count, valid=held)
    steps = {**_plain(on_steps), "penalty": on_steps.inverse_penalty, "length": length}
    return state | {"steps": steps}


def make_baselines(
    state: Mapping[str, Any], preparation: Preparation[Fitted], train: Examples[Pieces] | None
) -> list[Baseline[Pieces, Array]]:
    """Most frequent class, logistic regression and, if `train` is given, nearest neighbour."""
    frequencies = np.array(state["majority"])

    def most_frequent(examples: Examples[Pieces]) -> Array:
        return np.tile(frequencies, (len(examples), 1))

    known = [
        Baseline("majority", most_frequent),
        Baseline(LOGISTIC[preparation.kind], lambda examples: _regression(state, examples)),
    ]
    if "steps" in state:
        known.append(
            Baseline(LOGISTIC_STEPS, lambda examples: _regression_on_steps(state, examples))
        )
    if train is None or preparation.kind != "numbers":
        return known
    sequences, labels = sequences_of(train), labels_of(train, preparation)
    spread = fit_scale(sequences, "standard", "column").spread[0]

    def neighbour(examples: Examples[Pieces]) -> Array:
        indices = np.arange(len(sequences))
        train_labels = indices if preparation.own.separator else labels
        nearest, method = nearest_neighbour(
            sequences, train_labels, sequences_of(examples), spread=spread
        )
        log.info("Nearest neighbour: %s", method)
        if preparation.own.separator:
            return labels[nearest].astype(np.float64)
        return np.eye(len(preparation.own.classes))[nearest]

    return [*known, Baseline("nearest neighbour", neighbour, slow=True)]


def score(
    probabilities: Array,
    examples: Examples[Pieces],
    preparation: Preparation[Fitted],
    _experiment: Experiment,
) -> dict[str, float]:
    """Accuracy, macro F1, ROC AUC, log loss (nats) and expected calibration error."""
    actual = labels_of(examples, preparation)
    if preparation.own.separator:
        return multilabel.score(actual, probabilities)
    hard = bool(((probabilities == 0) | (probabilities == 1)).all())  # labels without probabilities
    return {
        "accuracy": metrics.accuracy(actual, probabilities.argmax(axis=1)),
        "f1_macro": metrics.f1_macro(actual, probabilities.argmax(axis=1)),
        "roc_auc": float("nan") if hard else metrics.roc_auc(actual, probabilities),
        "log_loss": float("nan") if hard else metrics.log_loss(actual, probabilities),
        "ece": float("nan") if hard else metrics.expected_calibration_error(actual, probabilities),
    }


def measures(
    examples: Examples[Pieces], preparation: Preparation[Fitted], _experiment: Experiment
) -> list[Measure[Array]]:
    """Accuracy and macro F1; the sequences of a group or the pieces of a sequence are a cluster."""
    pieces = sequences_of(examples)
    actual, count = labels_of(examples, preparation), len(preparation.own.classes)
    whole = pieces.groups if pieces.groups is not None else pieces.first
    _, clusters = np.unique(whole, return_inverse=True)
    if preparation.own.separator:
        return multilabel.measures(actual, clusters)

    def right(probabilities: Array) -> Array:
        correct: Array = (probabilities.argmax(axis=1) == actual).astype(np.float64)
        return correct

    def by_class(probabilities: Array) -> Array:
        """Correct, predicted and true labels of each class, [sequences, 3 * classes]."""
        truth, chosen = np.eye(count)[actual], np.eye(count)[probabilities.argmax(axis=1)]
        return np.concatenate([truth * chosen, chosen, truth], axis=1)

    def f1_macro(sums: Array) -> Array:
        correct, predicted, support = np.split(sums, 3, axis=-1)
        met = predicted + support > 0
        mean: Array = metrics.f1(correct, predicted, support).sum(axis=-1) / met.sum(axis=-1)
        return mean

    return [
        mean_measure("accuracy", right, clusters),
        Measure("f1_macro", by_class, f1_macro, clusters),
    ]


def details(
    by_model: dict[str, Array],
    examples: Examples[Pieces],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> dict[str, Any]:
    """Confusion matrix, scores by class, reliability and the most confident mistakes."""
    probabilities, classes = by_model[model_name(preparation)], list(preparation.own.classes)
    if preparation.own.separator:
        return _details_of_several(probabilities, examples, preparation, experiment.report.examples)
    actual, chosen = labels_of(examples, preparation), probabilities.argmax(axis=1)
    matrix = metrics.confusion(actual, chosen, len(classes))
    curve = metrics.reliability(actual, probabilities)
    # Undo the temperature to get the uncalibrated probabilities.
    own = np.log(np.maximum(by_model[NETWORK], MIN_PROBABILITY))
    partner = partner_name(preparation)
    baseline = by_model[partner] if partner else None
    uncalibrated = replace(preparation, own=replace(preparation.own, temperature=1.0))
    before = probabilities_of(own * preparation.own.temperature, uncalibrated, baseline)
    found = suspects.suspects(actual, probabilities)
    names = sequences_of(examples).ids.astype(str).tolist()
    return {
        "classes": classes,
        "confusion": matrix.tolist(),
        "by_class": metrics.by_class(classes, *metrics.counts_by_class(matrix)),
        "suspects": suspects.listed(found, actual, probabilities, names, classes),
        "reliability": [
            {"confidence": confidence, "accuracy": accurate, "count": count}
            for confidence, accurate, count in curve
        ],
        "temperature": preparation.own.temperature,
        "ece_before": metrics.expected_calibration_error(actual, before),
        "lengths": by_length(
            examples.lengths,
            "wrong",
            {name: one.argmax(axis=1) != actual for name, one in by_model.items()},
        ),
        "examples": _mistakes(
            probabilities, actual, examples, preparation, experiment.report.examples
        ),
    }


def _details_of_several(
    probabilities: Array, examples: Examples[Pieces], preparation: Preparation[Fitted], count: int
) -> dict[str, Any]:
    """Scores by class, and the sequences with the most wrong labels."""
    actual, labels = labels_of(examples, preparation), multilabel.chosen(probabilities)
    wrong = (actual != labels).sum(axis=1)
    worst = [k for k in np.argsort(-wrong, kind="stable")[:count] if wrong[k]]
    names = (preparation.own.classes, preparation.own.separator)
    truths, predictions = multilabel.names(actual, *names), multilabel.names(labels, *names)
    mistakes = [
        shown(examples.source, k) | {"truth": truths[k], "answer": predictions[k]} for k in worst
    ]
    return {
        "classes": list(preparation.own.classes),
        "by_class": multilabel.by_class(actual, probabilities, preparation.own.classes),
        "examples": mistakes,
    }


def _mistakes(
    probabilities: Array,
    actual: Array,
    examples: Examples[Pieces],
    preparation: Preparation[Fitted],
    count: int,
) -> list[dict[str, Any]]:
    chosen = probabilities.argmax(axis=1)
    confidence = np.where(chosen != actual, probabilities.max(axis=1), -1.0)
    worst = [k for k in np.argsort(-confidence)[:count] if confidence[k] >= 0]
    return [
        shown(examples.source, k)
        | {
            "truth": preparation.own.classes[actual[k]],
            "answer": preparation.own.classes[chosen[k]],
            "probability": float(probabilities[k].max()),
        }
        for k in worst
    ]


def table(
    probabilities: Array,
    examples: Examples[Pieces],
    preparation: Preparation[Fitted],
    indices: Array,
) -> pl.DataFrame:
    """One row per sequence: id, label, a probability for each class, and the truth if known."""
    pieces, probabilities = sequences_of(examples).chosen(indices), probabilities[indices]
    known = pieces.labels is not None and (pieces.labels != "").any()
    if preparation.own.separator:
        frame = multilabel.table(
            probabilities, pieces.ids, preparation.own.classes, preparation.own.separator
        )
        return frame.with_columns(truth=pl.Series(pieces.labels)) if known else frame
    classes = np.array(preparation.own.classes)
    columns: dict[str, Any] = {
        "id": pieces.ids.astype(str),
        "label": classes[probabilities.argmax(axis=1)],
    }
    if known:
        columns["truth"] = pieces.labels
    columns |= {f"p({name})": probabilities[:, k] for k, name in enumerate(preparation.own.classes)}
    return pl.DataFrame(columns)


def schema(preparation: Preparation[Fitted], _experiment: Experiment) -> dict[str, Any]:
    """The columns of `table` for new data."""
    scores = {f"p({name})": pl.Float64 for name in preparation.own.classes}
    return {"id": pl.String, "label": pl.String} | scores


def prediction_inputs(sequences: Sequences, _preparation: Preparation[Fitted]) -> Sequences:
    """Return new sequences unchanged, with their labels if they have any."""
    return sequences


def strata(sequences: Sequences, experiment: Experiment) -> Array | None:
    """The labels, unless sequences have several."""
    return None if experiment.data.separator else sequences.labels


def fixed(experiment: Experiment, _preparation: Preparation[Fitted]) -> Experiment:
    """The same settings."""
    return experiment


def same_outputs(_one: Preparation[Fitted], _other: Preparation[Fitted]) -> tuple[Array, Array]:
    """Factor 1 and offset 0, because logits have no scale."""
    return np.ones(1), np.zeros(1)


def why_not_folded(experiment: Experiment, _preparation: Preparation[Fitted]) -> str:
    """The reason to train one network only, or ""."""
    if experiment.data.separator:
        return "sequences have several labels"
    return "task.window is set" if experiment.task.window else ""


def examined(
    train: Sequences, preparation: Preparation[Fitted], _experiment: Experiment
) -> list[Truth]:
    """The label of each sequence, which no column may reveal; not with several labels."""
    if train.kind != "numbers" or train.labels is None or preparation.own.separator:
        return []
    features = tuple(name for name in preparation.used if name not in train.levels)
    return [Truth("the label", train.labels, features)]


TASK = Task(
    name="classify",
    sanity=Sanity("majority", "log_loss"),
    settings={
        "numbers": SETTINGS | OF_NUMBERS,
        "text": SETTINGS | OF_TEXTS,
        "sound": SETTINGS | OF_SOUND,
    },
    fitted=Fitted,
    recognise=reading.RECOGNISE,
    read=reading.read,
    split=split,
    resolve=resolve,
    space=space,
    resolve_fitted=resolve_fitted,
    words=words,
    prepare=prepare,
    examined=examined,
    examples=examples,
    sizes=sizes,
    shapes=shapes,
    fitted_shapes=fitted_shapes,
    calibrate=calibrate,
    postprocess=postprocess,
    model_name=model_name,
    quick=quick,
    fit_baselines=fit_baselines,
    baselines=make_baselines,
    metrics=score,
    measures=measures,
    details=details,
    table=table,
    schema=schema,
    prediction_inputs=prediction_inputs,
    choose=choose_blend,
    folding=Folding(strata, fixed, same_outputs, why_not_folded),
    labelled=True,
    needs={"task.stride": "task.window"},
    estimator="Classifier",
)
