"""The story on one screen: from the files to a saved, judged model. Read this first."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from gatewise import artefact as artefacts
from gatewise import engine, training
from gatewise.arguments import experiment_for
from gatewise.artefact import Artefact
from gatewise.data.preparation import Preparation
from gatewise.errors import ConfigError
from gatewise.evaluation import ROWS, Evaluation, answer_alone, evaluate
from gatewise.interrupts import Interrupts, Skipped
from gatewise.networks import Builder
from gatewise.output import inputs, writing_file
from gatewise.phases import Phase
from gatewise.ready import Ready, compile_network, make_ready
from gatewise.record import metrics_of, splits_of
from gatewise.reporting.report import draw
from gatewise.settings import Experiment, layer_of
from gatewise.training import History, Monitor, Progress
from gatewise.validation import FittedBaselines, calibrate, score_baselines

log = logging.getLogger("gatewise")

Watch = Callable[[Progress, bool], None]

REPORT_BYTES, ROW_BYTES = 2_000_000, 80  # about what the report, and a row of predictions, take


@dataclass(frozen=True)
class Run:
    """A finished run."""

    artefact: Artefact
    history: History
    evaluation: Evaluation | None
    metrics: Mapping[str, Any]  # what metrics.json holds

    def __repr__(self) -> str:
        """A line, for a notebook shows it of its own accord."""
        verdict = self.metrics.get("verdict")
        said = verdict["sentence"] if verdict else self.metrics["unjudged"]
        return f"<Run of {self.artefact!r}: {said}>"

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
    """Carry one experiment from its files to a trained, judged and saved model.

    `folder=None` saves nothing. The first Ctrl-C ends the training, the next one the evaluation;
    what was learned is kept. SIGTERM is a Ctrl-C, and a second one five seconds later.

    Raises:
        GatewiseError: the data, the settings or the training went wrong, and nothing is left
            behind; or the folder cannot be written, and the message names the place of the run.
        KeyboardInterrupt: a Ctrl-C before training, or one more than those. Nothing is left
            behind, or its text says what was saved already.
    """
    if folder is not None:
        artefacts.check_free(folder, overwrite=overwrite)
    with Interrupts() as interrupts, engine.accelerated(engine=experiment.engine.kind):
        with Phase("Reading the data"):
            ready = make_ready(experiment, source, network)
        if folder is not None:
            artefacts.check_room(folder, _bytes(ready))
        baselines = score_baselines(ready)
        interrupts.check()
        interrupts.training = True
        history = learn(ready, baselines.monitor, watch, interrupts)
        interrupts.trained = True
        if not interrupts.level or folder is None:
            return _evaluate_and_save(ready, baselines, history, folder, interrupts, overwrite)
        # Whoever asked may not wait for the evaluation: what was learned is safe before it.
        unjudged = _finished(ready, baselines, history, folder)
        interrupts.check()
        artefacts.save(unjudged.artefact, history, None, overwrite=overwrite)
        try:
            return _evaluate_and_save(ready, baselines, history, folder, interrupts, True)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"the run without an evaluation is {folder}.") from None


def learn(
    ready: Ready, monitor: Monitor, watch: Watch | None, interrupts: Interrupts | None = None
) -> History:
    """Compile and fit the network; one that came compiled keeps its own loss and optimizer."""
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
) -> Run:
    """Calibrate and judge, unless that is skipped on request, and save what there is then."""
    began, preparation, judged = time.perf_counter(), ready.preparation, None
    try:
        with Phase("Evaluating"):
            preparation = calibrate(ready)
            judged = judge(ready, preparation, baselines)
    except Skipped:
        interrupts.announce()
    seconds = time.perf_counter() - began
    finished = _finished(ready, baselines, history, folder, preparation, judged, seconds)
    interrupts.check()
    if folder is not None:
        artefacts.save(finished.artefact, history, judged, overwrite=overwrite)
    return finished


def judge(ready: Ready, preparation: Preparation, baselines: FittedBaselines) -> Evaluation | None:
    """The one look at the test part; None where there is none."""
    if ready.test is None:
        log.info("There is no test part, so the model is not judged.")
        return None
    task, some = ready.task, ready.test
    given = task.network.predict(ready.network, some, preparation, ready.experiment)
    answer = task.answer(given, some, preparation, baselines.state)
    alone = answer_alone(given, some, task, preparation)
    judged = evaluate(
        answer, some, task, preparation, ready.experiment, baselines=baselines.rules, alone=alone
    )
    shown = task.network.report_extras(ready.network, preparation, ready.experiment)
    return replace(judged, details=judged.details | shown)


def _finished(
    ready: Ready,
    baselines: FittedBaselines,
    history: History,
    folder: Path | None,
    preparation: Preparation | None = None,
    judged: Evaluation | None = None,
    seconds: float = 0.0,
) -> Run:
    """All that is saved of a run; without an evaluation where it was skipped."""
    metrics = metrics_of(ready, baselines, history, judged, seconds)
    model = artefacts.plain(ready.task.network.inference_model(ready.network))
    metrics |= {"run": str(folder or ""), "parameters": model.count_params()}
    artefact = Artefact(
        folder,
        ready.experiment,
        preparation or ready.preparation,
        model,
        baselines.state,
        metrics,
        splits_of(ready.parts),
    )
    return Run(artefact, history, judged, metrics)


def _bytes(ready: Ready) -> int:
    """About what the run folder will take."""
    shape = ready.task.shapes(ready.train, ready.preparation).output
    rows = 0 if ready.test is None else min(ROWS, len(ready.test) * math.prod(shape))
    return 4 * int(ready.network.count_params()) + ROW_BYTES * rows + REPORT_BYTES


def report(run: str | Path, *, overwrite: bool = False) -> Path:
    """Write the report of a run folder again, and return where it is.

    A report that is not the one saved with the run was edited: only `overwrite` replaces it.

    Raises:
        ArtefactError: what the report is made of is damaged or missing.
        ConfigError: the report was edited, or cannot be written.
    """
    folder = Path(run)
    files = (artefacts.SETTINGS, artefacts.METRICS, artefacts.HISTORY, artefacts.ENVIRONMENT)
    artefacts.verify(folder, files)
    path = folder / artefacts.REPORT
    drawn = draw(artefacts.read_record(folder))
    kept = path.read_bytes() if path.is_file() else None
    if kept == drawn.encode():
        return path
    if kept is not None and not (overwrite or artefacts.as_saved(path)):
        raise ConfigError(
            f"{path} is not the report that was saved with the run: it was edited, so it is kept. "
            "Give --overwrite (overwrite=True) to write it anew, or move it away first."
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
    settings: Mapping[str, Any] | str | Path | None = None,
    output: str | Path | None = None,
    network: Builder | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Run:
    """Train on `data` (a path, a data set's name, a frame, arrays) and judge what came out.

    `settings` is a mapping of sections or a TOML file; `network(shapes, settings)` gives a
    keras.Model of your own; `output` is the run folder, or None to save nothing.

    >>> run = train("airline.csv", target="passengers", output="runs/airline")  # doctest: +SKIP
    """
    layers = [] if settings is None else [layer_of(settings)]
    if task:
        layers.append({"task": {"name": task}})
    names = list(target) if isinstance(target, list | tuple) else [str(target)] * bool(target)
    experiment, source = experiment_for(data, layers, names)
    folder = None if output is None else Path(output)
    if folder is not None and overwrite:
        own = [Path(settings)] if isinstance(settings, str | Path) else []
        artefacts.check_replaceable(folder, [*inputs(experiment), *own])
    return run(experiment, source, folder=folder, network=network, watch=watch, overwrite=overwrite)
