"""Inputs of sequences of any length: steps in their own units, and lengths."""

from typing import Any

import numpy as np

from gatewise.data.batches import PADDING
from gatewise.data.preparation import Preparation
from gatewise.errors import ConfigError
from gatewise.exporting.program import BATCH, STEPS, Extension, Port


def inputs_of(extension: Extension, preparation: Preparation[Any], *, padded: bool) -> list[Port]:
    """Declare the inputs of a network over steps, and scale them.

    Raises:
        ConfigError: the steps are no numbers, or each sequence is scaled by its own steps.
    """
    if preparation.kind != "numbers":
        raise ConfigError(
            f"An export of a run on {preparation.kind} is not offered. Export its Keras model: "
            "gatewise.export(gatewise.load(RUN).model, to=...)."
        )
    if preparation.scale.by == "series":
        raise ConfigError(
            "The run scales each sequence by its own steps (preparation.scale_by = series), which "
            "an export does not do. Train with preparation.scale_by = column."
        )
    columns = preparation.positions(preparation.used)
    centre, spread = (
        extension.constant(rows[0, columns])
        for rows in (preparation.scale.centre, preparation.scale.spread)
    )
    shape = (BATCH, STEPS, len(preparation.used))
    port = Port("steps", shape, meaning="in the units of the training data",
                columns=preparation.used)  # fmt: skip
    x = extension.input(port)
    scaled = extension.do("divide", extension.do("subtract", x, centre), spread)
    if not padded:
        extension.feed("steps", scaled)
        return [port]
    lengths = Port("lengths", (BATCH,), "int64", "the number of real steps of each sequence; those"
                   " after them are ignored")  # fmt: skip
    extension.input(lengths)
    one = extension.do("ones_like", extension.do("getitem", x, key=["...", 0]), dtype="int32")
    number = extension.do("cumsum", one, axis=1)  # 1, 2, 3 ... [batch, steps]
    mask = extension.do("less_equal", number, extension.do("expand_dims", "lengths", axis=1))
    padding = extension.constant(np.float32(PADDING))
    extension.feed(
        "steps", extension.do("where", extension.do("expand_dims", mask, axis=-1), scaled, padding)
    )
    return [port, lengths]
