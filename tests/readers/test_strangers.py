"""Files as strangers have them: each is read to the right numbers, or a message says how."""

import csv
import json
import re
import shlex
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from gatewise.data.sequences import texts_of
from gatewise.errors import ConfigError, DataError, GatewiseError
from gatewise.readers import conll
from gatewise.readers.sources import opened
from gatewise.settings import DataSettings, assignment
from gatewise.tasks import guess_task, read

DAYS = [date(2022, 1, 1) + timedelta(days=k) for k in range(40)]
VALUES = [1234.5 + 10 * k for k in range(40)]
EVERY = list(zip(DAYS, VALUES, strict=True))


def german(value):
    return f"{value:,.2f}".replace(",", "T").replace(".", ",").replace("T", ".")


def indian(value):
    whole = f"{100 * value:.0f}"
    return f"{whole[0]},{whole[1:3]},{whole[3:]}"


BRACKETS = [f'{day},"({value:,.2f})"' for day, value in EVERY]
# The lines of a file, its target, and the numbers of its first sequence.
NUMBERS = {
    "brackets": (
        ["day,y", *BRACKETS[:30], *[f'{d},"{v:,.2f}"' for d, v in EVERY[30:]]],
        [*(-v for v in VALUES[:30]), *VALUES[30:]],
    ),
    "German brackets": (
        ["day;y", *[f"{day};({german(value)})" for day, value in EVERY]],
        [-value for value in VALUES],
    ),
    "suffixes": (
        [
            "day,y",
            *[f"{day},{value / 1000:.4f}K" for day, value in EVERY[:-1]],
            f"{DAYS[-1]},0.00162M",
        ],
        [*VALUES[:-1], 1620],
    ),
    "Indian groups": (
        ["day,y", *[f'{day},"{indian(value)}"' for day, value in EVERY]],
        [100 * value for value in VALUES],
    ),
    "two header rows, repeated": (
        [
            "day,y",
            "UTC,m",
            *[f"{d},{v}" for d, v in EVERY[:20]],
            "day,y",
            "UTC,m",
            *[f"{d},{v}" for d, v in EVERY[20:]],
        ],
        VALUES,
    ),
    "a header behind #": (
        ["#YY  MM DD  y", "#yr  mo dy  m", *[f"{d:%Y %m %d}  {v}" for d, v in EVERY]],
        VALUES,
    ),
    "minus signs of typesetters": (
        ["day,y", *[f"{d},−{v}" for d, v in EVERY]],
        [-value for value in VALUES],
    ),
    "minus signs of SAP": (
        ["day;y", *[f"{d};{german(v)}-" for d, v in EVERY]],
        [-value for value in VALUES],
    ),
    "a space behind the sign, and the number of each row": (
        ["NO.,day,y", *[f"{k},{d},{'+-'[k % 2]}  {v}" for k, (d, v) in enumerate(EVERY)]],
        [value * (-1) ** k for k, value in enumerate(VALUES)],
    ),
    "units above the names": (
        [";;kWh;%", "dd/MM/yyyy;Device;y;Signal", *[f"{d:%d/%m/%Y};A;{v};5" for d, v in EVERY]],
        VALUES,
    ),
    "a unit in each cell": (["day;y", *[f"{d};{german(v)} kWh" for d, v in EVERY]], VALUES),
    "French months": (
        [
            "jour;y",
            *[f"{d.day} {'févr.' if d.month > 1 else 'janv.'} {d.year};{v}" for d, v in EVERY],
        ],
        VALUES,
    ),
    "digits": (["date,y", *[f"{d:%Y%m%d}00,{v}" for d, v in EVERY]], VALUES),
    "basic ISO 8601": (["day,y", *[f"{d:%Y%m%d}T000000Z,{v}" for d, v in EVERY]], VALUES),
    "the log of a server": (
        ["day,y", *[f"{d:%d/%b/%Y}:00:00:00 +0000,{v}" for d, v in EVERY]],
        VALUES,
    ),
    "the header of a mail": (
        ["day;y", *[f"{d:%a, %d %b %Y} 00:00:00 GMT;{v}" for d, v in EVERY]],
        VALUES,
    ),
    "begin and end": (
        ["from;until;y", *[f"{d};{d + timedelta(days=1)};{german(v)}" for d, v in EVERY]],
        VALUES,
    ),
    "drawn by a database": (
        [
            "+------------+--------+",
            "| day        | y      |",
            "+------------+--------+",
            *[f"| {d} | {v:6} |" for d, v in EVERY],
            "+------------+--------+",
            "40 rows in set (0.00 sec)",
        ],
        VALUES,
    ),
    "empty cells behind the last column": (
        ["day,y", *[f"{d},{v}{',' * (k % 3)}" for k, (d, v) in enumerate(EVERY)]],
        VALUES,
    ),
    "files with byte-order marks, joined": (
        ["\ufeffday,y", *[f"{d},{v}" for d, v in EVERY[:20]], "\ufeffday,y"]
        + [f"{d},{v}" for d, v in EVERY[20:]],
        VALUES,
    ),
    "a header that ends with CR, and rows with LF": (
        [f"day,y\r{DAYS[0]},{VALUES[0]}", *[f"{d},{v}" for d, v in EVERY[1:]]],
        VALUES,
    ),
    "seconds with an exponent": (
        ["time,y", *[f"{1640995200 + 86400 * k:.9E},{v}" for k, v in enumerate(VALUES)]],
        VALUES,
    ),
    "booked and valued": (
        ["booked;valued;y;", *[f'"{d:%d.%m.%Y}";"{d:%d.%m.%Y}";{german(v)};' for d, v in EVERY]],
        VALUES,
    ),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_and_times_are_read_as_they_are_meant(tmp_path, name):
    lines, values = NUMBERS[name]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found, _, _ = read(DataSettings(target=("y",)), path, task="forecast")
    assert found.values.ravel() == pytest.approx(values)
    assert found.step == "1d"
    assert found.times[0] == np.datetime64("2022-01-01")


@pytest.mark.parametrize(("unit", "digits"), [("ms", 3), ("us", 6)])
@pytest.mark.parametrize("sign", [" ", ","])
def test_parts_of_a_second_in_a_column_of_their_own_belong_to_the_time(
    tmp_path, unit, digits, sign
):
    seconds = [divmod(250 * k, 1000) for k in range(40)]
    rows = [
        f"2022-01-01{sign}00:00:{s:02},{part * 10 ** (digits - 3)},{k * 1.5}"
        for k, (s, part) in enumerate(seconds)
    ]
    path = tmp_path / "data.csv"
    path.write_text("\n".join([f"date{sign}time,{unit},y", *rows]))
    found, settings, _ = read(DataSettings(target=("y",)), path, task="forecast")
    assert settings.time[-1] == unit
    assert (found.step, len(found), found.times[0]) == ("250ms", 1, np.datetime64("2022-01-01"))
    rows = [f"2022-01-01{sign}00:00:{k:02},{k % 7},{k}" for k in range(40)]  # a duration
    path.write_text("\n".join([f"date{sign}time,{unit},y", *rows]))
    assert unit not in read(DataSettings(target=("y",)), path, task="forecast")[1].time


JSON = {
    "columns": {
        "day": {str(k): str(d) for k, d in enumerate(DAYS)},
        "y": {str(k): v for k, v in enumerate(VALUES)},
    },
    "index": {str(k): {"day": str(d), "y": v} for k, (d, v) in enumerate(EVERY)},
    "split": {
        "columns": ["day", "y"],
        "index": list(range(40)),
        "data": [[str(d), v] for d, v in EVERY],
    },
    "split without an index": {
        "columns": ["day", "y"],
        "data": [[str(d), v] for d, v in EVERY],
    },
}


@pytest.mark.parametrize("orient", JSON)
def test_what_pandas_writes_as_json_is_a_table(tmp_path, orient):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(JSON[orient]))
    assert read(DataSettings(), path, task="forecast")[0].values.ravel().tolist() == VALUES


def nested(depth):
    """A row with an object within so many others."""
    return '{"x":' * depth + "1" + "}" * depth


BAD_JSON = {
    nested(300): "within more than 30 others",
    r'{"text": "\"{{\\", "x": ' + nested(31) + "}": "within more than 30 others",
    '{"a.b": 1, "a": {"b": 2}}': "the column 'a.b' and an object with a field of that name",
    r'{"x": NaN, "y": "\ud83d"}': "half of a character",
}


@pytest.mark.parametrize("ending", ["json", "jsonl"])
@pytest.mark.parametrize("row", BAD_JSON, ids=BAD_JSON.values())
def test_a_row_of_json_that_no_table_holds_is_a_sentence(tmp_path, row, ending):
    path = tmp_path / f"data.{ending}"
    path.write_text(f"[{row}]" if ending == "json" else f"{row}\n")
    with pytest.raises(DataError, match=BAD_JSON[row]):
        read(DataSettings(), path, task="forecast")


def test_lists_of_json_that_differ_in_length_are_named(tmp_path):
    (tmp_path / "data.json").write_text('{"y": [1, 2, 3], "x": [1, 2]}', encoding="utf-8")
    with pytest.raises(DataError, match="the lists of 'x' and 'y' have 2 and 3 values"):
        read(DataSettings(), tmp_path / "data.json", task="forecast")


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_braces_in_texts_are_not_objects_and_whole_pairs_are_characters(tmp_path, ending):
    path = tmp_path / f"data.{ending}"
    rows = [{"t": str(d), "y": v, "s": "{" * 40 + '\\"😀'} for d, v in EVERY]
    lines = map(json.dumps, rows)  # which escapes the character in two parts
    path.write_text(f"[{','.join(lines)}]" if ending == "json" else "\n".join(lines))
    found = read(DataSettings(target=("y",)), path, task="forecast")[0]
    assert found.values.ravel().tolist() == VALUES


def test_a_first_row_that_is_narrower_than_the_others_can_be_skipped(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["1,", *[f"{k}, {v}, 1.5" for k, v in enumerate(VALUES)]]))
    with pytest.raises(DataError, match=r"most others have 3 cells.*--set data\.skip_rows=1 \("):
        read(DataSettings(), path, task="forecast")
    settings = DataSettings(skip_rows=1, target=("column 2",))
    assert read(settings, path, task="forecast")[0].values.ravel().tolist() == VALUES


def test_the_answer_of_a_service_holds_one_table(tmp_path):
    path = tmp_path / "data.json"
    answer = {
        "latitude": 52.5,
        "hourly_units": {"time": "iso8601", "y": "°C"},
        "hourly": {"time": [str(day) for day in DAYS], "y": VALUES},
    }
    path.write_text(json.dumps(answer))
    found, _, notes = read(DataSettings(), path, task="forecast")
    assert found.values.ravel().tolist() == VALUES
    assert "the table is read from 'hourly'" in notes
    path.write_text(json.dumps(answer | {"daily": answer["hourly"]}))
    with pytest.raises(DataError, match="2 tables: 'hourly', 'daily'. Name one"):
        read(DataSettings(), path, task="forecast")


SECONDS = [1_646_092_800 + 86_400 * k for k in range(40)]
ANSWERS = {
    "pairs of a time and a value": [[1000 * t, v] for t, v in zip(SECONDS, VALUES, strict=True)],
    "a row of names": [["day", "y"], *[[str(day), value] for day, value in EVERY]],
    "series of pairs that share their times": {
        "y": [[1000 * t, v] for t, v in zip(SECONDS, VALUES, strict=True)],
    },
    "days as keys": {"Meta Data": {"a": "b"}, "Daily": {str(d): {"1. y": v} for d, v in EVERY}},
    "texts of numbers": [[str(day), str(value)] for day, value in EVERY],
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_rows_without_names_and_times_as_keys_are_read(tmp_path, kind):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(ANSWERS[kind]))
    target = {"pairs of a time and a value": ("column 2",), "texts of numbers": ("column 2",)}
    found, _, _ = read(DataSettings(target=target.get(kind, ())), path, task="forecast")
    assert found.values.ravel().tolist() == VALUES
    begin = DAYS[0] if kind not in list(ANSWERS)[:3:2] else date(2022, 3, 1)
    assert found.times.astype("M8[D]").astype(date).tolist() == [
        begin + timedelta(days=k) for k in range(40)
    ]


@pytest.mark.filterwarnings("ignore:'epoch' date format is deprecated")
@pytest.mark.parametrize("orient", ["columns", "index", "split"])
@pytest.mark.parametrize("date_format", ["epoch", "iso"])
def test_json_of_pandas_keeps_the_times_and_the_names_of_its_rows(tmp_path, orient, date_format):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "data.json"
    frame = pandas.DataFrame({"y": VALUES}, index=pandas.DatetimeIndex(DAYS))
    path.write_text(frame.to_json(orient=orient, date_format=date_format))
    found, _, _ = read(DataSettings(), path, task="forecast")
    assert found.times.astype("M8[D]").astype(date).tolist() == DAYS
    assert found.values.ravel().tolist() == VALUES
    frame = pandas.DataFrame({"x": [[v, -v] for v in VALUES], "label": ["a", "b"] * 20})
    frame.index = [f"walk {k}" for k in range(40)]
    path.write_text(frame.to_json(orient=orient))
    settings = DataSettings(id=("index",))
    assert read(settings, path, task="classify")[0].ids.tolist() == list(frame.index)


def test_seconds_since_1970_may_have_fractions(tmp_path):
    path = tmp_path / "log.csv"
    seconds = [1_646_092_800 + 0.25 * k for k in range(60)]
    path.write_text("timestamp,y\n" + "".join(f"{s:.6f},{k}\n" for k, s in enumerate(seconds)))
    found, settings, _ = read(DataSettings(), path, task="forecast")
    assert (settings.time, settings.time_format) == (("timestamp",), "epoch s")
    wanted = np.datetime64("2022-03-01T00:00:00", "us") + np.arange(60) * np.timedelta64(250, "ms")
    np.testing.assert_array_equal(found.times, wanted)


@pytest.mark.parametrize("mark", ["#", "%", "//"])
def test_lines_of_comments_above_a_table_are_left_out(tmp_path, mark):
    path = tmp_path / "data.txt"
    top = [f"{mark} Raw data of a device, 2 channels", f"{mark}Sample rate = 250 Hz"]
    path.write_text("\n".join([*top, "day, y", *[f"{day}, {value}" for day, value in EVERY]]))
    found, _, notes = read(DataSettings(), path, task="forecast")
    assert found.values.ravel().tolist() == VALUES
    assert f"lines that begin with {mark!r} are comments (data.comment)" in notes


def test_a_comma_between_thousands_that_cuts_money_makes_no_column(tmp_path):
    path = tmp_path / "data.csv"
    rows = [f"{day:%b %Y},${k + 1},{100 + k}" for k, day in enumerate(DAYS)]
    path.write_text("\n".join(["period,revenue", *rows]))
    with pytest.raises(DataError, match="3 cells, but only 2 columns have names") as error:
        guess_task(DataSettings(), path)
    assert "skip_rows" not in str(error.value)


def test_months_that_are_still_to_come_do_not_cost_whole_years(tmp_path):
    path = tmp_path / "data.csv"
    months = [f"{day:%b}" for day in (date(2022, k, 1) for k in range(1, 13))]
    lines = [f"{1990 + k},{','.join(map(str, range(12 * k, 12 * k + 12)))}" for k in range(30)]
    lines[-1] = f"2019,{','.join(map(str, range(348, 357)))},***,***,***"
    path.write_text("\n".join([f"Year,{','.join(months)}", *lines]))
    with pytest.raises(DataError, match="'Oct' of row 31") as error:
        read(DataSettings(), path, task="forecast")
    assert "footer_rows" not in str(error.value)
    words = shlex.split(re.search(r"train with (.*?) \(", str(error.value))[1])
    given = {key: value for _, key, value in (assignment(one) for one in words if "=" in one)}
    settings = DataSettings(
        **{key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
    )
    assert read(settings, path, task="forecast")[0].values.ravel().tolist() == list(range(357))


PRINTED = {
    "NumPy": lambda array: str(array),
    "lists": lambda array: str(array.tolist()),
    "lines of NumPy": lambda array: str(np.repeat(array, 20)),
}


@pytest.mark.parametrize("name", PRINTED)
def test_arrays_that_were_written_as_text_are_sequences_of_numbers(tmp_path, name):
    arrays = [np.array([k, -0.5, 1e-7 * k, 12.25]) for k in range(20)]
    rows = [f'{"ab"[k % 2]},"{PRINTED[name](array)}"' for k, array in enumerate(arrays)]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["label,signal", *rows]) + "\n")
    found, _, notes = read(DataSettings(), path, task="classify")
    wanted = np.array([np.repeat(one, 20 if name == "lines of NumPy" else 1) for one in arrays])
    np.testing.assert_allclose(found.values.reshape(wanted.shape), wanted, rtol=1e-6)
    assert "the column 'signal' holds lists of numbers as text" in notes


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (str(np.arange(2000.0)), "printed with '...' in place of most numbers"),
        ("[[1, 2], [3, 4]]", "lists of lists as text. Write the table as JSON Lines"),
    ],
)
def test_printed_arrays_that_lack_numbers_or_are_nested_are_refused(tmp_path, cell, said):
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["label,signal", *[f'{k % 2},"{cell}"' for k in range(20)]]) + "\n")
    with pytest.raises(DataError, match=re.escape(said)):
        read(DataSettings(), path, task="classify")


def test_numbers_that_python_wrote_as_nan_are_empty_cells(tmp_path):
    path = tmp_path / "data.jsonl"
    rows = [{"day": str(d), "y": float("nan") if k == 3 else v} for k, (d, v) in enumerate(EVERY)]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match="'y' has 1 empty cell, in row 4"):
        read(DataSettings(), path, task="forecast")


def test_a_column_called_a_time_that_is_not_read_as_times_is_named(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["date,y", *[f"day no {k},{v}" for k, v in enumerate(VALUES)]]))
    notes = read(DataSettings(), path, task="forecast")[2]
    assert any("'date' ('day no 0' ...) is not read as times" in note for note in notes)


def test_a_header_longer_than_a_block_is_a_header(tmp_path):
    names = [f"V{k:04000}" for k in range(400)]
    rows = [",".join([str(j % 2), *map(str, range(400))]) for j in range(30)]
    path = tmp_path / "data.csv"
    path.write_text("\n".join([",".join(["label", *names]), *rows]) + "\n")
    found, _, _ = read(DataSettings(), path, task="classify")
    assert found.lengths.tolist() == [400] * 30


def test_codes_that_look_like_millions_stay_codes(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["flat,day,y", *[f"12B,{d},{v}" for d, v in EVERY]]) + "\n")
    found, _, _ = read(DataSettings(target=("y",), id=("flat",)), path, task="forecast")
    assert found.ids.tolist() == ["12B"]


WIDE = {
    "ISO": ([str(day) for day in DAYS], "1d", "2022-01-01"),
    "American": ([f"{day.month}/{day.day}/{day:%y}" for day in DAYS], "1d", "2022-01-01"),
    "months": ([f"{2018 + k // 12}-{k % 12 + 1:02}" for k in range(40)], "1mo", "2018-01-01"),
    "years": ([str(1970 + k) for k in range(40)], "1y", "1970-01-01"),
    "newest first": ([str(day) for day in DAYS[::-1]], "1d", "2022-01-01"),
}


@pytest.mark.parametrize("name", WIDE)
def test_columns_whose_names_are_times_are_the_steps(tmp_path, name):
    names, step, first = WIDE[name]
    values = VALUES[::-1] if name == "newest first" else VALUES
    rows = [
        f"{town},5.5,{','.join(str(value + k) for value in values)}"
        for k, town in enumerate(("Ulm", "Bonn", "Kiel"))
    ]
    path = tmp_path / "data.csv"
    path.write_text("\n".join([f"town,latitude,{','.join(names)}", *rows]) + "\n")
    assert guess_task(DataSettings(), path)[0] == "forecast"
    found, settings, notes = read(DataSettings(), path, task="forecast")
    assert found.ids.tolist() == ["Ulm", "Bonn", "Kiel"]
    assert found[1].ravel().tolist() == [value + 1 for value in VALUES]
    assert (found.step, str(found.times[0])[:10]) == (step, first)
    assert any("times name them" in note for note in notes)
    path.write_text("\n".join([f"town,latitude,{','.join(names)}", rows[0]]) + "\n")
    assert read(settings, path, task="forecast", purpose="predict")[0].ids.tolist() == ["Ulm"]


def test_numbered_columns_are_not_years(tmp_path):
    names = [str(1100 + 2 * k) for k in range(700)]
    path = tmp_path / "data.csv"
    path.write_text("\n".join([",".join(names), *[",".join(["1"] * 700)] * 3]) + "\n")
    with pytest.raises(ConfigError, match="No task recognises"):
        guess_task(DataSettings(), path)


def test_messages_of_devices_are_series(tmp_path):
    path = tmp_path / "data.jsonl"
    rows = [
        {"ts": 1_672_531_200_000 + 60_000 * k, "device": {"id": f"d{j}"}, "data": {"y": k * j}}
        for k in range(20)
        for j in range(3)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    found, _, _ = read(DataSettings(target=("data.y",)), path, task="forecast")
    assert found.ids.tolist() == ["d0", "d1", "d2"]
    assert (found.step, found[2].ravel().tolist()) == ("1m", [2.0 * k for k in range(20)])


def test_series_that_a_number_orders_are_not_read_as_one(tmp_path):
    rows = [f"{name},{k},{k * 1.5}" for k in range(10, 30) for name in "abc"]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["device,counter,y", *rows]) + "\n")
    with pytest.raises(DataError, match="'device' distinguishes 3 series"):
        read(DataSettings(target=("y",)), path, task="forecast")


def test_several_columns_of_times_are_named_in_the_message(tmp_path):
    rows = [f"{d},{d + timedelta(days=k % 3)},{v}" for k, (d, v) in enumerate(EVERY)]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["ordered at,paid,y", *rows]) + "\n")
    with pytest.raises(ConfigError, match="all hold times") as caught:
        read(DataSettings(target=("y",)), path, task="forecast")
    offered = re.split(r" or (?=--set)", str(caught.value).rstrip(".").partition("steps: ")[2])
    named = [assignment(shlex.split(one)[1]) for one in offered]
    assert named == [("data", "time", "ordered at"), ("data", "time", "paid")]


def test_events_of_a_day_can_be_summed_up(tmp_path):
    rows = [f"{day},{k}" for day in DAYS for k in range(1 + day.day % 4)]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["day,amount", *rows]) + "\n")
    with pytest.raises(DataError, match=r"data.duplicates=sum \(leaves 40 of"):
        read(DataSettings(target=("amount",)), path, task="forecast")


STEPS = [f"{day.month}/{day.day}/{day:%y}" for day in DAYS]


def wide_rows(begins):
    return [f"{begin},{','.join(f'{v + k}' for v in VALUES)}" for k, begin in enumerate(begins)]


def test_two_columns_name_the_rows_of_a_wide_table_and_one_may_be_empty(tmp_path):
    path = tmp_path / "data.csv"
    begins = [",Albania,41.2", ",Chad,15.5", "Ontario,Canada,51.3", "Quebec,Canada,52.9"]
    path.write_text("\n".join(["Province,Country,Lat," + ",".join(STEPS), *wide_rows(begins)]))
    found, settings, _ = read(DataSettings(), path, task="forecast")
    assert settings.id == ("Province", "Country")
    assert found.ids.tolist() == ["/Albania", "/Chad", "Ontario/Canada", "Quebec/Canada"]
    assert found.times[0] == np.datetime64("2022-01-01")


def test_years_name_the_columns_below_a_preamble_with_blank_lines(tmp_path):
    path = tmp_path / "data.csv"
    years = ",".join(f'"{1980 + k}"' for k in range(40))
    top = ['"Source","Indicators",', "", '"Updated","2024-03-28",', "", f'"Name","Code",{years},']
    rows = [f"{row}," for row in wide_rows(["Aruba,ABW", "Chad,TCD"])]
    path.write_text("\n".join([*top, *rows]))
    found, _, notes = read(DataSettings(), path, task="forecast")
    assert found.ids.tolist() == ["Aruba", "Chad"]
    assert found.values.ravel().tolist() == [*VALUES, *(v + 1 for v in VALUES)]
    assert any(note.startswith("4 lines above the header are skipped") for note in notes)
    by_hand = read(DataSettings(skip_rows=4), path, task="forecast")[0]
    assert by_hand.values.tolist() == found.values.tolist()


def test_the_lines_that_are_skipped_are_those_of_an_editor(tmp_path):
    path = tmp_path / "data.csv"
    rows = [f"{day},{value}" for day, value in EVERY]
    path.write_text("\n".join(["", "# made by hand", "1,2", "", "day,y", *rows]))
    settings = DataSettings(skip_rows=4, comment="#", target=("y",))
    assert read(settings, path, task="forecast")[0].values.ravel().tolist() == VALUES


def test_dates_with_dots_and_constant_times_beside_those_of_the_rows(tmp_path):
    path = tmp_path / "data.csv"
    rows = [
        f"{d:%Y.%m.%d},{2 + k % 3:02d}:00,2021-12-31,2022-03-01,7,{v}"
        for k, (d, v) in enumerate(EVERY)
    ]
    path.write_text("\n".join(["<DATE>,<TIME>,_start,_stop,table,y", *rows]))
    settings = DataSettings(time=("<DATE>", "<TIME>"), gaps="ignore")
    found = read(settings, path, task="forecast")[0]
    assert found.times[1] == np.datetime64("2022-01-02T03:00")
    path.write_text(
        "\n".join(
            ["day,_start,_stop,table,y", *(f"{d},2021-12-31,2022-03-01,7,{v}" for d, v in EVERY)]
        )
    )
    found, settings, _ = read(DataSettings(), path, task="forecast")
    assert (settings.time, settings.target) == (("day",), ("y",))


def test_aligned_numbers_below_comments_are_no_running_text(tmp_path):
    path = tmp_path / "data.txt"
    rows = [f"  {1990 + k // 12}  {k % 12 + 1:4d} {k:9.2f}   -9.99" for k in range(60)]
    path.write_text("\n".join([*(f"# comment {k} of the station" for k in range(300)), *rows]))
    assert guess_task(DataSettings(), path)[0] == "forecast"
    found, settings, _ = read(DataSettings(target=("column 3",)), path, task="forecast")
    assert settings.time == ("column 1", "column 2") and found.step == "1mo"
    # Without months that follow each other, nothing tells what the numbers are.
    rows = [f"  {1990 + k // 12}  {7 * k % 12 + 1:4d} {k:9.2f}   -9.99" for k in range(60)]
    path.write_text("\n".join([*(f"# comment {k} of the station" for k in range(300)), *rows]))
    with pytest.raises(ConfigError, match="'column 1' .number., 'column 2' .number."):
        guess_task(DataSettings(), path)


REVIEWS = ["I really like this film a lot", "this was terrible to watch"]
# The header of a table, its rows, and the task and the labels that are recognised.
TEXTS = {
    "two columns": (
        "review,rated",
        lambda k: f"{REVIEWS[k % 2]},{'np'[k % 2]}",
        "classify",
        ("rated",),
    ),
    "empty columns": (
        "v1,v2,,,",
        lambda k: f"{'np'[k % 2]},{REVIEWS[k % 2]},,,",
        "classify",
        ("v1",),
    ),
    "a usual name": (
        "id,keyword,text,target",
        lambda k: f"{k},fire,{REVIEWS[k % 2]},{k % 2}",
        "classify",
        ("target",),
    ),
    "flags": (
        "id,comment,toxic,insult",
        lambda k: f"{k},{REVIEWS[k % 2]},{k % 2},{k % 3 % 2}",
        "classify",
        ("toxic", "insult"),
    ),
    "real numbers": (
        "essay,score",
        lambda k: f"{REVIEWS[k % 2]},{k / 7:.2f}",
        "regress",
        ("score",),
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_labels_beside_texts_are_recognised(tmp_path, name):
    header, row, task, labels = TEXTS[name]
    path = tmp_path / "data.csv"
    path.write_text("\n".join([header, *map(row, range(40))]))
    assert guess_task(DataSettings(), path)[0] == task
    settings = read(DataSettings(), path, task=task)[1]
    named = settings.target or settings.label_columns or (settings.label,)
    assert named == labels


@pytest.mark.parametrize(
    "row", [lambda k: f"{REVIEWS[k % 2]},{17 * k}", lambda k: f"{REVIEWS[k % 2]},{DAYS[k]}"]
)
def test_counts_and_times_beside_texts_are_no_labels(tmp_path, row):
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["text,other", *map(row, range(40))]))
    try:
        assert guess_task(DataSettings(), path)[0] == "forecast"
    except ConfigError as error:
        assert "Give --task" in str(error)


def test_labels_beside_texts_and_lists(tmp_path):
    path = tmp_path / "data.jsonl"
    rows = [
        {
            "index": [k],
            "text": REVIEWS[k % 2],
            "votes": [k, 3],
            "user": f"A{k}",
            "overall": float(k % 2),
        }
        for k in range(40)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert guess_task(DataSettings(), path)[0] == "classify"
    assert read(DataSettings(), path, task="classify")[1].label == "overall"


ARFF = {
    "steps": ["@attribute att0 numeric", *(f"@attribute att{k} real" for k in range(1, 8))],
    "dimensions": [
        "@attribute bag relational",
        "@attribute t0 real",
        "@attribute t1 real",
        "@end bag",
    ],
}


def test_arff_holds_sequences_or_a_table(tmp_path):
    path = tmp_path / "data.arff"
    steps = [f"{','.join(str(k + j) for j in range(6))},?,?,{'ab'[k % 2]}" for k in range(10)]
    end = ["@attribute activity {a,b}", "@data"]
    path.write_text("\n".join(["% made by hand", "@relation x", *ARFF["steps"], *end, *steps]))
    found = read(DataSettings(), path, task="classify")[0]
    assert (found.lengths.tolist(), found.labels.tolist()) == ([6] * 10, [*"ab" * 5])
    bags = [f"'{k},1\\n2,3\\n4,5',{'ab'[k % 2]}" for k in range(10)]
    path.write_text("\n".join(["@relation x", *ARFF["dimensions"], *end, *bags]))
    found = read(DataSettings(), path, task="classify")[0]
    assert found.values[:4].tolist() == [[0, 2, 4], [1, 3, 5], [1, 2, 4], [1, 3, 5]]
    rows = [f"{day},{value},{'ab'[k % 2]}" for k, (day, value) in enumerate(EVERY)]
    table = ["@attribute day date 'yyyy-MM-dd'", "@attribute y numeric", *end]
    path.write_text("\n".join(["@relation x", *table, *rows]))
    longest = csv.field_size_limit()
    found = read(DataSettings(), path, task="forecast")[0]
    assert (found.step, found.values.ravel().tolist()) == ("1d", VALUES)
    assert csv.field_size_limit() == longest  # which scipy lifts


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"@relation x",
        b"@relation x\n@attribute a string\n@data\nb",
        b"@relation x\n@attribute a numeric\n@data\nb",
        b"@relation x\n@attribute a numeric\n@attribute b {1,2}\n@data\n1,2\n1",
        b"@relation x\n@attribute a numeric\n@data\n",
        bytes(range(256)),
    ],
)
def test_a_damaged_arff_is_a_sentence(tmp_path, content):
    path = tmp_path / "data.arff"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(str(path))):
        read(DataSettings(), path, task="classify")


# The cells of a clock that begins with each sequence, and the seconds between them.
ELAPSED = {
    "hours": (lambda k: f"{k // 3600:02d}:{k // 60 % 60:02d}:{k % 60:02d}", 1.0),
    "a recorder": (lambda k: f"'{k // 200 // 60}:{k / 200 % 60:06.3f}'", 0.005),
    "pandas": (lambda k: f"{k // 48} days {k // 2 % 24:02d}:{k % 2 * 30:02d}:00", 1800.0),
}


@pytest.mark.parametrize("name", ELAPSED)
def test_a_clock_that_rises_is_the_time(tmp_path, name):
    cell, apart = ELAPSED[name]
    path = tmp_path / "data.csv"
    rows = [f"{one},{cell(k)},{v}" for one in "ab" for k, v in enumerate(VALUES)]
    path.write_text("\n".join(["id,elapsed,y", *rows]))
    found, settings, _ = read(DataSettings(target=("y",)), path, task="forecast")
    assert (settings.time, settings.time_format) == (("elapsed",), "elapsed")
    assert np.diff(found.times[:40]) == pytest.approx(np.full(39, apart))


def test_a_time_of_day_that_repeats_is_no_time(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["hour,y", *[f"{k % 24:02d}:00,{v}" for k, v in enumerate(VALUES)]]))
    assert read(DataSettings(), path, task="forecast")[1].time == ()


def test_a_semicolon_may_end_each_line(tmp_path):
    path = tmp_path / "data.txt"
    rows = [f"33,{10**9 * k},{v},-0.5;" for k, v in enumerate(VALUES)]
    path.write_text("\n".join(["user,t,y,z;", *rows]))
    found, _, notes = read(DataSettings(target=("y",)), path, task="forecast")
    assert found.values.ravel().tolist() == VALUES
    assert "the semicolon at the end of each line is left out" in notes


def test_the_begins_of_intervals_belong_to_their_date(tmp_path):
    begins = [datetime(2024, 1, 1) + k * timedelta(minutes=15) for k in range(200)]
    rows = [
        f"{one:%d.%m.%Y};{one:%H:%M};{one + timedelta(minutes=15):%H:%M};{k % 7},5"
        for k, one in enumerate(begins)
    ]
    path = tmp_path / "meter.csv"
    path.write_text("\n".join(["Datum;Von;Bis;kWh", *rows]))
    found, settings, _ = read(DataSettings(path=str(path)), task="forecast")
    assert settings.time == ("Datum", "Von") and found.step == "15m"


@pytest.mark.parametrize("lists", [[["a", "b"], ["c"]], [[["0", "4", "x"]], []]])
def test_lists_of_labels_are_no_traceback(lists):
    table = pl.DataFrame({"text": ["some words", "other words"] * 20, "labels": lists * 20})
    for task in ("classify", "detect", "regress"):
        with pytest.raises(GatewiseError):
            read(DataSettings(), table, task=task)
    numbers = table.select(label="labels", x=pl.int_range(40))
    with pytest.raises(GatewiseError, match="column 'label' holds lists"):
        read(DataSettings(), numbers, task="classify")
    dated = table.select(
        time="labels", x="text", day=pl.date_range(date(2024, 1, 1), date(2024, 2, 9))
    )
    assert guess_task(DataSettings(), dated)[0] == "forecast"
    binary = dated.with_columns(time=pl.col("x").cast(pl.Binary))
    assert guess_task(DataSettings(), binary)[0] == "forecast"


WORDS = ("a long and sad story", "the best film of the year", "two hours that never end")


@pytest.mark.parametrize(
    ("name", "form", "sign"),
    [
        ("news.csv", '"{label}","The News Of Today {k}","{text} {k}"', "column 1"),
        ("feelings.txt", "{text} {k};{word}", "column 2"),
        ("flowers.csv", "{k}.5,0.2{k},1.7,Iris-{word}", "column 4"),
    ],
)
def test_a_first_row_of_texts_and_labels_is_no_header(tmp_path, name, form, sign):
    rows = [
        form.format(text=WORDS[k % 3], label=k % 3 + 1, word=("joy", "fear")[k % 2], k=k)
        for k in range(30)
    ]
    path = tmp_path / name
    path.write_text("\n".join(rows))
    table = opened(DataSettings(path=str(path))).table()
    assert (len(pl.concat(list(table.batches(table.columns)))), sign in table.columns) == (30, True)


def test_a_header_whose_names_occur_below_stays_a_header(tmp_path):
    path = tmp_path / "joined.csv"
    rows = ["text,label", *[f"{WORDS[k % 3]} {k},{'ab'[k % 2]}" for k in range(12)]] * 2
    path.write_text("\n".join(rows))
    assert opened(DataSettings(path=str(path))).table().columns == ["text", "label"]


def test_cells_may_be_longer_than_the_parser_of_python_allows(tmp_path):
    path, text = tmp_path / "long.csv", "word " * 50_000
    path.write_text("text,label\n" + "".join(f'"{text}{k}",{"ab"[k % 2]}\n' for k in range(4)))
    found, _, _ = read(DataSettings(), path, task="classify")
    assert found.lengths.min() > 200_000
    assert csv.field_size_limit() == 131_072


def test_a_column_of_parts_is_not_dropped_in_silence(tmp_path):
    path = tmp_path / "parts.csv"
    rows = [f"{WORDS[k % 3]} {k},{'ab'[k % 2]},{'test' if k > 20 else 'train'}" for k in range(30)]
    path.write_text("\n".join(["text,label,split", *rows]))
    _, _, notes = read(DataSettings(), path, task="classify")
    assert "not read: 'split'" in notes
    assert any(note.startswith("the column 'split' names parts") for note in notes)


def test_dates_beside_texts_are_neither_texts_nor_labels(tmp_path):
    path = tmp_path / "tweets.csv"
    dated = "Mon Apr 06 22:19:{k:02d} PDT 2009"
    rows = [f"{k % 2},{dated.format(k=k)},{WORDS[k % 3]} {k}" for k in range(30)]
    path.write_text("\n".join(["target,date,text", *rows]))
    task, _ = guess_task(DataSettings(), path)
    _, settings, _ = read(DataSettings(), path, task="classify")
    assert (task, settings.text, settings.label) == ("classify", ("text",), "target")
    rows = [f"2003021{k % 5},{WORDS[k % 3]} {k}" for k in range(30)]
    path.write_text("\n".join(["publish_date,headline", *rows]))
    with pytest.raises(ConfigError, match="No task recognises"):
        guess_task(DataSettings(), path)


TOKENS, TAGS = ["Ann", "saw", "New", "York"], ["B-PER", "O", "B-LOC", "I-LOC"]
TAGGED = {
    "rows.csv": "sentence_idx,word,tag\n"
    + "".join(f"{k},{a},{b}\n" for k in range(20) for a, b in zip(TOKENS, TAGS, strict=True)),
    "kaggle.csv": "Sentence #,Word,POS,Tag\n"
    + "".join(
        f"{f'Sentence: {k}' if a == 'Ann' else ''},{a},NN,{b}\n"
        for k in range(20)
        for a, b in zip(TOKENS, TAGS, strict=True)
    ),
    "commas.csv": "sentence,word_labels\n" + f'{" ".join(TOKENS)},"{",".join(TAGS)}"\n' * 20,
    "spaces.csv": "text,labels\n" + f"{' '.join(TOKENS)},{' '.join(TAGS)}\n" * 20,
    "lists.csv": "id,tokens,ner_tags\n" + f'1,"{TOKENS}","{TAGS}"\n' * 20,
    "numpy.csv": "id,tokens,ner_tags\n" + f'1,"{np.array(TOKENS)}","{np.array(TAGS)}"\n' * 20,
    "named.tsv": "token\tpos\n"
    + "\n".join(["".join(f"{a}\t{b}\n" for a, b in zip(TOKENS, TAGS, strict=True))] * 20),
}


@pytest.mark.parametrize("name", TAGGED)
def test_tags_of_words_are_recognised_however_a_table_holds_them(tmp_path, name):
    path = tmp_path / name
    path.write_text(TAGGED[name])
    assert guess_task(DataSettings(), path)[0] == "tag"
    found, _, _ = read(DataSettings(), path, task="tag")
    assert len(found) == 20
    assert conll.tokens_of(found, conll.TOKEN, 19) == TOKENS
    assert conll.tokens_of(found, conll.TAG, 19) == TAGS


def test_files_without_a_suffix_may_be_the_texts_of_classes(tmp_path):
    for k in range(8):
        folder = tmp_path / ("rec.autos", "sci.space")[k % 2]
        folder.mkdir(exist_ok=True)
        (folder / str(10_000 + k)).write_text(f"Subject: {WORDS[k % 3]}\n")
    assert guess_task(DataSettings(), tmp_path)[0] == "classify"
    found, _, _ = read(DataSettings(), tmp_path, task="classify")
    assert sorted(set(found.labels)) == ["rec.autos", "sci.space"]
    settings = DataSettings(text=("text",), label="label")
    new, _, _ = read(settings, tmp_path, task="classify", purpose="predict")
    assert (new.ids[0], len(new)) == ("rec.autos/10000", 8)


def test_single_words_are_the_texts_if_the_label_is_named(tmp_path):
    path = tmp_path / "names.csv"
    rows = [f"{('ivan', 'paul')[k % 2]}{k},{('NA', 'RU')[k % 2]}" for k in range(30)]
    path.write_text("\n".join(["name,country", *rows]))
    found, settings, _ = read(DataSettings(label="country"), path, task="classify")
    assert (settings.text, set(found.labels)) == (("name",), {"NA", "RU"})


def test_the_licence_of_project_gutenberg_is_no_part_of_the_work(tmp_path):
    path = tmp_path / "book.txt"
    begin, end = (f"*** {word} OF THE PROJECT GUTENBERG EBOOK A ***" for word in ("START", "END"))
    path.write_text(f"The Project Gutenberg eBook of A\n\n{begin}\n\nIt was night.\n\n{end}\nTerms")
    found, _, notes = read(DataSettings(), path, task="language")
    assert texts_of(found) == ["It was night.\n"]
    assert "the header and the licence of Project Gutenberg are left out" in notes


def test_a_remedy_that_changes_nothing_repeats_no_sentence():
    """Texts of a frame are not a file, so that a decimal sign does not change them."""
    frame = pl.DataFrame({"y": [f"{k},126" for k in range(40)]})
    with pytest.raises(DataError) as caught:
        read(DataSettings(target=("y",)), frame, task="forecast")
    assert str(caught.value).lower().count("column 'y' must hold numbers") == 1


def test_new_data_are_told_their_own_flaw_alone():
    """A setting that might mend it is of training, and so is what follows the setting."""
    frame = pl.DataFrame({"id": ["a", *"b" * 40], "y": ["x", *map(str, range(40))]})
    settings = DataSettings(target=("y",), id=("id",), layout="long")
    with pytest.raises(DataError, match="Sequence 'a' has"):
        read(settings, frame, task="forecast")
    with pytest.raises(DataError) as caught:
        read(settings, frame, task="forecast", purpose="predict")
    assert "but row 1 (counting from 1) has 'x'" in str(caught.value)
    assert "Sequence" not in str(caught.value)


def test_a_long_cell_of_a_series_is_cut_in_the_message(tmp_path):
    path = tmp_path / "series.tsf"
    path.write_text(f"@attribute series_name string\n@data\nT1:1,{'o' * 5000},3\n")
    with pytest.raises(DataError, match="line 3 holds a value that is not a number") as caught:
        read(DataSettings(), path, task="forecast")
    assert len(str(caught.value)) < 400
