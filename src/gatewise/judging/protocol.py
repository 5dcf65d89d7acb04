"""How a run trains and judges: one network, one for each of several seeds, or several together."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gatewise.baselines.custom import Custom
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Sequences
from gatewise.judging import backtesting, folding, refitting, seeds
from gatewise.judging.audit import copies, tell
from gatewise.judging.evaluation import Evaluation
from gatewise.judging.repeats import Trained, evaluate_on_test, learn_each, over_all_seeds
from gatewise.judging.validation import FittedBaselines, calibrate
from gatewise.readers.sources import sentence
from gatewise.training.fit import Around
from gatewise.training.progress import History
from gatewise.training.ready import Ready

log = logging.getLogger("gatewise")


class Judged(Protocol):
    """Trained networks and how they are judged; one network is saved, which may be their mean."""

    @property
    def ready(self) -> Ready:
        """The experiment with the network that is saved, and the part that is tested."""

    @property
    def history(self) -> History:
        """Its training; the seconds are those of all networks."""

    @property
    def baselines(self) -> FittedBaselines:
        """What the networks are judged beside."""

    def calibrated(self) -> Preparation[Any]:
        """The preparation that is saved, calibrated on the validation part."""

    def evaluate(self, preparation: Preparation[Any]) -> Evaluation | None:
        """The scores and the verdict; None if there is no test part."""

    def refit(self, around: Around) -> tuple[Sequences | None, list[str]]:
        """Train again on everything, and return that and sentences on it; None: it was not."""


@dataclass(frozen=True)
class Repeats:
    """One network for each seed, usually one, that are judged apart; the best comes first."""

    trained: list[Trained]
    baselines: FittedBaselines

    @property
    def ready(self) -> Ready:
        """As of `Judged`."""
        return self.trained[0].ready

    @property
    def history(self) -> History:
        """As of `Judged`."""
        return self.trained[0].history

    def calibrated(self) -> Preparation[Any]:
        """As of `Judged`."""
        return calibrate(self.ready, self.baselines)

    def evaluate(self, preparation: Preparation[Any]) -> Evaluation | None:
        """As of `Judged`; the verdict is about the mean over seeds."""
        evaluation = evaluate_on_test(self.ready, preparation, self.baselines)
        if evaluation is None or len(self.trained) == 1:
            return evaluation
        return over_all_seeds(evaluation, self.trained, self.baselines)

    def refit(self, around: Around) -> tuple[Sequences | None, list[str]]:
        """As of `Judged`; not done with several seeds, whose mean was judged."""
        if len(self.trained) > 1:
            return None, []
        seen = refitting.refit(self.ready, self.history, around)
        if seen is None:
            return None, []
        return seen, [refitting.caveat(self.ready, seen, [self.history.refit_epochs])]


def train(
    ready: Ready,
    baselines: FittedBaselines,
    around: Around,
    *,
    repeats: int = 1,
    several: bool = True,
    custom: Sequence[Custom] = (),
) -> Judged:
    """Say what is planned, and train it; without `several`, one network is judged on one part.

    The copies that the audit has found are told here, unless folds are judged, which have others.
    """
    chosen = folding.plan(ready)[0] if several and repeats == 1 else None
    if chosen is not None:
        _say([chosen.sentence])
        ensemble = folding.train_ensemble(ready, chosen, around, custom)
        if ensemble is not None:
            return ensemble
        ready = replace(ready, experiment=ready.experiment.having("split", folds=1))
    tell(copies(ready.audit))
    if repeats > 1:
        return Repeats(learn_each(ready, repeats, baselines.monitor, around), baselines)
    _say(planned(ready, several=several))
    if several and backtesting.plan(ready):
        return backtesting.train(ready, around, custom)
    if several and seeds.plan(ready):
        return seeds.train(ready, baselines, around)
    return Repeats(learn_each(ready, 1, baselines.monitor, around), baselines)


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


def _say(sentences: Sequence[str]) -> None:
    for one in sentences:
        log.info("%s", one)
