"""Train the winner of a search again, and judge it beside the untuned default."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatewise.errors import GatewiseError
from gatewise.judging import refitting
from gatewise.judging.protocol import Repeats
from gatewise.judging.repeats import (
    Trained,
    Watch,
    best_first,
    best_value,
    monitor_for,
    with_seed,
)
from gatewise.judging.validation import FittedBaselines, score_baselines
from gatewise.output import write_text
from gatewise.pipeline import run_ready
from gatewise.runs import artefact as artefacts
from gatewise.runs.artefact import as_json, finite
from gatewise.runs.comparison import compare
from gatewise.runs.finished import Run
from gatewise.training.fit import Around
from gatewise.training.interrupts import Interrupts
from gatewise.training.ready import Ready, prepared
from gatewise.tuning import networks, page
from gatewise.tuning.space import with_values
from gatewise.tuning.state import BEST, PAGE, SUMMARY, UNTUNED, Search, Tuned
from gatewise.tuning.study import (
    BY_SEEDS,
    DEFAULT,
    EACH,
    ENDED,
    LOSS,
    SECONDS,
    VALUE,
    begun_as,
    candidates,
    default_trial,
    ended_by_budget,
    finished,
)

log = logging.getLogger("gatewise")

MARGIN = 1.3  # of the time that the final training took as a trial


def reserve(search: Search) -> float:
    """Seconds for the evaluation of the winner and of the default, trained again if not kept."""
    best = candidates(search.study, higher=search.monitor.higher_is_better)
    default = default_trial(search.study)
    if default is None or not best:
        return 0.0
    spent = {one.number: one.user_attrs[SECONDS] for one in (best[0], default)}
    there = search.kept.keys() | set(networks.kept(search.folder))
    seconds: float = sum(spent[number] for number in spent.keys() - there)
    if search.repeats == 1:  # the winner is trained again on everything
        seconds += refitting.longer(search.ready) * spent[best[0].number]
    return MARGIN * seconds + search.evaluating


def finish(search: Search, baselines: FittedBaselines, watch: Watch | None) -> Tuned:
    """Judge the winner and the default on the test part, and tell the result.

    A network that another process trained, before a kill or beside this one, is in a file.

    Raises:
        KeyboardInterrupt: Ctrl-C before any trial was finished.
    """
    higher, default = search.monitor.higher_is_better, default_trial(search.study)
    best = candidates(search.study, higher=higher)
    if default is None or not best:
        raise KeyboardInterrupt(
            f"no trial was finished; the same command continues the search in {search.folder}."
        )
    won = best[0].number != default.number
    values = best[0].params if won else {}
    tuned = _judge(search, baselines, best[0], values, BEST, watch)
    sentence, comparison = "", None
    if won:
        _judge(search, baselines, default, {}, UNTUNED, watch)
        comparison, sentence = _compared(search.folder)
    summary = {
        "task": search.ready.task.name,
        "search": str(search.folder),
        "run": str(search.folder / BEST),
        "metric": search.monitor.name,
        "default": default.user_attrs[VALUE],
        "best": best[0].user_attrs[VALUE],
        "default_loss": default.user_attrs[LOSS],
        "best_loss": best[0].user_attrs[LOSS],
        "default_each": _each(default),
        "best_each": _each(best[0]),
        "best_trial": begun_as(best[0]),
        "repeats": search.repeats,
        "trials": _counts(search.study),
        "values": dict(values),
        "comparison": comparison,
        "verdict": tuned.metrics["verdict"],
        "sentence": sentence or _no_gain(_others(search.study)),
        "validation": chosen_by(search.monitor.name, default, best),
    }
    write_text(search.folder / SUMMARY, as_json(summary), overwrite=True)
    drawn = page.draw(search.study, summary, higher=higher)
    write_text(search.folder / PAGE, drawn, overwrite=True)
    return Tuned(search.folder, tuned, finite(summary))


def chosen_by(metric: str, default: Any, ranked: Sequence[Any]) -> str:
    """The validation scores of the winner and of the default, and the losses where scores tie.

    `ranked` are the trials with a score, the best first.
    """
    best = ranked[0]
    seeds = len(_each(best))  # fewer than there should be where a budget ended the default
    metric += f", mean of {seeds} seeds" if seeds > 1 else ""
    scores = [one.user_attrs[VALUE] for one in (best, default)]
    if best.number == default.number:
        text = f"Validation {metric}: {scores[0]:.4g} with the untuned default, which is the best"
    else:
        text = (
            f"Validation {metric}: {scores[0]:.4g} with the best trial ({begun_as(best)}), "
            f"{scores[1]:.4g} with the untuned default"
        )
    tied = [one for one in ranked if one.user_attrs[VALUE] == scores[0]]
    if len(tied) == 1:
        return f"{text}."
    other = default if default in tied[1:] else tied[1]
    name = "the default" if other.number == default.number else f"trial {begun_as(other)}"
    losses = [f"{one.user_attrs[LOSS]:.4g}" for one in (best, other)]
    return (
        f"{text}. Trials with this score: {len(tied)}. The lowest validation loss decides between "
        f"them: {losses[0]}, beside {losses[1]} of {name}."
    )


def _others(study: Any) -> int:
    """The finished trials of other settings than the default's."""
    return sum(not one.user_attrs.get(DEFAULT) for one in finished(study))


def _no_gain(tried: int) -> str:
    if not tried:
        return "No other trial was finished."
    return "No trial was better than the untuned default on the validation part."


def _judge(
    search: Search,
    baselines: FittedBaselines,
    trial: Any,
    values: Mapping[str, Any],
    name: str,
    watch: Watch | None,
) -> Run:
    """Judge a trial on the test part, and save it; a run of an earlier search is replaced.

    With several seeds, all of them are judged, as `gatewise train --repeats` judges them.
    """
    trained = search.kept.get(trial.number, [])
    if trained:
        ready = trained[0].ready
    else:
        experiment = with_values(search.ready.parts.experiment, values)
        ready = prepared(replace(search.ready.parts, experiment=experiment), search.ready)
        trained = _restored(search, trial.number, ready)
        if not trained:
            log.info("Training trial %d again.", trial.number)
    late = ended_by_budget(trial.user_attrs[ENDED])
    if name == UNTUNED or late:  # it is only compared, or the time is over
        ready = _without_refit(ready)
        trained = [replace(one, ready=_without_refit(one.ready)) for one in trained]
    if ready.preparation is search.ready.preparation:
        fitted = replace(baselines, monitor=monitor_for(ready, baselines.monitor))
    else:
        fitted = score_baselines(ready)
    folder = search.folder / name
    artefacts.check_free(folder, overwrite=True)
    with Interrupts() as interrupts:
        # Cross-validation would test on the sequences that chose the winner.
        return run_ready(
            ready,
            fitted,
            Around(interrupts, watch),
            folder=folder,
            overwrite=True,
            repeats=search.repeats,
            several=False,
            judged=Repeats(trained, fitted) if trained else None,
        )


def _restored(search: Search, number: int, ready: Ready) -> list[Trained]:
    """The networks of a trial from their file, the best first; none if it cannot be used."""
    first = ready.experiment.training.seed
    seeds = [ready, *(with_seed(ready, first + k) for k in range(1, search.repeats))]
    histories = networks.restored(search.folder, number, [one.network for one in seeds])
    trained = [
        Trained(one, history, best_value(history, search.monitor))
        for one, history in zip(seeds, histories, strict=False)
    ]
    return best_first(trained, search.monitor)


def _without_refit(ready: Ready) -> Ready:
    return replace(ready, experiment=ready.experiment.having("training", refit="no"))


def _compared(folder: Path) -> tuple[dict[str, Any] | None, str]:
    """How the winner differs from the default on the test part."""
    try:
        found = compare(folder / UNTUNED, folder / BEST)["comparisons"][0]
    except GatewiseError as error:
        return None, str(error)
    return found, found["sentence"]


def _each(trial: Any) -> list[float]:
    """The score of each seed; a trial of an older version has one, which it does not list."""
    values = trial.user_attrs
    return [score for score, _ in values.get(EACH, [(values[VALUE], values[LOSS])])]


def _counts(study: Any) -> dict[str, int]:
    """The trials by how they ended; one that was cut off and continued counts once."""
    # Trials without a reason are unfinished, or were given up and queued again.
    ended = [one for one in study.get_trials(deepcopy=False) if ENDED in one.user_attrs]
    states = [one.state.name.lower() for one in ended]
    over_seeds = sum(one.user_attrs[ENDED] == BY_SEEDS for one in ended)
    counted = {name: states.count(name) for name in ("complete", "pruned", "fail")}
    return counted | {"pruned_over_seeds": over_seeds}
