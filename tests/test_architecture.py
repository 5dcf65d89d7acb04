"""Data flows one way: a module imports only modules before it."""

import ast
import functools
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import gatewise
from gatewise.metrics import METRICS
from gatewise.networks import Network
from gatewise.tasks import TASKS

ROOT = Path(gatewise.__file__).parent
FLOW = [
    *(
        "shell.early",
        "errors",
        "usercode",
        "extras",
        "compiled",
        "backend",
        "settings",
        "metrics",
        "data",
    ),
    *("training.interrupts", "training.phases"),  # what long work reports and heeds
    *("readers", "baselines", "engine"),
    *("runtime.graph", "runtime.describe", "runtime.operations", "runtime.network"),
    *("runtime.predicting", "runtime"),
    "networks",
    *("reporting.formats", "reporting.charts", "reporting.sections"),  # parts of a task's report
    *("exporting.program", "exporting.steps"),  # parts of what a task exports
    "streaming.plan",  # how a task answers a stream
    *("tasks", "arguments"),
    "judging.audit",  # part of what is made ready for training
    *("training", "judging", "reporting", "output", "runs"),
    *(
        "prediction",
        "streaming",
        "exporting",
        "inspection",
        "runs.finished",  # with a look inside its network
        "pipeline",
        "curves",
        "tuning",
        "estimators",
        "serving",
        "startup",
        "shell",
        "__main__",
    ),
]
# Settings, data, tasks and reports need no framework, except the network of a task.
WITHOUT_FRAMEWORK = (
    *("errors", "extras", "compiled", "backend", "settings", "metrics"),
    *("data", "readers", "baselines", "tasks", "reporting"),
)
FILES_OF_A_TASK = {
    *("__init__", "fitted", "task", "reading", "network", "outputs", "space", "report"),
}
# Beside engine/, which knows a framework in each of its files, and the networks of the tasks.
WITH_FRAMEWORK = {
    *("networks", "networks.layers", "networks.losses", "networks.stack"),
    *("networks.imports", "networks.softmax", "runtime.describe"),
    *(
        f"training.{one}"
        for one in ("ready", "checkpoints", "feed", "fit", "optimizers", "averaging")
    ),
    *("training.gradient_noise", "training.pretraining"),
    *("runs.finished", "runs.artefact"),
    *("inspection.tracing", "inspection.gates", "inspection.gradients", "inspection.attribution"),
    *("inspection.model", "inspection.run", "inspection.stateless", "networks.dropping"),
    "networks.loading",
    "networks.variants",
    *("exporting.export", "exporting.keras", "exporting.rounding"),
    *(f"judging.{one}" for one in ("folding", "refitting", "seeds", "workshop")),
    *("networks.ensemble", "tuning.networks"),
}
FRAMEWORKS = {"keras", "jax", "tensorflow", "torch"}
# What is loaded on first use against the flow, because a method of a run offers it.
ON_FIRST_USE = {"runs.artefact": {"streaming"}}
MODULES = sorted(path.relative_to(ROOT).with_suffix("") for path in ROOT.rglob("*.py"))


def name_of(module):
    """`data/times` is data.times; `tasks/__init__` is tasks; the package's own __init__ is ''."""
    return ".".join(part for part in module.parts if part != "__init__")


NAMES = {name_of(module) for module in MODULES}


def known(name):
    """The module of gatewise that `gatewise.` + `name` names, or that defines it."""
    return name if name in NAMES else name.rpartition(".")[0]


@functools.lru_cache(maxsize=1)  # more trees would slow down every garbage collection
def nodes_of(module):
    """The nodes of the syntax tree of a module."""
    text = (ROOT / module).with_suffix(".py").read_text(encoding="utf-8")
    return list(ast.walk(ast.parse(text)))


@functools.cache
def imports(module):
    """Full names of everything that a module imports anywhere, by name or by `import_module`."""
    names = []
    for node in nodes_of(module):
        if isinstance(node, ast.Import):
            names += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names += [f"{node.module}.{one.name}" for one in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names += [one.value for one in node.args if isinstance(one, ast.Constant)]
    return names


def imports_within(module):
    """Names of the gatewise modules that a module imports, without `gatewise.`."""
    for name in imports(module):
        package, _, inner = name.partition(".")
        if package == "gatewise" and inner not in ON_FIRST_USE.get(name_of(module), ()):
            yield known(inner)


def place_of(name):
    """The position of a module in the flow: by its own name, else by that of its package."""
    if name.endswith(".estimator"):  # of a task: the pipeline in a form for scikit-learn
        return FLOW.index("estimators")
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


def owner_of(module):
    """The task whose folder holds a module; "" where none does."""
    return module.parts[1] if module.parts[0] == "tasks" and len(module.parts) == 3 else ""


SHARED = [module for module in MODULES if not owner_of(module)]
# Names of tasks that are ordinary words of the code as well, so that no identifier is one.
ORDINARY = {"tag"}
# Modules with such a word as a text of its own.
HOMONYMS = {"readers.conll": {"tag"}}  # how files name the column


def texts_of(module):
    """The texts of a module and their lines, without the docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in nodes_of(module)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in nodes_of(module):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and id(node) not in docstrings:
            yield node.lineno, text


def names_in(module):
    """The names of a module (variables, attributes, parameters, imports) and their lines."""
    for node in nodes_of(module):
        for key in ("id", "attr", "arg", "name", "asname", "module"):
            found = getattr(node, key, None)
            if isinstance(found, str):
                yield getattr(node, "lineno", 0), found


@pytest.mark.parametrize("module", [one for one in SHARED if name_of(one) != "tasks"], ids=str)
def test_nothing_outside_its_folder_names_a_task(module):
    tasks = set(TASKS) - HOMONYMS.get(name_of(module), set())
    told = [(line, text) for line, text in texts_of(module) if _names_one(text, tasks)]
    called = [(line, name) for line, name in names_in(module) if words(name) & tasks - ORDINARY]
    assert not told + called + [one for one in imports(module) if _leads_to_one(one)], (
        f"{module} names a task: give it a field of Task, or a function there"
    )


def _names_one(text, tasks):
    """Whether a text is the name of a task, or speaks of one, and does not just use the word."""
    several = set(re.findall(r"\w+", text)) & tasks - ORDINARY
    spoken = "|".join(tasks)
    of_one = re.search(rf"\btasks?[ ./]({spoken})\b|`({spoken})`|\b({spoken}):", text)
    return text in tasks or len(several) > 1 or of_one is not None


def _leads_to_one(path):
    """Whether an imported path is that of a task."""
    return path.startswith("gatewise.tasks.") and path.split(".")[2] in TASKS


def words(name):
    """The words of an identifier or of a dotted path, in small letters."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def test_the_only_list_of_tasks_is_the_dict_and_it_holds_every_folder():
    folders = {owner_of(module) for module in MODULES} - {""}
    assert folders == set(TASKS) == {task.name for task in TASKS.values()}
    listed = [name for _, name in names_in(Path("tasks/__init__"))]
    of_tasks = {name for name in listed if words(name) & set(TASKS)}
    assert of_tasks == {task.upper() for task in TASKS} | {
        f"gatewise.tasks.{task}.task" for task in TASKS
    }
    assert not [text for _, text in texts_of(Path("tasks/__init__")) if text in TASKS]


def test_a_task_names_no_other_task():
    for module in MODULES:
        others = set(TASKS) - {owner_of(module)}
        if owner_of(module):
            found = {name for name in imports(module) if name.startswith("gatewise.tasks.")}
            assert not {name.split(".")[2] for name in found} & others, module


# What only tasks choose: the kinds of their networks and the names of their measures.
@pytest.mark.parametrize("module", SHARED, ids=str)
def test_nothing_outside_names_the_networks_and_metrics_of_tasks(module):
    kinds = {kind for task in TASKS.values() for kind in task.network.builders if kind}
    # networks/stack.py gives its model its name; a table of the report counts "sentences".
    homonyms = {"networks.stack": {"stack"}, "reporting.sections": {"sentences"}}
    homonyms |= {"readers.kaldi": {"segments"}}  # a file of Kaldi
    # Operations of a network: a function of keras.ops, and an activation.
    modules = ("graph", "describe", "operations", "network", "stepping")
    operations = [f"runtime.{one}" for one in modules]
    modules = ("onnxlayers", "onnxshapes", "numpy", "advancing", "clayers", "cshapes")
    formats = [f"exporting.{one}" for one in modules]
    homonyms |= dict.fromkeys((*operations, *formats), {"stack", "softmax"})
    metrics = set() if name_of(module) == "metrics" else set(METRICS)
    wanted = (kinds | metrics) - homonyms.get(name_of(module), set())
    assert not [(line, text) for line, text in texts_of(module) if text in wanted]


def test_only_the_named_files_import_a_framework():
    found = {
        name_of(one) for one in MODULES if FRAMEWORKS & {n.split(".")[0] for n in imports(one)}
    }
    of_tasks = {f"tasks.{task}.network" for task in TASKS}
    engine = {name for name in found if name.split(".")[0] == "engine"}
    assert found - engine == WITH_FRAMEWORK | of_tasks


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_module_has_a_catch_all_name(module):
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
