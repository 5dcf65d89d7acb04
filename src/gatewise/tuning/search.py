"""tune(): the trials, the winner's training, and the comparison with the untuned default."""

import json
import logging
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gatewise import engine
from gatewise.arguments import as_path, experiment_from, flags
from gatewise.data.sequences import comparable, fingerprint
from gatewise.errors import ArtefactError, ConfigError
from gatewise.judging import folding
from gatewise.judging.budget import EVALUATION, seconds_of
from gatewise.judging.budget import NAME as BUDGET
from gatewise.judging.repeats import Watch, check_repeats
from gatewise.judging.validation import FittedBaselines, monitor_of, score_baselines
from gatewise.output import inputs, lies_in, write_text
from gatewise.runs import artefact as artefacts
from gatewise.runs.artefact import as_json, finite, intact, read_json
from gatewise.runs.locks import locked
from gatewise.settings import Experiment, from_mapping, layer_of
from gatewise.tasks.ranges import Between, Choice, Space
from gatewise.training.interrupts import SKIP, STOP, Interrupts
from gatewise.training.phases import Phase
from gatewise.training.progress import Monitor
from gatewise.training.ready import Ready, make_ready
from gatewise.training.tracking import both, tracked
from gatewise.tuning import networks
from gatewise.tuning.pruning import LEAST, P
from gatewise.tuning.space import (
    SEED,
    default_of,
    described,
    inside,
    near,
    space_of,
    values_of,
)
from gatewise.tuning.state import BEST, SEARCH, SUMMARY, UNTUNED, Limits, Search, Tuned
from gatewise.tuning.study import (
    DEFAULT,
    JOURNAL,
    STARTUP,
    bind,
    claimed,
    default_trial,
    failures_in_a_row,
    finished,
    give_up_unfinished,
    has_journal,
    mend_journal,
    open_study,
    optuna,
    queue_default_again,
    refuse_lost_trials,
    trainings,
)
from gatewise.tuning.trial import attempt
from gatewise.tuning.winner import finish, reserve

log = logging.getLogger("gatewise")

MESSAGES = {
    STOP: "Stopping after this step; the trial is kept, and the best finished one, if any, judged.",
    SKIP: "The trials are kept, and none is judged.",
}
MOST_FAILURES = 20  # trials that fail in a row, after which a search ends
PAUSE = 0.5  # seconds between two looks at the trials of other processes


def tune(
    data: Any = None,
    *,
    output: str | Path,
    budget: str | float = "",
    trials: int = 0,
    task: str = "",
    target: str | Sequence[str] = (),
    horizon: int | None = None,
    lookback: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | str | Path | None = None,
    space: Mapping[str, Any] | str | Path | None = None,
    repeats: int = 1,
    processes: int = 1,
    resume: bool = False,
    watch: Watch | None = None,
    track: str = "",
) -> Tuned:
    """Search settings on the validation part, and judge the best ones on the test part.

    The first trial is the untuned default. `output/best` is the run folder of the winner. If that
    is another trial, `output/default` is the run folder of the default. Both are judged once on
    the test part. The settings that are given stay as they are, unless `space` names them.

    `output` is the folder of the search; one that exists is continued, and with `resume` a new one
    is refused. `budget` is the time for everything, such as "30m", or seconds; `trials` are the
    most trials, earlier ones included. `space` holds ranges of settings, as sections or a TOML
    file: a list of values, a table with `low`, `high` and perhaps `log`, or a single value.
    With `repeats`, each trial is trained from several seeds and scored by their mean. A trial that
    is worse than the best one over its seeds so far ends early, without a score. `processes` share
    the trials and the cores. `track` sends each epoch of each trial to a tracker: the trial with
    number n is training n + 1 if there is one seed. Everything else is as in `train`.

    Raises:
        ConfigError: neither budget nor trials are given, a range is wrong, there is no validation
            part, or `output` holds something else.
        ArtefactError: the study cannot be written, and finished trials are kept; or files of an
            earlier search in `output` are missing, damaged or of another search.
        KeyboardInterrupt: a third Ctrl-C; finished trials are kept.
    """
    optuna()
    given = flags(task, horizon=horizon, lookback=lookback, epochs=epochs, seed=seed)
    experiment, source = experiment_from(data, settings, target, given)
    folding.refuse_several(experiment, "A search trains a single network for each trial and seed.")
    if experiment.evaluation.audit == "full":
        raise ConfigError(
            "A search makes no full audit. Leave out evaluation.audit, or use gatewise train."
        )
    changes = {} if space is None else layer_of(space)
    seconds = seconds_of(budget)
    limits = Limits(time.time() + seconds if seconds else math.inf, _whole("--trials", trials, 0))
    check_repeats(repeats)
    if not (seconds or trials):
        raise ConfigError("Give --budget, such as 30m, or --trials: a search needs an end.")
    _check_processes(processes, in_memory=not experiment.data.path, track=track)
    folder = as_path(output, "output")
    _check_folder(folder, experiment, resume=resume)
    chosen = engine.accelerated(engine=experiment.engine.kind, products=experiment.engine.products)
    cores = _cores()
    following = tracked(track, folder)
    with locked(folder), chosen, _keeping(folder), following as tracker:
        watch = both(watch, tracker)
        with _only_on(cores[::processes]):
            search, baselines = _begin(
                folder, experiment, source, changes, limits, repeats, shared=processes > 1
            )
            if tracker is not None:
                tracker.trainings = trainings(search.study)
            workers = _start_workers(search, processes, cores)
            try:
                _search(search, watch, workers)
            finally:
                _end_workers(workers)
        tuned = finish(search, baselines, watch)
        if tracker is not None and tuned.run is not None:
            tracker.finish(tuned.run.artefact.experiment, tuned.run.metrics)
        return tuned


@contextmanager
def _keeping(folder: Path) -> Iterator[None]:
    """Name the search in a KeyboardInterrupt that says nothing yet; an empty folder is removed."""
    try:
        yield
    except KeyboardInterrupt as request:
        if str(request) or not (folder / JOURNAL).is_file():
            raise
        raise KeyboardInterrupt(
            f"the trials are kept in {folder}; the same command continues them."
        ) from None
    finally:
        with suppress(OSError):  # it holds something, as a search that began always does
            folder.rmdir()


def _whole(name: str, value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} must be a whole number, at least {least}. Received: {value!r}.")
    return value


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _check_processes(processes: int, *, in_memory: bool, track: str) -> None:
    _whole("--processes", processes, 1)
    if processes > 1 and track:
        raise ConfigError("--track follows one process. Leave out --processes or --track.")
    if processes > len(_cores()):
        raise ConfigError(
            f"--processes is {processes}, but this machine has {len(_cores())} cores. Every "
            "process needs one."
        )
    if processes > 1 and in_memory:
        raise ConfigError("Several processes need data in a file. Save them, or use one process.")


@contextmanager
def _only_on(cores: list[int]) -> Iterator[None]:
    """Use only these cores, in this thread and in those that it starts."""
    before = _cores()
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _check_folder(folder: Path, experiment: Experiment, *, resume: bool) -> None:
    """Refuse a folder that is not a search, or that holds what its result would replace.

    Raises:
        ConfigError: it holds something else, is an input, or cannot be made.
        ArtefactError: a file of the search or of its result is missing or damaged.
    """
    begun = (folder / SEARCH).is_file()
    if not begun and (folder / JOURNAL).is_file():
        raise ArtefactError(
            f"{folder / SEARCH}, which says what the trials in {JOURNAL} are about, is missing. "
            "Restore it from a backup, or choose another -o."
        )
    if resume and not begun:
        raise ConfigError(f"There is no search in {folder} to resume. Leave out --resume.")
    if not begun and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists and is not a search. Choose another -o.")
    if any(read.exists() and lies_in(read, folder) for read in inputs(experiment)):
        raise ConfigError(f"{folder} holds an input. Choose another -o.")
    for result in (folder / BEST, folder / UNTUNED):
        artefacts.check_replaceable(result, ())
        if result.exists() and not (result / artefacts.MANIFEST).is_file():
            raise ConfigError(
                f"{result} is not a run folder, so the result of the search would not replace it. "
                "Move it away; then the same command continues the search."
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror}.") from None


def _begin(
    folder: Path,
    experiment: Experiment,
    source: Any,
    changes: Mapping[str, Any],
    limits: Limits,
    repeats: int,
    *,
    shared: bool,
) -> tuple[Search, FittedBaselines]:
    """Prepare the data once, open the study, and state what will happen."""
    began = time.time(), time.process_time()
    with Phase("Reading the data"):
        ready = make_ready(experiment, source)
    if ready.validation is None:
        raise ConfigError(
            "A search compares trials on the validation part, and there is none. Set "
            "split.validation."
        )
    space = space_of(ready, experiment, changes)
    if repeats > 1 and SEED in space:
        raise ConfigError(
            f"--repeats trains every trial from the same seeds, so {SEED} cannot be searched. "
            "Leave out one of the two."
        )
    baselines = score_baselines(ready)
    content = finite(
        {
            "settings": asdict(experiment),
            "space": {name: asdict(one) for name, one in space.items()},
            "data": _data_of(ready),
            "repeats": repeats,
        }
    )
    write_or_compare(folder, content)
    mend_journal(folder)
    study = _continued(folder, ready, baselines.monitor, shared=shared)
    again = give_up_unfinished(study)
    queue_default_again(study)
    earlier = len(finished(study))
    if earlier or again:
        log.info(
            "Continuing the search in %s. Finished trials: %d; unfinished, so continued: %d.",
            folder,
            earlier,
            again,
        )
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(inside(defaults(space, ready), space), user_attrs={DEFAULT: True})
    fixed = [name for name, one in space.items() if len(values_of(one)) == 1]
    searched = [described(name, one) for name, one in space.items() if name not in fixed]
    log.info("Searched: %s.", "; ".join(searched))
    log.info(
        "Trials are compared by the validation %s; the first is the untuned default. %s",
        baselines.monitor.name,
        _plan(limits, time.time()),
    )
    if 1 < repeats <= LEAST:
        log.info(
            "No trial ends early by its seeds, because the test of them (p < %g) needs %d or more. "
            "--repeats %d or more can save trainings.",
            *(P, LEAST, LEAST + 1),
        )
    # On a busy machine, everything takes as many times as long as it did so far.
    slower = max(1.0, (time.time() - began[0]) / (time.process_time() - began[1]))
    evaluating = 2 * (baselines.seconds + EVALUATION * slower)
    search = Search(folder, ready, space, study, baselines.monitor, limits, repeats, evaluating)
    return search, baselines


def _plan(limits: Limits, now: float) -> str:
    ends = []
    if limits.deadline < math.inf:
        ends.append(f"All of it takes at most {limits.deadline - now:.0f} s from now")
    if limits.trials:
        ends.append(f"the search ends after {limits.trials} trials")
    sentence = "; ".join(ends)
    return f"{sentence[:1].upper()}{sentence[1:]}."


def defaults(space: Space, ready: Ready) -> dict[str, Any]:
    """The value of each setting in the untuned default."""
    return {name: default_of(name, ready.experiment) for name in space}


def _study(folder: Path, ready: Ready, monitor: Monitor, *, shared: bool, number: int = 0) -> Any:
    training = ready.experiment.training
    return open_study(
        folder,
        higher=monitor.higher_is_better,
        epochs=training.epochs,
        seed=training.seed + 1009 * number,
        shared=shared,
    )


def _continued(folder: Path, ready: Ready, monitor: Monitor, *, shared: bool) -> Any:
    """The study in the folder of a search, which must hold every trial that left a result there.

    Raises:
        ArtefactError: trials are lost, or the study is of another search.
    """
    judged = any((folder / name).exists() for name in (BEST, SUMMARY))
    left = networks.kept(folder)
    if not has_journal(folder):
        refuse_lost_trials(folder, (), left, judged=judged)
    study = _study(folder, ready, monitor, shared=shared)
    refuse_lost_trials(folder, finished(study), left, judged=judged)
    bind(study, folder, SEARCH)
    return study


def _data_of(ready: Ready) -> str:
    """A fingerprint of the training part."""
    train = ready.splits.train
    told = [fingerprint(steps) for steps in comparable(train)]
    told += [] if train.labels is None else map(str, train.labels.tolist())
    return fingerprint(np.frombuffer(json.dumps(told).encode(), np.uint8))


def write_or_compare(folder: Path, content: Any) -> None:
    """Keep what the search is about; a search that continues must be about the same.

    Raises:
        ConfigError: the folder holds another search; the message names the first difference.
        ArtefactError: the file is damaged.
    """
    path = folder / SEARCH
    content = json.loads(json.dumps(content))
    if not path.is_file():
        write_text(path, as_json(content), overwrite=True)
        return
    before = read_json(path)
    with intact(path):
        if before["data"] != content["data"]:
            raise ConfigError(f"{folder} holds a search on other training data. Choose another -o.")
        held = before.get("repeats", 1)
        if held != content["repeats"]:
            raise ConfigError(
                f"{folder} holds a search with --repeats {held}, not {content['repeats']}. Give "
                "the same --repeats, or choose another -o."
            )
        for section, keys in content["settings"].items():
            for key, value in keys.items():
                held = before["settings"].get(section, {}).get(key)
                if held != value:
                    raise ConfigError(
                        f"{folder} holds a search with {section}.{key} = {held!r}, not {value!r}. "
                        "Give the same settings, or choose another -o."
                    )
        if before["space"] != content["space"]:
            names = [*before["space"], *content["space"]]
            other = next(n for n in names if before["space"].get(n) != content["space"].get(n))
            raise ConfigError(
                f"{folder} holds a search with another range of {other}. Give the same --space, or "
                "choose another -o."
            )


def _search(search: Search, watch: Watch | None, workers: Sequence[Any] = ()) -> None:
    """Try settings until the limits, or until Ctrl-C.

    Where only the trials under way are left, a worker ends. The process that began the workers
    waits for them, because their trials may fail, and takes over what a killed one left.

    Raises:
        KeyboardInterrupt: a second Ctrl-C.
    """
    with Interrupts() as interrupts:
        interrupts.training = True
        interrupts.messages |= MESSAGES
        while not _over(search) and interrupts.level < STOP:
            trial = claimed(
                search.study,
                search.folder,
                search.limits.trials,
                prepare=lambda: _queue_near_the_default(search),
            )
            if trial is not None:
                attempt(search, trial, interrupts, watch)
            elif any(worker.poll() is None for worker in workers):
                time.sleep(PAUSE)
            elif workers:
                give_up_unfinished(search.study)
            else:
                break
    if interrupts.level >= SKIP:
        raise KeyboardInterrupt
    if interrupts.level:
        log.info("The search ends (%s).", interrupts.by)
    failed = failures_in_a_row(search.study)
    if len(failed) >= MOST_FAILURES:
        log.info(
            "The search ends, because %d trials in a row failed; the last: %s Give other settings "
            "or another --space.",
            *(len(failed), failed[-1]),
        )
    if interrupts.by == BUDGET:
        log.info("Nothing but the untuned default was tried. With more time, it continues.")


def _over(search: Search) -> bool:
    """Whether no trial may begin: the trials are used up, the time is, or all of them fail."""
    trials = finished(search.study)
    if len(failures_in_a_row(search.study)) >= MOST_FAILURES:
        return True
    if search.limits.trials and len(trials) >= search.limits.trials:
        return True
    if not trials or default_trial(search.study) is None:
        return False
    return time.time() + reserve(search) > search.limits.deadline


def _queue_near_the_default(search: Search) -> None:
    """Queue the next trial, unless one waits or the sampler has enough trials to learn from."""
    states = [one.state.name for one in search.study.get_trials(deepcopy=False)]
    if "WAITING" in states or not 0 < len(states) < STARTUP:
        return
    training = search.ready.experiment.training
    random = np.random.default_rng([training.seed, len(states)])
    values = near(defaults(search.space, search.ready), search.space, random)
    search.study.enqueue_trial(values)


def _start_workers(search: Search, processes: int, cores: list[int]) -> list[Any]:
    """Start the other processes of a search; their notes go to files in its folder."""
    workers = []
    for number in range(1, processes):
        notes = search.folder / f"process-{number}.log"
        log.info("The trials of process %d are told in %s.", number + 1, notes)
        with notes.open("a") as file:
            deadline, trials = search.limits.deadline, search.limits.trials
            share = ",".join(map(str, cores[number::processes]))
            words = [str(search.folder), str(number), share, repr(deadline), str(trials)]
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "gatewise.tuning.worker", *words],
                    stdin=subprocess.PIPE,  # its end tells the worker that this process has ended
                    stdout=file,
                    stderr=file,
                )
            )
    return workers


def _end_workers(workers: list[Any]) -> None:
    """End the other processes, which queue their unfinished trials again."""
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.wait()


def work(folder: Path, number: int, cores: list[int], limits: Limits) -> None:
    """Try settings on these cores, beside other processes of a search that one has begun."""
    content = read_json(folder / SEARCH)
    experiment = from_mapping(content["settings"])
    space: Space = {
        name: Choice(tuple(one["values"])) if "values" in one else Between(**one)
        for name, one in content["space"].items()
    }
    chosen = engine.accelerated(engine=experiment.engine.kind, products=experiment.engine.products)
    with chosen, _only_on(cores):
        ready = make_ready(experiment)
        monitor = monitor_of(ready, [])
        study = _study(folder, ready, monitor, shared=True, number=number)
        repeats = content.get("repeats", 1)
        _search(Search(folder, ready, space, study, monitor, limits, repeats, EVALUATION), None)
