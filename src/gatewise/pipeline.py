"""The whole pipeline: from files to an evaluated, saved model. Read this first."""

import contextlib
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from gatewise import artefact as artefacts
from gatewise import backtesting, engine, folding, refitting, sanity, seeds
from gatewise import budget as budgets
from gatewise.arguments import experiment_from, flags
from gatewise.artefact import Artefact
from gatewise.baselines.custom import Custom, customs
from gatewise.checkpoints import Checkpoints, identity_of
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Sequences
from gatewise.errors import ConfigError
from gatewise.evaluation import ROWS, Evaluation
from gatewise.inspection.model import inspected
from gatewise.interrupts import Interrupts, Skipped
from gatewise.networks import Builder
from gatewise.output import inputs, writing_file
from gatewise.phases import Phase
from gatewise.readers.sources import sentence
from gatewise.ready import Ready, make_ready
from gatewise.record import metrics_of, splits_of
from gatewise.repeats import (
    Trained,
    Watch,
    best_value,
    check_repeats,
    evaluate_on_test,
    learn_each,
    over_all_seeds,
)
from gatewise.reporting.report import draw, summary
from gatewise.settings import Experiment
from gatewise.tracking import both, tracked
from gatewise.training import Around, History, Monitor
from gatewise.validation import FittedBaselines, calibrate, score_baselines

log = logging.getLogger("gatewise")

# Networks that are judged together; None: one network is judged on one test part.
Several = folding.Ensemble | backtesting.Backtest | seeds.Seeds | None
REPORT_BYTES, ROW_BYTES = 2_000_000, 80  # rough sizes of the report and of a prediction's row


@dataclass(frozen=True)
class Run:
    """A finished run."""

    artefact: Artefact
    history: History
    evaluation: Evaluation | None
    metrics: Mapping[str, Any]  # the content of metrics.json

    def __repr__(self) -> str:
        """One line, for the prompt of Python."""
        verdict = self.metrics.get("verdict")
        sentence = verdict["sentence"] if verdict else self.metrics["unjudged"]
        return f"<Run of {self.artefact!r}: {sentence}>"

    def _repr_html_(self) -> str:
        """The verdict and the scores, because notebooks display them."""
        return summary(self.metrics)

    @property
    def model(self) -> keras.Model:
        """The trained Keras model."""
        return self.artefact.network

    def stream(self, *, window: int | None = None, every: int | None = None, id: str = "") -> Any:
        """A `gatewise.Stream` of this run."""
        return self.artefact.stream(window=window, every=every, id=id)


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

    `folder=None` saves nothing. With several `repeats`, the verdict is about the mean over so many
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
    check_repeats(repeats, resume=resume)
    if repeats > 1:
        folding.refuse_several(experiment, "With --repeats, each seed trains a single network.")
    kept: Any = contextlib.nullcontext()
    if folder is not None:
        artefacts.check_free(folder, overwrite=overwrite, resume=resume)
        kept = Checkpoints(folder, resume=resume, overwrite=overwrite)
    chosen = engine.accelerated(engine=experiment.engine.kind, products=experiment.engine.products)
    following = tracked(track, folder)
    with following as tracker, kept as checkpoints, Interrupts() as interrupts, chosen:
        with Phase("Reading the data"):
            ready = make_ready(experiment, source, network)
        if budget is not None:
            ready = budgets.fit_into(budget, ready) if repeats == 1 else ready
            interrupts.stop_in(budget.for_training, budgets.NAME)
        if folder is not None:
            artefacts.check_room(folder, _bytes(ready))
            checkpoints.begin(identity_of(ready.experiment, ready.splits, ready.network))
        baselines = score_baselines(ready, custom)
        interrupts.check()
        ready = sanity.audited(ready, baselines, Around(interrupts, watch, checkpoints))
        finished = run_ready(
            ready,
            baselines,
            Around(interrupts, both(watch, tracker), checkpoints),
            folder=folder,
            overwrite=overwrite,
            repeats=repeats,
            custom=custom,
        )
        if tracker is not None:
            tracker.finish(ready.experiment, finished.metrics)
        return finished


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
    trained: Trained | None = None,
) -> Run:
    """Carry an experiment on from its prepared data, or from a network that is `trained`.

    Without `several`, small sets are not cross-validated either, and one network is judged on the
    test part.
    """
    interrupts = around.interrupts
    interrupts.training = True
    each: list[Trained] = [] if trained is None else [trained]
    alone = not several or repeats > 1 or bool(each)
    together = None if alone else _train_several(ready, baselines.monitor, around, custom)
    if not each and repeats == 1 and together is None:
        for one in planned(ready, several=False):
            log.info("%s", one)
    if together is not None:
        if not isinstance(together, seeds.Seeds):
            baselines = together.baselines
        value = best_value(together.history, baselines.monitor)
        each = [Trained(together.ready, together.history, value)]
    if not each:
        each = learn_each(ready, repeats, baselines.monitor, around)
    interrupts.trained = True

    def judge(overwrite: bool) -> Run:
        return _evaluate_and_save(each, baselines, around, folder, overwrite, together)

    if not interrupts.level or folder is None:
        return judge(overwrite)
    # Save the model before the evaluation, because the user may not wait for it.
    unevaluated = _finished(each[0], baselines, folder)
    interrupts.check()
    artefacts.save(unevaluated.artefact, unevaluated.history, None, overwrite=overwrite)
    try:
        return judge(True)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the run without an evaluation is {folder}.") from None


def _train_several(
    ready: Ready, monitor: Monitor, around: Around, custom: Sequence[Custom]
) -> Several:
    """The networks of a cross-validation, a backtest or several seeds; None: one is trained."""
    chosen, _ = folding.plan(ready)
    if chosen is not None:
        return folding.train_ensemble(ready, chosen, around, custom)
    if backtesting.plan(ready):
        return backtesting.train(ready, around, custom)
    return seeds.train_seeds(ready, monitor, around) if seeds.plan(ready) else None


def planned(ready: Ready, *, several: bool = True) -> list[str]:
    """Sentences on what training will do beyond one network."""
    chosen, note = folding.plan(ready)
    if several and chosen is not None:
        return [chosen.sentence]
    backtest = backtesting.plan(ready) if several else ""
    mean = seeds.plan(ready) if several and not backtest else ""
    last = refitting.plan(ready, judged=backtest and "The last network is saved.")
    last = "" if mean and refitting.longer(ready) else last
    return [one for one in (backtest, sentence(note) if note else "", mean, last) if one]


def _evaluate_and_save(
    trained: list[Trained],
    baselines: FittedBaselines,
    around: Around,
    folder: Path | None,
    overwrite: bool,
    together: Several,
) -> Run:
    """Calibrate and evaluate, unless a signal skips that, train again on everything, and save."""
    began, best = time.perf_counter(), trained[0]
    preparation, evaluation = best.ready.preparation, None
    seen = None  # what the network was trained on after it was judged
    try:
        with Phase("Evaluating"):
            if isinstance(together, folding.Ensemble):
                evaluation = folding.judged(together)
            elif isinstance(together, backtesting.Backtest):
                preparation, evaluation = together.preparation, backtesting.judged(together)
            else:
                preparation = calibrate(best.ready, baselines)
                evaluation = evaluate_on_test(best.ready, preparation, baselines)
            if evaluation is not None and len(trained) > 1:
                evaluation = over_all_seeds(evaluation, trained, baselines)
    except Skipped:
        around.interrupts.announce()
    seconds = time.perf_counter() - began
    ensemble = isinstance(together, folding.Ensemble)
    if not ensemble and evaluation is not None and len(trained) == 1:
        histories = [best.history]
        if isinstance(together, seeds.Seeds):
            histories, seen = together.histories, seeds.refit_seeds(together, around)
        else:
            seen = refitting.refit(best.ready, best.history, around)
        epochs = [history.refit_epochs for history in histories]
        notes = [] if seen is None else [refitting.caveat(best.ready, seen, epochs)]
        if isinstance(together, backtesting.Backtest):
            notes = backtesting.caveats(together, best.history)
        evaluation = replace(evaluation, caveats=[*evaluation.caveats, *notes])
    finished = _finished(best, baselines, folder, preparation, evaluation, seconds, seen)
    around.interrupts.check()
    if folder is not None:
        artefacts.save(finished.artefact, best.history, evaluation, overwrite=overwrite)
    return finished


def _finished(
    trained: Trained,
    baselines: FittedBaselines,
    folder: Path | None,
    preparation: Preparation[Any] | None = None,
    evaluation: Evaluation | None = None,
    seconds: float = 0.0,
    seen: Sequences | None = None,
) -> Run:
    """Everything that is saved of a run; without metrics if the evaluation was skipped."""
    history = trained.history
    ready = replace(trained.ready, preparation=preparation or trained.ready.preparation)
    metrics = metrics_of(ready, baselines, history, evaluation, seconds)
    experiment = ready.experiment
    if ready.task.seeds:
        experiment = experiment.having("training", networks=history.networks)
    model = artefacts.plain(ready.task.network.inference_model(ready.network))
    metrics |= {"run": str(folder or ""), "parameters": model.count_params()}
    if ready.validation is not None and evaluation is not None:
        metrics |= {"inspection": inspected(model, ready)}
    artefact = Artefact(
        folder,
        experiment,
        ready.preparation,
        model,
        baselines.state,
        metrics,
        splits_of(ready.splits, seen),
    )
    return Run(artefact, history, evaluation, metrics)


def _bytes(ready: Ready) -> int:
    """A rough size of the run folder."""
    shape = ready.task.shapes(ready.train, ready.preparation).output
    rows = 0 if ready.test is None else min(ROWS, len(ready.test) * math.prod(shape))
    return 4 * int(ready.network.count_params()) + ROW_BYTES * rows + REPORT_BYTES


def report(run: Run | Artefact | str | Path, *, overwrite: bool = False) -> Path:
    """Write the report of a saved run again, and return its path.

    A report that differs from the saved one was edited: only `overwrite` replaces it.

    Raises:
        ArtefactError: a file that the report is drawn from is damaged or missing.
        ConfigError: the report was edited, or cannot be written.
    """
    folder = artefacts.folder_of(run)
    files = (artefacts.SETTINGS, artefacts.METRICS, artefacts.HISTORY, artefacts.ENVIRONMENT)
    artefacts.verify(folder, files)
    path = folder / artefacts.REPORT
    record = artefacts.read_record(folder, artefacts.format_of(folder))
    with artefacts.intact(folder / artefacts.METRICS):
        drawn = draw(record)
    existing = path.read_bytes() if path.is_file() else None
    if existing == drawn.encode():
        return path
    if existing is not None and not (overwrite or artefacts.as_saved(path)):
        raise ConfigError(
            f"{path} is not the report that was saved with the run: it was edited, so it is kept. "
            "Give --overwrite (overwrite=True) to replace it, or move it away first."
        )
    try:
        with writing_file(path, overwrite=True) as draft:
            draft.write_text(drawn, encoding="utf-8")
        artefacts.seal_again(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}.") from None
    return path


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
    folder = None if output is None else Path(output)
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
