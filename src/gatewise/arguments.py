"""Merge settings from data sets, files, mappings and flags into one experiment."""

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from gatewise.errors import ConfigError, DataError
from gatewise.readers import conll, pairs, texts, time_columns
from gatewise.readers.archives import MARK
from gatewise.readers.datasets import DATASETS, settings_of
from gatewise.readers.sources import Opened, found, opened, placed
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings, Experiment, from_mapping, layer_of, shown
from gatewise.tasks import TASKS, hinting, task_of
from gatewise.tasks.owned import implied_task

LONGEST = 255  # bytes of a name in a path


def experiment_for(
    data: Any, layers: Sequence[Mapping[str, Any]], target: Sequence[str] = ()
) -> tuple[Experiment, Opened]:
    """Merge the layers of settings, and open the data.

    Later layers override earlier ones, and every layer overrides the settings of a shipped data
    set. `target` names what to forecast or predict: it sets a key of `[data]` and overrides all
    layers. The data are opened on first access.
    """
    experiment = Experiment()
    path = data if isinstance(data, str | Path) else None
    if data is None:
        sections = [layer.get("data", {}) for layer in layers]
        paths = [part["path"] for part in sections if isinstance(part, Mapping) and "path" in part]
        path = paths[-1] if paths else None  # later layers override earlier ones here, too
    if isinstance(path, str) and path in DATASETS and not Path(path).exists():
        own = settings_of(path)
        layers = [own, *layers, {"data": {"path": own["data"]["path"]}}]
    elif path is not None:
        _refuse_missing(str(path))
        layers = [*layers, {"data": {"path": str(path)}}]
    for layer in layers:
        experiment = from_mapping(layer, experiment)
    if path is None and data is None:
        raise ConfigError(
            "No data are given. Name a file, or a data set that `gatewise datasets` lists."
        )
    source = opened(experiment.data, None if path is not None else data)
    if target:
        layer = {"data": target_setting(target, experiment, source)}
        experiment = from_mapping(layer, experiment)
    return experiment, source


def experiment_from(
    data: Any,
    settings: Mapping[str, Any] | str | Path | None,
    target: str | Sequence[str],
    given: Mapping[str, Any],
) -> tuple[Experiment, Opened]:
    """`experiment_for` with the keywords of `gatewise.train`; `given` are those of `flags`."""
    layers = [given] if settings is None else [layer_of(settings), given]
    names = names_of(target)
    return experiment_for(data, layers, names)


def names_of(target: Any) -> list[str]:
    """The names of the targets, given as one text or as several.

    Raises:
        ConfigError: a name is not text.
    """
    if isinstance(target, str):
        return [target] if target else []
    try:
        names = list(target)
    except TypeError:
        names = [target]
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"target must be the name of a column, or a list of names. Received: {shown(target)}."
        )
    return names


def flags(
    task: str = "",
    *,
    horizon: int | None = None,
    lookback: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    quality: str | None = None,
    folds: int | None = None,
    audit: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the settings that the flags of `gatewise train` stand for."""
    given: dict[str, dict[str, Any]] = {
        "task": {
            "name": None if isinstance(task, str) and not task else task,
            "horizon": horizon,
            "lookback": lookback,
        },
        "training": {"epochs": epochs, "seed": seed, "quality": quality},
        "split": {"folds": folds},
        "evaluation": {"audit": audit},
    }
    return {
        section: {key: value for key, value in values.items() if value is not None}
        for section, values in given.items()
    }


def as_path(given: Any, name: str) -> Path:
    """The path that the argument `name` holds.

    Raises:
        ConfigError: it is not a path, or one of its names is longer than file systems allow.
    """
    if not isinstance(given, str | os.PathLike) or not str(given):
        raise ConfigError(f"{name} must be a path. Received: {shown(given)}.")
    path = Path(given)
    if "\0" in str(path) or any(len(os.fsencode(part)) > LONGEST for part in path.parts):
        hint = " Give a table in a text as pandas.read_csv(io.StringIO(text))."
        raise ConfigError(
            f"{name} = {shown(str(given))} is not a path: names have at most {LONGEST} bytes, and "
            f"none of them is 0.{hint if name == 'data' else ''}"
        )
    return path


def _refuse_missing(path: str) -> None:
    """Now, because the data are opened after Keras is imported, which takes seconds."""
    place = as_path(path.partition(MARK)[0], "data")
    near = get_close_matches(path, DATASETS, n=1, cutoff=0.8)
    if near and not place.exists():
        raise DataError(f"There is no file {path}. Did you mean the data set '{near[0]}'?")
    if not placed(place).exists():
        found(place)


def target_setting(target: Sequence[str], experiment: Experiment, source: Opened) -> dict[str, Any]:
    """The setting in `[data]` that `--target` stands for, by the task or the column's values."""
    name, data = experiment.task.name, experiment.data
    name = name or implied_task(experiment, TASKS)[0]
    if name:
        key: str = task_of(name).target
    else:
        with hinting(source):
            key = "label" if data.label or holds_texts(data, source, target[0]) else "target"
    if key == "target":
        return {key: list(target)}
    reads = [task_of(name).settings.values()] if name else []
    if len(target) > 1 and all(any("data.label_columns" in own for own in one) for one in reads):
        return {"label_columns": list(target)}
    if len(target) > 1:
        raise ConfigError(
            f"{name or 'A task with labels'} predicts one label. Received: {', '.join(target)}."
        )
    return {key: target[0]}


def holds_texts(settings: DataSettings, source: Any, column: str) -> bool:
    """True if this column holds texts, or labels of texts, instead of values over time.

    Ratings are numbers, but they are labels if the table holds reviews and no column of times.
    """
    data = opened(settings, source)
    path = data.named
    if path and (conll.holds_tokens(path) or pairs.ends_in_locale(path)):
        return True
    if data.recordings is not None:
        return True
    content = data.content(one_series=True)
    if not isinstance(content, Table):
        return False
    if content.kinds(settings.missing_values).get(column) == "text":
        return True
    names = texts.text_columns(content, replace(settings, label=column))
    return bool(names) and not time_columns.time_of(content, settings)


def free_folder(experiment: Experiment) -> Path:
    """runs/NAME, or the first of runs/NAME-2, runs/NAME-3 ... that does not exist.

    A killed run holds its name by its checkpoint, or by the one before it.
    """
    stem = Path(experiment.data.path).name.split(".")[0] or "run"
    names = (
        Path("runs") / (stem if number == 1 else f"{stem}-{number}")
        for number in itertools.count(1)
    )
    ends = ("", ".checkpoint", ".checkpoint.previous")
    return next(
        folder
        for folder in names
        if not any(folder.with_name(f"{folder.name}{end}").exists() for end in ends)
    )
