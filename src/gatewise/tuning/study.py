"""The study of a search: an Optuna journal, in which every trial and every epoch is kept."""

import fcntl
import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gatewise.errors import ArtefactError
from gatewise.extras import require
from gatewise.judging.budget import NAME as BUDGET
from gatewise.runs.artefact import intact

JOURNAL, NAME = "study.journal", "gatewise"
STARTUP = 8  # trials near the default before the sampler learns from earlier ones
DEFAULT, VALUE, LOSS, SECONDS, ENDED = "default", "value", "loss", "seconds", "ended"
DESCRIPTION = "description"  # the SHA-256 of the file that says what a study is about
EACH = "each"  # the score and the loss of each seed; VALUE and LOSS are their means
# Why a trial ended early; an older search says "pruned" of the first.
BY_EPOCHS, BY_SEEDS = "pruned over epochs", "pruned over seeds"
BEGUN = "begun"  # the number under which an unfinished trial was first begun


class Journal:
    """A journal file of Optuna, whose failures name the file."""

    def __init__(self, path: Path) -> None:
        package = optuna().storages.journal
        lock = package.JournalFileOpenLock(str(path))
        self._path = path
        with self._named():
            self._file = package.JournalFileBackend(str(path), lock_obj=lock)

    def read_logs(self, log_number_from: int) -> Any:
        """The entries from this number on."""
        return self._file.read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add entries.

        Raises:
            ArtefactError: the file cannot be written.
        """
        with self._named():
            self._file.append_logs(logs)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ArtefactError(
                f"{self._path} cannot be written: {error.strerror or error}. The finished trials "
                "are kept; the same command continues the search."
            ) from None


def mend_journal(folder: Path) -> None:
    """Remove what a killed process or a full disk left of a journal that no other process uses.

    Optuna would append to a half line at its end, and then refuse the whole file. For the lock of a
    process that has ended it waits 30 seconds.
    """
    path = folder / JOURNAL
    path.with_name(f"{JOURNAL}.lock").unlink(missing_ok=True)
    if path.is_file():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


def has_journal(folder: Path) -> bool:
    """Whether there is a journal with an entry."""
    path = folder / JOURNAL
    return path.is_file() and path.stat().st_size > 0


def refuse_lost_trials(
    folder: Path, trials: Sequence[Any], left: Iterable[int], *, judged: bool
) -> None:
    """Refuse a journal that lacks a finished trial, because the search would replace its result.

    `left` are the trials whose networks there are. The journal has a trial before its network is
    written. `judged` tells whether a search has ended before, which takes a finished trial.

    Raises:
        ArtefactError: a trial is not among `trials`.
    """
    if set(left) - {one.number for one in trials} or (judged and not trials):
        raise ArtefactError(
            f"{folder / JOURNAL} lacks finished trials, whose results are in {folder}. Restore it "
            "from a backup, or choose another -o."
        )


def bind(study: Any, folder: Path, description: str) -> None:
    """Note which search a study belongs to, and refuse the study of another one.

    `description` is the name of the file that says what the search is about. A study of an older
    version has no such note yet.

    Raises:
        ArtefactError: the study was begun with another description.
    """
    digest = hashlib.sha256((folder / description).read_bytes()).hexdigest()
    if study.user_attrs.setdefault(DESCRIPTION, digest) != digest:
        raise ArtefactError(
            f"{folder / JOURNAL} and {folder / description} are of two searches. Restore the "
            "folder from a backup, or choose another -o."
        )
    study.set_user_attr(DESCRIPTION, digest)


def optuna() -> Any:
    """The package, which logs only warnings."""
    package = require("optuna", "tune", "gatewise tune")
    package.logging.set_verbosity(package.logging.WARNING)
    return package


def open_study(folder: Path, *, higher: bool, epochs: int, seed: int, shared: bool) -> Any:
    """The study in the journal of a folder, which several processes may share.

    The options of samplers and pruners are given in full, because the defaults of Optuna 4 and 5
    differ. The sampler is TPE (Bergstra et al. 2011; multivariate as of Falkner et al. 2018); the
    pruner is asynchronous successive halving (Li et al. 2020, arXiv:1810.05934).

    Raises:
        ArtefactError: the journal is damaged, or cannot be written.
    """
    package = optuna()
    pruner = package.pruners.SuccessiveHalvingPruner(
        min_resource=max(1, round(epochs / 20)),
        reduction_factor=3,
        min_early_stopping_rate=0,
        bootstrap_count=0,
    )
    with intact(folder / JOURNAL):
        study = package.create_study(
            study_name=NAME,
            storage=package.storages.JournalStorage(Journal(folder / JOURNAL)),
            sampler=package.samplers.RandomSampler(seed=seed),
            pruner=pruner,
            direction="maximize" if higher else "minimize",
            load_if_exists=True,
        )
        candidates(study, higher=higher)  # reads every trial
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", package.exceptions.ExperimentalWarning)
        study.sampler = package.samplers.TPESampler(
            n_startup_trials=STARTUP,
            n_ei_candidates=24,
            multivariate=True,
            group=False,
            constant_liar=shared,
            # After a restart, the same seed would draw the same first trials again.
            seed=seed + len(study.get_trials(deepcopy=False)),
        )
    return study


def claimed(study: Any, folder: Path, trials: int, prepare: Callable[[], None]) -> Any | None:
    """A trial to train, or None if finished and running ones are as many as `trials`; 0: no limit.

    One process at a time counts and begins a trial, so that several together begin no trial too
    many. `prepare` is called before the trial begins, and may queue one.
    """
    state = optuna().trial.TrialState
    taken = (state.COMPLETE, state.PRUNED, state.RUNNING)
    with (folder / JOURNAL).open("rb") as file:
        with suppress(OSError):  # some network file systems have no locks; locked() has said so
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
        if trials and len(study.get_trials(deepcopy=False, states=taken)) >= trials:
            return None
        prepare()
        return study.ask()


def give_up_unfinished(study: Any) -> int:
    """Queue again the trials that a killed process left unfinished; their number."""
    state = optuna().trial.TrialState
    left = study.get_trials(deepcopy=False, states=(state.RUNNING,))
    for trial in left:
        queue_again(study, trial)
    return len(left)


def queue_again(study: Any, trial: Any) -> None:
    """Give up an unfinished trial, and queue another one that continues it."""
    study.tell(trial.number, state=optuna().trial.TrialState.FAIL)
    kept = {key: value for key, value in trial.user_attrs.items() if key == DEFAULT}
    study.enqueue_trial(trial.params, user_attrs=kept | {BEGUN: begun_as(trial)})


def begun_as(trial: Any) -> int:
    """The number under which a trial was first begun: its own, or that of one given up."""
    number: int = trial.user_attrs.get(BEGUN, trial.number)
    return number


def report_again(study: Any, trial: Any, epochs: int) -> None:
    """Report the epochs that a trial has behind it, for the pruner, which compares trials by them.

    They are in the study, under the numbers that the trial had before.
    """
    reported: dict[int, float] = {}
    for one in study.get_trials(deepcopy=False):
        if one.number < trial.number and begun_as(one) == begun_as(trial):
            reported |= one.intermediate_values
    for epoch in sorted(reported):
        if epoch <= epochs:
            trial.report(reported[epoch], epoch)
            if not trial.user_attrs.get(DEFAULT):  # which passes none, so no trial is beside it
                trial.should_prune()  # notes the rungs; the trial has passed them


def finished(study: Any) -> list[Any]:
    """The trials that were trained to their end, or until they were pruned."""
    state = optuna().trial.TrialState
    found: list[Any] = study.get_trials(deepcopy=False, states=(state.COMPLETE, state.PRUNED))
    return found


def trainings(study: Any) -> int:
    """The trainings of the finished trials: one for each seed."""
    return sum(max(1, len(one.user_attrs.get(EACH, ()))) for one in finished(study))


def failures_in_a_row(study: Any) -> list[str]:
    """Why the trials after the last finished one failed; those that were cut off do not count."""
    state = optuna().trial.TrialState
    reasons: list[str] = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state in (state.COMPLETE, state.PRUNED):
            reasons = []
        elif trial.state == state.FAIL and ENDED in trial.user_attrs:
            reasons.append(str(trial.user_attrs[ENDED]))
    return reasons


def candidates(study: Any, *, higher: bool) -> list[Any]:
    """The trials with a score, the best first: by metric, then by loss, then the older one."""

    def rank(trial: Any) -> tuple[float, float, int]:
        value = trial.user_attrs[VALUE]
        return (-value if higher else value, trial.user_attrs[LOSS], trial.number)

    default = default_trial(study)
    scored = [
        one
        for one in finished(study)
        if one.user_attrs.get(VALUE) is not None
        and (not one.user_attrs.get(DEFAULT) or one.number == default.number)
    ]
    return sorted(scored, key=rank)


def default_trial(study: Any) -> Any:
    """The trial of the untuned default, and the last one if it was continued; None before."""
    found = [one for one in finished(study) if one.user_attrs.get(DEFAULT)]
    return found[-1] if found else None


def queue_default_again(study: Any) -> None:
    """Queue the untuned default again, which a budget ended before it was trained to its end."""
    default = default_trial(study)
    waiting = any(
        one.state.name == "WAITING" and one.user_attrs.get(DEFAULT)
        for one in study.get_trials(deepcopy=False)
    )
    if default is not None and ended_by_budget(default.user_attrs[ENDED]) and not waiting:
        kept = {DEFAULT: True, BEGUN: begun_as(default)}
        study.enqueue_trial(default.params, user_attrs=kept)


def ended_by_budget(stopped: str) -> bool:
    """Whether this is why a training ended."""
    return stopped.startswith(f"stopped by {BUDGET}")
