"""Labels that are probably wrong, by the answers of networks that were not trained on them.

Confident learning (Northcutt et al. 2021, Journal of Artificial Intelligence Research 70,
1373-1411): an example counts as one of the class that is more probable for it than for those that
carry its label on average. If that is another class than its label, the label is suspect.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewise.data.sequences import Array

LISTED = 100  # suspects that metrics.json lists
SURE = 0.8  # the probability from which a class is more than likely


@dataclass(frozen=True)
class Suspects:
    """The examples with suspect labels, the most suspect first, and their likely classes."""

    places: Array  # [suspects] positions of the examples
    likely: Array  # [suspects] int


def suspects(labels: Array, probabilities: Array) -> Suspects:
    """The suspects among `labels` [examples] int, by `probabilities` [examples, classes].

    The probabilities are those of networks that were not trained on the examples. The suspects are
    ranked by how much more probable the likely class is than the label (the normalized margin).
    """
    count = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    carried = np.bincount(labels, minlength=count)
    sums = np.bincount(labels, weights=own, minlength=count)
    # A class that no example carries cannot be the likely one.
    thresholds = np.where(carried > 0, sums / np.maximum(carried, 1), np.inf)
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    likely = confident.argmax(axis=1)
    places = np.flatnonzero((confident.max(axis=1) > 0) & (likely != labels))
    margins = own[places] - probabilities[places, likely[places]]
    places = places[np.argsort(margins, kind="stable")]
    return Suspects(places, likely[places])


def listed(
    found: Suspects, labels: Array, probabilities: Array, names: list[str], classes: list[str]
) -> dict[str, Any]:
    """The suspects for metrics.json; `names` [examples] says where each example is."""
    rows = [
        {
            "where": names[k],
            "label": classes[labels[k]],
            "likely": classes[likely],
            "probability": float(probabilities[k, likely]),
        }
        for k, likely in zip(found.places.tolist(), found.likely.tolist(), strict=True)
    ]
    sure = sum(one["probability"] >= SURE for one in rows)
    return {"examined": len(labels), "found": len(rows), "sure": sure, "each": rows[:LISTED]}
