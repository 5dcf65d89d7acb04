"""The report's sections of `forecast`: fan charts, errors by step and by series, coverage."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import matplotlib.dates
import numpy as np
from matplotlib.ticker import MaxNLocator

from gatewise.metrics import find, sign_of
from gatewise.reporting import charts, formats
from gatewise.reporting.formats import Numbers
from gatewise.reporting.sections import (
    Cell,
    Key,
    Picture,
    Record,
    Section,
    Table,
    coverage,
)
from gatewise.tasks.task import NETWORK

DATES: Any = matplotlib.dates  # not typed
MOST_ROWS = 100  # in a table of series


def sections(run: Record, details: Mapping[str, Any]) -> list[Section]:
    """The sections of this task, from `details` of metrics.json; an empty one is left out."""
    return [
        _fans(run, details),
        _by_step(details, run.metrics),
        coverage(details.get("coverage") or []),
        _by_series(details.get("by_series") or {}, run.metrics),
    ]


def _fans(run: Record, details: Mapping[str, Any]) -> Section:
    chosen = (details.get("examples") or [])[: run.settings.report.examples]
    pairs = _bands(next((one.get("quantiles") or {} for one in chosen), {}))
    keys = [Key("muted", "past"), Key("ink", "truth"), Key("accent", "forecast")]
    for (low, high), depth in zip(pairs, ("band", "band2", "band2"), strict=False):
        keys.append(
            Key(depth, f"{formats.percent(float(low))} to {formats.percent(float(high))}", "band")
        )
    names = [
        formats.listed([one[key] for key in ("id", "target") if one.get(key) not in (None, "")])
        for one in chosen
    ]
    pictures = [
        _fan(one, name if len(set(names)) > 1 else "")
        for one, name in zip(chosen, names, strict=True)
    ]
    share = details.get("share") or 0.0
    lead = f"Each forecast is {formats.percent(1 - share)} LSTM and {formats.percent(share)} ridge."
    return Section(
        "Forecasts and truth", lead if share else "", keys if chosen else (), pictures=pictures
    )


def _bands(quantiles: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of quantiles from the outermost to the innermost; the median has no pair."""
    ordered = sorted(quantiles, key=float)
    return [(ordered[k], ordered[-1 - k]) for k in range(len(ordered) // 2)][:3]


def _fan(one: Mapping[str, Any], name: str) -> Picture:
    truth, quantiles = formats.floats(one.get("truth") or []), one.get("quantiles") or {}
    length = max([len(truth), *(len(values) for values in quantiles.values())])
    past = formats.floats(one.get("past") or [])[-max(24, 4 * length) :]
    before, after = _moments(one, len(past), length)
    figure, axes = charts.axes(height=190)
    alone = length == 1  # draw a single step as a point, and its band with some width
    edges = after if not alone else after[0] + np.array([-0.4, 0.4]) * _spacing(before)
    for low, high in _bands(quantiles):
        bounds = [np.repeat(formats.floats(quantiles[q]), 1 + alone) for q in (low, high)]
        keep = charts.spread(len(edges))
        axes.fill_between(
            edges[keep],
            *(b[keep] for b in bounds),
            color=charts.COLOURS["accent"],
            alpha=0.2,
            linewidth=0,
        )
    charts.line(axes, before, past, "muted", width=1.1)
    joined = np.concatenate([past[-1:], truth]), np.concatenate([before[-1:], after[: len(truth)]])
    charts.line(axes, joined[1], joined[0], "ink", width=1.3)
    ordered = sorted(quantiles, key=float)
    if ordered:
        middle = "0.5" if "0.5" in quantiles else ordered[len(ordered) // 2]
        charts.line(axes, after, formats.floats(quantiles[middle]), "accent", width=1.8)
    if alone:
        axes.plot(after[: len(truth)], truth, "o", color=charts.COLOURS["ink"], markersize=4)
    if one.get("times") and _dates([*one["times"][:1]]) is not None:
        # With fewer ticks at most, 34 months fit neither months nor years, and Matplotlib warns.
        locator = DATES.AutoDateLocator(minticks=3, maxticks=7)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(DATES.ConciseDateFormatter(locator))
    else:
        axes.set_xlabel("time" if one.get("times") else "steps from now")
    title = " · ".join(formats.known([name, one.get("kind")])) or "Forecast"
    moment, error = (one.get("times") or [""])[0], one.get("error")
    words = [f"from {str(moment).replace('T', ' ')}" if moment != "" else ""]
    words.append("" if error is None else f"error {formats.number(error)}")
    alt = f"{title}: past, truth, forecast and its bands, {formats.count(length, 'step')} ahead"
    return Picture(
        charts.svg(figure, alt), title[:1].upper() + title[1:], ", ".join(formats.known(words))
    )


def _moments(one: Mapping[str, Any], past: int, length: int) -> tuple[Numbers, Numbers]:
    """The past and future positions on the time axis: dates or numbers if known, else steps."""
    times = [(one.get("past_times") or [])[-past:] if past else [], one.get("times") or []]
    if len(times[0]) == past and len(times[1]) >= length:
        dated = _dates([*times[0], *times[1]])
        if dated is not None:
            return dated[:past], dated[past : past + length]
        if not any(isinstance(moment, str) for moment in times[1]):
            return formats.floats(times[0]), formats.floats(times[1][:length])
    return np.arange(1.0 - past, 1.0), np.arange(1.0, length + 1)


def _dates(moments: Sequence[Any]) -> Numbers | None:
    try:
        parsed = [datetime.fromisoformat(moment).replace(tzinfo=None) for moment in moments]
    except (TypeError, ValueError):
        return None
    return np.asarray(DATES.date2num(parsed), dtype=np.float64)


def _spacing(before: Numbers) -> float:
    return float(before[-1] - before[-2]) if len(before) > 1 else 1.0


def _by_step(details: Mapping[str, Any], metrics: Mapping[str, Any]) -> Section:
    errors = details.get("by_horizon") or {}
    lines = {name: formats.floats(values) for name, values in errors.items() if name != "step"}
    lines = {name: values for name, values in lines.items() if np.isfinite(values).any()}
    if not lines or max(map(len, lines.values())) < 2:  # the metrics table shows a single step
        return Section("")
    model = next(iter(lines))
    figure, axes = charts.axes(height=230)
    keys = []
    for (name, values), colour, dash in zip(
        lines.items(), charts.SERIES, charts.DASHES, strict=False
    ):
        steps = formats.floats(errors.get("step") or range(1, len(values) + 1))[: len(values)]
        own = name == model
        charts.line(axes, steps, values, colour, width=2.2 if own else 1.2, dash=dash)
        keys.append(Key(colour, name, "line" if dash == "-" else "dash"))
    top, caption = _ceiling(lines, model), ""
    if top:
        axes.set_ylim(0, top)
        out = [name for name, values in lines.items() if np.nanmax(values) > top]
        caption = f"{formats.listed(out)}: cut off at the top, so that the other lines differ."
    axes.set_xlabel("steps ahead")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    metric = str(details.get("by_horizon_metric") or "mae")
    alt = f"{metric} by step of the horizon for " + ", ".join(lines)
    ends = lines[model][[0, -1]]
    alt += f"; the {model} goes from {formats.number(ends[0])} to {formats.number(ends[1])}"
    picture = Picture(charts.svg(figure, alt), metric, caption, keys)
    units = metrics.get("units_note") or ""
    return Section("Error by step of the horizon", lead=formats.sentence(units), pictures=[picture])


def _ceiling(lines: Mapping[str, Numbers], model: str) -> float:
    """The upper limit of the axis if one line would flatten the others; 0: no limit."""
    tops = sorted(float(np.nanmax(values)) for values in lines.values())
    limit = max(float(np.nanmax(lines[model])), tops[min(1, len(tops) - 1)])
    shown = max(top for top in tops if top <= max(4 * limit, tops[0]))
    return 1.08 * shown if shown < tops[-1] else 0.0


def _by_series(series: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Any]) -> Section:
    """One row per series; the series where the LSTM is worst against the baseline come first."""
    if len(series) < 2:
        return Section("")
    columns = formats.union(series.values())
    values = {
        name: formats.floats([one.get(column) for column in columns])
        for name, one in series.items()
    }
    own = -sign_of(columns[0]) or 1  # unknown metrics count as errors

    def weakness(name: str) -> float:
        first, last = values[name][0], values[name][-1]
        ratio = first / last if len(columns) > 1 and last else first
        return float(own * ratio) if np.isfinite(ratio) else -math.inf

    ordered = sorted(series, key=weakness, reverse=True)[:MOST_ROWS]
    rows: list[list[str | Cell]] = []
    for name in ordered:
        best = np.nanmin(own * values[name]) if np.isfinite(values[name]).any() else math.nan
        digits = formats.decimals(values[name])
        cells = [
            Cell(formats.number(v, digits), best=bool(len(columns) > 1 and own * v == best))
            for v in values[name]
        ]
        rows.append([name, *cells])
    headings = [f"LSTM {name}" if find(name) else name for name in columns]
    left = len(series) - len(rows)
    note = f"{left:,} more are not shown." if left else ""
    folded = f"All {len(series):,}, the weakest first" if len(series) > 12 else ""
    model = NETWORK if find(columns[0]) else columns[0]
    lead = "" if len(columns) < 2 else _won(values.values(), own, model)
    word = "target" if len((metrics.get("details") or {}).get("targets") or []) > 1 else "series"
    table = Table("Error by series", [word, *headings], rows, note=note, folded=folded)
    return Section(f"Error by {word}", lead, tables=[table])


def _won(values: Iterable[Numbers], own: int, model: str) -> str:
    pairs = [(one[0], one[-1]) for one in values]
    won = sum(own * first < own * last for first, last in pairs)
    return f"The {model} is better than the baseline in {won:,} of {len(pairs):,}."
