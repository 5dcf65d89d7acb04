"""Mistakes in times and ids are named, and no proposed setting hides them."""

from datetime import date, datetime, timedelta

import numpy as np
import pytest

from gatewise.errors import DataError
from gatewise.readers.mistakes import misplaced
from gatewise.settings import DataSettings
from gatewise.tasks import read

DAYS = [(date(2020, 1, 1) + timedelta(k)).isoformat() for k in range(60)]
MONTHS = [f"{2010 + k // 12}-{k % 12 + 1:02d}-01" for k in range(60)]


def written(tmp_path, times, header="day,sales"):
    path = tmp_path / "shop.csv"
    rows = (f"{time},{100 + k % 7}" for k, time in enumerate(times))
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def refused(path, **settings):
    with pytest.raises(DataError) as caught:
        read(DataSettings(**settings), path, task="forecast")
    return str(caught.value)


@pytest.mark.parametrize("times", [DAYS, MONTHS], ids=["days", "months"])
@pytest.mark.parametrize("year", ["2002", "2204"])
@pytest.mark.parametrize("gaps", ["error", "fill"])
def test_a_time_that_does_not_fit_its_neighbours_is_named(tmp_path, times, year, gaps):
    wrong = year + times[30][4:]
    told = refused(written(tmp_path, [*times[:30], wrong, *times[31:]]), gaps=gaps)
    assert "1 row has a time that does not fit" in told and "row 32" in told and wrong in told
    assert f"between {times[29]} and {times[31]}" in told
    assert "data.gaps" not in told and "data.duplicates" not in told


def test_a_time_that_becomes_one_of_another_row_is_named(tmp_path):
    told = refused(written(tmp_path, [*DAYS[:40], DAYS[4], *DAYS[41:]]))
    assert f"{DAYS[4]}, between {DAYS[39]} and {DAYS[41]}" in told


def test_each_sequence_has_its_own_order(tmp_path):
    path = tmp_path / "shops.csv"
    rows = [f"{day},{shop},{k}" for k, day in enumerate(DAYS) for shop in "ab"]
    rows[61] = f"2002{rows[61][4:]}"
    path.write_text("\n".join(["day,shop,sales", *rows]) + "\n")
    told = refused(path, id=("shop",))
    assert (
        f"2002{DAYS[30][4:]}, between {DAYS[29]} and {DAYS[31]}" in told and "sequence 'b'" in told
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda days: days[::-1],
        lambda days: [*days[30:], *days[:30]],
        lambda days: [*days[:20], days[21], days[20], *days[22:]],
        lambda days: [*days[:20], *days[21:], days[20]],
    ],
    ids=["newest first", "two halves exchanged", "two rows exchanged", "a late row"],
)
def test_rows_in_another_order_are_read(tmp_path, change):
    found, _, _ = read(DataSettings(), written(tmp_path, change(DAYS)), task="forecast")
    assert found.times.astype("M8[D]").astype(str).tolist() == DAYS


@pytest.mark.parametrize("gaps", ["error", "ignore"])
def test_events_a_little_out_of_order_are_events(tmp_path, gaps):
    seconds = [10 * k + (k * 7) % 3 for k in range(60)]
    seconds[20:22] = [seconds[21], seconds[20]]
    times = [f"2024-01-01 00:{s // 60:02d}:{s % 60:02d}" for s in seconds]
    path = written(tmp_path, times)
    if gaps == "error":
        assert "does not fit" not in refused(path)
    else:
        found, _, _ = read(DataSettings(gaps="ignore"), path, task="forecast")
        assert len(found.values) == 60


def test_a_gap_beside_rows_in_another_order_is_a_gap(tmp_path):
    told = refused(written(tmp_path, [*DAYS[30:], *DAYS[:20]]))
    assert "10 steps are missing" in told


def test_many_times_of_another_order_are_no_mistakes():
    random = np.random.default_rng(0)
    times = random.permutation(500)
    assert not len(misplaced(times, np.zeros(500), np.arange(500))[0])


@pytest.mark.parametrize("wrong", ["2020-13-10", "2020-02-30", "Total 2020"])
def test_the_rows_that_can_be_read_show_what_is_wrong(tmp_path, wrong):
    told = refused(written(tmp_path, [*DAYS[:30], wrong, *DAYS[31:]]))
    assert f"row 32 (counting the header as row 1) has the time {wrong!r}" in told
    assert "Those of the other 59 rows can be read, such as '2020-01-01'" in told
    assert "data.time_format" not in told


def test_an_exponent_behind_a_decimal_comma(tmp_path):
    path = tmp_path / "sensor.csv"
    rows = [f"{day};{f'{1234.5 + 3 * k:.4E}'.replace('.', ',')}" for k, day in enumerate(DAYS)]
    path.write_text("\n".join(["day;value", *rows]) + "\n")
    found, _, _ = read(DataSettings(), path, task="forecast")
    np.testing.assert_allclose(found.values[:, 0], 1234.5 + 3 * np.arange(60), rtol=1e-4)


def of_shops(tmp_path, spelled):
    path = tmp_path / "shops.csv"
    rows = [
        f"{d},{spelled(k, shop)},{k}" for k, d in enumerate(DAYS) for shop in ("North End", "South")
    ]
    path.write_text("\n".join(["day,shop,sales", *rows]) + "\n")
    return path


@pytest.mark.parametrize("other", [str.upper, lambda name: name.replace(" ", "  ")])
def test_ids_in_two_spellings_are_named(tmp_path, other):
    told = refused(of_shops(tmp_path, lambda k, name: other(name) if k % 7 == 3 else name))
    assert "differ in case or spaces alone" in told
    assert repr(other("North End")) in told and "'North End'" in told
    assert "data.gaps=fill" not in told


def test_ids_that_differ_in_case_are_sequences_of_their_own_where_nothing_is_missing(tmp_path):
    path = tmp_path / "codes.csv"
    rows = [f"{day},{code},{k}" for k, day in enumerate(DAYS) for code in ("aB", "Ab")]
    path.write_text("\n".join(["day,code,value", *rows]) + "\n")
    found, _, _ = read(DataSettings(id=("code",)), path, task="forecast")
    assert sorted(found.ids.tolist()) == ["Ab", "aB"]


def test_a_clock_of_12_hours_without_am_and_pm_is_told(tmp_path):
    hours = [datetime(2024, 1, 1) + timedelta(hours=k) for k in range(24 * 10)]
    told = refused(written(tmp_path, [f"{hour:%Y-%m-%d %I:%M}" for hour in hours]))
    assert "120 rows repeat a time, and all hours are 1 to 12" in told
    assert "data.duplicates" not in told


@pytest.mark.parametrize("purpose", ["evaluate", "predict"])
def test_a_number_for_a_missing_value_is_named_in_new_data_too(tmp_path, purpose):
    path = written(tmp_path, DAYS)
    path.write_text(path.read_text().replace(",102\n", ",-999\n", 1))
    _, _, notes = read(DataSettings(), path, task="forecast", purpose=purpose)
    assert any("holds -999 in 1 row" in one and "leave these cells empty" in one for one in notes)
