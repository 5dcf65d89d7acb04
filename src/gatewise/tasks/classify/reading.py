"""Read and recognise the data of `classify`: sequences with labels."""

from collections.abc import Mapping

import numpy as np

from gatewise.data.sequences import Array, Sequences
from gatewise.errors import DataError
from gatewise.readers import columns, corpora, pairs, recordings, series, spans, targets, texts
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.roles import listing
from gatewise.readers.sources import Opened, data_folder
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings
from gatewise.tasks.classify.examples import label_names
from gatewise.tasks.task import Recognise, Sign

NAME = "classify"
SHOWN = 3  # groups of labels that a note names


def read(source: Opened, settings: DataSettings, purpose: Purpose) -> Read:
    """Read the numbers, texts or recordings of the source.

    Raises:
        DataError: the data cannot be read, or the labels are real numbers.
    """
    sequences, settings, notes = _read(source, settings, purpose)
    if purpose == "train" and sequences.labels is not None:
        if not settings.separator:
            _refuse_real(sequences)
        notes = [*notes, *_alike(sequences.labels, settings.separator)]
    return sequences, settings, notes


def _alike(labels: Array, separator: str) -> list[str]:
    """A note on labels that differ by case or spaces alone, which may be slips of the pen."""
    spelt: dict[str, list[str]] = {}
    for text in np.unique(labels).tolist():
        for label in label_names(text, separator):
            known = spelt.setdefault(" ".join(label.split()).casefold(), [])
            known += [label] * (label not in known)
    found = [" and ".join(map(repr, known)) for known in spelt.values() if len(known) > 1]
    if not found:
        return []
    more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return [
        f"labels that differ by case or spaces alone are kept apart: {'; '.join(found[:SHOWN])}"
        f"{more}; write them alike in the data if they are one label"
    ]


def _refuse_real(sequences: Sequences) -> None:
    """Refuse labels that are measured numbers, because hardly two sequences share one."""
    assert sequences.labels is not None
    if targets.are_real(sequences.labels):
        count = len(np.unique(sequences.labels))
        raise DataError(
            f"{sequences.source}: the labels are {count} different continuous numbers, such as "
            f"'{sequences.labels[0]}', not classes. To predict a number, give --task regress "
            "(Regressor in Python)."
        )


def _read(source: Opened, settings: DataSettings, purpose: Purpose) -> Read:
    if source.texts is not None:
        return texts.of_lists(*source.texts, settings, task=NAME, purpose=purpose)
    if purpose != "predict" and (
        # A folder of files may also be running text, so classes in files are not guessed.
        found := corpora.labelled(source, settings) or corpora.classes_in_files(source, settings)
    ):
        table, settings, note = found
        sequences, settings, notes = texts.from_table(table, settings, task=NAME, purpose=purpose)
        return sequences, settings, [note, *notes]
    if (lines := corpora.lines(source, settings, purpose)) is not None:
        return lines
    if source.recordings is not None:
        return recordings.from_files(source.recordings, settings, truth="label", purpose=purpose)
    content = source.content()
    if isinstance(content, Table):
        if recordings.column_of(content, settings):
            return recordings.from_table(
                content, settings, folder=data_folder(), truth="label", task=NAME, purpose=purpose
            )
        if texts.text_columns(content, settings):
            return texts.from_table(content, settings, task=NAME, purpose=purpose)
    return series.read(content, settings, aim="label", task=NAME, purpose=purpose)


def are_recordings_or_texts(source: Opened, _settings: DataSettings) -> str | None:
    """Recordings without transcripts, or texts in memory with labels."""
    labels = None if source.texts is None else source.texts[1]
    if labels is not None and not pairs.are_sentences(labels):
        return "a list of texts with labels"
    place = source.recordings
    return f"{place.path} holds recordings" if place and not place.transcribed else None


def names_labels(_source: Opened, settings: DataSettings) -> str | None:
    """The settings name labels."""
    named = settings.label or settings.label_columns or settings.labels
    return "the settings name labels" if named else None


def has_labels(source: Opened, settings: DataSettings) -> str | None:
    """A column of labels, a column of recordings without one of transcripts, or labelled arrays."""
    content = source.content(one_series=True)
    if not isinstance(content, Table):
        return f"{content.kind} with labels" if content.truth is not None else None
    if sound := recordings.column_of(content, settings):
        named = f"the column {sound!r} names recordings"
        return None if recordings.transcripts_of(content) else named
    if spans.columns(content, settings) or spans.beside(content, settings):
        return None
    if label := columns.label_of(content, settings):
        return f"the column {label!r} holds labels"
    if found := texts.labels_beside(content, settings):
        held = f"columns {listing(found)} hold" if len(found) > 1 else f"column {found[0]!r} holds"
        return f"the {held} labels of texts"
    return None


def are_labelled(source: Opened, settings: DataSettings) -> str | None:
    """Lines of a label and a text, or folders of texts."""
    if corpora.labelled(source, settings):
        return f"{source.named} holds texts with labels"
    return None


RECOGNISE: Mapping[Sign, Recognise] = {
    "settings": are_labelled,
    "form": are_recordings_or_texts,
    "labels": names_labels,
    "columns": has_labels,
}
