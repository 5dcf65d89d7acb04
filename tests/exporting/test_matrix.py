"""The page on exporting says truly which runs read one step at a time."""

import re
from pathlib import Path

import pytest

from gatewise import load
from gatewise.exporting.export import FORMATS, programs_of
from gatewise.tasks import TASKS

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "tests" / "folders" / "format-1"
PAGE = (ROOT / "docs" / "exporting.md").read_text(encoding="utf-8")
SECTION = PAGE.split("## One step at a time")[1].split("\n## ")[0]
TABLE = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", SECTION, re.MULTILINE))


def test_the_page_has_every_task_and_every_format():
    assert TABLE.keys() == TASKS.keys()
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == {*TASKS, *FORMATS}


@pytest.mark.parametrize(
    "name", sorted(path.name for path in RUNS.iterdir() if path.name != "translate")
)
def test_a_run_reads_one_step_at_a_time_as_the_page_says(name):
    step, said = programs_of(load(RUNS / name / "run")).step, TABLE[name.split("-")[0]]
    if isinstance(step, str):
        reason = re.search(
            r"because ((?:network|preparation)\.\w+|the network reads whole windows)", step
        )
        assert reason and reason[1] in said, step
    else:
        assert said.startswith("yes")
