"""The record of a run: metrics.json, and the steps that each part holds."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from gatewise import engine
from gatewise.data.sequences import Sequences, comparable, fingerprint
from gatewise.data.splits import Splits
from gatewise.judging.audit import of_labels
from gatewise.judging.evaluation import Evaluation, scores_of
from gatewise.judging.repeats import spread_of, summary_of
from gatewise.judging.validation import FittedBaselines
from gatewise.readers.datasets import DATASETS, path_of
from gatewise.settings import DataSettings
from gatewise.training.progress import History, column_of
from gatewise.training.ready import Ready, part_sizes


def metrics_of(
    ready: Ready,
    baselines: FittedBaselines,
    history: History,
    evaluation: Evaluation | None,
    seconds: float,
) -> dict[str, Any]:
    """The content of metrics.json, which `--json` prints and the report shows.

    `seconds` is how long the evaluation took.
    """
    trained = evaluation.seeds if evaluation else []
    durations = {
        "read": ready.seconds,
        "baselines": baselines.seconds,
        "train": sum(one["seconds"] for one in trained) if trained else history.seconds,
        "evaluate": seconds,
    }
    content: dict[str, Any] = {
        "task": ready.task.name,
        "data": data_name(ready.experiment.data.path),
        "answer": ready.task.model_name(ready.preparation),
        **scores_of(evaluation),
        "caveats": [
            *interruption(history.stopped, history.best_epoch, history.networks),
            *(evaluation.caveats if evaluation else []),
        ],
        "seconds": durations | {"total": sum(durations.values())},
        "engine": engine.used_by(ready.network),
        "epochs": len(history.columns.get("epoch", [])),
        "best_epoch": history.best_epoch,
        "stopped": history.stopped,
        "networks": history.networks,
        "refit_epochs": history.refit_epochs,
        "parts": part_sizes(ready),
        "notes": ready.notes,
        "audit": [*ready.audit, *_of_labels(ready, evaluation)],
        "details": evaluation.details if evaluation else {},
    }
    content |= _unjudged(ready) if evaluation is None else _judged(ready, evaluation)
    if ready.validation is not None:
        content["validation"] = {
            "metric": f"val_{column_of(baselines.monitor.name)}",
            "baseline": baselines.monitor.baseline,
            "value": baselines.monitor.baseline_value,
        }
    if ready.task.units is not None:
        content["units_note"] = ready.task.units(ready.experiment)
    return content


def _judged(ready: Ready, evaluation: Evaluation) -> dict[str, Any]:
    """What is known of a test part beyond its scores."""
    content: dict[str, Any] = {
        "resampled": {
            "test": test_fingerprint(ready.splits.test, ready.experiment.data),
            "groupings": {one.metric: one.grouping for one in evaluation.resampled},
        },
        "predictions": {
            "rows": evaluation.table.height,
            "answers": evaluation.listed,
            "of": evaluation.count,
        },
    }
    if evaluation.seeds:
        content["repeats"] = summary_of(evaluation)
    if evaluation.folds:
        content["folds"] = spread_of(evaluation.folds)
    if "suspects" in evaluation.details:
        content["suspects"] = evaluation.details["suspects"]
    return content


def _unjudged(ready: Ready) -> dict[str, Any]:
    """The reason for having no verdict."""
    tested = ready.test is not None
    reason = "The evaluation was skipped on request" if tested else "There was no test part"
    return {"unjudged": f"{reason}, so there is no verdict."}


def _of_labels(ready: Ready, evaluation: Evaluation | None) -> list[dict[str, str]]:
    """What a full audit says about the labels of the examples that were judged."""
    if evaluation is None or ready.experiment.evaluation.audit != "full":
        return []
    return [asdict(one) for one in of_labels(evaluation.details.get("suspects"))]


def test_fingerprint(part: Sequences | None, data: DataSettings) -> str:
    """A hash of the truth of the test part: of its sequences, and of their labels or targets."""
    assert part is not None
    steps = comparable(part)
    targets = [k for k, name in enumerate(part.columns) if name in data.target]
    truth = [part.ids.astype(str).tolist()]
    truth += [[] if part.labels is None else part.labels.tolist()]
    truth += [part.static[name].tolist() for name in data.target if name in part.static]
    if part.labels is None or targets:
        truth += [fingerprint(one[:, targets] if targets else one) for one in steps]
    return fingerprint(np.frombuffer(json.dumps(truth).encode(), np.uint8))


def interruption(stopped: str, best_epoch: int, networks: int = 1) -> list[str]:
    """The caveat that a signal ended training early; empty if training ended by itself."""
    if not stopped.startswith("stopped by"):
        return []
    weights = f"The weights are those of epoch {best_epoch}."
    if networks > 1:
        weights = f"The {networks} networks that were finished are kept."
    return [f"Training was interrupted: {stopped}. {weights}"]


def ending(metrics: Mapping[str, Any]) -> list[str]:
    """The sentence on why training ended; none if a caveat says it, or for several networks."""
    stopped, best, epochs = metrics["stopped"], metrics["best_epoch"], metrics["epochs"]
    if metrics["networks"] > 1 or interruption(stopped, best):
        return []
    whole = "after 1 epoch" if epochs == 1 else f"after all {epochs} epochs"
    reason = f"early: {stopped}" if stopped else whole
    weights = "" if metrics["refit_epochs"] else f" The weights are those of epoch {best}."
    return [f"Training ended {reason}.{weights}"]


def data_name(path: str) -> str:
    """The name of a shipped data set, or the path of other data."""
    names = (name for name in DATASETS if path == str(path_of(name)))
    return next(names, path) or "data in memory"


def splits_of(splits: Splits, seen: Sequences | None = None) -> dict[str, Any]:
    """The steps that each part holds, counted from the beginning of each sequence.

    The fingerprints identify the data that the network was trained on in other files: the training
    part, or `seen`.
    """
    content: dict[str, Any] = {}
    for name in ("train", "validation", "test"):
        part: Sequences | None = getattr(splits, name)
        if part is not None:
            begins, ends = part.starts - part.first, part.stops - part.first
            content[name] = [
                list(row)
                for row in zip(part.ids.tolist(), begins.tolist(), ends.tolist(), strict=True)
            ]
    content["fingerprints"] = [fingerprint(steps) for steps in comparable(seen or splits.train)]
    return {"columns": ["id", "first step", "step after the last"]} | content
