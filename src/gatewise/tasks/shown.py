"""The parts of `details` that tasks on whole sequences share: examples, and errors by length."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewise.data import sound
from gatewise.data.sequences import Array, Sequences, text_of
from gatewise.data.sound import Recordings

SHOWN_CHARACTERS = 600  # maximum number of characters of an example text
SHOWN_STEPS = 200  # maximum number of steps of an example


def shown(source: Sequences | Recordings, k: int) -> dict[str, Any]:
    """Sequence `k` in the form that the report shows."""
    if isinstance(source, Recordings):
        return sound.shown(source, k)
    if source.kind == "text":
        whole = text_of(source, k)
        cut = whole[:SHOWN_CHARACTERS] + ("..." if len(whole) > SHOWN_CHARACTERS else "")
        return {"id": str(source.ids[k]), "text": cut}
    return {
        "id": str(source.ids[k]),
        "columns": list(source.columns),
        "values": source[k][:SHOWN_STEPS].tolist(),
    }


def by_length(lengths: Array, key: str, errors: Mapping[str, Array]) -> list[dict[str, Any]]:
    """The mean error of each quarter of the sequences, from short to long.

    The list is empty if all sequences have the same length.

    Args:
        lengths: the steps, tokens or frames that the network reads of each sequence, [sequences].
        key: the key of the errors in the result.
        errors: the error of each sequence [sequences], by model.
    """
    least, most = lengths.min(), lengths.max()
    if least == most:
        return []
    inner = np.unique(np.quantile(lengths, [0.25, 0.5, 0.75], method="higher"))
    begins = [int(least), *(int(one) for one in inner if one > least)]
    part = np.searchsorted(begins, lengths, side="right") - 1
    rows = []
    for k, begin in enumerate(begins):
        mask = part == k
        means = {name: float(error[mask].mean()) for name, error in errors.items()}
        end = int(begins[k + 1] - 1 if k + 1 < len(begins) else most)
        rows.append({"from": begin, "to": end, "sequences": int(mask.sum()), key: means})
    return rows
