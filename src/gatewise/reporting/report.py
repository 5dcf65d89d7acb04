"""Draw the report of a run from its record: the verdict first, then the evidence.

The report loads no other file and runs no script, so it can be mailed, archived and read offline.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import PurePath
from typing import Any

import jinja2
import numpy as np
from matplotlib.ticker import MaxNLocator

from gatewise.metrics import find, sign_of
from gatewise.reporting import charts, formats, history, inside
from gatewise.reporting.scores import network_of, table_of_folds
from gatewise.reporting.sections import Cell, Picture, Record, Section, Table
from gatewise.settings import Experiment, to_toml
from gatewise.tasks import TASKS
from gatewise.tasks.task import NETWORK


def draw(run: Record) -> str:
    """Draw the report as a complete HTML document that needs no other file.

    The same record gives the same bytes.
    """
    with charts.style():
        sections = _sections(run)
        verdict = _verdict(run.metrics)
    return _filled(
        "report.html.j2",
        title=_title(run),
        kicker=run.metrics.get("run") or "",
        verdict=verdict,
        caveats=run.metrics.get("caveats") or [],
        heading="Task and data",
        overview=_overview(run),
        parts=_parts(run.metrics.get("parts") or {}),
        notes=run.metrics.get("notes") or [],
        audit=_audit(run.metrics.get("audit")),
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


def draw_inspection(content: Mapping[str, Any]) -> str:
    """Draw what `gatewise.inspect` returns as a complete HTML document."""
    with charts.style():
        sections = [*inside.sections(content), *inside.examples(content)]
    sentence = " ".join(content["advice"]) or "Nothing stands out that has a known remedy."
    return simple_page(
        "Inspection",
        kicker=content["model"],
        sentence=sentence,
        caveats=[content["unexplained"]] if content.get("unexplained") else [],
        heading="What was inspected",
        overview=inside.overview(content),
        sections=sections,
    )


def simple_page(
    title: str,
    *,
    kicker: str,
    sentence: str,
    heading: str,
    overview: Sequence[tuple[str, str]],
    sections: Sequence[Section],
    caveats: Sequence[str] = (),
) -> str:
    """A page in the form of the report: a sentence, an overview under `heading`, and sections."""
    return _filled(
        "report.html.j2",
        title=title,
        kicker=kicker,
        verdict={"tone": "even", "sentence": sentence, "picture": None},
        caveats=caveats,
        heading=heading,
        overview=overview,
        **dict.fromkeys(
            ("parts", "notes", "audit", "scores", "first", "meanings", "units", "thinned")
            + ("changed", "settings", "environment", "cost", "command")
        ),
        sections=sections,
    )


def summary(metrics: Mapping[str, Any]) -> str:
    """Draw verdict and scores as a piece of HTML for a notebook."""
    with charts.style():
        verdict = _verdict(metrics)
    return _filled(
        "summary.html.j2",
        style="; ".join(f"--{name}: {colour}" for name, colour in charts.COLOURS.items()),
        verdict=verdict,
        caveats=metrics.get("caveats") or [],
        scores=_scores(metrics),
        folder=metrics.get("run") or "",
    )


def _filled(name: str, **content: Any) -> str:
    """The template of this name, filled with the content."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    template = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return environment.from_string(template).render(**content)


def _sections(run: Record) -> list[Section]:
    task = TASKS.get(str(run.metrics.get("task")))
    details = run.metrics.get("details") or {}
    sections = [_seeds(run.metrics), _folds(run.metrics), history.section(run)]
    if task and details:
        sections += task.sections(run, details)
    sections += inside.sections(run.metrics.get("inspection") or {})
    return [one for one in sections if one.lead or one.pictures or one.tables or one.passages]


def _seeds(metrics: Mapping[str, Any]) -> Section:
    """The scores of every seed, their mean and their deviation; empty for a single seed."""
    repeats = metrics.get("repeats") or {}
    if not repeats:
        return Section("")
    names = list(repeats["mean"])
    rows = [
        [f"seed {one['seed']}", *(formats.number(one["metrics"].get(name)) for name in names)]
        for one in repeats["each"]
    ]
    for word in ("mean", "deviation"):
        rows.append([word, *(formats.number(repeats[word].get(name)) for name in names)])
    lead = (
        f"The verdict is about the mean of {len(repeats['each'])} seeds; its interval counts the "
        "chance in seeds and in the test part. The scores above, and all that follows, are those "
        f"of seed {repeats['saved']}, which had the best validation score and is the saved model."
    )
    return Section("Seeds", lead, tables=[Table("Scores by seed", ["", *names], rows)])


def _folds(metrics: Mapping[str, Any]) -> Section:
    """The scores of every fold, their mean and their deviation; empty if there were none."""
    if not metrics.get("folds"):
        return Section("")
    lead = (
        "The last column is the baseline of the verdict. The verdict is about all folds together."
    )
    return Section("Folds", lead, tables=[Table("Scores by fold", *table_of_folds(metrics))])


def _title(run: Record) -> str:
    data = PurePath(str(run.metrics.get("data") or run.settings.data.path or "")).name
    task = str(run.metrics.get("task") or "run").capitalize()
    return run.settings.report.title or (f"{task}: {data}" if data else task)


def _verdict(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The sentence of the verdict, its tone, and a picture of the interval around zero."""
    verdict = metrics.get("verdict") or {}
    if not verdict:
        no_baseline = "There is no baseline to compare the LSTM with, so there is no verdict."
        sentence = str(metrics.get("unjudged") or no_baseline)
        return {"tone": "even", "sentence": sentence, "picture": None}
    tones = {"True": "better", "False": "worse"}
    tone = tones.get(str(verdict.get("better")), "even")
    relation = "not distinguishable from" if tone == "even" else f"{tone} than"
    against, metric = verdict.get("against", "the best baseline"), verdict.get("metric", "")
    sentence = (
        verdict.get("sentence") or f"The {_model(metrics)} is {relation} {against} in {metric}."
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
    label = f"{caption}: {formats.number(difference, digits)}"
    if bounded:
        caption += "; the bar is the bootstrap interval of the paired difference"
        label += f", between {formats.number(low, digits)} and {formats.number(high, digits)}"
    return Picture(charts.svg(figure, label), caption=caption + ".")


def _scores(metrics: Mapping[str, Any]) -> Table:
    """The scores of the model first, then of the baselines; the best of each metric is marked."""
    alone = f"{network_of(_model(metrics))} alone"
    network = {alone: metrics["alone"]} if metrics.get("alone") else {}
    scores = {_model(metrics): metrics.get("metrics") or {}, **network}
    scores |= metrics.get("baselines") or {}
    names = formats.union(scores.values())
    columns = [_score_column(name, [one.get(name) for one in scores.values()]) for name in names]
    rows = [[model, *cells] for model, *cells in zip(scores, *columns, strict=True)]
    arrows = {-1: " ↓", 1: " ↑", 0: ""}
    headings = ["", *(name + arrows[sign_of(name)] for name in names)]
    return Table("Scores on the test part", headings, rows)


def _model(metrics: Mapping[str, Any]) -> str:
    """The name of the model; folders of older versions lack it, and hold only the network."""
    return str(metrics.get("answer") or NETWORK)


def _first(metrics: Mapping[str, Any]) -> str:
    """The beginning of the sentence that describes the first rows of the table of scores."""
    alone = f", then the {network_of(_model(metrics))} alone"
    network = alone if metrics.get("alone") else ""
    return f"The {_model(metrics)}{network}"


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
    """Each known metric of the table with its meaning and direction."""
    names = formats.union(
        [metrics.get("metrics") or {}, *(metrics.get("baselines") or {}).values()]
    )
    words = {"lower": "; lower is better", "higher": "; higher is better", "neither": ""}
    known = [(name, find(name)) for name in names]
    return [(name, one.meaning + words[one.better]) for name, one in known if one]


def _thinned(predictions: Mapping[str, int]) -> str:
    """A sentence if predictions.csv holds only some of the predictions."""
    listed, count = predictions.get("answers", 0), predictions.get("of", 0)
    if listed >= count:
        return ""
    return f"predictions.csv holds {listed:,} of the {count:,} predictions, evenly spread."


def _overview(run: Record) -> list[tuple[str, str]]:
    """The task, the data, the network and the training, as pairs of a name and its text."""
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
    network = ", ".join(formats.known([*texts, f"{parameters:,} parameters" if parameters else ""]))
    name = _model(run.metrics)
    if not run.metrics.get("alone"):
        return f"{network}; {name.removeprefix(NETWORK).strip()}".removesuffix("; ")
    baseline = name.removeprefix(network_of(name)).strip().partition(" ")[2]
    return f"{network}; averaged with {baseline}"


def _training(metrics: Mapping[str, Any]) -> str:
    if not metrics.get("epochs"):
        return ""
    text = formats.count(metrics["epochs"], "epoch")
    text += f", best after {metrics['best_epoch']}" if metrics.get("best_epoch") else ""
    text += f"; stopped: {metrics['stopped']}" if metrics.get("stopped") else ""
    if metrics.get("refit_epochs"):
        text += f"; then {formats.count(metrics['refit_epochs'], 'epoch')} on everything"
    networks = metrics.get("networks", 1)
    return f"{networks} networks; the first: {text}" if networks > 1 else text


def _parts(parts: Mapping[str, Mapping[str, Any]]) -> Table | None:
    if not parts:
        return None
    columns = formats.union(parts.values())
    rows = [
        [name, *(formats.number(one.get(key), 0) for key in columns)] for name, one in parts.items()
    ]
    return Table("Sizes of the parts", ["", *columns], rows)


def _audit(findings: Sequence[Mapping[str, str]] | None) -> Table | None:
    """The leaks that the audit found; None for folders of older versions, which had no audit."""
    if findings is None:
        return None
    rows = [[one["kind"], one["where"], one["advice"]] for one in findings]
    return Table("Leaks", ["kind", "where", "what to do"], rows, texts=3)


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
    words = {"read": "Reading", "train": "Training", "evaluate": "Evaluation", "total": "Total"}
    pairs = [
        (words.get(str(name), str(name).capitalize()), formats.duration(value))
        for name, value in seconds.items()
    ]
    epochs = formats.floats(run.history.get("seconds") or [])
    if np.isfinite(epochs).any():
        pairs.append(("Per epoch", f"{formats.duration(float(np.nanmedian(epochs)))} (median)"))
    if parameters:
        pairs.append(("Parameters", f"{parameters:,}"))
        size = run.metrics.get("model_bytes")
        text = (
            formats.size(size) if size else f"{formats.size(4 * parameters)} of weights in float32"
        )
        pairs.append(("Model size", text))
    return pairs


def _command(run: Record) -> str:
    folder = str(run.metrics.get("run") or "RUN").rstrip("/")
    data = str(run.settings.data.path or run.metrics.get("data") or "DATA")
    words = ["gatewise", "train", data, "--config", f"{folder}/settings.toml", "-o"]
    return shlex.join([*words, f"{folder}-again"])
