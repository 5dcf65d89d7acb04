"""Small sets: cross-validation, and an ensemble of networks with different validation parts.

Every sequence is tested once, by networks that have seen neither it nor anything fitted on it. The
saved model is the ensemble of all these networks, in the scale of a preparation fitted on all
sequences. If the test part has a file of its own, there is one fold: the networks differ in their
validation parts, and their ensemble is judged on that file.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from gatewise.baselines.custom import Custom
from gatewise.data.batches import Examples
from gatewise.data.folds import assign
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import Scale
from gatewise.data.sequences import Array, Sequences
from gatewise.data.splits import Splits
from gatewise.errors import ConfigError
from gatewise.judging.audit import copies, of_folds, tell
from gatewise.judging.evaluation import Evaluation, evaluate
from gatewise.judging.validation import FittedBaselines, score_baselines
from gatewise.judging.workshop import Workshop
from gatewise.networks.ensemble import SAME, Affine, Member, average
from gatewise.settings import OWN, Experiment, SplitSettings, TrainingSettings
from gatewise.tasks import cost
from gatewise.tasks.task import AnyTask, Baseline
from gatewise.training.defaults import FEW_CHECKS
from gatewise.training.fit import Around
from gatewise.training.interrupts import STOP
from gatewise.training.progress import History, Monitor
from gatewise.training.ready import Ready

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
class Division:
    """The sequences of one fold, and the preparation fitted on those that are not tested."""

    preparation: Preparation[Any]
    develop: Sequences  # what its networks are trained and validated on
    inner: Array  # for each of these, the network that it validates
    tested: Array  # positions in all sequences


@dataclass(frozen=True)
class Learned:
    """One trained network of a fold, and what it and its baselines say."""

    network: keras.Model
    tested: Array  # outputs for the test part
    held: Array  # outputs for its validation part
    positions: Array  # of its validation part, in the sequences of the fold
    baselines: FittedBaselines
    said: dict[str, Any]  # predictions of the baselines for the test part
    said_of_held: dict[str, Any]  # and for the validation part, of those that are fast


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
        """As of `protocol.Judged`: calibrated by the predictions of the folds."""
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
        """As of `protocol.Judged`: not at all, because the folds have seen everything."""
        return None, []


def plan(ready: Ready, *, timed: bool = True) -> tuple[Plan | None, str]:
    """The folds and networks to train, or None and a note on the reason.

    Unless settings ask for them, they are as many as the quality has time for, by a rough count;
    `timed=False` ignores the time.
    """
    experiment, task = ready.experiment, ready.task
    settings, split = experiment.training, experiment.split
    count, quality = len(ready.sequences), settings.quality
    asked, own_file = split.folds > 1, bool(experiment.data.test)
    # Without folds, the networks see all sequences, so the test part must be in another file.
    small = count < SMALL and (quality in FOLDS or (own_file and settings.networks > 1))
    if not (asked or small) or task.folding is None or split.folds == 1:
        return None, ""
    reason = _why_not(ready)
    if reason and asked:
        raise ConfigError(f"split.folds cannot be used, because {reason}. Leave it out.")
    if reason:
        return None, f"there is no cross-validation, because {reason}"
    folds = 1 if own_file else split.folds or FOLDS[quality]
    if own_file:
        networks = WITH_TEST_FILE.get(quality, 1)
    else:
        networks = NETWORKS.get(quality, (1, 1))[count >= FEW]
    if timed and not (asked or settings.networks):
        one = seconds(ready)
        networks = _in_time(quality, folds, networks, one)
        if not networks:
            least = max(folds, 2) * one / 60
            return None, (
                f"there is no cross-validation, because {max(folds, 2)} networks take about "
                f"{least:.0f} minutes (split.folds or training.networks asks for it)"
            )
    given = ready.parts.experiment
    faster = "" if given.split.folds > 1 or given.training.networks else FASTER
    reason = f"there are {count:,} sequences (training.quality = {quality}).{faster}"
    return Plan(folds, settings.networks or networks, reason), ""


def seconds(ready: Ready) -> float:
    """Rough seconds to train one network on the training part."""
    network, training = ready.experiment.network, ready.experiment.training
    steps = float(np.mean(ready.train.lengths)) / network.strides ** len(network.filters)
    return cost.seconds(training, network, len(ready.train), steps)


def _in_time(quality: str, folds: int, networks: int, one: float) -> int:
    """The most networks of each fold that the quality has time for; 0: none."""
    fewer = range(networks, 1, -1) if folds == 1 else (networks, 1)
    return next((few for few in fewer if few * folds * one <= cost.SECONDS[quality]), 0)


def refuse_several(experiment: Experiment, reason: str) -> None:
    """Refuse settings that ask for several networks where one is trained.

    Raises:
        ConfigError: split.folds or training.networks is set.
    """
    if experiment.split.folds > 1 or experiment.training.networks > 1:
        raise ConfigError(f"{reason} Leave out split.folds and training.networks.")


def why_alone(experiment: Experiment) -> str:
    """The reason that there can be no second network from another seed, or ""."""
    if experiment.network.kind == OWN:
        return "the network is your own"
    if experiment.network.vectors:
        return "vectors are given"
    return "the network is pretrained" if experiment.training.pretrain else ""


def _why_not(ready: Ready) -> str:
    """The reason to train one network only, or ""."""
    experiment, folding = ready.experiment, ready.task.folding
    assert folding is not None
    default, split = SplitSettings(), experiment.split
    if reason := why_alone(experiment):
        return reason
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
    """Train the networks of all folds; None if the data cannot be divided that often.

    Raises:
        ConfigError: the user asked for folds that cannot be made.
    """
    folding, sequences = first.task.folding, first.sequences
    assert folding is not None
    experiment = folding.fixed(first.experiment, first.preparation)
    experiment = replace(experiment, training=_monitoring(first))
    first = replace(first, experiment=experiment)
    folds = _assigned(first, sequences, chosen.folds)
    shared, _ = first.task.prepare(sequences, experiment)
    parts = _parts(first, sequences, folds, chosen)
    if parts is None or any(one.preparation.used != shared.used for one in parts):
        often = "The sequences cannot be divided that often"
        if first.parts.experiment.split.folds > 1:
            raise ConfigError(
                f"{often}: {chosen.folds} folds of {len(sequences):,} sequences (split.folds). "
                "Each label or group needs a sequence in every fold. Give fewer folds."
            )
        log.info("%s, so one test part is judged.", often)
        return None
    if chosen.folds > 1:
        first = replace(first, audit=of_folds(first.audit, sequences, folds))
    tell(copies(first.audit))
    trained: list[Fold] = []
    workshop = Workshop(first, around, folds=chosen.folds, networks=chosen.networks, custom=custom)
    for division in parts:
        part = sequences.chosen(division.tested) if chosen.folds > 1 else first.splits.test
        assert part is not None
        fold = _fold(first, workshop, division, part)
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


def _parts(first: Ready, sequences: Sequences, folds: Array, chosen: Plan) -> list[Division] | None:
    """The data of each fold; None if the sequences cannot be divided that often."""
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
        parts.append(Division(preparation, part, inner, tested))
    return parts


def _fold(first: Ready, workshop: Workshop, division: Division, part: Sequences) -> Fold | None:
    """Train the networks of one fold, and let them and the baselines predict its test part.

    A network that a signal cut short counts only if it is the first; None if there is no other.
    """
    task, experiment, preparation = first.task, first.experiment, division.preparation
    test = task.examples(part, preparation, experiment, "test")
    first = replace(first, splits=replace(first.splits, test=part), test=test)
    learned: list[Learned] = []
    for number in range(workshop.networks):
        one = _learned(first, workshop, division, number)
        if one is None:
            break
        learned.append(one)
        if workshop.interrupts.level >= STOP:
            break
    if not learned:
        return None
    states = [one.baselines.state for one in learned]
    develop = task.examples(division.develop, preparation, experiment, "train")
    slow = [one for one in task.baselines(states[0], preparation, develop) if one.slow]
    said = _by_name(one.said for one in learned)
    said |= {baseline.name: [baseline.predict(test)] for baseline in slow}
    # A network's training part may have sequences of one length, and another's not.
    said_of_held = {
        name: predictions
        for name, predictions in _by_name(one.said_of_held for one in learned).items()
        if len(predictions) == len(learned)
    }
    preparation = _calibrated(
        first,
        preparation,
        division.develop.chosen(np.concatenate([one.positions for one in learned])),
        np.concatenate([one.held for one in learned]),
        {name: np.concatenate(predictions) for name, predictions in said_of_held.items()},
    )
    mean = np.mean([one.tested for one in learned], axis=0)
    # If there are no folds, one state of the baselines is judged, because one is saved.
    judged = states if workshop.folds > 1 else states[:1]
    quick, _ = task.quick(preparation, experiment)
    answer = _mean([task.postprocess(mean, test, preparation, state) for state in judged])
    known = {name: _mean(predictions) for name, predictions in said.items()}
    return Fold(
        division.tested,
        [one.network for one in learned],
        preparation,
        mean,
        answer,
        task.postprocess(mean, test, quick, {}),
        known,
        states[0],
        learned[0].baselines.monitor,
        task.model_name(preparation),
        _scores(first, preparation, answer, known),
    )


def _learned(first: Ready, workshop: Workshop, division: Division, number: int) -> Learned | None:
    """Train one network of a fold; None if a signal cut it short and it is not the first of all."""
    done = len(workshop.histories)
    ready = _ready(first, workshop, division, number)
    # Baselines of the user's own are asked once for each fold, because they may be slow.
    own = () if number else workshop.custom
    baselines = score_baselines(ready, own)
    workshop.baseline_seconds += baselines.seconds
    workshop.trained(ready, baselines.monitor)
    if workshop.cut_short and done:
        return None
    test, held = ready.test, ready.validation
    assert test is not None
    assert held is not None
    names = {one.name for one in own}
    asked = [one for one in baselines.baselines if one.name in names or not one.slow]
    return Learned(
        workshop.copy(ready.network, ready.task.shapes(ready.train, ready.preparation)),
        _outputs(ready, test),
        _outputs(ready, held),
        np.flatnonzero(division.inner == number),
        baselines,
        {one.name: one.predict(test) for one in asked},
        {one.name: one.predict(held) for one in asked if one.name not in names},
    )


def _ready(first: Ready, workshop: Workshop, division: Division, number: int) -> Ready:
    """The experiment with the parts, the seed and the new network of one of a fold's networks."""
    task, experiment, preparation = first.task, first.experiment, division.preparation
    seed = experiment.training.seed + len(workshop.histories)
    train = division.develop.chosen(np.flatnonzero(division.inner != number))
    held = division.develop.chosen(np.flatnonzero(division.inner == number))
    ready = replace(
        first,
        experiment=experiment.having("training", seed=seed),
        splits=Splits(train, held, first.splits.test),
        preparation=preparation,
        train=task.examples(train, preparation, experiment, "train"),
        validation=task.examples(held, preparation, experiment, "validation"),
    )
    shapes = task.shapes(ready.train, preparation)
    return replace(ready, network=workshop.network(ready, shapes))


def _by_name(predictions: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The predictions of each baseline beside each of several networks."""
    found: dict[str, list[Any]] = {}
    for one in predictions:
        for name, said in one.items():
            found.setdefault(name, []).append(said)
    return found


def _calibrated(
    first: Ready,
    preparation: Preparation[Any],
    held: Sequences,
    outputs: Array,
    known: Mapping[str, Any],
) -> Preparation[Any]:
    """The preparation, calibrated on sequences that the networks behind `outputs` had not seen."""
    task = first.task
    if task.calibrate is None:
        return preparation
    examples = task.examples(held, preparation, first.experiment, "validation")
    preparation = task.calibrate(preparation, outputs, examples)
    if task.choose is None:
        return preparation
    return task.choose(preparation, outputs, known, examples)


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
    whole = task.examples(everything, shared, experiment, "train")
    members = _members(folds, shared, task)
    if chosen.folds == 1:
        assert first.splits.test is not None
        part, order = first.splits.test, np.arange(len(first.splits.test))
    else:
        tested = np.concatenate([fold.tested for fold in folds])
        part, order = everything.chosen(np.sort(tested)), np.argsort(tested)

    def in_order(parts: list[Any]) -> Any:
        return np.concatenate(parts)[order]

    # Some folds may have sequences of one length, and others not: then only some read all steps.
    known = {
        name: in_order([fold.baselines[name] for fold in folds])
        for name in folds[0].baselines
        if all(name in fold.baselines for fold in folds)
    }
    if chosen.folds == 1:
        preparation, state = folds[0].preparation, folds[0].state
    else:
        state = _state(first, shared, folds[0].tested)
        outputs = in_order([_shared(fold, shared, task) for fold in folds])
        saved = {one.name for one in task.baselines(state, shared, None)}
        choices = {name: said for name, said in known.items() if name in saved}
        preparation = _calibrated(first, shared, part, outputs, choices)

    def repeating(said: Any) -> Callable[[Examples[Any]], Any]:
        return lambda _examples: said

    baselines = [Baseline(name, repeating(said)) for name, said in known.items()]
    alone = task.model_name(preparation) == task.model_name(task.quick(preparation, experiment)[0])
    ready = replace(
        first,
        splits=Splits(everything, None, part),
        preparation=preparation,
        train=whole,
        validation=None,
        test=task.examples(part, preparation, experiment, "test"),
        network=average(members, task.shapes(whole, shared)),
    )
    return Ensemble(
        ready,
        in_order([fold.predictions for fold in folds]),
        None if alone else in_order([fold.network_only for fold in folds]),
        FittedBaselines(state, baselines, folds[0].monitor, workshop.baseline_seconds),
        replace(workshop.history, networks=len(members)),
        _caveat(chosen, folds, task.model_name(preparation), part, everything),
        [{"fold": k} | fold.scores for k, fold in enumerate(folds, 1)] if chosen.folds > 1 else [],
    )


def _members(folds: list[Fold], shared: Preparation[Any], task: AnyTask) -> list[Member]:
    """The networks of all folds, each with the way to its own scale and back."""
    assert task.folding is not None
    return [
        Member(
            network,
            _inputs(fold.preparation.scale, shared),
            task.folding.outputs(fold.preparation, shared),
        )
        for fold in folds
        for network in fold.members
    ]


def _caveat(
    chosen: Plan, folds: list[Fold], name: str, part: Sequences, everything: Sequences
) -> str:
    """What was judged and what is saved; `name` is that of the saved model."""
    names, networks = [fold.name for fold in folds], sum(len(fold.members) for fold in folds)
    mixed = f" In {names.count(names[0])} of {len(names)} folds it is the {names[0]}."
    mixed = mixed if len({name, *names}) > 1 else ""
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


def _shared(fold: Fold, shared: Preparation[Any], task: AnyTask) -> Array:
    """The outputs of a fold in the scale of all sequences."""
    assert task.folding is not None
    factor, offset = task.folding.outputs(fold.preparation, shared)
    return fold.outputs * factor + offset


def _inputs(scale: Scale, shared: Preparation[Any]) -> Affine:
    """Factor and offset from steps scaled for all sequences to those scaled for a fold."""
    if scale.by == "series":
        return SAME  # each sequence has its own scale in any case
    columns = shared.positions(shared.used)
    centre, spread = scale.centre[0, columns], scale.spread[0, columns]
    of_all, width = shared.scale.centre[0, columns], shared.scale.spread[0, columns]
    return width / spread, (of_all - centre) / spread
