"""The command line: the only module that prints. Each command imports its heavy modules itself."""

import contextlib
import errno
import json
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gatewise.errors import ConfigError, GatewiseError

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

INTERRUPTED = 130  # the exit status of Typer after Ctrl-C
NOTHING_SAVED = "nothing was saved."
# The names of the folders, because the tasks need packages that --help does not wait for.
TASKS = sorted(path.parent.name for path in Path(__file__).parent.glob("tasks/*/task.py"))
TERMINATED = 143  # the exit status that a shell reports after SIGTERM
HEAVY = (
    *("train", "tune", "look", "evaluate", "inspect", "predict", "generate"),
    *("export", "serve", "run"),
)
MIN_ADDRESSES = 2_400_000_000  # bytes of address space; measured with 2 cores, more cores need more
SAVE_MEMORY = (
    "Give it more memory, or use less: fewer rows, or a smaller training.batch_size, "
    "task.lookback or network.units."
)

DataArgument = Annotated[
    str | None,
    typer.Argument(help="A file, or a data set of `gatewise datasets`.", show_default=False),
]
TaskOption = Annotated[str, typer.Option(help=f"{', '.join(TASKS)}; default: guess.")]
TargetOption = Annotated[
    list[str] | None,
    typer.Option(help="A target column, or the column of labels; repeatable."),
]
ConfigOption = Annotated[Path | None, typer.Option(help="A TOML file with settings.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="One setting; repeatable."),
]
HorizonOption = Annotated[int | None, typer.Option(help="Steps to forecast.")]
RunArgument = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object on standard output, and nothing else."),
]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"gatewise {metadata.version('gatewise')}")
        raise typer.Exit


@app.callback()
def everywhere(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """LSTMs in Keras, from a data file to a trained, evaluated and saved model."""


@app.command()
def train(
    data: DataArgument = None,
    task: TaskOption = "",
    target: TargetOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The run folder to write.")
    ] = None,
    horizon: HorizonOption = None,
    lookback: Annotated[int | None, typer.Option(help="Past steps that the network reads.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training part, at most.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same numbers.")] = None,
    repeats: Annotated[
        int,
        typer.Option(help="Train from so many seeds, judge their mean, and save the best."),
    ] = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run folder if it exists.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the checkpoint of a killed run.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan without training.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a network on DATA, evaluate it beside baselines, save it and write the report."""
    from gatewise import pipeline
    from gatewise.arguments import experiment_for, flags, free_folder
    from gatewise.artefact import check_replaceable
    from gatewise.output import inputs
    from gatewise.overview import overview
    from gatewise.ready import make_ready
    from gatewise.record import interruption
    from gatewise.repeats import check_repeats

    check_repeats(repeats, resume=resume)
    layers = _layers(config, assignments)
    layers.append(flags(task, horizon=horizon, lookback=lookback, epochs=epochs, seed=seed))
    experiment, source = experiment_for(data, layers, target or ())
    if dry_run:
        _show_overview(overview(make_ready(experiment, source), source), as_json=as_json)
        if not as_json:
            typer.echo("Nothing was trained (--dry-run).")
        return
    if resume and not output:
        raise ConfigError("--resume needs -o, the folder that the killed run would write.")
    folder = output or free_folder(experiment)
    if overwrite:
        check_replaceable(folder, [*inputs(experiment), *([config] if config else [])])
    console = _console(as_json)
    try:
        with _Screen(console) as screen:
            finished = pipeline.run(
                experiment,
                source,
                folder=folder,
                watch=screen.watch,
                overwrite=overwrite,
                resume=resume,
                repeats=repeats,
            )
    except KeyboardInterrupt as request:
        typer.echo(f"gatewise: stopped; {str(request) or NOTHING_SAVED}", err=True)
        raise typer.Exit(1) from None
    _show(finished.metrics, as_json=as_json)
    if not as_json:
        stopped, best = finished.metrics["stopped"], finished.metrics["best_epoch"]
        if stopped and not interruption(stopped, best):  # shown beside the verdict instead
            console.print(
                f"Training ended early: {stopped}. The weights are those of epoch {best}.",
                soft_wrap=True,
            )
        console.print(f"Report: {folder / 'report.html'}", soft_wrap=True)


@app.command()
def tune(
    data: DataArgument = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The folder of the search.")
    ] = None,
    budget: Annotated[
        str, typer.Option(help="The time for all of it, such as 30m; final training included.")
    ] = "",
    trials: Annotated[int, typer.Option(help="The most trials; 0: as many as fit.")] = 0,
    space: Annotated[Path | None, typer.Option(help="A TOML file with ranges of settings.")] = None,
    processes: Annotated[int, typer.Option(help="Processes that share trials and cores.")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the search in -o; refuse a new one.")
    ] = False,
    task: TaskOption = "",
    target: TargetOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    horizon: HorizonOption = None,
    lookback: Annotated[int | None, typer.Option(help="Past steps that the network reads.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training part, at most.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of networks and of the search.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Search settings for DATA on the validation part, and train the best ones again.

    The same command continues a search that was stopped or killed.
    """
    from gatewise.settings import merged
    from gatewise.tuning import search

    if output is None:
        raise ConfigError("A search needs a folder: give -o, such as -o runs/search.")
    try:
        with _Screen(_console(as_json)) as screen:
            tuned = search.tune(
                data,
                output=output,
                budget=budget,
                trials=trials,
                task=task,
                target=target or (),
                horizon=horizon,
                lookback=lookback,
                epochs=epochs,
                seed=seed,
                settings=merged(_layers(config, assignments)),
                space=space,
                processes=processes,
                resume=resume,
                watch=lambda progress, _: screen.watch(progress, False),
            )
    except KeyboardInterrupt as request:
        typer.echo(f"gatewise: stopped; {str(request) or NOTHING_SAVED}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(tuned.summary, ensure_ascii=False, allow_nan=False))
        return
    assert tuned.run is not None
    _show(tuned.run.metrics, as_json=False)
    console = _console(False)
    console.print(f"Against the untuned default: {tuned.summary['sentence']}", soft_wrap=True)
    console.print(f"Run: {output / search.BEST}", soft_wrap=True)
    console.print(f"What mattered: {output / search.PAGE}", soft_wrap=True)


@app.command()
def look(
    data: Annotated[
        str,
        typer.Argument(help="A file, or a data set of `gatewise datasets`.", show_default=False),
    ],
    task: TaskOption = "",
    target: TargetOption = None,
    horizon: HorizonOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how DATA are understood: columns, times, parts and task. Nothing is trained."""
    from gatewise.arguments import experiment_for, flags
    from gatewise.overview import overview
    from gatewise.ready import make_ready

    layers = _layers(config, assignments)
    layers.append(flags(task, horizon=horizon))
    experiment, source = experiment_for(data, layers, target or ())
    _show_overview(overview(make_ready(experiment, source), source), as_json=as_json)


@app.command()
def evaluate(
    run: RunArgument,
    data: Annotated[str, typer.Argument(help="New data that holds the truth.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Score a trained model on DATA, beside the baselines saved with it."""
    from gatewise import prediction

    _show(prediction.evaluate(run, data), as_json=as_json)


@app.command()
def predict(
    run: RunArgument,
    data: Annotated[
        str,
        typer.Argument(
            help="Raw data of the same form as the training data; for texts, - is standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A .csv, .parquet, .jsonl or .txt file; default: standard output.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output file if it exists.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Refuse all of DATA if one sequence cannot be answered."),
    ] = False,
) -> None:
    """Predict DATA with a trained model: rows keep their order and ids; texts are a line each."""
    from gatewise import prediction
    from gatewise.artefact import as_csv, open_run
    from gatewise.output import check_free_file, places, writing_file
    from gatewise.tasks import task_of

    endings = (".csv", ".parquet", ".jsonl", ".txt")
    if output and output.suffix not in endings:
        raise ConfigError(f"-o wants a name ending in {', '.join(endings)}. Received: {output}.")
    if output:
        check_free_file(output, reads=[run, *places(data)], overwrite=overwrite)
    artefact = open_run(run)
    column = task_of(artefact.preparation.task).lines
    if output and output.suffix == ".txt" and not column:
        raise ConfigError(f"{artefact.preparation.task} predicts a table. Name a .csv file.")
    table = prediction.predict(artefact, data, strict=strict)
    lines = "".join(" ".join(text.split()) + "\n" for text in table[column]) if column else ""
    if output is None:
        typer.echo(lines or as_csv(table), nl=False)
        return
    writers: dict[str, Callable[[Path], Any]] = {
        ".txt": lambda path: path.write_text(lines, encoding="utf-8"),
        ".csv": lambda path: path.write_text(as_csv(table), encoding="utf-8"),
        ".parquet": table.write_parquet,
        ".jsonl": table.write_ndjson,
    }
    try:
        with writing_file(output, overwrite=overwrite) as draft:
            writers[output.suffix](draft)
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror or error}.") from None
    typer.echo(f"{len(table)} rows in {output}", err=True)


@app.command()
def generate(
    run: RunArgument,
    prompt: Annotated[
        str, typer.Option(help="The text to continue; empty: start a new line.")
    ] = "",
    length: Annotated[
        int, typer.Option(help="Characters, words or subwords to write, as RUN reads them.")
    ] = 200,
    temperature: Annotated[
        float,
        typer.Option(help="Below 1, likely tokens get likelier; 0: always the most likely one."),
    ] = 1.0,
    top_k: Annotated[
        int, typer.Option(help="Sample from that many most likely tokens; 0: from all.")
    ] = 0,
    seed: Annotated[
        int | None, typer.Option(help="The same seed writes the same text.", show_default=False)
    ] = None,
) -> None:
    """Write text with a language model, and print it as it comes."""
    from gatewise import prediction

    pieces = prediction.generating(
        run, prompt, length=length, temperature=temperature, top_k=top_k, seed=seed
    )
    typer.echo(prompt, nl=False)
    for piece in pieces:
        typer.echo(piece, nl=False)
    typer.echo()


@app.command()
def stream(
    run: RunArgument,
    follow: Annotated[
        Path | None,
        typer.Option(help="Read a file that grows, instead of standard input.", show_default=False),
    ] = None,
    columns: Annotated[
        str, typer.Option(help="The columns of CSV without a header, separated by commas.")
    ] = "",
    window: Annotated[
        int | None,
        typer.Option(
            help="Steps that an answer reads anew; 0: all, carried on from step to step.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[
        int | None, typer.Option(help="Steps between two answers.", show_default=False)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Answer CSV in lines of JSON, too.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="End at the first line that cannot be used.")
    ] = False,
) -> None:
    """Answer lines of CSV or JSON as they arrive: a row in, a line out for each answer."""
    from gatewise.streaming import Stream, lines

    lines.answer(
        Stream(run, window=window, every=every),
        lines.opened(follow),
        write=_write_at_once,
        complain=None if strict else lambda text: typer.echo(f"gatewise: {text}", err=True),
        follow=follow is not None,
        columns=tuple(name.strip() for name in columns.split(",") if name.strip()),
        as_json=as_json,
    )


def _write_at_once(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@app.command()
def export(
    run: Annotated[
        Path, typer.Argument(help="A run folder, or a .keras file.", show_default=False)
    ],
    to: Annotated[str, typer.Option("--to", help="The format: onnx, numpy, keras or savedmodel.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The folder to write; default: RUN-FORMAT."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a folder that an export wrote.")
    ] = False,
) -> None:
    """Write a trained network in another format, and prove that its answers are the same."""
    from gatewise.exporting.export import export as write

    written = write(run, to=to, output=output, overwrite=overwrite)
    for line in written.summary():
        typer.echo(line)


@app.command()
def inspect(
    run: RunArgument,
    data: Annotated[
        str | None,
        typer.Argument(
            help="Raw data; default: the validation part of the run's own data.", show_default=False
        ),
    ] = None,
    examples: Annotated[int, typer.Option(help="Examples whose answers are explained.")] = 3,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="An .html file to write.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output file if it exists.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look inside a trained network: gates, memory, idle units, and what its answers rest on."""
    from gatewise.artefact import finite
    from gatewise.inspection.run import inspect as look_inside

    content = look_inside(run, data, examples=examples, page=output, overwrite=overwrite)
    if as_json:
        typer.echo(json.dumps(finite(content), ensure_ascii=False, allow_nan=False))
        return
    _show_inspection(content)
    if output:
        typer.echo(f"Page: {output}")


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Two run folders or more.", show_default=False)
    ],
    metric: Annotated[
        str, typer.Option(help="The metric of the differences; default: the first verdict's.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Put finished RUNS with the same test part side by side; each is compared with the first."""
    from gatewise import comparison
    from gatewise.artefact import finite

    found = comparison.compare(*runs, metric=metric)
    if as_json:
        typer.echo(json.dumps(finite(found), ensure_ascii=False, allow_nan=False))
        return
    _show_comparison(found)


@app.command()
def serve(
    runs: Annotated[
        list[str],
        typer.Argument(help="Run folders, or NAME=FOLDER to name a model.", show_default=False),
    ],
    host: Annotated[
        str, typer.Option(help="The address to listen on; only this machine reaches the default.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0: any free one.")] = 8000,
    token: Annotated[
        str,
        typer.Option(
            envvar="GATEWISE_TOKEN",
            help="What clients must send as Authorization: Bearer TOKEN; empty: nothing.",
        ),
    ] = "",
    max_batch: Annotated[int, typer.Option(help="Examples that share a run of the network.")] = 256,
    max_wait: Annotated[
        float, typer.Option(help="Milliseconds that a request waits for others to share its run.")
    ] = 2.0,
    max_body: Annotated[float, typer.Option(help="Megabytes of a request.")] = 8.0,
    max_steps: Annotated[
        int, typer.Option(help="Steps of a request: rows, bytes of text, samples of sound.")
    ] = 1_000_000,
    max_pending: Annotated[int, typer.Option(help="Requests that wait at the same time.")] = 1024,
    max_sessions: Annotated[
        int, typer.Option(help="Sequences that are open at the same time, to be streamed.")
    ] = 1024,
    session_idle: Annotated[
        float, typer.Option(help="Seconds without a step after which such a sequence is forgotten.")
    ] = 300.0,
) -> None:
    """Answer over HTTP with trained models, until Ctrl-C or SIGTERM."""
    from gatewise import serving

    limits = serving.Limits(
        max_batch, max_wait, max_body, max_steps, max_pending, max_sessions, session_idle
    )
    serving.serve(runs, host=host, port=port, token=token, limits=limits)


@app.command()
def report(
    run: RunArgument,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a report that was edited.")
    ] = False,
) -> None:
    """Write the report of a run again, but keep an edited report."""
    from gatewise import pipeline

    typer.echo(f"Report: {pipeline.report(run, overwrite=overwrite)}")


@app.command()
def settings(
    name: Annotated[
        str,
        typer.Argument(help="A key, section.key or section; default: all.", show_default=False),
    ] = "",
) -> None:
    """Show what settings mean: default, values, the tasks that have them."""
    from gatewise import glossary

    found = glossary.find(name) if name else list(glossary.entries())
    for one in found:
        typer.secho(one.name, bold=True)
        owners = f"  Only for {one.owners}." if one.owners else ""
        typer.echo(f"  {one.meaning}{owners}")
        typer.echo(f"  Default: {one.default}. Values: {one.values.replace('`', '')}.")


@app.command()
def datasets(as_json: JsonOption = False) -> None:
    """List the data sets that ship with gatewise, with source and licence."""
    from gatewise.readers.datasets import DATASETS

    if as_json:
        descriptions = {name: _description(dataset) for name, dataset in DATASETS.items()}
        typer.echo(json.dumps(descriptions, indent=1))
        return
    for name, dataset in DATASETS.items():
        typer.secho(name, bold=True)
        for key, value in _description(dataset).items():
            typer.echo(f"  {key:8} {value}")


def _description(dataset: Any) -> dict[str, str]:
    return {
        "title": dataset.title,
        "task": dataset.task,
        "size": dataset.size,
        "source": dataset.source,
        "licence": dataset.licence,
    }


@app.command()
def info(as_json: JsonOption = False) -> None:
    """Show what this machine uses: versions, backend, engine."""
    from gatewise import engine
    from gatewise.artefact import environment

    facts = environment() | {"engine": engine.info()}
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    kind = facts.pop("engine")
    facts["engine"] = f"{kind['kind']}: {kind['reason']}"
    for key, value in facts.items():
        typer.echo(f"{key:14} {value}")


@app.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def run(
    script: Annotated[
        str, typer.Argument(help="A Python script, or a module with -m.", show_default=False)
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Arguments of the script.", show_default=False)
    ] = None,
    engine: Annotated[
        str, typer.Option(help="auto, or native: stop if an LSTM layer cannot run natively.")
    ] = "auto",
    products: Annotated[
        str,
        typer.Option(help="float32, or bfloat16 or bfloat16x3: rounded operands, where faster."),
    ] = "float32",
    module: Annotated[
        bool, typer.Option("-m", help="SCRIPT is the name of a module, as with python -m.")
    ] = False,
) -> None:
    """Run any Keras SCRIPT with its LSTM layers on the native kernels."""
    from gatewise.engine.running import run_script

    run_script(script, arguments or [], engine=engine, products=products, module=module)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """End the command with a sentence on Ctrl-C and SIGTERM.

    Python discards an exception that a handler raises during a callback of the garbage collector,
    for example while JAX is imported. Therefore the process ends two seconds later in any case.
    Training installs handlers of its own.
    """
    timers: list[threading.Timer] = []

    def stop(number: int, _frame: object) -> None:
        status = TERMINATED if number == signal.SIGTERM else 1
        timers.append(threading.Timer(2.0, _stop_hard, [status]))
        timers[-1].daemon = True
        timers[-1].start()
        raise SystemExit(TERMINATED) if number == signal.SIGTERM else KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_hard(status: int) -> None:
    os.write(2, f"gatewise: {_stopped()}\n".encode())
    os._exit(status)


def _stopped() -> str:
    return f"stopped; {NOTHING_SAVED}" if sys.argv[1:2] == ["train"] else "stopped."


def _layers(config: Path | None, assignments: list[str] | None) -> list[Mapping[str, Any]]:
    """The settings of --config and of each --set."""
    from gatewise.settings import assignment, layer_of

    layers: list[Mapping[str, Any]] = [layer_of(config)] if config else []
    for text in assignments or []:
        section, key, value = assignment(text)
        layers.append({section: {key: value}})
    return layers


def _console(as_json: bool) -> "Console":
    """The console for progress: standard output, or standard error if the former is for JSON."""
    from rich.console import Console

    console = Console(stderr=as_json, highlight=False)
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has no width to fit a table into
    return console


class _Screen(logging.Handler):
    """Prints epoch lines; on a terminal, a progress bar below them also names the phase."""

    def __init__(self, console: "Console") -> None:
        super().__init__()
        self.console = console
        self.bar: Any = None
        self.task: Any = None

    def __enter__(self) -> "_Screen":
        if self.console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                console=self.console,
                transient=True,
            )
            self.bar.start()
            self.task = self.bar.add_task("", total=None)
            log = logging.getLogger("gatewise.phases")
            log.setLevel(logging.DEBUG)
            log.addHandler(self)
        return self

    def emit(self, record: logging.LogRecord) -> None:
        """Show the name of a phase that begins."""
        if record.levelno == logging.DEBUG:
            self.bar.update(self.task, description=record.getMessage(), completed=0, total=None)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            logging.getLogger("gatewise.phases").removeHandler(self)
            self.bar.stop()

    def watch(self, progress: Any, epoch_over: bool) -> None:
        if epoch_over:
            self.console.print(progress.line(), soft_wrap=True)
        elif self.bar is not None:
            self.bar.update(
                self.task,
                description=f"epoch {progress.epoch}/{progress.epochs}",
                completed=progress.step,
                total=progress.steps,
            )


def _show(metrics: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the table and the verdict, or one JSON object."""
    if as_json:
        from gatewise.artefact import finite

        content = {key: value for key, value in metrics.items() if key != "details"}
        typer.echo(json.dumps(finite(content), ensure_ascii=False, allow_nan=False))
        return
    if not metrics["verdict"]:
        typer.echo(metrics.get("unjudged") or "There was no test part, so there is no verdict.")
        for sentence in metrics["caveats"]:
            typer.echo(sentence)
        return
    from rich.table import Table

    console = _console(False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    network = {"LSTM alone": metrics["alone"]} if metrics["alone"] else {}
    rows = {metrics["answer"]: metrics["metrics"]} | network | dict(metrics["baselines"])
    for name in metrics["metrics"]:
        table.add_column(name, justify="right")
    for name, scores in rows.items():
        cells = [_cell(scores[key]) for key in metrics["metrics"]]
        table.add_row(name, *cells, style="bold" if name == metrics["answer"] else "")
    console.print()
    console.print(table)
    console.print()
    if "repeats" in metrics:
        _show_repeats(metrics, console)
    console.print(metrics["verdict"]["sentence"], style="bold", soft_wrap=True)
    for sentence in metrics["caveats"]:
        console.print(sentence, soft_wrap=True)


def _show_inspection(content: Mapping[str, Any]) -> None:
    """Print the tables of the layers and the gates, a line for each example, and the advice."""
    from rich.table import Table

    from gatewise.reporting import inside

    console, layers = _console(False), content["layers"]
    console.print(f"{content['examples']} examples of {content['data']}", soft_wrap=True)
    for columns, rows in (
        (inside.COLUMNS, inside.rows_of(layers)),
        (inside.GATE_COLUMNS, inside.gate_rows(layers)),
    ):
        table = Table(box=None, pad_edge=False, header_style="bold")
        for number, name in enumerate(columns):
            table.add_column(name, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        console.print()
        console.print(table)
    console.print()
    for line in inside.lines(content):
        console.print(line, soft_wrap=True)


def _show_comparison(found: Mapping[str, Any]) -> None:
    """Print the scores of each run, and a sentence for each difference."""
    from rich.table import Table

    console = _console(False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for name in found["runs"][0]["metrics"]:
        table.add_column(name, justify="right")
    for one in found["runs"]:
        seeds = f" (mean of {one['seeds']} seeds)" if one["seeds"] > 1 else ""
        table.add_row(f"{one['run']}{seeds}", *map(_cell, one["metrics"].values()))
    console.print(table)
    console.print()
    for one in found["comparisons"]:
        console.print(one["sentence"], style="bold", soft_wrap=True)


def _show_repeats(metrics: Mapping[str, Any], console: "Console") -> None:
    """Print the scores of each seed, their mean and their standard deviation."""
    from rich.table import Table

    repeats, names = metrics["repeats"], list(metrics["metrics"])
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("seed", "validation", *names):
        table.add_column(name, justify="left" if name == "seed" else "right")
    for one in repeats["each"]:
        saved = one["seed"] == repeats["saved"]
        cells = [_cell(one["metrics"][name]) for name in names]
        table.add_row(
            f"{one['seed']} (saved)" if saved else str(one["seed"]),
            _cell(one["validation"]),
            *cells,
            style="bold" if saved else "",
        )
    for word in ("mean", "deviation"):
        table.add_row(word, "", *(_cell(repeats[word][name]) for name in names))
    console.print(table)
    console.print()


def _cell(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.4g}"


def _show_overview(overview: Mapping[str, Any], *, as_json: bool) -> None:
    """Print on one screen how the data were understood; the notes were printed before."""
    if as_json:
        typer.echo(json.dumps(overview, ensure_ascii=False))
        return
    lines = [("task", overview["task"])]
    for one in overview["columns"]:
        role = f"{one['role']}, " if one["role"] else ""
        lines.append(
            ("column", f"{one['name']}: {role}{one['kind']}, such as {one['example'][:40]}")
        )
    whole = overview["sequences"]
    lines.append(("sequences", _counted(whole)))
    if "first" in whole:
        every = f", every {whole['step']}" if whole["step"] else ""
        zone = f" ({whole['zone']})" if whole["zone"] else ""
        lines.append(("times", f"{whole['first']} to {whole['last']}{every}{zone}"))
    for name, size in overview["parts"].items():
        words = [f"{n:,} {unit if n != 1 else unit[:-1]}" for unit, n in size.items()]
        lines.append((name, ", ".join(words)))
    layers = " > ".join(overview["network"])
    lines.append(("network", f"{layers}: {overview['parameters']:,} parameters"))
    for name, content in lines:
        typer.echo(f"{name:11} {content}")


def _counted(sequences: Mapping[str, Any]) -> str:
    shortest, longest = sequences["shortest"], sequences["longest"]
    steps = f"{longest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
    return f"{sequences['count']:,}, of {steps} steps in a part"


class _Notes(logging.Handler):
    """Prints the log of the library, one sentence a line."""

    def emit(self, record: logging.LogRecord) -> None:
        prints_results = sys.argv[1:2] in (["predict"], ["generate"], ["stream"])
        err = "--json" in sys.argv or record.levelno > logging.INFO or prints_results
        typer.echo(record.getMessage(), err=err)


def _refuse_small_address_space() -> None:
    """Refuse a small address space, in which the libraries end the process without a message."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    limited = most != resource.RLIM_INFINITY and most < MIN_ADDRESSES
    if limited and sys.argv[1:2] and sys.argv[1] in HEAVY:
        raise ConfigError(
            f"The memory of this process is limited to {most / 1e9:.1f} GB (ulimit -v), but JAX "
            f"alone needs {MIN_ADDRESSES / 1e9:.1f} GB of addresses. Raise the limit, or remove it "
            "(ulimit -v unlimited)."
        )


def entry() -> None:
    """Run the command line as a process of its own; afterwards, signals have no effect."""
    try:
        main()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def main() -> None:
    """Run the command line; an error that the user can fix is one sentence and exit status 1."""
    if sys.argv[1:2] != ["run"]:  # a script gets the environment unchanged
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    log = logging.getLogger("gatewise")
    log.setLevel(logging.INFO)
    log.addHandler(_Notes(logging.INFO))
    ours = sys.argv[1:2] != ["run"]
    try:
        _refuse_small_address_space()
        with _stoppable() if ours else contextlib.nullcontext():
            app()
    except GatewiseError as error:
        typer.echo(f"gatewise: {error}", err=True)
        sys.exit(1)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        detail = f" ({str(error).splitlines()[0]})" if str(error) else ""
        typer.echo(
            f"gatewise: There is not enough memory for this{detail}. {SAVE_MEMORY}", err=True
        )
        sys.exit(1)
    except SystemExit as error:
        if error.code in (INTERRUPTED, TERMINATED) and ours:
            typer.echo(f"gatewise: {_stopped()}", err=True)
            sys.exit(1 if error.code == INTERRUPTED else TERMINATED)
        raise
    except BrokenPipeError:
        # The reader (head, less) has closed the pipe; without this, Python complains again at exit.
        _drop_output()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EFBIG) or error.filename:
            raise
        _drop_output()
        typer.echo(f"gatewise: standard output cannot be written: {error.strerror}.", err=True)
        sys.exit(1)


def _drop_output() -> None:
    """Discard what is still in the buffer of standard output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
