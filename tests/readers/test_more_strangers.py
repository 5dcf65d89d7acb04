"""What two more strangers brought: layouts of public data, and data in memory."""

import zipfile

import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pytest
import soundfile

import gatewise
from gatewise.errors import ConfigError, DataError
from gatewise.settings import DataSettings
from gatewise.tasks import guess_task, read

DAYS = pd.date_range("2023-01-01", periods=60)


def of(source, task="forecast", **settings):
    return read(DataSettings(**settings), source, task=task)


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")
    return path


def test_lists_beside_folders_of_recordings_are_no_texts(tmp_path):
    for label in ("yes", "no", "up"):
        (tmp_path / label).mkdir()
        for number in range(4):
            wave = np.sin(np.arange(400) * 0.1 + number)
            soundfile.write(tmp_path / label / f"{number}.wav", wave / 2, 4000)
    for name in ("validation", "testing"):
        lines(tmp_path / f"{name}_list.txt", ["yes/0.wav", "no/1.wav"])
    assert guess_task(DataSettings(), tmp_path)[0] == "classify"
    found, _, _ = of(tmp_path, "classify")
    assert found.kind == "sound" and sorted(set(found.labels)) == ["no", "up", "yes"]


def test_lists_beside_folders_of_texts_and_texts_without_labels_are_left_out(tmp_path):
    for label in ("pos", "neg", "unsup"):
        for number in range(12):
            lines(tmp_path / label / f"{number}.txt", [f"a {label} review, number {number}"])
    lines(tmp_path / "urls_pos.txt", ["http://example.com/1"] * 12)
    found, _, notes = of(tmp_path, "classify")
    assert len(found) == 24 and sorted(set(found.labels)) == ["neg", "pos"]
    assert any("13 texts beside these folders or without a label are left out" in n for n in notes)


def test_hours_ending_belong_to_their_date(tmp_path):
    rows = [f"{day:%Y-%m-%d},{hour},{day.day + hour}" for day in DAYS for hour in range(1, 25)]
    found, _, _ = of(lines(tmp_path / "load.csv", ["Date,Hour Ending,Load", *rows]))
    assert (len(found), found.step) == (1, "1h")
    assert found.times[0] == np.datetime64("2023-01-01T01")
    assert found.times[-1] == np.datetime64("2023-03-02T00")


@pytest.mark.parametrize(("first", "last"), [(1949, 1968), (1962, 1976), (1998, 2023)])
def test_years_of_two_digits_are_those_before_2041(tmp_path, first, last):
    months = pd.date_range(f"{first}-01-01", f"{last}-12-01", freq="MS")
    rows = [f"{month:%b-%y},{100 + k % 12}" for k, month in enumerate(months)]
    found, _, _ = of(lines(tmp_path / "births.csv", ["Month,Births", *rows]))
    assert found.times.astype("M8[M]").tolist() == [month.date() for month in months]
    quarters = months[::3]
    rows = [f"{(q.month + 2) // 3}Q{q:%y},{k}" for k, q in enumerate(quarters)]
    found, _, _ = of(lines(tmp_path / "gdp.csv", ["Quarter,GDP", *rows]))
    assert found.times.astype("M8[M]").tolist() == [quarter.date() for quarter in quarters]


def test_the_german_march_is_a_month(tmp_path):
    names = ["Jan", "Feb", "Mrz", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov", "Dez"]
    rows = [f"{name}-{year};{k}" for year in range(10, 16) for k, name in enumerate(names)]
    found, _, _ = of(lines(tmp_path / "umsatz.csv", ["Monat;Umsatz", *rows]))
    assert found.step == "1mo" and found.times[0] == np.datetime64("2010-01")


def test_blank_rows_below_a_table_are_left_out_however_many(tmp_path):
    rows = [f"{day:%Y-%m-%d},{k}" for k, day in enumerate(DAYS)]
    found, _, notes = of(lines(tmp_path / "air.csv", ["date,co", *rows, *[","] * 120]))
    assert len(found.values) == 60 and any("120 blank rows are left out" in one for one in notes)


def test_a_target_of_texts_gets_no_remedy(tmp_path):
    rows = [f"{day:%Y-%m-%d},{'NORMAL' if k % 9 else 'BROKEN'}" for k, day in enumerate(DAYS)]
    path = lines(tmp_path / "pump.csv", ["date,status", *rows])
    with pytest.raises(DataError, match="It holds texts, and no number") as caught:
        of(path, target=("status",))
    assert "missing" not in str(caught.value)


def test_a_first_row_of_numbers_with_nan_is_data(tmp_path):
    rows = [f"{k / 10},{'NaN' if k % 7 == 0 else k / 5},{3 + k % 5}.5" for k in range(60)]
    found, _, _ = of(lines(tmp_path / "sensor.csv", rows), missing="zero", target=("column 3",))
    assert len(found.values) == 60


def test_labels_of_which_most_are_anomalies_are_noted(tmp_path):
    rows = [f"{day:%Y-%m-%d},{k % 5}.5,{int(k % 20 != 3)}" for k, day in enumerate(DAYS)]
    path = lines(tmp_path / "machine.csv", ["date,load,is_normal", *rows])
    _, _, notes = of(path, "detect", label="is_normal")
    assert any("57 of 60 labelled steps are anomalies" in one for one in notes)


@pytest.mark.parametrize("form", [list, lambda parts: np.array([*parts, None], dtype=object)[:-1]])
def test_masked_cells_of_arrays_in_a_list_are_empty(form):
    parts = []
    for seed in range(2):
        values = np.random.default_rng(seed).normal(size=60)
        values[7] = -9999
        parts.append(np.ma.array(values, mask=values == -9999))
    found, _, _ = of(form(parts), missing="zero")
    assert found.values.min() > -10 and found.values[7] == 0
    with pytest.raises(DataError, match="missing"):
        of(form(parts))


@pytest.mark.parametrize(
    "labels",
    [
        np.ma.array(["up", "down"] * 15, mask=[True] + [False] * 29),
        pd.Series([None, *["down", "up"] * 14, "up"], dtype="string"),
        pd.Series([None, *[True, False] * 14, True], dtype="boolean"),
    ],
    ids=["masked", "string", "boolean"],
)
def test_a_missing_label_of_any_kind_is_missing(labels):
    arrays = list(np.random.default_rng(0).normal(size=(30, 12, 2)))
    with pytest.raises(DataError, match="label"):
        of((arrays, labels), "classify")


def test_a_series_of_pandas_keeps_the_levels_and_texts_of_its_index():
    frame = pd.DataFrame(
        {
            "store": np.repeat(["a", "b"], 60),
            "day": [*DAYS, *DAYS],
            "sold": np.arange(120.0),
        }
    )
    found, _, _ = of(frame.groupby(["store", "day"])["sold"].sum())
    assert found.ids.tolist() == ["a", "b"] and found.step == "1d"
    texts = pd.Series(np.arange(60.0), index=[f"{day:%Y-%m-%d}" for day in DAYS[::-1]])
    found, _, _ = of(texts)
    assert found.step == "1d" and found.values[0, 0] == 59


def test_batches_of_arrow_and_long_doubles_are_tables():
    batch = pl.DataFrame({"day": DAYS.to_numpy(), "sold": np.arange(60.0)}).to_arrow().to_batches()
    assert of(batch[0])[0].step == "1d"
    frame = pd.DataFrame({"day": DAYS, "sold": np.arange(60, dtype=np.longdouble)})
    assert of(frame)[0].values[:, 0].tolist() == list(range(60))


@pytest.mark.parametrize("output", ["a" * 300, "x\0", 3, ["a"], b"runs", ""])
def test_an_output_that_is_no_path_is_refused(output):
    with pytest.raises(ConfigError, match="output"):
        gatewise.train(np.arange(60.0), task="forecast", output=output)


def test_a_table_in_a_text_is_refused():
    with pytest.raises(ConfigError, match=r"is not a path.*io\.StringIO"):
        gatewise.look("t,y\n" + "\n".join(f"{k},{k % 7}" for k in range(200)))


def test_settings_with_keys_that_are_no_texts_are_refused():
    for wrong in ({1: {"units": [4]}}, {"network": {None: 1}}):
        with pytest.raises(ConfigError):
            gatewise.look(np.arange(60.0), task="forecast", settings=wrong)


def test_a_pair_of_tokens_and_tags_is_looked_at():
    tokens = [["Ann", "sleeps", "here"], ["Bob", "left"]] * 20
    tags = [["B-PER", "O", "O"], ["B-PER", "O"]] * 20
    seen = gatewise.look((tokens, tags), task="tag")
    assert seen["task"] == "tag" and seen["columns"] == []


def test_recordings_in_a_list_have_columns(tmp_path):
    # A recording of a usual name would be found by the tests whose folders lie beside this one.
    paths = []
    for number in range(24):
        wave = np.sin(np.arange(400) * (0.1 if number % 2 else 0.5) + number)
        soundfile.write(tmp_path / f"tone-{number}.wav", wave / 2, 4000)
        paths.append(str(tmp_path / f"tone-{number}.wav"))
    seen = gatewise.look((paths, ["up", "down"] * 12), task="classify")
    assert len(seen["columns"]) == 2


def test_columns_without_tags_are_told(tmp_path):
    rows = [f"{k % 5 + 1}\tword\tword\tword\tNN\tNN\t_\t_\t0\t1\tMOD\tMOD\t_\t_" for k in range(60)]
    rows = [row for k, row in enumerate(rows) for row in ([row, ""] if k % 5 == 4 else [row])]
    with pytest.raises(DataError, match="no tags"):
        of(lines(tmp_path / "conll2009.txt", rows), "tag")


def test_markup_of_translations_is_refused(tmp_path):
    path = lines(tmp_path / "newstest.de.sgm", ['<seg id="1">Guten Tag</seg>'] * 30)
    with pytest.raises(DataError, match="files of this kind .* are not read"):
        of(path, "translate")


def test_a_forecaster_that_was_not_fitted_says_so():
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        gatewise.Forecaster().predict()


def test_an_archive_of_recordings_with_lists_is_one_of_recordings(tmp_path):
    path = tmp_path / "speech.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for label in ("yes", "no"):
            for number in range(4):
                one = tmp_path / f"{label}{number}.wav"
                soundfile.write(one, np.sin(np.arange(400) * 0.1 + number) / 2, 4000)
                archive.write(one, f"{label}/{number}.wav")
        archive.writestr("validation_list.txt", "yes/0.wav\n")
        archive.writestr("testing_list.txt", "no/0.wav\n")
    assert of(path, "classify")[0].kind == "sound"


YEARS = range(1990, 2014)
QUARTERS = [(year, quarter) for year in YEARS for quarter in range(1, 5)]
MONTHS = [(year, month) for year in YEARS for month in range(1, 13)]
WEEKS = [day.isocalendar()[:2] for day in pd.date_range("2018-01-01", periods=110, freq="7D")]


@pytest.mark.parametrize(
    ("header", "cells", "step", "first"),
    [
        ("Season", [f"{year}-{(year + 1) % 100:02d}" for year in YEARS], "1y", "1990-01-01"),
        ("Season", [f"{year}/{(year + 1) % 100:02d}" for year in YEARS], "1y", "1990-01-01"),
        ("week", [f"{year}{week:02d}" for year, week in WEEKS], "1w", "2018-01-01"),
        ("Month", [f"{year}.{month:02d}" for year, month in MONTHS], "1mo", "1990-01-01"),
        ("date", [f"{year}M{month}" for year, month in MONTHS], "1mo", "1990-01-01"),
        ("date", [f"{year}M{month:02d}" for year, month in MONTHS], "1mo", "1990-01-01"),
        ("date", [f"{year}:Q{quarter}" for year, quarter in QUARTERS], "3mo", "1990-01-01"),
        ("Trimestre", [f"{quarter}T{year}" for year, quarter in QUARTERS], "3mo", "1990-01-01"),
        (
            "Quartal",
            [f"{quarter}. Quartal {year}" for year, quarter in QUARTERS],
            "3mo",
            "1990-01-01",
        ),
    ],
    ids=lambda one: one[0] if isinstance(one, list) else one,
)
def test_years_quarters_months_and_weeks_as_offices_write_them(
    tmp_path, header, cells, step, first
):
    rows = [f"{cell};{k % 9}" for k, cell in enumerate(cells)]
    found, _, _ = of(lines(tmp_path / "office.csv", [f"{header};value", *rows]))
    assert found.step == step
    assert str(found.times[0].astype("M8[D]")) == first and len(found.values) == len(cells)


@pytest.mark.parametrize("ending", ["+01", "+01:00[Europe/Paris]", " +01", "Z[UTC]"])
def test_zones_as_databases_and_java_write_them(tmp_path, ending):
    hours = pd.date_range("2023-01-01", periods=60, freq="h")
    rows = [f"{hour:%Y-%m-%dT%H:%M:%S}{ending},{k % 9}" for k, hour in enumerate(hours)]
    found, _, _ = of(lines(tmp_path / "load.csv", ["time,load", *rows]))
    offset = 0 if "UTC" in ending else 1
    assert (found.step, found.zone) == ("1h", "+01:00" if offset else "")
    assert found.times[0] == np.datetime64("2023-01-01") - np.timedelta64(offset, "h")


def test_months_as_labour_statistics_write_them(tmp_path):
    rows = [f"CUUR0000,{year},M{month:02d},{100 + month}" for year, month in MONTHS]
    path = lines(tmp_path / "cpi.csv", ["series_id,year,period,value", *rows])
    found, _, _ = of(path)
    assert (len(found), found.step, len(found.values)) == (1, "1mo", len(MONTHS))
    path = lines(
        tmp_path / "cpi.csv", ["series_id,year,period,value", *rows, "CUUR0000,2013,M13,1"]
    )
    with pytest.raises(DataError, match="row 290 .*2013-13-01.* cannot be read"):
        of(path)


def test_totals_below_the_months_of_a_year_are_named(tmp_path):
    names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    rows = [f"{year},{name},{k}" for year in YEARS for k, name in enumerate([*names, "Total"])]
    with pytest.raises(DataError, match=r"row 14 .*Total.* cannot be read .24 rows"):
        of(lines(tmp_path / "sales.csv", ["Year,Month,Sales", *rows]))


def test_engines_that_a_counter_tells_apart_are_sequences_of_a_regression(tmp_path):
    rows = [
        f"{unit},{cycle},{np.sin(cycle + unit):.3f},{30 + unit - cycle}"
        for unit in range(1, 13)
        for cycle in range(1, 31 + unit)
    ]
    path = lines(tmp_path / "rul.csv", ["unit number,time in cycles,s1,RUL", *rows])
    found, settings, _ = of(path, "regress", target=("RUL",))
    assert (len(found), settings.id, settings.target_per) == (12, ("unit number",), "step")


def test_texts_of_numpy_and_short_floats_are_read():
    texts = list(np.array(["a good film", "a bad film", "so so"] * 10))
    found, _, _ = of((texts, ["up", "down", "up"] * 10), "classify")
    assert found.kind == "text" and len(found) == 30
    short = jnp.asarray(np.random.default_rng(0).normal(size=60), dtype="bfloat16")
    for given in (short, np.asarray(short), [short, short]):
        assert np.isfinite(of(given)[0].values).all()


def test_a_month_is_no_season(tmp_path):
    rows = [f"{2000 + k}-05,{k % 7}" for k in range(30)]
    with pytest.raises(DataError, match="2000-05.* cannot be read"):
        of(lines(tmp_path / "may.csv", ["year,value", *rows]), time_format="year")


def test_a_record_without_fields_is_a_column():
    frame = pl.DataFrame({"day": DAYS.to_numpy(), "sold": np.arange(60.0)})
    frame = frame.with_columns(pl.lit(None, pl.Struct([])).alias("extra"))
    assert len(of(frame, target=("sold",))[0].values) == 60


def test_records_in_a_column_are_columns(tmp_path):
    pairs = [{"en": f"the dog {k}", "de": f"der Hund {k}"} for k in range(30)]
    pl.DataFrame({"translation": pairs}).write_parquet(tmp_path / "wmt.parquet")
    for source in (tmp_path / "wmt.parquet", pl.DataFrame({"translation": pairs})):
        found, _, _ = of(source, "translate", text=("translation.en",), label="translation.de")
        assert len(found) == 30 and found.labels[0] == "der Hund 0"
