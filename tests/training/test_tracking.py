"""Tracking: what goes to the stores, and what is refused before training."""

import csv
import logging
import shlex

import pytest

import gatewise
from gatewise.errors import ConfigError
from gatewise.training import tracking


def test_tensorboard_reads_the_numbers_of_each_epoch(
    series_file, forecast_settings, tmp_path, caplog
):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = tmp_path / "run"
    caplog.set_level(logging.INFO, "gatewise")
    run = gatewise.train(
        series_file, settings=forecast_settings, output=folder, track="tensorboard"
    )
    events = reader.EventAccumulator(str(tmp_path / "tensorboard" / "run")).Reload()
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("loss", "val_mae"):
        sent = {one.step: one.value for one in events.Scalars(name)}
        assert sent == pytest.approx({k: float(row[name]) for k, row in enumerate(rows, 1)})
    assert events.Scalars("test_mae")[0].value == pytest.approx(run.metrics["metrics"]["mae"])
    [settings] = events.Tensors("settings")
    assert b"network.units = (3,)" in settings.tensor_proto.string_val[0]
    place = tmp_path / "tensorboard"
    told = f"Tracked in {place / 'run'}. To look at it: tensorboard --logdir {place}"
    assert told in caplog.messages


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, from SQLAlchemy 2.1 on
def test_mlflow_holds_the_numbers_of_each_epoch_and_the_settings(
    series_file, forecast_settings, tmp_path, monkeypatch, caplog
):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    caplog.set_level(logging.INFO, "gatewise")
    folder = tmp_path / "run"
    run = gatewise.train(series_file, settings=forecast_settings, output=folder, track="mlflow")
    [told] = [line for line in caplog.messages if line.startswith("Tracked in MLflow as run run, ")]
    store = mlflow.MlflowClient(shlex.split(told)[-1])  # the store of the command that is told
    [kept] = store.search_runs(["0"])
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("loss", "val_mae"):
        sent = {one.step: one.value for one in store.get_metric_history(kept.info.run_id, name)}
        assert sent == pytest.approx({k: float(row[name]) for k, row in enumerate(rows, 1)})
    assert kept.data.metrics["test_mae"] == pytest.approx(run.metrics["metrics"]["mae"])
    assert kept.data.params["network.units"] == "(3,)"
    assert (kept.info.run_name, kept.info.status) == ("run", "FINISHED")


def test_the_page_of_a_run_is_that_of_the_server_and_no_password_is_told():
    entities = pytest.importorskip("mlflow.entities")
    run = entities.RunInfo("ab12", "7", "me", "RUNNING", 0, None, "active", run_name="a")
    told = tracking.place_in_mlflow("https://me:secret@example.org/ml/", run)
    assert told == (
        "Tracked in MLflow as run a, in https://me:...@example.org/ml/. "
        "Its page: https://example.org/ml/#/experiments/7/runs/ab12"
    )
    told = tracking.place_in_mlflow("postgresql://me:secret@example.org/runs", run)
    assert "secret" not in told
    assert "--backend-store-uri postgresql://me:...@example.org/runs" in told
    assert tracking.place_in_mlflow("databricks", run).endswith("as run a, in databricks.")


def test_each_seed_has_numbers_of_its_own(series_file, forecast_settings, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    given = {"settings": forecast_settings, "output": tmp_path / "run", "repeats": 2}
    run = gatewise.train(series_file, **given, track="tensorboard")
    events = reader.EventAccumulator(str(tmp_path / "tensorboard" / "run")).Reload()
    for prefix, seed in (("", 0), ("training_2/", 1)):
        sent = [one.value for one in events.Scalars(f"{prefix}val_mae")]
        assert min(sent) == pytest.approx(run.metrics["repeats"]["each"][seed]["validation"])
    [mean] = events.Scalars("test_mae_mean")
    assert mean.value == pytest.approx(run.metrics["repeats"]["mean"]["mae"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"track": "wandb"}, "--track must be one of mlflow, tensorboard"),
        ({"track": "tensorboard", "output": None}, "needs an output folder"),
    ],
)
def test_what_cannot_be_tracked_is_refused(
    series_file, forecast_settings, tmp_path, change, reason
):
    given = {"settings": forecast_settings, "output": tmp_path / "run"} | change
    with pytest.raises(ConfigError, match=reason):
        gatewise.train(series_file, **given)
    assert list(tmp_path.iterdir()) == []
