"""The whole pipeline: from files to an evaluated, saved model. Read this first."""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatewise import engine
from gatewise.arguments import as_path, experiment_from, flags
from gatewise.baselines.custom import Custom, customs
from gatewise.errors import ConfigError
from gatewise.judging import budget as budgets
from gatewise.judging import folding, protocol, sanity
from gatewise.judging.evaluation import ROWS
from gatewise.judging.protocol import Judged
from gatewise.judging.repeats import Watch, check_repeats
from gatewise.judging.validation import FittedBaselines, score_baselines
from gatewise.networks import Builder
from gatewise.output import inputs
from gatewise.runs import artefact as artefacts
from gatewise.runs.finished import Run, finished
from gatewise.runs.locks import locked
from gatewise.settings import Experiment
from gatewise.training.checkpoints import Checkpoints, identity_of
from gatewise.training.fit import Around
from gatewise.training.interrupts import Interrupts, Skipped
from gatewise.training.phases import Phase
from gatewise.training.ready import Ready, make_ready
from gatewise.training.tracking import both, tracked

REPORT_BYTES, ROW_BYTES = 2_000_000, 80  # rough sizes of the report and of a prediction's row


def run(
    experiment: Experiment,
    source: Any = None,
    *,
    folder: Path | None,
    network: Builder | None = None,
    watch: Watch | None = None,
    overwrite: bool = False,
    resume: bool = False,
    repeats: int = 1,
    custom: Sequence[Custom] = (),
    track: str = "",
    budget: budgets.Budget | None = None,
) -> Run:
    """Carry one experiment from its files to a trained, evaluated and saved model.

    `folder=None` saves nothing. With several `repeats`, the verdict is about the mean over all
    seeds, and the network with the best validation score is saved. `custom` are baselines of the
    user's own. `track` names a tracker of `tracking.KINDS`. Training ends within the `budget`,
    if there is one, and what is trained is chosen to fit.

    The first Ctrl-C ends the training, and the next one ends the evaluation; the trained model is
    kept. SIGTERM counts as a Ctrl-C, and as a second one five seconds later. A run that was killed
    leaves a checkpoint beside `folder`, and `resume` continues from it with the same numbers.

    Raises:
        GatewiseError: the data, the settings or the training failed, and nothing is left behind;
            or the folder cannot be written, and the message says where the run was saved instead.
        KeyboardInterrupt: Ctrl-C before training, or a third one. Nothing is left behind, unless
            the text of the exception names what was already saved: a run or a checkpoint.
    """
    check_repeats(repeats)
    if repeats > 1:
        folding.refuse_several(experiment, "With --repeats, each seed trains a single network.")
    if folder is not None:
        artefacts.check_free(folder, overwrite=overwrite, resume=resume)
    kept = _checkpoints(folder, resume=resume, overwrite=overwrite)
    chosen = engine.accelerated(engine=experiment.engine.kind, products=experiment.engine.products)
    following = tracked(track, folder)
    with kept as checkpoints, following as tracker, Interrupts() as interrupts, chosen:
        with Phase("Reading the data"):
            ready = make_ready(experiment, source, network, untold=True)
        note: dict[str, Any] = {}
        if repeats == 1:
            before = None if checkpoints is None else checkpoints.before
            ready, note = budgets.chosen(budget, ready, before)
        if budget is not None:
            interrupts.stop_in(budget.for_training, budgets.NAME)
        if folder is not None and checkpoints is not None:
            artefacts.check_room(folder, _bytes(ready))
            identity = identity_of(ready.experiment, ready.splits, ready.network)
            checkpoints.begin(identity | note)
        baselines = score_baselines(ready, custom)
        interrupts.check()
        ready = sanity.audited(ready, baselines, Around(interrupts, watch, checkpoints))
        done = run_ready(
            ready,
            baselines,
            Around(interrupts, both(watch, tracker), checkpoints),
            folder=folder,
            overwrite=overwrite,
            repeats=repeats,
            custom=custom,
        )
        if tracker is not None:
            tracker.finish(ready.experiment, done.metrics)
        return done


@contextlib.contextmanager
def _checkpoints(
    folder: Path | None, *, resume: bool, overwrite: bool
) -> Iterator[Checkpoints | None]:
    """The checkpoints of a run, which no other process writes meanwhile; None without a folder."""
    if folder is None:
        yield None
        return
    with locked(folder), Checkpoints(folder, resume=resume, overwrite=overwrite) as kept:
        yield kept


def run_ready(
    ready: Ready,
    baselines: FittedBaselines,
    around: Around,
    *,
    folder: Path | None,
    overwrite: bool = False,
    repeats: int = 1,
    several: bool = True,
    custom: Sequence[Custom] = (),
    judged: Judged | None = None,
) -> Run:
    """Carry an experiment on from its prepared data, or from networks that are to be `judged`.

    Without `several`, small sets are not cross-validated either, and one network is judged on the
    test part.
    """
    interrupts = around.interrupts
    interrupts.training = True
    if judged is None:
        judged = protocol.train(
            ready, baselines, around, repeats=repeats, several=several, custom=custom
        )
    interrupts.trained = True
    if not interrupts.level or folder is None:
        return _evaluate_and_save(judged, around, folder, overwrite=overwrite)
    # Save the model before the evaluation, because the user may not wait for it.
    unevaluated = finished(judged, folder)
    interrupts.check()
    artefacts.save(unevaluated.artefact, unevaluated.history, None, overwrite=overwrite)
    try:
        return _evaluate_and_save(judged, around, folder, overwrite=True)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the run without an evaluation is {folder}.") from None


def _evaluate_and_save(
    judged: Judged, around: Around, folder: Path | None, *, overwrite: bool
) -> Run:
    """Calibrate and evaluate, unless a signal skips that, train again on everything, and save."""
    began = time.perf_counter()
    preparation = evaluation = seen = None
    try:
        with Phase("Evaluating"):
            preparation = judged.calibrated()
            evaluation = judged.evaluate(preparation)
    except Skipped:
        around.interrupts.announce()
    seconds = time.perf_counter() - began
    if evaluation is not None:
        seen, notes = judged.refit(around)
        evaluation = replace(evaluation, caveats=[*evaluation.caveats, *notes])
    done = finished(judged, folder, preparation, evaluation, seconds, seen)
    around.interrupts.check()
    if folder is not None:
        artefacts.save(done.artefact, done.history, evaluation, overwrite=overwrite)
    return done


def _bytes(ready: Ready) -> int:
    """A rough size of the run folder."""
    shape = ready.task.shapes(ready.train, ready.preparation).output
    rows = 0 if ready.test is None else min(ROWS, len(ready.test) * math.prod(shape))
    return 4 * int(ready.network.count_params()) + ROW_BYTES * rows + REPORT_BYTES


def train(
    data: Any = None,
    *,
    task: str = "",
    target: str | Sequence[str] = (),
    horizon: int | None = None,
    lookback: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    quality: str | None = None,
    folds: int | None = None,
    audit: str | None = None,
    settings: Mapping[str, Any] | str | Path | None = None,
    output: str | Path | None = None,
    network: Builder | None = None,
    overwrite: bool = False,
    resume: bool = False,
    watch: Watch | None = None,
    repeats: int = 1,
    baseline: Any = None,
    track: str = "",
    budget: str | float = "",
) -> Run:
    """Train on `data` (a path, the name of a data set, a frame or arrays) and evaluate the model.

    `horizon` and the other keywords up to `audit` are those of `gatewise train`, and override
    `settings`: a mapping of sections, or a TOML file. `network(shapes, settings)` returns a
    keras.Model of your own. `output` is the run folder, or None to save nothing. `resume` continues
    a training into this folder that was killed. `repeats` seeds are trained and judged together.
    `baseline` is a function of your own to be judged beside (docs/tasks.md), or several. `track` is
    "mlflow" or "tensorboard", which then get the numbers of each epoch. `budget` is the time for
    all of it, such as "5m", or seconds; what is trained is chosen to fit.

    >>> run = train("airline.csv", horizon=12, output="runs/airline")  # doctest: +SKIP
    """
    given = flags(
        task,
        horizon=horizon,
        lookback=lookback,
        epochs=epochs,
        seed=seed,
        quality=quality,
        folds=folds,
        audit=audit,
    )
    experiment, source = experiment_from(data, settings, target, given)
    folder = None if output is None else as_path(output, "output")
    if folder is None and resume:
        raise ConfigError("resume=True needs output=, the folder that the killed run would write.")
    if folder is not None and overwrite:
        own = [Path(settings)] if isinstance(settings, str | Path) else []
        artefacts.check_replaceable(folder, [*inputs(experiment), *own])
    return run(
        experiment,
        source,
        folder=folder,
        network=network,
        watch=watch,
        overwrite=overwrite,
        resume=resume,
        repeats=repeats,
        custom=customs(baseline),
        track=track,
        budget=budgets.budget_of(budget),
    )
