"""Output files: nothing that exists or is read is destroyed, and no file is there by half."""

import os
from pathlib import Path

import pytest

from gatewise.errors import ConfigError
from gatewise.output import check_free_file, inputs, places, writing_file
from gatewise.settings import Experiment


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("day,load\n")
    return path


def spellings(table: Path) -> list[Path]:
    """The same file under other names."""
    folder = table.parent
    (folder / "folder").mkdir()
    (folder / "link.csv").symlink_to(table)
    (folder / "twin.csv").hardlink_to(table)
    (folder / "way").symlink_to(folder)
    return [
        table,
        folder / "folder" / ".." / table.name,
        Path(os.path.relpath(table)),
        folder / "way" / table.name,
        folder / "link.csv",
        folder / "twin.csv",
    ]


def test_what_is_read_is_never_replaced_under_any_spelling(table):
    for path in spellings(table):
        with pytest.raises(ConfigError, match=r"would write over .*table\.csv, which is read"):
            check_free_file(path, reads=[table], overwrite=True)


def test_nothing_is_written_into_a_folder_that_is_read(table):
    run = table.parent / "run"
    run.mkdir()
    (run / "model.keras").write_text("years of work")
    (table.parent / "twin.csv").hardlink_to(run / "model.keras")
    (table.parent / "way").symlink_to(run)
    for path in (run / "new.csv", table.parent / "way" / "new.csv", table.parent / "twin.csv"):
        with pytest.raises(ConfigError, match="would write into .*run, which is read"):
            check_free_file(path, reads=[run], overwrite=True)


def test_a_file_that_exists_is_replaced_only_when_that_is_asked_for(table):
    with pytest.raises(ConfigError, match=r"table\.csv exists\. Choose another -o, or give --over"):
        check_free_file(table, reads=[], overwrite=False)
    check_free_file(table, reads=[], overwrite=True)
    with pytest.raises(ConfigError, match="is not a file"):
        check_free_file(table.parent, reads=[], overwrite=True)


def test_a_file_is_written_whole_or_not_at_all(table):
    table.chmod(0o640)
    with pytest.raises(OSError, match="no space"), writing_file(table, overwrite=True) as draft:
        draft.write_text("half")
        raise OSError("no space")
    assert table.read_text() == "day,load\n"
    with writing_file(table, overwrite=True) as draft:
        draft.write_text("whole")
    assert table.read_text() == "whole"
    assert table.stat().st_mode & 0o777 == 0o640
    assert list(table.parent.iterdir()) == [table]


def test_what_somebody_else_wrote_meanwhile_is_kept(tmp_path):
    path = tmp_path / "answers.csv"
    with pytest.raises(ConfigError, match="exists"), writing_file(path, overwrite=False) as draft:
        draft.write_text("ours")
        path.write_text("theirs")
    assert path.read_text() == "theirs"


def test_a_link_stays_and_what_it_points_to_is_replaced(table):
    link = table.parent / "link.csv"
    link.symlink_to(table)
    with writing_file(link, overwrite=True) as draft:
        draft.write_text("new")
    assert link.is_symlink()
    assert table.read_text() == "new"


def test_every_place_that_data_may_be_read_from_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("GATEWISE_DATA", str(tmp_path))
    assert places("x.csv") == [Path("x.csv"), tmp_path / "x.csv"]
    assert places("-") == [Path("/dev/stdin")]
    assert places("digits")[0].name == "digits.npz"
    monkeypatch.delenv("GATEWISE_DATA")
    data = {"path": "a", "validation": "b", "test": "c", "labels": "d"}
    experiment = Experiment().having("data", **data).having("network", build="e.py:network")
    assert [path.name for path in inputs(experiment)] == ["a", "b", "c", "d", "e.py"]
