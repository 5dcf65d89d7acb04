"""A folder or an archive of tables is one table."""

import itertools
import zipfile
from collections import Counter

import numpy as np
import pytest

import gatewise
from gatewise.errors import DataError
from gatewise.readers import folders
from gatewise.readers.delimited import delimited
from gatewise.settings import DataSettings
from gatewise.tasks import guess_task, read

ROWS = "x,y\n1,2\n3,4\n"


def of(path):
    return read(DataSettings(), path, task="classify")


@pytest.fixture
def folder(tmp_path):
    for name in ("s1", "s2", "s3"):
        (tmp_path / f"{name}.csv").write_text(ROWS)
    (tmp_path / "labels.csv").write_text("file,label\ns1.csv,a\ns3.csv,b\ns2.csv,a\n")
    return tmp_path


def test_a_table_that_names_the_files_holds_their_labels(folder):
    assert guess_task(DataSettings(), folder)[0] == "classify"
    found, _, _ = of(folder)
    assert found.ids.tolist() == ["s1", "s2", "s3"]
    assert found.labels.tolist() == ["a", "a", "b"]
    assert found.values.tolist() == [[1, 2], [3, 4]] * 3


def test_an_archive_is_read_like_the_folder_in_it(folder, tmp_path):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for one in folder.glob("*.csv"):
            archive.write(one, f"inner/{one.name}")
    assert of(path)[0].labels.tolist() == ["a", "a", "b"]


@pytest.mark.parametrize("suffix", [".csv", ".txt", ".dat"])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_table_may_name_files_in_a_folder_below_it(tmp_path, suffix, packed):
    inner = tmp_path / "set" / "raw"
    inner.mkdir(parents=True)
    for name in ("s1", "s2", "s3"):
        (inner / f"{name}{suffix}").write_text(ROWS.replace(",", "\t"))
    (tmp_path / "set" / "labels.csv").write_text("file,label\ns1,a\ns3,b\ns2,a\n")
    path = tmp_path / "set"
    if packed:
        path = tmp_path / "all.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for one in (*inner.iterdir(), tmp_path / "set" / "labels.csv"):
                archive.write(one, one.relative_to(tmp_path).as_posix())
    found, _, _ = of(path)
    assert found.ids.tolist() == ["raw/s1", "raw/s2", "raw/s3"]
    assert found.labels.tolist() == ["a", "a", "b"]
    assert found.values.tolist() == [[1, 2], [3, 4]] * 3


def test_texts_that_no_table_names_are_not_tables(folder):
    for name in ("README", "paper"):
        (folder / f"{name}.txt").write_text("see the paper")
    assert of(folder)[0].ids.tolist() == ["s1", "s2", "s3"]


def test_folders_of_tables_are_classes(tmp_path):
    for place in ("walk/1.csv", "walk/2.csv", "run/1.csv"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(ROWS)
    found, _, _ = of(tmp_path)
    assert found.ids.tolist() == ["run/1", "walk/1", "walk/2"]
    assert found.labels.tolist() == ["run", "walk", "walk"]


def test_a_bad_cell_or_column_is_found_in_its_file(folder):
    (folder / "s2.csv").write_text(ROWS + "5,oops\n")
    with pytest.raises(DataError, match=r"row 4 .* of s2\.csv has 'oops'"):
        of(folder)
    (folder / "s2.csv").write_text("x,z\n1,2\n")
    with pytest.raises(DataError, match=r"only one of s1\.csv and s2\.csv has 'y', 'z'"):
        of(folder)


def test_each_file_is_opened_once_to_be_looked_at(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    for number, label in itertools.product(range(12), ("high", "low")):
        path = tmp_path / "set" / label / f"{number}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        steps = random.normal(size=(20, 2)) + (label == "high")
        path.write_text("x,y\n" + "\n".join(f"{x:.3f},{y:.3f}" for x, y in steps) + "\n")
    opened = Counter()

    def counted(file, *rest):
        opened[file.path] += 1
        return delimited(file, *rest)

    monkeypatch.setattr(folders, "delimited", counted)
    seen = gatewise.look(tmp_path / "set")
    assert [one["name"] for one in seen["columns"]] == ["x", "y", "sequence_id", "label"]
    assert len(opened) == 24 and set(opened.values()) == {1}


def test_a_table_of_labels_that_names_no_file_is_told(folder):
    (folder / "labels.csv").write_text("file,label\nrec_s1,a\nrec_s3,b\nrec_s2,a\n")
    with pytest.raises(DataError, match=r"must name the files, such as s1\.csv or s1"):
        of(folder)


def test_a_table_of_labels_without_names_of_columns_is_told(folder):
    (folder / "labels.csv").write_text("s1.csv,a\ns3.csv,b\ns2.csv,a\n")
    with pytest.raises(DataError, match=r"first line of labels\.csv names the file s1\.csv"):
        of(folder)
