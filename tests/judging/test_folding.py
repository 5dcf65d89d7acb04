"""Cross-validation and ensembles: who is tested, what is averaged, what is saved."""

import json
import math
import signal
from dataclasses import replace

import keras
import numpy as np
import polars as pl
import pytest

import gatewise
from gatewise.arguments import experiment_for
from gatewise.data.batches import PADDING, Shapes
from gatewise.data.folds import assign
from gatewise.errors import ConfigError
from gatewise.judging import folding
from gatewise.networks.ensemble import Member, average
from gatewise.networks.stack import stack
from gatewise.settings import NetworkSettings, TrainingSettings, from_mapping
from gatewise.tasks import cost
from gatewise.training import checkpoints
from gatewise.training.defaults import QUALITY, with_quality
from gatewise.training.ready import make_ready


def test_folds_spread_each_stratum_evenly(random):
    strata = random.choice(["a", "b", "c"], p=[0.6, 0.3, 0.1], size=103)
    folds = assign(strata, None, 5, 103, 0)
    for name in "abc":
        counts = np.bincount(folds[strata == name], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert np.ptp(np.bincount(folds)) <= 1


def test_folds_never_divide_a_group(random):
    groups = random.integers(0, 12, size=90).astype(str)
    folds = assign(random.choice(["a", "b"], size=90), groups, 4, 90, 0)
    assert set(folds) == {0, 1, 2, 3}
    assert all(len(set(folds[groups == name])) == 1 for name in set(groups))


def test_a_label_that_lies_in_one_group_gives_no_folds():
    groups = np.repeat(["1", "2", "3", "4"], 5)
    strata = np.where(groups == "1", "alone", "other")
    assert not assign(strata, groups, 2, 20, 0).any()


def test_groups_are_spread_although_every_label_is_rarer_than_the_folds():
    strata, groups = np.repeat(list("abcdefgh"), 4), np.arange(32).astype(str)
    for count in (4, 5):
        folds = assign(strata, groups, count, 32, 0)
        assert np.ptp(np.bincount(folds, minlength=count)) <= 1
        assert all(len(set(folds[strata == name])) > 1 for name in "abcdefgh")


def test_an_ensemble_is_the_mean_of_its_members_in_their_own_scales(random):
    shapes = Shapes({"steps": (None, 2)}, (3,), padding=PADDING)
    settings = NetworkSettings(units=(4,), pooling="last", dense_dropout=0.0)
    members = [stack(shapes, settings) for _ in range(2)]
    change, back = (np.array([2.0, 0.5]), np.array([0.1, -1.0])), (np.ones(1) * 3, np.ones(1))
    whole = average([Member(members[0]), Member(members[1], change, back)], shapes)
    steps = random.normal(size=(5, 7, 2)).astype(np.float32)
    steps[0, 4:] = steps[3, 2:] = PADDING
    real = steps != PADDING
    moved = np.where(real, steps * change[0] + change[1], PADDING).astype(np.float32)
    first, second = members[0].predict_on_batch(steps), members[1].predict_on_batch(moved)
    wanted = (first + second * 3 + 1) / 2
    np.testing.assert_allclose(whole.predict_on_batch(steps), wanted, atol=1e-5)


FOLDS = {"split": {"folds": 3}, "training": {"epochs": 1, "batch_size": 16}}


def first_class(train, asked):
    """A baseline of the user's own."""
    return [train.classes[0]] * len(asked)


@pytest.fixture(scope="module")
def folded(sequences_file, classify_settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("folded") / "run"
    settings = classify_settings | FOLDS
    return gatewise.train(sequences_file, settings=settings, output=folder, baseline=first_class)


def test_every_sequence_is_tested_once(folded, sequences_file):
    names = pl.read_csv(sequences_file)["id"].unique(maintain_order=True).to_list()
    table = pl.read_csv(folded.artefact.folder / "predictions.csv")
    assert table["id"].to_list() == names
    assert folded.metrics["verdict"]["clusters"] == len(names)
    right = (table["label"] == table["truth"]).mean()
    assert folded.metrics["metrics"]["accuracy"] == pytest.approx(right)
    assert "cross-validation" in folded.metrics["caveats"][0]


def test_a_baseline_of_the_users_own_answers_each_sequence_once(folded):
    table = pl.read_csv(folded.artefact.folder / "predictions.csv")
    right = (table["truth"] == sorted(set(table["truth"]))[0]).mean()
    assert folded.metrics["baselines"]["first_class"]["accuracy"] == pytest.approx(right)


def test_the_saved_ensemble_is_a_plain_model_that_answers_as_before(folded, sequences_file):
    folder = folded.artefact.folder
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    assert type(model).__module__.startswith("keras.")
    assert sum(isinstance(layer, keras.Model) for layer in model.layers) == 3
    before, after = (
        gatewise.predict(one, sequences_file) for one in (folded, gatewise.load(folder))
    )
    assert before.equals(after)
    assert json.loads((folder / "manifest.json").read_text())["format"] == 2
    without_keras = gatewise.predict(folder, sequences_file)
    columns = [name for name in before.columns if name.startswith("p(")]
    numbers = (one.select(columns).to_numpy() for one in (without_keras, before))
    np.testing.assert_allclose(*numbers, atol=2e-6)


class Killed(BaseException):
    """Ends a training in the middle, as SIGKILL would."""


def killed_then_resumed(monkeypatch, at, data, settings, folder):
    """A run that was killed where `at` is true of the progress, and resumed."""
    monkeypatch.setattr(checkpoints, "SHARE", math.inf)  # a checkpoint after each epoch

    def watch(progress, epoch_over):
        if epoch_over and at(progress):
            raise Killed

    with pytest.raises(Killed):
        gatewise.train(data, settings=settings, output=folder, watch=watch)
    return gatewise.train(data, settings=settings, output=folder, resume=True)


def assert_same_weights(one, other):
    for some, same in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
        np.testing.assert_array_equal(some, same)


def test_an_ensemble_that_was_killed_loses_no_finished_network(
    monkeypatch, folded, sequences_file, classify_settings, tmp_path, caplog
):
    caplog.set_level("INFO")
    again = killed_then_resumed(
        monkeypatch,
        lambda progress: progress.network == "network 3 of 3",
        sequences_file,
        classify_settings | FOLDS,
        tmp_path / "run",
    )
    assert "Training continues after 2 finished networks" in caplog.text
    assert_same_weights(again, folded)
    assert again.metrics["metrics"] == folded.metrics["metrics"]


def test_ctrl_c_keeps_the_folds_that_are_finished(sequences_file, classify_settings):
    def watch(progress, epoch_over):
        if epoch_over and progress.network == "network 2 of 3":
            signal.raise_signal(signal.SIGINT)

    settings = classify_settings | FOLDS
    metrics = gatewise.train(sequences_file, settings=settings, watch=watch).metrics
    assert "stopped by Ctrl-C in network 2 of 3" in metrics["caveats"][0]
    assert "in 1 of 3 folds" in metrics["caveats"][1] and metrics["networks"] == 1
    assert 13 <= metrics["verdict"]["clusters"] <= 14  # of 40 sequences


@pytest.fixture(scope="module")
def refitted(sequences_file, classify_settings, tmp_path_factory):
    settings = classify_settings | {"training": classify_settings["training"] | {"refit": "yes"}}
    folder = tmp_path_factory.mktemp("refitted") / "run"
    return settings, gatewise.train(sequences_file, settings=settings, output=folder)


def test_training_again_changes_the_saved_network_and_no_score(refitted, classify_run):
    _, again = refitted
    judged = gatewise.load(classify_run)
    assert again.metrics["metrics"] == judged.metrics["metrics"]
    assert "trained again" in again.metrics["caveats"][-1]
    pairs = zip(again.model.get_weights(), judged.model.get_weights(), strict=True)
    assert any((one != other).any() for one, other in pairs)
    record = json.loads((again.artefact.folder / "splits.json").read_text())
    assert len(record["fingerprints"]) == 40  # so that evaluate knows what the network has seen


def test_a_last_training_that_was_killed_continues(monkeypatch, refitted, sequences_file, tmp_path):
    settings, whole = refitted
    again = killed_then_resumed(
        monkeypatch,
        lambda progress: progress.monitor.name == "loss" and progress.epoch < progress.epochs,
        sequences_file,
        settings,
        tmp_path / "run",
    )
    assert_same_weights(again, whole)
    assert again.metrics["caveats"] == whole.metrics["caveats"]


def test_folds_and_networks_are_as_many_as_the_quality_has_time_for(sequences_file):
    given = {"task": {"name": "classify"}, "training": {"quality": "good"}}
    ready = make_ready(*experiment_for(str(sequences_file), [given]))

    def at(epochs, **split):
        experiment = ready.experiment.having("training", epochs=epochs).having("split", **split)
        return replace(ready, experiment=experiment)

    def trained(epochs, *, timed=True, **split):
        plan, note = folding.plan(at(epochs, **split), timed=timed)
        assert plan is not None or "there is no cross-validation, because 5 networks take" in note
        return (plan.folds, plan.networks) if plan else None

    def seconds(epochs):
        settings = at(epochs).experiment
        steps = float(np.mean(ready.train.lengths))
        return cost.seconds(settings.training, settings.network, len(ready.train), steps)

    most = [max(e for e in range(1, 40_000, 50) if count * seconds(e) <= 180) for count in (15, 5)]
    assert 1 < most[0] < most[1] < 39_000, "else the limits are not looked at"
    assert (trained(most[0]), trained(most[0] + 50)) == ((5, 3), (5, 1))
    assert (trained(most[1]), trained(most[1] + 50)) == ((5, 1), None)
    # What is asked for, and a budget, which measures instead, do not count.
    assert trained(most[1] + 50, folds=5) == trained(most[1] + 50, timed=False) == (5, 3)


def test_folds_that_cannot_be_made_are_refused(sequences_file, classify_settings):
    settings = classify_settings | {"split": {"folds": 3, "test": 10}}
    with pytest.raises(ConfigError, match=r"split\.folds .* the settings choose the test part"):
        gatewise.train(sequences_file, settings=settings)


def test_an_unknown_quality_in_the_environment_is_refused(monkeypatch):
    monkeypatch.setenv(QUALITY, "superb")
    with pytest.raises(ConfigError, match="GATEWISE_QUALITY must be one of fast, good, best"):
        with_quality(TrainingSettings())
    asked = from_mapping({"training": {"quality": "best"}}).training
    assert with_quality(asked).quality == "best"


def test_groups_that_cannot_be_divided_leave_the_networks_that_were_asked_for(
    sequences_file, classify_settings
):
    table = pl.read_csv(sequences_file)
    table = table.with_columns(room="room " + (pl.col("id").rank("dense") % 3).cast(str))
    training = classify_settings["training"] | {"networks": 2, "epochs": 1, "quality": "good"}
    data = {"id": "id", "label": "label", "group": "room"}
    settings = classify_settings | {"training": training | {"refit": "no"}, "data": data}
    run = gatewise.train(table, settings=settings)
    assert run.metrics["networks"] == 2
    assert run.artefact.experiment.split.folds == 1
    assert run.metrics["parts"]["train"]["sequences"] < table["id"].n_unique()
