"""Everything shown in the README works as shown."""

import contextlib
import io
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from gatewise.judging.folding import FASTER
from gatewise.shell import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# One epoch leaves more to the blend than whole trainings do.
SHORT = "--epochs 1 --set training.networks=2 --set task.blend=none"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


# A command that needs no shell.
ALONE = re.compile(r"^gatewise [^|&<>$]*$")


def run_bash(block: str, folder: Path, quality: str = "fast") -> str:
    """The output of a block; it must exit with 1 if the output is an error of gatewise."""
    lines = re.sub(r"^(gatewise train (?!.*--epochs).*)$", rf"\1 {SHORT}", block, flags=re.M)
    output = ""
    for alone, part in groupby(lines.splitlines(), key=lambda line: bool(ALONE.match(line))):
        for script in part if alone else ["\n".join(part)]:
            status, said = (run_here if alone else run_in_shell)(script, folder, quality)
            output += said
            wanted = 1 if said.startswith("gatewise: ") else 0
            assert status == wanted, f"{block}\n{output}"
    return output


def run_here(command: str, folder: Path, quality: str) -> tuple[int, str]:
    """Run a command of gatewise in this process, where Keras is imported already."""
    log = logging.getLogger("gatewise")
    handlers, status = list(log.handlers), 0
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", shlex.split(command))
        patch.setenv("GATEWISE_QUALITY", quality)
        try:
            cli.main()
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            log.handlers = handlers
    return status, out.getvalue() + err.getvalue()


def run_in_shell(script: str, folder: Path, quality: str) -> tuple[int, str]:
    scripts = Path(sys.executable).parent
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "GATEWISE_QUALITY": quality}
    done = subprocess.run(
        ["bash", "-ec", script], cwd=folder, env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def run_python(block: str, names: dict) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(block, "README.md", "exec"), names)
    return said.getvalue()


def bare(line: str) -> str:
    """A line without the parts that differ between runs: numbers, spaces, the verdict's word."""
    line = re.sub(r"\d+( to \d+)? epochs?", "epoch", line)
    line = re.sub(r"\b(better than|worse than|not distinguishable from) .*: mae", "V: mae", line)
    line = re.sub(r"to (seasonal|ridge|repeat|drift)\b.*  ", "to B  ", line)
    return re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?|\s+", "", line)


def assert_shown(expected: str, output: str) -> None:
    """Check that every line shown was printed: messages exactly, results without their numbers."""
    exactly = expected.startswith(("gatewise: ", "[", "("))
    said = [line.strip() if exactly else bare(line) for line in output.splitlines()]
    for line in filter(None, map(str.strip, expected.splitlines())):
        wanted = line if exactly else bare(line)
        begin, dots, _ = wanted.partition("...")
        assert any(one.startswith(begin) if dots else one == wanted for one in said), (
            f"README shows:\n{line}\nand what was said is:\n{output}"
        )


@pytest.mark.skipif(shutil.which("bash") is None, reason="the README is written for bash")
def test_every_block_of_the_readme_runs_and_prints_what_is_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    output = ""
    for language, block in BLOCKS:
        if language == "bash":
            output = run_bash(block, tmp_path, "good")
        elif language == "python":
            output = run_python(block, names)
        elif language == "text":
            assert_shown(block.replace(FASTER, ""), output)  # not said where SHORT is given


def test_every_expected_output_follows_its_command():
    for (before, _), (language, _) in pairwise(BLOCKS):
        assert language != "text" or before in ("bash", "python")


def test_the_set_up_commands_are_those_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    shown = [block.strip() for language, block in BLOCKS if language == "sh"]
    assert shown == ["make demo", "make test", "pip install ."]
    for command in shown[:2]:
        assert re.search(rf"^{command.removeprefix('make ')}:", makefile, re.MULTILINE)
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_command_is_described_in_the_readme():
    for command in cli.app.registered_commands:
        assert f"| `gatewise {command.callback.__name__}" in README
