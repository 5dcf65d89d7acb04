"""What `gatewise tune` may change in this task."""

from gatewise.settings import Experiment
from gatewise.tasks.ranges import Choice, Space, recurrent


def space(experiment: Experiment, count: int) -> Space:
    """The ranges around the resolved defaults, for `count` training steps."""
    lookback = experiment.task.lookback
    longer = [2 * lookback] if count > 10 * lookback else []
    return recurrent(experiment, count) | {
        "task.lookback": Choice(tuple(sorted({max(1, lookback // 2), lookback, *longer})))
    }
