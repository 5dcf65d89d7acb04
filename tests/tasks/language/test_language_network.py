"""The language network: carried states, tied weights, sampling."""

import os
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import jax
import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from gatewise.data import tokenstream
from gatewise.data.batches import Shapes
from gatewise.data.sequences import from_texts
from gatewise.data.vocabulary import fit_vocabulary
from gatewise.errors import ConfigError
from gatewise.networks import build
from gatewise.settings import NetworkSettings, from_mapping
from gatewise.tasks.language import network as language
from gatewise.tasks.language import outputs
from gatewise.training.fit import ResetStates

VOCABULARY, STREAMS = 11, 3
numbers = keras.ops.convert_to_numpy


def network(streams=STREAMS, **settings):
    keras.utils.set_random_seed(0)
    shapes = Shapes(
        {"tokens": (5,)}, (VOCABULARY,), vocabulary={"tokens": VOCABULARY}, batch_size=streams
    )
    settings = {"units": (6, 4)} | settings
    settings = {"embedding_dim": settings["units"][-1]} | settings
    made = language.language(shapes, NetworkSettings(**settings))
    for weight in made.trainable_variables:  # zero biases would hide a mistake
        weight.assign(np.random.default_rng(1).normal(size=weight.shape) * 0.5)
    return made


def lines_of(stream):
    """Examples as they are judged, of which the network reads the stream alone."""
    return SimpleNamespace(source=SimpleNamespace(stream=stream))


def tokens(rows=STREAMS, steps=12):
    return np.random.default_rng(2).integers(0, VOCABULARY, size=(rows, steps)).astype(np.int32)


def asked(plain, given, state=None):
    state = outputs.zero_state(plain, len(given)) if state is None else state
    # One program for all layers takes half of the time of one for each operation.
    variables = [
        [one.value for one in some]
        for some in (plain.trainable_variables, plain.non_trainable_variables)
    ]
    found, _ = jax.jit(plain.stateless_call)(*variables, {"tokens": given} | state)
    return numbers(found["logits"]), {name: numbers(found[name]) for name in state}


VARIANTS = [
    {},
    {"tied_embeddings": False},
    {"embedding_dim": 5},
    {"normalization": "layer", "weight_dropout": 0.4, "dropout": 0.2, "recurrent_dropout": 0.1},
    {"units": (6,), "embedding_dropout": 0.3, "dense_dropout": 0.2},
    {"zoneout": 0.2, "cell_normalization": True, "weight_dropout": 0.3},
]


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_chunks_with_the_state_carried_equal_one_long_pass(settings):
    given = tokens()
    plain = language.inference_model(network(**settings))
    whole, last = asked(plain, given)
    parts, state = [], None
    for begin, end in ((0, 5), (5, 6), (6, 12)):
        logits, state = asked(plain, given[:, begin:end], state)
        parts.append(logits)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)
    for name, value in state.items():
        np.testing.assert_allclose(value, last[name], atol=1e-5)


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_the_training_network_and_the_saved_one_agree(settings):
    given = tokens()
    learning = network(**settings)
    batches = [numbers(learning(given[:, k : k + 4], training=False)) for k in (0, 4, 8)]
    whole, _ = asked(language.inference_model(learning), given)
    np.testing.assert_allclose(np.concatenate(batches, axis=1), whole, atol=1e-5)


def test_nats_are_those_of_the_softmax_of_each_token_after_all_before_it():
    vocabulary = fit_vocabulary(["abcdefg"], "characters")
    assert len(vocabulary) == VOCABULARY
    given = from_texts(["abcabcgfed", "", "b", "gg", ""])
    stream = tokenstream.stream_of(given, vocabulary)
    learning = network()
    found = language.nats(learning, lines_of(stream), None, None)
    plain, before = language.inference_model(learning), stream.before()
    for begin, end in zip(stream.texts[:-1], stream.texts[1:], strict=True):
        if begin == end:
            continue
        logits, _ = asked(plain, before[None, begin:end])
        wanted = -log_softmax(logits[0].astype(np.float64), axis=-1)
        truth = stream.tokens[begin:end]
        np.testing.assert_allclose(
            found[begin:end], wanted[np.arange(end - begin), truth], atol=1e-5
        )


def test_a_text_longer_than_a_chunk_is_scored_as_one(monkeypatch):
    vocabulary = fit_vocabulary(["abcdefg"], "characters")
    stream = tokenstream.stream_of(from_texts(["abcdefg" * 9, "gfed" * 5]), vocabulary)
    whole = language.nats(network(), lines_of(stream), None, None)
    monkeypatch.setattr(outputs, "CHUNK", 8)
    parts = language.nats(network(), lines_of(stream), None, None)
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_tied_weights_are_the_token_embeddings():
    tied, untied = network(units=(4,)), network(units=(4,), tied_embeddings=False)
    assert untied.count_params() - tied.count_params() == VOCABULARY * 4
    plain = language.inference_model(tied)
    vectors = plain.get_layer("embedding").get_weights()[0]
    bias = plain.get_layer("bias").get_weights()[0][0]
    hidden = keras.Model(plain.input, plain.get_layer("lstm_1").output)
    given = {"tokens": tokens(1)} | outputs.zero_state(plain, 1)
    wanted = numbers(hidden(given)[0]) @ vectors.T + bias
    np.testing.assert_allclose(asked(plain, tokens(1))[0], wanted, atol=1e-5)


def test_dropped_weights_are_the_same_at_all_steps_and_the_state_is_carried(monkeypatch):
    monkeypatch.setattr(language, "RESET_PROBABILITY", 0.0)

    def layer():
        keras.utils.set_random_seed(3)
        return keras.layers.LSTM(4, return_sequences=True, return_state=True)

    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    dropped, reference = language.StatefulLSTM(layer(), 0.5), layer()
    # PyTorch draws from a generator of its own if this one has no seed.
    dropped.sampling = keras.random.SeedGenerator(7)
    for one in (dropped, reference):
        one.build((2, 6, 3))
    wanted, *state = reference(x)
    # No weight is dropped in inference.
    np.testing.assert_allclose(numbers(dropped(x)), numbers(wanted), atol=1e-6)
    kernel, recurrent, bias = reference.get_weights()
    drawn = keras.random.SeedGenerator(7)
    missing = keras.random.dropout(keras.ops.convert_to_tensor(recurrent), 0.5, seed=drawn)
    assert 0 < (numbers(missing) == 0).sum() < recurrent.size
    reference.set_weights([kernel, missing, bias])
    wanted, *state = reference(x, initial_state=state)
    np.testing.assert_allclose(numbers(dropped(x, training=True)), numbers(wanted), atol=1e-6)
    for one, other in zip(dropped.state, state, strict=True):
        np.testing.assert_allclose(numbers(one), numbers(other), atol=1e-6)


def test_the_perplexity_is_that_of_a_loss_without_penalties():
    given = {"l2": 0.1, "activity_l1": 0.01, "units": (4,)}
    experiment = from_mapping({"task": {"name": "language"}, "network": given})
    learning = network(**given)
    loss, metrics = language.objective(experiment, None)
    learning.compile(optimizer="sgd", loss=loss, metrics=metrics)
    text = tokens()
    wanted = loss(text, learning(text))
    *_, lstm = (one for one in learning._flatten_layers() if isinstance(one, keras.layers.LSTM))
    outputs = lstm(learning.get_layer("embedding")(text))
    kernel, recurrent, _ = lstm.get_weights()
    penalty = 0.1 * ((kernel**2).sum() + (recurrent**2).sum())
    penalty += 0.01 * sum(np.abs(numbers(one)).sum() for one in outputs) / STREAMS
    found = learning.evaluate(
        text, text, verbose=0, return_dict=True, batch_size=STREAMS, callbacks=[ResetStates()]
    )
    assert found["plain_loss"] == pytest.approx(float(numbers(wanted).mean()), rel=1e-5)
    assert found["loss"] - found["plain_loss"] == pytest.approx(penalty, rel=1e-4)


def test_activities_are_also_penalised_where_weights_are_dropped():
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    layer = keras.layers.LSTM(
        4, return_sequences=True, return_state=True, activity_regularizer=keras.regularizers.L1(1.0)
    )
    dropped = language.StatefulLSTM(layer, 0.5)
    returned = [dropped(x, training=True), *dropped.state]
    penalty = sum(float(one) for one in dropped.losses)
    wanted = sum(np.abs(numbers(one)).sum() for one in returned) / len(x)
    assert penalty == pytest.approx(wanted, rel=1e-5)


def test_training_lowers_the_loss_of_a_repetitive_text():
    learning = network(weight_dropout=0.1)
    learning.compile(optimizer=keras.optimizers.Adam(0.05), loss=language.nats_of)
    text = np.tile(np.arange(6, dtype=np.int32), (STREAMS * 8, 1))
    history = learning.fit(
        text, np.roll(text, -1, axis=1), batch_size=STREAMS, shuffle=False, epochs=12, verbose=0
    )
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]


def test_training_carries_the_state_from_batch_to_batch(monkeypatch):
    """Compiled as in training, where Keras's own stateful layers start at zero each time."""
    monkeypatch.setattr(language, "RESET_PROBABILITY", 0.0)
    learning = network()
    learning.compile(optimizer=keras.optimizers.SGD(0.0), loss=language.nats_of)
    given, truth = tokens(), tokens()[:, ::-1]
    order = [given[:, k : k + 4] for k in (0, 4, 8)], [truth[:, k : k + 4] for k in (0, 4, 8)]
    x, y = (np.concatenate(parts) for parts in order)
    found = learning.fit(
        x, y, batch_size=STREAMS, shuffle=False, verbose=0, callbacks=[ResetStates()]
    )
    logits, _ = asked(language.inference_model(learning), given)
    wanted = -np.take_along_axis(log_softmax(logits, axis=-1), truth[..., None], axis=-1).mean()
    assert found.history["loss"][0] == pytest.approx(wanted, rel=1e-5)
    assert learning.evaluate(
        x, y, batch_size=STREAMS, verbose=0, callbacks=[ResetStates()]
    ) == pytest.approx(wanted, rel=1e-5)


def test_now_and_then_a_stream_begins_at_zero_in_all_layers_while_it_learns(monkeypatch):
    monkeypatch.setattr(language, "RESET_PROBABILITY", 0.5)
    learning, fresh = network(streams=40), network(streams=40)
    learning(tokens(40))
    known = numbers(learning(tokens(40), training=True))
    from_zero = numbers(fresh(tokens(40)))
    going_on = numbers(fresh(tokens(40)))
    forgotten = np.isclose(known, from_zero, atol=1e-5).all(axis=(1, 2))
    carried = np.isclose(known, going_on, atol=1e-5).all(axis=(1, 2))
    assert (forgotten ^ carried).all()
    assert 8 < forgotten.sum() < 32


@pytest.mark.parametrize("tied", [True, False])
def test_a_sampled_softmax_is_the_full_one_where_nothing_is_learnt(tied):
    sampling, full = network(sampled_softmax=4, tied_embeddings=tied), network(tied_embeddings=tied)
    truth = tokens()[:, ::-1]
    wanted = numbers(language.nats_of(truth, full(tokens())))
    found = numbers(sampling({"tokens": tokens(), "truth": truth}))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    logits, _ = asked(language.inference_model(sampling), tokens())
    found = numbers(language.nats_of(truth, keras.ops.convert_to_tensor(logits)))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_the_sum_under_a_sampled_softmax_is_right_on_average(tied):
    layer = network(sampled_softmax=4, units=(4,), tied_embeddings=tied).get_layer("sampled")
    x = np.random.default_rng(4).normal(size=(2, 3, 4)).astype(np.float32)
    truth = tokens(2, 3)
    call = jax.jit(
        partial(
            layer.stateless_call, [one.value for one in layer.trainable_variables], training=True
        )
    )
    others, costs = [one.value for one in layer.non_trainable_variables], []
    for _ in range(2000):
        found, others = call(others, x, truth)
        costs.append(numbers(found))
    # The cost of a token is the logarithm of that sum divided by e to the token's own logit.
    sums = np.exp(costs)
    wanted = np.exp(numbers(layer(x, truth)))
    error = sums.std(axis=0) / np.sqrt(len(sums))
    assert (error < 0.1 * wanted).all()
    assert (abs(sums.mean(axis=0) - wanted) < 5 * error).all()


def test_tokens_are_drawn_as_often_as_is_said():
    layer = network(sampled_softmax=20_000, units=(4,)).get_layer("sampled")
    drawn, often = (np.array(one) for one in layer._samples())
    found, counts = np.unique(drawn, return_counts=True)
    assert found.tolist() == list(range(VOCABULARY))
    said = {int(token): float(count) for token, count in zip(drawn, often, strict=True)}
    wanted = np.array([said[token] for token in found.tolist()])
    assert wanted.sum() == pytest.approx(20_000, rel=1e-4)
    assert (abs(counts - wanted) < 5 * np.sqrt(wanted)).all()


def test_learning_from_a_few_samples_lowers_what_all_tokens_cost():
    learning = network(sampled_softmax=4)
    learning.compile(optimizer=keras.optimizers.Adam(0.05), loss=language.nats_of)
    text = np.tile(np.arange(6, dtype=np.int32), (STREAMS * 8, 1))
    given = {"tokens": text, "truth": np.roll(text, -1, axis=1)}
    before = learning.evaluate(given, given["truth"], batch_size=STREAMS, verbose=0)
    learning.fit(given, given["truth"], batch_size=STREAMS, shuffle=False, epochs=12, verbose=0)
    after = learning.evaluate(given, given["truth"], batch_size=STREAMS, verbose=0)
    assert after < 0.5 * before


def test_each_pass_over_a_text_starts_from_zero_states():
    learning = network()
    learning.compile(optimizer="sgd", loss=language.nats_of)
    x, y = tokens(STREAMS * 2, 5), tokens(STREAMS * 2, 5)[:, ::-1]
    plain = {"batch_size": STREAMS, "verbose": 0}
    first, second = (learning.evaluate(x, y, callbacks=[ResetStates()], **plain) for _ in range(2))
    assert first == second
    assert learning.evaluate(x, y, **plain) != first


@pytest.mark.parametrize("settings", VARIANTS[1:4], ids=str)
def test_the_saved_network_opens_in_plain_keras(settings, tmp_path):
    plain = language.inference_model(network(**settings))
    path = tmp_path / "model.keras"
    plain.save(path)
    code = (
        "import sys; sys.modules['tensorflow'] = None;"  # Keras would import it for seconds
        "import keras, numpy as np; model = keras.saving.load_model(sys.argv[1]);"
        "given = {name: np.zeros((1, one.shape[-1] or 3), one.dtype)"
        " for name, one in model.input.items()};"
        "assert 'gatewise' not in sys.modules;"
        "print(repr(np.array(model(given)['logits']).tolist()))"
    )
    if settings is not VARIANTS[3]:  # one separate process is enough; the others are opened here
        opened = keras.saving.load_model(path)
        np.testing.assert_allclose(asked(opened, tokens())[0], asked(plain, tokens())[0], atol=1e-6)
        return
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"KERAS_BACKEND": "jax"},
    )
    wanted = asked(plain, np.zeros((1, 3), np.int32))[0]
    np.testing.assert_allclose(eval(done.stdout), wanted, atol=1e-5)


def test_draws_follow_the_softmax_at_the_temperature():
    logits, random = np.log([0.5, 0.3, 0.2]), np.random.default_rng(0)
    for temperature in (1.0, 0.5):
        drawn = [outputs._sample(logits, temperature, 0, random) for _ in range(20_000)]
        wanted = np.array([0.5, 0.3, 0.2]) ** (1 / temperature)
        np.testing.assert_allclose(np.bincount(drawn) / 20_000, wanted / wanted.sum(), atol=0.015)
    assert {outputs._sample(logits, 1.0, 2, random) for _ in range(200)} == {0, 1}
    assert {outputs._sample(logits, 0, 0, random) for _ in range(20)} == {0}


def test_generated_text_is_what_the_network_predicts_step_by_step():
    plain = language.inference_model(network())
    forbidden = np.array([0, 1, 2])
    drawn = language.continued(plain, np.array([4, 5]), forbidden=forbidden, temperature=0)
    found = [next(drawn) for _ in range(6)]
    read = [4, 5]
    for token in found:
        logits = asked(plain, np.array([read], dtype=np.int32))[0][0, -1]
        logits[forbidden] = -np.inf
        assert token == logits.argmax()
        read.append(token)


def test_the_same_seed_generates_the_same_text():
    plain = language.inference_model(network())

    def draw(seed):
        drawn = language.continued(plain, np.array([4]), forbidden=np.array([0]), seed=seed)
        return [next(drawn) for _ in range(30)]

    assert draw(1) == draw(1) != draw(2)
    assert 0 not in draw(1)


def test_a_users_network_is_refused():
    shapes, own = Shapes({"steps": (4, 2)}, (3,)), lambda *_: None
    with pytest.raises(ConfigError, match="language does not accept a network of your own"):
        build(shapes, NetworkSettings(), own, network=language.NETWORK, task="language")


def test_untied_embeddings_are_as_wide_as_the_last_layer():
    with pytest.raises(ConfigError, match=r"network\.embedding_dim is 9"):
        network(tied_embeddings=False, embedding_dim=9)
