"""The story on one screen: from the files to a saved, judged model. Read this first."""

import itertools
import logging
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import keras
import numpy as np
import polars as pl

from gatewise import artefact as artefacts
from gatewise import engine, training
from gatewise.artefact import Artefact, as_csv
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Sequences, comparable, fingerprint
from gatewise.data.spacing import refuse_other_spacing
from gatewise.data.splits import Parts, told_of_few_groups, told_of_rare
from gatewise.errors import ArtefactError, ConfigError, DataError, EngineError
from gatewise.evaluation import ROWS, Evaluation, answer_alone, chosen_measure, evaluate
from gatewise.experiment import (
    DataSettings,
    Experiment,
    from_mapping,
    from_toml,
    layer_of,
)
from gatewise.interrupts import Interrupts, Skipped
from gatewise.networks import Builder, build, losses, refuse_too_large
from gatewise.output import inputs, writing_file
from gatewise.phases import Phase
from gatewise.readers.datasets import DATASETS, path_of, settings_of
from gatewise.readers.files import guess_task, holds_texts, read, sentence
from gatewise.readers.sources import Opened, opened
from gatewise.reporting.report import draw
from gatewise.reporting.sections import Record
from gatewise.tasks import TASKS
from gatewise.tasks.owned import refuse_foreign
from gatewise.tasks.task import Baseline, Measure, Task, answer_name
from gatewise.training import History, Monitor, Progress, column_of

log = logging.getLogger("gatewise")

Objective = tuple[keras.optimizers.Optimizer, Any, list[Any]]  # optimizer, loss and metrics
Watch = Callable[[Progress, bool], None]

REPORT_BYTES, ROW_BYTES = 2_000_000, 80  # about what the report, and a row of predictions, take


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


@dataclass(frozen=True)
class Simple:
    """The fitted baselines, and the best of them on the validation part."""

    state: Mapping[str, Any]  # as baselines.json holds it
    rules: list[Baseline]
    monitor: Monitor  # with the best baseline's name and value
    seconds: float


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
    with Phase("Reading the data"):
        ready = make_ready(experiment, source, network)
    if folder is not None:
        artefacts.check_room(folder, _bytes(ready))
    simple = judge_simple(ready)
    with engine.accelerated(engine=experiment.engine.kind), Interrupts() as interrupts:
        history = learn(ready, simple.monitor, watch, interrupts)
        interrupts.trained = True
        early = bool(interrupts.level) and folder is not None
        if early and folder is not None:
            # Whoever asked may not wait for the evaluation: what was learned is safe before it.
            _save(_finished(ready, simple, history, folder), folder, overwrite=overwrite)
        try:
            judged = _judge_unless_skipped(ready, simple, interrupts)
            finished = _finished(ready, simple, history, folder, *judged)
            if folder is not None:
                _save(finished, folder, overwrite=overwrite or early)
        except KeyboardInterrupt:
            if early:
                raise KeyboardInterrupt(f"the run without an evaluation is {folder}.") from None
            raise
    return finished


def _judge_unless_skipped(
    ready: Ready, simple: Simple, interrupts: Interrupts
) -> tuple[Preparation, Evaluation | None, float]:
    """The calibrated preparation, the evaluation, and the seconds that both took."""
    began, preparation, judged = time.perf_counter(), ready.preparation, None
    try:
        with Phase("Evaluating"):
            preparation = calibrate(ready)
            judged = judge(ready, preparation, simple)
    except Skipped:
        interrupts.announce()
    return preparation, judged, time.perf_counter() - began


def _finished(
    ready: Ready,
    simple: Simple,
    history: History,
    folder: Path | None,
    preparation: Preparation | None = None,
    judged: Evaluation | None = None,
    seconds: float = 0.0,
) -> Run:
    """All that is saved of a run; without an evaluation where it was skipped."""
    metrics = _metrics(ready, simple, history, judged, seconds)
    plain = artefacts.plain(ready.task.network.inference_model(ready.network))
    metrics |= {"run": str(folder or ""), "parameters": plain.count_params()}
    artefact = Artefact(
        folder,
        ready.experiment,
        preparation or ready.preparation,
        plain,
        simple.state,
        metrics,
        _splits(ready.parts),
    )
    return Run(artefact, history, judged, metrics)


def _bytes(ready: Ready) -> int:
    """About what the run folder will take."""
    shape = ready.task.shapes(ready.train, ready.preparation).output
    rows = 0 if ready.test is None else min(ROWS, len(ready.test) * math.prod(shape))
    return 4 * int(ready.network.count_params()) + ROW_BYTES * rows + REPORT_BYTES


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
        monitored(task.measures(validation, preparation, experiment), experiment)


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


def judge_simple(ready: Ready) -> Simple:
    """Fit the baselines, and find which does best on the validation part, and how well."""
    began = time.perf_counter()
    with Phase("Fitting the baselines"):
        state = ready.task.fit_baselines(ready.train, ready.validation, ready.preparation)
        rules = ready.task.baselines(state, ready.preparation, ready.train)
        monitor = monitor_of(ready, rules)
    return Simple(state, rules, monitor, time.perf_counter() - began)


def monitor_of(ready: Ready, rules: list[Baseline]) -> Monitor:
    """What chooses the best epoch: by default the metric of the verdict, on the validation part.

    The network is asked in the quick way: without a beam search, a language model or a blend.
    """
    some, experiment = ready.validation, ready.experiment
    if some is None or experiment.training.monitor == "loss":
        return Monitor("loss")
    measure = monitored(ready.task.measures(some, ready.preparation, experiment), experiment)
    quick = replace(ready.preparation, blend="none", beams=1, ngram={})
    greedy = experiment.having("task", beams=1)

    def value(answer: Any) -> float:
        return float(measure.value(measure.statistics(answer).sum(axis=0)))

    def ask() -> float:
        given = ready.task.network.predict(ready.network, some, quick, greedy)
        return value(ready.task.answer(given, some, quick, {}))

    scores = {rule.name: value(rule.answer(some)) for rule in rules if not rule.costly}
    scores = {name: score for name, score in scores.items() if not math.isnan(score)}
    sign = -1 if measure.higher_is_better else 1
    best = min(scores, key=lambda name: sign * scores[name], default="")
    return Monitor(
        measure.name,
        measure.higher_is_better,
        None if measure.from_loss else ask,
        measure.from_loss or float,
        best,
        scores.get(best, math.nan),
    )


def monitored(measures: list[Measure], experiment: Experiment) -> Measure:
    """The measure that training.monitor names: of itself, or the verdict's.

    Raises:
        ConfigError: it names no measure of the task, and is not "loss".
    """
    name = experiment.training.monitor
    if name == "auto":
        return chosen_measure(measures, experiment.evaluation.metric)
    return chosen_measure(measures, name, key="training.monitor", more=("loss",))


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


def calibrate(ready: Ready) -> Preparation:
    """What the validation part has still to say, such as a temperature for probabilities."""
    if ready.validation is None or ready.task.calibrate is None:
        return ready.preparation
    given = outputs(ready, ready.validation, ready.preparation)
    return ready.task.calibrate(ready.preparation, given, ready.validation)


def judge(ready: Ready, preparation: Preparation, simple: Simple) -> Evaluation | None:
    """The one look at the test part; None where there is none."""
    if ready.test is None:
        log.info("There is no test part, so the model is not judged.")
        return None
    task, some = ready.task, ready.test
    given = outputs(ready, some, preparation)
    answer = task.answer(given, some, preparation, simple.state)
    alone = answer_alone(given, some, task, preparation)
    judged = evaluate(
        answer, some, task, preparation, ready.experiment, baselines=simple.rules, alone=alone
    )
    shown = task.network.report_extras(ready.network, preparation, ready.experiment)
    return replace(judged, details=judged.details | shown)


def outputs(ready: Ready, some: Examples, preparation: Preparation) -> Any:
    """What the network says of all examples, as the task's `answer` reads it."""
    return ready.task.network.predict(ready.network, some, preparation, ready.experiment)


def _metrics(
    ready: Ready, simple: Simple, history: History, judged: Evaluation | None, evaluating: float
) -> dict[str, Any]:
    """The content of metrics.json: what `--json` prints and the report shows.

    `evaluating` is the seconds that the evaluation took.
    """
    seconds = {
        "read": ready.seconds,
        "baselines": simple.seconds,
        "train": history.seconds,
        "evaluate": evaluating,
    }
    found: dict[str, Any] = {
        "task": ready.task.name,
        "data": _data_name(ready.experiment.data.path),
        "answer": answer_name(ready.preparation),
        "metrics": judged.metrics if judged else {},
        "alone": judged.alone if judged else {},
        "baselines": judged.baselines if judged else {},
        "verdict": judged.verdict if judged else None,
        "comparisons": judged.comparisons if judged else [],
        "caveats": [
            *interruption(history.stopped, history.best_epoch),
            *(judged.caveats if judged else []),
        ],
        "seconds": seconds | {"total": sum(seconds.values())},
        "engine": engine.used_by(ready.network),
        "epochs": len(history.columns.get("epoch", [])),
        "best_epoch": history.best_epoch,
        "stopped": history.stopped,
        "parts": part_sizes(ready),
        "notes": ready.notes,
        "details": judged.details if judged else {},
    }
    if judged is not None:
        rows = {"rows": judged.table.height, "answers": judged.shown, "of": judged.answers}
        found["predictions"] = rows
    else:
        found["unjudged"] = (
            "There was no test part, so there is no verdict."
            if ready.test is None
            else "The evaluation was skipped on request, so there is no verdict."
        )
    if ready.validation is not None:
        found["validation"] = {
            "metric": f"val_{column_of(simple.monitor.name)}",
            "baseline": simple.monitor.baseline,
            "value": simple.monitor.baseline_value,
        }
    if ready.task.name == "forecast":
        scaled = ready.experiment.evaluation.scaled
        found["units_note"] = (
            "errors of scaled values" if scaled else "errors in the target's own units"
        )
    return found


def interruption(stopped: str, best_epoch: int) -> list[str]:
    """A sentence that belongs beside the verdict, when training was ended from outside."""
    if not stopped.startswith("stopped by"):
        return []
    return [f"Training was interrupted: {stopped}. The weights are those of epoch {best_epoch}."]


def _data_name(path: str) -> str:
    """A shipped data set goes by its name, not by where it is installed."""
    named = (name for name in DATASETS if path == str(path_of(name)))
    return next(named, path) or "data in memory"


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


def _save(finished: Run, folder: Path, *, overwrite: bool) -> None:
    """Write the run folder, or where that fails, write it elsewhere and say where.

    Raises:
        ArtefactError: the folder cannot be written.
    """
    try:
        _write(finished, folder, overwrite=overwrite)
    except (OSError, ConfigError) as error:  # ConfigError: the folder is not free any more
        reason = getattr(error, "strerror", None) or str(error)
        raise ArtefactError(_rescued(finished, folder, reason.rstrip("."))) from error


def _rescued(finished: Run, folder: Path, reason: str) -> str:
    """Save the run in the first other place that takes it; the sentence that says where."""
    for place in (tempfile.gettempdir(), Path.home(), Path.cwd()):
        try:
            refuge = Path(tempfile.mkdtemp(prefix="gatewise-", dir=place))
        except OSError:
            continue
        try:
            _write(finished, refuge / folder.name, overwrite=False)
        except (OSError, ConfigError):
            refuge.rmdir()
            continue
        return (
            f"{folder} cannot be written: {reason}. The run was saved in {refuge / folder.name} "
            "instead; move it to where it can stay."
        )
    return (
        f"{folder} cannot be written: {reason}. No other place could be written either, so the "
        "trained network is lost. Free some room, or choose another -o, and train again."
    )


def _write(finished: Run, folder: Path, *, overwrite: bool) -> None:
    made, judged = finished.artefact, finished.evaluation
    metrics = {**made.metrics, "run": str(folder)}
    with artefacts.writing(folder, overwrite=overwrite) as draft:
        artefacts.save_parts(draft, made.experiment, made.preparation, made.network)
        artefacts.write_json(draft / artefacts.BASELINES, made.baselines)
        artefacts.write_json(draft / artefacts.METRICS, metrics)
        artefacts.write_json(draft / artefacts.ENVIRONMENT, artefacts.environment())
        artefacts.write_json(draft / artefacts.SPLITS, made.splits)
        pl.DataFrame(finished.history.columns).write_csv(draft / artefacts.HISTORY)
        if judged is not None:
            (draft / artefacts.PREDICTIONS).write_text(as_csv(judged.table), encoding="utf-8")
        (draft / artefacts.REPORT).write_text(draw(read_record(draft)), encoding="utf-8")


def read_record(folder: Path) -> Record:
    """What the report is made of, from a run folder."""
    history = pl.read_csv(folder / artefacts.HISTORY).to_dict(as_series=False)
    return Record(
        settings=from_toml(folder / artefacts.SETTINGS),
        metrics=artefacts.read_json(folder / artefacts.METRICS),
        history=history,
        environment=artefacts.read_json(folder / artefacts.ENVIRONMENT),
    )


def _splits(parts: Parts) -> dict[str, Any]:
    """Which steps of which sequence are in which part, counted from the beginning of each.

    The fingerprints are those of the training part, by which its data are known again.
    """
    found: dict[str, Any] = {}
    for name in ("train", "validation", "test"):
        part: Sequences | None = getattr(parts, name)
        if part is not None:
            begins, ends = part.starts - part.first, part.stops - part.first
            found[name] = [
                list(row)
                for row in zip(part.ids.tolist(), begins.tolist(), ends.tolist(), strict=True)
            ]
    found["fingerprints"] = [fingerprint(steps) for steps in comparable(parts.train)]
    return {"columns": ["id", "first step", "step after the last"]} | found


def experiment_for(
    data: Any, layers: Sequence[Mapping[str, Any]], target: Sequence[str] = ()
) -> tuple[Experiment, Opened]:
    """Settings from several layers, the later over the earlier, over those of a shipped data set.

    `target` is what to forecast, or the label, tag or text to tell: a key of `[data]`, above all
    layers. Returns the experiment and its data, which are opened when they are first looked at.
    """
    experiment = Experiment()
    named = data if isinstance(data, str | Path) else None
    if data is None:
        sections = [layer.get("data", {}) for layer in layers]
        paths = [one["path"] for one in sections if isinstance(one, Mapping) and "path" in one]
        named = paths[-1] if paths else None  # the later over the earlier, here too
    if isinstance(named, str) and named in DATASETS and not Path(named).exists():
        own = settings_of(named)
        layers = [own, *layers, {"data": {"path": own["data"]["path"]}}]
    elif named is not None:
        _refuse_misspelt(str(named))
        layers = [*layers, {"data": {"path": str(named)}}]
    for layer in layers:
        experiment = from_mapping(layer, experiment)
    if named is None and data is None:
        raise ConfigError("No data: name a file, or a data set of `gatewise datasets`.")
    source = opened(experiment.data, None if named is not None else data)
    if target:
        told = {"data": target_setting(target, experiment, source)}
        experiment = from_mapping(told, experiment)
    return experiment, source


def _refuse_misspelt(named: str) -> None:
    near = get_close_matches(named, DATASETS, n=1, cutoff=0.8)
    if near and not Path(named).exists():
        raise DataError(f"There is no file {named}. Did you mean the data set '{near[0]}'?")


def target_setting(target: Sequence[str], experiment: Experiment, source: Opened) -> dict[str, Any]:
    """The key of `[data]` that `--target` stands for, by the task or by what the column holds."""
    name = experiment.task.name
    if not name:
        texts = holds_texts(experiment.data, source, target[0])
        name = "classify" if experiment.data.label or texts else "forecast"
    if name == "forecast":
        return {"target": list(target)}
    if len(target) > 1:
        raise ConfigError(f"{name} tells one label. Received: {', '.join(target)}.")
    return {"label": target[0]}


def free_folder(experiment: Experiment) -> Path:
    """runs/NAME, or the first runs/NAME-2, NAME-3 ... that is not there yet."""
    stem = Path(experiment.data.path).name.split(".")[0] or "run"
    names = (
        Path("runs") / (stem if number == 1 else f"{stem}-{number}")
        for number in itertools.count(1)
    )
    return next(folder for folder in names if not folder.exists())


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
    drawn = draw(read_record(folder))
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
