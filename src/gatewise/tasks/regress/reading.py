"""Read and recognise the data of `regress`: sequences with numbers to predict."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from gatewise.data.sequences import Array, Sequences
from gatewise.errors import ConfigError, DataError
from gatewise.readers import columns, corpora, recordings, series, targets, texts
from gatewise.readers.arrays import Arrays
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.labels import with_truth
from gatewise.readers.repairs import LARGEST, SMALLEST, is_blurred
from gatewise.readers.sources import Opened, data_folder
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings
from gatewise.tasks.task import Recognise, Sign

NAME = "regress"
MIN_SEQUENCES = 3  # fewer constant sequences may be series that happen not to change


def read(source: Opened, settings: DataSettings, purpose: Purpose) -> Read:
    """Read the numbers, texts or recordings of the source, and their targets.

    Raises:
        DataError: the data cannot be read, or a target is missing in training or too large.
        ConfigError: the settings name a target twice, or leave too much to guess.
    """
    if settings.label and not settings.target:
        settings = replace(settings, target=(settings.label,), label="")
    wanted = settings.target
    if twice := {name for name in wanted if wanted.count(name) > 1}:
        raise ConfigError(f"data.target names {min(twice)!r} twice. Name each target once.")
    sequences, settings, notes = _read(source, settings, purpose)
    if purpose != "train":
        return _aligned(sequences, wanted, settings), settings, notes
    notes = [*notes]
    strict = source.named is None and (
        source.texts is not None or isinstance(source.content(), Arrays)
    )
    sequences = _with_targets(sequences, settings, notes, strict=strict)
    _refuse_extreme(sequences, settings)
    return sequences, settings, notes


def _read(source: Opened, settings: DataSettings, purpose: Purpose) -> Read:
    if source.texts is not None:
        return _of_lists(*source.texts, settings, purpose)
    if (lines := corpora.lines(source, settings, purpose)) is not None:
        return lines
    if source.recordings is not None:
        return _of_files(source.recordings, settings, purpose)
    content = source.content()
    if isinstance(content, Table):
        if purpose == "predict":  # new data need not hold the targets
            known = tuple(name for name in settings.target if name in content.columns)
            settings = replace(settings, target=known)
        sound = recordings.column_of(content, settings)
        if sound or texts.text_columns(content, settings):
            return _of_rows(content, settings, purpose, sound=sound)
    return series.read(content, settings, aim="number", task=NAME, purpose=purpose)


def _of_rows(table: Table, settings: DataSettings, purpose: Purpose, *, sound: str) -> Read:
    """A table with a text or the path of a recording (in the column `sound`) in each row."""
    notes: list[str] = []
    if purpose == "train" and not settings.target:
        guess = columns.guessed_label if sound else texts.with_label
        guessed = guess(table, replace(settings, sound=sound), notes, task=NAME)
        notes = [f"the column {guessed.label!r} is taken as the target"]
        settings = replace(settings, target=(guessed.label,))
    settings = replace(settings, target_per="sequence")
    if sound:
        sequences, settings, more = recordings.from_table(
            table, settings, folder=data_folder(), truth="number", task=NAME, purpose=purpose
        )
    else:
        sequences, settings, more = texts.from_table(table, settings, task=NAME, purpose=purpose)
    return sequences, settings, [*notes, *more]


def _of_files(place: recordings.Place, settings: DataSettings, purpose: Purpose) -> Read:
    """Recordings whose names hold the target as the field {label} of data.pattern."""
    name = (*settings.target, "label")[0]
    sequences, settings, notes = recordings.from_files(
        place, settings, truth="label", purpose=purpose
    )
    settings = replace(settings, target=(name,), target_per="sequence")
    if sequences.labels is None:
        return sequences, settings, notes
    pairs = zip(sequences.ids, sequences.labels, strict=True)
    numbers = [_number(text, place, k) for k, text in pairs]
    return replace(sequences, labels=None, static={name: np.array(numbers)}), settings, notes


def _number(text: str, place: recordings.Place, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(
            f"{place.path}: the name {str(name)!r} holds {str(text)!r} where a number to predict "
            "is needed. Set data.pattern, as in {speaker}_{label}, or give a table of paths and "
            "numbers."
        ) from None


def _of_lists(items: list[str], truth: object, settings: DataSettings, purpose: Purpose) -> Read:
    """Texts in memory, and their targets [texts] or [texts, targets]."""
    sequences = texts.of_list(items, None, "the list of texts")
    content = Arrays("the list of texts", "", sequences, truth=truth)
    sequences, settings, notes = targets.of_arrays(content, settings)
    if purpose == "train" and not sequences.lengths.all():
        empty = int((sequences.lengths == 0).argmax())
        raise DataError(f"the list of texts: item {empty} is empty. Remove it.")
    return sequences, replace(settings, text=settings.text or ("text",)), notes


def _aligned(sequences: Sequences, wanted: tuple[str, ...], settings: DataSettings) -> Sequences:
    """The sequences with an empty column for each target of steps that new data lack."""
    if settings.target_per != "step" or not wanted:
        return sequences
    lacking = [name for name in wanted if name not in sequences.columns]
    others = [name for name in sequences.columns if name not in wanted]
    values = np.concatenate(
        [sequences.values, np.full((len(sequences.values), len(lacking)), np.nan)], axis=1
    )
    present = [*sequences.columns, *lacking]
    order = [present.index(name) for name in (*wanted, *others)]
    return replace(sequences, values=values[:, order], columns=(*wanted, *others))


def truth_of(sequences: Sequences, names: tuple[str, ...]) -> Array:
    """The targets of each sequence, [sequences, targets]; NaN if unknown."""
    unknown = np.full(len(sequences), np.nan)
    return np.stack([sequences.static.get(name, unknown) for name in names], axis=1)


def _with_targets(
    sequences: Sequences, settings: DataSettings, notes: list[str], *, strict: bool
) -> Sequences:
    """The sequences with a target, if most have one; of steps, some of them must have one.

    Raises:
        DataError: no column holds numbers to predict, or too many targets are missing
            (`labels.with_truth`).
    """
    if not settings.target:
        raise DataError(
            f"{sequences.source} has no numbers to predict. Name the target with --target COLUMN, "
            "or give a pair (X, y)."
        )
    names = ", ".join(map(repr, settings.target))
    if settings.target_per == "step":
        columns_of = [sequences.columns.index(name) for name in settings.target]
        if not np.isfinite(sequences.values[:, columns_of]).all(axis=1).any():
            raise DataError(f"{sequences.source}: no step has a value of {names}. Fill it in.")
        return sequences
    known = np.asarray(~np.isnan(truth_of(sequences, settings.target)).any(axis=1))
    rows = " If a row is one step, set data.id." if settings.layout == "wide" else ""
    advice = f"Fill it in, or remove them.{rows}"
    return with_truth(sequences, known, notes, what=names, advice=advice, strict=strict)


def _refuse_extreme(sequences: Sequences, settings: DataSettings) -> None:
    """Refuse targets whose squares overflow or underflow; of steps, `repairs` has done so."""
    if settings.target_per == "step":
        return
    for name in settings.target:
        sizes = np.abs(sequences.static[name])
        most = float(sizes.max())
        if most > LARGEST or 0 < most < SMALLEST:
            verb, size = ("Multiply", "small") if most < 1 else ("Divide", "large")
            sequence = str(sequences.ids[int(sizes.argmax())])
            raise DataError(
                f"{sequences.source}: the target {name!r} is {most:.0e} for sequence {sequence!r}, "
                f"which is too {size} to square. {verb} the column by a power of ten, or correct "
                "the value."
            )
        if is_blurred(sequences.static[name]):
            raise DataError(
                f"{sequences.source}: the target {name!r} holds numbers near {most:.1e} whose "
                "differences float64 rounds away. Subtract a constant from the column first."
            )


def has_one_target_each(source: Opened, settings: DataSettings) -> str | None:
    """The settings name columns of numbers that do not change within any sequence."""
    if not settings.target or settings.past or settings.known:
        return None
    if settings.target_per != "auto":
        return "data.target_per is set"
    content = source.content(one_series=True)
    if not isinstance(content, Table) or not set(settings.target) <= set(content.columns):
        return None
    kinds = content.kinds(settings.missing_values)
    if any(kinds[name] != "number" for name in settings.target):
        return None
    ids = settings.id or tuple(filter(None, [columns.id_of(content, settings)]))
    if not ids or not set(ids) <= set(content.columns):
        return None
    each = content.sample.group_by(ids).agg(
        pl.len().alias("steps"),
        *(pl.col(name).drop_nulls().n_unique().alias(f"n {name}") for name in settings.target),
    )
    steady = all((each[f"n {name}"] <= 1).all() for name in settings.target)
    several = each.filter(pl.col("steps") > 1).height >= MIN_SEQUENCES
    varied = all(content.sample[name].n_unique() > 1 for name in settings.target)
    if steady and several and varied:
        return f"{_listed(settings.target)} is a number that does not change within a sequence"
    return None


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names))


def names_real_labels(source: Opened, settings: DataSettings) -> str | None:
    """The settings name a column of labels that holds real numbers."""
    if not settings.label or settings.separator or source.recordings is not None:
        return None
    return _real_column(source, settings.label)


def are_rated_texts(source: Opened, _settings: DataSettings) -> str | None:
    """Texts in memory with real numbers."""
    numbers = None if source.texts is None else source.texts[1]
    if numbers is None:
        return None
    rated = targets.are_real(np.ravel(numbers) if isinstance(numbers, np.ndarray) else numbers)
    return "a list of texts with a number to predict for each text" if rated else None


def has_real_labels(source: Opened, settings: DataSettings) -> str | None:
    """A column whose name marks it as labels, or the y of a pair (X, y), holds real numbers."""
    content = source.content(one_series=True)
    if isinstance(content, Table):
        label = columns.label_of(content, settings)
        return _real_column(source, *[label] if label else texts.labels_beside(content, settings))
    several = isinstance(content.truth, np.ndarray) and content.truth.ndim == 2
    real = content.truth is not None and not content.truth_per_step
    if content.truth_per_step or (real and targets.are_real(np.ravel(content.truth))):
        number = "numbers" if several else "a number"
        return f"{content.kind} with {number} to predict for each sequence"
    return None


def _real_column(source: Opened, *names: str) -> str | None:
    content, column = source.content(one_series=True), names[0] if len(names) == 1 else ""
    if not isinstance(content, Table) or column not in content.columns:
        return None
    cells = content.sample[column]
    if cells.dtype.is_nested() or not targets.are_real(cells.drop_nulls().to_list()):
        return None
    return f"the column {column!r} holds real numbers, not labels"


RECOGNISE: Mapping[Sign, Recognise] = {
    "settings": has_one_target_each,
    "form": are_rated_texts,
    "labels": names_real_labels,
    "columns": has_real_labels,
}
