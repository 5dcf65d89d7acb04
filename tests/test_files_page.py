"""The examples of docs/files.md are read as the page says."""

import re
from pathlib import Path

import pytest

from gatewise.settings import DataSettings
from gatewise.tasks import guess_task, read

PAGE = (Path(__file__).parents[1] / "docs" / "files.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(
    r"```data (\S+)\n(.*?)```\n\n```notes(?: task=(\w+))?\n(.*?)```", PAGE, flags=re.DOTALL
)


def test_the_page_has_examples():
    assert len(EXAMPLES) == PAGE.count("```data ") == PAGE.count("```notes") > 3


@pytest.mark.parametrize(
    ("name", "content", "task", "notes"), EXAMPLES, ids=[one[0] for one in EXAMPLES]
)
def test_a_file_gives_the_notes_of_the_page(tmp_path, name, content, task, notes):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    task = task or guess_task(DataSettings(), path)[0]
    _, _, found = read(DataSettings(), path, task=task)
    assert [note for note in notes.splitlines() if note not in found] == []
