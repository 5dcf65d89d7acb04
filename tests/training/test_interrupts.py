"""Signals to a real run: whenever they come, the trained network is complete and kept."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import gatewise
from gatewise.training import interrupts
from gatewise.training.interrupts import ABANDON, SKIP, STOP, Interrupts, Skipped, checkpoint


@pytest.fixture(autouse=True)
def at_a_terminal():
    """Ctrl-C interrupts, even if the tests run in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def send(number):
    os.kill(os.getpid(), number)
    time.sleep(0.001)  # Python runs a handler between two bytecodes


def test_each_ctrl_c_requests_more():
    with pytest.raises(KeyboardInterrupt), Interrupts() as asked:
        asked.training = True
        assert asked.level == 0
        send(signal.SIGINT)
        assert (asked.level, asked.by) == (STOP, "Ctrl-C")
        checkpoint()
        send(signal.SIGINT)
        assert asked.level == SKIP
        with pytest.raises(Skipped):
            checkpoint()
        send(signal.SIGINT)
    assert asked.level == ABANDON
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    checkpoint()  # no request outside the context


def test_the_first_ctrl_c_after_training_skips_the_evaluation():
    with Interrupts() as asked:
        asked.training = asked.trained = True
        send(signal.SIGINT)
        assert asked.level == SKIP


def test_before_training_a_signal_has_its_usual_effect():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: heard.append(number))
    try:
        with Interrupts() as asked:
            send(signal.SIGTERM)
            asked.check()  # a handler that returns lets the run continue
            assert (heard, asked.level) == ([signal.SIGTERM], 0)
        with pytest.raises(KeyboardInterrupt), Interrupts():
            send(signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)


class Swallowing:
    """An object collected while a signal arrives, so that Python discards the exception."""

    def __del__(self):
        send(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("training", [False, True])
def test_a_request_that_python_discarded_is_raised_at_the_next_check(training):
    with pytest.raises(KeyboardInterrupt), Interrupts() as asked:
        asked.training = training
        asked.level = SKIP if training else 0
        Swallowing()
        assert asked.level == ABANDON
        checkpoint()


def test_sigterm_is_a_ctrl_c_however_often_it_comes_and_a_second_one_after_the_grace(monkeypatch):
    monkeypatch.setattr(interrupts, "GRACE", 0.2)
    with Interrupts() as asked:
        asked.training = True
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert (asked.level, asked.by) == (STOP, "SIGTERM")
        deadline = time.monotonic() + 20
        while asked.level < SKIP and time.monotonic() < deadline:
            time.sleep(0.01)
        assert asked.level == SKIP
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_error_while_leaving_an_interrupted_step_is_still_a_ctrl_c():
    with pytest.raises(KeyboardInterrupt), Interrupts() as asked:
        asked.training = True
        try:
            for _ in range(ABANDON):
                send(signal.SIGINT)
        finally:
            raise ValueError("Buffer has been deleted or donated.")


def test_a_thread_that_receives_no_signals_still_trains():
    entered = []

    def enter():
        with Interrupts() as asked:
            entered.append(asked.level)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [0]


@pytest.mark.parametrize("kind", ["native", "stock"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_of_training_keeps_a_whole_network(
    kind, number, series_file, forecast_settings, tmp_path
):
    settings = forecast_settings | {
        "training": {"epochs": 5000, "batch_size": 8, "patience": 0},
        "engine": {"kind": kind},
    }
    moments = random.Random(f"{kind} {number}")  # of a second after the first epoch, so at any step
    sent = []

    def watch(now, epoch_over):
        if epoch_over and not sent:
            sent.append(threading.Timer(moments.random(), os.kill, [os.getpid(), number]))
            sent[0].start()

    run = gatewise.train(series_file, settings=settings, output=tmp_path / "run", watch=watch)
    assert run.metrics["stopped"].startswith(f"stopped by {interrupts.SIGNALS[number]} in epoch")
    assert run.metrics["verdict"]
    saved = gatewise.load(tmp_path / "run")
    for kept, weights in zip(saved.model.get_weights(), run.model.get_weights(), strict=True):
        assert np.isfinite(kept).all()
        np.testing.assert_array_equal(kept, weights)
    values = run.history.columns["val_mae"]
    assert run.history.best_epoch == int(np.argmin(values)) + 1
    assert [one.name for one in tmp_path.iterdir()] == ["run"]


def test_ctrl_c_during_the_imports_of_the_command_line_is_one_line():
    words = [sys.executable, "-X", "importtime", "-m", "gatewise", "look", "seattle-weather"]
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    for line in running.stderr:
        if line.rstrip().endswith("gatewise.shell.early"):
            running.send_signal(signal.SIGINT)
            break
    _, rest = running.communicate()
    said = [line for line in rest.splitlines() if not line.startswith("import time:")]
    assert said == ["gatewise: stopped."] and running.returncode == 130


def test_another_program_that_names_gatewise_keeps_its_own_signals(tmp_path):
    (tmp_path / "mine").mkdir()
    code = "import gatewise, signal\nprint(signal.getsignal(signal.SIGINT).__name__)\n"
    (tmp_path / "mine" / "__init__.py").write_text(code, encoding="utf-8")
    (tmp_path / "mine" / "__main__.py").write_text("", encoding="utf-8")
    words = [sys.executable, "-m", "mine", "gatewise"]
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said == "default_int_handler\n"
