"""The code that tasks on sequences of numbers share: fitted columns and scale, and batches."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from gatewise.data.batches import PADDING, Examples, Shapes, gather
from gatewise.data.preparation import Preparation
from gatewise.data.scaling import FARTHEST, Scale, fit_scale
from gatewise.data.sequences import Array, Sequences
from gatewise.errors import DataError
from gatewise.settings import PreparationSettings, names

# The settings of every task on sequences of numbers.
SETTINGS = names(
    data="time time_format timezone features missing duplicates gaps group",
    preparation="scale scale_by constant_columns",
)
Inputs = Callable[[Array, int], dict[str, Array]]


def fixed_length(shapes: Shapes, examples: Examples[Any], preparation: Preparation[Any]) -> Shapes:
    """The shapes with the number of steps, if the steps are numbers of one length, not padded."""
    if preparation.padded or "steps" not in shapes.inputs:
        return shapes
    steps = (int(examples.lengths[0]), *shapes.inputs["steps"][1:])
    return replace(shapes, inputs={**shapes.inputs, "steps": steps})


def fit_steps(
    train: Sequences, settings: PreparationSettings, columns: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], Scale, list[str]]:
    """The columns that change in the training part, the scale of all columns, and notes.

    `columns` are the ones to read; empty: all of them.

    Raises:
        DataError: a column holds texts, or no column ever changes.
    """
    columns = columns or train.columns
    texts = [name for name in columns if name in train.levels]
    if texts:
        raise DataError(
            f"{train.source}: column '{texts[0]}' holds texts, but must hold numbers. Leave it out "
            "of data.features."
        )
    image = train.values.dtype == np.uint8
    kind = ("minmax" if image else "standard") if settings.scale == "auto" else settings.scale
    by = ("all" if image else "column") if settings.scale_by == "auto" else settings.scale_by
    scale = fit_scale(train, kind, by)
    if image or settings.constant_columns == "keep":
        return columns, scale, []
    spans = fit_scale(train, "minmax", "column")
    moving = fit_scale(train, "standard", "column")
    steady = (spans.spread[0] == 1.0) & (moving.spread[0] == 1.0)
    constant = [
        name for name in columns if steady[train.columns.index(name)] and _is_constant(train, name)
    ]
    if constant and settings.constant_columns == "error":
        raise DataError(
            f"{train.source}: column '{constant[0]}' never changes in the training part. "
            "Remove it, or set preparation.constant_columns = drop."
        )
    used = tuple(name for name in columns if name not in constant)
    if not used:
        raise DataError(f"{train.source}: no column ever changes in the training part.")
    if not constant:
        return used, scale, []
    return used, scale, [f"Dropped columns that never change in training: {', '.join(constant)}."]


def _is_constant(train: Sequences, name: str) -> bool:
    column = train.columns.index(name)
    cells = np.concatenate([steps[:, column] for steps in train])
    known = cells[np.isfinite(cells)]
    return bool((known == known[:1]).all())


def scaled_steps(
    pieces: Sequences,
    scale: Scale,
    columns: Array,
    *,
    change: Callable[[Array], Array] | None = None,
    augment: Callable[[Array, Array], Array] | None = None,
) -> Inputs:
    """The scaled columns of the pieces, padded.

    `change` is applied before scaling, `augment` to scaled steps and their lengths.
    """
    centre, spread = scale.rows(pieces)
    exact = _precision(centre, spread)
    centre, spread = centre.astype(exact), spread.astype(exact)
    uses_all = len(columns) == len(pieces.columns)

    def inputs(indices: Array, length: int) -> dict[str, Array]:
        values, real = gather(pieces, indices, length)
        if change is not None:
            values = change(values)
        if not uses_all:
            values = values[..., columns]
        scaled = values.astype(exact)
        scaled -= centre[indices][:, None, columns]
        scaled /= spread[indices][:, None, columns]
        if augment is not None:
            scaled = augment(scaled, pieces.lengths[indices])
        if real is not None:
            scaled[~real] = PADDING
        return {"steps": scaled.astype(np.float32, copy=False)}

    return inputs


def _precision(centre: Array, spread: Array) -> type[np.floating[Any]]:
    """The type to scale values in: float32 if it can surely represent the unscaled values."""
    usual = np.abs(centre).max(initial=0.0) <= FARTHEST and spread.max(initial=1.0) <= FARTHEST
    fine = spread.min(initial=1.0) >= 1 / FARTHEST
    return np.float32 if usual and fine else np.float64
