"""What the network of `forecast` reads and predicts: arrays cut from windows, and their shapes."""

import numpy as np

from gatewise.data.batches import Examples, Shapes
from gatewise.data.calendar import calendar_features
from gatewise.data.preparation import Preparation, level_texts, one_hot
from gatewise.data.scaling import FARTHEST, refuse_far
from gatewise.data.sequences import Array, Sequences
from gatewise.data.windows import Windows
from gatewise.errors import DataError
from gatewise.tasks.forecast.fitted import Fitted


def window_examples(cut: Windows, preparation: Preparation[Fitted]) -> Examples[Windows]:
    """Inputs by name, and targets [n, horizon, targets, 1].

    Inputs are `past` [n, lookback, targets] and, if any, `covariates` [n, lookback, features],
    `future` [n, horizon, features] and `static` [n, features].
    """
    sequences = cut.sequences
    if preparation.own.calendar and sequences.times is None:
        raise DataError(
            f"{sequences.source} has no times, but the network reads "
            f"{', '.join(preparation.own.calendar)} from them. Give a table with a column of times."
        )
    centre, spread = preparation.scale.rows(sequences, cut.origins)  # [sequences, columns]
    targets = preparation.positions(preparation.own.targets)
    refuse_far(sequences, centre, spread, preparation.positions(preparation.used))
    static = _static(sequences, preparation)

    def scaled(indices: Array, start: int, stop: int, columns: Array) -> Array:
        sequence, _ = cut.places(indices)
        values = sequences.values[cut.steps(indices, start, stop)[..., None], columns]
        shifted = values - centre[sequence[:, None], columns][:, None]
        return (shifted / spread[sequence[:, None], columns][:, None]).astype(np.float32)

    def features(indices: Array, start: int, stop: int, names: tuple[str, ...]) -> Array | None:
        """Covariates and calendar features of these steps, [n, steps, features]."""
        numbers = preparation.positions(tuple(name for name in names if name in preparation.used))
        parts = [scaled(indices, start, stop, numbers)] if len(numbers) else []
        positions = cut.steps(indices, start, stop)
        for name in names:
            if name in preparation.categories:
                codes = sequences.values[positions, preparation.columns.index(name)]
                texts = level_texts(sequences, name, codes)
                known = preparation.categories[name]
                parts.append(
                    one_hot(texts, known, preparation.handle_unknown, name, sequences.source)
                )
        if preparation.own.calendar and sequences.times is not None:
            parts.append(calendar_features(sequences.times[positions], preparation.own.calendar))
        return np.concatenate(parts, axis=-1) if parts else None

    def inputs(indices: Array, _length: int) -> dict[str, Array]:
        arrays = {
            "past": scaled(indices, -cut.lookback, 0, targets),
            "covariates": features(
                indices, -cut.lookback, 0, (*preparation.own.past, *preparation.own.known)
            ),
            "future": features(indices, 0, cut.horizon, preparation.own.known),
            "static": None if static is None else static[cut.places(indices)[0]],
        }
        return {name: array for name, array in arrays.items() if array is not None}

    def targets_of(indices: Array, _length: int = 0) -> Array:
        return scaled(indices, 0, cut.horizon, targets)[..., None]

    return Examples(cut, np.broadcast_to(cut.lookback, len(cut)), inputs, targets_of)


def _static(sequences: Sequences, preparation: Preparation[Fitted]) -> Array | None:
    """Static features [sequences, features], numbers scaled and texts one-hot; None without any."""
    parts = []
    for name in preparation.own.static:
        column = sequences.static[name]
        if name in preparation.static_scale:
            centre, spread = preparation.static_scale[name]
            scaled = (column[:, None] - centre) / spread
            if (np.abs(scaled) > FARTHEST).any():
                most = column[np.abs(scaled).argmax()]
                raise DataError(
                    f"{sequences.source}: column '{name}' holds {most:g}, but its training values "
                    f"are around {centre:.3g}. Give values of the size seen in training, in the "
                    "same unit."
                )
            parts.append(scaled.astype(np.float32))
        else:
            known = preparation.categories[name]
            parts.append(
                one_hot(
                    column.astype(str), known, preparation.handle_unknown, name, sequences.source
                )
            )
    return np.concatenate(parts, axis=-1) if parts else None


def fitted_shapes(preparation: Preparation[Fitted]) -> Shapes:
    """The shapes of the inputs of `window_examples` and of the output."""
    own = preparation.own
    targets = len(preparation.positions(own.targets))

    def width(names: tuple[str, ...], more: int = 0) -> int:
        numbers = (*preparation.used, *preparation.static_scale)
        # A column that does not change is in neither, and is not read.
        return more + sum(
            1 if name in numbers else len(preparation.categories.get(name, ())) for name in names
        )

    moment = np.zeros(1, dtype="datetime64[us]")
    calendar = calendar_features(moment, own.calendar).shape[-1] if own.calendar else 0
    widths = {
        "past": (own.lookback, targets),
        "covariates": (own.lookback, width((*own.past, *own.known), calendar)),
        "future": (own.horizon, width(own.known, calendar)),
        "static": (width(own.static),),
    }
    return Shapes(
        inputs={name: size for name, size in widths.items() if size[-1]},
        output=(own.horizon, len(own.targets), max(1, len(own.quantiles))),
    )
