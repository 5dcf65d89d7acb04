"""The page on a search: its history, what mattered, and the scores by setting."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2
import numpy as np
from matplotlib.ticker import MaxNLocator

from gatewise.extras import require
from gatewise.reporting import charts, formats
from gatewise.reporting.sections import Key, Picture, Table
from gatewise.tuning.study import (
    DEFAULT,
    EACH,
    ENDED,
    LOSS,
    SECONDS,
    VALUE,
    begun_as,
    candidates,
    finished,
)

FEW = 8  # complete trials; fewer do not tell what mattered


def draw(study: Any, summary: Mapping[str, Any], *, higher: bool) -> str:
    """Draw the page as a complete HTML document that needs no other file."""
    scored = [one for one in finished(study) if one.user_attrs.get(VALUE) is not None]
    trials = sorted(scored, key=begun_as)
    with charts.style():
        history = _history(trials, summary, higher)
        importances = _importances(study)
        slices = [_slice(trials, name, summary) for name in _names(trials)]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    template = resources.files("gatewise.reporting").joinpath("tuning.html.j2")
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        style="; ".join(f"--{name}: {colour}" for name, colour in charts.COLOURS.items()),
        summary=summary,
        history=history,
        importances=importances,
        slices=slices,
        trials=_table(study, summary, higher),
        few=FEW,
    )


def _names(trials: list[Any]) -> list[str]:
    """The settings that have more than one value among the trials."""
    names = formats.union(one.params for one in trials)
    return [n for n in names if len({repr(one.params.get(n)) for one in trials}) > 1]


def _history(trials: list[Any], summary: Mapping[str, Any], higher: bool) -> Picture:
    """The score of each trial, and the best one so far."""
    figure, axes = charts.axes()
    numbers = np.array([begun_as(one) for one in trials], dtype=np.float64)
    values = np.array([one.user_attrs[VALUE] for one in trials], dtype=np.float64)
    best = (np.maximum if higher else np.minimum).accumulate(values)
    axes.plot(numbers, values, "o", color=charts.COLOURS["muted"], markersize=4)
    axes.step(numbers, best, where="post", color=charts.COLOURS["accent"], linewidth=1.6)
    axes.axhline(
        summary["default"], color=charts.COLOURS["s1"], linewidth=1.2, linestyle=charts.DASHES[1]
    )
    axes.set_xlabel("trial")
    axes.set_xlim(-0.5, max(numbers, default=0.0) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    keys = [
        Key("muted", "a trial", "dot"),
        Key("accent", "best so far"),
        Key("s1", "untuned default", "dash"),
    ]
    label = (
        f"validation {summary['metric']} by trial; the best is {formats.number(summary['best'])}"
    )
    return Picture(charts.svg(figure, label), f"Validation {summary['metric']} by trial", "", keys)


def _importances(study: Any) -> Table | None:
    """The share of the variance of scores that each setting explains (fANOVA, Hutter et al. 2014).

    None if too few trials were complete.
    """
    optuna = require("optuna", "tune", "The page of a search")
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < FEW:
        return None
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=64, max_depth=64, seed=0)
    try:
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (ValueError, RuntimeError):  # all complete trials have the same score
        return None
    rows = [[name, formats.percent(share)] for name, share in shares.items()]
    return Table("What mattered", ["setting", "share of the variance"], rows)


def _slice(trials: list[Any], name: str, summary: Mapping[str, Any]) -> Picture:
    """The scores of all trials by the value of one setting."""
    figure, axes = charts.axes(width=280, height=180)
    some = [one for one in trials if name in one.params]
    values = [one.params[name] for one in some]
    scores = [one.user_attrs[VALUE] for one in some]
    numeric = all(isinstance(one, float) for one in values)
    if numeric:
        places: list[Any] = values
        if min(values) > 0 and max(values) > 10 * min(values):
            axes.set_xscale("log")
            charts.plain_powers(axes.xaxis)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(4))
    else:
        known = sorted(set(values), key=lambda one: (str(type(one)), one))
        places = [known.index(one) for one in values]
        axes.set_xticks(range(len(known)), [str(one).lower() for one in known])
    axes.plot(places, scores, "o", color=charts.COLOURS["accent"], markersize=4, alpha=0.7)
    return Picture(charts.svg(figure, f"validation {summary['metric']} by {name}"), name)


def _table(study: Any, summary: Mapping[str, Any], higher: bool) -> Table:
    """All trials with a score, the best first, and then those that were pruned or failed."""
    ranked = candidates(study, higher=higher)
    others = [one for one in study.get_trials(deepcopy=False) if ENDED in one.user_attrs]
    others = sorted((one for one in others if one not in ranked), key=begun_as)
    names = _names([*ranked, *others])
    rows = []
    for one in [*ranked, *others]:
        kind = " (default)" if one.user_attrs.get(DEFAULT) else ""
        scores = [one.user_attrs.get(name) for name in (VALUE, LOSS)]
        told = ["" if score is None else formats.number(score, 4) for score in scores]
        seconds = one.user_attrs.get(SECONDS)
        values = [one.params.get(name, "") for name in names]
        rows.append(
            [
                f"{begun_as(one)}{kind}",
                *told,
                *([_each(one)] if summary["repeats"] > 1 else []),
                "" if seconds is None else f"{seconds:.0f}",
                str(one.user_attrs[ENDED] or ""),
                *(f"{v:.4g}" if isinstance(v, float) else formats.plain(v) for v in values),
            ]
        )
    seeds = ["each seed"] if summary["repeats"] > 1 else []
    columns = ["trial", summary["metric"], "loss", *seeds, "seconds", "ended", *names]
    return Table("All trials; those with a score first, the best at the top", columns, rows)


def _each(trial: Any) -> str:
    """The scores of the seeds that were finished."""
    return " ".join(formats.number(score, 4) for score, _ in trial.user_attrs.get(EACH, ()))
