"""Validation scores by the amount of training data."""

import gc
import logging
from dataclasses import replace
from typing import Any

from gatewise.curves.powerlaw import Prediction, predict
from gatewise.data.subsets import amount, by_steps, share_of_training
from gatewise.errors import ConfigError, DataError
from gatewise.judging.repeats import Watch, best_value, learn, monitor_for
from gatewise.settings import Experiment
from gatewise.training.fit import Around
from gatewise.training.interrupts import STOP, Interrupts
from gatewise.training.progress import Monitor
from gatewise.training.ready import Ready, prepared

log = logging.getLogger("gatewise")

SHARES = (0.125, 0.25, 0.5, 1.0)
LEAST = 3  # amounts that a power law needs


def scores_by_size(
    ready: Ready,
    given: Experiment,
    monitor: Monitor,
    *,
    repeats: int,
    interrupts: Interrupts,
    watch: Watch | None,
) -> dict[str, Any]:
    """Train on shares of the training part, from several seeds, and validate each network.

    All of them have the preparation and the settings of the whole training part, so that their
    scores mean the same; epochs, batch size and patience follow the amount of data, unless `given`
    sets them.
    """
    steps = by_steps(ready.splits)
    points: list[dict[str, Any]] = []
    for share in SHARES:
        values: list[float] = []
        sizes: list[int] = []
        for k in range(repeats):
            seed = ready.experiment.training.seed + k
            try:
                one = _part(ready, given, share, seed)
            except (DataError, ConfigError) as error:
                log.info("A share of %g is left out: %s", share, error)
                values = []  # those of other seeds, too
                break
            scored = monitor_for(one, monitor)
            history = learn(one, scored, Around(interrupts, watch))
            if interrupts.level >= STOP:
                return _content(points, monitor, steps)
            values.append(best_value(history, scored))
            sizes.append(amount(one.splits.train, steps=steps))
            gc.collect()
        if values:
            points.append({"share": share, "amount": sum(sizes) / len(sizes), "scores": values})
            scores = ", ".join(f"{value:.4f}" for value in values)
            unit = "steps" if steps else "sequences"
            log.info(
                "%s %s: validation %s %s",
                f"{points[-1]['amount']:,.0f}",
                unit,
                monitor.name,
                scores,
            )
    return _content(points, monitor, steps)


def _part(ready: Ready, given: Experiment, share: float, seed: int) -> Ready:
    """The experiment with a share of the training part and without a test part."""
    asked = given.training
    experiment = ready.experiment.having(
        "training",
        epochs=asked.epochs,
        batch_size=asked.batch_size,
        patience=asked.patience,
        seed=seed,
    )
    splits = replace(ready.splits, test=None)
    if share < 1:
        splits = share_of_training(splits, share, seed)
    parts = replace(ready.parts, experiment=experiment, splits=splits)
    return prepared(parts, ready, audits=False)  # the whole, of which it is a part, was audited


def _content(points: list[dict[str, Any]], monitor: Monitor, steps: bool) -> dict[str, Any]:
    """The scores, and what twice the data would give."""
    content: dict[str, Any] = {
        "by": "size",
        "metric": monitor.name,
        "higher_is_better": monitor.higher_is_better,
        "unit": "steps" if steps else "sequences",
        "points": points,
        "twice": None,
        "check": None,
        "sentence": "",
        "remarks": [],
    }
    if len(points) < LEAST or points[-1]["share"] < 1:
        content["sentence"] = (
            f"Amounts of data with scores: {len(points)}. That is too few to tell what more data "
            f"would give: a power law needs the whole and at least {LEAST - 1} shares of it."
        )
        return content
    whole = sum(points[-1]["scores"]) / len(points[-1]["scores"])
    found = _predicted(points, 2 * points[-1]["amount"], monitor)
    worse = found.score < whole if monitor.higher_is_better else found.score > whole
    if worse:
        content["sentence"] = (
            f"The scores do not follow a power law: it gives {found.score:.4g} for twice the data, "
            f"which is worse than the validation {monitor.name} of {whole:.4g} that all of the "
            "data give. Networks that train too briefly on little data do so: give more --epochs."
        )
        return content
    content["twice"] = vars(found)
    content["sentence"] = (
        f"Twice the data would give a validation {monitor.name} of about {found.score:.4g} "
        f"(90% interval of a run {found.low:.4g} to {found.high:.4g}); all of the data give "
        f"{whole:.4g}."
    )
    if len(points) > LEAST:
        check = _predicted(points[:-1], points[-1]["amount"], monitor)
        held = check.low <= whole <= check.high
        content["check"] = vars(check) | {"actual": whole, "held": held}
        content["remarks"] = [
            f"From less data, the same law predicts {check.score:.4g} for all of them "
            f"({check.low:.4g} to {check.high:.4g}), "
            + ("which holds." if held else "which is wrong, so do not rely on it.")
        ]
    return content


def _predicted(points: list[dict[str, Any]], size: float, monitor: Monitor) -> Prediction:
    return predict(
        [one["amount"] for one in points],
        [one["scores"] for one in points],
        size,
        higher=monitor.higher_is_better,
    )
