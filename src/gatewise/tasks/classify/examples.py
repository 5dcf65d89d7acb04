"""The examples of classify: sequences, windows of them, texts or recordings, with their classes."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gatewise.data import augmentation, bigrams, sound, steps, tokens
from gatewise.data.batches import PADDING, Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import refuse_far
from gatewise.data.sequences import Array, Sequences
from gatewise.data.sound import Recordings
from gatewise.data.windows import cut
from gatewise.errors import ConfigError, DataError
from gatewise.readers.labels import whole_label
from gatewise.settings import Experiment
from gatewise.tasks.classify.fitted import Fitted
from gatewise.tasks.task import (
    sizes_of,
)

Pieces = Sequences | Recordings  # whole sequences, windows of them, or recordings as frames


def label_names(label: str, separator: str) -> list[str]:
    """The single labels of a cell.

    >>> label_names("rain; wind", ";")
    ['rain', 'wind']
    """
    if not separator:
        return [whole_label(label)]
    return [whole_label(name.strip()) for name in label.split(separator) if name.strip()]


def pieces_of(sequences: Sequences, window: int, stride: int) -> Sequences:
    """The sequences, or their windows of `window` steps."""
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
    pieces = pieces_of(sequences, own.window, own.stride)
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
        for name in label_names(str(label), preparation.own.separator):
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
    """The shapes of the input and of the logits, and the log-count ratios of bigrams."""
    own = preparation.own
    known = steps.fixed_length(fitted_shapes(preparation), examples, preparation)
    if not own.bigrams:
        return known
    each = np.arange(len(examples))
    inputs = (examples.inputs(each[k : k + 1], int(examples.lengths[k])) for k in each)
    ratios = bigrams.log_ratios(
        [one["tokens"][0] for one in inputs],
        np.asarray(examples.targets(each)),
        rows=own.bigrams,
        vocabulary=known.vocabulary["tokens"],
        labels=len(own.classes),
    )
    return replace(known, initial={bigrams.BIGRAMS: ratios})


def fitted_shapes(preparation: Preparation[Fitted]) -> Shapes:
    """The same shapes, with any number of steps."""
    output = (len(preparation.own.classes),)
    if preparation.own.vocabulary is not None:
        known = {"tokens": len(preparation.own.vocabulary)}
        if preparation.own.bigrams:
            known[bigrams.BIGRAMS] = preparation.own.bigrams
        return Shapes({"tokens": (None,)}, output, vocabulary=known)
    return Shapes(
        inputs={"steps": (None, len(preparation.used))},
        output=output,
        padding=PADDING if preparation.padded else None,
    )
