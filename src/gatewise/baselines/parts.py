"""Sequences in the form that a baseline of the user's own reads."""

from typing import Any

from gatewise.data.sequences import Sequences, texts_of


def sequences_for(sequences: Sequences, columns: tuple[str, ...]) -> list[Any]:
    """A copy of each sequence: a text, samples [samples], or these columns [steps, columns]."""
    if sequences.kind == "text":
        return texts_of(sequences)
    if sequences.kind == "sound":
        return [steps[:, 0].copy() for steps in sequences]
    places = [sequences.columns.index(name) for name in columns]
    return [steps[:, places].copy() for steps in sequences]
