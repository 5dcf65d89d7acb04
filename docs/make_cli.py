"""Write cli.md, settings.md, errors.md, and tables of benchmarks.md, tasks.md and README.md.

    python docs/make_cli.py

A test fails when one of them is stale (tests/test_docs.py).
"""

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import typer

from gatewise import errors
from gatewise.metrics import METRICS
from gatewise.settings import Experiment
from gatewise.shell import cli, glossary
from gatewise.shell.options import LEVELS

DOCS = Path(__file__).parent
ROOT = DOCS.parent
BEGIN, END = "<!-- written by docs/make_cli.py: begin -->", "<!-- end -->"
BACKENDS = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}
METRICS_MARK = re.compile(r"(<!-- metrics of [^:]*: (.*?) -->)")
ROWS = ("rows", "workloads", "steps")  # the key of the rows in a file of benchmarks/results


def pages() -> dict[Path, str]:
    """Every derived page with its content."""
    benchmarks, readme = DOCS / "benchmarks.md", ROOT / "README.md"
    return {
        DOCS / "cli.md": cli_page(),
        DOCS / "settings.md": settings_page(),
        DOCS / "errors.md": errors_page(),
        benchmarks: with_tables(
            benchmarks, experiments_table(), backends_table("-intel"), results_table()
        ),
        DOCS / "tasks.md": with_metrics(DOCS / "tasks.md"),
        readme: with_tables(readme, speed_table(), backends_table()),
    }


def cli_page() -> str:
    """The help of every command, one section each."""
    lines = [
        "# The command line",
        "",
        "Written by `docs/make_cli.py` from the same texts as `gatewise VERB --help`.",
        "",
        "Exit status: 0 success; 1 an error that you can fix, in one sentence on standard error;",
        "2 wrong usage; 130 Ctrl-C and 143 SIGTERM, if the work was not done; 141 if the reader",
        "of a pipe has gone away (`gatewise inspect RUN | head -1`). A training, a search or a",
        "curve that a signal ends early is evaluated and saved, with exit status 0.",
        "",
        "Every verb also has these options:",
        "",
        "| | |",
        "|---|---|",
        *(f"| `{', '.join(one.opts)}` | {one.help} |" for one in LEVELS),
    ]
    group: Any = typer.main.get_command(cli.app)
    for name, verb in group.commands.items():
        arguments = [one for one in verb.params if one.param_type_name == "argument"]
        options = [one for one in verb.params if one.param_type_name == "option"]
        usage = [one.name.upper() if one.required else f"[{one.name.upper()}]" for one in arguments]
        lines += ["", f"## gatewise {name}", "", verb.help, ""]
        lines += ["```text", " ".join(["gatewise", name, *usage, "[OPTIONS]"]), "```", ""]
        lines += ["| | |", "|---|---|"]
        lines += [f"| `{one.name.upper()}` | {one.help} |" for one in arguments]
        lines += [f"| `{', '.join(one.opts)}`{_value(one)} | {one.help} |" for one in options]
    return "\n".join(lines) + "\n"


def _value(option: Any) -> str:
    if option.is_flag:
        return ""
    return f" `{option.metavar or option.name.upper()}`"


def settings_page() -> str:
    """Every section and key, with its default, its owners and its meaning."""
    lines = [
        "# Settings",
        "",
        "Written by `docs/make_cli.py` from the dataclasses of `src/gatewise/settings.py`.",
        "",
        "A settings file is TOML; every section and every key is optional. Give it with",
        "`--config run.toml`, or set one key with `--set section.key=value`. An unknown key, or",
        "a key that the task, its data or its network does not have, stops the run. The number 0,",
        'an empty text and an empty list mean "not given": gatewise then chooses the value and',
        "reports its choice. `settings.toml` of a run has the full settings.",
    ]
    for section in fields(Experiment):
        lines += ["", f"## [{section.name}]", "", "| key | default | values | for | meaning |"]
        lines += ["|---|---|---|---|---|"]
        for one in glossary.find(section.name):
            cells = [f"`{one.key}`", f"`{one.default}`", one.values, one.owners, one.meaning]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """Every message of an error that the user can fix, by its class, from the source."""
    lines = [
        "# Errors",
        "",
        "Written by `docs/make_cli.py` from the source. The command line prints these messages",
        "after `gatewise: `, with exit status 1; Python raises them. `…` stands for what was",
        "received. The second column is the module of `src/gatewise/` that finds the error;",
        "`--verbose` shows the place.",
    ]
    found = sorted(set(_messages()), key=lambda one: (one[1].lstrip("…: ").lower(), one))
    for kind in (one for one in vars(errors).values() if isinstance(one, type)):
        rows = [(text, module) for name, text, module in found if name == kind.__name__]
        if rows:
            lines += ["", f"## {kind.__name__}", "", kind.__doc__ or "", "", "| message | from |"]
            lines += ["|---|---|"]
            lines += [f"| {text} | `{module}` |" for text, module in rows]
    return "\n".join(lines) + "\n"


def _messages() -> Iterator[tuple[str, str, str]]:
    """The class, the message and the module of each error that the source makes."""
    source = ROOT / "src" / "gatewise"
    for path in sorted(source.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
                continue
            if hasattr(errors, node.func.id) and (text := _template(node.args[0])):
                shown = re.sub(r"([|<>*_`\[\]])", r"\\\1", " ".join(text.split()))
                yield node.func.id, shown, str(path.relative_to(source))


def _template(node: ast.expr) -> str:
    """The text of a message, with … for each value; "" if it is made elsewhere."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if not isinstance(node, ast.JoinedStr):
        return ""
    parts = [str(one.value) if isinstance(one, ast.Constant) else "…" for one in node.values]
    return "".join(parts) if any(isinstance(one, ast.Constant) for one in node.values) else ""


def with_tables(page: Path, *tables: str) -> str:
    """The page with new tables between its marks."""
    left = iter(tables)
    between = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    text = page.read_text(encoding="utf-8")
    return between.sub(lambda _: f"{BEGIN}\n\n{next(left)}\n\n{END}", text)


def with_metrics(page: Path) -> str:
    """The page with new tables of metrics, from the names in the mark above each."""
    text = page.read_text(encoding="utf-8")
    for mark, names in METRICS_MARK.findall(text):
        between = re.compile(f"{re.escape(mark)}.*?{re.escape(END)}", re.DOTALL)
        table = metrics_table(names.split(", "))
        text = between.sub(lambda _, new=f"{mark}\n\n{table}\n\n{END}": new, text)
    return text


def metrics_table(names: list[str]) -> str:
    """One row per metric: its direction, meaning and source."""
    rows = ["| metric | better | meaning | definition |", "|---|---|---|---|"]
    for one in (METRICS[name] for name in names):
        cells = [f"`{one.name}`", one.better, one.meaning, one.source]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def speed_table() -> str:
    """One row per workload of benchmarks/training.py."""
    names = [
        "a step of `fit` or `predict`",
        "stock Keras",
        "gatewise",
        "times as fast",
        "as PyTorch",
    ]
    rows = [f"| {' | '.join(names)} |", "|---|---|---|---|---|"]
    report = json.loads((ROOT / "benchmarks" / "results" / "training.json").read_text())
    for one in report["rows"]:
        torch = one.get("torch / ours")
        rows.append(
            f"| {one['workload']} | {one['stock ms']:.2f} ms | {one['ours ms']:.2f} ms | "
            f"{one['stock / ours']:.2f} | {f'{torch:.2f}' if torch else ''} |"
        )
    return "\n".join(rows)


def backends_table(suffix: str = "") -> str:
    """One row per workload that benchmarks/training.py measures on several backends.

    `suffix` names the files of another processor than the README's.
    """
    found: dict[str, dict[str, str]] = {}
    for backend in BACKENDS:
        middle = "" if backend == "jax" else f"-{backend}"
        path = ROOT / "benchmarks" / "results" / f"training{middle}{suffix}.json"
        for one in json.loads(path.read_text())["rows"]:
            cell = f"{one['stock ms']:.3g} / {one['ours ms']:.3g} ms, {one['stock / ours']:.1f}"
            if "bfloat16 ms" in one:
                cell += f" (bfloat16 {one['bfloat16 ms']:.3g} ms)"
            found.setdefault(one["workload"], {})[backend] = cell
    rows = [f"| a step | {' | '.join(BACKENDS.values())} |", "|---" * (1 + len(BACKENDS)) + "|"]
    for workload, cells in found.items():
        if len(cells) > 1:
            rows.append(f"| {workload} | {' | '.join(cells.get(one, '') for one in BACKENDS)} |")
    return "\n".join(rows)


def experiments_table() -> str:
    """One row per experiments/*.toml, from the comment lines at its top.

    The line with "gatewise train" is the command; "time: ..." and "score: ..." follow it.
    """
    rows = ["| experiment | command | time | score |", "|---|---|---|---|"]
    for path in sorted((ROOT / "experiments").glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        tomllib.loads(text)
        told = {"command": "", "time": "not measured yet", "score": "not measured yet"}
        for line in text.splitlines():
            if not line.startswith("#"):
                break
            line = line.lstrip("# ")
            key, colon, value = line.partition(":")
            if colon and key.lower() in told:
                told[key.lower()] = value.strip()
            elif "gatewise train" in line:
                told["command"] = line[line.index("gatewise train") :]
        name = f"[{path.stem}](../experiments/{path.name})"
        rows.append(f"| {name} | `{told['command']}` | {told['time']} | {told['score']} |")
    return "\n".join(rows)


def results_table() -> str:
    """Every number of benchmarks/results/*.json: a row for each file, and a table of its rows."""
    lines = ["| file | about all of its rows |", "|---|---|"]
    tables = []
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        content = json.loads(path.read_text())
        keys = [key for key in ROWS if isinstance(content.get(key), dict | list)]
        rows = [row for key in keys for row in _rows(content.pop(key))]
        facts = [f"{name.removeprefix('environment.')} {value}" for name, value in flat(content)]
        lines.append(f"| `{path.name}` | {', '.join(facts)} |")
        if rows:
            names = list(dict.fromkeys(name for row in rows for name in row))
            tables += ["", f"`{path.name}`:", "", f"| {' | '.join(names)} |"]
            tables += ["|---" * len(names) + "|"]
            tables += [f"| {' | '.join(_cell(row.get(name)) for name in names)} |" for row in rows]
    return "\n".join(lines + tables)


def _rows(some: Any) -> list[dict[str, Any]]:
    """Rows without tables in their cells; a mapping of rows has its keys in the first column."""
    if isinstance(some, dict):
        some = [{"workload": name} | row for name, row in some.items()]
    return [
        {
            inner: value
            for name, cell in row.items()
            for inner, value in (cell.items() if isinstance(cell, dict) else [(name, cell)])
        }
        for row in some
    ]


def _cell(value: Any) -> str:
    return "" if value is None else " to ".join(text for _, text in flat(value))


def flat(content: Any, name: str = "") -> list[tuple[str, str]]:
    """The leaves of a JSON value with their paths."""
    if isinstance(content, dict):
        return [
            leaf for key, one in content.items() for leaf in flat(one, f"{name}.{key}".strip("."))
        ]
    if isinstance(content, list):
        return [leaf for k, one in enumerate(content) for leaf in flat(one, f"{name}[{k}]")]
    if isinstance(content, float):
        return [(name, f"{content:.4g}")]
    return [(name, f"{content:,}" if isinstance(content, int) else str(content))]


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
