"""The dialects of text files: what is found is stated, and every remedy reads the whole file."""

import gzip
import re
import shlex
from datetime import datetime, timedelta

import pytest

from gatewise.errors import DataError
from gatewise.readers import dialect, marks
from gatewise.readers.delimited import TAIL
from gatewise.settings import DataSettings, assignment, from_mapping
from gatewise.tasks import read

HOURS = [datetime(2023, 1, 1) + timedelta(hours=k) for k in range(60)]
LEVELS = [10 + k % 7 + k / 100 for k in range(60)]
ROWS = [f"{hour},{level:.2f}" for hour, level in zip(HOURS, LEVELS, strict=True)]
LEVELLED = DataSettings(target=("level",))


def of(path, settings=LEVELLED, task="forecast", purpose="train"):
    return read(settings, path, task=task, purpose=purpose)


def written(path, lines, encoding="utf-8", end="\n"):
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


def followed(error: DataError, settings: DataSettings) -> DataSettings:
    """The settings after every `--set` of a message."""
    experiment = from_mapping({"data": {}})
    for word in shlex.split(str(error))[1:]:
        if re.match(r"data\.\w+=", word):
            section, key, value = assignment(word.rstrip(".:;"))
            experiment = from_mapping({section: {key: value}}, experiment)
    changed = {
        name: getattr(experiment.data, name)
        for name in DataSettings.__dataclass_fields__
        if getattr(experiment.data, name) != getattr(DataSettings(), name)
    }
    return DataSettings(**{"target": settings.target, **changed})


TABLE = ["time,level", *ROWS]
SEMICOLONS = [line.replace(",", ";") for line in TABLE]
DIALECTS = {
    "plain": (TABLE, None),
    "sep": (["sep=;", *SEMICOLONS], "semicolons"),
    "semicolons": (SEMICOLONS, "semicolons"),
    "a preamble": (["Station 12", "Exported: 2023-06-01", "", *TABLE], "3 lines above the header"),
    "a preamble with commas": (["Place: 40.0, 10.0, 3", "x", *TABLE], "2 lines above the header"),
    "comments": (["# station 12, logger 3", "# x", *TABLE], "'#' are comments"),
    "comments between": ([*TABLE[:9], "# cleaned", *TABLE[9:]], None),
    "a blank line between": ([*TABLE[:9], "", *TABLE[9:]], "row 10 is blank and left out"),
    "a row of separators": ([*TABLE[:9], " ,", *TABLE[9:]], "row 10 is blank and left out"),
    "blank rows below": ([*TABLE, ",", ",", ","], "3 lines below the table"),
    "a footer": ([*TABLE, "", "Source: the station, in metres"], "1 line below the table"),
    "units": (["time,level", "UTC,m", *ROWS], "2 rows name the columns"),
    "three header rows": (["time,level", "ticker,ZZZ", "date,", *ROWS], "3 rows name the columns"),
}


@pytest.mark.parametrize("name", [name for name in DIALECTS if name != "comments between"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_a_dialect_is_found_and_stated(tmp_path, name, end):
    lines, note = DIALECTS[name]
    found, _, notes = of(written(tmp_path / "data.csv", lines, end=end))
    assert found.values.ravel() == pytest.approx(LEVELS, abs=0.005)
    assert (found.step, len(found.times)) == ("1h", 60)
    assert note is None or any(note in one for one in notes), notes


def test_stray_blank_rows_are_counted_and_keep_the_numbers_of_rows(tmp_path):
    lines = [*TABLE, *TABLE[1:21], *TABLE[1:30]]
    lines[30:30], lines[70:70] = [","], [""]
    with pytest.raises(DataError, match="is 2023-01-01 in row 63"):  # lines[62]
        of(written(tmp_path / "data.csv", lines))
    _, _, notes = of(written(tmp_path / "data.csv", lines[:62]))
    assert "row 31 is blank and left out" in notes


def test_blank_rows_between_sequences_are_not_left_out(tmp_path):
    lines = [*TABLE[:21], "", *TABLE[21:41], "", *TABLE[41:]]
    with pytest.raises(DataError, match=r"row 22 .* has no time \(2 rows have no time\)"):
        of(written(tmp_path / "data.csv", lines))


@pytest.mark.parametrize("size", [9000, TAIL - 60, TAIL - 20, TAIL])
def test_a_footer_is_left_out_of_a_file_of_any_length(tmp_path, size):
    footer = "Sum of all levels\nSource: the station\nPrinted by hand\n"
    rows = [f"{k},{k}.5\n" for k in range(size // 12)]
    text = "".join(["time,level\n", *rows, f"{len(rows)},0."])
    path = tmp_path / "data.csv"
    path.write_text(text.ljust(size - len(footer) - 1, "5") + "\n" + footer)
    assert path.stat().st_size == size
    assert len(of(path)[0].values) == len(rows) + 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "cp1252"])
def test_the_encoding_is_found(tmp_path, encoding):
    lines = ["time,größe", *ROWS]
    path = written(tmp_path / "data.csv", lines, encoding)
    found, _, notes = of(path, DataSettings(target=("größe",)))
    assert found.values.ravel() == pytest.approx(LEVELS, abs=0.005)
    assert encoding == "utf-8-sig" or any("the file " in note for note in notes)


def test_a_packed_file_has_the_same_dialect(tmp_path):
    lines = ["A title", *SEMICOLONS, ";", "Total of the station"]
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    found, _, _ = of(path)
    assert found.values.ravel() == pytest.approx(LEVELS, abs=0.005)


@pytest.mark.parametrize("setting", ["skip_rows", "footer_rows", "comment", "header_rows"])
def test_what_cannot_be_found_can_be_set(tmp_path, setting):
    lines, value = {
        "skip_rows": (["1,2", "3,4", *TABLE], 2),
        "footer_rows": ([*TABLE, "2030-01-01 00:00:00,7", "2031-01-01 00:00:00,8"], 2),
        "comment": (DIALECTS["comments between"][0], "#"),
        "header_rows": (["time,level", "2000-01-01 00:00:00,7", *ROWS], 2),
    }[setting]
    path = written(tmp_path / "data.csv", lines)
    found, _, _ = of(path, DataSettings(target=("level",), **{setting: value}))
    assert found.values.ravel() == pytest.approx(LEVELS, abs=0.005)


@pytest.mark.parametrize(
    ("decimal", "thousands"), [(",", "."), (",", " "), (",", ""), ("", ","), ("", "'")]
)
def test_marks_of_numbers_are_found_and_kept_for_new_data(tmp_path, decimal, thousands):
    def shown(value):
        text = f"{value:,.2f}".replace(",", "T").replace(".", decimal or ".")
        return text.replace("T", thousands)

    values = [1000.5 * k for k in range(1, 1300, 20)]
    days = [datetime(2023, 1, 1) + timedelta(days=k) for k in range(len(values))]
    lines = [f"{day:%Y-%m-%d};{shown(value)}" for day, value in zip(days, values, strict=True)]
    path = written(tmp_path / "data.csv", ["time;level", *lines])
    found, settings, _ = of(path)
    assert found.values.ravel().tolist() == values
    assert settings.decimal == decimal
    again, _, _ = of(written(tmp_path / "new.csv", ["time;level", *lines[:9]]), settings)
    assert again.values.ravel().tolist() == values[:9]


def test_an_open_mark_is_asked_about_and_each_answer_reads_the_column(tmp_path):
    lines = [f"2023-01-{day:02};1,{day:03}" for day in range(1, 25)]
    path = written(tmp_path / "data.csv", ["time;level", *lines])
    with pytest.raises(DataError, match=r"1,001 is then 1001.*1,001 is then 1\.001"):
        of(path)
    for key, first in (("thousands", 1001.0), ("decimal", 1.001)):
        found, _, _ = of(path, DataSettings(target=("level",), **{key: ","}))
        assert found.values[0, 0] == first


def test_a_decimal_point_among_decimal_commas_is_refused(tmp_path):
    lines = [f"2023-01-{day:02};{day},5" for day in range(1, 25)]
    path = written(tmp_path / "data.csv", ["time;level", *lines[:-1], "2023-01-24;2.75"])
    with pytest.raises(DataError, match="has '2.75"):
        of(path)


@pytest.mark.parametrize(
    "lines",
    [
        [*TABLE, "2023-02-01 00:00:00,total"],
        [*TABLE[:5], *[f"{row.split(',')[0]},broken" for row in ROWS[4:7]], *TABLE[8:]],
        [*TABLE[:5], f"{ROWS[4].split(',')[0]},", *TABLE[6:]],
        [TABLE[0], *[f"{row.split(',')[0]}," for row in ROWS[:3]], *ROWS[3:]],
        [*TABLE, *[f"{when}," for when in ("2023-01-03 12:00:00", "2023-01-03 13:00:00")]],
        ["time,level", *[f"{hour:%d/%m/%Y %H:%M},{k}" for k, hour in enumerate(HOURS[:12])]],
    ],
    ids=["a total", "words", "a gap", "leading gaps", "trailing gaps", "day or month"],
)
def test_every_remedy_reads_the_whole_file(tmp_path, lines):
    path = written(tmp_path / "data.csv", lines)
    with pytest.raises(DataError) as caught:
        of(path)
    text = str(caught.value)
    remedies = re.findall(r"data\.missing=(\w[\w-]*)", text)
    if remedies:
        for policy in remedies:
            told = followed(caught.value, LEVELLED)
            of(path, DataSettings(**{**told.__dict__, "missing": policy}))
        return
    if forms := re.findall(r'"(%[^"]+)"', text):
        for form in forms:
            of(path, DataSettings(target=("level",), time_format=form))
        return
    found, _, _ = of(path, followed(caught.value, LEVELLED))
    assert len(found.values)


def test_flaws_are_told_together_with_their_counts(tmp_path):
    path = written(tmp_path / "data.csv", [*TABLE[:9], ",1", ",2", "then,3", *TABLE[9:]])
    with pytest.raises(DataError, match="2 rows have no time and 1 row has a time that cannot"):
        of(path)
    path = written(tmp_path / "more.csv", ["level,load", "1,", ",2", "3,", "4,5"])
    with pytest.raises(DataError, match="'level' has 1 empty cell, .*'load' has 2 empty cells"):
        of(path, DataSettings(target=("level",), past=("load",)))


def test_a_sentinel_is_named_and_its_remedy_reads_the_file(tmp_path):
    lines = [*TABLE[:9], *[f"{row.split(',')[0]},-9999.00" for row in ROWS[8:12]], *TABLE[13:]]
    path = written(tmp_path / "data.csv", lines)
    _, _, notes = of(path)
    note = next(note for note in notes if "-9999 in 4 rows, far outside" in note)
    found, _, _ = of(path, followed(DataError(note), LEVELLED))
    assert found.values.min() >= 10


def test_ordinary_extremes_are_no_sentinels(tmp_path):
    path = written(tmp_path / "data.csv", [*TABLE[:-2], *[row[:20] + "15.5" for row in ROWS[-2:]]])
    assert not any("far outside" in note for note in of(path)[2])


def test_columns_of_the_same_name_get_numbers(tmp_path):
    lines = ["time,level,temp,temp", *[f"{row},1,2" for row in ROWS]]
    _, _, notes = of(written(tmp_path / "data.csv", lines))
    assert "not read: 'temp', 'temp 2'" in notes


def test_names_over_several_rows_are_joined_where_they_repeat(tmp_path):
    lines = ["time,price,", ",open,close", *[f"{row},{k}" for k, row in enumerate(ROWS)]]
    found, _, _ = of(written(tmp_path / "data.csv", lines), DataSettings(target=("price close",)))
    assert found.values.ravel().tolist() == list(range(60))


def test_a_table_of_aligned_columns_is_cut_at_white_space(tmp_path):
    lines = ["   time  level", *[f"{k:7}  {level:5.2f}" for k, level in enumerate(LEVELS)]]
    found, _, _ = of(written(tmp_path / "data.txt", lines))
    assert found.values.ravel() == pytest.approx(LEVELS, abs=0.005)


def test_numbers_without_names_are_a_table_and_numbered_names_are_names(tmp_path):
    path = written(tmp_path / "data.csv", [f"{level:.2f}" for level in LEVELS])
    found, settings, notes = of(path, DataSettings())
    assert (len(found.values), settings.target) == (60, ("column 1",))
    assert any("no row names the columns" in note for note in notes)
    head = "id,2010,2011,2012"
    text = "\n".join([head, *[f"{one},1,2,3" for one in "abc"]]) + "\n"
    assert dialect.found(text, text, ",", DataSettings()).header_rows == 1


@pytest.mark.parametrize("signs", [signs for signs in marks.TRIED if signs != ("", ".")])
def test_a_number_with_marks_is_the_number(signs):
    text = marks.example(*signs)
    assert re.match(marks.pattern(*signs), text)
    assert marks.value(text, *signs) == 1234.5


def test_lines_that_are_quoted_as_a_whole_are_read_without_the_quotes(tmp_path):
    path = tmp_path / "data.csv"
    rows = ['"day,name,y"', *[f'"2024-01-{k:02d},""a"",{k}"' for k in range(1, 29)]]
    for end in ("\n", "\r\n"):
        path.write_bytes(("\ufeff" + end.join(rows) + end).encode())
        sequences, _, notes = read(DataSettings(target=("y",)), path, task="forecast")
        assert sequences.values[:, 0].tolist() == list(range(1, 29))
        assert "each line is quoted as a whole, and is read without these quotes" in notes
    path.write_text('"text"\n"one, two"\n"three, four"\n')
    texts, _, _ = read(DataSettings(text=("text",)), path, task="language")
    assert len(texts.values)
