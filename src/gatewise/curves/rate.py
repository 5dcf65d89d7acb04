"""Validation loss while the learning rate rises: the range test of Smith (2017)."""

import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from gatewise.data.batches import Examples
from gatewise.data.subsets import evenly_spaced
from gatewise.errors import ConfigError
from gatewise.training.feed import Feed, as_data, steps_of
from gatewise.training.fit import reset_states
from gatewise.training.interrupts import STOP, Interrupts
from gatewise.training.ready import Ready, compile_network, with_rate

log = logging.getLogger("gatewise")

LOW, HIGH = 1e-3, 1e3  # of the default learning rate
POINTS = 25  # four in each factor of ten
EPOCHS = 2  # of training over all points, at least
LEAST_STEPS = 4  # of each point
MOST_VALIDATED = 1000  # examples of the validation part, evenly spread
FALL = 0.1  # the share of the whole fall of the loss at which the fall begins


def losses_by_rate(ready: Ready, interrupts: Interrupts) -> dict[str, Any]:
    """Train one network while the learning rate rises by a constant factor, and validate it.

    Raises:
        ConfigError: the network was compiled by the user, with an optimizer of their own.
    """
    if ready.network.compiled:
        raise ConfigError(
            "Your network is compiled already, so its learning rate cannot be changed. Do not "
            "compile it."
        )
    settings = ready.experiment.training
    default = settings.learning_rate
    compile_network(ready.network, with_rate(ready, default))
    rates = np.geomspace(default * LOW, default * HIGH, POINTS)
    each = max(
        LEAST_STEPS,
        math.ceil(
            EPOCHS * steps_of(ready.train, settings, padded=ready.preparation.padded) / POINTS
        ),
    )
    assert ready.validation is not None
    valid = _feed(ready, _spread(ready.validation), shuffled=False)
    start = _validated(ready, valid)
    points: list[dict[str, float]] = []
    stopped = ""
    batches = _endless(_feed(ready, ready.train, shuffled=True))
    for rate in rates:
        ready.network.optimizer.learning_rate = float(rate)
        ready.network.reset_metrics()
        logs: dict[str, Any] = {}
        for _ in range(each):
            interrupts.check()
            logs = ready.network.train_on_batch(*next(batches), return_dict=True)
        loss, value = float(logs["loss"]), _validated(ready, valid)
        if not (math.isfinite(loss) and math.isfinite(value)):
            log.info("learning rate %.3g: the loss is not a number", rate)
            break
        points.append({"rate": float(rate), "loss": loss, "val_loss": value})
        log.info("learning rate %.3g: loss %.4f, validation loss %.4f", rate, loss, value)
        if value > 4 * max(abs(start), 1e-6) + start:
            break
        if interrupts.level >= STOP:
            interrupts.announce()
            stopped = interrupts.by
            break
    return _content(points, start, default, each, stopped)


def _feed(ready: Ready, examples: Examples[Any], *, shuffled: bool) -> Feed:
    settings = ready.experiment.training
    return Feed(
        examples,
        settings.batch_size,
        padded=ready.preparation.padded,
        random=np.random.default_rng(settings.seed) if shuffled else None,
        steps=settings.max_tokens,
    )


def _endless(feed: Feed) -> Iterator[tuple[Any, ...]]:
    while True:
        yield from (feed[b] for b in range(len(feed)))
        feed.on_epoch_end()


def _spread(examples: Examples[Any]) -> Examples[Any]:
    """At most MOST_VALIDATED examples; all of a running text, whose batches follow each other."""
    if examples.ordered or len(examples) <= MOST_VALIDATED:
        return examples
    chosen = evenly_spaced(len(examples), MOST_VALIDATED)
    return replace(
        examples,
        lengths=examples.lengths[chosen],
        inputs=lambda indices, length: examples.inputs(chosen[indices], length),
        targets=lambda indices, *length: examples.targets(chosen[indices], *length),
        weights=None if examples.weights is None else examples.weights[chosen],
    )


def _validated(ready: Ready, valid: Feed) -> float:
    reset_states(ready.network)
    found = ready.network.evaluate(as_data(valid, shuffle=False), verbose=0, return_dict=True)
    reset_states(ready.network)
    return float(found["loss"])


def _content(
    points: list[dict[str, float]], start: float, default: float, steps: int, stopped: str
) -> dict[str, Any]:
    """The losses, and where they fall, end falling and rise above the start.

    `stopped` names what stopped the test; "": nothing did.
    """
    content: dict[str, Any] = {
        "by": "learning-rate",
        "metric": "loss",
        "remarks": [],
        "start": start,
        "default": default,
        "steps": steps,
        "points": points,
        **dict.fromkeys(("falls", "lowest", "diverges")),
    }
    if stopped:
        content["remarks"] = [
            f"{stopped} stopped the test after {len(points)} of {POINTS} learning rates."
        ]
    losses = np.array([one["val_loss"] for one in points])
    if not len(losses) or losses.min() >= start:
        content["sentence"] = (
            "The validation loss did not fall before the test was stopped."
            if stopped
            else "The validation loss falls at no learning rate. Look at the data and the network."
        )
        return content
    best = int(losses.argmin())
    fallen = losses <= start - FALL * (start - losses[best])
    content["falls"] = points[int(fallen.argmax())]["rate"]
    content["lowest"] = points[best]["rate"]
    above = np.flatnonzero(losses[best:] > start)
    content["diverges"] = points[best + int(above[0])]["rate"] if len(above) else None
    risen = (
        f"and is above its start from {content['diverges']:.2g} on"
        if content["diverges"]
        else "and does not rise above its start"
        if stopped or len(points) == POINTS
        else "and is not a number beyond the last rate"
    )
    content["sentence"] = (
        f"The validation loss falls from a learning rate of {content['falls']:.2g} on, is lowest "
        f"at {content['lowest']:.2g}, {risen}. The default is {default:.2g}."
    )
    return content
