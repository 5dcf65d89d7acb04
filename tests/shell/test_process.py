"""The command line as a process: a reader that goes away, and no output at all."""

import os
import subprocess
import sys

import pytest

from gatewise.shell import process

COMMAND = [sys.executable, "-m", "gatewise"]


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_a_reader_that_goes_away_ends_the_command_like_sigpipe(option):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, option], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_closed_standard_output_is_refused():
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "--version"]
    done = subprocess.run(shell, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("gatewise: standard output is closed.")


def test_ctrl_c_before_click_acts_on_it_is_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gatewise", "settings"])

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(process.Stopped) as stopped:
        process.run(interrupted)
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "gatewise: stopped.\n"
