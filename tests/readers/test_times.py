"""Times: every form reads to the same moments, and zones to the same grid."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from gatewise.data.calendar import in_zone
from gatewise.errors import DataError
from gatewise.readers import times
from gatewise.settings import DataSettings
from gatewise.tasks import read

DAYS = pd.date_range("2023-01-25", periods=40, freq="D")
HOURS = pd.date_range("2023-01-30 20:00", periods=60, freq="h")
MONTHS = pd.date_range("2019-01-01", periods=30, freq="MS")


def of(frame, **settings):
    return read(DataSettings(target=("y",), **settings), frame, task="forecast")


def frame_of(texts, name="when"):
    return pl.DataFrame({name: list(texts), "y": np.arange(len(texts)).astype(float)})


FORMS = {
    "%d.%m.%Y": DAYS,
    "%m/%d/%Y": DAYS,
    "%d %b %Y": DAYS,
    "%B %d, %Y": DAYS,
    "%Y%m%d": DAYS,
    "%d.%m.%Y %H:%M": HOURS,
    "%m/%d/%Y %I:%M:%S %p": HOURS,
    "%Y-%m-%dT%H:%M:%S": HOURS,
    "%b %Y": MONTHS,
    "%b-%y": MONTHS,
    "%Y-%m": MONTHS,
    "%m/%Y": MONTHS,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_recognised_and_saved(form):
    moments = FORMS[form]
    found, settings, _ = of(frame_of(moments.strftime(form), "date"))
    np.testing.assert_array_equal(found.times, moments.to_numpy().astype("M8[us]"))
    again, _, _ = of(
        frame_of(moments[:5].strftime(form), "date"),
        **{key: getattr(settings, key) for key in ("time", "time_format", "layout")},
    )
    np.testing.assert_array_equal(again.times, found.times[:5])


@pytest.mark.parametrize(
    ("texts", "first", "step"),
    [
        ([f"{y}Q{q}" for y in (2020, 2021) for q in (1, 2, 3, 4)], "2020-01-01", "3mo"),
        ([f"Q{q} {y}" for y in (2020, 2021) for q in (1, 2, 3, 4)], "2020-01-01", "3mo"),
        ([f"{q}-{y}" for y in (2020, 2021) for q in (1, 2, 3, 4)], "2020-01-01", "3mo"),
        ([f"FY{y} Q{q}" for y in (2020, 2021) for q in (1, 2, 3, 4)], "2020-01-01", "3mo"),
        ([f"{q}Q{y}" for y in ("99", "00") for q in (1, 2, 3, 4)], "1999-01-01", "3mo"),
        ([f"Q{q}'{y}" for y in (20, 21) for q in (1, 2, 3, 4)], "2020-01-01", "3mo"),
        ([f"{y} Quarter {q}" for y in (2020, 2021) for q in (1, 2, 3, 4)], "2020-01-01", "3mo"),
        ([f"{m}-{y}" for y in (2020, 2021) for m in range(1, 13)], "2020-01-01", "1mo"),
        ([f"2020-W{w:02}" for w in range(1, 30)], "2019-12-30", "1w"),
        ([f"2020-{w}" for w in range(1, 30)], "2019-12-30", "1w"),
        ([f"2020 week {w}" for w in range(1, 30)], "2019-12-30", "1w"),
        ([f"KW {w} / 2020" for w in range(1, 30)], "2019-12-30", "1w"),
        ([f"2020-{m}" for m in range(1, 13)], "2020-01-01", "1mo"),
        ([f"2023-01-01 {h:02}:00" for h in range(1, 25)], "2023-01-01T01:00", "1h"),
        (
            [f"01.01.2023 {h:02}:00 - 01.01.2023 {h + 1:02}:00" for h in range(20)],
            "2023-01-01",
            "1h",
        ),
    ],
    ids=[
        *(
            "2020Q1",
            "Q1 2020",
            "1-2020",
            "FY2020 Q1",
            "1Q99",
            "Q1'20",
            "2020 Quarter 1",
            "5-2020",
            "weeks",
            "bare weeks",
            "written weeks",
        ),
        *("weeks first", "bare months", "24:00", "ranges"),
    ],
)
def test_quarters_weeks_midnights_and_ranges(texts, first, step):
    found, _, _ = of(frame_of(texts))
    assert (found.times[0], found.step) == (np.datetime64(first), step)


def test_numbers_up_to_12_are_weeks_only_in_a_column_of_weeks():
    texts = [f"2020-{number}" for number in range(1, 13)]
    assert of(frame_of(texts, "week"))[0].step == "1w"
    assert of(frame_of(texts, "period"))[0].step == "1mo"


@pytest.mark.parametrize(
    ("name", "numbers", "first", "step"),
    [
        ("Year", np.arange(1990, 2010), "1990-01-01", "1y"),
        ("serial", 44927 + np.arange(30) / 24, "2023-01-01", "1h"),
        ("timestamp", 1_600_000_000 + 300 * np.arange(30), "2020-09-13T12:26:40", "5m"),
        ("timestamp", (1_600_000_000 + 300 * np.arange(30)) * 1000, "2020-09-13T12:26:40", "5m"),
        ("time", (1_600_000_000 + 300 * np.arange(30)) * 10**6, "2020-09-13T12:26:40", "5m"),
    ],
)
def test_numbers_that_are_times(name, numbers, first, step):
    found, settings, _ = of(pl.DataFrame({name: numbers, "y": np.arange(len(numbers)) * 1.5}))
    assert (found.times[0], found.step) == (np.datetime64(first), step)
    assert settings.time == (name,)


def test_numbers_that_count_steps_stay_numbers():
    found, settings, _ = of(pl.DataFrame({"time": np.arange(1990, 2010), "y": np.ones(20)}))
    assert (found.times.dtype.kind, settings.time_format) == ("i", "")


def test_columns_are_joined_to_one_time():
    parts = {
        "year": HOURS.year,
        "month": HOURS.month,
        "day": HOURS.day,
        "hour": HOURS.hour,
    }
    frame = pl.DataFrame({**{name: list(part) for name, part in parts.items()}, "y": range(60)})
    found, settings, _ = of(frame)
    np.testing.assert_array_equal(found.times, HOURS.to_numpy().astype("M8[us]"))
    assert settings.time == tuple(parts)
    texts = {"Date": HOURS.strftime("%d.%m.%Y"), "Time": HOURS.strftime("%H:%M")}
    frame = pl.DataFrame({**{name: list(part) for name, part in texts.items()}, "y": range(60)})
    found, settings, _ = of(frame)
    np.testing.assert_array_equal(found.times, HOURS.to_numpy().astype("M8[us]"))
    assert settings.time == ("Date", "Time")


def test_a_date_column_is_the_time_beside_its_parts():
    frame = pl.DataFrame(
        {"date": DAYS.strftime("%Y-%m-%d"), "year": DAYS.year, "month": DAYS.month, "y": range(40)}
    )
    assert of(frame)[1].time == ("date",)


# --- zones


LOCAL = pd.date_range("2022-10-20", periods=600, freq="h", tz="Europe/Berlin")
SPRING = pd.date_range("2023-03-20", periods=24, freq="D", tz="America/New_York")


def test_hours_with_offsets_are_regular_in_utc_and_answers_are_local():
    texts = [str(moment) for moment in LOCAL]
    found, settings, _ = of(frame_of(texts))
    assert (found.step, found.zone, settings.timezone) == ("1h", "Europe/Berlin", "Europe/Berlin")
    np.testing.assert_array_equal(found.times, LOCAL.tz_convert(None).to_numpy().astype("M8[us]"))


def test_days_of_a_frame_with_a_fixed_offset_are_local():
    days = pd.date_range("2021-01-01", periods=40, tz="+09:00")
    found, settings, _ = of(pd.DataFrame({"when": days, "y": np.arange(40.0)}))
    assert (found.step, settings.timezone) == ("1d", "+09:00")
    np.testing.assert_array_equal(found.times, days.tz_localize(None).to_numpy().astype("M8[us]"))


def test_answers_in_local_time_keep_fractions_of_a_second():
    times = np.array(["2022-07-01T10:00:00", "2022-07-01T10:00:00.250"], "M8[us]")
    found = in_zone(times, "Europe/Berlin").tolist()
    assert found == ["2022-07-01 12:00:00.000+02:00", "2022-07-01 12:00:00.250+02:00"]


def test_new_times_with_a_zone_are_utc_or_refused_after_a_training_without():
    """Training may have read local times or those of UTC: nobody but the user knows."""
    settings = DataSettings(target=("y",), time=("when",), layout="long")
    texts = [f"{moment:%Y-%m-%d %H:%M}Z" for moment in LOCAL.tz_convert("UTC")]
    found, _, notes = read(settings, frame_of(texts), task="forecast", purpose="predict")
    np.testing.assert_array_equal(found.times, LOCAL.tz_convert(None).to_numpy().astype("M8[us]"))
    assert "the times have offsets and are read as UTC" in notes
    for cells in ([str(moment) for moment in LOCAL], LOCAL.to_pydatetime()):
        with pytest.raises(DataError, match="in the zone Europe/Berlin, but the run was trained"):
            read(settings, frame_of(cells), task="forecast", purpose="predict")


def test_local_hours_over_a_change_of_the_clock_name_the_zone_that_reads_them():
    texts = [str(moment.tz_localize(None)) for moment in LOCAL]
    with pytest.raises(DataError, match=r"clock was set back.*data.timezone=Europe/Berlin"):
        of(frame_of(texts))
    found, _, _ = of(frame_of(texts), timezone="Europe/Berlin")
    assert found.step == "1h"
    np.testing.assert_array_equal(found.times, LOCAL.tz_convert(None).to_numpy().astype("M8[us]"))


def test_an_hour_that_the_clock_left_out_names_the_zone():
    hours = pd.date_range("2023-03-01", periods=800, freq="h", tz="Europe/Berlin")
    texts = [str(moment.tz_localize(None)) for moment in hours]
    with pytest.raises(DataError, match=r"clock was set forward.*data.timezone=Europe/Berlin"):
        of(frame_of(texts))
    assert of(frame_of(texts), timezone="Europe/Berlin")[0].step == "1h"


@pytest.mark.parametrize("native", [True, False])
def test_local_days_are_regular_in_local_time(native):
    frame = pd.DataFrame({"when": SPRING, "y": range(24)})
    found, _, _ = of(frame if native else frame_of([str(moment) for moment in SPRING]))
    assert (found.step, found.times[0]) == ("1d", np.datetime64("2023-03-20"))


def test_offsets_are_shifted_both_ways():
    local = np.datetime64("2023-07-01T12:00", "us").astype(np.int64)
    for zone in ("+05:30", "-03:30", "Europe/Berlin", "America/New_York"):
        utc, missing = times.to_utc(np.array([local]), zone, None)
        assert utc + times.shift(utc, zone) * 60_000_000 == local
        assert not missing.any()


# --- weekdays


def test_weekdays_go_on_as_weekdays():
    from gatewise.data.calendar import following

    days = pd.bdate_range("2023-01-02", periods=30)
    found, _, _ = of(frame_of(days.strftime("%Y-%m-%d")))
    assert found.step == "1b"
    after = following(found.times, "1b", 7)
    expected = pd.bdate_range(days[-1], periods=8)[1:]
    np.testing.assert_array_equal(after, expected.to_numpy().astype("M8[us]"))


@pytest.mark.parametrize(("gaps", "step", "steps"), [("error", "1b", 7), ("fill", "1d", 9)])
def test_one_weekend_is_left_out_unless_gaps_are_filled(gaps, step, steps):
    days = pd.bdate_range("2024-01-10", periods=7)  # Wednesday to the next Thursday
    found, _, _ = of(frame_of(days.strftime("%Y-%m-%d")), gaps=gaps)
    assert (found.step, len(found.values)) == (step, steps)


def test_a_missing_weekday_is_a_gap_and_can_be_filled():
    days = pd.bdate_range("2023-01-02", periods=30).delete(12)
    frame = frame_of(days.strftime("%Y-%m-%d"))
    with pytest.raises(DataError, match="1 gap"):
        of(frame)
    found, _, _ = of(frame, gaps="fill")
    expected = pd.bdate_range("2023-01-02", periods=30)
    np.testing.assert_array_equal(found.times, expected.to_numpy().astype("M8[us]"))


def test_the_last_weekdays_of_months_go_on_as_such():
    from gatewise.data.calendar import following

    ends = pd.date_range("2020-01-31", periods=30, freq="BME")
    found, _, _ = of(frame_of(ends[:24].strftime("%Y-%m-%d")))
    assert found.step == "1mo"
    after = following(found.times, "1mo", 6)
    np.testing.assert_array_equal(after, ends[24:].to_numpy().astype("M8[us]"))


# --- series


def test_two_columns_that_cross_are_the_name_of_a_series():
    rows = [
        (a, b, str(day.date()), k * 1.5)
        for a in (1, 2)
        for b in "xyz"
        for k, day in enumerate(DAYS[:20])
    ]
    frame = pl.DataFrame(rows, schema=["store", "item", "date", "y"], orient="row")
    found, settings, _ = of(frame)
    assert (settings.id, len(found)) == (("store", "item"), 6)


def test_minutes_of_a_day_without_their_time_are_not_averaged_away():
    days = [str(day.date()) for day in DAYS[:10] for _ in range(30)]
    with pytest.raises(DataError, match="290 rows repeat a time.*time of day") as caught:
        of(frame_of(days, "date"))
    assert "duplicates" not in str(caught.value)


# --- pandas


def test_periods_and_durations_of_pandas_are_times():
    months = pd.period_range("2020-01", periods=20, freq="M")
    found, _, _ = of(pd.DataFrame({"y": range(20)}, index=months.rename("month")))
    assert (found.step, found.times[0]) == ("1mo", np.datetime64("2020-01-01"))
    spans = pd.timedelta_range("0s", periods=20, freq="500ms").rename("time")
    found, _, _ = of(pd.DataFrame({"y": np.arange(20.0)}, index=spans), time=("time",))
    assert found.step == "0.5"


def test_steps_before_the_first_value_can_be_left_out():
    frame = frame_of(DAYS.strftime("%Y-%m-%d")).with_columns(
        pl.when(pl.int_range(40) < 3)
        .then(None)
        .when(pl.int_range(40) == 9)
        .then(None)
        .otherwise(pl.col("y"))
        .alias("y")
    )
    found, _, notes = of(frame, missing="drop-leading")
    assert found.values.ravel().tolist() == [3, 4, 5, 6, 7, 8, 8, *range(10, 40)]
    assert any("3 steps before the first value are left out" in note for note in notes)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Sydney"])
def test_abbreviations_of_zones_are_offsets(zone):
    for begin in ("2023-03-11 12:00", "2023-03-25 12:00", "2023-04-01 06:00"):
        moments = pd.date_range(begin, periods=40, freq="h", tz="UTC")
        texts = moments.tz_convert(zone).strftime("%Y-%m-%d %H:%M:%S %Z")
        found, settings, notes = of(frame_of(texts))
        np.testing.assert_array_equal(found.times, moments.tz_localize(None).to_numpy("M8[us]"))
        name = texts[0].rpartition(" ")[2]
        assert any(f"{name} is read as" in note for note in notes)
        again = of(frame_of(texts[:3]), time=settings.time, timezone=settings.timezone)[0]
        np.testing.assert_array_equal(again.times, found.times[:3])


def test_abbreviations_of_several_zones_are_not_read():
    with pytest.raises(DataError, match="'2023-01-25 00:00 IST'"):
        of(frame_of(DAYS.strftime("%Y-%m-%d %H:%M IST")), time=("when",))


def test_dates_of_two_formats_are_refused_because_a_spreadsheet_may_have_turned_some():
    texts = [f"{d:%Y-%m-%d}" if d.day < 13 else f"{d:%d/%m/%Y}" for d in DAYS]
    with pytest.raises(DataError, match="'2023-02-01', but other rows .* exchanged the day and"):
        of(frame_of(texts))
