"""The verbs of the command line, which import their heavy modules themselves.

What verbs share is in options.py and terminal.py; process.py has signals and exit statuses.
"""

import logging
import os
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from gatewise.errors import ConfigError
from gatewise.shell import process, terminal
from gatewise.shell.options import (
    ConfigOption,
    DataArgument,
    EpochsOption,
    HorizonOption,
    JsonOption,
    LookbackOption,
    OverwriteOption,
    RequiredDataArgument,
    RunArgument,
    SetOption,
    TargetOption,
    TaskOption,
    Verbs,
    layers_of,
)

app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
        Path | None,
        typer.Option("--output", "-o", help="The run folder to write; default: runs/ and a name."),
    ] = None,
    horizon: HorizonOption = None,
    lookback: LookbackOption = None,
    epochs: EpochsOption = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same numbers.")] = None,
    quality: Annotated[
        str | None,
        typer.Option(help="fast, good or best: more training time for better scores."),
    ] = None,
    budget: Annotated[
        str, typer.Option(help="The time for everything, such as 5m; as much as fits is trained.")
    ] = "",
    repeats: Annotated[
        int,
        typer.Option(help="Train from this many seeds, judge their mean, and save the best."),
    ] = 1,
    folds: Annotated[
        int | None,
        typer.Option(
            help="The folds of cross-validation; forecasts: the stretches to train again before."
        ),
    ] = None,
    audit: Annotated[
        str | None,
        typer.Option(help="full: also train networks that must fail, which reveals leaks."),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="A baseline of your own, as module:function; repeatable."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run folder if it exists.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the checkpoint of a killed run.")
    ] = False,
    track: Annotated[
        str, typer.Option(help="mlflow or tensorboard: send the numbers of each epoch there.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan without training.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a network on DATA, evaluate it beside baselines, save it and write the report."""
    began = {"began": time.perf_counter(), "processor": time.process_time()}
    from gatewise.arguments import experiment_for, flags, free_folder

    layers = layers_of(config, assignments)
    layers.append(
        flags(
            task,
            horizon=horizon,
            lookback=lookback,
            epochs=epochs,
            seed=seed,
            quality=quality,
            folds=folds,
            audit=audit,
        )
    )
    experiment, source = experiment_for(data, layers, target or ())
    # Importing Keras takes seconds; a mistake in the command was answered before.
    from gatewise import pipeline
    from gatewise.baselines.custom import customs
    from gatewise.judging.budget import budget_of, fit_into
    from gatewise.judging.repeats import check_repeats
    from gatewise.output import inputs
    from gatewise.runs.artefact import check_replaceable
    from gatewise.runs.record import ending
    from gatewise.shell.overview import overview
    from gatewise.training.ready import make_ready

    check_repeats(repeats)
    custom = customs(baseline or ())
    limit = budget_of(budget, **began)
    if dry_run:
        ready = make_ready(experiment, source)
        ready = fit_into(limit, ready) if limit is not None and repeats == 1 else ready
        _show_overview(overview(ready, source), as_json=as_json)
        if not as_json:
            typer.echo("Nothing was trained (--dry-run).")
        return
    if resume and not output:
        raise ConfigError("--resume needs -o, the folder that the killed run would write.")
    folder = output or free_folder(experiment)
    if overwrite:
        check_replaceable(folder, [*inputs(experiment), *([config] if config else [])])
    with process.training(), terminal.Screen(as_json=as_json) as screen:
        finished = pipeline.run(
            experiment,
            source,
            folder=folder,
            watch=screen.watch,
            overwrite=overwrite,
            resume=resume,
            repeats=repeats,
            custom=custom,
            track=track,
            budget=limit,
        )
    if not as_json:
        terminal.show_lines(ending(finished.metrics))
    terminal.show_metrics(finished.metrics, as_json=as_json)
    if not as_json:
        terminal.show_lines([f"Report: {folder / 'report.html'}"])


@app.command()
def tune(
    data: DataArgument = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The folder of the search; required.")
    ] = None,
    budget: Annotated[
        str, typer.Option(help="The time for all of it, such as 30m; final training included.")
    ] = "",
    trials: Annotated[int, typer.Option(help="The most trials; 0: as many as fit.")] = 0,
    space: Annotated[Path | None, typer.Option(help="A TOML file with ranges of settings.")] = None,
    repeats: Annotated[
        int,
        typer.Option(help="Train each trial from this many seeds, and end those that stay worse."),
    ] = 1,
    processes: Annotated[int, typer.Option(help="Processes that share trials and cores.")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the search in -o; refuse a new one.")
    ] = False,
    task: TaskOption = "",
    target: TargetOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    horizon: HorizonOption = None,
    lookback: LookbackOption = None,
    epochs: EpochsOption = None,
    seed: Annotated[
        int | None, typer.Option(help="The seed of the networks and of the search.")
    ] = None,
    track: Annotated[
        str, typer.Option(help="mlflow or tensorboard: send the numbers of each epoch there.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Search settings for DATA on the validation part, and train the best ones again.

    The same command continues a search that was stopped or killed.
    """
    from gatewise.settings import merged
    from gatewise.tuning import search, state

    if output is None:
        raise ConfigError("A search needs a folder: give -o, such as -o runs/search.")
    with process.training(), terminal.Screen(as_json=as_json) as screen:
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
            settings=merged(layers_of(config, assignments)),
            space=space,
            repeats=repeats,
            processes=processes,
            resume=resume,
            watch=lambda progress, _: screen.watch(progress, False),
            track=track,
        )
    if as_json:
        terminal.show_json(tuned.summary)
        return
    assert tuned.run is not None
    terminal.show_metrics(tuned.run.metrics, as_json=False)
    terminal.show_lines(
        [
            tuned.summary["validation"],
            f"Against the untuned default: {tuned.summary['sentence']}",
            f"Run: {output / state.BEST}",
            f"What mattered: {output / state.PAGE}",
        ]
    )


@app.command()
def curve(
    data: DataArgument = None,
    by: Annotated[str, typer.Option(help="size or learning-rate.")] = "size",
    repeats: Annotated[int, typer.Option(help="Seeds for each amount of data.")] = 3,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="An .html file to write.")
    ] = None,
    overwrite: OverwriteOption = False,
    task: TaskOption = "",
    target: TargetOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    horizon: HorizonOption = None,
    lookback: LookbackOption = None,
    epochs: EpochsOption = None,
    seed: Annotated[int | None, typer.Option(help="The first of the seeds.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show validation scores for DATA by the amount of training data, or by the learning rate.

    By size, a power law says what twice the data would give. The test part is not touched.
    """
    from gatewise.curves import curve as curves
    from gatewise.settings import merged

    with process.training(), terminal.Screen(as_json=as_json) as screen:
        content = curves.curve(
            data,
            by=by,
            repeats=repeats,
            task=task,
            target=target or (),
            horizon=horizon,
            lookback=lookback,
            epochs=epochs,
            seed=seed,
            settings=merged(layers_of(config, assignments)),
            page=output,
            overwrite=overwrite,
            watch=lambda progress, _: screen.watch(progress, False),
        )
    if as_json:
        terminal.show_json(content)
        return
    page = [f"Page: {output}"] if output else []
    terminal.show_lines([content["sentence"], *content["remarks"], *page])


@app.command()
def look(
    data: RequiredDataArgument,
    task: TaskOption = "",
    target: TargetOption = None,
    horizon: HorizonOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how DATA are understood: columns, times, parts and task. Nothing is trained."""
    from gatewise.arguments import experiment_for, flags

    layers = layers_of(config, assignments)
    layers.append(flags(task, horizon=horizon))
    experiment, source = experiment_for(data, layers, target or ())
    from gatewise.shell.overview import overview  # these import Keras, which takes seconds
    from gatewise.training.ready import make_ready

    _show_overview(overview(make_ready(experiment, source), source), as_json=as_json)


def _refuse_no_run(run: Path) -> None:
    """Refuse a path that is not a run folder before Keras is imported, which takes seconds."""
    from gatewise.runs.artefact import format_of

    format_of(run)


@app.command()
def evaluate(
    run: RunArgument,
    data: Annotated[str, typer.Argument(help="New data that holds the truth.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Score a trained model on DATA, beside the baselines saved with it."""
    from gatewise import prediction

    _refuse_no_run(run)
    terminal.show_metrics(prediction.evaluate(run, data), as_json=as_json)


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
    overwrite: OverwriteOption = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Refuse all of DATA if one sequence cannot be answered."),
    ] = False,
) -> None:
    """Predict DATA with a trained model: rows keep their order and ids; texts are a line each."""
    from gatewise import prediction
    from gatewise.output import check_free_file, places
    from gatewise.runs.artefact import open_run
    from gatewise.shell import saving

    if output:
        saving.check_ending(output)
        check_free_file(output, reads=[run, *places(data)], overwrite=overwrite)
    artefact = open_run(run)
    trained_for = artefact.preparation.task
    if output:
        saving.check_lines(output, trained_for)
    table = prediction.predict(artefact, data, strict=strict)
    if output is None:
        typer.echo(saving.printed(table, trained_for), nl=False)
        return
    saving.write(table, trained_for, output, overwrite=overwrite)
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
            help="Answer from the last N steps; 0: from all steps, whose states are kept.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[
        int | None, typer.Option(help="Steps between two answers.", show_default=False)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write lines of JSON, for lines of CSV as well.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="End at the first line that cannot be used.")
    ] = False,
) -> None:
    """Answer lines of CSV or JSON as they arrive: a row in, a line out for each answer."""
    from gatewise.streaming import Stream, lines, sources

    first = Stream(run, window=window, every=every)
    with sources.Stop() as stop:
        count = lines.answer(
            first,
            sources.contents(follow, stop, follow=follow is not None),
            write=_write_at_once,
            complain=None if strict else lambda text: typer.echo(f"gatewise: {text}", err=True),
            columns=tuple(name.strip() for name in columns.split(",") if name.strip()),
            as_json=as_json,
        )
    if stop.number and count:
        typer.echo(f"gatewise: line {count} is the last one that was read.", err=True)
    process.end_after(stop.number)


def _write_at_once(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@app.command()
def export(
    run: Annotated[
        Path, typer.Argument(help="A run folder, or a .keras file.", show_default=False)
    ],
    to: Annotated[
        str, typer.Option("--to", help="The format: onnx, c, numpy, keras or savedmodel.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The folder to write; default: RUN-FORMAT."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a folder that an export wrote.")
    ] = False,
    weights: Annotated[
        str, typer.Option(help="float32, or int8 with --to c: a quarter of the size.")
    ] = "float32",
) -> None:
    """Write a trained network in another format, checked against the run."""
    if not (run.suffix == ".keras" and run.is_file()):
        _refuse_no_run(run)
    from gatewise.exporting.export import export as write

    written = write(run, to=to, output=output, overwrite=overwrite, weights=weights)
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
        Path | None, typer.Option("--output", "-o", help="An .html file to write; default: none.")
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Look inside a trained network: gates, memory, idle units, and what its answers rest on."""
    _refuse_no_run(run)
    from gatewise.inspection.run import inspect as look_inside

    content = look_inside(run, data, examples=examples, page=output, overwrite=overwrite)
    if as_json:
        terminal.show_json(content)
        return
    terminal.show_inspection(content)
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
    from gatewise.runs import comparison

    found = comparison.compare(*runs, metric=metric)
    if as_json:
        terminal.show_json(found)
        return
    terminal.show_comparison(found)


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
    _refuse_no_run(run)
    from gatewise.runs import finished

    typer.echo(f"Report: {finished.report(run, overwrite=overwrite)}")


@app.command()
def settings(
    name: Annotated[
        str,
        typer.Argument(help="A key, section.key or section; default: all.", show_default=False),
    ] = "",
) -> None:
    """Show what settings mean: default, values, the tasks that have them."""
    from gatewise.shell import glossary

    found = glossary.find(name) if name else list(glossary.entries())
    for one in found:
        typer.secho(one.name, bold=True)
        owners = f"  Only for {one.owners}." if one.owners else ""
        typer.echo(f"  {one.meaning}{owners}")
        typer.echo(f"  Default: {one.default}. Values: {one.values.replace('`', '')}.")


@app.command()
def datasets(as_json: JsonOption = False) -> None:
    """List the data sets that ship with gatewise, with source and licence."""
    from gatewise.readers.datasets import DATASETS, described

    shown = {name: described(dataset) for name, dataset in DATASETS.items()}
    if as_json:
        terminal.show_json(shown, indent=1)
        return
    for name, content in shown.items():
        typer.secho(name, bold=True)
        terminal.show_pairs(content.items(), 8, indent=2)


@app.command()
def info(as_json: JsonOption = False) -> None:
    """Show what this machine uses: versions, backend, engine."""
    from gatewise import compiled, engine
    from gatewise.runs.artefact import environment

    facts = environment() | {"compiled": compiled.described(), "engine": engine.info()}
    if as_json:
        terminal.show_json(facts, indent=1)
        return
    kind = facts.pop("engine")
    facts["engine"] = f"{kind['kind']}: {kind['reason']}"
    terminal.show_pairs(facts.items(), 14)


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


def _show_overview(overview: Mapping[str, Any], *, as_json: bool) -> None:
    """Print on one screen how the data were understood; the notes were printed before."""
    from gatewise.shell.overview import pairs

    if as_json:
        terminal.show_json(overview)
    else:
        terminal.show_pairs(pairs(overview), 11)


def entry() -> None:
    """Run the command line as a process; signals that come afterwards have no effect."""
    try:
        main()
    except process.Stopped as request:
        process.leave(request)
    finally:
        process.ignore_signals()


def main() -> None:
    """Run the command line; an error that the user can fix is one sentence and exit status 1."""
    if sys.argv[1:2] != ["run"]:  # a script gets the environment unchanged
        # 3: XLA calls a slow compile, as on a busy machine, an error. Failures are raised, too.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        # They warn of a home that is not a folder, of networks that are compiled one by one, and of
        # damaged workbooks, which an error names as well.
        for name in ("matplotlib", "tensorflow", "calamine", "fastexcel"):
            logging.getLogger(name).setLevel(logging.ERROR)
    log = logging.getLogger("gatewise")
    log.setLevel(logging.INFO)
    log.addHandler(terminal.Notes(logging.INFO))
    process.run(app)
