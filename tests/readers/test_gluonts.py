"""Series of GluonTS and DeepAR: a row for each, with a start, a frequency and a target."""

import json

import numpy as np
import pytest

from gatewise.errors import DataError
from gatewise.readers.gluonts import UNITS
from gatewise.readers.sources import opened
from gatewise.settings import DataSettings
from gatewise.tasks import guess_task, read

TARGETS = [[float(7 * k % 11) for k in range(40)], [float(5 * k % 13) for k in range(30)]]


def written(path, *rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def series(**more):
    starts = ("2020-01-31 00:00:00", "2021-02-01")
    return [
        {"start": start, "target": target} | more
        for start, target in zip(starts, TARGETS, strict=True)
    ]


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_a_row_becomes_the_steps_of_a_series_with_their_times(tmp_path, suffix):
    rows = [row | {"item_id": name} for row, name in zip(series(freq="D"), "ab", strict=True)]
    path = written(tmp_path / f"train{suffix}", *rows)
    assert guess_task(DataSettings(), path)[0] == "forecast"
    sequences, settings, notes = read(DataSettings(), path, task="forecast")
    assert (settings.time, settings.id, settings.target) == (("time",), ("item_id",), ("target",))
    assert sequences.ids.tolist() == ["a", "b"]
    for found, target in zip(sequences, TARGETS, strict=True):
        np.testing.assert_array_equal(found[:, 0], target)
    assert str(sequences.times[1])[:10] == "2020-02-01"
    assert str(sequences.times[40])[:10] == "2021-02-01"
    assert "each row is a series of 'target' from 'start' on, 'freq' apart" in notes


@pytest.mark.parametrize(
    ("frequency", "second"),
    [
        *(("15min", "2020-01-31T00:15"), ("2H", "2020-01-31T02:00"), ("W-SUN", "2020-02-07T00:00")),
        *(("M", "2020-02-29T00:00"), ("QE-DEC", "2020-04-30T00:00"), ("YS", "2021-01-31T00:00")),
    ],
)
def test_a_frequency_has_the_names_of_pandas(tmp_path, frequency, second):
    table = opened(DataSettings(), written(tmp_path / "a.jsonl", *series(freq=frequency))).content()
    assert str(table.sample["time"].to_numpy()[1])[:16] == second


def test_without_a_frequency_steps_are_counted(tmp_path):
    sequences, settings, notes = read(
        DataSettings(), written(tmp_path / "a.jsonl", *series()), task="forecast"
    )
    assert settings.time == ("time",)
    assert sequences.times[:3].tolist() == [0, 1, 2]
    assert any("no 'freq' says how far" in note for note in notes)


def test_features_stand_beside_the_target_and_missing_values_are_empty(tmp_path):
    first, second = series(freq="h", feat_static_cat=[3, 1])
    first |= {"feat_dynamic_real": [list(range(45)), [0.5] * 45]}  # known for five steps more
    second |= {"feat_dynamic_real": [list(range(30)), [0.5] * 30]}
    second["target"] = [1.0, "NaN", None, *second["target"][3:]]
    table = opened(DataSettings(), written(tmp_path / "a.jsonl", first, second)).content()
    assert table.columns == [
        *("item_id", "time", "target", "feat_dynamic_real 1", "feat_dynamic_real 2"),
        *("feat_static_cat 1", "feat_static_cat 2"),
    ]
    assert table.sample.height == 70
    assert table.sample["target"].to_list()[40:44] == [1.0, None, None, TARGETS[1][3]]
    assert table.sample["feat_static_cat 1"].unique().to_list() == [3.0]
    assert any("'feat_dynamic_real' reaches past the end" in note for note in table.notes)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"freq": "fortnight"}, "'freq' 'fortnight' is not known. .*such as 15min"),
        ({"freq": "D", "start": "soon"}, r"series 2 begins at 'soon', which is no ISO"),
        ({"freq": "D", "target": ["a"]}, r"series 2: 'target' must hold numbers"),
        (
            {"freq": "D", "dynamic_feat": [[1, 2]]},
            r"series 2 has 2 steps of 'dynamic_feat', but 30",
        ),
    ],
)
def test_what_does_not_fit_is_a_sentence(tmp_path, change, match):
    first, second = series(freq="D")
    path = written(tmp_path / "a.jsonl", first, second | change)
    with pytest.raises(DataError, match=match):
        read(DataSettings(), path, task="forecast")


def test_every_unit_is_one_of_polars():
    assert {unit for _, unit in UNITS.values()} <= {"s", "m", "h", "d", "w", "mo", "y"}
