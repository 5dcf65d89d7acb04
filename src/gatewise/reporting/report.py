"""From the record of a run to its report: the verdict first, then what led to it.

The report loads nothing and runs nothing, so that it can be mailed, kept and read offline.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import PurePath
from typing import Any

import jinja2
import matplotlib
import numpy as np
from matplotlib.ticker import MaxNLocator, NullFormatter

from gatewise.metrics import find, sign_of
from gatewise.reporting import charts, formats
from gatewise.reporting.formats import Numbers
from gatewise.reporting.sections import Cell, Key, Picture, Record, Section, Table
from gatewise.settings import Experiment, to_toml
from gatewise.tasks import TASKS
from gatewise.tasks.task import NETWORK


def draw(run: Record) -> str:
    """The report on a run: a whole HTML document that needs no other file.

    The same record gives the same bytes.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(charts.STYLE)
        sections = _sections(run)
        verdict = _verdict(run.metrics)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    template = resources.files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8")
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
        environment=[(str(name), formats.plain(value)) for name, value in run.environment.items()],
        cost=_cost(run),
        command=_command(run),
    )


def _sections(run: Record) -> list[Section]:
    task = TASKS.get(str(run.metrics.get("task")))
    details = run.metrics.get("details") or {}
    sections = [_learning(run)]
    if task and details:
        sections += task.sections(run, details)
    return [one for one in sections if one.lead or one.pictures or one.tables or one.passages]


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
    difference, low, high = formats.floats(
        [verdict.get(key) for key in ("difference", "low", "high")]
    )
    if not np.isfinite(difference):
        return None
    bounded = bool(np.isfinite([low, high]).all())
    low, high = (low, high) if bounded else (difference, difference)
    reach = 1.25 * float(max(abs(low), abs(high), abs(difference))) or 1.0
    figure, axes = charts.axes(width=420, height=84, grid="")
    axes.axvline(0, color=charts.COLOURS["ink"], linewidth=1)
    axes.plot([low, high], [0, 0], color=charts.COLOURS[tone], linewidth=9, alpha=0.35)
    axes.plot([difference], [0], "o", color=charts.COLOURS[tone], markersize=9)
    axes.set(xlim=(-reach, reach), ylim=(-1, 1.9), yticks=[])
    axes.xaxis.set_major_locator(MaxNLocator(5, symmetric=True))
    metric, against = str(verdict.get("metric", "")), str(verdict.get("against", "baseline"))
    direction = sign_of(metric)
    if direction:
        better, worse = ("left", "right") if direction < 0 else ("right", "left")
        for side, word in ((better, "better"), (worse, "worse")):
            arrow = f"← {word}" if side == "left" else f"{word} →"
            place = 0.0 if side == "left" else 1.0
            axes.text(place, 0.98, arrow, transform=axes.transAxes, ha=side, va="top")
    caption = f"{verdict.get('answer') or NETWORK} minus {against}, in {metric}"
    digits = formats.decimals([low, high, difference])
    said = f"{caption}: {formats.number(difference, digits)}"
    if bounded:
        caption += "; the bar is the bootstrap interval of the paired difference"
        said += f", between {formats.number(low, digits)} and {formats.number(high, digits)}"
    return Picture(charts.svg(figure, said), caption=caption + ".")


def _scores(metrics: Mapping[str, Any]) -> Table:
    """The answer first, then the baselines; the best of each metric stands out."""
    alone = {f"{NETWORK} alone": metrics["alone"]} if metrics.get("alone") else {}
    everyone = {_answer(metrics): metrics.get("metrics") or {}, **alone}
    everyone |= metrics.get("baselines") or {}
    names = formats.union(everyone.values())
    columns = [_score_column(name, [one.get(name) for one in everyone.values()]) for name in names]
    rows = [[who, *cells] for who, *cells in zip(everyone, *columns, strict=True)]
    arrows = {-1: " ↓", 1: " ↑", 0: ""}
    headings = ["", *(name + arrows[sign_of(name)] for name in names)]
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
    digits, direction = formats.decimals(values), sign_of(metric)
    texts = [formats.number(value, digits) for value in values]
    known = [value for value in formats.floats(values) if np.isfinite(value)]
    best = (
        formats.number(max(known, key=lambda value: direction * value), digits)
        if len(known) > 1
        else ""
    )
    return [Cell(text, best=bool(direction) and text == best) for text in texts]


def _meanings(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each metric of the table with its direction and definition, where they are known."""
    names = formats.union(
        [metrics.get("metrics") or {}, *(metrics.get("baselines") or {}).values()]
    )
    words = {"lower": "; lower is better", "higher": "; higher is better", "neither": ""}
    known = [(name, find(name)) for name in names]
    return [(name, one.meaning + words[one.better]) for name, one in known if one]


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
        ("Target", formats.listed(details.get("targets") or [])),
        ("Horizon", _steps(details)),
        ("Classes", formats.listed(details.get("classes") or [])),
        ("Network", _network(run)),
        ("Training", _training(metrics)),
        ("Engine", " · ".join(formats.known((metrics.get("engine") or {}).values()))),
    ]
    return [(name, text) for name, text in pairs if text]


def _steps(details: Mapping[str, Any]) -> str:
    if not details.get("horizon"):
        return ""
    texts = [f"{formats.count(details['horizon'], 'step')} ahead"]
    if details.get("lookback"):
        texts.append(f"from the last {details['lookback']:,}")
    if (details.get("season") or 0) > 1:
        texts.append(f"season of {details['season']:,}")
    return ", ".join(texts)


def _network(run: Record) -> str:
    layers = ", ".join(str(units) for units in run.settings.network.units)
    parameters = run.metrics.get("parameters")
    texts = [f"LSTM of {layers} units" if layers else "", run.settings.network.build]
    own = ", ".join(formats.known([*texts, f"{parameters:,} parameters" if parameters else ""]))
    beside = _answer(run.metrics).removeprefix(NETWORK).removeprefix(" with ")
    return f"{own}; averaged with {beside}" if beside else own


def _training(metrics: Mapping[str, Any]) -> str:
    if not metrics.get("epochs"):
        return ""
    text = formats.count(metrics["epochs"], "epoch")
    text += f", best after {metrics['best_epoch']}" if metrics.get("best_epoch") else ""
    return text + (f"; stopped: {metrics['stopped']}" if metrics.get("stopped") else "")


def _parts(parts: Mapping[str, Mapping[str, Any]]) -> Table | None:
    if not parts:
        return None
    columns = formats.union(parts.values())
    rows = [
        [name, *(formats.number(one.get(key), 0) for key in columns)] for name, one in parts.items()
    ]
    return Table("Sizes of the parts", ["", *columns], rows)


def _learning(run: Record) -> Section:
    """Loss and further metrics by epoch; none of it when nothing was trained."""
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
    return Section("How it learnt", pictures=pictures)


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
    said = f"{name} by epoch"
    if best and curve is not None and best <= len(curve):
        where = _epochs(columns, len(curve))[best - 1]
        axes.axvline(where, color=charts.COLOURS["muted"], linewidth=0.8, linestyle=(0, (1, 2)))
        axes.plot([where], [curve[best - 1]], "o", color=charts.COLOURS["accent"], markersize=6)
        keys.append(Key("accent", f"best epoch, {best}", "dot"))
        said += f"; best epoch {best}, where validation is at {formats.number(curve[best - 1])}"
    validation = run.metrics.get("validation") or {}
    level = formats.floats([validation.get("value")])
    if validation.get("metric") in {name, f"val_{name}"} and np.isfinite(level).all():
        axes.axhline(
            level[0], color=charts.COLOURS["s1"], linewidth=1.2, linestyle=charts.DASHES[1]
        )
        keys.append(Key("s1", f"{validation.get('baseline') or 'best baseline'}", "dash"))
        said += f"; the best baseline is at {formats.number(level[0])}"
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
    return Picture(charts.svg(figure, said), title, "", keys)


def _wide(values: Numbers) -> bool:
    """Whether values span so much that only a logarithmic axis shows them."""
    known = values[np.isfinite(values)]
    return bool(known.size and known.min() > 0 and known.max() > 40 * known.min())


def _changed(settings: Experiment) -> Table | None:
    """The settings that differ from the defaults."""
    ours, defaults = asdict(settings), asdict(Experiment())
    rows = [
        [f"{section}.{key}", formats.plain(value), formats.plain(defaults[section][key])]
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
        (words.get(str(name), str(name).capitalize()), formats.duration(value))
        for name, value in seconds.items()
    ]
    epochs = formats.floats(run.history.get("seconds") or [])
    if np.isfinite(epochs).any():
        pairs.append(("An epoch", f"{formats.duration(float(np.nanmedian(epochs)))} (median)"))
    if parameters:
        pairs.append(("Parameters", f"{parameters:,}"))
        size = run.metrics.get("model_bytes")
        text = (
            formats.size(size) if size else f"{formats.size(4 * parameters)} of weights in float32"
        )
        pairs.append(("Size of the model", text))
    return pairs


def _command(run: Record) -> str:
    folder = str(run.metrics.get("run") or "RUN").rstrip("/")
    data = str(run.settings.data.path or run.metrics.get("data") or "DATA")
    words = ["gatewise", "train", data, "--config", f"{folder}/settings.toml", "-o"]
    return shlex.join([*words, f"{folder}-again"])
