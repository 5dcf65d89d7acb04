"""Everything before training: data read and split, steps fitted, network built and checked."""

import logging
import time
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from gatewise import engine, training
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Sequences
from gatewise.data.spacing import refuse_other_spacing
from gatewise.data.splits import Parts, told_of_few_groups, told_of_rare
from gatewise.errors import ConfigError, EngineError
from gatewise.networks import Builder, build, losses, refuse_too_large
from gatewise.readers.files import guess_task, read, sentence
from gatewise.readers.sources import opened
from gatewise.settings import DataSettings, Experiment
from gatewise.tasks import TASKS
from gatewise.tasks.owned import refuse_foreign
from gatewise.tasks.task import Task, chosen_measure, monitored_measure

log = logging.getLogger("gatewise")

Objective = tuple[keras.optimizers.Optimizer, Any, list[Any]]  # optimizer, loss and metrics


@dataclass(frozen=True)
class Ready:
    """Everything before training: data read and split, steps fitted, network built."""

    task: Task
    experiment: Experiment  # with every guess filled in
    parts: Parts
    preparation: Preparation
    train: Examples
    validation: Examples | None
    test: Examples | None
    network: keras.Model
    notes: list[str]
    seconds: float


def make_ready(experiment: Experiment, source: Any = None, own: Builder | None = None) -> Ready:
    """Read, split, prepare and build; what can be refused is refused here, before training."""
    began = time.perf_counter()
    source = opened(experiment.data, source)
    notes: list[str] = []
    if not experiment.task.name:
        name, why = guess_task(experiment.data, source)
        experiment = experiment.having("task", name=name)
        notes.append(f"The task was not given: {name}, for {why}.")
    if experiment.task.name not in TASKS:
        known = ", ".join(TASKS)
        raise ConfigError(f"There is no task '{experiment.task.name}'. Known: {known}.")
    task = TASKS[experiment.task.name]
    sequences, data, said = read(experiment.data, source, task=task.name)
    notes += said
    if data.validation:
        experiment = experiment.having("split", validation=0.0)
    if data.test:
        experiment = experiment.having("split", test=0.0)
    owns = own is not None or bool(experiment.network.build)
    refuse_foreign(experiment, sequences.kind, TASKS, own_network=owns)
    experiment = replace(experiment, data=data)
    parts = task.split(sequences, experiment, not data.test)
    notes += told_of_rare(sequences, parts, experiment.split)
    parts = with_own_files(parts, data, task.name, notes)
    notes += told_of_few_groups(parts)
    experiment, said = task.resolve(experiment, sequences, parts.train)
    notes += said
    experiment = replace(experiment, training=training.resolved(experiment.training))
    preparation, said = task.prepare(parts.train, experiment)
    notes += said
    experiment = task.resolve_fitted(experiment, preparation)

    def examples(part: Sequences | None, role: str) -> Examples | None:
        made = None if part is None else task.examples(part, preparation, experiment, role)
        return made if made is not None and len(made) else None

    train = examples(parts.train, "train")
    if train is None:
        raise ConfigError(
            f"The longest training sequence has {parts.train.lengths.max()} steps, too few for one "
            f"example of {preparation.lookback} steps looked back and {preparation.horizon} "
            "forecast. Give more data, a smaller --lookback or --horizon, or smaller "
            "split.validation and split.test."
        )
    validation, test = examples(parts.validation, "validation"), examples(parts.test, "test")
    _check_metrics(task, preparation, experiment, validation=validation, test=test)
    keras.utils.set_random_seed(experiment.training.seed)
    shapes = task.shapes(train, preparation)
    network = build(shapes, experiment.network, own, network=task.network, task=task.name)
    _refuse_untrainable(network, experiment, preparation, train)
    notes = [sentence(note) for note in notes]
    for note in notes:
        log.info("%s", note)
    return Ready(
        task,
        experiment,
        parts,
        preparation,
        train,
        validation,
        test,
        network,
        notes,
        time.perf_counter() - began,
    )


def _check_metrics(
    task: Task,
    preparation: Preparation,
    experiment: Experiment,
    *,
    validation: Examples | None,
    test: Examples | None,
) -> None:
    """A wrong name of a metric is better known now than after the training."""
    if test is not None and experiment.evaluation.metric != "auto":
        chosen_measure(task.measures(test, preparation, experiment), experiment.evaluation.metric)
    if validation is not None and experiment.training.monitor not in ("auto", "loss"):
        monitored_measure(task.measures(validation, preparation, experiment), experiment)


def _refuse_untrainable(
    network: keras.Model, experiment: Experiment, preparation: Preparation, train: Examples
) -> None:
    """Whatever training would refuse of size, optimizer, loss and engine is refused before it."""
    refuse_too_large(network.count_params())
    if not network.compiled:
        _, loss, _ = objective(experiment, preparation, train)
        if experiment.training.loss != "auto":
            truth = train.targets(np.arange(min(2, len(train))))
            outputs = np.zeros((len(truth), *network.output_shape[1:]), dtype=np.float32)
            losses.refuse_unfit(loss, truth, outputs)
    if experiment.engine.kind == "native" and (reason := engine.why_not(network)):
        raise EngineError(reason)


def with_own_files(parts: Parts, data: DataSettings, task: str, notes: list[str]) -> Parts:
    """The parts that are kept in files of their own put beside those that were cut."""
    for name, path in (("validation", data.validation), ("test", data.test)):
        if path:
            held, _, said = read(replace(data, path=path, labels=""), task=task)
            refuse_other_spacing(held, parts.train.step)
            notes += [f"{name.capitalize()} part: {note}" for note in said]
            parts = replace(parts, **{name: held})
    return parts


def compile_network(network: keras.Model, ready: Ready) -> None:
    """Give a network the optimizer, the loss and the metric that the settings ask for."""
    optimizer, loss, metrics = objective(ready.experiment, ready.preparation, ready.train)
    network.compile(optimizer=optimizer, loss=loss, metrics=metrics)


def objective(experiment: Experiment, preparation: Preparation, train: Examples) -> Objective:
    """The optimizer, the loss and the metrics that the settings ask for."""
    settings = experiment.training
    steps = settings.epochs * training.steps_of(train, settings, padded=preparation.padded)
    loss, metrics = TASKS[preparation.task].network.loss(experiment, preparation)
    return training.optimizer(settings, steps), loss, metrics


def part_sizes(ready: Ready) -> dict[str, dict[str, int]]:
    """Sequences, steps and windows of each part."""
    parts = {"train": ready.train, "validation": ready.validation, "test": ready.test}
    return {name: _size(some) for name, some in parts.items() if some is not None}


def _size(some: Examples) -> dict[str, int]:
    of = some.of
    sequences = of if isinstance(of, Sequences) else of.sequences
    if some.stream is not None:
        return {"texts": len(sequences), "tokens": len(some.stream)}
    steps = int((sequences.stops - sequences.starts).sum())
    known = {"sequences": len(sequences), "bytes" if sequences.kind == "text" else "steps": steps}
    return known if isinstance(of, Sequences) else known | {"windows": len(some)}
