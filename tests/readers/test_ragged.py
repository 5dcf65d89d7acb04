"""Rows of different lengths are sequences, with their labels and names beside the numbers."""

import json

import numpy as np
import polars as pl
import pytest

from gatewise.errors import DataError
from gatewise.settings import DataSettings
from gatewise.tasks import guess_task, read

LENGTHS = [5 + 3 * k % 11 for k in range(40)]
ROWS = [
    [round(float(cell), 3) for cell in np.random.default_rng(k).normal(size=length)]
    for k, length in enumerate(LENGTHS)
]
WORDS = [("walk", "run")[k % 2] for k in range(40)]


def written(path, before=None, behind=None, *, sign=",", header=""):
    """A file of `ROWS`, with a cell of each of these columns before or behind the numbers."""
    sides = [before or [[]] * 40, behind or [[]] * 40]
    lines = [
        sign.join(map(str, [*first, *row, *last]))
        for first, row, last in zip(sides[0], ROWS, sides[1], strict=True)
    ]
    path.write_text("\n".join([header, *lines] if header else lines) + "\n", encoding="utf-8")
    return path


def of(path, task="classify", purpose="train", settings=None):
    return read(settings or DataSettings(), path, task=task, purpose=purpose)


def check(found, labels):
    assert found.labels.tolist() == labels
    assert found.lengths.tolist() == LENGTHS
    np.testing.assert_array_equal(found.values.ravel(), np.concatenate(ROWS))


@pytest.mark.parametrize("sign", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("ending", ["csv", "txt", "dat"])
def test_a_label_before_the_numbers(tmp_path, sign, ending):
    path = written(tmp_path / f"walks.{ending}", [[word] for word in WORDS], sign=sign)
    assert guess_task(DataSettings(), path)[0] == "classify"
    check(of(path)[0], WORDS)


def test_a_label_that_is_an_integer_stands_at_either_end(tmp_path):
    numbers = [[k % 3] for k in range(40)]
    for sides in ({"before": numbers}, {"behind": numbers}):
        path = written(tmp_path / "walks.csv", **sides)
        assert guess_task(DataSettings(), path)[0] == "classify"
        check(of(path)[0], [str(k % 3) for k in range(40)])


def test_a_header_of_one_name_for_all_steps(tmp_path):
    path = written(tmp_path / "walks.csv", [[word] for word in WORDS], header="label,values")
    found, settings, notes = of(path)
    check(found, WORDS)
    assert settings.features == ("values",)
    assert any(note.startswith("the rows differ in length") for note in notes)


def test_names_and_labels_are_told_apart_by_what_repeats(tmp_path):
    path = written(tmp_path / "walks.csv", [[f"w{k}", word] for k, word in enumerate(WORDS)])
    found, settings, _ = of(path)
    check(found, WORDS)
    assert found.ids.tolist() == [f"w{k}" for k in range(40)]
    assert settings.column_names == ("id", "label", "steps")


def test_empty_cells_at_the_ends_of_rows_are_no_steps(tmp_path):
    path = written(tmp_path / "walks.csv", [[word] for word in WORDS])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line + "," * (k % 4) for k, line in enumerate(lines)))
    check(of(path)[0], WORDS)


def test_numbers_alone_are_series(tmp_path):
    found, _, _ = of(written(tmp_path / "series.csv"), "forecast")
    assert found.lengths.tolist() == LENGTHS


@pytest.mark.parametrize("side", ["before", "behind"])
def test_new_rows_are_read_as_in_training_with_and_without_labels(tmp_path, side):
    numbers = [[k % 2] for k in range(40)]
    _, settings, _ = of(written(tmp_path / "walks.csv", **{side: numbers}))
    row = [0.5, -1.5, 0.25]
    new = tmp_path / "new.csv"
    for cells, labels in (([1, *row] if side == "before" else [*row, 1], ["1"]), (row, None)):
        new.write_text(",".join(map(str, cells)) + "\n")
        found, _, _ = of(new, purpose="predict", settings=settings)
        assert (found.values.ravel().tolist(), found.lengths.tolist()) == (row, [3])
        assert (found.labels is None) == (labels is None)
        assert labels is None or found.labels.tolist() == labels


def test_new_rows_below_a_header_may_be_equally_long(tmp_path):
    path = written(tmp_path / "walks.csv", [[word] for word in WORDS], header="label,values")
    _, settings, _ = of(path)
    path.write_text("label,values\nrun,0.5,-1.5\n")
    found, _, _ = of(path, purpose="predict", settings=settings)
    assert found.values.ravel().tolist() == [0.5, -1.5]


def test_names_may_be_set(tmp_path):
    path = written(tmp_path / "walks.csv", [[word] for word in WORDS])
    settings = DataSettings(column_names=("gait", "angle"), label="gait")
    found, read_with, _ = of(path, settings=settings)
    check(found, WORDS)
    assert read_with.features == ("angle",)


def test_a_damaged_row_is_refused_with_its_line(tmp_path):
    path = written(tmp_path / "walks.csv", [[word] for word in WORDS])
    path.write_text(path.read_text() + "walk,0.5,oops,0.25\n")
    with pytest.raises(DataError, match=r"'walk,0\.5,oops,0\.25' holds 'oops' among its steps"):
        of(path)
    path.write_text(path.read_text().replace("0.5,oops,0.25", ""))
    with pytest.raises(DataError, match="'walk,' holds no steps"):
        of(path)


def test_a_line_of_few_cells_among_many_is_refused(tmp_path):
    rows = [[f"w{k}", f"place {k}", word] for k, word in enumerate(WORDS)]
    for few in (",,,", "w7", "w7,"):
        path = written(tmp_path / "walks.csv", rows)
        path.write_text(path.read_text() + f"{few}\n")
        with pytest.raises(DataError, match="holds no step"):
            of(path)


@pytest.mark.parametrize(
    "text",
    [
        "day,load\n" + "".join(f"2023-01-{k:02},{k},{k % 7}\n" for k in range(1, 29)),
        "".join(f"{k % 2},0.5,{k}.5,1.25{',7.5' * (k == 20)}\n" for k in range(40)),
    ],
    ids=["decimal commas", "one row with a cell too many"],
)
def test_a_table_with_cells_too_many_is_still_refused(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(DataError, match="cells, but"):
        of(path, "forecast")


@pytest.mark.parametrize("missing", ["zero", "previous", "linear", "drop-leading"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "ragged"])
def test_empty_cells_in_lists_are_repaired(tmp_path, kind, missing):
    cells = [[*row[:2], None, *row[2:]] for row in ROWS]
    path = tmp_path / f"walks.{kind}"
    if kind == "jsonl":
        rows = zip(cells, WORDS, strict=True)
        path.write_text("\n".join(json.dumps({"x": row, "label": word}) for row, word in rows))
    elif kind == "parquet":
        pl.DataFrame({"x": cells, "label": WORDS}).write_parquet(path)
    elif kind == "csv":
        lists = [str(row).replace("None", "nan") for row in cells]
        pl.DataFrame({"x": lists, "label": WORDS}).write_csv(path)
    else:
        path = tmp_path / "ragged.csv"
        texts = [",".join("" if cell is None else str(cell) for cell in row) for row in cells]
        path.write_text("".join(f"{w},{text}\n" for w, text in zip(WORDS, texts, strict=True)))
    found, _, _ = of(path, settings=DataSettings(missing=missing))
    first = {"zero": 0.0, "previous": ROWS[0][1], "linear": (ROWS[0][1] + ROWS[0][2]) / 2}
    assert np.isfinite(found.values).all()
    if missing in first:
        np.testing.assert_allclose(found.values[2, 0], first[missing])
