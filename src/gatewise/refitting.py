"""Train the judged network again on everything, for as many epochs as were best."""

import logging
from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np

from gatewise.data.sequences import Sequences
from gatewise.interrupts import STOP, Interrupts
from gatewise.networks import OWN, build
from gatewise.networks.imports import without_tensorflow
from gatewise.phases import Phase
from gatewise.ready import Ready, compile_network
from gatewise.training import History, Monitor

log = logging.getLogger("gatewise")


def refit(
    ready: Ready,
    history: History,
    learn: Callable[[Ready, Monitor, Interrupts], History],
    interrupts: Interrupts,
) -> Sequences | None:
    """Train the network of `ready` again on all parts, and return them; None if it was not.

    The preparation and the calibration stay those of the judged network. After a Ctrl-C, or if the
    loss becomes NaN, the network has the weights that were judged.
    """
    everything = _everything(ready)
    if everything is None or not history.best_epoch or interrupts.level:
        return None
    if reason := _why_not(ready):
        log.info("The network is not trained again on everything, because %s.", reason)
        return None
    task, experiment, network = ready.task, ready.experiment, ready.network
    judged = network.get_weights()
    whole = replace(
        ready,
        train=task.examples(everything, ready.preparation, experiment, "train"),
        validation=None,
    )
    with Phase("Training again on everything"):
        with without_tensorflow(keras.utils.set_random_seed):
            keras.utils.set_random_seed(experiment.training.seed)
        shapes = task.shapes(ready.train, ready.preparation)
        fresh = build(shapes, experiment.network, None, network=task.network, task=task.name)
        network.set_weights(fresh.get_weights())
        compile_network(network, whole)  # the schedule is that of all epochs
        settings = experiment.having("training", epochs=history.best_epoch)
        finished = learn(replace(whole, experiment=settings), Monitor("loss"), interrupts)
    if interrupts.level >= STOP:
        network.set_weights(judged)
        log.info("The network that was judged is kept, because the last training was interrupted.")
        return None
    history.seconds += finished.seconds
    return everything


def caveat(ready: Ready, everything: Sequences, epochs: int) -> str:
    """What was judged and what is saved."""
    share = 100 * ready.splits.train.lengths.sum() / everything.lengths.sum()
    return (
        f"Judged was a network trained on {share:.0f} % of the data. The saved one was then "
        f"trained again on all of them, for {epochs} epochs (training.refit)."
    )


def _everything(ready: Ready) -> Sequences | None:
    """All sequences of the main file; None if they are not wanted or the network has seen them."""
    settings = ready.experiment.training
    wanted = settings.refit == "yes" or (settings.refit == "auto" and settings.quality != "fast")
    known, sequences = ready.splits.train, ready.sequences
    if not wanted or ready.validation is None or ready.experiment.split.train:
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
