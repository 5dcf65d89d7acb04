"""The interface of a task: a folder in `tasks/` whose `task.py` holds a `Task`."""

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np
import polars as pl

from gatewise.data.batches import Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences
from gatewise.data.splits import Splits
from gatewise.errors import ConfigError
from gatewise.metrics import METRICS, SCALED, Metric
from gatewise.readers.columns import Purpose, Read
from gatewise.readers.sources import Opened
from gatewise.settings import DataSettings, Experiment
from gatewise.tasks.ranges import Space

if TYPE_CHECKING:
    from gatewise.networks import Network
    from gatewise.reporting.sections import Record, Section

NETWORK = "LSTM"

# The types of a task: its fitted values, the source of its examples, and its predictions.
Own = TypeVar("Own")
Source = TypeVar("Source")
Predictions = TypeVar("Predictions", bound=Sized)


@dataclass(frozen=True)
class Baseline(Generic[Source, Predictions]):
    """A simple model that the network must beat."""

    name: str
    predict: Callable[
        [Examples[Source]], Predictions
    ]  # in the same form as the network's predictions
    slow: bool = False  # too slow to predict the validation part too


@dataclass(frozen=True)
class Measure(Generic[Predictions]):
    """A metric in a form that can be resampled, to compare two sets of predictions.

    Statistics add up over units, and `value` turns their sums into the metric. The units of a
    cluster (a stretch of a series, a person) depend on each other, so they are resampled together.
    """

    name: str
    statistics: Callable[[Predictions], Array]  # predictions -> [units, statistics]
    value: Callable[[Array], Array]  # sums [..., statistics] -> values [...]
    clusters: Array  # [units] int
    # Computes the measure from the loss on the same part; None: the loss does not determine it.
    from_loss: Callable[[float], float] | None = None

    @property
    def metric(self) -> Metric:
        """The entry of the metric: its direction, meaning and source."""
        return METRICS[self.name.removeprefix(SCALED)]

    @property
    def higher_is_better(self) -> bool:
        """Whether greater values are better."""
        return self.metric.better == "higher"


def mean_measure(
    name: str, each: Callable[[Predictions], Array], clusters: Array
) -> Measure[Predictions]:
    """The mean of `each(predictions)` [units] over units."""

    def statistics(predictions: Predictions) -> Array:
        values = each(predictions)
        return np.stack([values, np.ones_like(values)], axis=1)

    return Measure(name, statistics, ratio, clusters)


def ratio(sums: Array) -> Array:
    """The first sum over the second one, [..., 2 or more] -> [...]; not a number if both are 0.

    They are 0 where no truth is known, in a part or in a resample.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def chosen_measure(
    measures: list[Measure[Predictions]],
    metric: str,
    *,
    key: str = "evaluation.metric",
    more: tuple[str, ...] = (),
) -> Measure[Predictions]:
    """The measure that the setting `key` names, or the first one of the task.

    `more` holds other names that the setting allows. They are not measures.

    Raises:
        ConfigError: the task has no measure with this name.
    """
    named = {measure.name: measure for measure in measures}
    if metric == "auto":
        return measures[0]
    if metric not in named:
        raise ConfigError(
            f"{key} must be one of {', '.join(['auto', *more, *named])}. Received: {metric!r}."
        )
    return named[metric]


def monitored_measure(
    measures: list[Measure[Predictions]], experiment: Experiment
) -> Measure[Predictions]:
    """The measure that training.monitor names; by default, the measure of the verdict.

    Raises:
        ConfigError: training.monitor is neither "loss" nor a measure of the task.
    """
    name = experiment.training.monitor
    if name == "auto":
        return chosen_measure(measures, experiment.evaluation.metric)
    return chosen_measure(measures, name, key="training.monitor", more=("loss",))


@dataclass(frozen=True)
class Promise(Generic[Predictions]):
    """A nominal share of the predictions, such as the coverage of a band, to be measured."""

    name: str  # "band from 0.1 to 0.9"
    share: float  # the nominal share
    measure: Measure[Predictions]  # the measured share


@dataclass(frozen=True)
class Truth:
    """One target of the training part, and the columns that must not reveal it."""

    name: str
    values: Array  # [sequences] numbers or labels; per step: [steps of the part] numbers
    features: tuple[str, ...]  # columns of numbers that the network reads
    per_step: bool = False
    # Per step only: the features must not equal the truth of up to this many later steps, and those
    # of `early`, which are known in advance, not that of the same step either.
    ahead: int = 0
    early: tuple[str, ...] = ()


# The signs by which a task recognises its data, the most certain first: settings that only this
# task has; the form of the source (the name of a file, the files in a folder); labels that the
# settings name; the first lines of a file; names and types of columns; and times, which many kinds
# of data have.
Sign = Literal["settings", "form", "labels", "lines", "columns", "times"]
Recognise = Callable[[Opened, DataSettings], str | None]  # the reason to choose the task, or None


def nothing_fitted(experiment: Experiment, _preparation: Preparation[Any]) -> Experiment:
    """The same settings, because no default of the task depends on fitted values."""
    return experiment


def network_name(_preparation: Preparation[Any]) -> str:
    """The name of the network, because the model is the network alone."""
    return NETWORK


def as_prepared(
    preparation: Preparation[Any], experiment: Experiment
) -> tuple[Preparation[Any], Experiment]:
    """The same preparation and settings, because the task has no quicker way to predict."""
    return preparation, experiment


def no_remarks(_predictions: Any, _preparation: Preparation[Any]) -> list[str]:
    """No remarks on predictions."""
    return []


def nothing_examined(
    _train: Sequences, _preparation: Preparation[Any], _experiment: Experiment
) -> list[Truth]:
    """No truths, because the task reads no columns of features."""
    return []


def no_more_baselines(
    _train: Examples[Any],
    _valid: Examples[Any] | None,
    _test: Examples[Any] | None,
    _preparation: Preparation[Any],
) -> list[Baseline[Any, Any]]:
    """No baselines that are fitted again for each example."""
    return []


def sizes_of(sequences: Sequences) -> dict[str, int]:
    """The number of sequences, and of their steps or bytes of text."""
    steps = int((sequences.stops - sequences.starts).sum())
    return {"sequences": len(sequences), "bytes" if sequences.kind == "text" else "steps": steps}


# (preparation, the network's outputs and the baselines' predictions for the validation part, the
# part) -> the preparation, which also says whether a baseline is blended in.
Choose = Callable[
    [Preparation[Own], Any, Mapping[str, Predictions], Examples[Source]], Preparation[Own]
]


@dataclass(frozen=True)
class Folding(Generic[Own]):
    """What cross-validation and ensembles of a task need."""

    # The stratum of each sequence, which is spread evenly over the folds; None: there are none.
    strata: Callable[[Sequences, Experiment], Array | None]
    # The settings with which the preparations of all folds are alike.
    fixed: Callable[[Experiment, Preparation[Own]], Experiment]
    # Factor and offset from outputs in the first preparation to those in the second.
    outputs: Callable[[Preparation[Own], Preparation[Own]], tuple[Array, Array]]
    # The reason not to train several networks, or "".
    why_not: Callable[[Experiment, Preparation[Own]], str]


@dataclass(frozen=True)
class Sanity:
    """What a training with shuffled targets is compared with."""

    baseline: str  # one that does not read the inputs; "": the best one
    # Of `Task.metrics`, a proper score of which lower values are better; "": targets cannot be
    # shuffled, because each step has one.
    metric: str


@dataclass(frozen=True)
class Task(Generic[Own, Source, Predictions]):
    """The steps in which tasks differ, typed by fitted values, source and predictions."""

    name: str
    # The settings of the task itself, by kind of data.
    settings: Mapping[str, frozenset[str]]
    # All tasks check one sign before any task checks the next; {}: the task is never guessed.
    recognise: Mapping[Sign, Recognise]
    # Source, `[data]` and purpose -> the sequences, and the settings with every guess filled in.
    read: Callable[[Opened, DataSettings, Purpose], Read]
    fitted: type[Own]  # the class of `own` in the task's preparations
    split: Callable[
        [Sequences, Experiment, bool], Splits
    ]  # the last argument: whether to make a test part
    # (settings, all sequences, training part) -> the settings with every default filled in, and
    # notes. Defaults may depend only on the amount of all sequences, which include the test part.
    resolve: Callable[[Experiment, Sequences, Sequences], tuple[Experiment, list[str]]]
    # Resolved settings and the number of training examples -> the ranges that tuning searches.
    space: Callable[[Experiment, int], Space]
    prepare: Callable[
        [Sequences, Experiment], tuple[Preparation[Own], list[str]]
    ]  # fitted on train only
    examples: Callable[
        [Sequences, Preparation[Own], Experiment, str], Examples[Source]
    ]  # train, validation, test or predict
    sizes: Callable[[Examples[Source]], dict[str, int]]  # for display: sequences, steps ...
    shapes: Callable[[Examples[Source], Preparation[Own]], Shapes]
    # The shapes as far as the preparation alone implies them; raises ValueError or LookupError if
    # it contradicts itself.
    fitted_shapes: Callable[[Preparation[Own]], Shapes]
    # Calibrates on the outputs for the validation part; None: the task has no calibration.
    calibrate: Callable[[Preparation[Own], Any, Examples[Source]], Preparation[Own]] | None
    postprocess: Callable[
        [Any, Examples[Source], Preparation[Own], Mapping[str, Any]], Predictions
    ]  # outputs of `network.predict` and state of `fit_baselines` -> predictions
    fit_baselines: Callable[
        [Examples[Source], Examples[Source] | None, Preparation[Own]], dict[str, Any]
    ]  # the fitted state, which can be written as JSON
    baselines: Callable[
        [Mapping[str, Any], Preparation[Own], Examples[Source] | None],
        list[Baseline[Source, Predictions]],
    ]  # the last argument: the training part, if it is known
    metrics: Callable[
        [Predictions, Examples[Source], Preparation[Own], Experiment], dict[str, float]
    ]
    measures: Callable[
        [Examples[Source], Preparation[Own], Experiment], list[Measure[Predictions]]
    ]  # the first gives the verdict
    details: Callable[
        [dict[str, Predictions], Examples[Source], Preparation[Own], Experiment], dict[str, Any]
    ]  # what the report shows besides the metrics
    table: Callable[
        [Predictions, Examples[Source], Preparation[Own], Array], pl.DataFrame
    ]  # the rows of predictions.csv for these examples
    # The columns of `table` for new data, with their types of Polars.
    schema: Callable[[Preparation[Own], Experiment], dict[str, Any]]
    # New data -> the steps to predict.
    prediction_inputs: Callable[[Sequences, Preparation[Own]], Sequences]
    # New data -> the steps with known truth, and notes on the others; None: all truth is known.
    with_truth: Callable[[Sequences, Preparation[Own]], tuple[Sequences, list[str]]] | None = None
    # The defaults that depend on the size of a fitted vocabulary or on its tokens.
    resolve_fitted: Callable[[Experiment, Preparation[Own]], Experiment] = nothing_fitted
    # The word at each position of the embedding, "" for other tokens; None: there are no words.
    words: Callable[[Preparation[Own]], tuple[str, ...]] | None = None
    # The name of the model in tables and verdicts, with all of its parts.
    model_name: Callable[[Preparation[Own]], str] = network_name
    # Preparation and settings for quick predictions after every epoch by the network alone: without
    # beam search, language model or blended baseline.
    quick: Callable[[Preparation[Own], Experiment], tuple[Preparation[Own], Experiment]] = (
        as_prepared
    )
    # (training part, preparation, settings) -> the truths that the audit looks for in the features.
    examined: Callable[[Sequences, Preparation[Own], Experiment], list[Truth]] = nothing_examined
    # (training, validation and test part, preparation) -> baselines that no run saves, because they
    # are fitted again for each example.
    more_baselines: Callable[
        [Examples[Source], Examples[Source] | None, Examples[Source] | None, Preparation[Own]],
        list[Baseline[Source, Predictions]],
    ] = no_more_baselines
    # Remarks on predictions for new data.
    remarks: Callable[[Predictions, Preparation[Own]], list[str]] = no_remarks
    # Nominal shares of the predictions, which the evaluation measures on the test part.
    promises: Callable[[Examples[Source], Preparation[Own]], list[Promise[Predictions]]] | None = (
        None
    )
    # A note on the units of the errors; None: it needs none.
    units: Callable[[Experiment], str] | None = None
    # A sentence beside a verdict that is not "better"; "": none.
    unless_better: str = ""
    # The key of [data] that `--target` sets: columns, or a single label.
    target: Literal["target", "label"] = "label"
    estimator: str = ""  # the scikit-learn class in its estimator.py; "": none
    # A sentence on data that only this task reads, for errors about unknown sources.
    hint: str = ""
    # For a task that is never guessed: a sentence that proposes it if the data look like its own.
    proposed: Callable[[Opened, DataSettings], str] | None = None
    # Settings that need another setting -> that setting.
    needs: dict[str, str] = field(default_factory=dict)
    lines: str = ""  # the column that `predict` prints, one value per line; "": all columns, as CSV
    choose: Choose[Own, Predictions, Source] | None = None  # None: the task blends nothing
    folding: Folding[Own] | None = None  # None: one network, and one test part
    # (test examples, begin, end, count) -> the part from stretch `begin` to `end` of `count`, and
    # the positions of its examples; None: there are no stretches of time to train before.
    backtest: Callable[..., tuple[Sequences, Array]] | None = None
    labelled: bool = False  # the truth is in the labels of the sequences
    sanity: Sanity | None = None  # None: targets cannot be shuffled
    seeds: bool = False  # training.networks are averaged that differ in their seeds alone

    @property
    def network(self) -> "Network":
        """The network of the task; its module imports Keras, so it is loaded on first use."""
        module = importlib.import_module(f"gatewise.tasks.{self.name}.network")
        network: Network = module.NETWORK
        return network

    @property
    def outputs(self) -> Any:
        """The module that predicts without a framework.

        Its `predict` is `Network.predict` for a network of `gatewise.runtime`, or for several by
        name. Its `generate`, if any, writes the text after a prompt, with a network of any kind.
        """
        return importlib.import_module(f"gatewise.tasks.{self.name}.outputs")

    @property
    def custom_baseline(self) -> Any:
        """The function that makes a baseline of the user's own function; None: the task has none.

        (baselines.custom.Custom, training part, validation part or None, preparation) -> Baseline
        """
        module = self.part("custom")
        return None if module is None else module.custom_baseline

    def part(self, name: str) -> Any:
        """The module of this name in the folder of the task; None if it has none."""
        whole = f"gatewise.tasks.{self.name}.{name}"
        return None if importlib.util.find_spec(whole) is None else importlib.import_module(whole)

    def sections(self, run: "Record", details: Mapping[str, Any]) -> "list[Section]":
        """The task's own sections of the report; their module is loaded on first use."""
        module = importlib.import_module(f"gatewise.tasks.{self.name}.report")
        sections: list[Section] = module.sections(run, details)
        return sections


AnyTask = Task[Any, Any, Any]
