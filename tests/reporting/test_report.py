"""The report: one file that begins with the verdict, escapes data and loads nothing."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import matplotlib
import numpy as np
import pytest
from markupsafe import escape

from gatewise.reporting.report import draw
from gatewise.reporting.sections import Record
from gatewise.settings import Experiment

NASTY = "<script>alert('x')</script> & $x_1$"
EMPTY = {"br", "meta", "path", "use", "image", "rect"}


class Outline(HTMLParser):
    """Headings with their texts, ids, the cells of tables, and whether every tag is closed."""

    def __init__(self, html: str):
        super().__init__()
        self.headings: list[tuple[int, str]] = []
        self.ids: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        if tag not in EMPTY:
            self.open.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "svg":
            self.images.append(given)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))

    def handle_startendtag(self, tag, attrs):
        if "id" in dict(attrs):
            self.ids.append(dict(attrs)["id"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and re.fullmatch("h[1-6]", self.open[-1]):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)


def columns(epochs: int, metric: str) -> dict[str, list[float]]:
    loss = (0.2 + 1 / np.arange(1, epochs + 1)).tolist()
    names = ("loss", "val_loss", metric, f"val_{metric}")
    return {"epoch": list(range(1, epochs + 1)), **dict.fromkeys(names, loss)}


def forecast_metrics(horizon: int = 5) -> dict[str, Any]:
    wave = np.sin(np.arange(40)).tolist()
    days = [f"2014-07-{day:02}T00:00:00" for day in range(1, 32)]
    one = {
        "id": NASTY,
        "target": "value",
        "past_times": days[:20],
        "past": [None, *wave[1:20]],
        "times": days[20 : 20 + horizon],
        "truth": wave[20 : 20 + horizon],
        "quantiles": {q: wave[20 : 20 + horizon] for q in ("0.1", "0.5", "0.9")},
        "error": 0.25,
        "kind": "typical",
    }
    line = [1.0 + step for step in range(horizon)]
    return {
        "task": "forecast",
        "run": "runs/taxi",
        "data": "nyc-taxi",
        "metrics": {"mae": 1.25, "mase": math.nan, "coverage": 0.77},
        "baselines": {
            "seasonal naive": {"mae": 3.5, "mase": 1.0, "coverage": 0.8},
            NASTY: {"mae": 1.5},
        },
        "verdict": {
            "metric": "mae",
            "against": NASTY,
            "difference": -0.25,
            "low": -0.4,
            "high": -0.1,
            "better": True,
            "sentence": "The LSTM is better than ridge: mae lower by 6.5 %.",
        },
        "parameters": 12345,
        "seconds": {"train": 200.0, "total": None},
        "notes": [f"The season is {NASTY}."],
        "best_epoch": 2,
        "epochs": 4,
        "details": {
            "horizon": horizon,
            "lookback": 20,
            "targets": ["value"],
            "by_horizon": {
                "step": list(range(1, horizon + 1)),
                "LSTM": line,
                NASTY: line,
                "drift": [90.0 * v for v in line],
            },
            "by_series": {"a": {"mae": 1.0, "ridge": 2.0}, NASTY: {"mae": 3.0, "ridge": 2.0}},
            "coverage": [{"low": 0.1, "high": 0.9, "nominal": 0.8, "measured": 0.77}],
            "examples": [one, {**one, "kind": "worst", "times": None, "past_times": None}],
        },
    }


def classify_metrics(classes: int = 3, shape: tuple[int, int] = (30, 2)) -> dict[str, Any]:
    names = [NASTY, *(f"class {k}" for k in range(1, classes))]
    values = np.arange(shape[0] * shape[1], dtype=float).reshape(shape).tolist()
    one = {
        "id": "17",
        "truth": NASTY,
        "answer": "class 1",
        "probability": 0.98,
        "columns": [f"<b>x{k}" for k in range(shape[1])],
        "values": values,
    }
    scores = {"precision": 0.5, "recall": None, "f1": 0.625, "support": 9}
    return {
        "task": "classify",
        "metrics": {"accuracy": 0.9, "log_loss": 0.4},
        "baselines": {"majority": {"accuracy": 0.5, "log_loss": 0.4}},
        "verdict": {
            "metric": "accuracy",
            "against": "majority",
            "difference": 0.4,
            "low": -0.1,
            "high": 0.6,
            "better": None,
        },
        "details": {
            "classes": names,
            "confusion": (np.eye(classes, dtype=int) * 7 + 1).tolist(),
            "by_class": dict.fromkeys(names, scores),
            "reliability": [
                {"confidence": 0.55, "accuracy": 0.5, "count": 40},
                {"confidence": None, "accuracy": None, "count": 0},
            ],
            "temperature": 1.3,
            "ece_before": 0.06,
            "examples": [one, {**one, "answer": NASTY}],
        },
    }


def several_metrics() -> dict[str, Any]:
    """Sequences with any number of labels."""
    shares = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 4}
    one = {"id": "3", "truth": f"rain; {NASTY}", "answer": "", "columns": ["x"], "values": [[1.0]]}
    return {
        "task": "classify",
        "metrics": {"f1_micro": 0.8, "exact": 0.6, "accuracy": 0.9},
        "baselines": {"majority": {"f1_micro": 0.3, "exact": 0.5, "accuracy": 0.7}},
        "verdict": {"metric": "f1_micro", "against": "majority", "difference": 0.5},
        "details": {
            "classes": ["rain", NASTY],
            "by_class": dict.fromkeys(("rain", NASTY), shares),
            "examples": [one],
        },
    }


def tag_metrics() -> dict[str, Any]:
    shares = {"precision": 0.5, "recall": 0.75, "f1": 0.6, "support": 4}
    rule = "most frequent tag of the word"
    worst = {
        "id": "3",
        "tokens": ["a", NASTY],
        "truth": ["O", "B-x"],
        "answer": ["O", "O"],
        "probability": [0.5, 0.9],
    }
    return {
        "task": "tag",
        "metrics": {"span_f1": 0.9, "accuracy": 0.95, "sentences": 0.5},
        "baselines": {rule: {"span_f1": 0.5, "accuracy": 0.9, "sentences": 0.25}},
        "details": {
            "classes": ["B-x", "O"],
            "confusion": [[3, 1], [0, 5]],
            "by_class": {"O": shares, "B-x": shares},
            "by_span": {"x": shares},
            "seen": [{"words": "seen", "tokens": 5, "accuracy": {"LSTM": 0.5, rule: 0.25}}],
            "lengths": [{"from": 6, "to": None, "sentences": 3, "wrong": {"LSTM": 0.25}}],
            "sentences": [worst],
        },
    }


def translate_metrics() -> dict[str, Any]:
    one = {
        "id": "1",
        "source": "a b",
        "reference": "c d",
        "answer": NASTY,
        "chrf": 33.25,
        "kind": "typical",
        "tokens": ["c", "d"],
        "source_tokens": ["a", "b"],
        "attention": [[0.9, 0.1], [0.05, 0.95]],
    }
    return {
        "task": "translate",
        "metrics": {"bleu": 30.0, "chrf": 40.0},
        "baselines": {"copy of the source": {"bleu": 3.0, "chrf": 20.0}},
        "details": {
            "signatures": {"bleu": "tok:13a"},
            "by_length": [{"from": 1, "to": 4, "count": 3, "bleu": {"LSTM": 30.0}}],
            "examples": [one, {**one, "kind": "worst"}],
        },
    }


def transcribe_metrics() -> dict[str, Any]:
    one = {
        "id": "17.wav",
        "truth": f"say {NASTY}",
        "answer": "",
        "wrong": 2,
        "columns": [f"mel_{k}" for k in range(1, 21)],
        "values": np.arange(30 * 20, dtype=float).reshape(30, 20).tolist(),
        "seconds": 0.3,
        "sound": "data:audio/wav;base64,UklGRg==",
    }
    return {
        "task": "transcribe",
        "metrics": {"wer": 0.1, "cer": 0.05, "exact": 0.8},
        "baselines": {"most frequent transcript": {"wer": 0.9, "cer": 0.7, "exact": 0.0}},
        "details": {
            "words": [{"truth": NASTY, "answer": "", "times": 3}],
            "characters": [{"truth": "", "answer": " ", "times": 2}],
            "by_duration": [
                {"seconds": 1.0, "wer": 0.0, "recordings": 3},
                {"seconds": 2.0, "wer": 0.2, "recordings": 3},
            ],
            "examples": [one, {**one, "sound": "", "answer": one["truth"]}],
        },
    }


def language_metrics() -> dict[str, Any]:
    grams = "5-gram (Kneser-Ney)"
    return {
        "task": "language",
        "metrics": {"perplexity": 90.0, "nats_per_token": 4.5, "bits_per_character": 1.25},
        "baselines": {grams: {"perplexity": 141.0, "nats_per_token": 4.95}},
        "details": {
            "unknown": 0.05,
            "beside": grams,
            "by_rank": [{"bin": "1 to 10", "share": 1.0, "LSTM": 1.5, grams: 2.25}],
            "by_place": [{"bin": "1", "share": 1.0, "LSTM": 1.5, grams: 1.25}],
            "passages": [{"line": 7, "text": NASTY, "nats": 9.0, "beside": 8.0}],
            "samples": [{"temperature": 0.5, "text": f"{NASTY}\nline two"}],
        },
    }


FORECAST = Record(Experiment(), forecast_metrics(), columns(4, "mae"), {"python": "3.12"})
CLASSIFY = Record(Experiment(), classify_metrics(), columns(4, "accuracy"), {})
UNKNOWN = Record(
    Experiment(), {"task": "tag", "metrics": {}, "baselines": {}, "verdict": {}}, {}, {}
)
RUNS = {
    "forecast": FORECAST,
    "one step": replace(FORECAST, metrics=forecast_metrics(horizon=1)),
    "classify": CLASSIFY,
    "classify images": replace(CLASSIFY, metrics=classify_metrics(3, (28, 28))),
    "many classes": replace(CLASSIFY, metrics=classify_metrics(40, (50, 20))),
    "one epoch": replace(CLASSIFY, history=columns(1, "accuracy")),
    "empty history": replace(FORECAST, history={"epoch": [], "loss": []}),
    "transcribe": replace(CLASSIFY, metrics=transcribe_metrics(), history=columns(4, "cer")),
    "language": replace(CLASSIFY, metrics=language_metrics(), history=columns(4, "perplexity")),
    "several labels": replace(CLASSIFY, metrics=several_metrics()),
    "tag": replace(CLASSIFY, metrics=tag_metrics()),
    "translate": replace(CLASSIFY, metrics=translate_metrics()),
    "a task not drawn yet": UNKNOWN,
}


@pytest.fixture(scope="module")
def reports() -> dict[str, str]:
    return {name: draw(run) for name, run in RUNS.items()}


@pytest.fixture(params=RUNS)
def html(request, reports) -> str:
    return reports[request.param]


def rows(html: str, table: str) -> list[list[str]]:
    """The body of the table with that label: the HTML of each cell."""
    body = html.split(f'aria-label="{table}"')[1].split("<tbody>")[1].split("</tbody>")[0]
    cell = r"<t[hd][^>]*>(.*?)</t[hd]>"
    return [re.findall(cell, row, re.DOTALL) for row in body.split("</tr>")[:-1]]


def test_the_report_loads_and_runs_nothing(html):
    assert not re.search(r"https?:|//[a-z]|<script|<link|<iframe|@import|\bon\w+=", html)
    assert all(
        url.startswith(("#", "data:")) for url in re.findall(r'(?:href|src)="([^"]*)"', html)
    )
    assert set(re.findall(r"url\((.)", html)) <= {"#"}


def test_every_tag_is_closed_and_no_two_elements_share_an_id(html):
    outline = Outline(html)
    assert not outline.open
    assert len(outline.ids) == len(set(outline.ids))
    for used in re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', html):
        assert "".join(used) in outline.ids


def test_headings_come_in_order_and_every_figure_says_what_it_shows(html):
    outline = Outline(html)
    levels = [level for level, _ in outline.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    assert all(text.strip() for _, text in outline.headings)
    assert all(image["role"] == "img" and image["aria-label"] for image in outline.images)


def test_content_of_the_data_is_shown_as_text(reports):
    for name in ("forecast", "classify", "many classes", "language", "tag", "translate"):
        assert "&lt;script&gt;" in reports[name]
        assert "<b>x" not in reports[name]


def test_recordings_can_be_played_and_edits_read(reports):
    html = reports["transcribe"]
    assert html.count("<audio controls") == 1
    assert 'src="data:audio/wav;base64,UklGRg=="' in html
    assert rows(html, "Confused characters") == [["<span>–</span>", "(space)", "2"]]
    assert "transcribed: nothing" in html
    assert "correct" in html


def test_generated_and_hard_passages_of_a_language_model_are_shown(reports):
    html = reports["language"]
    assert "line two</pre>" in html
    assert "5.0 % of the tokens are unknown words" in html
    assert rows(html, "By rarity")[0][1:] == ["100.0 %", "<strong>1.50</strong>", "2.25"]
    assert rows(html, "By position in the line")[0][3] == "<strong>1.25</strong>"
    assert rows(html, "Hardest lines")[0][0] == "<span>7</span>"


def test_the_verdict_stands_before_everything_else(reports):
    html = reports["forecast"]
    assert html.index("mae lower by 6.5 %") < html.index("<h2>")
    assert html.index("<h2>Task and data") < html.index("<h2>Scores")
    assert "--tone:var(--better)" in html
    assert "--tone:var(--even)" in reports["classify"]
    assert "not distinguishable from majority" in reports["classify"]


def test_caveats_are_shown_next_to_the_verdict(reports):
    said = f"Training was interrupted: {NASTY}"
    html = draw(replace(FORECAST, metrics=forecast_metrics() | {"caveats": [said]}))
    place = html.index("Training was interrupted: &lt;script&gt;")
    assert html.index("mae lower by 6.5 %") < place < html.index("</header>")
    assert 'class="caveat"' not in reports["forecast"]


def test_a_calibration_error_is_defined_and_never_bold():
    metrics = classify_metrics()
    metrics["metrics"]["ece"], metrics["baselines"]["majority"]["ece"] = 0.05, 0.0001
    html = draw(replace(CLASSIFY, metrics=metrics))
    accurate, majority = rows(html, "Scores on the test part")
    assert accurate[3].startswith("0.05")
    assert majority[3].startswith("0.0001")
    assert "a model that always predicts the shares of the classes has almost no such error" in html


def test_the_report_states_that_predictions_are_thinned():
    for answers, said in ((694, True), (2017, False)):
        counts = {"answers": answers, "of": 2017, "rows": 48 * answers}
        html = draw(replace(FORECAST, metrics=forecast_metrics() | {"predictions": counts}))
        sentence = "predictions.csv holds 694 of the 2,017 predictions, evenly spread."
        assert (sentence in html) is said


def test_a_wide_table_names_every_number_for_narrow_screens():
    metrics = forecast_metrics()
    metrics["metrics"] |= {"rmse": 2.0, NASTY: 1.0}
    html = draw(replace(FORECAST, metrics=metrics))
    body = html.split('aria-label="Scores on the test part"')[1].split("</table>")[0]
    names = ["mae ↓", "mase ↓", "coverage", "rmse ↓", NASTY]
    assert re.findall('data-name="([^"]*)"', body)[:5] == [*names[:4], escape(NASTY)]
    assert "attr(data-name)" in html
    sizes = html.split('aria-label="Coverage of the bands"')[1].split("</table>")[0]
    assert "data-name" not in sizes, "a narrow table stays a table"
    language = draw(RUNS["language"])
    for table in ("Scores on the test part", "By rarity"):  # few columns with long names
        assert "data-name" in language.split(f'aria-label="{table}"')[1].split("</table>")[0]


def test_the_first_time_of_a_forecast_keeps_its_minutes():
    metrics = forecast_metrics()
    one = metrics["details"]["examples"][0]
    one["past_times"] = [f"2014-07-01T{hour:02}:00" for hour in range(20)]
    one["times"] = [f"2014-07-01T{hour:02}:00" for hour in range(20, 24)] + ["2014-07-02"]
    assert "from 2014-07-01 20:00, error 0.25" in draw(replace(FORECAST, metrics=metrics))


def test_a_blend_is_named_as_in_the_table_of_scores():
    metrics = forecast_metrics()
    name = "LSTM with ridge on the window"
    report = draw(replace(FORECAST, metrics=metrics | {"answer": name, "alone": {"mae": 1.5}}))
    assert f"The {name}, then the LSTM alone, then the simplest baselines" in report


def test_a_worse_verdict_has_its_own_colour():
    metrics = forecast_metrics()
    metrics["verdict"]["better"] = False
    assert "--tone:var(--worse)" in draw(replace(FORECAST, metrics=metrics))


def test_the_lstm_comes_first_and_the_best_of_each_metric_is_bold(reports):
    lstm, naive, nasty = rows(reports["forecast"], "Scores on the test part")
    assert lstm[1:] == ["<strong>1.250</strong>", "–", "0.7700"]
    assert naive[1:] == ["3.500", "1.000", "0.8000"]  # alone in its column; coverage has no best
    assert nasty[1:] == ["1.500", "–", "–"]
    accurate, majority = rows(reports["classify"], "Scores on the test part")
    assert accurate[1:] == ["<strong>0.9000</strong>", "<strong>0.4000</strong>"]
    assert majority[1:] == ["0.5000", "<strong>0.4000</strong>"]  # as good as the other


def test_every_metric_is_defined_with_its_direction(reports):
    assert "mean absolute error" in reports["forecast"]
    assert "closest to nominal is best" in reports["forecast"]
    assert re.search(r"<dt>accuracy</dt><dd>[^<]*higher is better", reports["classify"])


def test_the_metric_of_the_verdict_on_several_labels_is_shown_like_any_other(reports):
    html = reports["several labels"]
    assert rows(html, "Scores on the test part")[0][1] == "<strong>0.8000</strong>"
    assert "f1_micro ↑" in html and "better →" in html
    assert re.search(r"<dt>f1_micro</dt><dd>[^<]*higher is better", html)
    (exact,) = re.findall(r"<dt>exact</dt><dd>([^<]*)", html)
    assert "label" in exact and "recordings" not in exact


@pytest.mark.parametrize("metric", ["scaled mae", "quantile loss", "scaled quantile loss"])
def test_the_interval_of_every_verdict_shows_which_side_is_better(metric):
    metrics = forecast_metrics()
    metrics["verdict"]["metric"] = metric
    assert "← better" in draw(replace(FORECAST, metrics=metrics))


def test_a_translation_is_shown_next_to_its_reference_and_attention(reports):
    html = reports["translate"]
    assert rows(html, "Worst translations")[0][3] == "33.2"
    assert rows(html, "Attention, 1") == [
        ["<span>c</span>", "90", "10"],
        ["<span>d</span>", "", "95"],
    ]


def test_wrong_tags_are_shown_next_to_their_sentence(reports):
    html = reports["tag"]
    assert "B-x, taken for O (90 % sure)" in html
    assert rows(html, "Scores by span") == [["<span>x</span>", "0.500", "0.750", "0.600", "4"]]
    assert rows(html, "Wrong tokens by length")[0][0] == "<span>6 and more</span>"


def test_the_same_run_gives_the_same_bytes(reports):
    assert draw(FORECAST) == reports["forecast"]
    assert draw(RUNS["classify images"]) == reports["classify images"]


def test_drawing_does_not_change_the_settings_of_matplotlib(reports):
    with matplotlib.rc_context({"font.size": 31, "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        assert draw(FORECAST) == reports["forecast"]
        assert dict(matplotlib.rcParams) == before


def test_a_forecast_shows_its_bands_its_horizon_and_its_coverage(reports):
    titles = [text for _, text in Outline(reports["forecast"]).headings]
    assert "Forecasts and truth" in titles
    assert "Error by step of the horizon" in titles
    assert "10 % to 90 %" in reports["forecast"]
    assert "drift: cut off at the top" in reports["forecast"]
    assert rows(reports["forecast"], "Coverage of the bands")[0][1:] == [
        "80.0 %",
        "77.0 %",
        "−3.0 points",
    ]


def test_the_series_with_the_largest_error_comes_first(reports):
    weakest, strongest = rows(reports["forecast"], "Error by series")
    assert "&lt;script&gt;" in weakest[0]
    assert weakest[1:] == ["3.000", "<strong>2.000</strong>"]
    assert strongest[1:] == ["<strong>1.000</strong>", "2.000"]


def test_a_confusion_matrix_holds_every_count(reports):
    matrix = rows(reports["classify"], "Confusion matrix")
    assert [row[1:] for row in matrix] == [["8", "1", "1"], ["1", "8", "1"], ["1", "1", "8"]]


def test_with_too_many_classes_the_most_confused_pairs_are_shown(reports):
    assert "Confusion matrix" not in reports["many classes"]
    assert len(rows(reports["many classes"], "Most confused pairs")) == 15


@pytest.mark.parametrize("name", RUNS)
def test_every_table_scrolls_in_its_own_box(reports, name):
    html = reports[name]
    assert html.count("<table") == len(re.findall(r'<div class="scroll"[^>]*>\s*<table', html))
    assert re.search(r"\.scroll \{ overflow-x: auto", html)


def test_a_column_of_large_numbers_does_not_change_the_shading_of_others():
    def pictures(size):
        metrics = classify_metrics(3, (20, 12))
        for one in metrics["details"]["examples"]:
            one["values"] = [[size * row[0], *row[1:]] for row in one["values"]]
            one["columns"] = [f"x{k}" for k in range(12)]
        html = draw(replace(CLASSIFY, metrics=metrics))
        assert "Each row is a column of the data, from x0 at the bottom to x11 at the top" in html
        return re.findall(r"data:image/png;base64[^\"]+", html)

    assert pictures(1.0) and pictures(1.0) == pictures(1e6)


def test_only_wrong_answers_are_shown_as_mistakes(reports):
    assert reports["classify"].count(", taken for class 1</h3>") == 1
    assert "98.0 % sure" in reports["classify"]


def test_rows_of_an_image_are_drawn_as_an_image(reports):
    assert "data:image/png;base64" in reports["classify images"]
    assert "data:image/png;base64" not in reports["classify"]


def test_a_run_without_details_or_training_still_makes_a_report(reports):
    assert "no verdict" in reports["a task not drawn yet"]
    assert "Training history" not in reports["a task not drawn yet"]
    assert "Training history" not in reports["empty history"]
    assert "Forecasts and truth" in reports["empty history"]


def test_settings_that_differ_from_the_defaults_come_first():
    settings = Experiment().having("training", epochs=7).having("network", units=(64, 32))
    html = draw(replace(UNKNOWN, settings=settings))
    assert rows(html, "Settings that differ from the defaults") == [
        ["<span>network.units</span>", "64, 32", "none"],
        ["<span>training.epochs</span>", "7", "0"],
    ]
    assert "[preparation]" in html.split("<details>")[1]


def test_the_command_to_repeat_the_run_is_quoted_for_the_shell():
    metrics = {**UNKNOWN.metrics, "data": "my data.csv", "run": "runs/a b"}
    html = draw(replace(UNKNOWN, metrics=metrics))
    assert "gatewise train &#39;my data.csv&#39; --config &#39;runs/a b/settings.toml&#39;" in html


def test_a_given_title_is_used():
    settings = Experiment().having("report", title="Taxis & trains")
    assert "<h1>Taxis &amp; trains</h1>" in draw(replace(UNKNOWN, settings=settings))


def test_long_runs_and_long_sequences_stay_small():
    metrics = classify_metrics(30, (20_000, 3))
    metrics["details"]["examples"] *= 6
    history = {
        name: np.random.default_rng(0).random(5_000).tolist() for name in ("loss", "val_loss")
    }
    assert len(draw(Record(Experiment(), metrics, history, {}))) < 500_000


@pytest.mark.parametrize("gone", ["metrics", "verdict", "baselines", "details"])
def test_a_part_that_is_missing_is_left_out(gone):
    for make in (forecast_metrics, classify_metrics):
        metrics = {name: value for name, value in make().items() if name != gone}
        assert "<h1>" in draw(replace(FORECAST, metrics=metrics))


def details_of(make):
    return [(make, name) for name in make()["details"]]


@pytest.mark.parametrize(
    ("make", "gone"), details_of(forecast_metrics) + details_of(classify_metrics)
)
def test_a_detail_that_is_missing_is_left_out(make, gone):
    metrics = make()
    del metrics["details"][gone]
    assert "<h1>" in draw(replace(FORECAST, metrics=metrics))


def test_a_run_saved_before_answers_had_names_shows_the_lstm(reports):
    assert "The LSTM, then the simplest baselines" in reports["classify"]
    assert "LSTM minus majority" in reports["classify"]
