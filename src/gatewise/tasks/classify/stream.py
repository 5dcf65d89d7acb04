"""How `classify` answers a stream: the label of the steps so far, or of the last window."""

from gatewise.data.preparation import Preparation
from gatewise.settings import Experiment
from gatewise.streaming.plan import Plan
from gatewise.tasks.classify.export import whole
from gatewise.tasks.classify.fitted import Fitted


def plan(preparation: Preparation[Fitted], _experiment: Experiment) -> Plan:
    """The windows that the run was trained on, if any; else all steps."""
    own = preparation.own
    blend = own.blend
    return Plan(
        preparation=whole(preparation, blend=blend),
        columns=preparation.used,
        window=own.window,
        every=own.stride if own.window else 1,
        whole=f"its answer includes that of a baseline (task.blend = {blend})"
        if blend != "none"
        else "",
    )
