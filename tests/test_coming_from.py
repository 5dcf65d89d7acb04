"""The translations from other packages run as they are shown."""

import re
from pathlib import Path

import numpy as np

import gatewise
from gatewise.shell.options import TASKS

PAGE = (Path(__file__).parents[1] / "docs" / "coming-from.md").read_text(encoding="utf-8")


def test_every_block_of_the_page_runs():
    random = np.random.default_rng(0)
    labels = np.array(["low", "high"] * 20)
    names = {
        "series": 10 + np.sin(np.arange(150) / 4) + 0.1 * random.normal(size=150),
        "days": np.datetime64("2024-01-01") + np.arange(150),
        "X": random.normal(size=(40, 6)) + (labels == "high")[:, None],
        "y": labels,
    }
    with gatewise.accelerated():
        for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
            exec(compile(block, "coming-from.md", "exec"), names)
    assert names["forecaster"].predict().shape == (12,)


def test_every_task_has_a_translation():
    rows = re.findall(r"^\| (\w+) \|", PAGE, re.MULTILINE)
    assert rows == ["task", *sorted(TASKS, key=rows.index)]
