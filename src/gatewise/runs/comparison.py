"""Compare finished runs on the same test part, with paired intervals."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from gatewise.errors import ArtefactError, ConfigError
from gatewise.judging.evaluation import Resampled, compared, over_seeds
from gatewise.metrics import SCALED
from gatewise.runs import artefact as artefacts
from gatewise.settings import EvaluationSettings, Experiment


@dataclass(frozen=True)
class Judged:
    """The part of a run folder that is compared: its scores, and what identifies its test part."""

    name: str
    metrics: Mapping[str, Any]  # metrics.json
    settings: Experiment
    test: list[Any]  # the rows of splits.json
    scale: Any  # what errors are divided by
    measures: Mapping[str, list[Resampled]]  # by metric, one for each seed


def compare(*runs: Any, metric: str = "") -> dict[str, Any]:
    """The scores of finished runs side by side, and how each differs from the first.

    The runs must have the same test part. The intervals are those of the paired bootstrap: the
    scores of both runs on the same resamples of the clusters of the test part, and of the seeds of
    each (`gatewise train --repeats`). Nothing is predicted again, and the data are not read.

    Args:
        runs: two or more run folders, or what `gatewise.train` or `gatewise.load` returned.
        metric: the metric of the differences; by default, that of the first run's verdict.

    Returns:
        `metric`; `runs`, with `run`, `metrics` and `seeds` of each; and `comparisons` of each
        further run with the first, with the keys of the verdict in metrics.json.

    Raises:
        ConfigError: the runs cannot be compared; the message says which differ, and how.
        ArtefactError: a folder is not a run folder, is damaged, or keeps no resampled scores.
    """
    if len(runs) < 2:
        raise ConfigError(f"compare needs at least two run folders. Received: {len(runs)}.")
    read = [_read(artefacts.folder_of(run)) for run in runs]
    first = read[0]
    for other in read[1:]:
        _refuse_other_test_part(first, other)
    shared = [
        name
        for name in first.measures
        if all(name in one.measures and not _why_other(name, first, one) for one in read[1:])
    ]
    chosen = metric or first.metrics["verdict"]["metric"]
    if chosen not in shared:
        known = f"Metrics that can be compared: {', '.join(shared)}." if shared else ""
        raise ConfigError(
            f"{chosen} cannot be compared: {_why_not(chosen, read)}. {known}".rstrip()
        )
    settings = first.settings.evaluation
    means = [over_seeds(one.measures[chosen], one.name, draws=k) for k, one in enumerate(read)]
    names = list(dict.fromkeys(name for one in read for name in one.metrics["metrics"]))
    return {
        "task": first.metrics["task"],
        "metric": chosen,
        "runs": [
            {
                "run": one.name,
                "metrics": {name: _scores(one).get(name) for name in names},
                "seeds": len(one.measures[chosen]),
            }
            for one in read
        ],
        "comparisons": [_compared(one, means[0], settings) for one in means[1:]],
    }


def _compared(ours: Resampled, theirs: Resampled, settings: EvaluationSettings) -> dict[str, Any]:
    """The comparison; its sentence speaks of a folder instead of "the LSTM"."""
    found = compared(ours, theirs, settings)
    sentence = found["sentence"].removeprefix("The ")
    return found | {"sentence": sentence.replace(f"tell the {ours.model} ", f"tell {ours.model} ")}


def _scores(run: Judged) -> Mapping[str, float]:
    """The metrics of a run; their means over seeds if there are several."""
    repeats = run.metrics.get("repeats")
    scores: Mapping[str, float] = repeats["mean"] if repeats else run.metrics["metrics"]
    return scores


def _read(folder: Path) -> Judged:
    """The record of one run.

    Raises:
        ArtefactError: it is damaged, or has no test part, or an older version saved it.
    """
    with artefacts.intact(folder):
        return _judged(folder, artefacts.format_of(folder))


def _judged(folder: Path, number: int) -> Judged:
    names = (artefacts.METRICS, artefacts.SETTINGS, artefacts.PREPARATION)
    artefacts.verify(folder, names)
    metrics = artefacts.read_json(folder / artefacts.METRICS)
    if not metrics.get("verdict"):
        reason = metrics.get("unjudged") or "There was no test part."
        raise ArtefactError(f"{folder} cannot be compared. {reason}")
    if "resampled" not in metrics:
        raise ArtefactError(
            f"{folder} was saved by an older version, which kept no resampled scores. Train it "
            f"again: gatewise train --config {folder / artefacts.SETTINGS}."
        )
    artefacts.verify(folder, (artefacts.RESAMPLES, artefacts.SPLITS))
    groupings = metrics["resampled"]["groupings"]
    measures: dict[str, list[Resampled]] = {}
    for row in pl.read_parquet(folder / artefacts.RESAMPLES).iter_rows(named=True):
        name = row["metric"]
        one = Resampled(
            name,
            str(folder),
            row["score"],
            pl.Series(row["resampled"], dtype=pl.Float64).to_numpy(),
            row["clusters"],
            groupings[name],
        )
        measures.setdefault(name, []).append(one)
    return Judged(
        str(folder),
        metrics,
        artefacts.read_settings(folder, number),
        artefacts.read_json(folder / artefacts.SPLITS)["test"],
        artefacts.read_json(folder / artefacts.PREPARATION)["scale"],
        measures,
    )


def _refuse_other_test_part(first: Judged, other: Judged) -> None:
    """Refuse runs whose test parts differ.

    Raises:
        ConfigError: they do; the message says how.
    """
    tasks = [one.metrics["task"] for one in (first, other)]
    if tasks[0] != tasks[1]:
        raise ConfigError(
            f"{first.name} and {other.name} cannot be compared: their tasks are {tasks[0]} and "
            f"{tasks[1]}."
        )
    if first.metrics["resampled"]["test"] == other.metrics["resampled"]["test"]:
        return
    raise ConfigError(
        f"{first.name} and {other.name} cannot be compared, because their test parts differ: "
        f"{_difference(first, other)}. Train both with the same data, [split] and targets."
    )


def _difference(first: Judged, other: Judged) -> str:
    """How two test parts differ, in words."""
    targets = [list(one.settings.data.target) for one in (first, other)]
    if targets[0] != targets[1]:
        return f"the targets are {', '.join(targets[0])} and {', '.join(targets[1])}"
    counts = [len(one.test) for one in (first, other)]
    if counts[0] != counts[1]:
        return f"they hold {counts[0]:,} and {counts[1]:,} sequences"
    ids = [{row[0] for row in one.test} for one in (first, other)]
    if alone := sorted(ids[0] - ids[1]):
        return f"{len(alone):,} sequences are in only one of them, such as '{alone[0]}'"
    pairs = zip(sorted(first.test), sorted(other.test), strict=True)
    for ours, theirs in pairs:
        if ours != theirs:
            return (
                f"of '{ours[0]}' they hold the steps {ours[1]:,} to {ours[2]:,} and "
                f"{theirs[1]:,} to {theirs[2]:,}"
            )
    return "the values or the labels of their sequences are not the same"


def _why_not(metric: str, runs: list[Judged]) -> str:
    for one in runs:
        if metric not in one.measures:
            known = ", ".join(one.measures)
            return f"{one.name} has not measured it, only {known}"
    return next(filter(None, (_why_other(metric, runs[0], one) for one in runs[1:])))


def _why_other(metric: str, first: Judged, other: Judged) -> str:
    """Why this metric is not the same in both runs, or ""."""
    ours, theirs = first.measures[metric][0], other.measures[metric][0]
    names = f"{first.name} and {other.name}"
    horizons = [one.settings.task.horizon for one in (first, other)]
    if horizons[0] != horizons[1]:
        return f"the horizons of {names} are {horizons[0]} and {horizons[1]}"
    if ours.grouping != theirs.grouping:
        return f"{names} scored other units of the test part (horizon, stride, window, tokens)"
    evaluations = [one.settings.evaluation for one in (first, other)]
    if evaluations[0].scaled != evaluations[1].scaled:
        return f"only one of {names} has evaluation.scaled"
    scaled = metric.startswith(SCALED) or evaluations[0].scaled
    if scaled and json.dumps(first.scale) != json.dumps(other.scale):
        return f"{names} scaled their errors by other training parts or [preparation]"
    return ""
