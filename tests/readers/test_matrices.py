"""Signals as the UCI HAR data set stores them: a matrix for each signal."""

import shutil

import numpy as np
import pytest

from gatewise.errors import DataError
from gatewise.settings import DataSettings
from gatewise.tasks import guess_task, read

SIGNALS = ("body_acc_x", "body_acc_y", "total_acc_x")
COUNTS = {"train": 12, "test": 6}


def values(part):
    """[sequences, steps, signals]"""
    return np.random.default_rng(len(part)).normal(size=(COUNTS[part], 5, len(SIGNALS))).round(6)


@pytest.fixture
def folder(tmp_path):
    top = tmp_path / "UCI HAR Dataset"
    for part, count in COUNTS.items():
        (top / part / "Inertial Signals").mkdir(parents=True)
        for k, signal in enumerate(SIGNALS):
            rows = ["  " + "  ".join(f"{one: .7e}" for one in row) for row in values(part)[:, :, k]]
            path = top / part / "Inertial Signals" / f"{signal}_{part}.txt"
            path.write_text("\n".join(rows) + "\n")
        labels = [f"{k % 2 + 1}\n" for k in range(count)]
        (top / part / f"y_{part}.txt").write_text("".join(labels))
        groups = "".join(f"{part}{k // 4}\n" for k in range(count))
        (top / part / f"subject_{part}.txt").write_text(groups)
    (top / "activity_labels.txt").write_text("1 WALKING\n2 LAYING\n")
    (top / "README.txt").write_text("Human activities.\n")
    return top


@pytest.mark.parametrize("form", ["folder", "part", "zip"])
def test_each_matrix_is_a_signal_and_each_row_a_sequence(tmp_path, folder, form):
    path = folder
    if form == "part":
        path = folder / "train"
    if form == "zip":
        path = shutil.make_archive(tmp_path / "har", "zip", tmp_path, folder.name)
    assert guess_task(DataSettings(), path)[0] == "classify"
    found, settings, _ = read(DataSettings(), path, task="classify")
    assert found.columns == SIGNALS and found.lengths.tolist() == [5] * 12
    np.testing.assert_allclose(found.values.reshape(12, 5, 3), values("train"))
    # The names of the labels are beside the parts.
    names = ["1", "2"] if form == "part" else ["WALKING", "LAYING"]
    assert found.labels[:2].tolist() == names
    assert found.groups[[0, 4]].tolist() == ["train0", "train1"]
    if form == "part":
        return
    assert settings.test == f"{path}#test"
    held, _, _ = read(DataSettings(), settings.test, task="classify", purpose="evaluate")
    np.testing.assert_allclose(held.values.reshape(6, 5, 3), values("test"))


def test_files_that_do_not_fit_together_are_named(folder):
    path = folder / "train" / "y_train.txt"
    path.write_text("1\n2\n")
    with pytest.raises(DataError, match=r"y_train.txt has 2 rows, but the signals have 12"):
        read(DataSettings(), folder, task="classify")
    path.unlink()
    with pytest.raises(DataError, match=r"no file y_train.txt"):
        read(DataSettings(), folder, task="classify")
    signal = folder / "train" / "Inertial Signals" / "body_acc_y_train.txt"
    signal.write_text("1 2\n3 4\n")
    with pytest.raises(
        DataError, match=r"'body_acc_y' has 2 rows of 2 steps, but 'body_acc_x' has"
    ):
        read(DataSettings(), folder, task="classify")
    signal.write_text("1 2\n3 x\n")
    with pytest.raises(DataError, match=r"body_acc_y_train.txt holds no matrix of numbers"):
        read(DataSettings(), folder, task="classify")


def test_a_signal_may_have_one_step(tmp_path):
    (tmp_path / "har" / "Inertial Signals").mkdir(parents=True)
    for name in ("x", "y"):
        (tmp_path / "har" / "Inertial Signals" / f"{name}_train.txt").write_text("1\n2\n3\n")
    (tmp_path / "har" / "y_train.txt").write_text("a\nb\na\n")
    found, _, _ = read(DataSettings(), tmp_path / "har", task="classify")
    assert found.lengths.tolist() == [1, 1, 1] and found.values[1].tolist() == [2.0, 2.0]
