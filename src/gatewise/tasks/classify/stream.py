"""How `classify` answers a stream: the label of the steps so far, or of the last window."""

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
from gatewise.tasks.classify.baselines import floor_of, on_steps, regression_on
from gatewise.tasks.classify.blend import probabilities_of, with_steps
from gatewise.tasks.classify.fitted import Fitted
from gatewise.tasks.streamed import of_texts


def plan(
    preparation: Preparation[Fitted], _experiment: Experiment, state: Mapping[str, Any]
) -> Plan:
    """The windows that the run was trained on, if any; else all steps."""
    own = preparation.own
    blended = own.blend == "logistic"
    prepared = whole(preparation, blend=own.blend)
    if own.vocabulary is not None:
        return of_texts(
            prepared,
            own.vocabulary,
            most=own.max_length,
            truncation=own.truncation,
            reads_all="its answer includes that of a regression on all words" if blended else "",
        )
    return Plan(
        preparation=prepared,
        columns=preparation.columns if blended else preparation.used,  # it reads constants, too
        window=own.window,
        every=own.stride if own.window else 1,
        beside=_beside(preparation, state) if blended else None,
        postprocess=_blended if blended else None,
    )


def _beside(preparation: Preparation[Fitted], state: Mapping[str, Any]) -> Beside:
    """What the regression reads of the steps so far."""
    columns = len(preparation.columns)
    if preparation.own.blend_on_steps:
        return Growing(state["steps"]["length"], columns)
    return Running(columns, floor_of(state))


def _blended(
    outputs: Array,
    _examples: Examples[Any],
    preparation: Preparation[Fitted],
    state: Mapping[str, Any],
) -> Array:
    """Probabilities [steps, classes], of outputs [steps, classes and features]."""
    count = len(preparation.own.classes)
    logits, features = np.split(outputs, [count], axis=1)
    if preparation.own.blend_on_steps:
        baseline = on_steps(state, features[:, :-1])
        return with_steps(logits, baseline, features[:, -1], preparation, state)
    return probabilities_of(logits, preparation, regression_on(state, features))
