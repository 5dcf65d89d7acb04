"""Forecasts: guesses, inputs from windows, and the start of forecasts."""

from dataclasses import replace

import numpy as np
import pytest

from gatewise.data.calendar import following
from gatewise.data.sequences import from_arrays
from gatewise.errors import ConfigError, DataError
from gatewise.settings import Experiment, from_mapping
from gatewise.tasks.forecast import task as forecast
from gatewise.tasks.forecast.values import point, unscaled

HOUR, DAY = np.timedelta64(1, "h"), np.timedelta64(1, "D")


def waves(count=400, *, period=7, noise=0.1, seed=0):
    random = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * np.arange(count) / period)
    return (10 + wave + noise * random.normal(size=count))[:, None]


def series(values=None, *, step="1d", columns=("y",), **known):
    values = waves() if values is None else values
    listed = values if isinstance(values, list) else [values]
    made = from_arrays(listed, columns=columns, **known)
    times = np.concatenate(
        [np.datetime64("2020-01-01", "us") + DAY * np.arange(len(one)) for one in listed]
    )
    return replace(made, times=times.astype("M8[us]"), step=step)


def experiment(**sections):
    given = {"data": {"target": ["y"]}, "task": {"name": "forecast", "horizon": 4, "lookback": 8}}
    merged = {key: given.get(key, {}) | sections.get(key, {}) for key in given.keys() | sections}
    return from_mapping(merged)


def prepared(sequences, chosen):
    preparation, _ = forecast.prepare(sequences, chosen)
    return preparation, forecast.examples(sequences, preparation, chosen, "train")


def resolved(chosen, sequences):
    train = forecast.split(sequences, chosen, True).train
    return forecast.resolve(chosen, sequences, train)


def inputs_of(some):
    return some.inputs(np.arange(len(some)), 0)


def test_an_evaluation_of_many_origins_begins_in_each_step_of_the_season():
    sequences, chosen = series(waves(70_000)), experiment(task={"season": 7})
    preparation, _ = prepared(sequences, chosen)
    some = forecast.examples(sequences, preparation, chosen, "test")
    _, origins = some.source.places(np.arange(len(some)))
    assert 8_000 < len(some) <= forecast.MAX_ORIGINS, "one in 8, because one in 7 has one phase"
    assert set(origins % 7) == set(range(7))


@pytest.mark.parametrize(
    ("step", "horizon"), [("1h", 48), ("1d", 14), ("1w", 13), ("1mo", 18), ("3mo", 8), ("1y", 6)]
)
def test_the_default_horizon_depends_on_the_spacing(step, horizon):
    found, notes = resolved(
        experiment(task={"horizon": 0, "lookback": 0}), series(waves(600), step=step)
    )
    assert found.task.horizon == horizon
    assert any("horizon was not given" in note for note in notes)


@pytest.mark.parametrize(
    ("step", "period"), [("1d", 7), ("1h", 24), ("2w", 26), ("1mo", 12), ("", 12)]
)
def test_an_existing_season_is_found(step, period):
    found, notes = resolved(experiment(), series(waves(period=period), step=step))
    assert found.task.season == period
    assert f"{period} steps" in notes[0]


@pytest.mark.parametrize(
    ("step", "usual"),
    [("1d", 7), ("1h", 24), ("15m", 96), ("5m", 12), ("1mo", 12), ("7h", 1), ("", 1)],
)
def test_noise_and_trends_have_the_season_of_the_calendar_or_none(step, usual):
    random = np.random.default_rng(0)
    for values in (random.normal(size=(400, 1)), np.cumsum(random.normal(size=(400, 1)), axis=0)):
        found, notes = resolved(experiment(), series(values, step=step))
        assert found.task.season == usual
        assert "none found" in notes[0] and (f"calendar is {usual} steps" in notes[0]) == (
            usual > 1
        )


def test_given_settings_are_not_guessed():
    given = experiment(
        task={"horizon": 3, "lookback": 5, "season": 1}, training={"epochs": 7, "batch_size": 9}
    )
    found, notes = resolved(given, series())
    assert (found.task.horizon, found.task.lookback, found.task.season) == (3, 5, 1)
    assert (found.training.epochs, found.training.batch_size) == (7, 9)
    assert notes == []
    assert resolved(found, series())[0] == found


def test_guesses_do_not_look_at_the_test_part():
    values = waves()
    other = values.copy()
    other[-80:] = np.random.default_rng(1).normal(size=(80, 1))
    open_ended = experiment(task={"horizon": 0, "lookback": 0})
    assert resolved(open_ended, series(values)) == resolved(open_ended, series(other))


@pytest.mark.parametrize("levels", [[0.9, 0.1], [0.1, 0.1], [0.0, 0.5], [0.5, 1.0]])
def test_quantiles_rise_between_0_and_1(levels):
    with pytest.raises(ConfigError, match=r"task\.quantiles must be increasing numbers"):
        resolved(experiment(task={"quantiles": levels}), series())


def test_only_a_split_by_time_is_accepted():
    with pytest.raises(ConfigError, match="split by time"):
        forecast.split(series(), experiment(split={"by": "random"}), True)


def test_windows_hold_the_scaled_steps_before_and_after_their_origin():
    values = waves(40)
    preparation, some = prepared(series(values), experiment())
    scaled = (values - values.mean()) / values.std()
    assert len(some) == 40 - 8 - 4 + 1
    past, future = inputs_of(some)["past"], some.targets(np.arange(len(some)))
    for window in range(len(some)):
        np.testing.assert_allclose(past[window], scaled[window : window + 8], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            future[window, ..., 0], scaled[window + 8 : window + 12], rtol=1e-4, atol=1e-5
        )
    np.testing.assert_allclose(
        forecast.truth(some, preparation)[3], values[11:15], err_msg="truth is in the file's units"
    )


def test_scaled_forecasts_return_exactly_to_the_units_of_each_series():
    values = [waves(40), 1000 * waves(40, seed=1), 1e-3 * waves(40, seed=2)]
    preparation, some = prepared(series(values), experiment())
    outputs = np.repeat(some.targets(np.arange(len(some))), 3, axis=-1)
    answer = forecast.postprocess(outputs, some, preparation, {})
    truth = forecast.truth(some, preparation)
    np.testing.assert_allclose(point(answer, preparation), truth, rtol=1e-5)


def test_crossed_quantiles_are_put_in_order():
    preparation, some = prepared(series(), experiment())
    outputs = np.random.default_rng(0).normal(size=(len(some), 4, 1, 3))
    answer = forecast.postprocess(outputs, some, preparation, {})
    assert (np.diff(answer, axis=-1) >= 0).all()


def test_covariates_are_read_only_at_times_when_they_are_known():
    count = 40
    values = np.column_stack([waves(count), np.arange(count), np.arange(count) ** 2.0])
    chosen = experiment(
        data={"past": ["p"], "known": ["k"]}, preparation={"calendar": ["none"], "scale": "none"}
    )
    _, some = prepared(series(values, columns=("y", "p", "k")), chosen)
    inputs = inputs_of(some)
    assert set(inputs) == {"past", "covariates", "future"}
    np.testing.assert_allclose(inputs["covariates"][5], values[5:13, 1:])
    np.testing.assert_allclose(inputs["future"][5], values[13:17, 2:])


def test_static_values_are_inputs_of_every_window():
    chosen = experiment(data={"static": ["size", "place"]}, preparation={"calendar": ["none"]})
    sequences = series([waves(20), waves(20, seed=1)])
    sequences = replace(
        sequences, static={"size": np.array([1.0, 3.0]), "place": np.array(["sea", "hill"])}
    )
    _, some = prepared(sequences, chosen)
    static = inputs_of(some)["static"]
    np.testing.assert_allclose(static[0], [-1, 0, 1])  # size in standard deviations, then hill, sea
    np.testing.assert_allclose(static[-1], [1, 1, 0])


def test_a_constant_covariate_is_dropped_with_a_note():
    values = np.column_stack([waves(40), np.full(40, 3.0)])
    chosen = experiment(data={"past": ["p"]}, preparation={"calendar": ["none"]})
    preparation, notes = forecast.prepare(series(values, columns=("y", "p")), chosen)
    assert preparation.used == ("y",)
    assert any("p" in note and "never change" in note for note in notes)
    refused = experiment(data={"past": ["p"]}, preparation={"constant_columns": "error"})
    with pytest.raises(DataError, match="'p' never changes"):
        forecast.prepare(series(values, columns=("y", "p")), refused)


def test_a_constant_target_is_refused():
    with pytest.raises(DataError, match="'y' never changes"):
        forecast.prepare(series(np.ones((40, 1))), experiment())


def test_a_given_loss_means_one_forecast_with_a_note():
    chosen, notes = resolved(experiment(training={"loss": "mae"}), series())
    preparation, _ = forecast.prepare(series(), chosen)
    assert chosen.task.quantiles == ()  # settings.toml says none, as there are none
    assert preparation.own.quantiles == ()
    assert any("no quantiles" in note for note in notes)


def test_overlapping_horizons_share_a_cluster():
    chosen = experiment()
    preparation, some = prepared(series(waves(40)), chosen)
    clusters = forecast.measures(some, preparation, chosen)[0].clusters
    _, counts = np.unique(clusters, return_counts=True)
    assert counts.tolist() == [4, 4, 4, 4, 4, 4, 4, 1]


def test_series_never_share_a_cluster_or_a_window():
    chosen = experiment()
    sequences = series([waves(20), waves(20, seed=1)])
    preparation, some = prepared(sequences, chosen)
    clusters = forecast.measures(some, preparation, chosen)[0].clusters
    half = len(some) // 2
    assert not set(clusters[:half]) & set(clusters[half:])
    steps = some.source.steps(np.arange(len(some)), -8, 4)
    assert ((steps < 20).all(axis=1) | (steps >= 20).all(axis=1)).all()


def ahead_of(sequences, **data):
    chosen = experiment(data=data)
    preparation, _ = forecast.prepare(sequences, chosen)
    return preparation, forecast.prediction_inputs(sequences, preparation)


def test_prediction_begins_right_after_the_last_row():
    preparation, made = ahead_of(series([waves(20), waves(30, seed=1)]))
    assert (made.stops - made.starts).tolist() == [4, 4]
    for k, count in enumerate((20, 30)):
        times = made.times[made.starts[k] : made.stops[k]]
        last = np.datetime64("2020-01-01") + (count - 1) * DAY
        np.testing.assert_array_equal(times, last + DAY * np.arange(1, 5))
    some = forecast.examples(made, preparation, experiment(), "predict")
    assert len(some) == 2


def test_rows_known_ahead_are_used_and_too_few_are_refused():
    values = np.column_stack([waves(24), np.arange(24.0)])
    full = series(values, columns=("y", "k"))
    preparation, _ = forecast.prepare(full, experiment(data={"known": ["k"]}))
    open_ended = values.copy()
    open_ended[20:, 0] = np.nan
    made = forecast.prediction_inputs(series(open_ended, columns=("y", "k")), preparation)
    np.testing.assert_array_equal(made.values[made.starts[0] :, 1], [20, 21, 22, 23])
    assert np.isnan(made.values[made.starts[0] :, 0]).all()
    with pytest.raises(DataError, match="needs 4 rows after its last target with k filled in"):
        forecast.prediction_inputs(series(open_ended[:22], columns=("y", "k")), preparation)


def test_a_series_shorter_than_the_lookback_is_refused_by_name():
    preparation, _ = forecast.prepare(series(), experiment())
    with pytest.raises(DataError, match="'0' has 5 steps with a target, but the lookback is 8"):
        forecast.prediction_inputs(series(waves(5)), preparation)


@pytest.mark.parametrize(
    ("times", "step", "wanted"),
    [
        (["2024-01-31", "2024-02-29"], "1mo", ["2024-03-31", "2024-04-30"]),
        (["2023-01-31", "2023-02-28"], "1mo", ["2023-03-31", "2023-04-30"]),
        (["2023-01-30", "2023-02-28"], "1mo", ["2023-03-30", "2023-04-30"]),
        (["2023-01-15", "2023-02-15"], "1mo", ["2023-03-15", "2023-04-15"]),
        (["2023-11-01", "2023-12-01"], "1mo", ["2024-01-01", "2024-02-01"]),
        (["2023-06-30", "2023-09-30"], "3mo", ["2023-12-31", "2024-03-31"]),
        (["2022-12-31", "2023-12-31"], "1y", ["2024-12-31", "2025-12-31"]),
        (["2020-02-29", "2021-02-28"], "1y", ["2022-02-28", "2023-02-28"]),
        (["2023-12-30", "2023-12-31"], "1d", ["2024-01-01", "2024-01-02"]),
        (["2023-12-18", "2023-12-25"], "1w", ["2024-01-01", "2024-01-08"]),
        (["2023-01-01T23:30", "2023-01-01T23:45"], "15m", ["2023-01-02T00:00", "2023-01-02T00:15"]),
        (["2023-01-01T22", "2023-01-01T23"], "1h", ["2023-01-02T00", "2023-01-02T01"]),
        (["2023-01-01", "2023-01-04", "2023-01-07"], "", ["2023-01-10", "2023-01-13"]),
    ],
)
def test_times_continue_with_their_spacing(times, step, wanted):
    found = following(np.array(times, dtype="M8[us]"), step, 2)
    np.testing.assert_array_equal(found, np.array(wanted, dtype="M8[us]"))


def test_month_ends_stay_month_ends_with_their_hour():
    found = following(np.array(["2024-01-31T06", "2024-02-29T06"], "M8[us]"), "1mo", 1)
    assert found[0] == np.datetime64("2024-03-31T06")


def test_counted_steps_continue():
    np.testing.assert_array_equal(following(np.array([1, 3, 5]), "2i", 3), [7, 9, 11])
    np.testing.assert_array_equal(following(np.array([0, 7, 19, 29]), "", 2), [39, 49])


def test_irregular_times_cannot_be_continued_from_one_row():
    chosen = experiment(task={"lookback": 1})
    preparation, _ = forecast.prepare(series(waves(40), step=""), chosen)
    with pytest.raises(DataError, match=r"sequence '0' has one row .* Give two rows or more"):
        forecast.prediction_inputs(series(waves(1), step=""), preparation)


def test_the_table_has_a_row_for_each_series_step_and_target():
    preparation, made = ahead_of(series([waves(20), waves(30, seed=1)], ids=np.array(["b", "a"])))
    some = forecast.examples(made, preparation, Experiment(), "predict")
    answer = np.arange(2 * 4 * 3.0).reshape(2, 4, 1, 3)
    table = forecast.table(answer, some, preparation, np.arange(2))
    assert table.columns == ["id", "origin", "time", "target", "q0.1", "q0.5", "q0.9"]
    assert table["id"].to_list() == ["b"] * 4 + ["a"] * 4
    assert table["q0.5"].to_list() == answer[..., 1].ravel().tolist()


@pytest.mark.parametrize(("times", "step"), [(2 * np.arange(40), "2i"), (np.arange(40) / 2, "0.5")])
def test_the_schema_knows_times_that_are_numbers(times, step):
    chosen = experiment(data={"time": ["t"]})
    preparation, some = prepared(replace(series(waves(40), step=step), times=times), chosen)
    table = forecast.table(np.zeros((len(some), 4, 1, 3)), some, preparation, np.arange(len(some)))
    assert forecast.schema(preparation, chosen) == {
        name: kind for name, kind in table.schema.items() if name != "truth"
    }


def test_tables_and_reports_show_the_times_of_the_zone():
    chosen = experiment()
    preparation, some = prepared(replace(series(waves(40)), zone="+02:00"), chosen)
    answer = np.zeros((len(some), 4, 1, 3))
    table = forecast.table(answer, some, preparation, np.arange(len(some)))
    shown = forecast.details({"LSTM": answer}, some, preparation, chosen)["examples"]
    assert table["time"][0] == "2020-01-09 02:00:00+02:00"  # midnight in UTC
    assert {time for one in shown for time in one["times"]} <= set(table["time"])


def test_no_quantiles_means_the_default_ones_and_a_missing_median_is_noted():
    found, _ = resolved(experiment(task={"quantiles": []}), series())
    assert found.task.quantiles == (0.1, 0.5, 0.9)
    _, notes = resolved(experiment(task={"quantiles": [0.2, 0.9]}), series())
    assert any("point metrics use 0.2" in note for note in notes)


@pytest.fixture
def with_gaps():
    """Windows of two series with absurd values in filled cells, and an answer."""
    values, holes = [waves(60), 100 * waves(50, seed=1)], np.random.default_rng(0)
    whole = series(values)
    filled = holes.random(whole.values.shape) < 0.2
    filled[70:85] = True  # complete windows, and complete stretches
    chosen = experiment(task={"season": 7})
    preparation, _ = prepared(whole, chosen)
    absurd = replace(whole, values=np.where(filled, 1e9, whole.values), filled=filled)
    some = forecast.examples(absurd, preparation, chosen, "test")
    noise = np.random.default_rng(1).normal(size=(len(some), 4, 1, 3))
    answer = unscaled(np.sort(noise, axis=-1), some.source, preparation)
    return some, preparation, chosen, answer, forecast.examples(whole, preparation, chosen, "test")


def test_filled_cells_are_not_scored_as_truth(with_gaps):
    some, preparation, chosen, answer, whole = with_gaps
    steps = some.source.steps(np.arange(len(some)), 0, 4)
    measured = ~some.source.sequences.filled[steps]  # [windows, horizon, 1]
    truth = forecast.truth(whole, preparation)
    scores = forecast.score(answer, some, preparation, chosen)
    errors = np.abs(truth - answer[..., 1])[measured]
    assert scores["mae"] == pytest.approx(errors.mean())
    assert scores["rmse"] == pytest.approx(np.sqrt((errors**2).mean()))
    inside = (answer[..., 0] <= truth) & (truth <= answer[..., 2])
    assert scores["coverage"] == pytest.approx(inside[measured].mean())
    assert max(scores.values()) < 1e6, "nothing was measured from the absurd values"


def test_the_verdict_and_the_report_also_leave_filled_cells_out(with_gaps):
    some, preparation, chosen, answer, _ = with_gaps
    scaled = from_mapping({"evaluation": {"scaled": True}}, chosen)
    scores = forecast.score(answer, some, preparation, scaled)
    for measure in forecast.measures(some, preparation, scaled)[:2]:
        statistics = measure.statistics(answer)
        assert len(statistics) == len(measure.clusters)
        assert (statistics[:, 1] > 0).all(), "no stretch of the test part is empty"
        value = measure.value(statistics.sum(axis=0))
        assert value == pytest.approx(scores[measure.name])
    (promise,) = forecast.promises(some, preparation)
    held = promise.measure.value(promise.measure.statistics(answer).sum(axis=0))
    assert held == pytest.approx(scores["coverage"])
    details = forecast.details({"LSTM": answer}, some, preparation, chosen)
    numbers = [*details["by_horizon"]["LSTM"], details["coverage"][0]["measured"]]
    numbers += [one["LSTM"] for one in details["by_series"].values()]
    numbers += [one["error"] for one in details["examples"]]
    assert min(numbers) >= 0
    assert max(numbers) < 1e6
    scored = [*range(8, 60), *range(68, 110)]  # what windows of 8 steps back can have as truth
    assert details["filled"] == some.source.sequences.filled[scored].sum()
    shown = forecast.table(answer, some, preparation, np.arange(len(some)))["truth"]
    assert shown.null_count() > 0
    assert shown.max() < 1e6


def test_new_data_with_filled_cells_can_be_forecast_from(with_gaps):
    some, preparation, *_ = with_gaps
    ahead = forecast.prediction_inputs(some.source.sequences, preparation)
    assert ahead.filled is None
    assert forecast.truth(
        forecast.window_examples(forecast.windows(ahead, 8, 4), preparation), preparation
    ).shape == (2, 4, 1)


def test_filled_cells_neither_widen_nor_narrow_the_bands(with_gaps):
    some, preparation, chosen, *_ = with_gaps
    outputs = np.zeros((len(some), 4, 1, 3))
    margins = np.array(forecast.calibrate(preparation, outputs, some).own.margins)
    assert np.abs(margins).max() < 10
    state = forecast.fit_baselines(some, some, preparation)
    assert np.isfinite(state["offsets"]["repeat last"]).all()


def test_a_test_part_that_was_filled_throughout_is_refused(with_gaps):
    some, preparation, chosen, *_ = with_gaps
    sequences = some.source.sequences
    nothing = replace(sequences, filled=np.ones(sequences.values.shape, dtype=bool))
    with pytest.raises(DataError, match="no target of the scored part was measured"):
        forecast.examples(nothing, preparation, chosen, "test")
    forecast.examples(nothing, preparation, chosen, "train")
