"""The section on the training history: a curve for the loss and for each metric."""

from collections.abc import Mapping

import numpy as np
from matplotlib.ticker import MaxNLocator

from gatewise.reporting import charts, formats
from gatewise.reporting.formats import Numbers
from gatewise.reporting.sections import Key, Picture, Record, Section


def section(run: Record) -> Section:
    """Draw the loss and other metrics by epoch; the section is empty if nothing was trained."""
    columns = {name: formats.floats(values) for name, values in run.history.items()}
    columns = {name: values for name, values in columns.items() if np.isfinite(values).any()}
    drawn = [n for n in columns if n not in {"epoch", "learning_rate", "seconds"}]
    names = dict.fromkeys(["loss", *(name.removeprefix("val_") for name in drawn)])
    shown = [name for name in names if name in drawn or f"val_{name}" in drawn]
    pictures = [_curve(run, columns, name) for name in shown[:4]]
    rates = columns.get("learning_rate")
    if pictures and rates is not None and np.nanmax(rates) > 1.001 * np.nanmin(rates):
        figure, axes = charts.axes()
        charts.line(axes, _epochs(columns, len(rates)), rates, "muted")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        pictures.append(Picture(charts.svg(figure, "learning rate by epoch"), "learning rate"))
    networks = run.metrics.get("networks", 1)
    lead = f"Of the first of {networks} networks." if networks > 1 else ""
    return Section("Training history", lead, pictures=pictures)


def _epochs(columns: Mapping[str, Numbers], length: int) -> Numbers:
    return columns.get("epoch", np.arange(1.0, length + 1))


def _curve(run: Record, columns: Mapping[str, Numbers], name: str) -> Picture:
    """One metric by epoch: training, validation, the best epoch and the best baseline."""
    figure, axes = charts.axes()
    keys: list[Key] = []
    drawn: list[Numbers] = []
    for column, colour, word in ((name, "muted", "train"), (f"val_{name}", "accent", "validation")):
        if column in columns:
            values = columns[column]
            charts.line(axes, _epochs(columns, len(values)), values, colour)
            keys.append(Key(colour, word))
            drawn.append(values)
    best, curve = run.metrics.get("best_epoch"), columns.get(f"val_{name}")
    label = f"{name} by epoch"
    if best and curve is not None and best <= len(curve):
        where = _epochs(columns, len(curve))[best - 1]
        axes.axvline(where, color=charts.COLOURS["muted"], linewidth=0.8, linestyle=(0, (1, 2)))
        axes.plot([where], [curve[best - 1]], "o", color=charts.COLOURS["accent"], markersize=6)
        keys.append(Key("accent", f"best epoch, {best}", "dot"))
        label += f"; best epoch {best}, where validation is at {formats.number(curve[best - 1])}"
    validation = run.metrics.get("validation") or {}
    level = formats.floats([validation.get("value")])
    if validation.get("metric") in {name, f"val_{name}"} and np.isfinite(level).all():
        axes.axhline(
            level[0], color=charts.COLOURS["s1"], linewidth=1.2, linestyle=charts.DASHES[1]
        )
        keys.append(Key("s1", f"{validation.get('baseline') or 'best baseline'}", "dash"))
        label += f"; the best baseline is at {formats.number(level[0])}"
        drawn.append(level)
    epochs = _epochs(columns, max(map(len, drawn)))
    if len(epochs) == 1:
        axes.set_xlim(epochs[0] - 0.5, epochs[0] + 0.5)
    logarithmic = _wide(np.concatenate(drawn))
    if logarithmic:
        axes.set_yscale("log")
        charts.plain_powers(axes.yaxis)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    title = f"{name}{', logarithmic' if logarithmic else ''}"
    return Picture(charts.svg(figure, label), title, "", keys)


def _wide(values: Numbers) -> bool:
    """True if the values span so much that they need a logarithmic axis."""
    known = values[np.isfinite(values)]
    return bool(known.size and known.min() > 0 and known.max() > 40 * known.min())
