"""The state of a search, its limits and its result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatewise.judging.repeats import Trained
from gatewise.runs.finished import Run
from gatewise.tasks.ranges import Space
from gatewise.training.progress import Monitor
from gatewise.training.ready import Ready

SEARCH, SUMMARY, PAGE = "search.json", "tuning.json", "tuning.html"
BEST, UNTUNED = "best", "default"  # the run folders


@dataclass(frozen=True)
class Limits:
    """When a search ends."""

    deadline: float  # of the whole work, in seconds of time.time(); infinite without a budget
    trials: int  # of all processes, earlier ones included; 0: no limit


@dataclass(frozen=True)
class Search:
    """What every trial needs."""

    folder: Path
    ready: Ready  # of the untuned default
    space: Space
    study: Any
    monitor: Monitor
    limits: Limits
    repeats: int = 1  # the seeds of each trial, whose mean score counts
    evaluating: float = 0.0  # seconds that the final evaluations need besides training
    # The networks of the default and of the best trial by number, if this process has trained them;
    # of each, the seed with the best score comes first.
    kept: dict[int, list[Trained]] = field(default_factory=dict)


@dataclass(frozen=True)
class Tuned:
    """A finished search."""

    folder: Path
    run: Run | None  # the winner; None if it was not trained again
    summary: Mapping[str, Any]  # the content of tuning.json

    def __repr__(self) -> str:
        """One line, for the prompt of Python."""
        return f"<Tuned {self.folder}: {self.summary['sentence']}>"
