"""Layouts in which offices, exchanges and annotators publish their data."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from gatewise.errors import DataError
from gatewise.settings import DataSettings
from gatewise.tasks import guess_task, read

DAYS = pd.date_range("2020-01-01", periods=90)
VALUES = [float(10 * k % 37) for k in range(90)]


def of(source, task="forecast", **settings):
    return read(DataSettings(**settings), source, task=task)


def tags(found):
    """The tags of the first sentence."""
    names = found.levels["tag"]
    return [names[int(place)] for place in found[0][:, list(found.columns).index("tag")]]


def written(path, content):
    path.write_text(json.dumps(content) if path.suffix == ".json" else "\n".join(content) + "\n")
    return path


SECONDS = [int(day.timestamp()) for day in DAYS]
TEXTS = [[f"play song {k}", "music"] for k in range(20)] + [["rain", "weather"]] * 20
SPANS = [["Ann saw Rome", {"entities": [[0, 3, "PER"], [8, 12, "LOC"]]}]] * 30
QUANDL = {
    "dataset": {
        "id": 1,
        "column_names": ["Date", "Close"],
        "frequency": "daily",
        "data": [[f"{day:%Y-%m-%d}", v] for day, v in zip(DAYS, VALUES, strict=True)][::-1],
    }
}
YAHOO = {
    "meta": {"currency": "USD", "validRanges": ["1d", "5d"]},
    "timestamp": SECONDS,
    "indicators": {"quote": [{"open": VALUES[::-1], "close": VALUES}]},
}
CORNERS = {"box": [[1.5, 2], [3, 4]], "of": {"time": SECONDS, "close": VALUES}}
PARALLEL = {"latitude": 1.5, "time": SECONDS, "close": VALUES}
WORLD_BANK = [
    {"page": 1, "pages": 1, "total": 90},
    [
        {"country": {"id": "BR", "value": "Brazil"}, "date": str(2019 - k), "value": v}
        for k, v in enumerate(VALUES[::-1])
    ],
]


@pytest.mark.parametrize(
    "content, target, first",
    [
        (QUANDL, "Close", "2020-01-01"),
        ({"chart": {"result": [YAHOO], "error": None}}, "close", "2020-01-01"),
        (PARALLEL, "close", "2020-01-01"),
        (CORNERS, "close", "2020-01-01"),
        (WORLD_BANK, "value", "1930-01-01"),
    ],
    ids=[
        "names beside rows",
        "times beside objects of lists",
        "lists beside numbers",
        "points",
        "a page",
    ],
)
def test_tables_within_json_are_found(tmp_path, content, target, first):
    found, _, _ = of(written(tmp_path / "a.json", content), target=(target,))
    assert found.values[:, 0].tolist() == VALUES
    assert str(found.times[0].astype("M8[D]")) == first


def test_parts_of_a_data_set_in_one_file_are_told(tmp_path):
    path = written(tmp_path / "a.json", {"train": TEXTS, "val": TEXTS[15:25], "oos": []})
    with pytest.raises(DataError, match=r"holds 2 tables: 'train', 'val'. Name one of them: .*#"):
        of(path, "classify")
    found, _, _ = of(f"{path}#val", "classify", label="column 2", text=("column 1",))
    assert found.labels.tolist() == ["music"] * 5 + ["weather"] * 5


@pytest.mark.parametrize(
    "content",
    [
        SPANS,
        {"classes": ["PER"], "annotations": [*SPANS, None]},
        [{"text": text, **spans} for text, spans in SPANS],
    ],
    ids=["pairs", "beside their classes", "objects"],
)
def test_texts_with_spans_are_read_as_spacy_and_annotators_write_them(tmp_path, content):
    path = written(tmp_path / "a.json", content)
    assert guess_task(DataSettings(), path)[0] == "tag"
    found, _, _ = of(path, "tag")
    assert len(found) == 30 and tags(found) == ["B-PER", "O", "B-LOC"]


def test_columns_of_unequal_lists_are_refused(tmp_path):
    path = written(tmp_path / "a.json", {"x": [[1, 2]] * 5, "label": ["a"] * 4})
    with pytest.raises(DataError, match="the lists of 'label' and 'x' have 4 and 5 values"):
        of(path, "classify")


@pytest.mark.parametrize("blank", [[], ["# "]], ids=["", "a blank comment"])
def test_a_header_in_the_last_comment_is_read(tmp_path, blank):
    rows = [f"  260,{day:%Y%m%d},{v:6.0f}" for day, v in zip(DAYS, VALUES, strict=True)]
    above = ["# STN  LON(east)  LAT(north)", "# 260: 5.180, 52.100", "#", "# TG: 0.1 degrees"]
    path = written(tmp_path / "a.txt", [*above, "# STN,YYYYMMDD,   TG", *blank, *rows])
    found, settings, _ = of(path, target=("TG",))
    assert found.values[:, 0].tolist() == VALUES and settings.time == ("YYYYMMDD",)
    assert str(found.times[-1].astype("M8[D]")) == f"{DAYS[-1]:%Y-%m-%d}"


def test_padded_hours_behind_dates_in_digits_are_joined(tmp_path):
    rows = [f"260,{day:%Y%m%d},{hour:5d},{hour + day.day:5d}" for day in DAYS for hour in range(24)]
    found, settings, _ = of(written(tmp_path / "a.csv", ["STN,YYYYMMDD,   HH,   T", *rows]))
    assert settings.time == ("YYYYMMDD", "HH") and found.step == "1h" and len(found) == 1


def test_a_sign_with_a_dash_is_zero(tmp_path):
    rows = [
        f'{day:%Y-%m-%d},"{" $ -   " if v == 0 else f" $ {1000 + v:,.2f} "}"'
        for day, v in zip(DAYS, VALUES, strict=True)
    ]
    found, _, notes = of(written(tmp_path / "a.csv", ["day,revenue", *rows]))
    assert found.values[:, 0].tolist() == [v and 1000 + v for v in VALUES]
    assert any("$5 is read as 5, and $ - as 0" in note for note in notes)


def test_years_and_months_without_names_are_a_time(tmp_path):
    rows = [f"{1950 + k // 12};{k % 12 + 1:02d};{k * 0.7:.3f};{v}" for k, v in enumerate(VALUES)]
    found, settings, _ = of(written(tmp_path / "a.csv", rows), target=("column 4",))
    assert settings.time == ("column 1", "column 2")
    assert found.times.astype("M8[M]").astype(int).tolist() == [k - 240 for k in range(90)]
    # Whole numbers that are no months after each other stay values.
    rows = [f"{1950 + k % 7};{k % 12 + 1};{v}" for k, v in enumerate(VALUES)]
    path = written(tmp_path / "b.csv", rows)
    assert of(path, target=("column 3",))[1].time == ()


def test_quarters_behind_a_point_are_read_in_a_column_that_says_so(tmp_path):
    rows = [f"{1990 + k // 4}.{k % 4 + 1},{v}" for k, v in enumerate(VALUES)]
    found, settings, _ = of(written(tmp_path / "a.csv", ["quarter,gdp", *rows]))
    assert settings.time_format == "quarter"
    assert found.times.astype("M8[M]").astype(int).tolist() == [240 + 3 * k for k in range(90)]
    path = written(tmp_path / "b.csv", ["x,gdp", *rows])
    assert of(path, target=("gdp",))[1].time == ()


def test_a_year_in_the_first_row_of_each_year_is_that_of_the_rows_below(tmp_path):
    names = [f"{month:%b}" for month in pd.date_range("2020", periods=12, freq="MS")]
    rows = [f"{'' if k % 12 else 2000 + k // 12},{names[k % 12]},{v}" for k, v in enumerate(VALUES)]
    found, _, notes = of(written(tmp_path / "a.csv", ["Year,Month,Sales", *rows]))
    assert found.times.astype("M8[M]").astype(int).tolist() == [360 + k for k in range(90)]
    assert any("empty cells of 'Year' are read as the year above them" in one for one in notes)
    # One empty cell among full ones is a flaw.
    full = [f"{2000 + k // 12},{names[k % 12]},{v}" for k, v in enumerate(VALUES)]
    full[30] = full[30][4:]
    with pytest.raises(DataError, match="no time"):
        of(written(tmp_path / "d.csv", ["Year,Month,Sales", *full]))
    # A year without a month leaves no row with a time.
    with pytest.raises(DataError, match="no time"):
        of(written(tmp_path / "c.csv", ["Year,Month,Sales", "2000,,1", ",3,2", ",4,3"]))
    # A month that does not follow the one above it has no known year.
    rows[40] = f",{names[0]},{VALUES[40]}"
    with pytest.raises(DataError, match="no time"):
        of(written(tmp_path / "b.csv", ["Year,Month,Sales", *rows]))


def test_sentences_beside_lists_of_tags_are_tagged(tmp_path):
    row = "Ann saw Rome,\"['NNP', 'VBD', 'NNP']\",\"['B-per', 'O', 'B-geo']\""
    rows = [f"Sentence: {k},{row}" for k in range(20)]
    path = written(tmp_path / "ner.csv", ["Sentence #,Sentence,POS,Tag", *rows])
    assert guess_task(DataSettings(label="Tag"), path)[0] == "tag"
    found, settings, _ = of(path, "tag", label="Tag")
    assert tags(found) == ["B-per", "O", "B-geo"]
    new = written(tmp_path / "new.csv", ["Sentence #,Sentence", "1,Bob left", "2,Ann saw Bob"])
    found, _, _ = read(settings, new, task="tag", purpose="predict")
    assert found.lengths.tolist() == [2, 3]


def test_a_label_beside_lists_of_tokens_and_tags_is_a_label(tmp_path):
    row = {"tokens": ["Ann", "ran"], "tags": ["B-PER", "O"]}
    rows = [{**row, "mood": "good" if k % 2 else "bad"} for k in range(20)]
    path = written(tmp_path / "a.json", rows)
    assert guess_task(DataSettings(label="tags"), path)[0] == "tag"
    assert guess_task(DataSettings(label="mood"), path)[0] == "classify"


def test_sparse_columns_of_pandas_are_read():
    zeros = pd.arrays.SparseArray([v * (v > 20) for v in VALUES], fill_value=0.0)
    frame = pd.DataFrame({"day": DAYS, "y": zeros})
    for source in (frame, frame.set_index("day"), frame.set_index("day")["y"]):
        assert of(source)[0].values[:, 0].tolist() == list(zeros)
    numbered = pd.DataFrame.sparse.from_spmatrix(scipy.sparse.csr_matrix(np.outer(VALUES, [1, 2])))
    assert of(numbered, target=("1",))[0].values[:, 0].tolist() == [2 * v for v in VALUES]
    assert of(numbered, target=("0",))[0].values[:, 0].tolist() == VALUES


@pytest.mark.parametrize("finest", ["months", "quarters", "years"])
def test_the_shortest_periods_of_a_described_series_are_read(tmp_path, finest):
    above = ['"Title","CPI INDEX"', '"CDID","D7BT"', '"PreUnit",""', '"Release date","18-10-2023"']
    rows = [f'"{1990 + k}","{k + 0.5}"' for k in range(30)]
    if finest != "years":
        rows += [f'"{1990 + k // 4} Q{k % 4 + 1}","{k + 0.5}"' for k in range(120)]
    if finest == "months":
        names = [f"{month:%b}".upper() for month in pd.date_range("2020", periods=12, freq="MS")]
        rows += [f'"{1990 + k // 12} {names[k % 12]}","{k + 0.5}"' for k in range(360)]
    found, settings, notes = of(written(tmp_path / "series.csv", [*above, *rows]))
    assert settings.target == ("CPI INDEX",)
    assert found.step == {"months": "1mo", "quarters": "3mo", "years": "1y"}[finest]
    assert found.values[:, 0].tolist() == [k + 0.5 for k in range(len(found.times))]
    assert any("all but the shortest" in note for note in notes)
