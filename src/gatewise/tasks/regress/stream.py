"""How `regress` answers a stream: the numbers of the last step, or of the steps so far."""

from collections.abc import Mapping
from typing import Any

from gatewise.data.preparation import Preparation
from gatewise.settings import Experiment
from gatewise.streaming.plan import Plan
from gatewise.tasks.regress.export import whole
from gatewise.tasks.regress.fitted import Fitted
from gatewise.tasks.streamed import of_texts


def plan(
    preparation: Preparation[Fitted], _experiment: Experiment, _state: Mapping[str, Any]
) -> Plan:
    """The windows that the run was trained on, if any; else all steps.

    A number at each step is answered at each step, from a window that ends there: the run itself
    answers the last steps of a window.
    """
    own = preparation.own
    if own.vocabulary is not None:
        return of_texts(
            whole(preparation), own.vocabulary, most=own.max_length, truncation=own.truncation
        )
    per_step = own.per == "step"
    return Plan(
        preparation=whole(preparation),
        columns=preparation.used,
        window=own.window,
        every=own.stride if own.window and not per_step else 1,
        per_step=per_step,
        partial=per_step,
    )
