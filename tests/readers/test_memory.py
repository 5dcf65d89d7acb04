"""Data in memory: every form of the same numbers is read alike, and the others are refused."""

import array
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse

from gatewise.errors import DataError
from gatewise.readers.memory import plain
from gatewise.readers.sources import opened
from gatewise.settings import DataSettings
from gatewise.tasks import guess_task, read

STEPS = np.array([1.0, 2.5, 4.0])


def torch_tensor(values):
    torch = pytest.importorskip("torch")
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def jax_array(values):
    return pytest.importorskip("jax.numpy").asarray(values)


@pytest.mark.parametrize(
    "form",
    [
        np.ndarray.tolist,
        list,
        torch_tensor,
        jax_array,
        lambda x: x.astype(object),
        lambda x: [Decimal(str(one)) for one in x],
        lambda x: array.array("d", x),
        memoryview,
        lambda x: np.ma.masked_array(x, mask=[False] * len(x)),
    ],
)
def test_every_form_of_the_same_steps_is_one_sequence(form):
    found = opened(DataSettings(), form(STEPS)).content().sequences
    np.testing.assert_allclose(found.values[:, 0], STEPS, rtol=1e-7)
    assert len(found) == 1


def test_masked_and_missing_numbers_are_empty_cells():
    masked = plain(np.ma.masked_array(STEPS, mask=[False, True, False]))
    np.testing.assert_array_equal(masked, [1.0, np.nan, 4.0])
    np.testing.assert_array_equal(plain([1, None, 4]), [1.0, np.nan, 4.0])


@pytest.mark.parametrize(
    "form",
    [
        {"a": [1, 2], "b": ["x", "y"]},
        {"a": np.array([1, 2]), "b": np.array(["x", "y"])},
        [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
    ],
)
def test_columns_and_records_are_a_table(form):
    assert plain(form).equals(pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}))


@pytest.mark.parametrize("form", [pd.Series, pl.Series, np.array])
def test_a_series_of_texts_is_a_list_of_texts(form):
    assert opened(DataSettings(), form(["good", "bad"])).texts == (["good", "bad"], None)


MULTI = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")]))


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (scipy.sparse.csr_array(np.eye(3)), "toarray"),
        (scipy.sparse.dok_array(np.eye(3)), "toarray"),
        ((one for one in STEPS), "Give a list"),
        (map(float, STEPS), "Give a list"),
        (MULTI, "several levels"),
        ({}, "is empty"),
        ({"a": [1, 2], "b": [1]}, "columns of equal length"),
        ([10**400], "too large"),
        (np.array(["1", "2"]), "texts such as '1'.*astype"),
        (STEPS + 1j, "complex numbers. Give the real"),
        (np.array(["2024-01-01"], dtype="M8[D]"), "dates. Give a table"),
        (np.zeros(2, dtype=[("a", "f8")]), "named fields"),
        ({1, 2}, "Received: set"),
        (3, "Received: int"),
        (object, "Received: type"),
    ],
)
def test_other_forms_are_a_sentence(form, said):
    with pytest.raises(DataError, match=said):
        opened(DataSettings(), form).content()


def test_a_pair_keeps_its_parts():
    x, y = plain((pd.DataFrame({"a": STEPS}), None))
    assert y is None
    assert isinstance(x, pd.DataFrame)


WORDS = ["red green blue", "blue green", "red red blue", "green"] * 5


@pytest.mark.parametrize(
    ("data", "task"),
    [
        ((WORDS, ["warm", "cold"] * 10), "classify"),
        ((pd.Series(WORDS), pd.Series([0, 1] * 10)), "classify"),
        ((WORDS, np.arange(20) / 7), "regress"),
        ((WORDS, [one[::-1] for one in WORDS]), "translate"),
        (([one.split() for one in WORDS], [["X"] * len(one.split()) for one in WORDS]), "tag"),
        (WORDS, "language"),
    ],
)
def test_the_task_of_texts_in_memory_is_guessed(data, task):
    assert guess_task(DataSettings(), data)[0] == task


DAYS = pd.date_range("2020-01-01", periods=40)


def timed(begin=0, name="y"):
    """A frame of pandas whose index is of days."""
    return pd.DataFrame({name: np.arange(40.0) + begin}, index=DAYS + pd.Timedelta(days=begin))


TABLES = {
    "frames with an index": ([timed(), timed(3)], ["0", "1"]),
    "series with an index": ([timed()["y"], timed(3)["y"]], ["0", "1"]),
    "frames by name": ({"b": timed(), "a": timed(3)}, ["b", "a"]),
    "series by name, of other times": ({"b": timed()["y"], "a": timed(3)["y"]}, ["b", "a"]),
    "tables with times": (
        [pl.from_pandas(timed(k).reset_index(names="day")) for k in (0, 3)],
        ["0", "1"],
    ),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_with_times_keep_them(kind):
    source, names = TABLES[kind]
    found, settings, _ = read(DataSettings(), source, task="forecast")
    assert settings.id == ("series_id",) and sorted(found.ids) == sorted(names)
    first = found.times[found.starts].astype("M8[D]").astype(str)
    assert dict(zip(found.ids, first, strict=True)) == dict(
        zip(names, ["2020-01-01", "2020-01-04"], strict=True)
    )
    again, _, _ = read(settings, source, task="forecast", purpose="predict")
    assert np.array_equal(again.values, found.values)
    with pytest.raises(DataError, match="no column 'series_id'. Give tables in a list, or by"):
        read(settings, timed(), task="forecast", purpose="predict")


def test_series_that_share_their_times_are_columns():
    found, _, _ = read(
        DataSettings(target=("a",)), {"a": timed()["y"], "b": timed()["y"]}, task="forecast"
    )
    assert found.columns == ("a",) and str(found.times[0].astype("M8[D]")) == "2020-01-01"


def test_tables_of_labelled_sequences_stay_arrays():
    """Their times say nothing, and new tables must be read as those of training."""
    tables = [timed(k) for k in range(4)]
    found, settings, _ = read(DataSettings(), (tables, list("abab")), task="classify")
    assert found.times is None and found.labels.tolist() == list("abab")
    again, _, _ = read(settings, tables, task="classify", purpose="predict")
    assert np.array_equal(again.values, found.values)


def test_tables_with_other_columns_are_refused():
    with pytest.raises(DataError, match="table 1 has the columns 'index', 'z', but table 0 has"):
        read(DataSettings(), [timed(), timed(3, name="z")], task="forecast")
    with pytest.raises(DataError, match="'y' holds numbers in table 0, Datetime in table 1"):
        read(DataSettings(), [timed(), timed().assign(y=DAYS)], task="forecast")
    with pytest.raises(DataError, match="'a' is a table, and others are not"):
        read(DataSettings(), {"a": timed(), "b": timed()["y"]}, task="forecast")


def test_tables_with_ids_of_their_own_keep_them():
    tables = [timed().assign(series_id=name) for name in "ba"]
    found, _, _ = read(DataSettings(), tables, task="forecast")
    assert sorted(found.ids) == ["a", "b"]
