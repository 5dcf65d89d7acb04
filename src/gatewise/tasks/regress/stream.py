"""How `regress` answers a stream: the numbers of the last step, or of the steps so far."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewise.baselines.flat import Growing
from gatewise.baselines.summaries import Running
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.exporting.steps import whole
from gatewise.settings import Experiment
from gatewise.streaming.plan import Beside, Plan
from gatewise.tasks.regress import blend
from gatewise.tasks.regress.baselines import ridge_on
from gatewise.tasks.regress.fitted import Fitted
from gatewise.tasks.regress.task import with_ridge
from gatewise.tasks.streamed import of_texts


def plan(
    preparation: Preparation[Fitted], _experiment: Experiment, state: Mapping[str, Any]
) -> Plan:
    """The windows that the run was trained on, if any; else all steps.

    A number at each step is answered at each step, from a window that ends there: the run itself
    answers the last steps of a window.
    """
    own, partner = preparation.own, blend.partner(preparation.own)
    prepared = whole(preparation, blend=own.blend)
    if own.vocabulary is not None:
        return of_texts(
            prepared,
            own.vocabulary,
            most=own.max_length,
            truncation=own.truncation,
            reads_all="its answer includes that of ridge on all words" if partner else "",
        )
    per_step = own.per == "step"
    return Plan(
        preparation=prepared,
        columns=preparation.columns if partner else preparation.used,  # ridge reads constants, too
        window=own.window,
        every=own.stride if own.window and not per_step else 1,
        per_step=per_step,
        partial=per_step,
        beside=_beside(partner, preparation, state) if partner else None,
        postprocess=_blended if partner else None,
    )


def _beside(partner: str, preparation: Preparation[Fitted], state: Mapping[str, Any]) -> Beside:
    """What ridge reads of the steps so far."""
    columns = len(preparation.columns)
    if partner == blend.STEPS:
        return Growing(state["length"], columns)
    return Running(columns, np.array(state["floor"]))


def _blended(
    outputs: Array,
    _examples: Examples[Any],
    preparation: Preparation[Fitted],
    state: Mapping[str, Any],
) -> Array:
    """Quantiles [steps, targets, quantiles], of flat outputs and features of ridge [steps, ...]."""
    own = preparation.own
    shape = (len(own.targets), max(1, len(own.quantiles)))
    numbers, features = np.split(outputs, [shape[0] * shape[1]], axis=1)
    lengths = features[:, -1]  # of `Growing`; else not read
    if own.blend_on_steps:
        features = features[:, :-1]
    ridge = ridge_on(features, blend.partner(own), preparation, state)
    return with_ridge(numbers.reshape(-1, *shape), ridge, lengths, preparation, state)
