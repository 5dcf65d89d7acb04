"""How data are understood: columns, sequences, parts, network and settings, before any training."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gatewise.arguments import experiment_for, flags, names_of
from gatewise.data.calendar import shift
from gatewise.judging.protocol import planned
from gatewise.readers import archives, conll, folders
from gatewise.readers.sources import Opened, placed
from gatewise.readers.tables import Table
from gatewise.settings import DataSettings, layer_of, to_toml
from gatewise.training.ready import Ready, make_ready, part_sizes

TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json", ".xlsx")
MOST_ALIKE = 12  # adjacent columns of one role and kind that have a line each
# The settings of [data] that give a column its role.
ROLES = (
    *("id", "time", "target", "label", "label_columns", "text", "sound"),
    *("past", "known", "static", "group", "features"),
)


def look(
    data: Any,
    *,
    task: str = "",
    target: str | Sequence[str] = (),
    horizon: int | None = None,
    settings: Mapping[str, Any] | str | Path | None = None,
) -> dict[str, Any]:
    """Read, split and prepare `data` as `gatewise.train` would, and return what was understood.

    The result has `task`, `columns`, `sequences`, `parts`, `network`, `parameters`, `training`,
    `notes` and `settings`.

    Raises:
        GatewiseError: training would refuse the data or the settings.
    """
    layers = [] if settings is None else [layer_of(settings)]
    layers.append(flags(task, horizon=horizon))
    experiment, source = experiment_for(data, layers, names_of(target))
    return overview(make_ready(experiment, source), source)


def overview(ready: Ready, source: Opened) -> dict[str, Any]:
    """Return what a ready experiment understood of its source, as values for JSON."""
    return {
        "task": ready.task.name,
        "columns": _columns(source, ready.experiment.data),
        "sequences": _sequences(ready),
        "parts": part_sizes(ready),
        "network": [_layer(one) for one in ready.network.layers if one.weights],
        "parameters": ready.network.count_params(),
        "training": planned(ready),
        "notes": ready.notes,
        "settings": tomllib.loads(to_toml(ready.experiment)),
    }


def pairs(overview: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The lines of an overview that `gatewise look` prints, each a name and its text."""
    yield "task", overview["task"]
    for (role, kind), alike in groupby(overview["columns"], lambda one: (one["role"], one["kind"])):
        columns = list(alike)
        shown = columns if len(columns) <= MOST_ALIKE else columns[:1]
        for one in shown:
            last = "" if shown == columns else f" to {columns[-1]['name']} ({len(columns)})"
            what = f"{role}, {kind}" if role else kind
            yield "column", f"{one['name']}{last}: {what}, such as {one['example'][:40]}"
    whole = overview["sequences"]
    yield "sequences", _counted(whole)
    if "first" in whole:
        every = f", every {whole['step'].removesuffix('i')}" if whole["step"] else ""
        zone = f" ({whole['zone']})" if whole["zone"] else ""
        yield "times", f"{whole['first']} to {whole['last']}{every}{zone}"
    for name, size in overview["parts"].items():
        words = [f"{n:,} {unit if n != 1 else unit[:-1]}" for unit, n in size.items()]
        yield name, ", ".join(words)
    runs = [(name, len(list(alike))) for name, alike in groupby(overview["network"])]
    layers = " > ".join(
        f"{name} ({n} times)" if n > 2 else " > ".join([name] * n) for name, n in runs
    )
    yield "network", f"{layers}: {overview['parameters']:,} parameters"
    for sentence in overview["training"]:
        yield "training", sentence


def _counted(sequences: Mapping[str, Any]) -> str:
    shortest, longest = sequences["shortest"], sequences["longest"]
    steps = f"{longest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
    return f"{sequences['count']:,}, of {steps} steps in a part"


def _columns(source: Opened, settings: DataSettings) -> list[dict[str, str]]:
    """The columns of a table with kind, first value and role; [] for other data."""
    table = _table(source)
    if table is None:
        return []
    roles = {
        column: role
        for role in reversed(ROLES)
        for column in np.atleast_1d(getattr(settings, role)).tolist()
    }
    if {*settings.text, settings.label} - {""} and not set(roles) & set(table.columns):
        return []  # the lines of a text file, which no row names, are read in another way
    kinds = table.kinds(settings.missing_values)
    return [
        {
            "name": name,
            "kind": kinds[name],
            "example": _example(next(iter(table.sample[name].drop_nulls()), "")),
            "role": roles.get(name, ""),
        }
        for name in table.columns
    ]


def _example(cell: Any) -> str:
    """A cell in one line.

    >>> _example(pl.Series([1, 2]))
    '[1, 2]'
    """
    return " ".join(str(cell.to_list() if isinstance(cell, pl.Series) else cell).split())


def _table(source: Opened) -> Table | None:
    """The table of a file or a frame; None for other data, and for a pipe, which is read once."""
    if source.named is not None:
        place = placed(source.named)
        is_folder = place.is_dir()
        if is_folder and not folders.holds_tables(place):
            return None
        # A table beside recordings holds their transcripts.
        if (is_folder or archives.is_archive(place)) and source.recordings is not None:
            return None
        file = source.file
        if is_folder or file.name.endswith(TABLES):
            return source.table()
        return source.table() if folders.holds_tables(file.path) else None
    if source.texts is not None or conll.are_lists_of_tokens(source.given):
        return None
    content = source.content(one_series=True)
    return content if isinstance(content, Table) else None


def _sequences(ready: Ready) -> dict[str, Any]:
    """The number of sequences and of their steps, and the times that they span."""
    parts = [part for part in vars(ready.splits).values() if part is not None and len(part)]
    lengths = np.concatenate([part.lengths for part in parts])
    summary: dict[str, Any] = {
        "count": len(np.unique(np.concatenate([part.ids for part in parts]))),
        "steps": int(lengths.sum()),
        "shortest": int(lengths.min()),
        "longest": int(lengths.max()),
        "columns": list(parts[0].columns),
    }
    times = [
        part.times[part.starts[0] : part.stops[-1]] for part in parts if part.times is not None
    ]
    if times:
        summary |= {
            "first": _time(min(one.min() for one in times), parts[0].zone),
            "last": _time(max(one.max() for one in times), parts[0].zone),
            "step": parts[0].step,
            "zone": parts[0].zone,
        }
    return summary


def _time(moment: Any, zone: str) -> str:
    """A local time without the zeros of a full day or minute; a number if times are numbers."""
    if not isinstance(moment, np.datetime64):
        return str(moment)
    if zone:
        moment += np.timedelta64(shift(np.array([moment.astype(np.int64)]), zone)[0], "m")
    return str(np.datetime_as_string(moment, unit="auto")).replace("T", " ")


def _layer(layer: Any) -> str:
    """One layer in words, such as `LSTM 64`."""
    inner = getattr(layer, "forward_layer", layer)
    size = getattr(inner, "units", getattr(inner, "filters", getattr(inner, "output_dim", "")))
    word = (
        type(inner).__name__ if inner is layer else f"{type(layer).__name__} {type(inner).__name__}"
    )
    return f"{word} {size}".strip()
