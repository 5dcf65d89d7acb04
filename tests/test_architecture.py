"""Data flows one way: a module imports only what stands before it."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import gatewise
from gatewise.networks import Network
from gatewise.tasks import TASKS

ROOT = Path(gatewise.__file__).parent
FLOW = [
    *("errors", "extras", "backend", "interrupts", "phases", "settings", "metrics", "data"),
    *("readers", "baselines", "engine", "networks"),
    *("reporting.formats", "reporting.charts", "reporting.sections"),  # what a task draws with
    *("tasks", "arguments", "training", "ready", "validation", "evaluation", "reporting"),
    *(
        "record",
        "output",
        "artefact",
        "prediction",
        "pipeline",
        "estimators",
        "startup",
        "cli",
        "__main__",
    ),
]
# What reads settings and data, says what is asked and draws the report needs no framework; of a
# task, only its network does.
WITHOUT_FRAMEWORK = (
    *("errors", "extras", "backend", "settings", "metrics"),
    *("data", "readers", "baselines", "tasks", "reporting"),
)
FILES_OF_A_TASK = {"__init__", "task", "network", "report"}
FRAMEWORKS = {"keras", "jax", "tensorflow", "torch"}
MODULES = sorted(path.relative_to(ROOT).with_suffix("") for path in ROOT.rglob("*.py"))


def name_of(module):
    """`data/times` is data.times; `tasks/__init__` is tasks; the package's own __init__ is ''."""
    return ".".join(part for part in module.parts if part != "__init__")


NAMES = {name_of(module) for module in MODULES}


def known(name):
    """The module of gatewise that `gatewise.` + `name` is, or lies in."""
    return name if name in NAMES else name.rpartition(".")[0]


def imports(module):
    """Full names of all that a module imports anywhere in it."""
    tree = ast.parse((ROOT / module).with_suffix(".py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield from (f"{node.module}.{one.name}" for one in node.names)


def imports_within(module):
    """Modules of gatewise that a module imports, without `gatewise.`."""
    for name in imports(module):
        package, _, inner = name.partition(".")
        if package == "gatewise":
            yield known(inner)


def place_of(name):
    """Where a module stands in the flow: by its own name, else by its package's."""
    top = name.split(".")[0]
    assert name in FLOW or top in FLOW, f"{top} has no place in the flow: give it one here"
    return FLOW.index(name if name in FLOW else top)


INSIDE = [module for module in MODULES if name_of(module)]


@pytest.mark.parametrize("module", INSIDE, ids=name_of)
def test_imports_only_point_backwards(module):
    here = place_of(name_of(module))
    for imported in imports_within(module):
        assert place_of(imported) <= here, f"{module} reaches forward to {imported}"


def test_modules_do_not_import_each_other_in_a_circle():
    graph = {
        name_of(module): {one for one in imports_within(module) if one != name_of(module)}
        for module in INSIDE
    }
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError with the circle


@pytest.mark.parametrize(
    "module",
    [one for one in INSIDE if one.parts[0] in WITHOUT_FRAMEWORK and one.name != "network"],
    ids=name_of,
)
def test_data_tasks_and_reports_need_no_framework(module):
    assert not FRAMEWORKS & {name.split(".")[0] for name in imports(module)}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_modules_are_named_for_what_they_hold(module):
    forbidden = {"utils", "util", "helpers", "helper", "common", "core", "base", "misc"}
    assert not forbidden & set(module.parts)


def test_only_the_folders_of_tasks_are_three_levels_deep():
    deep = [module for module in MODULES if len(module.parts) > 2]
    assert {(module.parts[0], len(module.parts)) for module in deep} == {("tasks", 3)}


@pytest.mark.parametrize("task", TASKS)
def test_the_folder_of_a_task_holds_the_same_files(task):
    files = {module.name for module in MODULES if module.parts[:2] == ("tasks", task)}
    assert files >= FILES_OF_A_TASK
    assert isinstance(TASKS[task].network, Network)


def test_the_list_of_tasks_imports_no_framework():
    code = "import sys, gatewise.tasks; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not FRAMEWORKS & set(done.stdout.split())


def test_importing_gatewise_imports_nothing_heavy():
    heavy = {"keras", "jax", "tensorflow", "torch", "numpy", "polars", "sklearn", "scipy"}
    code = "import sys, gatewise; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not heavy & set(done.stdout.split())
