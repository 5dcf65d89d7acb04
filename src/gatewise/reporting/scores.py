"""The tables of scores that verbs print: of a run, of its seeds, of several runs."""

from collections.abc import Mapping
from typing import Any

Rows = tuple[list[str], list[list[str]]]  # the columns, and the rows without them


def table(metrics: Mapping[str, Any]) -> Rows:
    """The scores of the model, of the LSTM alone if that differs, and of each baseline."""
    names = list(metrics["metrics"])
    alone = {"LSTM alone": metrics["alone"]} if metrics["alone"] else {}
    scored = {metrics["answer"]: metrics["metrics"]} | alone | dict(metrics["baselines"])
    rows = [[name, *(cell(scores[key]) for key in names)] for name, scores in scored.items()]
    return ["", *names], rows


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
