"""How `detect` answers a stream: the score of each step, from the window that ends there."""

from collections.abc import Mapping
from typing import Any

from gatewise.data.preparation import Preparation
from gatewise.settings import Experiment
from gatewise.streaming.plan import Plan
from gatewise.tasks.detect.fitted import Fitted


def plan(
    preparation: Preparation[Fitted], _experiment: Experiment, _state: Mapping[str, Any]
) -> Plan:
    """The lookback and the step that is scored."""
    own = preparation.own
    return Plan(
        preparation=preparation,
        columns=preparation.used,
        window=own.lookback + 1,
        full=True,
        measured=True,
        needs_times=", ".join(own.calendar),
        whole="a score reads a window of its own for each step",
    )
