"""Pretraining: what the language model of a network computes, learns, and hands over."""

import keras
import numpy as np
import pytest
from keras import ops

from gatewise.arguments import experiment_for
from gatewise.errors import ConfigError, DataError
from gatewise.training import pretraining
from gatewise.training.fit import Around
from gatewise.training.ready import make_ready

CYCLE = ("one", "two", "three", "four", "five")  # each word tells its neighbours


def texts(count, *, seed=0):
    random = np.random.default_rng(seed)
    starts = random.integers(len(CYCLE), size=count)
    lengths = random.integers(5, 9, size=count)
    every = CYCLE * 4
    return [" ".join(every[a : a + n]) for a, n in zip(starts, lengths, strict=True)]


def labelled(count=60):
    words = texts(count)
    return words, ["short" if len(one.split()) < 7 else "long" for one in words]


def tagged(count=60):
    words = [one.split() for one in texts(count)]
    return words, [["X" if one == "two" else "O" for one in sentence] for sentence in words]


def ready_for(data, task="classify", **settings):
    network = {"units": [8], **settings.pop("network", {})}
    training = {"epochs": 2, "batch_size": 16, "learning_rate": 0.05, "quality": "fast"}
    layers = {"task": {"name": task}, "network": network, "training": training | settings}
    return make_ready(*experiment_for(data, [layers]))


def pretrained(data, task="classify", **settings):
    ready = ready_for(data, task, **{"pretrain": "train", "pretrain_epochs": 25} | settings)
    before = {one.name: one.get_weights() for one in ready.network.layers}
    pretraining.pretrain(ready, Around())
    return ready, before


@pytest.mark.parametrize("both", [True, False])
def test_the_loss_is_that_of_the_definition(both):
    """-log P of each real token but those at the border, from the states of Keras's own LSTM."""
    ready = ready_for(labelled(), network={"bidirectional": both})
    model, _, twin = pretraining.token_model(ready.network)
    batch = dict(ready.train.inputs(np.arange(6), 8))
    tokens = batch["tokens"]
    assert (tokens == 0).any()
    found = ops.convert_to_numpy(model(tokens))

    embedded = ready.network.get_layer("embedding")(tokens)
    head = next(one for one in model.layers if one.name == "next")
    ways = [(twin.forward_layer, 1), (twin.backward_layer, -1)] if both else [(twin, 1)]
    summed = []
    for layer, way in ways:
        for row, known in zip(embedded, tokens, strict=True):
            count = int((known > 0).sum())
            steps, truth = row[None, :count], known[:count]
            copy = keras.layers.LSTM(8, return_sequences=True)
            copy.build(steps.shape)
            copy.set_weights(layer.get_weights()[:3])
            states = copy(steps[:, ::way])[0, :-1]
            logs = ops.log_softmax(head(states), axis=-1)
            summed.append(-sum(logs[k, one] for k, one in enumerate(truth[::way][1:])))
    predicted = sum(int((one > 0).sum()) - 1 for one in tokens)
    wanted = float(sum(summed)) / (predicted * len(ways))
    assert float(found.mean()) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(("task", "data"), [("classify", labelled()), ("tag", tagged())])
def test_the_first_layers_learn_the_order_of_words_and_the_others_stay(task, data):
    ready, before = pretrained(data, task)
    model, reader, twin = pretraining.token_model(ready.network)
    moved = {
        one.name
        for one in ready.network.layers
        if any((a != b).any() for a, b in zip(before[one.name], one.get_weights(), strict=True))
    }
    assert {"embedding", reader.name} <= moved
    assert "logits" not in moved
    # With the layers frozen, a new softmax alone is enough to tell each word's neighbours.
    twin.set_weights(reader.get_weights())
    for layer in model.layers:
        layer.trainable = layer.name == "next"
    model.compile(keras.optimizers.Adam(0.1), loss=lambda _nothing, nats: nats)
    inputs = dict(ready.train.inputs(np.arange(16), 8))
    inputs = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    losses = [model.train_on_batch(inputs, np.zeros(16)) for _ in range(60)]
    assert float(losses[-1]) < 0.1 < np.log(len(CYCLE))


def test_a_file_of_more_texts_comes_before_those_of_the_training_part(tmp_path, caplog):
    more = tmp_path / "more.csv"
    more.write_text("\n".join(["text", *texts(30, seed=1)]) + "\n")
    with caplog.at_level("INFO"):
        own, _ = pretrained(labelled(), pretrain_epochs=1)
        both, _ = pretrained(labelled(), pretrain_epochs=1, pretrain=str(more))
    said = [one for one in caplog.messages if one.endswith("1 epochs.")]
    assert said == [
        f"Pretraining on the training part: {len(own.train)} texts, 1 epochs.",
        f"Pretraining on {more}: 30 texts, 1 epochs.",
        f"Pretraining on the training part: {len(own.train)} texts, 1 epochs.",
    ]
    kept, other = (one.network.get_layer("embedding").get_weights()[0] for one in (own, both))
    assert (kept != other).any()


def test_a_large_vocabulary_has_a_sampled_softmax(monkeypatch):
    monkeypatch.setattr(pretraining, "FULL", 0)
    ready, _ = pretrained(labelled())
    model, *_ = pretraining.token_model(ready.network)
    assert "sampled" in {one.name for one in model.layers}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pretrain": "absent.csv"}, r"there is no file absent\.csv"),
        ({"pretrain": "train", "network": {"filters": [4]}}, "read several words at once"),
        ({"pretrain_epochs": 3}, r"pretrain_epochs needs training\.pretrain"),
    ],
)
def test_what_cannot_be_pretrained_is_refused_before_training(settings, message):
    with pytest.raises(ConfigError, match=message):
        ready_for(labelled(), **settings)


def test_texts_of_single_words_are_refused():
    words = [[CYCLE[k % 5]] for k in range(40)], [["A", "B"][k % 2 : k % 2 + 1] for k in range(40)]
    with pytest.raises(DataError, match="No text of the training part has two tokens"):
        pretrained(words, "tag")
