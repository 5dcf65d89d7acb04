"""What a task says for itself: one file with one `Task`, and one entry in `TASKS`."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from gatewise.data.batches import Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences
from gatewise.data.splits import Parts
from gatewise.errors import ConfigError
from gatewise.metrics import METRICS, SCALED, Metric
from gatewise.settings import Experiment

if TYPE_CHECKING:
    from gatewise.networks import Network
    from gatewise.reporting.sections import Record, Section

NETWORK = "LSTM"
# What a logistic regression reads of a sequence, by what its steps are.
LOGISTIC = {
    "numbers": "logistic regression on summaries",
    "text": "logistic regression on TF-IDF",
    "sound": "logistic regression on frame statistics",
}


def answer_name(preparation: Preparation) -> str:
    """What tables and verdicts call the answer: all that it is made of."""
    if preparation.blend == "none":
        return NETWORK
    return f"{NETWORK} with {LOGISTIC[preparation.kind]}"


@dataclass(frozen=True)
class Baseline:
    """One of the simplest answers that could beat the network."""

    name: str
    answer: Callable[[Examples], Array]  # in the same form as the network's own answer
    costly: bool = False  # too slow to be asked about the validation part as well


@dataclass(frozen=True)
class Measure:
    """A number that two answers are compared by, in a form that can be resampled.

    Statistics add up over units; `value` turns their sums into the number. Units of one cluster (a
    stretch of a series, a person) are not independent of each other, so they are resampled
    together.
    """

    name: str
    statistics: Callable[[Array], Array]  # answer -> [units, statistics]
    value: Callable[[Array], Array]  # [..., statistics] sums -> [...] numbers
    clusters: Array  # [units] int
    # From the loss on the same part, where the one follows from the other; None: it does not.
    from_loss: Callable[[float], float] | None = None

    @property
    def metric(self) -> Metric:
        """What is known of it: its direction, its meaning and its source."""
        return METRICS[self.name.removeprefix(SCALED)]

    @property
    def higher_is_better(self) -> bool:
        """Whether the greater of two answers is the better one."""
        return self.metric.better == "higher"


def mean_measure(name: str, each: Callable[[Array], Array], clusters: Array) -> Measure:
    """The mean over units of `each(answer)` [units]."""

    def statistics(answer: Array) -> Array:
        values = each(answer)
        return np.stack([values, np.ones_like(values)], axis=1)

    return Measure(name, statistics, lambda sums: sums[..., 0] / sums[..., 1], clusters)


def chosen_measure(
    measures: list[Measure],
    metric: str,
    *,
    key: str = "evaluation.metric",
    more: tuple[str, ...] = (),
) -> Measure:
    """The measure that the settings name under `key`, or the task's first.

    `more` are names that are allowed there and mean no measure.
    """
    named = {measure.name: measure for measure in measures}
    if metric == "auto":
        return measures[0]
    if metric not in named:
        raise ConfigError(
            f"{key} wants one of {', '.join(['auto', *more, *named])}. Received: {metric!r}."
        )
    return named[metric]


def monitored_measure(measures: list[Measure], experiment: Experiment) -> Measure:
    """The measure that training.monitor names: of itself, or the verdict's.

    Raises:
        ConfigError: it names no measure of the task, and is not "loss".
    """
    name = experiment.training.monitor
    if name == "auto":
        return chosen_measure(measures, experiment.evaluation.metric)
    return chosen_measure(measures, name, key="training.monitor", more=("loss",))


@dataclass(frozen=True)
class Promise:
    """A share that an answer states of itself, such as how much of the truth a band holds."""

    name: str  # "band from 0.1 to 0.9"
    share: float  # what is stated
    measure: Measure  # what came true


def nothing_fitted(experiment: Experiment, _preparation: Preparation) -> Experiment:
    """The same settings: no default of the task depends on what was fitted."""
    return experiment


@dataclass(frozen=True)
class Task:
    """The steps in which tasks differ. Answers are arrays; what they hold is the task's affair."""

    name: str
    # The settings of the task itself, by the kind of data that it reads.
    settings: Mapping[str, frozenset[str]]
    split: Callable[
        [Sequences, Experiment, bool], Parts
    ]  # the last says whether to make a test part
    # (settings, all that was read, its training part) -> the settings with every default filled in,
    # and notes. Of what was read, only the amount may count: the test part is a part of it.
    resolve: Callable[[Experiment, Sequences, Sequences], tuple[Experiment, list[str]]]
    prepare: Callable[
        [Sequences, Experiment], tuple[Preparation, list[str]]
    ]  # fitted on train only
    examples: Callable[
        [Sequences, Preparation, Experiment, str], Examples
    ]  # train, validation or test
    shapes: Callable[[Examples, Preparation], Shapes]
    # From outputs on validation; None: there is nothing to set right.
    calibrate: Callable[[Preparation, Array, Examples], Preparation] | None
    answer: Callable[
        [Array, Examples, Preparation, Mapping[str, Any]], Array
    ]  # network outputs -> answer, with what `fit_baselines` gave
    fit_baselines: Callable[
        [Examples, Examples | None, Preparation], dict[str, Any]
    ]  # as JSON holds it
    baselines: Callable[
        [Mapping[str, Any], Preparation, Examples | None], list[Baseline]
    ]  # and train, if at hand
    metrics: Callable[[Array, Examples, Preparation, Experiment], dict[str, float]]
    measures: Callable[
        [Examples, Preparation, Experiment], list[Measure]
    ]  # the first gives the verdict
    details: Callable[..., dict[str, Any]]  # what the report shows beside the table
    table: Callable[
        [Array, Examples, Preparation, Array], pl.DataFrame
    ]  # rows for people, of these examples
    ahead: Callable[[Sequences, Preparation], Sequences]  # new data -> what is to be answered
    # New data -> the steps whose truth is known, and what is left out; None: all is known.
    with_truth: Callable[[Sequences, Preparation], tuple[Sequences, list[str]]] | None = None
    # The defaults that depend on the size of a fitted vocabulary or on its tokens.
    resolve_fitted: Callable[[Experiment, Preparation], Experiment] = nothing_fitted
    # What the answer states of itself, to be checked against the test part.
    promises: Callable[[Examples, Preparation], list[Promise]] | None = None
    # Settings that only say how another one is used -> that one.
    needs: dict[str, str] = field(default_factory=dict)
    lines: str = ""  # the column of the table that `predict` prints, a line each; "": all, as CSV
    labelled: bool = False  # the truth stands in the labels of the sequences

    @property
    def network(self) -> "Network":
        """The part that needs the framework, which is imported on first use."""
        module = importlib.import_module(f"gatewise.tasks.{self.name}.network")
        network: Network = module.NETWORK
        return network

    def sections(self, run: "Record", details: Mapping[str, Any]) -> "list[Section]":
        """The task's own sections of the report; what draws them is imported on first use."""
        module = importlib.import_module(f"gatewise.tasks.{self.name}.report")
        sections: list[Section] = module.sections(run, details)
        return sections
