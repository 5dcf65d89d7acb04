"""The docs are complete: no stale page, no dead link, no undocumented command or setting."""

import importlib.util
import json
import re
from pathlib import Path

import polars as pl
import pytest
from test_readme import assert_shown, run_bash, run_python

import gatewise
from gatewise.shell import glossary
from gatewise.shell.cli import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_cli = script("make_cli")


@pytest.fixture(scope="module")
def pages():
    return make_cli.pages()


@pytest.mark.parametrize(
    "page", ["cli.md", "settings.md", "errors.md", "benchmarks.md", "tasks.md"]
)
def test_a_derived_page_is_up_to_date(page, pages):
    wanted = pages[DOCS / page]
    found = (DOCS / page).read_text(encoding="utf-8")
    assert found == wanted, f"docs/{page} is stale: run python docs/make_cli.py"


@pytest.mark.parametrize("command", app.registered_commands, ids=lambda one: one.callback.__name__)
def test_every_verb_has_help(command):
    assert command.callback.__doc__
    assert f"## gatewise {command.callback.__name__}\n" in make_cli.cli_page()
    assert "| None |" not in make_cli.cli_page()


def test_every_setting_has_a_meaning():
    for one in glossary.entries():
        assert one.meaning[-1] in ".!", f"{one.name}: one or more sentences"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_no_link_is_dead(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(place), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub generates for the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", ["api.md", "tutorial.md"])
def test_every_block_of_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text(encoding="utf-8")
    names: dict = {}
    output = ""
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if language == "bash":
            output = run_bash(block, tmp_path)
        elif language == "python":
            output = run_python(block, names)
        elif language == "text":
            assert_shown(block, output)


def test_every_public_name_is_on_the_api_page():
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    missing = [name for name in gatewise.__all__ if name not in text]
    assert not missing


def test_every_metric_of_a_run_is_defined(forecast_run, classify_run):
    text = (DOCS / "tasks.md").read_text(encoding="utf-8")
    for run in (forecast_run, classify_run):
        told = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        for name in told["metrics"]:
            assert f"`{name}`" in text
        for name in told["baselines"]:
            assert f"| {name.partition(' (')[0]} |" in text


def test_the_picture_is_drawn_from_a_run_folder(forecast_run, tmp_path):
    draw = script("draw_forecast")
    parts = draw.forecasts(forecast_run, 14)
    ends = pl.concat(parts)["time"]
    assert ends.is_sorted() and ends.is_unique().all()
    draw.draw(parts, tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_pictures_are_small():
    for picture in (DOCS / "images").iterdir():
        assert picture.stat().st_size < 200_000
