"""What an export of `transcribe` holds: the log probabilities of symbols; Python decodes them."""

from collections.abc import Mapping
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.data.preparation import Preparation
from gatewise.data.sequences import Array, from_arrays
from gatewise.data.steps import scaled_steps
from gatewise.exporting import steps
from gatewise.exporting.program import BATCH, STEPS, Extension, Port, Program
from gatewise.runtime.graph import Graph
from gatewise.runtime.operations import log_softmax
from gatewise.settings import Experiment
from gatewise.tasks.transcribe import decoding
from gatewise.tasks.transcribe.fitted import Fitted
from gatewise.tasks.transcribe.outputs import steps_left

DECODING = """
import json
from pathlib import Path
from decoding import Characters, decoded  # decoding.py of this folder
facts = json.loads(Path("export.json").read_text(encoding="utf-8"))
model = facts["language_model"] and Characters(**facts["language_model"])
texts = decoded({answer}, facts["classes"], lm=model, **facts["decoding"])
"""
SEARCH = (
    "The run searches with {beam_size} prefixes{model}, as `beam_search` in the decoding.py of an "
    "export to ONNX or NumPy does. Greedy decoding is quicker and a little worse."
)


def program(
    graph: Graph,
    preparation: Preparation[Fitted],
    _experiment: Experiment,
    _state: Mapping[str, Any],
    *,
    padded: bool,
) -> Program:
    """Frames in, the log probabilities of the blank and of each character out."""
    own, extension = preparation.own, Extension(graph)
    ports = steps.inputs_of(extension, preparation, padded=padded)
    (logits,) = extension.outputs()
    parts = prod(own.strides)
    answer = Port(
        "log_probabilities",
        (BATCH, STEPS if parts == 1 else f"steps_over_{parts}", len(own.classes) + 1),
        meaning="the natural logarithm of the probability of each symbol"
        + (f", for every {parts} frames" if parts > 1 else "")
        + "; behind the end of a recording the blank is certain",
        columns=("blank", *own.classes),
    )
    return Program(
        title=f"Speech recognition with {len(own.classes)} characters (CTC).",
        graph=extension.result((extension.do("log_softmax", logits, axis=-1),)),
        inputs=tuple(ports),
        outputs=(answer,),
        right_padded=True,
        outside=(*steps.outside(preparation), *_decoding(own)),
        facts={
            "classes": own.classes,
            "decoding": {"beam_size": own.beam_size, "lm_weight": own.lm_weight},
            "language_model": None if own.lm is None else asdict(own.lm),
        },
        files=(Path(decoding.__file__),),
        after=DECODING,
    )


def _decoding(own: Fitted) -> list[str]:
    """Sentences on how log probabilities become a transcript."""
    found = [
        "Greedy decoding takes the most likely symbol of each step, leaves out those that repeat "
        "the one before, and then the blanks; symbol k is character k of `classes`, counted from 1."
    ]
    if own.beam_size > 1:
        model = " and a language model of characters" if own.lm is not None else ""
        found.append(SEARCH.format(beam_size=own.beam_size, model=model))
    return found


def made_up(
    preparation: Preparation[Fitted], lengths: list[int], random: np.random.Generator
) -> dict[str, Array]:
    """Random frames with the mean and the deviation of the training part, float32."""
    columns = preparation.positions(preparation.used)
    centre, spread = (
        rows[0, columns] for rows in (preparation.scale.centre, preparation.scale.spread)
    )
    noise = random.normal(size=(len(lengths), max(lengths), len(columns)))
    return {
        "steps": (centre + spread * noise).astype(np.float32),
        "lengths": np.array(lengths, np.int64),
    }


def answers(
    network: Any, inputs: Mapping[str, Array], preparation: Preparation[Fitted]
) -> tuple[Array, ...]:
    """What the run answers, [batch, steps, symbols]."""
    frames = from_arrays(
        [rows[:count] for rows, count in zip(inputs["steps"], inputs["lengths"], strict=True)],
        columns=preparation.columns,
    )
    scaled = scaled_steps(frames, preparation.scale, preparation.positions(preparation.used))
    given = scaled(np.arange(len(frames)), int(inputs["lengths"].max()))
    return (log_softmax(np.asarray(network.predict_on_batch(given["steps"]), np.float64)),)


def answered(preparation: Preparation[Fitted], lengths: list[int]) -> list[int]:
    """The steps of the answers to recordings of this many frames."""
    return [steps_left(length, preparation.own.strides) for length in lengths]
