"""The tables of scores that verbs print: of a run, of its seeds, of several runs."""

import math
import statistics
from collections.abc import Mapping
from typing import Any

from gatewise.metrics import SCALED
from gatewise.tasks.task import NETWORK

Rows = tuple[list[str], list[list[str]]]  # the columns, and the rows without them


def table(metrics: Mapping[str, Any]) -> Rows:
    """The scores of the model, of the LSTM alone if that differs, and of each baseline."""
    names = list(metrics["metrics"])
    alone = {f"{network_of(metrics['answer'])} alone": metrics["alone"]} if metrics["alone"] else {}
    scored = {metrics["answer"]: metrics["metrics"]} | alone | dict(metrics["baselines"])
    rows = [[name, *(cell(scores[key]) for key in names)] for name, scores in scored.items()]
    return ["", *names], rows


def network_of(answer: str) -> str:
    """The network in the name of an answer, with what is inside it, but without a blend.

    >>> [network_of(one) for one in ("LSTM", "LSTM with ridge", "LSTM with bigrams and ridge")]
    ['LSTM', 'LSTM', 'LSTM with bigrams']
    """
    network, blended, _ = answer.partition(" and ")
    return network if blended else NETWORK


def table_of_seeds(metrics: Mapping[str, Any]) -> Rows:
    """The scores of each seed of `--repeats`, their mean and their standard deviation."""
    repeats, names = metrics["repeats"], list(metrics["metrics"])
    rows = [
        [
            saved_seed(metrics) if one["seed"] == repeats["saved"] else str(one["seed"]),
            cell(one["validation"]),
            *(cell(one["metrics"][name]) for name in names),
        ]
        for one in repeats["each"]
    ]
    for word in ("mean", "deviation"):
        rows.append([word, "", *(cell(repeats[word][name]) for name in names)])
    return ["seed", "validation", *names], rows


def table_of_folds(metrics: Mapping[str, Any]) -> Rows:
    """The scores of each fold, their mean and their deviation, and those of the best baseline."""
    folds, names = metrics["folds"], list(metrics["metrics"])
    metric, against = metrics["verdict"]["metric"], metrics["verdict"]["against"]
    metric = metric.removeprefix(SCALED)
    theirs = [one["baselines"].get(against, {}).get(metric, math.nan) for one in folds["each"]]
    begins = ["begins"] if "begins" in folds["each"][0] else []
    rows = [
        [
            str(one["fold"]),
            *(one[name] for name in begins),
            *_cells(one["metrics"], names),
            cell(told),
        ]
        for one, told in zip(folds["each"], theirs, strict=True)
    ]
    for word, value in (("mean", statistics.mean(theirs)), ("deviation", _deviation(theirs))):
        rows.append([word, *("" for _ in begins), *_cells(folds[word], names), cell(value)])
    return ["fold", *begins, *names, f"{against} ({metric})"], rows


def _cells(scores: Mapping[str, Any], names: list[str]) -> list[str]:
    return [cell(scores.get(name)) for name in names]


def _deviation(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else math.nan


def saved_seed(metrics: Mapping[str, Any]) -> str:
    """The first cell of the row of the seed whose network was saved."""
    return f"{metrics['repeats']['saved']} (saved)"


def table_of_runs(found: Mapping[str, Any]) -> Rows:
    """The scores of each run that `gatewise.compare` compared."""
    rows = []
    for one in found["runs"]:
        seeds = f" (mean of {one['seeds']} seeds)" if one["seeds"] > 1 else ""
        rows.append([f"{one['run']}{seeds}", *map(cell, one["metrics"].values())])
    return ["", *found["runs"][0]["metrics"]], rows


def cell(value: float | None) -> str:
    """A score with four significant digits; a dash if there is none.

    >>> cell(0.123456), cell(None)
    ('0.1235', '-')
    """
    return "-" if value is None or value != value else f"{value:.4g}"
