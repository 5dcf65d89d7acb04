"""Checkpoints: a training that was killed ends with the numbers of one that was not."""

import hashlib
import math
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import gatewise
from gatewise.errors import ArtefactError, ConfigError
from gatewise.training import checkpoints
from gatewise.training.checkpoints import FORMAT, Checkpoints, State, read_states


class Killed(BaseException):
    """Ends a training in the middle, as SIGKILL would."""


@pytest.fixture
def at_every_step(monkeypatch):
    """A checkpoint at every step, whatever it costs."""
    monkeypatch.setattr(checkpoints, "SHARE", math.inf)
    monkeypatch.setattr(checkpoints, "WITHIN", 0.0)


def killed_at(epoch, step):
    """A watch that ends the process at this step; step 0 is the end of the epoch."""

    def watch(now, epoch_over):
        if now.epoch == epoch and (epoch_over if not step else now.step == step):
            raise Killed

    return watch


def assert_same(one, other):
    """The same weights, history and metrics, bit for bit; only the clock may differ."""
    for kept, again in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, again)
    for name in one.history.columns.keys() - {"seconds"}:
        np.testing.assert_array_equal(one.history.columns[name], other.history.columns[name], name)
    assert one.history.best_epoch == other.history.best_epoch
    assert one.history.stopped == other.history.stopped
    assert one.metrics["metrics"] == other.metrics["metrics"]


def interrupted(data, settings, folder, *, kills):
    """Train, be killed at each of these moments, and resume each time."""
    for k, (epoch, step) in enumerate(kills):
        with pytest.raises(Killed):
            gatewise.train(
                data,
                settings=settings,
                output=folder,
                resume=k > 0,
                watch=killed_at(epoch, step),
            )
    return gatewise.train(data, settings=settings, output=folder, resume=True)


def test_a_killed_forecast_ends_like_a_whole_one(
    at_every_step, series_file, forecast_settings, tmp_path
):
    settings = forecast_settings | {
        "network": {"units": [3], "dropout": 0.2},
        "training": {"epochs": 3, "batch_size": 47, "schedule": "plateau"}
        | {"averaging": "ema", "gradient_noise": 0.01},
    }
    whole = gatewise.train(series_file, settings=settings)
    cut = interrupted(series_file, settings, tmp_path / "run", kills=[(1, 2), (2, 1)])
    assert_same(whole, cut)
    assert [one.name for one in tmp_path.iterdir()] == ["run"]  # the checkpoint is removed


@pytest.mark.parametrize("within", [0.0, math.inf])
def test_a_killed_language_model_ends_like_a_whole_one(
    at_every_step, within, monkeypatch, tmp_path
):
    """Its layers keep their states from batch to batch, and its text begins at a random offset."""
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 40)
    settings = {
        "task": {"name": "language", "lookback": 8},
        "network": {"units": [3], "embedding_dim": 3, "dropout": 0.2},
        "training": {"epochs": 2, "batch_size": 16, "averaging": "swa"},
        "evaluation": {"n_resamples": 100},
    }
    whole = gatewise.train(text, settings=settings)
    monkeypatch.setattr(checkpoints, "WITHIN", within)
    assert_same(whole, interrupted(text, settings, tmp_path / "run", kills=[(2, 3)]))


def test_a_killed_pretraining_ends_like_a_whole_one(at_every_step, tmp_path):
    """The first kill comes in pretraining, the second one in the training that follows."""
    drawn = np.random.default_rng(0).choice(["red", "green", "blue"], (40, 6))
    settings = {
        "network": {"units": [3], "dropout": 0.2},
        "training": {"epochs": 2, "batch_size": 16, "pretrain": "train", "pretrain_epochs": 3},
        "evaluation": {"n_resamples": 100},
    }
    data = [" ".join(words) for words in drawn], ["a", "b"] * 20
    whole = gatewise.train(data, settings=settings)
    killed = interrupted(data, settings, tmp_path / "run", kills=[(3, 1), (2, 0)])
    assert_same(whole, killed)


SIGKILLED = """
import math, os, signal, sys
import gatewise
from gatewise.training import checkpoints

checkpoints.SHARE = math.inf

def watch(now, epoch_over):
    if now.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)

settings = eval(sys.argv[1])
gatewise.train(sys.argv[2], settings=settings, output=sys.argv[3], watch=watch)
"""


@pytest.fixture
def killed(series_file, forecast_settings, tmp_path):
    """The folder of a run whose process was killed in its second epoch."""
    folder = tmp_path / "run"
    words = [repr(forecast_settings), str(series_file), str(folder)]
    done = subprocess.run([sys.executable, "-c", SIGKILLED, *words], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == [".run.lock", "run.checkpoint"]
    return folder


def test_a_process_that_is_killed_is_resumed_but_only_with_its_own_data_and_settings(
    killed, series_file, forecast_settings, forecast_run, tmp_path
):
    with pytest.raises(ConfigError, match=r"run\.checkpoint is the checkpoint of an unfinished"):
        gatewise.train(series_file, settings=forecast_settings, output=killed)
    other = forecast_settings | {"training": {"epochs": 2, "batch_size": 16}}
    with pytest.raises(ConfigError, match=r"training\.batch_size was 47 and is 16"):
        gatewise.train(series_file, settings=other, output=killed, resume=True)
    lines = series_file.read_text().splitlines()
    changed = tmp_path / "load.csv"
    changed.write_text("\n".join([lines[0], lines[1][:-1] + "9", *lines[2:]]))
    with pytest.raises(ConfigError, match="the train part holds other data"):
        gatewise.train(changed, settings=forecast_settings, output=killed, resume=True)
    moved = shutil.copy(series_file, changed)
    run = gatewise.train(moved, settings=forecast_settings, output=killed, resume=True)
    whole = gatewise.load(forecast_run)
    for kept, again in zip(whole.model.get_weights(), run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, again)


def state_of(epoch):
    plain = {"epoch": epoch, "step": 0, "epochs": 9, "over": False, "nan": math.nan}
    return State(plain, {"network/0": np.array([epoch, np.nan])})


def written(folder, epochs=(1, 2)):
    """Checkpoints of a run, written after these epochs."""
    kept = Checkpoints(folder)
    for epoch in epochs:
        kept.write(state_of(epoch))
    return kept


def leave_as_it_is(_kept):
    pass


def end_between_two_moves(kept):
    kept.path.rename(kept.previous)


def end_before_the_last_move(kept):
    kept.path.rename(kept.draft)


def end_while_writing(kept):
    kept.draft.write_bytes(kept.path.read_bytes()[:50])


def damage(path, place=-30):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def damage_the_last(kept):
    damage(kept.path)


def shorten_the_last(kept):
    kept.path.write_bytes(kept.path.read_bytes()[:-1])


def empty_the_last(kept):
    kept.path.write_bytes(b"")


@pytest.mark.parametrize(
    ("end", "epoch"),
    [
        (leave_as_it_is, 2),
        (end_between_two_moves, 2),
        (end_before_the_last_move, 2),
        (end_while_writing, 2),
        (damage_the_last, 1),
        (shorten_the_last, 1),
        (empty_the_last, 1),
    ],
)
def test_a_good_checkpoint_is_left_at_any_moment(end, epoch, tmp_path):
    end(written(tmp_path / "run"))
    found = Checkpoints(tmp_path / "run", resume=True).resumed
    assert found.plain["epoch"] == epoch
    assert math.isnan(found.plain["nan"])
    np.testing.assert_array_equal(found.arrays["network/0"], [epoch, np.nan])


def test_a_wrong_byte_anywhere_is_found(tmp_path):
    kept = written(tmp_path / "run")
    last, previous = kept.path.read_bytes(), kept.previous.read_bytes()
    for place in [*range(120), *range(120, len(last), 7)]:
        kept.path.write_bytes(last)
        kept.previous.write_bytes(previous)
        damage(kept.path, place)
        assert Checkpoints(tmp_path / "run", resume=True).resumed.plain["epoch"] == 1


def test_a_checkpoint_of_another_format_is_named(tmp_path):
    kept = written(tmp_path / "run")
    content = kept.path.read_bytes().replace(FORMAT, b"gatewise checkpoint 1\n", 1)
    header, _, body = content.split(b"\n", 2)
    digest = hashlib.sha256(body).hexdigest().encode()
    kept.path.write_bytes(b"\n".join([header, digest, body]))
    with pytest.raises(ArtefactError, match="was written by another version of gatewise"):
        Checkpoints(tmp_path / "run", resume=True)


def test_a_finished_run_is_not_resumed(forecast_run, series_file, forecast_settings):
    with pytest.raises(ConfigError, match="is a finished run, so --resume has nothing to continue"):
        gatewise.train(series_file, settings=forecast_settings, output=forecast_run, resume=True)


def test_without_a_good_checkpoint_training_is_not_continued(tmp_path):
    kept = written(tmp_path / "run")
    damage(kept.path)
    damage(kept.previous)
    with pytest.raises(ArtefactError, match="there is no other checkpoint"):
        Checkpoints(tmp_path / "run", resume=True)
    assert kept.path.exists()
    assert Checkpoints(tmp_path / "run", overwrite=True).resumed is None
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_cannot_be_saved_keeps_its_checkpoint(tmp_path, caplog):
    with pytest.raises(ArtefactError), Checkpoints(tmp_path / "run") as kept:
        kept.begin({})
        kept.write(state_of(1))
        raise ArtefactError("The disk is full.")
    assert caplog.messages == [f"The checkpoint {kept.path} is kept; --resume continues it."]
    assert kept.path.exists()


def test_the_first_checkpoint_of_a_large_network_comes_late(tmp_path):
    kept = Checkpoints(tmp_path / "run")
    kept.begin({})
    kept._began -= 10  # seconds ago
    assert kept.due(within=False)
    kept.expect(320_000_000)
    assert not kept.due(within=False)


def test_checkpoints_take_a_fiftieth_of_the_time_at_most(tmp_path):
    kept = Checkpoints(tmp_path / "run")
    kept.begin({})
    kept._began -= 100  # seconds ago
    now = time.perf_counter()
    kept.write(state_of(1), began=now - 0.9)
    assert kept.due(within=False)  # 1.8 s after the next one
    assert not kept.due(within=True)  # within an epoch, one in two minutes
    kept.write(state_of(2), began=now - 1.0)
    assert not kept.due(within=False)


def test_the_one_that_is_on_the_disk_is_kept_beside_those_that_may_not_be(monkeypatch, tmp_path):
    kept = written(tmp_path / "run", epochs=(1, 2, 3))
    assert read_states(kept.previous)[-1].plain["epoch"] == 1
    monkeypatch.setattr(checkpoints, "SYNC", 0.0)
    kept.write(state_of(4))
    kept.write(state_of(5))
    assert read_states(kept.previous)[-1].plain["epoch"] == 4


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path, caplog):
    kept = written(tmp_path / "run")
    kept.draft.mkdir()
    kept.write(state_of(3))
    kept.write(state_of(4))
    [said] = caplog.messages  # once
    assert "cannot be written: Is a directory" in said
    assert f"{kept.path} is kept" in said
    assert Checkpoints(tmp_path / "run", resume=True).resumed.plain["epoch"] == 2
