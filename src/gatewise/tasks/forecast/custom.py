"""A forecaster of the user's own as a baseline: called once for each origin, with its past."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewise.baselines.custom import Custom, called, numbers, refuse
from gatewise.baselines.naive import residual_quantiles
from gatewise.data.batches import Examples
from gatewise.data.preparation import Preparation, level_texts
from gatewise.data.sequences import Array
from gatewise.data.windows import Windows
from gatewise.tasks.forecast.fitted import Fitted
from gatewise.tasks.task import Baseline
from gatewise.training.interrupts import checkpoint

CHECKED = 500  # origins of the validation part, from whose errors the quantiles of points follow


@dataclass(frozen=True)
class Past:
    """Everything that is known at one origin, in the units of the data.

    The arrays are copies that end at the origin, so a forecaster cannot see what it is scored on.
    """

    targets: Array  # [steps, targets], from the beginning of the series on
    names: tuple[str, ...]  # of the targets
    times: Array | None  # [steps] datetime64 or numbers; None: the data have none
    covariates: Mapping[str, Array]  # past and known covariates, each [steps], numbers or texts
    future: Mapping[str, Array]  # known covariates, each [horizon]
    future_times: Array | None  # [horizon]
    static: Mapping[str, Any]  # what is known of the series
    id: str  # of the series
    horizon: int
    season: int  # steps; 1: none
    quantiles: tuple[float, ...]  # the levels that the network predicts; (): the median alone


def custom_baseline(
    custom: Custom,
    train: Examples[Windows],
    valid: Examples[Windows] | None,
    preparation: Preparation[Fitted],
) -> Baseline[Windows, Array]:
    """The baseline that calls `forecast(past)` for each origin.

    It returns [horizon], [horizon, targets] or [horizon, targets, quantiles]. Points become
    quantiles by their errors on the validation part, as those of the other baselines.
    """
    held = valid if valid is not None and len(valid) else train
    some = np.unique(np.linspace(0, len(held) - 1, min(CHECKED, len(held))).astype(np.int64))
    points = forecasts(custom, held, preparation, some)
    levels = preparation.own.quantiles or (0.5,)
    offsets: Array = np.zeros(1)
    if points.shape[-1] < len(levels):
        source = held.source
        targets = preparation.positions(preparation.own.targets)
        actual = source.sequences.measured(
            source.steps(some, 0, source.horizon)[..., None], targets
        )
        spread = _spread(held, preparation, some)
        errors = (actual - points[..., 0]) / spread
        errors = np.where(np.isnan(errors).all(axis=0), 0.0, errors)  # never measured
        offsets = residual_quantiles(errors, np.zeros_like(errors), levels)
        if 0.5 in levels:  # the median stays the point forecast
            offsets = offsets - offsets[..., [levels.index(0.5)]]

    def predict(examples: Examples[Windows]) -> Array:
        every = np.arange(len(examples))
        made = forecasts(custom, examples, preparation, every)
        if made.shape[-1] == len(levels) > 1:
            return np.sort(made, axis=-1)
        spread = _spread(examples, preparation, every)[..., None]
        return np.asarray(made + offsets * spread)

    return Baseline(custom.name, predict, slow=True)


def _spread(examples: Examples[Windows], preparation: Preparation[Fitted], which: Array) -> Array:
    """The deviation of the targets in the series of each window, [windows, 1, targets]."""
    source = examples.source
    _, spread = preparation.scale.rows(source.sequences, source.origins)
    sequence, _ = source.places(which)
    rows: Array = spread[sequence][:, None, preparation.positions(preparation.own.targets)]
    return rows


def forecasts(
    custom: Custom, examples: Examples[Windows], preparation: Preparation[Fitted], which: Array
) -> Array:
    """The forecasts at these origins, [origins, horizon, targets, 1 or quantiles].

    Raises:
        ConfigError: the function fails, or returns something else than numbers of these shapes.
    """
    made = []
    for index in which.tolist():
        checkpoint()
        past = past_of(examples.source, index, preparation)
        made.append(_checked(custom, called(custom, past), past))
        if made[-1].shape != made[0].shape:
            raise refuse(
                custom, f"shapes {made[0].shape} and {made[-1].shape}", "the same shape each time"
            )
    return np.stack(made)


def past_of(source: Windows, index: int, preparation: Preparation[Fitted]) -> Past:
    """What is known at the origin of one window."""
    own, sequences = preparation.own, source.sequences
    [k], [origin] = source.places(np.array([index]))
    before = slice(int(sequences.first[k]), int(origin))
    after = slice(int(origin), int(origin) + source.horizon)

    def column(name: str, steps: slice) -> Array:
        values: Array = sequences.values[steps, sequences.columns.index(name)].copy()
        return level_texts(sequences, name, values) if name in sequences.levels else values

    times = sequences.times
    targets = preparation.positions(own.targets)
    return Past(
        targets=sequences.values[before][:, targets].astype(np.float64),
        names=own.targets,
        times=None if times is None else times[before].copy(),
        covariates={name: column(name, before) for name in (*own.past, *own.known)},
        future={name: column(name, after) for name in own.known},
        future_times=None if times is None else times[after].copy(),
        static={name: sequences.static[name][k] for name in own.static},
        id=str(sequences.ids[k]),
        horizon=own.horizon,
        season=own.season,
        quantiles=own.quantiles,
    )


def _checked(custom: Custom, answer: Any, past: Past) -> Array:
    """One forecast, [horizon, targets, 1 or quantiles]."""
    points = (past.horizon, len(past.names))
    shapes = [points, (*points, len(past.quantiles))] if len(past.quantiles) > 1 else [points]
    if points[1] == 1:
        shapes = [points[:1], *shapes]
    wanted = f"numbers of shape {' or '.join(map(str, shapes))}"
    values = numbers(custom, answer, wanted)
    if values.shape not in shapes:
        raise refuse(custom, f"an array of shape {values.shape}", wanted)
    if values.ndim == 3:
        return values
    return values.reshape(*points, 1)
