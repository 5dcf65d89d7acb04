"""Prediction: raw data in, answers out, with ids and order kept, wherever the run lies."""

import os
import shutil
import subprocess
import sys
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import gatewise
from gatewise.errors import DataError


@pytest.fixture(scope="module")
def panel():
    """Three shops of 60 days: sales, a promotion known ahead, rain known afterwards, a place."""
    random = np.random.default_rng(0)
    days = np.datetime64("2023-01-01") + np.arange(60)
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
    """Four more days of each shop, of which only the promotion is known."""
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


def test_what_is_known_ahead_must_be_given(panel_run, panel):
    with pytest.raises(DataError, match="needs 4 rows after its last target with promotion"):
        gatewise.predict(panel_run, panel)
    with pytest.raises(DataError, match=r"shop|'b'.*and has 2"):
        gatewise.predict(panel_run, with_days_ahead(panel, days=2))


def test_what_is_known_ahead_changes_the_forecast(panel_run, panel):
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


def test_columns_in_another_order_and_columns_nobody_asked_for_change_nothing(panel_run, panel):
    full = with_days_ahead(panel)
    other = full.with_columns(note=pl.lit("x")).select(["note", *reversed(full.columns)])
    assert_frame_equal(gatewise.predict(panel_run, other), gatewise.predict(panel_run, full))


def test_a_series_too_short_to_look_back_is_refused_by_name(forecast_run, series_file):
    with pytest.raises(DataError, match="5 steps with a target, and the network looks back 8"):
        gatewise.predict(forecast_run, pl.read_csv(series_file).head(5))


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


def test_evaluating_on_too_little_says_how_much_it_takes(forecast_run, series_file):
    with pytest.raises(DataError, match=r"has 11 steps, and one forecast .* needs 8 \+ 4"):
        gatewise.evaluate(forecast_run, pl.read_csv(series_file).head(11))


def test_labels_come_with_ids_and_probabilities(classify_run, sequences_file):
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


def test_a_label_that_training_did_not_know_cannot_be_judged(classify_run, sequences_file):
    table = pl.read_csv(sequences_file).with_columns(label=pl.lit("other"))
    with pytest.raises(DataError, match="has the label 'other', which does not occur in training"):
        gatewise.evaluate(classify_run, table)
