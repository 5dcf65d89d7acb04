"""The steps of new data to forecast, and those whose forecasts can be scored."""

from dataclasses import replace

import numpy as np

from gatewise.data.calendar import following
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Sequences
from gatewise.data.spacing import clear_step
from gatewise.data.windows import windows
from gatewise.errors import DataError
from gatewise.tasks.forecast.fitted import Fitted


def prediction_inputs(sequences: Sequences, preparation: Preparation[Fitted]) -> Sequences:
    """Append the steps to forecast to each series; the part covers those steps.

    Raises:
        DataError: a series is shorter than the lookback, or lacks the covariates known ahead.
    """
    targets = preparation.positions(preparation.own.targets)
    horizon, tables, times = preparation.own.horizon, [], []
    for k in range(len(sequences)):
        steps = sequences[k]
        filled = np.flatnonzero(np.isfinite(steps[:, targets]).all(axis=1))
        now = int(filled[-1]) + 1 if len(filled) else 0
        if now < preparation.own.lookback:
            raise DataError(
                f"{sequences.source}: sequence '{sequences.ids[k]}' has {now} steps with a target, "
                f"but the lookback is {preparation.own.lookback}. Give more of its past."
            )
        future = np.full((horizon, steps.shape[1]), np.nan)
        available = min(horizon, len(steps) - now)
        future[:available] = steps[now : now + available]
        known = preparation.positions(preparation.own.known)
        if len(known) and not np.isfinite(future[:, known]).all():
            raise DataError(
                f"{sequences.source}: sequence '{sequences.ids[k]}' needs {horizon} rows after its "
                f"last target with {', '.join(preparation.own.known)} filled in (they are known "
                f"ahead), but has {available}."
            )
        future[:, targets] = np.nan
        tables.append(np.concatenate([steps[:now].astype(np.float64), future]))
        if sequences.times is not None:
            past = sequences.times[sequences.starts[k] : sequences.starts[k] + now]
            step = preparation.step or clear_step(past)
            if not step and len(past) < 2:
                raise DataError(
                    f"{sequences.source}: sequence '{sequences.ids[k]}' has one row with a target, "
                    "and the times of training are irregular, so the times of its forecast "
                    "are unknown. Give two rows or more."
                )
            times.append(np.concatenate([past, following(past, step, horizon)]))
    stops = np.cumsum([len(steps) for steps in tables])
    return replace(
        sequences,
        values=np.concatenate(tables),
        filled=None,
        times=np.concatenate(times) if times else None,
        first=np.concatenate([[0], stops[:-1]]),
        starts=stops - horizon,
        stops=stops,
    )


def with_truth(
    sequences: Sequences, preparation: Preparation[Fitted]
) -> tuple[Sequences, list[str]]:
    """Cut each series after its last known target; a note counts the windows left out.

    Raises:
        DataError: every window reaches past the last known target, or no series is long enough
            for a window.
    """
    targets = preparation.positions(preparation.own.targets)
    ends = [
        start + int(np.flatnonzero(np.isfinite(steps[:, targets]).all(axis=1)).max(initial=-1)) + 1
        for start, steps in zip(sequences.starts, sequences, strict=True)
    ]
    known = sequences.between(sequences.starts, np.array(ends, dtype=np.int64))
    size = (preparation.own.lookback, preparation.own.horizon)
    whole, left = len(windows(sequences, *size)), len(windows(known, *size))
    if whole and not left:
        raise DataError(
            f"{sequences.source}: no forecast can be scored, because each of {whole} windows "
            f"reaches past the last known '{preparation.own.targets[0]}'. Give at least "
            f"{sum(size)} steps with known values (the lookback and the horizon), or use "
            "predict."
        )
    if not whole:
        raise DataError(
            f"{sequences.source}: the longest sequence has {sequences.lengths.max()} steps, but "
            f"one forecast with its truth needs {size[0]} + {size[1]} (the lookback and the "
            "horizon). Give longer sequences."
        )
    if whole == left:
        return known, []
    return known, [
        f"{whole - left} of {whole} windows reach past the last known "
        f"'{preparation.own.targets[0]}' and are not scored"
    ]
