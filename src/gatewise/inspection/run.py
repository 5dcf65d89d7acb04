"""inspect(): look inside a trained run, or any Keras model with LSTM layers."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from gatewise.data.batches import Examples
from gatewise.data.sequences import Array
from gatewise.errors import ConfigError, DataError, GatewiseError
from gatewise.inspection.attribution import Explained
from gatewise.inspection.model import (
    MOST_EXAMPLES,
    UNREADABLE,
    explained_of,
    explainer,
    inputs_of,
    layers_of,
    summary,
)
from gatewise.inspection.stateless import stateless
from gatewise.output import check_free_page, write_text
from gatewise.prediction import artefact_of
from gatewise.readers.columns import Purpose
from gatewise.readers.datasets import located
from gatewise.reporting.report import draw_inspection
from gatewise.runs.artefact import Artefact, load
from gatewise.tasks import TASKS, read
from gatewise.training.ready import validation_part

SHOWN = 3  # examples whose answers are explained, by default


def inspect(
    model: Any,
    data: Any = None,
    *,
    examples: int = SHOWN,
    page: str | Path | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """What the LSTM layers of a model do on data, and what its answers rest on.

    Args:
        model: a keras.Model with keras.layers.LSTM layers, whose stateful layers begin at zero and
            keep the states that they have; or a run folder, or what `gatewise.load` or
            `gatewise.train` returned.
        data: for a model, its inputs, [batch, steps, features] or [batch, steps] tokens, or what
            else `model.predict` takes as arrays; for a run, raw data, or None for the validation
            part of its own data.
        examples: the number of examples, spread evenly, whose answers are explained.
        page: an HTML file to write.
        overwrite: replace that file if it exists.

    Returns:
        `layers`: for each call of an LSTM layer its gates (mean and saturation), memory
        (half-lives in steps), dead and redundant units, and gradient norms by distance from the
        last step. `shown`: for each explained example integrated gradients with their completeness
        error, occlusion, and the path of the hidden state. `advice`: sentences.

    Raises:
        ConfigError: the model has no LSTM layer, or the page cannot be written.
        DataError: the data are missing, or not those of the model.
    """
    if examples < 0:
        raise ConfigError(f"examples must be at least 0. Received: {examples}.")
    path = None if page is None else Path(page)
    if path is not None:
        check_free_page(path, overwrite=overwrite)
    if isinstance(model, keras.Model):
        content = _of_model(model, data, examples)
    else:
        content = _of_run(artefact_of(model, load), data, examples)
    if path is not None:
        write_text(path, draw_inspection(content), overwrite=overwrite)
    return content


def _of_model(model: keras.Model, data: Any, count: int) -> dict[str, Any]:
    arrays = _arrays(data)
    model = stateless(model)
    total = len(_values(arrays)[0])
    spread = np.unique(np.linspace(0, total - 1, min(total, MOST_EXAMPLES)).round().astype(int))
    explained: Explained = "largest"
    batch = _rows(arrays, spread)
    for one in _values(batch):
        if not np.isfinite(one.astype(float)).all():
            raise DataError("The data hold NaN or infinite values. Replace them first.")
    try:
        if not model.built:
            model(batch, training=False)  # Keras builds it with symbols, which cannot be recorded
        layers = layers_of(model, batch, explained=explained)
    except UNREADABLE as error:
        if isinstance(error, GatewiseError):
            raise
        raise DataError(f"The model cannot read these data: {_reason(error)}") from error
    content = {
        "model": model.name,
        "data": "",
        "examples": len(spread),
        "layers": layers,
        "advice": [],
    }
    chosen = {k: _rows(arrays, np.array([k])) for k in _spread(total, count)}
    return content | _explained(model, chosen, explained=explained)


def _explained(
    model: keras.Model, chosen: dict[int, Any], *, explained: Explained, columns: Sequence[str] = ()
) -> dict[str, Any]:
    """What the answers for these examples rest on, or the reason why they are not explained."""
    shown: list[dict[str, Any]] = []
    explain = explainer(model, explained=explained, columns=columns)
    for k, inputs in chosen.items():
        try:
            found = explain(inputs)
        except ConfigError as error:
            return {"unexplained": str(error), "shown": shown}
        shown.append(found | {"example": k})
    return {"shown": shown}


def _arrays(data: Any) -> Any:
    """The inputs of a model as arrays of numbers, with the same number of examples in each.

    Raises:
        DataError: they are none.
    """
    if data is None:
        raise DataError("There are no data (None). Give the inputs of the model as arrays.")
    if isinstance(data, dict):
        arrays: Any = {name: _array(one) for name, one in data.items()}
    else:
        arrays = [_array(one) for one in data] if isinstance(data, list | tuple) else _array(data)
    counts = [len(one) for one in _values(arrays)]
    if not any(counts):
        raise DataError("There are no examples: the first axis of the data is empty.")
    if len(set(counts)) > 1:
        raise DataError(
            f"The inputs hold {', '.join(map(str, counts))} examples. Give as many in each; a list "
            "is one array for each input of the model."
        )
    return arrays


def _array(values: Any) -> Array:
    try:
        array = np.asarray(values)
        array.astype(float)
    except (ValueError, TypeError) as error:
        raise DataError(f"The data must be arrays of numbers, but {_reason(error)}.") from None
    if not array.ndim:
        raise DataError(f"The data must be arrays with an axis of examples. Received: {values!r}.")
    return array


def _reason(error: Exception) -> str:
    """The first line of a message that says more than the layer that was called."""
    lines = [re.sub(r"\x1b\[\d*m", "", line).strip() for line in str(error).splitlines()]
    told = (line for line in lines if line and not line.startswith("Exception encountered"))
    return next(told, type(error).__name__)


def _values(arrays: Any) -> list[Any]:
    if isinstance(arrays, dict):
        return list(arrays.values())
    return arrays if isinstance(arrays, list) else [arrays]


def _rows(arrays: Any, indices: Any) -> Any:
    if isinstance(arrays, dict):
        return {name: one[indices] for name, one in arrays.items()}
    return [one[indices] for one in arrays] if isinstance(arrays, list) else arrays[indices]


def _spread(total: int, count: int) -> list[int]:
    """Evenly spread positions, at most `count`."""
    spread = np.unique(np.linspace(0, total - 1, min(total, count)).round().astype(int))
    return [int(k) for k in spread]


def _of_run(artefact: Artefact, data: Any, count: int) -> dict[str, Any]:
    examples, name = _examples(artefact, data)
    task, preparation = TASKS[artefact.preparation.task], artefact.preparation
    explained = explained_of(task, preparation)
    model = artefact.network
    content = summary(
        model,
        examples,
        padded=preparation.padded,
        explained=explained,
        season=artefact.experiment.task.season,
        lookback=artefact.experiment.task.lookback,
    )
    chosen = {
        k: inputs_of(examples, model, np.array([k]), int(examples.lengths[k]))
        for k in _spread(len(examples), count)
    }
    told = _explained(model, chosen, explained=explained, columns=preparation.used)
    return {"model": str(artefact.folder or ""), "data": name, **content, **told}


def _examples(artefact: Artefact, data: Any) -> tuple[Examples[Any], str]:
    """The examples of `data`, or of the validation part, and the name of the data.

    Raises:
        DataError: the data of the run are not where they were, or hold no example.
    """
    task, experiment = TASKS[artefact.preparation.task], artefact.experiment
    if data is None:
        try:
            part, role = validation_part(experiment), "validation"
        except DataError as error:
            raise DataError(f"{error} Give the data to inspect.") from error
        name = f"the validation part of {experiment.data.path}"
    else:
        # Examples of a labelled task need no labels, but those of the others are cut with targets.
        purpose: Purpose = "predict" if task.labelled else "evaluate"
        role = "predict" if task.labelled else "validation"
        part, _, _ = read(experiment.data, located(data), task=task.name, purpose=purpose)
        if task.labelled:
            part = task.prediction_inputs(part, artefact.preparation)
        name = part.source
    examples = task.examples(part, artefact.preparation, experiment, role)
    if not len(examples):
        raise DataError(f"{name} holds no example. Give more data.")
    return examples, name
