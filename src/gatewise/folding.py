"""Small sets: cross-validation, and an ensemble of networks with different validation parts.

Every sequence is tested once, by networks that have seen neither it nor anything fitted on it. The
saved model is the ensemble of all these networks, in the scale of a preparation fitted on all
sequences. If the test part has a file of its own, there is one fold: the networks differ in their
validation parts, and their ensemble is judged on that file.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from gatewise.baselines.custom import Custom
from gatewise.data.batches import Examples, Shapes
from gatewise.data.folds import assign
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import Scale
from gatewise.data.sequences import Array, Sequences
from gatewise.data.splits import Splits
from gatewise.errors import ConfigError
from gatewise.evaluation import Evaluation, evaluate
from gatewise.interrupts import STOP
from gatewise.networks.ensemble import SAME, Affine, Member, average
from gatewise.ready import Ready, compile_network, network_for, restart
from gatewise.repeats import learn
from gatewise.settings import OWN, Experiment, SplitSettings, TrainingSettings
from gatewise.tasks.task import Baseline
from gatewise.training import (
    FEW_CHECKS,
    Around,
    History,
    Monitor,
    Progress,
    build_metrics,
    column_of,
)
from gatewise.validation import FittedBaselines, score_baselines

log = logging.getLogger("gatewise")

SMALL = 2000  # sequences; more are judged well enough by one test part
FOLDS = {"good": 5, "best": 10}
# The networks of each fold: of up to FEW sequences, and of more.
NETWORKS = {"good": (3, 1), "best": (5, 3)}
WITH_TEST_FILE = {"good": 5, "best": 10}  # the networks if the test part is a file of its own
FEW = 500
MOST_PARTS = 20  # the validation part is a twentieth of the sequences, or more

FASTER = " --quality fast trains a single network."


@dataclass(frozen=True)
class Plan:
    """The number of networks to train, and the reason in words."""

    folds: int  # 1: the test part is a file of its own
    networks: int  # of each fold
    reason: str

    @property
    def sentence(self) -> str:
        """What will be done, for the user to read before it starts."""
        each = "one network" if self.networks == 1 else f"{self.networks} networks"
        if self.folds == 1:
            return (
                f"{self.networks} networks are trained, each with another validation part, and "
                f"their mean is judged: {self.reason}"
            )
        return f"Cross-validation in {self.folds} folds, with {each} each: {self.reason}"


@dataclass(frozen=True)
class Fold:
    """The networks of one fold, and the predictions for its test part."""

    tested: Array  # positions in all sequences
    members: list[keras.Model]
    preparation: Preparation[Any]
    outputs: Array  # the mean of the networks' outputs
    predictions: Any
    network_only: Any
    baselines: dict[str, Any]
    state: Mapping[str, Any]  # of the baselines
    monitor: Monitor
    name: str  # of the model, which says what is blended in
    scores: dict[str, Any]  # of its test part, for metrics.json


@dataclass(frozen=True)
class Ensemble:
    """The finished networks as one model, and the judged predictions."""

    ready: Ready  # with the model, the calibrated preparation, and the tested part
    predictions: Any
    network_only: Any  # None where the model is nothing but the networks
    baselines: FittedBaselines  # whose baselines repeat their predictions of the folds
    history: History  # of the first network; the seconds are those of all
    caveat: str  # what was judged and what is saved
    folds: list[dict[str, Any]]  # the scores of each fold; empty if there is one

    def calibrated(self) -> Preparation[Any]:
        """As of `judging.Judged`: calibrated by the predictions of the folds."""
        return self.ready.preparation

    def evaluate(self, _preparation: Preparation[Any]) -> Evaluation:
        """The evaluation of the predictions for sequences that the networks had not seen."""
        ready = self.ready
        assert ready.test is not None
        evaluation = evaluate(
            self.predictions,
            ready.test,
            ready.task,
            ready.preparation,
            ready.experiment,
            baselines=self.baselines.baselines,
            network_only=self.network_only,
        )
        caveats = [self.caveat, *evaluation.caveats]
        return replace(evaluation, caveats=caveats, folds=self.folds)

    def refit(self, _around: Around) -> tuple[None, list[str]]:
        """As of `judging.Judged`: not at all, because the folds have seen everything."""
        return None, []


def plan(ready: Ready) -> tuple[Plan | None, str]:
    """The folds and networks to train; or None, and a note on the reason if they were asked for."""
    experiment, task = ready.experiment, ready.task
    settings, split = experiment.training, experiment.split
    count, quality = len(ready.sequences), settings.quality
    asked = bool(split.folds > 1 or settings.networks > 1)
    small = quality in FOLDS and count < SMALL
    if not (asked or small) or task.folding is None or split.folds == 1:
        return None, ""
    reason = _why_not(ready)
    if reason and asked:
        raise ConfigError(
            f"split.folds and training.networks cannot be used, because {reason}. Leave them out."
        )
    if reason:
        return None, f"several networks are not trained, because {reason}"
    own_file = bool(experiment.data.test)
    folds = 1 if own_file else split.folds or FOLDS.get(quality, 1)
    if own_file:
        networks = WITH_TEST_FILE.get(quality, 1)
    else:
        networks = NETWORKS.get(quality, (1, 1))[count >= FEW]
    faster = FASTER if quality in FOLDS else ""
    reason = f"there are {count:,} sequences (training.quality = {quality}).{faster}"
    return Plan(folds, settings.networks or networks, reason), ""


def refuse_several(experiment: Experiment, reason: str) -> None:
    """Refuse settings that ask for several networks where one is trained.

    Raises:
        ConfigError: split.folds or training.networks is set.
    """
    if experiment.split.folds > 1 or experiment.training.networks > 1:
        raise ConfigError(f"{reason} Leave out split.folds and training.networks.")


def _why_not(ready: Ready) -> str:
    """The reason to train one network only, or ""."""
    experiment, folding = ready.experiment, ready.task.folding
    assert folding is not None
    default, split = SplitSettings(), experiment.split
    if experiment.network.kind == OWN or experiment.network.vectors:
        return "the network is your own" if experiment.network.kind == OWN else "vectors are given"
    if ready.validation is None or experiment.data.validation:
        return "there is no validation part to choose"
    own_file = bool(experiment.data.test)
    if own_file and split.folds > 1:
        return "the test part is a file of its own (data.test), on which all networks are judged"
    if not own_file and (split.test, split.train, split.test_ids) != (default.test, 0.0, ""):
        return "the settings choose the test part"
    if split.by == "time" or split.rare_labels != "error":
        return "the settings say how to split"
    if not own_file and ready.sequences.kind not in ("numbers", "sound"):
        return "folds of texts have different vocabularies"
    return folding.why_not(experiment, ready.preparation)


def train_ensemble(
    first: Ready,
    chosen: Plan,
    around: Around,
    custom: Sequence[Custom] = (),
) -> Ensemble | None:
    """Train the networks of all folds; None if the data cannot be divided that often."""
    folding, sequences = first.task.folding, first.sequences
    assert folding is not None
    experiment = folding.fixed(first.experiment, first.preparation)
    experiment = replace(experiment, training=_monitoring(first))
    first = replace(first, experiment=experiment)
    folds = _assigned(first, sequences, chosen.folds)
    shared, _ = first.task.prepare(sequences, experiment)
    parts = _parts(first, sequences, folds, chosen)
    if parts is None or any(one.used != shared.used for one, *_ in parts):
        often = "The sequences cannot be divided that often"
        if first.experiment.split.folds > 1:
            raise ConfigError(
                f"{often}: {chosen.folds} folds of {len(sequences):,} sequences (split.folds). "
                "Each label or group needs a sequence in every fold. Give fewer folds."
            )
        log.info("%s, so one network is trained.", often)
        return None
    trained: list[Fold] = []
    workshop = Workshop(first, chosen, around, custom)
    for preparation, develop, inner, tested in parts:
        part = sequences.chosen(tested) if chosen.folds > 1 else first.splits.test
        assert part is not None
        fold = _fold(first, workshop, preparation, develop, inner, part, tested)
        if fold is not None:
            trained.append(fold)
        if around.interrupts.level >= STOP:
            break
    return _joined(first, chosen, trained, shared, workshop)


def _monitoring(first: Ready) -> TrainingSettings:
    """The settings of training, with the loss as the monitor of a small validation part.

    The accuracy of a few sequences has such wide steps that it chooses epochs by chance.
    """
    settings = first.experiment.training
    if first.validation is None or len(first.validation) >= FEW_CHECKS:
        return settings
    return replace(settings, monitor="loss") if settings.monitor == "auto" else settings


def _assigned(ready: Ready, sequences: Sequences, count: int) -> Array:
    assert ready.task.folding is not None
    split = ready.experiment.split
    by_random = split.by == "random"
    strata = None if by_random else ready.task.folding.strata(sequences, ready.experiment)
    groups = sequences.groups if split.by in ("auto", "group") else None
    if count == 1:
        return np.zeros(len(sequences), dtype=np.int64)
    return assign(strata, groups, count, len(sequences), split.seed)


def _parts(
    first: Ready, sequences: Sequences, folds: Array, chosen: Plan
) -> list[tuple[Preparation[Any], Sequences, Array, Array]] | None:
    """For each fold its preparation, the sequences to develop on, their parts, and the test part.

    None if the sequences cannot be divided that often.
    """
    everything = np.arange(len(sequences))
    share = first.experiment.split.validation
    share = share / len(sequences) if share >= 1 else share
    parts = []
    for number in range(chosen.folds):
        tested = np.flatnonzero(folds == number)
        develop = everything if chosen.folds == 1 else np.flatnonzero(folds != number)
        if not len(tested) or not len(develop):
            return None
        part = sequences.chosen(develop)
        count = int(np.clip(round(1 / share), max(2, chosen.networks), MOST_PARTS))
        if part.groups is not None:
            count = min(count, len(np.unique(part.groups)))
        inner = _assigned(first, part, count)
        if len(np.unique(inner)) < max(2, chosen.networks):
            return None
        preparation, _ = first.task.prepare(part, first.experiment)
        parts.append((preparation, part, inner, tested))
    return parts


class Workshop:
    """Trains networks of one shape again and again, and compiles each shape only once."""

    def __init__(
        self,
        first: Ready,
        chosen: Plan,
        around: Around,
        custom: Sequence[Custom] = (),
        later: Callable[[History], float] = lambda _history: 0.0,
    ) -> None:
        self.first, self.around, self.interrupts = first, around, around.interrupts
        self.custom, self.later = custom, later
        self.folds, self.networks = chosen.folds, chosen.networks
        self.count = chosen.folds * chosen.networks
        self.baseline_seconds = 0.0
        self.histories: list[History] = []
        self.compiled: dict[str, tuple[keras.Model, list[Array]]] = {}

    @property
    def number(self) -> int:
        """The number of the network in training, from 1 on."""
        return len(self.histories) + 1

    @property
    def cut_short(self) -> bool:
        """Whether a signal ended the training of the latest network."""
        return self.histories[-1].stopped.startswith("stopped by")

    def trained(self, ready: Ready, monitor: Monitor) -> None:
        """Fit the network of `ready`, and log its best epoch and the time that is left."""
        name = f"network {self.number} of {self.count}"

        def named(progress: Progress, epoch_over: bool) -> None:
            progress.network = name
            if self.around.watch is not None:
                self.around.watch(progress, epoch_over)

        history = learn(ready, monitor, replace(self.around, watch=named))
        self.histories.append(history)
        parts = [name]
        if history.best_epoch:
            # Without a validation part, the monitor is the loss of the training part.
            on = "" if ready.validation is None else "val "
            value = history.columns[column_of(on + monitor.name)][history.best_epoch - 1]
            parts.append(f"{on}{monitor.name} {value:.4f} (epoch {history.best_epoch})")
        if self.interrupts.level < STOP and self.number <= self.count:
            parts.append(f"about {_duration(self._left())} left")
        log.info("%s", "  ".join(parts))

    def _left(self) -> float:
        """Seconds for what is left, by the time of the networks that are trained.

        `later` gives those of the last training of a network on everything.
        """
        spent = 0.0
        for history in self.histories:
            # The first epoch of a network also compiles, which the next networks need not.
            first, *others = history.columns["seconds"]
            spent += sum(others) + (float(np.median(others)) if others else first)
        each = (spent + self.baseline_seconds) / len(self.histories)
        again = self.count * float(np.mean([self.later(history) for history in self.histories]))
        return each * (self.count - len(self.histories)) + again

    def network(self, ready: Ready, shapes: Shapes, *, steps: int = 0) -> keras.Model:
        """A compiled network with new weights and an optimizer at its first step.

        Networks whose schedules end after different `steps` are compiled for themselves.
        """
        key = repr((shapes, steps))
        if key not in self.compiled:
            network = network_for(shapes, ready.experiment)
            compile_network(network, ready)
            network.optimizer.build(network.trainable_variables)
            build_metrics(network, ready.train, padded=ready.preparation.padded)
            start = [np.array(one) for one in network.optimizer.variables]
            self.compiled[key] = network, start
        network, start = self.compiled[key]
        restart(network, network_for(shapes, ready.experiment))
        for variable, value in zip(network.optimizer.variables, start, strict=True):
            variable.assign(value)
        return network

    def copy(self, network: keras.Model, shapes: Shapes) -> keras.Model:
        """A second network with the same weights."""
        copied = network_for(shapes, self.first.experiment)
        copied.set_weights(network.get_weights())
        return copied


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def _fold(
    first: Ready,
    workshop: Workshop,
    preparation: Preparation[Any],
    develop: Sequences,
    inner: Array,
    part: Sequences,
    tested: Array,
) -> Fold | None:
    """Train the networks of one fold, and let them and the baselines predict its test part.

    A network that a signal cut short counts only if it is the first; None if there is no other.
    """
    task, experiment = first.task, first.experiment
    test = task.examples(part, preparation, experiment, "test")
    members: list[keras.Model] = []
    outputs: list[Array] = []
    states: list[Mapping[str, Any]] = []
    held: list[Array] = []
    seen: list[Array] = []
    said: dict[str, list[Any]] = {}
    said_of_held: dict[str, list[Any]] = {}
    monitor: Monitor | None = None
    for number in range(workshop.networks):
        valid, train = np.flatnonzero(inner == number), np.flatnonzero(inner != number)
        done = len(workshop.histories)
        splits = Splits(develop.chosen(train), held_out := develop.chosen(valid), part)
        ready = replace(
            first,
            experiment=experiment.having("training", seed=experiment.training.seed + done),
            splits=splits,
            preparation=preparation,
            train=task.examples(splits.train, preparation, experiment, "train"),
            validation=task.examples(held_out, preparation, experiment, "validation"),
            test=test,
        )
        shapes = task.shapes(ready.train, preparation)
        ready = replace(ready, network=workshop.network(ready, shapes))
        own = () if members else workshop.custom  # once for each fold, because they may be slow
        baselines = score_baselines(ready, own)
        monitor = monitor or baselines.monitor
        workshop.baseline_seconds += baselines.seconds
        workshop.trained(ready, baselines.monitor)
        if workshop.cut_short and done:
            break
        assert ready.validation is not None
        outputs.append(_outputs(ready, test))
        seen.append(_outputs(ready, ready.validation))
        held.append(valid)
        states.append(baselines.state)
        names = [one.name for one in own]
        for baseline in baselines.baselines:
            if baseline.name in names:
                said[baseline.name] = [baseline.predict(test)]
            elif not baseline.slow:
                said.setdefault(baseline.name, []).append(baseline.predict(test))
                checked = baseline.predict(ready.validation)
                said_of_held.setdefault(baseline.name, []).append(checked)
        members.append(workshop.copy(ready.network, shapes))
        if workshop.interrupts.level >= STOP:
            break
    if not members:
        return None
    whole = task.examples(develop, preparation, experiment, "train")
    said |= {
        baseline.name: [baseline.predict(test)]
        for baseline in task.baselines(states[0], preparation, whole)
        if baseline.slow
    }
    if task.calibrate is not None:
        places = develop.chosen(np.concatenate(held))
        checks = task.examples(places, preparation, experiment, "validation")
        preparation = task.calibrate(preparation, np.concatenate(seen), checks)
        if task.choose is not None:
            known = {name: np.concatenate(one) for name, one in said_of_held.items()}
            preparation = task.choose(preparation, np.concatenate(seen), known, checks)
    assert monitor is not None
    mean = np.mean(outputs, axis=0)
    # If there are no folds, one state of the baselines is judged, because one is saved.
    judged = states if workshop.folds > 1 else states[:1]
    quick, _ = task.quick(preparation, experiment)
    answer = _mean([task.postprocess(mean, test, preparation, state) for state in judged])
    known = {name: _mean(predictions) for name, predictions in said.items()}
    return Fold(
        tested,
        members,
        preparation,
        mean,
        answer,
        task.postprocess(mean, test, quick, {}),
        known,
        states[0],
        monitor,
        task.model_name(preparation),
        _scores(ready, preparation, answer, known),
    )


def _scores(
    ready: Ready, preparation: Preparation[Any], answer: Any, known: Mapping[str, Any]
) -> dict[str, Any]:
    """What metrics.json says about the test part of one fold."""
    test = ready.test
    assert test is not None
    scored = (test, preparation, ready.experiment)
    return {
        "tested": len(test),
        "metrics": ready.task.metrics(answer, *scored),
        "baselines": {name: ready.task.metrics(one, *scored) for name, one in known.items()},
    }


def _outputs(ready: Ready, examples: Examples[Any]) -> Array:
    network = ready.task.network
    return np.asarray(
        network.predict(ready.network, examples, ready.preparation, ready.experiment), np.float64
    )


def _mean(predictions: list[Any]) -> Array:
    mean: Array = np.mean(predictions, axis=0)
    return mean


def _joined(
    first: Ready,
    chosen: Plan,
    folds: list[Fold],
    shared: Preparation[Any],
    workshop: Workshop,
) -> Ensemble:
    """The networks of all folds as one model, and their predictions in the order of the data."""
    task, experiment, everything = first.task, first.experiment, first.sequences
    assert task.folding is not None
    whole = task.examples(everything, shared, experiment, "train")
    shapes = task.shapes(whole, shared)
    members = [
        Member(
            network,
            _inputs(fold.preparation.scale, shared),
            task.folding.outputs(fold.preparation, shared),
        )
        for fold in folds
        for network in fold.members
    ]

    def in_order(parts: list[Any]) -> Any:
        return np.concatenate(parts)[order]

    order = np.argsort(np.concatenate([fold.tested for fold in folds]))
    if chosen.folds == 1:
        preparation, state, part = folds[0].preparation, folds[0].state, first.splits.test
        assert part is not None
        order = np.arange(len(part))
    else:
        part = everything.chosen(np.sort(np.concatenate([fold.tested for fold in folds])))
        preparation, state = shared, _state(first, shared, folds[0].tested)
        if task.calibrate is not None:
            moved = [_shared(fold, shared, task.folding.outputs) for fold in folds]
            checks = task.examples(part, shared, experiment, "validation")
            answers = np.concatenate(moved)[order]
            preparation = task.calibrate(shared, answers, checks)
            if task.choose is not None:
                known = {
                    name: in_order([fold.baselines[name] for fold in folds])
                    for name in folds[0].baselines
                }
                preparation = task.choose(preparation, answers, known, checks)
    test = task.examples(part, preparation, experiment, "test")

    def repeating(said: Any) -> Callable[[Examples[Any]], Any]:
        return lambda _examples: said

    baselines = [
        Baseline(name, repeating(in_order([fold.baselines[name] for fold in folds])))
        for name in folds[0].baselines
    ]
    alone = task.model_name(preparation) == task.model_name(task.quick(preparation, experiment)[0])
    ready = replace(
        first,
        splits=Splits(everything, None, part),
        preparation=preparation,
        train=whole,
        validation=None,
        test=test,
        network=average(members, shapes),
    )
    history = workshop.histories[0]
    stopped, requests = history.stopped, workshop.interrupts
    if requests.level >= STOP:
        number = len(workshop.histories)
        stopped = f"stopped by {requests.by} in network {number} of {workshop.count}"
    return Ensemble(
        ready,
        in_order([fold.predictions for fold in folds]),
        None if alone else in_order([fold.network_only for fold in folds]),
        FittedBaselines(state, baselines, folds[0].monitor, workshop.baseline_seconds),
        replace(
            history,
            networks=len(members),
            stopped=stopped,
            seconds=sum(one.seconds for one in workshop.histories),
        ),
        _caveat(chosen, folds, len(members), part, everything),
        [{"fold": k} | fold.scores for k, fold in enumerate(folds, 1)] if chosen.folds > 1 else [],
    )


def _caveat(
    chosen: Plan, folds: list[Fold], networks: int, part: Sequences, everything: Sequences
) -> str:
    """What was judged and what is saved."""
    names = [fold.name for fold in folds]
    mixed = f" In {names.count(names[0])} of {len(names)} folds it is the {names[0]}."
    mixed = mixed if len(set(names)) > 1 else ""
    if chosen.folds == 1:
        count = f"{len(everything):,} sequences"
        if networks == 1:
            return f"The model is one network, which was trained on a part of the {count}."
        return (
            f"The model is the mean of {networks} networks. Each was trained on another part of "
            f"the {count}, and together they were judged on the test file."
        )
    saved = f"the mean of all {networks} networks" if networks > 1 else "the only network"
    finished = "" if len(folds) == chosen.folds else f" in {len(folds)} of {chosen.folds} folds"
    return (
        f"Each of {len(part):,} sequences was tested once{finished}, by networks that had not seen "
        f"it (cross-validation). The saved model is {saved}.{mixed}"
    )


def _state(first: Ready, shared: Preparation[Any], held: Array) -> Mapping[str, Any]:
    """The baselines to save, fitted on all sequences but those of the first fold."""
    task, everything, experiment = first.task, first.sequences, first.experiment
    rest = np.setdiff1d(np.arange(len(everything)), held)
    return task.fit_baselines(
        task.examples(everything.chosen(rest), shared, experiment, "train"),
        task.examples(everything.chosen(held), shared, experiment, "validation"),
        shared,
    )


def _shared(
    fold: Fold,
    shared: Preparation[Any],
    outputs: Callable[[Preparation[Any], Preparation[Any]], Affine],
) -> Array:
    """The outputs of a fold in the scale of all sequences."""
    factor, offset = outputs(fold.preparation, shared)
    return fold.outputs * factor + offset


def _inputs(scale: Scale, shared: Preparation[Any]) -> Affine:
    """Factor and offset from steps scaled for all sequences to those scaled for a fold."""
    if scale.by == "series":
        return SAME  # each sequence has its own scale in any case
    columns = shared.positions(shared.used)
    centre, spread = scale.centre[0, columns], scale.spread[0, columns]
    of_all, width = shared.scale.centre[0, columns], shared.scale.spread[0, columns]
    return width / spread, (of_all - centre) / spread
