"""Sanity runs of a full audit: trainings that must fail, unless something tells the answer.

Shuffled targets (Ojala & Garriga 2010, JMLR 11, 1833-1863): a network that was trained on the
targets of other examples knows nothing about the truth. If it predicts the test part well, it has
learned the answers elsewhere.

Reversed time: a series with steps in reversed order is about as hard to forecast as the series
itself. If the forecast is much better in the direction of time, a covariate may know the future.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from gatewise.data.batches import Examples
from gatewise.data.sequences import Array, Sequences
from gatewise.errors import ConfigError
from gatewise.judging.audit import Finding
from gatewise.judging.repeats import learn
from gatewise.judging.validation import FittedBaselines
from gatewise.training.fit import Around
from gatewise.training.interrupts import STOP
from gatewise.training.phases import Phase
from gatewise.training.progress import Monitor
from gatewise.training.ready import Ready, network_for

log = logging.getLogger("gatewise")

LEAST_GAIN = 0.2  # the share of the baseline's error that only an answer from elsewhere removes
LEAST_RATIO = 0.5  # of the errors forwards and backwards, each relative to that of a baseline
GOLDEN = (5**0.5 - 1) / 2


def audited(ready: Ready, baselines: FittedBaselines, around: Around) -> Ready:
    """The same with the findings of the sanity runs, if the settings ask for them.

    A request to stop, as a budget makes it, leaves out the runs that are not finished.

    Raises:
        ConfigError: the task has none, or there is no test part.
    """
    if ready.experiment.evaluation.audit != "full":
        return ready
    if ready.task.sanity is None:
        raise ConfigError(f"A full audit does not apply to {ready.task.name}. Leave out --audit.")
    if ready.test is None:
        raise ConfigError("A full audit needs a test part. Set split.test, or leave out --audit.")
    found = [*_shuffled(ready, baselines, around), *_reversed(ready, around)]
    if around.interrupts.level >= STOP:
        log.warning("The full audit is not finished, because %s ended it.", around.interrupts.by)
    for finding in found:
        log.warning("%s", finding.sentence())
    return replace(ready, audit=[*ready.audit, *map(asdict, found)])


def _shuffled(ready: Ready, baselines: FittedBaselines, around: Around) -> Iterator[Finding]:
    """A finding if a network that was trained on shuffled targets predicts the test part."""
    task, test = ready.task, ready.test
    assert task.sanity is not None and test is not None
    name, metric = task.sanity.baseline, task.sanity.metric
    if not metric or task.shapes(ready.train, ready.preparation).per_step:
        log.info("Targets are not shuffled, because each step has one.")
        return
    scored = (test, ready.preparation, ready.experiment)
    rivals = [one for one in baselines.baselines if one.name == name or not (name or one.slow)]
    scores = {one.name: task.metrics(one.predict(test), *scored) for one in rivals}
    known = {one: values.get(metric, np.nan) for one, values in scores.items()}
    known = {one: value for one, value in known.items() if np.isfinite(value)}
    if not known:
        log.info("Targets are not shuffled, because no baseline has a %s.", metric)
        return
    log.info("Audit: training with shuffled targets.")
    seed = ready.experiment.training.seed
    valid = ready.validation
    score = _score(
        replace(
            ready,
            train=shuffled(ready.train, seed),
            validation=None if valid is None else shuffled(valid, seed),
        ),
        around,
    )
    if math.isnan(score):
        return
    best = min(known, key=lambda one: known[one])
    log.info(
        "Audit: test %s %.4g with shuffled targets, %.4g of %s.", metric, score, known[best], best
    )
    if score < (1 - LEAST_GAIN) * known[best]:
        yield Finding(
            "shuffled",
            f"a network that was trained on shuffled targets has a {metric} of {score:.4g} on the "
            f"test part, against {known[best]:.4g} of {best}, so it knows answers that no training "
            "target told it",
            "Look for weights that were trained on the test part, and for a network of your own "
            "(network.build) that reads the answers",
        )


def _reversed(ready: Ready, around: Around) -> Iterator[Finding]:
    """A finding if a series with covariates is much easier to forecast forwards than backwards."""
    data = ready.experiment.data
    if not (data.past or data.known):
        return
    if data.test or data.validation:
        log.info("Audit: there is no run in reversed time, because a part has a file of its own.")
        return
    log.info("Audit: training forwards and in reversed time.")
    forwards = _relative(ready, around)
    backwards = math.nan if math.isnan(forwards) else _relative(_backwards(ready), around)
    if math.isnan(backwards):
        log.info("Audit: the errors in both directions cannot be compared.")
        return
    log.info("Audit: relative error %.4g forwards, %.4g in reversed time.", forwards, backwards)
    if forwards < LEAST_RATIO * backwards:
        names = ", ".join(f"'{name}'" for name in (*data.past, *data.known))
        yield Finding(
            "reversed",
            f"forwards, the error of the network is {forwards:.2f} of that of the simplest "
            f"baseline, in reversed time {backwards:.2f}: a covariate may know the future "
            f"({names})",
            "Check that each covariate is known at its time, or leave it out; if one really runs "
            "ahead of the target, this is not a leak",
        )


def _relative(ready: Ready, around: Around) -> float:
    """The error of a network on the test part, relative to that of the first baseline.

    NaN if that baseline makes no error, or if the training was not finished.
    """
    task, test = ready.task, ready.test
    assert task.sanity is not None and test is not None
    state = task.fit_baselines(ready.train, ready.validation, ready.preparation)
    simplest = task.baselines(state, ready.preparation, ready.train)[0].predict(test)
    scores = task.metrics(simplest, test, ready.preparation, ready.experiment)
    theirs = scores[task.sanity.metric]
    return _score(ready, around) / theirs if theirs else math.nan


def _score(ready: Ready, around: Around) -> float:
    """Train a new network, and score it by itself on the test part; NaN after a request to stop."""
    task, test = ready.task, ready.test
    assert task.sanity is not None and test is not None
    shapes = task.shapes(ready.train, ready.preparation)
    ready = replace(ready, network=network_for(shapes, ready.experiment, ready.parts.own))
    if around.interrupts.level < STOP:
        learn(ready, Monitor("loss"), around)
    if around.interrupts.level >= STOP:
        return math.nan
    preparation, experiment = task.quick(ready.preparation, ready.experiment)
    with Phase("Evaluating"):
        outputs = task.network.predict(ready.network, test, preparation, experiment)
        predictions = task.postprocess(outputs, test, preparation, {})
    return task.metrics(predictions, test, preparation, experiment)[task.sanity.metric]


def shuffled(examples: Examples[Any], seed: int) -> Examples[Any]:
    """The examples with targets of each other, which are spread evenly over every target.

    With random places, some targets would agree with the truth by chance, and a network would
    learn that: in each stretch of the sorted examples, all targets occur as often as in the whole.
    """
    count = len(examples)
    order = np.random.default_rng(seed).permutation(count)
    order = order[np.argsort(_first_numbers(examples)[order], kind="stable")]
    places = np.empty(count, dtype=np.int64)
    places[order] = order[np.argsort(np.arange(count) * GOLDEN % 1)]

    def targets(indices: Array, *length: int) -> Any:
        return examples.targets(places[indices], *length)

    return replace(examples, targets=targets, weights=None)


def _first_numbers(examples: Examples[Any]) -> Array:
    """The first number of each target, by which targets are sorted, [examples]."""
    pieces = np.array_split(np.arange(len(examples)), -(-len(examples) // 4096))
    return np.concatenate(
        [np.asarray(examples.targets(one)).reshape(len(one), -1)[:, 0] for one in pieces]
    )


def _backwards(ready: Ready) -> Ready:
    """The same experiment on reversed series; times stay where they are."""
    task, experiment = ready.task, ready.experiment
    splits = task.split(backwards(ready.sequences), experiment, True)
    assert splits.test is not None
    preparation, _ = task.prepare(splits.train, experiment)
    valid = splits.validation
    held = None if valid is None else task.examples(valid, preparation, experiment, "validation")
    return replace(
        ready,
        splits=splits,
        preparation=preparation,
        train=task.examples(splits.train, preparation, experiment, "train"),
        validation=held if held is not None and len(held) else None,
        test=task.examples(splits.test, preparation, experiment, "test"),
    )


def backwards(sequences: Sequences) -> Sequences:
    """Sequences whose steps are in reversed order."""
    places = np.arange(len(sequences.values))
    for start, stop in zip(sequences.starts, sequences.stops, strict=True):
        places[start:stop] = places[start:stop][::-1]
    filled = None if sequences.filled is None else sequences.filled[places]
    return replace(sequences, values=sequences.values[places], filled=filled)
