"""The layouts that the field uses: archives, folders, labelled lines, nested objects."""

import json
import zipfile
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from gatewise.data.sequences import texts_of
from gatewise.errors import ConfigError, DataError
from gatewise.readers.conll import tokens_of
from gatewise.settings import DataSettings
from gatewise.tasks import guess_task, read

SERIES = "time,level\n" + "\n".join(f"2023-01-{day:02},{day}" for day in range(1, 25)) + "\n"
TSF = """# a comment
@attribute series_name string
@attribute start_timestamp date
@frequency monthly
@data
T1:1979-01-01 00-00-00:1,2,3.5
T2:1980-02-01 00-00-00:4,?,6,7
"""


def of(path, task, purpose="train", **settings):
    return read(DataSettings(**settings), path, task=task, purpose=purpose)


def test_a_file_of_the_ucr_archive_is_labelled_rows(tmp_path):
    rows = [[k % 2 * 2 - 1, *np.sin(np.arange(12) + k)] for k in range(20)]
    path = tmp_path / "Coffee_TRAIN.tsv"
    path.write_text("".join("\t".join(f"{cell:.7e}" for cell in row) + "\n" for row in rows))
    assert guess_task(DataSettings(), path)[0] == "classify"
    found, _, _ = of(path, "classify")
    assert (len(found), found.lengths.tolist()) == (20, [12] * 20)
    assert found.labels.tolist() == ["-1", "1"] * 10
    np.testing.assert_allclose(found.values.ravel(), np.ravel([row[1:] for row in rows]), rtol=1e-6)


def test_a_file_of_the_monash_archive_is_series(tmp_path):
    path = tmp_path / "births.tsf"
    path.write_text(TSF)
    found, _, _ = of(path, "forecast", missing="previous")
    assert (found.ids.tolist(), found.step) == (["T1", "T2"], "1mo")
    assert found.values.ravel().tolist() == [1, 2, 3.5, 4, 4, 6, 7]
    assert found.times[3] == np.datetime64("1980-02-01")
    path.write_text(TSF.replace("@data", "@horizon 2\n@data"))
    assert any("--horizon 2" in one for one in of(path, "forecast", missing="previous")[2])
    path.write_text(TSF.replace("4,?", "4,x"))
    with pytest.raises(DataError, match="line 7 holds a value that is not a number"):
        of(path, "forecast")


@pytest.mark.parametrize(
    ("form", "first"),
    [("{} a text of words", "0"), ("__label__{} a text", "0"), ("DESC:k{}x a text", "DESC:k0x")],
    ids=["SST", "fastText", "TREC"],
)
def test_lines_of_a_label_and_a_text_are_labelled_texts(tmp_path, form, first):
    path = tmp_path / "train.txt"
    form = form.replace("k{}x", "{}")
    names = ["a", "b"] if form.startswith("DESC") else ["0", "1"]
    path.write_text("".join(form.format(names[k % 2]) + f" {k}\n" for k in range(30)))
    assert guess_task(DataSettings(), path)[0] == "classify"
    found, _, notes = of(path, "classify")
    assert found.labels[0] == (first if names[0] == "0" else "DESC:a")
    assert texts_of(found)[0].startswith("a text")
    assert "the first word of each line is taken as its label" in notes


@pytest.mark.parametrize("name", ["SMSSpamCollection", "messages.tsv", "messages.data"])
def test_a_label_and_a_text_between_a_tab_need_no_header(tmp_path, name):
    """As in UCI's SMS Spam Collection, whose file has no suffix and stray quotation marks."""
    rows = [("spam", 'a "free prize'), ("ham", "see you"), ("ham", " and 2 more ")] * 10
    path = tmp_path / name
    path.write_text("".join(f"{label}\t{text}\n" for label, text in rows))
    assert guess_task(DataSettings(), path)[0] == "classify"
    found, _, _ = of(path, "classify")
    assert found.labels.tolist() == [label for label, _ in rows]
    assert texts_of(found) == [text.strip() for _, text in rows]


def test_a_table_of_two_columns_is_not_labelled_texts(tmp_path):
    path = tmp_path / "table.tsv"
    rows = [f"{'ab'[k % 2]}\tred green {k}" for k in range(30)]
    path.write_text("\n".join(["kind\ttext", *rows, ""]))
    found, settings, _ = of(path, "classify")
    assert (len(found), settings.label) == (30, "kind")


def test_rows_of_numbers_are_steps_and_not_labelled_texts_or_labelled_rows(tmp_path):
    path = tmp_path / "train_FD001.txt"  # as C-MAPSS: unit, cycle, sensors, two spaces at the end
    rows = [
        f"{unit} {cycle} {' '.join(f'{k}.{cycle}' for k in range(9))}  \n"
        for unit in range(1, 5)
        for cycle in range(1, 31)
    ]
    path.write_text("".join(rows))
    with pytest.raises(
        ConfigError, match=r"No task.*'column 1' \(number\).*and 5 more.*No line names them"
    ):
        guess_task(DataSettings(), path)
    settings = {"id": ("column 1",), "time": ("column 2",), "target": ("column 11",)}
    found, _, _ = of(path, "forecast", **settings)
    assert found.ids.tolist() == ["1", "2", "3", "4"] and set(found.lengths) == {30}


def test_pairs_of_tatoeba_need_no_names(tmp_path):
    path = tmp_path / "fra.txt"
    line = '{0} "Go."\tVa ! {0}\tCC-BY 2.0 (France) Attribution: tatoeba.org #{0} (CM) & #1 (W)\n'
    path.write_text("".join(map(line.format, range(9))))
    assert guess_task(DataSettings(), path)[0] == "translate"
    found, settings, _ = of(path, "translate")
    assert (texts_of(found)[0], found.labels[8]) == ('0 "Go."', "Va ! 8")
    again = read(settings, path, task="translate", purpose="predict")[0]
    assert texts_of(again) == texts_of(found)


def test_a_table_without_names_says_how_to_name_its_columns(tmp_path):
    path = tmp_path / "news.csv"
    path.write_text(
        "".join(f'"{k % 4}","Title {k} of news","It is said to be {k}."\n' for k in range(9))
    )
    with pytest.raises(ConfigError, match=r"'Title 0 of news' \(text\).*data\.column_names="):
        guess_task(DataSettings(), path)


def test_an_archive_that_is_not_read_is_to_be_unpacked(tmp_path):
    path = tmp_path / "reviews.tar.gz"
    path.write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match=r"Unpack it, and give the file or the folder"):
        guess_task(DataSettings(), path)


def test_running_text_is_not_labelled(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text("".join(f"{k % 10} men went to mow\nand came back.\n" for k in range(30)))
    assert guess_task(DataSettings(), path)[0] == "language"


def test_folders_of_texts_are_labels_and_hidden_files_are_not_read(tmp_path):
    for label in ("neg", "pos"):
        (tmp_path / label).mkdir()
        for k in range(3):
            (tmp_path / label / f"{k}.txt").write_text(f"a {label} text number {k}")
        (tmp_path / label / "._0.txt").write_bytes(b"\0\5\x16\7")
    assert guess_task(DataSettings(), tmp_path)[0] == "classify"
    found, _, _ = of(tmp_path, "classify")
    assert found.labels.tolist() == ["neg"] * 3 + ["pos"] * 3
    assert found.ids[0] == "neg/0.txt"


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.json"])
def test_nested_objects_are_columns(tmp_path, name):
    rows = [
        {"id": k, "translation": {"en": f"one {k} two", "de": f"eins {k} zwei"}} for k in range(9)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / name).write_text(lines if name.endswith("l") else json.dumps({"data": rows}))
    found, settings, _ = of(tmp_path / name, "translate")
    assert (settings.text, settings.label) == (("translation.en",), "translation.de")
    assert texts_of(found)[0] == "one 0 two"


def test_a_file_in_an_archive_is_read(tmp_path):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("top/data.csv", SERIES)
        archive.writestr("__MACOSX/top/._data.csv", "x")
        archive.writestr("top/readme.md", "x")
    assert len(of(path, "forecast")[0].values) == 24
    assert len(of(f"{path}#data.csv", "forecast")[0].values) == 24
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("top/more.csv", SERIES)
    with pytest.raises(
        DataError, match=r"several files: top/data.csv, top/more.csv. Name one"
    ) as e:
        of(path, "forecast")
    remedy = str(e.value).split("as in ")[1].removesuffix(".")
    assert len(of(remedy, "forecast")[0].values) == 24
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("data.csv", SERIES.rpartition("\n")[0].rpartition("\n")[0])
    assert len(of(f"{path}#data.csv", "forecast")[0].values) == 23  # not top/data.csv


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_decides_the_encoding_of_a_text(tmp_path, encoding):
    path = tmp_path / "story.txt"
    path.write_bytes("Es war einmal ein Bär.\n".encode(encoding))
    assert texts_of(of(path, "language")[0]) == ["Es war einmal ein Bär.\n"]


def test_empty_lines_at_the_end_of_one_of_two_files_are_left_out(tmp_path):
    (tmp_path / "c.en").write_text("one\ntwo\nthree\n")
    (tmp_path / "c.de").write_text("eins\nzwei\ndrei\n\n\n")
    found, _, notes = of(tmp_path / "c.en", "translate")
    assert found.labels.tolist() == ["eins", "zwei", "drei"]
    assert "2 empty lines at the end of c.de are left out" in notes
    assert len(of(tmp_path / "c.de", "translate")[0]) == 3


@pytest.mark.parametrize("between", [" ", "\t"])
def test_columns_of_tokens_are_cut_at_spaces_and_tabs_alone(tmp_path, between):
    path = tmp_path / "a.conll"
    lead = "\t" if between == " " else ""
    path.write_text(f"{lead}10\xa0000{between}O\n{lead}Ola{between}B-PER\n\n" * 3)
    found, _, _ = of(path, "tag")
    assert tokens_of(found, "token", 0) == ["10\xa0000", "Ola"]


def test_columns_of_0_and_1_are_labels(tmp_path):
    path = tmp_path / "toxic.csv"
    rows = [f"{k},a text of several words,{k % 2},{int(k % 3 == 0)}" for k in range(12)]
    path.write_text("\n".join(["id,comment,toxic,insult", *rows]) + "\n")
    found, settings, notes = of(path, "classify")
    assert settings.label_columns == ("toxic", "insult")
    assert found.labels[:4].tolist() == ["insult", "toxic", "", "toxic;insult"]
    assert any("hold 0 and 1 and are read as labels" in note for note in notes)
    path.write_text(path.read_text().replace(",1,0\n", ",2,0\n"))
    with pytest.raises(DataError, match="'toxic' of data.label_columns must hold 0 and 1"):
        of(path, "classify", label_columns=("toxic", "insult"))


def test_a_label_called_na_is_a_label_where_all_else_is_text(tmp_path):
    path = tmp_path / "regions.csv"
    path.write_text("note,label\n" + "a text of words,NA\nsome more of it,EU\n" * 3)
    found, _, notes = of(path, "classify")
    assert found.labels.tolist() == ["NA", "EU"] * 3
    assert any("'NA' in the column 'label' is a name there" in note for note in notes)
    path.write_text("note,label\n" + "a text of words,NA\nsome more of it,1\n" * 3)
    with pytest.raises(DataError, match="3 of 6 sequences have no label"):
        of(path, "classify")


def test_labels_that_differ_by_case_or_spaces_are_kept_and_named(tmp_path):
    path = tmp_path / "gestures.csv"
    path.write_text(
        "note,label\n" + "a text of words,wave\nsome words,WAVE\nmore of it,point at\n" * 3
    )
    found, _, notes = of(path, "classify")
    assert found.labels.tolist() == ["wave", "WAVE", "point at"] * 3
    told = [note for note in notes if "by case or spaces alone" in note]
    assert len(told) == 1 and "'WAVE' and 'wave'" in told[0] and "point at" not in told[0]
    path.write_text("note,label\n" + "a text of words,x; y\nsome more words,X;z\n" * 3)
    _, _, notes = of(path, "classify", separator=";")
    assert any("'X' and 'x'" in note for note in notes)


def steps_of_runs(count=9, length=6):
    """The rows of labelled runs, one row a step."""
    labels = ["walk" if run % 2 else "sit" for run in range(count)]
    return [
        f"r{run},{t},{(run * t) % 5},{label}"
        for run, label in enumerate(labels)
        for t in range(length)
    ]


def test_a_column_that_names_runs_of_labelled_steps_is_the_id(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(["trial,t,x,label", *steps_of_runs()]) + "\n")
    found, settings, notes = of(path, "classify")
    assert (settings.layout, settings.id) == ("long", ("trial",))
    assert found.lengths.tolist() == [6] * 9 and found.labels[:2].tolist() == ["sit", "walk"]
    assert any("'trial' is taken as the name of the sequence, because" in note for note in notes)


def test_a_row_of_features_is_a_sequence_although_its_group_repeats(tmp_path):
    """Without a count of steps, rows of one subject and one label are sequences of their own."""
    path = tmp_path / "features.csv"
    rows = [f"s{k // 4},{(k * 7) % 5},{(k * 3) % 4},{k % 3},{k // 4 % 2}" for k in range(24)]
    path.write_text("\n".join(["subject,a,b,c,label", *rows]) + "\n")
    with pytest.raises(DataError, match=r"row 3 .* repeats the id 's0'.*--set data.layout=long"):
        of(path, "classify")


def test_a_label_that_changes_names_the_ids_within_which_it_does_not(tmp_path):
    path = tmp_path / "runs.csv"
    rows = [",".join(row.split(",")[::2] + row.split(",")[3:]) for row in steps_of_runs()]
    path.write_text("\n".join(["trial,x,label", *rows]) + "\n")
    with pytest.raises(DataError, match=r"must not change .*, or train with --set data.id=trial"):
        of(path, "classify", layout="long")
    found, _, _ = of(path, "classify", layout="long", id=("trial",))
    assert found.lengths.tolist() == [6] * 9


def test_rows_of_a_few_numbers_that_keep_a_label_are_asked_about(tmp_path):
    path = tmp_path / "sensors.csv"
    rows = [f"{k % 7},{k % 5},{'sit' if k < 30 else 'walk'}" for k in range(60)]
    path.write_text("\n".join(["x,y,label", *rows]) + "\n")
    with pytest.raises(
        DataError, match=r"30 rows on average.*, or train with --set data.layout=wid"
    ):
        of(path, "classify")
    found, _, _ = of(path, "classify", layout="wide")
    assert len(found) == 60


def test_a_number_of_each_row_is_no_id_of_a_series(tmp_path):
    """The layout of Kaggle's Store Sales, whose first 1,000 rows end within a day."""
    path = tmp_path / "store.csv"
    rows = [
        f"{(k * 2 + shop) * 4 + place},{day},{shop},{family},{k + place}"
        for k in range(140)
        for day in [date(2013, 1, 1) + timedelta(k)]
        for shop in range(2)
        for place, family in enumerate(("BOOKS", "BEAUTY", "DAIRY", "MEATS"))
    ]
    path.write_text("\n".join(["id,date,store_nbr,family,sales", *rows]) + "\n")
    found, settings, _ = of(path, "forecast", target=("sales",))
    assert settings.id == ("store_nbr", "family") and found.lengths.tolist() == [140] * 8


def test_a_weather_that_parts_two_repeated_hours_is_no_id(tmp_path):
    path = tmp_path / "traffic.csv"
    hours = [k - (k > 40) for k in range(100)]
    rows = [
        f"{datetime(2012, 10, 2) + timedelta(hours=hour)},{('Rain', 'Clear')[k // 3 % 2]},{hour}"
        for k, hour in enumerate(hours)
    ]
    path.write_text("\n".join(["date_time,weather,volume", *rows]) + "\n")
    with pytest.raises(DataError, match="1 row repeats a time"):
        of(path, "forecast", target=("volume",))
    found, settings, _ = of(path, "forecast", target=("volume",), duplicates="first")
    assert settings.id == () and found.lengths.tolist() == [99]


def test_a_table_without_names_may_begin_with_times_since_1970(tmp_path):
    path = tmp_path / "klines.csv"
    rows = [
        f"{1499040000000 + 3600000 * k},{k % 7},{1499043599999 + 3600000 * k}" for k in range(60)
    ]
    path.write_text("\n".join(rows) + "\n")
    found, settings, _ = of(path, "forecast", target=("column 2",))
    assert (settings.time, settings.time_format) == (("column 1",), "epoch ms")
    assert str(found.times[1])[:16] == "2017-07-03T01:00"


def test_wide_series_may_have_several_texts(tmp_path):
    path = tmp_path / "m5.csv"
    names = ",".join(f"d_{k}" for k in range(1, 31))
    rows = [f"item_{k}_CA,item_{k},CA,{','.join(map(str, range(k, k + 30)))}" for k in range(5)]
    path.write_text("\n".join([f"id,item_id,state_id,{names}", *rows]) + "\n")
    found, settings, _ = of(path, "forecast")
    assert (settings.layout, settings.id) == ("wide", ("id",))
    assert found.lengths.tolist() == [30] * 5


def test_sequences_without_a_label_are_left_out_and_named(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("note,label\n" + "a text of words,x\nsome words,y\nmore of it,\n" * 3)
    found, _, notes = of(path, "classify")
    assert found.labels.tolist() == ["x", "y"] * 3
    assert any("3 of 9 sequences have no label and are left out" in note for note in notes)
    _, _, notes = of(path, "classify", purpose="evaluate", label="label", text=("note",))
    assert any("3 of 9 sequences have no label and are left out" in note for note in notes)
    with pytest.raises(DataError, match="1 of 3 sequences has no label"):
        read(
            DataSettings(),
            (["a text", "more words", "and more"], ["x", None, "y"]),
            task="classify",
        )


def test_tables_of_tokens_are_sentences(tmp_path):
    rows = ["Sentence: 1,Ola,NNP,B-PER", ",sings,VB,O", "Sentence: 2,null,NN,O", ",.,.,O"]
    path = tmp_path / "ner.csv"
    path.write_text("\n".join(["Sentence #,Word,POS,Tag", *rows]) + "\n")
    found, settings, _ = of(path, "tag")
    assert (settings.text, settings.label) == (("Word",), "Tag")
    assert [tokens_of(found, "token", k) for k in (0, 1)] == [["Ola", "sings"], ["null", "."]]
    assert tokens_of(found, "tag", 0) == ["B-PER", "O"]
    path = tmp_path / "ner.jsonl"
    path.write_text(json.dumps({"tokens": ["Ola", "sings"], "ner_tags": [1, 0]}) + "\n")
    found, _, _ = of(path, "tag")
    assert tokens_of(found, "tag", 0) == ["1", "0"]


SHEETS = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def workbook(path, sheets, merged=()):
    """Write a workbook; a tuple of one number is a date, in days since 1899-12-30.

    `merged` are areas of each sheet.
    """

    def cell(value):
        if value is None:
            return "<c/>"
        if isinstance(value, str):
            return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
        dated = isinstance(value, tuple)
        return f'<c s="{int(dated)}"><v>{value[0] if dated else value}</v></c>'

    def linked(parts):
        one = '<Relationship Id="r{}" Type="{}/{}" Target="{}"/>'
        lines = "".join(one.format(k, OFFICE, *part) for k, part in enumerate(parts))
        return f'<Relationships xmlns="{PACKAGE}/relationships">{lines}</Relationships>'

    named = "".join(
        f'<sheet name="{name}" sheetId="{k + 1}" r:id="r{k}"/>' for k, name in enumerate(sheets)
    )
    places = [("worksheet", f"worksheets/{k}.xml") for k in range(len(sheets))]
    files = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types">'
        '<Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": linked([("officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": f'<workbook xmlns="{SHEETS}" xmlns:r="{OFFICE}">'
        f"<sheets>{named}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": linked([*places, ("styles", "styles.xml")]),
        "xl/styles.xml": f'<styleSheet xmlns="{SHEETS}"><cellXfs count="2"><xf numFmtId="0"/>'
        '<xf numFmtId="22" applyNumberFormat="1"/></cellXfs></styleSheet>',
    }
    for (_, place), rows in zip(places, sheets.values(), strict=True):
        lines = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
        areas = "".join(f'<mergeCell ref="{area}"/>' for area in merged)
        content = f"<sheetData>{lines}</sheetData><mergeCells>{areas}</mergeCells>"
        files[f"xl/{place}"] = f'<worksheet xmlns="{SHEETS}">{content}</worksheet>'
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_sheet_of_a_workbook_is_a_table(tmp_path):
    pytest.importorskip("fastexcel")
    rows = [[(44927 + k / 24,), k * 1.5] for k in range(30)]
    top = [["Station 12"], ["time", "level"]]
    path = workbook(
        tmp_path / "book.xlsx", {"Notes": [], "2023": [*top, *rows], "2024": [top[1], *rows[:9]]}
    )
    found, _, notes = of(path, "forecast")
    assert (found.step, found.times[0]) == ("1h", np.datetime64("2023-01-01"))
    assert found.values.ravel().tolist() == [row[1] for row in rows]
    assert any("the sheet '2023' is read, not '2024'; name another" in note for note in notes)
    assert len(of(f"{path}#2024", "forecast")[0].values) == 9
    with pytest.raises(DataError, match="has no sheet '2025'. Its sheets are Notes, 2023, 2024"):
        of(f"{path}#2025", "forecast")


def test_a_cover_before_the_sheets_of_a_workbook_is_passed_over(tmp_path):
    pytest.importorskip("fastexcel")
    rows = [["time", "level"], *([(44927 + k / 24,), k * 1.5] for k in range(30))]
    cover = [["Water levels"], ["made by", "the office"]]
    path = workbook(tmp_path / "book.xlsx", {"About": cover, "Levels": rows})
    found, _, notes = of(path, "forecast")
    assert len(found.values) == 30
    assert any("the sheet 'Levels' is read, not 'About'" in note for note in notes)


@pytest.mark.parametrize("above", [[], ["Sales of 2023"]])
def test_each_row_of_a_merged_cell_has_its_content(tmp_path, above):
    pytest.importorskip("fastexcel")
    rows = [
        [name if k == 0 else None, (44927 + k,), 10.0 * j + k]
        for j, name in enumerate(("Ulm", "Bonn"))
        for k in range(20)
    ]
    first = 3 + len(above)
    merged = [f"A{first}:A{first + 19}", f"A{first + 20}:A{first + 39}", "B1:C1", "A1:XFD1048576"]
    path = tmp_path / "book.xlsx"
    workbook(
        path,
        {"all": [[one] for one in above] + [["shop", "day", "sold"], ["", "", "EUR"], *rows]},
        merged,
    )
    found, _, notes = of(path, "forecast")
    assert found.ids.tolist() == ["Ulm", "Bonn"]
    assert found[1].ravel().tolist() == [10.0 + k for k in range(20)]
    assert "each row of a merged cell is read with its content" in notes
    totals = [*rows[:20], ["Sum of Ulm", None, 190.0], *rows[20:]]
    workbook(path, {"all": [["shop", "day", "sold"], *totals]})
    with pytest.raises(DataError, match="row 22 .* has no time. It holds 'Sum of Ulm', '190'"):
        of(path, "forecast")


def test_numbered_columns_of_named_rows_are_steps(tmp_path):
    """As in the M5 competition, whose days are d_1, d_2 ..."""
    days = ",".join(f"d_{k}" for k in range(1, 41))
    rows = [
        f"shop {k // 2},item {k},{','.join(str(k + j % 7) for j in range(40))}" for k in range(6)
    ]
    path = tmp_path / "sales.csv"
    path.write_text("\n".join([f"shop_id,id,{days}", *rows]))
    task, reason = guess_task(DataSettings(), path)
    assert (task, "'d_1' and others are numbered like steps" in reason) == ("forecast", True)
    found, _, _ = of(path, "forecast")
    assert (found.ids.tolist()[2], found.lengths.tolist()) == ("item 2", [40] * 6)
    assert found[2][:4, 0].tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("sign", [" ", ", "])
def test_a_cell_may_hold_numbers_without_brackets(tmp_path, sign):
    """As in FER2013, whose column `pixels` holds an image."""
    images = np.arange(20)[:, None] + np.arange(12) % 5
    rows = [f'{k % 2},"{sign.join(map(str, image))}",Training' for k, image in enumerate(images)]
    path = tmp_path / "faces.csv"
    path.write_text("\n".join(["label,pixels,Usage", *rows]))
    found, settings, notes = of(path, "classify")
    assert (settings.features, settings.id) == (("pixels",), ())
    np.testing.assert_array_equal(found.values.reshape(20, 12), images)
    assert "not read: 'Usage'" in notes


def test_numbers_of_any_count_are_words(tmp_path):
    rows = [f"{k % 2},{' '.join(str(7 * j % 90) for j in range(9 + k % 4))}" for k in range(24)]
    path = tmp_path / "anonymous.csv"
    path.write_text("\n".join(["label,text", *rows]))
    assert of(path, "classify")[1].text == ("text",)


def test_a_txt_table_below_comments_is_a_table(tmp_path):
    """As the water services of the United States write it."""
    begin = datetime(2022, 5, 1)
    rows = [f"USGS\t{begin + timedelta(minutes=15 * k):%Y-%m-%d %H:%M}\t{k % 9}" for k in range(80)]
    head = ["# A warning", "#", "# TS  parameter", "agency\tdatetime\tflow", "5s\t20d\t14n"]
    path = tmp_path / "site.txt"
    path.write_text("\n".join([*head, *rows]))
    assert guess_task(DataSettings(), path)[0] == "forecast"
    found, settings, _ = of(path, "forecast")
    assert (settings.time, settings.target, found.step) == (("datetime",), ("flow",), "15m")


def test_labels_in_the_names_of_files_are_named_and_what_mends_it_works(tmp_path):
    for label in ("walk", "run"):
        for k in range(4):
            rows = [f"{k + j},{j % 3}" for j in range(12)]
            (tmp_path / f"{label}_{k:02}.csv").write_text("\n".join(["x,y", *rows]))
    with pytest.raises(ConfigError, match="begin with 'run', 'walk'. If these are labels, move"):
        guess_task(DataSettings(), tmp_path)
    for path in sorted(tmp_path.iterdir()):
        folder = tmp_path / path.name.split("_")[0]
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)
    assert guess_task(DataSettings(), tmp_path)[0] == "classify"
    assert set(of(tmp_path, "classify")[0].labels.tolist()) == {"walk", "run"}


def test_a_print_of_months_by_r_is_a_series(tmp_path):
    """No name stands above the years, and white space aligns the columns."""
    months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
    rows = [f"{1949 + k} " + " ".join(str(100 + 12 * k + j) for j in range(12)) for k in range(9)]
    path = tmp_path / "AirPassengers.txt"
    path.write_text("\n".join([f"     {months}", *rows]))
    assert guess_task(DataSettings(), path)[0] == "forecast"
    found, _, _ = of(path, "forecast")
    assert found.values.ravel().tolist() == list(range(100, 208))
    assert (str(found.times[0])[:10], found.step) == ("1949-01-01", "1mo")


def test_pairs_of_tatoeba_may_be_numbered_and_have_no_names(tmp_path):
    rows = [
        f"{1276 + 3 * k}\tIt is sentence number {k}.\t{5350 + k * k}\tVoici la phrase {k} donc."
        for k in range(40)
    ]
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(rows))
    assert guess_task(DataSettings(), path)[0] == "translate"
    found, settings, _ = of(path, "translate")
    assert (settings.text, settings.label) == (("column 2",), "column 4")
    assert len(found) == 40


def test_two_columns_that_tell_series_apart_together_are_proposed(tmp_path):
    """As in the sales of Favorita and Walmart, whose rows have a number as well."""
    families = ("AUTOMOTIVE", "BEVERAGES", "DAIRY")
    rows = [
        f"{n},{date(2013, 1, 1) + timedelta(days=k)},{store},{family},{(n * 7) % 11}.0,{n % 2}"
        for n, (k, store, family) in enumerate(
            (k, store, family) for k in range(20) for store in (1, 2) for family in families
        )
    ]
    path = tmp_path / "sales.csv"
    path.write_text("\n".join(["id,date,store_nbr,family,sales,onpromotion", *rows]))
    with pytest.raises(DataError, match=r"""'data.id=\["store_nbr", "family"\]'"""):
        of(path, "forecast", target=("sales",))
    found, _, _ = of(path, "forecast", target=("sales",), id=("store_nbr", "family"))
    assert (len(found), found.step) == (6, "1d")


def test_one_negative_nine_among_other_numbers_is_named(tmp_path):
    values = [*(50.0 + k % 9 for k in range(30)), -999.0, *(50.0 + k % 9 for k in range(30))]
    path = tmp_path / "humidity.csv"
    days = [f"{date(2020, 1, 1) + timedelta(days=k)},{y}" for k, y in enumerate(values)]
    path.write_text("\n".join(["date,rh", *days]))
    assert any("holds -999 in 1 row, far outside" in note for note in of(path, "forecast")[2])


@pytest.mark.parametrize("columns", [1, 3])
def test_a_begin_and_a_rate_above_numbers_are_skipped(tmp_path, columns):
    """As wristbands of Empatica write them."""
    head = [", ".join(["1544027337.000000"] * columns), ", ".join(["4.000000"] * columns)]
    rows = [",".join(str(k % 5 + j) for j in range(columns)) for k in range(60)]
    path = tmp_path / "EDA.csv"
    path.write_text("\n".join([*head, *rows]))
    found, _, notes = of(path, "forecast", target=("column 1",))
    assert found.values.ravel().tolist() == [k % 5 for k in range(60)]
    assert any(note.startswith("2 lines above the table are skipped") for note in notes)


def test_what_is_less_than_a_limit_is_told_apart_from_a_missing_value(tmp_path):
    days = [f"{date(2020, 1, 1) + timedelta(days=k)},{k % 9 or '<1'}" for k in range(60)]
    path = tmp_path / "trend.csv"
    path.write_text("\n".join(["day,lstm", *days]))
    with pytest.raises(DataError, match="If '<1' means less than a limit, write a number such as"):
        of(path, "forecast")


def test_one_hour_that_is_missing_may_be_filled_or_be_a_change_of_the_clock(tmp_path):
    begin = datetime(2004, 10, 30)
    hours = [begin + timedelta(hours=k) for k in range(72) if k != 26]
    path = tmp_path / "load.csv"
    path.write_text("\n".join(["at,load", *(f"{at},{k % 5}" for k, at in enumerate(hours))]))
    with pytest.raises(DataError, match=r"timezone=\S+ or --set data.gaps=fill \(inserts 1 step"):
        of(path, "forecast")


def test_one_of_several_tables_of_a_json_file_is_named(tmp_path):
    """As Open-Meteo answers if both are asked for."""
    hours = [f"{datetime(2024, 1, 1) + timedelta(hours=k):%Y-%m-%dT%H:%M}" for k in range(72)]
    content = {
        "latitude": 52.5,
        "hourly": {"time": hours, "rain": [k % 5 for k in range(72)]},
        "daily": {"time": [one[:10] for one in hours[::24]], "rain_sum": [1, 2, 3]},
    }
    path = tmp_path / "meteo.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"'hourly', 'daily'. Name one of them: .*json#hourly"):
        of(path, "forecast")
    found, settings, _ = of(f"{path}#hourly", "forecast")
    assert (found.values.ravel().tolist(), settings.target) == (
        [k % 5 for k in range(72)],
        ("rain",),
    )
    with pytest.raises(
        DataError, match="meteo.json has no table 'weekly'. Its tables: 'hourly', 'da"
    ):
        of(f"{path}#weekly", "forecast")
    with pytest.raises(DataError, match="There is no file|cannot be read"):
        of(f"{tmp_path}/no.json#hourly", "forecast")


@pytest.mark.parametrize("suffix", ["csv", "txt"])
def test_folders_of_parts_are_no_labels(tmp_path, suffix):
    """As the archive of IMDB has them: train/pos, train/neg, test/pos, test/neg."""
    for part, label, k in [(p, c, k) for p in ("train", "test") for c in "ab" for k in range(6)]:
        folder = tmp_path / part / label
        folder.mkdir(parents=True, exist_ok=True)
        rows = [f"{k + j},{j % 3}" for j in range(12)]
        text = "\n".join(["x,y", *rows]) if suffix == "csv" else f"a text of {label} with words {k}"
        (folder / f"{k}.{suffix}").write_text(text)
    with pytest.raises(
        DataError, match="holds the parts 'test', 'train', which are not labels"
    ) as e:
        guess_task(DataSettings(), tmp_path)
        of(tmp_path, "classify")
    assert f"Give {tmp_path}/train, and --set data.test={tmp_path}/test" in str(e.value)
    (tmp_path / "train" / "README.txt").write_text("about the data")
    found, _, _ = of(tmp_path / "train", "classify")
    assert (len(found), set(found.labels.tolist())) == (12, {"a", "b"})


def test_a_table_of_labels_must_not_contradict_itself(tmp_path):
    for k in range(6):
        (tmp_path / f"r{k}.csv").write_text("\n".join(["x", *(str(k + j) for j in range(9))]))
    rows = [f"r{k}.csv,{'ab'[k % 2]}" for k in range(6)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows, "r9.csv,a"]))
    notes = of(tmp_path, "classify")[2]
    assert "in labels.csv, 1 name has no file; the first is 'r9'" in notes
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows, "r3.csv,a"]))
    with pytest.raises(
        DataError, match="labels.csv names 'r3.csv' twice, with other cells: b and a"
    ):
        of(tmp_path, "classify")


@pytest.mark.parametrize("cells", [12, 24])
def test_a_footer_below_months_or_hours_is_one_line(tmp_path, cells):
    names = "Year,Jan,Feb,Mar,Apr,May,Jun,Jul,Aug,Sep,Oct,Nov,Dec"
    if cells == 24:
        names = ",".join(["date", *(f"h{k:02}" for k in range(24))])
    day = date(2020, 1, 1)
    begins = [1990 + k if cells == 12 else day + timedelta(days=k) for k in range(15)]
    rows = [",".join([str(one), *(str(k) for k in range(cells))]) for one in begins]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([names, *rows, ",".join(["Mean", *["5"] * cells])]))
    with pytest.raises(DataError, match=r"data.footer_rows=1 \(leaves out the last row\)"):
        of(path, "forecast")
    assert len(of(path, "forecast", footer_rows=1)[0].values) == 15 * cells


def test_a_category_beside_times_is_no_zone():
    times = [datetime(2024, 1, 1) + timedelta(hours=k) for k in range(48)]
    frame = pl.DataFrame({"at": times, "kind": ["a", "b"] * 24, "x": range(48)})
    frame = frame.with_columns(pl.col("kind").cast(pl.Categorical))
    found, settings, _ = read(DataSettings(target=("x",)), frame, task="forecast")
    assert (settings.time, len(found.values)) == (("at",), 48)


def test_dots_may_stand_in_am_and_pm(tmp_path):
    hours = [datetime(2024, 1, 1) + timedelta(hours=k) for k in range(48)]
    marks = ["a.m." if at.hour < 12 else "p.m." for at in hours]
    rows = [f"{at:%d.%m.%Y %I:%M} {mark},{at.hour}" for at, mark in zip(hours, marks, strict=True)]
    path = tmp_path / "clock.csv"
    path.write_text("\n".join(["time,x", *rows]))
    found, _, _ = of(path, "forecast")
    np.testing.assert_array_equal(found.times, np.array(hours, "M8[us]"))


def test_a_frequency_of_monash_that_is_not_known_is_named(tmp_path):
    path = tmp_path / "births.tsf"
    path.write_text(TSF.replace("monthly", "fortnightly"))
    assert guess_task(DataSettings(), path)[0] == "forecast"
    found, _, notes = of(path, "forecast", missing="previous")
    assert found.times.tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert any("the frequency of 'fortnightly' is not known" in note for note in notes)
