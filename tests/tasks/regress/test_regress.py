"""Numbers for sequences and steps: reading, scaling, baselines, scores and refusals."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import sklearn.metrics

import gatewise
from gatewise.data.sequences import from_arrays
from gatewise.errors import ConfigError, DataError
from gatewise.settings import DataSettings, from_mapping
from gatewise.tasks import guess_task, read
from gatewise.tasks.regress import rows
from gatewise.tasks.regress import task as regress

PER_SEQUENCE = from_mapping(
    {
        "task": {"name": "regress", "quantiles": [0.1, 0.5, 0.9]},
        "data": {"target": ["y"], "target_per": "sequence"},
    }
)
PER_STEP = PER_SEQUENCE.having("data", target_per="step")


def means(count=60, *, targets=("y",), seed=0):
    """Sequences of 4 to 9 steps, whose targets are the means of their columns."""
    random = np.random.default_rng(seed)
    arrays = [
        random.normal(size=(random.integers(4, 10), 2)) + random.normal() for _ in range(count)
    ]
    static = {
        name: np.array([one[:, k].mean() for one in arrays]) for k, name in enumerate(targets)
    }
    return from_arrays(arrays, columns=("a", "b"), static=static)


def sums(count=20, *, length=12, seed=0):
    """Sequences with a target at each step: the running sum of column a."""
    random = np.random.default_rng(seed)
    arrays = []
    for _ in range(count):
        a = random.normal(size=(length, 1))
        arrays.append(np.concatenate([np.cumsum(a, axis=0), a], axis=1))
    return from_arrays(arrays, columns=("y", "a"))


def made(sequences, experiment, role="test"):
    preparation, _ = regress.prepare(sequences, experiment)
    return preparation, regress.examples(sequences, preparation, experiment, role)


def frame(target, count=12, steps=5):
    """A long table; `target(k, step)` is the target of a row."""
    random = np.random.default_rng(0)
    return pl.DataFrame(
        [
            {"run": f"r{k}", "x": random.normal(), "wear": target(k, step)}
            for k in range(count)
            for step in range(steps)
        ],
        strict=False,
        infer_schema_length=None,
    )


def read_frame(wear, **data):
    settings = from_mapping({"data": {"id": ["run"], "target": ["wear"], **data}}).data
    return read(settings, frame(wear), task="regress")


# Reading


def test_a_target_that_never_changes_within_a_sequence_is_one_number_for_each():
    sequences, settings, notes = read_frame(lambda k, step: k / 2)
    assert settings.target_per == "sequence" and sequences.columns == ("x",)
    np.testing.assert_array_equal(sequences.static["wear"], np.arange(12) / 2)
    assert "'wear' does not change within a sequence" in " ".join(notes)


def test_a_target_that_changes_is_a_number_at_each_step():
    sequences, settings, notes = read_frame(lambda k, step: k + step)
    assert settings.target_per == "step" and sequences.columns == ("wear", "x")
    assert "changes within a sequence (first in sequence 'r0', row 2" in " ".join(notes)


def test_a_row_may_be_a_sequence_with_several_targets():
    table = pl.DataFrame({f"v{k}": np.arange(6.0) for k in range(5)})
    table = table.with_columns(p=pl.Series([1.5, 2, 3, 4, 5, 6]), q=pl.Series(range(6)))
    sequences, settings, _ = read(DataSettings(target=("p", "q")), table, task="regress")
    assert settings.layout == "wide" and (sequences.lengths == 5).all()
    np.testing.assert_array_equal(sequences.static["q"], range(6))


def test_new_data_need_not_hold_the_targets():
    _, settings, _ = read_frame(lambda k, step: k + step)
    new = frame(lambda k, step: 0.0).drop("wear")
    sequences, _, _ = read(settings, new, task="regress", purpose="predict")
    assert sequences.columns == ("wear", "x") and np.isnan(sequences.values[:, 0]).all()


def test_a_few_sequences_without_a_target_are_left_out_and_named():
    sequences, _, notes = read_frame(lambda k, step: None if k == 3 else k)
    assert sequences.ids.tolist() == [f"r{k}" for k in range(12) if k != 3]
    assert "1 of 12 sequences has no 'wear' and is left out; the first is 'r3'" in notes


@pytest.mark.parametrize(
    ("wear", "data", "said"),
    [
        (
            lambda k, s: None if k in range(3, 9) else k,
            {},
            "6 of 12 sequences have no 'wear'; the first is 'r3'",
        ),
        (lambda k, s: "bad" if k == 3 else str(k), {}, "must hold numbers, but row 16"),
        (lambda k, s: np.inf if k == 3 else k, {}, "'wear' is inf for sequence 'r3'"),
        (lambda k, s: 1e200 * k, {}, "too large to square. Divide"),
        (lambda k, s: k + s, {"target_per": "sequence"}, "from 0 to 1 in sequence 'r0', row 2"),
        (lambda k, s: k, {"target": ["nope"]}, "no column 'nope'"),
    ],
)
def test_unusable_targets_are_refused_with_their_place(wear, data, said):
    with pytest.raises(DataError, match=said):
        read_frame(wear, **data)


def test_a_target_cannot_be_named_twice():
    with pytest.raises(ConfigError, match="names 'wear' twice"):
        read_frame(lambda k, step: k, target=["wear", "wear"])


def test_pairs_of_arrays_have_one_target_several_or_one_at_each_step():
    x = [np.zeros((3, 2)), np.ones((5, 2))]
    plain = DataSettings()
    one, settings, _ = read(plain, (x, np.array([1.5, 2.5])), task="regress")
    assert one.static["y"].tolist() == [1.5, 2.5] and settings.target == ("y",)
    two, settings, _ = read(plain, (x, np.eye(2)), task="regress")
    assert settings.target == ("y0", "y1") and two.static["y1"].tolist() == [0, 1]
    each, settings, _ = read(plain, (x, [np.arange(3), np.arange(5)]), task="regress")
    assert settings.target_per == "step" and each[1][:, 0].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match="a number for each step of each sequence"):
        read(plain, (x, [np.arange(3), np.arange(4)]), task="regress")


def test_a_ts_file_may_end_its_lines_with_numbers(tmp_path):
    path = tmp_path / "numbers.ts"
    path.write_text("@timeStamps false\n@targetLabel true\n@data\n1,2,3:0.25\n4,5,6:1.75\n")
    sequences, settings, _ = read(DataSettings(path=str(path)), task="regress")
    assert sequences.static["y"].tolist() == [0.25, 1.75] and settings.target == ("y",)


# Guessing the task


def test_a_real_number_is_recognised_and_other_targets_are_not():
    real = frame(lambda k, step: k / 7)
    labelled = real.rename({"wear": "label"})
    walk = frame(lambda k, step: k / 7 + step)
    assert guess_task(DataSettings(target=("wear",), id=("run",)), real)[0] == "regress"
    assert guess_task(DataSettings(id=("run",)), labelled)[0] == "regress"
    assert guess_task(DataSettings(label="wear", id=("run",)), real)[0] == "regress"
    assert guess_task(DataSettings(target=("wear",), id=("run",)), walk)[0] == "forecast"
    whole = labelled.with_columns(pl.col("label").round())
    assert guess_task(DataSettings(id=("run",)), whole)[0] == "classify"
    x = np.zeros((20, 4))
    assert guess_task(DataSettings(), (x, np.arange(20) / 3))[0] == "regress"
    assert guess_task(DataSettings(), (x, np.arange(20)))[0] == "classify"


def test_classify_refuses_real_numbers_and_names_the_way():
    data = DataSettings(label="wear", id=("run",))
    with pytest.raises(DataError, match="12 different continuous numbers.*--task regress"):
        read(data, frame(lambda k, step: k / 7), task="classify")
    with pytest.raises(DataError, match="Regressor"):
        gatewise.Classifier().fit(np.zeros((20, 4)), np.arange(20) / 3)


# Preparation and examples


def test_targets_are_scaled_and_given_back_exactly():
    sequences = means()
    preparation, some = made(sequences, PER_SEQUENCE, "train")
    given = some.targets(np.arange(60))
    assert given.shape == (60, 1, 1)
    np.testing.assert_allclose([given.mean(), given.std()], [0, 1], atol=1e-6)
    back = rows.unscaled(given.astype(float), preparation)[:, 0, 0]
    np.testing.assert_allclose(back, sequences.static["y"], atol=1e-6)


def test_steps_that_are_only_read_and_padding_have_no_target():
    experiment = PER_STEP.having("task", window=8, stride=4)
    preparation, some = made(sums(2), experiment, "train")
    assert some.lengths.tolist() == [4, 8, 8] * 2
    given = some.targets(np.array([0, 1]), 8)[..., 0, 0]
    assert np.isfinite(given).tolist() == [[True] * 4 + [False] * 4, [False] * 4 + [True] * 4]
    scored = given[np.isfinite(given)] * preparation.own.targets[0].spread
    np.testing.assert_allclose(
        scored + preparation.own.targets[0].centre, sums(2)[0][:8, 0], atol=1e-5
    )


def test_every_step_is_predicted_once_and_in_order():
    experiment = PER_STEP.having("task", window=5, stride=3)
    preparation, some = made(sums(3), experiment)
    np.testing.assert_array_equal(rows.truth(some, preparation)[:, 0], sums(3).values[:, 0])
    given = np.zeros((36, 1, 3))
    table = regress.table(given, some, preparation, np.arange(len(some)))
    assert table["step"].to_list() == [*range(1, 13)] * 3
    assert table["id"].to_list() == ["0"] * 12 + ["1"] * 12 + ["2"] * 12


def test_the_time_of_a_prediction_is_in_the_zone_of_the_data():
    sequences = sums(3)
    times = np.datetime64("2024-06-01", "us") + np.timedelta64(1, "h") * np.arange(36)
    sequences = replace(sequences, times=times, zone="+02:00")
    preparation, some = made(sequences, PER_STEP)
    table = regress.table(np.zeros((36, 1, 3)), some, preparation, np.arange(len(some)))
    assert table["time"][0] == "2024-06-01 02:00:00+02:00"  # midnight in UTC


def test_few_sequences_with_a_number_at_each_step_are_split_by_time():
    splits = regress.split(sums(2, length=40), PER_STEP, True)
    assert (splits.test.starts - splits.test.first > 0).all()
    whole = regress.split(sums(20), PER_STEP, True)
    assert len(whole.train) + len(whole.validation) + len(whole.test) == 20


def test_parts_of_the_split_hold_low_and_high_targets():
    sequences = means(200)
    parts = regress.split(sequences, PER_SEQUENCE, True)
    edges = np.quantile(sequences.static["y"], [0.2, 0.8])
    for part in (parts.train, parts.validation, parts.test):
        y = part.static["y"]
        assert abs((y < edges[0]).mean() - 0.2) < 0.03 and abs((y > edges[1]).mean() - 0.2) < 0.03
        assert part.labels is None


def test_a_constant_target_is_refused():
    sequences = means()
    sequences.static["y"][:] = 4.0
    with pytest.raises(DataError, match="'y' is always 4 in the training part"):
        regress.prepare(sequences, PER_SEQUENCE)


# Calibration, baselines and scores


def test_calibrated_bands_hold_their_share_of_the_calibration_part():
    sequences = means(400)
    preparation, some = made(sequences, PER_SEQUENCE)
    random = np.random.default_rng(1)
    truth = rows.scaled(rows.truth(some, preparation), preparation)
    outputs = truth[..., None] + random.normal(size=(400, 1, 1)) + np.array([-0.1, 0, 0.1])
    before = regress.postprocess(outputs, some, preparation, {})
    calibrated = regress.calibrate(preparation, outputs, some)
    after = regress.postprocess(outputs, some, calibrated, {})
    (promise,) = regress.promises(some, preparation)
    shares = [
        promise.measure.value(promise.measure.statistics(one).sum(axis=0))
        for one in (before, after)
    ]
    assert shares[0] < 0.2 and shares[1] == pytest.approx(promise.share, abs=0.01)


def test_ridge_finds_the_mean_that_it_reads_and_the_state_survives_json():
    sequences = means(200, targets=("y", "z"))
    experiment = PER_SEQUENCE.having("data", target=("y", "z"))
    preparation, some = made(sequences, experiment, "train")
    state = json.loads(json.dumps(regress.fit_baselines(some, None, preparation)))
    found = {
        one.name: one.predict(some) for one in regress.make_baselines(state, preparation, some)
    }
    assert list(found) == [
        *("median", "ridge on summaries", "gradient boosting on summaries", "nearest neighbour")
    ]
    scores = {
        name: regress.score(one, some, preparation, experiment)["r2"] for name, one in found.items()
    }
    assert scores["ridge on summaries"] > 0.99 and abs(scores["median"]) < 0.1
    assert scores["gradient boosting on summaries"] > 0.9
    assert scores["nearest neighbour"] == 1  # of each training sequence, itself


def test_ridge_on_the_steps_finds_a_weighted_sum_that_summaries_cannot():
    random = np.random.default_rng(0)
    steps = random.normal(size=(200, 12, 1))
    weighted = steps[:, :, 0] @ random.permutation(np.linspace(-1, 1, 12))
    sequences = from_arrays([*steps], columns=("a",), static={"y": weighted})
    preparation, some = made(sequences, PER_SEQUENCE, "train")
    state = json.loads(json.dumps(regress.fit_baselines(some, None, preparation)))
    r2 = {
        one.name: regress.score(one.predict(some), some, preparation, PER_SEQUENCE)["r2"]
        for one in regress.make_baselines(state, preparation, None)
    }
    assert r2["ridge on the steps"] > 0.99 and r2["ridge on summaries"] < 0.5


def test_ridge_on_the_window_finds_a_weighted_sum_of_the_last_steps():
    random = np.random.default_rng(0)
    arrays = []
    for _ in range(20):
        a = random.normal(size=30)
        y = a + 0.5 * np.concatenate([a[:1], a[:-1]])
        arrays.append(np.stack([y, a], axis=1))
    preparation, some = made(from_arrays(arrays, columns=("y", "a")), PER_STEP, "train")
    state = regress.fit_baselines(some, None, preparation)
    ridge = regress.make_baselines(state, preparation, None)[1]
    assert ridge.name == "ridge on the window"
    assert regress.score(ridge.predict(some), some, preparation, PER_STEP)["r2"] > 0.999


def test_scores_are_those_of_scikit_learn():
    sequences = means(80)
    sequences.static["y"] += 20
    preparation, some = made(sequences, PER_SEQUENCE)
    truth = sequences.static["y"]
    middle = truth + np.random.default_rng(2).normal(size=80)
    given = middle[:, None, None] + np.array([-1, 0, 1])
    scores = regress.score(given, some, preparation, PER_SEQUENCE)
    assert scores["mae"] == pytest.approx(sklearn.metrics.mean_absolute_error(truth, middle))
    assert scores["rmse"] == pytest.approx(sklearn.metrics.root_mean_squared_error(truth, middle))
    assert scores["r2"] == pytest.approx(sklearn.metrics.r2_score(truth, middle))
    percent = 100 * sklearn.metrics.mean_absolute_percentage_error(truth, middle)
    assert scores["mape"] == pytest.approx(percent)
    pinball = [
        sklearn.metrics.mean_pinball_loss(truth, given[:, 0, q], alpha=level)
        for q, level in enumerate((0.1, 0.5, 0.9))
    ]
    assert scores["quantile loss"] == pytest.approx(2 * np.mean(pinball))
    for measure in regress.measures(some, preparation, PER_SEQUENCE):
        value = measure.value(measure.statistics(given).sum(axis=0))
        assert value == pytest.approx(scores[measure.name])


def test_an_error_in_percent_is_left_out_where_targets_are_near_zero():
    preparation, some = made(means(80), PER_SEQUENCE)
    scores = regress.score(np.zeros((80, 1, 3)), some, preparation, PER_SEQUENCE)
    assert "mape" not in scores and np.isnan(scores["coverage"])


def test_unknown_targets_are_counted_and_left_out_of_an_evaluation():
    sequences = means(30)
    preparation, _ = made(sequences, PER_SEQUENCE)
    sequences.static["y"][[2, 5]] = np.nan
    kept, notes = regress.with_truth(sequences, preparation)
    assert len(kept) == 28 and "2 of 30 sequences have no value of 'y'" in notes[0]
    with pytest.raises(DataError, match="no sequence has a value of 'y'"):
        regress.with_truth(replace(sequences, static={}), preparation)


def test_outputs_in_the_scale_of_another_preparation_mean_the_same_numbers():
    experiment = PER_SEQUENCE.having("task", transform="none")
    one, _ = regress.prepare(means(30, seed=1), experiment)
    other, _ = regress.prepare(means(40, seed=2), experiment)
    factor, offset = regress.rescaled_outputs(one, other)
    outputs = np.random.default_rng(0).normal(size=(6, 1, 3))
    np.testing.assert_allclose(
        rows.unscaled(outputs * factor + offset, other), rows.unscaled(outputs, one)
    )
