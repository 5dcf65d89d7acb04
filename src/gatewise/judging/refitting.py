"""Train the judged network again on everything, for as many epochs as were best."""

import logging
from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np

from gatewise.data.sequences import Sequences
from gatewise.errors import DataError, TrainingError
from gatewise.judging.repeats import learn
from gatewise.settings import OWN
from gatewise.training.fit import Around
from gatewise.training.interrupts import SKIP, STOP
from gatewise.training.progress import History, Monitor
from gatewise.training.ready import Ready, compile_network, network_for, restart

log = logging.getLogger("gatewise")


KEPT = "The network that was judged is kept, because the last training {}."


def plan(ready: Ready, *, judged: str = "") -> str:
    """What happens after the network was judged, for the user to read before it starts.

    `judged` says how that happens, unless it is one network on one test part.
    """
    everything = _everything(ready)
    if everything is None:
        return ""
    if reason := _why_not(ready):
        return f"The network will not be trained again on everything, because {reason}."
    judged = judged or "One network is trained and judged on the test part."
    return (
        f"{judged} It is then trained again on everything, which takes at most "
        f"{longer(ready):.1f} times as long (--quality fast leaves that out)."
    )


def refit(
    ready: Ready,
    history: History,
    around: Around,
    compiled: Callable[[Ready], keras.Model] | None = None,
) -> Sequences | None:
    """Train the network of `ready` again on all parts, and return them; None if it was not.

    `compiled` returns another network of these layers to train, with new weights and compiled, so
    that several networks share one.

    The preparation and the calibration stay those of the judged network. After a Ctrl-C, or if the
    training fails, the network has the weights that were judged.
    """
    everything, interrupts = _everything(ready), around.interrupts
    if everything is None or not history.best_epoch or interrupts.level or _why_not(ready):
        return None
    task, experiment, network = ready.task, ready.experiment, ready.network
    judged = network.get_weights()
    epochs, seconds = history.best_epoch, expected(ready, history, compiling=compiled is None)
    count = f"{epochs} epoch{'s'[: epochs != 1]}"
    log.info("Training again on everything, for %s: about %.0f s.", count, max(seconds, 1.0))
    interrupts.messages[SKIP] = KEPT.format("is interrupted")
    shorter = experiment.having("training", epochs=epochs)
    try:
        train = task.examples(everything, ready.preparation, experiment, "train")
        whole = replace(ready, train=train, validation=None)
        if compiled is None:
            restart(network, network_for(task.shapes(ready.train, ready.preparation), experiment))
            compile_network(network, whole)  # the schedule is that of all epochs
        else:
            whole = replace(whole, network=compiled(ready))
        finished = learn(replace(whole, experiment=shorter), Monitor("loss"), around)
    except (DataError, TrainingError) as error:
        # The other parts may hold what the preparation does not know.
        network.set_weights(judged)
        log.warning("%s %s", KEPT.format("failed"), error)
        return None
    if interrupts.level >= STOP:
        network.set_weights(judged)
        return None
    network.set_weights(whole.network.get_weights())
    history.seconds += finished.seconds
    history.refit_epochs = epochs
    return everything


def expected(ready: Ready, history: History, *, compiling: bool) -> float:
    """The seconds that the last training of a network will take, by those of its first one."""
    spent = history.columns["seconds"]
    each, again = float(np.median(spent)), longer(ready)
    # The first epoch also compiled.
    first = max(0.0, spent[0] - each) if compiling and again else 0.0
    return history.best_epoch * each * again + first


def caveat(ready: Ready, everything: Sequences, epochs: list[int]) -> str:
    """What was judged and what is saved; `epochs` are those of each network's last training."""
    least, most = min(epochs), max(epochs)
    count = f"{least} to {most}" if least < most else f"{most}"
    word = "network" if len(epochs) == 1 else "networks"
    judged, saved = (
        ("a network", "was") if len(epochs) == 1 else (f"{len(epochs)} networks", "were")
    )
    return (
        f"The scores are those of {judged} trained on {100 / _ratio(ready, everything):.0f} % of "
        f"the data. The saved {word} {saved} trained again on all of them, for {count} "
        f"epoch{'s'[: most != 1]} (training.refit)."
    )


def longer(ready: Ready) -> float:
    """The most time of the last training, in that of the first; 0 if there is no last one."""
    everything = None if _why_not(ready) else _everything(ready)
    return 0.0 if everything is None else _ratio(ready, everything)


def _ratio(ready: Ready, everything: Sequences) -> float:
    """How many times as many steps there are in all parts as in the training part."""
    return float(everything.lengths.sum() / ready.splits.train.lengths.sum())


def _everything(ready: Ready) -> Sequences | None:
    """All sequences of the main file; None if they are not wanted or the network has seen them."""
    settings = ready.experiment.training
    wanted = settings.refit == "yes" or (settings.refit == "auto" and settings.quality != "fast")
    known, sequences = ready.splits.train, ready.sequences
    if not wanted or ready.experiment.split.train or None in (ready.validation, ready.test):
        return None
    rare = ready.experiment.split.rare_labels == "drop"
    if rare and sequences.labels is not None and known.labels is not None:
        sequences = sequences.chosen(np.flatnonzero(np.isin(sequences.labels, known.labels)))
    return sequences if sequences.lengths.sum() > known.lengths.sum() else None


def _why_not(ready: Ready) -> str:
    """The reason not to train again, or ""."""
    network, training = ready.experiment.network, ready.experiment.training
    if network.kind == OWN or network.vectors:
        return "its first weights are not those of this task"
    if training.schedule == "plateau":
        return "the schedule needs a validation part (training.schedule = plateau)"
    return ""
