"""The scores of `detect`: of steps, of events, and of alarms at normal steps.

An event is an unbroken run of anomalous steps. It is found if one of its steps has an alarm. Steps
of an event never count as found because another one is ("point adjustment"), which flatters even
random scores (Kim et al. 2022, arXiv:2109.05257).
"""

from collections.abc import Callable

import numpy as np

from gatewise import metrics
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.settings import Experiment
from gatewise.tasks.detect.examples import Scored
from gatewise.tasks.detect.fitted import Fitted
from gatewise.tasks.detect.scoring import ALARM, SCORE
from gatewise.tasks.task import Measure, ratio

PLANTED = "planted_"  # prefix of metrics of planted anomalies
MOST_LEVELS = 500  # different scores of anomalous steps that a resampled precision tells apart


def is_planted(source: Scored) -> bool:
    """Whether the anomalies are planted, because none is labelled."""
    return bool((source.planted != "").any())


def score(
    predictions: Array,
    examples: Examples[Scored],
    _preparation: Preparation[Fitted],
    _experiment: Experiment,
) -> dict[str, float]:
    """Precision of the ranking and of the alarms, events found, and alarms at other steps.

    Without labels, nobody knows which alarms on the series as they are, without planted anomalies,
    are false.
    """
    source = examples.source
    known = np.isfinite(source.truth)
    truth, scores = source.truth[known] == 1, predictions[known, SCORE]
    alarms = predictions[:, ALARM] == 1
    rate = metrics.per_thousand(alarms[normal_steps(source)])
    found = [bool(alarms[event].any()) for event in events(source)]
    if is_planted(source):
        return {
            "planted_average_precision": metrics.average_precision(truth, scores),
            "planted_found": metrics.share(found),
            "alarms_per_1000": rate,
        }
    return {
        "average_precision": metrics.average_precision(truth, scores),
        "roc_auc": metrics.roc_auc(truth.astype(int), np.stack([-scores, scores], axis=1)),
        "alarm_precision": metrics.alarm_precision(truth, alarms[known]),
        "alarm_recall": metrics.alarm_recall(truth, alarms[known]),
        "alarm_f1": metrics.f1_micro(truth, alarms[known]),
        "events_found": metrics.share(found),
        "false_alarms_per_1000": rate,
    }


def normal_steps(source: Scored) -> Array:
    """Whether each step is normal: by its label, or because nothing was planted in its series."""
    if is_planted(source):
        return np.asarray(source.planted[source.places] == "")
    return np.asarray(source.truth == 0)


def events(source: Scored) -> list[Array]:
    """The indices of the steps of each event."""
    marked = np.flatnonzero(source.truth == 1)
    if not len(marked):
        return []
    breaks = (np.diff(marked) > 1) | (np.diff(source.places[marked]) != 0)
    return np.split(marked, np.flatnonzero(breaks) + 1)


def nearest_event(source: Scored) -> Array:
    """The event that each step is nearest to, [steps]; 0 if there are none.

    Steps around an event depend on each other, and a resample without any event has no precision,
    so that a cluster is an event with the steps around it.
    """
    found = events(source)
    if not found:
        return np.zeros(len(source.steps), dtype=np.int64)
    ends = np.array([event[-1] for event in found[:-1]])
    begins = np.array([event[0] for event in found[1:]])
    return np.searchsorted((ends + begins) / 2, np.arange(len(source.steps)))


def measures(
    examples: Examples[Scored], _preparation: Preparation[Fitted], _experiment: Experiment
) -> list[Measure[Array]]:
    """Average precision, events found, and the F1 of alarms, by event."""
    source = examples.source
    prefix = PLANTED if is_planted(source) else ""
    cluster, found = nearest_event(source), events(source)
    count = max(1, len(found))
    truth, known = source.truth == 1, np.isfinite(source.truth)

    def ranked(predictions: Array) -> Array:
        scores = predictions[known, SCORE]
        return _levels(scores, truth[known], cluster[known], count)

    def hits(predictions: Array) -> Array:
        rows = [[float(predictions[event, ALARM].any()), 1.0] for event in found]
        return np.array(rows or [[0.0, 0.0]])

    def confused(predictions: Array) -> Array:
        alarms = (predictions[:, ALARM] == 1) & known
        columns = (alarms & truth, alarms, truth)
        return np.stack([np.bincount(cluster, one, count) for one in columns], axis=1)

    each = np.arange(count)
    made: list[tuple[str, Callable[[Array], Array], Callable[[Array], Array]]] = [
        (f"{prefix}average_precision", ranked, _precision_of_levels),
        ("planted_found" if prefix else "events_found", hits, ratio),
    ]
    if not prefix:
        made.append(("alarm_f1", confused, lambda sums: metrics.f1(*np.moveaxis(sums, -1, 0))))
    return [Measure(name, statistics, value, each) for name, statistics, value in made]


def _levels(scores: Array, truth: Array, cluster: Array, count: int) -> Array:
    """Normal and anomalous steps by level of the score, [clusters, 2 * levels].

    A level ends at a score that an anomalous step has, so that precision is known at each of
    them; the first level is the highest.
    """
    edges = np.unique(scores[truth])[::-1]
    if len(edges) > MOST_LEVELS:
        edges = edges[np.unique(np.linspace(0, len(edges) - 1, MOST_LEVELS).astype(int))]
    place = np.searchsorted(-edges, -scores, side="left")  # len(edges): below all of them
    inside = place < len(edges)
    sums = np.zeros((count, 2 * len(edges)))
    where = place[inside] + len(edges) * truth[inside]
    np.add.at(sums, (cluster[inside], where), 1.0)
    return sums


def _precision_of_levels(sums: Array) -> Array:
    """Average precision from counts of `_levels`, [..., 2 * levels] -> [...]."""
    normal, anomalous = np.split(np.asarray(sums, dtype=np.float64), 2, axis=-1)
    hits = np.cumsum(anomalous, axis=-1)
    alarms = hits + np.cumsum(normal, axis=-1)
    precision = hits / np.maximum(alarms, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = (anomalous * precision).sum(axis=-1) / anomalous.sum(axis=-1)
    return found
