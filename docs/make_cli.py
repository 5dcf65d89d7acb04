"""Write what can be derived: cli.md, settings.md, tables of benchmarks.md, tasks.md and README.md.

    python docs/make_cli.py

A test fails when one of them is stale (tests/test_docs.py).
"""

import ast
import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import typer

from gatewise import cli, settings
from gatewise.metrics import METRICS
from gatewise.settings import LIMITS, Experiment

DOCS = Path(__file__).parent
ROOT = DOCS.parent
BEGIN, END = "<!-- written by docs/make_cli.py: begin -->", "<!-- end -->"
METRICS_MARK = re.compile(r"(<!-- metrics of [^:]*: (.*?) -->)")

# What the comments of settings.py leave unsaid.
MEANINGS = {
    "data.path": "The file to read, or the name of a shipped data set.",
    "data.time": "The column that orders the steps. Guessed when one column holds times.",
    "data.missing": "What becomes of empty cells: stop, take the last value, draw a line between "
    "the neighbours, or put zero.",
    "data.missing_values": "Texts that mean an empty cell.",
    "data.duplicates": "What becomes of rows that repeat a time within one sequence.",
    "split.train": "The part that is learnt from. Here and below: under 1 a share, from 1 on a "
    "count of steps (forecast) or sequences (classify). 0: all that is left.",
    "split.validation": "The part that choices are made on: the best epoch, the temperature.",
    "split.test": "The part that is looked at once, at the end. 0: none, then there is no verdict.",
    "split.by": "`auto`: by time for a forecast; by group where there is one, else by label.",
    "split.seed": "For dealing sequences out to the parts.",
    "preparation.scale": "`auto`: `standard` (mean 0, deviation 1); for images `minmax` (0 to 1).",
    "preparation.scale_by": "A scale for each series, for each column, or one for all. `auto`: by "
    "series when several are forecast, by column else; images as a whole.",
    "preparation.calendar": "Parts of the date given to a forecast as sine and cosine. `auto` "
    "chooses by the spacing; `none` gives none.",
    "preparation.lowercase": "Whether texts are read in small letters; language and translate keep "
    "their capitals.",
    "task.name": "`forecast` or `classify`. Guessed when that is safe, and stated.",
    "task.horizon": "Steps to forecast. 0: the custom for the spacing.",
    "task.lookback": "Steps that a forecast looks back. 0: two seasons or two horizons. Language: "
    "tokens through which gradients reach back; 0: 100 characters, 35 words, 70 pieces.",
    "task.season": "The cycle of the series in steps. 0: looked for in the training part.",
    "data.static": "Forecast: columns with one value a sequence.",
    "task.quantiles": "The quantiles to forecast, rising, between 0 and 1.",
    "task.floor": "Forecast: `zero` answers no less than 0 for targets that were never less in "
    "training. See [tasks](tasks.md#forecast).",
    "task.blend": "classify: `logistic` answers with the mean of the network's probabilities and "
    "those of the logistic regression on summaries. See [tasks](tasks.md#classify).",
    "network.kind": "`auto`: `segments` for forecast, `stack` for classify.",
    "network.bidirectional": "Read in both directions.",
    "network.activation": "Of the LSTM: a name of `keras.activations`.",
    "network.recurrent_activation": "Of the gates: a name of `keras.activations`.",
    "network.recurrent_dropout": "On the state of the LSTM.",
    "network.l1": "Penalty on the absolute weights.",
    "network.l2": "Penalty on the squared weights.",
    "network.normalization": "After each LSTM layer.",
    "network.pooling": "How the steps become one vector.",
    "network.dense_activation": "Of the dense layers: a name of `keras.activations`.",
    "training.epochs": "Passes over the training part, at most. 0: by the number of examples.",
    "training.batch_size": "Examples in a step; language: lanes. 0: by the number of examples.",
    "training.optimizer": "A name of `keras.optimizers`.",
    "training.optimizer_options": "A table of further options of the optimizer.",
    "training.schedule": "Of the learning rate. `exponential` ends at a hundredth; `plateau` cuts "
    "it to 0.3 when the validation loss stands still.",
    "training.loss": "`auto`: the quantile loss for forecast, cross entropy for classify; else a "
    "name of `keras.losses`.",
    "training.label_smoothing": "classify, translate: a share of certainty spread over the others.",
    "training.class_weight": "classify: `balanced` makes every label weigh the same in the loss.",
    "training.rotation": "classify: deviation of the random turns of `data.triads` while training, "
    "in radians about each axis. 0: none. See [tasks](tasks.md#classify).",
    "training.clipnorm": "The greatest norm of each weight's gradient. 0: no limit.",
    "training.clipvalue": "A limit on each number of the gradient; taken instead of clipnorm. "
    "0: none.",
    "training.monitor": "The validation metric that chooses the epoch whose weights are kept: a "
    "metric of the task, or `loss`; of equal epochs, the one with the lower validation loss. "
    "`auto`: the metric of the verdict.",
    "training.patience": "Epochs without a better `monitor` before training ends. -1: a sixth of "
    "the epochs, at least 3; 0: never.",
    "training.seed": "The same seed gives the same numbers on one machine.",
    "evaluation.metric": "The measure of the verdict. `auto`: mae for forecast, accuracy for "
    "classify; see [tasks](tasks.md).",
    "evaluation.n_resamples": "Rounds of the bootstrap.",
    "evaluation.confidence_level": "Of the interval.",
    "engine.kind": "`auto`: our own kernels where they can run, see [the engine](engine.md); "
    "`native`: they run, or training ends with the reason; `stock`: Keras's own.",
    "report.title": "Of the report; empty: task and file.",
    "report.examples": "Forecasts or mistakes that are drawn.",
}


def pages() -> dict[Path, str]:
    """Every page that is written here, with what it must hold."""
    benchmarks, readme = DOCS / "benchmarks.md", ROOT / "README.md"
    return {
        DOCS / "cli.md": cli_page(),
        DOCS / "settings.md": settings_page(),
        benchmarks: with_tables(benchmarks, experiments_table(), results_table()),
        DOCS / "tasks.md": with_metrics(DOCS / "tasks.md"),
        readme: with_tables(readme, speed_table()),
    }


def cli_page() -> str:
    """What `gatewise VERB --help` says, a section a verb."""
    lines = [
        "# The command line",
        "",
        "Written by `docs/make_cli.py` from the same texts as `gatewise VERB --help`.",
        "",
        "Exit status: 0 done; 1 something that you can mend, said in one sentence on standard",
        "error; 2 wrong usage.",
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
    """Every section and key, with its default and its meaning."""
    said = comments()
    lines = [
        "# Settings",
        "",
        "Written by `docs/make_cli.py` from the dataclasses of `src/gatewise/settings.py`.",
        "",
        "A settings file is TOML; every section and every key is optional. Give it with",
        "`--config run.toml`, or set one key with `--set section.key=value`. An unknown key stops",
        "the run. A number 0, an empty text or an empty list means: not given, so it is guessed",
        "and the guess is stated. The full settings are saved with the run as `settings.toml`.",
    ]
    for section in fields(Experiment):
        lines += ["", f"## [{section.name}]", "", "| key | default | values | meaning |"]
        lines += ["|---|---|---|---|"]
        inner = getattr(Experiment(), section.name)
        for key in fields(inner):
            name = f"{section.name}.{key.name}"
            default, kind = json.dumps(getattr(inner, key.name)), str(key.type)
            cells = [f"`{key.name}`", f"`{default}`", values(kind, name), meaning(name, said)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def meaning(name: str, said: dict[str, str]) -> str:
    """The meaning of a key: from MEANINGS, else from its comment; "" when there is neither."""
    text = MEANINGS.get(name) or said.get(name, "")
    text = text[:1].upper() + text[1:]
    return text if not text or text.endswith(".") else text + "."


def comments() -> dict[str, str]:
    """The comment behind or above each key in settings.py, by section.key."""
    path = Path(settings.__file__)
    source = path.read_text(encoding="utf-8")
    lines, found = source.splitlines(), {}
    classes = {str(one.type).strip('"'): one.name for one in fields(Experiment)}
    classes |= {
        type(getattr(Experiment(), one.name)).__name__: one.name for one in fields(Experiment)
    }
    for node in ast.parse(source).body:
        if not (isinstance(node, ast.ClassDef) and node.name in classes):
            continue
        for key in node.body:
            if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name):
                behind = re.search(r"  # (.*)$", lines[(key.end_lineno or key.lineno) - 1])
                above = re.match(r"\s*# (.*)$", lines[key.lineno - 2])
                comment = behind or above
                if comment:
                    found[f"{classes[node.name]}.{key.target.id}"] = comment[1]
    return found


def values(kind: str, name: str) -> str:
    """What may stand there, in words."""
    if "Calendar" in kind:
        return "list of " + ", ".join(f"`{one}`" for one in get_args(settings.Calendar))
    if chosen := re.search(r"Literal\[(.*)\]", kind):
        return ", ".join(f"`{one}`" for one in re.findall(r"[\"'](.+?)[\"']", chosen[1]))
    if "tuple[tuple" in kind:
        return "list of lists of three texts"
    words = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}
    listed = re.search(r"tuple\[(\w+)", kind)
    bare = re.search(r"'(\w+)'", kind)
    plain = words.get(bare[1] if bare else kind, "table")
    text = f"list of {words[listed[1]]}s" if listed else plain
    least, most = LIMITS.get(name, (0, 0))
    if not most or most == float("inf"):
        return text
    return f"{text}, {least:.10g} to {most:.10g}"


def with_tables(page: Path, *tables: str) -> str:
    """The page with its tables written anew between the marks."""
    left = iter(tables)
    between = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    text = page.read_text(encoding="utf-8")
    return between.sub(lambda _: f"{BEGIN}\n\n{next(left)}\n\n{END}", text)


def with_metrics(page: Path) -> str:
    """The page with each table of metrics written anew, from the names in the mark above it."""
    text = page.read_text(encoding="utf-8")
    for mark, names in METRICS_MARK.findall(text):
        between = re.compile(f"{re.escape(mark)}.*?{re.escape(END)}", re.DOTALL)
        table = metrics_table(names.split(", "))
        text = between.sub(lambda _, new=f"{mark}\n\n{table}\n\n{END}": new, text)
    return text


def metrics_table(names: list[str]) -> str:
    """One row for each metric: its direction, meaning and source."""
    rows = ["| metric | better | what it says | definition |", "|---|---|---|---|"]
    for one in (METRICS[name] for name in names):
        cells = [f"`{one.name}`", one.better, one.meaning, one.source]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def speed_table() -> str:
    """One row for each workload of benchmarks/training.py."""
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


def experiments_table() -> str:
    """One row for each experiments/*.toml, from the comment lines at its top.

    The line that holds "gatewise train" is the command; "time: ..." and "score: ..." follow it.
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
    """Every number of benchmarks/results/*.json; a table of its own for a file that holds rows."""
    lines = ["| file | what | value |", "|---|---|---|"]
    tables = []
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        content = json.loads(path.read_text())
        some = content.pop("rows") if isinstance(content.get("rows"), list) else []
        lines += [f"| `{path.name}` | {name} | {value} |" for name, value in flat(content)]
        if some:
            names = list(dict.fromkeys(name for row in some for name in row))
            tables += ["", f"`{path.name}`:", "", f"| {' | '.join(names)} |"]
            tables += ["|---" * len(names) + "|"]
            tables += [f"| {' | '.join(_cell(row.get(name)) for name in names)} |" for row in some]
    return "\n".join(lines + tables)


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
