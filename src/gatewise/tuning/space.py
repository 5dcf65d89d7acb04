"""The settings that a search may change, and the settings of one trial."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

from gatewise.errors import ConfigError
from gatewise.settings import Experiment, from_mapping
from gatewise.tasks import TASKS
from gatewise.tasks.owned import changed_settings, settings_of_run
from gatewise.tasks.ranges import LAYERS, Between, Choice, Range, Space
from gatewise.training.ready import Ready

RATE, SEED = "training.learning_rate", "training.seed"
FORM = "a list of values, a table with low, high and perhaps log = true, or a single value"


# What trials share: what they read, how they are judged, and what is forecast.
SHARED = {"data", "split", "evaluation", "report", "engine"}
SHARED |= {"training.monitor", "training.quality", "task.horizon"}


def space_of(ready: Ready, given: Experiment, changes: Mapping[str, Any]) -> Space:
    """The ranges of the task, without the settings that were given, and with `changes`.

    `given` holds the settings as the user gave them. `changes` are the sections of a space file.
    The default is a part of each range that the file does not name.

    Raises:
        ConfigError: the file names a setting that the run does not read, or a range is wrong.
    """
    experiment, train = ready.experiment, ready.train
    known = settings_of_run(experiment, ready.parts.sequences.kind, TASKS)
    known |= {LAYERS} if "network.units" in known else set()
    held = set(changed_settings(given))
    held |= {LAYERS} if "network.units" in held else set()
    ranges = {
        name: _with_default(one, default_of(name, experiment))
        for name, one in ready.task.space(experiment, len(train)).items()
        if name in known and name not in held
    }
    for section, keys in changes.items():
        if not isinstance(keys, Mapping):
            raise ConfigError(f"[{section}] of the space must hold settings. Received: {keys!r}.")
        for key, value in keys.items():
            name = f"{section}.{key}"
            if name not in known:
                raise ConfigError(_unknown(name, known, ready.task.name))
            if section in SHARED or name in SHARED:
                raise ConfigError(
                    f"The space names {name}, which must be the same for all trials: they share "
                    "the data, and their scores are compared. Give it with --set."
                )
            ranges[name] = _range(name, value)
    if all(len(values_of(one)) == 1 for one in ranges.values()):
        raise ConfigError(
            "There is nothing to search, because every setting is given. Give fewer of them, or "
            "ranges with --space."
        )
    return ranges


def _unknown(name: str, known: frozenset[str] | set[str], task: str) -> str:
    near = get_close_matches(name, sorted(known), n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"The space names {name}, which {task} does not read on these data.{hint}"


def _with_default(one: Range, default: Any) -> Range:
    if isinstance(one, Choice):
        values = one.values if default in one.values else (*one.values, default)
        return Choice(values)
    return Between(min(one.low, default), max(one.high, default), one.log)


def default_of(name: str, experiment: Experiment) -> Any:
    """The resolved value of a setting, in the form of its range."""
    if name == LAYERS:
        return len(experiment.network.units)
    section, _, key = name.partition(".")
    value = getattr(getattr(experiment, section), key)
    return value[0] if name == "network.units" else value


def _range(name: str, value: Any) -> Range:
    """The range that a space file gives to a setting.

    Raises:
        ConfigError: it is not a range, or a value is not one of the setting's.
    """
    if isinstance(value, Mapping):
        unknown = set(value) - {"low", "high", "log"}
        numbers = [value.get(key) for key in ("low", "high")]
        fit = all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers)
        log = value.get("log", False)
        if unknown or not fit or not isinstance(log, bool):
            raise ConfigError(f"{name} of the space must be {FORM}. Received: {dict(value)!r}.")
        low, high = value["low"], value["high"]
        if not low < high or (log and low <= 0):
            raise ConfigError(
                f"{name} of the space must have low below high, and above 0 with log. "
                f"Received: {dict(value)!r}."
            )
        for one in (low, high):
            check(name, one)
        return Between(low, high, log)
    values = tuple(value) if isinstance(value, list) else (value,)
    if not values or any(isinstance(one, list | Mapping) for one in values):
        raise ConfigError(f"{name} of the space must be {FORM}. Received: {value!r}.")
    for one in values:
        check(name, one)
    return Choice(values)


def check(name: str, value: Any) -> None:
    """Refuse a value that the setting does not have.

    Raises:
        ConfigError: the setting has another type, or other limits.
    """
    if name == LAYERS:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{LAYERS} must be a whole number, at least 1. Received: {value!r}.")
        return
    section, _, key = name.partition(".")
    from_mapping({section: {key: value}})


def values_of(one: Range) -> tuple[Any, ...]:
    """The values of a choice, or both ends of an interval."""
    return one.values if isinstance(one, Choice) else (one.low, one.high)


def described(name: str, one: Range) -> str:
    """A range in words, such as `training.learning_rate 0.0002 to 0.01`."""
    if isinstance(one, Choice):
        return f"{name} {', '.join(str(value).lower() for value in one.values)}"
    return f"{name} {one.low:g} to {one.high:g}"


def suggested(trial: Any, space: Space) -> dict[str, Any]:
    """The values of an Optuna trial, by name."""
    values = {}
    for name, one in space.items():
        if isinstance(one, Choice):
            values[name] = trial.suggest_categorical(name, list(one.values))
        elif isinstance(one.low, int) and isinstance(one.high, int):
            values[name] = trial.suggest_int(name, one.low, one.high, log=one.log)
        else:
            values[name] = trial.suggest_float(name, float(one.low), float(one.high), log=one.log)
    return values


def near(default: Mapping[str, Any], space: Space, random: np.random.Generator) -> dict[str, Any]:
    """Values for a trial near the default: another learning rate, and one to three other changes.

    The defaults are good already, so a point drawn from the whole space, where every setting
    differs, is rarely better (docs/log.md).
    """
    names = [name for name, one in space.items() if len(set(values_of(one))) > 1]
    others = [name for name in names if name != RATE]
    count = min(len(others), int(random.integers(1, 4)))
    changed = {RATE, *random.choice(others, count, replace=False)} if others else {RATE}
    return {
        name: _drawn(space[name], random) if name in changed else value
        for name, value in default.items()
        if name in changed or _holds(space[name], value)
    }


def _drawn(one: Range, random: np.random.Generator) -> Any:
    if isinstance(one, Choice):
        return one.values[int(random.integers(len(one.values)))]
    if isinstance(one.low, int) and isinstance(one.high, int):
        return int(random.integers(one.low, one.high + 1))
    if one.log:
        return float(np.exp(random.uniform(np.log(one.low), np.log(one.high))))
    return float(random.uniform(one.low, one.high))


def inside(default: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The defaults that their ranges hold."""
    return {name: value for name, value in default.items() if _holds(space[name], value)}


def _holds(one: Range, value: Any) -> bool:
    if isinstance(one, Choice):
        return value in one.values
    return bool(one.low <= value <= one.high)


def with_values(experiment: Experiment, values: Mapping[str, Any]) -> Experiment:
    """The experiment with the values of a trial."""
    sections: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, _, key = name.partition(".")
        sections.setdefault(section, {})[key] = value
    layers = sections.get("network", {}).pop("layers", 0)
    if "units" in sections.get("network", {}):
        sections["network"]["units"] = [sections["network"]["units"]] * max(layers, 1)
    elif layers and experiment.network.units:
        sections["network"]["units"] = [experiment.network.units[0]] * layers
    return from_mapping(sections, experiment)
