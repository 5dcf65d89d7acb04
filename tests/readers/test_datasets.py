"""Shipped data sets exist, are licensed, open, and have valid settings."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gatewise.errors import DataError
from gatewise.readers.datasets import DATASETS, path_of, settings_of
from gatewise.settings import from_mapping

SHIPPED = path_of("digits").parent
FILES = sorted(file for file in SHIPPED.iterdir() if file.suffix != ".md")


def used():
    for name in DATASETS:
        data = settings_of(name)["data"]
        yield from (Path(data[key]) for key in ("path", "test") if key in data)


def test_every_file_belongs_to_a_data_set_and_the_reverse():
    assert sorted(set(used())) == FILES  # one may serve two tasks


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_licences_name_the_file_and_its_checksum(file):
    licences = (SHIPPED / "LICENSES.md").read_text(encoding="utf-8")
    assert file.name in licences
    assert hashlib.sha256(file.read_bytes()).hexdigest() in licences
    if file.suffix == ".gz":
        assert hashlib.sha256(gzip.decompress(file.read_bytes())).hexdigest() in licences


def test_all_files_together_stay_small():
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 1_200_000


@pytest.mark.parametrize("name", DATASETS)
def test_settings_are_known_to_the_experiment(name):
    experiment = from_mapping(settings_of(name))
    assert experiment.task.name == DATASETS[name].task
    assert experiment.data.path == str(path_of(name))


def test_settings_given_out_are_a_copy():
    settings_of("digits")["task"]["name"] = "forecast"
    assert settings_of("digits")["task"]["name"] == "classify"


def test_taxi_is_a_regular_half_hourly_series():
    table = pl.read_csv(gzip.decompress(path_of("nyc-taxi").read_bytes()), try_parse_dates=True)
    assert table.shape == (10_320, 2)
    assert table["timestamp"].diff().drop_nulls().unique().dt.total_minutes().to_list() == [30]


def test_all_messages_are_present():
    content = gzip.decompress(path_of("sms-spam").read_bytes()).decode()
    labels = [line.split("\t")[0] for line in content.splitlines()[1:]]
    assert (labels.count("ham"), labels.count("spam")) == (4827, 747)


def test_weather_has_the_columns_of_its_settings_and_no_gap():
    table = pl.read_csv(gzip.decompress(path_of("seattle-weather").read_bytes()))
    data = settings_of("seattle-weather")["data"]
    assert {data["time"], *data["target"], *data["past"]} <= set(table.columns)
    days = table[data["time"]].str.to_date(data["time_format"])
    assert days.diff().drop_nulls().unique().dt.total_days().to_list() == [1]
    assert table.null_count().sum_horizontal()[0] == 0


@pytest.mark.parametrize(("key", "count"), [("path", 270), ("test", 370)])
def test_vowels_have_the_published_number_of_utterances(key, count):
    packed = Path(settings_of("japanese-vowels")["data"][key]).read_bytes()
    lines = gzip.decompress(packed).decode().strip().splitlines()
    cases = lines[lines.index("@data") + 1 :]
    assert len(cases) == count
    assert {len(case.split(":")) for case in cases} == {13}  # 12 columns and the label


def test_digits_are_rows_of_pixels():
    with np.load(path_of("digits"), allow_pickle=False) as digits:
        assert digits["x"].shape == (1797, 8, 8)
        assert digits["x"].max() == 16
        assert np.bincount(digits["y"]).min() > 170


def test_a_misspelled_name_gets_a_hint():
    with pytest.raises(DataError, match="Did you mean 'nyc-taxi'"):
        path_of("nyc-taxis")
    with pytest.raises(DataError, match=r"Choose from: nyc-taxi, .*digits"):
        settings_of("weather forecast of tomorrow")
