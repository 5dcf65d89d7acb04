"""The story on one screen: from the files to a saved, judged model. Read this first."""

import itertools
import logging
import math
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
from gatewise.data.datasets import DATASETS, path_of, settings_of
from gatewise.data.files import guess_task, holds_texts, read, sentence
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Sequences, comparable, fingerprint
from gatewise.data.spacing import refuse_other_spacing
from gatewise.data.splits import Parts, told_of_few_groups, told_of_rare
from gatewise.errors import ConfigError, DataError, EngineError
from gatewise.evaluation import Evaluation, answer_alone, chosen_measure, evaluate
from gatewise.experiment import (
    DataSettings,
    Experiment,
    from_mapping,
    from_toml,
    layer_of,
    refuse_out_of_place,
)
from gatewise.networks import LEARNERS, Builder, build, losses, refuse_too_large
from gatewise.page import Record, draw
from gatewise.tasks import TASKS
from gatewise.tasks.task import Baseline, Task, answer_name
from gatewise.training import History, Progress

log = logging.getLogger("gatewise")

Objective = tuple[keras.optimizers.Optimizer, Any, list[Any]]  # optimizer, loss and metrics
Watch = Callable[[Progress, bool], None]
Simple = tuple[Mapping[str, Any], list[Baseline]]  # the fitted baselines: state, and answers


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


@dataclass
class Haste:
    """Whether somebody has pressed Ctrl-C since training ended, and waits."""

    pressed: bool = False
    judging: bool = False


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

    `folder=None` saves nothing. The first Ctrl-C ends the training, the next one the judgement;
    what was learned is kept.

    Raises:
        GatewiseError: the data, the settings or the training went wrong; nothing is left behind.
        KeyboardInterrupt: a Ctrl-C before training, or one more than those; nothing is left behind.
    """
    if folder is not None:
        artefacts.check_free(folder, overwrite=overwrite)
    ready = make_ready(experiment, source, network)
    began = time.perf_counter()
    state, rules, best = judge_simple(ready)
    haste = Haste()
    kind = experiment.engine.kind
    with engine.accelerated(engine=kind), training.one_interrupt(lambda: _hurry(haste)):
        history = learn(ready, best, watch)
        preparation = calibrate(ready)
        trained = time.perf_counter()
        judged = _judge_unless_pressed(ready, preparation, (state, rules), haste)
        seconds = {
            "read": ready.seconds,
            "train": history.seconds,
            "evaluate": time.perf_counter() - trained,
        }
        seconds["total"] = ready.seconds + time.perf_counter() - began
        plain = artefacts.plain(LEARNERS[ready.task.name].kept(ready.network))
        metrics = _metrics(ready, history, judged, seconds, best)
        metrics |= {"run": str(folder or ""), "parameters": plain.count_params()}
        splits = _splits(ready.parts)
        made = Artefact(folder, ready.experiment, preparation, plain, state, metrics, splits)
        if folder is not None:
            _save(made, history, judged, overwrite=overwrite)
    return Run(made, history, judged, metrics)


def _hurry(haste: Haste) -> None:
    """A judgement can be broken off without loss, a calibration or a saving only waited for."""
    haste.pressed = True
    log.info("What was learned is kept; Ctrl-C again gives up at once, and nothing is.")
    if haste.judging:
        raise KeyboardInterrupt


def _judge_unless_pressed(
    ready: Ready, preparation: Preparation, simple: Simple, haste: Haste
) -> Evaluation | None:
    haste.judging = True
    try:
        return None if haste.pressed else judge(ready, preparation, simple)
    except KeyboardInterrupt:
        if not haste.pressed:
            raise
        return None
    finally:
        haste.judging = False


def make_ready(experiment: Experiment, source: Any = None, own: Builder | None = None) -> Ready:
    """Read, split, prepare and build; what can be refused is refused here, before training."""
    began = time.perf_counter()
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
    refuse_out_of_place(experiment, sequences.kind)
    experiment, said = task.settle(replace(experiment, data=data), sequences)
    notes += said
    parts = task.split(sequences, experiment, not data.test)
    notes += told_of_rare(sequences, parts, experiment.split)
    parts = with_own_files(parts, data, task.name, notes)
    notes += told_of_few_groups(parts)
    if task.settle_by_train is not None:
        experiment, said = task.settle_by_train(experiment, parts.train)
        notes += said
    preparation, said = task.prepare(parts.train, experiment)
    notes += said

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
    test = examples(parts.test, "test")
    if test is not None and experiment.evaluation.metric != "auto":
        # A name that is wrong is better known now than after the training.
        chosen_measure(task.measures(test, preparation, experiment), experiment.evaluation.metric)
    keras.utils.set_random_seed(experiment.training.seed)
    network = build(task.shapes(train, preparation), experiment.network, own, task=task.name)
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
        examples(parts.validation, "validation"),
        test,
        network,
        notes,
        time.perf_counter() - began,
    )


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


def judge_simple(ready: Ready) -> tuple[dict[str, Any], list[Baseline], tuple[str, float]]:
    """Fit the baselines, and find which does best on the validation part, and how well."""
    task, preparation = ready.task, ready.preparation
    state = task.fit_baselines(ready.train, ready.validation, preparation)
    rules = task.baselines(state, preparation, ready.train)
    if ready.validation is None:
        return state, rules, ("", float("nan"))
    some = ready.validation
    scores = [
        (rule.name, task.watched(rule.answer(some), some, preparation))
        for rule in rules
        if not rule.costly
    ]
    # A baseline may have nothing to say in terms of what is watched in training.
    scores = [one for one in scores if not math.isnan(one[1])] or [("", math.nan)]
    order = -1 if task.watched_higher else 1
    return state, rules, min(scores, key=lambda one: order * one[1])


def learn(ready: Ready, best: tuple[str, float], watch: Watch | None) -> History:
    """Compile and fit the network; one that came compiled keeps its own loss and optimizer."""
    if not ready.network.compiled:
        compile_network(ready.network, ready)
    task, settings = ready.task, ready.experiment.training
    progress = Progress(
        settings.epochs,
        0,
        task.watched_name,
        task.watched_higher,
        baseline=best[0],
        baseline_value=best[1],
    )
    return training.fit(
        ready.network,
        ready.train,
        ready.validation,
        settings,
        padded=ready.preparation.padded,
        progress=progress,
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
    loss, metrics = LEARNERS[preparation.task].objective(experiment, preparation)
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
    (state, rules), task, some = simple, ready.task, ready.test
    given = outputs(ready, some, preparation)
    answer = task.answer(given, some, preparation, state)
    alone = answer_alone(given, some, task, preparation)
    judged = evaluate(
        answer, some, task, preparation, ready.experiment, baselines=rules, alone=alone
    )
    shown = LEARNERS[task.name].shown(ready.network, preparation, ready.experiment)
    return replace(judged, details=judged.details | shown)


def outputs(ready: Ready, some: Examples, preparation: Preparation) -> Any:
    """What the network says of all examples, as the task's `answer` reads it."""
    ask = LEARNERS[ready.task.name].outputs
    return ask(ready.network, some, preparation, ready.experiment)


def _metrics(
    ready: Ready,
    history: History,
    judged: Evaluation | None,
    seconds: dict[str, float],
    best: tuple[str, float],
) -> dict[str, Any]:
    """The content of metrics.json: what `--json` prints and the report shows."""
    found: dict[str, Any] = {
        "task": ready.task.name,
        "data": _data_name(ready.experiment.data.path),
        "answer": answer_name(ready.preparation),
        "metrics": judged.metrics if judged else {},
        "alone": judged.alone if judged else {},
        "baselines": judged.baselines if judged else {},
        "verdict": judged.verdict if judged else None,
        "comparisons": judged.comparisons if judged else [],
        "seconds": seconds,
        "engine": engine.used_by(ready.network),
        "epochs": len(history.columns.get("epoch", [])),
        "best_epoch": history.best_epoch,
        "stopped": history.stopped,
        "parts": part_sizes(ready),
        "notes": ready.notes,
        "details": judged.details if judged else {},
    }
    if judged is None:
        found["unjudged"] = (
            "There was no test part, so there is no verdict."
            if ready.test is None
            else "Ctrl-C broke the judgement off, so there is no verdict."
        )
    if ready.validation is not None:
        found["validation"] = {
            "metric": f"val_{ready.task.watched_name}",
            "baseline": best[0],
            "value": best[1],
        }
    if ready.task.name == "forecast":
        scaled = ready.experiment.evaluation.scaled
        found["units_note"] = (
            "errors of scaled values" if scaled else "errors in the target's own units"
        )
    return found


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


def _save(made: Artefact, history: History, judged: Evaluation | None, *, overwrite: bool) -> None:
    assert made.folder is not None
    with artefacts.writing(made.folder, overwrite=overwrite) as draft:
        artefacts.save_parts(draft, made.experiment, made.preparation, made.network)
        artefacts.write_json(draft / artefacts.BASELINES, made.baselines)
        artefacts.write_json(draft / artefacts.METRICS, made.metrics)
        artefacts.write_json(draft / artefacts.ENVIRONMENT, artefacts.environment())
        artefacts.write_json(draft / artefacts.SPLITS, made.splits)
        pl.DataFrame(history.columns).write_csv(draft / artefacts.HISTORY)
        if judged is not None:
            (draft / artefacts.PREDICTIONS).write_text(as_csv(judged.table), encoding="utf-8")
        (draft / artefacts.REPORT).write_text(draw(read_record(draft)), encoding="utf-8")


def read_record(folder: Path) -> Record:
    """What the page is made of, from a run folder."""
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


def experiment_for(data: Any, layers: Sequence[Mapping[str, Any]]) -> tuple[Experiment, Any]:
    """Settings from several layers, the later over the earlier, over those of a shipped data set.

    Returns the experiment and the data in memory, or None where the experiment names a file.
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
    return experiment, (None if named is not None else data)


def _refuse_misspelt(named: str) -> None:
    near = get_close_matches(named, DATASETS, n=1, cutoff=0.8)
    if near and not Path(named).exists():
        raise DataError(f"There is no file {named}. Did you mean the data set '{near[0]}'?")


def target_setting(
    target: Sequence[str], layers: Sequence[Mapping[str, Any]], data: Any
) -> dict[str, Any]:
    """`--target` is what to forecast, or the label, tag or text to tell: a key of `[data]`."""
    experiment, source = experiment_for(data, layers)
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


def report(run: str | Path) -> Path:
    """Write the page of a run folder again, and return where it is.

    Raises:
        ArtefactError: the folder is damaged or incomplete.
    """
    folder = Path(run)
    artefacts.verify(folder)
    page = folder / artefacts.REPORT
    page.write_text(draw(read_record(folder)), encoding="utf-8")
    artefacts.seal(folder)
    return page


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
    if target:
        names = list(target) if isinstance(target, list | tuple) else [str(target)]
        layers.append({"data": target_setting(names, layers, data)})
    experiment, source = experiment_for(data, layers)
    folder = None if output is None else Path(output)
    return run(experiment, source, folder=folder, network=network, watch=watch, overwrite=overwrite)
