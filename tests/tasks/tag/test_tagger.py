"""The tagger: padding is nothing, words are spelled once, and the loss is what it says."""

import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from gatewise.errors import ConfigError
from gatewise.networks import build
from gatewise.readers.conll import from_sentences
from gatewise.settings import (
    NetworkSettings,
    from_mapping,
)
from gatewise.tasks.tag import task as tag
from gatewise.tasks.tag.network import NETWORK, TokenAccuracy, TokenEntropy, tagger, token_logits

SMALL = {"units": [6, 5], "character_units": 4, "embedding_dim": 7, "bidirectional": True}
PLAIN = from_mapping({"preparation": {"max_length": 64, "vocabulary_size": 99}, "network": SMALL})
WORDS = ("red", "green", "blue", "Yellow", "infrared")


def corpus(count=20, lengths=(1, 8), seed=0):
    random = np.random.default_rng(seed)
    sizes = random.integers(*lengths, size=count)
    return from_sentences(
        [random.choice(WORDS, size=n).tolist() for n in sizes],
        [random.choice(["A", "B", "C"], size=n).tolist() for n in sizes],
    )


def made(sequences=None, experiment=PLAIN):
    sequences = corpus() if sequences is None else sequences
    preparation, _ = tag.prepare(sequences, experiment)
    some = tag.examples(sequences, preparation, experiment, "test")
    keras.utils.set_random_seed(0)
    shapes = tag.shapes(some, preparation)
    return tagger(shapes, experiment.network), some, preparation


def said(network, some, which, length):
    return np.asarray(network.predict_on_batch(dict(some.inputs(np.array(which), length))))


def test_padding_never_changes_the_answer():
    network, some, _ = made()
    for k in range(4):
        n = int(some.lengths[k])
        alone = said(network, some, [k], n)[0]
        beside = said(network, some, [5, k, 6], 12)[1, :n]
        np.testing.assert_allclose(beside, alone, atol=1e-5)


def test_it_matters_not_where_a_word_is_spelled():
    network, some, _ = made()
    given = dict(some.inputs(np.arange(4), 8))
    first = np.asarray(network.predict_on_batch(given))
    order = np.random.default_rng(0).permutation(len(given["characters"]))
    turned = given | {
        "characters": given["characters"][order],
        "places": np.argsort(order)[given["places"]].astype(np.int32),
    }
    np.testing.assert_allclose(network.predict_on_batch(turned), first, atol=1e-6)


def test_every_token_of_every_sentence_is_answered_in_its_place():
    network, some, preparation = made()
    flat = token_logits(network, some, preparation, PLAIN)
    single = [said(network, some, [k], int(some.lengths[k]))[0] for k in range(len(some))]
    np.testing.assert_allclose(flat, np.concatenate(single), atol=1e-5)


def test_both_directions_are_read_and_so_is_the_spelling():
    sequences = from_sentences(
        [["red", "green", "blue"], ["red", "green", "red"], ["blue", "green", "blue"]],
        [["A", "B", "C"]] * 3,
    )
    network, some, preparation = made(sequences)
    middle = [said(network, some, [k], 3)[0, 1] for k in range(3)]
    assert not np.allclose(middle[0], middle[1], atol=1e-6)  # another word behind
    assert not np.allclose(middle[0], middle[2], atol=1e-6)  # another word before
    strange = from_sentences([["reddish"], ["bluest"]])
    new = tag.examples(strange, preparation, PLAIN, "predict")
    answers = said(network, new, [0, 1], 1)
    assert not np.allclose(answers[0], answers[1], atol=1e-6)  # both are unknown as words


def test_without_letters_there_is_one_input():
    bare = PLAIN.having("network", character_units=0)
    network, some, _ = made(experiment=bare)
    assert [one.name for one in network.inputs] == ["words"]
    words = some.inputs(np.array([0]), int(some.lengths[0]))["words"]
    assert network.predict_on_batch(words).shape == (1, some.lengths[0], 3)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_mean_cross_entropy_of_the_tokens(smoothing):
    random = np.random.default_rng(0)
    logits = random.normal(size=(5, 6, 3))
    truth = random.integers(0, 3, size=(5, 6)).astype(np.int32)
    for row, n in enumerate((6, 1, 4, 2, 5)):
        truth[row, n:] = -1
    truth[2, 1] = 3  # a tag that training did not know: nothing can be learnt of it
    total, count = 0.0, 0
    for one, given in zip(
        truth.reshape(-1), log_softmax(logits, axis=-1).reshape(-1, 3), strict=True
    ):
        count += one >= 0
        if 0 <= one < 3:
            total -= (1 - smoothing) * given[one] + smoothing * given.mean()
    loss = TokenEntropy(3, smoothing)(truth, logits.astype(np.float32))
    assert float(loss) == pytest.approx(total / count, rel=1e-5)


def test_the_accuracy_of_an_epoch_counts_tokens_and_no_padding():
    metric = TokenAccuracy()
    eye = np.eye(3, dtype=np.float32)
    metric.update_state(np.array([[0, 1, -1]]), eye[[[0, 2, 0]]])
    metric.update_state(np.array([[2, 2, 3], [1, -1, -1]]), eye[[[2, 2, 2], [0, 1, 1]]])
    assert float(metric.result()) == pytest.approx(3 / 6)
    metric.update_state(np.array([[1] * 9 + [0]]), eye[[[1] * 10]])  # a longer batch
    assert float(metric.result()) == pytest.approx(12 / 16)


def test_it_learns_what_only_the_next_word_tells():
    random = np.random.default_rng(1)
    sentences = [random.choice(WORDS, size=6).tolist() for _ in range(120)]
    tags = [["B" if one == "red" else "A" for one in (*words[1:], "")] for words in sentences]
    given = {"task": {"name": "tag"}, "network": SMALL, "split": {"test": 0.2}}
    given["training"] = {"epochs": 12, "learning_rate": 0.02, "batch_size": 16}
    import gatewise

    run = gatewise.train((sentences, tags), settings=given | {"evaluation": {"n_resamples": 50}})
    assert run.metrics["metrics"]["accuracy"] > 0.97
    assert run.metrics["baselines"][tag.BASELINE]["accuracy"] < 0.9
    assert run.metrics["verdict"]["better"] is True


def test_the_saved_model_opens_in_plain_keras(tmp_path):
    network, some, _ = made()
    given = dict(some.inputs(np.arange(3), 8))
    np.savez(tmp_path / "given.npz", wanted=network.predict_on_batch(given), **given)
    network.save(tmp_path / "model.keras")
    code = (
        "import sys, keras, numpy as np\n"
        "network = keras.saving.load_model('model.keras', safe_mode=True)\n"
        "given = dict(np.load('given.npz')); wanted = given.pop('wanted')\n"
        "np.testing.assert_allclose(network.predict_on_batch(given), wanted, atol=1e-5)\n"
        "assert not any(name.startswith('gatewise') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=100)


def test_normalisation_over_padding_is_refused():
    with pytest.raises(ConfigError, match=r"network\.normalization = batch"):
        made(experiment=PLAIN.having("network", normalization="batch"))


def test_a_network_of_ones_own_answers_each_token():
    _, some, preparation = made()
    shapes = tag.shapes(some, preparation)

    def own(shapes, settings, answers=3):
        inputs = {name: keras.Input(one, name=name) for name, one in shapes.inputs.items()}
        x = keras.layers.Embedding(shapes.vocabulary, 4)(inputs["words"])
        return keras.Model(inputs, keras.layers.Dense(answers)(x))

    network = build(shapes, NetworkSettings(), own, network=NETWORK, task="tag")
    assert token_logits(network, some, preparation, PLAIN).shape == (some.lengths.sum(), 3)
    with pytest.raises(ConfigError, match=r"output has shape \(4,\)"):
        wider = partial(own, answers=4)
        build(shapes, NetworkSettings(), wider, network=NETWORK, task="tag")
