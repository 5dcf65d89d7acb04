"""Other step sizes are distinguished from gaps, months and daylight saving."""

import numpy as np
import polars as pl
import pytest

from gatewise.data.spacing import clear_step, refuse_other_spacing
from gatewise.errors import DataError
from gatewise.settings import DataSettings
from gatewise.tasks import read


def sequences(times, ids=None, **settings):
    table = pl.DataFrame({"time": times, "load": np.arange(len(times)) % 5.0})
    if ids is not None:
        table = table.with_columns(id=pl.Series(ids))
    found, _, notes = read(DataSettings(time=("time",), **settings), table, task="forecast")
    return found, notes


def dates(begin, unit, count=30):
    return (np.datetime64(begin, unit) + np.arange(count)).astype("M8[us]")


@pytest.mark.parametrize(
    ("step", "times"),
    [
        ("1d", dates("2024-01-01", "h")),
        ("1h", dates("2024-01-01", "D")),
        ("1d", dates("2024-01-01", "W")),
        ("1d", dates("2024-01", "M")),
        ("1mo", dates("2020-01-01", "D")),
        ("1mo", dates("2000", "Y")),
        ("1w", dates("2020-01", "M")),
        ("1i", np.arange(0, 300, 10)),
        ("0.02", np.arange(30) / 100),
    ],
)
def test_another_spacing_is_refused(step, times):
    found, _ = sequences(times)
    with pytest.raises(DataError, match=r"Resample the data to steps of .* or train a run on"):
        refuse_other_spacing(found, step)


@pytest.mark.parametrize(
    ("step", "times"),
    [
        ("1mo", dates("2023-02", "M", 2)),  # 28 days apart
        ("1mo", np.array(["2023-01-31", "2023-02-28", "2023-03-31"], dtype="M8[us]")),
        ("1y", dates("2020", "Y", 2)),  # 366 days apart
        ("3mo", dates("2023-01", "M", 12)[::3]),
        ("1w", dates("2024-01-01", "D")[::7]),
        ("0.0166667", np.round(np.arange(30) / 60, 3)),  # 60 Hz, written with three digits
        ("1", np.arange(30)),
        ("", dates("2024-01-01", "h")),  # unknown in training
        ("1d", dates("2024-01-01", "h", 1)),
    ],
)
def test_the_same_spacing_in_another_notation_is_accepted(step, times):
    refuse_other_spacing(sequences(times)[0], step)


@pytest.mark.parametrize("first", range(1, 8))
def test_two_weekends_tell_weekdays_whatever_day_is_the_first(first):
    weekdays = np.busday_offset(f"2024-01-{first:02}", np.arange(12), roll="forward")
    steps = [clear_step(weekdays[:n].astype("M8[us]")) for n in range(3, 13)]
    weeks = (weekdays - np.datetime64("2024-01-01")).astype(int) // 7
    assert steps == ["1b" if week - weeks[0] > 1 else "1d" for week in weeks[2:]]


def test_a_weekend_and_daylight_saving_do_not_change_the_spacing():
    days = dates("2024-01-05", "D", 7)
    weekdays = days[np.is_busday(days.astype("M8[D]"))]
    refuse_other_spacing(sequences(weekdays, gaps="ignore")[0], "1d")
    refuse_other_spacing(sequences(weekdays[:3], gaps="ignore")[0], "1d")
    midnights = np.array(["2024-03-30T23", "2024-03-31T22", "2024-04-01T22"], dtype="M8[us]")
    refuse_other_spacing(sequences(midnights, gaps="ignore")[0], "1d")


MIXED = np.concatenate([dates("2024-01-01", "D"), dates("2024-01", "M", 9)])
IDS = ["a"] * 30 + ["b"] * 9


@pytest.mark.parametrize("gaps", ["error", "fill"])
def test_series_with_different_spacings_are_refused(gaps):
    hourly = np.concatenate([dates("2024-01-01", "D"), dates("2024-01-01", "h", 9)])
    with pytest.raises(DataError, match="most steps are 1d apart, but those of sequence 'b' are"):
        sequences(hourly if gaps == "fill" else MIXED, IDS, gaps=gaps)


@pytest.mark.filterwarnings("error")
def test_two_equally_common_fractional_spacings_are_both_named():
    times = np.concatenate([np.arange(9) * step for step in [0.02] * 3 + [0.04] * 3])
    with pytest.raises(DataError, match=r"most steps are 0.02 apart, but .* 'd' are 0.04 apart"):
        sequences(times, np.repeat(list("abcdef"), 9).tolist())


def test_series_with_different_spacings_can_be_read_as_they_are():
    found, notes = sequences(MIXED, IDS, gaps="ignore")
    assert found.step == ""
    assert any("of sequence 'b' are 1mo apart" in note for note in notes)
    with pytest.raises(DataError, match="the steps in sequence 'b' are 1mo apart"):
        refuse_other_spacing(found, "1d")


def test_days_without_sales_are_gaps_not_a_spacing():
    sparse = dates("2024-01-01", "D")[[0, 3, 6, 7, 12, 15, 29]]
    times, ids = np.concatenate([dates("2024-01-01", "D"), sparse]), ["a"] * 30 + ["b"] * 7
    found, _ = sequences(times, ids, gaps="fill", missing="zero")
    assert found.lengths.tolist() == [30, 30]
    assert found.step == "1d"


TENTHS = np.datetime64("2024-03-01T10:00", "us") + 100_000 * np.arange(500)
SHAKEN = TENTHS + np.random.default_rng(0).integers(-3000, 3001, 500)
JITTER = (SHAKEN - TENTHS)[:90].astype(int)


@pytest.mark.parametrize(
    ("times", "step"),
    [
        (SHAKEN, "100ms"),
        (np.datetime64("2024-01-01", "us") + np.arange(90) * 1_000_000 // 60, "16667us"),
        (dates("2024-01-01", "D", 90) + JITTER * 100_000, "1d"),
        (dates("2024-01-01T00:10", "m", 900)[::10] + 166_000 * np.arange(90) + JITTER * 9, "10m"),
        (
            np.busday_offset("2024-01-01", np.arange(90))
            + np.abs(JITTER) * np.timedelta64(1, "us"),
            "1b",
        ),
    ],
)
def test_dates_that_jitter_are_regular_and_a_note_says_how_much(times, step):
    found, notes = sequences(times)
    assert found.step == step
    np.testing.assert_array_equal(found.times, times)
    count = len(times) - 1
    assert any(f"{count} differences are off" in note or f"of {count}" in note for note in notes)
    refuse_other_spacing(sequences(times[:12])[0], step)
    lacking, notes = sequences(np.delete(times, [3, 7, 8]), gaps="fill", missing="previous")
    assert len(lacking.values) == len(times) and "3 missing steps" in " ".join(notes)
    if step != "1b":
        between = np.abs((lacking.times - times) / (times[1] - times[0]))
        assert between.max() < 0.1
    with pytest.raises(DataError, match="but the run was trained on steps of 3h"):
        refuse_other_spacing(found, "3h")


@pytest.mark.parametrize("rows", [4, 9, 30, 90])
def test_the_step_of_a_few_times_that_jitter_is_round(rows):
    random = np.random.default_rng(rows)
    for jitter in (3, 2_000_000):  # microseconds around steps of a minute
        off = random.integers(-jitter, jitter, rows)
        assert sequences(dates("2024-01-01", "m", rows) + off)[0].step == "1m"
        assert sequences(60.0 * np.arange(rows) + off / 1e6)[0].step == "60"


@pytest.mark.parametrize(
    "times",
    [
        np.sort(np.append(SHAKEN, SHAKEN[7] + 2000)),  # two in one slot
        np.append(SHAKEN[:-1], SHAKEN[-2] + 115_000),  # beyond a tenth of a step
        dates("2024-01-01", "D", 90) - 3_600_000_000 * (np.arange(90) > 40),  # the clock is set
        dates("2024-01-01", "h", 900)[::12] + 1_800_000_000 * (np.arange(75) > 40),
        dates("2020-01", "M", 40) + np.timedelta64(2, "D") * (np.arange(40) % 2),
        np.append(dates("2024-01-01", "D", 90)[:5], np.datetime64("2024-01-05T09:00")),
        np.sort(
            np.append(
                np.busday_offset("2024-01-01", np.arange(30)), np.datetime64("2024-01-16T12:00")
            )
        ),
    ],
)
@pytest.mark.parametrize("gaps", ["error", "fill"])
def test_other_irregular_dates_are_refused(times, gaps):
    with pytest.raises(DataError, match="times are irregular"):
        sequences(times.astype("M8[us]"), gaps=gaps, missing="previous")
