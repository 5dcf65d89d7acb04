"""Settings of a run: every default is filled in, and the saved file gives the same run again."""

import tomllib

import keras
import numpy as np
import polars as pl
import pytest
import soundfile

from gatewise import pipeline
from gatewise.arguments import experiment_for
from gatewise.experiment import from_mapping, to_toml
from gatewise.ready import make_ready

WORDS = ("red", "green", "blue", "yellow", "a", "the")
TAGS = ("A", "A", "A", "A", "D", "D")
SOUND = {"preparation": {"mels": 8, "hop": 20.0, "frame": 32.0}, "data": {"pattern": "{label}-{k}"}}


def sentences(count, random):
    return [random.choice(WORDS, size=random.integers(3, 8)).tolist() for _ in range(count)]


@pytest.fixture(scope="module")
def small(tmp_path_factory, series_file, sequences_file):
    """Of each task, and each kind of data that it reads: a file and the settings that it needs."""
    folder, random = tmp_path_factory.mktemp("small"), np.random.default_rng(0)
    texts = [" ".join(one) for one in sentences(60, random)]
    labels = ["even", "odd"] * 30
    pl.DataFrame({"text": texts, "label": labels}).write_csv(folder / "texts.csv")
    pl.DataFrame({"en": texts, "de": [one.upper() for one in texts]}).write_csv(
        folder / "pairs.csv"
    )
    (folder / "plain.txt").write_text("\n".join(texts), encoding="utf-8")
    rows = [
        "\n".join(f"{word}\t{TAGS[WORDS.index(word)]}" for word in one)
        for one in sentences(60, random)
    ]
    (folder / "tags.conll").write_text("\n\n".join(rows) + "\n", encoding="utf-8")
    for k in range(40):
        place = folder / "sounds" / f"{['ab', 'ba'][k % 2]}-{k}.wav"
        place.parent.mkdir(exist_ok=True)
        samples = random.integers(-5000, 5000, size=random.integers(3000, 5000))
        soundfile.write(place, samples.astype(np.int16), 8000)
    forecast = {"task": {"horizon": 4, "lookback": 8}}
    return {
        "forecast by segments": ("forecast", series_file, {}),
        "forecast by stack": ("forecast", series_file, {**forecast, "network": {"kind": "stack"}}),
        "classify numbers": ("classify", sequences_file, {}),
        "classify texts": ("classify", folder / "texts.csv", {}),
        "classify sound": ("classify", folder / "sounds", SOUND),
        "tag": ("tag", folder / "tags.conll", {}),
        "language": ("language", folder / "plain.txt", {}),
        "translate": ("translate", folder / "pairs.csv", {"data": {"label": "de"}}),
        "transcribe": ("transcribe", folder / "sounds", SOUND),
    }


CASES = (
    *("forecast by segments", "forecast by stack", "classify numbers", "classify texts"),
    *("classify sound", "tag", "language", "translate", "transcribe"),
)


def ready_for(small, case):
    task, path, settings = small[case]
    experiment, source = experiment_for(str(path), [settings, {"task": {"name": task}}])
    return make_ready(experiment, source)


# What "not given" looks like, wherever these are used.
NOT_GIVEN = {
    "network.units": (),
    "network.dense_dropout": -1.0,
    "training.epochs": 0,
    "training.batch_size": 0,
    "training.learning_rate": 0.0,
    "training.patience": -1,
}
NOT_GIVEN_OF = {
    "forecast": {"task.horizon": 0, "task.lookback": 0, "task.season": 0, "task.stride": 0},
    "forecast by segments": {"network.segment": 0, "network.kind": "auto"},
    "forecast by stack": {"network.pooling": "auto", "network.subtract": "auto"},
    "classify": {"network.kind": "auto", "network.pooling": "auto"},
    "classify texts": dict.fromkeys(("preparation.longest", "network.embedding"), 0)
    | {"preparation.tokens": "auto", "preparation.vocabulary": 0, "preparation.rarest": 0},
    "classify sound": {"data.rate": 0},
    "tag": dict.fromkeys(("preparation.longest", "preparation.vocabulary", "preparation.rarest"), 0)
    | {"network.embedding": 0},
    "language": {"preparation.tokens": "auto", "preparation.vocabulary": 0, "task.lookback": 0}
    | {"preparation.rarest": 0, "network.embedding": 0},
    "translate": {"preparation.tokens": "auto", "preparation.vocabulary": 0, "task.beams": 0}
    | {"preparation.rarest": 0, "preparation.longest": 0, "network.embedding": 0},
    "transcribe": {"task.beams": 0, "data.rate": 0},
}


@pytest.mark.parametrize("case", CASES)
def test_every_default_is_filled_in_and_the_saved_settings_give_the_same_run(small, case):
    ready = ready_for(small, case)
    task = small[case][0]
    for name, value in (
        NOT_GIVEN | NOT_GIVEN_OF.get(task, {}) | NOT_GIVEN_OF.get(case, {})
    ).items():
        section, key = name.split(".")
        assert getattr(getattr(ready.experiment, section), key) != value, name
    saved = from_mapping(tomllib.loads(to_toml(ready.experiment)))
    again = make_ready(saved)
    assert again.experiment == ready.experiment == saved
    assert again.preparation.to_json() == ready.preparation.to_json()
    for one, other in ((again.train, ready.train), (again.test, ready.test)):
        assert one.lengths.tolist() == other.lengths.tolist()
    weights = [one.network.get_weights() for one in (again, ready)]
    assert all(np.array_equal(*pair) for pair in zip(*weights, strict=True))
    rates = []
    for one in (again, ready):
        pipeline.compile_network(one.network, one)
        rates.append(keras.ops.convert_to_numpy(one.network.optimizer.learning_rate))
    assert rates[0] == rates[1] > 0
