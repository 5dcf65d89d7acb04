"""Arguments and options that several verbs share, and the settings that they stand for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

# The names of the folders, because the tasks need packages that --help does not wait for.
TASKS = sorted(path.parent.name for path in Path(__file__).parent.glob("tasks/*/task.py"))

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


def layers_of(config: Path | None, assignments: list[str] | None) -> list[Mapping[str, Any]]:
    """The settings of --config and of each --set."""
    from gatewise.settings import assignment, layer_of

    layers: list[Mapping[str, Any]] = [layer_of(config)] if config else []
    for text in assignments or []:
        section, key, value = assignment(text)
        layers.append({section: {key: value}})
    return layers
