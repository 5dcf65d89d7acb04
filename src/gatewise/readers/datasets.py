"""Small real data sets that ship with the package, so that a first run needs no file.

datasets.toml describes each data set and the settings that it needs. shipped/LICENSES.md names its
authors and explains how its file was made.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from gatewise.errors import DataError


@dataclass(frozen=True)
class Dataset:
    """One shipped data set, with the settings that it needs."""

    name: str
    title: str
    file: str  # in the folder of shipped files
    settings: Mapping[str, Mapping[str, Any]]  # sections; the user's settings override them
    size: str  # in words
    source: str  # URL
    licence: str

    @property
    def task(self) -> str:
        """The name of the task that the data set is for."""
        return str(self.settings["task"]["name"])


def described(dataset: Dataset) -> dict[str, str]:
    """What `gatewise datasets` shows of a data set."""
    return {
        "title": dataset.title,
        "task": dataset.task,
        "size": dataset.size,
        "source": dataset.source,
        "licence": dataset.licence,
    }


_TABLES = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
DATASETS: dict[str, Dataset] = {
    name: Dataset(name=name, **known) for name, known in tomllib.loads(_TABLES).items()
}


def datasets() -> dict[str, Dataset]:
    """The data sets that ship with gatewise, by name.

    >>> datasets()["digits"].file
    'digits.npz'
    """
    return dict(DATASETS)


def path_of(name: str) -> Path:
    """The file of a shipped data set.

    Raises:
        DataError: no shipped data set has that name.

    >>> path_of("digits").name
    'digits.npz'
    """
    return _shipped(_known(name).file)


def located(data: Any) -> Any:
    """The file of a shipped data set if `data` is its name and no file has that name."""
    if isinstance(data, str) and data in DATASETS and not Path(data).exists():
        return path_of(data)
    return data


def settings_of(name: str) -> dict[str, dict[str, Any]]:
    """The settings of a shipped data set; `data.path` and `data.test` are paths on this machine.

    >>> settings_of("nyc-taxi")["task"]["horizon"]
    48
    """
    dataset = _known(name)
    settings = {section: dict(values) for section, values in dataset.settings.items()}
    data = settings.setdefault("data", {})
    data["path"] = str(_shipped(dataset.file))
    if "test" in data:
        data["test"] = str(_shipped(data["test"]))
    return settings


def _known(name: str) -> Dataset:
    if name not in DATASETS:
        near = get_close_matches(name, DATASETS, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Choose from: {', '.join(DATASETS)}."
        raise DataError(f"No data set '{name}' ships with gatewise. {hint}")
    return DATASETS[name]


def _shipped(file: str) -> Path:
    return Path(str(files("gatewise").joinpath("shipped", file)))
