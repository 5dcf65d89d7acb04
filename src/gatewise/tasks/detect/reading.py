"""Read the data of `detect`: series of numbers, with or without marked anomalies."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gatewise.data.sequences import Array, Sequences
from gatewise.errors import ConfigError, DataError
from gatewise.readers import series
from gatewise.readers.arrays import Arrays
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.labels import are_flags
from gatewise.readers.roles import known_as, without_role
from gatewise.readers.sources import Opened
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings
from gatewise.tasks.task import Recognise, Sign

NAME = "detect"
# Names of columns that mark anomalies, if they hold two values.
LABELS = (
    *("anomaly", "is_anomaly", "anomalous", "is_anomalous", "anomaly_label", "outlier"),
    *("is_outlier", "label"),
)
YES, NO = ("1", "yes", "true", "anomaly"), ("0", "no", "false", "normal")


def read(source: Opened, settings: DataSettings, purpose: Purpose) -> Read:
    """Read a table of numbers or arrays; `Sequences.marks` holds the labels of the steps.

    Raises:
        DataError: the data cannot be read, or the labels are not yes and no.
        ConfigError: labels at each step are asked of a table with a sequence in each row.
    """
    content = source.content(one_series=True)
    if settings.target:  # the settings of a forecast: all of its columns are watched
        watched = settings.features or (*settings.target, *settings.past, *settings.known)
        settings = replace(settings, features=watched, target=(), past=(), known=())
    if isinstance(content, Arrays):
        return _of_arrays(content, settings, purpose)
    settings, notes = _with_label(content, settings, purpose)
    label = settings.label if settings.label in content.columns else ""
    if label and settings.layout == "wide":
        raise ConfigError(
            f"{content.name}: a label belongs to a step, but in a wide table a row is a whole "
            "sequence. Give a table with a row for each step (data.layout = long)."
        )
    if settings.label and not label and purpose != "predict":
        # The reader names similar columns.
        return series.read(content, settings, aim="features", task=NAME, purpose=purpose)
    # The labels are read beside the features, so that repairs of rows move them along.
    beside = (label,) if label else ()
    sequences, read_settings, more = series.read(
        content,
        replace(settings, label="", past=beside),
        aim="features",
        task=NAME,
        purpose=purpose,
        left_empty=beside,
    )
    if label:
        sequences = _marked(sequences, label, merged=settings.duplicates in ("mean", "sum"))
        more = [*more, *_mostly_anomalies(sequences, label)]
    read_settings = replace(read_settings, label=settings.label, past=())
    return sequences, read_settings, [*notes, *more]


def _with_label(
    table: Table, settings: DataSettings, purpose: Purpose
) -> tuple[DataSettings, list[str]]:
    """The settings with the column of labels, which its name and two values tell."""
    if settings.label or purpose != "train" or settings.layout == "wide":
        return settings, []
    column = _label(table, settings)
    if not column:
        _refuse_others(table, settings)
        return settings, []
    note = f"the column {column!r} is taken as labels of anomalies; it is not read as a feature"
    return replace(settings, label=column), [note]


def _label(table: Table, settings: DataSettings) -> str:
    """The first column whose name and two values mark anomalies; "" for none."""
    free = _plain(table, settings)
    while column := known_as(free, LABELS):
        cells = table.sample[column].drop_nulls()
        texts = set(cells.cast(str).str.to_lowercase().to_list()) if cells.len() else set()
        if are_flags(cells) or (texts and texts <= {*YES, *NO}):
            return column
        free.remove(column)
    return ""


def _plain(table: Table, settings: DataSettings) -> list[str]:
    """The columns without a role whose cells are not lists."""
    free = without_role(table, settings)
    return [name for name in free if not table.sample[name].dtype.is_nested()]


def _refuse_others(table: Table, settings: DataSettings) -> None:
    """Refuse two values that do not say which is the anomaly; as a feature they would tell it."""
    column = known_as(_plain(table, settings), LABELS)
    if not column or settings.features:
        return
    texts = table.sample[column].drop_nulls().cast(str).unique().sort().to_list()
    if len(texts) == 2:
        raise DataError(
            f"{table.name}: the column {column!r} seems to hold labels, but {texts[0]!r} and "
            f"{texts[1]!r} do not say which is the anomaly. Write 1 or yes for an anomaly, 0 or no "
            "for a normal step; or name the columns to watch with data.features."
        )


def proposed(source: Opened, settings: DataSettings) -> str:
    """A sentence that proposes the task if a column may mark anomalies; else ""."""
    content = source.content(one_series=True)
    if not isinstance(content, Table) or settings.label:
        return ""
    column = _label(content, settings)
    return f"If {column!r} marks anomalies, give --task {NAME}." if column else ""


def _marked(sequences: Sequences, label: str, *, merged: bool) -> Sequences:
    """The sequences with their first column, the labels, as marks."""
    cells = sequences.values[:, 0].astype(np.float64)
    levels = {name: texts for name, texts in sequences.levels.items() if name != label}
    if label in sequences.levels:
        cells = _of_texts(cells, sequences.levels[label], label, sequences.source)
    if merged:  # a step is anomalous if one of the rows is
        cells = np.where(cells > 0, 1.0, cells)
    filled = sequences.filled
    return replace(
        sequences,
        values=np.ascontiguousarray(sequences.values[:, 1:]),
        columns=sequences.columns[1:],
        levels=levels,
        filled=None if filled is None else filled[:, 1:],
        marks=_checked(cells, f"{sequences.source}: column {label!r}"),
    )


def _mostly_anomalies(sequences: Sequences, label: str) -> list[str]:
    """A note if most labelled steps are anomalies, as where 1 stands for a normal step."""
    assert sequences.marks is not None
    anomalies, normal = (int((sequences.marks == mark).sum()) for mark in (1, 0))
    if not normal or anomalies <= normal:
        return []
    return [
        f"{anomalies} of {anomalies + normal} labelled steps are anomalies by {label!r}; if 1 "
        "stands for a normal step there, exchange 0 and 1"
    ]


def _of_texts(codes: Array, texts: tuple[str, ...], label: str, source: str) -> Array:
    """The texts of a column as 1 and 0; NaN for empty cells."""
    folded = [text.strip().lower() for text in texts]
    wrong = [text for text, low in zip(texts, folded, strict=True) if low not in (*YES, *NO)]
    if wrong:
        raise DataError(
            f"{source}: column {label!r} must hold labels: 1 or yes for an anomaly, 0 or no for "
            f"a normal step. It holds {wrong[0]!r}. Correct it, or name another column."
        )
    numbers = np.array([*(float(low in YES) for low in folded), np.nan])
    found: Array = numbers[np.where(np.isfinite(codes), codes, -1).astype(int)]
    return found


def _checked(marks: Array, name: str) -> Array:
    """The labels, which are 1, 0 or unknown.

    Raises:
        DataError: there are other numbers.
    """
    wrong = marks[np.isfinite(marks) & (marks != 0) & (marks != 1)]
    if len(wrong):
        raise DataError(
            f"{name} must hold labels: 1 or yes for an anomaly, 0 or no for a normal step. It "
            f"holds {wrong[0]:g}. Correct it, or name another column."
        )
    return marks


def _of_arrays(content: Arrays, settings: DataSettings, purpose: Purpose) -> Read:
    """Arrays, and a list of arrays [steps] of labels if they are a pair (X, y)."""
    if settings.label:
        raise ConfigError(
            f"{content.name} has no column {settings.label!r}. Give a pair (X, y), in which y is a "
            "list of arrays of 0 and 1, one for each sequence."
        )
    marks = None
    if content.truth is not None:
        lengths = content.sequences.lengths.tolist()
        parts = [np.ravel(one) for one in content.truth] if content.truth_per_step else []
        if [len(one) for one in parts] != lengths:
            raise DataError(
                f"{content.name}: y must be a list of arrays of 0 and 1, one for each sequence "
                f"and with a number for each step; the sequences have {lengths[:3]} steps."
            )
        marks = _checked(np.concatenate(parts).astype(np.float64), f"{content.name}: y")
        content = replace(content, sequences=replace(content.sequences, labels=None))
    sequences, settings, notes = series.read(
        content, settings, aim="features", task=NAME, purpose=purpose
    )
    values = sequences.values.astype(np.float64)
    return replace(sequences, values=values, marks=marks), settings, notes


# A series with labels at its steps may also be classified or forecast, so it is never guessed.
RECOGNISE: Mapping[Sign, Recognise] = {}
