"""The tagger: padding has no effect, words are spelled once, and the loss is its definition."""

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
from gatewise.tasks.tag import crf
from gatewise.tasks.tag import task as tag
from gatewise.tasks.tag.network import NETWORK, TokenAccuracy, TokenEntropy, tagger
from gatewise.tasks.tag.outputs import predict as token_scores

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


def test_the_row_of_a_spelling_does_not_matter():
    network, some, _ = made()
    given = dict(some.inputs(np.arange(4), 8))
    first = np.asarray(network.predict_on_batch(given))
    order = np.random.default_rng(0).permutation(len(given["characters"]))
    turned = given | {
        "characters": given["characters"][order],
        "places": np.argsort(order)[given["places"]].astype(np.int32),
    }
    np.testing.assert_allclose(network.predict_on_batch(turned), first, atol=1e-6)


def test_every_token_of_every_sentence_is_predicted_in_its_place():
    network, some, preparation = made()
    flat = token_scores(network, some, preparation, PLAIN).logits
    single = [said(network, some, [k], int(some.lengths[k]))[0] for k in range(len(some))]
    np.testing.assert_allclose(flat, np.concatenate(single), atol=1e-5)


def test_both_directions_are_read_and_so_is_the_spelling():
    sequences = from_sentences(
        [["red", "green", "blue"], ["red", "green", "red"], ["blue", "green", "blue"]],
        [["A", "B", "C"]] * 3,
    )
    network, some, preparation = made(sequences)
    middle = [said(network, some, [k], 3)[0, 1] for k in range(3)]
    assert not np.allclose(middle[0], middle[1], atol=1e-6)  # another word after it
    assert not np.allclose(middle[0], middle[2], atol=1e-6)  # another word before it
    strange = from_sentences([["reddish"], ["bluest"]])
    new = tag.examples(strange, preparation, PLAIN, "predict")
    answers = said(network, new, [0, 1], 1)
    assert not np.allclose(answers[0], answers[1], atol=1e-6)  # both are unknown as words


def test_without_characters_there_is_one_input():
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
    truth[2, 1] = 3  # a tag not seen in training does not affect the loss
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


def test_it_learns_a_tag_that_depends_on_the_next_word():
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


def test_normalisation_over_padding_is_refused():
    with pytest.raises(ConfigError, match=r"network\.normalization = batch"):
        made(experiment=PLAIN.having("network", normalization="batch"))


def test_a_users_network_predicts_each_token():
    _, some, preparation = made()
    shapes = tag.shapes(some, preparation)

    def own(shapes, settings, answers=3):
        inputs = {name: keras.Input(one, name=name) for name, one in shapes.inputs.items()}
        x = keras.layers.Embedding(shapes.vocabulary["words"], 4)(inputs["words"])
        return keras.Model(inputs, keras.layers.Dense(answers)(x))

    network = build(shapes, NetworkSettings(), own, network=NETWORK, task="tag")
    assert token_scores(network, some, preparation, PLAIN).logits.shape == (some.lengths.sum(), 3)
    with pytest.raises(ConfigError, match=r"output has shape \(4,\)"):
        wider = partial(own, answers=4)
        build(shapes, NetworkSettings(), wider, network=NETWORK, task="tag")


def spans_corpus(count, seed=0):
    """A span of one or two tokens after each "at"; its words occur outside spans, too."""
    random = np.random.default_rng(seed)
    sentences, tags = [], []
    for _ in range(count):
        words = [str(one) for one in random.choice(["a", "b", "c", "d"], size=4)]
        place = int(random.integers(0, 3))
        length = int(random.integers(1, 3))
        opening = "at" if length == 1 else "between"
        sentences.append([*words[:place], opening, *words[place:]])
        span = ["B-x", "I-x"][:length]
        tags.append(["O"] * (place + 1) + span + ["O"] * (4 - place - length))
    return sentences, tags


@pytest.fixture(scope="module")
def spans_run(tmp_path_factory):
    import gatewise

    given = {"network": SMALL, "split": {"test": 0.2}, "evaluation": {"n_resamples": 50}}
    given["training"] = {"epochs": 10, "learning_rate": 0.02, "batch_size": 16}
    folder = tmp_path_factory.mktemp("runs") / "spans"
    return gatewise.train(spans_corpus(150), task="tag", settings=given, output=folder)


def test_tags_that_mark_spans_are_learned_with_a_crf(spans_run):
    assert spans_run.artefact.experiment.network.kind == "crf"
    assert spans_run.metrics["metrics"]["span_f1"] > 0.95
    assert spans_run.metrics["verdict"]["better"] is True


def test_no_predicted_tag_breaks_a_span_even_in_nonsense(spans_run):
    import gatewise

    random = np.random.default_rng(1)
    nonsense = [random.choice(["at", "between", "a", "?"], size=9).tolist() for _ in range(60)]
    table = gatewise.predict(spans_run, nonsense)
    tags = np.array(table["tag"].to_list()).reshape(60, 9)
    assert (tags == "I-x").any()
    assert (tags[:, 0] != "I-x").all()
    assert np.isin(tags[:, :-1][tags[:, 1:] == "I-x"], ["B-x", "I-x"]).all()
    assert table["probability"].is_between(0, 1).all()


def test_plain_keras_opens_the_model_with_its_transitions(spans_run, tmp_path):
    preparation, network = spans_run.artefact.preparation, spans_run.model
    new = from_sentences([["between", "a", "b"], ["at", "?", "d"]])
    some = tag.examples(new, preparation, spans_run.artefact.experiment, "predict")
    given = dict(some.inputs(np.arange(2), 3))
    np.savez(tmp_path / "given.npz", wanted=network.predict_on_batch(given), **given)
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"  # Keras would import it for seconds
        "import keras, numpy as np\n"
        "network = keras.saving.load_model(sys.argv[1], safe_mode=True)\n"
        "given = dict(np.load('given.npz')); wanted = given.pop('wanted')\n"
        "rows = network.predict_on_batch(given)\n"
        "np.testing.assert_allclose(rows, wanted, atol=1e-5)\n"
        "transitions = network.get_layer('transitions').get_weights()[0]\n"
        "np.testing.assert_array_equal(rows[1, :5], transitions)\n"
        "assert transitions[2, 1] == transitions[3, 1] == -1e4\n"  # O, or nothing, before I-x
        "assert not any(name.startswith('gatewise') for name in sys.modules)\n"
    )
    model = spans_run.artefact.folder / "model.keras"
    subprocess.run([sys.executable, "-c", code, model], cwd=tmp_path, check=True, timeout=100)


def test_the_pieces_of_a_long_sentence_are_one_path():
    long = PLAIN.having("preparation", max_length=2)
    sequences = from_sentences([["red", "green", "blue"]] * 4, [["O", "B-x", "I-x"]] * 4)
    _, some, preparation = made(sequences, long)
    # Alone, the last token would be I-x, which must not begin a sentence.
    logits = np.tile(np.array([[0, 0, 5], [5, 0, 0], [0, 5, 0]], np.float32), (4, 1))
    transitions = tag.shapes(some, preparation).initial["transitions"]
    found = tag.postprocess(crf.Scores(logits, transitions), some, preparation, {})
    assert np.array(preparation.own.classes)[found.chosen[:3]].tolist() == ["O", "B-x", "I-x"]


def test_a_crf_is_the_default_except_for_many_tags_and_label_smoothing():
    def kind_of(experiment, sequences):
        return tag.resolve(experiment, sequences, sequences)[0].network.kind

    sequences = from_sentences(*spans_corpus(8))
    smooth = PLAIN.having("training", label_smoothing=0.1)
    assert kind_of(PLAIN, sequences) == kind_of(PLAIN, corpus()) == "crf"
    assert kind_of(smooth, sequences) == "softmax"
    many = [str(k) for k in range(300)]
    assert kind_of(PLAIN, from_sentences([many], [many])) == "softmax"
    with pytest.raises(ConfigError, match="label_smoothing does not apply to a CRF"):
        kind_of(smooth.having("network", kind="crf"), sequences)


def test_a_users_network_for_spans_is_trained_without_a_crf():
    import gatewise

    def own(shapes, settings):
        inputs = {name: keras.Input(one, name=name) for name, one in shapes.inputs.items()}
        x = keras.layers.Embedding(shapes.vocabulary["words"], 4)(inputs["words"])
        return keras.Model(inputs, keras.layers.Dense(*shapes.output)(x))

    given = {"training": {"epochs": 1}, "evaluation": {"n_resamples": 20}}
    run = gatewise.train(spans_corpus(40), task="tag", settings=given, network=own)
    assert run.artefact.experiment.network.kind == "own"
    assert len(gatewise.predict(run, [["at", "a"]])) == 2
