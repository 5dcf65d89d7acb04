"""One self-contained page on a run: the verdict first, then what led to it.

The page loads nothing and runs nothing. Its figures are SVG inside the HTML, drawn in a handful of
named colours that the style sheet sets, once for light and once for dark. Words that come from the
data (ids, labels, names of baselines) stand in the HTML around a figure, never in the figure: there
they wrap, can be selected and need no glyph that matplotlib lacks.
"""

import io
import math
import re
import shlex
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from hashlib import sha256
from importlib import resources
from pathlib import PurePath
from typing import Any

import jinja2
import matplotlib
import matplotlib.dates
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from gatewise.experiment import Experiment, to_toml
from gatewise.tasks.task import NETWORK

Numbers = NDArray[np.float64]
DATES: Any = matplotlib.dates  # not typed


@dataclass(frozen=True)
class Record:
    """What a run leaves behind, as far as the page tells it."""

    settings: Experiment
    metrics: dict[str, Any]  # metrics.json
    history: dict[str, list[float]]  # the columns of history.csv
    environment: dict[str, Any]  # environment.json


@dataclass(frozen=True)
class Cell:
    """One cell of a table that is more than its text."""

    text: str
    best: bool = False
    heat: float | None = None  # 0 to 1: how deep a cell of a heat map is coloured
    hit: bool = True  # the colour of that heat: a right answer, or a wrong one


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row is its heading."""

    label: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    texts: int = 1  # so many columns from the left hold words, the others numbers
    note: str = ""
    folded: str = ""  # shown only when this line is opened
    heat: bool = False

    @property
    def wide(self) -> bool:
        """Whether a phone is too narrow for it, so that it becomes a list there."""
        columns = zip(self.columns, *self.rows, strict=True)
        longest = [max(len(getattr(one, "text", one)) for one in column) for column in columns]
        longest[: self.texts] = [int(np.clip(one, *WORDS_TAKE)) for one in longest[: self.texts]]
        return not self.heat and sum(length + 2 for length in longest) > WIDEST


@dataclass(frozen=True)
class Key:
    """One line of a legend: a colour of `COLOURS` and what it stands for."""

    colour: str
    text: str
    mark: str = "line"  # line, dash, dot or band


@dataclass(frozen=True)
class Picture:
    """A figure: what is drawn, what it says to those who do not see it, and the words around it."""

    svg: Markup
    title: str = ""
    caption: str = ""
    keys: Sequence[Key] = ()
    sound: str = ""  # a data URI that can be played


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    lead: str = ""
    keys: Sequence[Key] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    passages: Sequence[tuple[str, str]] = ()  # names, and texts of several lines
    small: bool = False  # small pictures: three in a row where there is room


def draw(run: Record) -> str:
    """The page on a run: a whole HTML document that needs no other file.

    The same record gives the same bytes.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        sections = _sections(run)
        verdict = _verdict(run.metrics)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    template = resources.files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        title=_title(run),
        kicker=run.metrics.get("run") or "",
        verdict=verdict,
        caveats=run.metrics.get("caveats") or [],
        asked=_asked(run),
        parts=_parts(run.metrics.get("parts") or {}),
        notes=run.metrics.get("notes") or [],
        scores=_scores(run.metrics),
        first=_first(run.metrics),
        meanings=_meanings(run.metrics),
        units=run.metrics.get("units_note") or "",
        thinned=_thinned(run.metrics.get("predictions") or {}),
        sections=sections,
        changed=_changed(run.settings),
        settings=to_toml(run.settings),
        environment=[(str(name), _plain(value)) for name, value in run.environment.items()],
        cost=_cost(run),
        command=_command(run),
    )


def _sections(run: Record) -> list[Section]:
    draw = TASKS.get(str(run.metrics.get("task")))
    details = run.metrics.get("details") or {}
    sections = [_learning(run)]
    if draw and details:
        sections += draw(run, details)
    return [one for one in sections if one.lead or one.pictures or one.tables or one.passages]


# The first things said


# Which way a metric is better (-1 lower, 1 higher, 0 neither), and what it is.
METRICS = {
    "mae": (-1, "mean absolute error: how far the forecast is off, on average"),
    "mse": (-1, "mean squared error: large misses weigh most"),
    "rmse": (-1, "root mean squared error: as mse, in the units of the target"),
    "mase": (-1, "mae, divided by that of the seasonal naive forecast on the training part"),
    "smape": (-1, "error as a share of the mean of truth and forecast, on average"),
    "wql": (-1, "weighted quantile loss: how well all the quantiles fit together"),
    "log_loss": (-1, "surprise at the true label; certain mistakes cost most"),
    "ece": (
        0,
        "expected calibration error: how far confidence is from accuracy, best 0; none is bold, "
        "because an answer that always gives the shares of the classes has next to none of it",
    ),
    "accuracy": (1, "share of the answers that are right"),
    "accuracy_new": (1, "accuracy on words that training never held in this spelling"),
    "span_f1": (1, "f1 of spans: both ends and the type must be right, as seqeval counts"),
    "sentences": (1, "share of the sentences without any mistake"),
    "f1_macro": (1, "f1 of each class, averaged: every class counts the same"),
    "roc_auc": (1, "chance that a random member of a class scores above a random other"),
    "bleu": (1, "runs of one to four words that the reference holds as well, 0 to 100"),
    "chrf": (1, "runs of one to six letters shared with the reference, 0 to 100"),
    "perplexity": (-1, "how many equally likely tokens the choice of each token is like"),
    "nats_per_token": (-1, "surprise at each token; e to it is the perplexity"),
    "bits_per_character": (-1, "the same surprise in bits, a character of the text"),
    "wer": (-1, "words that are wrong, missing or too many, by the words that were said"),
    "cer": (-1, "characters that are wrong, missing or too many, by those of the truth"),
    "exact": (1, "share of the recordings without any mistake"),
    "coverage": (
        0,
        "share of the truth inside the outer band of quantiles; closest to nominal is best",
    ),
}
WORDS = {-1: "; lower is better", 1: "; higher is better", 0: ""}


def _meaning(metric: str) -> tuple[int, str]:
    """The direction of a metric and its one line; 0 and nothing for one that is not known."""
    bare = metric.removeprefix("val_")
    return METRICS.get("coverage" if bare.startswith("coverage") else bare, (0, ""))


def _title(run: Record) -> str:
    data = PurePath(str(run.metrics.get("data") or run.settings.data.path or "")).name
    task = str(run.metrics.get("task") or "run").capitalize()
    return run.settings.report.title or (f"{task}: {data}" if data else task)


def _verdict(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The sentence, its tone and the interval drawn around zero."""
    verdict = metrics.get("verdict") or {}
    if not verdict:
        none = "There is no baseline to compare the LSTM with, so there is no verdict."
        sentence = str(metrics.get("unjudged") or none)
        return {"tone": "even", "sentence": sentence, "picture": None}
    tones = {"True": "better", "False": "worse"}
    tone = tones.get(str(verdict.get("better")), "even")
    relation = "not distinguishable from" if tone == "even" else f"{tone} than"
    against, metric = verdict.get("against", "the best baseline"), verdict.get("metric", "")
    sentence = (
        verdict.get("sentence") or f"The {_answer(metrics)} is {relation} {against} in {metric}."
    )
    return {"tone": tone, "sentence": sentence, "picture": _interval(verdict, tone)}


def _interval(verdict: Mapping[str, Any], tone: str) -> Picture | None:
    difference, low, high = _numbers([verdict.get(key) for key in ("difference", "low", "high")])
    if not np.isfinite(difference):
        return None
    bounded = bool(np.isfinite([low, high]).all())
    low, high = (low, high) if bounded else (difference, difference)
    reach = 1.25 * float(max(abs(low), abs(high), abs(difference))) or 1.0
    figure, axes = _axes(width=420, height=84, grid="")
    axes.axvline(0, color=COLOURS["ink"], linewidth=1)
    axes.plot([low, high], [0, 0], color=COLOURS[tone], linewidth=9, alpha=0.35)
    axes.plot([difference], [0], "o", color=COLOURS[tone], markersize=9)
    axes.set(xlim=(-reach, reach), ylim=(-1, 1.9), yticks=[])
    axes.xaxis.set_major_locator(MaxNLocator(5, symmetric=True))
    metric, against = str(verdict.get("metric", "")), str(verdict.get("against", "baseline"))
    direction = _meaning(metric)[0]
    if direction:
        better, worse = ("left", "right") if direction < 0 else ("right", "left")
        for side, word in ((better, "better"), (worse, "worse")):
            arrow = f"← {word}" if side == "left" else f"{word} →"
            place = 0.0 if side == "left" else 1.0
            axes.text(place, 0.98, arrow, transform=axes.transAxes, ha=side, va="top")
    caption = f"{verdict.get('answer') or NETWORK} minus {against}, in {metric}"
    digits = _decimals([low, high, difference])
    said = f"{caption}: {_number(difference, digits)}"
    if bounded:
        caption += "; the bar is the bootstrap interval of the paired difference"
        said += f", between {_number(low, digits)} and {_number(high, digits)}"
    return Picture(_svg(figure, said), caption=caption + ".")


def _scores(metrics: Mapping[str, Any]) -> Table:
    """The answer first, then the baselines; the best of each metric stands out."""
    alone = {f"{NETWORK} alone": metrics["alone"]} if metrics.get("alone") else {}
    everyone = {_answer(metrics): metrics.get("metrics") or {}, **alone}
    everyone |= metrics.get("baselines") or {}
    names = _union(everyone.values())
    columns = [_score_column(name, [one.get(name) for one in everyone.values()]) for name in names]
    rows = [[who, *cells] for who, *cells in zip(everyone, *columns, strict=True)]
    arrows = {-1: " ↓", 1: " ↑", 0: ""}
    headings = ["", *(name + arrows[_meaning(name)[0]] for name in names)]
    return Table("Scores on the test part", headings, rows)


def _answer(metrics: Mapping[str, Any]) -> str:
    """What the answer is called; folders of older versions do not say, and have the network's."""
    return str(metrics.get("answer") or NETWORK)


def _first(metrics: Mapping[str, Any]) -> str:
    """What the table's first rows are."""
    answer = _answer(metrics)
    if answer == NETWORK:
        return f"The {NETWORK}"
    alone = f", then the {NETWORK} alone" if metrics.get("alone") else ""
    return f"The mean of the probabilities of {answer.replace(' with ', ' and ')}{alone}"


def _score_column(metric: str, values: Sequence[Any]) -> list[Cell]:
    digits, direction = _decimals(values), _meaning(metric)[0]
    texts = [_number(value, digits) for value in values]
    known = [value for value in _numbers(values) if np.isfinite(value)]
    best = (
        _number(max(known, key=lambda value: direction * value), digits) if len(known) > 1 else ""
    )
    return [Cell(text, best=bool(direction) and text == best) for text in texts]


def _meanings(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each metric of the table with its direction and definition, where they are known."""
    names = _union([metrics.get("metrics") or {}, *(metrics.get("baselines") or {}).values()])
    known = [(name, *_meaning(name)) for name in names]
    return [(name, text + WORDS[direction]) for name, direction, text in known if text]


def _thinned(predictions: Mapping[str, int]) -> str:
    """A sentence when predictions.csv holds only some of the answers."""
    answers, of = predictions.get("answers", 0), predictions.get("of", 0)
    if answers >= of:
        return ""
    return f"predictions.csv holds {answers:,} of the {of:,} answers, evenly spread."


def _asked(run: Record) -> list[tuple[str, str]]:
    """What was asked for and what answered, as pairs of a word and its text."""
    metrics, details = run.metrics, run.metrics.get("details") or {}
    pairs = [
        ("Task", str(metrics.get("task", ""))),
        ("Data", str(metrics.get("data", ""))),
        ("Target", _list(details.get("targets") or [])),
        ("Horizon", _steps(details)),
        ("Classes", _list(details.get("classes") or [])),
        ("Network", _network(run)),
        ("Training", _training(metrics)),
        ("Engine", " · ".join(_known((metrics.get("engine") or {}).values()))),
    ]
    return [(name, text) for name, text in pairs if text]


def _steps(details: Mapping[str, Any]) -> str:
    if not details.get("horizon"):
        return ""
    texts = [f"{_count(details['horizon'], 'step')} ahead"]
    if details.get("lookback"):
        texts.append(f"from the last {details['lookback']:,}")
    if (details.get("season") or 0) > 1:
        texts.append(f"season of {details['season']:,}")
    return ", ".join(texts)


def _network(run: Record) -> str:
    layers = ", ".join(str(units) for units in run.settings.network.units)
    parameters = run.metrics.get("parameters")
    texts = [f"LSTM of {layers} units" if layers else "", run.settings.network.build]
    own = ", ".join(_known([*texts, f"{parameters:,} parameters" if parameters else ""]))
    beside = _answer(run.metrics).removeprefix(NETWORK).removeprefix(" with ")
    return f"{own}; averaged with {beside}" if beside else own


def _training(metrics: Mapping[str, Any]) -> str:
    if not metrics.get("epochs"):
        return ""
    text = _count(metrics["epochs"], "epoch")
    text += f", best after {metrics['best_epoch']}" if metrics.get("best_epoch") else ""
    return text + (f"; stopped: {metrics['stopped']}" if metrics.get("stopped") else "")


def _parts(parts: Mapping[str, Mapping[str, Any]]) -> Table | None:
    if not parts:
        return None
    columns = _union(parts.values())
    rows = [[name, *(_number(one.get(key), 0) for key in columns)] for name, one in parts.items()]
    return Table("Sizes of the parts", ["", *columns], rows)


# How it learnt


def _learning(run: Record) -> Section:
    """Loss and further metrics by epoch; none of it when nothing was trained."""
    columns = {name: _numbers(values) for name, values in run.history.items()}
    columns = {name: values for name, values in columns.items() if np.isfinite(values).any()}
    drawn = [n for n in columns if n not in {"epoch", "learning_rate", "seconds"}]
    names = dict.fromkeys(["loss", *(name.removeprefix("val_") for name in drawn)])
    shown = [name for name in names if name in drawn or f"val_{name}" in drawn]
    pictures = [_curve(run, columns, name) for name in shown[:4]]
    rates = columns.get("learning_rate")
    if pictures and rates is not None and np.nanmax(rates) > 1.001 * np.nanmin(rates):
        figure, axes = _axes()
        _line(axes, _epochs(columns, len(rates)), rates, "muted")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        pictures.append(Picture(_svg(figure, "learning rate by epoch"), "learning rate"))
    return Section("How it learnt", pictures=pictures)


def _epochs(columns: Mapping[str, Numbers], length: int) -> Numbers:
    return columns.get("epoch", np.arange(1.0, length + 1))


def _curve(run: Record, columns: Mapping[str, Numbers], name: str) -> Picture:
    """One metric by epoch: training, validation, the best epoch and the best baseline."""
    figure, axes = _axes()
    keys: list[Key] = []
    drawn: list[Numbers] = []
    for column, colour, word in ((name, "muted", "train"), (f"val_{name}", "accent", "validation")):
        if column in columns:
            values = columns[column]
            _line(axes, _epochs(columns, len(values)), values, colour)
            keys.append(Key(colour, word))
            drawn.append(values)
    best, curve = run.metrics.get("best_epoch"), columns.get(f"val_{name}")
    said = f"{name} by epoch"
    if best and curve is not None and best <= len(curve):
        where = _epochs(columns, len(curve))[best - 1]
        axes.axvline(where, color=COLOURS["muted"], linewidth=0.8, linestyle=(0, (1, 2)))
        axes.plot([where], [curve[best - 1]], "o", color=COLOURS["accent"], markersize=6)
        keys.append(Key("accent", f"best epoch, {best}", "dot"))
        said += f"; best epoch {best}, where validation is at {_number(curve[best - 1])}"
    validation = run.metrics.get("validation") or {}
    level = _numbers([validation.get("value")])
    if validation.get("metric") in {name, f"val_{name}"} and np.isfinite(level).all():
        axes.axhline(level[0], color=COLOURS["s1"], linewidth=1.2, linestyle=DASHES[1])
        keys.append(Key("s1", f"{validation.get('baseline') or 'best baseline'}", "dash"))
        said += f"; the best baseline is at {_number(level[0])}"
        drawn.append(level)
    epochs = _epochs(columns, max(map(len, drawn)))
    if len(epochs) == 1:
        axes.set_xlim(epochs[0] - 0.5, epochs[0] + 0.5)
    logarithmic = _wide(np.concatenate(drawn))
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    title = f"{name}{', logarithmic' if logarithmic else ''}"
    return Picture(_svg(figure, said), title, "", keys)


def _wide(values: Numbers) -> bool:
    """Whether values span so much that only a logarithmic axis shows them."""
    known = values[np.isfinite(values)]
    return bool(known.size and known.min() > 0 and known.max() > 40 * known.min())


# Forecast


def _forecast(run: Record, details: Mapping[str, Any]) -> list[Section]:
    return [
        _fans(run, details),
        _by_step(details, run.metrics),
        _coverage(details.get("coverage") or []),
        _by_series(details.get("by_series") or {}, run.metrics),
    ]


def _fans(run: Record, details: Mapping[str, Any]) -> Section:
    chosen = (details.get("examples") or [])[: run.settings.report.examples]
    pairs = _bands(next((one.get("quantiles") or {} for one in chosen), {}))
    keys = [Key("muted", "past"), Key("ink", "truth"), Key("accent", "forecast")]
    for (low, high), depth in zip(pairs, ("band", "band2", "band2"), strict=False):
        keys.append(Key(depth, f"{_percent(float(low))} to {_percent(float(high))}", "band"))
    names = [
        _list([one[key] for key in ("id", "target") if one.get(key) not in (None, "")])
        for one in chosen
    ]
    pictures = [
        _fan(one, name if len(set(names)) > 1 else "")
        for one, name in zip(chosen, names, strict=True)
    ]
    return Section("Forecasts beside the truth", keys=keys if chosen else (), pictures=pictures)


def _bands(quantiles: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Quantiles in pairs from the outermost inwards; the middle one stands alone."""
    ordered = sorted(quantiles, key=float)
    return [(ordered[k], ordered[-1 - k]) for k in range(len(ordered) // 2)][:3]


def _fan(one: Mapping[str, Any], name: str) -> Picture:
    truth, quantiles = _numbers(one.get("truth") or []), one.get("quantiles") or {}
    length = max([len(truth), *(len(values) for values in quantiles.values())])
    past = _numbers(one.get("past") or [])[-max(24, 4 * length) :]
    before, after = _moments(one, len(past), length)
    figure, axes = _axes(height=190)
    alone = length == 1  # a single step makes no line: mark it, and let its band have some width
    edges = after if not alone else after[0] + np.array([-0.4, 0.4]) * _spacing(before)
    for low, high in _bands(quantiles):
        bounds = [np.repeat(_numbers(quantiles[q]), 1 + alone) for q in (low, high)]
        keep = _every(len(edges))
        axes.fill_between(
            edges[keep], *(b[keep] for b in bounds), color=COLOURS["accent"], alpha=0.2, linewidth=0
        )
    _line(axes, before, past, "muted", width=1.1)
    joined = np.concatenate([past[-1:], truth]), np.concatenate([before[-1:], after[: len(truth)]])
    _line(axes, joined[1], joined[0], "ink", width=1.3)
    ordered = sorted(quantiles, key=float)
    if ordered:
        middle = "0.5" if "0.5" in quantiles else ordered[len(ordered) // 2]
        _line(axes, after, _numbers(quantiles[middle]), "accent", width=1.8)
    if alone:
        axes.plot(after[: len(truth)], truth, "o", color=COLOURS["ink"], markersize=4)
    if one.get("times") and _dates([*one["times"][:1]]) is not None:
        locator = DATES.AutoDateLocator(minticks=3, maxticks=6)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(DATES.ConciseDateFormatter(locator))
    else:
        axes.set_xlabel("time" if one.get("times") else "steps from now")
    title = " · ".join(_known([name, one.get("kind")])) or "Forecast"
    moment, error = (one.get("times") or [""])[0], one.get("error")
    words = [f"from {str(moment).replace('T', ' ').removesuffix(':00')}" if moment != "" else ""]
    words.append("" if error is None else f"error {_number(error)}")
    said = f"{title}: past, truth, forecast and its bands, {_count(length, 'step')} ahead"
    return Picture(_svg(figure, said), title[:1].upper() + title[1:], ", ".join(_known(words)))


def _moments(one: Mapping[str, Any], past: int, length: int) -> tuple[Numbers, Numbers]:
    """Where past and future steps stand on the time axis: dates or numbers given, else steps."""
    given = [(one.get("past_times") or [])[-past:] if past else [], one.get("times") or []]
    if len(given[0]) == past and len(given[1]) >= length:
        dated = _dates([*given[0], *given[1]])
        if dated is not None:
            return dated[:past], dated[past : past + length]
        if not any(isinstance(moment, str) for moment in given[1]):
            return _numbers(given[0]), _numbers(given[1][:length])
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
    given = details.get("by_horizon") or {}
    lines = {name: _numbers(values) for name, values in given.items() if name != "step"}
    lines = {name: values for name, values in lines.items() if np.isfinite(values).any()}
    if not lines or max(map(len, lines.values())) < 2:  # a single step is the table's own number
        return Section("")
    figure, axes = _axes(height=230)
    keys = []
    for (name, values), colour, dash in zip(lines.items(), SERIES, DASHES, strict=False):
        steps = _numbers(given.get("step") or range(1, len(values) + 1))[: len(values)]
        own = name == "LSTM"
        _line(axes, steps, values, colour, width=2.2 if own else 1.2, dash=dash)
        keys.append(Key(colour, name, "line" if dash == "-" else "dash"))
    top, caption = _ceiling(lines), ""
    if top:
        axes.set_ylim(0, top)
        out = [name for name, values in lines.items() if np.nanmax(values) > top]
        caption = f"{_list(out)}: off the top, so that the others can be told apart."
    axes.set_xlabel("steps ahead")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    metric = str(details.get("by_horizon_metric") or "mae")
    said = f"{metric} by step of the horizon for " + ", ".join(lines)
    if "LSTM" in lines:
        ends = lines["LSTM"][[0, -1]]
        said += f"; the LSTM goes from {_number(ends[0])} to {_number(ends[1])}"
    picture = Picture(_svg(figure, said), metric, caption, keys)
    units = metrics.get("units_note") or ""
    return Section("Error by step of the horizon", lead=_sentence(units), pictures=[picture])


def _ceiling(lines: Mapping[str, Numbers]) -> float:
    """Where to cut the axis because one line would flatten the others; 0: nowhere."""
    tops = sorted(float(np.nanmax(values)) for values in lines.values())
    judged = max(float(np.nanmax(lines.get("LSTM", np.zeros(1)))), tops[min(1, len(tops) - 1)])
    shown = max(top for top in tops if top <= max(4 * judged, tops[0]))
    return 1.08 * shown if shown < tops[-1] else 0.0


def _coverage(bands: Sequence[Mapping[str, Any]]) -> Section:
    rows = []
    for band in bands:
        nominal, measured = _numbers([band.get("nominal"), band.get("measured")])
        gap = 100 * (measured - nominal)
        name = f"{_percent(band.get('low'))} to {_percent(band.get('high'))}"
        gap_text = f"{_number(gap, 1)} points" if np.isfinite(gap) else "–"
        rows.append([name, _percent(nominal, 1), _percent(measured, 1), gap_text])
    if not rows:
        return Section("")
    lead = "A band is honest when it holds the truth as often as it says."
    columns = ["band", "should hold", "holds", "difference"]
    return Section(
        "Coverage of the bands", lead, tables=[Table("Coverage of the bands", columns, rows)]
    )


def _by_series(series: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Any]) -> Section:
    """One row a series, those first where the LSTM does worst beside the baseline."""
    if len(series) < 2:
        return Section("")
    columns = _union(series.values())
    values = {
        name: _numbers([one.get(column) for column in columns]) for name, one in series.items()
    }
    own = _meaning(columns[0])[0] * -1 or 1  # by the metric's direction; errors when not known

    def weakness(name: str) -> float:
        first, last = values[name][0], values[name][-1]
        ratio = first / last if len(columns) > 1 and last else first
        return float(own * ratio) if np.isfinite(ratio) else -math.inf

    ordered = sorted(series, key=weakness, reverse=True)[:MOST_ROWS]
    rows: list[list[str | Cell]] = []
    for name in ordered:
        best = np.nanmin(own * values[name]) if np.isfinite(values[name]).any() else math.nan
        digits = _decimals(values[name])
        cells = [
            Cell(_number(v, digits), best=bool(len(columns) > 1 and own * v == best))
            for v in values[name]
        ]
        rows.append([name, *cells])
    headings = [f"LSTM {name}" if name in METRICS else name for name in columns]
    left = len(series) - len(rows)
    note = f"{left:,} more are not shown." if left else ""
    folded = f"All {len(series):,}, the weakest first" if len(series) > 12 else ""
    lead = "" if len(columns) < 2 else _won(values.values(), own)
    word = "target" if len((metrics.get("details") or {}).get("targets") or []) > 1 else "series"
    table = Table("Error by series", [word, *headings], rows, note=note, folded=folded)
    return Section(f"Error by {word}", lead, tables=[table])


def _won(values: Iterable[Numbers], own: int) -> str:
    pairs = [(one[0], one[-1]) for one in values]
    won = sum(own * first < own * last for first, last in pairs)
    return f"The LSTM is ahead in {won:,} of {len(pairs):,}."


# Classify


def _classify(run: Record, details: Mapping[str, Any]) -> list[Section]:
    classes = [str(name) for name in details.get("classes") or []]
    return [
        _confusion(classes, details.get("confusion") or []),
        _by_class(details.get("by_class") or {}),
        _reliability(details, run.metrics),
        _by_length(
            details.get("lengths") or [], steps="length", ones="sequences", judged="answers"
        ),
        _mistakes(details.get("examples") or [], run.settings.report.examples),
    ]


def _confusion(classes: Sequence[str], confusion: Sequence[Sequence[Any]]) -> Section:
    counts = np.nan_to_num(np.array(confusion, dtype=np.float64))  # [truth, answer]
    if not classes or counts.shape != (len(classes), len(classes)):
        return Section("")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    title = "What is taken for what"
    if len(classes) > MOST_CLASSES:
        lead = f"{len(classes):,} classes are too many to draw; these are the pairs confused most."
        return Section(title, lead, tables=[_pairs(classes, counts, shares)])
    rows: list[list[str | Cell]] = []
    for k, name in enumerate(classes):
        cells = [
            Cell(_number(counts[k, j], 0), heat=math.sqrt(shares[k, j]), hit=j == k)
            for j in range(len(classes))
        ]
        rows.append([name, *cells])
    lead = "A row for each true class, a column for each answer; the deeper, the more of the row."
    columns = ["truth ↓ answer →", *classes]
    return Section(title, lead, tables=[Table("Confusion matrix", columns, rows, heat=True)])


def _pairs(classes: Sequence[str], counts: Numbers, shares: Numbers) -> Table:
    wrong = counts * (1 - np.eye(len(classes)))
    order = np.argsort(-wrong, axis=None, kind="stable")[:15]
    places = [divmod(int(place), len(classes)) for place in order if wrong.flat[place] > 0]
    rows = [
        [classes[k], classes[j], _number(counts[k, j], 0), _percent(shares[k, j], 1)]
        for k, j in places
    ]
    columns = ["truth", "answer", "times", "of that class"]
    return Table("Most confused pairs", columns, rows, texts=2)


def _by_class(by_class: Mapping[str, Mapping[str, Any]], word: str = "class") -> Section:
    if not by_class:
        return Section("")
    f1 = {name: _numbers([one.get("f1")])[0] for name, one in by_class.items()}
    ordered = sorted(by_class, key=lambda name: f1[name] if np.isfinite(f1[name]) else -1.0)
    rows = []
    for name in ordered:
        shares = [_number(by_class[name].get(key), 3) for key in ("precision", "recall", "f1")]
        rows.append([name, *shares, _number(by_class[name].get("support"), 0)])
    note = f"Precision: how often the answer is right. Recall: how many of the {word} are found. "
    note += "F1: their harmonic mean. Support: how many there are in the test part."
    many = {"class": "classes"}.get(word, f"{word}s")
    folded = f"All {len(rows):,} {many}, the weakest first" if len(rows) > 12 else ""
    columns = [word, "precision", "recall", "f1", "support"]
    table = Table(f"Scores by {word}", columns, rows, note=note, folded=folded)
    return Section("Class by class", "" if folded else "The weakest first.", tables=[table])


def _reliability(details: Mapping[str, Any], metrics: Mapping[str, Any]) -> Section:
    bins = [one for one in details.get("reliability") or [] if one.get("count")]
    if not bins:
        return Section("")
    confidence, accuracy, count = (
        _numbers([one.get(key) for one in bins]) for key in ("confidence", "accuracy", "count")
    )
    figure = Figure(figsize=(420 / 72, 320 / 72), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    _dress(upper)
    _dress(lower)
    upper.plot([0, 1], [0, 1], color=COLOURS["muted"], linewidth=1, linestyle=(0, (1, 2)))
    upper.plot(confidence, accuracy, "o-", color=COLOURS["accent"], linewidth=1.6, markersize=5)
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), ylabel="share right")
    lower.bar(confidence, count, width=0.035, color=COLOURS["accent"], alpha=0.5)
    lower.set(xlabel="confidence", ylabel="answers")
    lower.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    keys = [Key("accent", "measured"), Key("muted", "as it should be", "dash")]
    said = "Share of right answers by confidence: " + ", ".join(
        f"{_percent(c)} sure, {_percent(a)} right ({_number(n, 0)})"
        for c, a, n in zip(confidence, accuracy, count, strict=True)
    )
    lead = "Of the answers given with 80 % confidence, 80 % should be right."
    temperature = details.get("temperature")
    after = (metrics.get("metrics") or {}).get("ece")
    before = details.get("ece_before")
    if temperature is not None:
        lead += " The confidence was set right on the validation part"
        lead += f" (temperature {_number(temperature, 2)})"
        known = before is not None and after is not None
        lead += f": ece from {_number(before, 3)} to {_number(after, 3)}." if known else "."
    return Section("Can its confidence be trusted?", lead, pictures=[_picture(figure, said, keys)])


def _picture(figure: Figure, said: str, keys: Sequence[Key]) -> Picture:
    return Picture(_svg(figure, said), "", "", keys)


def _mistakes(examples: Sequence[Mapping[str, Any]], most: int) -> Section:
    """The most confident of the wrong answers, each drawn from its values."""
    wrong = [one for one in examples if one.get("truth") != one.get("answer")]
    wrong.sort(key=lambda one: -(one.get("probability") or 0.0))
    if any("text" in one for one in wrong):
        return _written_mistakes(wrong[:most])
    drawn = [_values(one) for one in wrong[:most]]
    spans = _spans(drawn)
    pictures = [_mistake(*pair, spans) for pair in zip(wrong[:most], drawn, strict=True)]
    columns = [str(name) for name in (wrong[0].get("columns") or [])] if wrong else []
    lines = 1 < len(columns) <= MOST_LINES
    keys = [Key(c, name) for c, name in zip(SERIES, columns, strict=False)] if lines else []
    lead = "Wrong answers given with the most confidence: odd sequences, or wrong labels."
    if spans is not None and columns:
        lead += (
            f" Time runs to the right; a row is a column of the data, from {columns[0]} at the "
            f"bottom to {columns[-1]} at the top; dark is great among what is drawn of it."
        )
    return Section(
        "Its most confident mistakes", lead if pictures else "", keys, pictures, small=True
    )


def _written_mistakes(wrong: Sequence[Mapping[str, Any]]) -> Section:
    """Mistakes that are read: texts beside what they are and what they were taken for."""
    rows = [
        [
            str(one.get("text")),
            str(one.get("truth")),
            str(one.get("answer")),
            _percent(one.get("probability"), 1) if one.get("probability") is not None else "",
        ]
        for one in wrong
    ]
    columns = ["text", "truth", "answer", "sure"]
    lead = "Wrong answers given with the most confidence: odd texts, or wrong labels."
    table = Table("Mistakes", columns, rows, texts=3)
    return Section("Its most confident mistakes", lead, tables=[table])


def _values(one: Mapping[str, Any]) -> Numbers:
    """The steps of a mistake, [steps, columns]."""
    rows = one.get("values") or []
    return np.array([_numbers(row) for row in rows], dtype=np.float64).reshape(len(rows), -1)


def _is_picture(values: Numbers) -> bool:
    steps, columns = values.shape
    return bool(steps == columns >= 8)  # as far as can be told from its shape


def _spans(drawn: Sequence[Numbers]) -> tuple[Numbers, Numbers] | None:
    """Least and greatest value of each column, where rows of grey stand for columns.

    With one scale for all, a column of large numbers would leave the others one shade of grey.
    """
    wide = [values for values in drawn if values.shape[1] > MOST_LINES and len(values)]
    if not wide or len({values.shape[1] for values in wide}) > 1 or all(map(_is_picture, wide)):
        return None
    every = np.concatenate(wide)
    return np.fmin.reduce(every), np.fmax.reduce(every)


def _mistake(
    one: Mapping[str, Any], values: Numbers, spans: tuple[Numbers, Numbers] | None
) -> Picture:
    truth, answer = str(one.get("truth", "")), str(one.get("answer", ""))
    sure = one.get("probability")
    title = f"{truth}, taken for {answer}"
    words = _known([one.get("id"), "" if sure is None else f"{_percent(sure, 1)} sure"])
    said = f"A sequence of {_count(len(values), 'step')}: {title}"
    steps, columns = values.shape
    square = _is_picture(values) and spans is None
    figure, axes = _axes(width=200, height=150 if square else 130)
    if columns > MOST_LINES:
        if spans is not None:
            low, high = spans
            values = (values - low) / np.where(high > low, high - low, 1.0)
        _image(axes, values, square=square)
    else:
        for k in range(columns):
            _line(axes, np.arange(1.0, steps + 1), values[:, k], SERIES[k], width=1.2)
    sound = str(one.get("sound", ""))
    return Picture(_svg(figure, said), title, " · ".join(words), sound=sound)


def _image(axes: Any, values: Numbers, *, square: bool) -> None:
    """Rows of a picture from the top down; of other wide sequences, time runs to the right."""
    shrunk = values[:: max(1, len(values) // 200)][:, :: max(1, values.shape[1] // 100)]
    shown = np.ma.masked_invalid(shrunk if square else shrunk.T)
    aspect = "equal" if square else "auto"
    axes.imshow(
        shown,
        cmap="Greys",
        aspect=aspect,
        interpolation="none",
        origin="upper" if square else "lower",
        vmin=None if square else 0.0,
        vmax=None if square else 1.0,
    )
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


# Tag


def _tag(run: Record, details: Mapping[str, Any]) -> list[Section]:
    classes = [str(name) for name in details.get("classes") or []]
    spans = details.get("by_span") or {}
    return [
        _confusion(classes, details.get("confusion") or []),
        replace(_by_class(spans, "span"), title="Span by span") if spans else Section(""),
        replace(_by_class(details.get("by_class") or {}, "tag"), title="Tag by tag"),
        _by_seen(details.get("seen") or []),
        _by_length(details.get("lengths") or []),
        _sentences(details.get("sentences") or [], run.settings.report.examples),
    ]


def _by_seen(rows: Sequence[Mapping[str, Any]]) -> Section:
    """Accuracy of each answer on words that training held, and on others."""
    names = _union(one.get("accuracy") or {} for one in rows)
    if not names:
        return Section("")
    cells = [
        [
            str(one.get("words")),
            _number(one.get("tokens"), 0),
            *(_number((one.get("accuracy") or {}).get(name), 3) for name in names),
        ]
        for one in rows
    ]
    lead = "A new word is one that training never held in this spelling."
    table = Table("Accuracy on seen and new words", ["words", "tokens", *names], cells)
    return Section("Words seen and new", lead, tables=[table])


def _by_length(
    rows: Sequence[Mapping[str, Any]],
    *,
    steps: str = "tokens",
    ones: str = "sentences",
    judged: str = "tokens",
) -> Section:
    """Share of wrong answers by length: in `steps`, of so many `ones`, counting what is judged."""
    names = _union(one.get("wrong") or {} for one in rows)
    if not names:
        return Section("")
    cells = [
        [
            f"{one['from']} to {one['to']}" if one.get("to") else f"{one['from']} and more",
            _number(one.get(ones), 0),
            *(_percent((one.get("wrong") or {}).get(name), 1) for name in names),
        ]
        for one in rows
    ]
    table = Table(f"Wrong {judged} by length", [steps, ones, *names], cells)
    lead = f"Share of the {judged} that are wrong."
    return Section("Length against error", lead, tables=[table])


def _sentences(worst: Sequence[Mapping[str, Any]], most: int) -> Section:
    """Sentences, each with its tokens that got another tag than the true one."""
    rows = []
    for one in worst[:most]:
        told = zip(one["tokens"], one["truth"], one["answer"], one["probability"], strict=True)
        wrong = [
            f"{token}: {truth}, taken for {answer} ({_percent(sure)} sure)"
            for token, truth, answer, sure in told
            if truth != answer
        ]
        rows.append([" ".join(one["tokens"]), "; ".join(wrong), str(one.get("id", ""))])
    if not rows:
        return Section("")
    table = Table("Worst sentences", ["sentence", "mistakes", "id"], rows, texts=3)
    lead = "Sentences whose true tags were the least expected: hard ones, or wrong tags."
    return Section("Its worst sentences", lead, tables=[table])


# Translate


def _translate(run: Record, details: Mapping[str, Any]) -> list[Section]:
    examples, most = details.get("examples") or [], run.settings.report.examples
    typical, worst = (
        [one for one in examples if one.get("kind") == kind][:most] for kind in ("typical", "worst")
    )
    signatures = details.get("signatures") or {}
    told = "; ".join(f"{name} {text}" for name, text in signatures.items())
    return [
        _bleu_by_length(details.get("by_length") or [], f"By sacrebleu: {told}." if told else ""),
        _samples("Translations beside the reference", "Drawn from the middle half.", typical),
        _samples("Its worst translations", "Those least like their reference.", worst),
        _attention([one for one in typical if one.get("attention")][:4]),
    ]


def _bleu_by_length(rows: Sequence[Mapping[str, Any]], lead: str) -> Section:
    names = _union(one.get("bleu") or {} for one in rows)
    if not names:
        return Section("")
    cells = [
        [
            f"{one['from']} to {one['to']}" if one["from"] < one["to"] else str(one["from"]),
            _number(one.get("count"), 0),
            *(_number((one.get("bleu") or {}).get(name), 1) for name in names),
        ]
        for one in rows
    ]
    table = Table("BLEU by length", ["words of the source", "texts", *names], cells)
    return Section("BLEU by length", lead, tables=[table])


def _samples(title: str, lead: str, chosen: Sequence[Mapping[str, Any]]) -> Section:
    """Source, reference and answer side by side."""
    if not chosen:
        return Section("")
    rows = [
        [*(str(one.get(key, "")) for key in ("source", "reference", "answer")), _chrf(one)]
        for one in chosen
    ]
    table = Table(title, ["source", "reference", "answer", "chrF"], rows, texts=3)
    return Section(title, lead, tables=[table])


def _chrf(one: Mapping[str, Any]) -> str:
    return _number(one.get("chrf"), 1)


def _attention(chosen: Sequence[Mapping[str, Any]]) -> Section:
    """A heat map for each example: a row for each token written, a column for each one read."""
    tables = []
    for one in chosen:
        rows: list[list[str | Cell]] = [
            [
                str(token),
                *(Cell(_number(100 * w, 0) if w >= 0.1 else "", heat=float(w)) for w in weights),
            ]
            for token, weights in zip(one["tokens"], one["attention"], strict=True)
        ]
        columns = ["written ↓ read →", *map(str, one["source_tokens"])]
        tables.append(Table(f"Attention, {one.get('id', '')}", columns, rows, heat=True))
    lead = "Where it looked in the source (across) when it wrote each token (down), in percent."
    return Section("What it looked at", lead if tables else "", tables=tables)


# Language


def _language(run: Record, details: Mapping[str, Any]) -> list[Section]:
    beside = str(details.get("beside") or "the n-grams")
    return [
        _writings(details.get("samples") or []),
        _where(details),
        _passages(details.get("passages") or [], beside, run.settings.report.examples),
    ]


def _writings(samples: Sequence[Mapping[str, Any]]) -> Section:
    """What it writes by itself."""
    passages = [
        (f"Temperature {_number(one.get('temperature'), 1)}", str(one.get("text")).strip("\n"))
        for one in samples
    ]
    lead = "Written from the beginning of a line. The lower the temperature, the surer each choice."
    return Section("What it writes", lead if passages else "", passages=passages)


def _where(details: Mapping[str, Any]) -> Section:
    """The mean nats of each answer, by rarity and by place in the line."""
    kinds = {
        "by_rank": ("By rarity", "place in the vocabulary", "The most frequent one is the first."),
        "by_place": ("By place in the line", "token of the line", ""),
    }
    tables = []
    for key, (label, word, note) in kinds.items():
        rows = details.get(key) or []
        names = [name for name in _union(rows) if name not in ("bin", "share")]
        cells: list[list[str | Cell]] = []
        for one in rows:
            least = min(one[name] for name in names)
            best = [Cell(_number(one[name], 2), best=one[name] == least) for name in names]
            cells.append([str(one["bin"]), _percent(one.get("share"), 1), *best])
        if cells:
            tables.append(Table(label, [word, "of all tokens", *names], cells, note=note))
    unknown = details.get("unknown") or 0.0
    lead = "Nats a token, in tokens that are rarer and rarer, and further and further in a line."
    lead += f" {_percent(unknown, 1)} of the tokens are unknown words." if unknown else ""
    return Section("Where the surprise is", lead if tables else "", tables=tables)


def _passages(passages: Sequence[Mapping[str, Any]], beside: str, most: int) -> Section:
    """The lines that it found hardest."""
    rows = [
        [_number(one.get("line"), 0), str(one.get("text"))]
        + [_number(one.get(key), 2) for key in ("nats", "beside")]
        for one in passages[:most]
    ]
    lead = "Lines with the most nats a token: names, lists, quotations, or odd text."
    table = Table("Hardest lines", ["line", "text", NETWORK, beside], rows, texts=2)
    return Section("The hardest passages", lead, tables=[table]) if rows else Section("")


# Transcribe


def _transcribe(run: Record, details: Mapping[str, Any]) -> list[Section]:
    lead = "What was said and what was written in its place; – is nothing."
    tables = [_edits(word, details.get(word) or []) for word in ("words", "characters")]
    return [
        Section("What is taken for what", lead, tables=[one for one in tables if one.rows]),
        _by_duration(details.get("by_duration") or []),
        _heard(details.get("examples") or [], run.settings.report.examples),
    ]


def _edits(word: str, pairs: Sequence[Mapping[str, Any]]) -> Table:
    """Words or characters that were said, and what was written."""
    shown = {"": "–", " ": "(space)"}
    rows = [
        [*(shown.get(one[key], one[key]) for key in ("truth", "answer")), _number(one["times"], 0)]
        for one in pairs
    ]
    return Table(f"Confused {word}", [f"{word} said", "written", "times"], rows, texts=2)


def _by_duration(bins: Sequence[Mapping[str, Any]]) -> Section:
    """The word error rate of short and of long recordings."""
    if len(bins) < 2:
        return Section("")
    seconds, wer = (_numbers(one[key] for one in bins) for key in ("seconds", "wer"))
    figure, axes = _axes()
    axes.plot(seconds, wer, "o-", color=COLOURS["accent"], linewidth=1.6, markersize=5)
    axes.set(xlabel="seconds", ylabel="word error rate")
    axes.set_ylim(0, max(1.08 * float(wer.max()), 0.01))
    said = "Word error rate by duration: " + ", ".join(
        f"{_number(one, 1)} s {_percent(rate, 1)}" for one, rate in zip(seconds, wer, strict=True)
    )
    lead = "Recordings of like duration, as many in each point."
    return Section("Length against error", lead, pictures=[_picture(figure, said, ())])


def _heard(worst: Sequence[Mapping[str, Any]], most: int) -> Section:
    """Recordings to look at and to hear, those with the most wrong words first."""
    shown = list(worst[:most])
    if not shown:
        return Section("")
    drawn = [_values(one) for one in shown]
    spans = _spans(drawn)
    pictures = []
    for one, values in zip(shown, drawn, strict=True):
        figure, axes = _axes(width=300, height=120)
        if spans is not None:
            low, high = spans
            values = (values - low) / np.where(high > low, high - low, 1.0)
        _image(axes, values, square=False)
        title = str(one.get("truth", ""))
        answer = str(one.get("answer", "")) or "nothing"
        caption = "heard right" if answer == title else f"written: {answer}"
        words = [caption, str(one.get("id", "")), f"{_number(one.get('seconds'), 1)} s"]
        svg = _svg(figure, f"The bands of pitch of {words[1]}: {title}, {caption}")
        pictures.append(Picture(svg, title, " · ".join(words), sound=str(one.get("sound", ""))))
    lead = "The most wrong words first. Time runs to the right, pitch upwards; dark is loud."
    return Section("The hardest recordings", lead, pictures=pictures)


# A new task is one function here and one entry.
TASKS: dict[str, Callable[[Record, Mapping[str, Any]], list[Section]]] = {
    "forecast": _forecast,
    "classify": _classify,
    "language": _language,
    "tag": _tag,
    "translate": _translate,
    "transcribe": _transcribe,
}


# How it was made


def _changed(settings: Experiment) -> Table | None:
    """The settings that differ from the defaults."""
    ours, defaults = asdict(settings), asdict(Experiment())
    rows = [
        [f"{section}.{key}", _plain(value), _plain(defaults[section][key])]
        for section, values in ours.items()
        for key, value in values.items()
        if value != defaults[section][key]
    ]
    columns = ["setting", "value", "default"]
    return Table("Settings that differ from the defaults", columns, rows, texts=3) if rows else None


def _cost(run: Record) -> list[tuple[str, str]]:
    seconds, parameters = run.metrics.get("seconds") or {}, run.metrics.get("parameters")
    words = {"read": "Reading", "train": "Training", "evaluate": "Evaluation", "total": "In all"}
    pairs = [
        (words.get(str(name), str(name).capitalize()), _duration(value))
        for name, value in seconds.items()
    ]
    epochs = _numbers(run.history.get("seconds") or [])
    if np.isfinite(epochs).any():
        pairs.append(("An epoch", f"{_duration(float(np.nanmedian(epochs)))} (median)"))
    if parameters:
        pairs.append(("Parameters", f"{parameters:,}"))
        size = run.metrics.get("model_bytes")
        text = _bytes(size) if size else f"{_bytes(4 * parameters)} of weights in float32"
        pairs.append(("Size of the model", text))
    return pairs


def _command(run: Record) -> str:
    folder = str(run.metrics.get("run") or "RUN").rstrip("/")
    data = str(run.settings.data.path or run.metrics.get("data") or "DATA")
    words = ["gatewise", "train", data, "--config", f"{folder}/settings.toml", "-o"]
    return shlex.join([*words, f"{folder}-again"])


# Numbers and words

MOST_CLASSES = 30  # in a confusion matrix
MOST_ROWS = 100  # in a table of series
WIDEST = 50  # characters of a table's row on a phone, with two for the space between columns
WORDS_TAKE = (13, 18)  # characters of a column of words there: it is no narrower, and wraps
MOST_LINES = 6  # in one small chart; beyond that, an image
MOST_POINTS = 400  # in one line


def _numbers(values: Iterable[Any]) -> Numbers:
    """Values as floats; None becomes NaN."""
    return np.array([math.nan if v is None else float(v) for v in values], dtype=np.float64)


def _decimals(values: Iterable[Any]) -> int:
    """So many digits after the point that the typical value shows four that matter."""
    known = np.abs(_numbers(values))
    known = known[np.isfinite(known) & (known > 0)]
    if not known.size:
        return 3
    return int(np.clip(3 - math.floor(math.log10(float(np.median(known)))), 0, 6))


def _number(value: Any, digits: int | None = None) -> str:
    """A number to read: thousands parted, a true minus, a dash where there is none.

    >>> _number(-12345.678), _number(0.5, 3), _number(None)
    ('−12,346', '0.500', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    digits = _decimals([value]) if digits is None else digits
    extreme = value != 0 and (abs(value) >= 1e9 or abs(value) < 0.5 * 10**-digits)
    text = f"{value:.3g}" if extreme else f"{value:,.{digits}f}"
    return text.replace("-", "−")


def _percent(share: Any, digits: int = 0) -> str:
    return "–" if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f} %"


def _duration(seconds: Any) -> str:
    """Seconds as one would say them.

    >>> _duration(0.42), _duration(200), _duration(3900)
    ('0.42 s', '3 min 20 s', '1 h 05 min')
    """
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
    )


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def _known(texts: Iterable[Any]) -> list[str]:
    return [str(text) for text in texts if text not in (None, "")]


def _list(names: Sequence[Any], most: int = 8) -> str:
    """Names in one line; of many, the first and how many more."""
    left = len(names) - most
    return ", ".join(map(str, names[:most])) + (f" and {left:,} more" if left > 0 else "")


def _plain(value: Any) -> str:
    """A setting's value as a person would write it."""
    if isinstance(value, list | tuple):
        return ", ".join(_plain(one) or "''" for one in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_plain(one)}" for key, one in value.items()) or "none"
    return {"True": "yes", "False": "no", "": "none"}.get(str(value), str(value))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def _union(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """All keys, in the order in which they first come."""
    return list(dict.fromkeys(key for one in mappings for key in one))


# Figures

# Each colour is drawn as the light one and written as a variable, which the style sheet sets.
COLOURS = {
    "ink": "#1a1e24",
    "muted": "#6a7480",
    "line": "#e3e7eb",
    "accent": "#1463ad",
    "s1": "#c2650a",
    "s2": "#0b8068",
    "s3": "#a2487f",
    "s4": "#7d6b12",
    "s5": "#4d4f9e",
    "better": "#0a7a63",
    "worse": "#bf4a10",
    "even": "#6a6f79",
}
SERIES = ("accent", "s1", "s2", "s3", "s4", "s5", "muted", "ink")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2))) + ("-",) * 4
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gatewise",
    "text.parse_math": False,
    "text.color": COLOURS["muted"],
    "font.size": 11,
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 6),
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.8,
    "lines.solid_capstyle": "round",
}


def _axes(width: float = 420, height: float = 220, grid: str = "y") -> tuple[Figure, Any]:
    """An empty figure, its size in points: those are the pixels on a narrow screen."""
    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    axes = figure.subplots()
    _dress(axes, grid)
    return figure, axes


def _dress(axes: Any, grid: str = "y") -> None:
    axes.figure.patch.set_visible(False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.patch.set_visible(False)
    axes.tick_params(bottom=False, left=False, which="both", pad=5)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(visible=True, axis=grid)


def _line(
    axes: Any, x: Numbers, y: Numbers, colour: str, *, width: float = 1.6, dash: Any = "-"
) -> None:
    """A line, thinned to what a screen can show; a lone point is marked."""
    if not len(y):
        return
    x, y = _thin(x, y)
    marker = "o" if np.isfinite(y).sum() == 1 else ""
    axes.plot(
        x, y, color=COLOURS[colour], linewidth=width, linestyle=dash, marker=marker, markersize=4
    )


def _thin(x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
    """The lowest and the highest of each stretch, so that no peak is lost."""
    if len(y) <= MOST_POINTS:
        return x, y
    keep = {0, len(y) - 1}
    for part in np.array_split(np.arange(len(y)), MOST_POINTS // 2):
        known = part[np.isfinite(y[part])]
        keep.update([int(part[0])] if not known.size else [])
        keep.update(int(known[find(y[known])]) for find in (np.argmin, np.argmax) if known.size)
    places = np.array(sorted(keep))
    return x[places], y[places]


def _every(length: int) -> NDArray[np.int64]:
    """Places spread over a length, at most so many as a line has points."""
    return np.unique(np.linspace(0, length - 1, min(length, MOST_POINTS)).astype(np.int64))


_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"


def _svg(figure: Figure, said: str) -> Markup:
    """The figure as SVG to stand in HTML: no size or font of its own, ids like no other's."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": said}
    for parent in root.iter():
        parent[:] = [one for one in parent if one.tag not in {f"{_SVG}metadata", f"{_SVG}defs"}] + [
            one for one in parent if one.tag == f"{_SVG}defs" and one.find(f"{_SVG}style") is None
        ]
    written = ElementTree.tostring(root, encoding="unicode")
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', written))
    prefix = f"f{sha256(written.encode()).hexdigest()[:8]}-"
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.text, element.tail = (
            text and text.strip() for text in (element.text, element.tail)
        )
        if element.attrib.get("id") not in used:
            element.attrib.pop("id", None)
        element.attrib = dict(_tidy(name, value, prefix) for name, value in element.attrib.items())
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _tidy(name: str, value: str, prefix: str) -> tuple[str, str]:
    """One attribute: ids made the figure's own, colours made variables, numbers made short."""
    name = name.replace(_LINK, "href")
    if name == "id":
        return name, prefix + value
    if name == "href":
        return name, value.replace("#", f"#{prefix}", 1) if value.startswith("#") else value
    if name == "style":
        value = re.sub(r"\s*font-family:[^;]*;", "", value)
        return name, re.sub("#[0-9a-f]{6}", _variable, value)
    if name in {"d", "x", "y"}:
        return name, " ".join(re.sub(r"\d+\.\d+", _short, value).split())
    return name, value.replace("url(#", f"url(#{prefix}")


def _variable(colour: re.Match[str]) -> str:
    names = {value: name for name, value in COLOURS.items()}
    return f"var(--{names[colour[0]]})" if colour[0] in names else colour[0]


def _short(number: re.Match[str]) -> str:
    value = float(number[0])
    return f"{round(value, 1 if value >= 10 else 2):g}"
