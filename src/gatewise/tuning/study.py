"""The study of a search: an Optuna journal, in which every trial and every epoch is kept."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gatewise.artefact import intact
from gatewise.errors import ArtefactError
from gatewise.extras import require

JOURNAL, NAME = "study.journal", "gatewise"
STARTUP = 8  # trials near the default before the sampler learns from earlier ones
DEFAULT, VALUE, LOSS, SECONDS, ENDED = "default", "value", "loss", "seconds", "ended"


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
    """Remove the half line that a killed process or a full disk left at the end of the journal.

    Optuna would append to that line, and then refuse the whole file. No other process may use it.
    """
    path = folder / JOURNAL
    if path.is_file():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


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


def give_up_unfinished(study: Any) -> int:
    """Queue again the trials that a killed process left unfinished; their number."""
    state = optuna().trial.TrialState
    left = study.get_trials(deepcopy=False, states=(state.RUNNING,))
    for trial in left:
        study.tell(trial.number, state=state.FAIL)
        kept = {key: value for key, value in trial.user_attrs.items() if key == DEFAULT}
        study.enqueue_trial(trial.params, user_attrs=kept)
    return len(left)


def finished(study: Any) -> list[Any]:
    """The trials that were trained to their end, or until they were pruned."""
    state = optuna().trial.TrialState
    found: list[Any] = study.get_trials(deepcopy=False, states=(state.COMPLETE, state.PRUNED))
    return found


def candidates(study: Any, *, higher: bool) -> list[Any]:
    """The trials with a score, the best first: by metric, then by loss, then the older one."""

    def rank(trial: Any) -> tuple[float, float, int]:
        value = trial.user_attrs[VALUE]
        return (-value if higher else value, trial.user_attrs[LOSS], trial.number)

    scored = [one for one in finished(study) if one.user_attrs.get(VALUE) is not None]
    return sorted(scored, key=rank)


def default_trial(study: Any) -> Any:
    """The trial of the untuned default; None before it is finished."""
    return next((one for one in finished(study) if one.user_attrs.get(DEFAULT)), None)
