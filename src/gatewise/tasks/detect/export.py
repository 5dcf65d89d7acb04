"""What an export of `detect` holds: scaling, the network, the expected values and the score."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewise.data.batches import Examples
from gatewise.data.calendar import SHARES
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.exporting.program import BATCH, SERIES_INSIDE, Extension, Port, Program, series_port
from gatewise.runtime.graph import Graph
from gatewise.settings import Experiment
from gatewise.tasks.detect.examples import Scored
from gatewise.tasks.detect.fitted import Fitted
from gatewise.tasks.detect.scoring import EXPECTED, SCORE, refuse_uncalibrated


def program(
    graph: Graph,
    preparation: Preparation[Fitted],
    _experiment: Experiment,
    _state: Mapping[str, Any],
    *,
    padded: bool,
) -> Program:
    """A raw window and the values after it in; their score and the expected values out.

    Raises:
        ArtefactError: the run has no threshold.
    """
    assert not padded, "A window has no padding."
    refuse_uncalibrated(preparation.own.yardstick)
    own, extension = preparation.own, Extension(graph)
    do, constant = extension.do, extension.constant
    places = preparation.positions(preparation.used)
    waves = [f"{wave} of {one}" for one in own.calendar for wave in ("sine", "cosine")]
    # The columns of the calendar are not scaled.
    scale, count = preparation.scale, len(places)
    others = (len(scale.centre), len(waves))
    centre = np.concatenate([scale.centre[:, places], np.zeros(others)], axis=1)
    spread = np.concatenate([scale.spread[:, places], np.ones(others)], axis=1)
    steps = Port(
        "steps",
        (BATCH, own.lookback, centre.shape[1]),
        meaning="the steps before the one to score, in their own units",
        columns=(*preparation.used, *waves),
    )
    values = Port(
        "values",
        (BATCH, count),
        meaning="the step to score, in its own units",
        columns=preparation.used,
    )
    by_series = scale.by == "series"
    ports = (steps, values, *([series_port(scale)] if by_series else []))
    for port in ports:
        extension.input(port)
    shifted = do("subtract", "steps", extension.of_series(centre, 3))
    extension.feed("steps", do("divide", shifted, extension.of_series(spread, 3)))
    zero, unit_ = (extension.of_series(one[:, :count], 2) for one in (centre, spread))
    truth = do("divide", do("subtract", "values", zero), unit_)
    (x,) = extension.outputs()  # [batch, distances, columns]
    mean = np.array(own.yardstick.centre).reshape(own.distances, count)
    unbiased = do("add", x, constant(mean))
    expected = do("getitem", unbiased, key=[[None, None, None], 0])
    errors = do("subtract", do("expand_dims", truth, axis=1), unbiased)
    errors = do("reshape", errors, newshape=[0, own.distances * count])
    plain = do("matmul", errors, constant(np.array(own.yardstick.whitening)))
    score = do("sqrt", do("sum", do("square", plain), axis=-1, keepdims=True))
    return Program(
        title=f"Scores of anomalies: each step from the {own.lookback} steps before it.",
        graph=extension.result((score, do("add", do("multiply", expected, unit_), zero))),
        inputs=ports,
        outputs=(
            Port("score", (BATCH, 1), meaning="how far the step is from the expected values"),
            Port(
                "expected",
                (BATCH, count),
                meaning="the expected values, in their own units",
                columns=preparation.used,
            ),
        ),
        outside=(*_outside(own), *([SERIES_INSIDE] if by_series else [])),
        facts={
            "series": scale.ids if by_series else (),
            "threshold": own.yardstick.threshold,
            "false_alarms": own.false_alarms,
            "calibration_scores": own.yardstick.scores,
        },
    )


def _outside(own: Fitted) -> tuple[str, ...]:
    found = [
        f"A score above {own.yardstick.threshold:.6g} (`threshold` of export.json) is an alarm. "
        "The p-value is the share of `calibration_scores` and of the score itself that are at "
        "least as large.",
        f"Give exactly {own.lookback} steps without gaps, the oldest first.",
    ]
    if own.calendar:
        found.append(
            "Each row of `steps` has the calendar of the step after it: the sine and the cosine of "
            "2 pi times a share: "
            + ", ".join(f"{name} is {SHARES[name]}" for name in own.calendar)
            + ". Times are in UTC if those of the data have a zone."
        )
    return tuple(found)


def window(own: Fitted) -> int:
    """The steps of an example: those that are read, and the one that is scored."""
    return own.lookback + 1


def beside(raw: Examples[Scored]) -> dict[str, Array]:
    """The values to score, which the network does not read."""
    return {"values": raw.targets(np.arange(len(raw)))[:, 0]}


def told(answers: Array) -> tuple[Array, Array]:
    """The score and the expected values among the predictions."""
    return answers[:, SCORE : SCORE + 1], answers[:, EXPECTED:]


def unit(_preparation: Preparation[Fitted]) -> float:
    """A score counts deviations, so 1 is its unit."""
    return 1.0
