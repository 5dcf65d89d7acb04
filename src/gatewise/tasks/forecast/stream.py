"""How `forecast` answers a stream: anew after each step, from the window that ends there."""

from collections.abc import Mapping
from typing import Any

from gatewise.data.preparation import Preparation
from gatewise.settings import Experiment
from gatewise.streaming.plan import Plan
from gatewise.tasks.forecast.fitted import Fitted


def plan(
    preparation: Preparation[Fitted], _experiment: Experiment, _state: Mapping[str, Any]
) -> Plan:
    """The steps, covariates and rows ahead that a forecast reads."""
    own = preparation.own
    read = {*own.targets, *own.past, *own.known}
    return Plan(
        preparation=preparation,
        columns=tuple(name for name in preparation.columns if name in read),
        window=own.lookback,
        full=True,
        targets=own.targets if own.known else (),
        ahead=own.horizon if own.known else 0,
        needs_times=", ".join(own.calendar),
        static=own.static,
        whole="a forecast reads a window of its own for each origin",
    )
