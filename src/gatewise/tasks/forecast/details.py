"""The details of `forecast` for its report: errors by step and series, coverage, examples."""

from typing import Any

import numpy as np

from gatewise.data.batches import Examples
from gatewise.data.calendar import in_zone
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array
from gatewise.data.windows import Windows
from gatewise.settings import Experiment
from gatewise.tasks import quantiles
from gatewise.tasks.forecast import blend
from gatewise.tasks.forecast.fitted import Fitted
from gatewise.tasks.forecast.values import filled_in, mean, point, scale_of, truth


def details(
    by_model: dict[str, Array],
    examples: Examples[Windows],
    preparation: Preparation[Fitted],
    experiment: Experiment,
) -> dict[str, Any]:
    """Errors by step and by series, coverage by interval, and example forecasts.

    `by_model` holds the predictions of the network, of a blend and of the baselines.
    """
    actual = truth(examples, preparation)
    errors = {
        model: np.abs(actual - point(predicted, preparation))
        for model, predicted in by_model.items()
    }
    name = blend.model_name(preparation)
    predictions = by_model[name]
    levels = preparation.own.quantiles
    known = ~np.isnan(actual)
    source = examples.source
    return {
        "season": preparation.own.season,
        "horizon": preparation.own.horizon,
        "lookback": preparation.own.lookback,
        "quantiles": list(levels),
        "targets": list(preparation.own.targets),
        "origins": len(examples),
        "filled": filled_in(source, preparation),
        "by_horizon": {"step": list(range(1, preparation.own.horizon + 1))}
        | {model: mean(error, axis=(0, 2)).tolist() for model, error in errors.items()},
        "share": preparation.own.share if preparation.own.blend == "ridge" else 0.0,
        "by_series": _by_series(errors, examples, preparation),
        "coverage": quantiles.coverage_of_bands(actual[known], predictions[known], levels),
        "examples": _shown(
            predictions, errors[name], examples, preparation, experiment.report.examples
        ),
    }


def _by_series(
    errors: dict[str, Array], examples: Examples[Windows], preparation: Preparation[Fitted]
) -> dict[str, Any]:
    """Mean absolute error of each series and target, or of the 30 worst ones."""
    source = examples.source
    sequence, _ = source.places(np.arange(len(source)))
    errors_by_label = {}
    for k in np.unique(sequence):
        for column, target in enumerate(preparation.own.targets):
            sequence_id, several = str(source.sequences.ids[k]), len(preparation.own.targets) > 1
            label = (
                target
                if len(source.sequences) == 1
                else f"{sequence_id} {target}"
                if several
                else sequence_id
            )
            errors_by_label[label] = {
                name: float(mean(error[sequence == k][..., column]))
                for name, error in errors.items()
            }
    worst_first = sorted(errors_by_label.items(), key=lambda item: -next(iter(item[1].values())))
    return dict(worst_first[:30]) if len(errors_by_label) > 1 else {}


def _shown(
    predictions: Array,
    error: Array,
    examples: Examples[Windows],
    preparation: Preparation[Fitted],
    count: int,
) -> list[dict[str, Any]]:
    """Example forecasts from the best to the worst, each with its past."""
    source = examples.source
    _, spread = scale_of(source, preparation)
    flat = mean(error / spread, axis=(1,))  # [windows, targets]
    order = np.argsort(flat, axis=None)[: np.isfinite(flat).sum()]  # NaN come last
    ranks = np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)
    sequences, shown = source.sequences, []
    for rank in ranks:
        window, target = np.unravel_index(order[rank], flat.shape)
        sequence, origins = source.places(np.array([window]))
        start = max(int(origins[0]) - 2 * source.horizon, int(origins[0]) - source.lookback)
        column = preparation.columns.index(preparation.own.targets[target])
        stop = int(origins[0]) + source.horizon
        times = None
        if sequences.times is not None:
            moments = in_zone(sequences.times[start:stop], sequences.zone)
            dated = moments.dtype.kind == "M"
            texts: Any = np.datetime_as_string(moments, unit="auto") if dated else moments
            times = texts.tolist()
        values = sequences.measured(np.arange(start, stop), column).tolist()
        back = int(origins[0]) - start
        shown.append(
            {
                "id": str(sequences.ids[sequence[0]]),
                "target": preparation.own.targets[target],
                "past_times": times and times[:back],
                "past": values[:back],
                "times": times and times[back:],
                "truth": values[back:],
                "quantiles": {
                    str(level): predictions[window, :, target, q].tolist()
                    for q, level in enumerate(preparation.own.quantiles or (0.5,))
                },
                "error": float(mean(error[window, :, target])),
                "kind": "best" if rank == 0 else "worst" if rank == len(order) - 1 else "typical",
            }
        )
    return shown
