"""The examples run, and stay short."""

import re
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_says_something(example, tmp_path, monkeypatch, capsys):
    """Each training has one epoch, because what is said does not depend on their number."""
    monkeypatch.chdir(tmp_path)
    script = re.sub(r"""(epochs"?[:=] ?)\d+""", r"\g<1>1", example.read_text(encoding="utf-8"))
    exec(compile(script, example, "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_under_thirty_lines(example):
    assert len(example.read_text(encoding="utf-8").splitlines()) < 30
