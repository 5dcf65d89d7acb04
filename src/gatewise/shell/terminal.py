"""What verbs print: notes, the lines of a training, tables and JSON."""

import json
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 160  # of tables in a file or a pipe, which have no width


def console(*, err: bool = False) -> "Console":
    """The console of standard output, or of standard error."""
    from rich.console import Console

    # Names of files, classes and columns may hold brackets and colons.
    made = Console(stderr=err, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = WIDTH
    return made


def set_level(level: int) -> None:
    """Print the records of the library from this level on; INFO by default."""
    log = logging.getLogger("gatewise")
    log.setLevel(level)
    for handler in log.handlers:
        if isinstance(handler, Notes):
            handler.setLevel(level)


class Notes(logging.Handler):
    """Prints the log of the library, one sentence per line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record: on standard error if standard output is for results."""
        prints_results = sys.argv[1:2] in (["predict"], ["generate"], ["stream"])
        err = "--json" in sys.argv or record.levelno != logging.INFO or prints_results
        typer.echo(record.getMessage(), err=err)


class Screen(logging.Handler):
    """Prints epoch lines; on a terminal, a progress bar below them also names the phase."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self.console = console(err=as_json)
        self.bar: Any = None
        self.task: Any = None
        self.quiet = not logging.getLogger("gatewise").isEnabledFor(logging.INFO)

    def __enter__(self) -> "Screen":
        if self.console.is_terminal and not self.quiet:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            self.bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                console=self.console,
                transient=True,
            )
            self.bar.start()
            self.task = self.bar.add_task("", total=None)
            log = logging.getLogger("gatewise.training.phases")
            log.setLevel(logging.DEBUG)
            log.addHandler(self)
        return self

    def emit(self, record: logging.LogRecord) -> None:
        """Show the name of a phase that begins."""
        if record.levelno == logging.DEBUG:
            self.bar.update(self.task, description=record.getMessage(), completed=0, total=None)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            logging.getLogger("gatewise.training.phases").removeHandler(self)
            self.bar.stop()

    def watch(self, progress: Any, epoch_over: bool) -> None:
        """Show the state of a training, after each step and each epoch."""
        if epoch_over and not (self.quiet or progress.network):  # several networks log a line each
            self.console.print(progress.line(), soft_wrap=True)
        elif self.bar is not None:
            self.bar.update(
                self.task,
                description=f"{progress.network} epoch {progress.epoch}/{progress.epochs}".strip(),
                completed=progress.step,
                total=progress.steps,
            )


def show_json(content: Any, *, indent: int | None = None) -> None:
    """Print one JSON object; numbers that are not finite become null."""
    from gatewise.runs.artefact import finite

    text = json.dumps(finite(content), indent=indent, ensure_ascii=False, allow_nan=False)
    typer.echo(text)


def show_lines(lines: Iterable[str], *, bold: bool = False) -> None:
    """Print lines that a narrow terminal wraps."""
    screen = console()
    for line in lines:
        screen.print(line, style="bold" if bold else "", soft_wrap=True)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], bold: str = "") -> None:
    """Print a table and an empty line; `bold` is the first cell of the row to emphasise."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row, style="bold" if row[0] == bold else "")
    screen = console()
    screen.print(table)
    screen.print()


def show_metrics(metrics: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the scores and the verdict, or one JSON object."""
    from gatewise.reporting import scores

    if as_json:
        show_json({key: value for key, value in metrics.items() if key != "details"})
        return
    if not metrics["verdict"]:
        reason = metrics.get("unjudged") or "There was no test part, so there is no verdict."
        show_lines([reason, *metrics["caveats"]])
        return
    typer.echo()
    show_table(*scores.table(metrics), bold=metrics["answer"])
    if "repeats" in metrics:
        show_table(*scores.table_of_seeds(metrics), bold=scores.saved_seed(metrics))
    if "folds" in metrics:
        show_table(*scores.table_of_folds(metrics))
    show_lines([metrics["verdict"]["sentence"]], bold=True)
    show_lines(metrics["caveats"])


def show_inspection(content: Mapping[str, Any]) -> None:
    """Print the tables of the layers and the gates, a line for each example, and the advice."""
    from gatewise.reporting import formats, inside

    show_lines([f"{formats.count(content['examples'], 'example')} of {content['data']}", ""])
    show_table(inside.COLUMNS, inside.rows_of(content["layers"]))
    show_table(inside.GATE_COLUMNS, inside.gate_rows(content["layers"]))
    show_lines(inside.lines(content))


def show_comparison(found: Mapping[str, Any]) -> None:
    """Print the scores of each run, and a sentence for each difference."""
    from gatewise.reporting import scores

    show_table(*scores.table_of_runs(found))
    show_lines([one["sentence"] for one in found["comparisons"]], bold=True)


def show_pairs(pairs: Iterable[tuple[str, object]], width: int, *, indent: int = 0) -> None:
    """Print one name and its value per line."""
    for name, value in pairs:
        typer.echo(f"{' ' * indent}{name:{width}} {value}")
