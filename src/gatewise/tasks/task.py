"""What a task says for itself: one file with one `Task`, and one entry in `TASKS`."""

import importlib
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

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

# What a task brings: what it fits, what it cuts examples from, and how it holds answers.
Own = TypeVar("Own")
Source = TypeVar("Source")
Answer = TypeVar("Answer", bound=Sized)


@dataclass(frozen=True)
class Baseline(Generic[Source, Answer]):
    """One of the simplest answers that could beat the network."""

    name: str
    answer: Callable[[Examples[Source]], Answer]  # in the same form as the network's own answer
    costly: bool = False  # too slow to be asked about the validation part as well


@dataclass(frozen=True)
class Measure(Generic[Answer]):
    """A number that two answers are compared by, in a form that can be resampled.

    Statistics add up over units; `value` turns their sums into the number. Units of one cluster (a
    stretch of a series, a person) are not independent of each other, so they are resampled
    together.
    """

    name: str
    statistics: Callable[[Answer], Array]  # answer -> [units, statistics]
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


def mean_measure(name: str, each: Callable[[Answer], Array], clusters: Array) -> Measure[Answer]:
    """The mean over units of `each(answer)` [units]."""

    def statistics(answer: Answer) -> Array:
        values = each(answer)
        return np.stack([values, np.ones_like(values)], axis=1)

    return Measure(name, statistics, lambda sums: sums[..., 0] / sums[..., 1], clusters)


def chosen_measure(
    measures: list[Measure[Answer]],
    metric: str,
    *,
    key: str = "evaluation.metric",
    more: tuple[str, ...] = (),
) -> Measure[Answer]:
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


def monitored_measure(measures: list[Measure[Answer]], experiment: Experiment) -> Measure[Answer]:
    """The measure that training.monitor names: of itself, or the verdict's.

    Raises:
        ConfigError: it names no measure of the task, and is not "loss".
    """
    name = experiment.training.monitor
    if name == "auto":
        return chosen_measure(measures, experiment.evaluation.metric)
    return chosen_measure(measures, name, key="training.monitor", more=("loss",))


@dataclass(frozen=True)
class Promise(Generic[Answer]):
    """A share that an answer states of itself, such as how much of the truth a band holds."""

    name: str  # "band from 0.1 to 0.9"
    share: float  # what is stated
    measure: Measure[Answer]  # what came true


def nothing_fitted(experiment: Experiment, _preparation: Preparation[Any]) -> Experiment:
    """The same settings: no default of the task depends on what was fitted."""
    return experiment


def named_for_network(_preparation: Preparation[Any]) -> str:
    """The answer is the network's."""
    return NETWORK


def as_prepared(
    preparation: Preparation[Any], experiment: Experiment
) -> tuple[Preparation[Any], Experiment]:
    """The same two: no quicker way of answering exists."""
    return preparation, experiment


def no_remarks(_answer: Any, _preparation: Preparation[Any]) -> list[str]:
    """Nothing to say about an answer."""
    return []


def sizes_of(sequences: Sequences) -> dict[str, int]:
    """How many sequences a part has, and how many steps, or bytes of text."""
    steps = int((sequences.stops - sequences.starts).sum())
    return {"sequences": len(sequences), "bytes" if sequences.kind == "text" else "steps": steps}


@dataclass(frozen=True)
class Task(Generic[Own, Source, Answer]):
    """The steps in which tasks differ: what one fits, cuts examples from and holds answers in."""

    name: str
    # The settings of the task itself, by the kind of data that it reads.
    settings: Mapping[str, frozenset[str]]
    fitted: type[Own]  # the class of `own` in the task's preparations
    split: Callable[
        [Sequences, Experiment, bool], Parts
    ]  # the last says whether to make a test part
    # (settings, all that was read, its training part) -> the settings with every default filled in,
    # and notes. Of what was read, only the amount may count: the test part is a part of it.
    resolve: Callable[[Experiment, Sequences, Sequences], tuple[Experiment, list[str]]]
    prepare: Callable[
        [Sequences, Experiment], tuple[Preparation[Own], list[str]]
    ]  # fitted on train only
    examples: Callable[
        [Sequences, Preparation[Own], Experiment, str], Examples[Source]
    ]  # train, validation or test
    sizes: Callable[[Examples[Source]], dict[str, int]]  # for people: sequences, steps ...
    shapes: Callable[[Examples[Source], Preparation[Own]], Shapes]
    # From outputs on validation; None: there is nothing to set right.
    calibrate: Callable[[Preparation[Own], Any, Examples[Source]], Preparation[Own]] | None
    answer: Callable[
        [Any, Examples[Source], Preparation[Own], Mapping[str, Any]], Answer
    ]  # what `network.predict` gave -> answer, with what `fit_baselines` gave
    fit_baselines: Callable[
        [Examples[Source], Examples[Source] | None, Preparation[Own]], dict[str, Any]
    ]  # as JSON holds it
    baselines: Callable[
        [Mapping[str, Any], Preparation[Own], Examples[Source] | None],
        list[Baseline[Source, Answer]],
    ]  # and train, if at hand
    metrics: Callable[[Answer, Examples[Source], Preparation[Own], Experiment], dict[str, float]]
    measures: Callable[
        [Examples[Source], Preparation[Own], Experiment], list[Measure[Answer]]
    ]  # the first gives the verdict
    details: Callable[
        [dict[str, Answer], Examples[Source], Preparation[Own], Experiment], dict[str, Any]
    ]  # what the report shows beside the table
    table: Callable[
        [Answer, Examples[Source], Preparation[Own], Array], pl.DataFrame
    ]  # rows for people, of these examples
    ahead: Callable[[Sequences, Preparation[Own]], Sequences]  # new data -> what is to be answered
    # New data -> the steps whose truth is known, and what is left out; None: all is known.
    with_truth: Callable[[Sequences, Preparation[Own]], tuple[Sequences, list[str]]] | None = None
    # The defaults that depend on the size of a fitted vocabulary or on its tokens.
    resolve_fitted: Callable[[Experiment, Preparation[Own]], Experiment] = nothing_fitted
    # What tables and verdicts call the answer: everything that it is made of.
    answer_name: Callable[[Preparation[Own]], str] = named_for_network
    # Preparation and settings of a quick answer by the network alone, which is asked after every
    # epoch: without a beam search, a language model or a baseline beside it.
    quick: Callable[[Preparation[Own], Experiment], tuple[Preparation[Own], Experiment]] = (
        as_prepared
    )
    # What to say about an answer to new data.
    remarks: Callable[[Answer, Preparation[Own]], list[str]] = no_remarks
    # What the answer states of itself, to be checked against the test part.
    promises: Callable[[Examples[Source], Preparation[Own]], list[Promise[Answer]]] | None = None
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


AnyTask = Task[Any, Any, Any]
