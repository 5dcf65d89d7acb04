"""Arguments and options that several verbs share, and the settings that they stand for."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gatewise.shell import terminal

# The names of the folders, because the tasks need packages that --help does not wait for.
TASKS = sorted(path.parent.name for path in Path(__file__).parents[1].glob("tasks/*/task.py"))

DATA = "A file, or a data set of `gatewise datasets`."

DataArgument = Annotated[str | None, typer.Argument(help=DATA, show_default=False)]
RequiredDataArgument = Annotated[str, typer.Argument(help=DATA, show_default=False)]
RunArgument = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]
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
LookbackOption = Annotated[int | None, typer.Option(help="Past steps that the network reads.")]
EpochsOption = Annotated[int | None, typer.Option(help="Passes over the training part, at most.")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace the output file if it exists.")
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object on standard output, and nothing else."),
]


def _quiet(given: bool) -> None:
    if given:
        terminal.set_level(logging.WARNING)


def _verbose(given: bool) -> None:
    if given:
        terminal.set_level(logging.DEBUG)


def _levels(
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            callback=_quiet,
            expose_value=False,
            help="Print results and warnings only.",
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            callback=_verbose,
            expose_value=False,
            help="Also print each phase, and the traceback of an error.",
        ),
    ] = False,
) -> None:
    """Declares the options that every verb has."""


_declaring = typer.Typer(add_completion=False)
_declaring.command()(_levels)
LEVELS: list[Any] = typer.main.get_command(_declaring).params


class Verbs(TyperGroup):
    """The verbs, each with the options `LEVELS`."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The verb of this name; None if there is none."""
        verb = super().get_command(ctx, cmd_name)
        if verb is not None and LEVELS[0] not in verb.params:
            verb.params += LEVELS
        return verb


def layers_of(config: Path | None, assignments: list[str] | None) -> list[Mapping[str, Any]]:
    """The settings of --config and of each --set."""
    from gatewise.settings import assignment, layer_of

    layers: list[Mapping[str, Any]] = [layer_of(config)] if config else []
    for text in assignments or []:
        section, key, value = assignment(text)
        layers.append({section: {key: value}})
    return layers
