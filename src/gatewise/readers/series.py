"""Read tables and arrays of numbers: columns over time, or truth for each sequence."""

from dataclasses import replace

import numpy as np

from gatewise.data.sequences import Sequences
from gatewise.errors import DataError
from gatewise.readers import arrays, columns, dialect, long, repairs, targets, wide
from gatewise.readers.arrays import Arrays
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.labels import label_notes
from gatewise.readers.long import Origin
from gatewise.readers.roles import Aim
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

Made = tuple[Sequences, Origin, DataSettings, list[str]]


def read(
    content: Table | Arrays,
    settings: DataSettings,
    *,
    aim: Aim,
    task: str,
    purpose: Purpose,
    left_empty: tuple[str, ...] = (),
) -> Read:
    """Read the sequences of arrays, or of a table in which a row is a step or a sequence.

    Args:
        content: the result of `Opened.content`.
        settings: `[data]`; missing settings are guessed from names and types of the columns.
        aim: what the task learns: targets over time, a label for each sequence, a number for each
            sequence or step, or neither ("features").
        task: the name of the task, for messages.
        purpose: labels and groups may be absent for "predict"; columns are guessed for "train".
        left_empty: the columns whose empty cells stay empty, besides targets of "number".

    Raises:
        DataError: the data cannot be read, or lack something that the task needs.
        ConfigError: the settings do not fit the data, or the columns cannot be guessed.
    """
    if isinstance(content, Table):
        sequences, origin, settings, notes = _of_table(content, settings, aim, purpose)
    else:
        sequences, origin, settings, notes = _of_arrays(content, settings, aim, purpose)
    truth = settings.target if aim == "number" else left_empty
    repaired = replace(settings, target=()) if aim == "number" else settings
    sequences, more = repairs.apply(sequences, origin, repaired, purpose=purpose, left_empty=truth)
    notes = [*notes, *more]
    if aim == "label" and purpose != "predict":
        strict = isinstance(content, Arrays)
        sequences = columns.labelled(sequences, settings, notes, task=task, strict=strict)
    return sequences, settings, notes


def _of_table(table: Table, settings: DataSettings, aim: Aim, purpose: Purpose) -> Made:
    settings = dialect.settled(settings, table.dialect) if purpose == "train" else settings
    settings, kinds, guesses = columns.resolve(table, settings, aim=aim, purpose=purpose)
    if settings.layout == "long":
        shape = long.long
    else:
        shape = wide.lists if columns.in_lists(settings, kinds) else wide.wide
    # Label and group may be absent in prediction; they are then treated as not named.
    label = settings.label if settings.label in kinds else ""
    group = settings.group if settings.group in kinds else ""
    flags = settings.label_columns if set(settings.label_columns) <= set(kinds) else ()
    present = replace(settings, label=label, label_columns=flags, group=group)
    guesses += label_notes(table, label, settings.missing_values)
    each_row = shape is not long.long and not any(
        kinds.get(one) == "list" for one in settings.target
    )
    if aim == "number" and each_row and shape is wide.lists:
        present = replace(present, target=())
    sequences, origin, notes = shape(table, present, kinds)
    if aim == "number" and each_row:
        truth = targets.of_rows(table, settings, kinds)
        sequences = replace(sequences, static={**sequences.static, **truth})
        settings = replace(settings, target_per="sequence")
    elif aim == "number":
        sequences, settings, more = targets.of_steps(sequences, settings, origin)
        notes = [*notes, *more]
    return sequences, origin, settings, [*table.notes, *guesses, *notes]


def _of_arrays(content: Arrays, settings: DataSettings, aim: Aim, purpose: Purpose) -> Made:
    notes: list[str] = []
    sequences = content.sequences
    if content.test and purpose == "train" and not settings.test:
        settings = replace(settings, test=content.test)
        notes.append("the file has a test part of its own, on which the network is judged")
    if aim == "label" and sequences.labels is None and content.truth is not None:
        shape = np.shape(np.array(content.truth, dtype=object))
        raise arrays.refused_labels(sequences, shape, content.name)
    sequences = _without_infinite(sequences, settings)
    settings, names, places = columns.of_array(
        sequences.columns, settings, notes, name=content.name, aim=aim, purpose=purpose
    )
    if lacking := [name for name in settings.static if name not in sequences.static]:
        raise DataError(
            f"{content.name} has no column {lacking[0]!r}, which the run reads for each sequence. "
            "Give a table with names."
        )
    if aim in ("target", "features") and sequences.labels is not None:
        notes.append("the labels are left out, because the task does not use them")
        sequences = replace(sequences, labels=None)
    if places != list(range(len(sequences.columns))):
        sequences = replace(sequences, values=sequences.values[:, places])
    sequences = replace(sequences, columns=names)
    if aim == "number":
        content = replace(content, sequences=sequences)
        sequences, settings, more = targets.of_arrays(content, settings)
        notes += more
    return sequences, arrays.origin(content), settings, notes


def _without_infinite(sequences: Sequences, settings: DataSettings) -> Sequences:
    """The sequences with NaN for infinite numbers that `data.missing_values` names."""
    values = sequences.values
    named = [float(one) for one in ("inf", "-inf") if one in settings.missing_values]
    if not named or values.dtype.kind != "f" or not (wrong := np.isin(values, named)).any():
        return sequences
    return replace(sequences, values=np.where(wrong, np.nan, values))
