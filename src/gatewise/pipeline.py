"""The whole pipeline on one screen: from files to an evaluated, saved model. Read this first."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from gatewise import artefact as artefacts
from gatewise import engine, folding, refitting, training
from gatewise.arguments import experiment_for, flags
from gatewise.artefact import Artefact
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Sequences
from gatewise.errors import ConfigError
from gatewise.evaluation import ROWS, Evaluation, evaluate, predict_network_only
from gatewise.interrupts import Interrupts, Skipped
from gatewise.networks import Builder
from gatewise.output import inputs, writing_file
from gatewise.phases import Phase
from gatewise.readers.sources import sentence
from gatewise.ready import Ready, compile_network, make_ready
from gatewise.record import metrics_of, splits_of
from gatewise.reporting.report import draw, summary
from gatewise.settings import Experiment, layer_of
from gatewise.training import History, Monitor, Progress
from gatewise.validation import FittedBaselines, calibrate, score_baselines

log = logging.getLogger("gatewise")

Watch = Callable[[Progress, bool], None]

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


def run(
    experiment: Experiment,
    source: Any = None,
    *,
    folder: Path | None,
    network: Builder | None = None,
    watch: Watch | None = None,
    overwrite: bool = False,
) -> Run:
    """Carry one experiment from its files to a trained, evaluated and saved model.

    `folder=None` saves nothing. The first Ctrl-C ends the training, and the next one ends the
    evaluation; the trained model is kept. SIGTERM counts as a Ctrl-C, and as a second one five
    seconds later.

    Raises:
        GatewiseError: the data, the settings or the training failed, and nothing is left behind;
            or the folder cannot be written, and the message says where the run was saved instead.
        KeyboardInterrupt: Ctrl-C before training, or a third one. Nothing is left behind, unless
            the text of the exception names what was already saved.
    """
    if folder is not None:
        artefacts.check_free(folder, overwrite=overwrite)
    chosen = engine.accelerated(engine=experiment.engine.kind, products=experiment.engine.products)
    with Interrupts() as interrupts, chosen:
        with Phase("Reading the data"):
            ready = make_ready(experiment, source, network)
        if folder is not None:
            artefacts.check_room(folder, _bytes(ready))
        ensemble = _trained_ensemble(ready, watch, interrupts)
        if ensemble is not None:
            ready, baselines, history = ensemble.ready, ensemble.baselines, ensemble.history
        else:
            baselines = score_baselines(ready)
            interrupts.check()
            interrupts.training = True
            history = learn(ready, baselines.monitor, watch, interrupts)
        interrupts.trained = True
        if not interrupts.level or folder is None:
            return _evaluate_and_save(
                ready,
                baselines,
                history,
                folder,
                interrupts,
                overwrite,
                ensemble=ensemble,
                watch=watch,
            )
        # Save the model before the evaluation, because the user may not wait for it.
        unevaluated = _finished(ready, baselines, history, folder)
        interrupts.check()
        artefacts.save(unevaluated.artefact, history, None, overwrite=overwrite)
        try:
            return _evaluate_and_save(
                ready,
                baselines,
                history,
                folder,
                interrupts,
                True,
                ensemble=ensemble,
                watch=watch,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"the run without an evaluation is {folder}.") from None


def _trained_ensemble(
    ready: Ready, watch: Watch | None, interrupts: Interrupts
) -> folding.Ensemble | None:
    """Several networks, if the quality asks for them and the data allow it."""
    chosen, note = folding.plan(ready)
    if note:
        log.info("%s", sentence(note))
    if chosen is None:
        return None
    interrupts.training = True
    return folding.train_ensemble(
        ready,
        chosen,
        lambda one, monitor, requests: learn(one, monitor, watch, requests),
        interrupts,
    )


def learn(
    ready: Ready, monitor: Monitor, watch: Watch | None, interrupts: Interrupts | None = None
) -> History:
    """Compile and fit the network; a compiled one keeps its own loss and optimizer."""
    if not ready.network.compiled:
        compile_network(ready.network, ready)
    return training.fit(
        ready.network,
        ready.train,
        ready.validation,
        ready.experiment.training,
        padded=ready.preparation.padded,
        monitor=monitor,
        interrupts=interrupts,
        watch=watch,
    )


def _evaluate_and_save(
    ready: Ready,
    baselines: FittedBaselines,
    history: History,
    folder: Path | None,
    interrupts: Interrupts,
    overwrite: bool,
    *,
    ensemble: folding.Ensemble | None,
    watch: Watch | None,
) -> Run:
    """Calibrate and evaluate, unless a signal skips that, train again on everything, and save."""
    began, preparation, evaluation = time.perf_counter(), ready.preparation, None
    seen = None  # what the network was trained on after it was judged
    try:
        with Phase("Evaluating"):
            if ensemble is not None:
                evaluation = folding.judged(ensemble)
            else:
                preparation = calibrate(ready, baselines)
                evaluation = evaluate_on_test(ready, preparation, baselines)
    except Skipped:
        interrupts.announce()
    seconds = time.perf_counter() - began
    if ensemble is None and evaluation is not None:

        def again(whole: Ready, monitor: Monitor, requests: Interrupts) -> History:
            return learn(whole, monitor, watch, requests)

        seen = refitting.refit(ready, history, again, interrupts)
        if seen is not None:
            note = refitting.caveat(ready, seen, history.best_epoch)
            evaluation = replace(evaluation, caveats=[*evaluation.caveats, note])
    finished = _finished(ready, baselines, history, folder, preparation, evaluation, seconds, seen)
    interrupts.check()
    if folder is not None:
        artefacts.save(finished.artefact, history, evaluation, overwrite=overwrite)
    return finished


def evaluate_on_test(
    ready: Ready, preparation: Preparation[Any], baselines: FittedBaselines
) -> Evaluation | None:
    """Evaluate once on the test part; None if there is no test part."""
    if ready.test is None:
        log.info("There is no test part, so the model is not evaluated.")
        return None
    task, examples = ready.task, ready.test
    outputs = task.network.predict(ready.network, examples, preparation, ready.experiment)
    predictions = task.postprocess(outputs, examples, preparation, baselines.state)
    network_only = predict_network_only(outputs, examples, task, preparation, ready.experiment)
    evaluation = evaluate(
        predictions,
        examples,
        task,
        preparation,
        ready.experiment,
        baselines=baselines.baselines,
        network_only=network_only,
    )
    extras = task.network.report_extras(ready.network, preparation, ready.experiment)
    return replace(evaluation, details=evaluation.details | extras)


def _finished(
    ready: Ready,
    baselines: FittedBaselines,
    history: History,
    folder: Path | None,
    preparation: Preparation[Any] | None = None,
    evaluation: Evaluation | None = None,
    seconds: float = 0.0,
    seen: Sequences | None = None,
) -> Run:
    """Everything that is saved of a run; without metrics if the evaluation was skipped."""
    ready = replace(ready, preparation=preparation or ready.preparation)
    metrics = metrics_of(ready, baselines, history, evaluation, seconds)
    model = artefacts.plain(ready.task.network.inference_model(ready.network))
    metrics |= {"run": str(folder or ""), "parameters": model.count_params()}
    artefact = Artefact(
        folder,
        ready.experiment,
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
    folder = _folder(run)
    files = (artefacts.SETTINGS, artefacts.METRICS, artefacts.HISTORY, artefacts.ENVIRONMENT)
    artefacts.verify(folder, files)
    path = folder / artefacts.REPORT
    drawn = draw(artefacts.read_record(folder, artefacts.format_of(folder)))
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


def _folder(run: Run | Artefact | str | Path) -> Path:
    if isinstance(run, str | Path):
        return Path(run)
    artefact = run.artefact if isinstance(run, Run) else run
    if artefact.folder is None:
        raise ConfigError("This run was not saved. Give train an output folder to save it.")
    return artefact.folder


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
    settings: Mapping[str, Any] | str | Path | None = None,
    output: str | Path | None = None,
    network: Builder | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Run:
    """Train on `data` (a path, the name of a data set, a frame or arrays) and evaluate the model.

    `horizon`, `lookback`, `epochs`, `seed` and `quality` are those of `gatewise train`, and
    override `settings`: a mapping of sections, or a TOML file. `network(shapes, settings)` returns
    a keras.Model of your own. `output` is the run folder, or None to save nothing.

    >>> run = train("airline.csv", horizon=12, output="runs/airline")  # doctest: +SKIP
    """
    layers = [] if settings is None else [layer_of(settings)]
    numbers = flags(task, horizon=horizon, lookback=lookback, epochs=epochs, seed=seed)
    layers += [numbers, flags(quality=quality)]
    names = list(target) if isinstance(target, list | tuple) else [str(target)] * bool(target)
    experiment, source = experiment_for(data, layers, names)
    folder = None if output is None else Path(output)
    if folder is not None and overwrite:
        own = [Path(settings)] if isinstance(settings, str | Path) else []
        artefacts.check_replaceable(folder, [*inputs(experiment), *own])
    return run(experiment, source, folder=folder, network=network, watch=watch, overwrite=overwrite)
