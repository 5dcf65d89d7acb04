"""A search: the default first, resumable, within its limits, and judged once on the test part."""

import json
import logging
import math
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import optuna
import pytest

import gatewise
from gatewise.errors import ArtefactError, ConfigError, DataError
from gatewise.settings import Experiment
from gatewise.tasks import cost
from gatewise.tasks.ranges import Between, Choice
from gatewise.training import checkpoints
from gatewise.training.progress import History
from gatewise.tuning import networks, pruning, search, trial
from gatewise.tuning import study as studies
from gatewise.tuning.search import write_or_compare
from gatewise.tuning.space import near, with_values
from gatewise.tuning.state import SEARCH
from gatewise.tuning.winner import chosen_by

# One shape of network only, because every other one is compiled anew.
SPACE = {
    "network": {"units": 3, "layers": 1, "dropout": 0.0, "recurrent_dropout": 0.0},
    "task": {"lookback": 8},
    "training": {"batch_size": 32, "learning_rate": {"low": 0.001, "high": 0.3, "log": True}},
}
SETTINGS = {
    "task": {"name": "forecast", "horizon": 4, "season": 7},
    "network": {"kind": "stack"},
    "training": {"epochs": 2},
    "evaluation": {"n_resamples": 100},
}
KNOWN = {"settings": SETTINGS, "space": SPACE, "trials": 3}


@pytest.fixture(scope="module")
def tuned(series_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuning") / "search"
    return gatewise.tune(series_file, output=folder, **KNOWN)


def trials_of(folder):
    found = studies.open_study(folder, higher=False, epochs=2, seed=0, shared=False)
    return found.get_trials()


def test_the_first_trial_is_the_untuned_default(tuned, series_file):
    alone = gatewise.train(series_file, settings=SETTINGS)
    first = trials_of(tuned.folder)[0]
    values = alone.history.columns[f"val_{tuned.summary['metric']}"]
    assert first.user_attrs["default"]
    assert first.user_attrs["value"] == pytest.approx(values[alone.history.best_epoch - 1])


def test_the_winner_trained_again_has_the_score_of_its_trial(tuned):
    assert tuned.summary["best"] <= tuned.summary["default"]
    history = tuned.run.history
    value = history.columns[f"val_{tuned.summary['metric']}"][history.best_epoch - 1]
    assert value == pytest.approx(tuned.summary["best"], rel=1e-4)


def test_winner_and_default_are_run_folders_that_are_compared(tuned):
    found = gatewise.compare(tuned.folder / "default", tuned.folder / "best")
    assert tuned.summary["comparison"]["difference"] == found["comparisons"][0]["difference"]
    assert gatewise.load(tuned.folder / "best").experiment.training.learning_rate > 0.001


def test_every_epoch_is_kept_and_the_page_needs_no_network(tuned):
    assert all(one.intermediate_values for one in trials_of(tuned.folder))
    text = (tuned.folder / "tuning.html").read_text(encoding="utf-8")
    assert "http" not in text.replace("http://www.w3.org", "")
    assert "Validation mae by trial" in text


def test_the_same_command_continues_the_search(tuned, series_file):
    more = gatewise.tune(series_file, output=tuned.folder, **KNOWN | {"trials": 4}, resume=True)
    assert len(trials_of(tuned.folder)) == 4
    assert more.summary["best"] <= tuned.summary["best"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"settings": SETTINGS | {"training": {"epochs": 3}}}, "training.epochs = 2, not 3"),
        ({"space": SPACE | {"training": {"batch_size": 16}}}, "another range of training"),
        ({"trials": 0}, "a search needs an end"),
        ({"budget": "soon"}, "such as 90s, 30m or 2h"),
        ({"trials": -1}, "--trials must be a whole number"),
        ({"processes": 100000}, "cores"),
        ({"repeats": 0}, "--repeats must be a whole number"),
        ({"repeats": 5}, "search with --repeats 1, not 5"),
        (
            {"repeats": 5, "space": SPACE | {"training": {"seed": [1, 2]}}},
            "training.seed cannot be",
        ),
        ({"space": {"network": {"unit": 3}}}, "Did you mean network.units"),
        ({"space": {"network": {"units": {"low": 3}}}}, "low, high"),
        ({"space": {"network": {"dropout": 2.0}}}, "network.dropout must be between 0 and 1"),
        ({"space": {"network": {"dropout": {"low": 0.0, "high": 0.5, "log": True}}}}, "above 0"),
        ({"settings": SETTINGS | {"split": {"validation": 0.0}}}, "split.validation"),
        ({"space": {"evaluation": {"metric": ["mae", "mse"]}}}, "the same for all trials"),
        ({"space": {"data": {"past": ["x"]}}}, "names data.past, which must be the same"),
        ({"space": {"task": {"horizon": [3, 6]}}}, "names task.horizon"),
        ({"space": {"training": {"monitor": ["mse"]}}}, "names training.monitor"),
    ],
)
def test_a_wrong_search_is_refused(tuned, series_file, change, reason):
    with pytest.raises(ConfigError, match=reason):
        gatewise.tune(series_file, output=tuned.folder, **KNOWN | change)


def test_trials_of_slower_networks_are_validated_on_the_windows_of_the_default(
    series_file, tmp_path, monkeypatch
):
    # Time for all windows of the default of 3 units, and for one window in two of 256 units.
    monkeypatch.setitem(cost.SECONDS, "good", 5.1)
    settings = SETTINGS | {"network": {"kind": "stack", "units": [3]}}
    training = {"epochs": 2, "quality": "good", "networks": 1, "refit": "no"}
    space = SPACE | {"network": {"units": 256, "layers": 1, "dropout": 0.0}}
    found = gatewise.tune(
        series_file,
        output=tmp_path / "search",
        settings=settings | {"training": training},
        space=space,
        trials=2,
    )
    assert [str(one.state.name) for one in trials_of(found.folder)] == ["COMPLETE"] * 2


def test_a_search_all_of_whose_trials_fail_ends_with_the_reason(
    series_file, tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO", logger="gatewise")
    monkeypatch.setattr(search, "MOST_FAILURES", 3)
    space = SPACE | {"task": {"lookback": 140}}  # more than the training part has
    found = gatewise.tune(
        series_file, output=tmp_path / "search", settings=SETTINGS, space=space, trials=9
    )
    states = [one.state.name for one in trials_of(found.folder)]
    assert states == ["COMPLETE", *["FAIL"] * 3]
    page = (found.folder / "tuning.html").read_text(encoding="utf-8")
    assert page.count("The longest training sequence") == 3
    assert "3 trials in a row failed; the last: The longest training sequence" in caplog.text


def test_another_folder_and_a_search_that_was_not_begun_are_refused(
    forecast_run, series_file, tmp_path
):
    with pytest.raises(ConfigError, match="exists and is not a search"):
        gatewise.tune(series_file, output=forecast_run, **KNOWN)
    with pytest.raises(ConfigError, match="no search in .* to resume"):
        gatewise.tune(series_file, output=tmp_path / "none", **KNOWN, resume=True)
    with pytest.raises(DataError, match="no column 'nix'"):
        gatewise.tune(series_file, output=tmp_path / "none", **KNOWN, target="nix")
    assert list(tmp_path.iterdir()) == []


def test_a_trial_that_was_killed_is_queued_again(tmp_path):
    first = studies.open_study(tmp_path, higher=True, epochs=9, seed=0, shared=False)
    first.enqueue_trial({"x": 0.5}, user_attrs={"default": True})
    killed = first.ask()
    killed.suggest_float("x", 0.0, 1.0)
    again = studies.open_study(tmp_path, higher=True, epochs=9, seed=0, shared=False)
    assert studies.give_up_unfinished(again) == 1
    trial = again.ask()
    assert trial.suggest_float("x", 0.0, 1.0) == 0.5
    assert trial.user_attrs["default"]


def test_a_trial_that_was_cut_off_goes_on_after_its_last_epoch(
    tuned, series_file, tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoints, "SHARE", math.inf)  # a checkpoint after every epoch
    trained = []

    def leave(progress, epoch_over):
        if progress.epoch == 2:
            raise OSError("as if the process ended here")

    def watch(progress, epoch_over):
        if epoch_over:
            trained.append(progress.epoch)

    known = KNOWN | {"trials": 1}
    with pytest.raises(OSError, match="as if"):
        gatewise.tune(series_file, output=tmp_path / "search", watch=leave, **known)
    ended = gatewise.tune(series_file, output=tmp_path / "search", watch=watch, **known)
    assert trained == [2]
    assert ended.summary["sentence"] == "No other trial was finished."
    assert ended.summary["best_trial"] == 0  # the number under which it was begun
    whole, (_, ended) = trials_of(tuned.folder)[0], trials_of(tmp_path / "search")
    assert ended.intermediate_values == whole.intermediate_values
    assert ended.user_attrs["loss"] == whole.user_attrs["loss"]
    assert [one.name for one in (tmp_path / "search" / "networks").iterdir()] == ["1"]


@pytest.fixture(scope="module")
def seeded(series_file, tmp_path_factory):
    """A search with two seeds, left in the second one and continued; what was trained, and said.

    The trial beside the default has one epoch, and one seed that is worse suffices to end it.
    """
    folder = tmp_path_factory.mktemp("tuning") / "seeds"
    trained, said = [], []
    told = logging.Logger("told", logging.INFO)
    told.handle = lambda record: said.append(record.getMessage())

    def watch(progress, epoch_over):
        if epoch_over and progress.epoch == 1:
            trained.append(progress.epochs)
            if len(trained) == 2:
                raise OSError("as if the process ended here")

    changes = {"training": {"batch_size": 32, "epochs": 1, "learning_rate": 0.003}}
    known = {"settings": SETTINGS, "space": SPACE | changes, "trials": 2, "repeats": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pruning, "P", 0.6)
        patch.setattr(trial, "log", told)
        with pytest.raises(OSError, match="as if"):
            gatewise.tune(series_file, output=folder, watch=watch, **known)
        return gatewise.tune(series_file, output=folder, watch=watch, **known), trained, said


def test_the_score_of_a_trial_is_the_mean_over_its_seeds(seeded, tuned):
    first = next(one for one in trials_of(seeded[0].folder) if one.state.name == "COMPLETE")
    assert len(first.user_attrs["each"]) == 2
    assert first.user_attrs["value"] == np.mean([score for score, _ in first.user_attrs["each"]])
    assert first.user_attrs["each"][0][0] == trials_of(tuned.folder)[0].user_attrs["value"]
    assert list(first.intermediate_values) == [1, 2]  # the epochs of the first seed


def test_a_trial_that_was_cut_off_keeps_its_finished_seeds(seeded):
    _, trained, said = seeded
    assert trained == [2, 2, 2, 1]  # the second seed again, and one seed of the other trial
    lines = [one for one in said if one.startswith("trial ")]
    assert ["4 epochs, " in one for one in lines] == [True, False]  # of both seeds, in both parts
    assert "1 epoch, " in lines[1] and "epochs=1" not in lines[1]  # no trial varies it


def test_a_trial_that_is_worse_by_its_seeds_ends_without_a_score(seeded):
    search, *_ = seeded
    *_, pruned = trials_of(search.folder)
    assert pruned.state.name == "PRUNED"
    assert pruned.user_attrs["ended"] == studies.BY_SEEDS
    assert len(pruned.user_attrs["each"]) == 1 and "value" not in pruned.user_attrs
    counts = {"complete": 1, "pruned": 1, "fail": 0, "pruned_over_seeds": 1}
    assert search.summary["trials"] == counts
    page = (search.folder / "tuning.html").read_text(encoding="utf-8")
    assert "(0 over epochs by successive halving in the first of 2 seeds, 1 over seeds" in page
    assert page.count(studies.BY_SEEDS) == 1


def test_the_winner_is_judged_by_all_of_its_seeds(seeded):
    found = seeded[0].run.metrics["repeats"]
    assert [one["validation"] for one in found["each"]] == seeded[0].summary["best_each"]
    assert "mean of 2 seeds" in seeded[0].summary["validation"]


def test_a_half_line_or_a_lock_of_a_killed_process_costs_no_earlier_trial(tmp_path):
    def opened():
        return studies.open_study(tmp_path, higher=True, epochs=9, seed=0, shared=False)

    first = opened()
    first.tell(first.ask(), 0.5)
    with (tmp_path / studies.JOURNAL).open("ab") as file:
        file.write(b'{"op_code": 4, "work')
    (tmp_path / f"{studies.JOURNAL}.lock").touch()  # for which Optuna would wait 30 seconds
    studies.mend_journal(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == [studies.JOURNAL]
    again = opened()
    again.tell(again.ask(), 0.7)
    assert [one.value for one in opened().get_trials()] == [0.5, 0.7]


def test_the_lower_loss_decides_between_equal_scores(tmp_path):
    study = studies.open_study(tmp_path, higher=True, epochs=9, seed=0, shared=False)
    for value, loss in [(1.0, 0.3), (0.9, 0.1), (1.0, 0.2), (1.0, 0.2)]:
        trial = study.ask()
        for name, one in {"value": value, "loss": loss, "default": trial.number == 0}.items():
            trial.set_user_attr(name, one)
        study.tell(trial, value)
    ranked = studies.candidates(study, higher=True)
    assert [one.number for one in ranked] == [2, 3, 0, 1]
    told = chosen_by("accuracy", studies.default_trial(study), ranked)
    assert told.startswith("Validation accuracy: 1 with the best trial (2), 1 with the untuned")
    assert told.endswith(
        "score: 3. The lowest validation loss decides between them: 0.2, beside 0.3 of the default."
    )


def test_values_become_settings():
    values = {"network.units": 8, "network.layers": 2, "training.learning_rate": 0.01}
    made = with_values(Experiment(), values)
    assert made.network.units == (8, 8)
    assert made.training.learning_rate == 0.01
    # The units that a user has given stay, the layers are those of the trial.
    given = Experiment().having("network", units=(64, 64))
    for layers in (1, 3):
        assert with_values(given, {"network.layers": layers}).network.units == (64,) * layers
    assert with_values(given, {"training.learning_rate": 0.01}).network.units == (64, 64)


def test_early_trials_change_the_learning_rate_and_one_to_three_other_settings(random):
    space = {f"network.{name}": Between(0.0, 0.5) for name in "abcde"}
    space |= {"training.learning_rate": Between(1e-4, 1e-2, log=True), "network.f": Choice((8,))}
    default = dict.fromkeys(space, 0.0) | {"training.learning_rate": 1e-3, "network.f": 8}
    counts = set()
    for _ in range(50):
        values = near(default, space, random)
        changed = {name for name, one in values.items() if one != default[name]}
        assert "training.learning_rate" in changed and values["network.f"] == 8
        assert 1e-4 <= values["training.learning_rate"] <= 1e-2
        counts.add(len(changed) - 1)
    assert counts == {1, 2, 3}


def test_every_task_has_ranges_that_hold_its_defaults(forecast_run, classify_run):
    for folder in (forecast_run, classify_run):
        run = gatewise.load(folder)
        task = gatewise.tasks.TASKS[run.experiment.task.name]
        for name, one in task.space(run.experiment, 1000).items():
            assert isinstance(one, Choice | Between), name


def test_a_killed_search_is_continued_by_the_same_command(series_file, tmp_path):
    folder = tmp_path / "search"
    words = [sys.executable, "-m", "gatewise", "tune", str(series_file), "-o", str(folder)]
    words += ["--horizon", "4", "--epochs", "2", "--trials", "2", "--set", "network.kind=stack"]
    running = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    for line in running.stdout:
        if line.startswith("trial 0"):
            break
    running.send_signal(signal.SIGKILL)
    running.communicate()
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    assert "Continuing the search" in done.stdout
    assert "Training trial" not in done.stdout  # no finished network is trained again
    assert "There is no checkpoint" not in done.stdout  # that trial was begun by the search
    summary = json.loads((folder / "tuning.json").read_text())
    assert summary["trials"]["complete"] + summary["trials"]["pruned"] == 2
    assert np.isfinite(summary["best"])


def test_a_process_of_a_search_ends_with_the_one_that_began_it():
    code = "from gatewise.tuning.worker import end_with_the_first; end_with_the_first()"
    worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(0.5)
    worker.stdin.close()  # as the kernel does when the other process is killed
    assert worker.wait(60) == 1


def test_a_process_of_a_search_may_end_before_the_one_that_began_it():
    code = """
import threading, time
from gatewise.tuning.worker import end_with_the_first
threading.Thread(target=end_with_the_first, daemon=True).start()
time.sleep(0.2)
"""
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as worker:
        assert worker.wait(60) == 0
        assert not worker.stderr.read()


def test_several_processes_begin_no_trial_too_many(tmp_path):
    studies.open_study(tmp_path, higher=True, epochs=9, seed=0, shared=True).enqueue_trial({})

    def begin_all(seed):
        study = studies.open_study(tmp_path, higher=True, epochs=9, seed=seed, shared=True)
        while studies.claimed(study, tmp_path, 9, prepare=lambda: None) is not None:
            pass

    with ThreadPoolExecutor(4) as pool:  # every call opens the file, so the lock is as of processes
        list(pool.map(begin_all, range(4)))
    found = trials_of(tmp_path)
    assert len(found) == 9
    study = studies.open_study(tmp_path, higher=True, epochs=9, seed=0, shared=True)
    study.tell(found[0].number, state=optuna.trial.TrialState.FAIL)  # makes room for another one
    assert studies.claimed(study, tmp_path, 9, prepare=lambda: None) is not None
    assert studies.claimed(study, tmp_path, 9, prepare=lambda: None) is None


def test_the_trial_of_a_killed_process_is_taken_over(tuned, series_file, tmp_path, monkeypatch):
    shutil.copytree(tuned.folder, tmp_path / "search")
    count = len(trials_of(tmp_path / "search"))

    def begin_and_die(search, processes, cores):
        claimed = studies.claimed(search.study, search.folder, 0, prepare=lambda: None)
        assert claimed.number == count
        killed = subprocess.Popen(["true"])
        killed.wait()
        return [killed]

    monkeypatch.setattr("gatewise.tuning.search._start_workers", begin_and_die)
    known = KNOWN | {"trials": count + 1}
    gatewise.tune(series_file, output=tmp_path / "search", **known)
    *_, given_up, ended = trials_of(tmp_path / "search")
    assert given_up.state.name == "FAIL"
    assert ended.state.name in ("COMPLETE", "PRUNED")
    assert ended.user_attrs[studies.BEGUN] == given_up.number == count


def test_a_damaged_journal_is_refused_and_nothing_of_it_is_lost(tmp_path):
    study = studies.open_study(tmp_path, higher=False, epochs=1, seed=0, shared=False)
    trial = study.ask()
    trial.set_user_attr(studies.VALUE, 1.0)
    trial.set_user_attr(studies.LOSS, 1.0)
    study.tell(trial, 1.0)
    path = tmp_path / studies.JOURNAL
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    without_loss = [line for line in lines if b'"loss"' not in line]
    for damaged in (
        whole.replace(b"op_code", b"op_kode", 1),
        whole.replace(b"{", b"[", 1),
        b"\xff" + whole,
        b"[1]\n",
        b"".join(without_loss),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ArtefactError, match=r"study\.journal is damaged"):
            studies.open_study(tmp_path, higher=False, epochs=1, seed=0, shared=False)
        assert path.read_bytes().startswith(damaged)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        (studies.JOURNAL, Path.unlink, "lacks finished trials"),
        (studies.JOURNAL, cut, "lacks finished trials"),
        (studies.JOURNAL, lambda path: path.write_bytes(b""), "lacks finished trials"),
        (SEARCH, Path.unlink, "is missing"),
        (SEARCH, cut, "is damaged"),
        ("best/manifest.json", Path.unlink, "best is not a run folder"),
        ("best/notes.txt", Path.touch, "would be lost"),
    ],
)
def test_a_damaged_search_replaces_no_result(tuned, series_file, tmp_path, name, damage, reason):
    folder = shutil.copytree(tuned.folder, tmp_path / "search")
    damage(folder / name)
    results = [*folder.glob("networks/*"), *folder.glob("best/*"), folder / "tuning.json"]
    before = [path.read_bytes() for path in results]
    with pytest.raises((ArtefactError, ConfigError), match=reason):
        gatewise.tune(series_file, output=folder, **KNOWN, resume=True)
    assert [path.read_bytes() for path in results] == before


def test_a_study_of_another_search_is_refused(tmp_path):
    (tmp_path / SEARCH).write_text("one")
    study = studies.open_study(tmp_path, higher=False, epochs=1, seed=0, shared=False)
    studies.bind(study, tmp_path, SEARCH)
    studies.bind(study, tmp_path, SEARCH)
    (tmp_path / SEARCH).write_text("another")
    with pytest.raises(ArtefactError, match="two searches"):
        studies.bind(study, tmp_path, SEARCH)


@pytest.mark.parametrize("content", [[], {}, {"data": "x", "settings": 3, "space": {}}])
def test_a_damaged_description_of_a_search_is_refused(tmp_path, content):
    (tmp_path / SEARCH).write_text(json.dumps(content))
    with pytest.raises(ArtefactError, match=r"search\.json is damaged"):
        write_or_compare(
            tmp_path, {"data": "x", "settings": {"task": {"seed": 3}}, "space": {}, "repeats": 1}
        )


def test_a_network_of_another_search_is_not_restored(tmp_path, caplog):
    kept = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    networks.keep(tmp_path, 0, [(kept, History())])
    other = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    assert networks.restored(tmp_path, 0, [other]) == []
    assert "is of another search" in caplog.text
