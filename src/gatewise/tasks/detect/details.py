"""The details of `detect` for its report: the series with their alarms, and the worst steps."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewise.data.batches import Examples
from gatewise.data.calendar import in_zone
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.settings import Experiment
from gatewise.tasks.detect.examples import Scored
from gatewise.tasks.detect.fitted import Fitted
from gatewise.tasks.detect.measures import events, is_planted
from gatewise.tasks.detect.scoring import ALARM, EXPECTED, P_VALUE, SCORE
from gatewise.tasks.task import NETWORK

MOST_SERIES = 6  # whose scores are drawn
MOST_POINTS = 2_000  # of a drawn series
WORST = 15  # steps that are listed


def details(
    by_model: Mapping[str, Array],
    examples: Examples[Scored],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> dict[str, Any]:
    """Scores over time, the steps with the highest ones, and what was planted and found."""
    source, predictions = examples.source, by_model[NETWORK]
    own = preparation.own
    content: dict[str, Any] = {
        "lookback": own.lookback,
        "season": own.season,
        "threshold": own.yardstick.threshold,
        "false_alarms": own.false_alarms,
        "calibration": len(own.yardstick.scores),
        "columns": list(preparation.used),
        "series": _series(predictions, source, preparation, experiment.report.examples),
        "worst": _worst(predictions, source, preparation),
        "events": len(events(source)),
        "planted": _planted(by_model, source) if is_planted(source) else {},
    }
    return content


def _moments(source: Scored, indices: Array) -> list[Any]:
    """The times of steps, or their numbers from 1."""
    sequences, steps = source.sequences, source.steps[indices]
    if sequences.times is None:
        found = steps - sequences.first[source.places[indices]] + 1
    else:
        times = in_zone(sequences.times[steps], sequences.zone)
        found = np.datetime_as_string(times, unit="s") if times.dtype.kind == "M" else times
    moments: list[Any] = found.tolist()
    return moments


def _series(
    predictions: Array, source: Scored, preparation: Preparation[Fitted], most: int
) -> list[dict[str, Any]]:
    """Values, scores, alarms and labels of the series with the highest scores."""
    original = source.original
    places = np.unique(source.places[original])
    peaks = [predictions[original[source.places[original] == k], SCORE].max() for k in places]
    columns = preparation.positions(preparation.used)
    shown = []
    for place in np.argsort(-np.array(peaks), kind="stable")[: min(most, MOST_SERIES)]:
        k = places[place]
        rows = original[source.places[original] == k]
        scores = predictions[rows, SCORE]
        kept = _thinned(scores)
        cells = source.sequences.values[source.steps[rows[kept]]]
        shown.append(
            {
                "id": str(source.sequences.ids[k]),
                "times": _moments(source, rows[kept]),
                "values": {
                    name: cells[:, column].tolist()
                    for name, column in zip(preparation.used, columns, strict=True)
                },
                "scores": scores[kept].tolist(),
                "alarms": np.flatnonzero(predictions[rows[kept], ALARM]).tolist(),
                "labelled": _runs(source.truth[rows[kept]] == 1),
            }
        )
    return shown


def _thinned(scores: Array) -> Array:
    """All places, or of each stretch the one with the highest score."""
    if len(scores) <= MOST_POINTS:
        return np.arange(len(scores))
    parts = np.array_split(np.arange(len(scores)), MOST_POINTS)
    return np.array([part[scores[part].argmax()] for part in parts])


def _runs(flags: Array) -> list[tuple[int, int]]:
    """The first and the last place of each run of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _worst(
    predictions: Array, source: Scored, preparation: Preparation[Fitted]
) -> list[dict[str, Any]]:
    """The steps with the highest scores, and the column that is farthest from its expectation."""
    original, columns = source.original, preparation.positions(preparation.used)
    order = original[np.argsort(-predictions[original, SCORE], kind="stable")[:WORST]]
    cells = source.sequences.values[source.steps[order]][:, columns]
    expected = predictions[order, EXPECTED:]
    _, spread = preparation.scale.rows(source.sequences)
    away = np.abs(cells - expected) / spread[source.places[order]][:, columns]
    worst = away.argmax(axis=1)
    truth = source.truth[order]
    return [
        {
            "id": str(source.sequences.ids[source.places[k]]),
            "time": moment,
            "column": preparation.used[worst[row]],
            "value": float(cells[row, worst[row]]),
            "expected": float(expected[row, worst[row]]),
            "score": float(predictions[k, SCORE]),
            "p_value": float(predictions[k, P_VALUE]),
            "label": None if np.isnan(truth[row]) else int(truth[row]),
        }
        for row, (k, moment) in enumerate(zip(order, _moments(source, order), strict=True))
    ]


def _planted(by_model: Mapping[str, Array], source: Scored) -> dict[str, dict[str, float]]:
    """The share of planted anomalies of each kind that each model found."""
    found: dict[str, dict[str, float]] = {}
    of = [(str(source.planted[source.places[event[0]]]), event) for event in events(source)]
    for kind in dict.fromkeys(kind for kind, _ in of):
        mine = [event for name, event in of if name == kind]
        found[kind] = {"count": float(len(mine))} | {
            model: float(np.mean([one[event, ALARM].any() for event in mine]))
            for model, one in by_model.items()
        }
    return found
