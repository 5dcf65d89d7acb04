"""A stream answers as predict does, however it is cut, and tells what it cannot answer."""

import io
import json
import subprocess
import sys
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

import gatewise
from gatewise import prediction
from gatewise.data.preparation import Preparation
from gatewise.errors import ConfigError, DataError
from gatewise.runs import artefact
from gatewise.settings import DataSettings, from_mapping
from gatewise.streaming import advance, lines
from gatewise.streaming.memory import Memory
from gatewise.streaming.plan import Plan
from gatewise.streaming.rows import RowReader
from gatewise.training.ready import make_ready

CUTS = [(1,) * 40, (3, 1, 5, 40), (40,)]  # steps of each push


def untrained(table, /, **settings):
    """An artefact with the preparation of these data and the first weights of its network."""
    settings.setdefault("network", {"units": [3]})
    ready = make_ready(from_mapping(settings), table)
    return artefact.Artefact(
        None, ready.experiment, ready.preparation, ready.network, {}, {"engine": {}}, {}
    )


def pushed(stream, rows, cut):
    """The answers to rows that are pushed in pieces."""
    answers, begin = [], 0
    for size in cut:
        stream.push(rows[begin : begin + size])
        answers += stream.read()
        begin += size
    return answers


def same(answer, row):
    """Whether an answer has the columns and numbers of a row of `gatewise.predict`."""
    for name, value in row.items():
        if name in ("id", "truth"):
            continue
        close = pytest.approx(value, rel=1e-4, abs=1e-5) if isinstance(value, float) else value
        assert answer[name] == close, name


@pytest.mark.parametrize("cut", CUTS)
def test_a_class_is_answered_after_each_step_as_the_steps_so_far_are(
    cut, classify_run, sequences_file
):
    table = pl.read_csv(sequences_file).filter(pl.col("id") == "walk 7")
    stream = gatewise.Stream(classify_run)
    answers = pushed(stream, table.to_dicts(), cut)
    assert [one["step"] for one in answers] == list(range(1, len(table) + 1))
    for answer in answers[::3]:
        ((row),) = gatewise.predict(classify_run, table[: answer["step"]]).to_dicts()
        same(answer, row)


@pytest.mark.parametrize("cut", CUTS)
def test_a_forecast_rolls_on_with_each_value(cut, forecast_run, series_file):
    table = pl.read_csv(series_file)[:12]
    stream = gatewise.Stream(forecast_run)
    answers = pushed(stream, table.to_dicts(), cut)
    assert [one["step"] for one in answers] == [k for k in range(8, 13) for _ in range(4)]
    for step in (8, 12):
        rows = gatewise.predict(forecast_run, table[:step]).to_dicts()
        for answer, row in zip([a for a in answers if a["step"] == step], rows, strict=True):
            same(answer, row)


def test_streams_that_advance_together_answer_as_each_alone(classify_run, sequences_file):
    steps = [
        one.select("x", "y").to_numpy()
        for _, one in pl.read_csv(sequences_file).group_by("id", maintain_order=True)
    ][:5]
    first = gatewise.Stream(classify_run)
    streams = [first, *(first.new() for _ in steps[1:])]
    found = [[] for _ in steps]
    for begin, end in ((0, 2), (2, 3), (3, 40)):
        for stream, one in zip(streams, steps, strict=True):
            stream.push(one[begin:end])
        advance(streams)
        for answers, stream in zip(found, streams, strict=True):
            answers += stream.read()
    for answers, one in zip(found, steps, strict=True):
        alone = first.new()
        alone.push(one)
        for answer, row in zip(answers, alone.read(), strict=True):
            same(answer, row)


def test_a_stream_continues_in_another_process(classify_run, forecast_run, series_file, tmp_path):
    rows = pl.read_csv(series_file)["load"].to_numpy()[:20]
    for run, steps in ((classify_run, np.stack([rows, rows[::-1]], axis=1)), (forecast_run, None)):
        stream = gatewise.Stream(run)
        data = pl.read_csv(series_file)[:20].to_dicts() if steps is None else steps
        stream.push(data[:13])
        stream.read()
        (tmp_path / "state").write_bytes(stream.state())
        stream.push(data[13:])
        wanted = stream.read()
        other = gatewise.Stream(run)
        other.restore((tmp_path / "state").read_bytes())
        assert other.step == 13
        other.push(data[13:])
        assert other.read() == wanted


def test_a_state_of_another_run_or_of_nothing_is_refused(classify_run, forecast_run):
    stream = gatewise.Stream(classify_run)
    with pytest.raises(ConfigError, match="a stream of another run"):
        stream.restore(gatewise.Stream(forecast_run).state())
    for state in (b"", b"PK", stream.state()[:-30]):
        with pytest.raises(ConfigError, match="not the state of a stream"):
            stream.restore(state)


def numbers(steps=30):
    """Sequences of two columns, each with a target at each step and one for the whole."""
    random = np.random.default_rng(0)
    names = np.repeat([f"s{k}" for k in range(12)], steps)
    x = random.normal(size=(len(names), 2))
    level = np.repeat(random.normal(size=12), steps)
    return pl.DataFrame(
        {"id": names, "x": x[:, 0], "y": x[:, 1], "now": x.sum(axis=1), "level": level}
    )


@pytest.mark.parametrize(("pooling", "summary"), [("last", "no"), ("mean-max", "yes")])
def test_a_number_is_answered_after_each_step_whatever_the_pooling(pooling, summary):
    table = numbers().drop("now")
    network = {"units": [3, 2], "pooling": pooling, "normalization": "layer", "dense": [4]}
    network["summary_features"] = summary
    run = untrained(table, task={"name": "regress"}, data={"target": ["level"]}, network=network)
    one = table.filter(pl.col("id") == "s3")
    stream = gatewise.Stream(run)
    stream.push(one.select(stream.columns).to_numpy())
    for answer in stream.read()[::10]:
        for row in gatewise.predict(run, one[: answer["step"]]).to_dicts():
            same({**answer, "target": "level"}, row)


@pytest.mark.parametrize("window", [0, 7])
def test_a_number_at_each_step_is_that_of_the_last_steps(window):
    table = numbers().drop("level")
    run = untrained(table, task={"name": "regress"}, data={"target": ["now"]})
    one = table.filter(pl.col("id") == "s3")
    stream = gatewise.Stream(run, window=window)
    answers = pushed(stream, one.to_dicts(), CUTS[1])
    assert len(answers) == 30
    for step in (1, 6, 20):
        last = one[step - window if window and step > window else 0 : step]
        row = gatewise.predict(run, last).to_dicts()[-1]
        del row["step"]
        same(answers[step - 1], row)


def test_windows_of_a_run_are_answered_as_predict_cuts_them():
    table = numbers().drop("now")
    run = untrained(
        table,
        task={"name": "regress", "window": 8, "stride": 5},
        data={"target": ["level"]},
        network={"units": [3], "bidirectional": True},
    )
    one = table.filter(pl.col("id") == "s3")
    stream = gatewise.Stream(run)
    answers = pushed(stream, one.to_dicts(), CUTS[1]) + stream.finish()
    rows = gatewise.predict(run, one).to_dicts()
    assert [one["step"] for one in answers] == [8, 13, 18, 23, 28, 30]
    for answer, row in zip(answers[:-1], rows, strict=True):
        same(answer, row)


def test_a_network_that_reads_backwards_needs_a_window():
    table = numbers().drop("now")
    network = {"units": [3], "bidirectional": True}
    run = untrained(table, task={"name": "regress"}, data={"target": ["level"]}, network=network)
    with pytest.raises(ConfigError, match="reads the last step first. Give a window"):
        gatewise.Stream(run)
    one = table.filter(pl.col("id") == "s3")
    stream = gatewise.Stream(run, window=9, every=3)
    answers = pushed(stream, one.to_dicts(), CUTS[2])
    assert [one["step"] for one in answers] == list(range(9, 31, 3))
    (row,) = gatewise.predict(run, one[3:12]).to_dicts()
    same(answers[1], row)


def test_settings_that_need_all_steps_are_named():
    network = {"filters": [2], "asinh_features": 0.1, "pooling": "attention", "bidirectional": True}
    data = {"target": ["level"]}
    table = numbers(3).drop("now")
    run = untrained(table, task={"name": "regress"}, data=data, network=network)
    with pytest.raises(ConfigError) as raised:
        gatewise.Stream(run)
    for name, words in (
        ("bidirectional = true", "reads the last step first"),
        ("asinh_features = 0.1", "the mean of all"),
        ("pooling = attention", "weighs all steps"),
    ):
        assert f"network.{name}" in str(raised.value) and words in str(raised.value)


SHAKEN = np.random.default_rng(0).integers(-150, 150, 60)  # seconds
JITTER = SHAKEN * np.timedelta64(1_000_000, "us")


@pytest.mark.parametrize(
    "times",
    [
        np.datetime64("2023-01-01") + np.arange(60) * np.timedelta64(1, "h") + JITTER,
        np.busday_offset("2023-01-02", np.arange(60)) + np.timedelta64(8, "h") + JITTER,
        np.arange(60) / 10 + SHAKEN / 50_000,
    ],
    ids=["dates", "weekdays", "numbers"],
)
def test_times_that_jitter_are_the_same_steps_in_a_stream_as_in_a_file(times):
    table = pl.DataFrame({"time": times, "load": np.sin(np.arange(60.0))})
    run = untrained(
        table,
        task={"name": "forecast", "horizon": 3, "lookback": 6},
        data={"target": ["load"], "time": ["time"], "gaps": "fill", "missing": "previous"},
        preparation={"calendar": ["minute", "hour"] if times.dtype.kind == "M" else ["none"]},
    )
    missing = table.filter(~pl.int_range(60).is_in([17, 25, 26]))[:25]
    stream = gatewise.Stream(run)
    answers = pushed(stream, missing.to_dicts(), (25,))[-3:]
    for answer, row in zip(answers, gatewise.predict(run, missing).to_dicts(), strict=True):
        assert answer["step"] == 28
        same(answer, row)


@pytest.mark.parametrize("hour", [0, 8])
def test_days_with_a_zone_are_the_same_hours_in_a_stream_as_in_a_file(hour):
    """Midnights stay local, and other times become UTC."""
    begin = np.datetime64(f"2023-01-01T{hour:02d}")
    table = pl.DataFrame(
        {
            "time": [str(begin + np.timedelta64(24 * k, "h")) + ":00" for k in range(60)],
            "load": np.sin(np.arange(60.0)),
        }
    )
    run = untrained(
        table,
        task={"name": "forecast", "horizon": 3, "lookback": 6},
        data={"target": ["load"], "time": ["time"], "timezone": "Asia/Tokyo"},
        preparation={"calendar": ["hour", "weekday"]},
    )
    answers = pushed(gatewise.Stream(run), table[:25].to_dicts(), (25,))[-3:]
    for answer, row in zip(answers, gatewise.predict(run, table[:25]).to_dicts(), strict=True):
        same(answer, row)


def test_rows_ahead_tell_what_is_known_of_the_future():
    days = np.datetime64("2023-01-01") + np.arange(60) * np.timedelta64(1, "D")
    random = np.random.default_rng(0)
    table = pl.DataFrame(
        {
            "day": days,
            "sales": 2 + random.random(60),
            "promotion": random.integers(0, 2, 60).astype(float),
            "weather": random.choice(["sun", "rain"], 60),
        }
    )
    run = untrained(
        table,
        task={"name": "forecast", "horizon": 3, "lookback": 6},
        data={"target": ["sales"], "known": ["promotion"], "past": ["weather"], "time": ["day"]},
    )
    future = table.with_columns(sales=pl.when(pl.int_range(60) < 20).then("sales"))
    stream = gatewise.Stream(run)
    stream.push(table[:19])
    assert not stream.read(), "nothing is known of the days ahead"
    stream.push(future[19:22])
    assert not stream.read()
    stream.push(future[22:23].drop("sales"))
    rows = gatewise.predict(run, future[:23]).to_dicts()
    for answer, row in zip(stream.read(), rows, strict=True):
        same(answer, row)
    # A row ahead comes true, and another one follows.
    stream.push(table[20:21])
    stream.push(future[23:24])
    later = table.with_columns(sales=pl.when(pl.int_range(60) < 21).then("sales"))[:24]
    for answer, row in zip(stream.read(), gatewise.predict(run, later).to_dicts(), strict=True):
        assert answer["step"] == 21
        same(answer, row)


def test_a_bad_row_is_named_and_changes_nothing(classify_run, forecast_run):
    stream = gatewise.Stream(classify_run)
    stream.push([1.0, 2.0])
    assert len(stream.read()) == 1
    for row, words in (
        ({"x": 1}, "The row has no column 'y'"),
        ({"x": "abc", "y": 1}, "Column 'x' must hold numbers, but holds 'abc'"),
        ({"x": float("inf"), "y": 1}, "Column 'x' must hold numbers"),
        ({"x": None, "y": 1}, "'x': the row has no value"),
        ([1.0, 2.0, 3.0], r"A step has the columns 'x', 'y'.*the shape \[3\]"),
        (np.zeros((2, 2, 2)), r"the shape \[2, 2, 2\]"),
        ("abc", "Received: 'abc'"),
        (None, "Received: None"),
        ([[1.0, 2.0], [float("nan"), 1.0]], "'x': the row has no value"),
    ):
        with pytest.raises(DataError, match=words):
            stream.push(row)
    assert stream.step == 1
    stream.push([1e39, 0.0])
    with pytest.raises(DataError, match="Give values of the size seen in training"):
        stream.read()
    assert stream.step == 1, "the row that cannot be answered is forgotten"
    stream.push([0.5, 0.5])
    assert [one["step"] for one in stream.read()] == [2]
    stream = gatewise.Stream(forecast_run)
    stream.push({"day": "2023-01-01", "load": 1})
    for day, words in (
        ("2023-01-01", "is not after 2023-01-01"),
        ("2023-01-04", r"is not one step \(1d\) after 2023-01-01"),
        ("yesterday", "'yesterday' cannot be read"),
        (datetime(2023, 1, 2, tzinfo=ZoneInfo("Asia/Tokyo")), "is in the zone Asia/Tokyo, but"),
        ("2023-01-02 00:00+09:00", r"is in the zone \+09:00, but the run"),
    ):
        with pytest.raises(DataError, match=words):
            stream.push({"day": day, "load": 1})
    with pytest.raises(DataError, match="The row has no time"):
        stream.push([1.0])


def reader(**settings):
    """A reader of rows with the column x, the static ones size and kind, and days."""
    fitted = Preparation(
        "forecast", ("x",), ("x",), None, None, step="1d", static_scale={"size": (0.0, 1.0)}
    )
    plan = Plan(preparation=fitted, columns=("x",), static=("size", "kind"))
    return RowReader(plan, DataSettings(time=("day",), missing_values=("", "n.a."), **settings))


def test_an_empty_static_cell_is_told_by_another_row_or_refused():
    rows, memory = reader(), Memory()
    for empty in (None, "", "n.a.", float("nan")):
        with pytest.raises(DataError, match="'size': the row has no value.*Give it"):
            rows.read({"day": "2023-01-01", "x": 1, "size": empty, "kind": "a"}, memory)
    for day, size, kind in ((1, 2, "a"), (2, None, None), (3, "", "n.a."), (4, "2", "a")):
        rows.read({"day": f"2023-01-0{day}", "x": 1, "size": size, "kind": kind}, memory)
        assert memory.static == {"size": 2.0, "kind": "a"}


def test_advice_on_a_gap_is_not_what_the_run_does_already():
    row = {"x": 1, "size": 2, "kind": "a"}
    for gaps, said in (("error", "or train with"), ("fill", "inserts at most 10,000 whole steps")):
        rows, memory = reader(gaps=gaps), Memory()
        rows.read(row | {"day": "1923-01-01"}, memory)
        with pytest.raises(DataError, match=said) as refused:
            rows.read(row | {"day": "2023-01-01"}, memory)
        assert ("train" in str(refused.value)) == (gaps == "error")


def test_one_bad_stream_does_not_end_the_others(classify_run):
    good = gatewise.Stream(classify_run)
    bad = good.new()
    good.push([1.0, 2.0])
    bad.push([1e39, 0.0])
    advance([good, bad])
    assert len(good.read()) == 1
    with pytest.raises(DataError, match="size seen in training"):
        bad.read()


def test_a_short_stream_says_what_it_lacked(forecast_run, caplog):
    stream = gatewise.Stream(forecast_run)
    stream.push({"day": "2023-01-01", "load": 1})
    assert stream.finish() == []
    assert "The stream ended after 1 step, but an answer needs 8." in caplog.text
    assert stream.step == 0


def test_a_stream_imports_no_keras(classify_run):
    code = (
        "import sys, gatewise\n"
        f"stream = gatewise.Stream({str(classify_run)!r})\n"
        "stream.push([[1.0, 2.0]] * 3)\n"
        "assert len(stream.read()) == 3\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"keras", "jax", "tensorflow", "torch"} & set(done.stdout.split())


def test_arguments_that_do_not_fit_are_refused(forecast_run, classify_run):
    with pytest.raises(ConfigError, match="reads windows of 8 steps. Leave window out"):
        gatewise.Stream(forecast_run, window=9)
    with pytest.raises(ConfigError, match="every must be a whole number from 1. Received: 0"):
        gatewise.Stream(classify_run, every=0)
    assert prediction.artefact_of(classify_run, gatewise.load).stream().columns == ("x", "y")


def answered(stream, text, complain=None, **options):
    """What the shell prints for some lines, which arrive in two reads."""
    content, out = text.encode() if isinstance(text, str) else text, []
    chunks = [content[:9], content[9:], b""]
    lines.answer(stream, chunks, write=out.append, complain=complain, **options)
    return "".join(out).splitlines()


def test_a_line_out_for_each_row_in(classify_run, sequences_file):
    """In CSV and in JSON, with a stream for each id, and with a sentence for each bad line."""
    rows = pl.read_csv(sequences_file).filter(pl.col("id").is_in(["walk 3", "walk 4"]))
    mixed = rows.sort(pl.int_range(pl.len()).over("id"), maintain_order=True)
    answers = pl.read_csv(
        io.StringIO("\n".join(answered(gatewise.Stream(classify_run), mixed.write_csv())))
    )
    assert answers.height == rows.height
    for (name,), one in answers.group_by("id"):
        last = one.sort("step")[-1].to_dicts()[0]
        whole = rows.filter(pl.col("id") == name)
        same(last, gatewise.predict(classify_run, whole).to_dicts()[0])
    said = []
    bad = '{"id": "a", "x": 1, "y": 2}\n{"id": "a", "x": 1e39, "y": 2}\n{"x": 1\n\n[1, 2]\n[1]\n'
    found = answered(gatewise.Stream(classify_run), bad, said.append)
    assert [json.loads(line)["step"] for line in found] == [1, 1]
    assert [text.split(":")[0] for text in said] == ["Line 3", "Line 6", "Line 2"]
    with pytest.raises(DataError, match="Line 3: It is not JSON"):
        answered(gatewise.Stream(classify_run), bad)


def test_after_a_line_that_is_left_out_the_sequence_begins_anew(forecast_run, series_file):
    """Else the rows after it are never one step after the last one, and nothing is answered."""
    whole = series_file.read_text(encoding="utf-8").splitlines()
    said, text = [], "\n".join([*whole[:40], "2023-01-01x,3", *whole[41:]])
    found = answered(gatewise.Stream(forecast_run), text, said.append)
    expected = [
        line
        for part in (whole[:40], [whole[0], *whole[41:]])
        for line in answered(gatewise.Stream(forecast_run), "\n".join(part))[1:]
    ]
    assert found[1:] == expected
    assert [one.partition(":")[0] for one in said] == ["Line 41", "Line 42"]
    assert "is not one step (1d) after" in said[1]
    assert said[1].endswith("The sequence begins anew with this line.")
    with pytest.raises(DataError, match="Line 41: The time .* cannot be read"):
        answered(gatewise.Stream(forecast_run), text)
    text = "\n".join([*whole[:40], *whole[41:]])
    with pytest.raises(DataError, match="Line 41: The time .* is not one step"):
        answered(gatewise.Stream(forecast_run), text)


def test_without_times_a_line_that_is_left_out_ends_the_sequence(classify_run):
    """Nothing else would show that a step is missing; ids that lost no line go on."""
    said = []
    text = "x,y\n1,2\n3,4\nbad,4\n5,6\n7,8\n"
    found = answered(gatewise.Stream(classify_run), text, said.append)
    assert [line.split(",")[0] for line in found[1:]] == ["1", "2", "1", "2"]
    assert [one.partition(":")[0] for one in said] == ["Line 4", "Line 5"]
    assert "A line before it was left out. The sequence begins anew" in said[1]
    said.clear()
    rows = ["id,x,y", "a,1,2", "b,1,2", "a,bad,2", "b,3,4", "a,3,4"]
    found = answered(gatewise.Stream(classify_run), "\n".join(rows), said.append)
    steps = [tuple(line.split(",")[:2]) for line in found[1:]]
    assert sorted(set(steps)) == [("a", "1"), ("b", "1"), ("b", "2")]


def test_a_new_file_whose_times_go_back_begins_the_sequence_anew(forecast_run, series_file):
    whole = series_file.read_text(encoding="utf-8")
    said, out = [], []
    chunks = [whole.encode(), None, whole.encode(), b""]
    stream = gatewise.Stream(forecast_run)
    lines.answer(stream, chunks, write=out.append, complain=said.append)
    once = answered(gatewise.Stream(forecast_run), whole)
    assert "".join(out).splitlines() == [*once, *once[1:]]
    assert len(said) == 1
    assert "The times of the new file go back. The sequence begins anew" in said[0]


def test_a_header_without_the_times_that_the_run_reads_is_refused(forecast_run):
    with pytest.raises(ConfigError, match="it has no day.*--columns day,load"):
        answered(gatewise.Stream(forecast_run), "load\n1\n")


@pytest.mark.parametrize("text", ["1,2\n", "x,z\n1,2\n", "no"])
def test_lines_without_a_header_are_refused(classify_run, text):
    with pytest.raises(ConfigError, match="must name the columns, but it has no .*--columns x,y"):
        answered(gatewise.Stream(classify_run), text)
    named = answered(gatewise.Stream(classify_run), "1,2\n", columns=("x", "y"))
    assert named[0].startswith("step,label,p(")
    assert len(named) == 2


BAD_LINES = {
    '{"x": 1, "y": "\\ud800"}': "half of a character",
    '{"x": 1, "y": 1' + "0" * 400 + "}": "must hold numbers",
    '{"x": 1, "y": 1' + "0" * 5000 + "}": "thousands of digits",
    '{"x": 1, "x": 1, "y": 2}': "the key 'x' twice",
    "[" * 100_000: "nested too deeply",
    "1," + "1" * 140_000: "not separated text",
    "1,\0": "must hold numbers",
    "1,2_0": "must hold numbers",  # 20 for Python, not for files
    '1,"2': "not separated text: unexpected end of data",
    '{"id": null, "x": 1, "y": 2}': "has no sequence id: column 'id' is empty",
    '{"id": " NA ", "x": 1, "y": 2}': "has no sequence id",
}


@pytest.mark.parametrize("line", BAD_LINES, ids=BAD_LINES.values())
def test_a_line_that_no_parser_takes_is_a_sentence(classify_run, line):
    good = '{"x": 1, "y": 2}' if line[0] in "[{" else "x,y\n1,2"
    said = []
    found = answered(gatewise.Stream(classify_run), f"{good}\n{line}\n", said.append)
    assert found[-1]
    assert BAD_LINES[line] in "".join(said)
