"""Scores, thresholds, labels and planted anomalies of detect, against their definitions."""

import json
import logging
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import sklearn.metrics
from scipy import stats

import gatewise
from gatewise import ArtefactError, ConfigError, DataError
from gatewise.settings import DataSettings, from_mapping
from gatewise.tasks import proposed
from gatewise.tasks.detect import baselines, planting, scoring, task
from gatewise.tasks.detect.fitted import Yardstick
from gatewise.tasks.detect.measures import events, nearest_event
from gatewise.training.ready import make_ready

FEW = {
    "task": {"lookback": 6, "season": 12, "horizon": 2},
    "network": {"units": [3]},
    "training": {"epochs": 1},
    "evaluation": {"n_resamples": 50},
}


def waves(count=400, columns=2, seed=0, marked=()):
    """A table of sine waves with noise; `marked` steps are 8 deviations off and labelled."""
    random = np.random.default_rng(seed)
    steps = np.arange(count)[:, None] / 12 + np.arange(columns) / 7
    values = np.sin(2 * np.pi * steps) + random.normal(0, 0.1, (count, columns))
    label = np.zeros(count, int)
    for step in marked:
        values[step, 0] += 0.8
        label[step] = 1
    names = [f"x{k}" for k in range(columns)]
    return pl.DataFrame(dict(zip(names, values.T, strict=True))).with_columns(anomaly=label)


MARKED = (*range(20, 400, 40), 341, 371)


@pytest.fixture(scope="module")
def table():
    return waves(marked=MARKED)


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    """A saved run on labelled data; do not write into it."""
    folder = tmp_path_factory.mktemp("runs") / "detect"
    return gatewise.train(table, task="detect", settings=FEW, output=folder)


def ready_of(source, **settings):
    layers = [FEW, settings, {"task": {"name": "detect"}}]
    experiment = from_mapping({})
    for layer in layers:
        experiment = from_mapping(layer, experiment)
    return make_ready(experiment, source)


def test_a_score_is_the_distance_of_the_error_from_those_on_normal_steps(run, table):
    preparation = run.artefact.preparation
    yardstick, scale = preparation.own.yardstick, preparation.scale
    cells = table.select("x0", "x1").to_numpy()
    scaled = (cells - scale.centre[0]) / scale.spread[0]
    windows = np.stack([scaled[t - 6 : t] for t in range(6, 400)]).astype(np.float32)
    outputs = np.asarray(run.artefact.network.predict(windows, verbose=0), np.float64)
    errors = (scaled[6:, None] - outputs).reshape(394, -1) - yardstick.centre
    whitening = np.array(yardstick.whitening)
    covariance = np.linalg.inv(whitening @ whitening.T)
    wanted = np.sqrt(np.einsum("ni,ij,nj->n", errors, np.linalg.inv(covariance), errors))
    found = gatewise.predict(run, table)
    np.testing.assert_allclose(found["score"], wanted, rtol=1e-3, atol=1e-4)
    at_least = (np.array(yardstick.scores) >= found["score"].to_numpy()[:, None]).sum(axis=1)
    np.testing.assert_allclose(found["p_value"], (1 + at_least) / (1 + len(yardstick.scores)))
    expected = (outputs[:, 0] + yardstick.centre[:2]) * scale.spread[0] + scale.centre[0]
    np.testing.assert_allclose(found.select("expected x0", "expected x1"), expected, atol=1e-4)
    assert found["step"].to_list() == list(range(7, 401))


def test_errors_are_measured_in_their_own_units():
    errors = np.random.default_rng(0).normal(3, [1, 20], (4000, 2)) @ [[1, 0.5], [0, 1]]
    yardstick = scoring.yardstick_of(errors, 0.01)
    scores = scoring.scores_of(errors, yardstick)
    assert np.mean(scores**2) == pytest.approx(2, rel=0.02)  # chi squared with two degrees
    far = scoring.scores_of(1000 * errors, scoring.yardstick_of(1000 * errors, 0.01))
    np.testing.assert_allclose(scores, far, rtol=1e-6)


@pytest.mark.parametrize("rate", [0.3, 0.05, 0.01])
def test_a_threshold_keeps_the_rate_of_false_alarms_on_exchangeable_steps(rate):
    random, alarms, count = np.random.default_rng(1), 0, 0
    for _ in range(200):
        calibration, new = random.exponential(size=149), random.exponential(size=100)
        yardstick = scoring.calibrated(Yardstick(), calibration, rate)
        judged = scoring.judged(new, yardstick, np.zeros((100, 1)))
        alarms, count = alarms + judged[:, scoring.ALARM].sum(), count + 100
        assert (judged[judged[:, scoring.ALARM] == 1, scoring.P_VALUE] <= rate + 1e-12).all()
    exact = (150 - np.ceil(150 * (1 - rate))) / 150
    # Alarms of one calibration depend on each other: their share is a beta variable.
    spread = np.sqrt(exact * (1 - exact) * (1 / count + 1 / (200 * 151)))
    assert abs(alarms / count - exact) < stats.norm.ppf(0.999) * spread
    assert exact <= rate + 1e-12


def test_a_threshold_for_a_low_rate_uses_more_scores_than_are_saved():
    scores = np.zeros(5 * scoring.MOST_CALIBRATION)
    scores[1:5] = 1, 2, 3, 4  # between two that are saved
    yardstick = scoring.calibrated(Yardstick(), scores, 1 / len(scores))
    assert len(yardstick.scores) == scoring.MOST_CALIBRATION
    assert (scores > yardstick.threshold).sum() <= 1


def test_too_few_steps_for_the_rate_take_the_highest_score_and_say_so(table, caplog):
    scores = np.arange(30.0)
    assert scoring.calibrated(Yardstick(), scores, 0.001).threshold == pytest.approx(29, rel=1e-3)
    with caplog.at_level(logging.INFO, logger="gatewise"):
        ready_of(table)
    assert "too few for task.false_alarms = 0.001: the threshold is their highest" in caplog.text


def test_a_planted_spike_is_found_and_normal_steps_are_not(table):
    made = gatewise.train(
        waves(600).drop("anomaly"),
        task="detect",
        settings=FEW | {"training": {"epochs": 40, "learning_rate": 0.01}},
    )
    assert made.metrics["metrics"]["planted_found"] > 0.8
    assert set(made.metrics["details"]["planted"]) == {
        *("spikes", "level shifts", "frozen values", "noise", "moved season")
    }
    assert made.metrics["details"]["planted"]["spikes"]["LSTM"] == 1
    assert made.metrics["verdict"]["metric"] == "planted_average_precision"
    spiked = (
        waves(300, seed=5)
        .drop("anomaly")
        .with_columns(x0=pl.when(pl.int_range(300) == 200).then(4.0).otherwise("x0"))
    )
    found = gatewise.predict(made, spiked)
    assert found["step"][int(found["score"].arg_max())] == 201
    assert found["alarm"].to_list()[194] == 1
    assert found["alarm"][:190].sum() <= 10


def test_labels_never_reach_the_network(table):
    def trained(frame):
        made = ready_of(frame)
        rows = np.arange(len(made.train))
        return made, made.train.inputs(rows, 0)["steps"], made.train.targets(rows)

    plain, inputs, targets = trained(table)
    other, same, as_well = trained(
        table.with_columns(
            anomaly=pl.when(pl.int_range(400) >= 320)
            .then(1 - pl.col("anomaly"))
            .otherwise("anomaly")
        )
    )
    np.testing.assert_array_equal(inputs, same)
    np.testing.assert_array_equal(targets, as_well)
    assert plain.preparation == replace(other.preparation, scale=plain.preparation.scale)
    assert plain.preparation.columns == ("x0", "x1")
    truth = plain.train.source.truth
    assert (truth == 0).all() and len(truth) == 280 - 6 - 7
    assert (plain.validation.source.truth == 0).all()


def test_labels_are_read_in_several_spellings(table):
    words = {"yes": "no", "True": "False", "1.0": "0.0", "Anomaly": "normal"}
    wanted = ready_of(table).test.source.truth
    for yes, no in words.items():
        spelt = table.with_columns(
            anomaly=pl.when(pl.col("anomaly") == 1).then(pl.lit(yes)).otherwise(pl.lit(no))
        )
        np.testing.assert_array_equal(ready_of(spelt).test.source.truth, wanted)
    unknown = table.with_columns(
        anomaly=pl.when(pl.int_range(400) > 390).then(None).otherwise("anomaly")
    )
    assert np.isnan(ready_of(unknown).test.source.truth[-9:]).all()
    made = ready_of(([table.select("x0", "x1").to_numpy()], [table["anomaly"].to_numpy()]))
    np.testing.assert_array_equal(made.test.source.truth, wanted)


def test_average_precision_and_its_resamples_are_those_of_scikit_learn(run, table):
    made = ready_of(table)
    random = np.random.default_rng(0)
    given = random.normal(size=(len(made.test), 5)).round(1)  # with ties
    given[:, scoring.ALARM] = given[:, scoring.SCORE] > 1
    truth = made.test.source.truth == 1
    scores = task.score(given, made.test, made.preparation, made.experiment)
    theirs = sklearn.metrics.average_precision_score(truth, given[:, scoring.SCORE])
    assert scores["average_precision"] == pytest.approx(theirs)
    precise, found, f1 = task.measures(made.test, made.preparation, made.experiment)
    sums = precise.statistics(given)
    assert precise.value(sums.sum(axis=0)) == pytest.approx(theirs)
    twice = np.isin(nearest_event(made.test.source), [0, 2])
    again = np.concatenate([given, given[twice]])
    theirs = sklearn.metrics.average_precision_score(
        np.concatenate([truth, truth[twice]]), again[:, scoring.SCORE]
    )
    assert precise.value(sums.sum(axis=0) + sums[0] + sums[2]) == pytest.approx(theirs)
    assert found.value(found.statistics(given).sum(axis=0)) == scores["events_found"]
    wanted = sklearn.metrics.f1_score(truth, given[:, scoring.ALARM] == 1)
    assert f1.value(f1.statistics(given).sum(axis=0)) == pytest.approx(wanted)
    assert scores["alarm_f1"] == pytest.approx(wanted)


def test_an_event_is_a_run_of_labels_and_has_the_steps_around_it(table):
    source = ready_of(table).test.source
    starts = [source.steps[event[0]] for event in events(source)]
    assert starts == [340, 371, 380] and [len(one) for one in events(source)] == [2, 1, 1]
    cluster = nearest_event(source)
    assert (np.diff(cluster) >= 0).all() and cluster.max() == 2
    assert cluster[source.steps == 355] == 0 and cluster[source.steps == 357] == 1


def test_planted_copies_change_what_they_mark_and_nothing_else():
    made = ready_of(waves(600).drop("anomaly"))
    copies = planting.planted(made.splits.test, made.preparation)
    part, whole = made.splits.test, copies.sequences
    assert copies.names[0] == "" and len(set(copies.names)) == 6
    for k in range(1, len(whole)):
        begin, first = int(part.stops[0] - whole.lengths[k]), int(whole.starts[k])
        original = part.values[begin : int(part.stops[0])]
        changed = (whole[k] != original).any(axis=1)
        marks = whole.marks[first : int(whole.stops[k])]
        assert (marks[changed] == 1).all() and (changed[marks == 1]).mean() > 0.9
        ends = np.flatnonzero((marks[:-1] == 1) & (marks[1:] != 1))
        assert all(np.isnan(marks[end + 1 : end + 7]).all() for end in ends)
        assert (marks == 0).any()
    again = planting.planted(made.splits.test, made.preparation)
    np.testing.assert_array_equal(again.sequences.values, whole.values)


def test_baselines_expect_what_their_names_say(table):
    made = ready_of(table)
    state = baselines.fit_baselines(made.train, made.validation, made.preparation)
    found = {
        one.name: one.predict(made.test)[:, scoring.EXPECTED :]
        for one in baselines.make_baselines(state, made.preparation, None)
    }
    cells, steps = table.select("x0", "x1").to_numpy(), made.test.source.steps
    np.testing.assert_allclose(found["last value"], cells[steps - 1])
    np.testing.assert_allclose(found["season before (12)"], cells[steps - 12])
    normal = (table["anomaly"] == 0).to_numpy()[:280]
    mean = np.broadcast_to(cells[:280][normal].mean(axis=0), found["z-score"].shape)
    np.testing.assert_allclose(found["z-score"], mean)
    errors = np.abs(found["ridge on the window"] - cells[steps])
    assert errors.mean() < np.abs(found["last value"] - cells[steps]).mean()


def test_a_stream_answers_as_the_whole_series_however_it_is_cut(run, table):
    rows = table.drop("anomaly")[:80].to_dicts()
    whole = gatewise.predict(run.artefact.folder, table[:80])
    for cuts in ([1] * 80, [80], [3, 50, 27]):
        stream, found, begin = gatewise.Stream(run.artefact.folder), [], 0
        for size in cuts:
            stream.push(rows[begin : begin + size])
            found += stream.read()
            begin += size
            state = stream.state()
            stream = gatewise.Stream(run.artefact.folder)
            stream.restore(state)
        assert [one["step"] for one in found] == whole["step"].to_list()
        for name in ("score", "p_value", "alarm", "expected x0", "expected x1"):
            np.testing.assert_allclose([one[name] for one in found], whole[name], atol=2e-5)


def test_no_value_that_was_filled_in_is_scored_in_a_stream_or_a_file(run, table):
    hours = np.datetime64("2024-01-01", "us") + np.arange(400) * np.timedelta64(1, "h")
    timed = table.with_columns(time=hours)
    trained = run.artefact
    filling = trained.experiment.having("data", time=("time",), gaps="fill", missing="previous")
    run = replace(trained, experiment=filling, preparation=replace(trained.preparation, step="1h"))
    new = timed.drop("anomaly")[:40].with_columns(
        x1=pl.when(~pl.int_range(40).is_in([12, 39])).then("x1")
    )
    lacking = new.filter(~pl.int_range(40).is_in([20, 21]))
    whole = gatewise.predict(run, lacking)
    filled = [12, 20, 21, 39]
    assert whole["time"].to_list() == [hours[k].item() for k in range(6, 40) if k not in filled]
    stream = gatewise.Stream(run)
    stream.push(lacking)
    found = stream.finish()
    assert [one["time"] for one in found] == whole["time"].to_list()
    np.testing.assert_allclose([one["score"] for one in found], whole["score"], atol=2e-5)


@pytest.mark.parametrize("name", ["is_anomaly", "outlier", "label"])
def test_a_column_that_may_mark_anomalies_proposes_the_task(name):
    table = waves(40, marked=(20,)).rename({"anomaly": name})
    timed = table.with_columns(time=np.arange(40))
    with pytest.raises((ConfigError, DataError), match=f"If '{name}' marks .*--task detect"):
        make_ready(from_mapping({}), timed)
    no_mark = timed.with_columns(pl.int_range(40).alias(name))
    with pytest.raises((ConfigError, DataError), match="^((?!detect).)*$"):
        make_ready(from_mapping({}), no_mark.with_columns(z=pl.col("x0")))


def test_a_source_without_a_table_proposes_nothing(tmp_path):
    assert proposed(DataSettings(), tmp_path) == "", "nor is it an error"


def test_two_labels_that_do_not_name_the_anomaly_are_no_feature(table):
    signs = table.with_columns(anomaly=1 - 2 * pl.col("anomaly"))
    with pytest.raises(DataError, match="'-1' and '1' do not say which is the anomaly"):
        ready_of(signs)
    assert ready_of(signs, data={"features": ["x0", "x1"]}).sequences.marks is None


def test_a_run_folder_answers_and_is_judged_like_the_run(run, table):
    here, there = (gatewise.predict(one, table) for one in (run, run.artefact.folder))
    for name in here.columns:
        if name in ("id", "step", "alarm", "truth"):
            assert here[name].to_list() == there[name].to_list()
        else:
            # A step of the calibration itself is as far as its own score, give or take rounding.
            rounding = 0.026 if name == "p_value" else 2e-5
            np.testing.assert_allclose(here[name], there[name], atol=rounding)
    again = gatewise.evaluate(run.artefact.folder, table[314:])
    assert again["metrics"] == pytest.approx(run.metrics["metrics"], abs=1e-6)
    assert "isolation forest" in run.metrics["baselines"]
    assert set(again["baselines"]) == set(run.metrics["baselines"]) - {"isolation forest"}
    page = (run.artefact.folder / "report.html").read_text(encoding="utf-8")
    assert "Scores and alarms" in page and "Highest scores" in page and "labelled" in page


def test_the_loss_by_int8_weights_is_that_of_planted_anomalies(table, tmp_path):
    table.drop("anomaly").write_csv(tmp_path / "series.csv")
    settings = FEW | {"task": FEW["task"] | {"name": "detect"}}
    gatewise.train(tmp_path / "series.csv", settings=settings, output=tmp_path / "run")
    gatewise.export(tmp_path / "run", to="c", weights="int8", output=tmp_path / "out")
    said = " ".join((tmp_path / "out" / "README.txt").read_text(encoding="utf-8").split())
    name = "planted_average_precision on the validation part"
    assert re.search(rf"{name} .*: 0\.\d+ with float32 weights, 0\.\d+ with int8", said)


def test_an_export_of_several_series_holds_their_scales(table, tmp_path):
    both = [
        table.with_columns(pl.lit(name).alias("id"), x0=size * pl.col("x0"))
        for name, size in (("a", 1.0), ("b", 50.0))
    ]
    settings = FEW | {"task": FEW["task"] | {"name": "detect"}, "data": {"id": ["id"]}}
    run = gatewise.train(
        pl.concat(both).drop("anomaly"), settings=settings, output=tmp_path / "run"
    )
    assert run.artefact.preparation.scale.by == "series"
    written = gatewise.export(tmp_path / "run", to="onnx", output=tmp_path / "out")
    assert written.difference < 1e-3
    facts = json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8"))
    assert facts["series"] == ["a", "b"]


def test_an_export_scores_as_predict_does(run, tmp_path):
    written = gatewise.export(run.artefact.folder, to="onnx", output=tmp_path / "out")
    assert written.difference < 1e-3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"anomaly": pl.lit("odd")}, "must hold labels: 1 or yes for an anomaly.* holds 'odd'"),
        ({"anomaly": pl.lit(2)}, "must hold labels: 1 or yes .* It holds 2"),
        ({"anomaly": pl.lit(1)}, "each step of the training part is a marked anomaly"),
        (
            {"anomaly": (pl.int_range(400) >= 320).cast(int)},
            "each labelled step of the test part is an anomaly",
        ),
        ({"x0": pl.lit(1.0), "x1": pl.lit(2.0)}, "no column ever changes in the training part"),
        ({"x0": pl.when(pl.int_range(400) == 9).then(None).otherwise("x0")}, "x0.*no value|empty"),
    ],
)
def test_data_that_cannot_be_judged_are_a_sentence(table, change, said):
    with pytest.raises(DataError, match=said):
        ready_of(table.with_columns(**change), data={"label": "anomaly"})


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"data": {"label": "anomly"}}, DataError, "no column 'anomly'. Did you mean 'anomaly'"),
        ({"split": {"validation": 0.0}}, ConfigError, "needs a validation part"),
        ({"split": {"by": "random"}}, ConfigError, "is split by time"),
        ({"split": {"validation": 22.0}, "task": {"lookback": 300}}, DataError, "training part"),
        ({"split": {"validation": 9.0}}, DataError, "has 9 normal steps after .* needs 20"),
        ({"task": {"false_alarms": 1.5}}, ConfigError, "share of normal steps, between 0 and 1"),
        ({"training": {"refit": "yes"}}, ConfigError, "would train on the validation part"),
        ({"training": {"monitor": "roc_auc"}}, ConfigError, "can only be loss, because"),
        ({"task": {"horizon": 8}}, ConfigError, "no more than the lookback of 6"),
    ],
)
def test_settings_that_do_not_fit_are_a_sentence(table, settings, error, said):
    with pytest.raises(error, match=said):
        ready_of(table, **settings)


def test_a_short_series_and_an_unknown_one_are_a_sentence(run, table):
    with pytest.raises(DataError, match="5 steps, but a score needs 6 steps"):
        gatewise.predict(run, table[:5])
    with pytest.raises(DataError, match="too few"):
        ready_of(table[:2])
    two = pl.concat(waves(200, seed=k).with_columns(id=pl.lit(f"s{k}")) for k in range(2))
    made = ready_of(two.drop("anomaly"))
    assert made.preparation.scale.by == "series" and len(made.train.source.sequences) == 2
    other = made.splits.train.chosen(np.array([0]))
    with pytest.raises(DataError, match="the series 'new' is not in the training part"):
        task.examples(
            replace(other, ids=np.array(["new"])), made.preparation, made.experiment, "predict"
        )


def test_a_run_without_a_threshold_never_answers_that_all_is_well(run, table, tmp_path):
    own = replace(run.artefact.preparation.own, yardstick=Yardstick())
    bare = replace(run.artefact, preparation=replace(run.artefact.preparation, own=own))
    for answer in (gatewise.predict, gatewise.evaluate):
        with pytest.raises(ArtefactError, match="no threshold of alarms"):
            answer(bare, table)
    with pytest.raises(ArtefactError, match="no threshold of alarms"):
        gatewise.export(bare, to="onnx", output=tmp_path / "out")


def test_a_test_part_too_short_to_plant_anything_is_a_sentence():
    with pytest.raises(DataError, match="no marked anomaly, and with 30 steps it is too short"):
        ready_of(waves(300).drop("anomaly"), split={"test": 30}, task={"lookback": 40})
    some = ready_of(waves(300).drop("anomaly"), split={"test": 0.0}, task={"lookback": 20})
    assert some.test is None


def test_a_detector_speaks_the_language_of_scikit_learn(table):
    x = table.select("x0", "x1").to_numpy()
    made = gatewise.Detector(
        units=4, epochs=2, lookback=6, false_alarms=0.05, settings={"task": {"season": 1}}
    ).fit(x)
    scores, labels = made.score_samples(x), made.predict(x)
    assert scores.shape == labels.shape == (400,)
    assert np.isnan(scores[:6]).all() and np.isfinite(scores[6:]).all()
    assert set(labels) == {-1, 1} and (labels[:6] == 1).all()
    np.testing.assert_array_equal(labels == -1, made.decision_function(x) < 0)
    twice = made.score_samples([x[:50], x[100:130]])
    np.testing.assert_allclose(twice[6:50], scores[6:50], atol=1e-5)
    assert np.isnan(twice[50:56]).all()
