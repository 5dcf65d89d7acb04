"""Whether a collection of series is forecast in logarithms (`network.subtract = log`).

Where movements are proportional to the level, logarithms make windows of all series and seasons
alike, as in the winner of M4 (Smyl 2020, doi:10.1016/j.ijforecast.2019.03.017).
"""

import logging
from typing import Any

import numpy as np

from gatewise.baselines.ridge import fit_ridge, ridge
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import fit_scale
from gatewise.data.sequences import Array, Sequences
from gatewise.data.windows import Windows, windows
from gatewise.errors import ConfigError
from gatewise.settings import Experiment
from gatewise.tasks.forecast.fitted import Fitted

log = logging.getLogger("gatewise")

FLOOR = 0.01  # of the level of a series: smaller values count as this
MOST = 5.0  # the logarithm of the largest forecast, in levels
MANY = 10  # series; in fewer, which of two ridge regressions errs less is mostly chance
HELD = 0.15  # of the training part, on which they are compared
WINDOWS = 5_000  # the most that each is fitted to and compared on


def chosen(experiment: Experiment, train: Sequences) -> tuple[Experiment, list[str]]:
    """Resolve `network.subtract` and the scale that logarithms need, with a note on a choice.

    Raises:
        ConfigError: logarithms are asked for, but the targets or their scale do not allow them.
    """
    wanted, notes = experiment.network.subtract, []
    if wanted == "auto":
        wanted = "last"
        if _possible(experiment, train) and (errors := _errors(experiment, train)):
            plain, in_logarithms = errors
            if in_logarithms < plain:
                wanted = "log"
                notes.append(
                    "Windows are read in logarithms, because ridge on the window has an error of "
                    f"{in_logarithms:.3g} with them and of {plain:.3g} without (end of the "
                    "training part)."
                )
    experiment = experiment.having("network", subtract=wanted)
    if wanted != "log":
        return experiment, notes
    _refuse(experiment, train)
    return experiment.having("preparation", scale="level"), notes


def warn_of_floor(sequences: Sequences, preparation: Preparation[Fitted]) -> None:
    """Say how many targets of new data are not above 0, and what the network takes them for."""
    whole = sequences.between(sequences.first, sequences.stops)
    for name in preparation.own.targets:
        column = sequences.columns.index(name)
        low = sum(int((steps[:, column] <= 0).sum()) for steps in whole)
        if low:
            log.warning(
                "%s: %s values of '%s' are not above 0. The network reads logarithms, so it "
                "takes them as a hundredth of the series' level.",
                sequences.source,
                f"{low:,}",
                name,
            )


def _possible(experiment: Experiment, train: Sequences) -> bool:
    """Whether the choice is left open, and the series are many and positive."""
    settings = experiment.preparation
    return (
        len(train) >= MANY
        and settings.scale in ("auto", "level")
        and settings.scale_by in ("auto", "series")
        and experiment.training.loss == "auto"
        and not experiment.network.build
        and set(train.columns) == set(experiment.data.target)
        and _least(train, experiment.data.target) > 0
    )


def _refuse(experiment: Experiment, train: Sequences) -> None:
    scale, least = experiment.preparation.scale, _least(train, experiment.data.target)
    if scale not in ("auto", "level"):
        raise ConfigError(
            f"network.subtract = log needs preparation.scale = level. Received: {scale}. Leave "
            "preparation.scale out."
        )
    if least <= 0:
        raise ConfigError(
            f"network.subtract = log needs targets above 0, but {train.source} has {least:g} in "
            "the training part. Leave network.subtract at auto."
        )


def _least(train: Sequences, targets: tuple[str, ...]) -> float:
    columns = [train.columns.index(name) for name in targets]
    return float(min(np.nanmin(steps[:, columns], initial=np.inf) for steps in train))


def _errors(experiment: Experiment, train: Sequences) -> tuple[float, float] | None:
    """Errors of ridge without and with logarithms, in deviations of a series; None: too short."""
    task, held = experiment.task, (HELD * train.lengths).astype(np.int64)
    cuts = train.stops - np.maximum(held, task.horizon)
    fitted_on = train.between(train.starts, np.maximum(cuts, train.starts))
    size = (task.lookback, task.horizon)
    before, after = windows(fitted_on, *size), windows(train.between(cuts, train.stops), *size)
    if not len(before) or not len(after):
        return None
    names = experiment.data.target
    past, future, _ = _cut(before, fitted_on, names)
    past_held, truth, deviation = _cut(after, fitted_on, names)
    errors = []
    for there, back in ((_same, _same), (_logarithm, np.exp)):
        model = fit_ridge(
            there(past), there(future), None, valid=(there(past_held), there(truth), None)
        )
        answer = back(np.minimum(ridge(model, there(past_held), None), MOST))
        errors.append(float(np.nanmean(np.abs(answer - truth) / deviation)))
    return errors[0], errors[1]


def _cut(cut: Windows, part: Sequences, names: tuple[str, ...]) -> tuple[Array, Array, Array]:
    """Past and future of some windows, in levels of their series, and its deviation in them."""
    columns = np.array([part.columns.index(name) for name in names])
    some = np.unique(np.linspace(0, len(cut) - 1, min(len(cut), WINDOWS)).astype(np.int64))
    series, _ = cut.places(some)
    level, spread = (fit_scale(part, kind, "series").spread for kind in ("level", "standard"))
    level, spread = level[series][:, None, columns], spread[series][:, None, columns]

    def values(start: int, stop: int) -> Array:
        steps = cut.steps(some, start, stop)[..., None]
        scaled: Array = cut.sequences.values[steps, columns].astype(np.float64) / level
        return scaled

    return values(-cut.lookback, 0), values(0, cut.horizon), spread / level


def _same(values: Any) -> Any:
    return values


def _logarithm(values: Array) -> Array:
    logarithms: Array = np.log(np.maximum(values, FLOOR))
    return logarithms
