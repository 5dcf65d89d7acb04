"""Tables and arrays of numbers -> Sequences: columns over time, or a label for each sequence."""

from dataclasses import replace

from gatewise.data.sequences import Sequences
from gatewise.readers import arrays, columns, long, repairs, wide
from gatewise.readers.arrays import Arrays
from gatewise.readers.columns import Aim, Purpose, Read
from gatewise.readers.long import Origin
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings

Made = tuple[Sequences, Origin, DataSettings, list[str]]


def read(
    content: Table | Arrays, settings: DataSettings, *, aim: Aim, task: str, purpose: Purpose
) -> Read:
    """The sequences of a table (a row is a step or a sequence) or of arrays.

    Args:
        content: what `Opened.content` gives.
        settings: `[data]`; what is not given is guessed from names and types of the columns.
        aim: what is learned: targets over time, a label for each sequence, or neither ("features").
        task: the name of the task, for messages.
        purpose: to predict, labels may be absent; but to train, nothing is guessed any more.

    Raises:
        DataError: the data are not what is needed, or cannot be read.
        ConfigError: the settings do not fit the data, or too little is known to guess the rest.
    """
    if isinstance(content, Table):
        sequences, origin, settings, notes = _of_table(content, settings, aim, purpose)
    else:
        sequences, origin, settings, notes = _of_arrays(content, settings, aim, purpose)
    if aim == "label" and purpose != "predict":
        columns.require_each_label(sequences, settings, task=task)
    sequences, repaired = repairs.apply(sequences, origin, settings, purpose=purpose)
    return sequences, settings, [*notes, *repaired]


def _of_table(table: Table, settings: DataSettings, aim: Aim, purpose: Purpose) -> Made:
    settings, kinds, guesses = columns.resolve(table, settings, aim=aim, purpose=purpose)
    if settings.layout == "long":
        shape = long.long
    else:
        shape = wide.lists if columns.in_lists(settings, kinds) else wide.wide
    # An absent label or group is no error when predicting; nothing is then known of it.
    label = settings.label if settings.label in kinds else ""
    group = settings.group if settings.group in kinds else ""
    present = replace(settings, label=label, group=group)
    sequences, origin, notes = shape(table, present, kinds)
    return sequences, origin, settings, [*table.notes, *guesses, *notes]


def _of_arrays(given: Arrays, settings: DataSettings, aim: Aim, purpose: Purpose) -> Made:
    notes: list[str] = []
    sequences = given.sequences
    settings, places = columns.of_array(
        sequences.columns, settings, notes, name=given.name, aim=aim, purpose=purpose
    )
    if aim != "label" and sequences.labels is not None:
        notes.append("the labels are left out, as nothing is classified")
        sequences = replace(sequences, labels=None)
    if places != list(range(len(sequences.columns))):
        names = tuple(sequences.columns[one] for one in places)
        sequences = replace(sequences, values=sequences.values[:, places], columns=names)
    return sequences, arrays.origin(given), settings, notes
