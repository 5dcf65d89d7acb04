"""What `gatewise tune` may change in this task."""

from gatewise.settings import Experiment
from gatewise.tasks.ranges import Choice, Space, recurrent


def space(experiment: Experiment, count: int) -> Space:
    """The ranges around the resolved defaults, for `count` training windows.

    Twice the lookback takes its steps from the training windows, so it is left out where these
    are few.
    """
    lookback, segment = experiment.task.lookback, experiment.network.segment_length
    longer = [2 * lookback] if count > 10 * lookback else []
    own: Space = {
        "task.lookback": Choice(tuple(sorted({max(1, lookback // 2), lookback, *longer}))),
        "network.subtract": Choice(
            tuple(dict.fromkeys((experiment.network.subtract, "last", "none")))
        ),
    }
    if segment:
        own["network.segment_length"] = Choice(tuple(sorted({max(1, segment // 2), segment})))
    return recurrent(experiment, count) | own
