"""Small real data sets that ship with the package, so that a first run needs no file.

Where each comes from, whose it is and how its file was made: shipped/LICENSES.md.
"""

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
    settings: Mapping[str, Mapping[str, Any]]  # sections to lay under the user's own settings
    size: str  # in words
    source: str  # URL
    licence: str

    @property
    def task(self) -> str:
        """The name of the task it is for."""
        return str(self.settings["task"]["name"])


_ALL = (
    Dataset(
        name="nyc-taxi",
        title="Taxi passengers in New York City, each half hour",
        file="nyc-taxi.csv.gz",
        settings={
            "data": {"time": "timestamp", "target": ["value"]},
            "task": {"name": "forecast", "horizon": 48, "lookback": 96},
        },
        size="1 series, 10,320 steps of 30 minutes, July 2014 to January 2015",
        source="https://github.com/numenta/NAB",
        licence="MIT",
    ),
    Dataset(
        name="seattle-weather",
        title="Daily highest temperature in Seattle, with rain, lowest temperature and wind",
        file="seattle-weather.csv.gz",
        settings={
            "data": {
                "time": "date",
                "time_format": "%Y/%m/%d",
                "target": ["temp_max"],
                "past": ["precipitation", "temp_min", "wind"],
            },
            "task": {"name": "forecast", "horizon": 7, "lookback": 28},
        },
        size="1 series of 4 columns, 1,461 days, 2012 to 2015",
        source="https://github.com/vega/vega-datasets",
        licence="public domain (NOAA)",
    ),
    Dataset(
        name="japanese-vowels",
        title="Which of nine men says /ae/: 12 cepstrum coefficients a step",
        file="japanese-vowels-train.ts.gz",
        settings={
            "data": {"test": "japanese-vowels-test.ts.gz"},
            "task": {"name": "classify"},
        },
        size="270 sequences to train on and 370 to test, 7 to 29 steps of 12 columns, 9 labels",
        source="https://doi.org/10.24432/C5NS47",
        licence="CC BY 4.0",
    ),
    Dataset(
        name="digits",
        title="Handwritten digits, read row by row",
        file="digits.npz",
        settings={"task": {"name": "classify"}},
        size="1,797 images of 8 rows and 8 columns, 10 labels",
        source="https://doi.org/10.24432/C50P49",
        licence="CC BY 4.0",
    ),
    Dataset(
        name="sms-spam",
        title="Short messages, spam or not",
        file="sms-spam.tsv.gz",
        settings={
            "data": {"text": ["text"], "label": "label", "quotes": False},
            "task": {"name": "classify"},
        },
        size="5,574 messages, 747 of them spam",
        source="https://doi.org/10.24432/C5CC84",
        licence="CC BY 4.0",
    ),
    Dataset(
        name="ewt-sample",
        title="Part of speech of each word of English web texts",
        file="ewt-sample.conllu.gz",
        settings={"task": {"name": "tag"}},
        size="614 sentences of 70 documents, 9,894 words, 17 tags",
        source="https://github.com/UniversalDependencies/UD_English-EWT",
        licence="CC BY-SA 4.0",
    ),
    Dataset(
        name="shakespeare",
        title="The beginning of a run of Shakespeare's plays, to be continued",
        file="shakespeare.txt.gz",
        settings={
            "task": {"name": "language"},
            "preparation": {"tokenizer": "characters"},
            "network": {"units": [128], "dropout": 0.2},
            "training": {"epochs": 20, "learning_rate": 0.005, "schedule": "cosine"},
        },
        size="1 text, 200,376 characters in 7,563 lines",
        source="https://github.com/karpathy/char-rnn",
        licence="public domain",
    ),
    Dataset(
        name="numbers",
        title="Numbers in German words and in English words",
        file="numbers.tsv.gz",
        settings={
            "data": {"text": ["german"], "label": "english"},
            "task": {"name": "translate"},
            "preparation": {"vocabulary_size": 400},
            "training": {"epochs": 30},
        },
        size="3,897 pairs of texts, 0 to 999,997",
        source="gatewise itself; the program stands in shipped/LICENSES.md",
        licence="Apache-2.0",
    ),
    Dataset(
        name="spoken-digits",
        title="Which of three digits is said",
        file="spoken-digits.zip",
        settings={
            "data": {"pattern": "{label}_{speaker}_{take}"},
            "split": {"test_ids": r"_[01]\.flac$"},
            "task": {"name": "classify"},
        },
        size="54 recordings of zero, one or two at 8,000 Hz by 3 speakers, 21 seconds in all",
        source="https://github.com/Jakobovski/free-spoken-digit-dataset",
        licence="CC BY-SA 4.0",
    ),
    Dataset(
        name="spoken-words",
        title="What is said, letter by letter: the recordings of spoken-digits",
        file="spoken-digits.zip",
        settings={
            "data": {"pattern": "{label}_{speaker}_{take}"},
            "split": {"test_ids": r"_[01]\.flac$"},
            "task": {"name": "transcribe"},
        },
        size="54 recordings of zero, one or two at 8,000 Hz by 3 speakers, 21 seconds in all",
        source="https://github.com/Jakobovski/free-spoken-digit-dataset",
        licence="CC BY-SA 4.0",
    ),
)

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _ALL}


def datasets() -> dict[str, Dataset]:
    """The data sets that ship with gatewise, by name.

    >>> datasets()["digits"].task
    'classify'
    """
    return dict(DATASETS)


def path_of(name: str) -> Path:
    """The file of a shipped data set.

    Raises:
        DataError: no data set of that name ships with gatewise.

    >>> path_of("digits").name
    'digits.npz'
    """
    return _shipped(_known(name).file)


def located(data: Any) -> Any:
    """The file of a shipped data set where `data` is its name and no file of that name is there."""
    if isinstance(data, str) and data in DATASETS and not Path(data).exists():
        return path_of(data)
    return data


def settings_of(name: str) -> dict[str, dict[str, Any]]:
    """Its settings, with `data.path` and `data.test` as paths on this machine.

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
        hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(DATASETS)}."
        raise DataError(f"No data set '{name}' ships with gatewise. {hint}")
    return DATASETS[name]


def _shipped(file: str) -> Path:
    return Path(str(files("gatewise").joinpath("shipped", file)))
