"""Every remedy that a message proposes reads the file, and it proposes one wherever one does."""

import re
import shlex
from datetime import datetime, timedelta

import pandas as pd
import pytest

from gatewise.errors import DataError
from gatewise.settings import DataSettings, assignment, from_mapping
from gatewise.tasks import read

HOURS = [datetime(2023, 1, 1) + timedelta(hours=k) for k in range(60)]
ROWS = [f"{hour},{10 + k % 7}.5" for k, hour in enumerate(HOURS)]
LOCAL = pd.date_range("2022-10-20", periods=400, freq="h", tz="Europe/Berlin")
SPRING = pd.date_range("2023-03-20", periods=400, freq="h", tz="Europe/Berlin")


def without(places, rows=ROWS, cell=""):
    """The rows with another cell at these places."""
    return [f"{row.split(',')[0]},{cell}" if k in places else row for k, row in enumerate(rows)]


def panel(**series):
    """The rows of several series, each a list of cells."""
    return [
        f"{name},{hour},{cell}"
        for name, cells in series.items()
        for hour, cell in zip(HOURS, cells, strict=False)
    ]


LEVEL, PANEL = "time,level", "id,time,level"
NUMBERS = [str(k % 5) for k in range(30)]
# A header and rows; the number of steps that are read with the first way.
FLAWED = {
    "an empty cell": ([LEVEL, *without([4])], 60),
    "empty cells at the begin": ([LEVEL, *without([0, 1, 7])], 58),
    "empty cells at the end": ([LEVEL, *without([58, 59])], 60),
    "a series that begins empty": ([PANEL, *panel(a=NUMBERS, b=["", *NUMBERS])], 60),
    "a series without values": ([PANEL, *panel(a=NUMBERS, b=[""] * 30)], 60),
    "repeated times": ([LEVEL, *ROWS[:9], ROWS[8], *ROWS[9:]], 60),
    "a column that tells series apart": (
        [
            "time,sensor,level",
            *[f"{hour},{n},{n * k}" for k, hour in enumerate(HOURS[:20]) for n in (4, 5, 6)][:-2],
        ],
        58,
    ),
    "gaps": ([LEVEL, *ROWS[:9], *ROWS[12:]], 60),
    "times off the grid": ([LEVEL, *ROWS[:9], "2023-01-01 08:30:00,1", *ROWS[9:]], 61),
    "two spacings": (
        [PANEL, *panel(a=NUMBERS), *[f"b,2023-01-{k + 1:02},{k}" for k in range(28)]],
        58,
    ),
    "a far time": ([LEVEL, *ROWS, "2093-01-01 00:00:00,1"], 61),
    "the clock set back": ([LEVEL, *[f"{t.tz_localize(None)},{t.hour}" for t in LOCAL]], 400),
    "the clock set forward": ([LEVEL, *[f"{t.tz_localize(None)},{t.hour}" for t in SPRING]], 400),
    "a total": ([LEVEL, *ROWS, "2023-02-01 00:00:00,total"], 60),
    "a last line without a time": ([LEVEL, *ROWS, "exported by hand,7"], 60),
    "words": ([LEVEL, *without([4, 5], cell="broken")], 60),
    "words at the begin": ([LEVEL, *without([0, 5], cell="off")], 59),
    "words in two columns": (
        [
            "time,level,load",
            *[f"{row},{'x' if k == 9 else k}" for k, row in enumerate(without([4], cell="y"))],
        ],
        60,
    ),
    "an open mark": ([LEVEL, *[f'{hour},"1,{k:03}"' for k, hour in enumerate(HOURS)]], 60),
    "an infinite number": ([LEVEL, *without([4, 9], cell="inf")], 60),
    "repeated times, gaps and empty cells": (
        [LEVEL, *ROWS[:9], ROWS[8], *ROWS[12:20], *without(range(5), ROWS[20:])],
        60,
    ),
    "words and gaps": ([LEVEL, *without([4], cell="off")[:30], *ROWS[33:]], 60),
    "words and a footer": ([LEVEL, *without([4], cell="off"), "end of the file,total"], 60),
}


def settings_of(name):
    past = ("load",) if name == "words in two columns" else ()
    return DataSettings(target=("level",), past=past)


def ways(text: str, settings: DataSettings) -> list[DataSettings]:
    """The settings after each way that a message names."""
    found = []
    offered = re.search(r"[Tt]rain with (--set .*)\.$|: (--set .*)$", text)
    for way in re.split(r" or (?=--set)", offered[1] or offered[2]) if offered else []:
        data = {"target": list(settings.target), "past": list(settings.past)}
        for word in shlex.split(re.sub(r" \([^()]*\)$", "", way)):
            if word != "--set":
                section, key, value = assignment(word)
                assert section == "data"
                data[key] = value
        found.append(from_mapping({"data": data}).data)
    return found


@pytest.mark.parametrize("name", FLAWED)
def test_every_way_of_a_message_reads_the_whole_file(tmp_path, name):
    (header, *rows), steps = FLAWED[name]
    path = tmp_path / "data.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read(settings_of(name), path, task="forecast")
    offered = ways(str(caught.value), settings_of(name))
    assert offered, caught.value
    heights = [len(read(one, path, task="forecast")[0].values) for one in offered]
    assert heights[0] == steps, caught.value


def test_flaws_that_follow_each_other_are_told_together(tmp_path):
    path = tmp_path / "data.csv"
    header, *rows = FLAWED["repeated times, gaps and empty cells"][0]
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read(settings_of(""), path, task="forecast")
    for flaw in ("1 row repeats a time", "5 empty cells", "with 1 gap", "3 steps are missing"):
        assert flaw in str(caught.value)


MONTHS = [f"{month:%b %Y}" for month in pd.date_range("2018-01-01", periods=40, freq="MS")]


def sales(*, region: bool = True) -> str:
    """Months of three regions, one month of each corrected by a second row, and a total below."""
    rows = ["Region,Month,Sales,Comment"]
    for name in ("North", "South", "East"):
        for k, month in enumerate(MONTHS):
            rows.append(f"{name},{month},{100 + k % 12},")
            rows += [f"{name},{month},{90 + k % 12},corrected"] * (k == 10)
    rows.append("Total,,99999,")
    return "\n".join(rows if region else [row.partition(",")[2] for row in rows]) + "\n"


def test_a_total_a_missing_id_and_repeated_months_are_told_together(tmp_path):
    path = tmp_path / "sales.csv"
    path.write_text(sales(), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read(DataSettings(target=("Sales",)), path, task="forecast")
    text = str(caught.value)
    for flaw in ("row 125 ", "83 rows repeat a time", "3 rows repeat a time"):
        assert flaw in text
    offered = ways(text, DataSettings(target=("Sales",)))
    assert [one.duplicates for one in offered] == ["first", "last", "mean", "sum"]
    for one in offered:
        assert (one.footer_rows, one.id) == (1, ("Region",))  # comments on rows are not ids
        assert read(one, path, task="forecast")[0].lengths.tolist() == [40] * 3


def test_flaws_are_told_together_where_the_last_one_is_left_to_the_user(tmp_path):
    path = tmp_path / "sales.csv"
    path.write_text(sales(region=False), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read(DataSettings(target=("Sales",)), path, task="forecast")
    text = str(caught.value)
    assert "row 125 " in text and "83 rows repeat a time" in text
    assert text.endswith(
        "Name it in data.id or data.time. Then train with --set data.footer_rows=1."
    )


SENTINELS = {
    "in the middle": ([LEVEL, *without([4, 9], cell="-9999")], 1),
    "at the begin": ([LEVEL, *without([0, 9], cell="-9999")], 1),
    "a number of no common kind": ([LEVEL, *without([4, 9], cell="-200")], 1),
    "in a whole series": ([PANEL, *panel(a=NUMBERS, b=["-9999"] * 30)], 0),
    "in two columns": (
        [
            "time,level,load",
            *[
                f"{row},{-999 if k in (3, 7) else k}"
                for k, row in enumerate(without([4, 9], cell="-9999"))
            ],
        ],
        1,
    ),
}


@pytest.mark.parametrize("name", SENTINELS)
def test_a_note_on_a_sentinel_proposes_only_what_reads_the_file(tmp_path, name):
    (header, *rows), count = SENTINELS[name]
    path = tmp_path / "data.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    settings = settings_of("words in two columns" if "load" in header else "")
    notes = [note for note in read(settings, path, task="forecast")[2] if "far outside" in note]
    assert len(notes) == 1
    offered = ways(notes[0], settings)
    assert len(offered) == count, notes
    for one in offered:
        assert read(one, path, task="forecast")[0].values.min() >= 0


def test_a_sentinel_that_is_an_ordinary_number_elsewhere_says_so(tmp_path):
    path = tmp_path / "data.csv"
    rows = [f"{row},{k % 3 - 1}" for k, row in enumerate(without([4, 9], cell="-1"))]
    rows = [row.replace(",1", ",11") for row in rows]
    path.write_text("\n".join(["time,level,load", *rows]) + "\n", encoding="utf-8")
    settings = DataSettings(target=("level",), past=("load",))
    notes = read(settings, path, task="forecast")[2]
    assert any("20 cells of column 'load' also hold -1" in note for note in notes), notes


def test_series_without_values_are_left_out_of_training_and_named(tmp_path):
    path = tmp_path / "data.csv"
    rows = panel(a=NUMBERS, b=NUMBERS, c=[""] * 30, d=NUMBERS[:9])
    path.write_text("\n".join([PANEL, *rows]) + "\n", encoding="utf-8")
    found, _, notes = read(settings_of(""), path, task="forecast")
    assert (found.ids.tolist(), found.lengths.tolist()) == (["a", "b", "d"], [30, 30, 9])
    assert [len(one) for one in found] == [30, 30, 9]
    wanted = "1 of 4 sequences has no value of 'level' and is left out of training: 'c'"
    assert wanted in notes
    asked, _, _ = read(settings_of(""), path, task="forecast", purpose="predict")
    assert asked.ids.tolist() == ["a", "b", "c", "d"]
