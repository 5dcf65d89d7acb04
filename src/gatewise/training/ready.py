"""Everything before training: read and split the data, fit the preparation, build the network."""

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gatewise import engine
from gatewise.data.batches import Examples, Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences
from gatewise.data.spacing import refuse_other_spacing
from gatewise.data.splits import Splits, few_groups_note, rare_labels_note
from gatewise.errors import ConfigError, DataError, EngineError, GatewiseError
from gatewise.judging.audit import audit, copies, tell
from gatewise.networks import Builder, build, losses, refuse_too_large
from gatewise.networks.imports import without_tensorflow
from gatewise.networks.layers import STATISTICS, VECTORS
from gatewise.readers import vectors
from gatewise.readers.datasets import located
from gatewise.readers.sources import opened, sentence
from gatewise.settings import OWN, TRAINING_PART, DataSettings, Experiment
from gatewise.tasks import TASKS, guess_task, proposed, read, task_of
from gatewise.tasks.owned import implied_task, refuse_foreign
from gatewise.tasks.task import AnyTask, chosen_measure, monitored_measure
from gatewise.training.averaging import refuse_batch_statistics
from gatewise.training.defaults import resolved, with_patience, with_quality
from gatewise.training.feed import steps_of
from gatewise.training.optimizers import optimizer

log = logging.getLogger("gatewise")

Objective = tuple[keras.optimizers.Optimizer, Any, list[Any]]  # optimizer, loss, metrics


@dataclass(frozen=True)
class Parts:
    """The data of an experiment: read and split, with defaults still open."""

    task: AnyTask
    experiment: Experiment  # with every guess about the data filled in
    sequences: Sequences  # all of them
    splits: Splits
    notes: list[str]
    own: Builder | None


@dataclass(frozen=True)
class Ready:
    """An experiment that is ready to train."""

    parts: Parts
    task: AnyTask
    experiment: Experiment  # with every default filled in
    splits: Splits
    preparation: Preparation[Any]
    train: Examples[Any]
    validation: Examples[Any] | None
    test: Examples[Any] | None
    network: keras.Model
    notes: list[str]
    audit: list[dict[str, str]]  # the leaks that were found
    seconds: float

    @property
    def sequences(self) -> Sequences:
        """All sequences but those of files of their own."""
        return self.parts.sequences


def make_ready(
    experiment: Experiment,
    source: Any = None,
    own: Builder | None = None,
    *,
    untold: bool = False,
) -> Ready:
    """Read, split, prepare and build; every check that can run before training runs here.

    Log the notes and the findings of the audit. With `untold` the caller tells the copies, which
    are others in folds.
    """
    began = time.perf_counter()
    ready = prepared(read_parts(experiment, source, own))
    for note in ready.notes:
        log.info("%s", note)
    later = copies(ready.audit) if untold else []
    tell(one for one in ready.audit if one not in later)
    return replace(ready, seconds=time.perf_counter() - began)


def read_parts(experiment: Experiment, source: Any = None, own: Builder | None = None) -> Parts:
    """Read and split the data."""
    source = opened(experiment.data, source)
    notes: list[str] = []
    proposal = ""
    if not experiment.task.name:
        name, setting = implied_task(experiment, TASKS)
        why = f"only {name} reads {setting}"
        if not name:
            name, why = guess_task(experiment.data, source)
            proposal = proposed(experiment.data, source)  # while the source is open
        experiment = experiment.having("task", name=name)
        notes.append(f"No task was given, so {name} was chosen: {why}.")
    task = task_of(experiment.task.name)
    try:
        sequences, data, more = read(experiment.data, source, task=task.name)
    except GatewiseError as error:
        if proposal:
            error.args = (f"{error} {proposal}",)
        raise
    if proposal and sequences.kind == "numbers" and sequences.labels is None:
        notes.append(proposal)
    notes += more
    if data.validation:
        experiment = experiment.having("split", validation=0.0)
    if data.test:
        experiment = experiment.having("split", test=0.0)
    own_network = own is not None or bool(experiment.network.build)
    refuse_foreign(experiment, sequences.kind, TASKS, own_network=own_network)
    experiment = replace(experiment, data=_without_pipe(data))
    splits = task.split(sequences, experiment, not data.test)
    notes += rare_labels_note(sequences, splits, experiment.split)
    splits = with_own_files(splits, data, task.name, notes)
    notes += few_groups_note(splits)
    return Parts(task, experiment, sequences, splits, notes, own)


def prepared(parts: Parts, earlier: Ready | None = None, *, audits: bool = True) -> Ready:
    """Fill in the defaults, prepare the parts and build the network.

    The preparation and the findings of `earlier`, made from the same parts, are used again if
    nothing that they depend on has changed. Without `audits` nothing is looked for.
    """
    began = time.perf_counter()
    task, splits, own = parts.task, parts.splits, parts.own
    experiment = parts.experiment
    experiment = replace(experiment, training=with_quality(experiment.training))
    experiment, more = task.resolve(experiment, parts.sequences, splits.train)
    notes = [*parts.notes, *more]
    experiment = replace(experiment, training=resolved(experiment.training))
    findings: list[dict[str, str]] | None = None if audits else []
    if earlier is not None and _prepares_alike(experiment, earlier.experiment):
        preparation = earlier.preparation
        findings = earlier.audit if splits is earlier.splits else findings
    else:
        preparation, more = task.prepare(splits.train, experiment)
        notes += more
    initial: dict[str, Array] = {}
    if experiment.network.vectors:
        experiment, initial[VECTORS], note = _with_vectors(task, preparation, experiment)
        notes.append(note)
    experiment = task.resolve_fitted(experiment, preparation)
    if own is not None or experiment.network.build:
        # No kind describes it, so it is trained with the plain loss of the task.
        experiment = experiment.having("network", kind=OWN)

    def examples(part: Sequences | None, role: str) -> Examples[Any] | None:
        made = None if part is None else task.examples(part, preparation, experiment, role)
        return made if made is not None and len(made) else None

    train = examples(splits.train, "train")
    if train is None:
        raise DataError(
            f"{splits.train.source}: the training part holds no example. Give more data, or a "
            "smaller split.validation and split.test."
        )
    validation, test = examples(splits.validation, "validation"), examples(splits.test, "test")
    checks = 0 if validation is None else len(validation)
    experiment = replace(experiment, training=with_patience(experiment.training, checks))
    _check_metrics(task, preparation, experiment, validation=validation, test=test)
    shapes = task.shapes(train, preparation)
    shapes = replace(shapes, initial={**shapes.initial, **initial})
    network = network_for(shapes, experiment, own)
    _refuse_pretraining(experiment)
    _refuse_untrainable(network, experiment, preparation, train)
    return Ready(
        parts,
        task,
        experiment,
        splits,
        preparation,
        train,
        validation,
        test,
        network,
        [sentence(note) for note in notes],
        audit(task, splits, preparation, experiment) if findings is None else findings,
        time.perf_counter() - began,
    )


def network_for(shapes: Shapes, experiment: Experiment, own: Builder | None = None) -> keras.Model:
    """A network of the task, with the random first weights of training.seed."""
    task = task_of(experiment.task.name)
    with without_tensorflow(keras.utils.set_random_seed):
        keras.utils.set_random_seed(experiment.training.seed)
    return build(shapes, experiment.network, own, network=task.network, task=task.name)


def restart(network: keras.Model, fresh: keras.Model) -> None:
    """Give a network the weights and the random seeds of another one with the same layers."""
    for variable, first in zip(network.variables, fresh.variables, strict=True):
        variable.assign(keras.ops.convert_to_numpy(first.value))


def _prepares_alike(one: Experiment, other: Experiment) -> bool:
    """Whether a preparation for one experiment serves the other, on the same parts.

    Convolutions count, because they shorten recordings; the loss counts, because it decides whether
    targets are transformed.
    """

    def read(experiment: Experiment) -> tuple[Any, ...]:
        network = experiment.network
        fitted = (experiment.data, experiment.preparation, experiment.task)
        return (*fitted, experiment.training.loss, network.filters, network.strides)

    return read(one) == read(other)


def _without_pipe(data: DataSettings) -> DataSettings:
    """The settings without the path of a pipe, which cannot be read again."""
    return replace(data, path="") if data.path and Path(data.path).is_fifo() else data


def _with_vectors(
    task: AnyTask, preparation: Preparation[Any], experiment: Experiment
) -> tuple[Experiment, Array, str]:
    """The settings for pretrained vectors, the first weights of the embedding, and a note.

    Words without a vector start at random, with the deviation of the others. The embedding has the
    positions of the vocabulary: [positions, width].

    Raises:
        ConfigError: the task reads no words, or network.embedding_dim is not the width.
        DataError: the file of vectors cannot be used.
    """
    path, size = experiment.network.vectors, experiment.network.embedding_dim
    if task.words is None:
        raise ConfigError(f"network.vectors does not apply to {task.name}. Leave it out.")
    words = task.words(preparation)
    pretrained = vectors.read(path, words)
    values, known = pretrained.values, pretrained.known
    width = values.shape[1]
    if size not in (0, width):
        raise ConfigError(
            f"network.embedding_dim is {size}, but the vectors of {path} have {width} numbers. "
            "Leave network.embedding_dim out."
        )
    random = np.random.default_rng(experiment.training.seed)
    deviation = values[known].std()
    values[~known] = random.normal(0.0, deviation, (int((~known).sum()), width))
    note = (
        f"{known.sum():,} of {sum(map(bool, words)):,} words of the vocabulary have a vector of "
        f"{width} numbers in {path}"
    )
    if pretrained.duplicates:
        note += f"; {pretrained.duplicates:,} further vectors of the same words were skipped"
    frozen = experiment.training.frozen_epochs
    frozen = experiment.training.epochs // 3 if frozen < 0 else frozen
    experiment = experiment.having("training", frozen_epochs=frozen)
    return experiment.having("network", embedding_dim=width), values, note


def _check_metrics(
    task: AnyTask,
    preparation: Preparation[Any],
    experiment: Experiment,
    *,
    validation: Examples[Any] | None,
    test: Examples[Any] | None,
) -> None:
    """Refuse an unknown metric before training instead of after it."""
    if test is not None and experiment.evaluation.metric != "auto":
        chosen_measure(task.measures(test, preparation, experiment), experiment.evaluation.metric)
    if validation is not None and experiment.training.monitor not in ("auto", "loss"):
        monitored_measure(task.measures(validation, preparation, experiment), experiment)


def _refuse_untrainable(
    network: keras.Model,
    experiment: Experiment,
    preparation: Preparation[Any],
    train: Examples[Any],
) -> None:
    """Check the size, the optimizer, the loss and the engine before training does."""
    refuse_too_large(network.count_params())
    refuse_batch_statistics(network, experiment.training.averaging, STATISTICS)
    if not network.compiled:
        _, loss, _ = objective(experiment, preparation, train)
        if experiment.training.loss != "auto":
            truth = train.targets(np.arange(min(2, len(train))))
            # A network of any length has no size of the axis of steps.
            sizes = zip(network.output_shape[1:], truth.shape[1:], strict=False)
            sizes_known = [of_truth if size is None else size for size, of_truth in sizes]
            rest = network.output_shape[1 + len(sizes_known) :]
            outputs = np.zeros((len(truth), *sizes_known, *rest), dtype=np.float32)
            losses.refuse_unfit(loss, truth, outputs)
    if experiment.engine.kind == "native" and (reason := engine.why_not(network)):
        raise EngineError(reason)


def _refuse_pretraining(experiment: Experiment) -> None:
    """Refuse to pretrain a network that cannot start as a language model, or on a missing file."""
    asked, network = experiment.training.pretrain, experiment.network
    if not asked:
        return
    reason = ""
    if network.kind == OWN:
        reason = "the network is your own"
    elif any(network.filters):
        reason = "convolutions (network.filters) read several words at once"
    elif asked != TRAINING_PART and not Path(located(asked)).exists():
        reason = f"there is no file {asked}"
    if reason:
        raise ConfigError(
            f"training.pretrain cannot be used, because {reason}. Leave it out, or set it to "
            f"{TRAINING_PART} or to a file of texts."
        )


def with_own_files(splits: Splits, data: DataSettings, task: str, notes: list[str]) -> Splits:
    """Replace the validation and test parts by the files that `[data]` names for them."""
    for name, path in (("validation", data.validation), ("test", data.test)):
        if path:
            held, _, more = read(replace(data, path=path, labels=""), task=task)
            refuse_other_spacing(held, splits.train.step)
            notes += [f"{name.capitalize()} part: {note}" for note in more]
            splits = replace(splits, **{name: held})
    return splits


def validation_part(experiment: Experiment) -> Sequences:
    """The validation part of a run, read again from its data.

    Raises:
        DataError: the data of the run are not where they were, or there is no such part.
    """
    if not experiment.data.path:
        raise DataError("The run was trained on data in memory.")
    name = experiment.task.name
    sequences, settings, _ = read(experiment.data, opened(experiment.data, None), task=name)
    splits = TASKS[name].split(sequences, experiment, not settings.test)
    part = with_own_files(splits, settings, name, []).validation
    if part is None:
        raise DataError("The run has no validation part.")
    return part


def compile_network(network: keras.Model, ready: Ready) -> None:
    """Compile a network with the optimizer, the loss and the metrics of the settings."""
    optimizer, loss, metrics = objective(ready.experiment, ready.preparation, ready.train)
    network.compile(optimizer=optimizer, loss=loss, metrics=metrics)


def with_rate(ready: Ready, rate: float) -> Ready:
    """The same with a constant learning rate."""
    given = ready.experiment.having("training", learning_rate=rate, schedule="constant", warmup=0.0)
    return replace(ready, experiment=given)


def objective(
    experiment: Experiment, preparation: Preparation[Any], train: Examples[Any]
) -> Objective:
    """The optimizer, the loss and the metrics of the settings."""
    settings = experiment.training
    steps = settings.epochs * steps_of(train, settings, padded=preparation.padded)
    loss, metrics = TASKS[preparation.task].network.loss(experiment, preparation)
    frozen = settings.frozen_epochs if experiment.network.vectors else 0
    return optimizer(settings, steps, frozen=frozen), loss, metrics


def part_sizes(ready: Ready) -> dict[str, dict[str, int]]:
    """Sequences, steps and windows of each part."""
    parts = {"train": ready.train, "validation": ready.validation, "test": ready.test}
    return {
        name: ready.task.sizes(examples) for name, examples in parts.items() if examples is not None
    }
