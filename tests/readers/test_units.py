"""Percents, money, half-years and repeated headers are read; mixtures are refused."""

import pytest

from gatewise.errors import DataError
from gatewise.settings import DataSettings
from gatewise.tasks import read

DAYS = [f"2022-01-{day:02d}" for day in range(1, 13)]


def of(path, *rows):
    path.write_text("\n".join(rows) + "\n")
    return read(DataSettings(), path, task="forecast")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("12 %", 12.0),
        ('"$1,234.50"', 1234.5),
        ('"-$1,234.50"', -1234.5),
        ('"($1,234.50)"', -1234.5),
        ('"1.234,50 EUR"', 1234.5),
        ("€7", 7.0),
    ],
)
def test_a_sign_that_all_cells_have_is_left_out(written, meant, tmp_path):
    rows = [f"{day},{written}" for day in DAYS]
    found, _, notes = of(tmp_path / "a.csv", "day,price", *rows)
    assert found.values.ravel().tolist() == [meant] * 12
    assert any("numbers with the sign" in note for note in notes)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("١٢٫٥", 12.5), ("۱۲٫۵", 12.5), ("१२.५", 12.5), ("-１２．５", -12.5)],
)
def test_digits_of_other_scripts_are_numbers_and_times(written, meant, tmp_path):
    scripted = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
    rows = [f"{day.translate(scripted)},{written}" for day in DAYS]
    found, _, notes = of(tmp_path / "a.csv", "day,load", *rows)
    assert found.values.ravel().tolist() == [meant] * 12
    assert str(found.times[-1])[:10] == DAYS[-1]
    assert sum("other digits than 0-9" in note for note in notes) == 2


@pytest.mark.parametrize("mark", ["*", " **", "†", "[1]", " (p)"])
def test_a_number_with_a_footnote_mark_is_the_number(mark, tmp_path):
    rows = [f'{day},"{k},5{mark if k in (2, 9) else ""}"' for k, day in enumerate(DAYS)]
    found, _, notes = of(tmp_path / "a.csv", "day,load", *rows)
    assert found.values.ravel().tolist() == [k + 0.5 for k in range(12)]
    assert "the column 'load' holds numbers with a mark (5*, 5 p) or a colon, left out" in notes


def test_codes_with_a_mark_stay_codes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["grade,a,b", *(f"{k % 3 or '9*'},{k},{k * k}" for k in range(60))]))
    found = read(DataSettings(label="grade"), path, task="classify")[0]
    assert set(found.labels) == {"9*", "1", "2"}


@pytest.mark.parametrize("written", ["'{}", '="{}"', '"=""{}"""'])
def test_cells_that_a_spreadsheet_marks_as_text_are_what_they_show(written, tmp_path):
    rows = [f"{written.format(day)};{written.format(f'{k},5')}" for k, day in enumerate(DAYS)]
    found, _, notes = of(tmp_path / "a.csv", "day;load", *rows)
    assert found.values.ravel().tolist() == [k + 0.5 for k in range(12)]
    assert str(found.times[-1])[:10] == DAYS[-1]
    assert sum("marks as text: '5 and" in note for note in notes) == 2
    rows = [f"{written.format('007')};{day};{k}" for k, day in enumerate(DAYS)]
    found = of(tmp_path / "a.csv", "id;day;load", *rows)[0]
    assert found.ids.tolist() == ["007"]


def test_a_unit_needs_no_space_if_it_is_no_single_letter(tmp_path):
    rows = [f"{day},{k}{'kg' if k % 2 else ' kg'}" for k, day in enumerate(DAYS)]
    assert of(tmp_path / "a.csv", "day,load", *rows)[0].values.ravel().tolist() == list(range(12))
    rows = [f"{day},{k}B" for k, day in enumerate(DAYS)]
    with pytest.raises(
        DataError, match="no column of numbers.* The first row holds .*'load': '0B'"
    ):
        of(tmp_path / "a.csv", "day,load", *rows)


def test_a_number_that_a_comma_cuts_in_two_is_refused(tmp_path):
    rows = [f"{day},12{k},5" for k, day in enumerate(DAYS)]
    with pytest.raises(DataError, match="3 cells, .* if commas in numbers cut them in two"):
        of(tmp_path / "a.csv", "day,load", *rows)
    found = of(tmp_path / "a.csv", "load", *(row[:-2] for row in rows))[0]  # R names rows so
    assert found.values.ravel().tolist() == [float(f"12{k}") for k in range(12)]


def test_a_second_table_in_the_file_is_named(tmp_path):
    rows = [f"A,{day},{k}" for k, day in enumerate(DAYS)]
    with pytest.raises(DataError, match="row 14 .* has 'humidity'.* Save each table as a file"):
        of(tmp_path / "a.csv", "station,day,load", *rows, "station,day,humidity", *rows)


def test_a_number_without_the_sign_of_its_column_is_refused(tmp_path):
    rows = [f"{day},{k} %" for k, day in enumerate(DAYS)]
    with pytest.raises(DataError, match=r"row 14 .* has '0\.5 \(without the sign %\)'"):
        of(tmp_path / "a.csv", "day,share", *rows, "2022-01-13,0.5")


def test_rows_that_repeat_the_header_are_left_out_and_still_counted(tmp_path):
    rows = [f"{day},{k}" for k, day in enumerate(DAYS)]
    joined = ["day,load", *rows[:6], "day,load", *rows[6:]]
    found, _, notes = of(tmp_path / "a.csv", *joined)
    assert found.values.ravel().tolist() == list(range(12))
    assert "1 row repeats the names of the columns and is left out" in notes
    with pytest.raises(DataError, match=r"row 12 \(counting the header as row 1\) has 'x'"):
        of(tmp_path / "a.csv", *joined[:11], "2022-01-10,x", *joined[12:])


def test_half_years_are_times_six_months_apart(tmp_path):
    rows = [f"{2000 + k // 2}H{k % 2 + 1},{k}" for k in range(12)]
    found, _, _ = of(tmp_path / "a.csv", "half,load", *rows)
    assert (found.step, str(found.times[1])[:10]) == ("6mo", "2000-07-01")
