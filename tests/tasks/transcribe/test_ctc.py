"""The CTC loss against a sum over all alignments, the metric against jiwer, and padding."""

import itertools

import jax
import jiwer
import keras
import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

from gatewise.data.batches import PADDING, Shapes
from gatewise.errors import ConfigError
from gatewise.settings import NetworkSettings
from gatewise.tasks.transcribe.decoding import greedy
from gatewise.tasks.transcribe.network import CharacterErrorRate, ctc, edits

SHAPES = Shapes({"steps": (None, 6)}, (4,), padding=PADDING)
loss_of = jax.jit(keras.losses.CTC())  # as one program, which compiles faster than its operations


def by_definition(truth, logits):
    """-log of the sum over all alignments of the product over steps (Graves et al. 2006, eq. 3)."""
    scores = log_softmax(logits.astype(np.float64), axis=1)
    ways = [
        sum(scores[step, symbol] for step, symbol in enumerate(path))
        for path in itertools.product(range(logits.shape[1]), repeat=len(logits))
        if [s for s, _ in itertools.groupby(path) if s] == list(truth)
    ]
    return -logsumexp(ways)


@pytest.mark.parametrize("truth", [[1], [1, 2], [1, 1], [2, 1, 2], [1, 1, 1], [2, 2, 1]])
def test_keras_sums_over_all_alignments(truth):
    logits = np.random.default_rng(len(truth)).normal(size=(1, 5, 3)).astype(np.float32)
    padded = np.array([truth + [0] * (4 - len(truth))], dtype=np.int32)
    found = float(loss_of(padded, logits))
    assert found == pytest.approx(by_definition(truth, logits[0]), rel=1e-4)


def recordings(*lengths, seed=0):
    """Random frames [recordings, longest, 6], padded."""
    random = np.random.default_rng(seed)
    steps = np.full((len(lengths), max(lengths), 6), PADDING, dtype=np.float32)
    for row, length in enumerate(lengths):
        steps[row, :length] = random.normal(size=(length, 6))
    return steps


@pytest.mark.parametrize("convolution", [(), (5,), (5, 4)])
def test_padding_changes_neither_probabilities_nor_loss(convolution):
    settings = NetworkSettings(
        units=(3,), bidirectional=True, filters=convolution, kernel_size=3, strides=2
    )
    network = ctc(SHAPES, settings)
    steps = recordings(23, 12, 9)
    truth = np.array([[1, 2, 0], [2, 0, 0], [1, 1, 0]], dtype=np.int32)
    together = network.predict_on_batch(steps)
    for row, length in enumerate((23, 12, 9)):
        alone = network.predict_on_batch(steps[row : row + 1, :length])
        own = length
        for _ in convolution:
            own = -(-own // 2)
        assert alone.shape[1] == own
        np.testing.assert_allclose(together[row, :own], alone[0], atol=1e-5)
        assert (together[row, own:, 1:] < -1e8).all()
        losses = [
            float(loss_of(truth[row : row + 1], given))
            for given in (together[row : row + 1], alone)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_what_fit_minimises_is_the_definition():
    network = ctc(SHAPES, NetworkSettings(units=(3,)))
    network.compile(loss=keras.losses.CTC(), metrics=[CharacterErrorRate()])
    steps, truth = recordings(6, 4), np.array([[1, 2], [3, 0]], dtype=np.int32)
    found = network.evaluate(steps, truth, verbose=0, return_dict=True)
    logits = keras.ops.convert_to_numpy(network(steps))
    wanted = [by_definition([1, 2], logits[0]), by_definition([3], logits[1, :4])]
    assert found["loss"] == pytest.approx(np.mean(wanted), rel=1e-4)


def test_error_rate_is_that_of_jiwer():
    random = np.random.default_rng(0)
    logits = 3 * random.normal(size=(40, 12, 4)).astype(np.float32)
    truth = np.zeros((40, 7), dtype=np.int32)
    for row in truth:
        length = random.integers(1, 8)
        row[:length] = random.integers(1, 4, length)
    letters = np.array(list("-abc"))
    said = ["".join(letters[greedy(one)]) for one in logits]
    meant = ["".join(letters[row[row > 0]]) for row in truth]
    each = [
        sum((one.substitutions, one.deletions, one.insertions))
        for one in map(jiwer.process_characters, meant, said)
    ]
    np.testing.assert_array_equal(np.asarray(edits(truth, logits)), each)
    metric = CharacterErrorRate()
    metric.update_state(truth[:25], logits[:25])
    metric.update_state(truth[25:], logits[25:])
    assert float(metric.result()) == pytest.approx(jiwer.cer(meant, said))


def test_a_saved_network_opens_in_plain_keras(tmp_path):
    settings = NetworkSettings(units=(3,), bidirectional=True, filters=(5,), strides=2)
    network = ctc(SHAPES, settings)
    network.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras")  # safe_mode is on
    steps = recordings(23, 12)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(opened(steps)), keras.ops.convert_to_numpy(network(steps))
    )


def test_normalisation_over_padding_is_refused():
    with pytest.raises(ConfigError, match="would include padding"):
        ctc(SHAPES, NetworkSettings(normalization="batch"))
