"""The fitted steps survive saving; categories and calendar features follow their definitions."""

import json
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data.calendar import calendar_features
from gatewise.data.preparation import Preparation, level_texts, one_hot, seen_categories
from gatewise.data.scaling import fit_scale
from gatewise.data.sequences import from_arrays
from gatewise.data.spectra import Spectrum
from gatewise.errors import DataError
from gatewise.tasks.classify.fitted import Fitted as Classify
from gatewise.tasks.forecast.fitted import Fitted as Forecast
from gatewise.tasks.transcribe.decoding import Characters
from gatewise.tasks.transcribe.fitted import Fitted as Transcribe

names = st.lists(st.text(max_size=5), max_size=4, unique=True).map(tuple)
finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
sizes = st.integers(1, 10**6)
numbers = st.lists(finite, max_size=3).map(tuple)
spectra = st.none() | st.builds(Spectrum, sizes, sizes, sizes, sizes)
counts = st.dictionaries(st.text(max_size=2), st.dictionaries(st.text(max_size=1), sizes))


@st.composite
def preparations(draw):
    scale = fit_scale(from_arrays([np.array([[1.0, 0.1], [2.5, 0.3]])]), "standard", "series")
    own = draw(
        st.builds(
            Forecast,
            targets=names,
            horizon=sizes,
            lookback=sizes,
            quantiles=st.lists(st.floats(0, 1), max_size=3).map(tuple),
            margins=st.lists(numbers, max_size=2).map(tuple),
        )
        | st.builds(Classify, classes=names, temperature=positive, window=sizes, spectrum=spectra)
        | st.builds(
            Transcribe,
            classes=names,
            spectrum=st.builds(Spectrum, sizes, sizes, sizes, sizes),
            lm=st.none() | st.builds(Characters, sizes, counts, finite),
        )
    )
    return Preparation(
        task=draw(st.sampled_from(["forecast", "classify"])),
        columns=draw(names),
        used=draw(names),
        scale=scale,
        categories=draw(st.dictionaries(st.text(max_size=5), names, max_size=3)),
        own=own,
        padded=draw(st.booleans()),
        static_scale=draw(
            st.dictionaries(st.text(max_size=5), st.tuples(finite, positive), max_size=3)
        ),
        step=draw(st.text(max_size=3)),
    )


@given(preparations())
def test_what_was_saved_is_what_is_loaded(preparation):
    plain = json.loads(json.dumps(preparation.to_json()))
    again = Preparation.from_json(plain, type(preparation.own))
    for one in fields(Preparation):
        if one.name != "scale":
            assert getattr(again, one.name) == getattr(preparation, one.name), one.name
    assert again.to_json() == preparation.to_json()


def weather():
    """Two sequences with a column of numbers, a column of texts, and a static text."""
    return from_arrays(
        [np.array([[1.0, 0], [2.0, np.nan]]), np.array([[3.0, 2], [4.0, 1]])],
        columns=("rain", "sky"),
        levels={"sky": ("clear", "fog", "cloud")},
        static={"station": np.array(["hill", "coast"]), "height": np.array([3.0, 4.0])},
    )


def test_categories_come_from_the_training_part_only():
    whole = weather()
    names = ("rain", "sky", "station", "height")
    assert seen_categories(whole, names) == {
        "sky": ("clear", "fog", "cloud"),
        "station": ("coast", "hill"),
    }
    first = whole.chosen(np.array([0]))
    assert seen_categories(first, names) == {"sky": ("clear",), "station": ("hill",)}
    cut_short = whole.between(whole.starts, whole.stops - 1)
    assert seen_categories(cut_short, ("sky",)) == {"sky": ("clear", "cloud")}


def test_codes_become_their_texts_and_an_empty_cell_becomes_an_empty_text():
    assert level_texts(weather(), "sky", np.array([[0, np.nan, 2]])).tolist() == [
        ["clear", "", "cloud"]
    ]


def test_one_hot_is_all_zeros_for_an_unknown_text():
    hot = one_hot(np.array([["fog", "hail"]]), ("clear", "fog"), "unknown", "sky", "the file")
    assert hot.tolist() == [[[0, 1], [0, 0]]]
    assert hot.dtype == np.float32


def test_a_column_without_any_text_in_training_has_no_categories():
    assert one_hot(np.array(["fog", ""]), (), "unknown", "sky", "the file").shape == (2, 0)


def test_a_category_first_seen_after_training_is_refused_on_request():
    with pytest.raises(DataError, match=r"days.csv: column 'sky' holds 'hail'.*known: clear, fog"):
        one_hot(np.array(["fog", "hail"]), ("clear", "fog"), "error", "sky", "days.csv")


moments = st.datetimes().map(lambda moment: np.datetime64(moment, "us"))


@given(st.lists(moments, min_size=1, max_size=5), st.sampled_from(["hour", "weekday", "month"]))
def test_calendar_features_are_points_on_a_circle_at_the_right_place(times, name):
    points = calendar_features(np.array(times), (name,))
    assert points.shape == (len(times), 2)
    for time, (sine, cosine) in zip(times, points, strict=True):
        moment = time.item()
        day_share = (moment - moment.replace(hour=0, minute=0, second=0, microsecond=0)).seconds
        turn = {
            "hour": day_share / 86_400,
            "weekday": moment.weekday() / 7,
            "month": (moment.month - 1) / 12,
        }[name]
        assert sine == pytest.approx(np.sin(2 * np.pi * turn), abs=1e-3)
        assert cosine == pytest.approx(np.cos(2 * np.pi * turn), abs=1e-3)


def test_every_calendar_feature_takes_two_columns_and_keeps_the_shape():
    times = np.datetime64("2024-02-29T12:30", "us") + np.arange(6).reshape(2, 3) * np.timedelta64(
        1, "us"
    )
    names = ("minute", "hour", "weekday", "monthday", "yearday", "month")
    made = calendar_features(times, names)
    assert made.shape == (2, 3, 12)
    assert made[0, 0, :2] == pytest.approx([0, -1], abs=1e-6)  # half an hour is half a turn
