"""The mean of the network's numbers and those of ridge regression (`task.blend`).

Means of predictions whose errors differ are often better than each of them (Bates & Granger 1969).
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.errors import ConfigError
from gatewise.settings import Experiment
from gatewise.tasks import defaults, quantiles
from gatewise.tasks.regress.fitted import Fitted
from gatewise.tasks.task import NETWORK

LINEAR, STEPS = "linear", "steps"  # ridge on the usual features, and on all steps
SHARES = (0.25, 0.5, 0.75)  # of ridge in the mean; 0 is the network alone
# The features that ridge regression and gradient boosting read, by kind of data.
FEATURES = {"numbers": "summaries", "text": "TF-IDF", "sound": "frame statistics"}


def resolved(experiment: Experiment) -> Experiment:
    """The settings with "none" for "auto" where nothing is blended.

    Raises:
        ConfigError: the blend is one of labels, or there is a number at each step.
    """
    experiment = defaults.blended(experiment, "ridge")
    per_step, given = experiment.data.target_per == "step", experiment.task.blend
    if given == "ridge" and per_step:
        raise ConfigError(
            "task.blend = ridge needs one number for each sequence, but a number is predicted for "
            "each step. Leave out task.blend."
        )
    if given == "auto" and per_step:
        return experiment.having("task", blend="none")
    return experiment


def baseline_names(preparation: Preparation[Fitted]) -> dict[str, str]:
    """The names of the fitted baselines in tables and verdicts."""
    read = "the window" if preparation.own.per == "step" else FEATURES[preparation.kind]
    return {
        LINEAR: f"ridge on {read}",
        STEPS: "ridge on the steps",
        "boosting": f"gradient boosting on {read}",
    }


def partner(own: Fitted) -> str:
    """The ridge regression that is blended in, LINEAR or STEPS; "" without a blend."""
    if own.blend != "ridge":
        return ""
    return STEPS if own.blend_on_steps else LINEAR


def model_name(preparation: Preparation[Fitted]) -> str:
    """The name of the network and, with a blend, of its baseline."""
    model = partner(preparation.own)
    return f"{NETWORK} with {baseline_names(preparation)[model]}" if model else NETWORK


def mixed(network: Array, ridge: Array, own: Fitted) -> Array:
    """The mean of both, quantile by quantile, [rows, targets, quantiles]."""
    mean = np.sort(network + own.share * (ridge - network), axis=-1)
    return np.sort(mean + np.array(own.blend_margins), -1) if own.blend_margins else mean


def chosen(
    preparation: Preparation[Fitted], network: Array, said: Mapping[str, Array], actual: Array
) -> Preparation[Fitted]:
    """Choose ridge and its share by the mean absolute error of the median on the validation part.

    All arrays are scaled: `network` and the answers of ridge, which `said` holds by LINEAR and
    STEPS, are [rows, targets, quantiles], and `actual` is [rows, targets]. Between equal errors,
    the smaller share is chosen. With fewer than 20 rows, which share is best is chance, so it is a
    half or nothing. The intervals of the mean are then calibrated like the network's.
    """
    own = preparation.own
    if own.blend not in ("auto", "ridge"):
        return preparation
    middle, known = quantiles.middle(own.quantiles), np.isfinite(actual).all(axis=1)
    few = known.sum() < quantiles.MIN_CALIBRATION

    def blended(model: str, share: float) -> Fitted:
        on_steps = model == STEPS
        return replace(own, blend="ridge", blend_on_steps=on_steps, share=share, blend_margins=())

    def answers(one: Fitted) -> Array:
        model = partner(one)
        return mixed(network, said[model], one) if model else network

    def error(one: Fitted) -> float:
        return float(np.abs(actual - answers(one)[..., middle])[known].mean())

    choices = [blended(model, share) for share in ((0.5,) if few else SHARES) for model in said]
    if own.blend == "auto":
        choices = [replace(own, blend="none"), *choices]
    best = min(choices, key=error) if known.any() else choices[0]
    if best.blend != "none":
        best = replace(best, blend_margins=margins(actual, answers(best), own))
    return replace(preparation, own=best)


def margins(actual: Array, predictions: Array, own: Fitted) -> tuple[tuple[float, ...], ...]:
    """What to add to each quantile for its nominal coverage, [targets][quantiles].

    With fewer than 20 predictions or a single quantile, nothing is added: ().
    """
    count = np.isfinite(actual).all(axis=1).sum()
    if len(own.quantiles) < 2 or count < quantiles.MIN_CALIBRATION:
        return ()
    moved = quantiles.margins(actual, predictions, own.quantiles, (0,))
    return tuple(map(tuple, moved.tolist()))
