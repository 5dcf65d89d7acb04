"""A table with a column for each hour of a day, or month of a year, is one series by them."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from gatewise.errors import ConfigError, DataError
from gatewise.settings import DataSettings
from gatewise.tasks import read

VALUES = np.arange(24.0 * 10).reshape(10, 24)  # [days, hours]
DAYS = [date(2024, 2, 25) + timedelta(days=k) for k in range(10)]
NAMES = {
    "h01 to h24": [f"h{hour:02d}" for hour in range(1, 25)],
    "0:00 to 23:00": [f"{hour}:00" for hour in range(24)],
    "He1 to He24, backwards": [f"He{hour}" for hour in range(24, 0, -1)],
}


def frame_of(names, values=VALUES):
    columns = sorted(names, key=lambda name: int("".join(filter(str.isdigit, name.split(":")[0]))))
    table = pl.DataFrame({"day": DAYS} | dict(zip(columns, values.T, strict=True)))
    return table.select("day", *names)


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_the_hours_of_all_days_are_one_series(tmp_path, names):
    path = tmp_path / "load.csv"
    frame_of(names).write_csv(path)
    for source in (path, frame_of(names)):
        sequences, settings, notes = read(DataSettings(), source, task="forecast")
        assert sequences.values[:, 0].tolist() == VALUES.ravel().tolist()
        assert sequences.step == "1h"
        assert str(sequences.times[0]) == "2024-02-25T00:00:00.000000"
        assert "are the hours of a day" in notes[0]
        again, _, _ = read(settings, source, task="forecast", purpose="predict")
        assert np.array_equal(again.values, sequences.values)


def test_a_bad_cell_is_named_by_its_row_and_hour(tmp_path):
    path = tmp_path / "load.csv"
    frame_of(NAMES["h01 to h24"]).write_csv(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], lines[4].replace("75.0", "x"), *lines[5:]]) + "\n")
    with pytest.raises(DataError, match=r"column 'h04' of row 5"):
        read(DataSettings(), path, task="forecast")


def test_hours_that_are_named_or_not_those_of_a_day_stay_columns():
    whole, target = frame_of(NAMES["h01 to h24"]), DataSettings(target=("h05",))
    named, _, _ = read(target, whole, task="forecast")
    assert named.columns[0] == "h05" and len(named.values) == 10
    fewer = whole.drop("h24")
    with pytest.raises(ConfigError, match="23 columns of numbers"):
        read(DataSettings(), fewer, task="forecast")


MONTHS = {
    "English": "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
    "French": "janv. févr. mars avril mai juin juil. août sept. oct. nov. déc.",
    "numbers": "1 2 3 4 5 6 7 8 9 10 11 12",
}


@pytest.mark.parametrize("names", MONTHS.values(), ids=MONTHS)
def test_the_months_of_all_years_are_one_series(names):
    values = np.arange(240.0).reshape(20, 12)  # [years, months]
    table = pl.DataFrame({"Year": range(2000, 2020)}).with_columns(
        pl.Series(name, column) for name, column in zip(names.split(), values.T, strict=True)
    )
    table = table.with_columns(Annual=values.mean(axis=1), DJF=values[:, 0])
    sequences, _, notes = read(DataSettings(), table, task="forecast")
    assert sequences.values[:, 0].tolist() == values.ravel().tolist()
    assert (sequences.step, str(sequences.times[0])[:10]) == ("1mo", "2000-01-01")
    assert "are the months of a year" in notes[0] and "not read: 'Annual', 'DJF'" in notes[0]


def test_the_months_of_several_stations_are_a_series_for_each():
    rows = [[f"{name}", str(year), *range(12)] for name in "ab" for year in range(2000, 2010)]
    table = pl.DataFrame(rows, schema=["station", "year", *MONTHS["English"].split()], orient="row")
    sequences, _, _ = read(DataSettings(), table, task="forecast")
    assert sequences.ids.tolist() == ["a", "b"]
    assert sequences[1].ravel().tolist() == [*range(12)] * 10


def test_months_that_are_still_to_come_are_no_steps(tmp_path):
    path = tmp_path / "rain.csv"
    head = f"Year,{MONTHS['English'].replace(' ', ',')}"
    path.write_text("\n".join([head, *[f"{2000 + k},{'5,' * 11}6" for k in range(9)], "2009,4,3"]))
    sequences, _, _ = read(DataSettings(), path, task="forecast")
    assert sequences.values[-3:, 0].tolist() == [6, 4, 3]
    assert str(sequences.times[-1])[:10] == "2009-02-01"
