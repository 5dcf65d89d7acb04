"""Prediction: raw data in, answers out, with ids and order, wherever the run is."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import gatewise
from gatewise.errors import DataError
from gatewise.runs import artefact
from gatewise.training.ready import make_ready


@pytest.fixture(scope="module")
def panel():
    """Three shops, 60 days each: sales, a promotion known ahead, rain known afterwards, a place."""
    random = np.random.default_rng(0)
    days = np.datetime64("2023-01-01") + np.arange(60) * np.timedelta64(1, "D")
    return pl.concat(
        pl.DataFrame(
            {
                "shop": [shop] * 60,
                "day": days,
                "sales": scale * (2 + np.sin(np.arange(60)) + 0.1 * random.normal(size=60)),
                "promotion": (np.arange(60) % 5 == 0).astype(float),
                "rain": random.random(60),
                "place": ["sea" if shop == "b" else "hill"] * 60,
            }
        )
        for shop, scale in (("b", 1.0), ("a", 100.0), ("ü", 10.0))
    )


@pytest.fixture(scope="module")
def panel_run(panel, tmp_path_factory, forecast_settings):
    columns = {"id": ["shop"], "time": "day", "target": ["sales"]}
    columns |= {"known": ["promotion"], "past": ["rain"], "static": ["place"]}
    folder = tmp_path_factory.mktemp("panel") / "run"
    gatewise.train(panel, settings=forecast_settings | {"data": columns}, output=folder)
    return gatewise.load(folder)


def with_days_ahead(panel, days=4):
    """Four more days of each shop with only the promotion known."""
    rows = []
    for (shop,), one in panel.group_by(["shop"], maintain_order=True):
        last = one["day"][-1]
        ahead = pl.DataFrame(
            {
                "shop": [shop] * days,
                "day": [last + timedelta(days=k) for k in range(1, days + 1)],
                "promotion": [1.0] * days,
                "place": [one["place"][0]] * days,
            }
        )
        rows += [one, ahead]
    return pl.concat(rows, how="diagonal_relaxed")


def test_a_forecast_starts_right_after_the_last_row(forecast_run, series_file):
    found = gatewise.predict(forecast_run, series_file)
    assert found.columns == ["id", "origin", "time", "target", "q0.1", "q0.5", "q0.9"]
    days = ["2023-06-01", "2023-06-02", "2023-06-03", "2023-06-04"]
    assert found["time"].dt.date().cast(str).to_list() == days
    assert found["origin"].dt.date().cast(str).unique().to_list() == ["2023-05-31"]
    values = found.select("q0.1", "q0.5", "q0.9").to_numpy()
    assert np.isfinite(values).all()
    assert (np.diff(values, axis=1) >= 0).all()


def test_a_moved_run_gives_the_same_numbers_in_a_new_process(forecast_run, series_file, tmp_path):
    here = gatewise.predict(forecast_run, series_file)
    shutil.copytree(forecast_run, tmp_path / "elsewhere" / "run")
    subprocess.run(
        [sys.executable, "-m", "gatewise", "predict", "run", series_file, "-o", "out.parquet"],
        cwd=tmp_path / "elsewhere",
        check=True,
        capture_output=True,
        env=os.environ,
    )
    assert_frame_equal(pl.read_parquet(tmp_path / "elsewhere" / "out.parquet"), here)


def test_series_keep_their_order_and_names(panel_run, panel):
    found = gatewise.predict(panel_run, with_days_ahead(panel))
    assert found["id"].to_list() == ["b"] * 4 + ["a"] * 4 + ["ü"] * 4
    middle = found.group_by("id", maintain_order=True).agg(pl.col("q0.5").mean())["q0.5"]
    assert middle[0] < middle[2] < middle[1], "each in its own units"


def test_one_series_of_the_panel_gets_the_same_answer_alone(panel_run, panel):
    full = with_days_ahead(panel)
    together = gatewise.predict(panel_run, full).filter(pl.col("id") == "a")
    alone = gatewise.predict(panel_run, full.filter(pl.col("shop") == "a"))
    assert_frame_equal(alone, together)


def test_a_series_that_training_never_saw_is_forecast_in_its_own_units(panel_run, panel):
    strange = with_days_ahead(panel).filter(pl.col("shop") == "b")
    strange = strange.with_columns(
        shop=pl.lit("new"), sales=pl.col("sales") * 1e4 + 1e6, place=pl.lit("moon")
    )
    found = gatewise.predict(panel_run, strange)
    assert found["id"].unique().to_list() == ["new"]
    assert found["q0.5"].is_between(1e6, 1.1e6).all()


def test_series_whose_rows_are_interleaved_get_the_same_answers_in_the_order_they_appear(
    panel_run, panel
):
    full = with_days_ahead(panel)
    mixed = full.sort("day", maintain_order=True)
    assert mixed["shop"].head(3).to_list() == ["b", "a", "ü"]
    assert_frame_equal(gatewise.predict(panel_run, mixed), gatewise.predict(panel_run, full))
    wanted = [name for name in ("ü", "b", "a") for _ in range(4)]
    turned = mixed.filter(pl.col("shop") == "ü")[:1].vstack(
        mixed.filter((pl.col("shop") != "ü") | (pl.col("day") > mixed["day"][0]))
    )
    assert gatewise.predict(panel_run, turned)["id"].to_list() == wanted


def test_an_empty_cell_asks_for_another_training_and_not_for_a_setting(panel_run, panel):
    full = with_days_ahead(panel).with_columns(
        rain=pl.when(pl.col("day") == panel["day"][50]).then(None).otherwise("rain")
    )
    with pytest.raises(DataError, match=r"train with data.missing=previous") as raised:
        gatewise.predict(panel_run, full)
    assert "--set" not in str(raised.value)


@pytest.mark.parametrize("ask", [gatewise.predict, gatewise.evaluate])
def test_numbers_of_another_size_than_float32_holds_are_refused(forecast_run, series_file, ask):
    table = pl.read_csv(series_file).with_columns(pl.selectors.float() * 1e39)
    with pytest.raises(DataError, match=r"column '\w+' holds a value of about .* Give values"):
        ask(forecast_run, table)


def test_dates_where_training_had_numbers_are_refused(forecast_run, series_file):
    table = pl.read_csv(series_file).with_columns(day=pl.int_range(pl.len()))
    with pytest.raises(
        DataError, match="the times were dates in training, but here they are numbers"
    ):
        gatewise.predict(forecast_run, table)


def test_seconds_continue_after_the_last_one(forecast_settings, tmp_path):
    seconds = [f"{k / 50:.2f}" for k in range(150)]
    waves = np.sin(np.arange(150) / 5) + 0.1 * np.random.default_rng(0).normal(size=150)
    table = pl.DataFrame({"seconds": seconds, "volts": waves.round(4)})
    table.write_csv(tmp_path / "sensor.csv")
    gatewise.train(
        tmp_path / "sensor.csv",
        target="volts",
        settings=forecast_settings,
        output=tmp_path / "run",
    )
    found = gatewise.predict(tmp_path / "run", tmp_path / "sensor.csv")
    assert found["origin"].unique().to_list() == [2.98]
    assert found["time"].to_list() == [3.0, 3.02, 3.04, 3.06]
    with pytest.raises(DataError, match=r"are 1 apart, but the run was trained on steps of 0\.02"):
        gatewise.predict(tmp_path / "run", table.with_columns(seconds=pl.int_range(pl.len())))


def test_steps_of_another_size_are_refused_with_the_remedy(forecast_run, series_file):
    table = pl.read_csv(series_file, try_parse_dates=True)
    hourly = table.with_columns(day=pl.datetime(2023, 1, 1) + pl.duration(hours=pl.int_range(150)))
    for verb in (gatewise.predict, gatewise.evaluate):
        with pytest.raises(DataError, match="are 1h apart, but the run was trained on steps of 1d"):
            verb(forecast_run, hourly)


def test_a_run_of_an_older_version_has_no_spacing(forecast_run, series_file, tmp_path):
    older = shutil.copytree(forecast_run, tmp_path / "run")
    prepared = json.loads((older / "preparation.json").read_text(encoding="utf-8"))
    del prepared["step"]
    artefact.write_json(older / "preparation.json", prepared)
    artefact.seal(older)
    assert_frame_equal(
        gatewise.predict(older, series_file), gatewise.predict(forecast_run, series_file)
    )


@pytest.fixture(scope="module")
def counts():
    """Twelve weeks of sales, mostly zero and sometimes five."""
    sold = np.where(np.arange(84) % 7 == 3, 5.0, 0.0)
    days = np.datetime64("2023-01-01") + np.arange(84) * np.timedelta64(1, "D")
    return pl.DataFrame({"day": days, "sold": sold, "balance": sold - 1})


def test_the_floor_clips_only_targets_that_were_never_negative(counts, forecast_settings, caplog):
    caplog.set_level("INFO", logger="gatewise")
    targets = ["sold", "balance"]
    free = gatewise.train(counts, target=targets, settings=forecast_settings)
    as_is = gatewise.predict(free.artefact, counts)
    columns = ["q0.1", "q0.5", "q0.9"]
    assert as_is.filter(pl.col("target") == "sold")["q0.1"].min() < 0, "else this says nothing"
    assert "forecasts of 'sold' reach below 0" in caplog.text
    floor = forecast_settings | {"task": forecast_settings["task"] | {"floor": "zero"}}
    cut = gatewise.train(counts, target=targets, settings=floor)
    assert any("'balance' was below 0 in training" in note for note in cut.metrics["notes"])
    wanted = as_is.with_columns(
        pl.when(pl.col("target") == "sold").then(pl.col(columns).clip(0)).otherwise(pl.col(columns))
    )
    assert_frame_equal(gatewise.predict(cut.artefact, counts), wanted)
    # The errors are those of the clipped forecasts, also for the baselines.
    actual = cut.evaluation.table.filter(pl.col("target") == "sold")
    assert actual["q0.1"].min() >= 0
    for name, scores in cut.evaluation.baselines.items():
        assert scores["mae"] <= free.evaluation.baselines[name]["mae"] + 1e-9


def test_a_floor_for_a_target_that_was_negative_in_training_is_refused(counts, forecast_settings):
    floor = forecast_settings | {"task": forecast_settings["task"] | {"floor": "zero"}}
    with pytest.raises(gatewise.ConfigError, match="'balance' is below 0 in the training part"):
        gatewise.train(counts, target="balance", settings=floor)


def test_known_covariates_must_be_given(panel_run, panel):
    with pytest.raises(DataError, match="needs 4 rows after its last target with promotion"):
        gatewise.predict(panel_run, panel)
    with pytest.raises(DataError, match=r"shop|'b'.*but has 2"):
        gatewise.predict(panel_run, with_days_ahead(panel, days=2))


def test_one_bad_series_does_not_end_the_work_on_the_others(panel_run, panel, caplog):
    full = with_days_ahead(panel)
    begins = full["day"].max() - timedelta(days=6)
    short = full.filter((pl.col("shop") != "b") | (pl.col("day") >= begins))
    found = gatewise.predict(panel_run, short)
    assert_frame_equal(found, gatewise.predict(panel_run, full).filter(pl.col("id") != "b"))
    assert "1 of 3 sequences cannot be answered and is left out" in caplog.text
    with pytest.raises(DataError, match="'b' has 3 steps with a target"):
        gatewise.predict(panel_run, short, strict=True)


def test_known_covariates_change_the_forecast(panel_run, panel):
    full = with_days_ahead(panel)
    other = full.with_columns(
        promotion=pl.when(pl.col("sales").is_null()).then(0.0).otherwise("promotion")
    )
    assert not gatewise.predict(panel_run, full).equals(gatewise.predict(panel_run, other))


@pytest.mark.parametrize("column", ["sales", "promotion", "rain", "day", "shop", "place"])
def test_a_missing_column_is_named(panel_run, panel, column):
    with pytest.raises(DataError, match=f"'{column}'"):
        gatewise.predict(panel_run, with_days_ahead(panel).drop(column))


@pytest.mark.parametrize("column", ["sales", "rain"])
def test_a_column_of_the_wrong_type_is_named(panel_run, panel, column):
    full = with_days_ahead(panel).with_columns(pl.lit("much").alias(column))
    with pytest.raises(DataError, match=f"'{column}'.*'much'"):
        gatewise.predict(panel_run, full)


def test_the_order_of_columns_and_extra_columns_change_nothing(panel_run, panel):
    full = with_days_ahead(panel)
    other = full.with_columns(note=pl.lit("x")).select(["note", *reversed(full.columns)])
    assert_frame_equal(gatewise.predict(panel_run, other), gatewise.predict(panel_run, full))


def test_a_series_too_short_to_look_back_is_refused_by_name(forecast_run, series_file):
    with pytest.raises(DataError, match="5 steps with a target, but the lookback is 8"):
        gatewise.predict(forecast_run, pl.read_csv(series_file).head(5))


def test_arrays_have_no_values_of_a_sequence(panel_run):
    with pytest.raises(DataError, match="no column 'place', which the run reads for each seq"):
        gatewise.predict(panel_run, [np.ones((30, 3))])


def test_only_the_lookback_matters_for_a_series_that_training_knew(forecast_run, series_file):
    table = pl.read_csv(series_file)
    assert_frame_equal(
        gatewise.predict(forecast_run, table.tail(8)), gatewise.predict(forecast_run, table)
    )


def test_evaluating_scores_every_metric_and_compares(forecast_run, series_file):
    found = gatewise.evaluate(forecast_run, pl.read_csv(series_file).tail(60))
    assert all(np.isfinite(value) for value in found["metrics"].values()), found["metrics"]
    assert "repeat last" in found["baselines"]
    assert found["verdict"]["metric"] == "mae"


def test_targets_not_known_yet_are_counted_and_not_scored(panel_run, panel):
    known = gatewise.evaluate(panel_run, panel)
    later = gatewise.evaluate(panel_run, with_days_ahead(panel))
    assert later["metrics"] == known["metrics"]
    assert later["verdict"] == known["verdict"]
    windows = 60 - 8 - 4 + 1
    said = f"{3 * 4} of {3 * (windows + 4)} windows reach past the last known 'sales' and are not"
    assert any(said in note for note in later["notes"])
    assert not any("reach past" in note for note in known["notes"])


@pytest.mark.parametrize("missing", ["error", "previous", "linear", "zero"])
def test_no_policy_fills_targets_not_known_yet(forecast_run, series_file, missing):
    run = gatewise.load(forecast_run)
    run = replace(run, experiment=run.experiment.having("data", missing=missing))
    table = pl.read_csv(series_file).tail(60)
    later = table.with_columns(load=pl.when(pl.int_range(60) < 50).then("load"))
    assert_frame_equal(gatewise.predict(run, later), gatewise.predict(run, table[:50]))
    found = gatewise.evaluate(run, later)
    assert found["metrics"] == gatewise.evaluate(run, table[:50])["metrics"]
    assert any("10 of 49 windows reach past" in note for note in found["notes"])


def test_without_known_targets_there_is_no_evaluation(forecast_run, series_file):
    table = pl.read_csv(series_file).tail(20)
    later = table.with_columns(load=pl.when(pl.int_range(20) < 10).then("load"))
    with pytest.raises(DataError, match="each of 9 windows reaches past .* at least 12 steps"):
        gatewise.evaluate(forecast_run, later)
    nothing = table.with_columns(load=pl.lit(None, dtype=pl.Float64))
    with pytest.raises(DataError, match="has no value of 'load'"):
        gatewise.evaluate(forecast_run, nothing)


def test_sequences_without_a_label_are_not_scored(classify_run, sequences_file):
    table = pl.read_csv(sequences_file)
    for known, count in ((["walk 3"], 39), ([], 40)):
        some = table.with_columns(label=pl.when(pl.col("id").is_in(known)).then("label"))
        with pytest.raises(DataError, match=f"{count} of 40 sequences have no label"):
            gatewise.evaluate(classify_run, some)


def test_rows_with_known_covariates_only_are_not_trained_on(panel, panel_run, forecast_settings):
    experiment = panel_run.experiment.having("data", path="")
    ready = make_ready(experiment, with_days_ahead(panel))
    whole = make_ready(experiment, panel)
    for part in ("train", "validation", "test"):
        one, other = getattr(ready.splits, part), getattr(whole.splits, part)
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left, right)
    assert any("12 rows after the last value of 'sales' are left out" in n for n in ready.notes)


def test_evaluating_on_training_data_is_noted(
    forecast_run, series_file, classify_run, sequences_file, tmp_path
):
    said = gatewise.evaluate(forecast_run, series_file)["notes"]
    assert any("the run was trained on steps of these data" in note for note in said)
    table = pl.read_csv(sequences_file)
    names = table["id"].unique(maintain_order=True).to_list()
    splits = json.loads((classify_run / "splits.json").read_text())
    learnt = {name for name, _, _ in splits["train"]}
    said = gatewise.evaluate(classify_run, table.with_columns(id=pl.col("id") + " again"))["notes"]
    count = f"the run was trained on {len(learnt)} of these {len(names)} sequences"
    assert any(count in note for note in said)
    new = table.filter(~pl.col("id").is_in(learnt))
    assert not any("trained on" in note for note in gatewise.evaluate(classify_run, new)["notes"])
    tail = pl.read_csv(series_file).tail(40)
    assert not any("trained on" in note for note in gatewise.evaluate(forecast_run, tail)["notes"])


def test_a_run_of_an_older_version_is_evaluated_without_recognising_its_data(
    forecast_run, series_file, tmp_path
):
    older = shutil.copytree(forecast_run, tmp_path / "run")
    splits = json.loads((older / "splits.json").read_text())
    del splits["fingerprints"]
    artefact.write_json(older / "splits.json", splits)
    artefact.seal(older)
    found = gatewise.evaluate(older, series_file)
    assert not any("trained on" in note for note in found["notes"])


def test_evaluating_on_too_little_data_says_how_much_is_needed(forecast_run, series_file):
    with pytest.raises(DataError, match=r"has 11 steps, but one forecast .* needs 8 \+ 4"):
        gatewise.evaluate(forecast_run, pl.read_csv(series_file).head(11))


def test_labels_are_returned_with_ids_and_probabilities(classify_run, sequences_file):
    table = pl.read_csv(sequences_file)
    found = gatewise.predict(classify_run, table)
    assert found["id"].to_list() == table["id"].unique(maintain_order=True).to_list()
    assert found.columns == ["id", "label", "truth", "p(größer)", "p(日本)"]
    chances = found.select("p(größer)", "p(日本)").to_numpy()
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    names = np.array(["größer", "日本"])
    assert found["label"].to_list() == names[chances.argmax(axis=1)].tolist()


def test_the_label_column_may_be_absent(classify_run, sequences_file):
    table = pl.read_csv(sequences_file)
    with_truth = gatewise.predict(classify_run, table)
    assert_frame_equal(
        gatewise.predict(classify_run, table.drop("label")), with_truth.drop("truth")
    )


def test_the_order_of_sequences_is_kept_and_does_not_matter(classify_run, sequences_file):
    table = pl.read_csv(sequences_file)
    names = table["id"].unique(maintain_order=True).to_list()[::-1]
    turned = pl.concat(table.filter(pl.col("id") == name) for name in names)
    found = gatewise.predict(classify_run, turned)
    assert found["id"].to_list() == names
    wanted = gatewise.predict(classify_run, table)[::-1]
    for column in ("p(größer)", "p(日本)"):
        np.testing.assert_allclose(found[column], wanted[column], atol=1e-6)


@pytest.mark.parametrize("length", [1, 60])
def test_one_sequence_shorter_or_longer_than_any_in_training(classify_run, length):
    table = pl.DataFrame({"id": ["new"] * length, "x": [0.5] * length, "y": [0.1] * length})
    found = gatewise.predict(classify_run, table)
    assert found["id"].to_list() == ["new"]
    assert found["p(größer)"].is_between(0, 1).all()


@pytest.mark.parametrize("column", ["x", "id"])
def test_a_missing_column_of_a_sequence_is_named(classify_run, sequences_file, column):
    with pytest.raises(DataError, match=f"'{column}'"):
        gatewise.predict(classify_run, pl.read_csv(sequences_file).drop(column))


def test_a_label_not_seen_in_training_cannot_be_scored(classify_run, sequences_file):
    table = pl.read_csv(sequences_file).with_columns(label=pl.lit("other"))
    with pytest.raises(DataError, match="has the label 'other', which does not occur in training"):
        gatewise.evaluate(classify_run, table)


@pytest.fixture(scope="module")
def blend_run(tmp_path_factory, classify_settings):
    """A saved run with a blend of the network and the logistic regression, and its data."""
    random = np.random.default_rng(0)
    rows = [
        {"id": k, "label": "ab"[k % 2]}
        | {name: random.normal() + k % 2 for name in ("x", "y", "z", "heat")}
        for k in range(60)
        for _ in range(5 + k % 3)
    ]
    table = pl.DataFrame(rows)
    settings = classify_settings | {
        "data": {"id": ["id"], "label": "label", "triads": [["x", "y", "z"]]},
        "task": {"name": "classify", "blend": "logistic"},
        "training": {"epochs": 2, "batch_size": 16, "rotation": 0.3},
    }
    folder = tmp_path_factory.mktemp("blend") / "run"
    gatewise.train(table, settings=settings, output=folder)
    return folder, table


def of_both(folder, table):
    """The outputs of the network and the regression of a run, computed without gatewise.predict."""
    found, names = gatewise.load(folder), ("x", "y", "z", "heat")
    prepared, state = found.preparation, found.baselines["logistic"]
    floor = np.array(found.baselines["floor"])
    ours, theirs = [], []
    for one in table.partition_by("id", maintain_order=True):
        steps = one.select(names).to_numpy()
        scaled = (steps - prepared.scale.centre) / prepared.scale.spread
        logits = np.asarray(found.model(scaled[None].astype("f")))[0] / prepared.own.temperature
        ours.append(np.exp(logits) / np.exp(logits).sum())
        change = np.abs(np.diff(steps, axis=0)).mean(axis=0)
        summary = [steps.mean(0), steps.std(0), steps.min(0), steps.max(0), steps[0], steps[-1]]
        logarithms = [np.log(steps.std(0) + floor), np.log(change + floor)]
        features = np.concatenate([*summary, change, [len(steps)], *logarithms])
        logits = features @ np.array(state["coefficients"]) + np.array(state["intercept"])
        theirs.append(np.exp(logits) / np.exp(logits).sum())
    return np.array(ours), np.array(theirs)


def test_a_reloaded_blend_predicts_the_mean_of_both(blend_run):
    folder, table = blend_run
    ours, theirs = of_both(folder, table)
    found = gatewise.predict(folder, table.drop("label"))
    np.testing.assert_allclose(found["p(a)"], ((ours + theirs) / 2)[:, 0], atol=1e-5)
    assert np.abs(ours - theirs).max() > 0.05, "else the mean would show nothing"


def test_a_blend_is_scored_and_named_as_a_blend(blend_run):
    folder, table = blend_run
    ours, theirs = of_both(folder, table)
    truth = np.arange(60) % 2
    found = gatewise.evaluate(folder, table)
    name = "LSTM with logistic regression on summaries"
    surprises = (
        (found["metrics"], (ours + theirs) / 2),
        (found["alone"], ours),
        (found["baselines"]["logistic regression on summaries"], theirs),
    )
    for scores, chances in surprises:
        wanted = -np.log(chances[np.arange(60), truth]).mean()
        assert scores["log_loss"] == pytest.approx(wanted, abs=1e-4)
    assert "LSTM" not in found["baselines"], "a part of the answer is not a simpler answer to beat"
    assert all(f"The {name} is " in one["sentence"] for one in found["comparisons"])
    assert found["answer"] == name
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert f">{name}</" in report and ">LSTM alone</" in report
    assert (
        f"The {name} is " in report and "averaged with logistic regression on summaries" in report
    )


def test_a_blend_reads_only_the_columns_of_training(blend_run):
    folder, table = blend_run
    wider = table.select("id", "heat", pl.lit(9.0).alias("other"), "z", "y", "x")
    assert_frame_equal(
        gatewise.predict(folder, wider), gatewise.predict(folder, table.drop("label"))
    )


def test_the_model_of_a_rotated_blend_is_the_network_alone_in_plain_layers(blend_run):
    layers = gatewise.load(blend_run[0]).model.layers
    assert all(type(layer).__module__.startswith("keras.") for layer in layers)
    assert layers[-1].name == "logits"


def test_a_rotation_changes_the_training_and_the_same_seed_does_not(blend_run, classify_settings):
    _, table = blend_run

    def weights(rotation):
        settings = classify_settings | {
            "data": {"id": ["id"], "label": "label", "triads": [["x", "y", "z"]]},
            "training": {"epochs": 2, "batch_size": 16, "rotation": rotation},
        }
        run = gatewise.train(table, settings=settings)
        return np.concatenate([one.ravel() for one in run.model.get_weights()])

    first = weights(0.3)
    np.testing.assert_array_equal(first, weights(0.3))
    assert not np.allclose(first, weights(0.0), atol=1e-3)


def test_a_run_saved_before_blends_predicts_with_the_network(
    classify_run, sequences_file, tmp_path
):
    older = shutil.copytree(classify_run, tmp_path / "older")
    prepared = json.loads((older / "preparation.json").read_text(encoding="utf-8"))
    del prepared["own"]["blend"]
    (older / "preparation.json").write_text(json.dumps(prepared), encoding="utf-8")
    artefact.seal(older)
    usual = gatewise.predict(classify_run, sequences_file)
    assert_frame_equal(gatewise.predict(older, sequences_file), usual)
