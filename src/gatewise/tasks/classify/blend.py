"""The blend of the network with a logistic regression: when it is chosen, and its probabilities."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gatewise import metrics
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.tasks.classify.baselines import LOGISTIC, LOGISTIC_STEPS
from gatewise.tasks.classify.examples import Pieces, labels_of
from gatewise.tasks.classify.fitted import Fitted
from gatewise.tasks.task import (
    NETWORK,
)

SHARES = (0.5, 0.25, 0.75)  # of the regression in the mean
ENOUGH = 200  # validation labels; with fewer, which share is best is chance
MIN_PROBABILITY = 1e-300  # avoids the logarithm of 0


def choose_blend(
    preparation: Preparation[Fitted],
    outputs: Array,
    said: Mapping[str, Array],
    examples: Examples[Pieces],
) -> Preparation[Fitted]:
    """Decide a blend that is "auto", its regression and its share, by the log loss on the examples.

    `said` holds the baselines' probabilities for the same examples. The log loss of a mean of two
    predictions is at most the mean of both log losses, so even a worse baseline often helps.
    """
    own = preparation.own
    if own.blend not in ("auto", "logistic") or own.separator:
        return preparation
    labels = labels_of(examples, preparation)
    network = probabilities_of(outputs, preparation, None)
    # Between equal losses, the first choice is taken.
    choices = [(replace(own, blend="none"), network)] if own.blend == "auto" else []
    shares = SHARES if len(labels) >= ENOUGH else SHARES[:1]
    for name in (LOGISTIC[preparation.kind], LOGISTIC_STEPS):
        for share in shares if name in said else ():
            on_steps = name == LOGISTIC_STEPS
            blend = replace(own, blend="logistic", blend_on_steps=on_steps, share=share)
            choices.append((blend, _mean(network, said[name], share)))
    best, _ = min(choices, key=lambda choice: metrics.log_loss(labels, choice[1]))
    return replace(preparation, own=best)


def partner_name(preparation: Preparation[Fitted]) -> str:
    """The name of the regression that is blended in; "" without a blend."""
    if preparation.own.blend != "logistic":
        return ""
    return LOGISTIC_STEPS if preparation.own.blend_on_steps else LOGISTIC[preparation.kind]


def model_name(preparation: Preparation[Fitted]) -> str:
    """The name of the network and, with a blend, of its baseline."""
    parts = ["bigrams"] if preparation.own.bigrams else []
    parts += [partner] if (partner := partner_name(preparation)) else []
    return f"{NETWORK} with {' and '.join(parts)}" if parts else NETWORK


def with_steps(
    outputs: Array,
    baseline: Array,
    lengths: Array,
    preparation: Preparation[Fitted],
    state: Mapping[str, Any],
) -> Array:
    """The probabilities of a blend with the regression on the steps, [sequences, classes].

    A sequence of another length than in training has the network's answer: nothing is known about
    the blend there.
    """
    same = (lengths == state["steps"]["length"])[:, None]
    both = probabilities_of(outputs, preparation, baseline)
    return np.where(same, both, probabilities_of(outputs, preparation, None))


def probabilities_of(
    outputs: Array, preparation: Preparation[Fitted], baseline: Array | None
) -> Array:
    """The network's calibrated probabilities; their mean with the baseline's if there is one."""
    from scipy.special import expit, softmax

    logits = outputs.astype(np.float64) / preparation.own.temperature
    network: Array = expit(logits) if preparation.own.separator else softmax(logits, axis=1)
    return network if baseline is None else _mean(network, baseline, preparation.own.share)


def _mean(network: Array, regression: Array, share: float) -> Array:
    """The mean of two predictions, in which the regression has this share."""
    return (1 - share) * network + share * regression
