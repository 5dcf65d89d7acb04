"""Pretrained vectors in training: their start, the epochs in which they stay, and refusals."""

import keras
import numpy as np
import pytest
from keras import ops

import gatewise
from gatewise.arguments import experiment_for
from gatewise.errors import ConfigError
from gatewise.settings import TrainingSettings
from gatewise.training.optimizers import optimizer
from gatewise.training.ready import make_ready

WORDS = ("red", "Green", "blue", "pink")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("vectors") / "some.vec"
    rows = [f"{word.lower()} {k} {k + 1} {k + 2}" for k, word in enumerate(WORDS[:3], 1)]
    path.write_text("\n".join(["3 3", *rows, ""]), encoding="utf-8")
    return path


def sentences(count=60):
    random = np.random.default_rng(0)
    return [random.choice(WORDS, size=6).tolist() for _ in range(count)]


def data_of(task):
    words = sentences()
    if task == "tag":
        return words, [["B" if one == "red" else "A" for one in sentence] for sentence in words]
    labels = ["many" if sentence.count("red") > 1 else "few" for sentence in words]
    return [" ".join(sentence) for sentence in words], labels


def settings_of(task, path, **training):
    return {
        "task": {"name": task},
        "network": {"units": [4], "vectors": str(path)},
        "training": {"epochs": 3, "batch_size": 16, **training},
    }


@pytest.mark.parametrize("task", ["tag", "classify"])
def test_the_embedding_starts_with_the_vectors_and_a_note_counts_them(file, task):
    experiment, source = experiment_for(data_of(task), [settings_of(task, file)])
    ready = make_ready(experiment, source)
    note = f"3 of 4 words of the vocabulary have a vector of 3 numbers in {file}."
    assert note in ready.notes
    assert ready.experiment.network.embedding_dim == 3
    assert ready.experiment.training.frozen_epochs == 1
    words = [word.lower() for word in ready.task.words(ready.preparation)]
    (weights,) = ready.network.get_layer("embedding").get_weights()
    for k, word in enumerate(WORDS[:3], 1):
        assert weights[words.index(word.lower())].tolist() == [k, k + 1, k + 2]
    assert np.abs(weights[words.index("pink")]).min() > 0


@pytest.mark.parametrize(("epochs", "moved"), [(0, True), (2, False), (1, True)])
def test_the_vectors_stay_in_the_frozen_epochs_and_move_afterwards(file, epochs, moved):
    given = settings_of("tag", file, frozen_epochs=epochs, epochs=2, patience=0)
    given["training"]["monitor"] = "loss"  # it still falls, so the last epoch is kept
    run = gatewise.train(data_of("tag"), settings=given)
    words = [word.lower() for word in ("", "", *run.artefact.preparation.own.words)]
    (weights,) = run.model.get_layer("embedding").get_weights()
    stays = weights[words.index("red")].tolist() == [1, 2, 3]
    assert stays is not moved
    assert run.history.best_epoch == 2


def test_frozen_vectors_keep_the_other_weights_and_the_schedule_going():
    given = TrainingSettings(epochs=4, learning_rate=0.1, schedule="cosine", optimizer="adam")
    plain, freezing = optimizer(given, 8), optimizer(given, 8, frozen=1)
    values = []
    for one in (plain, freezing):
        network = keras.Sequential(
            [keras.Input((2,), dtype="int32"), keras.layers.Embedding(3, 2, name="embedding")]
        )
        other = keras.Variable(np.ones(2, dtype=np.float32), name="other")
        table = network.get_layer("embedding").embeddings
        one.build([table, other])
        before = ops.convert_to_numpy(table).copy()
        moved = []
        for _ in range(3):
            one.apply([ops.ones((3, 2)), ops.ones(2)], [table, other])
            moved.append(not np.array_equal(before, ops.convert_to_numpy(table)))
        values.append((moved, ops.convert_to_numpy(other).tolist()))
    (always, free), (late, beside) = values
    assert (always, late) == ([True] * 3, [False, False, True])
    assert free == beside


def test_settings_that_contradict_the_vectors_are_refused(file):
    wide = settings_of("tag", file)
    wide["network"]["embedding_dim"] = 5
    with pytest.raises(ConfigError, match=r"embedding_dim is 5, but .* have 3 numbers"):
        gatewise.train(data_of("tag"), settings=wide)
    letters = settings_of("classify", file) | {"preparation": {"tokenizer": "characters"}}
    with pytest.raises(ConfigError, match="vectors of words, but preparation.tokenizer is char"):
        gatewise.train(data_of("classify"), settings=letters)
    bare = settings_of("tag", "", frozen_epochs=1)
    with pytest.raises(ConfigError, match=r"frozen_epochs needs network\.vectors"):
        gatewise.train(data_of("tag"), settings=bare)
