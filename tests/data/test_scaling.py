"""Scaling against its definition, there and back, on the training part only, in little memory."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gatewise.data import scaling
from gatewise.data.scaling import Scale, fit_scale, refuse_far
from gatewise.data.sequences import Sequences, from_arrays
from gatewise.errors import DataError

KINDS = ["standard", "minmax", "level", "none"]
WAYS = ["series", "column", "all"]
numbers = st.floats(-1e9, 1e9, allow_subnormal=False) | st.just(np.nan)
tables = st.lists(
    st.integers(1, 12).flatmap(lambda steps: arrays(np.float64, (steps, 2), elements=numbers)),
    min_size=1,
    max_size=6,
)
kinds, ways = st.sampled_from(KINDS), st.sampled_from(WAYS)


@pytest.fixture(params=[1, 6, scaling.CHUNK])
def chunk(request, monkeypatch):
    """Chunks so small that they cut sequences, or so large that one holds everything."""
    monkeypatch.setattr(scaling, "CHUNK", request.param)


def by_definition(values, kind):
    """Centre and spread of the finite numbers among `values`."""
    finite = values[np.isfinite(values)]
    if kind == "none" or not len(finite):
        return 0.0, 1.0
    if kind == "level":
        return 0.0, np.abs(finite).mean() or 1.0
    if kind == "minmax":
        centre, spread = finite.min(), finite.max() - finite.min()
    else:
        centre, spread = finite.mean(), finite.std()
    return centre, 1.0 if spread <= 1e-12 * np.abs(finite).max() else spread


@given(tables, kinds, ways)
def test_there_and_back_is_exact_to_rounding(some, kind, by):
    sequences = from_arrays(some)
    centre, spread = fit_scale(sequences, kind, by).rows(sequences)
    for k, values in enumerate(sequences):
        back = (values - centre[k]) / spread[k] * spread[k] + centre[k]
        size = np.nanmax(np.abs(values), initial=0) + np.abs(centre[k]).max()
        # A quotient below the normal numbers is rounded to a multiple of the smallest number.
        lost = np.finfo(float).smallest_subnormal * np.abs(spread[k]).max()
        np.testing.assert_allclose(back, values, rtol=0, atol=4 * np.finfo(float).eps * size + lost)


@pytest.mark.parametrize("kind", KINDS)
def test_each_way_is_its_definition_however_the_steps_are_chunked(kind, chunk):
    random = np.random.default_rng(1)
    some = [random.normal(50, 3, size=(length, 2)) for length in (5, 1, 17, 4)]
    some[2][3, 1] = np.nan
    sequences, together = from_arrays(some), np.concatenate(some)
    expected = {
        "series": [[by_definition(table[:, column], kind) for column in (0, 1)] for table in some],
        "column": [[by_definition(together[:, column], kind) for column in (0, 1)]] * 4,
        "all": [[by_definition(together, kind)] * 2] * 4,
    }
    for by, wanted in expected.items():
        centre, spread = fit_scale(sequences, kind, by).rows(sequences)
        np.testing.assert_allclose(np.stack([centre, spread], axis=-1), wanted, rtol=1e-12)


@given(tables, kinds, ways)
def test_no_spread_is_zero_and_empty_cells_are_ignored(some, kind, by):
    scale = fit_scale(from_arrays(some), kind, by)
    assert np.isfinite(scale.centre).all()
    assert (scale.spread > 0).all()
    assert np.isfinite(scale.spread).all()


@given(tables, kinds, ways)
def test_json_holds_a_scale_exactly(some, kind, by):
    scale = fit_scale(from_arrays(some), kind, by)
    again = Scale.from_json(json.loads(json.dumps(scale.to_json())))
    assert (again.kind, again.by, again.ids) == (scale.kind, scale.by, scale.ids)
    np.testing.assert_array_equal(again.centre, scale.centre)
    np.testing.assert_array_equal(again.spread, scale.spread)


@pytest.mark.parametrize("by", WAYS)
def test_steps_outside_the_part_do_not_count(by):
    sequences = from_arrays([np.r_[np.arange(10.0), 1e6], np.r_[np.arange(10.0), -1e6]])
    part = sequences.between(sequences.starts, sequences.stops - 1)
    assert fit_scale(part, "minmax", by).spread.max() == 9
    assert fit_scale(part, "standard", by).centre.ravel() == pytest.approx(4.5)


@pytest.mark.parametrize("steps", [7, 100_000])
def test_a_constant_column_has_a_spread_of_one(steps):
    # A plain sum of 0.1 a hundred thousand times leaves a deviation of 1e-13.
    constant = from_arrays([np.full((steps, 3), 0.1)])
    for kind in ("standard", "minmax"):
        scale = fit_scale(constant, kind, "column")
        assert scale.spread.tolist() == [[1, 1, 1]]
        assert scale.centre.tolist() == [[0.1, 0.1, 0.1]]


def test_large_numbers_that_change_little_keep_their_deviation():
    random = np.random.default_rng(2)
    noise = random.normal(size=10_000)
    scale = fit_scale(from_arrays([1e9 + noise]), "standard", "column")
    assert scale.spread[0, 0] == pytest.approx((1e9 + noise - 1e9).std(), rel=1e-9)


def test_one_step_and_columns_without_a_number_are_left_in_place():
    scale = fit_scale(from_arrays([np.array([[7.0, np.nan]])]), "standard", "series")
    assert scale.centre.tolist() == [[7, 0]]
    assert scale.spread.tolist() == [[1, 1]]


def test_infinite_cells_count_no_more_than_empty_ones():
    scale = fit_scale(from_arrays([np.array([1.0, np.inf, 3.0])]), "standard", "column")
    assert (scale.centre[0, 0], scale.spread[0, 0]) == (2, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32])
def test_numbers_of_every_type_are_scaled_in_float64(dtype):
    values = np.array([0, 100, 200, 250], dtype=dtype)
    scale = fit_scale(from_arrays([values]), "minmax", "all")
    assert (scale.centre[0, 0], scale.spread[0, 0]) == (0, 250)
    assert scale.spread.dtype == np.float64
    assert fit_scale(from_arrays([values]), "standard", "column").centre[0, 0] == 137.5


def test_a_sequence_unknown_to_training_is_scaled_by_its_own_steps():
    known = from_arrays([np.arange(5.0)], ids=np.array(["a"]))
    scale = fit_scale(known, "minmax", "series")
    new = from_arrays([np.arange(5.0), 10 + 2 * np.arange(3.0)], ids=np.array(["a", "b"]))
    centre, spread = scale.rows(new)
    assert centre.ravel().tolist() == [0, 10]
    assert spread.ravel().tolist() == [4, 4]


def test_an_unknown_sequence_is_not_scaled_by_its_future():
    scale = fit_scale(from_arrays([np.arange(5.0)], ids=np.array(["a"])), "minmax", "series")
    new = from_arrays([np.r_[0.0, 1, 2, 1000]], ids=np.array(["b"]))
    centre, spread = scale.rows(new, until=np.array([3]))
    assert (centre.item(), spread.item()) == (0, 2)


def test_an_unknown_part_of_a_sequence_is_scaled_by_all_since_its_beginning():
    scale = fit_scale(from_arrays([np.arange(5.0)], ids=np.array(["a"])), "minmax", "series")
    new = from_arrays([np.r_[0.0, 8, 2, 3]], ids=np.array(["b"]))
    part = new.between(np.array([2]), np.array([4]))
    assert scale.rows(part)[1].item() == 8


def test_each_series_of_a_large_panel_has_its_own_scale_whether_known_or_not():
    panel = from_arrays([np.arange(50.0) + k for k in range(5000)])
    known = fit_scale(panel, "standard", "series")
    unknown = Scale("standard", "series", ("none of them",), np.zeros((1, 1)), np.ones((1, 1)))
    for scale in (known, unknown):
        centre, spread = scale.rows(panel)
        np.testing.assert_allclose(centre.ravel(), 24.5 + np.arange(5000))
        np.testing.assert_allclose(spread.ravel(), np.arange(50.0).std())


@pytest.mark.parametrize("by", WAYS)
def test_fitting_does_not_copy_the_data(by):
    values = np.broadcast_to(np.arange(8.0), (4_000_000, 8))  # 256 MB if materialised
    whole = Sequences(
        values=values,
        starts=np.array([0, 2_000_000]),
        stops=np.array([2_000_000, 4_000_000]),
        first=np.array([0, 2_000_000]),
        ids=np.array(["a", "b"]),
        columns=tuple("abcdefgh"),
    )
    tracemalloc.start()
    fit_scale(whole, "minmax", by)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6


def test_scaled_values_beyond_float32_are_refused_by_column():
    scale = fit_scale(from_arrays([np.array([[9.0, 1], [11, 2]])]), "standard", "column")
    new = from_arrays([np.ones((3, 2)), np.array([[10, np.nan], [1e39, 1]])])
    refuse_far(new, *scale.rows(new), np.array([1]))
    with pytest.raises(DataError, match=r"'x0' holds a value of about 1e\+39 .* around 10. Give"):
        refuse_far(new, *scale.rows(new), np.array([0, 1]))
