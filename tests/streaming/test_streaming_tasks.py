"""Texts, tokens and recordings in parts: a stream answers as predict does, however it is cut."""

import itertools
import os
import signal

import numpy as np
import polars as pl
import pytest
import soundfile
from test_streaming import answered, same

import gatewise
from gatewise.errors import ConfigError, DataError
from gatewise.networks.ensemble import Member, average
from gatewise.runs import artefact
from gatewise.runtime.describe import describe
from gatewise.runtime.network import Network
from gatewise.settings import from_mapping
from gatewise.streaming import sources
from gatewise.training.ready import make_ready

RATE = 2000
TEXT = "Call  now for a free prize, it's yours!\nTell me: the café is CLOSED  today. naïve"


def untrained(source, /, members=0, baselines=False, **settings):
    """A run that predicts without Keras, with the first weights of its network, but larger."""
    settings.setdefault("network", {}).setdefault("units", [4])
    ready = make_ready(from_mapping(settings), source)
    random = np.random.default_rng(5)
    for weight in ready.network.trainable_variables:
        weight.assign(weight + random.normal(size=weight.shape) * 0.4)
    model = ready.task.network.inference_model(ready.network)
    if members:
        shift = (np.full(2, 1.5), np.full(2, -0.25))
        shapes = ready.task.shapes(ready.train, ready.preparation)
        model = average([Member(model), Member(model, inputs=shift)], shapes)
    state = ready.task.fit_baselines(ready.train, None, ready.preparation) if baselines else {}
    network = Network(describe(model))
    return artefact.Artefact(
        None, ready.experiment, ready.preparation, network, state, {"engine": {}}, {}
    )


def cuts(whole, seed):
    """A sequence in random parts; 0: step by step, 1: at once."""
    random = np.random.default_rng(seed)
    most = (1, len(whole))[seed] if seed < 2 else max(2, len(whole) // 4)
    begin = 0
    while begin < len(whole):
        size = most if seed < 2 else int(random.integers(1, most))
        yield whole[begin : begin + size]
        begin += size


def streamed(run, parts, *, moved=None, **options):
    """The answers to all parts; before part `moved`, the stream moves to another place."""
    stream, found = gatewise.Stream(run, **options), []
    for number, part in enumerate(parts):
        if number == moved:
            state = stream.state()
            stream = gatewise.Stream(run, **options)
            stream.restore(state)
        stream.push(part)
        found += stream.read()
    return found + stream.finish()


def alike(found, wanted):
    """Whether two lists of answers are the same but for rounding."""
    assert [one["step"] for one in found] == [one["step"] for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        same(one, other)


def texts(name, **settings):
    """A run on texts that are labelled or valued."""
    random, words = np.random.default_rng(0), TEXT.split()
    rows = [" ".join(random.choice(words, 6)) for _ in range(30)]
    table = pl.DataFrame({"text": rows, "y": random.normal(size=30), "label": ["a", "b", "c"] * 10})
    table = table.drop("label" if name == "regress" else "y")
    data = {"text": ["text"]} | ({"target": ["y"]} if name == "regress" else {"label": "label"})
    return untrained(table, task={"name": name, **settings.pop("task", {})}, data=data, **settings)


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("classify", {"preparation": {"tokenizer": "words"}}),
        ("classify", {"preparation": {"tokenizer": "characters", "max_length": 40}}),
        ("regress", {"preparation": {"tokenizer": "bpe", "vocabulary_size": 300}}),
        ("regress", {"preparation": {"tokenizer": "whitespace", "lowercase": True}}),
        ("classify", {"network": {"bidirectional": True}}),
        ("classify", {"network": {"filters": [3], "kernel_size": 3, "strides": 2}}),
        ("classify", {"preparation": {"max_length": 5, "truncation": "start"}}),
        ("classify", {"task": {"blend": "logistic"}, "baselines": True}),
    ],
)
def test_a_text_in_parts_is_answered_after_each_token_as_its_beginning_is(task, settings):
    run = texts(task, **settings)
    wanted = streamed(run, [TEXT])
    for seed in (0, 2, 3):
        parts = list(cuts(TEXT, seed))
        alike(streamed(run, parts, moved=len(parts) // 2), wanted)
    _, written = run.preparation.own.vocabulary.written(TEXT)
    for answer in (wanted[0], wanted[4], wanted[-1]):
        beginning = "".join(written[: answer["step"]])
        for row in gatewise.predict(run, [beginning]).to_dicts():
            same({**answer, "target": row.get("target")}, row)
    most, whole = run.preparation.own.max_length, {"blend", "truncation"}
    reads_all = whole & {name for one in settings.values() if isinstance(one, dict) for name in one}
    assert len(wanted) == (len(written) if reads_all else min(most, len(written)))


def test_a_mark_belongs_to_its_character():
    run = texts("classify", preparation={"tokenizer": "characters"})
    stream = gatewise.Stream(run)
    stream.push("e")
    with pytest.raises(DataError, match="begins with COMBINING ACUTE ACCENT, which belongs to"):
        stream.push("\u0301")
    for wrong, words in ((3, "A text is a str"), ({"x": "a"}, "has no column 'text'. It has 'x'")):
        with pytest.raises(DataError, match=words):
            stream.push(wrong)
    assert stream.step == 1


def sentences(**settings):
    random, words = np.random.default_rng(0), TEXT.split()
    tokens = [random.choice(words, size=n).tolist() for n in random.integers(2, 9, 20)]
    tags = [random.choice(["A", "B-x", "I-x"], size=len(one)).tolist() for one in tokens]
    settings["network"] = {"units": [4], "character_units": 3, **settings.get("network", {})}
    return untrained((tokens, tags), **settings)


def test_tokens_are_tagged_when_they_come():
    run = sentences(task={"name": "tag", "streaming": True}, preparation={"max_length": 5})
    tokens = TEXT.split()  # so many that predict reads them in pieces
    wanted = gatewise.predict(run, [tokens]).drop("id").rename({"position": "step"}).to_dicts()
    for seed in (0, 1, 2):
        parts = list(cuts(tokens, seed))
        alike(streamed(run, parts, moved=1), wanted)
    first = gatewise.Stream(run)
    streams = [first, first.new(), first.new()]
    for stream, begin in zip(streams, (0, 2, 5), strict=True):
        stream.push(" ".join(tokens[begin:]))
    gatewise.streaming.advance(streams)
    alike(streams[2].read(), streamed(run, [tokens[5:]]))


def test_a_tagger_that_reads_on_needs_a_window():
    run = sentences(task={"name": "tag"})
    with pytest.raises(ConfigError, match=r"Give a window.* Or train with task.streaming = true"):
        gatewise.Stream(run)
    tokens = TEXT.split()
    found = streamed(run, cuts(tokens, 2), window=4, moved=2)
    assert [one["token"] for one in found] == tokens
    for step in (1, 3, 9):
        row = gatewise.predict(run, [tokens[max(0, step - 4) : step]]).to_dicts()[-1]
        same(found[step - 1], {name: row[name] for name in ("token", "tag", "probability")})
    lines = "\n".join([*tokens[:3], "", *tokens[3:5]]) + "\n"
    table = pl.read_csv("\n".join(answered(gatewise.Stream(run, window=4), lines)).encode())
    assert table["step"].to_list() == [1, 2, 3, 1, 2]
    for network, words in (
        ({"bidirectional": True}, "network.bidirectional reads in both directions"),
        ({"kind": "crf"}, "a CRF chooses all tags of a sentence together"),
    ):
        with pytest.raises(ConfigError, match=words):
            sentences(task={"name": "tag", "streaming": True}, network=network)


@pytest.mark.parametrize(
    ("tokenizer", "blend"),
    [("characters", "none"), ("words", "none"), ("bpe", "none")]
    + [("characters", "ngrams"), ("words", "ngrams")],
)
def test_a_language_model_tells_how_likely_each_token_was_and_what_is_next(tokenizer, blend):
    lines = "the sun is up\nthe moon is down\n" * 20
    run = untrained(
        [lines],
        baselines=True,
        task={"name": "language", "blend": blend},
        preparation={"tokenizer": tokenizer},
        training={"batch_size": 2},
    )
    text = "the moon is up\na sun"
    wanted = streamed(run, [text])
    for seed in (0, 2):
        parts = list(cuts(text, seed))
        alike(streamed(run, parts, moved=len(parts) // 2), wanted)
    nats = np.array([one["nats"] for one in wanted])
    begin = 0
    for row in gatewise.predict(run, [text]).to_dicts():
        mean = nats[begin : begin + row["tokens"]].mean()
        assert mean == pytest.approx(row["nats_per_token"], rel=1e-4)
        begin += row["tokens"]
    assert begin == len(nats)
    stream = gatewise.Stream(run)
    stream.push(text)
    chances, before = stream.distribution(), stream.state()
    assert sum(chances.values()) == pytest.approx(1)
    options = {"length": 12, "temperature": 0.7, "seed": 3}
    assert stream.generate(**options) == gatewise.generate(run, text, **options)[len(text) :]
    assert stream.state() == before
    if tokenizer == "characters":
        last = wanted[-1]
        assert (next(iter(chances)), max(chances.values())) == (
            last["next"],
            pytest.approx(last["p(next)"]),
        )
    with pytest.raises(ConfigError, match="reads all steps. Leave window out"):
        gatewise.Stream(run, window=3)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder of recordings whose names are their transcripts, and their labels."""
    folder, random = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for k in range(12):
        words = ("ab"[one] * n for one, n in random.integers((0, 1), (2, 4), (2, 2)))
        name = " ".join(["ab"[k % 2], *words])
        samples = random.normal(size=random.integers(1500, 3000)) * 3000
        soundfile.write(folder / f"{name.replace(' ', '_')}_{k}.wav", samples.astype("i2"), RATE)
    return folder


def in_any_parts(run, path):
    """The samples of a recording and its answers, which do not depend on how it is cut."""
    samples = soundfile.read(path, dtype="int16")[0]
    wanted = streamed(run, [samples])
    for seed in (2, 3):
        parts = list(cuts(samples, seed))
        alike(streamed(run, parts, moved=len(parts) // 2), wanted)
    return samples, wanted


@pytest.mark.parametrize(
    "network",
    [
        {},
        {"filters": [5, 4], "strides": 2, "kernel_size": 5},
        {"filters": [5], "summary_features": "yes"},
    ],
)
def test_a_recording_in_parts_is_labelled_after_each_frame(recordings, network):
    run = untrained(
        recordings,
        task={"name": "classify"},
        data={"pattern": "{label}_{rest}"},
        preparation={"n_mels": 8},
        network=network,
    )
    path = min(recordings.iterdir())
    samples, wanted = in_any_parts(run, path)
    floats, raw = samples / 32768, samples.astype("<i2").tobytes()
    alike(streamed(run, [floats[:900], raw[1800:]]), wanted)
    (row,) = gatewise.predict(run, path).to_dicts()
    same(wanted[-1], row)
    stream = gatewise.Stream(run)
    with pytest.raises(ConfigError, match="What comes next needs a run of the task"):
        stream.generate()
    for wrong, words in (
        ([0.5, 2.0], "from 0.5 to 2.0"),
        (b"abc", "the number of bytes is odd"),
        ({"samples": [1], "rate": 44100}, "a rate of 44100 Hz, but the run reads 2000 Hz"),
        ("abc", "Samples are an array"),
    ):
        with pytest.raises(DataError, match=words):
            stream.push(wrong)


@pytest.mark.parametrize(
    ("search", "network"),
    [
        ({}, {"filters": [4, 4], "strides": 2, "kernel_size": 4}),
        ({"beam_size": 4}, {"strides": 1}),
        ({"beam_size": 5, "lm_order": 3, "lm_weight": 0.5}, {"filters": [4], "strides": 3}),
    ],
)
def test_words_are_recognised_while_they_are_spoken_and_certain_ones_stay(
    recordings, search, network
):
    run = untrained(
        recordings,
        task={"name": "transcribe", "streaming": True, **search},
        data={"pattern": "{label}_{number}"},
        preparation={"n_mels": 8},
        network=network,
    )
    path = min(recordings.iterdir())
    _, wanted = in_any_parts(run, path)
    (transcript,) = gatewise.predict(run, path)["transcript"]
    assert (wanted[-1]["words"], wanted[-1]["partial"]) == (transcript, "")
    assert transcript
    for one, later in itertools.pairwise(wanted):
        assert later["words"].startswith(one["words"])


@pytest.mark.parametrize(
    ("members", "window", "filters"),
    [(0, None, []), (0, 4, []), (2, None, []), (2, 4, []), (2, None, [3])],
)
def test_a_blended_run_and_an_ensemble_answer_as_predict_does(members, window, filters):
    random = np.random.default_rng(0)
    sizes = random.integers(3, 9, 16)
    table = pl.DataFrame({"id": np.repeat([f"s{k:02}" for k in range(16)], sizes)}).with_columns(
        x=random.normal(size=sizes.sum()),
        y=random.normal(size=sizes.sum()) * 5,
        still=1.0,
        label=np.repeat(["a", "b"] * 8, sizes),
    )
    blend = {"name": "classify", "blend": "logistic"}
    network = {"pooling": "all", "summary_features": "yes", "filters": filters}
    run = untrained(table, members=members, baselines=True, task=blend, network=network)
    one = table.filter(pl.col("id") == "s03").drop("label")
    found = streamed(run, [one[:2], one[2:]], moved=1, window=window)
    for answer in found[:-1] if window else found:
        begin = max(0, answer["step"] - window) if window else 0
        (row,) = gatewise.predict(run, one[begin : answer["step"]]).to_dicts()
        same(answer, row)
    assert len(found) >= len(one) - (window or 1) + 1


def test_a_file_is_followed_when_it_grows_is_truncated_or_replaced(tmp_path, caplog):
    path = tmp_path / "log.csv"
    path.write_text("x,y\n1,2\n3,")
    with sources.Stop() as stop:
        follower = sources.lines(sources.contents(path, stop, follow=True))
        assert next(follower) == ["x,y", "1,2"]
        with path.open("a") as file:
            file.write("4\n5,")
        assert next(follower) == ["3,4"]
        path.write_text("")
        assert next(follower) is None
        path.write_text("x,y\n")
        assert next(follower) == ["x,y"]
        path.rename(tmp_path / "log.csv.1")
        path.write_text("6,7\n")
        assert next(follower) is None
        assert next(follower) == ["6,7"]
        os.kill(os.getpid(), signal.SIGTERM)
        assert list(follower) == []
        assert stop.number == signal.SIGTERM
    assert "An unfinished line of 2 bytes is left out." in caplog.text


@pytest.mark.parametrize("follow", [False, True])
def test_a_file_that_is_no_longer_read_is_closed(tmp_path, follow):
    path = tmp_path / "log.csv"
    path.write_text("x,y\n1,2\n")
    with path.open() as file:
        lowest = file.fileno()  # of those that are free
    with sources.Stop() as stop:
        chunks = sources.contents(path, stop, follow=follow)
        next(chunks)
        chunks.close()
    with path.open() as file:
        assert file.fileno() == lowest


def test_samples_are_read_raw_or_from_a_wav_file(recordings, caplog):
    run = untrained(
        recordings,
        task={"name": "classify"},
        data={"pattern": "{label}_{rest}"},
        preparation={"n_mels": 8},
    )
    path = min(recordings.iterdir())
    raw = soundfile.read(path, dtype="int16")[0].astype("<i2").tobytes()
    wanted = answered(gatewise.Stream(run), raw)
    assert len(wanted) > 3
    assert answered(gatewise.Stream(run), path.read_bytes()) == wanted
    title = b"LIST" + (26).to_bytes(4, "little") + b"INFOINAM" + bytes(18)
    assert answered(gatewise.Stream(run), path.read_bytes() + title) == wanted
    piped = path.read_bytes().replace(len(raw).to_bytes(4, "little"), b"\xff" * 4)
    assert answered(gatewise.Stream(run), piped) == wanted
    assert answered(gatewise.Stream(run), raw + b"x") == wanted
    assert "An unfinished sample at the end is left out." in caplog.text
    other = path.read_bytes().replace((RATE).to_bytes(4, "little"), (8000).to_bytes(4, "little"), 1)
    for content, words in (
        (b"fLaC....", "This is FLAC"),
        (other, "of one channel at 2,000 Hz"),
        (path.read_bytes()[:30], "ends before its samples"),
    ):
        with pytest.raises(DataError, match=words):
            answered(gatewise.Stream(run), content)
