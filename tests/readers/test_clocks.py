"""Times in several columns, with fractions, without a clock, or in a format that is not known."""

import json
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from gatewise.errors import ConfigError, DataError
from gatewise.readers import times
from gatewise.settings import DataSettings
from gatewise.tasks import guess_task, read

MONTHS = ["January", "February", "March", "April", "May", "June"]
MONTHS += ["July", "August", "September", "October", "November", "December"]
BEGIN = datetime(2023, 1, 20)
HOURS = [BEGIN + timedelta(hours=k) for k in range(60)]


def rows_of(*columns):
    return [",".join(map(str, row)) for row in zip(*columns, strict=True)]


def forecast(path, rows, **settings):
    path.write_text("\n".join(rows), encoding="utf-8")
    return read(DataSettings(**settings), path, task="forecast")


FRENCH = "janv févr mars avr mai juin juil août sept oct nov déc"
SPANISH = "ene feb mar abr may jun jul ago sep oct nov dic"
YEARS = [year for year in (2010, 2011, 2012) for _ in range(12)]
NUMBERS = [round(20.5 + k * k % 7, 1) for k in range(60)]
CASES = {
    "months by name": ("Year,Month,y", rows_of(YEARS, MONTHS * 3, NUMBERS[:36])),
    "short names": ("Year,Months,y", rows_of(YEARS, [m[:3] for m in MONTHS] * 3, NUMBERS[:36])),
    "Spanish names": (
        "Año,Mes,y",
        rows_of(YEARS, SPANISH.split() * 3, NUMBERS[:36]),
    ),
    "French names": (
        "année,mois,y",
        rows_of(YEARS, FRENCH.split() * 3, NUMBERS[:36]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_year_and_the_name_of_a_month_are_a_time(tmp_path, name):
    head, rows = CASES[name]
    sequences, settings, _ = forecast(tmp_path / "data.csv", [head, *rows])
    assert len(settings.time) == 2 and not settings.id
    expected = np.arange("2010-01", "2013-01", dtype="M8[M]").astype("M8[us]")
    np.testing.assert_array_equal(sequences.times, expected)


def test_a_year_and_a_quarter_or_a_day_of_the_year_are_a_time(tmp_path):
    rows = [f"{1990 + k // 4},Q{k % 4 + 1},{NUMBERS[k]}" for k in range(40)]
    sequences, settings, _ = forecast(tmp_path / "a.csv", ["year,quarter,gdp", *rows])
    assert settings.time == ("year", "quarter")
    assert str(sequences.times[5]) == "1991-04-01T00:00:00.000000"
    days = [date(2024, 12, 1) + timedelta(days=k) for k in range(60)]  # over a leap year's end
    rows = [
        f"{day.year},{day.timetuple().tm_yday},{y}" for day, y in zip(days, NUMBERS, strict=True)
    ]
    sequences, settings, _ = forecast(tmp_path / "b.csv", ["YEAR,DOY,T", *rows])
    assert settings.time == ("YEAR", "DOY")
    np.testing.assert_array_equal(sequences.times, np.array(days, "M8[us]"))
    rows = [f"{day.year},{day.month},{day.day},{y}" for day, y in zip(days, NUMBERS, strict=True)]
    assert forecast(tmp_path / "c.csv", ["YEAR,MO,DY,T", *rows])[1].time == ("YEAR", "MO", "DY")


def test_columns_are_joined_as_the_format_says(tmp_path):
    rows = [f"{when:%Y;%j},{y}".replace(";", ",") for when, y in zip(HOURS, NUMBERS, strict=True)]
    given = {"time": ("a", "b"), "time_format": "%Y %j", "target": ("y",)}
    sequences, *_ = forecast(tmp_path / "data.csv", ["a,b,y", *rows[::24]], **given)
    assert str(sequences.times[1]).startswith("2023-01-21T00:00")


@pytest.mark.parametrize("clock", ["%Hh%M", "%H:%M"])
@pytest.mark.parametrize("day", ["%d/%m/%Y", "%Y%m%d"])
def test_a_date_and_a_time_of_day_are_a_time(tmp_path, day, clock):
    rows = [f"{at:{day}},{at:{clock}},{y}" for at, y in zip(HOURS, NUMBERS, strict=True)]
    sequences, settings, _ = forecast(tmp_path / "data.csv", ["Date,Heure,T", *rows])
    assert settings.time == ("Date", "Heure")
    np.testing.assert_array_equal(sequences.times, np.array(HOURS, "M8[us]"))


def test_a_date_of_digits_and_an_hour_are_a_time_of_each_series(tmp_path):
    rows = [
        f"{at:%Y%m%d},{at.hour},{one},{y}"
        for at, y in zip(HOURS, NUMBERS, strict=True)
        for one in "ab"
    ]
    sequences, settings, _ = forecast(tmp_path / "data.csv", ["date,hour,type,y", *rows])
    assert (settings.time, settings.id) == (("date", "hour"), ("type",))
    np.testing.assert_array_equal(sequences.times[:60], np.array(HOURS, "M8[us]"))


def test_dates_and_times_of_day_of_a_workbook_are_joined(tmp_path):
    """A cell with a time of day has the day before the first one of workbooks."""
    rows = [
        f"{at:%Y-%m-%d} 00:00:00,1899-12-31 {at:%H:%M:%S},{y}"
        for at, y in zip(HOURS, NUMBERS, strict=True)
    ]
    sequences, settings, _ = forecast(tmp_path / "data.csv", ["Date,Time,x", *rows])
    assert settings.time == ("Date", "Time")
    np.testing.assert_array_equal(sequences.times, np.array(HOURS, "M8[us]"))
    day = [datetime(at.year, at.month, at.day) for at in HOURS]
    clock = [datetime(1899, 12, 31, at.hour) for at in HOURS]
    table = pl.DataFrame({"Date": day, "Time": clock, "x": NUMBERS})
    sequences, _, _ = read(DataSettings(), table, task="forecast")
    np.testing.assert_array_equal(sequences.times, np.array(HOURS, "M8[us]"))


@pytest.mark.parametrize("given", ["", "%Y-%m-%d %H:%M:%S,%f"])
def test_a_comma_may_stand_before_the_parts_of_a_second(tmp_path, given):
    moments = [BEGIN + timedelta(milliseconds=250 * k) for k in range(60)]
    rows = [
        f"{at:%Y-%m-%d %H:%M:%S},{at.microsecond // 1000:03d};{y}"
        for at, y in zip(moments, NUMBERS, strict=True)
    ]
    named = {"time": ("asctime",), "time_format": given} if given else {}
    sequences, *_ = forecast(tmp_path / "data.csv", ["asctime;ms", *rows], **named)
    np.testing.assert_array_equal(sequences.times, np.array(moments, "M8[us]"))


def test_midnight_may_have_no_clock(tmp_path):
    rows = [
        f"{at.month}/{at.day}/{at.year}{f' {at.hour}:00' * (at.hour > 0)},{y}"
        for at, y in zip(HOURS, NUMBERS, strict=True)
    ]
    sequences, *_ = forecast(tmp_path / "data.csv", ["date,x", *rows])
    np.testing.assert_array_equal(sequences.times, np.array(HOURS, "M8[us]"))
    assert times.proposals(pl.Series(["13/02/2023", "14/02/2023"])) == ["%d/%m/%Y"]


@pytest.mark.parametrize(("name", "form"), [("MESS_DATUM", "%Y%m%d%H"), ("timestamps", "%s")])
def test_rising_numbers_are_times_if_their_name_says_so(tmp_path, name, form):
    seconds = [int((at - datetime(1970, 1, 1)).total_seconds()) for at in HOURS]
    cells = seconds if form == "%s" else [f"{at:{form}}" for at in HOURS]
    sequences, settings, _ = forecast(
        tmp_path / "data.csv", [f"{name},y", *rows_of(cells, NUMBERS)]
    )
    assert settings.time == (name,)
    np.testing.assert_array_equal(sequences.times, np.array(HOURS, "M8[us]"))


@pytest.mark.parametrize(
    "form",
    ["%d-%b-%y %I.%M.%S.000000 %p", "%m/%d/%Y %I:%M:%S %p CST", "%b %d %H:%M:%S", "%Y%m%d:%H10"],
)
def test_times_that_are_not_understood_are_no_texts_to_learn_from(tmp_path, form):
    rows = rows_of([f"{at:{form}}" for at in HOURS], NUMBERS)
    (tmp_path / "data.csv").write_text("\n".join(["Timestamp,kWh", *rows]), encoding="utf-8")
    with pytest.raises(ConfigError, match="The column 'Timestamp' .* is not read as times"):
        guess_task(DataSettings(), tmp_path / "data.csv")


def test_zones_in_a_column_of_their_own_are_part_of_the_time_or_a_sentence(tmp_path):
    def rows(summer, winter):
        at = [one + timedelta(hours=k < 30) for k, one in enumerate(HOURS)]
        names = [summer if k < 30 else winter for k in range(60)]
        return [f"{at[k]:%m/%d/%Y %H:%M:%S},{names[k]},{NUMBERS[k]}" for k in range(60)]

    path, given = tmp_path / "data.csv", {"time": ("Stamp", "Zone")}
    sequences, *_ = forecast(path, ["Stamp,Zone,y", *rows("EDT", "EST")], **given)
    np.testing.assert_array_equal(sequences.times - sequences.times[0], np.array(HOURS) - BEGIN)
    with pytest.raises(DataError, match="has the time '01/20/2023 01:00:00 BST', which cannot"):
        forecast(path, ["Stamp,Zone,y", *rows("BST", "GMT")], **given)


@pytest.mark.parametrize(
    "form",
    [
        *("%m/%d/%Y %I:%M %p %Z", "%d.%m.%Y %H:%M (%Z)", "%d %b %Y %H:%M:%S %z"),
        "%b %d, %Y, %I:%M %p %Z",
    ],
)
def test_zones_behind_times_that_are_not_iso_are_read_and_named(tmp_path, form):
    begin = datetime(2022, 10, 20, 4, tzinfo=UTC)
    hours = [begin + timedelta(hours=k) for k in range(700)]  # over the end of summer time
    local = [f"{one.astimezone(ZoneInfo('America/New_York')):{form}}" for one in hours]
    rows = [f'"{at}",{k % 7}' for k, at in enumerate(local)]
    sequences, settings, notes = forecast(tmp_path / "data.csv", ["At,Load", *rows])
    assert settings.timezone == "America/New_York"
    expected = np.array([one.replace(tzinfo=None) for one in hours], "M8[us]")
    np.testing.assert_array_equal(sequences.times, expected)
    assert ("abbreviations of zones" in str(notes)) == form.endswith(("%Z", "(%Z)"))


@pytest.mark.parametrize(
    "form", ["%m/%d/%Y, %I:%M:%S\u202f%p", "%Y-%m-%d, %H:%M", "%d/%m/%Y,%H:%M"]
)
def test_a_comma_may_stand_between_a_date_and_a_clock(tmp_path, form):
    rows = [f'"{at:{form}}",{y}' for at, y in zip(HOURS, NUMBERS, strict=True)]
    sequences, *_ = forecast(tmp_path / "data.csv", ["At,Load", *rows])
    np.testing.assert_array_equal(sequences.times, np.array(HOURS, "M8[us]"))


def test_half_hours_of_a_day_are_counted_from_1(tmp_path):
    """As the electricity market of Great Britain counts them; 50 on the day with 25 hours."""
    days = [date(2023, 1, 1) + timedelta(days=k) for k in range(4)]
    rows = [f"{day:%d-%b-%Y},{k},{k % 5}" for day in days for k in range(1, 49)]
    path, names = tmp_path / "data.csv", "SETTLEMENT_DATE,SETTLEMENT_PERIOD,ND"
    sequences, settings, _ = forecast(path, [names, *rows])
    assert settings.time == ("SETTLEMENT_DATE", "SETTLEMENT_PERIOD")
    expected = np.datetime64("2023-01-01T00:00") + np.arange(192) * np.timedelta64(30, "m")
    np.testing.assert_array_equal(sequences.times, expected)
    late = [f"{days[1]:%d-%b-%Y},{k},1" for k in (49, 50)]
    with pytest.raises(DataError, match=r"2 rows repeat a time.*2023-01-03 .*duplicates=first"):
        forecast(path, [names, *rows[:96], *late, *rows[96:]])


def test_a_time_of_day_may_be_a_number_without_zeros(tmp_path):
    rows = [f"{at:%Y-%m-%d},{at.hour * 100},{y}" for at, y in zip(HOURS, NUMBERS, strict=True)]
    sequences, settings, _ = forecast(tmp_path / "data.csv", ["date,HrMn,T", *rows])
    assert settings.time == ("date", "HrMn")
    np.testing.assert_array_equal(sequences.times, np.array(HOURS, "M8[us]"))


def test_a_zone_beside_iso_times_is_part_of_them_also_at_midnight(tmp_path):
    rows = [f"{at:%Y-%m-%d %H:%M:%S},+01:00,{y}" for at, y in zip(HOURS, NUMBERS, strict=True)]
    sequences, *_ = forecast(tmp_path / "data.csv", ["stamp,zone,y", *rows], time=("stamp", "zone"))
    np.testing.assert_array_equal(
        sequences.times, np.array(HOURS, "M8[us]") - np.timedelta64(1, "h")
    )


def test_lines_of_a_log_are_texts(tmp_path):
    words = ["disk is full", "ready again"]
    rows = [f"{at:%Y-%m-%d %H:%M:%S} {words[k % 2]},{k % 2}" for k, at in enumerate(HOURS)]
    (tmp_path / "data.csv").write_text("\n".join(["line,label", *rows]), encoding="utf-8")
    assert guess_task(DataSettings(), tmp_path / "data.csv")[0] == "classify"
    _, settings, _ = read(DataSettings(), tmp_path / "data.csv", task="classify")
    assert settings.text == ("line",)


def test_a_number_that_counts_anew_tells_units_apart(tmp_path):
    """As in NASA's turbofan engines; days of a month that count hours are not units."""
    rows = [f"{u},{c},{NUMBERS[c]},{u * c}" for u in range(1, 6) for c in range(1, 12 + u)]
    sequences, settings, _ = forecast(
        tmp_path / "data.csv", ["unit,cycle,s1,s2", *rows], target=("s1",)
    )
    assert (settings.id, settings.time, len(sequences)) == (("unit",), ("cycle",), 5)
    rows = [f"{at.day},{at.hour},{y},{y}" for at, y in zip(HOURS, NUMBERS, strict=True)]
    _, settings, _ = forecast(tmp_path / "days.csv", ["day,t,a,b", *rows], target=("a",))
    assert not settings.id


def test_pairs_of_numbers_and_times_in_json_are_rows(tmp_path):
    points = [[y, 1_700_000_000 + 60 * k] for k, y in enumerate(NUMBERS)]
    answer = [{"target": name, "datapoints": points} for name in "ab"]
    (tmp_path / "data.json").write_text(json.dumps(answer), encoding="utf-8")
    sequences, settings, _ = read(DataSettings(), tmp_path / "data.json", task="forecast")
    assert (settings.id, settings.time, len(sequences)) == (("target",), ("time",), 2)
    np.testing.assert_array_equal(sequences.values[:60, 0], NUMBERS)
    table = pl.DataFrame({"id": ["a", "b"], "x": [points, points]})
    with pytest.raises(DataError, match="'x' holds a list of 2 numbers at each step"):
        read(DataSettings(target=("x",)), table, task="forecast")


def test_the_rows_of_a_viewer_of_data_sets_are_a_table(tmp_path):
    rows = [{"row_idx": k, "row": {"text": f"it is {k}", "label": k % 2}} for k in range(20)]
    answer = {"features": [{"name": "text"}, {"name": "label"}], "rows": rows}
    (tmp_path / "data.json").write_text(json.dumps(answer), encoding="utf-8")
    sequences, settings, _ = read(DataSettings(), tmp_path / "data.json", task="classify")
    assert (settings.text, settings.label, len(sequences)) == (("text",), "label", 20)


@pytest.mark.parametrize(
    "cell", ["{at:%Y-%m-%d}/{end:%Y-%m-%d}", "[{at:%d/%b/%Y:%H:%M:%S} +0000]"], ids=["range", "log"]
)
def test_ranges_of_dates_and_times_in_brackets_are_read(tmp_path, cell):
    weeks = [datetime(2023, 1, 2) + timedelta(days=7 * k) for k in range(60)]
    cells = [cell.format(at=at, end=at + timedelta(days=6)) for at in weeks]
    sequences, *_ = forecast(tmp_path / "data.csv", ["week,y", *rows_of(cells, NUMBERS)])
    np.testing.assert_array_equal(sequences.times, np.array(weeks, "M8[us]"))


@pytest.mark.parametrize(
    "form",
    [
        *("%b %d, %Y @ %H:%M:%S.000", "%Y年%m月%d日 %H時%M分", "%Y년 %m월 %d일 %H시 %M분"),
        *("%Y年%m月%d日%H:%M", "%Y %m %d %H:%M"),
    ],
)
def test_times_as_kibana_and_east_asia_write_them(tmp_path, form):
    rows = [f'"{at:{form}}",{y}' for at, y in zip(HOURS, NUMBERS, strict=True)]
    sequences, *_ = forecast(tmp_path / "data.csv", ["At,Load", *rows])
    np.testing.assert_array_equal(sequences.times, np.array(HOURS, "M8[us]"))


def test_months_may_be_japanese(tmp_path):
    rows = [f"{2010 + k // 12}年{k % 12 + 1}月,{k % 5}" for k in range(40)]
    sequences, settings, _ = forecast(tmp_path / "data.csv", ["年月,売上高", *rows])
    assert (settings.time, sequences.step) == (("年月",), "1mo")


@pytest.mark.parametrize("clock", ["%H%M%S", "%H%M"])
def test_dates_and_clocks_of_digits_are_a_time(tmp_path, clock):
    """As Stooq and MetaStock write them."""
    rows = [f"A,{at:%Y%m%d},{at:{clock}},{y}" for at, y in zip(HOURS, NUMBERS, strict=True)]
    path = tmp_path / "data.csv"
    sequences, settings, _ = forecast(path, ["<TICKER>,<DATE>,<TIME>,<CLOSE>", *rows])
    assert settings.time == ("<DATE>", "<TIME>")
    np.testing.assert_array_equal(sequences.times, np.array(HOURS, "M8[us]"))


@pytest.mark.parametrize("form", ["%Y-%m-%d,%H", "%Y,%m,%d,%H"])
def test_parts_of_a_time_in_columns_without_names_are_found(tmp_path, form):
    rows = [f"{at:{form}},{y}" for at, y in zip(HOURS, NUMBERS, strict=True)]
    sequences, settings, _ = forecast(tmp_path / "data.csv", rows)
    assert settings.time == tuple(f"column {k + 1}" for k in range(form.count(",") + 1))
    np.testing.assert_array_equal(sequences.times, np.array(HOURS, "M8[us]"))


def test_zones_in_a_column_without_which_times_repeat_are_part_of_the_time(tmp_path):
    """As the water services of the United States write them."""
    begin = datetime(2022, 11, 5, 4, tzinfo=UTC)
    local = [
        (begin + timedelta(minutes=15 * k)).astimezone(ZoneInfo("America/New_York"))
        for k in range(192)
    ]
    rows = [f"{at:%Y-%m-%d %H:%M,%Z},{k % 9}" for k, at in enumerate(local)]
    sequences, settings, _ = forecast(tmp_path / "data.csv", ["datetime,tz_cd,flow", *rows])
    assert (settings.time, settings.timezone) == (("datetime", "tz_cd"), "America/New_York")
    assert (len(sequences), sequences.step) == (1, "15m")
