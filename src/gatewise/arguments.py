"""What is asked for, from layers of settings: a data set's own, files, mappings and flags."""

import itertools
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from gatewise.errors import ConfigError, DataError
from gatewise.readers.datasets import DATASETS, settings_of
from gatewise.readers.files import holds_texts
from gatewise.readers.sources import Opened, opened
from gatewise.settings import Experiment, from_mapping


def experiment_for(
    data: Any, layers: Sequence[Mapping[str, Any]], target: Sequence[str] = ()
) -> tuple[Experiment, Opened]:
    """Settings from several layers, the later over the earlier, over those of a shipped data set.

    `target` is what to forecast, or the label, tag or text to tell: a key of `[data]`, above all
    layers. Returns the experiment and its data, which are opened when they are first looked at.
    """
    experiment = Experiment()
    named = data if isinstance(data, str | Path) else None
    if data is None:
        sections = [layer.get("data", {}) for layer in layers]
        paths = [one["path"] for one in sections if isinstance(one, Mapping) and "path" in one]
        named = paths[-1] if paths else None  # the later over the earlier, here too
    if isinstance(named, str) and named in DATASETS and not Path(named).exists():
        own = settings_of(named)
        layers = [own, *layers, {"data": {"path": own["data"]["path"]}}]
    elif named is not None:
        _refuse_misspelt(str(named))
        layers = [*layers, {"data": {"path": str(named)}}]
    for layer in layers:
        experiment = from_mapping(layer, experiment)
    if named is None and data is None:
        raise ConfigError("No data: name a file, or a data set of `gatewise datasets`.")
    source = opened(experiment.data, None if named is not None else data)
    if target:
        told = {"data": target_setting(target, experiment, source)}
        experiment = from_mapping(told, experiment)
    return experiment, source


def _refuse_misspelt(named: str) -> None:
    near = get_close_matches(named, DATASETS, n=1, cutoff=0.8)
    if near and not Path(named).exists():
        raise DataError(f"There is no file {named}. Did you mean the data set '{near[0]}'?")


def target_setting(target: Sequence[str], experiment: Experiment, source: Opened) -> dict[str, Any]:
    """The key of `[data]` that `--target` stands for, by the task or by what the column holds."""
    name = experiment.task.name
    if not name:
        texts = holds_texts(experiment.data, source, target[0])
        name = "classify" if experiment.data.label or texts else "forecast"
    if name == "forecast":
        return {"target": list(target)}
    if len(target) > 1:
        raise ConfigError(f"{name} tells one label. Received: {', '.join(target)}.")
    return {"label": target[0]}


def free_folder(experiment: Experiment) -> Path:
    """runs/NAME, or the first runs/NAME-2, NAME-3 ... that is not there yet."""
    stem = Path(experiment.data.path).name.split(".")[0] or "run"
    names = (
        Path("runs") / (stem if number == 1 else f"{stem}-{number}")
        for number in itertools.count(1)
    )
    return next(folder for folder in names if not folder.exists())
