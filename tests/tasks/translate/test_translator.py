"""The translator: its loss by definition, and a search against an exhaustive one."""

import itertools
import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from gatewise.data.batches import Shapes
from gatewise.data.preparation import Preparation
from gatewise.data.sequences import from_texts
from gatewise.data.vocabulary import BEGIN, END, UNKNOWN
from gatewise.errors import ConfigError
from gatewise.settings import NetworkSettings, from_mapping
from gatewise.tasks.translate import task as translate
from gatewise.tasks.translate.fitted import Fitted
from gatewise.tasks.translate.network import (
    Perplexity,
    inference_model,
    search,
    token_loss,
    translator,
)

TEXTS = ["b a", "a b b", "b", "a a a a"]


def experiment_of(**settings):
    return from_mapping({"preparation": {"tokenizer": "words", "min_frequency": 1}} | settings)


def made(*, tied=True, units=(6, 6), feeding=False, dropout=0.0, **task):
    """A network with large random weights, so that its probabilities differ, and its inputs."""
    network = {
        "units": units,
        "embedding_dim": 5,
        "tied_embeddings": tied,
        "input_feeding": feeding,
        "dropout": dropout,
    }
    experiment = experiment_of(network=network, task=task)
    some = from_texts(TEXTS, labels=np.array(["y x", "x", "y y", "x x y"], dtype=object))
    settled = replace(
        experiment, preparation=replace(experiment.preparation, shared_vocabulary=tied)
    )
    preparation, _ = translate.prepare(some, settled)
    examples = translate.examples(some, preparation, settled, "test")
    keras.utils.set_random_seed(0)
    model = translator(translate.shapes(examples, preparation), settled.network)
    random = np.random.default_rng(1)
    model.set_weights([random.normal(0, 0.7, one.shape) for one in model.get_weights()])
    return model, examples, preparation, settled


FEEDING = pytest.mark.parametrize("feeding", [False, True])


def log_probs(model, source, target):
    """Log probabilities of the token at each step; target [batch, steps] is what precedes it."""
    given = {"source": source, "target": target}
    logits = np.asarray(model.predict_on_batch(given), dtype=np.float64)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def exhaustive(model, source, most, penalty, tokens):
    """Score and tokens of the best translation of at most so many tokens, plus an end."""
    sizes = range(most + 1)
    answers = [one for size in sizes for one in itertools.product(tokens, repeat=size)]
    given = np.array([[BEGIN, *one, *[0] * (most - len(one))] for one in answers], dtype=np.int32)
    scores = log_probs(model, np.repeat(source, len(answers), axis=0), given)
    best = (-np.inf, ())
    for one, rows in zip(answers, scores, strict=True):
        wanted = [*one, END]
        score = sum(rows[step, token] for step, token in enumerate(wanted))
        best = max(best, (score / ((5 + len(wanted)) / 6) ** penalty, one))
    return best


@FEEDING
@pytest.mark.parametrize(("tied", "penalty"), [(True, 0.0), (False, 1.0)])
def test_a_beam_as_wide_as_all_answers_finds_the_best_of_them(tied, penalty, feeding):
    model, some, preparation, experiment = made(
        tied=tied, beam_size=300, length_penalty=penalty, feeding=feeding
    )
    preparation = replace(
        preparation, own=replace(preparation.own, max_length_ratio=3 / 9)
    )  # three for four tokens, two for one
    found = search(model, some, preparation, experiment)
    count = len(preparation.own.vocabulary("target"))
    tokens = [UNKNOWN, *range(4, count)]
    source = some.inputs(np.arange(4), 4)["source"]
    for k, one in enumerate(found):
        most = 2 if len(TEXTS[k].split()) == 1 else 3
        score, best = exhaustive(model, source[k : k + 1], most, penalty, tokens)
        assert one.score == pytest.approx(score, abs=1e-4)
        assert tuple(one.tokens) == best


@FEEDING
def test_one_beam_takes_the_likeliest_token_each_time(feeding):
    model, some, preparation, experiment = made(beam_size=1, feeding=feeding)
    source = some.inputs(np.arange(4), 4)["source"]
    for k, one in enumerate(search(model, some, preparation, experiment)):
        written = np.zeros((1, 20), dtype=np.int32)  # later tokens change nothing
        written[0, 0] = BEGIN
        for step in range(len(one.tokens)):
            scores = log_probs(model, source[k : k + 1], written)[0, step]
            scores[[0, BEGIN]] = -np.inf
            written[0, step + 1] = scores.argmax()
        assert written[0, 1 : len(one.tokens) + 1].tolist() == one.tokens.tolist()


def test_the_search_does_not_depend_on_other_texts_of_the_batch():
    model, some, preparation, experiment = made(beam_size=3)
    together = search(model, some, preparation, experiment)
    for k, one in enumerate(together):
        text = translate.examples(from_texts([TEXTS[k]]), preparation, experiment, "predict")
        (alone,) = search(model, text, preparation, experiment)
        assert alone.tokens.tolist() == one.tokens.tolist()
        assert alone.score == pytest.approx(one.score, abs=1e-4)
        np.testing.assert_allclose(alone.attention, one.attention, atol=1e-4)


def test_attention_is_a_share_for_each_token_of_the_source():
    model, some, preparation, experiment = made(beam_size=2)
    for one, text in zip(search(model, some, preparation, experiment), TEXTS, strict=True):
        assert one.attention.shape == (len(one.tokens), len(text.split()))
        np.testing.assert_allclose(one.attention.sum(axis=1), 1, atol=1e-4)


@FEEDING
def test_padding_never_changes_the_answer(feeding):
    model, some, _, _ = made(feeding=feeding)
    target = np.array([[BEGIN, 4, 5]])
    short = log_probs(model, some.inputs(np.array([1]), 3)["source"], target)
    long = log_probs(model, some.inputs(np.array([1]), 9)["source"], target)
    np.testing.assert_allclose(short, long, atol=1e-5)


@FEEDING
def test_later_tokens_never_change_earlier_predictions(feeding):
    model, some, _, _ = made(feeding=feeding)
    source = some.inputs(np.array([1]), 3)["source"]
    one = log_probs(model, source, np.array([[BEGIN, 4, 5, 5]]))
    other = log_probs(model, source, np.array([[BEGIN, 4, 6, 4]]))
    np.testing.assert_allclose(one[:, :2], other[:, :2], atol=1e-6)
    assert abs(one[:, 2] - other[:, 2]).max() > 1e-3


def random_logits():
    random = np.random.default_rng(0)
    truth = np.array([[5, 4, END, 0], [4, END, 0, 0]])
    return truth, random.normal(size=(2, 4, 7)).astype(np.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_mean_over_tokens_of_the_smoothed_cross_entropy(smoothing):
    truth, logits = random_logits()
    exact = logits.astype(np.float64)
    logs = exact - np.log(np.exp(exact).sum(axis=-1, keepdims=True))
    wanted = (1 - smoothing) * np.eye(7)[truth] + smoothing / 7
    surprise = -(wanted * logs).sum(axis=-1)[truth > 0]
    loss = np.asarray(token_loss(smoothing)(truth, logits))
    assert loss.shape == (2,) and loss.mean() == pytest.approx(surprise.mean(), rel=1e-5)


def test_perplexity_weights_every_token_of_all_batches_equally():
    truth, logits = random_logits()
    exact = logits.astype(np.float64)
    logs = exact - np.log(np.exp(exact).sum(axis=-1, keepdims=True))
    surprise = -(np.eye(7)[truth] * logs).sum(axis=-1)[truth > 0]
    metric = Perplexity()
    for k in range(2):
        metric.update_state(truth[k : k + 1], logits[k : k + 1])
    assert float(metric.result()) == pytest.approx(np.exp(surprise.mean()), rel=1e-5)


def test_tied_embeddings_are_one_table_for_input_and_output():
    tied, *_ = made()
    count = len(tied.get_layer("embedding").get_weights()[0])
    assert sum(count in one.shape for one in tied.get_weights()) == 1
    apart, *_ = made(tied=False)
    assert {"source_embedding", "target_embedding", "logits"} <= {one.name for one in apart.layers}


def test_sizes_that_do_not_fit_are_refused():
    shapes = Shapes({"source": (None,), "target": (None,)}, (7,), vocabulary={"source": 7})
    with pytest.raises(ConfigError, match="network.units holds 5"):
        translator(shapes, NetworkSettings(units=(5, 5)))
    with pytest.raises(ConfigError, match="all be the same"):
        translator(shapes, NetworkSettings(units=(4, 6)))
    for name in ("recurrent_dropout", "weight_dropout", "zoneout"):
        with pytest.raises(ConfigError, match=f"{name} needs"):
            translator(shapes, NetworkSettings(input_feeding=True, **{name: 0.1}))


def test_a_decoder_with_input_feeding_saves_one_step_of_keras_layers(tmp_path):
    model, some, preparation, experiment = made(feeding=True, beam_size=2)
    inference_model(model).save(tmp_path / "model.keras")
    opened = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for one, other in zip(
        search(model, some, preparation, experiment),
        search(opened, some, preparation, experiment),
        strict=True,
    ):
        assert one.tokens.tolist() == other.tokens.tolist() and one.score == other.score
    # Step by step it predicts what the whole network predicts at once.
    source = some.inputs(np.array([1, 1]), 3)["source"][:1]
    target = np.array([[BEGIN, 4, 5]], dtype=np.int32)
    states = {name: np.zeros((1, 6), np.float32) for name in ("h_1", "c_1", "h_2", "c_2", "fed")}
    begun = opened.predict_on_batch({"source": source, "target": target[:, :1], **states})
    states = {name: begun[f"start_{name}"] for name in states}
    said = []
    for k in range(3):
        after = opened.predict_on_batch(
            {"source": source, "target": target[:, k : k + 1], **states}
        )
        states = {name: after[name] for name in states}
        said.append(after["logits"][:, 0])
    whole = model.predict_on_batch({"source": source, "target": target})
    np.testing.assert_allclose(np.stack(said, axis=1), whole, atol=1e-5)


@FEEDING
def test_dropout_differs_from_text_to_text_and_only_in_training(feeding):
    model, some, *_ = made(feeding=feeding, dropout=0.5)
    source = np.repeat(some.inputs(np.array([1]), 3)["source"], 2, axis=0)
    given = {"source": source, "target": np.full((2, 3), BEGIN, dtype=np.int32)}
    still = keras.ops.convert_to_numpy(model(given, training=False))
    np.testing.assert_allclose(still[0], still[1], atol=1e-6)
    drawn = keras.ops.convert_to_numpy(model(given, training=True))
    assert np.isfinite(drawn).all() and abs(drawn[0] - drawn[1]).max() > 1e-3


def test_the_saved_network_opens_in_plain_keras(tmp_path):
    model, some, _, _ = made()
    model.save(tmp_path / "model.keras")
    source, target = some.inputs(np.arange(4), 4)["source"], np.full((4, 2), BEGIN, dtype=np.int32)
    np.savez(tmp_path / "given.npz", source=source, target=target)
    program = (
        "import sys; sys.modules['tensorflow'] = None\n"  # Keras would import it for seconds
        "import keras, numpy as np\n"
        "model = keras.saving.load_model('model.keras', safe_mode=True)\n"
        "given = dict(np.load('given.npz'))\n"
        "np.save('said.npy', keras.ops.convert_to_numpy(model(given)))\n"
        "assert 'gatewise' not in sys.modules\n"
    )
    environment = os.environ | {"KERAS_BACKEND": keras.backend.backend()}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)
    wanted = keras.ops.convert_to_numpy(model({"source": source, "target": target}))
    np.testing.assert_allclose(np.load(tmp_path / "said.npy"), wanted, atol=1e-5)


def test_a_preparation_keeps_its_vocabularies_through_json():
    _, _, preparation, _ = made(tied=False)
    assert Preparation.from_json(preparation.to_json(), Fitted) == preparation
