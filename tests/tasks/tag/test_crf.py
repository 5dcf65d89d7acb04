"""The CRF: sums and best paths over all paths, its loss, and what may follow a tag."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import logsumexp

from gatewise.tasks.tag import crf
from gatewise.tasks.tag.network import PathEntropy, log_partition

TAGS = 3


def drawn(count=4, length=5, seed=0):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(count, length, TAGS)) * 2
    return logits, random.normal(size=(TAGS + crf.BORDERS, TAGS)) * 2


def score(path, logits, transitions):
    begin, end = transitions[TAGS, path[0]], transitions[TAGS + 1, path[-1]]
    between = sum(transitions[a, b] for a, b in itertools.pairwise(path))
    return begin + between + end + sum(logits[t, tag] for t, tag in enumerate(path))


def all_paths(logits, transitions):
    """All paths of one sentence and their scores."""
    paths = list(itertools.product(range(TAGS), repeat=len(logits)))
    return np.array(paths), np.array([score(path, logits, transitions) for path in paths])


@pytest.mark.parametrize("length", [1, 2, 5])
def test_marginals_and_best_paths_are_those_of_all_paths(length):
    logits, transitions = drawn(length=length)
    marginals = crf.marginals(logits, transitions)
    best = crf.best_paths(logits, transitions)
    for k, one in enumerate(logits):
        paths, scores = all_paths(one, transitions)
        probability = np.exp(scores - logsumexp(scores))
        hot = np.eye(TAGS)[paths]  # [paths, length, tags]
        np.testing.assert_allclose(marginals[k], np.tensordot(probability, hot, 1), atol=1e-12)
        assert best[k].tolist() == paths[scores.argmax()].tolist()


def test_the_log_partition_is_the_sum_over_all_paths_without_padding():
    logits, transitions = drawn()
    lengths = np.array([5, 1, 3, 2])
    real = np.arange(5) < lengths[:, None]
    found = ops.convert_to_numpy(
        log_partition(*(ops.convert_to_tensor(x, "float32") for x in (logits, transitions)), real)
    )
    wanted = [
        logsumexp(all_paths(one[:n], transitions)[1])
        for one, n in zip(logits, lengths, strict=True)
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def loss_of(truth, logits, transitions):
    rows = np.broadcast_to(transitions, (len(logits), *transitions.shape))
    outputs = np.concatenate([rows, logits], axis=1).astype(np.float32)
    given = (ops.convert_to_tensor(one) for one in (truth, outputs))
    return float(PathEntropy(TAGS)(*given))


def test_the_loss_is_the_negative_log_probability_of_the_true_paths():
    logits, transitions = drawn()
    truth = np.array([[0, 1, 2, 1, 0], [2, -1, -1, -1, -1], [1, 1, 0, -1, -1], [0, 2, -1, -1, -1]])
    total = 0.0
    for one, tags in zip(logits, truth, strict=True):
        path = tags[tags >= 0]
        scores = all_paths(one[: len(path)], transitions)[1]
        total += logsumexp(scores) - score(path, one, transitions)
    assert loss_of(truth, logits, transitions) == pytest.approx(total / 11, rel=1e-5)


def test_a_tag_unknown_in_training_does_not_let_the_loss_depend_on_its_logits():
    logits, transitions = drawn(count=1)
    truth = np.array([[0, 1, TAGS, 1, 0]])
    first = loss_of(truth, logits, transitions)
    logits[0, 2] += 7
    assert loss_of(truth, logits, transitions) == pytest.approx(first)
    assert 0 < first < 10


def test_a_forbidden_transition_in_the_truth_keeps_the_loss_small():
    logits, transitions = drawn(count=1)
    transitions[TAGS, 0] = transitions[1, 2] = crf.FORBIDDEN
    truth = np.array([[0, 1, 2, 1, 0]])
    assert abs(loss_of(truth, logits, transitions)) < 10


def slopes(function, *arrays):
    """The gradients of a function by float32 arrays, compiled as Keras compiles a training step."""
    given = [ops.convert_to_tensor(one, "float32") for one in arrays]
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(jax.grad(function, argnums=tuple(range(len(given)))))(*given)
    if keras.backend.backend() == "torch":
        import torch

        given = [one.detach().requires_grad_() for one in given]
        return [one.cpu() for one in torch.autograd.grad(function(*given), given)]
    import tensorflow as tf

    # A training step of Keras knows neither the number of sentences nor their length.
    @tf.function(input_signature=[tf.TensorSpec([None] * (one.ndim - 1) + [TAGS]) for one in given])
    def run(*given):
        with tf.GradientTape() as tape:
            tape.watch(given)
            found = function(*given)
        return tape.gradient(found, given)

    return run(*given)


def test_the_gradient_of_the_log_partition_is_the_marginals():
    logits, transitions = drawn()
    transitions[0, 1] = crf.FORBIDDEN
    lengths = np.array([5, 1, 3, 2])
    real = ops.convert_to_tensor(np.arange(5) < lengths[:, None])
    found = slopes(
        lambda *given: ops.sum(log_partition(*given, real)),
        logits,
        transitions,
    )
    by_logits, by_transitions = (np.asarray(one) for one in found)
    for one, ours, n in zip(logits, by_logits, lengths, strict=True):
        wanted = crf.marginals(one[None, :n], transitions)[0]
        np.testing.assert_allclose(ours[:n], wanted, atol=1e-5)
        assert not ours[n:].any()
    assert by_transitions[0, 1] == 0  # so that training leaves it forbidden


def test_the_gradient_of_the_loss_is_the_marginals_less_the_true_path():
    logits, transitions = drawn()
    lengths = np.array([5, 1, 3, 2])
    truth = np.where(np.arange(5) < lengths[:, None], np.arange(20).reshape(4, 5) % TAGS, -1)
    rows = np.broadcast_to(transitions, (len(logits), *transitions.shape))
    known = ops.convert_to_tensor(truth)
    [found] = slopes(
        lambda outputs: PathEntropy(TAGS)(known, outputs), np.concatenate([rows, logits], axis=1)
    )
    by_logits = np.asarray(found)[:, TAGS + crf.BORDERS :]
    for one, tags, ours, n in zip(logits, truth, by_logits, lengths, strict=True):
        wanted = crf.marginals(one[None, :n], transitions)[0] - np.eye(TAGS)[tags[:n]]
        np.testing.assert_allclose(ours[:n], wanted / lengths.sum(), atol=1e-6)
        assert not ours[n:].any()


def test_sentences_of_different_lengths_keep_their_places():
    logits, transitions = drawn(count=1, length=11)
    lengths = np.array([3, 1, 3, 4])
    scores = crf.Scores(logits[0], transitions)
    found = crf.by_sentence(crf.marginals, scores, lengths)
    ends = np.cumsum(lengths)
    for end, n in zip(ends, lengths, strict=True):
        one = logits[:, end - n : end]
        np.testing.assert_allclose(found[end - n : end], crf.marginals(one, transitions)[0])


def forbidden(tags, sentences):
    """The forbidden pairs of tags, with "" for the border of a sentence."""
    codes = np.array([tags.index(tag) for one in sentences for tag in one])
    lengths = np.array([len(one) for one in sentences])
    rows = [*tags, "", "end"]
    where = np.argwhere(crf.initial_transitions(tags, codes, lengths) < 0)
    return {(rows[a], tags[b]) if a <= len(tags) else (tags[b], "") for a, b in where}


def test_only_what_continues_its_own_span_may_follow():
    tags = ["B-x", "B-y", "I-x", "O"]
    good = [["O", "B-x", "I-x", "O"], ["B-y"]] * 9
    wanted = {("O", "I-x"), ("B-y", "I-x"), ("", "I-x")}
    assert forbidden(tags, good) == wanted
    # What occurs is possible, even if it breaks the scheme.
    assert forbidden(tags, [*good, ["O", "I-x"]]) == wanted - {("O", "I-x")}


def test_a_span_that_must_end_is_not_left_open():
    tags = ["B-x", "E-x", "I-x", "O", "S-x"]
    found = forbidden(tags, [["B-x", "I-x", "E-x", "O", "S-x"]])
    left_open = {("B-x", one) for one in ("B-x", "O", "S-x", "")}
    assert left_open <= found
    assert {("O", "E-x"), ("S-x", "I-x"), ("E-x", "E-x"), ("", "I-x")} <= found
    assert not {("O", "O"), ("B-x", "E-x"), ("E-x", "S-x"), ("E-x", "")} & found


@pytest.mark.parametrize(
    "sentences", [[["O", "I-x", "I-x", "O"], ["I-x", "B-x"]], [["NOUN", "VERB"]]]
)
def test_tags_of_another_scheme_forbid_nothing(sentences):
    assert forbidden(sorted({tag for one in sentences for tag in one}), sentences) == set()
