"""Backtests: train again before each of several stretches of the test part.

The origin of the training data rolls forward and their window expands (Tashman 2000, International
Journal of Forecasting 16(4), 437-450): the network of a stretch is trained on everything before it,
and forecasts from the origins in it. Together the stretches are the test part of an ordinary run,
so the verdict is about the same truth.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gatewise.baselines.custom import Custom
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, Sequences
from gatewise.data.splits import Splits
from gatewise.errors import ConfigError
from gatewise.judging import refitting
from gatewise.judging.evaluation import Evaluation, evaluate
from gatewise.judging.validation import FittedBaselines, calibrate, score_baselines
from gatewise.judging.workshop import Workshop
from gatewise.settings import Experiment
from gatewise.tasks.task import Baseline
from gatewise.training.feed import steps_of
from gatewise.training.fit import Around
from gatewise.training.interrupts import STOP
from gatewise.training.progress import History
from gatewise.training.ready import Ready

log = logging.getLogger("gatewise")


@dataclass(frozen=True)
class BacktestFold:
    """One stretch, and what the network that was trained before it says about it."""

    positions: Array  # of its examples among those of the test part
    examples: Examples[Any]
    ready: Ready
    preparation: Preparation[Any]  # calibrated
    baselines: FittedBaselines
    history: History
    weights: list[Array]
    predictions: Any
    said: dict[str, Any]  # what the baselines say


@dataclass(frozen=True)
class Backtest:
    """The finished folds; the last network is the one to save."""

    first: Ready  # the ordinary split, whose scale is that of the scores
    folds: list[BacktestFold]
    ready: Ready  # the last training and validation part, and the test part of all folds
    preparation: Preparation[Any]  # of the last fold
    baselines: FittedBaselines  # of the last fold
    history: History  # of the last fold; the seconds are those of all
    asked: int  # the number of folds that were asked for

    def calibrated(self) -> Preparation[Any]:
        """As of `protocol.Judged`: the preparation of the last fold."""
        return self.preparation

    def evaluate(self, _preparation: Preparation[Any]) -> Evaluation:
        """The scores of all folds together, on the scale of an ordinary split, and of each."""
        first, folds = self.first, self.folds
        task, examples, experiment = first.task, self.ready.test, first.experiment
        assert examples is not None
        order = np.argsort(np.concatenate([fold.positions for fold in folds]))

        def in_order(parts: list[Any]) -> Any:
            return np.concatenate(parts)[order]

        def repeating(said: Any) -> Callable[[Examples[Any]], Any]:
            return lambda _examples: said

        names = folds[0].said
        evaluation = evaluate(
            in_order([fold.predictions for fold in folds]),
            examples,
            task,
            first.preparation,
            experiment,
            baselines=[
                Baseline(name, repeating(in_order([fold.said[name] for fold in folds])))
                for name in names
            ],
        )
        return replace(
            evaluation,
            folds=[_scores(first, fold, number) for number, fold in enumerate(folds, 1)],
        )

    def refit(self, around: Around) -> tuple[Sequences | None, list[str]]:
        """As of `protocol.Judged`: the last network."""
        seen = refitting.refit(self.ready, self.history, around)
        count, asked = len(self.folds), self.asked
        finished = "" if count == asked else f" (of {asked} that were asked for)"
        epochs = self.history.refit_epochs
        saved = "is that of the last stretch"
        if epochs:
            s = "s"[: epochs != 1]
            saved = f"was trained again on everything, for {epochs} epoch{s} (training.refit)"
        return seen, [
            f"Each of {count} stretches{finished} was forecast by a network that was trained on "
            f"everything before it (a backtest). The saved network {saved}."
        ]


def plan(ready: Ready) -> str:
    """What training will do, for the user to read before it starts; "": no backtest was asked for.

    Raises:
        ConfigError: it was asked for and cannot be made.
    """
    count = ready.experiment.split.folds
    if ready.task.backtest is None or count <= 1:
        return ""
    if reason := _why_not(ready):
        raise ConfigError(f"A backtest (--folds, split.folds) cannot be made, because {reason}.")
    return (
        f"Backtest in {count} folds: the test part is cut into {count} stretches, and the network "
        "is trained before each of them on everything that precedes it."
    )


def _why_not(ready: Ready) -> str:
    """The reason that there can be no backtest, or ""."""
    count, splits = ready.experiment.split.folds, ready.splits
    data = ready.experiment.data
    if data.test or data.validation:
        name = "test" if data.test else "validation"
        return (
            f"the {name} part is a file of its own (data.{name}), which does not follow the "
            "training part step by step. Give one file, or leave --folds out"
        )
    if ready.parts.own is not None or ready.experiment.network.build:
        return "a network of your own is made once. Leave --folds out"
    if splits.test is None or ready.test is None:
        return "there is no test part. Set split.test, or leave --folds out"
    if len(ready.test) < count:
        return (
            f"the test part has {len(ready.test):,} origins, too few for {count} stretches. Give "
            "fewer folds, a greater split.test or a smaller evaluation.stride"
        )
    return ""


def train(first: Ready, around: Around, custom: Sequence[Custom] = ()) -> Backtest:
    """Train before each stretch, and let network and baselines forecast it.

    A request to stop ends the network in training, which then counts only if it is the first.
    """
    count = first.experiment.split.folds
    workshop = Workshop(first, around, folds=count, networks=1, custom=custom)
    folds: list[BacktestFold] = []
    for number in range(count):
        fold = _fold(first, workshop, number)
        if workshop.cut_short and folds:
            log.info("Fold %d was not finished and is left out.", number + 1)
            break
        folds.append(fold)
        if around.interrupts.level >= STOP:
            break
    last = folds[-1]
    last.ready.network.set_weights(last.weights)
    part, test = first.splits.test, first.test
    if len(folds) < count:
        part, _ = _stretch(first, 0, len(folds))
        test = first.task.examples(part, first.preparation, _with_stride(first), "test")
    splits = replace(last.ready.splits, test=part)
    return Backtest(
        first,
        folds,
        replace(last.ready, splits=splits, test=test),
        last.preparation,
        replace(last.baselines, seconds=workshop.baseline_seconds),
        replace(last.history, seconds=sum(one.seconds for one in workshop.histories)),
        count,
    )


def _stretch(first: Ready, begin: int, end: int) -> tuple[Sequences, Array]:
    """The part of these stretches, and the positions of their examples."""
    backtest = first.task.backtest
    assert backtest is not None
    return backtest(first.test, begin, end, count=first.experiment.split.folds)


def _with_stride(first: Ready) -> Experiment:
    """The settings with the stride of the whole test part, which its length chose."""
    assert first.test is not None
    return first.experiment.having("evaluation", stride=first.test.source.stride)


def _splits(first: Ready, number: int) -> tuple[Splits, Array]:
    """The parts of one fold, and the positions of its examples in the test part.

    The training part ends, and the validation part lies, as long before the stretch as they do
    before the test part in an ordinary split. A series that is not tested is trained on as a whole.
    """
    begin, _ = _stretch(first, 0, 1)
    test, positions = _stretch(first, number, number + 1)
    moved = dict(zip(test.first.tolist(), (test.starts - begin.starts).tolist(), strict=True))

    def later(part: Sequences) -> Array:
        return np.array([moved.get(one, 0) for one in part.first.tolist()], dtype=np.int64)

    train, held = first.splits.train, first.splits.validation
    train = train.between(train.starts, train.stops + later(train))
    if held is not None:
        held = held.between(held.starts + later(held), held.stops + later(held))
    return Splits(train, held, test), positions


def _fold(first: Ready, workshop: Workshop, number: int) -> BacktestFold:
    """Train the network of one fold, and let it and the baselines forecast the stretch."""
    task, experiment = first.task, first.experiment
    seed = experiment.training.seed + number
    experiment = experiment.having("training", seed=seed)
    splits, positions = _splits(first, number)
    preparation, _ = task.prepare(splits.train, experiment)
    assert splits.test is not None
    test = task.examples(splits.test, preparation, _with_stride(first), "test")
    held = splits.validation
    valid = None if held is None else task.examples(held, preparation, experiment, "validation")
    ready = replace(
        first,
        experiment=experiment,
        splits=splits,
        preparation=preparation,
        train=task.examples(splits.train, preparation, experiment, "train"),
        validation=valid if valid is not None and len(valid) else None,
        test=test,
    )
    settings = experiment.training
    changing = settings.schedule in ("cosine", "exponential") or bool(settings.warmup)
    steps = steps_of(ready.train, settings, padded=preparation.padded) if changing else 0
    shapes = task.shapes(ready.train, preparation)
    ready = replace(ready, network=workshop.network(ready, shapes, steps=steps))
    baselines = score_baselines(ready, workshop.custom)
    workshop.baseline_seconds += baselines.seconds
    workshop.trained(ready, baselines.monitor)
    calibrated = calibrate(ready, baselines)
    outputs = task.network.predict(ready.network, test, calibrated, experiment)
    return BacktestFold(
        positions,
        test,
        ready,
        calibrated,
        baselines,
        workshop.histories[-1],
        ready.network.get_weights(),
        task.postprocess(outputs, test, calibrated, baselines.state),
        {one.name: one.predict(test) for one in baselines.baselines},
    )


def _scores(first: Ready, fold: BacktestFold, number: int) -> dict[str, Any]:
    """What metrics.json says about one fold."""

    def metrics(predictions: Any) -> dict[str, float]:
        return first.task.metrics(predictions, fold.examples, first.preparation, first.experiment)

    return {
        "fold": number,
        "begins": _begin(fold),
        "trained": int(fold.ready.splits.train.lengths.sum()),
        "tested": len(fold.examples),
        "metrics": metrics(fold.predictions),
        "baselines": {name: metrics(said) for name, said in fold.said.items()},
        "epochs": len(fold.history.columns["epoch"]),
        "best_epoch": fold.history.best_epoch,
        "seconds": fold.history.seconds,
    }


def _begin(fold: BacktestFold) -> str:
    """The time of the first step of a stretch, or its number in the series, counted from 1."""
    part = fold.ready.splits.test
    assert part is not None
    if part.times is None:
        return f"step {int((part.starts - part.first).min()) + 1:,}"
    first = part.times[part.starts].min()
    dated = first.dtype.kind == "M"
    return str(np.datetime_as_string(first, unit="auto") if dated else first).replace("T", " ")
