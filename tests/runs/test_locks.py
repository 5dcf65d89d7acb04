"""The lock of a run folder: one living process at a time, and none that outlives its process."""

import os
import signal
import subprocess
import sys

import pytest

from gatewise.errors import ConfigError
from gatewise.runs.locks import locked

HOLDER = """
import sys, time
from pathlib import Path
from gatewise.runs.locks import locked

with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path):
    folder = tmp_path / "run"
    words = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"
        refused = pytest.raises(ConfigError, match=f"is being written by process {holder.pid}")
        with refused, locked(folder):
            pass
        holder.send_signal(signal.SIGKILL)
    assert (tmp_path / ".run.lock").exists()
    with locked(folder):
        assert (tmp_path / ".run.lock").read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_the_folder_has_the_same_lock(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with (
        locked(tmp_path / "run"),
        pytest.raises(ConfigError, match="being written"),
        locked(tmp_path / "link"),
    ):
        pass
